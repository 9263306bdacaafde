//! What the last slices hold, node by node, and what is usual among peers.

use super::{Detector, Phase, Row, f32_to_u64};
use crate::node::SLICES;
use crate::statistics::lower_median;

/// Half-life of the memory that rates are taken from, in milliseconds.
const MEMORY_HALF_LIFE_MS: f32 = 60_000.0;
/// Half-life of what is usual, in milliseconds: so long is a common fault held against the fleet.
const USUAL_HALF_LIFE_MS: f32 = 600_000.0;
/// Time constant of the load, in milliseconds.
const LOAD_MS: f32 = 5_000.0;
/// Calls that a group of nodes should have before its rate is one of those the median is taken of. With a hundred, the
/// median of Poisson counts is right to a call: at 1 % to a third of the rate.
const CALLS_PER_GROUP: f32 = 100.0;
/// As few groups as this only if there are fewer nodes.
const MIN_GROUPS: usize = 9;
/// More groups than this do not make the median better.
const MAX_GROUPS: usize = 255;
/// Calls in memory from which the median is taken for what is usual.
const CALLS_FOR_USUAL: f32 = 200.0;
/// A node is fresh if it had calls in so many milliseconds.
const FRESH_MS: u64 = 10_000;
/// Log likelihood ratio against peers from which a node counts as worse: 20 to 1.
const WORSE_PEER_SCORE: f32 = 3.0;
/// The share of the sequential test's threshold from which it does: two failures close together, as a rule.
const WORSE_SCORE_SHARE: u32 = 4;

/// What is usual among the nodes in service.
#[derive(Debug, Default)]
pub(super) struct Reference {
    /// Median failure rate of groups of nodes.
    pub(super) median: f32,
    /// Its upper limit: a standard error more.
    upper: f32,
    /// Twice the median absolute deviation of groups, or the minimum effect.
    pub(super) effect: f32,
    /// The median of the last ten minutes or so, once it is known.
    pub(super) usual: Option<f32>,
    /// Nodes with calls of late, and those of them that something speaks against.
    pub(super) fresh: u32,
    pub(super) worse: u32,
    /// There was something to compare with, once.
    known: bool,
    /// Calls in memory, of all nodes in service.
    calls: f32,
    serving: usize,
    group_failures: Vec<f32>,
    group_calls: Vec<f32>,
    rates: Vec<f32>,
}

impl Reference {
    /// The rate beyond which a node is worse than its peers: the median, as far as it is not itself contaminated.
    pub(super) fn healthy(&self) -> f32 {
        match self.usual {
            // A median far above what is usual tells of a common cause, or of more bad nodes than good ones; held
            // against its own history, a node is judged all the same.
            Some(usual) => self.upper.min(usual + self.effect),
            None => self.upper,
        }
    }

    fn begin(&mut self) {
        // As many groups as have enough calls each, by the last sweep's totals. Many nodes with few calls are pooled
        // before the median is taken, since the median of many zeros and a few ones says zero whatever the rate.
        let wanted = usize::try_from(f32_to_u64(self.calls / CALLS_PER_GROUP)).unwrap_or(MAX_GROUPS);
        let groups = wanted
            .max(self.serving.min(MIN_GROUPS))
            .clamp(1, self.serving.clamp(1, MAX_GROUPS));
        self.group_failures.clear();
        self.group_failures.resize(groups, 0.0);
        self.group_calls.clear();
        self.group_calls.resize(groups, 0.0);
    }

    /// The rest of a sweep, when all nodes are in their groups.
    fn end(&mut self, (minimum_effect, bad_rate): (f32, f32), elapsed_ms: f32) {
        self.calls = self.group_calls.iter().sum();
        self.rates.clear();
        let groups = self.group_failures.iter().zip(&self.group_calls);
        self.rates.extend(
            groups
                .filter(|(_, calls)| **calls >= 1.0)
                .map(|(failures, calls)| failures / calls),
        );
        // One that is alone with its calls, of several, is not its own measure if it is bad by the policy's word.
        if matches!(self.rates[..], [rate] if self.serving > 1 && rate > bad_rate) {
            return;
        }
        // The lower of the two in the middle: exactly half of the nodes may be bad.
        let Some(median) = lower_median(&mut self.rates) else {
            return;
        };
        self.rates.iter_mut().for_each(|rate| *rate = (*rate - median).abs());
        let deviation = lower_median(&mut self.rates).unwrap_or(0.0);
        self.known = true;
        self.median = median;
        self.effect = minimum_effect.max(2.0 * deviation);
        self.upper = median + (median * (1.0 - median) / self.calls.max(1.0)).sqrt();
        match &mut self.usual {
            None if self.calls >= CALLS_FOR_USUAL => self.usual = Some(median),
            None => {}
            Some(usual) => *usual += (median - *usual) * (1.0 - libm::exp2f(-elapsed_ms / USUAL_HALF_LIFE_MS)),
        }
    }

    /// What was unusual has lasted so long that it is the usual now.
    pub(super) fn accept(&mut self) {
        self.usual = Some(self.median);
    }
}

impl Detector {
    /// Takes in all slices that are over.
    pub(super) fn collect(&mut self, now_ms: u64) {
        let slice = now_ms / self.policy.slice_ms;
        let first = self.swept.unwrap_or(0).max(slice.saturating_sub(SLICES as u64 - 1));
        let watch = self.watch(slice);
        let mut survey = Survey::with(std::mem::take(&mut self.attention));
        if self.swept.is_some_and(|swept| slice <= swept) {
            for (place, row) in self.rows.iter_mut().enumerate() {
                let Some(row) = row else { continue };
                row.look();
                survey.take_in(place, row, &watch);
            }
            self.note_survey(survey);
            return;
        }
        // One slice behind, for one pass over the nodes instead of two: a memory of a minute does not change in a slice.
        let weights = self.reference.known.then(|| self.weights());
        #[expect(
            clippy::cast_precision_loss,
            reason = "a span of time: the last digits do not matter"
        )]
        let elapsed_ms = ((slice - self.swept.unwrap_or(first)) * self.policy.slice_ms) as f32;
        let fading = Fading {
            memory: libm::exp2f(-elapsed_ms / MEMORY_HALF_LIFE_MS),
            load: 1.0 - libm::expf(-elapsed_ms / LOAD_MS),
            per_second: 1_000.0 / elapsed_ms.max(1.0),
        };
        // Late records can only be told from known ones in the slice that was collected last.
        let late = first.checked_sub(1).filter(|_| self.swept == Some(first));
        self.reference.begin();
        let groups = self.reference.group_calls.len();
        let (mut serving, mut group) = (0_usize, 0_usize);
        for (place, row) in self.rows.iter_mut().enumerate() {
            let Some(row) = row else { continue };
            row.collect(late, first..slice, &fading);
            if let Some((failure, success)) = weights {
                row.compare(failure, success);
            }
            survey.take_in(place, row, &watch);
            if matches!(row.phase, Phase::Serving) {
                self.reference.group_failures[group] += row.recent_failures;
                self.reference.group_calls[group] += row.recent_calls;
                serving += 1;
                // In turn, without a division for each.
                group += 1;
                if group == groups {
                    group = 0;
                }
            }
        }
        self.reference.serving = serving;
        #[expect(clippy::cast_possible_truncation, reason = "rates")]
        let rates = (self.policy.minimum_effect as f32, self.policy.bad_rate as f32);
        self.reference.end(rates, elapsed_ms);
        self.choose_level();
        self.look_at_speed(slice);
        self.note_survey(survey);
        self.swept = Some(slice);
    }

    /// The test in force is that of the smallest healthy rate that is not below what peers show.
    fn choose_level(&mut self) {
        let rate = f64::from(self.reference.healthy());
        let enough = |rate: f64| {
            let found = self.levels.iter().position(|test| test.healthy_rate() >= rate);
            found.unwrap_or(self.levels.len() - 1)
        };
        // Up at once, down with some reserve, so that it does not change back and forth.
        let level = enough(rate).max(enough(rate * 1.2).min(self.level));
        self.set_level(level);
    }

    /// What a failure and a success are worth in the test against peers, of this slice.
    fn weights(&self) -> (f32, f32) {
        let healthy = (self.reference.healthy() + self.reference.effect).clamp(0.001, 0.95);
        // The alternative: three points more, or twice as much.
        let bad = (healthy + healthy.max(0.03)).min(0.5 + 0.5 * healthy);
        (libm::logf(bad / healthy), libm::logf((1.0 - bad) / (1.0 - healthy)))
    }

    fn watch(&self, slice: u64) -> Watch {
        Watch {
            slice,
            fresh_slices: FRESH_MS.div_ceil(self.policy.slice_ms),
            limit: self.levels[self.level].steps().threshold() / WORSE_SCORE_SHARE,
            peer_threshold: self.peer_threshold,
        }
    }

    fn note_survey(&mut self, survey: Survey) {
        (self.reference.fresh, self.reference.worse) = (survey.fresh, survey.worse);
        self.attention = survey.attention;
    }
}

/// What nodes are looked at for.
struct Watch {
    slice: u64,
    fresh_slices: u64,
    /// Score of the sequential test from which a node counts as worse.
    limit: u32,
    peer_threshold: f32,
}

/// How many nodes have had calls of late, how many of these are worse, and who deserves a closer look.
struct Survey {
    fresh: u32,
    worse: u32,
    attention: Vec<usize>,
}

impl Survey {
    fn with(mut attention: Vec<usize>) -> Self {
        attention.clear();
        Self {
            fresh: 0,
            worse: 0,
            attention,
        }
    }

    fn take_in(&mut self, place: usize, row: &Row, watch: &Watch) {
        if !row.phase.is_out() && watch.slice.saturating_sub(row.busy_slice) <= watch.fresh_slices {
            self.fresh += 1;
            self.worse += u32::from(row.peer_score >= WORSE_PEER_SCORE || row.score.value() >= watch.limit);
        }
        let plain = row.phase == Phase::Serving
            && row.weight_permille == 1_000
            && row.multiplier == 0
            && !row.held
            && !row.score.alarmed()
            && row.peer_score < watch.peer_threshold
            && !row.speed.is_slow();
        if !plain {
            self.attention.push(place);
        }
    }
}

struct Fading {
    memory: f32,
    load: f32,
    per_second: f32,
}

impl Row {
    fn collect(&mut self, late: Option<u64>, slices: std::ops::Range<u64>, fading: &Fading) {
        let (mut failures, mut successes) = (0_u32, 0_u32);
        // A record that came into the last collected slice after it was collected.
        if let Some(late) = late {
            let counts = self.cell.ring.slice(late);
            failures = clip(counts.failures).saturating_sub(self.seen_failures);
            successes = clip(counts.successes).saturating_sub(self.seen_successes);
        }
        for number in slices {
            let counts = self.cell.ring.slice(number);
            (self.seen_failures, self.seen_successes) = (clip(counts.failures), clip(counts.successes));
            failures = failures.saturating_add(self.seen_failures);
            successes = successes.saturating_add(self.seen_successes);
        }
        self.look();
        (self.new_failures, self.new_successes) = (failures, successes);
        let calls = failures.saturating_add(successes);
        #[expect(
            clippy::cast_precision_loss,
            reason = "counts of a slice: the last digits do not matter"
        )]
        let (new_failures, new_calls) = (failures as f32, calls as f32);
        self.recent_failures = self.recent_failures * fading.memory + new_failures;
        self.recent_calls = self.recent_calls * fading.memory + new_calls;
        self.load += (new_calls * fading.per_second - self.load) * fading.load;
        if calls > 0 {
            self.since_failures = self.since_failures.saturating_add(failures);
            self.since_successes = self.since_successes.saturating_add(successes);
            self.report.failures = self.report.failures.saturating_add(failures);
            self.report.successes = self.report.successes.saturating_add(successes);
        }
    }

    /// What its cell says just now.
    fn look(&mut self) {
        self.score = self.cell.score.load();
        self.busy_slice = self.cell.ring.newest_slice();
    }

    /// One step of the test against peers.
    fn compare(&mut self, failure: f32, success: f32) {
        let (failures, successes) = (self.new_failures, self.new_successes);
        if failures == 0 && (successes == 0 || self.peer_calls == 0) {
            return;
        }
        #[expect(
            clippy::cast_precision_loss,
            reason = "counts of a slice: the last digits do not matter"
        )]
        let step = failures as f32 * failure + successes as f32 * success;
        self.peer_score += step;
        if self.peer_score <= 0.0 {
            (self.peer_score, self.peer_failures, self.peer_calls) = (0.0, 0, 0);
        } else {
            self.peer_failures = self.peer_failures.saturating_add(failures);
            self.peer_calls = self.peer_calls.saturating_add(failures).saturating_add(successes);
        }
    }
}

pub(super) fn clip(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
