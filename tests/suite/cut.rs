//! Stops that roll nothing back by themselves: traffic is cut, or what runs the new version is left as it stands.
#![expect(clippy::unwrap_used, reason = "a failure of a helper is a failed test")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use unattended::upgrade::{Clock, MemoryJournal};
use unattended::{Actor, Grant, Level, OnClassFault, OnStop, Outcome, StartError, replay};

use crate::crash::{Death, groups_of, run_until_death};
use crate::support::{Act, Can, Case, HOUR_MS, MINUTE_MS, NEW, OLD, START_WALL_MS, Stage, app_of, app_sizes, person};

/// A bad release over ten applications, of which some targets run it before it is stopped.
fn bad(on_stop: OnStop) -> Case {
    let mut case = Case::calm(10, 20).release("late=40m:errors=x20");
    case.settings.on_stop = on_stop;
    case.heals = (on_stop == OnStop::CutTraffic).then_some(Can::ALL);
    case
}

/// Runs until the stop, and so long after it.
fn run_past_the_stop(stage: &mut Stage, more_ms: u64) -> u64 {
    goes_past_the_stop(stage, more_ms).unwrap()
}

/// The same, where it may end as waiting before: `None`.
fn goes_past_the_stop(stage: &mut Stage, more_ms: u64) -> Option<u64> {
    let (clock, handle) = (stage.sim.clock(), stage.handle.clone());
    let stopped = || {
        let summary = handle.summary();
        summary.is_some_and(|summary| summary.exposed_at_stop.is_some())
    };
    let other = async {
        while !stopped() {
            clock.sleep_until(clock.now() + MINUTE_MS).await;
        }
    };
    if let Some(ended) = stage.drive(other).unwrap() {
        assert_eq!(ended.unwrap(), Outcome::Waiting);
        return None;
    }
    let at_ms = clock.now();
    if let Some(ended) = stage.drive(clock.sleep_until(at_ms + more_ms)).unwrap() {
        assert_eq!(ended.unwrap(), Outcome::Waiting);
        return None;
    }
    Some(at_ms)
}

/// Each time somebody is cut off: the caps hold, those under way included.
fn watch_caps(stage: &Stage, case: &Case) {
    let (sim, handle) = (Arc::clone(&stage.sim), stage.handle.clone());
    let sizes = app_sizes(&case.targets);
    let all = case.targets.len();
    stage.ward.after_each(move |given| {
        if given.act != "isolate" {
            return;
        }
        let out = sim.isolated();
        let flying = handle.progress().map_or(0, |progress| progress.in_flight);
        assert!(
            (out.len() as u64 + flying) * 4 <= all as u64,
            "{} out and {flying} under way",
            out.len()
        );
        let mut by_app: BTreeMap<&str, u32> = BTreeMap::new();
        for target in &out {
            *by_app.entry(app_of(target.as_str())).or_default() += 1;
        }
        for (app, out) in by_app {
            assert!(out * 4 <= sizes[app], "{app}: {out} out");
        }
    });
}

#[test]
fn cut_traffic_does_less_harm_than_to_freeze_in_place_within_the_caps() {
    let harm = |on_stop| {
        let case = bad(on_stop);
        let mut stage = case.stage();
        watch_caps(&stage, &case);
        let at_ms = run_past_the_stop(&mut stage, 0);
        let before = stage.sim.harm();
        let clock = stage.sim.clock();
        assert!(stage.drive(clock.sleep_until(at_ms + 5 * HOUR_MS)).unwrap().is_none());
        (at_ms, stage.sim.harm() - before, stage)
    };
    let (stopped_ms, frozen_harm, frozen) = harm(OnStop::FreezeInPlace);
    let (cut_ms, cut_harm, cut) = harm(OnStop::CutTraffic);
    assert_eq!(stopped_ms, cut_ms, "the same is found at the same moment");
    assert!(
        frozen_harm > 0.0 && cut_harm < 0.5 * frozen_harm,
        "{cut_harm} of {frozen_harm}"
    );
    // Nobody was touched by either, and both ask.
    for stage in [&frozen, &cut] {
        let back = |effect: &&crate::support::Effect| effect.version.as_deref() == Some(OLD);
        assert_eq!(stage.platform.effects().iter().filter(back).count(), 0);
        let summary = stage.handle.summary().unwrap();
        assert_eq!(summary.state, "waiting");
        assert!(summary.ask.unwrap().question.contains("Roll back?"));
    }
    assert_eq!(frozen.ward.given(), []);
    // Whoever is out has been out all the time, by leases that were renewed: some twenty for each.
    let summary = cut.handle.summary().unwrap();
    let out: BTreeSet<String> = summary.isolated.iter().map(|one| one.target.clone()).collect();
    let really: BTreeSet<String> = cut.sim.isolated().iter().map(ToString::to_string).collect();
    assert_eq!(out, really);
    let mut times: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for given in cut.ward.given() {
        times.entry(given.target).or_default().push(given.at_ms);
    }
    let lease_ms = bad(OnStop::CutTraffic).settings.isolation_ms;
    for target in &out {
        let times = &times[target];
        assert!(
            times.len() > 20 && times.windows(2).all(|two| two[1] < two[0] + lease_ms),
            "{target}: {times:?}"
        );
    }
    let told = cut.pager.notices();
    let told = told.iter().find(|notice| notice.code == "traffic.cut").unwrap();
    assert!(
        told.text.starts_with(&format!("{} targets", out.len())),
        "{}",
        told.text
    );
}

#[test]
fn what_the_caps_do_not_let_out_keeps_serving_and_the_newest_go_first() {
    let mut case = bad(OnStop::CutTraffic);
    // A quarter of an application is five; the first batches of a change of two applications are larger than what may be out.
    case.policy = case.policy.total_in_flight(unattended::batching::pct(2));
    let mut stage = case.stage();
    let sim = Arc::clone(&stage.sim);
    stage.ward.after_each(move |_| assert!(sim.isolated().len() <= 4));
    run_past_the_stop(&mut stage, 10 * MINUTE_MS);
    let exposed = stage.handle.summary().unwrap().exposure.exposed;
    let out: BTreeSet<String> = stage.sim.isolated().iter().map(ToString::to_string).collect();
    assert!(out.len() == 4 && exposed > 4, "{out:?} of {exposed}");
    let decided = stage.handle.summary().unwrap().decisions;
    let cut = decided.iter().rfind(|one| one.code == "cut.traffic").unwrap();
    assert!(
        cut.text.contains(&format!(
            "4 targets of mesh-2 get no traffic, the newest first; {} keep serving",
            exposed - 4
        )),
        "{}",
        cut.text
    );
    // Those that came last: their way in was opened last. They are looked at ten seconds apart.
    let mut came: BTreeMap<String, u64> = BTreeMap::new();
    for effect in stage.platform.effects() {
        if effect.act == Act::Open {
            came.insert(effect.target, effect.at_ms);
        }
    }
    let (cut, kept): (Vec<_>, Vec<_>) = came.iter().partition(|(target, _)| out.contains(*target));
    let first_cut = cut.iter().map(|(_, at)| **at).min().unwrap();
    let last_kept = kept.iter().map(|(_, at)| **at).max().unwrap();
    assert!(first_cut + 10_000 >= last_kept, "{cut:?} {kept:?}");
    let last_cut = cut.iter().map(|(_, at)| **at).max().unwrap();
    let first_kept = kept.iter().map(|(_, at)| **at).min().unwrap();
    assert!(
        first_kept + 60_000 < last_cut,
        "they did not come one after the other: {came:?}"
    );
}

#[test]
fn a_yes_rolls_back_and_each_gets_traffic_once_it_is_back() {
    let case = bad(OnStop::CutTraffic);
    let mut stage = case.stage();
    watch_caps(&stage, &case);
    run_past_the_stop(&mut stage, 30 * MINUTE_MS);
    let out = stage.sim.isolated().len();
    assert!(out > 2);
    stage.handle.approve(person(), "back with it").unwrap();
    let ended = stage.run();
    assert_eq!(ended.outcome, Outcome::RolledBack);
    ended.all_on_old();
    assert!(ended.sim.isolated().is_empty() && ended.summary.isolated.is_empty());
    let readmitted: BTreeSet<&str> = ended
        .healed
        .iter()
        .filter(|one| one.act == "readmit")
        .map(|one| one.target.as_str())
        .collect();
    assert_eq!(readmitted.len(), out);
    // None of them while it still ran the new version.
    for one in ended.healed.iter().filter(|one| one.act == "readmit") {
        let back = ended.effects.iter().any(|effect| {
            effect.target == one.target && effect.version.as_deref() == Some(OLD) && effect.at_ms < one.at_ms
        });
        assert!(back, "{one:?}");
    }
    let played = futures::executor::block_on(replay(&*ended.journal, None)).unwrap();
    assert_eq!(
        (played.first_difference, &played.digest),
        (None, &played.journal_digest)
    );
}

#[test]
fn going_on_and_aborting_let_all_in() {
    for aborts in [false, true] {
        let mut stage = bad(OnStop::CutTraffic).stage();
        run_past_the_stop(&mut stage, 30 * MINUTE_MS);
        let out = stage.sim.isolated().len();
        assert!(out > 2);
        if aborts {
            stage.handle.abort(person(), "another day").unwrap();
            let ended = stage.run();
            assert_eq!(ended.outcome, Outcome::Aborted);
            assert!(ended.sim.isolated().is_empty() && ended.summary.isolated.is_empty());
            let readmitted = ended.healed.iter().filter(|one| one.act == "readmit").count();
            assert_eq!(readmitted, out);
            continue;
        }
        stage.handle.resume(person(), "they are used to it").unwrap();
        let clock = stage.sim.clock();
        assert!(
            stage
                .drive(clock.sleep_until(clock.now() + 2 * MINUTE_MS))
                .unwrap()
                .is_none()
        );
        assert!(stage.sim.isolated().is_empty());
        let decided = stage.handle.summary().unwrap().decisions;
        let over = decided.iter().find(|one| one.code == "cut.over").unwrap();
        assert_eq!(over.text, format!("{out} targets get traffic again"));
        let before = stage.ward.given().len();
        let minute = |stage: &mut Stage| {
            stage
                .drive(clock.sleep_until(clock.now() + MINUTE_MS))
                .unwrap()
                .is_none()
        };
        let stops = |stage: &Stage| {
            let decided = stage.handle.summary().unwrap().decisions;
            decided.iter().filter(|one| one.code == "stop.evidence").count()
        };
        while stops(&stage) == 1 {
            assert_eq!(
                stage.ward.given().len(),
                before,
                "nobody is cut off again until twice as many show it"
            );
            assert!(minute(&mut stage));
        }
        (0..60).for_each(|_| assert!(minute(&mut stage)));
        assert!(stage.sim.isolated().len() > out);
    }
}

#[test]
fn a_freeze_lets_leases_run_out_and_a_resume_cuts_again() {
    let mut stage = bad(OnStop::CutTraffic).stage();
    run_past_the_stop(&mut stage, 30 * MINUTE_MS);
    let out = stage.sim.isolated().len();
    stage.handle.freeze(person(), "wait").unwrap();
    let clock = stage.sim.clock();
    assert!(
        stage
            .drive(clock.sleep_until(clock.now() + MINUTE_MS))
            .unwrap()
            .is_none()
    );
    let before = stage.ward.given().len();
    assert!(stage.drive(clock.sleep_until(clock.now() + HOUR_MS)).unwrap().is_none());
    assert_eq!((stage.ward.given().len(), stage.sim.isolated().len()), (before, 0));
    assert!(stage.handle.summary().unwrap().isolated.is_empty());
    stage.handle.resume(person(), "go on").unwrap();
    assert!(
        stage
            .drive(clock.sleep_until(clock.now() + 5 * MINUTE_MS))
            .unwrap()
            .is_none()
    );
    assert_eq!(stage.sim.isolated().len(), out);
}

#[test]
fn below_l4_nobody_is_cut_off_without_a_word() {
    let mut stage = bad(OnStop::CutTraffic).level(Level::L3).stage();
    let clock = stage.sim.clock();
    // A person has checks that block go on, and does not answer the stop.
    let handle = stage.handle.clone();
    let other = async {
        loop {
            clock.sleep_until(clock.now() + 10 * MINUTE_MS).await;
            let summary = handle.summary().unwrap();
            if summary.exposed_at_stop.is_some() {
                break;
            }
            if summary.ask.is_some() {
                handle.approve(person(), "go on").unwrap();
            }
        }
        clock.sleep_until(clock.now() + HOUR_MS).await;
    };
    assert!(stage.drive(other).unwrap().is_none());
    assert_eq!(stage.ward.given(), []);
    let ask = stage.handle.summary().unwrap().ask.unwrap();
    assert!(
        ask.question
            .contains("at L3 that takes a person's word, which a grant of L4 is"),
        "{}",
        ask.question
    );
    let grant = Grant::new(Level::L4, person(), START_WALL_MS + 20 * 24 * 3_600_000).unwrap();
    stage.handle.grant(grant, "cut it").unwrap();
    assert!(
        stage
            .drive(clock.sleep_until(clock.now() + 2 * MINUTE_MS))
            .unwrap()
            .is_none()
    );
    assert!(!stage.sim.isolated().is_empty());
}

#[test]
fn a_platform_that_cannot_isolate_leaves_it_as_it_stands() {
    let mut case = bad(OnStop::CutTraffic);
    case.heals = Some(Can::NOTHING);
    let mut stage = case.stage();
    run_past_the_stop(&mut stage, 30 * MINUTE_MS);
    assert!(stage.sim.isolated().is_empty());
    let asked = stage
        .pager
        .notices()
        .into_iter()
        .find(|notice| notice.code == "person.asked");
    assert!(asked.is_some() && stage.handle.summary().unwrap().isolated.is_empty());
    stage.handle.approve(person(), "back").unwrap();
    assert_eq!(stage.run().outcome, Outcome::RolledBack);
}

#[test]
fn frozen_in_place_is_left_until_a_person_says() {
    let mut stage = bad(OnStop::FreezeInPlace).stage();
    run_past_the_stop(&mut stage, 40 * HOUR_MS);
    let summary = stage.handle.summary().unwrap();
    assert_eq!(
        (summary.rolled_back, summary.state.as_str(), summary.outcome),
        (0, "waiting", None)
    );
    let at_stop = stage.platform.effects().len();
    stage.handle.approve(person(), "back with it").unwrap();
    let ended = stage.run();
    assert_eq!(ended.outcome, Outcome::RolledBack);
    ended.all_on_old();
    assert!(ended.effects.len() > at_stop);
    // Nobody answers: the run ends as waiting, and another goes on from there.
    let mut case = bad(OnStop::FreezeInPlace);
    case.settings.person_patience_ms = HOUR_MS;
    let journal = Arc::new(MemoryJournal::new());
    let dir = tempfile::tempdir().unwrap();
    case.log = Some(dir.path().join("world"));
    assert_eq!(case.stage_over(journal.clone()).run().outcome, Outcome::Waiting);
    let stage = case.stage_over(journal);
    stage.handle.roll_back(person(), "back with it").unwrap();
    assert_eq!(stage.run().outcome, Outcome::RolledBack);
}

#[test]
fn a_kill_at_any_record_of_a_cut_goes_on_with_it() {
    let mut case = bad(OnStop::CutTraffic);
    case.targets = crate::support::targets(4, 12);
    case.release = "errors=x20";
    // Nobody answers for half an hour: the run ends as waiting, with leases that run out.
    case.settings.person_patience_ms = 30 * MINUTE_MS;
    let dir = tempfile::tempdir().unwrap();
    let undisturbed = case.run();
    assert_eq!(undisturbed.outcome, Outcome::Waiting);
    let cut: BTreeSet<String> = undisturbed.healed.iter().map(|one| one.target.clone()).collect();
    assert!(!cut.is_empty());
    let groups = groups_of(&case);
    for at in 0..groups {
        for death in [Death::SilenceBefore, Death::SilenceAfter] {
            let told = format!("{death:?} at group {at} of {groups}");
            let case = Case {
                log: Some(dir.path().join(format!("{at}-{death:?}"))),
                ..case.clone()
            };
            let journal = Arc::new(MemoryJournal::new());
            assert!(run_until_death(&case, &journal, at, death), "{told}");
            let mut stage = case.stage_over(journal.clone());
            watch_caps(&stage, &case);
            // Where the patience is over meanwhile, it ends as waiting, and another run takes it up.
            while goes_past_the_stop(&mut stage, 10 * MINUTE_MS).is_none() {
                stage = case.stage_over(journal.clone());
                watch_caps(&stage, &case);
            }
            let out: BTreeSet<String> = stage.sim.isolated().iter().map(ToString::to_string).collect();
            assert!(!out.is_empty(), "{told}");
            stage.handle.approve(person(), "back with it").unwrap();
            let ended = stage.run();
            assert_eq!(ended.outcome, Outcome::RolledBack, "{told}");
            assert!(ended.sim.isolated().is_empty(), "{told}");
            assert_eq!(
                futures::executor::block_on(replay(&*journal, None))
                    .unwrap()
                    .first_difference,
                None,
                "{told}"
            );
        }
    }
}

/// Nobody waits for an answer, and what is told of who gets no traffic is so when the run ends; a later run cuts again.
#[test]
fn a_run_without_patience_cuts_before_it_ends() {
    let mut cut = 0;
    for seed in 1..6 {
        let mut case = bad(OnStop::CutTraffic);
        case.seed = seed;
        case.settings.person_patience_ms = 0;
        let journal = Arc::new(MemoryJournal::new());
        let dir = tempfile::tempdir().unwrap();
        case.log = Some(dir.path().join("world"));
        for run in 0..2 {
            let ended = case.stage_over(journal.clone()).run();
            assert_eq!(ended.outcome, Outcome::Waiting, "seed {seed}");
            let told = ended
                .summary
                .decisions
                .iter()
                .filter(|one| one.code == "cut.traffic")
                .count();
            let out = ended.sim.isolated().len();
            assert!(out > 0 && told > 0, "seed {seed}, run {run}: {told} told, {out} out");
            cut += out;
        }
    }
    assert!(cut > 10);
}

#[test]
fn whoever_has_no_number_keeps_serving_and_is_not_taken_to_be_out() {
    let even = |target: &str| target.ends_with(['0', '2', '4', '6', '8']);
    let case = bad(OnStop::CutTraffic);
    let mut stage = case.stage();
    stage
        .ward
        .has_no_number_for(|target| target.as_str().ends_with(['0', '2', '4', '6', '8']));
    run_past_the_stop(&mut stage, HOUR_MS);
    let effects = stage.platform.effects();
    let new = effects.iter().filter(|effect| effect.version.as_deref() == Some(NEW));
    let without: BTreeSet<&str> = new
        .map(|effect| &*effect.target)
        .filter(|target| even(target))
        .collect();
    assert!(!without.is_empty());
    let summary = stage.handle.summary().unwrap();
    let out: Vec<&str> = summary.isolated.iter().map(|one| one.target.as_str()).collect();
    assert!(!out.is_empty() && !out.iter().any(|target| even(target)), "{out:?}");
    let told = |code: &str| summary.decisions.iter().filter(|one| one.code == code).count();
    assert_eq!(told("heal.unknown"), without.len(), "each is asked about once");
    assert_eq!(told("heal.failed"), 0);
    let cut = summary.decisions.iter().rfind(|one| one.code == "cut.traffic").unwrap();
    let words = format!("and {} as they have no number", without.len());
    assert!(cut.text.contains(&words), "{}", cut.text);
    stage.handle.approve(person(), "back with it").unwrap();
    let ended = stage.run();
    assert_eq!(ended.outcome, Outcome::RolledBack);
    assert_eq!(
        futures::executor::block_on(replay(&*ended.journal, None))
            .unwrap()
            .first_difference,
        None
    );
}

#[test]
fn what_contradicts_itself_is_refused_at_the_start() {
    let mut case = bad(OnStop::CutTraffic);
    case.heals = None;
    let error = case.try_start().unwrap_err();
    assert!(matches!(error, StartError::NoHealer), "{error}");
    assert!(error.to_string().contains("`Builder::healer`"));
    case.heals = Some(Can::ALL);
    case.try_start().unwrap();
    case.settings.isolation_ms = 3 * case.settings.interval_ms - 1;
    let error = case.try_start().unwrap_err().to_string();
    assert!(
        error.contains("`isolation_ms` is 179999") && error.contains("180000"),
        "{error}"
    );
    let mut case = bad(OnStop::FreezeInPlace);
    case.settings.on_class_fault = OnClassFault::Class;
    let error = case.try_start().unwrap_err().to_string();
    assert!(
        error.contains("`on_class_fault`") && error.contains("`on_stop`"),
        "{error}"
    );
    let mut case = bad(OnStop::FreezeInPlace);
    case.settings.budget.heals_per_day = 10_001;
    assert!(
        case.try_start()
            .unwrap_err()
            .to_string()
            .contains("`budget.heals_per_day` is 10001")
    );
}

/// Nobody knows whether they were isolated, and nobody lets them in: their leases end all the same.
#[test]
fn an_isolation_that_nobody_answers_for_ends_where_nobody_lets_them_in() {
    let deaf = &["isolate", "readmit"][..];
    let unable = Can {
        readmit: false,
        ..Can::ALL
    };
    for (hangs, can, goes_on) in [
        (deaf, Can::ALL, true),
        (deaf, Can::ALL, false),
        (&deaf[..1], unable, true),
        (&deaf[..1], unable, false),
    ] {
        let mut case = Case::calm(10, 20);
        case.settings.on_stop = OnStop::CutTraffic;
        case.heals = Some(can);
        let stage = case.stage();
        let (handle, clock, ward) = (stage.handle.clone(), stage.sim.clock(), Arc::clone(&stage.ward));
        let ended = stage.run_beside(async move {
            while handle.progress().is_none_or(|progress| progress.exposed < 30) {
                clock.sleep_until(clock.now() + 1_000).await;
            }
            ward.hangs_at(hangs);
            handle
                .roll_back(Actor::program("watch", "alert-7"), "it looks odd")
                .unwrap();
            clock.sleep_until(clock.now() + 20_000).await;
            let out = handle.summary().unwrap().isolated;
            assert!(
                !out.is_empty() && out.iter().all(|one| one.until_ms.is_none()),
                "{out:?}"
            );
            if goes_on {
                handle.resume(person(), "it is fine").unwrap();
            } else {
                handle.roll_back(person(), "it is bad").unwrap();
            }
            clock.sleep_until(clock.now() + HOUR_MS).await;
            let out = handle.summary().unwrap().isolated;
            assert!(out.is_empty(), "{hangs:?} {can:?} {goes_on}: {out:?}");
        });
        let wanted = [Outcome::RolledBack, Outcome::Completed][usize::from(goes_on)];
        assert_eq!(ended.outcome, wanted, "{hangs:?} {can:?}");
        let played = futures::executor::block_on(replay(&*ended.journal, None)).unwrap();
        assert_eq!(played.first_difference, None);
    }
}
