//! Many at once: two deliveries of one order, orders for everybody, and one on the heels of another.
use futures::future::{join, join_all};

use super::looks::runs;
use super::trial::{Ask, Trial};
use crate::conformance::Breach;
use crate::{EffectKey, EffectOutcome, Generation, Ingress, TargetId};

impl Trial<'_> {
    pub(super) async fn together(&mut self) -> Result<(), Breach> {
        for target in self.living() {
            self.delivered_twice_at_once(&target).await?;
            self.on_the_heels(&target).await?;
        }
        self.two_ways_closed().await?;
        self.everybody_fenced().await?;
        self.everybody_at_once().await
    }

    /// Two deliveries of one key at once are one order.
    async fn delivered_twice_at_once(&mut self, target: &TargetId) -> Result<(), Breach> {
        let ask = Ask::Replace(self.other_version(target));
        let key = self.key(target, 4);
        let platform = self.platform;
        let both = join(platform.give(target, &ask, &key), platform.give(target, &ask, &key));
        let (one, other) = both.await;
        if one == EffectOutcome::Applied && other == EffectOutcome::Applied {
            let told = format!("{key} was delivered twice at once to {target}, and applied twice");
            return Err(Breach::new("key.at-once", told));
        }
        self.order(target, &ask, &key).await?;
        self.replaced(target).await?;
        self.again(target, &ask, &key).await?;
        self.nothing_happens("key.at-once", target).await
    }

    /// Two orders, the second as soon as the first is answered: the second holds.
    async fn on_the_heels(&mut self, target: &TargetId) -> Result<(), Breach> {
        let (there, back) = (self.other_version(target), self.rest[target].version.clone());
        let Some(back) = back else { return Ok(()) };
        let before = self.rest[target].instance;
        let first = self.key(target, 4);
        self.order(target, &Ask::Replace(there.clone()), &first).await?;
        self.moving.insert(target.clone());
        let second = self.key(target, 10);
        self.order(target, &Ask::Replace(back.clone()), &second).await?;
        self.moving.insert(target.clone());
        self.late(target, &Ask::Replace(there), &first, true).await?;
        let done = |seen: &crate::Observation| runs(seen, &back) && seen.instance != before;
        self.until("order.swapped", target, done).await?;
        self.again(target, &Ask::Replace(back.clone()), &second).await?;
        self.nothing_happens("order.swapped", target).await
    }

    /// Each has a fence of its own, that bars by itself: no order of the new generation has followed it yet, whose key would.
    async fn everybody_fenced(&mut self) -> Result<(), Breach> {
        if !self.able.fence {
            return Ok(());
        }
        let before = self.generations.clone();
        let targets = self.living();
        for target in &targets {
            self.fence_at(target, Generation(before[target].0 + 1)).await?;
        }
        for target in &targets {
            self.all_stale(target, before[target], "fence.forgets").await?;
        }
        let first = self.alive();
        self.nothing_happens("fence.leaky", &first).await
    }

    /// Two ways are closed, each with a time of its own, and the later one was set first and last.
    async fn two_ways_closed(&mut self) -> Result<(), Breach> {
        let living = self.living();
        let (Some(long), Some(soon), true) = (living.first(), living.get(1), self.able.ingress) else {
            return Ok(());
        };
        for first in [true, false] {
            if first {
                self.close_for_long(long).await?;
            }
            self.close_for(soon, self.subject.quiet_ms).await?;
            self.moving.insert(soon.clone());
            if !first {
                self.close_for_long(long).await?;
            }
            // At its time it opens, and the other one does not.
            let opens = |seen: &crate::Observation| seen.ingress == Ingress::Open;
            self.until("ingress.watchdog", soon, opens).await?;
            self.nothing_happens("order.other", soon).await?;
            if first {
                self.open(long).await?;
            }
        }
        self.open(long).await
    }

    /// An order for each, all at once and not in their order; looks go on meanwhile. Each gets its own.
    async fn everybody_at_once(&mut self) -> Result<(), Breach> {
        let targets = self.living();
        let mut orders: Vec<(TargetId, Ask, EffectKey)> = Vec::new();
        for (at, target) in targets.iter().enumerate().rev() {
            // Every other one to another version, the rest to what it runs.
            let same = self.rest[target].version.clone().filter(|_| at % 2 == 1);
            let version = same.unwrap_or_else(|| self.other_version(target));
            let key = self.key(target, 4);
            orders.push((target.clone(), Ask::Replace(version), key));
        }
        let before = self.rest.clone();
        let platform = self.platform;
        let answers = join_all(orders.iter().map(|(target, ask, key)| platform.give(target, ask, key)));
        let (answers, seen) = join(answers, std::pin::pin!(platform.observe(&targets))).await;
        if let Ok(seen) = seen {
            for (target, seen) in targets.iter().zip(&seen) {
                self.history.take(target, seen)?;
            }
        }
        self.moving.extend(targets);
        for ((target, ask, key), answer) in orders.iter().zip(answers) {
            match answer {
                EffectOutcome::Failed { reason } => {
                    let told = format!("{ask:?} of {target}, among others, gave Failed: {reason}");
                    return Err(Breach::new("order.refused", told));
                }
                EffectOutcome::Stale => {
                    let told = format!("{key} for {target}, among others, gave Stale");
                    return Err(Breach::new("fence.wide", told));
                }
                _ => self.order(target, ask, key).await?,
            }
        }
        for (target, ask, key) in &orders {
            let Ask::Replace(version) = ask else { continue };
            let old = before[target].instance;
            self.until("order.not-done", target, |seen| {
                runs(seen, version) && seen.instance != old
            })
            .await?;
            self.again(target, ask, key).await?;
        }
        let first = self.alive();
        self.nothing_happens("order.other", &first).await
    }
}
