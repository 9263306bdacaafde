//! One question and its answer.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use serde::Serialize;
use unattended::defense::{Decision, Guard, Request, Verdict};
use unattended_examples_support::{Exit, Failure};

use crate::options::Options;
use crate::{SCHEMA, chain, print, stamp};

/// The answer as programs read it. Times are RFC 3339 in UTC.
#[derive(Serialize)]
struct Json<'d> {
    verdict: &'static str,
    until: Option<String>,
    limit: Option<u32>,
    findings: Vec<JsonFinding<'d>>,
    next_feasible: Option<String>,
    digest: &'d str,
    schema: u32,
}

#[derive(Serialize)]
struct JsonFinding<'d> {
    code: &'d str,
    params: &'d BTreeMap<String, String>,
    rule: &'d str,
    version: &'d str,
    verdict: &'static str,
    reason: &'d str,
    owner: &'d str,
}

pub(crate) fn answer(options: &Options, guard: &Guard, path: &Path, at: i64) -> Result<Exit, Failure> {
    let request = request(path)?;
    let decision = guard.decide(&request, at);
    if let Some(chain) = &options.record {
        chain::record(chain, guard, &request, at, &decision)?;
    }
    print(options, || text(&decision, at), &json(&decision))?;
    Ok(match decision.verdict {
        Verdict::Allow | Verdict::AllowLimited(1..) => Exit::Completed,
        Verdict::AllowLimited(0) | Verdict::Hold { .. } | Verdict::Deny => Exit::Stopped,
        Verdict::Unknown(_) | Verdict::NeedsPerson => Exit::NeedsPerson,
    })
}

fn request(path: &Path) -> Result<Request, Failure> {
    if path.as_os_str() == "-" {
        let mut text = String::new();
        std::io::stdin()
            .lock()
            .read_to_string(&mut text)
            .map_err(|error| Failure::Input(format!("standard input: the request cannot be read: {error}")))?;
        return Request::from_text("standard input", &text).map_err(Failure::input);
    }
    Request::load(path).map_err(Failure::input)
}

fn text(decision: &Decision, at: i64) -> String {
    format!(
        "asked about {}\n{}\ndigest {}",
        stamp(at),
        decision.why(),
        decision.digest
    )
}

fn json(decision: &Decision) -> Json<'_> {
    let (until, limit) = match decision.verdict {
        Verdict::Hold { until } => (until, None),
        Verdict::AllowLimited(limit) => (None, Some(limit)),
        _ => (None, None),
    };
    Json {
        verdict: name(decision.verdict),
        until: until.map(stamp),
        limit,
        findings: decision
            .findings
            .iter()
            .map(|finding| JsonFinding {
                code: finding.code.as_str(),
                params: &finding.params,
                rule: &finding.rule,
                version: &finding.version,
                verdict: name(finding.verdict),
                reason: &finding.reason,
                owner: &finding.owner,
            })
            .collect(),
        next_feasible: decision.next_feasible.map(stamp),
        digest: &decision.digest,
        schema: SCHEMA,
    }
}

/// The word of a verdict, which is the code of it without its namespace.
fn name(verdict: Verdict) -> &'static str {
    verdict
        .codes()
        .first()
        .and_then(|code| code.strip_prefix("verdict."))
        .unwrap_or("unknown")
}
