//! Commands from another process, which is a real one, to a change in a simulated world.
#![expect(clippy::unwrap_used, reason = "a failure is a failed test")]

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Command, Output};
use std::sync::Arc;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::runtime::Runtime;
use unattended::batching::Fleet;
use unattended::defense::Guard;
use unattended::upgrade::MemoryJournal;
use unattended::{Actor, Autopilot, Change, Handle, Level, Notice, Notifier, Outcome, RunError, Summary};
use unattended_control::{Door, DoorError};
use unattended_simulated::{InitialState, ReleaseSpec, SimConfig, SimTarget, Simulated, World};

struct Nobody;

#[async_trait::async_trait]
impl Notifier for Nobody {
    async fn notify(&self, _: &Notice) {}
}

type Run = Pin<Box<dyn Future<Output = Result<Outcome, RunError>> + Send>>;

/// A change over a small fleet that has been started and not been driven.
fn change() -> (Arc<Simulated>, Handle, Run) {
    let targets: Vec<SimTarget> = (0..40)
        .map(|i| SimTarget {
            id: format!("app-{}-{}", i / 10, i % 10),
            app: format!("app-{}", i / 10),
            labels: vec![("zone".to_owned(), format!("zone-{}", i % 2))],
            state: InitialState::Healthy,
        })
        .collect();
    let mut fleet = Fleet::builder();
    for target in &targets {
        let labels = target.labels.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        fleet.push(&target.id, &target.app, labels, true).unwrap();
    }
    let sim = Simulated::new(SimConfig {
        world: World {
            requests_per_s_median: 50.0,
            ..World::calm()
        },
        targets,
        old: "mesh-1".into(),
        new: "mesh-2".into(),
        release: ReleaseSpec::parse("good").unwrap(),
        ..SimConfig::default()
    })
    .unwrap();
    let author = Actor::person("li", "MESH-192");
    let change = Change::new(
        "mesh-2",
        author,
        "mesh-1".into(),
        "mesh-2".into(),
        Arc::new(fleet.build().unwrap()),
    );
    let pilot = Autopilot::builder()
        .platform(Arc::clone(&sim))
        .metrics(Arc::clone(&sim))
        .journal(MemoryJournal::new())
        .clock(sim.clock())
        .rules(Guard::empty())
        .notifier(Nobody)
        .level(Level::L4)
        .build()
        .unwrap();
    let (handle, run) = pilot.start(change).unwrap();
    (sim, handle, Box::pin(run))
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
}

/// A door that is served beside the test.
struct Served {
    _folder: TempDir,
    path: PathBuf,
    runtime: Runtime,
}

fn served(handle: Handle) -> Served {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control");
    let runtime = runtime();
    let door = {
        let _inside = runtime.enter();
        Door::open(&path).unwrap()
    };
    runtime.spawn(door.serve(handle));
    Served {
        _folder: folder,
        path,
        runtime,
    }
}

fn tell(path: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_unattended-tell"))
        .arg(path)
        .args(arguments)
        .output()
        .unwrap()
}

#[test]
fn a_freeze_from_another_process_is_in_the_journal_with_who_gave_it() {
    let (sim, handle, run) = change();
    let served = served(handle.clone());
    let said = ["--by", "wang", "--via", "INC-42", "--reason", "looks odd"];
    for command in [&["freeze"][..], &["skip", "app-3"], &["pin", "app-2-9"]] {
        let told = tell(&served.path, &[&said, command].concat());
        assert!(told.status.success(), "{told:?}");
    }
    let outcome = sim.executor().run(run).unwrap().unwrap();
    assert_eq!(outcome, Outcome::Frozen);
    assert_eq!(sim.census().on_new_verified, 0);
    let summary = handle.summary().unwrap();
    let decisions: Vec<&str> = summary
        .decisions
        .iter()
        .map(|decision| decision.text.as_str())
        .collect();
    let own = format!("wang (INC-42; uid {} pid ", rustix::process::geteuid().as_raw());
    let frozen = decisions
        .iter()
        .find(|text| text.ends_with("says freeze: looks odd"))
        .unwrap();
    assert!(frozen.starts_with(&own), "{decisions:?}");
    assert_eq!(summary.debts.len(), 11, "{decisions:?}");
    // It has ended: that is refused, and can still be asked about.
    let late = tell(&served.path, &[&said[..], &["resume"]].concat());
    assert_eq!(late.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&late.stderr).contains("the change has ended"),
        "{late:?}"
    );
    let shown = tell(&served.path, &["summary"]);
    let shown: Summary = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!((shown.state.as_str(), shown.change.as_str()), ("frozen", "mesh-2"));
    assert_eq!(tell(&served.path, &["notices"]).status.code(), Some(0));
}

#[test]
fn what_is_not_understood_is_refused_with_what_is_wrong() {
    let (_, handle, _run) = change();
    let served = served(handle);
    let send = |bytes: &[u8]| {
        served.runtime.block_on(async {
            let mut stream = UnixStream::connect(&served.path).await.unwrap();
            // Whoever has heard enough hangs up.
            let _ = stream.write_all(bytes).await;
            let _ = stream.shutdown().await;
            let mut answer = String::new();
            let _ = stream.read_to_string(&mut answer).await;
            answer
        })
    };
    assert!(send(b"freeze\n").contains("not understood"));
    let typo = br#"{"order": {"command": "freeze", "actor": {"id": "a", "kind": "person", "via": ""}, "reson": ""}}"#;
    assert!(send(typo).contains("reson"), "{}", send(typo));
    assert!(send(&[b'x'; 70_000]).contains("at most 65536 bytes"));
    // Two questions after one another.
    assert_eq!(
        send(b"\"notices\"\n\"summary\"\n"),
        "{\"notices\":[]}\n{\"summary\":null}\n"
    );
    let nobody = tell(Path::new("/no/such/socket"), &["summary"]);
    assert_eq!(nobody.status.code(), Some(2));
    assert!(
        String::from_utf8_lossy(&nobody.stderr).contains("nobody listens there"),
        "{nobody:?}"
    );
    let anonymous = tell(&served.path, &["freeze"]);
    assert_eq!(anonymous.status.code(), Some(2));
    assert!(
        String::from_utf8_lossy(&anonymous.stderr).contains("--by NAME"),
        "{anonymous:?}"
    );
}

#[test]
fn a_socket_of_the_dead_is_replaced_and_one_of_the_living_is_not() {
    let runtime = runtime();
    let _inside = runtime.enter();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let door = Door::open(&path).unwrap();
    assert!(matches!(Door::open(&path), Err(DoorError::Taken { .. })));
    drop(door);
    assert!(!path.exists());
    std::fs::write(&path, "a file").unwrap();
    assert!(matches!(Door::open(&path), Err(DoorError::NoSocket { .. })));
    assert!(matches!(
        Door::open(folder.path().join("no/such")),
        Err(DoorError::Io { .. })
    ));
}
