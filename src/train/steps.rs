//! What follows on a line: nightlies, the canary fleet, production, and how changes end.

use super::cadence::instant;
use super::line::{Context, Delivery, Line, Run, Standing, Why};
use super::{ChangeEnd, ChangeKey, ChangeOrder, Command, Content, Lane, Refusal, Site, Stage};
use crate::{Actor, Level, Outcome};

/// A step makes others possible; more than this in a row would be a fault.
const MOST_STEPS: usize = 64;

fn ms(length: u64) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

impl Line {
    /// Does everything that can be done now.
    pub(super) fn go_on(&mut self, cx: &mut Context<'_>) {
        self.nightly(cx);
        self.waits(cx);
        for _ in 0..MOST_STEPS {
            if !(self.canary(cx) || self.production(cx)) {
                break;
            }
        }
        for release in self.releases.values_mut() {
            if !release.stage.is_live() {
                release.left_ms.get_or_insert(cx.now_ms);
            }
        }
    }

    /// Orders the day's build. A day that was missed is not made up for: the next nightly has its commits.
    fn nightly(&mut self, cx: &mut Context<'_>) {
        if cx.now_ms < self.next_nightly_ms {
            return;
        }
        self.next_nightly_ms = self.times.next_nightly(cx.now_ms).unwrap_or(i64::MAX);
        if self.stopped.is_some() {
            return;
        }
        let green = self
            .commits
            .iter()
            .rev()
            .find(|(_, tried)| tried.green && !tried.quarantined);
        let Some((&head, _)) = green.filter(|(head, _)| **head > self.built_head) else {
            return;
        };
        self.built_head = head;
        self.order_build(Lane::Nightly, head, Content::upto(head), cx);
    }

    /// Waits that have been long enough.
    fn waits(&mut self, cx: &mut Context<'_>) {
        let limits = self.config.limits.clone();
        let id = self.config.id.clone();
        let late = |since_ms: i64, limit: u64| cx.now_ms.saturating_sub(since_ms) >= ms(limit);
        let (forgotten, kept) = self
            .builds
            .drain(..)
            .partition(|build| late(build.since_ms, limits.build_ms));
        self.builds = kept;
        let forgotten: Vec<super::line::Build> = forgotten;
        let old: Vec<Vec<u64>> = self
            .releases
            .iter()
            .filter(|(_, release)| {
                let waits = matches!(
                    release.stage,
                    Stage::Built | Stage::Soaking { .. } | Stage::Qualified { .. }
                );
                waits && late(release.built_ms, limits.max_age_ms)
            })
            .map(|(key, _)| key.clone())
            .collect();
        let overdue: Vec<(Site, bool)> = self
            .runs
            .iter()
            .filter_map(|(site, run)| match run.taking_back {
                None => {
                    let limit = match site {
                        Site::Canary => limits.canary_ms,
                        Site::Production => limits.production_ms,
                    };
                    late(run.since_ms, limit).then_some((*site, false))
                }
                Some((since_ms, _)) => (!run.overdue && late(since_ms, limits.take_back_ms)).then_some((*site, true)),
            })
            .collect();
        for build in forgotten {
            let text = format!(
                "the build of commit {} has not come in time; it is not waited for any more",
                build.head
            );
            cx.tell(&id, "train.build_late", text);
            if build.lane == Lane::Nightly {
                self.built_head = self.production.content.upto;
            }
        }
        for key in old {
            let why = "it is older than a release may be".to_owned();
            self.end_at(&key, Stage::Expired { why });
        }
        for (site, taken_back) in overdue {
            if taken_back {
                let Some(run) = self.runs.get_mut(&site) else { continue };
                run.overdue = true;
                let text = format!(
                    "change {} is taken back and does not end; {} must look at it",
                    run.order.change, cx.owner
                );
                cx.tell(&id, "train.stuck", text);
                self.stop("the train", "a change does not end", false, cx);
            } else {
                self.take_back(site, Why::Deadline, "it has no time left", cx);
            }
        }
    }

    fn end_at(&mut self, key: &[u64], stage: Stage) {
        if self.chosen.as_ref().is_some_and(|(chosen, _)| chosen == key) {
            self.chosen = None;
        }
        if let Some(release) = self.releases.get_mut(key) {
            release.stage = stage;
        }
    }

    /// One step of the canary fleet; whether there was one.
    fn canary(&mut self, cx: &mut Context<'_>) -> bool {
        let urgent = self
            .releases
            .iter()
            .rev()
            .find(|(_, release)| release.lane == Lane::Hotfix && release.stage == Stage::Built)
            .map(|(key, release)| (key.clone(), release.artefact.version.clone()));
        if let Some(run) = self.runs.get(&Site::Canary) {
            let ordinary = self
                .releases
                .get(&run.release)
                .is_some_and(|release| release.lane == Lane::Nightly);
            if let Some((_, version)) =
                urgent.filter(|_| ordinary && run.taking_back.is_none() && self.stopped.is_none())
            {
                self.take_back(
                    Site::Canary,
                    Why::GiveWay,
                    &format!("hotfix {version} needs the canary fleet"),
                    cx,
                );
                return true;
            }
            return false;
        }
        if let Some(key) = self.in_stage(|stage| matches!(stage, Stage::Soaking { .. })) {
            let ordinary = self
                .releases
                .get(&key)
                .is_some_and(|release| release.lane == Lane::Nightly);
            if let Some((_, version)) = urgent.filter(|_| ordinary && self.stopped.is_none()) {
                let why = format!("hotfix {version} needed the canary fleet");
                self.end_at(&key, Stage::Superseded { why });
                return true;
            }
            return self.soak(&key, cx);
        }
        if self.stopped.is_some() {
            return false;
        }
        let newest = urgent
            .map(|(key, _)| key)
            .or_else(|| self.in_stage(|stage| *stage == Stage::Built));
        let Some(key) = newest else { return false };
        self.supersede(&key);
        let Some(release) = self.releases.get(&key) else {
            return false;
        };
        if !release.content.covers(&self.production.content) {
            self.outrun(&key, cx);
            return true;
        }
        let head = self.commits.get(&release.artefact.head);
        if head.is_some_and(|tried| tried.quarantined) {
            let why = "CI contradicts itself about its newest commit".to_owned();
            self.end_at(&key, Stage::Barred { why });
            return true;
        }
        if release.artefact.version == self.canary {
            let why = "the canary fleet ran a version of this name before".to_owned();
            self.end_at(&key, Stage::Barred { why });
            return true;
        }
        let author = if cx.level >= Level::L5 {
            Actor::program("train", format!("nightly of {}", self.config.id))
        } else {
            cx.owner.clone()
        };
        let from = self.canary.clone();
        self.start(Site::Canary, &key, from, author, cx);
        if let Some(release) = self.releases.get_mut(&key) {
            release.stage = Stage::OnCanary;
        }
        true
    }

    /// Older nightlies that have not begun are not tried any more: this one has their commits.
    fn supersede(&mut self, newest: &[u64]) {
        let Some(by) = self.releases.get(newest) else { return };
        let (content, version, lane) = (by.content.clone(), by.artefact.version.clone(), by.lane);
        for (key, release) in &mut self.releases {
            let waits = release.stage == Stage::Built && key.as_slice() != newest;
            let same = release.lane == lane || lane == Lane::Nightly;
            if waits && same && content.covers(&release.content) {
                let why = format!("{version} was newer when the canary fleet was free");
                release.stage = Stage::Superseded { why };
            }
        }
    }

    /// Production moved on while this waited: going there would take something back. A hotfix is built anew, upon what runs now.
    fn outrun(&mut self, key: &[u64], cx: &mut Context<'_>) {
        let why = format!(
            "production got {} meanwhile, which has what this lacks",
            self.production.version
        );
        self.end_at(key, Stage::Superseded { why });
        let Some(release) = self.releases.get(key) else { return };
        let head = release.artefact.head;
        if release.lane == Lane::Hotfix && !self.production.content.has(head) {
            self.build_hotfix(head, cx);
        }
    }

    fn start(&mut self, site: Site, key: &[u64], from: String, author: Actor, cx: &mut Context<'_>) {
        let Some(release) = self.releases.get_mut(key) else {
            return;
        };
        let nth = release.tries.entry(site).or_default();
        let change = ChangeKey::new(&self.config.id, site, &release.artefact.version, *nth);
        *nth += 1;
        let order = ChangeOrder {
            line: self.config.id.clone(),
            site,
            change,
            from,
            version: release.artefact.version.clone(),
            digest: release.artefact.digest.clone(),
            author,
        };
        cx.out.push(Command::Start(order.clone()));
        let run = Run {
            order,
            release: key.to_vec(),
            since_ms: cx.now_ms,
            taking_back: None,
            overdue: false,
        };
        self.runs.insert(site, run);
    }

    /// One step of production; whether there was one.
    fn production(&mut self, cx: &mut Context<'_>) -> bool {
        if cx.now_ms >= self.slot.next_ms {
            if let Some(asked) = self.question.take() {
                let text = format!(
                    "nobody chose a release by {}; the next slot asks again",
                    instant(asked.by_unix_ms)
                );
                cx.tell(&self.config.id, "train.unanswered", text);
            }
            self.chosen = None;
            self.held = None;
            self.slot.open_since_ms = Some(self.slot.next_ms);
            self.slot.next_ms = self.times.next_slot(cx.now_ms).unwrap_or(i64::MAX);
        }
        if self.stopped.is_some() || self.runs.contains_key(&Site::Production) {
            return false;
        }
        let lost = self.releases.iter().find(|(_, release)| {
            let waits = matches!(release.stage, Stage::Qualified { .. });
            waits && !release.content.covers(&self.production.content)
        });
        if let Some(key) = lost.map(|(key, _)| key.clone()) {
            self.outrun(&key, cx);
            return true;
        }
        let Some((key, author)) = self.choice(cx) else {
            return false;
        };
        let from = self.production.version.clone();
        self.start(Site::Production, &key, from, author, cx);
        if let Some(release) = self.releases.get_mut(&key) {
            release.stage = Stage::OnProduction;
        }
        self.slot.open_since_ms = None;
        self.question = None;
        self.chosen = None;
        self.held = None;
        true
    }

    pub(super) fn ended(&mut self, change: &ChangeKey, end: &ChangeEnd, cx: &mut Context<'_>) -> Result<(), Refusal> {
        if let Some(known) = self.ended.get(change) {
            return if known.outcome == end.outcome {
                Ok(())
            } else {
                Err(Refusal::EndChanged {
                    change: change.to_string(),
                    known: known.outcome.as_str().to_owned(),
                    now: end.outcome.as_str().to_owned(),
                })
            };
        }
        let site = self
            .runs
            .iter()
            .find(|(_, run)| run.order.change == *change)
            .map(|(site, _)| *site);
        let Some((site, run)) = site.and_then(|site| Some((site, self.runs.remove(&site)?))) else {
            return Err(Refusal::NobodyAsked {
                what: format!("the end of change {change}"),
            });
        };
        self.ended.insert(change.clone(), end.clone());
        self.hands += end.human_actions;
        if let Some(release) = self.releases.get_mut(&run.release) {
            release.hands += end.human_actions;
        }
        let done = matches!(end.outcome, Outcome::Completed | Outcome::CompletedWithDebt);
        match site {
            Site::Canary => self.canary_ended(&run, end, done, cx),
            Site::Production => self.production_ended(&run, end, done, cx),
        }
        self.forget();
        Ok(())
    }

    fn canary_ended(&mut self, run: &Run, end: &ChangeEnd, done: bool, cx: &mut Context<'_>) {
        let Some(release) = self.releases.get_mut(&run.release) else {
            return;
        };
        if done {
            self.canary.clone_from(&release.artefact.version);
            release.passed.push((Site::Canary, end.at_unix_ms));
            // One that was barred meanwhile stays barred, wherever it runs.
            if release.stage == Stage::OnCanary {
                release.soaking_ms = Some(end.at_unix_ms);
                release.stage = Stage::Soaking {
                    since_unix_ms: end.at_unix_ms,
                };
            }
            return;
        }
        if release.stage != Stage::OnCanary {
            return;
        }
        match run.taking_back.map(|(_, why)| why) {
            Some(Why::GiveWay) => {
                let why = "a hotfix needed the canary fleet".to_owned();
                release.stage = Stage::Superseded { why };
            }
            Some(Why::Stopped) => {
                let why = "the line was stopped".to_owned();
                release.stage = Stage::Superseded { why };
            }
            Some(Why::Deadline | Why::Barred) => {
                let why = format!("it did not get through the canary fleet in time: {}", end.why);
                release.stage = Stage::Expired { why };
            }
            None => {
                let why = format!("{} on the canary fleet: {}", end.outcome.as_str(), end.why);
                if matches!(end.outcome, Outcome::RolledBack | Outcome::RolledBackPartially) {
                    self.suspect(&run.release, why, cx);
                } else {
                    release.stage = Stage::Expired { why };
                }
            }
        }
    }

    fn production_ended(&mut self, run: &Run, end: &ChangeEnd, done: bool, cx: &mut Context<'_>) {
        let id = self.config.id.clone();
        let Some(release) = self.releases.get_mut(&run.release) else {
            return;
        };
        let mut delivery = Delivery {
            version: release.artefact.version.clone(),
            end: end.clone(),
            hands: release.hands,
            leads_ms: Vec::new(),
            burnt: false,
        };
        if done {
            let before = std::mem::replace(
                &mut self.production,
                Standing {
                    version: release.artefact.version.clone(),
                    numbers: run.release.clone(),
                    content: release.content.clone(),
                },
            );
            release.passed.push((Site::Production, end.at_unix_ms));
            let barred = release.stage.why().map(str::to_owned);
            release.stage = Stage::InProduction;
            let news = self
                .commits
                .iter()
                .filter(|(number, _)| self.production.content.has(**number) && !before.content.has(**number));
            delivery.leads_ms = news.map(|(_, tried)| (end.at_unix_ms - tried.at_ms).max(0)).collect();
            for (key, other) in &mut self.releases {
                if *key == run.release {
                    continue;
                }
                if other.stage == Stage::InProduction {
                    other.stage = Stage::Replaced;
                } else if matches!(other.stage, Stage::Qualified { .. })
                    && self.production.content.covers(&other.content)
                {
                    let why = format!("{} went to production, and has all of it", self.production.version);
                    other.stage = Stage::Superseded { why };
                }
            }
            if let Some(why) = barred {
                let reason = format!(
                    "{} is in all of production, and was to be taken back: {why}",
                    delivery.version
                );
                self.stop("the train", &reason, false, cx);
            }
        } else {
            let why = format!("{} in production: {}", end.outcome.as_str(), end.why);
            match run.taking_back.map(|(_, why)| why) {
                None => self.suspect(&run.release, why, cx),
                Some(Why::Deadline) => self.end_at(&run.release, Stage::Expired { why }),
                Some(Why::Stopped | Why::GiveWay) => self.end_at(&run.release, Stage::Superseded { why }),
                // It was said when it was barred.
                Some(Why::Barred) => {}
            }
            if end.outcome != Outcome::RolledBack {
                // Production runs two versions, and no rule says what to do with that.
                self.stop(
                    "the train",
                    &format!("production was left as {}", end.outcome.as_str()),
                    false,
                    cx,
                );
            }
        }
        let text = format!("{} ended as {}: {}", run.order.change, end.outcome.as_str(), end.why);
        cx.tell(&id, "train.delivered", text);
        self.deliveries.push(delivery);
    }

    /// It is bad: it goes no further, and CI is told where the cause must be.
    pub(super) fn suspect(&mut self, key: &[u64], why: String, cx: &mut Context<'_>) {
        let Some(release) = self.releases.get_mut(key) else {
            return;
        };
        let (version, content) = (release.artefact.version.clone(), release.content.clone());
        release.stage = Stage::Barred { why: why.clone() };
        let after = self.last_good(&content);
        let commits = self.names(after, &content);
        cx.out.push(Command::Suspects {
            line: self.config.id.clone(),
            version,
            after,
            commits,
            why,
        });
    }
}
