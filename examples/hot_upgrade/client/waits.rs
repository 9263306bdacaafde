//! What moving costs the clients whose connections move, beside those whose connections stay.
//!
//! Whatever runs on a machine makes clients wait: eight proxies that start anew, and who else is at work. So the clients of
//! targets that move nothing just then are the yardstick: the same questions, in the same moments.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::tally::micros;

/// A question that is asked so soon after the last connection has come is still counted: its connection's new task may not
/// have had its turn yet.
const AFTERWARDS: Duration = Duration::from_millis(100);

/// A target at which connections move so shortly before or after is no yardstick.
const APART: Duration = Duration::from_millis(300);

/// Most answers that are kept of a round; the first ones count.
const ANSWERS: usize = 1 << 22;

/// When connections of a target moved, from the first that came to rest to the last that was served again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) site: usize,
    pub(crate) from: Instant,
    pub(crate) until: Instant,
}

/// An answer over a long-lived connection.
#[derive(Clone, Copy, Debug)]
struct Answer {
    connection: usize,
    site: usize,
    asked: Instant,
    took: Duration,
}

/// How long answers took, of connections that moved and of those that did not.
#[derive(Debug, Default)]
pub(crate) struct Waits {
    answers: Mutex<Vec<Answer>>,
    /// In microseconds beyond an ordinary answer: moved, and stayed.
    pauses_us: Mutex<[Vec<u64>; 2]>,
}

impl Waits {
    pub(super) fn add(&self, connection: usize, site: usize, asked: Instant, took: Duration) {
        let mut answers = self.answers.lock();
        if answers.len() < ANSWERS {
            answers.push(Answer {
                connection,
                site,
                asked,
                took,
            });
        }
    }

    /// Judges the answers of a round.
    pub(super) fn settle(&self, windows: &[Window], ordinary_us: u64) {
        let answers = std::mem::take(&mut *self.answers.lock());
        let moves_near = |site: usize, window: &Window| {
            windows.iter().any(|other| {
                other.site == site && other.from <= window.until + APART && window.from <= other.until + APART
            })
        };
        for window in windows {
            // The longest of each connection.
            let mut longest: [BTreeMap<usize, Duration>; 2] = Default::default();
            for answer in &answers {
                let within = answer.asked <= window.until + AFTERWARDS && answer.asked + answer.took >= window.from;
                let kind = match answer.site == window.site {
                    _ if !within => continue,
                    true => 0,
                    false if !moves_near(answer.site, window) => 1,
                    false => continue,
                };
                let one = longest[kind].entry(answer.connection).or_default();
                *one = (*one).max(answer.took);
            }
            for (all, longest) in self.pauses_us.lock().iter_mut().zip(longest) {
                all.extend(
                    longest
                        .into_values()
                        .map(|took| micros(took).saturating_sub(ordinary_us)),
                );
            }
        }
    }

    pub(super) fn pauses_us(&self) -> [Vec<u64>; 2] {
        self.pauses_us.lock().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_moves_is_told_from_who_stays() {
        let waits = Waits::default();
        let start = crate::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let window = |site, from, until| Window {
            site,
            from: at(from),
            until: at(until),
        };
        for (connection, site, asked, took) in [
            // Waits while its target moves, and asks once more right afterwards, and long before and after.
            (1, 0, 990, 40),
            (1, 0, 1_090, 9),
            (1, 0, 10, 900),
            (1, 0, 1_200, 900),
            // Of a target that does not move then; and of one that does soon after.
            (2, 1, 1_000, 7),
            (3, 2, 1_000, 500),
        ] {
            waits.add(connection, site, at(asked), Duration::from_millis(took));
        }
        waits.settle(&[window(0, 1_000, 1_010), window(2, 1_250, 1_260)], 2_000);
        let [moved, stayed] = waits.pauses_us();
        assert_eq!(moved, [38_000, 498_000]);
        // For the second move the first target is none either.
        assert_eq!(stayed, [5_000]);
    }
}
