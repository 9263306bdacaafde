//! The counters of Envoys, by their access logs, and synthetic requests that somebody else has to send through them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use async_trait::async_trait;
use hyper::Method;
use hyper::body::Bytes;
use tokio::sync::Mutex;
use unattended::health::FaultClass;
use unattended::upgrade::TargetId;
use unattended_process::{Envoy, EnvoyRequests, running};

use crate::client::http::Http;
use crate::metrics::{Meter, Reading};
use crate::world::World;

/// Synthetic requests to a target at each reading.
const SELF_TESTS: u32 = 60;

/// All Envoys of a fleet.
pub(crate) struct Envoys {
    directory: PathBuf,
    targets: BTreeMap<String, Mutex<Target>>,
}

struct Target {
    http: std::net::SocketAddr,
    requests: Option<EnvoyRequests>,
    /// By instance.
    seen: BTreeMap<u64, Seen>,
}

struct Seen {
    since: Instant,
    self_tests: (u64, u64),
}

impl Envoys {
    pub(crate) fn new(world: &World) -> Self {
        let targets = world.targets.iter().map(|place| {
            let target = Target {
                http: place.doors[0],
                requests: None,
                seen: BTreeMap::new(),
            };
            (place.id.clone(), Mutex::new(target))
        });
        Self {
            directory: world.fleet_directory(),
            targets: targets.collect(),
        }
    }
}

#[async_trait]
impl Meter for Envoys {
    async fn read(&self, target: &TargetId) -> Result<Vec<Reading>, String> {
        let processes = running(&self.directory, target).map_err(|error| error.to_string())?;
        let known = self.targets.get(target.as_str()).ok_or("no such target")?;
        let mut known = known.lock().await;
        let proxies: Vec<_> = processes
            .into_iter()
            .filter_map(|process| Some((process.instance.0, process.version, process.admin?)))
            .collect();
        for (instance, _, admin) in &proxies {
            known.seen.entry(*instance).or_insert_with(|| Seen {
                since: crate::now(),
                self_tests: (0, 0),
            });
            if let (None, Some(directory)) = (&known.requests, admin.parent()) {
                known.requests = Some(EnvoyRequests::new(Envoy::access_log(directory)));
            }
        }
        let living: Vec<u64> = proxies.iter().map(|(instance, ..)| *instance).collect();
        known.test(&living).await;
        let Target { requests, seen, .. } = &mut *known;
        let requests = requests.as_mut().ok_or("nothing runs")?;
        requests.read().map_err(|error| error.to_string())?;
        let readings = proxies.into_iter().map(|(instance, version, _)| {
            let served = requests.served().iter().find(|(of, _)| of.0 == instance);
            let (all, own) = served.map_or((0, 0), |(_, served)| (served.total(), served.of(FaultClass::Own)));
            let (uptime_ms, self_tests) = seen.get(&instance).map_or((0, (0, 0)), |seen| {
                let uptime_ms = u64::try_from(seen.since.elapsed().as_millis()).unwrap_or(u64::MAX);
                (uptime_ms, seen.self_tests)
            });
            Reading {
                instance,
                version: version.as_str().to_owned(),
                uptime_ms,
                requests: all,
                own,
                self_tests,
                // Its log does not tell the proxy's own time from the application's.
                within: vec![(f64::INFINITY, all)],
            }
        });
        Ok(readings.collect())
    }
}

impl Target {
    /// Sends synthetic requests to whoever of the instances answers. What nobody answers counts against each.
    async fn test(&mut self, living: &[u64]) {
        let mut connection = None;
        for _ in 0..SELF_TESTS {
            if connection.is_none() {
                connection = Http::open(self.http).await.ok();
            }
            let answer = match connection.as_mut() {
                Some(open) => open.ask(Method::GET, "/", Bytes::new()).await.ok(),
                None => None,
            };
            if answer.as_ref().is_none_or(|answer| answer.last) {
                connection = None;
            }
            let failed = u64::from(answer.as_ref().is_none_or(|answer| answer.status != 200));
            let by = answer.and_then(|answer| answer.instance);
            for instance in living {
                if let Some(seen) = self.seen.get_mut(instance)
                    && by.is_none_or(|by| by == *instance)
                {
                    seen.self_tests = (seen.self_tests.0 + 1, seen.self_tests.1 + failed);
                }
            }
        }
    }
}
