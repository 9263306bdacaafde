//! A fleet of local processes as a `Platform`: started, asked, closed, opened, handed over and adopted, each known by
//! its pidfd.
mod births;
mod clock;
mod envoy;
mod error;
mod fill;
mod foreign;
mod house;
mod http;
mod keeper;
mod logs;
mod look;
mod news;
mod orders;
mod platform;
mod process;
mod program;
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
pub use sidecar::Sidecar;
pub use target::Target;
pub use template::{Start, Template};
