//! The detector: nodes come and go, sweeps turn what was recorded into actions.

mod act;
mod cap;
mod collect;
mod report;
mod row;
mod slow;
mod standing;

use std::sync::Arc;

use crate::action::{Action, Evidence, Step};
use crate::delta::NodeIndex;
use crate::error::{NodeError, PolicyError};
use crate::node::{Cell, Node, SLICES, Shared};
use crate::policy::Policy;
use crate::ring::Ring;
use crate::sequential::{FalseAlarms, SequentialTest};
use crate::sync::{AtomicU64, Ordering};

use collect::Reference;
use row::{Phase, Row};
use slow::Pace;
pub use standing::Standing;

/// The most nodes of one detector.
const MAX_NODES: u32 = 1 << 20;
/// Seconds of a Julian year, 365.25 days.
const SECONDS_PER_YEAR: f64 = 31_557_600.0;
/// Shares of the budget of false isolations: half for the sequential test, a quarter each for peers and for slowness.
const SEQUENTIAL_SHARE: f64 = 0.5;
const PEER_SHARE: f64 = 0.25;
/// Healthy rates are told apart by this factor: the test in force is that of the next higher one.
const LEVEL_RATIO: f64 = 1.5;

/// Finds bad nodes among those it was told of, and says what to do about them.
///
/// It is a machine: [`add`](Self::add) and [`remove`](Self::remove) change the nodes, callers record on the [`Node`]s
/// they hold, and [`sweep`](Self::sweep), called every slice or more often, answers with [`Action`]s. What an action
/// says is in force already when it is returned: [`Node::admits`] and [`Node::weight_permille`] obey it.
///
/// Nothing in it reads a clock. `now_ms` is the caller's monotonic time; one that goes back is taken to stand, and
/// counted ([`clock_went_back`](Self::clock_went_back)). Equal calls give equal actions.
#[derive(Debug)]
pub struct Detector {
    policy: Policy,
    seed: u64,
    /// The sequential test for each healthy rate, rising.
    levels: Vec<SequentialTest>,
    level: usize,
    shared: Arc<Shared>,
    rows: Vec<Option<Row>>,
    members: u32,
    /// Members whose capacity is not known.
    without_capacity: u32,
    /// Places of nodes that the last collection found something about, or that are not in plain service.
    attention: Vec<usize>,
    now_ms: u64,
    /// Every slice below this one has been collected.
    swept: Option<u64>,
    clock_went_back: u64,
    reference: Reference,
    pace: Pace,
    /// When most nodes got worse together, while that lasts.
    frozen_since_ms: Option<u64>,
    peer_threshold: f32,
    /// The last action of each node that is not in full service, by number.
    unhealthy: Vec<Action>,
}

impl Detector {
    /// A detector without nodes. `seed` is for the jitter of isolation times: give each observer another one, so that
    /// they do not all probe in the same second.
    ///
    /// # Errors
    ///
    /// [`PolicyError`] for a policy that does not hold together.
    pub fn new(policy: Policy, seed: u64) -> Result<Self, PolicyError> {
        policy.check()?;
        let levels = levels(&policy)?;
        let shared = Arc::new(Shared {
            steps: AtomicU64::new(levels[0].steps().word()),
        });
        Ok(Self {
            pace: Pace::new(&policy),
            reference: Reference::default(),
            seed,
            levels,
            level: 0,
            shared,
            rows: Vec::new(),
            members: 0,
            without_capacity: 0,
            attention: Vec::new(),
            now_ms: 0,
            swept: None,
            clock_went_back: 0,
            frozen_since_ms: None,
            peer_threshold: peer_threshold(&policy),
            unhealthy: Vec::new(),
            policy,
        })
    }

    /// Puts other rules in force. Nodes keep what is known of them, isolations their ends. What needs new memory, the
    /// length of a slice and the latency floor, stays as it was.
    ///
    /// # Errors
    ///
    /// [`PolicyError`], and the old rules stay.
    pub fn configure(&mut self, policy: Policy) -> Result<(), PolicyError> {
        policy.check()?;
        let levels = levels(&policy)?;
        self.peer_threshold = peer_threshold(&policy);
        self.pace.configure(&policy);
        self.levels = levels;
        // Other tests: what runs are worth has to be found anew even if the number of the level stays.
        self.level = usize::MAX;
        let was_dry = self.policy.dry_run;
        self.policy = Policy {
            slice_ms: self.policy.slice_ms,
            latency_floor_us: self.policy.latency_floor_us,
            ..policy
        };
        self.set_level(0);
        if self.policy.dry_run {
            let all = self.rows.iter().flatten();
            all.for_each(|row| row.cell.publish(crate::node::Service::FULL));
        } else if was_dry {
            // What was only said until now holds from now on.
            (0..self.rows.len()).for_each(|place| self.put_in_force(self.now_ms, place));
        }
        Ok(())
    }

    /// Takes in a node, and returns what its callers record on. `capacity` is the calls per second it can carry, if that
    /// is known: if it is for all nodes, the cap follows from it.
    ///
    /// # Errors
    ///
    /// [`NodeError`] for a capacity that is no positive number, or more than 1,048,576 nodes.
    pub fn add(&mut self, now_ms: u64, capacity: Option<f64>) -> Result<Node, NodeError> {
        if let Some(capacity) = capacity
            && !(capacity.is_finite() && capacity > 0.0)
        {
            return Err(NodeError::Capacity(capacity));
        }
        let place = self.rows.iter().position(Option::is_none).unwrap_or(self.rows.len());
        let number = u32::try_from(place)
            .ok()
            .filter(|&number| number < MAX_NODES)
            .ok_or(NodeError::TooMany(MAX_NODES))?;
        let Ok(ring) = Ring::<SLICES>::new(self.policy.slice_ms) else {
            unreachable!("the policy was checked when the detector was made")
        };
        let now_ms = self.forward(now_ms);
        let cell = Arc::new(Cell::new(
            NodeIndex(number),
            ring,
            self.policy.latency_floor_us,
            Arc::clone(&self.shared),
        ));
        // Known is known, however small or large: zero stands for a capacity that is not.
        #[expect(clippy::cast_possible_truncation, reason = "a capacity needs no more digits")]
        let known = |capacity: f64| (capacity as f32).clamp(f32::MIN_POSITIVE, f32::MAX);
        let row = Row::new(Arc::clone(&cell), capacity.map_or(0.0, known), now_ms);
        if place == self.rows.len() {
            self.rows.push(Some(row));
        } else {
            self.rows[place] = Some(row);
        }
        self.members += 1;
        self.without_capacity += u32::from(capacity.is_none());
        Ok(Node { cell })
    }

    /// Forgets a node. Whoever still holds it may record on it, which changes nothing any more. Fewer nodes may allow
    /// fewer isolations: the answer says who comes back for that.
    ///
    /// # Errors
    ///
    /// [`NodeError::Unknown`].
    pub fn remove(&mut self, now_ms: u64, node: NodeIndex) -> Result<Vec<Action>, NodeError> {
        let now_ms = self.forward(now_ms);
        let place = self.place(node)?;
        if let Some(row) = self.rows[place].take() {
            row.cell.publish(crate::node::Service::FULL);
            self.without_capacity -= u32::from(row.capacity <= 0.0);
        }
        self.members -= 1;
        self.unhealthy.retain(|action| action.node != Some(node));
        let mut actions = Vec::new();
        self.obey_the_cap(now_ms, &mut actions);
        Ok(actions)
    }

    /// Looks at everything recorded up to `now_ms`, decides, and puts it in force. Once a slice is enough; callers may
    /// ask for one more when [`Node::record`] says so. Renews the leases of what is withheld, so without sweeps
    /// everything is in full service again after `lease_ms`.
    pub fn sweep(&mut self, now_ms: u64) -> Vec<Action> {
        let now_ms = self.forward(now_ms);
        let mut actions = Vec::new();
        self.collect(now_ms);
        self.judge(now_ms, &mut actions);
        self.obey_the_cap(now_ms, &mut actions);
        self.renew(now_ms);
        actions
    }

    /// Isolates a node on somebody else's word, at most until `until_ms` unless said again, within the cap.
    ///
    /// # Errors
    ///
    /// [`NodeError::Unknown`].
    pub fn impose(&mut self, now_ms: u64, node: NodeIndex, until_ms: u64) -> Result<Vec<Action>, NodeError> {
        let now_ms = self.forward(now_ms);
        let place = self.place(node)?;
        let mut actions = Vec::new();
        self.impose_at(now_ms, place, until_ms, &mut actions);
        Ok(actions)
    }

    /// Takes somebody else's word that a node is well. One that is isolated returns by stages; of one in use what speaks
    /// against it is forgotten, since that is older than the word.
    ///
    /// # Errors
    ///
    /// [`NodeError::Unknown`].
    pub fn lift(&mut self, now_ms: u64, node: NodeIndex) -> Result<Vec<Action>, NodeError> {
        let now_ms = self.forward(now_ms);
        let place = self.place(node)?;
        let mut actions = Vec::new();
        self.lift_at(now_ms, place, &mut actions);
        Ok(actions)
    }

    /// Nodes there are.
    #[must_use]
    pub const fn members(&self) -> u32 {
        self.members
    }

    /// Most nodes got worse together, and nobody is isolated while that lasts.
    #[must_use]
    pub const fn frozen(&self) -> bool {
        self.frozen_since_ms.is_some()
    }

    /// How often a time was given that lay before an earlier one. It was taken for that one.
    #[must_use]
    pub const fn clock_went_back(&self) -> u64 {
        self.clock_went_back
    }

    /// The rules in force.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The sequential test in force.
    #[must_use]
    pub fn test(&self) -> &SequentialTest {
        &self.levels[self.level]
    }

    /// Time never goes back in here.
    fn forward(&mut self, now_ms: u64) -> u64 {
        if now_ms < self.now_ms {
            self.clock_went_back = self.clock_went_back.saturating_add(1);
        } else {
            self.now_ms = now_ms;
        }
        self.now_ms
    }

    fn place(&self, node: NodeIndex) -> Result<usize, NodeError> {
        let place = node.0 as usize;
        match self.rows.get(place) {
            Some(Some(_)) => Ok(place),
            _ => Err(NodeError::Unknown(node.0)),
        }
    }

    /// Puts the test for another healthy rate in force. Runs that are under way go on: their counts are what they are,
    /// only what they are worth changes.
    fn set_level(&mut self, level: usize) {
        if level == self.level {
            return;
        }
        self.level = level;
        let steps = self.levels[level].steps();
        self.shared.steps.store(steps.word(), Ordering::Relaxed);
        for row in self.rows.iter().flatten() {
            row.cell.score.change(|score| score.under(steps));
        }
    }

    /// The numbers that concern all nodes.
    fn evidence(&self, cap: u32) -> Evidence {
        let test = &self.levels[self.level];
        let isolated = self.isolated();
        Evidence {
            threshold: test.steps().threshold(),
            healthy_rate: test.healthy_rate(),
            bad_rate: test.bad_rate(),
            median_rate: f64::from(self.reference.median),
            usual_rate: self.reference.usual.map(f64::from),
            peer_threshold: f64::from(self.peer_threshold),
            latency_ratio: 1.0,
            in_service: self.members - isolated,
            isolated,
            cap,
            worse: self.reference.worse,
            ..Evidence::default()
        }
    }

    /// Notes an action in the list and in the sub-healthy list.
    fn note(&mut self, actions: &mut Vec<Action>, action: Action) {
        if let Some(node) = action.node {
            let place = self.unhealthy.binary_search_by_key(&Some(node), |old| old.node);
            match (place, action.step) {
                (_, Step::Hold) => {}
                (Ok(place), Step::Restore) => {
                    self.unhealthy.remove(place);
                }
                (Ok(place), _) => self.unhealthy[place] = action,
                (Err(_), Step::Restore) => {}
                (Err(place), _) => self.unhealthy.insert(place, action),
            }
        }
        actions.push(action);
    }
}

/// The threshold of the test against peers.
///
/// It is a test martingale that starts anew at every slice: the mean time to its alarm is at least the exponential of
/// its threshold, in slices (the e-detector of Shin, Ramdas and Rinaldo, 2022).
fn peer_threshold(policy: &Policy) -> f32 {
    let slices_per_year = SECONDS_PER_YEAR * 1_000.0 / u64_to_f64(policy.slice_ms);
    let wanted = slices_per_year / (policy.false_isolations_per_node_year * PEER_SHARE);
    #[expect(clippy::cast_possible_truncation, reason = "a logarithm of two digits")]
    let threshold = libm::log(wanted.max(1.0)) as f32;
    threshold
}

/// A test for each healthy rate from the policy's up to one half.
fn levels(policy: &Policy) -> Result<Vec<SequentialTest>, PolicyError> {
    let budget = FalseAlarms::per_node_year(
        policy.false_isolations_per_node_year * SEQUENTIAL_SHARE,
        policy.peak_requests_per_second,
    )
    .map_err(PolicyError::Test)?;
    let mut levels =
        vec![SequentialTest::new(policy.healthy_rate, policy.bad_rate, budget).map_err(PolicyError::Test)?];
    let mut healthy = policy.healthy_rate * LEVEL_RATIO;
    while healthy < 0.5 {
        let bad = policy.bad_rate.max((5.0 * healthy).min(0.5 + 0.5 * healthy));
        // A rate for which no test can be made is left out: the next higher one is the more careful.
        levels.extend(SequentialTest::new(healthy, bad, budget));
        healthy *= LEVEL_RATIO;
    }
    Ok(levels)
}

#[expect(clippy::cast_precision_loss, reason = "times and counts far below 2^53")]
pub(crate) const fn u64_to_f64(number: u64) -> f64 {
    number as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "saturates at both ends"
)]
const fn f32_to_u64(number: f32) -> u64 {
    number as u64
}
