//! Runs that go on where others ended, and what is dumped of them.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::desk::{Desk, SMALL, documented, dump, keys};

#[test]
fn a_journal_of_another_change_is_refused_and_left_alone() {
    let desk = Desk::new();
    desk.json(0, &["--journal", "j.redb"]);
    let (records, world) = (dump(&desk, "j.redb"), desk.read("j.redb.world"));
    for (arguments, word) in [
        (["--seed", "2"], "another"),
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
    // A level is no part of what a change is: over a change that has ended, another one says nothing.
    assert_eq!(
        desk.json(0, &["--journal", "j.redb", "--level", "3"])["outcome"],
        "completed"
    );
    assert!(dump(&desk, "j.redb") == records && desk.read("j.redb.world") == world);
    assert_eq!(desk.files().keys().collect::<Vec<_>>(), ["j.redb", "j.redb.world"]);
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
fn a_journal_whose_world_is_gone_is_refused() {
    let desk = Desk::new();
    desk.json(0, &["--journal", "j.redb"]);
    let records = dump(&desk, "j.redb");
    std::fs::remove_file(desk.path("j.redb.world")).unwrap();
    let said = desk.run(&[&SMALL[..], &["--json", "--journal", "j.redb"]].concat());
    assert_eq!((said.code, said.stdout.as_str()), (Some(2), ""), "{said:?}");
    for words in ["j.redb.world", "restore that file"] {
        assert!(said.stderr.contains(words), "{}", said.stderr);
    }
    assert!(dump(&desk, "j.redb") == records);
    assert_eq!(desk.files().keys().collect::<Vec<_>>(), ["j.redb"]);
}

#[test]
fn a_world_that_another_journal_has_changed_is_refused() {
    let desk = Desk::new();
    desk.json(0, &["--journal", "j.redb"]);
    let world = desk.read("j.redb.world");
    std::fs::remove_file(desk.path("j.redb")).unwrap();
    let said = desk.run(&[&SMALL[..], &["--json", "--journal", "j.redb"]].concat());
    assert_eq!((said.code, said.stdout.as_str()), (Some(2), ""), "{said:?}");
    for words in ["j.redb.world", "this journal is new", "remove the world"] {
        assert!(said.stderr.contains(words), "{}", said.stderr);
    }
    assert!(desk.read("j.redb.world") == world);
    assert_eq!(desk.files().keys().collect::<Vec<_>>(), ["j.redb.world"]);
}

#[test]
fn a_setting_that_differs_is_named_with_both_values() {
    let desk = Desk::new();
    desk.json(0, &["--journal", "j.redb"]);
    let said = desk.run(&[&SMALL[..], &["--journal", "j.redb", "--on-stop", "freeze"]].concat());
    assert_eq!(said.code, Some(2), "{said:?}");
    for words in ["`on_stop`", "RollBack", "FreezeInPlace", "run with the same arguments"] {
        assert!(said.stderr.contains(words), "{}", said.stderr);
    }
    assert!(said.stderr.len() < 400, "{}", said.stderr);
}

#[test]
fn the_level_at_the_end_is_the_one_in_force() {
    let desk = Desk::new();
    let value = desk.json(0, &["--granted-for", "1m", "--operator", "simulated"]);
    assert_eq!(value["level"], "L2");
}

#[test]
fn a_journal_that_another_program_writes_is_refused_and_the_world_left_alone() {
    let desk = Desk::new();
    let first = desk.json(
        3,
        &[
            "--release",
            "errors=x30",
            "--level",
            "3",
            "--operator",
            "none",
            "--journal",
            "j.redb",
        ],
    );
    assert_eq!(first["outcome"], "waiting");
    let (records, world) = (dump(&desk, "j.redb"), desk.read("j.redb.world"));
    let again = [
        "--json",
        "--release",
        "errors=x30",
        "--level",
        "3",
        "--journal",
        "j.redb",
    ];
    let other = unattended_redb::Redb::open(desk.path("j.redb")).unwrap();
    let said = desk.run(&[&SMALL[..], &again].concat());
    assert_eq!((said.code, said.stdout.as_str()), (Some(2), ""), "{said:?}");
    for words in ["j.redb is in use by another program", "stop that one first"] {
        assert!(said.stderr.contains(words), "{}", said.stderr);
    }
    drop(other);
    assert!(dump(&desk, "j.redb") == records && desk.read("j.redb.world") == world);
    // And it goes on once the other one has ended.
    assert_eq!(desk.run(&[&SMALL[..], &again].concat()).code, Some(1));
}

#[test]
fn a_release_that_cannot_be_taken_back_says_what_a_stop_does_or_does_not_begin() {
    let desk = Desk::new();
    let one_way = ["--release", "errors=x30", "--one-way", "format 2", "--operator", "none"];
    let said = desk.run(&[&SMALL[..], &one_way, &["--json"]].concat());
    assert_eq!((said.code, said.stdout.as_str()), (Some(2), ""), "{said:?}");
    assert!(
        said.stderr.contains("cannot be taken back (format 2)"),
        "{}",
        said.stderr
    );
    let waits = desk.json(3, &[&one_way[..], &["--on-stop", "freeze"]].concat());
    assert_eq!(
        (&waits["outcome"], &waits["rolled_back"]),
        (&Value::from("waiting"), &Value::from(0))
    );
}

#[test]
fn a_journal_that_is_being_written_is_in_use_and_not_damaged() {
    let desk = Desk::new();
    desk.json(0, &["--journal", "j.redb"]);
    let writer = unattended_redb::Redb::open(desk.path("j.redb")).unwrap();
    let said = desk.example("replay", &["j.redb"]);
    assert_eq!((said.code, said.stdout.as_str()), (Some(2), ""), "{said:?}");
    assert!(
        said.stderr.contains("j.redb: it is in use") && said.stderr.contains("end it"),
        "{said:?}"
    );
    assert!(
        !said.stderr.contains("damaged") && !said.stderr.contains("backup"),
        "{said:?}"
    );
    drop(writer);
    assert_eq!(desk.example("replay", &["j.redb"]).code, Some(0));
    // Cut down to less than a head.
    desk.file("cut.redb", &desk.read("j.redb")[..100]);
    let said = desk.example("replay", &["cut.redb"]);
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(
        said.stderr.contains("damaged") && said.stderr.contains("put a backup in its place"),
        "{said:?}"
    );
}

#[test]
fn a_world_that_has_lost_what_the_journal_says_was_done_is_damaged() {
    let desk = Desk::new();
    let killed = desk.run(&[&SMALL[..], &["--json", "--journal", "j.redb", "--kill-after", "901"]].concat());
    assert_eq!(killed.code, None, "{killed:?}");
    let (journal, whole) = (desk.read("j.redb"), desk.read("j.redb.world"));
    let ends: Vec<usize> = (0..whole.len())
        .filter(|at| whole[*at] == b'\n')
        .map(|at| at + 1)
        .collect();
    // Emptied; within its first line, or behind it; in the middle, within a line or behind one.
    for length in [0, 3, ends[0], whole.len() / 2, ends[ends.len() / 2]] {
        desk.file("cut.redb", &journal).file("cut.redb.world", &whole[..length]);
        let said = desk.run(&[&SMALL[..], &["--json", "--journal", "cut.redb"]].concat());
        assert_eq!((said.code, said.stdout.as_str()), (Some(2), ""), "{length}: {said:?}");
        for words in ["cut.redb.world: the world is damaged", "restore that file"] {
            assert!(said.stderr.contains(words), "{length}: {}", said.stderr);
        }
        assert_eq!(desk.read("cut.redb.world"), &whole[..length]);
    }
    // What was cut off while it was written, nobody was told of.
    let torn = [&whole[..], b"{\"t\":99"].concat();
    desk.file("cut.redb", &journal).file("cut.redb.world", torn);
    assert_eq!(desk.json(0, &["--journal", "cut.redb"])["outcome"], "completed");
}
