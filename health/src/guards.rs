//! Whether the comparison can be believed: the sample-ratio check, and interference between the arms.

use std::collections::BTreeMap;

use crate::evidence::{GridVector, ln_mixture, shared_evidence};
use crate::judge::index;
use crate::row::to_f64;
use crate::{Interval, Row, Topology};

/// ln 1000: from here on the split is not the one that was planned.
const LN_ALARM: f64 = 3.0 * core::f64::consts::LN_10;

/// Weight of the prior of the sample-ratio check, in requests.
const PRIOR: f64 = 100.0;

/// A split is believed again once so many requests on the smaller side favour the plan.
const BELIEVED_AFTER: f64 = 100.0;

/// What control hosts beside a canary may suffer more than others before it is called interference: strata differ.
const TOLERATED: f64 = 1.5;

/// Exposure of the two arms since the last traffic step or alarm.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct SplitState {
    pub(crate) canary: u64,
    pub(crate) control: u64,
    /// ln of the Bayes factor against the plan.
    pub(crate) ln_bayes: f64,
    pub(crate) alarmed: bool,
}

/// How the traffic of a stratum is divided: as it was sent, and as it is reported.
///
/// What was sent otherwise than planned says nothing. Where only reports are missing, and how many is known, rows still bound
/// what happened from both sides, so they stay evidence; the change holds unless even the worse bound is safe.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Split {
    pub(crate) sent: SplitState,
    pub(crate) reported: SplitState,
}

/// Evidence that control hosts beside the canary do worse than control hosts far from it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Guards {
    /// By stratum, where a split was planned.
    pub(crate) splits: BTreeMap<u32, Split>,
    /// One per metric.
    pub(crate) interference: Vec<GridVector>,
}

impl Guards {
    pub(crate) fn new(metrics: usize) -> Self {
        Self {
            splits: BTreeMap::new(),
            interference: vec![[0.0; 6]; metrics],
        }
    }

    /// A traffic step: the split is another one from here on, and so is what might interfere.
    pub(crate) fn step(&mut self) {
        self.splits
            .retain(|_, split| split.sent.alarmed || split.reported.alarmed);
        self.interference.fill([0.0; 6]);
    }

    /// Learns from the sorted rows of an interval, before they become evidence.
    pub(crate) fn look(
        &mut self,
        rows: &[Row],
        interval: &Interval,
        topology: &Topology,
        historic: &[f64],
        phi: &[f64],
    ) {
        for plan in &interval.splits {
            let [sent, reported, control] = exposure(rows, plan.stratum);
            let theta = f64::from(plan.canary) / (f64::from(plan.canary) + f64::from(plan.control));
            let split = self.splits.entry(plan.stratum).or_default();
            split.sent.add(sent, control, theta);
            split.reported.add(reported, control, theta);
        }
        self.look_around(rows, topology, historic, phi);
    }

    /// Whether rows of a stratum say nothing, since its traffic is not divided as planned.
    pub(crate) fn excludes(&self, stratum: u32) -> bool {
        !self.splits.is_empty() && self.splits.get(&stratum).is_some_and(|split| split.sent.alarmed)
    }

    /// The stratum whose traffic is divided furthest from its plan.
    pub(crate) fn mismatch(&self) -> Option<(u32, f64)> {
        self.furthest(|split| split.sent)
    }

    /// The stratum whose reports are.
    pub(crate) fn reported_mismatch(&self) -> Option<(u32, f64)> {
        self.furthest(|split| split.reported)
    }

    fn furthest(&self, side: impl Fn(&Split) -> SplitState) -> Option<(u32, f64)> {
        self.splits
            .iter()
            .map(|(stratum, split)| (*stratum, side(split)))
            .filter(|(_, state)| state.alarmed)
            .map(|(stratum, state)| (stratum, state.ln_bayes))
            .reduce(|worst, next| if next.1 > worst.1 { next } else { worst })
    }

    /// The metric in which control hosts beside the canary do worst, with its ln e-value.
    pub(crate) fn worst_interference(&self) -> Option<(u8, f64)> {
        (0..=u8::MAX)
            .zip(&self.interference)
            .map(|(metric, evidence)| (metric, ln_mixture(evidence)))
            .reduce(|worst, next| if next.1 > worst.1 { next } else { worst })
    }

    /// Compares control hosts of strata that have a canary with those of strata that have none, in the same interval:
    /// what moves both is no interference. Each application's own history says how much of either is expected, so only
    /// applications that have one are read.
    fn look_around(&mut self, rows: &[Row], topology: &Topology, historic: &[f64], phi: &[f64]) {
        let metrics = self.interference.len();
        let strata = || rows.chunk_by(|a, b| a.stratum == b.stratum);
        let exposed = |rows: &[Row]| rows.iter().any(|row| row.canary.total > 0);
        // Mostly every stratum that is heard of has a canary, and then there is nothing to compare.
        if !strata().any(exposed) || strata().all(exposed) {
            return;
        }
        let mut sums = vec![[0.0; 4]; metrics];
        for stratum in strata().filter(|rows| !self.excludes(rows[0].stratum)) {
            let side = usize::from(!exposed(stratum));
            let app = index(topology.strata[index(stratum[0].stratum)].app);
            // Rows of fresh instances show the warm control a second time.
            for row in stratum.iter().filter(|row| !row.fresh) {
                let metric = usize::from(row.metric);
                let expected = to_f64(row.control.total) * historic[app * metrics + metric];
                sums[metric][side] += to_f64(row.control.bad);
                sums[metric][2 + side] += expected;
            }
        }
        for ((sum, [beside, far, n_beside, n_far]), phi) in self.interference.iter_mut().zip(sums).zip(phi) {
            if n_beside > 0.0 && n_far > 0.0 && beside + far > 0.0 {
                let evidence = shared_evidence(beside, far, n_beside / (n_beside + n_far), TOLERATED);
                for (sum, ln) in sum.iter_mut().zip(evidence) {
                    *sum += ln / phi;
                }
            }
        }
    }
}

impl SplitState {
    fn add(&mut self, canary: u64, control: u64, theta: f64) {
        self.canary = self.canary.saturating_add(canary);
        self.control = self.control.saturating_add(control);
        self.ln_bayes = split_evidence(&[self.canary, self.control], &[theta, 1.0 - theta]);
        if self.ln_bayes >= LN_ALARM {
            // From here on it has to show that it is right again.
            *self = Self {
                ln_bayes: self.ln_bayes,
                alarmed: true,
                ..Self::default()
            };
        } else if self.alarmed && self.ln_bayes < 0.0 && to_f64(self.canary).min(to_f64(self.control)) >= BELIEVED_AFTER
        {
            self.alarmed = false;
        }
    }
}

/// Original requests of a stratum: sent to the canary, reported by it, reported by the control. Rows are sorted, and those
/// of the first metric count: all metrics have the same requests.
fn exposure(rows: &[Row], stratum: u32) -> [u64; 3] {
    let from = rows.partition_point(|row| row.stratum < stratum);
    let Some(first) = rows.get(from).filter(|row| row.stratum == stratum) else {
        return [0; 3];
    };
    let of_metric = || {
        rows[from..]
            .iter()
            .take_while(|row| (row.stratum, row.metric) == (stratum, first.metric))
    };
    let reported = of_metric().fold(0_u64, |sum, row| sum.saturating_add(row.canary.total));
    let missing = of_metric().fold(0_u64, |sum, row| sum.saturating_add(row.missing));
    // Rows of fresh instances show the same control again.
    let control = of_metric()
        .filter(|row| row.fresh == first.fresh)
        .fold(0_u64, |sum, row| sum.saturating_add(row.control.total));
    [reported.saturating_add(missing), reported, control]
}

/// ln of the Bayes factor of "some other split" against "the shares are `theta`" after these counts, by a Dirichlet prior
/// with weights 100·θ (Lindon and Malek, 2022): an e-value, whatever the number of looks.
pub(crate) fn split_evidence(counts: &[u64], theta: &[f64]) -> f64 {
    let ln_gamma = |x: f64| libm::lgamma(x);
    let seen: f64 = counts.iter().map(|count| to_f64(*count)).sum();
    let parts: f64 = counts
        .iter()
        .zip(theta)
        .map(|(count, theta)| {
            let (count, prior) = (to_f64(*count), PRIOR * theta);
            ln_gamma(prior + count) - ln_gamma(prior) - count * libm::log(*theta)
        })
        .sum();
    ln_gamma(PRIOR) - ln_gamma(PRIOR + seen) + parts
}
