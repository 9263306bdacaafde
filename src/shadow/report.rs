use serde::Serialize;

use super::back::Turn;
use super::{Ending, Shadow};
use crate::DecisionView;

/// What was seen beside a change.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ShadowReport {
    /// What the autopilot would have stopped it for, and when; `None`: it would not have.
    pub stop: Option<End>,
    /// When the other tool took it back, if it did: the first of orders back with no start after them that took the new version from
    /// most of the targets which had it. Who falls back to the new version meanwhile is no start.
    pub back: Option<End>,
    /// When the record ends, and how the change did; `None` where the record breaks off.
    pub ended: Option<Ending>,
    /// See [`ended`](Self::ended), in milliseconds since the change began.
    pub ended_ms: u64,
    /// Intervals of metrics that had counts or samples. Where it is 0 nothing is known about the release, neither good nor bad.
    pub measured: u64,
    /// Targets that the other tool started, each once.
    pub starts: u64,
    /// Of these, the autopilot would have let start at that moment, with batches that it may have drawn.
    pub agreed: u64,
    /// Where the two differ, in the order in which that began.
    pub disagreements: Vec<Disagreement>,
    /// What it would have decided about the growth of classes, and the checks that blocked.
    pub decisions: Vec<DecisionView>,
    /// What would have been saved.
    pub saved: Saved,
    /// The most targets that the other tool had exposed at once.
    pub most_exposed: u64,
    /// Targets exposed over time: a point for each change of the number.
    pub exposure: Vec<(u64, u64)>,
}

/// The end of a way forward.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct End {
    /// A code: `stop.evidence`, `stop.gate`, or `rollback` of the other tool.
    pub what: String,
    /// When, in milliseconds since the change began.
    pub at_ms: u64,
    /// Targets that ran, or may have run, the new version.
    pub exposed: u64,
    /// Why.
    pub why: String,
}

/// What a disagreement is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Topic {
    /// Started after the autopilot would have stopped the change.
    Stopped,
    /// Started though rules hold the application.
    Rules,
    /// Started though a class would be larger than the evidence of its safety allows.
    Evidence,
    /// Started while a check blocks.
    Blocked,
    /// Nothing was started though nothing spoke against it.
    Waits,
    /// Taken back without evidence.
    Back,
}

impl Topic {
    pub(super) const OF_STARTS: [Self; 4] = [Self::Stopped, Self::Rules, Self::Evidence, Self::Blocked];
}

/// A span in which the two differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Disagreement {
    /// About what.
    pub topic: Topic,
    /// From when, in milliseconds since the change began.
    pub from_ms: u64,
    /// Until when.
    pub until_ms: u64,
    /// Targets that the other tool started meanwhile, and the autopilot would not have.
    pub starts: u64,
    /// Why, as it was at its beginning.
    pub why: String,
}

/// What the autopilot would have saved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Saved {
    /// Targets that the other tool exposed beyond those at our stop.
    pub exposed: u64,
    /// Targets times hours on the new version after our stop.
    pub target_hours: f64,
    /// Hours by which our stop came before the other tool's way back, or its end.
    pub hours_to_stop: f64,
    /// Hours in which the other tool waited for nothing, as far as a record tells: after its first start, with nothing under way in the lanes that may
    /// go, and these well behind what the evidence lets them have.
    pub hours_of_waiting: f64,
}

impl Shadow {
    /// What was seen so far.
    #[must_use]
    pub fn report(&self) -> ShadowReport {
        let ended_ms = self.theirs.ended.map_or(self.last_ms, |(at_ms, _)| at_ms);
        let stopped_ms = self.stop.as_ref().map(|stop| stop.at_ms);
        let turn = self.theirs.way_back();
        let left_ms = turn.map_or(ended_ms, |turn| turn.from.at_ms);
        let saved = Saved {
            exposed: self
                .stop
                .as_ref()
                .map_or(0, |stop| self.theirs.most.saturating_sub(stop.exposed)),
            target_hours: hours(self.saved_target_ms),
            hours_to_stop: stopped_ms.map_or(0.0, |stopped| hours(left_ms.saturating_sub(stopped))),
            hours_of_waiting: hours(self.idle_ms),
        };
        ShadowReport {
            stop: self.stop.clone(),
            back: turn.map(|turn| turn.from.clone()),
            ended: self.theirs.ended.map(|(_, how)| how),
            ended_ms,
            measured: self.measured,
            starts: self.starts,
            agreed: self.agreed,
            disagreements: self.disagreements(turn),
            decisions: self.machine.summary().decisions,
            saved,
            most_exposed: self.theirs.most,
            exposure: self.exposure.clone(),
        }
    }

    /// What was found, and the way back where there was no reason for it.
    fn disagreements(&self, turn: Option<&Turn>) -> Vec<Disagreement> {
        let mut found = self.found.clone();
        if let Some(turn) = turn
            && let Some(why) = &turn.objection
        {
            let back = Disagreement {
                topic: Topic::Back,
                from_ms: turn.from.at_ms,
                until_ms: turn.from.at_ms,
                starts: 0,
                why: why.clone(),
            };
            // Nothing was found during it but what was withdrawn.
            found.insert(turn.found.min(found.len()), back);
        }
        found
    }
}

#[expect(clippy::cast_precision_loss, reason = "a time to be shown")]
fn hours(ms: u64) -> f64 {
    ms as f64 / 3_600_000.0
}
