//! Envoy, the real one: warm by its health endpoint, hot by its own hot restart.
mod binary;
mod bootstrap;
mod chain;
mod kernel;
mod program;
mod record;
mod requests;
mod sockets;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::Value;
use unattended_upgrade::{Capabilities, Facts, Version};

pub use binary::HotRestartVersion;
pub use requests::{EnvoyRequests, RequestsError, ServedBy, counter_class};

use crate::TemplateError;
use crate::fill::fill;
use crate::foreign::address;
use crate::program::Place;
use crate::template::find;
use bootstrap::{Listener, Protocol};
use chain::{Link, Role, StandIn};

/// Envoys of one target: a binary for each version, the listeners, and for each version what else its configuration
/// has. [docs/envoy.md](https://github.com/unattended-rs/unattended/blob/main/docs/envoy.md) tells what was measured.
///
/// Addresses may have placeholders as in [`Start`](crate::Start).
///
/// ```
/// use unattended_process::Envoy;
///
/// let envoy = Envoy::new()
///     .release("1.39.3", "/opt/envoy-1.39.3/envoy")
///     .release("1.40.0", "/opt/envoy-1.40.0/envoy")
///     .http("127.0.0.1:{port}", "127.0.0.1:{upstream}");
/// # drop(envoy);
/// ```
///
/// # Warm
///
/// A way is closed by `/healthcheck/fail`: the health endpoint (`/healthz`) answers with 503, and every response asks its
/// client to close the connection. What is started while the way is closed answers with 503 from its first instant.
///
/// # Hot
///
/// | order | what it is here |
/// | --- | --- |
/// | before anything | both binaries print the same version of hot restarts, the new one accepts its configuration |
/// | `spawn` | the next epoch starts behind a gate: it holds the listeners of the old one, and polls none of them |
/// | `offer` | nothing to do: that is seen in the kernel's tables |
/// | `accept` | the gate opens: it polls, and the old one closes its listeners and drains |
/// | `quiesce` | done already; refused while the new one does not serve |
/// | `migrate` | nothing can move: connections end by the drain |
/// | `commit` | the adapter's own record |
/// | `retire` | the old one is ended, and what it still has is cut and counted |
/// | `return` | before `accept` there is nothing to do; after it the old version takes over by another hot restart |
///
/// # Limits
///
/// - **No connection moves.** Those of the old one are `declined` if they end by themselves, `cut` if not, `lost` if it died.
/// - **Both never accept for long**, which [`HandoverOrder::Accept`](unattended_upgrade::HandoverOrder::Accept) asks for. The
///   hot machine does not need it; the public suite for platforms stops there.
/// - **There is no lease.** From `accept` on the old one has no listeners. If the new one dies, nobody takes connections
///   until the old version has been started again, which the adapter does when the attempt turns back.
/// - **The old one is deaf** from the moment at which a new one starts, whatever becomes of that: Envoy closes its
///   administration. It is then seen from outside only, and closing its way does not ask clients to close connections.
/// - The two must speak exactly the same version of hot restarts, run on one machine, and have as many workers.
/// - A configuration with clusters from a management server (`dynamic_resources.cds_config`) is not supported: the gate
///   is made of that.
#[derive(Clone, Debug)]
pub struct Envoy {
    releases: Vec<(Version, String)>,
    patches: Vec<(Version, Value)>,
    listeners: Vec<(Protocol, String, String)>,
    concurrency: u16,
    drain_s: u32,
    ask_ms: u64,
    /// Held until nobody can speak to a dead parent any more.
    stand_ins: Arc<Mutex<Vec<Arc<StandIn>>>>,
}

impl Default for Envoy {
    fn default() -> Self {
        Self::new()
    }
}

impl Envoy {
    /// Nothing yet: give it releases and listeners.
    pub fn new() -> Self {
        Self {
            releases: Vec::new(),
            patches: Vec::new(),
            listeners: Vec::new(),
            concurrency: 1,
            drain_s: 5,
            ask_ms: 2_000,
            stand_ins: Arc::default(),
        }
    }

    /// With the binary of a version. The version is any name; the same binary may have several.
    #[must_use]
    pub fn release(mut self, version: impl Into<Version>, binary: impl Into<String>) -> Self {
        self.releases.push((version.into(), binary.into()));
        self
    }

    /// With what the configuration of one version has beside the listeners, merged in as RFC 7396 says: objects are
    /// merged, lists replaced, `null` takes away. Its administration, its node and its dynamic clusters are the adapter's.
    #[must_use]
    pub fn patch(mut self, version: impl Into<Version>, patch: Value) -> Self {
        self.patches.push((version.into(), patch));
        self
    }

    /// With a listener for HTTP, and whom it passes requests on to. The first one is where it is probed.
    #[must_use]
    pub fn http(mut self, listen: impl Into<String>, upstream: impl Into<String>) -> Self {
        self.listeners.push((Protocol::Http, listen.into(), upstream.into()));
        self
    }

    /// With a listener for TCP.
    #[must_use]
    pub fn tcp(mut self, listen: impl Into<String>, upstream: impl Into<String>) -> Self {
        self.listeners.push((Protocol::Tcp, listen.into(), upstream.into()));
        self
    }

    /// Sets the number of workers, the same for every version: Envoy passes one queue per worker on. Default 1.
    #[must_use]
    pub const fn concurrency(mut self, workers: u16) -> Self {
        self.concurrency = workers;
        self
    }

    /// Sets over how many seconds connections are asked to end, more and more of them. Default 5.
    #[must_use]
    pub const fn drain_s(mut self, seconds: u32) -> Self {
        self.drain_s = seconds;
        self
    }

    /// Sets how long it may leave a question unanswered, in milliseconds. Default 2 s.
    #[must_use]
    pub const fn ask_ms(mut self, ask_ms: u64) -> Self {
        self.ask_ms = ask_ms;
        self
    }

    /// The file in `directory`, that of a target, to which every Envoy of the target writes a line per request.
    pub fn access_log(directory: &Path) -> PathBuf {
        directory.join("access.log")
    }

    /// What is known for the choice of a mode from one version to another: the protocols of hot restarts of both
    /// binaries, and memory. What a binary does not say stays unknown, and then hot is refused with that reason.
    pub async fn facts(&self, capabilities: Capabilities, from: &Version, to: &Version) -> Facts {
        let old = self.hot_restart_version(from).await;
        let new = self.hot_restart_version(to).await;
        let mut facts = Facts::new(capabilities).old_is_there(self.binary(from).is_ok());
        if let (Ok(old), Ok(new)) = (old, new) {
            facts = facts.protocols(old.protocols(), new.protocols());
        }
        if let Some(free) = free_memory() {
            facts = facts.memory(NEEDED_BYTES, free);
        }
        facts
    }

    /// Which protocol of hot restarts the binary of a version speaks; in words why that is not known.
    ///
    /// # Errors
    ///
    /// The version has no binary, or it cannot be run, or says nothing that makes sense.
    pub async fn hot_restart_version(&self, version: &Version) -> Result<HotRestartVersion, String> {
        let binary = self.binary(version).map_err(|error| error.to_string())?;
        binary::hot_restart_version(&binary, self.ask_ms.max(BINARY_MS)).await
    }

    fn binary(&self, version: &Version) -> Result<String, TemplateError> {
        let Some((_, binary)) = self.releases.iter().find(|(name, _)| name == version) else {
            let known: Vec<&str> = self.releases.iter().map(|(name, _)| name.as_str()).collect();
            let problem = format!("version {version} has no binary, only {} have", known.join(", "));
            return Err(TemplateError::new("release", problem, "name its binary with `release`"));
        };
        find("release", binary)
    }

    fn patch_of(&self, version: &Version) -> Option<&Value> {
        self.patches
            .iter()
            .find(|(name, _)| name == version)
            .map(|(_, patch)| patch)
    }

    fn listeners(&self, place: &Place) -> Result<Vec<Listener>, TemplateError> {
        let at = |field: &str, text: &str| {
            let text = fill(field, text, &place.values())?;
            address(field.to_owned(), &text, place).map(|(_, address)| address)
        };
        let listener = |(protocol, listen, upstream): &(Protocol, String, String)| {
            let field = match protocol {
                Protocol::Http => "http",
                Protocol::Tcp => "tcp",
            };
            Ok(Listener {
                protocol: *protocol,
                listen: at(field, listen)?,
                upstream: at(&format!("{field}.upstream"), upstream)?,
            })
        };
        self.listeners.iter().map(listener).collect()
    }

    /// The arguments of a start.
    fn arguments(&self, place: &Place, link: &Link, files: &InstanceFiles) -> Vec<String> {
        let mut arguments = Vec::new();
        let mut with = |name: &str, value: String| arguments.extend([format!("--{name}"), value]);
        with("config-path", files.bootstrap().display().to_string());
        with("base-id", link.base_id.to_string());
        with("restart-epoch", link.epoch.to_string());
        with("concurrency", self.concurrency.to_string());
        with("socket-path", sockets(&place.directory).display().to_string());
        with("socket-mode", "600".to_owned());
        with("drain-time-s", self.drain_s.to_string());
        with("parent-shutdown-time-s", NEVER_S.to_string());
        with("file-flush-interval-msec", "100".to_owned());
        with("log-level", "warning".to_owned());
        // Asking a parent for its counters blocks, and aborts where that has died.
        arguments.push("--skip-hot-restart-parent-stats".to_owned());
        arguments
    }
}

/// Ten years. A child that ends its parent at a time tries for ten seconds and aborts if that has died before; so the adapter
/// ends it, and no absence of the adapter can end an Envoy that serves.
const NEVER_S: u32 = 315_360_000;
/// A second Envoy with a small configuration had 15 MB of its own here, and 66 MB with what it maps of its program. Large
/// configurations take more.
const NEEDED_BYTES: u64 = 64 << 20;
/// How long a binary may take to read a configuration or print a version, in milliseconds.
const BINARY_MS: u64 = 10_000;
/// The kernel's bound for a Unix socket's path, its end included.
const LONGEST_PATH: usize = 108;

/// Below this path lie the sockets by which Envoys of one target speak to each other.
fn sockets(directory: &Path) -> PathBuf {
    directory.join("hr")
}

fn check_lengths(directory: &Path) -> Result<(), TemplateError> {
    let bytes = sockets(directory).as_os_str().len() + Role::LONGEST + 1;
    if bytes <= LONGEST_PATH {
        return Ok(());
    }
    let problem = format!(
        "the sockets in {} would have paths of {bytes} bytes",
        directory.display()
    );
    Err(TemplateError::new(
        "directory",
        problem,
        "give a directory with a shorter path",
    ))
}

/// The files of one instance.
#[derive(Clone, Debug, PartialEq, Eq)]
struct InstanceFiles {
    directory: PathBuf,
}

impl InstanceFiles {
    fn of(place: &Place) -> Self {
        Self::numbered(&place.directory, place.instance.0)
    }

    /// Of one that is never started.
    fn of_rehearsal(place: &Place) -> Self {
        Self {
            directory: place.directory.join("envoy").join("rehearsal"),
        }
    }

    fn numbered(target: &Path, instance: u64) -> Self {
        Self {
            directory: target.join("envoy").join(instance.to_string()),
        }
    }

    fn bootstrap(&self) -> PathBuf {
        self.directory.join("bootstrap.json")
    }

    fn clusters(&self) -> PathBuf {
        self.directory.join(CLUSTERS)
    }

    fn link(&self) -> PathBuf {
        self.directory.join(LINK)
    }
}

const CLUSTERS: &str = "clusters.json";
const LINK: &str = "link.json";

/// Bytes that the kernel would give without swapping.
fn free_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kilobytes: u64 = line.split_ascii_whitespace().next()?.parse().ok()?;
    Some(kilobytes << 10)
}
