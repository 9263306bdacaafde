//! What the driver itself has to say: signs of life, its own end, and what the permit does.

use std::future::poll_fn;
use std::sync::Arc;

use futures::future::select;
use unattended_upgrade::{Clock, Receipt};

use crate::events::Happened;
use crate::input::{ClockAnew, Input};
use crate::machine::Machine;
use crate::machine::span::span;
use crate::notice::NOTICE_SCHEMA;
use crate::{Notice, NoticeStage, Pulse, RunError, Severity};

use super::Run;
use super::own::What;

/// A clock and a date that disagree by no more about the time between two runs are those of the run before: they drift apart by less,
/// and no rule has finer times.
const SAME_CLOCK_MS: u64 = 60_000;
/// So often it is looked whether something is to be said again while nothing else is done.
pub(super) const TELL_MS: u64 = 60_000;
/// The run ends for a fault, of which its machine cannot speak any more.
pub(super) const RUN_FAILED: What = ("run.failed", Severity::Critical);
pub(super) const JOURNAL_FAILED: What = ("journal.failed", Severity::Critical);
pub(super) const METRICS_REFUSED: What = ("metrics.refused", Severity::Warning);
const CLOCK_BEHIND: What = ("clock.behind", Severity::Warning);
/// All that the driver says by itself.
const OWN: [What; 4] = [RUN_FAILED, JOURNAL_FAILED, METRICS_REFUSED, CLOCK_BEHIND];

impl Run {
    /// Tells people, and those who listen that people were told.
    pub(super) fn send(&mut self, notices: Vec<Notice>) {
        for notice in &notices {
            let notice = || Box::new(notice.clone());
            self.shared.events.tell(|| Happened::Notice { notice: notice() });
        }
        self.outbox.push(notices);
    }

    /// A turn has made everything durable that was said before it, and these ends of attempts.
    pub(super) fn tell_of_turn(&self, finished: &[Receipt]) {
        self.shared.events.flush();
        for receipt in finished {
            self.shared.events.tell(|| Happened::AttemptEnded {
                target: receipt.target.to_string(),
                from: receipt.from.to_string(),
                to: receipt.to.to_string(),
                mode: receipt.mode.to_string(),
                terminal: receipt.terminal.clone(),
                took_ms: receipt.finished_ms.saturating_sub(receipt.started_ms),
                outage_ms: receipt.outage_ms,
            });
        }
    }

    /// A sign of life, when one is due; the last says that no other comes.
    pub(super) fn pulse(&mut self, last: bool) -> Result<(), RunError> {
        let now_ms = self.world.clock.now();
        if now_ms < self.pulse_ms && !last {
            return Ok(());
        }
        let (change, every_ms) = self.with(|machine| {
            let change = &machine.setup().change;
            (change.id.clone(), change.settings.telling.pulse_ms)
        })?;
        self.pulse_ms = now_ms.saturating_add(every_ms);
        let (state, open) = self.with(|machine| machine.vital_signs())?;
        let open = open.saturating_add(self.own.len());
        // A turn may wait for news, what goes on around, a look and the journal, each as long as a call may take.
        let slack_ms = self.call_ms.saturating_mul(4);
        self.outbox.pulse(Pulse {
            schema: NOTICE_SCHEMA,
            change,
            at_unix_ms: self.world.clock.wall(),
            state: state.to_owned(),
            open,
            next_within_ms: if last {
                0
            } else {
                every_ms.saturating_mul(2).saturating_add(slack_ms)
            },
        });
        Ok(())
    }

    /// Another run has taken the change up: of what the one before said by itself nothing is known to be still so.
    pub(super) fn resolve_own(&mut self) {
        for what in OWN {
            let text = "another run has taken the change up".to_owned();
            self.tell_own(what, NoticeStage::Resolved, text);
        }
    }

    /// The change has ended, and what was said of that may have been lost with the run that ended it.
    pub(super) async fn tell_the_end_again(&mut self) -> Result<(), RunError> {
        let notices = self.with(Machine::farewell)?;
        self.send(notices);
        self.pulse(true)?;
        self.tell_the_rest().await;
        Ok(())
    }

    /// This run takes the change up.
    pub(super) fn resumed(&self, machine: &Machine) -> Input {
        Input::Resumed {
            // A run that waited for a person is taken up by starting it again.
            person_patience_ms: machine.setup().change.settings.person_patience_ms,
            clock: self.clock_anew(machine),
        }
    }

    /// A machine's clock begins anew with each start, and another machine has another one. Where it does not agree with the date about
    /// the time since the journal ended, the run goes on from there by as much as the date has moved: at once, and never backwards.
    fn clock_anew(&self, machine: &Machine) -> Option<ClockAnew> {
        let (clock, last_ms) = (&self.shared.clock, machine.now_ms());
        clock.resume(machine.ahead_ms());
        let (now_ms, unix_ms) = (clock.now(), clock.wall());
        let by_date = unix_ms.saturating_sub(machine.unix_ms(last_ms));
        let by_clock = i64::try_from(i128::from(now_ms) - i128::from(last_ms)).unwrap_or(i64::MAX);
        if by_date.abs_diff(by_clock) <= SAME_CLOCK_MS {
            return None;
        }
        let now_ms = last_ms.saturating_add_signed(by_date.max(0));
        clock.set(now_ms);
        let clock_ms = clock.outside(now_ms);
        Some(ClockAnew {
            now_ms,
            unix_ms,
            clock_ms,
        })
    }

    /// Waits until the clock stands where the journal ends, where its date is behind as much. Nothing may be done meanwhile, and people
    /// are told that and until when.
    pub(super) async fn catch_up(&mut self, now_ms: u64) {
        let clock = Arc::clone(&self.world.clock);
        let behind_ms = now_ms.saturating_sub(clock.now());
        let is_told = behind_ms > self.call_ms;
        if is_told {
            let text = format!(
                "nothing is done for {}: the clock and its date are behind what the journal has seen",
                span(behind_ms)
            );
            self.raise_own(CLOCK_BEHIND, text);
        }
        while clock.now() < now_ms {
            self.hear_of_own();
            self.tell_open(None);
            let mut look = clock.sleep_until(now_ms.min(clock.now().saturating_add(TELL_MS)));
            poll_fn(|context| {
                let _ = self.outbox.drive(context);
                look.as_mut().poll(context)
            })
            .await;
        }
        self.end_own(
            CLOCK_BEHIND,
            "the clock stands where the journal ends: the change goes on",
        );
    }

    /// What is left to be said. Nothing is done any more while it is sent.
    pub(super) async fn tell_the_rest(&mut self) {
        // What is being sent, and what waits for it.
        let until_ms = self.world.clock.now().saturating_add(self.call_ms.saturating_mul(2));
        let clock = Arc::clone(&self.world.clock);
        let rest = poll_fn(|context| self.outbox.drive(context));
        select(rest, clock.sleep_until(until_ms)).await;
    }

    /// People are told when the permit begins to withhold effects, and when it has stopped to.
    pub(super) fn watch_permit(&mut self, refused: Option<String>) -> Result<(), RunError> {
        let known = self.with(|machine| machine.is_withheld())?;
        let over = || self.world.permit.may_act() == Ok(true);
        if refused.is_some() == known || (refused.is_none() && !over()) {
            return Ok(());
        }
        self.input(&Input::Permit(refused.clone()))?;
        self.with(|machine| machine.permit(refused))
    }
}
