//! The trend test: sparse looks, each one exact, all together within one budget.

use serde::{Deserialize, Serialize};

use super::permutation::{TILTS, ln_e};
use super::series::{Series, median};
use super::snapshot::Saved;
use crate::Arm;
use crate::evidence::ln_sum_exp;
use crate::row::to_f64;

/// Hosts of an arm and group that are followed: the first ones seen, whatever they read.
const MAX_HOSTS: usize = 256;

/// What grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(
    clippy::exhaustive_enums,
    reason = "what a process can run out of; another one needs a unit"
)]
pub enum Resource {
    /// Bytes.
    Memory,
    /// Open file descriptors.
    Descriptors,
    /// Threads.
    Threads,
    /// Microseconds of CPU time for each request of an interval.
    CpuPerRequest,
}

/// How a trend is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TrendConfig {
    /// First look so long after the first reading, in milliseconds; each further one at twice the time. At least 4 minutes.
    pub first_look_ms: u64,
    /// Growth, as a share of the level per hour, by which canary hosts may exceed control hosts. At least 0.
    pub tolerance_per_hour: f64,
}

impl Default for TrendConfig {
    /// Half an hour, and half a percent.
    fn default() -> Self {
        Self {
            first_look_ms: 1_800_000,
            tolerance_per_hour: 0.005,
        }
    }
}

/// One reading of one host.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "written literally by every metric source")]
pub struct TrendReading {
    /// Hosts of one group are alike, e.g. one stratum: only they are compared.
    pub group: u32,
    /// On the new version, or in the control cohort.
    pub arm: Arm,
    /// Any number that stays the same for as long as the host does, unique in its group.
    pub host: u32,
    /// Number of the process's start: another one begins anew.
    pub epoch: u64,
    /// When, in milliseconds.
    pub at_ms: u64,
    /// At least 0, in the unit of the [`Resource`].
    pub value: f64,
}

/// Why a reading or configuration was refused. Nothing has changed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TrendError {
    /// Not a number at least 0.
    #[error(
        "host {host} of group {group} reads {value}, which is no amount; a missing reading is left out, not written as 0"
    )]
    Value {
        /// Which group.
        group: u32,
        /// Which host.
        host: u32,
        /// What it reads.
        value: f64,
    },
    /// From before the last reading.
    #[error("host {host} of group {group}: a reading of {at_ms} ms came after one of {last_ms} ms")]
    Late {
        /// Which group.
        group: u32,
        /// Which host.
        host: u32,
        /// When it was taken.
        at_ms: u64,
        /// The last one.
        last_ms: u64,
    },
    /// A host is on one side.
    #[error(
        "host {host} of group {group} was on the other arm in this start; a host changes its version with a new epoch"
    )]
    Arm {
        /// Which group.
        group: u32,
        /// Which host.
        host: u32,
    },
    /// A number of the configuration is out of range.
    #[error("{field} is out of range: {allowed}")]
    Config {
        /// Which.
        field: &'static str,
        /// What it may be.
        allowed: &'static str,
    },
    /// A serialized trend was changed by something else.
    #[error("the snapshot of a trend is damaged: {reason}; take an earlier one, or begin anew")]
    Snapshot {
        /// What is wrong.
        reason: &'static str,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Host {
    pub(super) group: u32,
    pub(super) host: u32,
    pub(super) arm: Arm,
    pub(super) epoch: u64,
    pub(super) last_ms: u64,
    pub(super) series: Series,
}

/// What the last look saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TrendReport {
    /// Looks so far.
    pub looks: u32,
    /// Canary hosts that had run long enough.
    pub canary_hosts: usize,
    /// Control hosts that had.
    pub control_hosts: usize,
    /// Median growth of canary hosts, as a share of the level per hour; `None` without any.
    pub canary_growth: Option<f64>,
    /// Likewise of control hosts.
    pub control_growth: Option<f64>,
    /// ln of the evidence of all looks.
    pub ln_e: f64,
}

/// Watches one resource for growth on the canary that the control does not have.
///
/// At the first look and then whenever the time since the first reading has doubled (W), each host that has been running for
/// at least W/2 is given a growth: the Theil–Sen slope over its last W/4, per level. So a process that fills its caches
/// has at least as long to do so before it is measured as it is measured for, and a leak that takes weeks is looked for over
/// days. Canary growth is reduced by the tolerance; then hosts of a group are ranked, and the sum of the canary's ranks is
/// compared with all ways in which the same hosts could have been divided into canary and control:
/// `E = exp(t·Σ rank)/mean over assignments`, multiplied over groups, averaged over t ∈ {1, 2, 4, 8}.
///
/// # Guarantee
///
/// If canary hosts were chosen at random within groups and the version makes no difference, each E has expectation 1 given
/// the readings, whatever their distribution, trends, outliers and dependence in time. Evidence is `½ + Σ_k E_k/(2k(k+1))`:
/// it never falls, its expectation is at most 1 after all looks, so by Markov's inequality it reaches 1/α with probability at
/// most α. Looking at the same hosts again makes looks dependent; the sum does not mind.
///
/// Serializable: restored, it continues to the same bytes. [`Judge::observe_trend`](crate::Judge::observe_trend) holds a
/// change for what it finds.
///
/// # Limits
///
/// Evidence cannot exceed the number of ways to choose the canary hosts: three of thirty can never reach 1/0.01 at the fourth
/// look. A leak of all versions alike, and one below the tolerance, are not found. Compare hosts of like age: a control
/// that has been running for a month has no caches to fill.
///
/// ```
/// use unattended_health::{Arm, Resource, Trend, TrendConfig, TrendReading};
///
/// let mut trend = Trend::new(Resource::Memory, TrendConfig::default())?;
/// for minute in 0..=240 {
///     for host in 0..40 {
///         let arm = if host < 8 { Arm::Canary } else { Arm::Control };
///         let leak = if arm == Arm::Canary { 0.03 * f64::from(minute) / 60.0 } else { 0.0 };
///         let noise = f64::from((host * 7_919 + minute * 104_729) % 97) / 97.0 * 0.02;
///         let value = 4e8 * (1.0 + leak + noise);
///         trend.observe(TrendReading { group: 0, arm, host, epoch: 1, at_ms: u64::from(minute) * 60_000, value })?;
///     }
///     trend.look(u64::from(minute) * 60_000);
/// }
/// let report = trend.report();
/// assert!(report.ln_e >= 100_f64.ln(), "3 % an hour on eight hosts");
/// assert!(report.canary_growth > Some(0.02) && report.control_growth < Some(0.01));
/// # Ok::<(), unattended_health::TrendError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(into = "Saved", try_from = "Saved")]
pub struct Trend {
    pub(super) resource: Resource,
    pub(super) config: TrendConfig,
    /// By group, then host.
    pub(super) hosts: Vec<Host>,
    pub(super) first_ms: Option<u64>,
    /// Time from the first reading to the next look.
    pub(super) next_look_ms: u64,
    pub(super) ln_e: f64,
    pub(super) report: TrendReport,
}

impl Trend {
    /// Nothing was read yet: evidence is ½.
    ///
    /// # Errors
    ///
    /// When the first look is before 4 minutes, or the tolerance not a number at least 0.
    pub fn new(resource: Resource, config: TrendConfig) -> Result<Self, TrendError> {
        if config.first_look_ms < 240_000 {
            let (field, allowed) = ("first_look_ms", "at least 4 minutes");
            return Err(TrendError::Config { field, allowed });
        }
        if !(config.tolerance_per_hour >= 0.0 && config.tolerance_per_hour.is_finite()) {
            let (field, allowed) = ("tolerance_per_hour", "a share at least 0");
            return Err(TrendError::Config { field, allowed });
        }
        let ln_e = -core::f64::consts::LN_2;
        Ok(Self {
            resource,
            config,
            hosts: Vec::new(),
            first_ms: None,
            next_look_ms: config.first_look_ms,
            ln_e,
            report: TrendReport {
                ln_e,
                ..TrendReport::default()
            },
        })
    }

    /// What is watched.
    #[must_use]
    pub const fn resource(&self) -> Resource {
        self.resource
    }

    /// One reading. Of hosts beyond 256 of an arm and group none is kept.
    ///
    /// # Errors
    ///
    /// [`TrendError`] when it is no amount, comes late, or the host was on the other arm in this start.
    pub fn observe(&mut self, reading: TrendReading) -> Result<(), TrendError> {
        let TrendReading {
            group,
            arm,
            host,
            epoch,
            at_ms,
            value,
        } = reading;
        if !(value >= 0.0 && value.is_finite()) {
            return Err(TrendError::Value { group, host, value });
        }
        match self
            .hosts
            .binary_search_by_key(&(group, host), |one| (one.group, one.host))
        {
            Ok(place) => {
                let known = &mut self.hosts[place];
                if at_ms < known.last_ms {
                    let last_ms = known.last_ms;
                    return Err(TrendError::Late {
                        group,
                        host,
                        at_ms,
                        last_ms,
                    });
                }
                if epoch == known.epoch && arm != known.arm {
                    return Err(TrendError::Arm { group, host });
                }
                if epoch != known.epoch {
                    known.series = Series::default();
                }
                (known.epoch, known.arm, known.last_ms) = (epoch, arm, at_ms);
                known.series.add(at_ms, value);
            }
            Err(place) => {
                let alike = self.hosts.iter().filter(|one| one.group == group && one.arm == arm);
                if alike.count() >= MAX_HOSTS {
                    return Ok(());
                }
                let mut series = Series::default();
                series.add(at_ms, value);
                let last_ms = at_ms;
                self.hosts.insert(
                    place,
                    Host {
                        group,
                        host,
                        arm,
                        epoch,
                        last_ms,
                        series,
                    },
                );
            }
        }
        self.first_ms.get_or_insert(at_ms);
        Ok(())
    }

    /// Looks, if it is time; whether it did. Call it after the readings of an interval.
    pub fn look(&mut self, now_ms: u64) -> bool {
        let Some(since_ms) = self.first_ms.and_then(|first| now_ms.checked_sub(first)) else {
            return false;
        };
        if since_ms < self.next_look_ms {
            return false;
        }
        // After a gap one look is due, not all that were missed.
        let mut window_ms = self.next_look_ms;
        while since_ms / 2 >= window_ms {
            window_ms *= 2;
        }
        self.next_look_ms = window_ms.saturating_mul(2);
        let (from_ms, older_than_ms) = (now_ms - window_ms / 4, now_ms - window_ms / 2);

        let mut ln_by_tilt = [0.0; TILTS.len()];
        let (mut all_canary, mut all_control) = (Vec::new(), Vec::new());
        for group in self.hosts.chunk_by(|one, other| one.group == other.group) {
            let growth_of = |wanted: Arm| -> Vec<f64> {
                let hosts = group.iter().filter(|host| host.arm == wanted);
                let ran = hosts.filter(|host| host.series.first_ms().is_some_and(|first| first <= older_than_ms));
                ran.filter_map(|host| host.series.growth(from_ms)).collect()
            };
            let (canary, control) = (growth_of(Arm::Canary), growth_of(Arm::Control));
            let reduced: Vec<f64> = canary
                .iter()
                .map(|growth| growth - self.config.tolerance_per_hour)
                .collect();
            for (sum, ln) in ln_by_tilt.iter_mut().zip(ln_e(&reduced, &control)) {
                *sum += ln;
            }
            all_canary.extend(canary);
            all_control.extend(control);
        }
        let looks = self.report.looks + 1;
        let ln_look = ln_sum_exp(&ln_by_tilt) - libm::log(to_f64(TILTS.len() as u64));
        let ln_weight = -libm::log(2.0 * f64::from(looks) * (f64::from(looks) + 1.0));
        self.ln_e = ln_sum_exp(&[self.ln_e, ln_look + ln_weight]);
        self.report = TrendReport {
            looks,
            canary_hosts: all_canary.len(),
            control_hosts: all_control.len(),
            canary_growth: median(all_canary),
            control_growth: median(all_control),
            ln_e: self.ln_e,
        };
        true
    }

    /// ln of the evidence that the resource grows on the canary. At or above ln(1/α) it does, up to probability α.
    #[must_use]
    pub const fn ln_e(&self) -> f64 {
        self.ln_e
    }

    /// What the last look saw.
    #[must_use]
    pub const fn report(&self) -> TrendReport {
        self.report
    }
}
