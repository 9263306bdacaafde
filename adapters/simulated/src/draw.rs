//! Randomness without state: every draw is a function of what it is drawn for, so that the order of calls, and a
//! restart of the program, change nothing.

/// Two to the minus 53: turns 53 random bits into a number in [0, 1).
const UNIT: f64 = 1.0 / 9_007_199_254_740_992.0;

/// The step of SplitMix64: the odd number nearest to 2^64 over the golden ratio.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// How far apart the streams of one [`Key`] begin. The counts drawn from them take two numbers at most.
const APART: u64 = STEP.wrapping_mul(4);

/// A Poisson mean below which nothing is drawn: one event in so many draws is not seen by anybody.
const NO_MEAN: f64 = 1e-12;

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
    Barrier,
    Cut,
    OtherChange,
    BadNode,
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
    let mut h = STEP ^ (text.len() as u64);
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

/// What the counts of one side of one stratum in one interval are drawn from: each count has a stream of its own, which begins
/// at its number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key(u64);

impl Key {
    /// The key `number` below `of`, which is a stream's first bits: many keys cost one hash each.
    #[inline]
    pub(crate) const fn new(of: u64, number: u64) -> Self {
        Self(mix(of ^ number.wrapping_mul(STEP)))
    }

    /// The stream of a count. It gives no more than four numbers of its own.
    #[inline]
    pub(crate) const fn count(self, number: u8) -> Draw {
        Draw {
            state: self.0.wrapping_add(APART.wrapping_mul(number as u64)),
        }
    }
}

/// A Poisson number that is about to be drawn. All that takes long is done already, and without branches: where many are made ready
/// before the first is drawn, the arithmetic of one overlaps with that of the next, and a branch guessed wrong waits for none of it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rare {
    mean: f64,
    /// The probability of nothing, e^-mean; of no meaning for large means.
    none: f64,
    u: f64,
    stream: u64,
}

impl Rare {
    /// The number that [`Draw::poisson`] would give.
    #[inline]
    pub(crate) fn new(mut draw: Draw, mean: f64) -> Self {
        let stream = draw.state;
        // No number is no mean either.
        let mean = if mean > NO_MEAN { mean } else { 0.0 };
        Self {
            mean,
            none: exp_minus(mean),
            u: draw.unit(),
            stream,
        }
    }

    #[inline]
    pub(crate) fn draw(&self) -> u64 {
        if self.mean >= INVERSION_BELOW {
            return Draw { state: self.stream }.poisson(self.mean);
        }
        // The smallest k at which the distribution function exceeds u. 200 is beyond 30 + 30 standard deviations: the sum
        // has reached 1 in doubles long before.
        let (mut p, mut sum, mut k) = (self.none, self.none, 0);
        while self.u >= sum && k + 1 < RECIPROCALS.len() {
            k += 1;
            p *= self.mean * RECIPROCALS[k];
            sum += p;
        }
        k as u64
    }
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
            state = mix(state ^ key.wrapping_mul(STEP)).wrapping_add(0x3c6e_f372_fe94_f82b);
        }
        Self { state }
    }

    /// 64 random bits.
    #[inline]
    pub(crate) fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(STEP);
        mix(self.state)
    }

    /// Uniform in [0, 1).
    #[inline]
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
    #[inline]
    pub(crate) fn round(&mut self, x: f64) -> u64 {
        floor_to_u64(x + self.unit())
    }

    /// A Poisson number. Below a mean of 30 by inversion; above by the normal with the first Cornish–Fisher term, whose
    /// error is below the counting noise there.
    #[inline]
    pub(crate) fn poisson(&mut self, mean: f64) -> u64 {
        if mean >= INVERSION_BELOW {
            let z = self.normal();
            return floor_to_u64(mean + libm::sqrt(mean) * z + (z * z - 1.0) / 6.0 + 0.5);
        }
        let rare = Rare::new(self.clone(), mean);
        self.state = self.state.wrapping_add(STEP);
        rare.draw()
    }

    /// How many of `n` happen that have a chance of `p` each: one by one up to 64, above by the normal, whose error is below the
    /// counting noise there.
    pub(crate) fn binomial(&mut self, n: u64, p: f64) -> u64 {
        if n <= 64 {
            return (0..n).filter(|_| self.chance(p)).count() as u64;
        }
        let mean = to_f64(n) * p;
        let spread = libm::sqrt(mean * (1.0 - p).max(0.0));
        floor_to_u64((mean + spread * self.normal() + 0.5).max(0.0)).min(n)
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

/// e^(-i/64), each from its own power series of e^(i/64).
static POWERS: [f64; 2048] = {
    let mut all = [0.0; 2048];
    let mut i = 0;
    let mut x = 0.0;
    while i < all.len() {
        let (mut term, mut sum, mut k) = (1.0, 1.0, 1.0);
        while term > sum * 1e-17 {
            term *= x / k;
            sum += term;
            k += 1.0;
        }
        all[i] = 1.0 / sum;
        i += 1;
        x += 0.015_625;
    }
    all
};

/// e^-x for x from 0 to 30, to 3e-13 of it: the nearest power in the table, times four terms of the series of what is left.
/// It has no branches, and costs a third of the exponential that knows all numbers. Beyond 30 it is of no meaning.
#[inline]
fn exp_minus(x: f64) -> f64 {
    // A double this large has no fraction: adding it rounds to a whole number, which then are the lowest bits.
    const WHOLE: f64 = 6_755_399_441_055_744.0;
    let t = x.min(30.0) * 64.0 + WHOLE;
    let i = usize::try_from(t.to_bits() & 0x7ff).unwrap_or(0);
    // At most 1/128, and exact.
    let r = (t - WHOLE) * 0.015_625 - x;
    let series = 1.0 + r + r * r * (0.5 + r * (1.0 / 6.0) + r * r * (1.0 / 24.0));
    POWERS[i] * series
}

/// 1/k: the terms of the Poisson law follow each other by multiplication alone.
static RECIPROCALS: [f64; 201] = {
    let mut all = [0.0; 201];
    let mut k = 1;
    let mut divisor = 1.0;
    while k < all.len() {
        all[k] = 1.0 / divisor;
        divisor += 1.0;
        k += 1;
    }
    all
};

/// The upper tail of the standard normal, P(Z > z).
pub(crate) fn upper_tail(z: f64) -> f64 {
    0.5 * libm::erfc(z / std::f64::consts::SQRT_2)
}

/// The whole part; 0 for what is negative or no number, about 2^63 for what is beyond.
#[inline]
pub(crate) fn floor_to_u64(x: f64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and 2^63, and the whole part is wanted"
    )]
    let whole = x.clamp(0.0, 9.2e18) as i64 as u64;
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
    fn the_short_exponential_is_the_long_one() {
        for i in 0..=30_000 {
            let x = f64::from(i) * 1e-3;
            let (short, long) = (exp_minus(x), libm::exp(-x));
            assert!((short / long - 1.0).abs() < 3e-13, "{x}: {short} against {long}");
        }
        assert!((exp_minus(1e-9) - (1.0 - 1e-9)).abs() < 1e-17);
    }

    #[test]
    fn poisson_has_the_probabilities_of_theory() {
        // Chi-squared of 200,000 draws over the values 0 to 11 and beyond: 12 degrees of freedom, 45 is a chance of 1e-5.
        for mean in [0.02, 0.7, 3.0, 6.0] {
            let mut seen = [0.0_f64; 13];
            let key = Key::new(Draw::new(5, Purpose::Rows, &[9]).bits(), f64::to_bits(mean));
            for i in 0..200_000_u64 {
                let k = Key::new(key.count(1).bits(), i).count(2).poisson(mean);
                seen[usize::try_from(k).unwrap().min(12)] += 1.0;
            }
            let (mut p, mut rest, mut chi_squared) = (libm::exp(-mean), 1.0, 0.0);
            for (k, seen) in seen.iter().enumerate() {
                let expected = 200_000.0 * if k == 12 { rest } else { p };
                if expected > 0.5 {
                    chi_squared += (seen - expected) * (seen - expected) / expected;
                } else {
                    assert!(*seen < 8.0, "{seen} of value {k} at mean {mean}");
                }
                rest -= p;
                p *= mean / to_f64(k as u64 + 1);
            }
            assert!(chi_squared < 45.0, "mean {mean}: {chi_squared}");
        }
    }

    #[test]
    fn counts_of_one_key_do_not_hang_together() {
        let (mut both, mut first, mut second) = (0.0_f64, 0.0_f64, 0.0_f64);
        let n = 100_000_u64;
        for i in 0..n {
            let key = Key::new(77, i);
            let (a, b) = (key.count(1).unit() - 0.5, key.count(2).unit() - 0.5);
            both += a * b;
            first += a;
            second += Key::new(77, i + 1).count(1).unit() * a;
        }
        // Standard errors: 1/12, 1/sqrt 12 and 1/6 (of which a part is shared), times sqrt n.
        let root = libm::sqrt(to_f64(n));
        assert!(both.abs() < 5.0 * root / 12.0, "{both}");
        assert!(first.abs() < 5.0 * root / libm::sqrt(12.0), "{first}");
        assert!(second.abs() < 5.0 * root / 6.0, "{second}");
    }

    #[test]
    fn binomial_has_mean_and_variance_of_theory() {
        for (n, p) in [(20, 0.3), (64, 0.02), (500, 0.05), (500, 0.9), (40_000, 0.5)] {
            let drawn: Vec<f64> = (0..20_000)
                .map(|i| to_f64(Draw::new(3, Purpose::BadNode, &[i]).binomial(n, p)))
                .collect();
            let mean = drawn.iter().sum::<f64>() / 20_000.0;
            let variance = drawn.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / 20_000.0;
            let theory = (to_f64(n) * p, to_f64(n) * p * (1.0 - p));
            assert!(
                (mean - theory.0).abs() < 4.0 * libm::sqrt(theory.1 / 20_000.0) + 0.1,
                "{n} {p}: {mean}"
            );
            assert!((variance / theory.1 - 1.0).abs() < 0.1, "{n} {p}: {variance}");
            assert!(drawn.iter().all(|x| *x <= to_f64(n)));
        }
        let certain = |p| Draw::new(3, Purpose::BadNode, &[1]).binomial(1_000, p);
        assert_eq!((certain(0.0), certain(1.0)), (0, 1_000));
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
