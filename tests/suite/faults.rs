//! Faults that exploring has found, each alone.
#![expect(clippy::unwrap_used, reason = "a failure of a helper is a failed test")]

use unattended::upgrade::{AttemptId, Clock, EffectKey, Generation, Platform, TargetId};
use unattended::{Level, Outcome};
use unattended_simulated::InitialState;

use crate::rehearsal::with_yes_to_everything;
use crate::support::{Act, Case, HOUR_MS, MINUTE_MS, NEW, app_of, person};

/// An application with two of eight that crash for ever, which is all that may be out: its rest is owed, and its lane at its end.
fn blocked(seed: u64) -> Case {
    let mut case = Case::calm(4, 24);
    case.targets
        .retain(|target| target.app != "app-1" || target.id.rsplit_once('-').unwrap().1.parse::<u32>().unwrap() < 8);
    for target in case
        .targets
        .iter_mut()
        .filter(|target| ["app-1-0", "app-1-1"].contains(&&*target.id))
    {
        target.state = InitialState::SidecarCrashing;
    }
    case.seed = seed;
    case.world.deaths_per_target_day = 0.5;
    case.settings.soak_ms = 24 * HOUR_MS;
    case.settings.person_patience_ms = 20 * 24 * HOUR_MS;
    case
}

/// Who of an application begins after this time of the run.
fn begun_late(case: &Case, from_ms: u64) -> Vec<(u64, String)> {
    let mut stage = case.stage();
    let clock = stage.sim.clock();
    let _ = stage.drive(clock.sleep_until(6 * 24 * HOUR_MS));
    let effects = stage.platform.effects().into_iter();
    let late = effects.filter(|effect| {
        effect.act == Act::Replace && effect.version.as_deref() == Some(NEW) && app_of(&effect.target) == "app-1"
    });
    late.filter(|effect| effect.at_ms > from_ms)
        .map(|effect| (effect.at_ms / MINUTE_MS, effect.target))
        .collect()
}

/// Who is born into an application that has come to its end before its batches did begins as everybody does: not while it is frozen.
#[test]
fn a_newborn_of_an_application_that_was_blocked_does_not_begin_in_a_freeze() {
    let mut found = Vec::new();
    for seed in 0..30 {
        let mut case = blocked(seed);
        case.rules = "version: 1\npack: day\nowner: ops\nscope: all\nfreezes:\n  - {id: fair, select: {app: app-1}, from: 2026-11-23T15:00, until: 2026-12-20T00:00, zone: UTC, owner: fair, reason: fair}\n".to_owned();
        found.extend(
            begun_late(&case, 7 * HOUR_MS + 10 * MINUTE_MS)
                .into_iter()
                .map(|late| (seed, late)),
        );
    }
    assert_eq!(found, []);
}

/// A fleet of which nobody is left to be changed is over, or asks: it does not end as one that waits for sight, each time anew.
#[test]
fn a_change_of_which_nobody_is_left_comes_to_its_end() {
    // The only target is left out by somebody's word.
    let mut case = Case::calm(1, 1);
    case.settings.rehearse_way_back = false;
    let stage = case.stage();
    stage.handle.pin(person(), "app-0-0", "leave it").unwrap();
    let (ended, _) = with_yes_to_everything(stage);
    assert_eq!(
        ended.outcome,
        Outcome::CompletedWithDebt,
        "pinned: {:?}",
        ended.summary.next
    );
}

#[test]
fn a_change_of_which_everybody_was_ill_comes_to_its_end() {
    let mut case = Case::calm(1, 1).level(Level::L4);
    case.targets[0].state = InitialState::SidecarCrashing;
    let stage = case.stage();
    let (ended, _) = with_yes_to_everything(stage);
    assert_eq!(
        ended.outcome,
        Outcome::CompletedWithDebt,
        "ill: {:?} {:?}",
        ended.summary.next,
        ended.codes()
    );
}

/// What hands have done at L0 is so, also where they say it a moment after the change was to go back.
#[test]
fn what_hands_have_done_is_taken_back_though_it_was_said_after_the_word_to_go_back() {
    let stage = Case::calm(4, 10).level(Level::L0).stage();
    let (handle, clock, sim) = (
        stage.handle.clone(),
        stage.sim.clock(),
        std::sync::Arc::clone(&stage.sim),
    );
    let ended = stage.run_beside(async move {
        let mut number = 1_000_000;
        let mut by_hand = async |offer: &unattended::Offer| {
            number += 1;
            let key = EffectKey {
                attempt: AttemptId(number),
                generation: Generation(1),
                step: 0,
                ordinal: 0,
            };
            sim.replace(&TargetId::from(offer.target.as_str()), &offer.version, &key)
                .await;
        };
        clock.sleep_until(clock.now() + 2 * MINUTE_MS).await;
        let offers = handle.offers();
        by_hand(&offers[0]).await;
        handle.step(person(), offers[0].target.clone(), "done").unwrap();
        clock.sleep_until(clock.now() + 2 * MINUTE_MS).await;
        by_hand(&offers[1]).await;
        handle.roll_back(person(), "it is slow").unwrap();
        clock.sleep_until(clock.now() + 1_000).await;
        let _ = handle.step(person(), offers[1].target.clone(), "done");
        loop {
            clock.sleep_until(clock.now() + MINUTE_MS).await;
            for offer in handle.offers() {
                by_hand(&offer).await;
                let _ = handle.step(person(), offer.target, "back");
            }
        }
    });
    assert_eq!(
        ended.sim.census().on_new_verified,
        0,
        "{:?} {:?}: {:?}",
        ended.outcome,
        ended.summary.debts,
        ended.summary.decisions.iter().map(|one| &one.text).collect::<Vec<_>>()
    );
}

/// One odd host of two thousand, wherever it stands in the plan, takes nobody back: where it is the first of some class, another one of that
/// class comes up.
#[test]
fn one_odd_host_among_the_first_takes_nobody_back() {
    let case = Case::calm(20, 100);
    let plan = case.plan();
    let first = plan.targets(0).iter().chain(plan.targets(1).iter().take(2));
    for &target in first {
        let mut case = case.clone();
        let odd = ("host".to_owned(), "odd".to_owned());
        case.targets[target.0 as usize].labels.push(odd);
        let name = case.targets[target.0 as usize].id.clone();
        let ended = case.release("crash@host=odd").run();
        assert_eq!(ended.outcome, Outcome::CompletedWithDebt, "{name}");
        assert_eq!(ended.summary.debts.len(), 1, "{name}");
    }
}
