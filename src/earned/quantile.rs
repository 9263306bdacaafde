//! Quantiles of the beta distribution with whole parameters.

/// Where the distribution function of Beta(`a`, `b`) reaches `q`. It is the probability that a binomial variable with
/// `a + b − 1` trials is at least `a` (Abramowitz and Stegun 26.5.24), summed from its largest term down.
pub(super) fn beta_quantile(q: f64, a: u32, b: u32) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if beta_at_most(middle, a, b) < q {
            low = middle;
        } else {
            high = middle;
        }
    }
    f64::midpoint(low, high)
}

fn beta_at_most(x: f64, a: u32, b: u32) -> f64 {
    let n = f64::from(a) + f64::from(b) - 1.0;
    let from = f64::from(a);
    // Above the mean the terms fall; below it the other tail is the shorter sum.
    if from >= n * x {
        tail(from, n, x)
    } else {
        1.0 - tail(n - from + 1.0, n, 1.0 - x)
    }
}

/// P(X ≥ `from`) of the binomial distribution, where `from` is not below its mean.
fn tail(from: f64, n: f64, p: f64) -> f64 {
    if from > n || p <= 0.0 {
        return 0.0;
    }
    if p >= 1.0 {
        return 1.0;
    }
    let ln = libm::lgamma(n + 1.0) - libm::lgamma(from + 1.0) - libm::lgamma(n - from + 1.0)
        + from * libm::log(p)
        + (n - from) * libm::log1p(-p);
    let (mut term, mut sum, mut at) = (1.0, 0.0, from);
    while at <= n && term > 1e-17 * sum {
        sum += term;
        term *= (n - at) / (at + 1.0) * p / (1.0 - p);
        at += 1.0;
    }
    (libm::exp(ln) * sum).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::beta_quantile;

    #[test]
    fn closed_forms_and_exact_intervals() {
        let near = |found: f64, wanted: f64| assert!((found - wanted).abs() < 2e-6, "{found} and not {wanted}");
        // Beta(a, 1) and Beta(1, b) have closed forms.
        for n in [1, 2, 20, 58, 400] {
            near(beta_quantile(0.05, n, 1), libm::pow(0.05, 1.0 / f64::from(n)));
            near(beta_quantile(0.05, 1, n), 1.0 - libm::pow(0.95, 1.0 / f64::from(n)));
        }
        // The ends of exact 95 % intervals of a proportion are quantiles of beta distributions (Clopper and Pearson 1934);
        // 5 of 10, 1 of 100 and 700 of 1,000, as in every table.
        near(beta_quantile(0.025, 5, 6), 0.187_086_0);
        near(beta_quantile(0.975, 6, 5), 0.812_914_0);
        near(beta_quantile(0.025, 1, 100), 0.000_253_146);
        near(beta_quantile(0.975, 2, 99), 0.054_459_4);
        near(beta_quantile(0.025, 700, 301), 0.670_538_3);
        near(beta_quantile(0.5, 7, 7), 0.5);
    }
}
