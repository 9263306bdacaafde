//! Slow nodes: fewer calls before anything else, the whole share when they are well, and out when they fail as well.

use unattended_selfheal::{
    Budgets, CenterSettings, Command, Event, HealAction, HostId, Member, Mode, NodeId, Notice, ServiceId, Word, ZoneId,
};

use super::world::{BEGIN_MS, Fault, World};

fn slow(target: u32, until_ms: Option<u64>) -> Fault {
    Fault {
        targets: vec![target],
        rate: 0.9,
        slow: true,
        until_ms,
        ..Fault::default()
    }
}

fn word(world: &World, node: u32) -> Word {
    world.reporters[&0].1.word(NodeId(node), world.now_ms)
}

const LESS: Word = Word::SubHealthy { weight_permille: 250 };

#[test]
fn a_slow_node_gets_less_and_its_whole_share_when_it_is_well() {
    for seed in 1..4 {
        let mut world = World::new(CenterSettings::default(), seed);
        world.faults.push(slow(104, Some(BEGIN_MS + 10_000)));
        let mut words = Vec::new();
        while world.now_ms < BEGIN_MS + 20_000 {
            world.step();
            let now = word(&world, 104);
            if words.last().is_none_or(|(_, last)| *last != now) {
                words.push((world.now_ms, now));
            }
        }
        let what: Vec<Word> = words.iter().map(|(_, word)| *word).collect();
        assert_eq!(what, [Word::Open, LESS, Word::Open], "seed {seed}: {words:?}");
        let (weighed_ms, restored_ms) = (words[1].0, words[2].0);
        assert!(weighed_ms <= BEGIN_MS + 1_500, "seed {seed}: {words:?}");
        // Not before it is well, and within seconds of it.
        assert!(
            (BEGIN_MS + 10_000..BEGIN_MS + 16_000).contains(&restored_ms),
            "seed {seed}: {words:?}"
        );
        assert!(
            world.isolated.is_empty() && world.orders.is_empty(),
            "{:?}",
            world.orders
        );
        let restored = Notice::Restored { node: NodeId(104) };
        assert_eq!(
            world.notices.iter().filter(|(_, notice)| *notice == restored).count(),
            1
        );
    }
}

#[test]
fn a_slow_node_that_begins_to_fail_is_isolated() {
    let mut world = World::new(CenterSettings::default(), 3);
    world.faults.push(slow(104, None));
    world.run_until(BEGIN_MS + 4_000);
    assert_eq!(word(&world, 104), LESS);
    world.faults.push(Fault {
        targets: vec![104],
        rate: 1.0,
        from_ms: Some(world.now_ms),
        ..Fault::default()
    });
    let mut before = LESS;
    while world.now_ms < BEGIN_MS + 20_000 && !world.isolated.contains_key(&104) {
        world.step();
        // While probes are under way it keeps the share it had.
        assert!(before == LESS || word(&world, 104) != Word::Open);
        before = word(&world, 104);
    }
    assert_eq!((before, world.isolated.len()), (Word::Isolated, 1));
}

#[test]
fn a_slow_node_that_failed_for_a_moment_is_slow_still() {
    for (seed, fails_ms) in [(1, 500), (2, 1_000), (3, 1_500), (4, 2_000)] {
        let mut world = World::new(CenterSettings::default(), seed);
        world.faults.push(slow(104, None));
        world.run_until(BEGIN_MS + 4_000);
        assert_eq!(word(&world, 104), LESS);
        world.faults.push(Fault {
            targets: vec![104],
            rate: 1.0,
            from_ms: Some(world.now_ms),
            until_ms: Some(world.now_ms + fails_ms),
            ..Fault::default()
        });
        while world.now_ms < BEGIN_MS + 25_000 {
            world.step();
            assert_ne!(word(&world, 104), Word::Open, "seed {seed} at {}", world.now_ms);
        }
    }
}

#[test]
fn what_stays_slow_is_restarted_and_then_replaced() {
    let settings = CenterSettings {
        restart_after_ms: 5_000,
        replace_after_ms: 9_000,
        ..CenterSettings::default()
    };
    let mut world = World::new(settings, 4);
    world.faults.push(slow(104, None));
    world.run_until(BEGIN_MS + 15_000);
    let actions: Vec<HealAction> = world.orders.iter().map(|(_, order)| order.action).collect();
    let node = NodeId(104);
    assert_eq!(actions, [HealAction::Restart { node }, HealAction::Replace { node }]);
    assert_eq!(word(&world, 104), LESS, "it is as slow as before");
}

#[test]
fn where_all_are_slow_nobody_is_worse_than_others() {
    let mut world = World::new(CenterSettings::default(), 6);
    world.faults.push(slow(104, None));
    world.run_until(BEGIN_MS + 4_000);
    assert_eq!(word(&world, 104), LESS);
    for target in 100..112 {
        world.faults.push(Fault {
            from_ms: Some(world.now_ms),
            ..slow(target, None)
        });
    }
    world.run_until(BEGIN_MS + 8_000);
    assert!(world.codes.contains("common_cause"), "{:?}", world.codes);
    assert_eq!(word(&world, 104), Word::Open);
    assert!(world.isolated.is_empty(), "{:?}", world.isolated);
}

#[test]
fn no_more_are_eased_than_might_be_isolated() {
    // A fifth of twelve is two.
    let budgets = Budgets {
        isolated_percent: 20,
        ..Budgets::default()
    };
    let settings = CenterSettings {
        budgets,
        ..CenterSettings::default()
    };
    let mut world = World::new(settings, 5);
    for target in [100, 104, 108] {
        world.faults.push(slow(target, None));
    }
    while world.now_ms < BEGIN_MS + 10_000 {
        world.step();
        let less = (100..112).filter(|node| word(&world, *node) != Word::Open).count();
        assert!(less <= 2, "at {}", world.now_ms);
    }
    assert_eq!(world.weighed.len(), 2, "{:?}", world.weighed);
    let over = |(_, notice): &(u64, Notice)| matches!(notice, Notice::OverBudget { .. });
    assert!(world.notices.iter().any(over));
}

#[test]
fn an_adviser_weighs_nobody() {
    let settings = CenterSettings {
        mode: Mode::Advise,
        ..CenterSettings::default()
    };
    let mut world = World::new(settings, 5);
    world.faults.push(slow(104, None));
    let mut advised = 0;
    while world.now_ms < BEGIN_MS + 5_000 {
        world.step();
        let Some(Command::Publish(bulletin)) = world.last.last() else {
            panic!("no bulletin")
        };
        assert!(bulletin.sub_healthy.is_empty());
    }
    for (_, notice) in &world.notices {
        if let Notice::SubHealthy {
            node,
            advised: only_said,
            ..
        } = notice
        {
            assert_eq!((*node, *only_said), (NodeId(104), true));
            advised += 1;
        }
    }
    assert_eq!(advised, 1);
}

#[test]
fn capacity_forbids_to_ease_whom_the_rest_cannot_replace() {
    for (capacity, weighed) in [(100, 0), (120, 1)] {
        let mut world = World::sized(CenterSettings::default(), 5, 20, 12);
        for node in 100..112 {
            let member = Member {
                node: NodeId(node),
                host: HostId(node),
                zone: ZoneId(node % 3),
                service: Some(ServiceId(1)),
                capacity_per_second: Some(capacity),
            };
            world.center.on(Event::Member(member)).unwrap();
        }
        world.faults.push(slow(104, None));
        world.run_until(BEGIN_MS + 5_000);
        // 1,000 calls a second: eleven of twelve nodes carry 1,100 or 1,320, of which four fifths may be used.
        assert_eq!(world.weighed.len(), weighed, "{capacity}");
    }
}
