use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::nearest::hint;

/// The format of world files this crate reads.
const WORLD_VERSION: u64 = 1;

/// What is wrong with a description of a world.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WorldError {
    /// Not JSON, or not an object.
    #[error("the world is not a JSON object: {0}; write {{\"version\": 1, \"field\": number, ...}}")]
    NotAnObject(String),
    /// Of a format this crate does not read.
    #[error(
        "the world has version {found}; this build reads version {WORLD_VERSION}: set \"version\": {WORLD_VERSION}"
    )]
    Version {
        /// What was found.
        found: String,
    },
    /// No such field.
    #[error("the world has no field `{field}`{hint}; remove it or correct its name")]
    UnknownField {
        /// The name found.
        field: String,
        /// The nearest known name, in words, or nothing.
        hint: String,
    },
    /// Not a number, or outside its range.
    #[error("world field `{field}` is {found}; give a number from {low} to {high}")]
    OutOfRange {
        /// The field.
        field: &'static str,
        /// What was found.
        found: String,
        /// The lowest value allowed.
        low: String,
        /// The highest value allowed.
        high: String,
    },
    /// A lower end above its upper end.
    #[error(
        "world field `{low_field}` ({low}) is above `{high_field}` ({high}); give a lower end that is not above the upper one"
    )]
    Crossed {
        /// The field of the lower end.
        low_field: &'static str,
        /// Its value.
        low: String,
        /// The field of the upper end.
        high_field: &'static str,
        /// Its value.
        high: String,
    },
}

impl WorldError {
    /// The line of a text it is about, from 1, where that can be told.
    fn line(&self, text: &str) -> Option<usize> {
        let field = match self {
            Self::NotAnObject { .. } => return None,
            Self::Version { .. } => "version",
            Self::UnknownField { field, .. } => field,
            Self::OutOfRange { field, .. } => field,
            Self::Crossed { low_field, .. } => low_field,
        };
        let quoted = serde_json::to_string(field).unwrap_or_default();
        let stands = |line: &str| line.contains(&quoted);
        let at = text.lines().position(stands)?;
        Some(at + 1)
    }
}

/// What is wrong with a file that describes a world.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorldFileError {
    /// It cannot be read.
    #[error("{}: the world cannot be read: {cause}: give a JSON file with fields of a world", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system says.
        cause: std::io::Error,
    },
    /// What it says cannot be.
    #[error("{}:{line}: {error}", file.display())]
    Wrong {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong there.
        error: WorldError,
    },
}

macro_rules! world {
    ($($(#[$doc:meta])* $field:ident = $default:literal in $low:literal ..= $high:literal;)*) => {
        /// How the simulated world behaves. Every field is a number with a unit in its name and a range that is
        /// checked; the defaults describe an ordinary bad day of a large fleet.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        #[expect(clippy::exhaustive_structs, reason = "written literally, with `..World::default()`")]
        pub struct World {
            $($(#[$doc])* #[doc = concat!("\n\nFrom ", stringify!($low), " to ", stringify!($high), ", ", stringify!($default), " by default.")] pub $field: f64,)*
        }

        impl Default for World {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }

        impl World {
            const FIELDS: &'static [&'static str] = &[$(stringify!($field),)*];

            fn set(&mut self, field: &str, value: &Value) -> Result<(), WorldError> {
                match field {
                    $(stringify!($field) => {
                        self.$field = value.as_f64().ok_or_else(|| WorldError::OutOfRange {
                            field: stringify!($field),
                            found: value.to_string(),
                            low: stringify!($low).to_owned(),
                            high: stringify!($high).to_owned(),
                        })?;
                    })*
                    _ => {
                        return Err(WorldError::UnknownField {
                            field: field.to_owned(),
                            hint: hint(field, Self::FIELDS.iter().copied()),
                        });
                    }
                }
                Ok(())
            }

            fn check_ranges(&self) -> Result<(), WorldError> {
                $(if !($low..=$high).contains(&self.$field) {
                    return Err(WorldError::OutOfRange {
                        field: stringify!($field),
                        found: self.$field.to_string(),
                        low: stringify!($low).to_owned(),
                        high: stringify!($high).to_owned(),
                    });
                })*
                Ok(())
            }

            /// Every field with its value, in a fixed order, but those of bad machines.
            pub(crate) fn values(&self) -> Vec<f64> {
                let fields = [$((stringify!($field), self.$field),)*];
                fields.iter().filter(|(name, _)| !name.starts_with("bad_node")).map(|(_, value)| *value).collect()
            }
        }
    };
}

world! {
    /// Median of the requests per second of a target; the spread is log-normal.
    requests_per_s_median = 2.0 in 0.0001..=1000.0;
    /// Standard deviation of the logarithm of the requests per second over all targets.
    requests_sigma = 1.5 in 0.0..=3.0;
    /// Part of that variance that lies between applications; the rest lies between the targets of one.
    requests_app_share = 0.75 in 0.0..=1.0;
    /// Share of the applications that get next to no traffic (exactly this share, rounded up, from ten applications on).
    quiet_app_share = 0.1 in 0.0..=1.0;
    /// Requests per second that no target of a quiet application reaches.
    quiet_requests_per_s = 0.05 in 0.0001..=1000.0;
    /// Lower end of the own-error rate of an application, errors per request, log-uniform.
    error_rate_low = 1e-6 in 1e-9..=0.5;
    /// Upper end of it.
    error_rate_high = 1e-2 in 1e-9..=0.5;
    /// Share of requests slower than their application's own bound.
    slow_share = 1e-3 in 1e-6..=0.5;
    /// Standard deviation of the logarithm of latency: a release that is slower by a factor f moves the bound by ln f of it.
    latency_sigma = 0.8 in 0.05..=5.0;
    /// Errors of the network and the hosts per request.
    infrastructure_error_rate = 1e-4 in 0.0..=0.1;
    /// Errors of the applications themselves, as a multiple of the own-error rate.
    business_error_factor = 20.0 in 0.0..=1000.0;
    /// Height of the daily wave: load is 1 + this · sin.
    daily_amplitude = 0.6 in 0.0..=0.99;
    /// Zone incidents per day (of the whole fleet where it has no label `zone`).
    incidents_per_day = 1.0 in 0.0..=24.0;
    /// Factor on own errors during an incident, in both arms.
    incident_error_factor = 20.0 in 1.0..=1000.0;
    /// Factor on slow requests during an incident, in both arms.
    incident_slow_factor = 5.0 in 1.0..=1000.0;
    /// Shortest incident, in minutes.
    incident_min_low = 1.0 in 0.1..=1440.0;
    /// Longest incident, in minutes.
    incident_min_high = 60.0 in 0.1..=1440.0;
    /// Mean number of errors that come as one burst (geometric); a burst is one episode.
    burst_mean = 3.0 in 1.0..=100.0;
    /// Share of the clients that are heavy.
    heavy_client_share = 0.01 in 0.0..=1.0;
    /// Share of the episodes that come from heavy clients. One client counts at most one episode per interval.
    heavy_episode_share = 0.1 in 0.0..=1.0;
    /// Clients per request per second.
    clients_per_request_per_s = 10.0 in 0.01..=10000.0;
    /// Lower end of the factor on errors and slow requests right after a restart, good release or bad, log-uniform.
    transient_factor_low = 2.0 in 1.0..=1000.0;
    /// Upper end of it.
    transient_factor_high = 10.0 in 1.0..=1000.0;
    /// Shortest transient, in seconds.
    transient_s_low = 5.0 in 0.0..=3600.0;
    /// Longest transient, in seconds.
    transient_s_high = 120.0 in 0.0..=3600.0;
    /// Shortest cold replacement, in seconds.
    cold_s_low = 120.0 in 0.1..=86400.0;
    /// Longest cold replacement (uniform), in seconds.
    cold_s_high = 300.0 in 0.1..=86400.0;
    /// Factor on the slowest hundredth of cold replacements.
    cold_tail_factor = 3.0 in 1.0..=100.0;
    /// Median in-place replacement, in seconds, log-normal.
    in_place_s_median = 6.0 in 0.1..=3600.0;
    /// Standard deviation of its logarithm.
    in_place_sigma = 0.5 in 0.0..=3.0;
    /// Factor on the slowest hundredth of in-place replacements.
    in_place_tail_factor = 5.0 in 1.0..=100.0;
    /// Fastest order to the ingress, in seconds.
    ingress_s_low = 0.2 in 0.0..=600.0;
    /// Slowest order to the ingress, in seconds.
    ingress_s_high = 2.0 in 0.0..=600.0;
    /// Fastest draining to no connection, in seconds.
    drain_s_low = 2.0 in 0.0..=3600.0;
    /// Slowest draining, in seconds.
    drain_s_high = 25.0 in 0.0..=3600.0;
    /// Share of drains that take between one and two minutes.
    drain_stuck_share = 0.01 in 0.0..=1.0;
    /// Fastest fetch of an artefact, in seconds.
    prefetch_s_low = 1.0 in 0.0..=3600.0;
    /// Slowest fetch, in seconds; a replacement without an artefact at hand waits for one.
    prefetch_s_high = 20.0 in 0.0..=3600.0;
    /// Share of replacements whose instance never gets ready. The next attempt is drawn anew.
    never_ready_share = 0.005 in 0.0..=1.0;
    /// Restarts of a target that nobody asked for, per day.
    restarts_per_target_day = 0.05 in 0.0..=24.0;
    /// Deaths of a target per day; each is followed at once by a birth.
    deaths_per_target_day = 0.02 in 0.0..=24.0;
    /// Chance that an effect is lost before it is done; the answer is Unknown.
    fault_lost = 1e-4 in 0.0..=1.0;
    /// Chance that an effect is done and the answer is Unknown.
    fault_unreported = 1e-4 in 0.0..=1.0;
    /// Chance that an effect is delivered twice.
    fault_twice = 1e-4 in 0.0..=1.0;
    /// Chance that an effect is put off: the answer is Retry.
    fault_late = 1e-4 in 0.0..=1.0;
    /// Chance that a look at the fleet is not answered.
    fault_observe = 1e-4 in 0.0..=1.0;
    /// Synthetic requests that a running instance sends through itself per second, on either version, by day and by night.
    self_tests_per_second = 1.0 in 0.0..=1000.0;
    /// Share of the hosts whose counts do not arrive, in both arms.
    telemetry_loss = 0.0 in 0.0..=1.0;
    /// When a domain (a value of the label `region`, or of `zone` where nobody has a region; drawn) is cut off from the controller, in
    /// minutes after the beginning: no look, no order and no count of it arrives, and it serves on.
    cut_after_min = 0.0 in 0.0..=100000.0;
    /// For how long, in minutes.
    cut_min = 0.0 in 0.0..=100000.0;
    /// Share of the applications that a change of another team reaches meanwhile, on either version of ours.
    other_change_share = 0.0 in 0.0..=1.0;
    /// When it begins, in minutes after the beginning.
    other_change_after_min = 0.0 in 0.0..=100000.0;
    /// How long it takes to reach them all, one application after the other, in minutes.
    other_change_min = 60.0 in 0.0..=100000.0;
    /// What it does to their own errors.
    other_change_error_factor = 1.0 in 1.0..=1000.0;
    /// What it does to their slow requests.
    other_change_slow_factor = 1.0 in 1.0..=1000.0;
    /// Share of the targets that stand on a bad machine from the beginning, on either version: an upgrade leaves them there.
    bad_node_share = 0.0 in 0.0..=1.0;
    /// Factor on own errors there.
    bad_node_error_factor = 50.0 in 1.0..=10000.0;
    /// Chance that a restart in place is the end of it; another in its place always is.
    bad_node_restart_cures = 0.0 in 0.0..=1.0;
}

impl World {
    /// Reads a world: one JSON object whose fields replace the defaults.
    ///
    /// # Errors
    ///
    /// What is not an object, of another `version`, a field that does not exist, a value that is no number or out of its range,
    /// and a lower end above its upper end; each names the field, the range and the fix.
    pub fn from_json(text: &str) -> Result<Self, WorldError> {
        let value: Value = serde_json::from_str(text).map_err(|e| WorldError::NotAnObject(e.to_string()))?;
        let Value::Object(fields) = value else {
            return Err(WorldError::NotAnObject("found something else".to_owned()));
        };
        let mut world = Self::default();
        for (field, value) in &fields {
            if field == "version" {
                if value.as_u64() != Some(WORLD_VERSION) {
                    return Err(WorldError::Version {
                        found: value.to_string(),
                    });
                }
                continue;
            }
            world.set(field, value)?;
        }
        world.check()?;
        Ok(world)
    }

    /// Reads a world from a file, as [`from_json`](Self::from_json) does from a text; errors name the line.
    pub fn from_file(file: &Path) -> Result<Self, WorldFileError> {
        let named = || file.to_path_buf();
        let text =
            std::fs::read_to_string(file).map_err(|cause| WorldFileError::Unreadable { file: named(), cause })?;
        Self::from_json(&text).map_err(|error| {
            // JSON that ends too soon or is broken says its own line.
            let syntax = || serde_json::from_str::<Value>(&text).err().map(|error| error.line());
            let line = error.line(&text).or_else(syntax).unwrap_or(1);
            WorldFileError::Wrong {
                file: named(),
                line,
                error,
            }
        })
    }

    /// A world in which nothing goes wrong by itself: no incidents, restarts, deaths, faults, transients or stuck
    /// replacements. For tests that look at one thing at a time.
    #[must_use]
    pub fn calm() -> Self {
        Self {
            incidents_per_day: 0.0,
            restarts_per_target_day: 0.0,
            deaths_per_target_day: 0.0,
            never_ready_share: 0.0,
            drain_stuck_share: 0.0,
            transient_factor_low: 1.0,
            transient_factor_high: 1.0,
            fault_lost: 0.0,
            fault_unreported: 0.0,
            fault_twice: 0.0,
            fault_late: 0.0,
            fault_observe: 0.0,
            ..Self::default()
        }
    }

    /// What is said of bad machines.
    pub(crate) const fn of_bad_nodes(&self) -> [f64; 3] {
        [
            self.bad_node_share,
            self.bad_node_error_factor,
            self.bad_node_restart_cures,
        ]
    }

    /// Checks every range; done by whoever takes a world, since the fields are open.
    pub(crate) fn check(&self) -> Result<(), WorldError> {
        self.check_ranges()?;
        let pairs = [
            (
                "error_rate_low",
                self.error_rate_low,
                "error_rate_high",
                self.error_rate_high,
            ),
            (
                "incident_min_low",
                self.incident_min_low,
                "incident_min_high",
                self.incident_min_high,
            ),
            (
                "transient_factor_low",
                self.transient_factor_low,
                "transient_factor_high",
                self.transient_factor_high,
            ),
            (
                "transient_s_low",
                self.transient_s_low,
                "transient_s_high",
                self.transient_s_high,
            ),
            ("cold_s_low", self.cold_s_low, "cold_s_high", self.cold_s_high),
            (
                "ingress_s_low",
                self.ingress_s_low,
                "ingress_s_high",
                self.ingress_s_high,
            ),
            ("drain_s_low", self.drain_s_low, "drain_s_high", self.drain_s_high),
            (
                "prefetch_s_low",
                self.prefetch_s_low,
                "prefetch_s_high",
                self.prefetch_s_high,
            ),
        ];
        for (low_field, low, high_field, high) in pairs {
            if low > high {
                return Err(WorldError::Crossed {
                    low_field,
                    low: low.to_string(),
                    high_field,
                    high: high.to_string(),
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overrides_a_subset_and_keeps_the_rest() {
        let world = World::from_json(r#"{"version": 1, "burst_mean": 1, "slow_share": 0.002}"#).unwrap();
        assert_eq!((world.burst_mean, world.slow_share), (1.0, 0.002));
        let rest = World {
            burst_mean: 3.0,
            slow_share: 1e-3,
            ..world
        };
        assert_eq!(rest, World::default());
        assert_eq!(World::from_json("{}").unwrap(), World::default());
    }

    #[test]
    fn errors_name_field_range_and_fix() {
        let message = |text: &str| World::from_json(text).unwrap_err().to_string();
        let unknown = message(r#"{"burst_men": 2}"#);
        assert!(
            unknown.contains("`burst_men`") && unknown.contains("did you mean `burst_mean`"),
            "{unknown}"
        );
        let range = message(r#"{"burst_mean": 0.5}"#);
        assert!(
            range.contains("`burst_mean` is 0.5") && range.contains("from 1.0 to 100.0"),
            "{range}"
        );
        let kind = message(r#"{"burst_mean": "three"}"#);
        assert!(kind.contains("\"three\"") && kind.contains("give a number"), "{kind}");
        let crossed = message(r#"{"cold_s_low": 500}"#);
        assert!(
            crossed.contains("cold_s_low") && crossed.contains("cold_s_high"),
            "{crossed}"
        );
        assert!(message(r#"{"version": 2}"#).contains("version 2"));
        assert!(message("[1]").contains("JSON object"));
        assert!(message("{").contains("JSON object"));
    }

    #[test]
    fn errors_of_a_file_name_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("world.json");
        let message = |text: &str| {
            std::fs::write(&file, text).unwrap();
            World::from_file(&file).unwrap_err().to_string()
        };
        for (text, line, what) in [
            ("{\n \"slow_share\": 0.002,\n \"burst_men\": 2\n}", 3, "did you mean"),
            ("{\n \"burst_mean\": 0.5\n}", 2, "from 1.0 to 100.0"),
            ("{\n\n \"cold_s_low\": 500}", 3, "cold_s_high"),
            ("{\"version\": 2}", 1, "version 2"),
            ("{\n \"burst_mean\": 2,", 2, "JSON object"),
            ("[\n1]", 1, "JSON object"),
        ] {
            let said = message(text);
            let begins = format!("{}:{line}: ", file.display());
            assert!(said.starts_with(&begins) && said.contains(what), "{said}");
        }
        let missing = World::from_file(&folder.path().join("none.json"))
            .unwrap_err()
            .to_string();
        assert!(missing.contains("none.json: the world cannot be read"), "{missing}");
    }

    #[test]
    fn defaults_and_the_calm_world_are_within_their_ranges() {
        World::default().check().unwrap();
        World::calm().check().unwrap();
    }

    #[test]
    fn survives_a_round_trip() {
        let world = World {
            burst_mean: 7.0,
            ..World::default()
        };
        let text = serde_json::to_string(&world).unwrap();
        assert_eq!(World::from_json(&text).unwrap(), world);
    }
}
