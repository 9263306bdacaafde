//! What people say, are asked and do where a class alone is at fault.

use std::collections::BTreeSet;
use std::sync::Arc;

use unattended::batching::pct;
use unattended::upgrade::{AttemptId, Clock, EffectKey, Generation, Platform, TargetId};
use unattended::{Grant, Handle, Level, Outcome, QuestionKind};

use crate::aside::{case, last, of_class, only_these_stayed};
use crate::support::{Act, Case, Ended, HOUR_MS, MINUTE_MS, OLD, START_WALL_MS, person};

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
                            generation: Generation(1 << 59),
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
