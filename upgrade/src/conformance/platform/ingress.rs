//! The way of new traffic: it closes, stays closed, opens, and opens by itself.
use super::trial::{Ask, Trial};
use super::untried::Gap;
use crate::conformance::Breach;
use crate::{EffectKey, Generation, Ingress, IngressOrder, Observation, TargetId};

/// So many are in service while the way is closed.
const BUSY: u32 = 3;

impl Trial<'_> {
    pub(super) async fn ingress(&mut self, target: &TargetId) -> Result<(), Breach> {
        if !self.able.ingress {
            return Ok(());
        }
        self.no_barrier_yet().await?;
        self.reaches(target, true, "ingress.opened").await?;
        let busy = self.disturb.occupy(target, BUSY).await.unwrap_or(0);
        let (closing, close) = self.close_for_long(target).await?;
        self.again(target, &close, &closing).await?;
        self.barrier_comes(target).await?;
        self.counts_service(target, busy).await?;
        self.drains(target).await?;
        self.reaches(target, false, "ingress.leaks").await?;
        self.nothing_happens("ingress.closed", target).await?;
        self.answers_behind_a_closed_way(target).await?;
        self.stays_closed(target).await?;
        self.open(target).await?;
        self.no_barrier_yet().await?;
        self.reaches(target, true, "ingress.opened").await?;
        // The closing arrives once more, late.
        self.late(target, &close, &closing, true).await?;
        self.nothing_happens("key.late", target).await?;
        self.there_and_back(target).await?;
        self.overtaken_by_another_kind(target).await?;
        self.watchdog(target, false).await?;
        self.watchdog(target, true).await?;
        self.watchdog_waits(target).await
    }

    /// An instance is verified before its way is opened, so it must be reached while that is closed.
    async fn answers_behind_a_closed_way(&mut self, target: &TargetId) -> Result<(), Breach> {
        let seen = self.rest[target].clone();
        let answered = self.says_so_itself(target, &seen).await;
        answered.map_err(|breach| match breach.rule {
            "probe.other" => Breach::new("probe.closed", breach.told),
            _ => breach,
        })
    }

    /// What has nothing to do with a closed way leaves it closed.
    async fn stays_closed(&mut self, target: &TargetId) -> Result<(), Breach> {
        if self.able.prefetch {
            let ask = Ask::Prefetch(self.other_version(target));
            let key = self.key(target, 1);
            self.order(target, &ask, &key).await?;
            self.nothing_happens("prefetch.touched", target).await?;
        }
        self.config(target).await
    }

    /// Keys are in one order, whatever they are of: one that was not applied when a later one was never is.
    async fn overtaken_by_another_kind(&mut self, target: &TargetId) -> Result<(), Breach> {
        let early = [self.key(target, 4), self.key(target, 2)];
        let reopen_by_ms = self.far_away();
        let close = Ask::Ingress(IngressOrder::Close { reopen_by_ms });
        self.open(target).await?;
        let replace = Ask::Replace(self.other_version(target));
        self.late(target, &replace, &early[0], false).await?;
        let key = self.key(target, 4);
        self.order(target, &replace, &key).await?;
        self.replaced(target).await?;
        self.late(target, &close, &early[1], false).await?;
        self.nothing_happens("key.overtaken", target).await
    }

    /// A client tries the way that traffic takes, where the tests can do that.
    async fn reaches(&mut self, target: &TargetId, wanted: bool, rule: &'static str) -> Result<(), Breach> {
        let found = self.disturb.reaches(target).await;
        if found.is_some() {
            self.has_tried(Gap::Clients);
        }
        match found {
            Some(found) if found != wanted => {
                let told = format!(
                    "the way to {target} is shown {}, and a client ",
                    if wanted { "open" } else { "closed" }
                );
                let told = told + if found { "gets through" } else { "does not get through" };
                Err(Breach::new(rule, told))
            }
            _ => Ok(()),
        }
    }

    /// One order on the heels of another: the later one holds.
    async fn there_and_back(&mut self, target: &TargetId) -> Result<(), Breach> {
        let reopen_by_ms = self.far_away();
        let close = Ask::Ingress(IngressOrder::Close { reopen_by_ms });
        let open = Ask::Ingress(IngressOrder::Open);
        for last in [Ingress::Open, Ingress::Closed] {
            let asks = if last == Ingress::Open {
                [&close, &open]
            } else {
                [&open, &close]
            };
            for ask in asks {
                let key = self.key(target, 2);
                self.order(target, ask, &key).await?;
                self.moving.insert(target.clone());
            }
            self.until("order.swapped", target, |seen| seen.ingress == last).await?;
            if let Err(breach) = self.nothing_happens("order.swapped", target).await {
                // What takes a while may have shown the way as it was before the two.
                if breach.rule != "order.swapped" {
                    return Err(breach);
                }
                self.moving.insert(target.clone());
                self.until("order.swapped", target, |seen| seen.ingress == last).await?;
                self.nothing_happens("order.swapped", target).await?;
            }
        }
        self.open(target).await
    }

    /// Closes for longer than the suite looks on.
    pub(super) async fn close_for_long(&mut self, target: &TargetId) -> Result<(EffectKey, Ask), Breach> {
        let reopen_by_ms = self.far_away();
        let ask = Ask::Ingress(IngressOrder::Close { reopen_by_ms });
        let key = self.key(target, 2);
        self.close(target, &ask, &key).await?;
        Ok((key, ask))
    }

    fn far_away(&self) -> u64 {
        let long_ms = self.subject.patience_ms.saturating_mul(1_000);
        self.clock.now().saturating_add(long_ms)
    }

    pub(super) async fn close(&mut self, target: &TargetId, ask: &Ask, key: &EffectKey) -> Result<(), Breach> {
        self.order(target, ask, key).await?;
        self.until("ingress.closed", target, |seen| seen.ingress == Ingress::Closed)
            .await
    }

    /// Closes for so long, until it shows. Gives when the way opens by itself.
    ///
    /// Where that was over before anybody looked, on a busy machine, nothing was tried, and it is closed for twice as long.
    pub(super) async fn close_for(&mut self, target: &TargetId, mut ms: u64) -> Result<u64, Breach> {
        let clock = self.clock;
        loop {
            let reopen_by_ms = clock.now().saturating_add(ms);
            let key = self.key(target, 2);
            let close = Ask::Ingress(IngressOrder::Close { reopen_by_ms });
            self.order(target, &close, &key).await?;
            self.moving.insert(target.clone());
            let closed = |seen: &Observation| seen.ingress == Ingress::Closed;
            let over = |seen: &Observation| seen.ingress == Ingress::Open && clock.now() >= reopen_by_ms;
            self.until("ingress.closed", target, |seen| closed(seen) || over(seen))
                .await?;
            if closed(&self.rest[target]) {
                return Ok(reopen_by_ms);
            }
            if ms >= self.subject.patience_ms {
                let told = format!("{target} was ordered to close for {ms} ms, and was never seen closed");
                return Err(Breach::new("ingress.closed", told));
            }
            ms = ms.saturating_mul(2);
        }
    }

    pub(super) async fn open(&mut self, target: &TargetId) -> Result<(), Breach> {
        let key = self.key(target, 6);
        self.order(target, &Ask::Ingress(IngressOrder::Open), &key).await?;
        self.until("ingress.opened", target, |seen| seen.ingress == Ingress::Open)
            .await
    }

    /// Behind a closed way what is in service goes on, and is counted, until it ends.
    async fn counts_service(&mut self, target: &TargetId, busy: u32) -> Result<(), Breach> {
        if busy == 0 {
            return Ok(());
        }
        self.has_tried(Gap::Service);
        let until = self.clock.now().saturating_add(self.subject.quiet_ms);
        while self.clock.now() < until {
            let seen = self.look_alone(target).await?;
            if seen.active.is_some_and(|active| active < busy) {
                let told = format!("{busy} are in service at {target}, and it shows {:?}", seen.active);
                return Err(Breach::new("ingress.hides", told));
            }
            self.pass(self.subject.poll_ms).await;
        }
        self.disturb.occupy(target, 0).await;
        Ok(())
    }

    /// Behind a closed way connections only get fewer, until there are none; and then none come.
    async fn drains(&mut self, target: &TargetId) -> Result<(), Breach> {
        let quiet = self.clock.now().saturating_add(self.subject.quiet_ms);
        let until = self.clock.now().saturating_add(self.subject.patience_ms);
        let mut before = u32::MAX;
        loop {
            let seen = &self.look().await?[target];
            let now = self.clock.now();
            if let Some(active) = seen.active {
                if active > before {
                    let told = format!("the way to {target} is closed; it had {before} connections and has {active}");
                    return Err(Breach::new("ingress.leaks", told));
                }
                before = active;
            }
            let empty = seen.active.is_none_or(|active| active == 0);
            if empty && now >= quiet {
                return Ok(());
            }
            if now >= until {
                let told = format!(
                    "the way to {target} has been closed for long, and it still has {:?}",
                    seen.active
                );
                return Err(Breach::new("ingress.drains", told));
            }
            self.pass(self.subject.poll_ms).await;
        }
    }

    /// At its time the way opens onto an instance that is ready, and onto no other: it waits for one.
    async fn watchdog_waits(&mut self, target: &TargetId) -> Result<(), Breach> {
        if !self.able.in_place {
            return Ok(());
        }
        self.close_for_long(target).await?;
        let wanted = self.other_version(target);
        let key = self.key(target, 4);
        self.order(target, &Ask::InPlace(wanted.clone()), &key).await?;
        self.moving.insert(target.clone());
        let until = self.clock.now().saturating_add(self.subject.patience_ms);
        let mut told = false;
        loop {
            let seen = self.look().await?.remove(target);
            let Some(seen) = seen else { break };
            let now = self.clock.now();
            if !seen.ready && !told {
                // It restarts just now, and its time comes while it does.
                told = true;
                let reopen_by_ms = now.saturating_add(self.subject.poll_ms);
                let key = self.key(target, 2);
                let close = Ask::Ingress(IngressOrder::Close { reopen_by_ms });
                self.order(target, &close, &key).await?;
            } else if !seen.ready && seen.ingress == Ingress::Open {
                let told = format!("the way to {target} has opened onto {seen:?}");
                return Err(Breach::new("ingress.unverified", told));
            }
            if super::looks::runs(&seen, &wanted) {
                break;
            }
            if now >= until {
                return Err(Breach::new("order.not-done", format!("{target} is still {seen:?}")));
            }
            self.pass(self.subject.poll_ms).await;
        }
        if !told {
            // It was too fast to be seen.
            self.open(target).await?;
        }
        let done = |seen: &Observation| super::looks::runs(seen, &wanted) && seen.ingress == Ingress::Open;
        self.until("ingress.watchdog", target, done).await
    }

    /// The way is closed, a fence raised, the sidecar replaced, and then the controller falls silent: neither opens the way,
    /// and neither takes away the time at which it opens.
    pub(super) async fn left_closed(&mut self, target: &TargetId) -> Result<(), Breach> {
        self.close_for(target, self.subject.quiet_ms.saturating_mul(2)).await?;
        if self.able.fence {
            let next = Generation(self.generations[target].0 + 1);
            self.fence_at(target, next).await?;
            self.fence_at(target, next).await?;
            self.nothing_for(self.subject.poll_ms, "fence.leaky", target).await?;
        }
        if self.able.prefetch {
            let ask = Ask::Prefetch(self.other_version(target));
            let key = self.key(target, 1);
            let given = self.order(target, &ask, &key).await;
            given.map_err(super::fencing::shut)?;
        }
        let config = |seen: &Observation| seen.config.as_ref().and_then(|config| config.acknowledged.clone());
        let kept = config(&self.rest[target]);
        if let Some(same) = kept.clone().filter(|_| self.able.config) {
            let key = self.key(target, 2);
            let given = self.order(target, &Ask::Config(same), &key).await;
            given.map_err(super::fencing::shut)?;
            self.moving.insert(target.clone());
        }
        let wanted = self.other_version(target);
        let key = self.key(target, 4);
        let given = self.order(target, &Ask::InPlace(wanted.clone()), &key).await;
        given.map_err(super::fencing::shut)?;
        let done = |seen: &Observation| {
            super::looks::runs(seen, &wanted) && seen.ingress == Ingress::Open && config(seen) == kept
        };
        self.until("ingress.watchdog", target, done).await
    }

    /// Nobody opens, and it opens at its time; a closing given later puts that off, or brings it forward. Where it was opened
    /// in between, the time of the closing before is over with that.
    async fn watchdog(&mut self, target: &TargetId, opened_between: bool) -> Result<(), Breach> {
        let quiet = self.subject.quiet_ms;
        let soon = self.close_for(target, quiet).await?;
        if opened_between {
            self.open(target).await?;
        }
        let left = soon.saturating_sub(self.clock.now());
        let later = self.close_for(target, left.saturating_add(quiet)).await?;
        loop {
            let seen = self.look().await?;
            let now = self.clock.now();
            if now >= later {
                break;
            }
            if seen[target].ingress == Ingress::Open {
                let (rule, due) = if now < soon {
                    ("ingress.early", soon)
                } else {
                    ("ingress.deadline", later)
                };
                let told = format!("the way to {target} was to open at {due} and is open at {now}");
                return Err(Breach::new(rule, told));
            }
            self.pass(self.subject.poll_ms).await;
        }
        let opens = |seen: &Observation| seen.ingress == Ingress::Open;
        self.until("ingress.watchdog", target, opens).await?;
        // A later closing may bring the time forward.
        self.close_for_long(target).await?;
        self.close_for(target, quiet).await?;
        self.until("ingress.watchdog", target, opens).await?;
        // One that was so late that its time is over must not close for good.
        let reopen_by_ms = self.clock.now().saturating_sub(1);
        let key = self.key(target, 2);
        let over = Ask::Ingress(IngressOrder::Close { reopen_by_ms });
        self.order(target, &over, &key).await?;
        self.moving.insert(target.clone());
        self.until("ingress.watchdog", target, opens).await?;
        self.nothing_happens("ingress.watchdog", target).await
    }
}
