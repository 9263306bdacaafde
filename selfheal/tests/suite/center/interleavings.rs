//! Whatever happens in whatever order: what must hold, holds.

use std::collections::BTreeMap;

use proptest::prelude::*;
use unattended_selfheal::{
    Bulletin, Center, CenterSettings, Command, Epoch, Event, HealOutcome, NodeId, Report, RouteId, Seen,
};

use super::world::member;

#[derive(Debug, Clone)]
enum Act {
    Report {
        sender: u32,
        target: u32,
        total: u32,
        failed: u32,
        route: u32,
    },
    Storm {
        target: u32,
    },
    Tick {
        ms: u64,
    },
    Probed {
        place: usize,
        good: u32,
        bad: u32,
    },
    Healed {
        order: u64,
        done: bool,
    },
    Left(u32),
    Joined(u32),
    Changed(u32),
    Ended,
    Readmit(u32),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (0_u32..8, 100_u32..106, 0_u32..50, 0_u32..50, 0_u32..3)
            .prop_map(|(sender, target, total, failed, route)| Act::Report { sender, target, total, failed, route }),
        3 => (100_u32..106).prop_map(|target| Act::Storm { target }),
        6 => prop_oneof![Just(250), Just(0), 1_u64..20_000].prop_map(|ms| Act::Tick { ms }),
        4 => (0_usize..8, 0_u32..30, 0_u32..30).prop_map(|(place, good, bad)| Act::Probed { place, good, bad }),
        1 => (0_u64..60, any::<bool>()).prop_map(|(order, done)| Act::Healed { order, done }),
        1 => prop_oneof![0_u32..8, 100_u32..106].prop_map(Act::Left),
        2 => prop_oneof![0_u32..8, 100_u32..106].prop_map(Act::Joined),
        1 => (100_u32..106).prop_map(Act::Changed),
        1 => Just(Act::Ended),
        1 => (100_u32..106).prop_map(Act::Readmit),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn caps_epochs_and_leases_hold(acts in prop::collection::vec(act(), 1..150), seed in any::<u64>()) {
        let settings = CenterSettings { seed, isolation_ms: 1_000, stage_patience_ms: 1_000, ..CenterSettings::default() };
        let mut center = Center::new(settings, 3).unwrap();
        let mut members: BTreeMap<u32, bool> = BTreeMap::new();
        for node in (0..8).chain(100..106) {
            center.on(member(node, (node >= 100).then_some(1))).unwrap();
            members.insert(node, true);
        }
        let mut numbers: BTreeMap<u32, u64> = BTreeMap::new();
        let mut asked: Vec<(NodeId, u64)> = Vec::new();
        let (mut now_ms, mut last) = (0_u64, Epoch::default());
        let mut out_before = 0;
        for act in acts {
            let mut report = |center: &mut Center, sender: u32, seen: Vec<Seen>| {
                let number = numbers.entry(sender).or_default();
                *number += 1;
                let report = Report { epoch: 1, sequence: *number, seen };
                let known = members[&sender];
                assert_eq!(center.on(Event::Report { sender: NodeId(sender), report }).is_ok(), known);
            };
            let seen = |target, total, failed, route| Seen { target: NodeId(target), route: RouteId(route), total, failed, slow: 0 };
            match act {
                Act::Report { sender, target, total, failed, route } => {
                    report(&mut center, sender, vec![seen(target, total, failed.min(total), route)]);
                }
                // Everybody sees one fail, and the others answer.
                Act::Storm { target } => for sender in 0..8 {
                    if members[&sender] {
                        let all = (100..106).map(|t| seen(t, 20, if t == target { 20 } else { 0 }, 0)).collect();
                        report(&mut center, sender, all);
                    }
                },
                Act::Tick { ms } => {
                    now_ms += ms;
                    let commands = center.tick(now_ms);
                    let Some(Command::Publish(bulletin)) = commands.last() else { panic!("no bulletin") };
                    prop_assert_eq!(commands.iter().filter(|c| matches!(c, Command::Publish(_))).count(), 1);
                    prop_assert!(bulletin.epoch > last, "epochs grow");
                    last = bulletin.epoch;
                    prop_assert_eq!(bulletin.lease_ms, 750);
                    prop_assert!(bulletin.isolations.windows(2).all(|two| two[0].node < two[1].node), "sorted, each once");
                    let servers = members.iter().filter(|(node, here)| **node >= 100 && **here).count();
                    let out = bulletin.isolations.len();
                    // Those that leave later do not bring anybody back, but nobody is added beyond the cap.
                    prop_assert!(out <= out_before.max(servers / 2), "{} of {}", out, servers);
                    out_before = out;
                    prop_assert!(bulletin.isolations.iter().all(|i| members[&i.node.0]), "only members");
                    prop_assert_eq!(&Bulletin::decode(&bulletin.encode().unwrap()).unwrap(), bulletin);
                    asked.extend(commands.iter().filter_map(|command| match command {
                        Command::Probe(order) => Some((order.by, order.id)),
                        _ => None,
                    }));
                    // A center is a value: what was said can be said again.
                    prop_assert!(asked.iter().all(|(by, _)| by.0 < 8 || by.0 >= 100));
                }
                Act::Probed { place, good, bad } => {
                    if let Some((sender, order)) = asked.iter().rev().nth(place).copied() {
                        let _ = center.on(Event::Probed { sender, order, good, bad });
                    }
                }
                Act::Healed { order, done } => {
                    let outcome = if done { HealOutcome::Done } else { HealOutcome::Failed };
                    center.on(Event::Healed { order, outcome }).unwrap();
                }
                Act::Left(node) => {
                    center.on(Event::Left(NodeId(node))).unwrap();
                    members.insert(node, false);
                    numbers.remove(&node);
                    out_before = out_before.min(6);
                }
                Act::Joined(node) => {
                    center.on(member(node, (node >= 100).then_some(1))).unwrap();
                    members.insert(node, true);
                }
                Act::Changed(node) => center.on(Event::Changed { release: 4, nodes: vec![NodeId(node)] }).unwrap(),
                Act::Ended => center.on(Event::RolloutEnded { release: 4 }).unwrap(),
                Act::Readmit(node) => center.on(Event::Readmit(NodeId(node))).unwrap(),
            }
        }
    }
}
