//! The exact mean time to alarm of the score: a walk on the integers with a floor.
//!
//! The score starts at 0, rises by `up` with probability `p`, falls by `down` otherwise, never below 0, and stops at
//! the threshold `h` or above. Wanted is the mean number of steps until it stops.
//!
//! The textbook way (Brook and Evans 1972; for Bernoulli data Reynolds and Stoumbos 1999) writes one linear equation
//! per score and solves the system anew for each `h`. Two observations make it one pass:
//!
//! 1. Number the scores by their distance `d` to the threshold and forget the floor. What happens from distance `d`
//!    until the walk either stops or is further away than `d` involves smaller distances only, so these rows can be
//!    computed for d = 1, 2, 3 ... and do not depend on `h`.
//! 2. The floor lies at distance `h`. There, being further away means being back at the floor. So the walk consists
//!    of equal rounds from the floor to the floor, and the mean is (mean length of a round) / (chance that a round
//!    ends in the alarm).
//!
//! Every term added is non-negative and nothing is subtracted, so the relative error stays near the machine epsilon
//! even where a round ends in the alarm once in 1e15 (the idea of Grassmann, Taksar and Heyman 1985).

/// Largest threshold tried: bounds the memory of [`Walk::mean_until_alarm`] (24 bytes per score at `down` = 1).
pub(crate) const MAX_THRESHOLD: u32 = 1 << 18;

/// Largest number of multiply-adds spent on one table, about half a second.
const MAX_WORK: u64 = 1 << 27;

/// The steps of the score and the probability of the one that goes up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Walk {
    pub(crate) up: u32,
    pub(crate) down: u32,
    pub(crate) failure_rate: f64,
}

/// What happens from one distance until the walk has stopped or is further away.
struct Row {
    /// Probability that it stops.
    alarm: f64,
    /// Mean number of steps.
    steps: f64,
}

impl Walk {
    /// The first threshold for which `enough(threshold, mean steps to alarm)` holds, with that mean.
    ///
    /// `None` if none does up to [`MAX_THRESHOLD`], or if the table grows beyond [`MAX_WORK`].
    pub(crate) fn mean_until_alarm(self, enough: impl Fn(u32, f64) -> bool) -> Option<(u32, f64)> {
        let up = usize::try_from(self.up).ok()?;
        let down = usize::try_from(self.down).ok()?;
        // With a failure step above every threshold a single failure would be the alarm: no test.
        if self.up > MAX_THRESHOLD {
            return None;
        }
        let work_per_row = u64::from(self.up) * u64::from(self.down);
        let p = self.failure_rate;
        let q = 1.0 - p;
        let mut rows: Vec<Row> = Vec::new();
        // further[(d - 1) * down + k - 1]: probability that the first distance beyond d is d + k.
        let mut further: Vec<f64> = Vec::new();
        // After a failure at distance d the walk is at d - up; mass[j] is the probability that it passes d - up + j.
        let mut mass = vec![0.0_f64; up + down];

        for threshold in 1..=MAX_THRESHOLD {
            // The first `up` rows cost nothing: there a failure is the alarm.
            if u64::from(threshold.saturating_sub(self.up)) * work_per_row > MAX_WORK {
                return None;
            }
            let distance = rows.len() + 1;
            let (mut alarm, mut steps) = (0.0, 0.0);
            if distance <= up {
                alarm = 1.0;
            } else {
                mass.fill(0.0);
                mass[0] = 1.0;
                for j in 0..up {
                    let weight = mass[j];
                    let row = distance - up + j - 1;
                    alarm += weight * rows[row].alarm;
                    steps += weight * rows[row].steps;
                    for (to, chance) in mass[j + 1..].iter_mut().zip(&further[row * down..(row + 1) * down]) {
                        *to += weight * chance;
                    }
                }
            }

            // Floor at this distance: one step, and after a failure the way back down to it.
            let mean = (1.0 + p * steps) / (p * alarm);
            if enough(threshold, mean) {
                return Some((threshold, mean));
            }

            // No floor at this distance: landing exactly here again (mass[up]) repeats, so divide by the probability
            // of not repeating, written as the sum of what else may happen and not as 1 - p * mass[up].
            let beyond: f64 = mass[up + 1..].iter().sum();
            let not_again = q + p * (alarm + beyond);
            rows.push(Row {
                alarm: p * alarm / not_again,
                steps: (1.0 + p * steps) / not_again,
            });
            further.extend(mass[up + 1..].iter().map(|landing| p * landing / not_again));
            further.push(q / not_again);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::Walk;

    /// The textbook way: one equation per score, Gaussian elimination with pivoting.
    fn dense(walk: Walk, threshold: usize) -> f64 {
        let (up, down, p) = (walk.up as usize, walk.down as usize, walk.failure_rate);
        let mut a = vec![vec![0.0_f64; threshold + 1]; threshold];
        for (i, row) in a.iter_mut().enumerate() {
            row[i] += 1.0;
            row[threshold] = 1.0;
            if i + up < threshold {
                row[i + up] -= p;
            }
            row[i.saturating_sub(down)] -= 1.0 - p;
        }
        for c in 0..threshold {
            let pivot = (c..threshold)
                .max_by(|&x, &y| a[x][c].abs().total_cmp(&a[y][c].abs()))
                .unwrap();
            a.swap(c, pivot);
            for r in 0..threshold {
                if r != c {
                    let factor = a[r][c] / a[c][c];
                    let pivot_row = a[c].clone();
                    a[r].iter_mut()
                        .zip(&pivot_row)
                        .skip(c)
                        .for_each(|(x, y)| *x -= factor * y);
                }
            }
        }
        a[0][threshold] / a[0][0]
    }

    #[test]
    fn agrees_with_the_dense_system() {
        let mut compared = 0;
        for (up, down) in [(1, 1), (3, 1), (14, 1), (7, 2), (5, 4), (2, 3), (1, 4), (17, 3)] {
            for failure_rate in [0.05, 0.2, 0.5, 0.9, 1.0] {
                for threshold in [1, 2, 5, 17, 40] {
                    let walk = Walk { up, down, failure_rate };
                    let want = dense(walk, threshold as usize);
                    let (_, mean) = walk.mean_until_alarm(|h, _| h == threshold).unwrap();
                    // The dense system subtracts: beyond 1e9 it has lost too many digits to be a judge.
                    if mean < 1e9 || (0.0..1e9).contains(&want) {
                        compared += 1;
                        assert!(
                            (mean / want - 1.0).abs() < 1e-6,
                            "{walk:?} h={threshold}: {mean} for {want}"
                        );
                    }
                }
            }
        }
        assert!(compared > 170, "{compared}");
    }

    #[test]
    fn closed_forms() {
        // One failure is enough: geometric. Three straight failures of p, where any success goes back to the floor:
        // 1/p + 1/p^2 + 1/p^3.
        let one = Walk {
            up: 9,
            down: 1,
            failure_rate: 0.01,
        }
        .mean_until_alarm(|h, _| h == 9)
        .unwrap()
        .1;
        assert!((one - 100.0).abs() < 1e-9, "{one}");
        let p = 0.001_f64;
        let three = Walk {
            up: 1,
            down: 3,
            failure_rate: p,
        }
        .mean_until_alarm(|h, _| h == 3)
        .unwrap()
        .1;
        let want = 1.0 / p + 1.0 / (p * p) + 1.0 / (p * p * p);
        assert!((three / want - 1.0).abs() < 1e-12, "{three} for {want}");
        // Eight of them: 1e24 requests, and still every digit. A method that subtracts has none left here.
        let eight = Walk {
            up: 1,
            down: 8,
            failure_rate: p,
        }
        .mean_until_alarm(|h, _| h == 8)
        .unwrap()
        .1;
        let want: f64 = (1..=8).map(|k| p.powi(-k)).sum();
        assert!((eight / want - 1.0).abs() < 1e-12, "{eight} for {want}");
        // The fair walk with a floor: h (h + 1).
        let fair = Walk {
            up: 1,
            down: 1,
            failure_rate: 0.5,
        }
        .mean_until_alarm(|h, _| h == 30)
        .unwrap()
        .1;
        assert!((fair - 930.0).abs() < 1e-9, "{fair}");
    }

    #[test]
    fn gives_up_instead_of_growing_without_bound() {
        assert!(
            Walk {
                up: 1 << 14,
                down: 1,
                failure_rate: 1e-6
            }
            .mean_until_alarm(|_, _| false)
            .is_none()
        );
    }
}
