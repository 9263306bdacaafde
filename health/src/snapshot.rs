//! A judge as data: everything needed to continue to the same bytes, checked when it is read.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::dispersion::{Dispersion, Dispersions};
use crate::exact::Exact;
use crate::guards::{Split, SplitState};
use crate::influence::{HostKey, Influence, KEPT, Strong};
use crate::judge::Judge;
use crate::limit::Tide;
use crate::process::{Process, Steps};
use crate::ratio::Splits;
use crate::scope::{SafetyProcess, Tally};
use crate::signatures::Signatures;
use crate::{
    BurnFreeze, ClassTotals, Counts, Coverage, FaultClass, HostEvent, JudgeConfig, JudgeError, Resource, StopEvidence,
    Topology, validate,
};

const VERSION: u32 = 4;

#[derive(Serialize, Deserialize)]
struct Snapshot {
    version: u32,
    config: JudgeConfig,
    /// The floats of `config`, exactly.
    config_bits: Vec<Exact>,
    topology: Topology,
    steps: u64,
    last: Option<u64>,
    coverage: Option<(Coverage, Coverage)>,
    /// Only processes that have rows, with their position; those that name hosts come last.
    names_hosts: bool,
    processes: Vec<SavedProcess>,
    dispersions: Vec<[(u64, [Exact; 3]); 2]>,
    historic: Vec<Exact>,
    scopes: Vec<SavedScope>,
    totals: Vec<ClassTotals>,
    stop: Option<StopEvidence>,
    /// The floats of `stop`, exactly.
    stop_bits: Vec<Exact>,
    /// Stratum; of what was sent and of what is reported: canary, control, ln of the Bayes factor, alarmed.
    splits: Vec<(u32, [SavedSplit; 2])>,
    interference: Vec<[Exact; 6]>,
    signatures: Signatures,
    hosts: Vec<HostEvent>,
    rejected: bool,
    gate: Exact,
    burn: Exact,
    /// Objective, class, burn, limit.
    freeze: Option<(u32, Option<FaultClass>, Exact, Exact)>,
    /// Resource, ln of the evidence.
    leak: Option<(Resource, Exact)>,
    hold: Option<(u8, u64)>,
}

type SavedSplit = (u64, u64, Exact, bool);

/// Position, W_r, strongest hosts.
type SavedProcess = (usize, [Exact; 6], Option<SavedInfluence>);

/// Stratum, host and events of each host; events and evidence of all.
type SavedInfluence = (Vec<(u32, u32, u32)>, Exact, [Exact; 6]);

#[derive(Serialize, Deserialize)]
struct SavedScope {
    satisfied: bool,
    looks: u64,
    metrics: Vec<SavedMetric>,
}

#[derive(Serialize, Deserialize)]
struct SavedMetric {
    safety: ([Exact; 5], u64),
    canary: Counts,
    control: Counts,
    fresh: Counts,
    splits: Splits,
}

/// Every float of an evidence of safety, in the order in which they are saved.
const fn safety_floats(safety: &SafetyProcess) -> [f64; 5] {
    let Tide { seen, expected } = safety.tide;
    [safety.ln_relative, safety.ln_historic, safety.ln_double, seen, expected]
}

/// Every float of the configuration, in a stated order.
fn config_floats(config: &mut JudgeConfig) -> Vec<&mut f64> {
    let JudgeConfig {
        alpha,
        beta,
        delta,
        metrics,
        fresh_ratio_limit,
        fresh_share,
        hold_at,
        min_coverage,
        min_silent_hosts: _,
        dispersion_default,
        dispersion_after: _,
        bake: _,
        hold_patience: _,
        patience: _,
    } = config;
    let fixed = [
        alpha,
        beta,
        delta,
        fresh_ratio_limit,
        fresh_share,
        hold_at,
        min_coverage,
        dispersion_default,
    ];
    fixed
        .into_iter()
        .chain(
            metrics
                .iter_mut()
                .flat_map(|metric| [&mut metric.weight, &mut metric.floor]),
        )
        .collect()
}

/// Every float of the stop evidence, in a stated order.
fn stop_floats(stop: &mut StopEvidence) -> Vec<&mut f64> {
    let StopEvidence {
        ln_e,
        ln_needed,
        pooled,
        classes,
        apps,
        metrics,
        ..
    } = stop;
    let parts = core::iter::once(pooled).chain(classes).chain(apps).chain(metrics);
    [ln_e, ln_needed]
        .into_iter()
        .chain(parts.flat_map(|part| [&mut part.ln_e, &mut part.share]))
        .collect()
}

fn bits(floats: Vec<&mut f64>) -> Vec<Exact> {
    floats.into_iter().map(|float| Exact(*float)).collect()
}

fn overwrite(floats: Vec<&mut f64>, bits: &[Exact], what: &str) -> Result<(), JudgeError> {
    if floats.len() != bits.len() {
        return Err(damaged(format!(
            "{what} has {} numbers, {} are saved",
            floats.len(),
            bits.len()
        )));
    }
    for (float, bits) in floats.into_iter().zip(bits) {
        *float = bits.0;
    }
    Ok(())
}

const fn damaged(reason: String) -> JudgeError {
    JudgeError::Snapshot { reason }
}

impl Snapshot {
    fn of(judge: &Judge) -> Self {
        let mut config = judge.config.clone();
        let mut stop = judge.stop.clone();
        let host = |host: &Strong| (host.key.stratum, host.key.host, host.events);
        let saved = |(at, process): (usize, &Process)| -> Option<SavedProcess> {
            let (weighted, influence) = process.saved()?;
            let influence = influence.map(|influence| {
                let hosts = influence.hosts.iter().map(host).collect();
                (hosts, Exact(influence.events), influence.evidence.map(Exact))
            });
            Some((at, weighted.map(Exact), influence))
        };
        Self {
            version: VERSION,
            config_bits: bits(config_floats(&mut config)),
            stop_bits: stop.as_mut().map_or_else(Vec::new, |stop| bits(stop_floats(stop))),
            config,
            topology: judge.topology.clone(),
            steps: judge.steps.0,
            names_hosts: !judge.plain.is_empty(),
            last: judge.last,
            coverage: judge.coverage,
            processes: judge.processes.iter().enumerate().filter_map(saved).collect(),
            dispersions: judge
                .dispersions
                .iter()
                .map(|both| {
                    [both.by_level, both.whole].map(|one| {
                        let floats = [one.variation, one.expected, one.events];
                        (one.host_intervals, floats.map(Exact))
                    })
                })
                .collect(),
            historic: judge.historic.iter().copied().map(Exact).collect(),
            scopes: judge
                .scopes
                .iter()
                .enumerate()
                .map(|(number, scope)| SavedScope {
                    satisfied: scope.satisfied,
                    looks: scope.looks,
                    metrics: scope
                        .safety
                        .iter()
                        .zip(&scope.tallies)
                        .enumerate()
                        .map(|(metric, (safety, tally))| SavedMetric {
                            safety: (safety_floats(safety).map(Exact), safety.exposure),
                            canary: tally.canary,
                            control: tally.control,
                            fresh: tally.fresh,
                            splits: judge.splits(number, metric),
                        })
                        .collect(),
                })
                .collect(),
            totals: judge.totals.clone(),
            stop,
            splits: judge
                .guards
                .splits
                .iter()
                .map(|(stratum, split)| {
                    let saved = |one: SplitState| (one.canary, one.control, Exact(one.ln_bayes), one.alarmed);
                    (*stratum, [split.sent, split.reported].map(saved))
                })
                .collect(),
            interference: judge.guards.interference.iter().map(|one| one.map(Exact)).collect(),
            signatures: judge.signatures.clone(),
            hosts: judge.hosts.clone(),
            rejected: judge.rejected,
            gate: Exact(judge.gate),
            burn: Exact(judge.burn),
            freeze: judge.freeze.map(
                |BurnFreeze {
                     slo,
                     class,
                     burn,
                     limit,
                 }| (slo, class, Exact(burn), Exact(limit)),
            ),
            leak: judge.leak.map(|(resource, ln_e)| (resource, Exact(ln_e))),
            hold: judge.hold,
        }
    }

    fn restore(mut self) -> Result<Judge, JudgeError> {
        if self.version != VERSION {
            return Err(damaged(format!(
                "version {} is unknown, this program reads {VERSION}",
                self.version
            )));
        }
        overwrite(config_floats(&mut self.config), &self.config_bits, "the configuration")?;
        validate::config(&self.config)?;
        validate::topology(&self.topology)?;
        if let Some(stop) = &mut self.stop {
            overwrite(stop_floats(stop), &self.stop_bits, "the stop evidence")?;
        }
        let metrics = self.config.metrics.len();
        let expect = |what: &str, found: usize, expected: usize| {
            if found == expected {
                Ok(())
            } else {
                Err(damaged(format!("{found} {what}, {expected} are expected")))
            }
        };
        expect("dispersions", self.dispersions.len(), metrics)?;
        expect(
            "historic rates",
            self.historic.len(),
            metrics * self.topology.apps.len(),
        )?;
        expect("scopes", self.scopes.len(), 1 + self.topology.classes.len())?;
        if self.historic.iter().any(|rate| !(0.0..=1.0).contains(&rate.0)) {
            return Err(damaged("a historic rate is not within 0 and 1".to_owned()));
        }
        if self.steps == 0 && !self.processes.is_empty() {
            return Err(damaged("evidence without a traffic step".to_owned()));
        }
        let dispersion = |(host_intervals, floats): (u64, [Exact; 3])| {
            let [variation, expected, events] = floats.map(|float| float.0);
            Dispersion {
                host_intervals,
                variation,
                expected,
                events,
            }
        };
        let dispersions = self
            .dispersions
            .iter()
            .map(|&[by_level, whole]| Dispersions {
                by_level: dispersion(by_level),
                whole: dispersion(whole),
            })
            .collect();
        let historic = self.historic.iter().map(|rate| rate.0).collect();
        let mut judge = Judge::assembled(self.config, self.topology, dispersions, historic);
        judge.steps = Steps(self.steps);
        if self.names_hosts {
            judge.plain = vec![Process::UNTOUCHED; metrics * 2];
        }
        let of_nodes = judge.processes.len();
        for (slot, weighted, hosts) in self.processes {
            let weighted = weighted.map(|exact| exact.0);
            let finite = weighted.iter().all(|ln| *ln < f64::INFINITY);
            let process = if slot < of_nodes {
                judge.processes.get_mut(slot)
            } else {
                judge.plain.get_mut(slot - of_nodes)
            };
            match (process, hosts.map(influence).transpose()) {
                (Some(process), Ok(influence)) if finite => *process = Process::restored(weighted, influence),
                _ => return Err(damaged(format!("process {slot} does not exist or is not finite"))),
            }
        }
        for (scope, saved) in judge.scopes.iter_mut().zip(self.scopes) {
            expect("metrics in a scope", saved.metrics.len(), metrics)?;
            scope.satisfied = saved.satisfied;
            scope.looks = saved.looks;
            for ((safety, tally), saved) in scope.safety.iter_mut().zip(&mut scope.tallies).zip(saved.metrics) {
                let ([ln_relative, ln_historic, ln_double, seen, expected], exposure) = saved.safety;
                *safety = SafetyProcess {
                    ln_relative: ln_relative.0,
                    ln_historic: ln_historic.0,
                    ln_double: ln_double.0,
                    tide: Tide {
                        seen: seen.0,
                        expected: expected.0,
                    },
                    exposure,
                };
                *tally = Tally {
                    canary: saved.canary,
                    control: saved.control,
                    fresh: saved.fresh,
                    splits: saved.splits,
                };
            }
        }
        expect("metrics of interference", self.interference.len(), metrics)?;
        judge.guards.interference = self.interference.into_iter().map(|one| one.map(|ln| ln.0)).collect();
        for (stratum, sides) in self.splits {
            let [sent, reported] = sides.map(|(canary, control, ln_bayes, alarmed)| SplitState {
                canary,
                control,
                ln_bayes: ln_bayes.0,
                alarmed,
            });
            judge.guards.splits.insert(stratum, Split { sent, reported });
        }
        judge.signatures = self.signatures;
        judge.hosts = self.hosts;
        (judge.rejected, judge.gate, judge.burn) = (self.rejected, self.gate.0, self.burn.0);
        if !(0.0..=1.0).contains(&judge.gate) || judge.burn < 0.0 {
            return Err(damaged(
                "the share of self-checks or the burn is out of range".to_owned(),
            ));
        }
        judge.freeze = self.freeze.map(|(slo, class, burn, limit)| BurnFreeze {
            slo,
            class,
            burn: burn.0,
            limit: limit.0,
        });
        judge.leak = self.leak.map(|(resource, ln_e)| (resource, ln_e.0));
        judge.hold = self.hold;
        judge.last = self.last;
        judge.coverage = self.coverage;
        judge.totals = self.totals;
        judge.stop = self.stop;
        judge.sum_up_nodes(|_| true);
        judge.ln_e = judge.stop_statistic(&judge.nodes);
        Ok(judge)
    }
}

/// The strongest hosts of a process, where they are possible.
fn influence((hosts, events, evidence): SavedInfluence) -> Result<Influence, JudgeError> {
    let finite = |value: &Exact| value.0 >= 0.0 && value.0 < f64::INFINITY;
    let possible = hosts.len() <= KEPT && hosts.iter().all(|(_, _, events)| *events > 0);
    let host = |(stratum, host, events)| Strong {
        key: HostKey { stratum, host },
        events,
    };
    if !possible || !finite(&events) || !evidence.iter().all(finite) {
        return Err(damaged("the hosts of a process are not possible".to_owned()));
    }
    Ok(Influence {
        hosts: hosts.into_iter().map(host).collect(),
        events: events.0,
        evidence: evidence.map(|ln| ln.0),
    })
}

impl Serialize for Judge {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Snapshot::of(self).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Judge {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Snapshot::deserialize(deserializer)?
            .restore()
            .map_err(serde::de::Error::custom)
    }
}
