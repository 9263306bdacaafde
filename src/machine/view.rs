//! The change as people see it.

use std::collections::{BTreeMap, BTreeSet};

use unattended_batching::{Control, TargetIndex};
use unattended_health::Verdict;

use crate::{
    Actor, Ask, BatchView, Evidence, Exposure, HeldBy, Next, Outcome, Progress, Question, SUMMARY_SCHEMA, Summary,
};

use super::classes::Fresh;
use super::hold::Hold;
use super::lanes::Lane;
use super::{Course, Machine};

/// Decisions, holds and names shown at the most.
const SHOWN: usize = 400;

/// Somebody has said that nothing is to go forward, and not yet that it goes on.
pub(super) struct Halt<'a> {
    /// `froze` or `paused`.
    did: &'static str,
    who: Option<&'a Actor>,
    since_ms: u64,
}

impl Halt<'_> {
    /// `li (phone), who paused it`.
    fn by(&self) -> String {
        let who = self.who.map_or_else(|| "somebody".to_owned(), ToString::to_string);
        format!("{who}, who {} it", self.did)
    }

    /// What it waits for.
    pub(super) fn waits_for(&self) -> String {
        format!("somebody's word to go on after {}", self.by())
    }
}

impl Machine {
    pub(crate) fn progress(&self, blind: u64) -> Progress {
        Progress {
            now_ms: self.now_ms,
            targets: self.alive,
            exposed: self.exposed,
            in_flight: self.in_flight,
            blind,
            batch: self.classes.first().map_or(0, |class| class.stage),
            evidence: libm::exp(self.judge.ln_e().min(700.0)),
            state: self.state(),
            goes_back: self.course == Course::Back,
        }
    }

    /// What people are asked, what weighs most first.
    pub(crate) fn open_questions(&self) -> impl Iterator<Item = &Question> {
        self.questions.iter()
    }

    pub(super) fn state(&self) -> &'static str {
        match self.course {
            Course::Ended(outcome) => outcome.as_str(),
            _ if self.frozen.is_some() => "frozen",
            _ if self.paused.is_some() => "paused",
            _ if self.waits_for_person() => "waiting",
            Course::Back => "rolling back",
            Course::Forward if self.in_flight > 0 => "rolling out",
            Course::Forward => "baking",
        }
    }

    /// Who has stopped it, and since when. A change that is being given up goes to its end all the same.
    pub(super) fn halt(&self) -> Option<Halt<'_>> {
        if self.ended().is_some() || self.aborting {
            return None;
        }
        let by = &self.stopped_by;
        let frozen = self.frozen.map(|since_ms| Halt {
            did: "froze",
            who: by.froze.as_ref(),
            since_ms,
        });
        frozen.or_else(|| {
            self.paused.map(|since_ms| Halt {
                did: "paused",
                who: by.paused.as_ref(),
                since_ms,
            })
        })
    }

    pub(crate) fn summary(&self) -> Summary {
        let change = &self.setup.change;
        let outcome = self.ended();
        let elapsed = |at: u64| at.saturating_sub(self.setup.header.began_ms);
        let mut holds: Vec<_> = self.record.holds().collect();
        holds.sort_by_key(|hold| std::cmp::Reverse(hold.until_ms.unwrap_or(self.now_ms).saturating_sub(hold.from_ms)));
        holds.truncate(SHOWN);
        let mut holds: Vec<_> = holds.into_iter().cloned().collect();
        for hold in &mut holds {
            hold.from_ms = elapsed(hold.from_ms);
            hold.until_ms = hold.until_ms.map(elapsed);
        }
        let mut decisions: Vec<_> = self.record.decisions().cloned().collect();
        for decision in &mut decisions {
            decision.at_ms = elapsed(decision.at_ms);
        }
        let mut exposure_curve = self.record.exposure_curve();
        for point in &mut exposure_curve {
            point.at_ms = elapsed(point.at_ms);
        }
        let mut evidence_curve = self.record.evidence_curve();
        for point in &mut evidence_curve {
            point.at_ms = elapsed(point.at_ms);
        }
        let asks: Vec<Ask> = (self.questions.iter())
            .map(|question| Ask {
                id: question.id,
                question: question.text.clone(),
                by_ms: elapsed(question.by_ms),
                otherwise: question.otherwise.clone(),
            })
            .collect();
        let patience_ms = self.person_patience_ms;
        Summary {
            schema: SUMMARY_SCHEMA,
            change: change.id.clone(),
            author: change.author.to_string(),
            from: change.from.to_string(),
            to: change.to.to_string(),
            level: self.level(),
            began_unix_ms: self.setup.header.began_unix_ms,
            elapsed_ms: elapsed(self.now_ms),
            outcome,
            state: self.state().to_owned(),
            state_since_ms: elapsed(self.state_since()),
            freeze_ends_ms: self
                .halt()
                .and_then(|halt| halt.since_ms.checked_add(patience_ms))
                .map(elapsed),
            ended_by: outcome
                .filter(|outcome| *outcome == Outcome::Aborted)
                .and_then(|_| self.stopped_by.aborted.clone()),
            ask: asks.first().cloned(),
            asks,
            exposure: self.exposure(),
            evidence: self.evidence_view(),
            next: self.next(),
            closed: self.closed(),
            stuck: self.lanes.iter().filter(|lane| lane.is_stuck()).count() as u64,
            lost: self.lost,
            data_until_ms: elapsed(self.record.data_until_ms),
            human_actions: self.human_actions,
            exposed_at_stop: self.exposed_at_stop,
            rolled_back: self.rolled_back(),
            batches: self.batches(),
            classes: self.class_views(),
            exposure_curve,
            lanes: self.lane_views(),
            evidence_curve,
            held: self.held_by_windows(),
            holds,
            decisions,
            debts: self.debts.all(),
            aside: self.aside_views(),
            isolated: self.isolations(),
            receipt: self.record.receipts(),
        }
    }

    /// How many lanes each window held, and holds.
    fn held_by_windows(&self) -> Vec<HeldBy> {
        let mut windows: BTreeMap<(&str, &str), [BTreeSet<&str>; 2]> = BTreeMap::new();
        let open = self
            .lanes
            .iter()
            .flat_map(Lane::holds)
            .map(Hold::view)
            .map(|hold| (hold, true));
        for (hold, is_open) in self.record.holds().map(|hold| (hold, false)).chain(open) {
            let [all, open] = windows.entry((&hold.by, &hold.owner)).or_default();
            all.insert(&hold.lane);
            if is_open {
                open.insert(&hold.lane);
            }
        }
        let counted = windows.into_iter().map(|((by, owner), [all, open])| HeldBy {
            by: by.to_owned(),
            owner: owner.to_owned(),
            lanes: all.len() as u64,
            open: open.len() as u64,
        });
        counted.collect()
    }

    fn state_since(&self) -> u64 {
        let last = |codes: &[&str]| {
            self.record
                .decisions()
                .rev()
                .find(|decision| codes.contains(&decision.code.as_str()))
                .map(|d| d.at_ms)
        };
        let asked = self.questions.iter().map(|question| question.asked_ms).min();
        let halted = self.frozen.or(self.paused);
        let since = match self.course {
            Course::Ended(Outcome::Waiting) if asked.is_some() => asked,
            Course::Ended(Outcome::Frozen) if halted.is_some() => halted,
            Course::Ended(_) => Some(self.record.state_since_ms),
            _ if halted.is_some() => halted,
            Course::Back if self.waits_for_person() => asked,
            Course::Back => last(&["rollback.began"]),
            Course::Forward if self.waits_for_person() => last(&["person.asked"]),
            Course::Forward => last(&["lane.opened", "class.safe", "class.silent"]),
        };
        since.unwrap_or(self.setup.header.began_ms)
    }

    fn closed(&self) -> u64 {
        self.targets
            .iter()
            .filter(|target| target.alive && target.closed)
            .count() as u64
    }

    /// Touched once, and on the old version again.
    fn rolled_back(&self) -> u64 {
        let left = |at: u32| self.back_began || self.is_aside(TargetIndex(at));
        let back = |target: &super::Target| target.alive && target.ever_touched && !target.on_new && !target.lost;
        (0u32..)
            .zip(&self.targets)
            .filter(|(at, target)| back(target) && left(*at))
            .count() as u64
    }

    fn exposure(&self) -> Exposure {
        let fleet = &self.setup.change.fleet;
        let mut apps = vec![false; fleet.app_count() as usize];
        let tier = fleet.key_index("tier");
        let mut tiers: Vec<&str> = Vec::new();
        for (at, target) in (0u32..).zip(&self.targets) {
            if !target.on_new {
                continue;
            }
            apps[self.tables.strata_apps[target.stratum as usize] as usize] = true;
            if let Some(key) = tier
                && (at as usize) < fleet.len()
                && let Some(value) = fleet.label(TargetIndex(at), key)
            {
                let name = fleet.value_name(key, value);
                if !tiers.contains(&name) {
                    tiers.push(name);
                }
            }
        }
        Exposure {
            targets: self.alive,
            applications: u64::from(fleet.app_count()),
            exposed: self.exposed,
            in_flight: self.in_flight,
            exposed_applications: apps.iter().filter(|&&exposed| exposed).count() as u64,
            worst_tier: tiers
                .into_iter()
                .min_by_key(|name| tier_rank(name))
                .map(ToOwned::to_owned),
        }
    }

    fn evidence_view(&self) -> Evidence {
        let needed = 1.0 / self.setup.change.settings.alpha;
        Evidence {
            value: libm::exp(self.stop_ln_e.unwrap_or_else(|| self.judge.ln_e()).min(700.0)),
            needed,
            strongest: self
                .stop_text
                .clone()
                .unwrap_or_else(|| self.judge.explain().headline()),
            // Without a stop the strongest class is strong by chance.
            scope: self.stop_scope.clone(),
            faults: self.record.faults(),
            detail: self.judge.explain().to_string(),
            score: self.judge.score(),
            borrowed: (self.classes.iter())
                .zip(&self.tables.classes)
                .filter(|(state, _)| state.silent)
                .map(|(_, class)| format!("{}: too little traffic, went on by self-tests", class.name))
                .collect(),
        }
    }

    fn next(&self) -> Next {
        let spent = libm::exp((self.judge.ln_e() + libm::log(self.setup.change.settings.alpha)).min(0.0));
        let budget_left = 1.0 - spent;
        let none = |what: String| Next {
            what,
            at_ms: None,
            budget_left,
            eta_ms: None,
            blocked_by: None,
        };
        let held = self.lanes.iter().filter(|lane| lane.hold.is_some()).count();
        let by_windows = (held > 0).then(|| format!("{held} lanes are held by their windows"));
        let people = || Some("people, who are asked".to_owned());
        if let Course::Ended(outcome) = self.course {
            let asks = || people().filter(|_| !self.questions.is_empty());
            let blocked_by = match outcome {
                Outcome::Waiting => asks().or(by_windows),
                _ => None,
            };
            let what = match outcome {
                Outcome::Completed => "nothing: every target runs the new version".to_owned(),
                Outcome::CompletedWithDebt => {
                    format!("{} targets are owed by their applications' owners", self.debts.len())
                }
                Outcome::RolledBack => "nothing: every touched target runs the old version again".to_owned(),
                Outcome::RolledBackPartially => {
                    "a person looks at the targets that could not be brought back".to_owned()
                }
                Outcome::Waiting => "a person answers, then the next run goes on from the journal".to_owned(),
                Outcome::Aborted if self.in_flight > 0 => format!(
                    "a person looks at {} targets whose attempts had not ended",
                    self.in_flight
                ),
                Outcome::Frozen | Outcome::Aborted => "nothing until a person says so".to_owned(),
            };
            return Next {
                blocked_by,
                ..none(what)
            };
        }
        if self.aborting {
            return none("attempts under way come to their end, then the change ends where it stands".to_owned());
        }
        let goes_back = self.course == Course::Back;
        if let Some(halt) = self.halt().filter(|halt| halt.did == "froze" || !goes_back) {
            let what = match halt.did {
                "froze" => "nothing moves until somebody says to go on",
                _ => "nothing goes forward until somebody says to go on; what stops it is looked for all the same",
            };
            return Next {
                blocked_by: Some(halt.by()),
                ..none(what.to_owned())
            };
        }
        if goes_back {
            return Next {
                blocked_by: people().filter(|_| self.waits_for_person()),
                ..none(format!("{} targets go back", self.exposed + self.in_flight))
            };
        }
        if self.waits_for_person() {
            return Next {
                blocked_by: people(),
                ..none("it goes on when somebody has answered what is asked".to_owned())
            };
        }
        let slowest = self.slowest_class();
        let what = match (&slowest, self.judge.verdict()) {
            (_, Verdict::Hold(_)) => "nothing is promoted until the evidence is calm again".to_owned(),
            (Some((name, stage)), _) => format!("class {name} shows safety at batch {stage}, then grows"),
            (None, _) => "the last lanes finish and rest".to_owned(),
        };
        let by_class = || {
            slowest
                .as_ref()
                .map(|(name, _)| format!("class {name}: evidence of safety"))
        };
        let blocked_by = by_windows.or_else(by_class);
        Next {
            what,
            at_ms: None,
            budget_left,
            eta_ms: self.eta(),
            blocked_by,
        }
    }

    /// The class whose stage is lowest, and that stage.
    fn slowest_class(&self) -> Option<(String, u16)> {
        let open = (self.classes.iter())
            .zip(&self.tables.classes)
            .filter(|(state, class)| class.next_stage(state.stage).is_some());
        open.min_by_key(|(state, _)| state.stage)
            .map(|(state, class)| (class.name.clone(), state.stage))
    }

    /// The remaining stages of the slowest class, each at its least rest, and the soak still to come: a floor.
    fn eta(&self) -> Option<u64> {
        let settings = &self.setup.change.settings;
        let (at, state) = (self.classes.iter().enumerate())
            .filter(|(at, state)| self.tables.classes[*at].next_stage(state.stage).is_some())
            .min_by_key(|(_, state)| state.stage)?;
        let class = &self.tables.classes[at];
        let mut stages = 0;
        let mut stage = state.stage;
        while let Some(next) = class.next_stage(stage) {
            stages += 1;
            stage = next;
        }
        let soak = if state.soaked { 0 } else { settings.soak_ms };
        let rest = settings.warm_up_ms + settings.bake_ms + settings.attempt_estimate_ms;
        let gone = match state.fresh {
            Fresh::Counting(since) => self.now_ms - since,
            _ => 0,
        };
        Some((self.now_ms + stages * rest + soak.saturating_sub(gone)).saturating_sub(self.setup.header.began_ms))
    }

    fn batches(&self) -> Vec<BatchView> {
        let plan = &self.setup.plan;
        let began = self.setup.header.began_ms;
        (0..plan.batch_count())
            .zip(&self.record.batches)
            .map(|(index, life)| {
                let batch = plan.batch(index);
                BatchView {
                    index,
                    size: u64::from(batch.size),
                    cumulative: u64::from(batch.cumulative),
                    began_ms: life.began_ms.map(|at| at.saturating_sub(began)),
                    ended_ms: life.ended_ms.map(|at| at.saturating_sub(began)),
                    control: match plan.control_cohort(index) {
                        Control::Matched { .. } => "matched",
                        Control::Partial { .. } => "partial",
                        _ => "none",
                    }
                    .to_owned(),
                }
            })
            .collect()
    }
}

/// The more critical, the lower; unknown words come last.
fn tier_rank(name: &str) -> usize {
    let known = [
        "critical", "platinum", "gold", "high", "silver", "medium", "bronze", "low",
    ];
    known
        .iter()
        .position(|tier| name.eq_ignore_ascii_case(tier))
        .unwrap_or(known.len())
}
