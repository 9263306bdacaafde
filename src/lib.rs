//! Change a very large fleet while nobody watches: the autopilot that composes planning, admission, upgrade and
//! judgement.
//!
//! It is not an orchestrator and not a deployment tool of its own: it drives the platform you have, through a
//! [`Platform`](upgrade::Platform) that you implement. And it is not a dashboard: it decides, and explains.
//!
//! ```
//! # use std::sync::Arc;
//! # use unattended::{batching::Fleet, defense::Guard, health::*, upgrade::*};
//! # use unattended::{Actor, Autopilot, Change, Level, Notice, Notifier};
//! # struct MyFleet; struct MyMetrics; struct MyClock; struct MyPager;
//! # #[async_trait::async_trait]
//! # impl Platform for MyFleet {
//! #     fn capabilities(&self) -> Capabilities { Capabilities::none().with_fence() }
//! #     async fn observe(&self, _: &[TargetId]) -> Result<Vec<Observation>, PlatformError> { Ok(Vec::new()) }
//! #     async fn replace(&self, _: &TargetId, _: &Version, _: &EffectKey) -> EffectOutcome { EffectOutcome::Applied }
//! # }
//! # #[async_trait::async_trait]
//! # impl MetricSource for MyMetrics {
//! #     async fn follow(&self, _: &[Member]) -> Result<(), SourceError> { Ok(()) }
//! #     async fn history(&self) -> Result<Vec<History>, SourceError> { Ok(Vec::new()) }
//! #     async fn read(&self, _: u64, _: u64) -> Result<Interval, SourceError> { Ok(Interval::default()) }
//! # }
//! # #[async_trait::async_trait]
//! # impl Clock for MyClock {
//! #     fn now(&self) -> u64 { 0 }
//! #     fn wall(&self) -> i64 { 0 }
//! #     async fn sleep_until(&self, _: u64) {}
//! # }
//! # #[async_trait::async_trait]
//! # impl Notifier for MyPager { async fn notify(&self, _: &Notice) {} }
//! # mod tokio { pub fn spawn<F: Future + Send + 'static>(run: F) { Box::leak(Box::new(run)); } }
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let mut fleet = Fleet::builder();
//! # fleet.push("pay-1", "pay", [("zone", "a")], true)?;
//! # let (fleet, you) = (Arc::new(fleet.build()?), Actor::person("li", "MESH-192"));
//! let pilot = Autopilot::builder().platform(MyFleet).metrics(MyMetrics).journal(MemoryJournal::new()).clock(MyClock)
//!     .rules(Guard::empty()).notifier(MyPager).level(Level::L3).build()?; // a missing part is a compile error
//! let change = Change::new("mesh-1.9.2", you, "mesh:1.9.1".into(), "mesh:1.9.2".into(), fleet);
//! let (handle, run) = pilot.start(change)?; // planned and proved; nothing has happened yet
//! tokio::spawn(run);                        // any runtime: the future spawns nothing itself
//! handle.freeze(Actor::person("li", "INC-42"), "looks odd")?;
//! # Ok(())
//! # }
//! ```
//!
//! ```text
//!  platform: observe, news ──┐                         ┌──► starts and effects ──► platform
//!  metrics: intervals ───────┤   inputs      commands  │
//!  people: handle ───────────┼──► journal ──► machine ─┼──► notices ──► people
//!  time ─────────────────────┘   (durable)     │       └──► outcome
//!                                              └─► summary ──► report: page, text, JSON
//! ```
//!
//! Which release, and when, is for the [`train`]: from a commit over the canary fleet to production. Which of several changes may
//! begin beside the others is for the [`queue`].
//!
//! # Guarantees
//!
//! - The machine is a pure function of its inputs. The inputs are in the journal before anything that follows from them
//!   leaves the process, so a kill at any instruction loses nothing that was acted upon and repeats nothing.
//! - A stop needs the one statistic of the whole change to pass `1/α`, or the new version's own gate to refuse it. Going
//!   on needs evidence of safety of every class that grows.
//! - [`Handle::freeze`] takes hold at once, whatever the journal, the metrics or the rules do.
//! - A [`Level`] says whose word each step needs, a [`Budget`] how much is done without one, and a [`Grant`] who answers for
//!   it, and until when. None of them loosens anything: plan, rules and evidence are the same at every level.
//! - Before a change calls itself done it looks at every target.
//!
//! # Limits
//!
//! - An autopilot leads one change; a [`queue`] leads several beside each other. Modes cold, warm and hot.
//! - The journal is folded from its beginning at each start: about a second for a million records. It holds the fleet, so
//!   whoever has it can [`replay`] the change.
//! - A fleet of 300,000 targets takes some hundred megabytes.

mod around;
mod beside;
mod blueprint;
mod builder;
mod change;
mod decisions;
mod declared;
mod domains;
mod driver;
mod dump;
mod earned;
mod error;
mod events;
mod fold;
mod generation;
mod handle;
mod input;
mod leaving;
mod level;
mod machine;
mod notice;
mod outlook;
mod permit;
mod ports;
pub mod queue;
mod replay;
pub mod report;
mod router;
mod run_clock;
mod self_check;
mod settings;
mod shadow;
mod sizing;
mod summary;
pub mod train;
mod way_back;

pub use around::{Around, ChangeFeed, FeedError};
pub use builder::{Autopilot, Builder, Missing, Preview};
pub use change::{Actor, ActorKind, Change, Debt, Outcome};
pub use decisions::DECISIONS;
pub use dump::{DumpLine, dump};
pub use earned::{Demotion, Earned, Label, Labelled, Measured, Terms, TrackError, TrackRecord};
pub use error::{RunError, StartError};
pub use events::{ChangeEvent, CloudEvent, EVENT_SCHEMA, Events, Happened};
pub use handle::{Command, CommandError, Handle, Offer, Order, Progress};
pub use level::{Budget, Grant, GrantError, Level};
pub use machine::metrics;
pub use notice::{Briefing, NOTICE_SCHEMA, Notice, NoticeStage, Pulse, Severity, Telling};
pub use outlook::{LateBy, LateLane, LiveTraffic, Outlook, Pace};
pub use permit::{AlwaysPermit, FilePermit, Permit, PermitError};
pub use ports::{Notifier, Question, QuestionKind};
pub use replay::{Difference, Replay, WhatIf, replay};
pub use router::{Router, RouterError};
pub use self_check::self_check;
pub use settings::{OnClassFault, OnStop, Settings};
pub use shadow::{
    Disagreement, End, Ending, Event, RECORD_SCHEMA, RecordError, RecordedChange, RecordedTarget, Saved, Shadow,
    ShadowReport, Topic,
};
pub use sizing::{Expected, Shows, SizingError};
pub use summary::{
    AsideView, Ask, BatchView, ClassView, DecisionView, Evidence, EvidencePoint, Exposure, ExposurePoint, FaultView,
    HeldBy, HoldView, IsolationView, LanePoint, LaneView, MovesView, Next, ReceiptView, SUMMARY_SCHEMA, Summary,
};

pub use unattended_batching as batching;
pub use unattended_defense as defense;
pub use unattended_health as health;
pub use unattended_selfheal as selfheal;
pub use unattended_upgrade as upgrade;

/// The snippets of the README compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeDoctests;
