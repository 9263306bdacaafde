//! A deterministic fleet on virtual time: faults, traffic, births and deaths from one seed.
//!
//! It is no model to predict a particular fleet with, and no load generator: it is a world in which controllers are tried out, whose
//! every bad day can be lived through again.
//!
//! ```
//! use unattended_simulated::{InitialState, ReleaseSpec, SimConfig, SimTarget, Simulated};
//! use unattended_upgrade::{AttemptId, Clock, EffectKey, Generation, Platform, TargetId};
//!
//! let pod = SimTarget { id: "pay-0".into(), app: "pay".into(), labels: vec![], state: InitialState::Healthy };
//! let config = SimConfig { targets: vec![pod], release: ReleaseSpec::parse("errors=x5")?, ..SimConfig::default() };
//! let new = config.new.clone();
//! let (sim, target) = (Simulated::new(config)?, TargetId::from("pay-0"));
//! let key = EffectKey { attempt: AttemptId(1), generation: Generation(1), step: 0, ordinal: 0 };
//! sim.executor().run(async {
//!     sim.replace(&target, &new, &key).await;
//!     sim.clock().sleep_until(20 * 60_000).await; // takes no time
//! })?;
//! assert_eq!(sim.census().on_new_verified, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! ```text
//!  inventory ─┐                 ┌─► Platform      observe, replace, ingress, watch ... with faults at every boundary
//!  World JSON ┼─► Simulated ────┼─► MetricSource  rows per stratum, interval and arm; history
//!  release ───┤   one seed      ├─► SimClock, Executor   polls until stalled, jumps to the next timer
//!  seed ──────┘      ▲          ├─► Healer        isolate, readmit, restart, replace, with the same faults
//!                    │          └─► Census, digest       what an honest look says
//!                    └── log: survives a kill of the process
//! ```
//!
//! # Metrics
//!
//! By index: 0 errors, 1 slow (requests slower than their application's bound), 2 restarts, 3 self_test (synthetic requests that each
//! instance sends through itself, where there is traffic and where there is none). An interval ends at a virtual time, as [`SimClock`]
//! tells it; wall time is for people.
//!
//! # Guarantees
//!
//! - The same configuration and the same sequence of calls give the same bytes. What happens by itself (restarts, deaths, incidents)
//!   is a function of seed, time and size of the fleet alone: two controllers with one seed live through the same day.
//! - An effect is in the log before it is answered, or with [`SimConfig::log_in_groups`] at the next [`Simulated::flush`]. A world continued from its log is, at the time of the last entry, the world that was
//!   killed; a key is never applied twice, across any number of kills.
//! - The fleet keeps its size: each death is followed at once by a birth with the same application and labels, which runs what
//!   [`Simulated::on_birth`] says.
//! - Counts are drawn per stratum, interval, metric and arm, from a key of exactly these: no count depends on who asked before.
//!
//! # Limits
//!
//! - Calls come from one thread at a time, by one controller. Everything is in memory: about 150 bytes per target.
//! - Rows show the members as they stand when the interval is read, at its end; only fresh instances are measured by the
//!   millisecond. The targets of a stratum are taken to be of one application and one zone (those of the first that was followed).
//! - An interval that is read again after the process was killed is drawn anew for the members of that moment; within a process the last one
//!   is given again as it was.
//! - The log is handed to the operating system, not synced to the disk: it survives a kill of the process, not of the machine.

mod bad_nodes;
mod births;
mod clock;
mod draw;
mod effects;
mod events;
mod executor;
mod exposure;
mod fault;
mod fleet;
mod harm;
mod healing;
mod history;
mod index;
mod log;
mod metrics;
mod nearest;
mod platform;
mod population;
mod replay;
mod samples;
mod simulated;
mod spec;
mod strata;
mod twins;
mod weather;
mod world;

pub use clock::SimClock;
pub use executor::{Executor, Stalled};
pub use fault::Fault;
pub use harm::{FullRollout, Shift};
pub use log::LogError;
pub use simulated::{Census, InitialState, Newborn, SimConfig, SimError, SimTarget, Simulated};
pub use spec::{ReleaseSpec, SpecError};
pub use world::{World, WorldError, WorldFileError};
