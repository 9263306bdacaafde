//! From evidence to actions: who is isolated, who comes back, and how.

use super::{Detector, Phase, Row, u64_to_f64};
use crate::action::{Action, Evidence, Reason, Step};
use crate::node::Service;
use crate::sequential::Score;
use crate::statistics::{mix, wilson_lower};

/// Weights of the way back, in thousandths. The probe comes before, full service after.
const STAGES_PERMILLE: [u16; 3] = [10, 50, 250];
/// Successes that a stage asks for.
const SUCCESSES_PER_STAGE: u32 = 5;
/// Standard errors of the Wilson bound that must lie above the median and the effect.
const WILSON_ERRORS: f64 = 3.0;
/// Calls that the median is worth when a node's rate is shrunk towards it.
const SHRINKING_CALLS: f64 = 20.0;
/// Failures without which nobody is called worse than peers.
const FEWEST_FAILURES: u32 = 3;
/// So many times the longest stage a node may hang between alarm and health before it is isolated again.
const PATIENCE_STAGES: u64 = 5;

/// Somebody to isolate.
struct Candidate {
    place: usize,
    reason: Reason,
    evidence: Evidence,
}

impl Detector {
    /// Everything that follows from what was collected.
    pub(super) fn judge(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        self.freeze_or_thaw(now_ms, actions);
        let mut candidates = Vec::new();
        let attention = std::mem::take(&mut self.attention);
        for &place in &attention {
            match self.rows[place].as_ref().map(|row| row.phase) {
                None => {}
                Some(Phase::Isolated { until_ms }) if now_ms >= until_ms => self.open_probe(now_ms, place, actions),
                Some(Phase::Isolated { .. }) => {}
                Some(Phase::Probing) => self.after_probe(now_ms, place, actions),
                Some(Phase::Serving | Phase::Returning { .. }) => {
                    if let Some(candidate) = self.suspect(now_ms, place) {
                        candidates.push(candidate);
                    } else {
                        self.ease(now_ms, place, actions);
                    }
                }
            }
        }
        self.attention = attention;
        if self.frozen_since_ms.is_some() {
            return;
        }
        // Worst first; equals by number, so that the same evidence always gives the same answer.
        candidates.sort_by(|a, b| {
            let worse = b.evidence.lower_rate.total_cmp(&a.evidence.lower_rate);
            worse
                .then(b.evidence.failures.cmp(&a.evidence.failures))
                .then(a.place.cmp(&b.place))
        });
        for candidate in candidates {
            self.isolate_or_hold(now_ms, candidate, actions);
        }
    }

    /// Brings back the least bad while more are isolated than the cap allows now.
    pub(super) fn obey_the_cap(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        loop {
            let out = self.isolated();
            if out == 0 || out <= self.cap() {
                return;
            }
            let least = self
                .unhealthy
                .iter()
                .filter(|action| {
                    let row = action.node.and_then(|node| self.rows[node.0 as usize].as_ref());
                    row.is_some_and(|row| row.phase.is_out())
                })
                .min_by(|a, b| {
                    let better = a.evidence.lower_rate.total_cmp(&b.evidence.lower_rate);
                    better.then(b.node.cmp(&a.node))
                })
                .and_then(|action| action.node);
            let Some(node) = least else { return };
            self.restore(now_ms, node.0 as usize, Reason::CapShrank, actions);
        }
    }

    /// Extends the lease of everything that is withheld.
    pub(super) fn renew(&mut self, now_ms: u64) {
        let lease_until_ms = now_ms.saturating_add(self.policy.lease_ms);
        for action in &self.unhealthy {
            if let Some(row) = action.node.and_then(|node| self.rows[node.0 as usize].as_ref()) {
                row.cell.renew(lease_until_ms);
            }
        }
    }

    pub(super) fn impose_at(&mut self, now_ms: u64, place: usize, until_ms: u64, actions: &mut Vec<Action>) {
        let evidence = self.evidence(self.cap());
        let candidate = Candidate {
            place,
            reason: Reason::Imposed,
            evidence,
        };
        let Some(row) = self.rows[place].as_mut() else { return };
        let until_ms = match row.phase {
            // On probation: the one call will tell.
            Phase::Probing => return,
            Phase::Isolated { until_ms: old_ms } => old_ms.max(until_ms),
            Phase::Serving | Phase::Returning { .. } => {
                self.isolate_or_hold(now_ms, candidate, actions);
                until_ms
            }
        };
        let Some(row) = self.rows[place].as_mut() else { return };
        if !row.phase.is_out() {
            return;
        }
        row.phase = Phase::Isolated { until_ms };
        let (node, step) = (Some(row.cell.index), Step::Isolate { until_ms });
        let listed = self.unhealthy.iter_mut().filter(|action| action.node == node);
        actions
            .last_mut()
            .into_iter()
            .chain(listed)
            .for_each(|action| action.step = step);
    }

    pub(super) fn lift_at(&mut self, now_ms: u64, place: usize, actions: &mut Vec<Action>) {
        let Some(row) = self.rows[place].as_mut() else { return };
        match row.phase {
            Phase::Isolated { .. } | Phase::Probing => self.enter_stage(now_ms, place, 0, Reason::Imposed, actions),
            Phase::Serving => {
                row.acquit();
                row.speed.start_anew();
                if row.weight_permille < 1_000 {
                    self.restore(now_ms, place, Reason::Imposed, actions);
                }
            }
            // It has to show at every stage that it is well, whoever says so.
            Phase::Returning { .. } => {}
        }
    }

    /// Has something spread over most nodes, or ended?
    fn freeze_or_thaw(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        let (fresh, worse) = (self.reference.fresh, self.reference.worse);
        let step = match self.frozen_since_ms {
            None if worse >= 2 && worse * 2 > fresh => {
                self.frozen_since_ms = Some(now_ms);
                Step::Freeze
            }
            // With some reserve, so that it does not freeze and thaw in turns.
            Some(_) if worse * 3 <= fresh => Step::Thaw,
            // It has lasted so long that it is the usual now: whoever stands out from it is judged again.
            Some(since_ms) if now_ms.saturating_sub(since_ms) >= self.policy.max_isolation_ms => {
                self.reference.accept();
                Step::Thaw
            }
            _ => return,
        };
        if step == Step::Thaw {
            self.frozen_since_ms = None;
            let steps = self.levels[self.level].steps();
            for row in self.rows.iter_mut().flatten() {
                // What was counted meanwhile speaks of the common cause. Those that it brought to an alarm need fresh
                // evidence, half of it.
                row.cell.score.change(|score| {
                    if score.alarmed() {
                        Score::head_start(steps)
                    } else {
                        score
                    }
                });
                (row.peer_score, row.peer_failures, row.peer_calls) = (0.0, 0, 0);
            }
        }
        let action = Action {
            at_ms: now_ms,
            node: None,
            step,
            reason: Reason::CommonCause,
            multiplier: 0,
            enforced: !self.policy.dry_run,
            evidence: self.evidence(self.cap()),
        };
        self.note(actions, action);
    }

    /// Does a test speak against it? The evidence is that of the test.
    fn suspect(&mut self, now_ms: u64, place: usize) -> Option<Candidate> {
        let row = self.rows[place].as_ref()?;
        let score = row.cell.score.load();
        let returning = matches!(row.phase, Phase::Returning { .. });
        let reason = |reason| if returning { Reason::Relapse } else { reason };
        if score.alarmed() {
            match self.confirm(now_ms, row, score) {
                Confirmed::Yes { failures, successes } => {
                    let evidence = self.evidence_against(row, failures, successes, Some(row.cell.score.began_ms()));
                    return Some(Candidate {
                        place,
                        reason: reason(Reason::SequentialTest),
                        evidence,
                    });
                }
                Confirmed::NotYet => {}
                // A burst within one slice that was otherwise good.
                Confirmed::No => row.cell.score.change(|_| Score::ZERO),
            }
        }
        if row.peer_score >= self.peer_threshold && row.peer_failures >= FEWEST_FAILURES {
            let (failures, calls) = (u64::from(row.peer_failures), u64::from(row.peer_calls));
            let evidence = self.evidence_against(row, failures, calls.saturating_sub(failures), None);
            let limit = f64::from(self.reference.healthy() + self.reference.effect);
            if evidence.lower_rate > limit {
                return Some(Candidate {
                    place,
                    reason: reason(Reason::WorseThanPeers),
                    evidence,
                });
            }
        }
        if self.is_very_slow(&row.speed) {
            let evidence =
                self.evidence_against(row, u64::from(row.since_failures), u64::from(row.since_successes), None);
            return Some(Candidate {
                place,
                reason: reason(Reason::SlowAndTimingOut),
                evidence,
            });
        }
        None
    }

    /// Looks at whole slices: the order of calls within one is that in which they were recorded, and who records in
    /// batches may put all failures last.
    fn confirm(&self, now_ms: u64, row: &Row, score: Score) -> Confirmed {
        let steps = self.levels[self.level].steps();
        let began = row.cell.score.began_ms() / self.policy.slice_ms;
        let slice = (now_ms / self.policy.slice_ms).max(row.cell.ring.newest_slice());
        let window = crate::node::SLICES as u64;
        // Half-way head starts and runs longer than the ring have their own counts only.
        if slice.saturating_sub(began) >= window {
            return Confirmed::Yes {
                failures: u64::from(score.failures()),
                successes: u64::from(score.successes()),
            };
        }
        let counts = row.cell.ring.counts_since(began, now_ms);
        let up = counts.failures.saturating_mul(u64::from(steps.failure()));
        let down = counts.successes.saturating_mul(u64::from(steps.success()));
        // A node on its way back had a head start of half the threshold.
        let threshold = match row.phase {
            Phase::Returning { .. } => u64::from(steps.threshold() / 2),
            _ => u64::from(steps.threshold()),
        };
        if up >= down.saturating_add(threshold) {
            Confirmed::Yes {
                failures: counts.failures,
                successes: counts.successes,
            }
        } else if up <= down {
            Confirmed::No
        } else {
            Confirmed::NotYet
        }
    }

    fn evidence_against(&self, row: &Row, failures: u64, successes: u64, began_ms: Option<u64>) -> Evidence {
        let calls = u64_to_f64(failures.saturating_add(successes));
        let prior = f64::from(self.reference.healthy()) * SHRINKING_CALLS;
        Evidence {
            failures,
            successes,
            began_ms,
            score: row.cell.score.load().value(),
            peer_score: f64::from(row.peer_score),
            lower_rate: wilson_lower(u64_to_f64(failures) + prior, calls + SHRINKING_CALLS, WILSON_ERRORS),
            latency_ratio: f64::from(row.speed.ratio()),
            ..self.evidence(self.cap())
        }
    }

    fn isolate_or_hold(&mut self, now_ms: u64, candidate: Candidate, actions: &mut Vec<Action>) {
        let Candidate {
            place,
            reason,
            mut evidence,
        } = candidate;
        let Some(row) = self.rows[place].as_ref() else { return };
        evidence.isolated = self.isolated();
        evidence.in_service = self.members - evidence.isolated;
        evidence.cap = self.cap();
        if self.may_isolate(row) {
            self.isolate(now_ms, place, reason, evidence, actions);
        } else if !row.held {
            let action = Action {
                at_ms: now_ms,
                node: Some(row.cell.index),
                step: Step::Hold,
                reason: Reason::CapReached,
                multiplier: row.multiplier,
                enforced: !self.policy.dry_run,
                evidence,
            };
            if let Some(row) = self.rows[place].as_mut() {
                row.held = true;
            }
            self.note(actions, action);
        }
    }

    fn isolate(&mut self, now_ms: u64, place: usize, reason: Reason, evidence: Evidence, actions: &mut Vec<Action>) {
        let Some(row) = self.rows[place].as_mut() else { return };
        row.multiplier = row.multiplier.saturating_add(1);
        // base * 2^(k-1), at most the longest, and up to a share of itself more.
        let doubled = self
            .policy
            .base_isolation_ms
            .checked_shl(row.multiplier - 1)
            .filter(|doubled| doubled >> (row.multiplier - 1) == self.policy.base_isolation_ms);
        let length_ms = doubled.unwrap_or(u64::MAX).min(self.policy.max_isolation_ms);
        let draw = mix(self.seed, u64::from(row.cell.index.0) << 32 | u64::from(row.multiplier));
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of a time of 100 years at most"
        )]
        let jitter_ms = (u64_to_f64(length_ms)
            * self.policy.isolation_jitter
            * (u64_to_f64(draw >> 11) / u64_to_f64(1 << 53))) as u64;
        let until_ms = now_ms.saturating_add(length_ms).saturating_add(jitter_ms);
        row.enter(now_ms, Phase::Isolated { until_ms }, 0);
        self.publish(now_ms, place, Step::Isolate { until_ms }, reason, evidence, actions);
    }

    fn open_probe(&mut self, now_ms: u64, place: usize, actions: &mut Vec<Action>) {
        let Some(row) = self.rows[place].as_mut() else { return };
        row.enter(now_ms, Phase::Probing, 0);
        self.tell(now_ms, place, Step::Probe, Reason::TimeServed, actions);
    }

    fn after_probe(&mut self, now_ms: u64, place: usize, actions: &mut Vec<Action>) {
        let Some(row) = self.rows[place].as_mut() else { return };
        if row.since_failures > 0 {
            let (failures, successes) = (u64::from(row.since_failures), u64::from(row.since_successes));
            let Some(row) = self.rows[place].as_ref() else { return };
            let evidence = self.evidence_against(row, failures, successes, Some(row.since_ms));
            self.isolate(now_ms, place, Reason::ProbeFailed, evidence, actions);
        } else if row.since_successes > 0 {
            self.enter_stage(now_ms, place, 0, Reason::ProbePassed, actions);
        } else if row.cell.probe_taken() && now_ms.saturating_sub(row.since_ms) >= self.policy.lease_ms {
            // Whoever took it never came back: the next one may.
            row.since_ms = now_ms;
            self.put_in_force(now_ms, place);
        }
    }

    /// What becomes of a node that no test speaks against.
    fn ease(&mut self, now_ms: u64, place: usize, actions: &mut Vec<Action>) {
        let steps = self.levels[self.level].steps();
        let Some(row) = self.rows[place].as_mut() else { return };
        row.held = false;
        let value = row.cell.score.load().value();
        match row.phase {
            Phase::Returning { stage } => {
                let spent_ms = now_ms.saturating_sub(row.since_ms);
                let calm = value <= steps.threshold() / 2;
                let seen = row.since_successes >= SUCCESSES_PER_STAGE && spent_ms >= self.policy.stage_ms;
                if calm && (seen || spent_ms >= self.policy.max_stage_ms) {
                    self.enter_stage(now_ms, place, usize::from(stage) + 1, Reason::StagePassed, actions);
                } else if spent_ms >= self.policy.max_stage_ms.saturating_mul(PATIENCE_STAGES) {
                    let (failures, successes) = (u64::from(row.since_failures), u64::from(row.since_successes));
                    let Some(row) = self.rows[place].as_ref() else { return };
                    let evidence = self.evidence_against(row, failures, successes, Some(row.since_ms));
                    let candidate = Candidate {
                        place,
                        reason: Reason::Relapse,
                        evidence,
                    };
                    self.isolate_or_hold(now_ms, candidate, actions);
                }
            }
            Phase::Serving => {
                self.forgive(now_ms, place);
                self.weigh(now_ms, place, actions);
            }
            Phase::Isolated { .. } | Phase::Probing => {}
        }
    }

    /// A relapse is forgiven for successes and a clean time as long as the first isolation; time alone is no evidence.
    fn forgive(&mut self, now_ms: u64, place: usize) {
        let quiet = self.levels[self.level].steps().threshold() / 4;
        let Some(row) = self.rows[place].as_mut() else { return };
        if row.multiplier == 0 {
            return;
        }
        if row.cell.score.load().value() > quiet {
            (row.since_ms, row.since_successes) = (now_ms, 0);
        } else if row.since_successes >= self.policy.forgiving_successes
            && now_ms.saturating_sub(row.since_ms) >= self.policy.base_isolation_ms
        {
            row.multiplier -= 1;
            (row.since_ms, row.since_successes) = (now_ms, 0);
        }
    }

    /// The weight of a slow node, before anybody thinks of isolating it.
    fn weigh(&mut self, now_ms: u64, place: usize, actions: &mut Vec<Action>) {
        let Some(row) = self.rows[place].as_mut() else { return };
        let (old, minimum) = (row.weight_permille, self.policy.minimum_weight);
        let new = if row.speed.is_slow() {
            // In steps of 50: a weight that trembles is of use to nobody. Never up before it is well again.
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a fraction of a thousand, in fifties"
            )]
            let weight = ((1.0 / f64::from(row.speed.ratio())).clamp(minimum, 1.0) * 20.0).floor() as u16 * 50;
            weight.min(old)
        } else if row.speed.is_usual() {
            1_000
        } else {
            old
        };
        if new == old || (new < old && self.frozen_since_ms.is_some()) {
            return;
        }
        if new == 1_000 {
            self.restore(now_ms, place, Reason::Recovered, actions);
        } else {
            row.weight_permille = new;
            let step = Step::Weigh { weight_permille: new };
            self.tell(now_ms, place, step, Reason::Slow, actions);
        }
    }

    fn enter_stage(&mut self, now_ms: u64, place: usize, stage: usize, reason: Reason, actions: &mut Vec<Action>) {
        let Some(&weight_permille) = STAGES_PERMILLE.get(stage) else {
            self.restore(now_ms, place, reason, actions);
            return;
        };
        let steps = self.levels[self.level].steps();
        let Some(row) = self.rows[place].as_mut() else { return };
        let stage = u8::try_from(stage).unwrap_or(u8::MAX);
        row.enter(now_ms, Phase::Returning { stage }, weight_permille);
        if stage == 0 {
            row.cell.score.change(|_| Score::head_start(steps));
            (row.peer_score, row.peer_failures, row.peer_calls) = (0.0, 0, 0);
            row.speed.start_anew();
        }
        self.tell(now_ms, place, Step::Weigh { weight_permille }, reason, actions);
    }

    fn restore(&mut self, now_ms: u64, place: usize, reason: Reason, actions: &mut Vec<Action>) {
        let Some(row) = self.rows[place].as_mut() else { return };
        let was_out = row.phase.is_out();
        row.enter(now_ms, Phase::Serving, 1_000);
        if was_out {
            row.acquit();
        }
        self.tell(now_ms, place, Step::Restore, reason, actions);
    }

    /// Puts the row's state in force and notes the action with the evidence there is.
    fn tell(&mut self, now_ms: u64, place: usize, step: Step, reason: Reason, actions: &mut Vec<Action>) {
        let Some(row) = self.rows[place].as_ref() else { return };
        let (failures, successes) = (u64::from(row.since_failures), u64::from(row.since_successes));
        let evidence = self.evidence_against(row, failures, successes, Some(row.since_ms));
        self.publish(now_ms, place, step, reason, evidence, actions);
    }

    fn publish(
        &mut self,
        now_ms: u64,
        place: usize,
        step: Step,
        reason: Reason,
        evidence: Evidence,
        actions: &mut Vec<Action>,
    ) {
        self.put_in_force(now_ms, place);
        let Some(row) = self.rows[place].as_ref() else { return };
        let action = Action {
            at_ms: now_ms,
            node: Some(row.cell.index),
            step,
            reason,
            multiplier: row.multiplier,
            enforced: !self.policy.dry_run,
            evidence,
        };
        self.note(actions, action);
    }

    /// What callers see of the row. In a dry run they see nothing.
    pub(super) fn put_in_force(&self, now_ms: u64, place: usize) {
        if self.policy.dry_run {
            return;
        }
        if let Some(row) = &self.rows[place] {
            let probe = row.phase == Phase::Probing;
            let lease_until_ms = now_ms.saturating_add(self.policy.lease_ms);
            row.cell
                .publish(Service::new(row.weight_permille, probe, lease_until_ms));
        }
    }
}

enum Confirmed {
    Yes { failures: u64, successes: u64 },
    NotYet,
    No,
}

impl Row {
    /// Nothing is held against it any more.
    fn acquit(&mut self) {
        self.cell.score.change(|_| Score::ZERO);
        (self.peer_score, self.peer_failures, self.peer_calls) = (0.0, 0, 0);
    }

    const fn enter(&mut self, now_ms: u64, phase: Phase, weight_permille: u16) {
        self.phase = phase;
        self.weight_permille = weight_permille;
        self.since_ms = now_ms;
        self.since_failures = 0;
        self.since_successes = 0;
        self.held = false;
    }
}
