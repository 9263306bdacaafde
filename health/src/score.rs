//! One number for people: 0 is known to be bad, 100 known to be good, 50 knows nothing.

use serde::{Deserialize, Serialize};

use crate::judge::Judge;

/// Which part of a [`Score`] is smallest and so decides it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "a score has these three parts")]
pub enum ScoreTerm {
    /// Evidence of harm and of safety.
    Evidence,
    /// Error budget burnt by the component itself.
    Burn,
    /// Hosts that report.
    Coverage,
}

/// The score, g · min(evidence, burn, coverage). For display and ranking; the verdict decides.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Score {
    /// 0 to 100.
    pub value: f64,
    /// Share of self-checks that passed, 0 to 1; 1 where nobody said.
    pub gate: f64,
    /// D = 50·(1 + s − h), with h = ln Ē/ln(1/α) and s = ln S/ln(1/β), each within 0 and 1; h stays 1 once stopped.
    pub evidence: f64,
    /// B = 100·(1 − min(1, u)²) with the burn u of the component's own errors, as told by [`Judge::observe_burn`].
    pub burn: f64,
    /// C = 50 + 50·share of hosts that report, on the arm that reports less.
    pub coverage: f64,
    /// The part that decides.
    pub binding: ScoreTerm,
}

/// B for a burn of `usage`.
pub(crate) fn burn_term(usage: f64) -> f64 {
    let used = usage.clamp(0.0, 1.0);
    100.0 * (1.0 - used * used)
}

/// D for harm and safety within 0 and 1.
pub(crate) fn evidence_term(harm: f64, safe: f64) -> f64 {
    50.0 * (1.0 + safe.clamp(0.0, 1.0) - harm.clamp(0.0, 1.0))
}

impl Judge {
    /// The score with its parts.
    #[must_use]
    pub fn score_terms(&self) -> Score {
        let harm = if self.stop.is_some() {
            1.0
        } else {
            self.ln_e / self.rules.ln_needed
        };
        let safe = self.scopes[0].ln_s(&self.config) / self.rules.ln_safe;
        let covered = self
            .coverage
            .map_or(0.0, |(canary, control)| canary.share().min(control.share()));
        let terms = [
            (ScoreTerm::Evidence, evidence_term(harm, safe)),
            (ScoreTerm::Burn, burn_term(self.burn)),
            (ScoreTerm::Coverage, 50.0 + 50.0 * covered),
        ];
        let (binding, least) = terms
            .into_iter()
            .reduce(|least, next| if next.1 < least.1 { next } else { least })
            .unwrap_or(terms[0]);
        Score {
            value: self.gate * least,
            gate: self.gate,
            evidence: terms[0].1,
            burn: terms[1].1,
            coverage: terms[2].1,
            binding,
        }
    }

    /// [`Score::value`].
    #[must_use]
    pub fn score(&self) -> f64 {
        self.score_terms().value
    }
}
