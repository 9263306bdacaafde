//! Errors between two instances of which one is new.

use serde::{Deserialize, Serialize};

use crate::{Arm, Counts};

/// Which version an end of a call runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(
    clippy::exhaustive_enums,
    reason = "an end is new, old, or not part of the comparison"
)]
pub enum Side {
    /// The version that the change brings.
    New,
    /// The version it replaces, in the control cohort.
    Old,
    /// Anything else: another component, another version, an old one outside of the control cohort.
    Other,
}

/// Who called whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "an edge has two ends")]
pub struct Edge {
    /// Who sent the request.
    pub caller: Side,
    /// Who answered, or should have.
    pub callee: Side,
}

impl Edge {
    /// The arm that the edge's requests count for: canary as soon as one end is new, since a new instance can break the
    /// other end and be fine itself; control when neither is new and one is of the control cohort; else none.
    #[must_use]
    pub const fn arm(self) -> Option<Arm> {
        match (self.caller, self.callee) {
            (Side::New, _) | (_, Side::New) => Some(Arm::Canary),
            (Side::Old, _) | (_, Side::Old) => Some(Arm::Control),
            (Side::Other, Side::Other) => None,
        }
    }
}

/// Which end of an edge counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "an edge has two ends")]
pub enum End {
    /// The caller's own counters.
    Caller,
    /// The callee's.
    Callee,
}

/// What one end counted on an edge during an interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "written literally by every metric source")]
pub struct EdgeReport {
    /// Between which versions.
    pub edge: Edge,
    /// Who counted.
    pub by: End,
    /// Episodes and original requests.
    pub counts: Counts,
}

/// Adds up what both ends of edges report, for one stratum, metric and interval.
///
/// Both ends see most errors, and some are seen by one alone: a refused connection only by the caller. So per edge the
/// larger of both counts is taken, never their sum: no error counts twice, and an end that keeps silent hides nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EdgeTally {
    /// Caller side × callee side, with what the caller and what the callee reported.
    seen: [[[Counts; 2]; 3]; 3],
}

impl EdgeTally {
    /// Adds a report.
    pub const fn add(&mut self, report: EdgeReport) {
        let Edge { caller, callee } = report.edge;
        self.seen[caller as usize][callee as usize][report.by as usize].add(report.counts);
    }

    /// Canary and control, as a [`Row`](crate::Row) takes them.
    #[must_use]
    pub fn arms(&self) -> (Counts, Counts) {
        const SIDES: [Side; 3] = [Side::New, Side::Old, Side::Other];
        let (mut canary, mut control) = (Counts::default(), Counts::default());
        for caller in SIDES {
            for callee in SIDES {
                let [one, other] = self.seen[caller as usize][callee as usize];
                let larger = Counts::new(one.bad.max(other.bad), one.total.max(other.total));
                match (Edge { caller, callee }).arm() {
                    Some(Arm::Canary) => canary.add(larger),
                    Some(Arm::Control) => control.add(larger),
                    None => {}
                }
            }
        }
        (canary, control)
    }
}
