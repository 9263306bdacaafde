//! Boundaries of the `confseq` library that the product has no use for, beside its own values: the rate interval of the
//! product is one of this family. Formulas: Howard, Ramdas, McAuliffe, Sekhon, "Time-uniform, nonparametric, nonasymptotic
//! confidence sequences" (2021); Howard and Ramdas, "Sequential estimation of quantiles" (2022).

use core::f64::consts::{LN_2, SQRT_2};

fn best_rho(variance: f64, alpha: f64) -> f64 {
    let ln = -libm::log(alpha);
    variance / (2.0 * ln + libm::log1p(2.0 * ln))
}

/// The variance at which a one-sided mixture does best.
fn one_sided_rho(variance: f64, alpha: f64) -> f64 {
    best_rho(variance, 2.0 * alpha)
}

/// Regularised lower incomplete gamma function, by its series.
fn gamma_p(a: f64, x: f64) -> f64 {
    let (mut term, mut sum, mut n) = (1.0 / a, 1.0 / a, a);
    while term > sum * 1e-17 {
        n += 1.0;
        term *= x / n;
        sum += term;
    }
    sum * libm::exp(a * libm::log(x) - x - libm::lgamma(a))
}

fn ln_beta(a: f64, b: f64) -> f64 {
    libm::lgamma(a) + libm::lgamma(b) - libm::lgamma(a + b)
}

/// ln of the incomplete beta function, not regularised, by its hypergeometric series.
fn ln_incomplete_beta(a: f64, b: f64, x: f64) -> f64 {
    if x >= 1.0 {
        return ln_beta(a, b);
    }
    // B_x(a, b) = x^a (1 − x)^b / a · Σ (a + b)_n / (a + 1)_n · xⁿ
    let (mut term, mut sum, mut n) = (1.0, 1.0, 0.0);
    while term > sum * 1e-17 {
        term *= (a + b + n) / (a + 1.0 + n) * x;
        n += 1.0;
        sum += term;
    }
    a * libm::log(x) + b * libm::log1p(-x) - libm::log(a) + libm::log(sum)
}

/// The s at which a mixture that grows with s reaches ln 20.
fn bound(most: f64, ln_mixture: impl Fn(f64) -> f64) -> f64 {
    let (mut low, mut high) = (0.0, most);
    for _ in 0..200 {
        let middle = f64::midpoint(low, high);
        if ln_mixture(middle) < libm::log(20.0) {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}

fn normal_one_sided(s: f64, v: f64, rho: f64) -> f64 {
    let cdf = 0.5 * libm::erfc(-s / libm::sqrt(v + rho) / SQRT_2);
    0.5 * libm::log(4.0 * rho / (v + rho)) + s * s / (2.0 * (v + rho)) + libm::log(cdf)
}

fn normal_two_sided(s: f64, v: f64, rho: f64) -> f64 {
    0.5 * libm::log(rho / (v + rho)) + s * s / (2.0 * (v + rho))
}

fn gamma_poisson(s: f64, v: f64, rho: f64, c: f64) -> f64 {
    let (prior, after) = (rho / (c * c), (v + rho) / (c * c));
    let shape = s / c + after;
    let constant = prior * libm::log(prior) - libm::lgamma(prior) - libm::log(1.0 - gamma_p(prior, prior));
    constant + libm::lgamma(shape) + libm::log(1.0 - gamma_p(shape, after)) - shape * libm::log(after) + v / (c * c)
}

fn gamma_exponential(s: f64, v: f64, rho: f64, c: f64) -> f64 {
    let (prior, after, seen) = (rho / (c * c), (v + rho) / (c * c), (c * s + v) / (c * c));
    let constant = prior * libm::log(prior) - libm::lgamma(prior) - libm::log(gamma_p(prior, prior));
    constant + libm::lgamma(after) + libm::log(gamma_p(after, seen + prior)) - after * libm::log(seen + prior) + seen
}

fn beta_binomial(s: f64, v: f64, rho: f64, (g, h): (f64, f64), one_sided: bool) -> f64 {
    let r = (rho - g * h).max(1e-3 * g * h);
    let x = if one_sided { h / (g + h) } else { 1.0 };
    v / (g * h) * libm::log(g + h)
        - (v + h * s) / (h * (g + h)) * libm::log(g)
        - (v - g * s) / (g * (g + h)) * libm::log(h)
        + ln_incomplete_beta((r + v - g * s) / (g * (g + h)), (r + v + h * s) / (h * (g + h)), x)
        - ln_incomplete_beta(r / (g * (g + h)), r / (h * (g + h)), x)
}

/// ζ(1.4), by Euler and Maclaurin.
fn zeta() -> f64 {
    let (s, n) = (1.4, 1_000.0_f64);
    let head: f64 = (1..1_000).map(|k| libm::pow(f64::from(k), -s)).sum();
    head + libm::pow(n, 1.0 - s) / (s - 1.0) + 0.5 * libm::pow(n, -s) + s / 12.0 * libm::pow(n, -s - 1.0)
}

/// k₁ and k₂ of stitching at η = 2.
fn stitching() -> (f64, f64) {
    (
        (libm::pow(2.0, 0.25) + libm::pow(2.0, -0.25)) / SQRT_2,
        (SQRT_2 + 1.0) / 2.0,
    )
}

fn poly_stitching(v: f64, alpha: f64, least: f64, c: f64) -> f64 {
    let (k1, k2) = stitching();
    let v = v.max(least);
    let l = 1.4 * libm::log(libm::log(2.0 * v / least)) + libm::log(zeta() / (alpha * libm::pow(LN_2, 1.4)));
    libm::sqrt(k1 * k1 * v * l + k2 * k2 * c * c * l * l) + k2 * c * l
}

fn double_stitching(p: f64, t: f64, alpha: f64, least: f64) -> f64 {
    const DELTA: f64 = 0.5;
    let (k1, k2) = stitching();
    let (t, logit) = (t.max(least), libm::log(p / (1.0 - p)));
    let moved = logit + 2.0 * DELTA * libm::sqrt(least * 2.0 / t);
    let r = if p >= 0.5 {
        p
    } else {
        (1.0 / (1.0 + libm::exp(-moved))).min(0.5)
    };
    let variance = r * (1.0 - r);
    let j = libm::sqrt(t / least) * logit.abs() / (2.0 * DELTA) + 1.0;
    let l = 1.4 * libm::log(libm::log(2.0 * t / least))
        + 1.4 * libm::log(j)
        + libm::log(2.0 * zeta() * (2.0 * zeta() + 1.0) / (alpha * libm::pow(LN_2, 1.4)));
    let skew = k2 * (1.0 - 2.0 * p) / 3.0 * l;
    DELTA * libm::sqrt(2.0 * t * variance / least) + libm::sqrt(k1 * k1 * variance * t * l + skew * skew) + skew
}

/// The band of theorem 2 with C solved for: the least C with inf over η of 4e^(−γ²C)(1 + 1/((γ² − 1) ln η)) ≤ α.
fn lil_band(t: f64, alpha: f64, least: f64, a: f64) -> f64 {
    let error = |c: f64| {
        (1..20_000)
            .map(|i| 1.0 + (2.0 * a * a - 1.0) * f64::from(i) / 20_000.0)
            .filter_map(|eta| {
                let left = a - libm::sqrt(2.0 * (eta - 1.0) / c);
                let gamma = 2.0 / eta * left * left;
                (left > 0.0 && gamma > 1.0)
                    .then(|| 4.0 * libm::exp(-gamma * c) * (1.0 + 1.0 / ((gamma - 1.0) * libm::log(eta))))
            })
            .fold(f64::INFINITY, f64::min)
    };
    let (mut low, mut high) = (1.0, 100.0);
    for _ in 0..40 {
        let middle = f64::midpoint(low, high);
        if error(middle) > alpha {
            low = middle;
        } else {
            high = middle;
        }
    }
    a * libm::sqrt((libm::log1p(libm::log(t / least)) + high) / t)
}

/// The value of a row of the table; `None` for functions that are none of these.
pub(super) fn computed(function: &str, input: &[f64]) -> Option<Vec<f64>> {
    Some(match (function, input) {
        ("best_rho", &[v, alpha]) => vec![best_rho(v, alpha)],
        ("normal_two_sided", &[s, v, tuned, alpha]) => {
            let of = |s| normal_two_sided(s, v, best_rho(tuned, alpha));
            vec![of(s), bound(1e3, of)]
        }
        ("normal_one_sided", &[s, v, tuned, alpha]) => {
            let of = |s| normal_one_sided(s, v, one_sided_rho(tuned, alpha));
            vec![of(s), bound(1e3, of)]
        }
        ("gamma_poisson", &[s, v, tuned, alpha, c]) => {
            let of = |s| gamma_poisson(s, v, one_sided_rho(tuned, alpha), c);
            vec![of(s), bound(200.0, of)]
        }
        ("gamma_exponential", &[s, v, tuned, alpha, c]) => {
            let of = |s| gamma_exponential(s, v, one_sided_rho(tuned, alpha), c);
            vec![of(s), bound(200.0, of)]
        }
        ("beta_binomial_one_sided", &[s, v, tuned, alpha, g, h]) => {
            let of = |s| beta_binomial(s, v, one_sided_rho(tuned, alpha), (g, h), true);
            vec![of(s), bound(v / g, of)]
        }
        ("beta_binomial_two_sided", &[s, v, tuned, alpha, g, h]) => {
            let of = |s| beta_binomial(s, v, best_rho(tuned, alpha), (g, h), false);
            vec![of(s), bound(v / g, of)]
        }
        ("poly_stitching", &[v, alpha, least, c]) => vec![poly_stitching(v, alpha, least, c)],
        ("lil_band", &[t, alpha, least, a]) => vec![lil_band(t, alpha, least, a)],
        ("double_stitching", &[p, t, alpha, least]) => vec![double_stitching(p, t, alpha, least)],
        _ => return None,
    })
}
