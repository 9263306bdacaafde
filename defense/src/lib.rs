//! May it happen now: an admission engine that says why not, and when.
//!
//! A deploy bot asks before each batch, and after it; the engine answers from rule packs that the owners of applications
//! write: windows and freezes, budgets and conflicts between changes, versions, incidents, approvals, soak, completeness,
//! and conditions of their own. So nobody looks for the one hour that suits all: every application's batch runs as soon as
//! its own rules allow.
//!
//! It is not an executor, not a scheduler and not an approval system. It reads no clock, keeps no state, starts nothing.
//! What it cannot know by itself (who agreed, what burns, what else is on its way) is part of the question, with the time
//! it was seen; what must be fetched, a [`Check`] fetches.
//!
//! ```
//! use unattended_defense::{Facts, Guard, Request, Verdict, app};
//! # fn go() {}
//! # fn go_n(_: u32) {}
//! # fn requeue(_: Option<i64>) {}
//! # fn page(_: &[&str], _: String) {}
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let now = 1_795_000_000_000;
//! # let facts = Facts::new().label("business", "payments").label("tier", "silver");
//! let guard = Guard::load("packs/")?;
//! match guard.decide(&Request::pre("mesh-1.9.2").scope(app("pay")).facts(facts), now).verdict {
//!     Verdict::Allow => go(),
//!     Verdict::AllowLimited(n) => go_n(n),
//!     Verdict::Hold { until, .. } => requeue(until),
//!     v => page(v.codes(), v.why()),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A verdict alone says what to do. Who pages a person keeps the whole [`Decision`]: its `codes()` and `why()` name each
//! rule with its owner, its end, and what would change it.
//!
//! ```
//! use unattended_defense::{Guard, Request, Scope, Verdict};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let guard = Guard::load("packs/example.yaml")?;
//! let scope = Scope::app("pay").label("business", "payments").label("tier", "gold");
//! let friday_evening = 1_795_176_000_000; // 2026-11-20 20:00 in Shanghai
//! let decision = guard.decide(&Request::pre("mesh-1.9.2").scope(scope), friday_evening);
//! assert_eq!(decision.verdict, Verdict::Hold { until: Some(1_795_397_400_000) });
//! assert_eq!(decision.codes(), ["verdict.hold", "window.change", "window.protected"]);
//! assert_eq!(decision.next_feasible, Some(1_795_397_400_000));
//! assert!(decision.why().contains(
//!     "inside protected window payments/weekend-settlement (owner settlement-desk: weekend settlement), \
//!      until 2026-11-21 08:00 Asia/Shanghai"
//! ));
//! # Ok(())
//! # }
//! ```
//!
//! ```text
//!  charter, packs, calendars ──► Guard::load ──► Guard ◄── Request: change, scope, facts, need, others in flight
//!       │ every fault, with line,            ◄── now (unix ms)
//!       ▼ column and fix                     │
//!   PackErrors                               ├─ decide ───────► Decision: verdict, findings, next_feasible, digest
//!                                            ├─ why_not_now ──► Vec<Blocker>: window, owner, reason, from, until
//!                                            ├─ next_feasible ► At(ms) | NeverWithin(horizon, blockers)
//!                                            ├─ spans ────────► Vec<Span>: closed spans, for a picture
//!                                            ├─ open_time ────► OpenTime: how much is left, and who takes the rest
//!                                            ├─ backlog ──────► Vec<Queue>: what waits, its risk, its slack, who starves
//!                                            └─ test ─────────► Vec<TestRun>: the tests inside the packs
//! ```
//!
//! # Guarantees
//!
//! - **Nothing passes by default.** A pack with a fault loads nothing, and no pack at all is an error; [`Guard::empty`] is
//!   written down. A label that a rule in force asks for and nobody supplied is unknown. So are facts that are missing,
//!   old or from the future, and checks that are late, fail, panic or have seen nothing ([`UnknownReason`]). What that
//!   becomes, each window, rule and check says by tier, and nothing laxer than a person's word. A critical tier of the
//!   charter for which no rule of a pack of its own speaks needs a person.
//! - **A tenant holds itself, never others.** With a charter a pack speaks only for scopes that its owner was granted.
//! - **Rules change whole or not at all** ([`Live::reload`]): with any fault the rules in force stay, and the error says so.
//! - **After a step it only holds.** In [`Phase::Post`] no verdict is above a hold: it never promotes and never rolls back.
//! - **Verdicts are a lattice** ([`Verdict::join`]): the order of rules cannot matter, and one more rule, freeze or
//!   protected window never makes a decision laxer. Two things open more, and both say so: a further change window *within
//!   one pack*, since the change windows of a pack are one rule together; and the first rule of a critical application.
//! - **Times are right.** Spans are half-open, lengths are elapsed time, zones come from the data compiled in. A start in
//!   a daylight saving gap is the first instant after it, a start that happens twice is its first pass; a freeze ends
//!   with the second.
//! - **Room before start.** `next_feasible` is the earliest start whose batch *and* rollback are clear; only the rollback
//!   may lie in a window that grants rollbacks. Without such a grant a window holds rollbacks, too.
//! - **Of two changes in conflict exactly one waits**: a stop goes before everything, a rollback before a forward change,
//!   an emergency before another, the older before the younger, then the smaller id. [`Leases`] keep two of them off one
//!   target where that list is late.
//! - **A no is not delayed.** Checks run at once within one deadline, and a decision waits for none that cannot change it.
//! - **What was decided can be shown.** [`audit`] keeps decisions, commands and effects in a chain that names the first
//!   record somebody changed, removed, inserted, moved or cut off, and asks recorded questions again.
//! - **Same input, same bytes.** `now` is an argument; the digest names rules, question and instant.
//!
//! # Limits
//!
//! - A field that a pack uses and this version does not know is an error that names it. Of iCalendar files it reads events
//!   on dates and events of each year; other repetitions are errors, too.
//! - The least open time of a pack is checked against what recurs, in two fortnights of winter and two of summer.
//! - Budgets, conflicts and completeness are as true as the lists the caller gives; the engine cannot see what nobody told.
//! - A panic in a rule is caught where panics unwind; a program that aborts on panic ends.
//! - Findings of checks are not in the digest: they are the outside world's.
//! - Looks [`HORIZON_MS`] ahead; answers for instants from 1970 to 2199, and says `Unknown` for others.
//! - A scope is meant to be one application or less. A scope that mixes label values meets every rule that selects one of
//!   them, and only change windows that select all of them open it.
//! - Digests are SHA-256. On a processor without instructions for it a decision takes about twice as long.
//!
//! The format of a pack, with every field, is in `packs/example.yaml`, every kind of rule in `packs/rules.yaml`.

pub mod audit;
mod check;
mod conflict;
mod decision;
mod digest;
mod finding;
mod guard;
mod index;
mod leases;
mod live;
mod pack;
mod request;
mod rule;
mod scope;
mod selector;
mod suggest;
mod time;
mod verdict;
mod window;
mod zone;

pub use check::{Check, CheckError, CheckedGuard, Outcome, Timer};
pub use decision::{Blocker, Decision, NextFeasible, Span};
pub use finding::{Code, Evidence, Finding};
pub use guard::{Closed, Guard, HORIZON_MS, OpenTime, Queue, STARVED_MS, TestRun, Waiting};
pub use leases::{Fence, Lease, Leases, Taken};
pub use live::{Live, ReloadError};
pub use pack::{PackError, PackErrors};
pub use request::{
    Act, Actor, ActorKind, Approval, Call, Change, ChangeKind, Counts, Direction, Facts, Incident, Known, Ledger, Need,
    Neighbour, Other, Phase, Protocol, Reality, Request, Running, Stage, Step, Value, Versions,
};
pub use rule::{Answer, Ask, Becomes, Imposed, Rule, Terms};
pub use scope::{Scope, app};
pub use time::{InstantError, instant};
pub use verdict::{UnknownReason, Verdict};
pub use window::{Rollback, WindowKind};
