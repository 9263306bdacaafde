//! Others who act on the same targets: above whose generations this run begins, and when it leaves the targets to them.

use crate::RunError;
use crate::generation::of_date;
use crate::input::Header;

use super::Run;

/// Since these decisions a change begins above whatever began before it.
const SINCE: u16 = 7;

impl Run {
    /// Targets remember the highest generation that they have had orders of, whoever's it was. So a change begins above the date at which
    /// it began, or above what its queue gives: both are written down, and a run that takes it up, or plays it again, finds the same.
    pub(super) fn begin_above_others(&mut self, header: &Header) -> Result<(), RunError> {
        if header.decisions < SINCE {
            return Ok(());
        }
        let turn = self.world.turn.as_ref();
        let generation = turn.map_or_else(|| of_date(header.began_unix_ms), |turn| turn());
        self.driver.begin_above(generation)?;
        Ok(())
    }

    /// Ends the run where another controller has taken its targets over: whatever else it did would be beside that one.
    pub(super) fn leave_to_others(&self) -> Result<(), RunError> {
        match self.with(|machine| machine.taken_over_by_others())? {
            Some((targets, target)) => Err(RunError::TakenOver { targets, target }),
            None => Ok(()),
        }
    }
}
