//! What is said: the machine's words, what the driver has to say of itself, and signs of life.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::pin::pin;

use futures::future::{join_all, select};
use unattended_upgrade::{Clock, Journal};

use super::super::{Command, Input};
use super::Run;
use crate::{NOTICE_SCHEMA, Notice, NoticeStage, Pulse, Severity};

impl<J: Journal, C: Clock> Run<J, C> {
    /// Says what is to be said, all at once, but of one matter one thing after the other. Those that were said.
    pub(super) async fn say(&self, mut words: Vec<(u64, Command)>) -> Vec<Input> {
        let mut done = Vec::new();
        while !words.is_empty() && self.shared.orders.lock().is_empty() {
            let mut keys = BTreeSet::new();
            let first = words.extract_if(.., |(_, command)| match command {
                Command::Tell { key, .. } => keys.insert(key.clone()),
                _ => true,
            });
            let first: Vec<(u64, Command)> = first.collect();
            let said = join_all(first.iter().map(|(number, command)| async move {
                self.carry(command).await.is_ok().then_some(Input::Done(*number))
            }));
            done.extend(said.await.into_iter().flatten());
        }
        done
    }

    /// A word as people get it.
    pub(super) fn notice(&self, command: &Command) -> Option<Notice> {
        let Command::Tell {
            line,
            code,
            severity,
            key,
            stage,
            raised_unix_ms,
            text,
            briefing: _,
        } = command
        else {
            return None;
        };
        Some(Notice {
            schema: NOTICE_SCHEMA,
            code: code.clone(),
            severity: *severity,
            dedup_key: key.clone(),
            change: line.to_string(),
            lanes: Vec::new(),
            owner: self.owner.clone(),
            stage: stage.clone(),
            raised_unix_ms: *raised_unix_ms,
            at_unix_ms: self.parts.clock.wall(),
            text: format!("line {line}: {text}"),
            question: None,
            briefing: None,
        })
    }

    /// The driving ends for a fault, of which its machine cannot speak any more; or it begins after one that may have ended so.
    pub(super) fn tell_of_failure(&mut self, name: String, stage: NoticeStage, text: String) {
        let at_unix_ms = self.parts.clock.wall();
        self.outbox.get_mut().push([Notice {
            schema: NOTICE_SCHEMA,
            code: "train.failed".to_owned(),
            severity: Severity::Critical,
            dedup_key: format!("{name}/train.failed"),
            change: name,
            lanes: Vec::new(),
            owner: self.owner.clone(),
            stage,
            raised_unix_ms: at_unix_ms,
            at_unix_ms,
            text,
            question: None,
            briefing: None,
        }]);
    }

    /// A sign of life, when one is due; the last says that no other comes.
    pub(super) fn pulse(&mut self, last: bool) {
        let now_ms = self.parts.clock.now();
        if now_ms < self.pulse_ms && !last {
            return;
        }
        let (name, every_ms, open, state) = match &*self.shared.machine.lock() {
            Some(train) => (train.name(), train.pulse_ms(), train.open_matters(), train.state()),
            None => return,
        };
        self.pulse_ms = now_ms.saturating_add(every_ms);
        // A turn may wait for the sources, effects, words and the journal, each as long as a call may take.
        let turn_ms = self.parts.poll_ms.saturating_add(self.parts.call_ms.saturating_mul(4));
        self.outbox.get_mut().pulse(Pulse {
            schema: NOTICE_SCHEMA,
            change: name,
            at_unix_ms: self.parts.clock.wall(),
            state: state.to_owned(),
            open,
            next_within_ms: if last {
                0
            } else {
                every_ms.saturating_mul(2).saturating_add(turn_ms)
            },
        });
    }

    /// What is left to be said. Nothing is done any more while it is sent.
    pub(super) async fn tell_the_rest(&self) {
        let until_ms = self
            .parts
            .clock
            .now()
            .saturating_add(self.parts.call_ms.saturating_mul(2));
        let rest = poll_fn(|context| self.outbox.lock().drive(context));
        select(rest, pin!(self.parts.clock.sleep_until(until_ms))).await;
    }
}
