//! What the detector does about a node, and what it rests on.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::delta::NodeIndex;

/// One decision, with the evidence it was made on. Serializable, and the same again from the same calls.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Action {
    /// When, on the caller's clock, in milliseconds.
    pub at_ms: u64,
    /// The node; `None` if it concerns all of them.
    pub node: Option<NodeIndex>,
    /// What is done.
    pub step: Step,
    /// Why.
    pub reason: Reason,
    /// How often the node has been isolated, relapses that were forgiven taken off.
    pub multiplier: u32,
    /// `false` in a dry run: nothing was withheld.
    pub enforced: bool,
    /// The numbers behind it, as they were.
    pub evidence: Evidence,
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Step {
    /// Nothing goes to the node any more, until a probe is allowed at `until_ms`.
    Isolate {
        /// The end of the isolation.
        until_ms: u64,
    },
    /// The node gets less than its share: sub-healthy, or on its way back.
    Weigh {
        /// Thousandths of its usual share.
        weight_permille: u16,
    },
    /// One call may go to the node; its outcome decides.
    Probe,
    /// The node is in full service.
    Restore,
    /// The node would have been isolated, and the cap forbids it.
    Hold,
    /// Most nodes got worse together: nobody is isolated while that lasts.
    Freeze,
    /// That is over.
    Thaw,
}

/// Why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// The sequential test of its calls reached its threshold.
    SequentialTest,
    /// It fails more than its peers, over many slices.
    WorseThanPeers,
    /// It answers slower than its peers at equal load and than it used to.
    Slow,
    /// As `Slow`, far more, and calls time out.
    SlowAndTimingOut,
    /// Its probe failed.
    ProbeFailed,
    /// It failed again on its way back.
    Relapse,
    /// Its isolation is over.
    TimeServed,
    /// Its probe was answered.
    ProbePassed,
    /// A stage of its return passed without evidence against it.
    StagePassed,
    /// Evidence against it is gone.
    Recovered,
    /// The cap shrank below what is isolated: the least bad comes back.
    CapShrank,
    /// The cap is reached.
    CapReached,
    /// The median of its peers got worse as well.
    CommonCause,
    /// Somebody else said so, and answers for it.
    Imposed,
}

/// Counts, statistics and limits at the moment of a decision. Rates are fractions of calls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Evidence {
    /// Failures in the run that the deciding test speaks of.
    pub failures: u64,
    /// Successes in it.
    pub successes: u64,
    /// When the run began, in milliseconds.
    pub began_ms: Option<u64>,
    /// The score of the sequential test.
    pub score: u32,
    /// Its threshold.
    pub threshold: u32,
    /// The failure rate that counts as healthy just now.
    pub healthy_rate: f64,
    /// The failure rate that test is tuned to.
    pub bad_rate: f64,
    /// Median failure rate of the nodes in service.
    pub median_rate: f64,
    /// What that median usually is; `None` before there was enough traffic to know.
    pub usual_rate: Option<f64>,
    /// Log likelihood ratio of the test against peers.
    pub peer_score: f64,
    /// Its threshold.
    pub peer_threshold: f64,
    /// Lower Wilson bound of the run's rate, shrunk towards the median.
    pub lower_rate: f64,
    /// Latency at equal load over what is usual for this node among its peers; 1 if it is the usual.
    pub latency_ratio: f64,
    /// Nodes in service.
    pub in_service: u32,
    /// Nodes isolated.
    pub isolated: u32,
    /// Nodes that may be isolated at most.
    pub cap: u32,
    /// Nodes of which something speaks against.
    pub worse: u32,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let e = &self.evidence;
        write!(f, "{} ms: ", self.at_ms)?;
        match self.node {
            Some(NodeIndex(node)) => write!(f, "node {node} ")?,
            None => write!(f, "all nodes ")?,
        }
        match self.step {
            Step::Isolate { until_ms } => write!(f, "isolated until {until_ms} ms (time {})", self.multiplier)?,
            Step::Weigh { weight_permille } => write!(f, "weighs {weight_permille} of 1000")?,
            Step::Probe => write!(f, "may be probed")?,
            Step::Restore => write!(f, "in full service")?,
            Step::Hold => write!(
                f,
                "not isolated: {} of {} are, {} may be",
                e.isolated,
                e.isolated + e.in_service,
                e.cap
            )?,
            Step::Freeze => write!(f, "kept in service")?,
            Step::Thaw => write!(f, "judged again")?,
        }
        match self.reason {
            Reason::SequentialTest => write!(
                f,
                ": {} of {} calls failed, score {} of {}; {} % failing is healthy, {} % is bad",
                e.failures,
                e.failures.saturating_add(e.successes),
                e.score,
                e.threshold,
                e.healthy_rate * 100.0,
                e.bad_rate * 100.0
            ),
            Reason::WorseThanPeers => write!(
                f,
                ": {} of {} calls failed, surely more than {:.2} %, where the median of peers is {:.2} %",
                e.failures,
                e.failures.saturating_add(e.successes),
                e.lower_rate * 100.0,
                e.median_rate * 100.0
            ),
            Reason::Slow | Reason::SlowAndTimingOut => {
                write!(f, ": {:.1} times its usual latency at equal load", e.latency_ratio)
            }
            Reason::CommonCause => write!(
                f,
                ": {} of {} nodes got worse together; median {:.2} %",
                e.worse,
                e.in_service,
                e.median_rate * 100.0
            ),
            Reason::ProbeFailed => f.write_str(": the probe failed"),
            Reason::Relapse => f.write_str(": failed again on its way back"),
            Reason::TimeServed => f.write_str(": the isolation is over"),
            Reason::ProbePassed => f.write_str(": the probe was answered"),
            Reason::StagePassed => f.write_str(": nothing spoke against it at this stage"),
            Reason::Recovered => f.write_str(": nothing speaks against it any more"),
            Reason::CapShrank => f.write_str(": the rest cannot carry the load without it"),
            Reason::CapReached => f.write_str(": the cap is reached"),
            Reason::Imposed => f.write_str(": imposed from outside"),
        }
    }
}
