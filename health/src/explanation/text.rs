//! What findings and holds say.

use core::fmt;

use super::{FLEET, Finding};
use crate::config::HOSTS;
use crate::numbers::{Capped, E, Grouped, Short};
use crate::{BurnFreeze, Counts, Coverage, Exit, FaultClass, Hold, HoldReason, Ratio, Resource};

/// How many of how many. Hosts are at risk anew in each interval: a sum of them is no number of hosts, and only those that failed are told.
pub(super) fn amount(counts: Counts, unit: &str) -> String {
    let bad = Grouped(counts.bad);
    if unit == HOSTS {
        bad.to_string()
    } else {
        format!("{bad} of {}", Grouped(counts.total))
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped { index, ln_e } => {
                write!(f, "stopped at interval {index} with evidence {}", Capped(*ln_e, 0.0))
            }
            Self::Counts {
                metric,
                unit,
                canary,
                control,
            } => {
                let (new, old) = (amount(*canary, unit), amount(*control, unit));
                match (canary.total, control.total) {
                    (0, 0) => write!(f, "{metric} not measured"),
                    (0, _) => write!(f, "{metric} {old} {unit} on control, none on canary"),
                    (_, 0) => write!(f, "{metric} on canary {new} {unit}, none on control"),
                    _ => write!(f, "{metric} on canary {new} {unit} vs {old} on control"),
                }
            }
            Self::Fresh {
                metric,
                unit,
                canary,
                ratio_limit,
            } => {
                let bad = amount(*canary, unit);
                write!(
                    f,
                    "{metric} before warm-up {bad} {unit} (up to {ratio_limit} × control is normal)"
                )
            }
            Self::Evidence { ln_e, ln_needed } => {
                write!(f, "evidence {} of {} needed", Capped(*ln_e, *ln_needed), E(*ln_needed))
            }
            Self::Strongest {
                class,
                ratio,
                fleet_wide,
                ..
            } => {
                match fleet_wide {
                    None => write!(f, "strongest: class {class}")?,
                    Some(_) => f.write_str("strongest: the fleet as a whole")?,
                }
                let with = |f: &mut fmt::Formatter<'_>, ratio: &Ratio| {
                    if ratio.says_something() {
                        write!(f, ", {ratio}")?;
                    }
                    Ok(())
                };
                with(f, fleet_wide.as_ref().unwrap_or(ratio))?;
                if fleet_wide.is_some() && class != FLEET {
                    write!(f, "; among classes {class}")?;
                    with(f, ratio)?;
                }
                Ok(())
            }
            Self::Safety {
                ln_s,
                needed,
                requests_seen,
            } => {
                let seen = Grouped(*requests_seen);
                write!(
                    f,
                    "evidence of safety {} of {} needed, from {seen} canary requests",
                    Capped(*ln_s, *needed),
                    E(*needed)
                )
            }
            Self::Hold { hold, metric } => {
                hold.fmt(f)?;
                metric.as_ref().map_or(Ok(()), |metric| write!(f, " (metric {metric})"))
            }
            Self::Host { event } => write!(
                f,
                "host {} of stratum {} alone has at least {} of {}: roll it back by itself",
                event.host,
                event.stratum,
                Grouped(event.bad),
                event.metric
            ),
            Self::NewSignature { signature } => write!(
                f,
                "new with the change: {} on canary {} of {}",
                signature.name,
                Grouped(signature.canary.bad),
                Grouped(signature.canary.total)
            ),
            Self::PreExisting { signature } => write!(
                f,
                "not new: {} on canary {} of {} vs {} of {} on control",
                signature.name,
                Grouped(signature.canary.bad),
                Grouped(signature.canary.total),
                Grouped(signature.control.bad),
                Grouped(signature.control.total)
            ),
            Self::Elsewhere { class, canary, control } => {
                write!(f, "{} errors (not judged)", class.as_str())?;
                if canary.total > 0 {
                    write!(f, " on canary {} of {}", Grouped(canary.bad), Grouped(canary.total))?;
                }
                if canary.total > 0 && control.total > 0 {
                    f.write_str(" vs")?;
                }
                if control.total > 0 {
                    write!(f, " {} of {} on control", Grouped(control.bad), Grouped(control.total))?;
                }
                Ok(())
            }
        }
    }
}

impl fmt::Display for HoldReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts = |coverage: &Coverage| format!("{} of {} hosts report", coverage.reported, coverage.expected);
        match self {
            Self::NoData => f.write_str("holds: no interval was observed yet"),
            Self::CanarySilent(canary) => {
                write!(
                    f,
                    "holds: {} on the new version while the control reports",
                    hosts(canary)
                )
            }
            Self::ControlSilent(control) => write!(f, "holds: {} in the control cohort", hosts(control)),
            Self::BothSilent { canary, control } => write!(
                f,
                "holds: {} on the new version and {} in the control cohort; the source is probably down",
                hosts(canary),
                hosts(control)
            ),
            Self::Suspicion { ln_e, ln_hold } => {
                write!(
                    f,
                    "holds: evidence against the change is {}, goes on below {}",
                    E(*ln_e),
                    E(*ln_hold)
                )
            }
            Self::SampleRatio { stratum, ln_bayes } => write!(
                f,
                "holds: traffic of stratum {stratum} is not divided as planned, {} to one",
                E(*ln_bayes)
            ),
            Self::Interference { ln_e, .. } => write!(
                f,
                "holds: control hosts beside the new version do worse than others, evidence {}",
                E(*ln_e)
            ),
            Self::Burn(BurnFreeze {
                slo,
                class,
                burn,
                limit,
            }) => write!(
                f,
                "holds: {} errors burn the budget of objective {slo} {} times too fast, a person is paged at {}",
                class.map_or("all", FaultClass::as_str),
                Short(*burn),
                Short(*limit)
            ),
            Self::Leak { resource, ln_e } => write!(
                f,
                "holds: {} on the new version and not in the control cohort, evidence {}",
                match resource {
                    Resource::Memory => "memory grows",
                    Resource::Descriptors => "open descriptors grow",
                    Resource::Threads => "threads grow",
                    Resource::CpuPerRequest => "CPU per request grows",
                },
                E(*ln_e)
            ),
            Self::Insufficient { ln_s, needed } => write!(
                f,
                "holds: evidence of safety {} of {} needed, and the patience is over",
                E(*ln_s),
                E(*needed)
            ),
        }
    }
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.fmt(f)?;
        match self.exit {
            // Their reasons say so.
            Exit::EvidenceBelow(_) if matches!(self.reason, HoldReason::Suspicion { .. }) => Ok(()),
            Exit::HostsReport(_) if matches!(self.reason, HoldReason::NoData) => Ok(()),
            Exit::HostsReport(share) => write!(f, "; ends when {:.0} % of the hosts report", 100.0 * share),
            Exit::EvidenceBelow(ln_e) => write!(f, "; ends below {}", E(ln_e)),
            Exit::SplitAsPlanned => f.write_str("; ends when it is"),
            Exit::BurnBelowBudget => f.write_str("; ends below that"),
            Exit::Person => f.write_str("; somebody should look for the leak"),
            Exit::Requests(u64::MAX) => f.write_str("; no amount of this traffic suffices"),
            Exit::Requests(more) => write!(f, "; about {} canary requests more would do", Grouped(more)),
        }
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.estimate {
            Some(estimate) => write!(f, "ratio {}", Short(estimate))?,
            None => f.write_str("ratio unbounded (control has none)")?,
        }
        match self.high {
            Some(high) => write!(f, " (95 % {} to {})", Short(self.low), Short(high)),
            None => write!(f, " (95 % at least {})", Short(self.low)),
        }
    }
}
