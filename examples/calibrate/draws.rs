//! Random counts from a seed, exact in distribution.

/// SplitMix64 (Steele, Lea, Flood 2014): scatters a key.
const fn scatter(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// A stream of random numbers: xoshiro256++ (Blackman and Vigna 2019).
#[derive(Clone, Debug)]
pub(crate) struct Draws {
    state: [u64; 4],
}

impl Draws {
    /// The stream of a key: which thread draws from it, and when, changes nothing.
    pub(crate) fn of(key: &[u64]) -> Self {
        let mut hash = 0;
        for part in key {
            hash = scatter(hash ^ scatter(*part));
        }
        let mut state = [0; 4];
        for word in &mut state {
            hash = scatter(hash);
            *word = hash;
        }
        Self { state }
    }

    fn bits(&mut self) -> u64 {
        let [a, b, c, d] = self.state;
        let result = a.wrapping_add(d).rotate_left(23).wrapping_add(a);
        let (c, d) = (c ^ a, d ^ b);
        self.state = [a ^ d, b ^ c, c ^ (b << 17), d.rotate_left(45)];
        result
    }

    /// Uniform in (0, 1).
    pub(crate) fn unit(&mut self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "53 bits")]
        let bits = (self.bits() >> 11) as f64;
        (bits + 0.5) / 9_007_199_254_740_992.0
    }

    /// Uniform between two numbers.
    pub(crate) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// Uniform in `0..below`, which is at least 1.
    pub(crate) fn below(&mut self, below: usize) -> usize {
        let wide = u128::from(self.bits()) * (below as u128);
        usize::try_from(wide >> 64).unwrap_or(0)
    }

    pub(crate) fn chance(&mut self, p: f64) -> bool {
        self.unit() < p
    }

    /// 1, 2, … with this mean, which is at least 1.
    pub(crate) fn geometric(&mut self, mean: f64) -> u64 {
        if mean <= 1.0 {
            return 1;
        }
        1 + whole((self.unit().ln() / (-1.0 / mean).ln_1p()).floor())
    }

    /// A number of at least 1 that exceeds x with probability x^−exponent.
    pub(crate) fn pareto(&mut self, exponent: f64) -> f64 {
        self.unit().powf(-1.0 / exponent)
    }

    /// Events with this mean.
    pub(crate) fn poisson(&mut self, mean: f64) -> u64 {
        if mean <= 0.0 {
            return 0;
        }
        if mean < 12.0 {
            return self.small_poisson(mean);
        }
        // Hörmann's transformed rejection with squeeze (PTRS, 1993).
        let b = 0.931 + 2.53 * mean.sqrt();
        let a = -0.059 + 0.024_83 * b;
        let (inverse, ceiling) = (1.1239 + 1.1328 / (b - 3.4), 0.9277 - 3.6224 / (b - 2.0));
        loop {
            let (u, v) = (self.unit() - 0.5, self.unit());
            let us = 0.5 - u.abs();
            let k = ((2.0 * a / us + b) * u + mean + 0.43).floor();
            if us >= 0.07 && v <= ceiling {
                return whole(k);
            }
            if k < 0.0 || (us < 0.013 && v > us) {
                continue;
            }
            let left = v.ln() + inverse.ln() - (a / (us * us) + b).ln();
            if left <= k * mean.ln() - mean - libm::lgamma(k + 1.0) {
                return whole(k);
            }
        }
    }

    fn small_poisson(&mut self, mean: f64) -> u64 {
        let (mut left, mut p, mut k) = (self.unit(), (-mean).exp(), 0_u32);
        while left > p && k < 1_000 {
            left -= p;
            k += 1;
            p *= mean / f64::from(k);
        }
        u64::from(k)
    }

    /// Successes in `n` tries.
    pub(crate) fn binomial(&mut self, n: u64, p: f64) -> u64 {
        if n == 0 || p <= 0.0 {
            return 0;
        }
        if p >= 1.0 {
            return n;
        }
        if p > 0.5 {
            return n - self.binomial(n, 1.0 - p);
        }
        let tries = float(n);
        if tries * p < 12.0 {
            return self.small_binomial(n, p);
        }
        // Hörmann's transformed rejection (BTRS, 1993).
        let q = 1.0 - p;
        let spread = (tries * p * q).sqrt();
        let b = 1.15 + 2.53 * spread;
        let a = -0.0873 + 0.0248 * b + 0.01 * p;
        let (centre, ceiling) = (tries * p + 0.5, 0.92 - 4.2 / b);
        let (alpha, odds) = ((2.83 + 5.1 / b) * spread, (p / q).ln());
        let mode = ((tries + 1.0) * p).floor();
        let height = libm::lgamma(mode + 1.0) + libm::lgamma(tries - mode + 1.0);
        loop {
            let (u, mut v) = (self.unit() - 0.5, self.unit());
            let us = 0.5 - u.abs();
            let k = ((2.0 * a / us + b) * u + centre).floor();
            if k < 0.0 || k > tries {
                continue;
            }
            if us >= 0.07 && v <= ceiling {
                return whole(k);
            }
            v *= alpha / (a / (us * us) + b);
            if v.ln() <= height - libm::lgamma(k + 1.0) - libm::lgamma(tries - k + 1.0) + (k - mode) * odds {
                return whole(k);
            }
        }
    }

    fn small_binomial(&mut self, n: u64, p: f64) -> u64 {
        let (tries, odds) = (float(n), p / (1.0 - p));
        let (mut left, mut at, mut k) = (self.unit(), (tries * (-p).ln_1p()).exp(), 0_u32);
        while left > at && u64::from(k) < n && k < 1_000 {
            left -= at;
            k += 1;
            at *= odds * (tries - f64::from(k) + 1.0) / f64::from(k);
        }
        u64::from(k)
    }
}

/// A count as a float; exact up to 2^53, and none here is larger.
#[expect(clippy::cast_precision_loss, reason = "counts here are far below 2^53")]
pub(crate) const fn float(count: u64) -> f64 {
    count as f64
}

/// A whole float of at least 0 as a count.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "whole, and far below 2^53"
)]
pub(crate) const fn whole(value: f64) -> u64 {
    value as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mean and variance of many draws, against theory within five standard errors.
    fn moments(mut draw: impl FnMut(&mut Draws) -> u64, mean: f64, variance: f64, seed: u64) {
        const DRAWS: u32 = 60_000;
        let mut draws = Draws::of(&[seed, 77]);
        let all: Vec<f64> = (0..DRAWS).map(|_| float(draw(&mut draws))).collect();
        let found = all.iter().sum::<f64>() / f64::from(DRAWS);
        let spread = all.iter().map(|x| (x - found) * (x - found)).sum::<f64>() / f64::from(DRAWS - 1);
        let error = 5.0 * (variance / f64::from(DRAWS)).sqrt();
        assert!((found - mean).abs() < error, "mean {found}, not {mean} ± {error}");
        assert!(
            (spread / variance - 1.0).abs() < 0.06,
            "variance {spread}, not {variance}"
        );
    }

    #[test]
    fn counts_have_their_moments_on_both_sides_of_every_border() {
        for (seed, mean) in [(1, 0.03), (2, 2.5), (3, 11.9), (4, 12.1), (5, 300.0)] {
            moments(|draws| draws.poisson(mean), mean, mean, seed);
        }
        for (seed, n, p) in [
            (11, 500, 1e-3),
            (12, 40, 0.29),
            (13, 50_000, 1e-3),
            (14, 700, 0.4),
            (15, 90, 0.8),
        ] {
            let tries = float(n);
            moments(|draws| draws.binomial(n, p), tries * p, tries * p * (1.0 - p), seed);
        }
        moments(|draws| draws.geometric(3.0), 3.0, 6.0, 21);
        moments(|draws| draws.below(7) as u64, 3.0, 4.0, 22);
    }

    /// The whole distribution, not only its moments: χ² over the cells that are expected at least five times.
    #[test]
    fn large_counts_have_the_right_shape() {
        const DRAWS: u32 = 40_000;
        let mut draws = Draws::of(&[31]);
        let (n, p, mean) = (200_u64, 0.1_f64, 20.0_f64);
        let mut cells = vec![[0_u32; 2]; 201];
        for _ in 0..DRAWS {
            cells[usize::try_from(draws.binomial(n, p)).unwrap()][0] += 1;
            cells[usize::try_from(draws.poisson(mean)).unwrap().min(200)][1] += 1;
        }
        let ln_choose = |k: f64| libm::lgamma(201.0) - libm::lgamma(k + 1.0) - libm::lgamma(201.0 - k);
        let binomial = |k: f64| (ln_choose(k) + k * p.ln() + (200.0 - k) * (1.0 - p).ln()).exp();
        let poisson = |k: f64| (k * mean.ln() - mean - libm::lgamma(k + 1.0)).exp();
        for (which, law) in [&binomial as &dyn Fn(f64) -> f64, &poisson].into_iter().enumerate() {
            let (mut chi, mut freedom) = (0.0, -1.0_f64);
            for (k, cell) in cells.iter().enumerate() {
                let expected = f64::from(DRAWS) * law(k as f64);
                if expected >= 5.0 {
                    chi += (f64::from(cell[which]) - expected).powi(2) / expected;
                    freedom += 1.0;
                }
            }
            assert!(
                chi < freedom + 5.0 * (2.0 * freedom).sqrt(),
                "χ² {chi} with {freedom} degrees of freedom"
            );
        }
    }

    #[test]
    fn a_stream_belongs_to_its_key() {
        let first = |key: &[u64]| Draws::of(key).bits();
        assert_eq!(first(&[1, 2]), first(&[1, 2]));
        assert_ne!(first(&[1, 2]), first(&[2, 1]));
        assert_ne!(first(&[1]), first(&[1, 0]));
    }
}
