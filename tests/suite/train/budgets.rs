//! Budgets, which cap even L5.

use unattended::train::{Command, Order, Refusal, Site, Train, TrainBudget};
use unattended::{Level, Outcome};

use super::autonomy::{because, bot, grant, in_production, qualifies, says};
use super::{at, built, carried_out, ci, config, ended, order, qualified_in, starts};

#[test]
fn beyond_each_budget_a_person_is_asked_at_l5_too_and_heard() {
    let whole = TrainBudget::default;
    let hour = 3_600_000;
    for (budget, why) in [
        // The release has one commit, and is 16 hours old in its slot.
        (
            TrainBudget {
                most_commits: 1,
                ..whole()
            },
            None,
        ),
        (
            TrainBudget {
                most_commits: 0,
                ..whole()
            },
            Some("it brings 1 commits, more than 0 (most_commits)"),
        ),
        (
            TrainBudget {
                oldest_ms: 17 * hour,
                ..whole()
            },
            None,
        ),
        (
            TrainBudget {
                oldest_ms: 16 * hour,
                ..whole()
            },
            Some("oldest_ms"),
        ),
        (
            TrainBudget {
                production_starts_per_day: 0,
                ..whole()
            },
            Some("production_starts_per_day"),
        ),
        (
            TrainBudget {
                failures_per_week: 0,
                ..whole()
            },
            Some("failures_per_week"),
        ),
    ] {
        let mut config = config(Level::L5);
        config.lines[0].budget = budget.clone();
        let mut train = qualified_in(config);
        train.apply(&at(28)).unwrap();
        assert_eq!(in_production(&train), why.is_none(), "{budget:?}");
        let Some(why) = why else { continue };
        assert!(because(&train).unwrap().contains(why), "{:?}", because(&train));
        // A program's word does not lift it, a person's does.
        let version = || "mesh-2.1.0".to_owned();
        train.apply(&says(bot(), Order::Choose { version: version() })).unwrap();
        assert!(
            !in_production(&train) && because(&train).unwrap().contains(why),
            "{budget:?}"
        );
        train.apply(&order(Order::Choose { version: version() })).unwrap();
        assert!(in_production(&train), "{budget:?}");
    }
}

/// A nightly went at hour 28 and was rolled back an hour later; another one has qualified.
fn after_a_failure(budget: TrainBudget) -> Train {
    let mut config = config(Level::L5);
    config.lines[0].budget = budget;
    let mut train = qualified_in(config);
    train.apply(&at(28)).unwrap();
    assert!(in_production(&train));
    carried_out(&mut train);
    train.apply(&at(29)).unwrap();
    train
        .apply(&ended(&train, Site::Production, "mesh-2.1.0", 0, Outcome::RolledBack))
        .unwrap();
    for input in [ci(2, true), at(36), built("mesh-2.2.0", "b", 2, None)] {
        train.apply(&input).unwrap();
    }
    qualifies(&mut train, "mesh-2.2.0", 42);
    train
}

#[test]
fn starts_count_for_a_day_and_failures_for_a_week() {
    let two = |starts: u32, failures: u32| TrainBudget {
        production_starts_per_day: starts,
        failures_per_week: failures,
        ..TrainBudget::default()
    };
    // The slot that the failed one gave back is still open.
    assert!(in_production(&after_a_failure(two(2, 2))));
    for (budget, spent_until, word) in [(two(1, 2), 52, "per_day"), (two(2, 1), 29 + 7 * 24, "per_week")] {
        let mut train = after_a_failure(budget);
        train.apply(&at(spent_until - 1)).unwrap();
        assert!(because(&train).unwrap().contains(word), "{:?}", because(&train));
        assert!(!in_production(&train), "{word}");
        train.apply(&at(spent_until)).unwrap();
        assert!(in_production(&train), "{word}");
        assert_eq!(because(&train), None);
    }
}

#[test]
fn what_mends_waits_for_no_week() {
    let mut train = after_a_failure(TrainBudget {
        failures_per_week: 1,
        ..TrainBudget::default()
    });
    assert!(!in_production(&train) && because(&train).is_some());
    train.apply(&ci(3, true)).unwrap();
    let commit = "c3".to_owned();
    train.apply(&order(Order::Hotfix { commit })).unwrap();
    train.apply(&built("mesh-2.0.3", "h", 3, Some(0))).unwrap();
    qualifies(&mut train, "mesh-2.0.3", 47);
    assert!(starts(&train).contains(&"mesh/production/mesh-2.0.3/0".to_owned()));
}

#[test]
fn to_give_way_is_no_failure() {
    let mut config = config(Level::L5);
    config.lines[0].budget.failures_per_week = 1;
    let mut train = qualified_in(config);
    train.apply(&at(28)).unwrap();
    carried_out(&mut train);
    train.apply(&ci(2, true)).unwrap();
    let commit = "c2".to_owned();
    train.apply(&order(Order::Hotfix { commit })).unwrap();
    train.apply(&built("mesh-2.0.2", "h", 2, Some(0))).unwrap();
    qualifies(&mut train, "mesh-2.0.2", 33);
    // The nightly had touched something, and is back.
    train
        .apply(&ended(&train, Site::Production, "mesh-2.1.0", 0, Outcome::RolledBack))
        .unwrap();
    carried_out(&mut train);
    train
        .apply(&ended(&train, Site::Production, "mesh-2.0.2", 0, Outcome::Completed))
        .unwrap();
    for input in [ci(3, true), at(36), built("mesh-2.3.0", "b", 3, None)] {
        train.apply(&input).unwrap();
    }
    qualifies(&mut train, "mesh-2.3.0", 42);
    train.apply(&at(48)).unwrap();
    assert!(in_production(&train), "{:?}", because(&train));
}

#[test]
fn what_a_person_chose_counts_against_no_budget() {
    let budget = TrainBudget {
        production_starts_per_day: 1,
        ..TrainBudget::default()
    };
    let mut config = config(Level::L4);
    config.lines[0].budget = budget;
    let mut train = qualified_in(config);
    let choose = |version: &str| {
        let version = version.to_owned();
        order(Order::Choose { version })
    };
    train.apply(&choose("mesh-2.1.0")).unwrap();
    assert!(in_production(&train));
    carried_out(&mut train);
    train
        .apply(&ended(&train, Site::Production, "mesh-2.1.0", 0, Outcome::Completed))
        .unwrap();
    train.apply(&order(grant(Level::L5, 1_000))).unwrap();
    train.apply(&ci(2, true)).unwrap();
    let commit = "c2".to_owned();
    train.apply(&order(Order::Hotfix { commit })).unwrap();
    train.apply(&built("mesh-2.1.2", "h", 2, Some(1))).unwrap();
    qualifies(&mut train, "mesh-2.1.2", 23);
    assert!(in_production(&train), "{:?}", because(&train));
}

#[test]
fn programs_order_so_many_hotfixes_a_day_and_people_any() {
    let mut config = config(Level::L5);
    config.lines[0].budget.hotfixes_per_day = 1;
    let mut train = Train::new(config).unwrap();
    for number in 1..=4 {
        train.apply(&ci(number, true)).unwrap();
    }
    let hotfix = |commit: &str| Order::Hotfix {
        commit: commit.to_owned(),
    };
    for _ in 0..2 {
        train.apply(&says(bot(), hotfix("c1"))).unwrap();
    }
    for _ in 0..2 {
        let refused = train.apply(&says(bot(), hotfix("c2"))).unwrap_err();
        assert!(matches!(refused, Refusal::BeyondBudget { .. }), "{refused}");
    }
    train.apply(&order(hotfix("c3"))).unwrap();
    train.apply(&at(23)).unwrap();
    train.apply(&says(bot(), hotfix("c4"))).unwrap_err();
    train.apply(&at(24)).unwrap();
    train.apply(&says(bot(), hotfix("c4"))).unwrap();
}

/// To give one up makes no room for another.
#[test]
fn a_hotfix_that_is_given_up_is_not_built_and_is_spent() {
    let mut config = config(Level::L5);
    config.lines[0].budget.hotfixes_per_day = 2;
    let mut train = Train::new(config).unwrap();
    train.apply(&ci(1, true)).unwrap();
    let builds = |train: &Train| {
        let build = |(_, command): &(u64, &Command)| matches!(command, Command::Build(_));
        train.due().filter(build).count()
    };
    let hotfix = || {
        let commit = "c1".to_owned();
        says(bot(), Order::Hotfix { commit })
    };
    for _ in 0..2 {
        train.apply(&hotfix()).unwrap();
        assert_eq!(builds(&train), 1);
        let version = "c1".to_owned();
        train.apply(&says(bot(), Order::Skip { version })).unwrap();
        assert_eq!(builds(&train), 0);
    }
    let refused = train.apply(&hotfix()).unwrap_err();
    assert!(matches!(refused, Refusal::BeyondBudget { .. }), "{refused}");
}

#[test]
fn what_a_program_chose_beyond_a_budget_is_asked_about_before_its_slot_too() {
    let mut config = config(Level::L5);
    config.lines[0].budget.most_commits = 0;
    let mut train = qualified_in(config);
    let version = "mesh-2.1.0".to_owned();
    train.apply(&says(bot(), Order::Choose { version })).unwrap();
    assert!(because(&train).unwrap().contains("most_commits"));
}

#[test]
fn commits_that_ci_never_told_of_count_against_the_budget() {
    let mut config = config(Level::L5);
    config.lines[0].budget.most_commits = 10;
    let mut train = Train::new(config).unwrap();
    for input in [ci(5_000, true), at(12), built("mesh-2.1.0", "a", 5_000, None)] {
        train.apply(&input).unwrap();
    }
    qualifies(&mut train, "mesh-2.1.0", 18);
    train.apply(&at(28)).unwrap();
    assert!(
        because(&train).unwrap().contains("it brings 5000 commits"),
        "{:?}",
        because(&train)
    );
}
