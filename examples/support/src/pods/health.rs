//! How healthy the sidecar of a pod is, from what the kubelet reports.

use super::wire::{ContainerStatus, Status};
use crate::State;

/// The state of the target, and whether the pod's phase is one that says nothing.
///
/// In this order, since a crash must show whatever else holds: the sidecar crashes; it has not started; the phase is
/// unknown; the pod or the sidecar is not ready. Only a running sidecar in a ready pod is healthy.
pub(crate) fn state(status: Option<&Status>, sidecar: &str) -> (State, bool) {
    let Some(status) = status else {
        return (State::Pending, false);
    };
    let phase = status.phase.as_deref();
    let unknown = !matches!(phase, None | Some("Pending" | "Running"));
    let container = status.container(sidecar);
    if container.is_some_and(crashes) {
        return (State::SidecarCrashing, unknown);
    }
    if unknown {
        return (State::AppUnready, true);
    }
    let Some(container) = container else {
        return (State::Pending, false);
    };
    let state = container.state.as_ref();
    if phase != Some("Running") || state.is_some_and(|state| state.waiting.is_some()) {
        return (State::Pending, false);
    }
    let runs = state.is_some_and(|state| state.running.is_some()) && container.ready != Some(false);
    (
        if runs && status.is_ready() {
            State::Healthy
        } else {
            State::AppUnready
        },
        false,
    )
}

/// One failed start may be bad luck; a second is a crash loop, which is also how the kubelet's back-off begins.
fn crashes(container: &ContainerStatus) -> bool {
    let Some(state) = &container.state else { return false };
    let backs_off = state
        .waiting
        .as_ref()
        .is_some_and(|waiting| waiting.reason.as_deref() == Some("CrashLoopBackOff"));
    let failed = state
        .terminated
        .as_ref()
        .is_some_and(|terminated| terminated.exit_code != Some(0));
    backs_off || failed && container.restart_count.unwrap_or(0) >= 1
}

#[cfg(test)]
mod tests {
    use super::state;
    use crate::State;

    fn of(status: &str) -> (State, bool) {
        let status = serde_json::from_str(status).expect("a status");
        state(Some(&status), "mesh")
    }

    const READY: &str = r#""conditions":[{"type":"PodScheduled","status":"True"},{"type":"Ready","status":"True"}]"#;

    fn running(container: &str) -> State {
        of(&format!(
            r#"{{"phase":"Running",{READY},"containerStatuses":[{{"name":"mesh",{container}}}]}}"#
        ))
        .0
    }

    #[test]
    fn only_a_running_sidecar_in_a_ready_pod_is_healthy() {
        assert_eq!(
            running(r#""ready":true,"state":{"running":{"startedAt":"2026-01-01T00:00:00Z"}}"#),
            State::Healthy
        );
        assert_eq!(running(r#""ready":false,"state":{"running":{}}"#), State::AppUnready);
        assert_eq!(running(r#""ready":true,"state":null"#), State::AppUnready);
        assert_eq!(
            running(r#""state":{"terminated":{"exitCode":0}},"restartCount":3"#),
            State::AppUnready
        );
        let silent = r#"{"phase":"Running","containerStatuses":[{"name":"mesh","ready":true,"state":{"running":{}}}]}"#;
        assert_eq!(of(silent), (State::AppUnready, false));
        let lost = silent.replace("\"cont", r#""conditions":[{"type":"Ready","status":"Unknown"}],"cont"#);
        assert_eq!(of(&lost), (State::AppUnready, false));
    }

    #[test]
    fn crashes_show_whatever_else_holds() {
        assert_eq!(
            running(r#""state":{"waiting":{"reason":"CrashLoopBackOff"}}"#),
            State::SidecarCrashing
        );
        assert_eq!(
            running(r#""state":{"terminated":{"exitCode":1}},"restartCount":1"#),
            State::SidecarCrashing
        );
        assert_eq!(
            running(r#""state":{"terminated":{"exitCode":1}},"restartCount":0"#),
            State::AppUnready
        );
        // A native sidecar crashes before its pod leaves the phase Pending.
        let native = r#"{"phase":"Pending","initContainerStatuses":[
            {"name":"mesh","restartCount":4,"state":{"waiting":{"reason":"CrashLoopBackOff"}}}]}"#;
        assert_eq!(of(native), (State::SidecarCrashing, false));
        assert_eq!(
            of(&native.replace("Pending", "Unknown")),
            (State::SidecarCrashing, true)
        );
    }

    #[test]
    fn what_has_not_started_is_pending() {
        assert_eq!(
            running(r#""state":{"waiting":{"reason":"ContainerCreating"}}"#),
            State::Pending
        );
        assert_eq!(
            running(r#""state":{"waiting":{"reason":"ImagePullBackOff"}}"#),
            State::Pending
        );
        assert_eq!(of(r#"{"phase":"Pending"}"#), (State::Pending, false));
        assert_eq!(
            of(r#"{"phase":"Running","containerStatuses":[{"name":"app"}]}"#),
            (State::Pending, false)
        );
        assert_eq!(of("{}"), (State::Pending, false));
        // A native sidecar runs before the pod's own containers do.
        let native =
            r#"{"phase":"Pending","initContainerStatuses":[{"name":"mesh","ready":true,"state":{"running":{}}}]}"#;
        assert_eq!(of(native), (State::Pending, false));
        assert_eq!(state(None, "mesh"), (State::Pending, false));
    }

    #[test]
    fn an_unknown_phase_is_never_healthy() {
        let lost = format!(
            r#"{{"phase":"Unknown",{READY},"containerStatuses":[{{"name":"mesh","ready":true,"state":{{"running":{{}}}}}}]}}"#
        );
        assert_eq!(of(&lost), (State::AppUnready, true));
        assert_eq!(of(&lost.replace("Unknown", "Dreaming")), (State::AppUnready, true));
    }
}
