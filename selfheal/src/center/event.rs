//! What goes into a center, and what comes out.

use serde::{Deserialize, Serialize};

use super::bulletin::{Bulletin, Scope};
use super::finding::Finding;
use super::ids::{NodeId, ZoneId};
use super::members::Member;
use super::probe::ProbeOrder;
use super::report::{Report, ReportError};

/// Something that happened. Serializable: who keeps events and ticks can replay a center to the same bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// The platform has a node, or knows something else about it.
    Member(Member),
    /// The platform has it no more.
    Left(NodeId),
    /// A reporter reports. `sender` is who the transport says it is.
    Report {
        /// Whose connection it came on.
        sender: NodeId,
        /// What it says.
        report: Report,
    },
    /// A probe was answered.
    Probed {
        /// Whose connection it came on.
        sender: NodeId,
        /// The order it answers.
        order: u64,
        /// Calls answered well and in time.
        good: u32,
        /// Calls that failed or were slow.
        bad: u32,
    },
    /// A heal order was carried out, or could not be.
    Healed {
        /// The order.
        order: u64,
        /// Whether.
        outcome: HealOutcome,
    },
    /// A rollout has changed these nodes.
    Changed {
        /// Its number: the embedder's.
        release: u64,
        /// The nodes.
        nodes: Vec<NodeId>,
    },
    /// A rollout is over and was judged good, or is undone.
    RolloutEnded {
        /// Its number.
        release: u64,
    },
    /// A person takes a node back into use, whatever the center thinks.
    Readmit(NodeId),
}

/// Something to be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Command {
    /// Ask a reporter to call a node.
    Probe(ProbeOrder),
    /// Act on the platform: [`carry_out`](super::carry_out).
    Heal(HealOrder),
    /// Tell people what changed.
    Notice(Notice),
    /// Send this to all reporters. The last command of every tick.
    Publish(Bulletin),
}

/// Something that people may want to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Notice {
    /// Something is wrong that was not.
    Found(Finding),
    /// What was found is no more.
    Over(Finding),
    /// A node is out of use from now on; in advisory mode, it would be.
    Isolated {
        /// Which.
        node: NodeId,
        /// For whom.
        scope: Scope,
        /// Why.
        finding: Finding,
        /// How often it relapsed before.
        relapses: u32,
        /// When probes ask whether it is well again, in milliseconds from now.
        for_ms: u64,
        /// It is only said, not done.
        advised: bool,
    },
    /// A node answers late and gets less than its share from now on; in advisory mode, it would.
    SubHealthy {
        /// Which.
        node: NodeId,
        /// Thousandths of its share.
        weight_permille: u16,
        /// Why.
        finding: Finding,
        /// It is only said, not done.
        advised: bool,
    },
    /// A node comes back: so many per cent of the reporters may use it.
    Returning {
        /// Which.
        node: NodeId,
        /// To how many per cent of the reporters.
        percent: u32,
    },
    /// A node is in use again, with its whole share.
    Restored {
        /// Which.
        node: NodeId,
    },
    /// Probes saw the accused node answer. Nothing is done.
    Acquitted {
        /// Which.
        node: NodeId,
    },
    /// A node should be isolated, and no budget is left for it.
    OverBudget {
        /// Which.
        node: NodeId,
    },
}

/// An action on the platform, to be carried out once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HealOrder {
    /// Its number: with `term`, unique over all centers. A platform that has seen it does nothing.
    pub id: u64,
    /// The term of the center that ordered it. A platform refuses terms older than the newest it has seen.
    pub term: u64,
    /// What to do.
    pub action: HealAction,
}

impl HealOrder {
    /// An order of whoever is in charge in `term`: a center, or another controller that heals.
    #[must_use]
    pub const fn new(id: u64, term: u64, action: HealAction) -> Self {
        Self { id, term, action }
    }
}

/// What a platform can do about a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum HealAction {
    /// Take it out of discovery, for callers that do not listen to bulletins. Void after the lease.
    Isolate {
        /// Which.
        node: NodeId,
        /// For how long.
        lease_ms: u64,
    },
    /// Put it back into discovery.
    Readmit {
        /// Which.
        node: NodeId,
    },
    /// Start it anew where it is.
    Restart {
        /// Which.
        node: NodeId,
    },
    /// Start another in its place.
    Replace {
        /// Which.
        node: NodeId,
    },
    /// Move traffic and work out of a zone.
    DrainZone {
        /// Which.
        zone: ZoneId,
    },
}

/// How an order ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "whoever reports an outcome must choose one")]
pub enum HealOutcome {
    /// Done.
    Done,
    /// This platform cannot do it, and never will.
    Unsupported,
    /// It failed, or nobody knows.
    Failed,
}

/// Why an event was refused. Nothing has happened; it is counted where counting helps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The report is none.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// The sender is no member: let the platform announce it first.
    #[error("{0} reports and is no member")]
    Stranger(NodeId),
    /// Nobody of this name was asked to probe so, or the answer came twice or too late.
    #[error("{sender} answers probe {order}, which it was not asked for or has answered")]
    Unasked {
        /// Who answers.
        sender: NodeId,
        /// What.
        order: u64,
    },
    /// More members or zones than a center takes.
    #[error("no room for {0}: a center takes 131,072 members in 256 zones")]
    NoRoom(NodeId),
}
