//! From isolation to return, under budgets; and what happens to a center and its clock.

use std::collections::{BTreeMap, BTreeSet};

use unattended_selfheal::{
    Budgets, Center, CenterSettings, Command, Event, HealAction, HealOutcome, Mode, NodeId, Notice, Scope, Word,
};

use super::world::{BEGIN_MS, Fault, PERIOD_MS, World, member};

fn dead(target: u32, until_ms: Option<u64>) -> Fault {
    Fault {
        targets: vec![target],
        rate: 1.0,
        until_ms,
        ..Fault::default()
    }
}

fn actions(world: &World) -> Vec<HealAction> {
    world.orders.iter().map(|(_, order)| order.action).collect()
}

#[test]
fn a_node_comes_back_in_stages_and_each_needs_good_answers() {
    let mut world = World::new(CenterSettings::default(), 5);
    world.faults.push(dead(104, Some(12_000)));
    let mut users = BTreeMap::new();
    while world.now_ms < 60_000 {
        world.step();
        let admitted = (0..20)
            .filter(|n| world.reporters[n].1.word(NodeId(104), world.now_ms) != Word::Isolated)
            .count();
        users.entry(admitted).or_insert(world.now_ms);
    }
    let percents: Vec<u32> = world
        .notices
        .iter()
        .filter_map(|(_, notice)| match notice {
            Notice::Returning { percent, .. } => Some(*percent),
            _ => None,
        })
        .collect();
    assert_eq!(percents, [1, 5, 25, 100], "{:?}", world.notices);
    assert!(
        users.keys().any(|users| (1..=3).contains(users)),
        "few first: {users:?}"
    );
    assert!(
        world
            .notices
            .iter()
            .any(|(_, n)| *n == Notice::Restored { node: NodeId(104) })
    );
    assert!(matches!(
        actions(&world)[..],
        [
            HealAction::Isolate { .. },
            ..,
            HealAction::Readmit { node: NodeId(104) }
        ]
    ));
    assert!(world.lost[&104] < 200, "{:?}", world.lost);
}

#[test]
fn relapses_double_the_time_and_the_fifth_is_replaced() {
    let settings = CenterSettings {
        isolation_ms: 1_000,
        quarantine_relapses: 3,
        // Nothing is mended by waiting here.
        restart_after_ms: 3_600_000,
        replace_after_ms: 3_600_000,
        ..CenterSettings::default()
    };
    let mut world = World::new(settings, 5);
    // It is well whenever it is out of use, and dies when load comes back.
    let mut spans = Vec::new();
    while world.now_ms < 300_000 && spans.len() < 4 {
        let out = world.last.iter().any(|command| match command {
            Command::Publish(bulletin) => bulletin
                .isolations
                .iter()
                .any(|i| i.node == NodeId(104) && i.slots.is_none()),
            _ => false,
        });
        world.faults = if out { vec![] } else { vec![dead(104, None)] };
        let before = world.notices.len();
        world.step();
        spans.extend(world.notices[before..].iter().filter_map(|(_, notice)| match notice {
            Notice::Isolated {
                node: NodeId(104),
                for_ms,
                relapses,
                ..
            } => Some((*relapses, *for_ms)),
            _ => None,
        }));
    }
    assert_eq!(
        spans.iter().map(|(relapses, _)| *relapses).collect::<Vec<_>>(),
        [0, 1, 2, 3]
    );
    for (relapses, span) in &spans {
        let doubled = 1_000 << relapses;
        assert!((doubled..=doubled + doubled / 4).contains(span), "{spans:?}");
    }
    assert!(
        actions(&world).contains(&HealAction::Replace { node: NodeId(104) }),
        "{:?}",
        world.orders
    );
}

#[test]
fn what_stays_ill_is_restarted_then_replaced_within_the_budgets() {
    let settings = |budgets| CenterSettings {
        restart_after_ms: 10_000,
        replace_after_ms: 20_000,
        budgets,
        ..CenterSettings::default()
    };
    let mut world = World::new(settings(Budgets::default()), 5);
    world.faults.push(dead(104, None));
    world.run_until(BEGIN_MS + 40_000);
    let mended: Vec<HealAction> = actions(&world)
        .into_iter()
        .filter(|action| !matches!(action, HealAction::Isolate { .. }))
        .collect();
    assert_eq!(
        mended,
        [
            HealAction::Restart { node: NodeId(104) },
            HealAction::Replace { node: NodeId(104) }
        ]
    );
    // The platform is asked to keep it out as long as it is ill, each time for longer than until the next question.
    let leases: Vec<(u64, u64)> = world
        .orders
        .iter()
        .filter_map(|(at_ms, order)| match order.action {
            HealAction::Isolate { lease_ms, .. } => Some((*at_ms, lease_ms)),
            _ => None,
        })
        .collect();
    assert!(
        leases.windows(2).all(|two| two[0].0 + two[0].1 >= two[1].0),
        "a gap in {leases:?}"
    );

    let none = Budgets {
        restarts_per_hour: 0,
        replaces_per_hour: 0,
        ..Budgets::default()
    };
    let mut world = World::new(settings(none), 5);
    world.faults.push(dead(104, None));
    world.run_until(BEGIN_MS + 40_000);
    assert!(
        actions(&world)
            .iter()
            .all(|action| matches!(action, HealAction::Isolate { .. })),
        "{:?}",
        world.orders
    );
}

#[test]
fn no_more_are_isolated_than_the_budget_allows_and_the_worst_first() {
    let budgets = Budgets {
        isolated_percent: 20,
        ..Budgets::default()
    };
    let mut world = World::new(
        CenterSettings {
            budgets,
            ..CenterSettings::default()
        },
        5,
    );
    // Two of twelve are 17 %, three are 25 %.
    world.faults.extend([101, 104, 107, 110].map(|node| dead(node, None)));
    world.run_until(BEGIN_MS + 15_000);
    assert_eq!(world.isolated.len(), 2, "{:?}", world.isolated);
    assert!(
        world
            .notices
            .iter()
            .any(|(_, notice)| matches!(notice, Notice::OverBudget { .. }))
    );

    let budgets = Budgets {
        isolations_per_ten_minutes: 1,
        ..Budgets::default()
    };
    let mut world = World::new(
        CenterSettings {
            budgets,
            ..CenterSettings::default()
        },
        5,
    );
    world.faults.extend([101, 104].map(|node| dead(node, None)));
    world.run_until(BEGIN_MS + 15_000);
    assert_eq!(world.isolated.len(), 1, "{:?}", world.isolated);
}

#[test]
fn a_service_of_two_loses_one_at_most_and_of_one_none() {
    for (servers, most) in [(1, 0), (2, 1), (3, 1)] {
        let mut world = World::sized(CenterSettings::default(), 5, 20, servers);
        world.faults.push(dead(100, None));
        world.faults.push(Fault {
            from_ms: Some(15_000),
            ..dead(101, None)
        });
        world.run_until(40_000);
        assert!(world.isolated.len() <= most, "{servers}: {:?}", world.isolated);
        assert_eq!(
            world.isolated.contains_key(&100),
            most > 0,
            "{servers}: {:?}",
            world.notices
        );
    }
}

#[test]
fn capacity_forbids_what_the_rest_cannot_carry() {
    // Twelve servers of 100 calls a second each, and 20 * 50 calls: eleven would be at 91 %.
    for (capacity, isolated) in [(100, 0), (120, 1)] {
        let mut world = World::new(CenterSettings::default(), 5);
        for node in world.servers.clone() {
            let Event::Member(known) = member(node, Some(1)) else {
                panic!()
            };
            let known = unattended_selfheal::Member {
                capacity_per_second: Some(capacity),
                ..known
            };
            world.center.on(Event::Member(known)).unwrap();
        }
        world.faults.push(dead(104, None));
        world.run_until(BEGIN_MS + 5_000);
        assert_eq!(world.isolated.len(), isolated, "{capacity}");
    }
}

#[test]
fn an_adviser_says_and_does_nothing() {
    let mut world = World::new(
        CenterSettings {
            mode: Mode::Advise,
            ..CenterSettings::default()
        },
        5,
    );
    world.faults.push(dead(104, None));
    world.faults.push(Fault {
        reporters: vec![3],
        rate: 1.0,
        ..Fault::default()
    });
    while world.now_ms < BEGIN_MS + 10_000 {
        world.step();
        let Some(Command::Publish(bulletin)) = world.last.last() else {
            panic!("no bulletin")
        };
        assert!(bulletin.isolations.is_empty() && bulletin.distrusted.is_empty() && bulletin.avoid.is_empty());
    }
    let advised: Vec<NodeId> = world
        .notices
        .iter()
        .filter_map(|(_, notice)| match notice {
            Notice::Isolated {
                node,
                scope: Scope::Everywhere,
                advised: true,
                ..
            } => Some(*node),
            _ => None,
        })
        .collect();
    assert_eq!(advised.first(), Some(&NodeId(104)));
    assert!(world.orders.is_empty(), "{:?}", world.orders);
}

#[test]
fn a_center_that_dies_leaves_no_isolation_behind_and_its_successor_finds_them_again() {
    let settings = CenterSettings::default();
    let mut world = World::new(settings, 5);
    world.faults.push(dead(104, None));
    world.run_until(BEGIN_MS + 5_000);
    assert_eq!(world.reporters[&0].1.word(NodeId(104), world.now_ms), Word::Isolated);
    assert_eq!(world.reporters[&0].1.local_cap_percent(50, world.now_ms), 50);
    world.center_up = false;
    let died_ms = world.now_ms;
    // Its last words, played again and again, do not make it live longer.
    let Some(Command::Publish(last)) = world.last.last().cloned() else {
        panic!()
    };
    let mut fooled = world.reporters[&0].1.clone();
    for later_ms in [1, 500, 700] {
        assert!(fooled.apply(last.clone(), died_ms + later_ms).is_err());
    }
    assert!(fooled.lost(died_ms + settings.period_ms * settings.lease_periods));
    while world.reporters[&0].1.word(NodeId(104), world.now_ms) == Word::Isolated {
        world.step();
    }
    assert!(
        world.now_ms - died_ms <= settings.period_ms * settings.lease_periods,
        "the lease is over"
    );
    let follower = &world.reporters[&0].1;
    assert!(follower.lost(world.now_ms) && follower.word(NodeId(104), world.now_ms) == Word::Lost);
    assert_eq!(follower.local_cap_percent(50, world.now_ms), 25);

    // A successor without a larger term is not obeyed; with one it is, and finds the node again.
    for (term, obeyed) in [(1, false), (2, true)] {
        world.center = Center::new(settings, term).unwrap();
        for node in (0..20).chain(100..112) {
            world.center.on(member(node, (node >= 100).then_some(1))).unwrap();
        }
        let Some(Command::Publish(bulletin)) = world.center.tick(world.now_ms).pop() else {
            panic!()
        };
        let mut follower = world.reporters[&0].1.clone();
        assert_eq!(follower.apply(bulletin, world.now_ms).is_ok(), obeyed);
        assert_eq!(follower.refused(), u64::from(!obeyed));
    }
    world.center_up = true;
    world.isolated.clear();
    let back_ms = world.now_ms;
    world.run_until(back_ms + 6_000);
    assert_eq!(
        world.isolated.keys().copied().collect::<Vec<_>>(),
        [104],
        "{:?}",
        world.notices
    );
}

#[test]
fn a_clock_that_jumps_blames_nobody() {
    let mut world = World::new(CenterSettings::default(), 5);
    world.run_until(9_000);
    let quiet = |world: &World| world.isolated.is_empty() && world.codes.is_empty();
    // Back by minutes: time stands still, bulletins go on.
    world.now_ms = 1_000;
    for _ in 0..20 {
        world.step();
        assert!(matches!(world.last.last(), Some(Command::Publish(_))));
    }
    assert!(quiet(&world), "{:?}", world.codes);
    // Ahead by hours and by all there is.
    for ahead in [3_600_000, u64::MAX / 2] {
        world.now_ms += ahead;
        (0..20).for_each(|_| world.step());
        assert!(quiet(&world), "{:?}", world.codes);
    }
    let mut center = world.center.clone();
    center.tick(u64::MAX);
    center.tick(0);
}

#[test]
fn a_fleet_that_doubles_accuses_no_newcomer() {
    let mut world = World::new(CenterSettings::default(), 5);
    world.run_until(12_000);
    (112..124).for_each(|node| world.serve(node, 1));
    (20..40).for_each(|node| world.join(node, None));
    world.run_until(20_000);
    assert!(world.isolated.is_empty() && world.codes.is_empty(), "{:?}", world.codes);
    // One that leaves is forgotten, isolated or not, and its name can be used again.
    world.faults.push(Fault {
        from_ms: Some(20_000),
        ..dead(115, None)
    });
    world.run_until(23_000);
    assert_eq!(world.isolated.keys().copied().collect::<Vec<_>>(), [115]);
    world.center.on(Event::Left(NodeId(115))).unwrap();
    world.faults.clear();
    world.center.on(member(115, Some(1))).unwrap();
    world.run_until(26_000);
    assert_eq!(world.reporters[&0].1.word(NodeId(115), world.now_ms), Word::Open);
}

#[test]
fn what_a_shared_dependency_broke_first_is_taken_back() {
    let mut world = World::new(CenterSettings::default(), 5);
    let all: Vec<u32> = (100..112).collect();
    // One shows it three seconds before the others do.
    world.faults.push(dead(104, Some(30_000)));
    world.faults.push(Fault {
        targets: all,
        rate: 0.8,
        from_ms: Some(BEGIN_MS + 3_000),
        until_ms: Some(30_000),
        ..Fault::default()
    });
    world.run_until(BEGIN_MS + 2_500);
    assert_eq!(world.isolated.len(), 1);
    world.run_until(BEGIN_MS + 6_000);
    assert!(world.codes.contains("common_cause"), "{:?}", world.codes);
    assert_eq!(
        world.reporters[&0].1.word(NodeId(104), world.now_ms),
        Word::Open,
        "{:?}",
        world.notices
    );
    assert!(
        !world.reporters[&0]
            .1
            .may_isolate(unattended_selfheal::ServiceId(1), world.now_ms),
        "nor locally"
    );
    assert_eq!(world.isolated.len(), 1, "and nobody else is isolated");
}

#[test]
fn five_hundred_proxies_do_not_come_back_at_once() {
    let mut world = World::sized(CenterSettings::default(), 5, 500, 12);
    world.calls_per_second = 4.0;
    world.faults.push(dead(104, Some(12_000)));
    let mut most = BTreeMap::new();
    while world.now_ms < 60_000 {
        world.step();
        let percent = world.notices.iter().rev().find_map(|(_, notice)| match notice {
            Notice::Returning { percent, .. } => Some(*percent),
            _ => None,
        });
        if let Some(percent) = percent {
            let users = (0..100)
                .chain(1_000..1_400)
                .filter(|n| world.reporters[n].1.word(NodeId(104), world.now_ms) == Word::Returning)
                .count();
            let slot = most.entry(percent).or_insert(0);
            *slot = users.max(*slot);
        }
    }
    // Of the 500 that call; the servers report as well.
    assert!(
        most[&1] <= 5 && most[&5] <= 25 && most[&25] <= 125 && most.contains_key(&100),
        "{most:?}"
    );
}

#[test]
fn a_person_has_the_last_word() {
    let mut world = World::new(CenterSettings::default(), 5);
    world.faults.push(dead(104, Some(BEGIN_MS + 2_000)));
    world.run_until(BEGIN_MS + 3_000);
    assert_eq!(world.reporters[&0].1.word(NodeId(104), world.now_ms), Word::Isolated);
    world.center.on(Event::Readmit(NodeId(104))).unwrap();
    world.run_until(BEGIN_MS + 4_000);
    assert_eq!(world.reporters[&0].1.word(NodeId(104), world.now_ms), Word::Open);
}

#[test]
fn the_order_of_arrival_changes_no_byte() {
    let runs: Vec<Vec<String>> = [false, true]
        .into_iter()
        .map(|shuffle| {
            let mut world = World::new(CenterSettings::default(), 5);
            world.shuffle = shuffle;
            world.faults.push(dead(104, None));
            world.faults.push(Fault {
                reporters: vec![3],
                rate: 1.0,
                from_ms: Some(BEGIN_MS + 4_000),
                ..Fault::default()
            });
            let mut said = Vec::new();
            while world.now_ms < BEGIN_MS + 10_000 {
                world.step();
                said.push(serde_json::to_string(&world.last).unwrap());
            }
            assert_eq!(world.isolated.len(), 1);
            said
        })
        .collect();
    assert_eq!(runs[0], runs[1]);
}

#[test]
fn answers_that_nobody_asked_for_are_refused() {
    let mut world = World::new(CenterSettings::default(), 5);
    world.faults.push(dead(104, None));
    let mut orders = BTreeSet::new();
    while world.isolated.is_empty() {
        world.step();
        orders.extend(world.last.iter().filter_map(|command| match command {
            Command::Probe(order) => Some((order.id, order.by)),
            _ => None,
        }));
    }
    for (order, by) in orders {
        for sender in [by, NodeId(0), NodeId(99)] {
            let event = Event::Probed {
                sender,
                order,
                good: 3,
                bad: 0,
            };
            assert!(world.center.on(event).is_err(), "{sender} for {by}");
        }
    }
    // An outcome of an order that is not there does nothing.
    world
        .center
        .on(Event::Healed {
            order: 77_777,
            outcome: HealOutcome::Done,
        })
        .unwrap();
    assert_eq!(PERIOD_MS, CenterSettings::default().period_ms);
}
