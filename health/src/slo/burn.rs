//! Burn rates over several windows: how many times too fast the budget goes. They freeze, and never roll back.

use serde::{Deserialize, Serialize};

use super::rings::{Rings, Tally};
use super::{Slo, SloError};
use crate::FaultClass;
use crate::row::to_f64;
use crate::score::burn_term;

const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;

/// Bad events in the long window below which a line stays silent: with little traffic a single one would exceed any limit.
const MIN_EVENTS: u64 = 10;

/// What a line asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "urgent or not")]
pub enum Severity {
    /// Somebody, within days.
    Ticket,
    /// Somebody, now; nothing more is changed meanwhile.
    Page,
}

/// Severity, long window, short window, share of the budget that is gone when a line is reached (Google's SRE Workbook,
/// chapter 5). The limit is share × window of the objective / long window: 14.4, 6, 3 and 1 over 30 days.
const LINES: [(Severity, u64, u64, f64); 4] = [
    (Severity::Page, HOUR_MS, 5 * MINUTE_MS, 0.02),
    (Severity::Page, 6 * HOUR_MS, 30 * MINUTE_MS, 0.05),
    (Severity::Ticket, 24 * HOUR_MS, 2 * HOUR_MS, 0.10),
    (Severity::Ticket, 72 * HOUR_MS, 6 * HOUR_MS, 0.10),
];

/// Classes that use up a budget. Policy is intended, and what clients do wrong nobody promised them.
const COUNTED: [FaultClass; 5] = [
    FaultClass::Own,
    FaultClass::Infrastructure,
    FaultClass::Business,
    FaultClass::Config,
    FaultClass::Ambiguous,
];

/// How fast one class of fault burns one objective's budget, over one pair of windows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BurnLine {
    /// Index of the objective.
    pub slo: usize,
    /// Whose fault; `None` for all counted classes together (all but client and policy).
    pub class: Option<FaultClass>,
    /// What reaching the limit asks for.
    pub severity: Severity,
    /// The long window in milliseconds.
    pub long_ms: u64,
    /// The short one, a twelfth of it.
    pub short_ms: u64,
    /// (bad / total) / (1 − objective) over the long window; `None` without traffic, which is not 0.
    pub long: Option<f64>,
    /// Likewise over the short one.
    pub short: Option<f64>,
    /// Both at or above this: the line is reached. Never above what a total outage burns.
    pub limit: f64,
    /// Bad events in the long window; below 10 the line stays silent.
    pub events: u64,
    /// Reached.
    pub reached: bool,
}

impl BurnLine {
    /// The smaller of both burn rates as a share of the limit; `None` when one is unknown.
    #[must_use]
    pub fn usage(&self) -> Option<f64> {
        Some(self.long?.min(self.short?) / self.limit)
    }
}

/// Why nothing more should start: a page line that was reached.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "what a hold says")]
pub struct BurnFreeze {
    /// Index of the objective.
    pub slo: u32,
    /// Whose fault; `None` for several classes that reach the limit only together.
    pub class: Option<FaultClass>,
    /// The smaller of the burn rates over the two windows.
    pub burn: f64,
    /// What it has reached.
    pub limit: f64,
}

/// All lines at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BurnState {
    /// By objective, then all classes together and each counted class, then the four pairs of windows.
    pub lines: Vec<BurnLine>,
}

impl BurnState {
    /// Whether the change should freeze: the reached page line with the highest usage; of equal ones a class of its own before
    /// all together. Never a reason to roll back: a burn rate does not know who caused it.
    #[must_use]
    pub fn freeze(&self) -> Option<BurnFreeze> {
        let reached = self
            .lines
            .iter()
            .filter(|line| line.reached && line.severity == Severity::Page);
        let rank = |line: &&BurnLine| (line.usage().unwrap_or(0.0), line.class.is_some());
        let worst = reached.max_by(|a, b| {
            let ((one, named), (two, other)) = (rank(a), rank(b));
            one.total_cmp(&two).then(named.cmp(&other))
        })?;
        Some(BurnFreeze {
            slo: u32::try_from(worst.slo).unwrap_or(u32::MAX),
            class: worst.class,
            burn: worst.long?.min(worst.short?),
            limit: worst.limit,
        })
    }

    /// u: the highest usage of a page line for this class. `None` when not a single page line is known.
    #[must_use]
    pub fn usage(&self, class: FaultClass) -> Option<f64> {
        let pages = self
            .lines
            .iter()
            .filter(|line| line.class == Some(class) && line.severity == Severity::Page);
        pages.filter_map(BurnLine::usage).reduce(f64::max)
    }

    /// 100·(1 − min(1, u)²): 100 with an untouched budget, 0 from a page line on. `None` when unknown.
    #[must_use]
    pub fn score(&self, class: FaultClass) -> Option<f64> {
        self.usage(class).map(burn_term)
    }

    /// Objectives of which some page line has no traffic to look at: unknown, not fine.
    #[must_use]
    pub fn unknown(&self) -> Vec<usize> {
        let pages = self
            .lines
            .iter()
            .filter(|line| line.severity == Severity::Page && line.usage().is_none());
        let mut slos: Vec<usize> = pages.map(|line| line.slo).collect();
        slos.dedup();
        slos
    }
}

/// Keeps what burn rates need: three days of counts per objective, at most some 30 KB each.
///
/// ```
/// use unattended_health::{Burn, FaultClass, Sli, Slo};
///
/// let day_ms = 86_400_000;
/// let slo = Slo::new("availability", Sli::Metric("errors".into()), 0.999, 30 * day_ms)?;
/// let mut burn = Burn::new(vec![slo])?;
/// for minute in 1..=60 {
///     // 2 % of requests fail since the peer broke.
///     burn.observe(0, minute * 60_000, 1_000, &[(FaultClass::Business, 20)])?;
/// }
/// let freeze = burn.state(60 * 60_000).freeze().expect("20 times too fast is too fast for every line");
/// assert_eq!(freeze.class, Some(FaultClass::Business));
/// assert!((freeze.burn - 20.0).abs() < 1e-9 && (freeze.limit - 6.0).abs() < 1e-9, "the line of six hours");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Burn {
    slos: Vec<Slo>,
    rings: Vec<Rings>,
    last_ms: Vec<u64>,
}

/// Why counts were not taken. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BurnError {
    /// No such objective.
    #[error("objective {slo} does not exist, there are {slos}")]
    Slo {
        /// The one named.
        slo: usize,
        /// How many there are.
        slos: usize,
    },
    /// Counts from before those that were taken.
    #[error("counts of objective {slo} ended at {end_ms} ms, and counts until {last_ms} ms were taken already")]
    Late {
        /// Which objective.
        slo: usize,
        /// When they ended.
        end_ms: u64,
        /// The latest taken.
        last_ms: u64,
    },
    /// A class twice, or more bad events than events.
    #[error("objective {slo}: {bad} bad of {total} is not possible; give each class once, and each request one class")]
    BadAboveTotal {
        /// Which objective.
        slo: usize,
        /// Bad events of all classes.
        bad: u64,
        /// Events.
        total: u64,
    },
}

impl Burn {
    /// No counts yet.
    ///
    /// # Errors
    ///
    /// [`SloError`] when an objective is out of range.
    pub fn new(slos: Vec<Slo>) -> Result<Self, SloError> {
        slos.iter().try_for_each(Slo::check)?;
        Ok(Self {
            rings: vec![Rings::new(); slos.len()],
            last_ms: vec![0; slos.len()],
            slos,
        })
    }

    /// The objectives, by index.
    #[must_use]
    pub fn slos(&self) -> &[Slo] {
        &self.slos
    }

    /// Requests of an objective in an interval that ended at `end_ms`, and how many were bad, by class of fault. All requests
    /// of the service count, not those of the change alone: what was promised was promised for all.
    ///
    /// # Errors
    ///
    /// [`BurnError`] when the objective does not exist, the interval is not later than the last one, or more were bad than
    /// there were.
    pub fn observe(&mut self, slo: usize, end_ms: u64, total: u64, bad: &[(FaultClass, u64)]) -> Result<(), BurnError> {
        let slos = self.slos.len();
        let (Some(rings), Some(last)) = (self.rings.get_mut(slo), self.last_ms.get_mut(slo)) else {
            return Err(BurnError::Slo { slo, slos });
        };
        if end_ms <= *last {
            return Err(BurnError::Late {
                slo,
                end_ms,
                last_ms: *last,
            });
        }
        let all = bad.iter().fold(0_u64, |sum, (_, count)| sum.saturating_add(*count));
        let twice = bad
            .iter()
            .enumerate()
            .any(|(i, (class, _))| bad[..i].iter().any(|(other, _)| other == class));
        if twice || all > total {
            return Err(BurnError::BadAboveTotal { slo, bad: all, total });
        }
        let mut tally = Tally {
            total,
            ..Tally::default()
        };
        for (class, count) in bad {
            tally.bad[class.index()] = *count;
        }
        rings.add(end_ms, &tally);
        *last = end_ms;
        Ok(())
    }

    /// All lines at `now_ms`.
    #[must_use]
    pub fn state(&self, now_ms: u64) -> BurnState {
        let mut lines = Vec::with_capacity(self.slos.len() * (1 + COUNTED.len()) * LINES.len());
        for (slo, (promise, rings)) in self.slos.iter().zip(&self.rings).enumerate() {
            let sums =
                LINES.map(|(_, long_ms, short_ms, _)| [long_ms, short_ms].map(|window| rings.sum(now_ms, window)));
            for class in core::iter::once(None).chain(COUNTED.map(Some)) {
                for ((severity, long_ms, short_ms, share), [long, short]) in LINES.into_iter().zip(&sums) {
                    let limit = share * to_f64(promise.window_ms) / to_f64(long_ms);
                    let limit = limit.min(1.0 / promise.budget());
                    let (events, long) = (bad_of(long, class), rate(long, class, promise.budget()));
                    let short = rate(short, class, promise.budget());
                    let above = |burn: Option<f64>| burn.is_some_and(|burn| burn >= limit);
                    lines.push(BurnLine {
                        slo,
                        class,
                        severity,
                        long_ms,
                        short_ms,
                        long,
                        short,
                        limit,
                        events,
                        reached: events >= MIN_EVENTS && above(long) && above(short),
                    });
                }
            }
        }
        BurnState { lines }
    }
}

fn bad_of(tally: &Tally, class: Option<FaultClass>) -> u64 {
    match class {
        Some(class) => tally.bad[class.index()],
        None => COUNTED
            .iter()
            .fold(0, |sum, class| sum.saturating_add(tally.bad[class.index()])),
    }
}

fn rate(tally: &Tally, class: Option<FaultClass>, budget: f64) -> Option<f64> {
    (tally.total > 0).then(|| to_f64(bad_of(tally, class)) / to_f64(tally.total) / budget)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Burn rates of the two page lines over 30 days, and what the score must be.
    #[test]
    fn scores_are_the_reference_values() {
        let page = |long: f64, short: f64, limit: f64| BurnLine {
            slo: 0,
            class: Some(FaultClass::Own),
            severity: Severity::Page,
            long_ms: 0,
            short_ms: 0,
            long: Some(long),
            short: Some(short),
            limit,
            events: 10,
            reached: false,
        };
        let file = include_str!("../../tests/data/burn.csv");
        let mut rows = 0;
        for line in file.lines().skip(1) {
            let cells: Vec<f64> = line.split(',').skip(1).map(|cell| cell.parse().unwrap()).collect();
            let [b_1h, b_5m, b_6h, b_30m, usage, score] = cells[..] else {
                panic!("{line}")
            };
            let state = BurnState {
                lines: vec![page(b_1h, b_5m, 14.4), page(b_6h, b_30m, 6.0)],
            };
            assert!((state.usage(FaultClass::Own).unwrap() - usage).abs() < 5e-7, "{line}");
            assert!((state.score(FaultClass::Own).unwrap() - score).abs() < 5e-7, "{line}");
            assert_eq!(state.usage(FaultClass::Business), None);
            rows += 1;
        }
        assert_eq!(rows, 3);
    }
}
