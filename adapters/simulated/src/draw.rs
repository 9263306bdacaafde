//! Randomness without state: every draw is a function of what it is drawn for, so that the order of calls, and a
//! restart of the program, change nothing.

/// Two to the minus 53: turns 53 random bits into a number in [0, 1).
const UNIT: f64 = 1.0 / 9_007_199_254_740_992.0;

/// Below this mean a Poisson number is found by inversion, above it by the corrected normal.
const INVERSION_BELOW: f64 = 30.0;

/// What a draw is for; keeps draws for different purposes apart that are otherwise keyed alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Purpose {
    AppRate = 1,
    AppError,
    AppQuiet,
    Phase,
    TargetRate,
    Instance,
    Prefetch,
    Ingress,
    Fault,
    Observe,
    Natural,
    Incident,
    Rows,
    Requests,
    Samples,
    Totals,
    History,
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood 2014): a bijection of 64 bits that scatters well.
pub(crate) const fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// A deterministic hash of a text.
pub(crate) fn hash_text(text: &str) -> u64 {
    let mut chunks = text.as_bytes().chunks_exact(8);
    let mut h = 0x9e37_79b9_7f4a_7c15_u64 ^ (text.len() as u64);
    for chunk in &mut chunks {
        let mut word = [0_u8; 8];
        word.copy_from_slice(chunk);
        h = mix(h ^ u64::from_le_bytes(word));
    }
    let rest = chunks.remainder();
    if !rest.is_empty() {
        let mut word = [0_u8; 8];
        word[..rest.len()].copy_from_slice(rest);
        h = mix(h ^ u64::from_le_bytes(word).wrapping_add(0x2545_f491_4f6c_dd1d));
    }
    h
}

/// A stream of random numbers that belongs to one key.
#[derive(Clone, Debug)]
pub(crate) struct Draw {
    state: u64,
}

impl Draw {
    /// The stream of `(seed, purpose, keys)`.
    pub(crate) fn new(seed: u64, purpose: Purpose, keys: &[u64]) -> Self {
        let mut state = mix(seed ^ 0x6a09_e667_f3bc_c909).wrapping_add(purpose as u64);
        for key in keys {
            state = mix(state ^ key.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_add(0x3c6e_f372_fe94_f82b);
        }
        Self { state }
    }

    /// 64 random bits.
    pub(crate) fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.state)
    }

    /// Uniform in [0, 1).
    pub(crate) fn unit(&mut self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "53 bits fit a double exactly")]
        let x = (self.bits() >> 11) as f64;
        x * UNIT
    }

    /// Uniform in [low, high).
    pub(crate) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// Log-uniform in [low, high); both above 0.
    pub(crate) fn log_between(&mut self, low: f64, high: f64) -> f64 {
        libm::exp(self.between(libm::log(low), libm::log(high)))
    }

    /// Standard normal (Box and Muller 1958).
    pub(crate) fn normal(&mut self) -> f64 {
        let u = 1.0 - self.unit();
        let v = self.unit();
        libm::sqrt(-2.0 * libm::log(u)) * libm::cos(std::f64::consts::TAU * v)
    }

    /// True with this probability.
    pub(crate) fn chance(&mut self, p: f64) -> bool {
        self.unit() < p
    }

    /// Uniform in 0..n; 0 where n is 0. The bias of the multiplication is below n / 2^64.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        let wide = u128::from(self.bits()) * (n as u128);
        usize::try_from(wide >> 64).unwrap_or(0)
    }

    /// The whole number below or above `x`, so that the mean is `x`.
    pub(crate) fn round(&mut self, x: f64) -> u64 {
        floor_to_u64(x + self.unit())
    }

    /// A Poisson number. Below a mean of 30 by inversion; above by the normal with the first Cornish–Fisher term, whose
    /// error is below the counting noise there.
    pub(crate) fn poisson(&mut self, mean: f64) -> u64 {
        if mean.is_nan() || mean <= 0.0 {
            return 0;
        }
        if mean >= INVERSION_BELOW {
            let z = self.normal();
            return floor_to_u64(mean + libm::sqrt(mean) * z + (z * z - 1.0) / 6.0 + 0.5);
        }
        let u = self.unit();
        // e^-m is at least 1 - m: most draws of a rare event need no exponential.
        if u < 1.0 - mean {
            return 0;
        }
        let mut p = libm::exp(-mean);
        let mut sum = p;
        let mut k = 0_u32;
        // 200 is beyond 30 + 30 standard deviations: the sum has reached 1 in doubles long before.
        while u >= sum && k < 200 {
            k += 1;
            p *= mean / f64::from(k);
            sum += p;
        }
        u64::from(k)
    }

    /// A geometric number of at least 1 with this mean (mean at least 1).
    pub(crate) fn geometric(&mut self, mean: f64) -> u64 {
        if mean <= 1.0 {
            return 1;
        }
        let u = 1.0 - self.unit();
        1 + floor_to_u64(libm::log(u) / libm::log(1.0 - 1.0 / mean))
    }
}

/// The upper tail of the standard normal, P(Z > z).
pub(crate) fn upper_tail(z: f64) -> f64 {
    0.5 * libm::erfc(z / std::f64::consts::SQRT_2)
}

/// The whole part; 0 for what is negative or no number, 2^63 for what is beyond.
pub(crate) fn floor_to_u64(x: f64) -> u64 {
    if x.is_nan() || x <= 0.0 {
        return 0;
    }
    if x >= 9.2e18 {
        return 1 << 63;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and 2^63, and the whole part is wanted"
    )]
    let whole = x as u64;
    whole
}

/// The nearest double.
pub(crate) fn to_f64(x: u64) -> f64 {
    #[expect(
        clippy::cast_precision_loss,
        reason = "counts and times stay far below 2^53, or rounding does not matter"
    )]
    let y = x as f64;
    y
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(mean: f64, draws: u64) -> (f64, f64, f64) {
        let (mut sum, mut squares, mut zeros) = (0.0, 0.0, 0_u64);
        for i in 0..draws {
            let x = to_f64(Draw::new(7, Purpose::Rows, &[i, mean.to_bits()]).poisson(mean));
            sum += x;
            squares += x * x;
            zeros += u64::from(x < 0.5);
        }
        let n = to_f64(draws);
        let m = sum / n;
        (m, squares / n - m * m, to_f64(zeros) / n)
    }

    #[test]
    fn poisson_has_mean_and_variance_of_theory() {
        for mean in [0.003, 0.2, 1.0, 4.0, 12.0, 29.5, 30.5, 80.0, 5_000.0] {
            let draws = 60_000;
            let (m, v, zeros) = moments(mean, draws);
            let n = to_f64(draws);
            // Standard errors of mean and variance of a Poisson sample; five of them is a chance of 1e-6.
            let se_mean = libm::sqrt(mean / n);
            let se_variance = libm::sqrt((mean + 2.0 * mean * mean) / n);
            assert!((m - mean).abs() < 5.0 * se_mean, "mean of {mean}: {m}");
            assert!((v - mean).abs() < 5.0 * se_variance, "variance of {mean}: {v}");
            let p0 = libm::exp(-mean);
            let se_zero = libm::sqrt(p0 * (1.0 - p0) / n) + 1e-9;
            assert!(
                (zeros - p0).abs() < 5.0 * se_zero,
                "zeros of {mean}: {zeros} against {p0}"
            );
        }
    }

    #[test]
    fn poisson_of_nothing_is_nothing() {
        let mut d = Draw::new(1, Purpose::Rows, &[]);
        assert_eq!([d.poisson(0.0), d.poisson(-3.0), d.poisson(f64::NAN)], [0, 0, 0]);
    }

    #[test]
    fn geometric_has_its_mean() {
        let mut d = Draw::new(3, Purpose::Samples, &[1]);
        let sum: u64 = (0..50_000).map(|_| d.geometric(3.0)).sum();
        let mean = to_f64(sum) / 50_000.0;
        // The variance is m(m-1) = 6; five standard errors.
        assert!((mean - 3.0).abs() < 0.055, "{mean}");
    }

    #[test]
    fn stochastic_rounding_keeps_the_mean() {
        let sum: u64 = (0..40_000)
            .map(|i| Draw::new(3, Purpose::Requests, &[i]).round(0.3))
            .sum();
        assert!((to_f64(sum) / 40_000.0 - 0.3).abs() < 0.012);
    }

    #[test]
    fn tail_of_the_normal() {
        assert!((upper_tail(3.090_232_306) - 1e-3).abs() < 1e-9);
        assert!((upper_tail(0.0) - 0.5).abs() < 1e-15);
    }

    #[test]
    fn keys_and_purposes_are_apart() {
        let a = Draw::new(1, Purpose::Rows, &[1, 2]).bits();
        assert_ne!(a, Draw::new(1, Purpose::Rows, &[2, 1]).bits());
        assert_ne!(a, Draw::new(1, Purpose::Totals, &[1, 2]).bits());
        assert_ne!(a, Draw::new(2, Purpose::Rows, &[1, 2]).bits());
        assert_eq!(a, Draw::new(1, Purpose::Rows, &[1, 2]).bits());
        assert_ne!(hash_text("pay-1"), hash_text("pay-2"));
        assert_ne!(hash_text("abcdefgh"), hash_text("abcdefgh\0"));
    }
}
