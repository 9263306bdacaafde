//! Which may begin, which waits, for whom, and until when.

use std::collections::BTreeSet;
use std::sync::Arc;

use unattended::batching::{Fleet, Policy, pct};
use unattended::queue::{Emergency, Input, Limits, Queue, QueueError, State, Ticket, Wait};
use unattended::{Actor, Change, Outcome};

use super::{DAY_MS, MINUTE_MS, START_MS, change, li, ticket};

fn queue() -> Queue {
    Queue::new(Limits::for_fleet(10_000)).unwrap()
}

fn submitted(tickets: impl IntoIterator<Item = Ticket>) -> Queue {
    let mut queue = queue();
    for ticket in tickets {
        queue.apply(START_MS, &Input::Submit(ticket)).unwrap();
    }
    queue
}

fn began(queue: &mut Queue, at_ms: i64, name: &str) {
    let change = name.to_owned();
    queue.apply(at_ms, &Input::Began { change }).unwrap();
}

fn ended(queue: &mut Queue, at_ms: i64, name: &str, outcome: Outcome) {
    let change = name.to_owned();
    queue.apply(at_ms, &Input::Ended { change, outcome }).unwrap();
}

/// For whom it waits, and why, in a word.
fn waits(queue: &Queue, change: &str, at_ms: i64) -> Vec<(String, &'static str)> {
    let waits = queue.standing(change, at_ms).unwrap().waits.into_iter();
    waits
        .map(|wait| match wait {
            Wait::UnderWay { change, ends, .. } => (change, if ends { "ends" } else { "under way" }),
            Wait::Stopped { change, .. } => (change, "stopped"),
            Wait::Ahead { change, .. } => (change, "ahead"),
            Wait::Places { changes, .. } => (changes.join("+"), "places"),
            Wait::Emergency { change } => (change, "emergency"),
            Wait::Late { .. } => (String::new(), "late"),
            other => panic!("{other:?}"),
        })
        .collect()
}

fn is(change: &str, how: &'static str) -> Vec<(String, &'static str)> {
    vec![(change.to_owned(), how)]
}

fn burning(ticket: Ticket) -> Ticket {
    ticket.emergency(Emergency::new("INC-42"))
}

#[test]
fn those_that_share_an_application_wait_for_each_other_and_all_others_do_not() {
    let mut queue = submitted([
        ticket("a", &["pay", "cart"]),
        ticket("b", &["cart", "user"]),
        ticket("c", &["mail"]),
    ]);
    assert_eq!(queue.may_begin(START_MS), ["a", "c"]);
    assert_eq!(waits(&queue, "b", START_MS), is("a", "ahead"));
    began(&mut queue, START_MS, "a");
    began(&mut queue, START_MS, "c");
    assert_eq!(waits(&queue, "b", START_MS), is("a", "under way"));
    let standing = queue.standing("b", START_MS).unwrap();
    let Wait::UnderWay { shared, .. } = &standing.waits[0] else {
        panic!("{standing:?}")
    };
    assert_eq!(
        (shared.applications, &*shared.first, shared.targets),
        (1, &["cart".to_owned()][..], 20)
    );
    let too_early = queue.apply(START_MS, &Input::Began { change: "b".to_owned() });
    assert!(matches!(too_early, Err(QueueError::State { .. })), "{too_early:?}");
    ended(&mut queue, START_MS, "a", Outcome::RolledBack);
    assert_eq!(queue.may_begin(START_MS), ["b"]);
}

#[test]
fn one_target_under_two_applications_is_a_conflict_too() {
    let other = |id: &str, app: &str| {
        let mut fleet = Fleet::builder();
        fleet.push("pay-3", app, [("zone", "a")], true).unwrap();
        fleet.push(&format!("{app}-3"), app, [("zone", "a")], true).unwrap();
        let fleet = Arc::new(fleet.build().unwrap());
        Ticket::of(&Change::new(id, li(), "1".into(), "2".into(), fleet)).unwrap()
    };
    let queue = submitted([ticket("a", &["pay"]), other("b", "payments"), other("c", "mail")]);
    assert_eq!(queue.may_begin(START_MS), ["a"]);
    let standing = queue.standing("b", START_MS).unwrap();
    let Wait::Ahead { shared, .. } = &standing.waits[0] else {
        panic!("{standing:?}")
    };
    assert_eq!((shared.applications, shared.targets), (0, 1));
    assert!(
        standing.waits[0].to_string().contains("1 targets"),
        "{}",
        standing.waits[0]
    );
}

#[test]
fn the_more_important_goes_first_and_nobody_overtakes_whom_it_meets() {
    let mut queue = submitted([
        ticket("early", &["pay"]),
        ticket("important", &["pay", "cart"]).priority(5),
        ticket("late", &["cart"]).priority(1),
    ]);
    assert_eq!(queue.may_begin(START_MS), ["important"]);
    // `late` meets only `important`, which waits for `early`: it would make it wait for longer.
    let prioritise = Input::Prioritise {
        change: "early".to_owned(),
        priority: 9,
        actor: li(),
        reason: "it is due".to_owned(),
    };
    queue.apply(START_MS, &prioritise).unwrap();
    began(&mut queue, START_MS, "early");
    assert_eq!(waits(&queue, "important", START_MS), is("early", "under way"));
    assert_eq!(waits(&queue, "late", START_MS), is("important", "ahead"));
    let begun = queue.apply(START_MS, &prioritise);
    assert!(matches!(begun, Err(QueueError::State { .. })), "{begun:?}");
}

#[test]
fn who_has_waited_for_a_week_is_not_overtaken_any_more() {
    let mut queue = submitted([ticket("now", &["pay"]), ticket("humble", &["pay"]).priority(-3)]);
    began(&mut queue, START_MS, "now");
    let day = |days: i64| START_MS + days * DAY_MS;
    queue
        .apply(day(1), &Input::Submit(ticket("proud", &["pay"]).priority(9)))
        .unwrap();
    ended(&mut queue, day(2), "now", Outcome::Completed);
    assert_eq!(queue.may_begin(day(2)), ["proud"]);
    assert_eq!(queue.may_begin(day(7) - 1), ["proud"]);
    assert_eq!(queue.may_begin(day(7)), ["humble"]);
    // An emergency still goes before it.
    queue
        .apply(day(7), &Input::Submit(burning(ticket("fire", &["pay"]))))
        .unwrap();
    assert_eq!(queue.may_begin(day(7)), ["fire"]);
}

#[test]
fn no_more_than_so_many_are_under_way_and_who_waits_for_somebody_takes_no_place() {
    let mut limits = Limits::for_fleet(10_000);
    limits.most_at_once = 2;
    let mut queue = Queue::new(limits).unwrap();
    for (id, app) in [("a", "pay"), ("b", "pay"), ("c", "cart"), ("d", "mail")] {
        queue.apply(START_MS, &Input::Submit(ticket(id, &[app]))).unwrap();
    }
    assert_eq!(queue.may_begin(START_MS), ["a", "c"]);
    assert_eq!(waits(&queue, "d", START_MS), is("a+c", "places"));
    queue
        .apply(START_MS, &Input::Submit(burning(ticket("fire", &["news"]))))
        .unwrap();
    assert_eq!(queue.may_begin(START_MS), ["fire", "a", "c"]);
    for change in ["a", "c", "fire"] {
        began(&mut queue, START_MS, change);
    }
    assert_eq!(waits(&queue, "d", START_MS), is("a+c", "places"));
    queue
        .apply(START_MS, &Input::Submit(burning(ticket("fire-2", &["dns"]))))
        .unwrap();
    assert_eq!(waits(&queue, "fire-2", START_MS), is("fire", "emergency"));
    ended(&mut queue, START_MS, "c", Outcome::Aborted);
    assert_eq!(queue.may_begin(START_MS), ["d"]);
}

#[test]
fn the_emergency_lane_is_narrow_rehearsed_and_still_graduated() {
    let queue = queue();
    let refused = |ticket: Ticket| match queue.check(&ticket) {
        Err(error @ QueueError::Emergency { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    };
    let wide = Ticket::of(&change("wide", &["pay"], 501)).unwrap();
    assert!(queue.check(&wide).is_ok());
    assert!(refused(burning(wide)).contains("for 500 at most"));
    assert!(
        queue
            .check(&burning(Ticket::of(&change("narrow", &["pay"], 500)).unwrap()))
            .is_ok()
    );

    let plain = change("plain", &["pay"], 20).settings(unattended::Settings::default());
    assert!(refused(burning(Ticket::of(&plain).unwrap())).contains("rehearse_way_back"));

    let at_once = change("at-once", &["pay"], 20)
        .policy(Policy::new().ramp(unattended::batching::Ramp::steps([pct(100)]).unwrap()));
    let at_once = Ticket::of(&at_once).unwrap();
    assert!(at_once.first_batch > 2, "{at_once:?}");
    assert!(refused(burning(at_once)).contains("first batch"));

    let mut program = ticket("program", &["pay"]);
    program.author = Actor::program("train", "nightly");
    assert!(refused(burning(program)).contains("is a program"));
    assert!(refused(ticket("mute", &["pay"]).emergency(Emergency::new(" "))).contains("what burns"));
}

#[test]
fn an_emergency_ends_forward_changes_in_its_way_where_its_author_said_so() {
    let fire = || ticket("fire", &["pay"]).emergency(Emergency::new("INC-42").ending_others());
    let mut queue = submitted([ticket("a", &["pay", "cart"]), ticket("b", &["mail"])]);
    began(&mut queue, START_MS, "a");
    began(&mut queue, START_MS, "b");
    queue
        .apply(START_MS, &Input::Submit(burning(ticket("patient", &["pay"]))))
        .unwrap();
    assert_eq!(queue.to_end(START_MS).len(), 0);
    queue
        .apply(
            START_MS,
            &Input::Withdraw {
                change: "patient".to_owned(),
                actor: li(),
                reason: String::new(),
            },
        )
        .unwrap();
    queue.apply(START_MS, &Input::Submit(fire())).unwrap();
    let to_end: Vec<_> = queue
        .to_end(START_MS)
        .into_iter()
        .map(|(a, b)| (a, b.change.as_str()))
        .collect();
    assert_eq!(to_end, [("a", "fire")]);
    assert_eq!(waits(&queue, "fire", START_MS), is("a", "ends"));
    // One that goes back comes to its end.
    queue
        .apply(START_MS, &Input::GoesBack { change: "a".to_owned() })
        .unwrap();
    assert_eq!(queue.to_end(START_MS).len(), 0);
    assert_eq!(waits(&queue, "fire", START_MS), is("a", "under way"));
    ended(&mut queue, START_MS, "a", Outcome::RolledBack);
    assert_eq!(queue.may_begin(START_MS), ["fire"]);
    // Nor does an emergency end an emergency.
    began(&mut queue, START_MS, "fire");
    let second = ticket("fire-2", &["pay"]).emergency(Emergency::new("INC-43").ending_others());
    queue.apply(START_MS, &Input::Submit(second)).unwrap();
    assert_eq!(queue.to_end(START_MS).len(), 0);
}

#[test]
fn one_that_stopped_half_way_keeps_its_scope_until_it_goes_on_or_is_given_up() {
    let mut queue = submitted([ticket("a", &["pay"]), ticket("b", &["pay"]), ticket("c", &["mail"])]);
    began(&mut queue, START_MS, "a");
    ended(&mut queue, START_MS, "a", Outcome::Waiting);
    assert_eq!(queue.may_begin(START_MS), ["c"]);
    assert_eq!(waits(&queue, "b", START_MS + DAY_MS), is("a", "stopped"));
    assert_eq!(
        queue.standing("b", START_MS).unwrap().begins_unix_ms,
        None,
        "that hangs on a person"
    );
    let resume = Input::Resume {
        change: "a".to_owned(),
        actor: li(),
        reason: "it is answered".to_owned(),
    };
    // It waits for people, and no program answers in their place.
    for input in [
        Input::Resume {
            change: "a".to_owned(),
            actor: Actor::program("bot", "cron"),
            reason: "it is late".to_owned(),
        },
        Input::Withdraw {
            change: "a".to_owned(),
            actor: Actor::program("bot", "cron"),
            reason: "it is late".to_owned(),
        },
    ] {
        let refused = queue.apply(START_MS, &input).unwrap_err();
        assert!(refused.to_string().contains("bot (cron) is a program"), "{refused}");
    }
    assert_eq!(queue.may_begin(START_MS), ["c"]);
    queue.apply(START_MS, &resume).unwrap();
    assert_eq!(queue.may_begin(START_MS), ["a", "c"]);
    began(&mut queue, START_MS, "a");
    // For a fault it goes on by itself, by and by.
    queue
        .apply(
            START_MS,
            &Input::Failed {
                change: "a".to_owned(),
                why: "the disk is full".to_owned(),
            },
        )
        .unwrap();
    assert_eq!(queue.may_begin(START_MS + 10 * MINUTE_MS - 1), ["c"]);
    assert_eq!(queue.may_begin(START_MS + 10 * MINUTE_MS), ["a", "c"]);
    let give_up = Input::Withdraw {
        change: "a".to_owned(),
        actor: li(),
        reason: "nobody wants it".to_owned(),
    };
    queue.apply(START_MS, &give_up).unwrap();
    assert_eq!(queue.may_begin(START_MS), ["b", "c"]);
    let known = queue.apply(START_MS, &Input::Submit(ticket("a", &["dns"])));
    assert!(matches!(known, Err(QueueError::Known(_))), "{known:?}");
}

#[test]
fn it_says_when_each_can_begin_at_the_earliest() {
    let mut queue = submitted([
        ticket("a", &["pay"]),
        ticket("b", &["pay", "cart"]),
        ticket("c", &["cart"]),
    ]);
    let least = i64::try_from(ticket("a", &["pay"]).least_ms).unwrap();
    let two = i64::try_from(ticket("b", &["pay", "cart"]).least_ms).unwrap();
    // Soak of a day, and a warm-up and a bake for each batch.
    assert!(least > DAY_MS && least < 2 * DAY_MS, "{least}");
    began(&mut queue, START_MS, "a");
    let now = START_MS + 60 * MINUTE_MS;
    let begins = |queue: &Queue, change: &str| queue.standing(change, now).unwrap().begins_unix_ms;
    assert_eq!(begins(&queue, "a"), Some(START_MS));
    assert_eq!(begins(&queue, "b"), Some(START_MS + least));
    assert_eq!(begins(&queue, "c"), Some(START_MS + least + two));
    // It took longer than it had to: nothing can begin in the past.
    let late = START_MS + 5 * DAY_MS;
    assert_eq!(queue.standing("b", late).unwrap().begins_unix_ms, Some(late));
}

/// A generator of its own, so that the streams are the same everywhere.
struct Draw(u64);

impl Draw {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

/// Whatever happens, in whatever order: nobody meets, places are kept, whoever waits waits for somebody, and all get through.
#[test]
fn no_two_meet_and_nobody_waits_for_ever() {
    const APPS: [&str; 6] = ["pay", "cart", "user", "mail", "news", "dns"];
    for seed in 0..40 {
        let mut draw = Draw(seed);
        let mut limits = Limits::for_fleet(10_000);
        limits.most_at_once = 1 + u32::try_from(draw.below(3)).unwrap();
        let most = limits.most_at_once as usize;
        let mut queue = Queue::new(limits).unwrap();
        let mut apps: std::collections::BTreeMap<String, BTreeSet<&str>> = Default::default();
        let (mut now, mut submitted, mut begun) = (START_MS, 0, BTreeSet::new());
        let mut step = 0;
        loop {
            step += 1;
            assert!(
                step < 2_000,
                "seed {seed}: it does not come to its end: {:?}",
                queue.summary(now).changes
            );
            now += i64::try_from(draw.below(600)).unwrap() * MINUTE_MS;
            if submitted < 12 && draw.below(2) == 0 {
                let own: Vec<&str> = APPS.into_iter().filter(|_| draw.below(3) == 0).collect();
                if own.is_empty() {
                    continue;
                }
                let id = format!("c{submitted}");
                let mut ticket = Ticket::of(&change(&id, &own, 10))
                    .unwrap()
                    .priority(i32::try_from(draw.below(3)).unwrap());
                if draw.below(4) == 0 {
                    ticket = burning(ticket);
                }
                queue.apply(now, &Input::Submit(ticket)).unwrap();
                apps.insert(id, own.into_iter().collect());
                submitted += 1;
            }
            for change in queue
                .may_begin(now)
                .into_iter()
                .map(ToOwned::to_owned)
                .collect::<Vec<_>>()
            {
                begun.insert(change.clone());
                queue.apply(now, &Input::Began { change }).unwrap();
            }
            let summary = queue.summary(now);
            let holding: Vec<_> = summary
                .changes
                .iter()
                .filter(|one| one.state != State::Waiting)
                .collect();
            for (at, one) in holding.iter().enumerate() {
                for other in &holding[..at] {
                    assert!(
                        apps[&one.change].is_disjoint(&apps[&other.change]),
                        "seed {seed}: {one:?} meets {other:?}"
                    );
                }
            }
            let under_way = |emergency: bool| {
                let all = holding.iter().filter(|one| matches!(one.state, State::UnderWay { .. }));
                all.filter(|one| one.emergency.is_some() == emergency).count()
            };
            assert!(
                under_way(false) <= most && under_way(true) <= 1,
                "seed {seed}: {holding:?}"
            );
            for one in summary.changes.iter().filter(|one| one.state == State::Waiting) {
                assert!(
                    !one.waits.is_empty(),
                    "seed {seed}: {one:?} waits for nobody and has not begun"
                );
            }
            let names: Vec<String> = holding.iter().map(|one| one.change.clone()).collect();
            if submitted == 12 && names.is_empty() {
                break;
            }
            if names.is_empty() {
                continue;
            }
            let at = usize::try_from(draw.below(names.len() as u64)).unwrap();
            let change = names[at].clone();
            let input = match (&queue.standing(&change, now).unwrap().state, draw.below(4)) {
                (State::Stopped { .. }, 0) => Input::Withdraw {
                    change,
                    actor: li(),
                    reason: String::new(),
                },
                (State::Stopped { .. }, _) => Input::Resume {
                    change,
                    actor: li(),
                    reason: String::new(),
                },
                (_, 0) => Input::Ended {
                    change,
                    outcome: Outcome::Frozen,
                },
                (_, 1) => Input::Failed {
                    change,
                    why: "a fault".to_owned(),
                },
                _ => Input::Ended {
                    change,
                    outcome: Outcome::Completed,
                },
            };
            queue.apply(now, &input).unwrap();
        }
        assert_eq!(begun.len(), 12, "seed {seed}");
    }
}

#[test]
fn limits_that_nothing_could_keep_are_refused() {
    let refused = |spoil: fn(&mut Limits)| {
        let mut limits = Limits::for_fleet(10);
        spoil(&mut limits);
        Queue::new(limits).unwrap_err().to_string()
    };
    assert!(refused(|limits| limits.most_at_once = 0).contains("most_at_once"));
    assert!(refused(|limits| limits.fleet_targets = 0).contains("fleet_targets"));
    assert!(refused(|limits| limits.emergency_share_ppm = 1_000_001).contains("emergency_share_ppm"));
    assert!(refused(|limits| limits.patience_ms = 0).contains("patience_ms"));
    assert!(refused(|limits| limits.retry_ms = u64::MAX).contains("retry_ms"));
}

#[test]
fn one_that_was_not_put_together_in_time_keeps_its_turn_and_leaves_after_six_tries() {
    let mut queue = submitted([
        ticket("a", &["pay", "cart"]),
        ticket("b", &["cart"]),
        ticket("c", &["mail"]),
    ]);
    let late = |queue: &mut Queue, at_ms: i64, change: &str| {
        let (change, why) = (change.to_owned(), "nobody answers".to_owned());
        queue.apply(at_ms, &Input::Late { change, why }).unwrap();
    };
    let mut at_ms = START_MS;
    for _ in 0..5 {
        assert_eq!(queue.may_begin(at_ms), ["a", "c"]);
        late(&mut queue, at_ms, "a");
        let soon = at_ms + 10 * MINUTE_MS - 1;
        assert_eq!(queue.may_begin(soon), ["c"]);
        assert_eq!(waits(&queue, "a", soon), is("", "late"));
        assert_eq!(waits(&queue, "b", soon), is("a", "ahead"));
        at_ms += 10 * MINUTE_MS;
    }
    late(&mut queue, at_ms, "a");
    assert!(queue.standing("a", at_ms).is_none());
    assert_eq!(queue.may_begin(at_ms), ["b", "c"]);
    // What was put together in the end counts anew, and where it has begun it is tried for as long as it takes.
    late(&mut queue, at_ms, "c");
    began(&mut queue, at_ms + 10 * MINUTE_MS, "c");
    ended(&mut queue, at_ms + 10 * MINUTE_MS, "c", Outcome::Frozen);
    for _ in 0..7 {
        late(&mut queue, at_ms, "c");
    }
    assert!(matches!(
        queue.standing("c", at_ms).unwrap().state,
        State::Stopped { .. }
    ));
}
