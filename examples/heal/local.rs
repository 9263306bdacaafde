//! What a proxy does by itself, without waiting for anybody.

use unattended::selfheal::{Delta, Detector, Ending, Node, Policy, RouteId, Seen, Standing};
use unattended_examples_support::Failure;

use crate::scenes::{PERIOD_MS, SERVERS, server_id};

/// The detector of `unattended-selfheal` over all servers.
#[derive(Debug)]
pub(crate) struct Local {
    detector: Detector,
    nodes: Vec<Node>,
    policy: Policy,
    seed: u64,
    /// Its view counts.
    may: bool,
}

impl Local {
    pub(crate) fn new(rps: u32, seed: u64) -> Result<Self, Failure> {
        let policy = Policy {
            peak_requests_per_second: f64::from(rps),
            slice_ms: PERIOD_MS,
            base_isolation_ms: 5_000,
            ..Policy::default()
        };
        let (detector, nodes) = fresh(&policy, seed, 0)?;
        Ok(Self {
            detector,
            nodes,
            policy,
            seed,
            may: true,
        })
    }

    pub(crate) fn record(&mut self, server: usize, ending: Ending, latency_us: u64, now_ms: u64) {
        let answered = (ending == Ending::Answered).then_some(latency_us);
        if self.nodes[server].record(now_ms, ending, answered) {
            // An alarm does not wait for the end of the slice.
            self.detector.sweep(now_ms);
        }
    }

    /// Whether an answer of this server was slow.
    pub(crate) fn is_slow(&self, server: usize, latency_us: u64) -> bool {
        self.nodes[server].is_slow(latency_us)
    }

    /// What was seen since it was last asked, in the words of a report.
    pub(crate) fn seen(&mut self, now_ms: u64) -> Vec<Seen> {
        let deltas = self.detector.deltas(now_ms);
        let name = |delta: &Delta| server_id(usize::try_from(delta.node.0).unwrap_or(usize::MAX));
        deltas
            .iter()
            .map(|delta| delta.seen(name(delta), RouteId::ANY))
            .collect()
    }

    /// Whether a call may go to a server; `draw` decides where only some may.
    pub(crate) fn admits(&self, server: usize, now_ms: u64, draw: u32) -> bool {
        self.nodes[server].admits(now_ms, draw)
    }

    /// Whether it gets nothing but a probe.
    pub(crate) fn isolated(&self, server: usize) -> bool {
        let standing = self.detector.standing(self.nodes[server].index());
        self.may && matches!(standing, Ok(Standing::Isolated { .. } | Standing::Probing))
    }

    /// Whether it is in use and gets less than its share.
    pub(crate) fn sub_healthy(&self, server: usize) -> bool {
        let standing = self.detector.standing(self.nodes[server].index());
        self.may && matches!(standing, Ok(Standing::SubHealthy { .. }))
    }

    /// Ends an isolation of its own.
    pub(crate) fn lift(&mut self, server: usize, now_ms: u64) -> Result<(), Failure> {
        let lifted = self.detector.lift(now_ms, self.nodes[server].index());
        lifted.map(drop).map_err(Failure::internal)
    }

    /// Once a period: what it sees, within the share that may go; or nothing at all, if its view is known to be wrong or
    /// all servers suffer from the same. What it saw meanwhile proves nothing afterwards.
    pub(crate) fn period(&mut self, now_ms: u64, may: bool, cap_percent: u32) -> Result<(), Failure> {
        if may != self.may {
            (self.detector, self.nodes) = fresh(&self.policy, self.seed, now_ms)?;
            self.may = may;
        }
        let policy = Policy {
            max_isolated_share: f64::from(cap_percent) / 100.0,
            dry_run: !may,
            ..self.policy.clone()
        };
        if policy != *self.detector.policy() {
            self.detector.configure(policy).map_err(Failure::internal)?;
        }
        self.detector.sweep(now_ms);
        Ok(())
    }
}

fn fresh(policy: &Policy, seed: u64, now_ms: u64) -> Result<(Detector, Vec<Node>), Failure> {
    let mut detector = Detector::new(policy.clone(), seed).map_err(Failure::internal)?;
    let nodes = (0..SERVERS)
        .map(|_| detector.add(now_ms, None))
        .collect::<Result<_, _>>();
    Ok((detector, nodes.map_err(Failure::internal)?))
}
