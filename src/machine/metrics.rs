use unattended_health::{FaultClass, MetricSpec};

/// What is judged: the numbers by which a [`MetricSource`](unattended_health::MetricSource) names its rows are the
/// positions in this list.
///
/// 0 `errors`: own errors of requests. 1 `slow`: requests slower than the application's own bound. 2 `restarts`: hosts
/// that restarted without being told to, of hosts at risk. 3 `self_test`: failed synthetic requests that every instance
/// sends through itself; they speak where there is no traffic.
pub fn metrics() -> Vec<MetricSpec> {
    vec![
        MetricSpec::new("errors", FaultClass::Own, 0.45),
        MetricSpec::new("slow", FaultClass::Own, 0.25),
        MetricSpec::new("restarts", FaultClass::Own, 0.20).optional().of_hosts(),
        MetricSpec::new("self_test", FaultClass::Own, 0.10)
            .optional()
            .floor(1e-3),
    ]
}
