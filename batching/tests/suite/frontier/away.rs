//! Targets that nobody can reach.

use unattended_batching::{AppIndex, Event, Noted, Policy, pct};

use super::{apps, live, open_all};

#[test]
fn a_target_out_of_reach_keeps_nobody_back_and_takes_its_turn_again() {
    let fleet = apps(&[("a", 8)]);
    let mut live = live(&fleet, &Policy::new().total_in_flight(pct(100)));
    open_all(&mut live);
    let app = AppIndex(0);
    let given = live.startable(0, 100);
    assert_eq!((given.len(), live.at_work(app)), (2, (6, 2)));
    // One that was given and not begun, and one that waits.
    let waits = fleet.targets().find(|target| !given.contains(target)).unwrap();
    for id in [given[0], waits] {
        assert_eq!(live.on(Event::OutOfReach { id }), Noted::Applied);
        assert_eq!(live.on(Event::OutOfReach { id }), Noted::Stale);
    }
    assert_eq!((live.at_work(app), live.in_flight()), ((5, 1), 1));
    // Its slot is another's, and everybody else comes through.
    let mut through = vec![given[1]];
    live.on(Event::Finished { id: given[1], at: 0 });
    loop {
        let next = live.startable(0, 1);
        let Some(&id) = next.first() else { break };
        live.on(Event::Finished { id, at: 0 });
        through.push(id);
    }
    assert_eq!(through.len(), 6);
    assert_eq!((live.at_work(app), live.remaining()), ((0, 0), 2));
    assert_eq!(live.lane(app).blocked, None);
    assert!(!live.is_done());
    for id in [given[0], waits] {
        assert_eq!(live.on(Event::WithinReach { id }), Noted::Applied);
        assert_eq!(live.on(Event::WithinReach { id }), Noted::Stale);
    }
    let mut back = live.startable(0, 100);
    back.sort_unstable();
    let mut both = vec![given[0], waits];
    both.sort_unstable();
    assert_eq!(back, both);
    // One that is given up, or has left, is away no more.
    for id in both {
        assert_eq!(live.on(Event::OutOfReach { id }), Noted::Applied);
    }
    live.on(Event::Failed {
        id: given[0],
        at: 0,
        retry: false,
    });
    live.on(Event::Left { id: waits });
    assert!(live.is_done());
    assert_eq!(live.on(Event::WithinReach { id: waits }), Noted::Stale);
}
