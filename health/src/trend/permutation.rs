//! How surprising it is that canary hosts rank so high, if hosts were assigned at random.

use crate::evidence::ln_sum_exp;
use crate::row::to_f64;

/// How strongly high ranks are rewarded. The larger, the more a few hosts at the very top count; the mean of all is taken.
pub(super) const TILTS: [f64; 4] = [1.0, 2.0, 4.0, 8.0];

/// Ranks of values among each other, scaled to −1..=1; equal values share their mean rank.
fn scores(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut scores = vec![0.0; values.len()];
    let top = to_f64(values.len() as u64 - 1).max(1.0);
    let mut from = 0;
    while from < order.len() {
        let same = order[from..]
            .iter()
            .take_while(|next| values[**next].total_cmp(&values[order[from]]).is_eq())
            .count();
        let mean = to_f64((2 * from + same - 1) as u64) / 2.0;
        for place in &order[from..from + same] {
            scores[*place] = 2.0 * mean / top - 1.0;
        }
        from += same;
    }
    scores
}

/// ln e-values of one group, one for each of [`TILTS`]: `exp(t·Σ score of canary hosts)` divided by its mean over all ways to
/// choose as many hosts. Under random assignment the expectation is 1, exactly, whatever the values are.
///
/// The mean is an elementary symmetric polynomial over a binomial coefficient, g_i(j) = ((i−j)·g_{i−1}(j) + j·x_i·g_{i−1}(j−1))/i
/// with x_i = exp(t·score_i), kept as logarithms.
pub(super) fn ln_e(canary: &[f64], control: &[f64]) -> [f64; TILTS.len()] {
    if canary.is_empty() || control.is_empty() {
        return [0.0; TILTS.len()];
    }
    let all: Vec<f64> = canary.iter().chain(control).copied().collect();
    let scores = scores(&all);
    let chosen = canary.len();
    TILTS.map(|tilt| {
        let mut ln_mean = vec![f64::NEG_INFINITY; chosen + 1];
        ln_mean[0] = 0.0;
        for (place, score) in scores.iter().enumerate() {
            let seen = place + 1;
            for j in (1..=chosen.min(seen)).rev() {
                let with = libm::log(to_f64(j as u64) / to_f64(seen as u64)) + tilt * score + ln_mean[j - 1];
                ln_mean[j] = if seen == j {
                    with
                } else {
                    let without = libm::log(to_f64((seen - j) as u64) / to_f64(seen as u64)) + ln_mean[j];
                    ln_sum_exp(&[with, without])
                };
            }
        }
        tilt * scores[..chosen].iter().sum::<f64>() - ln_mean[chosen]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All ways to choose `k` of `0..n`.
    fn choices(n: usize, k: usize) -> Vec<Vec<usize>> {
        (0..1_u32 << n)
            .filter(|set| set.count_ones() as usize == k)
            .map(|set| (0..n).filter(|i| set >> i & 1 == 1).collect())
            .collect()
    }

    #[test]
    fn the_expectation_over_all_assignments_is_one() {
        for values in [
            vec![0.1, -3.0, 7.0, 2.0, 5.5, 1e9, -1e-9, 0.0],
            vec![1.0, 1.0, 1.0, 2.0, 2.0, 9.0, 9.0, 0.0],
            vec![0.0; 7],
        ] {
            for k in 1..values.len() {
                let choices = choices(values.len(), k);
                for tilt in 0..TILTS.len() {
                    let mean = choices
                        .iter()
                        .map(|chosen| {
                            let pick = |wanted: bool| -> Vec<f64> {
                                (0..values.len())
                                    .filter(|i| chosen.contains(i) == wanted)
                                    .map(|i| values[i])
                                    .collect()
                            };
                            ln_e(&pick(true), &pick(false))[tilt].exp()
                        })
                        .sum::<f64>()
                        / choices.len() as f64;
                    assert!((mean - 1.0).abs() < 1e-9, "{values:?}, {k}, tilt {tilt}: {mean}");
                }
            }
        }
    }

    #[test]
    fn higher_ranks_are_more_evidence_and_no_more_than_the_number_of_choices() {
        let control: Vec<f64> = (0..40).map(f64::from).collect();
        let of = |canary: &[f64]| ln_e(canary, &control);
        let (low, middle, high) = (of(&[-5.0; 5]), of(&[20.5; 5]), of(&[99.0; 5]));
        for tilt in 0..TILTS.len() {
            assert!(low[tilt] < middle[tilt] && middle[tilt] < high[tilt]);
        }
        // ln C(45, 5) = 14.016
        assert!(high[3] > 10.0 && high[3] < 14.017, "{high:?}");
        assert!(
            ln_e(&[], &control)
                .iter()
                .chain(&ln_e(&control, &[]))
                .all(|ln| ln.abs() < 1e-15)
        );
        let many: Vec<f64> = (0..256).map(f64::from).collect();
        let shifted: Vec<f64> = many.iter().map(|value| value + 256.0).collect();
        assert!(ln_e(&shifted, &many).iter().all(|ln| ln.is_finite() && *ln > 50.0));
    }
}
