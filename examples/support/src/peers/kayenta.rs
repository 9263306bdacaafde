//! Kayenta's `NetflixACAJudge-v1.0`.

use super::rank::above_zero;
use super::{Opinion, Pair, Peer, Shift, length, shift};

/// The standard normal's quantile at 0.99: confidence 98 %.
const QUANTILE: f64 = 2.326_347_874_040_840_8;
/// Part of the estimate that the interval must be away from zero.
const TOLERANCE: f64 = 0.25;
/// Rates enter as bad requests of so many, since the root finder's tolerance is absolute.
const SCALE: f64 = 1e6;

/// How one metric comes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "Kayenta's own labels")]
pub enum Label {
    /// Not told apart.
    Pass,
    /// The experiment is above the control.
    High,
    /// It is below.
    Low,
    /// One side has no value.
    Nodata,
}

/// A label with the interval behind it.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "a label and its reason")]
pub struct Classified {
    /// The label.
    pub label: Label,
    /// `None` where no test was needed.
    pub shift: Option<Shift>,
}

/// Compares two series in both directions with Kayenta's defaults: NaN removed, outliers kept, confidence 98 %, tolerance
/// 25 % of the estimate, no effect size.
///
/// Kayenta adds noise of 1e-5 of the value where each side is constant; the label is the one to which that noise leads.
#[must_use]
pub fn classify(experiment: &[f64], control: &[f64]) -> Classified {
    let without = |label| Classified { label, shift: None };
    let (mut x, mut y) = (experiment.to_vec(), control.to_vec());
    x.retain(|value| !value.is_nan());
    y.retain(|value| !value.is_nan());
    if x.is_empty() || y.is_empty() {
        return without(Label::Nodata);
    }
    let sorted = |values: &[f64]| {
        let mut values = values.to_vec();
        values.sort_unstable_by(f64::total_cmp);
        values
    };
    let constant = x.iter().chain(&y).all(|value| value.total_cmp(&x[0]).is_eq());
    if constant || sorted(&x) == sorted(&y) {
        return without(Label::Pass);
    }
    let shift = shift(&x, &y, QUANTILE);
    let bound = TOLERANCE * shift.estimate.abs();
    let label = if shift.low > bound {
        Label::High
    } else if shift.high < -bound {
        Label::Low
    } else {
        Label::Pass
    };
    Classified {
        label,
        shift: Some(shift),
    }
}

/// The values of one metric.
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "two lists of values")]
pub struct Series {
    /// One per interval, bad requests in a million; NaN without requests.
    pub experiment: Vec<f64>,
    /// Likewise.
    pub control: Vec<f64>,
}

impl Series {
    /// The label when only a rise is bad, as for errors. Most healthy looks need one ranking only.
    fn rises(&self) -> Label {
        let counted = |values: &[f64]| -> Vec<f64> { values.iter().copied().filter(|value| !value.is_nan()).collect() };
        let (x, y) = (counted(&self.experiment), counted(&self.control));
        if !x.is_empty() && !y.is_empty() && !above_zero(&x, &y, QUANTILE) {
            return Label::Pass;
        }
        match classify(&x, &y).label {
            Label::Low => Label::Pass,
            label => label,
        }
    }
}

/// One analysis per traffic step, as the documents of the pipeline stage describe it: a window that grows, looked at every
/// `look_every` intervals. Every metric is a group of its own with an equal weight, direction `increase`.
#[derive(Clone, Debug)]
pub struct Kayenta {
    /// Intervals between two looks, at least 1.
    pub look_every: usize,
    /// A score of at least this passes; the documents' example is 75.
    pub pass: f64,
    /// A score of at least this is marginal; the documents' example is 50.
    pub marginal: f64,
    /// Weight of each metric's group, summing to 100; empty for equal ones.
    pub weights: Vec<f64>,
    /// What was seen since the last step.
    pub series: Vec<Series>,
    failed: bool,
}

impl Kayenta {
    /// The documents' example limits, looked at every so many intervals.
    #[must_use]
    pub const fn every(look_every: usize) -> Self {
        Self {
            look_every,
            pass: 75.0,
            marginal: 50.0,
            weights: Vec::new(),
            series: Vec::new(),
            failed: false,
        }
    }

    /// The label of each metric.
    #[must_use]
    pub fn labels(&self) -> Vec<Label> {
        self.series.iter().map(Series::rises).collect()
    }

    /// 0 to 100. A group without data counts as 100; half of the metrics without data score 0.
    #[must_use]
    pub fn score(&self) -> f64 {
        let labels = self.labels();
        let missing = labels.iter().filter(|label| **label == Label::Nodata).count();
        if missing * 2 >= labels.len() {
            return 0.0;
        }
        let equal = 100.0 / length(labels.len());
        let of = |at: usize| self.weights.get(at).copied().unwrap_or(equal);
        let good = labels.iter().enumerate().filter(|(_, label)| **label != Label::High);
        let sum: f64 = good.map(|(at, _)| of(at)).sum();
        (sum * 100.0).round() / 100.0
    }

    fn opinion(&self) -> Opinion {
        match self.score() {
            _ if self.failed => Opinion::Rollback,
            score if score >= self.pass => Opinion::Promote,
            score if score >= self.marginal => Opinion::Hold,
            _ => Opinion::Rollback,
        }
    }
}

impl Peer for Kayenta {
    fn observe(&mut self, metrics: &[Pair]) -> Opinion {
        self.series.resize_with(metrics.len(), Series::default);
        for (series, pair) in self.series.iter_mut().zip(metrics) {
            series
                .experiment
                .push(pair.canary.rate().map_or(f64::NAN, |rate| rate * SCALE));
            series
                .control
                .push(pair.control.rate().map_or(f64::NAN, |rate| rate * SCALE));
        }
        let seen = self.series.first().map_or(0, |series| series.experiment.len());
        if !self.failed && seen.is_multiple_of(self.look_every.max(1)) {
            self.failed = self.opinion() == Opinion::Rollback;
        }
        if self.failed {
            Opinion::Rollback
        } else {
            Opinion::Continue
        }
    }

    fn step(&mut self) {
        self.series.clear();
    }

    fn finish(&self) -> Opinion {
        self.opinion()
    }
}
