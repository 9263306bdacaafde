//! Generations that are over do nothing any more.
use super::looks::runs;
use super::orders::confused;
use super::trial::{Ask, Trial};
use crate::conformance::Breach;
use crate::{EffectKey, EffectOutcome, Generation, TargetId};

/// An order that is stale where its own generation has just been fenced.
pub(super) fn shut(breach: Breach) -> Breach {
    match breach.rule {
        "fence.wide" => Breach::new("fence.shut", breach.told),
        _ => breach,
    }
}

impl Trial<'_> {
    pub(super) async fn fencing(&mut self, target: &TargetId) -> Result<(), Breach> {
        if !self.able.fence {
            return Ok(());
        }
        let old = self.generations[target];
        // Some keep but half of a number.
        let new = Generation(old.0 + if self.far { 1 << 32 } else { 2 });
        let before = self.last.get(target).cloned();
        self.fence_at(target, new).await?;
        // Given twice, as after a lost answer.
        self.fence_at(target, new).await?;
        self.nothing_happens("fence.leaky", target).await?;
        if let Some((ask, key)) = &before {
            // The fence comes before the key.
            self.is_stale(target, ask, key, "fence.stale").await?;
        }
        let below = [Generation(0), old, Generation(new.0 - 1)];
        for below in below {
            self.all_stale(target, below, "fence.stale").await?;
        }
        self.nothing_happens("fence.leaky", target).await?;
        for back in below {
            let outcome = self.platform.fence(target, back).await;
            if outcome != EffectOutcome::Stale {
                let told = format!(
                    "{target} is fenced at {}; a fence at {} gave {outcome:?}",
                    new.0, back.0
                );
                return Err(Breach::new("fence.back", told));
            }
        }
        self.all_stale(target, old, "fence.back").await?;
        self.nothing_happens("fence.leaky", target).await?;
        // What is not below it goes on as before.
        let ask = Ask::Replace(self.other_version(target));
        // An attempt that is taken up again begins anew with its steps: only the generation tells the keys apart.
        let key = match &before {
            Some((_, key)) => self.key_like(target, key),
            None => self.key(target, 4),
        };
        self.order(target, &ask, &key).await.map_err(shut)?;
        self.replaced(target).await.map_err(|breach| confused(breach, &key))?;
        // It outlives what it was set for, and what it bars leaves no trace.
        self.all_stale(target, old, "fence.forgets").await?;
        self.again(target, &ask, &key).await?;
        // Nothing but the fence changes by a fence, least of all by one that stands.
        self.fence_at(target, new).await?;
        self.again(target, &ask, &key).await?;
        self.nothing_happens("fence.leaky", target).await?;
        self.cut_off(target).await?;
        self.under_way(target).await
    }

    /// What was taken before a fence is carried out: it may be the half of something that the next generation builds on.
    async fn under_way(&mut self, target: &TargetId) -> Result<(), Breach> {
        let ask = Ask::Replace(self.other_version(target));
        let key = self.key(target, 4);
        self.order(target, &ask, &key).await?;
        self.moving.insert(target.clone());
        let next = Generation(self.generations[target].0 + 1);
        self.fence_at(target, next).await?;
        let done = self.replaced(target).await;
        done.map_err(|breach| match breach.rule {
            "order.not-done" => Breach::new("fence.undoes", breach.told),
            _ => breach,
        })
    }

    /// A call is cut off on its way, and a fence is raised: what was not done by then never is.
    async fn cut_off(&mut self, target: &TargetId) -> Result<(), Breach> {
        let (there, back) = (self.other_version(target), self.rest[target].version.clone());
        let Some(back) = back else { return Ok(()) };
        let before = self.rest[target].instance;
        let key = self.key(target, 4);
        self.lose(target, &Ask::Replace(there), &key).await;
        self.moving.insert(target.clone());
        let next = Generation(self.generations[target].0 + 1);
        self.fence_at(target, next).await?;
        let key = self.key(target, 4);
        self.order(target, &Ask::Replace(back.clone()), &key).await?;
        self.until("order.not-done", target, |seen| {
            runs(seen, &back) && seen.instance != before
        })
        .await?;
        self.nothing_happens("fence.leaky", target).await
    }

    /// One order of each kind, none of which may be taken.
    pub(super) async fn all_stale(
        &mut self,
        target: &TargetId,
        below: Generation,
        rule: &'static str,
    ) -> Result<(), Breach> {
        let version = self.other_version(target);
        for (step, ask) in (1..).zip(self.every_ask(target, &version)) {
            let key = self.strange_key(below, step);
            self.is_stale(target, &ask, &key, rule).await?;
        }
        Ok(())
    }

    async fn is_stale(
        &mut self,
        target: &TargetId,
        ask: &Ask,
        key: &EffectKey,
        rule: &'static str,
    ) -> Result<(), Breach> {
        let outcome = self.answer(target, ask, key).await?;
        if outcome == EffectOutcome::Stale {
            return Ok(());
        }
        let at = self.generations[target].0;
        let told = format!("{target} is fenced at {at}; {ask:?} by {key} gave {outcome:?}");
        Err(Breach::new(rule, told))
    }
}
