//! What is refused before anything happens, with the field and the fix.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failure of a helper is a failed test"
)]

use std::sync::Arc;

use crate::support::{Case, HOUR_MS, NEW, OLD, person};
use unattended::batching::{Policy, Ramp, count, pct};
use unattended::upgrade::{Capabilities, Clock, Group, Journal, MemoryJournal, Stream, Wanted};
use unattended::{Actor, Autopilot, Change, Level, OnStop, Outcome, RunError, Settings, StartError};
use unattended_simulated::{InitialState, SimConfig, Simulated};

/// Runs `first` for a while, then something else over the same journal: what becomes of that, and how many orders it
/// gave.
fn take_up(first: &Case, change: impl FnOnce(&mut Case)) -> (Option<Result<Outcome, RunError>>, usize) {
    let journal = Arc::new(MemoryJournal::new());
    let mut stage = first.stage_over(journal.clone());
    let clock = stage.sim.clock();
    assert!(stage.drive(clock.sleep_until(60_000)).unwrap().is_none());
    drop(stage);
    let before = crate::support::bytes(&*journal);
    assert!(!before.is_empty());
    let mut second = first.clone();
    change(&mut second);
    let mut stage = second.stage_over(journal.clone());
    let ran = stage.drive(std::future::pending()).unwrap();
    if matches!(ran, Some(Err(_))) {
        assert!(
            crate::support::bytes(&*journal) == before,
            "the journal of the other change was written to"
        );
    }
    (ran, stage.platform.effects().len())
}

#[track_caller]
fn assert_names(field: &str, change: impl FnOnce(&mut Case)) {
    let (ran, effects) = take_up(&Case::calm(3, 10), change);
    let Some(Err(ref refused @ RunError::OtherChange { field: ref found, .. })) = ran else {
        panic!("another `{field}` was taken up as if nothing were different: {ran:?}");
    };
    assert_eq!(found, field, "{refused}");
    let text = refused.to_string();
    assert!(
        text.contains(&format!("`{field}`")) && text.contains("name another journal"),
        "{text}"
    );
    assert_eq!(effects, 0);
}

const PACK: &str = "version: 1
pack: pay
owner: team-pay
scope: {app: app-1}
freezes:
  - id: audit
    from: 2026-12-22T00:00
    until: 2026-12-23T20:00
    zone: UTC
    owner: cfo
    reason: yearly audit
";

#[test]
fn a_journal_of_another_change_is_refused_by_the_field_that_differs() {
    assert_names("seed", |case| case.seed = 8);
    assert_names("rules", |case| case.rules = PACK.to_owned());
    assert_names("mode", |case| case.mode = Wanted::Cold);
    assert_names("targets", |case| drop(case.targets.pop()));
    assert_names("plan", |case| {
        case.policy = case.policy.clone().ramp(Ramp::geometric(count(5), 3.0).unwrap());
    });
    // A setting by its own name.
    assert_names("bake_ms", |case| case.settings.bake_ms += 1);
    assert_names("on_stop", |case| case.settings.on_stop = OnStop::FreezeInPlace);
    assert_names("budget.starts_per_day", |case| {
        case.settings.budget.starts_per_day = Some(500);
    });
}

/// Changes one thing.
type Spoil = fn(&mut Case);

#[test]
fn a_journal_of_another_fleet_or_policy_is_refused() {
    // By which field is the facade's own matter, as long as it is refused.
    let spoils: [(&str, Spoil); 5] = [
        ("a label", |case| case.targets[4].labels[0].1 = "zone-0".to_owned()),
        ("a name", |case| case.targets[4].id = "app-0-99".to_owned()),
        ("an application", |case| case.targets[4].app = "app-1".to_owned()),
        ("a cap", |case| case.policy = case.policy.clone().per_app(pct(100))),
        ("a total", |case| {
            case.policy = case.policy.clone().total_in_flight(pct(90))
        }),
    ];
    let mut taken = Vec::new();
    for (what, spoil) in spoils {
        let (ran, effects) = take_up(&Case::calm(3, 10), spoil);
        match ran {
            Some(Err(RunError::OtherChange { .. })) => assert_eq!(effects, 0, "{what}"),
            other => taken.push((what, other)),
        }
    }
    assert!(taken.is_empty(), "taken up as if nothing were different: {taken:?}");
}

#[test]
fn a_journal_of_another_version_or_author_is_refused() {
    let refused = |to: &str, author: Actor| {
        let case = Case::calm(3, 10);
        let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
        let mut stage = case.stage_over(Arc::clone(&journal));
        let clock = stage.sim.clock();
        assert!(stage.drive(clock.sleep_until(60_000)).unwrap().is_none());
        let sim = case.simulated();
        let pilot = Autopilot::builder()
            .platform(Arc::clone(&sim))
            .metrics(Arc::clone(&sim))
            .journal(journal)
            .clock(sim.clock())
            .rules(case.guard())
            .notifier(Arc::new(crate::support::Pager::default()))
            .level(case.level)
            .build()
            .unwrap();
        let change = Change::new(NEW, author, OLD.into(), to.into(), case.fleet())
            .policy(case.policy.clone())
            .settings(case.settings.clone())
            .seed(case.seed);
        let (_, run) = pilot.start(change).unwrap();
        sim.executor().run(run).unwrap().unwrap_err().to_string()
    };
    let to = refused("mesh-3", Actor::person("li", "MESH-192"));
    assert!(to.contains("`to` is mesh-2, this run has mesh-3"), "{to}");
    let author = refused(NEW, person());
    assert!(author.contains("`author`") && author.contains("INC-42"), "{author}");
}

#[test]
fn a_journal_of_another_program_is_refused() {
    let journal = Arc::new(MemoryJournal::new());
    let mut group = Group::new();
    group.push(Stream(9), 1, b"my diary");
    futures::executor::block_on(journal.append(&group)).unwrap();
    let mut stage = Case::calm(3, 10).stage_over(journal.clone());
    let refused = stage.drive(std::future::pending()).unwrap().unwrap().unwrap_err();
    assert!(refused.to_string().contains("belongs to another program"), "{refused}");
    assert_eq!(stage.platform.effects(), []);
    assert_eq!(futures::executor::block_on(journal.end()).unwrap(), 1);
}

/// Starting it, in a world that would not notice.
fn start(case: &Case, from: &str, to: &str, capabilities: Capabilities, mode: Wanted) -> Result<(), StartError> {
    let sim = Simulated::new(SimConfig {
        targets: case.targets.clone(),
        capabilities,
        ..SimConfig::default()
    })
    .unwrap();
    let before = sim.digest();
    let journal = Arc::new(MemoryJournal::new());
    let pilot = Autopilot::builder()
        .platform(Arc::clone(&sim))
        .metrics(Arc::clone(&sim))
        .journal(Arc::clone(&journal))
        .clock(sim.clock())
        .rules(case.guard())
        .notifier(Arc::new(crate::support::Pager::default()))
        .mode(mode)
        .build()?;
    let change = Change::new(NEW, person(), from.into(), to.into(), case.fleet())
        .policy(case.policy.clone())
        .settings(case.settings.clone())
        .seed(case.seed);
    let started = pilot.start(change).map(drop);
    assert_eq!(sim.digest(), before);
    assert_eq!(journal.len_bytes(), 0);
    started
}

fn able() -> Capabilities {
    SimConfig::default().capabilities
}

#[track_caller]
fn refused(case: &Case) -> String {
    start(case, OLD, NEW, able(), Wanted::Auto).unwrap_err().to_string()
}

#[test]
fn a_change_that_leads_nowhere_is_refused() {
    let case = Case::calm(2, 5);
    assert!(start(&case, OLD, NEW, able(), Wanted::Auto).is_ok());
    let error = start(&case, NEW, NEW, able(), Wanted::Auto).unwrap_err();
    assert!(matches!(error, StartError::SameVersion(_)), "{error}");
    assert!(error.to_string().contains("from mesh-2 to mesh-2"), "{error}");
}

/// No journal could take it: better said before anything happened.
#[test]
fn a_name_too_long_to_be_journaled_is_refused() {
    let mut case = Case::calm(2, 5);
    case.targets[3].id = "x".repeat(5_000);
    let error = start(&case, OLD, NEW, able(), Wanted::Auto).unwrap_err();
    assert!(matches!(error, StartError::Name { bytes: 5_000, .. }), "{error}");
    let version = "v".repeat(2_000);
    let error = start(&Case::calm(2, 5), OLD, &version, able(), Wanted::Auto).unwrap_err();
    assert!(matches!(error, StartError::Name { bytes: 2_000, .. }), "{error}");
}

#[test]
fn a_platform_that_cannot_fence_or_cannot_do_the_mode_is_refused() {
    let case = Case::calm(2, 5);
    let error = start(
        &case,
        OLD,
        NEW,
        Capabilities::none().with_ingress().with_in_place(),
        Wanted::Auto,
    )
    .unwrap_err();
    assert!(matches!(error, StartError::NoFence { level: Level::L3 }), "{error}");
    assert!(error.to_string().contains("Platform::fence"), "{error}");
    let plain = Capabilities::none().with_fence();
    let error = start(&case, OLD, NEW, plain, Wanted::Warm).unwrap_err();
    assert!(matches!(error, StartError::Mode(_)), "{error}");
    assert!(
        start(&case, OLD, NEW, plain, Wanted::Auto).is_ok(),
        "cold needs nothing more"
    );
}

#[test]
fn settings_out_of_their_range_are_refused_by_name() {
    let spoils: [(&str, Stretch); 16] = [
        ("interval_ms", |s| s.interval_ms = 0),
        ("warm_up_ms", |s| s.warm_up_ms = 0),
        ("attempt_estimate_ms", |s| s.attempt_estimate_ms = 0),
        ("alpha", |s| s.alpha = 0.0),
        ("alpha", |s| s.alpha = 1.0),
        ("alpha", |s| s.alpha = f64::NAN),
        ("beta", |s| s.beta = -0.1),
        ("beta", |s| s.beta = f64::INFINITY),
        ("delta", |s| s.delta = 0.0),
        ("delta", |s| s.delta = f64::NAN),
        ("delta", |s| s.delta = f64::INFINITY),
        ("caution_e", |s| s.caution_e = 1.0),
        ("caution_e", |s| s.caution_e = f64::NAN),
        ("soak_share_ppm", |s| s.soak_share_ppm = 1_000_001),
        ("debt_limit_ppm", |s| s.debt_limit_ppm = u32::MAX),
        ("tries", |s| s.tries = 0),
    ];
    for (at, (field, spoil)) in spoils.into_iter().enumerate() {
        let mut case = Case::calm(2, 5);
        spoil(&mut case.settings);
        match start(&case, OLD, NEW, able(), Wanted::Auto) {
            Err(error) => assert!(error.to_string().contains(&format!("`{field}`")), "{at}: {error}"),
            Ok(()) => panic!("{at}: `{field}` of {:?} was taken", case.settings),
        }
    }
}

/// Changes one setting.
type Stretch = fn(&mut Settings);

#[test]
fn times_at_the_end_of_their_range_are_refused_or_mean_for_ever() {
    let stretches: [(&str, Stretch); 9] = [
        ("person_patience_ms", |s| s.person_patience_ms = u64::MAX),
        ("patience_ms", |s| s.patience_ms = u64::MAX),
        ("soak_ms", |s| s.soak_ms = u64::MAX),
        ("bake_ms", |s| s.bake_ms = u64::MAX),
        ("silent_after_ms", |s| s.silent_after_ms = u64::MAX),
        ("blocked_patience_ms", |s| s.blocked_patience_ms = u64::MAX),
        ("debt_expiry_ms", |s| s.debt_expiry_ms = u64::MAX),
        ("attempt_estimate_ms", |s| s.attempt_estimate_ms = u64::MAX),
        ("warm_up_ms", |s| s.warm_up_ms = u64::MAX),
    ];
    for (name, stretch) in stretches {
        for release in ["good", "errors=x10"] {
            let mut case = Case::calm(2, 10).release(release).level(Level::L3);
            case.targets[3].state = InitialState::SidecarCrashing;
            case.rules = PACK.to_owned();
            stretch(&mut case.settings);
            if let Err(error) = start(&case, OLD, NEW, able(), Wanted::Auto) {
                assert!(error.to_string().contains(name), "{error}");
                continue;
            }
            let mut stage = case.stage();
            let clock = stage.sim.clock();
            let ran = stage.drive(clock.sleep_until(24 * HOUR_MS));
            match ran.unwrap() {
                None | Some(Ok(Outcome::CompletedWithDebt)) => {}
                // Nobody who waits for ever ends as waiting within a day.
                other => panic!("{name}: {other:?}"),
            }
        }
    }
}

#[test]
fn a_policy_that_does_not_fit_the_fleet_is_refused() {
    let mut case = Case::calm(2, 5);
    case.policy = Policy::new().spread(["zome"]);
    assert!(refused(&case).contains("zome"), "{}", refused(&case));
    case.policy = Policy::new().per_app(count(0));
    assert!(refused(&case).contains("per_app"), "{}", refused(&case));
}

#[test]
fn rules_on_a_label_that_nobody_has_are_refused() {
    let mut case = Case::calm(2, 5);
    case.rules = PACK.replace("{app: app-1}", "{zome: zone-1}");
    let text = refused(&case);
    assert!(
        text.contains("`zome`") && text.contains("did you mean `zone`"),
        "{text}"
    );
    assert!(text.contains("pack.yaml:4"), "{text}");
}
