//! One e-process with restarts, in six numbers.
//!
//! Every traffic step b starts a fresh process with weight γ_b = 1/(b(b+1)), so that a regression that begins late is
//! not paid for by earlier good behaviour: M* = Σ_b γ_b M⁽ᵇ⁾ + (1 − Σ_b γ_b), with M⁽ᵇ⁾ the mean over the grid of
//! exp(V_r − V_r at step b). The sum over b can be taken first: with W_r = V_r + ln Σ_b γ_b exp(−V_r at step b),
//! M* = mean_r exp(W_r) + 1/(B + 1). A row adds to W_r, a step does W_r ← ln(exp W_r + γ_b): any number of live
//! restarts costs six numbers, and none need ever be merged or dropped to keep the state small.

use crate::evidence::{GridVector, ln_sum_exp};
use crate::influence::{HostKey, Influence, Strong};
use crate::row::to_f64;
use crate::value::{EValue, LN_PLAIN};

/// Traffic steps taken so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Steps(pub(crate) u64);

impl Steps {
    /// ln Σ γ_b over the steps taken: B/(B + 1).
    fn ln_started(self) -> f64 {
        let steps = to_f64(self.0);
        libm::log(steps / (steps + 1.0))
    }

    /// The weight not started yet: 1/(B + 1).
    pub(crate) fn waiting(self) -> f64 {
        1.0 / (to_f64(self.0) + 1.0)
    }

    /// ln γ of the latest step.
    fn ln_weight(self) -> f64 {
        let steps = to_f64(self.0);
        -libm::log(steps) - libm::log(steps + 1.0)
    }
}

/// M* of one node and metric. One without rows is 1 and is not updated by steps.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Process {
    /// W_r; meaningless while untouched.
    weighted: GridVector,
    /// M*, a function of `weighted`, what is withheld, and the number of steps.
    value: EValue,
    /// M* as it would be were nothing withheld of its strongest host.
    unbounded: EValue,
    /// Only where somebody says which hosts the bad events are of.
    influence: Option<Box<Influence>>,
    touched: bool,
    /// The values have to be computed anew.
    stale: bool,
}

impl Process {
    pub(crate) const UNTOUCHED: Self = Self {
        weighted: [0.0; 6],
        value: EValue::ONE,
        unbounded: EValue::ONE,
        influence: None,
        touched: false,
        stale: false,
    };

    /// As it was saved. [`settle`](Self::settle) must follow before the value is read.
    pub(crate) fn restored(weighted: GridVector, influence: Option<Influence>) -> Self {
        Self {
            weighted,
            influence: influence.map(Box::new),
            touched: true,
            stale: true,
            ..Self::UNTOUCHED
        }
    }

    /// What has to be saved; nothing while untouched.
    pub(crate) fn saved(&self) -> Option<(&GridVector, Option<&Influence>)> {
        self.touched.then_some((&self.weighted, self.influence.as_deref()))
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

    /// Says which host so many of the bad events are of, each with this part of the evidence added.
    pub(crate) fn add_host(&mut self, host: HostKey, events: u64, event: &GridVector) {
        self.influence.get_or_insert_default().add(host, events, event);
        self.stale = true;
    }

    /// Starts the restart of the latest step. M* itself does not change, what it grows to does: what was withheld stays so
    /// for good, and hosts begin anew. [`settle`](Self::settle) must follow, since M* is kept as the same function of the
    /// six numbers a restored process computes.
    pub(crate) fn step(&mut self, steps: Steps) {
        if !self.touched {
            return;
        }
        self.stale = true;
        if let Some(withheld) = self.withheld() {
            self.weighted = less(&self.weighted, &withheld);
        }
        self.influence = None;
        let fresh = steps.ln_weight();
        for weighted in &mut self.weighted {
            *weighted = ln_sum_exp(&[*weighted, fresh]);
        }
    }

    /// Computes M* from the six numbers where they changed. `waiting` is [`Steps::waiting`].
    pub(crate) fn settle(&mut self, waiting: f64) {
        if !core::mem::take(&mut self.stale) {
            return;
        }
        self.unbounded = mixture(&self.weighted, waiting);
        self.value = match self.withheld() {
            Some(withheld) => mixture(&less(&self.weighted, &withheld), waiting),
            None => self.unbounded,
        };
    }

    pub(crate) const fn value(&self) -> EValue {
        self.value
    }

    pub(crate) const fn unbounded(&self) -> EValue {
        self.unbounded
    }

    fn withheld(&self) -> Option<GridVector> {
        self.influence.as_ref()?.withheld()
    }

    /// M* as it would be without any bad event of the strongest host; `None` where no host stands out.
    pub(crate) fn without_strongest(&self, waiting: f64) -> Option<EValue> {
        let influence = self.influence.as_ref().filter(|influence| influence.stands_out())?;
        let worth = influence.worth(influence.strongest()?.events);
        Some(mixture(&less(&self.weighted, &worth), waiting))
    }

    /// Takes out the bad events of the strongest host for good.
    pub(crate) fn forget_strongest(&mut self) -> Option<Strong> {
        let influence = self.influence.as_mut()?;
        let strongest = influence.strongest()?;
        self.weighted = less(&self.weighted, &influence.worth(strongest.events));
        influence.hosts.retain(|known| known.key != strongest.key);
        self.stale = true;
        Some(strongest)
    }

    #[cfg(test)]
    pub(crate) fn ln_m(&self) -> f64 {
        self.value.ln()
    }
}

fn less(weighted: &GridVector, withheld: &GridVector) -> GridVector {
    core::array::from_fn(|i| weighted[i] - withheld[i])
}

/// mean_r exp(W_r) + what waits.
fn mixture(weighted: &GridVector, waiting: f64) -> EValue {
    if weighted.iter().all(|weighted| *weighted <= LN_PLAIN) {
        return EValue::Plain(weighted.map(libm::exp).iter().sum::<f64>() / 6.0 + waiting);
    }
    let mut terms = [libm::log(waiting); 7];
    for (term, weighted) in terms.iter_mut().zip(weighted) {
        *term = weighted - LN_6;
    }
    EValue::Ln(ln_sum_exp(&terms))
}

/// ln 6, the weight of one ratio of the grid.
const LN_6: f64 = 1.791_759_469_228_055;
