//! Incidents of a line's production, told in any order and any number of times.

use std::collections::{BTreeMap, BTreeSet};

use super::line::REMEMBERED;

/// One incident: it may come back under its name.
#[derive(Clone, Debug, Default)]
struct Fire {
    began_ms: BTreeSet<i64>,
    ended_ms: BTreeSet<i64>,
}

impl Fire {
    /// Its last beginning, as long as no end is known at or after it.
    fn open_since_ms(&self) -> Option<i64> {
        let last = *self.began_ms.last()?;
        self.ended_ms.range(last..).next().is_none().then_some(last)
    }
}

/// All that were told.
#[derive(Clone, Debug, Default)]
pub(super) struct Incidents(BTreeMap<String, Fire>);

impl Incidents {
    pub(super) fn began(&mut self, id: &str, at_ms: i64) {
        self.note(id, |fire| &mut fire.began_ms, at_ms);
    }

    pub(super) fn ended(&mut self, id: &str, at_ms: i64) {
        self.note(id, |fire| &mut fire.ended_ms, at_ms);
    }

    fn note(&mut self, id: &str, of: impl FnOnce(&mut Fire) -> &mut BTreeSet<i64>, at_ms: i64) {
        let times = of(self.0.entry(id.to_owned()).or_default());
        times.insert(at_ms);
        if times.len() > REMEMBERED {
            times.pop_first();
        }
    }

    /// The names of those that burn.
    pub(super) fn open(&self) -> impl Iterator<Item = &str> {
        let open = self.0.iter().filter(|(_, fire)| fire.open_since_ms().is_some());
        open.map(|(id, _)| id.as_str())
    }

    /// When each began.
    pub(super) fn beginnings_ms(&self) -> impl Iterator<Item = i64> {
        self.0.values().flat_map(|fire| fire.began_ms.iter().copied())
    }

    /// How long each burnt that has ended. What began again before its end is one with what was there.
    pub(super) fn lengths_ms(&self) -> Vec<i64> {
        let mut lengths = Vec::new();
        for fire in self.0.values() {
            let mut after = i64::MIN;
            for &began in &fire.began_ms {
                if began < after {
                    continue;
                }
                let Some(&ended) = fire.ended_ms.range(began..).next() else {
                    break;
                };
                lengths.push(ended.saturating_sub(began));
                after = ended.max(began.saturating_add(1));
            }
        }
        lengths
    }

    /// Forgets the oldest that are over where there are too many.
    pub(super) fn forget(&mut self) {
        while self.0.len() > REMEMBERED {
            let over = self.0.iter().filter(|(_, fire)| fire.open_since_ms().is_none());
            let oldest = over
                .min_by_key(|(_, fire)| fire.ended_ms.last())
                .map(|(id, _)| id.clone());
            let Some(oldest) = oldest else { return };
            self.0.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(news: &[(bool, i64)]) -> (bool, Vec<i64>) {
        let mut incidents = Incidents::default();
        for &(began, at_ms) in news {
            if began {
                incidents.began("fire", at_ms);
            } else {
                incidents.ended("fire", at_ms);
            }
        }
        (incidents.open().next().is_some(), incidents.lengths_ms())
    }

    #[test]
    fn the_order_in_which_news_come_and_how_often_makes_no_difference() {
        assert_eq!(told(&[(true, 10), (false, 30)]), (false, vec![20]));
        assert_eq!(told(&[(false, 30), (true, 10)]), (false, vec![20]));
        assert_eq!(
            told(&[(true, 10), (false, 30), (true, 10), (false, 30)]),
            (false, vec![20])
        );
        // It came back, and the news of its end was there before that of its return.
        assert_eq!(
            told(&[(true, 10), (false, 90), (false, 30), (true, 60)]),
            (false, vec![20, 30])
        );
        assert_eq!(told(&[(true, 10), (false, 30), (true, 60)]), (true, vec![20]));
        // Said to have begun twice before it ended: it burnt once, since the first.
        assert_eq!(told(&[(true, 10), (true, 20), (false, 30)]), (false, vec![20]));
        assert_eq!(told(&[(false, 30)]), (false, vec![]));
    }
}
