//! Both systems' configurations under their own field names, with their own defaults.

use std::fmt;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::CompatError;

/// Envoy's `OutlierDetection`, as its cluster configuration has it. Times are in milliseconds here; in files they are
/// seconds, as a number or as `"10s"`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(
    clippy::exhaustive_structs,
    reason = "users write it with `..EnvoyConfig::default()`"
)]
pub struct EnvoyConfig {
    /// Server errors in a row that eject. Default 5.
    #[serde(deserialize_with = "count")]
    pub consecutive_5xx: u32,
    /// Time between sweeps. Default 10 s.
    #[serde(rename = "interval", with = "seconds")]
    pub interval_ms: u64,
    /// The first ejection lasts this long, the k-th k times as long. Default 30 s.
    #[serde(rename = "base_ejection_time", with = "seconds")]
    pub base_ejection_ms: u64,
    /// Longest ejection. Default 300 s, or the base time if that is longer.
    #[serde(rename = "max_ejection_time", with = "optional_seconds")]
    pub max_ejection_ms: Option<u64>,
    /// Up to so much is added to an ejection. Default 0.
    #[serde(rename = "max_ejection_time_jitter", with = "seconds")]
    pub max_ejection_jitter_ms: u64,
    /// Largest share of hosts ejected at once, in per cent. Default 10.
    #[serde(deserialize_with = "count")]
    pub max_ejection_percent: u32,
    /// One host may go whatever the share. Default false.
    pub always_eject_one_host: bool,
    /// 502, 503 and 504 in a row that eject. Default 5.
    #[serde(deserialize_with = "count")]
    pub consecutive_gateway_failure: u32,
    /// Hosts with enough requests for the success rate to be compared. Default 5.
    #[serde(deserialize_with = "count")]
    pub success_rate_minimum_hosts: u32,
    /// Requests in an interval that are enough. Default 100.
    #[serde(deserialize_with = "count")]
    pub success_rate_request_volume: u32,
    /// Standard deviations below the mean, in thousandths. Default 1,900.
    #[serde(deserialize_with = "count")]
    pub success_rate_stdev_factor: u32,
    /// Failures in an interval that eject, in per cent. Default 85.
    #[serde(deserialize_with = "count")]
    pub failure_percentage_threshold: u32,
    /// Hosts with enough requests for that. Default 5.
    #[serde(deserialize_with = "count")]
    pub failure_percentage_minimum_hosts: u32,
    /// Requests in an interval that are enough. Default 50.
    #[serde(deserialize_with = "count")]
    pub failure_percentage_request_volume: u32,
    /// Judge connections and answers apart. Default false.
    pub split_external_local_origin_errors: bool,
    /// Local-origin failures in a row that eject, if judged apart. Default 5.
    #[serde(deserialize_with = "count")]
    pub consecutive_local_origin_failure: u32,
    /// Per cent of detections that are acted on. Default 100.
    #[serde(deserialize_with = "count")]
    pub enforcing_consecutive_5xx: u32,
    /// Default 0.
    #[serde(deserialize_with = "count")]
    pub enforcing_consecutive_gateway_failure: u32,
    /// Default 100.
    #[serde(deserialize_with = "count")]
    pub enforcing_consecutive_local_origin_failure: u32,
    /// Default 100.
    #[serde(deserialize_with = "count")]
    pub enforcing_success_rate: u32,
    /// Default 100.
    #[serde(deserialize_with = "count")]
    pub enforcing_local_origin_success_rate: u32,
    /// Default 0.
    #[serde(deserialize_with = "count")]
    pub enforcing_failure_percentage: u32,
    /// Default 0.
    #[serde(deserialize_with = "count")]
    pub enforcing_failure_percentage_local_origin: u32,
    /// An active health check that passes ends an ejection. Default true.
    pub successful_active_health_check_uneject_host: bool,
}

impl Default for EnvoyConfig {
    fn default() -> Self {
        Self {
            consecutive_5xx: 5,
            interval_ms: 10_000,
            base_ejection_ms: 30_000,
            max_ejection_ms: None,
            max_ejection_jitter_ms: 0,
            max_ejection_percent: 10,
            always_eject_one_host: false,
            consecutive_gateway_failure: 5,
            success_rate_minimum_hosts: 5,
            success_rate_request_volume: 100,
            success_rate_stdev_factor: 1_900,
            failure_percentage_threshold: 85,
            failure_percentage_minimum_hosts: 5,
            failure_percentage_request_volume: 50,
            split_external_local_origin_errors: false,
            consecutive_local_origin_failure: 5,
            enforcing_consecutive_5xx: 100,
            enforcing_consecutive_gateway_failure: 0,
            enforcing_consecutive_local_origin_failure: 100,
            enforcing_success_rate: 100,
            enforcing_local_origin_success_rate: 100,
            enforcing_failure_percentage: 0,
            enforcing_failure_percentage_local_origin: 0,
            successful_active_health_check_uneject_host: true,
        }
    }
}

impl EnvoyConfig {
    /// The longest ejection: as given, or the larger of 300 s and the base time.
    #[must_use]
    pub fn longest_ms(&self) -> u64 {
        self.max_ejection_ms
            .unwrap_or_else(|| self.base_ejection_ms.max(300_000))
    }

    /// What Envoy itself refuses.
    ///
    /// # Errors
    ///
    /// [`CompatError`] names the field.
    pub fn check(&self) -> Result<(), CompatError> {
        for (field, percent) in [
            ("max_ejection_percent", self.max_ejection_percent),
            ("failure_percentage_threshold", self.failure_percentage_threshold),
            ("enforcing_consecutive_5xx", self.enforcing_consecutive_5xx),
            (
                "enforcing_consecutive_gateway_failure",
                self.enforcing_consecutive_gateway_failure,
            ),
            (
                "enforcing_consecutive_local_origin_failure",
                self.enforcing_consecutive_local_origin_failure,
            ),
            ("enforcing_success_rate", self.enforcing_success_rate),
            (
                "enforcing_local_origin_success_rate",
                self.enforcing_local_origin_success_rate,
            ),
            ("enforcing_failure_percentage", self.enforcing_failure_percentage),
            (
                "enforcing_failure_percentage_local_origin",
                self.enforcing_failure_percentage_local_origin,
            ),
        ] {
            percent_at_most_100(field, percent)?;
        }
        for (field, time_ms) in [
            ("interval", self.interval_ms),
            ("base_ejection_time", self.base_ejection_ms),
            ("max_ejection_time", self.longest_ms()),
        ] {
            if time_ms == 0 {
                return Err(CompatError::Zero { field });
            }
        }
        if self.longest_ms() < self.base_ejection_ms {
            return Err(CompatError::Longest {
                max_ms: self.longest_ms(),
                base_ms: self.base_ejection_ms,
            });
        }
        Ok(())
    }
}

/// gRPC's `OutlierDetectionLoadBalancingConfig` (A50). Times are in milliseconds here; in files they are seconds, as a
/// number or as `"10s"`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[expect(clippy::exhaustive_structs, reason = "users write it with `..GrpcConfig::default()`")]
pub struct GrpcConfig {
    /// Time between sweeps. Default 10 s.
    #[serde(rename = "interval", with = "seconds")]
    pub interval_ms: u64,
    /// The first ejection lasts this long. Default 30 s.
    #[serde(rename = "baseEjectionTime", with = "seconds")]
    pub base_ejection_ms: u64,
    /// Longest ejection. Default 300 s; never shorter than the base time.
    #[serde(rename = "maxEjectionTime", with = "seconds")]
    pub max_ejection_ms: u64,
    /// No more are ejected once this share is, in per cent. Default 10.
    #[serde(deserialize_with = "count")]
    pub max_ejection_percent: u32,
    /// Compares success rates, if there.
    pub success_rate_ejection: Option<SuccessRateEjection>,
    /// Looks at each endpoint's failures, if there.
    pub failure_percentage_ejection: Option<FailurePercentageEjection>,
}

/// gRPC's comparison of success rates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[expect(clippy::exhaustive_structs, reason = "gRPC's own four fields")]
pub struct SuccessRateEjection {
    /// Standard deviations below the mean, in thousandths. Default 1,900.
    #[serde(deserialize_with = "count")]
    pub stdev_factor: u32,
    /// Per cent of detections that are acted on. Default 100.
    #[serde(deserialize_with = "count")]
    pub enforcement_percentage: u32,
    /// Endpoints with enough calls. Default 5.
    #[serde(deserialize_with = "count")]
    pub minimum_hosts: u32,
    /// Calls in an interval that are enough. Default 100.
    #[serde(deserialize_with = "count")]
    pub request_volume: u32,
}

/// gRPC's limit on failures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[expect(clippy::exhaustive_structs, reason = "gRPC's own four fields")]
pub struct FailurePercentageEjection {
    /// Failures in an interval beyond which an endpoint goes, in per cent. Default 85.
    #[serde(deserialize_with = "count")]
    pub threshold: u32,
    /// Per cent of detections that are acted on. Default 100, as the proposal says (grpc-go takes 0).
    #[serde(deserialize_with = "count")]
    pub enforcement_percentage: u32,
    /// Endpoints with enough calls. Default 5.
    #[serde(deserialize_with = "count")]
    pub minimum_hosts: u32,
    /// Calls in an interval that are enough. Default 50.
    #[serde(deserialize_with = "count")]
    pub request_volume: u32,
}

impl Default for GrpcConfig {
    fn default() -> Self {
        Self {
            interval_ms: 10_000,
            base_ejection_ms: 30_000,
            max_ejection_ms: 300_000,
            max_ejection_percent: 10,
            success_rate_ejection: None,
            failure_percentage_ejection: None,
        }
    }
}

impl Default for SuccessRateEjection {
    fn default() -> Self {
        Self {
            stdev_factor: 1_900,
            enforcement_percentage: 100,
            minimum_hosts: 5,
            request_volume: 100,
        }
    }
}

impl Default for FailurePercentageEjection {
    fn default() -> Self {
        Self {
            threshold: 85,
            enforcement_percentage: 100,
            minimum_hosts: 5,
            request_volume: 50,
        }
    }
}

impl GrpcConfig {
    /// What the proposal refuses.
    ///
    /// # Errors
    ///
    /// [`CompatError`] names the field.
    pub fn check(&self) -> Result<(), CompatError> {
        percent_at_most_100("maxEjectionPercent", self.max_ejection_percent)?;
        if let Some(success) = &self.success_rate_ejection {
            percent_at_most_100(
                "successRateEjection.enforcementPercentage",
                success.enforcement_percentage,
            )?;
        }
        if let Some(failure) = &self.failure_percentage_ejection {
            percent_at_most_100("failurePercentageEjection.threshold", failure.threshold)?;
            percent_at_most_100(
                "failurePercentageEjection.enforcementPercentage",
                failure.enforcement_percentage,
            )?;
        }
        Ok(())
    }

    /// Neither detector is there: nothing is counted, nobody is ejected.
    pub(super) const fn is_off(&self) -> bool {
        self.success_rate_ejection.is_none() && self.failure_percentage_ejection.is_none()
    }
}

const fn percent_at_most_100(field: &'static str, percent: u32) -> Result<(), CompatError> {
    if percent > 100 {
        return Err(CompatError::Percent { field, percent });
    }
    Ok(())
}

/// A whole number, also where it is written as `5.0`.
fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    struct Whole;
    impl Visitor<'_> for Whole {
        type Value = u32;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a whole number from 0 to 4294967295, such as 5")
        }

        fn visit_u64<E: de::Error>(self, number: u64) -> Result<u32, E> {
            u32::try_from(number).map_err(|_| E::invalid_value(de::Unexpected::Unsigned(number), &self))
        }

        fn visit_i64<E: de::Error>(self, number: i64) -> Result<u32, E> {
            u32::try_from(number).map_err(|_| E::invalid_value(de::Unexpected::Signed(number), &self))
        }

        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "checked to be whole and in range"
        )]
        fn visit_f64<E: de::Error>(self, number: f64) -> Result<u32, E> {
            if number.fract().abs() > 0.0 || !(0.0..=f64::from(u32::MAX)).contains(&number) {
                return Err(E::invalid_value(de::Unexpected::Float(number), &self));
            }
            Ok(number as u32)
        }
    }
    deserializer.deserialize_any(Whole)
}

/// Seconds as a number or as `"10s"`, held as milliseconds.
mod seconds {
    use super::{Deserializer, Seconds, Serializer};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    pub(super) fn serialize<S: Serializer>(time_ms: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}.{:03}s", time_ms / 1_000, time_ms % 1_000))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        deserializer.deserialize_any(Seconds)
    }
}

mod optional_seconds {
    use super::{Deserializer, Seconds, Serializer, seconds};

    #[expect(clippy::ref_option, reason = "serde's signature")]
    pub(super) fn serialize<S: Serializer>(time_ms: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
        match time_ms {
            Some(time_ms) => seconds::serialize(time_ms, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
        deserializer.deserialize_any(Seconds).map(Some)
    }
}

struct Seconds;

impl Visitor<'_> for Seconds {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a time in seconds from 0 to 100 years, such as 10, 0.5 or \"10s\"")
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<u64, E> {
        let in_range = Some(number).filter(|&number| number <= 3_155_760_000);
        in_range
            .map(|seconds| seconds * 1_000)
            .ok_or_else(|| E::invalid_value(de::Unexpected::Unsigned(number), &self))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<u64, E> {
        let seconds = u64::try_from(number).map_err(|_| E::invalid_value(de::Unexpected::Signed(number), &self))?;
        self.visit_u64(seconds)
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked to be in range"
    )]
    fn visit_f64<E: de::Error>(self, number: f64) -> Result<u64, E> {
        if !(0.0..=3_155_760_000.0).contains(&number) {
            return Err(E::invalid_value(de::Unexpected::Float(number), &self));
        }
        Ok((number * 1_000.0).round() as u64)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<u64, E> {
        let number = text.strip_suffix('s').and_then(|number| number.parse::<f64>().ok());
        match number.filter(|number| (0.0..=3_155_760_000.0).contains(number)) {
            Some(number) => self.visit_f64(number),
            None => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
        }
    }
}
