//! Passes listeners and live connections from one process to the next, and back: two phases, one owner, a lease.
//!
//! It is no proxy and no supervisor: the program around it accepts, reads and writes ([`Host`]), and a controller says when
//! the next step is due ([`Order`]). Nothing here starts a process or decides whether a version is good.
//!
//! ```
//! use unattended_handover::wire::{Listener, ListenerKind};
//! use unattended_handover::{Action, Agent, Answer, Generation, InstanceId, Order, Timing};
//!
//! let listener = Listener { name: "in".into(), kind: ListenerKind::Tcp, cookie: 77 };
//! let codecs = || vec!["relay/1".to_owned()];
//! let mut both = [
//!     Agent::serving(InstanceId(1), vec![listener], codecs(), Timing::default()),
//!     Agent::waiting(InstanceId(2), codecs(), Timing::default()),
//! ];
//! // Here a loop over two machines; in a program `Handover` does this over a socket.
//! fn talk(both: &mut [Agent; 2]) {
//!     while let Some((from, action)) = (0..2).find_map(|at| both[at].next().map(|action| (at, action))) {
//!         match action {
//!             Action::Send(frame) => both[1 - from].heard(0, frame),
//!             Action::Claim(came) => both[from].claimed(0, &[came[0].cookie]),
//!             _ => {}
//!         }
//!     }
//! }
//! both[1].connected(0, true, 5);
//! both[0].connected(0, false, 0);
//! both[1].ready(0, true);
//! talk(&mut both);
//! assert_eq!(both[0].order(0, Generation(1), Order::Offer), Answer::Applied);
//! talk(&mut both);
//! assert_eq!(both[1].order(0, Generation(1), Order::Accept), Answer::Applied);
//! talk(&mut both);
//! assert_eq!(both[0].order(0, Generation(1), Order::Quiesce), Answer::Applied);
//! assert!(both[1].status().polls && !both[0].status().polls);
//! ```
//!
//! ```text
//!            orders                                             orders
//!              │                                                  │
//!  Host ◄─► Handover ◄─► Agent ◄══ frames, descriptors, ══► Agent ◄─► Handover ◄─► Host
//!  (old)       │        (pure)      tokens (SEQPACKET)      (pure)       │        (new)
//!              └── Codec: where a protocol may be cut, and what to carry ┘
//! ```
//!
//! # Guarantees
//!
//! Explored on the machines that ship, over every order of deliveries, pauses and one death, with orders that come at any
//! time and twice to whom they are for, one connection in every build and more on demand. Each step is also shown to be one
//! that the agents may take with which `unattended-upgrade` explores its controller:
//!
//! - **Somebody accepts.** As long as no process has died, one of the two polls the listeners. After a death the other does as
//!   soon as its lease has ended, or, where it holds them and was not let in yet, as soon as the kernel says that the other is
//!   dead and its self-checks have passed. Listeners are the same open queues, proved by the kernel's cookie, each one claimed;
//!   what waits in them is served by whoever polls.
//! - **One owner.** A connection is read by one process at most. Each offer carries a [`Token`] in the kernel that exactly
//!   one process can take; who takes it owns what was offered, whatever messages are late or lost and whoever dies.
//! - **Nothing is lost that could be served.** The giver keeps its copy until it knows that the token is gone. A connection
//!   ends early only if its owner dies, or is cut when the old process leaves; both are counted.
//! - **The way back.** [`Order::Return`] moves connections back by the same protocol. Within one attempt no order leads
//!   forward again.
//! - **Nothing is left behind for ever.** What an attempt had to decline the next one tries again; what was still with a
//!   process when it left goes to whichever later one calls it, and ends at a deadline if none does.
//! - **It leaves only for somebody.** The old process exits only if the other has committed, polls, and was heard of within
//!   its lease, everything that was said being read first.
//! - **Bounded waits.** Coming to rest, adoption, greeting, silence and lingering all have a deadline in [`Timing`].
//!
//! What has gone wrong with others, and which test would show it here, is the table of [`pitfalls`].
//!
//! # Limits
//!
//! - Requests under way finish first: a codec waits for a point between messages, and what finds none is declined.
//! - TLS keys stay in the library that has them: such connections are declined as [`Decline::Tls`]; session ticket keys go
//!   along ([`Agent::share`]), so their clients resume in one round trip.
//! - An offer fits one message: state above 64 KiB is declined.
//! - Both processes run as one user in one network namespace. Linux only.
//! - A third process cannot take over while two are at it. What a process could not give away when it left waits there for
//!   the next one that calls it, for as long as [`Timing::leftover_ms`] says; it takes a place of its own until then.

mod agent;
pub mod codec;
mod edge;
#[cfg(test)]
mod explore;
mod ids;
pub mod pitfalls;
mod reason;
pub mod wire;

pub use agent::{Action, Agent, Answer, NotNow, Order, Peer, Resting, Tally, Timing};
pub use edge::{Call, Caller, Channel, Doorbell, Frozen, Handover, Host, Received, SendError, Token, call};
pub use ids::{BatchId, ConnectionId, Generation, InstanceId};
pub use reason::{Decline, Refusal};
