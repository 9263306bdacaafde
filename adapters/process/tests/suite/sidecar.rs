//! The sidecar of the examples: replaced, handed over and rolled back by the driver, through a journal.
use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use parking_lot::Mutex;
use unattended_process::{MonotonicClock, ProcessPlatform, Sidecar, Start, Target, Template};
use unattended_upgrade::{
    Driver, DriverConfig, EffectOutcome, HandoverOrder, Ingress, Job, MemoryJournal, Mode, Phase, Platform, Receipt,
    TargetId, Terminal, Timing, Version,
};

use crate::programs::PROGRAM;
use crate::support::{key, look, run, runs, until};

/// What each version does wrong.
const FAULTS: [(&str, &str); 5] = [
    ("crash", "crash"),
    ("unready", "unready"),
    ("unchecked", "self-check"),
    ("dies", "dies-mid-handover"),
    ("slow", "slow=3"),
];

/// Files that a fleet needs: configurations, of which one is bad.
pub(crate) fn lay_out(root: &Path) {
    let configs = root.join("configs");
    std::fs::create_dir_all(&configs).unwrap();
    for (name, text) in [("c1", "{}"), ("c2", "{}"), ("bad", "{\"valid\": false}")] {
        std::fs::write(configs.join(format!("{name}.json")), text).unwrap();
    }
}

/// A port of its own for each name.
fn port(of: &str) -> u16 {
    static PORTS: LazyLock<Mutex<BTreeMap<String, u16>>> = LazyLock::new(Mutex::default);
    let mut ports = PORTS.lock();
    if let Some(port) = ports.get(of) {
        return *port;
    }
    // What was let go may be given again.
    let mut free = std::iter::repeat_with(|| TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port());
    let port = free.find(|port| !ports.values().any(|taken| taken == port)).unwrap();
    ports.insert(of.to_owned(), port);
    port
}

/// Where a target answers HTTP.
pub(crate) fn http(root: &Path, name: &str) -> u16 {
    port(&format!("{}/{name}/http", root.display()))
}

pub(crate) fn template(root: &Path) -> Template {
    let me = std::env::current_exe().unwrap();
    // What the protocol appends becomes the setup of this test as a program.
    let script = format!(
        "{PROGRAM}=\"sidecar $*\" exec {} --exact programs::process --nocapture --quiet",
        me.display()
    );
    let mut sidecar = Sidecar::new(Start::new("/bin/sh").arguments(["-c", script.as_str(), "sh"]))
        .http("127.0.0.1:{http}=127.0.0.1:9")
        .tcp("127.0.0.1:{tcp}=127.0.0.1:9")
        .configs(root.join("configs"));
    for (version, fault) in FAULTS {
        sidecar = sidecar.version(version.into(), ["--fault", fault]);
    }
    Template::sidecar(sidecar).grace_ms(8_000)
}

pub(crate) fn target(root: &Path, name: &str, version: &str) -> Target {
    let place = format!("{}/{name}", root.display());
    Target::new(name, version, template(root))
        .app("pay")
        .parameter("http", port(&format!("{place}/http")))
        .parameter("tcp", port(&format!("{place}/tcp")))
}

fn timing() -> Timing {
    let mut timing = Timing::default();
    timing.cold_probation_ms = 30;
    timing.warm_probation_ms = 30;
    timing.backoff_ms = 50;
    timing.prove_accepts = 0;
    timing.prove_ms = 2_000;
    timing.verify_ms = 6_000;
    timing.offer_ms = 4_000;
    timing.recreate_ms = 6_000;
    timing
}

type Rig = Driver<ProcessPlatform, MemoryJournal, MonotonicClock>;

fn driver(platform: &Arc<ProcessPlatform>, timing: Timing) -> Rig {
    let config = DriverConfig::new().poll_ms(20).timing(timing);
    let (journal, clock) = (Arc::new(MemoryJournal::new()), Arc::new(MonotonicClock));
    Driver::new(Arc::clone(platform), journal, clock, config).unwrap()
}

async fn upgrade(driver: &mut Rig, names: &[&str], from: &str, to: &str, mode: Mode) -> Vec<Receipt> {
    for name in names {
        driver.submit(Job::new(*name, from, to, mode)).unwrap();
    }
    let mut receipts = Vec::new();
    while driver.outstanding() > 0 {
        let turn = driver.turn(&mut |_key| true).await.unwrap();
        receipts.extend(turn.finished);
        driver.attend(None).await;
    }
    receipts
}

#[test]
fn it_is_upgraded_cold_warm_and_hot() {
    run(async |root| {
        lay_out(&root);
        let names = ["a", "b"];
        let fleet = names.map(|name| target(&root, name, "1"));
        let platform = Arc::new(ProcessPlatform::open(&root, fleet).await.unwrap());
        for name in names {
            until(&platform, name, "running 1", runs("1")).await;
        }
        let mut driver = driver(&platform, timing());
        for (from, to, mode) in [
            ("1", "2", Mode::Cold),
            ("2", "3", Mode::Warm),
            ("3", "4", Mode::Hot),
            ("4", "5", Mode::Hot),
        ] {
            let receipts = upgrade(&mut driver, &names, from, to, mode).await;
            for receipt in &receipts {
                assert_eq!(receipt.terminal, Terminal::Done, "{mode}: {receipt:?}");
            }
            assert_eq!(receipts.len(), names.len());
            for name in names {
                let seen = look(&platform, name).await;
                assert!(runs(to)(&seen) && seen.ingress == Ingress::Open, "{seen:?}");
                let pair = seen.pair.unwrap();
                assert!(
                    pair.slots.iter().any(unattended_upgrade::SlotSeen::is_empty),
                    "{pair:?}"
                );
            }
        }
        assert!(platform.halt().await.unwrap());
        let sockets = std::fs::read_dir(root.join("t/a")).unwrap().flatten();
        let left: Vec<_> = sockets
            .filter(|entry| entry.path().extension().is_some_and(|end| end == "sock"))
            .collect();
        assert!(left.is_empty(), "{left:?}");
    });
}

#[test]
fn broken_versions_are_rolled_back_and_the_old_one_serves() {
    run(async |root| {
        lay_out(&root);
        let fleet = ["a", "b"].map(|name| target(&root, name, "1"));
        let platform = Arc::new(ProcessPlatform::open(&root, fleet).await.unwrap());
        let mut hasty = timing();
        // Only the one that never gets ready is waited for so long.
        hasty.offer_ms = 500;
        let mut drivers = [driver(&platform, timing()), driver(&platform, hasty)];
        for name in ["a", "b"] {
            until(&platform, name, "running 1", runs("1")).await;
        }
        for (mode, version) in [
            (Mode::Hot, "unready"),
            (Mode::Hot, "crash"),
            (Mode::Hot, "unchecked"),
            (Mode::Cold, "crash"),
            (Mode::Cold, "unchecked"),
            (Mode::Warm, "crash"),
            (Mode::Warm, "unchecked"),
        ] {
            let [driver, hasty] = &mut drivers;
            let (name, driver) = if version == "unready" {
                ("b", hasty)
            } else {
                ("a", driver)
            };
            let before = look(&platform, name).await.instance;
            let receipts = upgrade(driver, &[name], "1", version, mode).await;
            let ended = &receipts[0].terminal;
            assert!(
                matches!(ended, Terminal::RolledBack { .. }),
                "{mode} {version}: {receipts:?}"
            );
            let seen = look(&platform, name).await;
            assert!(
                runs("1")(&seen) && seen.ingress == Ingress::Open,
                "{mode} {version}: {seen:?}"
            );
            if mode == Mode::Hot {
                assert_eq!(seen.instance, before, "the old one never left");
            }
            assert_eq!(seen.phase, Phase::Running);
        }
    });
}

/// A new process that has died and is started again can be asked in a moment: that is no refusal of the release. One that
/// nobody ordered is.
#[test]
fn an_offer_to_one_that_has_died_is_put_off() {
    run(async |root| {
        lay_out(&root);
        let platform = ProcessPlatform::open(&root, [target(&root, "a", "1")]).await.unwrap();
        until(&platform, "a", "running 1", runs("1")).await;
        let (a, old) = (TargetId::from("a"), Version::from("1"));
        let spawned = platform.spawn(&a, &"crash".into(), &key(1, 1)).await;
        assert_eq!(spawned, EffectOutcome::Applied);
        until(&platform, "a", "dead beside the old one", |seen| {
            let slots = seen.pair.as_ref().map(|pair| &pair.slots);
            slots.is_some_and(|slots| slots.iter().any(|slot| slot.phase == Phase::Crashing))
        })
        .await;
        let offer = HandoverOrder::Offer;
        let put_off = platform.hand_over(&a, offer, &old, &"crash".into(), &key(1, 2)).await;
        assert!(matches!(put_off, EffectOutcome::Retry { .. }), "{put_off:?}");
        let refused = platform
            .hand_over(&a, offer, &old, &"unordered".into(), &key(1, 3))
            .await;
        let EffectOutcome::Failed { reason } = refused else {
            panic!("{refused:?}")
        };
        assert!(reason.contains("no instance of unordered"), "{reason}");
    });
}
