//! What is known of the way back before a change begins, and what follows where there is none.
#![expect(clippy::unwrap_used, reason = "a failure of a helper is a failed test")]

use std::sync::Arc;

use crate::support::{Act, Case, HOUR_MS, MINUTE_MS, NEW, OLD, Stage, dump, person};
use unattended::upgrade::{Clock, MemoryJournal, PlatformError, WayBack};
use unattended::{OnStop, Outcome, RunError, StartError, replay};

const WHY: &str = "mesh-1 does not read format 2";

/// The decisions about the way back: code and text.
fn said(stage: &Stage) -> Vec<(String, String)> {
    let decisions = stage.handle.summary().unwrap().decisions.into_iter();
    let about = decisions.filter(|one| one.code.starts_with("way_back."));
    about.map(|one| (one.code, one.text)).collect()
}

/// Runs for a minute with a platform that says so; what was said of it, and whether anything was replaced.
fn begun(case: &Case, answer: Result<WayBack, PlatformError>) -> (Vec<(String, String)>, Stage) {
    let mut stage = case.stage();
    stage.platform.says_of_the_way_back(answer);
    let clock = stage.sim.clock();
    assert!(
        stage
            .drive(async { clock.sleep_until(MINUTE_MS).await })
            .unwrap()
            .is_none()
    );
    (said(&stage), stage)
}

#[test]
fn what_is_known_of_the_way_back_is_said_before_anything_starts() {
    let cases = [
        (
            Ok(WayBack::Open),
            "way_back.open",
            "can be started again, and reads what mesh-2 leaves behind",
        ),
        (
            Ok(WayBack::Startable),
            "way_back.startable",
            "whether it reads what mesh-2 leaves behind nobody says",
        ),
        (
            Err(PlatformError::Unsupported("way back")),
            "way_back.unknown",
            "whether mesh-1 can be started again is not known: the platform has no capability `way back`; a stop goes back all the \
             same, and the first target goes there and back before anybody else",
        ),
        (
            Err(PlatformError::Unavailable("it sleeps".to_owned())),
            "way_back.unknown",
            "it sleeps",
        ),
    ];
    for (answer, code, words) in cases {
        let (said, stage) = begun(&Case::calm(2, 6), answer);
        assert!(
            matches!(&said[..], [(found, text)] if found == code && text.contains(words)),
            "{said:?}"
        );
        let summary = stage.handle.summary().unwrap();
        assert_eq!(summary.decisions[0].code, code, "nothing was decided before");
        // It is an input: whoever plays the journal again needs no platform.
        let played = futures::executor::block_on(replay(&*stage.journal, None)).unwrap();
        assert_eq!(played.first_difference, None);
        assert!(played.summary.decisions.iter().any(|one| one.code == code));
    }
    let mut rehearsed = Case::calm(2, 6);
    rehearsed.settings.rehearse_way_back = true;
    let (said, _) = begun(&rehearsed, Ok(WayBack::Startable));
    assert!(
        said[0]
            .1
            .contains("the first target goes there and back before anybody else"),
        "{said:?}"
    );
}

#[test]
fn a_change_whose_old_version_cannot_be_started_does_not_begin() {
    let mut stage = Case::calm(2, 6).stage();
    stage
        .platform
        .says_of_the_way_back(Ok(WayBack::Closed("the image of mesh-1 is gone".to_owned())));
    let ended = stage.drive(std::future::pending()).unwrap();
    let Some(Err(RunError::NoWayBack { from, why })) = ended else {
        panic!("{ended:?}");
    };
    assert_eq!((&*from, &*why), (OLD, "the image of mesh-1 is gone"));
    assert_eq!(stage.platform.effects(), []);
    assert!(dump(&*stage.journal).is_empty(), "nothing has begun");

    // Once it is there again, the same change begins.
    stage = Case::calm(2, 6).stage_over(stage.journal);
    assert_eq!(stage.run().outcome, Outcome::Completed);
}

#[test]
fn it_is_asked_before_the_change_begins_and_never_again() {
    let case = Case::calm(2, 6);
    let journal = Arc::new(MemoryJournal::new());
    let sim = case.simulated();
    let mut first = case.stage_in(Arc::clone(&sim), journal.clone());
    let clock = sim.clock();
    assert!(
        first
            .drive(async { clock.sleep_until(9 * MINUTE_MS).await })
            .unwrap()
            .is_none()
    );
    assert!(first.platform.effects().iter().any(|effect| effect.act == Act::Replace));
    drop(first);
    // A change under way is not left half-way because its way back has closed meanwhile.
    let second = case.stage_in(sim, journal);
    second
        .platform
        .says_of_the_way_back(Ok(WayBack::Closed("gone".to_owned())));
    let ended = second.run();
    assert_eq!(ended.outcome, Outcome::Completed);
    let codes: Vec<&str> = ended
        .codes()
        .into_iter()
        .filter(|code| code.starts_with("way_back."))
        .collect();
    assert_eq!(codes, ["way_back.startable"]);
}

fn one_way(on_stop: OnStop) -> Case {
    let mut case = Case::calm(4, 12).release("errors=x10");
    case.one_way = Some(WHY);
    case.settings.on_stop = on_stop;
    case
}

#[test]
fn a_change_that_cannot_be_taken_back_must_say_what_a_stop_does() {
    let refused = one_way(OnStop::RollBack).try_start().unwrap_err();
    assert!(matches!(&refused, StartError::OneWay(why) if why == WHY), "{refused}");
    assert!(
        refused.to_string().contains("`freeze_in_place` or `cut_traffic`"),
        "{refused}"
    );
    let mut rehearsed = one_way(OnStop::FreezeInPlace);
    rehearsed.settings.rehearse_way_back = true;
    let refused = rehearsed.try_start().unwrap_err();
    assert!(
        matches!(&refused, StartError::Settings(text) if text.contains("rehearse_way_back")),
        "{refused}"
    );
    one_way(OnStop::FreezeInPlace).try_start().unwrap();
}

#[test]
fn a_bad_release_that_cannot_be_taken_back_stays_where_it_is_and_a_person_is_asked() {
    let case = one_way(OnStop::FreezeInPlace);
    // A platform that knows of no way back changes nothing: it has been said.
    let mut stage = case.stage();
    stage
        .platform
        .says_of_the_way_back(Ok(WayBack::Closed("gone".to_owned())));
    let clock = stage.sim.clock();
    assert!(
        stage
            .drive(async { clock.sleep_until(3 * HOUR_MS).await })
            .unwrap()
            .is_none()
    );
    let decided = said(&stage);
    assert!(
        matches!(&decided[..], [(code, text)] if code == "way_back.none" && text.contains(WHY) && text.contains("leaves it as it stands")),
        "{decided:?}"
    );
    let summary = stage.handle.summary().unwrap();
    assert!(summary.exposed_at_stop.is_some());
    let question = summary.ask.unwrap().question;
    assert!(
        question.contains("There is no way back: mesh-1 does not read format 2. Roll back all the same?"),
        "{question}"
    );
    let back = stage
        .platform
        .effects()
        .into_iter()
        .filter(|effect| effect.version.as_deref() == Some(OLD))
        .count();
    assert_eq!(back, 0, "something was brought back from {NEW}");

    // Somebody who knows better may say so.
    stage
        .handle
        .approve(person(), "format 2 has not been written yet")
        .unwrap();
    let ended = stage.run();
    assert_eq!(ended.outcome, Outcome::RolledBack);
    ended.all_on_old();
}

/// Law and plan want it proved: where nobody says so, one target does.
#[test]
fn a_way_back_that_is_not_known_is_tried_on_one_target() {
    let stage = Case::calm(2, 6).stage();
    let silent = PlatformError::Unsupported("way back");
    stage.platform.says_of_the_way_back(Err(silent));
    let ended = stage.run();
    assert_eq!(ended.outcome, Outcome::Completed);
    let replaced = ended.effects.iter().filter(|effect| effect.act == Act::Replace);
    let first: Vec<(&str, Option<&str>)> = replaced
        .map(|effect| (effect.target.as_str(), effect.version.as_deref()))
        .take(3)
        .collect();
    let who = first[0].0;
    assert_eq!(first, [(who, Some(NEW)), (who, Some(OLD)), (who, Some(NEW))]);
    assert!(ended.codes().contains(&"rehearsal.passed"));
}
