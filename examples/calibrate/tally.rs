//! What the outcomes of many releases add up to.

use serde::Serialize;

use crate::contest::{Contender, Outcome, contenders};
use crate::family::Family;
use crate::proportion::interval;

/// So many of so many, with the exact 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Proportion {
    pub(crate) count: u32,
    pub(crate) runs: u32,
    pub(crate) rate: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Proportion {
    pub(crate) fn new(count: usize, runs: usize) -> Self {
        let (count, runs) = (
            u32::try_from(count).unwrap_or(u32::MAX),
            u32::try_from(runs).unwrap_or(u32::MAX),
        );
        let (low, high) = interval(count, runs);
        Self {
            count,
            runs,
            rate: f64::from(count) / f64::from(runs),
            low,
            high,
        }
    }
}

/// One judge in one family.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Line {
    pub(crate) judge: &'static str,
    /// The limit of a judge that has one.
    pub(crate) limit: Option<f64>,
    /// Healthy releases that were rolled back.
    pub(crate) false_alarms: Proportion,
    /// Bad releases that were let pass: for our judge in the worst stage, for others in the end.
    pub(crate) bad_promotions: Proportion,
    /// Bad releases that were rolled back.
    pub(crate) detected: Proportion,
    /// Healthy releases that passed every stage.
    pub(crate) promoted: Proportion,
    /// Intervals from the first bad one to the rollback; `None` where fewer than half (a tenth) were not found.
    pub(crate) delay_median: Option<u16>,
    pub(crate) delay_p90: Option<u16>,
}

/// All judges in one family.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Standing {
    pub(crate) family: &'static str,
    pub(crate) about: &'static str,
    pub(crate) alpha: f64,
    pub(crate) beta: f64,
    pub(crate) ratio: f64,
    pub(crate) judges: Vec<Line>,
    /// Our false alarms do not exceed α, nor our bad promotions β, beyond what chance explains.
    pub(crate) holds: bool,
}

/// Bad promotions that our judge allows itself.
pub(crate) const BETA: f64 = 0.05;

pub(crate) fn standing(family: &Family, healthy: &[Vec<Outcome>], bad: &[Vec<Outcome>]) -> Standing {
    let all = contenders(family);
    let lines: Vec<(Contender, Line)> = all
        .iter()
        .enumerate()
        .map(|(at, contender)| (*contender, line(family, *contender, at, healthy, bad)))
        .collect();
    // A limit chosen in hindsight, for this family: better than anybody could choose it.
    let best = |name: &str| {
        let own = lines.iter().filter(|(_, line)| line.judge == name);
        let wrong = |line: &Line| line.false_alarms.rate + line.bad_promotions.rate;
        own.min_by(|a, b| wrong(&a.1).total_cmp(&wrong(&b.1)))
            .map(|(_, line)| line.clone())
    };
    let judges: Vec<Line> = ["ours", "kayenta", "flagger", "argo", "z"]
        .into_iter()
        .filter_map(best)
        .collect();
    let holds = judges
        .first()
        .is_some_and(|ours| ours.false_alarms.low <= family.alpha && ours.bad_promotions.low <= BETA);
    Standing {
        family: family.name,
        about: family.about,
        alpha: family.alpha,
        beta: BETA,
        ratio: family.ratio,
        judges,
        holds,
    }
}

fn line(family: &Family, contender: Contender, at: usize, healthy: &[Vec<Outcome>], bad: &[Vec<Outcome>]) -> Line {
    let (judge, limit) = match contender {
        Contender::Ours => ("ours", None),
        Contender::Kayenta => ("kayenta", None),
        Contender::Flagger(limit) => ("flagger", Some(limit)),
        Contender::Argo(limit) => ("argo", Some(limit)),
        Contender::Z => ("z", None),
    };
    let of = |runs: &[Vec<Outcome>], is: &dyn Fn(&Outcome) -> bool| runs.iter().filter(|run| is(&run[at])).count();
    // Only stages that are bad throughout.
    let (first, begins) = family.stage(family.onset);
    let first = if begins { first } else { first + 1 };
    let passed = (first..family.stages.len())
        .map(|stage| of(bad, &|outcome| outcome.passed[stage]))
        .max();
    let onset = u16::try_from(family.onset).unwrap_or(u16::MAX);
    // An alarm before anything was bad is no detection.
    let detection = |outcome: &Outcome| outcome.rolled_back.filter(|t| *t >= onset).map(|t| t - onset + 1);
    let mut delays: Vec<u16> = bad.iter().filter_map(|run| detection(&run[at])).collect();
    delays.sort_unstable();
    // The smallest delay within which this share of all bad releases was found.
    let quantile = |tenths: usize| delays.get((bad.len() * tenths).div_ceil(10).saturating_sub(1)).copied();
    Line {
        judge,
        limit,
        false_alarms: Proportion::new(of(healthy, &|outcome| outcome.rolled_back.is_some()), healthy.len()),
        bad_promotions: Proportion::new(passed.unwrap_or(0), bad.len()),
        detected: Proportion::new(delays.len(), bad.len()),
        promoted: Proportion::new(
            of(healthy, &|outcome| outcome.passed.iter().all(|passed| *passed)),
            healthy.len(),
        ),
        delay_median: quantile(5),
        delay_p90: quantile(9),
    }
}
