//! Ends that contradict what was wanted, hands, and what nobody can do twice.

use unattended::train::{ChangeEnd, ChangeKey, Command, Input, Order, Refusal, Site, Stage, Train};
use unattended::{Actor, Level, Outcome};

use super::{at, built, carried_out, ci, ended, facts, line, order, qualified, stage, starts, train};

fn taken_back(train: &Train) -> usize {
    let back = |(_, command): &(u64, &Command)| matches!(command, Command::TakeBack { .. });
    train.due().filter(back).count()
}

fn end_of(train: &Train, site: Site, outcome: Outcome, exposed: u64, hands: u64) -> Input {
    Input::Ended {
        change: ChangeKey::new(&line(), site, "mesh-2.1.0", 0),
        end: ChangeEnd {
            outcome,
            at_unix_ms: train.now_unix_ms(),
            exposed,
            human_actions: hands,
            why: "seen".to_owned(),
        },
    }
}

/// The nightly of commit 1 is on its way to production, and that is known.
fn on_its_way() -> Train {
    let mut train = qualified(Level::L5);
    train.apply(&at(28)).unwrap();
    carried_out(&mut train);
    train
}

fn hotfix_ordered(train: &mut Train) {
    train.apply(&ci(2, true)).unwrap();
    let commit = "c2".to_owned();
    train.apply(&order(Order::Hotfix { commit })).unwrap();
    train.apply(&built("mesh-2.0.2", "h", 2, Some(0))).unwrap();
}

/// The hotfix has qualified, and the nightly in production gives way to it.
fn gives_way() -> Train {
    let mut train = on_its_way();
    hotfix_ordered(&mut train);
    train
        .apply(&ended(&train, Site::Canary, "mesh-2.0.2", 0, Outcome::Completed))
        .unwrap();
    train.apply(&at(33)).unwrap();
    train.apply(&facts(&train, "mesh-2.0.2", Some(0.5))).unwrap();
    assert_eq!(taken_back(&train), 1);
    train
}

fn stopped(train: &Train) -> Option<String> {
    train.summary().lines[0].stopped.clone()
}

#[test]
fn production_that_is_left_in_between_stops_the_line_for_a_person() {
    for outcome in [
        Outcome::RolledBackPartially,
        Outcome::Frozen,
        Outcome::Waiting,
        Outcome::Aborted,
    ] {
        let mut train = on_its_way();
        train.apply(&end_of(&train, Site::Production, outcome, 5, 0)).unwrap();
        assert!(stopped(&train).unwrap().contains(outcome.as_str()), "{outcome:?}");
        assert_eq!(train.summary().lines[0].production, "mesh-2.0.0");
    }
    // On the way back for a hotfix, too: it has not given way as it should have.
    let mut train = gives_way();
    let end = end_of(&train, Site::Production, Outcome::RolledBackPartially, 5, 0);
    train.apply(&end).unwrap();
    assert!(stopped(&train).is_some());
    assert!(matches!(stage(&train, "mesh-2.1.0"), Stage::Expired { .. }));
    assert_eq!(train.summary().measures.change_failure_rate, Some(1.0));
    assert!(!starts(&train).iter().any(|key| key.contains("production/mesh-2.0.2")));
}

#[test]
fn what_arrives_although_it_was_barred_stops_the_line() {
    let mut train = on_its_way();
    train.apply(&ci(1, false)).unwrap_err();
    assert_eq!(taken_back(&train), 1);
    train
        .apply(&end_of(&train, Site::Production, Outcome::Completed, 10, 0))
        .unwrap();
    assert_eq!(train.summary().lines[0].production, "mesh-2.1.0");
    assert!(stopped(&train).unwrap().contains("was to be taken back"));
}

#[test]
fn the_harder_reason_to_take_a_change_back_stands() {
    // It gave way; then it turned out to be doubtful, or somebody wanted it back.
    let skip = order(Order::Skip {
        version: "mesh-2.1.0".to_owned(),
    });
    for harder in [skip, order(Order::StopTheLine { take_back: true })] {
        let mut train = gives_way();
        train.apply(&harder).unwrap();
        train
            .apply(&end_of(&train, Site::Production, Outcome::RolledBack, 5, 0))
            .unwrap();
        let stage = stage(&train, "mesh-2.1.0");
        assert!(!matches!(stage, Stage::Qualified { .. }), "{stage:?}");
    }
    let mut train = gives_way();
    train
        .apply(&end_of(&train, Site::Production, Outcome::RolledBack, 5, 0))
        .unwrap();
    assert!(matches!(stage(&train, "mesh-2.1.0"), Stage::Qualified { .. }));
}

#[test]
fn nothing_gives_way_on_a_line_that_stands_still() {
    let mut train = train(Level::L5);
    for input in [ci(1, true), at(12), built("mesh-2.1.0", "a", 1, None)] {
        train.apply(&input).unwrap();
    }
    carried_out(&mut train);
    train.apply(&ci(2, true)).unwrap();
    let commit = "c2".to_owned();
    train.apply(&order(Order::Hotfix { commit })).unwrap();
    train.apply(&order(Order::StopTheLine { take_back: false })).unwrap();
    train.apply(&built("mesh-2.0.2", "h", 2, Some(0))).unwrap();
    assert_eq!(taken_back(&train), 0, "the hotfix could not begin");
    // Nor does what soaks.
    train
        .apply(&ended(&train, Site::Canary, "mesh-2.1.0", 0, Outcome::Completed))
        .unwrap();
    assert!(matches!(stage(&train, "mesh-2.1.0"), Stage::Soaking { .. }));
    train.apply(&order(Order::Resume)).unwrap();
    assert!(matches!(stage(&train, "mesh-2.1.0"), Stage::Superseded { .. }));
}

#[test]
fn every_hand_counts_once_and_takes_the_release_out_of_the_unattended() {
    let mut train = on_its_way();
    train
        .apply(&end_of(&train, Site::Production, Outcome::Completed, 10, 3))
        .unwrap();
    let measures = train.summary().measures;
    assert_eq!((measures.human_actions, measures.unattended_share), (3, Some(0.0)));
    assert_eq!(train.summary().lines[0].releases[0].human_actions, 3);
    // What people did on the canary fleet is a hand, too.
    let mut train = super::train(Level::L5);
    for input in [ci(1, true), at(12), built("mesh-2.1.0", "a", 1, None)] {
        train.apply(&input).unwrap();
    }
    train
        .apply(&end_of(&train, Site::Canary, Outcome::Completed, 10, 1))
        .unwrap();
    train.apply(&at(18)).unwrap();
    train.apply(&facts(&train, "mesh-2.1.0", Some(0.5))).unwrap();
    train.apply(&at(28)).unwrap();
    train
        .apply(&end_of(&train, Site::Production, Outcome::Completed, 10, 0))
        .unwrap();
    let measures = train.summary().measures;
    assert_eq!((measures.human_actions, measures.unattended_share), (1, Some(0.0)));
}

#[test]
fn below_l5_no_program_chooses_and_at_none_does_one_resume() {
    let mut train = qualified(Level::L4);
    train.apply(&at(28)).unwrap();
    let bot = |order: Order| Input::Order {
        line: line(),
        order,
        actor: Actor::program("bot", "cron"),
        reason: "a test".to_owned(),
    };
    let version = || "mesh-2.1.0".to_owned();
    let refused = train.apply(&bot(Order::Choose { version: version() })).unwrap_err();
    assert!(matches!(refused, Refusal::NeedsPerson { .. }), "{refused}");
    assert!(!starts(&train).iter().any(|key| key.contains("production")));
    assert!(train.summary().lines[0].question.is_some(), "it is still asked");
    assert_eq!(train.summary().measures.human_actions, 0, "a program has no hands");
}

/// Of two releases that bring a commit, the first one that arrives counts for it.
#[test]
fn a_commit_arrives_once() {
    let mut train = on_its_way();
    train.apply(&at(30)).unwrap();
    train
        .apply(&end_of(&train, Site::Production, Outcome::Completed, 10, 0))
        .unwrap();
    for input in [ci(2, true), at(36), built("mesh-2.2.0", "b", 2, None)] {
        train.apply(&input).unwrap();
    }
    train
        .apply(&ended(&train, Site::Canary, "mesh-2.2.0", 0, Outcome::Completed))
        .unwrap();
    train.apply(&at(41)).unwrap();
    train.apply(&facts(&train, "mesh-2.2.0", Some(0.5))).unwrap();
    train.apply(&at(48)).unwrap();
    train.apply(&at(60)).unwrap();
    train
        .apply(&ended(&train, Site::Production, "mesh-2.2.0", 0, Outcome::Completed))
        .unwrap();
    // 30 hours for the first, 60 for the second: of three values the median would be another.
    assert_eq!(train.summary().measures.lead_time_hours_median, Some(45.0));
}

#[test]
fn what_production_has_is_not_skipped() {
    let mut train = on_its_way();
    train
        .apply(&end_of(&train, Site::Production, Outcome::Completed, 10, 0))
        .unwrap();
    let version = "mesh-2.1.0".to_owned();
    let refused = train.apply(&order(Order::Skip { version })).unwrap_err();
    assert!(matches!(refused, Refusal::NotSkipped { .. }), "{refused}");
    assert_eq!(stage(&train, "mesh-2.1.0"), Stage::InProduction);
}

/// A line has a history before its train.
#[test]
fn a_train_may_begin_far_along_its_line() {
    let mut config = super::config(Level::L5);
    config.lines[0].head = 5_000_000;
    let mut train = Train::new(config).unwrap();
    train.apply(&ci(5_000_001, true)).unwrap();
}

#[test]
fn a_commit_that_is_absurdly_far_is_refused_and_ends_no_nightly() {
    let mut train = train(Level::L5);
    train.apply(&ci(1, true)).unwrap();
    let refused = train.apply(&ci(u64::MAX, true)).unwrap_err();
    assert!(matches!(refused, Refusal::CommitTooFar { .. }), "{refused}");
    assert!(
        refused
            .to_string()
            .contains("no line grows by more than 100000 at once"),
        "{refused}"
    );
    train.apply(&ci(100_001, true)).unwrap();
    train.apply(&ci(100_002 + 100_000, true)).unwrap_err();
    train.apply(&at(12)).unwrap();
    let heads: Vec<u64> = train
        .due()
        .filter_map(|(_, command)| match command {
            Command::Build(order) => Some(order.head),
            _ => None,
        })
        .collect();
    assert_eq!(heads, [100_001]);
}
