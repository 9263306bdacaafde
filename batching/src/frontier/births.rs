//! Targets born during the change.

use super::event::{JoinError, Side};
use super::lane::{Lane, NO_SET, Phase, State, Usage};
use super::{Frontier, narrow};
use crate::hash::{ends_of, position_from};
use crate::index::{NONE, TargetIndex};
use crate::layout::{print_of, print_of_app, print_of_labels};
use crate::refine::slot;

/// Where a born target belongs.
#[derive(Clone, Copy)]
struct Place {
    lane: u32,
    stratum: u32,
    batch: u16,
}

impl Frontier {
    /// Which version a target born now must run. Pure, and allocates nothing.
    ///
    /// New only where all of this holds: the change is not being taken back; no pin holds the target; its place by hash is in
    /// a batch that is open for its lane; its stratum would not come to have a larger share in open batches than the plan
    /// gives it; and it would not be the first exposure of a value that must have its own. An application or stratum that
    /// the plan does not know gets Old until the change, or the lane, is done.
    #[must_use]
    pub fn version_for(&self, id: &str, app: &str, labels: &[(&str, &str)]) -> Side {
        if self.rolling_back {
            return Side::Old;
        }
        let new = match self.stratum_of_birth(app, labels) {
            Some(stratum) => {
                let live = &self.live[stratum as usize];
                position_from(self.mixed_seed, id.as_bytes()) < live.below && live.share_allows()
            }
            None => match self.apps.get(app) {
                Some(lane) => self.lane_is_done(lane),
                None => self.is_done(),
            },
        };
        if new && self.may_be_born_new(app, labels) {
            Side::New
        } else {
            Side::Old
        }
    }

    /// Neither pinned, nor the first of a value whose first exposure excludes others.
    fn may_be_born_new(&self, app: &str, labels: &[(&str, &str)]) -> bool {
        if !self.rules.pins.is_empty() && self.pin_of_birth(app, labels).is_some() {
            return false;
        }
        !self.rules.one_first
            || self.tracked.iter().filter(|key| key.first_line.is_some()).all(|key| {
                let Some((_, value)) = labels.iter().find(|(name, _)| *name == key.name) else {
                    return true;
                };
                let set = key.values.get(value).map(|value| key.sets[value as usize]);
                set.is_some_and(|set| self.sets[set as usize].settled || key.exposing == Some(set))
            })
    }

    fn stratum_of_birth(&self, app: &str, labels: &[(&str, &str)]) -> Option<u32> {
        let values = self.spread.iter().enumerate().map(|(at, key)| {
            // Callers name labels in one order more often than not.
            let label = labels.get(at).filter(|(name, _)| same(name, key));
            let label = label.or_else(|| labels.iter().find(|(name, _)| same(name, key)));
            label.map(|(_, value)| *value)
        });
        let print = print_of(print_of_app(app), print_of_labels(values));
        let mask = self.layout.table.len().checked_sub(1)?;
        let mut place = slot(print, mask);
        loop {
            let found = self.layout.table[place];
            if self.live.get(found as usize)?.print == print {
                return Some(found);
            }
            place = (place + 1) & mask;
        }
    }

    /// Records a birth and gives the target its index, the next number. Ids are not compared: a name may leave and come back.
    ///
    /// Born New, it is done and counts as exposed. Born Old, it waits in the batch of its hash; if that one is open it waits there, or
    /// in the next batch where its stratum has its share already. A stratum or application the plan does not know waits for the last batch. `at`
    /// is the moment in milliseconds; it decides nothing.
    ///
    /// # Errors
    /// [`JoinError`]; nothing is recorded then.
    pub fn join(
        &mut self,
        id: &str,
        app: &str,
        labels: &[(&str, &str)],
        born_with: Side,
        at: u64,
    ) -> Result<TargetIndex, JoinError> {
        self.now_ms = self.now_ms.max(at);
        if id.is_empty() {
            return Err(JoinError::EmptyId);
        }
        if app.is_empty() {
            return Err(JoinError::EmptyApp { id: id.to_owned() });
        }
        let too_many = || JoinError::TooMany { id: id.to_owned() };
        let target = u32::try_from(self.state.len())
            .ok()
            .filter(|&index| index < NONE)
            .ok_or_else(too_many)?;
        let mut place = self.place(id, app, labels);
        if place.lane == NONE {
            place.lane = self.apps.insert(app).ok_or_else(too_many)?.0;
            self.lanes.push(Lane::default());
        }
        for key in 0..self.tracked.len() {
            let set = self.set_of_birth(key, labels).ok_or_else(too_many)?;
            self.sets_of.push(set);
        }
        let open = self.lanes[place.lane as usize].open;
        let batch = match born_with {
            Side::New => place.batch.min(open),
            Side::Old
                if place.batch > open || place.stratum == NONE || self.live[place.stratum as usize].share_allows() =>
            {
                place.batch
            }
            Side::Old => (open + 1).min(self.layout.last_batch),
        };
        let pinned = self.pin_of_birth(app, labels);
        self.app_of.push(place.lane);
        self.stratum_of.push(place.stratum);
        self.batch_of.push(batch);
        self.state.push(State::new(Phase::Done));
        self.for_each_set(target, |set| set.size += 1);
        let lane = &mut self.lanes[place.lane as usize];
        lane.size += 1;
        if self.rules.headroom.is_some() {
            // What it can carry is not known yet: as much as its like.
            lane.ready_capacity += u64::from(lane.usual_capacity);
            self.capacity.push(lane.usual_capacity);
        }
        if place.stratum != NONE {
            let live = &mut self.live[place.stratum as usize];
            live.size += 1;
            live.committed += u32::from(batch <= open);
        }
        match born_with {
            Side::New => {
                self.lanes[place.lane as usize].done += 1;
                self.expose(target);
                self.seen_well(target);
            }
            Side::Old => {
                self.state[target as usize].phase = Phase::Waiting;
                self.waiting += 1;
                if let Some(until_ms) = pinned {
                    self.pin_target(target, until_ms);
                }
                if batch <= open {
                    self.lanes[place.lane as usize].waiting_open += 1;
                    self.queue_again(target);
                } else {
                    let step = self.lanes[place.lane as usize].closed_step(batch);
                    step.waiting += 1;
                    step.born.push(target);
                }
                self.spare_the_last(place.lane);
            }
        }
        self.wake(place.lane);
        Ok(TargetIndex(target))
    }

    fn place(&self, id: &str, app: &str, labels: &[(&str, &str)]) -> Place {
        let unknown = |lane| Place {
            lane,
            stratum: NONE,
            batch: self.layout.last_batch,
        };
        let Some(lane) = self.apps.get(app) else {
            return unknown(NONE);
        };
        // A value nobody had when planning is no stratum's.
        match self.stratum_of_birth(app, labels) {
            Some(stratum) => Place {
                lane,
                stratum,
                batch: self
                    .layout
                    .batch_of_hash(stratum, position_from(self.mixed_seed, id.as_bytes())),
            },
            None => unknown(lane),
        }
    }

    /// The set of a born target's value of a capped key; a value never seen gets a set of its own.
    fn set_of_birth(&mut self, at: usize, labels: &[(&str, &str)]) -> Option<u32> {
        let key = &mut self.tracked[at];
        let Some((_, value)) = labels.iter().find(|(name, _)| *name == key.name) else {
            return Some(NO_SET);
        };
        let (value, new) = key.values.insert(value)?;
        if new {
            key.sets.push(narrow(self.sets.len()));
            self.sets.push(Usage {
                key: narrow(at),
                ..Usage::default()
            });
        }
        Some(key.sets[value as usize])
    }
}

/// Equality of short names, without a call.
fn same(a: &str, b: &str) -> bool {
    a.len() == b.len()
        && if a.len() <= 16 {
            ends_of(a.as_bytes()) == ends_of(b.as_bytes())
        } else {
            a == b
        }
}
