//! A class that alone is at fault: it goes back and stays behind, and the rest goes on.
#![expect(clippy::unwrap_used, reason = "a failure of a helper is a failed test")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::Mutex;
use unattended::batching::{Ramp, Side, pct};
use unattended::upgrade::{Clock, MemoryJournal};
use unattended::{OnClassFault, Outcome, QuestionKind};
use unattended_simulated::World;

use crate::births::tell_again;
use crate::support::{Act, Case, Ended, MINUTE_MS, NEW, OLD, person};

/// Four stacks, and a first batch in which each of them is in each zone.
pub(crate) fn case(release: &'static str) -> Case {
    let mut case = Case::calm(16, 30).release(release);
    for target in &mut case.targets {
        let app: usize = target.app.rsplit('-').next().unwrap().parse().unwrap();
        for (key, value) in &mut target.labels {
            if key == "stack" {
                *value = format!("stack-{}", app % 4);
            }
        }
    }
    case.policy = case.policy.ramp(Ramp::steps([pct(10), pct(30), pct(100)]).unwrap());
    case.settings.on_class_fault = OnClassFault::Class;
    case
}

pub(crate) fn of_class(case: &Case, key: &str, value: &str) -> BTreeSet<String> {
    let has = |labels: &[(String, String)]| labels.iter().any(|(k, v)| k == key && v == value);
    let of_class = case.targets.iter().filter(|target| has(&target.labels));
    of_class.map(|target| target.id.clone()).collect()
}

/// The class is on the old version and owed, everybody else on the new one.
pub(crate) fn only_these_stayed(ended: &Ended, class: &BTreeSet<String>, all: usize) {
    let census = ended.sim.census();
    assert_eq!(census.on_new_verified, (all - class.len()) as u64, "{census:?}");
    let owed: BTreeSet<String> = ended.summary.debts.iter().map(|debt| debt.target.clone()).collect();
    assert_eq!(owed, *class);
}

/// The last decisions, for whoever reads a failed test.
pub(crate) fn last(ended: &Ended) -> Vec<String> {
    let texts = ended
        .summary
        .decisions
        .iter()
        .filter(|d| d.code != "lane.opened" && d.code != "class.safe");
    texts.map(|decision| decision.text.clone()).collect()
}

#[test]
fn a_fault_in_one_class_takes_back_that_class_alone() {
    for (release, key, value) in [
        ("errors=x10@stack=stack-1", "stack", "stack-1"),
        ("crash@zone=zone-2", "zone", "zone-2"),
        ("latency=x4@zone=zone-0", "zone", "zone-0"),
    ] {
        let case = case(release);
        let class = of_class(&case, key, value);
        let ended = case.run();
        assert_eq!(
            ended.outcome,
            Outcome::CompletedWithDebt,
            "{release}: {:#?}",
            last(&ended)
        );
        only_these_stayed(&ended, &class, case.targets.len());
        let codes = ended.codes();
        assert_eq!(
            codes.iter().filter(|code| **code == "class.aside").count(),
            1,
            "{codes:?}"
        );
        assert!(!codes.contains(&"rollback.began"), "{release}");
        assert_eq!(ended.summary.human_actions, 0);
        let aside = format!("{key}={value}");
        let view = ended.summary.classes.iter().find(|view| view.name == aside).unwrap();
        assert_eq!((view.state.as_str(), view.exposed), ("set aside", 0), "{release}");
        // It was said while it was so, and is over.
        let told = |stage: &str| {
            let of_aside =
                |notice: &&unattended::Notice| notice.code == "class.aside" && notice.stage.as_str() == stage;
            ended.pager.all().iter().filter(of_aside).count()
        };
        assert_eq!((told("raised"), told("resolved")), (1, 1), "{release}");
        // Nobody of it got the new version after it was set aside.
        let last_new = ended.effects.iter().rposition(|effect| {
            class.contains(&effect.target) && effect.act == Act::Replace && effect.version.as_deref() == Some(NEW)
        });
        let first_back = ended
            .effects
            .iter()
            .position(|effect| class.contains(&effect.target) && effect.version.as_deref() == Some(OLD));
        if release.starts_with("errors") {
            assert!(last_new < first_back, "{release}: {last_new:?} {first_back:?}");
        }
    }
}

/// What is wrong with a class shows before the others have shown that they are well, and before its zones have less against them
/// than it has.
#[test]
fn whose_fault_it_is_is_waited_for() {
    for seed in 1..=8 {
        let mut case = case("errors=x10@stack=stack-1");
        case.seed = seed;
        let class = of_class(&case, "stack", "stack-1");
        let ended = case.run();
        let last = last(&ended);
        assert_eq!(ended.outcome, Outcome::CompletedWithDebt, "seed {seed}: {last:#?}");
        only_these_stayed(&ended, &class, case.targets.len());
    }
}

#[test]
fn by_default_the_whole_change_goes_back() {
    let mut case = case("errors=x10@stack=stack-1");
    case.settings.on_class_fault = OnClassFault::Change;
    let ended = case.run();
    assert_eq!(ended.outcome, Outcome::RolledBack);
    ended.all_on_old();
}

#[test]
fn what_is_everywhere_takes_back_the_whole_change() {
    for release in ["errors=x10", "crash", "latency=x4"] {
        let ended = case(release).run();
        assert_eq!(ended.outcome, Outcome::RolledBack, "{release}");
        ended.all_on_old();
        assert!(
            !ended.codes().contains(&"class.aside"),
            "{release}: {:?}",
            ended.codes()
        );
        let why = ended.codes().iter().filter(|code| **code == "class.not_alone").count();
        assert_eq!(why, 1, "{release}: {:?}", ended.codes());
    }
}

#[test]
fn births_into_a_class_that_is_set_aside_keep_the_old_version() {
    let mut case = case("errors=x10@stack=stack-1");
    case.world = World {
        deaths_per_target_day: 1.0,
        ..case.world
    };
    let stage = case.stage();
    let handle = stage.handle.clone();
    let ended = stage.run();
    assert_eq!(ended.outcome, Outcome::CompletedWithDebt);
    let born = |stack: &str| handle.version_for("app-0-b1", "app-0", &[("zone", "zone-0"), ("stack", stack)]);
    assert_eq!((born("stack-0"), born("stack-1")), (Side::New, Side::Old));
    let codes = ended.codes();
    assert!(
        codes.contains(&"class.aside") && !codes.contains(&"rollback.began"),
        "{codes:?}"
    );
    let census = ended.sim.census();
    let stack_0 = ended.sim.census().on_new_verified;
    assert!(stack_0 >= 110, "{census:?}");
}

/// A kill at some of the journal's groups: the next run comes to the same place.
/// News are told again of some who run it: they left and were born on the old version, which was before their upgrade.
#[test]
fn a_birth_that_is_told_again_hides_nobody_from_the_way_back_of_its_class() {
    for is_aside_before in [false, true] {
        let mut case = case("errors=x10@stack=stack-1");
        // One of each application at a time: most of the class wait for their turn to go back.
        case.policy = case.policy.per_app(pct(4));
        let class = of_class(&case, "stack", "stack-1");
        let stage = case.stage();
        let tell = tell_again(&stage, &case);
        let (handle, clock, platform) = (stage.handle.clone(), stage.sim.clock(), Arc::clone(&stage.platform));
        let of_it = class.clone();
        let told = Arc::new(Mutex::new(BTreeSet::new()));
        let kept = Arc::clone(&told);
        let ended = stage.run_beside(async move {
            let is_aside = || {
                let decisions = handle.summary().map(|summary| summary.decisions);
                decisions.is_some_and(|all| all.iter().any(|decision| decision.code == "class.aside"))
            };
            let on_new = || -> BTreeSet<String> {
                let effects = platform.effects().into_iter();
                let opened = effects.filter(|effect| of_it.contains(&effect.target) && effect.act == Act::Open);
                opened.map(|effect| effect.target).collect()
            };
            while on_new().len() < 8 || is_aside_before && !is_aside() {
                clock.sleep_until(clock.now() + 1_000).await;
            }
            assert_eq!(is_aside(), is_aside_before);
            if !is_aside_before {
                // Or they would be brought to the new version once more.
                handle.pause(person(), "the controller is started again").unwrap();
            }
            let some = on_new();
            tell(&some);
            *kept.lock() = some;
            if !is_aside_before {
                while !is_aside() {
                    clock.sleep_until(clock.now() + 1_000).await;
                }
                handle.resume(person(), "it is there again").unwrap();
            }
        });
        assert_eq!(ended.outcome, Outcome::CompletedWithDebt, "{:#?}", last(&ended));
        only_these_stayed(&ended, &class, case.targets.len());
        assert!(!told.lock().is_empty());
    }
}

#[test]
fn a_class_stays_aside_over_a_kill() {
    let case = case("errors=x10@stack=stack-1");
    let class = of_class(&case, "stack", "stack-1");
    let journal = Arc::new(MemoryJournal::new());
    let mut stage = case.stage_over(Arc::<MemoryJournal>::clone(&journal));
    let (handle, clock) = (stage.handle.clone(), stage.sim.clock());
    let is_aside = || {
        let summary = handle.summary();
        summary.is_some_and(|summary| summary.decisions.iter().any(|decision| decision.code == "class.aside"))
    };
    let killed = stage.drive(async {
        while !is_aside() {
            clock.sleep_until(clock.now() + 60_000).await;
        }
    });
    assert!(killed.unwrap().is_none());
    let sim = Arc::clone(&stage.sim);
    drop(stage);
    let ended = case.stage_in(sim, journal).run();
    assert_eq!(ended.outcome, Outcome::CompletedWithDebt);
    only_these_stayed(&ended, &class, case.targets.len());
    assert_eq!(ended.codes().iter().filter(|code| **code == "class.aside").count(), 1);
}

/// Somebody takes the rest back, too: what is back already is not touched again.
#[test]
fn a_rollback_of_the_rest_leaves_alone_what_is_back() {
    let case = case("errors=x10@stack=stack-1");
    let class = of_class(&case, "stack", "stack-1");
    let stage = case.stage();
    let (handle, clock) = (stage.handle.clone(), stage.sim.clock());
    let ended = stage.run_beside(async {
        while handle.progress().is_none_or(|progress| progress.exposed < 100) {
            clock.sleep_until(clock.now() + 60_000).await;
        }
        handle.roll_back(person(), "the rest, too").unwrap();
    });
    assert_eq!(ended.outcome, Outcome::RolledBack, "{:#?}", last(&ended));
    ended.all_on_old();
    assert!(ended.codes().contains(&"class.aside"));
    let back = orders_back(&ended, &class);
    assert!(!back.is_empty() && back.values().all(|times| *times == 1), "{back:?}");
    // Nor is it so much as fenced: it takes no place of those who have to go.
    let began = ended
        .summary
        .decisions
        .iter()
        .find(|one| one.code == "rollback.began")
        .unwrap();
    let again = ended
        .effects
        .iter()
        .find(|effect| effect.at_ms > began.at_ms && class.contains(&effect.target));
    assert_eq!(again, None);
}

/// How often each target of a class was ordered back.
fn orders_back<'e>(ended: &'e Ended, class: &BTreeSet<String>) -> BTreeMap<&'e str, u32> {
    let mut back: BTreeMap<&str, u32> = BTreeMap::new();
    for effect in &ended.effects {
        if class.contains(&effect.target) && effect.act == Act::Replace && effect.version.as_deref() == Some(OLD) {
            *back.entry(&effect.target).or_default() += 1;
        }
    }
    back
}

#[test]
fn what_is_on_its_way_back_with_its_class_is_not_started_once_more_with_the_rest() {
    let case = case("errors=x10@stack=stack-1");
    let class = of_class(&case, "stack", "stack-1");
    let stage = case.stage();
    let handle = stage.handle.clone();
    stage.platform.before_each(move |effect| {
        if effect.act == Act::Replace && effect.version.as_deref() == Some(OLD) {
            // More than once changes nothing.
            let _ = handle.roll_back(person(), "the rest, too");
        }
    });
    let ended = stage.run();
    assert_eq!(ended.outcome, Outcome::RolledBack, "{:#?}", last(&ended));
    ended.all_on_old();
    assert!(ended.codes().contains(&"class.aside"));
    let back = orders_back(&ended, &class);
    assert!(!back.is_empty() && back.values().all(|times| *times == 1), "{back:?}");
}

#[test]
fn rules_hold_the_way_back_of_a_class_and_the_change_waits_for_it() {
    let mut case = case("late=40m:errors=x20@stack=stack-1");
    case.rules = "version: 1\npack: day\nowner: ops\nscope: {app: app-1}\nwindows:\n  \
        - {id: day, kind: protected, weekly: {days: daily, from: \"08:30\", for: 12h}, zone: UTC, rollback: forbidden, reason: business}\n"
        .to_owned();
    let class = of_class(&case, "stack", "stack-1");
    let ended = case.run();
    assert_eq!(ended.outcome, Outcome::CompletedWithDebt, "{:#?}", last(&ended));
    only_these_stayed(&ended, &class, case.targets.len());
    let held = (ended.effects.iter()).filter(|effect| effect.target.starts_with("app-1-") && effect.disturbs());
    let held: Vec<u64> = held.map(|effect| effect.at_ms).collect();
    let window = 30 * MINUTE_MS..(12 * 60 + 30) * MINUTE_MS;
    assert!(held.iter().all(|at_ms| !window.contains(at_ms)), "{held:?}");
    assert!(held.iter().any(|at_ms| *at_ms > window.end), "{held:?}");
    let rest = ended
        .effects
        .iter()
        .filter(|effect| !class.contains(&effect.target) && effect.disturbs());
    assert!(
        rest.map(|effect| effect.at_ms).max() < Some(window.end),
        "others are not held"
    );
}

#[test]
fn a_class_that_is_set_aside_counts_as_a_rollback() {
    let mut case = case("errors=x10@stack=stack-1");
    case.settings.person_patience_ms = 3_600_000;
    // One more may be.
    case.rollbacks_before = 3;
    let stage = case.stage();
    let (handle, platform) = (stage.handle.clone(), Arc::clone(&stage.platform));
    let clock = stage.sim.clock();
    let ended = stage.run_beside(async move {
        while !handle
            .summary()
            .is_some_and(|summary| summary.decisions.iter().any(|one| one.code == "class.aside"))
        {
            clock.sleep_until(clock.now() + 1_000).await;
        }
        platform.never_ready_where(|_| true);
    });
    assert_eq!(ended.outcome, Outcome::Waiting, "{:#?}", last(&ended));
    let asked = ended.notices.iter().filter_map(|notice| notice.question.as_ref());
    assert!(
        asked
            .into_iter()
            .any(|question| question.kind == QuestionKind::RollBack)
    );
    assert!(!ended.codes().contains(&"rollback.began"));
}

/// A class is set aside, and the first of an application that tries the way back does not come up: the caps keep the others of it.
#[test]
fn what_only_caps_keep_of_a_class_aside_is_told_and_owed() {
    let mut case = case("errors=x10+one-way@stack=stack-1");
    case.policy = case.policy.per_app(pct(3));
    let ended = case.run();
    assert_eq!(ended.outcome, Outcome::CompletedWithDebt);
    assert!(ended.summary.elapsed_ms < 24 * crate::support::HOUR_MS);
    let codes = ended.codes();
    assert!(codes.contains(&"rollback.blocked"), "{codes:?}");
    assert!(ended.notices.iter().any(|notice| notice.code == "rollback.blocked"));
    let kept = (ended.summary.debts.iter()).filter(|debt| debt.reason.starts_with("others of its application are ill"));
    assert!(kept.count() > 0, "{:?}", ended.summary.debts);
    let played = futures::executor::block_on(unattended::replay(&*ended.journal, None)).unwrap();
    assert_eq!(played.first_difference, None);
}

/// Who waits for others of other applications to go back, under a cap of the whole fleet, is kept by nobody that is ill.
#[test]
fn who_waits_for_the_turn_of_others_of_a_class_aside_is_not_owed() {
    let mut case = case("errors=x4@stack=stack-1");
    case.policy = case.policy.total_in_flight(pct(1));
    let ended = case.run();
    assert_eq!(ended.outcome, Outcome::CompletedWithDebt);
    assert!(!ended.codes().contains(&"rollback.blocked"), "{:?}", ended.codes());
    let kept = (ended.summary.debts.iter()).filter(|debt| debt.reason.starts_with("others of its application are ill"));
    assert_eq!(kept.count(), 0);
    assert_eq!(ended.summary.aside.len(), 1);
    assert!(ended.summary.rolled_back > 0);
}
