//! Scenario files, what is wrong in them, what they draw, and which releases they call detectable.

use std::collections::BTreeMap;

use unattended_examples_support::{Failure, Synthetic};
use unattended_simulated::World;

use super::SMALL;
use crate::ground::{Ground, check_labels};
use crate::lots::Lots;
use crate::scenario::Scenario;
use crate::template::Template;
use crate::truth::met;

fn built_in() -> Scenario {
    Scenario::load(None, &World::default()).unwrap()
}

fn refusal(text: &str) -> String {
    match Scenario::parse(text, "own.json", &World::default()) {
        Err(Failure::Input(message)) => message,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_built_in_scenario_has_every_kind_of_release() {
    let scenario = built_in();
    assert!(scenario.bad.len() >= 18, "{}", scenario.bad.len());
    let families = scenario.assign(1_000);
    let good = families.iter().filter(|family| **family < scenario.good.len()).count();
    assert_eq!(good, 500);
    let same = scenario.good.iter().position(|family| family.name == "same").unwrap();
    assert_eq!(families.iter().filter(|family| **family == same).count(), 100);
    for family in 0..scenario.families().count() {
        assert!(families.contains(&family), "{family}");
    }
}

#[test]
fn a_scenario_that_is_wrong_says_where_and_what_to_write() {
    for (from, to, wanted) in [
        (r#""release": "good""#, r#""relase": "good""#, "own.json:2:"),
        (r#""release": "good""#, r#""relase": "good""#, "did you mean `release`?"),
        (r#""schema": 1"#, r#""schema": 2"#, r#"reads "schema": 1"#),
        ("x{4..9}", "x{9..4}", "own.json:3:"),
        (
            "x{4..9}",
            "x{9..4}",
            "must go from a number above 0 to one that is not below it",
        ),
        ("x{4..9}", "{4..9}", "family `errors`: release: "),
        ("x{4..9}", "{4..9}", "write x and a number"),
        ("errors=x{4..9}", "good", "move the family to `good`"),
        (
            r#""release": "good""#,
            r#""release": "crash""#,
            "move the family to `bad`",
        ),
        ("@zone={any}", "@zone={all}", "`{all}` is no place"),
        (
            "@zone={any}",
            "{any}",
            "`{any}` does not stand for the value of a label",
        ),
        (
            r#""name": "errors""#,
            r#""name": "good""#,
            "own.json:3: name: there are two families `good`",
        ),
        (
            r#"{"name": "good", "release": "good"}"#,
            "",
            "own.json:2: good: it has no family",
        ),
        (
            r#""release": "good""#,
            r#""release": "good", "weight": 0"#,
            "weight 0 is not possible; give a number above 0",
        ),
        (
            r#""release": "good""#,
            r#""release": "good", "world": {"incident_per_day": 3}"#,
            "did you mean `incidents_per_day`",
        ),
        (
            r#""release": "good""#,
            r#""release": "good", "world": {"incidents_per_day": "{1..30}"}"#,
            "give a number from 0.0 to 24.0",
        ),
        (
            r#""name": "small","#,
            r#""name": "small", "labels": [{"key": "app", "values": {"x": 1}}],"#,
            "labels: `app` makes no label",
        ),
        (
            r#""name": "small","#,
            r#""name": "small", "labels": [{"key": "k", "values": {"x": 1}}, {"key": "k", "values": {"y": 1}}],"#,
            "labels: `k` stands twice",
        ),
        ("}]}", "}]", "own.json:3:"),
    ] {
        assert!(SMALL.contains(from), "{from}");
        let message = refusal(&SMALL.replacen(from, to, 1));
        assert!(message.contains(wanted), "{to}: {message}");
    }
}

#[test]
fn what_is_no_scenario_says_where_and_what_to_write() {
    for (text, wanted) in [
        ("", "own.json:1:0: the file is empty; write {\"schema\": 1"),
        (
            "{",
            "own.json:1:1: the file ends before it is complete; close every \", ] and }",
        ),
        (
            "\n[]",
            "own.json:2: a scenario is an object, and this is a list; write {\"schema\": 1",
        ),
        ("[1, \"x\", 0.5, [], [], []]", "this is a list"),
        ("null", "this is null"),
        ("{}", "missing field `schema`; add \"schema\""),
        (
            "{\"schema\": 1,}",
            "own.json:1:14: this is no JSON: trailing comma; remove the comma",
        ),
        (
            "{\"schema\": 1} x",
            "this is no JSON: trailing characters; remove what stands after",
        ),
        ("{schema: 1}", "put names in double quotes"),
        ("{\n\"schema\": 1 // mine\n}", "own.json:2:"),
    ] {
        let message = refusal(text);
        assert!(message.contains(wanted), "{text}: {message}");
    }
    for (from, to, wanted) in [
        (
            r#""schema": 1"#,
            r#""schema": "1""#,
            "schema: this is the text \"1\"; give a whole number",
        ),
        (
            r#""schema": 1"#,
            r#""schema": 1, "schema": 1"#,
            "`schema` stands twice; remove one",
        ),
        (
            r#""schema": 1"#,
            r#""schema": 1, "bad_share": "half""#,
            "bad_share: this is the text \"half\"; give a number",
        ),
        (
            r#""schema": 1"#,
            r#""schema": 1, "bad_share": 50"#,
            "bad_share: share 50 is not possible; give a number from 0 to 1",
        ),
        (
            r#""schema": 1"#,
            r#""schema": 1, "labels": {}"#,
            "labels: this is an object; give a list",
        ),
        (
            r#""schema": 1"#,
            r#""schema": 1, "labels": ["k"]"#,
            "own.json:1: labels: each label is an object, and number 1 is a text",
        ),
        (
            r#"{"name": "good", "release": "good"}"#,
            r#"["good", 1]"#,
            "own.json:2: good: each family is an object, and number 1 is a list",
        ),
        (
            r#""release": "good""#,
            r#""release": 3"#,
            "own.json:2:39: release: this is 3; give a text in double quotes",
        ),
        (
            r#""release": "good""#,
            r#""releases": "good""#,
            "(did you mean `release`?); remove it or correct its name",
        ),
        (r#", "release": "good""#, "", "own.json:2:"),
        (
            r#", "release": "good""#,
            "",
            "missing field `release`; add \"release\" to what ends here",
        ),
        (
            r#""release": "good""#,
            r#""release": "good", "world": 3"#,
            "world: this is 3; give an object",
        ),
        (
            r#""release": "good""#,
            r#""release": "good", "world": {"telemetry_loss": "a lot"}"#,
            "telemetry_loss: \"a lot\" is no number; give one, or two between which it is drawn, as in \"{1..6}\"",
        ),
        (
            r#""release": "good""#,
            r#""release": "good", "world": {"telemetry_loss": "{9..1}"}"#,
            "telemetry_loss: `{9..1}`: `{9..1}` must go from",
        ),
        (
            r#""release": "good""#,
            r#""release": "good", "world": {"telemetry_loss": 0.1, "telemetry_loss": 0.2}"#,
            "`telemetry_loss` stands twice; remove one of them",
        ),
        (
            r#""schema": 1"#,
            r#""schema": 1, "labels": [{"key": "k", "values": {"a": 1, "a": 2}}]"#,
            "`a` stands twice",
        ),
        (
            r#""release": "good""#,
            r#""release": "good", "world": {"telemetry_loss": true}"#,
            "telemetry_loss: true is no number",
        ),
    ] {
        assert!(SMALL.contains(from), "{from}");
        let message = refusal(&SMALL.replacen(from, to, 1));
        assert!(
            message.starts_with("own.json:") && message.contains(wanted),
            "{to}: {message}"
        );
    }
}

#[test]
fn a_label_that_fleets_have_is_refused() {
    for (key, wanted) in [
        (
            "stack",
            Some("own.json:2: labels: every target has a `stack` of its own already, as it has business, region"),
        ),
        ("zone", Some("own.json:2: labels: every target has a `zone`")),
        ("kernel", None),
    ] {
        let label = format!("\"name\": \"small\",\n\"labels\": [{{\"key\": \"{key}\", \"values\": {{\"a\": 1}}}}],");
        let text = SMALL.replacen("\"name\": \"small\",", &label, 1);
        let scenario = Scenario::parse(&text, "own.json", &World::default()).unwrap();
        let found = check_labels(&scenario, Synthetic::parse("20x2").unwrap(), 1);
        match (found, wanted) {
            (Ok(()), None) => {}
            (Err(Failure::Input(message)), Some(wanted)) => {
                assert!(
                    message.contains(wanted) && message.contains("choose another key"),
                    "{message}"
                );
            }
            (found, _) => panic!("{key}: {found:?}"),
        }
    }
}

#[test]
fn a_rare_value_that_a_release_names_is_somebodys() {
    let labels = r#""labels": [{"key": "rare", "values": {"no": 1000, "yes": 1, "never": 1}}], "bad": [{"name": "rare", "release": "crash@rare=yes"},"#;
    let scenario = Scenario::parse(&SMALL.replacen(r#""bad": ["#, labels, 1), "own.json", &World::default()).unwrap();
    let apps: Vec<String> = (0..8).map(|app| format!("app-{app}")).collect();
    for seed in 0..50 {
        let of = |apps: &[String]| {
            let apps = apps.iter().map(String::as_str).collect();
            let values = scenario.values(&scenario.labels[0], &apps, seed);
            values
                .into_iter()
                .map(|(app, value)| (app.to_owned(), value.to_owned()))
                .collect::<BTreeMap<_, _>>()
        };
        let values = of(&apps);
        let having = |value: &str| values.values().filter(|of| *of == value).count();
        assert!(
            having("yes") == 1 && having("never") == 0 && having("no") == 7,
            "{values:?}"
        );
        assert_eq!(values, of(&apps));
        // One application has one value.
        assert_eq!(of(&apps[..1]).len(), 1);
    }
    let names = |text: &str, value: &str| Template::try_from(text.to_owned()).unwrap().names("rare", value);
    assert!(names("errors=x{2..3}@rare=yes", "yes") && names("crash@rare=yes@stack={any}", "yes"));
    assert!(!names("crash@rare=yesterday", "yes") && !names("crash@rarer=yes", "yes") && !names("crash", "yes"));
}

#[test]
fn templates_draw_between_their_bounds() {
    let template = Template::try_from("late={10..360}m:errors=x{1.5..3}@stack={any}".to_owned()).unwrap();
    assert_eq!(template.labels(), ["stack"]);
    let value = |label: &str| format!("my-{label}");
    let ends = template.extremes(value);
    assert_eq!(
        ends,
        [
            "late=10m:errors=x1.5@stack=my-stack",
            "late=360m:errors=x3@stack=my-stack"
        ]
    );
    let mut minutes: Vec<u32> = (0..400)
        .map(|seed| {
            let text = template.fill(&mut Lots::of(&[seed]), value);
            text.strip_prefix("late=")
                .and_then(|rest| rest.split('m').next())
                .unwrap()
                .parse()
                .unwrap()
        })
        .collect();
    minutes.sort_unstable();
    assert!(minutes[0] >= 10 && minutes[399] <= 360);
    // Log-uniform: half lie below the geometric mean, 60.
    assert!((45..80).contains(&minutes[200]), "{}", minutes[200]);
}

#[test]
fn values_of_labels_come_together_as_the_fleet_has_them() {
    let text = SMALL.replacen("@zone={any}", "@zone={any}@stack={any}", 1);
    let scenario = Scenario::parse(&text, "own.json", &World::default()).unwrap();
    let kinds: Vec<BTreeMap<&str, &str>> = [("a", "java"), ("b", "go")]
        .map(|(zone, stack)| BTreeMap::from([("zone", zone), ("stack", stack)]))
        .to_vec();
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..40 {
        let lot = scenario.draw(1, seed, &World::default(), &kinds).unwrap();
        let text = lot.release.to_string();
        seen.insert(text.split_once('@').unwrap().1.to_owned());
    }
    assert_eq!(
        seen.into_iter().collect::<Vec<_>>(),
        ["zone=a@stack=java", "zone=b@stack=go"]
    );
    let none = scenario.draw(1, 1, &World::default(), &[BTreeMap::from([("zone", "a")])]);
    assert!(
        matches!(none, Err(Failure::Input(message)) if message.contains("no target of the fleet has the labels zone and stack"))
    );
}

#[test]
fn a_release_that_a_fleet_has_nobody_for_is_named_by_its_line() {
    let kinds = [BTreeMap::from([("zone", "a"), ("stack", "java")])];
    for (filters, wanted) in [
        (
            "@zone=b",
            "own.json:3: family `errors`: release: no target of one of the fleets has zone=b; write {any}",
        ),
        (
            "@zone=a@stack=go",
            "own.json:3: family `errors`: release: no target of one of the fleets has zone=a and stack=go",
        ),
        (
            "@planet={any}",
            "own.json:3: family `errors`: release: no target of the fleet has the labels planet",
        ),
        ("@zone={any}", ""),
    ] {
        let text = SMALL.replacen("@zone={any}", filters, 1);
        let scenario = Scenario::parse(&text, "own.json", &World::default()).unwrap();
        assert_eq!(
            scenario.names_values(1),
            filters.contains("=b") || filters.contains("go")
        );
        assert!(!scenario.names_values(0));
        match scenario.draw(1, 5, &World::default(), &kinds) {
            Ok(_) => assert_eq!(wanted, "", "{filters}"),
            Err(Failure::Input(message)) => assert!(message.contains(wanted) && !wanted.is_empty(), "{message}"),
            Err(other) => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_release_is_detectable_by_what_it_does_and_by_when() {
    // By hand: halves, ratio 3: K = 0.75 ln 1.5 + 0.25 ln 0.5 = 0.130812, sd = sqrt(0.75 * 0.25) ln 3 = 0.475713,
    // L = ln 100 + ln 6 = 6.396930, z = 1.281552: ((0.609651 + sqrt(0.371674 + 3.347180)) / 0.261624)^2 = 94.11 events, of which half
    // are excess.
    assert!(
        (met(100.0, 200.0) - 200.0 / 47.06).abs() < 0.005,
        "{}",
        met(100.0, 200.0)
    );
    assert!(met(10.0, 0.0).abs() < 1e-12 && met(0.0, 30.0) > 2.0 && met(0.0, 10.0) < 2.0);
    let label = |release: &str, synthetic: &str| {
        let text = SMALL.replacen("errors=x{4..9}@zone={any}", release, 1);
        let scenario = Scenario::parse(&text, "own.json", &World::default()).unwrap();
        let fleet = Synthetic::parse(synthetic).unwrap();
        Ground::new(&scenario, fleet, 1, &World::default(), 5)
            .unwrap()
            .detectable
    };
    assert!(label("errors=x3", "3000x20"));
    assert!(!label("errors=x1", "3000x20"));
    assert!(!label("errors=x1.001", "3000x20"));
    assert!(label("late=6h:errors=x9", "3000x20"));
    assert!(!label("late=7h:errors=x9", "3000x20"));
    assert!(label("leak=9%/h", "3000x20"));
    assert!(!label("leak=8%/h", "3000x20"));
    assert!(label("crash", "3000x20"));
    assert!(label("unready", "3000x20"));
    assert!(!label("one-way", "3000x20") && !label("mute=100%", "3000x20"));
    assert!(label("dependency=x9", "3000x20"));
    // Of a single target there is not enough.
    assert!(!label("errors=x1.5", "1x1"));
}
