//! What a release has left of an error budget.

use unattended_health::Slo;

/// The part of an objective's budget that is left when so many of so many requests were bad: 1 is all of it, 0 nothing, and less
/// where it is overdrawn. `None` without requests: nothing seen is not nothing burnt.
///
/// `1 − bad / ((1 − objective) · total)`, as in *The Site Reliability Workbook* (2018), chapter 2.
///
/// ```
/// use unattended::health::{Sli, Slo};
/// use unattended::train::budget_left;
/// let slo = Slo::new("availability", Sli::Metric("errors".into()), 0.999, 30 * 86_400_000)?;
/// assert_eq!(budget_left(&slo, 0, 0), None);
/// assert!((budget_left(&slo, 5, 10_000).unwrap() - 0.5).abs() < 1e-9);
/// assert!(budget_left(&slo, 20, 10_000).unwrap() < 0.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[expect(clippy::cast_precision_loss, reason = "a share of counts")]
pub fn budget_left(slo: &Slo, bad: u64, total: u64) -> Option<f64> {
    (total > 0).then(|| 1.0 - bad as f64 / ((1.0 - slo.objective) * total as f64))
}
