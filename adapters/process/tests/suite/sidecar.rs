//! The sidecar of the examples: replaced, handed over and rolled back by the driver, through a journal.
use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use parking_lot::Mutex;
use rustix::process::Signal;
use unattended_process::{MonotonicClock, ProcessPlatform, Sidecar, Start, Target, Template, running};
use unattended_upgrade::{
    Driver, DriverConfig, EffectOutcome, HandoverOrder, Ingress, IngressOrder, InstanceId, Job, MemoryJournal, Mode,
    Observation, Phase, Platform, Receipt, SelfCheck, SlotSeen, TargetId, Terminal, Timing, Version,
};

use crate::programs::PROGRAM;
use crate::support::{key, look, run, runs, start_time, until, until_so};

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

/// How a sidecar is started.
fn start() -> Start {
    let me = std::env::current_exe().unwrap();
    // What the protocol appends becomes the setup of this test as a program.
    let script = format!(
        "{PROGRAM}=\"sidecar $*\" exec {} --exact programs::process --nocapture --quiet",
        me.display()
    );
    Start::new("/bin/sh").arguments(["-c", script.as_str(), "sh"])
}

fn template(root: &Path, more: impl FnOnce(Sidecar) -> Sidecar) -> Template {
    let mut sidecar = Sidecar::new(start())
        .http("127.0.0.1:{http}=127.0.0.1:9")
        .tcp("127.0.0.1:{tcp}=127.0.0.1:9")
        .configs(root.join("configs"));
    for (version, fault) in FAULTS {
        sidecar = sidecar.version(version.into(), ["--fault", fault]);
    }
    Template::sidecar(more(sidecar)).grace_ms(8_000)
}

pub(crate) fn target(root: &Path, name: &str, version: &str) -> Target {
    target_of(root, name, version, |sidecar| sidecar)
}

/// As [`target`], for another process: without one for TCP, and with HTTP at a port that was found.
pub(crate) fn target_at(name: &str, version: &str, port: u16) -> Target {
    let sidecar = Sidecar::new(start()).http("127.0.0.1:{http}=127.0.0.1:9");
    Target::new(name, version, Template::sidecar(sidecar).grace_ms(8_000)).parameter("http", port)
}

/// As [`target`] of version 1, where balancers take a moment to hear of a closed way.
pub(crate) fn target_heard_late(root: &Path, name: &str) -> Target {
    of_template(root, name, "1", template(root, |sidecar| sidecar).balancers_ms(100))
}

/// A target whose sidecar is this, and more.
fn target_of(root: &Path, name: &str, version: &str, more: impl FnOnce(Sidecar) -> Sidecar) -> Target {
    of_template(root, name, version, template(root, more))
}

fn of_template(root: &Path, name: &str, version: &str, template: Template) -> Target {
    let place = format!("{}/{name}", root.display());
    Target::new(name, version, template)
        .app("pay")
        .parameter("http", port(&format!("{place}/http")))
        .parameter("tcp", port(&format!("{place}/tcp")))
}

pub(crate) fn timing() -> Timing {
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

type Rig = Driver;

pub(crate) fn driver(platform: &Arc<ProcessPlatform>, timing: Timing) -> Rig {
    driver_after(1, platform, timing)
}

/// With a journal of its own, after others whose generations the targets remember.
fn driver_after(generation: u64, platform: &Arc<ProcessPlatform>, timing: Timing) -> Rig {
    let config = DriverConfig::new()
        .poll_ms(20)
        .timing(timing)
        .first_generation(generation);
    let (journal, clock) = (Arc::new(MemoryJournal::new()), Arc::new(MonotonicClock));
    Driver::new(platform.clone(), journal, clock, config).unwrap()
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
                assert!(pair.slots.iter().any(SlotSeen::is_empty), "{pair:?}");
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

/// Nothing is replaced before: who has not heard would meet nobody.
#[test]
fn a_closed_way_is_told_when_balancers_have_had_the_time_to_hear() {
    run(async |root| {
        lay_out(&root);
        let never = template(&root, |sidecar| sidecar).balancers_ms(86_400_000);
        let fleet = [of_template(&root, "a", "1", never), target_heard_late(&root, "b")];
        let platform = Arc::new(ProcessPlatform::open(&root, fleet).await.unwrap());
        for name in ["a", "b"] {
            until(&platform, name, "running 1", runs("1")).await;
        }
        let names = [TargetId::from("a"), TargetId::from("b")];
        let told = async || {
            let barriers = platform.ingress_barrier(&names).await.unwrap();
            barriers.iter().map(|barrier| barrier.told).collect::<Vec<_>>()
        };
        assert_eq!(told().await, [false, false]);
        for ordinal in [1, 3] {
            let close = IngressOrder::Close {
                reopen_by_ms: u64::MAX / 2,
            };
            for name in &names {
                let outcome = platform.ingress(name, close, &key(1, ordinal)).await;
                assert_eq!(outcome, EffectOutcome::Applied);
            }
            // The time counts from when it is first seen.
            assert_eq!(told().await, [false, false]);
            while told().await != [false, true] {
                crate::support::pause().await;
            }
            for name in &names {
                let outcome = platform.ingress(name, IngressOrder::Open, &key(1, ordinal + 1)).await;
                assert_eq!(outcome, EffectOutcome::Applied);
                until(&platform, name.as_str(), "open", |seen| seen.ingress == Ingress::Open).await;
            }
        }
    });
}

/// The adapter knows what it has ordered; what balancers hear is what the process says.
#[test]
fn nobody_is_told_what_a_silent_process_has_not_said() {
    run(async |root| {
        lay_out(&root);
        let hasty = template(&root, |sidecar| sidecar.ask_ms(100)).balancers_ms(1);
        let fleet = [of_template(&root, "a", "1", hasty)];
        let platform = Arc::new(ProcessPlatform::open(&root, fleet).await.unwrap());
        until(&platform, "a", "running 1", runs("1")).await;
        let names = [TargetId::from("a")];
        let told = async || platform.ingress_barrier(&names).await.unwrap()[0].told;
        let signal = |signal| {
            let processes = running(&root, &names[0]).unwrap();
            let sidecar = processes.iter().find(|process| process.admin.is_some()).unwrap();
            assert!(sidecar.signal(signal).unwrap());
        };
        signal(Signal::STOP);
        let close = IngressOrder::Close {
            reopen_by_ms: u64::MAX / 2,
        };
        platform.ingress(&names[0], close, &key(1, 1)).await;
        for _ in 0..5 {
            assert!(!told().await);
            crate::support::pause().await;
        }
        signal(Signal::CONT);
        until(&platform, "a", "closed", |seen| seen.ingress == Ingress::Closed).await;
        while !told().await {
            crate::support::pause().await;
        }
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

/// An application that says back what it hears; where it is.
fn echo() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || std::io::copy(&mut stream.try_clone().unwrap(), &mut stream));
        }
    });
    address
}

/// A client that is in the middle of a call.
fn begin_call(port: u16) -> TcpStream {
    let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    client.write_all(&8_u32.to_be_bytes()).unwrap();
    client.write_all(b"half").unwrap();
    let mut answer = [0; 8];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"\0\0\0\x08half");
    client
}

/// Ends the call that was begun, or makes another one.
fn say(client: &mut TcpStream, bytes: &[u8]) {
    client.write_all(bytes).unwrap();
    let mut answer = vec![0; bytes.len()];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(answer, bytes);
}

/// A call that takes its time stays with the first, whose slot the third gets all the same; when it is over its connection
/// follows, also where the adapter fell meanwhile.
#[test]
fn what_an_instance_leaves_behind_outlives_two_upgrades() {
    run(async |root| {
        lay_out(&root);
        let (port, app) = (port(&format!("{}/framed", root.display())), echo());
        let fleet = || {
            let framed = format!("127.0.0.1:{port}={app}");
            [target_of(&root, "a", "1", |sidecar| {
                sidecar.framed(framed).leftover_ms(600_000)
            })]
        };
        let platform = Arc::new(ProcessPlatform::open(&root, fleet()).await.unwrap());
        until(&platform, "a", "running 1", runs("1")).await;
        let first = look(&platform, "a").await.instance.unwrap();
        let mut client = begin_call(port);
        let mut timing = timing();
        timing.migrate_ms = 400;
        let mut rig = driver(&platform, timing.clone());
        let receipts = upgrade(&mut rig, &["a"], "1", "2", Mode::Hot).await;
        assert_eq!(receipts[0].terminal, Terminal::Done, "{receipts:?}");
        assert_eq!(receipts[0].moves.cut, 0, "{receipts:?}");
        drop(rig);
        Arc::into_inner(platform).unwrap().close().await;

        let platform = Arc::new(ProcessPlatform::open(&root, fleet()).await.unwrap());
        let mut rig = driver_after(100, &platform, timing);
        let receipts = upgrade(&mut rig, &["a"], "2", "3", Mode::Hot).await;
        assert_eq!(receipts[0].terminal, Terminal::Done, "{receipts:?}");
        let alive = || -> Vec<InstanceId> {
            let all = running(&root, &"a".into()).unwrap();
            all.into_iter().map(|one| one.instance).collect()
        };
        assert_eq!(alive().len(), 2, "{:?}", alive());
        assert_eq!(alive().last(), Some(&first), "the first has no slot, and is there");
        say(&mut client, b"done");
        until_so("the end of the first", || alive().len() == 1).await;
        say(&mut client, b"\0\0\0\x03end");
        assert!(platform.halt().await.unwrap());
    });
}

/// The old one dies when the new one has the listeners and was not let in. Nobody else can serve who waits in their queues: a
/// new one that is fit to serves them, and nothing is started against it; one that is not goes, and the old version comes
/// again.
#[test]
fn when_the_old_one_dies_early_somebody_serves() {
    run(async |root| {
        lay_out(&root);
        let fleet = ["a", "b"].map(|name| target(&root, name, "1"));
        let platform = ProcessPlatform::open(&root, fleet).await.unwrap();
        let old = Version::from("1");
        for (name, new) in [("a", "2"), ("b", "unready")] {
            let (id, new) = (TargetId::from(name), Version::from(new));
            let of = |seen: &Observation, version: &Version| {
                let slots = seen.pair.as_ref().unwrap().slots.iter();
                slots
                    .clone()
                    .find(|slot| slot.version.as_ref() == Some(version))
                    .cloned()
            };
            until(&platform, name, "running 1", runs("1")).await;
            assert_eq!(platform.spawn(&id, &new, &key(1, 1)).await, EffectOutcome::Applied);
            let asked = async |order, ordinal| platform.hand_over(&id, order, &old, &new, &key(1, ordinal)).await;
            until(&platform, name, "beside each other", |seen| {
                of(seen, &new).is_some_and(|slot| slot.self_check == SelfCheck::Passed)
            })
            .await;
            assert_eq!(asked(HandoverOrder::Offer, 2).await, EffectOutcome::Applied);
            until(&platform, name, "about to be let in", |seen| {
                of(seen, &new).is_some_and(|slot| slot.listeners && !slot.accepting)
            })
            .await;
            let all = running(&root, &id).unwrap();
            let victim = all.iter().find(|one| one.version == old).unwrap();
            assert!(victim.signal(Signal::KILL).unwrap());
            until_so("its end", || start_time(victim.pid).is_none()).await;
            if new.as_str() == "unready" {
                until(&platform, name, "as before", |seen| {
                    let serves = of(seen, &old).is_some_and(|slot| slot.accepting);
                    serves && of(seen, &old).unwrap().instance != Some(victim.instance)
                })
                .await;
                continue;
            }
            // Into the queue that only the new one has.
            let mut client = TcpStream::connect(("127.0.0.1", http(&root, name))).unwrap();
            let seen = until(&platform, name, "served", |seen| {
                of(seen, &new).is_some_and(|slot| slot.accepting)
            })
            .await;
            assert_eq!(of(&seen, &old).and_then(|slot| slot.instance), None, "{seen:?}");
            client
                .write_all(b"GET /identity HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
                .unwrap();
            let answer = tokio::task::spawn_blocking(move || {
                let mut answer = String::new();
                client.read_to_string(&mut answer).map(|_| answer)
            });
            let answer = answer.await.unwrap().unwrap();
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            assert_eq!(asked(HandoverOrder::Commit, 3).await, EffectOutcome::Applied);
            assert_eq!(platform.reset(&id, &old, &key(1, 4)).await, EffectOutcome::Applied);
            until(&platform, name, "running 2", runs("2")).await;
        }
    });
}
