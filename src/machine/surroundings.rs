//! Whether those who do not run the release do worse the more others do. What all share (a dependency, a cache, a queue)
//! then suffers from it, and a comparison of the two versions is blind to that, since both do worse alike.
//!
//! Adoption grows in levels that about double. At each, the errors of the control cohort are compared with their history,
//! stratum by stratum; the level's value is the median over these. Where the values of all levels lie on one line that rises with
//! adoption, and nearly all strata rise alike, the change holds and asks: that is no evidence that authorises a stop, but it is
//! none of health either. What begins at a moment, as an incident or another team's change does, leaves the line at some level, and
//! is seldom alike for all.

use unattended_health::{Counts, History};

use super::classes::ERRORS;

/// Levels begin at powers of two of this part of the fleet: half-way, in proportion, between the sizes at which a change that
/// doubles from one in a thousand rests. A few that die or come late are not another level.
const LEVELS: u64 = 5_793;
/// Quantiles over strata, weighted by their traffic: nearly the best, the middle, nearly the worst.
const QUANTILES: [f64; 3] = [0.15, 0.5, 0.85];
/// How much nearly the best and nearly the worst strata may have risen, as a multiple of the middle.
const ALIKE: std::ops::RangeInclusive<f64> = 0.4..=3.0;
/// Strata of which fewer events are expected say nothing.
const LEAST_EVENTS: f64 = 3.0;
/// A level of which all strata expect fewer together says nothing.
const LEAST_EVENTS_OF_ALL: f64 = 100.0;
/// Nor one of fewer strata.
const LEAST_STRATA: usize = 4;
/// By so much those who do not run it must do worse to be asked about.
const WORSE: f64 = 0.12;
/// And by this much where one level is a single interval, which is over three times as much as such a level varies by itself;
/// less by the root of its intervals.
const SURE: f64 = 0.9;
/// Levels at which adoption was so many times less say how it was before.
const LONG_BEFORE: f64 = 4.0;
/// There must be a level after these at which it was so many times less: two points are always on a line.
const BETWEEN: f64 = 1.5;
/// What of the rise is to be seen there, as a multiple of what the line has.
const HALF_WAY: std::ops::RangeInclusive<f64> = 0.5..=1.45;
/// How far from the line a level may be: this share of the rise,
const OFF_BY_SHARE: f64 = 0.2;
/// and this much of what was before, which is chance and the weather.
const OFF_BY: f64 = 0.05;
/// Where the line has risen by `RISEN`, at least this share of that is to be seen: what came in two leaps is no line.
const FOLLOWS: f64 = 0.35;
const RISEN: f64 = 0.2;

/// A level is cut into no more parts than this, and each part is judged by itself: of an incident of an hour in a day the median
/// over them knows nothing. How often such happen is in the history, and a short level mostly has none.
const PARTS: usize = 8;
/// Of fewer that say anything no median is taken.
const LEAST_PARTS: usize = 3;

/// What was seen at one level of adoption, or at several.
#[derive(Clone, Copy, Debug)]
struct Level {
    /// The mean share of the fleet that ran the release.
    adoption: f64,
    /// Errors of the others, as multiples of their history: the quantiles.
    ratios: [f64; 3],
    /// For so many intervals.
    intervals: u32,
}

impl Level {
    /// Several as one: means over their intervals; `None` of nothing.
    fn mean(levels: &[Self]) -> Option<Self> {
        let intervals: u32 = levels.iter().map(|level| level.intervals).sum();
        let mean = |of: &dyn Fn(&Self) -> f64| {
            let sum: f64 = levels.iter().map(|level| of(level) * f64::from(level.intervals)).sum();
            sum / f64::from(intervals)
        };
        (intervals > 0).then(|| Self {
            adoption: mean(&|level| level.adoption),
            ratios: std::array::from_fn(|at| mean(&|level| level.ratios[at])),
            intervals,
        })
    }

    /// By how much each quantile is higher than before, as a multiple of what the middle was: of few events the best stratum has hardly any,
    /// and a multiple of that says nothing.
    fn more_than(&self, before: &Self, by_middle: bool) -> [f64; 3] {
        let measure = |at: usize| before.ratios[if by_middle { 1 } else { at }];
        std::array::from_fn(|at| (self.ratios[at] - before.ratios[at]) / measure(at))
    }
}

/// What the control cohort had in some intervals in a row of a level.
#[derive(Clone, Debug)]
struct Part {
    /// By stratum.
    counts: Vec<Counts>,
    /// Summed over the intervals.
    adoption: f64,
    intervals: u32,
    /// As if it were a level, where it says anything; known once it has all its intervals.
    seen: Option<Level>,
}

impl Part {
    fn add(&mut self, other: &Self) {
        for (counts, more) in self.counts.iter_mut().zip(&other.counts) {
            add(counts, *more);
        }
        self.adoption += other.adoption;
        self.intervals += other.intervals;
    }

    fn level(&self, rates: &[f64]) -> Option<Level> {
        let seen = rates.iter().zip(&self.counts).filter(|(_, counts)| counts.total > 0);
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
        let quantile = |share: f64| {
            let mut upto = 0.0;
            let found = ratios.iter().find(|(_, expected)| {
                upto += expected;
                upto >= share * all
            });
            found.map_or(0.0, |(ratio, _)| *ratio)
        };
        let ratios = QUANTILES.map(quantile);
        ratios.iter().all(|ratio| *ratio > 0.0).then(|| Level {
            adoption: self.adoption / f64::from(self.intervals.max(1)),
            ratios,
            intervals: self.intervals,
        })
    }
}

fn add(counts: &mut Counts, more: Counts) {
    counts.bad = counts.bad.saturating_add(more.bad);
    counts.total = counts.total.saturating_add(more.total);
}

/// The control cohort's errors by adoption.
#[derive(Clone, Debug)]
pub(super) struct Surroundings {
    /// By stratum, errors per request in the past.
    rates: Vec<f64>,
    /// The present level's number: adoption has doubled so often.
    number: Option<u32>,
    /// The present level in the order of time; each but the last has `intervals` of them.
    parts: Vec<Part>,
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
            rates,
            number: None,
            parts: Vec::new(),
            intervals: 1,
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
            self.parts.clear();
            (self.number, self.intervals) = (Some(number), 1);
        }
        if self.parts.last().is_none_or(|part| part.intervals == self.intervals) {
            self.begin_part();
        }
        if let Some(part) = self.parts.last_mut() {
            #[expect(clippy::cast_precision_loss, reason = "a share of a fleet")]
            let share = exposed as f64 / all as f64;
            part.adoption += share;
            part.intervals += 1;
        }
    }

    /// Where there is no room for another, two neighbours each become one: a level of whatever length has as many.
    fn begin_part(&mut self) {
        if let Some(part) = self.parts.last_mut() {
            part.seen = part.level(&self.rates);
        }
        if self.parts.len() == PARTS {
            let mut joined: Vec<Part> = Vec::with_capacity(PARTS);
            for (at, part) in std::mem::take(&mut self.parts).into_iter().enumerate() {
                match joined.last_mut() {
                    Some(first) if at % 2 == 1 => {
                        first.add(&part);
                        first.seen = first.level(&self.rates);
                    }
                    _ => joined.push(part),
                }
            }
            self.parts = joined;
            self.intervals *= 2;
        }
        self.parts.push(Part {
            counts: vec![Counts::default(); self.rates.len()],
            adoption: 0.0,
            intervals: 0,
            seen: None,
        });
    }

    /// What the control cohort of a stratum had in it.
    pub(super) fn add(&mut self, stratum: u32, control: Counts) {
        let part = self.parts.last_mut();
        if let Some(counts) = part.and_then(|part| part.counts.get_mut(stratum as usize)) {
            add(counts, control);
        }
    }

    /// By what factor the others do worse than long before, if they do so alike and in step with adoption. The first version of the
    /// decisions measured each quantile by itself, not by the middle.
    pub(super) fn worse(&self, by_middle: bool) -> Option<f64> {
        let last = self.level()?;
        let upto = |times: f64| {
            self.past
                .partition_point(|level| level.adoption * times <= last.adoption)
        };
        let before = Level::mean(self.past.get(..upto(LONG_BEFORE))?)?;
        let between = self.past.get(upto(LONG_BEFORE)..upto(BETWEEN))?.last()?;
        let [best, rise, worst] = last.more_than(&before, by_middle);
        let middle = |level: &Level| level.more_than(&before, by_middle)[1];
        let line = |level: &Level| rise * (level.adoption - before.adoption) / (last.adoption - before.adoption);
        let in_step = HALF_WAY.contains(&(middle(between) / line(between)))
            && self.past.iter().all(|level| {
                let (middle, line) = (middle(level), line(level));
                (middle - line).abs() <= OFF_BY_SHARE * rise + OFF_BY && (line < RISEN || middle >= FOLLOWS * line)
            });
        let alike = ALIKE.contains(&(best / rise)) && ALIKE.contains(&(worst / rise));
        let sure = SURE * (1.0 / f64::from(last.intervals) + 1.0 / f64::from(before.intervals)).sqrt();
        (rise >= WORSE.max(sure) && in_step && alike).then_some(1.0 + rise)
    }

    /// The present level: the medians over its parts, where these say anything; else all of it.
    fn level(&self) -> Option<Level> {
        let (last, whole) = self.parts.split_last()?;
        let whole = whole.iter().filter_map(|part| part.seen);
        let parts: Vec<Level> = whole.chain(last.level(&self.rates)).collect();
        if parts.len() < LEAST_PARTS {
            let (first, rest) = self.parts.split_first()?;
            let mut whole = first.clone();
            rest.iter().for_each(|part| whole.add(part));
            return whole.level(&self.rates);
        }
        let median = |of: &dyn Fn(&Level) -> f64| {
            let mut values: Vec<f64> = parts.iter().map(of).collect();
            values.sort_unstable_by(f64::total_cmp);
            (values[(values.len() - 1) / 2] + values[values.len() / 2]) / 2.0
        };
        Some(Level {
            adoption: median(&|part| part.adoption),
            ratios: std::array::from_fn(|at| median(&|part| part.ratios[at])),
            intervals: parts.iter().map(|part| part.intervals).sum(),
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
            for _ in 0..40 {
                watched.at(exposed, 4_096);
                for stratum in 0..STRATA {
                    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small count")]
                    let bad = (20.0 * factor(at, stratum)).round() as u64;
                    watched.add(stratum, Counts::new(bad, 20_000));
                }
            }
            if let Some(factor) = watched.worse(true) {
                return Some((exposed, factor));
            }
        }
        None
    }

    const DOUBLING: [u64; 9] = [4, 8, 16, 32, 64, 128, 256, 512, 1_024];

    #[test]
    fn harm_that_grows_with_adoption_is_found_when_it_is_large_enough_to_ask_about() {
        let shared = |n: f64| move |at: usize, _: u32| 1.0 + (n - 1.0) * (DOUBLING[at] as f64 / 4_096.0);
        // Fifty times at the end: 1.05 at 4 of 4,096, 1.19 at 16, 1.38 at 32.
        let (exposed, found) = through(&DOUBLING, shared(50.0)).unwrap();
        assert!(exposed == 32 && (1.2..1.4).contains(&found), "{exposed} {found}");
        // Five times: 1.13 at 128, 1.25 at 256, and hardly more than 1 long before.
        assert_eq!(through(&DOUBLING, shared(5.0)).map(|(exposed, _)| exposed), Some(256));
        // In some strata twice as much as in others.
        let unequal =
            |at: usize, stratum: u32| 1.0 + f64::from(20 + 20 * (stratum % 2)) * (DOUBLING[at] as f64 / 4_096.0);
        assert_eq!(through(&DOUBLING, unequal).map(|(exposed, _)| exposed), Some(64));
        // Some have died, or are late: the levels stay apart.
        let short: [u64; 9] = [4, 8, 16, 31, 62, 124, 248, 497, 993];
        let shared = |at: usize, _: u32| 1.0 + 49.0 * (short[at] as f64 / 4_096.0);
        assert_eq!(through(&short, shared).map(|(exposed, _)| exposed), Some(31));
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
        // Another change grows in step, in half of the strata: more than half of them, then less.
        for parts in [3, 5] {
            let grows = |at: usize, stratum: u32| match stratum % parts {
                0 | 1 => 1.0 + 49.0 * (DOUBLING[at] as f64 / 4_096.0),
                _ => 1.0,
            };
            assert_eq!(through(&DOUBLING, grows), None);
        }
        // Another change, which stays, in all strata at once: at the beginning of a level, and in its middle.
        assert_eq!(through(&DOUBLING, |at, _| if at >= 5 { 8.0 } else { 1.0 }), None);
        let jump = |at: usize, _: u32| match at {
            0..=4 => 1.0,
            5 => 4.0,
            _ => 8.0,
        };
        assert_eq!(through(&DOUBLING, jump), None);
        // One that came while little ran the release, and is in what was before.
        let early = |at: usize, _: u32| [2.8, 3.8, 3.7][at.min(2)];
        assert_eq!(through(&DOUBLING, early), None);
        // Two points are on a line, and show nothing: there is no level between the first and the last.
        let steep = |at: usize, _: u32| [1.0, 3.0][at.min(1)];
        assert_eq!(through(&[4, 64], steep), None);
        // Nor are points that are near each other more than one.
        let steep = |exposed: u64| 1.0 + 99.0 * (exposed as f64 / 4_096.0);
        assert_eq!(through(&[4, 45, 46], |at, _| steep([4, 45, 46][at])), None);
        assert!(through(&[4, 24, 46], |at, _| steep([4, 24, 46][at])).is_some());
        // A level that was much worse than the line, long before and by itself.
        let grows = |at: usize| 1.0 + 4.0 * (DOUBLING[at] as f64 / 4_096.0);
        let bump = |at: usize, _: u32| if at == 3 { 2.0 } else { grows(at) };
        assert_eq!(through(&DOUBLING[..7], bump), None);
        let dip = |at: usize, _: u32| if at == 1 { 0.55 } else { grows(at) };
        assert_eq!(through(&DOUBLING[..7], dip), None);
        assert!(through(&DOUBLING[..7], |at, _| grows(at)).is_some());
        // The evening: worse by and by, however much of the fleet runs it.
        assert_eq!(through(&DOUBLING, |at, _| 1.0 + 0.15 * at as f64), None);
    }

    #[test]
    fn an_incident_in_a_long_level_is_not_harm_that_grows() {
        // Each stratum has an incident at some time of the two last levels, and these come to much; the levels before are short.
        let through = |incidents: bool| {
            let mut watched = Surroundings::new(STRATA as usize, &history());
            for (exposed, intervals, bad) in [(4, 40, 20), (8, 40, 20), (16, 400, 100), (32, 400, 200)] {
                for interval in 0..intervals {
                    watched.at(exposed, 4_096);
                    for stratum in 0..STRATA {
                        let hit = incidents && intervals == 400 && interval / 10 == stratum;
                        let grown = if incidents { 0 } else { exposed / 4 };
                        watched.add(stratum, Counts::new(if hit { bad } else { 20 + grown }, 20_000));
                    }
                }
            }
            let (last, whole) = watched.parts.split_last().unwrap();
            assert!(whole.len() < PARTS && last.intervals <= watched.intervals);
            assert!(whole.iter().all(|part| part.intervals == watched.intervals));
            watched.worse(true)
        };
        assert_eq!(through(true), None);
        assert!(through(false).is_some());
    }

    #[test]
    fn strata_of_few_events_before_hide_no_rise() {
        // Before, most strata had no more than chance gave them; now all have twice and a half as much as the middle of them.
        let chance = |stratum: u32| [0.2, 0.6, 1.0, 1.4, 1.8][stratum as usize % 5];
        let levels = [4_u64, 64, 128];
        let shared = |at: usize, stratum: u32| match at {
            0 => chance(stratum),
            _ => 1.0 + 49.0 * (levels[at] as f64 / 4_096.0),
        };
        assert_eq!(through(&levels, shared).map(|(exposed, _)| exposed), Some(128));
        // As much in the middle, but in the best not at all.
        let unlike = |at: usize, stratum: u32| match stratum % 5 {
            0 => 0.2,
            _ => shared(at, stratum),
        };
        assert_eq!(through(&levels, unlike), None);
    }

    #[test]
    fn few_intervals_say_nothing_of_a_small_rise() {
        let through = |intervals: u32, rise: u64| {
            let mut watched = Surroundings::new(STRATA as usize, &history());
            for (exposed, more) in [(4, 0), (8, 0), (16, rise / 2), (32, rise)] {
                for _ in 0..intervals {
                    watched.at(exposed, 4_096);
                    (0..STRATA).for_each(|stratum| watched.add(stratum, Counts::new(200 + more, 200_000)));
                }
            }
            watched.worse(true)
        };
        assert!(through(80, 40).is_some());
        assert_eq!(through(8, 40), None);
        // Nor do many of one that is smaller than what is asked about.
        assert_eq!(through(800, 20), None);
    }

    #[test]
    fn too_little_says_nothing() {
        let mut watched = Surroundings::new(3, &history()[..3]);
        for exposed in DOUBLING {
            watched.at(exposed, 4_096);
            (0..3).for_each(|stratum| watched.add(stratum, Counts::new(exposed * 40, 20_000)));
        }
        assert_eq!(watched.worse(true), None);
        watched.at(0, 0);
        assert_eq!(Surroundings::new(0, &[]).worse(true), None);
    }
}
