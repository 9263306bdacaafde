//! What the world's traffic can show.

use unattended::Expected;
use unattended_simulated::World;

/// No bake is made longer for it.
pub(crate) const LONGEST_BAKE_MS: u64 = 3_600_000;

/// `x3`, `x1.5`.
pub(crate) fn ratio(text: &str) -> Result<f64, String> {
    let number = text.strip_prefix('x').and_then(|number| number.parse::<f64>().ok());
    let known = number.filter(|ratio| *ratio > 1.0 && *ratio <= 1e6);
    known.ok_or_else(|| format!("`{text}` is no ratio: write x and a number above 1, as in `x3`"))
}

/// The mean of a target's traffic, which is log-normal, and of the applications' error rates, which are log-uniform.
pub(crate) fn expected(world: &World) -> Expected {
    let (low, high) = (world.error_rate_low, world.error_rate_high);
    let spread = (high / low).ln();
    Expected {
        requests_per_s: world.requests_per_s_median * (world.requests_sigma * world.requests_sigma / 2.0).exp(),
        error_rate: if spread > 1e-9 { (high - low) / spread } else { low },
        dispersion: 1.0,
    }
}
