//! The command line.

use std::path::PathBuf;

use clap::{ArgGroup, Parser, ValueEnum};

/// Judge a change by counts of a canary and a control: guilty, healthy, or not yet known.
///
/// Rows come as CSV on standard input, `interval,batch,stratum,metric,class,canary_bad,canary_total,control_bad,
/// control_total[,canary_expected]`, or with --per-host `interval,batch,stratum,metric,class,host,arm,bad,total[,distinct]
/// [,age_s]`. docs/judge.md says what each column means.
///
/// Exit codes: 0 judged, and the change may stay (Promote, Continue, Hold); 1 the change must go (Rollback, Reject); 2 bad
/// input; 4 a fault of this program.
#[derive(Debug, Parser)]
#[command(name = "judge", disable_version_flag = true, max_term_width = 100)]
#[command(group(ArgGroup::new("what").multiple(false).args(["power", "baseline"])))]
pub(crate) struct Options {
    /// Rows of single hosts
    #[arg(long, conflicts_with = "power")]
    pub(crate) per_host: bool,
    /// Probability of ever rolling back a change that makes nothing worse
    #[arg(long, value_name = "P", default_value = "0.01", value_parser = probability)]
    pub(crate) alpha: f64,
    /// Probability of letting a bad change pass a stage
    #[arg(long, value_name = "P", default_value = "0.05", value_parser = probability)]
    pub(crate) beta: f64,
    /// A rate ratio of 1 + δ is bad
    #[arg(long, value_name = "δ", default_value = "0.5", value_parser = positive)]
    pub(crate) delta: f64,
    /// A rate below θ is good in any case [default: twice the rate before the change, at least 1e-5]
    #[arg(long, value_name = "θ", value_parser = half)]
    pub(crate) theta: Option<f64>,
    /// Shares of the stop statistic, as in `errors=0.35,slow=0.15` [default: by class; own 0.35, ambiguous 0.10, other 0.05]
    #[arg(long, value_name = "METRIC=WEIGHT,…", value_delimiter = ',', value_parser = weight)]
    pub(crate) weights: Vec<(String, f64)>,
    /// The dispersion of every metric, in place of the estimate from control hosts
    #[arg(long, value_name = "φ", value_parser = dispersion)]
    pub(crate) phi: Option<f64>,
    /// Seconds after its start in which a host is judged as a fresh one (with `age_s`)
    #[arg(long, value_name = "SECONDS", default_value = "180", requires = "per_host")]
    pub(crate) warm_up: u64,
    /// Judge as well which hosts fail first, a host once: more than SHARE of its requests, and three at least, are bad
    #[arg(long, value_name = "METRIC=SHARE,…", value_delimiter = ',', value_parser = share, requires = "per_host")]
    #[arg(conflicts_with = "baseline")]
    pub(crate) first_failure: Vec<(String, f64)>,
    /// Answer how large a canary must be instead: p0=RATE,r=RATIO,rho=SHARE[,power=0.9][,u=WEIGHT]
    #[arg(long, value_name = "p0=…,r=…,rho=…")]
    pub(crate) power: Option<String>,
    /// Let another judge speak, as its documents say
    #[arg(long, value_enum, value_name = "NAME")]
    pub(crate) baseline: Option<Baseline>,
    /// Write a page with the evidence against its limits over time
    #[arg(long, value_name = "FILE", conflicts_with_all = ["power", "baseline"])]
    pub(crate) html: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// The judges of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Baseline {
    /// Kayenta's rank test over all intervals
    Kayenta,
    /// Flagger's counter of failed checks: 99 % good, ten misses
    Flagger,
    /// Argo Rollouts' success condition: 95 % good, three misses
    Argo,
    /// A z-test of two proportions at every look, at level α
    Z,
}

fn number(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "is not a number".to_owned())?;
    if value.is_finite() {
        Ok(value)
    } else {
        Err("is not finite".to_owned())
    }
}

fn within(text: &str, good: impl Fn(f64) -> bool, range: &str) -> Result<f64, String> {
    let value = number(text)?;
    if good(value) {
        Ok(value)
    } else {
        Err(format!("must be {range}"))
    }
}

fn probability(text: &str) -> Result<f64, String> {
    within(text, |p| p > 0.0 && p < 1.0, "above 0 and below 1")
}

fn positive(text: &str) -> Result<f64, String> {
    within(text, |value| value > 0.0 && value <= 100.0, "above 0, at most 100")
}

fn half(text: &str) -> Result<f64, String> {
    within(text, |value| (1e-12..=0.5).contains(&value), "1e-12 to 0.5")
}

fn dispersion(text: &str) -> Result<f64, String> {
    within(text, |value| (1.0..=50.0).contains(&value), "1 to 50")
}

fn weight(text: &str) -> Result<(String, f64), String> {
    let good = |weight| weight > 0.0 && weight <= 1e6;
    of_metric(text, "METRIC=WEIGHT, as in errors=0.35", good, "above 0, at most 1e6")
}

fn share(text: &str) -> Result<(String, f64), String> {
    let good = |share| (0.0..1.0).contains(&share);
    of_metric(text, "METRIC=SHARE, as in errors=0.1", good, "at least 0, below 1")
}

fn of_metric(text: &str, shape: &str, good: impl Fn(f64) -> bool, range: &str) -> Result<(String, f64), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| format!("`{text}` has no `=`; write {shape}"))?;
    let value = within(value, good, range).map_err(|why| format!("`{value}` of `{name}` {why}"))?;
    Ok((name.trim().to_owned(), value))
}
