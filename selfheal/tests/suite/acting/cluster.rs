//! A few nodes and their callers.

use unattended_selfheal::{Action, Detector, Ending, Node, Policy, Reason, Standing, Step};

pub(crate) const BAD: Ending = Ending::ServerError;
pub(crate) const GOOD: Ending = Ending::Answered;

pub(crate) struct Cluster {
    pub(crate) detector: Detector,
    pub(crate) nodes: Vec<Node>,
    pub(crate) now_ms: u64,
    pub(crate) said: Vec<Action>,
}

impl Cluster {
    pub(crate) fn new(nodes: usize, policy: Policy) -> Self {
        let mut detector = Detector::new(policy, 5).unwrap();
        let nodes = (0..nodes).map(|_| detector.add(0, None).unwrap()).collect();
        Self {
            detector,
            nodes,
            now_ms: 0,
            said: Vec::new(),
        }
    }

    /// Slices of traffic: each node gets `calls`, ending as `ending` says, if it admits them.
    pub(crate) fn run(&mut self, slices: u64, calls: u64, ending: impl Fn(usize, u64) -> Ending) -> &mut Self {
        for _ in 0..slices {
            for (place, node) in self.nodes.iter().enumerate() {
                for call in 0..calls {
                    // A draw that no weight but zero refuses: what little goes to a node does go there.
                    if node.admits(self.now_ms, u32::MAX) {
                        node.record(self.now_ms, ending(place, call), Some(10_000));
                    }
                }
            }
            self.now_ms += 250;
            self.said.extend(self.detector.sweep(self.now_ms));
        }
        self
    }

    pub(crate) fn steps_of(&self, node: usize) -> Vec<(Step, Reason)> {
        let of = |action: &&Action| action.node == Some(self.nodes[node].index());
        self.said
            .iter()
            .filter(of)
            .map(|action| (action.step, action.reason))
            .collect()
    }

    pub(crate) fn standing(&self, node: usize) -> Standing {
        self.detector.standing(self.nodes[node].index()).unwrap()
    }
}

pub(crate) fn only(bad: usize) -> impl Fn(usize, u64) -> Ending {
    move |node, _| if node == bad { BAD } else { GOOD }
}
