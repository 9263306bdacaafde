//! Who has called calls again where the two have lost each other: that neither was heard in time is no end of an attempt.

use std::io::ErrorKind;
use std::path::PathBuf;

use super::{Handover, Host, call};
use crate::{Generation, Refusal};

/// Whoever was there is dead, or not there for this process any more.
const GONE: [ErrorKind; 3] = [
    ErrorKind::ConnectionRefused,
    ErrorKind::NotFound,
    ErrorKind::PermissionDenied,
];

/// Whom this process has called.
#[derive(Debug)]
pub(super) struct Called {
    generation: Generation,
    path: PathBuf,
    /// Of the last call.
    nonce: u64,
    /// The other has greeted once. Before that, who asked for the call decides whether it is made again.
    greeted: bool,
    /// When it is called again: the session has ended.
    due_ms: Option<u64>,
}

impl Called {
    pub(super) const fn new(generation: Generation, path: PathBuf, nonce: u64) -> Self {
        Self {
            generation,
            path,
            nonce,
            greeted: false,
            due_ms: None,
        }
    }

    pub(super) const fn due_ms(&self) -> Option<u64> {
        self.due_ms
    }
}

impl<H: Host> Handover<H> {
    /// Sees whether the session that was called for stands, and calls again when it is time.
    pub(super) fn call_anew(&mut self, now_ms: u64) {
        let Some(called) = &mut self.called else { return };
        if self.agent.would_take_call() == Err(Refusal::Busy) {
            called.greeted |= self.agent.peer().is_some();
            called.due_ms = None;
            return;
        }
        // It still holds the session that this one has lost.
        let may_come_back = matches!(
            self.agent.refusal(),
            Some(Refusal::Silent | Refusal::Broken | Refusal::Busy)
        );
        if !called.greeted || !may_come_back || self.agent.has_left() || called.generation < self.agent.generation() {
            self.called = None;
            return;
        }
        let after_ms = now_ms.saturating_add(self.agent.timing().lease_ms);
        if now_ms < *called.due_ms.get_or_insert(after_ms) {
            return;
        }
        called.due_ms = Some(after_ms);
        match call(&called.path) {
            Ok(channel) => {
                called.nonce = called.nonce.wrapping_add(1);
                let nonce = called.nonce;
                self.begin(now_ms, channel, true, nonce);
            }
            Err(error) if GONE.contains(&error.kind()) => {
                self.called = None;
            }
            // Its queue of calls is full, or this process may open no more descriptors: both pass.
            Err(_) => {}
        }
    }
}
