use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Actor, ActorKind};

/// How much the autopilot does by itself. Each level asks for less than the one below, and never for more:
///
/// | | starts an upgrade | opens a batch | goes on after a check blocked | rolls back, heals | begins what a program chose |
/// | --- | --- | --- | --- | --- | --- |
/// | L0 | a person does it | a person | a person | a person | a person |
/// | L1 | at a person's word for each | a person | a person | a person | a person |
/// | L2 | alone | at a person's word | a person | a person | a person |
/// | L3 | alone | alone | a person | a person | a person |
/// | L4 | alone | alone | alone | alone | a person |
/// | L5 | alone | alone | alone | alone | alone |
///
/// Plan, caps, rules, evidence and gates are the same at all of them: a level only says whose word is needed on top.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[expect(
    clippy::exhaustive_enums,
    reason = "the levels are a scale that people know, and complete"
)]
pub enum Level {
    /// Every step by hand, recorded: nothing is sent to the platform. The autopilot says which targets the plan, the rules and
    /// the evidence would let change now, and looks at those that a person says are done.
    L0,
    /// Atomic operations and observation: one target is upgraded, verified, and brought back where that fails, at a person's
    /// word for this target.
    L1,
    /// Orchestrated: a person confirms each batch.
    L2,
    /// Checks block by themselves; a person says whether it goes on, or back.
    L3,
    /// Also goes on, rolls back and heals bad nodes by itself, inside its budgets.
    L4,
    /// Also chooses when a change begins, and begins those that a program chose.
    L5,
}

/// What a level may or may not allow to be done without a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// Send anything to the platform.
    Effect,
    /// Start the upgrade of a target.
    Start,
    /// Open a batch.
    Batch,
    /// Go on after a check had blocked the change.
    Resume,
    /// Take the change back.
    RollBack,
    /// Take a target out of traffic, restart or replace it.
    Heal,
    /// Begin a change that no person chose, and choose when.
    Begin,
}

impl Level {
    /// All of them, ascending.
    pub const ALL: [Self; 6] = [Self::L0, Self::L1, Self::L2, Self::L3, Self::L4, Self::L5];
    /// The highest that nobody has to grant: nothing grows without a person's word.
    pub const UNGRANTED: Self = Self::L2;

    /// Whether it does this without a person.
    pub(crate) fn may(self, act: Act) -> bool {
        self >= match act {
            Act::Effect => Self::L1,
            Act::Start => Self::L2,
            Act::Batch => Self::L3,
            Act::Resume | Act::RollBack | Act::Heal => Self::L4,
            Act::Begin => Self::L5,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::L0 => "L0",
            Self::L1 => "L1",
            Self::L2 => "L2",
            Self::L3 => "L3",
            Self::L4 => "L4",
            Self::L5 => "L5",
        })
    }
}

impl FromStr for Level {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.strip_prefix(['L', 'l']).unwrap_or(text);
        let named = Self::ALL.into_iter().find(|level| level.to_string()[1..] == *number);
        named.ok_or_else(|| {
            format!(
                "there is no level `{text}`: use 0 (by hand), 1 (a word for each target), 2 (a word for each batch), \
                 3 (a person resumes), 4 (also rolls back by itself) or 5 (also chooses what begins, and when)"
            )
        })
    }
}

/// The right to act at a level, until a moment. Above [`Level::UNGRANTED`] nothing acts without one: when it runs out, the change
/// goes on at that level.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Grant {
    /// The level.
    pub level: Level,
    /// Who answers for it: a person.
    pub by: Actor,
    /// When it ends, in Unix milliseconds.
    pub until_unix_ms: i64,
}

impl Grant {
    /// A person lets the autopilot act at `level` until `until_unix_ms`.
    ///
    /// # Errors
    /// [`GrantError`] where a program would be the one to answer for it.
    pub fn new(level: Level, by: Actor, until_unix_ms: i64) -> Result<Self, GrantError> {
        if by.kind != ActorKind::Person {
            return Err(GrantError { level, by: by.id });
        }
        Ok(Self {
            level,
            by,
            until_unix_ms,
        })
    }
}

/// Levels are granted by people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{by}` is a program, and level {level} is granted by a person: name somebody who answers for it")]
#[non_exhaustive]
pub struct GrantError {
    /// The level that was to be granted.
    pub level: Level,
    /// Who was to grant it.
    pub by: String,
}

/// How much the autopilot may do by itself at any level. What goes beyond waits for a person, who is told what it is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Budget {
    /// Targets that it may start on the way forward in any 24 hours. Beyond it the change waits for a person, or for the day to
    /// pass. A person's yes lets it start as many once more. At least 1: where nothing is to start without a word, that is a level
    /// ([`Level::L1`], [`Level::L2`]). Default: as many as the plan opens.
    pub starts_per_day: Option<u64>,
    /// How often it may go on by itself, in any 24 hours, after a check had blocked the change: what blocks again and again is
    /// no passing matter. One that begins within half an hour after the end of one that was counted is the same. Default 12.
    pub resumes_per_day: u32,
    /// How often it may begin to take a change back in any 24 hours, the [rollbacks before](crate::Change::rollbacks_before)
    /// it counted. Default 4.
    pub rollbacks_per_day: u32,
    /// How often it may isolate, restart or replace a bad node in any 24 hours, where there is a [healer](crate::Builder::healer); at most
    /// 10,000. Default 4: more bad nodes than that are a matter for people. What a stop [cuts off](crate::OnStop) does not count.
    #[serde(default = "heals_per_day")]
    pub heals_per_day: u32,
    /// The most that it may take back by itself, in parts per million of the fleet. Default 1,000,000: everything.
    pub rollback_share_ppm: u32,
    /// The most that it may come to expose by itself, in parts per million of the fleet. Default 1,000,000: everything.
    pub exposure_share_ppm: u32,
    /// How old the change may be. Older, it neither grows nor goes back without a person. Default 28 days.
    pub longest_ms: u64,
}

/// Journals of before there was one have none.
pub(crate) const fn heals_per_day() -> u32 {
    4
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            starts_per_day: None,
            resumes_per_day: 12,
            rollbacks_per_day: 4,
            heals_per_day: heals_per_day(),
            rollback_share_ppm: 1_000_000,
            exposure_share_ppm: 1_000_000,
            longest_ms: 28 * 24 * 3_600_000,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_level_asks_for_less_than_the_one_below() {
        let acts = [
            Act::Effect,
            Act::Start,
            Act::Batch,
            Act::Resume,
            Act::RollBack,
            Act::Heal,
            Act::Begin,
        ];
        // By level, from L0 on: the acts it does alone.
        let alone = Level::ALL.map(|level| acts.map(|act| u8::from(level.may(act))));
        assert_eq!(
            alone,
            [
                [0, 0, 0, 0, 0, 0, 0],
                [1, 0, 0, 0, 0, 0, 0],
                [1, 1, 0, 0, 0, 0, 0],
                [1, 1, 1, 0, 0, 0, 0],
                [1, 1, 1, 1, 1, 1, 0],
                [1, 1, 1, 1, 1, 1, 1]
            ]
        );
    }

    #[test]
    fn a_level_is_read_as_it_is_written() {
        for level in Level::ALL {
            assert_eq!(level.to_string().parse(), Ok(level));
            assert_eq!(level.to_string()[1..].parse(), Ok(level));
        }
        for no in ["", "L", "6", "L-1", "LL3", "3 ", "L33"] {
            let error = no.parse::<Level>().unwrap_err();
            assert!(error.contains(&format!("`{no}`")), "{error}");
        }
    }

    #[test]
    fn no_program_grants_a_level() {
        let by = Actor::program("train", "nightly");
        let error = Grant::new(Level::L4, by, 0).unwrap_err().to_string();
        assert!(error.contains("`train`") && error.contains("L4"), "{error}");
        assert!(Grant::new(Level::L4, Actor::person("li", "MESH-1"), 0).is_ok());
    }
}
