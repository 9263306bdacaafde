use serde::{Deserialize, Serialize};
use unattended_upgrade::{Describer, Journal, Position, Record, Stream, read_journal};

use crate::RunError;
use crate::input::Input;

/// One record of a journal, for people and their tools.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DumpLine {
    /// Its position; `None` in a snapshot, whose records have none any more.
    pub seq: Option<Position>,
    /// What it is.
    pub kind: String,
    /// The target it is about.
    pub target: Option<String>,
    /// The generation of the attempt.
    pub generation: Option<u64>,
    /// The step of the attempt.
    pub step: Option<String>,
    /// The idempotency key of the effect it intends, as `attempt/generation/step/ordinal`.
    pub key: Option<String>,
    /// What became of the effect before, or how the attempt ended.
    pub result: Option<String>,
}

/// Reads a whole journal and calls `each` with every record in order.
///
/// # Errors
/// [`RunError::Append`] or [`RunError::Journal`] where the journal cannot be read.
pub async fn dump<J: Journal + ?Sized>(journal: &J, mut each: impl FnMut(DumpLine) + Send) -> Result<(), RunError> {
    let mut describer = Describer::new();
    read_journal(journal, |seq, record| {
        each(line(seq, record, &mut describer)?);
        Ok::<(), RunError>(())
    })
    .await?;
    Ok(())
}

fn line(seq: Option<Position>, record: &Record<'_>, describer: &mut Describer) -> Result<DumpLine, RunError> {
    let mut line = DumpLine {
        seq,
        kind: format!("stream {} kind {}", record.stream.0, record.kind),
        target: None,
        generation: None,
        step: None,
        key: None,
        result: None,
    };
    if record.stream == Stream::AUTOPILOT {
        line.kind = Input::kind_name(record.kind).to_owned();
        line.result = Some(Input::decode(record).map_err(RunError::Journal)?.in_short());
    } else if let Some(told) = describer
        .describe(record)
        .map_err(|error| RunError::Journal(error.to_string()))?
    {
        line.kind = told.kind.to_owned();
        line.target = told.target;
        line.generation = told.generation;
        line.step = told.step.map(ToOwned::to_owned);
        line.key = told.key;
        line.result = Some(told.result);
    }
    Ok(line)
}
