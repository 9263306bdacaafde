//! The fold of the journal: what recovery and the describing of records share.
use std::collections::{BTreeMap, HashMap};

use crate::hash::Fixed;
use crate::machine::Remembered;
use crate::wire::MOST;
use crate::{
    AttemptId, EffectKey, Generation, GroupName, Mode, Reason, Receipt, Record, RecordError, Stream, TargetId,
    UpgradeRecord, Version,
};

/// What the records say so far: the versions, the attempts that have not ended, and every target ever attempted.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    pub(crate) versions: Vec<Version>,
    /// The same by name.
    pub(crate) numbers: BTreeMap<Version, u32>,
    pub(crate) open: BTreeMap<AttemptId, Open>,
    /// The lowest number that no attempt has had.
    pub(crate) next_attempt: u64,
    /// Never iterated where order matters.
    pub(crate) targets: HashMap<TargetId, Latest, Fixed>,
    begun: Numbers,
}

/// What a target has come to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Latest {
    /// The highest it had.
    pub(crate) generation: Generation,
    /// The attempt that has not ended.
    pub(crate) open: Option<AttemptId>,
}

/// A set of numbers that come nearly in order: from each first to its last.
#[derive(Clone, Debug, Default)]
struct Numbers(BTreeMap<u64, u64>);

impl Numbers {
    /// Whether it is new.
    fn insert(&mut self, number: u64) -> bool {
        let before = self.0.range(..=number).next_back().map(|(first, last)| (*first, *last));
        if before.is_some_and(|(_, last)| number <= last) {
            return false;
        }
        let first = match before {
            Some((first, last)) if number - last == 1 => first,
            _ => number,
        };
        let last = number
            .checked_add(1)
            .and_then(|next| self.0.remove(&next))
            .unwrap_or(number);
        self.0.insert(first, last);
        true
    }
}

/// One attempt that has begun and not ended.
#[derive(Clone, Debug)]
pub(crate) struct Open {
    pub(crate) target: TargetId,
    pub(crate) generation: Generation,
    pub(crate) mode: Mode,
    pub(crate) from: Version,
    pub(crate) to: Version,
    pub(crate) started_ms: u64,
    pub(crate) recoveries: u32,
    pub(crate) group: Option<GroupName>,
    pub(crate) remembered: Remembered,
}

/// One record and what it did to the fold.
pub(crate) struct Told {
    pub(crate) record: UpgradeRecord,
    /// The attempt, where the record is its end.
    pub(crate) ended: Option<Open>,
    pub(crate) receipt: Option<Receipt>,
}

impl History {
    /// Takes the next record; `None` for those of other streams. After an error the fold must not be used on.
    pub(crate) fn take(&mut self, record: &Record<'_>) -> Result<Option<Told>, RecordError> {
        if record.stream != Stream::UPGRADE {
            return Ok(None);
        }
        let record = UpgradeRecord::decode(record.kind, record.bytes)?;
        let (mut receipt, mut ended) = (None, None);
        match &record {
            UpgradeRecord::Version { index, version } => {
                let is_next = usize::try_from(*index) == Ok(self.versions.len());
                if !is_next || self.numbers.insert(version.clone(), *index).is_some() {
                    return Err(RecordError::VersionNumber { index: *index });
                }
                self.versions.push(version.clone());
            }
            UpgradeRecord::Target { target, generation } => {
                let latest = self.targets.entry(target.clone()).or_default();
                latest.generation = latest.generation.max(*generation);
            }
            UpgradeRecord::Numbered { next_attempt } => {
                self.next_attempt = self.next_attempt.max(next_attempt.0);
            }
            UpgradeRecord::Begun {
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
                // The number after it must be readable, too.
                if attempt.0 >= MOST {
                    return Err(RecordError::Number);
                }
                let (from, to) = (self.version(*from)?, self.version(*to)?);
                if from == to {
                    return Err(RecordError::SameVersion {
                        attempt: attempt.0,
                        version: to,
                    });
                }
                if !self.begun.insert(attempt.0) {
                    return Err(RecordError::Attempt { attempt: attempt.0 });
                }
                let latest = self.targets.entry(target.clone()).or_default();
                if let Some(open) = latest.open {
                    return Err(RecordError::Overlap {
                        attempt: attempt.0,
                        target: target.clone(),
                        open: open.0,
                    });
                }
                latest.take(*attempt, *generation)?;
                latest.open = Some(*attempt);
                self.next_attempt = self.next_attempt.max(attempt.0 + 1);
                let open = Open {
                    target: target.clone(),
                    generation: *generation,
                    mode: *mode,
                    from,
                    to,
                    started_ms: *at_ms,
                    recoveries: 0,
                    group: group.clone(),
                    remembered: Remembered::nothing(*was_healthy),
                };
                self.open.insert(*attempt, open);
            }
            UpgradeRecord::Intent {
                attempt,
                step,
                after_ms,
                left_ms,
                so_far,
                ..
            } => {
                let open = self.open_mut(*attempt)?;
                if open.remembered.went_back.is_some() && !step.may_follow_turning_back(open.mode) {
                    return Err(RecordError::Direction {
                        attempt: attempt.0,
                        step: *step,
                    });
                }
                let at_ms = open.started_ms.saturating_add(*after_ms);
                open.remembered.intend(*step, at_ms, *left_ms, *so_far);
            }
            UpgradeRecord::Backward { attempt, reason, .. } => {
                self.open_mut(*attempt)?.remembered.went_back = Some(reason.clone());
            }
            UpgradeRecord::Recovered {
                attempt, generation, ..
            } => {
                let open = self
                    .open
                    .get_mut(attempt)
                    .ok_or(RecordError::Attempt { attempt: attempt.0 })?;
                let latest = self.targets.entry(open.target.clone()).or_default();
                latest.take(*attempt, *generation)?;
                open.generation = *generation;
                open.recoveries = open.recoveries.saturating_add(1);
                open.remembered.recoveries_of_step = open.remembered.recoveries_of_step.saturating_add(1);
            }
            UpgradeRecord::Finished {
                attempt,
                terminal,
                went_back,
                after_ms,
                counts,
                before: _,
            } => {
                let open = self
                    .open
                    .remove(attempt)
                    .ok_or(RecordError::Attempt { attempt: attempt.0 })?;
                if let Some(latest) = self.targets.get_mut(&open.target) {
                    latest.open = None;
                }
                receipt = Some(Receipt {
                    attempt: *attempt,
                    target: open.target.clone(),
                    generation: open.generation,
                    mode: open.mode,
                    from: open.from.clone(),
                    to: open.to.clone(),
                    terminal: terminal.clone(),
                    went_back: went_back.clone(),
                    started_ms: open.started_ms,
                    finished_ms: open.started_ms.saturating_add(*after_ms),
                    outage_ms: counts.outage_ms,
                    drained: counts.drained,
                    cut: counts.cut,
                    retries: counts.retries,
                    moves: counts.moves,
                    recoveries: open.recoveries,
                    was_healthy: open.remembered.was_healthy,
                });
                ended = Some(open);
            }
        }
        Ok(Some(Told { record, ended, receipt }))
    }

    /// Whether an attempt at the target has not ended.
    pub(crate) fn is_open(&self, target: &TargetId) -> bool {
        self.targets.get(target).is_some_and(|latest| latest.open.is_some())
    }

    fn version(&self, index: u32) -> Result<Version, RecordError> {
        usize::try_from(index)
            .ok()
            .and_then(|place| self.versions.get(place))
            .cloned()
            .ok_or(RecordError::VersionNumber { index })
    }

    fn open_mut(&mut self, attempt: AttemptId) -> Result<&mut Open, RecordError> {
        self.open
            .get_mut(&attempt)
            .ok_or(RecordError::Attempt { attempt: attempt.0 })
    }
}

impl Latest {
    /// Generations of a target only rise.
    fn take(&mut self, attempt: AttemptId, generation: Generation) -> Result<(), RecordError> {
        if generation <= self.generation {
            return Err(RecordError::Generation {
                attempt: attempt.0,
                before: self.generation.0,
                found: generation.0,
            });
        }
        self.generation = generation;
        Ok(())
    }
}

/// One record of the upgrade stream in words, for people.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Description {
    /// `version`, `begun`, `intent`, `backward`, `recovered` or `finished`; in a snapshot also `target` and `numbered`.
    pub kind: &'static str,
    /// The target, where the record belongs to one.
    pub target: Option<String>,
    /// Its generation at that time.
    pub generation: Option<u64>,
    /// The step that was intended.
    pub step: Option<&'static str>,
    /// The key of the intended effect.
    pub key: Option<String>,
    /// What is known from this record on: the outcome of the effect before, a version, a reason, an end.
    pub result: String,
}

/// Puts the records of the upgrade stream into words, in order.
#[derive(Clone, Debug, Default)]
pub struct Describer {
    history: History,
}

impl Describer {
    /// At the beginning of a journal.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next record, and gives the receipt of the attempt that it ends, if it ends one.
    pub fn receipt(&mut self, record: &Record<'_>) -> Result<Option<Receipt>, RecordError> {
        Ok(self.history.take(record)?.and_then(|told| told.receipt))
    }

    /// Describes the next record; `None` for a record of another stream.
    pub fn describe(&mut self, record: &Record<'_>) -> Result<Option<Description>, RecordError> {
        let Some(Told { record, ended, .. }) = self.history.take(record)? else {
            return Ok(None);
        };
        let open = match (&ended, record.attempt()) {
            (Some(ended), _) => Some(ended),
            (None, Some(attempt)) => self.history.open.get(&attempt),
            (None, None) => None,
        };
        let mut description = Description {
            kind: "",
            target: open.map(|open| open.target.to_string()),
            generation: open.map(|open| open.generation.0),
            step: None,
            key: None,
            result: String::new(),
        };
        match record {
            UpgradeRecord::Version { index, version } => {
                description.kind = "version";
                description.result = format!("{index} is {version}");
            }
            UpgradeRecord::Begun { mode, .. } => {
                description.kind = "begun";
                if let Some(open) = open {
                    description.result = format!("{mode}: {} to {}", open.from, open.to);
                }
            }
            UpgradeRecord::Intent {
                attempt,
                step,
                ordinal,
                before,
                ..
            } => {
                description.kind = "intent";
                description.step = Some(step.name());
                description.key = open.map(|open| {
                    EffectKey {
                        attempt,
                        generation: open.generation,
                        step: step.number(),
                        ordinal,
                    }
                    .to_string()
                });
                description.result = before.name().to_owned();
            }
            UpgradeRecord::Backward { reason, .. } => {
                description.kind = "backward";
                description.result = reason.to_string();
            }
            UpgradeRecord::Recovered { .. } => {
                description.kind = "recovered";
            }
            UpgradeRecord::Target { target, generation } => {
                description.kind = "target";
                description.target = Some(target.to_string());
                description.generation = Some(generation.0);
            }
            UpgradeRecord::Numbered { next_attempt } => {
                description.kind = "numbered";
                description.result = format!("the next attempt is number {}", next_attempt.0);
            }
            UpgradeRecord::Finished { terminal, .. } => {
                description.kind = "finished";
                description.result = end_in_words(&terminal);
            }
        }
        Ok(Some(description))
    }
}

fn end_in_words(terminal: &crate::Terminal) -> String {
    use crate::Terminal;
    let because = |end: &str, reason: &Reason| format!("{end}: {reason}");
    match terminal {
        Terminal::Done => "done".to_owned(),
        Terminal::RolledBack { reason } => because("rolled back", reason),
        Terminal::Rejected { reason } => because("rejected", reason),
        Terminal::NeedsPerson {
            reason,
            serving,
            ingress,
        } => format!("needs a person (serving {serving:?}, ingress {ingress:?}): {reason}"),
        Terminal::Gone => "gone".to_owned(),
        Terminal::Superseded => "superseded".to_owned(),
    }
}
