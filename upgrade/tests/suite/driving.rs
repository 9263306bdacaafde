//! What the driver promises beside surviving kills.

use crate::support::{Kill, World, job};
use futures::FutureExt;
use unattended_upgrade::*;

fn world() -> std::sync::Arc<World> {
    World::new(Kill::at([]), World::able())
}

fn only(receipts: Vec<Receipt>) -> Receipt {
    assert_eq!(receipts.len(), 1, "{receipts:?}");
    receipts.into_iter().next().unwrap()
}

#[test]
fn a_warm_upgrade_takes_few_looks_and_records() {
    let world = world();
    let target = world.add("pod-1");
    let mut driver = world.driver();
    driver.submit(job(&target, "new", Mode::Warm)).unwrap();
    let receipt = only(world.run(&mut driver));
    assert_eq!(receipt.terminal, Terminal::Done);
    assert_eq!(
        (receipt.generation, receipt.retries, receipt.cut),
        (Generation(1), 0, 0)
    );
    let state = world.state.lock();
    let sent: Vec<&str> = state.sent.iter().map(|(_, what, _)| what.as_str()).collect();
    assert_eq!(sent, ["prefetch new", "close", "swap new", "open"]);
    assert!(state.looks <= 13, "{} looks", state.looks);
    let records: u32 = world.groups().iter().map(|(_, group)| group.len()).sum();
    // Two versions, begin, four intents, end.
    assert_eq!(records, 8);
}

/// Targets remember the generations of the journal before.
#[test]
fn a_journal_that_follows_another_one_begins_above_its_generations() {
    let world = world();
    let target = world.add("pod-1");
    let fenced = world.fence(&target, Generation(7)).now_or_never().unwrap();
    assert_eq!(fenced, EffectOutcome::Applied);
    let mut driver = world.driver_with(DriverConfig::new().first_generation(8));
    for generation in [8, 9] {
        let to = if generation == 8 { "new" } else { "newer" };
        let mut next = job(&target, to, Mode::Warm);
        next.from = world.slot(&target).running;
        driver.submit(next).unwrap();
        let receipt = only(world.run(&mut driver));
        assert_eq!(
            (receipt.terminal, receipt.generation),
            (Terminal::Done, Generation(generation))
        );
    }
    let fresh = World::new(Kill::at([]), World::able());
    let target = fresh.add("pod-1");
    assert_eq!(
        fresh.fence(&target, Generation(7)).now_or_never(),
        Some(EffectOutcome::Applied)
    );
    let mut driver = fresh.driver();
    driver.submit(job(&target, "new", Mode::Warm)).unwrap();
    assert_eq!(only(fresh.run(&mut driver)).terminal, Terminal::Superseded);
}

#[test]
fn a_drain_ends_at_its_hard_deadline_and_counts_the_cut() {
    let world = world();
    let target = world.add("pod-1");
    world.change(&target, |slot| slot.active = 7);
    let mut driver = world.driver();
    driver.submit(job(&target, "new", Mode::Warm)).unwrap();
    let mut swapped_ms = 0;
    let mut receipts = Vec::new();
    while receipts.is_empty() {
        let turn = driver.turn(&mut |_| true).now_or_never().unwrap().unwrap();
        if world.clock.now() >= 25_000 && world.slot(&target).ordered.is_none() && swapped_ms == 0 {
            world.change(&target, |slot| slot.active = 3);
        }
        if swapped_ms == 0 && world.slot(&target).ordered.is_some() {
            swapped_ms = world.clock.now();
        }
        receipts = turn.finished;
        world.clock.set(turn.next_due_ms.unwrap_or_else(|| world.clock.now()));
    }
    let receipt = only(receipts);
    assert_eq!((receipt.drained, receipt.cut), (4, 3));
    // Closed at 5 s, seen closed at 10 s, 30 s of draining.
    assert_eq!(swapped_ms, 40_000);
}

#[test]
fn a_withheld_permit_stops_every_effect_and_loses_nothing() {
    let world = world();
    let target = world.add("pod-1");
    let mut driver = world.driver();
    driver.submit(job(&target, "new", Mode::Warm)).unwrap();
    // Freeze after ingress is closed, for an hour.
    while !world.slot(&target).closed {
        let turn = driver.turn(&mut |_| true).now_or_never().unwrap().unwrap();
        world.clock.set(turn.next_due_ms.unwrap());
    }
    let sent = world.state.lock().sent.len();
    let until = world.clock.now() + 3_600_000;
    let records = world.groups().len();
    while world.clock.now() < until {
        let turn = driver.turn(&mut |_| false).now_or_never().unwrap().unwrap();
        assert!(turn.finished.is_empty(), "{turn:?}");
        assert!(
            turn.next_due_ms.unwrap() > world.clock.now(),
            "a frozen driver must not spin"
        );
        world.clock.set(turn.next_due_ms.unwrap());
    }
    assert_eq!(world.state.lock().sent.len(), sent);
    assert!(
        world.groups().len() <= records + 1,
        "the same intent is not written over and over"
    );
    // The platform's watchdog has reopened meanwhile: it is closed again before the replacement.
    world.change(&target, |slot| slot.closed = false);
    let receipt = only(world.run(&mut driver));
    assert_eq!(receipt.terminal, Terminal::Done);
    let state = world.state.lock();
    let sent: Vec<&str> = state.sent[sent..].iter().map(|(_, what, _)| what.as_str()).collect();
    assert_eq!(sent, ["close", "swap new", "open"]);
}

#[test]
fn a_permit_is_asked_before_the_fence_too() {
    let world = world();
    let target = world.add("pod-1");
    let mut driver = world.driver();
    driver.submit(job(&target, "new", Mode::Cold)).unwrap();
    for _ in 0..5 {
        let turn = driver.turn(&mut |_| false).now_or_never().unwrap().unwrap();
        world.clock.set(turn.next_due_ms.unwrap());
    }
    // The world would refuse a key above its fence; nothing came at all, so neither did a fence.
    assert!(world.state.lock().sent.is_empty());
    let looks = world.state.lock().looks;
    // The end of the journal is asked for once; before and after the append, and once for each look.
    assert_eq!(world.kill.passed(), 3 + looks, "one append and no effect");
}

#[test]
fn a_blind_platform_decides_nothing() {
    let world = world();
    let target = world.add("pod-1");
    let mut driver = world.driver();
    driver.submit(job(&target, "new", Mode::Cold)).unwrap();
    // Blind right after the replacement was ordered, until long after every deadline.
    while world.state.lock().sent.len() < 2 {
        let turn = driver.turn(&mut |_| true).now_or_never().unwrap().unwrap();
        world.clock.set(turn.next_due_ms.unwrap());
    }
    world.state.lock().blind = true;
    let until = world.clock.now() + 600_000;
    while world.clock.now() < until {
        let turn = driver.turn(&mut |_| true).now_or_never().unwrap().unwrap();
        assert!(turn.finished.is_empty() && !turn.appended);
        world.clock.set(turn.next_due_ms.unwrap());
    }
    world.state.lock().blind = false;
    assert_eq!(only(world.run(&mut driver)).terminal, Terminal::Done);
}

#[test]
fn an_answer_for_too_few_targets_is_no_answer() {
    let world = world();
    let (first, second) = (world.add("pod-1"), world.add("pod-2"));
    world.change(&second, |slot| slot.running = "new".into());
    let mut driver = world.driver();
    for target in [&first, &second] {
        driver.submit(job(target, "new", Mode::Cold)).unwrap();
    }
    world.state.lock().short = true;
    let turn = driver.turn(&mut |_| true).now_or_never().unwrap().unwrap();
    assert!(turn.finished.is_empty() && !turn.appended, "{turn:?}");
    world.state.lock().short = false;
    world.clock.set(turn.next_due_ms.unwrap());
    let receipts = world.run(&mut driver);
    // The one that ran it already ends first and untouched.
    assert_eq!(receipts[0].target, second);
    assert_eq!(receipts[1].terminal, Terminal::Done);
    assert!(world.state.lock().sent.iter().all(|(target, _, _)| *target == first));
}

#[test]
fn probation_is_quiet_time_and_a_restart_begins_it_anew() {
    let finished = |restart_at: Option<u64>| {
        let world = world();
        let target = world.add("pod-1");
        let mut driver = world.driver();
        driver.submit(job(&target, "new", Mode::Cold)).unwrap();
        let mut restart_at = restart_at;
        loop {
            let turn = driver.turn(&mut |_| true).now_or_never().unwrap().unwrap();
            if let Some(receipt) = turn.finished.first() {
                assert_eq!(receipt.terminal, Terminal::Done);
                return receipt.finished_ms;
            }
            world.clock.set(turn.next_due_ms.unwrap());
            if restart_at.is_some_and(|at| world.clock.now() >= at) {
                restart_at = None;
                world.change(&target, |slot| slot.instance += 1);
            }
        }
    };
    // Looked at every 5 s: replaced at 5, up at 11, good looks at 15, 20 and 25, then 30 s of quiet.
    assert_eq!(finished(None), 55_000);
    assert_eq!(finished(Some(40_000)), 80_000);
}

#[test]
fn an_order_that_was_taken_and_never_shows_is_overruled_before_going_back_is_believed() {
    let world = world();
    let target = world.add("pod-1");
    let mut driver = world.driver();
    driver.submit(job(&target, "new", Mode::Warm)).unwrap();
    let mut receipts = Vec::new();
    while receipts.is_empty() {
        let turn = driver.turn(&mut |_| true).now_or_never().unwrap().unwrap();
        world.change(&target, |slot| {
            // The platform sits on the order for an hour: the old version runs on.
            if let Some((version, at)) = &mut slot.ordered
                && *version == "new".into()
            {
                *at = 3_600_000;
            }
        });
        receipts = turn.finished;
        world.clock.set(turn.next_due_ms.unwrap_or_else(|| world.clock.now()));
    }
    let reason = Reason::TimedOut { step: Step::Replacing };
    assert_eq!(only(receipts).terminal, Terminal::RolledBack { reason });
    let slot = world.slot(&target);
    assert_eq!((slot.running, slot.ordered, slot.closed), ("old".into(), None, false));
    let state = world.state.lock();
    assert!(state.sent.iter().any(|(_, what, _)| what == "swap old"));
}

#[test]
fn without_the_journal_nothing_is_sent_and_nothing_is_lost() {
    let world = world();
    let target = world.add("pod-1");
    let mut driver = world.driver();
    let mut extra = Group::new();
    extra.push(Stream::AUTOPILOT, 9, b"mine");
    driver.attach(&extra);
    driver.submit(job(&target, "new", Mode::Cold)).unwrap();
    *world.journal.refuse.lock() = true;
    for _ in 0..3 {
        let error = driver.turn(&mut |_| true).now_or_never().unwrap().unwrap_err();
        assert_eq!(error, DriverError::Journal(JournalError::Io("no space".to_owned())));
        assert!(world.state.lock().sent.is_empty());
    }
    *world.journal.refuse.lock() = false;
    assert_eq!(only(world.run(&mut driver)).terminal, Terminal::Done);
    let groups = world.groups();
    let first = groups[0].1.records().next().unwrap();
    assert_eq!(
        (first.stream, first.kind, first.bytes),
        (Stream::AUTOPILOT, 9, &b"mine"[..])
    );
    let kinds: Vec<&str> = descriptions(&world).iter().map(|line| line.kind).collect();
    assert_eq!(kinds.iter().filter(|kind| **kind == "begun").count(), 1);
}

fn descriptions(world: &World) -> Vec<Description> {
    let mut describer = Describer::new();
    world
        .groups()
        .iter()
        .flat_map(|(_, group)| {
            group
                .records()
                .filter_map(|record| describer.describe(&record).unwrap())
                .collect::<Vec<_>>()
        })
        .collect()
}

#[test]
fn records_read_as_a_story() {
    let world = world();
    let target = world.add("pod-1");
    let mut driver = world.driver();
    driver.submit(job(&target, "bad", Mode::Cold)).unwrap();
    world.run(&mut driver);
    let story: Vec<String> = descriptions(&world)
        .iter()
        .map(|line| {
            format!(
                "{} {} {} {}: {}",
                line.kind,
                line.target.as_deref().unwrap_or("-"),
                line.step.unwrap_or("-"),
                line.key.as_deref().unwrap_or("-"),
                line.result
            )
        })
        .collect();
    assert_eq!(
        story,
        [
            "version - - -: 0 is old",
            "version - - -: 1 is bad",
            "begun pod-1 - -: cold: old to bad",
            "intent pod-1 prefetching 0/1/1/1: ",
            "intent pod-1 replacing 0/1/4/2: applied",
            "backward pod-1 - -: self-check `listeners` of the new instance failed",
            "intent pod-1 restoring 0/1/10/3: applied",
            "finished pod-1 - -: rolled back: self-check `listeners` of the new instance failed",
        ]
    );
}

#[test]
fn a_target_that_was_not_well_before_is_put_back_and_a_person_told() {
    let world = world();
    let target = world.add("pod-1");
    world.change(&target, |slot| slot.ready = false);
    let mut driver = world.driver();
    driver.submit(job(&target, "bad", Mode::Cold)).unwrap();
    // The restored instance is not well either.
    let mut receipts = Vec::new();
    while receipts.is_empty() {
        let turn = driver.turn(&mut |_| true).now_or_never().unwrap().unwrap();
        receipts = turn.finished;
        world.clock.set(turn.next_due_ms.unwrap_or_else(|| world.clock.now()));
        world.change(&target, |slot| slot.ready = false);
    }
    let receipt = only(receipts);
    assert!(!receipt.was_healthy);
    let Terminal::NeedsPerson { reason, serving, .. } = &receipt.terminal else {
        panic!("{receipt:?}");
    };
    assert_eq!((Some(reason), *serving), (receipt.went_back.as_ref(), Serving::No));
    assert_eq!(world.slot(&target).running, "old".into());
    // Well again, it can be upgraded, under a higher generation.
    world.change(&target, |slot| slot.ready = true);
    driver.submit(job(&target, "new", Mode::Cold)).unwrap();
    let receipt = only(world.run(&mut driver));
    assert_eq!((receipt.terminal, receipt.generation), (Terminal::Done, Generation(2)));
}

#[test]
fn ends_that_touch_nothing() {
    let world = world();
    let (gone, already, foreign) = (world.add("gone"), world.add("already"), world.add("foreign"));
    world.change(&gone, |slot| slot.gone = true);
    world.change(&already, |slot| slot.running = "new".into());
    world.change(&foreign, |slot| slot.running = "another".into());
    let mut driver = world.driver();
    for target in [&gone, &already, &foreign] {
        driver.submit(job(target, "new", Mode::Warm)).unwrap();
    }
    let ends: Vec<Terminal> = world
        .run(&mut driver)
        .into_iter()
        .map(|receipt| receipt.terminal)
        .collect();
    let reason = Reason::ForeignVersion;
    assert_eq!(ends, [Terminal::Gone, Terminal::Done, Terminal::Rejected { reason }]);
    assert!(world.state.lock().sent.is_empty());
}

#[test]
fn answers_of_the_platform_are_obeyed() {
    let refused = |step| Reason::Refused {
        step,
        reason: "quota".into(),
    };
    let failed = EffectOutcome::Failed { reason: "quota".into() };
    let retry = EffectOutcome::Retry { after_ms: 9_000 };
    let unknown = EffectOutcome::Unknown { reason: "reset".into() };
    for (effect, answer, end, tries) in [
        (
            "prefetch",
            failed.clone(),
            Terminal::Rejected {
                reason: refused(Step::Prefetching),
            },
            1,
        ),
        (
            "close",
            failed.clone(),
            Terminal::Rejected {
                reason: refused(Step::Closing),
            },
            1,
        ),
        (
            "swap new",
            failed,
            Terminal::RolledBack {
                reason: refused(Step::Replacing),
            },
            1,
        ),
        ("swap new", EffectOutcome::Stale, Terminal::Superseded, 1),
        (
            "swap new",
            retry,
            Terminal::RolledBack {
                reason: Reason::NotTaken { step: Step::Replacing },
            },
            6,
        ),
        (
            "close",
            unknown,
            Terminal::RolledBack {
                reason: Reason::TimedOut { step: Step::Closing },
            },
            2,
        ),
        (
            "close",
            EffectOutcome::Unsupported,
            Terminal::Rejected {
                reason: Reason::Unsupported { step: Step::Closing },
            },
            1,
        ),
    ] {
        let world = world();
        let target = world.add("pod-1");
        world.state.lock().answers.insert(effect, answer.clone());
        let mut driver = world.driver();
        driver.submit(job(&target, "new", Mode::Warm)).unwrap();
        let receipt = only(world.run(&mut driver));
        assert_eq!(receipt.terminal, end, "{effect} {answer:?}");
        let state = world.state.lock();
        let sent = state
            .sent
            .iter()
            .filter(|(_, what, _)| what == effect || what.starts_with(effect))
            .count();
        assert_eq!(sent, tries, "{effect} {answer:?}");
        assert_eq!(state.slots[&target].running, "old".into());
        if answer != EffectOutcome::Stale {
            assert!(!state.slots[&target].closed, "{effect} {answer:?}");
        }
    }
}

/// Neither the wait that the platform names nor many tries keep an attempt longer than its step may take.
#[test]
fn an_order_that_is_put_off_for_ever_ends_with_its_step() {
    let mut timing = Timing::default();
    timing.max_tries = 20;
    for (effect, step, budget_ms) in [
        ("prefetch", Step::Prefetching, timing.preflight_ms),
        ("close", Step::Closing, timing.close_ms),
        ("swap new", Step::Replacing, timing.replace_ms),
        ("open", Step::Opening, timing.open_ms),
    ] {
        for after_ms in [0, 7_000, 86_400_000, u64::MAX] {
            let world = world();
            let target = world.add("pod-1");
            let retry = EffectOutcome::Retry { after_ms };
            world.state.lock().answers.insert(effect, retry);
            let mut driver = world.driver_with(DriverConfig::new().timing(timing.clone()));
            driver.submit(job(&target, "new", Mode::Warm)).unwrap();
            let (mut receipts, mut tried_ms) = (Vec::new(), Vec::new());
            while receipts.is_empty() {
                let turn = driver.turn(&mut |_| true).now_or_never().unwrap().unwrap();
                let sent = world.state.lock().sent.clone();
                if tried_ms.len() < sent.iter().filter(|(_, what, _)| what.starts_with(effect)).count() {
                    tried_ms.push(world.clock.now());
                }
                receipts = turn.finished;
                world.clock.set(turn.next_due_ms.unwrap_or_else(|| world.clock.now()));
            }
            let reason = Reason::NotTaken { step };
            let (Terminal::Rejected { reason: told }
            | Terminal::RolledBack { reason: told }
            | Terminal::NeedsPerson { reason: told, .. }) = only(receipts).terminal
            else {
                panic!("{effect} {after_ms}");
            };
            assert_eq!(told, reason, "{effect} {after_ms}");
            let (first, last) = (tried_ms[0], *tried_ms.last().unwrap());
            assert!(
                tried_ms.len() > 1 && last - first >= budget_ms,
                "{effect} {after_ms}: {tried_ms:?}"
            );
            // Looks are 5 s apart.
            assert!(last - first < budget_ms + 5_000, "{effect} {after_ms}: {tried_ms:?}");
            assert!(
                tried_ms.windows(2).all(|two| two[1] - two[0] < 65_000),
                "{effect} {after_ms}: {tried_ms:?}"
            );
        }
    }
}

#[test]
fn an_opening_that_is_refused_for_ever_ends_with_a_person_who_knows_it_is_closed() {
    let world = world();
    let target = world.add("pod-1");
    let failed = EffectOutcome::Failed { reason: "no".into() };
    world.state.lock().answers.insert("open", failed);
    let mut driver = world.driver();
    driver.submit(job(&target, "new", Mode::Warm)).unwrap();
    let receipt = only(world.run(&mut driver));
    let (serving, ingress) = (Serving::No, Ingress::Closed);
    let reason = Reason::Refused {
        step: Step::Opening,
        reason: "no".into(),
    };
    assert_eq!(
        receipt.terminal,
        Terminal::NeedsPerson {
            reason,
            serving,
            ingress
        }
    );
    let state = world.state.lock();
    let mut keys: Vec<EffectKey> = state.sent.iter().map(|(_, _, key)| *key).collect();
    let sent = keys.len();
    keys.dedup();
    assert_eq!(keys.len(), sent, "each new order has a key of its own");
    assert!(receipt.retries > 3);
}

#[test]
fn a_dropped_turn_ends_the_driver() {
    let world = World::new(Kill::at([0]), World::able());
    let target = world.add("pod-1");
    let mut driver = world.driver();
    driver.submit(job(&target, "new", Mode::Cold)).unwrap();
    assert!(driver.turn(&mut |_| true).now_or_never().is_none());
    let error = driver.turn(&mut |_| true).now_or_never().unwrap().unwrap_err();
    assert_eq!(error, DriverError::Interrupted);
}

#[test]
fn the_same_world_gives_the_same_bytes() {
    let bytes = || {
        let world = world();
        let mut driver = world.driver();
        for number in 0..20 {
            let target = world.add(&format!("pod-{number}"));
            let to = if number % 3 == 0 { "bad" } else { "new" };
            let mode = if number % 2 == 0 { Mode::Warm } else { Mode::Cold };
            driver.submit(job(&target, to, mode)).unwrap();
        }
        world.run(&mut driver);
        world.groups()
    };
    assert_eq!(bytes(), bytes());
}

/// The turn's future may move between threads: a runtime is the caller's choice.
#[test]
fn a_turn_is_send() {
    fn send<T: Send>(value: T) -> T {
        value
    }
    let world = world();
    let mut driver = send(world.driver());
    drop(send(driver.turn(&mut |_| true)));
}
