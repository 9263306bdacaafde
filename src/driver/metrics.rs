//! What is asked of the metric source, beside the turns. An answer that cannot be used counts as none: the change holds as it does
//! without data.

use std::pin::pin;
use std::sync::Arc;

use futures::future::{Either, select};
use unattended_health::{Interval, Member, SourceError};
use unattended_upgrade::Clock;

use crate::RunError;
use crate::beside::both;
use crate::input::Input;

use super::Run;
use super::calls::Calls;
use super::telling::METRICS_REFUSED;

/// Intervals read at one turn at the most, when the controller was away.
const MAX_INTERVALS: u32 = 64;

/// `None`: it has not come in time.
enum Answer {
    Followed(Vec<Member>, Option<Result<(), SourceError>>),
    Read(Asked, Option<Result<Interval, SourceError>>),
}

/// An interval that was asked for.
#[derive(Clone, Copy)]
struct Asked {
    index: u64,
    end_ms: u64,
}

pub(super) struct Metrics {
    /// One at a time.
    calls: Calls<Answer>,
    /// Not watched by the metric source yet.
    unfollowed: Vec<Member>,
    /// Those before were refused and are over: no answer about them is waited for any more.
    from: u64,
    /// People know of an answer that could not be used.
    told: bool,
}

impl Metrics {
    pub(super) fn new() -> Self {
        Self {
            calls: Calls::new(),
            unfollowed: Vec::new(),
            from: 0,
            told: false,
        }
    }

    /// These are to be watched, too.
    pub(super) fn follow(&mut self, members: Vec<Member>) {
        self.unfollowed.extend(members);
    }

    /// Lets a call go on. Whether it has been answered.
    pub(super) fn drive(&mut self, context: &mut std::task::Context<'_>) -> bool {
        self.calls.drive(context)
    }
}

impl Run {
    /// Takes what the metric source has answered, and asks it for whatever is due: every interval that has ended.
    pub(super) async fn read_metrics(&mut self, now_ms: u64) -> Result<(), RunError> {
        for _ in 0..MAX_INTERVALS {
            if self.metrics.calls.is_empty() && !self.ask_metrics(now_ms)? {
                break;
            }
            let Some(answer) = self.metrics.calls.next_now().await else {
                break;
            };
            let goes_on = match answer {
                Answer::Followed(members, answer) => self.followed(members, answer),
                Answer::Read(asked, answer) => self.was_read(asked, answer, now_ms)?,
            };
            if !goes_on {
                break;
            }
        }
        Ok(())
    }

    /// When the interval ends that is read next.
    pub(super) fn next_interval_ends(&self) -> Result<u64, RunError> {
        Ok(self.next_asked()?.end_ms)
    }

    fn next_asked(&self) -> Result<Asked, RunError> {
        let ((next, end_ms), pace) =
            self.with(|machine| (machine.next_interval(), machine.setup().change.settings.interval_ms))?;
        let passed_over = self.metrics.from.saturating_sub(next);
        Ok(Asked {
            index: next.saturating_add(passed_over),
            end_ms: end_ms.saturating_add(passed_over.saturating_mul(pace)),
        })
    }

    /// Whether there was something to be asked.
    fn ask_metrics(&mut self, now_ms: u64) -> Result<bool, RunError> {
        let (metrics, clock) = (Arc::clone(&self.world.metrics), Arc::clone(&self.world.clock));
        let until_ms = clock.now().saturating_add(self.call_ms);
        // What is not followed is not counted, so nothing is read before.
        if !self.metrics.unfollowed.is_empty() {
            let members = std::mem::take(&mut self.metrics.unfollowed);
            self.metrics.calls.add(Box::pin(async move {
                let answer = within(clock.as_ref(), until_ms, metrics.follow(&members)).await;
                Answer::Followed(members, answer)
            }));
            return Ok(true);
        }
        let asked = self.next_asked()?;
        if now_ms < asked.end_ms {
            return Ok(false);
        }
        self.metrics.calls.add(Box::pin(async move {
            let answer = within(clock.as_ref(), until_ms, metrics.read(asked.index, asked.end_ms)).await;
            Answer::Read(asked, answer)
        }));
        Ok(true)
    }

    /// Whether anything else is to be asked now.
    fn followed(&mut self, mut members: Vec<Member>, answer: Option<Result<(), SourceError>>) -> bool {
        match answer {
            Some(Ok(())) => return true,
            None | Some(Err(SourceError::NotReady { .. } | SourceError::Unavailable { .. })) => {}
            Some(Err(error)) => self.tell_of_metrics(Some(error.to_string())),
        }
        // In their order: of two that have one name the later is the one that lives.
        members.append(&mut self.metrics.unfollowed);
        self.metrics.unfollowed = members;
        false
    }

    /// Whether anything else is to be asked now.
    fn was_read(
        &mut self,
        asked: Asked,
        answer: Option<Result<Interval, SourceError>>,
        now_ms: u64,
    ) -> Result<bool, RunError> {
        let interval = match answer {
            // Not there yet, or the source is down: nothing is decided on it, and it is asked again.
            None | Some(Err(SourceError::NotReady { .. } | SourceError::Unavailable { .. })) => return Ok(false),
            Some(Err(error)) => return self.pass_over(asked, error.to_string(), now_ms),
            Some(Ok(interval)) => interval,
        };
        // No source is believed its times: the machine would go with them.
        if (interval.index, interval.end_ms) != (asked.index, asked.end_ms) {
            let text = format!(
                "it was asked for interval {} that ended at {} ms of the run's clock, and answered interval {} that ended at {} ms",
                asked.index, asked.end_ms, interval.index, interval.end_ms
            );
            return self.pass_over(asked, text, now_ms);
        }
        // Before anything is made of it, and before it is written down: each later run would read it again.
        if let Err(error) = self.with(|machine| machine.check(&interval))? {
            return self.pass_over(asked, error.to_string(), now_ms);
        }
        let input = Input::Interval(interval);
        let Input::Interval(interval) = &input else {
            return Ok(false);
        };
        let (shared, group) = (&self.shared, &mut self.group);
        let (read, written) = both(
            interval.rows.len(),
            || shared.with(|machine| machine.interval(interval)),
            || input.push_to(group),
        );
        written.map_err(|error| RunError::Journal(error.to_string()))?;
        read?.map_err(|error| RunError::Metrics(error.to_string()))?;
        self.tell_of_metrics(None);
        Ok(true)
    }

    /// What was answered cannot be used. It is asked for again until a later interval has ended, and then that one is: what cannot be
    /// counted must not keep from sight what can be. Whether anything else is to be asked now.
    fn pass_over(&mut self, asked: Asked, why: String, now_ms: u64) -> Result<bool, RunError> {
        self.tell_of_metrics(Some(why));
        let pace = self.with(|machine| machine.setup().change.settings.interval_ms)?;
        let is_over = now_ms >= asked.end_ms.saturating_add(pace);
        if is_over {
            self.metrics.from = asked.index.saturating_add(1);
        }
        Ok(is_over)
    }

    /// People are told when an answer cannot be used, and when one can be again.
    fn tell_of_metrics(&mut self, refused: Option<String>) {
        if refused.is_some() == self.metrics.told {
            return;
        }
        self.metrics.told = refused.is_some();
        match refused {
            Some(why) => {
                let text = format!(
                    "an answer of the metric source cannot be used and counts as none, so that nothing grows without another: {why}"
                );
                self.raise_own(METRICS_REFUSED, text);
            }
            None => self.end_own(METRICS_REFUSED, "the metric source's answers can be used again"),
        }
    }
}

/// `None`: it has not come by then.
async fn within<T>(clock: &dyn Clock, until_ms: u64, call: impl Future<Output = T>) -> Option<T> {
    match select(pin!(call), clock.sleep_until(until_ms)).await {
        Either::Left((answer, _)) => Some(answer),
        Either::Right(_) => None,
    }
}
