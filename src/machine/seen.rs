//! How far the change has been seen: what the metric source has not shown yet lets nothing grow, and is no rest.

use crate::Severity;
use crate::notice::Matter;

use super::Machine;
use super::span::span;

impl Machine {
    /// Up to when metrics have been read; the interval that is not over yet counts, as nobody could have read it. Earlier versions took the
    /// time that had passed for it.
    pub(super) fn seen_until_ms(&self) -> u64 {
        if !self.decides_by(5) {
            return self.now_ms;
        }
        let (_, end_ms) = self.next_interval();
        self.now_ms.min(end_ms)
    }

    /// For how long the metric source has not shown what it could have.
    fn unseen_ms(&self) -> u64 {
        self.now_ms - self.seen_until_ms()
    }

    /// As long as one stage rests: a source that is later than that shows nothing of the present one.
    const fn longest_unseen_ms(&self) -> u64 {
        let settings = &self.setup.change.settings;
        settings.warm_up_ms + settings.bake_ms
    }

    /// The last that was seen is too old to grow on.
    pub(super) fn is_unseen(&self) -> bool {
        self.unseen_ms() > self.longest_unseen_ms()
    }

    /// Time passes. A controller that was away has not asked for what there is to be seen.
    pub(crate) fn comes_to(&mut self, now_ms: u64) {
        if now_ms.saturating_sub(self.now_ms) > self.longest_unseen_ms() {
            self.read_ms = now_ms;
        }
        self.now_ms = self.now_ms.max(now_ms);
    }

    /// People are told of it, once a source has had the time to show what it could while nobody asked.
    pub(super) fn matters_of_metrics(&self, matters: &mut Vec<Matter>) {
        let waits = self.now_ms.saturating_sub(self.read_ms) > self.longest_unseen_ms();
        if !waits || !self.is_unseen() || self.course != super::Course::Forward {
            return;
        }
        let text = format!("no metrics have come for {}", span(self.unseen_ms()));
        matters.push(Matter {
            otherwise: "nothing grows, and the change is not called done, until they do".to_owned(),
            remedy: "see to the metric source".to_owned(),
            ..self.matter("metrics.silent", Severity::Warning, text)
        });
    }
}
