//! Built-in rules: for each kind what passes, what does not, and what it cannot tell. Requests are written as files are.

use unattended_defense::{
    Answer, Ask, Code, Decision, Guard, Other, Request, Rule, Terms, UnknownReason, Verdict, app,
};

const NOW: i64 = 1_795_176_000_000; // 2026-11-20T12:00Z
const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

fn guard(rule: &str) -> Guard {
    let text = format!("version: 1\npack: p\nowner: o\nscope: all\nrules: [{{id: r, reason: because, {rule}}}]\n");
    Guard::from_yaml("p.yaml", text).expect(rule)
}

fn ask(rule: &str, request: &str) -> Decision {
    let request = Request::from_text("r.yaml", request).expect(request);
    guard(rule).decide(&request, NOW)
}

/// The codes of the findings, and the verdict.
fn codes(rule: &str, request: &str) -> (Vec<String>, Verdict) {
    let decision = ask(rule, request);
    for finding in &decision.findings {
        // Every sentence has all it needs.
        assert!(!finding.text().contains('?'), "{}", finding.text());
        assert!(!finding.text().contains('{'), "{}", finding.text());
    }
    let codes = decision
        .findings
        .iter()
        .map(|finding| finding.code.to_string())
        .collect();
    (codes, decision.verdict)
}

const HOLD: Verdict = Verdict::Hold { until: None };

fn check(rule: &str, cases: &[(&str, &[&str], Verdict)]) {
    for (request, expected, verdict) in cases {
        let found = codes(rule, request);
        assert_eq!(
            (found.0, found.1),
            (expected.iter().map(|c| (*c).to_owned()).collect(), *verdict),
            "{request}"
        );
    }
}

mod frame;
mod kinds;
mod limits;
