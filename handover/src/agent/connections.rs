//! The own connections, and where each of them is.

use std::collections::BTreeMap;

use crate::ConnectionId;

/// Where an own connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Place {
    /// Polled here.
    Here {
        tries: u8,
        /// Not before then, if it was tried before.
        again_ms: Option<u64>,
    },
    /// Polled here until it comes to rest.
    Freezing { tries: u8, deadline_ms: u64 },
    /// At rest, and offered.
    Offered { tries: u8 },
    /// Polled here: it does not move in this session.
    Declined,
}

/// All of them by id, and how many are in which place: with thousands of connections, nothing that happens to one of them may
/// cost a walk over all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Connections {
    places: BTreeMap<ConnectionId, Place>,
    here: usize,
    freezing: usize,
    offered: usize,
}

impl Connections {
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) fn get(&self, id: ConnectionId) -> Option<Place> {
        self.places.get(&id).copied()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (ConnectionId, Place)> {
        self.places.iter().map(|(id, place)| (*id, *place))
    }

    /// Freezing, or between the two processes.
    pub(super) const fn moving(&self) -> usize {
        self.freezing + self.offered
    }

    /// None moves, and none may be tried (again).
    pub(super) const fn are_settled(&self) -> bool {
        self.here == 0 && self.moving() == 0
    }

    /// Another process may take what the one before could not.
    pub(super) fn forget_declines(&mut self) {
        for place in self.places.values_mut().filter(|place| **place == Place::Declined) {
            *place = Place::Here {
                tries: 0,
                again_ms: None,
            };
            self.here += 1;
        }
    }

    /// One that is polled here from now on, unless it is known.
    pub(super) fn come(&mut self, id: ConnectionId) {
        self.places.entry(id).or_insert_with(|| {
            self.here += 1;
            Place::Here {
                tries: 0,
                again_ms: None,
            }
        });
    }

    pub(super) fn remove(&mut self, id: ConnectionId) {
        if let Some(place) = self.places.remove(&id)
            && let Some(count) = self.count(place)
        {
            *count -= 1;
        }
    }

    /// Moves one to where `to` says, by where it is; it stays where that says nothing. `true`: it was moved.
    pub(super) fn shift(&mut self, id: ConnectionId, to: impl FnOnce(Place) -> Option<Place>) -> bool {
        let Some(place) = self.places.get_mut(&id) else {
            return false;
        };
        let Some(next) = to(*place) else { return false };
        let before = core::mem::replace(place, next);
        if let Some(count) = self.count(before) {
            *count -= 1;
        }
        if let Some(count) = self.count(next) {
            *count += 1;
        }
        true
    }

    /// Lets up to `room` of those that are here and may be tried freeze, in the order of their ids.
    pub(super) fn freeze(&mut self, room: usize, now_ms: u64, deadline_ms: u64) -> Vec<ConnectionId> {
        let mut chosen = Vec::new();
        if self.here == 0 || room == 0 {
            return chosen;
        }
        for (id, place) in &mut self.places {
            let Place::Here { tries, again_ms } = place else {
                continue;
            };
            if again_ms.is_some_and(|at_ms| at_ms > now_ms) {
                continue;
            }
            *place = Place::Freezing {
                tries: *tries,
                deadline_ms,
            };
            chosen.push(*id);
            if chosen.len() == room {
                break;
            }
        }
        self.here -= chosen.len();
        self.freezing += chosen.len();
        chosen
    }

    /// When something is due: one that freezes has frozen for long enough, or one may be tried again, if there is room for it.
    pub(super) fn deadline(&self, room: usize) -> Option<u64> {
        let tries = room > 0 && self.here > 0;
        if self.freezing == 0 && !tries {
            return None;
        }
        let due = self.places.values().filter_map(|place| match place {
            Place::Freezing { deadline_ms, .. } => Some(*deadline_ms),
            Place::Here { again_ms, .. } if tries => *again_ms,
            _ => None,
        });
        due.min()
    }

    const fn count(&mut self, place: Place) -> Option<&mut usize> {
        match place {
            Place::Here { .. } => Some(&mut self.here),
            Place::Freezing { .. } => Some(&mut self.freezing),
            Place::Offered { .. } => Some(&mut self.offered),
            Place::Declined => None,
        }
    }
}

#[cfg(test)]
impl Connections {
    pub(super) fn rebase(&mut self, by_ms: u64) {
        for place in self.places.values_mut() {
            match place {
                // A time that is over says nothing more.
                Place::Here { again_ms, .. } => {
                    *again_ms = again_ms
                        .map(|time| time - by_ms)
                        .filter(|time| *time > crate::explore::EPOCH_MS);
                }
                Place::Freezing { deadline_ms, .. } => *deadline_ms -= by_ms,
                Place::Offered { .. } | Place::Declined => {}
            }
        }
    }
}
