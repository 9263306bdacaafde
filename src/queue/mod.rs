//! Several changes at once: which may begin now, and which waits, for whom, and until when.
//!
//! It plans no batches and judges no release: each change is led by an autopilot of its own, with its own journal. The queue keeps
//! two of them from meeting, and puts what burns first.
//!
//! ```
//! # use std::sync::Arc;
//! use unattended::batching::Fleet;
//! use unattended::queue::{Input, Limits, Queue, State, Ticket};
//! use unattended::{Actor, Change};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let fleet = |apps: &[&str]| -> Result<Arc<Fleet>, Box<dyn std::error::Error>> {
//! #     let mut fleet = Fleet::builder();
//! #     for app in apps {
//! #         for i in 0..4 {
//! #             fleet.push(&format!("{app}-{i}"), app, [("zone", "a")], true)?;
//! #         }
//! #     }
//! #     Ok(Arc::new(fleet.build()?))
//! # };
//! # let change = |id: &str, apps: &[&str]| -> Result<Change, Box<dyn std::error::Error>> {
//! #     Ok(Change::new(id, Actor::person("li", "MESH-1"), "1".into(), "2".into(), fleet(apps)?))
//! # };
//! let mut queue = Queue::new(Limits::for_fleet(30_000))?;
//! let now = 1_795_420_800_000; // Unix milliseconds
//! for (id, apps) in [("mesh-2", ["pay", "cart"]), ("log-7", ["cart", "user"]), ("dns-3", ["mail", "news"])] {
//!     queue.apply(now, &Input::Submit(Ticket::of(&change(id, &apps)?)?))?;
//! }
//! assert_eq!(queue.may_begin(now), ["mesh-2", "dns-3"]);
//! let waits = queue.standing("log-7", now).ok_or("it is there")?;
//! assert_eq!(waits.state, State::Waiting);
//! assert!(waits.waits[0].to_string().contains("mesh-2") && waits.waits[0].to_string().contains("cart"));
//! assert!(waits.begins_unix_ms > Some(now)); // not before mesh-2 can have ended
//! # Ok(())
//! # }
//! ```
//!
//! ```text
//!  submit, withdraw, ─┐                      ┌─► open an autopilot, run it beside the others
//!  prioritise, resume ├─► journal ─► Queue ──┼─► end what is in the way of an emergency
//!  began, ended ──────┘                      ├─► tell people
//!                                            └─► standing: which waits, for whom, until when
//! ```
//!
//! # Order
//!
//! Emergencies first, then whoever has waited longer than [`Limits::patience_ms`], then by priority, then as they came. Two changes
//! are in conflict where they share a target or an application: caps are kept for each change on its own, so two at one application
//! could take twice of it. Nobody overtakes somebody with whom they are in conflict; everybody else may.
//!
//! # The emergency lane
//!
//! It gives a place in the queue, and nothing else: batches, caps, rules, evidence and levels are those of any change; rules are told
//! that it is one. An emergency is *narrow* ([`Limits::emergency_share_ppm`] of the fleet at most), *rehearsed* (it tries its own way
//! back first), *still graduated* (its first batch is at most a tenth of it), has a person as its author, and there is one at a time.
//! It needs no free place beside others. Where a change is under way in its scope it waits for that one's end, or ends it where it stands, if its
//! author said so; one that was stopped, or goes back, is never ended.
//!
//! # Guarantees
//!
//! - [`Queue`] is a pure function of its inputs and the time. [`drive`] writes each one down before anything follows from it: a kill
//!   at any instruction loses no change and begins none twice.
//! - No two changes that share an application or a target are ever under way together. One that ended as waiting or frozen, or for a
//!   fault, keeps its scope until it goes on or somebody gives it up: half of its targets may run either version.
//! - Each change acts under generations above those of all that began before it, so what an earlier one has left under way is refused.
//! - Every wait says for whom. One that hangs on a person is told to people until it ends.
//!
//! # Limits
//!
//! One controller for each journal. The forecast is a floor: it counts the least that each plan takes, and no windows.

mod driver;
mod error;
mod forecast;
mod input;
mod machine;
mod order;
mod standing;
mod ticket;

pub use driver::{Changes, QueueHandle, QueueParts, QueueRunError, drive};
pub use error::QueueError;
pub use input::{Input, Limits, QueueDecision};
pub use machine::Queue;
pub use standing::{QUEUE_SCHEMA, QueueSummary, Shared, Standing, State, Wait};
pub use ticket::{Emergency, Ticket};
