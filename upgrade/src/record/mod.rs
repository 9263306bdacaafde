mod parts;

use self::parts::{
    counts, ingress_number, mode, mode_number, put_counts, put_reason, reason, serving_number, some_reason, step,
    terminal, terminal_number, told,
};
use crate::wire::{Reader, put_number, put_text};
use crate::{
    AttemptId, Counts, EffectOutcome, Generation, GroupName, Mode, Moves, Reason, Step, TargetId, Terminal, Version,
};

/// The version of the format of every record here; its first byte.
///
/// Format 1 knew cold and warm alone: its intents have step and outcome in one byte and do not tell what was left of the
/// budget, and its ends have no moves. Intents of format 2 do not tell what was counted. Both are read, and not written.
const FORMAT: u8 = 3;

/// A record of the stream [`Stream::UPGRADE`](crate::Stream::UPGRADE).
///
/// Numbers are LEB128; names of targets and versions are written once and referred to. A typical warm attempt takes
/// six records and about a hundred bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UpgradeRecord {
    /// Gives a version a number. Numbers rise from 0 without holes.
    Version {
        /// The number.
        index: u32,
        /// The version.
        version: Version,
    },
    /// An attempt takes its generation. Precedes everything of it.
    Begun {
        /// Which attempt.
        attempt: AttemptId,
        /// At which target.
        target: TargetId,
        /// Higher than any the target had.
        generation: Generation,
        /// How.
        mode: Mode,
        /// Number of the version before.
        from: u32,
        /// Number of the version wanted.
        to: u32,
        /// On the driver's monotonic clock.
        at_ms: u64,
        /// The old instance was verified.
        was_healthy: bool,
        /// Whose bound it shares.
        group: Option<GroupName>,
    },
    /// An effect may be sent from now on. Carries what became of the attempt's effect before.
    Intent {
        /// Which attempt.
        attempt: AttemptId,
        /// The step of the key.
        step: Step,
        /// The ordinal of the key.
        ordinal: u8,
        /// The outcome before.
        before: Told,
        /// Since the attempt began, in milliseconds.
        after_ms: u64,
        /// What was left of the step's budget, in milliseconds; `None` in records of format 1.
        left_ms: Option<u64>,
        /// What was counted so far; `None` in records of formats 1 and 2.
        so_far: Option<SoFar>,
    },
    /// The attempt has turned back. No forward intent follows, but in a hot one those that leave the new instance in charge.
    Backward {
        /// Which attempt.
        attempt: AttemptId,
        /// Why.
        reason: Reason,
        /// Since the attempt began, in milliseconds.
        after_ms: u64,
    },
    /// A restarted controller took the attempt over, under a new generation. It fences, then looks.
    Recovered {
        /// Which attempt.
        attempt: AttemptId,
        /// The new generation.
        generation: Generation,
        /// On the driver's monotonic clock.
        at_ms: u64,
    },
    /// The attempt has ended.
    Finished {
        /// Which attempt.
        attempt: AttemptId,
        /// How.
        terminal: Terminal,
        /// Why it turned back, if it did.
        went_back: Option<Reason>,
        /// The outcome of its last effect.
        before: Told,
        /// Since the attempt began, in milliseconds.
        after_ms: u64,
        /// What was counted.
        counts: Counts,
    },
    /// In a snapshot: what remains of the attempts at a target that have ended.
    Target {
        /// Which target.
        target: TargetId,
        /// The highest generation it had.
        generation: Generation,
    },
    /// In a snapshot: how far the attempts are numbered.
    Numbered {
        /// The lowest number that no attempt has had.
        next_attempt: AttemptId,
    },
}

/// What an attempt has come to when it gives an order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_structs, reason = "a record has both")]
pub struct SoFar {
    /// What was counted; the outage up to this order.
    pub counts: Counts,
    /// The target is out of service.
    pub out: bool,
}

/// An outcome as it is journaled: without its words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
#[expect(clippy::exhaustive_enums, reason = "three bits of a record")]
pub enum Told {
    /// There was no effect, or it was not answered before the controller fell.
    #[default]
    Nothing = 0,
    /// [`EffectOutcome::Applied`].
    Applied = 1,
    /// [`EffectOutcome::AlreadyApplied`].
    AlreadyApplied = 2,
    /// [`EffectOutcome::Stale`].
    Stale = 3,
    /// [`EffectOutcome::Retry`].
    Retry = 4,
    /// [`EffectOutcome::Failed`].
    Failed = 5,
    /// [`EffectOutcome::Unknown`].
    Unknown = 6,
    /// [`EffectOutcome::Unsupported`].
    Unsupported = 7,
}

impl Told {
    const ALL: [Self; 8] = [
        Self::Nothing,
        Self::Applied,
        Self::AlreadyApplied,
        Self::Stale,
        Self::Retry,
        Self::Failed,
        Self::Unknown,
        Self::Unsupported,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Nothing => "",
            Self::Applied => "applied",
            Self::AlreadyApplied => "already_applied",
            Self::Stale => "stale",
            Self::Retry => "retry",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
            Self::Unsupported => "unsupported",
        }
    }
}

impl From<&EffectOutcome> for Told {
    fn from(outcome: &EffectOutcome) -> Self {
        match outcome {
            EffectOutcome::Applied => Self::Applied,
            EffectOutcome::AlreadyApplied => Self::AlreadyApplied,
            EffectOutcome::Stale => Self::Stale,
            EffectOutcome::Retry { .. } => Self::Retry,
            EffectOutcome::Failed { .. } => Self::Failed,
            EffectOutcome::Unknown { .. } => Self::Unknown,
            EffectOutcome::Unsupported => Self::Unsupported,
        }
    }
}

/// Why bytes are not a record, or a record does not fit those before it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// Another format.
    #[error(
        "an upgrade record has format {found:?}, this program reads formats 1 to {FORMAT}: use the version that wrote it"
    )]
    Format {
        /// The format byte, if any.
        found: Option<u8>,
    },
    /// A kind that does not exist.
    #[error("upgrade records have no kind {found}: the journal is damaged or of a newer program")]
    Kind {
        /// The kind.
        found: u8,
    },
    /// It ends too early.
    #[error("an upgrade record is cut short: the journal is damaged")]
    Short,
    /// It ends too late.
    #[error("an upgrade record has {left_over} bytes too many: the journal is damaged")]
    Long {
        /// How many.
        left_over: usize,
    },
    /// A number is out of its range.
    #[error("an upgrade record has a number out of range: the journal is damaged")]
    Number,
    /// A text is too long or not UTF-8.
    #[error("an upgrade record has a text that cannot be read: the journal is damaged")]
    Text,
    /// A choice that does not exist.
    #[error("an upgrade record has no such {what}: {found}; the journal is damaged or of a newer program")]
    Choice {
        /// Of what.
        what: &'static str,
        /// Its number.
        found: u8,
    },
    /// It belongs to an attempt that has not begun or has ended, or begins one for the second time.
    #[error(
        "attempt {attempt} has a record before its begin or after its end, or begins twice: the journal is damaged or out \
         of order"
    )]
    Attempt {
        /// Which.
        attempt: u64,
    },
    /// An attempt begins or goes on under a generation that its target has had already.
    #[error(
        "attempt {attempt} takes generation {found} of its target after {before}: the journal is damaged or out of order"
    )]
    Generation {
        /// Which attempt.
        attempt: u64,
        /// The highest that the target has had.
        before: u64,
        /// The one that is said to be taken.
        found: u64,
    },
    /// An attempt begins at a target at which another one has not ended.
    #[error(
        "attempt {attempt} begins at {target}, where attempt {open} has not ended: two controllers wrote to the journal, or \
         it is damaged"
    )]
    Overlap {
        /// Which attempt.
        attempt: u64,
        /// At which target.
        target: TargetId,
        /// The one that has not ended.
        open: u64,
    },
    /// It names a version that has no number, or numbers one out of order or for the second time.
    #[error(
        "version number {index} is used out of order, or is the second of its version: the journal is damaged or out of order"
    )]
    VersionNumber {
        /// The number.
        index: u32,
    },
    /// An attempt begins that would lead nowhere.
    #[error("attempt {attempt} begins from {version} to the same version: the journal is damaged")]
    SameVersion {
        /// Which attempt.
        attempt: u64,
        /// From and to which version.
        version: Version,
    },
    /// An attempt goes on forward after it has turned back.
    #[error("attempt {attempt} has turned back and then orders step {step}: the journal is damaged or out of order")]
    Direction {
        /// Which attempt.
        attempt: u64,
        /// The step.
        step: Step,
    },
}

/// The flag of a begin that names a group.
const IN_GROUP: u8 = 0x80;

/// The flags of an intent, beside the outcome before it.
const WITH_LEFT: u8 = 0x10;
const WITH_COUNTS: u8 = 0x20;
const OUT: u8 = 0x40;
const WITH_MOVES: u8 = 0x80;

const fn flag(set: bool, flag: u8) -> u8 {
    if set { flag } else { 0 }
}

impl UpgradeRecord {
    const VERSION: u8 = 1;
    const BEGUN: u8 = 2;
    const INTENT: u8 = 3;
    const BACKWARD: u8 = 4;
    const RECOVERED: u8 = 5;
    const FINISHED: u8 = 6;
    const TARGET: u8 = 7;
    const NUMBERED: u8 = 8;

    /// The attempt that the record belongs to, if it belongs to one.
    pub const fn attempt(&self) -> Option<AttemptId> {
        match self {
            Self::Begun { attempt, .. }
            | Self::Intent { attempt, .. }
            | Self::Backward { attempt, .. }
            | Self::Recovered { attempt, .. }
            | Self::Finished { attempt, .. } => Some(*attempt),
            Self::Version { .. } | Self::Target { .. } | Self::Numbered { .. } => None,
        }
    }

    /// The record's kind in its stream.
    pub const fn kind(&self) -> u8 {
        match self {
            Self::Version { .. } => Self::VERSION,
            Self::Begun { .. } => Self::BEGUN,
            Self::Intent { .. } => Self::INTENT,
            Self::Backward { .. } => Self::BACKWARD,
            Self::Recovered { .. } => Self::RECOVERED,
            Self::Finished { .. } => Self::FINISHED,
            Self::Target { .. } => Self::TARGET,
            Self::Numbered { .. } => Self::NUMBERED,
        }
    }

    /// Appends the record's bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(FORMAT);
        match self {
            Self::Version { index, version } => {
                put_number(out, (*index).into());
                put_text(out, version.as_str());
            }
            Self::Begun {
                attempt,
                target,
                generation,
                mode,
                from,
                to,
                at_ms,
                was_healthy,
                group,
            } => {
                put_number(out, attempt.0);
                put_number(out, generation.0);
                put_number(out, *at_ms);
                let in_group = if group.is_some() { IN_GROUP } else { 0 };
                out.push(mode_number(*mode) | u8::from(*was_healthy) << 1 | in_group);
                put_number(out, (*from).into());
                put_number(out, (*to).into());
                put_text(out, target.as_str());
                if let Some(group) = group {
                    put_text(out, group.as_str());
                }
            }
            Self::Intent {
                attempt,
                step,
                ordinal,
                before,
                after_ms,
                left_ms,
                so_far,
            } => {
                let SoFar { counts, out: is_out } = so_far.unwrap_or_default();
                put_number(out, attempt.0);
                out.push(step.number());
                out.push(
                    *before as u8
                        | flag(left_ms.is_some(), WITH_LEFT)
                        | flag(counts != Counts::default(), WITH_COUNTS)
                        | flag(counts.moves != Moves::default(), WITH_MOVES)
                        | flag(is_out, OUT),
                );
                out.push(*ordinal);
                put_number(out, *after_ms);
                if let Some(left_ms) = left_ms {
                    put_number(out, *left_ms);
                }
                if counts != Counts::default() {
                    put_counts(out, &counts);
                }
            }
            Self::Backward {
                attempt,
                reason,
                after_ms,
            } => {
                put_number(out, attempt.0);
                put_number(out, *after_ms);
                put_reason(out, reason);
            }
            Self::Target { target, generation } => {
                put_number(out, generation.0);
                put_text(out, target.as_str());
            }
            Self::Numbered { next_attempt } => put_number(out, next_attempt.0),
            Self::Recovered {
                attempt,
                generation,
                at_ms,
            } => {
                put_number(out, attempt.0);
                put_number(out, generation.0);
                put_number(out, *at_ms);
            }
            Self::Finished {
                attempt,
                terminal,
                went_back,
                before,
                after_ms,
                counts,
            } => {
                let any_moves = counts.moves != Moves::default();
                put_number(out, attempt.0);
                out.push(terminal_number(terminal) | u8::from(any_moves) << 3 | (*before as u8) << 4);
                put_number(out, *after_ms);
                put_counts(out, counts);
                match terminal {
                    Terminal::RolledBack { reason } | Terminal::Rejected { reason } => put_reason(out, reason),
                    Terminal::NeedsPerson {
                        reason,
                        serving,
                        ingress,
                    } => {
                        out.push(serving_number(*serving) | ingress_number(*ingress) << 4);
                        put_reason(out, reason);
                    }
                    Terminal::Done | Terminal::Gone | Terminal::Superseded => {}
                }
                match went_back {
                    Some(reason) => put_reason(out, reason),
                    None => out.push(0),
                }
            }
        }
    }

    /// Reads one record, whole or not at all. Never panics; allocates at most what the bytes hold.
    pub fn decode(kind: u8, bytes: &[u8]) -> Result<Self, RecordError> {
        let mut from = Reader(bytes);
        let format = match bytes.first() {
            Some(&format) if (1..=FORMAT).contains(&format) => format,
            found => return Err(RecordError::Format { found: found.copied() }),
        };
        from.byte()?;
        let record = match kind {
            Self::VERSION => Self::Version {
                index: from.small()?,
                version: Version::new(from.text()?),
            },
            Self::BEGUN => {
                let (attempt, generation) = (AttemptId(from.counter()?), Generation(from.counter()?));
                let at_ms = from.number()?;
                let mut flags = from.byte()?;
                // The first format knew no groups.
                let in_group = format > 1 && flags & IN_GROUP != 0;
                if in_group {
                    flags &= !IN_GROUP;
                }
                Self::Begun {
                    attempt,
                    generation,
                    at_ms,
                    mode: mode(flags & !2, format)?,
                    was_healthy: flags & 2 == 2,
                    from: from.small()?,
                    to: from.small()?,
                    target: TargetId::new(from.text()?),
                    group: if in_group {
                        Some(GroupName::new(from.text()?))
                    } else {
                        None
                    },
                }
            }
            Self::INTENT => {
                let attempt = AttemptId(from.counter()?);
                let first = from.byte()?;
                let (step_number, packed) = if format == 1 {
                    (first & 0xf, first >> 4)
                } else {
                    (first, from.byte()?)
                };
                let known = match format {
                    1 => 0,
                    2 => WITH_LEFT,
                    _ => WITH_LEFT | WITH_COUNTS | WITH_MOVES | OUT,
                };
                let flags = packed & known;
                let (step, before) = (step(step_number)?, told(packed & !known)?);
                let (ordinal, after_ms) = (from.byte()?, from.number()?);
                let left_ms = if flags & WITH_LEFT != 0 {
                    Some(from.number()?)
                } else {
                    None
                };
                let counts = match (flags & WITH_COUNTS != 0, flags & WITH_MOVES != 0) {
                    (false, false) => Counts::default(),
                    (true, any_moves) => counts(&mut from, any_moves)?,
                    (false, true) => {
                        return Err(RecordError::Choice {
                            what: "count",
                            found: packed,
                        });
                    }
                };
                Self::Intent {
                    attempt,
                    step,
                    ordinal,
                    before,
                    after_ms,
                    left_ms,
                    so_far: (format > 2).then_some(SoFar {
                        counts,
                        out: flags & OUT != 0,
                    }),
                }
            }
            Self::BACKWARD => Self::Backward {
                attempt: AttemptId(from.counter()?),
                after_ms: from.number()?,
                reason: some_reason(&mut from)?,
            },
            Self::RECOVERED => Self::Recovered {
                attempt: AttemptId(from.counter()?),
                generation: Generation(from.counter()?),
                at_ms: from.number()?,
            },
            Self::FINISHED => {
                let attempt = AttemptId(from.counter()?);
                let packed = from.byte()?;
                let after_ms = from.number()?;
                let any_moves = format > 1 && packed & 8 != 0;
                let packed = if any_moves { packed & !8 } else { packed };
                Self::Finished {
                    attempt,
                    counts: counts(&mut from, any_moves)?,
                    before: told(packed >> 4)?,
                    after_ms,
                    terminal: terminal(packed & 0xf, &mut from)?,
                    went_back: reason(&mut from)?,
                }
            }
            Self::TARGET => Self::Target {
                generation: Generation(from.counter()?),
                target: TargetId::new(from.text()?),
            },
            Self::NUMBERED => Self::Numbered {
                next_attempt: AttemptId(from.counter()?),
            },
            found => return Err(RecordError::Kind { found }),
        };
        from.end()?;
        Ok(record)
    }
}
