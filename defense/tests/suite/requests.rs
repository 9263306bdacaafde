//! Requests from files: every field read, every slip named with its place and its field.

use unattended_defense::{
    Act, Actor, Approval, Call, Change, ChangeKind, Counts, Decision, Direction, Facts, Guard, Incident, Known, Ledger,
    Need, Neighbour, Other, Phase, Protocol, Reality, Request, Running, Scope, Stage, Step, Value, Verdict, app,
};

const NOON: i64 = 1_795_176_000_000; // 2026-11-20T12:00Z

fn every_field() -> Request {
    let protocol = || Protocol {
        reads: vec!["v1".into(), "v2".into()],
        writes: vec!["v1".into()],
    };
    let mut facts = Facts::new()
        .label("tier", "gold")
        .value("error_rate", NOON, 0.25)
        .value("holiday", NOON, false)
        .value("queue", NOON, 7_i64)
        .value("phase_of_moon", NOON, "full")
        .value("shards", NOON, vec!["a".to_owned(), "b".to_owned()]);
    facts.incidents = Some(Known::at(
        NOON,
        vec![Incident {
            id: "INC-1".into(),
            scope: app("ledger"),
            severity: 2,
        }],
    ));
    facts.approvals = Some(Known::at(
        NOON,
        vec![Approval {
            by: Actor::person("wu", "console"),
            level: 2,
            at_ms: NOON,
            artefact: Some("mesh@sha256:00".into()),
        }],
    ));
    facts.stages = Some(Known::at(
        NOON,
        vec![Stage {
            name: "canary".into(),
            targets: 10,
            done: 9,
            since_ms: Some(NOON - 1),
            covers: Scope::new().label("zone", "a"),
        }],
    ));
    facts.reality = Some(Known::at(
        NOON,
        Reality {
            expected: 5,
            running: vec![Running {
                count: 5,
                version: Some("1.9.2".into()),
                declared: Some("1.9.2".into()),
                ready: true,
                sample: vec!["pod-1".into()],
            }],
            unlisted: vec!["pod-9".into()],
        },
    ));
    facts.neighbours = Some(Known::at(
        NOON,
        vec![Neighbour {
            app: "ledger".into(),
            version: "1.9.1".into(),
            protocol: Some(protocol()),
        }],
    ));
    facts.calls = Some(Known::at(
        NOON,
        vec![Call {
            from: "pay".into(),
            to: "ledger".into(),
        }],
    ));
    facts.ledger = Some(Known::at(
        NOON,
        Ledger {
            since_ms: NOON - 86_400_000,
            acts: vec![Act {
                change: "mesh-1.9.1".into(),
                kind: ChangeKind::Binary,
                direction: Direction::Forward,
                emergency: true,
                scope: app("pay"),
                targets: 3,
                at_ms: NOON - 5,
            }],
        },
    ));
    let change = Change::new("mesh-1.9.2")
        .kind(ChangeKind::Config)
        .direction(Direction::Rollback)
        .author(Actor::person("li", "review 4711"))
        .artefact("registry/mesh@sha256:00")
        .versions("1.9.1", "1.9.2")
        .protocol(protocol())
        .why("a leak")
        .deadline(NOON + 1)
        .made(NOON - 2)
        .started(NOON - 1)
        .emergency();
    Request::post(change)
        .actor(Actor::program("bot", "pipeline 7"))
        .step(Step::Order)
        .scope(app("pay").label("zone", "a").label("zone", "b"))
        .counts(Counts {
            batch: Some(1),
            scope: Some(2),
            in_flight: Some(3),
        })
        .need(Need {
            batch_ms: 600_000,
            rollback_ms: 300_000,
        })
        .facts(facts)
        .others(&[Other::new("tune-7", app("ledger"), NOON - 9)
            .kind(ChangeKind::Config)
            .direction(Direction::Rollback)
            .emergency()
            .in_flight(4)])
}

#[test]
fn a_request_survives_json_and_a_file_with_every_field() {
    let request = every_field();
    let json = serde_json::to_string(&request).expect("plain data");
    assert_eq!(serde_json::from_str::<Request>(&json).expect("its own text"), request);
    assert_eq!(Request::from_text("r.json", &json).expect("JSON is read too"), request);
}

#[test]
fn people_write_instants_lengths_and_single_labels_as_they_like() {
    let text = "
change: {id: mesh-1.9.2, deadline: 2026-11-20T20:00:00+08:00}
phase: post
scope: {app: pay, zone: [b, a]}
need: {batch: 1h30m, rollback: 300000}
facts:
  labels: {tier: gold}
  values: {queue: {at: 2026-11-20T12:00:00Z, value: 7}}
  incidents: {at: 1795176000000, value: []}
";
    let request = Request::from_text("r.yaml", text).expect("valid");
    assert_eq!(request.change.deadline_ms, Some(NOON));
    assert_eq!((request.phase, request.step), (Phase::Post, Step::Batch));
    assert_eq!(request.scope, app("pay").label("zone", "a").label("zone", "b"));
    assert_eq!(
        request.need,
        Need {
            batch_ms: 5_400_000,
            rollback_ms: 300_000
        }
    );
    assert_eq!(request.facts.labels().collect::<Vec<_>>(), [("tier", "gold")]);
    assert_eq!(request.facts.values["queue"], Known::at(NOON, Value::Int(7)));
    assert_eq!(request.facts.incidents, Some(Known::at(NOON, vec![])));
    // Nobody said which changes are in flight: that is not the same as none.
    assert_eq!((request.others, request.facts.approvals), (None, None));
}

#[test]
fn a_slip_is_named_with_file_line_field_and_fix() {
    for (text, expected) in [
        (
            "phase: pre\n",
            "r.yaml:1:1: `change` is missing; fix: add `change: ...`",
        ),
        (
            "change: {id: a}\nscop: {app: x}\n",
            "r.yaml:2:1: `scop`: `scop` is not a field of this kind; fix: did you mean `scope`?",
        ),
        (
            "change:\n  id: a\n  author: {id: li, kind: persom}\n",
            "r.yaml:3:26: `change.author.kind`: `persom` is not known here; fix: did you mean `person`?",
        ),
        (
            "change: {id: a}\nfacts:\n  calls: {at: 1, value: [{from: x, to: y}, {from: x, too: y}]}\n",
            "r.yaml:3:54: `facts.calls.value[1].too`: `too` is not a field of this kind; fix: did you mean `to`?",
        ),
        (
            "change: {id: a, deadline: tomorrow}\n",
            "r.yaml:1:27: `change.deadline`: `tomorrow` is no instant; fix: write 2026-11-22T10:00:00+08:00, \
             2026-11-22T02:00:00Z or 2026-11-22T10:00[Asia/Shanghai]",
        ),
        (
            "change: {id: a}\nneed: {batch: soon}\n",
            "r.yaml:2:15: `need.batch`: the text \"soon\" does not fit here; fix: write a length: 90m, 14h, 1h30m, 2d, or \
             milliseconds",
        ),
        (
            "change: {id: a}\nscope: {app: \"*\"}\n",
            "r.yaml:2:14: `scope.app`: `*` looks like a pattern, and values are compared as they stand; fix: name each value, \
             or leave the label out: then it is unknown",
        ),
        (
            "change: {id: a}\nscope: {app: [\"\", \"pay \"]}\n",
            "r.yaml:2:19: `scope.app[1]`: `pay ` has spaces around it, and values are compared as they stand; fix: name each \
             value, or leave the label out: then it is unknown",
        ),
        (
            "change: {id: a}\nfacts: {incidents: {at: 1, value: [{id: i, severity: 1, scope: {app: \"!a\"}}]}}\n",
            "r.yaml:2:70: `facts.incidents.value[0].scope.app`: `!a` looks like a pattern, and values are compared as they \
             stand; fix: name each value, or leave the label out: then it is unknown",
        ),
        (
            "change: {id: a}\nscope: {zone: 3}\n",
            "r.yaml:2:15: `scope.zone`: this is the number 3, not a text or a list of texts (numbers in quotes); fix: write \
             a text or a list of texts (numbers in quotes)",
        ),
        (
            "change: {id: a}\nfacts: {values: {x: {at: 1, value: .nan}}}\n",
            "r.yaml:2:36: `value: .nan` is no number that can be compared; fix: write a finite number",
        ),
        (
            "change: {id: a}\ncounts: {batch: -1}\n",
            "`counts.batch`: the number -1 does not fit here; fix: write a whole number, not below zero",
        ),
        // A list of its values in their order is no mapping, though serde would take it for one.
        (
            "change: {id: a}\nfacts: {incidents: []}\n",
            "r.yaml:2:20: `facts.incidents`: this is a list, not a mapping; fix: write fields: at, value",
        ),
        (
            "change: {id: a, author: [li, person]}\n",
            "`change.author`: this is a list, not a mapping; fix: write fields: id, kind, via",
        ),
        (
            "change: a\n",
            "`change`: this is a text, not a mapping; fix: write fields: id, kind, direction",
        ),
        (
            "change: {id: \"\"}\n",
            "r.yaml:1:14: `change.id`: an id says nothing; fix: write it",
        ),
        (
            "change: {id: a}\nothers: [{change_id: \" \", scope: {}, started: 1}]\n",
            "r.yaml:2:22: `others[0].change_id`: an id says nothing; fix: write it",
        ),
        (
            "change: {id: a}\nactor: {id: \"\", kind: person}\n",
            "`actor.id`: an id says nothing; fix: write it",
        ),
        ("change: {id: a\n", "not a readable YAML document"),
        ("", "this is nothing, not a mapping; fix: write fields: change, actor"),
    ] {
        let error = Request::from_text("r.yaml", text).expect_err(text).to_string();
        assert!(error.contains(expected), "{text}\n{error}\n{expected}");
        assert!(error.contains("; fix: "), "{error}");
    }
    let missing = Request::load("no/such/file.yaml")
        .expect_err("there is none")
        .to_string();
    assert!(
        missing.starts_with("no/such/file.yaml: cannot read the file"),
        "{missing}"
    );
}

#[test]
fn every_field_enters_the_digest() {
    /// Every way to take one leaf of a tree away or to alter it.
    fn altered(value: &serde_json::Value) -> Vec<serde_json::Value> {
        use serde_json::Value as Json;
        let mut all = Vec::new();
        match value {
            Json::Object(fields) => {
                for (name, inner) in fields {
                    for other in altered(inner) {
                        let mut fields = fields.clone();
                        fields[name] = other;
                        all.push(Json::Object(fields));
                    }
                }
            }
            Json::Array(items) => {
                for (at, inner) in items.iter().enumerate() {
                    for other in altered(inner) {
                        let mut items = items.clone();
                        items[at] = other;
                        all.push(Json::Array(items));
                    }
                }
                all.push(Json::Array(Vec::new()));
            }
            Json::String(text) => {
                for other in ["config", "binary", "forward", "pre", "batch", "person", "program"] {
                    if other != text {
                        all.push(Json::String(other.to_owned()));
                    }
                }
            }
            Json::Number(number) => all.push(Json::from(number.as_i64().map_or(9, |n| n ^ 1))),
            Json::Bool(truth) => all.push(Json::Bool(!truth)),
            Json::Null => {}
        }
        all
    }
    let guard = Guard::empty();
    let digest = |request: &Request| guard.decide(request, NOON).digest;
    let base = every_field();
    let own = digest(&base);
    let mut tried = 0;
    for json in altered(&serde_json::to_value(&base).expect("plain data")) {
        let Ok(request) = serde_json::from_value::<Request>(json) else {
            continue;
        };
        if request != base {
            tried += 1;
            assert_ne!(digest(&request), own, "{request:?}");
        }
    }
    assert!(tried > 100, "{tried}");
}

#[test]
fn a_decision_reads_flat_and_survives_json() {
    let pack = "version: 1\npack: p\nowner: o\nscope: all\nrules: [{id: r, kind: person, reason: too big}]\nfreezes:\n\
                - {id: f, from: 2026-11-20, until: 2026-11-21, zone: UTC, owner: cto, reason: sale}\n";
    let guard = Guard::from_yaml("p.yaml", pack).expect("valid");
    let held = guard.decide(&Request::pre("c").scope(app("a")), NOON);
    let json = serde_json::to_value(&held).expect("plain data");
    assert_eq!(
        json["verdict"].as_str().zip(json["until"].as_i64()),
        Some(("hold", NOON + 43_200_000))
    );
    assert_eq!((json["limit"].is_null(), json["schema"].as_u64()), (true, Some(1)));
    assert_eq!(json["findings"][0]["code"], "freeze.active");
    assert_eq!(json["findings"][0]["verdict"], "hold");
    assert_eq!(json["findings"][0]["input"], json["digest"]);
    assert_eq!(json["findings"][1]["verdict"], "needs_person");
    assert_eq!(serde_json::from_value::<Decision>(json).expect("its own text"), held);
    assert!(!held.findings[0].remedy().is_empty());
    for wrong in [
        r#"{"verdict": "allow", "until": 3}"#,
        r#"{"verdict": "allow_limited"}"#,
        r#"{"verdict": "unknown"}"#,
        r#"{"verdict": "passed"}"#,
        r#"{"verdict": "deny", "limit": 3}"#,
        "{}",
    ] {
        assert!(serde_json::from_str::<Verdict>(wrong).is_err(), "{wrong}");
    }
}

/// The paths of all fields below a value, without the names a user gives.
fn paths(value: &serde_json::Value, at: &str, into: &mut std::collections::BTreeSet<String>) {
    match value {
        serde_json::Value::Object(fields) => {
            for (name, inner) in fields {
                let free = ["scope", "covers", "labels", "values"]
                    .iter()
                    .any(|map| at.ends_with(map));
                let path = if free { at.to_owned() } else { format!("{at}.{name}") };
                into.insert(path.clone());
                paths(inner, &path, into);
            }
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| paths(item, at, into)),
        _ => {}
    }
}

#[test]
fn the_commented_request_has_every_field() {
    let written = Request::load("../docs/request.yaml").expect("the file of the guide");
    let of = |request: &Request| {
        let mut all = std::collections::BTreeSet::new();
        paths(&serde_json::to_value(request).expect("plain data"), "", &mut all);
        all
    };
    // What is at its default is not written again.
    let left_out = ["emergency"];
    let missing: Vec<String> = of(&every_field())
        .difference(&of(&written))
        .filter(|path| !left_out.iter().any(|name| path.ends_with(name)))
        .cloned()
        .collect();
    assert!(missing.is_empty(), "docs/request.yaml does not show {missing:?}");
}
