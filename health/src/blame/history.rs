//! Which change came when to which node, and which fault was seen there when.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::score::{self, BlameReport, Suspect, Vote, temporal_correlation};
use super::snapshot::Saved;
use crate::row::to_f64;

const HOUR_MS: u64 = 3_600_000;
/// Evidence that a report lists for and against each suspect.
const MAX_LISTED: usize = 32;
/// A node's faults of one signature closer than this to the last one are the same episode.
const EPISODE_MS: u64 = 60_000;

/// How votes are counted.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct BlameConfig {
    /// The windows after a deployment in milliseconds, rising; the fourth ends with the node's next deployment.
    pub windows_ms: [u64; 3],
    /// Weights of the four windows, at least 0.
    pub weights: [f64; 4],
    /// How long before a deployment a fault still vetoes.
    pub veto_ms: u64,
    /// Smallest share of the faulty nodes that a change must have come to, 0 to 1.
    pub least_spatial: f64,
    /// After so long a deployment is half as suspect.
    pub half_life_ms: u64,
    /// Smallest score that is blamed. One node alone gives ln 2 = 0.69 at most.
    pub least_score: f64,
    /// A runner-up that is not this many times less suspect makes it ambiguous. Above 1.
    pub distinct: f64,
}

impl Default for BlameConfig {
    /// One hour, one day, three days; 0.4, 0.3, 0.2, 0.1; vetoes of three days; half of the nodes; a day; score 1; 1.5 times.
    fn default() -> Self {
        Self {
            windows_ms: [HOUR_MS, 24 * HOUR_MS, 72 * HOUR_MS],
            weights: [0.4, 0.3, 0.2, 0.1],
            veto_ms: 72 * HOUR_MS,
            least_spatial: 0.5,
            half_life_ms: 24 * HOUR_MS,
            least_score: 1.0,
            distinct: 1.5,
        }
    }
}

/// Why something was refused. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BlameError {
    /// A number of the configuration is out of range.
    #[error("{field} is out of range: {allowed}")]
    Config {
        /// Which.
        field: &'static str,
        /// What it may be.
        allowed: &'static str,
    },
    /// Events of a node are given in their order.
    #[error(
        "{what} of {at_ms} ms on node `{node}` came after one of {last_ms} ms; give the events of a node in their order"
    )]
    Late {
        /// Deployment or fault.
        what: &'static str,
        /// Which node.
        node: String,
        /// When it was.
        at_ms: u64,
        /// The last one.
        last_ms: u64,
    },
    /// A serialized history was changed by something else.
    #[error("the snapshot of a history is damaged: {reason}; take an earlier one, or begin anew")]
    Snapshot {
        /// What is wrong.
        reason: &'static str,
    },
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Node {
    /// Rising in time.
    pub(super) deployments: Vec<(u64, String)>,
    /// By signature, rising in time.
    pub(super) faults: BTreeMap<String, Vec<u64>>,
}

/// Names the change behind a fault signature, among all that were under way on the same nodes.
///
/// Each node votes for the changes after which it saw the fault, sooner ones in more windows, and vetoes those before which
/// it had seen it already. A change that most of the faulty nodes never had is not considered, however well its time fits.
/// What remains is ranked by [`temporal_correlation`], halved with each half-life since; the
/// report lists the nodes behind every vote and veto.
///
/// Serializable: restored, it reports the same.
///
/// This names a suspect among changes, it is no evidence that anything is wrong: that is the judge's. A tie is said to be
/// one.
///
/// ```
/// use unattended_health::{Blame, BlameConfig, BlameVerdict};
///
/// let mut blame = Blame::new(BlameConfig::default())?;
/// let hour_ms = 3_600_000;
/// for node in 0..40 {
///     let node = format!("node-{node}");
///     blame.deployed("agent-7", &node, hour_ms)?; // everywhere, and all was well for a day
/// }
/// for node in 0..10 {
///     let node = format!("node-{node}");
///     blame.deployed("mesh-1.9.2", &node, 25 * hour_ms)?;
///     blame.fault("upstream reset", &node, 25 * hour_ms + 600_000)?;
/// }
/// let report = blame.report("upstream reset", 26 * hour_ms);
/// assert_eq!(report.verdict, BlameVerdict::Change("mesh-1.9.2".into()));
/// assert_eq!(report.suspects[0].for_it.len(), 10);
/// # Ok::<(), unattended_health::BlameError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(into = "Saved", try_from = "Saved")]
pub struct Blame {
    pub(super) config: BlameConfig,
    pub(super) nodes: BTreeMap<String, Node>,
}

/// What a change has for and against it.
#[derive(Default)]
struct Tally {
    votes: [u64; 4],
    for_it: Vec<Vote>,
    against_it: Vec<Vote>,
    /// Faulty nodes that had it before their last fault.
    reached: u64,
    latest_ms: u64,
}

impl Blame {
    /// Nothing has happened yet.
    ///
    /// # Errors
    ///
    /// [`BlameError::Config`] when a number is out of range.
    pub fn new(config: BlameConfig) -> Result<Self, BlameError> {
        let wrong = |field, allowed| Err(BlameError::Config { field, allowed });
        if !config.windows_ms.is_sorted() || config.windows_ms[0] == 0 {
            return wrong("windows_ms", "above 0, and rising");
        }
        if config
            .weights
            .iter()
            .any(|weight| !(*weight >= 0.0 && weight.is_finite()))
        {
            return wrong("weights", "numbers at least 0");
        }
        if !(0.0..=1.0).contains(&config.least_spatial) {
            return wrong("least_spatial", "0 to 1");
        }
        if config.half_life_ms == 0 {
            return wrong("half_life_ms", "above 0");
        }
        if !(config.least_score > 0.0 && config.least_score.is_finite()) {
            return wrong("least_score", "above 0, so that no evidence blames nobody");
        }
        if !(config.distinct > 1.0 && config.distinct.is_finite()) {
            return wrong("distinct", "above 1");
        }
        Ok(Self {
            config,
            nodes: BTreeMap::new(),
        })
    }

    /// A change came to a node.
    ///
    /// # Errors
    ///
    /// When a later deployment on this node was told already.
    pub fn deployed(&mut self, change: &str, node: &str, at_ms: u64) -> Result<(), BlameError> {
        let last = self.nodes.get(node).and_then(|known| known.deployments.last());
        if let Some((last_ms, _)) = last.filter(|(last_ms, _)| at_ms < *last_ms) {
            return Err(late("a deployment", node, at_ms, *last_ms));
        }
        let known = self.nodes.entry(node.to_owned()).or_default();
        known.deployments.push((at_ms, change.to_owned()));
        Ok(())
    }

    /// A fault was seen on a node. One within a minute after the last of its signature is the same episode.
    ///
    /// # Errors
    ///
    /// When a later fault of this signature was told already of this node.
    pub fn fault(&mut self, signature: &str, node: &str, at_ms: u64) -> Result<(), BlameError> {
        let seen = self
            .nodes
            .get(node)
            .and_then(|known| known.faults.get(signature)?.last());
        if let Some(last_ms) = seen.filter(|last_ms| at_ms < **last_ms) {
            return Err(late("a fault", node, at_ms, *last_ms));
        }
        if seen.is_some_and(|last_ms| at_ms < last_ms.saturating_add(EPISODE_MS)) {
            return Ok(());
        }
        let known = self.nodes.entry(node.to_owned()).or_default();
        known.faults.entry(signature.to_owned()).or_default().push(at_ms);
        Ok(())
    }

    /// Forgets faults before `ms`, deployments that were replaced before, and nodes of which nothing is left. Keep what vetoes
    /// can reach: three days before the oldest change under way.
    pub fn forget_before(&mut self, ms: u64) {
        self.nodes.retain(|_, node| {
            let replaced = node.deployments.windows(2).take_while(|pair| pair[1].0 < ms).count();
            node.deployments.drain(..replaced);
            for times in node.faults.values_mut() {
                times.retain(|at_ms| *at_ms >= ms);
            }
            node.faults.retain(|_, times| !times.is_empty());
            !(node.faults.is_empty() && node.deployments.iter().all(|(at_ms, _)| *at_ms < ms))
        });
    }

    /// Signatures that any node has shown.
    #[must_use]
    pub fn signatures(&self) -> BTreeSet<&str> {
        self.nodes
            .values()
            .flat_map(|node| node.faults.keys().map(String::as_str))
            .collect()
    }

    /// Who is to blame for a signature, as it looks at `now_ms`.
    #[must_use]
    pub fn report(&self, signature: &str, now_ms: u64) -> BlameReport {
        let mut faulty = 0;
        let mut tallies: BTreeMap<&str, Tally> = BTreeMap::new();
        for (name, node) in &self.nodes {
            let Some(faults) = node.faults.get(signature) else {
                continue;
            };
            faulty += 1;
            self.hear(name, node, faults, &mut tallies);
        }
        let mut suspects: Vec<Suspect> = tallies
            .into_iter()
            .map(|(change, tally)| self.suspect(change, tally, faulty, now_ms))
            .collect();
        // Considered ones first, then by score; names break ties, so that the answer is one.
        suspects.sort_by(|a, b| {
            let rank = |one: &Suspect| (one.considered, one.score);
            let ((first, one), (second, two)) = (rank(a), rank(b));
            second
                .cmp(&first)
                .then(two.total_cmp(&one))
                .then_with(|| a.change.cmp(&b.change))
        });
        BlameReport {
            signature: signature.to_owned(),
            nodes: faulty,
            verdict: score::verdict(&suspects, self.config.least_score, self.config.distinct),
            suspects,
        }
    }

    /// What one faulty node says about the changes it had.
    fn hear<'a>(&self, name: &str, node: &'a Node, faults: &[u64], tallies: &mut BTreeMap<&'a str, Tally>) {
        let mut heard = BTreeSet::new();
        // A change that came twice is heard once, by its latest coming that has a fault after it.
        for (place, (deployed_ms, change)) in node.deployments.iter().enumerate().rev() {
            let after = faults.partition_point(|at_ms| at_ms < deployed_ms);
            let Some(fault_ms) = faults.get(after).copied() else {
                continue;
            };
            if !heard.insert(change.as_str()) {
                continue;
            }
            let tally = tallies.entry(change).or_default();
            tally.reached += 1;
            tally.latest_ms = tally.latest_ms.max(*deployed_ms);
            let vote = |fault_ms| Vote {
                node: name.to_owned(),
                deployed_ms: *deployed_ms,
                fault_ms,
            };
            let age_ms = fault_ms - deployed_ms;
            let next_ms = node.deployments.get(place + 1).map_or(u64::MAX, |(at_ms, _)| *at_ms);
            let [hour, day, days] = self.config.windows_ms.map(|window_ms| age_ms <= window_ms);
            let within = [hour, day, days, fault_ms < next_ms];
            for (votes, within) in tally.votes.iter_mut().zip(within) {
                *votes += u64::from(within);
            }
            if within.contains(&true) {
                tally.for_it.push(vote(fault_ms));
            }
            let before = after.checked_sub(1).map(|last| faults[last]);
            if let Some(before_ms) = before.filter(|before_ms| deployed_ms - before_ms <= self.config.veto_ms) {
                tally.against_it.push(vote(before_ms));
            }
        }
    }

    fn suspect(&self, change: &str, tally: Tally, faulty: u64, now_ms: u64) -> Suspect {
        let vetoes = tally.against_it.len() as u64;
        let temporal = temporal_correlation(tally.votes, vetoes, self.config.weights);
        let spatial = to_f64(tally.reached) / to_f64(faulty);
        let age = to_f64(now_ms.saturating_sub(tally.latest_ms)) / to_f64(self.config.half_life_ms);
        Suspect {
            change: change.to_owned(),
            votes: tally.votes,
            vetoes,
            temporal,
            spatial,
            score: temporal * libm::exp2(-age),
            considered: spatial >= self.config.least_spatial,
            for_it: listed(tally.for_it),
            against_it: listed(tally.against_it),
        }
    }
}

/// The latest ones, as many as a person reads.
fn listed(mut votes: Vec<Vote>) -> Vec<Vote> {
    votes.sort_by(|a, b| b.deployed_ms.cmp(&a.deployed_ms).then_with(|| a.node.cmp(&b.node)));
    votes.truncate(MAX_LISTED);
    votes
}

fn late(what: &'static str, node: &str, at_ms: u64, last_ms: u64) -> BlameError {
    BlameError::Late {
        what,
        node: node.to_owned(),
        at_ms,
        last_ms,
    }
}
