//! The session between the two processes, which is each one's lease on the other.

use super::{Action, Agent, Timing};
use crate::wire::{Frame, Listener, MAX_DESCRIPTORS, Status, VERSIONS};
use crate::{Generation, InstanceId, Refusal};

/// Most parts of a list of listeners: 4,000 of them.
const MAX_PARTS: u16 = 16;

/// The process on the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Peer {
    /// Which one.
    pub instance: InstanceId,
    /// The version of the wire that both speak.
    pub version: u8,
    /// How it stands, as of its last word.
    pub status: Status,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Session {
    nonce: u64,
    /// This process called.
    called: bool,
    /// `None` until the greeting.
    peer: Option<Peer>,
    pub(super) codecs: Vec<String>,
    heard_ms: u64,
    beat_due_ms: u64,
    /// Nothing was heard for longer than the lease. The session itself may come back.
    silent: bool,
    /// It has said how it stands.
    told: bool,
    /// This process ends it: only the last word about offers counts.
    pub(super) hanging: bool,
    /// The listeners were passed.
    pub(super) offered: bool,
    /// The other was asked to give everything back.
    pub(super) asked_back: bool,
}

impl Session {
    pub(super) const fn peer(&self) -> Option<Peer> {
        if self.silent || self.hanging || !self.told {
            None
        } else {
            self.peer
        }
    }

    /// This process called the other.
    pub(super) const fn called(&self) -> bool {
        self.called
    }

    /// The other is asked to give everything back: what it said of itself before is not true much longer.
    pub(super) const fn ask_back(&mut self) {
        self.asked_back = true;
        if let Some(peer) = &mut self.peer {
            peer.status.polls = false;
            peer.status.committed = false;
        }
    }

    pub(super) const fn deadline(&self, timing: &Timing) -> Option<u64> {
        if self.peer.is_none() {
            return Some(self.heard_ms.saturating_add(timing.hello_ms));
        }
        let lease_ms = self.heard_ms.saturating_add(timing.lease_ms);
        if self.silent || self.beat_due_ms < lease_ms {
            Some(self.beat_due_ms)
        } else {
            Some(lease_ms)
        }
    }
}

impl Agent {
    /// Whether a call of another process would be taken now.
    ///
    /// # Errors
    ///
    /// Why not, to be sent as a [`Frame::Refuse`] before the socket is closed.
    pub const fn would_take_call(&self) -> Result<(), Refusal> {
        if self.left && self.leftover_until_ms.is_none() {
            return Err(Refusal::Stale);
        }
        if self.session.is_some() {
            return Err(Refusal::Busy);
        }
        Ok(())
    }

    /// A socket to the other process stands. `nonce` is a number that was never used before if this process `called`;
    /// ignored otherwise.
    pub fn connected(&mut self, now_ms: u64, called: bool, nonce: u64) {
        if self.would_take_call().is_err() {
            self.act(Action::Hang);
            return;
        }
        self.turn = 0;
        self.alone = false;
        self.refusal = None;
        self.connections.forget_declines();
        self.session = Some(Session {
            nonce,
            called,
            peer: None,
            codecs: Vec::new(),
            heard_ms: now_ms,
            beat_due_ms: now_ms,
            silent: false,
            told: false,
            hanging: false,
            offered: false,
            asked_back: false,
        });
        if called {
            self.greet(nonce);
        }
    }

    fn greet(&mut self, nonce: u64) {
        self.act(Action::Send(Frame::Hello {
            versions: VERSIONS,
            nonce,
            instance: self.instance,
            generation: self.fence,
            codecs: self.codecs.clone(),
        }));
    }

    /// A frame came.
    pub fn heard(&mut self, now_ms: u64, frame: Frame) {
        let Some(session) = &mut self.session else {
            return;
        };
        if session.hanging {
            match frame {
                Frame::Rejected { batch, connections } => self.rejected(now_ms, batch, &connections),
                Frame::Adopted { batch } => self.adopted(now_ms, batch),
                _ => {}
            }
            return;
        }
        let greeted = session.peer.is_some();
        if greeted || matches!(frame, Frame::Hello { .. }) {
            session.heard_ms = now_ms;
            session.silent = false;
        }
        match frame {
            Frame::Hello {
                versions,
                nonce,
                instance,
                generation,
                codecs,
            } if !greeted => self.greeted(now_ms, versions, nonce, instance, generation, codecs),
            Frame::Refuse(refusal) => {
                self.refusal = Some(refusal);
                self.hang(now_ms);
            }
            Frame::Unknown(_) => self.tally.unknown_frames += 1,
            _ if !greeted => self.give_up(now_ms, Refusal::Garbled),
            Frame::Hello { .. } => self.give_up(now_ms, Refusal::Garbled),
            Frame::Beat { status, turn } => {
                session.told = true;
                if turn == self.turn && status.polls {
                    // It has given up giving back, and may be asked again.
                    session.asked_back = false;
                }
                if let Some(peer) = session.peer.as_mut() {
                    peer.status = status;
                    if turn < self.turn {
                        // It does not know yet that it shall give everything back.
                        peer.status.polls = false;
                        peer.status.committed = false;
                    }
                }
            }
            Frame::Listeners { part, parts, listeners } => self.listed(now_ms, part, parts, listeners),
            Frame::Claims(cookies) => self.check_claims(now_ms, &cookies),
            Frame::Secret { name, bytes } => self.act(Action::Keep { name, bytes }),
            Frame::Offer { batch, connections } => self.offered(batch, connections),
            Frame::Rejected { batch, connections } => self.rejected(now_ms, batch, &connections),
            Frame::Adopted { batch } => self.adopted(now_ms, batch),
            Frame::Withdrawn { batch } => self.withdrawn(batch),
            Frame::Return { generation, turn } => self.return_all(now_ms, generation, turn),
        }
        self.pump(now_ms);
        self.watch_leftovers(now_ms);
    }

    fn greeted(
        &mut self,
        now_ms: u64,
        versions: (u8, u8),
        nonce: u64,
        instance: InstanceId,
        generation: Generation,
        codecs: Vec<String>,
    ) {
        let version = VERSIONS.1.min(versions.1);
        let refusal = if instance == self.instance {
            Some(Refusal::Itself)
        } else if version < VERSIONS.0.max(versions.0) {
            Some(Refusal::NoCommonVersion)
        } else if generation < self.fence && self.session.as_ref().is_some_and(|session| !session.called) {
            Some(Refusal::Stale)
        } else if self
            .session
            .as_ref()
            .is_some_and(|session| session.called && session.nonce != nonce)
        {
            Some(Refusal::Stranger)
        } else {
            None
        };
        if let Some(refusal) = refusal {
            self.give_up(now_ms, refusal);
            return;
        }
        let Some(session) = self.session.as_mut() else { return };
        session.nonce = nonce;
        session.codecs = codecs;
        session.peer = Some(Peer {
            instance,
            version,
            status: Status::default(),
        });
        let called = session.called;
        if !called {
            self.greet(nonce);
        }
        self.beat(now_ms);
    }

    /// Part of the other's listeners came.
    fn listed(&mut self, now_ms: u64, part: u16, parts: u16, listeners: Vec<Listener>) {
        let expected = self.parts.len().div_ceil(MAX_DESCRIPTORS);
        if self.status.holds || self.left || usize::from(part) != expected || parts > MAX_PARTS {
            self.act(Action::Discard);
            self.parts.clear();
            self.give_up(now_ms, Refusal::Garbled);
            return;
        }
        // All parts but the last one are full.
        let last = part + 1 == parts;
        if !last && listeners.len() != MAX_DESCRIPTORS {
            self.give_up(now_ms, Refusal::Garbled);
            return;
        }
        self.parts.extend(listeners);
        if last {
            let all = core::mem::take(&mut self.parts);
            self.listeners.clone_from(&all);
            self.act(Action::Claim(all));
        }
    }

    /// What the descriptors that came really are: the cookie of each, in their order; fewer if some could not be taken.
    pub fn claimed(&mut self, now_ms: u64, cookies: &[u64]) {
        let wanted: Vec<u64> = self.listeners.iter().map(|listener| listener.cookie).collect();
        if wanted != cookies {
            let refusal = if cookies.len() < wanted.len() {
                Refusal::Unclaimed
            } else {
                Refusal::OtherQueue
            };
            self.listeners.clear();
            self.act(Action::Disclaim);
            self.give_up(now_ms, refusal);
            return;
        }
        self.status.holds = true;
        self.act(Action::Send(Frame::Claims(wanted)));
        self.beat(now_ms);
    }

    fn check_claims(&mut self, now_ms: u64, cookies: &[u64]) {
        let claimed: std::collections::BTreeSet<u64> = cookies.iter().copied().collect();
        let passed = self.cookies();
        let refusal = if claimed == passed {
            None
        } else if claimed.is_subset(&passed) {
            Some(Refusal::Unclaimed)
        } else {
            Some(Refusal::OtherQueue)
        };
        if let Some(refusal) = refusal {
            self.give_up(now_ms, refusal);
        }
    }

    /// The socket has ended and everything in it was read.
    pub fn hung_up(&mut self, now_ms: u64) {
        if self.session.is_some() {
            self.end_session(now_ms);
        }
        self.watch_leftovers(now_ms);
    }

    fn end_session(&mut self, now_ms: u64) {
        if let Some(session) = self.session.as_mut() {
            session.silent = true;
        }
        if !self.parts.is_empty() {
            self.parts.clear();
            self.act(Action::Discard);
        }
        self.stand_alone(now_ms);
        self.session = None;
        self.settle_without_word();
    }

    /// Says how this process stands, at once.
    pub(super) fn beat(&mut self, now_ms: u64) {
        let Some(session) = self.session.as_mut().filter(|session| session.peer.is_some()) else {
            return;
        };
        session.beat_due_ms = now_ms.saturating_add(self.timing.beat_ms);
        self.actions.push_back(Action::Send(Frame::Beat {
            status: self.status,
            turn: self.turn,
        }));
    }

    pub(super) fn watch_session(&mut self, now_ms: u64) {
        let Some(session) = self.session.as_mut() else { return };
        if session.peer.is_none() {
            if now_ms >= session.heard_ms.saturating_add(self.timing.hello_ms) {
                self.give_up(now_ms, Refusal::Silent);
            }
            return;
        }
        let late = now_ms >= session.heard_ms.saturating_add(self.timing.lease_ms);
        if now_ms
            >= session
                .heard_ms
                .saturating_add(self.timing.lease_ms.max(self.timing.hello_ms))
        {
            // Somebody else may call.
            self.give_up(now_ms, Refusal::Silent);
            return;
        }
        let fell_silent = late && !session.silent;
        session.silent |= late;
        let due = now_ms >= session.beat_due_ms;
        if fell_silent {
            self.stand_alone(now_ms);
        }
        if due {
            self.beat(now_ms);
        }
    }

    /// The session stands and the other was heard of in time.
    pub(super) fn talks(&self) -> bool {
        self.peer().is_some()
    }
}

#[cfg(test)]
impl Session {
    /// Beyond the lease it makes no difference how long ago the last word was.
    pub(super) fn rebase(&mut self, by_ms: u64, timing: &Timing) {
        self.beat_due_ms -= by_ms;
        self.heard_ms -= by_ms;
        if self.silent {
            self.heard_ms = crate::explore::EPOCH_MS - timing.lease_ms;
        }
    }
}
