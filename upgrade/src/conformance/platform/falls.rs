//! The adapter falls while something is under way, and comes back.
use super::trial::{Ask, Trial};
use super::untried::Gap;
use crate::conformance::Breach;
use crate::{Generation, TargetId};

impl Trial<'_> {
    /// What was answered before it fell holds: the order that is under way, its key, the fence, the way that is closed.
    pub(super) async fn adapter_falls(&mut self) -> Result<(), Breach> {
        if !self.disturb.reopen().await {
            return Ok(());
        }
        self.has_tried(Gap::Adapter);
        for target in self.living() {
            self.falls_under(&target).await?;
        }
        self.begin_watch_anew().await
    }

    async fn fall(&self) -> Result<(), Breach> {
        if self.disturb.reopen().await {
            return Ok(());
        }
        Err(Breach::new(
            "subject",
            "the adapter was started anew once, and then no more",
        ))
    }

    async fn falls_under(&mut self, target: &TargetId) -> Result<(), Breach> {
        let behind = self.able.ingress && self.able.in_place;
        if behind {
            self.close_for_long(target).await?;
        }
        if self.able.fence {
            // No order of the new generation has followed it, whose key would bar as well.
            let below = self.generations[target];
            self.fence_at(target, Generation(below.0 + 2)).await?;
            self.fall().await?;
            self.all_stale(target, below, "durable.fence").await?;
        }
        let version = self.other_version(target);
        let ask = if self.able.in_place {
            Ask::InPlace(version)
        } else {
            Ask::Replace(version)
        };
        let key = self.key(target, 4);
        self.order(target, &ask, &key).await?;
        self.moving.insert(target.clone());
        self.fall().await?;
        let known = self.again(target, &ask, &key).await;
        known.map_err(|breach| renamed(breach, "key.answer", "durable.key"))?;
        let done = self.replaced(target).await;
        done.map_err(|breach| renamed(breach, "order.not-done", "durable.order"))?;
        if behind {
            self.open(target).await?;
        }
        self.nothing_happens("durable.order", target).await
    }
}

fn renamed(breach: Breach, rule: &'static str, name: &'static str) -> Breach {
    if breach.rule == rule {
        Breach::new(name, breach.told)
    } else {
        breach
    }
}
