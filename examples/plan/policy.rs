//! The policy file: rules of the plan, and conditions of the forecast.

use std::path::Path;

use jiff::Timestamp;
use serde::Deserialize;
use serde_saphyr::DuplicateKeyPolicy;
use unattended::batching::{
    Conditions, ConditionsError, Duration, Fleet, Interval, PlanError, Policy, PolicyError, Violations,
};

use crate::Failure;
use crate::places::{Place, Places};

/// Every forecast begins on Monday, 23 November 2026, at 08:00 UTC, unless the file says otherwise.
const START_UNIX_MS: u64 = 1_795_420_800_000;

/// A file as it was written; every field may be left out.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Written {
    policy: Option<Policy>,
    forecast: Option<Expected>,
}

/// Conditions of the forecast, in people's units.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Expected {
    start: Option<Timestamp>,
    deadline: Option<Timestamp>,
    upgrade_seconds: Option<Percentiles>,
    bake_minutes: Option<Percentiles>,
    rollback_seconds: Option<u32>,
    prevalences: Option<Vec<f64>>,
    growths: Option<Vec<f64>>,
    windows: Vec<Windows>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Percentiles {
    p50: u32,
    p95: u32,
}

impl Percentiles {
    fn times(self, unit_ms: u64) -> Duration {
        Duration {
            p50_ms: u64::from(self.p50) * unit_ms,
            p95_ms: u64::from(self.p95) * unit_ms,
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Windows {
    apps: Vec<String>,
    open: Vec<Span>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Span {
    from: Timestamp,
    until: Timestamp,
}

/// A policy file, or the defaults in its place.
#[derive(Debug)]
pub(crate) struct PolicyFile {
    name: String,
    places: Places,
    policy: Option<Policy>,
    expected: Expected,
}

impl PolicyFile {
    pub(crate) fn read(path: Option<&Path>) -> Result<Self, Failure> {
        let Some(path) = path else {
            return Ok(Self {
                name: "the default policy".to_owned(),
                places: Places::default(),
                policy: None,
                expected: Expected::default(),
            });
        };
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| {
            Failure::Input(format!(
                "{name}: the policy cannot be read: {error}; fix: name a YAML file, such as docs/plan-policy.yaml"
            ))
        })?;
        Self::parse(name, &text)
    }

    fn parse(name: String, text: &str) -> Result<Self, Failure> {
        let places = Places::of(text);
        let options = serde_saphyr::options! {
            duplicate_keys: DuplicateKeyPolicy::Error,
            strict_booleans: true,
            with_snippet: false,
        };
        // A file of nothing but comments says nothing, and that may be said.
        let blank = text
            .lines()
            .all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'));
        let written: Result<Written, _> = if blank {
            Ok(Written::default())
        } else {
            serde_saphyr::from_str_with_options(text, options)
        };
        match written {
            Ok(written) => Ok(Self {
                name,
                places,
                policy: written.policy,
                expected: written.forecast.unwrap_or_default(),
            }),
            Err(error) => {
                let place = error.location().map(|place| (place.line(), place.column()));
                let field = place.and_then(|place| places.key_at(place)).map(str::to_owned);
                let said = error.without_snippet().to_string();
                Err(complaint(&name, place, field.as_deref(), &said))
            }
        }
    }

    /// The rules, if the file has any.
    pub(crate) const fn policy(&self) -> Option<&Policy> {
        self.policy.as_ref()
    }

    /// A rule that the planner refuses, with its place in the file.
    pub(crate) fn refused(&self, error: &PlanError) -> Failure {
        let rule = match error {
            PlanError::Policy(PolicyError::Ramp(_)) => "ramp",
            PlanError::Policy(PolicyError::Holdback { .. }) => "holdback",
            _ => "",
        };
        let text = error.to_string();
        // Messages begin with the rule they are about.
        let rule = if rule.is_empty() {
            text.split([':', ' ']).next().unwrap_or_default()
        } else {
            rule
        };
        let path = format!("policy.{rule}");
        self.at(self.places.of_path(&path), &text)
    }

    fn at(&self, place: Option<Place>, text: &str) -> Failure {
        match place {
            Some((line, column)) => Failure::Input(format!("{}:{line}:{column}: {text}", self.name)),
            None => Failure::Input(format!("{}: {text}", self.name)),
        }
    }

    /// The conditions of the forecast, for this fleet.
    pub(crate) fn conditions(&self, fleet: &Fleet) -> Result<Conditions, Failure> {
        let expected = &self.expected;
        let start_ms = match expected.start {
            Some(start) => self.unix_ms(start, "forecast.start")?,
            None => START_UNIX_MS,
        };
        let mut conditions = Conditions::new(start_ms);
        if let Some(deadline) = expected.deadline {
            conditions = conditions.deadline_ms(self.unix_ms(deadline, "forecast.deadline")?);
        }
        if let Some(seconds) = expected.upgrade_seconds {
            conditions = conditions.upgrade(seconds.times(1_000));
        }
        if let Some(minutes) = expected.bake_minutes {
            conditions = conditions.bake(minutes.times(60_000));
        }
        if let Some(seconds) = expected.rollback_seconds {
            conditions = conditions.rollback_ms(u64::from(seconds) * 1_000);
        }
        if let Some(prevalences) = &expected.prevalences {
            conditions = conditions.prevalences(prevalences.iter().copied());
        }
        if let Some(growths) = &expected.growths {
            let bad = growths.iter().find(|&&growth| !(1.001..=1e6).contains(&growth));
            if let Some(growth) = bad {
                let text = format!("growths: {growth} is not between 1.001 and 1000000; fix: give factors such as 2");
                return Err(self.at(self.places.of_path("forecast.growths"), &text));
            }
            conditions = conditions.growths(growths.iter().copied());
        }
        for (at, windows) in expected.windows.iter().enumerate() {
            let path = format!("forecast.windows[{at}]");
            let mut open = Vec::new();
            for (span_at, span) in windows.open.iter().enumerate() {
                let path = format!("{path}.open[{span_at}]");
                open.push(Interval {
                    from_ms: self.unix_ms(span.from, &path)?,
                    until_ms: self.unix_ms(span.until, &path)?,
                });
            }
            for name in &windows.apps {
                let Some(app) = fleet.app_index(name) else {
                    let text = format!(
                        "windows: no target belongs to an application `{name}`; fix: name one of the inventory's, such as `{}`",
                        fleet.app_name(unattended::batching::AppIndex(0))
                    );
                    return Err(self.at(self.places.of_path(&path), &text));
                };
                conditions = conditions.windows(app, open.iter().copied());
            }
        }
        Ok(conditions)
    }

    /// Conditions that the forecast refuses, with their place in the file.
    pub(crate) fn refused_conditions(&self, error: &ConditionsError) -> Failure {
        let field = match error {
            ConditionsError::Duration { field: "upgrade", .. } => "upgrade_seconds",
            ConditionsError::Duration { .. } => "bake_minutes",
            ConditionsError::Time { field: "start", .. } => "start",
            ConditionsError::Time { field: "deadline", .. } => "deadline",
            ConditionsError::Prevalence { .. } => "prevalences",
            _ => "windows",
        };
        self.at(self.places.of_path(&format!("forecast.{field}")), &error.to_string())
    }

    fn unix_ms(&self, time: Timestamp, path: &str) -> Result<u64, Failure> {
        u64::try_from(time.as_millisecond()).map_err(|_| {
            let text = format!("{time} lies before 1970; fix: give a time of the change");
            self.at(self.places.of_path(path), &text)
        })
    }
}

/// A plan that does not keep its bounds is a fault of ours.
pub(crate) fn unproved(violations: &Violations) -> Failure {
    Failure::Internal(violations.to_string())
}

/// What the parser says, with place, field and fix.
fn complaint(name: &str, place: Option<Place>, field: Option<&str>, said: &str) -> Failure {
    // The place is in front already.
    let mut what = said.trim().trim_start_matches("error: ").to_owned();
    if let Some((line, column)) = place {
        for lead in [
            format!("line {line} column {column}: "),
            format!(" at line {line}, column {column}"),
        ] {
            what = what.replace(&lead, "");
        }
    }
    let fix = fix_of(&what, field.unwrap_or_default());
    if let Some(cut) = what.find(", set DuplicateKeyPolicy") {
        what.truncate(cut);
    }
    let place = place.map_or_else(String::new, |(line, column)| format!(":{line}:{column}"));
    let field = field.map_or_else(String::new, |field| format!(" {field}:"));
    Failure::Input(format!("{name}{place}:{field} {what}{fix}"))
}

fn fix_of(what: &str, field: &str) -> String {
    let quoted = |text: &str| text.split('`').nth(1).map(str::to_owned);
    if let Some((unknown, known)) = what.split_once(", expected one of ") {
        let known: Vec<&str> = known.split(',').map(|word| word.trim().trim_matches('`')).collect();
        let unknown = quoted(unknown).unwrap_or_default();
        if known.contains(&"policy") {
            return "; fix: put the rules below `policy:`, and what the forecast assumes below `forecast:`".to_owned();
        }
        if unknown == "doubling" {
            return "; fix: write geometric: { first: 0.1 %, growth: 2 }".to_owned();
        }
        return match unattended_examples_support::nearest(&unknown, known.iter().copied()) {
            Some(near) => format!("; fix: did you mean `{near}`?"),
            None => "; fix: use one of these".to_owned(),
        };
    }
    if let Some(field) = what.strip_prefix("missing field ").and_then(|_| quoted(what)) {
        return format!("; fix: add `{field}:`");
    }
    if [".start", ".deadline", ".from", ".until"]
        .iter()
        .any(|end| field.ends_with(end))
    {
        return "; fix: write a moment with its zone, such as 2026-11-23T08:00:00Z".to_owned();
    }
    let known = [
        ("sequence start", "; fix: write a list, such as [zone, stack]"),
        (
            "mapping start",
            "; fix: write `key: value` lines below it, or leave the key out",
        ),
        ("duplicate mapping key", "; fix: name it once"),
        (
            "end of mapping after enum",
            "; fix: a ramp is one of the five; remove the others",
        ),
        ("invalid u32", "; fix: write a whole number, 0 or more"),
        ("invalid u64", "; fix: write a whole number, 0 or more"),
        ("invalid floating point", "; fix: write a number"),
        ("floating point", "; fix: write a share with its sign, such as `25 %`"),
        ("unit value", "; fix: write a value behind it, or leave the key out"),
        ("tabs", "; fix: indent with blanks"),
    ];
    let lower = what.to_lowercase();
    known
        .iter()
        .find(|(sign, _)| lower.contains(sign))
        .map(|(_, fix)| (*fix).to_owned())
        // Our own messages say what to do already.
        .unwrap_or_else(|| if what.contains("; ") || what.contains("such as") { String::new() } else { "; fix: compare with docs/plan-policy.yaml".to_owned() })
}
