//! Counts by protocol and by whose fault it was.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use hdrhistogram::Histogram;
use parking_lot::Mutex;
use unattended_health::{FaultClass, Instance, LatencyBound, Recorder, RecorderError, Snapshot, Writer};

use crate::clock;
use crate::options::Protocol;

/// Upper bounds of the histogram of own time, in microseconds: octaves from a quarter of a millisecond to a second, and finer
/// where this program's own latency is.
const BOUNDS_US: [u64; 17] = [
    256, 512, 1_024, 1_536, 2_048, 2_560, 3_072, 4_096, 6_144, 8_192, 16_384, 32_768, 65_536, 131_072, 262_144,
    524_288, 1_048_576,
];

/// Octaves of the histogram of pauses, in powers of two of microseconds: 64 µs to a second, with eight bounds each.
const PAUSE_OCTAVES: std::ops::Range<u32> = 6..20;

/// How a request, a call, or a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Good,
    /// The application's own error, passed on.
    Business,
    /// The application cannot be reached, or went away.
    Infrastructure,
    /// This sidecar's fault.
    Own,
    /// The client went away.
    Client,
}

impl Outcome {
    const ALL: [Self; 5] = [
        Self::Good,
        Self::Business,
        Self::Infrastructure,
        Self::Own,
        Self::Client,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Business => "business",
            Self::Infrastructure => "infrastructure",
            Self::Own => "own",
            Self::Client => "client",
        }
    }

    const fn class(self) -> Option<FaultClass> {
        match self {
            Self::Good => None,
            Self::Business => Some(FaultClass::Business),
            Self::Infrastructure => Some(FaultClass::Infrastructure),
            Self::Own => Some(FaultClass::Own),
            Self::Client => Some(FaultClass::Client),
        }
    }
}

/// How long connections stood still while they came here, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pauses {
    pub(crate) p50_us: u64,
    pub(crate) p99_us: u64,
    pub(crate) max_us: u64,
}

/// All counters of this process.
#[derive(Debug)]
pub(crate) struct Meters {
    recorder: Recorder,
    writer: Mutex<Writer>,
    requests: [[AtomicU64; Outcome::ALL.len()]; Protocol::ALL.len()],
    pauses: Mutex<Histogram<u64>>,
    /// From when the first of them came to rest to when the last one was served again.
    came: Mutex<Option<(u64, u64)>>,
    pub(crate) accepted: AtomicU64,
    /// Requests, calls and relayed connections that are under way.
    pub(crate) active: AtomicU64,
    pub(crate) reopened: AtomicU64,
    pub(crate) strangers: AtomicU64,
    /// Synthetic requests, and those of them that failed.
    self_tests: [AtomicU64; 2],
}

impl Meters {
    /// Counters that stand at zero.
    ///
    /// # Errors
    ///
    /// A name that cannot stand in logs and labels.
    pub(crate) fn new(target: &str, version: &str, epoch: u64) -> Result<Self, RecorderError> {
        let instance = Instance {
            host: target.to_owned(),
            version: version.to_owned(),
            epoch,
        };
        let recorder = Recorder::new(instance, clock::now_ms())?;
        let writer = Mutex::new(recorder.writer());
        #[expect(clippy::expect_used, reason = "the bounds are constants that the histogram accepts")]
        let pauses = Histogram::new_with_bounds(1, 1 << 40, 3).expect("1 µs to 2^40 µs at 3 digits");
        Ok(Self {
            recorder,
            writer,
            requests: Default::default(),
            pauses: Mutex::new(pauses),
            came: Mutex::default(),
            accepted: AtomicU64::new(0),
            active: AtomicU64::new(0),
            reopened: AtomicU64::new(0),
            strangers: AtomicU64::new(0),
            self_tests: Default::default(),
        })
    }

    /// A request has ended; `own_us` is what this process took for it, `client` a hash of who had asked.
    pub(crate) fn ended(&self, protocol: Protocol, outcome: Outcome, own_us: u64, client: u64) {
        self.requests[protocol as usize][outcome as usize].fetch_add(1, Ordering::Relaxed);
        let mut writer = self.writer.lock();
        match outcome.class() {
            None => writer.served(own_us),
            Some(class) => writer.failed(class, own_us, client),
        }
    }

    /// A connection that came has stood still from one time to the other, in microseconds since the machine started.
    pub(crate) fn paused(&self, from_us: u64, until_us: u64) {
        self.pauses
            .lock()
            .saturating_record(until_us.saturating_sub(from_us).max(1));
        let mut came = self.came.lock();
        let (first_us, last_us) = came.unwrap_or((from_us, until_us));
        *came = Some((first_us.min(from_us), last_us.max(until_us)));
    }

    /// A hand-over begins: pauses are counted anew.
    pub(crate) fn forget_pauses(&self) {
        self.pauses.lock().reset();
        *self.came.lock() = None;
    }

    /// When connections came in this hand-over, from the first rest to the last that was served again.
    pub(crate) fn came(&self) -> Option<(u64, u64)> {
        *self.came.lock()
    }

    pub(crate) fn pauses(&self) -> Pauses {
        let pauses = self.pauses.lock();
        if pauses.is_empty() {
            return Pauses::default();
        }
        Pauses {
            p50_us: pauses.value_at_quantile(0.5),
            p99_us: pauses.value_at_quantile(0.99),
            max_us: pauses.max(),
        }
    }

    /// Pauses of this hand-over as a histogram: (bound in microseconds, connections that stood still for no longer), rising;
    /// and how many connections there are.
    fn pause_counts(&self) -> (Vec<(u64, u64)>, u64) {
        let pauses = self.pauses.lock();
        let bounds = PAUSE_OCTAVES.flat_map(|octave| (8_u64..16).map(move |eighths| eighths << (octave - 3)));
        let counts = bounds.map(|bound| (bound, pauses.count_between(0, bound)));
        (counts.collect(), pauses.len())
    }

    /// A synthetic request is over.
    pub(crate) fn self_tested(&self, good: bool) {
        let [sent, failed] = &self.self_tests;
        failed.fetch_add(u64::from(!good), Ordering::Relaxed);
        sent.fetch_add(1, Ordering::Relaxed);
    }

    /// Ends an interval of the error-metrics log.
    pub(crate) fn end_interval(&self) -> Snapshot {
        self.recorder.end_interval(clock::now_ms())
    }

    /// What a scrape of requests reads.
    pub(crate) fn expose(&self, out: &mut String) {
        out.push_str(
            "# HELP sidecar_requests_total Requests, calls and relayed connections by whose fault they ended.\n",
        );
        out.push_str("# TYPE sidecar_requests_total counter\n");
        for protocol in Protocol::ALL {
            for outcome in Outcome::ALL {
                let count = self.requests[protocol as usize][outcome as usize].load(Ordering::Relaxed);
                let (protocol, class) = (protocol.as_str(), outcome.as_str());
                // Writing to a string does not fail.
                let _ = writeln!(
                    out,
                    "sidecar_requests_total{{protocol=\"{protocol}\",class=\"{class}\"}} {count}"
                );
            }
        }
        out.push_str("# HELP sidecar_self_tests_total Synthetic requests that the process sends through itself.\n");
        out.push_str("# TYPE sidecar_self_tests_total counter\n");
        let [sent, failed] = self.self_tests.each_ref().map(|count| count.load(Ordering::Relaxed));
        for (class, count) in [("good", sent.saturating_sub(failed)), ("own", failed)] {
            let _ = writeln!(out, "sidecar_self_tests_total{{class=\"{class}\"}} {count}");
        }
        let snapshot = self.recorder.peek(clock::now_ms());
        let (counters, total) = (&snapshot.counters, snapshot.counters.total());
        out.push_str(
            "# HELP sidecar_request_duration_seconds What this process took for a request, without the application.\n",
        );
        out.push_str("# TYPE sidecar_request_duration_seconds histogram\n");
        for bound in BOUNDS_US.into_iter().filter_map(LatencyBound::at_least) {
            let within = total - counters.slower_than(bound);
            let le = seconds(bound.us());
            let _ = writeln!(out, "sidecar_request_duration_seconds_bucket{{le=\"{le}\"}} {within}");
        }
        let sum = seconds(counters.sum_us());
        let _ = writeln!(
            out,
            "sidecar_request_duration_seconds_bucket{{le=\"+Inf\"}} {total}\nsidecar_request_duration_seconds_sum {sum}\nsidecar_request_duration_seconds_count {total}"
        );
        out.push_str(
            "# HELP sidecar_stood_still_seconds How long connections that came in the last hand-over stood still.\n",
        );
        out.push_str("# TYPE sidecar_stood_still_seconds histogram\n");
        let (bounds, count) = self.pause_counts();
        for (bound_us, within) in bounds {
            let le = seconds(bound_us);
            let _ = writeln!(out, "sidecar_stood_still_seconds_bucket{{le=\"{le}\"}} {within}");
        }
        let _ = writeln!(
            out,
            "sidecar_stood_still_seconds_bucket{{le=\"+Inf\"}} {count}\nsidecar_stood_still_seconds_count {count}"
        );
        out.push_str(&snapshot.to_prometheus());
    }
}

/// Microseconds as seconds, exactly.
pub(crate) fn seconds(us: u64) -> String {
    format!("{}.{:06}", us / 1_000_000, us % 1_000_000)
}
