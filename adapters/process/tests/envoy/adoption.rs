//! Envoys outlive whoever started them, though each asks the kernel to end it with its parent.
use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use unattended_examples_support::{ENVOY_NEW, ENVOY_OLD};
use unattended_upgrade::Mode;

use crate::load::{Load, http_upstream};
use crate::pilot::{Pilot, directory, envoy, open, target};
use crate::support::{Ends, living, runs, until, until_so};

/// With an adapter's runtime of its own. When this returns, every thread that could have started something has ended: for
/// the kernel, the parent is the thread.
fn adapter<F: Future>(work: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let done = runtime.block_on(work);
    runtime.shutdown_timeout(Duration::from_secs(60));
    done
}

/// How the instances of a target were started, as the adapter has written it down.
fn links(place: &Path) -> Vec<serde_json::Value> {
    let instances = std::fs::read_dir(directory(place, "kept").join("envoy")).unwrap();
    instances
        .map(|entry| serde_json::from_slice(&std::fs::read(entry.unwrap().path().join("link.json")).unwrap()).unwrap())
        .collect()
}

/// The memory that its chain shares.
fn memory(link: &serde_json::Value) -> PathBuf {
    Path::new("/dev/shm").join(format!("envoy_shared_memory_{}0", link["base_id"]))
}

#[test]
fn the_next_adapter_finds_the_same_envoys_and_no_request_has_failed() {
    let place = tempfile::tempdir().unwrap();
    let _ends = Ends(place.path().to_owned());
    let root = place.path();
    let (target, port) = target("kept", &envoy(http_upstream()));
    let load = adapter(async {
        let platform = open(root, [target.clone()]).await;
        until(&platform, "kept", "ready", runs(ENVOY_OLD)).await;
        Load::start(&[port])
    });
    let (before, link) = (living(root), links(root));
    assert_eq!((before.len(), link.len()), (1, 1));
    adapter(async {
        let had = load.so_far().requests;
        until_so("forty more requests", || load.so_far().requests >= had + 40).await;
        let platform = open(root, [target.clone()]).await;
        until(&platform, "kept", "adopted", runs(ENVOY_OLD)).await;
        assert_eq!(
            (living(root), links(root)),
            (before, link),
            "the same processes, of the same epoch"
        );
        // What is adopted takes part in a hot restart like what is one's own; and so does its child.
        let receipt = Pilot::new(&platform)
            .change("kept", ENVOY_OLD, ENVOY_NEW, Mode::Hot)
            .await;
        assert_eq!(receipt.went_back, None, "{receipt:?}");
    });
    let (before, link) = (living(root), links(root));
    assert_eq!((before.len(), link.len(), &link[0]["epoch"]), (1, 1, &1.into()));
    adapter(async {
        let had = load.so_far().requests;
        until_so("forty more requests", || load.so_far().requests >= had + 40).await;
        let platform = open(root, [target]).await;
        until(&platform, "kept", "adopted", runs(ENVOY_NEW)).await;
        assert_eq!(living(root), before);
        let seen = load.end();
        assert_eq!(seen.failed, Vec::<String>::new(), "of {} requests", seen.requests);
        assert!(memory(&link[0]).exists());
        assert!(platform.halt().await.unwrap());
        assert!(!memory(&link[0]).exists(), "nothing of a halted one is left");
    });
}
