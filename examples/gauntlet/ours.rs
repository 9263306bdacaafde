//! The autopilot, as it is, at level L4 and with its journal in memory.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use futures::FutureExt;
use parking_lot::Mutex;
use unattended::defense::Guard;
use unattended::upgrade::{Clock, MemoryJournal, Version};
use unattended::{
    Actor, Autopilot, Change, Ending, Handle, Level, Notice, NoticeStage, Notifier, Outcome, Question, QuestionKind,
    Settings, Severity, Summary, report,
};
use unattended_examples_support::Failure;

use crate::fleet::{NEW, OLD, START_WALL_MS, author, births};
use crate::ground::Ground;
use crate::policy::policy;
use crate::trial::{HORIZON_MS, LONGEST_MS, Trial};

/// Somebody who is asked looks into it for so long, and then knows the truth. The same for every policy.
pub(crate) const ANSWER_MS: u64 = 3_600_000;
const LOOK_MS: u64 = 5 * 60_000;
const DAY_MS: u64 = 24 * 3_600_000;
/// Who has said so often that the rest is to be left as it is, and is asked again, ends the change where it stands.
const MOST_WORDS: u32 = 3;

/// Who is asked.
#[derive(Debug)]
struct Person {
    bad: bool,
    handle: OnceLock<Handle>,
    asked: Mutex<Vec<Question>>,
    first: Mutex<Option<String>>,
}

/// What somebody who is asked says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Yes,
    GoOn,
    RollBack,
    Abort,
}

/// The change has stopped, and it is asked what becomes of what runs the new version.
const fn is_of_stop(kind: QuestionKind) -> bool {
    matches!(kind, QuestionKind::RollBack | QuestionKind::SetClassAside)
}

/// A release that is bad goes back whatever is asked, and one that is good goes on; `before` is how often it was asked, and answered, that
/// nothing moves.
const fn word(bad: bool, kind: QuestionKind, before: u32) -> Word {
    match (bad, kind) {
        (true, QuestionKind::RollBackNow) => Word::Yes,
        (true, _) => Word::RollBack,
        (false, QuestionKind::Stalled) if before >= MOST_WORDS => Word::Abort,
        (false, _) if is_of_stop(kind) => Word::GoOn,
        (false, _) => Word::Yes,
    }
}

impl Person {
    async fn work<C: Clock>(&self, clock: &C) {
        let (mut stalls, mut longest_ms, mut taken_back) = (0, LONGEST_MS, !self.bad);
        loop {
            clock.sleep_until(clock.now() + LOOK_MS).await;
            let is_due = |asked: &mut Question| clock.now() >= asked.asked_ms + ANSWER_MS;
            let due: Vec<Question> = self.asked.lock().extract_if(.., is_due).collect();
            let Some(handle) = self.handle.get() else { continue };
            if clock.now() > longest_ms {
                let (who, why) = (Actor::person("person", "gauntlet"), "it has not ended in sixty days");
                longest_ms += DAY_MS;
                // Who does not come back within a day is left.
                let _ = if std::mem::replace(&mut taken_back, true) {
                    handle.abort(who, why)
                } else {
                    handle.roll_back(who, why)
                };
            }
            for Question { id, kind, .. } in due {
                let (who, answer) = (Actor::person("person", "gauntlet"), handle.answering(id));
                // A question that is not open any more needs no answer.
                let _ = match word(self.bad, kind, stalls) {
                    Word::Yes => answer.approve(who, "looked into it"),
                    Word::GoOn => answer.resume(who, "it is good"),
                    Word::RollBack => handle.roll_back(who, "it is bad"),
                    Word::Abort => handle.abort(who, "it does not end, whatever is said"),
                };
                stalls += u32::from(kind == QuestionKind::Stalled);
            }
        }
    }
}

#[async_trait]
impl Notifier for Person {
    async fn notify(&self, notice: &Notice) {
        // Rollbacks and ends are told as well, and want nobody.
        if notice.question.is_some() || notice.severity == Severity::Critical {
            self.first.lock().get_or_insert_with(|| notice.text.clone());
        }
        if let Some(question) = &notice.question {
            let mut asked = self.asked.lock();
            asked.retain(|asked| asked.id != question.id);
            if notice.stage != NoticeStage::Resolved {
                asked.push(question.clone());
            }
        }
    }
}

/// Rolls it out.
pub(crate) fn run(ground: &Ground, record: Option<&Path>, page: Option<&Path>) -> Result<Trial, Failure> {
    let settings = Settings::default();
    let simulated = ground.simulated(settings.interval_ms, settings.warm_up_ms, true)?;
    let change = Change::new(
        NEW,
        author(),
        Version::from(OLD),
        Version::from(NEW),
        Arc::clone(&ground.fleet),
    )
    .policy(policy(&ground.fleet, |_| true).map_err(Failure::input)?)
    .settings(settings)
    .seed(ground.seed);
    let person = Arc::new(Person {
        bad: ground.bad,
        handle: OnceLock::new(),
        asked: Mutex::new(Vec::new()),
        first: Mutex::new(None),
    });
    let clock = simulated.clock();
    let recorder = ground.recorded(&simulated, "unattended", record)?;
    let pilot = Autopilot::builder()
        .platform(Arc::clone(&recorder))
        .metrics(Arc::clone(&recorder))
        .journal(MemoryJournal::new())
        .clock(clock.clone())
        .rules(Guard::empty())
        .notifier(Arc::clone(&person))
        .level(Level::L4)
        .build()
        .map_err(Failure::internal)?;
    let (handle, run) = pilot.start(change).map_err(Failure::internal)?;
    let _ = person.handle.set(handle.clone());
    births(&simulated, &handle);
    let outcome = simulated.executor().run(async {
        let mut run = Box::pin(run).fuse();
        let mut person = Box::pin(person.work(&clock)).fuse();
        futures::select_biased! {
            outcome = run => outcome,
            () = person => unreachable!("the person is there as long as the run lasts"),
        }
    });
    let outcome = outcome.map_err(Failure::internal)?.map_err(Failure::internal)?;
    let Some(summary) = handle.summary() else {
        return Err(Failure::Internal("the run left no summary".to_owned()));
    };
    recorder.ended(match outcome {
        Outcome::Completed | Outcome::CompletedWithDebt => Ending::Completed,
        Outcome::RolledBack | Outcome::RolledBackPartially => Ending::RolledBack,
        Outcome::Waiting | Outcome::Frozen => Ending::Waiting,
        _ => Ending::Aborted,
    })?;
    if let Some(path) = page {
        let options = report::PageOptions::new().safety_needed(1.0 / Settings::default().beta);
        std::fs::write(path, report::page(&summary, &options))
            .map_err(|error| Failure::unwritten(format_args!("{}: the page", path.display()), &error))?;
    }
    let stopped = !matches!(outcome, Outcome::Completed | Outcome::CompletedWithDebt);
    // What it leaves to people is theirs to do.
    let left = matches!(
        outcome,
        Outcome::Waiting | Outcome::Frozen | Outcome::RolledBackPartially
    );
    let first_harm = simulated.first_harm_ms();
    let began_ms = u64::try_from(summary.began_unix_ms - START_WALL_MS).unwrap_or(0);
    let stop_ms = began_ms + stopped_ms(&summary).unwrap_or(summary.elapsed_ms);
    let asked = person.first.lock().take();
    let scope = summary.evidence.scope.clone().filter(|_| stopped);
    Ok(Trial {
        family: ground.lot.family,
        release: ground.lot.release.to_string(),
        bad: ground.bad,
        detectable: ground.detectable,
        stopped,
        by_person: stopped && asked.is_some() && summary.human_actions > 0 || outcome == Outcome::Waiting,
        exposed: if stopped { reached(&summary) } else { 0 },
        targets: ground.targets.len() as u64,
        first_step: summary.batches.first().map_or(0, |batch| batch.size),
        before_onset: stopped && first_harm.is_none_or(|first| first > stop_ms),
        with_debt: outcome == Outcome::CompletedWithDebt,
        harm: simulated.harm_by(HORIZON_MS),
        hours: hours(clock.now()),
        human_actions: summary.human_actions + u64::from(left),
        wrong_scope: scope.as_deref().is_some_and(|scope| ground.is_wrong_scope(scope)),
        scope,
        why: format!(
            "{}: {}{}",
            outcome.as_str(),
            summary.evidence.strongest,
            asked.map_or_else(String::new, |text| format!("; asked: {text}"))
        ),
    })
}

/// When it was decided that it goes no further; `None` where nobody decided so, and it ended as it was: waiting, frozen, or aborted.
fn stopped_ms(summary: &Summary) -> Option<u64> {
    // A stop that somebody has gone on over is none.
    summary.exposed_at_stop?;
    let decisions = summary.decisions.iter();
    stop_of(decisions.map(|decision| (decision.at_ms, decision.code.as_str())))
}

/// The stop that led to the way back or, where there was none, the last one.
fn stop_of<'d>(decisions: impl Iterator<Item = (u64, &'d str)>) -> Option<u64> {
    let (mut stop, mut way_back) = (None, None);
    for (at_ms, code) in decisions {
        if code.starts_with("stop.") && way_back.is_none() {
            stop = Some(at_ms);
        } else if code == "rollback.began" {
            way_back.get_or_insert(at_ms);
        }
    }
    stop.or(way_back)
}

/// Targets touched when it stopped; where it ended without a stop, those that it left on the new version, on their way, or without any.
fn reached(summary: &Summary) -> u64 {
    let left = summary.exposure.exposed + summary.exposure.in_flight + summary.lost;
    summary.exposed_at_stop.unwrap_or(left)
}

pub(crate) fn hours(ms: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a time to be shown")]
    let hours = ms as f64 / 3_600_000.0;
    hours
}

#[cfg(test)]
mod tests {
    use unattended_examples_support::Synthetic;
    use unattended_simulated::World;

    use super::*;
    use crate::scenario::Scenario;
    use crate::tests::SMALL;

    #[test]
    fn a_stop_is_the_one_that_led_to_the_way_back() {
        for (decisions, wanted) in [
            (&[][..], None),
            (&[(1, "lane.opened"), (9, "change.ended")], None),
            (&[(1, "stop.gate"), (2, "person.asked")], Some(1)),
            // The first was gone on over.
            (
                &[
                    (1, "stop.gate"),
                    (2, "command.given"),
                    (5, "stop.evidence"),
                    (6, "rollback.began"),
                    (7, "stop.gate"),
                ],
                Some(5),
            ),
            // A person said so.
            (
                &[(3, "person.asked"), (4, "rollback.began"), (8, "change.ended")],
                Some(4),
            ),
        ] {
            assert_eq!(stop_of(decisions.iter().copied()), wanted, "{decisions:?}");
        }
    }

    #[test]
    fn who_is_asked_in_vain_ends_it() {
        assert_eq!(word(false, QuestionKind::Stalled, MOST_WORDS - 1), Word::Yes);
        assert_eq!(word(false, QuestionKind::Stalled, MOST_WORDS), Word::Abort);
        assert_eq!(word(false, QuestionKind::LeaveDebt, MOST_WORDS), Word::Yes);
        assert_eq!(word(false, QuestionKind::RollBack, MOST_WORDS), Word::GoOn);
        assert_eq!(word(true, QuestionKind::Stalled, 0), Word::RollBack);
        assert_eq!(word(true, QuestionKind::RollBackNow, 0), Word::Yes);
    }

    /// A sixth of the hosts never report, and somebody is born every other minute.
    #[test]
    fn a_release_that_nobody_can_judge_comes_to_an_end() {
        let world = World {
            telemetry_loss: 0.17,
            deaths_per_target_day: 2.0,
            ..World::calm()
        };
        let scenario = Scenario::parse(SMALL, "own.json", &world).unwrap();
        let fleet = Synthetic::parse("400x4").unwrap();
        let [good, bad] = [0, 1].map(|family| {
            let ground = Ground::new(&scenario, fleet, family, &world, 11).unwrap();
            run(&ground, None, None).unwrap()
        });
        for trial in [good, bad] {
            assert!(trial.hours < 62.0 * 24.0 && trial.share() <= 1.0, "{trial:?}");
            assert!(!trial.stopped || trial.exposed > 0, "{trial:?}");
            assert!(trial.bad && !trial.before_onset || trial.human_actions > 0, "{trial:?}");
        }
    }
}
