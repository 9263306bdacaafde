//! Our judge, as a controller feeds it.

use unattended::health::{
    Arm, Counts, Coverage, FaultClass, History, HostCounts, HostRecord, HostRows, HostSample, Interval, Judge,
    JudgeConfig, MAX_SAMPLE_HOSTS, MetricSpec, Row, StratumInfo, Topology, Verdict,
};

use crate::family::Family;
use crate::world::Report;

/// One release before our judge.
pub(crate) struct Ours {
    judge: Judge,
    /// Makes rows where hosts are told apart.
    hosts: Option<HostRows>,
    /// Stages in which evidence of safety sufficed before any rollback, in the class that is watched.
    promoted: Vec<bool>,
    watched: u32,
    rolled_back: Option<usize>,
}

impl Ours {
    /// `history` holds, per zone, the intervals before the change.
    pub(crate) fn new(family: &Family, history: &[Vec<Report>]) -> Result<Self, String> {
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
        let mut hosts = family.per_host().then(HostRows::new);
        let mut entries = Vec::new();
        for (stratum, reports) in zones().zip(history) {
            let mut entry = History {
                stratum,
                metric: 0,
                counts: Counts::default(),
                samples: Vec::new(),
                signatures: Vec::new(),
            };
            for report in reports {
                entry.counts.bad += report.control.bad;
                entry.counts.total += report.control.total;
                match &mut hosts {
                    Some(hosts) => entry
                        .samples
                        .extend(hosts.learn(&report.hosts).map_err(|error| error.to_string())?),
                    None => entry.samples.push(sample(stratum, report)),
                }
            }
            entries.push(entry);
        }
        let judge = Judge::new(config, topology, &entries).map_err(|error| error.to_string())?;
        Ok(Self {
            judge,
            hosts,
            promoted: vec![false; family.stages.len()],
            watched: u32::try_from(family.bad_zone.unwrap_or(0)).unwrap_or(0),
            rolled_back: None,
        })
    }

    /// One interval of all zones; whether the change was rolled back by now.
    pub(crate) fn observe(&mut self, t: usize, stage: usize, begins: bool, zones: &[Report]) -> Result<bool, String> {
        if begins {
            self.judge.step_traffic();
            self.judge.restart_pooled_safety();
            for zone in 0..zones.len() {
                self.judge.restart_safety(u32::try_from(zone).unwrap_or(u32::MAX));
            }
        }
        let index = u64::try_from(t).unwrap_or(u64::MAX);
        let mut interval = match &mut self.hosts {
            Some(hosts) => {
                let records: Vec<HostRecord> = zones.iter().flat_map(|zone| zone.hosts.iter().copied()).collect();
                hosts.interval(index, &records).map_err(|error| error.to_string())?
            }
            None => summed(index, zones),
        };
        (interval.canary_hosts, interval.control_hosts) = Default::default();
        for zone in zones {
            add(&mut interval.canary_hosts, zone.canary_coverage);
            add(&mut interval.control_hosts, zone.control_coverage);
        }
        self.judge.observe(&interval).map_err(|error| error.to_string())?;
        if self.rolled_back.is_none() && matches!(self.judge.verdict(), Verdict::Rollback) {
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

/// Rows over all hosts.
fn summed(index: u64, zones: &[Report]) -> Interval {
    let mut interval = Interval {
        index,
        ..Interval::default()
    };
    for (stratum, report) in (0_u32..).zip(zones) {
        interval.rows.push(Row {
            stratum,
            metric: 0,
            fresh: false,
            level: 0,
            canary: report.canary,
            control: report.control,
            missing: report.sent - report.canary.total,
        });
        interval.samples.push(sample(stratum, report));
    }
    interval
}

/// Control hosts one by one, the same ones each time.
fn sample(stratum: u32, report: &Report) -> HostSample {
    let control = report.hosts.iter().rev().filter(|host| host.arm == Arm::Control);
    let counts = |host: &HostRecord| HostCounts {
        host: host.host,
        level: 0,
        bad: host.bad,
        total: host.total,
        distinct: host.distinct,
    };
    HostSample {
        stratum,
        metric: 0,
        arm: Arm::Control,
        fresh: false,
        hosts: control.take(MAX_SAMPLE_HOSTS).map(counts).collect(),
    }
}

const fn add(sum: &mut Coverage, more: Coverage) {
    sum.reported = sum.reported.saturating_add(more.reported);
    sum.expected = sum.expected.saturating_add(more.expected);
}
