//! Traffic to a cluster in which one node goes bad, and the rules that are to notice.

use unattended_selfheal::{
    Detector, Ending, Envoy, EnvoyConfig, EnvoyResult, FailurePercentageEjection, GrpcA50, GrpcConfig, Node, NodeIndex,
    Outcome, Policy, Step, SuccessRateEjection,
};

use super::finagle::Finagle;
use super::mosn::Mosn;

/// `SplitMix64` (Steele, Lea, Flood 2014).
#[derive(Debug, Clone)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    #[expect(clippy::cast_precision_loss, reason = "53 bits")]
    pub(crate) fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Sum of twelve uniforms: normal enough for a latency.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }
}

/// A cluster.
#[derive(Debug, Clone, Copy)]
pub(crate) struct World {
    pub(crate) nodes: u32,
    /// Calls per second and node.
    pub(crate) rate: f64,
    /// Share of calls that fail at a healthy node.
    pub(crate) error: f64,
    /// Share that fails at the bad one.
    pub(crate) bad_error: f64,
    /// How much slower the bad one is.
    pub(crate) slowdown: f64,
    /// When node 0 goes bad.
    pub(crate) bad_at_ms: u64,
    pub(crate) until_ms: u64,
    pub(crate) seed: u64,
}

/// Rules that are told of calls and of time.
pub(crate) trait Rules {
    fn call(&mut self, now_ms: u64, node: usize, failed: bool, latency_us: u64);
    /// Every 250 ms. Nodes that are isolated (or weighed down, for slowness) just now.
    fn pass(&mut self, now_ms: u64) -> Vec<usize>;
    /// Does anything go to the node?
    fn open(&self, now_ms: u64, node: usize) -> bool;
}

#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Found {
    /// From going bad to the first action against node 0.
    pub(crate) after_ms: Option<u64>,
    /// Actions against others, and against node 0 while it was healthy.
    pub(crate) wrong: u64,
}

impl World {
    /// Plays until the bad node is found, or to the end.
    pub(crate) fn play(&self, rules: &mut dyn Rules) -> Found {
        let mut random = Random(self.seed);
        let mut found = Found::default();
        let mut next: Vec<f64> = (0..self.nodes)
            .map(|_| random.uniform() * 1_000.0 / self.rate)
            .collect();
        let mut now_ms = 0;
        while now_ms < self.until_ms {
            let bad = now_ms >= self.bad_at_ms;
            for (node, next) in next.iter_mut().enumerate() {
                #[expect(clippy::cast_precision_loss, reason = "times of hours")]
                while *next < (now_ms + 10) as f64 {
                    *next += -random.uniform().max(1e-12).ln() * 1_000.0 / self.rate;
                    if !rules.open(now_ms, node) {
                        continue;
                    }
                    let ill = bad && node == 0;
                    let failed = random.uniform() < if ill { self.bad_error } else { self.error };
                    let latency = 10_000.0 * (0.4 * random.normal()).exp() * if ill { self.slowdown } else { 1.0 };
                    #[expect(
                        clippy::cast_possible_truncation,
                        clippy::cast_sign_loss,
                        reason = "positive, seconds"
                    )]
                    rules.call(now_ms, node, failed, latency as u64);
                }
            }
            now_ms += 10;
            if now_ms % 250 == 0 {
                for node in rules.pass(now_ms) {
                    if node == 0 && bad {
                        found.after_ms.get_or_insert(now_ms - self.bad_at_ms);
                    } else {
                        found.wrong += 1;
                    }
                }
                if found.after_ms.is_some() {
                    break;
                }
            }
        }
        found
    }
}

pub(crate) struct Native {
    pub(crate) detector: Detector,
    nodes: Vec<Node>,
}

impl Native {
    #[expect(clippy::expect_used, reason = "the policies here are valid")]
    pub(crate) fn new(policy: Policy, nodes: u32) -> Self {
        let mut detector = Detector::new(policy, 1).expect("a policy that holds together");
        let nodes = (0..nodes)
            .map(|_| detector.add(0, None).expect("a free place"))
            .collect();
        Self { detector, nodes }
    }
}

impl Rules for Native {
    fn call(&mut self, now_ms: u64, node: usize, failed: bool, latency_us: u64) {
        let ending = if failed { Ending::ServerError } else { Ending::Answered };
        self.nodes[node].record(now_ms, ending, (!failed).then_some(latency_us));
    }

    fn pass(&mut self, now_ms: u64) -> Vec<usize> {
        let actions = self.detector.sweep(now_ms);
        let against = actions.iter().filter(|action| match action.step {
            Step::Isolate { .. } => true,
            Step::Weigh { .. } => action.reason == unattended_selfheal::Reason::Slow,
            _ => false,
        });
        against.filter_map(|action| Some(action.node?.0 as usize)).collect()
    }

    fn open(&self, now_ms: u64, node: usize) -> bool {
        self.nodes[node].admits(now_ms, u32::MAX / 2)
    }
}

pub(crate) struct AsEnvoy {
    envoy: Envoy,
    fresh: Vec<usize>,
    next_ms: u64,
}

impl AsEnvoy {
    #[expect(clippy::expect_used, reason = "the default configuration is valid")]
    pub(crate) fn new(nodes: u32) -> Self {
        // Envoy's defaults, but for the cap, which forbids every ejection below ten hosts.
        let config = EnvoyConfig {
            max_ejection_percent: 50,
            always_eject_one_host: true,
            ..EnvoyConfig::default()
        };
        let mut envoy = Envoy::new(0, config, 1).expect("a valid configuration");
        (0..nodes).for_each(|_| {
            envoy.add();
        });
        Self {
            envoy,
            fresh: Vec::new(),
            next_ms: 10_000,
        }
    }

    fn note(&mut self, ejections: Vec<unattended_selfheal::Ejection>) {
        let new = ejections.iter().filter(|e| e.ejected && e.enforced);
        self.fresh.extend(new.map(|e| e.node.0 as usize));
    }
}

impl Rules for AsEnvoy {
    fn call(&mut self, now_ms: u64, node: usize, failed: bool, _: u64) {
        let code = if failed { 503 } else { 200 };
        let place = NodeIndex(u32::try_from(node).unwrap_or(u32::MAX));
        let ejections = self.envoy.record(now_ms, place, EnvoyResult::Http(code));
        self.note(ejections);
    }

    fn pass(&mut self, now_ms: u64) -> Vec<usize> {
        if now_ms >= self.next_ms {
            self.next_ms += 10_000;
            let ejections = self.envoy.sweep(now_ms);
            self.note(ejections);
        }
        std::mem::take(&mut self.fresh)
    }

    fn open(&self, _: u64, node: usize) -> bool {
        !self
            .envoy
            .is_ejected(NodeIndex(u32::try_from(node).unwrap_or(u32::MAX)))
    }
}

pub(crate) struct AsGrpc {
    grpc: GrpcA50,
    next_ms: u64,
}

impl AsGrpc {
    #[expect(clippy::expect_used, reason = "the default configuration is valid")]
    pub(crate) fn new(nodes: u32) -> Self {
        let config = GrpcConfig {
            max_ejection_percent: 50,
            success_rate_ejection: Some(SuccessRateEjection::default()),
            failure_percentage_ejection: Some(FailurePercentageEjection::default()),
            ..GrpcConfig::default()
        };
        let mut grpc = GrpcA50::new(0, config, 1).expect("a valid configuration");
        (0..nodes).for_each(|_| {
            grpc.add();
        });
        Self { grpc, next_ms: 10_000 }
    }
}

impl Rules for AsGrpc {
    fn call(&mut self, _: u64, node: usize, failed: bool, _: u64) {
        let outcome = if failed { Outcome::Failure } else { Outcome::Success };
        self.grpc
            .record(NodeIndex(u32::try_from(node).unwrap_or(u32::MAX)), outcome);
    }

    fn pass(&mut self, now_ms: u64) -> Vec<usize> {
        if now_ms < self.next_ms {
            return Vec::new();
        }
        self.next_ms += 10_000;
        let ejections = self.grpc.sweep(now_ms);
        let new = ejections.iter().filter(|e| e.ejected && e.enforced);
        new.map(|e| e.node.0 as usize).collect()
    }

    fn open(&self, _: u64, node: usize) -> bool {
        !self.grpc.is_ejected(NodeIndex(u32::try_from(node).unwrap_or(u32::MAX)))
    }
}

impl Rules for Mosn {
    fn call(&mut self, _: u64, node: usize, failed: bool, _: u64) {
        self.record(node, failed);
    }

    fn pass(&mut self, now_ms: u64) -> Vec<usize> {
        self.tick(now_ms)
    }

    fn open(&self, _: u64, node: usize) -> bool {
        !self.is_down(node)
    }
}

impl Rules for Finagle {
    fn call(&mut self, now_ms: u64, node: usize, failed: bool, _: u64) {
        self.record(now_ms, node, failed);
    }

    fn pass(&mut self, _: u64) -> Vec<usize> {
        self.newly_dead()
    }

    fn open(&self, now_ms: u64, node: usize) -> bool {
        self.is_open(now_ms, node)
    }
}
