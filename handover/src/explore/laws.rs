//! What must be so in every state, and where all of it must end.

use super::{Event, Message, NEW, OLD, Process, Rules, World};
use crate::wire::Frame;

impl World {
    /// The laws by their numbers; `faultless`: nobody has died on the way here.
    pub(super) fn check(&self, faultless: bool) {
        let polled = |id| {
            self.processes
                .iter()
                .filter(|one| one.copies.get(&id) == Some(&true))
                .count()
        };
        for process in self.processes.iter().filter(|one| one.alive) {
            assert_eq!(process.polls, process.agent.status().polls, "it does what it says");
        }
        for (id, owner) in &self.owner {
            assert!(polled(*id) <= 1, "S4: {id} has two readers");
            let kept = self.processes.iter().any(|one| one.copies.contains_key(id));
            let under_way = self.processes.iter().any(|one| {
                one.inbox.iter().any(|message| {
                    matches!(message, Message::Frame(Frame::Offer { connections, .. })
                        if connections.iter().any(|snapshot| snapshot.id == *id))
                })
            });
            let lost = !kept && !under_way && !self.cut.contains(id);
            assert!(
                !(lost && self.processes[*owner].alive),
                "S5: {id} is lost and its owner lives"
            );
        }
        if faultless {
            assert!(
                self.processes.iter().any(|one| one.alive && one.polls),
                "S1: nobody accepts, and nobody has died"
            );
        }
    }

    /// With nobody giving orders or dying any more, all comes to rest: whoever lives accepts, each connection that somebody
    /// holds is polled, and nobody holds a second copy.
    pub(super) fn settle(mut self, rules: &Rules) {
        for round in 0.. {
            assert!(round < 400, "L4: it never comes to rest");
            let local = |event: &Event| {
                !matches!(
                    event,
                    Event::Order(..)
                        | Event::Crash(_)
                        | Event::Tick(_)
                        | Event::Connect
                        | Event::NextAttempt
                        | Event::Prepared(_, _, false)
                        | Event::Decline(..)
                )
            };
            if let Some(event) = self.events(rules).into_iter().find(local) {
                self.step(&event, rules);
                continue;
            }
            let resting = self.processes.iter().all(|one| !one.alive || one.agent.rests());
            if resting {
                break;
            }
            for side in [OLD, NEW] {
                if self.processes[side].alive && self.processes[side].agent.deadline().is_some() {
                    self.step(&Event::Tick(side), rules);
                }
            }
        }
        for process in self.processes.iter().filter(|one| one.alive) {
            for (id, polled) in &process.copies {
                assert!(polled, "L4, S12: {id} is held and not polled");
            }
        }
        // One that holds the listeners and was never told to poll is the controller's to judge, as long as the other lives.
        let dead = self.processes.iter().any(|one| !one.alive);
        let can = |one: &Process| one.proved || dead && one.agent.status().holds;
        let alive = self.processes.iter().any(|one| one.alive && can(one) && !one.leftover);
        let served = self.processes.iter().any(|one| one.alive && one.polls);
        assert!(!alive || served, "S2: who could accept does not");
    }
}
