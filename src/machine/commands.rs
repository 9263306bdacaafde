//! What the machine wants done.

use unattended_batching::TargetIndex;
use unattended_upgrade::{TargetId, Version};

use crate::{Notice, Outcome};

use super::heal::HealJob;

/// One command to the driver: bring this target to the new version, or back to the old one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Start {
    pub(crate) target: TargetIndex,
    pub(crate) direction: Direction,
}

/// Which way an attempt goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Forward,
    Back,
}

/// Everything the machine wants done after an input.
#[derive(Debug, Default)]
pub(crate) struct Commands {
    pub(crate) starts: Vec<Start>,
    /// Orders to heal, to be written down: they are carried out from [`Machine::heals_due`](super::Machine::heals_due).
    pub(crate) heals: Vec<HealJob>,
    pub(crate) notices: Vec<Notice>,
    /// Look at these: they should all run that version.
    pub(crate) check: Option<Check>,
    pub(crate) ended: Option<Outcome>,
}

impl Commands {
    /// Nothing is to be done outside.
    pub(crate) const fn is_quiet(&self) -> bool {
        self.starts.is_empty() && self.heals.is_empty() && self.notices.is_empty() && self.ended.is_none()
    }

    /// Does what the others want as well.
    pub(crate) fn extend(&mut self, more: Self) {
        self.starts.extend(more.starts);
        self.heals.extend(more.heals);
        self.notices.extend(more.notices);
        self.check = self.check.take().or(more.check);
        self.ended = self.ended.or(more.ended);
    }
}

/// Before the change calls itself done it compares what it believes with what is.
#[derive(Debug)]
pub(crate) struct Check {
    pub(crate) targets: Vec<TargetId>,
    pub(crate) version: Version,
    /// One of them that can be looked at is enough, whatever it runs: is anything seen at all?
    pub(crate) any: bool,
}
