//! At L2 a person confirms each batch.

use crate::QuestionKind;
use crate::level::Act;

use super::{Commands, Machine};

impl Machine {
    /// Whether a person confirms each batch: below, each target is asked for; above, nothing.
    pub(super) fn confirms_batches(&self) -> bool {
        self.may(Act::Start) && !self.may(Act::Batch)
    }

    /// Whether a lane may open its part of a batch; if not, a person is asked for all of it.
    pub(super) fn may_open(&mut self, batch: u16, targets: u32) -> bool {
        if !self.confirms_batches() {
            // Who comes to this level keeps what is open, each lane its own: that one lane is far ahead is no word for the others. It was, in
            // earlier versions.
            let begun = if self.decides_by(7) { 0 } else { batch };
            self.autonomy.confirmed = self.autonomy.confirmed.max(Some(begun));
            return true;
        }
        if self.autonomy.confirmed >= Some(batch) {
            return true;
        }
        let (lowest, lanes, sum) = self.autonomy.wanted.unwrap_or((batch, 0, 0));
        self.autonomy.wanted = Some(match batch.cmp(&lowest) {
            std::cmp::Ordering::Less => (batch, 1, u64::from(targets)),
            std::cmp::Ordering::Equal => (batch, lanes + 1, sum + u64::from(targets)),
            std::cmp::Ordering::Greater => (lowest, lanes, sum),
        });
        false
    }

    /// Asks for the batch that lanes could open now.
    pub(super) fn ask_for_batch(&mut self, commands: &mut Commands) {
        if self.confirms_batches() && self.autonomy.confirmed.is_none() {
            self.autonomy.wanted = Some((0, self.lanes.len() as u64, self.size_of_batch(0)));
        }
        if self.decides_by(5) && self.questions.has(QuestionKind::NextBatch) {
            let is_lower = |wanted: u16| self.autonomy.asked.is_some_and(|asked| wanted < asked);
            if self.asked_is_ahead() && !self.autonomy.wanted.is_some_and(|(batch, ..)| is_lower(batch)) {
                return;
            }
            // An answer is about the batch that was named, and each is named before those behind it.
            self.questions.close(QuestionKind::NextBatch);
        }
        let Some((batch, lanes, targets)) = self.autonomy.wanted else {
            self.questions.close(QuestionKind::NextBatch);
            return;
        };
        if batch > 0 && self.questions.has(QuestionKind::NextBatch) {
            return;
        }
        self.autonomy.asked = Some(batch);
        let evidence = libm::exp(self.judge.ln_e().min(700.0));
        let text = if batch == 0 {
            format!("begin with the first batch, {targets} targets?")
        } else {
            format!(
                "{} may go on to batch {batch} of {}, with {targets} of its {} targets so far; {} run {}, and evidence \
                 against it is {evidence:.1} of {:.0}: open batch {batch}?",
                self.so_many(lanes, "lane"),
                self.tables.classes[0].cumulative.len().saturating_sub(1),
                self.size_of_batch(batch),
                self.exposed,
                self.setup.change.to,
                1.0 / self.setup.change.settings.alpha,
            )
        };
        self.ask(
            QuestionKind::NextBatch,
            text,
            "open batches are finished, and no other is opened".to_owned(),
            commands,
        );
    }

    /// Whether the batch that was asked for is still to be opened for some lane, now or when evidence and rest let it: until then its question
    /// stays, or it would come and go with them.
    fn asked_is_ahead(&self) -> bool {
        let Some(asked) = self.autonomy.asked.filter(|_| self.confirms_batches()) else {
            return false;
        };
        if self.autonomy.confirmed >= Some(asked) {
            return false;
        }
        // The first is open to every lane from the beginning.
        asked == 0
            || (0..self.lanes.len())
                .filter(|&lane| !self.lanes[lane].is_finished())
                .any(|lane| {
                    let next = self.tables.slices[lane].get(self.next_slice(lane));
                    next.is_some_and(|next| next.batch <= asked && Some(next.batch) > self.autonomy.confirmed)
                })
    }

    /// A scan of all lanes begins.
    pub(super) const fn forget_wanted(&mut self) {
        self.autonomy.wanted = None;
    }

    /// A person confirmed the batch that was asked for.
    pub(super) fn confirm_batch(&mut self) {
        let wanted = self.autonomy.wanted.take().map(|(batch, ..)| batch);
        let confirmed = if self.decides_by(5) {
            self.autonomy.asked.take()
        } else {
            wanted
        };
        if let Some(batch) = confirmed {
            self.autonomy.confirmed = self.autonomy.confirmed.max(Some(batch));
        }
        self.scan_due = true;
    }

    fn size_of_batch(&self, batch: u16) -> u64 {
        let fleet = &self.tables.classes[0].cumulative;
        let upto = |batch: usize| fleet.get(batch).copied().unwrap_or(0);
        let before = usize::from(batch).checked_sub(1).map_or(0, upto);
        u64::from(upto(usize::from(batch)) - before)
    }
}
