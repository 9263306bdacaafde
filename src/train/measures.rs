//! How well the train does: the four figures of DORA, and the share without a hand.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::Site;
use super::choose::hours;
use super::line::{Delivery, Line};

/// The four figures that the DORA research uses (Forsgren, Humble and Kim, *Accelerate*, 2018, chapter 2), and what people had to
/// do. docs/train.md says what is counted. A figure of nothing is `None`, not 0.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Measures {
    /// Median time from a commit to the end of the change that brought it to all of production, in hours.
    pub lead_time_hours_median: Option<f64>,
    /// Changes of production that reached all of it, a week.
    pub deployment_frequency_per_week: Option<f64>,
    /// Of all changes of production, those that did not reach all of it, and those since whose beginning an incident began that
    /// no later one is to blame for. One that gave way to a hotfix is none of either.
    pub change_failure_rate: Option<f64>,
    /// Median time from the beginning of an incident to its end, in hours.
    pub time_to_restore_hours_median: Option<f64>,
    /// Of all changes of production, those for which nobody had to do anything.
    pub unattended_share: Option<f64>,
    /// What people had to do: orders to the train, and what its changes asked for.
    pub human_actions: u64,
    /// Changes of production that reached all of it.
    pub releases: u64,
}

const WEEK_MS: i64 = 7 * 86_400_000;

impl Measures {
    pub(super) fn of<'l>(lines: impl Iterator<Item = &'l Line> + Clone, began_ms: i64, now_ms: i64) -> Self {
        let all = || lines.clone().flat_map(|line| line.deliveries.iter());
        let count = |is: &dyn Fn(&Delivery) -> bool| all().filter(|delivery| is(delivery)).count();
        let total: usize = lines.clone().map(|line| line.counted().count()).sum();
        let failed: usize = lines.clone().map(|line| line.failed().count()).sum();
        let done = count(&Delivery::arrived);
        #[expect(clippy::cast_precision_loss, reason = "a share of a count that memory holds")]
        let share = |part: usize| (total > 0).then(|| part as f64 / total as f64);
        let elapsed_ms = now_ms - began_ms;
        #[expect(clippy::cast_precision_loss, reason = "a count that memory holds, and weeks")]
        let frequency = (elapsed_ms > 0).then(|| done as f64 * WEEK_MS as f64 / elapsed_ms as f64);
        Self {
            lead_time_hours_median: median(all().flat_map(|delivery| delivery.leads_ms.iter().copied()).collect()),
            deployment_frequency_per_week: frequency,
            change_failure_rate: share(failed),
            time_to_restore_hours_median: median(lines.clone().flat_map(|line| line.incidents.lengths_ms()).collect()),
            unattended_share: share(
                lines
                    .clone()
                    .map(|line| line.counted().filter(|(delivery, _)| delivery.hands == 0).count())
                    .sum(),
            ),
            human_actions: lines.map(|line| line.hands).sum(),
            releases: done as u64,
        }
    }
}

impl Line {
    /// The changes of production that count, each with whether something burnt for it. One that gave way to a hotfix counts if it
    /// was that which burnt.
    fn counted(&self) -> impl Iterator<Item = (&Delivery, bool)> {
        let blamed: BTreeSet<usize> = self
            .incidents
            .beginnings_ms()
            .filter_map(|at_ms| self.to_blame(at_ms))
            .collect();
        let all = self.deliveries.iter().enumerate();
        all.map(move |(index, delivery)| (delivery, blamed.contains(&index)))
            .filter(|(delivery, blamed)| *blamed || !delivery.gave_way)
    }

    /// Those of them that failed.
    pub(super) fn failed(&self) -> impl Iterator<Item = &Delivery> {
        let failed = self
            .counted()
            .filter(|(delivery, blamed)| *blamed || !delivery.arrived());
        failed.map(|(delivery, _)| delivery)
    }

    /// The change that was production's newest when an incident began, whenever anybody heard of either. One that was rolled
    /// back is to blame until then; one that still runs has no verdict yet.
    fn to_blame(&self, at_ms: i64) -> Option<usize> {
        let newest = self
            .deliveries
            .iter()
            .enumerate()
            .filter(|(_, d)| d.began_ms <= at_ms && (d.arrived() || at_ms <= d.end.at_unix_ms))
            .max_by_key(|(_, delivery)| delivery.began_ms);
        let since_ms = newest.map_or(i64::MIN, |(_, delivery)| delivery.began_ms);
        let runs = self.runs.get(&Site::Production);
        let later = runs.is_some_and(|run| (since_ms..=at_ms).contains(&run.since_ms));
        newest.filter(|_| !later).map(|(index, _)| index)
    }
}

/// The middle one in hours; of an even number the mean of the two in the middle.
fn median(mut all_ms: Vec<i64>) -> Option<f64> {
    all_ms.sort_unstable();
    let middle = all_ms.len() / 2;
    let upper = hours(*all_ms.get(middle)?);
    if all_ms.len() % 2 == 1 {
        return Some(upper);
    }
    Some(f64::midpoint(hours(all_ms[middle - 1]), upper))
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn the_median_of_nothing_is_not_zero() {
        assert_eq!(median(Vec::new()), None);
        assert_eq!(median(vec![7_200_000, 3_600_000, 36_000_000]), Some(2.0));
        assert_eq!(median(vec![7_200_000, 3_600_000]), Some(1.5));
    }
}
