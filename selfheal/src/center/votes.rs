//! What counts of one edge say for and against a fault: capped log-likelihood ratios.
//!
//! An edge is one reporter's view of one target. With `x` bad of `n` calls and a rate `p` at which healthy nodes fail,
//! the evidence for "bad at rate `q`" is `x ln(q / p) + (n - x) ln((1 - q) / (1 - p))`. How bad a fault is, nobody knows
//! beforehand, so four rates are tried side by side: the lanes.
//!
//! A vote is cut to a little more than a third of the alarm in either direction. So no two reporters, however loud, reach
//! the alarm, and three do.
//!
//! All steps are rounded to 1/256. A sum of votes below 65,536 is then exact in an `f32`, so the order in which things
//! are added cannot matter: not the order of arrival, and not the order of members.

use libm::log as ln;

/// Rates that a fault may have.
const RATES: [f64; LANES] = [0.10, 0.25, 0.50, 0.95];
pub(crate) const LANES: usize = 4;
/// Beyond this reference rate nobody can be told from healthy any more.
const MAX_REFERENCE: f64 = 0.30;

/// Votes of an edge, or sums of them, by lane.
pub(crate) type Votes = [f32; LANES];

/// Sums over many edges.
pub(crate) type WideVotes = [f64; LANES];

fn quantum(value: f64) -> f32 {
    #[expect(clippy::cast_possible_truncation, reason = "a small multiple of 1/256 is exact")]
    {
        (value * 256.0).round() as f32 / 256.0
    }
}

/// How counts become votes, as long as the reference rate stays.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Scale {
    up: Votes,
    down: Votes,
    /// The sum of votes at which a term is accused.
    pub(crate) alarm: f32,
    /// The largest vote of one host.
    pub(crate) cap: f32,
    /// The rate at which healthy nodes fail.
    pub(crate) reference: f64,
}

impl Scale {
    /// For healthy nodes that fail at `reference` and one false accusation in `requests` of a node's requests.
    ///
    /// The likelihood ratio of one lane, started afresh at each request, exceeds `e^a` once in `e^a` requests at most
    /// (Lorden 1971); four lanes do so four times as often, hence the alarm at `ln(4 requests)`.
    pub(crate) fn new(reference: f64, requests: f64) -> Self {
        let reference = reference.clamp(1e-5, MAX_REFERENCE);
        let alarm = (ln(4.0 * requests) * 256.0).ceil() / 256.0;
        // More than a third, for what is lost where a host's voice is divided among its reporters.
        let cap = 0.36 * alarm;
        let rate = |lane: usize| RATES[lane].max((2.0 * reference).min(0.95));
        Self {
            up: std::array::from_fn(|lane| quantum(ln(rate(lane) / reference))),
            down: std::array::from_fn(|lane| quantum(ln((1.0 - rate(lane)) / (1.0 - reference)))),
            alarm: quantum(alarm),
            cap: quantum(cap),
            reference,
        }
    }

    /// The votes of an edge with these counts, each at most `cap` in size.
    pub(crate) fn votes(&self, good: f32, bad: f32, cap: f32) -> Votes {
        let mut votes = [0.0; LANES];
        for (lane, vote) in votes.iter_mut().enumerate() {
            let free = bad * self.up[lane] + good * self.down[lane];
            // Compared by hand: nothing here is a NaN, and `max` and `min` would look for one.
            let low = if free < -cap { -cap } else { free };
            *vote = if low > cap { cap } else { low };
        }
        votes
    }

    /// The cap of each of `voices` reporters on one host.
    pub(crate) fn share(&self, voices: u16) -> f32 {
        (self.cap * 256.0 / f32::from(voices.max(1))).floor() / 256.0
    }
}

/// The lane that fits best, with its sum.
pub(crate) fn best(votes: &WideVotes) -> (usize, f64) {
    let mut found = (0, votes[0]);
    for (lane, vote) in votes.iter().enumerate().skip(1) {
        if *vote > found.1 {
            found = (lane, *vote);
        }
    }
    found
}

pub(crate) fn widen(votes: &Votes) -> WideVotes {
    votes.map(f64::from)
}

#[cfg(test)]
mod tests {
    use super::{Scale, best, widen};

    #[test]
    fn no_two_hosts_reach_the_alarm_and_three_do() {
        for requests in [1e3, 1e6, 1e12] {
            let scale = Scale::new(0.005, requests);
            let loud = scale.votes(0.0, 1e6, scale.cap);
            let (_, vote) = best(&widen(&loud));
            assert!(2.0 * vote < f64::from(scale.alarm), "{scale:?}");
            assert!(3.0 * vote >= f64::from(scale.alarm), "{scale:?}");
            // However many reporters a host has, together they are one.
            for voices in [1, 2, 3, 7, 100] {
                assert!(f32::from(voices) * scale.share(voices) <= scale.cap, "{voices}");
            }
        }
    }

    #[test]
    fn votes_are_multiples_of_a_quantum_however_large_the_counts() {
        let scale = Scale::new(0.0123, 1e6);
        for (good, bad) in [
            (0.0, 1.0),
            (17.0, 3.0),
            (16_777_215.0, 70_001.0),
            (65_537.0, 4_003.0),
            (3.0, 0.0),
        ] {
            for vote in scale.votes(good, bad, scale.cap) {
                assert!((vote * 256.0).fract().abs() < f32::EPSILON, "{good} {bad}: {vote}");
                assert!(vote.abs() <= scale.cap);
            }
        }
    }

    #[test]
    fn every_lane_speaks_for_a_fault_above_the_reference_and_against_one_below() {
        for reference in [0.001, 0.005, 0.05, 0.2] {
            let scale = Scale::new(reference, 1e6);
            // Unlimited votes show the sign.
            let sick = scale.votes(0.0, 1_000.0, f32::MAX);
            let well = scale.votes(1_000.0, 0.0, f32::MAX);
            assert!(
                sick.iter().all(|v| *v > 0.0) && well.iter().all(|v| *v < 0.0),
                "{reference}"
            );
        }
    }
}
