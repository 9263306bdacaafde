//! The format of a recorded change: one JSON object a line.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, ErrorKind};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use unattended_batching::{Fleet, Policy, Target};
use unattended_defense::Guard;
use unattended_health::{History, Interval};

use super::Shadow;
use crate::{Actor, Change, RunError, Settings};

/// The version of the format of recorded changes.
pub const RECORD_SCHEMA: u32 = 1;

/// The first line: which change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::exhaustive_structs, reason = "written by whoever records a change")]
pub struct RecordedChange {
    /// [`RECORD_SCHEMA`].
    pub schema: u32,
    /// The name of the change.
    pub change: String,
    /// What drove it.
    pub tool: String,
    /// The version before.
    pub from: String,
    /// The version it brings.
    pub to: String,
    /// When it began, in Unix milliseconds: all other times count from then.
    pub began_unix_ms: i64,
    /// The length of an interval of metrics.
    pub interval_ms: u64,
    /// The seed from which the batches were drawn, where the change went by batches of [`Plan`](unattended_batching::Plan): with the same policy
    /// they are the same here. `None`, as with all other tools: they are drawn anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
}

/// A target of the fleet as it was at the beginning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::exhaustive_structs, reason = "written by whoever records a change")]
pub struct RecordedTarget {
    /// Its unique name.
    pub id: String,
    /// Its application.
    pub app: String,
    /// Its labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Whether it served; true unless said otherwise.
    #[serde(default = "yes")]
    pub ready: bool,
    /// The stratum that its requests are counted with, as intervals and history name it: targets of one application. Those of one
    /// stratum may differ in labels; nothing is then told apart by these.
    pub stratum: u32,
}

const fn yes() -> bool {
    true
}

/// What happened to a recorded change. Times are milliseconds since it began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
#[expect(clippy::exhaustive_enums, reason = "the format is versioned as a whole")]
pub enum Event {
    /// Metrics of an interval.
    Interval(Interval),
    /// A target was ordered to a version: the new one, or back.
    Ordered {
        /// When.
        at_ms: u64,
        /// Which.
        target: String,
        /// To the new version.
        new: bool,
    },
    /// A target runs what it was ordered to, and its checks have passed.
    Ready {
        /// When that was seen.
        at_ms: u64,
        /// Which.
        target: String,
        /// The new version.
        new: bool,
    },
    /// The new version crashed on a target or failed a check there.
    Failed {
        /// When that was seen.
        at_ms: u64,
        /// Which.
        target: String,
        /// What was seen.
        why: String,
    },
    /// The change is over.
    Ended {
        /// When.
        at_ms: u64,
        /// How.
        how: Ending,
    },
}

impl Event {
    /// When it happened, in milliseconds since the change began.
    pub(super) const fn at_ms(&self) -> u64 {
        match self {
            Self::Interval(interval) => interval.end_ms,
            Self::Ordered { at_ms, .. }
            | Self::Ready { at_ms, .. }
            | Self::Failed { at_ms, .. }
            | Self::Ended { at_ms, .. } => *at_ms,
        }
    }
}

/// How a recorded change ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "the format is versioned as a whole")]
pub enum Ending {
    /// The new version is everywhere, or nearly.
    Completed,
    /// The old version is.
    RolledBack,
    /// It was left where it stood.
    Aborted,
    /// It is not over: nobody drives it for now, and somebody may take it up.
    Waiting,
}

/// A line that is no [`Event`].
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Head {
    Change(RecordedChange),
    Target(RecordedTarget),
    History(History),
    /// An interval in the compact form of [`Interval::encode`], in hexadecimal.
    Packed {
        interval: String,
    },
}

#[derive(Deserialize)]
struct Kind<'l> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'l, str>,
}

/// Fields that are whole numbers, and of what. A line is read in two steps, and the second one does not say which field it was at.
const WHOLE: [(&str, &str); 8] = [
    ("at_ms", "milliseconds since the change began"),
    ("end_ms", "milliseconds since the change began"),
    ("began_unix_ms", "milliseconds since 1970"),
    ("interval_ms", "milliseconds"),
    ("index", "intervals since the change began"),
    ("stratum", "the number of a stratum"),
    ("seed", "a seed"),
    ("schema", "the version of the format"),
];

/// Dates of which there are calendars: the years 1970 to 9999.
const DATES: std::ops::Range<i64> = 0..253_402_300_800_000;

/// Why a line cannot be read, by its field, and what to write.
fn misread(line: &str, error: &serde_json::Error) -> String {
    let value: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
    let wrong = WHOLE.iter().find_map(|&(field, unit)| {
        let found = value.get(field).filter(|found| !found.is_null() && !found.is_u64())?;
        Some(format!(
            "`{field}` is {found}: give {unit}, a whole number of 0 or more"
        ))
    });
    wrong.unwrap_or_else(|| format!("{error}; docs/shadow.md says what a line of each type has"))
}

/// Why a recorded change cannot be read: the line, and what is wrong with it, or with the rules beside it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{what}", if *.line > 0 { format!("line {}: ", .line) } else { String::new() })]
#[non_exhaustive]
pub struct RecordError {
    /// From 1; 0 where it is about the whole, or about the rules.
    pub line: u64,
    /// What is wrong, and what would be right.
    pub what: String,
    /// The record may be sound: its rules speak of what its fleet does not have, and `what` names the pack.
    pub of_rules: bool,
}

impl Shadow {
    /// Reads a recorded change to its end. `policy` says how the autopilot would batch this fleet; it is spread over those of its labels that all
    /// targets of each stratum share.
    ///
    /// # Errors
    /// The first line that cannot be read, or does not belong where it is.
    pub fn read(
        mut lines: impl BufRead,
        settings: Settings,
        rules: Guard,
        policy: impl FnOnce(&Fleet, &BTreeSet<String>) -> Result<Policy, String>,
    ) -> Result<(Self, RecordedChange), RecordError> {
        let mut reading = Reading {
            change: None,
            targets: Vec::new(),
            history: Vec::new(),
            shadow: None,
            begin: Some((settings, rules, policy)),
            of_rules: false,
            number: 0,
            blamed: None,
        };
        let mut bytes = Vec::new();
        loop {
            reading.number += 1;
            bytes.clear();
            let read = lines.read_until(b'\n', &mut bytes);
            if read.map_err(|error| reading.fault(unreadable(&error)))? == 0 {
                break;
            }
            let line = match std::str::from_utf8(&bytes) {
                Ok(line) => line,
                // It breaks off amid a letter.
                Err(error) if error.error_len().is_none() && !bytes.ends_with(b"\n") => break,
                Err(_) => return Err(reading.fault(unreadable(&ErrorKind::InvalidData.into()))),
            };
            if reading.number == 1 && line.starts_with('\u{feff}') {
                return Err(
                    reading.fault("it begins with a byte order mark: save the record as UTF-8 without one".to_owned())
                );
            }
            if !line.ends_with('\n') && breaks_off(line) {
                // Whoever writes it is at it, or had no room. That it has no end is in the report.
                break;
            }
            if !line.trim().is_empty() {
                reading.line(line).map_err(|what| reading.fault(what))?;
            }
        }
        reading.number = 0;
        reading.begin().map_err(|what| reading.fault(what))?;
        let whole = |what: String| RecordError {
            line: 0,
            what,
            of_rules: false,
        };
        let missing = || whole("there is no change in it: begin with a line of type `change`".to_owned());
        let (_, change) = reading.change.ok_or_else(missing)?;
        let shadow = reading
            .shadow
            .ok_or_else(|| whole("there is nothing in it".to_owned()))?;
        Ok((shadow, change))
    }
}

struct Reading<P> {
    /// Each with its line.
    change: Option<(u64, RecordedChange)>,
    targets: Vec<(u64, RecordedTarget)>,
    history: Vec<(u64, History)>,
    shadow: Option<Shadow>,
    /// Until the first event.
    begin: Option<(Settings, Guard, P)>,
    /// What is wrong is wrong with the rules.
    of_rules: bool,
    /// The line that is read.
    number: u64,
    /// The earlier line that is to blame.
    blamed: Option<u64>,
}

impl<P: FnOnce(&Fleet, &BTreeSet<String>) -> Result<Policy, String>> Reading<P> {
    fn fault(&self, what: String) -> RecordError {
        let line = self.blamed.unwrap_or(self.number);
        RecordError {
            line: if self.of_rules { 0 } else { line },
            what,
            of_rules: self.of_rules,
        }
    }

    fn line(&mut self, line: &str) -> Result<(), String> {
        let kind: Kind<'_> = serde_json::from_str(line).map_err(|error| format!("no object with a `type`: {error}"))?;
        match &*kind.kind {
            "change" | "target" | "history" | "packed" => {
                let head = serde_json::from_str(line).map_err(|error| misread(line, &error))?;
                self.head(head)
            }
            "interval" | "ordered" | "ready" | "failed" | "ended" => {
                let event: Event = serde_json::from_str(line).map_err(|error| misread(line, &error))?;
                self.event(&event)
            }
            other => Err(format!(
                "there is no line of type `{other}`: use change, target, history, interval, packed, ordered, ready, failed or ended"
            )),
        }
    }

    fn head(&mut self, head: Head) -> Result<(), String> {
        match head {
            Head::Packed { interval } => {
                let bytes = from_hex(&interval).ok_or("`interval` is not in hexadecimal")?;
                let interval = Interval::decode(&bytes).map_err(|error| format!("`interval`: {error}"))?;
                self.event(&Event::Interval(interval))
            }
            Head::Change(change) if self.change.is_some() => Err(format!("a second change, `{}`", change.change)),
            Head::Change(change) if change.schema != RECORD_SCHEMA => Err(format!(
                "`schema` is {}: this version reads {RECORD_SCHEMA}",
                change.schema
            )),
            Head::Change(change) if !DATES.contains(&change.began_unix_ms) => Err(format!(
                "`began_unix_ms` is {}: give the date in milliseconds since 1970, as in 1795420800000",
                change.began_unix_ms
            )),
            Head::Change(change) => {
                self.change = Some((self.number, change));
                Ok(())
            }
            _ if self.change.is_none() => Err("the first line must be of type `change`".to_owned()),
            _ if self.begin.is_none() => Err("targets and history come before all that happens".to_owned()),
            Head::Target(target) => {
                self.targets.push((self.number, target));
                Ok(())
            }
            Head::History(history) => {
                self.history.push((self.number, history));
                Ok(())
            }
        }
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        self.begin()?;
        match &mut self.shadow {
            Some(shadow) => shadow.take(event).map_err(|error| match error {
                // Not all that is recorded comes from a source of metrics.
                RunError::Metrics(what) => what,
                error => error.to_string(),
            }),
            None => Err("the first line must be of type `change`".to_owned()),
        }
    }

    /// All that comes before the first event is read.
    fn begin(&mut self) -> Result<(), String> {
        let Some((change_line, change)) = &self.change else {
            return Ok(());
        };
        let change_line = *change_line;
        let Some((mut settings, rules, policy)) = self.begin.take() else {
            return Ok(());
        };
        settings.interval_ms = change.interval_ms;
        let constant = self.constant_labels();
        let mut builder = Fleet::builder();
        for (line, target) in &self.targets {
            self.blamed = Some(*line);
            let mut known = Target::new(target.id.clone(), target.app.clone());
            known.labels = target.labels.clone();
            known.ready = target.ready;
            builder.add(&known).map_err(|error| error.to_string())?;
        }
        self.blamed = Some(change_line);
        let fleet = builder.build().map_err(|error| error.to_string())?;
        rules.check_keys(fleet.keys()).map_err(|error| {
            self.of_rules = true;
            error.to_string()
        })?;
        let policy = policy(&fleet, &constant)?;
        let author = Actor::program(change.tool.clone(), "record");
        let (from, to) = (change.from.as_str().into(), change.to.as_str().into());
        let ours = Change::new(change.change.clone(), author, from, to, Arc::new(fleet))
            .policy(policy)
            .settings(settings)
            .seed(change.seed.unwrap_or_default());
        let began = change.began_unix_ms;
        // History speaks of recorded strata as well, so they are matched with a machine that has none first.
        let blank = Shadow::new(ours.clone(), rules.clone(), &[], began).map_err(|error| error.to_string())?;
        let strata = self.match_strata(&blank).map_err(|(line, what)| {
            self.blamed = Some(line);
            what
        })?;
        for (line, row) in &mut self.history {
            self.blamed = Some(*line);
            let known = strata.get(&row.stratum);
            row.stratum = *known.ok_or_else(|| format!("history of stratum {}, which has no target", row.stratum))?;
        }
        let history: Vec<History> = self.history.drain(..).map(|(_, row)| row).collect();
        self.blamed = Some(change_line);
        let mut shadow = Shadow::new(ours, rules, &history, began).map_err(|error| error.to_string())?;
        if change.seed.is_some() {
            shadow = shadow.with_same_batches();
        }
        self.blamed = None;
        strata
            .into_iter()
            .for_each(|(recorded, ours)| shadow.alike(recorded, ours));
        self.shadow = Some(shadow);
        Ok(())
    }

    /// The labels in which the targets of no stratum differ.
    fn constant_labels(&self) -> BTreeSet<String> {
        let mut keys: BTreeSet<String> = self
            .targets
            .iter()
            .flat_map(|(_, target)| target.labels.keys().cloned())
            .collect();
        let mut first: BTreeMap<u32, &RecordedTarget> = BTreeMap::new();
        for (_, target) in &self.targets {
            let like = first.entry(target.stratum).or_insert(target);
            keys.retain(|key| like.labels.get(key) == target.labels.get(key));
        }
        keys
    }

    /// By recorded stratum, ours: that of its targets.
    fn match_strata(&self, shadow: &Shadow) -> Result<BTreeMap<u32, u32>, (u64, String)> {
        let mut strata: BTreeMap<u32, u32> = BTreeMap::new();
        let mut taken: BTreeMap<u32, u32> = BTreeMap::new();
        for (line, target) in &self.targets {
            let wrong = |what: String| (*line, what);
            let number = shadow
                .machine()
                .stratum_of_target(&target.id)
                .ok_or_else(|| wrong(format!("target `{}` has no stratum", target.id)))?;
            if *strata.entry(target.stratum).or_insert(number) != number {
                return Err(wrong(format!(
                    "stratum {} has targets of several applications",
                    target.stratum
                )));
            }
            if *taken.entry(number).or_insert(target.stratum) != target.stratum {
                return Err(wrong(format!(
                    "strata {} and {} have targets of one application and the same labels: make one of them",
                    taken[&number], target.stratum
                )));
            }
        }
        Ok(strata)
    }
}

/// Whether this is the beginning of an object, and not all of it.
fn breaks_off(line: &str) -> bool {
    let read: Result<serde::de::IgnoredAny, _> = serde_json::from_str(line.trim_start());
    line.trim_start().starts_with('{') && read.is_err_and(|error| error.is_eof())
}

/// Why a line is none, and what helps.
fn unreadable(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::InvalidData => "it is not UTF-8: save the record as UTF-8 without a byte order mark".to_owned(),
        ErrorKind::IsADirectory => "it is a directory: give a file in it".to_owned(),
        _ => format!("{error}: see that the file can be read"),
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    let value = |digit: u8| char::from(digit).to_digit(16);
    let byte = |pair: &[u8]| u8::try_from(value(pair[0])? * 16 + value(pair[1])?).ok();
    digits
        .len()
        .is_multiple_of(2)
        .then(|| digits.chunks_exact(2).map(byte).collect())?
}
