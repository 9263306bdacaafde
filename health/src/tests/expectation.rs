//! E-values have expectation at most 1: enumerated over small tables.

use super::{double_safety, relative_safety, row_evidence};
use crate::Counts;
use crate::evidence::{EXACT_ABOVE, GRID, GridVector, growth_bound, ln_mixture, ln_normalizer_growth};
use crate::process::{Process, Steps};
use crate::row::to_f64;

/// Probability of k of n at rate p, by recurrence.
pub(crate) fn binomial(n: u64, p: f64) -> Vec<f64> {
    let mut mass = vec![libm::pow(1.0 - p, to_f64(n))];
    for k in 0..n {
        let next = mass.last().unwrap() * (to_f64(n - k) / to_f64(k + 1)) * (p / (1.0 - p));
        mass.push(next);
    }
    mass
}

/// Expectation of exp(ln_e) over all tables of two independent arms.
fn expectation(n_c: u64, p_c: f64, n_b: u64, p_b: f64, ln_e: impl Fn(Counts, Counts) -> f64) -> f64 {
    let (canary, control) = (binomial(n_c, p_c), binomial(n_b, p_b));
    let mut sum = 0.0;
    for (x_c, mass_c) in (0..).zip(&canary) {
        for (x_b, mass_b) in (0..).zip(&control) {
            let mass = mass_c * mass_b;
            if mass > 1e-18 {
                sum += mass * libm::exp(ln_e(Counts::new(x_c, n_c), Counts::new(x_b, n_b)));
            }
        }
    }
    sum
}

const TABLES: [(u64, u64); 5] = [(5, 5), (3, 40), (40, 3), (20, 60), (1, 30)];
const RATES: [f64; 6] = [1e-4, 0.003, 0.02, 0.1, 0.3, 0.6];

#[test]
fn every_ratio_has_expectation_at_most_one_when_the_canary_is_no_worse() {
    for (n_c, n_b) in TABLES {
        for p in RATES {
            for (r, ratio) in GRID.iter().enumerate() {
                for better in [1.0, 0.5] {
                    let e = expectation(n_c, p * better, n_b, p, |c, b| row_evidence(c, b, 1.0)[r]);
                    assert!(e <= 1.0 + 1e-9, "{e} for {n_c}, {n_b} at {p}, ratio {ratio}");
                }
            }
        }
    }
    // And it is evidence at all: under its own alternative the expectation is above 1.
    assert!(expectation(40, 0.2, 40, 0.1, |c, b| row_evidence(c, b, 1.0)[2]) > 1.5);
}

#[test]
fn fresh_instances_may_be_ten_times_worse() {
    for (n_c, n_b) in TABLES {
        for p in [1e-4, 0.003, 0.02, 0.09] {
            for (r, ratio) in GRID.iter().enumerate() {
                let e = expectation(n_c, p * 10.0, n_b, p, |c, b| row_evidence(c, b, 10.0)[r]);
                assert!(e <= 1.0 + 1e-9, "{e} for {n_c}, {n_b} at {p}, ratio {ratio}");
            }
        }
    }
    assert!(expectation(40, 0.9, 40, 0.01, |c, b| row_evidence(c, b, 10.0)[2]) > 1.1);
}

#[test]
fn relative_safety_has_expectation_at_most_one_from_the_bad_ratio_on() {
    for (n_c, n_b) in TABLES.into_iter().chain([(300, 700)]) {
        for p in [1e-4, 0.001, 0.002, 0.003, 0.02, 0.1, 0.3] {
            for worse in [1.5, 2.0, 3.0] {
                let e = expectation(n_c, p * worse, n_b, p, |c, b| relative_safety(c, b, 1.5));
                assert!(e <= 1.0 + 1e-9, "{e} for {n_c}, {n_b} at {p}, {worse} times worse");
                if worse >= 2.0 {
                    let e = expectation(n_c, p * worse, n_b, p, double_safety);
                    assert!(e <= 1.0 + 1e-9, "{e} for {n_c}, {n_b} at {p}, {worse} against 2");
                }
            }
        }
    }
    assert!(
        expectation(60, 0.1, 60, 0.1, |c, b| relative_safety(c, b, 1.5)) > 1.05,
        "and is evidence when healthy"
    );
}

#[test]
fn the_exact_form_has_expectation_one_given_the_number_of_bad_events() {
    // Under odds ratio 1.5 the split of e events is Fisher's noncentral hypergeometric distribution.
    let (n_c, n_b, e, bad_ratio) = (12_u64, 40_u64, 9_u64, 1.5);
    let choose = |n: u64, k: u64| (0..k).fold(1.0, |product, i| product * to_f64(n - i) / to_f64(i + 1));
    let mass = |k: u64| choose(n_c, k) * choose(n_b, e - k) * libm::pow(bad_ratio, to_f64(k));
    let all: f64 = (0..=e).map(mass).sum();
    let mean: f64 = (0..=e)
        .map(|k| mass(k) / all * libm::exp(relative_safety(Counts::new(k, n_c), Counts::new(e - k, n_b), bad_ratio)))
        .sum();
    assert!((mean - 1.0).abs() < 1e-12, "{mean}");
}

#[test]
fn long_hypergeometric_sums_are_bounded_from_below() {
    for (n_c, n_b, e) in [
        (1_000.0, 9_000.0, 100.0),
        (50_000.0, 950_000.0, 9_000.0),
        (1_000_000.0, 1_000_000.0, 20_000.0),
        (40.0, 40.0, 60.0),
    ] {
        let [summed, double] = ln_normalizer_growth(n_c, n_b, e, [1.5, 2.0]);
        let bound = growth_bound(n_c, n_b, e, 1.5);
        assert!(
            bound <= summed && summed - bound < 4.0 * libm::log(1.5),
            "{bound} for {summed}"
        );
        let bound = growth_bound(n_c, n_b, e, 2.0);
        assert!(
            bound <= double && double - bound < 4.0 * libm::log(2.0),
            "{bound} for {double}"
        );
    }
    // A hundred million events are bounded, not summed: the same shape a thousand times larger says the same.
    let growth = |scale: f64| ln_normalizer_growth(1e6 * scale, 9e6 * scale, 1e5 * scale, [1.5, 2.0])[0];
    let (summed, bounded) = (growth(1.0), growth(1_000.0) / 1_000.0);
    assert!((summed - bounded).abs() < 0.2, "{summed} and {bounded}");
    let huge = ln_normalizer_growth(9.2e18, 9.2e18, 9.2e18, [1.5, 2.0]);
    assert!(huge[1].is_finite() && huge[0] > 0.0 && huge[1] > huge[0]);
}

#[test]
fn restarts_in_six_numbers_equal_restarts_kept_one_by_one() {
    let evidence = |t: u64| row_evidence(Counts::new(t * 7 % 5, 1_000), Counts::new(t * 3 % 11, 9_000), 1.0);
    let mut process = Process::UNTOUCHED;
    let mut steps = Steps::default();
    let mut one_by_one: Vec<(f64, GridVector)> = Vec::new();
    for t in 0..200 {
        if t % 9 == 0 {
            steps.0 += 1;
            process.step(steps);
            let b = to_f64(steps.0);
            one_by_one.push((1.0 / (b * (b + 1.0)), [0.0; 6]));
        }
        let row = evidence(t);
        process.add(&row, steps);
        for (_, sums) in &mut one_by_one {
            for (sum, ln) in sums.iter_mut().zip(&row) {
                *sum += ln;
            }
        }
        process.settle(steps.waiting());
        let started: f64 = one_by_one.iter().map(|(weight, _)| weight).sum();
        let direct: f64 = one_by_one
            .iter()
            .map(|(weight, sums)| weight * libm::exp(ln_mixture(sums)))
            .sum();
        let expected = libm::log(direct + (1.0 - started));
        assert!(
            (process.ln_m() - expected).abs() < 1e-9,
            "{} is not {expected} at {t}",
            process.ln_m()
        );
    }
    assert!(steps.0 > 20, "far more than eight live restarts");
}

#[test]
fn a_restart_does_not_change_the_value_it_starts_from() {
    let mut steps = Steps(1);
    let mut process = Process::UNTOUCHED;
    process.add(
        &row_evidence(Counts::new(8, 5_000), Counts::new(12, 45_000), 1.0),
        steps,
    );
    process.settle(steps.waiting());
    let before = process.ln_m();
    steps.0 += 1;
    process.step(steps);
    process.settle(steps.waiting());
    assert!((process.ln_m() - before).abs() < 1e-12);
}

#[test]
fn rows_without_comparison_say_nothing() {
    for (canary, control) in [((0, 100), (0, 100)), ((5, 100), (0, 0)), ((0, 0), (5, 100))] {
        let (canary, control) = (Counts::new(canary.0, canary.1), Counts::new(control.0, control.1));
        assert!(row_evidence(canary, control, 1.0).iter().all(|ln| *ln == 0.0));
        assert!(relative_safety(canary, control, 1.5).abs() < f64::MIN_POSITIVE);
    }
}

#[test]
fn the_exact_form_takes_over_smoothly() {
    // Around the limit both forms say nearly the same of one table.
    let control = Counts::new(16, 9_000);
    let exact = relative_safety(Counts::new(5, 1_000), control, 1.5);
    let events = 21.0;
    assert!(events / 10_000.0 > EXACT_ABOVE);
    let form = events * libm::log1p(0.1 * 0.5) - 5.0 * libm::log(1.5);
    assert!(
        (exact - form).abs() < 0.002 && (exact - form).abs() > 1e-9,
        "{exact} beside {form}"
    );
}
