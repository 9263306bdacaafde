//! Exact intervals for a proportion (Clopper and Pearson 1934).

/// The two-sided 95 % interval for `k` of `n`.
pub(crate) fn interval(k: u32, n: u32) -> (f64, f64) {
    let (none, all) = (k == 0, k == n);
    let (k, n) = (f64::from(k), f64::from(n));
    let low = if none {
        0.0
    } else {
        solve(|p| 1.0 - at_most(k - 1.0, n, p), 0.025)
    };
    let high = if all { 1.0 } else { solve(|p| -at_most(k, n, p), -0.025) };
    (low, high)
}

/// Where a rising function of 0..1 reaches `target`.
fn solve(f: impl Fn(f64) -> f64, target: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if f(middle) < target {
            low = middle;
        } else {
            high = middle;
        }
    }
    f64::midpoint(low, high)
}

/// P(X ≤ k) of the binomial distribution, term by term from the largest down, in logarithms.
fn at_most(k: f64, n: f64, p: f64) -> f64 {
    if p <= 0.0 {
        return 1.0;
    }
    if p >= 1.0 {
        return 0.0;
    }
    // Below the mode the terms fall towards 0; above it, the other tail is the shorter sum.
    if k > n * p {
        return 1.0 - at_most(n - k - 1.0, n, 1.0 - p);
    }
    let ln =
        libm::lgamma(n + 1.0) - libm::lgamma(k + 1.0) - libm::lgamma(n - k + 1.0) + k * p.ln() + (n - k) * (-p).ln_1p();
    let (mut term, mut sum, mut at) = (1.0, 0.0, k);
    while at >= 0.0 && term > 1e-17 * sum {
        sum += term;
        term *= at / (n - at + 1.0) * (1.0 - p) / p;
        at -= 1.0;
    }
    (ln.exp() * sum).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::interval;

    #[test]
    fn published_intervals() {
        // The definition, summed term by term in another language; the first three are in every table.
        for (k, n, low, high) in [
            (0, 10, 0.0, 0.308_497_1),
            (5, 10, 0.187_086_0, 0.812_914_0),
            (10, 10, 0.691_502_9, 1.0),
            (1, 100, 0.000_253_146, 0.054_459_4),
            (700, 1_000, 0.670_538_3, 0.728_278_9),
        ] {
            let (found_low, found_high) = interval(k, n);
            assert!(
                (found_low - low).abs() < 2e-6 && (found_high - high).abs() < 2e-6,
                "{k} of {n}: {found_low} {found_high}"
            );
        }
    }
}
