//! From trials to numbers, each rate with its exact 95 % interval (Clopper and Pearson).

use std::collections::BTreeMap;

use serde::Serialize;

use crate::proportion;
use crate::trial::Trial;

/// A rate, and what is known of it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Rate {
    pub(crate) of: u32,
    pub(crate) count: u32,
}

impl Rate {
    fn count<'t>(all: impl Iterator<Item = &'t Trial>, is: impl Fn(&Trial) -> bool) -> Self {
        let mut rate = Self { of: 0, count: 0 };
        for trial in all {
            rate.of += 1;
            rate.count += u32::from(is(trial));
        }
        rate
    }

    /// `None` of nothing.
    pub(crate) fn value(self) -> Option<f64> {
        (self.of > 0).then(|| f64::from(self.count) / f64::from(self.of))
    }

    /// Of these, those above a limit.
    pub(crate) fn above(all: &[f64], limit: f64) -> Self {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Self {
            of: count(all.len()),
            count: count(all.iter().filter(|value| **value > limit).count()),
        }
    }

    /// Of nothing, all that is possible.
    pub(crate) fn interval(self) -> [f64; 2] {
        if self.of == 0 {
            return [0.0, 1.0];
        }
        let (low, high) = proportion::interval(self.count, self.of);
        [low, high]
    }
}

/// What one family came to.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Part {
    pub(crate) bad: bool,
    pub(crate) releases: u32,
    pub(crate) detectable: u32,
    pub(crate) stopped: u32,
    /// Of those that are detectable.
    pub(crate) caught: u32,
    pub(crate) human_actions: u64,
    pub(crate) wrong_scope: u32,
    pub(crate) exposed_median_share: Option<f64>,
    pub(crate) exposed_max_share: Option<f64>,
    pub(crate) hours_median: Option<f64>,
    pub(crate) harm: f64,
}

/// One policy's measures.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Measures {
    pub(crate) releases: u32,
    pub(crate) undetectable: u32,
    /// Of detectable releases, those that were stopped.
    pub(crate) recall: Rate,
    /// Of these, those that a person decided.
    pub(crate) by_person: Rate,
    /// Of these, those before anything had gone wrong because of the release.
    pub(crate) before_onset: u32,
    /// Of stops, those of bad releases.
    pub(crate) precision: Rate,
    /// Of good releases, those that were stopped.
    pub(crate) false_stops: Rate,
    /// Of good releases, those that nobody had to do anything for.
    pub(crate) unattended: Rate,
    /// Of good releases, those that left something behind for its owners.
    pub(crate) with_debt: Rate,
    /// Of stops that name a class, those that name one that is no more at fault than others.
    pub(crate) wrong_scope: Rate,
    /// Of stopped bad releases, the share of the fleet each had touched.
    pub(crate) exposed: Vec<f64>,
    pub(crate) exposed_median: Option<u64>,
    pub(crate) exposed_median_share: Option<f64>,
    pub(crate) exposed_p95_share: Option<f64>,
    pub(crate) first_step: u64,
    /// Of good releases that were rolled out, hours to the end.
    pub(crate) good_hours: Vec<f64>,
    pub(crate) good_hours_median: Option<f64>,
    pub(crate) human_actions: u64,
    pub(crate) harm: f64,
    pub(crate) harm_median: Option<f64>,
    pub(crate) by_family: BTreeMap<String, Part>,
}

impl Measures {
    /// Of these trials; `names` are those of the families.
    pub(crate) fn of(trials: &[Trial], names: &[&str]) -> Self {
        let bad = || trials.iter().filter(|trial| trial.bad);
        let good = || trials.iter().filter(|trial| !trial.bad);
        let stopped = |trial: &Trial| trial.stopped;
        let exposed = || bad().filter(|trial| trial.stopped);
        let good_hours: Vec<f64> = good().filter(|trial| !trial.stopped).map(|trial| trial.hours).collect();
        let by_family = names.iter().enumerate().filter_map(|(family, name)| {
            let part: Vec<&Trial> = trials.iter().filter(|trial| trial.family == family).collect();
            (!part.is_empty()).then(|| ((*name).to_owned(), Part::of(&part)))
        });
        Self {
            releases: count(trials.iter()),
            undetectable: count(bad().filter(|trial| !trial.detectable)),
            recall: Rate::count(bad().filter(|trial| trial.detectable), stopped),
            by_person: Rate::count(bad().filter(|trial| trial.detectable && trial.stopped), |trial| {
                trial.by_person
            }),
            before_onset: count(bad().filter(|trial| trial.detectable && trial.before_onset)),
            precision: Rate::count(trials.iter().filter(|trial| trial.stopped), |trial| trial.bad),
            false_stops: Rate::count(good(), stopped),
            unattended: Rate::count(good(), |trial| trial.human_actions == 0),
            with_debt: Rate::count(good(), |trial| trial.with_debt),
            wrong_scope: Rate::count(trials.iter().filter(|t| t.bad && t.scope.is_some()), |trial| {
                trial.wrong_scope
            }),
            exposed: exposed().map(Trial::share).collect(),
            exposed_median: quantile(exposed().map(|trial| trial.exposed).collect(), 0.5, u64::cmp),
            exposed_median_share: quantile(exposed().map(Trial::share).collect(), 0.5, f64::total_cmp),
            exposed_p95_share: quantile(exposed().map(Trial::share).collect(), 0.95, f64::total_cmp),
            first_step: quantile(trials.iter().map(|trial| trial.first_step).collect(), 0.5, u64::cmp).unwrap_or(0),
            good_hours_median: quantile(good_hours.clone(), 0.5, f64::total_cmp),
            good_hours,
            human_actions: trials.iter().map(|trial| trial.human_actions).sum(),
            harm: total(bad().map(|trial| trial.harm)),
            harm_median: quantile(bad().map(|trial| trial.harm).collect(), 0.5, f64::total_cmp),
            by_family: by_family.collect(),
        }
    }

    /// A release that was stopped in its first step, or one in a thousand targets, whichever is more: as a share.
    pub(crate) fn first_share(trials: &[Trial]) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a share of a fleet")]
        let share = |trial: &Trial| trial.first_step as f64 / trial.targets.max(1) as f64;
        quantile(trials.iter().map(share).collect(), 0.5, f64::total_cmp)
            .unwrap_or(0.0)
            .max(1e-3)
    }
}

impl Part {
    fn of(trials: &[&Trial]) -> Self {
        let of = |is: &dyn Fn(&Trial) -> bool| count(trials.iter().copied().filter(|trial| is(trial)));
        let shares: Vec<f64> = trials
            .iter()
            .filter(|t| t.bad && t.stopped)
            .map(|trial| trial.share())
            .collect();
        Self {
            bad: trials.iter().any(|trial| trial.bad),
            releases: of(&|_| true),
            detectable: of(&|trial| trial.detectable),
            stopped: of(&|trial| trial.stopped),
            caught: of(&|trial| trial.detectable && trial.stopped),
            human_actions: trials.iter().map(|trial| trial.human_actions).sum(),
            wrong_scope: of(&|trial| trial.wrong_scope),
            exposed_max_share: shares.iter().copied().reduce(f64::max),
            exposed_median_share: quantile(shares, 0.5, f64::total_cmp),
            hours_median: quantile(trials.iter().map(|trial| trial.hours).collect(), 0.5, f64::total_cmp),
            harm: total(trials.iter().map(|trial| trial.harm)),
        }
    }
}

fn count<'t>(trials: impl Iterator<Item = &'t Trial>) -> u32 {
    u32::try_from(trials.count()).unwrap_or(u32::MAX)
}

/// A sum from zero on: that of the standard library begins at -0, which is what the sum of nothing would be.
fn total(all: impl Iterator<Item = f64>) -> f64 {
    all.fold(0.0, |sum, one| sum + one)
}

/// The smallest value that at least this share of all do not exceed; `None` of nothing.
pub(crate) fn quantile<T: Copy>(
    mut all: Vec<T>,
    share: f64,
    order: impl Fn(&T, &T) -> std::cmp::Ordering,
) -> Option<T> {
    all.sort_unstable_by(order);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a share of a length"
    )]
    let rank = (share * all.len() as f64).ceil() as usize;
    all.get(rank.max(1) - 1).copied()
}
