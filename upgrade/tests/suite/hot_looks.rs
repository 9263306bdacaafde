//! Hot attempts that are taken over after a fall of the controller: what a look must show before the next order.
use std::sync::Arc;

use unattended_upgrade::*;

/// An attempt whose last intent was of this step, and its first command.
fn taken_over(last: Step, went_back: Option<Reason>) -> Machine {
    let remembered = Remembered {
        last: Some(last),
        went_back,
        touched: true,
        closed_at_ms: None,
        out_since_ms: None,
        counts: Counts::default(),
        was_healthy: true,
        recoveries_of_step: 1,
        left_ms: None,
        intended_ms: 0,
        intended: 1 << Step::Spawning.number() | 1 << last.number(),
    };
    let plan = Plan {
        mode: Mode::Hot,
        from: "old".into(),
        to: "new".into(),
        fence: false,
        prefetch: false,
        salt: 7,
    };
    let mut machine = Machine::recover(plan, Arc::new(Timing::default()), remembered);
    machine.begin(0);
    machine
}

/// A good instance, which takes new connections or does not, and so many of its own.
fn slot(version: &str, accepting: bool, connections: u32) -> SlotSeen {
    SlotSeen {
        version: Some(version.into()),
        phase: Phase::Running,
        instance: Some(InstanceId(if version == "old" { 1 } else { 2 })),
        ready: true,
        self_check: SelfCheck::Passed,
        listeners: true,
        accepting,
        committed: version == "new" && accepting,
        connections: Some(connections),
        ..SlotSeen::empty()
    }
}

/// What is ordered where both slots look so; an order is taken at once.
fn looks(machine: &mut Machine, now_ms: u64, slots: [SlotSeen; 2]) -> Command {
    let serves = slots.iter().find(|slot| slot.accepting);
    let seen = Observation {
        phase: Phase::Running,
        version: serves.and_then(|slot| slot.version.clone()),
        instance: serves.and_then(|slot| slot.instance),
        ready: true,
        self_check: SelfCheck::Passed,
        ingress: Ingress::Open,
        active: None,
        pair: Some(Box::new(Pair {
            slots,
            session: true,
            moves: Moves::default(),
        })),
        config: None,
    };
    let command = machine.next(Event::Observed {
        asked_ms: now_ms,
        now_ms,
        seen: &seen,
    });
    if let Command::Effect { .. } = command {
        let outcome = &EffectOutcome::Applied;
        machine.next(Event::Outcome { now_ms, outcome });
    }
    command
}

fn orders(command: &Command, wanted: Effect) -> bool {
    matches!(command, Command::Effect { effect, .. } if *effect == wanted)
}

/// The old instance was told to leave, and whether it has begun to nobody knows: whoever takes that over goes on to the end,
/// also where somebody wants it back.
#[test]
fn a_retirement_is_gone_on_with_after_a_fall_of_the_controller() {
    for last in [Step::Retiring, Step::Stopping, Step::Resetting] {
        let mut machine = taken_over(last, None);
        machine.turn_back(Reason::Aborted { by: "li".into() });
        let both = || [slot("old", false, 0), slot("new", true, 3)];
        looks(&mut machine, 10, both());
        let command = looks(&mut machine, 20, both());
        assert_eq!(machine.went_back(), None, "after {last}");
        let retire = Effect::HandOver(HandoverOrder::Retire);
        assert!(orders(&command, retire), "after {last}: {command:?}");
    }
}

/// On the way back the new instance is ended when its connections have gone back, and not while they do.
#[test]
fn connections_come_back_before_the_new_instance_is_ended() {
    let mut machine = taken_over(Step::Migrating, Some(Reason::Crashed));
    let moving = |left| [slot("old", true, 5 - left), slot("new", false, left)];
    let first = looks(&mut machine, 10, moving(5));
    assert!(orders(&first, Effect::HandOver(HandoverOrder::Return)), "{first:?}");
    for (now, left) in [(20, 5), (30, 2), (40, 1)] {
        let command = looks(&mut machine, now, moving(left));
        assert!(
            matches!(command, Command::Look { .. }),
            "{command:?} with {left} to come"
        );
    }
    let last = looks(&mut machine, 50, moving(0));
    assert!(orders(&last, Effect::Reset(Which::New)), "{last:?}");
}

/// An old instance that takes new connections again while its own are given away has missed its lease: they are not given
/// away any further, though the two are together again.
#[test]
fn an_old_instance_that_polls_again_takes_everything_back() {
    let mut machine = taken_over(Step::Migrating, None);
    let first = looks(&mut machine, 10, [slot("old", false, 5), slot("new", true, 0)]);
    assert!(orders(&first, Effect::HandOver(HandoverOrder::Migrate)), "{first:?}");
    let resumed = looks(&mut machine, 20, [slot("old", true, 5), slot("new", true, 0)]);
    assert!(orders(&resumed, Effect::HandOver(HandoverOrder::Return)), "{resumed:?}");
    assert_eq!(machine.went_back(), Some(&Reason::SessionLost));
}

/// It is done where the slot of the old one is empty at each of the last looks, whatever was seen before.
#[test]
fn it_is_not_done_while_an_old_instance_is_there() {
    let mut machine = taken_over(Step::Resetting, None);
    let alone = || [SlotSeen::empty(), slot("new", true, 3)];
    let mut now = 0;
    let mut look = |slots: [SlotSeen; 2]| {
        now += 10;
        looks(&mut machine, now, slots)
    };
    let good_looks = u32::from(Timing::default().good_looks);
    // The first leads to the step whose looks count.
    for _ in 0..good_looks {
        assert!(matches!(look(alone()), Command::Look { .. }));
    }
    // Somebody has started it again.
    for _ in 0..good_looks {
        let command = look([slot("old", false, 0), slot("new", true, 3)]);
        assert!(matches!(command, Command::Look { .. }), "{command:?}");
    }
    for _ in 1..good_looks {
        assert!(matches!(look(alone()), Command::Look { .. }));
    }
    assert_eq!(look(alone()), Command::Finish(Terminal::Done));
}

/// What an agent took and let go of, since the two had lost each other for a moment, is ordered again, as a new order: not
/// while it may not have heard of it, and not without end.
#[test]
fn a_new_instance_that_serves_on_is_asked_again_for_everything() {
    let timing = Timing::default();
    let mut machine = taken_over(Step::Migrating, Some(Reason::SessionLost));
    let serves_on = || [slot("old", true, 0), slot("new", true, 5)];
    let back = Effect::HandOver(HandoverOrder::Return);
    let mut now = 10;
    let mut keys = Vec::new();
    for _ in 0..=timing.max_tries {
        let command = looks(&mut machine, now, serves_on());
        assert!(orders(&command, back), "at {now}: {command:?}");
        let Command::Effect { ordinal, .. } = command else {
            unreachable!()
        };
        assert!(!keys.contains(&ordinal), "{ordinal} of {keys:?}");
        keys.push(ordinal);
        let command = looks(&mut machine, now + timing.session_ms - 1, serves_on());
        assert!(
            matches!(command, Command::Look { .. }),
            "it may not have heard: {command:?}"
        );
        // Also where the time for it has run out meanwhile.
        now += timing.return_ms;
    }
    let command = looks(&mut machine, now, serves_on());
    assert!(
        orders(&command, Effect::Reset(Which::New)),
        "it has an end: {command:?}"
    );
}

/// One that gives back, and is slow, is not disturbed; nor is anything asked for while the old one does not serve.
#[test]
fn a_new_instance_that_gives_back_is_not_asked_again() {
    let timing = Timing::default();
    let mut machine = taken_over(Step::Migrating, Some(Reason::SessionLost));
    looks(&mut machine, 10, [slot("old", true, 0), slot("new", true, 5)]);
    for slots in [
        [slot("old", true, 1), slot("new", false, 4)],
        [slot("old", false, 1), slot("new", true, 4)],
    ] {
        let command = looks(&mut machine, 10 + 2 * timing.session_ms, slots);
        assert!(matches!(command, Command::Look { .. }), "{command:?}");
    }
}

/// The same on the way forward: an old instance that was to leave has stayed.
#[test]
fn an_old_instance_that_has_stayed_is_asked_again_to_leave() {
    let timing = Timing::default();
    let mut machine = taken_over(Step::Retiring, None);
    let (retire, stays) = (Effect::HandOver(HandoverOrder::Retire), || {
        [slot("old", true, 2), slot("new", true, 5)]
    });
    looks(&mut machine, 10, stays());
    let first = looks(&mut machine, 20, stays());
    assert!(orders(&first, retire), "{first:?}");
    let command = looks(&mut machine, 19 + timing.session_ms, stays());
    assert!(
        matches!(command, Command::Look { .. }),
        "it may not have heard: {command:?}"
    );
    let again = looks(&mut machine, 20 + timing.session_ms, stays());
    assert!(orders(&again, retire), "{again:?}");
    // One that leaves is left alone until it has gone, or its time is over.
    let leaves = || [slot("old", false, 0), slot("new", true, 7)];
    let at = 20 + 2 * timing.session_ms + timing.retire_ms;
    let command = looks(&mut machine, at - timing.session_ms - 1, leaves());
    assert!(matches!(command, Command::Look { .. }), "{command:?}");
    let command = looks(&mut machine, at, leaves());
    assert!(orders(&command, Effect::Stop(InstanceId(1))), "{command:?}");
}
