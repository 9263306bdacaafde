//! A level that past changes have earned.

use std::path::Path;

use unattended::{Actor, Grant, Labelled, Level, Terms, TrackRecord};
use unattended_examples_support::Failure;

/// The kind of the change that the example makes.
pub(crate) const KIND: &str = "sidecar";

/// The grant that the labels in a file have earned by a moment, and why it is no higher. Nothing earned is a grant of what anybody
/// may do.
pub(crate) fn grant(path: &Path, owner: Actor, now_unix_ms: i64) -> Result<(Grant, String), Failure> {
    let name = path.display();
    let wrong = |text: String| Failure::Input(format!("{name}{text}"));
    let text = std::fs::read_to_string(path).map_err(|error| {
        wrong(format!(
            ": the labels cannot be read: {error}: give a file with a label a line"
        ))
    })?;
    let mut record = TrackRecord::new(owner.clone(), Terms::default()).map_err(Failure::input)?;
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim().is_empty() {
            continue;
        }
        let labelled: Labelled = serde_json::from_str(line).map_err(|error| {
            wrong(format!(
                ":{number}: no label: {error}; write {{\"change\": \"mesh-1.9.1\", \"kind\": \"{KIND}\", \"at_unix_ms\": 1795420800000, \
                 \"label\": \"passed\", \"drill\": false, \"by\": {{\"id\": \"li\", \"kind\": \"person\", \"via\": \"desk\"}}}}"
            ))
        })?;
        record
            .add(labelled)
            .map_err(|error| wrong(format!(":{number}: {error}")))?;
    }
    let earned = record.earned(KIND, now_unix_ms);
    let grant = match record.grant(KIND, now_unix_ms) {
        Some(grant) => grant,
        None => Grant::new(Level::UNGRANTED, owner, i64::MAX).map_err(Failure::input)?,
    };
    let lacks = if earned.lacks.is_empty() {
        "no level is higher".to_owned()
    } else {
        earned.lacks
    };
    let note = format!(
        "the record has earned {} for changes of kind {KIND}; {lacks}",
        earned.level
    );
    Ok((grant, note))
}
