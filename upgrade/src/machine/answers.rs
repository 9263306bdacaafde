//! What the platform answered to an order, and what that makes of the step.
use std::sync::Arc;

use super::{Command, LONGEST_WAIT_MS, Machine, Order, When, look_after};
use crate::{EffectOutcome, Mode, Observation, Reason, Step, Terminal};

impl Machine {
    pub(super) fn answered(&mut self, now: u64, outcome: &EffectOutcome) -> Command {
        let step = self.step;
        match outcome {
            EffectOutcome::Stale => Command::Finish(Terminal::Superseded),
            EffectOutcome::Applied | EffectOutcome::AlreadyApplied => {
                self.taken(now, Order::Taken);
                if step == Step::Recovering {
                    return Command::Look { at_ms: now };
                }
                look_after(now)
            }
            EffectOutcome::Unknown { .. } => {
                self.taken(now, Order::Unsure);
                look_after(now)
            }
            EffectOutcome::Retry { after_ms } => {
                self.put_off(now);
                if self.out_of_tries() || now >= self.deadline_ms {
                    return self.not_taken(now, Reason::NotTaken { step });
                }
                self.order = Order::Due;
                // However long the platform would have it wait: others may wait for this target, with its way closed.
                let most_ms = self.deadline_ms - now;
                Command::Look {
                    at_ms: now.saturating_add(self.wait_ms(*after_ms, most_ms)),
                }
            }
            EffectOutcome::Failed { reason } => self.not_taken(
                now,
                Reason::Refused {
                    step,
                    reason: Arc::clone(reason),
                },
            ),
            EffectOutcome::Unsupported if step == Step::Prefetching => {
                self.order = Order::Skipped;
                look_after(now)
            }
            EffectOutcome::Unsupported => self.not_taken(now, Reason::Unsupported { step }),
        }
    }

    /// The step's budget begins when its order is first put off, and is not begun anew with each time.
    fn put_off(&mut self, now: u64) {
        if self.tries > 0 {
            return;
        }
        let budget_ms = match self.step {
            Step::Recovering => self.budget_ms(),
            _ => self.allowance_ms,
        };
        // One look later at the least, so that what has next to nothing left is asked for again all the same.
        self.deadline_ms = now.saturating_add(budget_ms.max(1));
    }

    /// The order was, or may have been, taken: what must be remembered of that.
    fn taken(&mut self, now: u64, order: Order) {
        // A redone order keeps the deadline of the first: asking anew must not stretch it.
        if self.tries == 0 || order == Order::Taken {
            self.deadline_ms = now.saturating_add(self.allowance_ms);
        }
        match self.step {
            Step::Closing | Step::Reclosing => {
                self.closed = true;
                self.out(now);
            }
            Step::Replacing | Step::Restoring => {
                self.touched = true;
                if self.plan.mode != Mode::Hot {
                    self.out(now);
                }
            }
            Step::Spawning | Step::Pushing => self.touched = true,
            Step::Returning => self.quiet_since_ms = now,
            Step::Retiring => (self.retiring, self.quiet_since_ms) = (true, now),
            Step::Stopping | Step::Resetting => self.retiring = true,
            _ => {}
        }
        self.order = order;
    }

    /// The order was not taken and asking again is over.
    fn not_taken(&mut self, now: u64, reason: Reason) -> Command {
        let step = self.step;
        self.order = match step {
            Step::Prefetching => return Command::Finish(Terminal::Rejected { reason }),
            Step::Closing
            | Step::Replacing
            | Step::Spawning
            | Step::Offering
            | Step::Joining
            | Step::Quiescing
            | Step::Migrating
            | Step::Committing
            | Step::Pushing => Order::TurnBack(reason),
            Step::Reclosing | Step::Retiring | Step::Stopping => Order::Skipped,
            Step::Opening | Step::Reopening => {
                // A way that was closed is asked to open as long as that is allowed.
                let refused = matches!(reason, Reason::Refused { .. });
                if refused && !self.out_of_tries() {
                    self.ordinal = self.ordinal.saturating_add(1);
                    self.order = Order::Due;
                    return Command::Look {
                        at_ms: now.saturating_add(self.wait_ms(0, LONGEST_WAIT_MS)),
                    };
                }
                Order::Stuck(reason)
            }
            _ => Order::Stuck(reason),
        };
        Command::Look { at_ms: now }
    }

    /// As [`not_taken`](Self::not_taken), decided at a look.
    pub(super) fn not_taken_seen(&mut self, reason: Reason, now: When, seen: &Observation) -> Command {
        match self.not_taken(now.answered_ms, reason) {
            Command::Look { .. } if self.order != Order::Due => self.observed(now, seen),
            command => command,
        }
    }
}
