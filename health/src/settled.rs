//! Evidence of warmed-up instances alone, for whoever waits on account of evidence.
//!
//! It goes on being updated for as long as they have traffic. What fresh instances showed stands still until there are new ones, so
//! whoever begins no new ones because of it would wait for ever.

use crate::judge::{Judge, index};
use crate::process::Process;
use crate::value::EValue;

impl Judge {
    /// As [`ln_e`](Self::ln_e), of warmed-up instances alone.
    #[must_use]
    pub fn settled_ln_e(&self) -> f64 {
        let nodes: Vec<EValue> = (0..self.nodes.len()).map(|node| self.settled(node)).collect();
        self.stop_statistic(&nodes)
    }

    /// As [`class_ln_e`](Self::class_ln_e), of warmed-up instances alone.
    #[must_use]
    pub fn class_settled_ln_e(&self, class: u32) -> f64 {
        self.scope_of(class).map_or(0.0, |node| self.settled(node).ln())
    }

    /// As [`app_ln_e`](Self::app_ln_e), of warmed-up instances alone.
    #[must_use]
    pub fn app_settled_ln_e(&self, app: u32) -> f64 {
        let node = (1 + self.topology.classes.len()).saturating_add(index(app));
        if node < self.nodes.len() {
            self.settled(node).ln()
        } else {
            0.0
        }
    }

    fn settled(&self, node: usize) -> EValue {
        // Processes of a node are those of its metrics, settled and fresh in turn, and so are their shares.
        let per_node = self.config.metrics.len() * 2;
        let shares = self.rules.shares.iter().step_by(2).copied();
        let processes = self
            .processes
            .get(node * per_node..(node + 1) * per_node)
            .unwrap_or_default();
        let values = processes.iter().step_by(2).map(Process::value);
        let all: f64 = shares.clone().sum();
        EValue::weighted(shares.map(|share| share / all).zip(values))
    }
}
