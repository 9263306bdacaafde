//! What the exploration needs to tell machines apart by what they will do alone.
use super::{Machine, Order, Tally};
use crate::{InstanceId, Reason, Step};

impl Machine {
    pub(crate) const fn ordinal(&self) -> u8 {
        self.ordinal
    }

    /// Gives other names to what has no meaning but its order (ordinals) or its identity (instances).
    pub(crate) fn rename(&mut self, ordinal: u8, name: impl Fn(u64) -> u64) {
        self.ordinal = ordinal;
        self.instance = self.instance.map(|instance| InstanceId(name(instance.0)));
    }

    /// Sets the times back as if whatever has not run out had just begun, and forgets what decides nothing. From here
    /// everything may happen that may happen to a machine that has waited less, so nothing is lost to a search.
    pub(crate) fn settle(&mut self, now_ms: u64) {
        // The clock of a search stands at this between events.
        const NOW_MS: u64 = 10_000;
        let budget = self.budget_ms();
        let until = |at: u64| NOW_MS + if at > now_ms { budget.max(1) } else { 0 };
        let quiet_ms = self.probation_ms().max(self.timing.session_ms);
        let since = |at: u64| {
            NOW_MS
                - if now_ms.saturating_sub(at) >= quiet_ms {
                    quiet_ms
                } else {
                    0
                }
        };
        self.deadline_ms = until(self.deadline_ms);
        self.drain_until_ms = self.drain_until_ms.map(until);
        let counts = matches!(self.step, Step::Probation | Step::Returning | Step::Retiring);
        self.quiet_since_ms = if counts { since(self.quiet_since_ms) } else { 0 };
        self.session_lost_ms = self.session_lost_ms.map(since);
        self.allowance_ms = budget;
        self.resumed = None;
        self.tally = Tally::default();
        // Which reason it is goes into the receipt and decides nothing.
        let any = |reason: &mut Reason| *reason = Reason::Crashed;
        self.went_back.iter_mut().chain(&mut self.wanted_back).for_each(any);
        if let Order::TurnBack(reason) | Order::Stuck(reason) = &mut self.order {
            any(reason);
        }
        if !self.has_way_back() {
            self.wanted_back = None;
        }
    }
}
