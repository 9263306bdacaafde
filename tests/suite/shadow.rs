//! Beside a change that somebody else drives.
#![expect(clippy::unwrap_used, reason = "a failure of a helper is a failed test")]

use std::fmt::Write as _;
use std::ops::Range;

use crate::support::HOUR_MS;
use unattended::batching::{Policy, pct};
use unattended::defense::Guard;
use unattended::{Ending, Settings, Shadow, ShadowReport, Topic};

pub(crate) const MINUTE_MS: u64 = 60_000;
/// Two applications of a hundred targets; each is a stratum.
const TARGETS: u64 = 200;

/// A recorded change: at `starts` so many targets of both applications are started, at `back` all go back. Canaries fail `factor` times as
/// often as the others while it `fails`, of a hundred requests a minute one in a hundred.
pub(crate) struct Record {
    pub(crate) starts: Vec<(u64, u64)>,
    pub(crate) factor: u64,
    pub(crate) fails: Range<u64>,
    pub(crate) back: Option<u64>,
    pub(crate) minutes: u64,
}

impl Record {
    pub(crate) fn lines(&self) -> String {
        let mut text = String::from(
            "{\"type\":\"change\",\"schema\":1,\"change\":\"mesh-2\",\"tool\":\"other\",\"from\":\"mesh-1\",\"to\":\"mesh-2\",\
             \"began_unix_ms\":1795420800000,\"interval_ms\":60000}\n",
        );
        for i in 0..TARGETS {
            let _ = writeln!(
                text,
                "{{\"type\":\"target\",\"id\":\"t-{i}\",\"app\":\"app-{}\",\"labels\":{{\"node\":\"n-{}\",\"stack\":\"s-{}\"}},\"stratum\":{}}}",
                i % 2,
                i % 7,
                i % 2,
                7 + i % 2
            );
        }
        for stratum in [7, 8] {
            let _ = writeln!(
                text,
                "{{\"type\":\"history\",\"stratum\":{stratum},\"metric\":0,\"counts\":{{\"bad\":10000,\"total\":1000000}},\"samples\":[]}}"
            );
            let _ = writeln!(
                text,
                "{{\"type\":\"history\",\"stratum\":{stratum},\"metric\":1,\"counts\":{{\"bad\":10000,\"total\":1000000}},\"samples\":[]}}"
            );
        }
        let (mut exposed, mut warm, mut back) = (0, 0, false);
        for minute in 0..self.minutes {
            let at_ms = minute * MINUTE_MS;
            if self.back == Some(minute) {
                back = true;
                for i in 0..exposed {
                    let _ = writeln!(
                        text,
                        "{{\"type\":\"ordered\",\"at_ms\":{at_ms},\"target\":\"t-{i}\",\"new\":false}}"
                    );
                }
                exposed = 0;
            }
            for &(_, n) in self.starts.iter().filter(|(at, _)| *at == minute && !back) {
                for i in exposed..exposed + n {
                    let _ = writeln!(
                        text,
                        "{{\"type\":\"ordered\",\"at_ms\":{at_ms},\"target\":\"t-{i}\",\"new\":true}}"
                    );
                    let _ = writeln!(
                        text,
                        "{{\"type\":\"ready\",\"at_ms\":{at_ms},\"target\":\"t-{i}\",\"new\":true}}"
                    );
                }
                exposed += n;
            }
            let mut rows = Vec::new();
            for stratum in [7, 8] {
                let (new, old) = (warm / 2, (TARGETS - exposed) / 2);
                for metric in [0, 1] {
                    let fails = metric == 0 && self.fails.contains(&minute);
                    let factor = if fails { self.factor } else { 1 };
                    rows.push(format!(
                        "{{\"stratum\":{stratum},\"metric\":{metric},\"fresh\":false,\"level\":0,\"missing\":0,\"canary\":{{\"bad\":{},\"total\":{}}},\
                         \"control\":{{\"bad\":{old},\"total\":{}}}}}",
                        new * factor,
                        new * 100,
                        old * 100
                    ));
                }
            }
            warm = exposed;
            let _ = writeln!(
                text,
                "{{\"type\":\"interval\",\"index\":{minute},\"end_ms\":{},\"rows\":[{}],\"samples\":[],\"totals\":[],\"splits\":[],\
                 \"signatures\":[],\"canary_hosts\":{{\"reported\":{exposed},\"expected\":{exposed}}},\
                 \"control_hosts\":{{\"reported\":{},\"expected\":{}}}}}",
                at_ms + MINUTE_MS,
                rows.join(","),
                TARGETS - exposed,
                TARGETS - exposed
            );
        }
        let how = if back { "rolled_back" } else { "completed" };
        let _ = writeln!(
            text,
            "{{\"type\":\"ended\",\"at_ms\":{},\"how\":\"{how}\"}}",
            self.minutes * MINUTE_MS
        );
        text
    }

    pub(crate) fn report(&self, rules: &str) -> ShadowReport {
        let guard = if rules.is_empty() {
            Guard::empty()
        } else {
            Guard::from_yaml("pack.yaml", rules).unwrap()
        };
        read(&self.lines(), guard).unwrap()
    }
}

pub(crate) fn read(lines: &str, guard: Guard) -> Result<ShadowReport, String> {
    let mut settings = Settings::default();
    settings.soak_ms = HOUR_MS;
    read_with(lines, guard, settings)
}

fn read_with(lines: &str, guard: Guard, settings: Settings) -> Result<ShadowReport, String> {
    let policy = |_: &unattended::batching::Fleet, shared: &std::collections::BTreeSet<String>| {
        // Nodes differ within a stratum, so nothing is told apart by them.
        assert_eq!(shared.iter().collect::<Vec<_>>(), ["stack"]);
        Ok(Policy::new().per_app(pct(25)).spread(["stack"]))
    };
    Shadow::read(lines.as_bytes(), settings, guard, policy)
        .map(|(shadow, _)| shadow.report())
        .map_err(|error| error.to_string())
}

#[test]
fn a_bad_change_is_stopped_sooner_and_what_that_saves_is_counted() {
    let record = Record {
        starts: vec![(1, 4), (30, 76), (60, 120)],
        factor: 20,
        fails: 0..u64::MAX,
        back: Some(90),
        minutes: 120,
    };
    let report = record.report("");
    let stop = report.stop.as_ref().unwrap();
    assert_eq!((stop.what.as_str(), stop.exposed), ("stop.evidence", 4));
    assert!((2 * MINUTE_MS..30 * MINUTE_MS).contains(&stop.at_ms), "{stop:?}");
    let back = report.back.as_ref().unwrap();
    assert_eq!(
        (back.at_ms, back.exposed, report.ended),
        (90 * MINUTE_MS, 200, Some(Ending::RolledBack))
    );
    assert_eq!(
        (report.starts, report.most_exposed, report.saved.exposed),
        (200, 200, 196)
    );
    // The four until half an hour, eighty until the hour, all until an hour and a half.
    let hours = |ms: u64| ms as f64 / HOUR_MS as f64;
    let wanted = 4.0 * hours(30 * MINUTE_MS - stop.at_ms) + 80.0 * 0.5 + 200.0 * 0.5;
    assert!(
        (report.saved.target_hours - wanted).abs() < 1e-9,
        "{} {wanted}",
        report.saved.target_hours
    );
    assert!((report.saved.hours_to_stop - hours(90 * MINUTE_MS - stop.at_ms)).abs() < 1e-9);
    let after = report
        .disagreements
        .iter()
        .find(|found| found.topic == Topic::Stopped)
        .unwrap();
    assert_eq!(
        (after.from_ms, after.until_ms, after.starts),
        (30 * MINUTE_MS, 60 * MINUTE_MS, 196)
    );
    // Before the stop the first few are what the first batch may have: no more than two of them.
    assert!(report.agreed > 0 && report.agreed <= 4, "{}", report.agreed);
    assert!(!report.disagreements.iter().any(|found| found.topic == Topic::Back));
}

#[test]
fn a_good_change_that_leaps_goes_beyond_the_evidence_and_one_that_dawdles_waits_for_nothing() {
    let leap = Record {
        starts: vec![(1, 200)],
        factor: 1,
        fails: 0..u64::MAX,
        back: None,
        minutes: 60,
    };
    let report = leap.report("");
    assert_eq!((report.stop, report.ended), (None, Some(Ending::Completed)));
    let beyond = report
        .disagreements
        .iter()
        .find(|found| found.topic == Topic::Evidence)
        .unwrap();
    assert!(
        beyond.starts >= 190 && beyond.starts + report.agreed == 200,
        "{beyond:?} {}",
        report.agreed
    );
    assert!(report.saved.target_hours.abs() < 1e-9 && report.saved.hours_to_stop.abs() < 1e-9);

    let dawdle = Record {
        starts: vec![(1, 2)],
        factor: 1,
        fails: 0..u64::MAX,
        back: None,
        minutes: 600,
    };
    let report = dawdle.report("");
    let waits = report
        .disagreements
        .iter()
        .filter(|found| found.topic == Topic::Waits)
        .map(|found| found.until_ms - found.from_ms);
    let waited = waits.sum::<u64>() as f64 / HOUR_MS as f64;
    assert!(
        report.saved.hours_of_waiting > 2.0 && report.saved.hours_of_waiting < 10.0,
        "{:?}",
        report.saved
    );
    assert!((waited - report.saved.hours_of_waiting).abs() < 0.2, "{waited}");
    assert!(
        report.decisions.iter().any(|decision| decision.code == "class.safe"),
        "{:?}",
        report.decisions
    );
}

#[test]
fn a_good_change_that_is_taken_back_had_no_reason() {
    let record = Record {
        starts: vec![(1, 2)],
        factor: 1,
        fails: 0..u64::MAX,
        back: Some(20),
        minutes: 30,
    };
    let report = record.report("");
    assert_eq!(report.stop, None);
    let back = report
        .disagreements
        .iter()
        .find(|found| found.topic == Topic::Back)
        .unwrap();
    assert_eq!(back.from_ms, 20 * MINUTE_MS);
    // What was taken back is not exposed any more.
    assert_eq!(report.exposure.last(), Some(&(21 * MINUTE_MS, 0)));
}

/// The lines with others put before the interval of that minute.
pub(crate) fn with(lines: &str, minute: u64, others: &str) -> String {
    let at = lines
        .find(&format!("{{\"type\":\"interval\",\"index\":{minute},"))
        .unwrap();
    format!("{}{others}{}", &lines[..at], &lines[at..])
}

pub(crate) fn order(minute: u64, target: u64, new: bool) -> String {
    let at_ms = minute * MINUTE_MS;
    format!("{{\"type\":\"ordered\",\"at_ms\":{at_ms},\"target\":\"t-{target}\",\"new\":{new}}}\n")
}

#[test]
fn a_target_that_is_put_back_while_others_go_on_is_no_way_back_of_the_change() {
    let record = Record {
        starts: vec![(1, 2), (500, 2)],
        factor: 1,
        back: None,
        fails: 0..u64::MAX,
        minutes: 600,
    };
    let plain = record.report("");
    // Tried again at once and after ten minutes; given up when nothing else starts for hours.
    let retried = with(&record.lines(), 2, &(order(2, 0, false) + &order(2, 0, true)));
    let retried = with(&retried, 30, &order(30, 0, false));
    let retried = with(&retried, 40, &order(40, 0, true));
    let given_up = with(&retried, 60, &order(60, 1, false));
    let report = read(&given_up, Guard::empty()).unwrap();
    assert_eq!((report.back, report.ended), (None, Some(Ending::Completed)));
    assert_eq!(report.starts, 4, "a target that is tried again is no other one");
    assert!(report.disagreements.iter().all(|found| found.topic != Topic::Back));
    assert!(plain.saved.hours_of_waiting > 2.0, "{:?}", plain.saved);
    // Waiting is counted as ever; of the one that was given up there is room for another.
    let more = report.saved.hours_of_waiting - plain.saved.hours_of_waiting;
    assert!((-0.5..2.0).contains(&more), "{:?} {:?}", plain.saved, report.saved);
}

#[test]
fn the_way_back_is_known_while_it_goes_on_and_begins_with_the_first_of_its_own_orders() {
    let record = Record {
        starts: vec![(1, 20)],
        factor: 1,
        back: None,
        fails: 0..u64::MAX,
        minutes: 180,
    };
    let lines = record.lines();
    let running = &lines[..lines.find("{\"type\":\"ended\"").unwrap()];
    // One is given up; two hours later all the others go, one a minute.
    let mut back = with(running, 5, &order(5, 19, false));
    let at = |minute: u64, text: &str| with(text, minute, &order(minute, minute - 120, false));
    for minute in 120..129 {
        back = at(minute, &back);
    }
    let early = read(&back, Guard::empty()).unwrap();
    assert_eq!(early.back, None, "nine of nineteen are not most of them");
    for minute in 129..135 {
        back = at(minute, &back);
    }
    let report = read(&back, Guard::empty()).unwrap();
    let from = report.back.as_ref().unwrap();
    assert_eq!((from.at_ms, from.exposed, report.ended), (120 * MINUTE_MS, 19, None));
    let back_of = report.disagreements.iter().filter(|found| found.topic == Topic::Back);
    assert_eq!(back_of.count(), 1);
    // It starts again: that was no way back after all.
    let again = read(&with(&back, 140, &order(140, 0, true)), Guard::empty()).unwrap();
    assert_eq!((again.back, again.starts), (None, 20));
}

#[test]
fn who_goes_back_does_not_wait_also_before_that_can_be_told() {
    let lines = Record {
        starts: vec![(1, 2)],
        factor: 1,
        back: None,
        fails: 0..u64::MAX,
        minutes: 500,
    }
    .lines();
    let waited = |lines: &str| {
        let report = read(lines, Guard::empty()).unwrap();
        let spans = report.disagreements.iter().filter(|found| found.topic == Topic::Waits);
        let until = spans.map(|found| found.until_ms / MINUTE_MS).max().unwrap();
        (
            until,
            report.saved.hours_of_waiting,
            report.back.map(|back| back.at_ms / MINUTE_MS),
        )
    };
    let one = with(&lines, 400, &order(400, 0, false));
    let (until, hours, back) = waited(&one);
    assert_eq!((until, back), (500, None));
    let both = with(&one, 430, &order(430, 1, false));
    let (until, less, back) = waited(&both);
    assert_eq!((until, back), (400, Some(400)));
    assert!((hours - less - 100.0 / 60.0).abs() < 0.1, "{hours} {less}");
}

#[test]
fn where_nothing_was_measured_nothing_is_known() {
    let record = Record {
        starts: vec![(1, 2)],
        factor: 1,
        back: Some(20),
        fails: 0..u64::MAX,
        minutes: 30,
    };
    let measured = record.report("");
    assert_eq!(measured.measured, 30);
    let lines = record.lines();
    let silent: Vec<&str> = lines.lines().filter(|line| !line.contains("\"interval\",")).collect();
    let report = read(&silent.join("\n"), Guard::empty()).unwrap();
    assert_eq!((report.measured, report.stop), (0, None));
    let back = report.disagreements.iter().find(|found| found.topic == Topic::Back);
    assert!(back.unwrap().why.contains("nothing was measured"), "{back:?}");
}

#[test]
fn rules_have_their_say_and_starts_that_fail_their_gate_stop_it() {
    let rules = "version: 1\npack: day\nowner: ops\nscope: all\nwindows:\n  \
                 - {id: day, kind: protected, select: {stack: [s-1]}, weekly: {days: daily, from: \"06:00\", for: 12h}, zone: UTC, reason: business}\n";
    let record = Record {
        starts: vec![(1, 2)],
        factor: 1,
        fails: 0..u64::MAX,
        back: None,
        minutes: 10,
    };
    let report = record.report(rules);
    let rules = report
        .disagreements
        .iter()
        .find(|found| found.topic == Topic::Rules)
        .unwrap();
    assert_eq!((rules.starts, report.agreed), (1, 1));
    assert!(rules.why.contains("business"), "{rules:?}");

    let fail = "{\"type\":\"failed\",\"at_ms\":61000,\"target\":\"t-0\",\"why\":\"it crashed\"}\n";
    let lines = record.lines();
    let at = lines.find("{\"type\":\"interval\",\"index\":1,").unwrap();
    let once = format!("{}{fail}{}", &lines[..at], &lines[at..]);
    assert_eq!(
        read(&once, Guard::empty()).unwrap().stop,
        None,
        "one chance failure stops nothing"
    );
    let odd = format!("{}{fail}{fail}{}", &lines[..at], &lines[at..]);
    assert_eq!(
        read(&odd, Guard::empty()).unwrap().stop,
        None,
        "one odd host stops nothing"
    );
    let other = fail.replace("t-0", "t-1");
    let twice = format!("{}{fail}{fail}{other}{other}{}", &lines[..at], &lines[at..]);
    let stop = read(&twice, Guard::empty()).unwrap().stop.unwrap();
    assert_eq!((stop.what.as_str(), stop.at_ms, stop.exposed), ("stop.gate", 61_000, 2));
    assert!(stop.why.contains("it crashed"), "{stop:?}");
}

#[test]
fn rules_are_asked_at_the_moment_of_a_start_whenever_metrics_came_last() {
    let record = Record {
        starts: vec![(1, 2)],
        factor: 1,
        fails: 0..u64::MAX,
        back: None,
        minutes: 2,
    };
    let lines = record.lines();
    let head = &lines[..lines.find("{\"type\":\"interval\"").unwrap()];
    let head = &head[..head.find("{\"type\":\"ordered\"").unwrap_or(head.len())];
    // The change begins at eight.
    let rules = "version: 1\npack: day\nowner: ops\nscope: all\nwindows:\n  \
                 - {id: day, kind: protected, weekly: {days: daily, from: \"10:00\", for: 2h}, zone: UTC, reason: business}\n";
    for (minute, against) in [(30, 0), (130, 1), (250, 0)] {
        let report = read(
            &format!("{head}{}", order(minute, 0, true)),
            Guard::from_yaml("pack.yaml", rules).unwrap(),
        );
        let report = report.unwrap();
        let found = report.disagreements.iter().filter(|found| found.topic == Topic::Rules);
        let found: u64 = found.map(|found| found.starts).sum();
        assert_eq!((found, report.agreed), (against, 1 - against), "at minute {minute}");
    }
}

#[test]
fn rows_of_a_stratum_without_targets_are_refused() {
    let record = Record {
        starts: vec![(1, 2)],
        factor: 1,
        fails: 0..u64::MAX,
        back: None,
        minutes: 3,
    };
    let lines = record.lines();
    // Ours begin with 0, the record's with 7.
    let at = lines.find("{\"type\":\"interval\",\"index\":2,").unwrap();
    let (before, after) = lines.split_at(at);
    let stray = format!("{before}{}", after.replacen("\"stratum\":7", "\"stratum\":0", 1));
    let error = read(&stray, Guard::empty()).unwrap_err();
    let line = before.lines().count() + 1;
    assert!(
        error.starts_with(&format!("line {line}: ")) && error.contains("stratum 0 has no target"),
        "{error}"
    );
}

#[test]
fn rules_that_do_not_fit_are_no_fault_of_the_record() {
    let good = Record {
        starts: vec![(1, 2)],
        factor: 1,
        fails: 0..u64::MAX,
        back: None,
        minutes: 2,
    }
    .lines();
    let rules = "version: 1\npack: pay\nowner: o\nscope: {stak: s-0}\nfreezes:\n  \
                 - {id: f, from: 2026-11-22T00:00, until: 2026-11-23T00:00, zone: UTC, owner: o, reason: r}\n";
    let policy = |_: &unattended::batching::Fleet, _: &std::collections::BTreeSet<String>| Ok(Policy::new());
    let read = |rules: &str| {
        let guard = Guard::from_yaml("pack.yaml", rules).unwrap();
        Shadow::read(good.as_bytes(), Settings::default(), guard, policy).err()
    };
    let error = read(rules).unwrap();
    assert!(error.of_rules && error.line == 0, "{error:?}");
    assert!(error.to_string().starts_with("pack.yaml:4"), "{error}");
    assert_eq!(read(&rules.replace("stak", "stack")), None);
}

#[test]
fn what_cannot_be_read_is_named_by_its_line() {
    let good = Record {
        starts: vec![(1, 2)],
        factor: 1,
        fails: 0..u64::MAX,
        back: None,
        minutes: 2,
    }
    .lines();
    let lines: Vec<&str> = good.lines().collect();
    let with = |at: usize, line: &str| {
        let mut lines = lines.clone();
        lines[at] = line;
        read(&lines.join("\n"), Guard::empty()).unwrap_err()
    };
    let cases: [(usize, &str, &str); 8] = [
        (
            0,
            "{\"type\":\"ended\",\"at_ms\":1,\"how\":\"completed\"}",
            "first line",
        ),
        (1, "nonsense", "line 2"),
        (1, "{\"type\":\"targets\"}", "`targets`"),
        (1, "{\"type\":\"target\",\"id\":\"t-0\",\"app\":\"a\"}", "stratum"),
        (
            1,
            "{\"type\":\"target\",\"id\":\"t-1\",\"app\":\"a\",\"stratum\":1}",
            "t-1",
        ),
        (
            1,
            "{\"type\":\"target\",\"id\":\"t-0\",\"app\":\"app-9\",\"labels\":{\"stack\":\"s-0\"},\"stratum\":7}",
            "several applications",
        ),
        (
            201,
            "{\"type\":\"history\",\"stratum\":9,\"metric\":0,\"counts\":{\"bad\":1,\"total\":2},\"samples\":[]}",
            "stratum 9",
        ),
        (205, "{\"type\":\"packed\",\"interval\":\"0g\"}", "hexadecimal"),
    ];
    for (at, line, word) in cases {
        let error = with(at, line);
        assert!(error.contains(word), "{line}: {error}");
    }
    // What shows itself only when all is read is of the line that says it.
    let line_of = |at: usize, line: &str| {
        let error = with(at, line);
        assert!(error.starts_with(&format!("line {}: ", at + 1)), "{error}");
    };
    line_of(
        7,
        "{\"type\":\"target\",\"id\":\"t-0\",\"app\":\"app-9\",\"labels\":{\"stack\":\"s-0\"},\"stratum\":7}",
    );
    line_of(0, &lines[0].replace("\"interval_ms\":60000", "\"interval_ms\":0"));
    line_of(
        201,
        "{\"type\":\"history\",\"stratum\":9,\"metric\":0,\"counts\":{\"bad\":1,\"total\":2},\"samples\":[]}",
    );
    for late in [
        "{\"type\":\"failed\",\"at_ms\":18446744073709551615,\"target\":\"t-0\",\"why\":\"it crashed\"}",
        "{\"type\":\"ended\",\"at_ms\":3153600000001,\"how\":\"completed\"}",
    ] {
        let last = lines.len() - 1;
        line_of(last, late);
        assert!(with(last, late).contains("a hundred years"), "{}", with(last, late));
    }
    // A number that is none names its field, and what to give.
    let last = lines.len() - 1;
    for number in ["1e300", "-5", "\"soon\"", "0.5"] {
        let line = format!("{{\"type\":\"ordered\",\"at_ms\":{number},\"target\":\"t-0\",\"new\":true}}");
        let error = with(last, &line);
        assert!(
            error.contains("`at_ms` is ") && error.contains(": give milliseconds since the change began"),
            "{error}"
        );
    }
    for began in ["-1000000000000000000", "1000000000000000000"] {
        let error = with(0, &lines[0].replace("1795420800000", began));
        assert!(
            error.starts_with(&format!("line 1: `began_unix_ms` is {began}: give")) && error.contains("since 1970"),
            "{error}"
        );
    }
    let escaped = good.replacen("\"type\":\"change\"", "\"type\":\"ch\\u0061nge\"", 1);
    assert_eq!(read(&escaped, Guard::empty()), read(&good, Guard::empty()));
    let newer = lines[0].replace("\"schema\":1", "\"schema\":2");
    assert!(with(0, &newer).contains("schema"), "{}", with(0, &newer));
    assert!(read("", Guard::empty()).unwrap_err().contains("no change in it"));
}

#[test]
fn no_budget_keeps_a_shadow_from_going_on_when_a_check_has_passed() {
    let record = Record {
        starts: vec![(1, 4), (60, 2)],
        factor: 2,
        fails: 2..13,
        back: None,
        minutes: 90,
    };
    let mut settings = Settings::default();
    settings.soak_ms = HOUR_MS;
    settings.budget.resumes_per_day = 0;
    let report = read_with(&record.lines(), Guard::empty(), settings).unwrap();
    let at = |code: &str| {
        let of_code = report.decisions.iter().filter(|decision| decision.code == code);
        of_code.map(|decision| decision.at_ms / MINUTE_MS).collect::<Vec<_>>()
    };
    assert_eq!((at("check.blocked"), at("check.passed")), (vec![10], vec![19]));
    let blocked = |found: &&unattended::Disagreement| found.topic == Topic::Blocked;
    assert_eq!(report.disagreements.iter().find(blocked), None);
}
