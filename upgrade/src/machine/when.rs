//! The time of a look.

/// When a look was asked for and answered. What it shows held at some time between the two, and nobody knows when.
///
/// So a wait has run out only where it had when the look was asked for: what was awaited may have come since, or the quiet
/// may have been broken. A wait that begins with a look begins with its answer: counted from the question, a slow
/// platform would use up the time of whatever is ordered, drained or watched next before it has begun. An outage, which
/// decides nothing, is counted at its longest: from the question of the look that shows it to the answer of the look that
/// shows its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct When {
    pub(super) asked_ms: u64,
    pub(super) answered_ms: u64,
}

impl When {
    /// The time is over for sure.
    pub(super) const fn is_past(self, deadline_ms: u64) -> bool {
        self.asked_ms >= deadline_ms
    }
}
