//! The example `rollout` as the shell sees it: exit codes, what it prints where, and what it leaves behind.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failure of a helper is a failed test"
)]

mod beside;
mod browser;
mod desk;
mod events;
mod journal;
mod refused;
#[cfg(target_os = "linux")]
mod unwritten;

use desk::{Desk, PAGE, SMALL, documented, keys};
use refused::{FLEET, PACK};
use serde_json::Value;

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
    // How many run the new version after each stage.
    let mut upto = 0;
    let stages: Vec<u64> = sizes
        .iter()
        .map(|size| {
            upto += size.as_u64().unwrap();
            upto
        })
        .collect();
    assert_eq!(value["stages"], serde_json::json!(stages));
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
