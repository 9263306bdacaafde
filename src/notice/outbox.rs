//! The way of notices out of the process: in order, beside the run, and never in its way.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::{join_all, select};
use unattended_upgrade::Clock;

use crate::Notifier;

use super::{Notice, Pulse};

/// Notices that wait while earlier ones are being sent. Beyond it the oldest are dropped: what is still so is said again.
const MAX_WAITING: usize = 1_024;

type Sending = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Sends what it is given: notices that come together at once, those that come later after them, so that no matter is over
/// before it has come up. Each sending is given up after `call_ms`.
pub(crate) struct Outbox {
    notifier: Arc<dyn Notifier>,
    clock: Arc<dyn Clock>,
    call_ms: u64,
    waiting: VecDeque<Notice>,
    sending: Option<Sending>,
    pulse: Option<Sending>,
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox")
            .field("waiting", &self.waiting.len())
            .finish_non_exhaustive()
    }
}

impl Outbox {
    pub(crate) fn new(notifier: Arc<dyn Notifier>, clock: Arc<dyn Clock>, call_ms: u64) -> Self {
        Self {
            notifier,
            clock,
            call_ms,
            waiting: VecDeque::new(),
            sending: None,
            pulse: None,
        }
    }

    /// Sends these when those before are sent.
    pub(crate) fn push(&mut self, notices: impl IntoIterator<Item = Notice>) {
        self.waiting.extend(notices);
        let many = self.waiting.len().saturating_sub(MAX_WAITING);
        self.waiting.drain(..many);
    }

    /// Sends a pulse now. One that is still on its way is given up: it says less.
    pub(crate) fn pulse(&mut self, pulse: Pulse) {
        let notifier = Arc::clone(&self.notifier);
        self.pulse = Some(self.within(async move { notifier.pulse(&pulse).await }));
    }

    /// Lets what is being sent go on. Ready when nothing is left.
    pub(crate) fn drive(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let Some(pulse) = &mut self.pulse
            && pulse.as_mut().poll(context).is_ready()
        {
            self.pulse = None;
        }
        loop {
            if let Some(sending) = &mut self.sending {
                if sending.as_mut().poll(context).is_pending() {
                    return Poll::Pending;
                }
                self.sending = None;
            }
            if self.waiting.is_empty() {
                break;
            }
            let notices = self.next();
            let notifier = Arc::clone(&self.notifier);
            self.sending = Some(self.within(async move {
                join_all(notices.iter().map(|notice| notifier.notify(notice))).await;
            }));
        }
        if self.pulse.is_some() {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    }

    /// The first notices, as many as are of different matters.
    fn next(&mut self) -> Vec<Notice> {
        let mut notices: Vec<Notice> = Vec::new();
        while let Some(notice) = self.waiting.pop_front() {
            if notices.iter().any(|other| other.dedup_key == notice.dedup_key) {
                self.waiting.push_front(notice);
                break;
            }
            notices.push(notice);
        }
        notices
    }

    fn within(&self, call: impl Future<Output = ()> + Send + 'static) -> Sending {
        let clock = Arc::clone(&self.clock);
        let until_ms = clock.now().saturating_add(self.call_ms);
        Box::pin(async move {
            let call = pin!(call);
            select(call, clock.sleep_until(until_ms)).await;
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use async_trait::async_trait;
    use futures::future::poll_fn;
    use futures::task::noop_waker;
    use parking_lot::Mutex;

    use super::*;
    use crate::{NOTICE_SCHEMA, NoticeStage, Severity};

    /// A clock that stands still.
    struct Still;

    #[async_trait]
    impl Clock for Still {
        fn now(&self) -> u64 {
            0
        }

        fn wall(&self) -> i64 {
            0
        }

        async fn sleep_until(&self, _: u64) {
            std::future::pending().await
        }
    }

    /// Sends nothing to its end before the door is open.
    #[derive(Default)]
    struct Door {
        begun: Mutex<Vec<String>>,
        open: AtomicBool,
    }

    #[async_trait]
    impl Notifier for Door {
        async fn notify(&self, notice: &Notice) {
            let what = format!("{} {}", notice.dedup_key, notice.stage.as_str());
            self.begun.lock().push(what);
            poll_fn(|_| {
                if self.open.load(Ordering::Relaxed) {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                }
            })
            .await;
        }

        async fn pulse(&self, _: &Pulse) {
            self.begun.lock().push("pulse".to_owned());
        }
    }

    fn notice(key: &str, stage: NoticeStage) -> Notice {
        Notice {
            schema: NOTICE_SCHEMA,
            code: "a.b".to_owned(),
            severity: Severity::Warning,
            dedup_key: key.to_owned(),
            change: String::new(),
            lanes: Vec::new(),
            owner: String::new(),
            stage,
            raised_unix_ms: 0,
            at_unix_ms: 0,
            text: String::new(),
            question: None,
            briefing: None,
        }
    }

    #[test]
    fn no_matter_is_over_before_it_has_come_up_and_pulses_wait_for_nobody() {
        let door = Arc::new(Door::default());
        let notifier: Arc<dyn Notifier> = Arc::<Door>::clone(&door);
        let mut outbox = Outbox::new(notifier, Arc::new(Still), 1_000);
        let waker = noop_waker();
        let mut context = Context::from_waker(&waker);
        let raised = || NoticeStage::Raised;
        outbox.push([
            notice("m/1", raised()),
            notice("m/2", raised()),
            notice("m/1", NoticeStage::Resolved),
            notice("m/3", raised()),
        ]);
        assert!(outbox.drive(&mut context).is_pending());
        assert_eq!(*door.begun.lock(), ["m/1 raised", "m/2 raised"]);
        outbox.pulse(Pulse {
            schema: NOTICE_SCHEMA,
            change: String::new(),
            at_unix_ms: 0,
            state: String::new(),
            open: 0,
            next_within_ms: 1,
        });
        assert!(outbox.drive(&mut context).is_pending());
        assert_eq!(door.begun.lock().last().map(String::as_str), Some("pulse"));
        door.open.store(true, Ordering::Relaxed);
        assert!(outbox.drive(&mut context).is_ready());
        assert_eq!(door.begun.lock()[3..], ["m/1 resolved", "m/3 raised"]);
    }
}
