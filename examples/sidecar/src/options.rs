//! The command line.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Parser, ValueEnum};

use crate::fault::{Fault, Faults};

/// A small proxy beside an application, which is upgraded while its clients stay connected.
#[derive(Clone, Debug, Parser)]
#[command(name = "sidecar", no_binary_name = false)]
pub(crate) struct Options {
    /// Name of the target whose traffic this is.
    #[arg(long)]
    pub(crate) target: String,
    /// Number of this running copy: no other one of the target has had it.
    #[arg(long)]
    pub(crate) instance: u64,
    /// The version that runs.
    #[arg(long)]
    pub(crate) version: String,
    /// The slot that it runs in.
    #[arg(long)]
    pub(crate) slot: Slot,
    /// Directory of the target, with the files `committed` and `ingress`.
    #[arg(long)]
    pub(crate) dir: PathBuf,
    /// Path of the admin socket; the hand-over's doorbell is this path with `.handover` after it.
    #[arg(long)]
    pub(crate) admin: PathBuf,
    /// Bind nothing: the listeners come from the process that serves.
    #[arg(long)]
    pub(crate) passive: bool,
    /// An HTTP/1.1 listener and where its requests go.
    #[arg(long, value_name = "LISTEN=UPSTREAM")]
    http: Vec<Pair>,
    /// A listener whose connections are relayed byte by byte.
    #[arg(long, value_name = "LISTEN=UPSTREAM")]
    tcp: Vec<Pair>,
    /// A listener for calls that begin with their length, four bytes, big endian.
    #[arg(long, value_name = "LISTEN=UPSTREAM")]
    framed: Vec<Pair>,
    /// A listener for datagrams.
    #[arg(long, value_name = "LISTEN=UPSTREAM")]
    udp: Vec<Pair>,
    /// Bytes that the kernel may hold of each connection in each direction; its own choice otherwise.
    #[arg(long, value_name = "BYTES")]
    pub(crate) socket_buffer: Option<u32>,
    /// The configuration to start with, a JSON object; one that was pushed at this target is the later word.
    #[arg(long)]
    pub(crate) config: Option<PathBuf>,
    /// Synthetic requests a second that the process sends through itself.
    #[arg(long, value_name = "N", default_value_t = 400, value_parser = clap::value_parser!(u32).range(50..=100_000))]
    pub(crate) self_tests: u32,
    /// How long it goes on serving what could not move when it has left its place, in milliseconds; a later process of the
    /// target takes it over as soon as it can be moved.
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub(crate) leftover_ms: u64,
    /// What this release does wrong.
    #[arg(long, value_name = "NAME[=VALUE]")]
    fault: Vec<Fault>,
    /// Where to write lines about what happens; standard error otherwise.
    #[arg(long)]
    pub(crate) log: Option<PathBuf>,
}

/// The place a process runs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Slot {
    A,
    B,
}

impl Slot {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
        }
    }
}

/// What is spoken on a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Protocol {
    Http,
    Tcp,
    Framed,
    Udp,
}

impl Protocol {
    pub(crate) const ALL: [Self; 4] = [Self::Http, Self::Tcp, Self::Framed, Self::Udp];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Tcp => "tcp",
            Self::Framed => "framed",
            Self::Udp => "udp",
        }
    }
}

/// A listener and where its traffic goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) protocol: Protocol,
    pub(crate) listen: SocketAddr,
    pub(crate) upstream: SocketAddr,
}

impl fmt::Display for Route {
    /// What the listener is called; every version of the sidecar must call it the same.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.protocol.as_str(), self.listen)
    }
}

#[derive(Clone, Copy, Debug)]
struct Pair {
    listen: SocketAddr,
    upstream: SocketAddr,
}

impl FromStr for Pair {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (listen, upstream) = text
            .split_once('=')
            .ok_or_else(|| format!("`{text}` is not LISTEN=UPSTREAM, as in 127.0.0.1:8080=127.0.0.1:80"))?;
        let address = |text: &str| {
            text.parse()
                .map_err(|_| format!("`{text}` is no address with a port, as in 127.0.0.1:8080"))
        };
        Ok(Self {
            listen: address(listen)?,
            upstream: address(upstream)?,
        })
    }
}

impl Options {
    /// All listeners.
    pub(crate) fn routes(&self) -> impl Iterator<Item = Route> {
        let of = |protocol, pairs: &[Pair]| {
            let route = move |pair: &Pair| Route {
                protocol,
                listen: pair.listen,
                upstream: pair.upstream,
            };
            pairs.iter().map(route).collect::<Vec<_>>()
        };
        [
            of(Protocol::Http, &self.http),
            of(Protocol::Tcp, &self.tcp),
            of(Protocol::Framed, &self.framed),
            of(Protocol::Udp, &self.udp),
        ]
        .into_iter()
        .flatten()
    }

    /// What this release does wrong, all together.
    pub(crate) fn faults(&self) -> Faults {
        self.fault.iter().copied().collect()
    }

    /// The hand-over's doorbell.
    pub(crate) fn doorbell(&self) -> PathBuf {
        let mut path = self.admin.clone().into_os_string();
        path.push(".handover");
        path.into()
    }

    /// What the types cannot say.
    ///
    /// # Errors
    ///
    /// What is wrong, and what to do.
    pub(crate) fn check(&self) -> Result<(), String> {
        let mut names: Vec<String> = self.routes().map(|route| route.to_string()).collect();
        if names.is_empty() {
            return Err("there is no listener; give --http, --tcp, --framed or --udp".to_owned());
        }
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(format!("{} is given twice; give each listener once", twice[0]));
        }
        if !self.dir.is_dir() {
            return Err(format!("--dir {}: there is no such directory", self.dir.display()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::{Options, Protocol};

    fn parse(more: &str) -> Result<Options, String> {
        let line = format!("sidecar --target t --instance 1 --version v --slot a --dir / --admin /tmp/a {more}");
        Options::try_parse_from(line.split_whitespace())
            .map_err(|error| error.to_string())
            .and_then(|options| options.check().map(|()| options))
    }

    #[test]
    fn listeners_have_the_same_name_whatever_they_lead_to() {
        let one = parse("--http 127.0.0.1:80=127.0.0.1:81 --udp 127.0.0.1:80=127.0.0.1:82").unwrap();
        let routes: Vec<_> = one.routes().collect();
        assert_eq!(routes[0].to_string(), "http 127.0.0.1:80");
        assert_eq!(routes[1].protocol, Protocol::Udp);
        assert_eq!(one.doorbell().as_os_str(), "/tmp/a.handover");
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_words() {
        for (line, word) in [
            ("", "there is no listener"),
            ("--tcp 127.0.0.1:80", "is not LISTEN=UPSTREAM"),
            ("--tcp localhost:80=127.0.0.1:1", "is no address with a port"),
            (
                "--tcp 127.0.0.1:80=127.0.0.1:1 --tcp 127.0.0.1:80=127.0.0.1:2",
                "is given twice",
            ),
            ("--tcp 127.0.0.1:80=127.0.0.1:1 --fault crsh", "is no fault"),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.contains(word), "{line}: {error}");
        }
    }
}
