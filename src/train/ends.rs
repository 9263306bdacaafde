//! How changes of both fleets end, and what follows.

use super::line::{Build, Context, Delivery, Line, Release, Run, Standing, Why};
use super::machine::TRAIN;
use super::{ChangeEnd, ChangeKey, Command, Lane, Refusal, Site, Stage};
use crate::{Outcome, Severity};

impl Line {
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
        cx.out.ended(change);
        self.ended.insert(change.clone(), end.clone());
        // Whoever tells of an end may be wrong about when; soaks and figures are counted from it.
        let mut end = end.clone();
        end.at_unix_ms = end.at_unix_ms.clamp(run.since_ms, cx.now_ms.max(run.since_ms));
        let end = &end;
        self.hands = self.hands.saturating_add(end.human_actions);
        if let Some(release) = self.releases.get_mut(&run.release) {
            release.hands = release.hands.saturating_add(end.human_actions);
        }
        let done = end.arrived();
        match site {
            Site::Canary => self.canary_ended(&run, end, done, cx),
            Site::Production => self.production_ended(&run, end, done, cx),
        }
        self.forget();
        Ok(())
    }

    fn canary_ended(&mut self, run: &Run, end: &ChangeEnd, done: bool, cx: &mut Context<'_>) {
        if done {
            self.mixed = None;
        } else if end.exposed > 0 && end.outcome != Outcome::RolledBack {
            // The next release is brought to all of it, whatever its targets run; until then people know.
            self.mixed = Some((run.order.version.clone(), end.outcome));
        }
        let Some(release) = self.releases.get_mut(&run.release) else {
            return;
        };
        if done {
            self.canary.clone_from(&release.artefact.version);
            release.passed.push((Site::Canary, end.at_unix_ms));
            // One that was barred meanwhile stays barred, wherever it runs.
            if release.stage == Stage::OnCanary {
                // What was seen of it before says nothing of this soak.
                release.facts = None;
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
        match run.back.as_ref().map(|back| back.reason) {
            // It was nowhere: as if it had not been ordered.
            Some(Why::GiveWay | Why::NotBegun) if end.exposed == 0 => release.stage = Stage::Built,
            Some(Why::GiveWay) => {
                let why = "a hotfix needed the canary fleet".to_owned();
                release.stage = Stage::Superseded { why };
            }
            Some(Why::Stopped | Why::NotBegun) => self.stopped_with(run, cx),
            Some(Why::Deadline | Why::Barred) => {
                let why = format!("it did not get through the canary fleet in time: {}", end.why);
                self.end_at(&run.release, Stage::Expired { why }, cx);
            }
            None => {
                let why = format!("{} on the canary fleet: {}", end.outcome.as_str(), end.why);
                if matches!(end.outcome, Outcome::RolledBack | Outcome::RolledBackPartially) {
                    self.suspect(&run.release, Site::Canary, why, cx);
                } else {
                    self.end_at(&run.release, Stage::Expired { why }, cx);
                }
            }
        }
    }

    /// The next nightly takes its place; a hotfix is ordered again, or nothing comes.
    fn stopped_with(&mut self, run: &Run, cx: &mut Context<'_>) {
        let key = run.release.as_slice();
        let why = run.back.as_ref().map_or_else(String::new, |back| back.text.clone());
        self.tell_end(key, &why, cx);
        self.end_at(key, Stage::Superseded { why }, cx);
    }

    fn production_ended(&mut self, run: &Run, end: &ChangeEnd, done: bool, cx: &mut Context<'_>) {
        let id = self.config.id.clone();
        let Some(release) = self.releases.get_mut(&run.release) else {
            return;
        };
        let mut delivery = Delivery {
            version: release.artefact.version.clone(),
            began_ms: run.since_ms,
            end: end.clone(),
            hands: release.hands,
            leads_ms: Vec::new(),
            gave_way: false,
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
            delivery.leads_ms = news
                .map(|(_, tried)| end.at_unix_ms.saturating_sub(tried.at_ms).max(0))
                .collect();
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
                self.stop(TRAIN, &reason, Severity::Critical, false, cx);
            }
        } else {
            // The slot is free again, for another one.
            self.slot.open_since_ms = self.slot.open_since_ms.or(run.slot_ms);
            let why = format!("{} in production: {}", end.outcome.as_str(), end.why);
            let clean = end.outcome == Outcome::RolledBack;
            let moving = release.stage == Stage::OnProduction;
            match run.back.as_ref().map(|back| back.reason) {
                // It was said when it was barred.
                _ if !moving => {}
                None => self.suspect(&run.release, Site::Production, why, cx),
                Some(reason) if clean && (reason == Why::GiveWay || (reason == Why::NotBegun && end.exposed == 0)) => {
                    delivery.gave_way = true;
                    release.stage = Stage::Qualified {
                        since_unix_ms: release.qualified_ms.unwrap_or(cx.now_ms),
                    };
                }
                Some(Why::Stopped | Why::NotBegun) => self.stopped_with(run, cx),
                Some(Why::Deadline | Why::GiveWay | Why::Barred) => {
                    self.end_at(&run.release, Stage::Expired { why }, cx);
                }
            }
            if !clean {
                // Production runs two versions, and no rule says what to do with that.
                let why = format!("production was left as {}", end.outcome.as_str());
                self.stop(TRAIN, &why, Severity::Critical, false, cx);
            }
        }
        let text = format!("{} ended as {}: {}", run.order.change, end.outcome.as_str(), end.why);
        cx.tell(&id, "train.delivered", Severity::Info, text);
        if done {
            self.outrun_hotfixes(cx);
        }
        // What was taken back before it touched anything was no change of production.
        if done || run.back.is_none() || end.exposed > 0 {
            self.deliveries.push(delivery);
        }
    }

    /// Production has moved: a hotfix upon what it ran before begins anew at once, wherever it is.
    fn outrun_hotfixes(&mut self, cx: &mut Context<'_>) {
        let outrun = |(key, release): (&Vec<u64>, &Release)| {
            let moves = release.lane == Lane::Hotfix && release.stage.is_live();
            (moves && !release.content.covers(&self.production.content)).then(|| key.clone())
        };
        let outrun: Vec<Vec<u64>> = self.releases.iter().filter_map(outrun).collect();
        for key in outrun {
            let running = self
                .runs
                .iter()
                .find(|(_, run)| run.release == key)
                .map(|(site, _)| *site);
            if let Some(site) = running {
                let why = format!("production got {} meanwhile", self.production.version);
                self.take_back(site, Why::GiveWay, &why, cx);
            }
            self.outrun(&key, cx);
        }
        let (behind, builds): (Vec<Build>, Vec<Build>) = std::mem::take(&mut self.builds)
            .into_iter()
            .partition(|build| build.lane == Lane::Hotfix && !build.content.covers(&self.production.content));
        self.builds = builds;
        for build in behind {
            if !self.production.content.has(build.head) {
                self.build_hotfix(build.head, cx);
            }
        }
    }

    /// It is bad: it goes no further, and CI is told where the cause must be.
    pub(super) fn suspect(&mut self, key: &[u64], site: Site, why: String, cx: &mut Context<'_>) {
        let Some(release) = self.releases.get(key) else {
            return;
        };
        let (version, content) = (release.artefact.version.clone(), release.content.clone());
        self.end_at(key, Stage::Barred { why: why.clone() }, cx);
        // What the canary fleet found good may be what production does not bear.
        let after = match site {
            Site::Canary => self.last_good(&content),
            Site::Production => self.production.content.upto,
        };
        let mut commits = self.names(after, &content);
        let known = self
            .production
            .content
            .picks
            .iter()
            .filter_map(|pick| self.commits.get(pick));
        let known: Vec<&str> = known.map(|tried| tried.id.as_str()).collect();
        commits.retain(|commit| !known.contains(&commit.as_str()));
        cx.out.push(Command::Suspects {
            line: self.config.id.clone(),
            version,
            after,
            commits,
            why,
        });
    }
}
