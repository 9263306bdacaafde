//! The counters of the small sidecar, by its admin socket.

use std::collections::BTreeMap;
use std::path::PathBuf;

use async_trait::async_trait;
use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use hyper::body::Bytes;
use hyper::header::HOST;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use unattended::upgrade::TargetId;
use unattended_process::{Running, running};

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

/// When connections came to a sidecar in its last hand-over: microseconds since the machine started. `None` if none came, and
/// of everything that is no sidecar.
pub(crate) async fn came_us(process: &Running) -> Option<(u64, u64)> {
    let status = page(process.admin.as_deref()?, "/status").await?;
    let status: serde_json::Value = serde_json::from_str(&status).ok()?;
    serde_json::from_value(status.get("moves")?.get("came_us")?.clone()).ok()
}

async fn page(path: &std::path::Path, what: &str) -> Option<String> {
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
