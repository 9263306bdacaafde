//! The figures of DORA, beside what a person counts by hand.

use unattended::train::{ChangeEnd, ChangeKey, Input, Measures, Site, Train};
use unattended::{Level, Outcome};

use super::{HOUR_MS, START_MS, at, built, ci, ended, facts, line, train};

fn fire(open: bool, id: &str, hours: i64) -> Input {
    let (line, id, at_unix_ms) = (line(), id.to_owned(), START_MS + hours * HOUR_MS);
    if open {
        Input::Incident { line, id, at_unix_ms }
    } else {
        Input::Restored { line, id, at_unix_ms }
    }
}

/// A nightly of a commit each day; how the change of production ends, twelve hours after it began at the slot.
fn days(outcomes: &[(Outcome, u64)]) -> Train {
    let mut train = train(Level::L5);
    for (day, (outcome, hands)) in (0..).zip(outcomes) {
        let number = u64::try_from(day).unwrap() + 1;
        let version = format!("mesh-2.{number}.0");
        let begin = 24 * day;
        train.apply(&ci(number, true)).unwrap();
        train.apply(&at(begin + 12)).unwrap();
        train.apply(&built(&version, "d", number, None)).unwrap();
        train
            .apply(&ended(&train, Site::Canary, &version, 0, Outcome::Completed))
            .unwrap();
        train.apply(&at(begin + 18)).unwrap();
        train.apply(&facts(&train, &version, Some(0.5))).unwrap();
        // The slot of 07:30.
        train.apply(&at(begin + 24)).unwrap();
        train.apply(&at(begin + 35)).unwrap();
        let end = ChangeEnd {
            outcome: *outcome,
            at_unix_ms: train.now_unix_ms(),
            exposed: 10,
            human_actions: *hands,
            why: "seen".to_owned(),
        };
        let change = ChangeKey::new(&line(), Site::Production, &version, 0);
        train.apply(&Input::Ended { change, end }).unwrap();
    }
    train.apply(&at(24 * 14)).unwrap();
    train
}

fn figures(train: &Train) -> Measures {
    train.summary().measures
}

#[test]
fn the_four_figures_are_those_that_are_counted_by_hand() {
    // Changes end at 35, 59, 83 and 107 hours; the second rolls back, the third needs a person twice.
    let done = (Outcome::Completed, 0);
    let mut train = days(&[done, (Outcome::RolledBack, 0), (Outcome::Completed, 2), done]);
    let measures = figures(&train);
    // Commit 1 arrived with the first, 2 and 3 with the third, 4 with the last; all were made at 0.
    assert_eq!(measures.lead_time_hours_median, Some(83.0));
    assert_eq!(measures.releases, 3);
    // Three in two weeks.
    assert_eq!(measures.deployment_frequency_per_week, Some(1.5));
    assert_eq!(measures.change_failure_rate, Some(0.25));
    assert_eq!(measures.unattended_share, Some(0.75));
    assert_eq!(measures.time_to_restore_hours_median, None);
    // Something burns from 40 to 45, after the first change: told late, and its end before its beginning. Again from 110 to 111.
    for input in [
        fire(false, "a", 45),
        fire(true, "a", 40),
        fire(true, "a", 40),
        fire(true, "b", 110),
        fire(false, "b", 111),
        fire(true, "c", 20),
        fire(false, "c", 23),
    ] {
        train.apply(&input).unwrap();
    }
    let measures = figures(&train);
    // The first and the last are to blame, beside the second; for what burnt before the first change nobody is.
    assert_eq!(measures.change_failure_rate, Some(0.75));
    // Five hours, one, and three.
    assert_eq!(measures.time_to_restore_hours_median, Some(3.0));
    assert!(train.summary().lines[0].incidents.is_empty());
}

#[test]
fn an_incident_is_blamed_on_what_was_newest_when_it_began() {
    let done = (Outcome::Completed, 0);
    let rate = |hours: i64| {
        let mut train = days(&[done, (Outcome::RolledBack, 0), done]);
        train.apply(&fire(true, "a", hours)).unwrap();
        // In thirds.
        (figures(&train).change_failure_rate.unwrap() * 3.0).to_string()
    };
    // While the second was on its way, which failed anyhow.
    assert_eq!(rate(50), "1");
    // After it was rolled back, the first is what production runs.
    assert_eq!(rate(65), "2");
    // While the third is on its way, and after.
    assert_eq!(rate(75), "2");
    assert_eq!(rate(200), "2");
    assert_eq!(rate(1), "1");
}
