//! A fleet of local processes as a [`Platform`](unattended_upgrade::Platform): started, asked, closed, opened, handed over
//! and adopted, each known by its pidfd. Linux.
//!
//! It is no supervisor for a machine's services and no container runtime: no users, no limits, no networks, one machine. It
//! decides nothing about upgrades; that is `unattended-upgrade`.
//!
//! ```no_run
//! use unattended_process::{Ask, Foreign, ProcessPlatform, Start, Target, Template};
//! use unattended_upgrade::{EffectOutcome, Platform};
//!
//! # async fn fleet() -> Result<(), Box<dyn std::error::Error>> {
//! # use unattended_upgrade::{AttemptId, EffectKey, Generation};
//! # let key = EffectKey { attempt: AttemptId(0), generation: Generation(1), step: 0, ordinal: 1 };
//! let server = Start::new("/opt/echo/{version}/echo").arguments(["--listen", "127.0.0.1:{port}", "--admin", "{admin}"]);
//! let echo = Foreign::new(server, Ask::new("unix:{admin}:/ready"))
//!     .ingress(Ask::new("POST unix:{admin}:/close"), Ask::new("POST unix:{admin}:/open"))
//!     .binds("127.0.0.1:{port}");
//! let targets = (0..8).map(|n| {
//!     Target::new(format!("echo-{n}").as_str(), "1.9.1", Template::foreign(echo.clone())).parameter("port", 8_000 + n)
//! });
//! let platform = ProcessPlatform::open("/var/lib/echo", targets).await?;
//!
//! let taken = platform.replace(&"echo-3".into(), &"1.9.2".into(), &key).await;
//! assert_eq!(taken, EffectOutcome::Applied); // durable now; done when `observe` shows it
//! platform.close().await; // every process goes on; whoever opens the directory next adopts them
//! # Ok(())
//! # }
//! ```
//!
//! ```text
//!  Driver ──► ProcessPlatform ──► order: fence? key? ──► t/TARGET/state.json   one write: wanted state and key
//!                  │                                          │
//!                  │ observe, probe                           ▼ one task per target: makes it true
//!                  │                                     bury ► end ► start ► tell
//!                  ▼                                          │
//!            pidfd: does it live?                             ▼
//!            admin socket: what does it say?     /bin/sh at the gate ── written down ──► go ──► the program
//! ```
//!
//! # Guarantees
//!
//! - **Durable.** An order that was `Applied` is in one file with its key, replaced whole and on disk. After SIGKILL of the
//!   adapter at any instruction the next one carries it out; it is not carried out twice.
//! - **Nothing is started twice, and nothing runs that no file names.** A process is forked as a shell that waits at a
//!   gate; its id and start time are on disk before it becomes the program. If the adapter dies first, the shell reads the
//!   end of its input and leaves. It is nobody's child by then, so that no program ends with the adapter, not even one that
//!   asks the kernel for that. Every start has an [`InstanceId`](unattended_upgrade::InstanceId) that no other process of
//!   the target ever had.
//! - **Never another one's process.** Signals go through pidfds. One that is adopted is checked by boot, id and start time,
//!   opened, and checked again.
//! - **One adapter.** The directory is locked for as long as anything of the adapter is at work; a second one is told who
//!   holds it.
//! - **What is shown is what is so.** A look asks the kernel whether the process lives and the process what it is; a process
//!   that does not answer is not ready, whatever was ordered, and one that names another instance is not believed.
//! - **Every wait ends.** Questions after [`Foreign::ask_ms`], ends after [`Template::grace_ms`], back-off doubles up to
//!   [`Settings::longest_backoff_ms`].
//! - What is wrong with a template, a port, a directory or a state is an [`OpenError`] that names the field and what to do,
//!   before anything has been started.
//!
//! [`conformance`](unattended_upgrade::conformance) passes on fleets of sidecars and of foreign programs.
//!
//! # Limits
//!
//! - A capability is claimed if every target's program has it: one platform for sidecars, another one for other programs. It
//!   never claims `prefetch` (what it starts is there already), and a barrier only by time: it does not know who sends
//!   traffic, but [`Template::balancers_ms`] may say how soon they hear.
//! - Orders are carried out while an adapter runs. A sidecar opens a closed way by itself at its time; the way of a foreign
//!   program is opened by the adapter, so one must run.
//! - A foreign program that is started while its way is closed is open between its start and the request that closes it;
//!   it is shown as not ready until then.
//! - A sidecar that was started anew serves without a configuration until the last good one is pushed, some milliseconds
//!   later; it is shown as not ready until then.
//! - Over TCP whoever holds the port is believed to be the foreign program. Over a Unix socket the kernel's word counts.
//! - Logs are cut by copying: what a process writes in the instant between copy and cut is lost.
//! - What an ended instance had counted of a hand-over is what it said last.
//! - After a reboot nothing is adopted, and a way that was closed opens as soon as its instance is verified.

mod births;
mod clock;
mod ending;
mod envoy;
mod error;
mod fill;
mod foreign;
mod house;
mod http;
mod keeper;
mod left;
mod logs;
mod look;
mod news;
mod orders;
mod platform;
mod process;
mod program;
mod running;
mod settle;
mod sidecar;
mod state;
mod target;
mod template;

pub use clock::MonotonicClock;
pub use envoy::{Envoy, EnvoyRequests, HotRestartVersion, RequestsError, ServedBy, counter_class};
pub use error::{OpenError, TemplateError};
pub use foreign::{Ask, Foreign};
pub use house::Settings;
pub use platform::ProcessPlatform;
pub use running::{Running, running};
pub use sidecar::Sidecar;
pub use target::Target;
pub use template::{Start, Template};
