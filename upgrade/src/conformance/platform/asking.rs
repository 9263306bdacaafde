//! What is asked beyond a look: the instances themselves, and where their agents are.
use std::sync::Arc;

use super::looks::runs;
use super::trial::{Ask, PATIENT_TRIES, Trial};
use crate::conformance::Breach;
use crate::conformance::platform::Subject;
use crate::{Observation, Phase, PlatformError, Probe, SelfCheck, TargetId, Version};

impl Trial<'_> {
    /// What a look has just shown as good says so itself.
    pub(super) async fn says_so_itself(&mut self, target: &TargetId, seen: &Observation) -> Result<(), Breach> {
        if !self.able.probe {
            return Ok(());
        }
        let answer = self.probes(std::slice::from_ref(target)).await?.remove(0);
        self.answers_for(target, seen, answer).await
    }

    /// Nobody may answer, or say nothing of itself, for a while: the next look asks again. But who answers is whom the look
    /// shows.
    async fn answers_for(&self, target: &TargetId, seen: &Observation, mut answer: Probe) -> Result<(), Breach> {
        let until = self.clock.now().saturating_add(self.subject.patience_ms);
        loop {
            let same = answer.instance == seen.instance && answer.version == seen.version;
            if same && answer.self_check == SelfCheck::Passed {
                return Ok(());
            }
            let another =
                answer.instance.is_some() && !same || answer.version.is_some() && answer.version != seen.version;
            let failed = matches!(answer.self_check, SelfCheck::Failed { .. });
            if another || failed || self.clock.now() >= until {
                let told = format!("a probe of {target} gave {answer:?}; a look shows {seen:?}");
                return Err(Breach::new("probe.other", told));
            }
            self.pass(self.subject.poll_ms).await;
            answer = self.probes(std::slice::from_ref(target)).await?.remove(0);
        }
    }

    /// One answer for each target, in that order, each by the instance that a look shows.
    pub(super) async fn probing(&mut self) -> Result<(), Breach> {
        let mut asked = self.living();
        if !self.able.probe {
            return match self.platform.probe(&asked).await {
                Err(PlatformError::Unsupported(_)) => Ok(()),
                other => Err(Breach::new("capability.unclaimed", format!("a probe gave {other:?}"))),
            };
        }
        asked.push(asked[0].clone());
        asked.insert(1, self.subject.nobody.clone());
        for _ in 0..2 {
            asked.reverse();
            let answers = self.probes(&asked).await?;
            for (target, answer) in asked.iter().zip(answers) {
                if *target != self.subject.nobody {
                    self.answers_for(target, &self.rest[target], answer).await?;
                } else if answer.instance.is_some() {
                    let told = format!("{target} does not exist and answers {answer:?}");
                    return Err(Breach::new("probe.other", told));
                }
            }
        }
        Ok(())
    }

    pub(super) async fn probes(&self, asked: &[TargetId]) -> Result<Vec<Probe>, Breach> {
        let mut last = String::new();
        for _ in 0..PATIENT_TRIES {
            match self.platform.probe(asked).await {
                Ok(answers) if answers.len() == asked.len() => return Ok(answers),
                Ok(answers) => {
                    let told = format!("{} answers of {} targets", answers.len(), asked.len());
                    return Err(Breach::new("probe.count", told));
                }
                Err(PlatformError::Unsupported(_)) => {
                    let told = "probes are claimed and gave Unsupported";
                    return Err(Breach::new("capability.claimed", told));
                }
                Err(error) => last = error.to_string(),
            }
            self.pass(self.subject.poll_ms).await;
        }
        Err(Breach::new("probe.unanswered", last))
    }

    /// Each slot in which something runs has an address, the same each time, and no other slot has it.
    pub(super) async fn endpoints(&mut self) -> Result<(), Breach> {
        let mut known: Vec<(Arc<str>, TargetId, Version)> = Vec::new();
        for target in self.living() {
            for version in self.versions_at(&target) {
                let Some(address) = self.endpoint(&target, &version).await? else {
                    return Ok(());
                };
                let again = self.endpoint(&target, &version).await?;
                if again.as_ref() != Some(&address) {
                    let told = format!("{version} at {target} is reached at {address} and then at {again:?}");
                    return Err(Breach::new("endpoint.unstable", told));
                }
                if let Some((_, other, of)) = known.iter().find(|(other, ..)| *other == address) {
                    let told = format!("{version} at {target} is reached at {address}, as is {of} at {other}");
                    return Err(Breach::new("endpoint.shared", told));
                }
                known.push((address, target.clone(), version));
            }
            let Subject { first, second, .. } = self.subject;
            let absent = [
                (self.subject.nobody_version(), "endpoint.invented"),
                (first.clone(), "endpoint.gone"),
                (second.clone(), "endpoint.gone"),
            ];
            let here = self.versions_at(&target);
            for (version, rule) in absent.into_iter().filter(|(version, _)| !here.contains(version)) {
                if let Ok(address) = self.platform.control_endpoint(&target, &version).await {
                    let told = format!("{version} does not run at {target} and is reached at {address}");
                    return Err(Breach::new(rule, told));
                }
            }
        }
        Ok(())
    }

    /// An instance says nothing good of itself before a look shows that it runs. It may say so before a look shows it as
    /// ready: that is told from mouth to mouth, and the probe asks the instance itself.
    pub(super) async fn probed_while_starting(&mut self, target: &TargetId) -> Result<(), Breach> {
        if !self.able.probe {
            return Ok(());
        }
        let wanted = self.other_version(target);
        let key = self.key(target, 4);
        self.order(target, &Ask::Replace(wanted.clone()), &key).await?;
        self.moving.insert(target.clone());
        let until = self.clock.now().saturating_add(self.subject.patience_ms);
        loop {
            let answer = self.probes(std::slice::from_ref(target)).await?.remove(0);
            // It may have got ready since the look before, but not since the one after.
            let seen = self.look_alone(target).await?;
            if runs(&seen, &wanted) || self.clock.now() >= until {
                break;
            }
            let runs = seen.phase == Phase::Running && seen.instance.is_some() && seen.instance == answer.instance;
            if answer.self_check == SelfCheck::Passed && answer.version.as_ref() == Some(&wanted) && !runs {
                let told = format!("a probe of {target} gave {answer:?}; a look after that shows {seen:?}");
                return Err(Breach::new("probe.early", told));
            }
            self.pass(self.subject.poll_ms).await;
        }
        self.replaced(target).await
    }

    /// The versions of the slots of a target in which something runs.
    fn versions_at(&self, target: &TargetId) -> Vec<Version> {
        let seen = &self.rest[target];
        match &seen.pair {
            Some(pair) => {
                let live = pair.slots.iter().filter(|slot| slot.instance.is_some());
                live.filter_map(|slot| slot.version.clone()).collect()
            }
            None => seen.version.clone().into_iter().collect(),
        }
    }

    /// `None` where the platform has no endpoints, and does not claim any.
    async fn endpoint(&self, target: &TargetId, version: &Version) -> Result<Option<Arc<str>>, Breach> {
        let mut last = String::new();
        for _ in 0..PATIENT_TRIES {
            match (
                self.platform.control_endpoint(target, version).await,
                self.able.endpoint,
            ) {
                (Ok(address), true) => return Ok(Some(address)),
                (Err(PlatformError::Unsupported(_)), false) => return Ok(None),
                (Err(PlatformError::Unsupported(_)), true) => {
                    let told = "endpoints are claimed and gave Unsupported";
                    return Err(Breach::new("capability.claimed", told));
                }
                (Err(error), true) => last = error.to_string(),
                (other, false) => return Err(Breach::new("capability.unclaimed", format!("an endpoint: {other:?}"))),
            }
            self.pass(self.subject.poll_ms).await;
        }
        Err(Breach::new(
            "endpoint.unanswered",
            format!("{version} runs at {target}, and its address was never told: {last}"),
        ))
    }
}
