//! Control that suffers from the canary: a comparison that then says "no difference" is no evidence of health.

use crate::Counts;
use crate::row::to_f64;

/// Ratios above the historic one that are looked for.
const GRID: [f64; 5] = [1.5, 2.0, 3.0, 5.0, 10.0];

/// Watches whether the control *near* new instances (it shares an application or calls with them) does worse, beside
/// control *far* from any, than before the change.
///
/// Per interval, given all bad events of both groups, how many fall on the near one follows from the ratio of the rates
/// alone, so daily waves and shared incidents cancel as in the judge. The null hypothesis is a ratio of at most `limit`,
/// the upper end of what history shows; the e-value is the mean over alternatives 1.5 to 10 times as high, each
/// `x_near·ln(π₁/π₀) + x_far·ln((1−π₁)/(1−π₀))` with `π(r) = ρr/(1−ρ+ρr)`, divided by the dispersion φ.
///
/// Crossing 1/α has probability at most α where nothing spreads. It is a reason to hold, never one to roll back.
#[derive(Clone, Debug, PartialEq)]
pub struct Interference {
    limit: f64,
    ln: [f64; GRID.len()],
}

/// Why two histories give no limit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InterferenceError {
    /// Too few bad events to know the usual ratio.
    #[error(
        "the groups near and far from the change had {near} and {far} bad events before it; at least 10 each are needed, take a longer history"
    )]
    History {
        /// Near.
        near: u64,
        /// Far.
        far: u64,
    },
    /// More bad events than events.
    #[error("{bad} bad of {total} is not possible; count original requests and each bad one once")]
    BadAboveTotal {
        /// Bad events.
        bad: u64,
        /// Events.
        total: u64,
    },
    /// A dispersion below 1, or none.
    #[error("the dispersion must be a number of at least 1")]
    Dispersion,
}

fn checked(counts: Counts) -> Result<Counts, InterferenceError> {
    let Counts { bad, total } = counts;
    if bad > total {
        return Err(InterferenceError::BadAboveTotal { bad, total });
    }
    Ok(counts)
}

impl Interference {
    /// From the counts of both groups before the change, with dispersion `phi` of at least 1: the limit is the upper end
    /// of an interval of three standard errors around the historic ratio of their rates.
    ///
    /// # Errors
    ///
    /// [`InterferenceError`] when the history is too short or impossible: interference is then unknown, not absent.
    pub fn new(near: Counts, far: Counts, phi: f64) -> Result<Self, InterferenceError> {
        let (near, far) = (checked(near)?, checked(far)?);
        if !(phi >= 1.0 && phi.is_finite()) {
            return Err(InterferenceError::Dispersion);
        }
        if near.bad < 10 || far.bad < 10 {
            return Err(InterferenceError::History {
                near: near.bad,
                far: far.bad,
            });
        }
        let ratio = (to_f64(near.bad) / to_f64(near.total)) / (to_f64(far.bad) / to_f64(far.total));
        let error = libm::sqrt(phi * (1.0 / to_f64(near.bad) + 1.0 / to_f64(far.bad)));
        Ok(Self {
            limit: ratio * libm::exp(3.0 * error),
            ln: [0.0; GRID.len()],
        })
    }

    /// The largest ratio of the rates, near to far, that is still usual.
    #[must_use]
    pub const fn limit(&self) -> f64 {
        self.limit
    }

    /// One interval's episodes and exposure of both groups, with the dispersion that the judge
    /// [estimates](crate::Judge::dispersion).
    ///
    /// # Errors
    ///
    /// [`InterferenceError`] when counts or dispersion are impossible; nothing has changed then.
    pub fn observe(&mut self, near: Counts, far: Counts, phi: f64) -> Result<(), InterferenceError> {
        let (near, far) = (checked(near)?, checked(far)?);
        if !(phi >= 1.0 && phi.is_finite()) {
            return Err(InterferenceError::Dispersion);
        }
        if near.total == 0 || far.total == 0 || near.bad + far.bad == 0 {
            return Ok(());
        }
        let share = to_f64(near.total) / (to_f64(near.total) + to_f64(far.total));
        for (ln, more) in self.ln.iter_mut().zip(GRID) {
            let norm = |ratio: f64| libm::log1p(share * (ratio - 1.0));
            let step = to_f64(near.bad) * libm::log(more)
                - (to_f64(near.bad) + to_f64(far.bad)) * (norm(self.limit * more) - norm(self.limit));
            *ln += step / phi;
        }
        Ok(())
    }

    /// ln of the e-value against "nothing spreads".
    #[must_use]
    pub fn ln_e(&self) -> f64 {
        let top = self.ln.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = self.ln.iter().map(|ln| libm::exp(ln - top)).sum();
        top + libm::log(sum / to_f64(GRID.len() as u64))
    }
}
