//! What people and programs say to a line, and how changes are taken back.

use super::line::{Back, Build, Chosen, Context, Line, Release, Run, Stop, Why};
use super::{BuildOrder, Command, Content, Lane, Order, Refusal, Site, Stage};
use crate::{Actor, ActorKind, Level, Severity};

fn person(to: &str, actor: &Actor) -> Result<(), Refusal> {
    if actor.kind == ActorKind::Person {
        return Ok(());
    }
    Err(Refusal::NeedsPerson {
        actor: actor.to_string(),
        to: to.to_owned(),
    })
}

fn not_open(key: &str, open: Vec<String>) -> Refusal {
    Refusal::NotOpen {
        key: key.to_owned(),
        open: if open.is_empty() {
            "nothing is".to_owned()
        } else {
            open.join(", ")
        },
    }
}

impl Line {
    pub(super) fn order(
        &mut self,
        order: &Order,
        actor: &Actor,
        reason: &str,
        cx: &mut Context<'_>,
    ) -> Result<(), Refusal> {
        match order {
            Order::StopTheLine { take_back } => {
                self.stop(&actor.to_string(), reason, Severity::Warning, *take_back, cx);
                Ok(())
            }
            Order::Resume => {
                person("resume the line", actor)?;
                if self.stopped.take().is_some() {
                    let text = format!("{actor} says resume: {reason}");
                    cx.tell(&self.config.id, "train.resumed", Severity::Info, text);
                }
                // What did not end in its time gets that time again, and somebody is called again after it.
                for run in self.runs.values_mut().filter(|run| run.overdue) {
                    run.overdue = false;
                    if let Some(back) = &mut run.back {
                        back.since_ms = cx.now_ms;
                        cx.out.push(back.command(&run.order.change));
                    }
                }
                Ok(())
            }
            Order::Hotfix { commit } => self.hotfix(commit, actor, cx),
            Order::Choose { version } => self.choose(version, actor, cx),
            Order::Skip { version } => {
                if self.give_up_hotfix(version) {
                    let text = format!("the hotfix of {version} is not waited for any more: {actor} says {reason}");
                    cx.tell(&self.config.id, "train.skipped", Severity::Info, text);
                    return Ok(());
                }
                let key = self.find(version).map(|(key, _)| key.clone());
                let key = key.ok_or_else(|| Refusal::UnknownVersion {
                    version: version.clone(),
                })?;
                self.skip(&key, &format!("{actor} skipped it: {reason}"), cx)
            }
            Order::Grant { level, until_unix_ms } => {
                person("grant a level", actor)?;
                self.grant(*level, *until_unix_ms, actor, cx)
            }
            Order::CloseIncident { id } => {
                person("close an incident", actor)?;
                if !self.incidents.open().any(|open| open == id) {
                    return Err(not_open(id, self.incidents.open().map(str::to_owned).collect()));
                }
                self.incidents.ended(id, cx.now_ms.max(0));
                Ok(())
            }
            Order::Demote { level } => self.demote(*level, actor, cx),
            Order::Acknowledge { key } => {
                if self.acknowledge(key, cx) {
                    return Ok(());
                }
                Err(not_open(key, self.open_matters().map(|matter| matter.key).collect()))
            }
        }
    }

    fn choose(&mut self, version: &str, actor: &Actor, cx: &mut Context<'_>) -> Result<(), Refusal> {
        if self.autonomy.level < Level::L5 {
            person("choose a release below L5", actor)?;
        }
        let key = self.find(version).map(|(key, _)| key.clone());
        let key = key.ok_or_else(|| Refusal::UnknownVersion {
            version: version.to_owned(),
        })?;
        if let Some(why) = self.against(&key, cx.now_ms) {
            return Err(Refusal::NotACandidate {
                version: version.to_owned(),
                why,
            });
        }
        if let Some(urgent) = self.goes_before(&key, cx.now_ms) {
            return Err(Refusal::NotACandidate {
                version: version.to_owned(),
                why: format!("hotfix {urgent}, which it lacks, goes first; skip that one to let this one go"),
            });
        }
        if actor.kind == ActorKind::Person
            && let Some(release) = self.releases.get_mut(&key)
        {
            release.hands += 1;
        }
        self.question = None;
        self.chosen = Some(Chosen {
            key,
            by: actor.clone(),
            overtaken: false,
        });
        Ok(())
    }

    /// Nobody waits for the hotfix of a commit any more that is being built, or never was; whether somebody did.
    fn give_up_hotfix(&mut self, commit: &str) -> bool {
        let named = self.commits.iter().find(|(_, tried)| tried.id == commit);
        let Some(head) = named.map(|(head, _)| *head) else {
            return false;
        };
        let of = |build: &Build| build.lane == Lane::Hotfix && build.head == head;
        let building = self.builds.iter().any(of);
        if self.lost_hotfixes.remove(&head).is_none() && !building {
            return false;
        }
        self.builds.retain(|build| !of(build));
        // Who orders it again orders another one.
        self.mends.remove(&head);
        true
    }

    /// It never goes on, also where it went no further already and could begin anew.
    fn skip(&mut self, key: &[u64], why: &str, cx: &mut Context<'_>) -> Result<(), Refusal> {
        let Some(release) = self.releases.get_mut(key) else {
            return Ok(());
        };
        if matches!(release.stage, Stage::InProduction | Stage::Replaced) {
            return Err(Refusal::NotSkipped {
                version: release.artefact.version.clone(),
                why: format!(
                    "it is {}; order a hotfix that mends it (`Order::Hotfix`)",
                    release.stage.as_str()
                ),
            });
        }
        let head = release.artefact.head;
        self.bar(key, why, cx);
        self.lost_hotfixes.remove(&head);
        Ok(())
    }

    fn hotfix(&mut self, commit: &str, actor: &Actor, cx: &mut Context<'_>) -> Result<(), Refusal> {
        let refused = |why: &str| Refusal::NoHotfix {
            commit: commit.to_owned(),
            why: why.to_owned(),
        };
        let Some((&head, tried)) = self.commits.iter().find(|(_, tried)| tried.id == commit) else {
            return Err(refused(
                "CI has not said anything of it yet; order it again when it has",
            ));
        };
        if tried.quarantined || !tried.green {
            return Err(refused("CI has not found it good"));
        }
        if self.production.content.has(head) {
            return Err(refused("production has it already"));
        }
        let content = self.hotfix_content(head);
        let barred = self
            .releases
            .values()
            .find(|release| release.content == content && matches!(release.stage, Stage::Barred { .. }));
        if let Some(barred) = barred {
            let why = barred.stage.why().unwrap_or_default();
            return Err(refused(&format!(
                "as {} it was tried upon what production runs, and stopped: {why}",
                barred.artefact.version
            )));
        }
        // Said again while it is on its way, it is the same order.
        if !self.mends.contains(&head) || self.lost_hotfixes.contains_key(&head) {
            self.spend_hotfix(actor, cx.now_ms)?;
        }
        self.mends.insert(head);
        self.build_hotfix(head, cx);
        Ok(())
    }

    /// Has a commit built upon what production runs, unless that is on its way.
    pub(super) fn build_hotfix(&mut self, head: u64, cx: &mut Context<'_>) {
        let content = self.hotfix_content(head);
        let same = |build: &&mut Build| build.lane == Lane::Hotfix && build.content == content;
        if let Some(build) = self.builds.iter_mut().find(same) {
            // One that is late is asked for once more: whoever builds may have forgotten.
            build.ordered &= !build.late || cx.out.asks_for(&self.config.id, build.head, build.lane);
            return;
        }
        let known = self.releases.iter().rev().find(|(_, release)| {
            let usable = release.stage.is_live() || self.may_begin_anew(release, cx.now_ms);
            release.lane == Lane::Hotfix && release.content == content && usable
        });
        if let Some((key, stage)) = known.map(|(key, release)| (key.clone(), release.stage.clone())) {
            // There is an artefact of it, which is not built twice while it may be promoted.
            if stage.had_no_luck() {
                self.begin_anew(&key);
            }
            return;
        }
        self.order_build(Lane::Hotfix, head, content, cx);
    }

    /// What production runs, and this commit.
    fn hotfix_content(&self, head: u64) -> Content {
        let mut content = self.production.content.clone();
        content.picks.insert(head);
        content
    }

    pub(super) fn order_build(&mut self, lane: Lane, head: u64, content: Content, cx: &mut Context<'_>) {
        let same = |release: &&Release| release.lane == lane && release.content == content;
        let rebuilds = u32::try_from(self.releases.values().filter(same).count()).unwrap_or(u32::MAX);
        self.builds.push(Build {
            lane,
            head,
            content,
            rebuilds,
            since_ms: cx.now_ms,
            ordered: false,
            late: false,
        });
    }

    /// Asks for what is to be built, where the line is not stopped.
    pub(super) fn ask_for_builds(&mut self, cx: &mut Context<'_>) {
        let builds = &self.builds;
        let wanted = |order: &BuildOrder| builds.iter().any(|build| build.is_of(order));
        cx.out.keep_builds(&self.config.id, wanted);
        if self.stopped.is_some() {
            return;
        }
        let may_begin = self.may_begin();
        let asked = |build: &&mut Build| !build.ordered && (may_begin || build.lane == Lane::Hotfix);
        for build in self.builds.iter_mut().filter(asked) {
            let Some(commit) = self.commits.get(&build.head).map(|tried| tried.id.clone()) else {
                continue;
            };
            build.ordered = true;
            if !build.late {
                build.since_ms = cx.now_ms;
            }
            cx.out.push(Command::Build(BuildOrder {
                line: self.config.id.clone(),
                lane: build.lane,
                head: build.head,
                commit,
                base: build.base(),
                picks: build.other_picks().collect(),
                rebuilds: build.rebuilds,
            }));
        }
    }

    /// Nothing begins any more; what was to begin and was not told to have begun, does not.
    pub(super) fn stop(&mut self, by: &str, reason: &str, severity: Severity, take_back: bool, cx: &mut Context<'_>) {
        let back = |(site, run): (&Site, &Run)| {
            if take_back {
                return Some((*site, Why::Stopped));
            }
            (!cx.out.has_begun(&run.order.change)).then_some((*site, Why::NotBegun))
        };
        let back: Vec<(Site, Why)> = self.runs.iter().filter_map(back).collect();
        for build in &mut self.builds {
            build.ordered &= !cx.out.asks_for(&self.config.id, build.head, build.lane);
        }
        cx.out.withdraw_builds(&self.config.id, None);
        for (site, why) in back {
            self.take_back(site, why, &format!("{by} stopped the line: {reason}"), cx);
        }
        // The first reason stands, unless a worse one comes.
        if self.stopped.as_ref().is_none_or(|stop| stop.severity < severity) {
            self.stopped = Some(Stop {
                by: by.to_owned(),
                reason: reason.to_owned(),
                severity,
            });
        }
    }

    /// It never goes on; where it is on its way it is taken back. What production runs already is a matter for a hotfix.
    pub(super) fn bar(&mut self, key: &[u64], why: &str, cx: &mut Context<'_>) {
        let running = self
            .runs
            .iter()
            .find(|(_, run)| run.release == key)
            .map(|(site, _)| *site);
        if let Some(site) = running {
            self.take_back(site, Why::Barred, why, cx);
        }
        let could_go = |release: &Release| release.stage.is_live() || release.stage.had_no_luck();
        if self.releases.get(key).is_some_and(could_go) {
            self.end_at(key, Stage::Barred { why: why.to_owned() }, cx);
        }
    }

    /// Has a change taken back. One that is not known to have begun must not begin any more: its start is withdrawn, and the
    /// word to take it back binds its key, should that start be on its way all the same.
    pub(super) fn take_back(&mut self, site: Site, reason: Why, why: &str, cx: &mut Context<'_>) {
        let Some(run) = self.runs.get_mut(&site) else { return };
        if let Some(back) = &mut run.back {
            // Whoever gave way may come again; whoever must not go on may not.
            let mild = |why: Why| matches!(why, Why::GiveWay | Why::NotBegun);
            if mild(back.reason) && !mild(reason) {
                (back.reason, back.text) = (reason, why.to_owned());
            }
            return;
        }
        cx.out.withdraw(&run.order.change);
        let back = run.back.insert(Back {
            since_ms: cx.now_ms,
            reason,
            text: why.to_owned(),
        });
        cx.out.push(back.command(&run.order.change));
    }
}
