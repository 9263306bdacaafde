//! Notices and signs of life of the autopilot as HTTP requests, tried again until they arrive.
//!
//! It is not a pager: who is called, and in which order, is for whoever receives the requests. And it keeps nothing: a
//! notice that could not be delivered in time is lost here, and said again by the autopilot as long as it is so.
//!
//! ```
//! use unattended_webhook::Webhook;
//!
//! let pager = Webhook::new("http://127.0.0.1:9093/notices")?
//!     .header("authorization", "Bearer s3cret")?
//!     .heartbeat("http://127.0.0.1:9094/alive")?
//!     .on_failure(|failure| eprintln!("{failure}"));
//! // Autopilot::builder()…notifier(pager)
//! # drop(pager);
//! # Ok::<(), unattended_webhook::WebhookError>(())
//! ```
//!
//! ```text
//!  Notice ──► POST URL        ──► 2xx: delivered
//!  Pulse ───► POST HEARTBEAT  ──► 408, 425, 429, 5xx, no connection, no answer: once more, later and later
//!                             ──► anything else: refused for good, and told to `on_failure`
//! ```
//!
//! The body is the JSON of [`Notice`](unattended::Notice) or [`Pulse`](unattended::Pulse). `idempotency-key` is the same for each
//! try of one message and for no other message: who has seen it may forget the request.
//!
//! # Guarantees
//!
//! - A message is tried until it is taken, refused for good, or [`patience_ms`](Webhook::patience_ms) is over; each try has
//!   [`answer_ms`](Webhook::answer_ms) for its connection and as long for the answer. Waits between tries double from
//!   [`retry_ms`](Webhook::retry_ms) to 32 times that; where the receiver says `retry-after`, it is as long at least.
//! - A message that was not delivered is told to [`on_failure`](Webhook::on_failure), with what was answered.
//! - `https` verifies the receiver by the roots it is [given](Webhook::secure); without any it is refused at once.
//! - To drop the future gives the message up; nothing is spawned.
//!
//! # Limits
//!
//! - It needs a tokio runtime with I/O and time around it. One connection for each try, HTTP/1.1, no proxy, no redirects.
//! - Patience must be shorter than the autopilot's `call_ms` (30 s), after which it drops the future: the default is 25 s.

mod error;
mod post;
mod webhook;

pub use error::{Failure, WebhookError};
pub use webhook::Webhook;
