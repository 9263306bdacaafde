//! Input that cannot be used.

use crate::desk::{Desk, SMALL, refused};

pub(crate) const FLEET: &str = "id,app,zone,stack\np-1,pay,a,java\np-2,pay,b,java\np-3,web,a,go\np-4,web,b,go\n";

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
        .file("long.csv", format!("id,app\np-1,pay\n{},pay\n", "p".repeat(1_025)))
        .file(
            "long.jsonl",
            format!(
                "{{\"id\": \"p-1\", \"app\": \"pay\"}}\n{{\"id\": \"{}\", \"app\": \"pay\"}}\n",
                "p".repeat(1_025)
            ),
        )
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
    inventory("long.csv", &["long.csv:3", "`id`", "1024 bytes", "shorten it"]);
    inventory("long.jsonl", &["long.jsonl:2", "id", "1024 bytes", "shorten it"]);
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

pub(crate) const PACK: &str = "version: 1
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
    std::fs::create_dir(desk.path("nothing")).unwrap();
    rules("nothing", &[".yaml", "name no place of packs"]);
    // Small, and endless once its aliases are followed.
    let levels = "bcdefgh".chars().zip("abcdefg".chars());
    let levels = levels.map(|(name, of)| format!("{name}: &{name} [{}]\n", vec![format!("*{of}"); 9].join(",")));
    desk.file(
        "bomb.yaml",
        format!("a: &a [x,x,x,x,x,x,x,x,x]\n{}", levels.collect::<String>()),
    );
    rules("bomb.yaml", &["aliases"]);
    // The same pack twice.
    refused(
        &desk,
        &["--inventory", "fleet.csv", "--rules", "pack.yaml", "pack.yaml"],
        &["pack.yaml", "`pay`"],
    );
}

#[test]
fn a_pack_for_whom_nobody_is_is_told() {
    let desk = Desk::new();
    let pack = |name: &str, scope: &str| {
        PACK.replace("pack: pay", &format!("pack: {name}"))
            .replace("{app: pay}", scope)
    };
    desk.file("fleet.csv", FLEET)
        .file("app.yaml", pack("a", "{app: [pay, paj]}"))
        .file("stack.yaml", pack("b", "{stack: [haskell]}"))
        .file("pack.yaml", PACK);
    let fleet = ["--inventory", "fleet.csv", "--rules"];
    let odd = [&fleet[..], &["app.yaml", "stack.yaml"]].concat();
    for how in [&["--json", "--dry-run"][..], &["--json"]] {
        let said = desk.run(&[&odd[..], how].concat());
        assert_eq!(said.code, Some(0), "{said:?}");
        let notes: Vec<&str> = said.stderr.lines().filter(|line| line.starts_with("note: ")).collect();
        assert_eq!(notes.len(), 2, "{said:?}");
        for word in [
            "app.yaml:4:20",
            "`app: paj`",
            "no target of the fleet has",
            "did you mean `pay`",
        ] {
            assert!(notes[0].contains(word), "no {word}: {notes:?}");
        }
        assert!(
            notes[1].contains("stack.yaml:4:17") && notes[1].contains("`stack: haskell`"),
            "{notes:?}"
        );
        assert!(!notes[1].contains("did you mean"), "{notes:?}");
    }
    let said = desk.run(&[&fleet[..], &["pack.yaml", "--dry-run"]].concat());
    assert!(!said.stderr.contains("note: "), "{said:?}");
    let timeline = ["--timeline", "2", "--at", "2026-11-22T00:00Z", "--json"];
    let said = desk.example("admit", &[&odd[..], &timeline].concat());
    assert!(said.code == Some(0) && said.stderr.contains("`app: paj`"), "{said:?}");
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
    desk.file("j", "Monday: rain.\n");
    for name in ["diary.txt", "j"] {
        let said = desk.example("replay", &[name]);
        assert_eq!(said.code, Some(2), "{said:?}");
        let named = said.stderr.split([' ', ':']).filter(|word| *word == name);
        assert_eq!(named.count(), 1, "{said:?}");
    }
    std::fs::create_dir(desk.path("folder")).unwrap();
    let said = desk.example("replay", &["folder"]);
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(said.stderr.contains("a directory"), "{said:?}");
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
fn what_begins_nothing_leaves_no_journal_behind() {
    let desk = Desk::new();
    desk.file("fleet.csv", FLEET)
        .file("label.yaml", PACK.replace("{app: pay}", "{stak: java}"))
        .file("mine.yaml", "");
    let arguments = [
        "--inventory",
        "fleet.csv",
        "--rules",
        "label.yaml",
        "--journal",
        "j.redb",
    ];
    refused(&desk, &arguments, &["label.yaml", "`stak`"]);
    assert!(
        !desk.files().keys().any(|name| name.starts_with("j.redb")),
        "{:?}",
        desk.files().keys()
    );
    // A file of somebody's that is empty does not become a journal.
    refused(
        &desk,
        &[&SMALL[..], &["--journal", "mine.yaml"]].concat(),
        &["mine.yaml", "empty"],
    );
    assert!(desk.read("mine.yaml").is_empty());
    refused(
        &desk,
        &[&SMALL[..], &["--budget", "starts-per-day=0"]].concat(),
        &["`starts-per-day=0`", "--level 1"],
    );
}
