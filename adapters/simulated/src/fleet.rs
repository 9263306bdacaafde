//! The state of the world, and the laws by which it moves.

use std::collections::BTreeMap;

use unattended_upgrade::{EffectKey, FleetChange, HandoverOrder, IngressOrder, TargetId, Version};

use crate::bad_nodes;
use crate::births::{Hook, Word};
use crate::draw::{Draw, Purpose, floor_to_u64, hash_text, mix};
use crate::effects::Effects;
use crate::events::{Event, Events, What};
use crate::harm::Harm;
use crate::healing::Healing;
use crate::log::WorldLog;
use crate::metrics::Meter;
use crate::population::{Arm, Fate, LastKey, NEVER, NEW, NO_STRATUM, OLD, Population, Slot, at};
use crate::strata::{Crash, Strata};
use crate::twins::{Instance, Twin};
use crate::{InitialState, SimConfig, World};

/// Outages up to this long are not told as news.
const LONG_OUTAGE_MS: u64 = 30_000;

/// A pushed configuration is acknowledged after so long.
const CONFIG_MS: u64 = 2_000;

/// How an instance comes to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// The application restarts with it.
    Cold,
    /// The sidecar alone is replaced.
    InPlace,
    /// The same sidecar starts again.
    Restart,
    /// A target is born.
    Birth,
}

/// Something a controller does to one target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Replace(u8),
    ReplaceInPlace(u8),
    Prefetch(u8),
    Config(u8),
    Spawn(u8),
    /// The instance's number in its place.
    Stop(u32),
    Reset(u8),
    HandOver(HandoverOrder, u8, u8),
    Ingress(IngressOrder),
    Fence(u64),
}

#[derive(Debug)]
pub(crate) struct Fleet {
    pub(crate) world: World,
    pub(crate) seed: u64,
    pub(crate) effects: Effects,
    /// Both ends of a call are counted.
    pub(crate) both_ends: bool,
    /// Rows of restarts are left out where nobody went down.
    pub(crate) sparse: bool,
    /// What went wrong because of the release, over the intervals that were read.
    pub(crate) harm: Harm,
    pub(crate) warm_up_ms: u64,
    pub(crate) interval_ms: u64,
    pub(crate) start_wall_ms: i64,
    pub(crate) now: u64,
    pub(crate) versions: Vec<Version>,
    pub(crate) population: Population,
    pub(crate) strata: Strata,
    pub(crate) meter: Meter,
    pub(crate) news: Vec<FleetChange>,
    pub(crate) hook: Hook,
    pub(crate) log: Option<WorldLog>,
    /// Once a line could not be written, nothing is done any more: the world would not survive a kill.
    pub(crate) log_failure: Option<String>,
    pub(crate) events: Events,
    /// Of places that have or had a second instance.
    pub(crate) twins: BTreeMap<u32, Twin>,
    /// What newborns are to run, by scope; the latest last.
    pub(crate) words: Vec<Word>,
    /// What was done about bad nodes, and which are.
    pub(crate) healing: Healing,
    /// While a log is replayed: what newborns were told to run.
    pub(crate) told: BTreeMap<String, u8>,
}

impl Fleet {
    pub(crate) fn new(config: SimConfig, population: Population) -> Self {
        Self {
            healing: Healing::new(bad_nodes::of(
                &config.world,
                config.seed,
                config.interval_ms,
                &population,
            )),
            meter: Meter::new(&config.world),
            effects: Effects::new(&config.release, &config.world),
            both_ends: config.both_ends,
            sparse: config.sparse,
            harm: Harm::default(),
            world: config.world,
            seed: config.seed,
            warm_up_ms: config.warm_up_ms,
            interval_ms: config.interval_ms,
            start_wall_ms: config.start_wall_ms,
            now: 0,
            versions: vec![config.old, config.new],
            population,
            strata: Strata::default(),
            news: Vec::new(),
            hook: Hook::default(),
            log: None,
            log_failure: None,
            events: Events::default(),
            twins: BTreeMap::new(),
            words: Vec::new(),
            told: BTreeMap::new(),
        }
    }

    /// Lets everything happen that happens by itself until `now`, and makes it the present.
    pub(crate) fn settle(&mut self, now: u64) {
        if now < self.now {
            return;
        }
        let (restarts, deaths) = (self.world.restarts_per_target_day, self.world.deaths_per_target_day);
        self.events
            .draw_until(now, self.seed, self.population.slots.len(), restarts, deaths);
        while let Some(event) = self.events.pop(now) {
            // An order may name a deadline that has passed already; time does not go back for it.
            self.now = self.now.max(event.at_ms);
            self.happen(event);
        }
        self.now = now;
    }

    fn happen(&mut self, event: Event) {
        let slot = &self.population.slots[at(event.slot)];
        let same = slot.instance == event.instance;
        match event.what {
            What::Aged if same => self.place(event.slot),
            // Somebody has opened it, or put it off.
            What::Reopen if slot.open || slot.reopen_at > event.at_ms => {}
            What::Reopen if slot.is_ready(self.now) => {
                let slot = &mut self.population.slots[at(event.slot)];
                slot.open = true;
                slot.ingress_at = self.now;
                slot.reopen_at = NEVER;
                self.place(event.slot);
            }
            // The watchdog opens onto an instance that is ready, and waits for one.
            What::Reopen if slot.ready_at != NEVER && slot.ready_at > self.now => {
                let at_ms = slot.ready_at;
                self.events.push(Event { at_ms, ..event });
            }
            What::Healed if same => {
                let target = TargetId::new(self.population.name(event.slot));
                self.news.push(FleetChange::BecameHealthy { target });
            }
            What::Killed if same => {
                self.harm.down(event.at_ms);
                self.restart(event.slot);
            }
            // What is not up cannot fall.
            What::Restart if slot.is_ready(self.now) => self.restart(event.slot),
            What::Death => self.bear(event.slot),
            What::LeaseEnds => self.place(event.slot),
            What::LateOrder => self.late_order(event.slot, event.instance),
            _ => {}
        }
    }

    /// An instance goes down unasked, and comes up again.
    fn restart(&mut self, number: u32) {
        let slot = &self.population.slots[at(number)];
        let (arm, stratum, version) = (slot.arm, slot.stratum, slot.version);
        if arm != Arm::Nowhere {
            self.strata.crashes.push_back(Crash {
                at_ms: self.now,
                stratum,
                canary: arm != Arm::Control,
                fresh: arm == Arm::Fresh,
            });
        }
        self.start_again(number, version);
    }

    /// The same sidecar starts again, and it is news if that takes long.
    pub(crate) fn start_again(&mut self, number: u32, version: u8) {
        self.start(number, version, Start::Restart);
        let slot = &self.population.slots[at(number)];
        if slot.ready_at != NEVER && slot.ready_at > self.now + LONG_OUTAGE_MS {
            let (at_ms, instance) = (slot.ready_at, slot.instance);
            let target = TargetId::new(self.population.name(number));
            self.news.push(FleetChange::BecameUnhealthy { target });
            self.events.push(Event {
                at_ms,
                what: What::Healed,
                slot: number,
                instance,
            });
        }
    }

    /// The version's number; `None` when there are too many.
    pub(crate) fn intern(&mut self, version: &Version) -> Option<u8> {
        let known = self.versions.iter().position(|v| v == version);
        let number = known.unwrap_or(self.versions.len());
        let number = u8::try_from(number).ok()?;
        if known.is_none() {
            self.versions.push(version.clone());
        }
        Some(number)
    }

    /// Begins a new instance in a place.
    pub(crate) fn start(&mut self, number: u32, version: u8, how: Start) {
        let mut next = self.slot(number).instance + 1;
        if let Some(twin) = self.twins.get_mut(&number) {
            next = twin.next_number();
            self.serving_restarts(number, version);
        }
        let instance = self.drawn(number, next, version, how);
        let now = self.now;
        let slot = &mut self.population.slots[at(number)];
        self.strata.leave(number, slot);
        instance.put_into(slot);
        if how == Start::Cold {
            // A new pod comes with an open way in.
            slot.open = true;
            slot.ingress_at = now;
            slot.reopen_at = NEVER;
        }
        let at_fault = version == NEW && self.population.kind_of(&self.population.slots[at(number)]).at_fault;
        if at_fault && (self.effects.crash || self.effects.unready) {
            self.harm.down(instance.up_at);
        }
        self.mark(number);
        if let (Some(per_hour), true, Fate::Up) = (self.effects.leak_per_hour, at_fault, instance.fate) {
            self.events.push(Event {
                at_ms: instance.ready_at.saturating_add(ms(0.5 / per_hour * 3_600.0)),
                what: What::Killed,
                slot: number,
                instance: instance.number,
            });
        }
        self.place(number);
    }

    /// Remembers where the new version, at fault, has run: what it wrote there stays.
    pub(crate) fn mark(&mut self, number: u32) {
        let slot = &mut self.population.slots[at(number)];
        slot.marked |= (slot.version, slot.fate) == (NEW, Fate::Up) && self.population.kinds[at(slot.kind)].at_fault;
    }

    /// What becomes of an instance, drawn from the place and the instance's number alone.
    pub(crate) fn drawn(&self, number: u32, instance: u32, version: u8, how: Start) -> Instance {
        let now = self.now;
        let at_fault = version == NEW && self.population.kind_of(&self.population.slots[at(number)]).at_fault;
        let world = &self.world;
        let slot = self.slot(number);
        let keys = [u64::from(number), u64::from(instance)];
        let mut draw = Draw::new(self.seed, Purpose::Instance, &keys);
        let tail = draw.chance(0.01);
        let never = draw.chance(world.never_ready_share);
        let factor = |slow: f64| if tail { slow } else { 1.0 };
        let seconds = match how {
            Start::Cold => draw.between(world.cold_s_low, world.cold_s_high) * factor(world.cold_tail_factor),
            Start::InPlace | Start::Restart | Start::Birth => {
                let usual = world.in_place_s_median * libm::exp(world.in_place_sigma * draw.normal());
                usual * factor(world.in_place_tail_factor)
            }
        };
        let fetch = match how {
            Start::InPlace if slot.prefetched == version => slot.prefetched_at.saturating_sub(now),
            Start::InPlace => ms(draw.between(world.prefetch_s_low, world.prefetch_s_high)),
            _ => 0,
        };
        let fate = match slot.initial {
            InitialState::Pending => Fate::Nothing,
            InitialState::SidecarCrashing => Fate::Crashing,
            _ if at_fault && self.effects.crash => Fate::Crashing,
            _ if at_fault && self.effects.unready => Fate::Unready,
            _ if version == OLD && self.effects.one_way && slot.marked => Fate::Crashing,
            _ if never && matches!(how, Start::Cold | Start::InPlace) => Fate::NeverReady,
            _ => Fate::Up,
        };
        Instance {
            number: instance,
            version,
            fate,
            up_at: now + fetch + ms(seconds * 0.7),
            ready_at: if fate == Fate::Up {
                now + fetch + ms(seconds)
            } else {
                NEVER
            },
        }
    }

    /// Puts a place into the arm where its counts belong now, and arranges to look again when that changes with age.
    pub(crate) fn place(&mut self, number: u32) {
        let now = self.now;
        let isolated = self.is_isolated(number);
        let slot = &mut self.population.slots[at(number)];
        self.strata.leave(number, slot);
        if slot.stratum == NO_STRATUM || !slot.open || isolated {
            return;
        }
        // What never ran on its own account says nothing about a version.
        if matches!(slot.initial, InitialState::Pending | InitialState::SidecarCrashing) {
            return;
        }
        let warm_at = if slot.instance == 0 {
            0
        } else {
            slot.ready_at.saturating_add(self.warm_up_ms)
        };
        let warm = now >= warm_at;
        let mut look_at = if warm { NEVER } else { warm_at };
        let arm = match (slot.version, warm) {
            (OLD, true) if slot.control => Arm::Control,
            (NEW, false) => Arm::Fresh,
            (NEW, true) => {
                let onset = slot.ready_at.saturating_add(self.effects.after_ms);
                let at_fault = self.population.kinds[at(slot.kind)].at_fault && self.effects.shows();
                if at_fault && now < onset {
                    look_at = onset;
                }
                if at_fault && now >= onset {
                    Arm::Faulty
                } else {
                    Arm::Clean
                }
            }
            _ => Arm::Nowhere,
        };
        let measured = slot.version == NEW || slot.control;
        let slot = &mut self.population.slots[at(number)];
        self.strata.enter(number, slot, arm);
        if look_at != NEVER && measured {
            self.events.push(Event {
                at_ms: look_at,
                what: What::Aged,
                slot: number,
                instance: slot.instance,
            });
        }
    }

    /// The last order that had its effect on this place.
    pub(crate) fn last_key(&self, number: u32) -> Option<EffectKey> {
        self.population.slots[at(number)].last_key.get()
    }

    /// Does it, now, and durably: the log has it before the world.
    pub(crate) fn apply(&mut self, number: u32, act: Act, key: Option<&EffectKey>) -> Result<(), String> {
        if self.log.is_some() {
            let entry = self.entry(number, act, key);
            self.write(&entry);
        }
        if let Some(reason) = &self.log_failure {
            return Err(reason.clone());
        }
        if let Some(key) = key {
            self.population.slots[at(number)].last_key = LastKey::of(key);
        }
        match act {
            Act::Replace(version) => self.start(number, version, Start::Cold),
            Act::ReplaceInPlace(version) => self.start(number, version, Start::InPlace),
            Act::Prefetch(version) => {
                let slot = &mut self.population.slots[at(number)];
                let keys = [u64::from(number), u64::from(slot.instance), self.now];
                let mut draw = Draw::new(self.seed, Purpose::Prefetch, &keys);
                if slot.prefetched != version {
                    slot.prefetched = version;
                    slot.prefetched_at =
                        self.now + ms(draw.between(self.world.prefetch_s_low, self.world.prefetch_s_high));
                }
            }
            Act::Spawn(_) | Act::Stop(_) | Act::Reset(_) | Act::HandOver(..) => self.act_beside(number, act),
            Act::Ingress(order) => self.order_ingress(number, order),
            Act::Config(version) => {
                let at_ms = self.now + CONFIG_MS;
                let slot = &mut self.population.slots[at(number)];
                (slot.config, slot.config_at) = (version, at_ms);
            }
            Act::Fence(generation) => {
                let slot = &mut self.population.slots[at(number)];
                slot.generation = slot.generation.max(generation);
            }
        }
        Ok(())
    }

    fn order_ingress(&mut self, number: u32, order: IngressOrder) {
        let now = self.now;
        let world = &self.world;
        let slot = &mut self.population.slots[at(number)];
        let open = order == IngressOrder::Open;
        if slot.open != open {
            let keys = [u64::from(number), u64::from(slot.instance), now];
            let mut draw = Draw::new(self.seed, Purpose::Ingress, &keys);
            let delay = ms(draw.between(world.ingress_s_low, world.ingress_s_high));
            // Where the order before has not taken hold yet, the way still is what is wanted now.
            slot.ingress_at = if now < slot.ingress_at { now } else { now + delay };
            slot.open = open;
            let drain = if draw.chance(world.drain_stuck_share) {
                draw.between(60.0, 120.0)
            } else {
                draw.between(world.drain_s_low, world.drain_s_high)
            };
            slot.drained_at = slot.ingress_at + ms(drain);
        }
        slot.reopen_at = match order {
            IngressOrder::Open => NEVER,
            IngressOrder::Close { reopen_by_ms } => {
                self.events.push(Event {
                    at_ms: reopen_by_ms,
                    what: What::Reopen,
                    slot: number,
                    instance: 0,
                });
                reopen_by_ms
            }
        };
        self.place(number);
    }

    /// A fingerprint of every place and of the news.
    pub(crate) fn digest(&self) -> u64 {
        let mut h = mix(self.now);
        let mut add = |x: u64| h = mix(h ^ x).wrapping_add(0x9e37_79b9_7f4a_7c15);
        for (number, slot) in self.population.slots.iter().enumerate() {
            add(hash_text(self.population.name(crate::population::count(number))));
            add(hash_text(self.versions[usize::from(slot.version)].as_str()));
            add(u64::from(slot.instance) << 32 | (slot.fate as u64) << 1 | u64::from(slot.open));
            for x in [
                slot.up_at,
                slot.ready_at,
                slot.ingress_at,
                slot.drained_at,
                slot.reopen_at,
                slot.prefetched_at,
            ] {
                add(x);
            }
            for x in slot.last_key.numbers() {
                add(x);
            }
            add(slot.generation);
            add(slot.config_at);
            add(u64::from(slot.marked));
            add(hash_text(self.versions[usize::from(slot.config)].as_str()));
        }
        for (number, twin) in &self.twins {
            add(hash_text(&format!("{number} {twin:?}")));
        }
        for word in &self.words {
            add(hash_text(&format!("{word:?}")));
        }
        for news in &self.news {
            add(hash_text(&format!("{news:?}")));
        }
        for told in self.healing.told() {
            add(hash_text(&told));
        }
        h
    }

    pub(crate) fn slot(&self, number: u32) -> &Slot {
        &self.population.slots[at(number)]
    }
}

/// Seconds to whole milliseconds, at least 1.
pub(crate) fn ms(seconds: f64) -> u64 {
    floor_to_u64(seconds * 1_000.0).max(1)
}
