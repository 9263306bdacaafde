//! The source tree, its CI and its builds: commits by day, some of which break something.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use unattended::train::{Artefact, Artefacts, BuildOrder, CiStatus, Commit, Lane, LineId, News, NoAnswer};
use unattended_examples_support::Failure;

use crate::fleet::START_WALL_MS;
use crate::lots::Lots;
use crate::world::{Grounds, Truth};

pub(crate) const HOUR_MS: i64 = 3_600_000;
pub(crate) const DAY_MS: i64 = 24 * HOUR_MS;
/// One nightly in so many brings something bad.
const ONE_IN: usize = 5;
/// CI takes so long.
const CI_MS: i64 = 30 * 60_000;
/// A build takes so long.
const BUILD_MS: i64 = 20 * 60_000;
/// From the word that a range is suspect to the commit that takes the cause out.
const REVERT_MS: i64 = 2 * HOUR_MS;
/// Nobody has said that it is bad, and its author finds out nevertheless.
const NOTICED_MS: i64 = 3 * DAY_MS;

/// A commit that broke something, until another one mended it.
struct Bug {
    number: u64,
    truth: Truth,
    /// The commit without it.
    mended: Option<u64>,
}

#[derive(Default)]
struct Inner {
    /// By number, from 1 without holes: when, and whether CI finds it good.
    commits: Vec<(i64, bool)>,
    bugs: Vec<Bug>,
    /// When something will be mended, and which bug.
    reverts: Vec<(i64, usize)>,
    /// Artefacts with the time at which they are there.
    artefacts: Vec<(i64, Artefact)>,
    /// What is wrong with each version that was built.
    truths: BTreeMap<String, Truth>,
    now_ms: i64,
    days: u32,
}

/// The tree.
pub(crate) struct Tree {
    grounds: Arc<Grounds>,
    nights: u32,
    inner: Mutex<Inner>,
}

impl Tree {
    pub(crate) fn new(grounds: Arc<Grounds>, nights: u32) -> Self {
        Self {
            grounds,
            nights,
            inner: Mutex::new(Inner {
                now_ms: START_WALL_MS,
                ..Inner::default()
            }),
        }
    }

    /// Commits are made as time goes by.
    pub(crate) fn passed(&self, wall_ms: i64) -> Result<(), Failure> {
        let mut inner = self.inner.lock();
        inner.now_ms = wall_ms;
        let day = u32::try_from((wall_ms - START_WALL_MS) / DAY_MS).unwrap_or(0);
        while inner.days <= day && inner.days < self.nights {
            let number = u64::from(inner.days);
            inner.days += 1;
            self.day(number, &mut inner)?;
        }
        let due: Vec<(i64, usize)> = inner
            .reverts
            .iter()
            .copied()
            .filter(|(at_ms, _)| *at_ms <= wall_ms)
            .collect();
        inner.reverts.retain(|(at_ms, _)| *at_ms > wall_ms);
        for (_, bug) in due {
            // After the last nightly nobody commits any more.
            let last_ms = START_WALL_MS + i64::from(self.nights) * DAY_MS - 14 * HOUR_MS;
            if inner.bugs[bug].mended.is_none() && wall_ms < last_ms {
                let number = inner.add(wall_ms, true);
                inner.bugs[bug].mended = Some(number);
            }
        }
        Ok(())
    }

    /// A day's commits, from nine to six; the fleets' day begins at eight.
    fn day(&self, day: u64, inner: &mut Inner) -> Result<(), Failure> {
        let mut lots = Lots::of(&[self.grounds.seed, 11, day]);
        let begin_ms = START_WALL_MS + i64::try_from(day).unwrap_or(0) * DAY_MS + HOUR_MS;
        let count = 4 + lots.below(9);
        let mut times: Vec<i64> = (0..count)
            .map(|_| begin_ms + i64::try_from(lots.below(9 * 60)).unwrap_or(0) * 60_000)
            .collect();
        times.sort_unstable();
        let bad = lots.below(ONE_IN) == 0;
        let guilty = lots.below(count);
        for (at, at_ms) in times.into_iter().enumerate() {
            // The last one of a day is good, so that each day has something new to build.
            let green = at + 1 == count || lots.unit() >= 0.08 || (bad && at == guilty);
            let number = inner.add(at_ms, green);
            if bad && at == guilty {
                let seed = Lots::of(&[self.grounds.seed, 12, day]).bits();
                let good = self.grounds.scenario.good.len();
                let family = good + lots.below(self.grounds.scenario.bad.len());
                inner.bugs.push(Bug {
                    number,
                    truth: self.grounds.draw(family, seed)?,
                    mended: None,
                });
                let bug = inner.bugs.len() - 1;
                inner.reverts.push((at_ms + NOTICED_MS, bug));
            }
        }
        Ok(())
    }

    /// The commit that mends what burns in production.
    pub(crate) fn commit_hotfix(&self, at_ms: i64) -> u64 {
        self.inner.lock().add(at_ms, true)
    }

    /// What is wrong with a version.
    pub(crate) fn truth(&self, version: &str) -> Option<Truth> {
        self.inner.lock().truths.get(version).cloned()
    }

    pub(crate) fn lane(&self, version: &str) -> Lane {
        let inner = self.inner.lock();
        let urgent = |(_, artefact): &(i64, Artefact)| artefact.version == version && artefact.base.is_some();
        if inner.artefacts.iter().any(urgent) {
            Lane::Hotfix
        } else {
            Lane::Nightly
        }
    }

    /// What is wrong with what has these commits: its oldest bug.
    fn found(&self, inner: &Inner, has: impl Fn(u64) -> bool, seed: u64) -> Result<Truth, Failure> {
        let alive = |bug: &&Bug| has(bug.number) && !bug.mended.is_some_and(&has);
        if let Some(bug) = inner.bugs.iter().find(alive) {
            return Ok(bug.truth.clone());
        }
        let mut lots = Lots::of(&[self.grounds.seed, 13, seed]);
        let family = lots.below(self.grounds.scenario.good.len());
        self.grounds.draw(family, lots.bits())
    }
}

impl Inner {
    fn add(&mut self, at_ms: i64, green: bool) -> u64 {
        self.commits.push((at_ms, green));
        self.commits.len() as u64
    }
}

/// The name of a commit.
pub(crate) fn name(number: u64) -> String {
    let mut lots = Lots::of(&[77, number]);
    format!("{:07x}", lots.bits() & 0x0fff_ffff)
}

#[async_trait]
impl CiStatus for Tree {
    async fn tried(&self, _: &LineId, cursor: u64) -> Result<News<(Commit, bool)>, NoAnswer> {
        let inner = self.inner.lock();
        // In the order in which CI gets to them; what comes later is tried later, so that the cursor leaves nothing out.
        let mut tried: Vec<(i64, u64, bool)> = inner
            .commits
            .iter()
            .zip(1..)
            .map(|((at_ms, green), number)| (*at_ms, number, *green))
            .filter(|(at_ms, ..)| at_ms + CI_MS <= inner.now_ms)
            .collect();
        tried.sort_unstable();
        let end = tried.len() as u64;
        let skip = usize::try_from(cursor).unwrap_or(usize::MAX);
        let items = tried.into_iter().skip(skip).map(|(at_unix_ms, number, green)| {
            let id = name(number);
            (Commit { id, number, at_unix_ms }, green)
        });
        Ok(News {
            items: items.collect(),
            cursor: end.max(cursor),
        })
    }

    async fn suspects(&self, _: &LineId, _: &str, commits: &[String], _: &str) -> Result<(), NoAnswer> {
        let mut inner = self.inner.lock();
        let at_ms = inner.now_ms + REVERT_MS;
        let found = inner
            .bugs
            .iter()
            .enumerate()
            .filter(|(_, bug)| commits.contains(&name(bug.number)));
        let found: Vec<usize> = found.map(|(at, _)| at).collect();
        inner.reverts.extend(found.into_iter().map(|bug| (at_ms, bug)));
        Ok(())
    }
}

#[async_trait]
impl Artefacts for Tree {
    async fn build(&self, order: &BuildOrder) -> Result<(), NoAnswer> {
        let mut inner = self.inner.lock();
        let same = |(_, artefact): &&(i64, Artefact)| {
            artefact.head == order.head && artefact.base == order.base && artefact.picks == order.picks
        };
        if inner.artefacts.iter().filter(same).count() > order.rebuilds as usize {
            return Ok(());
        }
        let base = order.base.unwrap_or(order.head);
        let has = |number: u64| number <= base || number == order.head || order.picks.contains(&number);
        // 2.<head>.0 for nightlies; 2.<base>.<pick> for what is built upon an older one.
        let mut version = match order.lane {
            Lane::Nightly => format!("mesh-2.{}.0", order.head),
            Lane::Hotfix if order.picks.is_empty() => format!("mesh-2.{base}.{}", order.head),
            Lane::Hotfix => format!("mesh-2.{base}.{}.{}", order.head, order.picks.len()),
        };
        // Above what it replaces, and below whatever comes after that.
        if order.rebuilds > 0 {
            version.push_str(&format!(".0.{}", order.rebuilds));
        }
        // What mends production has been looked at twice.
        let truth = match order.lane {
            Lane::Hotfix => self.grounds.draw(0, order.head),
            Lane::Nightly => self.found(&inner, has, order.head),
        };
        let truth = truth.map_err(|_| NoAnswer("the build failed".to_owned()))?;
        inner.truths.insert(version.clone(), truth);
        let artefact = Artefact {
            digest: format!(
                "sha256:{:016x}{:016x}",
                Lots::of(&[order.head, base, u64::from(order.rebuilds)]).bits(),
                Lots::of(&[base, order.head]).bits()
            ),
            version,
            head: order.head,
            base: order.base,
            picks: order.picks.clone(),
        };
        let at_ms = inner.now_ms + BUILD_MS;
        inner.artefacts.push((at_ms, artefact));
        Ok(())
    }

    async fn built(&self, _: &LineId, cursor: u64) -> Result<News<Artefact>, NoAnswer> {
        let inner = self.inner.lock();
        let there = inner.artefacts.iter().take_while(|(at_ms, _)| *at_ms <= inner.now_ms);
        let items: Vec<Artefact> = there.map(|(_, artefact)| artefact.clone()).collect();
        let end = items.len() as u64;
        let skip = usize::try_from(cursor).unwrap_or(usize::MAX);
        Ok(News {
            items: items.into_iter().skip(skip).collect(),
            cursor: end.max(cursor),
        })
    }
}
