//! The rank-sum test with its confidence interval for a shift, as R's `wilcox.test` defines it (normal approximation, with
//! continuity and tie correction) and Kayenta takes it over.

use super::length;

/// R's `uniroot` is called with this tolerance there.
const TOLERANCE: f64 = 1e-4;

/// How far the values of one sample lie above those of another.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "a confidence interval and its centre")]
pub struct Shift {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// The shift at which the statistic vanishes (Hodges and Lehmann's estimate, up to ties).
    pub estimate: f64,
}

/// The shift of `x` above `y`, neither empty, all finite; `quantile` is the standard normal's at 1 − (1 − confidence)/2.
///
/// Where one value is all there is in each sample, the statistic is the same for every shift but one, and so are all three
/// numbers.
#[must_use]
pub fn shift(x: &[f64], y: &[f64], quantile: f64) -> Shift {
    let mut test = Test::new(x, y);
    let (lowest, highest) = (least(x) - most(y), most(x) - least(y));
    if lowest >= highest {
        return Shift {
            low: lowest,
            high: lowest,
            estimate: lowest,
        };
    }
    let mut end = |quantile: f64| {
        if test.statistic(lowest) <= quantile {
            lowest
        } else if test.statistic(highest) >= quantile {
            highest
        } else {
            root(lowest, highest, |shift| test.statistic(shift) - quantile)
        }
    };
    let (low, high) = (end(quantile), end(-quantile));
    Shift {
        low,
        high,
        estimate: root(lowest, highest, |shift| test.statistic(shift)),
    }
}

/// Whether the lower end of [`shift`] is above 0 (up to the tolerance of the search), from one ranking in place of dozens:
/// the statistic never rises with the shift.
#[must_use]
pub(super) fn above_zero(x: &[f64], y: &[f64], quantile: f64) -> bool {
    least(x) > most(y) || Test::new(x, y).statistic(0.0) > quantile
}

fn least(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, f64::min)
}

fn most(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::NEG_INFINITY, f64::max)
}

struct Test<'a> {
    x: &'a [f64],
    y: &'a [f64],
    /// Value, and whether it is of `x`.
    all: Vec<(f64, bool)>,
}

impl<'a> Test<'a> {
    fn new(x: &'a [f64], y: &'a [f64]) -> Self {
        Self {
            x,
            y,
            all: Vec::with_capacity(x.len() + y.len()),
        }
    }

    /// The standardized rank sum of `x` moved down by `shift`.
    fn statistic(&mut self, shift: f64) -> f64 {
        self.all.clear();
        self.all.extend(self.x.iter().map(|value| (value - shift, true)));
        self.all.extend(self.y.iter().map(|value| (*value, false)));
        self.all.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        let (mut sum, mut ties, mut at) = (0.0, 0.0, 0);
        while let Some(&(value, _)) = self.all.get(at) {
            let run = &self.all[at..];
            let same = run.iter().take_while(|other| other.0.total_cmp(&value).is_eq()).count();
            let own = run[..same].iter().filter(|other| other.1).count();
            // Ranks at + 1 ..= at + same have this mean.
            sum += length(own) * (length(at) + (length(same) + 1.0) / 2.0);
            ties += length(same).powi(3) - length(same);
            at += same;
        }
        let (m, n) = (length(self.x.len()), length(self.y.len()));
        let centred = sum - m * (m + 1.0) / 2.0 - m * n / 2.0;
        let corrected = centred - 0.5 * if centred == 0.0 { 0.0 } else { centred.signum() };
        let all = m + n;
        let deviation = (m * n / 12.0 * (all + 1.0 - ties / (all * (all - 1.0)))).sqrt();
        if deviation > 0.0 { corrected / deviation } else { 0.0 }
    }
}

/// Brent's root finder (1973) with R's stopping rule; the ends have different signs. The statistic is a step function, so
/// where the search stops is part of the result.
fn root(lowest: f64, highest: f64, mut f: impl FnMut(f64) -> f64) -> f64 {
    let (mut a, mut b) = (lowest, highest);
    let (mut fa, mut fb) = (f(a), f(b));
    let (mut c, mut fc) = (a, fa);
    for _ in 0..1_000 {
        let before = b - a;
        if fc.abs() < fb.abs() {
            (a, b, c) = (b, c, b);
            (fa, fb, fc) = (fb, fc, fb);
        }
        let within = 2.0 * f64::EPSILON * b.abs() + TOLERANCE / 2.0;
        let half = (c - b) / 2.0;
        if half.abs() <= within || fb == 0.0 {
            return b;
        }
        let mut step = half;
        if before.abs() >= within && fa.abs() > fb.abs() {
            let span = c - b;
            // Secant where only two points are known, else the inverse parabola through three.
            let (mut p, mut q) = if a.total_cmp(&c).is_eq() {
                let s = fb / fa;
                (span * s, 1.0 - s)
            } else {
                let (q, r, s) = (fa / fc, fb / fc, fb / fa);
                (
                    s * (span * q * (q - r) - (b - a) * (r - 1.0)),
                    (q - 1.0) * (r - 1.0) * (s - 1.0),
                )
            };
            if p > 0.0 {
                q = -q;
            } else {
                p = -p;
            }
            if p < 0.75 * span * q - (within * q).abs() / 2.0 && p < (before * q / 2.0).abs() {
                step = p / q;
            }
        }
        if step.abs() < within {
            step = if step > 0.0 { within } else { -within };
        }
        (a, fa) = (b, fb);
        b += step;
        fb = f(b);
        if (fb > 0.0) == (fc > 0.0) && fb != 0.0 && fc != 0.0 {
            (c, fc) = (a, fa);
        }
    }
    b
}
