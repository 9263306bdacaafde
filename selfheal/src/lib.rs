//! Which node is bad: an exact ring of recent outcomes and a sequential test, both per node.
//!
//! A caller sees every request it sends to a node succeed or fail. From that stream alone this crate answers two
//! questions: *how did the last seconds go?* ([`Ring`]) and *has this node become bad?* ([`Detector`]). The second
//! answer comes with a false-alarm rate that was computed, not hoped for: you say how many healthy nodes you are
//! willing to accuse per node and year, and the threshold follows.
//!
//! It is not a load balancer, a circuit breaker or a health checker. It takes no node out of use, knows no peers and
//! sends no probes; it holds no clock, no lock and no thread. Whoever acts on [`Verdict::Bad`] also owns how many
//! nodes may be out at once and when one of them gets another chance.
//!
//! ```
//! use unattended_selfheal::{Detector, FalseAlarms, NodeState, Outcome, Ring, Verdict};
//!
//! // At most one false accusation per node and year at 100 requests/s: 1 % failures are healthy, 20 % are bad.
//! let budget = FalseAlarms::per_node_year(1.0, 100.0)?;
//! let detector = Detector::new(0.01, 0.20, budget, 60_000)?;
//! let ring = Ring::new(10, 1_000)?; // ten slices of one second
//!
//! let mut node = NodeState::new();
//! for request in 0..1_000_u64 {
//!     let now_ms = request * 10;
//!     // The node breaks at request 900: from then on every second request fails.
//!     let outcome = if request >= 900 && request % 2 == 0 { Outcome::Failure } else { Outcome::Success };
//!     ring.record(now_ms, outcome);
//!     detector.record(&mut node, outcome, now_ms);
//! }
//!
//! assert_eq!(ring.counts(9_990).failures, 50);
//! let Verdict::Bad { since_ms, evidence } = detector.verdict(&node, 9_990) else { panic!("not found") };
//! assert_eq!(evidence.began_ms, Some(9_000)); // when the trouble began
//! assert_eq!(since_ms, 9_120); // when it was certain: at the 13th request, the 7th failure
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! ```text
//!                      ┌───────────────────── Ring ─────────────────────┐
//!                      │ slice   n-3    n-2    n-1     n (now)          │
//!  outcome, now_ms ──┬►│ ok      991    987    990    412               ├─► Counts { successes, failures }
//!  (any thread)      │ │ failed    9     13     10      4               │   of the window
//!                    │ └────────────────────────────────────────────────┘
//!                    │ ┌─────────────────── NodeState ──────────────────┐
//!                    │ │ score   threshold ─────────────────────────●   │
//!                    └►│                                    ╱╲╱╲╱╲╱╱    ├─► Verdict: Healthy, Suspect, Bad,
//!  (the node's owner)  │  0 ──╱╲────╱╲────────────╱╲───╱╲╱              │   NotEnough, each with its Evidence
//!                      │   a failure: + up,  a success: - down, floor 0 │
//!                      └────────────────────────────────────────────────┘
//! ```
//!
//! # The center
//!
//! One observer cannot tell a bad node from a bad wire, nor see one that it calls once a minute. [`Center`] merges the
//! reports of many: who fails for everybody is isolated after some five failures in the whole fleet, and who sees
//! everybody fail is not believed. It tells a bad target from a bad reporter, a cut network, a zone that is down, a common
//! cause, a bad route, a bad release and the victim of another, has probes confirm before it isolates, and says
//! everything with a lease. [`Reporter`] and [`Follower`] are its other end, [`Healer`] its hands.
//!
//! # Guarantees
//!
//! - **False alarms.** If requests fail independently with a probability of at most the healthy rate, the mean number
//!   of requests from a fresh state to the alarm is at least what was asked for, and the expected number of alarms
//!   within any `n` requests of a node is at most `n / average_run_length` (see [`Detector`] for the argument). The
//!   figure is the solution of the score's own Markov chain, with sums of non-negative terms only: no
//!   approximation, no simulation, no cancellation. Rounding the steps to integers costs a little speed, never
//!   validity, since the chain that is solved is the chain that runs.
//! - **Counts.** A ring loses no count under any number of threads, never waits, and each count is in the sum exactly
//!   while its slice is one of the newest `slices`. It stays right after any pause, and a clock that goes back cannot
//!   make it panic, go negative or drop a count.
//! - **Unknown is not healthy.** Too few requests, or none for too long, is [`Verdict::NotEnough`] with the reason.
//! - **Replay.** Nothing reads a clock or draws a random number, and the arithmetic is plain IEEE 754 operations: the
//!   same calls give the same bytes everywhere.
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
//! - The center isolates nobody for whom fewer than three hosts report, and sees nodes that fail less than about one call
//!   in fifteen as healthy: those are for each caller's own test.
//! - Failures that come in bursts (one dropped connection fails twenty requests) are not independent: count the burst
//!   as one outcome, or expect more false alarms than promised.
//! - The healthy rate is yours to state. If a shared dependency breaks, every node is reported bad; nothing here
//!   compares nodes, so cap what you isolate.
//! - The detector wants outcomes one by one and in the order in which they ended. Sums of a whole slice do not say
//!   that order, so there is no way to feed them.
//! - A detector's state has one owner. Spread over workers, each sees a part of the traffic and each has a
//!   false-alarm budget of its own.
//! - A slice counts 16,777,215 outcomes of a kind; beyond that it stays there and [`Counts::saturated`] says so.
//! - A clock that leaps far ahead and returns leaves the ring in the future: counts pile up in that one slice until
//!   real time arrives there. Give it a monotonic clock.
//! - Slow answers are not seen unless the caller calls them failures.

mod center;
mod delta;
mod detector;
mod error;
mod outcome;
mod ring;
mod run_length;
mod verdict;

pub use center::{
    Basis, Budgets, Bulletin, BulletinError, Cause, Center, CenterSettings, Command, Epoch, Event, Finding, Follower,
    HealAction, HealError, HealOrder, HealOutcome, Healer, HostId, Isolation, Member, Mode, NodeId, Notice, ProbeOrder,
    Refusal, Report, ReportCounts, ReportError, Reporter, RouteId, Scope, Seen, ServiceId, SettingsError, Slots,
    StaleBulletin, Way, Word, ZoneId, carry_out,
};
pub use delta::{DELTA_LATENCY_BUCKETS, Delta, NodeIndex, OutcomeCounts};
pub use detector::{Detector, FalseAlarms, NodeState};
pub use error::{DetectorError, RingError};
pub use outcome::{Ending, Outcome};
pub use ring::{Counts, Ring};
pub use verdict::{Evidence, Shortage, Verdict};
