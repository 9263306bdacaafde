//! Generations that are over do nothing any more.
use super::trial::{Trial, give};
use crate::conformance::Breach;
use crate::{Clock, EffectKey, EffectOutcome, Generation, Platform, TargetId};

impl<P, C> Trial<'_, P, C>
where
    P: Platform + ?Sized,
    C: Clock + ?Sized,
{
    pub(super) async fn fencing(&mut self, target: &TargetId) -> Result<(), Breach> {
        if !self.able.fence {
            return Ok(());
        }
        let old = self.generations[target];
        let new = Generation(old.0 + 2);
        self.fence_at(target, new).await?;
        // Given twice, as after a lost answer.
        self.fence_at(target, new).await?;
        self.nothing_happens("fence.leaky", target).await?;
        for below in [old, Generation(new.0 - 1)] {
            self.all_stale(target, below).await?;
        }
        self.nothing_happens("fence.leaky", target).await?;
        for back in [old, Generation(new.0 - 1)] {
            let outcome = self.platform.fence(target, back).await;
            if outcome != EffectOutcome::Stale {
                let told = format!(
                    "{target} is fenced at {}; a fence at {} gave {outcome:?}",
                    new.0, back.0
                );
                return Err(Breach::new("fence.back", told));
            }
        }
        self.all_stale(target, old).await.map_err(|breach| Breach {
            rule: if breach.rule == "fence.stale" {
                "fence.back"
            } else {
                breach.rule
            },
            ..breach
        })?;
        self.nothing_happens("fence.leaky", target).await?;
        // What is not below it goes on as before.
        let ask = super::trial::Ask::Replace(self.other_version(target));
        let key = self.key(target, 4);
        let shut = |breach: Breach| match breach.rule {
            "fence.wide" => Breach::new("fence.shut", breach.told),
            _ => breach,
        };
        self.order(target, &ask, &key).await.map_err(shut)?;
        let wanted = self.other_version(target);
        self.until("order.not-done", target, |seen| super::trial::runs(seen, &wanted))
            .await
    }

    /// One order of each kind, none of which may be taken.
    async fn all_stale(&mut self, target: &TargetId, below: Generation) -> Result<(), Breach> {
        let version = self.other_version(target);
        for (step, ask) in (1..).zip(self.every_ask(&version)) {
            let key = EffectKey {
                generation: below,
                ..self.key(target, step)
            };
            let outcome = give(self.platform, target, &ask, &key).await;
            if outcome != EffectOutcome::Stale {
                let at = self.generations[target].0;
                let told = format!("{target} is fenced at {at}; {ask:?} by {key} gave {outcome:?}");
                return Err(Breach::new("fence.stale", told));
            }
        }
        Ok(())
    }
}
