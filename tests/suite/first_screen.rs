//! What the first screen says while somebody has stopped the change, or is asked: since when, until when, and no end that moves with the
//! clock.
#![expect(clippy::unwrap_used, reason = "a failure of a helper is a failed test")]

use crate::support::{Case, HOUR_MS, MINUTE_MS, Stage, person};
use unattended::batching::{Ramp, pct};
use unattended::report::text;
use unattended::upgrade::Clock;
use unattended::{Actor, Level, Outcome, Summary};

#[track_caller]
fn at(stage: &mut Stage, until_ms: u64) -> (Summary, String) {
    let clock = stage.sim.clock();
    assert!(
        stage.drive(clock.sleep_until(until_ms)).unwrap().is_none(),
        "it has ended"
    );
    let summary = stage.handle.summary().unwrap();
    let shown = text(&summary, 110);
    (summary, shown.split_whitespace().collect::<Vec<_>>().join(" "))
}

fn said_by() -> String {
    person().to_string()
}

#[test]
fn who_is_asked_for_the_first_batch_sees_no_end_that_moves_with_the_clock() {
    let mut stage = Case::calm(6, 20).level(Level::L2).stage();
    let (summary, shown) = at(&mut stage, HOUR_MS);
    assert_eq!(summary.state, "waiting");
    assert_eq!((summary.next.eta_ms, summary.next.at_ms), (None, None));
    assert_eq!(summary.next.what, "it goes on when somebody has answered what is asked");
    assert_eq!(summary.next.blocked_by.as_deref(), Some("people, who are asked"));
    assert!(shown.contains("all done not known"), "{shown}");
    assert_eq!(summary.freeze_ends_ms, None);
    assert_eq!(stage.handle.outlook(None).unwrap().eta_unix_ms, None);
}

#[test]
fn a_pause_and_a_freeze_are_told_from_when_they_were_said_until_the_run_ends_by_them() {
    let mut case = Case::calm(6, 20);
    case.settings.person_patience_ms = 10 * HOUR_MS;
    let mut stage = case.stage();
    let (running, _) = at(&mut stage, HOUR_MS + 10 * MINUTE_MS);
    assert!(running.next.eta_ms.is_some(), "it goes on by itself");
    stage.handle.pause(person(), "wait").unwrap();
    let (paused, shown) = at(&mut stage, 2 * HOUR_MS);
    let since = paused.state_since_ms;
    assert!((70 * MINUTE_MS..72 * MINUTE_MS).contains(&since), "{since}");
    assert_eq!(
        (paused.state.as_str(), paused.freeze_ends_ms),
        ("paused", Some(since + 10 * HOUR_MS))
    );
    assert_eq!(paused.next.eta_ms, None);
    assert_eq!(paused.next.blocked_by, Some(format!("{}, who paused it", said_by())));
    assert!(
        paused.next.what.starts_with("nothing goes forward"),
        "{}",
        paused.next.what
    );
    assert!(shown.contains("Paused since 09:10 UTC, for 50 min"), "{shown}");
    assert!(
        shown.contains("the run ends as frozen at 19:10 UTC, in 9 h 10 min"),
        "{shown}"
    );
    let seen = stage.handle.outlook(None).unwrap();
    assert_eq!(seen.eta_unix_ms, None);
    assert_eq!(
        seen.waits_for,
        Some(format!("somebody's word to go on after {}, who paused it", said_by()))
    );

    stage.handle.freeze(Actor::program("alarm", "disk"), "wait").unwrap();
    let (frozen, shown) = at(&mut stage, 3 * HOUR_MS);
    assert_eq!(frozen.next.what, "nothing moves until somebody says to go on");
    assert_eq!(frozen.next.blocked_by.as_deref(), Some("alarm (disk), who froze it"));
    assert!(shown.contains("Frozen since 10:00 UTC, for 1 h"), "{shown}");
    assert!(shown.contains("the run ends as frozen at 20:00 UTC, in 9 h"), "{shown}");

    stage.handle.resume(person(), "go on").unwrap();
    let (resumed, _) = at(&mut stage, 3 * HOUR_MS + 5 * MINUTE_MS);
    assert_eq!((resumed.freeze_ends_ms, resumed.next.eta_ms.is_some()), (None, true));

    stage.handle.freeze(person(), "wait").unwrap();
    let ended = stage.run();
    assert_eq!(ended.outcome, Outcome::Frozen);
    let (since, ends) = (ended.summary.state_since_ms, ended.summary.elapsed_ms);
    assert!(
        since < 190 * MINUTE_MS && ends >= since + 10 * HOUR_MS,
        "{since} {ends}"
    );
    assert_eq!(ended.summary.freeze_ends_ms, None, "it has ended");
}

#[test]
fn who_ended_it_is_in_the_summary() {
    for actor in [person(), Actor::program("queue", "fix")] {
        let mut stage = Case::calm(6, 20).stage();
        at(&mut stage, HOUR_MS);
        stage.handle.abort(actor.clone(), "an emergency").unwrap();
        let ended = stage.run();
        assert_eq!(ended.outcome, Outcome::Aborted);
        let shown = text(&ended.summary, 110);
        assert!(shown.contains(&format!("{actor} ended it where it stood")), "{shown}");
        assert_eq!(ended.summary.ended_by, Some(actor));
    }
}

#[test]
fn all_open_questions_are_in_the_summary_what_weighs_most_first() {
    let mut case = Case::calm(6, 20).level(Level::L2);
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
    let mut stage = case.stage();
    at(&mut stage, 10 * MINUTE_MS);
    stage.handle.approve(person(), "begin").unwrap();
    let (summary, shown) = at(&mut stage, HOUR_MS);
    let open: Vec<u64> = stage.handle.questions().iter().map(|question| question.id).collect();
    assert_eq!(open.len(), 2);
    assert_eq!(summary.asks.iter().map(|ask| ask.id).collect::<Vec<_>>(), open);
    assert_eq!(summary.ask, summary.asks.first().cloned());
    assert!(shown.contains(&format!("(question {})", open[0])), "{shown}");
    assert!(
        shown.contains(&format!("also asked (question {}, by ", open[1])),
        "{shown}"
    );
    assert!(shown.contains("UTC): app-0"), "{shown}");
}

#[test]
fn lanes_are_told_over_time_as_they_went() {
    let mut case = Case::calm(6, 20);
    case.rules = "version: 1\npack: day\nowner: ops\nscope: {app: app-3}\nwindows:\n  \
         - {id: day, kind: protected, weekly: {days: daily, from: \"08:00\", for: 9h}, zone: UTC, reason: business}\n"
        .to_owned();
    let ended = case.run();
    assert_eq!(ended.outcome, Outcome::Completed);
    let summary = &ended.summary;
    let counts: Vec<_> = (summary.exposure_curve.iter())
        .map(|point| (point.at_ms, point.exposed, point.lanes_begun, point.lanes_through))
        .collect();
    assert_eq!(counts.first().map(|first| (first.2, first.3)), Some((0, 0)));
    assert_eq!(counts.last().map(|last| (last.2, last.3)), Some((6, 6)));
    for &(at_ms, exposed, begun, through) in &counts {
        assert!(through <= begun && begun <= exposed, "{at_ms}");
        // Of app-3 nobody began before five in the afternoon.
        assert!(
            at_ms >= 9 * HOUR_MS || begun <= 5 && through <= 5,
            "{at_ms}: {begun} had begun"
        );
    }
    assert!(counts.iter().any(|count| count.2 == 5), "the others went on");
    assert_eq!(summary.lanes.len(), 6);
    for lane in &summary.lanes {
        assert_eq!((lane.targets, lane.exposed), (20, 20), "{}", lane.lane);
        let course: Vec<_> = lane.course.iter().map(|point| (point.at_ms, point.exposed)).collect();
        assert!(
            course.is_sorted() && course.is_sorted_by_key(|point| point.1),
            "{course:?}"
        );
        assert_eq!(course.last().map(|last| last.1), Some(20));
        let held = lane.lane == "app-3";
        assert_eq!(course[0].0 >= 9 * HOUR_MS, held, "{}: {course:?}", lane.lane);
        assert!(lane.through_ms.is_some_and(|at| at >= course.last().unwrap().0));
    }
    // Whoever came through last stands first.
    assert_eq!(summary.lanes[0].lane, "app-3");
    assert!(
        summary
            .lanes
            .is_sorted_by_key(|lane| std::cmp::Reverse(lane.through_ms))
    );
}

#[test]
fn lanes_that_went_back_are_told_to_have_gone() {
    let ended = Case::calm(6, 20).release("errors=x20").run();
    assert_eq!(ended.outcome, Outcome::RolledBack);
    let last = ended.summary.exposure_curve.last().unwrap();
    assert_eq!((last.exposed, last.lanes_begun, last.lanes_through), (0, 0, 0));
    assert!(ended.summary.exposure_curve.iter().any(|point| point.lanes_begun > 0));
    for lane in &ended.summary.lanes {
        assert_eq!((lane.exposed, lane.through_ms), (0, None), "{}", lane.lane);
        let most = lane.course.iter().map(|point| point.exposed).max();
        assert!(most.is_none_or(|most| most > 0) && lane.course.last().is_none_or(|last| last.exposed == 0));
    }
    assert!(ended.summary.lanes.iter().any(|lane| !lane.course.is_empty()));
}
