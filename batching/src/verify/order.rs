//! What each batch takes: at most half of an application, and of each stratum those next in hash order.

use super::Check;
use super::cells::Cells;
use crate::hash::{mix, position_from};
use crate::index::{AppIndex, TargetIndex, narrow};
use crate::proof::Violation;

/// Hashes of a stratum's targets in one batch: from the lowest to the highest; nobody at first.
#[derive(Clone, Copy)]
struct Span {
    low: u64,
    high: u64,
}

const NOBODY: Span = Span { low: u64::MAX, high: 0 };

impl Check<'_> {
    /// At most half of an application in each batch, singletons in the last only, hash order within strata. In a repaired plan what was kept is not
    /// judged again, only what joined it.
    ///
    /// Looks at the targets in the order of the fleet, so that what is known of each is read in a row; and at as many batches at once as tables of
    /// a bounded size have place for, which most often are all.
    pub(super) fn batches(&mut self, cells: &Cells<'_>) {
        let batches = usize::from(self.last) + 1;
        let rows = cells.cells.len().max(self.fleet.app_count() as usize);
        let width = ((8 * self.fleet.len() + (1 << 20)) / rows).clamp(1, batches);
        let mut highest: Vec<Option<u64>> = vec![None; cells.cells.len()];
        for begin in (0..batches).step_by(width) {
            self.some_batches(cells, begin, width.min(batches - begin), &mut highest);
        }
    }

    /// Checks `width` batches from `begin` on; `highest` is the highest hash of every stratum in the batches before.
    fn some_batches(&mut self, cells: &Cells<'_>, begin: usize, width: usize, highest: &mut [Option<u64>]) {
        let repaired = self.plan.is_repaired();
        let start = mix(self.plan.seed());
        let apps = self.fleet.app_count() as usize;
        let mut taken = vec![0_u32; apps * width];
        let mut joined = vec![0_u32; if repaired { apps * width } else { 0 }];
        let mut spans = vec![NOBODY; if repaired { 0 } else { cells.cells.len() * width }];
        for target in self.fleet.targets() {
            let batch = usize::from(self.plan.batch_of(target));
            let Some(column) = batch.checked_sub(begin).filter(|&column| column < width) else {
                continue;
            };
            let place = self.fleet.app_of(target).at() * width + column;
            taken[place] += 1;
            if repaired {
                joined[place] += u32::from(!self.plan.is_kept(target));
            } else if batch > 0 && batch < usize::from(self.last) {
                let hash = position_from(start, self.fleet.id_bytes(target));
                let span = &mut spans[cells.of[target.at()] as usize * width + column];
                span.low = span.low.min(hash);
                span.high = span.high.max(hash);
                self.proof.neighbours += 1;
            }
        }
        for (at, &taken) in taken.iter().enumerate().filter(|&(_, &taken)| taken > 0) {
            let app = AppIndex(narrow(at / width));
            let joined = joined.get(at).copied().unwrap_or(taken);
            self.half(app, begin + at % width, taken, joined > 0);
        }
        for (cell, (spans, highest)) in spans.chunks(width).zip(highest).enumerate() {
            for (batch, span) in (begin..).zip(spans).filter(|(_, span)| span.low <= span.high) {
                if let Some(before) = highest.filter(|&before| before > span.low) {
                    self.out_of_order(cells, cell, batch, span.low, before);
                }
                *highest = (*highest).max(Some(span.high));
            }
        }
    }

    fn half(&mut self, app: AppIndex, batch: usize, taken: u32, joined: bool) {
        let size = self.fleet.app_size(app);
        let allowed = size / 2 + size % 2;
        let last = batch == usize::from(self.last);
        let batch = u16::try_from(batch).unwrap_or(u16::MAX);
        let name = || self.fleet.app_name(app).to_owned();
        let judged = joined && !(self.plan.is_repaired() && last);
        if size == 1 {
            if last {
                self.proof.singletons += 1;
            } else if judged {
                let violation = Violation::Singleton {
                    app: name(),
                    batch,
                    last: self.last,
                };
                self.found.push(violation);
            }
        } else if judged && taken > allowed {
            let violation = Violation::Half {
                batch,
                app: name(),
                taken,
                size,
                allowed,
            };
            self.found.push(violation);
        } else {
            self.proof.halves += 1;
        }
    }

    /// Names the two: of a stratum the target with hash `low` in `batch`, and the one with hash `before` in a batch before.
    fn out_of_order(&mut self, cells: &Cells<'_>, cell: usize, batch: usize, low: u64, before: u64) {
        let start = mix(self.plan.seed());
        let has = |target: &TargetIndex, hash: u64, fits: &dyn Fn(usize) -> bool| {
            let own = usize::from(self.plan.batch_of(*target));
            own > 0
                && fits(own)
                && cells.of[target.at()] as usize == cell
                && position_from(start, self.fleet.id_bytes(*target)) == hash
        };
        let earlier = self.fleet.targets().find(|t| has(t, low, &|own| own == batch));
        let later = self.fleet.targets().find(|t| has(t, before, &|own| own < batch));
        if let (Some(earlier), Some(later)) = (earlier, later) {
            self.found.push(Violation::Order {
                stratum: cells.name(earlier),
                earlier: self.fleet.id(earlier).to_owned(),
                earlier_batch: self.plan.batch_of(earlier),
                later: self.fleet.id(later).to_owned(),
                later_batch: self.plan.batch_of(later),
            });
        }
    }
}
