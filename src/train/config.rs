//! What a train is built from, and what is refused before it moves.

use unattended_defense::{Guard, Need, NextFeasible, Scope};

use super::cadence::{Times, Timetable, instant};
use super::line::Line;
use super::model::numbers;
use super::{Lane, LineId, Train};
use crate::{Actor, Level};

const HOUR_MS: u64 = 3_600_000;

/// How long a line waits for what. All in milliseconds, and none of them is endless.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "written literally, with `..Limits::default()`")]
pub struct Limits {
    /// For a build. Then it is forgotten, and people are told. Default 6 hours.
    pub build_ms: u64,
    /// For a change of the canary fleet. Then it is taken back. Default 48 hours.
    pub canary_ms: u64,
    /// For a release on the canary fleet to qualify. Then it is skipped. Default 48 hours.
    pub soak_ms: u64,
    /// For a change of production. Then it is taken back. Default 14 days.
    pub production_ms: u64,
    /// For a change that is taken back to end. Then the line stands still, and people are told. Default 48 hours.
    pub take_back_ms: u64,
    /// No older release is promoted, counted from its build. Default 45 days.
    pub max_age_ms: u64,
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
            max_age_ms: 45 * 24 * HOUR_MS,
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
    /// The version that production and the canary fleet run at the beginning.
    pub version: String,
    /// The number of the newest commit in it.
    pub head: u64,
}

/// Everything a train is built from.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "written literally by every program")]
pub struct TrainConfig {
    /// How much it does by itself: below [`Level::L5`] a person chooses what production gets.
    pub level: Level,
    /// Who answers for it: who is named where a person is wanted, and the author of what it starts below L5.
    pub owner: Actor,
    /// The lines.
    pub lines: Vec<LineConfig>,
    /// When a release may go to production.
    pub calendar: Guard,
    /// What a release must have shown on the canary fleet; [`FACTS`](super::FACTS) are what its rules may speak of.
    pub qualification: Guard,
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
    #[error("qualification: it has no rule, so every release would pass; say what a release must have shown")]
    NoQualification,
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
        if config.qualification.is_empty() {
            return Err(TrainError::NoQualification);
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
    let Limits {
        build_ms,
        canary_ms,
        soak_ms,
        production_ms,
        take_back_ms,
        max_age_ms,
        room: _,
    } = line.limits;
    let limits = [
        ("build_ms", build_ms),
        ("canary_ms", canary_ms),
        ("soak_ms", soak_ms),
        ("production_ms", production_ms),
        ("take_back_ms", take_back_ms),
        ("max_age_ms", max_age_ms),
    ];
    for (name, value) in limits {
        if !(1..=366 * 24 * HOUR_MS).contains(&value) {
            return Err(wrong(format!(
                "limits.{name} is {value}; give 1 ms to a year, since nothing waits for ever"
            )));
        }
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
