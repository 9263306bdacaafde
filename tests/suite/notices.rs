//! Who is told what, how often, and until when.
#![expect(clippy::unwrap_used, reason = "a failure of a helper is a failed test")]

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::support::{Case, HOUR_MS, MINUTE_MS, Pager, START_WALL_MS, Stage, app_of, person};
use async_trait::async_trait;
use parking_lot::Mutex;
use unattended::upgrade::{Clock, Group, Journal, JournalError, MemoryJournal, Position, Snapshot};
use unattended::{Actor, Level, Notice, NoticeStage, Notifier, Outcome, Permit, PermitError, QuestionKind, Severity};
use unattended_simulated::SimClock;

/// A change that asks whether to roll back, and has nobody to answer.
fn asking() -> Case {
    let mut case = Case::calm(8, 30).release("errors=x10").level(Level::L3);
    case.settings.telling.escalate_to = Some("duty-manager".to_owned());
    case
}

const ROLL_BACK: &str = "mesh-2/person.asked/roll_back";

/// Minutes since the first, and the stage, of everything said of one matter.
fn story(pager: &Pager, key: &str) -> Vec<(i64, String)> {
    let all = pager.all();
    let of: Vec<&Notice> = all.iter().filter(|notice| notice.dedup_key == key).collect();
    let first = of.first().map_or(0, |notice| notice.at_unix_ms);
    of.iter()
        .map(|notice| ((notice.at_unix_ms - first) / 60_000, notice.stage.as_str().to_owned()))
        .collect()
}

fn told(story: &[(i64, &str)]) -> Vec<(i64, String)> {
    story.iter().map(|(at, stage)| (*at, (*stage).to_owned())).collect()
}

/// Lets it run until it has asked.
fn until_asked(stage: &mut Stage) {
    let (clock, pager) = (stage.sim.clock(), Arc::clone(&stage.pager));
    let left = stage.drive(async move {
        while pager.notices().is_empty() {
            clock.sleep_until(clock.now() + MINUTE_MS).await;
        }
    });
    assert!(left.unwrap().is_none());
}

fn run_for(stage: &mut Stage, ms: u64) {
    let clock = stage.sim.clock();
    assert!(stage.drive(clock.sleep_until(clock.now() + ms)).unwrap().is_none());
}

#[test]
fn a_question_is_said_again_until_somebody_knows_and_is_over_when_it_is_answered() {
    let mut stage = asking().stage();
    until_asked(&mut stage);
    run_for(&mut stage, 100 * MINUTE_MS);
    let said = [
        (0, "raised"),
        (15, "reminded"),
        (30, "reminded"),
        (45, "reminded"),
        (60, "escalated"),
        (75, "reminded"),
        (90, "reminded"),
    ];
    assert_eq!(story(&stage.pager, ROLL_BACK), told(&said));

    let first = stage.pager.notices()[0].clone();
    assert_eq!(
        (first.code.as_str(), first.severity),
        ("person.asked", Severity::Critical)
    );
    assert_eq!(
        (first.owner.as_str(), first.change.as_str()),
        ("li (MESH-192)", "mesh-2")
    );
    assert_eq!(first.question.as_ref().unwrap().kind, QuestionKind::RollBack);
    assert_eq!(first.raised_unix_ms, first.at_unix_ms);
    assert!(first.raised_unix_ms > START_WALL_MS);
    // Enough to decide on, at three in the morning.
    let briefing = first.briefing.as_ref().unwrap();
    let progress = stage.handle.progress().unwrap();
    assert_eq!(briefing.targets, progress.targets);
    assert!(briefing.exposed > 0 && briefing.exposed <= progress.exposed);
    assert!(briefing.evidence >= briefing.evidence_needed, "{briefing:?}");
    assert!((briefing.evidence_needed - 100.0).abs() < 1e-9);
    assert!(
        first.text.contains(&briefing.found),
        "{} and {}",
        first.text,
        briefing.found
    );
    assert!(briefing.otherwise.contains("nothing more is started"), "{briefing:?}");
    assert!(
        briefing.decisions.last().unwrap().contains("Roll back?"),
        "{briefing:?}"
    );
    let all = stage.pager.all();
    let escalated = all.iter().find(|n| n.stage.as_str() == "escalated").unwrap();
    assert_eq!(
        escalated.stage,
        NoticeStage::Escalated {
            to: Some("duty-manager".to_owned())
        }
    );
    assert_eq!(escalated.raised_unix_ms, first.raised_unix_ms);

    // Somebody knows: it stays open, and is quiet.
    let open = stage.handle.notices();
    assert_eq!(open.len(), 1);
    let before = stage.pager.all().len();
    stage
        .handle
        .acknowledge(person(), &open[0].dedup_key, "on my way")
        .unwrap();
    stage.handle.acknowledge(person(), "mesh-2/no.such", "a slip").unwrap();
    run_for(&mut stage, 20 * HOUR_MS);
    assert_eq!(stage.pager.all().len(), before);
    assert_eq!(stage.handle.notices().len(), 1);
    stage.handle.approve(person(), "yes").unwrap();
    let ended = stage.run();
    assert_eq!(ended.outcome, Outcome::RolledBack);
    assert_eq!(ended.summary.human_actions, 3);
    let known: Vec<&str> = (ended.summary.decisions.iter())
        .filter(|decision| decision.code == "notice.known")
        .map(|decision| decision.text.as_str())
        .collect();
    assert!(
        known[0].starts_with("li (INC-42) knows of mesh-2/person.asked/roll_back:"),
        "{known:?}"
    );
    assert!(known[1].contains("which is no open matter"), "{known:?}");
    let rest: Vec<(String, String)> = ended.pager.all()[before..]
        .iter()
        .map(|notice| (notice.code.clone(), notice.stage.as_str().to_owned()))
        .collect();
    let rest: Vec<(&str, &str)> = rest.iter().map(|(code, stage)| (&**code, &**stage)).collect();
    assert_eq!(
        rest,
        [
            ("person.asked", "resolved"),
            ("rollback.began", "raised"),
            ("change.ended", "raised"),
            ("rollback.began", "resolved")
        ]
    );
    assert_eq!(ended.handle.notices(), []);
}

/// What is open, who knows and who was told survives a kill, since it is in the journal like everything else.
#[test]
fn a_run_that_takes_over_knows_what_was_said() {
    let dir = tempfile::tempdir().unwrap();
    for known in [false, true] {
        let mut case = asking();
        case.log = Some(dir.path().join(format!("world-{known}")));
        let journal = Arc::new(MemoryJournal::new());
        let mut first = case.stage_over(journal.clone());
        until_asked(&mut first);
        run_for(&mut first, 70 * MINUTE_MS);
        assert!(
            story(&first.pager, ROLL_BACK)
                .iter()
                .any(|(_, stage)| stage == "escalated")
        );
        let raised = first.handle.notices()[0].raised_unix_ms;
        if known {
            first.handle.acknowledge(person(), ROLL_BACK, "on my way").unwrap();
            run_for(&mut first, 10 * MINUTE_MS);
        }
        let left_unix_ms = first.sim.clock().wall();
        drop(first);

        let mut second = case.stage_over(journal);
        run_for(&mut second, 4 * HOUR_MS);
        let again = story(&second.pager, ROLL_BACK);
        let open = second.handle.notices();
        assert_eq!((open.len(), open[0].raised_unix_ms), (1, raised));
        if known {
            assert_eq!(again, []);
        } else {
            // Once more at once, as the word before may have been lost; escalated it was already.
            assert_eq!(again[0], (0, "reminded".to_owned()));
            let said_unix_ms = second
                .pager
                .all()
                .iter()
                .find(|n| n.dedup_key == ROLL_BACK)
                .unwrap()
                .at_unix_ms;
            assert!(said_unix_ms <= left_unix_ms, "{said_unix_ms} and {left_unix_ms}");
            assert!(again.len() >= 7, "{again:?}");
            assert!(again.iter().all(|(_, stage)| stage == "reminded"), "{again:?}");
        }
    }
}

#[test]
fn a_team_is_told_of_what_its_own_rules_hold() {
    let mut case = Case::calm(6, 20);
    case.rules = "version: 1
pack: shop
owner: platform
scope: all
rules:
  - {id: new-hands, kind: person, select: {app: [app-0, app-2]}, owner: team-pay, step: batch, reason: nobody knows them}
  - {id: old-hands, kind: person, select: {app: app-4}, owner: team-search, step: batch, reason: ask first}
"
    .to_owned();
    let mut stage = case.stage();
    until_asked(&mut stage);
    run_for(&mut stage, 24 * HOUR_MS);
    let of = |owner: &str| {
        let mut open = stage.handle.notices();
        open.retain(|notice| notice.owner == owner);
        open
    };
    let (pay, search, change) = (of("team-pay"), of("team-search"), of("li (MESH-192)"));
    assert_eq!(
        (pay.len(), search.len(), change.len()),
        (1, 1, 1),
        "{:?}",
        stage.handle.notices()
    );
    assert_eq!(pay[0].dedup_key, "mesh-2/lane.held/team-pay");
    assert_eq!(
        (pay[0].code.as_str(), pay[0].severity),
        ("lane.held", Severity::Warning)
    );
    assert!(
        pay[0].text.contains("new-hands") && pay[0].text.contains("nobody knows them"),
        "{}",
        pay[0].text
    );
    let holds = stage.handle.summary().unwrap().holds;
    for (team, notice) in [("team-pay", &pay[0]), ("team-search", &search[0])] {
        let mut held: Vec<String> = holds
            .iter()
            .filter(|hold| hold.owner == team)
            .map(|hold| hold.lane.clone())
            .collect();
        held.sort();
        assert_eq!(held, notice.lanes);
    }
    assert_eq!(change[0].question.as_ref().unwrap().kind, QuestionKind::RuleWantsPerson);
    assert!(pay[0].question.is_none(), "the question is the change's");

    let handle = stage.handle.clone();
    handle.approve(person(), "we asked them").unwrap();
    run_for(&mut stage, 2 * MINUTE_MS);
    let said = story(&stage.pager, "mesh-2/lane.held/team-pay");
    assert_eq!(said.last().unwrap().1, "resolved", "{said:?}");
}

#[test]
fn a_team_that_holds_a_rollback_is_told_at_once() {
    let mut case = Case::calm(6, 20).release("late=3h:errors=x20");
    case.rules = "version: 1
pack: shop
owner: shop
scope: all
windows:
  - {id: lunch, kind: protected, weekly: {days: [mon], from: \"10:30\", for: 20h}, zone: UTC, owner: shop-desk, reason: people eat}
"
    .to_owned();
    let ended = case.run();
    assert_eq!(ended.outcome, Outcome::RolledBack);
    let all = ended.pager.all();
    let held: Vec<&Notice> = all.iter().filter(|notice| notice.code == "rollback.held").collect();
    assert_eq!(held[0].dedup_key, "mesh-2/rollback.held/shop-desk");
    assert_eq!(
        (held[0].owner.as_str(), held[0].severity),
        ("shop-desk", Severity::Critical)
    );
    assert!(
        held[0].text.contains("people eat") && !held[0].lanes.is_empty(),
        "{:?}",
        held[0]
    );
    let began = all.iter().find(|notice| notice.code == "rollback.began").unwrap();
    assert_eq!(held[0].at_unix_ms, began.at_unix_ms);
    assert_eq!(held.last().unwrap().stage, NoticeStage::Resolved);
    assert_eq!(ended.handle.notices(), []);
}

/// A permit that changes its word.
struct Switch(Mutex<Result<bool, PermitError>>);

impl Permit for Switch {
    fn may_act(&self) -> Result<bool, PermitError> {
        self.0.lock().clone()
    }
}

#[test]
fn people_are_told_that_the_permit_stops_the_change() {
    let away = PermitError("the file server is away".to_owned());
    for no in [Ok(false), Err(away)] {
        let switch = Arc::new(Switch(Mutex::new(Ok(true))));
        let mut case = Case::calm(4, 10);
        case.permit = switch.clone();
        let mut stage = case.stage();
        run_for(&mut stage, 15_000);
        let words = no.clone().map_or_else(|error| error.0, |_| "says no".to_owned());
        *switch.0.lock() = no;
        run_for(&mut stage, 10 * MINUTE_MS);
        let open = stage.handle.notices();
        assert_eq!(open.len(), 1, "{open:?}");
        assert_eq!(
            (open[0].code.as_str(), open[0].severity),
            ("permit.withheld", Severity::Critical)
        );
        assert!(open[0].text.contains(&words), "{}", open[0].text);
        *switch.0.lock() = Ok(true);
        let ended = stage.run();
        assert_eq!(ended.outcome, Outcome::Completed);
        let story = story(&ended.pager, "mesh-2/permit.withheld");
        assert_eq!(story.last().unwrap().1, "resolved", "{story:?}");
        // What is replayed is what happened.
        let played = futures::executor::block_on(unattended::replay(&*ended.journal, None)).unwrap();
        assert_eq!(played.first_difference, None);
    }
}

/// A journal that refuses everything from some time on.
struct Doomed(MemoryJournal, SimClock, u64);

#[async_trait]
impl Journal for Doomed {
    async fn append(&self, group: &Group) -> Result<Position, JournalError> {
        if self.1.now() >= self.2 {
            return Err(JournalError::Io("no space left".to_owned()));
        }
        self.0.append(group).await
    }

    async fn read(&self, from: Position, max_groups: usize) -> Result<Vec<(Position, Group)>, JournalError> {
        self.0.read(from, max_groups).await
    }

    async fn compact(&self, before: Position, snapshot: &Group) -> Result<(), JournalError> {
        self.0.compact(before, snapshot).await
    }

    async fn snapshot(&self) -> Result<Option<Snapshot>, JournalError> {
        self.0.snapshot().await
    }

    async fn end(&self) -> Result<Position, JournalError> {
        self.0.end().await
    }
}

#[test]
fn signs_of_life_come_as_long_as_there_is_life() {
    let ended = Case::calm(4, 10).run();
    let pulses = ended.pager.pulses();
    for pair in pulses.windows(2) {
        let apart = u64::try_from(pair[1].at_unix_ms - pair[0].at_unix_ms).unwrap();
        assert!(apart <= pair[0].next_within_ms, "{pair:?}");
        assert!(apart >= MINUTE_MS || pair[1].next_within_ms == 0, "{pair:?}");
    }
    let elapsed_minutes = usize::try_from(ended.summary.elapsed_ms / MINUTE_MS).unwrap();
    assert!(
        pulses.len() + 2 >= elapsed_minutes,
        "{} in {elapsed_minutes} min",
        pulses.len()
    );
    let (last, others) = pulses.split_last().unwrap();
    assert_eq!(
        (last.state.as_str(), last.next_within_ms, last.open),
        ("completed", 0, 0)
    );
    assert!(
        others
            .iter()
            .all(|pulse| pulse.next_within_ms > 0 && pulse.change == "mesh-2")
    );

    // Where the journal is gone no pulse says that all is well, and people are told by the run that tries it again.
    let case = Case::calm(4, 10);
    let sim = case.simulated();
    let (clock, metrics) = (sim.clock(), Arc::clone(&sim));
    let death_ms = 10 * MINUTE_MS;
    let journal = Arc::new(Doomed(MemoryJournal::new(), clock, death_ms));
    let mut stage = case.stage_with(sim, journal, metrics, |pager| pager);
    run_for(&mut stage, 3 * HOUR_MS);
    let pulses = stage.pager.pulses();
    let died_unix_ms = START_WALL_MS + i64::try_from(death_ms + 32 * MINUTE_MS).unwrap();
    assert!(pulses.len() > 5 && pulses.iter().all(|pulse| pulse.next_within_ms > 0));
    assert!(pulses.last().unwrap().at_unix_ms <= died_unix_ms);
    let last = stage.pager.all().pop().unwrap();
    assert_eq!(
        (last.code.as_str(), last.severity),
        ("journal.failed", Severity::Critical)
    );
    assert!(last.text.contains("no space left"), "{}", last.text);
}

/// A notifier that takes its time with what comes up.
struct Slow(Arc<Pager>, SimClock);

#[async_trait]
impl Notifier for Slow {
    async fn notify(&self, notice: &Notice) {
        if notice.stage == NoticeStage::Raised {
            self.1.sleep_until(self.1.now() + 25_000).await;
        }
        self.0.notify(notice).await;
    }
}

/// Nothing is over before it has come up, and nothing waits for the post.
#[test]
fn what_is_said_arrives_in_order() {
    let case = asking();
    let sim = case.simulated();
    let (clock, metrics) = (sim.clock(), Arc::clone(&sim));
    let stage = case.stage_with(sim, Arc::new(MemoryJournal::new()), metrics, |pager| Slow(pager, clock));
    let (handle, clock) = (stage.handle.clone(), stage.sim.clock());
    let ended = stage.run_beside(async move {
        loop {
            if !handle.notices().is_empty() {
                // Answered before it was even sent.
                let _ = handle.approve(person(), "yes");
            }
            clock.sleep_until(clock.now() + 1_000).await;
        }
    });
    assert_eq!(ended.outcome, Outcome::RolledBack);
    let of: Vec<String> = (ended.pager.all().iter())
        .filter(|notice| notice.dedup_key == ROLL_BACK)
        .map(|notice| notice.stage.as_str().to_owned())
        .collect();
    assert_eq!(of, ["raised", "resolved"]);
    let began = story(&ended.pager, "mesh-2/rollback.began");
    let began: Vec<&str> = began.iter().map(|(_, stage)| &**stage).collect();
    assert_eq!(began, ["raised", "resolved"]);
}

#[test]
fn however_many_teams_are_warned_the_question_of_the_change_is_told() {
    let mut case = Case::calm(280, 4).level(Level::L3);
    let plan = case.plan();
    let fleet = case.fleet();
    let first: BTreeSet<&str> = (0..3)
        .flat_map(|batch| plan.targets(batch))
        .map(|&target| app_of(fleet.id(target)))
        .collect();
    let mut rules = "version: 1\npack: shop\nowner: platform\nscope: all\nrules:\n".to_owned();
    for app in (0..280).filter(|app| !first.contains(format!("app-{app}").as_str())) {
        rules.push_str(&format!(
            "  - {{id: r{app}, kind: person, select: {{app: app-{app}}}, owner: team-{app:03}, step: batch, reason: ask first}}\n"
        ));
    }
    case.rules = rules;
    let mut stage = case.stage();
    let (clock, handle) = (stage.sim.clock(), stage.handle.clone());
    let left = stage.drive(async move {
        while handle.notices().len() < 256 {
            clock.sleep_until(clock.now() + 10 * MINUTE_MS).await;
        }
        handle
            .roll_back(Actor::program("watch", "orders"), "orders fail")
            .unwrap();
        clock.sleep_until(clock.now() + 5 * MINUTE_MS).await;
    });
    assert!(left.unwrap().is_none());
    let raised = story(&stage.pager, ROLL_BACK);
    assert_eq!(raised, told(&[(0, "raised")]));
}

#[test]
fn a_call_that_takes_long_keeps_no_sign_of_life_back() {
    let mut case = Case::calm(2, 12);
    case.settings.telling.pulse_ms = 10_000;
    let stage = case.stage();
    let clock = stage.sim.clock();
    stage.platform.news_come_after(move || {
        let clock = clock.clone();
        async move { clock.sleep_until(clock.now() + 25_000).await }
    });
    let ended = stage.run();
    assert_eq!(ended.outcome, Outcome::Completed);
    let pulses = ended.pager.pulses();
    let between = pulses.windows(2).map(|pair| pair[1].at_unix_ms - pair[0].at_unix_ms);
    let longest = between.max().unwrap();
    assert!(longest <= 11_000, "{longest} ms without a sign of life");
}
