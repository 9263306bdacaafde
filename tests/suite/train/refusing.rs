//! Bad input: typed, explained, nothing promoted.

use unattended::defense::Guard;
use unattended::train::{Input, Order, Refusal, Site, Stage, Train, TrainError};
use unattended::{Actor, Level, Outcome};

use super::{QUALIFICATION, at, built, carried_out, ci, config, ended, order, qualified, stage, starts, told, train};

#[test]
fn green_and_red_put_a_commit_into_quarantine_and_bar_what_was_built_from_it() {
    let mut train = qualified(Level::L5);
    let refusal = train.apply(&ci(1, false)).unwrap_err();
    assert_eq!(
        refusal,
        Refusal::CiContradicts {
            commit: "c1".to_owned()
        }
    );
    assert!(matches!(stage(&train, "mesh-2.1.0"), Stage::Barred { .. }));
    train.apply(&at(48)).unwrap();
    assert!(
        !starts(&train).iter().any(|key| key.contains("production")),
        "a slot passed"
    );
    assert!(
        told(&train)
            .iter()
            .any(|(code, text)| code == "train.refused" && text.contains("quarantine"))
    );
}

#[test]
fn what_runs_is_taken_back_when_its_commit_turns_out_to_be_doubtful() {
    let mut train = qualified(Level::L5);
    train.apply(&at(28)).unwrap();
    assert!(starts(&train).contains(&"mesh/production/mesh-2.1.0/0".to_owned()));
    train.apply(&ci(1, false)).unwrap_err();
    let taken = train
        .due()
        .filter(|(_, command)| matches!(command, unattended::train::Command::TakeBack { .. }));
    assert_eq!(taken.count(), 1);
    train
        .apply(&ended(&train, Site::Production, "mesh-2.1.0", 0, Outcome::RolledBack))
        .unwrap();
    assert_eq!(train.summary().lines[0].production, "mesh-2.0.0");
    assert!(matches!(stage(&train, "mesh-2.1.0"), Stage::Barred { .. }));
}

#[test]
fn another_digest_bars_the_version_and_stops_the_line() {
    let mut train = qualified(Level::L5);
    let refusal = train.apply(&built("mesh-2.1.0", "b", 1, None)).unwrap_err();
    assert!(matches!(refusal, Refusal::ArtefactChanged { .. }), "{refusal}");
    train.apply(&at(72)).unwrap();
    assert!(!starts(&train).iter().any(|key| key.contains("production")));
    assert!(train.summary().lines[0].stopped.is_some());
    // A person resumes; the version stays barred.
    train.apply(&order(Order::Resume)).unwrap();
    train.apply(&at(96)).unwrap();
    assert!(train.summary().lines[0].stopped.is_none());
    assert!(!starts(&train).iter().any(|key| key.contains("production")));
}

#[test]
fn a_version_that_goes_backwards_is_not_taken() {
    let mut train = qualified(Level::L5);
    train.apply(&ci(2, true)).unwrap();
    train.apply(&at(36)).unwrap();
    for (version, what) in [
        ("mesh-1.9.9", "backwards"),
        ("mesh-2.1.0-again", "backwards"),
        ("latest", "no number"),
    ] {
        let refusal = train.apply(&built(version, "c", 2, None)).unwrap_err();
        assert!(refusal.to_string().contains(what), "{refusal}");
    }
    train.apply(&built("mesh-2.2.0", "c", 2, None)).unwrap();
}

#[test]
fn what_nobody_asked_for_is_refused_and_what_is_known_changes_nothing() {
    let mut train = train(Level::L5);
    assert!(matches!(
        train.apply(&built("mesh-2.1.0", "a", 1, None)),
        Err(Refusal::NobodyAsked { .. })
    ));
    let end = ended(&train, Site::Production, "mesh-2.1.0", 0, Outcome::Completed);
    assert!(matches!(train.apply(&end), Err(Refusal::NobodyAsked { .. })));
    assert_eq!(train.summary().lines[0].production, "mesh-2.0.0");
    let version = "mesh-2.1.0".to_owned();
    let choose = train.apply(&order(Order::Choose { version }));
    assert!(matches!(choose, Err(Refusal::UnknownVersion { .. })), "{choose:?}");

    let mut train = qualified(Level::L5);
    let again = ended(&train, Site::Canary, "mesh-2.1.0", 0, Outcome::Completed);
    let before = format!("{train:?}");
    train.apply(&again).unwrap();
    train.apply(&built("mesh-2.1.0", "a", 1, None)).unwrap();
    train.apply(&ci(1, true)).unwrap();
    assert_eq!(format!("{train:?}"), before);
    let other = ended(&train, Site::Canary, "mesh-2.1.0", 0, Outcome::RolledBack);
    assert!(matches!(train.apply(&other), Err(Refusal::EndChanged { .. })));
}

#[test]
fn a_person_cannot_choose_what_did_not_qualify() {
    let mut train = train(Level::L4);
    for input in [ci(1, true), at(12), built("mesh-2.1.0", "a", 1, None)] {
        train.apply(&input).unwrap();
    }
    let version = "mesh-2.1.0".to_owned();
    let refusal = train.apply(&order(Order::Choose { version })).unwrap_err();
    assert!(matches!(refusal, Refusal::NotACandidate { .. }), "{refusal}");
}

#[test]
fn a_program_neither_chooses_below_l5_nor_resumes_a_line() {
    let mut train = qualified(Level::L4);
    train.apply(&at(28)).unwrap();
    let version = "mesh-2.1.0".to_owned();
    for order in [Order::Choose { version }, Order::Resume] {
        let input = Input::Order {
            line: super::line(),
            order,
            actor: Actor::program("bot", "cron"),
            reason: "always".to_owned(),
        };
        let refusal = train.apply(&input).unwrap_err();
        assert!(matches!(refusal, Refusal::NeedsPerson { .. }), "{refusal}");
    }
    assert!(!starts(&train).iter().any(|key| key.contains("production")));
}

#[test]
fn a_hotfix_is_a_commit_that_ci_found_good() {
    let mut train = train(Level::L5);
    let hotfix = || {
        order(Order::Hotfix {
            commit: "c7".to_owned(),
        })
    };
    assert!(matches!(train.apply(&hotfix()), Err(Refusal::NoHotfix { .. })));
    train.apply(&ci(7, false)).unwrap();
    assert!(matches!(train.apply(&hotfix()), Err(Refusal::NoHotfix { .. })));
}

#[test]
fn a_train_that_cannot_be_is_not_built() {
    let refused = |change: &dyn Fn(&mut unattended::train::TrainConfig)| {
        let mut config = config(Level::L5);
        change(&mut config);
        Train::new(config).unwrap_err()
    };
    let never = "
version: 1
pack: calendar
owner: cto
scope: {fleet: mesh}
freezes: [{id: for-ever, from: 2026-01-01, until: 2099-01-01, zone: UTC, owner: cto, reason: no more changes}]
";
    let error = refused(&|config| config.calendar = Guard::from_yaml("calendar.yaml", never).unwrap());
    assert!(matches!(error, TrainError::NoSlot { .. }), "{error}");
    assert!(
        error
            .to_string()
            .contains("calendar/for-ever (owner cto: no more changes)"),
        "{error}"
    );
    // Rules that do not speak of the line's releases, of one of its lanes, or of anything that must have been seen.
    let elsewhere = QUALIFICATION.replace("{fleet: mesh}", "{fleet: edge}");
    let nightlies = QUALIFICATION.replace("kind: condition,", "kind: condition, select: {lane: nightly},");
    // Nor is to wait to have shown anything.
    let waits = "
version: 1
pack: qualification
owner: mesh-team
scope: {fleet: mesh}
facts: {soak_hours: number, age_hours: number}
rules:
  - {id: soaked, kind: condition, if: {fact: soak_hours, below: 400}, then: hold, reason: it has not been seen}
  - {id: aged, kind: condition, if: {fact: age_hours, below: 400}, then: hold, reason: it is young}
";
    let upper = waits.replace(
        "below: 400}, then: hold, reason: it is young",
        "above: 500}, then: deny, reason: it is old",
    );
    assert_ne!(upper, waits);
    for (text, lane) in [
        ("", "nightly"),
        (&*elsewhere, "nightly"),
        (&*nightlies, "hotfix"),
        (waits, "nightly"),
        (&*upper, "nightly"),
    ] {
        let error = refused(&|config| {
            config.qualification = match text {
                "" => Guard::empty(),
                text => Guard::from_yaml("qualification.yaml", text).unwrap(),
            }
        });
        assert!(
            matches!(error, TrainError::NoQualification { lane: found, .. } if found == lane),
            "{error}"
        );
    }
    let weather = "
version: 1
pack: weather
owner: cto
scope: {fleet: mesh}
facts: {rain_mm: number}
rules:
  - {id: rain, kind: condition, if: {fact: rain_mm, above: 5}, then: hold, reason: it rains}
";
    let error = refused(&|config| config.calendar = Guard::from_yaml("weather.yaml", weather).unwrap());
    assert!(matches!(error, TrainError::NeverKnown { .. }), "{error}");
    assert!(
        error.to_string().contains("rain_mm") && error.to_string().contains("calendar"),
        "{error}"
    );
    assert_eq!(refused(&|config| config.lines.clear()), TrainError::NoLine);
    let twice = refused(&|config| config.lines.push(config.lines[0].clone()));
    assert!(matches!(twice, TrainError::TwoLines { .. }));
    for (field, error) in [
        (
            "grant.level L3",
            refused(&|config| config.lines[0].grant.level = Level::L3),
        ),
        (
            "grant.by bot",
            refused(&|config| config.lines[0].grant.by = Actor::program("bot", "cron")),
        ),
        (
            "grant.until_unix_ms 2026-11-23 08:00 UTC",
            refused(&|config| config.lines[0].grant.until_unix_ms = config.began_unix_ms),
        ),
        (
            "zone",
            refused(&|config| config.lines[0].timetable.zone = "Mars".to_owned()),
        ),
        ("limits.soak_ms", refused(&|config| config.lines[0].limits.soak_ms = 0)),
        (
            "limits.silent_ms",
            refused(&|config| config.lines[0].limits.silent_ms = 366 * 24 * 3_600_000 + 1),
        ),
        ("telling.pulse_ms", refused(&|config| config.telling.pulse_ms = 0)),
        (
            "version",
            refused(&|config| config.lines[0].version = "latest".to_owned()),
        ),
    ] {
        assert!(error.to_string().contains(field), "{error}");
    }
}

fn on_production(train: &Train) -> bool {
    starts(train).iter().any(|key| key.contains("/production/"))
}

/// The calendar lets it go when it is too old.
#[test]
fn a_release_older_than_its_age_limit_goes_nowhere() {
    let freeze = "
version: 1
pack: calendar
owner: cto
scope: {fleet: mesh}
freezes: [{id: quiet, from: 2026-11-24, until: 2026-11-28, zone: UTC, owner: cto, reason: quiet days}]
";
    let goes = |max_age_hours: u64| {
        let mut config = config(Level::L5);
        config.calendar = Guard::from_yaml("calendar.yaml", freeze).unwrap();
        for line in &mut config.lines {
            line.limits.max_age_ms = max_age_hours * 3_600_000;
        }
        let mut train = super::qualified_in(config);
        // A slot each morning, all of them within the freeze; the last one after it.
        for hours in 19..24 * 8 {
            train.apply(&at(hours)).unwrap();
        }
        on_production(&train)
    };
    assert!(goes(30 * 24) && !goes(60));
}

#[test]
fn what_ci_contradicts_itself_about_is_not_even_tried() {
    let goes = |contradicts: bool| {
        let mut train = train(Level::L5);
        for input in [ci(1, true), at(12), built("mesh-2.1.0", "a", 1, None), ci(2, true)] {
            train.apply(&input).unwrap();
        }
        train.apply(&at(36)).unwrap();
        if contradicts {
            // While it is being built.
            train.apply(&ci(2, false)).unwrap_err();
        }
        let _ = train.apply(&built("mesh-2.2.0", "b", 2, None));
        train
            .apply(&ended(&train, Site::Canary, "mesh-2.1.0", 0, Outcome::RolledBack))
            .unwrap();
        starts(&train).iter().any(|key| key.contains("mesh-2.2.0"))
    };
    assert!(goes(false) && !goes(true));
}

/// A calendar sees what was seen of the release.
#[test]
fn a_calendar_may_speak_of_the_facts_of_a_release() {
    let goes = |least: f64| {
        let calendar = format!(
            "
version: 1
pack: calendar
owner: cto
scope: {{fleet: mesh}}
facts: {{error_budget_left: number}}
rules:
  - {{id: budget, kind: condition, if: {{fact: error_budget_left, below: {least}}}, then: hold, reason: not with so little}}
"
        );
        let mut config = config(Level::L5);
        config.calendar = Guard::from_yaml("calendar.yaml", calendar).unwrap();
        let mut train = super::qualified_in(config);
        train.apply(&at(28)).unwrap();
        on_production(&train)
    };
    assert!(goes(0.4) && !goes(0.6));
}

/// A hotfix that went no further could begin anew; nobody knows any more which of the two it would be.
#[test]
fn another_digest_bars_what_went_no_further_too() {
    for how in ["expired", "superseded"] {
        let mut train = train(Level::L5);
        let hotfix = || Order::Hotfix {
            commit: "c2".to_owned(),
        };
        for input in [ci(2, true), order(hotfix()), built("mesh-2.0.2", "h", 2, Some(0))] {
            train.apply(&input).unwrap();
        }
        carried_out(&mut train);
        let ends = if how == "expired" {
            at(21)
        } else {
            order(Order::StopTheLine { take_back: true })
        };
        train.apply(&ends).unwrap();
        train
            .apply(&ended(&train, Site::Canary, "mesh-2.0.2", 0, Outcome::RolledBack))
            .unwrap();
        assert_eq!(stage(&train, "mesh-2.0.2").as_str(), how);
        train.apply(&order(Order::Resume)).unwrap();
        train.apply(&built("mesh-2.0.2", "other", 2, Some(0))).unwrap_err();
        assert!(matches!(stage(&train, "mesh-2.0.2"), Stage::Barred { .. }), "{how}");
        train.apply(&order(Order::Resume)).unwrap();
        let refusal = train.apply(&order(hotfix())).unwrap_err();
        assert!(matches!(refusal, Refusal::NoHotfix { .. }), "{refusal}");
        assert!(starts(&train).is_empty(), "{how}");
    }
}

#[test]
fn nothing_is_built_of_a_commit_in_quarantine() {
    let builds = |train: &Train| {
        let build =
            |(_, command): &(u64, &unattended::train::Command)| matches!(command, unattended::train::Command::Build(_));
        train.due().filter(build).count()
    };
    // A nightly and a hotfix of it are being built, or are to be built once somebody resumes.
    for stopped in [false, true] {
        let mut train = train(Level::L5);
        train.apply(&ci(1, true)).unwrap();
        train.apply(&at(12)).unwrap();
        let commit = "c1".to_owned();
        train.apply(&order(Order::Hotfix { commit })).unwrap();
        assert_eq!(builds(&train), 2);
        if stopped {
            train.apply(&order(Order::StopTheLine { take_back: false })).unwrap();
        }
        train.apply(&ci(1, false)).unwrap_err();
        if stopped {
            train.apply(&order(Order::Resume)).unwrap();
        }
        assert_eq!(builds(&train), 0, "stopped: {stopped}");
        train.apply(&built("mesh-2.0.1", "h", 1, Some(0))).unwrap_err();
        train.apply(&at(36)).unwrap();
        assert!(!told(&train).iter().any(|(code, _)| code == "train.build_late"));
        // Somebody waits for the hotfix, and hears of it.
        let failed = told(&train);
        let failed = failed.iter().find(|(code, _)| code == "train.hotfix_failed").unwrap();
        assert!(failed.1.starts_with("Hotfix of c1 goes no further: "), "{}", failed.1);
        let open = |train: &Train| {
            train.summary().lines[0]
                .matters
                .iter()
                .any(|matter| matter.key.contains("hotfix_failed"))
        };
        assert!(open(&train));
        train
            .apply(&order(Order::Skip {
                version: "c1".to_owned(),
            }))
            .unwrap();
        assert!(!open(&train), "it was given up");
    }
}

#[test]
fn a_line_needs_a_name() {
    let mut nameless = config(Level::L5);
    nameless.lines[0].id = "".into();
    let error = Train::new(nameless).unwrap_err();
    assert!(error.to_string().contains("name"), "{error}");
}
