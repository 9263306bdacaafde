//! Which ends a death explains: those of what the dead process owned, as long as nobody could know better.

use std::time::{Duration, Instant};

/// What a dead process owned has ended when it is gone; on a machine with more to do than it can, clients hear of it late.
const HEARD_WITHIN: Duration = Duration::from_millis(1_000);

/// Processes of targets that died.
#[derive(Debug, Default)]
pub(super) struct Deaths(Vec<Death>);

/// One of them.
#[derive(Debug)]
struct Death {
    site: usize,
    /// Before that it lived.
    from: Instant,
    /// By then it was gone. `None`: it is dying.
    gone: Option<Instant>,
    /// Then somebody else served a connection that was opened since. `None`: nobody has.
    followed: Option<Instant>,
}

impl Deaths {
    /// A process of this target dies, and lived until `from`.
    pub(super) fn begins(&mut self, site: usize, from: Instant) {
        self.0.push(Death {
            site,
            from,
            gone: None,
            followed: None,
        });
    }

    /// Whoever was dying at this target is gone.
    pub(super) fn ended(&mut self, site: usize, at: Instant) {
        let dying = |death: &&mut Death| death.site == site && death.gone.is_none();
        for death in self.0.iter_mut().filter(dying) {
            death.gone = Some(at);
        }
    }

    /// A connection that was opened at `opened` was served by now.
    pub(super) fn served(&mut self, site: usize, opened: Instant, now: Instant) {
        let left = |death: &&mut Death| {
            let after = death.gone.is_some_and(|gone| gone <= opened);
            death.site == site && after && death.followed.is_none()
        };
        for death in self.0.iter_mut().filter(left) {
            death.followed = Some(now);
        }
    }

    /// Whether something that ended then went down with a process. `refused`: nobody had the listener open, so no process
    /// that lived could have served it.
    pub(super) fn explain(&self, site: usize, at: Instant, refused: bool) -> bool {
        self.0.iter().filter(|death| death.site == site).any(|death| {
            let until = if refused {
                death.followed
            } else {
                death.gone.map(|gone| gone + HEARD_WITHIN)
            };
            death.from <= at && until.is_none_or(|until| at <= until)
        })
    }

    /// When processes of this target died, after `began`, for people.
    pub(super) fn words(&self, site: usize, began: Instant) -> Option<String> {
        let seconds = |at: Instant| at.saturating_duration_since(began).as_secs_f64();
        let all = self.0.iter().filter(|death| death.site == site).map(|death| {
            let from = seconds(death.from);
            death.gone.map_or_else(
                || format!("{from:.3}"),
                |gone| format!("{from:.3} to {:.3}", seconds(gone)),
            )
        });
        let all: Vec<String> = all.collect();
        (!all.is_empty()).then(|| format!("processes of target {site} died at {} s", all.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_death_explains_what_it_took_along_and_no_more() {
        let start = crate::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let mut deaths = Deaths::default();
        assert!(!deaths.explain(0, at(0), true));
        deaths.begins(0, at(1_000));
        // It dies for long where the machine has no time for it.
        assert!(deaths.explain(0, at(9_000), false) && !deaths.explain(1, at(1_000), false));
        deaths.ended(0, at(3_000));
        for (ms, refused, explained) in [
            (999, false, false),
            (999, true, false),
            (1_000, false, true),
            (4_000, false, true),
            (4_001, false, false),
            (90_000, true, true),
        ] {
            assert_eq!(deaths.explain(0, at(ms), refused), explained, "{ms} {refused}");
        }
        // What was opened before tells of nobody who came after.
        deaths.served(0, at(2_999), at(5_000));
        deaths.served(1, at(3_100), at(5_000));
        assert!(deaths.explain(0, at(6_000), true));
        deaths.served(0, at(3_000), at(5_000));
        deaths.served(0, at(3_000), at(7_000));
        assert!(deaths.explain(0, at(5_000), true) && !deaths.explain(0, at(5_001), true));
    }
}
