//! A lane that rules hold delays nobody, also where it has the first instance of a class; and it comes in again by what its classes may
//! expose then.
#![expect(clippy::unwrap_used, reason = "a failure of a helper is a failed test")]

use crate::support::{Act, Case, HOUR_MS, MINUTE_MS, app_of};
use unattended::Outcome;
use unattended::upgrade::Clock;

/// A freeze of one application, from the day before until then.
fn frozen(app: &str, until: &str) -> String {
    format!(
        "version: 1
pack: day
owner: ops
scope: all
freezes:
  - {{id: fair, select: {{app: {app}}}, from: 2026-11-20T00:00, until: {until}, zone: UTC, owner: fair, reason: fair}}
"
    )
}

/// Each of thirty applications has one instance on arm, and the first batch one of these: the name of its application.
fn one_arm_each() -> (Case, String) {
    let mut case = Case::calm(30, 40);
    for target in &mut case.targets {
        let arm = target.id.ends_with("-0");
        let cpu = if arm { "arm" } else { "x86" };
        target.labels.push(("cpu".to_owned(), cpu.to_owned()));
    }
    case.policy = case.policy.spread(["zone", "stack", "cpu"]);
    let (plan, fleet) = (case.plan(), case.fleet());
    let mut first = plan.targets(0).iter().map(|&target| fleet.id(target));
    let arm = first.find(|name| name.ends_with("-0")).unwrap();
    let app = app_of(arm).to_owned();
    (case, app)
}

/// How many run the new version when the other lanes have had as long as they take without a freeze, and a half more.
#[track_caller]
fn exposed_beside_a_freeze(mut case: Case, app: &str) -> u64 {
    let undisturbed = case.run().summary.elapsed_ms;
    case.rules = frozen(app, "2026-12-23T08:00");
    let mut stage = case.stage();
    let clock = stage.sim.clock();
    let driven = stage.drive(clock.sleep_until(undisturbed + undisturbed / 2 + 24 * HOUR_MS));
    assert!(driven.unwrap().is_none(), "it waits for the freeze");
    stage.handle.progress().unwrap().exposed
}

#[test]
fn an_application_that_is_frozen_delays_nobody() {
    for (apps, each) in [(4, 20), (8, 30), (12, 30)] {
        let exposed = exposed_beside_a_freeze(Case::calm(apps, each), "app-0");
        assert_eq!(exposed, (apps - 1) as u64 * each as u64, "{apps} applications");
    }
}

#[test]
fn nobody_waits_for_the_first_of_a_class_that_is_frozen() {
    let (case, app) = one_arm_each();
    assert_eq!(exposed_beside_a_freeze(case, &app), 29 * 40);
}

#[test]
fn who_was_frozen_comes_in_when_its_class_has_room() {
    let (mut case, app) = one_arm_each();
    // By then the class has one instance, another's, and has not shown itself to be safe.
    case.rules = frozen(&app, "2026-11-23T11:20");
    let thawed_ms = 200 * MINUTE_MS;
    let ended = case.run();
    assert_eq!(ended.outcome, Outcome::Completed);
    ended.all_on_new();
    let effects = &ended.effects;
    let of_arm = effects
        .iter()
        .filter(|effect| effect.act == Act::Replace && effect.target.ends_with("-0"));
    let others = of_arm.clone().filter(|effect| app_of(&effect.target) != app);
    let first_ms = others.map(|effect| effect.at_ms).min().unwrap();
    let own_ms = of_arm
        .clone()
        .find(|effect| app_of(&effect.target) == app)
        .unwrap()
        .at_ms;
    let grows = |text: &str| text.starts_with("class cpu=arm may grow");
    let grown = ended
        .summary
        .decisions
        .iter()
        .find(|decision| grows(&decision.text))
        .unwrap();
    assert!(
        first_ms < thawed_ms && thawed_ms < grown.at_ms,
        "{first_ms} {}",
        grown.at_ms
    );
    assert!(own_ms >= grown.at_ms, "it started {own_ms}, before {}", grown.at_ms);
}

#[test]
fn who_comes_to_wait_while_its_lane_is_held_takes_its_room_once() {
    // The one that is rehearsed on has gone back when the hours begin, and is to go there again after them.
    for (apps, each) in [(10, 30), (20, 1)] {
        let mut case = Case::calm(apps, each);
        case.settings.rehearse_way_back = true;
        case.rules = "version: 1
pack: pay
owner: team
scope: all
windows:
  - {id: books, kind: protected, dated: [{from: 2026-11-23T08:10, until: 2026-11-23T09:30}], zone: UTC, rollback: allowed, reason: books}
"
        .to_owned();
        let ended = case.run();
        assert_eq!(ended.outcome, Outcome::Completed, "{apps} applications of {each}");
        ended.all_on_new();
        assert_eq!(ended.summary.human_actions, 0);
        let ms = ended.summary.elapsed_ms;
        assert!(ms < 72 * HOUR_MS, "{apps} applications of {each}: {ms} ms");
    }
}
