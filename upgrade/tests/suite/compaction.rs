//! A journal that is made small tells the same to whoever recovers from it.
use crate::support::{Kill, World, job, turn};
use futures::FutureExt;
use unattended_upgrade::*;

fn compacted(world: &World) -> Compaction {
    compact(world.journal.as_ref()).now_or_never().unwrap().unwrap()
}

/// Every record in order, whether it has a position or not.
fn records(world: &World) -> Vec<(Stream, UpgradeRecord)> {
    let mut records = Vec::new();
    read_journal(world.journal.as_ref(), |_, record| {
        records.push((record.stream, UpgradeRecord::decode(record.kind, record.bytes).unwrap()));
        Ok::<(), DriverError>(())
    })
    .now_or_never()
    .unwrap()
    .unwrap();
    records
}

/// Two upgrades one after the other, with a kill after `turns` turns; compacted before the recovery or not.
fn interrupted(turns: usize, small: bool) -> (Vec<Receipt>, Vec<(TargetId, String, EffectKey)>) {
    let world = World::new(Kill::at([]), World::able());
    let (a, b) = (world.add("a"), world.add("b"));
    let mut driver = world.driver();
    driver.submit(job(&a, "new", Mode::Warm)).unwrap();
    let first = world.run(&mut driver);
    driver.submit(job(&b, "bad", Mode::Warm)).unwrap();
    for _ in 0..turns {
        turn(&world, &mut driver);
    }
    let over = driver.outstanding() == 0;
    drop(driver);
    if small {
        compacted(&world);
    }
    let mut driver = world.driver();
    let ended = driver.recover().now_or_never().unwrap().unwrap();
    if !small {
        assert_eq!(ended[..1], first);
    }
    if !driver.is_busy(&b) && !over {
        driver.submit(job(&b, "bad", Mode::Warm)).unwrap();
    }
    driver.submit(job(&a, "newer", Mode::Cold).from("new")).unwrap();
    let receipts = world.run(&mut driver);
    let sent = world.state.lock().sent.clone();
    (receipts, sent)
}

#[test]
fn recovery_from_a_snapshot_is_recovery() {
    for turns in 0..30 {
        assert_eq!(
            interrupted(turns, false),
            interrupted(turns, true),
            "after {turns} turns"
        );
    }
}

#[test]
fn what_has_ended_leaves_its_generation_and_nothing_else() {
    let world = World::new(Kill::at([]), World::able());
    let targets: Vec<TargetId> = (0..20).map(|n| world.add(&format!("t{n:02}"))).collect();
    let mut driver = world.driver();
    for target in &targets {
        driver.submit(job(target, "new", Mode::Warm)).unwrap();
    }
    world.run(&mut driver);
    let before = u64::try_from(records(&world).len()).unwrap();
    let done = compacted(&world);
    // Two versions, how far attempts are numbered, and a line for each target.
    assert_eq!((done.records_before, done.records_after), (before, 23));
    assert!(before > 100);
    let left = records(&world);
    assert!(left.contains(&(
        Stream::UPGRADE,
        UpgradeRecord::Target {
            target: "t07".into(),
            generation: Generation(1)
        }
    )));
    assert_eq!(compacted(&world).records_after, 23, "a second time changes nothing");
    // The driver that was there all the time goes on, and so does one that was not.
    driver
        .submit(job(&targets[0], "newer", Mode::Cold).from("new"))
        .unwrap();
    let receipts = world.run(&mut driver);
    assert_eq!(
        (receipts[0].generation, receipts[0].attempt),
        (Generation(2), AttemptId(20))
    );
    compacted(&world);
    let mut driver = world.driver();
    assert_eq!(driver.recover().now_or_never().unwrap().unwrap(), []);
    let again = driver.submit(job(&targets[3], "old2", Mode::Cold)).unwrap();
    assert_eq!(again, AttemptId(21));
}

#[test]
fn records_of_others_stay_as_they_are() {
    let world = World::new(Kill::at([]), World::able());
    let target = world.add("a");
    let mut driver = world.driver();
    let mut others = Group::new();
    others.push(Stream(9), 4, b"mine");
    driver.attach(&others);
    driver.submit(job(&target, "new", Mode::Cold)).unwrap();
    world.run(&mut driver);
    compacted(&world);
    let snapshot = world.journal.snapshot().now_or_never().unwrap().unwrap().unwrap();
    let kept: Vec<_> = snapshot
        .group
        .records()
        .filter(|record| record.stream == Stream(9))
        .collect();
    assert_eq!(kept.len(), 1);
    assert_eq!((kept[0].kind, kept[0].bytes), (4, &b"mine"[..]));
}

#[test]
fn a_journal_with_two_writers_is_left_to_the_other() {
    let world = World::new(Kill::at([]), World::able());
    let (a, b) = (world.add("a"), world.add("b"));
    let (mut one, mut two) = (world.driver(), world.driver());
    for driver in [&mut one, &mut two] {
        assert_eq!(driver.recover().now_or_never().unwrap(), Ok(Vec::new()));
    }
    one.submit(job(&a, "new", Mode::Cold)).unwrap();
    two.submit(job(&b, "new", Mode::Cold)).unwrap();
    turn(&world, &mut one);
    let error = loop {
        match two.turn(&mut |_| true).now_or_never().unwrap() {
            Ok(turn) => world.clock.set(turn.next_due_ms.unwrap().max(world.clock.now())),
            Err(error) => break error,
        }
        // Whoever notices first: the other one must have written in between.
        if let Err(error) = one.turn(&mut |_| true).now_or_never().unwrap() {
            break error;
        }
    };
    assert!(matches!(error, DriverError::OtherWriter { .. }), "{error}");
    assert!(error.to_string().contains("another controller"), "{error}");
}
