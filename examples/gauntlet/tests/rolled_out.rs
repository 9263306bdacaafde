//! Releases that are rolled out: on how many threads, one alone, by every policy; and what the command line refuses.

use std::path::PathBuf;

use unattended_examples_support::{Failure, Synthetic};
use unattended_simulated::World;

use super::{SMALL, options};
use crate::baseline;
use crate::ground::Ground;
use crate::options::{Choice, Options, Policy};
use crate::scenario::Scenario;
use crate::{ours, runs};

#[test]
fn the_result_does_not_depend_on_threads() {
    let scenario = Scenario::parse(SMALL, "own.json", &World::default()).unwrap();
    let run = |threads| {
        let options = options(Choice::Ours, threads);
        runs::all(
            &options,
            0..6,
            &scenario,
            options.synthetic().unwrap(),
            &World::default(),
        )
        .unwrap()
    };
    let (one, three) = (run(1), run(3));
    assert_eq!(one, three);
    assert_eq!(one[0].1.iter().filter(|trial| trial.bad).count(), 3);
}

#[test]
fn one_release_alone_is_the_same_release() {
    let scenario = Scenario::parse(SMALL, "own.json", &World::default()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(Choice::Ours, 2);
    let run = |options: &Options| {
        let numbers = options.numbers().unwrap();
        runs::all(
            options,
            numbers,
            &scenario,
            options.synthetic().unwrap(),
            &World::default(),
        )
        .unwrap()
    };
    let all = run(&options);
    options.only = Some(4);
    options.pages = Some(folder.path().to_owned());
    options.check_folders().unwrap();
    assert_eq!(run(&options)[0].1, [all[0].1[4].clone()]);
    let page = std::fs::read_to_string(folder.path().join("4.html")).unwrap();
    assert!(page.contains("</html>"), "{page}");
    options.only = Some(6);
    assert!(matches!(options.numbers(), Err(Failure::Input(message)) if message.contains("go from 0 to 5")));
    options.pages = Some(folder.path().join("4.html"));
    assert!(options.check_folders().is_err());
    options.pages = Some(folder.path().to_owned());
    options.policy = Choice::Argo;
    assert!(matches!(options.check_folders(), Err(Failure::Input(message)) if message.contains("--policy all")));
    options.policy = Choice::All;
    options.check_folders().unwrap();
}

#[test]
fn every_policy_lets_a_good_release_through_a_calm_world_and_stops_a_crash() {
    let text = SMALL.replacen("errors=x{4..9}@zone={any}", "crash", 1);
    let world = World {
        error_rate_low: 1e-3,
        quiet_app_share: 0.0,
        ..World::calm()
    };
    let scenario = Scenario::parse(&text, "own.json", &world).unwrap();
    let fleet = Synthetic::parse("600x8").unwrap();
    let [good, bad] = [0, 1].map(|family| Ground::new(&scenario, fleet, family, &world, 11).unwrap());
    for policy in [
        Policy::Argo,
        Policy::Flagger,
        Policy::Kayenta,
        Policy::Zscore,
        Policy::Fixed,
    ] {
        let run = |ground| baseline::run(policy, ground, 0.05, None).unwrap();
        let stopped = run(&bad);
        assert!(
            stopped.stopped && stopped.bad && stopped.detectable,
            "{policy:?}: {stopped:?}"
        );
        assert!(
            stopped.exposed >= stopped.first_step && stopped.exposed < 600,
            "{policy:?}: {stopped:?}"
        );
        if matches!(policy, Policy::Argo | Policy::Flagger | Policy::Fixed) {
            let through = run(&good);
            assert!(
                !through.stopped && through.human_actions == 0,
                "{policy:?}: {through:?}"
            );
            assert!(through.harm.abs() < 1e-9 && through.hours > 0.0);
        }
    }
    let stopped = ours::run(&bad, None, None).unwrap();
    assert!(
        stopped.stopped && !stopped.by_person && !stopped.before_onset && stopped.exposed <= 3 * stopped.first_step,
        "{stopped:?}"
    );
}

#[test]
fn options_that_contradict_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let page = |path: PathBuf| {
        Options {
            html: Some(path),
            ..options(Choice::Ours, 1)
        }
        .check_page()
    };
    assert!(page(folder.path().join("page.html")).is_ok());
    assert!(page(folder.path().to_owned()).is_err());
    assert!(page(folder.path().join("no/page.html")).is_err());
    let input = folder.path().join("own.json");
    let over = Options {
        scenario: Some(input.clone()),
        html: Some(input),
        ..options(Choice::Ours, 1)
    };
    assert!(matches!(over.check_page(), Err(Failure::Input(message)) if message.contains("over an input")));
}
