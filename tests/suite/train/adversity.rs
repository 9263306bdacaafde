//! Times that cannot be, news that come again, builds that come late, and what burns while something is on its way.

use unattended::train::{Artefact, ChangeEnd, ChangeKey, Command, Commit, Input, Order, Refusal, Site, Stage, Train};
use unattended::{Level, Outcome, Severity};

use super::{
    HOUR_MS, START_MS, at, built, carried_out, ci, config, ended, facts, line, order, qualified, severities, stage,
    starts, told, train, unexposed,
};

/// Head, base and other picks of the builds that are asked for.
fn builds(train: &Train) -> Vec<(u64, Option<u64>, Vec<u64>)> {
    let build = |(_, command): (u64, &Command)| match command {
        Command::Build(order) => Some((order.head, order.base, order.picks.clone())),
        _ => None,
    };
    train.due().filter_map(build).collect()
}

fn hotfix(commit: &str) -> Input {
    let commit = commit.to_owned();
    order(Order::Hotfix { commit })
}

fn end_at(site: Site, version: &str, outcome: Outcome, at_unix_ms: i64) -> Input {
    Input::Ended {
        change: ChangeKey::new(&line(), site, version, 0),
        end: ChangeEnd {
            outcome,
            at_unix_ms,
            exposed: 10,
            human_actions: 0,
            why: "seen".to_owned(),
        },
    }
}

#[test]
fn a_soak_is_counted_from_an_end_that_can_be() {
    for told_ms in [(START_MS + 13 * HOUR_MS) / 1_000, i64::MIN, i64::MAX] {
        let mut train = train(Level::L5);
        for input in [ci(1, true), at(12), built("mesh-2.1.0", "a", 1, None), at(13)] {
            train.apply(&input).unwrap();
        }
        train
            .apply(&end_at(Site::Canary, "mesh-2.1.0", Outcome::Completed, told_ms))
            .unwrap();
        train.apply(&facts(&train, "mesh-2.1.0", Some(0.5))).unwrap();
        // It may have ended as soon as it began; nothing is younger than now.
        let Stage::Soaking { since_unix_ms } = stage(&train, "mesh-2.1.0") else {
            panic!("{:?}", stage(&train, "mesh-2.1.0"));
        };
        assert!((START_MS + 12 * HOUR_MS..=START_MS + 13 * HOUR_MS).contains(&since_unix_ms));
    }
}

#[test]
fn no_time_and_no_number_panics() {
    for ms in [i64::MIN, -1, 0, i64::MAX] {
        let mut train = qualified(Level::L5);
        let (id, line) = ("fire".to_owned(), line());
        let commit = Commit {
            id: "x".to_owned(),
            number: u64::MAX,
            at_unix_ms: ms,
        };
        for input in [
            Input::Ci {
                line: line.clone(),
                commit,
                green: true,
            },
            Input::Incident {
                line: line.clone(),
                id: id.clone(),
                at_unix_ms: ms,
            },
            at(28),
            end_at(Site::Production, "mesh-2.1.0", Outcome::Completed, ms),
            Input::Restored {
                line,
                id,
                at_unix_ms: i64::MAX,
            },
            Input::Tick(ms),
            at(60),
        ] {
            let _ = train.apply(&input);
        }
        let measures = train.summary().measures;
        assert_eq!(measures.releases, 1);
        assert!(measures.lead_time_hours_median.unwrap() <= 28.0, "{measures:?}");
    }
}

#[test]
fn a_stopped_line_asks_for_no_build_until_it_goes_on() {
    let mut train = train(Level::L5);
    for input in [ci(1, true), at(12)] {
        train.apply(&input).unwrap();
    }
    assert_eq!(builds(&train).len(), 1);
    train.apply(&order(Order::StopTheLine { take_back: false })).unwrap();
    for input in [ci(2, true), hotfix("c2")] {
        train.apply(&input).unwrap();
    }
    assert!(builds(&train).is_empty());
    train.apply(&order(Order::Resume)).unwrap();
    let wanted = [(1, None, vec![]), (2, Some(0), vec![])];
    assert_eq!(builds(&train), wanted);
    assert_eq!(severities(&train, "train.resumed"), [Severity::Info]);
}

#[test]
fn no_nightly_that_lacks_a_hotfix_begins_before_it() {
    let mut train = qualified(Level::L5);
    for input in [ci(2, true), hotfix("c2"), built("mesh-2.0.2", "h", 2, Some(0)), at(22)] {
        train.apply(&input).unwrap();
    }
    train
        .apply(&ended(&train, Site::Canary, "mesh-2.0.2", 0, Outcome::Completed))
        .unwrap();
    // The slot of 07:30 is open, and the hotfix soaks.
    train.apply(&at(24)).unwrap();
    assert!(starts(&train).is_empty());
    train.apply(&at(27)).unwrap();
    train.apply(&facts(&train, "mesh-2.0.2", Some(0.5))).unwrap();
    assert_eq!(starts(&train), ["mesh/production/mesh-2.0.2/0"]);
}

#[test]
fn a_hotfix_that_production_has_outrun_begins_anew_at_once() {
    let mut train = qualified(Level::L5);
    train.apply(&at(28)).unwrap();
    for input in [ci(2, true), hotfix("c2"), built("mesh-2.0.2", "h", 2, Some(0))] {
        train.apply(&input).unwrap();
    }
    carried_out(&mut train);
    train.apply(&at(29)).unwrap();
    train
        .apply(&ended(&train, Site::Production, "mesh-2.1.0", 0, Outcome::Completed))
        .unwrap();
    assert_eq!(builds(&train), [(2, Some(1), vec![])]);
    let back = |(_, command): (u64, &Command)| matches!(command, Command::TakeBack { change, .. } if change.0.contains("2.0.2"));
    assert!(train.due().any(back), "the canary fleet is wanted");
}

#[test]
fn an_artefact_that_lacks_an_earlier_hotfix_does_not_pass_for_one_that_has_it() {
    let mut train = train(Level::L5);
    for input in [
        ci(1, true),
        ci(2, true),
        hotfix("c1"),
        hotfix("c2"),
        built("mesh-2.0.1", "h1", 1, Some(0)),
    ] {
        train.apply(&input).unwrap();
    }
    train
        .apply(&ended(&train, Site::Canary, "mesh-2.0.1", 0, Outcome::Completed))
        .unwrap();
    train.apply(&at(5)).unwrap();
    train.apply(&facts(&train, "mesh-2.0.1", Some(0.5))).unwrap();
    train
        .apply(&ended(&train, Site::Production, "mesh-2.0.1", 0, Outcome::Completed))
        .unwrap();
    // The second was being built upon what production ran before the first.
    assert_eq!(builds(&train), [(2, Some(0), vec![1])]);
    let refusal = train.apply(&built("mesh-2.0.2", "old", 2, Some(0))).unwrap_err();
    assert!(matches!(refusal, Refusal::NobodyAsked { .. }), "{refusal}");
    let with_both = Input::Built {
        line: line(),
        artefact: Artefact {
            version: "mesh-2.0.3".to_owned(),
            digest: "new".to_owned(),
            head: 2,
            base: Some(0),
            picks: vec![1],
        },
    };
    train.apply(&with_both).unwrap();
    assert_eq!(starts(&train), ["mesh/canary/mesh-2.0.3/0"]);
}

#[test]
fn a_hotfix_that_was_stopped_can_be_ordered_again_and_one_that_was_bad_cannot() {
    let mut train = train(Level::L5);
    for input in [ci(2, true), hotfix("c2"), built("mesh-2.0.2", "h", 2, Some(0))] {
        train.apply(&input).unwrap();
    }
    carried_out(&mut train);
    train.apply(&order(Order::StopTheLine { take_back: true })).unwrap();
    train
        .apply(&ended(&train, Site::Canary, "mesh-2.0.2", 0, Outcome::RolledBack))
        .unwrap();
    assert_eq!(severities(&train, "train.hotfix_failed"), [Severity::Critical]);
    train.apply(&order(Order::Resume)).unwrap();
    train.apply(&hotfix("c2")).unwrap();
    // Its artefact is there: it is not built twice.
    assert!(builds(&train).is_empty());
    assert_eq!(starts(&train), ["mesh/canary/mesh-2.0.2/1"]);
    let end = ended(&train, Site::Canary, "mesh-2.0.2", 1, Outcome::RolledBack);
    train.apply(&end).unwrap();
    let refusal = train.apply(&hotfix("c2")).unwrap_err().to_string();
    assert!(
        refusal.contains("mesh-2.0.2") && refusal.contains("stopped"),
        "{refusal}"
    );
}

#[test]
fn a_late_build_of_a_hotfix_is_told_loudly_and_taken_when_it_comes() {
    let mut train = train(Level::L5);
    for input in [ci(2, true), hotfix("c2"), at(6)] {
        train.apply(&input).unwrap();
    }
    assert_eq!(severities(&train, "train.build_late"), [Severity::Critical]);
    train.apply(&at(7)).unwrap();
    assert_eq!(severities(&train, "train.build_late").len(), 1, "once");
    train.apply(&built("mesh-2.0.2", "h", 2, Some(0))).unwrap();
    assert_eq!(starts(&train), ["mesh/canary/mesh-2.0.2/0"]);
}

#[test]
fn what_was_refused_is_told_once_and_stops_the_line_once() {
    let mut train = qualified(Level::L5);
    for _ in 0..60 {
        let _ = train.apply(&built("mesh-2.1.0", "b", 1, None));
        let _ = train.apply(&ci(1, false));
    }
    let before = told(&train).len();
    assert!(before < 8, "{before}");
    train.apply(&order(Order::Resume)).unwrap();
    let _ = train.apply(&built("mesh-2.1.0", "b", 1, None));
    assert!(train.summary().lines[0].stopped.is_none());
    // A third digest is news.
    let _ = train.apply(&built("mesh-2.1.0", "c", 1, None));
    assert!(train.summary().lines[0].stopped.is_some());
}

#[test]
fn what_burnt_while_it_gave_way_is_to_blame() {
    let mut train = qualified(Level::L5);
    train.apply(&at(28)).unwrap();
    carried_out(&mut train);
    train.apply(&at(30)).unwrap();
    train
        .apply(&ended(&train, Site::Production, "mesh-2.1.0", 0, Outcome::Completed))
        .unwrap();
    for input in [ci(2, true), at(36), built("mesh-2.2.0", "b", 2, None)] {
        train.apply(&input).unwrap();
    }
    train
        .apply(&ended(&train, Site::Canary, "mesh-2.2.0", 0, Outcome::Completed))
        .unwrap();
    train.apply(&at(42)).unwrap();
    train.apply(&facts(&train, "mesh-2.2.0", Some(0.5))).unwrap();
    train.apply(&at(48)).unwrap();
    carried_out(&mut train);
    let fire = Input::Incident {
        line: line(),
        id: "fire".to_owned(),
        at_unix_ms: START_MS + 50 * HOUR_MS,
    };
    for input in [
        at(50),
        fire,
        ci(3, true),
        hotfix("c3"),
        built("mesh-2.1.3", "h", 3, Some(1)),
    ] {
        train.apply(&input).unwrap();
    }
    train
        .apply(&ended(&train, Site::Canary, "mesh-2.1.3", 0, Outcome::Completed))
        .unwrap();
    train.apply(&at(55)).unwrap();
    train.apply(&facts(&train, "mesh-2.1.3", Some(0.5))).unwrap();
    train
        .apply(&ended(&train, Site::Production, "mesh-2.2.0", 0, Outcome::RolledBack))
        .unwrap();
    let rate = |train: &Train| (train.summary().measures.change_failure_rate.unwrap() * 6.0).round();
    // The first was good, the second burnt and gave way for it; the hotfix is on its way.
    assert!((rate(&train) - 3.0).abs() < 0.1, "{}", rate(&train));
    train.apply(&at(60)).unwrap();
    train
        .apply(&ended(&train, Site::Production, "mesh-2.1.3", 0, Outcome::Completed))
        .unwrap();
    assert!((rate(&train) - 2.0).abs() < 0.1, "{}", rate(&train));
}

#[test]
fn nothing_stands_still_in_silence() {
    // A start that nobody confirms.
    let mut train = qualified(Level::L5);
    train.apply(&at(28)).unwrap();
    assert!(severities(&train, "train.unconfirmed").is_empty());
    train.apply(&at(30)).unwrap();
    train.apply(&at(31)).unwrap();
    assert_eq!(severities(&train, "train.unconfirmed"), [Severity::Warning]);
    // A clock that was wrong once.
    let mut train = qualified(Level::L5);
    let _ = train.apply(&Input::Tick(START_MS + 100 * 365 * 24 * HOUR_MS));
    carried_out(&mut train);
    for hours in 30..60 {
        let _ = train.apply(&at(hours));
    }
    assert_eq!(severities(&train, "train.clock"), [Severity::Critical], "once");
    // A hotfix that a calendar holds.
    let freeze = "
version: 1
pack: calendar
owner: cto
scope: {fleet: mesh}
freezes: [{id: quiet, from: 2026-11-24, until: 2026-11-28, zone: UTC, owner: cto, reason: quiet days}]
";
    let mut config = config(Level::L5);
    config.calendar = unattended::defense::Guard::from_yaml("calendar.yaml", freeze).unwrap();
    let mut train = Train::new(config).unwrap();
    for input in [at(20), ci(2, true), hotfix("c2"), built("mesh-2.0.2", "h", 2, Some(0))] {
        train.apply(&input).unwrap();
    }
    train
        .apply(&ended(&train, Site::Canary, "mesh-2.0.2", 0, Outcome::Completed))
        .unwrap();
    train.apply(&at(25)).unwrap();
    train.apply(&facts(&train, "mesh-2.0.2", Some(0.5))).unwrap();
    assert_eq!(severities(&train, "train.held"), [Severity::Critical]);
}

/// What was seen says something of this soak, and of no time to come.
#[test]
fn facts_of_before_a_soak_and_of_after_now_qualify_nobody() {
    let mut train = train(Level::L5);
    for input in [ci(1, true), at(12), built("mesh-2.1.0", "a", 1, None), at(14)] {
        train.apply(&input).unwrap();
    }
    train
        .apply(&ended(&train, Site::Canary, "mesh-2.1.0", 0, Outcome::Completed))
        .unwrap();
    let told = |train: &mut Train, hours: i64, budget: f64| {
        let mut seen = facts(train, "mesh-2.1.0", Some(budget));
        if let Input::Facts { facts, .. } = &mut seen {
            facts.at_unix_ms = START_MS + hours * HOUR_MS;
        }
        train.apply(&seen).unwrap();
    };
    told(&mut train, 13, 0.5);
    train.apply(&at(20)).unwrap();
    assert!(
        matches!(stage(&train, "mesh-2.1.0"), Stage::Soaking { .. }),
        "seen before it soaked"
    );
    // What claims to be of tomorrow is of now, and what is really seen later counts.
    let mut config = config(Level::L5);
    config.lines[0].limits.soak_ms = 100 * 3_600_000;
    let mut train = Train::new(config).unwrap();
    for input in [ci(1, true), at(12), built("mesh-2.1.0", "a", 1, None), at(14)] {
        train.apply(&input).unwrap();
    }
    train
        .apply(&ended(&train, Site::Canary, "mesh-2.1.0", 0, Outcome::Completed))
        .unwrap();
    told(&mut train, 40, 0.5);
    train.apply(&at(15)).unwrap();
    told(&mut train, 15, -0.5);
    assert!(matches!(stage(&train, "mesh-2.1.0"), Stage::Barred { .. }));
}

/// The newest that was seen is what is known.
#[test]
fn older_facts_do_not_replace_newer_ones() {
    let mut train = train(Level::L5);
    for input in [ci(1, true), at(12), built("mesh-2.1.0", "a", 1, None)] {
        train.apply(&input).unwrap();
    }
    train
        .apply(&ended(&train, Site::Canary, "mesh-2.1.0", 0, Outcome::Completed))
        .unwrap();
    train.apply(&at(15)).unwrap();
    let good = facts(&train, "mesh-2.1.0", Some(0.5));
    train.apply(&at(16)).unwrap();
    train.apply(&facts(&train, "mesh-2.1.0", None)).unwrap();
    train.apply(&good).unwrap();
    train.apply(&at(18)).unwrap();
    assert!(matches!(stage(&train, "mesh-2.1.0"), Stage::Soaking { .. }));
}

#[test]
fn a_second_soak_is_judged_by_what_it_shows() {
    let mut train = train(Level::L5);
    train.apply(&ci(2, true)).unwrap();
    train.apply(&hotfix("c2")).unwrap();
    train.apply(&built("mesh-2.0.2", "h", 2, Some(0))).unwrap();
    carried_out(&mut train);
    train
        .apply(&ended(&train, Site::Canary, "mesh-2.0.2", 0, Outcome::Completed))
        .unwrap();
    train.apply(&at(1)).unwrap();
    train.apply(&facts(&train, "mesh-2.0.2", Some(0.5))).unwrap();
    // It has no time left; then it is ordered once more, and another release was on the fleet meanwhile.
    let unwatched = Input::Source {
        line: line(),
        source: "fleets".to_owned(),
        answers: false,
    };
    train.apply(&unwatched).unwrap();
    train.apply(&at(25)).unwrap();
    assert!(
        matches!(stage(&train, "mesh-2.0.2"), Stage::Expired { .. }),
        "nobody watched it"
    );
    train.apply(&hotfix("c2")).unwrap();
    train.apply(&at(40)).unwrap();
    assert!(matches!(stage(&train, "mesh-2.0.2"), Stage::Soaking { .. }));
}

#[test]
fn a_hotfix_older_than_its_age_limit_is_built_anew() {
    let mut train = train(Level::L5);
    train.apply(&ci(2, true)).unwrap();
    train.apply(&hotfix("c2")).unwrap();
    train.apply(&built("mesh-2.0.2", "h", 2, Some(0))).unwrap();
    train.apply(&at(21)).unwrap();
    train
        .apply(&ended(&train, Site::Canary, "mesh-2.0.2", 0, Outcome::RolledBack))
        .unwrap();
    train.apply(&at(300 * 24)).unwrap();
    carried_out(&mut train);
    train.apply(&hotfix("c2")).unwrap();
    assert!(starts(&train).is_empty());
    assert_eq!(builds(&train), [(2, Some(0), Vec::new())]);
}

#[test]
fn nobody_waits_for_a_build_that_nobody_wants_any_more() {
    let late = |train: &Train| {
        let summary = train.summary();
        let matters = summary.lines[0].matters.iter();
        matters.filter(|matter| matter.code == "train.build_late").count()
    };
    // The same commit each night: one build, asked for again.
    let mut train = train(Level::L5);
    for input in [ci(1, true), at(12), at(19), at(36), at(43)] {
        train.apply(&input).unwrap();
    }
    assert_eq!(late(&train), 1);
    train.apply(&built("mesh-2.1.0", "a", 1, None)).unwrap();
    assert_eq!(late(&train), 0);
    // A newer nightly has come.
    for input in [ci(2, true), at(60), at(67), ci(3, true), at(84)] {
        train.apply(&input).unwrap();
    }
    assert_eq!(late(&train), 1);
    train.apply(&built("mesh-2.3.0", "c", 3, None)).unwrap();
    assert_eq!(late(&train), 0);
    // A hotfix that is given up.
    train.apply(&ci(4, true)).unwrap();
    train.apply(&hotfix("c4")).unwrap();
    train.apply(&at(100)).unwrap();
    assert_eq!(late(&train), 1);
    let version = "c4".to_owned();
    train.apply(&order(Order::Skip { version })).unwrap();
    assert_eq!(late(&train), 0);
}

/// Production bears less than the canary fleet: what merely qualified there is no alibi.
#[test]
fn the_suspects_of_a_failure_in_production_are_all_that_production_had_not() {
    let mut train = qualified(Level::L5);
    for input in [ci(2, true), at(36), built("mesh-2.2.0", "b", 2, None)] {
        train.apply(&input).unwrap();
    }
    // The first one is on its way since the slot of hour 24.
    carried_out(&mut train);
    train
        .apply(&ended(&train, Site::Production, "mesh-2.1.0", 0, Outcome::RolledBack))
        .unwrap();
    let suspects = |train: &Train, wanted: &str| {
        train.due().find_map(|(_, command)| match command {
            Command::Suspects { version, after, .. } if version == wanted => Some(*after),
            _ => None,
        })
    };
    assert_eq!(suspects(&train, "mesh-2.1.0"), Some(0));
    train
        .apply(&ended(&train, Site::Canary, "mesh-2.2.0", 0, Outcome::Completed))
        .unwrap();
    train.apply(&at(42)).unwrap();
    train.apply(&facts(&train, "mesh-2.2.0", Some(0.5))).unwrap();
    carried_out(&mut train);
    train
        .apply(&ended(&train, Site::Production, "mesh-2.2.0", 0, Outcome::RolledBack))
        .unwrap();
    assert_eq!(suspects(&train, "mesh-2.2.0"), Some(0));
}

/// The line goes on: what comes next is brought to all of it.
#[test]
fn people_hear_of_a_canary_fleet_that_is_left_in_between_until_a_release_arrives_there() {
    for outcome in [
        Outcome::RolledBackPartially,
        Outcome::Frozen,
        Outcome::Waiting,
        Outcome::Aborted,
    ] {
        for touched in [true, false] {
            let mixed = |train: &Train| {
                let line = &train.summary().lines[0];
                assert!(line.stopped.is_none(), "{outcome:?}");
                line.matters.iter().any(|matter| matter.key.contains("canary_mixed"))
            };
            let mut train = train(Level::L5);
            for input in [ci(1, true), at(12), built("mesh-2.1.0", "a", 1, None)] {
                train.apply(&input).unwrap();
            }
            let end = ended(&train, Site::Canary, "mesh-2.1.0", 0, outcome);
            train.apply(&if touched { end } else { unexposed(end) }).unwrap();
            assert_eq!(mixed(&train), touched, "{outcome:?}");
            for input in [ci(2, true), at(36), built("mesh-2.2.0", "b", 2, None)] {
                train.apply(&input).unwrap();
            }
            assert!(starts(&train).contains(&"mesh/canary/mesh-2.2.0/0".to_owned()));
            assert_eq!(mixed(&train), touched, "{outcome:?}");
            train
                .apply(&ended(&train, Site::Canary, "mesh-2.2.0", 0, Outcome::Completed))
                .unwrap();
            assert!(!mixed(&train), "{outcome:?}");
        }
    }
}
