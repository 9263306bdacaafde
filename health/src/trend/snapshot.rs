//! A trend as data: everything needed to continue to the same bytes, checked when it is read.

use serde::{Deserialize, Serialize};

use super::series::Series;
use super::watch::{Host, Trend, TrendConfig, TrendError, TrendReport};
use crate::exact::Exact;
use crate::{Arm, Resource};

const VERSION: u32 = 1;

/// What a [`Trend`] is written as.
#[derive(Serialize, Deserialize)]
pub(super) struct Saved {
    version: u32,
    resource: Resource,
    first_look_ms: u64,
    tolerance_per_hour: Exact,
    hosts: Vec<SavedHost>,
    first_ms: Option<u64>,
    next_look_ms: u64,
    ln_e: Exact,
    looks: u32,
    /// Hosts that had run long enough, canary and control.
    ran: [usize; 2],
    /// Their growth.
    growth: [Option<Exact>; 2],
}

#[derive(Serialize, Deserialize)]
struct SavedHost {
    group: u32,
    host: u32,
    arm: Arm,
    epoch: u64,
    last_ms: u64,
    spacing_ms: u64,
    readings: Vec<(u64, Exact)>,
}

impl From<Trend> for Saved {
    fn from(trend: Trend) -> Self {
        let host = |host: Host| SavedHost {
            group: host.group,
            host: host.host,
            arm: host.arm,
            epoch: host.epoch,
            last_ms: host.last_ms,
            spacing_ms: host.series.spacing_ms,
            readings: host
                .series
                .readings
                .into_iter()
                .map(|(at_ms, value)| (at_ms, Exact(value)))
                .collect(),
        };
        let TrendReport {
            looks,
            canary_hosts,
            control_hosts,
            canary_growth,
            control_growth,
            ln_e: _,
        } = trend.report;
        Self {
            version: VERSION,
            resource: trend.resource,
            first_look_ms: trend.config.first_look_ms,
            tolerance_per_hour: Exact(trend.config.tolerance_per_hour),
            hosts: trend.hosts.into_iter().map(host).collect(),
            first_ms: trend.first_ms,
            next_look_ms: trend.next_look_ms,
            ln_e: Exact(trend.ln_e),
            looks,
            ran: [canary_hosts, control_hosts],
            growth: [canary_growth, control_growth].map(|growth| growth.map(Exact)),
        }
    }
}

impl TryFrom<Saved> for Trend {
    type Error = TrendError;

    fn try_from(saved: Saved) -> Result<Self, TrendError> {
        let damaged = |reason| TrendError::Snapshot { reason };
        if saved.version != VERSION {
            return Err(damaged("its version is unknown"));
        }
        let config = TrendConfig {
            first_look_ms: saved.first_look_ms,
            tolerance_per_hour: saved.tolerance_per_hour.0,
        };
        let mut trend = Self::new(saved.resource, config)?;
        if saved.next_look_ms < saved.first_look_ms || !saved.ln_e.0.is_finite() {
            return Err(damaged("its evidence or its next look is not possible"));
        }
        for host in saved.hosts {
            let readings: Vec<(u64, f64)> = host
                .readings
                .into_iter()
                .map(|(at_ms, value)| (at_ms, value.0))
                .collect();
            let amounts = readings.iter().all(|(_, value)| *value >= 0.0 && value.is_finite());
            let in_time = readings.is_sorted_by_key(|(at_ms, _)| *at_ms)
                && readings.last().is_some_and(|(at_ms, _)| *at_ms <= host.last_ms);
            let next = (host.group, host.host);
            let in_order = trend.hosts.last().is_none_or(|known| (known.group, known.host) < next);
            let Some(series) = Series::restored(readings, host.spacing_ms).filter(|_| amounts && in_time && in_order)
            else {
                return Err(damaged("the readings of a host are not possible"));
            };
            trend.hosts.push(Host {
                group: host.group,
                host: host.host,
                arm: host.arm,
                epoch: host.epoch,
                last_ms: host.last_ms,
                series,
            });
        }
        (trend.first_ms, trend.next_look_ms, trend.ln_e) = (saved.first_ms, saved.next_look_ms, saved.ln_e.0);
        let [canary_growth, control_growth] = saved.growth.map(|growth| growth.map(|growth| growth.0));
        let [canary_hosts, control_hosts] = saved.ran;
        trend.report = TrendReport {
            looks: saved.looks,
            canary_hosts,
            control_hosts,
            canary_growth,
            control_growth,
            ln_e: trend.ln_e,
        };
        Ok(trend)
    }
}
