//! The way back beside targets that fall ill and recover: whoever is ill takes of every allowance, and gives it back.
#![expect(clippy::unwrap_used, reason = "a failure of a helper is a failed test")]

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;
use unattended::batching::{Ramp, pct};
use unattended::upgrade::{Clock, FleetChange, TargetId};
use unattended::{Level, OnClassFault, Outcome, QuestionKind};

use crate::support::{Act, Case, Effect, Ended, HOUR_MS, MINUTE_MS, NEW, OLD, Stage, app_of, person};

/// By then what was told has been heard.
const HEARD_MS: u64 = 2 * MINUTE_MS;
/// The allowance of an application: a tenth of 120.
const CAP: usize = 12;

/// Two applications that have a long way back.
fn case() -> Case {
    let mut case = Case::calm(2, 120);
    case.policy = case.policy.per_app(pct(10)).total_in_flight(pct(100));
    case
}

fn ill(target: &str) -> FleetChange {
    FleetChange::BecameUnhealthy {
        target: TargetId::from(target),
    }
}

fn well(target: &str) -> FleetChange {
    FleetChange::BecameHealthy {
        target: TargetId::from(target),
    }
}

/// Those of an application that have met the new version, or have not.
fn of_app(stage_effects: &[Effect], case: &Case, app: &str, exposed: bool) -> Vec<String> {
    let to_new = |effect: &&Effect| effect.version.as_deref() == Some(NEW);
    let met: BTreeSet<&str> = (stage_effects.iter().filter(to_new))
        .map(|effect| effect.target.as_str())
        .collect();
    let of_app = case.targets.iter().filter(|target| target.app == app);
    of_app
        .filter(|target| met.contains(target.id.as_str()) == exposed)
        .map(|target| target.id.clone())
        .collect()
}

/// When somebody of an application was taken out of service, who, and how many then were, with it.
fn starts(effects: &[Effect], app: &str) -> Vec<(u64, String, usize)> {
    let mut out: BTreeSet<&str> = BTreeSet::new();
    let mut starts = Vec::new();
    for effect in effects.iter().filter(|effect| app_of(&effect.target) == app) {
        match effect.act {
            Act::Close | Act::Replace => {
                if out.insert(&effect.target) {
                    starts.push((effect.at_ms, effect.target.clone(), out.len()));
                }
            }
            Act::Open => {
                out.remove(effect.target.as_str());
            }
            Act::Fence | Act::Prefetch => {}
        }
    }
    starts
}

/// The most of an application that were out at a start in this time.
fn most(ended: &Ended, app: &str, from_ms: u64, until_ms: u64) -> usize {
    let starts = starts(&ended.effects, app);
    let within = starts.iter().filter(|(at_ms, ..)| (from_ms..until_ms).contains(at_ms));
    within.map(|&(.., out)| out).max().unwrap_or(0)
}

/// Waits until a change goes back, by a person's word once so many are exposed.
async fn until_back(stage: &StageParts, exposed: u64) {
    let (handle, clock) = (&stage.handle, &stage.clock);
    while handle.progress().is_none_or(|progress| progress.exposed < exposed) {
        clock.sleep_until(clock.now() + MINUTE_MS).await;
    }
    handle.roll_back(person(), "to see it go back").unwrap();
    let back = |effect: &Effect| effect.version.as_deref() == Some(OLD);
    while !stage.platform.effects().iter().any(back) {
        clock.sleep_until(clock.now() + 1_000).await;
    }
}

struct StageParts {
    handle: unattended::Handle,
    clock: unattended_simulated::SimClock,
    platform: Arc<crate::support::Watched>,
}

impl StageParts {
    fn of(stage: &Stage) -> Self {
        Self {
            handle: stage.handle.clone(),
            clock: stage.sim.clock(),
            platform: Arc::clone(&stage.platform),
        }
    }
}

#[test]
fn whoever_falls_ill_on_the_way_back_takes_of_the_allowance_until_it_recovers() {
    let case = case();
    let stage = case.stage();
    let parts = StageParts::of(&stage);
    let times = Mutex::new((0, 0));
    let ended = stage.run_beside(async {
        until_back(&parts, 180).await;
        // Ten that have nothing to go back from.
        let still: Vec<String> = of_app(&parts.platform.effects(), &case, "app-0", false);
        let still = &still[..CAP - 2];
        let told_ms = parts.clock.now();
        parts.platform.tell_first(still.iter().map(|target| ill(target)));
        parts.clock.sleep_until(told_ms + HEARD_MS + 6 * MINUTE_MS).await;
        let again_ms = parts.clock.now();
        parts.platform.tell_first(still.iter().map(|target| well(target)));
        *times.lock() = (told_ms, again_ms);
    });
    assert_eq!(ended.outcome, Outcome::RolledBack);
    ended.all_on_old();
    let (told_ms, again_ms) = *times.lock();
    assert_eq!(
        most(&ended, "app-0", told_ms - MINUTE_MS, told_ms + 1),
        CAP,
        "it uses its allowance"
    );
    let beside = most(&ended, "app-0", told_ms + HEARD_MS, again_ms);
    assert!((1..=2).contains(&beside), "{beside} out beside ten who are ill");
    assert_eq!(
        most(&ended, "app-1", told_ms - MINUTE_MS, told_ms + HEARD_MS),
        CAP,
        "others have theirs"
    );
    let after = most(&ended, "app-0", again_ms + HEARD_MS, u64::MAX);
    assert!(after > CAP / 2, "what they took is given back: {after}");
}

#[test]
fn whoever_is_ill_with_the_new_version_goes_back_first_and_in_its_own_place() {
    let case = case();
    let stage = case.stage();
    let parts = StageParts::of(&stage);
    let told = Mutex::new((0, Vec::new()));
    let ended = stage.run_beside(async {
        until_back(&parts, 180).await;
        let gone: BTreeSet<String> = (parts.platform.effects().iter())
            .filter(|effect| effect.version.as_deref() == Some(OLD))
            .map(|effect| effect.target.clone())
            .collect();
        // The oldest, which would go last.
        let mut exposed = of_app(&parts.platform.effects(), &case, "app-0", true);
        let effects = parts.platform.effects();
        let first = |target: &String| effects.iter().position(|effect| effect.target == *target);
        exposed.sort_by_key(first);
        exposed.retain(|target| !gone.contains(target));
        exposed.truncate(CAP);
        parts.platform.tell_first(exposed.iter().map(|target| ill(target)));
        *told.lock() = (parts.clock.now(), exposed);
    });
    assert_eq!(ended.outcome, Outcome::RolledBack);
    ended.all_on_old();
    let (told_ms, ill) = told.lock().clone();
    let starts = starts(&ended.effects, "app-0");
    let late = (starts.iter()).filter(|(at_ms, target, _)| *at_ms >= told_ms && ill.contains(target));
    let late: Vec<u64> = late.map(|(at_ms, ..)| *at_ms).collect();
    assert_eq!(late.len(), CAP);
    let after = starts.iter().filter(|(at_ms, ..)| *at_ms >= told_ms + HEARD_MS);
    let others_ms = after
        .filter(|(_, target, _)| !ill.contains(target))
        .map(|(at_ms, ..)| *at_ms);
    assert!(others_ms.min() >= late.iter().max().copied(), "{late:?}");
    assert!(most(&ended, "app-0", told_ms, u64::MAX) <= CAP);
}

#[test]
fn a_class_on_its_way_back_shares_the_allowance_with_the_ill() {
    let mut case = Case::calm(16, 120).release("errors=x10@stack=stack-1");
    for target in &mut case.targets {
        let app: usize = target.app.rsplit('-').next().unwrap().parse().unwrap();
        for (_, value) in target.labels.iter_mut().filter(|(key, _)| key == "stack") {
            *value = format!("stack-{}", app % 4);
        }
    }
    case.policy = case.policy.per_app(pct(5)).total_in_flight(pct(100));
    case.policy = case.policy.ramp(Ramp::steps([pct(20), pct(100)]).unwrap());
    case.settings.on_class_fault = OnClassFault::Class;
    let cap = CAP / 2;
    let stage = case.stage();
    let parts = StageParts::of(&stage);
    let told = Mutex::new((0, 0));
    let ended = stage.run_beside(async {
        let back = |effect: &Effect| effect.version.as_deref() == Some(OLD);
        while !parts.platform.effects().iter().any(back) {
            parts.clock.sleep_until(parts.clock.now() + 1_000).await;
        }
        // They are of the class, and stay where they are.
        let still = of_app(&parts.platform.effects(), &case, "app-1", false);
        let still = &still[..cap - 1];
        let told_ms = parts.clock.now();
        parts.platform.tell_first(still.iter().map(|target| ill(target)));
        parts.clock.sleep_until(told_ms + HEARD_MS + 4 * MINUTE_MS).await;
        *told.lock() = (told_ms, parts.clock.now());
        parts.platform.tell_first(still.iter().map(|target| well(target)));
    });
    assert_eq!(ended.outcome, Outcome::CompletedWithDebt, "{:?}", ended.codes());
    let (told_ms, again_ms) = *told.lock();
    assert_eq!(most(&ended, "app-1", 0, told_ms + 1), cap);
    assert_eq!(
        most(&ended, "app-1", told_ms + HEARD_MS, again_ms),
        1,
        "beside {} who are ill",
        cap - 1
    );
    let after = most(&ended, "app-1", again_ms, u64::MAX);
    assert!((2..=cap).contains(&after), "what they took is given back: {after}");
}

/// Those of an application whose way back begins first do not get ready there for so long.
fn not_ready_at_first(stage: &Stage, app: &'static str, ms: u64) -> Arc<Mutex<BTreeSet<String>>> {
    let (clock, late): (_, Arc<Mutex<BTreeSet<String>>>) = (stage.sim.clock(), Arc::default());
    let (until_ms, named) = (Arc::new(Mutex::new(None)), Arc::clone(&late));
    let begun = Arc::clone(&until_ms);
    let now = clock.clone();
    stage.platform.before_each(move |effect| {
        if app_of(&effect.target) == app && effect.version.as_deref() == Some(OLD) {
            let until_ms = *begun.lock().get_or_insert(now.now() + ms);
            if now.now() + ms == until_ms {
                named.lock().insert(effect.target.clone());
            }
        }
    });
    let named = Arc::clone(&late);
    stage.platform.old_not_ready_where(move |target| {
        let over = until_ms.lock().is_none_or(|until_ms| clock.now() >= until_ms);
        !over && named.lock().contains(target.as_str())
    });
    late
}

#[test]
fn a_way_back_that_fails_is_tried_again() {
    let stage = case().stage();
    let late = not_ready_at_first(&stage, "app-0", 8 * MINUTE_MS);
    let parts = StageParts::of(&stage);
    let ended = stage.run_beside(async { until_back(&parts, 60).await });
    assert!(!late.lock().is_empty());
    assert_eq!(ended.outcome, Outcome::RolledBack, "{:?}", ended.summary.debts);
    ended.all_on_old();
}

#[test]
fn the_way_back_of_a_class_that_fails_is_tried_again() {
    let mut case = Case::calm(16, 30).release("errors=x10@stack=stack-1");
    for target in &mut case.targets {
        let app: usize = target.app.rsplit('-').next().unwrap().parse().unwrap();
        for (_, value) in target.labels.iter_mut().filter(|(key, _)| key == "stack") {
            *value = format!("stack-{}", app % 4);
        }
    }
    case.policy = case.policy.ramp(Ramp::steps([pct(10), pct(30), pct(100)]).unwrap());
    case.settings.on_class_fault = OnClassFault::Class;
    let stage = case.stage();
    let late = not_ready_at_first(&stage, "app-1", 8 * MINUTE_MS);
    let ended = stage.run();
    assert!(!late.lock().is_empty());
    assert_eq!(ended.outcome, Outcome::CompletedWithDebt, "{:?}", ended.codes());
    assert!(!ended.codes().contains(&"rollback.failed"));
    let reasons: BTreeSet<&str> = ended.summary.debts.iter().map(|debt| debt.reason.as_str()).collect();
    assert_eq!(
        reasons,
        ["its class is set aside: the new version does harm there"].into()
    );
}

/// Ill ones use up the whole allowance before anybody has gone back: what they keep on the version waits for them, people know of it, and it
/// is owed when they stay ill for too long.
#[test]
fn who_is_kept_by_the_caps_alone_waits_and_is_owed_at_last() {
    for recovers in [true, false] {
        let mut case = case();
        case.settings.blocked_patience_ms = 60 * MINUTE_MS;
        let stage = case.stage();
        let (handle, clock, platform) = (stage.handle.clone(), stage.sim.clock(), Arc::clone(&stage.platform));
        let (pager, told) = (Arc::clone(&stage.pager), case.clone());
        let ended = stage.run_beside(async move {
            while handle.progress().is_none_or(|progress| progress.exposed < 60) {
                clock.sleep_until(clock.now() + 1_000).await;
            }
            handle.pause(person(), "a look").unwrap();
            clock.sleep_until(clock.now() + 10 * MINUTE_MS).await;
            let old: Vec<String> = ["app-0", "app-1"]
                .iter()
                .flat_map(|app| of_app(&platform.effects(), &told, app, false).into_iter().take(3 * CAP))
                .collect();
            platform.tell_first(old.iter().map(|target| ill(target)));
            clock.sleep_until(clock.now() + HEARD_MS).await;
            handle.roll_back(person(), "bad").unwrap();
            clock.sleep_until(clock.now() + 30 * MINUTE_MS).await;
            assert_eq!(handle.progress().unwrap().state, "rolling back", "it has not ended");
            let codes: Vec<String> = pager.all().into_iter().map(|notice| notice.code).collect();
            assert!(codes.iter().any(|code| code == "rollback.blocked"), "{codes:?}");
            if recovers {
                platform.tell_first(old.iter().map(|target| well(target)));
            }
        });
        if recovers {
            assert_eq!(ended.outcome, Outcome::RolledBack);
            ended.all_on_old();
        } else {
            assert_eq!(ended.outcome, Outcome::RolledBackPartially);
            assert!(!ended.summary.debts.is_empty());
        }
    }
}

/// An old version that does not come up once may the next time: it is ordered again before somebody is called.
#[test]
fn an_old_version_that_does_not_come_up_is_ordered_once_more() {
    let stage = Case::calm(4, 20).release("crash").stage();
    let platform = Arc::downgrade(&stage.platform);
    stage.platform.old_not_ready_where(move |target| {
        let effects = platform
            .upgrade()
            .map(|platform| platform.effects())
            .unwrap_or_default();
        let of_old = |effect: &&Effect| effect.target == target.as_str() && effect.version.as_deref() == Some(OLD);
        effects.iter().filter(of_old).count() == 1
    });
    let ended = stage.run();
    assert_eq!(ended.outcome, Outcome::RolledBack, "{:?}", ended.summary.debts);
    ended.all_on_old();
    assert!(
        ended
            .effects
            .iter()
            .any(|effect| effect.version.as_deref() == Some(OLD))
    );
}

/// What holds thousands of lanes on their way forward takes nothing from what is told of the way back.
#[test]
fn somebody_is_asked_about_a_rollback_that_rules_hold_however_many_holds_there_were() {
    const APPS: usize = 4_200;
    let mut case = Case::calm(APPS, 2).level(Level::L3);
    case.policy = case.policy.ramp(Ramp::steps([pct(1), pct(100)]).unwrap());
    let (plan, fleet) = (case.plan(), case.fleet());
    let first: BTreeSet<&str> = plan.targets(0).iter().map(|&at| app_of(fleet.id(at))).collect();
    let apps = case.targets.iter().map(|target| target.app.as_str());
    let (first, rest): (Vec<&str>, Vec<&str>) = apps.partition(|app| first.contains(app));
    assert!(rest.len() > 4_000);
    case.rules = format!(
        "version: 1\npack: shop\nowner: shop\nscope: all\n\
         rules:\n  - {{id: word, kind: person, select: {{app: [{}]}}, step: batch, reason: ask first}}\n\
         windows:\n  - {{id: night, kind: protected, select: {{app: [{}]}}, weekly: {{days: daily, from: \"20:00\", for: 4h}}, \
         zone: UTC, owner: desk, reason: the books are closed}}\n",
        rest.join(", "),
        first.join(", ")
    );
    let mut stage = case.stage();
    let (clock, handle) = (stage.sim.clock(), stage.handle.clone());
    let left = stage.drive(async move {
        clock.sleep_until(12 * HOUR_MS + 5 * MINUTE_MS).await;
        handle.roll_back(person(), "to see it held").unwrap();
        clock.sleep_until(clock.now() + 5 * MINUTE_MS).await;
    });
    assert!(left.unwrap().is_none());
    let asked = stage.handle.question().unwrap();
    assert_eq!(asked.kind, QuestionKind::RollBackNow);
    assert!(asked.text.contains("shop/night"), "{}", asked.text);
    let told: Vec<String> = (stage.pager.all().into_iter()).map(|notice| notice.dedup_key).collect();
    for key in ["rollback.held/desk", "person.asked/roll_back_now"] {
        assert!(told.contains(&format!("mesh-2/{key}")), "{key}");
    }
}
