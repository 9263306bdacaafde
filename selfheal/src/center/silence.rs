//! Who has fallen silent.

use std::collections::{BTreeMap, BTreeSet};

use super::ids::{NodeId, ZoneId};

/// When each reporter was heard last.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hearing {
    last_ms: BTreeMap<NodeId, u64>,
}

impl Hearing {
    /// Hears a reporter; whether it is the first time.
    pub(crate) fn heard(&mut self, reporter: NodeId, now_ms: u64) -> bool {
        self.last_ms.insert(reporter, now_ms).is_none()
    }

    pub(crate) fn forget(&mut self, reporter: NodeId) {
        self.last_ms.remove(&reporter);
    }

    /// The center itself was away: nobody is blamed for that.
    pub(crate) fn excuse(&mut self, now_ms: u64) {
        self.last_ms.values_mut().for_each(|last_ms| *last_ms = now_ms);
    }

    pub(crate) fn reporters(&self) -> impl Iterator<Item = NodeId> {
        self.last_ms.keys().copied()
    }

    pub(crate) fn hears(&self, reporter: NodeId, now_ms: u64, lease_ms: u64) -> bool {
        self.last_ms
            .get(&reporter)
            .is_some_and(|last_ms| now_ms.saturating_sub(*last_ms) <= lease_ms)
    }

    /// Zones of which more than half of two or more reporters are silent, and whether more than half of all are.
    pub(crate) fn silent(
        &self,
        zone_of: impl Fn(NodeId) -> Option<ZoneId>,
        now_ms: u64,
        lease_ms: u64,
    ) -> (BTreeSet<ZoneId>, bool) {
        let mut zones: BTreeMap<ZoneId, (usize, usize)> = BTreeMap::new();
        for reporter in self.last_ms.keys() {
            if let Some(zone) = zone_of(*reporter) {
                let (silent, all) = zones.entry(zone).or_default();
                *silent += usize::from(!self.hears(*reporter, now_ms, lease_ms));
                *all += 1;
            }
        }
        let (silent, all) = zones
            .values()
            .fold((0, 0), |(s, a), (silent, all)| (s + silent, a + all));
        let most = |(silent, all): &(usize, usize)| *all >= 2 && 2 * silent > *all;
        (
            zones
                .iter()
                .filter(|(_, counts)| most(counts))
                .map(|(zone, _)| *zone)
                .collect(),
            most(&(silent, all)),
        )
    }
}
