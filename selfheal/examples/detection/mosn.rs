//! MOSN's fault tolerance filter: a host's exception rate as a multiple of the average.

/// Every 10 s, of the hosts with ten calls or more, one whose rate is five times the average rate goes for 15 minutes, if
/// none is out. Rates are rounded to two decimals, the average is over calls, not over hosts.
#[derive(Debug)]
pub(crate) struct Mosn {
    counts: Vec<(u64, u64)>,
    down_until_ms: Vec<Option<u64>>,
    next_ms: u64,
}

const WINDOW_MS: u64 = 10_000;
const LEAST_CALLS: u64 = 10;
const MULTIPLE: f64 = 5.0;
const MAX_HOSTS: usize = 1;
const DOWN_MS: u64 = 15 * 60_000;

impl Mosn {
    pub(crate) fn new(nodes: u32) -> Self {
        Self {
            counts: vec![(0, 0); nodes as usize],
            down_until_ms: vec![None; nodes as usize],
            next_ms: WINDOW_MS,
        }
    }

    pub(crate) fn record(&mut self, node: usize, failed: bool) {
        self.counts[node].0 += 1;
        self.counts[node].1 += u64::from(failed);
    }

    pub(crate) fn is_down(&self, node: usize) -> bool {
        self.down_until_ms[node].is_some()
    }

    /// Those that go down now.
    pub(crate) fn tick(&mut self, now_ms: u64) -> Vec<usize> {
        for until in &mut self.down_until_ms {
            *until = until.filter(|&until_ms| now_ms < until_ms);
        }
        if now_ms < self.next_ms {
            return Vec::new();
        }
        self.next_ms += WINDOW_MS;
        let counted = self.counts.iter().filter(|(calls, _)| *calls >= LEAST_CALLS);
        let (calls, failures) = counted.fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1));
        let average = rounded(failures, calls);
        let mut new = Vec::new();
        for node in 0..self.counts.len() {
            let (calls, failures) = self.counts[node];
            let out = self.down_until_ms.iter().flatten().count();
            if calls < LEAST_CALLS || failures == 0 || out >= MAX_HOSTS {
                continue;
            }
            if rounded(failures, calls) / average >= MULTIPLE {
                self.down_until_ms[node] = Some(now_ms + DOWN_MS);
                new.push(node);
            }
        }
        self.counts.fill((0, 0));
        new
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of seconds")]
fn rounded(failures: u64, calls: u64) -> f64 {
    if calls == 0 {
        return 0.0;
    }
    (failures as f64 / calls as f64 * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::Mosn;

    fn window(calls: &[(u64, u64)]) -> Vec<usize> {
        let mut mosn = Mosn::new(u32::try_from(calls.len()).unwrap_or(0));
        for (node, &(good, bad)) in calls.iter().enumerate() {
            (0..good).for_each(|_| mosn.record(node, false));
            (0..bad).for_each(|_| mosn.record(node, true));
        }
        mosn.tick(10_000)
    }

    /// M01, M06, M07 of the list of vectors: what MOSN does, also where it should not.
    #[test]
    fn does_what_mosn_does() {
        // Alone, a host is its own average.
        assert!(window(&[(0, 0), (0, 0), (0, 0), (0, 10)]).is_empty());
        assert_eq!(window(&[(9, 1), (10, 0), (10, 0), (10, 0), (10, 0)]), [0]);
        assert!(window(&[(0, 10), (10, 0), (10, 0), (10, 0)]).is_empty());
    }
}
