//! Offline: what rules would have done with what happened, and where two sets of rules part.

use serde::{Deserialize, Serialize};

use crate::action::{Action, Reason, Step};
use crate::delta::NodeIndex;
use crate::detector::Detector;
use crate::error::{NodeError, PolicyError};
use crate::node::Node;
use crate::outcome::Ending;
use crate::policy::Policy;

/// Something that happened, as it is fed to [`Replay`]. Records of one time are played in their order.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Record {
    /// When, in milliseconds.
    pub at_ms: u64,
    /// To which node.
    pub node: NodeIndex,
    /// What.
    pub event: RecordEvent,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RecordEvent {
    /// The node joined; it gets the smallest number that is free, which must be the one in the record.
    Join {
        /// Calls per second it can carry, if known.
        capacity: Option<f64>,
    },
    /// Calls ended.
    Calls {
        /// How.
        ending: Ending,
        /// How many, one after the other.
        calls: u32,
    },
    /// Answers took so long.
    Latency {
        /// Microseconds.
        latency_us: u64,
        /// How many.
        calls: u32,
    },
    /// The node left.
    Leave,
    /// Nothing; time has come this far.
    Tick,
}

impl Record {
    /// A record.
    #[must_use]
    pub const fn new(at_ms: u64, node: NodeIndex, event: RecordEvent) -> Self {
        Self { at_ms, node, event }
    }
}

/// Plays what happened to a detector, and sweeps at the end of every slice in between.
///
/// Traffic is what it was: a node that these rules would have isolated still gets the calls of the record. So a replay
/// says what would have been decided, not what would have come of it.
#[derive(Debug)]
pub struct Replay {
    detector: Detector,
    nodes: Vec<Option<Node>>,
    now_ms: u64,
    /// Of the last record: how long nothing has happened.
    busy_ms: u64,
    ignored: u64,
}

impl Replay {
    /// A detector at time zero, without nodes.
    ///
    /// # Errors
    ///
    /// [`PolicyError`].
    pub fn new(policy: Policy, seed: u64) -> Result<Self, PolicyError> {
        Ok(Self {
            detector: Detector::new(policy, seed)?,
            nodes: Vec::new(),
            now_ms: 0,
            busy_ms: 0,
            ignored: 0,
        })
    }

    /// Plays one record. What is recorded of a node that has left is ignored, and counted. A time before that of an
    /// earlier record is taken for that one.
    ///
    /// # Errors
    ///
    /// [`NodeError`] for a node that never joined or joins under another number than the next free one.
    pub fn play(&mut self, record: &Record) -> Result<Vec<Action>, NodeError> {
        let mut actions = self.advance(record.at_ms);
        self.busy_ms = self.now_ms;
        let NodeIndex(number) = record.node;
        match record.event {
            RecordEvent::Tick => actions.extend(self.detector.sweep(self.now_ms)),
            RecordEvent::Join { capacity } => {
                let node = self.detector.add(self.now_ms, capacity)?;
                let place = node.index().0 as usize;
                if node.index() != record.node {
                    actions.extend(self.detector.remove(self.now_ms, node.index())?);
                    return Err(NodeError::Unknown(number));
                }
                if self.nodes.len() <= place {
                    self.nodes.resize(place + 1, None);
                }
                self.nodes[place] = Some(node);
            }
            RecordEvent::Leave => {
                let slot = self.nodes.get_mut(number as usize).ok_or(NodeError::Unknown(number))?;
                if slot.take().is_some() {
                    actions.extend(self.detector.remove(self.now_ms, record.node)?);
                } else {
                    self.ignored += 1;
                }
            }
            RecordEvent::Calls { ending, calls } => match self.nodes.get(number as usize) {
                None => return Err(NodeError::Unknown(number)),
                Some(None) => self.ignored += 1,
                Some(Some(node)) => (0..calls).for_each(|_| {
                    node.record(self.now_ms, ending, None);
                }),
            },
            RecordEvent::Latency { latency_us, calls } => match self.nodes.get(number as usize) {
                None => return Err(NodeError::Unknown(number)),
                Some(None) => self.ignored += 1,
                Some(Some(node)) => (0..calls).for_each(|_| node.record_latency(latency_us)),
            },
        }
        Ok(actions)
    }

    /// Goes on under other rules. Nodes keep what is known of them; what needs new memory (the length of a slice, the
    /// latency floor) stays as it was.
    ///
    /// # Errors
    ///
    /// [`PolicyError`], and the old rules stay.
    pub fn configure(&mut self, policy: Policy) -> Result<(), PolicyError> {
        self.detector.configure(policy)
    }

    /// A last sweep at the time of the last record.
    pub fn finish(&mut self) -> Vec<Action> {
        self.detector.sweep(self.now_ms)
    }

    /// The detector, as it is now.
    #[must_use]
    pub const fn detector(&self) -> &Detector {
        &self.detector
    }

    /// The time of the last record, in milliseconds.
    #[must_use]
    pub const fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Records about nodes that had left.
    #[must_use]
    pub const fn ignored(&self) -> u64 {
        self.ignored
    }

    /// Lets time pass, with a sweep at the end of every slice. When nothing has happened for long, sweeps get rarer: a
    /// thousandth of the pause apart.
    fn advance(&mut self, to_ms: u64) -> Vec<Action> {
        let slice_ms = self.detector.policy().slice_ms;
        let mut actions = Vec::new();
        while self.now_ms < to_ms {
            let step_ms = (self.now_ms.saturating_sub(self.busy_ms) / 1_000).max(slice_ms);
            let next_ms = (self.now_ms.saturating_add(step_ms) / slice_ms).saturating_mul(slice_ms);
            if next_ms > to_ms {
                self.now_ms = to_ms;
                break;
            }
            self.now_ms = next_ms;
            actions.extend(self.detector.sweep(next_ms));
        }
        actions
    }
}

/// Plays a whole trace, from its first record to its last.
///
/// # Errors
///
/// [`ReplayError`] says which record cannot be played.
pub fn replay(policy: &Policy, seed: u64, trace: &[Record]) -> Result<Vec<Action>, ReplayError> {
    let mut replay = Replay::new(policy.clone(), seed).map_err(ReplayError::Policy)?;
    let mut actions = Vec::new();
    for (place, record) in trace.iter().enumerate() {
        actions.extend(
            replay
                .play(record)
                .map_err(|error| ReplayError::Record { place, error })?,
        );
    }
    actions.extend(replay.finish());
    Ok(actions)
}

/// What a trace cannot be replayed for.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The rules do not hold together.
    #[error(transparent)]
    Policy(PolicyError),
    /// A record does not fit what came before.
    #[error("record {place}: {error}")]
    Record {
        /// Its place in the trace, from 0.
        place: usize,
        /// What is wrong with it.
        error: NodeError,
    },
}

/// A decision that one set of rules makes and another does not, or at another time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Difference {
    /// The node; `None` for all of them.
    pub node: Option<NodeIndex>,
    /// What is done, without its numbers.
    pub kind: Kind,
    /// The first rules' decision, if they make it.
    pub before: Option<Decision>,
    /// The second rules', if they make it.
    pub after: Option<Decision>,
}

/// A decision without its evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "when and why")]
pub struct Decision {
    /// When, in milliseconds.
    pub at_ms: u64,
    /// Why.
    pub reason: Reason,
}

/// A [`Step`] without its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Kind {
    /// See [`Step::Isolate`].
    Isolate,
    /// See [`Step::Weigh`].
    Weigh,
    /// See [`Step::Probe`].
    Probe,
    /// See [`Step::Restore`].
    Restore,
    /// See [`Step::Hold`].
    Hold,
    /// See [`Step::Freeze`].
    Freeze,
    /// See [`Step::Thaw`].
    Thaw,
}

impl Step {
    /// What is done, without its numbers.
    #[must_use]
    pub const fn kind(self) -> Kind {
        match self {
            Self::Isolate { .. } => Kind::Isolate,
            Self::Weigh { .. } => Kind::Weigh,
            Self::Probe => Kind::Probe,
            Self::Restore => Kind::Restore,
            Self::Hold => Kind::Hold,
            Self::Freeze => Kind::Freeze,
            Self::Thaw => Kind::Thaw,
        }
    }
}

/// Where two sets of rules part on the same trace: for each node and kind of step, the n-th decision of one beside the
/// n-th of the other. Equal ones are left out. In the order of nodes, then of kinds, then of time.
#[must_use]
pub fn difference(before: &[Action], after: &[Action]) -> Vec<Difference> {
    let mut table = std::collections::BTreeMap::<_, [Vec<Decision>; 2]>::new();
    for (side, actions) in [before, after].into_iter().enumerate() {
        for action in actions {
            let decision = Decision {
                at_ms: action.at_ms,
                reason: action.reason,
            };
            table.entry((action.node, action.step.kind())).or_default()[side].push(decision);
        }
    }
    let mut differences = Vec::new();
    for ((node, kind), [before, after]) in table {
        for place in 0..before.len().max(after.len()) {
            let (before, after) = (before.get(place).copied(), after.get(place).copied());
            if before != after {
                differences.push(Difference {
                    node,
                    kind,
                    before,
                    after,
                });
            }
        }
    }
    differences
}
