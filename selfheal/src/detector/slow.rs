//! Slow nodes: latency at equal load, beside peers and beside the node's own past.

use super::{Detector, Phase, Row, f32_to_u64};
use crate::outcome::Ending;
use crate::policy::Policy;
use crate::sketch::{self, Histogram, Sketch};
use crate::statistics::lower_median;

/// Calls with a latency from which a reading is taken.
const CALLS_PER_READING: u64 = 10;
/// Between two readings of a node are at least so many slices.
const SLICES_PER_READING: u32 = 4;
/// As many in one slice at most, so that a sweep of many nodes stays short.
const READINGS_PER_SLICE: usize = 32;
/// Standard errors of a reading, and robust standard deviations among peers, by which a slow one must stand out. Real
/// latencies wander with tails like Laplace's rather than Gauss's: there six deviations happen once in a thousand
/// readings, and three of four in a row once in some 10^8, less often than the budget allows.
const READING_ERRORS: f32 = 3.5;
const PEER_DEVIATIONS: f32 = 6.0;
/// Mean absolute deviations of a node's own readings by which it must stand out from itself; of Laplace's distribution
/// that is as much as six robust ones.
const OWN_SCATTERS: f32 = 6.0;
/// Peers differ by at least this much in the logarithm: so six deviations are never below a ratio of 1.5 for want of it.
const LEAST_DEVIATION: f32 = 0.065;
/// Nodes from which a slope is fitted; below, load is left out.
const NODES_FOR_SLOPE: usize = 9;
/// Nodes that the fit looks at, at most: medians of more are no better.
const NODES_IN_FIT: usize = 127;
/// Readings that are remembered of a node, when it is slow and when it is not.
const MEMORY: f32 = 64.0;
const MEMORY_WHILE_SLOW: f32 = 600.0;

/// How latency depends on load among peers: `log latency = intercept + slope * log load`, and how far they scatter.
#[derive(Debug)]
pub(super) struct Pace {
    intercept: f32,
    slope: f32,
    /// Robust standard deviations: of nodes around the line, and of nodes around their own usual distance from it.
    between: f32,
    within: f32,
    /// The load in the middle of the nodes of the fit.
    middle_load: f32,
    /// Nodes that were in the fit.
    nodes: usize,
    slow: f32,
    very_slow: f32,
    points: Vec<(f32, f32)>,
    values: Vec<f32>,
    /// The place at which the next slice goes on reading.
    cursor: usize,
}

/// What is known of the speed of one node. Logarithms are natural ones.
#[derive(Debug, Default)]
pub(super) struct Speed {
    log_latency: f32,
    log_load: f32,
    /// Its usual distance from the line of its peers.
    usual: f32,
    /// How far the last reading lay above that.
    shift: f32,
    /// How far readings usually lie from it: hosts differ in that, too.
    scatter: f32,
    /// Standard deviation of its calls, over many readings: one that caught only the slow half of two kinds of calls looks
    /// as if they were all alike.
    spread: f32,
    /// The slice of the last reading, its low bits.
    read_slice: u32,
    readings: u8,
    /// The last four readings, the newest lowest: was it slow?
    slow: u8,
    /// Caller's time-outs around the last reading, and those not yet reported.
    time_outs: u32,
    unreported_time_outs: u32,
}

impl Speed {
    /// Slow in three of the last four readings.
    pub(super) const fn is_slow(&self) -> bool {
        (self.slow & 0b1111).count_ones() >= 3
    }

    /// In none of them, and there were four.
    pub(super) const fn is_usual(&self) -> bool {
        self.slow & 0b1111 == 0
    }

    /// Its latency as a multiple of its usual one.
    pub(super) fn ratio(&self) -> f32 {
        libm::expf(self.shift)
    }

    pub(super) const fn take_time_outs(&mut self) -> u32 {
        std::mem::replace(&mut self.unreported_time_outs, 0)
    }

    /// Forgets whether it was slow: it has been away.
    pub(super) const fn start_anew(&mut self) {
        self.slow = 0;
        self.shift = 0.0;
    }
}

impl Pace {
    pub(super) fn new(policy: &Policy) -> Self {
        let mut pace = Self {
            intercept: 0.0,
            slope: 0.0,
            between: LEAST_DEVIATION,
            within: LEAST_DEVIATION,
            middle_load: 0.0,
            nodes: 0,
            slow: 0.0,
            very_slow: 0.0,
            points: Vec::new(),
            values: Vec::new(),
            cursor: 0,
        };
        pace.configure(policy);
        pace
    }

    #[expect(clippy::cast_possible_truncation, reason = "logarithms of ratios")]
    pub(super) fn configure(&mut self, policy: &Policy) {
        self.slow = libm::log(policy.slow_ratio) as f32;
        self.very_slow = libm::log(policy.very_slow_ratio) as f32;
    }

    /// What peers take at this load.
    fn line(&self, log_load: f32) -> f32 {
        self.intercept + self.slope * log_load
    }

    /// From when on a call is slow, of a node that usually takes this long.
    fn slow_above_us(&self, usual: f32, latency: &Sketch) -> u32 {
        let us = libm::expf(latency.log_floor() + usual + self.very_slow);
        // The largest number says that nobody knows.
        u32::try_from(f32_to_u64(us)).unwrap_or(u32::MAX).min(u32::MAX - 1)
    }

    /// Tukey's resistant line: medians of the outer thirds give the slope, the median of what is left the intercept.
    fn fit(&mut self) {
        self.nodes = self.points.len();
        self.slope = 0.0;
        if self.nodes >= NODES_FOR_SLOPE {
            self.points
                .sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
            let third = self.nodes / 3;
            let mut median = |points: &[(f32, f32)], pick: fn(&(f32, f32)) -> f32| {
                self.values.clear();
                self.values.extend(points.iter().map(pick));
                lower_median(&mut self.values).unwrap_or(0.0)
            };
            let (low, high) = (&self.points[..third], &self.points[self.nodes - third..]);
            let run = median(high, |p| p.0) - median(low, |p| p.0);
            let rise = median(high, |p| p.1) - median(low, |p| p.1);
            // Loads that hardly differ fix no slope. More load never makes a node faster, and latency that grows faster
            // than load is a node's own trouble.
            if run > 0.2 {
                self.slope = (rise / run).clamp(0.0, 1.0);
            }
        }
        self.values.clear();
        self.values.extend(self.points.iter().map(|(x, _)| *x));
        self.middle_load = lower_median(&mut self.values).unwrap_or(0.0);
        self.values.clear();
        self.values.extend(self.points.iter().map(|(x, y)| y - self.slope * x));
        let Some(intercept) = lower_median(&mut self.values) else {
            return;
        };
        self.intercept = intercept;
        self.values
            .iter_mut()
            .for_each(|value| *value = (*value - intercept).abs());
        self.between = (1.4826 * lower_median(&mut self.values).unwrap_or(0.0)).max(LEAST_DEVIATION);
    }

    fn scatter(&mut self, shifts: impl Iterator<Item = f32>) {
        self.values.clear();
        self.values.extend(shifts.map(f32::abs));
        self.within = (1.4826 * lower_median(&mut self.values).unwrap_or(0.0)).max(LEAST_DEVIATION);
    }
}

impl Detector {
    /// Takes the readings that are due in this slice, and draws the line of peers anew every fourth.
    pub(super) fn look_at_speed(&mut self, slice: u64) {
        if slice.is_multiple_of(u64::from(SLICES_PER_READING)) {
            let stride = self.rows.len().div_ceil(NODES_IN_FIT).max(1);
            let read = || {
                let rows = self.rows.iter().step_by(stride).flatten();
                rows.filter(|row| row.speed.readings > 0 && !row.phase.is_out())
            };
            self.pace.points.clear();
            self.pace
                .points
                .extend(read().map(|row| (row.speed.log_load, row.speed.log_latency)));
            self.pace.fit();
            let shifts = read().map(|row| row.speed.shift);
            self.pace.scatter(shifts);
            self.guess_for_unread(stride);
        }
        let places = self.rows.len();
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the low bits are enough to tell four slices"
        )]
        let slice = slice as u32;
        for _ in 0..places.min(READINGS_PER_SLICE) {
            let place = self.pace.cursor % places;
            self.pace.cursor = place + 1;
            let Some(row) = &mut self.rows[place] else { continue };
            if row.speed.readings > 0 && slice.wrapping_sub(row.speed.read_slice) < SLICES_PER_READING {
                continue;
            }
            let histogram = row.cell.latency.read();
            let calls = sketch::total(&histogram);
            if calls < CALLS_PER_READING {
                continue;
            }
            row.speed.read_slice = slice;
            row.cell.latency.subtract(&histogram);
            let time_outs = row.cell.take_ending(Ending::TimedOut);
            let speed = &mut row.speed;
            speed.unreported_time_outs = speed.unreported_time_outs.saturating_add(time_outs);
            speed.time_outs = time_outs;
            let quantile = |share| sketch::log_quantile(&histogram, share);
            let (Some(first), Some(ninth), Some(typical)) = (quantile(0.1), quantile(0.9), typical(&histogram)) else {
                continue;
            };
            // Of a normal distribution the outer deciles are 2.56 standard deviations apart.
            let spread = (ninth - first) / 2.563;
            speed.spread += (spread - speed.spread) / MEMORY.min(f32::from(speed.readings) + 1.0);
            #[expect(clippy::cast_precision_loss, reason = "a count under a root")]
            let error = 1.4 * spread.max(speed.spread).max(0.15) / (calls as f32).sqrt();
            speed.log_latency = typical;
            speed.log_load = libm::logf(row.load.max(0.001));
            speed.readings = speed.readings.saturating_add(1);
            if matches!(row.phase, Phase::Serving) {
                speed.judge(&self.pace, error, row.weight_permille < 1_000);
            }
            if self.pace.nodes >= 2 {
                let usual = self.pace.line(speed.log_load) + speed.usual;
                row.cell
                    .call_slow_above(self.pace.slow_above_us(usual, &row.cell.latency));
            }
        }
    }

    /// A node with too few calls for a reading of its own is held against its peers: against those that were read, or,
    /// where traffic is so thin that none was, against all of them together.
    fn guess_for_unread(&mut self, stride: usize) {
        let unread = |row: &&Row| row.speed.readings == 0;
        if !self.rows.iter().flatten().any(|row| unread(&row)) {
            return;
        }
        let usual = if self.pace.nodes >= 2 {
            self.pace.line(self.pace.middle_load)
        } else {
            let mut together = [0; sketch::LATENCY_BUCKETS];
            for row in self.rows.iter().step_by(stride).flatten().filter(unread) {
                let sums = together.iter_mut().zip(row.cell.latency.read());
                sums.for_each(|(sum, count): (&mut u32, u32)| *sum = sum.saturating_add(count));
            }
            let enough = sketch::total(&together) >= CALLS_PER_READING;
            match typical(&together).filter(|_| enough) {
                Some(usual) => usual,
                None => return,
            }
        };
        for row in self.rows.iter().flatten().filter(unread) {
            row.cell
                .call_slow_above(self.pace.slow_above_us(usual, &row.cell.latency));
        }
    }

    /// A slow node's calls also time out, and it is slower than that by the second limit.
    pub(super) fn is_very_slow(&self, speed: &Speed) -> bool {
        speed.is_slow() && speed.time_outs > 0 && speed.shift >= self.pace.very_slow
    }
}

/// Half-way between the median and the ninth decile: sees a node that is slow for all of its calls, and one that is very
/// slow for a fifth of them.
fn typical(histogram: &Histogram) -> Option<f32> {
    let quantile = |share| sketch::log_quantile(histogram, share);
    Some(0.5 * (quantile(0.5)? + quantile(0.9)?))
}

impl Speed {
    /// `weighed`: it has less than full weight, since it was slow and is not yet well again.
    fn judge(&mut self, pace: &Pace, error: f32, weighed: bool) {
        // Without peers there is nothing to compare with: a line through one point fits it.
        if pace.nodes < 2 {
            return;
        }
        let residual = self.log_latency - pace.line(self.log_load);
        if self.readings <= 2 {
            // The first line was drawn before it was read. What peers differ by anyway is its own way; more is not.
            self.usual = residual.clamp(-2.0 * pace.between, 2.0 * pace.between);
            self.scatter = pace.within;
        }
        self.shift = residual - self.usual;
        let limit = pace
            .slow
            .max(READING_ERRORS * error)
            .max(PEER_DEVIATIONS * pace.within)
            .max(OWN_SCATTERS * self.scatter);
        let slow = self.shift > limit;
        self.slow = (self.slow << 1) | u8::from(slow);
        // What is slow is neither usual nor scatter: or a node would get well by being slow for long enough.
        let (memory, most) = if slow || weighed {
            (MEMORY_WHILE_SLOW, self.scatter)
        } else {
            (MEMORY.min(f32::from(self.readings)), limit)
        };
        self.usual += self.shift.min(most) / memory;
        self.scatter += (self.shift.abs().min(most) - self.scatter) / memory;
    }
}
