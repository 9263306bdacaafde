//! How many units may be given before they are due, so that those that fall due until then find room.

/// A unit given in batch `k` that falls due in batch `d` takes from each batch between a place that it would not have needed
/// yet. Batch `j` has as many such places as the parts of units that are due in it add up to. Those that take from `j` take from
/// all batches before, too, back to `k`: the limits are nested, so a place that is good until batch `l` serves any unit that
/// falls due by then, and the nearest such place is always the right one to take.
pub(super) struct Slots {
    sizes: Vec<u32>,
    /// By batch: what the parts of units due in it add up to.
    parts: Vec<u64>,
    batch: usize,
    /// By batch: of the units given so far, those that fall due in it, and later than in the batch at hand.
    ahead: Vec<u64>,
    /// By batch: free places that are good until it.
    free: Vec<u64>,
    /// By batch: a batch from which on the next free place is to be looked for.
    next: Vec<usize>,
}

impl Slots {
    /// `groups` are sizes of strata, each with how many there are.
    pub(super) fn new(sizes: &[u32], groups: impl Iterator<Item = (u32, u32)> + Clone) -> Self {
        let pool = u64::from(sizes.last().copied().unwrap_or(0)).max(1);
        let parts = sizes.iter().map(|&size| {
            let whole = |(main, strata): (u32, u32)| u64::from(size) * u64::from(main) / pool * u64::from(strata);
            u64::from(size).saturating_sub(groups.clone().map(whole).sum())
        });
        let batches = sizes.len();
        Self {
            parts: parts.collect(),
            sizes: sizes.to_vec(),
            batch: 0,
            ahead: vec![0; batches + 1],
            free: vec![0; batches + 1],
            next: vec![0; batches + 2],
        }
    }

    /// Begins a batch: nothing is known to be ahead of it.
    pub(super) fn open(&mut self, batch: usize) {
        self.batch = batch;
        self.ahead.fill(0);
    }

    /// The batch in which a stratum of `main` is due `units`.
    pub(super) fn due(&self, main: u32, units: u32) -> usize {
        let pool = u64::from(self.sizes.last().copied().unwrap_or(0));
        let needed = (u64::from(units) * pool).div_ceil(u64::from(main.max(1)));
        self.sizes.partition_point(|&size| u64::from(size) < needed)
    }

    /// A unit given earlier falls due only then.
    pub(super) fn ahead(&mut self, falls_due: usize) {
        self.ahead[falls_due.min(self.sizes.len())] += 1;
    }

    /// Works out the places that this batch may give away.
    pub(super) fn share_out(&mut self) {
        let batches = self.sizes.len();
        self.free.fill(0);
        for (at, next) in self.next.iter_mut().enumerate() {
            *next = at;
        }
        let mut taken: u64 = self.ahead.iter().skip(self.batch + 1).sum();
        // What falls due in the next batch takes from none between.
        let mut before = u64::MAX;
        for batch in self.batch + 1..batches {
            taken -= self.ahead[batch];
            let left = self.parts[batch].saturating_sub(taken).min(before);
            self.free[batch] = before - left;
            before = left;
        }
    }

    /// Whether there is a place for a unit that falls due then.
    pub(super) fn has(&mut self, falls_due: usize) -> bool {
        self.find(falls_due) <= self.sizes.len()
    }

    /// Takes the place. Whether there was one.
    pub(super) fn take(&mut self, falls_due: usize) -> bool {
        let at = self.find(falls_due);
        let found = at <= self.sizes.len();
        if found {
            self.free[at] -= 1;
        }
        found
    }

    /// The nearest batch from `falls_due` on until which a free place is good; beyond all batches where there is none.
    fn find(&mut self, falls_due: usize) -> usize {
        let none = self.sizes.len() + 1;
        let mut at = falls_due.min(none);
        while at < none && (self.next[at] != at || self.free[at] == 0) {
            let further = if self.next[at] == at { at + 1 } else { self.next[at] };
            // Halves the way for whoever comes after.
            self.next[at] = if self.next[further] == further {
                further
            } else {
                self.next[further]
            };
            at = self.next[at];
        }
        at
    }
}
