//! What holds of every rule: its phase and step, its trial, a panic, and how parameters are read.

use super::*;

#[test]
fn after_a_step_nothing_is_stronger_than_a_hold() {
    let request = "change: {id: c, artefact: m}\n";
    let rule = "kind: versions, downgrade: allow";
    assert_eq!(codes(rule, request).1, Verdict::Deny);
    assert_eq!(codes(rule, &format!("phase: post\n{request}")).1, HOLD);
}

#[test]
fn a_rule_is_asked_in_its_phase_and_about_its_step() {
    let rule = |more: &str| format!("kind: person, {more}");
    let verdict = |more: &str, request: &str| codes(&rule(more), request).1;
    for (more, asked) in [
        ("phase: pre", [true, true, false]),
        ("phase: post", [false, false, true]),
        ("step: order", [false, true, false]),
        ("phase: both, step: each", [true, true, true]),
    ] {
        for (request, asked) in ["", "step: order", "phase: post"].iter().zip(asked) {
            let expected = if asked { Verdict::NeedsPerson } else { Verdict::Allow };
            assert_eq!(
                verdict(more, &format!("change: {{id: c}}\n{request}\n")),
                expected,
                "{more} {request}"
            );
        }
    }
}

#[test]
fn a_rule_on_trial_speaks_and_does_not_count() {
    let decision = ask("kind: person, shadow: true", "change: {id: c}");
    assert_eq!((decision.verdict, decision.findings.len()), (Verdict::Allow, 0));
    assert_eq!(decision.shadow[0].code, Code::RulePerson);
    let json = serde_json::to_string(&decision).expect("plain data");
    assert_eq!(serde_json::from_str::<Decision>(&json).expect("its own text"), decision);
}

#[derive(Debug)]
struct Own;

impl Rule for Own {
    #[expect(clippy::panic, reason = "a panic is what is tested")]
    fn judge(&self, ask: &Ask<'_>) -> Vec<Answer> {
        match ask.request.change.id.as_str() {
            "good" => Vec::new(),
            "late" => vec![Answer::hold(Code::Own("own.late".into()), Some(ask.now_ms + 1)).with("text", "come later")],
            id => panic!("what is {id}"),
        }
    }
}

#[test]
fn a_rule_in_code_counts_like_one_in_a_pack_and_its_panic_is_not_a_pass() {
    let terms = || Terms::new("own", "7", "me", "because");
    let guard = guard("kind: person, select: {app: x}")
        .with_rules("code", [terms().rule(Own)])
        .expect("valid");
    let decide = |id: &str| guard.decide(&Request::pre(id).scope(app("a")), NOW);
    assert_eq!(decide("good").verdict, Verdict::Allow);
    let late = decide("late");
    assert_eq!(late.verdict, Verdict::Hold { until: Some(NOW + 1) });
    assert_eq!(
        (late.codes(), late.next_feasible),
        (vec!["verdict.hold", "own.late"], Some(NOW + 1))
    );
    assert!(
        late.why().contains("code/own (owner me: because): come later"),
        "{}",
        late.why()
    );
    let panicked = decide("bad");
    assert_eq!(
        (panicked.verdict, panicked.findings[0].unknown),
        (Verdict::NeedsPerson, Some(UnknownReason::Panicked))
    );
    assert!(panicked.why().contains("what is bad"), "{}", panicked.why());
    // The same name or id twice is refused.
    for error in [
        guard.with_rules("p", [terms().rule(Own)]),
        guard.with_rules("q", [terms().rule(Own), terms().rule(Own)]),
    ] {
        assert!(error.expect_err("refused").to_string().contains("fix: "));
    }
    // Another version of a rule is another set of rules.
    let other = guard
        .with_rules("z", [Terms::new("own", "8", "me", "because").rule(Own)])
        .expect("valid");
    assert_ne!(other.digest(), guard.digest());
}

#[test]
fn the_example_has_every_kind_and_every_kind_is_asked() {
    let text = include_str!("../../../packs/rules.yaml");
    let guard = Guard::from_yaml("rules.yaml", text).expect("the example is valid");
    let request = "change: {id: c}\nphase: post\nscope: {fleet: mesh, tier: gold}\n";
    let decision = guard.decide(&Request::from_text("r.yaml", request).expect("valid"), NOW);
    // Nothing was supplied, so each kind says what it needs.
    for id in [
        "neighbours",
        "at-once",
        "soaked",
        "versions",
        "burning",
        "four-eyes",
        "stale",
        "complete",
    ] {
        let rule = format!("fleet/{id}");
        assert!(
            decision
                .findings
                .iter()
                .any(|finding| finding.rule == rule && finding.unknown.is_some()),
            "{id}"
        );
    }
    assert_eq!(decision.verdict, Verdict::NeedsPerson);
}

#[test]
fn parameters_that_do_not_fit_are_named() {
    for (rule, expected) in [
        (
            "kind: limit, of: targets, max: 0",
            "a limit of nothing never lets anything pass",
        ),
        ("kind: limit, of: rollbacks, max: 1", "add `per: 24h`"),
        ("kind: limit, of: targets, max: 1, per: 0h", "a span of nothing"),
        ("kind: limit, of: target, max: 1", "did you mean `targets`?"),
        ("kind: limit, max: 1", "`of` is missing"),
        ("kind: soak, at_least: 1h, coverage: 101", "101 is not a share"),
        ("kind: soak, at_least: soon", "write a length"),
        ("kind: complete, share: 0", "0 is not a share"),
        ("kind: incidents, severity: 0", "no incident is worse than 1"),
        ("kind: incidents, rollbak: allowed", "did you mean `rollback`?"),
        ("kind: approvals", "`level` is missing"),
        ("kind: approvals, level: 1, count: 0", "nobody has to agree"),
        ("kind: age, max: 0h", "no change is that young"),
        (
            "kind: versions, allow: [\">=main\"]",
            "is not a range of versions; fix: write 1.9.2",
        ),
        (
            "kind: versions, deny: [\"^1.9\"]",
            "is not a range of versions; fix: write 1.9.2",
        ),
        ("kind: versions, allow: []", "no version is left that may run"),
        (
            "kind: versions, allow: [\"1.9.*\"], deny: [\"1.9.*\"]",
            "no version is left that may run",
        ),
        ("kind: conflict, hops: 2, mixed_hops: 1", "let it be at least `hops`"),
        ("kind: person, phase: during", "use one of: pre, post, both"),
        ("kind: person, step: batches", "did you mean `batch`?"),
        ("kind: person, shadow: maybe", "write true or false"),
    ] {
        let text = format!("version: 1\npack: p\nowner: o\nscope: all\nrules:\n- {{id: r, reason: x, {rule}}}\n");
        let error = Guard::from_yaml("p.yaml", text).expect_err(rule).to_string();
        assert!(
            error.starts_with("p.yaml:6:") && error.contains(expected),
            "{rule}\n{error}"
        );
    }
}

#[test]
fn a_clear_no_does_not_hide_behind_what_nobody_knows() {
    let both = |rule: &str, request: String, no: &str, open: &str, verdict: Verdict| {
        let (mut found, joined) = codes(rule, &request);
        found.sort();
        let mut wanted = vec![no.to_owned(), open.to_owned()];
        wanted.sort();
        assert_eq!((found, joined), (wanted, verdict), "{rule}");
    };
    both(
        "kind: age, max: 1d, over: deny",
        "change: {id: c, deadline: 1}\nscope: {tier: gold}\n".to_owned(),
        "age.deadline",
        "fact.missing",
        Verdict::Deny,
    );
    let facts = |facts: &str| {
        format!(
            "change: {{id: c, versions: {{from: \"1.8\", to: \"1.9\"}}}}\nscope: {{app: a, tier: gold}}\nothers: [{}]\nfacts: {{{facts}}}\n",
            "{change_id: x, scope: {tier: silver}, started: 1}, {change_id: y, scope: {app: b}, started: 1}"
        )
    };
    both(
        "kind: soak, at_least: 1h",
        facts(&format!(
            "stages: {{at: {NOW}, value: [{{name: a, targets: 1, done: 0}}, {{name: b, targets: 1, done: 1}}]}}"
        )),
        "soak.coverage",
        "fact.missing",
        HOLD,
    );
    both(
        "kind: versions, mutable_tags: allowed, skew: 1",
        facts(&format!(
            "neighbours: {{at: {NOW}, value: [{{app: b, version: main}}, {{app: d, version: \"1.2\"}}]}}"
        )),
        "version.skew",
        "fact.unreadable",
        HOLD,
    );
    both(
        "kind: complete",
        facts(&format!(
            "reality: {{at: {NOW}, value: {{expected: 0, running: [{{count: 1, version: a, declared: b, ready: true}}]}}}}"
        )) + "phase: post\n",
        "complete.mismatch",
        "fact.none",
        HOLD,
    );
}

#[test]
fn an_approval_is_for_what_was_looked_at() {
    let rule = "kind: approvals, level: 2";
    let asked = |of_change: &str, of_approval: &str| {
        let request = format!(
            "change: {{id: c, author: {{id: li, kind: person}}{of_change}}}\nscope: {{tier: gold}}\nfacts: {{approvals: {{at: {NOW}, value: [{{by: {{id: wu, kind: person}}, level: 2, at: {NOW}{of_approval}}}]}}}}\n"
        );
        codes(rule, &request).1
    };
    let (one, other) = (", artefact: m@1", ", artefact: m@2");
    assert_eq!(asked(one, one), Verdict::Allow);
    assert_eq!(asked("", ""), Verdict::Allow);
    for (of_change, of_approval) in [(one, other), (one, ""), ("", one)] {
        assert_eq!(
            asked(of_change, of_approval),
            Verdict::NeedsPerson,
            "{of_change} {of_approval}"
        );
    }
}
