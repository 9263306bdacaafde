//! The page of a train.

use unattended::report::train_page;
use unattended::train::{Input, Order, Site, Train};
use unattended::{Level, Outcome};

use super::{at, built, ci, config, ended, order, qualified};

#[test]
fn the_page_says_where_the_train_stands_and_what_to_do() {
    let mut train = qualified(Level::L4);
    let page = train_page(&train.summary());
    assert!(page.contains("Nobody has to do anything"), "{page}");
    train.apply(&at(28)).unwrap();
    assert!(train_page(&train.summary()).contains("recommended: mesh-2.1.0"));
    train.apply(&order(Order::StopTheLine { take_back: false })).unwrap();
    assert!(train_page(&train.summary()).contains("It stands still: li (desk): a test"));
}

#[test]
fn what_was_stopped_is_there_with_its_reason_and_its_place_on_the_map() {
    let mut train = qualified(Level::L5);
    for input in [ci(2, true), at(36), built("mesh-2.2.0", "b", 2, None)] {
        train.apply(&input).unwrap();
    }
    train
        .apply(&ended(&train, Site::Canary, "mesh-2.2.0", 0, Outcome::RolledBack))
        .unwrap();
    train
        .apply(&ended(&train, Site::Production, "mesh-2.1.0", 0, Outcome::Completed))
        .unwrap();
    let page = train_page(&train.summary());
    assert!(page.contains("mesh-2.2.0 was stopped on the canary fleet"), "{page}");
    assert!(page.contains("rolled_back on the canary fleet: seen"));
    // Both drawings, each with one line that arrived and one that was stopped.
    for class in ["<g class=\"arrived\">", "<g class=\"barred\">"] {
        assert_eq!(page.matches(class).count(), 2, "{class}");
    }
    assert_eq!(page, train_page(&train.summary()), "the same bytes");
}

#[test]
fn names_are_escaped_and_nothing_is_loaded_or_run() {
    let mut config = config(Level::L5);
    config.lines[0].id = "<script>alert(1)</script>".into();
    let id = config.lines[0].id.clone();
    let mut train = Train::new(config).unwrap();
    let Input::Ci { mut commit, green, .. } = ci(1, true) else {
        unreachable!()
    };
    commit.id = "\"><img src=x>".to_owned();
    train
        .apply(&Input::Ci {
            line: id,
            commit,
            green,
        })
        .unwrap();
    train.apply(&at(12)).unwrap();
    let page = train_page(&train.summary());
    assert!(!page.contains("<script") && !page.contains("<img"));
    for wrong in ["NaN", "http://", "https://"] {
        let outside = page.replace("http://www.w3.org/2000/svg", "");
        assert!(!outside.contains(wrong), "{wrong}");
    }
}
