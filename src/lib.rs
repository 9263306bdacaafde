//! Change a very large fleet while nobody watches.
mod builder;
mod change;
mod driver;
mod dump;
mod error;
mod handle;
mod input;
mod machine;
mod ports;
pub mod report;
mod settings;
mod summary;

pub use builder::{Autopilot, Builder, Missing, Preview};
pub use change::{Actor, ActorKind, Change, Debt, Level, Outcome};
pub use dump::{DumpLine, dump};
pub use error::{RunError, StartError};
pub use handle::{Command, CommandError, Handle, Progress};
pub use ports::{AlwaysPermit, Notice, Notifier, Permit, PermitError, Question, QuestionKind};
pub use settings::Settings;
pub use summary::{
    Ask, BatchView, DecisionView, Evidence, EvidencePoint, Exposure, ExposurePoint, FaultView, HoldView, Next,
    ReceiptView, SUMMARY_SCHEMA, Summary,
};

pub use unattended_batching as batching;
pub use unattended_defense as defense;
pub use unattended_health as health;
pub use unattended_selfheal as selfheal;
pub use unattended_upgrade as upgrade;
