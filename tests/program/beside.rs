//! The example `shadow` beside what the autopilot itself has done.

use serde_json::Value;

use crate::desk::Desk;

fn shadow(desk: &Desk, record: &str) -> Value {
    let said = desk.example("shadow", &[record, "--json"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    serde_json::from_str(said.stdout.lines().last().unwrap()).unwrap()
}

#[test]
fn its_own_course_waits_for_next_to_nothing_and_is_mostly_agreed_with() {
    let desk = Desk::new();
    for seed in ["1", "2"] {
        let run = ["--synthetic", "2500x25", "--seed", seed, "--record", "run.jsonl"];
        let said = desk.run(&run);
        assert_eq!(said.code, Some(0), "{said:?}");
        let seen = shadow(&desk, "run.jsonl");
        let (starts, agreed) = (seen["starts"].as_u64().unwrap(), seen["agreed"].as_u64().unwrap());
        assert!(agreed * 2 > starts, "seed {seed}: {agreed} of {starts}");
        let hours = seen["ended_ms"].as_f64().unwrap() / 3_600_000.0;
        let waited = seen["saved"]["hours_of_waiting"].as_f64().unwrap();
        assert!(waited * 10.0 < hours, "seed {seed}: {waited} of {hours}");
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
    let said = desk.example("shadow", &["run.jsonl", "--html", "page.html"]);
    let text = said.stdout;
    assert!(
        text.contains("\nunattended: completed") && text.contains("\nthe autopilot beside it: "),
        "{text}"
    );
    let page = String::from_utf8(desk.read("page.html")).unwrap();
    assert!(page.contains("<b>unattended</b>") && page.contains("<b>The autopilot beside it</b>"));
}
