//! Which application a pod belongs to.

use super::wire::{Metadata, Owner};

/// The recommended label of Kubernetes for the name of an application.
pub(crate) const NAME_LABEL: &str = "app.kubernetes.io/name";
/// Set on the pods of a Deployment; the second by the Rollout of Argo.
pub(crate) const TEMPLATE_HASHES: [&str; 2] = ["pod-template-hash", "rollouts-pod-template-hash"];

/// The rule that found the application. The first that applies is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// The label [`NAME_LABEL`].
    Label,
    /// The workload that made the pod.
    Owner,
    /// Nothing but the pod itself.
    OwnName,
}

pub(crate) fn application<'m>(metadata: &'m Metadata, pod: &'m str) -> (&'m str, Rule) {
    let label = |key: &str| {
        metadata
            .labels
            .as_ref()
            .and_then(|labels| labels.get(key))
            .map(String::as_str)
    };
    if let Some(name) = label(NAME_LABEL).filter(|name| !name.is_empty()) {
        return (name, Rule::Label);
    }
    let owners = metadata.owner_references.as_deref().unwrap_or_default();
    let owner = owners
        .iter()
        .find(|owner| owner.controller == Some(true))
        .or_else(|| owners.first());
    match owner {
        Some(Owner { kind, name, .. }) if !name.is_empty() => match kind.as_str() {
            // A static pod belongs to its node by name only, and every node has a copy.
            "Node" => (without(pod, name).unwrap_or(pod), Rule::OwnName),
            "ReplicaSet" => {
                let deployment = TEMPLATE_HASHES.iter().find_map(|key| without(name, label(key)?));
                (deployment.unwrap_or(name), Rule::Owner)
            }
            "Job" => (cron_job(name).unwrap_or(name), Rule::Owner),
            _ => (name, Rule::Owner),
        },
        _ => (pod, Rule::OwnName),
    }
}

/// `name` without `-suffix`, if something is left.
fn without<'n>(name: &'n str, suffix: &str) -> Option<&'n str> {
    name.strip_suffix(suffix)?
        .strip_suffix('-')
        .filter(|rest| !rest.is_empty() && !suffix.is_empty())
}

/// A CronJob names its Jobs after itself and the minute they were due, in minutes since 1970 (seconds in old versions).
fn cron_job(job: &str) -> Option<&str> {
    let (name, due) = job.rsplit_once('-')?;
    let is_time = (8..=10).contains(&due.len()) && due.bytes().all(|byte| byte.is_ascii_digit());
    (is_time && !name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::{Rule, application};
    use crate::pods::wire::Metadata;

    fn of(metadata: &str) -> (String, Rule) {
        let metadata: Metadata = serde_json::from_str(metadata).expect("metadata");
        let (app, rule) = application(&metadata, metadata.name.as_deref().unwrap_or_default());
        (app.to_owned(), rule)
    }

    fn owned(kind: &str, name: &str, labels: &str) -> (String, Rule) {
        of(&format!(
            r#"{{"name":"p-1","labels":{{{labels}}},"ownerReferences":[{{"kind":"Other","name":"other"}},{{"kind":"{kind}","name":"{name}","controller":true}}]}}"#
        ))
    }

    fn owner(name: &str) -> (String, Rule) {
        (name.to_owned(), Rule::Owner)
    }

    #[test]
    fn the_label_wins_and_an_empty_one_does_not() {
        let name = r#""app.kubernetes.io/name":"web""#;
        assert_eq!(owned("StatefulSet", "db", name), ("web".to_owned(), Rule::Label));
        assert_eq!(owned("StatefulSet", "db", &name.replace("web", "")), owner("db"));
    }

    #[test]
    fn owners_are_traced_to_what_a_person_wrote() {
        let hash = r#""pod-template-hash":"5d9c""#;
        assert_eq!(owned("ReplicaSet", "web-5d9c", hash), owner("web"));
        assert_eq!(
            owned("ReplicaSet", "web-5d9c", r#""rollouts-pod-template-hash":"5d9c""#),
            owner("web")
        );
        // Without the label no Deployment made it; and another hash is part of the name.
        assert_eq!(owned("ReplicaSet", "web-5d9c", ""), owner("web-5d9c"));
        assert_eq!(owned("ReplicaSet", "web-77aa", hash), owner("web-77aa"));
        assert_eq!(owned("ReplicaSet", "-5d9c", hash), owner("-5d9c"));
        assert_eq!(owned("Job", "report-28391040", ""), owner("report"));
        assert_eq!(owned("Job", "report-2024", ""), owner("report-2024"));
        assert_eq!(owned("Job", "import", ""), owner("import"));
        assert_eq!(owned("DaemonSet", "agent", ""), owner("agent"));
        assert_eq!(
            of(r#"{"name":"p","ownerReferences":[{"kind":"Gang","name":"g"}]}"#),
            owner("g")
        );
    }

    #[test]
    fn a_pod_of_nobody_is_its_own_application() {
        assert_eq!(of(r#"{"name":"debug"}"#), ("debug".to_owned(), Rule::OwnName));
        assert_eq!(
            of(r#"{"name":"proxy-node-7","ownerReferences":[{"kind":"Node","name":"node-7","controller":true}]}"#),
            ("proxy".to_owned(), Rule::OwnName)
        );
    }
}
