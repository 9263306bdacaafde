//! Whose fault: the tables against a list made from the proxies' documents, and the rules that pick one cause.

use proptest::prelude::*;
use unattended_health::{
    Arm, Attribution, AttributionError, Counts, Edge, EdgeReport, EdgeTally, End, FaultClass, Meaning, RequestFaults,
    Side,
};

#[test]
fn every_code_has_the_class_of_the_list() {
    let list = include_str!("../data/attribution.csv");
    let mut codes = 0;
    for line in list.lines().skip(1) {
        let [table, code, class] = line.split(',').collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        let table = if table == "envoy" {
            Attribution::envoy()
        } else {
            Attribution::mosn()
        };
        let meaning = match class {
            "consequence" => Meaning::Consequence,
            "none" => Meaning::NotAnError,
            class => Meaning::Fault(FaultClass::from_word(class).unwrap()),
        };
        assert_eq!(table.meaning(code), Some(meaning), "{line}");
        codes += 1;
    }
    // Nothing beside the list: the long names of Envoy are the same flags.
    assert_eq!(
        codes,
        Attribution::envoy().codes().count() / 2 + Attribution::mosn().codes().count()
    );
    let envoy = Attribution::envoy();
    assert_eq!(envoy.meaning("UpstreamConnectionFailure"), envoy.meaning("UF"));
}

#[test]
fn the_innermost_cause_decides() {
    let envoy = Attribution::envoy();
    let class = |flags: &str| envoy.flags(flags).class;
    assert_eq!(
        class("UF,URX"),
        Some(FaultClass::Infrastructure),
        "retries ended for a reason"
    );
    assert_eq!(
        class("DC,UT"),
        Some(FaultClass::Ambiguous),
        "the client left a request that had timed out"
    );
    assert_eq!(
        class("UF,LR"),
        Some(FaultClass::Own),
        "of equally deep ones the more own"
    );
    assert_eq!(class("RFCF"), None);
    assert_eq!(class("RFCF,DC"), Some(FaultClass::Client));
    assert_eq!(
        class("URX"),
        Some(FaultClass::Own),
        "a consequence of nothing that is known"
    );
    assert_eq!(class("-"), None);
    assert_eq!(class(""), None);
    let unknown = envoy.flags("UF, NEW");
    assert_eq!(
        (unknown.class, unknown.code.as_deref(), unknown.known),
        (Some(FaultClass::Own), Some("NEW"), false)
    );

    let component = Attribution::component();
    let chain = |codes: &[&str]| component.innermost(codes).class;
    assert_eq!(chain(&["connect", "tls", "certificate"]), Some(FaultClass::Config));
    assert_eq!(chain(&["http_5xx", "panic"]), Some(FaultClass::Own));
    assert_eq!(chain(&["certificate", "something"]), Some(FaultClass::Own));
    assert_eq!(chain(&[]), None);
    assert_eq!(envoy.innermost(&["UF", "URX"]).class, Some(FaultClass::Infrastructure));

    assert_eq!(
        envoy.response("-", 503).class,
        Some(FaultClass::Business),
        "forwarded unchanged"
    );
    assert_eq!(envoy.response("UF", 503).class, Some(FaultClass::Infrastructure));
    assert_eq!(envoy.response("-", 302).class, None);
    assert_eq!(envoy.response("DC", 200).class, Some(FaultClass::Client));
}

proptest! {
    #[test]
    fn the_order_of_flags_decides_nothing(mut flags in prop::collection::vec(
        prop::sample::select(vec!["UF", "LR", "UT", "DC", "URX", "RL", "NR", "QQ", "ZZ", "RFCF", "LH"]), 1..6)) {
        let envoy = Attribution::envoy();
        let one = envoy.flags(&flags.join(","));
        flags.reverse();
        prop_assert_eq!(&one, &envoy.flags(&flags.join(",")));
        flags.sort_unstable();
        prop_assert_eq!(&one, &envoy.flags(&flags.join(", ")));
    }
}

#[test]
fn a_retried_request_counts_once() {
    let table = Attribution::envoy();
    let run = |attempts: &[&[&str]]| {
        let mut request = RequestFaults::new(&table);
        for chain in attempts {
            match chain {
                ["ok"] => request.served(),
                chain => request.failed(chain),
            }
        }
        request.end().class
    };
    assert_eq!(
        run(&[&["UF"], &["UT"]]),
        Some(FaultClass::Ambiguous),
        "the last attempt's"
    );
    assert_eq!(run(&[&["UF"], &["ok"]]), None);
    assert_eq!(run(&[&["UF"], &["URX"]]), Some(FaultClass::Infrastructure));
    assert_eq!(run(&[&["UF"], &[]]), Some(FaultClass::Infrastructure));
    assert_eq!(
        run(&[&["ok"], &[]]),
        Some(FaultClass::Own),
        "failed, and nobody says why"
    );
    assert_eq!(run(&[&["URX"]]), Some(FaultClass::Own));
    assert_eq!(run(&[]), None);
}

#[test]
fn own_codes_are_checked_and_may_change_ready_ones() {
    let own = |code: &str| {
        Attribution::mosn()
            .extend()
            .code(code, Meaning::Fault(FaultClass::Own), 3)
    };
    for bad in ["", "-", "a,b", "a b", "é", "a\n"] {
        assert!(matches!(own(bad), Err(AttributionError::Code { .. })), "{bad:?}");
    }
    assert!(matches!(
        Attribution::builder().code("a", Meaning::NotAnError, 10),
        Err(AttributionError::Depth { depth: 10, .. })
    ));
    let table = own("NoRouteFound").unwrap().build();
    assert_eq!(table.flags("NoRouteFound").class, Some(FaultClass::Own));
}

#[test]
fn an_edge_that_touches_a_new_instance_is_the_change_s() {
    use Side::{New, Old, Other};
    let arm = |caller, callee| Edge { caller, callee }.arm();
    for other in [New, Old, Other] {
        assert_eq!(
            (arm(New, other), arm(other, New)),
            (Some(Arm::Canary), Some(Arm::Canary))
        );
    }
    assert_eq!(
        (arm(Old, Old), arm(Old, Other), arm(Other, Old)),
        (Some(Arm::Control), Some(Arm::Control), Some(Arm::Control))
    );
    assert_eq!(arm(Other, Other), None);

    // The new callee thinks that all is well; its old callers see the errors.
    let report = |caller, callee, by, bad| EdgeReport {
        edge: Edge { caller, callee },
        by,
        counts: Counts::new(bad, 1_000),
    };
    let mut tally = EdgeTally::default();
    tally.add(report(Old, New, End::Callee, 0));
    tally.add(report(Old, New, End::Caller, 40));
    tally.add(report(Old, Old, End::Caller, 3));
    tally.add(report(Old, Old, End::Callee, 2));
    tally.add(report(Other, Other, End::Caller, 500));
    assert_eq!(tally.arms(), (Counts::new(40, 1_000), Counts::new(3, 1_000)));
}
