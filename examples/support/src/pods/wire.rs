//! What is read of a pod; everything else is skipped unseen.

use std::collections::BTreeMap;

use serde::Deserialize;

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Pod {
    pub(crate) kind: Option<String>,
    pub(crate) metadata: Option<Metadata>,
    pub(crate) spec: Option<Spec>,
    pub(crate) status: Option<Status>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Metadata {
    pub(crate) name: Option<String>,
    pub(crate) namespace: Option<String>,
    pub(crate) labels: Option<BTreeMap<String, String>>,
    pub(crate) owner_references: Option<Vec<Owner>>,
    pub(crate) deletion_timestamp: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Owner {
    #[serde(default)]
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) name: String,
    pub(crate) controller: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Spec {
    pub(crate) containers: Option<Vec<Container>>,
    pub(crate) init_containers: Option<Vec<Container>>,
}

impl Spec {
    /// Containers that run as long as the pod does: the plain ones, and native sidecars among the init containers.
    pub(crate) fn lasting(&self) -> impl Iterator<Item = &str> {
        let plain = self.containers.iter().flatten();
        let native = self
            .init_containers
            .iter()
            .flatten()
            .filter(|c| c.restart_policy.as_deref() == Some("Always"));
        plain.chain(native).map(|container| container.name.as_str())
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Container {
    #[serde(default)]
    pub(crate) name: String,
    pub(crate) restart_policy: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Status {
    pub(crate) phase: Option<String>,
    pub(crate) conditions: Option<Vec<Condition>>,
    pub(crate) container_statuses: Option<Vec<ContainerStatus>>,
    pub(crate) init_container_statuses: Option<Vec<ContainerStatus>>,
}

impl Status {
    pub(crate) fn container(&self, name: &str) -> Option<&ContainerStatus> {
        let all = [&self.container_statuses, &self.init_container_statuses];
        all.into_iter().flatten().flatten().find(|status| status.name == name)
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.conditions
            .iter()
            .flatten()
            .any(|condition| condition.kind == "Ready" && condition.status == "True")
    }
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Condition {
    #[serde(default, rename = "type")]
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) status: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ContainerStatus {
    #[serde(default)]
    pub(crate) name: String,
    pub(crate) ready: Option<bool>,
    pub(crate) restart_count: Option<u64>,
    pub(crate) state: Option<ContainerState>,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct ContainerState {
    pub(crate) running: Option<Running>,
    pub(crate) waiting: Option<Waiting>,
    pub(crate) terminated: Option<Terminated>,
}

/// That it runs is enough.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Running {}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Waiting {
    pub(crate) reason: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Terminated {
    pub(crate) exit_code: Option<i64>,
}
