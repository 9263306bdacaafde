//! The command line.

use clap::{Parser, ValueEnum};
use serde::{Deserialize, Serialize};

/// Upgrades a fleet of real proxies under load, and says what clients saw.
///
/// Exit codes: 0 completed; 1 rolled back; 2 bad input; 3 somebody is needed; 4 a fault of this program. With more than
/// one round it is that of the worst.
#[derive(Clone, Debug, Parser, Serialize, Deserialize)]
#[command(name = "hot_upgrade", disable_version_flag = true, max_term_width = 100)]
pub(crate) struct Options {
    /// How each target is upgraded
    #[arg(long, value_enum, default_value_t = Way::Hot)]
    pub(crate) mode: Way,
    /// Long-lived connections, over the whole fleet
    #[arg(long, default_value_t = 240, value_parser = clap::value_parser!(u32).range(0..=20_000))]
    pub(crate) connections: u32,
    /// Targets
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) fleet: u32,
    /// How often the whole fleet is upgraded, one version after the other
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) rounds: u32,
    /// What the new versions are like
    #[arg(long, value_enum, default_value_t = Release::Good)]
    pub(crate) release: Release,
    /// Who is killed in each round, at a random moment
    #[arg(long, value_enum)]
    pub(crate) kill: Option<Victim>,
    /// Who stands still for up to three seconds in each round (SIGSTOP), at a random moment
    #[arg(long, value_enum, conflicts_with = "kill")]
    pub(crate) stop: Option<Victim>,
    /// Of everything that is drawn: plans, messages, moments
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Envoy instead of the small sidecar: 1.39.3 and 1.40.0 in turn, as pip has them
    #[arg(long, conflicts_with_all = ["kill", "stop"])]
    pub(crate) envoy: bool,
    /// Print one JSON object as the last line
    #[arg(long)]
    pub(crate) json: bool,
}

/// The modes of an upgrade that are tried here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Way {
    /// The application restarts with its sidecar
    Cold,
    /// Traffic is led away, the sidecar is replaced, traffic comes back
    Warm,
    /// Both sidecars run, and connections move
    Hot,
}

/// What may be wrong with a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Release {
    /// Nothing
    Good,
    /// It is the old one under a new name
    Same,
    /// Exits at its start
    Crash,
    /// Never says that it is ready
    Unready,
    /// Fails a twentieth of its requests by itself
    Errors,
    /// Takes three times as long
    Slow,
    /// Dies when it has taken its first connections
    DiesMidHandover,
}

/// Who is killed, or stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Victim {
    /// A process of the version that is being left
    Old,
    /// A process of the version that comes
    New,
    /// The process that upgrades them all; one that was killed is started again
    Controller,
    /// One of these, another in each round
    Random,
}

impl Release {
    /// How a version is made so from the one source.
    pub(crate) const fn fault(self) -> Option<&'static str> {
        match self {
            Self::Good | Self::Same => None,
            Self::Crash => Some("crash"),
            Self::Unready => Some("unready"),
            Self::Errors => Some("errors=0.05"),
            Self::Slow => Some("slow=3"),
            Self::DiesMidHandover => Some("dies-mid-handover"),
        }
    }
}
