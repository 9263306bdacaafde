//! What a driver refuses with words, and its bound on all that is under way.
use std::collections::BTreeSet;
use std::sync::Arc;

use crate::support::{Kill, World, job};
use futures::FutureExt;
use unattended_upgrade::*;

#[test]
fn jobs_are_refused_with_words() {
    let world = World::new(Kill::at([]), Capabilities::none());
    let target = world.add("pod-1");
    let mut driver = world.driver();
    let same = driver.submit(job(&target, "old", Mode::Cold)).unwrap_err();
    assert!(matches!(same, SubmitError::SameVersion { .. }), "{same}");
    let warm = driver.submit(job(&target, "new", Mode::Warm)).unwrap_err();
    assert!(matches!(warm, SubmitError::Mode { .. }), "{warm}");
    let name = driver
        .submit(job(&TargetId::new("x".repeat(2_000)), "new", Mode::Cold))
        .unwrap_err();
    assert_eq!(name, SubmitError::Name { bytes: 2_000 });
    driver.submit(job(&target, "new", Mode::Cold)).unwrap();
    let busy = driver.submit(job(&target, "new", Mode::Cold)).unwrap_err();
    assert!(matches!(busy, SubmitError::Busy { .. }), "{busy}");
    assert_eq!(driver.cancel(&target, "li"), Cancelled::Job);
    assert_eq!(driver.outstanding(), 0);
    driver.submit(job(&target, "new", Mode::Cold)).unwrap();
    // Without fencing nothing is fenced, and it works all the same.
    assert_eq!(world.run(&mut driver)[0].terminal, Terminal::Done);
}

#[test]
fn no_more_are_under_way_than_allowed() {
    let world = World::new(Kill::at([]), World::able());
    let mut driver = world.driver_with(DriverConfig::new().max_in_flight(3));
    for number in 0..10 {
        let target = world.add(&format!("pod-{number}"));
        driver.submit(job(&target, "new", Mode::Cold)).unwrap();
    }
    let mut order = Vec::new();
    while driver.outstanding() > 0 {
        let turn = driver.turn(&mut |_| true).now_or_never().unwrap().unwrap();
        assert!(driver.in_flight() <= 3);
        order.extend(turn.finished.into_iter().map(|receipt| receipt.attempt.0));
        if let Some(due) = turn.next_due_ms {
            world.clock.set(due.max(world.clock.now()));
        }
    }
    assert_eq!(order, (0..10).collect::<Vec<_>>());
}

#[test]
fn values_out_of_range_are_named() {
    let mut timing = Timing::default();
    timing.good_looks = 0;
    let error = DriverConfig::new().timing(timing).validate().unwrap_err();
    assert_eq!(error.to_string(), "`good_looks` is 0: give a value from 1 to 100");
    assert!(DriverConfig::new().poll_ms(0).validate().is_err());
    assert!(DriverConfig::new().validate().is_ok());
}

fn warm() -> Plan {
    Plan {
        mode: Mode::Warm,
        from: "old".into(),
        to: "new".into(),
        fence: false,
        prefetch: false,
        salt: 7,
    }
}

fn running(version: &str, ingress: Ingress, active: u32) -> Observation {
    Observation {
        phase: Phase::Running,
        version: Some(version.into()),
        instance: Some(InstanceId(if version == "old" { 1 } else { 2 })),
        ready: true,
        self_check: SelfCheck::Passed,
        ingress,
        active: Some(active),
        pair: None,
        config: None,
    }
}

/// Somebody closes the way after each opening, and openings are refused often, with the most tries that are allowed: no two
/// orders have one key, and where keys end a person is asked.
#[test]
fn no_two_orders_share_a_key() {
    let mut timing = Timing::default();
    timing.max_tries = 20;
    timing.validate().unwrap();
    let mut machine = Machine::new(warm(), Arc::new(timing));
    let mut seen = running("old", Ingress::Open, 0);
    let mut now = 1;
    let mut command = machine.begin(now);
    let mut applied = BTreeSet::new();
    let mut refusals = 0;
    let end = loop {
        now += 1;
        command = match command {
            Command::Look { at_ms } => {
                now = now.max(at_ms);
                machine.next(Event::Observed {
                    asked_ms: now,
                    now_ms: now,
                    seen: &seen,
                })
            }
            Command::Effect {
                effect, step, ordinal, ..
            } => {
                let outcome = if effect == Effect::Open && refusals < 19 {
                    refusals += 1;
                    EffectOutcome::Failed { reason: "no".into() }
                } else {
                    assert!(applied.insert((step, ordinal)), "{effect:?} again as {step} {ordinal}");
                    match effect {
                        Effect::Close { .. } => seen.ingress = Ingress::Closed,
                        Effect::Open => (refusals, seen.ingress) = (0, Ingress::Open),
                        Effect::ReplaceInPlace(_) => seen = running("new", Ingress::Closed, 0),
                        _ => {}
                    }
                    EffectOutcome::Applied
                };
                machine.next(Event::Outcome {
                    now_ms: now,
                    outcome: &outcome,
                })
            }
            Command::Finish(terminal) => break terminal,
        };
        if machine.step() == Step::Probation {
            seen.ingress = Ingress::Closed;
        }
    };
    let reason = Reason::TooManyOrders { step: Step::Opening };
    let told = Terminal::NeedsPerson {
        reason,
        serving: Serving::No,
        ingress: Ingress::Closed,
    };
    assert_eq!(end, told);
}

/// The controller comes back on a machine whose clock began anew.
#[test]
fn a_drain_has_its_end_after_a_clock_that_begins_anew() {
    let timing = Timing::default();
    let latest = 5_000 + timing.close_ms + timing.drain_ms;
    let at = replaced_at(fell_draining(900_000_000), 5_000, Ingress::Closed);
    assert!(at <= latest + 2_000, "{at}");
}

/// And where it has gone on, the end stays where it was.
#[test]
fn a_drain_has_its_end_after_a_fall_of_the_controller() {
    let timing = Timing::default();
    let latest = 100_000 + timing.close_ms + timing.drain_ms;
    let at = replaced_at(fell_draining(100_000), 120_000, Ingress::Closed);
    assert!(at <= latest + 2_000, "{at}");
}

/// Where the way was open meanwhile, as a watchdog leaves it, the next closing drains in full.
#[test]
fn a_drain_is_whole_where_the_way_was_opened_while_the_controller_was_away() {
    let timing = Timing::default();
    let back_ms = 1_000_000;
    let drained_ms = replaced_at(fell_draining(100_000), back_ms, Ingress::Open) - back_ms;
    let whole = timing.drain_ms..timing.drain_ms + 5_000;
    assert!(whole.contains(&drained_ms), "cut after {drained_ms} ms");
}

/// The controller fell behind a closing of this time.
fn fell_draining(closed_at_ms: u64) -> Remembered {
    Remembered {
        last: Some(Step::Closing),
        went_back: None,
        touched: false,
        closed_at_ms: Some(closed_at_ms),
        out_since_ms: Some(closed_at_ms),
        counts: Counts::default(),
        was_healthy: true,
        recoveries_of_step: 1,
        left_ms: Some(10_000),
        intended_ms: closed_at_ms,
        intended: 0,
    }
}

/// When the replacement is ordered, where somebody stays connected, by a controller that comes back at a time and finds the
/// way so.
fn replaced_at(remembered: Remembered, from: u64, ingress: Ingress) -> u64 {
    let mut seen = running("old", ingress, 3);
    let mut machine = Machine::recover(warm(), Arc::new(Timing::default()), remembered);
    let mut now = from;
    let mut command = machine.begin(now);
    for _ in 0..1_000 {
        command = match command {
            Command::Look { at_ms } => {
                now = at_ms.max(now + 1_000);
                machine.next(Event::Observed {
                    asked_ms: now,
                    now_ms: now,
                    seen: &seen,
                })
            }
            Command::Effect {
                effect: Effect::ReplaceInPlace(_),
                ..
            } => return now,
            Command::Effect { effect, .. } => {
                if matches!(effect, Effect::Close { .. }) {
                    seen.ingress = Ingress::Closed;
                }
                machine.next(Event::Outcome {
                    now_ms: now,
                    outcome: &EffectOutcome::Applied,
                })
            }
            Command::Finish(terminal) => panic!("{terminal:?}"),
        };
    }
    panic!("{} at {now}, its way closed", machine.step());
}

/// Numbers that a journal can be read with are not counted beyond.
#[test]
fn a_journal_at_the_end_of_its_numbers_is_not_written_beyond_it() {
    let most = u64::MAX / 2;
    let group = |record: UpgradeRecord| {
        let mut bytes = Vec::new();
        record.encode(&mut bytes);
        let mut group = Group::new();
        group.push(Stream::UPGRADE, record.kind(), &bytes);
        group
    };
    let spent = |record: UpgradeRecord, target: &str| {
        let world = World::new(Kill::at([]), World::able());
        let target = world.add(target);
        let journal = &world.journal.inner;
        journal.append(&group(record)).now_or_never().unwrap().unwrap();
        let mut driver = world.driver();
        driver.recover().now_or_never().unwrap().unwrap();
        driver.submit(job(&target, "new", Mode::Cold))
    };
    let attempts = |next_attempt| UpgradeRecord::Numbered {
        next_attempt: AttemptId(next_attempt),
    };
    let generations = |generation| UpgradeRecord::Target {
        target: "a".into(),
        generation: Generation(generation),
    };
    let error = Err(SubmitError::Spent { target: "a".into() });
    assert_eq!(spent(attempts(most), "a"), error);
    assert_eq!(spent(attempts(most - 1), "a"), Ok(AttemptId(most - 1)));
    assert_eq!(spent(generations(most), "a"), error);
    assert!(spent(generations(most - 1), "a").is_ok());
    assert!(spent(generations(most), "b").is_ok());
}

/// What a step has used of its budget is not given to it again by a fall of the controller, but for the half that the order
/// needs which is given anew.
#[test]
fn a_step_is_not_longer_for_a_fall_of_the_controller() {
    let ends_at = |falls_at: &[u64]| {
        let world = World::new(Kill::at([]), World::able());
        let target = world.add("a");
        world.state.lock().answers.insert("replace new", EffectOutcome::Applied);
        let mut driver = world.driver();
        driver.submit(job(&target, "new", Mode::Cold)).unwrap();
        let mut falls = falls_at.iter();
        let mut next = falls.next();
        loop {
            let turn = driver.turn(&mut |_| true).now_or_never().unwrap().unwrap();
            let ended = turn.finished.first().map(|receipt| receipt.went_back.clone());
            let back = world.state.lock().sent.iter().any(|(_, sent, _)| sent == "replace old");
            if ended.is_some() || back {
                return world.clock.now();
            }
            let due = turn.next_due_ms.unwrap().max(world.clock.now());
            if next.is_some_and(|at| due > *at) {
                world.clock.set(*next.unwrap());
                next = falls.next();
                driver = world.recovered().0;
            } else {
                world.clock.set(due);
            }
        }
    };
    let budget_ms = Timing::default().recreate_ms;
    let undisturbed = ends_at(&[]);
    assert!((budget_ms..budget_ms + 30_000).contains(&undisturbed), "{undisturbed}");
    // Less than half is gone: it ends when it would have.
    let early = ends_at(&[400_000]);
    assert!(early.abs_diff(undisturbed) <= 20_000, "{early} and {undisturbed}");
    let late = ends_at(&[1_100_000]);
    assert!((late - 1_100_000).abs_diff(budget_ms / 2) <= 20_000, "{late}");
}

/// A lost order on the way back is given again also where nothing runs at all.
#[test]
fn a_restoration_that_got_lost_is_ordered_again() {
    let world = World::new(Kill::at([]), World::able());
    let target = world.add("a");
    let mut driver = world.driver();
    driver.submit(job(&target, "new", Mode::Cold)).unwrap();
    while !world.state.lock().sent.iter().any(|(_, sent, _)| sent == "replace new") {
        crate::support::turn(&world, &mut driver);
    }
    // It has stopped the old one, and will never start.
    world.change(&target, |slot| slot.ordered = Some(("new".into(), u64::MAX / 2)));
    world.state.lock().stopped.insert(target.clone());
    let lost = EffectOutcome::Unknown { reason: "lost".into() };
    world.state.lock().answers.insert("replace old", lost);
    assert_eq!(driver.cancel(&target, "li"), Cancelled::Attempt);
    let orders = |world: &World| {
        let state = world.state.lock();
        state.sent.iter().filter(|(_, sent, _)| sent == "replace old").count()
    };
    while orders(&world) == 0 {
        crate::support::turn(&world, &mut driver);
    }
    let since = world.clock.now();
    world.state.lock().answers.clear();
    while orders(&world) == 1 {
        crate::support::turn(&world, &mut driver);
        assert!(driver.outstanding() > 0, "nobody ordered it again");
    }
    world.state.lock().stopped.clear();
    let receipt = world.run(&mut driver).remove(0);
    assert!(matches!(receipt.terminal, Terminal::RolledBack { .. }), "{receipt:?}");
    let took_ms = receipt.finished_ms - since;
    assert!(
        orders(&world) == 2 && took_ms < 600_000,
        "{} orders, {took_ms} ms",
        orders(&world)
    );
}

/// The queue may be fuller than submissions may make it: what follows an attempt waits there, too.
#[test]
fn a_job_is_superseded_in_a_full_queue() {
    let world = World::new(Kill::at([]), World::able());
    let (a, b) = (world.add("a"), world.add("b"));
    let mut driver = world.driver_with(DriverConfig::new().max_in_flight(1).max_queued(1));
    driver.submit(job(&a, "new", Mode::Cold)).unwrap();
    crate::support::turn(&world, &mut driver);
    driver.supersede(job(&a, "newer", Mode::Cold), "li").unwrap();
    driver.submit(job(&b, "new", Mode::Cold)).unwrap();
    while crate::support::turn(&world, &mut driver).finished.is_empty() {}
    driver.supersede(job(&b, "newest", Mode::Cold), "li").unwrap();
    assert!(driver.is_busy(&b));
    world.run(&mut driver);
    assert_eq!(world.slot(&b).running, "newest".into());
}

/// How long machines that differ in nothing but their seeds wait before they order again, put off for so long.
fn waits(mode: Mode, after_ms: u64) -> BTreeSet<u64> {
    let wait = |salt| {
        let plan = Plan { mode, salt, ..warm() };
        let mut machine = Machine::new(plan, Arc::new(Timing::default()));
        machine.begin(0);
        let seen = running("old", Ingress::Open, 0);
        let ordered = machine.next(Event::Observed {
            asked_ms: 0,
            now_ms: 0,
            seen: &seen,
        });
        assert!(matches!(ordered, Command::Effect { .. }), "{ordered:?}");
        let outcome = &EffectOutcome::Retry { after_ms };
        match machine.next(Event::Outcome { now_ms: 0, outcome }) {
            Command::Look { at_ms } => at_ms,
            other => panic!("{other:?}"),
        }
    };
    (0..64).map(wait).collect()
}

/// Many that are put off together do not return together, however long they would have to wait; and they wait no longer than
/// a minute, nor than their step may take.
#[test]
fn who_is_put_off_returns_spread() {
    for (mode, after_ms, wanted) in [
        (Mode::Cold, 0, 1_000..2_000),
        (Mode::Cold, 20_000, 20_000..40_000),
        (Mode::Cold, 40_000, 40_000..60_000),
        (Mode::Cold, 86_400_000, 45_000..60_000),
        // A closing may take ten seconds.
        (Mode::Warm, 86_400_000, 7_500..10_000),
    ] {
        let waits = waits(mode, after_ms);
        let (first, last) = (*waits.first().unwrap(), *waits.last().unwrap());
        let span = wanted.end - wanted.start;
        assert!(
            wanted.contains(&first) && wanted.contains(&last),
            "{first} to {last} after {after_ms}"
        );
        assert!(
            waits.len() >= 58 && last - first > span / 2,
            "{} of 64 differ, {first} to {last}",
            waits.len()
        );
    }
}

/// What is misspelt is not left at its default in silence.
#[test]
fn fields_that_there_are_not_are_named() {
    let error = serde_json::from_str::<Timing>(r#"{"drain_m": 5}"#)
        .unwrap_err()
        .to_string();
    assert!(error.contains("`drain_m`") && error.contains("`drain_ms`"), "{error}");
    for text in [r#"{"max_inflight": 5}"#, r#"{"timing": {"max_inflight": 5}}"#] {
        let error = serde_json::from_str::<DriverConfig>(text).unwrap_err().to_string();
        assert!(error.contains("`max_inflight`"), "{error}");
    }
    let config: DriverConfig = serde_json::from_str(r#"{"timing": {"drain_ms": 5}}"#).unwrap();
    assert_eq!(
        (config.timing.drain_ms, config.poll_ms),
        (5, DriverConfig::new().poll_ms)
    );
    let text = serde_json::to_string(&config).unwrap();
    assert_eq!(serde_json::from_str::<DriverConfig>(&text).unwrap(), config);
}
