//! A short quarter: what it promises, and that it can be played again. The long ones are golden in `.ci/run`.

use clap::Parser;
use unattended::Level;

use crate::options::Options;
use crate::output;
use crate::quarter::{Quarter, run};

fn play(arguments: &[&str]) -> Quarter {
    let mut options = Options::try_parse_from([&["train"], arguments].concat()).unwrap();
    options.nights = 12;
    run(&options).unwrap()
}

#[test]
fn a_fortnight_drives_itself_over_a_kill() {
    let quarter = play(&["--cadence", "nightly"]);
    assert_eq!(quarter.kills, 1);
    assert_eq!(quarter.started_twice(), 0);
    assert_eq!(quarter.nightlies().count(), 12);
    assert_eq!(quarter.summary.measures.human_actions, 0);
    assert!(quarter.summary.measures.releases >= 3, "{}", output::text(&quarter));
    assert_eq!(quarter.bad_reached_production(), 0);
    // Every nightly is accounted for: none is lost under way.
    for release in quarter.nightlies() {
        assert!(
            !release.stage.is_live(),
            "{} is {}",
            release.version,
            release.stage.as_str()
        );
    }
}

#[test]
fn at_level_4_somebody_chooses_each_release() {
    let quarter = play(&["--cadence", "nightly", "--level", "4", "--seed", "3"]);
    let measures = &quarter.summary.measures;
    assert_eq!(quarter.level, Level::L4);
    assert!(
        measures.releases >= 3 && measures.human_actions >= measures.releases,
        "{measures:?}"
    );
    assert_eq!(measures.unattended_share, Some(0.0));
}

#[test]
fn the_object_has_exactly_its_fields() {
    let line = output::json(&play(&["--cadence", "weekly"])).unwrap();
    let object: serde_json::Value = serde_json::from_str(&line).unwrap();
    let mut fields: Vec<&str> = object.as_object().unwrap().keys().map(String::as_str).collect();
    fields.sort_unstable();
    assert_eq!(
        fields,
        [
            "bad_nightlies",
            "bad_reached_production",
            "change_failure_rate",
            "deployment_frequency_per_week",
            "human_actions",
            "lead_time_hours_median",
            "nightlies",
            "releases",
            "schema"
        ]
    );
}

#[test]
fn what_cannot_be_is_refused_with_what_can() {
    for (arguments, fix) in [
        (["--cadence", "hourly"], "use nightly, weekly or monthly"),
        (["--level", "3"], "use 4 or 5"),
        (["--level", "9"], "there is no level `9`"),
    ] {
        let error = Options::try_parse_from([&["train"], &arguments[..]].concat())
            .unwrap_err()
            .to_string();
        assert!(error.contains(fix), "{error}");
    }
}
