//! What a forecast is told: how long things take, and when who may be touched.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::index::AppIndex;

/// How long something takes: half of the time at most `p50_ms`, 95 % of the time at most `p95_ms`. In between and beyond it is taken as
/// log-normal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::exhaustive_structs, reason = "written by users as a literal")]
pub struct Duration {
    /// The median in milliseconds.
    pub p50_ms: u64,
    /// The 95th percentile in milliseconds, at least the median.
    pub p95_ms: u64,
}

/// A span of time in milliseconds on the caller's clock: from `from_ms` until just before `until_ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::exhaustive_structs, reason = "written by users as a literal")]
pub struct Interval {
    /// Its first moment.
    pub from_ms: u64,
    /// The first moment after it.
    pub until_ms: u64,
}

/// Under which a plan is forecast.
///
/// Defaults: an upgrade takes 30 s (95 %: 90 s), a bake 30 min (95 %: 60 min); a rollback needs 2 min of the window; all lanes are always open; no
/// deadline; exposure is stated for faults that show at 5 % and 0.5 % of targets; growths of 1.5, 2, 3, 5 and 10 are compared.
#[derive(Clone, Debug, PartialEq)]
pub struct Conditions {
    pub(super) start_ms: u64,
    pub(super) upgrade: Duration,
    pub(super) bake: Duration,
    pub(super) rollback_ms: u64,
    pub(super) deadline_ms: Option<u64>,
    pub(super) prevalences: Vec<f64>,
    pub(super) growths: Vec<f64>,
    pub(super) windows: BTreeMap<AppIndex, Vec<Interval>>,
}

/// Conditions that cannot be meant.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ConditionsError {
    /// A duration whose percentiles are not in order, or too long to add up.
    #[error(
        "{field}: {p50_ms} ms for half and {p95_ms} ms for 95 % of the time; give 1 ms or more, the second not below the first, both at most 100 years"
    )]
    Duration {
        /// `upgrade` or `bake`.
        field: &'static str,
        /// The median.
        p50_ms: u64,
        /// The 95th percentile.
        p95_ms: u64,
    },
    /// A time beyond what can be added up.
    #[error("{field}: {ms} ms is more than 1000 years; give a time nearer the present")]
    Time {
        /// Which one.
        field: &'static str,
        /// What was given.
        ms: u64,
    },
    /// A window that ends before it begins.
    #[error("windows: from {from_ms} until {until_ms} is empty; a window ends after it begins")]
    Interval {
        /// Its beginning.
        from_ms: u64,
        /// Its end.
        until_ms: u64,
    },
    /// A probability that is none.
    #[error("prevalence {prevalence} is not above 0 and at most 1; 0.005 is one target in two hundred")]
    Prevalence {
        /// What was given.
        prevalence: f64,
    },
}

const YEAR_MS: u64 = 366 * 86_400_000;
const LONGEST_MS: u64 = 100 * YEAR_MS;
/// Later moments are not added up: 1000 years.
pub(super) const LATEST_MS: u64 = 1_000 * YEAR_MS;

impl Conditions {
    /// The defaults; the change begins at `start_ms` on the caller's clock.
    #[must_use]
    pub fn new(start_ms: u64) -> Self {
        Self {
            start_ms,
            upgrade: Duration {
                p50_ms: 30_000,
                p95_ms: 90_000,
            },
            bake: Duration {
                p50_ms: 1_800_000,
                p95_ms: 3_600_000,
            },
            rollback_ms: 120_000,
            deadline_ms: None,
            prevalences: vec![0.05, 0.005],
            growths: vec![1.5, 2.0, 3.0, 5.0, 10.0],
            windows: BTreeMap::new(),
        }
    }

    /// How long one target takes.
    #[must_use]
    pub const fn upgrade(mut self, duration: Duration) -> Self {
        self.upgrade = duration;
        self
    }

    /// How long one target takes, as given.
    #[must_use]
    pub const fn upgrade_duration(&self) -> Duration {
        self.upgrade
    }

    /// How long a batch is watched, as given.
    #[must_use]
    pub const fn bake_duration(&self) -> Duration {
        self.bake
    }

    /// How long a batch is watched after its last target.
    #[must_use]
    pub const fn bake(mut self, duration: Duration) -> Self {
        self.bake = duration;
        self
    }

    /// What a window must leave after an upgrade, in case it has to be taken back.
    #[must_use]
    pub const fn rollback_ms(mut self, ms: u64) -> Self {
        self.rollback_ms = ms;
        self
    }

    /// When everything should be done, on the caller's clock.
    #[must_use]
    pub const fn deadline_ms(mut self, ms: u64) -> Self {
        self.deadline_ms = Some(ms);
        self
    }

    /// For which faults to state the exposure: shares of targets, above 0 and at most 1, at which a fault shows within a bake.
    #[must_use]
    pub fn prevalences(mut self, shares: impl IntoIterator<Item = f64>) -> Self {
        self.prevalences = shares.into_iter().collect();
        self
    }

    /// Which growths to compare. The first prevalence decides.
    #[must_use]
    pub fn growths(mut self, growths: impl IntoIterator<Item = f64>) -> Self {
        self.growths = growths.into_iter().collect();
        self
    }

    /// When targets of an application may be started; outside of these spans they may not. They may overlap. An application without a
    /// call is always open; one with an empty list never.
    #[must_use]
    pub fn windows(mut self, app: AppIndex, open: impl IntoIterator<Item = Interval>) -> Self {
        self.windows.insert(app, open.into_iter().collect());
        self
    }

    /// Checked, with the windows sorted and merged.
    pub(super) fn settled(&self) -> Result<Self, ConditionsError> {
        for (field, Duration { p50_ms, p95_ms }) in [("upgrade", self.upgrade), ("bake", self.bake)] {
            if p50_ms == 0 || p95_ms < p50_ms || p95_ms > LONGEST_MS {
                return Err(ConditionsError::Duration { field, p50_ms, p95_ms });
            }
        }
        let times = [
            ("start", Some(self.start_ms)),
            ("deadline", self.deadline_ms),
            ("rollback", Some(self.rollback_ms)),
        ];
        for (field, ms) in times {
            if let Some(ms) = ms.filter(|&ms| ms > LATEST_MS) {
                return Err(ConditionsError::Time { field, ms });
            }
        }
        for &prevalence in &self.prevalences {
            if !(prevalence > 0.0 && prevalence <= 1.0) {
                return Err(ConditionsError::Prevalence { prevalence });
            }
        }
        for window in self.windows.values().flatten() {
            if window.from_ms > LATEST_MS {
                return Err(ConditionsError::Time {
                    field: "windows",
                    ms: window.from_ms,
                });
            }
        }
        let mut settled = self.clone();
        for open in settled.windows.values_mut() {
            if let Some(&Interval { from_ms, until_ms }) = open.iter().find(|span| span.from_ms >= span.until_ms) {
                return Err(ConditionsError::Interval { from_ms, until_ms });
            }
            open.sort_unstable();
            open.dedup_by(|next, before| {
                let meets = next.from_ms <= before.until_ms;
                if meets {
                    before.until_ms = before.until_ms.max(next.until_ms);
                }
                meets
            });
        }
        Ok(settled)
    }
}
