use std::fmt;
use std::sync::Arc;

use crate::text::counted;

/// Where in the input something is wrong: `fleet.csv:17`, or ``pods.json: item 18 (pod `shop/web-1`)``.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file as it was named on the command line, or `standard input`.
    pub file: Arc<str>,
    /// The place inside the file.
    pub spot: Spot,
}

/// A place inside a file.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Spot {
    /// The file as a whole.
    Whole,
    /// A line, counted from 1.
    Line(u64),
    /// An entry of a list of pods, counted from 1.
    Item {
        /// Which entry.
        number: u64,
        /// `namespace/name`, once it is known.
        pod: Option<Arc<str>>,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.spot {
            Spot::Whole => write!(f, "{}", self.file),
            Spot::Line(line) => write!(f, "{}:{line}", self.file),
            Spot::Item { number, pod: None } => write!(f, "{}: item {number}", self.file),
            Spot::Item { number, pod: Some(pod) } => write!(f, "{}: item {number} (pod `{pod}`)", self.file),
        }
    }
}

/// Why an inventory cannot be used: the place, the field, what is wrong with it, and what to do.
///
/// Nothing has happened to any fleet when one of these is returned.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InputError {
    /// The file is missing, may not be read, or broke off with an error of the system.
    #[error("{file}: cannot be read: {why}: {fix}")]
    Unreadable {
        /// The file as given.
        file: Arc<str>,
        /// The system's own words.
        why: String,
        /// What to do.
        fix: &'static str,
    },
    /// The file has no bytes but blanks.
    #[error("{file}: is empty: give a CSV with a header, JSON lines, or what `kubectl get pods -o json` prints")]
    Empty {
        /// The file as given.
        file: Arc<str>,
    },
    /// The file is not text.
    #[error(
        "{place}: {what}, so this is no text in UTF-8: export it as plain text in UTF-8, unpack it first if it is packed"
    )]
    Binary {
        /// Where the first such byte stands.
        place: Place,
        /// Which byte was met.
        what: &'static str,
    },
    /// One line, row or pod is so long that something else must be meant.
    #[error(
        "{place}: one {what} is longer than {limit_mib} MiB: look for a quote that is never closed or a missing line break"
    )]
    TooLong {
        /// Where it begins.
        place: Place,
        /// `line`, `row` or `pod`.
        what: &'static str,
        /// The limit.
        limit_mib: u64,
    },
    /// The content is of a kind that no reader here takes.
    #[error("{place}: {what}: {fix}")]
    WrongFormat {
        /// Where it shows.
        place: Place,
        /// What was found.
        what: String,
        /// How to get the right thing.
        fix: &'static str,
    },
    /// A column or field that is needed is nowhere.
    #[error("{place}: no {field} (for `{role}`); there {are}: {fix}", are = if found.is_empty() { "are none".to_owned() } else { format!("are {found}") })]
    MissingField {
        /// The header's line, or the line of JSON.
        place: Place,
        /// The column or field that is missing.
        field: Field,
        /// The part it was to play.
        role: Box<str>,
        /// What is there instead, as a list.
        found: Box<str>,
        /// What to write, with the nearest name if one is near.
        fix: Box<str>,
    },
    /// A header names one column twice.
    #[error("{place}: {field} stands twice in the header: rename one of the two")]
    RepeatedColumn {
        /// The header's line.
        place: Place,
        /// The column.
        field: Field,
    },
    /// A row has more or fewer cells than the header.
    #[error("{place}: {cells} where the header has {expected}: complete the row, and put quotes around cells that contain commas", cells = counted(*found, "cell"))]
    Ragged {
        /// The row.
        place: Place,
        /// Cells in the row.
        found: usize,
        /// Cells in the header.
        expected: usize,
    },
    /// The id or the application of a target is empty.
    #[error("{place}: {field}: is empty: every target needs {needs}")]
    EmptyField {
        /// The row.
        place: Place,
        /// The cell.
        field: Field,
        /// `an id` or `an application`.
        needs: &'static str,
    },
    /// A value that cannot be what its field says.
    #[error("{place}: {field}: `{value}` {problem}")]
    BadValue {
        /// The row.
        place: Place,
        /// The cell.
        field: Field,
        /// The value, shortened.
        value: Box<str>,
        /// What is wrong, and the fix.
        problem: &'static str,
    },
    /// Two targets with the same id.
    #[error("{place}: {field}: duplicate id `{id}` (first in {first}): give every target one row")]
    Duplicate {
        /// The second of the two.
        place: Place,
        /// The cell.
        field: Field,
        /// The id.
        id: Arc<str>,
        /// The first of the two: `line 3` or `item 3`.
        first: String,
    },
    /// JSON that breaks off or is malformed.
    #[error("{place}: {why}: {fix}")]
    BrokenJson {
        /// The line or item.
        place: Place,
        /// The parser's words.
        why: String,
        /// What to do.
        fix: &'static str,
    },
    /// A JSON line that holds something else than an object.
    #[error("{place}: holds {found} where an object is needed: write one {{\"id\": …, \"app\": …}} per line")]
    NotAnObject {
        /// The line.
        place: Place,
        /// `an array`, `a number`, …
        found: &'static str,
    },
    /// An entry of a list of pods has no `metadata.name`.
    #[error("{place}: metadata.name: is missing or empty: list pods as `kubectl get pods -A -o json` prints them")]
    Nameless {
        /// The entry.
        place: Place,
    },
    /// More than one container of a pod is chosen.
    #[error("{place}: `--container {pattern}` matches {containers}: choose one of them by its whole name")]
    SeveralContainers {
        /// The pod.
        place: Place,
        /// The pattern as given.
        pattern: Box<str>,
        /// The containers, as a list.
        containers: Box<str>,
    },
    /// A list of pods without a word which container is the sidecar.
    #[error(
        "{file}: lists pods, so say which container is the sidecar with `--container NAME` (a regular expression for the whole name); seen: {seen}"
    )]
    NoContainerChosen {
        /// The file as given.
        file: Arc<str>,
        /// Container names with the number of pods, most frequent first.
        seen: Box<str>,
    },
    /// No pod has a container of that name.
    #[error(
        "{file}: no pod has a container whose whole name matches `--container {pattern}`: choose one of those seen: {seen}"
    )]
    NoMatch {
        /// The file as given.
        file: Arc<str>,
        /// The pattern as given.
        pattern: Box<str>,
        /// Container names with the number of pods, most frequent first.
        seen: Box<str>,
    },
    /// The input is well formed and has nothing to change.
    #[error("{file}: has no target: {why}")]
    NoTargets {
        /// The file as given.
        file: Arc<str>,
        /// What is there instead, and the fix.
        why: String,
    },
    /// More targets than [`MAX_TARGETS`](crate::MAX_TARGETS).
    #[error("{place}: more than {limit} targets: split the fleet")]
    TooMany {
        /// The first one too many.
        place: Place,
        /// The limit.
        limit: u32,
    },
    /// `--map` cannot be read.
    #[error("--map {given}: {why}: {fix}")]
    Map {
        /// The text as given.
        given: String,
        /// What is wrong.
        why: String,
        /// What to write.
        fix: String,
    },
    /// `--container` is no regular expression.
    #[error(
        "--container {given}: {why}: give a container's name or a regular expression for it, such as mesh-(proxy|agent)"
    )]
    Container {
        /// The text as given.
        given: String,
        /// What is wrong.
        why: String,
    },
    /// `--synthetic` cannot be read or asks for what cannot be.
    #[error("--synthetic {given}: {why}: {fix}")]
    Synthetic {
        /// The text as given.
        given: String,
        /// What is wrong.
        why: String,
        /// What to write.
        fix: String,
    },
    /// An option that says nothing about this kind of input.
    #[error("{file}: `{option}` is given, but the file {is}: leave the option out")]
    Inapplicable {
        /// The file as given.
        file: Arc<str>,
        /// The option.
        option: &'static str,
        /// What the file is.
        is: &'static str,
    },
}

/// A column of a CSV or a field of JSON.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    /// A column, by its header.
    Column(Box<str>),
    /// A field, by its path.
    Json(Box<str>),
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Column(name) => write!(f, "column `{name}`"),
            Self::Json(name) => write!(f, "field `{name}`"),
        }
    }
}
