//! How much one host may add to the evidence against a change.
//!
//! Evidence only ever falls when events of the canary are taken out: each is worth ln r − ln((1 − ρ + ρ r)/…) ≥ 0 at every
//! ratio. So whatever rule takes them out, the expectation stays at most 1. The rule here: the strongest host of a process
//! may lead the next one by [`LEAD`] events, what it has beyond is withheld until others follow. A single bad node then
//! says no more than two events do, and where the change is at fault, many hosts have events and nothing is lost.

use crate::evidence::GridVector;
use crate::row::to_f64;

/// Hosts that are remembered per process.
pub(crate) const KEPT: usize = 24;

/// Bad events by which the strongest host may lead the next one.
pub(crate) const LEAD: u32 = 2;

/// A host of the canary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct HostKey {
    pub(crate) stratum: u32,
    pub(crate) host: u32,
}

/// A host and its bad events since the last traffic step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Strong {
    pub(crate) key: HostKey,
    pub(crate) events: u32,
}

/// The strongest hosts of one process, by the summary of Misra and Gries (1982): of N events in all, each number is at most
/// N/([`KEPT`] + 1) too small and none too large. So of a host that is clipped at most 4 % of all events may slip back, and
/// no ratio of the grid is as near to 1 as that.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Influence {
    pub(crate) hosts: Vec<Strong>,
    /// Bad events of all hosts, and their evidence: what an event is worth on average. Taking out the average in place of
    /// the host's own is as valid, and saves six numbers a host.
    pub(crate) events: f64,
    pub(crate) evidence: GridVector,
}

impl Influence {
    /// A host had so many bad events, each with this evidence.
    pub(crate) fn add(&mut self, key: HostKey, events: u64, event: &GridVector) {
        let count = to_f64(events);
        self.events += count;
        for (sum, event) in self.evidence.iter_mut().zip(event) {
            *sum += count * event;
        }
        let mut events = u32::try_from(events).unwrap_or(u32::MAX);
        if let Some(known) = self.hosts.iter_mut().find(|known| known.key == key) {
            known.events = known.events.saturating_add(events);
            return;
        }
        if self.hosts.len() == KEPT {
            let least = self.hosts.iter().map(|known| known.events).fold(events, u32::min);
            for known in &mut self.hosts {
                known.events -= least;
            }
            self.hosts.retain(|known| known.events > 0);
            events -= least;
        }
        if events > 0 && self.hosts.len() < KEPT {
            self.hosts.push(Strong { key, events });
        }
    }

    /// The strongest host; of equals, the first by number.
    pub(crate) fn strongest(&self) -> Option<Strong> {
        self.hosts
            .iter()
            .max_by(|a, b| a.events.cmp(&b.events).then(b.key.cmp(&a.key)))
            .copied()
    }

    /// What so many events are worth.
    pub(crate) fn worth(&self, events: u32) -> GridVector {
        let share = (f64::from(events) / self.events).min(1.0);
        self.evidence.map(|sum| sum * share)
    }

    /// Bad events of the strongest host but this one.
    fn next_to(&self, strongest: Strong) -> u32 {
        let others = self.hosts.iter().filter(|known| known.key != strongest.key);
        others.map(|known| known.events).fold(0, u32::max)
    }

    /// Whether the strongest host has more than twice as many bad events as the next, and [`LEAD`] on top: more than chance
    /// does among hosts that are alike.
    pub(crate) fn stands_out(&self) -> bool {
        let far = |strongest: Strong| self.next_to(strongest).saturating_mul(2).saturating_add(LEAD);
        self.strongest()
            .is_some_and(|strongest| strongest.events > far(strongest))
    }

    /// The evidence of the strongest host's lead beyond what it may have; nothing while its lead is small.
    pub(crate) fn withheld(&self) -> Option<GridVector> {
        let strongest = self.strongest()?;
        let next = self.next_to(strongest);
        let beyond = strongest.events.saturating_sub(next.saturating_add(LEAD));
        (beyond > 0).then(|| self.worth(beyond))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(host: u32) -> HostKey {
        HostKey { stratum: 0, host }
    }

    fn of(events: &[(u32, u64)]) -> Influence {
        let mut influence = Influence::default();
        for (number, count) in events {
            influence.add(host(*number), *count, &[0.5; 6]);
        }
        influence
    }

    #[test]
    fn the_lead_beyond_two_events_is_withheld_until_others_follow() {
        assert_eq!(of(&[(1, 2)]).withheld(), None);
        assert_eq!(of(&[(1, 10)]).withheld(), Some([4.0; 6]));
        assert_eq!(of(&[(1, 10), (2, 5)]).withheld(), Some([1.5; 6]));
        assert_eq!(of(&[(1, 10), (2, 5), (2, 3)]).withheld(), None);
        assert!(of(&[(1, 13), (2, 5)]).stands_out() && !of(&[(1, 12), (2, 5)]).stands_out());
        assert_eq!(of(&[(7, 3), (4, 3)]).strongest().map(|one| one.key.host), Some(4));
        assert_eq!(
            of(&[(1, u64::MAX), (1, u64::MAX)]).strongest().map(|one| one.events),
            Some(u32::MAX)
        );
    }

    #[test]
    fn of_a_leader_little_slips_back_among_any_number_of_small_hosts() {
        let mut influence = of(&[(1, 50)]);
        for number in 10..210 {
            influence.add(host(number), 1, &[0.5; 6]);
        }
        let left = influence.strongest().unwrap();
        assert!(
            left.key == host(1) && left.events >= 50 - 250 / 25 && influence.hosts.len() <= KEPT,
            "{left:?}"
        );
        assert!(influence.withheld().unwrap()[0] >= 0.5 * f64::from(left.events - 1 - LEAD));
    }
}
