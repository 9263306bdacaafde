//! Hosts that do not report.

use super::*;

#[test]
fn silence_holds_and_says_who_is_silent() {
    let mut judge = judge();
    let mut t = 0;
    let mut with = |canary: u32, control: u32| {
        let mut next = interval(t, vec![]);
        t += 1;
        next.canary_hosts.reported = canary;
        next.control_hosts.reported = control;
        judge.observe(&next).unwrap();
        (judge.verdict(), judge.score(), judge.explain().to_string())
    };
    let coverage = |reported| Coverage {
        reported,
        expected: 100,
    };
    let (verdict, score, text) = with(20, 100);
    assert_eq!(held(verdict), Some(HoldReason::CanarySilent(coverage(20))));
    assert!(
        score <= 60.0 && text.contains("20 of 100 hosts report on the new version"),
        "{text}"
    );
    assert_eq!(held(with(100, 89).0), Some(HoldReason::ControlSilent(coverage(89))));
    assert_eq!(
        held(with(0, 0).0),
        Some(HoldReason::BothSilent {
            canary: coverage(0),
            control: coverage(0)
        })
    );
    assert_eq!(with(90, 100).0, Verdict::Continue, "it goes on by itself");
}

/// Of seven, one less is a seventh: more than the share lets be silent, and one host all the same.
#[test]
fn one_silent_host_of_several_holds_nothing() {
    for (least, reported, expected, holds) in [
        (2, 6, 7, false),
        (2, 5, 7, true),
        (2, 1, 2, false),
        (2, 0, 1, true),
        (2, 0, 2, true),
        (1, 6, 7, true),
        (3, 5, 7, false),
        // By the share.
        (2, 18, 20, false),
    ] {
        let mut config = config();
        config.min_silent_hosts = least;
        let mut judge = Judge::new(config, topology(), &[]).unwrap();
        let mut next = interval(0, vec![]);
        next.canary_hosts = Coverage { reported, expected };
        judge.observe(&next).unwrap();
        let found = held(judge.verdict());
        assert_eq!(
            found.is_some(),
            holds,
            "{reported} of {expected} where {least} are a silence: {found:?}"
        );
    }
    let mut none = config();
    none.min_silent_hosts = 0;
    assert!(Judge::new(none, topology(), &[]).is_err());
}
