//! Files that cannot be written: what watches a change neither stops it nor hides how it ended.

use crate::desk::{Desk, SMALL, refused};

/// A device on which there is never any room.
const FULL: &str = "/dev/full";
/// A folder that is there, and in which not even the administrator makes files.
const NOBODYS: &str = "/proc/none-of-these";

#[test]
fn what_watches_a_change_does_not_stop_it_nor_hide_how_it_ended() {
    for (watcher, bad) in [("--events", false), ("--report", true), ("--record", true)] {
        let desk = Desk::new();
        let (release, code, outcome) = if bad {
            ("crash", 1, "rolled_back")
        } else {
            ("good", 0, "completed")
        };
        let said = desk.run(&[&SMALL[..], &["--json", "--release", release, watcher, FULL]].concat());
        assert_eq!(said.code, Some(code), "{watcher}: {said:?}");
        assert_eq!(said.last_line()["outcome"], outcome, "{watcher}");
        for word in [FULL, watcher, "No space left on device", "make room there"] {
            assert!(said.stderr.contains(word), "{watcher}: no `{word}`: {said:?}");
        }
        assert_eq!(
            said.stderr.matches("cannot be written").count(),
            1,
            "{watcher}: {said:?}"
        );
        assert!(!said.stderr.contains("internal fault"), "{watcher}: {said:?}");
    }
}

#[test]
fn for_people_the_report_that_is_not_there_is_not_named_as_one() {
    let desk = Desk::new();
    let said = desk.run(&[&SMALL[..], &["--report", FULL]].concat());
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(
        said.stdout.contains("completed") && !said.stdout.contains("report:"),
        "{said:?}"
    );
}

#[test]
fn a_place_where_nothing_can_be_made_is_refused_before_anything_happens() {
    let desk = Desk::new();
    for (watcher, journal) in [
        ("--report", &["--journal", "j.redb"][..]),
        ("--events", &["--journal", "j.redb"]),
        ("--record", &[]),
    ] {
        for place in [NOBODYS, "."] {
            let all = [&SMALL[..], &["--json", watcher, place], journal].concat();
            refused(&desk, &all, &[place, "cannot be written", "name a"]);
        }
    }
    // What was there of another run stays where nothing begins.
    desk.file("e.jsonl", "{}\n").file("mine.yaml", "");
    let all = [&SMALL[..], &["--events", "e.jsonl", "--journal", "mine.yaml"]].concat();
    refused(&desk, &all, &["mine.yaml"]);
}

#[test]
fn standard_output_without_room_is_named_and_no_fault_of_the_program() {
    let desk = Desk::new();
    for (arguments, code) in [
        (&["--json", "--release", "crash"][..], 1),
        (&["--json"], 0),
        (&["--dry-run"], 2),
    ] {
        let said = desk.run_to_full("rollout", &[&SMALL[..], arguments].concat());
        assert_eq!(said.code, Some(code), "{said:?}");
        for word in ["standard output cannot be written", "No space left", "make room"] {
            assert!(said.stderr.contains(word), "{said:?}");
        }
        assert!(!said.stderr.contains("internal fault"), "{said:?}");
    }
}

#[test]
fn a_journal_without_room_is_named_with_what_to_do_and_the_change_goes_on_later() {
    let desk = Desk::new();
    let all = [&SMALL[..], &["--json", "--journal", "j.redb"]].concat();
    let said = desk.run_with_little_room(1_600, &all);
    assert_eq!((said.code, said.stdout.as_str()), (Some(3), ""), "{said:?}");
    for word in ["j.redb", "File too large", "run this again with the same --journal"] {
        assert!(said.stderr.contains(word), "no `{word}`: {said:?}");
    }
    assert!(!said.stderr.contains("internal fault"), "{said:?}");
    assert_eq!(desk.json(0, &["--journal", "j.redb"])["outcome"], "completed");
}
