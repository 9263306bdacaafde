//! What went no further for no fault of its own comes again, with nobody there.

use unattended::train::{BuildOrder, Command, Lane, Order, Site, Stage, Train};
use unattended::{Level, Outcome};

use super::{START_MS, at, built, carried_out, ci, ended, order, qualified, stage, starts, told, train, unexposed};

/// What is to be built, as heads and the commits that they are built upon; all of it is asked for then.
fn asked(train: &mut Train) -> Vec<(u64, Option<u64>)> {
    let build = |(_, command): (u64, &Command)| match command {
        Command::Build(BuildOrder { head, base, .. }) => Some((*head, *base)),
        _ => None,
    };
    let asked = train.due().filter_map(build).collect();
    carried_out(train);
    asked
}

/// A nightly of the only commit is on the canary fleet.
fn on_canary() -> Train {
    let mut train = train(Level::L5);
    for input in [ci(1, true), at(12), built("mesh-2.1.0", "a", 1, None)] {
        train.apply(&input).unwrap();
    }
    carried_out(&mut train);
    train
}

#[test]
fn a_nightly_that_had_no_luck_is_tried_again_where_no_newer_one_comes() {
    for how in ["no time left", "nobody watched", "stopped and taken back"] {
        let mut train = on_canary();
        let taken_back = |train: &mut Train| {
            let end = ended(train, Site::Canary, "mesh-2.1.0", 0, Outcome::RolledBack);
            train.apply(&end).unwrap();
        };
        let again = match how {
            "no time left" => {
                train.apply(&at(33)).unwrap();
                taken_back(&mut train);
                36
            }
            "nobody watched" => {
                let end = ended(&train, Site::Canary, "mesh-2.1.0", 0, Outcome::Completed);
                train.apply(&end).unwrap();
                train.apply(&at(36)).unwrap();
                60
            }
            _ => {
                train.apply(&order(Order::StopTheLine { take_back: true })).unwrap();
                taken_back(&mut train);
                train.apply(&order(Order::Resume)).unwrap();
                36
            }
        };
        assert!(!stage(&train, "mesh-2.1.0").is_live(), "{how}");
        carried_out(&mut train);
        train.apply(&at(again - 1)).unwrap();
        assert!(starts(&train).is_empty(), "{how}: not before the next night");
        train.apply(&at(again)).unwrap();
        assert_eq!(asked(&mut train), [], "{how}: there is an artefact");
        if how == "nobody watched" {
            assert!(
                matches!(stage(&train, "mesh-2.1.0"), Stage::Soaking { .. }),
                "{how}: it is there still"
            );
        } else {
            assert_eq!(stage(&train, "mesh-2.1.0"), Stage::OnCanary, "{how}");
        }
    }
}

#[test]
fn what_was_bad_or_is_too_old_is_not_tried_again_as_it_is() {
    // Bad: the commit waits for one that mends it.
    let mut train = on_canary();
    let end = ended(&train, Site::Canary, "mesh-2.1.0", 0, Outcome::RolledBack);
    train.apply(&end).unwrap();
    carried_out(&mut train);
    for night in 1..60 {
        train.apply(&at(12 + 24 * night)).unwrap();
        assert!(starts(&train).is_empty());
        assert_eq!(asked(&mut train), []);
    }
    // Too old: built anew, of the same commit.
    let mut train = on_canary();
    train.apply(&order(Order::StopTheLine { take_back: true })).unwrap();
    let end = ended(&train, Site::Canary, "mesh-2.1.0", 0, Outcome::RolledBack);
    train.apply(&end).unwrap();
    let days = 46;
    train.apply(&at(24 * days)).unwrap();
    train.apply(&order(Order::Resume)).unwrap();
    carried_out(&mut train);
    train.apply(&at(24 * days + 12)).unwrap();
    let rebuilds = train.due().find_map(|(_, command)| match command {
        Command::Build(order) => Some(order.rebuilds),
        _ => None,
    });
    assert_eq!(rebuilds, Some(1), "another order than the first");
    assert_eq!(asked(&mut train), [(1, None)]);
    train.apply(&at(24 * days + 13)).unwrap();
    assert!(starts(&train).is_empty());
    // The old one, told once more, is not it.
    train.apply(&built("mesh-2.1.0", "a", 1, None)).unwrap();
    assert!(starts(&train).is_empty());
    train.apply(&built("mesh-2.1.1", "b", 1, None)).unwrap();
    assert_eq!(starts(&train), ["mesh/canary/mesh-2.1.1/0"]);
}

#[test]
fn what_production_has_is_not_tried_again() {
    let mut train = qualified(Level::L5);
    train.apply(&at(28)).unwrap();
    let end = ended(&train, Site::Production, "mesh-2.1.0", 0, Outcome::Completed);
    train.apply(&end).unwrap();
    carried_out(&mut train);
    for night in 1..60 {
        train.apply(&at(12 + 24 * night)).unwrap();
        assert!(starts(&train).is_empty());
        assert_eq!(asked(&mut train), []);
    }
}

#[test]
fn a_build_that_is_late_is_asked_for_again_each_night() {
    let mut train = train(Level::L5);
    train.apply(&ci(1, true)).unwrap();
    train.apply(&at(12)).unwrap();
    assert_eq!(asked(&mut train), [(1, None)]);
    for night in 1..4 {
        train.apply(&at(12 + 24 * night)).unwrap();
        // Not twice, where nobody has carried it out.
        train.apply(&at(13 + 24 * night)).unwrap();
        assert_eq!(asked(&mut train), [(1, None)], "night {night}");
    }
    train.apply(&at(12 + 24 * 4)).unwrap();
    train.apply(&at(12 + 24 * 5)).unwrap();
    assert_eq!(asked(&mut train), [(1, None)], "once, though two nights went by");
    assert!(told(&train).iter().all(|(code, _)| code != "train.refused"));
}

/// Upon what production ran, nobody could promote it any more.
#[test]
fn a_hotfix_that_is_being_built_is_built_anew_at_once_when_production_moves() {
    for done in [true, false] {
        let mut train = qualified(Level::L5);
        train.apply(&at(28)).unwrap();
        asked(&mut train);
        let commit = "c2".to_owned();
        for input in [ci(2, true), order(Order::Hotfix { commit })] {
            train.apply(&input).unwrap();
        }
        // Whether or not the order for it has been carried out.
        if done {
            assert_eq!(asked(&mut train), [(2, Some(0))]);
        }
        let end = ended(&train, Site::Production, "mesh-2.1.0", 0, Outcome::Completed);
        train.apply(&end).unwrap();
        assert_eq!(asked(&mut train), [(2, Some(1))], "carried out: {done}");
        // What was asked for first is nobody's any more; what was asked for then goes.
        train.apply(&built("mesh-2.0.2", "h", 2, Some(0))).unwrap_err();
        train.apply(&built("mesh-2.1.2", "i", 2, Some(1))).unwrap();
        assert_eq!(starts(&train), ["mesh/canary/mesh-2.1.2/0"]);
        train
            .apply(&unattended::train::Input::Tick(START_MS + 28 * super::HOUR_MS + 60_000))
            .unwrap();
        assert_eq!(asked(&mut train), []);
        let lanes = train.summary().lines[0].releases.clone();
        assert!(lanes.iter().any(|release| release.lane == Lane::Hotfix));
    }
}

/// The artefact was on its way when production moved: what it would have been is asked for in the same turn.
#[test]
fn what_production_has_outrun_is_built_anew_in_the_same_turn() {
    let mut train = qualified(Level::L5);
    train.apply(&at(28)).unwrap();
    let commit = "c2".to_owned();
    for input in [
        ci(2, true),
        order(Order::Hotfix { commit }),
        built("mesh-2.0.2", "h", 2, Some(0)),
    ] {
        train.apply(&input).unwrap();
    }
    carried_out(&mut train);
    let end = ended(&train, Site::Production, "mesh-2.1.0", 0, Outcome::Completed);
    train.apply(&end).unwrap();
    assert_eq!(asked(&mut train), [(2, Some(1))]);
}

/// Production has the newest commit, and not those before it.
#[test]
fn what_waits_behind_a_hotfix_comes_where_no_newer_commit_does() {
    for comes in [true, false] {
        let mut train = train(Level::L5);
        for number in 1..=3 {
            train.apply(&ci(number, true)).unwrap();
        }
        train.apply(&at(12)).unwrap();
        assert_eq!(asked(&mut train), [(3, None)]);
        // The nightly is on the canary fleet, or is still being built.
        if comes {
            train.apply(&built("mesh-2.3.0", "a", 3, None)).unwrap();
            carried_out(&mut train);
        }
        let commit = "c3".to_owned();
        for input in [order(Order::Hotfix { commit }), built("mesh-2.0.3", "h", 3, Some(0))] {
            train.apply(&input).unwrap();
        }
        if comes {
            let end = ended(&train, Site::Canary, "mesh-2.3.0", 0, Outcome::RolledBack);
            train.apply(&end).unwrap();
        }
        let end = ended(&train, Site::Canary, "mesh-2.0.3", 0, Outcome::Completed);
        train.apply(&end).unwrap();
        train.apply(&at(17)).unwrap();
        train.apply(&super::facts(&train, "mesh-2.0.3", Some(0.5))).unwrap();
        let end = ended(&train, Site::Production, "mesh-2.0.3", 0, Outcome::Completed);
        train.apply(&end).unwrap();
        carried_out(&mut train);
        train.apply(&at(36)).unwrap();
        if comes {
            assert_eq!(starts(&train), ["mesh/canary/mesh-2.3.0/1"]);
        } else {
            assert_eq!(asked(&mut train), [(3, None)], "it is late, and asked for again");
        }
    }
}

/// The good commit that is left is below what production has: to bring it would take something back.
#[test]
fn nothing_is_tried_again_that_production_has_outrun() {
    let mut train = on_canary();
    let end = unexposed(ended(&train, Site::Canary, "mesh-2.1.0", 0, Outcome::Aborted));
    train.apply(&end).unwrap();
    let commit = "c2".to_owned();
    for input in [
        ci(2, true),
        order(Order::Hotfix { commit }),
        built("mesh-2.0.2", "h", 2, Some(0)),
    ] {
        train.apply(&input).unwrap();
    }
    let end = ended(&train, Site::Canary, "mesh-2.0.2", 0, Outcome::Completed);
    train.apply(&end).unwrap();
    train.apply(&at(17)).unwrap();
    train.apply(&super::facts(&train, "mesh-2.0.2", Some(0.5))).unwrap();
    let end = ended(&train, Site::Production, "mesh-2.0.2", 0, Outcome::Completed);
    train.apply(&end).unwrap();
    train.apply(&ci(2, false)).unwrap_err();
    carried_out(&mut train);
    for night in 1..10 {
        train.apply(&at(12 + 24 * night)).unwrap();
        assert!(starts(&train).is_empty());
        assert_eq!(asked(&mut train), []);
        assert!(!stage(&train, "mesh-2.1.0").is_live());
    }
}

/// It is there still, and not alone: it would soak in a mixture.
#[test]
fn what_runs_on_a_mixed_canary_fleet_is_built_anew_and_not_taken_to_be_there() {
    let mut train = on_canary();
    let end = ended(&train, Site::Canary, "mesh-2.1.0", 0, Outcome::Completed);
    train.apply(&end).unwrap();
    // A hotfix takes the fleet, and is left half way.
    let commit = "c1".to_owned();
    for input in [order(Order::Hotfix { commit }), built("mesh-2.0.1", "h", 1, Some(0))] {
        train.apply(&input).unwrap();
    }
    assert!(matches!(stage(&train, "mesh-2.1.0"), Stage::Superseded { .. }));
    let end = ended(&train, Site::Canary, "mesh-2.0.1", 0, Outcome::Aborted);
    train.apply(&end).unwrap();
    carried_out(&mut train);
    train.apply(&at(36)).unwrap();
    assert!(!stage(&train, "mesh-2.1.0").is_live());
    assert_eq!(asked(&mut train), [(1, None)]);
    train.apply(&built("mesh-2.1.1", "b", 1, None)).unwrap();
    assert_eq!(starts(&train), ["mesh/canary/mesh-2.1.1/0"]);
    let end = ended(&train, Site::Canary, "mesh-2.1.1", 0, Outcome::Completed);
    train.apply(&end).unwrap();
    let line = &train.summary().lines[0];
    assert!(line.matters.iter().all(|matter| !matter.key.contains("canary_mixed")));
}
