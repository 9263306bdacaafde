//! Regions one after the other, and a region that cannot be reached.
#![expect(clippy::unwrap_used, reason = "a failure of a helper is a failed test")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use unattended::upgrade::{Clock, FleetChange, TargetId};
use unattended::{Outcome, Severity};

use crate::support::{Case, Ended, HOUR_MS, MINUTE_MS, OLD, START_WALL_MS, person};

const REGIONS: [&str; 3] = ["eu", "us", "asia"];

/// The region of a target, by its number.
fn region_of(target: &str) -> &'static str {
    let (app, number) = target.rsplit_once('-').unwrap();
    let regions = if app == "app-3" { 2 } else { REGIONS.len() };
    REGIONS[number.parse::<usize>().unwrap() % regions]
}

/// Applications that live in all three regions, and one that does not live in asia.
fn case() -> Case {
    let mut case = Case::calm(4, 24);
    for target in &mut case.targets {
        target
            .labels
            .push(("region".to_owned(), region_of(&target.id).to_owned()));
    }
    case.policy = case.policy.spread(["region", "stack"]);
    case.settings.domains = vec!["region".to_owned()];
    case
}

/// When the decisions of this code were taken, and what they say.
fn decisions<'e>(ended: &'e Ended, code: &str) -> Vec<(u64, &'e str)> {
    (ended.summary.decisions.iter())
        .filter(|decision| decision.code == code)
        .map(|decision| (decision.at_ms, decision.text.as_str()))
        .collect()
}

#[test]
fn no_two_regions_are_exposed_for_the_first_time_at_once() {
    let ended = case().run();
    assert_eq!(ended.outcome, Outcome::Completed);
    ended.all_on_new();
    let shown = decisions(&ended, "region.shown");
    assert_eq!(shown.len(), REGIONS.len(), "{shown:?}");
    let first_of = |region: &str| {
        let mut disturbing = ended.effects.iter().filter(|effect| effect.disturbs());
        disturbing
            .find(|effect| region_of(&effect.target) == region)
            .unwrap()
            .at_ms
    };
    let mut firsts: Vec<u64> = REGIONS.iter().map(|region| first_of(region)).collect();
    firsts.sort_unstable();
    for (next, (at, text)) in firsts[1..].iter().zip(&shown) {
        assert!(next >= at, "{text} at {at} ms, and the next region began at {next} ms");
    }
    // Without a word on domains the first batch has them all.
    let mut plain = case();
    plain.settings.domains.clear();
    let plain = plain.run();
    let early = plain
        .effects
        .iter()
        .filter(|effect| effect.disturbs() && effect.at_ms < firsts[1] / 2);
    let regions: BTreeSet<&str> = early.map(|effect| region_of(&effect.target)).collect();
    assert_eq!(regions.len(), REGIONS.len());
    assert_eq!(decisions(&plain, "region.first"), []);
}

/// How looks at a region are not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Away {
    Hangs,
    ShowsNobody,
}

/// Runs it while looks at `asia` hang, from the first change there on, for so long.
fn cut_off(case: &Case, silent_ms: u64) -> Ended {
    cut_off_as(Away::Hangs, case, silent_ms)
}

fn cut_off_as(away: Away, case: &Case, silent_ms: u64) -> Ended {
    let stage = case.stage();
    let silent = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&silent);
    let of_asia = move |targets: &[TargetId]| {
        switch.load(Ordering::Relaxed) && targets.iter().any(|target| region_of(target.as_str()) == "asia")
    };
    match away {
        Away::Hangs => stage.platform.silent_where(of_asia),
        Away::ShowsNobody => stage.platform.empty_where(of_asia),
    }
    let begin = Arc::clone(&silent);
    stage.platform.before_each(move |effect| {
        if effect.disturbs() && region_of(&effect.target) == "asia" {
            begin.store(true, Ordering::Relaxed);
        }
    });
    let (clock, platform) = (stage.sim.clock(), Arc::clone(&stage.platform));
    stage.run_beside(async move {
        while !silent.load(Ordering::Relaxed) {
            clock.sleep_until(clock.now() + MINUTE_MS).await;
        }
        clock.sleep_until(clock.now() + silent_ms).await;
        silent.store(false, Ordering::Relaxed);
        platform.before_each(|_| {});
    })
}

#[test]
fn a_region_that_cannot_be_reached_holds_its_own_and_nobody_else() {
    let ended = cut_off(&case(), 4 * HOUR_MS);
    holds_asia_alone(&ended);
}

#[test]
fn an_answer_that_shows_nobody_of_a_region_is_no_sight_of_it() {
    let ended = cut_off_as(Away::ShowsNobody, &case(), 4 * HOUR_MS);
    holds_asia_alone(&ended);
}

#[test]
fn what_is_part_of_another_is_not_named_before_it() {
    let mut case = case();
    for target in &mut case.targets {
        let zone = format!("{}-{}", region_of(&target.id), target.id.len() % 2);
        target.labels[0] = ("zone".to_owned(), zone);
        // The same in each region.
        let colour = if target.id.ends_with('1') { "blue" } else { "green" };
        target.labels.push(("colour".to_owned(), colour.to_owned()));
    }
    case.policy = case.policy.spread(["region", "zone", "colour"]);
    for (domains, refused) in [
        (["region", "zone"], false),
        (["region", "colour"], false),
        (["colour", "region"], false),
        (["zone", "region"], true),
    ] {
        case.settings.domains = domains.map(str::to_owned).to_vec();
        let started = case.try_start();
        assert_eq!(started.is_err(), refused, "{domains:?}: {started:?}");
        if let Err(error) = started {
            let text = error.to_string();
            assert!(text.contains("`region` before `zone`"), "{text}");
        }
    }
}

#[track_caller]
fn holds_asia_alone(ended: &Ended) {
    assert_eq!(ended.outcome, Outcome::Completed);
    ended.all_on_new();
    let (silent, back) = (decisions(ended, "domain.silent"), decisions(ended, "domain.back"));
    assert_eq!((silent.len(), back.len()), (1, 1), "{silent:?} {back:?}");
    assert!(silent[0].1.contains("region=asia"), "{silent:?}");
    let between = |region: &str| {
        let meant = |target: &str| region_of(target) == region;
        let during = ended
            .effects
            .iter()
            .filter(|effect| effect.at_ms > silent[0].0 && effect.at_ms < back[0].0);
        let begun: BTreeSet<&str> = during
            .filter(|effect| effect.disturbs() && meant(&effect.target))
            .map(|effect| effect.target.as_str())
            .collect();
        begun.len()
    };
    assert_eq!(between("asia"), 0);
    assert!(between("eu") > 0 && between("us") > 0);
    // People were told once, and that it was over.
    let told: Vec<_> = ended
        .pager
        .all()
        .into_iter()
        .filter(|notice| notice.code == "domain.silent")
        .collect();
    assert!(
        told.len() >= 2 && told.iter().all(|notice| notice.severity == Severity::Warning),
        "{told:?}"
    );
    assert_eq!(told.last().unwrap().stage, unattended::NoticeStage::Resolved);
}

#[test]
fn a_region_that_stays_away_is_left_as_debt() {
    let mut case = case();
    case.settings.blocked_patience_ms = HOUR_MS;
    let ended = cut_off(&case, 20 * HOUR_MS);
    assert_eq!(ended.outcome, Outcome::CompletedWithDebt);
    // Nobody knows whether they serve: they count against their applications, and against no other one.
    let debts = &ended.summary.debts;
    let given_up = |debt: &unattended::Debt| debt.reason.contains("region=asia could not be reached for");
    for debt in debts {
        assert_ne!(debt.owner, "app-3", "{debt:?}");
        assert_eq!(
            given_up(debt),
            region_of(&debt.target) == "asia" && !debt.reason.contains("allowance"),
            "{debt:?}"
        );
    }
    // It is given the whole patience, and no more.
    let silent_ms = decisions(&ended, "domain.silent")[0].0;
    let owed_ms = |debt: &unattended::Debt| {
        u64::try_from(debt.expires_unix_ms - START_WALL_MS).unwrap() - case.settings.debt_expiry_ms
    };
    let first = debts.iter().filter(|debt| given_up(debt)).map(owed_ms).min().unwrap();
    assert!(
        (silent_ms + HOUR_MS..silent_ms + HOUR_MS + 2 * MINUTE_MS).contains(&first),
        "silent from {silent_ms} ms, given up at {first} ms"
    );
    // Whoever is owed was left alone, and everybody else has the new version: nobody is lost between the two.
    let owed: BTreeSet<&str> = debts.iter().map(|debt| debt.target.as_str()).collect();
    let begun: BTreeSet<&str> = (ended.effects.iter())
        .filter(|effect| effect.disturbs())
        .map(|effect| effect.target.as_str())
        .collect();
    for target in &case.targets {
        let id = target.id.as_str();
        assert!(
            owed.contains(id) || begun.contains(id),
            "{id} is neither changed nor owed"
        );
    }
    for debt in debts.iter().filter(|debt| given_up(debt)) {
        let late = ended
            .effects
            .iter()
            .find(|effect| effect.target == debt.target && effect.at_ms > silent_ms);
        assert!(late.is_none(), "{debt:?}: {late:?}");
    }
    let census = ended.sim.census();
    assert!(
        census.on_new_verified + debts.len() as u64 >= census.targets,
        "{census:?}"
    );
}

#[test]
fn a_change_that_waits_for_a_region_is_taken_up_again() {
    let whole = cut_off(&case(), 2 * HOUR_MS);
    let played = futures::executor::block_on(unattended::replay(&*whole.journal, None)).unwrap();
    assert_eq!(played.first_difference, None);
    assert_eq!(played.digest, played.journal_digest);
}

#[test]
fn domains_that_the_fleet_does_not_have_are_refused() {
    let mut case = case();
    for (keys, word) in [
        (vec!["cell"], "`cell`, which is no label"),
        (vec!["region", "region"], "twice"),
        (vec!["zone"], "does not spread over"),
    ] {
        case.settings.domains = keys.into_iter().map(ToOwned::to_owned).collect();
        let error = case.try_start().unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
}

/// Everybody lives in the region that is cut off, too: more of each application than may be out of service at once, in every slice.
#[test]
fn applications_go_on_in_the_other_regions_while_one_is_silent() {
    let large = || {
        let mut case = Case::calm(4, 240);
        for (at, target) in case.targets.iter_mut().enumerate() {
            let region = REGIONS[at % REGIONS.len()];
            target.labels.push(("region".to_owned(), region.to_owned()));
        }
        case.policy = case.policy.spread(["region", "stack"]);
        case.settings.domains = vec!["region".to_owned()];
        case.settings.blocked_patience_ms = 48 * HOUR_MS;
        case
    };
    let case = large();
    let is_asia = |target: &str| {
        let at = target.rsplit_once('-').unwrap().1.parse::<usize>().unwrap();
        REGIONS[at % REGIONS.len()] == "asia"
    };
    let undisturbed_ms = large().run().effects.last().unwrap().at_ms;

    let mut stage = case.stage();
    let off = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&off);
    stage.platform.silent_where(move |targets| {
        switch.load(Ordering::Relaxed) && targets.iter().any(|target| is_asia(target.as_str()))
    });
    let (handle, clock) = (stage.handle.clone(), stage.sim.clock());
    let begun = stage.drive(async {
        while handle.progress().is_none_or(|progress| progress.exposed < 100) {
            clock.sleep_until(clock.now() + 1_000).await;
        }
    });
    assert!(begun.unwrap().is_none());
    off.store(true, Ordering::Relaxed);
    let silent_ms = clock.now();
    assert!(
        stage
            .drive(clock.sleep_until(silent_ms + 2 * undisturbed_ms))
            .unwrap()
            .is_none()
    );
    let touched = |asia: bool| {
        let effects = stage.platform.effects();
        let its = effects
            .iter()
            .filter(|effect| effect.disturbs() && is_asia(&effect.target) == asia);
        its.map(|effect| effect.target.clone()).collect::<BTreeSet<_>>().len()
    };
    assert_eq!(
        touched(false),
        640,
        "everybody elsewhere, {:?}",
        stage.handle.progress()
    );
    assert!(touched(true) < 320);
    off.store(false, Ordering::Relaxed);
    let back_ms = clock.now();
    // Its own are taken up, no more at once than may be.
    let (handle, most) = (stage.handle.clone(), Arc::new(AtomicU64::new(0)));
    let seen = Arc::clone(&most);
    let ended = stage.run_beside(async move {
        loop {
            let in_flight = handle.progress().map_or(0, |progress| progress.in_flight);
            seen.fetch_max(in_flight, Ordering::Relaxed);
            clock.sleep_until(clock.now() + 1_000).await;
        }
    });
    assert_eq!(ended.outcome, Outcome::Completed);
    ended.all_on_new();
    let most = most.load(Ordering::Relaxed);
    assert!((1..=240).contains(&most), "{most} at once");
    let late = ended
        .effects
        .iter()
        .filter(|effect| effect.at_ms > back_ms && effect.disturbs());
    assert!(late.map(|effect| &effect.target).all(|target| is_asia(target)));
    let played = futures::executor::block_on(unattended::replay(&*ended.journal, None)).unwrap();
    assert_eq!(played.first_difference, None);
}

/// A region is lost for good when most of it has the new version: what nobody can look at any more is owed, and the change ends, forward and
/// back.
#[test]
fn a_region_that_is_lost_when_it_was_reached_keeps_no_change_from_its_end() {
    for goes_back in [false, true] {
        let mut case = case();
        case.settings.blocked_patience_ms = HOUR_MS;
        let stage = case.stage();
        let is_lost = Arc::new(AtomicBool::new(false));
        let switch = Arc::clone(&is_lost);
        stage.platform.silent_where(move |targets: &[TargetId]| {
            switch.load(Ordering::Relaxed) && targets.iter().any(|target| region_of(target.as_str()) == "asia")
        });
        let (handle, clock) = (stage.handle.clone(), stage.sim.clock());
        let ended = stage.run_beside(async move {
            while handle.progress().is_none_or(|progress| progress.exposed < 80) {
                clock.sleep_until(clock.now() + 1_000).await;
            }
            is_lost.store(true, Ordering::Relaxed);
            if goes_back {
                handle.roll_back(person(), "orders fail").unwrap();
            }
        });
        let expected = if goes_back {
            Outcome::RolledBackPartially
        } else {
            Outcome::CompletedWithDebt
        };
        assert_eq!(ended.outcome, expected);
        assert!(ended.summary.elapsed_ms < 24 * HOUR_MS, "{}", ended.summary.elapsed_ms);
        let debts = &ended.summary.debts;
        assert!(!debts.is_empty());
        // Back, the lost ones use up what may be out of service of their applications, and others of these have to stay.
        let of_asia = |debt: &&unattended::Debt| region_of(&debt.target) == "asia";
        let (lost, others): (Vec<_>, Vec<_>) = debts.iter().partition(of_asia);
        assert!(!lost.is_empty() && others.is_empty() != goes_back, "{debts:?}");
        let by_caps = |debt: &unattended::Debt| debt.reason.contains("the caps let no more be out of service");
        assert!(others.into_iter().all(by_caps), "{debts:?}");
    }
}

/// All that were looked at first are gone, as when nodes are renewed: those that came in their place are.
#[test]
fn a_region_whose_targets_were_all_renewed_is_seen_to_be_silent() {
    for is_renewed in [false, true] {
        let mut case = Case::calm(4, 48);
        for target in &mut case.targets {
            let region = REGIONS[target.id.rsplit_once('-').unwrap().1.parse::<usize>().unwrap() % 3];
            target.labels.push(("region".to_owned(), region.to_owned()));
        }
        case.policy = case.policy.spread(["region", "stack"]);
        case.settings.domains = vec!["region".to_owned()];
        let mut stage = case.stage();
        let of_asia: BTreeSet<String> = case
            .targets
            .iter()
            .filter(|target| target.labels.iter().any(|(_, value)| value == "asia"))
            .map(|target| target.id.clone())
            .collect();
        let renewed = |id: &str| format!("{id}-b");
        let silent: BTreeSet<String> = of_asia.iter().map(|id| renewed(id)).chain(of_asia.clone()).collect();
        let is_off = Arc::new(AtomicBool::new(false));
        let switch = Arc::clone(&is_off);
        stage.platform.silent_where(move |targets: &[TargetId]| {
            switch.load(Ordering::Relaxed) && targets.iter().any(|target| silent.contains(target.as_str()))
        });
        let (handle, clock, platform) = (stage.handle.clone(), stage.sim.clock(), Arc::clone(&stage.platform));
        let driven = stage.drive(async {
            clock.sleep_until(2 * MINUTE_MS).await;
            handle.pause(person(), "nodes are renewed").unwrap();
            clock.sleep_until(20 * MINUTE_MS).await;
            if is_renewed {
                let of_asia = case.targets.iter().filter(|target| of_asia.contains(&target.id));
                platform.tell_first(of_asia.flat_map(|target| {
                    let labels = target.labels.iter();
                    let born = FleetChange::Joined {
                        target: renewed(&target.id).as_str().into(),
                        app: target.app.as_str().into(),
                        labels: labels
                            .map(|(key, value)| (key.as_str().into(), value.as_str().into()))
                            .collect(),
                        version: OLD.into(),
                    };
                    let left = FleetChange::Left {
                        target: target.id.as_str().into(),
                    };
                    [left, born]
                }));
            }
            clock.sleep_until(25 * MINUTE_MS).await;
            is_off.store(true, Ordering::Relaxed);
            clock.sleep_until(60 * MINUTE_MS).await;
        });
        assert!(driven.unwrap().is_none());
        let summary = stage.handle.summary().unwrap();
        let silent = summary.decisions.iter().filter(|one| one.code == "domain.silent");
        assert_eq!(silent.count(), 1, "renewed: {is_renewed}");
    }
}
