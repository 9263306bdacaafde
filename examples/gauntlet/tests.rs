//! Scenarios and what they draw, the truth about releases, measures against cases reckoned by hand, and threads.

use std::collections::BTreeMap;
use std::path::PathBuf;

use unattended_examples_support::{Failure, Synthetic};
use unattended_simulated::World;

use crate::bars::{bars, dominates, equal_steps_hours};
use crate::baseline;
use crate::ground::Ground;
use crate::lots::Lots;
use crate::measures::{Measures, quantile};
use crate::options::{Choice, Options, Policy};
use crate::output::{standings, text};
use crate::scenario::Scenario;
use crate::template::Template;
use crate::trial::Trial;
use crate::truth::met;
use crate::{ours, output, page, runs};

fn built_in() -> Scenario {
    Scenario::load(None, &World::default()).unwrap()
}

fn refusal(text: &str) -> String {
    match Scenario::parse(text, "own.json", &World::default()) {
        Err(Failure::Input(message)) => message,
        other => panic!("{other:?}"),
    }
}

pub(crate) const SMALL: &str = r#"{"schema": 1, "name": "small",
 "good": [{"name": "good", "release": "good"}],
 "bad": [{"name": "errors", "release": "errors=x{4..9}@zone={any}"}]}"#;

#[test]
fn the_built_in_scenario_has_every_kind_of_release() {
    let scenario = built_in();
    assert!(scenario.bad.len() >= 18, "{}", scenario.bad.len());
    let families = scenario.assign(1_000);
    let good = families.iter().filter(|family| **family < scenario.good.len()).count();
    assert_eq!(good, 500);
    let same = scenario.good.iter().position(|family| family.name == "same").unwrap();
    assert_eq!(families.iter().filter(|family| **family == same).count(), 100);
    for family in 0..scenario.families().count() {
        assert!(families.contains(&family), "{family}");
    }
}

#[test]
fn a_scenario_that_is_wrong_says_where_and_what_to_write() {
    for (from, to, wanted) in [
        (r#""release": "good""#, r#""relase": "good""#, "own.json:2:"),
        (r#""release": "good""#, r#""relase": "good""#, "did you mean `release`?"),
        (r#""schema": 1"#, r#""schema": 2"#, r#"reads "schema": 1"#),
        ("x{4..9}", "x{9..4}", "own.json:3:"),
        (
            "x{4..9}",
            "x{9..4}",
            "must go from a number above 0 to one that is not below it",
        ),
        ("x{4..9}", "{4..9}", "family `errors`: release: "),
        ("x{4..9}", "{4..9}", "write x and a number"),
        ("errors=x{4..9}", "good", "move the family to `good`"),
        (
            r#""release": "good""#,
            r#""release": "crash""#,
            "move the family to `bad`",
        ),
        ("@zone={any}", "@zone={all}", "`{all}` is no place"),
        (
            "@zone={any}",
            "{any}",
            "`{any}` does not stand for the value of a label",
        ),
        (
            r#""name": "errors""#,
            r#""name": "good""#,
            "own.json:3: name: there are two families `good`",
        ),
        (
            r#"{"name": "good", "release": "good"}"#,
            "",
            "own.json:2: good: it has no family",
        ),
        (
            r#""release": "good""#,
            r#""release": "good", "weight": 0"#,
            "weight 0 is not possible; give a number above 0",
        ),
        (
            r#""release": "good""#,
            r#""release": "good", "world": {"incident_per_day": 3}"#,
            "did you mean `incidents_per_day`",
        ),
        (
            r#""release": "good""#,
            r#""release": "good", "world": {"incidents_per_day": "{1..30}"}"#,
            "give a number from 0.0 to 24.0",
        ),
        (
            r#""name": "small","#,
            r#""name": "small", "labels": [{"key": "app", "values": {"x": 1}}],"#,
            "labels: `app` makes no label",
        ),
        (
            r#""name": "small","#,
            r#""name": "small", "labels": [{"key": "k", "values": {"x": 1}}, {"key": "k", "values": {"y": 1}}],"#,
            "labels: `k` stands twice",
        ),
        ("}]}", "}]", "own.json:3:"),
    ] {
        assert!(SMALL.contains(from), "{from}");
        let message = refusal(&SMALL.replacen(from, to, 1));
        assert!(message.contains(wanted), "{to}: {message}");
    }
}

#[test]
fn a_rare_value_that_a_release_names_is_somebodys() {
    let labels = r#""labels": [{"key": "rare", "values": {"no": 1000, "yes": 1, "never": 1}}], "bad": [{"name": "rare", "release": "crash@rare=yes"},"#;
    let scenario = Scenario::parse(&SMALL.replacen(r#""bad": ["#, labels, 1), "own.json", &World::default()).unwrap();
    let apps: Vec<String> = (0..8).map(|app| format!("app-{app}")).collect();
    for seed in 0..50 {
        let of = |apps: &[String]| {
            let apps = apps.iter().map(String::as_str).collect();
            let values = scenario.values(&scenario.labels[0], &apps, seed);
            values
                .into_iter()
                .map(|(app, value)| (app.to_owned(), value.to_owned()))
                .collect::<BTreeMap<_, _>>()
        };
        let values = of(&apps);
        let having = |value: &str| values.values().filter(|of| *of == value).count();
        assert!(
            having("yes") == 1 && having("never") == 0 && having("no") == 7,
            "{values:?}"
        );
        assert_eq!(values, of(&apps));
        // One application has one value.
        assert_eq!(of(&apps[..1]).len(), 1);
    }
    let names = |text: &str, value: &str| Template::try_from(text.to_owned()).unwrap().names("rare", value);
    assert!(names("errors=x{2..3}@rare=yes", "yes") && names("crash@rare=yes@stack={any}", "yes"));
    assert!(!names("crash@rare=yesterday", "yes") && !names("crash@rarer=yes", "yes") && !names("crash", "yes"));
}

#[test]
fn templates_draw_between_their_bounds() {
    let template = Template::try_from("late={10..360}m:errors=x{1.5..3}@stack={any}".to_owned()).unwrap();
    assert_eq!(template.labels(), ["stack"]);
    let value = |label: &str| format!("my-{label}");
    let ends = template.extremes(value);
    assert_eq!(
        ends,
        [
            "late=10m:errors=x1.5@stack=my-stack",
            "late=360m:errors=x3@stack=my-stack"
        ]
    );
    let mut minutes: Vec<u32> = (0..400)
        .map(|seed| {
            let text = template.fill(&mut Lots::of(&[seed]), value);
            text.strip_prefix("late=")
                .and_then(|rest| rest.split('m').next())
                .unwrap()
                .parse()
                .unwrap()
        })
        .collect();
    minutes.sort_unstable();
    assert!(minutes[0] >= 10 && minutes[399] <= 360);
    // Log-uniform: half lie below the geometric mean, 60.
    assert!((45..80).contains(&minutes[200]), "{}", minutes[200]);
}

#[test]
fn values_of_labels_come_together_as_the_fleet_has_them() {
    let text = SMALL.replacen("@zone={any}", "@zone={any}@stack={any}", 1);
    let scenario = Scenario::parse(&text, "own.json", &World::default()).unwrap();
    let kinds: Vec<BTreeMap<&str, &str>> = [("a", "java"), ("b", "go")]
        .map(|(zone, stack)| BTreeMap::from([("zone", zone), ("stack", stack)]))
        .to_vec();
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..40 {
        let lot = scenario.draw(1, seed, &World::default(), &kinds).unwrap();
        let text = lot.release.to_string();
        seen.insert(text.split_once('@').unwrap().1.to_owned());
    }
    assert_eq!(
        seen.into_iter().collect::<Vec<_>>(),
        ["zone=a@stack=java", "zone=b@stack=go"]
    );
    let none = scenario.draw(1, 1, &World::default(), &[BTreeMap::from([("zone", "a")])]);
    assert!(
        matches!(none, Err(Failure::Input(message)) if message.contains("no target of the fleet has the labels zone and stack"))
    );
}

#[test]
fn a_release_that_a_fleet_has_nobody_for_is_named_by_its_line() {
    let kinds = [BTreeMap::from([("zone", "a"), ("stack", "java")])];
    for (filters, wanted) in [
        (
            "@zone=b",
            "own.json:3: family `errors`: release: no target of one of the fleets has zone=b; write {any}",
        ),
        (
            "@zone=a@stack=go",
            "own.json:3: family `errors`: release: no target of one of the fleets has zone=a and stack=go",
        ),
        (
            "@planet={any}",
            "own.json:3: family `errors`: release: no target of the fleet has the labels planet",
        ),
        ("@zone={any}", ""),
    ] {
        let text = SMALL.replacen("@zone={any}", filters, 1);
        let scenario = Scenario::parse(&text, "own.json", &World::default()).unwrap();
        assert_eq!(
            scenario.names_values(1),
            filters.contains("=b") || filters.contains("go")
        );
        assert!(!scenario.names_values(0));
        match scenario.draw(1, 5, &World::default(), &kinds) {
            Ok(_) => assert_eq!(wanted, "", "{filters}"),
            Err(Failure::Input(message)) => assert!(message.contains(wanted) && !wanted.is_empty(), "{message}"),
            Err(other) => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_release_is_detectable_by_what_it_does_and_by_when() {
    // By hand: halves, ratio 3: K = 0.75 ln 1.5 + 0.25 ln 0.5 = 0.130812, sd = sqrt(0.75 * 0.25) ln 3 = 0.475713,
    // L = ln 100 + ln 6 = 6.396930, z = 1.281552: ((0.609651 + sqrt(0.371674 + 3.347180)) / 0.261624)^2 = 94.11 events, of which half
    // are excess.
    assert!(
        (met(100.0, 200.0) - 200.0 / 47.06).abs() < 0.005,
        "{}",
        met(100.0, 200.0)
    );
    assert!(met(10.0, 0.0).abs() < 1e-12 && met(0.0, 30.0) > 2.0 && met(0.0, 10.0) < 2.0);
    let label = |release: &str, synthetic: &str| {
        let text = SMALL.replacen("errors=x{4..9}@zone={any}", release, 1);
        let scenario = Scenario::parse(&text, "own.json", &World::default()).unwrap();
        let fleet = Synthetic::parse(synthetic).unwrap();
        Ground::new(&scenario, fleet, 1, &World::default(), 5)
            .unwrap()
            .detectable
    };
    assert!(label("errors=x3", "3000x20"));
    assert!(!label("errors=x1", "3000x20"));
    assert!(!label("errors=x1.001", "3000x20"));
    assert!(label("late=6h:errors=x9", "3000x20"));
    assert!(!label("late=7h:errors=x9", "3000x20"));
    assert!(label("leak=9%/h", "3000x20"));
    assert!(!label("leak=8%/h", "3000x20"));
    assert!(label("crash", "3000x20"));
    assert!(label("unready", "3000x20"));
    assert!(!label("one-way", "3000x20") && !label("mute=100%", "3000x20"));
    assert!(label("dependency=x9", "3000x20"));
    // Of a single target there is not enough.
    assert!(!label("errors=x1.5", "1x1"));
}

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

fn options(policy: Choice, threads: u16) -> Options {
    Options {
        releases: 6,
        seed: 3,
        policy,
        synthetic: "600x8".to_owned(),
        world: None,
        scenario: None,
        json: true,
        html: None,
        record: None,
        pages: None,
        only: None,
        trials: false,
        threads: Some(threads),
    }
}

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
