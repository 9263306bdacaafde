//! Blast radius: how much may be out of use or under repair.

use std::collections::VecDeque;

use super::settings::Budgets;

/// Times at which something was done, within a span.
#[derive(Debug, Clone)]
struct Rolling {
    span_ms: u64,
    times: VecDeque<u64>,
}

impl Rolling {
    const fn new(span_ms: u64) -> Self {
        Self {
            span_ms,
            times: VecDeque::new(),
        }
    }

    /// Takes one of `limit`, or says that there is none.
    fn take(&mut self, now_ms: u64, limit: u32) -> bool {
        while self
            .times
            .front()
            .is_some_and(|at_ms| now_ms.saturating_sub(*at_ms) >= self.span_ms)
        {
            self.times.pop_front();
        }
        let free = self.times.len() < usize::try_from(limit).unwrap_or(usize::MAX);
        if free {
            self.times.push_back(now_ms);
        }
        free
    }
}

/// What is left of the budgets.
#[derive(Debug, Clone)]
pub(crate) struct Ledger {
    isolations: Rolling,
    restarts: Rolling,
    replaces: Rolling,
    drains: Rolling,
}

const MINUTE_MS: u64 = 60_000;

impl Ledger {
    pub(crate) const fn new() -> Self {
        Self {
            isolations: Rolling::new(10 * MINUTE_MS),
            restarts: Rolling::new(60 * MINUTE_MS),
            replaces: Rolling::new(60 * MINUTE_MS),
            drains: Rolling::new(24 * 60 * MINUTE_MS),
        }
    }

    pub(crate) fn isolation(&mut self, budgets: &Budgets, now_ms: u64) -> bool {
        self.isolations.take(now_ms, budgets.isolations_per_ten_minutes)
    }

    pub(crate) fn restart(&mut self, budgets: &Budgets, now_ms: u64) -> bool {
        self.restarts.take(now_ms, budgets.restarts_per_hour)
    }

    pub(crate) fn replace(&mut self, budgets: &Budgets, now_ms: u64) -> bool {
        self.replaces.take(now_ms, budgets.replaces_per_hour)
    }

    pub(crate) fn drain(&mut self, budgets: &Budgets, now_ms: u64) -> bool {
        self.drains.take(now_ms, budgets.drains_per_day)
    }
}

/// A service as the cap sees it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Strength {
    /// Its nodes, and those that are out of use.
    pub(crate) nodes: u32,
    pub(crate) out: u32,
    /// Those in use that get less than their share.
    pub(crate) weighed: u32,
    /// What the nodes in use can carry, in calls a second, if all state it; and what the one in question carries of it.
    pub(crate) capacity: Option<(f64, f64)>,
    /// Calls a second now.
    pub(crate) load: f64,
}

impl Strength {
    /// Whether one more may go.
    pub(crate) fn spares_one(&self, budgets: &Budgets) -> bool {
        let left = self.nodes.saturating_sub(self.out);
        // The last one stays, whatever it does.
        if left < 2 {
            return false;
        }
        match self.capacity {
            Some((all, one)) => (all - one) * f64::from(budgets.headroom_percent) >= self.load * 100.0,
            // One may always go when two are left and nobody else is out.
            None => {
                self.out == 0
                    || u64::from(self.out + 1) * 100 <= u64::from(self.nodes) * u64::from(budgets.isolated_percent)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strength(nodes: u32, out: u32) -> Strength {
        Strength {
            nodes,
            out,
            weighed: 0,
            capacity: None,
            load: 0.0,
        }
    }

    #[test]
    fn half_may_go_one_always_and_the_last_never() {
        let budgets = Budgets::default();
        let most = |nodes| {
            (0..nodes)
                .take_while(|out| strength(nodes, *out).spares_one(&budgets))
                .count()
        };
        assert_eq!([0, 1, 2, 3, 4, 5, 9, 10, 12].map(most), [0, 0, 1, 1, 2, 2, 4, 5, 6]);
        let careful = Budgets {
            isolated_percent: 10,
            ..budgets
        };
        assert!(strength(5, 0).spares_one(&careful), "10 % of 5 is one");
        assert!(!strength(5, 1).spares_one(&careful));
    }

    #[test]
    fn where_capacity_is_known_it_decides() {
        let budgets = Budgets::default();
        let with = |load| Strength {
            capacity: Some((1_000.0, 100.0)),
            load,
            ..strength(10, 0)
        };
        assert!(with(720.0).spares_one(&budgets), "900 carry 720 at 80 %");
        assert!(!with(721.0).spares_one(&budgets));
    }

    #[test]
    fn what_was_taken_comes_back_after_its_span() {
        let mut ledger = Ledger::new();
        let budgets = Budgets {
            restarts_per_hour: 2,
            ..Budgets::default()
        };
        assert_eq!([0, 10, 20].map(|t| ledger.restart(&budgets, t)), [true, true, false]);
        assert!(!ledger.restart(&budgets, 3_599_999));
        assert!(ledger.restart(&budgets, 3_600_000));
    }
}
