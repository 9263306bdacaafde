//! What one look asks: how the targets are, and beyond that, where the platform can be asked, consumers of a closed
//! ingress and the instances themselves.
use std::sync::Arc;

use super::calls::within;
use crate::{Barrier, Clock, Ingress, Observation, Phase, Platform, SelfCheck, TargetId};

/// A look at some targets.
pub(super) struct Question {
    pub(super) names: Vec<TargetId>,
    /// Places of those whose ingress is to be closed; none where the platform has no barrier.
    pub(super) closing: Vec<usize>,
    /// Places of those that are to be believed; none where the platform has no probes.
    pub(super) believing: Vec<usize>,
}

/// What came of a look.
pub(super) struct Sight {
    pub(super) seen: Vec<Observation>,
    /// What consumers of closed ways say, by place.
    pub(super) barriers: Vec<(usize, Barrier)>,
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
        let closed = self.those(&self.closing, &seen, |seen| seen.ingress == Ingress::Closed);
        let running = self.those(&self.believing, &seen, |seen| seen.phase == Phase::Running);
        if closed.is_empty() && running.is_empty() {
            return Some(Sight {
                seen,
                barriers: Vec::new(),
            });
        }
        let until_ms = clock.now().saturating_add(call_ms);
        let barriers = async {
            let names = self.named(&closed);
            if names.is_empty() {
                return None;
            }
            let answers = within(clock, until_ms, platform.ingress_barrier(&names)).await;
            answers?.ok().filter(|answers| answers.len() == names.len())
        };
        let probes = async {
            let names = self.named(&running);
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
        for (place, &at) in running.iter().enumerate() {
            let seen = &mut seen[at];
            let answer = probes.as_ref().map(|answers| &answers[place]);
            let answer = answer.filter(|answer| answer.instance == seen.instance && answer.version == seen.version);
            // What a look proves stands, whatever the instance says of itself.
            if seen.self_check == SelfCheck::Passed {
                seen.self_check = answer.map_or(SelfCheck::Unreported, |answer| answer.self_check.clone());
            }
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
        })
    }

    /// The places of those that meet the condition.
    fn those(&self, places: &[usize], seen: &[Observation], met: impl Fn(&Observation) -> bool) -> Vec<usize> {
        places.iter().copied().filter(|at| met(&seen[*at])).collect()
    }

    fn named(&self, places: &[usize]) -> Vec<TargetId> {
        places.iter().map(|at| self.names[*at].clone()).collect()
    }
}
