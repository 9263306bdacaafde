//! Connections that go to the other process.
//!
//! ```text
//!            Freeze                 Offer                 Adopted
//!  here ───────────────► freezing ─────────► offered ───────────────► gone
//!    ▲                      │                   │
//!    │  too late            │                   │ late, or the other is lost: who takes the token?
//!    ├──────────────────────┘                   │
//!    └──────────────────────────────────────────┴──► the other has it: gone
//!                    this process has it
//! ```
//!
//! An offer carries a token that exactly one process can take, whatever messages are lost or late. Who takes it polls the
//! connections of the offer; so there is never a second reader, and never none while a process that may read lives.

use core::mem;

use super::connections::Place;
use super::{Action, Agent};
use crate::wire::{Frame, MAX_CONNECTION_DESCRIPTORS, MAX_DESCRIPTORS, MAX_FRAME, OFFER_HEAD, snapshot_len};
use crate::{BatchId, ConnectionId, Decline};

/// A connection that has come to rest, as far as the machine must know it. Its state stays with who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "made by every program that drives the machine itself"
)]
pub struct Resting<'a> {
    /// Which.
    pub id: ConnectionId,
    /// What reads its state.
    pub codec: &'a str,
    /// How many descriptors belong to it, 1 to 8.
    pub descriptors: u8,
    /// How long its state is, in bytes.
    pub state_len: usize,
}

impl Resting<'_> {
    const fn encoded_len(&self) -> usize {
        snapshot_len(self.codec.len(), self.state_len)
    }
}

/// Connections between two processes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Offer {
    connections: Vec<ConnectionId>,
    bytes: u64,
    deadline_ms: u64,
    /// The other took the token; its word on what it rejected before may be on its way.
    theirs: bool,
}

impl Offer {
    pub(super) const fn deadline(&self) -> Option<u64> {
        if self.theirs { None } else { Some(self.deadline_ms) }
    }
}

impl Agent {
    pub(super) fn start_giving(&mut self, now_ms: u64) {
        self.giving = true;
        self.pump(now_ms);
    }

    /// Asks as many connections to come to rest as may stand still at once.
    pub(super) fn pump(&mut self, now_ms: u64) {
        let deadline_ms = now_ms.saturating_add(self.timing.freeze_ms);
        for id in self.connections.freeze(self.room(), now_ms, deadline_ms) {
            self.act(Action::Freeze(id));
        }
    }

    /// How many more may stand still now.
    pub(super) fn room(&self) -> usize {
        if !self.giving || !self.talks() || (self.left && self.leftover_until_ms.is_none()) {
            return 0;
        }
        let most = usize::try_from(self.timing.parallel).unwrap_or(usize::MAX);
        most.saturating_sub(self.connections.moving())
    }

    /// Connections have come to rest: out of the poller, with nobody reading or writing.
    pub fn frozen(&mut self, now_ms: u64, resting: &[Resting<'_>]) {
        let mut fit = Vec::with_capacity(resting.len());
        let wanted = self.giving && self.talks();
        for one in resting {
            let id = one.id;
            let unfit = if wanted { self.unfit(one) } else { None };
            let offered = self.connections.shift(id, |place| match place {
                Place::Freezing { tries, .. } if wanted && unfit.is_none() => Some(Place::Offered { tries }),
                _ => None,
            });
            if offered {
                fit.push(*one);
            } else if !matches!(self.connections.get(id), Some(Place::Freezing { .. })) {
                // Too late: it was told to stay.
                self.act(Action::Thaw(id));
            } else if let Some(decline) = unfit {
                self.act(Action::Thaw(id));
                self.decline(id, decline);
            } else {
                self.keep(now_ms, id);
            }
        }
        self.offer(now_ms, &fit);
        self.pump(now_ms);
        self.watch_leftovers(now_ms);
    }

    /// A connection cannot move, and goes on.
    pub fn declined(&mut self, now_ms: u64, id: ConnectionId, decline: Decline) {
        if matches!(self.connections.get(id), Some(Place::Freezing { .. })) {
            self.decline(id, decline);
        }
        self.pump(now_ms);
        self.watch_leftovers(now_ms);
    }

    fn unfit(&self, one: &Resting<'_>) -> Option<Decline> {
        let readable = self
            .session
            .as_ref()
            .is_some_and(|session| session.codecs.iter().any(|codec| codec == one.codec));
        if !readable {
            return Some(Decline::NoCodec);
        }
        let whole = OFFER_HEAD.saturating_add(one.encoded_len());
        (whole > MAX_FRAME || !(1..=MAX_CONNECTION_DESCRIPTORS).contains(&one.descriptors)).then_some(Decline::TooLarge)
    }

    fn offer(&mut self, now_ms: u64, resting: &[Resting<'_>]) {
        let mut batch = Vec::new();
        let (mut bytes, mut descriptors) = (OFFER_HEAD, 1);
        for one in resting {
            let (more, with) = (one.encoded_len(), usize::from(one.descriptors));
            if bytes + more > MAX_FRAME || descriptors + with > MAX_DESCRIPTORS {
                self.send_offer(now_ms, &mem::take(&mut batch));
                (bytes, descriptors) = (OFFER_HEAD, 1);
            }
            bytes += more;
            descriptors += with;
            batch.push(*one);
        }
        self.send_offer(now_ms, &batch);
    }

    fn send_offer(&mut self, now_ms: u64, connections: &[Resting<'_>]) {
        if connections.is_empty() {
            return;
        }
        let batch = BatchId(self.next_batch);
        self.next_batch += 1;
        let ids: Vec<_> = connections.iter().map(|one| one.id).collect();
        let offer = Offer {
            connections: ids.clone(),
            bytes: connections.iter().map(|one| one.state_len as u64).sum(),
            deadline_ms: now_ms.saturating_add(self.timing.adopt_ms),
            theirs: false,
        };
        self.offers.insert(batch, offer);
        let connections = ids;
        self.act(Action::Offer { batch, connections });
    }

    /// The other will not take some.
    pub(super) fn rejected(&mut self, now_ms: u64, batch: BatchId, connections: &[(ConnectionId, Decline)]) {
        let Some(offer) = self.offers.get_mut(&batch) else {
            return;
        };
        let known: Vec<_> = connections
            .iter()
            .filter(|(id, _)| take(&mut offer.connections, *id))
            .copied()
            .collect();
        let empty = offer.connections.is_empty();
        for (id, decline) in known {
            self.act(Action::Thaw(id));
            if decline == Decline::NoRoom {
                // It may have some later.
                self.try_again(now_ms, id);
            } else {
                self.decline(id, decline);
            }
        }
        if empty {
            self.settle(batch);
        }
    }

    /// The other has them.
    pub(super) fn adopted(&mut self, now_ms: u64, batch: BatchId) {
        if let Some(offer) = self.settle(batch) {
            self.release(batch, offer);
        }
        self.pump(now_ms);
    }

    fn release(&mut self, batch: BatchId, offer: Offer) {
        self.tally.moved += offer.connections.len() as u64;
        self.tally.bytes += offer.bytes;
        for id in &offer.connections {
            self.connections.remove(*id);
        }
        let connections = offer.connections;
        self.act(Action::Release { batch, connections });
    }

    fn settle(&mut self, batch: BatchId) -> Option<Offer> {
        let offer = self.offers.remove(&batch)?;
        self.act(Action::Settled { batch });
        Some(offer)
    }

    /// Whether the token of an offer was there to take.
    pub fn token(&mut self, now_ms: u64, batch: BatchId, own: bool, taken: bool) {
        if !own {
            self.took_theirs(now_ms, batch, taken);
            return;
        }
        if taken {
            let Some(offer) = self.settle(batch) else { return };
            if self.session.is_some() {
                self.act(Action::Send(Frame::Withdrawn { batch }));
            }
            let wanted = self.giving && self.talks();
            for id in offer.connections {
                if wanted {
                    self.thaw(now_ms, id);
                } else {
                    self.keep(now_ms, id);
                }
            }
        } else if let Some(offer) = self.offers.get_mut(&batch) {
            offer.theirs = true;
            if self.session.is_none() {
                self.settle_without_word();
            }
        }
    }

    /// Wants back what is offered. What the other has taken is the other's.
    pub(super) fn take_back(&mut self, now_ms: u64) {
        let freezing: Vec<_> = self
            .connections
            .iter()
            .filter(|(_, place)| matches!(place, Place::Freezing { .. }))
            .map(|(id, _)| id)
            .collect();
        for id in freezing {
            self.keep(now_ms, id);
        }
        for (batch, _) in self.offers.iter().filter(|(_, offer)| !offer.theirs) {
            self.actions.push_back(Action::TakeToken {
                batch: *batch,
                own: true,
            });
        }
    }

    /// The session was read to its end: no more word comes about what the other took.
    pub(super) fn settle_without_word(&mut self) {
        let theirs: Vec<_> = self
            .offers
            .iter()
            .filter(|(_, offer)| offer.theirs)
            .map(|(batch, _)| *batch)
            .collect();
        for batch in theirs {
            if let Some(offer) = self.settle(batch) {
                self.release(batch, offer);
            }
        }
    }

    pub(super) fn watch_connections(&mut self, now_ms: u64) {
        let late: Vec<_> = self
            .connections
            .iter()
            .filter(|(_, place)| matches!(place, Place::Freezing { deadline_ms, .. } if *deadline_ms <= now_ms))
            .map(|(id, _)| id)
            .collect();
        for id in late {
            self.thaw(now_ms, id);
        }
        for (batch, offer) in &self.offers {
            if !offer.theirs && offer.deadline_ms <= now_ms {
                self.actions.push_back(Action::TakeToken {
                    batch: *batch,
                    own: true,
                });
            }
        }
    }

    /// It stays since nobody wants it any more: that was no failed try of its own.
    fn keep(&mut self, now_ms: u64, id: ConnectionId) {
        let again_ms = Some(now_ms.saturating_add(self.timing.again_ms));
        let kept = self.connections.shift(id, |place| match place {
            Place::Freezing { tries, .. } | Place::Offered { tries } => Some(Place::Here { tries, again_ms }),
            Place::Here { .. } | Place::Declined => None,
        });
        if kept {
            self.tally.thawed += 1;
            self.act(Action::Thaw(id));
        }
    }

    fn thaw(&mut self, now_ms: u64, id: ConnectionId) {
        self.tally.thawed += 1;
        self.act(Action::Thaw(id));
        self.try_again(now_ms, id);
    }

    fn try_again(&mut self, now_ms: u64, id: ConnectionId) {
        let tries = match self.connections.get(id) {
            Some(Place::Freezing { tries, .. } | Place::Offered { tries } | Place::Here { tries, .. }) => tries + 1,
            Some(Place::Declined) | None => return,
        };
        if tries >= self.timing.tries {
            self.decline(id, Decline::Busy);
        } else {
            let again_ms = Some(now_ms.saturating_add(self.timing.again_ms));
            self.connections.shift(id, |_| Some(Place::Here { tries, again_ms }));
        }
    }

    fn decline(&mut self, id: ConnectionId, decline: Decline) {
        if self.connections.shift(id, |_| Some(Place::Declined)) {
            *self.tally.declined.entry(decline).or_default() += 1;
            self.act(Action::Drain(id));
        }
    }
}

/// Takes one out. They are few, and seldom taken.
fn take(connections: &mut Vec<ConnectionId>, id: ConnectionId) -> bool {
    let at = connections.iter().position(|one| *one == id);
    at.map(|at| connections.remove(at)).is_some()
}

#[cfg(test)]
impl Offer {
    pub(super) const fn rebase(&mut self, by_ms: u64) {
        self.deadline_ms -= by_ms;
    }
}
