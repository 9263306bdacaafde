//! Durations as random variables.

use super::Duration;
use crate::hash::mix;

/// Φ⁻¹(0.95).
const Z95: f64 = 1.644_853_626_951_472_2;

/// A log-normal duration through two percentiles.
#[derive(Clone, Copy, Debug)]
pub(super) struct LogNormal {
    median: f64,
    sigma: f64,
}

impl LogNormal {
    #[expect(clippy::cast_precision_loss, reason = "durations are below 2^53 ms")]
    pub(super) fn new(duration: Duration) -> Self {
        Self {
            median: duration.p50_ms as f64,
            sigma: libm::log(duration.p95_ms as f64 / duration.p50_ms as f64) / Z95,
        }
    }

    pub(super) fn mean(self) -> f64 {
        self.median * libm::exp(self.sigma * self.sigma / 2.0)
    }

    /// The longest of `n` independent ones, for a uniform `u`: the quantile at `u^(1/n)`.
    pub(super) fn longest_of(self, n: u32, u: f64) -> f64 {
        if self.sigma <= 0.0 {
            return self.median;
        }
        // 1 − u^(1/n), without loss where n is large.
        let above = -libm::expm1(libm::log(u) / f64::from(n.max(1)));
        self.median * libm::exp(-self.sigma * standard(above))
    }
}

/// A uniform number strictly between 0 and 1.
pub(super) fn uniform(seed: u64, trial: u32, draw: u64) -> f64 {
    let bits = mix(mix(seed ^ u64::from(trial)).wrapping_add(draw)) >> 12;
    #[expect(clippy::cast_precision_loss, reason = "52 bits are exact")]
    let bits = bits as f64;
    (bits + 0.5) / 4_503_599_627_370_496.0
}

/// Φ⁻¹: Winitzki's estimate of the inverse error function ("A handy approximation", 2008), brought to full precision by three of
/// Halley's steps on the error function.
fn standard(p: f64) -> f64 {
    const A: f64 = 0.147;
    let p = p.clamp(1e-300, 1.0 - 1e-16);
    let x = 2.0 * p - 1.0;
    // ln(1 − x²), without loss at either end.
    let tail = libm::log(4.0 * p) + libm::log1p(-p);
    let half = 2.0 / (std::f64::consts::PI * A) + tail / 2.0;
    let root = libm::sqrt((libm::sqrt(half * half - tail / A) - half).max(0.0));
    let mut z = libm::copysign(root, x) * std::f64::consts::SQRT_2;
    for _ in 0..3 {
        let error = libm::erfc(-z / std::f64::consts::SQRT_2) / 2.0 - p;
        let density = libm::exp(-z * z / 2.0) / libm::sqrt(2.0 * std::f64::consts::PI);
        if density > 0.0 {
            let step = error / density;
            z -= step / (1.0 + z * step / 2.0);
        }
    }
    z
}

#[cfg(test)]
mod tests {
    use super::{Duration, LogNormal, standard, uniform};

    /// Percentiles of the standard normal distribution from tables.
    #[test]
    fn percentiles() {
        for (p, z) in [
            (0.5, 0.0),
            (0.95, 1.644_853_627),
            (0.975, 1.959_963_985),
            (0.05, -1.644_853_627),
            (0.001, -3.090_232_306),
            (1e-9, -5.997_807_015),
        ] {
            assert!((standard(p) - z).abs() < 1e-8, "{p}: {}", standard(p));
        }
        assert!(standard(0.0).is_finite() && standard(1.0).is_finite());
    }

    #[test]
    fn goes_through_its_percentiles() {
        let span = LogNormal::new(Duration {
            p50_ms: 30_000,
            p95_ms: 90_000,
        });
        assert!((span.longest_of(1, 0.5) - 30_000.0).abs() < 1e-3);
        assert!((span.longest_of(1, 0.95) - 90_000.0).abs() < 1e-2);
        // Half of the time, all of 13.5 are below the 95th percentile.
        assert!((span.longest_of(13, 0.5) - 90_000.0).abs() < 2_000.0);
        assert!(span.longest_of(1_000_000, 0.5) > span.longest_of(1_000, 0.5));
        let fixed = LogNormal::new(Duration { p50_ms: 7, p95_ms: 7 });
        assert!((fixed.longest_of(9, 0.99) - 7.0).abs() < 1e-12 && (fixed.mean() - 7.0).abs() < 1e-12);
    }

    #[test]
    fn draws_are_even() {
        let mean = (0..4_000_u64).map(|n| uniform(5, 3, n)).sum::<f64>() / 4_000.0;
        assert!((mean - 0.5).abs() < 0.02, "{mean}");
    }
}
