//! Who changes when: batches that are generated, proved, and obeyed.
//!
//! Give it a [`Fleet`] and a [`Policy`]; get a [`Plan`] whose batches grow along a ramp and spread over every application and
//! label, a [`Proof`] from code that shares nothing with the planner, and a [`Frontier`] that says at every moment which
//! targets may start.
//!
//! It is not a deployer: it touches no target, reads no clock, and judges no health. It says *who*; something else says
//! *whether* and does it.
//!
//! ```
//! use unattended_batching::{Event, Fleet, Plan, Policy, Ramp, pct, verify};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # struct Bot;
//! # impl Bot { fn deploy(&self, _: unattended_batching::TargetIndex) {} }
//! # let (bot, now, seed) = (Bot, 0, 7);
//! # let mut builder = Fleet::builder();
//! # for n in 0..400 {
//! #     let labels = [("stack", ["java", "go"][n % 2]), ("region", ["eu", "us", "ap"][n % 3])];
//! #     builder.push(&format!("pod-{n}"), ["pay", "cart"][n / 300], labels, true)?;
//! # }
//! # let fleet = builder.build()?;
//! let policy = Policy::new().ramp(Ramp::doubling()).per_app(pct(5)).first_batch_covers(["stack", "region"])?;
//! let plan = Plan::build(&fleet, &policy, seed)?;
//! verify(&fleet, &policy, &plan)?;
//!
//! let mut live = plan.frontier();
//! for id in live.startable(now, 100) {
//!     bot.deploy(id);
//!     live.on(Event::Finished { id, at: now });
//! }
//! assert_eq!(plan.batch(0).size, 3); // both stacks and all three regions
//! assert_eq!(live.remaining(), 397); // the next batch opens when the caller promotes a lane
//! # Ok(())
//! # }
//! ```
//!
//! ```text
//!  Fleet ──┐                     ┌─► verify ─► Proof | Violations
//!  Policy ─┼─► Plan::build ──► Plan ─► control_cohort, batches, summary
//!  seed ───┤   Plan::repair      ├─► Forecast::of ─► when, who is late and why, what a fault reaches
//!  Previous┘                     └─► frontier ─► Frontier
//!                                                 │  ▲
//!        startable, rollback_startable, version_for  Event, join
//!                                                 ▼  │
//!                                         whoever does the work ─► TraceStep ─► verify_trace
//! ```
//!
//! # What is guaranteed
//!
//! - The same fleet, policy and seed give the same plan, and the same calls the same answers, on every machine.
//! - Batches are disjoint and complete. Within a stratum targets change in the order of [`position`]`(seed, id)`, so cohorts nest
//!   and a target stays early or late when others come and go.
//! - The cumulative size of batch *k* is at most `max(cover, first)·growth^k`; each stratum is within one target of its share, unless
//!   coverage or the next rule moves it.
//! - No batch takes more than half (rounded up) of an application; one of a single target changes in the last batch only.
//! - Every stratum of two or more keeps a holdback untouched until the last batch: the control cohort.
//! - The first batch shows every class of the cover keys, or [`Plan::uncovered`] says why not. Missing labels make no class.
//! - Caps hold at every instant, over everything that is in flight or unhealthy: per application, label value and fleet, in a
//!   rolling window, over ready capacity, and between values that exclude each other. A cap says how it rounds, and is never
//!   nothing where there are two or more. Failures, births and deaths do not lift it; the one exception, for fixes, is bounded,
//!   and off unless the policy asks for it.
//! - [`verify_trace`] checks an execution against the same caps with counts of its own.
//! - A birth runs the new version only within its cohort and its stratum's share, unpinned, and never once a rollback is decided.
//! - A repaired plan moves nobody, and nobody joins a frozen batch.
//! - An application that waits, is held or blocked delays no other.
//!
//! # Limits
//!
//! - At most 4,294,967,294 targets and 4 GiB of names; 60,000 batches.
//! - A lane is served strictly in plan order: when a label cap stops its next target, later targets of the lane wait as well.
//! - Births of strata or applications unknown to the plan wait for the last batch; a plan is not rebuilt around them.
//! - A cap on a label value of one target is one: such a target may be the only one of its value and change anyway.

mod amount;
mod apportion;
mod cap;
mod cover;
mod fleet;
mod forecast;
mod frontier;
mod hash;
mod index;
mod layout;
mod names;
mod plan;
mod policy;
mod proof;
mod ramp;
mod refine;
mod strata;
mod verify;

pub use amount::{Amount, AmountError, count, pct, permille};
pub use cap::{Cap, Rounding};
pub use cover::{Uncovered, UncoveredReason};
pub use fleet::{Fleet, FleetBuilder, FleetError, Target, Weights};
pub use forecast::{
    Blocker, Conditions, ConditionsError, Duration, Exposed, Finish, Forecast, Interval, LaneForecast, Late, Spent,
    Tradeoff, expected_exposure,
};
pub use frontier::{Blocked, Event, Frontier, JoinError, LaneView, Noted, Side, Stuck};
pub use hash::position;
pub use index::{AppIndex, KeyIndex, StratumIndex, TargetIndex, ValueIndex};
pub use plan::{Batch, Control, Plan, PlanError, Previous, PreviousError, Summary};
pub use policy::{Class, Pin, PinScope, Policy, PolicyError, Rate, RollbackPace};
pub use proof::{Proof, Violation, Violations};
pub use ramp::{CostOptimal, Evidence, Exposure, Geometric, Linear, Ramp, RampError, Shape, Steps};
pub use strata::Stratum;
pub use verify::{TraceProof, TraceStep, verify, verify_repair, verify_trace};
