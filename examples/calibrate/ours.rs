//! Our judge, as a controller feeds it.

use unattended::health::{
    Arm, Coverage, FaultClass, History, HostSample, Interval, Judge, JudgeConfig, JudgeError, MetricSpec, Row,
    RowError, StratumInfo, Topology, Verdict,
};

use crate::family::Family;
use crate::world::Report;

/// One release before our judge.
pub(crate) struct Ours {
    judge: Judge,
    /// Stages in which evidence of safety sufficed before any rollback, in the class that is watched.
    promoted: Vec<bool>,
    watched: u32,
    rolled_back: Option<usize>,
}

impl Ours {
    /// `history` holds, per zone, the intervals before the change.
    pub(crate) fn new(family: &Family, history: &[Vec<Report>]) -> Result<Self, JudgeError> {
        let mut config = JudgeConfig::new(vec![MetricSpec::new("errors", FaultClass::Own, 1.0)]);
        config.alpha = family.alpha;
        if let Some(phi) = family.phi {
            config.dispersion_default = phi;
            config.dispersion_after = u64::MAX;
        }
        if !family.transients {
            config.fresh_share = 0.0;
        }
        let zones = || 0..u32::try_from(family.zones).unwrap_or(u32::MAX);
        let topology = Topology {
            strata: zones()
                .map(|zone| StratumInfo {
                    app: 0,
                    classes: vec![zone],
                })
                .collect(),
            classes: zones().map(|zone| format!("zone={zone}")).collect(),
            apps: vec!["app".to_owned()],
        };
        let history: Vec<History> = zones()
            .zip(history)
            .map(|(stratum, reports)| {
                let mut counts = unattended::health::Counts::default();
                for report in reports {
                    counts.bad += report.control.bad;
                    counts.total += report.control.total;
                }
                History {
                    stratum,
                    metric: 0,
                    counts,
                    samples: reports.iter().map(|report| control_sample(stratum, report)).collect(),
                }
            })
            .collect();
        Ok(Self {
            judge: Judge::new(config, topology, &history)?,
            promoted: vec![false; family.stages.len()],
            watched: u32::try_from(family.bad_zone.unwrap_or(0)).unwrap_or(0),
            rolled_back: None,
        })
    }

    /// One interval of all zones; whether the change was rolled back by now.
    pub(crate) fn observe(&mut self, t: usize, stage: usize, begins: bool, zones: &[Report]) -> Result<bool, RowError> {
        if begins {
            self.judge.step_traffic();
            self.judge.restart_pooled_safety();
            for zone in 0..zones.len() {
                self.judge.restart_safety(u32::try_from(zone).unwrap_or(u32::MAX));
            }
        }
        let mut interval = Interval {
            index: u64::try_from(t).unwrap_or(u64::MAX),
            ..Interval::default()
        };
        for (stratum, report) in (0_u32..).zip(zones) {
            let row = |fresh, canary| Row {
                stratum,
                metric: 0,
                fresh,
                canary,
                control: report.control,
            };
            interval.rows.push(row(false, report.canary));
            if report.fresh.total > 0 {
                interval.rows.push(row(true, report.fresh));
            }
            add(&mut interval.canary_hosts, report.canary_coverage);
            add(&mut interval.control_hosts, report.control_coverage);
            interval.samples.push(control_sample(stratum, report));
            interval.samples.push(HostSample {
                stratum,
                metric: 0,
                arm: Arm::Canary,
                hosts: report.canary_hosts.clone(),
            });
        }
        self.judge.observe(&interval)?;
        if self.rolled_back.is_none() && self.judge.verdict() == Verdict::Rollback {
            self.rolled_back = Some(t);
        }
        if self.rolled_back.is_none() && self.judge.safety(self.watched).satisfied {
            self.promoted[stage] = true;
        }
        Ok(self.rolled_back.is_some())
    }

    pub(crate) fn outcome(self) -> (Option<usize>, Vec<bool>) {
        (self.rolled_back, self.promoted)
    }
}

fn control_sample(stratum: u32, report: &Report) -> HostSample {
    HostSample {
        stratum,
        metric: 0,
        arm: Arm::Control,
        hosts: report.control_hosts.clone(),
    }
}

const fn add(sum: &mut Coverage, more: Coverage) {
    sum.reported = sum.reported.saturating_add(more.reported);
    sum.expected = sum.expected.saturating_add(more.expected);
}
