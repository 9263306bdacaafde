use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Capabilities;

/// How a target is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Mode {
    /// Replace, verify; the application may restart with it. Needs no capability.
    Cold,
    /// Close ingress, drain, replace in place, verify, reopen: the application keeps running.
    Warm,
    /// Start the new version beside the old one, let it take over listeners and live connections, end the old one.
    Hot,
    /// Push a configuration and see it acknowledged; the versions of the attempt are those of the configuration.
    Config,
}

impl Mode {
    /// All, in the order of their journaled numbers.
    pub const ALL: [Self; 4] = [Self::Cold, Self::Warm, Self::Hot, Self::Config];

    /// The journaled number.
    pub const fn number(self) -> u8 {
        match self {
            Self::Cold => 0,
            Self::Warm => 1,
            Self::Hot => 2,
            Self::Config => 3,
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cold => "cold",
            Self::Warm => "warm",
            Self::Hot => "hot",
            Self::Config => "config",
        })
    }
}

/// What a platform lacks for a mode, if anything.
pub(crate) const fn missing_for(capabilities: &Capabilities, mode: Mode) -> Option<&'static str> {
    match mode {
        Mode::Cold => None,
        Mode::Hot => match (capabilities.slots, capabilities.hand_over) {
            (true, true) => None,
            (false, true) => Some("it has no second slot for the new version to start in"),
            (true, false) => Some("it does not reach the agents that hand connections over"),
            (false, false) => Some("it has no second slot and does not reach the agents that hand connections over"),
        },
        Mode::Config if capabilities.config => None,
        Mode::Config => Some("it cannot push configurations"),
        Mode::Warm => match (capabilities.ingress, capabilities.in_place) {
            (true, true) => None,
            (false, true) => Some("it has no control over ingress"),
            (true, false) => Some("it cannot replace the sidecar while the application runs"),
            (false, false) => {
                Some("it has no control over ingress and cannot replace the sidecar while the application runs")
            }
        },
    }
}
