//! Not Debian's unattended-upgrades: this crate changes the version that one target runs, at many targets at once,
//! so that a crash of the controller at any instruction loses nothing.
//!
//! It decides neither which targets to change nor whether a version is good for the business; it has no runtime, no
//! clock of its own and no orchestrator: those are traits ([`Platform`], [`Journal`], [`Clock`]).
//!
//! ```
//! # use std::sync::Arc;
//! # use unattended_upgrade::*;
//! # struct Still;
//! # #[async_trait::async_trait]
//! # impl Clock for Still {
//! #     fn now(&self) -> u64 { 0 }
//! #     fn wall(&self) -> i64 { 0 }
//! #     async fn sleep_until(&self, _: u64) {}
//! # }
//! struct Pods; // an orchestrator where every pod runs "1.9.2" already
//!
//! #[async_trait::async_trait]
//! impl Platform for Pods {
//!     fn capabilities(&self) -> Capabilities {
//!         Capabilities::none()
//!     }
//!     async fn observe(&self, targets: &[TargetId]) -> Result<Vec<Observation>, PlatformError> {
//!         let seen = Observation {
//!             phase: Phase::Running,
//!             version: Some("1.9.2".into()),
//!             instance: Some(InstanceId(1)),
//!             ready: true,
//!             self_check: SelfCheck::Passed,
//!             ingress: Ingress::Open,
//!             active: Some(0),
//!             pair: None,
//!             config: None,
//!         };
//!         Ok(vec![seen; targets.len()])
//!     }
//!     async fn replace(&self, _: &TargetId, _: &Version, _: &EffectKey) -> EffectOutcome {
//!         EffectOutcome::Applied
//!     }
//! }
//!
//! # let clock = Arc::new(Still);
//! # futures::executor::block_on(async {
//! let journal = Arc::new(MemoryJournal::new());
//! let mut driver = Driver::new(Arc::new(Pods), journal, clock, DriverConfig::new())?;
//! driver.submit(Job::new("pod-1", "1.9.1", "1.9.2", Mode::Cold))?;
//! let turn = driver.turn(&mut |_key| true).await?;
//! assert_eq!(turn.finished[0].terminal, Terminal::Done);
//! driver.attend(None).await; // and then the next turn, while `driver.outstanding() > 0`
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! ```text
//!  Job ──► Driver ──► Machine (pure) ──► Command: look | effect | end
//!            ▲            ▲                    │
//!            │            │ Event: what was seen, what an effect was answered
//!            │            └────────────────────┤
//!            │      1 append intents and ends ─┼──► Journal
//!            │      2 ask the permit           │
//!            │      3 send the effects ────────┴──► Platform ◄── observe, in bulk
//!            └──► Receipt, one per attempt
//!
//!  cold:  prefetch ► replace ► verify ► probation ► done
//!  warm:  prefetch ► close ► drain ► replace ► verify ► open ► probation ► done
//!  back:  (close ► drain ►) restore ► verify old (► open) ► rolled back
//!
//!  hot:   prefetch ► spawn ► offer ► join ► prove ► quiesce ► migrate ► commit ► retire ► reset ► verify ► done
//!  back:  return ► clear ► verify old ► rolled back
//!  config: push ► verify ► probation ► done          back:  revert ► verify old ► rolled back
//! ```
//!
//! # Guarantees
//!
//! - No effect is sent before its intent is durable; each carries a key that makes it idempotent.
//! - A generation per target only grows; recovery takes a new one, fences the old, *looks*, and only then acts.
//!   A driver over another journal at the same targets begins above ([`DriverConfig::first_generation`], [`Driver::begin_above`]).
//! - Turning back is for good: no forward effect follows it. Every attempt that is permitted to act ends, with exactly one
//!   [`Receipt`].
//! - Ingress is opened only onto a verified instance, and an end that may leave it closed is
//!   [`Terminal::NeedsPerson`], which says so. A closing carries the time at which the platform reopens by itself.
//! - What cannot be seen is not a pass: an untold self-check never verifies, and a platform that cannot be
//!   observed decides nothing but that a person is asked at last.
//! - A call that never returns holds up whoever shares a look with its target for no longer than a few
//!   [`DriverConfig::call_ms`], until that target is looked at alone; from the target's second call on it holds up nobody
//!   else at all. After its deadline it is given up as one that may have happened: the next look and the same key settle
//!   what became of it. A target that stays out of sight for [`Timing::blind_ms`] ends as [`Terminal::NeedsPerson`]. A
//!   journal that does not answer stops everything, and says so.
//! - The same inputs give the same effects in the same order and the same journal bytes.
//! - Hot: unless a process dies, somebody accepts at every instant; there is a way back until the old instance has left.
//!
//! They hold in an exhaustive exploration of every mode ([`explore`](mod@explore), which lists the invariants and what is
//! wrong without each rule) and under a kill at every await of the driver; both are among this crate's tests, on the
//! very [`Machine`] that is shipped.
//!
//! # Limits
//!
//! - Hot says when which agent does what; the agents, which pass listeners and connections, are not here.
//! - The exploration knows one target, one connection, and up to three faults on one way; time in it is abstract.
//! - Where a platform has no [`Capabilities::barrier`], closing ingress is believed when the platform shows it, and where it
//!   has no [`Capabilities::probe`], an instance is what a look says of it.
//! - A look that the platform answers for a target is a snapshot: outages are measured as coarsely as looks are apart.
//! - Without [`Capabilities::fence`] two controllers at one fleet are not kept apart.

mod choice;
mod clock;
mod compaction;
mod config;
pub mod conformance;
mod driver;
pub mod explore;
mod hash;
mod history;
mod ids;
mod journal;
mod machine;
mod memory;
mod mode;
mod observation;
mod platform;
mod receipt;
mod record;
mod shared;
mod timing;
mod wire;

pub use choice::{Facts, ModeChoice, ModeError, Refusal, Wanted, choose_mode};
pub use clock::Clock;
pub use compaction::{Compaction, compact, read_journal};
pub use config::{DriverConfig, Job, SubmitError};
pub use driver::{Cancelled, Driver, DriverError, DropReason, Dropped, JournalReader, Turn};
pub use history::{Describer, Description};
pub use ids::{AttemptId, EffectKey, Generation, GroupName, InstanceId, TargetId, Version};
pub use journal::{Group, Journal, JournalError, Position, Record, Snapshot, Stream};
pub use machine::{Command, Effect, Event, Machine, Plan, Remembered, Which};
pub use memory::MemoryJournal;
pub use mode::Mode;
pub use observation::{ConfigSeen, Ingress, Moves, Observation, Pair, Pauses, Phase, SelfCheck, SlotSeen};
pub use platform::{
    Barrier, Capabilities, EffectOutcome, FleetChange, HandoverOrder, IngressOrder, News, Platform, PlatformError,
    Probe, WayBack,
};
pub use receipt::{Counts, Reason, Receipt, Serving, Step, Terminal};
pub use record::{RecordError, SoFar, Told, UpgradeRecord};
pub use timing::{ConfigError, Timing};
pub use wire::LONGEST_TEXT;
