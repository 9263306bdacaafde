//! A kill at every await: while a look is pending, and before and after each append, each fence and each effect.

use std::collections::BTreeMap;

use crate::support::{Kill, TestDriver, World, job};
use futures::FutureExt;
use unattended_upgrade::*;

/// Two good and two bad upgrades, warm and cold, killed at these boundaries; gives how many boundaries there were.
fn run(points: &[u64]) -> u64 {
    let world = World::new(Kill::at(points.iter().copied()), World::able());
    let plans = [
        ("a", "new", Mode::Warm),
        ("b", "bad", Mode::Warm),
        ("c", "new", Mode::Cold),
        ("d", "bad", Mode::Cold),
    ];
    let targets: Vec<TargetId> = plans.iter().map(|(name, _, _)| world.add(name)).collect();
    let submit_missing = |driver: &mut TestDriver, done: &BTreeMap<TargetId, Receipt>| {
        // As a caller with a journal of its own would: whatever was never begun is submitted anew.
        for (target, (_, to, mode)) in targets.iter().zip(plans) {
            if !driver.is_busy(target) && !done.contains_key(target) {
                driver.submit(job(target, to, mode)).unwrap();
            }
        }
    };
    let mut done = BTreeMap::new();
    let mut driver = world.driver();
    submit_missing(&mut driver, &done);
    for round in 0.. {
        assert!(round < 2_000, "{points:?}: it does not end");
        let turn = driver.turn(&mut |_| true).now_or_never();
        let Some(turn) = turn else {
            drop(driver);
            let (next, receipts) = world.recovered();
            driver = next;
            for receipt in receipts {
                done.insert(receipt.target.clone(), receipt);
            }
            submit_missing(&mut driver, &done);
            continue;
        };
        let turn = turn.unwrap();
        for receipt in turn.finished {
            let before = done.insert(receipt.target.clone(), receipt);
            assert!(before.is_none(), "{points:?}: a second receipt");
        }
        match turn.next_due_ms {
            Some(due) => world.clock.set(due.max(world.clock.now())),
            None => break,
        }
    }

    assert_eq!(done.len(), plans.len(), "{points:?}: {done:?}");
    for (target, (name, to, mode)) in targets.iter().zip(plans) {
        let slot = world.slot(target);
        let receipt = &done[target];
        assert!(!slot.closed, "{points:?}: {name} was left closed: {receipt:?}");
        assert_eq!(slot.ordered, None, "{points:?}: {name} is not at rest");
        assert_eq!(receipt.mode, mode);
        if to == "new" {
            assert_eq!(receipt.terminal, Terminal::Done, "{points:?}: {name}");
            assert_eq!(slot.running, "new".into(), "{points:?}: {name}");
        } else {
            let reason = Reason::SelfCheckFailed {
                check: "listeners".into(),
            };
            assert_eq!(receipt.terminal, Terminal::RolledBack { reason }, "{points:?}: {name}");
            assert_eq!(slot.running, "old".into(), "{points:?}: {name}");
        }
        assert!(receipt.was_healthy);
        let generations = u64::from(receipt.recoveries) + 1;
        assert_eq!(receipt.generation, Generation(generations), "{points:?}: {receipt:?}");
        assert!(receipt.outage_ms > 0, "{points:?}: {receipt:?}");
    }
    // The journal tells the same story to a driver that was not there, and leaves nothing open.
    let (rest, receipts) = world.recovered();
    assert_eq!(rest.outstanding(), 0, "{points:?}");
    assert_eq!(receipts.len(), plans.len());
    for receipt in receipts {
        assert_eq!(done[&receipt.target], receipt);
    }
    world.kill.passed()
}

#[test]
fn one_kill_anywhere() {
    let boundaries = run(&[]);
    assert!(boundaries > 50, "{boundaries}");
    for point in 0..boundaries {
        run(&[point]);
    }
}

#[test]
fn two_kills_anywhere() {
    let boundaries = run(&[]);
    for first in 0..boundaries {
        // The second within the recovery from the first and shortly after.
        for second in first + 1..first + 24 {
            run(&[first, second]);
        }
    }
}

#[test]
fn a_controller_that_falls_again_and_again_at_one_step_asks_a_person() {
    let world = World::new(Kill::at([]), World::able());
    let target = world.add("a");
    let mut driver = world.driver();
    driver.submit(job(&target, "new", Mode::Warm)).unwrap();
    // Let it close ingress, then let every later controller fall after its first turn.
    while !world.slot(&target).closed {
        let turn = driver.turn(&mut |_| true).now_or_never().unwrap().unwrap();
        world.clock.set(turn.next_due_ms.unwrap());
    }
    let mut receipts = Vec::new();
    for round in 0.. {
        assert!(round < 20);
        let (next, _) = world.recovered();
        driver = next;
        for _ in 0..2 {
            let turn = driver.turn(&mut |_| true).now_or_never().unwrap().unwrap();
            receipts.extend(turn.finished);
        }
        if !receipts.is_empty() {
            break;
        }
    }
    let receipt = &receipts[0];
    let Terminal::NeedsPerson { reason, ingress, .. } = &receipt.terminal else {
        panic!("{receipt:?}");
    };
    assert_eq!(*reason, Reason::TooManyRecoveries { step: Step::Closing });
    assert_eq!(*ingress, Ingress::Closed);
    assert_eq!(receipt.recoveries, 4);
}

/// A controller that falls between the durable intent to replace and the order, each time.
fn falls_at_replacing(mode: Mode) -> Option<Receipt> {
    let world = World::new(Kill::at([]), World::able());
    let a = world.add("a");
    let mut driver = world.driver();
    driver.submit(job(&a, "new", mode)).unwrap();
    for _ in 0..40 {
        for _ in 0..200 {
            let mut poison = false;
            let turn = driver
                .turn(&mut |key| {
                    poison |= key.step == Step::Replacing.number();
                    !poison
                })
                .now_or_never()
                .unwrap()
                .unwrap();
            if let Some(receipt) = turn.finished.into_iter().next() {
                return Some(receipt);
            }
            if poison {
                break;
            }
            world.clock.set(turn.next_due_ms.unwrap().max(world.clock.now()));
        }
        drop(driver);
        // It stays long enough each time that the step has half of its budget left.
        world.clock.set(world.clock.now() + 45_000);
        driver = world.recovered().0;
    }
    None
}

/// Each recovery of a warm attempt closes its way anew before it comes to the replacement again.
#[test]
fn a_controller_that_falls_at_the_replacement_asks_a_person_at_last() {
    for mode in [Mode::Cold, Mode::Warm] {
        let receipt = falls_at_replacing(mode).unwrap_or_else(|| panic!("{mode}: nobody is asked"));
        assert!(matches!(receipt.terminal, Terminal::NeedsPerson { .. }), "{receipt:?}");
    }
}

/// The fence of a recovery is put off after its first answer was lost.
#[test]
fn a_fence_that_was_lost_and_then_put_off_asks_nobody_yet() {
    let plan = Plan {
        mode: Mode::Warm,
        from: "old".into(),
        to: "new".into(),
        fence: true,
        prefetch: true,
        salt: 7,
    };
    let remembered = Remembered {
        last: Some(Step::Closing),
        went_back: None,
        touched: false,
        closed_at_ms: Some(1_000),
        out_since_ms: Some(1_000),
        was_healthy: true,
        recoveries_of_step: 1,
        left_ms: Some(10_000),
        intended_ms: 0,
        intended: 0,
        counts: Counts::default(),
    };
    let seen = Observation {
        phase: Phase::Running,
        version: Some("old".into()),
        instance: Some(InstanceId(1)),
        ready: true,
        self_check: SelfCheck::Passed,
        ingress: Ingress::Closed,
        active: Some(0),
        pair: None,
        config: None,
    };
    let mut machine = Machine::recover(plan, std::sync::Arc::new(Timing::default()), remembered);
    machine.begin(10_000);
    let lost = EffectOutcome::Unknown { reason: "lost".into() };
    machine.next(Event::Outcome {
        now_ms: 10_100,
        outcome: &lost,
    });
    machine.next(Event::Observed {
        asked_ms: 15_000,
        now_ms: 15_000,
        seen: &seen,
    });
    let later = EffectOutcome::Retry { after_ms: 1_000 };
    machine.next(Event::Outcome {
        now_ms: 15_100,
        outcome: &later,
    });
    let command = machine.next(Event::Observed {
        asked_ms: 20_000,
        now_ms: 20_000,
        seen: &seen,
    });
    assert!(!matches!(command, Command::Finish(_)), "{command:?}");
}
