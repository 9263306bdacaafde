//! Regions one after the other, and a region that cannot be reached.
#![expect(clippy::unwrap_used, reason = "a failure of a helper is a failed test")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use unattended::upgrade::{Clock, FleetChange, TargetId};
use unattended::{Level, Outcome, Severity};

use crate::levels::{StageParts, work};
use crate::support::{Case, Ended, HOUR_MS, MINUTE_MS, NEW, OLD, START_WALL_MS, Stage, person};

const REGIONS: [&str; 3] = ["eu", "us", "asia"];

/// The region of a target, by its number.
pub(crate) fn region_of(target: &str) -> &'static str {
    let (app, number) = target.rsplit_once('-').unwrap();
    let regions = if app == "app-3" { 2 } else { REGIONS.len() };
    REGIONS[number.parse::<usize>().unwrap() % regions]
}

/// Applications that live in all three regions, and one that does not live in asia.
pub(crate) fn case() -> Case {
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

/// Looks at `asia` hang while the switch is on.
fn switch_of_asia(stage: &Stage) -> Arc<AtomicBool> {
    let silent = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&silent);
    stage.platform.silent_where(move |targets| {
        switch.load(Ordering::Relaxed) && targets.iter().any(|target| region_of(target.as_str()) == "asia")
    });
    silent
}

/// Everybody of asia is owed since it could not be reached, and nobody else is owed anything.
#[track_caller]
fn owes_asia(ended: &Ended, targets: u64) {
    let debts = &ended.summary.debts;
    assert_eq!(debts.len() as u64, targets, "{debts:?}");
    for debt in debts {
        assert_eq!(region_of(&debt.target), "asia", "{debt:?}");
        assert!(
            debt.reason.starts_with("region=asia could not be reached for"),
            "{debt:?}"
        );
    }
    let silent_ms = decisions(ended, "domain.silent")[0].0;
    let waited_ms = ended.summary.elapsed_ms - silent_ms;
    assert!(
        (HOUR_MS..5 * HOUR_MS).contains(&waited_ms),
        "it ended after {waited_ms} ms"
    );
    let played = futures::executor::block_on(unattended::replay(&*ended.journal, None)).unwrap();
    assert_eq!(played.first_difference, None);
}

#[test]
fn a_region_that_is_lost_after_some_of_it_was_upgraded_is_left_as_debt() {
    let mut case = case();
    case.settings.blocked_patience_ms = HOUR_MS;
    let stage = case.stage();
    let silent = switch_of_asia(&stage);
    let (handle, clock, platform) = (stage.handle.clone(), stage.sim.clock(), Arc::clone(&stage.platform));
    let ended = stage.run_beside(async move {
        while handle.progress().is_none_or(|progress| progress.exposed < 60) {
            clock.sleep_until(clock.now() + 1_000).await;
        }
        let new = platform.effects();
        let mut new = new.iter().filter(|effect| effect.version.as_deref() == Some(NEW));
        assert!(
            new.any(|effect| region_of(&effect.target) == "asia"),
            "nobody there was upgraded"
        );
        silent.store(true, Ordering::Relaxed);
    });
    assert_eq!(ended.outcome, Outcome::CompletedWithDebt);
    let of_asia = case.targets.iter().filter(|target| region_of(&target.id) == "asia");
    owes_asia(&ended, of_asia.count() as u64);
}

#[test]
fn a_region_that_is_lost_after_it_was_taken_back_leaves_a_rollback_partial() {
    let mut case = case();
    case.settings.blocked_patience_ms = HOUR_MS;
    case.settings.tries = 20;
    let stage = case.stage();
    let silent = switch_of_asia(&stage);
    // Some of the others take longer.
    let is_late = Arc::new(AtomicBool::new(true));
    let late = Arc::clone(&is_late);
    stage.platform.old_not_ready_where(move |target| {
        late.load(Ordering::Relaxed) && target.as_str().starts_with("app-3-") && region_of(target.as_str()) == "us"
    });
    let (handle, clock, platform) = (stage.handle.clone(), stage.sim.clock(), Arc::clone(&stage.platform));
    let in_asia = move |version: &str| -> BTreeSet<String> {
        (platform.effects().into_iter())
            .filter(|effect| effect.version.as_deref() == Some(version) && region_of(&effect.target) == "asia")
            .map(|effect| effect.target)
            .collect()
    };
    let touched = Arc::new(AtomicU64::new(0));
    let of_asia = Arc::clone(&touched);
    let ended = stage.run_beside(async move {
        while handle.progress().is_none_or(|progress| progress.exposed < 60) {
            clock.sleep_until(clock.now() + 1_000).await;
        }
        handle.roll_back(person(), "it is slow").unwrap();
        while in_asia(OLD) != in_asia(NEW) {
            clock.sleep_until(clock.now() + 1_000).await;
        }
        of_asia.store(in_asia(NEW).len() as u64, Ordering::Relaxed);
        clock.sleep_until(clock.now() + 5 * MINUTE_MS).await;
        silent.store(true, Ordering::Relaxed);
        clock.sleep_until(clock.now() + 2 * MINUTE_MS).await;
        is_late.store(false, Ordering::Relaxed);
    });
    assert_eq!(ended.outcome, Outcome::RolledBackPartially);
    ended.all_on_old();
    owes_asia(&ended, touched.load(Ordering::Relaxed));
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

#[test]
fn a_region_is_found_silent_whoever_of_it_has_died() {
    for are_replaced in [true, false] {
        // Three times as many of asia as are chosen to be looked at.
        let mut case = Case::calm(4, 192);
        for target in &mut case.targets {
            let region = region_of(&target.id).to_owned();
            target.labels.push(("region".to_owned(), region));
        }
        case.policy = case.policy.spread(["region", "stack"]);
        case.settings.domains = vec!["region".to_owned()];
        let mut stage = case.stage();
        let silent = switch_of_asia(&stage);
        let (handle, clock, platform) = (stage.handle.clone(), stage.sim.clock(), Arc::clone(&stage.platform));
        let asia: Vec<_> = (case.targets.into_iter())
            .filter(|target| region_of(&target.id) == "asia")
            .collect();
        let run = stage.drive(async {
            handle
                .pause(person(), "who is born here is none of the world's")
                .unwrap();
            clock.sleep_until(10 * MINUTE_MS).await;
            for (at, target) in asia.iter().enumerate() {
                let stays = at + 2 == asia.len();
                if are_replaced || !stays {
                    let target = target.id.as_str().into();
                    platform.tell_first([FleetChange::Left { target }]);
                }
                if are_replaced {
                    let label = |(key, value): &(String, String)| (key.as_str().into(), value.as_str().into());
                    platform.tell_first([FleetChange::Joined {
                        // The rule for numbers puts it into the same region.
                        target: format!("{}-{}", target.app, 302 + 3 * at).as_str().into(),
                        app: target.app.as_str().into(),
                        labels: target.labels.iter().map(label).collect(),
                        version: OLD.into(),
                    }]);
                }
            }
            clock.sleep_until(20 * MINUTE_MS).await;
            silent.store(true, Ordering::Relaxed);
            clock.sleep_until(30 * MINUTE_MS).await;
        });
        assert!(run.unwrap().is_none());
        let summary = stage.handle.summary().unwrap();
        let told: Vec<_> = (summary.decisions.iter())
            .filter(|decision| decision.code == "domain.silent")
            .map(|decision| (decision.at_ms, decision.text.as_str()))
            .collect();
        assert!(
            matches!(told[..], [(at_ms, text)] if at_ms > 20 * MINUTE_MS && text.starts_with("region=asia")),
            "{are_replaced}: {told:?}"
        );
        let left = [577, 768][usize::from(are_replaced)];
        assert_eq!(stage.handle.progress().unwrap().targets, left);
    }
}

#[test]
fn what_is_done_by_hand_elsewhere_is_seen_while_a_region_is_silent() {
    let stage = case().level(Level::L0).stage();
    let parts = StageParts::of(&stage);
    let is_over = Arc::new(AtomicBool::new(false));
    let (over, hands) = (Arc::clone(&is_over), Arc::clone(&parts.hands));
    let is_asia = |target: &str| region_of(target) == "asia";
    // From the first step there on, which therefore nobody sees.
    let has_begun = move || hands.lock().iter().any(|(target, _)| is_asia(target));
    let begun = has_begun.clone();
    stage.platform.silent_where(move |targets| {
        !over.load(Ordering::Relaxed) && targets.iter().any(|target| is_asia(target.as_str())) && begun()
    });
    let (handle, clock) = (stage.handle.clone(), stage.sim.clock());
    let ended = stage.run_beside(async move {
        let exposed = || handle.progress().map_or(0, |progress| progress.exposed);
        let away = async {
            while !has_begun() {
                clock.sleep_until(clock.now() + 1_000).await;
            }
            let before = exposed();
            clock.sleep_until(clock.now() + 5 * HOUR_MS).await;
            let seen = exposed() - before;
            assert!(seen > 0, "{seen} were seen while asia was silent");
            is_over.store(true, Ordering::Relaxed);
        };
        futures::join!(work(&parts, true), away);
    });
    assert_eq!(ended.outcome, Outcome::Completed);
    ended.all_on_new();
    let played = futures::executor::block_on(unattended::replay(&*ended.journal, None)).unwrap();
    assert_eq!(played.first_difference, None);
}

/// Two regions, one of a single target.
fn with_a_lab(release: &'static str) -> Case {
    let mut case = Case::calm(4, 24).release(release);
    for (at, target) in case.targets.iter_mut().enumerate() {
        let region = if at == 0 { "lab" } else { "eu" };
        target.labels.push(("region".to_owned(), region.to_owned()));
    }
    case.policy = case.policy.spread(["region", "stack"]);
    case.settings.domains = vec!["region".to_owned()];
    case
}

/// A region of one target has no stage to come, and all others wait for it: somebody is asked, and the answer lets them go on.
#[test]
fn a_region_of_one_target_that_shows_too_little_is_asked_about() {
    let mut case = with_a_lab("good");
    // Its traffic would show it in days, and is not silent.
    case.world.requests_per_s_median = 0.02;
    case.settings.patience_ms = 3 * HOUR_MS;
    case.settings.silent_after_ms = 1_000 * HOUR_MS;
    let stage = case.stage();
    let (handle, clock) = (stage.handle.clone(), stage.sim.clock());
    let ended = stage.run_beside(async move {
        loop {
            clock.sleep_until(clock.now() + HOUR_MS).await;
            for open in handle.questions() {
                assert_eq!(
                    open.kind,
                    unattended::QuestionKind::GoOnWithoutEvidence,
                    "{}",
                    open.text
                );
                handle.answering(open.id).approve(person(), "go on").unwrap();
            }
        }
    });
    assert_eq!(ended.outcome, Outcome::Completed);
    ended.all_on_new();
}

/// A word about what one target shows is none about a fleet of which nothing is known.
#[test]
fn a_word_about_one_target_lets_no_stage_pass_but_the_one_it_is_about() {
    let case = with_a_lab("errors=x5@region=lab");
    let stage = case.stage();
    let (handle, clock) = (stage.handle.clone(), stage.sim.clock());
    let ended = stage.run_beside(async move {
        loop {
            clock.sleep_until(clock.now() + HOUR_MS).await;
            for open in handle.questions() {
                handle.answering(open.id).resume(person(), "the lab is odd").unwrap();
            }
        }
    });
    let granted: Vec<&str> = (ended.summary.decisions.iter())
        .filter(|decision| decision.code == "class.granted")
        .map(|decision| decision.text.as_str())
        .collect();
    assert!(!granted.is_empty());
    // The first stage was asked about; whatever follows shows that it is safe, or is asked about by itself.
    assert!(granted.iter().all(|text| text.contains("(batch 1)")), "{granted:#?}");
}
