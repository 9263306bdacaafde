//! The fleet as a controller sees it, with a fault at every boundary.

use std::sync::Arc;

use async_trait::async_trait;
use unattended_upgrade::{
    AttemptId, Barrier, Capabilities, ConfigSeen, EffectKey, EffectOutcome, Generation, HandoverOrder, Ingress,
    IngressOrder, InstanceId, News, Observation, Phase, Platform, PlatformError, Probe, SelfCheck, SlotSeen, TargetId,
    Version, WayBack,
};

use crate::Simulated;
use crate::births::Scope;
use crate::draw::{Draw, Purpose, floor_to_u64, hash_text, to_f64};
use crate::fleet::{Act, Fleet, ms};
use crate::population::{Fate, Slot};

/// Connections that are open per request per second.
const CONNECTIONS_PER_RATE: f64 = 5.0;

/// Names that are looked up together; what is kept of them fits the nearest cache.
const LOOKED_UP_AT_ONCE: usize = 512;

/// The start-up check that a bad release fails.
pub(crate) const START_UP: &str = "start-up";

/// What the world does to one delivery of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    Good,
    Lost,
    Unreported,
    Twice,
    Late { after_ms: u64 },
}

#[async_trait]
impl Platform for Simulated {
    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    async fn observe(&self, targets: &[TargetId]) -> Result<Vec<Observation>, PlatformError> {
        let fleet = self.present();
        answers(&fleet, Question::Look, targets)?;
        let mut seen = Vec::with_capacity(targets.len());
        for some in targets.chunks(LOOKED_UP_AT_ONCE) {
            let numbers = fleet.population.find_all(some.iter().map(TargetId::as_str));
            seen.extend(
                numbers
                    .into_iter()
                    .map(|number| look(&fleet, number, &self.capabilities)),
            );
        }
        Ok(seen)
    }

    async fn replace(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        self.with_version(target, version, key, Act::Replace)
    }

    async fn fence(&self, target: &TargetId, generation: Generation) -> EffectOutcome {
        if !self.capabilities.fence {
            return EffectOutcome::Unsupported;
        }
        let mut fleet = self.present();
        let Some(number) = fleet.population.find(target.as_str()) else {
            return gone(target);
        };
        if let Some(silence) = silence(&fleet, number) {
            return silence;
        }
        let fenced = fleet.slot(number).generation;
        if generation.0 <= fenced {
            return if generation.0 == fenced {
                EffectOutcome::AlreadyApplied
            } else {
                EffectOutcome::Stale
            };
        }
        // Fences carry no key; one that no attempt uses stands in for the draw of the fault.
        let key = EffectKey {
            attempt: AttemptId(u64::MAX),
            generation,
            step: u8::MAX,
            ordinal: u8::MAX,
        };
        let delivery = deliver(&fleet, number, &key);
        carry_out(delivery, || fleet.apply(number, Act::Fence(generation.0), None))
    }

    async fn replace_in_place(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        if !self.capabilities.in_place {
            return EffectOutcome::Unsupported;
        }
        self.with_version(target, version, key, Act::ReplaceInPlace)
    }

    /// Every version is at hand. What the new one leaves behind is a matter of the release, and is found by going back.
    async fn way_back(&self, _: &Version, _: &Version) -> Result<WayBack, PlatformError> {
        Ok(WayBack::Startable)
    }

    async fn prefetch(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        if !self.capabilities.prefetch {
            return EffectOutcome::Unsupported;
        }
        self.with_version(target, version, key, Act::Prefetch)
    }

    async fn ingress(&self, target: &TargetId, order: IngressOrder, key: &EffectKey) -> EffectOutcome {
        if !self.capabilities.ingress {
            return EffectOutcome::Unsupported;
        }
        self.act(target, key, |_| Some(Act::Ingress(order)))
    }

    async fn spawn(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        if !self.capabilities.slots {
            return EffectOutcome::Unsupported;
        }
        self.with_version(target, version, key, Act::Spawn)
    }

    async fn stop(&self, target: &TargetId, instance: InstanceId, key: &EffectKey) -> EffectOutcome {
        if !self.capabilities.slots {
            return EffectOutcome::Unsupported;
        }
        // The upper half is the place: an instance of another one is none of this target's.
        let place = u32::try_from(instance.0 >> 32).ok();
        let number = u32::try_from(instance.0 & u64::from(u32::MAX)).unwrap_or(u32::MAX);
        self.act(target, key, |fleet| {
            let here = fleet.population.find(target.as_str());
            Some(Act::Stop(if here == place { number } else { u32::MAX }))
        })
    }

    async fn reset(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        if !self.capabilities.slots {
            return EffectOutcome::Unsupported;
        }
        self.with_version(target, version, key, Act::Reset)
    }

    async fn hand_over(
        &self,
        target: &TargetId,
        order: HandoverOrder,
        from: &Version,
        to: &Version,
        key: &EffectKey,
    ) -> EffectOutcome {
        if !self.capabilities.hand_over {
            return EffectOutcome::Unsupported;
        }
        self.act(target, key, |fleet| {
            let (from, to) = (fleet.intern(from)?, fleet.intern(to)?);
            Some(Act::HandOver(order, from, to))
        })
    }

    async fn apply_config(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        if !self.capabilities.config {
            return EffectOutcome::Unsupported;
        }
        self.with_version(target, version, key, Act::Config)
    }

    async fn ingress_barrier(&self, targets: &[TargetId]) -> Result<Vec<Barrier>, PlatformError> {
        if !self.capabilities.barrier {
            return Err(PlatformError::Unsupported("barrier"));
        }
        let fleet = self.present();
        answers(&fleet, Question::Barrier, targets)?;
        let numbers = fleet.population.find_all(targets.iter().map(TargetId::as_str));
        let barrier = |number: Option<u32>| number.map_or_else(Barrier::default, |number| barrier(&fleet, number));
        Ok(numbers.into_iter().map(barrier).collect())
    }

    async fn probe(&self, targets: &[TargetId]) -> Result<Vec<Probe>, PlatformError> {
        if !self.capabilities.probe {
            return Err(PlatformError::Unsupported("probe"));
        }
        let fleet = self.present();
        answers(&fleet, Question::Probe, targets)?;
        let numbers = fleet.population.find_all(targets.iter().map(TargetId::as_str));
        // Whoever takes connections answers, once it runs; before it is ready it says nothing of itself. Two take turns.
        let turn = usize::try_from(fleet.now / 1_000).unwrap_or(0);
        let answer = |number| {
            let seen = look(&fleet, number, &self.capabilities);
            let slots = seen.pair.iter().flat_map(|pair| &pair.slots);
            let takers: Vec<&SlotSeen> = slots.filter(|slot| slot.accepting).collect();
            let taker = takers.get(turn % takers.len().max(1));
            let taker = taker.map(|slot| (slot.phase, slot.instance, slot.version.clone(), slot.self_check.clone()));
            let (phase, instance, version, self_check) =
                taker.unwrap_or((seen.phase, seen.instance, seen.version, seen.self_check));
            let runs = phase == Phase::Running;
            Probe {
                instance: instance.filter(|_| runs),
                version: version.filter(|_| runs),
                self_check,
            }
        };
        Ok(numbers.into_iter().map(answer).collect())
    }

    async fn control_endpoint(&self, target: &TargetId, version: &Version) -> Result<Arc<str>, PlatformError> {
        if !self.capabilities.endpoint {
            return Err(PlatformError::Unsupported("endpoint"));
        }
        let fleet = self.present();
        answers(&fleet, Question::Endpoint, std::slice::from_ref(target))?;
        let number = fleet.population.find(target.as_str());
        let seen = look(&fleet, number, &Capabilities::none().with_slots());
        let mut slots = seen.pair.iter().flat_map(|pair| pair.slots.iter());
        let instance = slots.find_map(|slot| slot.instance.filter(|_| slot.version.as_ref() == Some(version)));
        let instance = instance
            .ok_or_else(|| PlatformError::Unavailable(format!("nothing runs in a slot of {version} at {target}")))?;
        Ok(format!("simulated:{target}/{:x}", instance.0).into())
    }

    async fn desired(&self, scope: &str, version: &Version, key: &EffectKey) -> EffectOutcome {
        if !self.capabilities.desired {
            return EffectOutcome::Unsupported;
        }
        let mut fleet = self.present();
        let Some(births) = Scope::parse(scope) else {
            let reason = format!("`{scope}` is no scope of this world: give *, app=NAME or KEY=VALUE").into();
            return EffectOutcome::Failed { reason };
        };
        match fleet.word_on(&births).map(|word| word.key) {
            Some(last) if last == *key => return EffectOutcome::AlreadyApplied,
            Some(last) if key.is_older_than(&last) => return EffectOutcome::Stale,
            _ => {}
        }
        let Some(version) = fleet.intern(version) else {
            return too_many_versions();
        };
        let delivery = deliver(&fleet, u32::MAX, key);
        carry_out(delivery, || {
            if fleet.word_on(&births).is_some_and(|word| word.key == *key) {
                return Ok(());
            }
            fleet.order_births(scope, births.clone(), version, *key)
        })
    }

    async fn watch(&self, cursor: u64) -> Result<News, PlatformError> {
        if !self.capabilities.watch {
            return Err(PlatformError::Unsupported("watch"));
        }
        let fleet = self.present();
        let from = usize::try_from(cursor).unwrap_or(usize::MAX).min(fleet.news.len());
        Ok(News {
            changes: fleet.news[from..].to_vec(),
            cursor: fleet.news.len() as u64,
        })
    }
}

impl Simulated {
    fn with_version(
        &self,
        target: &TargetId,
        version: &Version,
        key: &EffectKey,
        act: impl Fn(u8) -> Act,
    ) -> EffectOutcome {
        self.act(target, key, |fleet| fleet.intern(version).map(act))
    }

    fn act(&self, target: &TargetId, key: &EffectKey, act: impl FnOnce(&mut Fleet) -> Option<Act>) -> EffectOutcome {
        let mut fleet = self.present();
        let Some(number) = fleet.population.find(target.as_str()) else {
            return gone(target);
        };
        if let Some(silence) = silence(&fleet, number) {
            return silence;
        }
        if self.capabilities.fence && key.generation.0 < fleet.slot(number).generation {
            return EffectOutcome::Stale;
        }
        match fleet.last_key(number) {
            Some(last) if last == *key => return EffectOutcome::AlreadyApplied,
            Some(last) if key.is_older_than(&last) => return EffectOutcome::Stale,
            _ => {}
        }
        let Some(act) = act(&mut fleet) else {
            return too_many_versions();
        };
        if let Some(objection) = fleet.objection(number, act) {
            return objection;
        }
        let delivery = deliver(&fleet, number, key);
        carry_out(delivery, || {
            // The second of two deliveries finds the key and does nothing.
            if fleet.last_key(number) == Some(*key) {
                Ok(())
            } else {
                fleet.apply(number, act, Some(key))
            }
        })
    }
}

/// What comes of an order to a domain that is cut off.
fn silence(fleet: &Fleet, number: u32) -> Option<EffectOutcome> {
    let domain = fleet.population.kind_of(fleet.slot(number)).domain;
    (fleet.cut_off() == Some(domain)).then(|| EffectOutcome::Unknown {
        reason: "no answer (its domain is cut off)".into(),
    })
}

fn carry_out(delivery: Delivery, mut apply: impl FnMut() -> Result<(), String>) -> EffectOutcome {
    match delivery {
        Delivery::Lost => {
            return EffectOutcome::Unknown {
                reason: "no answer (the order was lost)".into(),
            };
        }
        Delivery::Late { after_ms } => return EffectOutcome::Retry { after_ms },
        Delivery::Good | Delivery::Unreported => {}
        Delivery::Twice => {
            if let Err(reason) = apply() {
                return EffectOutcome::Failed { reason: reason.into() };
            }
        }
    }
    match apply() {
        Err(reason) => EffectOutcome::Failed { reason: reason.into() },
        Ok(()) if delivery == Delivery::Unreported => EffectOutcome::Unknown {
            reason: "no answer (the order was carried out)".into(),
        },
        Ok(()) => EffectOutcome::Applied,
    }
}

/// Draws what happens to this delivery. The same order at another time is drawn anew: a lost order is not lost for ever.
pub(crate) fn deliver(fleet: &Fleet, number: u32, key: &EffectKey) -> Delivery {
    let world = &fleet.world;
    let faults = world.fault_lost + world.fault_late + world.fault_unreported + world.fault_twice;
    if faults <= 0.0 {
        return Delivery::Good;
    }
    let step = u64::from(key.step) << 8 | u64::from(key.ordinal);
    let keys = [u64::from(number), key.attempt.0, key.generation.0, step, fleet.now];
    let mut draw = Draw::new(fleet.seed, Purpose::Fault, &keys);
    let mut chance = draw.unit();
    let mut falls = |share: f64| {
        chance -= share;
        chance < 0.0
    };
    if falls(world.fault_lost) {
        Delivery::Lost
    } else if falls(world.fault_late) {
        Delivery::Late {
            after_ms: 1_000 + draw.bits() % 4_000,
        }
    } else if falls(world.fault_unreported) {
        Delivery::Unreported
    } else if falls(world.fault_twice) {
        Delivery::Twice
    } else {
        Delivery::Good
    }
}

fn too_many_versions() -> EffectOutcome {
    EffectOutcome::Failed {
        reason: "this world knows 256 versions at most".into(),
    }
}

/// A question to the control plane.
#[derive(Clone, Copy, Debug)]
enum Question {
    Look,
    Barrier,
    Probe,
    Endpoint,
}

/// Whether the control plane answers it just now. One part of a question that nobody can answer is no answer at all.
fn answers(fleet: &Fleet, question: Question, targets: &[TargetId]) -> Result<(), PlatformError> {
    if let Some(domain) = fleet.cut_off() {
        let mut numbers = targets.iter().filter_map(|t| fleet.population.find(t.as_str()));
        if numbers.any(|number| fleet.population.kind_of(fleet.slot(number)).domain == domain) {
            return Err(PlatformError::Unavailable("its domain is cut off".to_owned()));
        }
    }
    let first = targets.first().map_or(0, |t| hash_text(t.as_str()));
    let keys = [fleet.now, first ^ question as u64, targets.len() as u64];
    if Draw::new(fleet.seed, Purpose::Observe, &keys).chance(fleet.world.fault_observe) {
        let words = "the simulated control plane did not answer";
        return Err(PlatformError::Unavailable(words.to_owned()));
    }
    Ok(())
}

/// What those who send traffic have heard of a closing. The last of them hears of it as long after the platform as the
/// platform after the order, at most; until then new connections come.
fn barrier(fleet: &Fleet, number: u32) -> Barrier {
    let (slot, now) = (fleet.slot(number), fleet.now);
    let nobody = Barrier {
        told: false,
        quiet_ms: Some(0),
    };
    if slot.open || now < slot.ingress_at {
        return nobody;
    }
    let keys = [u64::from(number), slot.ingress_at];
    let mut draw = Draw::new(fleet.seed, Purpose::Barrier, &keys);
    let last = slot.ingress_at + ms(draw.between(fleet.world.ingress_s_low, fleet.world.ingress_s_high));
    if now < last {
        return nobody;
    }
    Barrier {
        told: true,
        quiet_ms: Some(now - last),
    }
}

fn gone(target: &TargetId) -> EffectOutcome {
    EffectOutcome::Failed {
        reason: Arc::from(format!("there is no target `{target}`")),
    }
}

fn look(fleet: &Fleet, number: Option<u32>, able: &Capabilities) -> Observation {
    let Some(number) = number else {
        return Observation {
            phase: Phase::Gone,
            version: None,
            instance: None,
            ready: false,
            self_check: SelfCheck::Unreported,
            ingress: Ingress::Unknown,
            active: None,
            pair: None,
            config: None,
        };
    };
    let now = fleet.now;
    let slot = fleet.slot(number);
    let phase = match slot.fate {
        Fate::Nothing => Phase::Stopped,
        _ if now < slot.up_at => Phase::Starting,
        Fate::Crashing => Phase::Crashing,
        Fate::Up | Fate::NeverReady | Fate::Unready => Phase::Running,
    };
    let ready = slot.is_ready(now);
    let active = if ready { connections(slot, now) } else { 0 };
    Observation {
        phase,
        version: (phase != Phase::Stopped).then(|| fleet.versions[usize::from(slot.version)].clone()),
        instance: matches!(phase, Phase::Running | Phase::Crashing)
            .then(|| InstanceId(u64::from(number) << 32 | u64::from(slot.instance))),
        ready,
        self_check: match slot.fate {
            Fate::Unready if phase == Phase::Running => SelfCheck::Failed { check: START_UP.into() },
            _ if ready => SelfCheck::Passed,
            _ => SelfCheck::Unreported,
        },
        ingress: if slot.is_open(now) {
            Ingress::Open
        } else {
            Ingress::Closed
        },
        active: Some(active),
        pair: able.slots.then(|| fleet.pair(number, active)),
        config: able.config.then(|| {
            Box::new(ConfigSeen {
                acknowledged: (phase == Phase::Running && now >= slot.config_at)
                    .then(|| fleet.versions[usize::from(slot.config)].clone()),
                refused: None,
            })
        }),
    }
}

/// Connections while traffic comes in.
pub(crate) fn steady_connections(slot: &Slot) -> u32 {
    let steady = 1 + floor_to_u64(slot.rate() * CONNECTIONS_PER_RATE);
    u32::try_from(steady).unwrap_or(u32::MAX)
}

/// Open connections: a steady number while traffic comes in, a line down to 0 after the way was closed.
fn connections(slot: &Slot, now: u64) -> u32 {
    let steady = steady_connections(slot);
    // A new instance behind a closed way has none.
    if slot.is_open(now) {
        return steady;
    }
    if now >= slot.drained_at || slot.ready_at > slot.ingress_at {
        return 0;
    }
    let left = to_f64(slot.drained_at - now) / to_f64((slot.drained_at - slot.ingress_at).max(1));
    u32::try_from(floor_to_u64(libm::ceil(f64::from(steady) * left))).unwrap_or(u32::MAX)
}
