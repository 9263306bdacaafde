//! Which ends a death explains: those of what the dead process may have owned.
//!
//! A client notices an end when it looks, and reads an answer when it can: on a machine with more to do than it can, late by no
//! known time. But it knows when it asked what was answered last. Whoever answered lived then, and what has ended since may
//! have ended with a process that was dying in between.

use std::time::Instant;

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

    /// Whether something that ended between these times went down with a process. `refused`: nobody had the listener open,
    /// so no process that lived could have served it.
    pub(super) fn explain(&self, site: usize, [since, at]: [Instant; 2], refused: bool) -> bool {
        self.0.iter().filter(|death| death.site == site).any(|death| {
            let until = if refused { death.followed } else { death.gone };
            death.from <= at && until.is_none_or(|until| since <= until)
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
        let at = |ms: u64| start + std::time::Duration::from_millis(ms);
        let mut deaths = Deaths::default();
        assert!(!deaths.explain(0, [at(0), at(9_000)], true));
        deaths.begins(0, at(1_000));
        // It dies for long where the machine has no time for it.
        assert!(deaths.explain(0, [at(8_000), at(9_000)], false) && !deaths.explain(1, [at(0), at(1_000)], false));
        deaths.ended(0, at(3_000));
        for (since, ended, refused, explained) in [
            (0, 999, false, false),
            (0, 999, true, false),
            (0, 1_000, false, true),
            // Seen late, and all was well before it was gone.
            (3_000, 60_000, false, true),
            // All was well after it was gone.
            (3_001, 3_002, false, false),
            (3_001, 60_000, true, true),
        ] {
            let told = deaths.explain(0, [at(since), at(ended)], refused);
            assert_eq!(told, explained, "{since} {ended} {refused}");
        }
        // What was opened before tells of nobody who came after.
        deaths.served(0, at(2_999), at(5_000));
        deaths.served(1, at(3_100), at(5_000));
        assert!(deaths.explain(0, [at(6_000), at(6_000)], true));
        deaths.served(0, at(3_000), at(5_000));
        deaths.served(0, at(3_000), at(7_000));
        assert!(deaths.explain(0, [at(5_000), at(6_000)], true));
        assert!(!deaths.explain(0, [at(5_001), at(6_000)], true));
    }
}
