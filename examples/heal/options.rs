//! The command line.

use std::path::PathBuf;

use clap::Parser;

/// Twenty proxies call twelve servers, and things break: who finds out, how soon, and is anybody accused wrongly?
///
/// A server dies, half-fails, slows down five times; one proxy's own network breaks; a zone is cut off from another. By
/// default over real sockets on loopback; with --virtual on virtual time, where a seed decides everything.
///
/// Exit codes: 0 every fault was laid at the right door and nobody was isolated wrongly; 1 not so; 2 bad input; 4 a fault
/// of this program.
#[derive(Debug, Parser)]
#[command(name = "heal", disable_version_flag = true, max_term_width = 100)]
pub(crate) struct Options {
    /// Requests a second of each proxy; over sockets at most 200
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) rps: u32,
    /// Run on virtual time
    #[arg(long = "virtual")]
    pub(crate) on_virtual_time: bool,
    /// Which requests go where and, on virtual time, everything else
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// Write a page that draws the matrix of proxies and servers over time
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}
