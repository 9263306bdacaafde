//! Births during a change: what they are told to run, and that they leave somebody to compare with.
#![expect(clippy::unwrap_used, reason = "a failure of a helper is a failed test")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use crate::support::{Case, Effect, HOUR_MS, MINUTE_MS, NEW, OLD, START_WALL_MS, Stage, Watched, app_of, person};
use parking_lot::Mutex;
use serde_json::Value;
use unattended::batching::Side;
use unattended::upgrade::{Clock, FleetChange, Version};
use unattended::{Actor, FilePermit, Handle, Level, Outcome};
use unattended_simulated::World;

/// One birth as the world's hook saw it.
#[derive(Clone, Debug)]
struct Birth {
    side: Side,
    /// How the change stood.
    state: &'static str,
    /// A rollback had been decided.
    back: bool,
}

/// Keeps every answer to a birth, with the state of the change at that moment.
fn keep_births(stage: &Stage) -> Arc<Mutex<Vec<Birth>>> {
    let births = Arc::new(Mutex::new(Vec::new()));
    let (kept, handle) = (Arc::clone(&births), stage.handle.clone());
    stage.sim.on_birth(Box::new(move |newborn| {
        let labels: Vec<(&str, &str)> = newborn.labels.iter().map(|(key, value)| (&**key, &**value)).collect();
        let side = handle.version_for(newborn.target.as_str(), &newborn.app, &labels);
        let summary = handle.summary();
        kept.lock().push(Birth {
            side,
            state: handle.progress().map_or("not begun", |progress| progress.state),
            back: summary.is_some_and(|summary| summary.decisions.iter().any(|d| d.code == "rollback.began")),
        });
        match side {
            Side::New => Version::from(NEW),
            Side::Old => Version::from(OLD),
        }
    }));
    births
}

/// Each target dies so often a day.
fn churning(apps: usize, each: usize, deaths: f64) -> Case {
    let mut case = Case::calm(apps, each);
    case.world = World {
        deaths_per_target_day: deaths,
        ..case.world
    };
    case
}

const LABELS: [(&str, &str); 2] = [("zone", "zone-0"), ("stack", "stack-0")];

#[test]
fn the_answer_follows_the_change_from_old_to_new() {
    let mut stage = Case::calm(4, 20).stage();
    let names: Vec<String> = (0..200).map(|n| format!("app-0-b{n}")).collect();
    let ask = |stage: &Stage| -> Vec<Side> {
        names
            .iter()
            .map(|name| stage.handle.version_for(name, "app-0", &LABELS))
            .collect()
    };
    let new = |answers: &[Side]| answers.iter().filter(|&&side| side == Side::New).count();
    // Nothing is driven yet.
    assert_eq!(new(&ask(&stage)), 0);
    let (handle, clock) = (stage.handle.clone(), stage.sim.clock());
    let half = stage.drive(async {
        while handle.progress().is_none_or(|progress| progress.exposed < 50) {
            clock.sleep_until(clock.now() + MINUTE_MS).await;
        }
    });
    assert!(half.unwrap().is_none());
    let midway = ask(&stage);
    assert!((1..200).contains(&new(&midway)), "{} of 200", new(&midway));
    assert_eq!(midway, ask(&stage), "asking changes nothing");
    let ended = stage.run();
    assert_eq!(ended.outcome, Outcome::Completed);
    let at_end: Vec<Side> = names
        .iter()
        .map(|name| ended.handle.version_for(name, "app-0", &LABELS))
        .collect();
    assert_eq!(new(&at_end), 200);
    // One that nobody planned for gets the new one, too.
    assert_eq!(ended.handle.version_for("x", "another-app", &[]), Side::New);
}

#[test]
fn from_the_decision_to_go_back_every_birth_is_old() {
    let stage = churning(6, 40, 24.0).release("late=60m:errors=x30").stage();
    let births = keep_births(&stage);
    let ended = stage.run();
    assert_eq!(ended.outcome, Outcome::RolledBack);
    let births = births.lock().clone();
    assert!(
        births.iter().any(|birth| birth.side == Side::New),
        "no birth was ever new"
    );
    let later: Vec<&Birth> = births.iter().filter(|birth| birth.back).collect();
    assert!(
        later.len() >= 5,
        "{} births after the decision: too few to show anything",
        later.len()
    );
    for birth in later {
        assert_eq!(birth.side, Side::Old, "{birth:?}");
    }
    assert_eq!(ended.handle.version_for("app-0-b9", "app-0", &LABELS), Side::Old);
    let census = ended.sim.census();
    assert_eq!(census.on_new_verified, 0, "{census:?}");
}

/// Sixty run it, then `word` is said; the births of the hour after.
fn births_after(word: impl FnOnce(&Handle)) -> Vec<Birth> {
    let mut stage = churning(4, 40, 24.0).stage();
    let births = keep_births(&stage);
    let (handle, clock) = (stage.handle.clone(), stage.sim.clock());
    let stopped = stage.drive(async {
        while handle.progress().is_none_or(|progress| progress.exposed < 60) {
            clock.sleep_until(clock.now() + MINUTE_MS).await;
        }
        word(&handle);
        clock.sleep_until(clock.now() + 60 * MINUTE_MS).await;
    });
    assert!(stopped.unwrap().is_none());
    births.lock().clone()
}

#[test]
fn a_change_that_somebody_halted_bears_old_ones() {
    let frozen = births_after(|handle| handle.freeze(person(), "looks odd").unwrap());
    let paused = births_after(|handle| handle.pause(person(), "looks odd").unwrap());
    for (state, births) in [("frozen", frozen), ("paused", paused)] {
        let since: Vec<&Birth> = births.iter().filter(|birth| birth.state == state).collect();
        assert!(since.len() > 100, "{state}: {}", since.len());
        assert!(since.iter().all(|birth| birth.side == Side::Old), "{state}");
    }
}

/// Births need no effect of the change: what nobody permits, or no budget has room for, is not to come by them.
#[test]
fn where_nothing_may_begin_births_do_not_bring_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut unpermitted = churning(4, 40, 24.0);
    unpermitted.permit = Arc::new(FilePermit::new(dir.path().join("no-such-permit")));
    let mut spent = churning(4, 40, 24.0);
    spent.settings.budget.starts_per_day = Some(1);
    for (case, most) in [(unpermitted, 0), (spent, 1)] {
        let mut stage = case.stage();
        let births = keep_births(&stage);
        let clock = stage.sim.clock();
        let run = stage.drive(async { clock.sleep_until(clock.now() + 10 * 60 * MINUTE_MS).await });
        assert!(run.unwrap().is_none());
        let births = births.lock().clone();
        assert!(births.len() > 500, "{}", births.len());
        assert!(births.iter().all(|birth| birth.side == Side::Old));
        assert!(stage.handle.progress().unwrap().exposed <= most);
    }
}

/// A line of the world's log.
struct Line {
    at_ms: u64,
    target: String,
    effect: String,
    version: Option<String>,
}

fn world_log(path: &Path) -> Vec<Line> {
    let text = std::fs::read_to_string(path).unwrap();
    let parse = |line: &str| {
        let value: Value = serde_json::from_str(line).unwrap();
        Line {
            at_ms: value["t"].as_u64().unwrap(),
            target: value["target"].as_str().unwrap().to_owned(),
            effect: value["effect"].as_str().unwrap().to_owned(),
            version: value["version"].as_str().map(ToOwned::to_owned),
        }
    };
    text.lines().skip(1).map(parse).collect()
}

#[test]
fn under_churn_the_change_completes_and_somebody_old_stays_to_compare_with() {
    let dir = tempfile::tempdir().unwrap();
    for seed in 1..6 {
        let mut case = churning(4, 60, 24.0);
        case.seed = seed;
        let log = dir.path().join(format!("world-{seed}"));
        case.log = Some(log.clone());
        let plan = case.plan();
        let stage = case.stage();
        let births = keep_births(&stage);
        let ended = stage.run();
        assert_eq!(ended.outcome, Outcome::Completed, "seed {seed}");
        let census = ended.sim.census();
        assert_eq!(census.on_old_verified, 0, "seed {seed}: {census:?}");
        let births = births.lock().clone();
        assert!(births.len() > 200, "{}", births.len());
        let told_new = births.iter().filter(|birth| birth.side == Side::New).count();
        assert!(
            told_new > 20 && told_new < births.len() - 20,
            "{told_new} of {}",
            births.len()
        );

        // Of the lanes, no more have nobody old left to compare with than have opened their last batch; but that all of a few die
        // before the next is born is chance, and passes.
        let last = format!("batch {}", plan.batch_count() - 1);
        let opened = |at_ms: u64| -> u64 {
            (ended.summary.decisions.iter())
                .filter(|decision| decision.code == "lane.opened" && decision.at_ms <= at_ms)
                .filter(|decision| decision.otherwise.as_deref() == Some(&last))
                .map(|decision| decision.count)
                .sum()
        };
        let mut without: BTreeMap<&str, u64> = BTreeMap::new();
        let mut old: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        for target in &case.targets {
            old.entry(&target.app).or_default().insert(target.id.clone());
        }
        for line in world_log(&log) {
            let members = old.get_mut(app_of(&line.target)).unwrap();
            match line.effect.as_str() {
                "born" if line.version.as_deref() == Some(OLD) => drop(members.insert(line.target)),
                "died" | "replace" | "replace_in_place" => drop(members.remove(&line.target)),
                _ => continue,
            }
            for (&app, members) in &old {
                if members.is_empty() {
                    without.entry(app).or_insert(line.at_ms);
                } else {
                    without.remove(app);
                }
            }
            let passed = |&&since: &&u64| line.at_ms - since >= 10 * MINUTE_MS;
            let lasting = without.values().filter(passed).count();
            assert!(
                lasting as u64 <= opened(line.at_ms),
                "seed {seed}: {lasting} applications have nobody old left, and {} have opened {last}, at {} ms",
                opened(line.at_ms),
                line.at_ms
            );
        }
        assert_eq!(opened(u64::MAX), 4);
    }
}

#[test]
fn the_control_cohort_is_touched_last() {
    let case = Case::calm(4, 30);
    let (plan, fleet) = (case.plan(), case.fleet());
    let ended = case.run();
    assert_eq!(ended.outcome, Outcome::Completed);
    let mut upgraded: BTreeMap<&str, usize> = BTreeMap::new();
    let mut cohorts = BTreeSet::new();
    for effect in ended
        .effects
        .iter()
        .filter(|effect| effect.version.as_deref() == Some(NEW) && effect.disturbs())
    {
        let app = app_of(&effect.target);
        let target = fleet.index_of(&effect.target).unwrap();
        if plan.is_control(target) {
            cohorts.insert(app);
            let others = fleet
                .targets_of(fleet.app_index(app).unwrap())
                .filter(|&other| !plan.is_control(other))
                .count();
            assert_eq!(upgraded.get(app), Some(&others), "{} before its time", effect.target);
        } else {
            *upgraded.entry(app).or_default() += 1;
        }
    }
    assert_eq!(cohorts.len(), 4);
}

/// A watch that is read from its beginning tells of all births there ever were.
#[test]
fn news_of_those_who_were_planned_for_are_no_births() {
    let case = Case::calm(2, 12);
    let undisturbed = case.run();
    let stage = case.stage();
    stage
        .platform
        .tell_first(case.targets.iter().map(|target| FleetChange::Joined {
            target: target.id.as_str().into(),
            app: target.app.as_str().into(),
            labels: Vec::new(),
            version: OLD.into(),
        }));
    let told = stage.run();
    assert_eq!(told.outcome, Outcome::Completed);
    assert_eq!(told.summary.exposure, undisturbed.summary.exposure);
    assert_eq!(told.codes(), undisturbed.codes());
}

/// Nobody is born to a release that a person has yet to begin, and births begin nothing.
#[test]
fn births_begin_no_change() {
    for level in [Level::L4, Level::L2] {
        let mut case = churning(4, 40, 24.0).level(level);
        if level == Level::L4 {
            case.author = Actor::program("train", "nightly");
            case.granted = Some(START_WALL_MS + 4_000 * i64::try_from(HOUR_MS).unwrap());
        }
        let mut stage = case.stage();
        let births = keep_births(&stage);
        let clock = stage.sim.clock();
        let driven = stage.drive(async { clock.sleep_until(10 * HOUR_MS).await });
        assert!(driven.unwrap().is_none(), "{level}");
        let births = births.lock();
        assert!(births.len() > 100, "{level}: {}", births.len());
        assert!(births.iter().all(|birth| birth.side == Side::Old), "{level}");
        assert!(stage.platform.effects().is_empty(), "{level}");
        let questions = stage.handle.questions();
        assert_eq!(questions.len(), 1, "{level}: {questions:?}");
    }
}

/// By births alone a release would grow where and when the rules let nothing of it start.
#[test]
fn nobody_is_born_to_a_release_in_protected_hours() {
    let mut case = churning(4, 40, 24.0);
    // The simulated day begins at eight.
    case.rules = "version: 1\npack: day\nowner: ops\nscope: all\nwindows:\n  - {id: day, kind: protected, select: {stack: [stack-1]}, \
        weekly: {days: daily, from: \"06:00\", for: 12h}, zone: UTC, reason: business}\n"
        .to_owned();
    let mut stage = case.stage();
    let new: Arc<Mutex<BTreeMap<String, u32>>> = Arc::default();
    let (counted, handle) = (Arc::clone(&new), stage.handle.clone());
    stage.sim.on_birth(Box::new(move |newborn| {
        let labels: Vec<(&str, &str)> = newborn.labels.iter().map(|(key, value)| (&**key, &**value)).collect();
        let side = handle.version_for(newborn.target.as_str(), &newborn.app, &labels);
        let (_, stack) = labels.iter().find(|(key, _)| *key == "stack").unwrap();
        *counted.lock().entry((*stack).to_owned()).or_default() += u32::from(side == Side::New);
        Version::from(if side == Side::New { NEW } else { OLD })
    }));
    let clock = stage.sim.clock();
    let driven = stage.drive(async { clock.sleep_until(9 * HOUR_MS).await });
    assert!(driven.unwrap().is_none());
    let new = new.lock();
    assert_eq!(new["stack-1"], 0, "{new:?}");
    assert!(new["stack-0"] > 100, "{new:?}");
}

/// Tells of some that they left and were born on the old version: news of before they were upgraded that are told once more, or of now.
pub(crate) fn tell_again(stage: &Stage, case: &Case) -> impl Fn(&BTreeSet<String>) + use<> {
    let (platform, all) = (Arc::clone(&stage.platform), case.targets.clone());
    move |names| {
        for target in all.iter().filter(|target| names.contains(&target.id)) {
            let label = |(key, value): &(String, String)| (key.as_str().into(), value.as_str().into());
            platform.tell_first([
                FleetChange::Left {
                    target: target.id.as_str().into(),
                },
                FleetChange::Joined {
                    target: target.id.as_str().into(),
                    app: target.app.as_str().into(),
                    labels: target.labels.iter().map(label).collect(),
                    version: OLD.into(),
                },
            ]);
        }
    }
}

/// The first of those that were brought to a version.
fn first_brought_to(platform: &Watched, version: &str) -> BTreeSet<String> {
    let effects = platform.effects().into_iter();
    let there = effects.filter(|effect| effect.disturbs() && effect.version.as_deref() == Some(version));
    there.take(5).map(|effect| effect.target).collect()
}

#[test]
fn a_birth_that_is_told_again_hides_nobody_from_the_way_back() {
    for goes_back_before in [false, true] {
        let case = Case::calm(4, 20);
        let stage = case.stage();
        let tell = tell_again(&stage, &case);
        let (handle, clock, platform) = (stage.handle.clone(), stage.sim.clock(), Arc::clone(&stage.platform));
        let ended = stage.run_beside(async move {
            while handle.progress().is_none_or(|progress| progress.exposed < 30) {
                clock.sleep_until(clock.now() + 1_000).await;
            }
            handle.pause(person(), "the controller is started again").unwrap();
            clock.sleep_until(clock.now() + 20 * MINUTE_MS).await;
            let back = || handle.roll_back(person(), "it is bad").unwrap();
            if goes_back_before {
                back();
            }
            tell(&first_brought_to(&platform, NEW));
            clock.sleep_until(clock.now() + 5 * MINUTE_MS).await;
            if !goes_back_before {
                back();
            }
        });
        assert_eq!(ended.outcome, Outcome::RolledBack);
        ended.all_on_old();
        let played = futures::executor::block_on(unattended::replay(&*ended.journal, None)).unwrap();
        assert_eq!(played.first_difference, None);
    }
}

#[test]
fn who_runs_the_old_version_under_a_name_that_ran_the_new_one_is_looked_at_and_left_alone() {
    let case = Case::calm(4, 20);
    let stage = case.stage();
    let tell = tell_again(&stage, &case);
    let (handle, clock, platform) = (stage.handle.clone(), stage.sim.clock(), Arc::clone(&stage.platform));
    let told = Arc::new(Mutex::new((BTreeSet::new(), 0)));
    let kept = Arc::clone(&told);
    let ended = stage.run_beside(async move {
        while handle.progress().is_none_or(|progress| progress.exposed < 30) {
            clock.sleep_until(clock.now() + 1_000).await;
        }
        handle.roll_back(person(), "it is bad").unwrap();
        while handle.progress().is_none_or(|progress| progress.exposed > 20) {
            clock.sleep_until(clock.now() + 1_000).await;
        }
        let back = first_brought_to(&platform, OLD);
        tell(&back);
        *kept.lock() = (back, clock.now());
    });
    assert_eq!(ended.outcome, Outcome::RolledBack);
    ended.all_on_old();
    let (told, told_ms) = &*told.lock();
    assert_eq!(told.len(), 5);
    let later = |effect: &&Effect| effect.at_ms > *told_ms && told.contains(&effect.target);
    let later: Vec<_> = ended.effects.iter().filter(later).collect();
    let finished = |name: &String| {
        let lines = ended.dump().into_iter();
        lines
            .filter(|line| line.kind == "finished" && line.target.as_ref() == Some(name))
            .count()
    };
    // There, back, and a look.
    assert!(told.iter().all(|name| finished(name) == 3));
    assert!(!later.iter().any(|effect| effect.disturbs()), "{later:?}");
}

/// An application grows by thirty while its class has shown next to nothing: they wait for its evidence.
#[test]
fn newborns_wait_for_the_evidence_of_their_class() {
    let shape = |whole: bool| {
        let mut case = Case::calm(12, 30);
        case.targets
            .retain(|target| whole || target.app != "app-10" || target.id.ends_with("-0"));
        for target in &mut case.targets {
            let odd = target.app == "app-10" || target.app == "app-11";
            for (_, value) in target.labels.iter_mut().filter(|(key, _)| key == "stack") {
                *value = if odd { "odd" } else { "main" }.to_owned();
            }
        }
        case.policy = case.policy.spread(["stack"]);
        case.world.requests_per_s_median = 3.0;
        case.settings.silent_after_ms = 1_000 * HOUR_MS;
        case
    };
    let (small, big) = (shape(false), shape(true));
    let mut stage = small.stage_in(big.simulated(), Arc::new(unattended::upgrade::MemoryJournal::new()));
    let clock = stage.sim.clock();
    let class = |stage: &Stage, name: &str| {
        let summary = stage.handle.summary().unwrap();
        summary.classes.into_iter().find(|view| view.name == name).unwrap()
    };
    let (mut told, mut ended) = (false, None);
    for at in 1..6 * 24 * 20 {
        ended = stage.drive(clock.sleep_until(at * 600_000)).unwrap();
        if ended.is_some() {
            break;
        }
        let odd = class(&stage, "stack=odd");
        if !told && class(&stage, "fleet").exposed >= 100 && odd.may_expose <= 8 {
            told = true;
            let born = (big.targets.iter()).filter(|target| !small.targets.iter().any(|known| known.id == target.id));
            let label = |(key, value): &(String, String)| (key.as_str().into(), value.as_str().into());
            stage.platform.tell_first(born.map(|target| FleetChange::Joined {
                target: target.id.as_str().into(),
                app: target.app.as_str().into(),
                labels: target.labels.iter().map(label).collect(),
                version: OLD.into(),
            }));
        }
        if odd.state != "through" {
            // They may take the room of planned ones of the same stage, who follow all the same.
            assert!(odd.exposed <= 2 * odd.may_expose + 1, "{} min: {odd:?}", at * 10);
        }
    }
    assert!(told);
    assert_eq!(ended.map(Result::unwrap), Some(Outcome::Completed));
    assert_eq!(class(&stage, "stack=odd").exposed, 60, "all of them have their turn");
}
