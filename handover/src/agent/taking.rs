//! Connections that come from the other process.

use std::collections::BTreeMap;

use super::{Action, Agent};
use crate::wire::{Frame, Snapshot};
use crate::{BatchId, ConnectionId, Decline};

/// An offer of the other process that is being looked at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Incoming {
    /// In the order in which they were offered.
    connections: Vec<ConnectionId>,
}

impl Agent {
    pub(super) fn offered(&mut self, batch: BatchId, connections: Vec<Snapshot>) {
        // Two that give to each other would never end, and the word of the other is the later one: what it offered before it
        // asked for anything back came before that.
        self.giving = false;
        let ids: Vec<ConnectionId> = connections.iter().map(|one| one.id).collect();
        let clash = self.incoming.contains_key(&batch);
        let mine = ids.iter().any(|id| self.connections.get(*id).is_some());
        if clash || mine || !self.status.holds || self.leaving_ms.is_some() {
            let reason = if clash || mine {
                Decline::BadState
            } else {
                Decline::Closing
            };
            let connections = ids.into_iter().map(|id| (id, reason)).collect();
            self.act(Action::Send(Frame::Rejected { batch, connections }));
            if !clash {
                self.act(Action::Drop { batch });
            }
            return;
        }
        self.incoming.insert(batch, Incoming { connections: ids });
        self.act(Action::Prepare { batch, connections });
    }

    /// The connections of an offer were made, but for those that are `rejected`.
    pub fn prepared(&mut self, batch: BatchId, rejected: &BTreeMap<ConnectionId, Decline>) {
        let Some(incoming) = self.incoming.get_mut(&batch) else {
            return;
        };
        let mut connections = Vec::with_capacity(rejected.len());
        incoming.connections.retain(|id| {
            let decline = rejected.get(id);
            connections.extend(decline.map(|decline| (*id, *decline)));
            decline.is_none()
        });
        let empty = incoming.connections.is_empty();
        // Before the token: the giver must know which ones stay, even if this process dies at the next instruction.
        if !connections.is_empty() && self.session.is_some() {
            self.act(Action::Send(Frame::Rejected { batch, connections }));
        }
        if empty {
            self.incoming.remove(&batch);
            self.act(Action::Drop { batch });
        } else {
            self.act(Action::TakeToken { batch, own: false });
        }
    }

    pub(super) fn took_theirs(&mut self, now_ms: u64, batch: BatchId, taken: bool) {
        let Some(incoming) = self.incoming.remove(&batch) else {
            return;
        };
        if !taken {
            self.act(Action::Drop { batch });
            return;
        }
        self.tally.adopted += incoming.connections.len() as u64;
        let connections = incoming.connections;
        for id in &connections {
            self.connections.come(*id);
        }
        self.act(Action::Own { batch, connections });
        if self.session.is_some() {
            self.act(Action::Send(Frame::Adopted { batch }));
        }
        self.pump(now_ms);
    }

    /// The other took its offer back.
    pub(super) fn withdrawn(&mut self, batch: BatchId) {
        if self.incoming.remove(&batch).is_some() {
            self.act(Action::Drop { batch });
        }
    }
}
