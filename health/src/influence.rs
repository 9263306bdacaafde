//! How much one host may add to the evidence against a change.
//!
//! Evidence only ever falls when events of the canary are taken out: each is worth ln r − ln((1 − ρ + ρ r)/…) ≥ 0 at every
//! ratio. So whatever rule takes them out, the expectation stays at most 1. The rule here: the strongest host of a process
//! may lead the next one by [`LEAD`] events, what it has beyond is withheld until others follow. A single bad node then
//! says no more than two events do, and where the change is at fault, many hosts have events and nothing is lost.

use crate::evidence::GridVector;

/// Hosts that are remembered per process.
pub(crate) const KEPT: usize = 4;

/// Bad events by which the strongest host may lead the next one.
pub(crate) const LEAD: f64 = 2.0;

/// A host of the canary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct HostKey {
    pub(crate) stratum: u32,
    pub(crate) host: u32,
}

/// What one host has added since the last traffic step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Strong {
    pub(crate) key: HostKey,
    pub(crate) events: f64,
    pub(crate) evidence: GridVector,
}

/// The strongest hosts of one process, by the summary of Misra and Gries (1982): of N events in all, each of its numbers
/// is at most N/([`KEPT`] + 1) too small and none too large, and the differences between those kept are right.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Influence(pub(crate) Vec<Strong>);

impl Influence {
    /// A host had so many bad events, each with this evidence.
    pub(crate) fn add(&mut self, key: HostKey, mut events: f64, event: &GridVector) {
        if let Some(known) = self.0.iter_mut().find(|known| known.key == key) {
            known.events += events;
            for (sum, event) in known.evidence.iter_mut().zip(event) {
                *sum += events * event;
            }
            return;
        }
        if self.0.len() == KEPT {
            let least = self.0.iter().map(|known| known.events).fold(events, f64::min);
            for known in &mut self.0 {
                let left = (known.events - least) / known.events;
                known.events -= least;
                known.evidence = known.evidence.map(|sum| sum * left);
            }
            self.0.retain(|known| known.events > 0.0);
            events -= least;
        }
        if events > 0.0 && self.0.len() < KEPT {
            let evidence = event.map(|event| events * event);
            self.0.push(Strong { key, events, evidence });
        }
    }

    /// The strongest host; of equals, the first by number.
    pub(crate) fn strongest(&self) -> Option<&Strong> {
        self.0
            .iter()
            .max_by(|a, b| a.events.total_cmp(&b.events).then(b.key.cmp(&a.key)))
    }

    /// The evidence of the strongest host's lead beyond what it may have; nothing while its lead is small.
    pub(crate) fn withheld(&self) -> Option<GridVector> {
        let strongest = self.strongest()?;
        let others = self.0.iter().filter(|known| known.key != strongest.key);
        let next = others.map(|known| known.events).fold(0.0, f64::max);
        let beyond = strongest.events - next - LEAD;
        (beyond > 0.0).then(|| {
            let share = beyond / strongest.events;
            strongest.evidence.map(|sum| sum * share)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(host: u32) -> HostKey {
        HostKey { stratum: 0, host }
    }

    fn of(events: &[(u32, f64)]) -> Influence {
        let mut influence = Influence::default();
        for (number, count) in events {
            influence.add(host(*number), *count, &[0.5; 6]);
        }
        influence
    }

    #[test]
    fn the_lead_beyond_two_events_is_withheld_until_others_follow() {
        assert_eq!(of(&[(1, 2.0)]).withheld(), None);
        assert_eq!(of(&[(1, 10.0)]).withheld(), Some([4.0; 6]));
        assert_eq!(of(&[(1, 10.0), (2, 5.0)]).withheld(), Some([1.5; 6]));
        assert_eq!(of(&[(1, 10.0), (2, 5.0), (2, 3.0)]).withheld(), None);
        assert_eq!(of(&[(7, 3.0), (4, 3.0)]).strongest().map(|one| one.key.host), Some(4));
    }

    #[test]
    fn differences_between_the_strongest_survive_any_number_of_small_hosts() {
        let mut influence = of(&[(1, 50.0), (2, 40.0)]);
        for number in 10..90 {
            influence.add(host(number), 1.0, &[0.5; 6]);
        }
        let [first, second] = [1, 2].map(|n| influence.0.iter().find(|known| known.key == host(n)).unwrap().events);
        assert!((first - second - 10.0).abs() < 1e-9 && first <= 50.0);
        assert!(first >= 50.0 - 170.0 / 5.0, "{first}: at most N/(k + 1) is lost");
        assert!((influence.withheld().unwrap()[0] - 8.0 * 0.5).abs() < 1e-9);
    }
}
