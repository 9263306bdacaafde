//! Whether those who do not run the release do worse the more others do. What all share (a dependency, a cache, a queue)
//! then suffers from it, and a comparison of the two versions is blind to that, since both do worse alike.
//!
//! Adoption grows in levels that about double. At each, the errors of the control cohort are compared with their history,
//! stratum by stratum; the level's value is a low quantile over these, so that an incident of one zone, or another team's
//! change of some applications, does not move it. Where the values rise over three levels as adoption does, the change
//! holds and asks: that is no evidence that authorises a stop, but it is none of health either.

use unattended_health::{Counts, History};

use super::classes::ERRORS;

/// Levels begin at powers of two of this part of the fleet: half-way, in proportion, between the sizes at which a change that
/// doubles from one in a thousand rests. A few that die or come late are not another level.
const LEVELS: u64 = 5_793;
/// The quantile over strata, weighted by their traffic.
const QUANTILE: f64 = 0.3;
/// Strata of which fewer events are expected say nothing.
const LEAST_EVENTS: f64 = 3.0;
/// A level of which all strata expect fewer together says nothing.
const LEAST_EVENTS_OF_ALL: f64 = 100.0;
/// Nor one of fewer strata.
const LEAST_STRATA: usize = 4;
/// By so much those who do not run it must do worse to be asked about.
const WORSE: f64 = 0.5;
/// The first of three levels must be away from nothing by this much, or its part in the rise is chance.
const BEGINS: f64 = 0.05;
/// How much faster or slower than adoption the harm may rise from level to level, as a factor.
const IN_STEP: std::ops::RangeInclusive<f64> = 0.78..=1.6;

/// What was seen at one level of adoption.
#[derive(Clone, Copy, Debug)]
struct Level {
    /// The mean share of the fleet that ran the release.
    adoption: f64,
    /// Errors of the others, as a multiple of their history.
    ratio: f64,
}

/// The control cohort's errors by adoption.
#[derive(Clone, Debug)]
pub(super) struct Surroundings {
    /// By stratum, errors per request in the past.
    rates: Vec<f64>,
    /// By stratum, at the present level.
    counts: Vec<Counts>,
    /// The present level's number: adoption has doubled so often.
    number: Option<u32>,
    adoption: f64,
    intervals: u32,
    past: Vec<Level>,
}

impl Surroundings {
    pub(super) fn new(strata: usize, history: &[History]) -> Self {
        let mut rates = vec![0.0; strata];
        for row in history.iter().filter(|row| row.metric == ERRORS) {
            if let (Some(slot), Some(rate)) = (rates.get_mut(row.stratum as usize), row.counts.rate()) {
                *slot = rate;
            }
        }
        Self {
            counts: vec![Counts::default(); rates.len()],
            rates,
            number: None,
            adoption: 0.0,
            intervals: 0,
            past: Vec::new(),
        }
    }

    /// An interval begins in which so many targets of all run the release.
    pub(super) fn at(&mut self, exposed: u64, all: u64) {
        let Some(number) = (exposed * LEVELS).checked_div(all).and_then(u64::checked_ilog2) else {
            return;
        };
        if self.number.is_none_or(|now| number > now) {
            self.past.extend(self.level());
            self.counts.fill(Counts::default());
            (self.number, self.adoption, self.intervals) = (Some(number), 0.0, 0);
        }
        #[expect(clippy::cast_precision_loss, reason = "a share of a fleet")]
        let share = exposed as f64 / all as f64;
        self.adoption += share;
        self.intervals += 1;
    }

    /// What the control cohort of a stratum had in it.
    pub(super) fn add(&mut self, stratum: u32, control: Counts) {
        if let (Some(counts), Some(_)) = (self.counts.get_mut(stratum as usize), self.number) {
            counts.bad = counts.bad.saturating_add(control.bad);
            counts.total = counts.total.saturating_add(control.total);
        }
    }

    /// By what factor the others do worse than where adoption was least, if they do so in step with it.
    pub(super) fn worse(&self) -> Option<f64> {
        let levels: Vec<Level> = self.past.iter().copied().chain(self.level()).collect();
        let least = levels.iter().map(|level| level.ratio).reduce(f64::min)?;
        let &[.., first, second, third] = levels.as_slice() else {
            return None;
        };
        let more = |level: Level| level.ratio / least - 1.0;
        let in_step =
            |from: Level, to: Level| IN_STEP.contains(&(more(to) / more(from) / (to.adoption / from.adoption)));
        let rises = more(first) >= BEGINS && in_step(first, second) && in_step(second, third);
        (rises && more(third) >= WORSE).then(|| 1.0 + more(third))
    }

    /// The present level, where it says anything.
    fn level(&self) -> Option<Level> {
        let seen = self
            .rates
            .iter()
            .zip(&self.counts)
            .filter(|(_, counts)| counts.total > 0);
        let mut ratios: Vec<(f64, f64)> = seen
            .filter_map(|(rate, counts)| {
                #[expect(clippy::cast_precision_loss, reason = "counts of a level are far below 2^53")]
                let (bad, total) = (counts.bad as f64, counts.total as f64);
                let expected = rate * total;
                (expected >= LEAST_EVENTS).then(|| (bad / expected, expected))
            })
            .collect();
        let all: f64 = ratios.iter().map(|(_, expected)| expected).sum();
        if ratios.len() < LEAST_STRATA || all < LEAST_EVENTS_OF_ALL {
            return None;
        }
        ratios.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
        let mut upto = 0.0;
        let found = ratios.iter().find(|(_, expected)| {
            upto += expected;
            upto >= QUANTILE * all
        });
        found.filter(|(ratio, _)| *ratio > 0.0).map(|&(ratio, _)| Level {
            adoption: self.adoption / f64::from(self.intervals.max(1)),
            ratio,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRATA: u32 = 40;

    fn history() -> Vec<History> {
        let row = |stratum| History {
            stratum,
            metric: ERRORS,
            counts: Counts::new(1_000, 1_000_000),
            samples: Vec::new(),
            signatures: Vec::new(),
        };
        (0..STRATA).map(row).collect()
    }

    /// Goes through these levels of adoption (of 4,096 targets); `factor` says how bad a stratum is at a level. Answers at which it
    /// asks, and by how much worse it says that it is.
    fn through(levels: &[u64], factor: impl Fn(usize, u32) -> f64) -> Option<(u64, f64)> {
        let mut watched = Surroundings::new(STRATA as usize, &history());
        for (at, &exposed) in levels.iter().enumerate() {
            for _ in 0..10 {
                watched.at(exposed, 4_096);
                for stratum in 0..STRATA {
                    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small count")]
                    let bad = (20.0 * factor(at, stratum)).round() as u64;
                    watched.add(stratum, Counts::new(bad, 20_000));
                }
            }
            if let Some(factor) = watched.worse() {
                return Some((exposed, factor));
            }
        }
        None
    }

    const DOUBLING: [u64; 9] = [4, 8, 16, 32, 64, 128, 256, 512, 1_024];

    #[test]
    fn harm_that_grows_with_adoption_is_found_when_it_is_large_enough_to_ask_about() {
        let shared = |n: f64| move |at: usize, _: u32| 1.0 + (n - 1.0) * (DOUBLING[at] as f64 / 4_096.0);
        // Fifty times at the end: 1.38 at 32 of 4,096, 1.77 at 64.
        let (exposed, found) = through(&DOUBLING, shared(50.0)).unwrap();
        assert!(exposed == 64 && (1.6..1.8).contains(&found), "{exposed} {found}");
        // Five times: 1.25 at 256, 1.5 at 512, where the least was 1.004.
        let (exposed, _) = through(&DOUBLING, shared(5.0)).unwrap();
        assert!((512..=1_024).contains(&exposed), "{exposed}");
        // Some have died, or are late: the levels stay apart.
        let short: [u64; 9] = [4, 8, 16, 31, 62, 124, 248, 497, 993];
        let shared = |at: usize, _: u32| 1.0 + 49.0 * (short[at] as f64 / 4_096.0);
        assert_eq!(through(&short, shared).map(|(exposed, _)| exposed), Some(62));
    }

    #[test]
    fn what_has_nothing_to_do_with_adoption_is_not_asked_about() {
        assert_eq!(through(&DOUBLING, |_, _| 1.0), None);
        // An incident in one zone of three, at each level worse.
        assert_eq!(
            through(&DOUBLING, |at, stratum| if stratum % 3 == 0 {
                2.0 * (at + 1) as f64
            } else {
                1.0
            }),
            None
        );
        // Another change, which stays, in all strata at once: at the beginning of a level, and in its middle.
        assert_eq!(through(&DOUBLING, |at, _| if at >= 5 { 8.0 } else { 1.0 }), None);
        let jump = |at: usize, _: u32| match at {
            0..=4 => 1.0,
            5 => 4.0,
            _ => 8.0,
        };
        assert_eq!(through(&DOUBLING, jump), None);
        // The evening: worse by and by, however much of the fleet runs it.
        assert_eq!(through(&DOUBLING, |at, _| 1.0 + 0.15 * at as f64), None);
    }

    #[test]
    fn too_little_says_nothing() {
        let mut watched = Surroundings::new(3, &history()[..3]);
        for exposed in DOUBLING {
            watched.at(exposed, 4_096);
            (0..3).for_each(|stratum| watched.add(stratum, Counts::new(exposed * 40, 20_000)));
        }
        assert_eq!(watched.worse(), None);
        watched.at(0, 0);
        assert_eq!(Surroundings::new(0, &[]).worse(), None);
    }
}
