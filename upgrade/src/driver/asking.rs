//! What one look asks: how the targets are, and beyond that, where the platform can be asked, consumers of a closed
//! ingress and the instances themselves.
use std::sync::Arc;

use super::calls::within;
use crate::{
    Barrier, Clock, Ingress, InstanceId, Machine, Mode, Observation, Phase, Platform, Probe, SelfCheck, Step, TargetId,
    Version,
};

/// A look at some targets.
pub(super) struct Question {
    pub(super) names: Vec<TargetId>,
    /// Places of those whose ingress is to be closed; none where the platform has no barrier.
    pub(super) closing: Vec<usize>,
    /// Places of those that may be believed by this look, and whose word that takes; none where the platform has no probes.
    pub(super) believing: Vec<(usize, Word)>,
}

/// Whose own word a look wants that may believe in an instance.
pub(super) enum Word {
    /// That of the instance which the look shows.
    Shown,
    /// That of the instance of this version, in whichever slot, if one is shown.
    Of(Version),
    /// As before, if it is that one who answers: both slots take from the same queue of new connections, and what is heard
    /// from the other says nothing.
    Perhaps(Version),
    /// As [`Of`](Self::Of), and it is not asked yet: it is not what is waited for, and is believed from the next look on.
    NotYet(Version),
}

impl Word {
    /// `None` where the machine believes in nobody, whatever the look shows, or has believed already.
    pub(super) fn of(machine: &Machine) -> Option<Self> {
        let plan = machine.plan();
        let (old, new) = (|| plan.from.clone(), || plan.to.clone());
        let word = match (machine.step(), plan.mode) {
            // Versions are those of configurations there.
            (Step::Verifying | Step::VerifyingOld, Mode::Config) => Self::Shown,
            (_, Mode::Config) => return None,
            (Step::Proving, _) => Self::Perhaps(new()),
            // The old one does not take new connections any more, or is gone.
            (Step::Migrating | Step::Committing | Step::Resetting | Step::Verifying, _) => Self::Of(new()),
            // It may run there already.
            (Step::Planned, _) => Self::Of(new()),
            (Step::VerifyingOld, _) => Self::Of(old()),
            (Step::Replacing, _) | (Step::Recovering, Mode::Cold | Mode::Warm) => Self::NotYet(new()),
            _ => return None,
        };
        Some(word)
    }

    pub(super) const fn is_asked(&self) -> bool {
        !matches!(self, Self::NotYet(_))
    }

    /// Who that is, if it runs.
    fn whom(&self, seen: &Observation) -> Option<InstanceId> {
        let (version, pair) = match (self, &seen.pair) {
            (Self::Shown, _) => return seen.instance.filter(|_| seen.phase == Phase::Running),
            (Self::Of(version) | Self::Perhaps(version) | Self::NotYet(version), pair) => (version, pair),
        };
        let is = |phase, of: &Option<Version>| phase == Phase::Running && of.as_ref() == Some(version);
        match pair {
            Some(pair) => pair.slots.iter().find(|slot| is(slot.phase, &slot.version))?.instance,
            None => seen.instance.filter(|_| is(seen.phase, &seen.version)),
        }
    }

    /// Lets the look say of that instance only what its own answer bears out. What a look proves against it stands, whatever
    /// it says of itself.
    fn lay(&self, seen: &mut Observation, answer: Option<&Probe>) {
        let Some(whom) = self.whom(seen) else { return };
        let lay = |version: &Option<Version>, self_check: &mut SelfCheck| {
            if *self_check != SelfCheck::Passed {
                return;
            }
            let own = answer.filter(|answer| answer.instance == Some(whom) && answer.version == *version);
            match own {
                Some(own) => *self_check = own.self_check.clone(),
                None if matches!(self, Self::Perhaps(_)) => {}
                None => *self_check = SelfCheck::Unreported,
            }
        };
        if seen.instance == Some(whom) {
            lay(&seen.version, &mut seen.self_check);
        }
        for slot in seen.pair.iter_mut().flat_map(|pair| &mut pair.slots) {
            if slot.instance == Some(whom) {
                lay(&slot.version, &mut slot.self_check);
            }
        }
    }
}

/// What came of a look.
pub(super) struct Sight {
    pub(super) seen: Vec<Observation>,
    /// What consumers of closed ways say, by place.
    pub(super) barriers: Vec<(usize, Barrier)>,
    /// Whether consumers and instances have answered, if any were asked.
    pub(super) answered: Option<bool>,
}

impl Question {
    /// The observations, which say of instances only what their own answers bear out: one that does not answer itself has
    /// not reported. `None` where there was no answer, not for every target, or not within so long; but a single target of
    /// which consumers or instance say nothing is taken at that.
    pub(super) async fn ask(self, platform: Arc<dyn Platform>, clock: Arc<dyn Clock>, call_ms: u64) -> Option<Sight> {
        let (platform, clock) = (platform.as_ref(), clock.as_ref());
        let until_ms = clock.now().saturating_add(call_ms);
        let answered = within(clock, until_ms, platform.observe(&self.names)).await;
        // Too few or too many cannot be told apart from the wrong ones.
        let mut seen = answered?.ok().filter(|seen| seen.len() == self.names.len())?;
        let shown = |at: &&usize| seen[**at].ingress == Ingress::Closed;
        let closed: Vec<usize> = self.closing.iter().filter(shown).copied().collect();
        for (at, word) in self.believing.iter().filter(|(_, word)| !word.is_asked()) {
            word.lay(&mut seen[*at], None);
        }
        let running = |(at, word): &&(usize, Word)| word.is_asked() && word.whom(&seen[*at]).is_some();
        let running: Vec<&(usize, Word)> = self.believing.iter().filter(running).collect();
        if closed.is_empty() && running.is_empty() {
            return Some(Sight {
                seen,
                barriers: Vec::new(),
                answered: None,
            });
        }
        let until_ms = clock.now().saturating_add(call_ms);
        let barriers = async {
            let names = self.named(closed.iter());
            if names.is_empty() {
                return None;
            }
            let answers = within(clock, until_ms, platform.ingress_barrier(&names)).await;
            answers?.ok().filter(|answers| answers.len() == names.len())
        };
        let probes = async {
            let names = self.named(running.iter().map(|(at, _)| at));
            if names.is_empty() {
                return None;
            }
            let answers = within(clock, until_ms, platform.probe(&names)).await;
            answers?.ok().filter(|answers| answers.len() == names.len())
        };
        let (barriers, probes) = futures::join!(barriers, probes);
        // One at which they hang must not speak for the others: they are asked in parts then.
        if (barriers.is_none() && closed.len() > 1) || (probes.is_none() && running.len() > 1) {
            return None;
        }
        let answered = (closed.is_empty() || barriers.is_some()) && (running.is_empty() || probes.is_some());
        for (place, (at, word)) in running.into_iter().enumerate() {
            word.lay(&mut seen[*at], probes.as_ref().map(|answers| &answers[place]));
        }
        let told = |place: usize| {
            barriers
                .as_ref()
                .map_or_else(Barrier::default, |answers| answers[place])
        };
        Some(Sight {
            barriers: closed
                .iter()
                .enumerate()
                .map(|(place, &at)| (at, told(place)))
                .collect(),
            seen,
            answered: Some(answered),
        })
    }

    fn named<'a>(&self, places: impl Iterator<Item = &'a usize>) -> Vec<TargetId> {
        places.map(|at| self.names[*at].clone()).collect()
    }
}
