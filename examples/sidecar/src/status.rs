//! How the process stands, as JSON and as metrics.

use std::fmt::Write as _;
use std::fs;
use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use crate::clock;
use crate::files::Ingress;
use crate::meters::seconds;
use crate::state::{SelfCheck, Sidecar};

/// Version of the JSON object.
const SCHEMA: u32 = 1;

/// Resident memory in bytes; `None` where it cannot be read.
fn rss_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes.saturating_mul(1_024))
}

/// Open descriptors; `None` where they cannot be counted.
pub(crate) fn open_descriptors() -> Option<usize> {
    // The one that reads the directory is not counted.
    fs::read_dir("/proc/self/fd")
        .ok()
        .map(|all| all.count().saturating_sub(1))
}

fn self_check(check: &SelfCheck) -> Value {
    match check {
        SelfCheck::Unreported => json!("unreported"),
        SelfCheck::Passed => json!("passed"),
        SelfCheck::Failed(name) => json!({ "failed": name }),
    }
}

const fn ingress(ingress: Ingress) -> &'static str {
    match ingress {
        Ingress::Open => "open",
        Ingress::Closed { .. } => "closed",
    }
}

/// Who answers, and whether it can be relied on.
pub(crate) fn identity(sidecar: &Sidecar) -> Value {
    let (view, options) = (sidecar.view.lock(), &sidecar.options);
    json!({
        "target": options.target,
        "instance": options.instance,
        "version": options.version,
        "slot": options.slot.as_str(),
        "generation": view.generation,
        "ready": view.ready,
        "self_check": self_check(&view.self_check),
        "ingress": ingress(*sidecar.ingress.borrow()),
    })
}

/// All of it.
pub(crate) fn status(sidecar: &Sidecar) -> Value {
    let mut status = identity(sidecar);
    let (view, meters) = (sidecar.view.lock().clone(), &sidecar.meters);
    let (pauses, moves) = (meters.pauses(), view.moves);
    let reopen_by_ms = match *sidecar.ingress.borrow() {
        Ingress::Open => None,
        Ingress::Closed { reopen_by_ms } => Some(reopen_by_ms),
    };
    let config = {
        let config = sidecar.config.lock();
        let said = config.acknowledged.is_some() || config.refused.is_some();
        said.then(|| json!({ "acknowledged": config.acknowledged, "refused": config.refused }))
    };
    let more = json!({
        "schema": SCHEMA,
        "pid": std::process::id(),
        "reopen_by_ms": reopen_by_ms,
        "reopened": meters.reopened.load(Ordering::Relaxed),
        "listeners": view.listeners,
        "accepting": view.accepting,
        "accepted": meters.accepted.load(Ordering::Relaxed),
        "connections": view.connections,
        "active": meters.active.load(Ordering::Relaxed),
        "committed_generation": view.committed,
        "retired": view.retired,
        "session": view.session,
        "addresses": view.addresses,
        "moves": {
            "moved": moves.moved,
            "adopted": moves.adopted,
            "declined": moves.declined,
            "cut": moves.cut,
            "lost": moves.lost,
            "bytes": moves.bytes,
            "came_us": meters.came(),
            "pauses": { "p50_us": pauses.p50_us, "p99_us": pauses.p99_us, "max_us": pauses.max_us },
        },
        "config": config,
        "uptime_ms": clock::now_ms().saturating_sub(sidecar.started_ms),
        "rss_bytes": rss_bytes(),
        "open_descriptors": open_descriptors(),
    });
    if let (Value::Object(status), Value::Object(more)) = (&mut status, more) {
        status.extend(more);
    }
    status
}

/// Text for a Prometheus scrape.
pub(crate) fn metrics(sidecar: &Sidecar) -> String {
    let (view, meters) = (sidecar.view.lock().clone(), &sidecar.meters);
    let (moves, pauses) = (view.moves, meters.pauses());
    let mut out = String::with_capacity(8 * 1024);
    meters.expose(&mut out);
    let mut series = |name: &str, kind: &str, help: &str, value: &dyn std::fmt::Display| {
        // Writing to a string does not fail.
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
    };
    series(
        "sidecar_connections",
        "gauge",
        "Established connections of this process.",
        &view.connections,
    );
    series(
        "sidecar_accepted_total",
        "counter",
        "Connections that were accepted.",
        &meters.accepted.load(Ordering::Relaxed),
    );
    series(
        "sidecar_active",
        "gauge",
        "Requests, calls and relayed connections under way.",
        &meters.active.load(Ordering::Relaxed),
    );
    series(
        "sidecar_ingress_open",
        "gauge",
        "1 if traffic is to be led here.",
        &u8::from(*sidecar.ingress.borrow() == Ingress::Open),
    );
    series(
        "sidecar_ingress_reopened_total",
        "counter",
        "Times the way in was opened since its time had passed with no order.",
        &meters.reopened.load(Ordering::Relaxed),
    );
    series(
        "sidecar_admin_strangers_total",
        "counter",
        "Calls of other users on the admin socket.",
        &meters.strangers.load(Ordering::Relaxed),
    );
    series(
        "sidecar_handover_moved",
        "gauge",
        "Connections given to the other process in this hand-over.",
        &moves.moved,
    );
    series(
        "sidecar_handover_adopted",
        "gauge",
        "Connections taken from the other process in this hand-over.",
        &moves.adopted,
    );
    series(
        "sidecar_handover_declined",
        "gauge",
        "Connections that could not move in this hand-over.",
        &moves.declined,
    );
    series(
        "sidecar_handover_cut",
        "gauge",
        "Connections that were cut in this hand-over.",
        &moves.cut,
    );
    series(
        "sidecar_handover_lost",
        "gauge",
        "Connections that were taken and lost in this hand-over.",
        &moves.lost,
    );
    series(
        "sidecar_handover_state_bytes",
        "gauge",
        "Bytes of state given along in this hand-over.",
        &moves.bytes,
    );
    series(
        "sidecar_handover_pause_p99_seconds",
        "gauge",
        "How long 99 of 100 connections that came stood still at most.",
        &seconds(pauses.p99_us),
    );
    series(
        "sidecar_handover_session",
        "gauge",
        "1 if the session with the other process stands.",
        &u8::from(view.session),
    );
    if let Some(bytes) = rss_bytes() {
        series("process_resident_memory_bytes", "gauge", "Resident memory.", &bytes);
    }
    if let Some(open) = open_descriptors() {
        series("process_open_fds", "gauge", "Open descriptors.", &open);
    }
    let uptime_us = clock::now_ms().saturating_sub(sidecar.started_ms).saturating_mul(1_000);
    series(
        "process_uptime_seconds",
        "gauge",
        "Since the start.",
        &seconds(uptime_us),
    );
    out
}
