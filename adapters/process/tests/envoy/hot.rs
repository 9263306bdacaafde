//! Envoy's own hot restart, led by the hot machine.
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use unattended_examples_support::{ENVOY_NEW, ENVOY_OLD};
use unattended_upgrade::{Mode, Moves, Platform as _, Terminal};

use crate::load::{Load, echo_upstream, free_port, http_upstream};
use crate::pilot::{Pilot, directory, envoy, open, target};
use crate::support::{look, run, runs, until};

/// There, back, and there again: three generations, of which the first has gone before the third begins.
#[test]
fn a_hot_restart_there_and_back_fails_no_request() {
    run(|place| async move {
        let (echo, tcp) = (echo_upstream(), free_port());
        let envoy = envoy(http_upstream()).tcp(format!("127.0.0.1:{tcp}"), format!("127.0.0.1:{echo}"));
        let (target, port) = target("hot", &envoy);
        let platform = open(&place, [target]).await;
        let first = until(&platform, "hot", "ready", runs(ENVOY_OLD)).await;
        let mut long = TcpStream::connect(("127.0.0.1", tcp)).unwrap();
        long.write_all(b"before").unwrap();
        let mut echoed = [0; 6];
        long.read_exact(&mut echoed).unwrap();
        let load = Load::start(&[port]);

        let mut pilot = Pilot::new(&platform);
        for (from, to) in [(ENVOY_OLD, ENVOY_NEW), (ENVOY_NEW, ENVOY_OLD), (ENVOY_OLD, ENVOY_NEW)] {
            let receipt = pilot.change("hot", from, to, Mode::Hot).await;
            assert_eq!(
                (&receipt.terminal, &receipt.went_back),
                (&Terminal::Done, &None),
                "{receipt:?}"
            );
            let Moves { moved, lost, bytes, .. } = receipt.moves;
            assert_eq!(
                (moved, lost, bytes),
                (0, 0, 0),
                "no Envoy moves a connection, and none has died"
            );
            let probe = platform.probe(&["hot".into()]).await.unwrap().remove(0);
            assert_eq!(
                probe.version.as_ref().map(unattended_upgrade::Version::as_str),
                Some(to)
            );
            if to == ENVOY_NEW && from == ENVOY_OLD && long.peer_addr().is_ok() {
                // Of the connections of the first, the long one could not end by itself.
                assert!(receipt.moves.cut <= 1);
            }
        }
        let seen = load.end();
        assert_eq!(seen.failed, Vec::<String>::new(), "of {} requests", seen.requests);
        assert_eq!(
            seen.by_instance.len(),
            4,
            "all four have served: {:?}",
            seen.by_instance
        );
        // It was cut with its owner, and counted.
        assert_eq!(long.read(&mut echoed).unwrap_or(0), 0);

        let last = look(&platform, "hot").await;
        assert_ne!(last.instance, first.instance);
        let pair = last.pair.unwrap();
        assert_eq!(
            pair.slots.iter().filter(|slot| slot.is_empty()).count(),
            1,
            "one slot is empty: {pair:?}"
        );
        // What the dead have left is taken away: only the last one's files are there.
        let left: Vec<_> = std::fs::read_dir(directory(&place, "hot").join("envoy"))
            .unwrap()
            .collect();
        assert_eq!(left.len(), 1, "{left:?}");
        assert!(platform.halt().await.unwrap());
    });
}

/// Between its start and its being let in, the new one holds the very queues of the old one and polls none.
#[test]
fn what_is_spawned_holds_the_listeners_and_waits() {
    run(|place| async move {
        let (target, port) = target("gate", &envoy(http_upstream()));
        let platform = open(&place, [target]).await;
        until(&platform, "gate", "ready", runs(ENVOY_OLD)).await;
        let load = Load::start(&[port]);
        let key = crate::support::key(1, 0);
        assert_eq!(
            platform.spawn(&"gate".into(), &ENVOY_NEW.into(), &key).await,
            unattended_upgrade::EffectOutcome::Applied
        );
        let seen = until(&platform, "gate", "spawned beside", |seen| {
            seen.pair
                .as_ref()
                .is_some_and(|pair| pair.slots.iter().all(|slot| slot.ready && slot.listeners))
        })
        .await;
        let pair = seen.pair.unwrap();
        let [old, new] = &pair.slots;
        assert!(old.accepting && !new.accepting && pair.session, "{pair:?}");
        assert_eq!(new.connections, Some(0));
        assert_eq!(load.end().by_instance.len(), 1);
        assert!(platform.halt().await.unwrap());
    });
}
