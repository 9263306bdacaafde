//! What this program and the processes it starts of itself agree on.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde::{Deserialize, Serialize};
use unattended_examples_support::{Envoys, Failure, envoys};
use unattended_process::{Envoy, Sidecar, Start, Target, Template};

use crate::client::{HEARD_MS, Site};
use crate::options::{Options, Release};

/// How long an application takes to start, in milliseconds: what a cold upgrade costs and the others do not.
pub(crate) const COLD_START_MS: u64 = 1_000;

/// Synthetic requests a second of each sidecar: so many that the first target has shown in seconds what it must.
const SELF_TESTS: u32 = 4_000;

/// For how long an Envoy that is left asks its clients to go, in seconds.
const DRAIN_S: u32 = 3;

/// The first port that is looked at.
const FIRST_PORT: u16 = 10_000;

/// Ports of one program: five for each of a hundred targets, and one that says so.
const PORTS: u16 = 512;

/// Targets of one application, at the least; fewer could not stand in for each other.
const REPLICAS: u32 = 4;

/// The fleet.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct World {
    pub(crate) options: Options,
    /// This program.
    program: PathBuf,
    /// Where the fleet, the journals and the answers lie.
    pub(crate) directory: PathBuf,
    pub(crate) targets: Vec<Place>,
    /// How long the proxies took to be ready, all at once, in milliseconds: how fast this machine is. 0 until that is known.
    pub(crate) came_up_ms: u64,
    /// Two Envoys, where they take the place of the sidecar.
    envoys: Option<[PathBuf; 2]>,
    /// Held as long as this is, in the program that chose them.
    #[serde(skip)]
    #[expect(dead_code, reason = "held for its end")]
    ports: Option<Arc<TcpListener>>,
}

/// Where a target is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) id: String,
    pub(crate) app: u32,
    /// Of the proxy: HTTP, bytes, calls with a length.
    pub(crate) doors: [SocketAddr; 3],
    /// Of the application: HTTP, bytes.
    behind: [SocketAddr; 2],
}

impl Place {
    /// What changes call its application.
    pub(crate) fn application(&self) -> String {
        format!("app-{}", self.app)
    }
}

/// The version of a round; round 0 is what the fleet starts with.
pub(crate) fn version(round: u32) -> String {
    format!("v{}", round + 1)
}

impl World {
    pub(crate) fn new(options: Options, directory: &Path) -> Result<Self, Failure> {
        let program = std::env::current_exe().map_err(Failure::internal)?;
        let envoys = if options.envoy {
            if options.release.fault().is_some() {
                return Err(Failure::Input(
                    "--release: an Envoy is as it is: give `good` or `same`, or leave out --envoy".to_owned(),
                ));
            }
            let Envoys { old, new, .. } = envoys().map_err(Failure::Input)?;
            Some([old, new])
        } else {
            None
        };
        let apps = (options.fleet / REPLICAS).max(1);
        let mut ports = Ports::take()?;
        let mut targets = Vec::new();
        for number in 0..options.fleet {
            let mut door = || ports.next();
            targets.push(Place {
                id: format!("pod-{number}"),
                app: number % apps,
                doors: [door()?, door()?, door()?],
                behind: [door()?, door()?],
            });
        }
        Ok(Self {
            options,
            program,
            directory: directory.to_owned(),
            targets,
            came_up_ms: 0,
            envoys,
            ports: Some(Arc::new(ports.first)),
        })
    }

    /// Where the adapter keeps the fleet.
    pub(crate) fn fleet_directory(&self) -> PathBuf {
        self.directory.join("fleet")
    }

    /// The targets as the process adapter starts them. Versions after the first are what `--release` says.
    pub(crate) fn process_targets(&self) -> Vec<Target> {
        let program = self.program.display().to_string();
        self.targets
            .iter()
            .map(|place| {
                let [app_http, app_tcp] = place.behind;
                let application = Start::new(&program).arguments([
                    "application".to_owned(),
                    format!("--http={app_http}"),
                    format!("--tcp={app_tcp}"),
                    format!("--cold-start-ms={COLD_START_MS}"),
                ]);
                let template = match self.envoy(place) {
                    Some(envoy) => Template::envoy(envoy),
                    None => Template::sidecar(self.sidecar(place)),
                };
                let template = template.application(application).grace_ms(6_000).balancers_ms(HEARD_MS);
                // Without its application: changes name those of their targets, and of one whom a change leaves out they would
                // else hear that it was born in their scope.
                Target::new(place.id.as_str(), version(0).as_str(), template)
            })
            .collect()
    }

    fn sidecar(&self, place: &Place) -> Sidecar {
        let [http, tcp, framed] = place.doors;
        let [app_http, app_tcp] = place.behind;
        let sidecar = Sidecar::new(
            Start::new(self.program.display().to_string())
                .arguments(["sidecar".to_owned(), format!("--self-tests={SELF_TESTS}")]),
        )
        .http(format!("{http}={app_http}"))
        .tcp(format!("{tcp}={app_tcp}"))
        .framed(format!("{framed}={app_tcp}"));
        let Some(fault) = self.options.release.fault() else {
            return sidecar;
        };
        (1..=self.options.rounds).fold(sidecar, |sidecar, round| {
            sidecar.version(version(round).as_str().into(), ["--fault", fault])
        })
    }

    /// The Envoy of a target: the two binaries in turn.
    pub(crate) fn envoy(&self, place: &Place) -> Option<Envoy> {
        let binaries = self.envoys.as_ref()?;
        let [http, tcp, _] = place.doors;
        let [app_http, app_tcp] = place.behind;
        let envoy = Envoy::new()
            .http(http.to_string(), app_http.to_string())
            .tcp(tcp.to_string(), app_tcp.to_string())
            .drain_s(DRAIN_S);
        let same = self.options.release == Release::Same;
        Some((0..=self.options.rounds).fold(envoy, |envoy, round| {
            let binary = &binaries[if same { 0 } else { round as usize % 2 }];
            envoy.release(version(round).as_str(), binary.display().to_string())
        }))
    }

    /// The targets as clients see them.
    pub(crate) fn sites(&self) -> Vec<Site> {
        self.targets
            .iter()
            .map(|place| Site {
                app: place.app as usize,
                http: place.doors[0],
                tcp: place.doors[1],
                framed: self.envoys.is_none().then_some(place.doors[2]),
                health: "/healthz",
                takes_traffic: AtomicBool::new(true),
            })
            .collect()
    }

    pub(crate) fn save(&self) -> Result<PathBuf, Failure> {
        let path = self.directory.join("world.json");
        let text = serde_json::to_vec(self).map_err(Failure::internal)?;
        std::fs::write(&path, text).map_err(Failure::internal)?;
        Ok(path)
    }

    pub(crate) fn load(path: &Path) -> Result<Self, Failure> {
        let text = std::fs::read(path).map_err(Failure::internal)?;
        serde_json::from_slice(&text).map_err(Failure::internal)
    }

    pub(crate) fn program(&self) -> &Path {
        &self.program
    }
}

/// Ports of this program alone: as long as the first of them is held, no other one of its kind takes any of them.
///
/// The kernel gives none of them to anybody who connects: applications bind theirs late, and again after each cold start, when
/// a proxy that tries to reach them may have got it for its own end.
struct Ports {
    first: TcpListener,
    left: std::ops::Range<u16>,
}

impl Ports {
    fn take() -> Result<Self, Failure> {
        let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
        let lowest = range.split_ascii_whitespace().next().and_then(|port| port.parse().ok());
        let end = lowest.unwrap_or(32_768_u16);
        let blocks = usize::from(end.saturating_sub(FIRST_PORT) / PORTS);
        // Programs that begin at the same time look at different places first.
        let turned = std::process::id() as usize;
        let starts = (0..blocks).map(|at| (turned + at) % blocks);
        let taken = starts.filter_map(|at| FIRST_PORT.checked_add(u16::try_from(at).ok()?.checked_mul(PORTS)?));
        let taken = taken.filter_map(|port| {
            let first = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()?;
            let left = port + 1..port + PORTS;
            Some(Self { first, left })
        });
        let none = || Failure::Internal(format!("no {PORTS} ports from {FIRST_PORT} to {end} are free"));
        { taken }.next().ok_or_else(none)
    }

    /// The next that nobody else has.
    fn next(&mut self) -> Result<SocketAddr, Failure> {
        let free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
        let port = self.left.find(free);
        let none = || Failure::Internal("too few ports are free".to_owned());
        port.map(|port| (Ipv4Addr::LOCALHOST, port).into()).ok_or_else(none)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::Parser as _;

    use super::World;
    use crate::options::Options;

    /// A round may leave targets out, of an application that it changes. News of those would be taken for births in its scope,
    /// and the change would wait for what nobody brings: the news must name an application that no change has.
    #[test]
    fn no_news_of_a_target_are_about_an_application_of_a_change() {
        let place = tempfile::tempdir().unwrap();
        let options = Options::parse_from(["hot_upgrade", "--fleet", "9"]);
        let world = World::new(options, place.path()).unwrap();
        let changed: BTreeSet<String> = world.targets.iter().map(super::Place::application).collect();
        assert!(changed.len() > 1);
        let targets = world.process_targets();
        let told: Vec<&str> = targets.iter().map(unattended_process::Target::application).collect();
        assert_eq!(told.len(), 9);
        assert!(
            told.iter().all(|app| !changed.contains(*app)),
            "{told:?} of {changed:?}"
        );
    }
}
