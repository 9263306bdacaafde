//! Where this build decides otherwise than the one that wrote the journal.

use crate::input::Decided;

use super::Machine;

/// Where a journal that is played again has other decisions than this build makes.
#[derive(Debug, Default)]
pub(super) struct Differs {
    /// Since the last run took it up.
    from_ms: Option<u64>,
    /// What was said of it.
    pub(super) told: Option<String>,
}

impl Machine {
    /// As [`take_decided`](Self::take_decided), for a journal that says what was decided then.
    pub(crate) fn decided_again(&mut self, then: &Decided) -> Option<Decided> {
        let now = self.take_decided();
        if now.as_ref() != Some(then) {
            self.differs.from_ms.get_or_insert(then.at_ms);
        }
        now
    }

    /// Another run takes up what the machine, as it is in this build, would have decided otherwise.
    pub(super) fn say_what_differs(&mut self) {
        let Some(at_ms) = self.differs.from_ms.take() else {
            return;
        };
        let after = at_ms.saturating_sub(self.setup.header.began_ms) / 60_000;
        let text = format!(
            "this build decides otherwise than the one that wrote the journal, from {after} min after the beginning on: what was done \
             stays, and the change goes on by what this build decides"
        );
        self.differs.told = Some(text.clone());
        let otherwise = "the build that wrote the journal would have gone on as it began".to_owned();
        self.decide_text("decisions.differ", text, Some(otherwise));
    }

    /// Whether the change began with the decisions of this version, or later ones.
    pub(super) const fn decides_by(&self, version: u16) -> bool {
        self.setup.header.decisions >= version
    }
}
