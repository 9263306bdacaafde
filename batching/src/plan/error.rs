//! Why there is no plan.

use crate::policy::PolicyError;

/// Why there is no plan. Nothing has happened yet.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// The policy itself cannot be meant.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// A rule names a label key no target has.
    #[error("{rule}: no target has a label `{key}`; the fleet's keys are: {}", if known.is_empty() { "none".to_owned() } else { known.join(", ") })]
    UnknownKey {
        /// The rule.
        rule: String,
        /// The key.
        key: String,
        /// The keys there are.
        known: Vec<String>,
    },
    /// Nobody could start: of every set more targets are unhealthy than may be unavailable, and there is no exception for fixes.
    /// This is the first such set.
    #[error(
        "{rule}: {unhealthy} of {size} targets of {set} are unhealthy, and at most {cap} may be unavailable; nobody of the fleet could start for as long as that is so; allow {unhealthy}, or let fixes in with fix_in_flight_per_app: 1"
    )]
    Overdrawn {
        /// The rule.
        rule: String,
        /// The application, label value or fleet.
        set: String,
        /// Its unhealthy targets.
        unhealthy: u32,
        /// Its targets.
        size: u32,
        /// The cap.
        cap: u32,
    },
    /// A rule for somebody whom the fleet does not have. A repaired plan may have it: they may be gone.
    #[error("{rule}: no target of the fleet is of {what}; mend the name, or leave the rule out")]
    Nobody {
        /// The rule.
        rule: String,
        /// Whom it is for.
        what: String,
    },
    /// Ready capacity is capped, but nobody carries any load.
    #[error(
        "ready_capacity_headroom: no target of the fleet has a load; give the targets' loads and capacities, or leave the rule out"
    )]
    NoLoad,
    /// An application that cannot spare its largest target even when all are well.
    #[error(
        "ready_capacity_headroom: application `{app}` needs {needed}, and without its largest target ({largest}) only {left} is left: that target could never change; {change}"
    )]
    NoCapacityToSpare {
        /// The application.
        app: String,
        /// What must be left: its load and the headroom.
        needed: u64,
        /// The capacity of its largest target.
        largest: u64,
        /// The capacity of all others.
        left: u64,
        /// The smallest change that helps.
        change: String,
    },
}
