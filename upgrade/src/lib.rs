//! Not Debian's unattended-upgrades: this crate upgrades one target at a time, crash-proof, on any platform.
mod clock;
mod config;
pub mod conformance;
mod driver;
mod hash;
mod history;
mod ids;
mod journal;
mod machine;
mod memory;
mod mode;
mod platform;
mod receipt;
mod record;
mod shared;
mod timing;
mod wire;

pub use clock::Clock;
pub use config::{DriverConfig, Job, SubmitError};
pub use driver::{Driver, DriverError, Turn};
pub use history::{Describer, Description};
pub use ids::{AttemptId, EffectKey, Generation, InstanceId, TargetId, Version};
pub use journal::{Group, Journal, JournalError, Position, Record, Stream};
pub use machine::{Command, Effect, Event, Machine, Plan, Remembered, Which};
pub use memory::MemoryJournal;
pub use mode::{Mode, ModeChoice, ModeError, Wanted, choose_mode};
pub use platform::{
    Capabilities, EffectOutcome, FleetChange, Ingress, IngressOrder, News, Observation, Phase, Platform, PlatformError,
    SelfCheck,
};
pub use receipt::{Reason, Receipt, Serving, Step, Terminal};
pub use record::{RecordError, Told, UpgradeRecord};
pub use timing::{ConfigError, Timing};
