//! The reporter's side of a bulletin: what holds here and now.

use super::bulletin::{Bulletin, Epoch, Isolation, Scope};
use super::ids::{NodeId, ServiceId, ZoneId};

/// What the center says about one node, for one reporter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "whoever obeys must decide for each")]
pub enum Word {
    /// Not to be used.
    Isolated,
    /// Coming back, and this reporter may use it.
    Returning,
    /// In use, for less than its share of the calls.
    SubHealthy {
        /// Thousandths of that share.
        weight_permille: u16,
    },
    /// Nothing is said against it.
    Open,
    /// The center has not been heard for a lease. Local rules decide, with
    /// [`local_cap_percent`](Follower::local_cap_percent).
    Lost,
}

/// Obeys a center as long as it is heard.
///
/// A bulletin holds for its lease, counted from its receipt on this reporter's clock; then everything it said is void.
/// A center that died leaves no isolation behind, and a bulletin that arrives twice, late or out of order changes
/// nothing.
#[derive(Debug, Clone)]
pub struct Follower {
    node: NodeId,
    zone: ZoneId,
    held: Option<(Bulletin, u64)>,
    refused: u64,
}

/// A bulletin that is not newer than what was applied. Nothing has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("bulletin {}.{} is not newer than {}.{}", given.term, given.number, applied.term, applied.number)]
#[expect(clippy::exhaustive_structs, reason = "two numbers")]
pub struct StaleBulletin {
    /// Its number.
    pub given: Epoch,
    /// That of the last one applied.
    pub applied: Epoch,
}

impl Follower {
    /// A reporter that has heard nothing.
    #[must_use]
    pub const fn new(node: NodeId, zone: ZoneId) -> Self {
        Self {
            node,
            zone,
            held: None,
            refused: 0,
        }
    }

    /// Replaces what held before.
    ///
    /// # Errors
    ///
    /// [`StaleBulletin`] unless its epoch is larger than that of every bulletin applied before.
    pub fn apply(&mut self, bulletin: Bulletin, now_ms: u64) -> Result<(), StaleBulletin> {
        if let Some((held, _)) = &self.held
            && bulletin.epoch <= held.epoch
        {
            self.refused = self.refused.saturating_add(1);
            return Err(StaleBulletin {
                given: bulletin.epoch,
                applied: held.epoch,
            });
        }
        let until_ms = now_ms.saturating_add(bulletin.lease_ms);
        self.held = Some((bulletin, until_ms));
        Ok(())
    }

    fn holding(&self, now_ms: u64) -> Option<&Bulletin> {
        self.held
            .as_ref()
            .filter(|(_, until_ms)| now_ms < *until_ms)
            .map(|(bulletin, _)| bulletin)
    }

    /// What is said about a node.
    #[must_use]
    pub fn word(&self, node: NodeId, now_ms: u64) -> Word {
        let Some(bulletin) = self.holding(now_ms) else {
            return Word::Lost;
        };
        let found = bulletin
            .isolations
            .binary_search_by_key(&node, |isolation| isolation.node);
        let Some(isolation) = found.ok().map(|place| &bulletin.isolations[place]) else {
            let found = bulletin.sub_healthy.binary_search_by_key(&node, |listed| listed.node);
            return found.map_or(Word::Open, |place| Word::SubHealthy {
                weight_permille: bulletin.sub_healthy[place].weight_permille.min(1_000),
            });
        };
        match isolation {
            Isolation {
                scope: Scope::From(zone),
                ..
            } if *zone != self.zone => Word::Open,
            Isolation { slots: None, .. } => Word::Isolated,
            Isolation { slots: Some(slots), .. } if slots.admits(self.node) => Word::Returning,
            Isolation { .. } => Word::Isolated,
        }
    }

    /// Whether the center has not been heard for a lease.
    #[must_use]
    pub fn lost(&self, now_ms: u64) -> bool {
        self.holding(now_ms).is_none()
    }

    /// Whether this reporter may isolate nodes of a service by its own rules: not while they fail of a common cause, and
    /// not while its own view is known to be wrong.
    #[must_use]
    pub fn may_isolate(&self, service: ServiceId, now_ms: u64) -> bool {
        self.holding(now_ms).is_none_or(|bulletin| {
            bulletin.frozen.binary_search(&service).is_err() && bulletin.distrusted.binary_search(&self.node).is_err()
        })
    }

    /// Whether this reporter sees wrongly and should lift what it isolated by itself.
    #[must_use]
    pub fn distrusted(&self, now_ms: u64) -> bool {
        self.holding(now_ms)
            .is_some_and(|bulletin| bulletin.distrusted.binary_search(&self.node).is_ok())
    }

    /// Whether nodes of this zone are to be used only if no others are left.
    #[must_use]
    pub fn avoids(&self, zone: ZoneId, now_ms: u64) -> bool {
        let avoided = |bulletin: &Bulletin| bulletin.avoid.iter().any(|way| way.from == self.zone && way.to == zone);
        self.holding(now_ms).is_some_and(avoided)
    }

    /// The share of a service's nodes that local rules may isolate, in per cent: what they may while the center is
    /// heard, and half of it while nobody is there to tell a bad node from a bad observer.
    #[must_use]
    pub fn local_cap_percent(&self, with_center: u32, now_ms: u64) -> u32 {
        if self.lost(now_ms) {
            with_center / 2
        } else {
            with_center
        }
    }

    /// The number of the last bulletin applied.
    #[must_use]
    pub fn epoch(&self) -> Option<Epoch> {
        self.held.as_ref().map(|(bulletin, _)| bulletin.epoch)
    }

    /// Bulletins that came too late.
    #[must_use]
    pub const fn refused(&self) -> u64 {
        self.refused
    }
}
