//! What all looks together must add up to, whatever was ordered: no look contradicts itself, and none the ones before.
use std::collections::BTreeMap;

use crate::conformance::Breach;
use crate::{Capabilities, InstanceId, Moves, Observation, Pair, Phase, SelfCheck, SlotSeen, TargetId, Version};

/// Every instance that was ever shown.
#[derive(Debug)]
pub(super) struct History {
    able: Capabilities,
    /// The only versions that anybody runs: those of the suite.
    versions: Vec<Version>,
    lives: BTreeMap<(TargetId, InstanceId), Life>,
    /// The instances that the last look showed.
    present: BTreeMap<TargetId, Vec<InstanceId>>,
    /// The instances that were shown for the first time since [`History::expect`].
    born: BTreeMap<TargetId, Vec<InstanceId>>,
    /// What was counted last of the hand-over under way.
    moves: BTreeMap<TargetId, Moves>,
}

#[derive(Debug)]
struct Life {
    version: Option<Version>,
    /// A look after those that showed it did not.
    over: bool,
}

impl History {
    pub(super) fn new(able: Capabilities, versions: Vec<Version>) -> Self {
        Self {
            able,
            versions,
            lives: BTreeMap::new(),
            present: BTreeMap::new(),
            born: BTreeMap::new(),
            moves: BTreeMap::new(),
        }
    }

    /// From here on, what becomes of connections at this target is counted anew.
    pub(super) fn count_anew(&mut self, target: &TargetId) {
        self.moves.remove(target);
    }

    /// Counts of one hand-over only grow.
    fn take_moves(&mut self, target: &TargetId, now: Moves) -> Result<(), Breach> {
        let counts = |moves: Moves| {
            let Moves {
                moved,
                declined,
                cut,
                lost,
                bytes,
                ..
            } = moves;
            [moved.into(), declined.into(), cut.into(), lost.into(), bytes]
        };
        let before = self.moves.insert(target.clone(), now).unwrap_or(now);
        if counts(before)
            .iter()
            .zip(counts(now))
            .any(|(before, now)| now < *before)
        {
            let told = format!("{target} had counted {before:?} and counts {now:?}");
            return Err(Breach::new("handover.uncounts", told));
        }
        Ok(())
    }

    /// From here on, what appears at this target is counted anew.
    pub(super) fn expect(&mut self, target: &TargetId) {
        self.born.remove(target);
    }

    /// How many instances have appeared since.
    pub(super) fn born(&self, target: &TargetId) -> usize {
        self.born.get(target).map_or(0, Vec::len)
    }

    /// Takes in one more look at a target.
    pub(super) fn take(&mut self, target: &TargetId, seen: &Observation) -> Result<(), Breach> {
        if let Some(words) = contradiction(seen, &self.able) {
            return Err(Breach::new(
                "observe.contradicts",
                format!("{target} {words}: {seen:?}"),
            ));
        }
        if let Some(pair) = &seen.pair {
            self.take_moves(target, pair.moves)?;
        }
        let shown = instances(seen);
        let stranger = shown.iter().map(|(version, _)| *version).chain([seen.version.as_ref()]);
        if let Some(version) = stranger.flatten().find(|version| !self.versions.contains(version)) {
            let told = format!("{target} shows {version}, which nobody ordered");
            return Err(Breach::new("observe.version", told));
        }
        let names: Vec<InstanceId> = shown.iter().map(|(_, instance)| *instance).collect();
        for gone in self.present.insert(target.clone(), names.clone()).unwrap_or_default() {
            if !names.contains(&gone)
                && let Some(life) = self.lives.get_mut(&(target.clone(), gone))
            {
                life.over = true;
            }
        }
        for (version, instance) in shown {
            let Some(life) = self.lives.get_mut(&(target.clone(), instance)) else {
                let life = Life {
                    version: version.cloned(),
                    over: false,
                };
                self.lives.insert((target.clone(), instance), life);
                self.born.entry(target.clone()).or_default().push(instance);
                continue;
            };
            if let (Some(before), Some(now)) = (&life.version, version)
                && before != now
            {
                let told = format!("{target} shows instance {} with {now}; it had {before}", instance.0);
                return Err(Breach::new("replace.instance", told));
            }
            if life.over {
                let told = format!("{target} shows instance {}, which was over before", instance.0);
                return Err(Breach::new("observe.old-state", told));
            }
            if life.version.is_none() {
                life.version = version.cloned();
            }
        }
        Ok(())
    }
}

/// Every instance that a look shows, with its version, each once.
fn instances(seen: &Observation) -> Vec<(Option<&Version>, InstanceId)> {
    let mut all: Vec<(Option<&Version>, InstanceId)> = Vec::with_capacity(2);
    let slots = seen.pair.iter().flat_map(|pair| &pair.slots);
    let slots = slots.map(|slot| (slot.version.as_ref(), slot.instance));
    for (version, instance) in slots.chain([(seen.version.as_ref(), seen.instance)]) {
        if let Some(instance) = instance
            && all.iter().all(|(_, known)| *known != instance)
        {
            all.push((version, instance));
        }
    }
    all
}

/// What one look says against itself, in words.
fn contradiction(seen: &Observation, able: &Capabilities) -> Option<&'static str> {
    if let Some(words) = process(seen.phase, seen.instance, seen.ready, &seen.self_check) {
        return Some(words);
    }
    if seen.phase == Phase::Gone && seen.version.is_some() {
        return Some("does not exist and has a version");
    }
    if seen.phase == Phase::Gone || !able.slots {
        return None;
    }
    match &seen.pair {
        None => Some("has two slots, by the capabilities, and shows none"),
        Some(pair) => pair_contradiction(seen, pair),
    }
}

fn pair_contradiction(seen: &Observation, pair: &Pair) -> Option<&'static str> {
    let [a, b] = &pair.slots;
    if a.version.is_some() && a.version == b.version {
        return Some("has one version in both slots");
    }
    if a.instance.is_some() && a.instance == b.instance {
        return Some("has one instance in both slots");
    }
    if seen.instance.is_some() {
        let serving = [a, b].into_iter().find(|slot| slot.instance == seen.instance);
        let same = |slot: &SlotSeen| {
            (slot.phase, slot.ready, &slot.version, &slot.self_check)
                == (seen.phase, seen.ready, &seen.version, &seen.self_check)
        };
        if !serving.is_some_and(same) {
            return Some("is shown otherwise than the slot that serves");
        }
    }
    pair.slots.iter().find_map(slot_contradiction)
}

fn slot_contradiction(slot: &SlotSeen) -> Option<&'static str> {
    if let Some(words) = process(slot.phase, slot.instance, slot.ready, &slot.self_check) {
        return Some(words);
    }
    if slot.version.is_none() && (slot.instance.is_some() || slot.phase != Phase::Stopped) {
        return Some("has an empty slot in which something runs");
    }
    if slot.accepting && slot.phase != Phase::Running {
        return Some("accepts in a slot in which nothing runs");
    }
    if slot.accepting && !slot.listeners {
        return Some("accepts from listeners that it does not hold");
    }
    if slot.retired && (slot.accepting || slot.connections.is_some_and(|left| left > 0)) {
        return Some("has an instance that has left and still serves");
    }
    None
}

fn process(phase: Phase, instance: Option<InstanceId>, ready: bool, check: &SelfCheck) -> Option<&'static str> {
    match phase {
        Phase::Gone | Phase::Stopped if instance.is_some() => Some("shows an instance where nothing runs"),
        Phase::Running if instance.is_none() => Some("runs without an instance"),
        Phase::Gone | Phase::Stopped | Phase::Starting | Phase::Crashing if ready => {
            Some("is ready, and nothing runs there")
        }
        _ if *check == SelfCheck::Passed && instance.is_none() => Some("has passed its checks without an instance"),
        _ => None,
    }
}
