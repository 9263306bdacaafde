//! The transition function. `mod` has the machine and the dispatch, `words` what goes in and comes out, `tally` what is
//! counted, `when` the time of a look; `answers` what became of an order; `forward`, `backward`, `hot`, `hot_back`, `config` and `recover` have the tables.
mod answers;
mod backward;
mod config;
mod forward;
mod hot;
mod hot_back;
mod recover;
mod settle;
mod tally;
mod when;
mod words;

use std::sync::Arc;

use crate::{
    HandoverOrder, Ingress, InstanceId, Mode, Observation, Phase, Reason, SelfCheck, Serving, Step, Terminal, Timing,
    Version,
};
use recover::Recalled;
pub use recover::Remembered;
use tally::Tally;
use when::When;
pub use words::{Command, Effect, Event, Plan, Which};

/// No order waits longer than this before it is given again, its jitter included.
const LONGEST_WAIT_MS: u64 = 60_000;

/// What is known of the order of the present step.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Order {
    /// To be given (or, in a step without one, none).
    Due,
    /// Given; the answer is awaited.
    Sent,
    /// Taken by the platform; its result is awaited.
    Taken,
    /// Perhaps taken.
    Unsure,
    /// Not taken, and it will not be; the next look leads on without it.
    Skipped,
    /// Not taken: the next look leads back.
    TurnBack(Reason),
    /// Nothing can be done: the next look says how things stand, then a person is asked.
    Stuck(Reason),
}

/// One attempt at one target as a pure state machine.
///
/// Contract: after [`begin`](Self::begin), carry out each command and answer it with exactly one
/// [`next`](Self::next): a `Look` with [`Event::Observed`] or [`Event::Unseen`], an `Effect` with [`Event::Outcome`] or
/// [`Event::Withheld`]. An event that does not answer the last command is answered with another look and changes
/// nothing. After `Finish` there are no events.
///
/// Time alone decides nothing but the end of patience with a target that cannot be observed: any other deadline counts at
/// a look that does not show what the step waits for.
///
/// Two equal machines given equal events stay equal and command the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Machine {
    plan: Plan,
    timing: Arc<Timing>,
    step: Step,
    order: Order,
    /// Times the present step has been asked for again.
    tries: u8,
    /// The ordinal of keys: counts the orders, a repeated one not again.
    ordinal: u8,
    /// Times somebody else undid our order on ingress or version.
    contested: u8,
    /// Times an order was given again that an agent had taken and let go of.
    asked_again: u8,
    /// Consecutive good looks at `instance`.
    good_looks: u8,
    instance: Option<InstanceId>,
    /// The whole budget of the present step: less than the table's where it was begun before a recovery.
    allowance_ms: u64,
    deadline_ms: u64,
    /// The hard end of the drain; set at the first closing and never moved.
    drain_until_ms: Option<u64>,
    /// Since when it is quiet; in [`Step::Returning`] and [`Step::Retiring`], when the order was taken.
    quiet_since_ms: u64,
    /// A replacement was, or may have been, taken.
    touched: bool,
    /// A closing was, or may have been, taken.
    closed: bool,
    /// The new version has been seen at the target.
    seen_new: bool,
    /// A retirement of the old instance was, or may have been, taken.
    retiring: bool,
    /// The old version was ordered a second time.
    restored_again: bool,
    was_healthy: bool,
    went_back: Option<Reason>,
    /// Somebody wants it to turn back; heeded at the next look from which there is a way back.
    wanted_back: Option<Reason>,
    /// The step that was under way when the controller fell, and what was left of its budget.
    resumed: Option<(Step, u64)>,
    /// Since when the two instances have lost each other.
    session_lost_ms: Option<u64>,
    /// Until the first look after a restart of the controller.
    recalled: Option<Recalled>,
    tally: Tally,
}

impl Machine {
    /// A new attempt. Its first command is [`begin`](Self::begin)'s.
    pub fn new(plan: Plan, timing: Arc<Timing>) -> Self {
        Self {
            plan,
            timing,
            step: Step::Planned,
            order: Order::Due,
            tries: 0,
            ordinal: 0,
            contested: 0,
            asked_again: 0,
            good_looks: 0,
            instance: None,
            allowance_ms: 0,
            deadline_ms: 0,
            drain_until_ms: None,
            quiet_since_ms: 0,
            touched: false,
            closed: false,
            seen_new: false,
            retiring: false,
            restored_again: false,
            was_healthy: false,
            went_back: None,
            wanted_back: None,
            resumed: None,
            session_lost_ms: None,
            recalled: None,
            tally: Tally::default(),
        }
    }

    /// The first command, before any event.
    pub fn begin(&mut self, now_ms: u64) -> Command {
        if self.step == Step::Recovering {
            if self.plan.fence {
                return self.command(Effect::Fence, now_ms);
            }
            self.order = Order::Taken;
        } else {
            self.deadline_ms = now_ms.saturating_add(self.timing.preflight_ms);
        }
        Command::Look { at_ms: now_ms }
    }

    /// Takes one event and says what to do next.
    pub fn next(&mut self, event: Event<'_>) -> Command {
        match event {
            Event::Observed { asked_ms, now_ms, seen } => {
                if self.order == Order::Sent {
                    return look_after(now_ms);
                }
                let when = When {
                    asked_ms: asked_ms.min(now_ms),
                    answered_ms: now_ms,
                };
                self.count_outage(when, seen);
                self.observed(when, seen)
            }
            Event::Unseen { now_ms, since_ms } => {
                let blind_ms = now_ms.saturating_sub(since_ms);
                if self.order == Order::Sent || blind_ms < self.timing.blind_ms {
                    return look_after(now_ms);
                }
                Command::Finish(Terminal::NeedsPerson {
                    reason: Reason::Unobservable { blind_ms },
                    serving: Serving::Unknown,
                    ingress: Ingress::Unknown,
                })
            }
            Event::Outcome { now_ms, outcome } => {
                if self.order != Order::Sent {
                    return look_after(now_ms);
                }
                self.answered(now_ms, outcome)
            }
            Event::Withheld { now_ms } => {
                if self.order == Order::Sent {
                    self.order = Order::Due;
                }
                look_after(now_ms)
            }
        }
    }

    /// Asks it to turn back, for an operator's abort or a newer change. It does so at its next look, or ends at once where
    /// nothing is touched; on the way back already, and past the last step from which there is a way back
    /// ([`Step::Committing`]), it goes on to its end. The first wish counts.
    pub fn turn_back(&mut self, reason: Reason) {
        self.wanted_back.get_or_insert(reason);
    }

    /// Somebody wants it back, and it has not looked since.
    pub(crate) const fn is_wanted_back(&self) -> bool {
        self.wanted_back.is_some()
    }

    /// Nothing was ordered that disturbs the target, as far as answers and intents tell, and nobody wants it back.
    pub(crate) const fn is_untouched(&self) -> bool {
        let ordered = self.touched || self.closed || self.retiring;
        !ordered && self.went_back.is_none() && self.wanted_back.is_none()
    }

    const fn has_way_back(&self) -> bool {
        self.went_back.is_none() && !self.retiring
    }

    fn heed_wish(&mut self, now: When, seen: &Observation) -> Option<Command> {
        let reason = self.wanted_back.take().filter(|_| self.has_way_back())?;
        Some(self.go_back(reason, now, seen))
    }

    /// Where it stands.
    pub const fn step(&self) -> Step {
        self.step
    }

    /// Why it is on the way back; `None` on the way forward. Once given it stays.
    pub const fn went_back(&self) -> Option<&Reason> {
        self.went_back.as_ref()
    }

    /// The old instance was verified before anything was touched.
    pub const fn was_healthy(&self) -> bool {
        self.was_healthy
    }

    /// What it is about.
    pub const fn plan(&self) -> &Plan {
        &self.plan
    }

    fn observed(&mut self, now: When, seen: &Observation) -> Command {
        if seen.phase == Phase::Gone {
            return Command::Finish(Terminal::Gone);
        }
        if self.is_foreign(seen) && self.step != Step::Planned {
            // Nobody fights over a target. One that we left without traffic is not left to the other in silence.
            let closed = self.closed && seen.ingress != Ingress::Open;
            let deserted = self.plan.mode == Mode::Hot && self.serving(seen) == Serving::No;
            return if closed || deserted {
                self.ask_person(Reason::ForeignVersion, seen)
            } else {
                Command::Finish(Terminal::Superseded)
            };
        }
        match std::mem::replace(&mut self.order, Order::Due) {
            Order::Stuck(reason) => return self.ask_person(reason, seen),
            Order::TurnBack(reason) => return self.go_back(reason, now, seen),
            order => self.order = order,
        }
        // Not before the fence stands: an order of the controller before may still be under way.
        if self.step != Step::Recovering
            && let Some(command) = self.heed_wish(now, seen)
        {
            return command;
        }
        if self.plan.mode == Mode::Hot {
            return self.hot_observed(now, seen);
        }
        match self.step {
            Step::Planned if self.plan.mode == Mode::Config => self.at_config_planned(now, seen),
            Step::Planned => self.at_planned(now, seen),
            Step::Prefetching => self.at_prefetching(now, seen),
            Step::Closing | Step::Reclosing => self.at_closing(now, seen),
            Step::Draining | Step::Redraining => self.at_draining(now, seen),
            Step::Replacing => self.at_replacing(now, seen),
            Step::Verifying => self.at_verifying(now, seen),
            Step::Opening => self.at_opening(now, seen),
            Step::Probation => self.at_probation(now, seen),
            Step::Restoring => self.at_restoring(now, seen),
            Step::VerifyingOld => self.at_verifying_old(now, seen),
            Step::Reopening => self.at_reopening(now, seen),
            Step::Recovering => self.at_recovering(now, seen),
            Step::Pushing => self.at_pushing(now, seen),
            Step::Reverting => self.at_reverting(now, seen),
            // Unreachable: those are the steps of hot, which was led off above.
            step => self.ask_person(Reason::Unsupported { step }, seen),
        }
    }

    /// An order whose fate is unknown, seen not (yet) carried out: the same key again, so often.
    fn redo(&mut self, now: When, seen: &Observation) -> Command {
        if self.out_of_tries() {
            let step = self.step;
            return self.not_taken_seen(Reason::NotTaken { step }, now, seen);
        }
        self.give_order(now)
    }

    fn enter(&mut self, step: Step, now: When) {
        self.step = step;
        self.ordinal = self.ordinal.saturating_add(1);
        self.order = Order::Due;
        self.tries = 0;
        self.good_looks = 0;
        self.instance = None;
        self.allowance_ms = match self.resumed.take_if(|(resumed, _)| *resumed == step) {
            // Half of it at the least: the order is given anew, and nobody knows how long the controller was away.
            Some((_, left_ms)) => left_ms.clamp(self.budget_ms() / 2, self.budget_ms()),
            _ => self.budget_ms(),
        };
        self.deadline_ms = now.answered_ms.saturating_add(self.allowance_ms);
    }

    /// As [`give_order`](Self::give_order), as a new order: the last one was taken and does not show.
    fn give_order_anew(&mut self, now: When) -> Command {
        self.ordinal = self.ordinal.saturating_add(1);
        self.give_order(now)
    }

    /// Commands the effect of the present step.
    fn give_order(&mut self, now: When) -> Command {
        let close = Effect::Close {
            reopen_by_ms: now.answered_ms.saturating_add(self.timing.reopen_after_ms()),
        };
        let replace = |which| match self.plan.mode {
            Mode::Warm => Effect::ReplaceInPlace(which),
            Mode::Hot => Effect::Spawn(which),
            Mode::Config => Effect::ApplyConfig(which),
            Mode::Cold => Effect::Replace(which),
        };
        let effect = match self.step {
            Step::Recovering => Effect::Fence,
            Step::Prefetching => Effect::Prefetch,
            Step::Closing | Step::Reclosing => close,
            Step::Replacing | Step::Spawning | Step::Pushing => replace(Which::New),
            Step::Restoring | Step::Reverting => replace(Which::Old),
            Step::Offering => Effect::HandOver(HandoverOrder::Offer),
            Step::Joining => Effect::HandOver(HandoverOrder::Accept),
            Step::Quiescing => Effect::HandOver(HandoverOrder::Quiesce),
            Step::Migrating => Effect::HandOver(HandoverOrder::Migrate),
            Step::Committing => Effect::HandOver(HandoverOrder::Commit),
            Step::Retiring => Effect::HandOver(HandoverOrder::Retire),
            Step::Returning => Effect::HandOver(HandoverOrder::Return),
            Step::Resetting => Effect::Reset(Which::Old),
            Step::Clearing => Effect::Reset(Which::New),
            Step::Stopping => match self.instance {
                Some(instance) => Effect::Stop(instance),
                None => return look_after(now.answered_ms),
            },
            Step::Opening | Step::Reopening => Effect::Open,
            Step::Planned
            | Step::Draining
            | Step::Redraining
            | Step::Verifying
            | Step::VerifyingOld
            | Step::Proving
            | Step::Probation => return look_after(now.answered_ms),
        };
        self.command(effect, now.answered_ms)
    }

    fn command(&mut self, effect: Effect, now: u64) -> Command {
        if self.ordinal == u8::MAX {
            // Where ordinals have come to their end the next order would have the key of one before.
            self.order = Order::Stuck(Reason::TooManyOrders { step: self.step });
            return Command::Look { at_ms: now };
        }
        self.order = Order::Sent;
        Command::Effect {
            effect,
            step: self.step,
            ordinal: self.ordinal,
            left_ms: self.deadline_ms.saturating_sub(now),
        }
    }

    fn budget_ms(&self) -> u64 {
        self.timing.budget_ms(self.step, self.plan.mode)
    }

    fn probation_ms(&self) -> u64 {
        self.timing.probation_ms(self.plan.mode)
    }

    fn out_of_tries(&mut self) -> bool {
        let retries = &mut self.tally.counts.retries;
        *retries = retries.saturating_add(1);
        self.tries = self.tries.saturating_add(1);
        self.tries > self.timing.max_tries
    }

    /// How long to wait before asking again. It doubles with each try, and is at least what the platform wants; plus up to as
    /// much again, so that many that are put off together do not return together. A minute at most, or so much, of which the
    /// last quarter at the least is for the jitter: whoever has to wait the longest would all return at one time without.
    fn wait_ms(&self, wanted_ms: u64, most_ms: u64) -> u64 {
        let most = most_ms.min(LONGEST_WAIT_MS);
        let doubled = self
            .timing
            .backoff_ms
            .saturating_mul(1 << u32::from(self.tries.clamp(1, 16) - 1));
        let least = doubled.max(wanted_ms).clamp(1, (most - most / 4).max(1));
        let mixed = mix(self.plan.salt ^ u64::from(self.tries) << 8 ^ u64::from(self.step.number()));
        least + mixed % least.min(most.saturating_sub(least)).max(1)
    }

    fn is_foreign(&self, seen: &Observation) -> bool {
        let foreign = |version: &Version| *version != self.plan.to && *version != self.plan.from;
        match (&seen.pair, self.plan.mode) {
            (Some(pair), Mode::Hot) => pair.slots.iter().filter_map(|slot| slot.version.as_ref()).any(foreign),
            _ => self.version(seen).is_some_and(foreign),
        }
    }

    /// What is at work, as far as the mode is concerned.
    fn version<'a>(&self, seen: &'a Observation) -> Option<&'a Version> {
        match self.plan.mode {
            Mode::Config => seen.config.as_ref()?.acknowledged.as_ref(),
            _ => seen.version.as_ref(),
        }
    }

    fn runs_new(&self, seen: &Observation) -> bool {
        self.version(seen) == Some(&self.plan.to)
    }

    fn runs_old(&self, seen: &Observation) -> bool {
        self.version(seen) == Some(&self.plan.from)
    }

    /// Counts a look at what should be a verified instance.
    fn count_look(&mut self, good: bool, seen: &Observation) -> bool {
        self.count_good(good, seen.instance)
    }

    fn count_good(&mut self, good: bool, instance: Option<InstanceId>) -> bool {
        if !good {
            self.good_looks = 0;
            self.instance = None;
        } else if self.good_looks > 0 && self.instance == instance {
            self.good_looks = self.good_looks.saturating_add(1);
        } else {
            self.good_looks = 1;
            self.instance = instance;
        }
        self.good_looks >= self.timing.good_looks
    }

    fn serving(&self, seen: &Observation) -> Serving {
        if let (Mode::Hot, Some(pair)) = (self.plan.mode, &seen.pair) {
            let serves = pair
                .slots
                .iter()
                .any(|slot| slot.phase == Phase::Running && slot.ready && slot.accepting);
            return if serves && seen.ingress != Ingress::Closed {
                Serving::Yes
            } else {
                Serving::No
            };
        }
        if seen.phase != Phase::Running || !seen.ready {
            return Serving::No;
        }
        match (seen.ingress, self.plan.mode) {
            (Ingress::Closed, _) => Serving::No,
            (Ingress::Unknown, Mode::Warm) => Serving::Unknown,
            (Ingress::Open, _) | (Ingress::Unknown, _) => Serving::Yes,
        }
    }

    fn ask_person(&self, reason: Reason, seen: &Observation) -> Command {
        Command::Finish(Terminal::NeedsPerson {
            reason,
            serving: self.serving(seen),
            ingress: seen.ingress,
        })
    }
}

/// Runs, is ready, and says so itself. Anything untold is not good.
fn is_good(seen: &Observation) -> bool {
    seen.phase == Phase::Running && seen.ready && seen.instance.is_some() && seen.self_check == SelfCheck::Passed
}

/// The proof, if there is one, that the running version is bad.
fn proof_against(seen: &Observation) -> Option<Reason> {
    proof(&seen.self_check, seen.phase)
}

fn proof(self_check: &SelfCheck, phase: Phase) -> Option<Reason> {
    match (self_check, phase) {
        (SelfCheck::Failed { check }, _) => Some(Reason::SelfCheckFailed {
            check: Arc::clone(check),
        }),
        (_, Phase::Crashing) => Some(Reason::Crashed),
        _ => None,
    }
}

/// The next look a driver has.
const fn look_after(now: u64) -> Command {
    Command::Look {
        at_ms: now.saturating_add(1),
    }
}

/// The finalizer of splitmix64.
const fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod late_looks;
#[cfg(test)]
mod tests;
