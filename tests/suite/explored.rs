//! Whole changes in worlds in which everything is drawn at once: fleets, regions, rules, levels, people, words, silence and kills. None ends
//! in a way that nobody can explain, and none stands still.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a failure of a helper is a failed test"
)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use unattended::batching::pct;
use unattended::defense::{Answer, Ask, Check, CheckError, Code, Outcome as Seen};
use unattended::upgrade::{AttemptId, Clock, EffectKey, Generation, Journal, MemoryJournal, Platform, TargetId};
use unattended::{Grant, Handle, Level, OnClassFault, Outcome, QuestionKind, Summary, replay};
use unattended_simulated::{Census, InitialState, SimClock, SimTarget, Simulated, World};

use crate::laws::{Draw, beyond_a_cap};
use crate::support::{Case, Effect, HOUR_MS, MINUTE_MS, NEW, START_WALL_MS, app_of, person};

mod beside;
mod drawn;

use beside::Beside;
use drawn::{Dark, Drawn, PARTS, Word, drawn};

const DAY_MS: u64 = 24 * HOUR_MS;
/// So long after the last disturbance everything is over.
const PATIENCE_MS: u64 = 20 * DAY_MS;
/// What was let go before the rules came to hold it may be on its way to the platform for so long.
const UNDERWAY_MS: u64 = 2 * MINUTE_MS;

/// What came of it.
struct Ran {
    outcome: Option<Outcome>,
    end_ms: u64,
    effects: Vec<Effect>,
    summary: Summary,
    census: Census,
    /// What people said, in words, and when.
    said: Vec<(u64, String)>,
    /// What was asked, and when.
    asked: BTreeMap<u64, (QuestionKind, u64)>,
    journal: Arc<dyn Journal>,
    open: Vec<String>,
}

/// Lives through it, however often it is killed or waits.
fn live(drawn: &Drawn) -> Ran {
    let sim = drawn.case.simulated();
    let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
    let limit_ms = drawn.calm_ms + PATIENCE_MS;
    let mut kills = VecDeque::from(drawn.kills.clone());
    let mut beside = Beside {
        drawn,
        sim: Arc::clone(&sim),
        words: drawn.words.clone().into(),
        look_ms: drawn.person_ms.unwrap_or(6 * HOUR_MS),
        by_hand: 0,
        said: Vec::new(),
        asked: BTreeMap::new(),
    };
    let (mut effects, mut waited) = (Vec::new(), 0);
    loop {
        let mut stage = drawn.case.stage_in(Arc::clone(&sim), Arc::clone(&journal));
        let (clock, dark) = (stage.sim.clock(), drawn.dark.clone());
        stage.platform.silent_where(move |targets| {
            let now_ms = clock.now();
            let hides = |dark: &Dark| {
                dark.span.contains(&now_ms) && targets.iter().any(|target| dark.whom.contains(target.as_str()))
            };
            dark.iter().any(hides)
        });
        let (handle, clock) = (stage.handle.clone(), stage.sim.clock());
        let until_ms = kills.front().map_or(limit_ms, |kill| kill.0).min(limit_ms);
        let driven = stage.drive(beside.work(&handle, &clock, until_ms));
        effects.extend(stage.platform.effects());
        let outcome = driven.unwrap().transpose().unwrap();
        let away_ms = match outcome {
            Some(Outcome::Waiting | Outcome::Frozen) if waited < 3 && clock.now() < limit_ms => {
                waited += u32::from(clock.now() >= drawn.calm_ms);
                HOUR_MS
            }
            None if clock.now() < limit_ms => kills.pop_front().unwrap().1,
            _ => {
                let open = handle
                    .questions()
                    .into_iter()
                    .map(|open| format!("{:?}: {}", open.kind, open.text));
                let open = open
                    .chain(handle.notices().into_iter().map(|notice| format!("{notice:?}")))
                    .collect();
                for question in handle.questions() {
                    beside.asked.insert(question.id, (question.kind, question.asked_ms));
                }
                let (summary, end_ms) = (handle.summary().unwrap(), clock.now());
                // Who was just born is up by then.
                sim.executor().run(clock.sleep_until(end_ms + HOUR_MS)).unwrap();
                let census = sim.census();
                let (said, asked) = (beside.said, beside.asked);
                return Ran {
                    outcome,
                    end_ms,
                    effects,
                    summary,
                    census,
                    said,
                    asked,
                    journal,
                    open,
                };
            }
        };
        drop(stage);
        sim.executor().run(clock.sleep_until(clock.now() + away_ms)).unwrap();
    }
}

/// One attempt: whose, which way, and its first and last order.
struct Attempt<'e> {
    target: &'e str,
    forward: bool,
    first_ms: u64,
    last_ms: u64,
}

fn attempts(effects: &[Effect]) -> Vec<Attempt<'_>> {
    let mut found: BTreeMap<(&str, &str), (Option<bool>, u64, u64)> = BTreeMap::new();
    for effect in effects {
        let Some(key) = &effect.key else { continue };
        let id = key.split('/').next().unwrap();
        let forward = effect.version.as_deref().map(|version| version == NEW);
        let seen = found
            .entry((effect.target.as_str(), id))
            .or_insert((None, effect.at_ms, effect.at_ms));
        seen.0 = seen.0.or(forward);
        seen.2 = effect.at_ms;
    }
    let known = found
        .into_iter()
        .filter_map(|((target, _), (forward, first_ms, last_ms))| {
            Some(Attempt {
                target,
                forward: forward?,
                first_ms,
                last_ms,
            })
        });
    known.collect()
}

/// What is wrong with how it went; nothing.
fn complaints(drawn: &Drawn, ran: &Ran) -> Vec<String> {
    let mut found = Vec::new();
    let mut wrong = |text: String| found.push(text);
    let has = |part: &str| drawn.parts.contains(part);
    let codes: BTreeSet<&str> = ran
        .summary
        .decisions
        .iter()
        .map(|decision| decision.code.as_str())
        .collect();
    let said = |word: &str| {
        ran.said
            .iter()
            .any(|(_, said)| said.starts_with(word) && !said.ends_with("refused"))
    };
    let is_dark = |target: &str, at_ms: u64| {
        drawn.dark.iter().any(|dark| {
            dark.whom.contains(target) && dark.span.start <= at_ms + UNDERWAY_MS && at_ms < dark.span.end + HOUR_MS
        })
    };
    let all = attempts(&ran.effects);
    for attempt in &all {
        let app = app_of(attempt.target);
        let at_ms = attempt.first_ms;
        if is_dark(attempt.target, at_ms) || has("faults") && !has("windows") {
            continue;
        }
        for held in &drawn.held {
            let holds = held.holds(app, at_ms) && held.holds(app, at_ms.saturating_sub(UNDERWAY_MS));
            if holds && attempt.forward {
                wrong(format!("forward in a window: {} at {at_ms}", attempt.target));
            }
            if holds && !attempt.forward && !held.back && !said("RollBackNow") {
                wrong(format!("back in a window: {} at {at_ms}", attempt.target));
            }
        }
    }
    for (at_ms, word) in &drawn.words {
        let meant = |target: &str| match word {
            Word::Skip(app) => app_of(target) == app,
            Word::Pin(pinned) => target == pinned,
            _ => false,
        };
        if let Some(one) = all
            .iter()
            .find(|one| one.forward && meant(one.target) && one.first_ms > at_ms + UNDERWAY_MS + away(drawn, *at_ms))
        {
            wrong(format!(
                "left out and started: {word:?} at {at_ms}, {} at {}",
                one.target, one.first_ms
            ));
        }
    }
    // Who has come up while nobody was there is not let in by an order.
    if !has("births") && !has("kill") {
        caps(drawn, ran, &mut wrong);
    }
    if let Some((most, span)) = &drawn.limit
        && !has("cut")
        && !has("hang")
        && !has("kill")
    {
        for one in all
            .iter()
            .filter(|one| one.forward && span.contains(&one.first_ms) && one.first_ms > span.start + 5 * MINUTE_MS)
        {
            let beside = |other: &&Attempt<'_>| {
                other.forward
                    && app_of(other.target) == app_of(one.target)
                    && other.first_ms <= one.first_ms
                    && one.first_ms < other.last_ms
            };
            let many = all.iter().filter(beside).count();
            if many > *most as usize + 1 {
                wrong(format!(
                    "beyond a limit: {many} of {} at {}, {most} may",
                    app_of(one.target),
                    one.first_ms
                ));
                break;
            }
        }
    }
    let levels = drawn
        .words
        .iter()
        .any(|(_, word)| matches!(word, Word::Demote(_) | Word::Grant(_)));
    if !levels && drawn.case.level == Level::L0 && !ran.effects.is_empty() {
        wrong("something was sent at L0".to_owned());
    }
    if !levels && drawn.case.level == Level::L1 {
        for one in &all {
            let word = format!("step {}", one.target);
            if !ran
                .said
                .iter()
                .any(|(at_ms, said)| *said == word && *at_ms <= one.first_ms)
            {
                wrong(format!("started without a word at L1: {}", one.target));
            }
        }
    }
    let by_word = said("RollBack") || said("Resume") || said("SetClassAside");
    if !levels
        && drawn.case.level <= Level::L3
        && !by_word
        && (codes.contains("rollback.began") || codes.contains("class.aside"))
    {
        wrong("taken back alone at L3".to_owned());
    }
    regions(drawn, ran, &mut wrong);
    ends(drawn, ran, &mut wrong);
    let played = futures::executor::block_on(replay(&*ran.journal, None)).unwrap();
    if let Some(difference) = played.first_difference {
        wrong(format!("replay differs: {difference:?}"));
    }
    found
}

/// For how long nobody reads a word that is said then.
fn away(drawn: &Drawn, at_ms: u64) -> u64 {
    let dead = drawn
        .kills
        .iter()
        .find(|(kill_ms, away_ms)| (*kill_ms..kill_ms + away_ms + MINUTE_MS).contains(&at_ms));
    dead.map_or(0, |(_, away_ms)| *away_ms)
}

/// No more of an application are out of service at once than its policy lets.
fn caps(drawn: &Drawn, ran: &Ran, wrong: &mut impl FnMut(String)) {
    let back_ms = ran
        .summary
        .decisions
        .iter()
        .find(|decision| decision.code == "rollback.began")
        .map_or(u64::MAX, |decision| decision.at_ms);
    let before = ran.effects.iter().filter(|effect| effect.at_ms < back_ms);
    if let Some(beyond) = beyond_a_cap(&drawn.case, before) {
        wrong(beyond);
    }
}

/// No two regions are exposed for the first time at once.
fn regions(drawn: &Drawn, ran: &Ran, wrong: &mut impl FnMut(String)) {
    if ["words", "births", "bad", "faults", "hang", "cut"]
        .iter()
        .any(|part| drawn.parts.contains(part))
    {
        return;
    }
    let mut firsts: BTreeMap<&str, u64> = BTreeMap::new();
    for effect in ran.effects.iter().filter(|effect| effect.disturbs()) {
        if let Some(region) = drawn.regions.get(&effect.target) {
            firsts.entry(region).or_insert(effect.at_ms);
        }
    }
    for (region, first_ms) in &firsts {
        for (other, other_ms) in firsts
            .iter()
            .filter(|(other, other_ms)| *other != region && *other_ms <= first_ms)
        {
            let shown = |text: &str| text.starts_with(&format!("region={other} has shown"));
            let shown = ran
                .summary
                .decisions
                .iter()
                .any(|one| one.code == "region.shown" && one.at_ms <= *first_ms && shown(&one.text));
            if !shown {
                wrong(format!(
                    "two regions at once: {other} at {other_ms} and {region} at {first_ms}"
                ));
            }
        }
    }
}

/// How it ended, and why.
fn ends(drawn: &Drawn, ran: &Ran, wrong: &mut impl FnMut(String)) {
    let has = |part: &str| drawn.parts.contains(part);
    let said = |word: &str| {
        ran.said
            .iter()
            .any(|(_, said)| said.starts_with(word) && !said.ends_with("refused"))
    };
    let good = matches!(drawn.case.release, "good" | "same") || drawn.case.release == "one-way" && !has("rehearse");
    let (census, debts) = (&ran.census, &ran.summary.debts);
    let owed = debts.len() as u64;
    let kinds: BTreeSet<&str> = ran.asked.values().map(|(kind, _)| kind.as_str()).collect();
    let disturbed = has("cut") || has("hang") || has("faults") || has("loss") || has("births");
    let low = drawn.case.level < Level::L3 || drawn.words.iter().any(|(_, word)| matches!(word, Word::Demote(_)));
    match ran.outcome {
        // Each window takes the question back, and it is asked anew after it.
        None if drawn.person_ms.is_none() && !kinds.is_empty() && (has("asks") || low) && has("windows") => {}
        // Whoever is born on the old version is a step more, without end.
        None if low && has("births") && !kinds.is_empty() => {}
        None => wrong(format!(
            "does not end: {} since {} min, asks {:?}, next {:?}, open {:?}",
            ran.summary.state,
            ran.summary.state_since_ms / MINUTE_MS,
            ran.summary.ask,
            ran.summary.next,
            ran.open
        )),
        Some(Outcome::Completed | Outcome::CompletedWithDebt) => {
            if census.on_new_verified + owed < census.targets {
                wrong(format!("completed and not on new: {census:?}, {owed} owed"));
            }
            if ran.summary.closed + ran.summary.lost > 0 && !has("cut") && !has("hang") && !has("faults") {
                wrong(format!(
                    "completed and closed: {} and {}",
                    ran.summary.closed, ran.summary.lost
                ));
            }
            let sure = ["errors=x20", "latency=x5", "crash", "unready"].contains(&drawn.case.release);
            if sure && census.on_new_verified >= 10 && drawn.case.targets.len() >= 20 && !said("Resume") {
                wrong(format!("a bad release is completed: {}", drawn.case.release));
            }
        }
        Some(Outcome::RolledBack | Outcome::RolledBackPartially) => {
            if good && !said("RollBack") {
                let stops: Vec<_> = ran
                    .summary
                    .decisions
                    .iter()
                    .filter(|one| one.code.starts_with("stop."))
                    .map(|one| &one.text)
                    .collect();
                wrong(format!("a good release is rolled back: {stops:?}"));
            }
            if census.on_old_verified + owed < census.targets {
                wrong(format!("rolled back and not on old: {census:?}, {owed} owed"));
            }
        }
        Some(Outcome::Aborted) => {
            if !said("Abort") {
                wrong("aborted without a word".to_owned());
            }
        }
        Some(outcome) => {
            let nobody = drawn.person_ms.is_none();
            let explained = nobody
                && (!good && !kinds.is_empty()
                    || low
                    || has("asks")
                    || drawn.case.level == Level::L3 && !good
                    || kinds.contains("roll_back_now")
                    || kinds.contains("leave_debt") && (has("cut") || has("hang")));
            if !explained {
                wrong(format!(
                    "ends as {}: asks {:?}, next {:?}, open {:?}",
                    outcome.as_str(),
                    ran.summary.ask,
                    ran.summary.next,
                    ran.open
                ));
            }
        }
    }
    if good
        && !disturbed
        && !low
        && !["asks", "words", "windows", "freezes", "limit", "quiet", "kill"]
            .iter()
            .any(|part| has(part))
        && ran.end_ms > 3 * DAY_MS
    {
        wrong(format!("slow: {} h", ran.end_ms / HOUR_MS));
    }
    if good && !disturbed && !low && !has("asks") && !has("words") {
        if !kinds.is_empty() {
            wrong(format!(
                "asks for nothing: {kinds:?}: {:?}",
                ran.summary
                    .decisions
                    .iter()
                    .filter(|one| one.code == "person.asked")
                    .map(|one| &one.text)
                    .collect::<Vec<_>>()
            ));
        }
        if owed > 0 {
            wrong(format!("owes for nothing: {:?}", debts[0]));
        }
    }
    for debt in debts.iter().filter(|_| good) {
        let was_dark = drawn.dark.iter().any(|dark| dark.whom.contains(&debt.target));
        let left = drawn.words.iter().any(|(_, word)| {
            *word == Word::Skip(app_of(&debt.target).to_owned()) || *word == Word::Pin(debt.target.clone())
        });
        let beside = debt.reason.contains("allowance") && (disturbed);
        if !(was_dark
            || left
            || beside
            || has("faults")
            || has("births")
            || said("Stalled")
            || said("Abort")
            || said("LeaveDebt"))
        {
            wrong(format!("owes without a reason: {debt:?}"));
        }
    }
}

/// What is wrong with a world, if anything, its panics included, and how it ended.
fn tried(seed: u64, without: &BTreeSet<&'static str>) -> (Vec<String>, Option<Outcome>) {
    let all = || {
        let drawn = drawn(seed, without);
        let ran = live(&drawn);
        (complaints(&drawn, &ran), ran.outcome)
    };
    std::panic::catch_unwind(all).unwrap_or_else(|cause| {
        let text = cause.downcast_ref::<String>().cloned();
        let text = text.or_else(|| cause.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        (vec![format!("panic: {}", text.unwrap_or_default())], None)
    })
}

/// The parts that a complaint of the same kind does without, and what is wrong then.
fn reduced(seed: u64, first: &str) -> (BTreeSet<&'static str>, Vec<String>) {
    let kind = |text: &str| text.split(':').next().unwrap_or_default().to_owned();
    let (mut without, mut last) = (BTreeSet::new(), Vec::new());
    for part in PARTS {
        let mut less = without.clone();
        less.insert(part);
        let (found, _) = tried(seed, &less);
        if found.iter().any(|text| kind(text) == kind(first)) {
            (without, last) = (less, found);
        }
    }
    (without, last)
}

/// Seeds of the worlds below.
fn seeds() -> Vec<u64> {
    // A range of others may be tried: 200..300.
    let Ok(range) = std::env::var("EXPLORED") else {
        return (0..20).collect();
    };
    let (from, until) = range.split_once("..").unwrap();
    (from.parse().unwrap()..until.parse().unwrap()).collect()
}

#[test]
fn whatever_is_drawn_at_once_comes_to_an_end_that_is_explained() {
    let (mut failed, mut outcomes) = (Vec::new(), BTreeSet::new());
    for seed in seeds() {
        let (found, outcome) = tried(seed, &BTreeSet::new());
        outcomes.extend(outcome.map(Outcome::as_str));
        if let Some(first) = found.first() {
            let (without, last) = reduced(seed, first);
            let left = drawn(seed, &without);
            let (level, targets) = (left.case.level, left.case.targets.len());
            eprintln!(
                "seed {seed}: {found:?}\n  with {:?} alone, {targets} targets at {level}, a person after {:?} ms, {}: {last:?}",
                left.parts, left.person_ms, left.case.release
            );
            failed.push(seed);
        }
    }
    assert!(failed.is_empty(), "seeds {failed:?}");
    // It is no proof where nothing happens.
    for outcome in [
        Outcome::Completed,
        Outcome::CompletedWithDebt,
        Outcome::RolledBack,
        Outcome::Waiting,
    ] {
        assert!(outcomes.contains(outcome.as_str()), "{outcomes:?}");
    }
}
