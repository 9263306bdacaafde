//! Which release may go where: qualification on the canary fleet, and the choice for production.

use unattended_defense::{Change, Decision, Facts, Request, Step, Verdict};

use super::cadence::instant;
use super::line::{Context, Line, Release};
use super::{Briefing, Candidate, Command, Lane, Site, Stage};
use crate::{Actor, ActorKind, Level};

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
        let (version, lane) = (release.artefact.version.clone(), release.lane);
        let request = self
            .request(release, "qualification")
            .facts(self.facts(release, cx.now_ms));
        let decision = cx.qualification.decide(&request, cx.now_ms);
        match decision.verdict {
            Verdict::Allow | Verdict::AllowLimited(1..) => {
                if let Some(release) = self.releases.get_mut(key) {
                    release.qualified_ms = Some(cx.now_ms);
                    release.stage = Stage::Qualified {
                        since_unix_ms: cx.now_ms,
                    };
                }
                true
            }
            Verdict::Deny => {
                self.suspect(key, format!("it does not qualify: {}", reasons(&decision)), cx);
                true
            }
            _ => {
                let limit = i64::try_from(self.config.limits.soak_ms).unwrap_or(i64::MAX);
                if cx.now_ms.saturating_sub(since_unix_ms) < limit {
                    return false;
                }
                let why = format!("it has not qualified in time: {}", reasons(&decision));
                if lane == Lane::Hotfix {
                    let text = format!(
                        "hotfix {version}: {why}. {} must decide what mends production now.",
                        cx.owner
                    );
                    cx.tell(&self.config.id, "train.hotfix_failed", text);
                }
                if let Some(release) = self.releases.get_mut(key) {
                    release.stage = Stage::Expired { why };
                }
                true
            }
        }
    }

    /// What is known of a release, for rules. What nobody saw is not there, and rules cannot tell then.
    fn facts(&self, release: &Release, now_ms: i64) -> Facts {
        let mut facts = Facts::new().value("age_hours", now_ms, hours(now_ms - release.built_ms));
        if let Some(since_ms) = release.soaking_ms {
            facts = facts.value("soak_hours", now_ms, hours(now_ms - since_ms));
        }
        let Some(seen) = &release.facts else { return facts };
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
        if let Some(open) = seen.open_incidents {
            // An incident of production is no reason to hold back what mends it: a hotfix that did not get through in time
            // comes with the next nightly.
            let brings = |head: &u64| release.content.has(*head) && !self.production.content.has(*head);
            let mends = release.lane == Lane::Hotfix || self.mends.iter().any(brings);
            let own = if mends { 0 } else { self.incidents.len() as u64 };
            let open = i64::try_from(open.saturating_add(own)).unwrap_or(i64::MAX);
            facts = facts.value("open_incidents", at_ms, open);
        }
        facts
    }

    fn request(&self, release: &Release, what: &str) -> Request {
        let mut change = Change::new(format!("{}/{what}/{}", self.config.id, release.artefact.version))
            .versions(self.production.version.clone(), release.artefact.version.clone());
        change.emergency = release.lane == Lane::Hotfix;
        Request::pre(change)
            .step(Step::Order)
            .scope(self.config.scope.clone().label("lane", release.lane.as_str()))
            .need(self.config.limits.room)
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
            (open || release.lane == Lane::Hotfix) && self.against(key, now_ms).is_none()
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

    /// The release to begin now, and who chose it; where a person has to, asks.
    pub(super) fn choice(&mut self, cx: &mut Context<'_>) -> Option<(Vec<u64>, Actor)> {
        let candidates = self.candidates(cx.now_ms);
        let chosen = self
            .chosen
            .clone()
            .filter(|(key, _)| self.against(key, cx.now_ms).is_none());
        let (key, by) = match chosen {
            Some((key, by)) => (key, Some(by)),
            None => (candidates.first()?.clone(), None),
        };
        let release = self.releases.get(&key)?;
        let decision = cx.calendar.decide(&self.request(release, "production"), cx.now_ms);
        let version = release.artefact.version.clone();
        match (decision.verdict, by) {
            (Verdict::Allow | Verdict::AllowLimited(1..), Some(by)) => Some((key, by)),
            (Verdict::Allow | Verdict::AllowLimited(1..), None) if cx.level >= Level::L5 => {
                Some((key, Actor::program("train", format!("cadence of {}", self.config.id))))
            }
            (Verdict::Allow | Verdict::AllowLimited(1..), None) => {
                self.ask(&candidates, format!("At level {} a person chooses.", cx.level), cx);
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
                // Told once, not at each look.
                if self.held.as_ref() != Some(&text) {
                    cx.tell(&self.config.id, "train.held", text.clone());
                    self.held = Some(text);
                }
                None
            }
        }
    }

    fn ask(&mut self, candidates: &[Vec<u64>], because: String, cx: &mut Context<'_>) {
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
            candidates,
            because,
            by_unix_ms: self.slot.next_ms,
        };
        self.question = Some(briefing.clone());
        cx.out.push(Command::Ask {
            line: self.config.id.clone(),
            briefing,
        });
    }

    fn candidate(&self, key: &[u64], now_ms: i64) -> Option<Candidate> {
        let release = self.releases.get(key)?;
        let commits = self
            .commits
            .keys()
            .filter(|number| release.content.has(**number) && !self.production.content.has(**number));
        let commits = commits.count() as u64;
        let soak_hours = release.soaking_ms.map_or(0.0, |since_ms| {
            let until_ms = release.qualified_ms.unwrap_or(now_ms);
            hours(until_ms - since_ms)
        });
        let failed = self.deliveries.iter().filter(|delivery| {
            let other = self.find(&delivery.version).map(|(_, release)| release);
            delivery.failed() && other.is_some_and(|other| release.content.covers(&other.content))
        });
        let mut risks: Vec<String> = failed
            .map(|delivery| format!("it has the commits of {}, which failed in production", delivery.version))
            .collect();
        if release.lane == Lane::Nightly && !self.incidents.is_empty() {
            let open: Vec<&str> = self.incidents.keys().map(String::as_str).collect();
            risks.push(format!("open incidents: {}", open.join(", ")));
        }
        let age_hours = hours(now_ms - release.built_ms);
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
