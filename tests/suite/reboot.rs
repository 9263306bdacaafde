//! A change that is taken up under another clock: after a start of the machine, or on another one.
#![expect(clippy::unwrap_used, reason = "a failure of a helper is a failed test")]

use std::sync::Arc;

use crate::support::{Case, HOUR_MS, MINUTE_MS, START_WALL_MS, Stage};
use futures::executor::block_on;
use unattended::upgrade::{Clock, Journal, MemoryJournal, Stream};
use unattended::{Level, NoticeStage, replay};

const DAY_MS: i64 = 24 * 3_600_000;

/// Nothing may be touched from 27 November on, which is in four days, until the 30th.
const SALE: &str = "version: 1
pack: shop
owner: shop
scope: all
freezes:
  - {id: sale, from: 2026-11-27T00:00, until: 2026-11-30T00:00, zone: UTC, owner: cto, reason: sale}
";
/// 30 November 2026, 00:00 UTC.
const SALE_ENDS_MS: i64 = 1_795_996_800_000;

/// A change that ran for an hour, in a world whose clock was off by `clock_ms` at its beginning.
fn begun(case: &Case, clock_ms: u64) -> Arc<MemoryJournal> {
    let journal = Arc::new(MemoryJournal::new());
    let sim = case.simulated();
    sim.clock().advance_to(clock_ms);
    let mut first = case.stage_in(sim, journal.clone());
    let clock = first.sim.clock();
    assert!(first.drive(clock.sleep_until(clock_ms + HOUR_MS)).unwrap().is_none());
    // What is under way comes to its end whenever it is taken up.
    while first.handle.progress().unwrap().in_flight > 0 {
        assert!(first.drive(clock.sleep_until(clock.now() + 1_000)).unwrap().is_none());
    }
    assert!(first.handle.progress().unwrap().exposed > 0);
    journal
}

/// The same change in a world whose clock begins at 0, at this date.
fn taken_up(case: &Case, start_wall_ms: i64, journal: &Arc<MemoryJournal>) -> Stage {
    let case = Case {
        start_wall_ms,
        ..case.clone()
    };
    case.stage_over(journal.clone())
}

/// How often a run was taken up under another clock.
fn anew(journal: &MemoryJournal) -> usize {
    let groups = block_on(journal.read(0, usize::MAX)).unwrap();
    let kinds = groups.iter().flat_map(|(_, group)| {
        group
            .records()
            .map(|record| (record.stream, record.kind))
            .collect::<Vec<_>>()
    });
    kinds.filter(|kind| *kind == (Stream::AUTOPILOT, 23)).count()
}

fn copy_of(journal: &MemoryJournal) -> Arc<MemoryJournal> {
    let copy = MemoryJournal::new();
    for (_, group) in block_on(journal.read(0, usize::MAX)).unwrap() {
        block_on(copy.append(&group)).unwrap();
    }
    Arc::new(copy)
}

/// When targets were disturbed, in Unix milliseconds.
fn disturbed(stage: &Stage, start_wall_ms: i64) -> Vec<i64> {
    let effects = stage.platform.effects();
    let disturbing = effects.iter().filter(|effect| effect.disturbs());
    disturbing
        .map(|effect| start_wall_ms + i64::try_from(effect.at_ms).unwrap())
        .collect()
}

/// It is Saturday when the machine is on again: rules are read at that date, at once, and metrics go on.
#[test]
fn windows_go_by_the_date_after_the_machine_was_off_for_days() {
    let mut case = Case::calm(6, 20);
    case.rules = SALE.to_owned();
    // The clock of the first run began long before it, or with it.
    for clock_ms in [0, 100 * 24 * HOUR_MS] {
        let off_by = i64::try_from(clock_ms).unwrap();
        case.start_wall_ms = START_WALL_MS - off_by;
        let journal = begun(&case, clock_ms);
        let back_ms = START_WALL_MS + 5 * DAY_MS;
        let mut second = taken_up(&case, back_ms, &journal);
        let clock = second.sim.clock();
        assert!(second.drive(clock.sleep_until(MINUTE_MS)).unwrap().is_none());
        // It neither sleeps nor goes on as if no time had passed.
        let now_ms = second.handle.progress().unwrap().now_ms;
        assert_eq!(now_ms / HOUR_MS, (clock_ms + 5 * 24 * HOUR_MS) / HOUR_MS);
        // Another run under the same clock goes on as this one did: nothing begins anew.
        assert!(second.drive(clock.sleep_until(2 * HOUR_MS)).unwrap().is_none());
        assert_eq!(anew(&journal), 1);
        let sim = Arc::clone(&second.sim);
        drop(second);
        let mut second = case.stage_in(sim, journal.clone());
        assert!(second.drive(clock.sleep_until(4 * HOUR_MS)).unwrap().is_none());
        assert_eq!(anew(&journal), 1);
        second.drive(clock.sleep_until(4 * 24 * HOUR_MS)).unwrap();
        let touched = disturbed(&second, back_ms);
        assert!(touched.iter().all(|&at| at >= SALE_ENDS_MS), "{:?}", touched.first());
        assert!(
            !touched.is_empty(),
            "it goes on after the sale: {:?}",
            second.handle.progress()
        );
        let raised = |notice: &unattended::Notice| notice.stage == NoticeStage::Raised;
        let told = second.pager.all().into_iter().filter(raised).map(|notice| notice.code);
        let told: Vec<String> = told.collect();
        assert!(!told.contains(&"clock.behind".to_owned()), "{told:?}");
        let played = block_on(replay(&*journal, None)).unwrap();
        assert_eq!(played.first_difference, None);
    }
}

#[test]
fn a_grant_runs_out_while_the_machine_is_off() {
    let mut case = Case::calm(6, 20);
    case.granted = Some(START_WALL_MS + 2 * DAY_MS);
    let journal = begun(&case, 0);
    for (days, level) in [(1, Level::L4), (3, Level::L2)] {
        let journal = copy_of(&journal);
        let mut second = taken_up(&case, START_WALL_MS + days * DAY_MS, &journal);
        let clock = second.sim.clock();
        assert!(second.drive(clock.sleep_until(MINUTE_MS)).unwrap().is_none());
        assert_eq!(second.handle.summary().unwrap().level, level, "after {days} days");
    }
}

/// A date that was set back is followed, and the time of the run does not go back with it.
#[test]
fn a_date_that_was_set_back_is_followed() {
    let case = Case::calm(6, 20);
    let journal = begun(&case, 0);
    let back_ms = START_WALL_MS - DAY_MS;
    let mut second = taken_up(&case, back_ms, &journal);
    let clock = second.sim.clock();
    assert!(second.drive(clock.sleep_until(MINUTE_MS)).unwrap().is_none());
    let now_ms = second.handle.progress().unwrap().now_ms;
    assert!((HOUR_MS..=HOUR_MS + 5 * MINUTE_MS).contains(&now_ms), "{now_ms}");
    let date_ms = second.handle.outlook(None).unwrap().at_unix_ms;
    assert!((back_ms..=back_ms + 60_000).contains(&date_ms), "{date_ms}");
}
