//! Questions beside one another: what a rule asks for one application keeps nobody else waiting, and a yes does what it says.
#![expect(clippy::unwrap_used, reason = "a failure of a helper is a failed test")]

use std::collections::BTreeSet;

use crate::support::{Case, Ended, HOUR_MS, MINUTE_MS, Stage, person};
use unattended::batching::{Ramp, pct};
use unattended::upgrade::Clock;
use unattended::{CommandError, Level, Outcome, QuestionKind};

/// Twenty targets of each of six applications; a rule wants a person for the first.
fn ruled(level: Level) -> Case {
    let mut case = Case::calm(6, 20).level(level);
    // A first batch in which others show every class, too.
    case.policy = case.policy.ramp(Ramp::steps([pct(10), pct(30), pct(100)]).unwrap());
    case.rules = "version: 1
pack: shop
owner: platform
scope: all
rules:
  - {id: new-hands, kind: person, select: {app: app-0}, owner: team-pay, step: batch, reason: nobody knows them}
"
    .to_owned();
    case
}

fn kinds(stage: &Stage) -> Vec<QuestionKind> {
    stage.handle.questions().iter().map(|question| question.kind).collect()
}

/// Somebody answers questions of one kind, as soon as they are asked, until a time.
#[track_caller]
fn answer(stage: &mut Stage, kind: QuestionKind, until_ms: u64) -> BTreeSet<u64> {
    let (handle, clock) = (stage.handle.clone(), stage.sim.clock());
    let mut answered = BTreeSet::new();
    let left = stage.drive(async {
        while clock.now() < until_ms {
            clock.sleep_until(clock.now() + MINUTE_MS).await;
            let asked = handle.questions().into_iter().find(|question| question.kind == kind);
            if let Some(question) = asked.filter(|question| !answered.contains(&question.id)) {
                handle.answering(question.id).approve(person(), "go on").unwrap();
                answered.insert(question.id);
            }
        }
    });
    assert!(left.unwrap().is_none(), "it has ended");
    answered
}

#[test]
fn a_rule_of_one_application_keeps_no_batch_of_the_others_waiting() {
    let mut stage = ruled(Level::L2).stage();
    // The first batch is confirmed, and the rule asks.
    let clock = stage.sim.clock();
    answer(&mut stage, QuestionKind::NextBatch, 30 * MINUTE_MS);
    assert!(stage.drive(clock.sleep_until(HOUR_MS)).unwrap().is_none());
    assert_eq!(kinds(&stage), [QuestionKind::NextBatch, QuestionKind::RuleWantsPerson]);
    let open = stage.handle.questions();
    assert_eq!(stage.handle.question().as_ref(), open.first());
    assert_eq!(stage.handle.summary().unwrap().ask.unwrap().id, open[0].id);
    let told: BTreeSet<u64> = stage
        .handle
        .notices()
        .into_iter()
        .filter_map(|notice| Some(notice.question?.id))
        .collect();
    assert_eq!(told, open.iter().map(|question| question.id).collect());
    let rule = open[1].id;

    answer(&mut stage, QuestionKind::NextBatch, 24 * HOUR_MS);
    let progress = stage.handle.progress().unwrap();
    assert_eq!(
        (progress.exposed, progress.targets),
        (100, 120),
        "all but those of the rule"
    );
    assert_eq!(
        (kinds(&stage), stage.handle.question().unwrap().id),
        (vec![QuestionKind::RuleWantsPerson], rule),
        "it is asked once, and still is"
    );
    stage
        .handle
        .answering(rule)
        .approve(person(), "they know them now")
        .unwrap();
    assert!(stage.drive(clock.sleep_until(25 * HOUR_MS)).unwrap().is_none());
    assert!(stage.handle.progress().unwrap().exposed > 100);
}

#[test]
fn a_rule_of_one_application_keeps_no_budget_and_no_check_of_the_others_waiting() {
    let mut case = ruled(Level::L3);
    case.settings.budget.starts_per_day = Some(10);
    let mut stage = case.stage();
    let answered = answer(&mut stage, QuestionKind::BeyondBudget, 20 * HOUR_MS);
    assert!(answered.len() >= 9, "{answered:?}");
    assert_eq!(stage.handle.progress().unwrap().exposed, 100);
}

#[test]
fn who_goes_on_does_not_answer_what_a_rule_asks() {
    let mut stage = ruled(Level::L4).stage();
    let clock = stage.sim.clock();
    assert!(stage.drive(clock.sleep_until(HOUR_MS)).unwrap().is_none());
    let question = stage.handle.question().unwrap();
    assert_eq!(question.kind, QuestionKind::RuleWantsPerson);
    assert_ne!(stage.handle.progress().unwrap().state, "waiting", "the others go on");
    let of_the_rule = |stage: &Stage| {
        let effects = stage.platform.effects().into_iter();
        effects.filter(|effect| effect.target.starts_with("app-0-")).count()
    };
    stage.handle.resume(person(), "go on").unwrap();
    assert!(stage.drive(clock.sleep_until(5 * HOUR_MS)).unwrap().is_none());
    assert_eq!(
        (of_the_rule(&stage), stage.handle.question().as_ref()),
        (0, Some(&question))
    );
    assert_eq!(stage.handle.progress().unwrap().exposed, 100);
    assert_eq!(stage.handle.progress().unwrap().state, "waiting", "nobody else is left");
    let late = stage.handle.answering(question.id + 1).resume(person(), "go on");
    assert!(matches!(late, Err(CommandError::OtherQuestion { .. })), "{late:?}");
    // Who names it means it.
    stage.handle.answering(question.id).resume(person(), "go on").unwrap();
    assert!(
        stage
            .drive(clock.sleep_until(5 * HOUR_MS + MINUTE_MS))
            .unwrap()
            .is_none()
    );
    assert!(of_the_rule(&stage) > 0);
}

/// The question whose answer was not given in time ends the run only where nothing else is asked in time.
#[test]
fn what_a_rule_asks_ends_no_run_that_goes_on() {
    let mut case = ruled(Level::L2);
    case.settings.person_patience_ms = 12 * HOUR_MS;
    let mut stage = case.stage();
    answer(&mut stage, QuestionKind::NextBatch, 30 * MINUTE_MS);
    // Nobody confirms a batch for a while in which the question of the rule runs out.
    let clock = stage.sim.clock();
    assert!(stage.drive(clock.sleep_until(HOUR_MS)).unwrap().is_none());
    let asked_ms = stage.handle.questions().last().unwrap().asked_ms;
    let batch = stage.handle.question().unwrap();
    assert_eq!(batch.kind, QuestionKind::NextBatch);
    let between_ms = u64::midpoint(asked_ms, batch.asked_ms) + 12 * HOUR_MS;
    assert!(between_ms < batch.by_ms && between_ms > asked_ms + 12 * HOUR_MS);
    assert!(stage.drive(clock.sleep_until(between_ms)).unwrap().is_none());
    assert_eq!(stage.run().outcome, Outcome::Waiting);
}

/// What of the first application was touched, and when.
fn of_the_first(stage: &Stage) -> Vec<u64> {
    let effects = stage.platform.effects().into_iter();
    let of_it = effects.filter(|effect| effect.target.starts_with("app-0-"));
    of_it.map(|effect| effect.at_ms).collect()
}

/// Another freeze, or denial, of the first application, beside the rule that wants a person or without it.
fn closed(with_person: bool, rule: &str) -> Case {
    let mut case = ruled(Level::L4);
    let person = if with_person { case.rules.as_str() } else { "" };
    let rules = if person.is_empty() {
        format!("version: 1\npack: shop\nowner: platform\nscope: {{app: app-0}}\n{rule}")
    } else {
        format!("{person}{rule}")
    };
    case.rules = rules;
    case
}

/// A yes satisfies the rule that wants a person; a window that has begun since the rules were asked last holds all the same.
#[test]
fn a_yes_starts_nothing_that_the_rules_do_not_let_start_by_then() {
    let freeze = "freezes:
  - {id: noon, select: {app: app-0}, from: 2026-11-23T12:05, until: 2026-11-24T12:00, zone: UTC, owner: cto, reason: lunch}
";
    let mut stage = closed(true, freeze).stage();
    let clock = stage.sim.clock();
    // An attempt and its rollback do not fit before the freeze any more, and the rules were asked last before that.
    assert!(
        stage
            .drive(clock.sleep_until(3 * HOUR_MS + 47 * MINUTE_MS))
            .unwrap()
            .is_none()
    );
    let question = stage.handle.question().unwrap();
    assert_eq!(question.kind, QuestionKind::RuleWantsPerson);
    stage.handle.answering(question.id).approve(person(), "let it").unwrap();
    assert!(stage.drive(clock.sleep_until(27 * HOUR_MS)).unwrap().is_none());
    assert_eq!((of_the_first(&stage), kinds(&stage)), (Vec::new(), Vec::new()));
    // When the freeze is over the word still holds.
    assert!(
        stage
            .drive(clock.sleep_until(28 * HOUR_MS + 30 * MINUTE_MS))
            .unwrap()
            .is_none()
    );
    let first = of_the_first(&stage).first().copied();
    assert!(first.is_some_and(|at_ms| at_ms >= 28 * HOUR_MS), "{first:?}");
    let ended = answer_until_the_end(stage, QuestionKind::RuleWantsPerson);
    assert_eq!(ended.outcome, Outcome::Completed);
}

/// Nobody is asked what no yes changes: those whose rule it is are told, and the rest is left by a word of its own.
#[test]
fn what_no_yes_lifts_is_not_asked_about() {
    let never = "freezes:
  - {id: never, select: {app: app-0}, from: 2026-11-20T12:00, until: 2131-01-01, zone: UTC, owner: cto, reason: moved away}
";
    let denied = "  - {id: no, kind: condition, select: {app: app-0}, if: {fact: change.direction, is: forward}, then: deny, owner: cto, reason: no}
";
    let alone = format!("rules:\n{denied}");
    for (with_person, rule) in [(false, never), (true, never), (false, alone.as_str()), (true, denied)] {
        let mut stage = closed(with_person, rule).stage();
        let clock = stage.sim.clock();
        assert!(stage.drive(clock.sleep_until(24 * HOUR_MS)).unwrap().is_none());
        assert_eq!(stage.handle.progress().unwrap().exposed, 100, "{rule}");
        assert_eq!(stage.handle.questions(), [], "{rule}");
        let told = stage.handle.notices();
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!((told[0].code.as_str(), told[0].owner.as_str()), ("lane.closed", "cto"));
        assert_eq!(told[0].lanes, ["app-0"]);
        // A yes to nothing does nothing.
        stage.handle.approve(person(), "let it").unwrap();
        stage.handle.resume(person(), "let it").unwrap();
        let answered = answer_until_the_end(stage, QuestionKind::Stalled);
        assert_eq!(answered.outcome, Outcome::CompletedWithDebt, "{rule}");
        assert_eq!(answered.summary.debts.len(), 20, "{rule}");
        assert!(
            answered
                .effects
                .iter()
                .all(|effect| !effect.target.starts_with("app-0-"))
        );
    }
}

/// Whoever leaves an application out needs no rule for it any more, and nobody is asked for it.
#[test]
fn what_is_left_out_waits_for_no_rule() {
    let denied = "rules:
  - {id: no, kind: condition, if: {fact: change.direction, is: forward}, then: deny, owner: cto, reason: no}
";
    for case in [ruled(Level::L4), closed(false, denied)] {
        let mut stage = case.stage();
        let clock = stage.sim.clock();
        assert!(stage.drive(clock.sleep_until(5 * HOUR_MS)).unwrap().is_none());
        assert_eq!(stage.handle.progress().unwrap().exposed, 100);
        assert!(!stage.handle.notices().is_empty());
        stage.handle.skip(person(), "app-0", "not now").unwrap();
        let ended = stage.run();
        assert_eq!(ended.outcome, Outcome::CompletedWithDebt);
        assert!(ended.summary.elapsed_ms < 6 * HOUR_MS, "{}", ended.summary.elapsed_ms);
        assert_eq!((ended.summary.debts.len(), ended.summary.human_actions), (20, 1));
        assert!(ended.handle.notices().is_empty(), "{:?}", ended.handle.notices());
    }
}

/// Somebody answers questions of one kind until the change ends.
#[track_caller]
fn answer_until_the_end(stage: Stage, kind: QuestionKind) -> Ended {
    let (handle, clock) = (stage.handle.clone(), stage.sim.clock());
    stage.run_beside(async move {
        loop {
            clock.sleep_until(clock.now() + MINUTE_MS).await;
            for question in handle.questions().into_iter().filter(|question| question.kind == kind) {
                // It may have been answered a moment ago.
                let _ = handle.answering(question.id).approve(person(), "yes");
            }
        }
    })
}

#[test]
fn to_go_on_is_not_to_leave_the_rest() {
    let mut case = Case::calm(4, 20);
    case.rules = "version: 1
pack: shop
owner: platform
scope: all
rules:
  - {id: never, kind: condition, select: {app: app-0}, if: {fact: change.direction, is: forward}, then: deny, owner: cto, reason: no}
"
    .to_owned();
    let mut stage = case.stage();
    let (handle, clock) = (stage.handle.clone(), stage.sim.clock());
    let driven = stage.drive(async {
        for asked in 1..=2 {
            while handle.question().is_none() {
                clock.sleep_until(clock.now() + MINUTE_MS).await;
            }
            let question = handle.question().unwrap();
            assert_eq!((question.kind, question.id), (QuestionKind::Stalled, asked));
            let notices = handle.notices();
            let told = notices.iter().find(|notice| notice.question.is_some()).unwrap();
            assert!(told.briefing.as_ref().unwrap().remedy.contains("`resume`"), "{told:?}");
            handle.resume(person(), "go on looking").unwrap();
            clock.sleep_until(clock.now() + HOUR_MS).await;
            assert!(handle.question().is_none(), "it is asked again only after as long");
        }
    });
    assert!(driven.unwrap().is_none(), "it goes on");
    let summary = stage.handle.summary().unwrap();
    assert_eq!((summary.debts.len(), stage.handle.progress().unwrap().exposed), (0, 60));
}

#[test]
fn a_run_that_nobody_answers_leaves_nobody_half_way() {
    for (patience_ms, release) in [(0, "crash"), (0, "crash@zone=zone-1"), (MINUTE_MS, "crash")] {
        let mut case = Case::calm(6, 60).release(release).level(Level::L3);
        case.policy = case.policy.ramp(Ramp::steps([pct(10), pct(100)]).unwrap());
        case.settings.person_patience_ms = patience_ms;
        let ended = case.run();
        assert_eq!(ended.outcome, Outcome::Waiting, "{release}");
        assert_eq!(ended.summary.exposure.in_flight, 0, "{release}, {patience_ms} ms");
    }
}

#[test]
fn one_word_lets_all_classes_go_that_have_waited_for_evidence() {
    let mut case = Case::calm(4, 20);
    case.world.requests_per_s_median = 1e-4;
    case.world.self_tests_per_second = 0.0;
    case.settings.patience_ms = 4 * HOUR_MS;
    let mut stage = case.stage();
    let (handle, clock) = (stage.handle.clone(), stage.sim.clock());
    let mut texts = Vec::new();
    let driven = stage.drive(async {
        while clock.now() < 30 * 24 * HOUR_MS {
            clock.sleep_until(clock.now() + MINUTE_MS).await;
            if let Some(question) = handle.question() {
                assert_eq!(question.kind, QuestionKind::GoOnWithoutEvidence, "{}", question.text);
                texts.push(question.text.clone());
                handle.answering(question.id).approve(person(), "go on").unwrap();
            }
        }
    });
    assert_eq!(driven.unwrap().unwrap().unwrap(), Outcome::Completed);
    // The fleet's stages and those of three stacks, which are asked about together.
    let together = texts
        .iter()
        .filter(|text| text.contains("and 2 other classes wait likewise"));
    assert_eq!((together.count(), texts.len()), (12, 12), "{texts:#?}");
}
