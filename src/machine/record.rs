//! What a report tells of the past: curves, holds, decisions, receipts. It decides nothing.

use std::collections::{BTreeMap, BTreeSet};

use hdrhistogram::Histogram;
use sha2::{Digest, Sha256};
use unattended_batching::TargetIndex;
use unattended_health::{Counts, FaultClass, Interval};
use unattended_upgrade::{Mode, Receipt, Terminal};

use crate::input::{Decided, Told};
use crate::{DecisionView, EvidencePoint, ExposurePoint, FaultView, HoldView, MovesView, ReceiptView};

use super::{Direction, HealJob, Remedy, Start};

/// Points of a curve. When there are more, every second one is dropped.
const MAX_POINTS: usize = 512;
/// Decisions that are kept one by one.
const MAX_DECISIONS: usize = 2_000;
/// Holds that are kept of those that are over.
const MAX_HOLDS: usize = 4_000;

/// Thins a curve out to half when it is full; the last point always stays.
#[derive(Debug)]
struct Curve<T> {
    points: Vec<T>,
    /// Every so many samples one is kept.
    stride: usize,
    skipped: usize,
    last: Option<T>,
}

impl<T: Copy> Curve<T> {
    const fn new() -> Self {
        Self {
            points: Vec::new(),
            stride: 1,
            skipped: 0,
            last: None,
        }
    }

    fn push(&mut self, point: T) {
        self.last = Some(point);
        self.skipped += 1;
        if self.skipped < self.stride {
            return;
        }
        self.skipped = 0;
        self.points.push(point);
        if self.points.len() >= MAX_POINTS {
            let mut keep = false;
            self.points.retain(|_| {
                keep = !keep;
                keep
            });
            self.stride *= 2;
        }
    }

    fn all(&self) -> Vec<T> {
        let mut points = self.points.clone();
        if self.skipped > 0 {
            points.extend(self.last);
        }
        points
    }
}

/// The life of one batch.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct BatchLife {
    pub(super) began_ms: Option<u64>,
    pub(super) ended_ms: Option<u64>,
}

#[derive(Debug)]
pub(super) struct Record {
    exposure: Curve<ExposurePoint>,
    evidence: Curve<EvidencePoint>,
    /// Decisions of the past; where they are many, those in the middle are dropped.
    decisions: Vec<DecisionView>,
    /// Decisions, and starts, since the last [`take_decided`](Self::take_decided).
    fresh: Vec<DecisionView>,
    starts: Vec<Start>,
    heals: Vec<HealJob>,
    digest: [u8; 32],
    /// By number, in the order in which they began: those that last, and of those that are over the longest.
    holds: BTreeMap<u64, HoldView>,
    /// How long they lasted, and their number.
    holds_over: BTreeSet<(u64, u64)>,
    next_hold: u64,
    /// Holds that began, or are over, since the last [`take_hold_news`](Self::take_hold_news).
    hold_news: Vec<(HoldView, bool)>,
    pub(super) batches: Vec<BatchLife>,
    faults: [(FaultClass, Counts, Counts); FaultClass::ALL.len()],
    durations: Histogram<u64>,
    outages: Histogram<u64>,
    attempts: u64,
    done: u64,
    went_back: u64,
    modes: BTreeMap<Mode, u64>,
    moves: MovesView,
    cut: u64,
    pub(super) data_until_ms: u64,
    pub(super) state_since_ms: u64,
}

/// Durations up to a week in milliseconds, at three significant digits.
fn durations() -> Histogram<u64> {
    #[expect(clippy::expect_used, reason = "the bounds are constants that the histogram accepts")]
    Histogram::new_with_bounds(1, 7 * 24 * 3_600_000, 3).expect("1 ms to a week at 3 digits")
}

impl Record {
    pub(super) fn new(batches: u16) -> Self {
        Self {
            exposure: Curve::new(),
            evidence: Curve::new(),
            decisions: Vec::new(),
            fresh: Vec::new(),
            starts: Vec::new(),
            heals: Vec::new(),
            digest: [0; 32],
            holds: BTreeMap::new(),
            holds_over: BTreeSet::new(),
            next_hold: 0,
            hold_news: Vec::new(),
            batches: vec![BatchLife::default(); usize::from(batches)],
            faults: FaultClass::ALL.map(|class| (class, Counts::default(), Counts::default())),
            durations: durations(),
            outages: durations(),
            attempts: 0,
            done: 0,
            went_back: 0,
            modes: BTreeMap::new(),
            moves: MovesView::default(),
            cut: 0,
            data_until_ms: 0,
            state_since_ms: 0,
        }
    }

    /// One point a minute is finer than any picture; more would only be thinned out again.
    pub(super) fn wants_sample(&self, at_ms: u64) -> bool {
        self.exposure.last.is_none_or(|last| at_ms >= last.at_ms + 60_000)
    }

    pub(super) fn sample(&mut self, point: ExposurePoint) {
        self.exposure.push(point);
    }

    pub(super) fn finish(&mut self, last: ExposurePoint) {
        self.exposure.push(last);
        self.state_since_ms = last.at_ms;
    }

    pub(super) fn evidence(&mut self, interval: &Interval, ln_stop: f64, ln_safety: Option<f64>) {
        self.data_until_ms = interval.end_ms;
        self.evidence.push(EvidencePoint {
            at_ms: interval.end_ms,
            ln_stop,
            ln_safety: ln_safety.unwrap_or(0.0),
        });
        for totals in &interval.totals {
            let (_, canary, control) = &mut self.faults[totals.class.index()];
            canary.bad += totals.canary.bad;
            canary.total += totals.canary.total;
            control.bad += totals.control.bad;
            control.total += totals.control.total;
        }
    }

    /// All decisions that are kept, in order.
    pub(super) fn decisions(&self) -> impl DoubleEndedIterator<Item = &DecisionView> {
        self.decisions.iter().chain(&self.fresh)
    }

    pub(super) fn note_starts(&mut self, starts: &[Start]) {
        self.starts.extend_from_slice(starts);
    }

    pub(super) fn note_heals(&mut self, heals: &[HealJob]) {
        self.heals.extend_from_slice(heals);
    }

    /// Decisions since the last [`take_decided`](Self::take_decided).
    pub(super) fn fresh(&self) -> impl Iterator<Item = &DecisionView> {
        self.fresh.iter()
    }

    /// Holds since the last call, each with whether it is over.
    pub(super) fn take_hold_news(&mut self) -> Vec<(HoldView, bool)> {
        std::mem::take(&mut self.hold_news)
    }

    /// What was decided since the last call, chained to all before. `name` names a target.
    pub(super) fn take_decided<'n>(&mut self, at_ms: u64, name: impl Fn(TargetIndex) -> &'n str) -> Option<Decided> {
        // Where a journal is played again nobody takes them.
        self.hold_news.clear();
        if self.fresh.is_empty() && self.starts.is_empty() && self.heals.is_empty() {
            return None;
        }
        let mut digest = Sha256::new();
        digest.update(self.digest);
        let mut text = |text: &str| {
            digest.update((text.len() as u64).to_le_bytes());
            digest.update(text);
        };
        for decision in &self.fresh {
            text(&decision.at_ms.to_string());
            text(&decision.code);
            text(&decision.text);
        }
        for start in &self.starts {
            text(match start.direction {
                Direction::Forward => "forward",
                Direction::Back => "back",
            });
            text(name(start.target));
        }
        for heal in &self.heals {
            text(heal.remedy.as_str());
            if let Remedy::Isolate { lease_ms } = heal.remedy {
                text(&lease_ms.to_string());
            }
            text(&heal.id.to_string());
            text(name(heal.target));
        }
        self.digest = digest.finalize().into();
        let told = |decision: &DecisionView| Told {
            at_ms: decision.at_ms,
            code: decision.code.clone(),
            text: decision.text.clone(),
        };
        let decided = Decided {
            digest: self.digest,
            at_ms,
            starts: u32::try_from(self.starts.len()).unwrap_or(u32::MAX),
            told: self.fresh.iter().map(told).collect(),
        };
        self.starts.clear();
        self.heals.clear();
        self.decisions.append(&mut self.fresh);
        let many = self.decisions.len().saturating_sub(MAX_DECISIONS);
        if many > 0 {
            self.decisions.drain(MAX_DECISIONS / 2..MAX_DECISIONS / 2 + many);
        }
        Some(decided)
    }

    /// Keeps a decision.
    pub(super) fn decide(&mut self, at_ms: u64, code: &str, text: String, otherwise: Option<String>) {
        self.fresh.push(DecisionView {
            at_ms,
            code: code.to_owned(),
            text,
            otherwise,
            count: 1,
        });
    }

    /// A lane opened its part of a batch. Those of one batch and moment are one decision.
    pub(super) fn lane_opened(&mut self, at_ms: u64, batch: u16, targets: u64) {
        let like = self
            .fresh
            .iter_mut()
            .rev()
            .take_while(|decision| decision.at_ms == at_ms)
            .find(|decision| {
                decision.code == "lane.opened" && decision.otherwise.as_deref() == Some(batch_word(batch).as_str())
            });
        if let Some(decision) = like {
            decision.count += 1;
            decision.text = format!("{} lanes go on to {}", decision.count, batch_word(batch));
            return;
        }
        let text = format!("one lane goes on to {} with {targets} targets", batch_word(batch));
        self.decide(at_ms, "lane.opened", text, Some(batch_word(batch)));
    }

    /// A person took a step. Those of one moment that say the same are one decision.
    pub(super) fn step_taken(&mut self, at_ms: u64, what: &str) {
        let like = self.fresh.last_mut().filter(|decision| {
            decision.code == "step.taken" && decision.at_ms == at_ms && decision.otherwise.as_deref() == Some(what)
        });
        if let Some(decision) = like {
            decision.count += 1;
            decision.text = format!("{} targets {what}", decision.count);
            return;
        }
        self.decide(at_ms, "step.taken", format!("one target {what}"), Some(what.to_owned()));
    }

    pub(super) fn started(&mut self, at_ms: u64, batch: u16) {
        if let Some(life) = self.batches.get_mut(usize::from(batch)) {
            life.began_ms.get_or_insert(at_ms);
        }
    }

    pub(super) fn finished(&mut self, at_ms: u64, batch: u16) {
        if let Some(life) = self.batches.get_mut(usize::from(batch)) {
            life.ended_ms = Some(at_ms);
        }
    }

    /// Keeps a hold, and answers with what is told of it. One that follows the hold `before` by the same rule goes on where that began.
    ///
    /// `for_all` makes room for it. In earlier versions of the decisions what came after so many was not kept, and nothing followed from
    /// its end.
    pub(super) fn hold(&mut self, hold: HoldView, before: Option<u64>, for_all: bool) -> (Option<u64>, HoldView) {
        if let Some((number, known)) = before.and_then(|at| self.holds.get_mut(&at).map(|known| (at, known))) {
            if known.by == hold.by {
                known.until_ms = hold.until_ms;
                return (Some(number), known.clone());
            }
            self.is_over(number, hold.from_ms);
        }
        self.hold_news.push((hold.clone(), false));
        if !for_all && self.holds.len() >= MAX_HOLDS {
            return (None, hold);
        }
        let number = self.next_hold;
        self.next_hold += 1;
        self.holds.insert(number, hold.clone());
        (Some(number), hold)
    }

    pub(super) fn hold_ended(&mut self, number: u64, now_ms: u64) {
        if let Some(hold) = self.is_over(number, now_ms) {
            self.hold_news.push((hold, true));
        }
    }

    /// What is over makes room, the shortest first: whoever looks back looks for the longest. What lasts stays, at most two of a lane.
    fn is_over(&mut self, number: u64, now_ms: u64) -> Option<HoldView> {
        let hold = self.holds.get_mut(&number)?;
        hold.until_ms = Some(now_ms);
        let over = hold.clone();
        self.holds_over.insert((now_ms.saturating_sub(over.from_ms), number));
        if self.holds_over.len() > MAX_HOLDS
            && let Some((_, shortest)) = self.holds_over.pop_first()
        {
            self.holds.remove(&shortest);
        }
        Some(over)
    }

    /// All holds that are kept, in the order in which they began.
    pub(super) fn holds(&self) -> impl Iterator<Item = &HoldView> {
        self.holds.values()
    }

    pub(super) fn receipt(&mut self, receipt: &Receipt) {
        self.attempts += 1;
        match receipt.terminal {
            Terminal::Done => self.done += 1,
            Terminal::RolledBack { .. } => self.went_back += 1,
            _ => {}
        }
        *self.modes.entry(receipt.mode).or_default() += 1;
        self.cut += u64::from(receipt.cut) + u64::from(receipt.moves.cut);
        self.moves.add(&receipt.moves);
        self.durations
            .saturating_record(receipt.finished_ms.saturating_sub(receipt.started_ms));
        self.outages.saturating_record(receipt.outage_ms);
    }

    pub(super) fn exposure_curve(&self) -> Vec<ExposurePoint> {
        self.exposure.all()
    }

    pub(super) fn evidence_curve(&self) -> Vec<EvidencePoint> {
        self.evidence.all()
    }

    pub(super) fn faults(&self) -> Vec<FaultView> {
        let measured = |canary: &Counts, control: &Counts| canary.total + control.total > 0;
        self.faults
            .iter()
            .filter(|(_, canary, control)| measured(canary, control))
            .map(|(class, canary, control)| FaultView {
                class: class.as_str().to_owned(),
                canary_bad: canary.bad,
                canary_total: canary.total,
                control_bad: control.bad,
                control_total: control.total,
            })
            .collect()
    }

    pub(super) fn receipts(&self) -> ReceiptView {
        let quantiles = |histogram: &Histogram<u64>| {
            [0.5, 0.9, 0.99, 1.0]
                .map(|q| {
                    (
                        q,
                        if histogram.is_empty() {
                            0
                        } else {
                            histogram.value_at_quantile(q)
                        },
                    )
                })
                .to_vec()
        };
        ReceiptView {
            attempts: self.attempts,
            done: self.done,
            went_back: self.went_back,
            modes: self.modes.iter().map(|(mode, n)| (mode.to_string(), *n)).collect(),
            duration_ms: quantiles(&self.durations),
            outage_ms: quantiles(&self.outages),
            cut: self.cut,
            moves: self.moves,
        }
    }
}

fn batch_word(batch: u16) -> String {
    format!("batch {batch}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hold(from_ms: u64) -> HoldView {
        HoldView {
            lane: "pay".to_owned(),
            by: "lunch".to_owned(),
            reason: "people eat".to_owned(),
            owner: "shop".to_owned(),
            from_ms,
            until_ms: None,
        }
    }

    #[test]
    fn holds_that_are_over_make_room_for_those_that_last() {
        let mut record = Record::new(1);
        let (lasting, _) = record.hold(hold(0), None, true);
        let (longest, _) = record.hold(hold(0), None, true);
        record.hold_ended(longest.unwrap(), 1_000_000);
        for at_ms in 0..2 * MAX_HOLDS as u64 {
            let (number, _) = record.hold(hold(at_ms), None, true);
            record.hold_ended(number.unwrap(), at_ms + 1);
        }
        assert_eq!(record.holds().count(), MAX_HOLDS + 1);
        let ends: Vec<Option<u64>> = record.holds().take(2).map(|hold| hold.until_ms).collect();
        assert_eq!(ends, [None, Some(1_000_000)]);
        // What lasts is still known by its number, and is news when it ends.
        record.take_hold_news();
        let again = record.hold(hold(2_000_000), lasting, true);
        assert_eq!((again.0, again.1.from_ms), (lasting, 0));
        record.hold_ended(lasting.unwrap(), 3_000_000);
        let news = record.take_hold_news();
        assert_eq!(news.len(), 1);
        assert_eq!((news[0].0.until_ms, news[0].1), (Some(3_000_000), true));
    }

    #[test]
    fn a_change_of_earlier_decisions_keeps_the_first_holds_alone() {
        let mut record = Record::new(1);
        for at_ms in 0..MAX_HOLDS as u64 {
            let (number, _) = record.hold(hold(at_ms), None, false);
            record.hold_ended(number.unwrap(), at_ms + 1);
        }
        let (number, told) = record.hold(hold(5), None, false);
        assert_eq!((number, told), (None, hold(5)));
        assert_eq!(record.holds().count(), MAX_HOLDS);
    }
}
