//! What is asked beyond a look: barriers, probes, addresses; and what newborns are told to run.
use super::trial::Trial;
use crate::conformance::Breach;
use crate::{
    Barrier, Clock, EffectKey, EffectOutcome, Generation, Phase, Platform, PlatformError, Probe, SelfCheck, TargetId,
};

/// How often a question may go unanswered.
const TRIES: u32 = 50;

impl<P, C> Trial<'_, P, C>
where
    P: Platform + ?Sized,
    C: Clock + ?Sized,
{
    pub(super) async fn no_barrier_yet(&mut self, target: &TargetId) -> Result<(), Breach> {
        if self.able.barrier && self.barrier(target).await?.told {
            let told = format!("the way to {target} is open, and its barrier says that everybody took it out");
            return Err(Breach::new("barrier.early", told));
        }
        Ok(())
    }

    pub(super) async fn barrier_comes(&mut self, target: &TargetId) -> Result<(), Breach> {
        if !self.able.barrier {
            return Ok(());
        }
        let until = self.clock.now().saturating_add(self.subject.patience_ms);
        let mut known_since = None;
        loop {
            let barrier = self.barrier(target).await?;
            let now = self.clock.now();
            known_since = if barrier.told { known_since.or(Some(now)) } else { None };
            if barrier.is_reached(known_since.map_or(0, |since| now - since)) {
                return Ok(());
            }
            if now >= until {
                let told = format!("the way to {target} is closed, and its barrier is still {barrier:?}");
                return Err(Breach::new("barrier.never", told));
            }
            self.pass(self.subject.poll_ms).await;
        }
    }

    async fn barrier(&self, target: &TargetId) -> Result<Barrier, Breach> {
        for _ in 0..TRIES {
            match self.platform.ingress_barrier(std::slice::from_ref(target)).await {
                Ok(answers) if answers.len() == 1 => return Ok(answers[0]),
                Ok(answers) => {
                    let told = format!("{} barriers of one target", answers.len());
                    return Err(Breach::new("barrier.never", told));
                }
                Err(PlatformError::Unsupported(_)) => {
                    return Err(Breach::new(
                        "capability.claimed",
                        "a barrier is claimed and gave Unsupported",
                    ));
                }
                Err(_) => self.pass(self.subject.poll_ms).await,
            }
        }
        Err(Breach::new("barrier.never", "the barrier was never told"))
    }

    pub(super) async fn asking(&mut self, target: &TargetId) -> Result<(), Breach> {
        self.probes(target).await?;
        self.endpoints(target).await?;
        self.newborns(target).await
    }

    async fn probes(&mut self, target: &TargetId) -> Result<(), Breach> {
        let asked = [target.clone(), self.subject.nobody.clone(), target.clone()];
        if !self.able.probe {
            return match self.platform.probe(&asked).await {
                Err(PlatformError::Unsupported(_)) => Ok(()),
                other => Err(Breach::new("capability.unclaimed", format!("a probe gave {other:?}"))),
            };
        }
        let mut answers: Option<Vec<Probe>> = None;
        for _ in 0..TRIES {
            match self.platform.probe(&asked).await {
                Ok(told) => answers = Some(told),
                Err(PlatformError::Unsupported(_)) => {
                    return Err(Breach::new(
                        "capability.claimed",
                        "probes are claimed and gave Unsupported",
                    ));
                }
                Err(_) => {
                    self.pass(self.subject.poll_ms).await;
                    continue;
                }
            }
            break;
        }
        let Some(answers) = answers.filter(|answers| answers.len() == asked.len()) else {
            return Err(Breach::new("probe.count", "not one answer for each of three targets"));
        };
        let seen = &self.rest[target];
        let wanted = (seen.instance, seen.version.clone(), SelfCheck::Passed);
        for (at, answer) in answers.into_iter().enumerate() {
            let found = (answer.instance, answer.version, answer.self_check);
            let right = if at == 1 { found.0.is_none() } else { found == wanted };
            if !right {
                let told = format!(
                    "a probe of {} gave {found:?}; a look at {target} shows {seen:?}",
                    asked[at]
                );
                return Err(Breach::new("probe.other", told));
            }
        }
        Ok(())
    }

    async fn endpoints(&self, target: &TargetId) -> Result<(), Breach> {
        let mut all = Vec::new();
        for target in &self.subject.targets {
            let Some(version) = self.rest[target].version.clone() else {
                continue;
            };
            match (
                self.platform.control_endpoint(target, &version).await,
                self.able.endpoint,
            ) {
                (Ok(address), true) => all.push(address),
                (Err(PlatformError::Unsupported(_)), false) => {}
                (Err(PlatformError::Unsupported(_)), true) => {
                    return Err(Breach::new(
                        "capability.claimed",
                        "endpoints are claimed and gave Unsupported",
                    ));
                }
                // Not now is not wrong.
                (Err(_), true) => return Ok(()),
                (other, false) => return Err(Breach::new("capability.unclaimed", format!("an endpoint: {other:?}"))),
            }
        }
        if let Some(version) = self.rest[target].version.as_ref().filter(|_| self.able.endpoint) {
            let again = self.platform.control_endpoint(target, version).await;
            let place = self.subject.targets.iter().position(|other| other == target);
            let first = place.and_then(|place| all.get(place));
            if again.as_ref().ok() != first {
                let told = format!("{target} is reached at {first:?} and then at {again:?}");
                return Err(Breach::new("endpoint.unstable", told));
            }
        }
        let all_of_them = all.len();
        all.sort_unstable();
        all.dedup();
        if all.len() < all_of_them {
            return Err(Breach::new(
                "endpoint.shared",
                format!("{all_of_them} targets are reached at {all:?}"),
            ));
        }
        Ok(())
    }

    async fn newborns(&mut self, target: &TargetId) -> Result<(), Breach> {
        const SCOPE: &str = "conformance";
        let version = self.other_version(target);
        let key = self.key(target, 1);
        let mut tries = 0;
        let outcome = loop {
            tries += 1;
            match self.platform.desired(SCOPE, &version, &key).await {
                EffectOutcome::Unknown { .. } | EffectOutcome::Retry { .. } if tries < TRIES => {
                    self.pass(self.subject.poll_ms).await;
                }
                outcome => break outcome,
            }
        };
        let taken = matches!(outcome, EffectOutcome::Applied | EffectOutcome::AlreadyApplied);
        if taken != self.able.desired || (!taken && outcome != EffectOutcome::Unsupported) {
            let rule = if taken {
                "capability.unclaimed"
            } else {
                "capability.claimed"
            };
            return Err(Breach::new(rule, format!("what newborns run gave {outcome:?}")));
        }
        if taken {
            let lower = EffectKey {
                generation: Generation(key.generation.0.saturating_sub(1)),
                ..self.key(target, 1)
            };
            let outcome = self.platform.desired(SCOPE, &version, &lower).await;
            if outcome != EffectOutcome::Stale {
                let told = format!("{lower} after {key} for a scope gave {outcome:?}");
                return Err(Breach::new("desired.stale", told));
            }
            self.nothing_happens("desired.touched", target).await?;
        }
        debug_assert_ne!(self.rest[target].phase, Phase::Gone);
        Ok(())
    }
}
