//! What is asked beyond a look, where the platform can be asked: consumers of a closed ingress, and the instances themselves.
use super::Driver;
use crate::{Clock, Ingress, Journal, Observation, Phase, Platform, SelfCheck, Step, TargetId};

impl<P, J, C> Driver<P, J, C>
where
    P: Platform + ?Sized,
    J: Journal + ?Sized,
    C: Clock + ?Sized,
{
    /// Lets looks say only what the answers bear out: a closing that has not reached everybody is not known to be closed,
    /// and an instance that does not answer itself has not reported.
    pub(super) async fn ask(&mut self, slots: &[usize], names: &[TargetId], seen: &mut [Observation]) {
        if self.capabilities.barrier {
            self.ask_barrier(slots, names, seen).await;
        }
        if self.capabilities.probe {
            self.ask_instances(slots, names, seen).await;
        }
    }

    async fn ask_barrier(&mut self, slots: &[usize], names: &[TargetId], seen: &mut [Observation]) {
        let closing = |step| matches!(step, Step::Closing | Step::Reclosing);
        let asked = self.those(slots, seen, |step, seen| {
            closing(step) && seen.ingress == Ingress::Closed
        });
        if asked.is_empty() {
            return;
        }
        let targets: Vec<TargetId> = asked.iter().map(|at| names[*at].clone()).collect();
        let answers = self.platform.ingress_barrier(&targets).await;
        let now = self.clock.now();
        let answers = answers.ok().filter(|answers| answers.len() == asked.len());
        for (place, at) in asked.into_iter().enumerate() {
            let Some(attempt) = &mut self.slots[slots[at]] else {
                continue;
            };
            let barrier = answers.as_ref().map(|answers| answers[place]).unwrap_or_default();
            if !barrier.told {
                attempt.barred_since = None;
            }
            let since = barrier.told.then(|| *attempt.barred_since.get_or_insert(now));
            if !barrier.is_reached(since.map_or(0, |since| now.saturating_sub(since))) {
                seen[at].ingress = Ingress::Unknown;
            }
        }
    }

    async fn ask_instances(&self, slots: &[usize], names: &[TargetId], seen: &mut [Observation]) {
        let believing = |step| matches!(step, Step::Verifying | Step::VerifyingOld);
        let asked = self.those(slots, seen, |step, seen| {
            believing(step) && seen.phase == Phase::Running
        });
        if asked.is_empty() {
            return;
        }
        let targets: Vec<TargetId> = asked.iter().map(|at| names[*at].clone()).collect();
        let answers = self.platform.probe(&targets).await.ok();
        let answers = answers.filter(|answers| answers.len() == asked.len());
        for (place, at) in asked.into_iter().enumerate() {
            let seen = &mut seen[at];
            let answer = answers.as_ref().map(|answers| &answers[place]);
            let answer = answer.filter(|answer| answer.instance == seen.instance && answer.version == seen.version);
            // What a look proves stands, whatever the instance says of itself.
            if seen.self_check == SelfCheck::Passed {
                seen.self_check = answer.map_or(SelfCheck::Unreported, |answer| answer.self_check.clone());
            }
        }
    }

    /// The places of those that meet the condition.
    fn those(&self, slots: &[usize], seen: &[Observation], wanted: impl Fn(Step, &Observation) -> bool) -> Vec<usize> {
        let step = |slot: usize| self.slots[slot].as_ref().map(|attempt| attempt.machine.step());
        let pairs = slots.iter().zip(seen).enumerate();
        pairs
            .filter(|(_, (slot, seen))| step(**slot).is_some_and(|step| wanted(step, seen)))
            .map(|(at, _)| at)
            .collect()
    }
}
