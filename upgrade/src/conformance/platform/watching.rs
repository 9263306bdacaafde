//! News: true, complete, and the same however often they are asked for.
use std::collections::BTreeMap;

use super::trial::{Ask, Trial};
use crate::conformance::Breach;
use crate::{Clock, FleetChange, Generation, Observation, Phase, Platform, PlatformError, TargetId, Version};

/// How often a question may go unanswered.
const TRIES: u32 = 50;
/// Newborns and dead that are looked at, to see whether what was told is so.
const CHECKED: usize = 200;

impl<P, C> Trial<'_, P, C>
where
    P: Platform + ?Sized,
    C: Clock + ?Sized,
{
    async fn news(&self, cursor: u64) -> Result<(Vec<FleetChange>, u64), Breach> {
        let mut last = String::new();
        for _ in 0..TRIES {
            match self.platform.watch(cursor).await {
                Ok(news) => return Ok((news.changes, news.cursor)),
                Err(PlatformError::Unsupported(_)) => {
                    return Err(Breach::new(
                        "capability.claimed",
                        "watching is claimed and gave Unsupported",
                    ));
                }
                Err(error) => last = error.to_string(),
            }
            self.pass(self.subject.poll_ms).await;
        }
        Err(Breach::new(
            "watch.lost",
            format!("news from {cursor} were never told: {last}"),
        ))
    }

    pub(super) async fn begin_watch(&mut self) -> Result<(), Breach> {
        if !self.able.watch {
            return match self.platform.watch(0).await {
                Err(PlatformError::Unsupported(_)) => Ok(()),
                other => {
                    let told = format!("watching is not claimed and gave {other:?}");
                    Err(Breach::new("capability.unclaimed", told))
                }
            };
        }
        (self.news, self.cursor) = self.news(0).await?;
        Ok(())
    }

    /// Reads on from where it was, and compares with a reading from the beginning.
    pub(super) async fn end_watch(&mut self) -> Result<(), Breach> {
        if !self.able.watch {
            return Ok(());
        }
        loop {
            let (changes, cursor) = self.news(self.cursor).await?;
            if changes.is_empty() {
                break;
            }
            if cursor == self.cursor {
                let told = format!("{} news from {cursor} left the cursor where it was", changes.len());
                return Err(Breach::new("watch.cursor", told));
            }
            self.news.extend(changes);
            self.cursor = cursor;
        }
        let mut from_the_beginning = Vec::new();
        let mut cursor = 0;
        loop {
            let (changes, next) = self.news(cursor).await?;
            if changes.is_empty() || next == cursor {
                break;
            }
            from_the_beginning.extend(changes);
            cursor = next;
        }
        let known = from_the_beginning.get(..self.news.len());
        if known != Some(&self.news[..]) {
            let told = format!(
                "{} news were told piece by piece; from the beginning they are {} others",
                self.news.len(),
                from_the_beginning.len()
            );
            return Err(Breach::new("watch.forgets", told));
        }
        self.news_are_true().await
    }

    async fn news_are_true(&mut self) -> Result<(), Breach> {
        // The last word on each counts, and nobody comes or goes twice.
        let mut alive: BTreeMap<&TargetId, bool> = BTreeMap::new();
        for change in &self.news {
            let (target, here) = match change {
                FleetChange::Joined { target, .. } => (target, true),
                FleetChange::Left { target } => (target, false),
                FleetChange::BecameUnhealthy { .. } | FleetChange::BecameHealthy { .. } => continue,
            };
            if alive.insert(target, here) == Some(here) {
                let told = format!("{target} is said twice to have {}", if here { "come" } else { "left" });
                return Err(Breach::new("watch.lies", told));
            }
        }
        for target in &self.subject.targets {
            if alive.get(target) == Some(&false) && !self.dead.contains(target) {
                return Err(Breach::new(
                    "watch.lies",
                    format!("{target} is said to have left and has not"),
                ));
            }
        }
        let some: Vec<(TargetId, bool)> = alive
            .into_iter()
            .rev()
            .take(CHECKED)
            .map(|(target, alive)| (target.clone(), alive))
            .collect();
        let names: Vec<TargetId> = some.iter().map(|(target, _)| target.clone()).collect();
        if names.is_empty() {
            return Ok(());
        }
        let seen: Vec<Observation> = self.look_at(&names).await?;
        for ((target, alive), seen) in some.iter().zip(seen) {
            if *alive == (seen.phase == Phase::Gone) {
                let told = format!(
                    "{target} is said to be {} and is {seen:?}",
                    if *alive { "here" } else { "gone" }
                );
                return Err(Breach::new("watch.lies", told));
            }
        }
        Ok(())
    }

    /// Things happen that nobody ordered.
    pub(super) async fn disturbed(&mut self) -> Result<(), Breach> {
        let Some(target) = self.subject.targets.first().cloned() else {
            return Ok(());
        };
        self.unlike_at_first(&target).await?;
        if self.disturb.restart(&target).await {
            let before = self.rest[&target].instance;
            let version = self.rest[&target].version.clone();
            let ingress = self.rest[&target].ingress;
            let config = acknowledged(&self.rest[&target]);
            let seen = self.look_alone(&target).await?;
            if seen.instance == before && seen.ready {
                let told = format!("{target} was restarted, and a look after that shows {seen:?}");
                return Err(Breach::new("observe.restart", told));
            }
            self.until("observe.restart", &target, |seen| {
                seen.ready && seen.instance != before && seen.version == version
            })
            .await?;
            self.until("restart.forgets", &target, |seen| {
                seen.ingress == ingress && acknowledged(seen) == config
            })
            .await?;
            // A restart forgets no order, and brings none back.
            if let Some((ask, key)) = self.last.get(&target).cloned() {
                self.again(&target, &ask, &key).await?;
            }
            if self.able.fence {
                let below = Generation(self.generations[&target].0.saturating_sub(1));
                self.all_stale(&target, below, "fence.forgets").await?;
            }
            self.nothing_happens("key.forgotten", &target).await?;
        }
        if self.able.ingress {
            self.open(&target).await?;
        }
        let Some(target) = self.subject.targets.last().cloned() else {
            return Ok(());
        };
        if self.disturb.kill(&target).await {
            self.dead.insert(target.clone());
            self.until("observe.gone", &target, |seen| seen.phase == Phase::Gone)
                .await?;
            if self.able.watch {
                self.told_of_death(&target).await?;
            }
        }
        Ok(())
    }

    /// Leads a target to where it would not be by default: the second version and configuration, behind a closed way.
    async fn unlike_at_first(&mut self, target: &TargetId) -> Result<(), Breach> {
        let second = self.subject.second.clone();
        if self.rest[target].version.as_ref() != Some(&second) {
            let key = self.key(target, 4);
            self.order(target, &Ask::Replace(second), &key).await?;
            self.replaced(target).await?;
        }
        if self.able.config {
            let config = Some(self.subject.configs[1].clone());
            let key = self.key(target, 2);
            self.order(target, &Ask::Config(self.subject.configs[1].clone()), &key)
                .await?;
            self.until("config.acknowledged", target, |seen| acknowledged(seen) == config)
                .await?;
        }
        if self.able.ingress {
            self.close_for_long(target).await?;
        }
        Ok(())
    }

    async fn told_of_death(&mut self, dead: &TargetId) -> Result<(), Breach> {
        let until = self.clock.now().saturating_add(self.subject.patience_ms);
        loop {
            let (changes, cursor) = self.news(self.cursor).await?;
            self.cursor = cursor;
            self.news.extend(changes);
            let told = |change: &FleetChange| matches!(change, FleetChange::Left { target } if target == dead);
            if self.news.iter().any(told) {
                // What was told is so from then on, for every look.
                let seen = self.look_alone(dead).await?;
                if seen.phase != Phase::Gone {
                    let told = format!("{dead} is said to have left, and a look after that shows {seen:?}");
                    return Err(Breach::new("observe.old-state", told));
                }
                return Ok(());
            }
            if self.clock.now() >= until {
                return Err(Breach::new(
                    "watch.lost",
                    format!("{dead} has left, and the news do not say so"),
                ));
            }
            self.pass(self.subject.poll_ms).await;
        }
    }
}

fn acknowledged(seen: &Observation) -> Option<Version> {
    seen.config.as_ref()?.acknowledged.clone()
}
