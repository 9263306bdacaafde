//! What overtakes, what gives way, and what is said of it.

use unattended::defense::Guard;
use unattended::train::{Command, Input, Order, Site, Stage, Train};
use unattended::{Level, Outcome, Severity};

use super::{
    HOUR_MS, at, built, carried_out, ci, ended, facts, order, qualified, severities, stage, starts, told, train,
};

fn taken_back(train: &Train) -> Vec<String> {
    let taken = |(_, command): (u64, &Command)| match command {
        Command::TakeBack { change, .. } => Some(change.0.clone()),
        _ => None,
    };
    train.due().filter_map(taken).collect()
}

/// The driver has carried out all that begins something.
fn has_begun(train: &mut Train) {
    let begun = |(number, command): (u64, &Command)| matches!(command, Command::Start(_)).then_some(number);
    let numbers: Vec<u64> = train.due().filter_map(begun).collect();
    for number in numbers {
        train.apply(&Input::Done(number)).unwrap();
    }
}

fn choose(version: &str) -> Input {
    order(Order::Choose {
        version: version.to_owned(),
    })
}

/// A hotfix of commit 2 comes to soak on the canary fleet, `hours` after the beginning, and qualifies four hours later.
fn hotfix_qualifies(train: &mut Train, hours: i64) {
    train.apply(&ci(2, true)).unwrap();
    let commit = "c2".to_owned();
    train.apply(&order(Order::Hotfix { commit })).unwrap();
    train.apply(&built("mesh-2.0.2", "h", 2, Some(0))).unwrap();
    train.apply(&at(hours)).unwrap();
    train
        .apply(&ended(train, Site::Canary, "mesh-2.0.2", 0, Outcome::Completed))
        .unwrap();
    train.apply(&at(hours + 4)).unwrap();
    train.apply(&facts(train, "mesh-2.0.2", Some(0.5))).unwrap();
}

#[test]
fn a_hotfix_overtakes_a_nightly_that_is_on_its_way_to_production() {
    let mut train = qualified(Level::L5);
    train.apply(&at(28)).unwrap();
    has_begun(&mut train);
    hotfix_qualifies(&mut train, 30);
    assert_eq!(taken_back(&train), ["mesh/production/mesh-2.1.0/0"]);
    assert!(starts(&train).is_empty(), "one at a time");
    train
        .apply(&ended(&train, Site::Production, "mesh-2.1.0", 0, Outcome::RolledBack))
        .unwrap();
    assert_eq!(starts(&train), ["mesh/production/mesh-2.0.2/0"]);
    // It gave way: that is no failure, and where the hotfix does not arrive, it goes again, in its own slot.
    assert_eq!(train.summary().measures.change_failure_rate, None);
    assert!(matches!(stage(&train, "mesh-2.1.0"), Stage::Qualified { .. }));
    let mut failing = train.clone();
    failing
        .apply(&ended(&failing, Site::Production, "mesh-2.0.2", 0, Outcome::RolledBack))
        .unwrap();
    assert_eq!(starts(&failing), ["mesh/production/mesh-2.1.0/1"]);
    // Where it does, the nightly lacks it.
    train
        .apply(&ended(&train, Site::Production, "mesh-2.0.2", 0, Outcome::Completed))
        .unwrap();
    assert!(matches!(stage(&train, "mesh-2.1.0"), Stage::Superseded { .. }));
    assert!(starts(&train).is_empty());
    assert_eq!(train.summary().measures.change_failure_rate, Some(0.0));
}

#[test]
fn a_nightly_that_has_the_hotfix_is_not_taken_back_for_it() {
    let mut train = train(Level::L5);
    for input in [ci(1, true), ci(2, true), at(12), built("mesh-2.2.0", "a", 2, None)] {
        train.apply(&input).unwrap();
    }
    train
        .apply(&ended(&train, Site::Canary, "mesh-2.2.0", 0, Outcome::Completed))
        .unwrap();
    train.apply(&at(18)).unwrap();
    train.apply(&facts(&train, "mesh-2.2.0", Some(0.5))).unwrap();
    train.apply(&at(28)).unwrap();
    assert_eq!(starts(&train), ["mesh/production/mesh-2.2.0/0"]);
    hotfix_qualifies(&mut train, 30);
    assert!(taken_back(&train).is_empty());
}

#[test]
fn a_hotfix_goes_before_what_was_chosen_before_it() {
    // The person chose the nightly before there was a slot; no calendar holds it but the hotfix comes first.
    let quiet = "
version: 1
pack: calendar
owner: cto
scope: {fleet: mesh}
freezes: [{id: quiet, from: 2026-11-24, until: 2026-11-28, zone: UTC, owner: cto, select: {lane: nightly}, reason: quiet days}]
";
    let with = |level| {
        let mut config = super::config(level);
        config.calendar = Guard::from_yaml("calendar.yaml", quiet).unwrap();
        let mut train = super::qualified_in(config);
        train.apply(&choose("mesh-2.1.0")).unwrap();
        hotfix_qualifies(&mut train, 20);
        train
    };
    assert_eq!(starts(&with(Level::L5)), ["mesh/production/mesh-2.0.2/0"]);
    let mut train = with(Level::L4);
    assert!(starts(&train).is_empty(), "a person chooses");
    let question = |train: &Train| train.summary().lines[0].question.clone().unwrap();
    let asked = question(&train);
    assert_eq!(asked.recommended, "mesh-2.0.2");
    // Something burns: it is asked again within the hour, not in the next slot.
    assert_eq!(asked.by_unix_ms, train.now_unix_ms() + HOUR_MS);
    train.apply(&at(26)).unwrap();
    assert!(told(&train).iter().any(|(code, _)| code == "train.unanswered"));
    assert_eq!(question(&train).by_unix_ms, train.now_unix_ms() + HOUR_MS);
    // Who saw both and takes the nightly is heard.
    train.apply(&choose("mesh-2.1.0")).unwrap();
    train.apply(&at(5 * 24 - 8)).unwrap();
    assert_eq!(starts(&train), ["mesh/production/mesh-2.1.0/0"]);
}

#[test]
fn a_choice_outlives_the_slots_that_the_calendar_holds() {
    let freeze = "
version: 1
pack: calendar
owner: cto
scope: {fleet: mesh}
freezes: [{id: quiet, from: 2026-11-24, until: 2026-11-28, zone: UTC, owner: cto, reason: quiet days}]
";
    let mut config = super::config(Level::L4);
    config.calendar = Guard::from_yaml("calendar.yaml", freeze).unwrap();
    let mut train = super::qualified_in(config);
    train.apply(&choose("mesh-2.1.0")).unwrap();
    for hours in 19..5 * 24 - 8 {
        train.apply(&at(hours)).unwrap();
        assert!(starts(&train).is_empty(), "{hours}");
    }
    train.apply(&at(5 * 24 - 8)).unwrap();
    assert_eq!(starts(&train), ["mesh/production/mesh-2.1.0/0"]);
}

#[test]
fn a_hotfix_takes_no_slot_from_the_nightlies_and_a_rollback_gives_it_back() {
    let mut train = train(Level::L5);
    train.apply(&at(23)).unwrap();
    hotfix_qualifies(&mut train, 24);
    train
        .apply(&ended(&train, Site::Production, "mesh-2.0.2", 0, Outcome::Completed))
        .unwrap();
    for input in [ci(3, true), at(36), built("mesh-2.3.0", "n", 3, None)] {
        train.apply(&input).unwrap();
    }
    train
        .apply(&ended(&train, Site::Canary, "mesh-2.3.0", 0, Outcome::Completed))
        .unwrap();
    train.apply(&at(41)).unwrap();
    train.apply(&facts(&train, "mesh-2.3.0", Some(0.5))).unwrap();
    assert_eq!(
        starts(&train),
        ["mesh/production/mesh-2.3.0/0"],
        "the slot of 07:30 is open"
    );
    train
        .apply(&ended(&train, Site::Production, "mesh-2.3.0", 0, Outcome::RolledBack))
        .unwrap();
    for input in [ci(4, true), at(60), built("mesh-2.4.0", "m", 4, None)] {
        train.apply(&input).unwrap();
    }
    train
        .apply(&ended(&train, Site::Canary, "mesh-2.4.0", 0, Outcome::Completed))
        .unwrap();
    train.apply(&at(65)).unwrap();
    train.apply(&facts(&train, "mesh-2.4.0", Some(0.5))).unwrap();
    assert_eq!(starts(&train), ["mesh/production/mesh-2.4.0/0"]);
}

#[test]
fn what_was_to_begin_and_did_not_begins_after_a_stop_only_where_somebody_resumes() {
    let mut train = train(Level::L5);
    for input in [ci(1, true), at(12), built("mesh-2.1.0", "a", 1, None)] {
        train.apply(&input).unwrap();
    }
    assert_eq!(starts(&train), ["mesh/canary/mesh-2.1.0/0"]);
    train.apply(&order(Order::StopTheLine { take_back: false })).unwrap();
    // Whether it has begun nobody knows: so its key is bound.
    assert!(starts(&train).is_empty());
    assert_eq!(taken_back(&train), ["mesh/canary/mesh-2.1.0/0"]);
    let Input::Ended { change, mut end } = ended(&train, Site::Canary, "mesh-2.1.0", 0, Outcome::RolledBack) else {
        unreachable!()
    };
    end.exposed = 0;
    train.apply(&Input::Ended { change, end }).unwrap();
    assert_eq!(stage(&train, "mesh-2.1.0"), Stage::Built);
    assert!(starts(&train).is_empty());
    train.apply(&order(Order::Resume)).unwrap();
    assert_eq!(starts(&train), ["mesh/canary/mesh-2.1.0/1"], "under a key of its own");
}

#[test]
fn what_runs_goes_on_where_the_line_is_stopped_without_taking_back() {
    let mut train = qualified(Level::L5);
    train.apply(&at(28)).unwrap();
    has_begun(&mut train);
    train.apply(&order(Order::StopTheLine { take_back: false })).unwrap();
    assert!(taken_back(&train).is_empty());
    assert_eq!(train.said_again().len(), 1);
    assert!(matches!(train.said_again()[0], Command::Start(_)));
    train.apply(&order(Order::StopTheLine { take_back: true })).unwrap();
    assert_eq!(taken_back(&train), ["mesh/production/mesh-2.1.0/0"]);
    assert!(train.said_again().is_empty(), "it is due as it is");
    // Once that was carried out, a kill has it said again, and the start never.
    let numbers: Vec<u64> = train.due().map(|(number, _)| number).collect();
    for number in numbers {
        train.apply(&Input::Done(number)).unwrap();
    }
    assert!(matches!(train.said_again()[..], [Command::TakeBack { .. }]));
}

#[test]
fn whoever_goes_no_further_is_named_and_a_hotfix_loudly() {
    // A nightly that does not get through the canary fleet in time.
    let mut train = train(Level::L5);
    for input in [ci(1, true), at(12), built("mesh-2.1.0", "a", 1, None), at(32)] {
        train.apply(&input).unwrap();
    }
    train
        .apply(&ended(&train, Site::Canary, "mesh-2.1.0", 0, Outcome::RolledBack))
        .unwrap();
    assert_eq!(severities(&train, "train.skipped"), [Severity::Info]);
    // A hotfix that the canary fleet rolls back.
    train.apply(&ci(2, true)).unwrap();
    let commit = "c2".to_owned();
    train.apply(&order(Order::Hotfix { commit })).unwrap();
    train.apply(&built("mesh-2.0.2", "h", 2, Some(0))).unwrap();
    train
        .apply(&ended(&train, Site::Canary, "mesh-2.0.2", 0, Outcome::RolledBack))
        .unwrap();
    assert_eq!(severities(&train, "train.hotfix_failed"), [Severity::Critical]);
    // Slots in which nothing went.
    assert!(severities(&train, "train.slot_empty").is_empty());
    train.apply(&at(48)).unwrap();
    let empty: Vec<String> = told(&train)
        .into_iter()
        .filter(|(code, _)| code == "train.slot_empty")
        .map(|(_, text)| text)
        .collect();
    assert_eq!(empty.len(), 1);
    assert!(
        empty[0].contains("2026-11-24 07:30 UTC") && empty[0].contains("mesh-2.1.0"),
        "{empty:?}"
    );
}

#[test]
fn what_still_does_not_end_after_somebody_resumed_calls_again() {
    let mut train = qualified(Level::L5);
    train.apply(&at(28)).unwrap();
    let stuck = |train: &Train| told(train).iter().filter(|(code, _)| code == "train.stuck").count();
    train.apply(&at(28 + 96)).unwrap();
    train.apply(&at(28 + 96 + 48)).unwrap();
    assert_eq!(stuck(&train), 1);
    train.apply(&order(Order::Resume)).unwrap();
    assert_eq!(taken_back(&train).len(), 2, "said again");
    train.apply(&at(28 + 96 + 95)).unwrap();
    assert_eq!(stuck(&train), 1);
    train.apply(&at(28 + 96 + 96)).unwrap();
    assert_eq!(stuck(&train), 2);
    assert!(train.summary().lines[0].stopped.is_some());
}

#[test]
fn below_l5_the_canary_fleet_is_under_a_standing_order_of_whoever_granted_the_level() {
    let author = |level| {
        let mut train = train(level);
        for input in [ci(1, true), at(12), built("mesh-2.1.0", "a", 1, None)] {
            train.apply(&input).unwrap();
        }
        train
            .due()
            .find_map(|(_, command)| match command {
                Command::Start(order) => Some(order.author.to_string()),
                _ => None,
            })
            .unwrap()
    };
    assert_eq!(
        author(Level::L4),
        "li (standing order: releases of mesh go to the canary fleet)"
    );
    assert!(author(Level::L5).starts_with("train"), "{}", author(Level::L5));
}

/// At L5 it would be taken back for the hotfix as soon as it had begun.
#[test]
fn who_chooses_a_nightly_at_l5_hears_that_a_hotfix_goes_first() {
    let quiet = "
version: 1
pack: calendar
owner: cto
scope: {fleet: mesh}
freezes: [{id: quiet, from: 2026-11-24, until: 2026-11-28, zone: UTC, owner: cto, reason: quiet days}]
";
    let mut config = super::config(Level::L5);
    config.calendar = Guard::from_yaml("calendar.yaml", quiet).unwrap();
    let mut train = super::qualified_in(config);
    hotfix_qualifies(&mut train, 20);
    let choose = || Order::Choose {
        version: "mesh-2.1.0".to_owned(),
    };
    let refusal = train.apply(&order(choose())).unwrap_err();
    assert!(refusal.to_string().contains("hotfix mesh-2.0.2"), "{refusal}");
    // Whoever does not want it says so, and is heard then.
    let version = "mesh-2.0.2".to_owned();
    train.apply(&order(Order::Skip { version })).unwrap();
    train.apply(&order(choose())).unwrap();
    train.apply(&at(5 * 24)).unwrap();
    assert_eq!(starts(&train), ["mesh/production/mesh-2.1.0/0"]);
}

#[test]
fn who_gives_a_hotfix_up_while_it_is_built_is_named() {
    let mut train = train(Level::L5);
    let commit = || "c1".to_owned();
    for input in [ci(1, true), order(Order::Hotfix { commit: commit() })] {
        train.apply(&input).unwrap();
    }
    train.apply(&order(Order::Skip { version: commit() })).unwrap();
    let told = told(&train);
    let skipped = told.iter().find(|(code, _)| code == "train.skipped").unwrap();
    assert!(skipped.1.contains("c1") && skipped.1.contains("li"), "{}", skipped.1);
}

/// It had given way, and was not to come back after all.
#[test]
fn the_harder_reason_is_the_one_that_is_told() {
    let mut train = qualified(Level::L5);
    train.apply(&at(28)).unwrap();
    carried_out(&mut train);
    hotfix_qualifies(&mut train, 30);
    assert_eq!(taken_back(&train).len(), 1);
    train.apply(&order(Order::StopTheLine { take_back: true })).unwrap();
    train
        .apply(&ended(&train, Site::Production, "mesh-2.1.0", 0, Outcome::RolledBack))
        .unwrap();
    let stage = stage(&train, "mesh-2.1.0");
    assert!(stage.why().unwrap().contains("stopped the line"), "{stage:?}");
}

#[test]
fn a_hotfix_that_is_bad_on_the_canary_fleet_casts_no_doubt_on_what_production_has() {
    let mut train = train(Level::L5);
    for input in [ci(1, true), ci(2, true)] {
        train.apply(&input).unwrap();
    }
    let hotfix = |commit: &str| {
        order(Order::Hotfix {
            commit: commit.to_owned(),
        })
    };
    train.apply(&hotfix("c1")).unwrap();
    train.apply(&built("mesh-2.0.1", "h", 1, Some(0))).unwrap();
    train
        .apply(&ended(&train, Site::Canary, "mesh-2.0.1", 0, Outcome::Completed))
        .unwrap();
    train.apply(&at(5)).unwrap();
    train.apply(&facts(&train, "mesh-2.0.1", Some(0.5))).unwrap();
    train
        .apply(&ended(&train, Site::Production, "mesh-2.0.1", 0, Outcome::Completed))
        .unwrap();
    train.apply(&hotfix("c2")).unwrap();
    let Input::Built { line, mut artefact } = built("mesh-2.0.3", "i", 2, Some(0)) else {
        unreachable!("it is one")
    };
    artefact.picks = vec![1];
    train.apply(&Input::Built { line, artefact }).unwrap();
    train
        .apply(&ended(&train, Site::Canary, "mesh-2.0.3", 0, Outcome::RolledBack))
        .unwrap();
    let suspects = train.due().find_map(|(_, command)| match command {
        Command::Suspects { commits, .. } => Some(commits.clone()),
        _ => None,
    });
    assert_eq!(suspects.unwrap(), ["c2"]);
}

/// The hotfix was beyond the budget, so a person was asked, and chose the nightly; the budget's day ends while that is on its way.
#[test]
fn what_a_person_chose_beside_a_qualified_hotfix_is_not_taken_back_for_it() {
    let mut config = super::config(Level::L5);
    config.lines[0].budget.production_starts_per_day = 1;
    let mut train = super::qualified_in(config);
    train.apply(&at(28)).unwrap();
    train
        .apply(&ended(&train, Site::Production, "mesh-2.1.0", 0, Outcome::Completed))
        .unwrap();
    for input in [ci(2, true), at(36), built("mesh-2.2.0", "b", 2, None)] {
        train.apply(&input).unwrap();
    }
    train
        .apply(&ended(&train, Site::Canary, "mesh-2.2.0", 0, Outcome::Completed))
        .unwrap();
    train.apply(&at(40)).unwrap();
    train.apply(&facts(&train, "mesh-2.2.0", Some(0.5))).unwrap();
    let commit = "c3".to_owned();
    let hotfix = built("mesh-2.1.3", "h", 3, Some(1));
    for input in [ci(3, true), order(Order::Hotfix { commit }), hotfix] {
        train.apply(&input).unwrap();
    }
    train
        .apply(&ended(&train, Site::Canary, "mesh-2.1.3", 0, Outcome::Completed))
        .unwrap();
    train.apply(&at(44)).unwrap();
    train.apply(&facts(&train, "mesh-2.1.3", Some(0.5))).unwrap();
    assert!(matches!(stage(&train, "mesh-2.1.3"), Stage::Qualified { .. }));
    carried_out(&mut train);
    train.apply(&at(48)).unwrap();
    assert!(starts(&train).is_empty(), "beyond the budget");
    train.apply(&choose("mesh-2.2.0")).unwrap();
    assert_eq!(starts(&train), ["mesh/production/mesh-2.2.0/0"]);
    carried_out(&mut train);
    train.apply(&at(53)).unwrap();
    assert!(taken_back(&train).is_empty());
    // Chosen after all, the hotfix goes.
    train.apply(&choose("mesh-2.1.3")).unwrap();
    assert_eq!(taken_back(&train), ["mesh/production/mesh-2.2.0/0"]);
}

/// It waits for its turn while a nightly leaves the canary fleet between two versions: there is an artefact of it.
#[test]
fn a_hotfix_that_is_on_its_way_is_not_built_twice_for_a_mixed_canary_fleet() {
    let mut train = train(Level::L4);
    hotfix_qualifies(&mut train, 5);
    assert!(matches!(stage(&train, "mesh-2.0.2"), Stage::Qualified { .. }));
    for input in [ci(3, true), at(12), built("mesh-2.3.0", "b", 3, None)] {
        train.apply(&input).unwrap();
    }
    train
        .apply(&ended(&train, Site::Canary, "mesh-2.3.0", 0, Outcome::Aborted))
        .unwrap();
    carried_out(&mut train);
    let commit = "c2".to_owned();
    train.apply(&order(Order::Hotfix { commit })).unwrap();
    let build = |(_, command): &(u64, &Command)| matches!(command, Command::Build(_));
    assert_eq!(train.due().filter(build).count(), 0);
}
