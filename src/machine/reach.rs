//! What becomes of the targets of a domain that cannot be reached: they wait apart, so that everything elsewhere goes on, and are taken
//! in again by the evidence of their own classes.

use unattended_batching::{Event, TargetIndex};
use unattended_health::OutOfReach;

use super::Machine;
use super::span::span;

impl Machine {
    /// Whether the target waits for a domain that cannot be reached, in changes that let the others go on meanwhile.
    pub(super) fn is_out_of_reach(&self, target: TargetIndex) -> bool {
        self.decides_by(4) && self.domains.silent_since(target).is_some()
    }

    /// Whom no look shows: the name of their domain, and since when it cannot be reached. Where that is so of all domains, it is the
    /// platform that is out of sight, and a look has to show that.
    pub(super) fn hides<'m>(&'m self) -> impl Fn(TargetIndex) -> Option<(&'m str, u64)> {
        let apart = self.decides_by(5) && self.domains.some_are_reached();
        move |target| self.domains.silent_since(target).filter(|_| apart)
    }

    /// Whose silence says nothing of the metric source: it is known that they cannot be reached. A source says of each arm how many report,
    /// not who. So as many of those that do not are taken for hosts of silent domains as there are: should these report all the
    /// same, others may be missing unseen, until the domain is back.
    pub(super) fn hosts_out_of_reach(&self) -> OutOfReach {
        let mut hosts = OutOfReach::default();
        if !self.decides_by(6) || self.domains.silent().next().is_none() {
            return hosts;
        }
        for (at, state) in (0u32..).zip(&self.targets) {
            let target = TargetIndex(at);
            if !state.alive || self.domains.silent_since(target).is_none() {
                continue;
            }
            let planned = (at as usize) < self.setup.change.fleet.len();
            if state.touched || state.on_new {
                hosts.canary += 1;
            } else if planned && self.setup.plan.is_control(target) {
                hosts.control += 1;
            }
        }
        hosts
    }

    /// A target waits apart until its domain can be reached.
    pub(super) fn send_away(&mut self, target: TargetIndex) {
        self.redeem(target);
        self.frontier.on(Event::OutOfReach { id: target });
        self.domains.put_away(target);
    }

    /// A domain is out of reach, or can be reached again.
    pub(super) fn reach_has_changed(&mut self) {
        if !self.decides_by(4) || self.course != super::Course::Forward {
            return;
        }
        let mut reached = vec![false; self.tables.classes.len()];
        let mut unreached = vec![false; self.tables.classes.len()];
        for at in 0..self.targets.len() {
            let target = TargetIndex(u32::try_from(at).unwrap_or(u32::MAX));
            let state = self.targets[at];
            if !state.alive {
                continue;
            }
            let silent = self.domains.silent_since(target).is_some();
            let seen = if silent { &mut unreached } else { &mut reached };
            for &class in &self.tables.strata_classes[state.stratum as usize] {
                seen[class as usize] = true;
            }
            let offered = self.autonomy.offered.contains_key(&target);
            let waits = !state.on_new && !state.owed && state.in_flight.is_none() && !offered;
            if silent && waits && self.domains.waits_not(target) {
                self.send_away(target);
            }
        }
        let dark = (0u32..).zip(reached.iter().zip(&unreached));
        let dark = dark.filter(|(_, (reached, unreached))| **unreached && !**reached);
        self.domains.set_dark(dark.map(|(class, _)| class).collect());
        if !self.decides_by(7) {
            self.domains.pass_over_dark();
        }
    }

    /// Those whose domain can be reached again take their turn as far as each of their classes lets them: it may have stood still while
    /// others went on. Those whose domain has been silent for too long are owed as soon as their lane has come to them.
    pub(super) fn take_in_again(&mut self) {
        if !self.domains.has_away() {
            return;
        }
        let patience_ms = self.setup.change.settings.blocked_patience_ms;
        let calm = self.is_calm();
        for target in self.domains.those_away() {
            let state = self.targets[target.0 as usize];
            let (true, Some((batch, is_open))) = (!state.on_new && !state.owed, self.frontier.batch_of(target)) else {
                // Somebody else has changed it, or it was left out.
                self.domains.no_longer_away(target);
                continue;
            };
            if let Some((name, since_ms)) = self.domains.silent_since(target) {
                let silent_ms = self.now_ms.saturating_sub(since_ms);
                if is_open && silent_ms >= patience_ms {
                    let reason = format!("{name} could not be reached for {}", span(silent_ms));
                    self.owe(target, true, reason);
                }
                continue;
            }
            let classes = &self.tables.strata_classes[state.stratum as usize];
            let admitted = || classes.iter().all(|&class| self.class_admits(class, batch, 1));
            if is_open && !(calm && self.domain_may_expose(target) && admitted()) {
                continue;
            }
            // The plan has no room for who was born since, in whatever batch.
            let is_born = self.decides_by(8) && target.0 as usize >= self.setup.change.fleet.len();
            let withheld = || self.lanes[self.app_of(target).0 as usize].is_withheld();
            if is_open && is_born && !withheld() && !self.stratum_has_room(state.stratum) {
                continue;
            }
            self.domains.no_longer_away(target);
            if is_open {
                self.promise(target);
            }
            self.frontier.on(Event::WithinReach { id: target });
            let lane = self.app_of(target).0 as usize;
            self.lanes[lane].wake();
            self.moved_ms = self.now_ms;
        }
    }
}
