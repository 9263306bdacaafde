//! What a shadow makes of the way back of others, of their waiting, and of records that are not in order.
#![expect(clippy::unwrap_used, reason = "a failure of a helper is a failed test")]

use unattended::defense::Guard;
use unattended::{Ending, ShadowReport, Topic};

use crate::shadow::{MINUTE_MS, Record, order, read, with};

/// As many started after a minute, and what is ordered later: minute, target, and whether to the new version.
fn report(started: u64, orders: &[(u64, u64, bool)], how: &str) -> ShadowReport {
    let record = Record {
        starts: vec![(1, started)],
        factor: 1,
        fails: 0..u64::MAX,
        back: None,
        minutes: 180,
    };
    let mut lines = record
        .lines()
        .replace("\"how\":\"completed\"", &format!("\"how\":\"{how}\""));
    for &(minute, target, new) in orders {
        lines = with(&lines, minute, &order(minute, target, new));
    }
    read(&lines, Guard::empty()).unwrap()
}

fn began(report: &ShadowReport) -> Option<(u64, u64)> {
    report.back.as_ref().map(|back| (back.at_ms / MINUTE_MS, back.exposed))
}

#[test]
fn who_falls_back_to_the_new_version_during_a_way_back_is_no_start() {
    // One is tried again long before; then fifteen of twenty go back, one of them comes up on the new version again, and goes with the rest.
    let mut orders = vec![(60, 0, false), (61, 0, true)];
    orders.extend((0..15).map(|target| (120, target, false)));
    orders.extend([(122, 3, true), (123, 3, false)]);
    orders.extend((15..20).map(|target| (125, target, false)));
    let report = report(20, &orders, "rolled_back");
    assert_eq!(began(&report), Some((120, 20)));
    assert_eq!((report.starts, report.ended), (20, Some(Ending::RolledBack)));
    let back_of = report.disagreements.iter().filter(|found| found.topic == Topic::Back);
    assert_eq!(
        back_of.map(|found| found.from_ms / MINUTE_MS).collect::<Vec<_>>(),
        [120]
    );
}

#[test]
fn a_way_back_on_which_all_fall_back_began_with_its_first_order() {
    // A release that does not let itself be taken back: each one returns to it, again and again.
    let all = |minute: u64, new: bool| (0..4).map(move |target| (minute, target, new));
    let tries = [
        (100, false),
        (101, true),
        (103, false),
        (104, true),
        (106, false),
        (107, true),
    ];
    let orders: Vec<_> = tries.into_iter().flat_map(|(minute, new)| all(minute, new)).collect();
    assert_eq!(began(&report(4, &orders, "rolled_back")), Some((100, 4)));
    // Who left it there did not go back with the change.
    assert_eq!(began(&report(4, &orders, "completed")), None);
    // It stands for half an hour, and then is taken back: that is another time.
    let later: Vec<_> = orders.into_iter().chain(all(150, false)).collect();
    assert_eq!(began(&report(4, &later, "rolled_back")), Some((150, 4)));
}

#[test]
fn what_is_not_begun_waits_for_nobody_knows_what() {
    let record = Record {
        starts: vec![(300, 2)],
        factor: 1,
        fails: 0..u64::MAX,
        back: None,
        minutes: 320,
    };
    let report = record.report("");
    assert_eq!(report.starts, 2);
    let waits = report.disagreements.iter().find(|found| found.topic == Topic::Waits);
    assert_eq!((waits, report.saved.hours_of_waiting), (None, 0.0));
}

#[test]
fn a_time_that_goes_back_is_named_with_its_line() {
    let record = Record {
        starts: vec![(1, 2), (5, 2)],
        factor: 1,
        fails: 0..u64::MAX,
        back: None,
        minutes: 10,
    };
    let lines = record.lines();
    let at = lines.find("\"at_ms\":300000").unwrap();
    let early = format!("{}{}", &lines[..at], lines[at..].replacen("300000", "5", 1));
    let error = read(&early, Guard::empty()).unwrap_err();
    let line = lines[..at].lines().count();
    assert!(
        error.starts_with(&format!("line {line}: the time goes back from 300000 to 5 ms"))
            && error.contains("put what happened in"),
        "{error}"
    );
    // Metrics may come late.
    let at = lines.find("{\"type\":\"interval\",\"index\":4,").unwrap();
    let end = at + lines[at..].find('\n').unwrap() + 1;
    let next = end + lines[end..].find("{\"type\":\"interval\"").unwrap();
    let late = format!(
        "{}{}{}{}",
        &lines[..at],
        &lines[end..next],
        &lines[at..end],
        &lines[next..]
    );
    assert!(read(&late, Guard::empty()).is_ok(), "{:?}", read(&late, Guard::empty()));
}

#[test]
fn a_change_that_still_waits_was_not_aborted() {
    let report = report(2, &[], "waiting");
    assert_eq!(report.ended, Some(Ending::Waiting));
}

#[test]
fn a_record_in_another_encoding_is_told_how_to_be_saved() {
    let lines = Record {
        starts: vec![(1, 2)],
        factor: 1,
        fails: 0..u64::MAX,
        back: None,
        minutes: 2,
    }
    .lines();
    let error = read(&format!("\u{feff}{lines}"), Guard::empty()).unwrap_err();
    assert!(
        error.starts_with("line 1: ") && error.contains("UTF-8 without"),
        "{error}"
    );
    let policy = |_: &unattended::batching::Fleet, _: &std::collections::BTreeSet<String>| {
        Ok(unattended::batching::Policy::new())
    };
    let wide: Vec<u8> = [0xff, 0xfe]
        .into_iter()
        .chain(lines.bytes().flat_map(|byte| [byte, 0]))
        .collect();
    let error = unattended::Shadow::read(&wide[..], unattended::Settings::default(), Guard::empty(), policy);
    let error = error.err().unwrap().to_string();
    assert!(
        error.starts_with("line 1: ") && error.contains("UTF-8 without"),
        "{error}"
    );
}
