//! Lists of pods: what is a target, whose, how healthy; and what is said when that cannot be told.

use std::io::{self, Read};

use unattended_examples_support::{Inventory, State, read};

const PODS: &str = include_str!("../data/pods.json");
const COMPACT: &str = include_str!("../data/podlist-compact.json");

/// Gives one byte a call.
struct Drip<'a>(&'a [u8]);

impl Read for Drip<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(1);
        self.0.read(&mut buffer[..most])
    }
}

fn pods(text: &str, container: &str) -> Result<Inventory, String> {
    let whole = read("p.json", text.as_bytes(), None, Some(container));
    assert_eq!(
        whole,
        read("p.json", Drip(text.as_bytes()), None, Some(container)),
        "chunks must not matter"
    );
    whole.map_err(|error| error.to_string())
}

fn refused(text: &str, container: &str) -> String {
    pods(text, container).expect_err("must be refused")
}

#[test]
fn each_pod_is_a_target_of_its_application_or_left_out_for_a_reason() {
    let fleet = pods(PODS, "mesh-proxy").expect("well formed");
    let seen: Vec<(&str, &str, State)> = fleet.targets.iter().map(|t| (&*t.id, &*t.app, t.state)).collect();
    assert_eq!(
        seen,
        [
            ("shop/web-5d9c7-aaaaa", "shop/web", State::Healthy),
            ("shop/web-5d9c7-bbbbb", "shop/web", State::AppUnready),
            ("shop/cart-77b4-ddddd", "shop/cart", State::SidecarCrashing),
            ("shop/db-0", "shop/db", State::Healthy),
            ("shop/agent-x7x2p", "shop/agent", State::Healthy),
            ("shop/report-28391041-mm5wq", "shop/report", State::Healthy),
            ("shop/debug", "shop/debug", State::Healthy),
            ("shop/cart-77b4-eeeee", "shop/cart", State::Pending),
            ("shop/cart-77b4-fffff", "shop/cart", State::Pending),
            ("desk/web-abc-ggggg", "desk/web", State::Healthy),
            ("desk/web-abc-hhhhh", "desk/web", State::AppUnready),
            ("desk/web-abc-iiiii", "desk/web", State::SidecarCrashing),
        ]
    );
    assert_eq!(
        fleet.notes,
        [
            "12 targets of 15 pods from 2 namespaces; left out: 1 terminating, 1 finished, 1 without the container",
            "application of 5 pods from the label app.kubernetes.io/name, 6 from the owner, 1 from the pod's own name, \
             with the namespace before it",
            "6 healthy, 2 not ready, 2 with a crashing sidecar, 2 pending",
            "1 pod in a phase that says nothing, taken as not ready; the first is `desk/web-abc-hhhhh`",
            "labels left out, since controllers set them or they repeat the application: `app.kubernetes.io/name`, \
             `apps.kubernetes.io/pod-index`, `batch.kubernetes.io/job-name`, `controller-revision-hash`, `job-name`, \
             `pod-template-generation`, `pod-template-hash`, `statefulset.kubernetes.io/pod-name`",
        ]
    );
}

#[test]
fn labels_tell_where_a_pod_is_and_keep_what_teams_wrote() {
    let fleet = pods(PODS, "mesh-proxy").expect("well formed");
    assert_eq!(fleet.keys, ["namespace", "region", "stack", "tier", "zone"]);
    let labels = |id: &str| -> Vec<String> {
        let target = fleet.targets.iter().find(|target| &*target.id == id).expect(id);
        target
            .labels
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect()
    };
    assert_eq!(
        labels("shop/web-5d9c7-aaaaa"),
        ["namespace=shop", "region=eu-1", "tier=gold", "zone=eu-1a"]
    );
    assert_eq!(labels("shop/db-0"), ["namespace=shop", "zone=eu-1c"]);
    assert_eq!(
        labels("shop/cart-77b4-eeeee"),
        ["namespace=shop", "region=eu-1", "stack=go", "zone=eu-1b"]
    );
    assert_eq!(labels("shop/debug"), ["namespace=shop"]);
}

#[test]
fn a_label_that_repeats_the_application_of_every_target_is_left_out() {
    let item = |name: &str, app: &str, chart: &str| {
        format!(
            r#"{{"metadata":{{"name":"{name}","labels":{{"app":"{app}","helm.sh/chart":"{chart}","zone":"{app}"}},
            "ownerReferences":[{{"kind":"StatefulSet","name":"{app}"}}]}},"spec":{{"containers":[{{"name":"mesh"}}]}}}}"#
        )
    };
    let list = |chart| format!(r#"{{"items":[{},{}]}}"#, item("a-0", "a", "a"), item("b-0", "b", chart));
    let fleet = pods(&list("b"), "mesh").expect("well formed");
    assert_eq!(fleet.keys, ["namespace", "zone"]);
    assert_eq!(fleet.targets[1].labels.len(), 2);
    let note = fleet.notes.last().map(String::as_str).unwrap_or_default();
    assert!(
        note.ends_with("repeat the application: `app`, `helm.sh/chart`"),
        "{note}"
    );
    assert_eq!(
        pods(&list("other"), "mesh").expect("well formed").keys,
        ["chart", "namespace", "zone"]
    );
}

#[test]
fn one_namespace_needs_no_prefix() {
    let fleet = pods(COMPACT, "mesh-.*").expect("well formed");
    let seen: Vec<(&str, &str, Option<&str>)> = fleet
        .targets
        .iter()
        .map(|target| (&*target.id, &*target.app, target.label("zone")))
        .collect();
    assert_eq!(seen, [("solo/a-1", "a", Some("z1")), ("solo/a-2", "a", Some("z2"))]);
    assert_eq!(
        fleet.notes[3],
        "no region: no pod has the label topology.kubernetes.io/region (nodes have it; newer versions of Kubernetes \
         copy it to pods)"
    );
}

#[test]
fn a_namespace_whose_pods_are_all_left_out_still_counts() {
    // Otherwise an application would change its name whenever another team's last pod goes.
    let text = COMPACT.replace(
        "\"items\":[",
        r#""items":[{"metadata":{"name":"x","namespace":"other"}},"#,
    );
    assert_eq!(
        &*pods(&text, "mesh-proxy").expect("well formed").targets[0].app,
        "solo/a"
    );
}

#[test]
fn the_pattern_is_for_the_whole_name_and_for_one_container() {
    assert_eq!(
        refused(COMPACT, "mesh"),
        "p.json: no pod has a container whose whole name matches `--container mesh`: choose one of those seen: `app` \
         in 2 pods, `mesh-proxy` in 2 pods"
    );
    assert_eq!(
        refused(COMPACT, "app|mesh-proxy"),
        "p.json: item 1 (pod `solo/a-1`): `--container app|mesh-proxy` matches `app`, `mesh-proxy`: choose one of them \
         by its whole name"
    );
    assert_eq!(
        pods(COMPACT, "none|mesh-proxy")
            .expect("anchored as a whole")
            .targets
            .len(),
        2
    );
    for part in ["none|proxy", "mesh|none"] {
        assert!(refused(COMPACT, part).contains("whole name matches"), "{part}");
    }
    for bad in ["mesh(", "a)|(b", ""] {
        let message = refused(COMPACT, bad);
        assert!(
            message.starts_with(&format!("--container {bad}: ")) && message.contains("give a container's name"),
            "{message}"
        );
    }
}

#[test]
fn without_a_container_the_names_are_listed() {
    let message = read("p.json", PODS.as_bytes(), None, None)
        .expect_err("no container")
        .to_string();
    assert_eq!(
        message,
        "p.json: lists pods, so say which container is the sidecar with `--container NAME` (a regular expression for \
         the whole name); seen: `app` in 13 pods, `mesh-proxy` in 12 pods"
    );
    let many: String = (10..23).map(|at| format!(r#"{{"name":"c{at}"}},"#)).collect();
    let text = format!(r#"{{"items":[{{"metadata":{{"name":"x"}},"spec":{{"containers":[{many}{{"name":"z"}}]}}}}]}}"#);
    let message = read("p.json", text.as_bytes(), None, None)
        .expect_err("no container")
        .to_string();
    assert!(message.ends_with("`c19` in 1 pod and 4 more"), "{message}");
}

#[test]
fn lists_that_cannot_be_used_name_the_pod_and_the_fix() {
    let second = r#"{"metadata":{"name":"a-1","namespace":"solo"},"spec":{"containers":[{"name":"mesh-proxy"}]}}"#;
    let with = |item: &str| COMPACT.replace("]}}]}", &format!("]}}}},{item}]}}"));
    assert!(with(second).len() > COMPACT.len(), "the fixture ends otherwise now");
    assert_eq!(
        refused(&with(second), "mesh-proxy"),
        "p.json: item 3 (pod `solo/a-1`): field `metadata.name`: duplicate id `solo/a-1` (first in item 1): give every \
         target one row"
    );
    for nameless in [
        "{}",
        r#"{"metadata":{}}"#,
        r#"{"metadata":{"name":""}}"#,
        r#"{"metadata":null}"#,
    ] {
        let message = refused(&with(nameless), "mesh-proxy");
        assert!(
            message.starts_with("p.json: item 3: metadata.name: is missing or empty"),
            "{message}"
        );
    }
    let message = refused(&with(r#"{"kind":"Service","metadata":{"name":"s"}}"#), "mesh-proxy");
    assert!(
        message.starts_with("p.json: item 3 (pod `default/s`): is a `Service`, not a pod: "),
        "{message}"
    );
    let message = refused(&with(r#"{"metadata":{"name":7}}"#), "mesh-proxy");
    assert!(
        message
            .starts_with("p.json: item 3: in line 1, after pod `solo/a-2` is not what Kubernetes prints: invalid type"),
        "{message}"
    );
    let message = refused(&COMPACT[..COMPACT.len() - 40], "mesh-proxy");
    assert!(
        message.starts_with("p.json: item 2: in line 1, after pod `solo/a-1` the JSON breaks off: print"),
        "{message}"
    );
    let message = refused(&PODS[..PODS.len() / 2], "mesh-proxy");
    assert!(message.contains("the JSON breaks off"), "{message}");
    assert!(refused(&COMPACT[..COMPACT.len() - 1], "x").starts_with("p.json:1: the JSON breaks off"));
    assert!(
        refused(&format!("{COMPACT}\n{COMPACT}"), "mesh-proxy").starts_with("p.json:2: more text follows the list")
    );
    let message = refused(r#"{"kind":"DeploymentList","items":[]}"#, "x");
    assert!(
        message.starts_with("p.json: holds a `DeploymentList`: list pods"),
        "{message}"
    );
    for empty in [
        r#"{"kind":"List","items":[]}"#,
        r#"{"kind":"PodList","items":null}"#,
        r#"{"kind":"PodList"}"#,
    ] {
        assert!(refused(empty, "x").starts_with("p.json: has no target: the list has no pods: check the context"));
    }
    let gone = r#"{"items":[{"metadata":{"name":"x","deletionTimestamp":"2026-05-01T09:00:00Z"}}]}"#;
    assert!(refused(gone, "x").starts_with("p.json: has no target: all 1 pod are terminating or finished"));
    let message = read("p.json", gone.as_bytes(), None, None)
        .expect_err("no container")
        .to_string();
    assert!(
        message.ends_with("seen: none, since no pod that lives has a container"),
        "{message}"
    );
    let nul = COMPACT.replace("a-2", "a\0");
    assert!(refused(&nul, "x").starts_with("p.json:1: contains a NUL byte"));
}

#[test]
fn fields_may_be_null_or_missing_as_other_programs_print_them() {
    let text = r#"{"kind":"PodList","items":[{"metadata":{"name":"x","labels":null,"ownerReferences":null,
        "deletionTimestamp":null,"namespace":null},"spec":{"containers":[{"name":"mesh"}],"initContainers":null},
        "status":{"phase":"Running","conditions":null,"containerStatuses":null,"initContainerStatuses":null}}]}"#;
    let fleet = pods(text, "mesh").expect("well formed");
    assert_eq!(
        (&*fleet.targets[0].id, fleet.targets[0].state),
        ("default/x", State::Pending)
    );
}

/// A list of as many pods as wanted, made while it is read.
struct Endless {
    pods: u32,
    buffer: Vec<u8>,
    at: usize,
}

impl Read for Endless {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        if self.at == self.buffer.len() {
            self.at = 0;
            self.buffer = match self.pods.checked_sub(1) {
                Some(left) => {
                    self.pods = left;
                    let padding = "padding ".repeat(2_000);
                    let end = if left == 0 { "]}" } else { "," };
                    format!(
                        r#"{{"metadata":{{"name":"p-{left}","annotations":{{"a":"{padding}"}}}},
                        "spec":{{"containers":[{{"name":"mesh"}}]}}}}{end}"#
                    )
                    .into_bytes()
                }
                None => Vec::new(),
            };
        }
        let read = (&self.buffer[self.at..]).read(to)?;
        self.at += read;
        Ok(read)
    }
}

#[test]
fn a_long_list_is_no_long_pod_and_a_long_pod_is_refused() {
    let list = |pods| {
        b"{\"items\":[".chain(Endless {
            pods,
            buffer: Vec::new(),
            at: 0,
        })
    };
    assert_eq!(
        read("p.json", list(2_000), None, Some("mesh"))
            .expect("32 MB of pods")
            .targets
            .len(),
        2_000
    );
    let start = r#"{"items":[{"metadata":{"name":"p","annotations":{"a":""#;
    let long = start.as_bytes().chain(io::repeat(b'x').take(1 << 30));
    let message = read("p.json", long, None, Some("mesh"))
        .expect_err("too long")
        .to_string();
    assert!(
        message.starts_with("p.json: item 1: one pod is longer than 8 MiB"),
        "{message}"
    );
}
