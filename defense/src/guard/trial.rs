//! Running the tests that packs bring along.

use std::sync::Arc;

use super::Guard;
use crate::pack::{Decoded, Test};
use crate::time::render;
use crate::verdict::{Verdict, Words};

/// How one test of a pack came out.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TestRun {
    /// The pack.
    pub pack: String,
    /// The name of the test.
    pub name: String,
    /// Its file.
    pub file: String,
    /// Its line, from 1.
    pub line: u64,
    /// What was expected and not so, one sentence each; empty when the test passes.
    pub failures: Vec<String>,
}

impl TestRun {
    /// Whether the answer was the expected one.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.failures.is_empty()
    }
}

impl Guard {
    /// Runs the tests of all packs, in the order of packs, then of lines.
    ///
    /// Each pack is asked alone, so that its tests say something about it and not about whatever else is loaded; further
    /// packs only make answers stricter.
    #[must_use]
    pub fn test(&self) -> Vec<TestRun> {
        let decoded = &self.0.decoded;
        let mut runs = Vec::with_capacity(decoded.tests.len());
        for tests in decoded.tests.chunk_by(|a, b| a.pack == b.pack) {
            let alone = self.alone(tests[0].pack);
            runs.extend(tests.iter().map(|test| TestRun {
                pack: decoded.packs[test.pack].name.clone(),
                name: test.name.clone(),
                file: test.file.clone(),
                line: test.line,
                failures: alone.failures(test),
            }));
        }
        runs
    }

    /// A guard of one pack.
    fn alone(&self, pack: usize) -> Self {
        let decoded = &self.0.decoded;
        let windows = decoded.windows.iter().filter(|window| window.pack == pack).cloned();
        let rules = decoded.rules.iter().filter(|rule| rule.pack == pack).cloned();
        let alone = Decoded {
            packs: vec![decoded.packs[pack].clone()],
            windows: windows
                .map(|window| crate::window::Window { pack: 0, ..window })
                .collect(),
            rules: rules.map(|rule| crate::rule::Entry { pack: 0, ..rule }).collect(),
            keys: Vec::new(),
            tests: Vec::new(),
            charter: decoded.charter.as_ref().map(Arc::clone),
        };
        Self::of(alone, Vec::new())
    }

    fn failures(&self, test: &Test) -> Vec<String> {
        let decision = self.decide(&test.request, test.at_ms);
        let expect = &test.expect;
        let found = Words::from(decision.verdict);
        let mut failures = Vec::new();
        if found.verdict != expect.verdict {
            failures.push(format!(
                "expected {}, and it is {}",
                expect.verdict.name(),
                found.verdict.name()
            ));
        }
        let instant = |ms: Option<i64>| ms.map_or_else(|| "not known".to_owned(), |ms| render(ms, "UTC"));
        if expect.until.is_some() && found.until != expect.until {
            failures.push(format!(
                "expected until {}, and it is {}",
                instant(expect.until),
                instant(found.until)
            ));
        }
        if let Some(limit) = expect.limit
            && decision.verdict != Verdict::AllowLimited(limit)
        {
            failures.push(format!("expected a limit of {limit}, and it is {:?}", found.limit));
        }
        let codes = decision.codes();
        for code in expect.codes.iter().filter(|code| !codes.contains(&code.as_str())) {
            failures.push(format!("expected `{code}`, and there are: {}", codes.join(", ")));
        }
        if expect.next_feasible.is_some() && decision.next_feasible != expect.next_feasible {
            failures.push(format!(
                "expected the next start at {}, and it is {}",
                instant(expect.next_feasible),
                instant(decision.next_feasible)
            ));
        }
        if !failures.is_empty() {
            failures.push(decision.why());
        }
        failures
    }
}
