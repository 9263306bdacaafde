//! What is the same in the journals of a queue and of a train: a record that says whose it is, and inputs, over which the machine is
//! a fold.

use serde::de::DeserializeOwned;
use unattended_upgrade::{Group, Journal, JournalError, Record, Stream};

/// Says whose the journal is.
pub(crate) const BEGIN: u8 = 1;
/// An input.
pub(crate) const INPUT: u8 = 2;
/// Groups read at once.
const READ_GROUPS: usize = 256;

/// What is folded.
pub(crate) struct Folded<'f> {
    /// Where its records are.
    pub(crate) stream: Stream,
    /// What its journal begins with.
    pub(crate) identity: &'f str,
    /// `queue`, for people.
    pub(crate) what: &'static str,
}

/// Why a journal could not be folded.
#[derive(Debug)]
pub(crate) enum FoldError {
    /// It is another one's, which says this of itself.
    OtherIs(String),
    /// What it says cannot be.
    Journal(String),
    /// It cannot be read.
    Read(JournalError),
}

impl From<JournalError> for FoldError {
    fn from(error: JournalError) -> Self {
        Self::Read(error)
    }
}

impl Folded<'_> {
    /// Gives all inputs of a journal to `apply`, in order. Whether it has begun.
    pub(crate) async fn read<I: DeserializeOwned>(
        &self,
        journal: &(impl Journal + ?Sized),
        mut apply: impl FnMut(I) -> Result<(), String> + Send,
    ) -> Result<bool, FoldError> {
        let (mut begun, mut from) = (false, 0);
        if let Some(snapshot) = journal.snapshot().await? {
            from = snapshot.before;
            begun |= self.group(&snapshot.group, &mut apply)?;
        }
        loop {
            let groups = journal.read(from, READ_GROUPS).await?;
            let Some((first, last)) = groups.last() else {
                return Ok(begun);
            };
            from = first + u64::from(last.len());
            for (_, group) in &groups {
                begun |= self.group(group, &mut apply)?;
            }
        }
    }

    fn group<I: DeserializeOwned>(
        &self,
        group: &Group,
        apply: &mut impl FnMut(I) -> Result<(), String>,
    ) -> Result<bool, FoldError> {
        let what = self.what;
        let mut begun = false;
        for Record { kind, bytes, .. } in group.records().filter(|record| record.stream == self.stream) {
            match kind {
                BEGIN if bytes == self.identity.as_bytes() => begun = true,
                BEGIN => return Err(FoldError::OtherIs(String::from_utf8_lossy(bytes).into_owned())),
                INPUT => {
                    let input = postcard::from_bytes(bytes).map_err(|error| error.to_string());
                    input
                        .and_then(&mut *apply)
                        .map_err(|error| FoldError::Journal(format!("an input of the {what}: {error}")))?;
                }
                kind => {
                    let text = format!("records of kind {kind} of the {what} come from a later version of it");
                    return Err(FoldError::Journal(text));
                }
            }
        }
        Ok(begun)
    }
}
