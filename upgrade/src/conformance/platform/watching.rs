//! News: true, complete, and the same however often they are asked for.
use std::collections::BTreeMap;

use super::trial::{Ask, Trial};
use super::untried::Gap;
use crate::conformance::Breach;
use crate::{FleetChange, Generation, Ingress, Observation, Phase, PlatformError, TargetId, Version};

/// How often a question may go unanswered.
const TRIES: u32 = 50;
/// Newborns and dead that are looked at, to see whether what was told is so.
const CHECKED: usize = 200;
/// More news than that at once are taken to have no end.
const MOST_NEWS: usize = 1_000_000;

impl Trial<'_> {
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

    /// News begin anew with the adapter.
    pub(super) async fn begin_watch_anew(&mut self) -> Result<(), Breach> {
        (self.news, self.told_before, self.cursor) = (Vec::new(), Vec::new(), 0);
        self.begin_watch().await
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
        self.read_on().await
    }

    /// Reads from where it was to the end. No cursor is given again with something new.
    async fn read_on(&mut self) -> Result<(), Breach> {
        loop {
            let (changes, cursor) = self.news(self.cursor).await?;
            if changes.is_empty() {
                return Ok(());
            }
            let known = cursor == self.cursor || self.told_before.iter().any(|(before, _)| *before == cursor);
            if known || self.news.len() > MOST_NEWS {
                let told = format!(
                    "{} news from {} lead to {cursor}, where it has been before, or they have no end",
                    changes.len(),
                    self.cursor
                );
                return Err(Breach::new("watch.cursor", told));
            }
            self.told_before.push((self.cursor, self.news.len()));
            self.news.extend(changes);
            self.cursor = cursor;
        }
    }

    /// Reads on from where it was, and compares with a reading from the beginning.
    pub(super) async fn end_watch(&mut self) -> Result<(), Breach> {
        if !self.able.watch {
            return Ok(());
        }
        self.told_as_well().await?;
        self.read_on().await?;
        // From the beginning and from in between, and again: whoever reads takes nothing away from the next.
        let between = self.told_before.get(self.told_before.len() / 2);
        let between = between.copied().unwrap_or_default();
        for (from, before) in [(0, 0), between, between, (0, 0)] {
            let mut again: Vec<FleetChange> = Vec::new();
            let mut cursor = from;
            loop {
                let (changes, next) = self.news(cursor).await?;
                if changes.is_empty() || next == cursor || again.len() > MOST_NEWS {
                    break;
                }
                again.extend(changes);
                cursor = next;
            }
            let wanted = &self.news[before..];
            if again.get(..wanted.len()) != Some(wanted) {
                let told = format!(
                    "{} news from {from} on were told piece by piece; asked for again they are {} others",
                    wanted.len(),
                    again.len()
                );
                return Err(Breach::new("watch.forgets", told));
            }
        }
        self.news_are_true().await
    }

    /// Targets that look well are not left as ill in the news.
    async fn told_as_well(&mut self) -> Result<(), Breach> {
        let until = self.clock.now().saturating_add(self.subject.patience_ms);
        loop {
            self.read_on().await?;
            let ill = self.living().into_iter().find(|target| {
                let words = self.news.iter().rev().find_map(|change| match change {
                    FleetChange::BecameUnhealthy { target: name } if name == target => Some(true),
                    FleetChange::BecameHealthy { target: name } if name == target => Some(false),
                    _ => None,
                });
                words == Some(true) && self.rest[target].ready
            });
            let Some(ill) = ill else { return Ok(()) };
            if self.clock.now() >= until {
                let told = format!("{ill} is said to be ill and is {:?}", self.rest[&ill]);
                return Err(Breach::new("watch.lies", told));
            }
            self.pass(self.subject.poll_ms).await;
        }
    }

    /// A birth that has been seen is told, and as it was.
    pub(super) async fn told_of_birth(&mut self, newborn: &TargetId, runs: &Version) -> Result<(), Breach> {
        if !self.able.watch {
            return Ok(());
        }
        let until = self.clock.now().saturating_add(self.subject.patience_ms);
        loop {
            self.read_on().await?;
            let told = self.news.iter().find_map(|change| match change {
                FleetChange::Joined { target, version, .. } if target == newborn => Some(version.clone()),
                _ => None,
            });
            match told {
                Some(version) if version == *runs => return Ok(()),
                Some(version) => {
                    let told = format!("{newborn} was born with {runs}, and is said to have come with {version}");
                    return Err(Breach::new("watch.lies", told));
                }
                None if self.clock.now() >= until => {
                    let told = format!("{newborn} was born, and the news do not say so");
                    return Err(Breach::new("watch.lost", told));
                }
                None => self.pass(self.subject.poll_ms).await,
            }
        }
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
        if self.able.watch {
            self.read_on().await?;
        }
        let known = self.news.len();
        if self.disturb.restart(&target).await {
            self.has_tried(Gap::Restarts);
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
            self.told_of_illness(&target, known).await?;
            self.restarts_while_closed(&target).await?;
        }
        if self.able.ingress {
            self.open(&target).await?;
        }
        let Some(target) = self.subject.targets.last().cloned() else {
            return Ok(());
        };
        if self.disturb.kill(&target).await {
            self.has_tried(Gap::Deaths);
            self.dead.insert(target.clone());
            self.until("observe.gone", &target, |seen| seen.phase == Phase::Gone)
                .await?;
            if self.able.watch {
                self.told_of_death(&target).await?;
            }
            // And it stays so.
            self.buried.insert(target);
            let first = self.alive();
            self.nothing_happens("observe.gone", &first).await?;
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

    /// The time at which a closed way opens is not lost with the instance.
    async fn restarts_while_closed(&mut self, target: &TargetId) -> Result<(), Breach> {
        if !self.able.ingress {
            return Ok(());
        }
        self.close_for(target, self.subject.quiet_ms).await?;
        self.moving.insert(target.clone());
        self.disturb.restart(target).await;
        self.until("restart.forgets", target, |seen| {
            seen.ready && seen.ingress == Ingress::Open
        })
        .await
    }

    /// Whose instance ended could not serve for a while, and that was nobody's order.
    async fn told_of_illness(&mut self, target: &TargetId, known: usize) -> Result<(), Breach> {
        if !self.able.watch {
            return Ok(());
        }
        let until = self.clock.now().saturating_add(self.subject.patience_ms);
        loop {
            self.read_on().await?;
            let is_told = |change: &FleetChange| matches!(change, FleetChange::BecameUnhealthy { target: name } if name == target);
            if self.news.iter().skip(known).any(is_told) {
                return Ok(());
            }
            if self.clock.now() >= until {
                let told = format!("the instance of {target} ended by itself, and the news do not say so");
                return Err(Breach::new("watch.lost", told));
            }
            self.pass(self.subject.poll_ms).await;
        }
    }

    async fn told_of_death(&mut self, dead: &TargetId) -> Result<(), Breach> {
        let until = self.clock.now().saturating_add(self.subject.patience_ms);
        loop {
            self.read_on().await?;
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
