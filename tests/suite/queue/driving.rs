//! The driver: several autopilots beside each other.

use std::sync::Arc;

use parking_lot::Mutex;
use unattended::queue::{Emergency, Limits, QueueHandle, QueueRunError, State};
use unattended::upgrade::{Clock, MemoryJournal};
use unattended::{Label, Labelled, Level, NoticeStage, Outcome, QuestionKind, Severity, Terms, TrackRecord};

use super::site::{Site, until, until_empty};
use super::{START_MS, li};
use crate::support::{Case, HOUR_MS, MINUTE_MS};

/// A change of these applications.
pub(crate) fn case(apps: &[usize]) -> Case {
    let mut case = Case::calm(8, 12);
    case.targets
        .retain(|target| apps.iter().any(|app| target.app == format!("app-{app}")));
    case.settings.rehearse_way_back = true;
    case
}

#[test]
fn those_that_do_not_meet_go_beside_each_other_and_those_that_meet_one_after_the_other() {
    let site = Site::new();
    let tickets = [("mesh", case(&[0, 1])), ("log", case(&[1, 2])), ("dns", case(&[4, 5]))];
    let tickets = tickets.map(|(id, case)| site.add(id, case));
    let driven = site.queue(Arc::new(MemoryJournal::new()));
    for ticket in tickets {
        driven.handle.submit(ticket).unwrap();
    }
    let handle = driven.handle.clone();
    let early = Arc::clone(&site);
    let ended = driven.beside(async move {
        early.clock.sleep_until(30 * MINUTE_MS).await;
        let log = handle.standing("log").unwrap();
        assert!(log.waits[0].to_string().contains("mesh is under way"), "{log:?}");
        assert!(log.begins_unix_ms > Some(START_MS + 30 * 60_000), "{log:?}");
        assert!(handle.change("mesh").is_some() && handle.change("log").is_none());
        until_empty(&early, &handle, |_| ()).await;
        let codes: Vec<String> = handle
            .summary()
            .unwrap()
            .decisions
            .into_iter()
            .map(|decision| decision.code)
            .collect();
        assert_eq!(
            codes.iter().filter(|&code| code == "queue.ended").count(),
            3,
            "{codes:?}"
        );
    });
    ended.unwrap();
    let [mesh, log, dns] = ["mesh", "log", "dns"].map(|id| site.span(id));
    assert!(dns.0 < mesh.1 && mesh.0 < dns.1, "beside each other: {mesh:?} {dns:?}");
    assert!(mesh.1 < log.0, "one after the other: {mesh:?} {log:?}");
    for id in ["mesh", "log", "dns"] {
        let (_, on_new, all) = site.census(id);
        assert_eq!(on_new, all, "{id}");
    }
}

#[test]
fn an_emergency_ends_what_is_in_its_way_and_acts_under_generations_above() {
    let site = Site::new();
    let mesh = site.add("mesh", case(&[0, 1]));
    // The same once more, over what the first has left half-way.
    let fix = site.add_beside("fix", "mesh");
    let fix = fix.emergency(Emergency::new("INC-42").ending_others());
    let driven = site.queue(Arc::new(MemoryJournal::new()));
    driven.handle.submit(mesh).unwrap();
    let (handle, early) = (driven.handle.clone(), Arc::clone(&site));
    let ended = driven.beside(async move {
        until(&early, &handle, "mesh", |handle| {
            handle.progress().is_some_and(|progress| progress.exposed > 2)
        })
        .await;
        handle.submit(fix).unwrap();
        until_empty(&early, &handle, |_| ()).await;
        let decisions = handle.summary().unwrap().decisions;
        let text = |code: &str| {
            decisions
                .iter()
                .filter(|one| one.code == code)
                .map(|one| one.text.clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            text("queue.ended"),
            ["mesh has ended: aborted", "fix has ended: completed"]
        );
    });
    ended.unwrap();
    let (mesh, fix) = (site.span("mesh"), site.span("fix"));
    assert!(mesh.1 < fix.0, "{mesh:?} {fix:?}");
    let disturbed = site.disturbed.lock().clone();
    let of = |id: &str| -> Vec<u64> {
        let its = disturbed.iter().filter(|(_, change, ..)| change == id);
        its.map(|(.., generation)| *generation).collect()
    };
    assert!(of("mesh").iter().max() < of("fix").iter().min(), "{disturbed:?}");
    let (_, on_new, all) = site.census("mesh");
    assert_eq!(on_new, all);
    let told = site.pager.all();
    let of_fix = |notice: &&unattended::Notice| notice.code == "queue.emergency" && notice.change == "fix";
    let told: Vec<_> = told.iter().filter(of_fix).collect();
    assert_eq!(told.first().map(|notice| notice.severity), Some(Severity::Critical));
    assert_eq!(
        told.last().map(|notice| notice.stage.clone()),
        Some(NoticeStage::Resolved)
    );
}

/// The queue puts a third change together meanwhile, and hears of neither before it has.
/// By itself it opens no window; rules may.
#[test]
fn rules_are_told_that_it_is_an_emergency() {
    let of_sort = |emergency: bool| {
        let site = Site::new();
        let mut case = case(&[0, 1]);
        case.rules = "version: 1\npack: night\nowner: sre\nscope: all\nrules:\n  \
                      - {id: quiet, kind: condition, if: {fact: change.emergency, is: false}, then: deny, reason: nothing but fires}\n"
            .to_owned();
        let ticket = site.add("fix", case);
        let ticket = if emergency {
            ticket.emergency(Emergency::new("INC-42"))
        } else {
            ticket
        };
        let driven = site.queue(Arc::new(MemoryJournal::new()));
        driven.handle.submit(ticket).unwrap();
        assert!(driven.run_for(12 * HOUR_MS).is_none());
        site.census("fix")
    };
    let (_, on_new, all) = of_sort(true);
    assert!(on_new == all && all > 0);
    let (_, on_new, all) = of_sort(false);
    assert!(on_new == 0 && all > 0);
}

#[test]
fn an_emergency_waits_for_what_began_to_go_back_while_the_queue_was_busy() {
    let site = Site::new();
    let mesh = site.add("mesh", case(&[0, 1]));
    let fix = site.add_beside("fix", "mesh");
    let fix = fix.emergency(Emergency::new("INC-42").ending_others());
    let other = site.add("other", case(&[4]));
    site.slow.lock().insert("other".to_owned(), vec![50_000]);
    let driven = site.queue(Arc::new(MemoryJournal::new()));
    driven.handle.submit(mesh).unwrap();
    let (handle, early) = (driven.handle.clone(), Arc::clone(&site));
    let mesh = Arc::new(Mutex::new(None));
    let of_mesh = Arc::clone(&mesh);
    let ended = driven.beside(async move {
        until(&early, &handle, "mesh", |handle| {
            handle.progress().is_some_and(|progress| progress.exposed > 2)
        })
        .await;
        *of_mesh.lock() = handle.change("mesh");
        handle.submit(fix).unwrap();
        handle.submit(other).unwrap();
        early.clock.sleep_until(early.clock.now() + 1_000).await;
        handle.change("mesh").unwrap().roll_back(li(), "orders fail").unwrap();
        until_empty(&early, &handle, |_| ()).await;
        let decisions = handle.summary().unwrap().decisions;
        let ended = decisions.iter().filter(|one| one.code == "queue.ended");
        let ended: Vec<&str> = ended.map(|one| one.text.as_str()).collect();
        assert_eq!(ended[0], "mesh has ended: rolled_back");
        assert!(ended.contains(&"fix has ended: completed"), "{ended:?}");
    });
    ended.unwrap();
    let (mesh, fix) = (mesh.lock().take().unwrap(), site.span("fix"));
    assert!(site.span("mesh").1 < fix.0);
    // It is not said again and again to whom it is refused.
    let said = mesh.summary().unwrap().decisions;
    let refused = said.iter().filter(|decision| decision.code == "command.refused");
    assert_eq!(refused.count(), 0);
}

#[test]
fn an_emergency_waits_while_people_are_asked_whether_what_is_in_its_way_goes_back() {
    let site = Site::new();
    let mesh = site.add("mesh", case(&[0, 1]).level(Level::L3).release("errors=x20"));
    let fix = site.add_beside("fix", "mesh");
    let fix = fix.emergency(Emergency::new("INC-42").ending_others());
    let driven = site.queue(Arc::new(MemoryJournal::new()));
    driven.handle.submit(mesh).unwrap();
    let (handle, early) = (driven.handle.clone(), Arc::clone(&site));
    let ended = driven.beside(async move {
        until(&early, &handle, "mesh", |mesh| mesh.question().is_some()).await;
        handle.submit(fix).unwrap();
        early.clock.sleep_until(early.clock.now() + HOUR_MS).await;
        let waits = handle.standing("fix").unwrap().waits;
        assert!(waits[0].to_string().contains("unless it was stopped"), "{waits:?}");
        let mesh = handle.change("mesh").unwrap();
        assert_eq!(mesh.question().unwrap().kind, QuestionKind::RollBack);
        mesh.approve(li(), "it does harm").unwrap();
        until(&early, &handle, "fix", |fix| fix.progress().is_some()).await;
        let summary = mesh.summary().unwrap();
        assert_eq!(summary.outcome, Some(Outcome::RolledBack));
        let said = summary.decisions.iter();
        let said = said.filter(|decision| decision.code.starts_with("command."));
        assert_eq!(said.count(), 1, "the yes, and nothing of the queue's");
    });
    ended.unwrap();
}

#[test]
fn one_that_waits_for_a_person_keeps_its_scope_and_goes_on_when_it_is_resumed() {
    let site = Site::new();
    let mut asking = case(&[0, 1]).level(Level::L2);
    asking.settings.person_patience_ms = 2 * MINUTE_MS;
    let tickets = [site.add("asks", asking), site.add("next", case(&[1, 2]))];
    let driven = site.queue(Arc::new(MemoryJournal::new()));
    for ticket in tickets {
        driven.handle.submit(ticket).unwrap();
    }
    let (handle, early) = (driven.handle.clone(), Arc::clone(&site));
    let ended = driven.beside(async move {
        early.clock.sleep_until(2 * HOUR_MS).await;
        let asks = handle.standing("asks").unwrap();
        assert!(matches!(asks.state, State::Stopped { .. }), "{asks:?}");
        let next = handle.standing("next").unwrap();
        assert!(
            next.waits[0].to_string().contains("resume it, or give it up"),
            "{next:?}"
        );
        assert_eq!(next.begins_unix_ms, None);
        handle.resume("asks", li(), "I am here now").unwrap();
        let say_yes = |handle: &QueueHandle| {
            if let Some(asks) = handle.change("asks") {
                let _ = asks.approve(li(), "go on");
            }
        };
        until_empty(&early, &handle, say_yes).await;
    });
    ended.unwrap();
    assert!(site.span("asks").1 < site.span("next").0);
    assert_eq!(site.opened.lock()["asks"], 2);
    let told = site.pager.all();
    let stopped: Vec<_> = told.iter().filter(|notice| notice.code == "queue.stopped").collect();
    assert_eq!(stopped[0].severity, Severity::Critical, "{}", stopped[0].text);
    assert_eq!(stopped.last().unwrap().stage, NoticeStage::Resolved);
}

#[test]
fn a_level_that_is_lost_is_lost_to_all_changes_of_the_kind_at_once() {
    let site = Site::new();
    let tickets = [site.add("mesh", case(&[0, 1])), site.add("dns", case(&[4]))];
    let driven = site.queue(Arc::new(MemoryJournal::new()));
    for ticket in tickets {
        driven.handle.submit(ticket).unwrap();
    }
    let mut record = TrackRecord::new(li(), Terms::default()).unwrap();
    let harm = |kind: &str| Labelled {
        change: "earlier".to_owned(),
        kind: kind.to_owned(),
        at_unix_ms: START_MS,
        label: Label::MissedWithHarm,
        drill: false,
        by: li(),
        note: String::new(),
    };
    let (handle, early) = (driven.handle.clone(), Arc::clone(&site));
    let ended = driven.beside(async move {
        early.clock.sleep_until(30 * MINUTE_MS).await;
        let other = record.add(harm("config")).unwrap().unwrap();
        assert!(handle.demote(&other).is_empty());
        let fallen = record.add(harm("binary")).unwrap().unwrap();
        assert_eq!(handle.demote(&fallen), ["mesh", "dns"]);
        early.clock.sleep_until(31 * MINUTE_MS).await;
        for id in ["mesh", "dns"] {
            assert_eq!(handle.change(id).unwrap().summary().unwrap().level, Level::L2, "{id}");
        }
    });
    ended.unwrap();
}

/// A change that has stopped is opened again later, with the level that it began with.
#[test]
fn a_level_that_is_lost_while_a_change_has_stopped_is_lost_when_it_goes_on() {
    let site = Site::new();
    let mut bad = case(&[0, 1]).level(Level::L3).release("errors=x20");
    // At L3 a person says whether it goes back, and none is there.
    bad.settings.person_patience_ms = 2 * MINUTE_MS;
    let tickets = [site.add("mesh", bad), site.add("later", case(&[1, 2]))];
    let journal = Arc::new(MemoryJournal::new());
    let driven = site.queue(Arc::clone(&journal) as _);
    for ticket in tickets {
        driven.handle.submit(ticket).unwrap();
    }
    let mut record = TrackRecord::new(li(), Terms::default()).unwrap();
    let harm = Labelled {
        change: "earlier".to_owned(),
        kind: "binary".to_owned(),
        at_unix_ms: START_MS,
        label: Label::MissedWithHarm,
        drill: false,
        by: li(),
        note: String::new(),
    };
    let fallen = record.add(harm).unwrap().unwrap();
    assert!(fallen.to < Level::L3);
    let (handle, early, to) = (driven.handle.clone(), Arc::clone(&site), fallen.to);
    let level = |handle: &unattended::Handle| handle.summary().map(|summary| summary.level);
    let ended = driven.beside(async move {
        let has_stopped = |handle: &QueueHandle| {
            let mesh = handle.standing("mesh");
            mesh.is_some_and(|mesh| matches!(mesh.state, State::Stopped { .. }))
        };
        while !has_stopped(&handle) {
            assert!(early.clock.now() < 12 * HOUR_MS, "{:?}", handle.standing("mesh"));
            early.clock.sleep_until(early.clock.now() + MINUTE_MS).await;
        }
        // Not from one that has not begun: that is for whoever opens it.
        assert_eq!(handle.demote(&fallen), ["mesh"]);
        early.clock.sleep_until(early.clock.now() + MINUTE_MS).await;
        handle.resume("mesh", li(), "I look at it").unwrap();
        until(&early, &handle, "mesh", |mesh| level(mesh).is_some()).await;
        early.clock.sleep_until(early.clock.now() + MINUTE_MS).await;
        assert_eq!(handle.change("mesh").and_then(|mesh| level(&mesh)), Some(to));
    });
    ended.unwrap();
    // And it is remembered where the queue is driven anew.
    let (driven, early) = (site.queue(journal), Arc::clone(&site));
    let handle = driven.handle.clone();
    let ended = driven.beside(async move {
        until(&early, &handle, "mesh", |mesh| level(mesh).is_some()).await;
        let codes: Vec<String> = (handle.summary().unwrap().decisions.into_iter())
            .map(|decision| decision.code)
            .collect();
        assert_eq!(
            codes.iter().filter(|&code| code == "queue.demoted").count(),
            1,
            "{codes:?}"
        );
        assert_eq!(level(&handle.change("mesh").unwrap()), Some(to));
    });
    ended.unwrap();
}

#[test]
fn what_is_opened_must_be_what_was_submitted() {
    let site = Site::new();
    let (small, sound) = (site.add("grows", case(&[0])), site.add("sound", case(&[3])));
    site.alter("grows", |other| *other = case(&[0, 1]));
    let driven = site.queue(Arc::new(MemoryJournal::new()));
    driven.handle.submit(small.clone()).unwrap();
    driven.handle.submit(sound).unwrap();
    driven.handle.submit(small).unwrap();
    driven.finish();
    assert!(site.disturbed.lock().iter().all(|(_, change, ..)| change == "sound"));
    let told = site.pager.all();
    let refused = told.iter().find(|notice| notice.code == "queue.refused").unwrap();
    assert!(refused.text.contains("app-1"), "{}", refused.text);
}

#[test]
fn what_is_not_put_together_in_time_is_tried_again_and_then_refused() {
    let site = Site::new();
    let (late, dead) = (site.add("late", case(&[0])), site.add("dead", case(&[3])));
    // Longer than a call may take.
    site.slow.lock().insert("late".to_owned(), vec![61_000; 2]);
    site.slow.lock().insert("dead".to_owned(), vec![61_000; 7]);
    let driven = site.queue(Arc::new(MemoryJournal::new()));
    driven.handle.submit(late).unwrap();
    driven.handle.submit(dead).unwrap();
    let (handle, early) = (driven.handle.clone(), Arc::clone(&site));
    let ended = driven.beside(async move {
        early.clock.sleep_until(5 * MINUTE_MS).await;
        let late = handle.standing("late").unwrap();
        assert_eq!(late.state, State::Waiting);
        assert!(late.waits[0].to_string().contains("is tried again"), "{late:?}");
        assert!(late.begins_unix_ms.is_some(), "{late:?}");
        until_empty(&early, &handle, |_| ()).await;
    });
    ended.unwrap();
    assert_eq!(site.opened.lock()["late"], 3);
    assert_eq!(site.opened.lock()["dead"], 6);
    let (_, on_new, all) = site.census("late");
    assert_eq!(on_new, all);
    let told: Vec<(String, String, NoticeStage)> = (site.pager.all().into_iter())
        .filter(|notice| notice.code.starts_with("queue."))
        .map(|notice| (notice.code, notice.change, notice.stage))
        .collect();
    for change in ["late", "dead"] {
        for stage in [NoticeStage::Raised, NoticeStage::Resolved] {
            let told_late = ("queue.late".to_owned(), change.to_owned(), stage);
            assert!(told.contains(&told_late), "{told_late:?} is not in {told:?}");
        }
    }
    let refused: Vec<&str> = (told.iter().filter(|(code, ..)| code == "queue.refused"))
        .map(|(_, change, _)| change.as_str())
        .collect();
    assert_eq!(refused, ["dead"]);
}

#[test]
fn a_journal_of_another_queue_is_refused() {
    let journal = Arc::new(MemoryJournal::new());
    let site = Site::new();
    let ticket = site.add("a", case(&[0]));
    let first = site.queue(Arc::clone(&journal) as _);
    first.handle.submit(ticket).unwrap();
    first.finish();
    let mut limits = Limits::for_fleet(1_000);
    limits.most_at_once = 3;
    let error = site.limited(journal, limits).beside(async {}).unwrap_err();
    assert!(matches!(error, QueueRunError::OtherQueue { .. }), "{error}");
}
