//! `tests:` inside a pack: what its owner wants it to answer.

use serde::Deserialize;

use super::fields::Reader;
use super::yaml::{Node, Value};
use crate::request::{Request, form};
use crate::verdict::Word;

/// A question, and what the answer must be.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    name: String,
    #[serde(with = "form::instant")]
    at: i64,
    request: Request,
    expect: Expect,
}

/// The parts of an answer that are asked for; what is absent may be anything.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expect {
    pub(crate) verdict: Word,
    #[serde(default, with = "form::instant_if_any")]
    pub(crate) until: Option<i64>,
    #[serde(default)]
    pub(crate) limit: Option<u32>,
    /// Codes that must be among those of the findings.
    #[serde(default)]
    pub(crate) codes: Vec<String>,
    #[serde(default, with = "form::instant_if_any")]
    pub(crate) next_feasible: Option<i64>,
}

/// A test of a pack.
#[derive(Debug, Clone)]
pub(crate) struct Test {
    /// The position of its pack in the guard.
    pub(crate) pack: usize,
    pub(crate) name: String,
    pub(crate) file: String,
    pub(crate) line: u64,
    pub(crate) at_ms: i64,
    pub(crate) request: Request,
    pub(crate) expect: Expect,
}

impl Reader<'_> {
    pub(super) fn test(&mut self, node: &Node) -> Option<Test> {
        match Form::deserialize(node) {
            Ok(form) if form.name.trim().is_empty() => {
                self.fault(node.place_of("name"), "`name` is empty", "say what the test shows");
                None
            }
            Ok(form) => Some(Test {
                pack: 0,
                name: form.name,
                file: self.file.to_owned(),
                line: node.at.line,
                at_ms: form.at,
                request: form.request,
                expect: form.expect,
            }),
            Err(misfit) => {
                let at = misfit.place(node);
                let what = if matches!(node.value, Value::Map(_)) {
                    format!("a test: {}", misfit.what)
                } else {
                    format!("a test is {}, not a mapping", node.value.kind())
                };
                self.fault(at, what, misfit.fix);
                None
            }
        }
    }
}
