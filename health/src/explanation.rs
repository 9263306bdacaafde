//! Why: codes with parameters, and text rendered from them.

mod text;

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::judge::Judge;
use crate::numbers::{Capped, E};
use crate::{Counts, FaultClass, Hold, HoldReason, HostEvent, Origin, Ratio, Signature, Verdict};

/// A verdict with everything that led to it, for the person who reads it at three in the morning.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Explanation {
    /// What the evidence calls for.
    pub verdict: Verdict,
    /// See [`Judge::score`].
    pub score: f64,
    /// Most important first.
    pub findings: Vec<Finding>,
}

/// One statement: a stable code with its parameters. `Display` renders it in English.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "code", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Finding {
    /// Ē crossed 1/α: the change is to be stopped.
    Stopped {
        /// The interval of the crossing.
        index: u64,
        /// ln Ē then.
        ln_e: f64,
    },
    /// Counts of one metric over the whole fleet, without fresh instances.
    Counts {
        /// Name of the metric.
        metric: String,
        /// What the exposure counts, e.g. `requests`.
        unit: String,
        /// New version.
        canary: Counts,
        /// Control cohort.
        control: Counts,
    },
    /// Counts of instances that were not warmed up yet, judged against a far higher ratio.
    Fresh {
        /// Name of the metric.
        metric: String,
        /// What the exposure counts.
        unit: String,
        /// New version, before its warm-up.
        canary: Counts,
        /// Ratio to warm control that is still normal.
        ratio_limit: f64,
    },
    /// The stop statistic.
    Evidence {
        /// ln Ē.
        ln_e: f64,
        /// ln(1/α).
        ln_needed: f64,
    },
    /// Where the evidence against the change is strongest, in the metric that weighs most.
    Strongest {
        /// Name of the class.
        class: String,
        /// Name of the metric.
        metric: String,
        /// The class's own ln e-value in that metric.
        ln_e: f64,
        /// Canary to control within the class.
        ratio: Ratio,
        /// All strata together say more than this class alone: the fault is not the class's.
        fleet_wide: Option<Ratio>,
    },
    /// Evidence of safety over all strata in the present stage.
    Safety {
        /// ln S.
        ln_s: f64,
        /// ln(1/β).
        needed: f64,
        /// Canary exposure behind it.
        requests_seen: u64,
    },
    /// Why the change holds.
    Hold {
        /// Reason, exit and deadline.
        hold: Hold,
        /// Name of the metric, where the reason has one.
        metric: Option<String>,
    },
    /// A host that is to be rolled back alone.
    Host {
        /// Which, and by how many bad events of which metric.
        event: HostEvent,
    },
    /// An error that nobody had before the change, and that the control does not have.
    NewSignature {
        /// What it is called, with its counts.
        signature: Signature,
    },
    /// An error of the canary that was there before or is on the control as often.
    PreExisting {
        /// What it is called, with its counts.
        signature: Signature,
    },
    /// Errors that are not the component's own, counted and not judged.
    Elsewhere {
        /// Whose fault they are.
        class: FaultClass,
        /// New version.
        canary: Counts,
        /// Control cohort.
        control: Counts,
    },
}

impl Judge {
    /// Why the verdict is what it is.
    #[must_use]
    pub fn explain(&self) -> Explanation {
        let verdict = self.verdict();
        let evidence = self.stop_evidence();
        // The metric whose part of the stop statistic is largest speaks first.
        let order: Vec<usize> = evidence
            .metrics
            .iter()
            .filter_map(|part| self.config.metrics.iter().position(|spec| spec.name == part.name))
            .collect();
        let mut findings = Vec::new();
        if let Some(stop) = &self.stop {
            findings.push(Finding::Stopped {
                index: stop.index.unwrap_or(0),
                ln_e: stop.ln_e,
            });
        }
        if let Verdict::Hold(hold) = verdict {
            let metric = match hold.reason {
                HoldReason::Interference { metric, .. } => Some(self.config.metrics[usize::from(metric)].name.clone()),
                _ => None,
            };
            findings.push(Finding::Hold { hold, metric });
        }
        findings.extend(self.hosts.iter().cloned().map(|event| Finding::Host { event }));
        let first = order.iter().copied().find(|metric| self.was_measured(*metric));
        for &metric in &order {
            if Some(metric) == first || self.scopes[0].has_events(metric) {
                findings.extend(self.counts_of(metric));
            }
        }
        findings.push(Finding::Evidence {
            ln_e: self.ln_e,
            ln_needed: self.rules.ln_needed,
        });
        if let Some(&metric) = order.first() {
            findings.extend(self.strongest(metric));
        }
        let safety = self.pooled_safety();
        let (ln_s, needed, requests_seen) = (safety.ln_s, safety.needed, safety.requests_seen);
        findings.push(Finding::Safety {
            ln_s,
            needed,
            requests_seen,
        });
        findings.extend(
            self.signatures()
                .into_iter()
                .filter_map(|signature| match signature.origin {
                    Origin::New => Some(Finding::NewSignature { signature }),
                    Origin::PreExisting => Some(Finding::PreExisting { signature }),
                    Origin::Worse => None,
                }),
        );
        for total in &self.totals {
            if total.class != FaultClass::Own && (total.canary.bad > 0 || total.control.bad > 0) {
                let (class, canary, control) = (total.class, total.canary, total.control);
                findings.push(Finding::Elsewhere { class, canary, control });
            }
        }
        Explanation {
            verdict,
            score: self.score(),
            findings,
        }
    }

    fn was_measured(&self, metric: usize) -> bool {
        let tally = &self.scopes[0].tallies[metric];
        [tally.canary, tally.control, tally.fresh]
            .iter()
            .any(|counts| counts.total > 0)
    }

    /// Counts of a metric, those that carry more of its evidence first.
    fn counts_of(&self, metric: usize) -> Vec<Finding> {
        let (tally, spec) = (&self.scopes[0].tallies[metric], &self.config.metrics[metric]);
        let mut findings = Vec::new();
        if tally.canary.total > 0 || tally.control.total > 0 {
            findings.push(Finding::Counts {
                metric: spec.name.clone(),
                unit: spec.unit.clone(),
                canary: tally.canary,
                control: tally.control,
            });
        }
        if tally.fresh.bad > 0 {
            findings.push(Finding::Fresh {
                metric: spec.name.clone(),
                unit: spec.unit.clone(),
                canary: tally.fresh,
                ratio_limit: self.config.fresh_ratio_limit,
            });
            let node = self.strongest_class(metric).map_or(0, |class| 1 + class);
            let node = if self.node_metric_ln_e(node, metric) > self.node_metric_ln_e(0, metric) {
                node
            } else {
                0
            };
            let ln_of = |fresh| self.processes[self.slot(node, metric, fresh)].value().ln();
            let share = self.config.fresh_share;
            if libm::log(share) + ln_of(true) > libm::log(1.0 - share) + ln_of(false) {
                findings.reverse();
            }
        }
        findings
    }

    /// The class with most evidence in a metric, the first of equals, so that the answer does not depend on anything
    /// but the topology. One that is the fleet under that name says nothing about where.
    fn strongest_class(&self, metric: usize) -> Option<usize> {
        let ln_of = |class: usize| self.node_metric_ln_e(1 + class, metric);
        (0..self.topology.classes.len())
            .filter(|class| !self.is_fleet(*class))
            .reduce(|best, next| if ln_of(next) > ln_of(best) { next } else { best })
    }

    /// Whether a class is called `fleet` and has every stratum.
    pub(crate) fn is_fleet(&self, class: usize) -> bool {
        let scope = u32::try_from(class + 1).unwrap_or(u32::MAX);
        self.topology.classes[class] == FLEET && self.sets.all_in(scope)
    }

    fn strongest(&self, metric: usize) -> Option<Finding> {
        let ratio = |scope: usize| self.splits(scope, metric).ratio(self.whole_dispersion_of(metric));
        let name = self.config.metrics[metric].name.clone();
        let fleet = self.node_metric_ln_e(0, metric);
        let stands_out = self
            .strongest_class(metric)
            .map(|class| (class, self.node_metric_ln_e(1 + class, metric)))
            .filter(|(_, ln_e)| *ln_e >= LN_WORTH_NAMING);
        match stands_out {
            Some((class, ln_e)) => Some(Finding::Strongest {
                class: self.topology.classes[class].clone(),
                metric: name,
                ln_e,
                ratio: ratio(1 + class),
                fleet_wide: (fleet > ln_e).then(|| ratio(0)),
            }),
            None if fleet >= LN_WORTH_NAMING => Some(Finding::Strongest {
                class: FLEET.to_owned(),
                metric: name,
                ln_e: fleet,
                ratio: ratio(0),
                fleet_wide: Some(ratio(0)),
            }),
            None => None,
        }
    }
}

/// All strata together, where a class would be named.
pub(crate) const FLEET: &str = "fleet";

/// ln 3: weaker evidence names no class.
const LN_WORTH_NAMING: f64 = 1.098_612_288_668_109_8;

/// Longest headline, in characters.
const HEADLINE: usize = 220;

impl Explanation {
    /// The verdict's reason in one line of at most 220 characters: the evidence, and the counts and the class behind it
    /// where there is any sign of harm. Long names drop out before numbers do.
    #[must_use]
    pub fn headline(&self) -> String {
        let stopped = self.findings.iter().find_map(|finding| match finding {
            Finding::Stopped { ln_e, .. } => Some(*ln_e),
            _ => None,
        });
        let (ln_now, ln_needed) = self
            .findings
            .iter()
            .find_map(|finding| match finding {
                Finding::Evidence { ln_e, ln_needed } => Some((*ln_e, *ln_needed)),
                _ => None,
            })
            .unwrap_or((0.0, 0.0));
        let ln_e = stopped.unwrap_or(ln_now);
        let mut text = format!("evidence {} of {} needed", Capped(ln_e, ln_needed), E(ln_needed));
        let mut push = |part: String| {
            let fits = text.chars().count() + part.chars().count() <= HEADLINE;
            if fits {
                text.push_str(&part);
            }
            fits
        };
        if stopped.is_none() && ln_e < LN_WORTH_NAMING {
            push(format!("; {}", self.calm()));
            return text;
        }
        let counts = self
            .findings
            .iter()
            .find(|finding| matches!(finding, Finding::Counts { .. } | Finding::Fresh { .. }));
        match counts {
            Some(Finding::Fresh {
                metric, unit, canary, ..
            }) => {
                let bad = text::amount(*canary, unit);
                push(format!(": {metric} before warm-up {bad} {unit}"));
            }
            Some(counts) => {
                push(format!(": {counts}"));
            }
            None => {}
        }
        let strongest = self.findings.iter().find_map(|finding| match finding {
            Finding::Strongest {
                class,
                ratio,
                fleet_wide,
                ..
            } => Some((class, ratio, fleet_wide)),
            _ => None,
        });
        if let Some((class, ratio, fleet_wide)) = strongest {
            let (place, ratio) = match fleet_wide {
                Some(fleet) => ("; over the whole fleet".to_owned(), fleet),
                None => (format!("; strongest in class {class}"), ratio),
            };
            // The ratio is of warm instances: beside counts of fresh ones it would be another matter.
            let warm = ratio.says_something() && !matches!(counts, Some(Finding::Fresh { .. }));
            if !(warm && push(format!("{place}, {ratio}"))) {
                push(place);
            }
        }
        text
    }

    /// What is the matter where nothing speaks against the change.
    fn calm(&self) -> String {
        let on_canary = self.findings.iter().any(|finding| match finding {
            Finding::Counts { canary, .. } | Finding::Fresh { canary, .. } => canary.total > 0,
            _ => false,
        });
        let on_control = self
            .findings
            .iter()
            .any(|finding| matches!(finding, Finding::Counts { control, .. } if control.total > 0));
        match self.verdict {
            Verdict::Reject => "a required self-check did not pass".to_owned(),
            Verdict::Hold(hold) => hold.to_string(),
            _ if on_canary && on_control => "no sign that the new version is worse".to_owned(),
            _ if on_canary => "there is no control to compare the new version with".to_owned(),
            _ => "nothing was measured on the new version yet".to_owned(),
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, finding) in self.findings.iter().enumerate() {
            if i > 0 {
                f.write_str("; ")?;
            }
            finding.fmt(f)?;
        }
        Ok(())
    }
}
