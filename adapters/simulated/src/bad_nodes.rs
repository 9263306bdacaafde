//! What bad machines add to the counts, and whose the bad events are there.

use unattended_health::{Counts, HostCounts, HostSample, Interval};

use crate::draw::{Draw, Purpose, floor_to_u64, to_f64};
use crate::fleet::Fleet;
use crate::metrics::ERRORS;
use crate::population::{Arm, at, count};
use crate::weather::Weather;

/// One bad machine's part of an interval.
struct Bad {
    number: u32,
    stratum: u32,
    arm: Arm,
    requests: u64,
    episodes: u64,
}

impl Fleet {
    /// Adds the errors of bad machines to the rows, and says which hosts of the new version the errors of their strata are of. Answers how
    /// many there are, [canary, control].
    pub(crate) fn count_bad_nodes(&self, weather: &Weather, interval: &mut Interval) -> [u64; 2] {
        let mut added = [0; 2];
        let bad: Vec<Bad> = self
            .healing
            .bad
            .iter()
            .filter_map(|&number| self.bad_node(number, weather))
            .collect();
        for one in bad.iter().filter(|one| one.arm == Arm::Control) {
            let rows = interval.rows.iter_mut();
            for row in rows.filter(|row| (row.stratum, row.metric) == (one.stratum, ERRORS)) {
                row.control.bad = (row.control.bad + one.episodes).min(row.control.total);
            }
            added[1] += one.episodes;
        }
        let mut rows: Vec<(u32, bool)> = bad
            .iter()
            .filter(|one| one.arm != Arm::Control)
            .map(|one| (one.stratum, one.arm == Arm::Fresh))
            .collect();
        rows.sort_unstable();
        rows.dedup();
        for (stratum, fresh) in rows {
            let of =
                |row: &&mut unattended_health::Row| (row.stratum, row.metric, row.fresh) == (stratum, ERRORS, fresh);
            let Some(row) = interval.rows.iter_mut().find(of) else {
                continue;
            };
            let here: Vec<&Bad> = bad
                .iter()
                .filter(|one| one.stratum == stratum && (one.arm == Arm::Fresh) == fresh && one.arm != Arm::Control)
                .collect();
            let mut hosts = self.share_out(stratum, fresh, weather, row.canary);
            for one in here {
                let more = one.episodes.min(row.canary.total - row.canary.bad);
                row.canary.bad += more;
                added[0] += more;
                if let Some(host) = hosts.iter_mut().find(|host| host.host == one.number) {
                    host.total = host.total.max(one.requests);
                    host.distinct += more;
                    host.bad += more;
                    host.total = host.total.max(host.bad);
                }
            }
            hosts.retain(|host| host.distinct > 0);
            hosts.sort_by_key(|host| std::cmp::Reverse(host.distinct));
            hosts.truncate(unattended_health::MAX_SAMPLE_HOSTS);
            if !hosts.is_empty() {
                interval.samples.push(HostSample {
                    stratum,
                    metric: ERRORS,
                    arm: unattended_health::Arm::Canary,
                    fresh,
                    hosts,
                });
            }
        }
        added
    }

    /// What a bad machine adds; nothing where it is not counted.
    fn bad_node(&self, number: u32, weather: &Weather) -> Option<Bad> {
        let slot = self.slot(number);
        if slot.arm == Arm::Nowhere || weather.cut_off == Some(self.population.kind_of(slot).domain) {
            return None;
        }
        let stratum = &self.strata.list[at(slot.stratum)];
        let from_ms = match slot.arm {
            Arm::Fresh => slot.ready_at.max(slot.ingress_at).max(weather.start_ms),
            _ => weather.start_ms,
        };
        let seconds = to_f64(weather.end_ms.saturating_sub(from_ms)) * 1e-3;
        let heard = 1.0 - self.world.telemetry_loss;
        let requests = slot.rate() * seconds * self.load(stratum.app, weather) * heard;
        let p = self.population.apps[at(stratum.app)].error_rate * self.calm(stratum, weather).errors;
        let of = &weather.episodes;
        let more = of.per_request(p * self.world.bad_node_error_factor) - of.per_request(p);
        let keys = [weather.index, u64::from(number)];
        let episodes = Draw::new(self.seed, Purpose::BadNode, &keys).poisson(requests * more.max(0.0));
        let requests = floor_to_u64(requests + 0.5);
        Some(Bad {
            number,
            stratum: slot.stratum,
            arm: slot.arm,
            requests,
            episodes: episodes.min(requests),
        })
    }

    /// Shares the bad events of a row out over the hosts that it is of, by their traffic.
    fn share_out(&self, stratum: u32, fresh: bool, weather: &Weather, canary: Counts) -> Vec<HostCounts> {
        let is_of = |arm: Arm| {
            if fresh {
                arm == Arm::Fresh
            } else {
                matches!(arm, Arm::Clean | Arm::Faulty)
            }
        };
        let members: Vec<u32> = (0..count(self.population.slots.len()))
            .filter(|&number| self.slot(number).stratum == stratum && is_of(self.slot(number).arm))
            .collect();
        let rate = |number: u32| u64::from(self.slot(number).rate_micro);
        let all = members.iter().map(|&number| rate(number)).sum::<u64>().max(1);
        let share = |number: u32| floor_to_u64(to_f64(canary.total) * to_f64(rate(number)) / to_f64(all));
        let mut hosts: Vec<HostCounts> = members
            .iter()
            .map(|&host| HostCounts {
                host,
                level: 0,
                bad: 0,
                total: share(host),
                distinct: 0,
            })
            .collect();
        let keys = [weather.index, u64::from(stratum) << 1 | u64::from(fresh), 1];
        let mut draw = Draw::new(self.seed, Purpose::BadNode, &keys);
        for _ in 0..canary.bad {
            let mut left = draw.bits() % all;
            let hit = hosts.iter_mut().find(|host| {
                let own = rate(host.host);
                let here = left < own;
                left = left.saturating_sub(own);
                here
            });
            if let Some(host) = hit.filter(|host| host.bad < host.total) {
                host.bad += 1;
                host.distinct += 1;
            }
        }
        hosts
    }
}
