//! The caps, recounted by a plain model under random interleavings; and that nothing starves.

use std::collections::BTreeSet;

use crate::common::caller::promote;
use crate::common::cases::cases;
use crate::common::{fleet, labels, policies, rows};
use proptest::prelude::*;
use unattended_batching::{AppIndex, Event, Frontier, Noted, Plan, Policy, Side, TargetIndex, count, pct};

#[derive(Clone, Debug)]
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
    RollBack,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (1_usize..8).prop_map(Step::Start),
        8 => any::<usize>().prop_map(Step::Finish),
        2 => (any::<usize>(), any::<bool>()).prop_map(|(n, retry)| Step::Fail(n, retry)),
        2 => any::<usize>().prop_map(Step::Ill),
        2 => any::<usize>().prop_map(Step::Well),
        2 => any::<usize>().prop_map(Step::Leave),
        2 => (0_u8..14, 0_u8..2, 0_u8..5).prop_map(|(a, s, z)| Step::Join(a, s, z)),
        5 => any::<usize>().prop_map(Step::Promote),
        1 => (any::<usize>(), 0_u64..300).prop_map(|(n, t)| Step::Hold(n, t)),
        1 => any::<usize>().prop_map(Step::Release),
        1 => (any::<usize>(), prop::option::of(0_u32..4)).prop_map(|(n, l)| Step::Limit(n, l)),
        1 => prop::bool::weighted(0.1).prop_map(|yes| if yes { Step::RollBack } else { Step::Start(1) }),
    ];
    prop::collection::vec(step, 1..250)
}

/// A plain model beside the frontier: who exists, who flies, who is ill. Recounts every cap from nothing.
struct Model {
    app: Vec<String>,
    zone: Vec<Option<String>>,
    there: Vec<bool>,
    flies: Vec<bool>,
    ill: Vec<bool>,
    exposed: Vec<bool>,
}

impl Model {
    fn len(&self) -> usize {
        self.app.len()
    }

    /// (members, in flight, ill at rest) of the targets alike by `like`.
    fn count(&self, like: impl Fn(usize) -> bool) -> (u32, u32, u32) {
        let mut counts = (0, 0, 0);
        for t in (0..self.len()).filter(|&t| self.there[t] && like(t)) {
            counts.0 += 1;
            counts.1 += u32::from(self.flies[t]);
            counts.2 += u32::from(self.ill[t] && !self.flies[t]);
        }
        counts
    }

    /// Starts one and checks every cap it falls under.
    fn start(&mut self, target: TargetIndex, caps: &Caps, open_last: bool, back: bool) -> Result<(), TestCaseError> {
        let t = target.at();
        prop_assert!(self.there[t] && !self.flies[t], "{t} cannot start");
        let ill = self.ill[t];
        let sets: [(&str, (u32, u32, u32), u32); 3] = [
            ("app", self.count(|o| self.app[o] == self.app[t]), caps.app),
            (
                "zone",
                self.count(|o| self.zone[o].is_some() && self.zone[o] == self.zone[t]),
                caps.zone,
            ),
            ("total", self.count(|_| true), caps.total),
        ];
        for (name, (n, flying, idle), ppm_or_count) in sets {
            if n == 0 {
                continue;
            }
            let cap = caps.cap(ppm_or_count, n).max(1);
            let before = if ill { flying } else { flying + idle };
            prop_assert!(
                before < cap,
                "{name} of {n}: {flying} in flight, {idle} ill, cap {cap}, starts ill: {ill}"
            );
            prop_assert!(
                name != "app" || n > 1 || open_last || back,
                "a singleton before the last batch"
            );
        }
        self.flies[t] = true;
        self.exposed[t] |= !back;
        Ok(())
    }
}

/// Caps as counts, so that the model needs no rounding of its own; rounding is tested elsewhere.
struct Caps {
    app: u32,
    zone: u32,
    total: u32,
}

impl Caps {
    fn cap(&self, given: u32, n: u32) -> u32 {
        given.min(n)
    }
}

fn run(rows: &[crate::common::Row], caps: &Caps, steps: &[Step], seed: u64) -> Result<(), TestCaseError> {
    let fleet = fleet(rows);
    let policy = Policy::new()
        .spread(["stack"])
        .per_app(count(caps.app))
        .per_label("zone", count(caps.zone))
        .total_in_flight(count(caps.total));
    // The exception for fixes, so that nobody's health keeps the fleet from being planned.
    let policy = policy.fix_in_flight_per_app(pct(100));
    let plan = Plan::build(&fleet, &policy, seed).unwrap();
    let last = plan.batch_count() - 1;
    let mut live = plan.frontier();
    let zone = fleet.key_index("zone").unwrap();
    let mut model = Model {
        app: fleet
            .targets()
            .map(|t| fleet.app_name(fleet.app_of(t)).to_owned())
            .collect(),
        zone: fleet
            .targets()
            .map(|t| fleet.label(t, zone).map(|v| fleet.value_name(zone, v).to_owned()))
            .collect(),
        there: vec![true; fleet.len()],
        flies: vec![false; fleet.len()],
        ill: fleet.targets().map(|t| !fleet.ready(t)).collect(),
        exposed: vec![false; fleet.len()],
    };
    let mut back = false;
    let mut returned = BTreeSet::new();
    let pick = |n: usize, len: usize| TargetIndex(u32::try_from(n % len).unwrap());
    for (now, step) in steps.iter().enumerate() {
        let now = now as u64;
        let lanes = live.lanes().len();
        let app_at = |n: usize| AppIndex(u32::try_from(n % lanes).unwrap());
        match *step {
            Step::Start(max) => {
                let started = if back {
                    live.rollback_startable(now, max)
                } else {
                    live.startable(now, max)
                };
                prop_assert!(started.len() <= max);
                for id in started {
                    let open_last = live.lane(live.app_of(id).unwrap()).open_batch == last;
                    if back {
                        prop_assert!(
                            model.exposed[id.at()] && returned.insert(id),
                            "{id:?} was never exposed, or goes back twice"
                        );
                    }
                    model.start(id, caps, open_last, back)?;
                }
            }
            Step::Finish(n) => {
                let flying: Vec<usize> = (0..model.len()).filter(|&t| model.flies[t]).collect();
                if let Some(&t) = flying.get(n % flying.len().max(1)) {
                    let id = pick(t, model.len());
                    let event = if returned.contains(&id) {
                        Event::RolledBack { id }
                    } else {
                        Event::Finished { id, at: now }
                    };
                    prop_assert_eq!(live.on(event), Noted::Applied);
                    (model.flies[t], model.ill[t]) = (false, false);
                }
            }
            Step::Fail(n, retry) => {
                let flying: Vec<usize> = (0..model.len()).filter(|&t| model.flies[t]).collect();
                if let Some(&t) = flying.get(n % flying.len().max(1)) {
                    let id = pick(t, model.len());
                    let failed = Event::Failed { id, at: now, retry };
                    let event = if returned.contains(&id) {
                        Event::RollbackFailed { id }
                    } else {
                        failed
                    };
                    prop_assert_eq!(live.on(event), Noted::Applied);
                    (model.flies[t], model.ill[t]) = (false, true);
                }
            }
            Step::Ill(n) | Step::Well(n) => {
                let id = pick(n, model.len());
                let ill = matches!(step, Step::Ill(_));
                let event = if ill {
                    Event::BecameUnhealthy { id }
                } else {
                    Event::BecameHealthy { id }
                };
                let expected = model.there[id.at()] && model.ill[id.at()] != ill;
                prop_assert_eq!(live.on(event) == Noted::Applied, expected);
                model.ill[id.at()] = ill && model.there[id.at()];
            }
            Step::Leave(n) => {
                let id = pick(n, model.len());
                prop_assert_eq!(live.on(Event::Left { id }) == Noted::Applied, model.there[id.at()]);
                let t = id.at();
                (model.there[t], model.flies[t], model.ill[t]) = (false, false, false);
            }
            Step::Join(app, stack, zone) => {
                let (id, app) = (format!("born{now}"), format!("app{app}"));
                let mut labels = labels(&(0, stack, zone, true));
                if zone == 4 {
                    labels.push(("zone", "z9"));
                }
                let side = live.version_for(&id, &app, &labels);
                prop_assert!(!back || side == Side::Old);
                let target = live.join(&id, &app, &labels, side, now).unwrap();
                prop_assert_eq!(target.at(), model.len());
                model
                    .zone
                    .push(labels.iter().find(|l| l.0 == "zone").map(|l| l.1.to_owned()));
                model.app.push(app);
                model.there.push(true);
                model.flies.push(false);
                model.ill.push(false);
                model.exposed.push(side == Side::New);
            }
            Step::Promote(n) => {
                live.on(Event::Promoted {
                    app: app_at(n),
                    at: now,
                });
            }
            Step::Hold(n, until_ms) => {
                live.on(Event::HeldUntil {
                    app: app_at(n),
                    until_ms,
                });
            }
            Step::Release(n) => {
                live.on(Event::Released { app: app_at(n) });
            }
            Step::Limit(n, limit) => {
                live.on(Event::Limited {
                    app: app_at(n),
                    n: limit,
                });
            }
            Step::RollBack => {
                live.on(Event::RollBack { at: now });
                back = true;
            }
        }
        let (_, flying, _) = model.count(|_| true);
        prop_assert_eq!(live.in_flight(), flying);
        for lane in live.lanes() {
            let name = live.app_name(lane.app).unwrap();
            let (n, flying, idle) = model.count(|t| model.app[t] == name);
            prop_assert_eq!((lane.size, lane.in_flight, lane.unhealthy), (n, flying, idle));
        }
    }
    finish(&mut live, &mut model, caps, last, back, &mut returned)
}

/// From any state: once everyone is well and nobody is held, the change comes to its end; nothing starves.
fn finish(
    live: &mut Frontier,
    model: &mut Model,
    caps: &Caps,
    last: u16,
    back: bool,
    returned: &mut BTreeSet<TargetIndex>,
) -> Result<(), TestCaseError> {
    let all: Vec<AppIndex> = live.lanes().map(|lane| lane.app).collect();
    for &app in &all {
        live.on(Event::Released { app });
        live.on(Event::Limited { app, n: None });
    }
    for t in 0..model.len() {
        let id = TargetIndex(u32::try_from(t).unwrap());
        live.on(Event::BecameHealthy { id });
        model.ill[t] = false;
        if model.flies[t] {
            model.flies[t] = false;
            live.on(if returned.contains(&id) {
                Event::RolledBack { id }
            } else {
                Event::Finished { id, at: 0 }
            });
        }
    }
    let mut idle = 0;
    while !live.is_done() {
        let started = if back {
            live.rollback_startable(9_999, 7)
        } else {
            live.startable(9_999, 7)
        };
        idle = if started.is_empty() { idle + 1 } else { 0 };
        for &id in &started {
            let open_last = live.lane(live.app_of(id).unwrap()).open_batch == last;
            model.start(id, caps, open_last, back)?;
            if back {
                prop_assert!(model.exposed[id.at()] && returned.insert(id));
            }
        }
        for id in started {
            live.on(if back {
                Event::RolledBack { id }
            } else {
                Event::Finished { id, at: 0 }
            });
            model.flies[id.at()] = false;
        }
        if !back {
            promote(live);
        }
        prop_assert!(
            idle <= usize::from(last) + 2,
            "stuck: {:?}",
            live.lanes().collect::<Vec<_>>()
        );
    }
    Ok(())
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn caps_hold_under_any_interleaving_and_nothing_starves(
        rows in rows(10, 80), app in 1_u32..5, zone in 1_u32..6, total in 1_u32..12, steps in steps(), seed: u64,
    ) {
        run(&rows, &Caps { app, zone, total }, &steps, seed)?;
    }

    #[test]
    fn any_policy_comes_to_its_end(rows in rows(10, 80), policy in policies(), seed: u64) {
        let fleet = fleet(&rows);
        let mut live = Plan::build(&fleet, &policy, seed).unwrap().frontier();
        let mut turns = 0;
        while !live.is_done() {
            for id in live.startable(0, 9) {
                live.on(Event::Finished { id, at: 0 });
            }
            promote(&mut live);
            turns += 1;
            let blocked: Vec<_> = live.lanes().filter_map(|lane| lane.blocked).collect();
            if turns == 1_000 {
                // Only targets that were never well may stand in the way, and the lanes say so.
                prop_assert!(!blocked.is_empty(), "{:?}", live.lanes().collect::<Vec<_>>());
                for t in fleet.targets() {
                    live.on(Event::BecameHealthy { id: t });
                }
            }
            prop_assert!(turns < 2_000, "stuck: {:?}", live.lanes().collect::<Vec<_>>());
        }
    }
}
