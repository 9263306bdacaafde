//! Whole changes: where they end, and what they never do on the way.
#![expect(clippy::unwrap_used, reason = "a failure of a helper is a failed test")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::support::{Act, Case, Ended, HOUR_MS, NEW, START_WALL_MS, app_of, app_sizes, bytes};
use futures::FutureExt;
use unattended::batching::Policy;
use unattended::upgrade::{Ingress, MemoryJournal, Phase, Platform, TargetId, Wanted};
use unattended::{Outcome, QuestionKind};
use unattended_redb::Redb;
use unattended_simulated::{InitialState, World};

#[test]
fn a_stop_names_a_class_where_its_text_does_and_none_where_it_speaks_of_the_whole_fleet() {
    let mut named = BTreeSet::new();
    for release in [
        "errors=x10",
        "errors=x20",
        "errors=x10@stack=stack-1",
        "errors=x20@zone=zone-0",
    ] {
        let ended = Case::calm(8, 30).release(release).run();
        let evidence = &ended.summary.evidence;
        let text = &evidence.strongest;
        assert_eq!(ended.outcome, Outcome::RolledBack);
        match &evidence.scope {
            Some(class) => assert!(text.contains(&format!("strongest in class {class}")), "{class}: {text}"),
            None => assert!(text.contains("over the whole fleet"), "{text}"),
        }
        named.insert(evidence.scope.is_some());
    }
    assert_eq!(named.len(), 2, "one of each");
}

#[test]
fn a_good_release_reaches_everybody() {
    for (apps, each, mode) in [
        (4, 10, Wanted::Warm),
        (4, 10, Wanted::Cold),
        (8, 50, Wanted::Auto),
        (40, 1, Wanted::Auto),
    ] {
        let mut case = Case::calm(apps, each);
        case.mode = mode;
        let ended = case.run();
        assert_eq!(ended.outcome, Outcome::Completed, "{apps} x {each} {mode:?}");
        ended.all_on_new();
        let summary = &ended.summary;
        let all = u64::try_from(apps * each).unwrap();
        assert_eq!((summary.exposure.exposed, summary.exposure.in_flight), (all, 0));
        assert_eq!(
            (summary.receipt.attempts, summary.receipt.done),
            (all, all),
            "each was upgraded once"
        );
        assert_eq!(
            (summary.human_actions, summary.rolled_back, summary.debts.len()),
            (0, 0, 0)
        );
        assert_eq!(summary.exposed_at_stop, None);
        let wanted = if mode == Wanted::Cold { "cold" } else { "warm" };
        assert_eq!(summary.receipt.modes, [(wanted.to_owned(), all)]);
        assert!(ended.notices.is_empty(), "{:?}", ended.notices);
    }
}

#[test]
fn a_release_that_changes_nothing_completes() {
    let ended = Case::calm(4, 20).release("same").run();
    assert_eq!(ended.outcome, Outcome::Completed);
    ended.all_on_new();
}

#[test]
fn a_good_release_completes_in_an_ordinary_world() {
    let mut case = Case::calm(8, 25);
    case.world = World {
        requests_per_s_median: 50.0,
        requests_sigma: 0.2,
        quiet_app_share: 0.0,
        error_rate_low: 1e-3,
        // A bad day for the platform.
        fault_lost: 0.02,
        fault_unreported: 0.02,
        fault_twice: 0.02,
        fault_late: 0.02,
        fault_observe: 0.02,
        restarts_per_target_day: 1.0,
        ..World::default()
    };
    let ended = case.run();
    assert_eq!(ended.outcome, Outcome::Completed);
    ended.all_on_new();
}

#[test]
fn a_bad_release_is_taken_back_from_everybody() {
    for release in [
        "errors=x10",
        "crash",
        "errors=x10@stack=stack-1",
        "crash@zone=zone-2",
        "latency=x4@zone=zone-0",
    ] {
        let ended = Case::calm(8, 30).release(release).run();
        assert_eq!(ended.outcome, Outcome::RolledBack, "{release}");
        ended.all_on_old();
        let summary = &ended.summary;
        let touched: BTreeSet<&str> = (ended.effects.iter())
            .filter(|effect| effect.version.as_deref() == Some(NEW) && effect.act == Act::Replace)
            .map(|effect| effect.target.as_str())
            .collect();
        assert!(!touched.is_empty(), "{release}");
        assert!(
            summary
                .exposed_at_stop
                .is_some_and(|at_stop| at_stop >= touched.len() as u64),
            "{release}: {:?} at the stop, {} replaced",
            summary.exposed_at_stop,
            touched.len()
        );
        // Found long before it was everywhere.
        assert!(touched.len() < 120, "{release}: {} of 240 had it", touched.len());
        assert_eq!(summary.exposure.exposed, 0, "{release}");
        assert_eq!(summary.human_actions, 0, "{release}");
    }
}

#[test]
fn a_release_that_never_comes_up_is_no_completion() {
    let mut case = Case::calm(4, 10);
    // The new version starts, stays up, and never gets ready; no gate refuses it, it is only late for ever.
    case.world.never_ready_share = 1.0;
    let ended = case.run();
    let census = ended.sim.census();
    assert_eq!(census.on_new_verified, 0, "the world is not what this test thinks");
    assert!(
        !matches!(ended.outcome, Outcome::Completed | Outcome::CompletedWithDebt),
        "{:?} with {census:?} and {} debts, of which the first: {:?}",
        ended.outcome,
        ended.summary.debts.len(),
        ended.summary.debts.first()
    );
    // Whoever was healthy before is not called ill afterwards.
    for debt in &ended.summary.debts {
        assert!(!debt.reason.contains("not healthy before the change"), "{debt:?}");
    }
}

#[test]
fn a_release_that_is_ready_nowhere_is_taken_back() {
    // One application, of which the first batch is one target: whose fault it is, only the next one can tell.
    for (apps, each, mode, touched) in [
        (1, 4, Wanted::Warm, 2),
        (1, 8, Wanted::Cold, 2),
        (2, 1, Wanted::Warm, 2),
        (1, 1, Wanted::Warm, 1),
    ] {
        let mut case = Case::calm(apps, each);
        case.policy = Policy::new();
        case.mode = mode;
        let stage = case.stage();
        stage.platform.never_ready_where(|_| true);
        let ended = stage.run();
        let summary = &ended.summary;
        assert_eq!(
            ended.outcome,
            Outcome::RolledBack,
            "{apps} x {each}: {:?}",
            summary.debts
        );
        ended.all_on_old();
        assert_eq!(summary.exposed_at_stop, Some(touched), "{apps} x {each}");
        assert!(
            ended.codes().contains(&"stop.gate"),
            "{apps} x {each}: {:?}",
            ended.codes()
        );
        assert_eq!(summary.human_actions, 0);
    }
}

#[test]
fn a_node_on_which_nothing_new_gets_ready_stops_no_good_release() {
    // It may be the first one there is: the next ones speak for the release.
    for sick in 0..4 {
        let mut case = Case::calm(1, 4);
        case.policy = Policy::new();
        let name = case.targets[sick].id.clone();
        let stage = case.stage();
        let is_sick = name.clone();
        stage
            .platform
            .never_ready_where(move |target| target.as_str() == is_sick);
        let ended = stage.run();
        assert_eq!(ended.outcome, Outcome::CompletedWithDebt, "{name}");
        let owed: Vec<&str> = ended.summary.debts.iter().map(|debt| debt.target.as_str()).collect();
        assert_eq!(owed, [&name]);
        let census = ended.sim.census();
        assert_eq!(
            (census.on_new_verified, census.on_old_verified),
            (3, 1),
            "{name}: {census:?}"
        );
        assert_eq!(ended.summary.human_actions, 0);
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
    let told = |seed: u64, release: &'static str| {
        let mut case = Case::calm(6, 12).release(release);
        case.world.restarts_per_target_day = 2.0;
        case.world.deaths_per_target_day = 2.0;
        case.seed = seed;
        let ended = case.run();
        (serde_json::to_string(&ended.summary).unwrap(), ended.bytes())
    };
    for release in ["good", "errors=x10"] {
        let (first, again, other) = (told(7, release), told(7, release), told(8, release));
        assert_eq!(first.0, again.0, "{release}");
        assert!(first.1 == again.1, "{release}: the journals differ");
        assert_ne!(first.0, other.0, "{release}");
        assert!(first.1 != other.1, "{release}: another seed, the same journal");
    }
}

#[test]
fn a_journal_on_disk_holds_what_one_in_memory_holds() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal.redb");
    let case = Case::calm(4, 10);
    let on_disk = case.stage_over(Arc::new(Redb::scratch(&path).unwrap())).run();
    let in_memory = case.run();
    assert_eq!(on_disk.outcome, Outcome::Completed);
    assert!(on_disk.bytes() == in_memory.bytes());
    drop(on_disk);
    // Opened anew it has the same, and a run over it has nothing left to do.
    let again: Arc<Redb> = Arc::new(Redb::open(&path).unwrap());
    let stage = case.stage_over(again.clone());
    let ended = stage.run();
    assert_eq!(ended.outcome, Outcome::Completed);
    assert_eq!(ended.effects, []);
    assert!(bytes(&*again) == in_memory.bytes());
    let strip = |ended: &Ended| serde_json::to_string(&ended.summary).unwrap();
    assert_eq!(strip(&ended), strip(&in_memory));
}

#[test]
fn what_cannot_be_upgraded_becomes_a_named_debt() {
    let mut case = Case::calm(4, 10);
    case.targets[13].state = InitialState::Pending;
    case.targets[27].state = InitialState::SidecarCrashing;
    let names = [case.targets[13].id.clone(), case.targets[27].id.clone()];
    let ended = case.run();
    assert_eq!(ended.outcome, Outcome::CompletedWithDebt);
    let summary = &ended.summary;
    let mut owed: Vec<&str> = summary.debts.iter().map(|debt| debt.target.as_str()).collect();
    owed.sort_unstable();
    assert_eq!(owed, names);
    for debt in &summary.debts {
        assert_eq!(debt.owner, app_of(&debt.target));
        assert!(debt.reason.contains("not healthy before the change"), "{}", debt.reason);
        let end = START_WALL_MS + i64::try_from(summary.elapsed_ms).unwrap();
        let week = i64::try_from(7 * 24 * HOUR_MS).unwrap();
        assert!((end..=end + week).contains(&debt.expires_unix_ms), "{debt:?}");
    }
    let census = ended.sim.census();
    assert_eq!((census.on_new_verified, census.on_neither), (38, 2), "{census:?}");
    assert_eq!(summary.human_actions, 0);
}

/// In hours of virtual time: when the effects on each application came.
fn hours_by_app(ended: &Ended) -> BTreeMap<String, Vec<f64>> {
    let mut hours: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for effect in ended.effects.iter().filter(|effect| effect.disturbs()) {
        #[expect(clippy::cast_precision_loss, reason = "days in milliseconds are far below 2^52")]
        let at = effect.at_ms as f64 / HOUR_MS as f64;
        hours.entry(app_of(&effect.target).to_owned()).or_default().push(at);
    }
    hours
}

#[test]
fn a_freeze_of_one_application_holds_only_its_lane() {
    let mut case = Case::calm(4, 12);
    // Change begins on Monday at 08:00 UTC.
    case.rules = "version: 1
pack: pay
owner: team-pay
scope: {app: app-1}
freezes:
  - id: audit
    from: 2026-11-22T00:00
    until: 2026-11-23T20:00
    zone: UTC
    owner: cfo
    reason: yearly audit
"
    .to_owned();
    let ended = case.run();
    assert_eq!(ended.outcome, Outcome::Completed);
    ended.all_on_new();
    let hours = hours_by_app(&ended);
    assert!(hours["app-1"].iter().all(|&at| at >= 12.0), "{:?}", hours["app-1"]);
    for app in ["app-0", "app-2", "app-3"] {
        assert!(hours[app].iter().all(|&at| at < 12.0), "{app} waited: {:?}", hours[app]);
    }
    let holds = &ended.summary.holds;
    assert_eq!(holds.len(), 1, "{holds:?}");
    assert_eq!(holds[0].lane, "app-1");
    assert_eq!(
        (holds[0].owner.as_str(), holds[0].reason.as_str()),
        ("cfo", "yearly audit")
    );
    assert!(holds[0].by.contains("audit"), "{}", holds[0].by);
    let until = holds[0].until_ms.unwrap();
    assert!(holds[0].from_ms < HOUR_MS, "{holds:?}");
    assert!((12 * HOUR_MS..12 * HOUR_MS + HOUR_MS).contains(&until), "{holds:?}");
    assert!(
        ended.notices.is_empty(),
        "a freeze with an end is nobody's question: {:?}",
        ended.notices
    );
}

#[test]
fn a_protected_window_of_one_application_holds_only_its_lane() {
    let mut case = Case::calm(4, 12);
    // From half an hour after the beginning on, for three hours.
    case.rules = "version: 1
pack: pay
owner: team-pay
scope: {app: app-2}
windows:
  - id: morning-peak
    kind: protected
    weekly: {days: [mon], from: \"08:30\", for: 3h}
    zone: UTC
    owner: pay-desk
    reason: salaries
"
    .to_owned();
    let ended = case.run();
    assert_eq!(ended.outcome, Outcome::Completed);
    ended.all_on_new();
    let inside = |at: &&f64| (0.5..3.5).contains(*at);
    let hours = hours_by_app(&ended);
    assert_eq!(hours["app-2"].iter().find(inside), None, "{:?}", hours["app-2"]);
    for app in ["app-0", "app-1", "app-3"] {
        assert!(hours[app].iter().any(|at| inside(&at)), "{app}: {:?}", hours[app]);
    }
    let holds = &ended.summary.holds;
    assert!(!holds.is_empty());
    for hold in holds {
        assert_eq!(
            (hold.lane.as_str(), hold.owner.as_str(), hold.reason.as_str()),
            ("app-2", "pay-desk", "salaries")
        );
    }
}

#[test]
fn change_windows_of_parts_of_an_application_let_it_go_where_all_of_them_are_open() {
    let mut case = Case::calm(4, 12);
    case.rules = "version: 1
pack: zones
owner: team-net
scope: all
windows:
  - id: early
    kind: change
    weekly: {days: daily, from: \"08:00\", for: 8h}
    zone: UTC
    select: {zone: zone-0}
    reason: somebody is there
  - id: late
    kind: change
    weekly: {days: daily, from: \"10:00\", for: 8h}
    zone: UTC
    select: {zone: zone-1}
    reason: somebody is there
"
    .to_owned();
    let ended = case.run();
    assert_eq!(ended.outcome, Outcome::Completed);
    ended.all_on_new();
    assert!(ended.notices.is_empty(), "nobody is asked: {:?}", ended.notices);
    assert_eq!(ended.summary.human_actions, 0);
    // It begins at eight.
    let open = |at: &f64| (2.0..8.0).contains(&(at % 24.0));
    for (app, hours) in hours_by_app(&ended) {
        assert!(hours.iter().all(open), "{app}: {hours:?}");
    }
    let first = &ended.summary.holds[0];
    assert!(first.by.contains("late"), "{first:?}");
}

/// Watches every order that takes a target out of service: with it, no application and not the fleet have more out
/// of service than the policy says.
fn run_within_budgets(case: &Case) -> Ended {
    let stage = case.stage();
    let sim = Arc::clone(&stage.sim);
    let sizes = app_sizes(&case.targets);
    let mut names: BTreeMap<String, Vec<TargetId>> = BTreeMap::new();
    for target in &case.targets {
        names
            .entry(target.app.clone())
            .or_default()
            .push(target.id.as_str().into());
    }
    let total = u32::try_from(case.targets.len()).unwrap();
    stage.platform.before_each(move |effect| {
        if !effect.disturbs() {
            return;
        }
        let out = |names: &[TargetId]| -> Vec<String> {
            let seen = sim.observe(names).now_or_never().unwrap().unwrap();
            let out = names
                .iter()
                .zip(seen)
                .filter(|(_, seen)| !(seen.phase == Phase::Running && seen.ready && seen.ingress == Ingress::Open));
            out.map(|(name, _)| name.to_string()).collect()
        };
        let app = app_of(&effect.target);
        let mut whole = 0;
        for (name, members) in &names {
            let members = out(members);
            whole += u32::try_from(members.len()).unwrap();
            if name != app || members.contains(&effect.target) {
                // What does not serve anyway takes no further room.
                continue;
            }
            let cap = (sizes[app] / 4).max(1);
            assert!(
                members.len() < usize::try_from(cap).unwrap(),
                "{members:?} are out of service, the cap of {app} is {cap}, and {effect:?} comes"
            );
        }
        assert!(
            whole <= total / 4,
            "{whole} of {total} are out of service at {effect:?}"
        );
    });
    let ended = stage.run();
    flights_within_caps(case, &ended);
    ended
}

/// Reads from the journal that no application ever had more attempts under way than its cap.
fn flights_within_caps(case: &Case, ended: &Ended) {
    let sizes = app_sizes(&case.targets);
    let mut flying: BTreeMap<String, u32> = BTreeMap::new();
    for line in ended.dump() {
        let Some(target) = &line.target else { continue };
        let app = app_of(target);
        let count = flying.entry(app.to_owned()).or_default();
        match line.kind.as_str() {
            "begun" => {
                *count += 1;
                assert!(
                    *count <= (sizes[app] / 4).max(1),
                    "{app} has {count} under way at {line:?}"
                );
            }
            "finished" => *count -= 1,
            _ => {}
        }
    }
    assert!(flying.values().all(|&left| left == 0), "{flying:?}");
}

#[test]
fn no_application_ever_has_more_out_of_service_than_its_cap() {
    for (release, outcome) in [
        ("good", Outcome::Completed),
        ("late=20m:errors=x20", Outcome::RolledBack),
    ] {
        for mode in [Wanted::Warm, Wanted::Cold] {
            let mut case = Case::calm(5, 20).release(release);
            case.mode = mode;
            let ended = run_within_budgets(&case);
            assert_eq!(ended.outcome, outcome, "{release} {mode:?}");
        }
    }
}

#[test]
fn those_already_ill_use_up_the_allowance() {
    let mut case = Case::calm(5, 20);
    // Four of twenty in the first application, which may have five out: one at a time is left.
    for ill in 0..4 {
        case.targets[ill].state = InitialState::SidecarCrashing;
    }
    let ended = run_within_budgets(&case);
    assert_eq!(ended.outcome, Outcome::CompletedWithDebt);
    assert_eq!(ended.summary.debts.len(), 4);
    assert_eq!(ended.sim.census().on_new_verified, 96);
}

#[test]
fn caps_hold_on_a_bad_day_too() {
    let mut case = Case::calm(5, 20);
    case.world = World {
        fault_lost: 0.03,
        fault_unreported: 0.03,
        fault_twice: 0.03,
        fault_late: 0.03,
        fault_observe: 0.03,
        never_ready_share: 0.05,
        drain_stuck_share: 0.1,
        ..case.world
    };
    let ended = case.run();
    flights_within_caps(&case, &ended);
    assert_eq!(ended.outcome, Outcome::Completed);
    assert!(ended.summary.receipt.went_back > 0, "too calm a day");
}

#[test]
fn nothing_is_begun_twice_where_nothing_is_left() {
    let case = Case::calm(4, 10);
    let journal = Arc::new(MemoryJournal::new());
    let dir = tempfile::tempdir().unwrap();
    let case = Case {
        log: Some(dir.path().join("world")),
        ..case
    };
    let first = case.stage_over(journal.clone()).run();
    let before = first.bytes();
    drop(first);
    let second = case.stage_over(journal).run();
    assert_eq!(second.outcome, Outcome::Completed);
    assert_eq!(second.effects, []);
    assert!(second.bytes() == before, "a run with nothing to do wrote something");
}

/// Where all targets are one batch there is neither a control nor a stage to pass, and still nothing passes unknown.
#[test]
fn a_single_target_is_done_only_when_it_is_known_to_be_safe() {
    let good = Case::calm(1, 1).run();
    assert_eq!(good.outcome, Outcome::Completed);
    assert!(good.codes().contains(&"class.safe"), "{:?}", good.codes());

    let bad = Case::calm(1, 1).release("errors=x10").run();
    assert_eq!(bad.outcome, Outcome::Waiting, "a person's silence is no yes");
    let question = bad.notices[0].question.as_ref().unwrap();
    assert_eq!(question.kind, QuestionKind::RollBack);
    assert!(question.text.contains("errors speaks against"), "{}", question.text);
}

/// Traffic that could never prove health may still disprove it: then the self-tests do not speak for it.
#[test]
fn a_silent_class_whose_traffic_speaks_against_the_release_goes_no_further() {
    let mut case = Case::calm(2, 1);
    // A request every three seconds.
    case.world.requests_per_s_median = 0.3;
    let good = case.run();
    assert_eq!(good.outcome, Outcome::Completed);
    assert_eq!(good.summary.evidence.borrowed.len(), 1, "{:?}", good.summary.evidence);

    let bad = case.release("latency=x10").run();
    assert_ne!(bad.outcome, Outcome::Completed);
    assert_eq!(bad.sim.census().on_new_verified, 1, "the second stays as it was");
}
