//! Looks whose answers come long after the question: what each time counts for.
use super::*;
use crate::EffectOutcome;

fn plan(mode: Mode) -> Plan {
    Plan {
        mode,
        from: "old".into(),
        to: "new".into(),
        fence: false,
        prefetch: false,
        salt: 7,
    }
}

fn running(version: &str, ingress: Ingress) -> Observation {
    Observation {
        phase: Phase::Running,
        version: Some(version.into()),
        instance: Some(InstanceId(if version == "old" { 1 } else { 2 })),
        ready: true,
        self_check: SelfCheck::Passed,
        ingress,
        active: Some(3),
        pair: None,
        config: None,
    }
}

struct Way {
    machine: Machine,
    timing: Timing,
}

impl Way {
    /// The first order has just been applied, at 1,000 ms.
    fn ordered(mode: Mode) -> Self {
        let timing = Timing::default();
        let mut machine = Machine::new(plan(mode), Arc::new(timing.clone()));
        machine.begin(0);
        let mut way = Self { machine, timing };
        let command = way.look(0, 0, &running("old", Ingress::Open));
        assert!(matches!(command, Command::Effect { .. }), "{command:?}");
        way.applied(1_000);
        way
    }

    fn look(&mut self, asked_ms: u64, now_ms: u64, seen: &Observation) -> Command {
        self.machine.next(Event::Observed { asked_ms, now_ms, seen })
    }

    fn applied(&mut self, now_ms: u64) {
        self.machine.next(Event::Outcome {
            now_ms,
            outcome: &EffectOutcome::Applied,
        });
    }
}

#[test]
fn a_wait_has_run_out_only_where_it_had_at_the_question() {
    let mut way = Way::ordered(Mode::Warm);
    let deadline = 1_000 + way.timing.close_ms;
    let open = running("old", Ingress::Open);
    way.look(deadline - 1, deadline + 40_000, &open);
    assert_eq!((way.machine.step(), way.machine.went_back()), (Step::Closing, None));
    way.look(deadline + 40_001, deadline + 40_001, &open);
    assert!(way.machine.went_back().is_some());
}

#[test]
fn a_drain_has_its_whole_time_from_the_answer_on() {
    let mut way = Way::ordered(Mode::Warm);
    let closed = running("old", Ingress::Closed);
    let (asked, answered) = (2_000, 50_000);
    way.look(asked, answered, &closed);
    assert_eq!(way.machine.step(), Step::Draining);
    let end = answered + way.timing.drain_ms;
    way.look(end - 1, end + 10, &closed);
    assert_eq!(
        (way.machine.step(), way.machine.so_far(end).counts.cut),
        (Step::Draining, 0)
    );
    way.look(end, end + 20, &closed);
    assert_eq!(
        (way.machine.step(), way.machine.so_far(end).counts.cut),
        (Step::Replacing, 3)
    );
}

#[test]
fn quiet_counts_from_an_answer_to_a_question() {
    let mut way = Way::ordered(Mode::Cold);
    let new = running("new", Ingress::Open);
    let (asked, answered) = (30_000, 39_000);
    for _ in 0..way.timing.good_looks {
        way.look(asked, answered, &new);
    }
    assert_eq!(way.machine.step(), Step::Probation);
    // Out since the order was taken, until it was known to serve.
    assert_eq!(way.machine.so_far(answered).counts.outage_ms, answered - 1_000);
    let quiet_at = answered + way.timing.probation_ms(Mode::Cold);
    let command = way.look(quiet_at - 1, quiet_at + 9_000, &new);
    assert!(matches!(command, Command::Look { .. }), "{command:?}");
    let command = way.look(quiet_at, quiet_at, &new);
    assert_eq!(command, Command::Finish(Terminal::Done));
}
