//! CSV and JSON lines: what is read, and what is said when it cannot be.

use std::io::{self, Read};

use unattended_examples_support::{Inventory, Mapping, read};

const CSV: &str = include_str!("../data/fleet.csv");
const LINES: &str = include_str!("../data/fleet.jsonl");
const MAP: &str = "app=app_name,id=instance_sn,stack=role,born=creation_time,died=deletion_time";

/// Gives one byte a call, and now and then an interruption.
struct Drip<'a>(&'a [u8], bool);

impl Read for Drip<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.1 = !self.1;
        if self.1 {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let (Some(to), Some((first, rest))) = (buffer.first_mut(), self.0.split_first()) else {
            return Ok(0);
        };
        (*to, self.0) = (*first, rest);
        Ok(1)
    }
}

fn table(text: &str, map: Option<&str>) -> Result<Inventory, String> {
    let map = map.map(|map| Mapping::parse(map).expect("a mapping"));
    let whole = read("f", text.as_bytes(), map.as_ref(), None);
    assert_eq!(
        whole,
        read("f", Drip(text.as_bytes(), false), map.as_ref(), None),
        "chunks must not matter"
    );
    whole.map_err(|error| error.to_string())
}

fn refused(text: &str, map: Option<&str>) -> String {
    table(text, map).expect_err("must be refused")
}

/// Targets as text: id, application, labels, state, birth and death.
fn lines(fleet: &Inventory) -> Vec<String> {
    fleet
        .targets
        .iter()
        .map(|t| {
            let labels: Vec<String> = t.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
            format!(
                "{} {} [{}] {:?} {:?} {:?}",
                t.id,
                t.app,
                labels.join(" "),
                t.state,
                t.born_s,
                t.died_s
            )
        })
        .collect()
}

#[test]
fn a_mapped_csv_gives_targets_and_says_how() {
    let fleet = table(CSV, Some(MAP)).expect("well formed");
    assert_eq!(
        lines(&fleet),
        [
            "i-1 pay [stack=java] Healthy None None",
            "i-2 pay [stack=java] Healthy Some(10) Some(90)",
            "i-3 web [stack=go] Healthy Some(20) None",
            "i-4 web [] Healthy None None",
        ]
    );
    assert_eq!(fleet.keys, ["stack"]);
    assert_eq!(
        fleet.notes,
        ["4 targets from the rows of a CSV, id from `instance_sn`, application from `app_name`"]
    );
    assert_eq!(fleet.applications(), 2);
}

#[test]
fn without_a_map_every_further_column_is_a_label() {
    let fleet = table(
        "\u{feff} id ,app,zone,team,ready\r\n1,pay,z1,,true\r\n2,pay,z2,,false\r\n",
        None,
    )
    .expect("good");
    assert_eq!(
        lines(&fleet),
        [
            "1 pay [zone=z1] Healthy None None",
            "2 pay [zone=z2] AppUnready None None"
        ]
    );
    assert_eq!(fleet.keys, ["zone"]);
    assert_eq!(
        fleet.notes[1..],
        [
            "every further column is a label (2 of them); choose with --map",
            "no label `team`: column `team` is empty in every row",
            "1 not ready",
        ]
    );
    assert_eq!(fleet.targets[0].label("zone"), Some("z1"));
    assert_eq!(fleet.targets[0].label("team"), None);
}

#[test]
fn rows_are_found_by_their_line_with_any_line_ending() {
    let expected = "f:6: column `id`: duplicate id `a` (first in line 2): give every target one row";
    let unix = "id,app\na,p\nb,p\n\n\na,p\n";
    for text in [
        unix.to_owned(),
        unix.replace('\n', "\r\n"),
        unix.replace('\n', "\r"),
        unix.trim_end().to_owned(),
    ] {
        assert_eq!(refused(&text, None), expected, "{text:?}");
    }
    assert_eq!(
        refused("\n\nid,app\na,p\na,p", None),
        expected.replace(":6", ":5").replace("line 2", "line 4")
    );
    // A cell that is not taken may hold a line break; rows after it keep their numbers.
    let quoted = "id,app,note\na,p,\"one\ntwo\nthree\"\nb,p,\na,p,\n";
    for text in [quoted.to_owned(), quoted.replace('\n', "\r\n")] {
        assert_eq!(refused(&text, Some("id=id,app=app")), expected);
    }
    let ragged = refused(&quoted.replace("b,p,", "b,p"), Some("id=id,app=app"));
    assert!(ragged.starts_with("f:5: 2 cells"), "{ragged}");
}

#[test]
fn csv_faults_name_line_field_and_fix() {
    let named = |text: &str| refused(text, Some("app=app_name,id=sn"));
    assert_eq!(
        refused(CSV, Some("app=app_nmae,id=instance_sn")),
        "f:1: no column `app_nmae` (for `app`); there are `instance_sn`, `role`, `app_name`, `note`, \
         `creation_time`, `deletion_time`: write app=app_name in --map, if that was meant"
    );
    assert!(refused(CSV, None).ends_with("name the right one in --map with id=COLUMN"));
    assert!(refused("id;app\n1;a\n", None).ends_with("the header is separated by semicolons, write commas"));
    assert_eq!(
        named("sn,app_name,sn\n"),
        "f:1: column `sn` stands twice in the header: rename one of the two"
    );
    assert!(refused("id,app,zone,zone\n", None).contains("column `zone` stands twice"));
    assert_eq!(
        named("sn,app_name\n ,pay\n"),
        "f:2: column `sn`: is empty: every target needs an id"
    );
    assert_eq!(
        named("sn,app_name\n1,\n"),
        "f:2: column `app_name`: is empty: every target needs an application"
    );
    assert!(named("sn,app_name\n1,a\n2,b,c\n").starts_with("f:3: 3 cells where the header has 2: complete the row"));
    assert!(named("sn,app_name\n1\n").starts_with("f:2: 1 cell where the header has 2"));
    assert!(
        named("sn,app_name\n1,\"a\n2,b\n3,c\n").starts_with("f:2: column `app_name`: `a\\n2,b\\n3,c` has a line break")
    );
    assert_eq!(
        named("sn,app_name\n"),
        "f: has no target: the header stands alone: add one row for each target"
    );
    let dated = |cells: &str| refused(&format!("id,app,born,died,ready\n1,a,{cells}\n"), None);
    assert!(dated("soon,,").starts_with("f:2: column `born`: `soon` is no number of seconds: write digits"));
    assert!(dated("5,4,").starts_with("f:2: column `died`: `4` is earlier than the time of birth"));
    assert!(dated(",,yes").starts_with("f:2: column `ready`: `yes` is neither true nor false"));
}

#[test]
fn json_lines_give_labels_from_an_object_or_from_texts() {
    let fleet = table(LINES, None).expect("well formed");
    assert_eq!(
        lines(&fleet),
        [
            "p-1 pay [rack=7 zone=z1] Healthy None None",
            "p-2 pay [zone=z2] AppUnready None None",
            "3 web [] Healthy Some(5) Some(9)",
        ]
    );
    assert_eq!(fleet.keys, ["rack", "zone"]);
    assert_eq!(
        fleet.notes,
        [
            "3 targets from JSON lines",
            "1 further field left out, since they are no text",
            "1 not ready"
        ]
    );
}

#[test]
fn a_byte_order_mark_says_nothing() {
    assert_eq!(table(&format!("\u{feff}{LINES}"), None), table(LINES, None));
    assert_eq!(table(&format!("\u{feff}{CSV}"), Some(MAP)), table(CSV, Some(MAP)));
}

#[test]
fn a_map_reaches_into_objects_and_past_dots_in_keys() {
    let text = r#"{"metadata":{"name":"x","labels":{"app.kubernetes.io/name":"web","a.b":{"c":"deep"}}},"status":{"ok":true}}
{"metadata":{"name":"y","labels":{"app.kubernetes.io/name":"web"}},"status":{"ok":false}}"#;
    let map = "id=metadata.name,app=metadata.labels.app.kubernetes.io/name,d=metadata.labels.a.b.c,ready=status.ok";
    let fleet = table(text, Some(map)).expect("well formed");
    assert_eq!(
        lines(&fleet),
        ["x web [d=deep] Healthy None None", "y web [] AppUnready None None"]
    );
}

#[test]
fn json_line_faults_name_line_field_and_fix() {
    let plain = |text: &str| refused(text, None);
    let good = r#"{"id":"1","app":"a"}"#;
    assert_eq!(
        plain(&format!("{good}\n\n{good}\n")),
        "f:3: field `id`: duplicate id `1` (first in line 1): give every target one row"
    );
    assert!(plain(&format!("{good}\n{{\"id\":\"2\",\"ap")).starts_with("f:2: the JSON breaks off after 13 characters"));
    assert!(
        plain("{\n  \"id\": \"1\"\n}\n")
            .starts_with("f:1: the JSON breaks off after 1 character: write each object on one line")
    );
    assert!(
        plain(&format!("{good}\n{{'id':1}}\n")).starts_with("f:2: is not JSON from character 2: key must be a string")
    );
    assert!(plain(&format!("{good} {good}\n")).starts_with("f:1: is not JSON from character 22: trailing characters"));
    for (text, found) in [
        ("[1]", "an array"),
        ("7", "a number"),
        ("\"x\"", "a text"),
        ("null", "null"),
        ("true", "true or false"),
    ] {
        let message = plain(&format!("{good}\n{text}\n"));
        assert!(
            message.starts_with(&format!("f:2: holds {found} where an object is needed")),
            "{message}"
        );
    }
    assert_eq!(
        plain(r#"{"id":"1","App":"a"}"#),
        "f:1: no field `app` (for `app`); there are `App`, `id`: write app=App in --map, if that was meant"
    );
    assert_eq!(
        refused(
            "{\"sn\":1,\"app\":\"a\"}\n{\"nr\":2,\"app\":\"a\"}",
            Some("id=sn,app=app")
        ),
        "f:2: no field `sn` (for `id`); there are `app`, `nr`: name the right one in --map with id=FIELD"
    );
    assert!(plain(r#"{"id":" ","app":"a"}"#).starts_with("f:1: field `id`: is empty"));
    assert!(
        plain(r#"{"id":"1","app":null}"#).starts_with("f:1: field `app`: is empty: every target needs an application")
    );
    assert!(plain(r#"{"id":["1"],"app":"a"}"#).starts_with("f:1: field `id`: `[\"1\"]` is no single value"));
    assert!(
        plain(r#"{"id":"1","app":"a","labels":{"z":{}}}"#)
            .starts_with("f:1: field `labels.z`: `{}` is no single value")
    );
    assert!(plain(r#"{"id":"1","app":"a","labels":"z"}"#).starts_with("f:1: field `labels`: `\"z\"` is no object"));
    assert!(plain(r#"{"id":"1","app":"a","labels":{"":"z"}}"#).contains("is no name for a label"));
    assert!(plain(r#"{"id":"1","app":"a\nb"}"#).starts_with("f:1: field `app`: `a\\nb` has a line break"));
    assert!(plain(r#"{"id":"1","app":"a","ready":"maybe"}"#).contains("field `ready`: `maybe` is neither"));
    assert!(plain(r#"{"id":"1","app":"a","born":9,"died":8}"#).starts_with("f:1: field `died`: `8` is earlier"));
    assert_eq!(
        refused(r#"{"id":"1","app":"a","role":"x"}"#, Some("id=id,app=app,stack=rle")),
        "f: no field `rle` (for `stack`); there are `app`, `id`, `role`: write stack=role in --map, if that was meant"
    );
}

#[test]
fn a_row_without_end_stops_early() {
    let endless = || io::Cursor::new("id,app\n1,\"").chain(io::repeat(b'x').take(1 << 30));
    let error = read("f", endless(), None, None).expect_err("too long").to_string();
    assert!(
        error.starts_with("f:2: one row is longer than 8 MiB: look for a quote"),
        "{error}"
    );
    let endless = || io::Cursor::new("{\"id\":\"1\",\"app\":\"").chain(io::repeat(b'x').take(1 << 30));
    let error = read("f", endless(), None, None).expect_err("too long").to_string();
    assert!(error.starts_with("f:1: one line is longer than 8 MiB"), "{error}");
}

#[test]
fn many_rows_are_no_long_row() {
    // Three times the limit for one row in total.
    let filler = "x".repeat(1000);
    let mut text = String::from("id,app,filler\n");
    for row in 0..25_000 {
        text.push_str(&format!("{row},a,{filler}\n"));
    }
    assert!(text.len() > 24 << 20);
    let map = Mapping::parse("id=id,app=app").expect("a mapping");
    let fleet = read("f", text.as_bytes(), Some(&map), None).expect("well formed");
    assert_eq!(fleet.targets.len(), 25_000);
}
