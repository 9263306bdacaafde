//! Whose fault it was, by Envoy's own log and counters.
use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use unattended_examples_support::ENVOY_OLD;
use unattended_health::FaultClass;
use unattended_process::{Envoy, EnvoyRequests, counter_class};

use crate::load::{free_port, get, http_upstream};
use crate::pilot::{directory, envoy, open, target};
use crate::support::{run, runs, until, until_so};

#[test]
fn requests_are_counted_by_whose_fault_it_was() {
    run(|place| async move {
        let (dead, nowhere) = (free_port(), free_port());
        let envoy = envoy(http_upstream()).http(format!("127.0.0.1:{dead}"), format!("127.0.0.1:{nowhere}"));
        let (target, port) = target("faults", &envoy);
        let platform = open(&place, [target]).await;
        let seen = until(&platform, "faults", "ready", runs(ENVOY_OLD)).await;
        let instance = seen.instance.unwrap();
        // Path, status, how many of them, and what they count as.
        for (port, path, status, times) in [
            (port, "/good", 200, 5),
            (port, "/500", 500, 3),
            (port, "/close", 503, 2),
            (dead, "/x", 503, 4),
        ] {
            for _ in 0..times {
                assert_eq!(get(port, path).unwrap().status, status, "{path}");
            }
        }
        // Asked by balancers and by the adapter: nobody's request.
        assert_eq!(get(port, "/healthz").unwrap().status, 200);

        let mut requests = EnvoyRequests::new(Envoy::access_log(&directory(&place, "faults")));
        until_so("the last line", || {
            requests.read().unwrap();
            requests
                .served()
                .get(&instance)
                .is_some_and(|served| served.total() == 14)
        })
        .await;
        let served = requests.served()[&instance];
        assert_eq!(served.good, 5);
        assert_eq!(served.of(FaultClass::Business), 3);
        assert_eq!(
            served.of(FaultClass::Ambiguous),
            2,
            "the upstream hung up, or was made to"
        );
        assert_eq!(served.of(FaultClass::Infrastructure), 4);
        assert_eq!(served.of(FaultClass::Own), 0);
        assert_eq!(requests.unreadable(), 0);

        // Every counter that has a class is one that Envoy has.
        let socket = directory(&place, "faults").join(format!("a{}.sock", instance.0));
        let mut admin = UnixStream::connect(socket).unwrap();
        admin
            .write_all(b"GET /stats HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            .unwrap();
        let mut text = String::new();
        admin.read_to_string(&mut text).unwrap();
        let counted = |name: &str| {
            let line = text.lines().find(|line| line.starts_with(&format!("{name}: ")));
            line.unwrap_or_else(|| panic!("Envoy has no {name}"))
                .rsplit(' ')
                .next()
                .unwrap()
                .to_owned()
        };
        assert_eq!(counted("cluster.upstream_1.upstream_cx_connect_fail"), "4");
        assert_eq!(
            counted("cluster.upstream_0.upstream_cx_destroy_remote_with_active_rq"),
            "2"
        );
        let known: BTreeSet<&str> = text
            .lines()
            .filter_map(|line| line.split_once(": "))
            .filter(|(name, _)| counter_class(name).is_some())
            .filter_map(|(name, _)| name.rsplit('.').next())
            .collect();
        assert_eq!(known.len(), 22, "{known:?}");
        assert!(platform.halt().await.unwrap());
    });
}
