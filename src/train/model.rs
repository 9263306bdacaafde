//! The words of the train: lines, commits, artefacts, stages, facts.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Outcome;

/// A version line: one stream of releases with a canary fleet and a production of its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
#[expect(clippy::exhaustive_structs, reason = "a name is all there is")]
pub struct LineId(pub String);

impl fmt::Display for LineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for LineId {
    fn from(name: &str) -> Self {
        Self(name.to_owned())
    }
}

/// A commit of a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "written literally by every adapter")]
pub struct Commit {
    /// Its name, such as its hash.
    pub id: String,
    /// Its place in the line: the number of commits before it. News may come in any order.
    pub number: u64,
    /// When it was made, in Unix milliseconds.
    pub at_unix_ms: i64,
}

/// What CI built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "written literally by every adapter")]
pub struct Artefact {
    /// Its version. The numbers in it, from left to right, say which of two is newer.
    pub version: String,
    /// The digest of its content. A version never gets another one.
    pub digest: String,
    /// The number of the newest commit in it.
    pub head: u64,
    /// Of a hotfix: the number of the commit it was built upon, of which `head` was picked out. `None`: everything up to `head`.
    pub base: Option<u64>,
    /// Of a hotfix: what else was picked, as its order said.
    pub picks: Vec<u64>,
}

/// How a release came to be on the train.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "a train has an ordinary lane and an urgent one")]
pub enum Lane {
    /// Built because a day was over.
    Nightly,
    /// Built because something must be mended: it overtakes, and skips nothing.
    Hotfix,
}

impl Lane {
    /// The word in scopes and keys.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nightly => "nightly",
            Self::Hotfix => "hotfix",
        }
    }
}

/// Which fleet a change is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "a line has these two fleets")]
pub enum Site {
    /// The canary fleet.
    Canary,
    /// Production.
    Production,
}

impl Site {
    /// The word in scopes and keys.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Canary => "canary",
            Self::Production => "production",
        }
    }
}

/// The name of one change of the autopilot that the train wants: the same however often it is asked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
#[expect(clippy::exhaustive_structs, reason = "a name is all there is")]
pub struct ChangeKey(pub String);

impl ChangeKey {
    /// The key of the nth try to bring a version to a fleet of a line, from 0.
    pub fn new(line: &LineId, site: Site, version: &str, nth: u32) -> Self {
        Self(format!("{line}/{}/{version}/{nth}", site.as_str()))
    }
}

impl fmt::Display for ChangeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a change of the autopilot ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "written literally by every adapter")]
pub struct ChangeEnd {
    /// Its outcome.
    pub outcome: Outcome,
    /// When it ended, in Unix milliseconds.
    pub at_unix_ms: i64,
    /// Targets that ran the new version at its end, or at the stop.
    pub exposed: u64,
    /// What people had to do in it.
    pub human_actions: u64,
    /// In one sentence.
    pub why: String,
}

impl ChangeEnd {
    /// Whether the whole fleet runs the new version, but for what is owed.
    #[must_use]
    pub const fn arrived(&self) -> bool {
        matches!(self.outcome, Outcome::Completed | Outcome::CompletedWithDebt)
    }
}

/// The name of the source of incidents, as [`Input::Source`](super::Input::Source) has it.
pub const INCIDENTS: &str = "incidents";

/// The name of the source of what changes and soaks show, likewise.
pub const FLEETS: &str = "fleets";

/// What was seen of a release on the canary fleet, for its qualification. What is `None` is not known, and does not pass.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[expect(
    clippy::exhaustive_structs,
    reason = "written literally, with `..ReleaseFacts::default()`"
)]
pub struct ReleaseFacts {
    /// When it was seen, in Unix milliseconds.
    pub at_unix_ms: i64,
    /// The highest load it has carried, as a share of the fleet's usual daily peak.
    pub load_peak: Option<f64>,
    /// The share of production's classes (label values) that the canary fleet has.
    pub class_coverage: Option<f64>,
    /// The safety evidence of the class that has least, as an e-value.
    pub safety_evidence: Option<f64>,
    /// The smallest part of any objective's budget that is left since the release came, below 0 where it is overdrawn.
    pub error_budget_left: Option<f64>,
    /// Whether the drills (a downgrade, a restart) have passed on it.
    pub drills_passed: Option<bool>,
    /// Incidents of the canary fleet that are open.
    pub open_incidents: Option<u64>,
}

/// The names of the facts that rules of qualification and calendar may speak of, as they stand under `facts:` in a pack.
pub const FACTS: [&str; 8] = [
    "soak_hours",
    "age_hours",
    "load_peak",
    "class_coverage",
    "safety_evidence",
    "error_budget_left",
    "drills_passed",
    "open_incidents",
];

/// Where a release stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "stage")]
#[non_exhaustive]
pub enum Stage {
    /// Built, and waits for the canary fleet.
    Built,
    /// Its change runs on the canary fleet.
    OnCanary,
    /// On the whole canary fleet, watched.
    Soaking {
        /// Since when, in Unix milliseconds.
        since_unix_ms: i64,
    },
    /// May be chosen.
    Qualified {
        /// Since when, in Unix milliseconds.
        since_unix_ms: i64,
    },
    /// Its change runs in production.
    OnProduction,
    /// What production runs.
    InProduction,
    /// What production ran.
    Replaced,
    /// A newer one took its place before it was chosen.
    Superseded {
        /// In a few words.
        why: String,
    },
    /// It did not qualify in time, or became too old.
    Expired {
        /// In a few words.
        why: String,
    },
    /// It must not go on.
    Barred {
        /// In a few words.
        why: String,
    },
}

impl Stage {
    /// Whether it may still move.
    pub const fn is_live(&self) -> bool {
        matches!(
            self,
            Self::Built | Self::OnCanary | Self::Soaking { .. } | Self::Qualified { .. } | Self::OnProduction
        )
    }

    /// Whether it goes no further for no fault of its own, and may begin anew.
    pub(super) const fn had_no_luck(&self) -> bool {
        matches!(self, Self::Superseded { .. } | Self::Expired { .. })
    }

    /// The word in JSON and on the page.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Built => "built",
            Self::OnCanary => "on the canary fleet",
            Self::Soaking { .. } => "soaking",
            Self::Qualified { .. } => "qualified",
            Self::OnProduction => "on its way to production",
            Self::InProduction => "in production",
            Self::Replaced => "was in production",
            Self::Superseded { .. } => "superseded",
            Self::Expired { .. } => "expired",
            Self::Barred { .. } => "stopped",
        }
    }

    /// Why it goes no further, where it does not.
    pub fn why(&self) -> Option<&str> {
        match self {
            Self::Superseded { why } | Self::Expired { why } | Self::Barred { why } => Some(why),
            _ => None,
        }
    }
}

/// Which commits a version has: all up to one, and some picked out of later ones.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Content {
    /// Every commit up to this number.
    pub upto: u64,
    /// And these.
    pub picks: BTreeSet<u64>,
}

impl Content {
    /// Everything up to a commit.
    pub const fn upto(upto: u64) -> Self {
        Self {
            upto,
            picks: BTreeSet::new(),
        }
    }

    /// Whether a commit is in it.
    pub fn has(&self, number: u64) -> bool {
        number <= self.upto || self.picks.contains(&number)
    }

    /// Whether it has all that another one has: else going there would take something back.
    pub fn covers(&self, other: &Self) -> bool {
        self.upto >= other.upto && other.picks.iter().all(|&pick| self.has(pick))
    }
}

/// The numbers in a version's name, from left to right: `mesh-1.10.0` is newer than `mesh-1.9.2`. `None` where there is none, or
/// one that is beyond all measure.
pub(crate) fn numbers(version: &str) -> Option<Vec<u64>> {
    let parts = version
        .split(|c: char| !c.is_ascii_digit())
        .filter(|part| !part.is_empty());
    let numbers: Vec<u64> = parts.map(str::parse).collect::<Result<_, _>>().ok()?;
    (!numbers.is_empty()).then_some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_their_numbers() {
        let newer = |a: &str, b: &str| numbers(a) > numbers(b);
        assert!(newer("mesh-1.10.0", "mesh-1.9.2"));
        assert!(newer("mesh-1.9.2.1", "mesh-1.9.2"));
        assert!(newer("2026.12.1", "2026.11.30"));
        assert!(!newer("mesh-1.9.2", "mesh-1.9.2"));
        assert_eq!(numbers("latest"), None);
        assert_eq!(numbers("99999999999999999999"), None);
    }

    #[test]
    fn content_knows_what_going_there_would_take_back() {
        let fixed = Content {
            upto: 10,
            picks: BTreeSet::from([14]),
        };
        assert!(fixed.covers(&Content::upto(10)));
        assert!(Content::upto(14).covers(&fixed));
        assert!(!Content::upto(13).covers(&fixed), "13 lacks the hotfix");
        assert!(!fixed.covers(&Content::upto(11)));
    }
}
