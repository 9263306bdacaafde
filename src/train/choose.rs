//! Which release may go where: qualification on the canary fleet, and the choice for production.

use unattended_defense::{Change, Decision, Facts, Guard, Request, Step, Verdict};

use super::cadence::instant;
use super::config::LineConfig;
use super::line::{Chosen, Context, Held, Line, Release};
use super::{Briefing, Candidate, FACTS, FLEETS, INCIDENTS, Lane, Site, Stage};
use crate::{Actor, ActorKind, Level};

/// Times that a release may have waited, in hours, each a tenth longer than the one before: rules that some of them satisfy ask
/// for nothing else.
pub(super) fn waits_hours() -> impl Iterator<Item = f64> {
    std::iter::successors(Some(0.1), |hours| (*hours < 1e6).then_some(hours * 1.1))
}

#[expect(clippy::cast_precision_loss, reason = "a time to be compared with hours")]
pub(super) fn hours(ms: i64) -> f64 {
    ms.max(0) as f64 / 3_600_000.0
}

impl Line {
    /// Asks the rules whether a soaking release has shown what it must; whether that changed anything.
    pub(super) fn soak(&mut self, key: &[u64], cx: &mut Context<'_>) -> bool {
        let Some(release) = self.releases.get(key) else {
            return false;
        };
        let Stage::Soaking { since_unix_ms } = release.stage else {
            return false;
        };
        let request = self.request(release, "qualification");
        // As long as it has really waited, and nothing seen: an upper limit must not hide that nothing else is asked.
        let waited = [release.built_ms, since_unix_ms].map(|since_ms| hours(cx.now_ms.saturating_sub(since_ms)));
        let shows = !demands_nothing(cx.qualification, &request, cx.now_ms, waited);
        let request = request.facts(self.facts(release, cx.now_ms));
        let decision = cx.qualification.decide(&request, cx.now_ms);
        match decision.verdict {
            Verdict::Allow | Verdict::AllowLimited(1..) if shows => {
                self.overtake(key);
                if let Some(release) = self.releases.get_mut(key) {
                    release.qualified_ms = Some(cx.now_ms);
                    release.stage = Stage::Qualified {
                        since_unix_ms: cx.now_ms,
                    };
                }
                true
            }
            Verdict::Deny => {
                self.suspect(
                    key,
                    Site::Canary,
                    format!("it does not qualify: {}", reasons(&decision)),
                    cx,
                );
                true
            }
            _ => {
                let limit = i64::try_from(self.config.limits.soak_ms).unwrap_or(i64::MAX);
                if cx.now_ms.saturating_sub(since_unix_ms) < limit {
                    return false;
                }
                let lacks = if shows {
                    reasons(&decision)
                } else {
                    "no rule of the qualification asks it to show anything".to_owned()
                };
                let why = format!("it has not qualified in time: {lacks}");
                self.end_at(key, Stage::Expired { why }, cx);
                true
            }
        }
    }

    /// A hotfix has qualified: what was chosen and lacks it comes after it.
    fn overtake(&mut self, key: &[u64]) {
        let Some(head) = self
            .releases
            .get(key)
            .filter(|release| release.lane == Lane::Hotfix)
            .map(|release| release.artefact.head)
        else {
            return;
        };
        if let Some(chosen) = &mut self.chosen {
            let other = self.releases.get(&chosen.key);
            chosen.overtaken |= other.is_some_and(|other| !other.content.has(head));
        }
    }

    /// What is known of a release, for rules. What nobody saw is not there, and rules cannot tell then.
    fn facts(&self, release: &Release, now_ms: i64) -> Facts {
        let mut facts = Facts::new().value("age_hours", now_ms, hours(now_ms.saturating_sub(release.built_ms)));
        if let Some(since_ms) = release.soaking_ms {
            facts = facts.value("soak_hours", now_ms, hours(now_ms.saturating_sub(since_ms)));
        }
        // Whoever watches it does not answer: what was seen last may be over.
        let watched = !self.silent.contains_key(FLEETS);
        let Some(seen) = release.facts.as_ref().filter(|_| watched) else {
            return facts;
        };
        let at_ms = seen.at_unix_ms;
        let numbers = [
            ("load_peak", seen.load_peak),
            ("class_coverage", seen.class_coverage),
            ("safety_evidence", seen.safety_evidence),
            ("error_budget_left", seen.error_budget_left),
        ];
        for (name, value) in numbers {
            if let Some(value) = value.filter(|value| value.is_finite()) {
                facts = facts.value(name, at_ms, value);
            }
        }
        if let Some(passed) = seen.drills_passed {
            facts = facts.value("drills_passed", at_ms, passed);
        }
        if let Some(open) = seen.open_incidents.filter(|_| !self.silent.contains_key(INCIDENTS)) {
            // An incident of production is no reason to hold back what mends it: a hotfix that did not get through in time
            // comes with the next nightly.
            let brings = |head: &u64| release.content.has(*head) && !self.production.content.has(*head);
            let mends = release.lane == Lane::Hotfix || self.mends.iter().any(brings);
            let own = if mends { 0 } else { self.incidents.open().count() as u64 };
            let open = i64::try_from(open.saturating_add(own)).unwrap_or(i64::MAX);
            facts = facts.value("open_incidents", at_ms, open);
        }
        facts
    }

    fn request(&self, release: &Release, what: &str) -> Request {
        let (from, to) = (&self.production.version, &release.artefact.version);
        request(&self.config, release.lane, what, from, to)
    }

    /// Why a release may not be chosen, if it may not.
    pub(super) fn against(&self, key: &[u64], now_ms: i64) -> Option<String> {
        let Some(release) = self.releases.get(key) else {
            return Some("it is not known".to_owned());
        };
        if !matches!(release.stage, Stage::Qualified { .. }) {
            return Some(format!("it is {}", release.stage.as_str()));
        }
        if !release.passed.iter().any(|(site, _)| *site == Site::Canary) {
            return Some("it was never on the whole canary fleet".to_owned());
        }
        if self
            .commits
            .get(&release.artefact.head)
            .is_some_and(|tried| tried.quarantined)
        {
            return Some("CI contradicts itself about its newest commit".to_owned());
        }
        if !release.content.covers(&self.production.content) {
            return Some(format!("it would take back what {} has", self.production.version));
        }
        if self.production.content.covers(&release.content) {
            return Some(format!("{} has all of it", self.production.version));
        }
        if key <= self.production.numbers.as_slice() {
            return Some(format!("it is not above {}", self.production.version));
        }
        let limit = i64::try_from(self.config.limits.max_age_ms).unwrap_or(i64::MAX);
        if now_ms.saturating_sub(release.built_ms) >= limit {
            return Some("it is older than a release may be".to_owned());
        }
        None
    }

    /// All that may be chosen now, the one to recommend first: what mends production, then the newest.
    fn candidates(&self, now_ms: i64) -> Vec<Vec<u64>> {
        let open = self.slot.open_since_ms.is_some();
        let fits = |(key, release): &(&Vec<u64>, &Release)| {
            let turn = release.lane == Lane::Hotfix || open && !self.waits_for_hotfix(release);
            turn && self.against(key, now_ms).is_none()
        };
        let mut keys: Vec<(Lane, Vec<u64>)> = self
            .releases
            .iter()
            .filter(fits)
            .map(|(key, release)| (release.lane, key.clone()))
            .collect();
        keys.sort_by(|a, b| b.cmp(a));
        keys.into_iter().map(|(_, key)| key).collect()
    }

    /// A hotfix that a nightly lacks is being built or is on the canary fleet: to begin now would leave it behind, or be taken back
    /// for it. Who chooses the nightly nevertheless is heard.
    fn waits_for_hotfix(&self, nightly: &Release) -> bool {
        let building = self
            .builds
            .iter()
            .filter(|build| build.lane == Lane::Hotfix && !build.late)
            .map(|build| build.head);
        let moving = self
            .releases
            .values()
            .filter(|release| release.lane == Lane::Hotfix && release.stage.is_live())
            .map(|release| release.artefact.head);
        building.chain(moving).any(|head| !nightly.content.has(head))
    }

    /// Whether a release may go where another one is on its way: a hotfix that a nightly lacks.
    fn overtakes(&self, key: &[u64], running: &[u64]) -> bool {
        self.releases
            .get(key)
            .zip(self.releases.get(running))
            .is_some_and(|(urgent, running)| {
                urgent.lane == Lane::Hotfix
                    && running.lane == Lane::Nightly
                    && !running.content.has(urgent.artefact.head)
            })
    }

    /// The hotfix that would overtake a release as soon as that began, at a level at which nobody is asked.
    pub(super) fn goes_before(&self, key: &[u64], now_ms: i64) -> Option<&str> {
        if self.autonomy.level < Level::L5 {
            return None;
        }
        let first = |other: &&Vec<u64>| {
            self.overtakes(other, key) && self.against(other, now_ms).is_none() && self.beyond(other, now_ms).is_none()
        };
        let urgent = self.releases.keys().find(first)?;
        self.releases
            .get(urgent)
            .map(|release| release.artefact.version.as_str())
    }

    /// The release to begin now, and who chose it; where a person has to, asks. While another one is on its way to production,
    /// only what overtakes it is looked at.
    pub(super) fn choice(&mut self, running: Option<&[u64]>, cx: &mut Context<'_>) -> Option<(Vec<u64>, Actor)> {
        self.held = None;
        // Who chose what runs at L5, where nobody need be asked, knew of a hotfix that had qualified by then.
        let chosen_beside = |key: &Vec<u64>| {
            let run = self.runs.get(&Site::Production);
            let qualified_ms = self.releases.get(key).and_then(|release| release.qualified_ms);
            self.autonomy.level >= Level::L5
                && run.zip(qualified_ms).is_some_and(|(run, qualified_ms)| {
                    run.order.author.kind == ActorKind::Person && qualified_ms <= run.since_ms
                })
        };
        let fits = |key: &Vec<u64>| running.is_none_or(|running| self.overtakes(key, running));
        let unasked = |key: &Vec<u64>| fits(key) && !chosen_beside(key);
        let candidates: Vec<Vec<u64>> = self.candidates(cx.now_ms).into_iter().filter(unasked).collect();
        let urgent = candidates.first().and_then(|first| self.releases.get(first));
        let urgent = urgent.is_some_and(|first| first.lane == Lane::Hotfix);
        let may = |by: &Actor| by.kind == ActorKind::Person || self.autonomy.level >= Level::L5;
        let stands = |chosen: &Chosen| {
            may(&chosen.by)
                && fits(&chosen.key)
                && self.against(&chosen.key, cx.now_ms).is_none()
                && !(chosen.overtaken && urgent)
        };
        let (key, by) = match self.chosen.clone().filter(stands) {
            Some(chosen) => (chosen.key, Some(chosen.by)),
            None => (candidates.first()?.clone(), None),
        };
        let release = self.releases.get(&key)?;
        // A calendar sees the facts that were seen last, too.
        let request = self
            .request(release, "production")
            .facts(self.facts(release, cx.now_ms));
        let decision = cx.calendar.decide(&request, cx.now_ms);
        let version = release.artefact.version.clone();
        match (decision.verdict, by) {
            (Verdict::Allow | Verdict::AllowLimited(1..), Some(by)) if by.kind == ActorKind::Person => Some((key, by)),
            (Verdict::Allow | Verdict::AllowLimited(1..), by) if self.autonomy.level >= Level::L5 => {
                if let Some(beyond) = self.beyond(&key, cx.now_ms) {
                    // What a program chose may be no candidate of this moment.
                    let mut candidates = candidates;
                    if !candidates.contains(&key) {
                        candidates.insert(0, key);
                    }
                    self.ask(&candidates, format!("Beyond the line's budget: {beyond}."), cx);
                    return None;
                }
                let cadence = || Actor::program("train", format!("cadence of {}", self.config.id));
                Some((key, by.unwrap_or_else(cadence)))
            }
            (Verdict::Allow | Verdict::AllowLimited(1..), _) => {
                self.ask(
                    &candidates,
                    format!("At level {} a person chooses.", self.autonomy.level),
                    cx,
                );
                None
            }
            // The rule wanted a person's word, and has it.
            (Verdict::NeedsPerson, Some(by)) if by.kind == ActorKind::Person => Some((key, by)),
            (Verdict::NeedsPerson | Verdict::Unknown(_), _) => {
                self.ask(
                    &candidates,
                    format!("The rules want a person: {}", reasons(&decision)),
                    cx,
                );
                None
            }
            (verdict, _) => {
                let when = match (verdict, decision.next_feasible) {
                    (Verdict::Hold { .. }, Some(next)) => format!("possible from {}", instant(next)),
                    _ => "no moment is known at which it may".to_owned(),
                };
                let text = format!(
                    "{version} does not go to production now; {when}: {}",
                    reasons(&decision)
                );
                let rules: Vec<String> = decision
                    .findings
                    .iter()
                    .map(|finding| finding.rule.to_string())
                    .collect();
                let about = format!("{version}: {}", rules.join(", "));
                self.held = Some(Held { about, text, urgent });
                None
            }
        }
    }

    /// Why the calendar does not let a release go that was to go, if it does not.
    pub(super) fn against_by_calendar(&self, release: &Release, person: bool, cx: &Context<'_>) -> Option<String> {
        let request = self
            .request(release, "production")
            .facts(self.facts(release, cx.now_ms));
        let decision = cx.calendar.decide(&request, cx.now_ms);
        let may = match decision.verdict {
            Verdict::Allow | Verdict::AllowLimited(1..) => true,
            Verdict::NeedsPerson => person,
            _ => false,
        };
        (!may).then(|| format!("the calendar closed before it had surely begun: {}", reasons(&decision)))
    }

    fn ask(&mut self, candidates: &[Vec<u64>], because: String, cx: &Context<'_>) {
        let candidates: Vec<Candidate> = candidates
            .iter()
            .filter_map(|key| self.candidate(key, cx.now_ms))
            .collect();
        let Some(recommended) = candidates.first().map(|candidate| candidate.version.clone()) else {
            return;
        };
        let known = self.question.as_ref();
        let same = |asked: &&Briefing| {
            let versions = |list: &[Candidate]| list.iter().map(|c| c.version.clone()).collect::<Vec<_>>();
            versions(&asked.candidates) == versions(&candidates)
        };
        if known.filter(same).is_some() {
            return;
        }
        let briefing = Briefing {
            production: self.production.version.clone(),
            recommended,
            because,
            by_unix_ms: if candidates.first().is_some_and(|first| first.lane == Lane::Hotfix) {
                let within = i64::try_from(self.config.limits.hotfix_answer_ms).unwrap_or(i64::MAX);
                cx.now_ms.saturating_add(within)
            } else {
                self.slot.next_ms
            },
            candidates,
        };
        self.question = Some(briefing);
    }

    /// Commits that production would get.
    pub(super) fn brings<'l>(&'l self, release: &'l Release) -> impl Iterator<Item = &'l u64> {
        let all = self.commits.keys();
        all.filter(|number| release.content.has(**number) && !self.production.content.has(**number))
    }

    fn candidate(&self, key: &[u64], now_ms: i64) -> Option<Candidate> {
        let release = self.releases.get(key)?;
        let commits = self.brings(release).count() as u64;
        let soak_hours = release.soaking_ms.map_or(0.0, |since_ms| {
            let until_ms = release.qualified_ms.unwrap_or(now_ms);
            hours(until_ms.saturating_sub(since_ms))
        });
        let failed = self.failed().filter(|delivery| {
            let other = self.find(&delivery.version).map(|(_, release)| release);
            other.is_some_and(|other| release.content.covers(&other.content))
        });
        let mut risks: Vec<String> = failed
            .map(|delivery| format!("it has the commits of {}, which failed in production", delivery.version))
            .collect();
        let open: Vec<&str> = self.incidents.open().collect();
        if release.lane == Lane::Nightly && !open.is_empty() {
            risks.push(format!("open incidents: {}", open.join(", ")));
        }
        let age_hours = hours(now_ms.saturating_sub(release.built_ms));
        let limit = self.config.limits.max_age_ms;
        if age_hours >= hours(i64::try_from(limit).unwrap_or(i64::MAX)) / 2.0 {
            risks.push("more than half of its age limit is over".to_owned());
        }
        let seen = release.facts.as_ref();
        Some(Candidate {
            version: release.artefact.version.clone(),
            lane: release.lane,
            age_hours,
            soak_hours,
            safety_evidence: seen.and_then(|facts| facts.safety_evidence),
            error_budget_left: seen.and_then(|facts| facts.error_budget_left),
            commits,
            risks,
        })
    }
}

/// What rules are asked about a release.
pub(super) fn request(line: &LineConfig, lane: Lane, what: &str, from: &str, to: &str) -> Request {
    let mut change = Change::new(format!("{}/{what}/{to}", line.id)).versions(from, to);
    change.emergency = lane == Lane::Hotfix;
    Request::pre(change)
        .step(Step::Order)
        .scope(line.scope.clone().label("lane", lane.as_str()))
        .need(line.limits.room)
}

/// Whether rules would let something of which nobody has seen anything pass: then they do not speak of it.
pub(super) fn demands_nothing(
    qualification: &Guard,
    request: &Request,
    now_ms: i64,
    [age_hours, soak_hours]: [f64; 2],
) -> bool {
    // Time alone shows nothing.
    let waited = Facts::new()
        .value("age_hours", now_ms, age_hours)
        .value("soak_hours", now_ms, soak_hours);
    let request = request.clone().facts(waited);
    qualification.decide(&request, now_ms).verdict.may_start()
}

/// What rules would still not know if they were told every fact that a train has, if there is something.
pub(super) fn never_known(guard: &Guard, line: &LineConfig, lane: Lane, now_ms: i64) -> Option<String> {
    let facts = FACTS.iter().fold(Facts::new(), |facts, name| match *name {
        "drills_passed" => facts.value(*name, now_ms, true),
        name => facts.value(name, now_ms, 0.0),
    });
    let asked = request(line, lane, "any", &line.version, &line.version).facts(facts);
    let decision = guard.decide(&asked, now_ms);
    let unknown = decision.findings.iter().filter(|finding| finding.unknown.is_some());
    let texts: Vec<String> = unknown.map(|finding| finding.text()).collect();
    (!texts.is_empty()).then(|| texts.join("; "))
}

/// The findings of a decision in one line.
pub(super) fn reasons(decision: &Decision) -> String {
    let texts: Vec<String> = decision
        .findings
        .iter()
        .filter(|f| !f.verdict.may_start())
        .map(|f| f.text())
        .collect();
    if texts.is_empty() {
        decision.verdict.why()
    } else {
        texts.join("; ")
    }
}
