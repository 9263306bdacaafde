//! Whose word a line needs, and how much it may do before it needs one. Nothing here makes anything possible that evidence,
//! rules and calendar do not allow; it only holds back.

use std::collections::VecDeque;

use super::line::{Context, Line, Run, Why};
use super::{Lane, Refusal, Site};
use crate::{Actor, ActorKind, Grant, Level, Severity};

const DAY_MS: i64 = 86_400_000;
const WEEK_MS: i64 = 7 * DAY_MS;

/// How much a line may do by itself at any level. What goes beyond waits for a person, who gets a briefing that says which of these
/// it is. What a person chose counts against none of them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "written literally, with `..TrainBudget::default()`"
)]
pub struct TrainBudget {
    /// Changes of production that it may begin in any 24 hours. Default 4: a nightly, its hotfixes, and one that was taken back.
    pub production_starts_per_day: u32,
    /// Hotfixes that programs may order in any 24 hours. Beyond it the order is refused. Default 4.
    pub hotfixes_per_day: u32,
    /// Changes of production that may fail to reach all of it in any 7 days, those that gave way to a hotfix aside. Then a
    /// person chooses what is tried next. Default 3.
    pub failures_per_week: u32,
    /// The most commits that a release may bring to production at once. Default 1,000.
    pub most_commits: u64,
    /// The oldest release, counted from its build, in milliseconds. Older than
    /// [`Limits::max_age_ms`](super::Limits::max_age_ms) none goes, whoever chooses. Default 28 days.
    pub oldest_ms: u64,
}

impl Default for TrainBudget {
    fn default() -> Self {
        Self {
            production_starts_per_day: 4,
            hotfixes_per_day: 4,
            failures_per_week: 3,
            most_commits: 1_000,
            oldest_ms: 28 * 24 * 3_600_000,
        }
    }
}

/// What a line is allowed, and what of it is spent.
#[derive(Clone, Debug)]
pub(super) struct Autonomy {
    pub(super) level: Level,
    /// Who answers for the level.
    pub(super) by: Actor,
    /// When the level ends.
    pub(super) until_ms: i64,
    /// It has ended, and nobody has said anything of it since.
    pub(super) expired: bool,
    /// Changes of production that no person chose, of the last day.
    starts: VecDeque<i64>,
    /// Hotfixes that programs ordered, of the last day.
    hotfixes: VecDeque<i64>,
}

impl Autonomy {
    pub(super) fn new(grant: &Grant) -> Self {
        Self {
            level: grant.level,
            by: grant.by.clone(),
            until_ms: grant.until_unix_ms,
            expired: false,
            starts: VecDeque::new(),
            hotfixes: VecDeque::new(),
        }
    }
}

/// How many of these were within a span that ends now.
fn within(times: &VecDeque<i64>, now_ms: i64, span_ms: i64) -> u64 {
    times
        .iter()
        .filter(|at_ms| now_ms.saturating_sub(**at_ms) < span_ms)
        .count() as u64
}

/// Remembers this moment, and forgets what is over.
fn remember(times: &mut VecDeque<i64>, now_ms: i64) {
    while times
        .front()
        .is_some_and(|at_ms| now_ms.saturating_sub(*at_ms) >= DAY_MS)
    {
        times.pop_front();
    }
    times.push_back(now_ms);
}

impl Line {
    /// Time passes: a grant runs out.
    pub(super) fn pass_level(&mut self, now_ms: i64) {
        if self.autonomy.level > Level::UNGRANTED && now_ms >= self.autonomy.until_ms {
            self.autonomy.level = Level::UNGRANTED;
            self.autonomy.expired = true;
        }
    }

    /// Whether nightlies are built and the canary fleet changes without another word: by the standing order of whoever granted
    /// the level.
    pub(super) fn may_begin(&self) -> bool {
        self.autonomy.level >= Level::L4 && self.stopped.is_none() && !self.clock_is_back
    }

    /// What was ordered to begin and is not known to have, must still be such that it may.
    pub(super) fn see_to_starts(&mut self, cx: &mut Context<'_>) {
        let waits = |run: &&Run| run.back.is_none() && !cx.out.has_begun(&run.order.change);
        let wrong: Vec<(Site, String)> = self
            .runs
            .iter()
            .filter(|(_, run)| waits(run))
            .filter_map(|(site, run)| Some((*site, self.against_start(*site, run, cx)?)))
            .collect();
        for (site, why) in wrong {
            self.take_back(site, Why::NotBegun, &why, cx);
        }
        if self.autonomy.level < Level::L4 {
            for build in self.builds.iter_mut().filter(|build| build.lane == Lane::Nightly) {
                build.ordered &= !cx.out.asks_for(&self.config.id, build.head, build.lane);
            }
            cx.out.withdraw_builds(&self.config.id, Some(Lane::Nightly));
        }
    }

    /// Why a change that has not begun must not begin any more, if it must not.
    fn against_start(&self, site: Site, run: &Run, cx: &Context<'_>) -> Option<String> {
        if self.clock_is_back {
            return Some("the clock has gone back before it had surely begun".to_owned());
        }
        let person = site == Site::Production && run.order.author.kind == ActorKind::Person;
        let least = match site {
            Site::Canary => Level::L4,
            Site::Production => Level::L5,
        };
        if !person && self.autonomy.level < least {
            return Some(format!(
                "the line is at {} before it had surely begun",
                self.autonomy.level
            ));
        }
        let release = self.releases.get(&run.release)?;
        let limit = i64::try_from(self.config.limits.max_age_ms).unwrap_or(i64::MAX);
        if cx.now_ms.saturating_sub(release.built_ms) >= limit {
            return Some("it became older than a release may be before it had surely begun".to_owned());
        }
        (site == Site::Production)
            .then(|| self.against_by_calendar(release, person, cx))
            .flatten()
    }

    /// A person gives a level, until a moment.
    pub(super) fn grant(
        &mut self,
        level: Level,
        until_ms: i64,
        actor: &Actor,
        cx: &mut Context<'_>,
    ) -> Result<(), Refusal> {
        if until_ms <= cx.now_ms {
            return Err(Refusal::NoGrant {
                level: level.to_string(),
                why: "it would be over already; give a later end".to_owned(),
            });
        }
        self.autonomy.expired = false;
        self.autonomy.until_ms = until_ms;
        self.autonomy.by = actor.clone();
        self.set_level(level, actor, cx);
        Ok(())
    }

    /// Anybody takes a level away, at once. What has begun goes on under the level of its own change.
    pub(super) fn demote(&mut self, level: Level, actor: &Actor, cx: &mut Context<'_>) -> Result<(), Refusal> {
        if level > self.autonomy.level {
            return Err(Refusal::NoGrant {
                level: level.to_string(),
                why: format!(
                    "the line is at {}, and a level is granted with an end, by a person",
                    self.autonomy.level
                ),
            });
        }
        self.set_level(level, actor, cx);
        Ok(())
    }

    fn set_level(&mut self, level: Level, actor: &Actor, cx: &mut Context<'_>) {
        let before = std::mem::replace(&mut self.autonomy.level, level);
        if level >= Level::L5 {
            // Nobody need choose any more; what is beyond a budget is asked anew.
            self.question = None;
        }
        if before != level {
            let text = format!("{actor} says {level}, which was {before}");
            cx.tell(&self.config.id, "train.level", Severity::Info, text);
        }
    }

    /// A program has a hotfix built.
    pub(super) fn spend_hotfix(&mut self, actor: &Actor, now_ms: i64) -> Result<(), Refusal> {
        if actor.kind == ActorKind::Person {
            return Ok(());
        }
        let most = self.config.budget.hotfixes_per_day;
        if within(&self.autonomy.hotfixes, now_ms, DAY_MS) >= u64::from(most) {
            return Err(Refusal::BeyondBudget {
                what: format!("programs have ordered {most} hotfixes within a day"),
                setting: "hotfixes_per_day".to_owned(),
            });
        }
        remember(&mut self.autonomy.hotfixes, now_ms);
        Ok(())
    }

    /// A change of production begins that no person chose.
    pub(super) fn spend_start(&mut self, now_ms: i64) {
        remember(&mut self.autonomy.starts, now_ms);
    }

    /// Which budget a release is beyond, where no person chose it.
    pub(super) fn beyond(&self, key: &[u64], now_ms: i64) -> Option<String> {
        let release = self.releases.get(key)?;
        let TrainBudget {
            production_starts_per_day: starts,
            hotfixes_per_day: _,
            failures_per_week: failures,
            most_commits,
            oldest_ms,
        } = self.config.budget;
        if within(&self.autonomy.starts, now_ms, DAY_MS) >= u64::from(starts) {
            return Some(format!(
                "{starts} changes of production have begun within a day (production_starts_per_day)"
            ));
        }
        let failed = self.deliveries.iter().filter(|delivery| {
            let recent = now_ms.saturating_sub(delivery.end.at_unix_ms) < WEEK_MS;
            recent && !delivery.gave_way && !delivery.arrived()
        });
        // A hotfix mends what failed.
        if release.lane == Lane::Nightly && failed.count() as u64 >= u64::from(failures) {
            return Some(format!(
                "{failures} changes of production have failed within a week (failures_per_week)"
            ));
        }
        // CI need not have told of each of them.
        let numbered = release.content.upto.saturating_sub(self.production.content.upto);
        let commits = numbered.max(self.brings(release).count() as u64);
        if commits > most_commits {
            return Some(format!(
                "it brings {commits} commits, more than {most_commits} (most_commits)"
            ));
        }
        let age_ms = u64::try_from(now_ms.saturating_sub(release.built_ms)).unwrap_or(0);
        (age_ms >= oldest_ms).then(|| format!("it was built {} days ago (oldest_ms)", age_ms / (24 * 3_600_000)))
    }
}
