//! The way back: its order, its pace, and what it says where it stops.

use unattended_batching::{
    Blocked, Event, Fleet, Frontier, Plan, Policy, Rate, RollbackPace, Stuck, Target, TargetIndex, count, pct,
};

fn fleet(apps: &[(&str, u32)], load: u32) -> Fleet {
    let targets = apps.iter().flat_map(|&(app, size)| {
        (0..size).map(move |n| {
            let mut target = Target::new(format!("{app}-{n}"), app);
            (target.capacity, target.load) = (10, load);
            target
        })
    });
    Fleet::from_targets(targets).unwrap()
}

/// Everything is on the new version, in the order of the answer, and the change is taken back.
fn all_new(fleet: &Fleet, policy: &Policy) -> (Frontier, Vec<TargetIndex>) {
    let mut live = Plan::build(fleet, policy, 5).unwrap().frontier();
    let mut order = Vec::new();
    let mut now = 0;
    while !live.is_done() {
        for id in live.startable(now, usize::MAX) {
            live.on(Event::Finished { id, at: now });
            order.push(id);
        }
        let apps: Vec<_> = live.lanes().map(|lane| lane.app).collect();
        for app in apps {
            live.on(Event::Promoted { app, at: now });
        }
        now += 10_000;
    }
    (live, order)
}

fn policy() -> Policy {
    Policy::new().per_app(pct(25)).total_in_flight(pct(100))
}

#[test]
fn worst_health_first_then_newest_over_all_lanes() {
    let fleet = fleet(&[("a", 20), ("b", 20), ("c", 20)], 0);
    let (mut live, mut order) = all_new(&fleet, &policy());
    // Two of the oldest are ill; they are of one application.
    let app = fleet.app_of(order[0]);
    let ill: Vec<_> = order
        .iter()
        .copied()
        .filter(|&t| fleet.app_of(t) == app)
        .take(2)
        .collect();
    for &id in &ill {
        live.on(Event::BecameUnhealthy { id });
    }
    live.on(Event::RollBack { at: 0 });
    let back = live.rollback_startable(0, 8);
    // The ill ones, the newer of them first; then the newest.
    assert_eq!(back[..2], [ill[1], ill[0]]);
    order.retain(|t| !ill.contains(t));
    order.reverse();
    assert_eq!(back[2..], order[..6]);
    // One that falls ill now goes before the newest.
    let old = order[50];
    live.on(Event::BecameUnhealthy { id: old });
    assert_eq!(live.rollback_startable(0, 1), [old]);
}

#[test]
fn the_way_back_has_a_pace_of_its_own() {
    let fleet = fleet(&[("a", 40), ("b", 40)], 0);
    let slow = policy().total_in_flight(count(2)).rate(2, 10_000);
    // Without one: the same total, and no rate.
    let (mut live, _) = all_new(&fleet, &slow);
    live.on(Event::RollBack { at: 0 });
    for _ in 0..40 {
        let back = live.rollback_startable(7, usize::MAX);
        assert_eq!(back.len(), 2);
        for id in back {
            live.on(Event::RolledBack { id });
        }
    }
    assert!(live.is_done());

    let pace = RollbackPace {
        total_in_flight: Some(count(7).into()),
        rate: Some(Rate {
            targets: 5,
            window_ms: 1_000,
        }),
    };
    let (mut live, _) = all_new(&fleet, &slow.rollback(pace));
    live.on(Event::RollBack { at: 0 });
    let now = 1_000_000;
    let first = live.rollback_startable(now, usize::MAX);
    assert_eq!(first.len(), 5, "the rate");
    assert_eq!(live.rollback_startable(now + 999, usize::MAX), []);
    assert_eq!(live.rollback_startable(now + 1_000, usize::MAX).len(), 2, "the total");
    for &id in &first {
        live.on(Event::RolledBack { id });
    }
    assert_eq!(
        live.rollback_startable(now + 1_000, usize::MAX).len(),
        3,
        "the rate again"
    );
    assert_eq!(live.stuck(), [], "to wait for a pace is not to be stuck");
}

#[test]
fn capacity_is_checked_at_each_step() {
    // Twenty of capacity 10 and load 8, a tenth to spare: 176 of 200 must be ready, so two may be away.
    let fleet = fleet(&[("a", 20)], 8);
    let (mut live, order) = all_new(&fleet, &policy().ready_capacity_headroom(pct(10)));
    live.on(Event::RollBack { at: 0 });
    assert_eq!(live.rollback_startable(0, usize::MAX).len(), 2);
    for &id in &order[18..] {
        live.on(Event::RolledBack { id });
    }
    // Three that nobody touched any more fall ill: nothing can be spared, but the ill ones themselves may go.
    for &id in &order[..3] {
        live.on(Event::BecameUnhealthy { id });
    }
    let back = live.rollback_startable(0, usize::MAX);
    assert_eq!(back, [order[2], order[1], order[0]]);
    assert_eq!(live.rollback_startable(0, usize::MAX), []);
}

#[test]
fn it_says_why_it_cannot() {
    let fleet = fleet(&[("a", 8), ("b", 8)], 0);
    let policy = policy().fix_in_flight_per_app(count(0));
    let (mut live, order) = all_new(&fleet, &policy);
    let of = |app: &str| {
        let app = fleet.app_index(app).unwrap();
        order
            .iter()
            .copied()
            .filter(|&t| fleet.app_of(t) == app)
            .collect::<Vec<_>>()
    };
    let (a, b) = (of("a"), of("b"));
    assert_eq!(live.stuck(), [], "nobody has decided to take anything back");
    live.on(Event::RollBack { at: 0 });
    // Of `a`, two come back and fall ill on the old version: they use up its whole allowance.
    let mut back = live.rollback_startable(0, usize::MAX);
    back.retain(|t| a.contains(t));
    assert_eq!(back.len(), 2);
    for &id in &back {
        live.on(Event::RolledBack { id });
        live.on(Event::BecameUnhealthy { id });
    }
    // Of `b`, one fails on its way.
    let failed = b[7];
    live.on(Event::RollbackFailed { id: failed });
    let rest: Vec<_> = live.rollback_startable(0, usize::MAX);
    assert!(rest.iter().all(|t| b.contains(t)), "{rest:?}");
    let stuck = live.stuck();
    assert!(stuck.contains(&(failed, Stuck::Failed)));
    let why = Stuck::Blocked(Blocked::UnhealthyConsumeAllowance { unhealthy: 2, cap: 2 });
    assert_eq!(
        stuck
            .iter()
            .filter(|&&(t, reason)| a.contains(&t) && reason == why)
            .count(),
        6
    );
    assert_eq!(stuck.len(), 7, "the others of b only wait for one another: {stuck:?}");
    // One recovers, and the next goes.
    live.on(Event::BecameHealthy { id: back[0] });
    assert_eq!(live.rollback_startable(0, 1).len(), 1);
}

#[test]
fn a_pace_of_nothing_is_refused() {
    let fleet = fleet(&[("a", 8)], 0);
    let build = |pace| {
        Plan::build(&fleet, &policy().rollback(pace), 0)
            .unwrap_err()
            .to_string()
    };
    let rate = Some(Rate {
        targets: 0,
        window_ms: 1,
    });
    assert!(
        build(RollbackPace {
            rate,
            ..RollbackPace::default()
        })
        .starts_with("rollback.rate: 0 targets")
    );
    let total_in_flight = Some(count(0).into());
    let error = build(RollbackPace {
        total_in_flight,
        rate: None,
    });
    assert_eq!(error, "rollback.total_in_flight: 0 lets nothing start; give at least 1");
}
