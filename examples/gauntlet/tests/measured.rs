//! Measures and bars against cases reckoned by hand, and how they are told.

use super::options;
use crate::bars::{bars, dominates, equal_steps_hours};
use crate::measures::{Measures, quantile};
use crate::options::{Choice, Policy};
use crate::output::{self, standings, text};
use crate::page;
use crate::trial::Trial;

fn trial(bad: bool, stopped: bool, exposed: u64) -> Trial {
    Trial {
        family: usize::from(bad),
        bad,
        detectable: bad,
        stopped,
        exposed,
        targets: 1_000,
        first_step: 1,
        hours: if bad { 1.0 } else { 50.0 },
        harm: if bad { 10.0 } else { 0.0 },
        ..Trial::default()
    }
}

/// 10 good releases of which 1 is stopped and 1 asks somebody; 11 bad ones: 8 of 9 detectable ones stopped, 1 of 2 others.
fn made_up() -> Vec<Trial> {
    let mut all: Vec<Trial> = (0..10).map(|n| trial(false, n == 0, 4)).collect();
    all[1].human_actions = 1;
    all[2].hours = 70.0;
    all.extend((1..=8).map(|n| trial(true, true, n)));
    all.push(trial(true, false, 0));
    all.push(Trial {
        detectable: false,
        ..trial(true, true, 100)
    });
    all.push(Trial {
        detectable: false,
        ..trial(true, false, 0)
    });
    all[10].scope = Some("zone=a".to_owned());
    all[11].scope = Some("zone=b".to_owned());
    all[11].wrong_scope = true;
    all[12].by_person = true;
    all[13].before_onset = true;
    all[3].with_debt = true;
    all
}

#[test]
fn measures_are_what_they_say() {
    let measures = Measures::of(&made_up(), &["good", "bad"]);
    assert_eq!((measures.releases, measures.undetectable), (21, 2));
    assert_eq!((measures.recall.count, measures.recall.of), (8, 9));
    assert_eq!((measures.precision.count, measures.precision.of), (9, 10));
    assert_eq!((measures.false_stops.count, measures.false_stops.of), (1, 10));
    assert_eq!((measures.unattended.count, measures.unattended.of), (9, 10));
    assert_eq!((measures.wrong_scope.count, measures.wrong_scope.of), (1, 2));
    assert_eq!((measures.by_person.count, measures.by_person.of), (1, 8));
    assert_eq!((measures.with_debt.count, measures.with_debt.of), (1, 10));
    assert_eq!(measures.before_onset, 1);
    // Of 1 to 8 and 100: the fifth, and the ninth.
    assert_eq!(measures.exposed_median, Some(5));
    assert_eq!(
        (measures.exposed_median_share, measures.exposed_p95_share),
        (Some(0.005), Some(0.1))
    );
    assert_eq!(measures.good_hours_median, Some(50.0));
    assert_eq!((measures.harm, measures.harm_median), (110.0, Some(10.0)));
    let part = &measures.by_family["bad"];
    assert_eq!(
        (part.releases, part.detectable, part.stopped, part.caught),
        (11, 9, 9, 8)
    );
    // Clopper and Pearson for 8 of 9, from tables.
    let [low, high] = measures.recall.interval();
    assert!(
        (low - 0.517_50).abs() < 1e-4 && (high - 0.997_19).abs() < 1e-4,
        "{low} {high}"
    );
}

#[test]
fn no_more_than_the_whole_fleet_is_exposed() {
    // Of a thousand, in whose places others were born.
    let all = [trial(true, true, 1_000), trial(true, true, 1_700)];
    assert!(all.iter().all(|trial| trial.share().total_cmp(&1.0).is_eq()));
    let measures = Measures::of(&all, &["good", "bad"]);
    assert_eq!(measures.exposed_p95_share, Some(1.0));
    assert_eq!(measures.by_family["bad"].exposed_max_share, Some(1.0));
}

#[test]
fn nothing_measured_is_no_rate() {
    let measures = Measures::of(&[], &[]);
    assert_eq!(measures.recall.value(), None);
    assert!(measures.recall.interval().into_iter().eq([0.0, 1.0]));
    assert_eq!(
        (
            measures.exposed_median,
            measures.exposed_p95_share,
            measures.good_hours_median
        ),
        (None, None, None)
    );
    // No harm is zero, not the -0 that a sum of no floats is.
    let none = [measures.harm, Measures::of(&[trial(false, false, 0)], &["good"]).harm];
    assert!(none.iter().all(|harm| harm.is_sign_positive()), "{none:?}");
    assert_eq!(quantile(vec![3, 1, 2], 0.5, i32::cmp), Some(2));
    assert_eq!(quantile(vec![1], 0.95, i32::cmp), Some(1));
}

#[test]
fn bars_are_missed_only_where_chance_does_not_explain_it() {
    let measures = Measures::of(&made_up(), &["good", "bad"]);
    let found = bars(&measures, 0.001);
    let of = |name: &str| {
        found
            .iter()
            .find(|bar| bar.name == name)
            .map(|bar| (bar.met, bar.missed))
            .unwrap()
    };
    assert_eq!(of("recall"), (false, true));
    assert_eq!(of("precision"), (false, false));
    assert_eq!(of("false_stop_rate"), (false, false));
    assert_eq!(of("exposed_median_share"), (false, true));
    // One of nine above 2 %, where one of twenty may be.
    assert_eq!(of("exposed_p95_share"), (false, false));
    assert_eq!(of("unattended_share"), (false, false));
    // Steps as small as what is exposed at the stop, one after the other, and a minute more than they take.
    let hours = equal_steps_hours(measures.exposed_median_share.unwrap());
    assert!((equal_steps_hours(0.001) - 1_000.0 * 13.0 / 60.0).abs() < 1e-9);
    let slow = |hours: f64, releases: usize| {
        let measures = Measures {
            good_hours: vec![hours; releases],
            good_hours_median: Some(hours),
            ..measures.clone()
        };
        let mut bars = bars(&measures, 0.001).into_iter();
        let bar = bars.find(|bar| bar.name == "good_hours_median").unwrap();
        (bar.met, bar.missed)
    };
    let longer = hours + 1.0 / 60.0;
    assert_eq!(
        [slow(hours, 20), slow(longer, 20), slow(longer, 3)],
        [(true, false), (false, true), (false, false)]
    );
    // Of what nothing is known no bar is met, and none missed.
    let unknown = bars(&Measures::of(&[], &[]), 0.001);
    assert!(unknown.iter().all(|bar| !bar.met && !bar.missed), "{unknown:?}");
    assert!(dominates(&measures, &measures));
    let worse: Vec<Trial> = made_up()
        .into_iter()
        .map(|t| Trial {
            exposed: t.exposed * 2,
            ..t
        })
        .collect();
    let worse = Measures::of(&worse, &["good", "bad"]);
    assert!(dominates(&measures, &worse) && !dominates(&worse, &measures));
}

#[test]
fn hours_are_told_as_hours_and_shares_as_percent() {
    let options = options(Choice::Ours, 1);
    let standings = standings(&[(Policy::Ours, made_up())], &["good", "bad"]);
    // The fifth of nine exposes five of a thousand: 200 steps of 13 minutes.
    for (told, hours, share) in [
        (
            text(&options, "made up", &standings, 1.0),
            "good_hours_median: 50.0 h (bar 43.3 h)",
            "recall: 88.9 % (bar 99.8 %)",
        ),
        (page::page(&options, "made up", &standings), ">50.0 h<", ">88.9 %<"),
    ] {
        assert!(told.contains(hours) && told.contains(share), "{told}");
        assert!(!told.contains("5000.0 %") && !told.contains("4333.3 %"), "{told}");
    }
    let bars = serde_json::to_value(&standings[0].bars).unwrap();
    let hours = bars.as_array().unwrap().iter().filter(|bar| bar["unit"] == "hours");
    let names: Vec<_> = hours.map(|bar| &bar["name"]).collect();
    assert_eq!(names, ["good_hours_median"]);
}

#[test]
fn what_people_do_is_told_in_every_form() {
    let made_up = standings(
        &[(Policy::Ours, made_up()), (Policy::Argo, made_up())],
        &["good", "bad"],
    );
    // Six were asked for by the options.
    let all = options(Choice::All, 1);
    let told = text(&all, "made up", &made_up, 1.0);
    let json: serde_json::Value = serde_json::from_str(&output::json(&all, "made up", &made_up, 1.0).unwrap()).unwrap();
    let page = page::page(&all, "made up", &made_up);
    assert!(
        told.starts_with("21 releases of") && page.contains("21 releases of"),
        "{told}"
    );
    assert_eq!(
        (&json["releases"], &json["policies"]["argo"]["releases"]),
        (&21.into(), &21.into())
    );
    let header = told.lines().find(|line| line.starts_with("policy")).unwrap();
    assert!(
        header.contains("by a person") && header.contains("harm in 14 days"),
        "{header}"
    );
    for part in [
        "1 of 8",
        "1 catches by a person, 1 before anything had gone wrong",
        "look at: 10.0 % (",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    for part in [
        "<td>1<small>of 8</small></td><td>1</td>",
        "in the 14 days from its beginning",
        "<td>10.0 %</td>",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let ours = &json["policies"]["ours"];
    assert_eq!(ours["good_with_debt_share"], 0.1);
    assert_eq!(
        (&ours["recall_by_person"], &ours["stopped_before_onset"]),
        (&1.into(), &1.into())
    );
    let nothing = standings(&[(Policy::Argo, vec![trial(true, true, 1)])], &["good", "bad"]);
    let json = output::json(&all, "made up", &nothing, 1.0).unwrap();
    assert!(json.contains(r#""good_with_debt_share":null"#), "{json}");
    assert!(!text(&all, "made up", &nothing, 1.0).contains("look at"));
}
