//! What became of one release in the hands of one policy.

/// Harm is counted until then, from a release's beginning on, whoever has ended when: 14 days.
pub(crate) const HORIZON_MS: u64 = 14 * 24 * 3_600_000;

/// Nothing is tried for longer: 60 days.
pub(crate) const LONGEST_MS: u64 = 60 * 24 * 3_600_000;

/// One release under one policy.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Trial {
    /// Among all families, the good ones first.
    pub(crate) family: usize,
    /// As it would be written for `rollout`.
    pub(crate) release: String,
    pub(crate) bad: bool,
    pub(crate) detectable: bool,
    /// It was not rolled out: rolled back, or left for people to decide about who decided so.
    pub(crate) stopped: bool,
    /// The policy did not decide so by itself: it asked somebody.
    pub(crate) by_person: bool,
    /// Targets touched when it stopped: `ours` counts those that have died since as well.
    pub(crate) exposed: u64,
    pub(crate) targets: u64,
    /// Targets in the first step.
    pub(crate) first_step: u64,
    /// It was stopped when nothing had gone wrong because of it.
    pub(crate) before_onset: bool,
    /// It was rolled out, but for targets that were left to their owners.
    pub(crate) with_debt: bool,
    /// Requests that go wrong because of the release, until the horizon.
    pub(crate) harm: f64,
    /// Until it had ended.
    pub(crate) hours: f64,
    pub(crate) human_actions: u64,
    /// The class that the stop names, if it names one, and whether that class is no more at fault than others.
    pub(crate) scope: Option<String>,
    pub(crate) wrong_scope: bool,
    /// In a few words.
    pub(crate) why: String,
}

impl Trial {
    /// Of the fleet as it was at the beginning, and no more than all of it: where targets die and others are born in their place, more may be
    /// touched than there are at any time.
    pub(crate) fn share(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a share of a fleet")]
        let share = self.exposed.min(self.targets) as f64 / self.targets.max(1) as f64;
        share
    }
}
