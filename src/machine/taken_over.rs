//! Targets that somebody else has taken over while the change was at them.

use std::collections::BTreeSet;

use unattended_batching::TargetIndex;
use unattended_upgrade::{Receipt, Terminal};

use crate::Severity;
use crate::notice::Matter;

use super::{Course, Machine};

/// One or two may have been taken over by somebody's hand; who takes so many over acts on the whole of it.
const MANY: u64 = 3;

/// Whom this run has lost to others.
#[derive(Debug, Default)]
pub(super) struct TakenOver {
    targets: BTreeSet<TargetIndex>,
    /// Attempts that have ended well since the first was lost.
    done: u64,
}

impl Machine {
    pub(super) fn note_taken_over(&mut self, target: TargetIndex, receipt: &Receipt) {
        let others = &mut self.taken_over;
        match receipt.terminal {
            Terminal::Superseded => {
                others.targets.insert(target);
            }
            Terminal::Done => {
                others.targets.remove(&target);
                others.done += 1;
            }
            Terminal::Gone => {
                others.targets.remove(&target);
            }
            _ => {}
        }
        if others.targets.is_empty() {
            others.done = 0;
        }
    }

    /// A later run tries again: the other may have been ended meanwhile.
    pub(super) fn forget_taken_over(&mut self) {
        self.taken_over = TakenOver::default();
    }

    /// How many, and one of them, where another controller acts on what this one is to change. Who goes back goes on: there each target
    /// that is still this change's own counts.
    pub(crate) fn taken_over_by_others(&self) -> Option<(u64, String)> {
        let (others, lost) = (&self.taken_over, self.taken_over.targets.len() as u64);
        let first = *others.targets.first()?;
        let acts = self.decides_by(7) && self.course == Course::Forward && lost >= MANY && lost >= others.done;
        acts.then(|| (lost, self.name(first).to_owned()))
    }

    pub(super) fn matters_of_taken_over(&self, matters: &mut Vec<Matter>) {
        let Some(&first) = self.taken_over.targets.first() else {
            return;
        };
        let (lost, name) = (self.taken_over.targets.len(), self.name(first));
        let text = format!(
            "{lost} targets were taken over while the change was at them, {name} for one: they have taken orders of a later generation, \
             or run a version that is neither the one before nor the one wanted"
        );
        matters.push(Matter {
            otherwise: "each is tried again, and owed after its tries; where it is most of them, the run ends".to_owned(),
            remedy: "find out who else acts on them, and let one of the two go on; if nobody does, look at the clock of the controllers"
                .to_owned(),
            ..self.matter("targets.taken_over", Severity::Critical, text)
        });
    }
}
