//! Which node is bad, and what to do about it: detection with stated false isolations, ejection and return.
//!
//! A caller sees every request it sends to a node succeed, fail or hang. From that alone this crate finds the node that
//! went bad, takes it out of use within the second, and brings it back when it is well, without ever taking out more than
//! the rest can carry. You say how many healthy nodes you are willing to isolate per node and year; thresholds follow.
//!
//! It is not a load balancer and not a health checker: it sends nothing and picks nothing, it answers whether a call may go
//! to a node. It holds no clock, no lock and no thread.
//!
//! ```
//! use unattended_selfheal::{Detector, Ending, Policy, Standing};
//!
//! let mut detector = Detector::new(Policy::default(), 7)?;
//! let nodes: Vec<_> = (0..4).map(|_| detector.add(0, None)).collect::<Result<_, _>>()?;
//! for now_ms in 0..3_000_u64 {
//!     for node in &nodes {
//!         // Node 2 breaks after two seconds: from then on every second call to it fails.
//!         let broken = node.index().0 == 2 && now_ms >= 2_000 && now_ms % 2 == 0;
//!         if node.admits(now_ms, 0) {
//!             node.record(now_ms, if broken { Ending::ServerError } else { Ending::Answered }, Some(800));
//!         }
//!     }
//!     if now_ms % 250 == 0 {
//!         for action in detector.sweep(now_ms) {
//!             assert_eq!(action.node, Some(nodes[2].index()), "{action}");
//!         }
//!     }
//! }
//! assert!(matches!(detector.standing(nodes[2].index())?, Standing::Isolated { .. }));
//! assert!(!nodes[2].admits(3_000, 0));
//! // Nobody sweeps any more: the lease runs out, and the node is in service again.
//! assert!(nodes[2].admits(60_000, 0));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! ```text
//!  callers, any thread                         owner, once a slice
//!  ┌───────────────────────────┐              ┌──────────────────────────────────────────────────┐
//!  │ admits(now, draw) ◄───────┼── service ◄──┤ sweep(now)                                       │
//!  │ call / record             │   word       │   sequential test  half of all calls fail, now   │
//!  │   attribution filter      │   + lease    │   peers            5 % more than the median      │
//!  │     ├─► ring of slices ───┼─────────────►│   speed            slower at equal load          │─► Action
//!  │     ├─► score, one word ──┼─────────────►│   common cause     all got worse: freeze         │   + Evidence
//!  │     └─► latency sketch ───┼─────────────►│   cap, isolation, probe, 1 → 5 → 25 → 100 %      │
//!  └───────────────────────────┘              └──────────────────────────────────────────────────┘
//! ```
//!
//! # What is here
//!
//! - [`Node`] and [`Call`]: recording, also of calls that are dropped; [`Ending::charge`] tells what a node is to blame for.
//! - [`Detector`]: the machine above. [`Policy`] has its rules, [`Standing`] is what it thinks of a node,
//!   [`Detector::unhealthy`] the list of all that are not in full service, with reasons.
//! - [`Replay`], [`replay`] and [`difference`]: what other rules would have done with the same traffic.
//! - [`Envoy`] and [`GrpcA50`]: the rules of those two, decision for decision, for migration and comparison.
//! - [`Limiter`]: how many calls at once, for one class of requests.
//! - [`SequentialTest`] and [`Ring`]: the parts, for use alone.
//!
//! # The center
//!
//! One observer cannot tell a bad node from a bad wire, nor see one that it calls once a minute. [`Center`] merges the
//! reports of many: who fails for everybody is isolated after some five failures in the whole fleet, and who sees
//! everybody fail is not believed. It tells a bad target from a bad reporter, a cut network, a zone that is down, a common
//! cause, a bad route, a bad release and the victim of another, has probes confirm before it isolates, gives slow nodes less
//! instead, and says everything with a lease. It is told what [`Detector::deltas`] say; [`Reporter`] and [`Follower`] are its
//! other end, [`Healer`] its hands.
//!
//! # Guarantees
//!
//! - **False isolations.** The budget of [`Policy::false_isolations_per_node_year`] is split over the tests. The sequential
//!   test's share is exact: if calls fail independently with at most the healthy rate, the mean number of calls between
//!   false alarms is at least what was asked for, solved from the score's own Markov chain without approximation. The test
//!   against peers is a test martingale with the same promise per slice, as far as the median is right. The
//!   speed test's is measured, not proved.
//! - **Never everybody.** With capacities: never more than the rest can carry. Without: at most half. The last one always
//!   stays. At every moment, whatever joins, leaves or fails; only nodes that left the cluster can overdraw it, and then
//!   somebody comes back in the same call.
//! - **Common cause.** If more than half of the nodes with traffic got worse together, nobody is isolated, and a
//!   [`Step::Freeze`] says so.
//! - **Leases.** What is withheld from a node is given back `lease_ms` after the last sweep, by the callers themselves.
//! - **Counts.** A ring loses no count under any number of threads and never waits. A clock that goes back cannot make it
//!   panic, go negative or drop a count.
//! - **Memory.** 512 bytes a node at most, and nothing is allocated while recording; a node that is not in full service
//!   has one [`Action`] in the list besides.
//! - **Replay.** Nothing reads a clock or draws a number of its own: equal calls give equal actions, everywhere.
//!
//! - **Liars.** Two hosts, whatever they report, accuse nobody. Of hosts that have called a node often enough to have an
//!   opinion, more than two thirds must accuse it; so fewer than a third who lie can neither have a healthy node
//!   isolated nor protect a bad one for long. Nobody can report in another's name.
//! - **Blast radius.** However many are accused, no more are isolated, restarted, replaced or drained than the
//!   [`Budgets`] allow, and never the last node of a service.
//! - **Leases.** What a center has said is void a lease after it was last heard.
//!
//! # Limits
//!
//! - Failures that come in bursts (one dropped connection fails twenty requests) are not independent: record the burst
//!   once, or expect more false alarms than promised. Within one slice order does not matter.
//! - Nodes with a few calls a minute need minutes: one observer sees what it sees. Merging observers is for a center.
//! - A detector compares nodes that do the same work. Give each cluster, and each class of requests that differs much in
//!   latency, one of its own.
//! - With two or three nodes most of the power is in the sequential test: a median of three is what two of them say.
//! - The center isolates nobody for whom fewer than three hosts report, and sees nodes that fail less than about one call
//!   in fifteen as healthy: those are for each caller's own test.
//! - A slice counts 16,777,215 outcomes of a kind; beyond that it stays there and [`Counts::saturated`] says so.

mod action;
mod call;
mod center;
mod compat;
mod delta;
mod detector;
mod error;
mod limiter;
mod node;
mod outcome;
mod policy;
mod replay;
mod ring;
mod run_length;
mod sequential;
mod sketch;
mod statistics;
mod sync;

pub use action::{Action, Evidence, Reason, Step};
pub use call::Call;
pub use center::{
    Basis, Budgets, Bulletin, BulletinError, Cause, Center, CenterSettings, Command, Epoch, Event, Finding, Follower,
    HealAction, HealError, HealOrder, HealOutcome, Healer, HostId, Isolation, Member, Mode, NodeId, Notice, ProbeOrder,
    Refusal, Report, ReportCounts, ReportError, Reporter, RouteId, Scope, Seen, ServiceId, SettingsError, Slots,
    StaleBulletin, SubHealthy, Way, Word, ZoneId, carry_out,
};
pub use compat::{
    Ejection, EjectionCause, Envoy, EnvoyConfig, EnvoyResult, FailurePercentageEjection, GrpcA50, GrpcConfig,
    RateEvidence, SuccessRateEjection,
};
pub use delta::{Delta, NodeIndex, OutcomeCounts};
pub use detector::{Detector, Standing};
pub use error::{CompatError, NodeError, PolicyError, RingError, TestError};
pub use limiter::{Gate, LimitChange, LimitReason, Limiter, LimiterSettings, PRIORITIES, Pass};
pub use node::Node;
pub use outcome::{Ending, Outcome};
pub use policy::Policy;
pub use replay::{Decision, Difference, Kind, Record, RecordEvent, Replay, ReplayError, difference, replay};
pub use ring::{Counts, Ring};
pub use sequential::{FalseAlarms, Score, SequentialTest, Steps};
