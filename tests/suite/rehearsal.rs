//! The way back, tried on the first target.
#![expect(clippy::unwrap_used, reason = "a failure of a helper is a failed test")]

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;
use unattended::upgrade::Clock;
use unattended::{Level, Outcome};

use crate::support::{Act, Case, Effect, Ended, MINUTE_MS, NEW, OLD, person};

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
