//! What people have to know as long as it is so, and how the change stands while they read it. It decides nothing.

use std::collections::BTreeMap;
use std::fmt::Display;

use unattended_batching::AppIndex;

use crate::notice::{Matter, NOTICE_SCHEMA, Said};
use crate::{Briefing, Level, Notice, NoticeStage, Outcome, QuestionKind, Severity};

use super::span::span;
use super::{Commands, Course, Machine};

/// Names shown at the most.
const MAX_NAMES: usize = 10;
/// Decisions in a briefing.
const LAST_DECISIONS: usize = 5;

/// How a rule holds a lane, for whoever owns the rule.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Held {
    /// On its way forward, as long as no rule changes.
    ForGood,
    /// On its way forward, until a person says otherwise.
    ForWord,
    /// On its way back.
    Back,
    /// On the way back that its first target is to try.
    Rehearsal,
}

impl Machine {
    /// `1 target`, `2 targets`. Earlier decisions have the plural of one as well.
    pub(super) fn so_many<N: Copy + Display + TryInto<u64>>(&self, n: N, what: &str) -> String {
        let s = if self.is_one(n) { "" } else { "s" };
        format!("{n} {what}{s}")
    }

    /// The verb to it.
    pub(super) fn is_or_are<N: TryInto<u64>>(&self, n: N) -> &'static str {
        if self.is_one(n) { "is" } else { "are" }
    }

    fn is_one<N: TryInto<u64>>(&self, n: N) -> bool {
        self.decides_by(9) && n.try_into().is_ok_and(|n| n == 1)
    }

    /// Says what has come up, what is still so, and what is over.
    pub(super) fn tell_people(&mut self, commands: &mut Commands) {
        let matters = self.matters();
        let said = self
            .desk
            .reconcile(matters, self.now_ms, &self.setup.change.settings.telling);
        commands.notices.extend(said.iter().map(|said| self.notice(said)));
    }

    /// What is to be said of a change that has ended, for whoever may have missed it.
    pub(crate) fn farewell(&mut self) -> Vec<Notice> {
        let mut commands = Commands::default();
        if let Some(outcome) = self.ended() {
            self.tell_the_end(outcome, &mut commands);
        }
        self.tell_people(&mut commands);
        commands.notices
    }

    /// Everything that is open.
    pub(crate) fn open_notices(&self) -> Vec<Notice> {
        self.desk.open().map(|said| self.notice(&said)).collect()
    }

    /// Where it stands, in one word, and how many matters are open.
    pub(crate) fn vital_signs(&self) -> (&'static str, u32) {
        (self.state(), self.desk.len())
    }

    /// Somebody knows.
    pub(super) fn acknowledge(&mut self, key: &str) -> bool {
        let own = key.strip_prefix(self.setup.change.id.as_str());
        let own = own.and_then(|key| key.strip_prefix('/')).unwrap_or(key);
        self.desk
            .acknowledge(own, self.now_ms, &self.setup.change.settings.telling)
    }

    /// The permit has begun to withhold effects, or has stopped to.
    pub(crate) fn permit(&mut self, withheld: Option<String>) {
        if withheld.is_none() || self.withheld.is_none() {
            // The time that is known here may be of before the journal, or the controller, was away.
            self.withheld_ms = None;
        }
        self.withheld = withheld;
    }

    pub(crate) const fn is_withheld(&self) -> bool {
        self.withheld.is_some()
    }

    /// The end is said once, whatever it is.
    pub(super) fn tell_the_end(&self, outcome: Outcome, commands: &mut Commands) {
        let change = &self.setup.change;
        let under_way = match self.in_flight {
            0 => String::new(),
            n => format!(", attempts on {n} are under way and have not ended"),
        };
        let text = format!(
            "{} ended as {}: {} of {} targets run {}{under_way}, {} are owed",
            change.id,
            outcome.as_str(),
            self.exposed,
            self.alive,
            change.to,
            self.debts.len()
        );
        // Nobody takes up what was given up.
        let (severity, remedy) = match outcome {
            Outcome::Aborted if self.in_flight > 0 => (
                Severity::Warning,
                "look at those whose attempts have not ended; they are among what is owed",
            ),
            _ if self.in_flight > 0 => (
                Severity::Warning,
                "look at those whose attempts have not ended; a later run takes them up",
            ),
            _ => (Severity::Info, "nothing"),
        };
        let mut matter = self.matter("change.ended", severity, text);
        remedy.clone_into(&mut matter.remedy);
        commands.notices.push(self.notice(&Said {
            matter,
            stage: NoticeStage::Raised,
            raised_ms: self.now_ms,
        }));
    }

    /// Whom it is for where nobody else is named.
    fn owner(&self) -> String {
        let named = self.setup.change.settings.telling.owner.clone();
        named.unwrap_or_else(|| self.setup.header.granted_by.clone())
    }

    pub(super) fn matter(&self, code: &'static str, severity: Severity, text: String) -> Matter {
        Matter {
            owner: self.owner(),
            otherwise: "the change goes on by itself".to_owned(),
            ..Matter::new(code, severity, text)
        }
    }

    /// All that is so now. Nothing is so in a change that goes well.
    fn matters(&self) -> Vec<Matter> {
        let mut matters = Vec::new();
        for question in self.questions.iter() {
            matters.push(Matter {
                detail: Some(question.kind.as_str().to_owned()),
                question: Some(question.clone()),
                otherwise: question.otherwise.clone(),
                remedy: match question.kind {
                    QuestionKind::Steps => "take the steps that are offered (`Handle::step`)".to_owned(),
                    kind => format!(
                        "answer yes to question {} (`Handle::approve`), or take another way ({}`roll_back`, `abort`)",
                        question.id,
                        // Of the others it is a yes, or no answer.
                        if kind.is_of_stop() || kind == QuestionKind::Stalled {
                            "`resume`, "
                        } else {
                            ""
                        }
                    ),
                },
                ..self.matter("person.asked", question.kind.severity(), question.text.clone())
            });
        }
        if self.frozen.is_some() {
            let text = "the change is frozen: nothing is done until somebody says to go on".to_owned();
            matters.push(Matter {
                otherwise: "it stays as it is, and the run ends as frozen after the patience for people".to_owned(),
                remedy: "say to go on (`Handle::resume`), or to roll back".to_owned(),
                ..self.matter("change.frozen", Severity::Warning, text)
            });
        }
        if self.paused.is_some() && self.frozen.is_none() {
            let text = "the change is paused: nothing goes forward until somebody says to go on".to_owned();
            matters.push(Matter {
                otherwise: "it keeps its size, and the run ends as frozen after the patience for people".to_owned(),
                remedy: "say to go on (`Handle::resume`), or to roll back".to_owned(),
                ..self.matter("change.paused", Severity::Warning, text)
            });
        }
        if let Some(text) = self.differs.told.as_ref().filter(|_| self.ended().is_none()) {
            matters.push(Matter {
                otherwise: "the change goes on by what this build decides".to_owned(),
                remedy: "look at where it differs (`replay`); to keep the decisions that it began with, take it up with the build that \
                         wrote the journal"
                    .to_owned(),
                ..self.matter("decisions.differ", Severity::Warning, text.clone())
            });
        }
        if let Some(why) = &self.withheld {
            let text = format!("no effect is sent, as the permit does not let it: {why}");
            matters.push(Matter {
                otherwise: "nothing is done; attempts under way stay where they are".to_owned(),
                remedy: "have the permit say yes again".to_owned(),
                ..self.matter("permit.withheld", Severity::Critical, text)
            });
        }
        if self.ended().is_none() {
            self.matters_of_domains(&mut matters);
        }
        self.matters_of_nodes(&mut matters);
        self.matters_of_cut(&mut matters);
        self.matters_of_metrics(&mut matters);
        self.matters_of_unseen(&mut matters);
        self.matters_of_blocked_back(&mut matters);
        if self.autonomy.expired && self.ended().is_none() {
            let text = format!(
                "the grant has run out: the change goes on at {}, where a person confirms each batch",
                Level::UNGRANTED
            );
            matters.push(Matter {
                otherwise: "each batch waits for a person's word".to_owned(),
                remedy: "grant a level anew (`Handle::grant`)".to_owned(),
                ..self.matter("level.expired", Severity::Warning, text)
            });
        }
        for class in self.classes_aside().filter(|_| self.ended().is_none()) {
            let change = &self.setup.change;
            let text = format!(
                "{class} is set aside: {} does harm there, and there alone as far as is known",
                change.to
            );
            matters.push(Matter {
                detail: Some(class.to_owned()),
                one_of_many: true,
                otherwise: format!("{class} stays on {}, and the rest goes on", change.from),
                remedy: "the end of the change; what was set aside is among its debts".to_owned(),
                ..self.matter("class.aside", Severity::Warning, text)
            });
        }
        if self.course == Course::Back {
            let why = self.stop_text.as_deref().unwrap_or("somebody asked for it");
            let text = format!("the change is being rolled back to {}: {why}", self.setup.change.from);
            matters.push(Matter {
                otherwise: "every touched target goes back, newest first".to_owned(),
                remedy: "the end of the rollback".to_owned(),
                ..self.matter("rollback.began", Severity::Warning, text)
            });
        }
        if let Some((code, text)) = &self.waits_for {
            matters.push(Matter {
                otherwise: "the run has ended; nothing is done until another takes it up".to_owned(),
                remedy: "see to the platform or the metrics, then start the run again over the same journal".to_owned(),
                ..self.matter(code, Severity::Critical, text.clone())
            });
        }
        if self.course == Course::Ended(Outcome::RolledBackPartially) {
            let text = format!("{} targets could not be brought back", self.debts.len());
            matters.push(Matter {
                otherwise: "they stay as they are".to_owned(),
                remedy: "a person looks at these targets".to_owned(),
                ..self.matter("rollback.partial", Severity::Critical, text)
            });
        }
        self.matters_of_taken_over(&mut matters);
        if !self.is_unruled() && self.ended().is_none() {
            self.matters_of_teams(&mut matters);
        }
        matters
    }

    fn matters_of_domains(&self, matters: &mut Vec<Matter>) {
        for (name, since, waiting) in self.domains.silent() {
            let minutes = self.now_ms.saturating_sub(since) / 60_000;
            let patience = span(self.setup.change.settings.blocked_patience_ms);
            let text = format!("nothing has been seen of {name} for {minutes} min, and {waiting} targets wait for it");
            matters.push(Matter {
                detail: Some(name.to_owned()),
                one_of_many: true,
                otherwise: format!(
                    "its targets wait, and everything else goes on; after {patience} they are left behind as debt"
                ),
                remedy: "bring the domain back into reach".to_owned(),
                ..self.matter("domain.silent", Severity::Warning, text)
            });
        }
    }

    /// What rules hold that only people lift goes to those whose rules they are.
    fn matters_of_teams(&self, matters: &mut Vec<Matter>) {
        // By owner and what is held: lanes, and the first hold.
        let mut teams: BTreeMap<(&str, Held), (Vec<&str>, &crate::HoldView)> = BTreeMap::new();
        let rehearsed = self.kept_from_rehearsal().map(|target| self.app_of(target));
        for (app, lane) in (0u32..).zip(&self.lanes) {
            for hold in lane.holds() {
                let held = match (hold.is_back(), hold.needs_person()) {
                    (true, _) if rehearsed == Some(AppIndex(app)) => Held::Rehearsal,
                    (true, _) => Held::Back,
                    (false, true) => Held::ForWord,
                    (false, false) if hold.is_endless() => Held::ForGood,
                    (false, false) => continue,
                };
                let view = hold.view();
                if view.owner.is_empty() {
                    continue;
                }
                let lanes = teams.entry((&view.owner, held)).or_insert_with(|| (Vec::new(), view));
                lanes.0.push(self.setup.change.fleet.app_name(AppIndex(app)));
            }
        }
        let to = &self.setup.change.to;
        for ((owner, held), (lanes, first)) in teams {
            let (named, by, reason) = (super::autonomy::some_of(&lanes), &first.by, &first.reason);
            let until = match first.until_ms.filter(|_| self.decides_by(8)) {
                Some(until) => format!(" for {}", span(until.saturating_sub(first.from_ms))),
                None => String::new(),
            };
            let stay = "these lanes stay where they are, the others go on";
            let yes = "lift the rule, or say yes where the change's owner asks";
            let (code, severity, text, otherwise, remedy) = match held {
                Held::Back => (
                    "rollback.held",
                    Severity::Critical,
                    format!("{named} must leave {to} and cannot, as {by} forbids rollbacks{until} ({reason})"),
                    "they keep the version that is to be left until the rule lets them go",
                    yes,
                ),
                Held::Rehearsal => (
                    "rehearsal.held",
                    Severity::Warning,
                    format!(
                        "{named} has the first target of {to}, whose way back is to be tried, and {by} forbids rollbacks ({reason})"
                    ),
                    "nobody else gets it before that has been tried",
                    yes,
                ),
                Held::ForWord => (
                    "lane.held",
                    Severity::Warning,
                    format!("{named} wait for a person's word, as {by} wants one before {to} comes ({reason})"),
                    stay,
                    yes,
                ),
                Held::ForGood => (
                    "lane.closed",
                    Severity::Warning,
                    format!(
                        "{named} do not get {to}, as {by} does not let it come and no end of that is known ({reason})"
                    ),
                    stay,
                    "change the rule, or leave them out (`Handle::skip`): a person's yes does not lift it",
                ),
            };
            matters.push(Matter {
                detail: Some(owner.to_owned()),
                one_of_many: true,
                lanes: lanes.iter().take(MAX_NAMES).map(|&name| name.to_owned()).collect(),
                owner: owner.to_owned(),
                otherwise: otherwise.to_owned(),
                remedy: remedy.to_owned(),
                ..self.matter(code, severity, text)
            });
        }
    }

    fn notice(&self, said: &Said) -> Notice {
        let Said {
            matter,
            stage,
            raised_ms,
        } = said;
        let change = &self.setup.change;
        Notice {
            schema: NOTICE_SCHEMA,
            code: matter.code.to_owned(),
            severity: matter.severity,
            dedup_key: format!("{}/{}", change.id, matter.key()),
            change: change.id.clone(),
            lanes: matter.lanes.clone(),
            owner: matter.owner.clone(),
            stage: stage.clone(),
            raised_unix_ms: self.unix_ms(*raised_ms),
            at_unix_ms: self.unix_ms(self.now_ms),
            text: matter.text.clone(),
            question: matter.question.clone(),
            briefing: Some(self.briefing(matter)),
        }
    }

    fn briefing(&self, matter: &Matter) -> Briefing {
        let change = &self.setup.change;
        let mut decisions: Vec<String> = (self.record.decisions().rev().take(LAST_DECISIONS))
            .map(|decision| {
                let minutes = self.now_ms.saturating_sub(decision.at_ms) / 60_000;
                format!("{minutes} min ago: {}", decision.text)
            })
            .collect();
        decisions.reverse();
        Briefing {
            from: change.from.to_string(),
            to: change.to.to_string(),
            level: self.level(),
            state: self.state().to_owned(),
            elapsed_ms: self.now_ms.saturating_sub(self.setup.header.began_ms),
            targets: self.alive,
            exposed: self.exposed,
            in_flight: self.in_flight,
            evidence: libm::exp(self.judge.ln_e().min(700.0)),
            evidence_needed: 1.0 / change.settings.alpha,
            found: self.judge.explain().headline(),
            otherwise: matter.otherwise.clone(),
            remedy: matter.remedy.clone(),
            decisions,
        }
    }
}
