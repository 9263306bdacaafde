//! Self-checks before traffic: how they run, what is served, and what passes the gate.

use std::collections::BTreeMap;

use proptest::prelude::*;
use unattended_health::{
    Attempt, Check, CheckAnswer, CheckOutcome, CheckResult, Exchange, Gate, GateFailure, GateVerdict, GoldenRequest,
    GoldenResponse, SelfCheckReport, Startup, StartupError, Step,
};

fn pass() -> CheckAnswer {
    CheckAnswer::Pass(String::new())
}

fn fail() -> CheckAnswer {
    CheckAnswer::Fail("found something else".into())
}

fn startup(checks: Vec<Check>) -> Startup {
    Startup::new("pod-7", "1.9.2", checks).unwrap()
}

fn run(startup: &mut Startup, now_ms: u64) -> Attempt {
    match startup.poll(now_ms) {
        Step::Run(attempt) => attempt,
        other => panic!("{other:?}"),
    }
}

fn outcomes(report: &SelfCheckReport) -> Vec<(&str, CheckOutcome, u32)> {
    report
        .results
        .iter()
        .map(|one| (&*one.id, one.outcome, one.attempts))
        .collect()
}

#[test]
fn what_depends_on_a_check_that_did_not_pass_is_skipped_and_the_rest_runs() {
    let mut checks = startup(vec![
        Check::new("config").required(),
        Check::new("tls").after("config"),
        Check::new("golden").required().after("config").after("tls"),
        Check::new("memory"),
    ]);
    let config = run(&mut checks, 0);
    assert!(checks.answer(5, &config, pass()));
    let tls = run(&mut checks, 5);
    assert!(checks.answer(9, &tls, fail()));
    let memory = run(&mut checks, 10);
    assert_eq!(memory.id, "memory");
    assert!(!checks.report().finished);
    assert!(checks.answer(11, &memory, pass()));
    assert_eq!(checks.poll(11), Step::Done);
    let report = checks.report();
    assert!(report.finished);
    assert_eq!(
        outcomes(&report),
        [
            ("config", CheckOutcome::Pass, 1),
            ("tls", CheckOutcome::Fail, 1),
            ("golden", CheckOutcome::Skipped, 0),
            ("memory", CheckOutcome::Pass, 1)
        ]
    );
    assert_eq!(report.results[2].detail, "`tls` did not pass");
    assert_eq!(report.results[1].took_ms, 4);
}

#[test]
fn attempts_pauses_and_limits() {
    let mut checks = startup(vec![Check::new("a").limit_ms(100).attempts(3, 50)]);
    assert_eq!(checks.longest_ms(), 3 * 100 + 2 * 50);
    let first = run(&mut checks, 1_000);
    assert_eq!(first.deadline_ms, 1_100);
    assert_eq!(checks.poll(1_099), Step::Wait { until_ms: 1_100 });
    assert_eq!(
        checks.poll(1_100),
        Step::Wait { until_ms: 1_150 },
        "timed out, and pauses"
    );
    assert!(!checks.answer(1_101, &first, pass()), "too late");
    assert_eq!(checks.poll(1_149), Step::Wait { until_ms: 1_150 });
    let second = run(&mut checks, 1_150);
    assert!(!checks.answer(1_160, &first, pass()), "of an attempt that is over");
    assert!(checks.answer(1_200, &second, fail()));
    let third = run(&mut checks, 1_260);
    // An answer on the deadline is too late, even if nobody asked in between.
    assert!(!checks.answer(1_360, &third, pass()));
    assert_eq!(checks.poll(1_360), Step::Done);
    assert_eq!(outcomes(&checks.report()), [("a", CheckOutcome::Timeout, 3)]);
    assert_eq!(checks.report().results[0].took_ms, 360);
    assert!(!checks.answer(1_400, &third, pass()));

    let mut checks = startup(vec![Check::new("a").limit_ms(100).attempts(2, 0)]);
    let first = run(&mut checks, 500);
    // The clock goes back: it stands still.
    assert_eq!(checks.poll(10), Step::Wait { until_ms: 600 });
    assert!(checks.answer(20, &first, fail()));
    let second = run(&mut checks, 30);
    assert_eq!((second.number, second.deadline_ms), (2, 600));
    assert!(checks.answer(599, &second, pass()));
    assert_eq!(outcomes(&checks.report()), [("a", CheckOutcome::Pass, 2)]);
}

#[test]
fn impossible_lists_are_refused_by_name() {
    let refused = |checks: Vec<Check>| Startup::new("i", "v", checks).expect_err("impossible");
    assert!(matches!(refused(vec![]), StartupError::Count { count: 0 }));
    assert!(matches!(
        refused(vec![Check::new("a"); 257]),
        StartupError::Count { count: 257 }
    ));
    assert!(matches!(
        refused(vec![Check::new("a"), Check::new("b c")]),
        StartupError::Id { place: 2, .. }
    ));
    assert!(matches!(
        refused(vec![Check::new("a"), Check::new("a")]),
        StartupError::Duplicate { .. }
    ));
    for after in ["b", "a", "nobody"] {
        let order = refused(vec![Check::new("a").after(after), Check::new("b")]);
        assert!(matches!(order, StartupError::Order { .. }), "{after}");
    }
    for (check, field) in [
        (Check::new("a").limit_ms(0), "limit_ms"),
        (Check::new("a").limit_ms(3_600_001), "limit_ms"),
        (Check::new("a").attempts(0, 0), "attempts"),
        (Check::new("a").attempts(101, 0), "attempts"),
        (Check::new("a").attempts(1, u64::MAX), "pause_ms"),
    ] {
        let error = refused(vec![check]);
        assert!(
            error.to_string().starts_with(&format!("self-check `a`: {field} is ")),
            "{error}"
        );
    }
}

#[derive(Clone, Copy, Debug)]
enum Plan {
    Pass(u64),
    Fail(u64),
    Never,
}

proptest! {
    /// Whatever checks do, everything ends in time, each check has one result, and the report agrees with its parts.
    #[test]
    fn everything_ends_in_time(
        plans in prop::collection::vec((prop::collection::vec(prop_oneof![
            (0_u64..150).prop_map(Plan::Pass), (0_u64..150).prop_map(Plan::Fail), Just(Plan::Never)], 3),
            1_u32..=3, any::<bool>(), prop::option::of(0_usize..8)), 1..8)) {
        let checks: Vec<Check> = plans.iter().enumerate().map(|(place, (_, attempts, required, after))| {
            let mut check = Check::new(format!("c{place}")).limit_ms(100).attempts(*attempts, 7);
            if *required { check = check.required(); }
            match after { Some(after) if *after < place => check.after(format!("c{after}")), _ => check }
        }).collect();
        let mut startup = startup(checks.clone());
        let (mut now, mut steps) = (40, 0);
        let longest = startup.longest_ms();
        loop {
            steps += 1;
            prop_assert!(steps < 1_000, "it goes round in circles");
            match startup.poll(now) {
                Step::Done => break,
                Step::Wait { until_ms } => { prop_assert!(until_ms > now); now = until_ms; }
                Step::Run(attempt) => {
                    let place: usize = attempt.id[1..].parse().unwrap();
                    let (after, answer) = match plans[place].0[attempt.number as usize - 1] {
                        Plan::Pass(ms) => (ms, pass()),
                        Plan::Fail(ms) => (ms, fail()),
                        Plan::Never => continue,
                    };
                    if after < 100 {
                        now += after;
                        prop_assert!(startup.answer(now, &attempt, answer));
                    }
                }
            }
        }
        prop_assert!(now - 40 <= longest);
        let report = startup.report();
        prop_assert!(report.finished);
        prop_assert_eq!(report.results.len(), checks.len());
        let by_id: BTreeMap<&str, &CheckResult> = report.results.iter().map(|one| (&*one.id, one)).collect();
        for (place, (plan, attempts, _, after)) in plans.iter().enumerate() {
            let result = by_id[&*format!("c{place}")];
            let blocked = after.is_some_and(|after| after < place && by_id[&*format!("c{after}")].outcome != CheckOutcome::Pass);
            let ended = |plan: &Plan| match plan {
                Plan::Pass(ms) if *ms < 100 => CheckOutcome::Pass,
                Plan::Fail(ms) if *ms < 100 => CheckOutcome::Fail,
                _ => CheckOutcome::Timeout,
            };
            let tried = plan.iter().take(*attempts as usize).map(ended).collect::<Vec<_>>();
            let expected = match tried.contains(&CheckOutcome::Pass) {
                _ if blocked => CheckOutcome::Skipped,
                true => CheckOutcome::Pass,
                false => tried[tried.len() - 1],
            };
            prop_assert_eq!(result.outcome, expected);
        }
        prop_assert_eq!(&SelfCheckReport::from_json(&report.to_json()).unwrap(), &report);
        // The gate passes if and only if something is required and all of that passed.
        let required = report.results.iter().filter(|one| one.required).collect::<Vec<_>>();
        let good = !required.is_empty() && required.iter().all(|one| one.outcome == CheckOutcome::Pass);
        prop_assert_eq!(Gate::default().evaluate(&report).passed(), good);
    }
}

#[test]
fn the_runner_survives_a_panic_and_publishes_as_it_goes() {
    let now = std::cell::Cell::new(0_u64);
    let mut published = Vec::new();
    let checks = startup(vec![
        Check::new("slow").limit_ms(10),
        Check::new("panics"),
        Check::new("flaky").required().attempts(2, 500),
    ]);
    let report = checks.run(
        || now.get(),
        |until| now.set(until),
        |attempt| match (&*attempt.id, attempt.number) {
            ("slow", _) => {
                now.set(now.get() + 10);
                pass()
            }
            ("flaky", 1) => fail(),
            ("flaky", _) => pass(),
            _ => std::panic::resume_unwind(Box::new("an own fault")),
        },
        |report| published.push((report.results.len(), report.finished)),
    );
    assert_eq!(
        outcomes(&report),
        [
            ("slow", CheckOutcome::Timeout, 1),
            ("panics", CheckOutcome::Fail, 1),
            ("flaky", CheckOutcome::Pass, 2)
        ]
    );
    assert_eq!(now.get(), 510);
    assert_eq!(published, [(1, false), (2, false), (2, false), (3, true)]);
    assert!(Gate::new(["flaky"]).evaluate(&report).passed());
}

// --- the gate ---------------------------------------------------------------------------------------------------------

fn result(id: &str, required: bool, outcome: CheckOutcome) -> CheckResult {
    CheckResult::new(id, required, outcome)
}

fn report(results: Vec<CheckResult>) -> SelfCheckReport {
    SelfCheckReport::new("pod-7", "1.9.2", results)
}

fn reasons(gate: &Gate, report: &SelfCheckReport) -> Vec<String> {
    match gate.evaluate(report) {
        GateVerdict::Fail { reasons } => reasons.iter().map(ToString::to_string).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn all_required_checks_must_be_there_and_pass() {
    let gate = Gate::new(["config", "golden"]);
    let mut light = result("dependency", false, CheckOutcome::Fail);
    light.weight = 3;
    let passed = |id| result(id, true, CheckOutcome::Pass);
    let good = report(vec![
        passed("config"),
        passed("golden"),
        light,
        result("memory", false, CheckOutcome::Pass),
    ]);
    assert_eq!(gate.evaluate(&good), GateVerdict::Pass { score: 0.5 }, "3 of weight 6");
    assert_eq!(
        reasons(&gate, &report(vec![passed("config")])),
        ["required check `golden` is not in the report"]
    );
    for outcome in [
        CheckOutcome::Fail,
        CheckOutcome::Timeout,
        CheckOutcome::Skipped,
        CheckOutcome::Unknown,
    ] {
        let mut bad = result("golden", false, outcome);
        bad.detail = "so it is".into();
        let said = format!("required check `golden`: {} (so it is)", outcome.as_str());
        assert_eq!(
            reasons(&gate, &report(vec![passed("config"), bad])),
            [said],
            "although the instance does not require it"
        );
    }
    let own = report(vec![
        passed("config"),
        passed("golden"),
        result("ports", true, CheckOutcome::Fail),
    ]);
    assert_eq!(
        reasons(&gate, &own),
        ["required check `ports`: fail"],
        "what the instance requires counts, too"
    );
}

#[test]
fn contradictions_nothing_other_versions_and_the_future_do_not_pass() {
    let twice = |one, two| report(vec![result("config", true, one), result("config", true, two)]);
    let any = Gate::default();
    assert_eq!(
        reasons(&any, &twice(CheckOutcome::Pass, CheckOutcome::Fail)),
        ["required check `config` is reported twice, differently"]
    );
    assert!(any.evaluate(&twice(CheckOutcome::Pass, CheckOutcome::Pass)).passed());
    assert_eq!(
        reasons(&any, &report(vec![])),
        ["no check is required, so nothing is known"]
    );
    let optional = report(vec![result("config", false, CheckOutcome::Pass)]);
    assert_eq!(reasons(&any, &optional), ["no check is required, so nothing is known"]);

    let mut good = report(vec![result("config", true, CheckOutcome::Pass)]);
    assert!(Gate::default().of_version("1.9.2").evaluate(&good).passed());
    assert_eq!(
        reasons(&Gate::default().of_version("2.0.0"), &good),
        ["the report is of version `1.9.2`, not of `2.0.0`"]
    );
    good.schema += 1;
    assert_eq!(
        any.evaluate(&good),
        GateVerdict::Fail {
            reasons: vec![GateFailure::NewerSchema { found: 2 }]
        }
    );
}

#[test]
fn an_unfinished_report_waits_unless_something_required_has_failed() {
    let gate = Gate::new(["config", "golden"]);
    let mut running = report(vec![result("config", true, CheckOutcome::Pass)]);
    running.finished = false;
    assert_eq!(
        gate.evaluate(&running),
        GateVerdict::Pending {
            waiting: vec!["golden".into()]
        }
    );
    running.results.push(result("golden", true, CheckOutcome::Pass));
    assert_eq!(
        gate.evaluate(&running),
        GateVerdict::Pending { waiting: vec![] },
        "others may fail yet"
    );
    running.results.push(result("ports", true, CheckOutcome::Timeout));
    assert_eq!(reasons(&gate, &running), ["required check `ports`: timeout"]);
    let mut nothing = report(vec![]);
    nothing.finished = false;
    assert!(matches!(
        Gate::default().evaluate(&nothing),
        GateVerdict::Pending { .. }
    ));
}

#[test]
fn reports_of_others_are_read_strictly_where_it_matters() {
    let wire = r#"{"schema":1,"instance":"pod-7","version":"2","results":[
        {"id":"config","required":true,"outcome":"mostly_fine"},{"id":"a","required":false,"outcome":"pass","news":1}]}"#;
    let report = SelfCheckReport::from_json(wire).unwrap();
    assert_eq!(
        report.results[0].outcome,
        CheckOutcome::Unknown,
        "a word from the future"
    );
    assert!(report.finished && report.results[1].weight == 1);
    assert_eq!(reasons(&Gate::default(), &report), ["required check `config`: unknown"]);

    let missing = wire.replace("\"required\":true,", "");
    let error = SelfCheckReport::from_json(&missing).unwrap_err().to_string();
    assert!(
        error.starts_with("line 2, column ") && error.contains("missing field `required`"),
        "{error}"
    );
    assert!(SelfCheckReport::from_json("[]").is_err());
    assert!(SelfCheckReport::from_json(&wire.replace("config", &"c".repeat(129))).is_err());
    let long = wire.replace("\"news\":1", &format!("\"detail\":\"{}\"", "é".repeat(2_000)));
    assert_eq!(
        SelfCheckReport::from_json(&long).unwrap().results[1].detail,
        "é".repeat(512)
    );
    let many = format!(
        "{{\"schema\":1,\"instance\":\"i\",\"version\":\"v\",\"results\":[{}]}}",
        vec![r#"{"id":"a","required":true,"outcome":"pass"}"#; 1_025].join(",")
    );
    assert!(
        SelfCheckReport::from_json(&many)
            .unwrap_err()
            .to_string()
            .contains("1025 results")
    );
}

// --- golden requests --------------------------------------------------------------------------------------------------

fn response(status: u16, headers: &[(&str, &str)], body: &[u8]) -> GoldenResponse {
    GoldenResponse {
        status,
        headers: headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        body: body.to_vec(),
    }
}

#[test]
fn an_answer_must_be_the_known_one() {
    let known = response(
        203,
        &[("X-Route", "a"), ("x-route", "b"), ("Date", "today")],
        b"\xffhello",
    );
    let golden = GoldenRequest::new("bolt", "POST", "/echo")
        .header("content-type", "x/y")
        .with_body(&b"\xff"[..])
        .expecting(&known, &["x-route", "x-debug"]);
    assert_eq!(golden.compare(&known), CheckAnswer::Pass("6 bytes as expected".into()));
    let other = response(203, &[("X-ROUTE", "a, b"), ("Date", "tomorrow")], b"\xffhello");
    assert!(
        matches!(golden.compare(&other), CheckAnswer::Pass(_)),
        "other headers may be anything"
    );
    let failed = |response: &GoldenResponse| match golden.compare(response) {
        CheckAnswer::Fail(detail) => detail,
        CheckAnswer::Pass(detail) => panic!("{detail}"),
    };
    let bad = response(500, &[("x-route", "a"), ("X-Debug", "on")], b"\xffhellO");
    let said = failed(&bad);
    assert!(said.starts_with("status 500, not 203; header x-debug is `on`, not ``; header x-route is `a`, not `a, b`; body of 6 bytes has SHA-256 "), "{said}");
    assert!(failed(&response(203, &[], b"\xffhello")).contains("header x-route is missing, `a, b` is expected"));

    let written = serde_json::to_string(&golden).unwrap();
    assert_eq!(serde_json::from_str::<GoldenRequest>(&written).unwrap(), golden);
    assert!(written.contains(r#""body":{"hex":"ff"}"#), "{written}");
}

#[test]
fn golden_files_are_checked_when_they_are_read() {
    // The SHA-256 of `abc`, from FIPS 180-2 appendix B.1.
    let good = r#"{"id":"http1","method":"GET","path":"/","body":{"text":"hi"},"expect":{"status":200,
        "headers":{"X-Route":"r"},"body_sha256":"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"}}"#;
    let golden: GoldenRequest = serde_json::from_str(good).unwrap();
    assert_eq!(golden.body(), b"hi");
    assert!(matches!(
        golden.compare(&response(200, &[("x-route", "r")], b"abc")),
        CheckAnswer::Pass(_)
    ));
    let refused = |from: &str, to: &str| {
        serde_json::from_str::<GoldenRequest>(&good.replace(from, to))
            .unwrap_err()
            .to_string()
    };
    assert!(refused("ba78", "ba7").contains("body_sha256 has 63 characters"));
    assert!(refused("ba78", "zz78").contains("has 64 characters or other signs"));
    assert!(refused(r#"{"text":"hi"}"#, r#"{"hex":"abc"}"#).contains("the body is not hexadecimal"));
    assert!(refused("\"status\"", "\"state\"").contains("unknown field `state`"));
}

#[test]
fn a_golden_request_is_a_required_check_with_the_attempt_s_deadline() {
    struct Stub(u64, Result<GoldenResponse, String>);
    impl Exchange for Stub {
        fn exchange(&mut self, request: &GoldenRequest, deadline_ms: u64) -> Result<GoldenResponse, String> {
            assert_eq!(request.headers().collect::<Vec<_>>(), [("a", "b")]);
            self.0 = deadline_ms;
            self.1.clone()
        }
    }
    let known = response(200, &[], b"ok");
    let golden = GoldenRequest::new("http2", "GET", "/")
        .header("a", "b")
        .expecting(&known, &[]);
    let mut checks = startup(vec![golden.check().limit_ms(250)]);
    let attempt = run(&mut checks, 50);
    let mut stub = Stub(0, Ok(known));
    assert!(checks.answer(60, &attempt, golden.answer(&mut stub, &attempt)));
    assert_eq!(stub.0, 300);
    let report = checks.report();
    assert_eq!(outcomes(&report), [("golden_request.http2", CheckOutcome::Pass, 1)]);
    assert!(Gate::new(["golden_request.http2"]).evaluate(&report).passed());
    stub.1 = Err("connection refused".into());
    assert_eq!(
        golden.answer(&mut stub, &attempt),
        CheckAnswer::Fail("no answer: connection refused".into())
    );
}
