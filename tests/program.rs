//! The example `rollout` as the shell sees it: exit codes, what it prints where, and what it leaves behind.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failure of a helper is a failed test"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// The page that says what the program prints.
const PAGE: &str = include_str!("../docs/rollout.md");
/// A fleet that takes a moment.
const SMALL: [&str; 2] = ["--synthetic", "60x4"];

/// Where cargo puts examples: it builds them before it runs tests.
fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(Path::parent).unwrap();
    let path = profile
        .join("examples")
        .join(format!("rollout{}", std::env::consts::EXE_SUFFIX));
    assert!(
        path.exists(),
        "{}: build it with `cargo build --example rollout`",
        path.display()
    );
    path
}

/// A directory to run in.
struct Desk {
    dir: TempDir,
}

/// What a run said.
#[derive(Debug)]
struct Said {
    /// `None` where a signal ended it.
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Desk {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> &Self {
        std::fs::write(self.dir.path().join(name), content).unwrap();
        self
    }

    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.dir.path().join(name)).unwrap()
    }

    /// Every file with its bytes.
    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let entries = std::fs::read_dir(self.dir.path()).unwrap().map(Result::unwrap);
        let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
        files
            .map(|entry| {
                let name = entry.file_name().to_string_lossy().into_owned();
                let bytes = self.read(&name);
                (name, bytes)
            })
            .collect()
    }

    fn run(&self, arguments: &[&str]) -> Said {
        let output = Command::new(program())
            .args(arguments)
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .env("NO_COLOR", "1")
            .output()
            .unwrap();
        let said = Said {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        };
        assert!(!said.stderr.contains("panicked"), "{arguments:?}: {}", said.stderr);
        said
    }

    /// Runs a small fleet and gives the object of the last line.
    #[track_caller]
    fn json(&self, code: i32, arguments: &[&str]) -> Value {
        let said = self.run(&[&SMALL, arguments, &["--json"]].concat());
        assert_eq!(said.code, Some(code), "{arguments:?}: {said:?}");
        said.last_line()
    }
}

impl Said {
    #[track_caller]
    fn last_line(&self) -> Value {
        let last = self
            .stdout
            .trim_end()
            .lines()
            .last()
            .unwrap_or_else(|| panic!("nothing on stdout: {self:?}"));
        let value: Value = serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}: {last}"));
        assert!(value.is_object(), "{last}");
        value
    }
}

/// Input that cannot be used: exit code 2, the words on standard error, nothing on standard output, nothing touched.
#[track_caller]
fn refused(desk: &Desk, arguments: &[&str], words: &[&str]) {
    let before = desk.files();
    let said = desk.run(arguments);
    assert_eq!(said.code, Some(2), "{arguments:?}: {said:?}");
    assert_eq!(said.stdout, "", "{arguments:?}");
    for word in words {
        assert!(
            said.stderr.contains(word),
            "{arguments:?}: no `{word}` in: {}",
            said.stderr
        );
    }
    let after = desk.files();
    let left: Vec<&String> = after.keys().filter(|name| !before.contains_key(*name)).collect();
    assert!(left.is_empty(), "{arguments:?} left {left:?} behind");
    assert!(before == after, "{arguments:?} changed a file");
}

const FLEET: &str = "id,app,zone,stack\np-1,pay,a,java\np-2,pay,b,java\np-3,web,a,go\np-4,web,b,go\n";

#[test]
fn arguments_that_cannot_be_meant_are_refused() {
    let desk = Desk::new();
    refused(&desk, &["--level", "9"], &["--level", "`9`", "3", "4"]);
    refused(&desk, &["--levle", "3"], &["--levle", "--level"]);
    refused(
        &desk,
        &["--operator", "robot"],
        &["--operator", "robot", "simulated", "none"],
    );
    refused(&desk, &["--mode", "hot"], &["--mode", "hot", "cold", "warm"]);
    refused(&desk, &["--seed", "-1"], &["-1"]);
    refused(&desk, &["--seed", "many"], &["--seed", "many"]);
    refused(&desk, &["--kill-after", "5"], &["--journal"]);
    refused(&desk, &["--dump"], &["--journal"]);
    refused(&desk, &["--map", "id=x"], &["--inventory"]);
    refused(
        &desk,
        &["--inventory", "fleet.csv", "--synthetic", "60x4"],
        &["--inventory", "--synthetic"],
    );
    refused(&desk, &["stray"], &["stray"]);
}

#[test]
fn a_made_up_fleet_that_cannot_be_is_refused() {
    let desk = Desk::new();
    refused(&desk, &["--synthetic", "0x0"], &["0x0", "at least 1x1"]);
    refused(&desk, &["--synthetic", "5x10"], &["5x10", "10x5"]);
    refused(&desk, &["--synthetic", "60*4"], &["60*4", "write 60x4"]);
    refused(&desk, &["--synthetic", ""], &["PODSxAPPS"]);
    refused(&desk, &["--synthetic", "99999999999x3"], &["99999999999", "at most"]);
    refused(&desk, &["--synthetic", "-5x-1"], &["-5"]);
}

#[test]
fn an_inventory_that_cannot_be_used_is_refused_with_its_place() {
    let desk = Desk::new();
    desk.file("empty.csv", "")
        .file("header.csv", "id,app,zone\n")
        .file("binary.csv", [0x7f, b'E', b'L', b'F', 0, 0xff, 0xfe, b'\n', 0, 1, 2])
        .file("missing.csv", "id,zone\np-1,a\n")
        .file("twice.csv", "id,app,zone\np-1,pay,a\np-2,pay,a\np-1,pay,b\n")
        .file("short.csv", "id,app,zone\np-1,pay,a\np-2\n")
        .file("nameless.csv", "id,app,zone\np-1,pay,a\n,pay,a\n")
        .file(
            "broken.jsonl",
            "{\"id\": \"p-1\", \"app\": \"pay\"}\n{\"id\": \"p-2\", \"app\"\n",
        )
        .file("fleet.csv", FLEET);
    let inventory = |name: &str, words: &[&str]| refused(&desk, &["--inventory", name], &[&[name], words].concat());
    inventory("empty.csv", &["empty"]);
    inventory("header.csv", &[]);
    inventory("binary.csv", &[]);
    inventory("missing.csv", &["app"]);
    inventory("twice.csv", &["4", "p-1"]);
    inventory("short.csv", &["3"]);
    inventory("nameless.csv", &["3", "id"]);
    inventory("broken.jsonl", &["2"]);
    inventory("absent.csv", &[]);
    refused(&desk, &["--inventory", "fleet.csv", "--map", "app=team"], &["team"]);
    refused(&desk, &["--inventory", "fleet.csv", "--map", "nonsense"], &["nonsense"]);
    refused(&desk, &["--inventory", "fleet.csv", "--container", "("], &["("]);
    refused(&desk, &["--inventory", "."], &[]);
    // Standard input that has nothing.
    refused(&desk, &["--inventory", "-"], &["standard input"]);
}

#[test]
fn a_release_that_cannot_be_is_refused_with_what_was_meant() {
    let desk = Desk::new();
    desk.file("fleet.csv", FLEET);
    let release = |spec: &str, words: &[&str]| {
        refused(
            &desk,
            &["--inventory", "fleet.csv", "--release", spec],
            &[&[spec], words].concat(),
        );
    };
    release("eror=x5", &["did you mean `errors`"]);
    release("errors=5", &[]);
    release("errors=x0.5", &[]);
    release("errors=xNaN", &[]);
    release("leak=5%", &[]);
    release("errors=x5@stack=cobol", &["stack=cobol"]);
    release("errors=x5@stak=java", &["`stak`", "stack"]);
    release("errors=x5@", &["@label=value"]);
    // Each filter matches somebody, and nobody matches both.
    release("errors=x5@stack=java@app=web", &["together"]);
}

const PACK: &str = "version: 1
pack: pay
owner: team-pay
scope: {app: pay}
freezes:
  - id: audit
    from: 2026-11-22T00:00
    until: 2026-11-23T20:00
    zone: Europe/Berlin
    owner: cfo
    reason: yearly audit
";

#[test]
fn rules_that_cannot_be_used_are_refused_with_line_and_fix() {
    let desk = Desk::new();
    desk.file("fleet.csv", FLEET)
        .file("zone.yaml", PACK.replace("Berlin", "Berln"))
        .file("field.yaml", PACK.replace("reason:", "raeson:"))
        .file("label.yaml", PACK.replace("{app: pay}", "{stak: java}"))
        .file("broken.yaml", "version: [1\n")
        .file("pack.yaml", PACK);
    let rules = |name: &str, words: &[&str]| {
        refused(
            &desk,
            &["--inventory", "fleet.csv", "--rules", name],
            &[&[name], words].concat(),
        );
    };
    rules("zone.yaml", &["9", "Europe/Berln"]);
    rules("field.yaml", &["11", "`raeson`", "`reason`"]);
    rules("label.yaml", &["4", "`stak`", "`stack`"]);
    rules("broken.yaml", &[]);
    rules("absent.yaml", &[]);
    std::fs::create_dir(desk.dir.path().join("nothing")).unwrap();
    rules("nothing", &[".yaml"]);
    // The same pack twice.
    refused(
        &desk,
        &["--inventory", "fleet.csv", "--rules", "pack.yaml", "pack.yaml"],
        &["pack.yaml", "`pay`"],
    );
}

#[test]
fn a_world_that_cannot_be_is_refused_by_its_field() {
    let desk = Desk::new();
    desk.file("typo.json", r#"{"burst_men": 2}"#)
        .file("range.json", r#"{"burst_mean": 0}"#)
        .file("text.json", "my diary")
        .file("later.json", r#"{"version": 2}"#)
        .file("bytes.json", [0xff, 0xfe]);
    let world = |name: &str, words: &[&str]| {
        refused(
            &desk,
            &[&SMALL[..], &["--world", name]].concat(),
            &[&[name], words].concat(),
        );
    };
    world("typo.json", &["`burst_men`", "`burst_mean`"]);
    world("range.json", &["`burst_mean` is 0", "from 1"]);
    world("text.json", &["JSON"]);
    world("later.json", &["version 2"]);
    world("bytes.json", &[]);
    world("absent.json", &[]);
    world(".", &[]);
}

#[test]
fn a_journal_that_is_none_is_refused_and_left_alone() {
    let desk = Desk::new();
    desk.file("diary.txt", "Monday: rain.\n").file("noise.bin", [7; 5_000]);
    for name in ["diary.txt", "noise.bin"] {
        refused(&desk, &[&SMALL[..], &["--journal", name]].concat(), &[name]);
        refused(&desk, &["--dump", "--journal", name], &[name]);
    }
    refused(
        &desk,
        &[&SMALL[..], &["--journal", "no/such/place.redb"]].concat(),
        &["no/such/place.redb"],
    );
    refused(&desk, &[&SMALL[..], &["--journal", "."]].concat(), &[]);
    refused(&desk, &["--dump", "--journal", "absent.redb"], &["absent.redb"]);
}

#[test]
fn a_report_that_cannot_be_written_is_refused_before_anything_happens() {
    let desk = Desk::new();
    refused(
        &desk,
        &[&SMALL[..], &["--journal", "j.redb", "--report", "no/such/place.html"]].concat(),
        &["no/such/place.html"],
    );
}

#[test]
fn a_journal_of_another_change_is_refused_and_left_alone() {
    let desk = Desk::new();
    desk.json(0, &["--journal", "j.redb"]);
    let (records, world) = (dump(&desk, "j.redb"), desk.read("j.redb.world"));
    for (arguments, word) in [
        (["--seed", "2"], "another"),
        (["--level", "3"], "`level`"),
        (["--mode", "cold"], "`mode`"),
        (["--release", "crash"], "another"),
    ] {
        let said = desk.run(&[&SMALL[..], &["--json", "--journal", "j.redb"], &arguments].concat());
        assert_eq!(
            (said.code, said.stdout.as_str()),
            (Some(2), ""),
            "{arguments:?}: {said:?}"
        );
        assert!(
            said.stderr.contains(word) && said.stderr.contains("j.redb"),
            "{arguments:?}: {}",
            said.stderr
        );
        // The database may tidy its file; what it holds stays.
        assert!(
            dump(&desk, "j.redb") == records && desk.read("j.redb.world") == world,
            "{arguments:?}"
        );
    }
    assert_eq!(desk.files().keys().collect::<Vec<_>>(), ["j.redb", "j.redb.world"]);
}

/// The names in the first column of a table of the page, the one whose heading is `field`, after `heading`.
fn documented(heading: &str) -> BTreeSet<String> {
    let after = PAGE.split(heading).nth(1).unwrap();
    let rows = after.lines().skip_while(|line| !line.starts_with("| field")).skip(2);
    let cells = rows
        .take_while(|line| line.starts_with('|'))
        .map(|line| line.split('|').nth(1).unwrap().to_owned());
    cells
        .flat_map(|cell| {
            cell.split('`')
                .skip(1)
                .step_by(2)
                .map(ToOwned::to_owned)
                .collect::<Vec<_>>()
        })
        .collect()
}

fn keys(value: &Value) -> BTreeSet<String> {
    value.as_object().unwrap().keys().cloned().collect()
}

#[test]
fn the_object_has_exactly_the_documented_keys_and_the_documented_types() {
    let desk = Desk::new();
    let value = desk.json(0, &[]);
    let wanted = documented("## The JSON object");
    assert!(wanted.len() > 20, "{wanted:?}");
    assert_eq!(keys(&value), wanted);
    assert_eq!(value["schema"], 1);
    assert_eq!(value["outcome"], "completed");
    assert_eq!(
        (&value["targets"], &value["updated"]),
        (&Value::from(60), &Value::from(60))
    );
    assert_eq!(
        (&value["applications"], &value["failed"]),
        (&Value::from(4), &Value::from(0))
    );
    assert_eq!(
        (&value["level"], &value["mode"]),
        (&Value::from("L4"), &Value::from("warm"))
    );
    assert_eq!(
        (&value["release"], &value["seed"]),
        (&Value::from("good"), &Value::from(1))
    );
    assert_eq!(value["exposed_at_stop"], Value::Null);
    assert_eq!(value["debts"], serde_json::json!([]));
    assert_eq!(
        (&value["proof"], &value["human_actions"]),
        (&Value::from("ok"), &Value::from(0))
    );
    assert_eq!(value["began"], "2026-11-23T08:00:00Z");
    assert!(value["evidence"].as_f64().unwrap() < value["evidence_needed"].as_f64().unwrap());
    assert!(
        value["virtual_seconds"].as_u64().unwrap() > 24 * 3_600,
        "no soak over a day's peak"
    );
    for number in ["rolled_back", "batches", "proof_checks"] {
        assert!(value[number].is_u64(), "{number}: {}", value[number]);
    }
    assert!(value["wall_seconds"].is_f64());
    assert!(value["explanation"].is_string() && value["borrowed"].is_array());
    // With --json, nothing else is left behind.
    assert_eq!(desk.files().len(), 0, "{:?}", desk.files().keys());
}

#[test]
fn the_exit_codes_are_the_documented_ones() {
    let desk = Desk::new();
    assert_eq!(desk.json(0, &["--release", "same"])["outcome"], "completed");

    let crash = desk.json(1, &["--release", "crash"]);
    assert_eq!(crash["outcome"], "rolled_back");
    assert_eq!(crash["updated"], 0);
    assert!(crash["exposed_at_stop"].as_u64().unwrap() >= crash["rolled_back"].as_u64().unwrap());
    assert_eq!(desk.json(1, &["--release", "errors=x30"])["outcome"], "rolled_back");

    let waiting = desk.json(3, &["--release", "errors=x30", "--level", "3", "--operator", "none"]);
    assert_eq!(waiting["outcome"], "waiting");
    assert_eq!(waiting["human_actions"], 0);

    // Somebody who says yes; and a prompt with nobody at it.
    let answered = desk.json(1, &["--release", "errors=x30", "--level", "3"]);
    assert_eq!(
        (&answered["outcome"], &answered["human_actions"]),
        (&Value::from("rolled_back"), &Value::from(1))
    );
    let prompt = desk.json(3, &["--release", "errors=x30", "--level", "3", "--operator", "prompt"]);
    assert_eq!(prompt["outcome"], "waiting");
}

#[test]
fn every_mode_brings_a_good_release_home() {
    let desk = Desk::new();
    for mode in ["cold", "warm"] {
        let value = desk.json(0, &["--mode", mode]);
        assert_eq!(
            (&value["outcome"], &value["mode"]),
            (&Value::from("completed"), &Value::from(mode))
        );
        assert_eq!(value["updated"], 60, "{mode}");
    }
}

#[test]
fn two_runs_of_one_seed_differ_in_wall_time_and_memory_only() {
    let desk = Desk::new();
    let told = |seed: &str| {
        let mut value = desk.json(0, &["--seed", seed]);
        let object = value.as_object_mut().unwrap();
        assert!(object.remove("wall_seconds").is_some() && object.remove("peak_rss_bytes").is_some());
        value
    };
    assert_eq!(told("5"), told("5"));
    assert_ne!(told("5")["virtual_seconds"], told("6")["virtual_seconds"]);
}

#[test]
fn a_wait_is_taken_up_by_the_next_run() {
    let desk = Desk::new();
    let common = [
        "--release",
        "errors=x30",
        "--level",
        "3",
        "--journal",
        "j.redb",
        "--operator",
    ];
    assert_eq!(desk.json(3, &[&common[..], &["none"]].concat())["outcome"], "waiting");
    let second = desk.json(1, &[&common[..], &["simulated"]].concat());
    assert_eq!(
        (&second["outcome"], &second["human_actions"]),
        (&Value::from("rolled_back"), &Value::from(1))
    );
    assert_eq!(second["updated"], 0);
}

fn dump(desk: &Desk, journal: &str) -> Vec<Value> {
    let said = desk.run(&["--dump", "--journal", journal]);
    assert_eq!(said.code, Some(0), "{said:?}");
    said.stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn a_dump_has_every_record_with_its_seven_fields() {
    let desk = Desk::new();
    desk.json(1, &["--release", "crash", "--journal", "j.redb"]);
    let before = desk.files();
    let lines = dump(&desk, "j.redb");
    assert_eq!(desk.read("j.redb.world"), before["j.redb.world"]);
    let mut wanted: BTreeSet<String> = documented("## The dump");
    assert_eq!(wanted.len(), 7, "{wanted:?}");
    assert_eq!(lines.len(), lines.iter().filter(|line| keys(line) == wanted).count());
    wanted.clear();
    for (at, line) in lines.iter().enumerate() {
        assert_eq!(line["seq"], at, "{line}");
        wanted.insert(line["kind"].as_str().unwrap().to_owned());
        if line["kind"] == "intent" {
            let key = line["key"].as_str().unwrap();
            assert_eq!(key.split('/').count(), 4, "{line}");
            assert_eq!(key.split('/').nth(1).unwrap(), line["generation"].to_string(), "{line}");
            assert!(line["target"].is_string() && line["step"].is_string(), "{line}");
        }
    }
    assert_eq!(
        (&lines[0]["kind"], &lines[lines.len() - 1]["kind"]),
        (&Value::from("begin"), &Value::from("end"))
    );
    assert_eq!(lines[lines.len() - 1]["result"], "rolled_back");
    for kind in ["tick", "interval", "version", "begun", "intent", "backward", "finished"] {
        assert!(wanted.contains(kind), "no {kind} among {wanted:?}");
    }
}

/// No order stands twice in the world's memory.
#[track_caller]
fn nothing_twice(desk: &Desk, name: &str) {
    let text = String::from_utf8(desk.read(name)).unwrap();
    let mut seen = BTreeSet::new();
    for line in text.lines().skip(1) {
        let entry: Value = serde_json::from_str(line).unwrap();
        if entry["key"].is_string() {
            let what = format!("{} {} {}", entry["target"], entry["effect"], entry["key"]);
            assert!(seen.insert(what.clone()), "twice: {what}");
        }
    }
    assert!(!seen.is_empty());
}

#[test]
fn killed_at_any_record_it_goes_on_and_comes_home() {
    let desk = Desk::new();
    for at in ["1", "2", "9", "40", "123", "500", "901"] {
        let name = format!("{at}.redb");
        let killed = desk.run(&[&SMALL[..], &["--json", "--journal", &name, "--kill-after", at]].concat());
        assert_eq!(
            (killed.code, killed.stdout.as_str()),
            (None, ""),
            "after {at}: {}",
            killed.stderr
        );
        assert_eq!(dump(&desk, &name).len().to_string(), at);
        let value = desk.json(0, &["--journal", &name]);
        assert_eq!(
            (&value["outcome"], &value["updated"]),
            (&Value::from("completed"), &Value::from(60)),
            "after {at}"
        );
        nothing_twice(&desk, &format!("{name}.world"));
        // Once more: nothing is left to do.
        let (lines, world) = (dump(&desk, &name), desk.read(&format!("{name}.world")));
        let again = desk.json(0, &["--journal", &name]);
        for field in [
            "outcome",
            "updated",
            "virtual_seconds",
            "human_actions",
            "evidence",
            "explanation",
        ] {
            assert_eq!(again[field], value[field], "after {at}: {field}");
        }
        assert!(
            dump(&desk, &name) == lines && desk.read(&format!("{name}.world")) == world,
            "after {at}"
        );
    }
}

#[test]
fn a_dry_run_touches_nothing() {
    let desk = Desk::new();
    desk.file("fleet.csv", FLEET).file("pack.yaml", PACK);
    let said = desk.run(&[
        "--inventory",
        "fleet.csv",
        "--rules",
        "pack.yaml",
        "--dry-run",
        "--json",
        "--journal",
        "j.redb",
    ]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let value = said.last_line();
    let sentence = PAGE
        .split("With `--dry-run`:")
        .nth(1)
        .unwrap()
        .split("\n\n")
        .next()
        .unwrap();
    for key in keys(&value) {
        assert!(sentence.contains(&format!("`{key}`")), "{key} is not documented");
    }
    assert_eq!(
        (&value["dry_run"], &value["outcome"], &value["proof"]),
        (&Value::from(true), &Value::Null, &Value::from("ok"))
    );
    let sizes = value["batch_sizes"].as_array().unwrap();
    assert_eq!(value["batches"], sizes.len());
    assert_eq!(sizes.iter().map(|size| size.as_u64().unwrap()).sum::<u64>(), 4);
    let held = value["held_at_start"].as_array().unwrap();
    assert_eq!(held.len(), 1, "{held:?}");
    assert_eq!(held[0]["lane"], "pay");
    assert!(held[0]["why"].as_str().unwrap().contains("yearly audit"), "{held:?}");
    assert_eq!(desk.files().keys().collect::<Vec<_>>(), ["fleet.csv", "pack.yaml"]);
}

#[test]
fn without_json_it_prints_for_people_and_writes_the_page() {
    let desk = Desk::new();
    let said = desk.run(&SMALL);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(
        said.stdout.contains("completed") && said.stdout.contains("report: report.html"),
        "{}",
        said.stdout
    );
    assert!(!said.stdout.contains('\u{1b}'), "colour without a terminal");
    assert_eq!(desk.files().keys().collect::<Vec<_>>(), ["report.html"]);
    let page = String::from_utf8(desk.read("report.html")).unwrap();
    assert!(page.contains("mesh-1.9.2") && page.trim_end().ends_with("</html>"));

    // Elsewhere, and beside the object.
    let value = desk.json(0, &["--report", "there.html"]);
    assert_eq!(value["outcome"], "completed");
    assert!(desk.files().contains_key("there.html"));
}
