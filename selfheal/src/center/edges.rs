//! Who saw what of whom lately: counts of every edge over four horizons.
//!
//! A fault begins at some moment, and what was seen before it dilutes what is seen after. So the same edges are counted
//! over windows of four lengths. A window holds between half its length and its whole length: it has a current half and
//! the one before, and every half length the current one becomes the one before.

use super::ids::RouteId;
use super::members::{Slot, at};

/// Horizons, from the shortest.
pub(crate) const HORIZONS: usize = 4;
/// Half of each, in periods: at 250 ms they are of 2, 8, 32 and 128 s.
const HALVES: [u64; HORIZONS] = [4, 16, 64, 256];

/// The length of a horizon, in periods.
pub(crate) const fn periods(horizon: usize) -> u64 {
    2 * HALVES[horizon]
}

/// Whether a half of a horizon begins with this period.
pub(crate) const fn begins(period: u64, horizon: usize) -> bool {
    period.is_multiple_of(HALVES[horizon])
}

/// Counts up to here are exact in an `f32`; they stay there.
const MOST: f32 = 16_777_216.0;

/// An edge: reporter, target, and route where routes are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Edge {
    pub(crate) reporter: Slot,
    pub(crate) target: Slot,
    pub(crate) route: RouteId,
}

/// Calls of an edge.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Calls {
    pub(crate) good: f32,
    /// Failed or slow.
    pub(crate) bad: f32,
    /// The slow ones among the bad.
    pub(crate) slow: f32,
}

impl Calls {
    pub(crate) fn add(&mut self, more: &Self) {
        self.good = (self.good + more.good).min(MOST);
        self.bad = (self.bad + more.bad).min(MOST);
        self.slow = (self.slow + more.slow).min(MOST);
    }

    pub(crate) fn total(&self) -> f32 {
        self.good + self.bad
    }
}

/// One horizon.
#[derive(Debug, Clone, Default)]
struct Window {
    /// Which half it is in.
    half: u64,
    /// The current half.
    current: Vec<Calls>,
    /// Both halves.
    sum: Vec<Calls>,
}

/// All edges, sorted by reporter, target and route.
#[derive(Debug, Clone, Default)]
pub(crate) struct Edges {
    keys: Vec<Edge>,
    /// Where each reporter's edges begin.
    rows: Vec<u32>,
    /// The edges of each target, one after the other; and where each target's begin.
    by_target: Vec<u32>,
    columns: Vec<u32>,
    windows: [Window; HORIZONS],
}

fn index(place: usize) -> u32 {
    // At most `Edges::MAX` of them.
    u32::try_from(place).unwrap_or(u32::MAX)
}

impl Edges {
    /// Edges of a center, over all reporters.
    pub(crate) const MAX: usize = 1 << 21;

    pub(crate) const fn len(&self) -> usize {
        self.keys.len()
    }

    pub(crate) fn key(&self, edge: u32) -> Edge {
        self.keys[at(edge)]
    }

    pub(crate) fn keys(&self) -> &[Edge] {
        &self.keys
    }

    /// The counts of all edges over one horizon, in the order of [`keys`](Self::keys).
    pub(crate) fn counts(&self, horizon: usize) -> &[Calls] {
        &self.windows[horizon].sum
    }

    /// The edges of a reporter.
    pub(crate) fn row(&self, reporter: Slot) -> std::ops::Range<u32> {
        let ends = |slot: usize| self.rows.get(slot).copied().unwrap_or_else(|| index(self.keys.len()));
        ends(at(reporter))..ends(at(reporter) + 1)
    }

    /// The edges to a target.
    pub(crate) fn column(&self, target: Slot) -> &[u32] {
        let ends = |slot: usize| {
            self.columns
                .get(slot)
                .copied()
                .unwrap_or_else(|| index(self.by_target.len()))
        };
        &self.by_target[at(ends(at(target)))..at(ends(at(target) + 1))]
    }

    /// Goes to the period that holds now. Windows turn; edges on which nothing has happened for the longest horizon go.
    pub(crate) fn turn(&mut self, period: u64) {
        let mut longest_turned = false;
        for (window, half_periods) in self.windows.iter_mut().zip(HALVES) {
            let half = period / half_periods;
            if half <= window.half {
                continue;
            }
            let turned_once = half == window.half + 1;
            for (sum, current) in window.sum.iter_mut().zip(&mut window.current) {
                let last = std::mem::take(current);
                *sum = if turned_once { last } else { Calls::default() };
            }
            window.half = half;
            longest_turned = half_periods == HALVES[HORIZONS - 1];
        }
        if longest_turned {
            self.retain(|_, calls| calls.total() > 0.0);
        }
    }

    /// Adds calls, sorted by edge, each once. What finds no room is left out; answers how many edges that were.
    pub(crate) fn add(&mut self, calls: &[(Edge, Calls)]) -> usize {
        let mut fresh = Vec::new();
        for (edge, more) in calls {
            match self.keys.binary_search(edge) {
                Ok(place) => self.count(place, more),
                Err(_) => fresh.push(*edge),
            }
        }
        let room = Self::MAX - self.keys.len();
        let left_out = fresh.len().saturating_sub(room);
        fresh.truncate(room);
        if fresh.is_empty() {
            return left_out;
        }
        self.merge(&fresh);
        let mut next = fresh.iter().peekable();
        for (edge, more) in calls {
            if next.next_if_eq(&edge).is_some()
                && let Ok(place) = self.keys.binary_search(edge)
            {
                self.count(place, more);
            }
        }
        left_out
    }

    fn count(&mut self, place: usize, more: &Calls) {
        for window in &mut self.windows {
            window.sum[place].add(more);
            window.current[place].add(more);
        }
    }

    /// Makes room for new edges, sorted.
    fn merge(&mut self, fresh: &[Edge]) {
        let old = std::mem::take(&mut self.keys);
        let mut from = Vec::with_capacity(old.len() + fresh.len());
        let (mut olds, mut news) = (old.iter().enumerate().peekable(), fresh.iter().peekable());
        loop {
            match (olds.peek(), news.peek()) {
                (Some((place, before)), after) if after.is_none_or(|edge| *before < *edge) => {
                    from.push(Some(*place));
                    self.keys.push(**before);
                    olds.next();
                }
                (_, Some(edge)) => {
                    from.push(None);
                    self.keys.push(**edge);
                    news.next();
                }
                // The first arm takes every old edge once no new one is left.
                (_, None) => break,
            }
        }
        let take = |calls: &[Calls]| {
            from.iter()
                .map(|place| place.map_or_else(Calls::default, |p| calls[p]))
                .collect()
        };
        for window in &mut self.windows {
            window.sum = take(&window.sum);
            window.current = take(&window.current);
        }
        self.reindex();
    }

    /// Keeps the edges for which it holds, given their counts over the longest horizon.
    pub(crate) fn retain(&mut self, keep: impl Fn(&Edge, &Calls) -> bool) {
        let longest = &self.windows[HORIZONS - 1].sum;
        let kept: Vec<bool> = self
            .keys
            .iter()
            .zip(longest)
            .map(|(edge, calls)| keep(edge, calls))
            .collect();
        if kept.iter().all(|kept| *kept) {
            return;
        }
        let sift = |calls: &[Calls]| {
            calls
                .iter()
                .zip(&kept)
                .filter(|(_, kept)| **kept)
                .map(|(calls, _)| *calls)
                .collect()
        };
        for window in &mut self.windows {
            window.sum = sift(&window.sum);
            window.current = sift(&window.current);
        }
        let mut kept = kept.iter();
        self.keys.retain(|_| kept.next().copied().unwrap_or(false));
        self.reindex();
    }

    /// Forgets what was seen of a target: it gets another chance.
    pub(crate) fn forget_target(&mut self, target: Slot) {
        let places: Vec<usize> = self.column(target).iter().map(|edge| at(*edge)).collect();
        self.forget(&places);
    }

    /// Forgets what a reporter saw: it was at fault itself.
    pub(crate) fn forget_reporter(&mut self, reporter: Slot) {
        let places: Vec<usize> = self.row(reporter).map(at).collect();
        self.forget(&places);
    }

    fn forget(&mut self, places: &[usize]) {
        for window in &mut self.windows {
            for place in places {
                window.sum[*place] = Calls::default();
                window.current[*place] = Calls::default();
            }
        }
    }

    fn reindex(&mut self) {
        let slots = self
            .keys
            .iter()
            .map(|edge| at(edge.reporter.max(edge.target)) + 1)
            .max()
            .unwrap_or(0);
        self.rows = starts(slots, self.keys.iter().map(|edge| edge.reporter));
        self.columns = starts(slots, self.keys.iter().map(|edge| edge.target));
        let mut next = self.columns.clone();
        self.by_target = vec![0; self.keys.len()];
        for (place, edge) in self.keys.iter().enumerate() {
            let slot = &mut next[at(edge.target)];
            self.by_target[at(*slot)] = index(place);
            *slot += 1;
        }
    }
}

/// Where the entries of each slot begin once they are sorted, and where the last ones end.
fn starts(slots: usize, entries: impl Iterator<Item = Slot>) -> Vec<u32> {
    let mut starts = vec![0; slots + 1];
    for slot in entries {
        starts[at(slot) + 1] += 1;
    }
    for slot in 0..slots {
        starts[slot + 1] += starts[slot];
    }
    starts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge(reporter: Slot, target: Slot) -> Edge {
        Edge {
            reporter,
            target,
            route: RouteId::ANY,
        }
    }

    fn calls(good: f32, bad: f32) -> Calls {
        Calls { good, bad, slow: 0.0 }
    }

    fn good(edges: &Edges, horizon: usize) -> Vec<f32> {
        edges.counts(horizon).iter().map(|calls| calls.good).collect()
    }

    #[test]
    fn edges_stay_sorted_and_are_found_from_both_sides() {
        let mut edges = Edges::default();
        assert_eq!(
            edges.add(&[(edge(1, 2), calls(1.0, 0.0)), (edge(3, 0), calls(2.0, 0.0))]),
            0
        );
        edges.add(&[
            (edge(0, 2), calls(4.0, 0.0)),
            (edge(1, 2), calls(8.0, 0.0)),
            (edge(1, 3), calls(16.0, 0.0)),
        ]);
        assert_eq!(edges.keys(), [edge(0, 2), edge(1, 2), edge(1, 3), edge(3, 0)]);
        assert_eq!(good(&edges, 0), [4.0, 9.0, 16.0, 2.0]);
        assert_eq!(
            (edges.row(1), edges.row(2), edges.row(3), edges.row(9)),
            (1..3, 3..3, 3..4, 4..4)
        );
        assert_eq!(
            (edges.column(2), edges.column(0), edges.column(1)),
            (&[0, 1][..], &[3][..], &[][..])
        );
    }

    #[test]
    fn a_window_holds_between_half_and_all_of_its_length() {
        let mut edges = Edges::default();
        for period in 0..1_000 {
            edges.turn(period);
            edges.add(&[(edge(0, 1), calls(1.0, 0.0))]);
            for (horizon, half) in HALVES.into_iter().enumerate() {
                let held = edges.counts(horizon)[0].good;
                // The period that is under way counts as well.
                let want = (period % half + 1 + if period >= half { half } else { 0 }) as f32;
                assert!((held - want).abs() < 0.5, "{horizon} at {period}: {held}, not {want}");
            }
        }
        // After a pause of one half the last half is still there, after two nothing is.
        edges.turn(1_003);
        assert!(edges.counts(0)[0].good > 0.0);
        edges.turn(1_020);
        assert_eq!(good(&edges, 0), [0.0]);
        edges.turn(3_000);
        assert_eq!(edges.len(), 0, "edges without calls go");
    }

    #[test]
    fn a_target_that_is_forgotten_keeps_its_place() {
        let mut edges = Edges::default();
        edges.add(&[
            (edge(0, 1), calls(1.0, 5.0)),
            (edge(0, 2), calls(2.0, 0.0)),
            (edge(3, 1), calls(4.0, 0.0)),
        ]);
        edges.forget_target(1);
        assert_eq!(good(&edges, 3), [0.0, 2.0, 0.0]);
        edges.retain(|edge, _| edge.reporter != 0);
        assert_eq!((edges.keys(), edges.row(3)), (&[edge(3, 1)][..], 0..1));
    }
}
