//! What live traffic shows how fast: from it a forecast knows how long evidence takes. It decides nothing.

use unattended_health::{Counts, Row};

use crate::sizing::{Expected, smallest_ratio};
use crate::{LiveTraffic, Settings};

use super::classes::{ERRORS, Fresh, silent_from_ms, wanted};
use super::{Course, Machine};

/// A rate is read off after so many intervals: the first ones have those in them who are not warm.
const INTERVALS: u64 = 5;

/// Errors of the fleet since the evidence of its present stage counts.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Traffic {
    canary: u64,
    control: Counts,
}

impl Traffic {
    pub(super) fn add(&mut self, row: &Row) {
        self.canary = self.canary.saturating_add(row.canary.total);
        self.control.bad = self.control.bad.saturating_add(row.control.bad);
        self.control.total = self.control.total.saturating_add(row.control.total);
    }
}

/// Of the evidence of safety that a class needs, the part that each of its exposed targets adds in a millisecond.
#[derive(Clone, Copy, Debug)]
pub(super) struct Speed {
    all: f64,
    /// What its errors alone would add if they came one by one: where that is too little, the class is silent.
    errors: f64,
}

impl Machine {
    /// How fast a class shows that it is safe: as it was in this stage, once half of what it needs was shown; else as in the last one; and
    /// before, as a good release should at this traffic. `None` until enough was seen of it.
    pub(super) fn speed(&self, class: usize) -> Option<Speed> {
        let state = &self.classes[class];
        let Fresh::Counting(since) = state.fresh else {
            return state.speed;
        };
        let seen_ms = self.now_ms - since;
        if seen_ms < INTERVALS * self.setup.change.settings.interval_ms || state.exposed == 0 {
            return state.speed;
        }
        let target_ms = to_f64(seen_ms) * f64::from(state.exposed);
        let safety = self.judge.safety(u32::try_from(class).unwrap_or(u32::MAX));
        let wanted = wanted(safety.needed);
        let part = |ln_s: f64| ln_s / wanted / target_ms;
        let errors = part(state.expected_ln_s[usize::from(ERRORS)]);
        if safety.ln_s * 2.0 >= safety.needed {
            let all = safety.ln_s / safety.needed / target_ms;
            return Some(Speed { all, errors });
        }
        let foreseen = (0..)
            .zip(state.expected_ln_s)
            .map(|(metric, ln_s)| ln_s / self.dispersion(metric));
        let all = part(foreseen.fold(f64::INFINITY, f64::min));
        state.speed.or(Some(Speed { all, errors }))
    }

    fn dispersion(&self, metric: u8) -> f64 {
        self.judge.dispersion(metric).unwrap_or(1.0).max(1.0)
    }

    /// How long `targets` of a class take to show that they are safe, at the traffic seen so far; 0 where none was seen. A class whose
    /// traffic is too thin for that goes on by its self-tests.
    pub(super) fn evidence_ms(&self, class: usize, targets: u32) -> u64 {
        let settings = &self.setup.change.settings;
        let Some(Speed { all, errors }) = self.speed(class) else {
            return 0;
        };
        let targets = f64::from(targets.max(1));
        if errors * targets * to_f64(settings.silent_after_ms) < 1.0 {
            return silent_from_ms(settings);
        }
        // Then people are asked.
        whole((1.0 / (all * targets)).min(to_f64(settings.patience_ms)))
    }

    /// What the traffic of those exposed now can show; `None` before enough was seen, and where nobody is left to compare with.
    pub(super) fn live_traffic(&self) -> Option<LiveTraffic> {
        let (fleet, settings) = (self.classes.first()?, &self.setup.change.settings);
        let Fresh::Counting(since) = fleet.fresh else {
            return None;
        };
        let seen_ms = self.now_ms - since;
        let compared = 0 < fleet.exposed && u64::from(fleet.exposed) < self.alive;
        if seen_ms < INTERVALS * settings.interval_ms || !compared || self.course != Course::Forward {
            return None;
        }
        // Without a single error nobody knows how rare they are.
        let error_rate = self.traffic.control.rate().filter(|rate| *rate > 0.0)?;
        let per_target_ms = to_f64(self.traffic.canary) / (to_f64(seen_ms) * f64::from(fleet.exposed));
        let expected = Expected {
            requests_per_s: per_target_ms * 1e3,
            error_rate,
            dispersion: self.dispersion(ERRORS),
        };
        let share = f64::from(fleet.exposed) / to_f64(self.alive);
        let requests = per_target_ms * to_f64(self.alive) * to_f64(settings.bake_ms.max(settings.interval_ms));
        Some(LiveTraffic {
            requests_per_s: expected.requests_per_s,
            error_rate,
            smallest_ratio: smallest_ratio(settings, &expected, share, requests),
            safe_after_ms: self.evidence_ms(0, fleet.exposed),
        })
    }

    /// The least time from the end of one stage of a class to the end of the next, at `targets` of it exposed.
    pub(super) fn stage_ms(&self, class: usize, targets: u32) -> u64 {
        let Settings {
            attempt_estimate_ms,
            warm_up_ms,
            bake_ms,
            ..
        } = self.setup.change.settings;
        attempt_estimate_ms + warm_up_ms + bake_ms.max(self.evidence_ms(class, targets))
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "times and counts of a change are far below 2^53"
)]
const fn to_f64(whole: u64) -> f64 {
    whole as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "at least 0, and below the longest time that settings may have"
)]
const fn whole(ms: f64) -> u64 {
    ms as u64
}
