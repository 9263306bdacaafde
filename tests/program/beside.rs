//! The example `shadow` beside what the autopilot itself has done.

use serde_json::Value;

use crate::desk::Desk;

#[test]
fn its_own_course_waits_for_next_to_nothing_and_is_mostly_agreed_with() {
    let desk = Desk::new();
    let frozen = "version: 1\npack: p\nowner: o\nscope: all\nfreezes:\n  - {id: f, from: 2026-11-23T12:00, until: 2026-11-24T18:00, zone: UTC, owner: o, \
                  reason: r}\n";
    desk.file("rules.yaml", frozen);
    // Of the share that is agreed with, at least so many hundredths.
    for (seed, rules, least) in [("1", false, 70), ("2", false, 70), ("3", true, 95)] {
        let with = if rules {
            vec!["--rules", "rules.yaml"]
        } else {
            Vec::new()
        };
        let run = [
            vec!["--synthetic", "2500x25", "--seed", seed, "--record", "run.jsonl"],
            with.clone(),
        ]
        .concat();
        let said = desk.run(&run);
        assert_eq!(said.code, Some(0), "{said:?}");
        let said = desk.example("shadow", &[vec!["run.jsonl", "--json"], with].concat());
        assert_eq!(said.code, Some(0), "{said:?}");
        let seen: Value = serde_json::from_str(said.stdout.lines().last().unwrap()).unwrap();
        let (starts, agreed) = (seen["starts"].as_u64().unwrap(), seen["agreed"].as_u64().unwrap());
        assert!(agreed * 100 >= starts * least, "seed {seed}: {agreed} of {starts}");
        let hours = seen["ended_ms"].as_f64().unwrap() / 3_600_000.0;
        let waited = seen["saved"]["hours_of_waiting"].as_f64().unwrap();
        assert!(waited * 8.0 < hours, "seed {seed}: {waited} of {hours}");
        std::fs::remove_file(desk.path("run.jsonl")).unwrap();
    }
}

#[test]
fn what_cannot_be_read_or_written_says_what_helps() {
    let desk = Desk::new();
    let refused = |arguments: &[&str], words: [&str; 2]| {
        let said = desk.example("shadow", arguments);
        assert_eq!(said.code, Some(2), "{said:?}");
        for word in words {
            assert!(said.stderr.contains(word), "{word}: {said:?}");
        }
    };
    refused(&["none.jsonl"], ["none.jsonl", "give the file of a recorded change"]);
    std::fs::create_dir(desk.path("runs")).unwrap();
    refused(&["runs"], ["runs", "give a file in it"]);
    let said = desk.run(&["--synthetic", "60x4", "--record", "run.jsonl"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    refused(
        &["run.jsonl", "--html", "none/page.html"],
        ["none/page.html", "a folder that is there"],
    );
    // A record that somebody is writing, or had no room for, breaks off amid a line.
    let whole = desk.read("run.jsonl");
    desk.file("cut.jsonl", &whole[..whole.len() / 2]);
    let said = desk.example("shadow", &["cut.jsonl"]);
    assert!(said.code == Some(0) && said.stdout.contains("breaks off"), "{said:?}");
    let said = desk.example("shadow", &["run.jsonl", "--html", "page.html"]);
    let text = said.stdout;
    assert!(
        text.contains("\nunattended: completed") && text.contains("\nthe autopilot beside it: "),
        "{text}"
    );
    let page = String::from_utf8(desk.read("page.html")).unwrap();
    assert!(page.contains("<b>unattended</b>") && page.contains("<b>The autopilot beside it</b>"));
}
