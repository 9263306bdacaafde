//! Two machines in one process, step by step: what the exploration of all steps does not tell apart.

use unattended_handover::wire::{Frame, Listener, ListenerKind};
use unattended_handover::{
    Action, Agent, Answer, ConnectionId, Decline, Generation, InstanceId, NotNow, Order, Refusal, Resting, Timing,
};

struct Pair {
    old: Agent,
    new: Agent,
    now_ms: u64,
    /// What the old one was told to do, frames aside.
    done: Vec<Action>,
}

impl Pair {
    fn new() -> Self {
        Self::with(Timing::default())
    }

    fn with(timing: Timing) -> Self {
        let listener = Listener {
            name: "in".into(),
            kind: ListenerKind::Tcp,
            cookie: 7,
        };
        let codecs = || vec!["relay/1".to_owned()];
        let mut old = Agent::serving(InstanceId(1), vec![listener], codecs(), timing);
        let mut new = Agent::waiting(InstanceId(2), codecs(), timing);
        old.ready(0, true);
        new.ready(0, true);
        new.connected(0, true, 1);
        old.connected(0, false, 0);
        let mut pair = Self {
            old,
            new,
            now_ms: 1_000,
            done: Vec::new(),
        };
        pair.talk();
        pair
    }

    /// Frames go both ways until nobody has more to say.
    fn talk(&mut self) {
        loop {
            if let Some(action) = self.old.next() {
                match action {
                    Action::Send(frame) => self.new.heard(self.now_ms, frame),
                    // Nobody has taken a token here.
                    Action::TakeToken { batch, own } => self.old.token(self.now_ms, batch, own, true),
                    Action::Hang => self.end(),
                    other => self.done.push(other),
                }
            } else if let Some(action) = self.new.next() {
                match action {
                    Action::Send(frame) => self.old.heard(self.now_ms, frame),
                    Action::Claim(came) => self.new.claimed(self.now_ms, &[came[0].cookie]),
                    Action::Hang => self.end(),
                    _ => {}
                }
            } else {
                return;
            }
        }
    }

    /// The session ends, and both have read it to its end.
    fn end(&mut self) {
        self.old.hung_up(self.now_ms);
        self.new.hung_up(self.now_ms);
    }

    fn order(&mut self, order: Order) {
        let to = match order {
            Order::Accept | Order::Commit => &mut self.new,
            _ => &mut self.old,
        };
        assert_eq!(
            to.order(self.now_ms, Generation(1), order),
            Answer::Applied,
            "{order:?}"
        );
        self.talk();
    }

    fn pass(&mut self, ms: u64) {
        self.now_ms += ms;
        self.old.tick(self.now_ms);
        self.new.tick(self.now_ms);
        self.talk();
    }
}

#[test]
fn one_that_is_to_leave_stays_if_the_other_is_not_ready_any_more() {
    let mut pair = Pair::new();
    for order in [
        Order::Offer,
        Order::Accept,
        Order::Quiesce,
        Order::Commit,
        Order::Retire,
    ] {
        pair.order(order);
    }
    pair.new.ready(pair.now_ms, false);
    for _ in 0..12 {
        pair.pass(200);
    }
    assert!(pair.old.status().polls && !pair.old.has_left());
    assert!(!pair.done.contains(&Action::Leave));
    // Well again, it may go.
    pair.new.ready(pair.now_ms, true);
    pair.talk();
    pair.order(Order::Retire);
    for _ in 0..12 {
        pair.pass(200);
    }
    assert!(pair.old.has_left());
    assert_eq!(pair.done.last(), Some(&Action::Leave));
}

/// It may have polled again, and taken connections, since it gave everything away.
#[test]
fn one_that_is_to_leave_gives_away_what_it_has_and_waits_for_that() {
    let mut pair = Pair::with({
        let mut timing = Timing::default();
        timing.linger_ms = 100;
        timing
    });
    let moving = ConnectionId(4);
    for order in [Order::Offer, Order::Accept, Order::Quiesce, Order::Commit] {
        pair.order(order);
    }
    pair.old.opened(pair.now_ms, moving);
    pair.order(Order::Retire);
    assert_eq!(pair.done.last(), Some(&Action::Freeze(moving)));
    pair.pass(150);
    assert!(!pair.old.has_left(), "it leaves with what may still move");
    // It comes to rest at none of the tries: what cannot move does not hold it for ever.
    for _ in 0..10 {
        pair.pass(150);
    }
    assert!(pair.old.has_left() && pair.done.contains(&Action::Drain(moving)));
    assert_eq!((pair.old.tally().cut, pair.done.last()), (1, Some(&Action::Leave)));
}

#[test]
fn what_is_offered_comes_back_at_once_when_the_session_ends() {
    let mut pair = Pair::new();
    let id = ConnectionId(4);
    pair.old.opened(pair.now_ms, id);
    for order in [Order::Offer, Order::Accept, Order::Migrate] {
        pair.order(order);
    }
    assert_eq!(pair.done.last(), Some(&Action::Freeze(id)));
    let resting = Resting {
        id,
        codec: "relay/1",
        descriptors: 1,
        state_len: 10,
    };
    pair.old.frozen(pair.now_ms, &[resting]);
    pair.talk();
    assert!(matches!(pair.done.last(), Some(Action::Offer { connections, .. }) if connections == &[id]));
    pair.old.hung_up(pair.now_ms);
    pair.talk();
    assert!(
        pair.done.contains(&Action::Thaw(id)),
        "not before its deadline, but now"
    );
    assert_eq!(pair.old.owned(), 1);
}

#[test]
fn orders_out_of_turn_say_what_is_missing() {
    let mut pair = Pair::new();
    let now_ms = pair.now_ms;
    let refused = |agent: &mut Agent, order, why| {
        assert_eq!(
            agent.order(now_ms, Generation(1), order),
            Answer::Refused(why),
            "{order:?}"
        );
    };
    refused(&mut pair.old, Order::Quiesce, NotNow::OtherDoesNotPoll);
    refused(&mut pair.old, Order::Migrate, NotNow::OtherDoesNotPoll);
    refused(&mut pair.old, Order::Retire, NotNow::OtherHasNotCommitted);
    refused(&mut pair.new, Order::Accept, NotNow::NoListeners);
    refused(&mut pair.new, Order::Return, NotNow::NoListeners);
    let mut alone = Agent::waiting(InstanceId(3), Vec::new(), Timing::default());
    refused(&mut alone, Order::Commit, NotNow::NotReady);
    refused(&mut pair.old, Order::Retire, NotNow::OtherHasNotCommitted);
    pair.old.hung_up(now_ms);
    refused(&mut pair.old, Order::Offer, NotNow::NoSession);
}

#[test]
fn after_the_way_back_nothing_leads_forward_in_the_same_attempt() {
    let mut pair = Pair::new();
    for order in [Order::Offer, Order::Accept, Order::Quiesce, Order::Return] {
        pair.order(order);
    }
    assert!(pair.old.status().polls && !pair.new.status().polls);
    for order in [Order::Quiesce, Order::Migrate, Order::Retire] {
        assert_eq!(pair.old.order(pair.now_ms, Generation(1), order), Answer::Stale);
    }
    assert_eq!(
        pair.old.order(pair.now_ms, Generation(1), Order::Return),
        Answer::AlreadyApplied
    );
}

#[test]
fn a_listener_that_is_another_queue_ends_the_hand_over() {
    for (cookies, refusal) in [(vec![8], Refusal::OtherQueue), (vec![], Refusal::Unclaimed)] {
        let mut pair = Pair::new();
        pair.old.order(pair.now_ms, Generation(1), Order::Offer);
        let mut said = Vec::new();
        while let Some(action) = pair.old.next() {
            if let Action::Send(frame) = action {
                pair.new.heard(pair.now_ms, frame);
            }
        }
        while let Some(action) = pair.new.next() {
            match action {
                Action::Claim(_) => pair.new.claimed(pair.now_ms, &cookies),
                Action::Send(frame) => said.push(frame),
                _ => {}
            }
        }
        assert!(said.contains(&Frame::Refuse(refusal)));
        assert!(!pair.new.status().holds);
    }
}

#[test]
fn a_secret_that_is_made_after_the_listeners_went_goes_at_once() {
    let mut pair = Pair::new();
    assert_eq!(pair.old.order(1_000, Generation(1), Order::Offer), Answer::Applied);
    pair.talk();
    let kept = unattended_handover::wire::Secret::new(vec![7; 32]);
    pair.old.share("tickets".to_owned(), kept.clone()).unwrap();
    let sent = std::iter::from_fn(|| pair.old.next()).any(
        |action| matches!(action, Action::Send(Frame::Secret { name, bytes }) if name == "tickets" && bytes == kept),
    );
    assert!(sent);
}

/// As it does for processes that were stopped, and on a machine that was suspended.
#[test]
fn a_clock_that_jumps_by_an_hour_ends_no_service() {
    let orders = [
        Order::Offer,
        Order::Accept,
        Order::Quiesce,
        Order::Migrate,
        Order::Commit,
        Order::Retire,
    ];
    for stage in 0..=orders.len() {
        for old_wakes_first in [true, false] {
            let mut pair = Pair::new();
            let id = ConnectionId(4);
            pair.old.opened(pair.now_ms, id);
            for order in &orders[..stage] {
                pair.order(*order);
            }
            if stage > 3 {
                let resting = Resting {
                    id,
                    codec: "relay/1",
                    descriptors: 1,
                    state_len: 10,
                };
                // Nobody takes it in this pair: when the offer is late, it comes back.
                pair.old.frozen(pair.now_ms, &[resting]);
            }
            pair.now_ms += 3_600_000;
            let serves = |pair: &Pair, when: &str| {
                let place = format!("{when} of an hour after {stage} orders, old first: {old_wakes_first}");
                assert!(
                    pair.old.status().polls || pair.new.status().polls,
                    "nobody polls {place}"
                );
                assert!(!pair.old.has_left(), "it leaves by a word that is an hour old {place}");
            };
            if old_wakes_first {
                pair.old.tick(pair.now_ms);
            } else {
                pair.new.tick(pair.now_ms);
            }
            serves(&pair, "at the end");
            pair.talk();
            serves(&pair, "after the first words");
            for _ in 0..30 {
                pair.pass(100);
                serves(&pair, "in the seconds after the end");
            }
            assert!(pair.old.peer().is_none() && pair.old.status().polls);
            assert_eq!(pair.old.owned(), 1, "the connection is where it was");
            assert!(
                pair.old.deadline().is_none_or(|at_ms| at_ms > pair.now_ms),
                "it waits for the past"
            );
        }
    }
}

/// Asks one connection to come to rest, which it never does, and lets the old one leave.
fn leave_one_behind(timing: Timing) -> (Pair, ConnectionId) {
    let mut pair = Pair::with(timing);
    let id = ConnectionId(9);
    pair.old.opened(pair.now_ms, id);
    for order in [Order::Offer, Order::Accept, Order::Quiesce, Order::Migrate] {
        pair.order(order);
    }
    pair.old.declined(pair.now_ms, id, Decline::Busy);
    pair.order(Order::Commit);
    pair.order(Order::Retire);
    while !pair.old.has_left() {
        pair.pass(250);
    }
    (pair, id)
}

#[test]
fn what_could_not_move_is_cut_when_the_process_leaves_unless_it_may_stay() {
    let (pair, _) = leave_one_behind(Timing::default());
    assert_eq!(pair.done.last(), Some(&Action::Leave));
    assert_eq!((pair.old.tally().cut, pair.old.owned()), (1, 0));

    let mut timing = Timing::default();
    timing.leftover_ms = 60_000;
    let (mut pair, _) = leave_one_behind(timing);
    assert_eq!(
        pair.done.last(),
        Some(&Action::Disclaim),
        "its listeners are not its own any more"
    );
    assert_eq!((pair.old.tally().cut, pair.old.owned()), (0, 1));
    assert_eq!(pair.new.peer(), None, "the new one is free for its successor");
    assert_eq!(
        pair.old.order(pair.now_ms, Generation(1), Order::Return),
        Answer::Refused(NotNow::Left)
    );
    pair.pass(59_000);
    assert_eq!(pair.old.owned(), 1);
    pair.pass(1_001);
    assert_eq!(pair.done.last(), Some(&Action::Leave), "and no longer than that");
    assert_eq!(pair.old.tally().cut, 1);
}

#[test]
fn what_was_left_behind_goes_to_whoever_calls_for_it() {
    let mut timing = Timing::default();
    timing.leftover_ms = 60_000;
    let (mut pair, id) = leave_one_behind(timing);
    pair.done.clear();
    pair.new.connected(pair.now_ms, true, 2);
    pair.old.connected(pair.now_ms, false, 0);
    pair.talk();
    assert_eq!(pair.done, [Action::Freeze(id)], "without an order");
    assert_eq!(
        pair.new.order(pair.now_ms, Generation(1), Order::Offer),
        Answer::Refused(NotNow::NoSession),
        "nobody passes listeners to one that has left"
    );
    // It does not come to rest this time either: nobody is kept waiting for it.
    pair.old.declined(pair.now_ms, id, Decline::Busy);
    pair.talk();
    assert_eq!((pair.old.peer(), pair.old.owned()), (None, 1));
    pair.new.connected(pair.now_ms, true, 3);
    pair.old.connected(pair.now_ms, false, 0);
    pair.talk();
    assert_eq!(pair.done.last(), Some(&Action::Freeze(id)));
    pair.old.closed(pair.now_ms, id);
    assert_eq!(pair.old.next(), Some(Action::Leave), "the last one was it");
    assert_eq!(pair.old.tally().cut, 0);
}

#[test]
fn what_one_attempt_declined_the_next_one_tries() {
    let mut pair = Pair::new();
    let id = ConnectionId(9);
    pair.old.opened(pair.now_ms, id);
    for order in [Order::Offer, Order::Accept, Order::Migrate] {
        pair.order(order);
    }
    pair.old.declined(pair.now_ms, id, Decline::Busy);
    pair.order(Order::Return);
    pair.end();
    pair.done.clear();
    let mut third = Agent::waiting(InstanceId(3), vec!["relay/1".to_owned()], Timing::default());
    third.ready(pair.now_ms, true);
    third.fence(Generation(2));
    pair.new = third;
    pair.new.connected(pair.now_ms, true, 2);
    pair.old.connected(pair.now_ms, false, 0);
    pair.talk();
    for order in [Order::Offer, Order::Accept, Order::Migrate] {
        let to = if order == Order::Accept {
            &mut pair.new
        } else {
            &mut pair.old
        };
        assert_eq!(to.order(pair.now_ms, Generation(2), order), Answer::Applied);
        pair.talk();
    }
    assert!(pair.done.contains(&Action::Freeze(id)), "{:?}", pair.done);
}

/// Who holds the listeners and was not let in yet serves once the other is dead and it is fit to; the end of a session alone
/// is no death.
#[test]
fn the_last_one_that_holds_the_listeners_polls_them() {
    let polls = |pair: &Pair| pair.new.status().polls;
    let mut pair = Pair::new();
    pair.order(Order::Offer);
    pair.new.other_died(pair.now_ms);
    assert!(!polls(&pair), "a session stands");
    pair.end();
    assert!(pair.new.status().holds && !polls(&pair), "nobody has died");
    pair.new.other_died(pair.now_ms);
    assert!(polls(&pair));
    assert_eq!(pair.new.next(), Some(Action::Poll));
    let salvage = pair.new.order(pair.now_ms, Generation(1), Order::Commit);
    assert_eq!(salvage, Answer::Applied);

    // One that is not ready waits until it is.
    let mut pair = Pair::new();
    pair.order(Order::Offer);
    pair.new.ready(pair.now_ms, false);
    pair.talk();
    pair.end();
    pair.new.other_died(pair.now_ms);
    assert!(!polls(&pair));
    pair.new.ready(pair.now_ms, true);
    assert!(polls(&pair));

    // And one that was called by somebody else meanwhile waits for orders.
    let mut pair = Pair::new();
    pair.order(Order::Offer);
    pair.new.ready(pair.now_ms, false);
    pair.end();
    pair.new.other_died(pair.now_ms);
    pair.new.connected(pair.now_ms, false, 0);
    pair.new.ready(pair.now_ms, true);
    assert!(!polls(&pair));

    // One that was given nothing has nothing to poll.
    let mut pair = Pair::new();
    pair.end();
    pair.new.other_died(pair.now_ms);
    assert!(!polls(&pair));
}
