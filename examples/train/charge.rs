//! Whose errors they are that an objective counts while a release soaks.

use std::collections::{BTreeMap, VecDeque};

use unattended::health::{Counts, Slo};
use unattended::train::budget_left;

use crate::world::INTERVAL_MS;

/// An incident that is over is held against nobody: a release must have been good for so long at the end.
const ALONE_MS: u64 = 2 * 3_600_000;
/// What a control showed twenty minutes before counts half.
const FADES: f64 = 0.84;

/// What an objective charges a release with. Beside a control, that is what it did worse than the control, since it came:
/// what strikes both is somebody else's. Alone, it is all that went wrong of late, but for what already went wrong of the last
/// control: another team's change that made it worse is not undone by our arrival.
#[derive(Clone, Default)]
pub(crate) struct Charge {
    beside: u64,
    excess: f64,
    /// Bad and all requests of the control, by stratum, the older the less.
    control: BTreeMap<u32, (f64, f64)>,
    /// Of each interval of late: bad requests, those of them that the control would have had, and all.
    alone: VecDeque<(u64, f64, u64)>,
}

impl Charge {
    /// Another interval begins.
    pub(crate) fn begin(&mut self) {
        self.alone.push_back((0, 0.0, 0));
        while self.alone.len() as u64 * INTERVAL_MS > ALONE_MS {
            self.alone.pop_front();
        }
    }

    /// One row of the interval.
    pub(crate) fn add(&mut self, stratum: u32, canary: Counts, control: Counts) {
        let (bad, total) = self.control.entry(stratum).or_default();
        if control.total > 0 {
            *bad = *bad * FADES + real(control.bad);
            *total = *total * FADES + real(control.total);
            self.beside += canary.total;
            self.excess += real(canary.bad) - real(canary.total) * real(control.bad) / real(control.total);
        } else if let Some(alone) = self.alone.back_mut() {
            alone.0 += canary.bad;
            alone.1 += real(canary.total) * (*bad / total.max(1.0));
            alone.2 += canary.total;
        }
    }

    /// What is left of an objective's budget where `usual` of the requests fail whatever runs: the less of the two.
    pub(crate) fn left(&self, slo: &Slo, usual: f64) -> Option<f64> {
        let bad = real(self.beside) * usual + self.excess.max(0.0);
        let alone = |sum: (u64, f64, u64), one: &(u64, f64, u64)| (sum.0 + one.0, sum.1 + one.1, sum.2 + one.2);
        let (bad_alone, as_control, alone) = self.alone.iter().fold((0, 0.0, 0), alone);
        let known = (as_control - usual * real(alone)).max(0.0);
        let both = [
            budget_left(slo, whole(bad), self.beside),
            budget_left(slo, whole((real(bad_alone) - known).max(0.0)), alone),
        ];
        both.into_iter().flatten().reduce(f64::min)
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of a small fleet")]
pub(crate) const fn real(count: u64) -> f64 {
    count as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a count of a small fleet, not negative"
)]
const fn whole(count: f64) -> u64 {
    count.round() as u64
}

#[cfg(test)]
mod tests {
    use unattended::health::{Counts, Sli, Slo};

    use super::{ALONE_MS, Charge};
    use crate::world::INTERVAL_MS;

    const USUAL: f64 = 0.001;
    const ALONE: Counts = Counts { bad: 0, total: 0 };

    const fn counts(bad: u64, total: u64) -> Counts {
        Counts { bad, total }
    }

    /// An hour of the same rows.
    fn hour(charge: &mut Charge, canary: Counts, control: Counts) {
        for _ in 0..12 {
            charge.begin();
            charge.add(0, canary, control);
        }
    }

    fn left(charge: &Charge) -> f64 {
        let slo = Slo::new(
            "errors",
            Sli::Metric("errors".to_owned()),
            1.0 - 1.5 * USUAL,
            30 * 86_400_000,
        )
        .unwrap();
        charge.left(&slo, USUAL).unwrap()
    }

    #[test]
    fn what_strikes_the_control_too_is_not_charged_then_nor_later() {
        let mut charge = Charge::default();
        hour(&mut charge, counts(1, 1_000), counts(1, 1_000));
        // Another team's change makes the application ten times worse, on either side.
        hour(&mut charge, counts(10, 1_000), counts(10, 1_000));
        hour(&mut charge, counts(10, 1_000), counts(10, 1_000));
        hour(&mut charge, counts(10, 1_000), ALONE);
        hour(&mut charge, counts(10, 1_000), ALONE);
        assert!(left(&charge) > 0.2, "{}", left(&charge));
    }

    #[test]
    fn what_the_release_does_worse_is_charged_and_stays() {
        let mut charge = Charge::default();
        hour(&mut charge, counts(10, 1_000), counts(1, 1_000));
        assert!(left(&charge) < -4.0);
        for _ in 0..10 {
            hour(&mut charge, counts(1, 1_000), ALONE);
        }
        assert!(left(&charge) < -4.0, "time healed what the comparison had shown");
    }

    #[test]
    fn alone_everything_of_late_is_charged_until_it_is_over() {
        let mut charge = Charge::default();
        hour(&mut charge, counts(1, 1_000), counts(1, 1_000));
        hour(&mut charge, counts(10, 1_000), ALONE);
        assert!(left(&charge) < -4.0);
        let hours = ALONE_MS / (12 * INTERVAL_MS);
        for _ in 1..hours {
            hour(&mut charge, counts(1, 1_000), ALONE);
            assert!(left(&charge) < 0.0);
        }
        hour(&mut charge, counts(1, 1_000), ALONE);
        assert!(left(&charge) > 0.2, "{}", left(&charge));
    }
}
