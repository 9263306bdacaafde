//! What was decided, ordered and done, in a chain that shows what is done to it.
//!
//! Each record carries the SHA-256 of the one before, so a record cannot be changed, removed, inserted or moved
//! without all after it. Against somebody who computes all of them anew, or cuts off the end, a [`Head`] of the chain
//! is kept where that somebody cannot write, or is [signed](Signer). Verification needs the file and those heads, no
//! network and no guard; with the guard that decided, [`Guard::replay`](crate::Guard::replay) asks every question
//! again.
//!
//! ```
//! use unattended_defense::audit::{Anchor, Entry, Log, Record, Replay, Tamper, VerifyError, verify};
//! use unattended_defense::{Guard, Request, app};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let guard = Guard::load("packs/example.yaml")?;
//! let now = 1_795_176_000_000;
//! let request = Request::pre("mesh-1.9.2").scope(app("pay").label("business", "payments").label("tier", "gold"));
//!
//! let mut log = Log::begin(Vec::new(), "deploy-bot", now)?;
//! let decision = guard.decide(&request, now);
//! let record = log.append(now, &Entry::decision(guard.digest(), &request, now, &decision))?;
//! let kept_elsewhere = Anchor::of(log.head());
//!
//! let file = String::from_utf8(log.into_inner())?;
//! let verified = verify(file.as_bytes(), &[kept_elsewhere.head])?;
//! assert_eq!((verified.records, verified.anchored), (2, Some(1)));
//! assert_eq!(guard.replay(&record), Replay::Same);
//!
//! // Somebody who would rather have been allowed.
//! let forged = file.replace("hold", "allow");
//! match verify(forged.as_bytes(), &[]) {
//!     Err(VerifyError::Broken(broken)) => assert_eq!((broken.seq, broken.how), (1, Tamper::Changed)),
//!     other => panic!("{other:?}"),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! One record is one line of JSON: `seq`, `at_ms`, `kind`, `body`, `prev`, `hash`. The file *is* the export. The hash of
//! a record is the SHA-256 of the bytes `unattended-defense/audit/1` and a zero; `seq` and `at_ms` as 8 bytes each, the
//! least significant first; the length of `kind`, likewise, and its bytes; those of `body` as it stands in the line; and
//! the 32 bytes of `prev`, which are zero in the first record. So any other program can verify it, too.
//!
//! A chain proves what was recorded, in which order. It does not prove that everything was recorded, nor that a clock
//! was right.

mod anchor;
mod chain;
mod entry;
mod hash;
mod record;
mod replay;
mod verify;

pub use anchor::{Anchor, Head, Signature, Signer, Verifier};
pub use chain::{Chain, Log, Resumed};
pub use entry::{Command, Effect, Entry};
pub use hash::{Hash, NoHash};
pub use record::Record;
pub use replay::Replay;
pub use verify::{Broken, Tamper, Verified, VerifyError, verify};
