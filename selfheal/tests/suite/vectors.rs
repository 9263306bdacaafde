//! Envoy's and gRPC's own test cases, and what neither of them should do, from data files.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a data file that cannot be read is a failed test"
)]

#[path = "../../../examples/outliers/play.rs"]
mod play;
#[path = "../../../examples/outliers/scenario.rs"]
mod scenario;

use serde_json::Value;

use play::play;
use scenario::Scenario;

/// Every key of `wanted` is in `found`, with its value. Numbers within rounding.
fn matches(found: &Value, wanted: &Value) -> bool {
    match (found, wanted) {
        (Value::Object(found), Value::Object(wanted)) => wanted
            .iter()
            .all(|(key, wanted)| found.get(key).is_some_and(|found| matches(found, wanted))),
        (Value::Array(found), Value::Array(wanted)) => {
            found.len() == wanted.len() && found.iter().zip(wanted).all(|(found, wanted)| matches(found, wanted))
        }
        (Value::Number(found), Value::Number(wanted)) => {
            let (found, wanted) = (found.as_f64().unwrap(), wanted.as_f64().unwrap());
            (found - wanted).abs() <= 0.05_f64.min(wanted.abs() * 1e-2).max(1e-9)
        }
        (found, wanted) => found == wanted,
    }
}

fn each(file: &str, least: usize, check: impl Fn(&Value, Vec<Value>, Value)) {
    let path = format!("{}/tests/data/{file}.json", env!("CARGO_MANIFEST_DIR"));
    let data: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let vectors = data["vectors"].as_array().unwrap();
    assert!(vectors.len() >= least, "{file}: only {} vectors", vectors.len());
    for vector in vectors {
        let scenario =
            Scenario::parse(vector["scenario"].clone()).unwrap_or_else(|error| panic!("{}: {error}", vector["id"]));
        let (lines, state) = play(&scenario).unwrap();
        let lines = lines.iter().map(|line| serde_json::to_value(line).unwrap()).collect();
        check(vector, lines, serde_json::to_value(state).unwrap());
    }
}

fn compare(vector: &Value, lines: Vec<Value>, state: Value) {
    let name = format!("{} {}", vector["id"], vector["from"]);
    let found = Value::Array(lines);
    assert!(matches(&found, &vector["actions"]), "{name}: {found:#}");
    if let Some(wanted) = vector.get("final") {
        assert!(matches(&state, wanted), "{name}: {state:#}");
        // No host too many either.
        if wanted
            .get("hosts")
            .is_some_and(|hosts| hosts.as_object().unwrap().is_empty())
        {
            assert!(state["hosts"].as_object().unwrap().is_empty(), "{name}");
        }
    }
}

#[test]
fn envoy() {
    each("envoy", 43, compare);
}

#[test]
fn grpc_a50() {
    each("grpc_a50", 35, compare);
}

#[test]
fn native_does_not_repeat_their_mistakes() {
    each("native", 5, |vector, lines, state| {
        let mut ejected: Vec<&Value> = lines
            .iter()
            .filter(|line| line["action"] == "eject")
            .map(|line| &line["host"])
            .collect();
        ejected.dedup();
        let wanted: Vec<&Value> = vector["ejected"].as_array().unwrap().iter().collect();
        assert_eq!(ejected, wanted, "{}: {lines:#?}", vector["id"]);
        if let Some(wanted) = vector.get("final") {
            assert!(matches(&state, wanted), "{}: {state:#}", vector["id"]);
        }
    });
}
