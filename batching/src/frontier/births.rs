//! Targets born during the change.

use super::event::{JoinError, Side};
use super::lane::{Lane, NO_SET, Phase, State, Usage};
use super::{Frontier, narrow};
use crate::hash::position;
use crate::index::{NONE, TargetIndex, ValueIndex};

/// Where a born target belongs.
#[derive(Clone, Copy)]
struct Place {
    lane: u32,
    stratum: u32,
    batch: u16,
}

impl Frontier {
    /// Which version a target born now must run. Pure, allocates nothing, and costs a few look-ups.
    ///
    /// New only where all of this holds: the change is not being taken back; the target's place by hash is in a batch that is
    /// open for its lane; and its stratum would not come to have a larger share in open batches than the plan gives it. An
    /// application or stratum that the plan does not know gets Old until the change, or the lane, is done.
    #[must_use]
    pub fn version_for(&self, id: &str, app: &str, labels: &[(&str, &str)]) -> Side {
        let place = self.place(id, app, labels);
        let new = if self.rolling_back {
            false
        } else if place.lane == NONE {
            self.is_done()
        } else if place.stratum == NONE {
            self.lane_is_done(place.lane)
        } else {
            place.batch <= self.lanes[place.lane as usize].open && self.share_allows(place)
        };
        if new { Side::New } else { Side::Old }
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
        let _ = at;
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
        for key in 0..self.capped.len() {
            let set = self.set_of_birth(key, labels).ok_or_else(too_many)?;
            self.sets_of.push(set);
        }
        let open = self.lanes[place.lane as usize].open;
        let batch = match born_with {
            Side::New => place.batch.min(open),
            Side::Old if place.batch > open || place.stratum == NONE || self.share_allows(place) => place.batch,
            Side::Old => (open + 1).min(self.layout.last_batch),
        };
        self.app_of.push(place.lane);
        self.stratum_of.push(place.stratum);
        self.batch_of.push(batch);
        self.state.push(State::new(Phase::Done));
        self.for_each_set(target, |set| set.size += 1);
        self.lanes[place.lane as usize].size += 1;
        if place.stratum != NONE {
            let live = &mut self.live[place.stratum as usize];
            live.size += 1;
            live.committed += u32::from(batch <= open);
        }
        match born_with {
            Side::New => {
                self.lanes[place.lane as usize].done += 1;
                self.expose(target);
            }
            Side::Old => {
                self.state[target as usize] = State::new(Phase::Waiting);
                self.waiting += 1;
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
        let last = self.layout.last_batch;
        let Some(lane) = self.apps.get(app) else {
            return Place {
                lane: NONE,
                stratum: NONE,
                batch: last,
            };
        };
        // A value nobody had when planning equals none.
        let values = self.spread.iter().map(|(key, names)| {
            let label = labels.iter().find(|(name, _)| name == key);
            label.map(|(_, value)| ValueIndex(names.get(value).unwrap_or(NONE)))
        });
        match self.layout.find(lane, values) {
            Some(stratum) => Place {
                lane,
                stratum,
                batch: self.layout.batch_of_hash(stratum, position(self.layout.seed, id)),
            },
            None => Place {
                lane,
                stratum: NONE,
                batch: last,
            },
        }
    }

    /// Whether one more target in open batches keeps the stratum's planned share: `committed + 1 <= ceil(cohort · (live + 1) / planned)`.
    fn share_allows(&self, place: Place) -> bool {
        let open = self.lanes[place.lane as usize].open;
        if open >= self.layout.last_batch {
            return true;
        }
        let live = self.live[place.stratum as usize];
        let planned = u64::from(self.layout.strata[place.stratum as usize].size);
        let cohort = u64::from(self.layout.cohort_size(place.stratum, open));
        u64::from(live.committed) < (cohort * (u64::from(live.size) + 1)).div_ceil(planned)
    }

    /// The set of a born target's value of a capped key; a value never seen gets a set of its own.
    fn set_of_birth(&mut self, at: usize, labels: &[(&str, &str)]) -> Option<u32> {
        let key = &mut self.capped[at];
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
