//! A plan in numbers.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Batch;
use crate::cover::Uncovered;
use crate::index::narrow;

/// A plan in numbers; [`Display`](fmt::Display) writes them as a table for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Summary {
    /// Targets.
    pub targets: u32,
    /// Applications.
    pub apps: u32,
    /// Strata.
    pub strata: u32,
    /// Every batch.
    pub batches: Vec<Batch>,
    /// Classes of the cover keys.
    pub classes: u32,
    /// Classes the first batch does not contain, and why.
    pub uncovered: Vec<Uncovered>,
    /// Applications of one target; they change in the last batch.
    pub singletons: u32,
    /// Targets of the control cohort: held back to the last batch and ready.
    pub controls: u32,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} targets of {} applications in {} strata, {} batches",
            self.targets,
            self.apps,
            self.strata,
            self.batches.len()
        )?;
        writeln!(f, "{:>6} {:>10} {:>10} {:>8}", "batch", "targets", "so far", "share")?;
        for batch in &self.batches {
            let share = f64::from(batch.cumulative) * 100.0 / f64::from(self.targets.max(1));
            writeln!(
                f,
                "{:>6} {:>10} {:>10} {share:>6.2} %",
                batch.index, batch.size, batch.cumulative
            )?;
        }
        let covered = self.classes - narrow(self.uncovered.len()).min(self.classes);
        writeln!(f, "the first batch contains {covered} of {} classes", self.classes)?;
        for gap in &self.uncovered {
            writeln!(f, "  not {}={}: {:?}", gap.key, gap.value, gap.why)?;
        }
        write!(
            f,
            "{} targets are held back for comparison; {} applications of one target wait for the last batch",
            self.controls, self.singletons
        )
    }
}
