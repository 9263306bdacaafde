//! What this program and the processes it starts of itself agree on.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use serde::{Deserialize, Serialize};
use unattended_examples_support::Failure;
use unattended_process::{Sidecar, Start, Target, Template};

use crate::client::Site;
use crate::options::Options;

/// How long an application takes to start, in milliseconds: what a cold upgrade costs and the others do not.
const COLD_START_MS: u64 = 1_500;

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
}

/// Where a target is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) id: String,
    pub(crate) app: u32,
    /// Of the proxy: HTTP, bytes, calls with a length.
    doors: [SocketAddr; 3],
    /// Of the application: HTTP, bytes.
    behind: [SocketAddr; 2],
}

/// The version of a round; round 0 is what the fleet starts with.
pub(crate) fn version(round: u32) -> String {
    format!("v{}", round + 1)
}

impl World {
    pub(crate) fn new(options: Options, directory: &Path) -> Result<Self, Failure> {
        let program = std::env::current_exe().map_err(Failure::internal)?;
        let apps = (options.fleet / REPLICAS).max(1);
        let mut held = Vec::new();
        let mut targets = Vec::new();
        for number in 0..options.fleet {
            let mut door = || {
                let (address, listener) = free_address()?;
                held.push(listener);
                Ok::<_, Failure>(address)
            };
            targets.push(Place {
                id: format!("pod-{number}"),
                app: number % apps,
                doors: [door()?, door()?, door()?],
                behind: [door()?, door()?],
            });
        }
        // All at once: until here nobody else could be given one of them.
        drop(held);
        Ok(Self {
            options,
            program,
            directory: directory.to_owned(),
            targets,
        })
    }

    /// Where the adapter keeps the fleet.
    pub(crate) fn fleet_directory(&self) -> PathBuf {
        self.directory.join("fleet")
    }

    /// The targets as the process adapter starts them. Versions after the first are what `--release` says.
    pub(crate) fn process_targets(&self) -> Vec<Target> {
        let program = self.program.display().to_string();
        let fault = self.options.release.fault();
        self.targets
            .iter()
            .map(|place| {
                let [http, tcp, framed] = place.doors;
                let [app_http, app_tcp] = place.behind;
                let mut sidecar = Sidecar::new(Start::new(&program).arguments(["sidecar"]))
                    .http(format!("{http}={app_http}"))
                    .tcp(format!("{tcp}={app_tcp}"))
                    .framed(format!("{framed}={app_tcp}"));
                if let Some(fault) = fault {
                    for round in 1..=self.options.rounds {
                        sidecar = sidecar.version(version(round).as_str().into(), ["--fault", fault]);
                    }
                }
                let application = Start::new(&program).arguments([
                    "application".to_owned(),
                    format!("--http={app_http}"),
                    format!("--tcp={app_tcp}"),
                    format!("--cold-start-ms={COLD_START_MS}"),
                ]);
                let template = Template::sidecar(sidecar).application(application).grace_ms(6_000);
                Target::new(place.id.as_str(), version(0).as_str(), template).app(format!("app-{}", place.app))
            })
            .collect()
    }

    /// The targets as clients see them.
    pub(crate) fn sites(&self) -> Vec<Site> {
        self.targets
            .iter()
            .map(|place| Site {
                app: place.app as usize,
                http: place.doors[0],
                tcp: place.doors[1],
                framed: Some(place.doors[2]),
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

fn free_address() -> Result<(SocketAddr, TcpListener), Failure> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(Failure::internal)?;
    let address = listener.local_addr().map_err(Failure::internal)?;
    Ok((address, listener))
}
