//! What is bad on purpose: it shows as what it is and never as good, and what was good comes back after it.
use super::looks::runs;
use super::trial::{Ask, Trial};
use super::untried::Gap;
use crate::conformance::Breach;
use crate::{Observation, SelfCheck, TargetId, Version};

impl Trial<'_> {
    pub(super) async fn bad(&mut self, target: &TargetId) -> Result<(), Breach> {
        let subject = self.subject;
        if let Some(bad) = &subject.bad_version {
            self.has_tried(Gap::BadVersion);
            self.bad_version(target, bad).await?;
        }
        if let Some(unfit) = &subject.unfit_version {
            self.has_tried(Gap::UnfitVersion);
            self.unfit_version(target, unfit).await?;
        }
        match &subject.bad_config {
            Some(bad) if self.able.config => {
                self.has_tried(Gap::BadConfig);
                self.bad_config(target, bad).await
            }
            _ => Ok(()),
        }
    }

    /// That an order was carried out does not make its version good, and does not bar the next order.
    async fn bad_version(&mut self, target: &TargetId, bad: &Version) -> Result<(), Breach> {
        let Some(good) = self.rest[target].version.clone() else {
            return Ok(());
        };
        let key = self.key(target, 4);
        self.order(target, &Ask::Replace(bad.clone()), &key).await?;
        let shows = |seen: &Observation| seen.version.as_ref() == Some(bad);
        self.until("bad.shown", target, shows).await?;
        self.moving.insert(target.clone());
        let until = self.clock.now().saturating_add(self.subject.quiet_ms);
        while self.clock.now() < until {
            let seen = self.look_alone(target).await?;
            if seen.ready || seen.self_check == SelfCheck::Passed {
                let told = format!("{bad} never gets ready, and {target} shows {seen:?}");
                return Err(Breach::new("bad.good", told));
            }
            if self.able.probe {
                let answer = self.probes(std::slice::from_ref(target)).await?.remove(0);
                // The instance of before may be on its way out and still answer.
                if answer.self_check == SelfCheck::Passed && answer.version.as_ref() != Some(&good) {
                    let told = format!("{bad} never gets ready, and a probe of {target} gave {answer:?}");
                    return Err(Breach::new("bad.good", told));
                }
            }
            self.pass(self.subject.poll_ms).await;
        }
        let key = self.key(target, 4);
        self.order(target, &Ask::Replace(good.clone()), &key).await?;
        self.until("bad.stuck", target, |seen| runs(seen, &good)).await
    }

    /// To be ready is not to be fit.
    async fn unfit_version(&mut self, target: &TargetId, unfit: &Version) -> Result<(), Breach> {
        let Some(good) = self.rest[target].version.clone() else {
            return Ok(());
        };
        let key = self.key(target, 4);
        self.order(target, &Ask::Replace(unfit.clone()), &key).await?;
        self.until("unfit.shown", target, |seen| {
            seen.version.as_ref() == Some(unfit) && seen.ready
        })
        .await?;
        self.moving.insert(target.clone());
        let until = self.clock.now().saturating_add(self.subject.quiet_ms);
        while self.clock.now() < until {
            let seen = self.look_alone(target).await?;
            if seen.self_check == SelfCheck::Passed {
                let told = format!("{unfit} fails a self-check, and {target} shows {seen:?}");
                return Err(Breach::new("unfit.good", told));
            }
            if self.able.probe {
                let answer = self.probes(std::slice::from_ref(target)).await?.remove(0);
                if answer.self_check == SelfCheck::Passed && answer.version.as_ref() == Some(unfit) {
                    let told = format!("{unfit} fails a self-check, and a probe of {target} gave {answer:?}");
                    return Err(Breach::new("unfit.good", told));
                }
            }
            self.pass(self.subject.poll_ms).await;
        }
        let key = self.key(target, 4);
        self.order(target, &Ask::Replace(good.clone()), &key).await?;
        self.until("bad.stuck", target, |seen| runs(seen, &good)).await
    }

    /// What an instance refuses is told, and what it had goes on.
    async fn bad_config(&mut self, target: &TargetId, bad: &Version) -> Result<(), Breach> {
        let Some(good) = acknowledged(&self.rest[target]) else {
            return Ok(());
        };
        let key = self.key(target, 2);
        self.order(target, &Ask::Config(bad.clone()), &key).await?;
        let refused = |seen: &Observation| {
            let refused = seen.config.as_ref().and_then(|config| config.refused.as_ref());
            refused.is_some_and(|(version, _)| version == bad)
        };
        self.until("config.refused", target, refused).await?;
        let seen = &self.rest[target];
        if acknowledged(seen).as_ref() != Some(&good) {
            let told = format!("{target} refused {bad} while it had {good}, and shows {seen:?}");
            return Err(Breach::new("config.bad", told));
        }
        self.nothing_happens("config.bad", target).await?;
        let key = self.key(target, 2);
        self.order(target, &Ask::Config(good.clone()), &key).await?;
        let back = |seen: &Observation| acknowledged(seen).as_ref() == Some(&good) && !refused(seen);
        self.until("config.stuck", target, back).await
    }
}

fn acknowledged(seen: &Observation) -> Option<Version> {
    seen.config.as_ref()?.acknowledged.clone()
}
