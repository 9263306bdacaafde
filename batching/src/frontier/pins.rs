//! Pins: who must stay for a while.

use std::collections::BTreeMap;

use super::Frontier;
use super::lane::{PINNED, Phase, UNHEALTHY};
use crate::fleet::Fleet;
use crate::index::TargetIndex;
use crate::policy::Pin;

impl Frontier {
    /// Pins the planned targets in the scopes of all pins.
    pub(super) fn pin_planned(&mut self, fleet: &Fleet) {
        let mut ends: BTreeMap<u32, u64> = BTreeMap::new();
        for pin in &self.rules.pins {
            let labels: Vec<_> = pin
                .scope
                .labels
                .iter()
                .map(|(key, value)| fleet.key_index(key).map(|key| (key, fleet.values_of(key).get(value))))
                .collect();
            let mut pin_one = |target: TargetIndex| {
                let holds = labels.iter().all(|label| {
                    label.is_some_and(|(key, value)| {
                        value.is_some() && fleet.label(target, key).map(|found| found.0) == value
                    })
                });
                if holds {
                    let end = ends.entry(target.0).or_default();
                    *end = pin.until_ms.max(*end);
                }
            };
            match pin.scope.app.as_ref().map(|app| fleet.app_index(app)) {
                Some(Some(app)) => fleet.targets_of(app).for_each(pin_one),
                Some(None) => {}
                None => fleet.targets().for_each(&mut pin_one),
            }
        }
        for (target, until_ms) in ends {
            self.pin_target(target, until_ms);
        }
    }

    /// Holds a target until the last of its pins ends.
    pub(super) fn pin_target(&mut self, target: u32, until_ms: u64) {
        self.state[target as usize].set(PINNED);
        self.pin_ends.insert((until_ms, target));
        let lane = self.lane_of(target);
        lane.pinned_until = lane.pinned_until.max(until_ms);
    }

    /// When the last pin on a target born now ends.
    pub(super) fn pin_of_birth(&self, app: &str, labels: &[(&str, &str)]) -> Option<u64> {
        let holds = |pin: &&Pin| {
            pin.until_ms > self.now_ms
                && pin.scope.app.as_deref().is_none_or(|wanted| wanted == app)
                && pin
                    .scope
                    .labels
                    .iter()
                    .all(|(key, value)| labels.contains(&(key.as_str(), value.as_str())))
        };
        self.rules.pins.iter().filter(holds).map(|pin| pin.until_ms).max()
    }

    /// Lets those go whose pins have ended.
    pub(super) fn unpin(&mut self) {
        while let Some(&(until, target)) = self.pin_ends.first()
            && until <= self.now_ms
        {
            self.pin_ends.pop_first();
            self.state[target as usize].clear(PINNED);
            let state = self.state[target as usize];
            if state.phase == Phase::Waiting && self.is_open(target) && !self.rolling_back {
                if state.has(UNHEALTHY) {
                    self.queue_unwell(target);
                } else {
                    self.queue_again(target);
                }
                let app = self.app_of[target as usize];
                self.spare_the_last(app);
                self.wake(app);
            }
        }
    }
}
