//! What one word is about: what was asked, what was named, and what has been stopped by others.
#![expect(clippy::unwrap_used, reason = "a failure of a helper is a failed test")]

use std::sync::Arc;

use unattended::batching::pct;
use unattended::upgrade::{Clock, FleetChange, MemoryJournal};
use unattended::{Actor, CommandError, DecisionView, Level, Outcome, QuestionKind};

use crate::meant::{TWO_TEAMS, until};
use crate::support::{Act, Case, HOUR_MS, MINUTE_MS, OLD, Stage, app_of, person};

fn decided(stage: &Stage, code: &str) -> Vec<DecisionView> {
    let decisions = stage.handle.summary().unwrap().decisions;
    decisions.into_iter().filter(|decision| decision.code == code).collect()
}

fn bot() -> Actor {
    Actor::program("dash", "probe")
}

/// While somebody thinks about what a program wants, evidence comes to stop the change: that is another question.
#[test]
fn an_answer_to_what_a_program_wants_overrules_no_evidence() {
    let case = Case::calm(8, 30).release("late=60m:errors=x20").level(Level::L3);
    let mut alone = case.stage();
    until(&mut alone, 20 * HOUR_MS);
    let stops_ms = decided(&alone, "stop.evidence")[0].at_ms;

    let mut stage = case.stage();
    until(&mut stage, stops_ms - 20 * MINUTE_MS);
    stage.handle.roll_back(bot(), "a graph looks odd").unwrap();
    until(&mut stage, stops_ms - 19 * MINUTE_MS);
    let asked = stage.handle.question().unwrap();
    assert!(asked.text.contains("a graph looks odd"), "{}", asked.text);
    until(&mut stage, stops_ms + HOUR_MS);
    let exposed = stage.handle.progress().unwrap().exposed;
    assert_eq!(decided(&stage, "stop.evidence").len(), 1);
    let about = stage.handle.question().unwrap();
    assert!(about.text.starts_with("evidence"), "{}", about.text);
    let said = stage
        .handle
        .answering(asked.id)
        .resume(person(), "that graph is always odd");
    assert!(
        matches!(said, Err(CommandError::OtherQuestion { named, .. }) if named == asked.id),
        "{said:?}"
    );
    until(&mut stage, stops_ms + 3 * HOUR_MS);
    assert_eq!(stage.handle.progress().unwrap().exposed, exposed);
    // Who says so of the evidence goes on over it.
    stage.handle.answering(about.id).resume(person(), "known").unwrap();
    until(&mut stage, stops_ms + 4 * HOUR_MS);
    assert!(stage.handle.progress().unwrap().exposed > exposed);
}

/// Two people lift a freeze at the same moment, or the answer to the first word was lost.
#[test]
fn who_lifts_a_freeze_twice_overrules_no_evidence() {
    let mut stage = Case::calm(8, 30)
        .release("late=60m:errors=x20")
        .level(Level::L3)
        .stage();
    until(&mut stage, 50 * MINUTE_MS);
    stage.handle.freeze(person(), "let me look").unwrap();
    until(&mut stage, 3 * HOUR_MS);
    let open = stage.handle.question().unwrap();
    assert_eq!(open.kind, QuestionKind::RollBack);
    let exposed = stage.handle.progress().unwrap().exposed;
    stage.handle.resume(person(), "I have looked").unwrap();
    stage
        .handle
        .resume(Actor::person("wang", "chat"), "li has looked")
        .unwrap();
    until(&mut stage, 4 * HOUR_MS);
    assert_eq!(stage.handle.progress().unwrap().exposed, exposed);
    assert_eq!(stage.handle.question().map(|open| open.id), Some(open.id));
    let said = stage.handle.resume(person(), "go on");
    assert!(
        matches!(&said, Err(CommandError::Unnamed { question, .. }) if *question == open.id),
        "{said:?}"
    );
    stage.handle.answering(open.id).resume(person(), "over it").unwrap();
    until(&mut stage, 5 * HOUR_MS);
    assert!(stage.handle.progress().unwrap().exposed > exposed);
}

/// One team's yes to go back in its protected hours is none of another's, whose hours begin meanwhile.
#[test]
fn a_yes_for_the_window_of_one_team_lifts_no_other_teams() {
    let clock_of = |ms: u64| format!("{:02}:{:02}", 8 + ms / HOUR_MS, ms % HOUR_MS / MINUTE_MS);
    let window = |id: &str, app: &str, from_ms: u64| {
        format!(
            "version: 1\npack: {id}\nowner: {id}\nscope: {{app: {app}}}\nwindows:\n  - {{id: {id}, kind: protected, weekly: {{days: [mon], \
             from: \"{}\", for: 12h}}, zone: UTC, owner: {id}, reason: closed}}\n",
            clock_of(from_ms)
        )
    };
    let mut case = Case::calm(3, 200);
    case.policy = case.policy.per_app(pct(1));
    let mut first = case.stage();
    let mut minute = 0;
    while first.handle.progress().is_none_or(|progress| progress.exposed < 250) {
        minute += 1;
        assert!(until(&mut first, minute * MINUTE_MS).is_none());
    }
    let bank_ms = (minute + 20) * MINUTE_MS;
    case.rules = format!(
        "{}---\n{}",
        window("shop", "app-0", (minute - 3) * MINUTE_MS),
        window("bank", "app-1", bank_ms)
    );
    let mut stage = case.stage();
    until(&mut stage, minute * MINUTE_MS);
    stage.handle.roll_back(person(), "it is bad").unwrap();
    until(&mut stage, (minute + 2) * MINUTE_MS);
    let asked = stage.handle.question().unwrap();
    assert!(
        asked.text.contains("shop/shop") && !asked.text.contains("bank"),
        "{}",
        asked.text
    );
    let ann = Actor::person("ann", "shop");
    stage
        .handle
        .answering(asked.id)
        .approve(ann, "the shop says yes")
        .unwrap();
    until(&mut stage, (minute + 30) * MINUTE_MS);
    let back = |stage: &Stage, app: &str, from_ms: u64| {
        let effects = stage.platform.effects().into_iter();
        effects
            .filter(|effect| effect.disturbs() && effect.version.as_deref() == Some(OLD))
            .filter(|effect| app_of(&effect.target) == app && effect.at_ms >= from_ms)
            .count()
    };
    assert!(
        back(&stage, "app-0", minute * MINUTE_MS) > 0,
        "what was named goes back in its window"
    );
    // What was under way when the window began comes to its end.
    assert_eq!(back(&stage, "app-1", bank_ms + 3 * MINUTE_MS), 0);
    let then = stage.handle.question().unwrap();
    assert!(
        then.id > asked.id && then.text.contains("bank/bank of app-1"),
        "{}",
        then.text
    );
    let bob = Actor::person("bob", "bank");
    stage.handle.answering(then.id).approve(bob, "go back now").unwrap();
    let ended = until(&mut stage, (minute + 12 * 60) * MINUTE_MS);
    assert_eq!(ended, Some(Outcome::RolledBack));
    assert!(back(&stage, "app-1", bank_ms + 10 * MINUTE_MS) > 0);
}

/// Who would say yes is asked though another team is silent.
#[test]
fn a_team_is_asked_though_another_one_does_not_answer() {
    let mut case = Case::calm(6, 20);
    case.rules = TWO_TEAMS.to_owned();
    let mut stage = case.stage();
    until(&mut stage, HOUR_MS);
    let first = stage.handle.question().unwrap();
    assert!(!first.text.contains("bank"), "{}", first.text);
    until(&mut stage, 20 * HOUR_MS);
    let both = stage.handle.question().unwrap();
    let names_both = both.text.contains("shop/bank of team-bank, shop/new-hands of team-pay");
    assert!(both.id > first.id && names_both, "{}", both.text);
}

/// A person looks at what has begun; a program ends nothing of that.
#[test]
fn a_program_ends_nothing_that_a_person_has_frozen() {
    let mut stage = Case::calm(6, 40).stage();
    let (handle, clock, platform) = (stage.handle.clone(), stage.sim.clock(), Arc::clone(&stage.platform));
    let driven = stage.drive(async move {
        while !platform.effects().iter().any(|effect| effect.act == Act::Close) {
            clock.sleep_until(clock.now() + 500).await;
        }
        handle.freeze(person(), "let me look").unwrap();
        clock.sleep_until(clock.now() + 10 * MINUTE_MS).await;
        let said = handle.abort(bot(), "another change needs its scope");
        assert!(matches!(said, Err(CommandError::NeedsPerson { .. })), "{said:?}");
        clock.sleep_until(clock.now() + 10 * MINUTE_MS).await;
    });
    assert!(driven.unwrap().is_none());
    // Once it is lifted, attempts come to their ends, and a program may give up what nobody has stopped.
    stage.handle.resume(person(), "go on").unwrap();
    until(&mut stage, 30 * MINUTE_MS);
    stage.handle.abort(bot(), "another change needs its scope").unwrap();
    assert_eq!(until(&mut stage, HOUR_MS), Some(Outcome::Aborted));
}

/// The change is given up and waits for its attempts; somebody freezes it for a moment.
#[test]
fn a_freeze_amid_an_abort_leaves_nobody_closed_once_it_is_lifted() {
    let mut stage = Case::calm(6, 40).stage();
    let (handle, clock, platform) = (stage.handle.clone(), stage.sim.clock(), Arc::clone(&stage.platform));
    let driven = stage.drive(async move {
        while !platform.effects().iter().any(|effect| effect.act == Act::Close) {
            clock.sleep_until(clock.now() + 500).await;
        }
        handle.abort(person(), "not today").unwrap();
        handle.freeze(bot(), "something burns").unwrap();
        clock.sleep_until(clock.now() + MINUTE_MS).await;
        handle.resume(bot(), "it was nothing").unwrap();
        clock.sleep_until(clock.now() + 30 * MINUTE_MS).await;
    });
    assert_eq!(driven.unwrap().map(Result::unwrap), Some(Outcome::Aborted));
    let effects = stage.platform.effects();
    let count = |act: Act| effects.iter().filter(|effect| effect.act == act).count();
    assert!(count(Act::Close) > 0);
    assert_eq!(count(Act::Close), count(Act::Open));
    assert_eq!(stage.handle.summary().unwrap().debts, []);
}

/// A yes to leave so many is none to leave those who have come since.
#[test]
fn a_yes_to_leave_a_few_is_none_to_leave_many() {
    let small = Case::calm(4, 20);
    let mut big = small.clone();
    for n in 0..200 {
        let mut one = big.targets[0].clone();
        one.id = format!("app-0-x{n}");
        big.targets.push(one);
    }
    let mut stage = small.stage_in(big.simulated(), Arc::new(MemoryJournal::new()));
    for app in ["app-0", "app-1", "app-2"] {
        stage.handle.skip(person(), app, "not yet").unwrap();
    }
    let mut at = 0;
    let asked = loop {
        at += 10 * MINUTE_MS;
        assert!(until(&mut stage, at).is_none());
        let mut open = stage.handle.questions().into_iter();
        if let Some(open) = open.find(|open| open.kind == QuestionKind::LeaveDebt) {
            break open;
        }
    };
    assert!(asked.text.starts_with("60 targets of 80"), "{}", asked.text);
    let label = |(key, value): &(String, String)| (key.as_str().into(), value.as_str().into());
    let born = big.targets[80..].iter().map(|target| FleetChange::Joined {
        target: target.id.as_str().into(),
        app: target.app.as_str().into(),
        labels: target.labels.iter().map(label).collect(),
        version: OLD.into(),
    });
    stage.platform.tell_first(born);
    until(&mut stage, at + 30 * MINUTE_MS);
    let then = stage.handle.question().unwrap();
    assert!(
        then.id > asked.id && then.text.starts_with("260 targets of 280"),
        "{}",
        then.text
    );
    assert!(
        stage
            .handle
            .answering(asked.id)
            .approve(person(), "sixty it is")
            .is_err()
    );
    assert_eq!(until(&mut stage, at + 2 * HOUR_MS), None);
}

/// A program wants all of it back; then one class alone is at fault. Whoever is asked is asked about that class.
#[test]
fn a_class_alone_is_asked_about_though_a_program_wants_all_back() {
    let case = crate::aside::case("late=60m:errors=x20@stack=stack-1").level(Level::L3);
    let mut alone = case.stage();
    until(&mut alone, 30 * HOUR_MS);
    let asked = alone.handle.question().unwrap();
    assert_eq!(asked.kind, QuestionKind::SetClassAside, "{}", asked.text);

    let at_ms = decided(&alone, "stop.evidence")[0].at_ms;
    let mut stage = case.stage();
    until(&mut stage, at_ms - 10 * MINUTE_MS);
    stage.handle.roll_back(bot(), "a graph looks odd").unwrap();
    until(&mut stage, at_ms - 5 * MINUTE_MS);
    let wanted = stage.handle.question().unwrap();
    assert_eq!(wanted.kind, QuestionKind::RollBack, "{}", wanted.text);
    until(&mut stage, at_ms + 6 * HOUR_MS);
    let asked = stage.handle.question().unwrap();
    assert_eq!(asked.kind, QuestionKind::SetClassAside, "{}", asked.text);
    assert!(
        asked.text.contains("stack-1") && asked.text.contains("evidence"),
        "{}",
        asked.text
    );
}

/// A yes is for all rules that hold, so the question names all, each with whose it is.
#[test]
fn a_question_names_each_rule_that_a_yes_lifts() {
    let mut case = Case::calm(6, 10);
    case.rules = "version: 1\npack: house\nowner: ops\nscope: all\nrules:\n".to_owned();
    for number in 0..6 {
        case.rules += &format!(
            "  - {{id: r{number}, kind: person, select: {{app: app-{number}}}, owner: team-{number}, reason: ours}}\n"
        );
    }
    let mut stage = case.stage();
    until(&mut stage, 30 * MINUTE_MS);
    let asked = stage.handle.question().unwrap();
    assert_eq!(asked.kind, QuestionKind::RuleWantsPerson, "{}", asked.text);
    for number in 0..6 {
        let named = format!("house/r{number} of team-{number}");
        assert!(asked.text.contains(&named), "{named}: {}", asked.text);
    }
}
