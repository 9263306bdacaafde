//! The way back, tried on the first target.
#![expect(clippy::unwrap_used, reason = "a failure of a helper is a failed test")]

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;
use unattended::upgrade::{Clock, PlatformError};
use unattended::{Level, Outcome, QuestionKind};

use crate::domains::region_of;
use crate::support::{Act, Case, Effect, Ended, HOUR_MS, MINUTE_MS, NEW, OLD, Stage, person};

fn case(release: &'static str) -> Case {
    let mut case = Case::calm(4, 20).release(release);
    case.settings.rehearse_way_back = true;
    case
}

/// The replacements in their order: who, and by what.
fn replaced(ended: &Ended) -> Vec<(&str, &str)> {
    let all = ended.effects.iter().filter(|effect| effect.act == Act::Replace);
    all.map(|effect| (effect.target.as_str(), effect.version.as_deref().unwrap()))
        .collect()
}

fn touched(ended: &Ended) -> BTreeSet<&str> {
    let all = ended.effects.iter().filter(|effect| effect.disturbs());
    all.map(|effect| effect.target.as_str()).collect()
}

#[test]
fn the_first_target_goes_there_and_back_before_anybody_else() {
    let ended = case("good").run();
    assert_eq!(ended.outcome, Outcome::Completed);
    ended.all_on_new();
    let all = replaced(&ended);
    let first = all[0].0;
    assert_eq!(all[..3], [(first, NEW), (first, OLD), (first, NEW)]);
    assert!(
        all[3..]
            .iter()
            .all(|&(target, version)| target != first && version == NEW),
        "{all:?}"
    );
    assert_eq!(
        ended.codes().iter().filter(|&&code| code == "rehearsal.passed").count(),
        1
    );
    let played = futures::executor::block_on(unattended::replay(&*ended.journal, None)).unwrap();
    assert_eq!(
        (played.first_difference, played.outcome),
        (None, Some(Outcome::Completed))
    );
}

#[test]
fn a_version_that_cannot_be_left_stops_with_one_target() {
    let mut plain = case("one-way");
    plain.settings.rehearse_way_back = false;
    assert_eq!(plain.run().outcome, Outcome::Completed, "nobody notices without");
    let ended = case("one-way").run();
    assert_eq!(ended.outcome, Outcome::RolledBackPartially);
    assert_eq!(touched(&ended).len(), 1, "{:?}", touched(&ended));
    assert_eq!(ended.summary.exposed_at_stop, Some(1));
    assert!(ended.codes().contains(&"stop.no_way_back"), "{:?}", ended.codes());
    assert_eq!(ended.summary.debts.len(), 1);
}

#[test]
fn a_person_may_go_on_without_a_way_back() {
    let stage = case("one-way").level(Level::L3).stage();
    let (handle, clock) = (stage.handle.clone(), stage.sim.clock());
    let ended = stage.run_beside(async move {
        loop {
            clock.sleep_until(clock.now() + MINUTE_MS).await;
            if handle.notices().iter().any(|notice| notice.question.is_some()) {
                handle.resume(person(), "it is the last one anyway").unwrap();
                return;
            }
        }
    });
    assert_eq!(ended.outcome, Outcome::Completed);
    ended.all_on_new();
}

#[test]
fn a_rollback_ends_the_rehearsal_wherever_it_is() {
    // Before it comes up, on its way back, between, and on its way there again.
    let mut seen = BTreeSet::new();
    for minutes in [1, 4, 6, 8, 11, 14, 18, 22] {
        let stage = case("good").stage();
        let (handle, clock) = (stage.handle.clone(), stage.sim.clock());
        let ended = stage.run_beside(async move {
            clock.sleep_until(clock.now() + minutes * MINUTE_MS).await;
            handle.roll_back(person(), "never mind").unwrap();
        });
        assert_eq!(
            ended.outcome,
            Outcome::RolledBack,
            "after {minutes} min: {:?}",
            replaced(&ended)
        );
        ended.all_on_old();
        if touched(&ended).len() > 1 {
            // It was over already.
            continue;
        }
        // Nothing of it is begun after the word.
        let attempt = |effect: &Effect| effect.key.as_ref().map(|key| key.split('/').next().unwrap().to_owned());
        let (before, after): (Vec<_>, Vec<_>) =
            (ended.effects.iter()).partition(|effect| effect.at_ms < minutes * MINUTE_MS);
        let begun: BTreeSet<String> = before.iter().filter_map(|effect| attempt(effect)).collect();
        for effect in after.iter().filter(|effect| effect.version.as_deref() == Some(NEW)) {
            assert!(
                attempt(effect).is_some_and(|attempt| begun.contains(&attempt)),
                "after {minutes} min: {effect:?}"
            );
        }
        seen.insert(before.iter().filter(|effect| effect.act == Act::Replace).count());
    }
    assert!([1, 2, 3].iter().all(|steps| seen.contains(steps)), "{seen:?}");
}

#[test]
fn a_rollback_ends_a_rehearsal_that_rules_hold() {
    // What is left before the window is too short for another step: on the new version with the way back forbidden, and on the old
    // one where only the way there is.
    for (rollback, from, steps) in [("forbidden", "08:21", 1), ("allowed", "08:12", 2)] {
        let mut case = case("good");
        case.rules = format!(
            "version: 1\npack: day\nowner: ops\nscope: all\nwindows:\n  \
             - {{id: day, kind: protected, weekly: {{days: daily, from: \"{from}\", for: 2h}}, zone: UTC, rollback: {rollback}, reason: business}}\n"
        );
        let stage = case.stage();
        let (handle, clock, platform) = (stage.handle.clone(), stage.sim.clock(), Arc::clone(&stage.platform));
        let ended = stage.run_beside(async move {
            clock.sleep_until(clock.now() + 40 * MINUTE_MS).await;
            let all = platform.effects();
            let taken = all.iter().filter(|effect| effect.act == Act::Replace).count();
            assert_eq!(taken, steps, "{rollback}");
            handle.roll_back(person(), "never mind").unwrap();
        });
        assert_eq!(ended.outcome, Outcome::RolledBack, "{rollback}");
        ended.all_on_old();
        let versions: Vec<&str> = replaced(&ended).into_iter().map(|(_, version)| version).collect();
        assert_eq!(versions, [NEW, OLD], "{rollback}");
    }
}

#[test]
fn where_people_take_the_steps_they_are_not_taken_for_them() {
    let mut case = case("good").level(Level::L1);
    case.settings.person_patience_ms = MINUTE_MS;
    let stage = case.stage();
    let (handle, clock) = (stage.handle.clone(), stage.sim.clock());
    let ended = stage.run_beside(async move {
        clock.sleep_until(clock.now() + MINUTE_MS / 2).await;
        let offers = handle.offers();
        assert!(offers.len() > 1, "{offers:?}");
        handle.step(person(), offers[0].target.clone(), "this one").unwrap();
    });
    assert_eq!(ended.outcome, Outcome::Waiting);
    assert_eq!(replaced(&ended).len(), 1, "{:?}", replaced(&ended));
}

#[test]
fn a_kill_in_the_middle_of_it_is_taken_up_where_it_was() {
    for minutes in [1, 3, 5, 7, 9, 12, 15, 18] {
        let case = case("good");
        let mut stage = case.stage();
        let (sim, journal, clock) = (Arc::clone(&stage.sim), Arc::clone(&stage.journal), stage.sim.clock());
        let killed = stage
            .drive(async move { clock.sleep_until(minutes * MINUTE_MS).await })
            .unwrap();
        assert!(killed.is_none(), "{killed:?}");
        let before = stage.platform.effects();
        drop(stage);
        let mut ended = case.stage_in(sim, journal).run();
        assert_eq!(ended.outcome, Outcome::Completed, "after {minutes} min");
        ended.all_on_new();
        ended.effects.splice(..0, before);
        let first = replaced(&ended)[0].0;
        let its: Vec<&str> = (replaced(&ended).iter().filter(|(target, _)| *target == first))
            .map(|&(_, version)| version)
            .collect();
        let mut steps = its.clone();
        steps.dedup();
        assert_eq!(steps, [NEW, OLD, NEW], "after {minutes} min: {its:?}");
        assert_eq!(
            replaced(&ended)
                .iter()
                .take_while(|(target, _)| *target == first)
                .count(),
            its.len()
        );
    }
}

#[test]
fn who_is_pinned_amid_it_stays_as_it_is_and_another_one_tries() {
    let stage = case("good").stage();
    let first: Arc<Mutex<(String, u64)>> = Arc::default();
    let (noted, handle) = (Arc::clone(&first), stage.handle.clone());
    let (clock, platform) = (stage.sim.clock(), Arc::clone(&stage.platform));
    let ended = stage.run_beside(async move {
        let name = loop {
            clock.sleep_until(clock.now() + 1_000).await;
            let effects = platform.effects();
            let back = effects.iter().find(|effect| effect.version.as_deref() == Some(OLD));
            if let Some(back) = back {
                break back.target.clone();
            }
        };
        handle.pause(person(), "a look").unwrap();
        clock.sleep_until(clock.now() + 30 * MINUTE_MS).await;
        handle.pin(person(), name.clone(), "leave it").unwrap();
        clock.sleep_until(clock.now() + 2 * MINUTE_MS).await;
        *noted.lock() = (name, clock.now());
        handle.resume(person(), "go on").unwrap();
    });
    let (name, at_ms) = first.lock().clone();
    let later = ended
        .effects
        .iter()
        .filter(|effect| effect.target == name && effect.at_ms >= at_ms);
    assert_eq!(later.count(), 0);
    let codes = ended.codes();
    assert_eq!(ended.outcome, Outcome::CompletedWithDebt, "{:?}", codes);
    assert!(
        codes.contains(&"rehearsal.passed"),
        "another one has tried it: {codes:?}"
    );
}

/// Answers each question with yes. The end, and which questions there were.
pub(crate) fn with_yes_to_everything(stage: Stage) -> (Ended, BTreeSet<&'static str>) {
    let asked: Arc<Mutex<BTreeSet<&'static str>>> = Arc::default();
    let (seen, handle, clock) = (Arc::clone(&asked), stage.handle.clone(), stage.sim.clock());
    let ended = stage.run_beside(async move {
        loop {
            clock.sleep_until(clock.now() + MINUTE_MS).await;
            for question in handle.questions() {
                seen.lock().insert(question.kind.as_str());
                handle.answering(question.id).approve(person(), "yes").unwrap();
            }
        }
    });
    let asked = asked.lock().clone();
    (ended, asked)
}

/// A rule that wants a person before anything of a change begins.
fn wants_a_person(condition: &str) -> String {
    format!(
        "version: 1\npack: shop\nowner: platform\nscope: all\nrules:\n  \
         - {{id: hands, {condition}, owner: team-pay, reason: nobody knows them}}\n"
    )
}

#[test]
fn a_person_s_word_for_a_lane_is_for_all_the_steps_of_it() {
    let forward = "kind: condition, if: {fact: change.direction, is: forward}, then: needs_person";
    for rule in ["kind: person, step: batch", forward] {
        // It is tried where that was asked for, and where nobody can tell whether there is a way back.
        for asked_for in [true, false] {
            let mut case = case("good");
            case.settings.rehearse_way_back = asked_for;
            case.rules = wants_a_person(rule);
            let stage = case.stage();
            if !asked_for {
                stage
                    .platform
                    .says_of_the_way_back(Err(PlatformError::Unsupported("way_back")));
            }
            let (ended, asked) = with_yes_to_everything(stage);
            assert_eq!(ended.outcome, Outcome::Completed, "{rule}: {asked:?}");
            ended.all_on_new();
            assert!(ended.codes().contains(&"rehearsal.passed"), "{rule}");
            assert_eq!(
                asked,
                BTreeSet::from([QuestionKind::RuleWantsPerson.as_str()]),
                "{rule}"
            );
            assert!(ended.summary.elapsed_ms < 200 * HOUR_MS, "{rule}");
        }
    }
}

#[test]
fn a_rule_that_wants_a_person_for_the_way_back_alone_is_asked_about_and_told() {
    let back = "kind: condition, if: {fact: change.direction, is: rollback}, then: needs_person";
    let mut case = case("good");
    case.rules = wants_a_person(back);
    let (ended, asked) = with_yes_to_everything(case.stage());
    assert_eq!(ended.outcome, Outcome::Completed, "{asked:?}");
    assert_eq!(asked, BTreeSet::from([QuestionKind::RollBackNow.as_str()]));
    let told = ended.pager.all();
    let of_rule = told.iter().find(|notice| notice.code == "rehearsal.held").unwrap();
    assert_eq!(of_rule.owner, "team-pay");

    // Where nobody answers, the run ends as one that waits for somebody.
    let stage = case.stage();
    let ended = stage.run();
    assert_eq!(ended.outcome, Outcome::Waiting);
    assert_eq!(replaced(&ended).len(), 1, "{:?}", replaced(&ended));
    assert!(ended.summary.elapsed_ms < 100 * HOUR_MS, "{}", ended.summary.elapsed_ms);
}

/// While the way back is tried, looks are not answered for ten hours: at everybody, or in the region of who tries it.
fn dark_amid_it(domains: bool, all: bool) -> Ended {
    let mut case = crate::domains::case();
    case.settings.rehearse_way_back = true;
    if !domains {
        case.settings.domains.clear();
    }
    let stage = case.stage();
    let dark: Arc<Mutex<Option<(String, u64)>>> = Arc::default();
    let (switch, clock) = (Arc::clone(&dark), stage.sim.clock());
    stage.platform.silent_where(move |targets| match &*switch.lock() {
        Some((region, from_ms)) if clock.now() < from_ms + 10 * HOUR_MS => {
            all || targets.iter().any(|target| region_of(target.as_str()) == region)
        }
        _ => false,
    });
    stage.platform.before_each(move |effect| {
        if effect.act == Act::Replace && effect.version.as_deref() == Some(OLD) {
            let begin = || (region_of(&effect.target).to_owned(), effect.at_ms);
            dark.lock().get_or_insert_with(begin);
        }
    });
    stage.run()
}

#[test]
fn what_cannot_be_seen_is_no_proof_that_there_is_no_way_back() {
    for (domains, all) in [(false, false), (true, false), (false, true), (true, true)] {
        let ended = dark_amid_it(domains, all);
        let codes = ended.codes();
        let of = format!("domains {domains}, everything dark {all}: {codes:?}");
        assert!(!codes.contains(&"stop.no_way_back"), "{of}");
        if all {
            // It is the platform that shows nothing, and nobody else is touched meanwhile.
            assert_eq!(ended.outcome, Outcome::Waiting, "{of}");
            assert!(codes.contains(&"attempts.unseen"), "{of}");
            assert_eq!(touched(&ended).len(), 1, "{of}");
        } else {
            // Of a region that is dark for longer than the patience with what is blocked, and of none besides, some are owed.
            let done = [Outcome::Completed, Outcome::CompletedWithDebt];
            assert!(done.contains(&ended.outcome), "{:?}: {of}", ended.outcome);
            let owed: BTreeSet<&str> = (ended.summary.debts.iter().map(|debt| region_of(&debt.target))).collect();
            assert!(owed.len() < 2, "{owed:?}: {of}");
            assert!(codes.contains(&"rehearsal.passed"), "another one has tried it: {of}");
        }
    }
}

#[test]
fn who_is_never_seen_again_amid_it_is_owed_and_another_one_tries() {
    let stage = case("good").stage();
    let hung: Arc<Mutex<Option<String>>> = Arc::default();
    let switch = Arc::clone(&hung);
    stage.platform.silent_where(move |targets| {
        let hung = switch.lock();
        targets.iter().any(|target| hung.as_deref() == Some(target.as_str()))
    });
    let first = Arc::clone(&hung);
    stage.platform.before_each(move |effect| {
        if effect.act == Act::Replace && effect.version.as_deref() == Some(OLD) {
            first.lock().get_or_insert_with(|| effect.target.clone());
        }
    });
    let ended = stage.run();
    let codes = ended.codes();
    assert_eq!(ended.outcome, Outcome::CompletedWithDebt, "{codes:?}");
    assert!(codes.contains(&"rehearsal.passed"), "{codes:?}");
    let owed: Vec<&str> = ended.summary.debts.iter().map(|debt| debt.target.as_str()).collect();
    assert_eq!(Some(owed), hung.lock().as_deref().map(|hung| vec![hung]));
}

#[test]
fn nobody_else_is_sent_to_be_lost_where_one_after_the_other_is_lost_on_its_way_back() {
    let mut case = Case::calm(6, 20);
    case.settings.rehearse_way_back = true;
    let mut stage = case.stage();
    let lost = Arc::new(Mutex::new(BTreeSet::new()));
    let (sent, hung) = (Arc::clone(&lost), Arc::clone(&lost));
    stage.platform.before_each(move |effect| {
        if effect.version.as_deref() == Some(OLD) {
            sent.lock().insert(effect.target.clone());
        }
    });
    stage.platform.silent_where(move |targets| {
        let hung = hung.lock();
        targets.iter().any(|target| hung.contains(target.as_str()))
    });
    let clock = stage.sim.clock();
    let _ = stage.drive(clock.sleep_until(10 * 24 * HOUR_MS));
    let summary = stage.handle.summary().unwrap();
    let codes: Vec<&str> = summary
        .decisions
        .iter()
        .map(|decision| decision.code.as_str())
        .collect();
    assert!(codes.contains(&"stop.no_way_back"), "{codes:?}");
    assert!(
        lost.lock().len() <= usize::from(case.settings.tries),
        "{:?}",
        lost.lock()
    );
}

/// The way back was tried and works; that the next attempt failed is no part of it.
#[test]
fn a_rehearsal_says_what_it_saw() {
    let mut case = Case::calm(3, 20);
    case.settings.rehearse_way_back = true;
    let mut stage = case.stage();
    let back: Arc<Mutex<Option<String>>> = Arc::default();
    let (seen, of) = (Arc::clone(&back), Arc::clone(&back));
    stage.platform.before_each(move |effect| {
        if effect.disturbs() && effect.version.as_deref() == Some(OLD) {
            *seen.lock() = Some(effect.target.clone());
        }
    });
    stage
        .platform
        .never_ready_where(move |target| of.lock().as_deref() == Some(target.as_str()));
    let clock = stage.sim.clock();
    drop(stage.drive(clock.sleep_until(24 * HOUR_MS)));
    let summary = stage.handle.summary().unwrap();
    let passed = summary
        .decisions
        .iter()
        .find(|decision| decision.code == "rehearsal.passed");
    let name = back.lock().clone().unwrap();
    let text = format!("the way back works: {name} went there and back; its next attempt failed");
    assert_eq!(passed.map(|decision| decision.text.as_str()), Some(text.as_str()));
}
