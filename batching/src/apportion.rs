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

pub(crate) struct Shares<'a> {
    /// Per stratum: targets to hand out.
    pub(crate) main: &'a [u32],
    pub(crate) app_of: &'a [u32],
    /// Per application: targets one batch may take.
    pub(crate) half: &'a [u32],
    /// Per stratum: its tier, less critical ones higher; empty where all are alike.
    pub(crate) tier: &'a [u8],
    /// The strata of each class that grows by itself, from one target.
    pub(crate) new_classes: &'a [Vec<u32>],
    /// Per stratum: targets the first batch has already taken.
    pub(crate) taken: Vec<u32>,
    /// Cumulative sizes, strictly increasing to the sum of `main`.
    pub(crate) sizes: &'a [u32],
    pub(crate) seed: u64,
}

/// Calls `take(batch, stratum, from, to)` for every batch that takes targets `from..to` of a stratum. Returns the number of batches, or
/// `None` above `limit`.
pub(crate) fn apportion(shares: Shares<'_>, limit: u32, mut take: impl FnMut(u16, u32, u32, u32)) -> Option<u16> {
    let Shares {
        main,
        app_of,
        half,
        tier,
        new_classes,
        mut taken,
        sizes,
        seed,
    } = shares;
    let Some(&all) = sizes.last() else { return Some(0) };
    let pool = u64::from(all);
    let mut before = vec![0_u32; main.len()];
    let mut room = half.to_vec();
    for (stratum, &already) in taken.iter().enumerate() {
        room[app_of[stratum] as usize] -= already;
    }
    let mut total: u32 = taken.iter().sum();
    let mut due: Vec<(u32, u32)> = Vec::new();
    let mut odd: Vec<Odd> = Vec::new();
    let mut classes = NewClasses::new(new_classes, main.len());
    let mut batch = 0_u16;
    loop {
        let size = sizes.get(usize::from(batch)).copied().unwrap_or(all);
        let mut budget = size.saturating_sub(total);
        classes.open(usize::from(batch), sizes, &taken);
        due.clear();
        odd.clear();
        let mut due_sum = 0;
        for (stratum, (&m, &have)) in (0..).zip(main.iter().zip(&taken)) {
            let share = u64::from(size) * u64::from(m);
            let floor = u32::try_from(share / pool).unwrap_or(m);
            if floor > have {
                due.push((stratum, floor - have));
                due_sum += floor - have;
            }
            if floor >= have && floor < m && share % pool > 0 {
                let needed = ((u64::from(floor) + 1) * pool).div_ceil(u64::from(m));
                let deadline = sizes.partition_point(|&s| u64::from(s) < needed);
                let tier = tier.get(stratum as usize).copied().unwrap_or(0);
                let remainder = pool - share % pool;
                odd.push((
                    deadline,
                    u8::MAX - tier,
                    remainder,
                    mix(seed ^ u64::from(stratum)),
                    stratum,
                ));
            }
        }
        let mut give = |stratum: u32, wanted: u32, budget: &mut u32| {
            let place = &mut room[app_of[stratum as usize] as usize];
            let given = classes.limit(stratum, wanted.min(*place).min(*budget));
            *place -= given;
            *budget -= given;
            taken[stratum as usize] += given;
        };
        if due_sum > budget {
            due.sort_unstable_by_key(|&(stratum, wanted)| (u32::MAX - wanted, mix(seed ^ u64::from(stratum))));
        }
        for &(stratum, wanted) in &due {
            give(stratum, wanted, &mut budget);
        }
        let first = budget as usize;
        if first < odd.len() {
            odd.select_nth_unstable(first);
            for entry in &odd[..first] {
                give(entry.4, 1, &mut budget);
            }
            // Some applications had no room: the next in line take their places.
            if budget > 0 {
                odd[first..].sort_unstable();
            }
            for entry in &odd[first..] {
                if budget == 0 {
                    break;
                }
                give(entry.4, 1, &mut budget);
            }
        } else {
            for entry in &odd {
                give(entry.4, 1, &mut budget);
            }
        }
        // A new class leaves others its part of the first batch, which must be large enough to see a fault.
        if batch == 0 && !new_classes.is_empty() {
            top_up(main, &mut budget, |stratum, budget| {
                let free =
                    room[app_of[stratum as usize] as usize].min(main[stratum as usize] - taken[stratum as usize]);
                let given = classes.limit(stratum, free.min(*budget).min(1));
                room[app_of[stratum as usize] as usize] -= given;
                taken[stratum as usize] += given;
                *budget -= given;
                given > 0
            });
        }
        total = 0;
        for (stratum, (have, had)) in (0..).zip(taken.iter().zip(before.iter_mut())) {
            if *have > *had {
                take(batch, stratum, *had, *have);
                *had = *have;
            }
            total += *have;
        }
        batch += 1;
        if total >= all {
            return Some(batch);
        }
        if u32::from(batch) >= limit {
            return None;
        }
        room.copy_from_slice(half);
    }
}

/// Offers one to each stratum in turn until the budget is spent or nobody takes any.
fn top_up(main: &[u32], budget: &mut u32, mut give: impl FnMut(u32, &mut u32) -> bool) {
    let mut any = true;
    while any && *budget > 0 {
        any = false;
        for stratum in 0..narrow(main.len()) {
            any |= *budget > 0 && give(stratum, budget);
        }
    }
}

/// A stratum due one more or not: when it falls due, how critical it is, its remainder, a tie-break, and its number.
type Odd = (usize, u8, u64, u64, u32);

/// Classes that grow by themselves: one target first, and then as the ramp does from there.
struct NewClasses<'a> {
    classes: &'a [Vec<u32>],
    /// Per class: targets it may still take in this batch.
    room: Vec<u32>,
    /// The classes of each stratum; empty without any.
    of_stratum: Vec<Vec<u32>>,
    limit: u64,
}

impl<'a> NewClasses<'a> {
    fn new(classes: &'a [Vec<u32>], strata: usize) -> Self {
        let mut of_stratum = vec![Vec::new(); if classes.is_empty() { 0 } else { strata }];
        for (class, strata) in (0..).zip(classes) {
            for &stratum in strata {
                of_stratum[stratum as usize].push(class);
            }
        }
        Self {
            classes,
            room: vec![0; classes.len()],
            of_stratum,
            limit: 0,
        }
    }

    /// Beyond the ramp, where only classes like these are left, they double.
    fn open(&mut self, batch: usize, sizes: &[u32], taken: &[u32]) {
        if self.classes.is_empty() {
            return;
        }
        self.limit = match sizes.get(batch) {
            Some(&size) => u64::from(size).div_ceil(u64::from(sizes[0].max(1))),
            None => self.limit.saturating_mul(2),
        };
        for (room, strata) in self.room.iter_mut().zip(self.classes) {
            let have: u64 = strata.iter().map(|&stratum| u64::from(taken[stratum as usize])).sum();
            *room = u32::try_from(self.limit.saturating_sub(have)).unwrap_or(u32::MAX);
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
        }
        given
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Shares, apportion};
    use crate::amount::count;
    use crate::ramp::Ramp;

    fn split(main: &[u32], half: u32, sizes: &[u32], seed: u64) -> Vec<Vec<u32>> {
        let app_of: Vec<u32> = (0..main.len()).map(|s| u32::try_from(s).unwrap()).collect();
        let half = vec![half; main.len()];
        let mut cohorts: Vec<Vec<u32>> = Vec::new();
        let mut have = vec![0; main.len()];
        let shares = Shares {
            main,
            app_of: &app_of,
            half: &half,
            tier: &[],
            new_classes: &[],
            taken: vec![0; main.len()],
            sizes,
            seed,
        };
        let batches = apportion(shares, 60_000, |batch, stratum, from, to| {
            while cohorts.len() <= usize::from(batch) {
                cohorts.push(have.clone());
            }
            assert_eq!(have[stratum as usize], from);
            have[stratum as usize] = to;
            cohorts[usize::from(batch)] = have.clone();
        });
        assert_eq!(cohorts.len(), usize::from(batches.unwrap()));
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
        #![proptest_config(ProptestConfig::with_cases(300))]
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
