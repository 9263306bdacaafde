//! Votes, vetoes and correlations of one signature.

use serde::{Deserialize, Serialize};

use crate::row::to_f64;

/// One node's word for or against a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "a node, a deployment, a fault")]
pub struct Vote {
    /// Which node.
    pub node: String,
    /// When the change came there, in milliseconds.
    pub deployed_ms: u64,
    /// When the fault was seen there.
    pub fault_ms: u64,
}

/// What speaks for one change being the cause of a signature.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Suspect {
    /// The change.
    pub change: String,
    /// Nodes that had the fault within an hour, a day, three days after the change came, and before the next one did.
    pub votes: [u64; 4],
    /// Nodes that had the fault already in the three days before the change came.
    pub vetoes: u64,
    /// Temporal correlation, see [`temporal_correlation`].
    pub temporal: f64,
    /// Of the nodes with the fault, the share that had the change: 0 to 1.
    pub spatial: f64,
    /// Temporal correlation, halved for each half-life since the change last came to a node with the fault.
    pub score: f64,
    /// Enough of the nodes with the fault had the change for it to be considered.
    pub considered: bool,
    /// Nodes behind the votes, latest deployment first; some of many.
    pub for_it: Vec<Vote>,
    /// Nodes behind the vetoes, likewise.
    pub against_it: Vec<Vote>,
}

/// Who is to blame for a signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(
    clippy::exhaustive_enums,
    reason = "one, several, or none: callers must handle all three"
)]
pub enum BlameVerdict {
    /// One change stands out.
    Change(String),
    /// These are nearly equally suspect: holding them all is right, rolling back one of them is a guess.
    Ambiguous(Vec<String>),
    /// No change explains it: it is older, elsewhere, or too rare to tell.
    Nobody,
}

/// The answer for one signature, with its evidence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BlameReport {
    /// The signature of the fault.
    pub signature: String,
    /// Nodes that had it.
    pub nodes: u64,
    /// Who is to blame.
    pub verdict: BlameVerdict,
    /// Every change that any of these nodes had, most suspect first.
    pub suspects: Vec<Suspect>,
}

/// `Σ wᵢ·ln((Pᵢ − B + 1)/(B + 1))`, as Gandalf has it (Li et al., NSDI 2020), over the windows in which that is above 0: those
/// with more than twice as many votes P as vetoes B.
///
/// Gandalf sums over all windows with `Pᵢ > B`. Between B and 2B the term is negative there, so that one veto more, which
/// removes it, makes a change more suspect. Here more vetoes never do.
#[must_use]
pub fn temporal_correlation(votes: [u64; 4], vetoes: u64, weights: [f64; 4]) -> f64 {
    let windows = votes
        .into_iter()
        .zip(weights)
        .filter(|(votes, _)| votes.saturating_sub(vetoes) > vetoes);
    windows
        .map(|(votes, weight)| weight * (libm::log(to_f64(votes - vetoes) + 1.0) - libm::log(to_f64(vetoes) + 1.0)))
        .sum()
}

/// The verdict on suspects that are sorted.
pub(super) fn verdict(suspects: &[Suspect], least: f64, distinct: f64) -> BlameVerdict {
    let mut able = suspects
        .iter()
        .filter(|suspect| suspect.considered && suspect.score >= least);
    let Some(first) = able.next() else {
        return BlameVerdict::Nobody;
    };
    let near: Vec<String> = able
        .filter(|other| other.score * distinct > first.score)
        .map(|other| other.change.clone())
        .collect();
    if near.is_empty() {
        return BlameVerdict::Change(first.change.clone());
    }
    BlameVerdict::Ambiguous(core::iter::once(first.change.clone()).chain(near).collect())
}
