//! The counters of Envoys, by their access logs, and synthetic requests that somebody else has to send through them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use hyper::Method;
use hyper::body::Bytes;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use unattended::health::FaultClass;
use unattended::upgrade::TargetId;
use unattended_process::{Envoy, EnvoyRequests, running};

use crate::client::http::Http;
use crate::metrics::{Meter, Reading};
use crate::world::World;

/// Synthetic requests to a target at a time, one after the other over each of its connections.
const AT_A_TIME: u32 = 10;

/// Connections that these go over, to a target that runs the version which is to be judged: its is the evidence that a batch
/// waits for.
const TO_THE_NEW: u32 = 4;

/// Between two times. With what the answers take, it leaves most of the machine to clients, however slow it is.
const BREATH: Duration = Duration::from_millis(60);

/// All Envoys of a fleet.
pub(crate) struct Envoys {
    directory: PathBuf,
    targets: BTreeMap<String, Arc<Mutex<Target>>>,
    /// Whoever sends synthetic requests. Nobody who reads counters waits for their answers.
    _testers: JoinSet<()>,
}

struct Target {
    requests: Option<EnvoyRequests>,
    /// By instance.
    seen: BTreeMap<u64, Seen>,
}

struct Seen {
    since: Instant,
    self_tests: (u64, u64),
}

impl Envoys {
    /// `new`: the version that is to be judged.
    pub(crate) fn new(world: &World, new: &str) -> Self {
        let mut testers = JoinSet::new();
        let targets = world.targets.iter().map(|place| {
            let target = Arc::new(Mutex::new(Target {
                requests: None,
                seen: BTreeMap::new(),
            }));
            testers.spawn(test(
                world.fleet_directory(),
                place.id.as_str().into(),
                place.doors[0],
                new.to_owned(),
                Arc::clone(&target),
            ));
            (place.id.clone(), target)
        });
        Self {
            targets: targets.collect(),
            directory: world.fleet_directory(),
            _testers: testers,
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
            known.meet(*instance);
            if let (None, Some(directory)) = (&known.requests, admin.parent()) {
                known.requests = Some(EnvoyRequests::new(Envoy::access_log(directory)));
            }
        }
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
    fn meet(&mut self, instance: u64) -> &mut Seen {
        self.seen.entry(instance).or_insert_with(|| Seen {
            since: crate::now(),
            self_tests: (0, 0),
        })
    }
}

/// Sends synthetic requests to whoever of a target's instances answers, as long as somebody reads what comes of it. What nobody
/// answers counts against each that has answered before.
async fn test(directory: PathBuf, id: TargetId, http: SocketAddr, new: String, target: Arc<Mutex<Target>>) {
    loop {
        let processes = running(&directory, &id).unwrap_or_default();
        let living: Vec<_> = processes.iter().filter(|process| process.admin.is_some()).collect();
        let is_judged = living.iter().any(|process| process.version.as_str() == new);
        if !living.is_empty() {
            let connections = if is_judged { TO_THE_NEW } else { 1 };
            let all = (0..connections).map(|_| ask(http, AT_A_TIME));
            let answers = futures::future::join_all(all).await;
            let mut target = target.lock().await;
            for (by, failed) in answers.into_iter().flatten() {
                for instance in living.iter().map(|process| process.instance.0) {
                    let (sent, bad) = &mut target.meet(instance).self_tests;
                    // One that has not answered well yet is starting: whether it ever does is what its readiness tells.
                    let counts = match by {
                        Some(by) => by == instance,
                        None => *sent > *bad,
                    };
                    if counts {
                        (*sent, *bad) = (*sent + 1, *bad + u64::from(failed));
                    }
                }
            }
        }
        tokio::time::sleep(BREATH).await;
    }
}

/// Asks so often, one after the other; who answered each, and whether it failed.
async fn ask(at: SocketAddr, tests: u32) -> Vec<(Option<u64>, bool)> {
    let mut connection = None;
    let mut all = Vec::new();
    for _ in 0..tests {
        if connection.is_none() {
            connection = Http::open(at).await.ok();
        }
        let answer = match connection.as_mut() {
            Some(open) => open.ask(Method::GET, "/", Bytes::new()).await.ok(),
            None => None,
        };
        if answer.as_ref().is_none_or(|answer| answer.last) {
            connection = None;
        }
        let failed = answer.as_ref().is_none_or(|answer| answer.status != 200);
        all.push((answer.and_then(|answer| answer.instance), failed));
    }
    all
}
