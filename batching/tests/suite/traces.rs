//! Every cap at every instant, under random fleets, policies and interleavings: what the frontier does is written down and checked by
//! [`verify_trace`], which shares no code with it.

use std::cell::RefCell;

use crate::common::caller::promote;
use crate::common::cases::cases;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use unattended_batching::{
    AppIndex, Cap, Event, Fleet, Frontier, Pin, PinScope, Plan, Policy, Ramp, Rate, RollbackPace, Side, Target,
    TargetIndex, TraceStep, count, pct, verify, verify_trace,
};

const ZONES: [&str; 3] = ["z1", "z2", "z3"];
const REGIONS: [&str; 3] = ["eu", "us", "ap"];

/// Application, zone (3 is none), region (3 is none), weight, readiness.
type Row = (u8, u8, u8, u8, bool);

fn rows() -> impl Strategy<Value = Vec<Row>> {
    // Squares make a few large applications and many small ones.
    let app = (0..=36_u8).prop_map(|n| n.isqrt());
    prop::collection::vec((app, 0..4_u8, 0..4_u8, 1..5_u8, prop::bool::weighted(0.9)), 1..40)
}

fn labels(zone: u8, region: u8) -> Vec<(&'static str, &'static str)> {
    let zone = ZONES.get(usize::from(zone)).map(|zone| ("zone", *zone));
    let region = REGIONS.get(usize::from(region)).map(|region| ("region", *region));
    zone.into_iter().chain(region).collect()
}

fn fleet(rows: &[Row]) -> Fleet {
    // Two that are always there, so that every key exists and every application named by a pin.
    let anchors = (0..2).map(|n| {
        let mut target = Target::new(format!("anchor{n}"), "app0");
        target.labels = [("zone".into(), "z1".into()), ("region".into(), "eu".into())].into();
        (target.capacity, target.load) = (40, 1);
        target
    });
    let drawn = rows.iter().enumerate().map(|(n, &(app, zone, region, weight, ready))| {
        let mut target = Target::new(format!("t{n}"), format!("app{app}"));
        target.labels = labels(zone, region)
            .into_iter()
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .collect();
        // At least half of any two is left, so that a headroom can be kept.
        (target.capacity, target.load) = (40 + u32::from(weight), u32::from(weight));
        (target.ready, target.tier) = (ready, weight % 3);
        target
    });
    Fleet::from_targets(anchors.chain(drawn)).unwrap()
}

/// What a policy is made of; every rule is there in half of the cases.
#[derive(Clone, Debug)]
struct Rules {
    app: u32,
    up: bool,
    zone: Option<u32>,
    total: u32,
    spread: bool,
    one_zone: bool,
    one_region: bool,
    rate: Option<(u32, u64)>,
    headroom: Option<u32>,
    fix: Option<u32>,
    pins: Vec<(u8, u8, u64)>,
    growth: f64,
}

fn rules() -> impl Strategy<Value = Rules> {
    let caps = (1..60_u32, any::<bool>(), prop::option::of(1..6_u32), 1..12_u32);
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    let options = (
        prop::option::of((1..6_u32, 1..40_u64)),
        prop::option::of(0..60_u32),
        prop::option::of(1..3_u32),
        prop::collection::vec((0..7_u8, 0..4_u8, 0..120_u64), 0..3),
        1.3_f64..9.0,
    );
    (caps, flags, options).prop_map(|((app, up, zone, total), (spread, one_zone, one_region), rest)| {
        let (rate, headroom, fix, pins, growth) = rest;
        Rules {
            app,
            up,
            zone,
            total,
            spread,
            one_zone,
            one_region,
            rate,
            headroom,
            fix,
            pins,
            growth,
        }
    })
}

fn policy(rules: &Rules, fleet: &Fleet) -> Policy {
    let app = if rules.up {
        Cap::rounded_up(pct(rules.app))
    } else {
        Cap::rounded_down(pct(rules.app))
    };
    let mut policy = Policy::new()
        .ramp(Ramp::geometric(count(1), rules.growth).unwrap())
        .per_app(app)
        .total_in_flight(count(rules.total));
    if let Some(zone) = rules.zone {
        policy = policy.per_label("zone", count(zone));
    }
    if rules.spread {
        policy = policy.spread(["zone"]);
    }
    if rules.one_zone {
        policy = policy.one_value_per_app("zone");
    }
    if rules.one_region {
        policy = policy.one_first_exposure("region");
    }
    if let Some((targets, window_ms)) = rules.rate {
        // The way back then has a pace of its own, wider and narrower.
        policy = policy.rate(targets, window_ms).rollback(RollbackPace {
            total_in_flight: Some(count(13 - rules.total).into()),
            rate: Some(Rate {
                targets: 6 - targets,
                window_ms: 41 - window_ms,
            }),
        });
    }
    if let Some(headroom) = rules.headroom {
        policy = policy.ready_capacity_headroom(pct(headroom));
    }
    if let Some(fix) = rules.fix {
        policy = policy.fix_in_flight_per_app(count(fix));
    }
    for &(app, zone, until_ms) in &rules.pins {
        let zone = ZONES.get(usize::from(zone));
        let scope = PinScope {
            app: (app < 6 || zone.is_none()).then(|| format!("app{}", app % 6)),
            labels: zone
                .map(|zone| ("zone".to_owned(), (*zone).to_owned()))
                .into_iter()
                .collect(),
        };
        // One that holds nobody is refused.
        let holds = |target: TargetIndex| {
            let target = fleet.target(target);
            scope.app.as_ref().is_none_or(|app| *app == target.app)
                && scope
                    .labels
                    .iter()
                    .all(|(key, value)| target.labels.get(key) == Some(value))
        };
        if !fleet.targets().any(holds) {
            continue;
        }
        policy = policy.pin(Pin {
            scope,
            version: "1".into(),
            until_ms,
            owner: "li".into(),
            reason: "audit".into(),
        });
    }
    policy
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Start(usize),
    Finish(usize),
    Fail(usize, bool),
    Ill(usize),
    Well(usize),
    Leave(usize),
    Join(u8, u8, u8),
    Promote(usize),
    Hold(usize, u64),
    Release(usize),
    Limit(usize, Option<u32>),
    Themselves(usize),
    Away(usize),
    Near(usize),
    RollBack,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        9 => (1_usize..8).prop_map(Step::Start),
        8 => any::<usize>().prop_map(Step::Finish),
        2 => (any::<usize>(), any::<bool>()).prop_map(|(n, retry)| Step::Fail(n, retry)),
        2 => any::<usize>().prop_map(Step::Ill),
        2 => any::<usize>().prop_map(Step::Well),
        2 => any::<usize>().prop_map(Step::Leave),
        3 => (0_u8..8, 0_u8..5, 0_u8..5).prop_map(|(a, z, r)| Step::Join(a, z, r)),
        6 => any::<usize>().prop_map(Step::Promote),
        1 => (any::<usize>(), 0_u64..100).prop_map(|(n, t)| Step::Hold(n, t)),
        1 => any::<usize>().prop_map(Step::Release),
        1 => (any::<usize>(), prop::option::of(0_u32..4)).prop_map(|(n, l)| Step::Limit(n, l)),
        1 => any::<usize>().prop_map(Step::Themselves),
        2 => any::<usize>().prop_map(Step::Away),
        2 => any::<usize>().prop_map(Step::Near),
        1 => prop::bool::weighted(0.1).prop_map(|yes| if yes { Step::RollBack } else { Step::Start(1) }),
    ];
    prop::collection::vec(step, 1..100)
}

/// A frontier, and everything that happened to it.
struct Run {
    live: Frontier,
    trace: Vec<TraceStep>,
    flying: Vec<TargetIndex>,
    gone: Vec<bool>,
    back: bool,
}

impl Run {
    fn new(plan: &Plan) -> Self {
        let live = plan.frontier();
        Self {
            gone: vec![false; live.len()],
            live,
            trace: Vec::new(),
            flying: Vec::new(),
            back: false,
        }
    }

    fn tell(&mut self, event: Event) {
        self.live.on(event);
        self.trace.push(TraceStep::Told(event));
    }

    fn start(&mut self, now: u64, max: usize) -> usize {
        let started = if self.back {
            self.live.rollback_startable(now, max)
        } else {
            self.live.startable(now, max)
        };
        assert!(started.len() <= max);
        for &id in &started {
            self.trace.push(if self.back {
                TraceStep::StartedBack { id, at: now }
            } else {
                TraceStep::Started { id, at: now }
            });
        }
        self.flying.extend(&started);
        started.len()
    }

    fn end(&mut self, n: usize, now: u64, well: bool, retry: bool) {
        if self.flying.is_empty() {
            return;
        }
        let id = self.flying.swap_remove(n % self.flying.len());
        let back = self
            .trace
            .iter()
            .any(|step| matches!(step, TraceStep::StartedBack { id: other, .. } if *other == id));
        self.tell(match (back, well) {
            (true, true) => Event::RolledBack { id },
            (true, false) => Event::RollbackFailed { id },
            (false, true) => Event::Finished { id, at: now },
            (false, false) => Event::Failed { id, at: now, retry },
        });
    }

    fn step(&mut self, step: Step, now: u64) {
        let any = |n: usize, len: usize| TargetIndex(u32::try_from(n % len).unwrap());
        let target = |n: usize, run: &Self| any(n, run.gone.len());
        let lanes = self.live.lanes().len();
        let app = |n: usize| AppIndex(u32::try_from(n % lanes).unwrap());
        match step {
            Step::Start(max) => {
                self.start(now, max);
            }
            Step::Finish(n) => self.end(n, now, true, false),
            Step::Fail(n, retry) => self.end(n, now, false, retry),
            Step::Ill(n) => self.tell(Event::BecameUnhealthy { id: target(n, self) }),
            Step::Well(n) => self.tell(Event::BecameHealthy { id: target(n, self) }),
            Step::Leave(n) => {
                let id = target(n, self);
                self.gone[id.at()] = true;
                self.flying.retain(|&other| other != id);
                self.tell(Event::Left { id });
            }
            Step::Join(app, zone, region) => {
                let (id, app) = (format!("born{now}"), format!("app{app}"));
                let mut labels = labels(zone, region);
                if zone == 4 {
                    labels.push(("zone", "z9"));
                }
                if region == 4 {
                    labels.push(("region", "sa"));
                }
                let side = self.live.version_for(&id, &app, &labels);
                self.live.join(&id, &app, &labels, side, now).unwrap();
                self.gone.push(false);
                self.trace.push(TraceStep::Joined {
                    id,
                    app,
                    labels: labels.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
                    side,
                    at: now,
                });
            }
            Step::Promote(n) => self.tell(Event::Promoted { app: app(n), at: now }),
            Step::Hold(n, until_ms) => self.tell(Event::HeldUntil { app: app(n), until_ms }),
            Step::Release(n) => self.tell(Event::Released { app: app(n) }),
            Step::Limit(n, limit) => self.tell(Event::Limited { app: app(n), n: limit }),
            Step::Themselves(n) => {
                let id = target(n, self);
                self.tell(Event::Finished { id, at: now });
                self.flying.retain(|&other| other != id || self.back);
            }
            Step::Away(n) => {
                let id = target(n, self);
                self.tell(Event::OutOfReach { id });
                // One that was given is given back.
                self.flying.retain(|&other| other != id || self.back);
            }
            Step::Near(n) => self.tell(Event::WithinReach { id: target(n, self) }),
            Step::RollBack => {
                self.tell(Event::RollBack { at: now });
                self.back = true;
            }
        }
    }

    /// From any state: once everyone is well, nobody is held, limited or pinned, the change comes to its end.
    fn finish(&mut self, now: u64) -> Result<(), TestCaseError> {
        let lanes = self.live.lanes().len();
        for n in 0..lanes {
            let app = AppIndex(u32::try_from(n).unwrap());
            self.tell(Event::Released { app });
            self.tell(Event::Limited { app, n: None });
        }
        for n in 0..self.gone.len() {
            let id = TargetIndex(u32::try_from(n).unwrap());
            self.tell(Event::WithinReach { id });
        }
        let mut idle = 0;
        let mut now = now + 1_000;
        while !self.live.is_done() {
            while !self.flying.is_empty() {
                self.end(0, now, true, false);
            }
            for n in 0..self.gone.len() {
                self.tell(Event::BecameHealthy {
                    id: TargetIndex(u32::try_from(n).unwrap()),
                });
            }
            now += 50;
            idle = if self.start(now, 7) == 0 { idle + 1 } else { 0 };
            if !self.back && self.flying.is_empty() {
                let before: Vec<u16> = self.live.lanes().map(|lane| lane.open_batch).collect();
                promote(&mut self.live);
                let lanes: Vec<_> = self.live.lanes().collect();
                for (lane, before) in lanes.iter().zip(before) {
                    for _ in before..lane.open_batch {
                        self.trace
                            .push(TraceStep::Told(Event::Promoted { app: lane.app, at: now }));
                    }
                }
            }
            prop_assert!(idle <= 60, "stuck: {:?}", self.live.lanes().collect::<Vec<_>>());
        }
        Ok(())
    }
}

/// How much the cases came to, so that none of it is checked in name only.
#[derive(Debug, Default)]
struct Seen {
    planned: u32,
    starts: u64,
    births: u64,
    comparisons: u64,
}

#[test]
fn every_cap_holds_under_any_interleaving() {
    let seen = RefCell::new(Seen::default());
    let drawn = (rows(), rules(), steps(), any::<u64>());
    let outcome = TestRunner::new(cases(10_000)).run(&drawn, |(rows, rules, steps, seed)| {
        let fleet = fleet(&rows);
        let policy = policy(&rules, &fleet);
        // Some are refused: caps under which nobody could start.
        let Ok(plan) = Plan::build(&fleet, &policy, seed) else {
            return Ok(());
        };
        let proof = verify(&fleet, &policy, &plan);
        prop_assert!(proof.is_ok(), "{}", proof.unwrap_err());
        let mut run = Run::new(&plan);
        for (now, &step) in steps.iter().enumerate() {
            run.step(step, now as u64);
        }
        run.finish(steps.len() as u64)?;
        let proof = verify_trace(&fleet, &policy, &plan, &run.trace);
        prop_assert!(proof.is_ok(), "{}\n{:?}", proof.unwrap_err(), run.trace);
        let (proof, mut seen) = (proof.unwrap(), seen.borrow_mut());
        seen.planned += 1;
        seen.starts += proof.starts;
        seen.births += proof.births;
        seen.comparisons += proof.comparisons;
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
    let seen = seen.into_inner();
    assert!(seen.planned >= 8_000, "{seen:?}");
    assert!(
        seen.starts >= 100_000 && seen.births >= 10_000 && seen.comparisons >= 500_000,
        "{seen:?}"
    );
}

/// A fleet of two applications, four targets in each of two zones and regions, with capacity for all but one.
fn even() -> Fleet {
    let targets = (0..32_u8).map(|n| {
        let mut target = Target::new(format!("t{n}"), ["a", "b"][usize::from(n / 16)]);
        target.labels = labels(n % 2, n / 2 % 2)
            .into_iter()
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .collect();
        (target.capacity, target.load) = (10, 8);
        target
    });
    Fleet::from_targets(targets).unwrap()
}

/// Drives a frontier under `lax`, everything at once, and checks the trace under `strict`.
fn broken(lax: Policy, strict: &Policy) -> String {
    let fleet = even();
    let lax = lax.ramp(Ramp::geometric(count(8), 4.0).unwrap());
    let strict = strict.clone().ramp(Ramp::geometric(count(8), 4.0).unwrap());
    let plan = Plan::build(&fleet, &lax, 5).unwrap();
    let mut run = Run::new(&plan);
    let mut now = 0;
    while !run.live.is_done() {
        run.start(now, 100);
        while !run.flying.is_empty() {
            run.end(0, now, true, false);
        }
        now += 10;
        for app in [AppIndex(0), AppIndex(1)] {
            run.tell(Event::Promoted { app, at: now });
        }
    }
    assert!(verify_trace(&fleet, &lax, &plan, &run.trace).is_ok());
    verify_trace(&fleet, &strict, &plan, &run.trace)
        .unwrap_err()
        .to_string()
}

/// Each cap is taken from the frontier in turn: the check of the trace must miss it.
#[test]
fn a_trace_that_breaks_a_cap_is_found() {
    let lax = || Policy::new().per_app(pct(100)).total_in_flight(pct(100));
    let says = |strict: Policy, wanted: &str| {
        let found = broken(lax(), &strict);
        assert!(found.contains(wanted), "{found}");
    };
    says(lax().per_app(count(2)), "per_app: `");
    says(lax().per_app(count(2)), "in application `a` makes 3, at most 2");
    says(lax().per_label("zone", count(3)), "per_label `zone`: `");
    says(lax().total_in_flight(count(5)), "total_in_flight: `");
    says(lax().rate(3, 10), "in the last 10 ms makes 4, at most 3");
    says(lax().one_value_per_app("zone"), "one_value_per_app: ");
    says(lax().one_first_exposure("region"), "one_first_exposure: ");
    says(
        lax().ready_capacity_headroom(pct(10)),
        "ready_capacity_headroom: application `a` keeps",
    );
    let pin = Pin {
        scope: PinScope {
            app: Some("a".into()),
            labels: [("zone".to_owned(), "z1".to_owned())].into(),
        },
        version: "1".into(),
        until_ms: 15,
        owner: "li".into(),
        reason: "audit".into(),
    };
    says(lax().pin(pin), "but is pinned until 15");
}

fn step_error(trace: &[TraceStep]) -> String {
    let fleet = even();
    let policy = Policy::new().per_app(pct(100)).total_in_flight(pct(100));
    let plan = Plan::build(&fleet, &policy, 5).unwrap();
    verify_trace(&fleet, &policy, &plan, trace).unwrap_err().to_string()
}

/// Starts out of turn, and births against cohort and rollback.
#[test]
fn a_trace_out_of_turn_is_found() {
    let fleet = even();
    let policy = Policy::new().per_app(pct(100)).total_in_flight(pct(100));
    let plan = Plan::build(&fleet, &policy, 5).unwrap();
    let (first, late) = (plan.targets(0)[0], plan.targets(plan.batch_count() - 1)[0]);
    let app = fleet.app_of(first);
    let started = |id| TraceStep::Started { id, at: 5 };
    let born = |id: &str, app: &str| TraceStep::Joined {
        id: id.into(),
        app: app.into(),
        labels: vec![("zone".into(), "z1".into()), ("region".into(), "eu".into())],
        side: Side::New,
        at: 6,
    };
    assert!(step_error(&[started(late)]).contains("but its lane is open up to 0"));
    assert!(step_error(&[started(first), started(first)]).contains("in flight"));
    let held = TraceStep::Told(Event::HeldUntil { app, until_ms: 6 });
    assert!(step_error(&[held, started(first)]).contains("held until 6"));
    let limited = TraceStep::Told(Event::Limited { app, n: Some(0) });
    assert!(step_error(&[limited, started(first)]).contains("limited: `"));
    let back = TraceStep::Told(Event::RollBack { at: 1 });
    assert!(step_error(&[back.clone(), started(first)]).contains("taken back"));
    assert!(step_error(&[back.clone(), born("x", "a")]).contains("born new though the change is taken back"));
    assert!(step_error(&[back, TraceStep::StartedBack { id: first, at: 5 }]).contains("never exposed"));
    assert!(step_error(&[TraceStep::StartedBack { id: first, at: 5 }]).contains("nobody decided"));
    assert!(step_error(&[started(TargetIndex(99))]).contains("not known"));
    let far = (0..)
        .map(|n| format!("n{n}"))
        .find(|id| unattended_batching::position(5, id) > u64::MAX / 100 * 99)
        .unwrap();
    assert!(step_error(&[born(&far, "a")]).contains("beyond the cohort of batch 0"));
    let alone = [
        TraceStep::Joined {
            id: "s".into(),
            app: "alone".into(),
            labels: vec![],
            side: Side::Old,
            at: 0,
        },
        started(TargetIndex(32)),
    ];
    assert!(step_error(&alone).contains("alone in its application"));
}
