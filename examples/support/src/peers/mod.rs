//! Judges that others ship, and the test that people write themselves: for comparison, on the same rows.
//!
//! Each does what its own documents say, including what it does without traffic; none is an estimate of what it could do.
//! They see sums over strata, since none of them knows strata. What a judge leaves open (limits, windows) is a field.

mod argo;
mod flagger;
mod kayenta;
mod rank;
mod z;

pub use argo::Argo;
pub use flagger::Flagger;
pub use kayenta::{Classified, Kayenta, Label, Series, classify};
pub use rank::{Shift, shift};
pub use z::ZTest;

/// Bad events among an exposure, of one arm in one interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a share is two counts")]
pub struct Share {
    /// Bad events.
    pub bad: u64,
    /// Requests.
    pub total: u64,
}

impl Share {
    /// 0 to 1; `None` without requests.
    #[must_use]
    pub fn rate(self) -> Option<f64> {
        (self.total > 0).then(|| float(self.bad) / float(self.total))
    }
}

/// One metric in one interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a comparison has two sides")]
pub struct Pair {
    /// The new version.
    pub canary: Share,
    /// The old one.
    pub control: Share,
}

/// What a judge would have done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "callers must handle each")]
pub enum Opinion {
    /// Watch on.
    Continue,
    /// Undecided: somebody has to look.
    Hold,
    /// Take the change back.
    Rollback,
    /// Go on.
    Promote,
}

/// A judge that sees one interval after the other.
pub trait Peer {
    /// One interval; as many metrics in every one, in one order.
    fn observe(&mut self, metrics: &[Pair]) -> Opinion;
    /// More traffic goes to the new version from now on.
    fn step(&mut self);
    /// The time to decide has come.
    fn finish(&self) -> Opinion;
}

/// A count as a float, rounded to nearest above 2^53.
#[expect(clippy::cast_precision_loss, reason = "these judges take floats")]
const fn float(count: u64) -> f64 {
    count as f64
}

/// A length as a float.
#[expect(clippy::cast_precision_loss, reason = "no list has 2^53 entries")]
const fn length(count: usize) -> f64 {
    count as f64
}
