//! Splitting cumulative batch sizes over strata: largest remainder with carry, made nested.
//!
//! For cumulative size `C_k` of a pool of `M`, a stratum of `m` is due `C_k·m/M`. It gets the floor or one more, so its
//! cumulative error stays below 1 and is repaired at the next batch. Plain largest remainder may take a target back when sizes
//! grow; here the odd units go to the strata whose next unit falls due soonest (earliest deadline first, then the larger
//! remainder). Each unit is a unit job with release and deadline on the row of batches, for which earliest deadline first
//! finds a schedule whenever one exists, and the fractional shares are one: so cohorts nest and the error bound holds together.
//! Only the cap of half an application per batch, and targets taken for coverage, may hold a stratum back or push it ahead; both are
//! worked off later.

use crate::hash::mix;
use crate::index::narrow;
use crate::strata::Stratum;

pub(crate) struct Shares<'a> {
    pub(crate) strata: &'a [Stratum],
    /// Per stratum: targets to hand out.
    pub(crate) main: &'a [u32],
    /// Per application: targets one batch may take.
    pub(crate) half: &'a [u32],
    /// Per stratum: its tier, less critical ones higher; empty where all are alike.
    pub(crate) tier: &'a [u8],
    /// The strata of each class that grows by itself, from one target.
    pub(crate) new_classes: &'a [Vec<u32>],
    /// Per stratum: targets the first batch has already taken.
    pub(crate) taken: &'a [u32],
    /// Cumulative sizes, strictly increasing to the sum of `main`.
    pub(crate) sizes: &'a [u32],
    pub(crate) seed: u64,
}

/// In this batch a stratum comes to have changed so many of its targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    pub(crate) stratum: u32,
    pub(crate) cumulative: u32,
    pub(crate) batch: u16,
}

/// Strata that are due as many in every batch, so that it is worked out once for all of them; they stand in a row.
struct Group {
    main: u32,
    tier: u8,
    begin: u32,
    end: u32,
    /// What each of them is due in this batch, rounded down.
    floor: u32,
}

/// A group whose strata are due one more or not: when they fall due, how critical they are, their remainder, and its number.
type Odd = (usize, u8, u64, usize);

/// A cut for every batch in which a stratum takes some, in the order of batches; and the number of batches. `None` above `limit`.
pub(crate) fn apportion(shares: &Shares<'_>, limit: u32) -> Option<(Vec<Cut>, u16)> {
    let Some(&all) = shares.sizes.last() else {
        return Some((Vec::new(), 0));
    };
    let pool = u64::from(all);
    let (mut hands, mut groups) = Hands::new(shares);
    let mut cuts = Vec::with_capacity(shares.strata.len() * 2);
    let mut due: Vec<(u32, u32)> = Vec::new();
    let mut odd: Vec<Odd> = Vec::new();
    let mut batch = 0_u16;
    loop {
        let size = shares.sizes.get(usize::from(batch)).copied().unwrap_or(all);
        hands.open(batch, size);
        let before = hands.total;
        due.clear();
        odd.clear();
        for (number, group) in groups.iter_mut().enumerate() {
            let share = u64::from(size) * u64::from(group.main);
            let floor = u32::try_from(share / pool).unwrap_or(group.main);
            group.floor = floor;
            let places = &hands.have[group.begin as usize..group.end as usize];
            let behind = (group.begin..).zip(places).filter(|&(_, &have)| have < floor);
            due.extend(behind.map(|(place, &have)| (place, floor - have)));
            let left = share % pool;
            if left > 0 {
                let needed = ((u64::from(floor) + 1) * pool).div_ceil(u64::from(group.main));
                let deadline = shares.sizes.partition_point(|&s| u64::from(s) < needed);
                odd.push((deadline, u8::MAX - group.tier, pool - left, number));
            }
        }
        // Those that the cap of half an application has held back are behind by more than there may be room for: the largest first.
        let due_sum: u64 = due.iter().map(|&(_, wanted)| u64::from(wanted)).sum();
        if due_sum > u64::from(hands.budget) {
            due.sort_unstable_by_key(|&(place, wanted)| (u32::MAX - wanted, place));
        }
        for &(place, wanted) in &due {
            hands.give(place, wanted);
        }
        odd.sort_unstable();
        for &(.., number) in &odd {
            let group = &groups[number];
            for place in group.begin..group.end {
                if hands.budget == 0 {
                    break;
                }
                if hands.have[place as usize] <= group.floor {
                    hands.give(place, 1);
                }
            }
        }
        // A new class leaves others its part of the first batch, which must be large enough to see a fault.
        if batch == 0 && !shares.new_classes.is_empty() {
            hands.top_up();
        }
        // All others have their share, and new classes may not take theirs yet. No batch is for nobody: others go ahead; if there are none,
        // new classes need not wait for a ramp that grows too slowly to let them take one.
        if batch > 0 && hands.total == before {
            hands.top_up();
            if hands.total == before {
                hands.classes.double();
                hands.top_up();
            }
        }
        hands.cut(&mut cuts);
        batch += 1;
        if hands.total >= all {
            return Some((cuts, batch));
        }
        if u32::from(batch) >= limit {
            return None;
        }
    }
}

/// What has been handed out. Strata stand in the order of their groups, and there by a hash of their number, so that no application is always
/// the first to get an odd one; where they stand is their place.
struct Hands<'a> {
    shares: &'a Shares<'a>,
    /// By place.
    stratum_of: Vec<u32>,
    have: Vec<u32>,
    /// Per application: targets this batch may still take.
    room: Vec<u32>,
    /// Places that have taken some in this batch, and by place the last batch in which it did, counted from 1.
    touched: Vec<u32>,
    touched_in: Vec<u32>,
    classes: NewClasses<'a>,
    batch: u16,
    total: u32,
    budget: u32,
}

impl<'a> Hands<'a> {
    fn new(shares: &'a Shares<'a>) -> (Self, Vec<Group>) {
        let tier_of = |stratum: usize| shares.tier.get(stratum).copied().unwrap_or(0);
        let key = |stratum: u32| {
            let tie = mix(shares.seed ^ u64::from(stratum)) >> 40;
            u64::from(shares.main[stratum as usize]) << 32 | u64::from(tier_of(stratum as usize)) << 24 | tie
        };
        let some = (0..narrow(shares.main.len())).filter(|&stratum| shares.main[stratum as usize] > 0);
        let mut order: Vec<(u64, u32)> = some.map(|stratum| (key(stratum), stratum)).collect();
        order.sort_unstable();
        let mut groups: Vec<Group> = Vec::new();
        for (place, &(_, stratum)) in (0..).zip(&order) {
            let (main, tier) = (shares.main[stratum as usize], tier_of(stratum as usize));
            match groups.last_mut() {
                Some(group) if group.main == main && group.tier == tier => group.end = place + 1,
                _ => groups.push(Group {
                    main,
                    tier,
                    begin: place,
                    end: place + 1,
                    floor: 0,
                }),
            }
        }
        let stratum_of: Vec<u32> = order.into_iter().map(|(_, stratum)| stratum).collect();
        let have: Vec<u32> = stratum_of
            .iter()
            .map(|&stratum| shares.taken[stratum as usize])
            .collect();
        let mut hands = Self {
            shares,
            room: shares.half.to_vec(),
            touched: (0..)
                .zip(&have)
                .filter(|&(_, &have)| have > 0)
                .map(|(place, _)| place)
                .collect(),
            touched_in: have.iter().map(|&have| u32::from(have > 0)).collect(),
            total: have.iter().sum(),
            classes: NewClasses::new(shares),
            batch: 0,
            budget: 0,
            stratum_of,
            have,
        };
        for at in 0..hands.touched.len() {
            let place = hands.touched[at] as usize;
            hands.room[shares.strata[hands.stratum_of[place] as usize].app.at()] -= hands.have[place];
        }
        (hands, groups)
    }

    fn open(&mut self, batch: u16, size: u32) {
        if batch > 0 {
            self.room.copy_from_slice(self.shares.half);
        }
        self.batch = batch;
        self.budget = size.saturating_sub(self.total);
        self.classes.open(usize::from(batch), self.shares.sizes);
    }

    /// Gives as many of `wanted` as there is room for. How many that were.
    fn give(&mut self, place: u32, wanted: u32) -> u32 {
        let stratum = self.stratum_of[place as usize];
        let room = &mut self.room[self.shares.strata[stratum as usize].app.at()];
        let given = self.classes.limit(stratum, wanted.min(*room).min(self.budget));
        *room -= given;
        self.budget -= given;
        self.total += given;
        self.have[place as usize] += given;
        let number = u32::from(self.batch) + 1;
        if given > 0 && self.touched_in[place as usize] != number {
            self.touched_in[place as usize] = number;
            self.touched.push(place);
        }
        given
    }

    /// Offers one to each stratum in turn until the budget is spent or nobody takes any.
    fn top_up(&mut self) {
        let mut any = true;
        while any && self.budget > 0 {
            any = false;
            for place in 0..narrow(self.have.len()) {
                let stratum = self.stratum_of[place as usize] as usize;
                let left = self.shares.main[stratum] - self.have[place as usize];
                any |= self.give(place, left.min(1)) > 0;
            }
        }
    }

    /// Ends the batch.
    fn cut(&mut self, cuts: &mut Vec<Cut>) {
        for place in self.touched.drain(..) {
            cuts.push(Cut {
                stratum: self.stratum_of[place as usize],
                cumulative: self.have[place as usize],
                batch: self.batch,
            });
        }
    }
}

/// Classes that grow by themselves: one target first, and then as the ramp does from there.
struct NewClasses<'a> {
    classes: &'a [Vec<u32>],
    /// Per class: targets it has, and targets it may still take in this batch.
    have: Vec<u64>,
    room: Vec<u32>,
    /// The classes of each stratum; empty without any.
    of_stratum: Vec<Vec<u32>>,
    limit: u64,
}

impl<'a> NewClasses<'a> {
    fn new(shares: &Shares<'a>) -> Self {
        let classes = shares.new_classes;
        let mut of_stratum = vec![Vec::new(); if classes.is_empty() { 0 } else { shares.strata.len() }];
        for (class, strata) in (0..).zip(classes) {
            for &stratum in strata {
                of_stratum[stratum as usize].push(class);
            }
        }
        let have = |strata: &Vec<u32>| {
            strata
                .iter()
                .map(|&stratum| u64::from(shares.taken[stratum as usize]))
                .sum()
        };
        Self {
            classes,
            have: classes.iter().map(have).collect(),
            room: vec![0; classes.len()],
            of_stratum,
            limit: 0,
        }
    }

    /// As the ramp has grown since its first batch. Beyond the ramp, where others wait for their caps at most, they double.
    fn open(&mut self, batch: usize, sizes: &[u32]) {
        if self.classes.is_empty() {
            return;
        }
        match sizes.get(batch) {
            Some(&size) => self.limit = self.limit.max(u64::from(size).div_ceil(u64::from(sizes[0].max(1)))),
            None => self.limit = self.limit.saturating_mul(2),
        }
        self.make_room();
    }

    /// Twice as many as the classes might have so far.
    fn double(&mut self) {
        self.limit = self.limit.saturating_mul(2);
        self.make_room();
    }

    fn make_room(&mut self) {
        for (room, have) in self.room.iter_mut().zip(&self.have) {
            *room = u32::try_from(self.limit.saturating_sub(*have)).unwrap_or(u32::MAX);
        }
    }

    /// How many of `wanted` the stratum's classes allow; they have been taken.
    fn limit(&mut self, stratum: u32, wanted: u32) -> u32 {
        let Some(classes) = self.of_stratum.get(stratum as usize) else {
            return wanted;
        };
        let most = classes.iter().map(|&class| self.room[class as usize]).min();
        let given = most.map_or(wanted, |most| most.min(wanted));
        for &class in classes {
            self.room[class as usize] -= given;
            self.have[class as usize] += u64::from(given);
        }
        given
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Shares, apportion};
    use crate::amount::count;
    use crate::index::AppIndex;
    use crate::ramp::Ramp;
    use crate::strata::Stratum;

    fn split(main: &[u32], half: u32, sizes: &[u32], seed: u64) -> Vec<Vec<u32>> {
        let strata: Vec<Stratum> = (0..)
            .zip(main)
            .map(|(app, &size)| Stratum {
                app: AppIndex(app),
                size,
            })
            .collect();
        let shares = Shares {
            strata: &strata,
            main,
            half: &vec![half; main.len()],
            tier: &[],
            new_classes: &[],
            taken: &vec![0; main.len()],
            sizes,
            seed,
        };
        let (cuts, batches) = apportion(&shares, 60_000).unwrap();
        assert!(cuts.is_sorted_by_key(|cut| cut.batch));
        let mut have = vec![0; main.len()];
        let mut cohorts = vec![have.clone(); usize::from(batches)];
        for (batch, cohort) in (0..).zip(&mut cohorts) {
            for cut in cuts.iter().filter(|cut| cut.batch == batch) {
                assert!(cut.cumulative > have[cut.stratum as usize], "{cut:?} takes nothing");
                have[cut.stratum as usize] = cut.cumulative;
            }
            cohort.clone_from(&have);
        }
        cohorts
    }

    #[test]
    fn three_equal_strata() {
        let cohorts = split(&[10, 10, 10], 30, &[1, 3, 6, 30], 1);
        assert_eq!(cohorts[1], [1, 1, 1]);
        assert_eq!(cohorts[2], [2, 2, 2]);
        assert_eq!(cohorts[3], [10, 10, 10]);
    }

    /// 40 strata of 5 are due 0.5 and then 0.625; 35 strata of 24 are due 2.4 and then exactly 3. By remainder alone the
    /// small ones would take all 34 odd units of the first batch, and nine large ones could not get their third in time.
    #[test]
    fn who_falls_due_sooner_goes_before_a_larger_remainder() {
        let main: Vec<u32> = [vec![5; 40], vec![24; 35]].concat();
        let cohorts = split(&main, u32::MAX, &[104, 130, 1_040], 9);
        assert_eq!(cohorts[0].iter().sum::<u32>(), 104);
        assert!(cohorts[1][40..].iter().all(|&have| have == 3), "{:?}", cohorts[1]);
        assert_eq!(cohorts[1][..40].iter().sum::<u32>(), 25);
    }

    proptest! {
        #![proptest_config(ProptestConfig { rng_seed: proptest::test_runner::RngSeed::Fixed(23), ..ProptestConfig::with_cases(300) })]
        /// Quota and nesting together: what plain largest remainder does not give.
        #[test]
        fn error_stays_below_one_and_cohorts_nest(
            main in prop::collection::vec(1_u32..60, 1..40), first in 1_u32..5, growth in 1.1_f64..4.0, seed: u64,
        ) {
            let all: u32 = main.iter().sum();
            let sizes = Ramp::geometric(count(first), growth).unwrap().sizes(all, first).unwrap();
            let cohorts = split(&main, u32::MAX, &sizes, seed);
            prop_assert_eq!(cohorts.len(), sizes.len());
            for (k, cohort) in cohorts.iter().enumerate() {
                prop_assert_eq!(cohort.iter().sum::<u32>(), sizes[k]);
                for (s, &have) in cohort.iter().enumerate() {
                    let ideal = f64::from(sizes[k]) * f64::from(main[s]) / f64::from(all);
                    prop_assert!((f64::from(have) - ideal).abs() < 1.0, "batch {} stratum {}: {} of {}", k, s, have, ideal);
                    prop_assert!(k == 0 || have >= cohorts[k - 1][s]);
                }
            }
        }

        #[test]
        fn a_cap_per_batch_only_delays(main in prop::collection::vec(1_u32..60, 1..20), half in 1_u32..10, seed: u64) {
            let all: u32 = main.iter().sum();
            let sizes = Ramp::geometric(count(1), 3.0).unwrap().sizes(all, 1).unwrap();
            let cohorts = split(&main, half, &sizes, seed);
            for (k, cohort) in cohorts.iter().enumerate() {
                for (s, &have) in cohort.iter().enumerate() {
                    let had = if k == 0 { 0 } else { cohorts[k - 1][s] };
                    prop_assert!(have >= had && have - had <= half);
                }
                prop_assert!(cohort.iter().sum::<u32>() <= sizes.get(k).copied().unwrap_or(all));
            }
            prop_assert_eq!(&cohorts[cohorts.len() - 1], &main);
        }
    }
}
