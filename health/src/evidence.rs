//! The arithmetic of evidence: e-values of one row against a rate ratio, and mixtures of them.
//!
//! Notation: a row has x_c of n_c bad on the canary, x_b of n_b on the control, ρ = n_c / (n_c + n_b) and
//! π(r) = ρ r / (1 − ρ + ρ r), the chance that a bad event falls on the canary when its rate is r times the other's.
//!
//! **Why a row's e-value has expectation at most 1.** Write a = π(r₁)/π(r₀), b = (1 − π(r₁))/(1 − π(r₀)); the
//! e-value is a^x_c · b^x_b. Given the interval's own error probabilities (p on each control request, at most r₀ p on
//! the canary, whatever p is), E = Π(1 + p_i (a − 1)) Π(1 + p_j (b − 1)) ≤ exp(n_c r₀ p (a − 1) + n_b p (b − 1)) and the
//! exponent is proportional to π(r₀)(a − 1) + (1 − π(r₀))(b − 1) = 0. Trends, shared incidents and changing splits
//! cancel; independent requests and exposures fixed before outcomes are assumed, dispersion pays for the former.

use crate::Counts;
use crate::row::to_f64;

/// Rate ratios that the alternative is spread over, each with weight 1/6.
pub(crate) const GRID: [f64; 6] = [1.25, 1.5, 2.0, 3.0, 5.0, 10.0];

/// ln of the grid.
const LN_GRID: [f64; 6] = [
    0.223_143_551_314_209_76,
    0.405_465_108_108_164_4,
    core::f64::consts::LN_2,
    1.098_612_288_668_109_8,
    1.609_437_912_434_100_3,
    core::f64::consts::LN_10,
];

/// Above this share of bad events the safety process uses the exact form.
pub(crate) const EXACT_ABOVE: f64 = 0.002;

/// Terms of the hypergeometric sum that are added one by one; wider ones are bounded by an integral.
const MAX_TERMS: f64 = 20_000.0;

/// One logarithmic value per ratio of the grid.
pub(crate) type GridVector = [f64; 6];

/// ln e-value of a row for every ratio r₀·r of the grid against the null "ratio at most r₀", and what one bad event of the
/// canary has of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowEvidence {
    pub(crate) row: GridVector,
    /// At least 0: one event more on the canary never speaks for it.
    pub(crate) event: GridVector,
}

/// Evidence of a row against the null "ratio at most `null_ratio`". The row must [compare](compares).
pub(crate) fn row_evidence(canary: Counts, control: Counts, null_ratio: f64) -> RowEvidence {
    let rho = share(canary.total, control.total);
    from_growth(canary, control, &growth(rho, null_ratio, null_ratio))
}

/// ln e-values of a row for "the ratio is 1".
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Relative {
    /// Against the null "the ratio is at least 1 + δ".
    pub(crate) bad: f64,
    /// Against the null "the ratio is at least 2".
    pub(crate) double: f64,
}

/// [`row_evidence`] against the null "ratio at most 1", and the evidence of safety, from one set of logarithms. The row must
/// [compare](compares).
pub(crate) fn settled_evidence(canary: Counts, control: Counts, bad_ratio: BadRatio) -> (RowEvidence, Relative) {
    let growth = growth(share(canary.total, control.total), 1.0, bad_ratio.ratio);
    (
        from_growth(canary, control, &growth),
        relative_from_growth(canary, control, bad_ratio, [growth[BAD], growth[DOUBLE]]),
    )
}

/// Evidence of safety of a row; none where it compares nothing.
pub(crate) fn relative_safety(canary: Counts, control: Counts, bad_ratio: BadRatio) -> Relative {
    if !compares(canary, control) {
        return Relative::default();
    }
    let share = share(canary.total, control.total);
    let growth = [share * (bad_ratio.ratio - 1.0), share].map(libm::log1p);
    relative_from_growth(canary, control, bad_ratio, growth)
}

/// Whether a row compares anything: bad events, and exposure in both arms.
pub(crate) const fn compares(canary: Counts, control: Counts) -> bool {
    (canary.bad > 0 || control.bad > 0) && canary.total > 0 && control.total > 0
}

/// Where [`growth`] has the null's.
const NULL: usize = 6;
/// Where [`growth`] has that of the ratio which counts as bad.
const BAD: usize = 7;
/// Where the grid, and [`growth`] against the null 1, has the ratio 2.
const DOUBLE: usize = 2;

/// ln(1 + ρ(R − 1)) for R = r₀·r over the grid, then r₀, then the ratio that counts as bad.
fn growth(rho: f64, null_ratio: f64, bad_ratio: f64) -> [f64; 8] {
    let mut values = [0.0; 8];
    for (value, ratio) in values.iter_mut().zip(GRID) {
        *value = libm::log1p(rho * (null_ratio * ratio - 1.0));
    }
    values[NULL] = libm::log1p(rho * (null_ratio - 1.0));
    values[BAD] = libm::log1p(rho * (bad_ratio - 1.0));
    values
}

fn from_growth(canary: Counts, control: Counts, growth: &[f64; 8]) -> RowEvidence {
    let (bad, other) = (to_f64(canary.bad), to_f64(control.bad));
    let event = core::array::from_fn(|i| LN_GRID[i] - (growth[i] - growth[NULL]));
    RowEvidence {
        row: core::array::from_fn(|i| bad * event[i] - other * (growth[i] - growth[NULL])),
        event,
    }
}

/// ln e-values of x_c events on one side and x_b on the other, where `share` of them is expected on the first, against
/// the null "ratio at most `null_ratio`".
pub(crate) fn shared_evidence(canary: f64, control: f64, share: f64, null_ratio: f64) -> GridVector {
    let growth = growth(share, null_ratio, null_ratio);
    core::array::from_fn(|i| canary * LN_GRID[i] - (canary + control) * (growth[i] - growth[NULL]))
}

fn share(canary: u64, control: u64) -> f64 {
    to_f64(canary) / (to_f64(canary) + to_f64(control))
}

/// The rate ratio that counts as bad, with its logarithm.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BadRatio {
    ratio: f64,
    ln: f64,
}

impl BadRatio {
    pub(crate) fn new(ratio: f64) -> Self {
        Self {
            ratio,
            ln: libm::log(ratio),
        }
    }

    pub(crate) const fn ratio(self) -> f64 {
        self.ratio
    }
}

/// `growth` is ln(1 + ρ(r − 1)) for r = `bad_ratio` and r = 2.
///
/// With few bad events the binomial form, which is valid for the ratio of probabilities. With many, the exact
/// conditional form, which is valid given their number and for the ratio of odds too.
fn relative_from_growth(canary: Counts, control: Counts, bad_ratio: BadRatio, growth: [f64; 2]) -> Relative {
    let events = to_f64(canary.bad) + to_f64(control.bad);
    let (n_c, n_b) = (to_f64(canary.total), to_f64(control.total));
    let [bad, double] = if events > EXACT_ABOVE * (n_c + n_b) {
        ln_normalizer_growth(n_c, n_b, events, [bad_ratio.ratio, GRID[DOUBLE]])
    } else {
        growth.map(|growth| events * growth)
    };
    let canary = to_f64(canary.bad);
    Relative {
        bad: bad - canary * bad_ratio.ln,
        double: double - canary * LN_GRID[DOUBLE],
    }
}

/// ln Z(r) − ln Z(1) for Z(r) = Σ_k C(n_c, k) C(n_b, e − k) r^k and two ratios above 1; where the sum is too long, a lower
/// bound of it less than 4·ln r below.
pub(crate) fn ln_normalizer_growth(n_c: f64, n_b: f64, e: f64, ratios: [f64; 2]) -> [f64; 2] {
    let (first, last) = ((e - n_b).max(0.0), e.min(n_c));
    let (low_centre, high_centre) = (centre(n_c, n_b, e, 1.0), centre(n_c, n_b, e, ratios[0].max(ratios[1])));
    let start = (low_centre - reach(n_c, n_b, e, low_centre)).max(first);
    let end = (high_centre + reach(n_c, n_b, e, high_centre)).min(last);
    if end - start > MAX_TERMS {
        return ratios.map(|ratio| growth_bound(n_c, n_b, e, ratio));
    }
    // All sums begin at the same k with the same weight, so that weight drops out; each is scaled on its own, since
    // they drift apart by r^k.
    let mut k = libm::floor(start);
    let end = libm::ceil(end);
    let mut sums = [Scaled::one(), Scaled::one(), Scaled::one()];
    let mut terms = [1.0; 3];
    let from = k;
    while k < end {
        let step = (n_c - k) * (e - k) / ((k + 1.0) * (n_b - e + k + 1.0));
        k += 1.0;
        for ((term, sum), ratio) in terms.iter_mut().zip(&mut sums).zip([1.0, ratios[0], ratios[1]]) {
            *term *= step * ratio;
            sum.add(term);
        }
    }
    let [one, sums @ ..] = sums.map(|sum| sum.ln());
    [0, 1].map(|at| sums[at] + from * libm::log(ratios[at]) - one)
}

/// Where k is about most likely: the root of r (n_c − k)(e − k) = k (n_b − e + k).
fn centre(n_c: f64, n_b: f64, e: f64, ratio: f64) -> f64 {
    let linear = ratio * (n_c + e) + (n_b - e);
    let constant = ratio * n_c * e;
    let root = libm::sqrt((linear * linear - 4.0 * (ratio - 1.0) * constant).max(0.0));
    2.0 * constant / (linear + root)
}

/// Beyond this distance from the centre nothing is left that a float would notice: ten standard deviations, and twenty
/// more events for the skewed tails of small counts.
fn reach(n_c: f64, n_b: f64, e: f64, centre: f64) -> f64 {
    let parts = [centre, e - centre, n_c - centre, n_b - e + centre];
    let precision: f64 = parts.iter().map(|part| 1.0 / part.max(1e-9)).sum();
    20.0 + 10.0 / libm::sqrt(precision)
}

/// d ln Z / d ln r is the mean of k, from 1 to `ratio`. The sum's polynomial has only real zeros, so mean and mode differ by less than one,
/// and the mode is at most one below the centre: the integral of (centre − 2) bounds the growth from below. Errs on
/// the side of less evidence of safety.
pub(crate) fn growth_bound(n_c: f64, n_b: f64, e: f64, ratio: f64) -> f64 {
    const PANELS: u32 = 32;
    let width = libm::log(ratio);
    let simpson: f64 = (0..=PANELS)
        .map(|i| {
            let weight = if i == 0 || i == PANELS {
                1.0
            } else {
                2.0 + 2.0 * f64::from(i % 2)
            };
            weight * centre(n_c, n_b, e, libm::exp(width * f64::from(i) / f64::from(PANELS)))
        })
        .sum();
    width * (simpson / (3.0 * f64::from(PANELS)) - 2.0)
}

/// A sum of positive terms that does not overflow: value · e^exponent.
struct Scaled {
    value: f64,
    exponent: f64,
}

impl Scaled {
    const LARGE: f64 = 1e250;

    const fn one() -> Self {
        Self {
            value: 1.0,
            exponent: 0.0,
        }
    }

    /// Adds a term in the sum's own scale, and moves both to a new scale when they get large.
    fn add(&mut self, term: &mut f64) {
        self.value += *term;
        if self.value > Self::LARGE {
            self.value /= Self::LARGE;
            *term /= Self::LARGE;
            self.exponent += libm::log(Self::LARGE);
        }
    }

    fn ln(&self) -> f64 {
        libm::log(self.value) + self.exponent
    }
}

/// ln Σ exp(xᵢ), in the order given; −∞ for nothing.
pub(crate) fn ln_sum_exp(values: &[f64]) -> f64 {
    let largest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if largest.is_infinite() {
        return largest;
    }
    let scaled = values.iter().map(|value| match value - largest {
        0.0 => 1.0,
        // Nothing beside the largest: e^-40 is less than half a unit in the last place of 1.
        small if small < -40.0 => 0.0,
        below => libm::exp(below),
    });
    largest + libm::log(scaled.sum())
}

/// ln of the mean over the grid, each ratio with weight 1/6.
pub(crate) fn ln_mixture(vector: &GridVector) -> f64 {
    ln_sum_exp(vector) - libm::log(6.0)
}
