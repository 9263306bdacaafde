//! A class that alone is at fault: it goes back and stays behind, and the rest goes on.
#![expect(clippy::unwrap_used, reason = "a failure of a helper is a failed test")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::Mutex;
use unattended::batching::{Ramp, Side, pct};
use unattended::upgrade::{AttemptId, Clock, EffectKey, Generation, MemoryJournal, Platform, TargetId};
use unattended::{Grant, Handle, Level, OnClassFault, Outcome, QuestionKind};
use unattended_simulated::World;

use crate::births::tell_again;
use crate::support::{Act, Case, Ended, HOUR_MS, MINUTE_MS, NEW, OLD, START_WALL_MS, person};

/// Four stacks, and a first batch in which each of them is in each zone.
fn case(release: &'static str) -> Case {
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

fn of_class(case: &Case, key: &str, value: &str) -> BTreeSet<String> {
    let has = |labels: &[(String, String)]| labels.iter().any(|(k, v)| k == key && v == value);
    let of_class = case.targets.iter().filter(|target| has(&target.labels));
    of_class.map(|target| target.id.clone()).collect()
}

/// The class is on the old version and owed, everybody else on the new one.
fn only_these_stayed(ended: &Ended, class: &BTreeSet<String>, all: usize) {
    let census = ended.sim.census();
    assert_eq!(census.on_new_verified, (all - class.len()) as u64, "{census:?}");
    let owed: BTreeSet<String> = ended.summary.debts.iter().map(|debt| debt.target.clone()).collect();
    assert_eq!(owed, *class);
}

/// The last decisions, for whoever reads a failed test.
fn last(ended: &Ended) -> Vec<String> {
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

/// Where it may not take back anything by itself, for its level or for a budget, and a class alone is at fault.
fn left_to_people() -> [Case; 2] {
    let low = case("errors=x10@stack=stack-1").level(Level::L3);
    let mut spent = case("errors=x10@stack=stack-1");
    spent.rollbacks_before = 4;
    [low, spent].map(|mut case| {
        case.settings.person_patience_ms = 3_600_000;
        case
    })
}

fn asked(ended: &Ended) -> Vec<QuestionKind> {
    let asked = ended.notices.iter().filter_map(|notice| notice.question.as_ref());
    let mut kinds: Vec<QuestionKind> = asked.map(|question| question.kind).collect();
    kinds.dedup();
    kinds
}

#[test]
fn where_no_change_may_be_taken_back_a_class_is_not_without_a_persons_word() {
    for case in left_to_people() {
        let ended = case.run();
        assert_eq!(ended.outcome, Outcome::Waiting);
        assert!(!ended.codes().contains(&"class.aside"), "{:?}", ended.codes());
        assert_eq!(asked(&ended), [QuestionKind::SetClassAside]);
        assert!(
            ended
                .effects
                .iter()
                .all(|effect| effect.version.as_deref() != Some(OLD))
        );
    }
}

/// The three answers to it: that class, everything, and nothing.
#[test]
fn a_person_takes_back_the_class_or_everything_or_goes_on() {
    for case in left_to_people() {
        let class = of_class(&case, "stack", "stack-1");
        for answer in ["class", "all", "on"] {
            let stage = case.stage();
            let (handle, clock) = (stage.handle.clone(), stage.sim.clock());
            let ended = stage.run_beside(async move {
                loop {
                    clock.sleep_until(clock.now() + MINUTE_MS).await;
                    let Some(question) = handle.question() else { continue };
                    assert!(
                        question.kind != QuestionKind::SetClassAside || question.text.contains("stack=stack-1 alone"),
                        "{}",
                        question.text
                    );
                    let named = handle.answering(question.id);
                    let _ = match answer {
                        "class" => named.approve(person(), "that one"),
                        "all" => handle.roll_back(person(), "all of it"),
                        _ => named.resume(person(), "known"),
                    };
                }
            });
            let told = format!("{answer}: {:#?}", last(&ended));
            match answer {
                "class" => {
                    assert_eq!(ended.outcome, Outcome::CompletedWithDebt, "{told}");
                    only_these_stayed(&ended, &class, case.targets.len());
                    assert_eq!(asked(&ended), [QuestionKind::SetClassAside], "{told}");
                    assert_eq!(ended.summary.exposed_at_stop, None, "{told}");
                }
                "all" => {
                    assert_eq!(ended.outcome, Outcome::RolledBack, "{told}");
                    ended.all_on_old();
                }
                _ => {
                    assert!(asked(&ended).len() > 1 || ended.summary.human_actions > 1, "{told}");
                    assert!(!ended.codes().contains(&"class.aside"), "{told}");
                }
            }
            let played = futures::executor::block_on(unattended::replay(&*ended.journal, None)).unwrap();
            assert_eq!(played.first_difference, None, "{told}");
        }
    }
}

/// Whoever lets the change act by itself meanwhile has answered: nothing is asked any more.
#[test]
fn a_grant_answers_what_is_asked_about_a_class() {
    let [case, _] = left_to_people();
    let class = of_class(&case, "stack", "stack-1");
    let stage = case.stage();
    let (handle, clock) = (stage.handle.clone(), stage.sim.clock());
    let ended = stage.run_beside(async move {
        while handle.question().is_none() {
            clock.sleep_until(clock.now() + MINUTE_MS).await;
        }
        let until = START_WALL_MS + 1_000 * i64::try_from(HOUR_MS).unwrap();
        let grant = Grant::new(Level::L4, person(), until).unwrap();
        handle.grant(grant, "go on by yourself").unwrap();
        clock.sleep_until(clock.now() + 2 * MINUTE_MS).await;
        assert!(handle.questions().is_empty(), "{:?}", handle.questions());
    });
    assert_eq!(ended.outcome, Outcome::CompletedWithDebt, "{:#?}", last(&ended));
    only_these_stayed(&ended, &class, case.targets.len());
}

/// What is asked about one class is asked about everything once everybody shows it.
#[test]
fn what_is_everywhere_is_not_asked_about_a_class() {
    let mut case = case("errors=x10").level(Level::L3);
    case.settings.person_patience_ms = 3_600_000;
    let ended = case.run();
    assert_eq!(ended.outcome, Outcome::Waiting);
    assert_eq!(asked(&ended).last(), Some(&QuestionKind::RollBack));
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
fn where_people_take_the_steps_they_bring_the_class_back() {
    for level in [Level::L1, Level::L0] {
        let mut case = case("late=40m:errors=x20@stack=stack-1");
        // One after the other, so that some are left when the level falls.
        case.policy = case.policy.per_app(pct(4));
        let class = of_class(&case, "stack", "stack-1");
        let mut stage = case.stage();
        let (handle, clock, sim) = (stage.handle.clone(), stage.sim.clock(), Arc::clone(&stage.sim));
        let is_aside = |handle: &Handle| {
            let summary = handle.summary();
            summary.is_some_and(|summary| summary.decisions.iter().any(|one| one.code == "class.aside"))
        };
        let driven = stage.drive(async {
            while !is_aside(&handle) {
                clock.sleep_until(clock.now() + 1_000).await;
            }
            handle.demote(person(), level, "people look at it").unwrap();
            let exposed = |handle: &Handle| {
                let summary = handle.summary().unwrap();
                let aside = summary.classes.into_iter().find(|class| class.name == "stack=stack-1");
                aside.unwrap().exposed
            };
            assert_eq!(exposed(&handle), 0, "it shows nothing of its class any more");
            let mut taken = BTreeSet::new();
            for _ in 0..600 {
                clock.sleep_until(clock.now() + 10_000).await;
                let offers = handle.offers();
                for offer in offers.into_iter().filter(|offer| class.contains(&offer.target)) {
                    assert_eq!(offer.version.as_str(), OLD, "{level}: {}", offer.target);
                    assert_eq!(offer.by_hand, level == Level::L0);
                    if offer.by_hand {
                        let key = EffectKey {
                            attempt: AttemptId(1_000_000),
                            generation: Generation(1_000),
                            step: 0,
                            ordinal: 0,
                        };
                        let target = TargetId::from(offer.target.as_str());
                        sim.replace(&target, &offer.version, &key).await;
                    }
                    // One word is enough.
                    assert!(
                        taken.insert(offer.target.clone()),
                        "{level}: {} is offered again",
                        offer.target
                    );
                    handle.step(person(), offer.target, "back").unwrap();
                }
            }
            assert!(taken.len() > 3, "{level}: {taken:?}");
        });
        assert!(
            matches!(driven, Ok(None)),
            "{level}: people have yet to bring the rest there: {driven:?}"
        );
        let summary = stage.handle.summary().unwrap();
        let owed: BTreeSet<String> = summary.debts.iter().map(|debt| debt.target.clone()).collect();
        assert!(owed.is_superset(&class), "{level}");
        let still = futures::executor::block_on(async {
            let ids: Vec<TargetId> = class.iter().map(|name| name.as_str().into()).collect();
            stage.sim.observe(&ids).await.unwrap()
        });
        assert!(
            still
                .iter()
                .all(|seen| seen.version.as_ref().is_some_and(|version| version.as_str() == OLD)),
            "{level}"
        );
    }
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

/// A rule wants a person before anything goes back: that is asked once for the class, holds up nobody else, and a yes takes it back.
#[test]
fn a_class_goes_back_at_a_persons_word_where_a_rule_wants_one() {
    for (release, key, value) in [
        ("errors=x10@stack=stack-1", "stack", "stack-1"),
        ("latency=x4@zone=zone-0", "zone", "zone-0"),
    ] {
        let mut case = case(release);
        case.rules = "version: 1
pack: shop
owner: platform
scope: all
rules:
  - {id: back, kind: condition, if: {fact: change.direction, is: rollback}, then: needs_person, reason: ask before going back}
"
        .to_owned();
        let class = of_class(&case, key, value);
        let all = case.targets.len();
        let mut stage = case.stage();
        let (handle, clock) = (stage.handle.clone(), stage.sim.clock());
        let asked = || {
            handle
                .questions()
                .into_iter()
                .find(|q| q.kind == QuestionKind::RollBackNow)
        };
        let mut first = None;
        let left = stage.drive(async {
            while first.is_none() {
                clock.sleep_until(clock.now() + MINUTE_MS).await;
                first = asked();
            }
            clock.sleep_until(clock.now() + 12 * 60 * MINUTE_MS).await;
        });
        assert!(left.unwrap().is_none());
        let first = first.unwrap();
        assert!(
            first.text.contains("ask before going back") && first.text.contains("set aside"),
            "{}",
            first.text
        );
        assert_eq!(
            handle.questions(),
            std::slice::from_ref(&first),
            "{release}: it is asked once, and nothing else"
        );
        let back = |effect: &&crate::support::Effect| {
            effect.act == Act::Replace && effect.version.as_deref() == Some(OLD) && class.contains(&effect.target)
        };
        assert_eq!(stage.platform.effects().iter().filter(back).count(), 0);
        let on_new = stage.sim.census().on_new_verified;
        assert!(
            on_new > (all - class.len()) as u64,
            "{release}: {on_new} are there, those that wait among them"
        );
        // To go on is no answer to it.
        handle.resume(person(), "go on").unwrap();
        assert!(
            stage
                .drive(clock.sleep_until(clock.now() + 60 * MINUTE_MS))
                .unwrap()
                .is_none()
        );
        assert_eq!(asked().unwrap().id, first.id);
        handle.answering(first.id).approve(person(), "take them back").unwrap();
        let ended = stage.run();
        assert_eq!(ended.outcome, Outcome::CompletedWithDebt, "{:#?}", last(&ended));
        only_these_stayed(&ended, &class, all);
        assert_eq!(ended.summary.human_actions, 2);
        let open = ended.summary.holds.iter().filter(|hold| hold.until_ms.is_none());
        assert_eq!(open.count(), 0, "what held them is over");
    }
}
