//! How many nodes may be out at once.

use super::{Detector, Phase, Row};

impl Detector {
    /// How many may be isolated, the ones that are included.
    ///
    /// Where the capacity of every node is known: as many as leave the rest below `max_load_share` of theirs. Where it
    /// is not: `max_isolated_share` of them. One of two or more may always go, and one always stays.
    pub(super) fn cap(&self) -> u32 {
        let members = self.members;
        let Some(most) = members.checked_sub(1).filter(|&most| most > 0) else {
            return 0;
        };
        let out = self.isolated();
        let allowed = match self.spare() {
            // Counted down while the isolated overload the rest; a further one is asked for by its own capacity.
            Some(spare) if spare < 0.0 => out.saturating_sub(1),
            Some(_) => most,
            None => share_of(members, self.policy.max_isolated_share),
        };
        allowed.clamp(1, most)
    }

    /// May this one go as well?
    pub(super) fn may_isolate(&self, row: &Row) -> bool {
        let out = self.isolated();
        if out >= self.cap() {
            return false;
        }
        // The first of two or more may go whatever the load.
        out == 0 || self.spare().is_none_or(|spare| spare >= self.carries(row))
    }

    /// Calls per second that the nodes in service could carry beyond the present load, within `max_load_share`. `None`
    /// if a capacity is not known.
    fn spare(&self) -> Option<f64> {
        if self.without_capacity > 0 {
            return None;
        }
        let rows = self.rows.iter().flatten();
        Some(rows.map(|row| self.carries(row) - f64::from(row.load)).sum())
    }

    fn carries(&self, row: &Row) -> f64 {
        if matches!(row.phase, Phase::Isolated { .. } | Phase::Probing) {
            return 0.0;
        }
        f64::from(row.capacity) * f64::from(row.weight_permille) / 1_000.0 * self.policy.max_load_share
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of a number of nodes; saturates"
)]
fn share_of(members: u32, share: f64) -> u32 {
    // Rounded down, but a half of four is two in any arithmetic.
    (f64::from(members) * share + 1e-9).floor() as u32
}
