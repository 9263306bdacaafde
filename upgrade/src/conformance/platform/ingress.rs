//! The way of new traffic: it closes, stays closed, opens, and opens by itself.
use super::trial::{Ask, Trial};
use crate::conformance::Breach;
use crate::{Clock, EffectKey, Ingress, IngressOrder, Platform, TargetId};

impl<P, C> Trial<'_, P, C>
where
    P: Platform + ?Sized,
    C: Clock + ?Sized,
{
    pub(super) async fn ingress(&mut self, target: &TargetId) -> Result<(), Breach> {
        if !self.able.ingress {
            return Ok(());
        }
        self.no_barrier_yet(target).await?;
        let (closing, close) = self.close_for_long(target).await?;
        self.again(target, &close, &closing).await?;
        self.barrier_comes(target).await?;
        self.no_more_connections(target).await?;
        self.nothing_happens("ingress.closed", target).await?;
        self.open(target).await?;
        self.no_barrier_yet(target).await?;
        // The closing arrives once more, late.
        self.late(target, &close, &closing, true).await?;
        self.nothing_happens("key.late", target).await?;
        self.watchdog(target).await
    }

    /// Closes for longer than the suite looks on.
    pub(super) async fn close_for_long(&mut self, target: &TargetId) -> Result<(EffectKey, Ask), Breach> {
        let reopen_by_ms = self
            .clock
            .now()
            .saturating_add(self.subject.patience_ms.saturating_mul(1_000));
        let ask = Ask::Ingress(IngressOrder::Close { reopen_by_ms });
        let key = self.key(target, 2);
        self.close(target, &ask, &key).await?;
        Ok((key, ask))
    }

    async fn close(&mut self, target: &TargetId, ask: &Ask, key: &EffectKey) -> Result<(), Breach> {
        self.order(target, ask, key).await?;
        self.until("ingress.closed", target, |seen| seen.ingress == Ingress::Closed)
            .await
    }

    pub(super) async fn open(&mut self, target: &TargetId) -> Result<(), Breach> {
        let key = self.key(target, 6);
        self.order(target, &Ask::Ingress(IngressOrder::Open), &key).await?;
        self.until("ingress.opened", target, |seen| seen.ingress == Ingress::Open)
            .await
    }

    /// Behind a closed way connections only get fewer.
    async fn no_more_connections(&mut self, target: &TargetId) -> Result<(), Breach> {
        let until = self.clock.now().saturating_add(self.subject.quiet_ms);
        let mut before = u32::MAX;
        loop {
            let seen = self.look().await?;
            if let Some(active) = seen[target].active {
                if active > before {
                    let told = format!("the way to {target} is closed; it had {before} connections and has {active}");
                    return Err(Breach::new("ingress.leaks", told));
                }
                before = active;
            }
            if self.clock.now() >= until {
                break;
            }
            self.pass(self.subject.poll_ms).await;
        }
        // A minute of quiet is long for a connection that was there before, and short for one that comes anew.
        Ok(())
    }

    /// Nobody opens, and it opens at its time; a closing given later puts that off.
    async fn watchdog(&mut self, target: &TargetId) -> Result<(), Breach> {
        let quiet = self.subject.quiet_ms;
        let soon = self.clock.now().saturating_add(quiet);
        let later = soon.saturating_add(quiet);
        for reopen_by_ms in [soon, later] {
            let ask = Ask::Ingress(IngressOrder::Close { reopen_by_ms });
            let key = self.key(target, 2);
            self.close(target, &ask, &key).await?;
        }
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
        self.until("ingress.watchdog", target, |seen| seen.ingress == Ingress::Open)
            .await
    }
}
