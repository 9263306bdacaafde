//! Who belongs to the fleet, as the platform says: zones and hosts are never taken from a report.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ids::{HostId, NodeId, ServiceId, ZoneId};

/// A node of the fleet. Whoever may report or be reported on is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "the embedder states each of them")]
pub struct Member {
    /// Which one.
    pub node: NodeId,
    /// Where it runs.
    pub host: HostId,
    /// What it can be cut off with.
    pub zone: ZoneId,
    /// What it serves; `None` if it only calls others.
    pub service: Option<ServiceId>,
    /// Requests per second that it can carry; `None` if nobody knows.
    pub capacity_per_second: Option<u32>,
}

/// The place of a member in the center's tables.
pub(crate) type Slot = u32;

pub(crate) const fn at(slot: Slot) -> usize {
    slot as usize
}

/// All members, each at a slot that it keeps while it is there.
#[derive(Debug, Clone, Default)]
pub(crate) struct Members {
    slots: BTreeMap<NodeId, Slot>,
    list: Vec<Option<Member>>,
    free: Vec<Slot>,
    /// Zones by rank, so that tables of pairs are dense.
    zones: Vec<ZoneId>,
    zone_ranks: Vec<u16>,
}

impl Members {
    /// Zones of a center.
    pub(crate) const MAX_ZONES: usize = 256;
    /// Members of a center.
    pub(crate) const MAX: usize = 1 << 17;

    /// Adds one or replaces what is known of it. `None`, and nothing done, if there is no room.
    pub(crate) fn put(&mut self, member: Member) -> Option<Slot> {
        let new_zone = !self.zones.contains(&member.zone);
        if new_zone && self.zones.len() >= Self::MAX_ZONES {
            return None;
        }
        let slot = match self.slots.get(&member.node) {
            Some(slot) => *slot,
            None if self.slots.len() >= Self::MAX => return None,
            None => {
                let slot = self.free.pop().or_else(|| Slot::try_from(self.list.len()).ok())?;
                if at(slot) == self.list.len() {
                    self.list.push(None);
                    self.zone_ranks.push(0);
                }
                self.slots.insert(member.node, slot);
                slot
            }
        };
        self.list[at(slot)] = Some(member);
        if new_zone {
            self.zones.push(member.zone);
        }
        let rank = self.zones.iter().position(|zone| *zone == member.zone).unwrap_or(0);
        self.zone_ranks[at(slot)] = u16::try_from(rank).unwrap_or(0);
        Some(slot)
    }

    pub(crate) fn remove(&mut self, node: NodeId) -> Option<Slot> {
        let slot = self.slots.remove(&node)?;
        self.list[at(slot)] = None;
        self.free.push(slot);
        Some(slot)
    }

    pub(crate) fn slot(&self, node: NodeId) -> Option<Slot> {
        self.slots.get(&node).copied()
    }

    pub(crate) fn get(&self, slot: Slot) -> Option<&Member> {
        self.list.get(at(slot))?.as_ref()
    }

    pub(crate) fn of(&self, node: NodeId) -> Option<&Member> {
        self.get(self.slot(node)?)
    }

    /// All of them, by number.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Slot, &Member)> {
        self.slots.values().filter_map(|slot| Some((*slot, self.get(*slot)?)))
    }

    /// Slots in use or free.
    pub(crate) const fn len(&self) -> usize {
        self.list.len()
    }

    pub(crate) fn zones(&self) -> &[ZoneId] {
        &self.zones
    }

    /// The zone of each slot, as its rank in [`zones`](Self::zones).
    pub(crate) fn zone_ranks(&self) -> &[u16] {
        &self.zone_ranks
    }
}
