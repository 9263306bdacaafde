//! What bad machines add to the counts, whose the bad events are there, and how such machines are told from others.
//!
//! Nobody simulates single requests, so a row's bad events are shared out over its hosts afterwards, by their traffic. A machine whose
//! trouble showed in the week before is counted in a row of its own, beside machines of the other arm that were as bad.

use std::collections::BTreeMap;

use unattended_health::{Counts, HostCounts, HostSample, Interval, Row, lasting_level};

use crate::World;
use crate::draw::{Draw, Purpose, floor_to_u64, to_f64};
use crate::exposure::Episodes;
use crate::fleet::Fleet;
use crate::history::SECONDS;
use crate::metrics::ERRORS;
use crate::population::{Arm, Population, at, count};
use crate::weather::Weather;

/// The machines that are bad, with the level of each by what it had in the week before.
pub(crate) fn of(world: &World, seed: u64, interval_ms: u64, population: &Population) -> BTreeMap<u32, u8> {
    if world.bad_node_share <= 0.0 {
        return BTreeMap::new();
    }
    let of = Episodes::new(world, to_f64(interval_ms) * 1e-3);
    let level = |number: u32| {
        let slot = &population.slots[at(number)];
        let p = population.apps[at(population.kind_of(slot).app_index)].error_rate;
        let requests = slot.rate() * SECONDS;
        let mean = requests * of.per_request(p * world.bad_node_error_factor);
        let had = Draw::new(seed, Purpose::BadNode, &[u64::from(number), 0, 2]).poisson(mean);
        lasting_level(had, requests * of.per_request(p))
    };
    (0..count(population.slots.len()))
        .filter(|number| Draw::new(seed, Purpose::BadNode, &[u64::from(*number)]).chance(world.bad_node_share))
        .map(|number| (number, level(number)))
        .collect()
}

/// A member of a row's arm.
struct Host {
    counts: HostCounts,
    /// Of its bad events those that are its machine's.
    more: u64,
}

/// The members of a stratum, by arm.
#[derive(Default)]
struct Members {
    control: Vec<u32>,
    warm: Vec<u32>,
    fresh: Vec<u32>,
}

impl Fleet {
    /// Adds the errors of bad machines to the rows, divides these by level, and says which hosts of the new version the errors of their
    /// strata are of. Answers how many there are, [canary, control].
    pub(crate) fn count_bad_nodes(&self, weather: &Weather, interval: &mut Interval) -> [u64; 2] {
        let mut added = [0; 2];
        let mut levels: Vec<Row> = Vec::new();
        for (stratum, members) in self.beside_bad_nodes(weather) {
            let before = interval
                .rows
                .partition_point(|row| (row.stratum, row.metric) < (stratum, ERRORS));
            let mut controls: Option<Vec<Host>> = None;
            for row in &mut interval.rows[before..] {
                if (row.stratum, row.metric) != (stratum, ERRORS) {
                    break;
                }
                let controls = controls.get_or_insert_with(|| {
                    let hosts = self.share_out(weather, stratum, Arm::Control, &members.control, row.control);
                    added[1] += hosts.iter().map(|host| host.more).sum::<u64>();
                    hosts
                });
                let (arm, members) = if row.fresh {
                    (Arm::Fresh, &members.fresh)
                } else {
                    (Arm::Clean, &members.warm)
                };
                let canaries = self.share_out(weather, stratum, arm, members, row.canary);
                added[0] += canaries.iter().map(|host| host.more).sum::<u64>();
                levels.extend(divide(row, &canaries, controls));
                if canaries
                    .iter()
                    .any(|host| self.healing.bad.contains_key(&host.counts.host))
                {
                    interval.samples.extend(strongest(row, canaries));
                }
            }
        }
        if !levels.is_empty() {
            interval.rows.append(&mut levels);
            // As the judge wants them. The rows are in order but for those at the end.
            interval
                .rows
                .sort_by_key(|row| (row.stratum, row.metric, row.fresh, row.level));
        }
        added
    }

    /// The counted members of all strata in which a machine is bad.
    fn beside_bad_nodes(&self, weather: &Weather) -> BTreeMap<u32, Members> {
        let mut strata: BTreeMap<u32, Members> = BTreeMap::new();
        for &number in self.healing.bad.keys() {
            let slot = self.slot(number);
            if slot.arm != Arm::Nowhere && weather.cut_off != Some(self.population.kind_of(slot).domain) {
                strata.entry(slot.stratum).or_default();
            }
        }
        if strata.is_empty() {
            return strata;
        }
        for number in 0..count(self.population.slots.len()) {
            let slot = self.slot(number);
            if let Some(members) = strata.get_mut(&slot.stratum) {
                match slot.arm {
                    Arm::Nowhere => {}
                    Arm::Control => members.control.push(number),
                    Arm::Clean | Arm::Faulty => members.warm.push(number),
                    Arm::Fresh => members.fresh.push(number),
                }
            }
        }
        strata
    }

    /// Shares the bad events of an arm of a row out over its hosts, by their traffic, and adds what bad machines have besides.
    fn share_out(&self, weather: &Weather, stratum: u32, arm: Arm, members: &[u32], counts: Counts) -> Vec<Host> {
        let rate = |number: u32| u64::from(self.slot(number).rate_micro);
        let all = members.iter().map(|&number| rate(number)).sum::<u64>().max(1);
        let keys = [weather.index, u64::from(stratum) << 2 | arm as u64, 1];
        let mut draw = Draw::new(self.seed, Purpose::BadNode, &keys);
        // Host by host, each its share of what is left.
        let (mut events, mut others) = (counts.bad, all);
        let mut hosts: Vec<Host> = members
            .iter()
            .map(|&host| {
                let total = floor_to_u64(to_f64(counts.total) * to_f64(rate(host)) / to_f64(all));
                let share = to_f64(rate(host)) / to_f64(others.max(1));
                let distinct = draw.binomial(events, share).min(total);
                events -= distinct;
                others -= rate(host);
                let counts = HostCounts {
                    host,
                    level: self.healing.bad.get(&host).copied().unwrap_or(0),
                    total,
                    distinct,
                    bad: 0,
                };
                Host { counts, more: 0 }
            })
            .collect();
        // What is rounded away of the others' exposure is no bad machine's.
        let room = counts.total - counts.bad;
        let mut added = 0;
        for host in &mut hosts {
            if self.healing.bad.contains_key(&host.counts.host) {
                let free = host.counts.total - host.counts.distinct;
                host.more = self.more(host.counts.host, weather).min(free).min(room - added);
                host.counts.distinct += host.more;
                added += host.more;
            }
            host.counts.bad = host.counts.distinct;
        }
        hosts
    }

    /// The episodes that a bad machine has besides those that its traffic has anywhere.
    fn more(&self, number: u32, weather: &Weather) -> u64 {
        let slot = self.slot(number);
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
        Draw::new(self.seed, Purpose::BadNode, &keys).poisson(requests * more.max(0.0))
    }
}

/// One of the arms of a row.
type ArmOf = fn(&mut Row) -> &mut Counts;

/// Leaves the hosts of level 0 in the row, and answers the rows of the other levels.
fn divide(row: &mut Row, canaries: &[Host], controls: &[Host]) -> Vec<Row> {
    let mut levels: BTreeMap<u8, Row> = BTreeMap::new();
    let none = Row {
        canary: Counts::default(),
        control: Counts::default(),
        ..*row
    };
    let (canary, control): (ArmOf, ArmOf) = (|row| &mut row.canary, |row| &mut row.control);
    for (hosts, arm) in [(canaries, canary), (controls, control)] {
        for Host { counts, more } in hosts {
            arm(row).bad += more;
            if counts.level > 0 {
                arm(row).bad -= counts.distinct;
                arm(row).total -= counts.total;
                let level = counts.level;
                let of_level = arm(levels.entry(level).or_insert(Row { level, ..none }));
                of_level.bad += counts.distinct;
                of_level.total += counts.total;
            }
        }
    }
    levels.into_values().collect()
}

/// The hosts of the new version with most bad events.
fn strongest(row: &Row, canaries: Vec<Host>) -> Option<HostSample> {
    let mut hosts: Vec<HostCounts> = canaries
        .into_iter()
        .map(|host| host.counts)
        .filter(|host| host.distinct > 0)
        .collect();
    hosts.sort_by_key(|host| std::cmp::Reverse(host.distinct));
    hosts.truncate(unattended_health::MAX_SAMPLE_HOSTS);
    (!hosts.is_empty()).then_some(HostSample {
        stratum: row.stratum,
        metric: ERRORS,
        arm: unattended_health::Arm::Canary,
        fresh: row.fresh,
        hosts,
    })
}
