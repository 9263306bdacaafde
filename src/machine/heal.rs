//! Single targets that are taken out of traffic, started anew or replaced: orders, what is known of them, and who is out because of
//! them. What is out counts against every cap as whoever is ill does.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};
use unattended_batching::{Event, TargetIndex};
use unattended_selfheal::{HealAction, HealOutcome, NodeId};

use crate::IsolationView;

use super::ill::Bad;
use super::{Commands, Machine};

/// What is done about one target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Remedy {
    Isolate { lease_ms: u64 },
    Readmit,
    Restart,
    Replace,
}

impl Remedy {
    /// The word in events and journals.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Isolate { .. } => "isolate",
            Self::Readmit => "readmit",
            Self::Restart => "restart",
            Self::Replace => "replace",
        }
    }

    pub(crate) const fn of(self, node: NodeId) -> HealAction {
        match self {
            Self::Isolate { lease_ms } => HealAction::Isolate { node, lease_ms },
            Self::Readmit => HealAction::Readmit { node },
            Self::Restart => HealAction::Restart { node },
            Self::Replace => HealAction::Replace { node },
        }
    }
}

/// An order that is under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    term: u64,
    /// It has failed before.
    again: bool,
}

/// Why somebody is taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// It alone does harm.
    BadNode,
    /// The release does, and its traffic is cut.
    Cut,
}

/// An order that is not known to have been carried out. The same one is given until it is, or is given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HealJob {
    pub(crate) id: u64,
    /// Of the run that gave it first: a platform that has seen it does nothing again.
    pub(crate) term: u64,
    pub(crate) target: TargetIndex,
    pub(crate) remedy: Remedy,
    cause: Cause,
    given_ms: u64,
    tries: u8,
    due_ms: u64,
}

impl HealJob {
    pub(crate) const fn sent(&self) -> Sent {
        Sent {
            term: self.term,
            again: self.tries > 0,
        }
    }
}

/// Somebody is out of traffic, or may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Out {
    pub(super) cause: Cause,
    /// Started anew, and not taken out of discovery.
    pub(super) restarts: bool,
    /// It is back by itself then; `None`: no order is known to have been carried out.
    pub(super) until_ms: Option<u64>,
    /// It is ill, whatever is done about it.
    ill: bool,
}

/// What a platform has answered that it cannot do, for good.
#[derive(Clone, Copy, Debug, Default)]
struct Unable {
    isolate: bool,
    readmit: bool,
    restart: bool,
    replace: bool,
}

#[derive(Debug, Default)]
pub(super) struct Healing {
    /// The term of the run; `None` where nobody heals.
    term: Option<u64>,
    last_term: u64,
    last_id: u64,
    orders: BTreeMap<u64, HealJob>,
    /// The order about each target; there is one at a time.
    order_of: BTreeMap<TargetIndex, u64>,
    pub(super) out: BTreeMap<TargetIndex, Out>,
    pub(super) bad: BTreeMap<TargetIndex, Bad>,
    /// The interval in which a host was named last, by stratum and number.
    pub(super) heard: BTreeMap<(u32, u32), u64>,
    /// When something was done about bad nodes, in the last day.
    pub(super) spent: VecDeque<u64>,
    unable: Unable,
    /// Those that have no number to be ordered by.
    pub(super) numberless: BTreeSet<TargetIndex>,
}

impl Healing {
    /// Somebody can be asked to heal.
    pub(super) const fn is_there(&self) -> bool {
        self.term.is_some()
    }

    const fn slot(unable: &mut Unable, remedy: Remedy) -> &mut bool {
        match remedy {
            Remedy::Isolate { .. } => &mut unable.isolate,
            Remedy::Readmit => &mut unable.readmit,
            Remedy::Restart => &mut unable.restart,
            Remedy::Replace => &mut unable.replace,
        }
    }

    /// The platform has not said that it cannot.
    pub(super) fn can(&self, remedy: Remedy) -> bool {
        let mut unable = self.unable;
        self.is_there() && !*Self::slot(&mut unable, remedy)
    }

    /// Somebody is asked to do something, and it is not known to be done.
    pub(super) fn has_orders(&self) -> bool {
        !self.orders.is_empty()
    }

    pub(super) fn has_order(&self, target: TargetIndex) -> bool {
        self.order_of.contains_key(&target)
    }

    fn order(&self, target: TargetIndex) -> Option<&HealJob> {
        self.orders.get(self.order_of.get(&target)?)
    }

    fn withdraw(&mut self, target: TargetIndex) {
        if let Some(id) = self.order_of.remove(&target) {
            self.orders.remove(&id);
        }
    }

    /// What an order that was given then took of the budget of its day is free again; others keep what they took.
    fn give_back(&mut self, given_ms: u64) {
        let own = self.spent.iter().position(|&at| at == given_ms);
        if let Some(at) = own {
            self.spent.remove(at);
        }
    }

    /// Somebody is kept out of traffic, or is being let in.
    pub(super) fn isolates(&self) -> bool {
        self.out.values().any(|out| !out.restarts)
    }
}

impl Machine {
    /// The run has somebody who heals, and gives orders in this term.
    pub(crate) fn heals_in(&mut self, term: u64) {
        self.healing.term = Some(term);
        self.healing.last_term = term;
    }

    /// Whether it is known who heals.
    pub(crate) const fn is_healed(&self) -> bool {
        self.healing.is_there()
    }

    /// The last term that any run of the change has given orders in.
    pub(crate) const fn last_term(&self) -> u64 {
        self.healing.last_term
    }

    /// Another run begins, and may have nobody.
    pub(super) fn forget_healer(&mut self) {
        self.healing.term = None;
        // Whoever comes may number them otherwise.
        self.healing.numberless.clear();
    }

    /// Nobody has taken over from whoever was to carry out what is still ordered. It may have been done: who would be out by it counts as
    /// out for as long, and comes back like everybody else.
    pub(super) fn give_up_orders(&mut self) {
        if self.is_healed() || self.healing.orders.is_empty() || !self.decides_by(2) {
            return;
        }
        let orders = std::mem::take(&mut self.healing.orders);
        self.healing.order_of.clear();
        let text = format!(
            "{} orders to heal are given up: this run has nobody to carry them out",
            orders.len()
        );
        let otherwise = "a healer (`Builder::healer`) would have had them carried out".to_owned();
        self.decide_text("heal.given_up", text, Some(otherwise));
        for order in orders.into_values() {
            if order.remedy == Remedy::Readmit {
                self.comes_back_by_itself(order.target);
            } else {
                self.heal_done(&order);
            }
        }
    }

    /// Nobody lets it in. An isolation that was taken back before it was answered for may have been carried out, and then lasts as long
    /// as its lease from now at the most.
    fn comes_back_by_itself(&mut self, target: TargetIndex) {
        let until_ms = self.now_ms.saturating_add(self.setup.change.settings.isolation_ms);
        if let Some(out) = self.healing.out.get_mut(&target) {
            out.until_ms.get_or_insert(until_ms);
        }
    }

    /// Orders that are to be given now beside those that are `sent` and not answered, all of one term: what is of an earlier run comes
    /// first. There are at most `most` under way that are given for the first time, and as many that are given again: who does not
    /// answer takes no place of those who would.
    pub(crate) fn heals_due(&self, now_ms: u64, most: usize, sent: &BTreeMap<TargetIndex, Sent>) -> Vec<HealJob> {
        let due = self.healing.orders.values().filter(|order| order.due_ms <= now_ms);
        let due = due.filter(|order| !self.is_held_by_now(order, now_ms));
        let mut due = due.filter(|order| !sent.contains_key(&order.target)).peekable();
        let under_way = sent.values().next().map(|sent| sent.term);
        let term = under_way.or_else(|| due.peek().map(|order| order.term));
        let again = sent.values().filter(|sent| sent.again).count();
        let mut room = most.saturating_sub(sent.len().saturating_sub(again));
        let mut room_again = most.saturating_sub(again);
        due.filter(|order| Some(order.term) == term)
            .filter(|order| {
                let room = if order.sent().again { &mut room_again } else { &mut room };
                let fits = *room > 0;
                *room = room.saturating_sub(1);
                fits
            })
            .cloned()
            .collect()
    }

    /// An order to start something was not sent for as long as the rules were asked to leave, as where the permit said no, and they let
    /// nothing be started now.
    fn is_held_by_now(&self, order: &HealJob, now_ms: u64) -> bool {
        let starts = matches!(order.remedy, Remedy::Restart | Remedy::Replace);
        let is_old = now_ms.saturating_sub(order.given_ms) > self.setup.change.settings.attempt_estimate_ms;
        starts
            && order.tries == 0
            && is_old
            && self.decides_by(9)
            && !self.is_unruled()
            && !self.would_admit(self.app_of(order.target))
    }

    /// Gives an order. Whoever it takes out of service counts as ill from here on.
    pub(super) fn order_heal(&mut self, target: TargetIndex, cause: Cause, remedy: Remedy, commands: &mut Commands) {
        let Some(term) = self.healing.term else { return };
        // A later word about a target takes the place of one that is not known to have been heard.
        self.healing.withdraw(target);
        self.healing.last_id += 1;
        let job = HealJob {
            id: self.healing.last_id,
            term,
            target,
            remedy,
            cause,
            given_ms: self.now_ms,
            tries: 0,
            due_ms: self.now_ms,
        };
        if remedy != Remedy::Readmit {
            let ill = self.frontier.is_unhealthy(target);
            let out = self.healing.out.entry(target).or_insert(Out {
                cause,
                restarts: false,
                until_ms: None,
                ill,
            });
            out.cause = cause;
            out.restarts = !matches!(remedy, Remedy::Isolate { .. });
            self.frontier.on(Event::BecameUnhealthy { id: target });
        }
        self.healing.orders.insert(job.id, job.clone());
        self.healing.order_of.insert(target, job.id);
        commands.heals.push(job);
    }

    /// How an order ended, or that nobody knows; `None`: it was not sent, as its target has no number.
    pub(crate) fn healed(&mut self, id: u64, outcome: Option<HealOutcome>, at_ms: u64) {
        self.now_ms = self.now_ms.max(at_ms);
        let Some(mut order) = self.healing.orders.remove(&id) else {
            return;
        };
        let target = order.target;
        self.healing.order_of.remove(&target);
        match outcome {
            None => {
                self.healing.numberless.insert(target);
                let text = format!("{} has no number to be healed by", self.name(target));
                self.decide_text("heal.unknown", text, None);
                self.heal_undone(&order);
            }
            Some(HealOutcome::Done) => self.heal_done(&order),
            Some(HealOutcome::Unsupported) => {
                *Healing::slot(&mut self.healing.unable, order.remedy) = true;
                let text = format!("the platform cannot {} a target", order.remedy.as_str());
                self.decide_text("heal.unsupported", text, None);
                self.heal_undone(&order);
            }
            Some(HealOutcome::Failed) => {
                order.tries = order.tries.saturating_add(1);
                if order.tries < self.setup.change.settings.tries {
                    order.due_ms = self.now_ms + self.setup.change.settings.interval_ms;
                    self.healing.orders.insert(id, order);
                    self.healing.order_of.insert(target, id);
                    return;
                }
                let name = self.name(target).to_owned();
                let word = order.remedy.as_str();
                let text = format!(
                    "{name}: nobody knows whether it was done, after {} tries: {word}",
                    order.tries
                );
                self.decide_text("heal.failed", text, None);
                if order.remedy == Remedy::Readmit {
                    self.heal_undone(&order);
                } else {
                    // It may have been done: it counts as out for as long as it then would be.
                    self.heal_done(&order);
                    self.could_not(target, order.remedy);
                }
            }
        }
    }

    fn heal_done(&mut self, order: &HealJob) {
        let lasts_ms = match order.remedy {
            Remedy::Readmit => return self.comes_back(order.target),
            Remedy::Isolate { lease_ms } => lease_ms,
            Remedy::Restart | Remedy::Replace => self.setup.change.settings.attempt_estimate_ms,
        };
        let until_ms = self.now_ms.saturating_add(lasts_ms);
        if let Some(out) = self.healing.out.get_mut(&order.target) {
            out.until_ms = Some(until_ms);
        }
        self.quiet_until(order.target, until_ms);
    }

    /// Nothing has happened. Who is out by an order before comes back by its lease.
    fn heal_undone(&mut self, order: &HealJob) {
        if order.remedy == Remedy::Readmit {
            if self.decides_by(5) {
                self.comes_back_by_itself(order.target);
            }
            return;
        }
        self.comes_back(order.target);
        if order.cause == Cause::BadNode {
            if self.decides_by(4) {
                self.healing.give_back(order.given_ms);
            } else {
                // The newest was given back, whosever it was.
                self.healing.spent.pop_back();
            }
            self.try_next(order.target);
        }
    }

    /// It is in use again, as far as healing goes.
    fn comes_back(&mut self, target: TargetIndex) {
        if let Some(out) = self.healing.out.remove(&target) {
            self.scan_due = true;
            if !out.ill {
                self.frontier.on(Event::BecameHealthy { id: target });
            }
        }
    }

    /// Leases end. Whoever is out counts as ill, whatever else has become of it.
    pub(super) fn pass_leases(&mut self) {
        let over: Vec<TargetIndex> = self
            .healing
            .out
            .iter()
            .filter(|(target, out)| {
                out.until_ms.is_some_and(|until| until <= self.now_ms) && !self.healing.has_order(**target)
            })
            .map(|(&target, _)| target)
            .collect();
        for target in over {
            self.comes_back(target);
        }
        for &id in self.healing.out.keys() {
            self.frontier.on(Event::BecameUnhealthy { id });
        }
    }

    /// Something else than healing says how it is. Whether that is all there is to say: it is not out.
    pub(super) fn note_health(&mut self, target: TargetIndex, ill: bool) -> bool {
        match self.healing.out.get_mut(&target) {
            Some(out) => {
                out.ill = ill;
                false
            }
            None => true,
        }
    }

    /// Who runs the old version again, or is to be left alone, is let in.
    pub(super) fn readmit_where(
        &mut self,
        over: impl Fn(&super::Target, &Out) -> bool,
        commands: &mut Commands,
    ) -> usize {
        if !self.healing.can(Remedy::Readmit) {
            return 0;
        }
        let over: Vec<(TargetIndex, Cause)> = self
            .healing
            .out
            .iter()
            .filter(|(target, _)| !self.healing.numberless.contains(*target))
            .filter(|(target, out)| !out.restarts && over(&self.targets[target.0 as usize], out))
            .map(|(&target, out)| (target, out.cause))
            .collect();
        let mut given = 0;
        for (target, cause) in over {
            let readmits = |order: &HealJob| order.remedy == Remedy::Readmit;
            if self.healing.order(target).is_some_and(readmits) {
                continue;
            }
            self.order_heal(target, cause, Remedy::Readmit, commands);
            given += 1;
        }
        given
    }

    /// The target is no more.
    pub(super) fn forget_healing(&mut self, target: TargetIndex) {
        self.healing.out.remove(&target);
        self.healing.bad.remove(&target);
        self.healing.numberless.remove(&target);
        self.healing.withdraw(target);
    }

    /// Who is out of traffic, for reports.
    pub(super) fn isolations(&self) -> Vec<IsolationView> {
        let began_ms = self.setup.header.began_ms;
        let view = |(&target, out): (&TargetIndex, &Out)| IsolationView {
            target: self.name(target).to_owned(),
            why: match (out.restarts, out.cause) {
                (true, _) => "restarts",
                (false, Cause::BadNode) => "bad node",
                (false, Cause::Cut) => "traffic is cut",
            }
            .to_owned(),
            until_ms: out.until_ms.map(|until| until.saturating_sub(began_ms)),
        };
        self.healing.out.iter().map(view).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_that_was_not_carried_out_gives_back_what_it_took_itself() {
        let mut healing = Healing {
            spent: VecDeque::from([10, 20, 20, 30]),
            ..Healing::default()
        };
        healing.give_back(10);
        assert_eq!(healing.spent, [20, 20, 30]);
        healing.give_back(20);
        assert_eq!(healing.spent, [20, 30]);
        // Its day has passed meanwhile.
        healing.give_back(10);
        assert_eq!(healing.spent, [20, 30]);
    }
}
