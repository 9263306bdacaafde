//! What a train is built from, and what is refused before it moves.

use unattended_defense::{Guard, Need, NextFeasible, Scope};

use super::cadence::{Times, Timetable, instant};
use super::choose::{demands_nothing, never_known, request, waits_hours};
use super::line::Line;
use super::model::numbers;
use super::{FACTS, Lane, LineId, Train, TrainBudget};
use crate::{Actor, ActorKind, Grant, Level, Telling};

const HOUR_MS: u64 = 3_600_000;
/// Nothing waits for longer.
const LONGEST_MS: u64 = 366 * 24 * HOUR_MS;

/// How long a line waits for what. All in milliseconds, and none of them is endless.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "written literally, with `..Limits::default()`")]
pub struct Limits {
    /// For a build. Then people are told; it is taken when it comes. Default 6 hours.
    pub build_ms: u64,
    /// For a change of the canary fleet. Then it is taken back. Default 48 hours.
    pub canary_ms: u64,
    /// For a release on the canary fleet to qualify. Then it is skipped. Default 48 hours.
    pub soak_ms: u64,
    /// For a change of production. Then it is taken back. Default 14 days.
    pub production_ms: u64,
    /// For a change that is taken back to end. Then the line stands still, and people are told. Default 48 hours.
    pub take_back_ms: u64,
    /// For a person's word on a hotfix. Then it is asked for again. Default 1 hour.
    pub hotfix_answer_ms: u64,
    /// No older release is promoted, counted from its build. Default 45 days.
    pub max_age_ms: u64,
    /// For a source of news that does not answer. Then people are told. Default 1 hour.
    pub silent_ms: u64,
    /// The room that the calendar must have for a change of production. Default none: its batches ask for themselves.
    pub room: Need,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            build_ms: 6 * HOUR_MS,
            canary_ms: 48 * HOUR_MS,
            soak_ms: 48 * HOUR_MS,
            production_ms: 14 * 24 * HOUR_MS,
            take_back_ms: 48 * HOUR_MS,
            hotfix_answer_ms: HOUR_MS,
            max_age_ms: 45 * 24 * HOUR_MS,
            silent_ms: HOUR_MS,
            room: Need::default(),
        }
    }
}

/// One version line.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "written literally by every program")]
pub struct LineConfig {
    /// Its name.
    pub id: LineId,
    /// What its production is, as rules address it. The train adds the label `lane`: `nightly` or `hotfix`.
    pub scope: Scope,
    /// When nightlies are built and releases chosen.
    pub timetable: Timetable,
    /// How long it waits for what.
    pub limits: Limits,
    /// How much it does by itself, who lets it, and until when. At [`Level::L4`] a person chooses what production gets, at
    /// [`Level::L5`] nobody does. Below, and so when the grant has run out, nothing begins but what a person chose:
    /// [`Order::Grant`](super::Order::Grant) grants it anew.
    pub grant: Grant,
    /// How much it may do before a person is asked.
    pub budget: TrainBudget,
    /// The version that production and the canary fleet run at the beginning.
    pub version: String,
    /// The number of the newest commit in it.
    pub head: u64,
}

/// Everything a train is built from.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "written literally by every program")]
pub struct TrainConfig {
    /// Who answers for it: who is told, and named where a person is wanted.
    pub owner: Actor,
    /// The lines.
    pub lines: Vec<LineConfig>,
    /// When a release may go to production.
    pub calendar: Guard,
    /// What a release must have shown on the canary fleet; [`FACTS`](super::FACTS) are what its rules may speak of.
    pub qualification: Guard,
    /// How often people are told what is still so, and when somebody else is.
    pub telling: Telling,
    /// When the train begins, in Unix milliseconds.
    pub began_unix_ms: i64,
}

/// Why there is no train. Nothing has happened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// Nothing to drive.
    #[error("lines: the train has none; give at least one")]
    NoLine,
    /// A setting that cannot be.
    #[error("{what}")]
    Setting {
        /// Which, how it is wrong and what to write.
        what: String,
    },
    /// Two lines of one name.
    #[error("lines: there are two called `{line}`; give each a name of its own")]
    TwoLines {
        /// The name.
        line: LineId,
    },
    /// A field that cannot be.
    #[error("line `{line}`: {what}")]
    Field {
        /// Which line.
        line: LineId,
        /// Which field, how it is wrong and what to write.
        what: String,
    },
    /// Nothing would have to be shown.
    #[error(
        "line `{line}`: a {lane} of which nobody has seen anything would qualify: {packs} packs speak of {scope}; give one whose scope meets it \
         a rule on what must have been seen"
    )]
    NoQualification {
        /// Which line.
        line: LineId,
        /// Of which lane.
        lane: &'static str,
        /// How many packs have a word about it.
        packs: usize,
        /// What they were asked about.
        scope: String,
    },
    /// Rules ask what nobody will ever tell them.
    #[error("line `{line}`: {rules} can never tell for a {lane}: {why}; a train knows the labels of its scope, `lane`, and the facts {}", FACTS.join(", "))]
    NeverKnown {
        /// Which line.
        line: LineId,
        /// For which lane.
        lane: &'static str,
        /// The qualification or the calendar.
        rules: &'static str,
        /// Which rules, and what they lack.
        why: String,
    },
    /// The calendar never opens.
    #[error("line `{line}`: the calendar has no slot for a {lane} within a year: closed by {by}; let one of them end")]
    NoSlot {
        /// Which line.
        line: LineId,
        /// For which lane.
        lane: &'static str,
        /// Windows and freezes with their owners.
        by: String,
    },
}

impl Train {
    /// A train that has not moved yet.
    ///
    /// # Errors
    /// What cannot be: [`TrainError`] says which field, and how to mend it.
    pub fn new(config: TrainConfig) -> Result<Self, TrainError> {
        if config.lines.is_empty() {
            return Err(TrainError::NoLine);
        }
        let wrong = |what: String| Err(TrainError::Setting { what });
        if let Err(what) = config.telling.check(LONGEST_MS) {
            return wrong(what);
        }
        let mut lines = std::collections::BTreeMap::new();
        for line in &config.lines {
            let built = check(line, &config)?;
            if lines.insert(line.id.clone(), built).is_some() {
                return Err(TrainError::TwoLines { line: line.id.clone() });
            }
        }
        Ok(Self::of(config, lines))
    }
}

fn check(line: &LineConfig, config: &TrainConfig) -> Result<Line, TrainError> {
    let wrong = |what: String| TrainError::Field {
        line: line.id.clone(),
        what,
    };
    if line.id.0.trim().is_empty() {
        return Err(wrong(
            "id is empty; give it a name that people know it by, as changes and notices have it".to_owned(),
        ));
    }
    let Limits {
        build_ms,
        canary_ms,
        soak_ms,
        production_ms,
        take_back_ms,
        hotfix_answer_ms,
        max_age_ms,
        silent_ms,
        room: _,
    } = line.limits;
    let limits = [
        ("build_ms", build_ms),
        ("canary_ms", canary_ms),
        ("soak_ms", soak_ms),
        ("production_ms", production_ms),
        ("take_back_ms", take_back_ms),
        ("hotfix_answer_ms", hotfix_answer_ms),
        ("max_age_ms", max_age_ms),
        ("silent_ms", silent_ms),
    ];
    for (name, value) in limits {
        if !(1..=LONGEST_MS).contains(&value) {
            return Err(wrong(format!(
                "limits.{name} is {value}; give 1 ms to a year, since nothing waits for ever"
            )));
        }
    }
    let Grant {
        level,
        by,
        until_unix_ms,
    } = &line.grant;
    if *level < Level::L4 {
        return Err(wrong(format!(
            "grant.level {level} is below what a train does by itself; grant L4, where a person chooses each release, or L5"
        )));
    }
    if by.kind != ActorKind::Person {
        return Err(wrong(format!(
            "grant.by {by} is a program; name a person who answers for {level}"
        )));
    }
    if *until_unix_ms <= config.began_unix_ms {
        return Err(wrong(format!(
            "grant.until_unix_ms {} is over when the train begins; give a later end",
            instant(*until_unix_ms)
        )));
    }
    let Some(version) = numbers(&line.version) else {
        return Err(wrong(format!(
            "version `{}` has no number that could be compared; name it as in mesh-1.9.2",
            line.version
        )));
    };
    let times = Times::new(&line.timetable).map_err(|what| wrong(format!("timetable.{what}")))?;
    for lane in [Lane::Nightly, Lane::Hotfix] {
        let scope = line.scope.clone().label("lane", lane.as_str());
        let asked = request(line, lane, "qualification", &line.version, &line.version);
        let passes = |hours| demands_nothing(&config.qualification, &asked, config.began_unix_ms, [hours; 2]);
        if waits_hours().any(passes) {
            return Err(TrainError::NoQualification {
                line: line.id.clone(),
                lane: lane.as_str(),
                packs: config.qualification.decide(&asked, config.began_unix_ms).packs,
                scope: scope
                    .labels()
                    .map(|(key, value)| format!("{key}={value}"))
                    .collect::<Vec<_>>()
                    .join(", "),
            });
        }
        for (rules, guard) in [("qualification", &config.qualification), ("calendar", &config.calendar)] {
            if let Some(why) = never_known(guard, line, lane, config.began_unix_ms) {
                return Err(TrainError::NeverKnown {
                    line: line.id.clone(),
                    lane: lane.as_str(),
                    rules,
                    why,
                });
            }
        }
        let feasible = config
            .calendar
            .next_feasible(&scope, config.began_unix_ms, line.limits.room);
        if let NextFeasible::NeverWithin(_, blockers) = feasible {
            let by: Vec<String> = blockers
                .iter()
                .map(|blocker| {
                    format!(
                        "{}/{} (owner {}: {})",
                        blocker.pack, blocker.id, blocker.owner, blocker.reason
                    )
                })
                .collect();
            return Err(TrainError::NoSlot {
                line: line.id.clone(),
                lane: lane.as_str(),
                by: if by.is_empty() {
                    "windows that never open together for as long as a change needs".to_owned()
                } else {
                    by.join(", ")
                },
            });
        }
    }
    let firsts = times
        .next_nightly(config.began_unix_ms)
        .zip(times.next_slot(config.began_unix_ms));
    let Some((nightly, slot)) = firsts else {
        return Err(wrong(format!(
            "there is no time of day after {}",
            instant(config.began_unix_ms)
        )));
    };
    Ok(Line::new(line.clone(), times, version, nightly, slot))
}
