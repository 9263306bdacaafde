//! Finagle's failure accrual: an exponential average of successes over time, or failures in a row.

/// Dead when the success rate, averaged over 30 s, is below 0.8 (with five calls in the window, and a window since the
/// start), or at five failures in a row. Dead for 5 s to 300 s, doubling; then one probe.
#[derive(Debug)]
pub(crate) struct Finagle {
    nodes: Vec<Node>,
    newly_dead: Vec<usize>,
}

#[derive(Debug, Clone)]
struct Node {
    success: f64,
    stamp_ms: u64,
    began_ms: Option<u64>,
    run: u32,
    /// Times of calls within the window, as many as the rule asks for.
    last: std::collections::VecDeque<u64>,
    dead_until_ms: Option<u64>,
    probing: bool,
    back_off_ms: u64,
}

const WINDOW_MS: u64 = 30_000;
const REQUIRED: f64 = 0.8;
const LEAST_CALLS: usize = 5;
const CONSECUTIVE: u32 = 5;
const FIRST_MS: u64 = 5_000;
const LONGEST_MS: u64 = 300_000;

impl Node {
    const fn new() -> Self {
        Self {
            success: 1.0,
            stamp_ms: 0,
            began_ms: None,
            run: 0,
            last: std::collections::VecDeque::new(),
            dead_until_ms: None,
            probing: false,
            back_off_ms: FIRST_MS,
        }
    }
}

impl Finagle {
    pub(crate) fn new(nodes: u32) -> Self {
        Self {
            nodes: vec![Node::new(); nodes as usize],
            newly_dead: Vec::new(),
        }
    }

    pub(crate) fn is_open(&self, now_ms: u64, node: usize) -> bool {
        self.nodes[node].dead_until_ms.is_none_or(|until_ms| now_ms >= until_ms)
    }

    pub(crate) fn newly_dead(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.newly_dead)
    }

    pub(crate) fn record(&mut self, now_ms: u64, place: usize, failed: bool) {
        let node = &mut self.nodes[place];
        if node.dead_until_ms.take().is_some() {
            node.probing = true;
        }
        if node.probing && !failed {
            // Revived: history and back-off start anew.
            *node = Node::new();
        }
        let began_ms = *node.began_ms.get_or_insert(now_ms);
        let weight = weight(now_ms - node.stamp_ms.min(now_ms), WINDOW_MS);
        let value = if failed { 0.0 } else { 1.0 };
        node.success = if node.last.is_empty() {
            value
        } else {
            node.success * weight + value * (1.0 - weight)
        };
        node.stamp_ms = now_ms;
        node.last.push_back(now_ms);
        if node.last.len() > LEAST_CALLS {
            node.last.pop_front();
        }
        node.run = if failed { node.run + 1 } else { 0 };
        let enough =
            node.last.len() == LEAST_CALLS && node.last.front().is_some_and(|&first| now_ms - first <= WINDOW_MS);
        let by_rate = enough && now_ms - began_ms >= WINDOW_MS && node.success < REQUIRED;
        if failed && (node.probing || by_rate || node.run >= CONSECUTIVE) {
            node.dead_until_ms = Some(now_ms + node.back_off_ms);
            node.back_off_ms = (node.back_off_ms * 2).min(LONGEST_MS);
            self.newly_dead.push(place);
        }
    }
}

/// What is left of an average after a pause.
#[expect(clippy::cast_precision_loss, reason = "times of hours")]
fn weight(pause: u64, window: u64) -> f64 {
    (-(pause as f64) / window as f64).exp()
}

#[cfg(test)]
mod tests {
    use super::{Finagle, weight};

    /// F01 of the list of vectors, with five in place of three; F04: an average over a window of 100 needs 70 failures
    /// in a row to halve.
    #[test]
    fn does_what_finagle_does() {
        let mut finagle = Finagle::new(1);
        (0..4).for_each(|i| finagle.record(i, 0, true));
        assert!(finagle.newly_dead().is_empty() && finagle.is_open(4, 0));
        finagle.record(4, 0, true);
        assert!(finagle.newly_dead() == [0] && !finagle.is_open(5_003, 0) && finagle.is_open(5_004, 0));
        // The probe fails: twice as long.
        finagle.record(5_004, 0, true);
        assert!(!finagle.is_open(15_003, 0) && finagle.is_open(15_004, 0));
        let after = (1..).find(|&n| weight(n, 100) < 0.5);
        assert_eq!(after, Some(70));
    }
}
