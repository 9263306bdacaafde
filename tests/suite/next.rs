//! Changes at the same targets with a journal each: the next one is fenced off by none before it, and of two at once the one that began
//! later goes on.
#![expect(clippy::unwrap_used, reason = "a failure of a helper is a failed test")]

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use futures::FutureExt;
use unattended::upgrade::{Clock, DriverConfig, MemoryJournal};
use unattended::{Autopilot, Change, Handle, Outcome, RunError, Summary, replay};
use unattended_simulated::Simulated;

use crate::support::{Act, Case, HOUR_MS, MINUTE_MS, NEW, OLD, Pager, START_WALL_MS, Watched, person};

/// The same clock with another date.
struct Dated<C>(C, i64);

#[async_trait]
impl<C: Clock> Clock for Dated<C> {
    fn now(&self) -> u64 {
        self.0.now()
    }

    fn wall(&self) -> i64 {
        self.0.wall() + self.1
    }

    async fn sleep_until(&self, at_ms: u64) {
        self.0.sleep_until(at_ms).await;
    }
}

const DAY_MS: u64 = 24 * HOUR_MS;

type Run = Pin<Box<dyn Future<Output = Result<Outcome, RunError>> + Send>>;

/// One change in a world that others share.
struct One {
    handle: Handle,
    run: Run,
    platform: Arc<Watched>,
    pager: Arc<Pager>,
    journal: Arc<MemoryJournal>,
}

fn one(case: &Case, sim: &Arc<Simulated>, [from, to]: [&str; 2], off_ms: i64) -> One {
    over(case, sim, [from, to], off_ms, Arc::new(MemoryJournal::new()))
}

fn over(case: &Case, sim: &Arc<Simulated>, [from, to]: [&str; 2], off_ms: i64, journal: Arc<MemoryJournal>) -> One {
    let (platform, pager) = (
        Arc::new(Watched::new(Arc::clone(sim), true)),
        Arc::new(Pager::default()),
    );
    let pilot = Autopilot::builder()
        .platform(Arc::clone(&platform))
        .metrics(Arc::clone(sim))
        .journal(Arc::clone(&journal))
        .clock(Dated(sim.clock(), off_ms))
        .rules(case.guard())
        .notifier(Arc::clone(&pager))
        .level(case.level)
        .driver(case.driver.clone().unwrap_or_default())
        .build()
        .unwrap();
    let mut settings = case.settings.clone();
    settings.person_patience_ms = 0;
    let change = Change::new(format!("to-{to}"), person(), from.into(), to.into(), case.fleet())
        .policy(case.policy.clone())
        .settings(settings)
        .seed(case.seed);
    let (handle, run) = pilot.start(change).unwrap();
    One {
        handle,
        run,
        platform,
        pager,
        journal,
    }
}

impl One {
    fn end(&mut self, sim: &Arc<Simulated>) -> Result<Outcome, RunError> {
        sim.executor().run(self.run.as_mut()).unwrap()
    }

    fn summary(&self) -> Summary {
        self.handle.summary().unwrap()
    }

    fn told(&self, code: &str) -> bool {
        self.pager.all().iter().any(|notice| notice.code == code)
    }

    /// Under which generations it has given orders.
    fn generations(&self) -> BTreeSet<u64> {
        let keys = self.platform.effects().into_iter().filter_map(|effect| effect.key);
        keys.map(|key| key.split('/').nth(1).unwrap().parse().unwrap())
            .collect()
    }

    /// How many orders to replace a target it has given since.
    fn replaced(&self, from_ms: u64) -> usize {
        let effects = self.platform.effects();
        let replaces = effects.iter().filter(|effect| effect.act == Act::Replace);
        replaces.filter(|effect| effect.at_ms >= from_ms).count()
    }

    fn differs(&self) -> bool {
        let played = futures::executor::block_on(replay(&*self.journal, None)).unwrap();
        played.first_difference.is_some()
    }
}

fn first_of(unix_ms: i64) -> u64 {
    u64::try_from(unix_ms).unwrap() << 10
}

#[test]
fn ten_changes_in_a_row_need_one_attempt_for_each_target() {
    let case = Case::calm(4, 20);
    let sim = case.simulated();
    for round in 0..10 {
        let versions = if round % 2 == 0 { [OLD, NEW] } else { [NEW, OLD] };
        let mut change = one(&case, &sim, versions, 0);
        assert_eq!(change.end(&sim).unwrap(), Outcome::Completed, "round {round}");
        let summary = change.summary();
        assert_eq!(
            (summary.receipt.attempts, summary.receipt.done),
            (80, 80),
            "round {round}"
        );
        assert_eq!(summary.debts, [], "round {round}");
        assert!(!change.differs() && !change.told("targets.taken_over"), "round {round}");
    }
}

#[test]
fn the_next_change_after_one_that_was_taken_back_is_not_fenced_off_either() {
    let case = Case::calm(4, 20).release("errors=x20");
    let sim = case.simulated();
    for round in 0..4 {
        let mut change = one(&case, &sim, [OLD, NEW], 0);
        assert_eq!(change.end(&sim).unwrap(), Outcome::RolledBack, "round {round}");
        let summary = change.summary();
        // Each attempt forward did what it was to, and so did each on the way back.
        let receipt = &summary.receipt;
        assert_eq!(receipt.attempts, receipt.done, "round {round}");
        assert!(summary.debts.is_empty() && !change.differs(), "round {round}");
        let census = sim.census();
        assert_eq!(census.on_old_verified, census.targets, "round {round}: {census:?}");
    }
}

#[test]
fn a_change_that_is_taken_up_keeps_its_generations() {
    let case = Case::calm(4, 20);
    let (sim, journal) = (case.simulated(), Arc::new(MemoryJournal::new()));
    let clock = sim.clock();
    let mut generations = BTreeSet::new();
    for minutes in [10, 20, 40] {
        let mut change = over(&case, &sim, [OLD, NEW], 0, Arc::clone(&journal));
        let until = clock.sleep_until(minutes * MINUTE_MS);
        let ended = sim.executor().run(async {
            futures::select_biased! { ended = change.run.as_mut().fuse() => Some(ended), () = until.fuse() => None }
        });
        assert!(ended.unwrap().is_none());
        generations.extend(change.generations());
    }
    // The last one's clock is a day behind by now, and the journal says when it began.
    let mut last = over(
        &case,
        &sim,
        [OLD, NEW],
        -i64::try_from(DAY_MS).unwrap(),
        Arc::clone(&journal),
    );
    assert_eq!(last.end(&sim).unwrap(), Outcome::Completed);
    generations.extend(last.generations());
    let first = first_of(START_WALL_MS);
    // Each run that took an attempt up took one more.
    assert!(
        generations.contains(&first) && generations.iter().all(|&generation| generation < first + 10),
        "{generations:?}"
    );
    assert!(!last.differs());
}

#[test]
fn what_is_configured_counts_where_it_is_higher() {
    let mut case = Case::calm(2, 10);
    let wanted = first_of(START_WALL_MS) + 77;
    for (configured, expected) in [(wanted, wanted), (5, first_of(START_WALL_MS))] {
        case.driver = Some(DriverConfig::new().first_generation(configured));
        let sim = case.simulated();
        let mut change = one(&case, &sim, [OLD, NEW], 0);
        assert_eq!(change.end(&sim).unwrap(), Outcome::Completed);
        assert_eq!(change.generations(), BTreeSet::from([expected]));
    }
}

#[test]
fn a_change_of_a_clock_that_is_behind_ends_and_says_what_is_so() {
    let case = Case::calm(4, 20);
    let sim = case.simulated();
    let mut first = one(&case, &sim, [OLD, NEW], 0);
    assert_eq!(first.end(&sim).unwrap(), Outcome::Completed);
    let mut second = one(&case, &sim, [NEW, OLD], -i64::try_from(DAY_MS / 2).unwrap());
    let error = second.end(&sim).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, RunError::TakenOver { targets: 3.., .. }), "{text}");
    assert!(
        text.contains("a later generation") && text.contains("the clock of one was wrong"),
        "{text}"
    );
    assert!(second.told("run.failed"));
    let debts = second.summary().debts;
    assert!(debts.is_empty() && !second.differs(), "{debts:?}");
    let census = sim.census();
    assert_eq!(census.on_new_verified, census.targets, "{census:?}");
    // And so it does where it is taken up as it is; with a generation above, it goes on.
    let again = over(&case, &sim, [NEW, OLD], 0, Arc::clone(&second.journal)).end(&sim);
    assert!(matches!(again, Err(RunError::TakenOver { .. })), "{again:?}");
    let now = START_WALL_MS + i64::try_from(sim.clock().now()).unwrap();
    let case = Case {
        driver: Some(DriverConfig::new().first_generation(first_of(now))),
        ..case
    };
    let mut last = over(&case, &sim, [NEW, OLD], 0, Arc::clone(&second.journal));
    assert_eq!(last.end(&sim).unwrap(), Outcome::Completed);
    assert!(last.summary().debts.is_empty() && !last.differs());
}

#[test]
fn of_two_controllers_with_a_journal_each_the_one_that_began_later_goes_on() {
    for minutes in [1, 8, 15] {
        let case = Case::calm(8, 30);
        let sim = case.simulated();
        let (mut early, mut late) = (one(&case, &sim, [OLD, NEW], 0), one(&case, &sim, [OLD, NEW], 0));
        let clock = sim.clock();
        let ends = sim.executor().run(async {
            let later = async {
                clock.sleep_until(minutes * MINUTE_MS).await;
                late.run.as_mut().await
            };
            let early = async { (early.run.as_mut().await, clock.now()) };
            futures::join!(early, later)
        });
        let ((first, ended_ms), second) = ends.unwrap();
        assert!(
            matches!(first, Err(RunError::TakenOver { .. })),
            "after {minutes} min: {first:?}"
        );
        assert_eq!(second.unwrap(), Outcome::Completed, "after {minutes} min");
        assert!(
            late.replaced(0) > late.replaced(u64::MAX) && ended_ms < clock.now() && early.replaced(ended_ms + 1) == 0
        );
        assert!(!early.differs() && !late.differs());
        assert!(early.told("run.failed") && !late.told("targets.taken_over"));
        let (early, late) = (early.summary(), late.summary());
        let blamed: Vec<_> = early
            .debts
            .iter()
            .chain(&late.debts)
            .filter(|debt| debt.reason.contains("not healthy"))
            .collect();
        assert!(blamed.is_empty(), "after {minutes} min: {blamed:?}");
        let census = sim.census();
        assert_eq!(
            census.on_new_verified, census.targets,
            "after {minutes} min: {census:?}"
        );
    }
}
