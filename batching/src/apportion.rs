//! Splitting cumulative batch sizes over strata: largest remainder with carry, made nested.
//!
//! For cumulative size `C_k` of a pool of `M`, a stratum of `m` is due `C_k·m/M`. It gets the floor or one more, so its
//! cumulative error stays below 1 and is repaired at the next batch. Plain largest remainder may take a target back when sizes
//! grow; here each odd unit is a unit job with release and deadline on the row of batches, and one is given early only where
//! enough is left of each later batch for those that fall due until then ([`Slots`]). The fractional shares are a schedule, so
//! there is one: cohorts nest and the error bound holds together.
//! Only the cap of half an application per batch, and targets taken for coverage, may hold a stratum back or push it ahead; both are
//! worked off later.
//!
//! Within these bounds the odd units go to applications: first to those of which too few have changed to show anything ([`SEEN`]),
//! then to the one furthest behind its share. By deadlines alone small strata would come last, and a small application has no others: it
//! would change all at once in the last batches, where nothing of it is left to compare with.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;

use crate::fleet::group;
use crate::hash::mix;
use crate::index::narrow;
use crate::strata::Stratum;

use slots::Slots;

mod slots;

/// So many targets of an application show what is wrong with it: one with whom something is wrong may be its node's doing, and of few,
/// none leads by much.
const SEEN: u64 = 4;
/// And no more than this part of it, but one, are taken early for that.
const SEEN_SHARE: u64 = 16;

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
    /// Where they are due a part of one more.
    odd: Option<Odd>,
}

/// The batch in which all of one more is due, how critical it is (the most critical ones have the most), and what is missing.
type Odd = (usize, u8, u64);

/// A cut for every batch in which a stratum takes some, in the order of batches; and the number of batches. `None` above `limit`.
pub(crate) fn apportion(shares: &Shares<'_>, limit: u32) -> Option<(Vec<Cut>, u16)> {
    let Some(&all) = shares.sizes.last() else {
        return Some((Vec::new(), 0));
    };
    let pool = u64::from(all);
    let (mut hands, mut groups) = Hands::new(shares);
    let mut slots = Slots::new(
        shares.sizes,
        groups.iter().map(|group| (group.main, group.end - group.begin)),
    );
    let mut cuts = Vec::with_capacity(shares.strata.len() * 2);
    let mut due: Vec<(u32, u32)> = Vec::new();
    let mut batch = 0_u16;
    loop {
        let size = shares.sizes.get(usize::from(batch)).copied().unwrap_or(all);
        hands.open(batch, size);
        let before = hands.total;
        due.clear();
        slots.open(usize::from(batch));
        for group in &mut groups {
            let share = u64::from(size) * u64::from(group.main);
            let floor = u32::try_from(share / pool).unwrap_or(group.main);
            group.floor = floor;
            let left = share % pool;
            group.odd = (left > 0).then(|| (slots.due(group.main, floor + 1), u8::MAX - group.tier, pool - left));
            for (place, &have) in (group.begin..).zip(&hands.have[group.begin as usize..group.end as usize]) {
                if have < floor {
                    due.push((place, floor - have));
                }
                for ahead in floor + 1..=have {
                    let falls_due = slots.due(group.main, ahead);
                    slots.ahead(falls_due);
                }
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
        if hands.budget > 0 {
            slots.share_out();
            hands.give_odd(&groups, &mut slots, size, pool);
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

/// An application's place in the row for odd units: the greatest is the next.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    /// Where more of it have to be seen: how many have been. The fewest first.
    unseen: Option<Reverse<u32>>,
    /// Of its next one while it has to be seen; less critical ones are higher.
    tier: u8,
    /// By how much of a target it is behind its share, times the pool.
    behind: i128,
    tie: u64,
    app: u32,
    /// Of the odd ones those that are left.
    left: (usize, usize),
}

impl Turn {
    const fn left(&self) -> Range<usize> {
        self.left.0..self.left.1
    }
}

/// What has been handed out. Strata stand in the order of their groups, and there by a hash of their number, so that no application is always
/// the first to get an odd one; where they stand is their place.
struct Hands<'a> {
    shares: &'a Shares<'a>,
    /// By place.
    stratum_of: Vec<u32>,
    have: Vec<u32>,
    /// By place, its group.
    group_of: Vec<u32>,
    /// Places by application: those of application `a` are `places[app_first[a]..app_first[a + 1]]`.
    app_first: Vec<u32>,
    places: Vec<u32>,
    /// Per application: targets to hand out, and handed out.
    app_main: Vec<u64>,
    app_have: Vec<u32>,
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
                    odd: None,
                }),
            }
        }
        let stratum_of: Vec<u32> = order.into_iter().map(|(_, stratum)| stratum).collect();
        let have: Vec<u32> = stratum_of
            .iter()
            .map(|&stratum| shares.taken[stratum as usize])
            .collect();
        let mut group_of = vec![0_u32; stratum_of.len()];
        for (number, group) in (0..).zip(&groups) {
            group_of[group.begin as usize..group.end as usize].fill(number);
        }
        let apps = shares.half.len();
        let app = |place: u32| shares.strata[stratum_of[place as usize] as usize].app.at();
        let (app_first, places) = group(narrow(apps), 0..narrow(stratum_of.len()), |place| narrow(app(place)));
        let (mut app_main, mut app_have) = (vec![0_u64; apps], vec![0_u32; apps]);
        for (place, &have) in (0..).zip(&have) {
            app_main[app(place)] += u64::from(shares.main[stratum_of[place as usize] as usize]);
            app_have[app(place)] += have;
        }
        let mut hands = Self {
            shares,
            group_of,
            app_first,
            places,
            app_main,
            app_have,
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
        let app = self.shares.strata[stratum as usize].app.at();
        let room = &mut self.room[app];
        let given = self.classes.limit(stratum, wanted.min(*room).min(self.budget));
        *room -= given;
        self.app_have[app] += given;
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

    /// Gives the rest of the batch away, one by one, to strata that are due a part of one more.
    fn give_odd(&mut self, groups: &[Group], slots: &mut Slots, size: u32, pool: u64) {
        // Application by application, each in the order in which its strata fall due.
        let mut odd: Vec<(Odd, u32)> = Vec::new();
        let mut turns: Vec<Turn> = Vec::with_capacity(self.app_main.len());
        for app in 0..narrow(self.app_main.len()) {
            let begin = odd.len();
            odd.extend(self.places_of(app).iter().filter_map(|&place| {
                let group = &groups[self.group_of[place as usize] as usize];
                let waits = self.have[place as usize] <= group.floor;
                Some((group.odd.filter(|_| waits)?, place))
            }));
            if odd.len() > begin {
                odd[begin..].sort_unstable();
                turns.push(self.turn(app, &odd, begin..odd.len(), size, pool));
            }
        }
        let mut turns = BinaryHeap::from(turns);
        while self.budget > 0
            && let Some(turn) = turns.pop()
        {
            let mut left = turn.left();
            let given = left.any(|at| {
                let ((falls_due, ..), place) = odd[at];
                // Slots only become fewer: what finds none now finds none later.
                slots.has(falls_due) && self.give(place, 1) > 0 && slots.take(falls_due)
            });
            if given && !left.is_empty() {
                turns.push(self.turn(turn.app, &odd, left, size, pool));
            }
        }
    }

    fn places_of(&self, app: u32) -> &[u32] {
        &self.places[self.app_first[app as usize] as usize..self.app_first[app as usize + 1] as usize]
    }

    /// When it is the application's turn, as things stand, if these of its strata are left.
    fn turn(&self, app: u32, odd: &[(Odd, u32)], left: Range<usize>, size: u32, pool: u64) -> Turn {
        let at = app as usize;
        let have = self.app_have[at];
        // The first batch is there to show what is wrong with everybody: many instances of few applications show it sooner.
        let wanted = if self.batch == 0 {
            0
        } else {
            (self.app_main[at] / SEEN_SHARE).clamp(1, SEEN)
        };
        let unseen = u64::from(have) < wanted;
        Turn {
            unseen: unseen.then_some(Reverse(have)),
            tier: if unseen { u8::MAX - odd[left.start].0.1 } else { 0 },
            behind: i128::from(size) * i128::from(self.app_main[at]) - i128::from(have) * i128::from(pool),
            tie: mix(self.shares.seed ^ u64::from(app)),
            app,
            left: (left.start, left.end),
        }
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

    /// Each stratum is an application of its own.
    fn split(main: &[u32], half: u32, sizes: &[u32], seed: u64) -> Vec<Vec<u32>> {
        let apps: Vec<u32> = (0..).take(main.len()).collect();
        split_apps(main, &apps, half, sizes, seed)
    }

    fn split_apps(main: &[u32], apps: &[u32], half: u32, sizes: &[u32], seed: u64) -> Vec<Vec<u32>> {
        let strata: Vec<Stratum> = (apps.iter().zip(main))
            .map(|(&app, &size)| Stratum {
                app: AppIndex(app),
                size,
            })
            .collect();
        let shares = Shares {
            strata: &strata,
            main,
            half: &vec![half; apps.iter().max().map_or(0, |&last| last as usize + 1)],
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

    /// Two applications of 200 in strata of 20, and thirty of 20 in strata of 1: by deadlines the thirty would come last, all at once.
    #[test]
    fn small_applications_are_seen_before_large_ones_go_on() {
        let large = [20_u32; 20];
        let main: Vec<u32> = large.iter().copied().chain([1; 600]).collect();
        let apps: Vec<u32> = (0..20)
            .map(|at| at / 10)
            .chain((0..600).map(|at| 2 + at / 20))
            .collect();
        let sizes = [8, 16, 32, 64, 128, 256, 512, 1_000];
        let cohorts = split_apps(&main, &apps, u32::MAX, &sizes, 5);
        let of_app = |cohort: &[u32], app: u32| -> u32 {
            let own = cohort.iter().zip(&apps).filter(|&(_, &other)| other == app);
            own.map(|(&have, _)| have).sum()
        };
        let seen = |cohort: &[u32], targets| (0..32).filter(|&app| of_app(cohort, app) >= targets).count();
        // With 64 the large ones' strata are due one each, which comes first.
        assert!(seen(&cohorts[2], 1) >= 24, "{:?}", cohorts[2]);
        assert_eq!(seen(&cohorts[3], 1), 32, "{:?}", cohorts[3]);
        assert_eq!(seen(&cohorts[4], 2), 32, "{:?}", cohorts[4]);
        // From then on each has its share.
        for (cohort, size) in cohorts.iter().zip(&sizes).skip(4) {
            for app in 2..32 {
                let (have, due) = (f64::from(of_app(cohort, app)), f64::from(*size) * 20.0 / 1_000.0);
                assert!(
                    (have - due).abs() < 1.0,
                    "application {app} at {size}: {have}, due {due}"
                );
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { rng_seed: proptest::test_runner::RngSeed::Fixed(23), ..ProptestConfig::with_cases(300) })]
        /// Quota and nesting together: what plain largest remainder does not give.
        #[test]
        fn error_stays_below_one_and_cohorts_nest(
            mut strata in prop::collection::vec((0_u32..12, prop_oneof![1_u32..60, 1_u32..4]), 1..60),
            first in 1_u32..5, growth in 1.1_f64..4.0, seed: u64,
        ) {
            strata.sort_unstable();
            let (apps, main): (Vec<u32>, Vec<u32>) = strata.into_iter().unzip();
            let all: u32 = main.iter().sum();
            let sizes = Ramp::geometric(count(first), growth).unwrap().sizes(all, first).unwrap();
            let cohorts = split_apps(&main, &apps, u32::MAX, &sizes, seed);
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
