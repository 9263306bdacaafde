//! From evidence to a verdict.

use crate::judge::Judge;
use crate::power::{Information, promotion_information};
use crate::process::Process;
use crate::row::{floor_to_u64, to_f64};
use crate::value::EValue;
use crate::{Coverage, Exit, Hold, HoldReason, HostEvent, Verdict};

/// Most hosts that are named in one change. Where there are more, it is no longer about hosts.
const NAMED: usize = 64;

impl Judge {
    /// What the evidence calls for, in this order: reject once a self-check failed; rollback once stopped; hold while data
    /// is missing or cannot be believed, the budget burns, or suspicion is high; promote with enough evidence of safety
    /// wherever the new version runs; hold when the patience is over; else continue.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        if self.rejected {
            return Verdict::Reject;
        }
        if self.stop.is_some() {
            return Verdict::Rollback;
        }
        match self.obstacle() {
            Some((reason, exit)) => {
                let now = self.last.unwrap_or(0);
                let since = self
                    .hold
                    .filter(|(kind, _)| *kind == reason.kind())
                    .map_or(now, |(_, since)| since);
                Verdict::Hold(Hold {
                    reason,
                    exit,
                    deadline: since.saturating_add(self.config.hold_patience),
                })
            }
            None if self.promotes() => Verdict::Promote,
            None => Verdict::Continue,
        }
    }

    /// Remembers since when the change holds for this reason.
    pub(crate) fn note_hold(&mut self, index: u64) {
        let kind = self.obstacle().map(|(reason, _)| reason.kind());
        self.hold = kind.map(|kind| match self.hold {
            Some((known, since)) if known == kind => (kind, since),
            _ => (kind, index),
        });
    }

    fn obstacle(&self) -> Option<(HoldReason, Exit)> {
        let report = Exit::HostsReport(self.config.min_coverage);
        let Some((canary, control)) = self.coverage else {
            return Some((HoldReason::NoData, report));
        };
        let silent = |coverage: Coverage| {
            let missing = coverage.expected.saturating_sub(coverage.reported);
            coverage.share() < self.config.min_coverage
                && (missing >= self.config.min_silent_hosts || coverage.reported == 0)
        };
        match (silent(canary), silent(control)) {
            (true, true) => return Some((HoldReason::BothSilent { canary, control }, report)),
            (true, false) => return Some((HoldReason::CanarySilent(canary), report)),
            (false, true) => return Some((HoldReason::ControlSilent(control), report)),
            (false, false) => {}
        }
        let unless_safe = || self.guards.reported_mismatch().filter(|_| !self.promotes());
        if let Some((stratum, ln_bayes)) = self.guards.mismatch().or_else(unless_safe) {
            return Some((HoldReason::SampleRatio { stratum, ln_bayes }, Exit::SplitAsPlanned));
        }
        if let Some((metric, ln_e)) = self.guards.worst_interference()
            && ln_e >= self.rules.ln_needed
        {
            return Some((
                HoldReason::Interference { metric, ln_e },
                Exit::EvidenceBelow(self.rules.ln_needed),
            ));
        }
        if let Some(freeze) = self.freeze {
            return Some((HoldReason::Burn(freeze), Exit::BurnBelowBudget));
        }
        if let Some((resource, ln_e)) = self.leak {
            return Some((HoldReason::Leak { resource, ln_e }, Exit::Person));
        }
        let (ln_e, ln_hold) = (self.ln_e, self.rules.ln_hold);
        if ln_e >= ln_hold {
            return Some((HoldReason::Suspicion { ln_e, ln_hold }, Exit::EvidenceBelow(ln_hold)));
        }
        let whole = &self.scopes[0];
        if whole.looks > self.config.patience && !whole.satisfied {
            let (ln_s, needed) = (whole.ln_s(&self.config), self.rules.ln_safe);
            let more = self.needed_requests().unwrap_or(u64::MAX);
            return Some((HoldReason::Insufficient { ln_s, needed }, Exit::Requests(more)));
        }
        None
    }

    /// All strata together, and every class in which the new version was seen since its stage began, are safe, and the bake
    /// is over. Nowhere seen is nowhere safe.
    fn promotes(&self) -> bool {
        let (whole, classes) = (&self.scopes[0], &self.scopes[1..]);
        let ready = |looks: u64, satisfied: bool| looks >= self.config.bake && satisfied;
        ready(whole.looks, whole.satisfied)
            && classes
                .iter()
                .all(|class| !class.was_exposed(&self.config) || ready(class.looks, class.satisfied))
    }

    /// Canary requests still needed for evidence of safety over all strata, were the release as good as the old version:
    /// the largest over the required metrics; `None` where nothing is known to reckon with, or no number suffices.
    #[must_use]
    pub fn needed_requests(&self) -> Option<u64> {
        let metrics = self.config.metrics.len();
        let mut most = 0.0_f64;
        for (metric, spec) in self.config.metrics.iter().enumerate().filter(|(_, spec)| spec.required) {
            let (tally, safety) = (&self.scopes[0].tallies[metric], &self.scopes[0].safety[metric]);
            let missing = self.rules.ln_safe - safety.ln_s();
            if missing <= 0.0 {
                continue;
            }
            let (n_c, n_b) = (to_f64(tally.canary.total), to_f64(tally.control.total));
            // The control's rate, as if one bad event more had been seen.
            let rate = (to_f64(tally.control.bad) + 1.0) / (n_b + 1.0 / spec.floor);
            let relative = if n_c > 0.0 && n_b > 0.0 {
                let share = n_c / (n_c + n_b);
                let Information { per_event, .. } = promotion_information(share, self.rules.bad_ratio.ratio());
                per_event * rate / share
            } else {
                0.0
            };
            let apps = || (0..self.topology.apps.len()).map(|app| self.limits[app * metrics + metric].gain());
            let absolute = apps().fold(f64::INFINITY, f64::min);
            // Of the mean of the two only one need grow: that costs ln 2.
            let gain =
                relative.max(if absolute.is_finite() { absolute } else { 0.0 }) / self.whole_dispersion_of(metric);
            let lacking = self.rules.ln_safe + core::f64::consts::LN_2 - safety.ln_relative.max(safety.ln_absolute());
            if gain <= 0.0 {
                return None;
            }
            most = most.max(lacking.max(missing) / gain);
        }
        floor_to_u64(most.ceil())
    }

    /// Names the strongest host where the evidence of all strata, hosts not told apart, would stop the change, and would not
    /// even hold it without that host, and it stands out: where all have their share, one host less takes little away.
    pub(crate) fn name_host(&mut self, at: u64) {
        if self.plain.is_empty() || self.hosts.len() >= NAMED {
            return;
        }
        let (shares, waiting) = (&self.rules.shares, self.steps.waiting());
        let sum = |left_out: Option<(usize, EValue)>| {
            let of = |(at, process): (usize, &Process)| match left_out {
                Some((without, value)) if without == at => value,
                _ => process.unbounded(),
            };
            let values = self.plain.iter().enumerate().map(of);
            EValue::weighted(shares.iter().copied().zip(values)).ln()
        };
        if sum(None) < self.rules.ln_needed {
            return;
        }
        let least = (0..self.plain.len())
            .filter_map(|at| Some((at, sum(Some((at, self.plain[at].without_strongest(waiting)?))))))
            .reduce(|least, next| if next.1 < least.1 { next } else { least });
        let Some((process, _)) = least.filter(|(_, ln)| *ln < self.rules.ln_hold) else {
            return;
        };
        let Some(host) = self.plain[process].forget_strongest() else {
            return;
        };
        let event = HostEvent {
            index: at,
            stratum: host.key.stratum,
            host: host.key.host,
            metric: self.config.metrics[process / 2].name.clone(),
            bad: host.events.into(),
        };
        let known = |one: &&mut HostEvent| (one.stratum, one.host) == (event.stratum, event.host);
        // What it has done since, after all that was taken out: whoever did something about it learns that it did not help.
        match self.hosts.iter_mut().find(known) {
            Some(known) => *known = event,
            None => self.hosts.push(event),
        }
    }
}
