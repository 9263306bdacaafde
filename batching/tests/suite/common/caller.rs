//! What a caller does between starts.

use unattended_batching::{AppIndex, Event, Frontier, Noted};

/// Promotes every lane that has nothing left in its open batches.
pub(crate) fn promote(live: &mut Frontier) -> bool {
    let ready: Vec<AppIndex> = live
        .lanes()
        .filter(|lane| lane.waiting_in_open == 0 && lane.in_flight == 0 && lane.next_batch.is_some())
        .map(|lane| lane.app)
        .collect();
    for &app in &ready {
        assert_eq!(live.on(Event::Promoted { app, at: 0 }), Noted::Applied);
    }
    !ready.is_empty()
}
