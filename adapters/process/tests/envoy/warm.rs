//! Closed, drained, replaced, verified, opened.
use unattended_examples_support::{ENVOY_NEW, ENVOY_OLD};
use unattended_upgrade::{IngressOrder, Mode, Platform as _, Terminal};

use crate::load::{Load, get, http_upstream};
use crate::pilot::{Pilot, envoy, open, target};
use crate::support::{key, pause, run, runs, until};

#[test]
fn a_warm_upgrade_fails_no_request_where_another_replica_serves() {
    run(|place| async move {
        let envoy = envoy(http_upstream());
        let ((one, port_one), (two, port_two)) = (target("one", &envoy), target("two", &envoy));
        let platform = open(&place, [one, two]).await;
        for name in ["one", "two"] {
            until(&platform, name, "ready", runs(ENVOY_OLD)).await;
        }
        let load = Load::start(&[port_one, port_two]);
        let mut pilot = Pilot::new(&platform);
        for name in ["one", "two"] {
            let receipt = pilot.change(name, ENVOY_OLD, ENVOY_NEW, Mode::Warm).await;
            assert_eq!(
                (&receipt.terminal, &receipt.went_back),
                (&Terminal::Done, &None),
                "{receipt:?}"
            );
        }
        let seen = load.end();
        assert_eq!(seen.failed, Vec::<String>::new(), "of {} requests", seen.requests);
        assert!(seen.requests > 50, "{seen:?}");
        assert!(platform.halt().await.unwrap());
    });
}

/// Also across a replacement, from the first instant at which the new one answers.
#[test]
fn a_closed_way_stays_closed_until_it_is_opened() {
    run(|place| async move {
        let (target, port) = target("closed", &envoy(http_upstream()));
        let platform = open(&place, [target]).await;
        until(&platform, "closed", "ready", runs(ENVOY_OLD)).await;
        assert_eq!(get(port, "/healthz").unwrap().status, 200);
        let closed = IngressOrder::Close {
            reopen_by_ms: u64::MAX / 4,
        };
        let order = async |ordinal, order| platform.ingress(&"closed".into(), order, &key(1, ordinal)).await;
        assert_eq!(order(0, closed).await, unattended_upgrade::EffectOutcome::Applied);
        until(&platform, "closed", "closed", |seen| {
            seen.ingress == unattended_upgrade::Ingress::Closed
        })
        .await;
        let got = get(port, "/healthz").unwrap();
        assert_eq!((got.status, got.closes), (503, true));
        let late = get(port, "/late").unwrap();
        assert_eq!(
            (late.status, late.closes),
            (200, true),
            "who comes late is served, and asked to leave"
        );

        // Whatever answers from here on, no answer is a yes.
        let over = std::sync::Arc::new(());
        let goes_on = std::sync::Arc::downgrade(&over);
        let asks = std::thread::spawn(move || {
            // Where nobody listens a question is refused at once: no number of questions is a time.
            let asked = std::iter::from_fn(|| (goes_on.strong_count() > 0).then(|| get(port, "/healthz").ok()));
            let answers = asked.flatten().map(|got| (got.status, got.instance));
            let of_new = answers.skip_while(|(_, instance)| *instance == Some(1));
            of_new.take(50).map(|(status, _)| status).collect::<Vec<_>>()
        });
        let replaced = platform
            .replace_in_place(&"closed".into(), &ENVOY_NEW.into(), &key(1, 1))
            .await;
        assert_eq!(replaced, unattended_upgrade::EffectOutcome::Applied);
        until(&platform, "closed", "replaced", runs(ENVOY_NEW)).await;
        while !asks.is_finished() {
            pause().await;
        }
        drop(over);
        let statuses = asks.join().unwrap();
        assert_eq!(statuses, vec![503; 50]);

        assert_eq!(
            order(2, IngressOrder::Open).await,
            unattended_upgrade::EffectOutcome::Applied
        );
        until(&platform, "closed", "open", |seen| {
            seen.ingress == unattended_upgrade::Ingress::Open
        })
        .await;
        assert_eq!(get(port, "/healthz").unwrap().status, 200);
        assert!(platform.halt().await.unwrap());
    });
}
