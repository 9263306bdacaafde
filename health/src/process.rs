//! One e-process with restarts, in six numbers.
//!
//! Every traffic step b starts a fresh process with weight γ_b = 1/(b(b+1)), so that a regression that begins late is
//! not paid for by earlier good behaviour: M* = Σ_b γ_b M⁽ᵇ⁾ + (1 − Σ_b γ_b), with M⁽ᵇ⁾ the mean over the grid of
//! exp(V_r − V_r at step b). The sum over b can be taken first: with W_r = V_r + ln Σ_b γ_b exp(−V_r at step b),
//! M* = mean_r exp(W_r) + 1/(B + 1). A row adds to W_r, a step does W_r ← ln(exp W_r + γ_b): any number of live
//! restarts costs six numbers and nothing is ever merged or dropped.

use crate::evidence::{GridVector, ln_sum_exp};
use crate::series;
use crate::value::{EValue, LN_PLAIN};

/// Traffic steps taken so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Steps(pub(crate) u64);

impl Steps {
    /// ln Σ γ_b over the steps taken: B/(B + 1).
    fn ln_started(self) -> f64 {
        let steps = crate::row::to_f64(self.0);
        libm::log(steps / (steps + 1.0))
    }

    /// ln of the weight not started yet: 1/(B + 1).
    pub(crate) fn ln_waiting(self) -> f64 {
        -libm::log(crate::row::to_f64(self.0) + 1.0)
    }

    /// ln γ of the latest step.
    fn ln_weight(self) -> f64 {
        let steps = crate::row::to_f64(self.0);
        -libm::log(steps) - libm::log(steps + 1.0)
    }
}

/// M* of one node and metric. One without rows is 1 and is not updated by steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Process {
    /// W_r; meaningless while untouched.
    weighted: GridVector,
    /// M*, a function of `weighted` and the number of steps.
    value: EValue,
    touched: bool,
    /// `value` has to be computed anew.
    stale: bool,
}

impl Process {
    pub(crate) const UNTOUCHED: Self = Self {
        weighted: [0.0; 6],
        value: EValue::ONE,
        touched: false,
        stale: false,
    };

    /// As it was saved. [`settle`](Self::settle) must follow before the value is read.
    pub(crate) const fn restored(weighted: GridVector) -> Self {
        Self {
            weighted,
            value: EValue::ONE,
            touched: true,
            stale: true,
        }
    }

    /// What has to be saved; nothing while untouched.
    pub(crate) fn saved(&self) -> Option<&GridVector> {
        self.touched.then_some(&self.weighted)
    }

    /// Multiplies a row's e-values on. [`settle`](Self::settle) must follow before the value is read.
    pub(crate) fn add(&mut self, evidence: &GridVector, steps: Steps) {
        if !self.touched {
            self.touched = true;
            self.weighted = [steps.ln_started(); 6];
        }
        self.stale = true;
        for (weighted, evidence) in self.weighted.iter_mut().zip(evidence) {
            *weighted += evidence;
        }
    }

    /// Starts the restart of the latest step. M* itself does not change, what it grows to does. [`settle`](Self::settle)
    /// must follow, since M* is kept as the same function of the six numbers a restored process computes.
    pub(crate) fn step(&mut self, steps: Steps) {
        if !self.touched {
            return;
        }
        self.stale = true;
        let fresh = steps.ln_weight();
        for weighted in &mut self.weighted {
            *weighted = ln_sum_exp(&[*weighted, fresh]);
        }
    }

    /// Computes M* from the six numbers where they changed. `ln_waiting` is [`Steps::ln_waiting`].
    pub(crate) fn settle(&mut self, ln_waiting: f64) {
        if !core::mem::take(&mut self.stale) {
            return;
        }
        if self.weighted.iter().all(|weighted| *weighted <= LN_PLAIN) {
            let mut terms = [ln_waiting; 8];
            terms[..6].copy_from_slice(&self.weighted);
            let [a, b, c, d, e, f, waiting, _] = series::exp(terms);
            self.value = EValue::Plain((a + b + c + d + e + f) / 6.0 + waiting);
            return;
        }
        let mut terms = [ln_waiting; 7];
        for (term, weighted) in terms.iter_mut().zip(&self.weighted) {
            *term = weighted - LN_6;
        }
        self.value = EValue::Ln(ln_sum_exp(&terms));
    }

    pub(crate) const fn value(&self) -> EValue {
        self.value
    }

    #[cfg(test)]
    pub(crate) fn ln_m(&self) -> f64 {
        self.value.ln()
    }
}

/// ln 6, the weight of one ratio of the grid.
const LN_6: f64 = 1.791_759_469_228_055;
