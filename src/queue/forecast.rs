//! When each change can begin and end at the earliest: the queue played through, each change taking the least that its plan takes.

use std::collections::BTreeMap;

use super::{Input, Queue, State};
use crate::Outcome;

/// When it can begin and end.
type Times = (Option<i64>, Option<i64>);

impl Queue {
    /// By number. What hangs on a person has no time.
    pub(super) fn forecast(&self, now_ms: i64) -> BTreeMap<u64, Times> {
        let mut play = self.clone();
        // Nobody knows which try succeeds: the next moment is the earliest.
        play.entries.values_mut().for_each(|entry| entry.late = None);
        let mut times: BTreeMap<u64, Times> = BTreeMap::new();
        for (&number, entry) in &self.entries {
            let ends = |began: i64| began.saturating_add_unsigned(entry.ticket.least_ms).max(now_ms);
            let known = match entry.state {
                State::Waiting => (None, None),
                State::UnderWay { .. } => (Some(entry.began_ms), Some(ends(entry.began_ms))),
                // What is left of it nobody can say; it is as if it had all before it.
                State::Stopped { .. } => (Some(entry.began_ms), None),
            };
            times.insert(number, known);
        }
        let mut at_ms = now_ms;
        loop {
            let free: Vec<String> = play.may_begin(at_ms).into_iter().map(ToOwned::to_owned).collect();
            for change in free {
                let (Some(number), Some(least_ms)) = (
                    play.number(&change),
                    play.entry(&change).map(|entry| entry.ticket.least_ms),
                ) else {
                    continue;
                };
                if play.apply(at_ms, &Input::Began { change }).is_err() {
                    continue;
                }
                let slot = times.entry(number).or_default();
                *slot = (slot.0.or(Some(at_ms)), Some(at_ms.saturating_add_unsigned(least_ms)));
            }
            let under_way = play.entries.iter().filter(|(_, entry)| entry.is_under_way());
            let ends = under_way.map(|(number, entry)| {
                let (_, end) = times.get(number).copied().unwrap_or_default();
                (end.unwrap_or(at_ms).max(at_ms), entry.ticket.change.clone())
            });
            let Some((end_ms, change)) = ends.min() else { break };
            at_ms = end_ms;
            let ended = Input::Ended {
                change,
                outcome: Outcome::Completed,
            };
            if play.apply(at_ms, &ended).is_err() {
                break;
            }
        }
        times
    }
}
