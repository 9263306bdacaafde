//! Requests by class of fault, from the lines that Envoys write for them.
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;

use serde::Deserialize;
use unattended_health::{Attribution, FaultClass};
use unattended_upgrade::InstanceId;

/// What one instance has served, and what not, and whose fault that was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServedBy {
    /// Requests and connections that ended well.
    pub good: u64,
    /// The others, by [`FaultClass::index`].
    pub faults: [u64; FaultClass::ALL.len()],
}

impl ServedBy {
    /// How many were of a class.
    pub const fn of(&self, class: FaultClass) -> u64 {
        self.faults[class.index()]
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.faults.iter().sum::<u64>().saturating_add(self.good)
    }
}

/// Follows the access log of a target, and counts its lines by instance and class.
///
/// The class is that of the response flags, by [`Attribution::envoy`]; an error without a flag is the upstream's own answer,
/// and so the business's. What balancers and the adapter ask is not logged. A line appears 100 ms after its request at the
/// latest, and all that was buffered when an Envoy is told to end; what one that is killed had not written is lost.
#[derive(Debug)]
pub struct EnvoyRequests {
    file: PathBuf,
    at: u64,
    /// The beginning of a line whose end was not there yet.
    rest: Vec<u8>,
    table: Attribution,
    served: BTreeMap<InstanceId, ServedBy>,
    unreadable: u64,
}

/// The log cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{}: {error}; give the access log of a target, which its first request creates", .file.display())]
#[non_exhaustive]
pub struct RequestsError {
    /// The log.
    pub file: PathBuf,
    /// What the system said.
    #[source]
    pub error: io::Error,
}

#[derive(Deserialize)]
struct Line {
    instance: String,
    #[serde(default)]
    status: Option<u16>,
    flags: String,
}

impl EnvoyRequests {
    /// From the beginning of a log, see [`Envoy::access_log`](crate::Envoy::access_log). It need not be there yet.
    pub fn new(file: impl Into<PathBuf>) -> Self {
        Self {
            file: file.into(),
            at: 0,
            rest: Vec::new(),
            table: Attribution::envoy(),
            served: BTreeMap::new(),
            unreadable: 0,
        }
    }

    /// Reads what was written since the last time. A log that has become shorter was begun anew, and is read from its
    /// beginning.
    ///
    /// # Errors
    ///
    /// The log is there and cannot be read.
    pub fn read(&mut self) -> Result<(), RequestsError> {
        let text = match self.more() {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => {
                let file = self.file.clone();
                return Err(RequestsError { file, error });
            }
        };
        self.rest.extend_from_slice(&text);
        let whole = self.rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let lines: Vec<u8> = self.rest.drain(..whole).collect();
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            self.count(line);
        }
        Ok(())
    }

    fn more(&mut self) -> io::Result<Vec<u8>> {
        let mut file = File::open(&self.file)?;
        if file.metadata()?.len() < self.at {
            (self.at, self.rest) = (0, Vec::new());
        }
        file.seek(SeekFrom::Start(self.at))?;
        let mut text = Vec::new();
        self.at += file.read_to_end(&mut text)? as u64;
        Ok(text)
    }

    fn count(&mut self, line: &[u8]) {
        let line: Option<Line> = serde_json::from_slice(line).ok();
        let Some((line, instance)) = line.and_then(|line| line.instance.parse().ok().map(|instance| (line, instance)))
        else {
            self.unreadable += 1;
            return;
        };
        let class = match line.status {
            Some(status) => self.table.response(&line.flags, status),
            None => self.table.flags(&line.flags),
        }
        .class;
        let served = self.served.entry(InstanceId(instance)).or_default();
        match class {
            None => served.good += 1,
            Some(class) => served.faults[class.index()] += 1,
        }
    }

    /// What each instance that has logged anything has served, since the beginning of the log.
    pub const fn served(&self) -> &BTreeMap<InstanceId, ServedBy> {
        &self.served
    }

    /// Lines that are none of those that the adapter's Envoys write. They are counted nowhere else.
    pub const fn unreadable(&self) -> u64 {
        self.unreadable
    }
}

/// The counters of Envoy that count faults of one class: by their group and their last name.
///
/// Envoy's documentation of statistics names them (HTTP connection manager, clusters, listeners, server, management
/// servers). Whose fault each is, is the judgement of [`Attribution::envoy`] on the flag that goes with it.
const COUNTERS: [(&str, &str, FaultClass); 22] = [
    ("listener", "downstream_cx_overflow", FaultClass::Own),
    ("listener", "downstream_cx_overload_reject", FaultClass::Own),
    ("listener", "downstream_global_cx_overflow", FaultClass::Own),
    ("http", "downstream_rq_overload_close", FaultClass::Own),
    ("server", "envoy_bug_failures", FaultClass::Own),
    ("server", "debug_assertion_failures", FaultClass::Own),
    ("cluster", "upstream_cx_connect_fail", FaultClass::Infrastructure),
    ("cluster", "upstream_cx_connect_timeout", FaultClass::Infrastructure),
    ("cluster", "upstream_cx_none_healthy", FaultClass::Infrastructure),
    ("cluster", "upstream_rq_timeout", FaultClass::Ambiguous),
    ("cluster", "upstream_rq_per_try_timeout", FaultClass::Ambiguous),
    ("cluster", "upstream_rq_rx_reset", FaultClass::Ambiguous),
    (
        "cluster",
        "upstream_cx_destroy_remote_with_active_rq",
        FaultClass::Ambiguous,
    ),
    ("cluster", "upstream_cx_protocol_error", FaultClass::Ambiguous),
    ("cluster", "upstream_cx_overflow", FaultClass::Ambiguous),
    ("cluster", "upstream_rq_pending_overflow", FaultClass::Ambiguous),
    ("http", "downstream_cx_protocol_error", FaultClass::Ambiguous),
    ("http", "downstream_rq_rx_reset", FaultClass::Client),
    ("http", "downstream_rq_idle_timeout", FaultClass::Client),
    ("http", "no_route", FaultClass::Config),
    ("http", "no_cluster", FaultClass::Config),
    ("cluster_manager", "update_rejected", FaultClass::Config),
];

/// Whose fault a counter of `/stats` counts, by its name as `cluster.upstream_0.upstream_rq_timeout`; `None` for what is no
/// fault, or of several classes.
///
/// A counter counts attempts and connections, not requests: one request may move several, and one with a retry that
/// succeeded has moved some and failed nobody. So verdicts come from [`EnvoyRequests`]; counters say where to look. What the
/// upstream itself answered is in none of them alone: `upstream_rq_5xx` contains Envoy's own answers.
///
/// ```
/// use unattended_health::FaultClass;
/// use unattended_process::counter_class;
///
/// assert_eq!(counter_class("cluster.upstream_0.upstream_rq_timeout"), Some(FaultClass::Ambiguous));
/// assert_eq!(counter_class("http.front_0.no_route"), Some(FaultClass::Config));
/// assert_eq!(counter_class("cluster.upstream_0.upstream_rq_total"), None);
/// ```
pub fn counter_class(name: &str) -> Option<FaultClass> {
    let (group, rest) = name.split_once('.')?;
    let (_, last) = rest.rsplit_once('.').unwrap_or(("", rest));
    let entry = COUNTERS
        .iter()
        .find(|(in_group, named, _)| *in_group == group && *named == last);
    entry.map(|(_, _, class)| *class)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use unattended_health::FaultClass;
    use unattended_upgrade::InstanceId;

    use super::EnvoyRequests;

    #[test]
    fn lines_are_counted_once_however_they_arrive() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("access.log");
        let mut requests = EnvoyRequests::new(&path);
        requests.read().unwrap();
        let mut file = std::fs::File::create(&path).unwrap();
        let mut write = |text: &str| file.write_all(text.as_bytes()).unwrap();
        write("{\"instance\":\"3\",\"status\":200,\"flags\":\"-\"}\n{\"instance\":\"3\",\"sta");
        requests.read().unwrap();
        let served = |requests: &EnvoyRequests, instance| requests.served()[&InstanceId(instance)];
        assert_eq!((served(&requests, 3).good, requests.unreadable()), (1, 0));
        write("tus\":503,\"flags\":\"UF,URX\"}\n{\"instance\":\"4\",\"flags\":\"LR\"}\nnonsense\n");
        requests.read().unwrap();
        requests.read().unwrap();
        assert_eq!(served(&requests, 3).total(), 2);
        assert_eq!(served(&requests, 3).of(FaultClass::Infrastructure), 1);
        assert_eq!(served(&requests, 4).of(FaultClass::Own), 1);
        assert_eq!(requests.unreadable(), 1);
        // Begun anew.
        std::fs::write(&path, "{\"instance\":\"5\",\"status\":500,\"flags\":\"-\"}\n").unwrap();
        requests.read().unwrap();
        assert_eq!(served(&requests, 5).of(FaultClass::Business), 1);
    }

    #[test]
    fn a_log_that_cannot_be_read_is_named() {
        let place = tempfile::tempdir().unwrap();
        let told = EnvoyRequests::new(place.path()).read().unwrap_err().to_string();
        assert!(told.contains(&place.path().display().to_string()), "{told}");
    }
}
