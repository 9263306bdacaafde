//! What is done where those who do not run the release do worse the more others do: nobody takes a further step, and where it lasts, a
//! person is asked.

use crate::QuestionKind;

use super::span::span;
use super::{Commands, Machine};

/// What was found once is looked for so long, and asked about where more than half of the looks find it. Meanwhile nothing grows: what
/// chance has done passes, and what is so becomes plainer the longer it is seen.
const LASTS_MS: u64 = 2 * 3_600_000;

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Interference {
    /// By what factor they do worse: for good.
    found: Option<f64>,
    suspicion: Option<Suspicion>,
    /// The interval before which this was looked for last.
    looked: u64,
}

/// It was found once.
#[derive(Clone, Copy, Debug)]
struct Suspicion {
    since_ms: u64,
    looks: u32,
    /// Of these, those that found it.
    found: u32,
}

impl Suspicion {
    const fn new(now_ms: u64) -> Self {
        Self {
            since_ms: now_ms,
            looks: 0,
            found: 0,
        }
    }

    /// Looks once more. Whether it lasts; `None` as long as nobody knows.
    fn lasts(&mut self, found: bool, now_ms: u64) -> Option<bool> {
        self.looks += 1;
        self.found += u32::from(found);
        let over = now_ms - self.since_ms >= LASTS_MS;
        match self.found * 2 > self.looks {
            false if over => Some(false),
            true if over && found => Some(true),
            _ => None,
        }
    }
}

impl Machine {
    /// Whether the fleet does worse with each step it takes, before any class or lane takes the next. Stages of classes alone do not say
    /// when: classes pass them while lanes wait for other classes, and lanes go through what all their classes have passed.
    pub(super) fn has_begun_to_interfere(&mut self) -> bool {
        if self.interference_is_overruled() {
            return false;
        }
        if self.interference.found.is_none() && self.interference.looked != self.next_interval {
            self.interference.looked = self.next_interval;
            let worse = self.surroundings.worse(self.decides_by(2));
            let worse = worse.filter(|&factor| factor > self.known_interference());
            if self.decides_by(3) {
                self.suspect(worse);
            } else {
                self.interference.found = worse;
            }
        }
        self.interference.found.is_some() || self.interference.suspicion.is_some()
    }

    /// A look has found it, or has not.
    fn suspect(&mut self, worse: Option<f64>) {
        let now_ms = self.now_ms;
        if let (None, Some(factor)) = (self.interference.suspicion, worse) {
            let text = format!(
                "those who still run {} have {factor:.2} times as many errors as before, and the more the further {} gets: it keeps its size",
                self.setup.change.from, self.setup.change.to
            );
            let otherwise = format!("where that lasts for {}, somebody is asked", span(LASTS_MS));
            self.decide_text("interference.suspected", text, Some(otherwise));
            self.interference.suspicion = Some(Suspicion::new(now_ms));
        }
        let suspicion = self.interference.suspicion.as_mut();
        match suspicion.and_then(|suspicion| suspicion.lasts(worse.is_some(), now_ms)) {
            Some(true) => self.interference.found = worse,
            Some(false) => {
                self.interference.suspicion = None;
                let text = format!(
                    "it did not last that others do worse the more run {}",
                    self.setup.change.to
                );
                self.decide_text("interference.passed", text, None);
            }
            None => {}
        }
    }

    /// Somebody knows of what was found, by this factor: what is more of it has to be found anew.
    pub(super) fn forget_what_all_share(&mut self) -> Option<f64> {
        std::mem::take(&mut self.interference).found
    }

    /// It has been found, and nobody has gone on over it.
    pub(super) fn interferes(&self) -> bool {
        self.interference.found.is_some() && !self.interference_is_overruled()
    }

    /// Asks whether to go back for it. Whether it did.
    pub(super) fn ask_about_interference(&mut self, commands: &mut Commands) -> bool {
        let Some(factor) = self.interference.found.filter(|_| !self.interference_is_overruled()) else {
            return false;
        };
        let text = format!(
            "those who still run {} have {factor:.1} times as many errors as before, and the more the further {} gets: what they share \
             seems to suffer, and no comparison can show it: roll back?",
            self.setup.change.from, self.setup.change.to
        );
        let otherwise = "the change keeps its size".to_owned();
        if self.ask(QuestionKind::RollBack, text, otherwise, commands) && self.decides_by(8) {
            self.questions.about.doubts.clear();
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks each minute; `found` says what the looks find. When it is decided, and how.
    fn decided(found: impl Fn(u64) -> bool) -> Option<(u64, bool)> {
        let mut suspicion = Suspicion::new(0);
        (0..600).find_map(|minute| Some((minute, suspicion.lasts(found(minute), minute * 60_000)?)))
    }

    #[test]
    fn it_lasts_where_most_looks_find_it() {
        assert_eq!(decided(|_| true), Some((120, true)));
        assert_eq!(decided(|minute| minute % 5 != 1), Some((120, true)));
        // The last look of all must find it, too.
        assert_eq!(decided(|minute| !(100..130).contains(&minute)), Some((130, true)));
        assert_eq!(decided(|minute| minute == 0), Some((120, false)));
        assert_eq!(decided(|minute| minute % 2 == 0), Some((120, true)), "61 of 121");
        assert_eq!(decided(|minute| minute % 3 == 0), Some((120, false)));
        // What is gone for good has passed by and by.
        assert_eq!(decided(|minute| minute < 100), Some((199, false)));
    }
}
