//! Benchmarks, each against a peer or a floor in the same run.
//!
//! It is no regression gate: nothing fails when something is slow. A time says little on a machine that others use, too;
//! the ratio to a yardstick measured beside it, on the same data, says much more. So every bench measures both, and
//! [`Suite`] prints the ratios at the end.
//!
//! ```text
//! cargo bench -p unattended-benches                         # all of it, about a minute and a half
//! cargo bench -p unattended-benches --bench batching        # one file
//! cargo bench -p unattended-benches --bench batching 100k   # both sides of a line have `100k` in their names
//! ```
//!
//! ```no_run
//! use unattended_benches::{SplitMix64, Suite};
//!
//! let mut random = SplitMix64::new(7);
//! let words: Vec<u64> = (0..1_000).map(|_| random.next_u64()).collect();
//! let mut suite = Suite::new("example", 1);
//! suite.measure("stable", 1_000, |b| b.iter_with_large_drop(|| { let mut w = words.clone(); w.sort(); w }));
//! suite.measure("unstable", 1_000, |b| b.iter_with_large_drop(|| { let mut w = words.clone(); w.sort_unstable(); w }));
//! suite.compare("sorting 1,000 words", "word", "stable", "unstable", "sort_unstable");
//! suite.finish();
//! ```
//!
//! ```text
//!  seed ─► fixtures ─┬─► measure("ours")      ─┐
//!                    └─► measure("yardstick") ─┴─► criterion ─► estimates ─► compare ─► one line of the table
//! ```
//!
//! # Guarantees
//!
//! - Fixtures come from a fixed seed: every run measures the same work.
//! - A line of the table is made of two measurements of the same process, or it is not printed: estimates that an earlier
//!   run left are removed before.
//!
//! # Limits
//!
//! - The two sides of a line run one after the other, not interleaved: what the machine does in between is in the ratio.
//! - A floor does less than ours by intention, and each bench says what it leaves out. A ratio of 1 is not the aim.

mod pods;
mod random;
mod suite;

pub use pods::{Pod, pods};
pub use random::SplitMix64;
pub use suite::Suite;
