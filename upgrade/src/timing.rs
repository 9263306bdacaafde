use serde::{Deserialize, Serialize};

use crate::{Mode, Step};

/// How long each step may take, in milliseconds, and how often things are tried.
///
/// A budget starts when the platform has taken the step's order, so a withheld permit costs none of it; or when the platform
/// first puts that order off, and then an order that is put off after the deadline counts as not taken. It is
/// compared at looks and at those answers only: a step ends at the first look at or after its deadline that does not show
/// what it waits for. The defaults are starting values, not measured optima.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Timing {
    /// To learn what a target runs before it is touched. Default 60 s.
    pub preflight_ms: u64,
    /// Until a closing of ingress is seen. Default 10 s.
    pub close_ms: u64,
    /// For connections to end by themselves; then they are cut and counted. Default 30 s, hard.
    pub drain_ms: u64,
    /// Until the ordered version is seen running where only the sidecar restarts: a stop with its grace, and a start.
    /// Default 90 s.
    pub replace_ms: u64,
    /// The same where the application restarts with it. Default 20 minutes: cold starts have long tails, and giving one
    /// up too early costs a second one. As long again until what is up has started.
    pub recreate_ms: u64,
    /// Until the consecutive good looks are complete; in a cold upgrade that may take [`recreate_ms`](Self::recreate_ms).
    /// Default 60 s.
    pub verify_ms: u64,
    /// Until an opening of ingress is seen; then it is ordered anew. Default 60 s.
    pub open_ms: u64,
    /// Quiet time after a cold upgrade. Default 30 s.
    pub cold_probation_ms: u64,
    /// Quiet time after a warm upgrade. Default 60 s.
    pub warm_probation_ms: u64,
    /// Hot: until the new instance is seen running in its slot, fetching included. Default 6 minutes.
    pub spawn_ms: u64,
    /// Hot: until the new instance holds the listeners and is ready. Default 75 s.
    pub offer_ms: u64,
    /// Hot: until the new instance is seen polling. Default 5 s.
    pub join_ms: u64,
    /// Hot: to believe the new instance while both accept. Default 30 s.
    pub prove_ms: u64,
    /// Hot: connections the new instance should have accepted before it is believed; a target on which so many do not
    /// come is believed at the end of [`prove_ms`](Self::prove_ms) by its looks alone. Default 1.
    pub prove_accepts: u64,
    /// Hot: until the old instance is seen not polling. Default 5 s.
    pub quiesce_ms: u64,
    /// Hot: for connections to move or to end; then they are cut and counted. Default 90 s, hard.
    pub migrate_ms: u64,
    /// Hot: until the new instance is seen committed. Default 5 s.
    pub commit_ms: u64,
    /// Hot: until the old instance has left by itself; then it is ended. Default 12 s.
    pub retire_ms: u64,
    /// Hot: until an instance that was told to end is gone, and until a slot is seen empty. Default 60 s.
    pub reset_ms: u64,
    /// Hot: for connections to move back; then they are cut and counted. Default 60 s, hard.
    pub return_ms: u64,
    /// Hot: how long the session may be lost before the attempt turns back. Default 2 s.
    pub session_ms: u64,
    /// Config: until the pushed version is acknowledged. Default 30 s.
    pub push_ms: u64,
    /// Quiet time after a change of configuration. Default 60 s.
    pub config_probation_ms: u64,
    /// Looks during a quiet probation, evenly spread. Default 3.
    pub probation_looks: u8,
    /// Consecutive good looks at one instance that verify it. Default 3.
    pub good_looks: u8,
    /// How long a target may be out of sight, in a row, before a person is asked; a restart of the controller begins it
    /// anew. Default 1 hour.
    pub blind_ms: u64,
    /// Times one step is asked for again before it counts as failed. Default 5.
    pub max_tries: u8,
    /// First wait before asking again; doubles each time, with jitter. Default 1 s.
    pub backoff_ms: u64,
    /// Recoveries of one step before a person is needed. Default 3.
    pub max_recoveries: u8,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            preflight_ms: 60_000,
            close_ms: 10_000,
            drain_ms: 30_000,
            replace_ms: 90_000,
            recreate_ms: 20 * 60_000,
            verify_ms: 60_000,
            open_ms: 60_000,
            cold_probation_ms: 30_000,
            warm_probation_ms: 60_000,
            spawn_ms: 6 * 60_000,
            offer_ms: 75_000,
            join_ms: 5_000,
            prove_ms: 30_000,
            prove_accepts: 1,
            quiesce_ms: 5_000,
            migrate_ms: 90_000,
            commit_ms: 5_000,
            retire_ms: 12_000,
            reset_ms: 60_000,
            return_ms: 60_000,
            session_ms: 2_000,
            push_ms: 30_000,
            config_probation_ms: 60_000,
            probation_looks: 3,
            good_looks: 3,
            blind_ms: 3_600_000,
            max_tries: 5,
            backoff_ms: 1_000,
            max_recoveries: 3,
        }
    }
}

/// The longest time any budget may be: thirty days.
const LONGEST_MS: u64 = 30 * 24 * 3_600_000;

/// A value of [`Timing`] or of the driver's configuration is out of its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` is {found}: give a value from {least} to {most}")]
#[non_exhaustive]
pub struct ConfigError {
    /// The field.
    pub field: &'static str,
    /// Its value.
    pub found: u64,
    /// The least it may be.
    pub least: u64,
    /// The most it may be.
    pub most: u64,
}

pub(crate) const fn within(field: &'static str, found: u64, least: u64, most: u64) -> Result<(), ConfigError> {
    if found < least || found > most {
        return Err(ConfigError {
            field,
            found,
            least,
            most,
        });
    }
    Ok(())
}

impl Timing {
    /// Checks that every value is in its range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        for (field, ms) in [
            ("preflight_ms", self.preflight_ms),
            ("close_ms", self.close_ms),
            ("drain_ms", self.drain_ms),
            ("replace_ms", self.replace_ms),
            ("recreate_ms", self.recreate_ms),
            ("verify_ms", self.verify_ms),
            ("open_ms", self.open_ms),
            ("backoff_ms", self.backoff_ms),
            ("spawn_ms", self.spawn_ms),
            ("offer_ms", self.offer_ms),
            ("join_ms", self.join_ms),
            ("prove_ms", self.prove_ms),
            ("quiesce_ms", self.quiesce_ms),
            ("migrate_ms", self.migrate_ms),
            ("commit_ms", self.commit_ms),
            ("retire_ms", self.retire_ms),
            ("reset_ms", self.reset_ms),
            ("return_ms", self.return_ms),
            ("session_ms", self.session_ms),
            ("push_ms", self.push_ms),
            ("blind_ms", self.blind_ms),
        ] {
            within(field, ms, 1, LONGEST_MS)?;
        }
        within("cold_probation_ms", self.cold_probation_ms, 0, LONGEST_MS)?;
        within("warm_probation_ms", self.warm_probation_ms, 0, LONGEST_MS)?;
        within("config_probation_ms", self.config_probation_ms, 0, LONGEST_MS)?;
        within("prove_accepts", self.prove_accepts, 0, 1 << 32)?;
        within("probation_looks", self.probation_looks.into(), 1, 100)?;
        within("good_looks", self.good_looks.into(), 1, 100)?;
        within("max_tries", self.max_tries.into(), 1, 20)?;
        within("max_recoveries", self.max_recoveries.into(), 1, 20)
    }

    /// How long a step may take in a mode, as the driver's default or the caller says.
    pub const fn budget_ms(&self, step: Step, mode: Mode) -> u64 {
        match step {
            Step::Planned | Step::Prefetching | Step::Recovering => self.preflight_ms,
            Step::Closing | Step::Reclosing => self.close_ms,
            Step::Draining | Step::Redraining => self.drain_ms,
            Step::Replacing | Step::Restoring => match mode {
                Mode::Cold => self.recreate_ms,
                Mode::Hot => self.spawn_ms,
                Mode::Warm | Mode::Config => self.replace_ms,
            },
            Step::Spawning => self.spawn_ms,
            Step::Offering => self.offer_ms,
            Step::Joining => self.join_ms,
            Step::Proving => self.prove_ms,
            Step::Quiescing => self.quiesce_ms,
            Step::Migrating => self.migrate_ms,
            Step::Committing => self.commit_ms,
            Step::Retiring => self.retire_ms,
            Step::Stopping | Step::Resetting | Step::Clearing => self.reset_ms,
            Step::Returning => self.return_ms,
            Step::Pushing | Step::Reverting => self.push_ms,
            Step::Verifying | Step::VerifyingOld => match mode {
                // A process that is up may still be starting cold.
                Mode::Cold => self.recreate_ms,
                Mode::Warm | Mode::Hot | Mode::Config => self.verify_ms,
            },
            Step::Opening | Step::Reopening => self.open_ms,
            Step::Probation => self.probation_ms(mode) + self.verify_ms,
        }
    }

    /// The quiet time after an upgrade.
    pub(crate) const fn probation_ms(&self, mode: Mode) -> u64 {
        match mode {
            Mode::Cold => self.cold_probation_ms,
            Mode::Warm | Mode::Hot => self.warm_probation_ms,
            Mode::Config => self.config_probation_ms,
        }
    }

    /// The time a closed ingress is left to the platform's own watchdog: all that may lie between a closing and the
    /// reopening, the way back included, and a tenth more.
    pub const fn reopen_after_ms(&self) -> u64 {
        let ways = 2 * (self.replace_ms + self.verify_ms);
        let all = self.close_ms + self.drain_ms + ways + self.open_ms;
        all + all / 10
    }
}
