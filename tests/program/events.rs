//! What happens, as a file of JSON lines.

use serde_json::Value;

use crate::desk::Desk;
use crate::desk::refused;

fn lines(desk: &Desk, name: &str) -> Vec<Value> {
    let text = String::from_utf8(desk.read(name)).unwrap();
    assert!(text.ends_with('\n'), "the last line breaks off");
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn every_event_is_a_line_and_none_is_missing() {
    let desk = Desk::new();
    let ended = desk.json(1, &["--release", "crash", "--events", "e.jsonl"]);
    let events = lines(&desk, "e.jsonl");
    for (number, event) in events.iter().enumerate() {
        assert_eq!(
            (&event["run"], &event["number"]),
            (&Value::from(0), &Value::from(number))
        );
    }
    let of = |kind: &str| events.iter().filter(|event| event["type"] == kind).count();
    assert!(of("decision") > 2 && of("effect") > 0 && of("effect") == of("effect_answered"));
    let last = events.last().unwrap();
    assert_eq!(
        (&last["type"], &last["outcome"]),
        (&Value::from("ended"), &ended["outcome"])
    );
    // Another run begins the file anew, in envelopes if wanted.
    desk.json(1, &["--release", "crash", "--events", "e.jsonl", "--cloud-events"]);
    let wrapped = lines(&desk, "e.jsonl");
    assert_eq!(wrapped.len(), events.len());
    for (envelope, event) in wrapped.iter().zip(&events) {
        assert_eq!(
            (&envelope["specversion"], &envelope["data"]),
            (&Value::from("1.0"), event)
        );
    }
}

#[test]
fn a_run_that_takes_a_change_up_goes_on_in_the_file() {
    let desk = Desk::new();
    let common = [
        "--release",
        "errors=x30",
        "--level",
        "3",
        "--journal",
        "j.redb",
        "--events",
        "e.jsonl",
        "--operator",
    ];
    desk.json(3, &[&common[..], &["none"]].concat());
    let first = lines(&desk, "e.jsonl");
    // A kill may break off in the midst of a line.
    let torn = [desk.read("e.jsonl"), br#"{"schema":1,"type":"eff"#.to_vec()].concat();
    desk.file("e.jsonl", torn);
    desk.json(1, &[&common[..], &["simulated"]].concat());
    let both = lines(&desk, "e.jsonl");
    assert_eq!(both[..first.len()], first);
    assert!(both.len() > first.len());
    assert!(both[first.len()..].iter().all(|event| event["run"] == 1));
}

#[test]
fn what_a_kill_left_of_a_line_is_cut_before_the_next() {
    let desk = Desk::new();
    let common = ["--journal", "j.redb", "--events", "e.jsonl", "--operator"];
    let bad = ["--release", "errors=x30", "--level", "3"];
    desk.json(3, &[&bad[..], &common, &["none"]].concat());
    let first = lines(&desk, "e.jsonl");
    // Longer than what is looked at in one go.
    for torn in [r#"{"run":0,"num"#.to_owned(), "x".repeat(200_000)] {
        let mut bytes = desk.read("e.jsonl");
        bytes.extend(torn.as_bytes());
        desk.file("e.jsonl", bytes);
        desk.json(3, &[&bad[..], &common, &["none"]].concat());
        assert_eq!(lines(&desk, "e.jsonl")[..first.len()], first);
    }
    // Nothing but a torn line.
    desk.file("e.jsonl", r#"{"run":0"#);
    desk.json(1, &[&bad[..], &common, &["simulated"]].concat());
    assert!(!lines(&desk, "e.jsonl").is_empty());
}

#[test]
fn a_file_that_cannot_be_written_is_refused_before_anything_happens() {
    let desk = Desk::new();
    let to = ["--synthetic", "60x4", "--json", "--events", "no/such/e.jsonl"];
    refused(&desk, &to, &["no/such/e.jsonl", "--events"]);
    refused(&desk, &["--cloud-events"], &["--events"]);
}
