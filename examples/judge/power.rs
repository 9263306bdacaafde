//! How large a canary must be, before there is one.

use std::fmt::Write as _;

use serde::Serialize;
use unattended::health::{Demand, Design, PowerError, Traffic};
use unattended_examples_support::{Failure, nearest};

use crate::SCHEMA;
use crate::options::Options;

const KEYS: [&str; 8] = ["p0", "r", "rho", "power", "weight", "hosts", "rps", "within"];

/// What `--json` prints: the letters of the formulas.
#[derive(Debug, Serialize)]
#[expect(non_snake_case, reason = "the letters of the formulas, which are case sensitive")]
pub(crate) struct Needs {
    /// Evidence per bad event.
    K: f64,
    /// Its standard deviation.
    sigma: f64,
    /// Evidence needed.
    L: f64,
    /// Bad events of both arms, on average.
    L_over_K: f64,
    /// Bad events with the wanted power.
    D: f64,
    /// Requests of both arms.
    N: f64,
    /// Requests of the canary.
    n_c: f64,
}

#[derive(Debug, Serialize)]
pub(crate) struct Answer {
    p0: f64,
    r: f64,
    rho: f64,
    power: f64,
    /// To find a regression by r.
    #[serde(flatten)]
    detection: Needs,
    /// To show that a good release is not worse by 1 + δ.
    promotion: Needs,
    /// With `hosts`, `rps` and `within`.
    canary: Option<Canary>,
    schema: u32,
}

#[derive(Debug, Serialize)]
struct Canary {
    /// `null` where half of the fleet is too few.
    hosts: Option<u64>,
    detection_s: Option<f64>,
    promotion_s: Option<f64>,
    /// The smallest ratio that could be found instead.
    smallest_ratio: Option<f64>,
}

impl From<Demand> for Needs {
    fn from(demand: Demand) -> Self {
        Self {
            K: demand.information,
            sigma: demand.spread,
            L: demand.needed,
            L_over_K: demand.mean_events,
            D: demand.events,
            N: demand.requests,
            n_c: demand.canary_requests,
        }
    }
}

pub(crate) fn answer(options: &Options, asked: &str) -> Result<Answer, Failure> {
    let mut values = [None; KEYS.len()];
    for part in asked.split(',') {
        let (key, text) = part
            .split_once('=')
            .ok_or_else(|| wrong(format!("`{part}` has no `=`: write KEY=VALUE, as in p0=1e-3")))?;
        let key = key.trim();
        let Some(at) = KEYS.iter().position(|known| *known == key) else {
            let fix = nearest(key, KEYS).map_or_else(
                || format!("the keys are {}", KEYS.join(", ")),
                |near| format!("did you mean `{near}`?"),
            );
            return Err(wrong(format!("`{key}` is not known: {fix}")));
        };
        let value: f64 = text
            .trim()
            .parse()
            .ok()
            .filter(|value: &f64| value.is_finite())
            .ok_or_else(|| wrong(format!("{key}: `{text}` is not a finite number")))?;
        if values[at].replace(value).is_some() {
            return Err(wrong(format!("`{key}` is given twice: leave one out")));
        }
    }
    let needed =
        |at: usize| values[at].ok_or_else(|| wrong(format!("`{}` is missing: write p0=…,r=…,rho=…", KEYS[at])));
    let (p0, r, rho) = (needed(0)?, needed(1)?, needed(2)?);
    let design = Design {
        alpha: options.alpha,
        beta: options.beta,
        delta: options.delta,
        power: values[3].unwrap_or(0.9),
        weight: values[4].unwrap_or(1.0),
        dispersion: options.phi.unwrap_or(1.0),
    };
    Ok(Answer {
        p0,
        r,
        rho,
        power: design.power,
        detection: design.detection(p0, r, rho).map_err(wrong)?.into(),
        promotion: design.promotion(p0, rho).map_err(wrong)?.into(),
        canary: canary(&design, p0, r, [values[5], values[6], values[7]])?,
        schema: SCHEMA,
    })
}

fn canary(design: &Design, p0: f64, r: f64, fleet: [Option<f64>; 3]) -> Result<Option<Canary>, Failure> {
    let [hosts, rps, within] = match fleet {
        [None, None, None] => return Ok(None),
        [Some(hosts), Some(rps), Some(within)] => [hosts, rps, within],
        _ => {
            return Err(wrong(
                "hosts, rps and within belong together: give all three or none".to_owned(),
            ));
        }
    };
    if hosts.fract() != 0.0 || !(2.0..=1e9).contains(&hosts) {
        return Err(wrong("hosts must be a whole number, 2 to 1e9".to_owned()));
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole, 2 to 1e9")]
    let hosts = hosts as u64;
    let traffic = Traffic {
        hosts,
        requests_per_s: rps,
        base_rates: &[p0],
    };
    match design.smallest_canary(&traffic, r, within) {
        Ok(canary) => Ok(Some(Canary {
            hosts: Some(canary.hosts),
            detection_s: Some(canary.detection_s),
            promotion_s: Some(canary.promotion_s),
            smallest_ratio: None,
        })),
        Err(PowerError::Undetectable {
            smallest_ratio,
            promotion_s,
            ..
        }) => Ok(Some(Canary {
            hosts: None,
            detection_s: None,
            promotion_s: Some(promotion_s),
            smallest_ratio,
        })),
        Err(error) => Err(wrong(error)),
    }
}

fn wrong(what: impl core::fmt::Display) -> Failure {
    Failure::Input(format!("--power: {what}"))
}

pub(crate) fn text(answer: &Answer) -> String {
    let mut out = format!(
        "rate {}, canary share {}, power {}\n\n{:<12} {:>22} {:>22}\n",
        answer.p0,
        answer.rho,
        answer.power,
        "",
        format!("find ratio {}", answer.r),
        "show safety"
    );
    let (find, show) = (&answer.detection, &answer.promotion);
    for (name, a, b) in [
        ("K", find.K, show.K),
        ("σ", find.sigma, show.sigma),
        ("L", find.L, show.L),
        ("L/K", find.L_over_K, show.L_over_K),
        ("D (events)", find.D, show.D),
        ("N (requests)", find.N, show.N),
        ("n_c (canary)", find.n_c, show.n_c),
    ] {
        let _ = writeln!(out, "{name:<12} {a:>22.6} {b:>22.6}");
    }
    match &answer.canary {
        None => {}
        Some(Canary {
            hosts: Some(hosts),
            detection_s: Some(detection_s),
            promotion_s: Some(promotion_s),
            ..
        }) => {
            let _ = writeln!(
                out,
                "\nsmallest canary: {hosts} hosts; found within {detection_s:.0} s, shown to be safe within {promotion_s:.0} s"
            );
        }
        Some(Canary { smallest_ratio, .. }) => {
            let instead = smallest_ratio.map_or_else(String::new, |ratio| format!("; ratio {ratio:.2} could be found"));
            let _ = writeln!(out, "\nhalf of the hosts are too few at this traffic{instead}");
        }
    }
    out
}
