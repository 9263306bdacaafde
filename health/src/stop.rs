//! What the stop statistic is made of.

use crate::explanation::FLEET;
use crate::judge::{Judge, MEAN_WEIGHT, POOLED_WEIGHT, count};
use crate::value::EValue;
use crate::{Contributor, StopEvidence};

/// Most classes and applications that are listed.
const LISTED: usize = 8;

impl Judge {
    /// The stop statistic now, taken apart; at the first crossing, see [`stopped`](Self::stopped).
    #[must_use]
    pub fn stop_evidence(&self) -> StopEvidence {
        let classes = self.topology.classes.len();
        let node_ln: Vec<f64> = self.nodes.iter().map(|value| value.ln()).collect();
        let (pooled, rest) = node_ln.split_at(1);
        let (class_ln, app_ln) = rest.split_at(classes);
        let contributor = |name: &str, ln_e: f64, weight: f64| Contributor {
            name: name.to_owned(),
            ln_e,
            share: weight * libm::exp((ln_e - self.ln_e).min(-libm::log(weight))),
        };
        let list = |names: &[String], values: &[f64], ranked: Vec<usize>| -> Vec<Contributor> {
            let listed = ranked.iter().take(LISTED);
            listed
                .map(|&i| contributor(&names[i], values[i], MEAN_WEIGHT / count(values.len())))
                .collect()
        };
        let suspects = |names: &[String], values: &[f64]| {
            let ranked = ranking(values);
            let named = suspected(values, &ranked, self.rules.ln_needed);
            ranked[..named].iter().map(|&i| names[i].clone()).collect()
        };
        // A class that is the fleet under that name is the least useful of equals.
        let mut classes_ranked = ranking(class_ln);
        classes_ranked.sort_by(|&a, &b| {
            class_ln[b]
                .total_cmp(&class_ln[a])
                .then(self.is_fleet(a).cmp(&self.is_fleet(b)))
        });
        let metric_ln: Vec<f64> = (0..self.config.metrics.len())
            .map(|metric| self.metric_ln_e(metric))
            .collect();
        StopEvidence {
            index: self.last,
            ln_e: self.ln_e,
            ln_needed: self.rules.ln_needed,
            pooled: contributor(FLEET, pooled[0], POOLED_WEIGHT),
            classes: list(&self.topology.classes, class_ln, classes_ranked),
            apps: list(&self.topology.apps, app_ln, ranking(app_ln)),
            metrics: ranking_by(&metric_ln, |i| metric_ln[i] + libm::log(self.rules.weights[i]))
                .into_iter()
                .map(|i| contributor(&self.config.metrics[i].name, metric_ln[i], self.rules.weights[i]))
                .collect(),
            class_suspects: suspects(&self.topology.classes, class_ln),
            app_suspects: suspects(&self.topology.apps, app_ln),
        }
    }

    /// The stop statistic as it would be with this metric alone.
    fn metric_ln_e(&self, metric: usize) -> f64 {
        let nodes: Vec<EValue> = (0..self.nodes.len())
            .map(|node| self.node_metric_value(node, metric))
            .collect();
        self.stop_statistic(&nodes)
    }

    /// A node's e-value from one metric alone, settled and fresh instances together.
    fn node_metric_value(&self, node: usize, metric: usize) -> EValue {
        let of = |fresh| &self.processes[self.slot(node, metric, fresh)];
        let (settled, fresh) = (of(false), of(true));
        if settled.saved().is_none() && fresh.saved().is_none() {
            return EValue::ONE;
        }
        let share = self.config.fresh_share;
        EValue::weighted([(1.0 - share, settled.value()), (share, fresh.value())].into_iter())
    }

    /// ln of [`node_metric_value`](Self::node_metric_value).
    pub(crate) fn node_metric_ln_e(&self, node: usize, metric: usize) -> f64 {
        self.node_metric_value(node, metric).ln()
    }
}

/// Indices by falling value; the first of equals first.
fn ranking(values: &[f64]) -> Vec<usize> {
    ranking_by(values, |i| values[i])
}

fn ranking_by(values: &[f64], key: impl Fn(usize) -> f64) -> Vec<usize> {
    let mut ranked: Vec<usize> = (0..values.len()).collect();
    ranked.sort_by(|&a, &b| key(b).total_cmp(&key(a)));
    ranked
}

/// e-BH: how many of the ranked are named. The k-th largest of K e-values must be at least K/(kα); on average at most
/// a share α of those named is innocent, whatever their dependence (Wang and Ramdas, 2022).
fn suspected(values: &[f64], ranked: &[usize], ln_needed: f64) -> usize {
    let all = libm::log(count(values.len().max(1)));
    (1..=ranked.len())
        .rev()
        .find(|&k| values[ranked[k - 1]] >= all - libm::log(count(k)) + ln_needed)
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e_bh_names_more_where_many_are_strong() {
        let needed = libm::log(100.0);
        let named = |values: &[f64]| suspected(values, &ranking(values), needed);
        // One of four needs 400; two of four need 200 each.
        assert_eq!(named(&[libm::log(399.0), 0.0, 0.0, 0.0]), 0);
        assert_eq!(named(&[libm::log(401.0), 0.0, 0.0, 0.0]), 1);
        assert_eq!(named(&[libm::log(201.0), 0.0, libm::log(202.0), 0.0]), 2);
        assert_eq!(named(&[]), 0);
    }

    #[test]
    fn equals_keep_their_order() {
        assert_eq!(ranking(&[1.0, 3.0, 3.0, -2.0]), [1, 2, 0, 3]);
    }
}
