//! Configurations: pushed, acknowledged, and no reason to restart.
use super::trial::{Ask, Trial};
use crate::conformance::Breach;
use crate::{TargetId, Version};

impl Trial<'_> {
    pub(super) async fn config(&mut self, target: &TargetId) -> Result<(), Breach> {
        if !self.able.config {
            return Ok(());
        }
        let [first, second] = self.subject.configs.clone();
        let push = Ask::Config(second.clone());
        let key = self.key(target, 2);
        self.order(target, &push, &key).await?;
        self.acknowledged(target, &second).await?;
        self.again(target, &push, &key).await?;
        let back = self.key(target, 2);
        self.order(target, &Ask::Config(first.clone()), &back).await?;
        self.acknowledged(target, &first).await?;
        // The first push arrives once more, late.
        self.late(target, &push, &key, true).await?;
        self.nothing_happens("key.late", target).await
    }

    async fn acknowledged(&mut self, target: &TargetId, wanted: &Version) -> Result<(), Breach> {
        let before = self.rest[target].clone();
        self.until("config.acknowledged", target, |seen| {
            let config = seen.config.as_ref();
            config.is_some_and(|config| config.acknowledged.as_ref() == Some(wanted))
        })
        .await?;
        let now = &self.rest[target];
        if (now.instance, now.ingress, &now.version) != (before.instance, before.ingress, &before.version) {
            let told = format!("configuration {wanted} for {target}: it was {before:?} and is {now:?}");
            return Err(Breach::new("config.disturbs", told));
        }
        self.nothing_happens("config.disturbs", target).await
    }
}
