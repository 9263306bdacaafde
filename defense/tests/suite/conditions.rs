//! Conditions: what they answer, what they answer when nobody knows, and every way to write them wrong.

use unattended_defense::{Change, Code, Decision, Facts, Guard, Request, UnknownReason, Verdict, app};

/// Monday, 2026-11-02T00:00Z.
const MONDAY: i64 = 1_793_577_600_000;
const MINUTE: i64 = 60_000;

fn pack(condition: &str, then: &str) -> String {
    format!(
        "version: 1\npack: p\nowner: o\nscope: all\nfacts:\n  risk: {{type: number, max_age: 10m}}\n  green: bool\n  team: text\n  flags: list\nrules:\n- id: r\n  kind: condition\n  reason: because\n  if: {condition}\n  then: {then}\n"
    )
}

fn decide(condition: &str, then: &str, request: &Request) -> Decision {
    let guard = Guard::from_yaml("p.yaml", pack(condition, then)).expect("a sound pack");
    guard.decide(request, MONDAY)
}

fn request(facts: Facts) -> Request {
    let mut change = Change::new("c");
    change.emergency = true;
    Request::pre(change).scope(app("a").label("tier", "gold")).facts(facts)
}

fn facts() -> Facts {
    Facts::new()
        .value("risk", MONDAY - MINUTE, 0.9)
        .value("green", MONDAY, false)
        .value("team", MONDAY, "payments")
        .value("flags", MONDAY, vec!["beta".to_owned()])
}

#[track_caller]
fn holds(condition: &str, expected: bool) {
    let wanted = if expected { Verdict::Deny } else { Verdict::Allow };
    let decision = decide(condition, "deny", &request(facts()));
    assert_eq!(decision.verdict, wanted, "{condition}: {}", decision.why());
}

/// Whether nobody can tell, and why.
#[track_caller]
fn open(condition: &str, request: &Request, reason: UnknownReason) {
    let decision = decide(condition, "{allow_limited: 5}", request);
    assert_eq!(
        decision.verdict,
        Verdict::NeedsPerson,
        "{condition}: {}",
        decision.why()
    );
    assert_eq!(decision.findings[0].code, Code::ConditionUnknown);
    assert_eq!(decision.findings[0].unknown, Some(reason), "{condition}");
}

#[test]
fn comparisons_of_every_type() {
    for (condition, expected) in [
        ("{fact: risk, above: 0.9}", false),
        ("{fact: risk, at_least: 0.9}", true),
        ("{fact: risk, below: 0.9}", false),
        ("{fact: risk, at_most: 0.9}", true),
        ("{fact: risk, is: 0.9}", true),
        ("{fact: risk, is_not: 0.9}", false),
        ("{fact: green, is: false}", true),
        ("{fact: team, is: payments}", true),
        ("{fact: team, is_not: payments}", false),
        ("{fact: team, in: [loans, payments]}", true),
        ("{fact: team, not_in: [loans]}", true),
        ("{fact: team, starts_with: pay}", true),
        ("{fact: flags, contains: beta}", true),
        ("{fact: flags, contains: bet}", false),
        ("{fact: change.emergency, is: true}", true),
        ("{fact: change.direction, is: rollback}", false),
        ("{fact: change.kind, in: [binary, config]}", true),
        ("{fact: phase, is: pre}", true),
        ("{label: tier, is: gold}", true),
        ("{label: tier, not_in: [gold, lead]}", false),
        ("{all: [{fact: green, is: false}, {label: tier, is: gold}]}", true),
        ("{all: [{fact: green, is: true}, {label: tier, is: gold}]}", false),
        ("{any: [{fact: green, is: true}, {label: tier, is: gold}]}", true),
        ("{not: {any: [{fact: green, is: true}, {label: tier, is: lead}]}}", true),
    ] {
        holds(condition, expected);
    }
}

#[test]
fn an_answer_names_the_clauses_and_what_they_saw() {
    let condition = "{all: [{fact: risk, above: 0.5}, {any: [{fact: green, is: true}, {label: tier, is: gold}]}]}";
    let decision = decide(condition, "{allow_limited: 5}", &request(facts()));
    assert_eq!(decision.verdict, Verdict::AllowLimited(5));
    let finding = &decision.findings[0];
    assert_eq!(
        finding.params["because"],
        "risk above 0.5 (it is 0.9) and label tier is gold (it is gold)"
    );
    assert_eq!(
        finding
            .evidence
            .iter()
            .map(|e| (e.fact.as_str(), e.seen.as_str()))
            .collect::<Vec<_>>(),
        [("facts.green", "false"), ("facts.risk", "0.9")]
    );
    for (word, verdict) in [
        ("needs_person", Verdict::NeedsPerson),
        ("hold", Verdict::Hold { until: None }),
        ("deny", Verdict::Deny),
    ] {
        assert_eq!(decide(condition, word, &request(facts())).verdict, verdict);
    }
}

#[test]
fn what_nobody_knows_neither_passes_nor_decides() {
    let risky = "{fact: risk, above: 0.5}";
    open(risky, &request(Facts::new()), UnknownReason::MissingFact);
    let seen = |at: i64| request(Facts::new().value("risk", at, 0.1));
    assert_eq!(
        decide(risky, "deny", &seen(MONDAY - 10 * MINUTE)).verdict,
        Verdict::Allow
    );
    open(risky, &seen(MONDAY - 10 * MINUTE - 1), UnknownReason::StaleFact);
    // Two clocks may differ by a minute.
    assert_eq!(decide(risky, "deny", &seen(MONDAY + MINUTE)).verdict, Verdict::Allow);
    open(risky, &seen(MONDAY + MINUTE + 1), UnknownReason::FutureFact);
    for wrong in [f64::NAN, f64::INFINITY] {
        open(
            risky,
            &request(Facts::new().value("risk", MONDAY, wrong)),
            UnknownReason::Unreadable,
        );
    }
    open(
        risky,
        &request(Facts::new().value("risk", MONDAY, "low")),
        UnknownReason::Unreadable,
    );
    open(
        "{fact: counts.batch, above: 5}",
        &request(facts()),
        UnknownReason::MissingFact,
    );
    open("{label: zone, is: a}", &request(facts()), UnknownReason::MissingLabel);
    // Not to know is its own opposite.
    open(
        "{not: {label: zone, is: a}}",
        &request(facts()),
        UnknownReason::MissingLabel,
    );
    let mixed = request(facts()).scope(app("a").label("zone", "a").label("zone", "b"));
    open("{label: zone, is: a}", &mixed, UnknownReason::MixedLabels);
    assert_eq!(
        decide("{label: zone, in: [a, b]}", "deny", &mixed).verdict,
        Verdict::Deny
    );
    // What decides by itself decides, whatever else is open.
    holds("{any: [{label: zone, is: a}, {fact: green, is: false}]}", true);
    holds("{all: [{label: zone, is: a}, {fact: green, is: true}]}", false);
    open(
        "{all: [{label: zone, is: a}, {fact: green, is: false}]}",
        &request(facts()),
        UnknownReason::MissingLabel,
    );
}

#[track_caller]
fn wrong(condition: &str, then: &str, column: u64, what: &str, fix: &str) {
    let errors = Guard::from_yaml("p.yaml", pack(condition, then)).expect_err("the condition has a fault");
    assert_eq!(errors.len(), 1, "{errors}");
    let line = if what.contains("then") || what.contains("targets") {
        15
    } else {
        14
    };
    assert_eq!((errors[0].line, errors[0].column), (line, column), "{errors}");
    assert!(errors[0].what.contains(what) && errors[0].fix.contains(fix), "{errors}");
}

#[test]
fn conditions_are_type_checked_when_they_are_loaded() {
    for (condition, column, what, fix) in [
        (
            "{fact: rusk, above: 0.5}",
            14,
            "nobody declares a fact `rusk`",
            "did you mean `risk`?",
        ),
        (
            "{fact: latency, above: 0.5}",
            14,
            "nobody declares",
            "facts: {latency: number}",
        ),
        (
            "{fact: change.emergncy, is: true}",
            14,
            "nobody declares",
            "`change.emergency`?",
        ),
        (
            "{fact: risk, above: high}",
            27,
            "`risk` is a number, and this is a text",
            "finite",
        ),
        (
            "{fact: risk, above: .inf}",
            27,
            "is no number that can be compared",
            "finite",
        ),
        (
            "{fact: risk, contains: 1}",
            20,
            "`risk` is a number, and knows no `contains`",
            "above",
        ),
        ("{fact: risk, abov: 1}", 20, "knows no `abov`", "did you mean `above`?"),
        (
            "{fact: green, is: \"true\"}",
            25,
            "`green` is a boolean, and this is a text",
            "without quotes",
        ),
        (
            "{fact: team, is: 5}",
            24,
            "compared with texts, and this is a number",
            "quotes",
        ),
        ("{fact: team, in: payments}", 24, "looked for in a text", "list"),
        (
            "{fact: change.kind, is: binry}",
            31,
            "`change.kind` is never `binry`",
            "`binary`?",
        ),
        ("{fact: risk}", 8, "compared with nothing", "above"),
        (
            "{fact: change.to, is: '1.9.*'}",
            8,
            "`1.9.*` looks like a pattern",
            "starts_with",
        ),
        (
            "{fact: change.author, in: [li, '!wu']}",
            8,
            "`!wu` looks like a pattern",
            "is_not",
        ),
        (
            "{label: app, is: ' pay'}",
            8,
            "` pay` has spaces around it",
            "remove the spaces",
        ),
        (
            "{label: app, not_in: [pay, 'card ']}",
            8,
            "`card ` has spaces",
            "remove the spaces",
        ),
        (
            "{fact: risk, above: 1, below: 2}",
            30,
            "compared twice, also by `below`",
            "all",
        ),
        (
            "{fakt: risk, above: 1}",
            8,
            "says not what it looks at",
            "did you mean `fact`?",
        ),
        ("{label: app, is: \"pay-*\"}", 8, "looks like a pattern", "starts_with"),
        (
            "{label: app, not_in: [ledger, \"!pay\"]}",
            8,
            "looks like a pattern",
            "is_not",
        ),
        ("{all: []}", 13, "is empty", "name a condition"),
        ("{all: {fact: green, is: true}}", 13, "not a list", "list"),
        (
            "{any: [{fact: green, is: true}], not: {fact: green, is: true}}",
            40,
            "stand beside",
            "below",
        ),
        ("[green]", 7, "is a list, not a mapping", "fact: risk"),
    ] {
        wrong(condition, "deny", column, what, fix);
    }
    wrong(
        "{fact: green, is: true}",
        "allow",
        9,
        "`then: allow` is not an answer",
        "needs_person",
    );
    wrong(
        "{fact: green, is: true}",
        "{allow_limited: -1}",
        25,
        "-1 is not a number of targets",
        "whole",
    );
}

#[test]
fn every_fault_of_a_condition_is_named() {
    let twice = "{all: [{fact: rusk, above: 1}, {fact: team, is: 5}, {fact: green, is: true}]}";
    let errors = Guard::from_yaml("p.yaml", pack(twice, "maybe")).expect_err("faults");
    assert_eq!(
        errors.iter().map(|e| (e.line, e.column)).collect::<Vec<_>>(),
        [(14, 21), (14, 55), (15, 9)]
    );
    let deep = format!("{}{{fact: green, is: true}}{}", "{not: ".repeat(20), "}".repeat(20));
    wrong(&deep, "deny", 7 + 16 * 6, "deeper than 16", "several rules");
    let declared = pack("{fact: green, is: true}", "deny").replace("green: bool", "Green: bool\n  blue: colour");
    let errors = Guard::from_yaml("p.yaml", declared).expect_err("faults");
    assert!(errors[0].what.contains("`Green` is not a name"), "{errors}");
    assert!(errors[1].what.contains("`type: colour`"), "{errors}");
}

#[test]
fn label_keys_of_conditions_are_checked_as_those_of_selectors() {
    let guard = Guard::from_yaml("p.yaml", pack("{not: {label: tire, is: gold}}", "deny")).expect("sound");
    let errors = guard.check_keys(&["tier"]).expect_err("nobody has it");
    assert!(errors[0].what.contains("`tire`"), "{errors}");
}

#[cfg(not(feature = "cel"))]
#[test]
fn an_expression_this_program_cannot_read_is_refused() {
    wrong("{cel: \"green\"}", "deny", 13, "built without CEL", "feature `cel`");
}

#[cfg(feature = "cel")]
mod cel {
    use super::*;

    #[test]
    fn expressions_answer_as_trees_do() {
        for (expression, expected) in [
            ("green", false),
            ("!green && risk > 0.5", true),
            ("risk > 1.0", false),
            ("team == 'payments' && team.startsWith('pay')", true),
            ("'beta' in flags", true),
            ("size(flags) > 1", false),
            ("change_emergency && change_kind == 'binary'", true),
            ("label_tier == 'gold'", true),
        ] {
            holds(&format!("{{cel: \"{expression}\"}}"), expected);
        }
        holds("{all: [{cel: \"!green\"}, {fact: risk, above: 0.5}]}", true);
    }

    #[test]
    fn what_nobody_knows_stays_open() {
        open(
            "{cel: \"risk > 0.5\"}",
            &request(Facts::new()),
            UnknownReason::MissingFact,
        );
        open(
            "{cel: \"label_zone == 'a'\"}",
            &request(facts()),
            UnknownReason::MissingLabel,
        );
        holds("{cel: \"label_zone == 'a' || !green\"}", true);
    }

    #[test]
    fn names_types_and_syntax_are_checked_before_anything_is_in_force() {
        for (expression, what, fix) in [
            ("gren", "nobody declares `gren`", "did you mean `green`?"),
            (
                "green || change_emergncy",
                "nobody declares `change_emergncy`",
                "`change_emergency`?",
            ),
            ("green &&", "not a CEL expression", "correct"),
            ("risk", "not true or false", "types"),
            ("green && risk > 'high'", "compares a number with a text", "types"),
            ("risk + team > 1.0", "takes numbers, and this is a text", "types"),
            // What no sample would show, since CEL finds values of two types merely different.
            ("risk == 'high'", "compares a number with a text", "types"),
            ("label_tier == 3", "compares a text with a whole number", "types"),
            (
                "label_tier == 'gold' && risk != 'high'",
                "compares a number with a text",
                "types",
            ),
            ("label_tier == 'gold' && risk", "takes what is true or false", "types"),
            ("label_tier == 'gold' && risk + 1 > 2.0", "write 1.0 for 1", "types"),
            ("label_tier == 'gold' && _odd(risk)", "no function `_odd`", "types"),
            ("label_tier == 'gold' && od_d(risk)", "no function `od_d`", "types"),
            ("change_kind == 'binry'", "never `binry`", "types"),
            ("'rollbck' != change_direction", "never `rollbck`", "types"),
            ("change_kind in ['binary', 'confg']", "never `confg`", "types"),
            ("1 in flags", "a whole number in a list", "types"),
            ("team in ['a', 1]", "this one has a whole number", "types"),
            ("team == null", "ever `null`", "types"),
            ("green ? risk > 1.0 : team", "compares a boolean with a text", "types"),
            ("siz(flags) > 1", "no function `siz`", "`size`?"),
            ("flags.all(x, x == 'a')", "", ""),
        ] {
            wrong(&format!("{{cel: \"{expression}\"}}"), "deny", 13, what, fix);
        }
        wrong(
            &format!("{{cel: \"{}green{}\"}}", "(".repeat(99), ")".repeat(99)),
            "deny",
            13,
            "deeper",
            "several",
        );
    }
    #[test]
    fn what_fits_is_not_refused() {
        for expression in [
            "risk == 1 || risk >= 0.5 || counts_batch > 10",
            "size(flags) + 1 > 2 && int(risk) % 2 == 0",
            "(green ? team : 'none') == 'payments'",
            "team.contains('pay') || team in ['a', 'b'] || label_tier in flags",
            "change_kind in ['binary', 'config'] && change_direction != 'rollback'",
            "-risk < 0.0 && team + '-x' != label_tier && string(risk) != ''",
        ] {
            Guard::from_yaml("p.yaml", pack(&format!("{{cel: \"{expression}\"}}"), "deny")).expect(expression);
        }
    }

    #[test]
    fn hostile_expressions_end_as_faults_or_answers() {
        for expression in [
            format!("{}0.0 < risk", "1.0 + ".repeat(320)),
            format!("{}true", "green || ".repeat(210)),
            format!("{}green", "!".repeat(1_900)),
            format!("{}risk > 0.0", "-".repeat(60)),
            format!("team{} == ''", ".a".repeat(900)),
            format!("team{} == ''", "[0]".repeat(600)),
            format!("{}green", "green ? green : ".repeat(100)),
            format!("{}team{} == ''", "string(".repeat(30), ")".repeat(30)),
            format!("size('{}') > 1", "a".repeat(1_900)),
            "9223372036854775807 + 1 > 0 && green".to_owned(),
            "1 / 0 == 1 || green".to_owned(),
            "\u{0}".to_owned(),
            "'\\\\u{110000}' == team".to_owned(),
        ] {
            let text = pack(&format!("{{cel: \"{expression}\"}}"), "deny");
            match Guard::from_yaml("p.yaml", text) {
                Ok(guard) => drop(guard.decide(&request(facts()), MONDAY).verdict),
                Err(errors) => assert!(!errors.is_empty()),
            }
        }
    }
}
