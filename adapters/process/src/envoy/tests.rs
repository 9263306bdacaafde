//! What is put down for a start, without any Envoy.
use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;

use unattended_upgrade::InstanceId;

use super::bootstrap::read_clusters;
use super::chain::read_link;
use super::record::Record;
use super::{Envoy, InstanceFiles};
use crate::program::{Place, Program as _};

fn envoy() -> Envoy {
    Envoy::new()
        .release("1", "/bin/true")
        .http("127.0.0.1:{port}", "127.0.0.1:1")
}

fn place(directory: &Path, instance: u64, port: u16) -> Place {
    Place {
        target: "t".into(),
        version: "1".into(),
        instance: InstanceId(instance),
        slot: 0,
        epoch: 0,
        directory: directory.to_owned(),
        passive: false,
        parameters: Arc::new(BTreeMap::from([("port".to_owned(), port.to_string())])),
        pid: i32::try_from(std::process::id()).ok(),
    }
}

/// Whether it waits at its gate, and is open to new traffic.
fn gate(place: &Place) -> Option<(bool, bool)> {
    read_clusters(&std::fs::read(InstanceFiles::of(place).clusters()).unwrap())
}

#[test]
fn what_is_started_while_the_way_is_closed_is_closed_from_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let (first, second) = (place(directory.path(), 1, 1), place(directory.path(), 2, 1));
    envoy().prepare(&first, None).unwrap();
    assert_eq!(gate(&first), Some((false, true)));
    let closed = Record {
        closed: true,
        ..Record::default()
    };
    closed.store(directory.path()).unwrap();
    envoy().prepare(&second, None).unwrap();
    assert_eq!(gate(&second), Some((false, false)));
    // What had ended when the second one was started is taken away.
    assert!(!InstanceFiles::of(&first).directory.exists());
}

#[test]
fn one_that_follows_has_its_parents_base_and_the_next_epoch_and_waits() {
    let directory = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let parent = place(directory.path(), 1, port);
    let child = Place {
        passive: true,
        ..place(directory.path(), 2, port)
    };
    envoy().prepare(&parent, None).unwrap();
    let link = read_link(&InstanceFiles::of(&parent).link()).unwrap();
    let memory = Path::new("/dev/shm").join(format!("envoy_shared_memory_{}", link.base_id * 10));
    std::fs::write(&memory, [0; 104]).unwrap();
    let prepared = envoy().prepare(&child, Some(&parent));
    std::fs::remove_file(&memory).unwrap();
    prepared.unwrap();
    assert_eq!(gate(&child), Some((true, true)));
    assert!(envoy().waits(&child, None) && !envoy().waits(&parent, None));
    assert_eq!(read_link(&InstanceFiles::of(&child).link()).unwrap(), link.next());
    let filled = envoy().command(&child).unwrap();
    let after = |name: &str| {
        let at = filled.arguments.iter().position(|argument| argument == name);
        filled.arguments[at.unwrap() + 1].clone()
    };
    assert_eq!(
        (after("--restart-epoch"), after("--base-id")),
        ("1".to_owned(), link.base_id.to_string())
    );

    // One whose listeners have gone has nothing to pass on.
    drop(listener);
    let told = envoy().prepare(&child, Some(&parent)).unwrap_err();
    assert_eq!(told, "1 has no listeners to pass on");
}

#[test]
fn a_template_that_cannot_work_names_field_and_fix() {
    let directory = tempfile::tempdir().unwrap();
    let here = place(directory.path(), 1, 80);
    let told = |envoy: Envoy, place: &Place| {
        let checked = envoy.check(place).and_then(|()| envoy.command(place).map(drop));
        checked.unwrap_err().to_string()
    };
    let deep = place(&Path::new("/").join("d".repeat(90)), 1, 80);
    for (envoy, place, says) in [
        (
            Envoy::new().release("1", "/bin/true"),
            &here,
            "`http`: there is no listener; give one with `http` or `tcp`",
        ),
        (
            envoy().concurrency(0),
            &here,
            "`concurrency`: there is no worker; give 1 or more",
        ),
        (
            envoy().tcp("here", "127.0.0.1:1"),
            &here,
            "`tcp`: `here` is no address and port",
        ),
        (
            envoy().http("127.0.0.1:{prot}", "127.0.0.1:1"),
            &here,
            "unknown placeholder `{prot}`",
        ),
        (
            envoy().http("127.0.0.1:2", "x"),
            &here,
            "`http.upstream`: `x` is no address and port",
        ),
        (envoy(), &deep, "give a directory with a shorter path"),
        (
            Envoy::new().release("2", "/bin/true").tcp("127.0.0.1:1", "127.0.0.1:2"),
            &here,
            "version 1 has no binary, only 2",
        ),
        (
            Envoy::new().release("1", "/no/envoy").tcp("127.0.0.1:1", "127.0.0.1:2"),
            &here,
            "`/no/envoy` is not there",
        ),
    ] {
        let told = told(envoy, place);
        assert!(told.contains(says), "{told}");
    }
}
