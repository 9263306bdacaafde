//! Asking before acting: probes of a node by reporters that have nothing to do with each other.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::ids::{HostId, NodeId, ZoneId};
use super::mix;
use super::votes::{LANES, Scale, best, widen};

/// A request to one reporter to call one node several times, beside its traffic.
///
/// The answer, [`Event::Probed`](super::Event::Probed), must come from that reporter within the time; what does not come
/// is neither good nor bad. A call that is not answered in time is a bad one, and whoever has seen three of them may stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ProbeOrder {
    /// The number of the order; the answer names it.
    pub id: u64,
    /// Who is to call.
    pub by: NodeId,
    /// Whom.
    pub target: NodeId,
    /// How often: enough that a node which fails as often as this one is accused of does so once, nineteen times of
    /// twenty.
    pub calls: u32,
    /// How long all calls together may take, in milliseconds.
    pub within_ms: u64,
}

/// How often a node must be called, by the lane it is accused in.
const CALLS: [u32; LANES] = [29, 11, 5, 3];

pub(crate) const fn calls(lane: usize) -> u32 {
    CALLS[lane]
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Asked {
    id: u64,
    by: NodeId,
    zone: ZoneId,
    /// Good and bad answers.
    answer: Option<(u32, u32)>,
}

/// Probes that are judged together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Round {
    asked: Vec<Asked>,
    calls: u32,
    deadline_ms: u64,
}

/// What a round says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Said {
    /// Not all have answered, and there is time.
    Pending,
    /// All saw it fail.
    Ill,
    /// All saw it answer every time.
    Well,
    /// It fails from this zone and not from another.
    IllFrom(ZoneId),
    /// Somebody did not answer in time, or did not call as often as asked.
    Unknown,
}

/// Somebody who could probe.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Prober {
    pub(crate) node: NodeId,
    pub(crate) host: HostId,
    pub(crate) zone: ZoneId,
    /// Has seen the node fail.
    pub(crate) accuses: bool,
}

impl Round {
    /// Asks two of these, in different zones if there are such, on different hosts at least, and one that has not seen
    /// the node fail before others if `doubt`. `None` if nobody can be asked so. `salt` makes another round ask others.
    pub(crate) fn ask(
        probers: impl Iterator<Item = Prober>,
        (target, calls, doubt): (NodeId, u32, bool),
        (seed, salt): (u64, u64),
        (now_ms, within_ms): (u64, u64),
        next_id: &mut u64,
    ) -> Option<(Self, Vec<ProbeOrder>)> {
        let key = |p: &Prober| {
            (
                mix::word(seed, salt ^ (u64::from(target.0) << 32), u64::from(p.node.0)),
                p.node,
            )
        };
        let candidates: Vec<Prober> = probers.filter(|prober| prober.node != target).collect();
        let first = *candidates
            .iter()
            .min_by_key(|prober| (doubt && prober.accuses, key(prober)))?;
        let others = || candidates.iter().filter(|prober| prober.host != first.host);
        let second = others()
            .filter(|prober| prober.zone != first.zone)
            .min_by_key(|prober| key(prober))
            .or_else(|| others().min_by_key(|prober| key(prober)))?;
        let mut asked = Vec::new();
        let mut orders = Vec::new();
        for prober in [&first, second] {
            let id = *next_id;
            *next_id += 1;
            asked.push(Asked {
                id,
                by: prober.node,
                zone: prober.zone,
                answer: None,
            });
            orders.push(ProbeOrder {
                id,
                by: prober.node,
                target,
                calls,
                within_ms,
            });
        }
        let round = Self {
            asked,
            calls,
            deadline_ms: now_ms.saturating_add(within_ms),
        };
        Some((round, orders))
    }

    /// Takes an answer; `false` if nobody of this name was asked this, or it was answered before.
    pub(crate) fn answer(&mut self, by: NodeId, id: u64, good: u32, bad: u32) -> bool {
        let asked = self
            .asked
            .iter_mut()
            .find(|asked| asked.id == id && asked.by == by && asked.answer.is_none());
        asked.is_some_and(|asked| {
            asked.answer = Some((good.min(self.calls), bad.min(self.calls)));
            true
        })
    }

    /// How many of those who answered saw it fail, and how many did not.
    pub(crate) fn tally(&self, scale: &Scale) -> (u32, u32) {
        let (mut ill, mut well) = (0, 0);
        for asked in &self.asked {
            match asked.answer.map(|answer| answered(answer, self.calls, scale)) {
                Some(Some(true)) => ill += 1,
                Some(Some(false)) => well += 1,
                _ => {}
            }
        }
        (ill, well)
    }

    pub(crate) fn said(&self, scale: &Scale, now_ms: u64) -> Said {
        let mut ill = BTreeSet::new();
        let mut well = 0;
        for asked in &self.asked {
            match asked.answer.map(|answer| answered(answer, self.calls, scale)) {
                Some(Some(true)) => drop(ill.insert((asked.zone, asked.id))),
                Some(Some(false)) => well += 1,
                Some(None) => {}
                None if now_ms < self.deadline_ms => return Said::Pending,
                None => {}
            }
        }
        let all = self.asked.len();
        match (ill.len(), well, ill.first()) {
            (ill, 0, _) if ill == all => Said::Ill,
            (0, well, _) if well == all => Said::Well,
            (1, 1, Some((zone, _))) => Said::IllFrom(*zone),
            _ => Said::Unknown,
        }
    }
}

/// Whether good and bad answers show a node to be ill or well, if either.
fn answered((good, bad): (u32, u32), calls: u32, scale: &Scale) -> Option<bool> {
    #[expect(clippy::cast_precision_loss, reason = "at most 29 calls")]
    let score = best(&widen(&scale.votes(good as f32, bad as f32, f32::MAX))).1;
    match bad {
        0 => (good >= calls).then_some(false),
        _ => (score > 0.0).then_some(true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prober(node: u32, zone: u32) -> Prober {
        Prober {
            node: NodeId(node),
            host: HostId(node),
            zone: ZoneId(zone),
            accuses: node != 4,
        }
    }

    fn round(probers: &[Prober], salt: u64) -> Option<(Round, Vec<ProbeOrder>)> {
        Round::ask(
            probers.iter().copied(),
            (NodeId(0), 5, false),
            (9, salt),
            (1_000, 500),
            &mut 1,
        )
    }

    #[test]
    fn two_are_asked_in_zones_of_their_own_and_never_the_node_itself() {
        let probers = [prober(0, 0), prober(1, 1), prober(2, 1), prober(3, 1), prober(4, 2)];
        let mut firsts = BTreeSet::new();
        for salt in 0..40 {
            let (_, orders) = round(&probers, salt).unwrap();
            let zones: BTreeSet<u32> = orders.iter().map(|o| probers[o.by.0 as usize].zone.0).collect();
            assert_eq!((orders.len(), zones.len()), (2, 2));
            assert!(orders.iter().all(|order| order.by != NodeId(0)));
            firsts.insert(orders[0].by);
        }
        assert!(firsts.len() > 2, "other rounds ask others");
        assert!(round(&probers[..2], 0).is_none(), "one alone is not asked");
        let doubtful = |salt| {
            Round::ask(
                probers.iter().copied(),
                (NodeId(0), 5, true),
                (9, salt),
                (0, 500),
                &mut 1,
            )
            .unwrap()
        };
        assert!(
            (0..40).all(|salt| doubtful(salt).1[0].by == NodeId(4)),
            "who has not seen it fail comes first"
        );
    }

    #[test]
    fn a_round_is_ill_or_well_only_if_all_say_so() {
        let scale = Scale::new(0.005, 1e6);
        let probers = [prober(1, 1), prober(2, 2)];
        let judge = |answers: [Option<(u32, u32)>; 2], now_ms| {
            let (mut round, orders) = round(&probers, 0).unwrap();
            for (order, answer) in orders.iter().zip(answers) {
                if let Some((good, bad)) = answer {
                    assert!(round.answer(order.by, order.id, good, bad));
                    assert!(!round.answer(order.by, order.id, good, bad), "once");
                }
            }
            let said = round.said(&scale, now_ms);
            match said {
                Said::IllFrom(zone) => (
                    Said::IllFrom(ZoneId(0)),
                    Some(zone) == orders.first().map(|o| ZoneId(o.by.0)),
                ),
                said => (said, true),
            }
        };
        assert_eq!(judge([Some((0, 5)), Some((4, 1))], 0).0, Said::Ill);
        assert_eq!(judge([Some((5, 0)), Some((5, 0))], 0).0, Said::Well);
        assert_eq!(judge([Some((0, 5)), Some((5, 0))], 0), (Said::IllFrom(ZoneId(0)), true));
        assert_eq!(judge([Some((0, 5)), None], 1_499).0, Said::Pending);
        assert_eq!(judge([Some((0, 5)), None], 1_500).0, Said::Unknown);
        assert_eq!(
            judge([Some((5, 0)), Some((0, 0))], 0).0,
            Said::Unknown,
            "a probe that called nobody"
        );
        assert_eq!(judge([Some((5, 0)), Some((4, 0))], 0).0, Said::Unknown, "or too seldom");
    }
}
