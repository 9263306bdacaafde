//! Hosts by number, and which of them should have reported.

use std::collections::BTreeMap;

use unattended::health::{Arm, Coverage, HostRecord};

use crate::table::{Entry, Span};

/// A host that reported is expected for so many further intervals.
const EXPECTED_FOR: usize = 30;

/// Everything remembered about hosts.
#[derive(Default)]
pub(crate) struct Hosts {
    numbers: BTreeMap<(usize, String), u32>,
    names: Vec<String>,
    /// Arm and interval of each host's last report, by number.
    last: BTreeMap<u32, (bool, usize)>,
}

impl Hosts {
    /// What the hosts of an interval counted.
    pub(crate) fn records(&mut self, span: &Span, warm_up_s: u64) -> Vec<HostRecord> {
        let mut records = Vec::new();
        for (&(stratum, metric), Entry { hosts, .. }) in &span.entries {
            for host in hosts {
                records.push(HostRecord {
                    stratum: u32::try_from(stratum).unwrap_or(u32::MAX),
                    metric: u8::try_from(metric).unwrap_or(u8::MAX),
                    arm: if host.canary { Arm::Canary } else { Arm::Control },
                    fresh: host.age_s.is_some_and(|age_s| age_s < warm_up_s),
                    host: self.number(stratum, &host.name),
                    bad: host.bad,
                    total: host.total,
                    distinct: host.distinct,
                });
            }
        }
        records
    }

    fn number(&mut self, stratum: usize, name: &str) -> u32 {
        if let Some(number) = self.numbers.get(&(stratum, name.to_owned())) {
            return *number;
        }
        let number = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        self.numbers.insert((stratum, name.to_owned()), number);
        self.names.push(name.to_owned());
        number
    }

    /// The name behind a number.
    pub(crate) fn name(&self, number: u32) -> &str {
        usize::try_from(number)
            .ok()
            .and_then(|number| self.names.get(number))
            .map_or("?", String::as_str)
    }

    /// Of the canary, then of the control: who reports in interval number `at`, of those who did not long ago.
    pub(crate) fn coverage(&mut self, at: usize, records: &[HostRecord]) -> (Coverage, Coverage) {
        for record in records {
            self.last.insert(record.host, (record.arm == Arm::Canary, at));
        }
        self.last.retain(|_, (_, seen)| at - *seen <= EXPECTED_FOR);
        let of = |canary: bool| {
            let arm = || self.last.values().filter(move |(arm, _)| *arm == canary);
            let count = |hosts: usize| u32::try_from(hosts).unwrap_or(u32::MAX);
            let reported = count(arm().filter(|(_, seen)| *seen == at).count());
            Coverage {
                reported,
                // An arm from which nobody has been heard is silent.
                expected: count(arm().count()).max(1),
            }
        };
        (of(true), of(false))
    }
}
