//! Reads objectives from OpenSLO documents (github.com/OpenSLO/OpenSLO, `openslo/v1`).

use core::fmt;

use super::yaml::{self, Node, Value};
use super::{Numerator, Query, Sli, Slo};

const MINUTE_MS: u64 = 60_000;
const DAY_MS: u64 = 24 * 60 * MINUTE_MS;
/// The window of an objective that names none.
const DEFAULT_WINDOW_MS: u64 = 30 * DAY_MS;
/// Longest text that is read, in bytes.
const MAX_BYTES: usize = 4 << 20;

/// One fault of a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {field}: {what}; {fix}")]
#[non_exhaustive]
pub struct ImportError {
    /// The file, as the caller named it.
    pub file: String,
    /// From 1; 0 when the fault has no place.
    pub line: u64,
    /// Path of the field, e.g. `spec.objectives[0].target`.
    pub field: String,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub fix: String,
}

/// Every fault that was found; nothing was imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportErrors {
    errors: Vec<ImportError>,
}

impl ImportErrors {
    /// Each fault, in the order of the file.
    #[must_use]
    pub fn errors(&self) -> &[ImportError] {
        &self.errors
    }
}

impl fmt::Display for ImportErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, error) in self.errors.iter().enumerate() {
            if place > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ImportErrors {}

/// Reads every `SLO` of a text of OpenSLO documents; `SLI` documents are used where an `indicatorRef` names them, other kinds
/// are skipped. `file` is for messages. An SLO with several objectives gives one [`Slo`] each, named `slo/objective`.
///
/// What cannot be kept exactly is refused by name, not approximated: budgets of time slices, calendar windows, threshold
/// metrics and ready-made ratios, since burn rates by class of fault need counts.
///
/// # Errors
///
/// [`ImportErrors`] with file, line, field and remedy of each fault.
///
/// ```
/// let yaml = "
/// apiVersion: openslo/v1
/// kind: SLO
/// metadata: {name: pay-availability}
/// spec:
///   service: pay
///   budgetingMethod: Occurrences
///   timeWindow: [{duration: 4w, isRolling: true}]
///   indicator:
///     metadata: {name: answered}
///     spec:
///       ratioMetric:
///         counter: true
///         bad: {metricSource: {type: Prometheus, spec: {query: requests_failed}}}
///         total: {metricSource: {type: Prometheus, spec: {query: requests_all}}}
///   objectives: [{target: 0.999}]
/// ";
/// let slos = unattended_health::import_openslo("pay.yaml", yaml)?;
/// assert_eq!((&*slos[0].name, slos[0].objective, slos[0].window_ms), ("pay-availability", 0.999, 28 * 86_400_000));
///
/// let wrong = yaml.replace("0.999", "99.9");
/// let error = unattended_health::import_openslo("pay.yaml", &wrong).unwrap_err().to_string();
/// assert_eq!(error, "pay.yaml:16: spec.objectives[0].target: 99.9 is outside 0 to 1, 1 excluded; write 0.999, or targetPercent: 99.9");
/// # Ok::<(), unattended_health::ImportErrors>(())
/// ```
pub fn import_openslo(file: &str, text: &str) -> Result<Vec<Slo>, ImportErrors> {
    let mut import = Import {
        file,
        errors: Vec::new(),
        slos: Vec::new(),
    };
    if text.len() > MAX_BYTES {
        let what = format!("{} bytes are more than the 4 MiB that are read", text.len());
        import.fault(0, "file", what, "split the file");
    } else {
        match yaml::parse(text) {
            Ok(documents) => import.documents(&documents),
            Err((line, what)) => import.fault(line, "document", what, "correct the YAML at this place"),
        }
    }
    if import.errors.is_empty() {
        Ok(import.slos)
    } else {
        Err(ImportErrors { errors: import.errors })
    }
}

struct Import<'a> {
    file: &'a str,
    errors: Vec<ImportError>,
    slos: Vec<Slo>,
}

fn text(node: &Node) -> Option<&str> {
    match &node.value {
        Value::Text(text) => Some(text),
        _ => None,
    }
}

impl Import<'_> {
    fn fault(&mut self, line: u64, field: impl Into<String>, what: impl Into<String>, fix: impl Into<String>) {
        self.errors.push(ImportError {
            file: self.file.to_owned(),
            line,
            field: field.into(),
            what: what.into(),
            fix: fix.into(),
        });
    }

    fn documents(&mut self, documents: &[Node]) {
        // A document may hold a list of objects.
        let objects: Vec<&Node> = documents
            .iter()
            .flat_map(|document| match &document.value {
                Value::List(nodes) => nodes.iter().collect(),
                Value::Null => Vec::new(),
                _ => vec![document],
            })
            .collect();
        let kind = |object: &Node| object.get("kind").and_then(text).map(str::to_owned);
        for object in &objects {
            match kind(object).as_deref() {
                Some("SLO") => self.slo(object, &objects),
                Some(
                    "SLI" | "DataSource" | "AlertPolicy" | "AlertCondition" | "AlertNotificationTarget" | "Service",
                ) => {}
                Some(other) => {
                    let what = format!("`{other}` is not a kind of OpenSLO");
                    self.fault(
                        object.line,
                        "kind",
                        what,
                        "write SLO, SLI or another kind of openslo/v1",
                    );
                }
                None => self.fault(
                    object.line,
                    "kind",
                    "is missing",
                    "each document is an object with a kind",
                ),
            }
        }
        if self.errors.is_empty() && self.slos.is_empty() {
            self.fault(0, "file", "has no SLO", "add a document with `kind: SLO`");
        }
    }

    /// A field that must be there as a text.
    fn required_text<'n>(&mut self, parent: &'n Node, path: &str, field: &str) -> Option<&'n str> {
        let full = format!("{path}{field}");
        match parent.get(field) {
            None => self.fault(parent.line, full, "is missing", format!("add `{field}`")),
            Some(node) => match &node.value {
                Value::Text(text) if !text.is_empty() => return Some(text),
                other => {
                    let what = format!("is {}, not a text", other.kind());
                    self.fault(node.line, full, what, "write a text");
                }
            },
        }
        None
    }

    fn name_of(&mut self, object: &Node, path: &str) -> Option<String> {
        let Some(metadata) = object.get("metadata") else {
            self.fault(
                object.line,
                format!("{path}metadata"),
                "is missing",
                "add `metadata: {name: ...}`",
            );
            return None;
        };
        self.required_text(metadata, &format!("{path}metadata."), "name")
            .map(str::to_owned)
    }

    fn slo(&mut self, object: &Node, objects: &[&Node]) {
        match object.get("apiVersion").map(|node| (node.line, text(node))) {
            Some((_, Some("openslo/v1"))) => {}
            Some((line, _)) => {
                let fix = "write `apiVersion: openslo/v1`, and the document as that version has it";
                self.fault(line, "apiVersion", "is not openslo/v1", fix);
            }
            None => self.fault(
                object.line,
                "apiVersion",
                "is missing",
                "write `apiVersion: openslo/v1`",
            ),
        }
        let name = self.name_of(object, "");
        let Some(spec) = object.get("spec") else {
            return self.fault(object.line, "spec", "is missing", "add `spec`");
        };
        match self.required_text(spec, "spec.", "budgetingMethod") {
            Some("Occurrences") | None => {}
            Some(other) => {
                let line = spec.get("budgetingMethod").map_or(spec.line, |node| node.line);
                let what = format!("`{other}` is not supported");
                let fix = "use `Occurrences`: burn rates by class of fault count requests, not slices of time";
                self.fault(line, "spec.budgetingMethod", what, fix);
            }
        }
        let window_ms = self.window(spec);
        let sli = self.indicator(spec, objects);
        let objectives = self.objectives(spec);
        let (Some(name), Some(window_ms), Some(sli)) = (name, window_ms, sli) else {
            return;
        };
        let several = objectives.len() > 1;
        for (objective, title, line, field) in objectives {
            let full = if several {
                format!("{name}/{title}")
            } else {
                name.clone()
            };
            match Slo::new(full, sli.clone(), objective, window_ms) {
                Ok(slo) if self.slos.iter().any(|other| other.name == slo.name) => {
                    let what = format!("a second objective is named `{}`", slo.name);
                    self.fault(
                        line,
                        "metadata.name",
                        what,
                        "name objectives apart, by name or displayName",
                    );
                }
                Ok(slo) => self.slos.push(slo),
                Err(error) => self.fault(line, field, error.to_string(), "correct the value"),
            }
        }
    }

    fn window(&mut self, spec: &Node) -> Option<u64> {
        let field = "spec.timeWindow";
        let Some(window) = spec.get("timeWindow") else {
            return Some(DEFAULT_WINDOW_MS);
        };
        let item = match &window.value {
            Value::List(items) if items.len() == 1 => &items[0],
            _ => {
                self.fault(
                    window.line,
                    field,
                    "is not a list of exactly one window",
                    "write `[{duration: 30d, isRolling: true}]`",
                );
                return None;
            }
        };
        let rolling = match item.get("isRolling").map(|node| &node.value) {
            None => item.get("calendar").is_none(),
            Some(Value::Bool(rolling)) => *rolling,
            Some(_) => false,
        };
        if !rolling || item.get("calendar").is_some() {
            let fix = "use a rolling window: `{duration: 30d, isRolling: true}`";
            self.fault(
                item.line,
                format!("{field}[0]"),
                "is aligned to the calendar, which is not supported",
                fix,
            );
            return None;
        }
        let written = self.required_text(item, "spec.timeWindow[0].", "duration")?;
        let line = item.get("duration").map_or(item.line, |node| node.line);
        let path = format!("{field}[0].duration");
        match duration_ms(written) {
            None => {
                let what = format!("`{written}` is not a duration");
                self.fault(
                    line,
                    path,
                    what,
                    "write a number and one of m, h, d, w, M (30 d), Q (90 d), Y (365 d), e.g. 30d",
                );
                None
            }
            Some(window_ms) if !(3 * DAY_MS..=366 * DAY_MS).contains(&window_ms) => {
                let what = format!("`{written}` is outside 3 to 366 days");
                self.fault(line, path, what, "usual windows have 28 or 30 days");
                None
            }
            Some(window_ms) => Some(window_ms),
        }
    }

    fn indicator(&mut self, spec: &Node, objects: &[&Node]) -> Option<Sli> {
        match (spec.get("indicator"), spec.get("indicatorRef")) {
            (Some(inline), None) => self.sli(inline, "spec.indicator."),
            (None, Some(reference)) => {
                let Some(wanted) = text(reference) else {
                    self.fault(
                        reference.line,
                        "spec.indicatorRef",
                        "is not a text",
                        "write the name of an SLI",
                    );
                    return None;
                };
                let is_it = |object: &&&Node| {
                    object.get("kind").and_then(text) == Some("SLI")
                        && object.get("metadata").and_then(|m| m.get("name")).and_then(text) == Some(wanted)
                };
                match objects.iter().find(is_it) {
                    Some(found) => self.sli(found, ""),
                    None => {
                        let what = format!("no SLI of this file is named `{wanted}`");
                        self.fault(
                            reference.line,
                            "spec.indicatorRef",
                            what,
                            "add the SLI to the file, or correct the name",
                        );
                        None
                    }
                }
            }
            (Some(_), Some(reference)) => {
                self.fault(
                    reference.line,
                    "spec.indicatorRef",
                    "stands beside `indicator`",
                    "keep one of the two",
                );
                None
            }
            (None, None) => {
                self.fault(
                    spec.line,
                    "spec.indicator",
                    "is missing",
                    "add `indicator` or `indicatorRef`",
                );
                None
            }
        }
    }

    fn sli(&mut self, object: &Node, path: &str) -> Option<Sli> {
        let name = self.name_of(object, path)?;
        let Some(spec) = object.get("spec") else {
            self.fault(
                object.line,
                format!("{path}spec"),
                "is missing",
                "add `spec` with a `ratioMetric`",
            );
            return None;
        };
        let field = format!("{path}spec.ratioMetric");
        let Some(ratio) = spec.get("ratioMetric") else {
            let fix = "describe it as a `ratioMetric` with `total`, and `good` or `bad`";
            let line = spec.get("thresholdMetric").map_or(spec.line, |node| node.line);
            self.fault(line, field, "is missing; threshold metrics have no counts", fix);
            return None;
        };
        if let Some(raw) = ratio.get("raw") {
            let fix = "give `total`, and `good` or `bad`: a ready-made ratio has no counts";
            self.fault(raw.line, format!("{field}.raw"), "is not supported", fix);
            return None;
        }
        if let Some(Node {
            line,
            value: Value::Bool(false),
        }) = ratio.get("counter")
        {
            let fix = "use metrics that only rise, and `counter: true`";
            self.fault(
                *line,
                format!("{field}.counter"),
                "is false: a number that goes up and down counts nothing",
                fix,
            );
            return None;
        }
        let numerator = match (ratio.get("good"), ratio.get("bad")) {
            (Some(good), None) => Numerator::Good(self.query(good, &format!("{field}.good"))?),
            (None, Some(bad)) => Numerator::Bad(self.query(bad, &format!("{field}.bad"))?),
            _ => {
                self.fault(
                    ratio.line,
                    field,
                    "needs exactly one of `good` and `bad`",
                    "keep one of the two",
                );
                return None;
            }
        };
        let Some(total) = ratio.get("total") else {
            self.fault(ratio.line, format!("{field}.total"), "is missing", "add `total`");
            return None;
        };
        let total = self.query(total, &format!("{field}.total"))?;
        Some(Sli::Ratio { name, numerator, total })
    }

    fn query(&mut self, node: &Node, path: &str) -> Option<Query> {
        let Some(source) = node.get("metricSource") else {
            self.fault(
                node.line,
                format!("{path}.metricSource"),
                "is missing",
                "add `metricSource` with a `spec`",
            );
            return None;
        };
        let Some(spec) = source.get("spec") else {
            self.fault(
                source.line,
                format!("{path}.metricSource.spec"),
                "is missing",
                "say what to ask the source for",
            );
            return None;
        };
        let optional = |field| source.get(field).and_then(text).map(str::to_owned);
        Some(Query {
            source: optional("type"),
            source_ref: optional("metricSourceRef"),
            spec: spec.to_json(),
        })
    }

    /// Objective, title, line and field of each.
    fn objectives(&mut self, spec: &Node) -> Vec<(f64, String, u64, String)> {
        let Some(objectives) = spec.get("objectives") else {
            self.fault(spec.line, "spec.objectives", "is missing", "add `[{target: 0.999}]`");
            return Vec::new();
        };
        let items = match &objectives.value {
            Value::List(items) if !items.is_empty() => items,
            _ => {
                self.fault(
                    objectives.line,
                    "spec.objectives",
                    "is not a list of objectives",
                    "add `[{target: 0.999}]`",
                );
                return Vec::new();
            }
        };
        let mut found = Vec::new();
        for (place, item) in items.iter().enumerate() {
            let path = format!("spec.objectives[{place}]");
            let (field, node, scale) = match (item.get("target"), item.get("targetPercent")) {
                (Some(node), None) => ("target", node, 1.0),
                (None, Some(node)) => ("targetPercent", node, 100.0),
                _ => {
                    self.fault(
                        item.line,
                        path,
                        "needs exactly one of `target` and `targetPercent`",
                        "keep one of the two",
                    );
                    continue;
                }
            };
            let field = format!("{path}.{field}");
            let title = item
                .get("displayName")
                .and_then(text)
                .map_or_else(|| place.to_string(), str::to_owned);
            match node.value {
                Value::Number(number) if (0.0..scale).contains(&number) => {
                    let share = if scale < 2.0 { number } else { hundredth(number) };
                    found.push((share, title, node.line, field));
                }
                Value::Number(number) => {
                    let what = format!("{number} is outside 0 to {scale}, {scale} excluded");
                    let fix = if scale < 2.0 && (1.0..100.0).contains(&number) {
                        format!("write {}, or targetPercent: {number}", hundredth(number))
                    } else {
                        "write the share of requests that is to be good".to_owned()
                    };
                    self.fault(node.line, field, what, fix);
                }
                ref other => {
                    let what = format!("is {}, not a number", other.kind());
                    self.fault(node.line, field, what, "write a number such as 0.999");
                }
            }
        }
        found
    }
}

/// The number that 99.95 % stands for: 0.9995, as if it had been written so, which division by 100 does not always give.
fn hundredth(number: f64) -> f64 {
    format!("{number}e-2").parse().unwrap_or(number / 100.0)
}

/// The shorthand of OpenSLO: a positive whole number and one letter.
fn duration_ms(text: &str) -> Option<u64> {
    let unit = text.chars().last()?;
    let number = &text[..text.len() - unit.len_utf8()];
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let unit_ms = match unit {
        'm' => MINUTE_MS,
        'h' => 60 * MINUTE_MS,
        'd' => DAY_MS,
        'w' => 7 * DAY_MS,
        'M' => 30 * DAY_MS,
        'Q' => 90 * DAY_MS,
        'Y' => 365 * DAY_MS,
        _ => return None,
    };
    let number: u64 = number.parse().ok()?;
    number.checked_mul(unit_ms).filter(|ms| *ms > 0)
}
