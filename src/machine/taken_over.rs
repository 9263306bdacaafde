//! Targets that somebody else has taken over while the change was at them.

use std::collections::BTreeSet;

use unattended_batching::TargetIndex;
use unattended_upgrade::{Receipt, Terminal};

use crate::Severity;
use crate::notice::Matter;

use super::{Course, Machine};

/// One or two may have been taken over by somebody's hand; who takes so many over acts on the whole of it.
const MANY: u64 = 3;
/// Of so many attempts that end well or are lost since the first was, one is lost.
const ONE_IN: u64 = 5;

/// Whom this run has lost to others.
#[derive(Debug, Default)]
pub(super) struct TakenOver {
    open: BTreeSet<TargetIndex>,
    /// Whom it ever was: those that the other has brought to the new version are found there at the next try.
    ever: BTreeSet<TargetIndex>,
    /// Attempts at others that have ended well since the first was lost.
    done: u64,
}

impl Machine {
    pub(super) fn note_taken_over(&mut self, target: TargetIndex, receipt: &Receipt) {
        let others = &mut self.taken_over;
        match receipt.terminal {
            Terminal::Superseded => {
                others.open.insert(target);
                others.ever.insert(target);
            }
            Terminal::Done | Terminal::Gone => {
                others.open.remove(&target);
                let of_its_own = receipt.terminal == Terminal::Done && !others.ever.contains(&target);
                others.done += u64::from(of_its_own && !others.ever.is_empty());
            }
            _ => {}
        }
    }

    /// A later run tries again: the other may have been ended meanwhile.
    pub(super) fn forget_taken_over(&mut self) {
        self.taken_over = TakenOver::default();
    }

    /// How many, and one of them, where another controller acts on what this one is to change. Who goes back goes on: there each target
    /// that is still this change's own counts.
    pub(crate) fn taken_over_by_others(&self) -> Option<(u64, String)> {
        let (others, lost) = (&self.taken_over, self.taken_over.ever.len() as u64);
        let first = *others.ever.first()?;
        let acts =
            self.decides_by(7) && self.course == Course::Forward && lost >= MANY && lost * ONE_IN >= lost + others.done;
        acts.then(|| (lost, self.name(first).to_owned()))
    }

    pub(super) fn matters_of_taken_over(&self, matters: &mut Vec<Matter>) {
        let Some(&first) = self.taken_over.open.first() else {
            return;
        };
        let (lost, name) = (self.taken_over.open.len(), self.name(first));
        let text = format!(
            "{lost} targets were taken over while the change was at them, {name} for one: they have taken orders of a later generation, \
             or run a version that is neither the one before nor the one wanted"
        );
        matters.push(Matter {
            otherwise: "each is tried again, and owed after its tries; where it is many of them, the run ends".to_owned(),
            remedy: "find out who else acts on them, and let one of the two go on; if nobody does, look at the clock of the controllers"
                .to_owned(),
            ..self.matter("targets.taken_over", Severity::Critical, text)
        });
    }
}
