//! What a reporter that lies can do, alone and together with others.

use proptest::prelude::*;
use unattended_selfheal::{CenterSettings, Event, NodeId, Notice, Report, RouteId, Seen};

use super::world::{BEGIN_MS, World};

fn isolations(world: &World) -> usize {
    let isolated = |(_, notice): &&(u64, Notice)| matches!(notice, Notice::Isolated { .. });
    world.notices.iter().filter(isolated).count()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever two hosts say, in whatever numbers and however often, nobody is even accused: two votes are no alarm.
    #[test]
    fn two_liars_accuse_nobody(
        lies in prop::collection::vec((0_u32..2, 100_u32..112, 1_u32..100_000, any::<bool>()), 1..200),
        quiet in any::<bool>(),
        seed in 0_u64..1_000,
    ) {
        let mut world = World::new(CenterSettings::default(), seed);
        // With nobody else's word against theirs, or with everybody's.
        world.calls_per_second = if quiet { 0.0 } else { 10.0 };
        world.run_until(2_000);
        // A life after that of the honest reports.
        let (mut at, mut number) = (lies.iter(), 0);
        for _ in 0..40 {
            for (liar, target, calls, slow) in at.by_ref().take(5) {
                number += 1;
                let (failed, slow) = if *slow { (0, *calls) } else { (*calls, 0) };
                let seen = vec![Seen { target: NodeId(*target), route: RouteId::ANY, total: *calls, failed, slow }];
                let report = Report { epoch: 9, sequence: number, seen };
                world.center.on(Event::Report { sender: NodeId(*liar), report }).unwrap();
            }
            world.step();
            for finding in world.center.findings() {
                prop_assert!(finding.cause.accused().is_none(), "{finding}");
            }
        }
        prop_assert_eq!(isolations(&world), 0);
    }
}

#[test]
fn reporters_on_one_host_have_one_voice() {
    use unattended_selfheal::{Center, Command, HostId, Member, ServiceId, ZoneId};
    for hosts in [1, 2, 3] {
        let mut center = Center::new(CenterSettings::default(), 1).unwrap();
        let mut join = |node, host, service| {
            let member = Member {
                node: NodeId(node),
                host: HostId(host),
                zone: ZoneId(host % 2),
                service,
                capacity_per_second: None,
            };
            center.on(Event::Member(member)).unwrap();
        };
        // Forty reporters on few hosts; nobody contradicts them.
        (0..40).for_each(|node| join(node, node % hosts, None));
        (100..103).for_each(|node| join(node, node, Some(ServiceId(1))));
        let mut accused = false;
        for number in 1..=8 {
            for node in 0..40 {
                let line = |target, failed| Seen {
                    target: NodeId(target),
                    route: RouteId::ANY,
                    total: 100,
                    failed,
                    slow: 0,
                };
                let report = Report {
                    epoch: 1,
                    sequence: number,
                    seen: vec![line(100, 100), line(101, 0), line(102, 0)],
                };
                center
                    .on(Event::Report {
                        sender: NodeId(node),
                        report,
                    })
                    .unwrap();
            }
            let commands = center.tick(number * 250);
            accused |= commands.iter().any(|command| matches!(command, Command::Probe(_)));
        }
        assert_eq!(accused, hosts >= 3, "{hosts} hosts");
    }
}

#[test]
fn a_liar_that_is_admitted_first_cannot_keep_a_node_out() {
    // The node was ill and is well; the reporter that gets the first return slot says that it still fails.
    let mut world = World::new(CenterSettings::default(), 11);
    world
        .faults
        .push(serde_json::from_str(r#"{"targets": [104], "rate": 1.0, "until_ms": 14000}"#).unwrap());
    let mut liar = None;
    while world.now_ms < BEGIN_MS + 60_000 {
        world.step();
        let first = world.notices.iter().any(|(_, n)| {
            matches!(
                n,
                Notice::Returning {
                    node: NodeId(104),
                    percent: 1
                }
            )
        });
        if first && liar.is_none() {
            let admitted: Vec<u32> = (0..20)
                .filter(|node| {
                    let word = world.reporters[node].1.word(NodeId(104), world.now_ms);
                    word == unattended_selfheal::Word::Returning
                })
                .collect();
            // Servers report, too, and one of them may hold the slot; then there is nobody to lie.
            if let Some(node) = admitted.first() {
                let lie =
                    format!(r#"{{"reporters": [{node}], "targets": [104], "rate": 1.0, "lie": true, "from_ms": 0}}"#);
                world.faults.push(serde_json::from_str(&lie).unwrap());
                liar = Some(*node);
            }
        }
    }
    assert!(liar.is_some(), "the slot went to a proxy");
    assert!(
        world
            .notices
            .iter()
            .any(|(_, n)| *n == Notice::Restored { node: NodeId(104) }),
        "{:?}",
        world.notices
    );
}
