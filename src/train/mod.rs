//! The release train: from a commit to the whole fleet, as one flow that drives itself.
//!
//! It builds nothing and changes no target itself: it orders builds from a CI that you have, and ordinary changes from the
//! autopilot, and it decides what goes on, from evidence and by rules.
//!
//! ```
//! use unattended::defense::{Guard, Scope};
//! use unattended::train::*;
//! use unattended::{Actor, Grant, Level, Telling};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let rules = "
//! version: 1
//! pack: qualification
//! owner: mesh-team
//! scope: {fleet: mesh}
//! facts: {soak_hours: number, safety_evidence: number}
//! rules:
//!   - {id: soaked, kind: condition, if: {fact: soak_hours, below: 4}, then: hold, reason: it must be seen first}
//!   - {id: safe, kind: condition, if: {fact: safety_evidence, below: 20}, then: hold, reason: no alarm is not healthy}
//! ";
//! let li = Actor::person("li", "release desk");
//! let mut train = Train::new(TrainConfig {
//!     owner: li.clone(),
//!     lines: vec![LineConfig {
//!         id: "mesh".into(),
//!         scope: Scope::new().label("fleet", "mesh"),
//!         timetable: Timetable { cadence: Cadence::Weekly, ..Timetable::default() },
//!         limits: Limits::default(),
//!         grant: Grant::new(Level::L4, li, 1_803_196_800_000)?, // until 21 February 2027
//!         budget: TrainBudget::default(),
//!         version: "mesh-1.9.1".to_owned(),
//!         head: 4_711,
//!     }],
//!     calendar: Guard::empty(),
//!     qualification: Guard::from_yaml("qualification.yaml", rules)?,
//!     telling: Telling::default(),
//!     began_unix_ms: 1_795_420_800_000,
//! })?;
//! let commit = Commit { id: "4be1a20".to_owned(), number: 4_712, at_unix_ms: 1_795_424_400_000 };
//! train.apply(&Input::Ci { line: "mesh".into(), commit, green: true })?;
//! train.apply(&Input::Tick(1_795_420_800_000 + 12 * 3_600_000))?; // 20:00: the day's nightly
//! let (number, command) = train.due().next().ok_or("nothing is due")?;
//! assert!(matches!(command, Command::Build(order) if order.commit == "4be1a20"));
//! train.apply(&Input::Done(number))?; // after it has been carried out
//! # Ok(())
//! # }
//! ```
//!
//! ```text
//!  CI: green commit ─► nightly built ─► canary fleet ─► soak ─► qualified ─► chosen ─► production
//!                        (each day)      (a change of          (rules over   (cadence,  (a change of
//!                                        the autopilot)         facts)        calendar)  the autopilot)
//!        ▲                                   │                    │                          │
//!        └──────────── suspect commits ◄─────┴────────────────────┴──────────────────────────┘
//! ```
//!
//! # Guarantees
//!
//! - [`Train`] is a pure function of its inputs, in whatever order they come and however often. [`drive`] writes each one down
//!   before anything follows from it: a kill at any instruction loses nothing and starts nothing twice.
//! - Nothing reaches production whose change did not complete on the canary fleet, that the qualification rules did not allow on
//!   facts that were seen, whose digest or CI result contradicts itself, that is too old, or that lacks what production has.
//! - A hotfix overtakes and skips nothing. Below [`Level::L5`](crate::Level::L5) a person chooses, with a briefing; at L5 beyond
//!   the [budgets](TrainBudget). A level is granted by a person and ends: after that nothing begins by itself.
//! - What is so is said again until somebody knows, or it is over; a sign of life tells an alarm outside that it is driven.
//! - Every wait ends by itself or names a person: [`Limits`].
//!
//! # Limits
//!
//! - A line is a sequence of numbered commits; a hotfix is one of them, picked out upon what production runs.
//! - One change at a time on each fleet of a line. Several lines do not know each other: conflicts between them are for the
//!   rules of the autopilot's own changes.
//! - The journal is folded from its beginning at each start.
//! - The last thousand releases, changes and deliveries of a line are remembered.

mod autonomy;
mod budget;
mod cadence;
mod choose;
mod config;
mod driver;
mod ends;
mod incidents;
mod input;
mod line;
mod machine;
mod measures;
mod model;
mod newest;
mod orders;
mod ports;
mod steps;
mod summary;
mod telling;

pub use autonomy::TrainBudget;
pub use budget::budget_left;
pub use cadence::{Cadence, Timetable};
pub use config::{Limits, LineConfig, TrainConfig, TrainError};
pub use driver::{TrainHandle, TrainParts, TrainRunError, drive};
pub use input::{Briefing, BuildOrder, Candidate, ChangeOrder, Command, Input, Order, Refusal};
pub use machine::Train;
pub use measures::Measures;
pub use model::{
    Artefact, ChangeEnd, ChangeKey, Commit, Content, FACTS, FLEETS, INCIDENTS, Lane, LineId, ReleaseFacts, Site, Stage,
};
pub use ports::{Artefacts, CiStatus, Fleets, IncidentNews, News, NoAnswer};
pub use summary::{LineView, MatterView, ReleaseView, TRAIN_SCHEMA, TrainSummary};
