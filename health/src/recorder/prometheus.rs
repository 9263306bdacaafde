//! Counters as a Prometheus scrape reads them: text exposition format 0.0.4.

use core::fmt::{self, Write};

use super::Snapshot;
use super::buckets::{BUCKETS, LatencyBound, bound_of};
use crate::FaultClass;

/// Bounds that are exposed: whole octaves from 16 µs to 67 s. All four of an octave would be a hundred series per host.
const OCTAVES: core::ops::RangeInclusive<u32> = 4..=26;

/// Microseconds as seconds, exactly.
struct Seconds(u64);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 1_000_000, self.0 % 1_000_000);
        write!(f, "{whole}.{rest:06}")
    }
}

/// A label's value: quotes, backslashes and line ends are escaped.
struct Label<'a>(&'a str);

impl fmt::Display for Label<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '\\' => f.write_str("\\\\")?,
                '"' => f.write_str("\\\"")?,
                '\n' => f.write_str("\\n")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

impl Snapshot {
    /// The counters in Prometheus' text format, to be served as `text/plain; version=0.0.4`.
    ///
    /// | series | type | what |
    /// | --- | --- | --- |
    /// | `unattended_requests_total{outcome}` | counter | original requests that were `served`, or failed by a class of fault |
    /// | `unattended_episodes_total{class}` | counter | failures counted once per client and interval |
    /// | `unattended_request_duration_seconds` | histogram | all requests; bounds are whole octaves of microseconds |
    /// | `unattended_instance_age_seconds` | gauge | since the start |
    /// | `unattended_instance_info{host,version,epoch}` | gauge | 1 |
    #[must_use]
    pub fn to_prometheus(&self) -> String {
        let mut out = String::with_capacity(4_096);
        // Writing to a string does not fail.
        let _ = self.expose(&mut out);
        out
    }

    fn expose(&self, out: &mut String) -> fmt::Result {
        let counters = &self.counters;
        let head = |out: &mut String, name: &str, kind: &str, help: &str| {
            writeln!(out, "# HELP unattended_{name} {help}\n# TYPE unattended_{name} {kind}")
        };
        head(
            out,
            "requests_total",
            "counter",
            "Original requests by how they ended: served, or whose fault.",
        )?;
        writeln!(
            out,
            "unattended_requests_total{{outcome=\"served\"}} {}",
            counters.served()
        )?;
        for class in FaultClass::ALL {
            let (word, failed) = (class.as_str(), counters.failed(class));
            writeln!(out, "unattended_requests_total{{outcome=\"{word}\"}} {failed}")?;
        }
        head(
            out,
            "episodes_total",
            "counter",
            "Failed requests counted once per client and interval, by whose fault.",
        )?;
        for class in FaultClass::ALL {
            let (word, episodes) = (class.as_str(), counters.episodes(class));
            writeln!(out, "unattended_episodes_total{{class=\"{word}\"}} {episodes}")?;
        }
        head(
            out,
            "request_duration_seconds",
            "histogram",
            "How long requests took, whatever their outcome.",
        )?;
        let buckets = counters.by_bucket();
        let total = counters.total();
        for octave in OCTAVES {
            let Some(bound) = LatencyBound::at_least(1 << octave) else {
                continue;
            };
            let slower = buckets[bound.bucket + 1..BUCKETS].iter().sum::<u64>();
            let (le, within) = (Seconds(bound_of(bound.bucket).unwrap_or_default()), total - slower);
            writeln!(
                out,
                "unattended_request_duration_seconds_bucket{{le=\"{le}\"}} {within}"
            )?;
        }
        writeln!(out, "unattended_request_duration_seconds_bucket{{le=\"+Inf\"}} {total}")?;
        writeln!(
            out,
            "unattended_request_duration_seconds_sum {}",
            Seconds(counters.sum_us())
        )?;
        writeln!(out, "unattended_request_duration_seconds_count {total}")?;
        head(
            out,
            "instance_age_seconds",
            "gauge",
            "For how long the instance has been running.",
        )?;
        writeln!(
            out,
            "unattended_instance_age_seconds {}",
            Seconds(self.age_ms.saturating_mul(1_000))
        )?;
        head(out, "instance_info", "gauge", "Who counts.")?;
        let instance = &self.instance;
        let (host, version, epoch) = (Label(&instance.host), Label(&instance.version), instance.epoch);
        writeln!(
            out,
            "unattended_instance_info{{host=\"{host}\",version=\"{version}\",epoch=\"{epoch}\"}} 1"
        )
    }
}
