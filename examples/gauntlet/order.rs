//! Whose turn it is: a random order of the whole fleet, or one for each application and zone of which each step takes its
//! proportional share.

use std::collections::BTreeMap;

/// Those who have not had their turn, by stratum.
#[derive(Debug, Default)]
pub(crate) struct Order {
    stratified: bool,
    /// Numbers of pods, the next one last.
    queues: BTreeMap<u32, Vec<usize>>,
}

/// What a step takes of one stratum.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Take {
    pub(crate) canary: Vec<usize>,
    /// As many that keep the old version; their turn is still to come.
    pub(crate) baseline: Vec<usize>,
}

/// A stratum as it stands when a step begins.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stratum {
    /// All that live.
    pub(crate) living: u64,
    /// Those of them that have had their turn.
    pub(crate) touched: u64,
    /// Decides between equal remainders.
    pub(crate) luck: u64,
}

impl Order {
    /// Of these pods as (stratum, number), in this order.
    pub(crate) fn new(stratified: bool, pods: impl Iterator<Item = (u32, usize)>) -> Self {
        let mut order = Self {
            stratified,
            queues: BTreeMap::new(),
        };
        for (stratum, pod) in pods {
            order.queues.entry(order.key(stratum)).or_default().push(pod);
        }
        order.queues.values_mut().for_each(|queue| queue.reverse());
        order
    }

    const fn key(&self, stratum: u32) -> u32 {
        if self.stratified { stratum } else { 0 }
    }

    /// One that was born: it comes after all that are there.
    pub(crate) fn push(&mut self, stratum: u32, pod: usize) {
        let key = self.key(stratum);
        self.queues.entry(key).or_default().insert(0, pod);
    }

    /// Takes so many that `upto` of all have had their turn, each stratum in proportion. `state` says of a pod whether it lives.
    ///
    /// With `beside`, a stratum gives as many again for a baseline, and none at all where it has not enough for both.
    pub(crate) fn take(
        &mut self,
        upto: u64,
        strata: &BTreeMap<u32, Stratum>,
        beside: bool,
        lives: impl Fn(usize) -> bool,
    ) -> Take {
        for queue in self.queues.values_mut() {
            queue.retain(|pod| lives(*pod));
        }
        let mut by_key: BTreeMap<u32, Stratum> = BTreeMap::new();
        for (number, stratum) in strata {
            let sum = by_key.entry(self.key(*number)).or_default();
            sum.living += stratum.living;
            sum.touched += stratum.touched;
            sum.luck = stratum.luck;
        }
        let parts: Vec<Stratum> = by_key.values().copied().collect();
        let mut take = Take::default();
        for (key, count) in by_key.into_keys().zip(allot(upto, &parts)) {
            let Some(queue) = self.queues.get_mut(&key) else {
                continue;
            };
            let count = usize::try_from(count).unwrap_or(usize::MAX).min(queue.len());
            if beside && count * 2 > queue.len() {
                continue;
            }
            take.canary.extend(queue.drain(queue.len() - count..).rev());
            if beside {
                take.baseline.extend(queue[queue.len() - count..].iter().rev());
            }
        }
        take
    }
}

/// How many more each stratum gives, so that `upto` of all have had their turn: in proportion to who lives there, largest
/// remainders first.
pub(crate) fn allot(upto: u64, strata: &[Stratum]) -> Vec<u64> {
    let sum = |of: fn(&Stratum) -> u64| strata.iter().map(of).sum::<u64>();
    let all = u128::from(sum(|stratum| stratum.living).max(1));
    // In whole numbers, so that equal strata have equal remainders.
    let due = |stratum: &Stratum| u128::from(upto) * u128::from(stratum.living);
    let whole = |stratum: &Stratum| u64::try_from(due(stratum) / all).unwrap_or(u64::MAX);
    let mut counts: Vec<u64> = strata.iter().map(|s| whole(s).saturating_sub(s.touched)).collect();
    let mut left = upto
        .saturating_sub(sum(|stratum| stratum.touched))
        .saturating_sub(counts.iter().sum());
    // Who has given more than its whole part has had its remainder.
    let mut by_remainder: Vec<usize> = (0..strata.len())
        .filter(|at| strata[*at].touched <= whole(&strata[*at]) && due(&strata[*at]) % all > 0)
        .collect();
    by_remainder.sort_by_key(|at| (std::cmp::Reverse(due(&strata[*at]) % all), strata[*at].luck));
    for at in by_remainder {
        if left > 0 {
            counts[at] += 1;
            left -= 1;
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stratum(living: u64, touched: u64, luck: u64) -> Stratum {
        Stratum { living, touched, luck }
    }

    #[test]
    fn strata_give_in_proportion_with_the_largest_remainders_first() {
        let of = |upto, parts: &[(u64, u64, u64)]| {
            let strata: Vec<Stratum> = parts.iter().map(|(l, t, luck)| stratum(*l, *t, *luck)).collect();
            allot(upto, &strata)
        };
        assert_eq!(of(10, &[(50, 0, 0), (30, 0, 0), (20, 0, 0)]), [5, 3, 2]);
        assert_eq!(of(10, &[(33, 0, 0), (33, 0, 0), (34, 0, 0)]), [3, 3, 4]);
        assert_eq!(of(11, &[(33, 0, 2), (33, 0, 1), (34, 0, 0)]), [3, 4, 4]);
        assert_eq!(of(50, &[(33, 4, 0), (33, 3, 0), (34, 3, 0)]), [13, 13, 14]);
        assert_eq!(of(100, &[(33, 4, 0), (33, 33, 0), (34, 3, 0)]), [29, 0, 31]);
        assert_eq!(of(5, &[(33, 9, 0), (67, 1, 0)]), [0, 2]);
        assert_eq!(of(5, &[(0, 0, 0)]), [0]);
    }

    #[test]
    fn a_fleet_of_one_stratum_is_taken_in_order() {
        let mut order = Order::new(false, (0..10).map(|pod| (7, pod)));
        let strata = |touched| BTreeMap::from([(7, stratum(10, touched, 0))]);
        assert_eq!(order.take(3, &strata(0), false, |_| true).canary, [0, 1, 2]);
        order.push(7, 10);
        // One of those to come has died.
        assert_eq!(order.take(5, &strata(3), false, |pod| pod != 4).canary, [3, 5]);
        assert_eq!(order.take(10, &strata(5), false, |_| true).canary, [6, 7, 8, 9, 10]);
    }

    #[test]
    fn a_canary_takes_nobody_of_a_stratum_that_cannot_be_compared() {
        let pods = |sizes: &[usize]| {
            let of = |(number, size): (u32, &usize)| (0..*size).map(move |pod| (number, number as usize * 100 + pod));
            (0_u32..).zip(sizes).flat_map(of).collect::<Vec<_>>()
        };
        let strata = |sizes: &[u64]| (0..).zip(sizes.iter().map(|size| stratum(*size, 0, 0))).collect();
        let mut order = Order::new(true, pods(&[4, 1, 5]).into_iter());
        let take = order.take(6, &strata(&[4, 1, 5]), true, |_| true);
        // 2.4, 0.6 and 3: of the last three there are only two more, and of the second nobody else.
        assert_eq!((take.canary, take.baseline), (vec![0, 1], vec![2, 3]));
        // They have their turn once nobody is compared any more.
        let rest = order.take(10, &strata(&[4, 1, 5]), false, |_| true).canary;
        assert_eq!(rest, [2, 3, 100, 200, 201, 202, 203, 204]);
    }
}
