//! The counters of the small sidecar, by its admin socket.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use hyper::body::Bytes;
use hyper::header::HOST;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use unattended::upgrade::TargetId;
use unattended_process::{Running, running};

use crate::client::micros;
use crate::exposition::samples;
use crate::metrics::{Meter, Reading};

/// All sidecars of a fleet.
#[derive(Debug)]
pub(crate) struct Sidecars {
    directory: PathBuf,
}

impl Sidecars {
    pub(crate) const fn new(directory: PathBuf) -> Self {
        Self { directory }
    }
}

#[async_trait]
impl Meter for Sidecars {
    async fn read(&self, target: &TargetId) -> Result<Vec<Reading>, String> {
        let processes = running(&self.directory, target).map_err(|error| error.to_string())?;
        let sidecars = processes.into_iter().filter(|process| process.admin.is_some());
        let all = futures::future::join_all(sidecars.map(read)).await;
        // One that does not answer is starting or ending: it served nothing that is not counted by the next reading.
        Ok(all.into_iter().flatten().collect())
    }
}

async fn read(process: Running) -> Option<Reading> {
    let path = process.admin?;
    let page = page(&path, "/metrics").await?;
    let status: serde_json::Value = serde_json::from_str(&self::page(&path, "/status").await?).ok()?;
    let mut reading = Reading {
        instance: process.instance.0,
        version: process.version.as_str().to_owned(),
        uptime_ms: status.get("uptime_ms")?.as_u64()?,
        ..Reading::default()
    };
    let mut within: BTreeMap<u64, u64> = BTreeMap::new();
    for sample in samples(&page) {
        match sample.name {
            "sidecar_requests_total" => {
                let count = sample.count()?;
                reading.requests += count;
                if sample.label("class") == Some("own") {
                    reading.own += count;
                }
            }
            "sidecar_self_tests_total" => {
                let count = sample.count()?;
                reading.self_tests.0 += count;
                if sample.label("class") == Some("own") {
                    reading.self_tests.1 += count;
                }
            }
            "sidecar_request_duration_seconds_bucket" => {
                let bound: f64 = sample.label("le").and_then(|text| text.parse().ok())?;
                // Positive numbers are in the order of their bits.
                *within.entry(bound.to_bits()).or_default() += sample.count()?;
            }
            _ => {}
        }
    }
    reading.within = within
        .into_iter()
        .map(|(bits, count)| (f64::from_bits(bits), count))
        .collect();
    Some(reading)
}

/// How connections came to a sidecar in its last hand-over.
#[derive(Clone, Debug)]
pub(crate) struct Came {
    /// From the first that came to rest to the last that was served again, in microseconds since the machine started.
    pub(crate) from_us: u64,
    pub(crate) until_us: u64,
    /// How many stood still for at most so long, in microseconds: (bound, connections), rising; the last one has all.
    pub(crate) stood_us: Vec<(u64, u64)>,
}

/// `None` if none came, and of everything that is no sidecar.
pub(crate) async fn came(process: &Running) -> Option<Came> {
    let admin = process.admin.as_deref()?;
    let status = page(admin, "/status").await?;
    let status: serde_json::Value = serde_json::from_str(&status).ok()?;
    let moves = status.get("moves")?;
    let (from_us, until_us) = serde_json::from_value(moves.get("came_us")?.clone()).ok()?;
    let longest_us = moves.get("pauses")?.get("max_us")?.as_u64()?;
    let text = page(admin, "/metrics").await?;
    let buckets = samples(&text).filter(|sample| sample.name == "sidecar_stood_still_seconds_bucket");
    let counts = buckets.map(|sample| {
        let bound = sample.label("le")?.parse().ok()?;
        // What is beyond all bounds is no longer than the longest.
        let bound = Duration::try_from_secs_f64(bound).map_or(longest_us, micros);
        Some((bound.min(longest_us), sample.count()?))
    });
    Some(Came {
        from_us,
        until_us,
        stood_us: counts.collect::<Option<_>>()?,
    })
}

/// What a process may take to answer: one that stands still, or whose machine does, must not blind who looks at all others.
const ANSWER: Duration = Duration::from_secs(2);

async fn page(path: &Path, what: &str) -> Option<String> {
    tokio::time::timeout(ANSWER, ask(path, what)).await.ok()?
}

async fn ask(path: &Path, what: &str) -> Option<String> {
    let stream = UnixStream::connect(path).await.ok()?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
    tokio::spawn(connection);
    let request = Request::builder()
        .uri(what)
        .header(HOST, "sidecar")
        .body(Empty::<Bytes>::new())
        .ok()?;
    let answer = sender.send_request(request).await.ok()?;
    let body = answer.into_body().collect().await.ok()?.to_bytes();
    String::from_utf8(body.to_vec()).ok()
}
