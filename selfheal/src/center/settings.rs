//! What the owner of a center decides.

use serde::{Deserialize, Serialize};

/// Whether a center acts or only says what it would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "a center acts or it does not")]
pub enum Mode {
    /// Isolations and heal actions, within the budgets.
    Act,
    /// Findings and probes only: bulletins hold no isolation, nothing is healed.
    Advise,
}

/// How much may be out of use or under repair at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "the owner decides each of them")]
pub struct Budgets {
    /// Share of a service's nodes that may be isolated at once where capacities are not known, in per cent, 1 to 50.
    /// One node may always go when two remain or more.
    pub isolated_percent: u32,
    /// Share of the remaining nodes' capacity that load may take after an isolation, in per cent, 1 to 100. Applies to
    /// services all of whose nodes state a capacity.
    pub headroom_percent: u32,
    /// Isolations begun within ten minutes, over all services.
    pub isolations_per_ten_minutes: u32,
    /// Restarts asked for within an hour.
    pub restarts_per_hour: u32,
    /// Replacements asked for within an hour.
    pub replaces_per_hour: u32,
    /// Zones asked to be drained within a day. More than one is an outage that no machine should enlarge.
    pub drains_per_day: u32,
}

impl Default for Budgets {
    fn default() -> Self {
        Self {
            isolated_percent: 50,
            headroom_percent: 80,
            isolations_per_ten_minutes: 60,
            restarts_per_hour: 20,
            replaces_per_hour: 10,
            drains_per_day: 1,
        }
    }
}

/// The rules of a [`Center`](super::Center). Times in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "the owner decides each of them")]
pub struct CenterSettings {
    /// Whether it acts.
    pub mode: Mode,
    /// How often reporters report and the center is ticked, 10 to 60,000.
    pub period_ms: u64,
    /// A healthy node is accused at most once in so many of its requests, on average, before probes confirm it;
    /// 1,000 to 10^12.
    pub requests_per_accusation: f64,
    /// Failure rate below which nobody is accused, a fraction, 0.0001 to 0.1.
    pub tolerated_rate: f64,
    /// How long a verdict holds at a reporter that hears nothing more, in periods, 2 to 100.
    pub lease_periods: u64,
    /// How long a probe may take.
    pub probe_ms: u64,
    /// The first isolation lasts so long before probes ask whether the node is well again.
    pub isolation_ms: u64,
    /// No isolation lasts longer without being asked.
    pub isolation_max_ms: u64,
    /// What a node gets that answers late, in thousandths of its share, 1 to 999.
    pub sub_healthy_permille: u16,
    /// Good answers that a returning node must give at each stage.
    pub stage_successes: u32,
    /// How long a stage waits for traffic before it asks by probes.
    pub stage_patience_ms: u64,
    /// A node that is still ill so long after its isolation is restarted.
    pub restart_after_ms: u64,
    /// ... and replaced. Also after it relapsed [`quarantine_relapses`](Self::quarantine_relapses) times.
    pub replace_after_ms: u64,
    /// A zone that is down for so long is drained.
    pub drain_after_ms: u64,
    /// After so many relapses a node does not come back by itself: it is replaced, or a person readmits it.
    pub quarantine_relapses: u32,
    /// Bounds of what is done.
    pub budgets: Budgets,
    /// Of jitter and slots.
    pub seed: u64,
}

impl Default for CenterSettings {
    fn default() -> Self {
        Self {
            mode: Mode::Act,
            period_ms: 250,
            requests_per_accusation: 1e6,
            tolerated_rate: 0.005,
            lease_periods: 3,
            probe_ms: 500,
            isolation_ms: 5_000,
            isolation_max_ms: 300_000,
            sub_healthy_permille: 250,
            stage_successes: 20,
            stage_patience_ms: 10_000,
            restart_after_ms: 60_000,
            replace_after_ms: 300_000,
            drain_after_ms: 30_000,
            quarantine_relapses: 5,
            budgets: Budgets::default(),
            seed: 0,
        }
    }
}

/// Why settings cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` is out of its range: {range}")]
#[non_exhaustive]
pub struct SettingsError {
    /// The name of the field.
    pub field: &'static str,
    /// What it may be.
    pub range: &'static str,
}

impl CenterSettings {
    /// Whether every field is in its range.
    ///
    /// # Errors
    ///
    /// [`SettingsError`] names the first that is not.
    pub fn check(&self) -> Result<(), SettingsError> {
        let time = 1..=86_400_000;
        let budgets = &self.budgets;
        let rules = [
            ("period_ms", "10 to 60,000", (10..=60_000).contains(&self.period_ms)),
            (
                "requests_per_accusation",
                "1e3 to 1e12",
                (1e3..=1e12).contains(&self.requests_per_accusation),
            ),
            (
                "tolerated_rate",
                "0.0001 to 0.1",
                (1e-4..=0.1).contains(&self.tolerated_rate),
            ),
            ("lease_periods", "2 to 100", (2..=100).contains(&self.lease_periods)),
            ("probe_ms", "1 ms to a day", time.contains(&self.probe_ms)),
            ("isolation_ms", "1 ms to a day", time.contains(&self.isolation_ms)),
            (
                "isolation_max_ms",
                "`isolation_ms` to a day",
                time.contains(&self.isolation_max_ms) && self.isolation_ms <= self.isolation_max_ms,
            ),
            (
                "sub_healthy_permille",
                "1 to 999",
                (1..=999).contains(&self.sub_healthy_permille),
            ),
            (
                "stage_successes",
                "1 to 1,000,000",
                (1..=1_000_000).contains(&self.stage_successes),
            ),
            (
                "stage_patience_ms",
                "1 ms to a day",
                time.contains(&self.stage_patience_ms),
            ),
            (
                "restart_after_ms",
                "1 ms to a day",
                time.contains(&self.restart_after_ms),
            ),
            (
                "replace_after_ms",
                "1 ms to a day",
                time.contains(&self.replace_after_ms),
            ),
            ("drain_after_ms", "1 ms to a day", time.contains(&self.drain_after_ms)),
            (
                "quarantine_relapses",
                "1 to 1,000",
                (1..=1_000).contains(&self.quarantine_relapses),
            ),
            (
                "budgets.isolated_percent",
                "1 to 50",
                (1..=50).contains(&budgets.isolated_percent),
            ),
            (
                "budgets.headroom_percent",
                "1 to 100",
                (1..=100).contains(&budgets.headroom_percent),
            ),
        ];
        match rules.into_iter().find(|(_, _, holds)| !holds) {
            Some((field, range, _)) => Err(SettingsError { field, range }),
            None => Ok(()),
        }
    }

    /// How long a bulletin holds.
    pub(crate) const fn lease_ms(&self) -> u64 {
        self.period_ms * self.lease_periods
    }
}
