//! The error-metrics log: one line for each interval, for whoever has log files and no metrics system.
//!
//! ```text
//! unattended-errors schema=1 host=pod-7 version=1.9.2 epoch=3 interval=42 age_ms=61000 sum_us=91230
//!     served=31:5,32:70 own=12:3 own_episodes=2                                        (one line)
//! ```
//!
//! `bucket:count` pairs, cumulative since the start: a lost line loses nothing, a line read twice counts once.

use core::fmt::Write;

use super::counters::CounterParts;
use super::{Instance, SNAPSHOT_SCHEMA, Snapshot};
use crate::FaultClass;
use crate::wire::MAX_BYTES;

/// The word that a line of the error-metrics log begins with.
pub const LOG_MARKER: &str = "unattended-errors";

/// Why a line is not a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {field}: {what}; {fix}")]
#[non_exhaustive]
pub struct LogError {
    /// The file, as the reader was told.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// Which field.
    pub field: String,
    /// What is wrong with it.
    pub what: String,
    /// What to do.
    pub fix: &'static str,
}

impl Snapshot {
    /// The snapshot as one line, without its end.
    #[must_use]
    pub fn to_log_line(&self) -> String {
        let Instance { host, version, epoch } = &self.instance;
        let (schema, interval, age_ms) = (self.schema, self.interval, self.age_ms);
        let mut line = format!(
            "{LOG_MARKER} schema={schema} host={host} version={version} epoch={epoch} interval={interval} age_ms={age_ms} sum_us={}",
            self.counters.sum_us()
        );
        for class in core::iter::once(None).chain(FaultClass::ALL.map(Some)) {
            let cells = self.counters.cells_of(class);
            if cells.is_empty() {
                continue;
            }
            let word = class.map_or("served", FaultClass::as_str);
            // Writing to a string does not fail.
            let _ = write!(line, " {word}=");
            for (place, (bucket, count)) in cells.into_iter().enumerate() {
                let comma = if place == 0 { "" } else { "," };
                let _ = write!(line, "{comma}{bucket}:{count}");
            }
            if let Some(class) = class {
                let _ = write!(line, " {word}_episodes={}", self.counters.episodes(class));
            }
        }
        line
    }

    /// Reads what [`to_log_line`](Self::to_log_line) wrote; `file` and `line` are for the error.
    ///
    /// # Errors
    ///
    /// [`LogError`] when a field is missing, unknown, twice there, not readable or not possible.
    pub fn from_log_line(file: &str, line: usize, text: &str) -> Result<Self, LogError> {
        parse(text).map_err(|(field, what, fix)| LogError {
            file: file.to_owned(),
            line,
            field,
            what,
            fix,
        })
    }
}

type Fault = (String, String, &'static str);

const FIX: &str = "the line was cut or edited; the next one of this host contains its counts";

fn parse(text: &str) -> Result<Snapshot, Fault> {
    let fault = |field: &str, what: String| (field.to_owned(), what, FIX);
    if text.len() > MAX_BYTES {
        return Err(fault(
            "line",
            format!("{} bytes are more than the 1 MiB that are read", text.len()),
        ));
    }
    let mut words = text.split(' ');
    if words.next() != Some(LOG_MARKER) {
        return Err(fault("line", format!("does not begin with `{LOG_MARKER}`")));
    }
    let (mut schema, mut epoch, mut interval, mut age_ms, mut sum_us) = (None, None, None, None, None);
    let (mut host, mut version) = (None, None);
    let mut parts = CounterParts::default();
    for word in words {
        let Some((key, value)) = word.split_once('=').filter(|(key, _)| !key.is_empty()) else {
            return Err(fault("line", format!("`{}` is not key=value", shortened(word))));
        };
        let wrong = |what: String| fault(&shortened(key), what);
        let twice = || wrong("comes twice".to_owned());
        let number = || {
            value
                .parse::<u64>()
                .map_err(|_| wrong(format!("`{}` is not a count", shortened(value))))
        };
        let once = |slot: &mut Option<u64>| match slot.replace(number()?) {
            None => Ok(()),
            Some(_) => Err(twice()),
        };
        match key {
            "schema" => once(&mut schema)?,
            "epoch" => once(&mut epoch)?,
            "interval" => once(&mut interval)?,
            "age_ms" => once(&mut age_ms)?,
            "sum_us" => once(&mut sum_us)?,
            "host" | "version" => {
                let slot = if key == "host" { &mut host } else { &mut version };
                if slot.replace(value.to_owned()).is_some() {
                    return Err(twice());
                }
            }
            "served" => parts.outcome(None, &pairs(value).map_err(wrong)?).map_err(wrong)?,
            key => {
                let (word, episodes) = key.strip_suffix("_episodes").map_or((key, false), |word| (word, true));
                let Some(class) = FaultClass::from_word(word) else {
                    return Err(wrong("is not a field of this schema".to_owned()));
                };
                if episodes {
                    parts.episodes(class, number()?).map_err(wrong)?;
                } else {
                    parts
                        .outcome(Some(class), &pairs(value).map_err(wrong)?)
                        .map_err(wrong)?;
                }
            }
        }
    }
    let missing = |field: &str| fault(field, "is missing".to_owned());
    parts.sum_us = sum_us.ok_or_else(|| missing("sum_us"))?;
    let schema = schema.ok_or_else(|| missing("schema"))?;
    let snapshot = Snapshot {
        schema: u32::try_from(schema).unwrap_or(u32::MAX),
        instance: Instance {
            host: host.ok_or_else(|| missing("host"))?,
            version: version.ok_or_else(|| missing("version"))?,
            epoch: epoch.ok_or_else(|| missing("epoch"))?,
        },
        interval: interval.ok_or_else(|| missing("interval"))?,
        age_ms: age_ms.ok_or_else(|| missing("age_ms"))?,
        counters: parts.build().map_err(|what| fault("counters", what))?,
    };
    if schema != u64::from(SNAPSHOT_SCHEMA) {
        let what = format!("{schema} is unknown, this program reads {SNAPSHOT_SCHEMA}");
        return Err(("schema".to_owned(), what, "read the log with the version that wrote it"));
    }
    snapshot.check().map_err(|what| fault("instance", what))?;
    Ok(snapshot)
}

/// `bucket:count` pairs.
fn pairs(value: &str) -> Result<Vec<(u8, u64)>, String> {
    value
        .split(',')
        .map(|pair| {
            let parsed = pair
                .split_once(':')
                .and_then(|(bucket, count)| Some((bucket.parse().ok()?, count.parse().ok()?)));
            parsed.ok_or_else(|| format!("`{}` is not bucket:count", shortened(pair)))
        })
        .collect()
}

/// Enough of a foreign text to recognize it.
fn shortened(text: &str) -> String {
    text.chars().take(40).collect()
}

/// Every line of a log that begins with [`LOG_MARKER`]; other lines are somebody else's and skipped.
///
/// ```
/// use unattended_health::{FaultClass, Instance, Ledger, Recorder, Taken, read_log};
///
/// let recorder = Recorder::new(Instance { host: "pod-7".into(), version: "2".into(), epoch: 1 }, 0)?;
/// recorder.writer().failed(FaultClass::Own, 900, 1);
/// let log = format!("started\n{}\n", recorder.end_interval(10_000).to_log_line());
///
/// let mut ledger = Ledger::new(1_000);
/// for snapshot in read_log("errors.log", &log) {
///     let Taken::Delta(delta) = ledger.take(&snapshot?)? else { continue };
///     assert_eq!(delta.counters.failed(FaultClass::Own), 1);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn read_log<'a>(file: &'a str, text: &'a str) -> impl Iterator<Item = Result<Snapshot, LogError>> + 'a {
    let ours = text
        .lines()
        .enumerate()
        .filter(|(_, line)| line.starts_with(LOG_MARKER));
    ours.map(move |(number, line)| Snapshot::from_log_line(file, number + 1, line))
}
