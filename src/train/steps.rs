//! What follows on a line: nightlies, the canary fleet, and production.

use super::cadence::instant;
use super::line::{Build, Context, Line, REMEMBERED, Release, Run, Starved, Why};
use super::machine::TRAIN;
use super::{ChangeKey, ChangeOrder, Command, Content, Lane, Site, Stage};
use crate::{Actor, ActorKind, Level, Severity};

/// A step makes others possible; more than this in a row would be a fault.
const MOST_STEPS: usize = 64;
/// Whoever starts changes confirms it within so long, or somebody is told.
const CONFIRM_MS: u64 = 3_600_000;

fn ms(length: u64) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

impl Line {
    /// Does everything that can be done now.
    pub(super) fn go_on(&mut self, cx: &mut Context<'_>) {
        self.clock_is_back = cx.clock_is_back;
        self.pass_level(cx.now_ms);
        self.see_to_starts(cx);
        self.waits(cx);
        self.nightly(cx);
        for _ in 0..MOST_STEPS {
            if !(self.canary(cx) || self.production(cx)) {
                break;
            }
        }
        self.ask_for_builds(cx);
        for release in self.releases.values_mut() {
            if !release.stage.is_live() {
                release.left_ms.get_or_insert(cx.now_ms);
            }
        }
        self.see_to_hotfixes();
        self.tell_people(cx);
    }

    /// Nobody has to see to a hotfix that production has, or that is on its way again.
    fn see_to_hotfixes(&mut self) {
        let again: Vec<u64> = self.hotfixes_on_their_way().collect();
        let production = &self.production.content;
        self.lost_hotfixes
            .retain(|head, _| !production.has(*head) && !again.contains(head));
    }

    /// Orders the day's build. A day that was missed is not made up for: the next nightly has its commits.
    fn nightly(&mut self, cx: &mut Context<'_>) {
        if cx.now_ms < self.next_nightly_ms {
            return;
        }
        self.next_nightly_ms = self.times.next_nightly(cx.now_ms).unwrap_or(i64::MAX);
        if !self.may_begin() {
            return;
        }
        let green = self
            .commits
            .iter()
            .rev()
            .find(|(_, tried)| tried.green && !tried.quarantined);
        let Some((&head, _)) = green else { return };
        let same = |build: &&mut Build| build.lane == Lane::Nightly && build.head == head;
        if let Some(build) = self.builds.iter_mut().find(same) {
            // One that is late stays so until it comes, and is asked for once more each night.
            build.ordered &= !build.late || cx.out.asks_for(&self.config.id, head, Lane::Nightly);
        } else if head > self.built_head {
            self.built_head = head;
            self.order_build(Lane::Nightly, head, Content::upto(head), cx);
        } else {
            self.try_again(head, cx);
        }
    }

    /// There is no newer commit, and the newest was built: where that went no further for no fault of its own, it goes once more.
    fn try_again(&mut self, head: u64, cx: &mut Context<'_>) {
        let content = Content::upto(head);
        // Production may have its newest commit and lack others, as after a hotfix.
        if self.production.content.covers(&content) || !content.covers(&self.production.content) {
            return;
        }
        let of = |(_, release): &(&Vec<u64>, &Release)| release.lane == Lane::Nightly && release.artefact.head == head;
        let mut all = self.releases.iter().filter(of);
        if !all.all(|(_, release)| release.stage.had_no_luck()) {
            return;
        }
        let mut usable = self.releases.iter().filter(of);
        let last = usable.rfind(|(_, release)| self.may_begin_anew(release, cx.now_ms));
        match last.map(|(key, _)| key.clone()) {
            Some(key) => self.begin_anew(&key),
            None => self.order_build(Lane::Nightly, head, content, cx),
        }
    }

    /// Whether an artefact may still be promoted, so that it need not be built once more.
    pub(super) fn may_begin_anew(&self, release: &Release, now_ms: i64) -> bool {
        let young = now_ms.saturating_sub(release.built_ms) < ms(self.config.limits.max_age_ms);
        // A fleet that runs it and another one shows nothing of either, and it cannot be brought where it came from.
        young && (self.mixed.is_none() || release.artefact.version != self.canary)
    }

    /// It went no further, for no fault of its own, and goes once more.
    pub(super) fn begin_anew(&mut self, key: &[u64]) {
        if let Some(release) = self.releases.get_mut(key) {
            release.stage = Stage::Built;
            release.left_ms = None;
        }
    }

    /// Waits that have been long enough.
    fn waits(&mut self, cx: &mut Context<'_>) {
        let limits = self.config.limits.clone();
        let now_ms = cx.now_ms;
        let late = |since_ms: i64, limit: u64| now_ms.saturating_sub(since_ms) >= ms(limit);
        // Nobody will promote what comes so late, nor what production or a newer nightly has.
        let newest = self.releases.values().filter(|release| release.lane == Lane::Nightly);
        let newest = newest.map(|release| release.content.upto).max();
        let production = &self.production.content;
        self.builds.retain(|build| {
            let newer = build.lane == Lane::Nightly && newest.is_some_and(|newest| newest > build.head);
            let there = match build.lane {
                Lane::Nightly => production.covers(&build.content),
                Lane::Hotfix => production.has(build.head),
            };
            !late(build.since_ms, limits.max_age_ms) && !newer && !there
        });
        for build in &mut self.builds {
            build.late |= build.ordered && late(build.since_ms, limits.build_ms);
        }
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
            .filter_map(|(site, run)| match &run.back {
                None => {
                    let limit = match site {
                        Site::Canary => limits.canary_ms,
                        Site::Production => limits.production_ms,
                    };
                    late(run.since_ms, limit).then_some((*site, false))
                }
                Some(back) => (!run.overdue && late(back.since_ms, limits.take_back_ms)).then_some((*site, true)),
            })
            .collect();
        for run in self.runs.values_mut() {
            run.unconfirmed = late(run.since_ms, CONFIRM_MS) && !cx.out.has_begun(&run.order.change);
        }
        for key in old {
            let why = "it is older than a release may be".to_owned();
            self.end_at(&key, Stage::Expired { why }, cx);
        }
        for (site, taken_back) in overdue {
            if taken_back {
                let Some(run) = self.runs.get_mut(&site) else { continue };
                run.overdue = true;
                let why = format!("{} is taken back and does not end", run.order.change);
                self.stop(TRAIN, &why, Severity::Critical, false, cx);
            } else {
                self.take_back(site, Why::Deadline, "it has no time left", cx);
            }
        }
    }

    /// It goes no further. People are told where that is no other release's doing.
    pub(super) fn end_at(&mut self, key: &[u64], stage: Stage, cx: &mut Context<'_>) {
        self.chosen.take_if(|chosen| chosen.key == key);
        if let Some(release) = self.releases.get(key) {
            let version = &release.artefact.version;
            self.question
                .take_if(|asked| asked.candidates.iter().any(|candidate| candidate.version == *version));
        }
        if let Stage::Expired { why } | Stage::Barred { why } = &stage {
            self.tell_end(key, why, cx);
        }
        let barred = matches!(stage, Stage::Barred { .. });
        let Some(release) = self.releases.get_mut(key) else {
            return;
        };
        release.stage = stage;
        let (head, lane) = (release.artefact.head, release.lane);
        if barred && lane == Lane::Hotfix && !self.hotfixes_on_their_way().any(|moving| moving == head) {
            // It mends nothing: an incident holds back what has it like anything else.
            self.mends.remove(&head);
        }
    }

    /// Commits of the hotfixes that are being built, or that go on.
    fn hotfixes_on_their_way(&self) -> impl Iterator<Item = u64> {
        let building = self.builds.iter().filter(|build| build.lane == Lane::Hotfix);
        let moving = self.releases.values();
        let moving = moving.filter(|release| release.lane == Lane::Hotfix && release.stage.is_live());
        let building = building.map(|build| build.head);
        building.chain(moving.map(|release| release.artefact.head))
    }

    /// The next nightly has what this one had; nothing comes by itself after a hotfix, and somebody has to see to it.
    pub(super) fn tell_end(&mut self, key: &[u64], why: &str, cx: &mut Context<'_>) {
        let Some(release) = self.releases.get(key) else { return };
        let (version, head, lane) = (release.artefact.version.clone(), release.artefact.head, release.lane);
        let text = format!("{version} goes no further: {why}");
        cx.tell(&self.config.id, "train.skipped", Severity::Info, text);
        if lane == Lane::Hotfix {
            self.lose_hotfix(head, version, why.to_owned());
        }
    }

    /// Somebody has to see to a hotfix. `what` it is, for people.
    pub(super) fn lose_hotfix(&mut self, head: u64, what: String, why: String) {
        if self.lost_hotfixes.len() < REMEMBERED {
            self.lost_hotfixes.insert(head, (what, why));
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
            if let Some((_, version)) = urgent.filter(|_| ordinary && run.back.is_none() && self.may_begin()) {
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
            if let Some((_, version)) = urgent.filter(|_| ordinary && self.may_begin()) {
                let why = format!("hotfix {version} needed the canary fleet");
                self.end_at(&key, Stage::Superseded { why }, cx);
                return true;
            }
            return self.soak(&key, cx);
        }
        if !self.may_begin() {
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
            self.end_at(&key, Stage::Barred { why }, cx);
            return true;
        }
        let before = release.passed.iter().any(|(site, _)| *site == Site::Canary);
        if before && release.artefact.version == self.canary && self.mixed.is_some() {
            let why = "the canary fleet was left between it and another version".to_owned();
            self.end_at(&key, Stage::Expired { why }, cx);
            return true;
        }
        if before && release.artefact.version == self.canary {
            // It is there still: somebody ordered it once more.
            let since_unix_ms = cx.now_ms;
            if let Some(release) = self.releases.get_mut(&key) {
                release.soaking_ms = Some(since_unix_ms);
                release.facts = None;
                release.stage = Stage::Soaking { since_unix_ms };
            }
            return true;
        }
        if release.artefact.version == self.canary {
            let why = "the canary fleet ran a version of this name before".to_owned();
            self.end_at(&key, Stage::Barred { why }, cx);
            return true;
        }
        let author = if self.autonomy.level >= Level::L5 {
            Actor::program("train", format!("canary fleet of {}", self.config.id))
        } else {
            // Below L5 the autopilot begins what a person wants. That releases go to the canary fleet is what the level was
            // granted for, and the order says that it is a standing one.
            Actor::person(
                self.autonomy.by.id.clone(),
                format!("standing order: releases of {} go to the canary fleet", self.config.id),
            )
        };
        let from = self.canary.clone();
        self.start(Site::Canary, &key, from, author, cx);
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
    pub(super) fn outrun(&mut self, key: &[u64], cx: &mut Context<'_>) {
        let why = format!(
            "production got {} meanwhile, which has what this lacks or is above it",
            self.production.version
        );
        self.end_at(key, Stage::Superseded { why }, cx);
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
        release.stage = match site {
            Site::Canary => Stage::OnCanary,
            Site::Production => Stage::OnProduction,
        };
        // A slot is for nightlies: what mends production takes none from them.
        let uses = site == Site::Production && release.lane == Lane::Nightly;
        cx.out.push(Command::Start(order.clone()));
        let run = Run {
            order,
            release: key.to_vec(),
            since_ms: cx.now_ms,
            back: None,
            overdue: false,
            unconfirmed: false,
            slot_ms: if uses { self.slot.open_since_ms.take() } else { None },
        };
        self.runs.insert(site, run);
    }

    /// Whether there is a good commit that production lacks.
    pub(super) fn waits_for_release(&self) -> bool {
        let good = self
            .commits
            .iter()
            .filter(|(_, tried)| tried.green && !tried.quarantined);
        good.map(|(number, _)| *number)
            .any(|number| !self.production.content.has(number))
    }

    /// Opens the next slot when it is time. What nobody used in the one before is said.
    fn slot(&mut self, cx: &mut Context<'_>) {
        let id = self.config.id.clone();
        if let Some(asked) = self.question.take_if(|asked| cx.now_ms >= asked.by_unix_ms) {
            let text = format!(
                "nobody chose a release by {}; {} stays where it is, and it is asked again",
                instant(asked.by_unix_ms),
                asked.production
            );
            cx.tell(&id, "train.unanswered", Severity::Warning, text);
        }
        if cx.now_ms < self.slot.next_ms {
            return;
        }
        if let Some(since_ms) = self.slot.open_since_ms {
            let why = match (&self.stopped, &self.held, self.releases.last_key_value()) {
                (Some(stop), ..) => format!("{} stopped the line: {}", stop.by, stop.reason),
                (None, Some(held), _) => held.text.clone(),
                (None, None, Some((_, newest))) => format!(
                    "the newest, {}, is {}{}",
                    newest.artefact.version,
                    newest.stage.as_str(),
                    newest.stage.why().map_or_else(String::new, |why| format!(" ({why})"))
                ),
                (None, None, None) => "none was built".to_owned(),
            };
            // What a calendar holds ends when that says so, and where nothing is new nothing need go.
            if !self.waits_for_release() {
                self.starved = None;
            } else if self.held.is_none() {
                let (since_ms, slots) = self
                    .starved
                    .take()
                    .map_or((since_ms, 0), |before| (before.since_ms, before.slots));
                self.starved = Some(Starved {
                    since_ms,
                    slots: slots.saturating_add(1),
                    why: why.clone(),
                });
            }
            let text = format!("no release went in the slot of {}: {why}", instant(since_ms));
            cx.tell(&id, "train.slot_empty", Severity::Info, text);
        }
        self.held = None;
        self.slot.open_since_ms = Some(self.slot.next_ms);
        self.slot.next_ms = self.times.next_slot(cx.now_ms).unwrap_or(i64::MAX);
    }

    /// One step of production; whether there was one.
    fn production(&mut self, cx: &mut Context<'_>) -> bool {
        self.slot(cx);
        if self.stopped.is_some() || self.clock_is_back {
            return false;
        }
        let running = match self.runs.get(&Site::Production) {
            Some(run) if run.back.is_some() => return false,
            Some(run) => Some(run.release.clone()),
            None => None,
        };
        let lost = self.releases.iter().find(|(key, release)| {
            let waits = matches!(release.stage, Stage::Qualified { .. });
            waits && (!release.content.covers(&self.production.content) || **key <= self.production.numbers)
        });
        if let Some(key) = lost.map(|(key, _)| key.clone()) {
            self.outrun(&key, cx);
            return true;
        }
        let Some((key, author)) = self.choice(running.as_deref(), cx) else {
            return false;
        };
        if running.is_some() {
            let version = self.releases.get(&key).map(|release| release.artefact.version.clone());
            let why = format!("hotfix {} needs production", version.unwrap_or_default());
            self.take_back(Site::Production, Why::GiveWay, &why, cx);
            return true;
        }
        let from = self.production.version.clone();
        if author.kind != ActorKind::Person {
            self.spend_start(cx.now_ms);
        }
        self.start(Site::Production, &key, from, author, cx);
        self.starved = None;
        self.question = None;
        self.chosen.take_if(|chosen| chosen.key == key);
        self.held = None;
        true
    }
}
