//! Static health: what an instance found out about itself before it takes traffic, and whether that is enough.

use serde::{Deserialize, Serialize};

/// Version of [`SelfCheckReport`] that this crate writes.
pub const SELF_CHECK_SCHEMA: u32 = 1;

/// How a self-check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CheckOutcome {
    /// Found what it should.
    Pass,
    /// Found something else.
    Fail,
    /// Did not end within its time limit.
    Timeout,
    /// Was not run, e.g. because a check it depends on did not pass.
    Skipped,
    /// A word this version does not know. Never a pass.
    #[serde(other)]
    Unknown,
}

/// One self-check of one instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(
    clippy::exhaustive_structs,
    reason = "written literally by sidecars; the report carries the schema version"
)]
pub struct CheckResult {
    /// Stable name, e.g. `golden_request.http1`.
    pub id: String,
    /// The instance itself considers the check required.
    pub required: bool,
    /// How it ended.
    pub outcome: CheckOutcome,
    /// What was found, for people.
    #[serde(default)]
    pub detail: String,
}

/// All self-checks of one instance: what a sidecar serves and a controller reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(
    clippy::exhaustive_structs,
    reason = "written literally by sidecars; carries its schema version"
)]
pub struct SelfCheckReport {
    /// [`SELF_CHECK_SCHEMA`] of the writer. A higher one than the reader's fails the gate.
    pub schema: u32,
    /// The instance that checked itself.
    pub instance: String,
    /// The version it runs.
    pub version: String,
    /// The checks in the order they ran.
    pub results: Vec<CheckResult>,
}

impl SelfCheckReport {
    /// A report in the present schema.
    #[must_use]
    pub fn new(instance: impl Into<String>, version: impl Into<String>, results: Vec<CheckResult>) -> Self {
        Self {
            schema: SELF_CHECK_SCHEMA,
            instance: instance.into(),
            version: version.into(),
            results,
        }
    }
}

/// A check that the controller insists on, whatever the instance says about it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "a name; more would be another concept")]
pub struct RequiredCheck {
    /// [`CheckResult::id`] that must be in the report and must have passed.
    pub id: String,
}

impl RequiredCheck {
    /// Insists on the check with this id.
    #[must_use]
    pub fn new(id: impl Into<String>) -> Self {
        Self { id: id.into() }
    }
}

/// Whether an instance may take traffic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(
    clippy::exhaustive_enums,
    reason = "an instance may take traffic or not; callers must decide both"
)]
pub enum GateVerdict {
    /// All required checks passed.
    Pass {
        /// Share of all reported checks that passed, 0 to 1.
        score: f64,
    },
    /// At least one required check did not pass: no traffic.
    Fail {
        /// Required checks that are not in the report.
        missing: Vec<String>,
        /// Required checks that ended in anything but a pass, and ids reported twice with different outcomes.
        failed: Vec<String>,
        /// The report's schema is newer than this crate: nothing in it was believed.
        unreadable: bool,
    },
}

impl GateVerdict {
    /// The instance may take traffic.
    #[must_use]
    pub const fn passed(&self) -> bool {
        matches!(self, Self::Pass { .. })
    }
}

/// Turns a report into a verdict. A missing, skipped, timed-out or unknown required check fails.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Gate;

impl Gate {
    /// Judges `report` against the checks the controller requires and those the instance calls required itself.
    ///
    /// A report without any required check, and a report in a newer schema, do not pass: there is nothing to believe.
    #[must_use]
    pub fn evaluate(required: &[RequiredCheck], report: &SelfCheckReport) -> GateVerdict {
        let own = report
            .results
            .iter()
            .filter(|result| result.required)
            .map(|result| result.id.as_str());
        let mut demanded: Vec<&str> = required.iter().map(|check| check.id.as_str()).chain(own).collect();
        demanded.sort_unstable();
        demanded.dedup();
        if report.schema > SELF_CHECK_SCHEMA {
            let missing = demanded.into_iter().map(str::to_owned).collect();
            return GateVerdict::Fail {
                missing,
                failed: Vec::new(),
                unreadable: true,
            };
        }
        let (mut missing, mut failed) = (Vec::new(), Vec::new());
        for id in &demanded {
            // An id reported twice passes only when every report of it did.
            let mut outcomes = report
                .results
                .iter()
                .filter(|result| result.id == *id)
                .map(|result| result.outcome);
            match outcomes.next() {
                None => missing.push((*id).to_owned()),
                Some(first) if first == CheckOutcome::Pass && outcomes.all(|next| next == CheckOutcome::Pass) => {}
                Some(_) => failed.push((*id).to_owned()),
            }
        }
        if demanded.is_empty() || !missing.is_empty() || !failed.is_empty() {
            return GateVerdict::Fail {
                missing,
                failed,
                unreadable: false,
            };
        }
        let passed = report
            .results
            .iter()
            .filter(|result| result.outcome == CheckOutcome::Pass)
            .count();
        let share = |count: usize| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
        GateVerdict::Pass {
            score: share(passed) / share(report.results.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(id: &str, required: bool, outcome: CheckOutcome) -> CheckResult {
        CheckResult {
            id: id.into(),
            required,
            outcome,
            detail: String::new(),
        }
    }

    fn report(results: Vec<CheckResult>) -> SelfCheckReport {
        SelfCheckReport::new("pod-7", "1.9.2", results)
    }

    #[test]
    fn all_required_checks_must_be_there_and_pass() {
        let required = [RequiredCheck::new("config"), RequiredCheck::new("golden")];
        let pass = CheckOutcome::Pass;
        let good = report(vec![
            check("config", true, pass),
            check("golden", true, pass),
            check("dependency", false, CheckOutcome::Fail),
            check("memory", false, pass),
        ]);
        assert_eq!(Gate::evaluate(&required, &good), GateVerdict::Pass { score: 0.75 });

        let without = report(vec![check("config", true, pass)]);
        let fail = |missing: &[&str], failed: &[&str]| GateVerdict::Fail {
            missing: missing.iter().map(ToString::to_string).collect(),
            failed: failed.iter().map(ToString::to_string).collect(),
            unreadable: false,
        };
        assert_eq!(Gate::evaluate(&required, &without), fail(&["golden"], &[]));
        for outcome in [
            CheckOutcome::Fail,
            CheckOutcome::Timeout,
            CheckOutcome::Skipped,
            CheckOutcome::Unknown,
        ] {
            let bad = report(vec![check("config", true, pass), check("golden", false, outcome)]);
            assert_eq!(Gate::evaluate(&required, &bad), fail(&[], &["golden"]));
        }
    }

    #[test]
    fn what_the_instance_calls_required_counts_too() {
        let pass = CheckOutcome::Pass;
        let own = report(vec![
            check("config", false, pass),
            check("ports", true, CheckOutcome::Fail),
        ]);
        assert!(!Gate::evaluate(&[RequiredCheck::new("config")], &own).passed());
    }

    #[test]
    fn contradictions_nothing_and_the_future_do_not_pass() {
        let pass = CheckOutcome::Pass;
        let twice = report(vec![
            check("config", true, pass),
            check("config", true, CheckOutcome::Fail),
        ]);
        assert!(!Gate::evaluate(&[], &twice).passed());
        assert!(!Gate::evaluate(&[], &report(vec![])).passed(), "no checks at all");
        let mut newer = report(vec![check("config", true, pass)]);
        newer.schema += 1;
        assert!(matches!(
            Gate::evaluate(&[], &newer),
            GateVerdict::Fail { unreadable: true, .. }
        ));
    }

    #[test]
    fn a_word_from_the_future_is_unknown_and_fails() {
        let wire = r#"{"schema":1,"instance":"pod-7","version":"2","results":[
            {"id":"config","required":true,"outcome":"mostly_fine"}]}"#;
        let report: SelfCheckReport = serde_json::from_str(wire).unwrap();
        assert_eq!(report.results[0].outcome, CheckOutcome::Unknown);
        assert!(!Gate::evaluate(&[], &report).passed());
    }
}
