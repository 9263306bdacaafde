//! Bounds, pauses, cancellation, newer changes and news.
use std::collections::BTreeMap;

use crate::support::{Kill, World, job, turn};
use futures::FutureExt;
use unattended_upgrade::*;

fn world() -> std::sync::Arc<World> {
    World::new(Kill::at([]), World::able())
}

/// How many of each group are under way, by the journal.
fn under_way(world: &World) -> BTreeMap<String, usize> {
    let mut open = BTreeMap::new();
    for (_, group) in world.groups() {
        for record in group.records() {
            match UpgradeRecord::decode(record.kind, record.bytes).unwrap() {
                UpgradeRecord::Begun { attempt, group, .. } => {
                    open.insert(attempt, group.map_or_else(|| "-".to_owned(), |group| group.to_string()));
                }
                UpgradeRecord::Finished { attempt, .. } => drop(open.remove(&attempt)),
                _ => {}
            }
        }
    }
    let mut counts = BTreeMap::new();
    for group in open.into_values() {
        *counts.entry(group).or_insert(0) += 1;
    }
    counts
}

#[test]
fn groups_have_bounds_and_hold_up_nobody_else() {
    let world = world();
    let config = || DriverConfig::new().max_in_flight(6).max_per_group(2);
    let mut driver = world.driver_with(config());
    for n in 0..12 {
        let target = world.add(&format!("t{n:02}"));
        let job = job(&target, "new", Mode::Cold);
        driver
            .submit(match n {
                0..6 => job.group("rack-1"),
                6..9 => job.group("rack-2"),
                _ => job,
            })
            .unwrap();
    }
    let mut done = Vec::new();
    let mut seen = under_way(&world);
    while driver.outstanding() > 0 {
        // A controller that falls keeps the bounds as well.
        if done.len() == 4 {
            driver = world.driver_with(config());
            let ended = driver.recover().now_or_never().unwrap().unwrap();
            assert_eq!(ended.len(), 4);
            let not_begun = (0..12).map(|n| TargetId::from(format!("t{n:02}").as_str()));
            let is_over = |target: &TargetId| ended.iter().any(|receipt| receipt.target == *target);
            for target in not_begun.filter(|target| !is_over(target)) {
                if !driver.is_busy(&target) {
                    let rack = if target.as_str() < "t06" { "rack-1" } else { "rack-2" };
                    driver.submit(job(&target, "new", Mode::Cold).group(rack)).unwrap();
                }
            }
        }
        done.extend(turn(&world, &mut driver).finished);
        let now = under_way(&world);
        assert!(now.values().sum::<usize>() <= 6, "{now:?}");
        for (group, count) in &now {
            assert!(group == "-" || *count <= 2, "{now:?}");
            let most = seen.entry(group.clone()).or_insert(0);
            *most = (*most).max(*count);
        }
    }
    assert_eq!(done.len(), 12);
    // The bounds were used, and those without a group did not wait behind rack-1.
    assert_eq!(seen["rack-1"], 2);
    assert!(seen["-"] >= 2, "{seen:?}");
}

#[test]
fn a_pause_begins_nothing_and_ends_nothing() {
    let world = world();
    let (a, b, c) = (world.add("a"), world.add("b"), world.add("c"));
    let mut driver = world.driver();
    driver.submit(job(&a, "new", Mode::Cold)).unwrap();
    turn(&world, &mut driver);
    driver.pause(None);
    driver.submit(job(&b, "new", Mode::Cold).group("rack")).unwrap();
    driver.submit(job(&c, "new", Mode::Cold)).unwrap();
    let receipts = world.run(&mut driver);
    assert_eq!(receipts.len(), 1);
    assert_eq!(driver.outstanding(), 2);
    driver.pause(Some(&"rack".into()));
    driver.unpause(None);
    assert_eq!(world.run(&mut driver)[0].target, c);
    driver.unpause(Some(&"rack".into()));
    assert_eq!(world.run(&mut driver)[0].target, b);
}

#[test]
fn cancelled_jobs_go_and_attempts_turn_back() {
    let world = world();
    let (a, b) = (world.add("a"), world.add("b"));
    let mut driver = world.driver_with(DriverConfig::new().max_in_flight(1));
    driver.submit(job(&a, "new", Mode::Warm)).unwrap();
    let waits = driver.submit(job(&b, "new", Mode::Warm)).unwrap();
    while world.slot(&a).running != "new".into() {
        turn(&world, &mut driver);
    }
    assert_eq!(driver.cancel(&b, "li"), Cancelled::Job);
    assert_eq!(driver.cancel(&b, "li"), Cancelled::Nothing);
    assert_eq!(driver.cancel(&a, "li"), Cancelled::Attempt);
    let told = turn(&world, &mut driver);
    assert_eq!(told.dropped.len(), 1);
    assert_eq!(
        (told.dropped[0].attempt, told.dropped[0].why),
        (waits, DropReason::Cancelled)
    );
    let receipts = world.run(&mut driver);
    let reason = Reason::Aborted { by: "li".into() };
    assert_eq!(receipts[0].terminal, Terminal::RolledBack { reason });
    assert_eq!(world.slot(&a).running, "old".into());
    assert!(!world.slot(&a).closed);
    assert_eq!(driver.outstanding(), 0);
}

/// Versions of configurations are not versions of the artefact: what follows a change of the other begins from where its own
/// job says.
#[test]
fn a_change_that_follows_one_of_another_kind_begins_from_its_own_version() {
    for first in [Mode::Config, Mode::Warm] {
        let world = World::new(Kill::at([]), World::able().with_config());
        let a = world.add("a");
        world.change(&a, |slot| slot.config = "c1".into());
        let of_config = Job::new(a.clone(), "c1", "c2", Mode::Config);
        let of_artefact = Job::new(a.clone(), "old", "new", Mode::Warm);
        let (job, follows) = if first == Mode::Config {
            (of_config, of_artefact)
        } else {
            (of_artefact, of_config)
        };
        let mut driver = world.driver();
        driver.submit(job).unwrap();
        while world.state.lock().sent.is_empty() {
            turn(&world, &mut driver);
        }
        let id = driver.supersede(follows.clone(), "li").unwrap();
        let receipts = world.run(&mut driver);
        let last = receipts.last().unwrap();
        assert_eq!(
            (last.attempt, &last.from, &last.terminal),
            (id, &follows.from, &Terminal::Done),
            "{receipts:?}"
        );
    }
}

#[test]
fn a_newer_change_follows_from_where_the_older_one_ended() {
    for (bad_first, turns) in [(false, 0), (false, 3), (false, 60), (true, 4)] {
        let world = world();
        let a = world.add("a");
        let mut driver = world.driver();
        let first = if bad_first { "bad" } else { "new" };
        driver.submit(job(&a, first, Mode::Warm)).unwrap();
        for _ in 0..turns {
            if driver.outstanding() > 0 {
                turn(&world, &mut driver);
            }
        }
        let was_over = driver.outstanding() == 0;
        let newest = job(&a, "newest", Mode::Cold).from(if was_over { first } else { "old" });
        let dropped = driver.supersede(job(&a, "newer", Mode::Cold), "li");
        let id = driver.supersede(newest, "li").unwrap();
        let mut ended = Vec::new();
        let mut gone = Vec::new();
        while driver.outstanding() > 0 {
            let turn = turn(&world, &mut driver);
            ended.extend(turn.finished);
            gone.extend(turn.dropped);
        }
        assert!(dropped.is_ok());
        assert!(
            gone.iter()
                .any(|job| Ok(job.attempt) == dropped && job.why == DropReason::Superseded)
        );
        let last = ended.last().unwrap();
        assert_eq!(
            (last.attempt, &last.terminal),
            (id, &Terminal::Done),
            "after {turns} turns"
        );
        assert_eq!(world.slot(&a).running, "newest".into());
        if turns == 3 {
            assert_eq!(ended.len(), 2, "the first one has its receipt too");
        }
    }
}

/// The older change was refused since the target runs neither of its versions; the newer one knows better.
#[test]
fn a_newer_change_begins_from_where_it_says_if_the_older_one_was_refused() {
    let world = world();
    let a = world.add("a");
    let mut driver = world.driver();
    driver.submit(job(&a, "new", Mode::Warm).from("elsewhere")).unwrap();
    world.state.lock().blind = true;
    turn(&world, &mut driver);
    world.state.lock().blind = false;
    let newer = job(&a, "elsewhere", Mode::Warm).from("old");
    let id = driver.supersede(newer, "li").unwrap();
    let receipts = world.run(&mut driver);
    assert!(
        matches!(receipts[0].terminal, Terminal::Rejected { .. }),
        "{receipts:?}"
    );
    assert_eq!((receipts[1].attempt, &receipts[1].terminal), (id, &Terminal::Done));
    assert_eq!(world.slot(&a).running, "elsewhere".into());
}

/// What is replayed and not resumed cannot be turned back yet, and whoever wants it is told so.
#[test]
fn a_driver_that_has_not_resumed_cancels_nothing_and_says_so() {
    let world = world();
    let a = world.add("a");
    let mut driver = world.driver();
    driver.submit(job(&a, "new", Mode::Warm)).unwrap();
    for _ in 0..4 {
        turn(&world, &mut driver);
    }
    let mut next = world.driver();
    for (_, group) in world.groups() {
        for record in group.records() {
            next.replay(&record).unwrap();
        }
    }
    assert!(next.is_busy(&a));
    assert_eq!(next.cancel(&a, "li"), Cancelled::NotResumed);
    next.news(&[FleetChange::BecameHealthy { target: a.clone() }]);
    assert_eq!(
        next.supersede(job(&a, "newer", Mode::Warm), "li"),
        Err(SubmitError::NotResumed)
    );
    assert_eq!(next.resume(world.end()), Ok(vec![a.clone()]));
    assert_eq!(next.cancel(&a, "li"), Cancelled::Attempt);
    let receipts = world.run(&mut next);
    assert_eq!(receipts[0].went_back, Some(Reason::Aborted { by: "li".into() }));
}

#[test]
fn what_follows_an_attempt_that_needs_a_person_is_dropped() {
    let world = world();
    let a = world.add("a");
    let mut driver = world.driver();
    driver.submit(job(&a, "new", Mode::Warm)).unwrap();
    while !world.slot(&a).closed {
        turn(&world, &mut driver);
    }
    let refused = EffectOutcome::Failed { reason: "no".into() };
    world.state.lock().answers.insert("open", refused);
    driver.supersede(job(&a, "newer", Mode::Warm), "li").unwrap();
    let mut ended = Vec::new();
    let mut gone = Vec::new();
    while driver.outstanding() > 0 {
        let turn = turn(&world, &mut driver);
        ended.extend(turn.finished);
        gone.extend(turn.dropped);
    }
    gone.extend(turn(&world, &mut driver).dropped);
    assert!(matches!(ended[0].terminal, Terminal::NeedsPerson { .. }), "{ended:?}");
    assert_eq!(gone[0].why, DropReason::NotFree);
}

/// A replacement that may have been lost is not ordered anew under traffic: the way is closed again first.
#[test]
fn a_way_that_somebody_opens_is_closed_before_a_lost_replacement_is_ordered_anew() {
    let world = world();
    let a = world.add("a");
    let mut driver = world.driver();
    driver.submit(job(&a, "new", Mode::Warm)).unwrap();
    let lost = EffectOutcome::Unknown { reason: "lost".into() };
    world.state.lock().answers.insert("swap", lost);
    let ordered = |what: &str| {
        let state = world.state.lock();
        state
            .sent
            .iter()
            .filter(|(_, order, _)| order.starts_with(what))
            .count()
    };
    while ordered("swap") == 0 {
        turn(&world, &mut driver);
    }
    // The world asserts that nothing is swapped under traffic.
    world.change(&a, |slot| slot.closed = false);
    world.state.lock().answers.clear();
    assert_eq!(world.run(&mut driver)[0].terminal, Terminal::Done);
    assert_eq!((ordered("close"), ordered("swap")), (2, 2));
}

#[test]
fn jobs_that_are_late_or_whose_target_left_are_dropped() {
    let world = world();
    let (a, b, c) = (world.add("a"), world.add("b"), world.add("c"));
    let mut driver = world.driver_with(DriverConfig::new().max_in_flight(1));
    driver.submit(job(&a, "new", Mode::Cold)).unwrap();
    driver.submit(job(&b, "new", Mode::Cold).start_by(7_000)).unwrap();
    driver.submit(job(&c, "new", Mode::Cold)).unwrap();
    driver.news(&[FleetChange::Left { target: c.clone() }]);
    let mut gone = Vec::new();
    while driver.outstanding() > 0 {
        let turn = turn(&world, &mut driver);
        if turn.dropped.iter().any(|job| job.why == DropReason::Late) {
            assert!(world.clock.now() >= 7_000);
        }
        gone.extend(turn.dropped);
    }
    let why = |target: &TargetId| gone.iter().find(|job| job.target == *target).map(|job| job.why);
    assert_eq!(
        (why(&b), why(&c), gone.len()),
        (Some(DropReason::Late), Some(DropReason::Left), 2)
    );
    assert!(!driver.is_busy(&b) && !driver.is_busy(&c));
    driver.submit(job(&b, "new", Mode::Cold)).unwrap();
}

#[test]
fn news_bring_looks_forward_and_do_not_multiply_them() {
    let world = world();
    let a = world.add("a");
    let mut driver = world.driver_with(DriverConfig::new().poll_ms(60_000));
    driver.submit(job(&a, "new", Mode::Cold)).unwrap();
    for _ in 0..4 {
        turn(&world, &mut driver);
    }
    let now = world.clock.now();
    let looks = world.state.lock().looks;
    for _ in 0..5 {
        driver.news(&[FleetChange::BecameHealthy { target: a.clone() }]);
    }
    let told = driver.turn(&mut |_| true).now_or_never().unwrap().unwrap();
    let due = told.next_due_ms.unwrap();
    assert_eq!(world.state.lock().looks, looks + u64::from(due > now));
    let mut last = world.state.lock().looks;
    world.clock.set(due.max(now));
    while driver.outstanding() > 0 {
        turn(&world, &mut driver);
        let looks = world.state.lock().looks;
        assert!(looks <= last + 1, "one target is looked at once a turn");
        last = looks;
    }
}

#[test]
fn a_full_queue_says_so_and_room_comes_back() {
    let world = world();
    let mut driver = world.driver_with(DriverConfig::new().max_in_flight(1).max_queued(3));
    let targets: Vec<TargetId> = (0..4).map(|n| world.add(&format!("t{n}"))).collect();
    for target in &targets[..3] {
        driver.submit(job(target, "new", Mode::Cold)).unwrap();
    }
    assert_eq!(driver.room(), 0);
    let refused = driver.submit(job(&targets[3], "new", Mode::Cold));
    assert_eq!(refused, Err(SubmitError::QueueFull { queued: 3 }));
    // One that takes the place of another needs no more room.
    driver.supersede(job(&targets[2], "newer", Mode::Cold), "li").unwrap();
    turn(&world, &mut driver);
    assert_eq!(driver.room(), 1);
    driver.submit(job(&targets[3], "new", Mode::Cold)).unwrap();
    assert_eq!(world.run(&mut driver).len(), 4);
}

#[test]
fn capabilities_that_contradict_each_other_are_refused_with_words() {
    let world = World::new(Kill::at([]), Capabilities::none().with_fence().with_hand_over());
    let a = world.add("a");
    let error = world.driver().submit(job(&a, "new", Mode::Cold)).unwrap_err();
    assert!(error.to_string().contains("has no second slot"), "{error}");
}

#[test]
fn a_generation_that_goes_backwards_is_superseded() {
    let world = world();
    let a = world.add("a");
    // Another controller, with a journal of its own, has come further.
    world.fence(&a, Generation(9)).now_or_never().unwrap();
    let mut driver = world.driver();
    driver.submit(job(&a, "new", Mode::Warm)).unwrap();
    let receipts = world.run(&mut driver);
    assert_eq!(receipts[0].terminal, Terminal::Superseded);
    assert!(world.state.lock().sent.is_empty(), "nothing was sent below the fence");
}
