//! Targets alike in application and spread labels, in the order in which they change.

use serde::{Deserialize, Serialize};

use crate::fleet::Fleet;
use crate::hash::{mix, position_from};
use crate::index::{AppIndex, KeyIndex, NONE, TargetIndex, narrow};
use crate::refine::refine;

/// Targets alike in application and spread labels; [`Plan::labels_of`](crate::Plan::labels_of) has the labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Stratum {
    /// The application.
    pub app: AppIndex,
    /// Number of targets when planned.
    pub size: u32,
}

/// A target where its application's stand. Planning works with seats, application by application, and hands out batches to targets in the
/// end: what belongs together lies together.
#[derive(Clone, Copy)]
pub(crate) struct Seat {
    pub(crate) hash: u64,
    pub(crate) target: TargetIndex,
    pub(crate) stratum: u32,
}

/// A fleet split into strata, each in hash order.
pub(crate) struct Draw {
    /// By application, then hash; applications as in the fleet.
    pub(crate) seats: Vec<Seat>,
    /// By application, and within one in order of first sight.
    pub(crate) strata: Vec<Stratum>,
    /// For each stratum the values of the spread keys, `NONE` for none.
    pub(crate) labels: Vec<u32>,
    /// Strata of application `a`: `app_first[a]..app_first[a + 1]`.
    pub(crate) app_first: Vec<u32>,
    /// Seats by stratum, then hash: stratum `s` is `members[first[s]..first[s + 1]]`.
    pub(crate) members: Vec<u32>,
    pub(crate) first: Vec<u32>,
}

impl Draw {
    /// Works application by application, so that what is sorted and counted stays in the caches.
    pub(crate) fn new(fleet: &Fleet, spread: &[KeyIndex], seed: u64) -> Self {
        let (seats, combos) = deal(fleet, spread, seed);
        let apps = fleet.app_count();
        let mut draw = Self {
            members: vec![0; seats.len()],
            seats,
            strata: Vec::with_capacity(apps as usize),
            labels: Vec::with_capacity(apps as usize * spread.len()),
            app_first: Vec::with_capacity(apps as usize + 1),
            first: Vec::with_capacity(apps as usize + 1),
        };
        // The stratum of a combination of labels in the application at hand; those of earlier ones are below its first.
        let mut of_combo = vec![NONE; combos as usize];
        let mut sorter = Sorter::default();
        let mut next: Vec<u32> = Vec::new();
        for (app, ends) in (0..).map(AppIndex).zip(fleet.app_starts().windows(2)) {
            let base = narrow(draw.strata.len());
            draw.app_first.push(base);
            let seats = &mut draw.seats[ends[0] as usize..ends[1] as usize];
            for seat in &mut *seats {
                let place = &mut of_combo[seat.stratum as usize];
                if *place == NONE || *place < base {
                    *place = narrow(draw.strata.len());
                    draw.strata.push(Stratum { app, size: 0 });
                    let label = |&key: &KeyIndex| fleet.raw_label(seat.target.0, key);
                    draw.labels.extend(spread.iter().map(label));
                }
                seat.stratum = *place;
                draw.strata[*place as usize].size += 1;
            }
            sorter.sort(seats);
            next.clear();
            let mut begin = ends[0];
            for stratum in &draw.strata[base as usize..] {
                next.push(begin);
                draw.first.push(begin);
                begin += stratum.size;
            }
            for (at, seat) in (ends[0]..).zip(&*seats) {
                let place = &mut next[(seat.stratum - base) as usize];
                draw.members[*place as usize] = at;
                *place += 1;
            }
        }
        draw.app_first.push(narrow(draw.strata.len()));
        draw.first.push(narrow(draw.seats.len()));
        draw
    }

    pub(crate) fn members_of(&self, stratum: u32) -> &[u32] {
        let at = stratum as usize;
        &self.members[self.first[at] as usize..self.first[at + 1] as usize]
    }

    pub(crate) fn target(&self, seat: u32) -> TargetIndex {
        self.seats[seat as usize].target
    }

    pub(crate) fn hash(&self, seat: u32) -> u64 {
        self.seats[seat as usize].hash
    }

    pub(crate) fn stratum_of(&self, seat: u32) -> u32 {
        self.seats[seat as usize].stratum
    }
}

/// Hashes every target and seats it at its application, in fleet order, with its combination of labels for a stratum. Returns
/// the number of combinations, too.
fn deal(fleet: &Fleet, spread: &[KeyIndex], seed: u64) -> (Vec<Seat>, u32) {
    /// Combinations of which a table stays in the caches even where most of them are not there.
    const FEW: u32 = 1 << 12;
    let widths = spread.iter().map(|&key| fleet.value_count(key).saturating_add(1));
    let all = widths.fold(1_u32, u32::saturating_mul);
    let place = |target: u32| {
        spread.iter().fold(0, |sum, &key| {
            // Beside the values there is "none", which comes last.
            let values = fleet.value_count(key);
            sum * (values + 1) + fleet.raw_label(target, key).min(values)
        })
    };
    if all <= FEW {
        return (seat(fleet, seed, place), all);
    }
    let mut combo_of = vec![0_u32; fleet.len()];
    let mut combos = 1;
    for &key in spread {
        combos = refine(&mut combo_of, combos, fleet.value_count(key), |at| {
            fleet.raw_label(narrow(at), key)
        });
    }
    (seat(fleet, seed, |target| combo_of[target as usize]), combos)
}

fn seat(fleet: &Fleet, seed: u64, combo_of: impl Fn(u32) -> u32) -> Vec<Seat> {
    let start = mix(seed);
    let nobody = Seat {
        hash: 0,
        target: TargetIndex(0),
        stratum: 0,
    };
    let mut seats = vec![nobody; fleet.len()];
    let mut next = fleet.app_starts().to_vec();
    for target in fleet.targets() {
        let place = &mut next[fleet.app_of(target).at()];
        seats[*place as usize] = Seat {
            hash: position_from(start, fleet.id_bytes(target)),
            target,
            stratum: combo_of(target.0),
        };
        *place += 1;
    }
    seats
}

/// Sorts seats by hash, then target. Hashes are spread evenly, so counting by their high bits leaves little to compare.
#[derive(Default)]
struct Sorter {
    spare: Vec<Seat>,
    ends: Vec<u32>,
}

impl Sorter {
    fn sort(&mut self, seats: &mut [Seat]) {
        const FEW: usize = 16;
        /// Places that stay in the caches while they are dealt to.
        const MOST_BITS: u32 = 12;
        let key = |seat: &Seat| (seat.hash, seat.target);
        if seats.len() > FEW {
            let bits = seats.len().ilog2().min(MOST_BITS);
            self.deal(seats, bits);
            if seats.len() >> bits >= FEW {
                let mut begin = 0;
                for &end in &self.ends[..1 << bits] {
                    seats[begin..end as usize].sort_unstable_by_key(key);
                    begin = end as usize;
                }
                return;
            }
        }
        // Nearly in order: each stands at most some places off.
        for at in 1..seats.len() {
            let seat = seats[at];
            let mut to = at;
            while to > 0 && key(&seats[to - 1]) > key(&seat) {
                seats[to] = seats[to - 1];
                to -= 1;
            }
            seats[to] = seat;
        }
    }

    /// Deals seats to buckets by the first bits of their hashes; `ends[b]` is then where bucket `b` ends.
    fn deal(&mut self, seats: &mut [Seat], bits: u32) {
        let bucket = |seat: &Seat| usize::try_from(seat.hash >> (64 - bits)).unwrap_or(0);
        self.ends.clear();
        self.ends.resize((1 << bits) + 1, 0);
        for seat in &*seats {
            self.ends[bucket(seat) + 1] += 1;
        }
        for at in 1..self.ends.len() {
            self.ends[at] += self.ends[at - 1];
        }
        self.spare.clear();
        self.spare.extend_from_slice(seats);
        for seat in &self.spare {
            let place = &mut self.ends[bucket(seat)];
            seats[*place as usize] = *seat;
            *place += 1;
        }
    }
}
