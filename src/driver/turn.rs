//! One turn of the upgrade driver, and what becomes of the run while the journal cannot be written.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;

use futures::future::select;
use unattended_upgrade::{DriverError, JournalError, TargetId, Turn};

use crate::RunError;

use super::Run;
use super::telling::{JOURNAL_FAILED, TELL_MS};
use crate::permit::refusal;

impl Run {
    /// One turn of the driver, behind the inputs so far.
    ///
    /// While the journal refuses or is silent nothing follows from them, and nothing else is done: the driver has them, and each turn of
    /// it appends the same ones, or waits for the same append. People are told.
    pub(super) async fn turn(&mut self) -> Result<(), RunError> {
        self.kept_back = 0;
        self.driver.attach(&self.group);
        self.group.clear();
        loop {
            match self.try_turn(self.was_away).await {
                Err(DriverError::Journal(error)) if may_come_back(&error) => {
                    self.was_away = true;
                    self.tell_of_journal(Some(&error));
                    self.rest().await;
                }
                Err(DriverError::OtherWriter { expected, found }) => {
                    return Err(RunError::OtherController { expected, found });
                }
                Err(error) => return Err(error.into()),
                Ok((turn, refused)) => {
                    if self.was_away {
                        self.call_off_untouched()?;
                    }
                    self.tell_of_journal(None);
                    return self.take(turn, refused);
                }
            }
        }
    }

    /// What was decided before the journal was away, and has disturbed nothing, may be so no more. It is called off, and decided anew behind
    /// the words and the rules of now.
    fn call_off_untouched(&mut self) -> Result<(), RunError> {
        let untouched: Vec<TargetId> = self.driver.untouched().cloned().collect();
        for target in untouched {
            if self.with(|machine| machine.may_be_called_off(target.as_str()))? {
                self.driver.cancel(&target, "decided before the journal was away");
            }
        }
        Ok(())
    }

    /// The turn, and why the permit let something not be sent; one that only writes sends nothing.
    async fn try_turn(&mut self, only_writes: bool) -> Result<(Turn, Option<String>), DriverError> {
        let shared = Arc::clone(&self.shared);
        let permit = Arc::clone(&self.world.permit);
        let mut refused = None;
        let mut may_act = |_: &unattended_upgrade::EffectKey| {
            if only_writes || shared.frozen.load(Ordering::Acquire) {
                return false;
            }
            refused = refusal(permit.as_ref());
            refused.is_none()
        };
        let turn = self.driver.turn(&mut may_act).await?;
        Ok((turn, refused))
    }

    fn take(&mut self, turn: Turn, refused: Option<String>) -> Result<(), RunError> {
        self.tell_of_turn(&turn.finished);
        self.watch_permit(refused)?;
        self.shared.blind.store(turn.blind, Ordering::Relaxed);
        self.received |= !turn.finished.is_empty();
        self.with(|machine| turn.finished.iter().for_each(|receipt| machine.receipt(receipt)))
    }

    /// Waits until the driver may try the journal again, and says again what is due meanwhile. No sign of life is given: whoever waits for
    /// one is to hear of it as well.
    async fn rest(&mut self) {
        self.hear_of_own();
        self.tell_open(None);
        let heard = self.own.heard();
        let until_ms = self.world.clock.now().saturating_add(TELL_MS);
        let (outbox, metrics, heals) = (&mut self.outbox, &mut self.metrics, &mut self.heals);
        let shared = &self.shared;
        let beside = poll_fn(|context| {
            let _ = outbox.drive(context);
            metrics.drive(context);
            heals.drive(context);
            shared.waker.register(context.waker());
            if shared.orders.lock().len() > heard {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        });
        select(beside, self.driver.attend(Some(until_ms))).await;
    }

    /// People are told as long as the journal keeps the change from going on, and when it has stopped to.
    fn tell_of_journal(&mut self, failed: Option<&JournalError>) {
        if self.shared.unwritten.swap(failed.is_some(), Ordering::AcqRel) == failed.is_some() {
            return;
        }
        match failed {
            Some(error) => {
                let text = format!(
                    "nothing is done while the journal cannot be written, and it is tried again: {error}. Where it works and this \
                     stays, start the run anew"
                );
                self.raise_own(JOURNAL_FAILED, text);
            }
            None => self.end_own(JOURNAL_FAILED, "the journal is written again: the change goes on"),
        }
    }
}

/// Whether the same append may yet succeed. What is damaged or of another format stays so.
pub(crate) const fn may_come_back(error: &JournalError) -> bool {
    matches!(
        error,
        JournalError::Io(_) | JournalError::Silent { .. } | JournalError::InUse(_)
    )
}
