//! Laws of the live side.

mod away;

use std::collections::BTreeSet;

use crate::common::caller::promote;
use unattended_batching::{
    AppIndex, Blocked, Event, Fleet, Frontier, JoinError, Noted, Plan, Policy, Side, TargetIndex, count, pct, position,
};

fn apps(sizes: &[(&str, u32)]) -> Fleet {
    let mut builder = Fleet::builder();
    for (app, size) in sizes {
        for n in 0..*size {
            builder.push(&format!("{app}-{n}"), app, [], true).unwrap();
        }
    }
    builder.build().unwrap()
}

fn live(fleet: &Fleet, policy: &Policy) -> Frontier {
    Plan::build(fleet, policy, 3).unwrap().frontier()
}

fn open_all(live: &mut Frontier) {
    let apps: Vec<AppIndex> = live.lanes().map(|lane| lane.app).collect();
    for app in apps {
        while live.on(Event::Promoted { app, at: 0 }) == Noted::Applied {}
    }
}

#[test]
fn batches_start_in_plan_order_and_everything_is_done_at_the_end() {
    let fleet = apps(&[("a", 40), ("b", 25), ("c", 1)]);
    let plan = Plan::build(&fleet, &Policy::new(), 3).unwrap();
    let mut live = plan.frontier();
    let mut order = Vec::new();
    while !live.is_done() {
        let started = live.startable(0, 100);
        for &id in &started {
            assert_eq!(live.on(Event::Finished { id, at: 0 }), Noted::Applied);
            order.push(id);
        }
        assert!(
            !started.is_empty() || promote(&mut live),
            "stuck: {:?}",
            live.lanes().collect::<Vec<_>>()
        );
    }
    assert_eq!(order.len(), 66);
    for app in 0..3 {
        let batches = order
            .iter()
            .filter(|&&t| fleet.app_of(t).0 == app)
            .map(|&t| plan.batch_of(t));
        assert!(batches.is_sorted());
    }
    assert_eq!(live.lanes().map(|lane| lane.done).sum::<u32>(), 66);
}

/// Who goes back by himself takes a slot as everybody does.
#[test]
fn there_is_room_for_as_many_as_the_caps_let_out_of_service() {
    let fleet = apps(&[("a", 20), ("b", 20)]);
    let mut live = live(&fleet, &Policy::new().per_app(pct(10)).total_in_flight(pct(100)));
    open_all(&mut live);
    let started = live.startable(0, 100);
    let of = |app: u32| fleet.targets_of(AppIndex(app)).collect::<Vec<_>>();
    assert_eq!(started.len(), 4, "two of each");
    assert!(!of(0).into_iter().any(|id| live.has_room(id)), "both slots are taken");
    for id in started {
        live.on(Event::Finished { id, at: 0 });
    }
    let (first, second, third) = (of(0)[0], of(0)[1], of(0)[2]);
    assert!(live.has_room(first));
    live.on(Event::BecameUnhealthy { id: first });
    assert!(live.has_room(second));
    live.on(Event::BecameUnhealthy { id: second });
    assert!(!live.has_room(third) && live.has_room(of(1)[0]));
    live.on(Event::BecameHealthy { id: first });
    assert!(live.has_room(third));
    assert!(!live.has_room(TargetIndex(40)), "it has no such target");
}

/// An isolation is no start: it keeps the caps, and the rate of starts does not hold it up.
#[test]
fn who_is_taken_out_of_service_keeps_the_caps_and_waits_for_no_rate() {
    let fleet = apps(&[("a", 20), ("b", 20)]);
    let policy = Policy::new()
        .per_app(pct(10))
        .total_in_flight(pct(100))
        .rate(1, 3_600_000);
    let mut live = live(&fleet, &policy);
    open_all(&mut live);
    let started = live.startable(0, 100);
    assert_eq!(started.len(), 1, "one an hour");
    let app = live.app_of(started[0]).unwrap();
    let others: Vec<_> = fleet.targets_of(app).filter(|id| *id != started[0]).collect();
    assert!(!live.has_room(others[0]) && live.may_leave(others[0]));
    assert!(!live.is_unhealthy(others[0]));
    live.on(Event::BecameUnhealthy { id: others[0] });
    assert!(live.is_unhealthy(others[0]));
    assert!(!live.may_leave(others[1]), "one flies and one is out, of two");
    live.on(Event::BecameHealthy { id: others[0] });
    assert!(live.may_leave(others[1]) && !live.is_unhealthy(others[0]));
    assert!(!live.may_leave(TargetIndex(40)) && !live.is_unhealthy(TargetIndex(40)));
}

#[test]
fn unhealthy_targets_consume_the_allowance_and_a_fix_may_still_enter() {
    let mut builder = Fleet::builder();
    for n in 0..20 {
        builder.push(&format!("a-{n}"), "a", [], n >= 10).unwrap();
    }
    let fleet = builder.build().unwrap();
    let fixes = Policy::new().fix_in_flight_per_app(pct(100));
    let mut live = live(&fleet, &fixes.per_app(pct(25)).total_in_flight(pct(100)));
    open_all(&mut live);
    // Half is not ready: the limit of five does not vanish, and no healthy target may join them.
    let first = live.startable(0, 100);
    assert_eq!(first.len(), 5);
    assert!(first.iter().all(|t| t.0 < 10));
    assert_eq!(live.startable(0, 100), []);
    for &id in &first {
        live.on(Event::Finished { id, at: 0 });
    }
    let second = live.startable(0, 100);
    assert_eq!(second.len(), 5);
    assert!(second.iter().all(|t| t.0 < 10));
    for &id in &second {
        live.on(Event::Finished { id, at: 0 });
    }
    // All are well: healthy ones follow, five at a time.
    assert_eq!(live.startable(0, 100).len(), 5);
}

/// Nobody asked for the exception: the ill start in their own places as long as they are within the cap, and beyond it nobody of the
/// application starts, while others go on.
#[test]
fn without_the_exception_nobody_enters_beyond_a_cap() {
    let mut builder = Fleet::builder();
    for n in 0..20 {
        builder.push(&format!("a-{n}"), "a", [], n >= 6).unwrap();
        builder.push(&format!("b-{n}"), "b", [], n >= 5).unwrap();
    }
    let fleet = builder.build().unwrap();
    let mut live = live(&fleet, &Policy::new().per_app(pct(25)).total_in_flight(pct(100)));
    open_all(&mut live);
    let first = live.startable(0, 100);
    assert_eq!(first.len(), 5);
    assert!(first.iter().all(|&t| fleet.app_of(t).0 == 1 && !fleet.ready(t)));
    let blocked = Some(Blocked::UnhealthyConsumeAllowance { unhealthy: 6, cap: 5 });
    assert_eq!(live.lane(AppIndex(0)).blocked, blocked);
    live.on(Event::BecameHealthy { id: TargetIndex(0) });
    let next = live.startable(0, 100);
    assert_eq!(next.len(), 5, "within the cap again: {next:?}");
    assert!(next.iter().all(|&t| fleet.app_of(t).0 == 0 && !fleet.ready(t)));
}

/// Somebody starts a target long before its batch, twice, and fails twice: it waits for its batch again, once.
#[test]
fn who_was_started_by_somebody_else_and_failed_waits_for_its_own_batch() {
    let fleet = apps(&[("a", 8)]);
    let plan = Plan::build(&fleet, &Policy::new().total_in_flight(pct(100)), 3).unwrap();
    let mut live = plan.frontier();
    let last = plan.batch_count() - 1;
    let &[id] = plan.targets(last) else {
        panic!("one target is held back: {:?}", plan.targets(last));
    };
    for _ in 0..2 {
        assert_eq!(live.on(Event::Started { id, at: 1 }), Noted::Applied);
        assert_eq!((live.in_flight(), live.remaining()), (1, 8));
        let (at, retry) = (2, true);
        assert_eq!(live.on(Event::Failed { id, at, retry }), Noted::Applied);
        let lane = live.lane(AppIndex(0));
        assert_eq!((lane.waiting_in_open, lane.unhealthy, live.remaining()), (1, 1, 8));
        assert_eq!(live.at_work(lane.app), (lane.waiting_in_open, lane.in_flight));
    }
    live.on(Event::BecameHealthy { id });
    let mut order = Vec::new();
    while !live.is_done() {
        let started = live.startable(3, 100);
        for &id in &started {
            live.on(Event::Finished { id, at: 3 });
            order.push(id);
        }
        assert!(
            !started.is_empty() || promote(&mut live),
            "stuck: {:?}",
            live.lane(AppIndex(0))
        );
    }
    assert_eq!((order.len(), order.last()), (8, Some(&id)));
    assert_eq!(live.lane(AppIndex(0)).waiting_in_open, 0);
}

#[test]
fn a_lane_says_why_it_stands_still() {
    let fleet = apps(&[("a", 8), ("b", 8)]);
    let mut live = live(&fleet, &Policy::new().total_in_flight(pct(100)));
    open_all(&mut live);
    let mine: Vec<TargetIndex> = live
        .startable(0, 100)
        .into_iter()
        .filter(|&t| fleet.app_of(t).0 == 0)
        .collect();
    assert_eq!(mine.len(), 2);
    for &id in &mine {
        live.on(Event::Failed {
            id,
            at: 0,
            retry: false,
        });
    }
    assert_eq!(live.startable(0, 100), []);
    let lane = live.lane(AppIndex(0));
    assert_eq!(
        lane.blocked,
        Some(Blocked::UnhealthyConsumeAllowance { unhealthy: 2, cap: 2 })
    );
    assert_eq!((lane.failed, lane.waiting_in_open, lane.in_flight), (2, 6, 0));
    assert_eq!(
        (live.at_work(lane.app), live.at_work(AppIndex(u32::MAX))),
        ((6, 0), (0, 0))
    );
    live.on(Event::BecameHealthy { id: mine[0] });
    assert_eq!(live.lane(AppIndex(0)).blocked, None);
    assert_eq!(live.startable(0, 100).len(), 1);
    assert_eq!(live.lane(AppIndex(9)).blocked, Some(Blocked::UnknownApplication));
}

#[test]
fn label_and_total_caps_say_so_too() {
    let mut builder = Fleet::builder();
    for n in 0..40 {
        builder
            .push(
                &format!("t{n}"),
                ["a", "b", "c", "d"][n % 4],
                [("zone", ["x", "y"][n / 20])],
                n >= 4,
            )
            .unwrap();
    }
    let fleet = builder.build().unwrap();
    let all = Policy::new().per_app(pct(50)).fix_in_flight_per_app(pct(100));
    let mut zoned = live(
        &fleet,
        &all.clone().per_label("zone", count(4)).total_in_flight(pct(100)),
    );
    open_all(&mut zoned);
    let fixes = zoned.startable(0, 4);
    assert!(fixes.iter().all(|t| t.0 < 4) || fixes.iter().any(|t| t.0 >= 20));
    let mut total = live(&fleet, &all.total_in_flight(count(3)));
    open_all(&mut total);
    let started = total.startable(0, 100);
    assert_eq!(started.len(), 3, "bounded by what is in flight");
    assert!(
        started.iter().all(|t| t.0 < 4),
        "four unhealthy of three: only they may go"
    );
}

/// More are unhealthy than the fleet's cap allows: fixes take turns under the cap on what is in flight until all lanes are well.
#[test]
fn fixes_reach_every_lane_of_a_fleet_in_trouble() {
    let mut builder = Fleet::builder();
    for n in 0..40 {
        builder
            .push(&format!("t{n}"), ["a", "b", "c", "d"][n % 4], [], n >= 12)
            .unwrap();
    }
    let fleet = builder.build().unwrap();
    let fixes = Policy::new().fix_in_flight_per_app(pct(100));
    let mut live = live(&fleet, &fixes.per_app(pct(50)).total_in_flight(count(2)));
    open_all(&mut live);
    let mut fixed = Vec::new();
    while fixed.len() < 12 {
        let started = live.startable(0, 100);
        assert_eq!(started.len(), 2, "stuck after {fixed:?}");
        for id in started {
            assert!(id.0 < 12, "no healthy target while twelve are not");
            live.on(Event::Finished { id, at: 0 });
            fixed.push(id);
        }
    }
    assert_eq!(live.startable(0, 100).len(), 2);
}

#[test]
fn a_failed_target_is_retried_or_becomes_debt() {
    let fleet = apps(&[("a", 4)]);
    let mut live = live(&fleet, &Policy::new().total_in_flight(pct(100)));
    open_all(&mut live);
    let id = live.startable(0, 1)[0];
    assert_eq!(live.on(Event::Failed { id, at: 0, retry: true }), Noted::Applied);
    assert_eq!(live.on(Event::Failed { id, at: 0, retry: true }), Noted::Stale);
    // It alone may go: it holds the only slot.
    assert_eq!(live.startable(0, 10), [id]);
    live.on(Event::Failed {
        id,
        at: 0,
        retry: false,
    });
    assert_eq!(live.lane(AppIndex(0)).failed, 1);
    assert_eq!(live.startable(0, 10), []);
    // Someone gives the others up: nothing remains.
    for other in fleet.targets().filter(|&t| t != id) {
        assert_eq!(
            live.on(Event::Failed {
                id: other,
                at: 0,
                retry: false
            }),
            Noted::Applied
        );
    }
    assert!(live.is_done());
    assert_eq!(live.lane(AppIndex(0)).unhealthy, 1, "giving up is not falling ill");
    assert_eq!(
        live.on(Event::Finished {
            id: TargetIndex(99),
            at: 0
        }),
        Noted::Unknown
    );
    assert_eq!(
        live.on(Event::Promoted {
            app: AppIndex(7),
            at: 0
        }),
        Noted::Unknown
    );
}

#[test]
fn holds_and_limits() {
    let fleet = apps(&[("a", 40), ("b", 40)]);
    let mut live = live(&fleet, &Policy::new().total_in_flight(pct(100)));
    open_all(&mut live);
    let (a, b) = (AppIndex(0), AppIndex(1));
    live.on(Event::HeldUntil { app: a, until_ms: 100 });
    live.on(Event::Limited { app: b, n: Some(3) });
    let started = live.startable(99, 100);
    assert_eq!(started.len(), 3);
    assert!(started.iter().all(|&t| fleet.app_of(t) == b));
    assert_eq!(live.lane(a).held_until, Some(100));
    let mine = live.startable(100, 100);
    assert_eq!(mine.len(), 10, "the hold ends by itself");
    assert_eq!(live.lane(a).held_until, None);
    live.on(Event::Limited { app: b, n: None });
    assert_eq!(live.startable(100, 100).len(), 7);
    live.on(Event::HeldUntil {
        app: a,
        until_ms: 1_000,
    });
    live.on(Event::HeldUntil {
        app: a,
        until_ms: 2_000,
    });
    live.on(Event::Finished { id: mine[0], at: 0 });
    assert_eq!(live.startable(1_500, 100), [], "the later hold replaced the earlier");
    live.on(Event::Released { app: a });
    assert!(!live.startable(1_500, 100).is_empty());
}

#[test]
fn lanes_take_turns() {
    let fleet = apps(&[("big", 900), ("mid", 90), ("small", 10)]);
    let mut live = live(&fleet, &Policy::new().per_app(pct(50)).total_in_flight(count(30)));
    open_all(&mut live);
    let started = live.startable(0, 9);
    let of = |app: u32| started.iter().filter(|&&t| fleet.app_of(t).0 == app).count();
    assert_eq!((of(0), of(1), of(2)), (3, 3, 3));
}

#[test]
fn a_rollback_gives_the_exposed_back_newest_first() {
    let fleet = apps(&[("a", 40), ("b", 40)]);
    let mut live = live(&fleet, &Policy::new().total_in_flight(pct(100)));
    open_all(&mut live);
    let mut order = Vec::new();
    for _ in 0..3 {
        for id in live.startable(0, 6) {
            live.on(Event::Finished { id, at: 0 });
            order.push(id);
        }
    }
    let flying = live.startable(0, 2);
    assert_eq!(live.rollback_startable(0, 10), []);
    assert_eq!(live.on(Event::RollBack { at: 1 }), Noted::Applied);
    assert_eq!(live.on(Event::RollBack { at: 1 }), Noted::Stale);
    assert_eq!(live.startable(0, 10), [], "nothing new starts");
    assert_eq!(live.remaining(), 20);
    let back = live.rollback_startable(0, 5);
    order.reverse();
    assert_eq!(back, order[..5]);
    assert_eq!(live.version_for("new", "a", &[]), Side::Old);
    for id in back {
        assert_eq!(live.on(Event::RolledBack { id }), Noted::Applied);
    }
    // What was in flight came to rest meanwhile: one arrived, one failed; both go back, and before the rest.
    live.on(Event::Finished { id: flying[0], at: 2 });
    live.on(Event::Failed {
        id: flying[1],
        at: 2,
        retry: true,
    });
    let next: BTreeSet<_> = live.rollback_startable(0, 2).into_iter().collect();
    assert_eq!(next, flying.iter().copied().collect());
    for &id in &flying {
        live.on(Event::RollbackFailed { id });
    }
    let mut guard = 0;
    while !live.is_done() {
        for id in live.rollback_startable(0, 100) {
            live.on(Event::RolledBack { id });
        }
        guard += 1;
        assert!(guard < 20);
    }
    assert_eq!(live.lanes().map(|lane| lane.rolled_back).sum::<u32>(), 18);
    assert_eq!(live.lanes().map(|lane| lane.failed).sum::<u32>(), 2);
}

#[test]
fn births_follow_their_cohort() {
    let fleet = apps(&[("a", 400), ("lone", 1)]);
    let plan = Plan::build(&fleet, &Policy::new(), 3).unwrap();
    let mut live = plan.frontier();
    let new = |live: &Frontier, app: &str| {
        (0..2_000)
            .filter(|n| live.version_for(&format!("n{n}"), app, &[]) == Side::New)
            .count()
    };
    assert!(new(&live, "a") < 20, "one of 400 is open");
    assert_eq!(new(&live, "lone"), 0);
    assert_eq!(new(&live, "stranger"), 0);
    let a = AppIndex(0);
    for _ in 0..8 {
        live.on(Event::Promoted { app: a, at: 0 });
    }
    let share = f64::from(plan.batch(8).cumulative) / 401.0;
    let found = new(&live, "a") as f64 / 2_000.0;
    // The end of a cohort of 400 is itself known to about 2.5 % of the hash range.
    assert!((found - share).abs() < 0.08, "{found} of {share}");
    // An application whose pods are all replaced: never a larger share than the plan's.
    for n in 0..2_000 {
        let id = format!("n{n}");
        let side = live.version_for(&id, "a", &[]);
        live.on(Event::Left {
            id: TargetIndex(n % 400),
        });
        live.join(&id, "a", &[], side, 0).unwrap();
        let lane = live.lane(a);
        assert!(
            f64::from(lane.done) <= (share * f64::from(lane.size + 1)).ceil() + 1.0,
            "{lane:?}"
        );
    }
    while live.on(Event::Promoted { app: a, at: 0 }) == Noted::Applied {}
    assert_eq!(live.version_for("late", "a", &[]), Side::New, "the last batch is open");
    assert_eq!(live.join("", "a", &[], Side::Old, 0), Err(JoinError::EmptyId));
    assert!(matches!(
        live.join("x", "", &[], Side::Old, 0),
        Err(JoinError::EmptyApp { .. })
    ));
    let stranger = live.join("s", "stranger", &[], Side::Old, 0).unwrap();
    let app = live.app_of(stranger).unwrap();
    assert_eq!((live.app_name(app), app), (Some("stranger"), AppIndex(2)));
    assert_eq!(live.lane(app).next_nonempty_batch, Some(plan.batch_count() - 1));
}

/// Births whose hashes all fall into the open cohort: chance does not share them out, so the cap on the stratum must.
#[test]
fn births_never_enlarge_the_share_of_their_stratum() {
    let fleet = apps(&[("a", 40)]);
    let plan = Plan::build(&fleet, &Policy::new(), 3).unwrap();
    let mut live = plan.frontier();
    for _ in 0..3 {
        live.on(Event::Promoted {
            app: AppIndex(0),
            at: 0,
        });
    }
    assert_eq!(plan.batch(3).cumulative, 8);
    let low: Vec<String> = (0..40_000)
        .map(|n| format!("n{n}"))
        .filter(|id| position(3, id) < u64::MAX / 100)
        .take(200)
        .collect();
    let (mut new, mut size) = (0, 40_u32);
    for id in &low {
        let side = live.version_for(id, "a", &[]);
        live.join(id, "a", &[], side, 0).unwrap();
        new += u32::from(side == Side::New);
        size += 1;
        assert!(8 + new <= (8 * size).div_ceil(40), "{new} of {size}");
        // Those born old wait for the next batch, not in this one: the planned eight are all that wait here.
        assert_eq!(live.lane(AppIndex(0)).waiting_in_open, 8);
    }
    assert_eq!(new, 40, "a fifth of 200");
    assert_eq!(live.lane(AppIndex(0)).next_batch_size, plan.batch(4).size + 160);
}

#[test]
fn the_last_of_an_application_waits_for_the_last_batch() {
    let fleet = apps(&[("a", 2), ("b", 40)]);
    let plan = Plan::build(&fleet, &Policy::new(), 3).unwrap();
    let mut live = plan.frontier();
    let early = fleet.targets_of(AppIndex(0)).min_by_key(|&t| plan.batch_of(t)).unwrap();
    let other = fleet.targets_of(AppIndex(0)).find(|&t| t != early).unwrap();
    let last = plan.batch_count() - 1;
    for _ in 0..last - 1 {
        live.on(Event::Promoted {
            app: AppIndex(0),
            at: 0,
        });
    }
    assert_eq!(live.lane(AppIndex(0)).waiting_in_open, 1);
    live.on(Event::Left { id: other });
    assert_eq!(live.lane(AppIndex(0)).waiting_in_open, 0);
    assert_eq!(live.lane(AppIndex(0)).next_batch_size, 1);
    assert!(!live.startable(0, 100).contains(&early));
    live.on(Event::Promoted {
        app: AppIndex(0),
        at: 0,
    });
    assert!(live.startable(0, 100).contains(&early));
}

#[test]
fn a_restored_frontier_goes_on_as_the_original() {
    let fleet = apps(&[("a", 60), ("b", 30)]);
    let mut one = live(&fleet, &Policy::new().total_in_flight(count(4)));
    open_all(&mut one);
    let flying = one.startable(0, 10);
    one.join("born", "b", &[], Side::Old, 0).unwrap();
    one.on(Event::HeldUntil {
        app: AppIndex(1),
        until_ms: 50,
    });
    let text = serde_json::to_string(&one).unwrap();
    let mut two: Frontier = serde_json::from_str(&text).unwrap();
    for now in 0..80 {
        for live in [&mut one, &mut two] {
            live.on(Event::Finished {
                id: flying[now % flying.len()],
                at: 0,
            });
        }
        let (left, right) = (one.startable(now as u64, 2), two.startable(now as u64, 2));
        assert_eq!(left, right);
        for id in left {
            one.on(Event::Finished { id, at: 0 });
            two.on(Event::Finished { id, at: 0 });
        }
    }
    assert_eq!(
        serde_json::to_string(&one).unwrap(),
        serde_json::to_string(&two).unwrap()
    );
}
