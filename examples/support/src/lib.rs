//! What the examples share: fleet inventories from CSV, JSON lines, Kubernetes and synthesis, and the judges of others.
//!
//! It is no part of the product and depends on none of its crates: an example turns [`Target`]s into the fleet of a
//! planner, or into a simulated world.
//!
//! ```
//! use unattended_examples_support::{Mapping, Source, Synthetic, load, read};
//!
//! let table = "instance,app_name,role\ni-1,pay,java\ni-2,web,go\n";
//! let map = Mapping::parse("id=instance,app=app_name,stack=role")?;
//! let fleet = read("fleet.csv", table.as_bytes(), Some(&map), None)?;
//! assert_eq!(fleet.targets[1].label("stack"), Some("go"));
//! assert_eq!(fleet.keys, ["stack"]);
//!
//! let made_up = load(&Source::Synthetic { fleet: Synthetic::parse("1000x10")?, seed: 7 })?;
//! assert_eq!((made_up.targets.len(), made_up.applications()), (1000, 10));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! ```text
//!  table with a header ───────────┐
//!  {"id": …, "app": …} per line ──┤ told apart       ┌─ targets: id, application, labels, state
//!  kubectl get pods -A -o json ───┤ by content ──►   │  notes:   what was read, by which rule, what was left out
//!  --synthetic PODSxAPPS ─────────┤                  └─ keys:    labels to spread over
//!  nothing: the bundled fleet ────┘     or one InputError: place, field, fix
//! ```
//!
//! # Guarantees
//!
//! - The same bytes give the same inventory; so does the same seed.
//! - Input is read once and never held as a whole: a list of pods of a gigabyte costs what its targets cost.
//! - Nothing is guessed past a fault: one bad row refuses the file, and the message names line, field and fix.
//! - Unknown is not healthy: a pod whose state cannot be told is [`State::AppUnready`] or [`State::Pending`].
//!
//! # Lists of pods
//!
//! A target is a pod that is neither terminating nor finished and has exactly one container, or native sidecar, whose
//! *whole* name the pattern after `--container` matches. Its application is, whichever comes first:
//!
//! 1. the label `app.kubernetes.io/name`;
//! 2. the owner: the Deployment behind a ReplicaSet, the CronJob behind a Job, else the owner itself;
//! 3. the pod's own name.
//!
//! If the list has several namespaces, the namespace stands before it: two teams may both have a `web`. The labels
//! `zone`, `region` and `namespace` have a meaning of their own; other labels keep their key, without what stands
//! before the last `/` where that is clear. Labels that controllers set are left out, and so are those that repeat the
//! application for every target; the notes name them.
//!
//! # Limits
//!
//! At most [`MAX_TARGETS`] targets; at most 8 MiB for one line, row or pod; commas only in CSV; text in UTF-8.

mod builder;
mod csv;
mod envoy;
mod error;
mod exit;
mod failure;
mod guard;
mod inventory;
mod jsonl;
mod mapping;
pub mod peers;
mod pods;
mod rng;
mod source;
mod synthetic;
mod text;
mod value;

pub use envoy::{ENVOY_NEW, ENVOY_OLD, Envoys, envoys};
pub use error::{Field, InputError, Place, Spot};
pub use exit::Exit;
pub use failure::Failure;
pub use inventory::{Inventory, Labels, MAX_TARGETS, State, Target};
pub use mapping::Mapping;
pub use source::{Source, load, read};
pub use synthetic::{Synthetic, SyntheticTargets, bundled};
pub use text::{count, nearest, wrap};
