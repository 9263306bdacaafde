//! Domains: what can be cut off as one. One that cannot be reached holds its own targets and nobody else's, and what is under way
//! there counts against every allowance. The largest of them, regions, are exposed for the first time one after the other.

use std::collections::{BTreeMap, BTreeSet};

use unattended_batching::{Fleet, TargetIndex};
use unattended_upgrade::TargetId;

use super::classes::{Evidence, Fresh};
use super::span::span;
use super::tables::Tables;
use super::{Commands, Direction, Machine, Target};

/// The first of so many living ones, spread over the domain.
const CANDIDATES: usize = 64;
/// It cannot be reached where so many looks in a row showed nobody.
const MISSES: u8 = 2;

/// A domain's number.
type DomainIndex = u16;

/// One domain.
#[derive(Clone, Debug)]
struct Domain {
    /// `region=eu, cluster=eu-1`.
    name: String,
    /// The class of its region.
    region: Option<u32>,
    /// Living ones; none only where nobody lives there.
    candidates: Vec<TargetIndex>,
    /// How many live there.
    living: usize,
    /// Looks in a row that showed nobody.
    missed: u8,
    /// Since when it cannot be reached.
    silent_ms: Option<u64>,
}

/// The domains, and who waits for them.
#[derive(Clone, Debug, Default)]
pub(super) struct Domains {
    list: Vec<Domain>,
    /// By target; shorter than the fleet where nobody was born since.
    of: Vec<Option<DomainIndex>>,
    numbers: BTreeMap<Vec<String>, DomainIndex>,
    keys: Vec<String>,
    /// Given by the frontier, which counts them as in flight, and not started.
    waiting: BTreeMap<TargetIndex, Direction>,
    /// Out of reach on the way forward: they wait outside the frontier's queues.
    away: BTreeSet<TargetIndex>,
    /// Classes of which nobody can be reached: what is opened elsewhere need not wait for their evidence.
    dark: BTreeSet<u32>,
    /// The region that is exposed for the first time, and those that have been.
    exposing: Option<u32>,
    shown: BTreeSet<u32>,
}

impl Domains {
    /// Whether this is the region in its first exposure.
    pub(super) fn is_exposing(&self, class: u32) -> bool {
        self.exposing == Some(class)
    }

    /// The domains of a fleet by the values of `keys`, the first being the region.
    pub(super) fn new(fleet: &Fleet, tables: &Tables, keys: &[String]) -> Self {
        let mut domains = Self {
            keys: keys.to_vec(),
            ..Self::default()
        };
        if keys.is_empty() {
            return domains;
        }
        let indices: Vec<_> = keys.iter().map(|key| fleet.key_index(key)).collect();
        let mut members: Vec<Vec<TargetIndex>> = Vec::new();
        for target in fleet.targets() {
            let value = |index: &Option<_>| {
                let index = (*index)?;
                fleet.label(target, index).map(|value| fleet.value_name(index, value))
            };
            let values: Vec<Option<&str>> = indices.iter().map(value).collect();
            let number = domains.number(&values, tables);
            domains.of.push(number);
            let Some(number) = number else { continue };
            members.resize(members.len().max(usize::from(number) + 1), Vec::new());
            members[usize::from(number)].push(target);
        }
        for (domain, members) in domains.list.iter_mut().zip(members) {
            domain.living = members.len();
            domain.candidates = spread(members);
        }
        domains
    }

    /// The domain of these values. A target without a region is in none.
    fn number(&mut self, values: &[Option<&str>], tables: &Tables) -> Option<DomainIndex> {
        let region = values.first().copied().flatten()?;
        let named: Vec<String> = values
            .iter()
            .map(|value| value.unwrap_or_default().to_owned())
            .collect();
        if let Some(&known) = self.numbers.get(&named) {
            return Some(known);
        }
        let number = DomainIndex::try_from(self.list.len()).ok()?;
        let named_keys = self.keys.iter().zip(values);
        let parts = named_keys.filter_map(|(key, value)| value.map(|value| format!("{key}={value}")));
        let class = format!("{}={region}", self.keys[0]);
        self.list.push(Domain {
            name: parts.collect::<Vec<_>>().join(", "),
            region: tables.class_named(&class),
            candidates: Vec::new(),
            living: 0,
            missed: 0,
            silent_ms: None,
        });
        self.numbers.insert(named, number);
        Some(number)
    }

    /// Who was born takes the next number.
    pub(super) fn born(&mut self, target: TargetIndex, labels: &[(&str, &str)], tables: &Tables) {
        if self.keys.is_empty() {
            return;
        }
        let number = {
            let keys = self.keys.clone();
            let values: Vec<Option<&str>> = keys.iter().map(|key| value_of(labels, key)).collect();
            self.number(&values, tables)
        };
        self.of.push(number);
        if let Some(domain) = number.and_then(|number| self.list.get_mut(usize::from(number))) {
            domain.living += 1;
            if domain.candidates.len() < CANDIDATES {
                domain.candidates.push(target);
            }
        }
    }

    /// The target is no more; `all` are those there ever were.
    pub(super) fn died(&mut self, target: TargetIndex, all: &[Target]) {
        self.forget(target);
        let number = self.of.get(target.0 as usize).copied().flatten();
        let Some(domain) = number.and_then(|number| self.list.get_mut(usize::from(number))) else {
            return;
        };
        domain.living = domain.living.saturating_sub(1);
        domain.candidates.retain(|&candidate| candidate != target);
        if domain.candidates.is_empty() && domain.living > 0 {
            // Once for as many deaths as there are candidates, at the most.
            let living = (0u32..).zip(all).zip(&self.of);
            let members = living.filter(|((_, state), of)| state.alive && **of == number);
            domain.candidates = spread(members.map(|((at, _), _)| TargetIndex(at)).collect());
        }
    }

    /// The target waits for its domain no more.
    pub(super) fn forget(&mut self, target: TargetIndex) {
        self.waiting.remove(&target);
        self.away.remove(&target);
    }

    /// Whether somebody lives where it can be reached.
    pub(super) fn some_are_reached(&self) -> bool {
        let reached = |domain: &Domain| domain.silent_ms.is_none() && domain.living > 0;
        self.list.iter().any(reached)
    }

    /// The name of a target's domain and since when it cannot be reached, if it cannot.
    pub(super) fn silent_since(&self, target: TargetIndex) -> Option<(&str, u64)> {
        let domain = self.of(target)?;
        domain.silent_ms.map(|since_ms| (domain.name.as_str(), since_ms))
    }

    /// Who waited for a domain waits apart.
    pub(super) fn put_away(&mut self, target: TargetIndex) {
        self.waiting.remove(&target);
        self.away.insert(target);
    }

    /// Whether the target is not among those that wait apart, and does not wait for the way back.
    pub(super) fn waits_not(&self, target: TargetIndex) -> bool {
        !self.away.contains(&target) && self.waiting.get(&target) != Some(&Direction::Back)
    }

    pub(super) fn no_longer_away(&mut self, target: TargetIndex) {
        self.away.remove(&target);
    }

    pub(super) fn those_away(&self) -> Vec<TargetIndex> {
        self.away.iter().copied().collect()
    }

    pub(super) fn set_dark(&mut self, dark: BTreeSet<u32>) {
        self.dark = dark;
    }

    /// Nobody shows anything of a region that cannot be reached: the next may be exposed.
    pub(super) fn pass_over_dark(&mut self) {
        self.exposing = self.exposing.filter(|region| !self.dark.contains(region));
    }

    /// Since when nobody of a region can be reached, if nobody can.
    fn dark_since(&self, region: u32) -> Option<u64> {
        let of_region = self
            .list
            .iter()
            .filter(|domain| domain.region == Some(region) && domain.living > 0);
        let since: Option<Vec<u64>> = of_region.map(|domain| domain.silent_ms).collect();
        since?.into_iter().max()
    }

    pub(super) fn is_away(&self, target: TargetIndex) -> bool {
        !self.away.is_empty() && self.away.contains(&target)
    }

    /// Whether some of these wait apart.
    pub(super) fn keeps_away(&self, is_of: impl Fn(TargetIndex) -> bool) -> bool {
        self.away.iter().any(|&target| is_of(target))
    }

    pub(super) fn has_away(&self) -> bool {
        !self.away.is_empty()
    }

    pub(super) fn is_dark(&self, class: u32) -> bool {
        self.dark.contains(&class)
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Those that wait for the turn of their region.
    pub(super) fn waiting_forward(&self) -> Vec<TargetIndex> {
        let waiting = self.waiting.iter().filter(|(_, way)| **way == Direction::Forward);
        waiting.map(|(&target, _)| target).collect()
    }

    /// The change is taken back: who waited for the way there does no longer.
    pub(super) fn withdraw(&mut self) -> Vec<TargetIndex> {
        self.away.clear();
        std::mem::take(&mut self.waiting).into_keys().collect()
    }

    fn of(&self, target: TargetIndex) -> Option<&Domain> {
        let number = (*self.of.get(target.0 as usize)?)?;
        self.list.get(usize::from(number))
    }

    /// Whether somebody of a region may get the new version now.
    fn may_expose(&self, region: Option<u32>) -> bool {
        region.is_none_or(|region| self.shown.contains(&region) || self.exposing.is_none_or(|now| now == region))
    }

    /// Whether a target born with these labels may have the new version, as far as domains go.
    pub(super) fn may_be_born_new(&self, labels: &[(&str, &str)]) -> bool {
        if self.keys.is_empty() {
            return true;
        }
        let named: Vec<String> = (self.keys.iter())
            .map(|key| value_of(labels, key).unwrap_or_default().to_owned())
            .collect();
        let Some(&number) = self.numbers.get(&named) else {
            return true;
        };
        let domain = &self.list[usize::from(number)];
        // A birth is never the first of its region: nobody looks at it as at an attempt.
        let begun = domain
            .region
            .is_none_or(|region| self.shown.contains(&region) || self.exposing == Some(region));
        begun && domain.silent_ms.is_none()
    }

    /// Domains that cannot be reached, each since when and with how many who wait for it.
    pub(super) fn silent(&self) -> impl Iterator<Item = (&str, u64, usize)> {
        let is_any = self.list.iter().any(|domain| domain.silent_ms.is_some());
        // Once through those who wait, however many domains there are.
        let mut waiting = vec![0; if is_any { self.list.len() } else { 0 }];
        if is_any {
            let numbers = self
                .waiting
                .keys()
                .chain(&self.away)
                .map(|target| self.of[target.0 as usize]);
            numbers.flatten().for_each(|number| waiting[usize::from(number)] += 1);
        }
        let all = self.list.iter().zip(waiting);
        all.filter_map(|(domain, waiting)| domain.silent_ms.map(|since| (domain.name.as_str(), since, waiting)))
    }
}

/// Some of all, from all over.
fn spread(members: Vec<TargetIndex>) -> Vec<TargetIndex> {
    let stride = members.len().div_ceil(CANDIDATES).max(1);
    members.into_iter().step_by(stride).collect()
}

fn value_of<'l>(labels: &[(&'l str, &'l str)], key: &str) -> Option<&'l str> {
    labels.iter().find(|(name, _)| *name == key).map(|(_, value)| *value)
}

impl Machine {
    /// Whom to look at to see which domains can be reached: at most `most` of each, and others at each look. None where there is one domain
    /// only, which is the platform.
    pub(crate) fn domain_samples(&self, look: usize, most: usize) -> Vec<Vec<TargetId>> {
        if self.domains.list.len() < 2 {
            return Vec::new();
        }
        let some = |domain: &Domain| {
            let all = &domain.candidates;
            // From where the look before ended, round and round.
            let first = look.wrapping_mul(most) % all.len().max(1);
            let some = all[first..].iter().chain(&all[..first]).take(most);
            some.map(|&target| TargetId::from(self.name(target))).collect()
        };
        self.domains.list.iter().map(some).collect()
    }

    /// Whether it matters that all domains were seen.
    pub(crate) fn misses_domains(&self) -> bool {
        self.domains.list.iter().any(|domain| domain.missed > 0)
    }

    /// Nobody was seen in these domains, and somebody in the others.
    pub(crate) fn domains_seen(&mut self, unseen: &[DomainIndex]) {
        let mut changed = false;
        for at in 0..self.domains.list.len() {
            let now_ms = self.now_ms;
            let domain = &mut self.domains.list[at];
            let name = domain.name.clone();
            if DomainIndex::try_from(at).is_ok_and(|number| unseen.contains(&number)) {
                domain.missed = domain.missed.saturating_add(1);
                if domain.missed < MISSES || domain.silent_ms.is_some() {
                    continue;
                }
                domain.silent_ms = Some(now_ms);
                let is_first = domain.region.is_some() && domain.region == self.domains.exposing;
                let rest = if is_first && self.decides_by(9) {
                    "what is under way counts against every allowance, and as it is exposed for the first time no other region begins meanwhile"
                } else if self.decides_by(4) {
                    "what is under way counts against every allowance, and everything else goes on"
                } else {
                    "and what would be counts against every allowance"
                };
                let text = format!("{name} cannot be reached: nothing more is started there, {rest}");
                let otherwise = "an answer of anybody in it would have let it go on".to_owned();
                self.decide_text("domain.silent", text, Some(otherwise));
            } else {
                domain.missed = 0;
                let Some(since) = domain.silent_ms.take() else { continue };
                let minutes = (now_ms - since) / 60_000;
                self.moved_ms = now_ms;
                self.decide_text(
                    "domain.back",
                    format!("{name} can be reached again, after {minutes} min"),
                    None,
                );
            }
            self.scan_due = true;
            changed = true;
        }
        if changed {
            self.reach_has_changed();
        }
    }

    /// Whether a target may start where it lives. It waits for its domain if not, or is owed where that has been silent for too long.
    pub(super) fn enters_domain(&mut self, target: TargetIndex, direction: Direction) -> bool {
        match self.domain_says(target, direction) {
            Says::Start => {
                self.begin_region(target, direction);
                return true;
            }
            Says::Wait if direction == Direction::Forward && self.is_out_of_reach(target) => self.send_away(target),
            Says::Wait => {
                self.domains.waiting.insert(target, direction);
            }
            Says::GiveUp(reason) => self.owe(target, true, reason),
        }
        false
    }

    /// Those who waited for their domain, and need not any more. What the rules let go when they began to wait they may not let go now.
    pub(super) fn start_waiting(&mut self, commands: &mut Commands) {
        for (target, direction) in self.domains.waiting.clone() {
            match self.domain_says(target, direction) {
                Says::Wait => continue,
                Says::Start => {
                    if !self.decides_by(7) {
                        self.begin_region(target, direction);
                    }
                    self.domains.waiting.remove(&target);
                    self.moved_ms = self.now_ms;
                    match direction {
                        _ if !self.decides_by(6) => self.offer_as_before(target, direction, commands),
                        Direction::Back => self.start_back(target, commands),
                        Direction::Forward => self.give_back(target),
                    }
                }
                Says::GiveUp(reason) => {
                    self.domains.waiting.remove(&target);
                    self.owe(target, true, reason);
                }
            }
        }
    }

    /// Whether nothing of its domain keeps a target from going this way now.
    pub(super) fn domain_lets(&self, target: TargetIndex, direction: Direction) -> bool {
        matches!(self.domain_says(target, direction), Says::Start)
    }

    /// Whether the region of a target may get the new version now.
    pub(super) fn domain_may_expose(&self, target: TargetIndex) -> bool {
        let region = self.domains.of(target).and_then(|domain| domain.region);
        self.domains.may_expose(region)
    }

    fn domain_says(&self, target: TargetIndex, direction: Direction) -> Says {
        let Some(domain) = self.domains.of(target) else {
            return Says::Start;
        };
        let patience = self.setup.change.settings.blocked_patience_ms;
        if let Some(since) = domain.silent_ms {
            if self.now_ms - since < patience {
                return Says::Wait;
            }
            // Whoever must leave the new version is tried however that may end.
            return match direction {
                Direction::Back => Says::Start,
                Direction::Forward => {
                    let silent = span(self.now_ms - since);
                    Says::GiveUp(format!("{} could not be reached for {silent}", domain.name))
                }
            };
        }
        match direction {
            Direction::Forward if !self.domains.may_expose(domain.region) => Says::Wait,
            Direction::Forward | Direction::Back => Says::Start,
        }
    }

    /// A target is about to start: its region has its turn from now on, if it has not had it yet.
    pub(super) fn begin_region(&mut self, target: TargetIndex, direction: Direction) {
        let Some(domain) = self.domains.of(target) else { return };
        if direction == Direction::Back || domain.silent_ms.is_some() {
            return;
        }
        if let Some(region) = (domain.region).filter(|region| !self.domains.shown.contains(region))
            && self.domains.exposing.is_none()
        {
            self.domains.exposing = Some(region);
            let name = &self.tables.classes[region as usize].name;
            let text = format!(
                "{name} is exposed for the first time, and no other region is until it has shown that it is well"
            );
            self.decide_text("region.first", text, None);
        }
    }

    /// Whether the region that is exposed for the first time has shown that it is well: the next may be.
    pub(super) fn watch_regions(&mut self) {
        let Some(region) = self.domains.exposing else { return };
        let state = &self.classes[region as usize];
        if self.decides_by(7)
            && let Some(since_ms) = self.domains.dark_since(region)
        {
            // Where somebody of it runs the release, that it has gone silent may be the release's doing: the others wait as long as for
            // whatever is blocked.
            let patience_ms = self.setup.change.settings.blocked_patience_ms;
            if state.exposed == 0 || self.now_ms - since_ms >= patience_ms {
                self.domains.pass_over_dark();
            }
            return;
        }
        let rested = matches!(state.fresh, Fresh::Counting(since)
            if self.seen_until_ms().saturating_sub(since) >= self.setup.change.settings.bake_ms);
        let name = self.tables.classes[region as usize].name.clone();
        if rested && !matches!(self.evidence(region), Evidence::None) {
            self.domains.shown.insert(region);
            self.domains.exposing = None;
            let by_word = self.decides_by(8) && matches!(self.evidence(region), Evidence::Person);
            let why = if by_word {
                "is let pass by a person's word"
            } else {
                "has shown that it is well"
            };
            let text = format!("{name} {why}: the next region may be exposed");
            self.decide_text("region.shown", text, None);
        } else if state.exposed == 0
            && (!self.domains.waiting.is_empty() || self.domains.has_away())
            && self.nothing_is_offered()
        {
            // All its attempts failed, for reasons of their own: others need not wait for it.
            self.domains.exposing = None;
        }
    }
}

/// What a domain says of one of its targets.
enum Says {
    Start,
    Wait,
    /// It has been silent for too long.
    GiveUp(String),
}
