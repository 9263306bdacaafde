//! Who lives in the world: names, applications, labels, and the state of each place, in compact columns.

use std::collections::BTreeMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use unattended_upgrade::{AttemptId, EffectKey, Generation};

use crate::draw::{Draw, Purpose, floor_to_u64, hash_text, to_f64};
use crate::index::Index;
use crate::{InitialState, SimError, SimTarget, World};

/// No time at all: later than anything.
pub(crate) const NEVER: u64 = u64::MAX;
/// No stratum.
pub(crate) const NO_STRATUM: u32 = u32::MAX;
/// The old version's number.
pub(crate) const OLD: u8 = 0;
/// The new version's number.
pub(crate) const NEW: u8 = 1;

/// Passes on a number that is already a hash.
#[derive(Default)]
pub(crate) struct Through(u64);

impl Hasher for Through {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = crate::draw::mix(self.0 ^ u64::from(*byte));
        }
    }

    fn write_u64(&mut self, x: u64) {
        self.0 = x;
    }
}

type ByHash<V> = std::collections::HashMap<u64, V, BuildHasherDefault<Through>>;

/// One application with one set of labels; many targets share it.
#[derive(Debug)]
pub(crate) struct Kind {
    pub(crate) app: Arc<str>,
    pub(crate) app_index: u32,
    pub(crate) labels: Vec<(Arc<str>, Arc<str>)>,
    /// The number of its zone; the same for all where the fleet has no zones.
    pub(crate) zone: u32,
    /// The number of its domain: what can be cut off as one.
    pub(crate) domain: u32,
    /// The release's faults show here.
    pub(crate) at_fault: bool,
}

/// What is the same for all targets of an application.
#[derive(Debug)]
pub(crate) struct App {
    /// Own errors per request.
    pub(crate) error_rate: f64,
    /// Where in the day it stands, as sine and cosine of the angle.
    pub(crate) phase: (f64, f64),
    /// Requests per second and target before the target's own factor.
    pub(crate) rate: f64,
    /// No target of it may reach more, in requests per second.
    pub(crate) rate_limit: f64,
    /// From here it runs what another team changed.
    pub(crate) other_change_at: u64,
}

/// How the instance in a place turned out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Fate {
    Up,
    NeverReady,
    /// It runs, and its start-up check has failed.
    Unready,
    Crashing,
    /// Nothing runs, whatever is ordered.
    Nothing,
}

/// Where the counts of a place go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arm {
    Nowhere,
    /// Control member on the old version, warm.
    Control,
    /// Member on the new version, warm, not at fault.
    Clean,
    /// Member on the new version, warm, at fault.
    Faulty,
    /// Member on the new version, not warm.
    Fresh,
}

/// One place in the fleet. Its occupant may die and be followed by another; the place stays.
///
/// What a look needs lies in the first cache line, what only orders and measuring need in the second.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub(crate) struct Slot {
    pub(crate) name_start: u32,
    pub(crate) name_len: u32,
    pub(crate) kind: u32,
    /// Counts the instances of the place.
    pub(crate) instance: u32,
    /// Requests per second, in millionths; whole, so that sums do not depend on their order.
    pub(crate) rate_micro: u32,
    pub(crate) version: u8,
    pub(crate) fate: Fate,
    pub(crate) open: bool,
    pub(crate) initial: InitialState,
    /// From here the process runs; before, it is being started.
    pub(crate) up_at: u64,
    /// From here it serves.
    pub(crate) ready_at: u64,
    /// From here `open` is what the ingress does; before, the opposite.
    pub(crate) ingress_at: u64,
    /// With closed ingress: no connection is left from here on.
    pub(crate) drained_at: u64,
    /// The lowest generation that is obeyed.
    pub(crate) generation: u64,
    /// The last order that had an effect here.
    pub(crate) last_key: LastKey,
    /// From here the configuration is acknowledged.
    pub(crate) config_at: u64,
    pub(crate) config: u8,
    /// The ingress reopens by itself here.
    pub(crate) reopen_at: u64,
    pub(crate) prefetched_at: u64,
    pub(crate) stratum: u32,
    pub(crate) control: bool,
    pub(crate) arm: Arm,
    pub(crate) prefetched: u8,
    /// The new version, at fault, has run here.
    pub(crate) marked: bool,
}

const _: () = assert!(size_of::<Slot>() == 128);

/// The key of an order, or none, packed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LastKey {
    attempt: u64,
    generation: u64,
    /// 0 for none; else step and ordinal, and one more bit.
    place: u64,
}

impl LastKey {
    const SOME: u64 = 1 << 16;

    pub(crate) fn of(key: &EffectKey) -> Self {
        Self {
            attempt: key.attempt.0,
            generation: key.generation.0,
            place: Self::SOME | u64::from(key.step) << 8 | u64::from(key.ordinal),
        }
    }

    pub(crate) fn get(self) -> Option<EffectKey> {
        let [ordinal, step, some, ..] = self.place.to_le_bytes();
        (some != 0).then_some(EffectKey {
            attempt: AttemptId(self.attempt),
            generation: Generation(self.generation),
            step,
            ordinal,
        })
    }

    pub(crate) const fn numbers(self) -> [u64; 3] {
        [self.attempt, self.generation, self.place]
    }
}

impl Slot {
    pub(crate) fn is_open(&self, now: u64) -> bool {
        self.open == (now >= self.ingress_at)
    }

    pub(crate) fn is_ready(&self, now: u64) -> bool {
        self.fate == Fate::Up && now >= self.ready_at
    }

    pub(crate) fn rate(&self) -> f64 {
        f64::from(self.rate_micro) * 1e-6
    }
}

#[derive(Debug)]
pub(crate) struct Population {
    pub(crate) kinds: Vec<Kind>,
    pub(crate) apps: Vec<App>,
    pub(crate) zones: u32,
    pub(crate) domains: u32,
    pub(crate) slots: Vec<Slot>,
    names: String,
    index: Index,
    /// Numbers the births.
    pub(crate) births: u64,
}

impl Population {
    /// Takes the inventory; `at_fault` says whether the release's fault shows in an application with these labels.
    pub(crate) fn new(
        targets: &[SimTarget],
        world: &World,
        seed: u64,
        at_fault: impl Fn(&str, &[(String, String)]) -> bool,
    ) -> Result<Self, SimError> {
        if targets.is_empty() || targets.len() > 4_000_000 {
            return Err(SimError::Size { targets: targets.len() });
        }
        let mut interner = Interner::default();
        let mut app_numbers: BTreeMap<&str, u32> = BTreeMap::new();
        let mut app_businesses: Vec<Option<&str>> = Vec::new();
        let mut zone_numbers: BTreeMap<&str, u32> = BTreeMap::new();
        let mut domain_numbers: BTreeMap<&str, u32> = BTreeMap::new();
        let has_regions = targets.iter().any(|t| t.labels.iter().any(|(key, _)| key == "region"));
        let domain_key = if has_regions { "region" } else { "zone" };
        let mut kinds: Vec<Kind> = Vec::new();
        let mut by_hash: ByHash<Vec<u32>> = ByHash::default();
        let bytes = targets.iter().map(|t| t.id.len()).sum::<usize>();
        if u32::try_from(bytes).is_err() {
            return Err(SimError::Size { targets: targets.len() });
        }
        let mut population = Self {
            kinds: Vec::new(),
            apps: Vec::new(),
            zones: 1,
            domains: 1,
            slots: Vec::with_capacity(targets.len()),
            names: String::with_capacity(bytes + bytes / 8),
            index: Index::for_entries(targets.len()),
            births: 0,
        };
        for target in targets {
            let mut hash = hash_text(&target.app);
            for (key, value) in &target.labels {
                hash = crate::draw::mix(hash ^ hash_text(key)).wrapping_add(hash_text(value));
            }
            let same = |kind: &Kind| {
                *kind.app == *target.app
                    && kind.labels.len() == target.labels.len()
                    && kind
                        .labels
                        .iter()
                        .zip(&target.labels)
                        .all(|(a, b)| *a.0 == *b.0 && *a.1 == *b.1)
            };
            let candidates = by_hash.entry(hash).or_default();
            let known = candidates
                .iter()
                .copied()
                .find(|k| usize::try_from(*k).is_ok_and(|k| same(&kinds[k])));
            let kind = match known {
                Some(kind) => kind,
                None => {
                    let label = |wanted: &str| target.labels.iter().find(|(k, _)| k == wanted).map(|(_, v)| v.as_str());
                    let next = count(app_numbers.len());
                    let app_index = *app_numbers.entry(&target.app).or_insert_with(|| {
                        app_businesses.push(label("business"));
                        next
                    });
                    let next_zone = count(zone_numbers.len());
                    let zone = label("zone").map_or(0, |z| *zone_numbers.entry(z).or_insert(next_zone));
                    let next_domain = count(domain_numbers.len());
                    let domain = label(domain_key).map_or(0, |d| *domain_numbers.entry(d).or_insert(next_domain));
                    let number = count(kinds.len());
                    kinds.push(Kind {
                        app: interner.get(&target.app),
                        app_index,
                        labels: target
                            .labels
                            .iter()
                            .map(|(k, v)| (interner.get(k), interner.get(v)))
                            .collect(),
                        zone,
                        domain,
                        at_fault: at_fault(&target.app, &target.labels),
                    });
                    candidates.push(number);
                    number
                }
            };
            population.push(target, kind)?;
        }
        population.kinds = kinds;
        population.zones = count(zone_numbers.len()).max(1);
        population.domains = count(domain_numbers.len()).max(1);
        population.apps = draw_apps(&app_numbers, &app_businesses, world, seed);
        population.draw_rates(world, seed);
        Ok(population)
    }

    fn push(&mut self, target: &SimTarget, kind: u32) -> Result<(), SimError> {
        if target.id.is_empty() || target.app.is_empty() {
            return Err(SimError::Unnamed { row: self.slots.len() });
        }
        let (name_start, name_len) = self.write_name(&target.id);
        let slot = count(self.slots.len());
        self.slots.push(Slot {
            name_start,
            name_len,
            kind,
            stratum: NO_STRATUM,
            rate_micro: 0,
            instance: 0,
            version: OLD,
            fate: match target.state {
                InitialState::Healthy | InitialState::AppUnready => Fate::Up,
                InitialState::SidecarCrashing => Fate::Crashing,
                InitialState::Pending => Fate::Nothing,
            },
            initial: target.state,
            control: false,
            open: true,
            arm: Arm::Nowhere,
            prefetched: OLD,
            marked: false,
            up_at: 0,
            ready_at: 0,
            ingress_at: 0,
            drained_at: 0,
            reopen_at: NEVER,
            prefetched_at: 0,
            generation: 0,
            last_key: LastKey::default(),
            config_at: 0,
            config: OLD,
        });
        if self.index.insert(&target.id, slot, &self.slots, &self.names) {
            Ok(())
        } else {
            Err(SimError::Duplicate { id: target.id.clone() })
        }
    }

    fn draw_rates(&mut self, world: &World, seed: u64) {
        let sigma = world.requests_sigma * libm::sqrt(1.0 - world.requests_app_share);
        for number in 0..self.slots.len() {
            let slot = &self.slots[number];
            // What is not ready as an application gets no traffic.
            if slot.initial != InitialState::Healthy {
                continue;
            }
            let app = &self.apps[at(self.kinds[at(slot.kind)].app_index)];
            let own = libm::exp(sigma * Draw::new(seed, Purpose::TargetRate, &[number as u64]).normal());
            let rate = (app.rate * own).min(app.rate_limit);
            let micro = floor_to_u64(rate * 1e6);
            self.slots[number].rate_micro = u32::try_from(micro).unwrap_or(u32::MAX);
        }
    }

    pub(crate) fn name(&self, slot: u32) -> &str {
        name_of(&self.slots[at(slot)], &self.names)
    }

    pub(crate) fn find(&self, name: &str) -> Option<u32> {
        self.index.find(name, &self.slots, &self.names)
    }

    /// As [`find`](Self::find) for many. Each pass does one thing to all of them, so that the waits for memory overlap: this is where
    /// a look at a large fleet spends its time.
    pub(crate) fn find_all<'a>(&self, names: impl Iterator<Item = &'a str> + Clone) -> Vec<Option<u32>> {
        let hashes: Vec<u64> = names.clone().map(hash_text).collect();
        let candidates: Vec<Option<u32>> = hashes.iter().map(|hash| self.index.candidate(*hash)).collect();
        let places: Vec<(u32, u32)> = candidates
            .iter()
            .map(|c| c.map_or((0, 0), |c| (self.slots[at(c)].name_start, self.slots[at(c)].name_len)))
            .collect();
        let found = names
            .zip(candidates)
            .zip(places)
            .map(|((name, candidate), (start, len))| {
                let candidate = candidate?;
                // Another name with the same half of a hash lies before it: look again, with care.
                if self.names[at(start)..at(start) + at(len)] == *name {
                    Some(candidate)
                } else {
                    self.find(name)
                }
            });
        found.collect()
    }

    pub(crate) fn kind_of(&self, slot: &Slot) -> &Kind {
        &self.kinds[at(slot.kind)]
    }

    /// Forgets the occupant's name and gives the place to a newborn; returns the newborn's name.
    pub(crate) fn rename(&mut self, slot: u32) -> Arc<str> {
        self.index
            .remove(name_of(&self.slots[at(slot)], &self.names), &self.slots, &self.names);
        let app = Arc::clone(&self.kind_of(&self.slots[at(slot)]).app);
        let name: Arc<str> = loop {
            self.births += 1;
            let name = format!("{app}-b{}", self.births);
            if self.find(&name).is_none() {
                break name.into();
            }
        };
        let (start, len) = self.write_name(&name);
        self.slots[at(slot)].name_start = start;
        self.slots[at(slot)].name_len = len;
        self.index.insert(&name, slot, &self.slots, &self.names);
        name
    }

    fn write_name(&mut self, name: &str) -> (u32, u32) {
        if u32::try_from(self.names.len() + name.len()).is_err() {
            self.compact();
        }
        let start = count(self.names.len());
        self.names.push_str(name);
        (start, count(name.len()))
    }

    /// Drops the names of the dead.
    fn compact(&mut self) {
        let mut fresh = String::with_capacity(self.names.len());
        for slot in &mut self.slots {
            let name = name_of(slot, &self.names);
            let start = count(fresh.len());
            fresh.push_str(name);
            slot.name_start = start;
        }
        self.names = fresh;
    }
}

pub(crate) fn name_of<'a>(slot: &Slot, names: &'a str) -> &'a str {
    let start = at(slot.name_start);
    &names[start..start + at(slot.name_len)]
}

fn draw_apps(numbers: &BTreeMap<&str, u32>, businesses: &[Option<&str>], world: &World, seed: u64) -> Vec<App> {
    let sigma = world.requests_sigma * libm::sqrt(world.requests_app_share);
    let mut by_chance: Vec<(u64, u32)> = Vec::with_capacity(numbers.len());
    let mut apps: Vec<App> = Vec::with_capacity(numbers.len());
    let mut names: Vec<&str> = vec![""; numbers.len()];
    for (name, number) in numbers {
        names[at(*number)] = name;
    }
    for (number, name) in names.iter().enumerate() {
        let h = hash_text(name);
        by_chance.push((Draw::new(seed, Purpose::AppQuiet, &[h]).bits(), count(number)));
        let rate = world.requests_per_s_median * libm::exp(sigma * Draw::new(seed, Purpose::AppRate, &[h]).normal());
        let group = businesses[number].map_or(h, hash_text);
        apps.push(App {
            error_rate: Draw::new(seed, Purpose::AppError, &[h])
                .log_between(world.error_rate_low, world.error_rate_high),
            phase: libm::sincos(std::f64::consts::TAU * Draw::new(seed, Purpose::Phase, &[group]).unit()),
            rate,
            rate_limit: 4_000.0,
            other_change_at: other_change_at(world, seed, h),
        });
    }
    if apps.len() >= 10 {
        by_chance.sort_unstable();
        let quiet = libm::ceil(to_f64(apps.len() as u64) * world.quiet_app_share);
        let quiet = usize::try_from(floor_to_u64(quiet)).unwrap_or(0).min(apps.len());
        for (chance, number) in &by_chance[..quiet] {
            let app = &mut apps[at(*number)];
            let mut draw = Draw::new(seed, Purpose::AppQuiet, &[*chance, 1]);
            app.rate = draw.log_between(world.quiet_requests_per_s / 20.0, world.quiet_requests_per_s);
            app.rate_limit = world.quiet_requests_per_s * 0.999;
        }
    }
    apps
}

/// When another team's change reaches the application of that hash, in virtual milliseconds.
fn other_change_at(world: &World, seed: u64, app: u64) -> u64 {
    let mut draw = Draw::new(seed, Purpose::OtherChange, &[app]);
    if !draw.chance(world.other_change_share) {
        return NEVER;
    }
    floor_to_u64((world.other_change_after_min + world.other_change_min * draw.unit()) * 60_000.0)
}

/// A number of things that has been checked to fit.
pub(crate) fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// A position in a column.
pub(crate) fn at(n: u32) -> usize {
    n as usize
}

#[derive(Default)]
struct Interner {
    texts: BTreeMap<Arc<str>, ()>,
}

impl Interner {
    fn get(&mut self, text: &str) -> Arc<str> {
        if let Some((known, ())) = self.texts.get_key_value(text) {
            return Arc::clone(known);
        }
        let new: Arc<str> = text.into();
        self.texts.insert(Arc::clone(&new), ());
        new
    }
}
