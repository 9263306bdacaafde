//! What Envoy refuses, what cannot follow, and what is killed.
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use unattended_examples_support::{ENVOY_NEW, ENVOY_OLD};
use unattended_upgrade::{
    InstanceId, MemoryJournal, Mode, Observation, Platform as _, Reason, Refusal, Step, Terminal, Version, Wanted,
    choose_mode,
};

use crate::load::{Load, get, http_upstream};
use crate::pilot::{Pilot, binaries, directory, envoy, open, target};
use crate::support::{key, look, run, runs, until};

/// The refusal is Envoy's own word on the field, and nothing has happened: the same process serves.
#[test]
fn a_configuration_that_envoy_refuses_touches_nothing() {
    run(|place| async move {
        let wrong = serde_json::json!({"static_resources": {"clusters": [{"name": "x", "type": "NO_SUCH_TYPE"}]}});
        let envoy = envoy(http_upstream())
            .release("broken", binaries().new.display().to_string())
            .patch("broken", wrong);
        let (target, port) = target("refused", &envoy);
        let platform = open(&place, [target]).await;
        let before = until(&platform, "refused", "ready", runs(ENVOY_OLD)).await;
        let load = Load::start(&[port]);
        let mut pilot = Pilot::new(&platform);
        for mode in [Mode::Warm, Mode::Hot] {
            let receipt = pilot.change("refused", ENVOY_OLD, "broken", mode).await;
            let words = format!("{:?}", receipt.terminal);
            assert!(
                matches!(
                    receipt.terminal,
                    Terminal::RolledBack { .. } | Terminal::Rejected { .. }
                ),
                "{mode}: {words}"
            );
            assert!(words.contains("NO_SUCH_TYPE"), "{mode}: {words}");
        }
        let after = look(&platform, "refused").await;
        assert_eq!((after.instance, &after.version), (before.instance, &before.version));
        assert_eq!(after.ingress, unattended_upgrade::Ingress::Open);
        assert_eq!(load.end().failed, Vec::<String>::new());
        assert_eq!(get(port, "/healthz").unwrap().status, 200);
        assert!(platform.halt().await.unwrap());
    });
}

/// One that speaks another version of hot restarts would abort; it is asked before anything is started.
#[test]
fn another_version_of_hot_restarts_is_refused_before_anything_happens() {
    run(|place| async move {
        let other = place.join("other");
        std::fs::create_dir_all(&place).unwrap();
        let script = format!(
            "#!/bin/sh\nif [ \"$1\" = --hot-restart-version ]; then echo 12.104 >&2; exit; fi\nexec {} \"$@\"\n",
            binaries().new.display()
        );
        std::fs::write(&other, script).unwrap();
        std::fs::set_permissions(&other, std::fs::Permissions::from_mode(0o700)).unwrap();
        let envoy = envoy(http_upstream()).release("other", other.display().to_string());
        let (target, _) = target("other", &envoy);
        let platform = open(&place.join("p"), [target]).await;
        let before = until(&platform, "other", "ready", runs(ENVOY_OLD)).await;

        let able = platform.capabilities();
        let facts = envoy.facts(able, &ENVOY_OLD.into(), &"other".into()).await;
        let choice = choose_mode(&facts, Wanted::Auto).unwrap();
        assert_eq!(choice.mode, Mode::Warm);
        let spoken = ((11_104, 11_104), (12_104, 12_104));
        assert_eq!(
            choice.refused,
            [(
                Mode::Hot,
                Refusal::NoCommonProtocol {
                    old: spoken.0,
                    new: spoken.1
                }
            )]
        );
        let facts = envoy.facts(able, &ENVOY_OLD.into(), &ENVOY_NEW.into()).await;
        assert_eq!(choose_mode(&facts, Wanted::Auto).unwrap().mode, Mode::Hot);

        // Whoever asks for hot all the same is refused by the platform.
        let receipt = Pilot::new(&platform)
            .change("other", ENVOY_OLD, "other", Mode::Hot)
            .await;
        let words = "no hot restart: 1.39.3 speaks its version 11.104 and other speaks 12.104; change it warm or cold";
        let reason = Reason::Refused {
            step: Step::Spawning,
            reason: words.into(),
        };
        assert_eq!(receipt.terminal, Terminal::Rejected { reason });
        assert_eq!(look(&platform, "other").await.instance, before.instance);
        assert!(platform.halt().await.unwrap());
    });
}

/// Kills the process in the slot that has a version, as the target's file names it, and says which instance it was.
fn kill(place: &Path, target: &str, version: &str) -> u64 {
    let text = std::fs::read(directory(place, target).join("state.json")).unwrap();
    let state: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let seats = state["seats"].as_array().unwrap();
    let run = seats
        .iter()
        .map(|seat| &seat["run"])
        .find(|run| run["version"] == version);
    let run = run.unwrap();
    let pid = i32::try_from(run["pid"].as_i64().unwrap()).unwrap();
    let pidfd = pidfd_open(Pid::from_raw(pid).unwrap(), PidfdFlags::empty()).unwrap();
    pidfd_send_signal(pidfd, Signal::KILL).unwrap();
    run["instance"].as_u64().unwrap()
}

/// Killed while it waits at its gate: the old one goes on as the same process, and a later attempt is not refused for what the
/// killed one has left in the memory that they share. Where another has come up in its place before anybody looked, that one goes on.
#[test]
fn a_new_one_that_is_killed_before_it_is_let_in_harms_nobody() {
    run(|place| async move {
        let (target, port) = target("early", &envoy(http_upstream()));
        let platform = open(&place, [target]).await;
        let before = until(&platform, "early", "ready", runs(ENVOY_OLD)).await;
        let load = Load::start(&[port]);
        let mut pilot = Pilot::new(&platform);
        let mut killed = None;
        let attempt = pilot.change_and("early", ENVOY_OLD, ENVOY_NEW, Mode::Hot, |step| {
            if step == Step::Joining {
                killed = Some(kill(&place, "early", ENVOY_NEW));
            }
            true
        });
        let mut receipt = attempt.await.unwrap();
        let after = look(&platform, "early").await;
        if let Terminal::RolledBack { .. } = receipt.terminal {
            assert_eq!((after.instance, after.ready), (before.instance, true));
            assert_eq!(load.so_far().by_instance.len(), 1, "nobody else has served");
            receipt = pilot.change("early", ENVOY_OLD, ENVOY_NEW, Mode::Hot).await;
        } else {
            assert!(
                after.instance > killed.map(InstanceId),
                "{receipt:?}: the one that was killed serves"
            );
        }
        assert_eq!(receipt.terminal, Terminal::Done, "{receipt:?}");
        let seen = load.end();
        assert_eq!(seen.failed, Vec::<String>::new(), "of {} requests", seen.requests);
        assert!(platform.halt().await.unwrap());
    });
}

/// Killed after it took the listeners over. The old one cannot take them back: its version is started anew, and serves.
#[test]
fn a_new_one_that_is_killed_after_it_was_let_in_is_followed_by_the_old_version() {
    run(|place| async move {
        let (target, port) = target("late", &envoy(http_upstream()));
        let platform = open(&place, [target]).await;
        let before = until(&platform, "late", "ready", runs(ENVOY_OLD)).await;
        let load = Load::start(&[port]);
        let mut pilot = Pilot::new(&platform);
        let attempt = pilot.change_and("late", ENVOY_OLD, ENVOY_NEW, Mode::Hot, |step| {
            if step == Step::Quiescing {
                kill(&place, "late", ENVOY_NEW);
            }
            true
        });
        let receipt = attempt.await.unwrap();
        assert!(matches!(receipt.terminal, Terminal::RolledBack { .. }), "{receipt:?}");
        let after = look(&platform, "late").await;
        assert_eq!(after.version.as_ref().map(Version::as_str), Some(ENVOY_OLD));
        assert_ne!(
            after.instance, before.instance,
            "the one that had lost its listeners is not the one that serves"
        );
        let got = get(port, "/x").unwrap();
        assert_eq!((got.status, got.instance), (200, after.instance.map(|of| of.0)));
        drop(load);
        assert!(platform.halt().await.unwrap());
    });
}

/// Found bad after it was let in: the old version takes over from it by a hot restart of its own, and no request fails.
#[test]
fn one_that_is_turned_back_after_it_was_let_in_fails_no_request() {
    run(|place| async move {
        let (target, port) = target("back", &envoy(http_upstream()));
        let platform = open(&place, [target]).await;
        until(&platform, "back", "ready", runs(ENVOY_OLD)).await;
        let load = Load::start(&[port]);
        let mut pilot = Pilot::new(&platform);
        let receipt = pilot.change_and("back", ENVOY_OLD, ENVOY_NEW, Mode::Hot, |step| step != Step::Migrating);
        assert_eq!(receipt.await, None);
        pilot.cancel("back");
        let receipt = pilot.go_on().await;
        assert!(
            matches!(
                receipt.terminal,
                Terminal::RolledBack {
                    reason: Reason::Aborted { .. }
                }
            ),
            "{receipt:?}"
        );
        let after = look(&platform, "back").await;
        assert_eq!(after.version.as_ref().map(Version::as_str), Some(ENVOY_OLD));
        let seen = load.end();
        assert_eq!(seen.failed, Vec::<String>::new(), "of {} requests", seen.requests);
        assert_eq!(
            seen.by_instance.len(),
            3,
            "the old, the new, and the old anew: {:?}",
            seen.by_instance
        );
        assert!(platform.halt().await.unwrap());
    });
}

/// The old one dies, and the one that waits holds its queues and polls none. It is taken out of the way before the old
/// version is started anew, which would have queues of its own beside: half of all clients would wait in the other ones.
#[test]
fn who_waits_for_one_that_dies_is_taken_out_of_the_way() {
    run(|place| async move {
        let (target, port) = target("orphan", &envoy(http_upstream()));
        let platform = open(&place, [target]).await;
        let before = until(&platform, "orphan", "ready", runs(ENVOY_OLD)).await;
        platform.spawn(&"orphan".into(), &ENVOY_NEW.into(), &key(1, 0)).await;
        let waits = |seen: &Observation| {
            let slots = seen.pair.iter().flat_map(|pair| &pair.slots);
            slots.filter(|slot| slot.ready && slot.listeners).count() == 2
        };
        until(&platform, "orphan", "spawned beside", waits).await;
        kill(&place, "orphan", ENVOY_OLD);
        let after = until(&platform, "orphan", "started anew", |seen| {
            runs(ENVOY_OLD)(seen) && seen.instance.is_some() && seen.instance != before.instance
        })
        .await;
        for number in 0..50 {
            let got = get(port, &format!("/{number}")).unwrap();
            assert_eq!(got.instance, after.instance.map(|of| of.0));
        }
        // And one waits beside it again, since the slot is still to have it.
        until(&platform, "orphan", "spawned again", waits).await;
        assert!(platform.halt().await.unwrap());
    });
}

/// The old one dies at the very order that lets the new one in: that one serves, or the old version does again.
#[test]
fn an_old_one_that_dies_as_the_new_one_is_let_in_is_followed() {
    run(|place| async move {
        let (target, port) = target("widow", &envoy(http_upstream()));
        let platform = open(&place, [target]).await;
        let before = until(&platform, "widow", "ready", runs(ENVOY_OLD)).await;
        let mut pilot = Pilot::new(&platform);
        let attempt = pilot.change_and("widow", ENVOY_OLD, ENVOY_NEW, Mode::Hot, |step| {
            if step == Step::Joining {
                kill(&place, "widow", ENVOY_OLD);
            }
            true
        });
        let receipt = attempt.await.unwrap();
        // Which death is seen first is nobody's promise; nor that one is, where the new one had everything before anybody looked.
        let seen = matches!(receipt.went_back, Some(Reason::OldDied | Reason::Crashed));
        let unseen = receipt.went_back.is_none() && receipt.terminal == Terminal::Done;
        assert!(seen || unseen, "{receipt:?}");
        let version = match receipt.terminal {
            Terminal::Done => ENVOY_NEW,
            Terminal::RolledBack { .. } => ENVOY_OLD,
            other => panic!("{other:?}"),
        };
        let after = until(&platform, "widow", "served again", runs(version)).await;
        assert_ne!(after.instance, before.instance);
        let got = get(port, "/x").unwrap();
        assert_eq!((got.status, got.instance), (200, after.instance.map(|of| of.0)));
        assert!(platform.halt().await.unwrap());
    });
}

/// The controller and the adapter fall after the new one was let in. Others take over, and no request notices.
#[test]
fn a_controller_that_falls_in_the_middle_is_followed_by_another() {
    run(|place| async move {
        let envoy = envoy(http_upstream());
        let (target, port) = target("fallen", &envoy);
        let journal = Arc::new(MemoryJournal::new());
        let platform = open(&place, [target.clone()]).await;
        until(&platform, "fallen", "ready", runs(ENVOY_OLD)).await;
        let load = Load::start(&[port]);
        let mut pilot = Pilot::with(&platform, &journal);
        let receipt = pilot.change_and("fallen", ENVOY_OLD, ENVOY_NEW, Mode::Hot, |step| {
            step != Step::Quiescing
        });
        assert_eq!(receipt.await, None);
        drop(pilot);
        Arc::try_unwrap(platform).unwrap().close().await;

        let platform = open(&place, [target]).await;
        let receipt = Pilot::with(&platform, &journal).resume().await;
        assert_eq!(
            (&receipt.terminal, receipt.recoveries),
            (&Terminal::Done, 1),
            "{receipt:?}"
        );
        let seen = load.end();
        assert_eq!(seen.failed, Vec::<String>::new(), "of {} requests", seen.requests);
        assert_eq!(seen.by_instance.len(), 2);
        assert!(platform.halt().await.unwrap());
    });
}
