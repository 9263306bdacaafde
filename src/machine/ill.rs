//! One bad node: the judge names it, so that its errors do not speak against the release, and it is isolated; where that was no end of
//! it, restarted; then replaced; then a person is told.

use unattended_batching::TargetIndex;

use crate::level::Act;
use crate::{Level, Severity};

use super::heal::{Cause, Remedy};
use super::span::span;
use super::{Commands, Course, Machine};
use crate::notice::Matter;

const DAY_MS: u64 = 24 * 3_600_000;

/// A host that was named, of which nobody knows yet which target it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unnamed {
    pub(crate) stratum: u32,
    pub(crate) host: u32,
}

/// What comes next, where a target is named again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Next {
    Isolate,
    Restart,
    Replace,
    /// There is nothing left.
    Person,
}

/// Why nothing is done about it, where people have to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// The level leaves that to people.
    Level,
    /// The budget of the day is spent.
    Budget,
    /// Nobody knows whether this was done.
    Failed(Remedy),
    /// Nothing has helped, or nothing can be done.
    Helpless,
    /// The rules of its application let nothing be started now.
    Rules,
}

/// A bad node.
#[derive(Clone, Debug)]
pub(super) struct Bad {
    /// When it was named last.
    named_ms: u64,
    /// What it has done.
    text: String,
    next: Next,
    /// It was named since something was done about it last.
    wants: bool,
    /// What it shows up to here says nothing of what was done last.
    quiet_until_ms: u64,
    waits_for_room: bool,
    why: Option<Why>,
}

impl Machine {
    /// Hosts that were named since, for whoever knows which targets they are.
    pub(crate) fn unnamed(&self) -> Vec<Unnamed> {
        if !self.is_healed() || self.ended().is_some() {
            return Vec::new();
        }
        let news = |event: &&unattended_health::HostEvent| {
            self.healing.heard.get(&(event.stratum, event.host)) != Some(&event.index)
        };
        let events = self.judge.host_events().iter().filter(news);
        events
            .map(|event| Unnamed {
                stratum: event.stratum,
                host: event.host,
            })
            .collect()
    }

    /// The living targets of a stratum, by name.
    pub(crate) fn members_of(&self, stratum: u32) -> impl Iterator<Item = &str> {
        let members = (0u32..).zip(&self.targets);
        members
            .filter(move |(_, target)| target.alive && target.stratum == stratum)
            .map(|(at, _)| self.name(TargetIndex(at)))
    }

    /// A host that was named is this target, or none that lives.
    pub(crate) fn named(&mut self, host: Unnamed, name: Option<&str>) {
        let key = (host.stratum, host.host);
        let mut events = self.judge.host_events().iter();
        let Some(event) = events.find(|event| (event.stratum, event.host) == key).cloned() else {
            return;
        };
        self.healing.heard.insert(key, event.index);
        let Some(target) = name.and_then(|name| self.index(name)) else {
            return;
        };
        let ended_ms = self.setup.header.began_ms + (event.index + 1) * self.setup.change.settings.interval_ms;
        let quiet_until_ms = self.healing.bad.get(&target).map_or(0, |bad| bad.quiet_until_ms);
        let out = self.healing.out.contains_key(&target);
        if !self.targets[target.0 as usize].on_new || out || ended_ms <= quiet_until_ms {
            return;
        }
        let text = format!(
            "{} alone has {} bad events ({}) while all others are well: the node is at fault, and not {}",
            self.name(target),
            event.bad,
            event.metric,
            self.setup.change.to
        );
        if let Some(bad) = self.healing.bad.get_mut(&target).filter(|bad| bad.wants) {
            // Nothing has been done about it yet: there is nothing new to decide.
            (bad.named_ms, bad.text) = (self.now_ms, text);
            return;
        }
        let next = self.healing.bad.get(&target).map_or(Next::Isolate, |bad| bad.next);
        let otherwise = "the same on others would have spoken against the release".to_owned();
        self.decide_text("node.bad", text.clone(), Some(otherwise));
        let bad = Bad {
            named_ms: self.now_ms,
            text,
            next,
            wants: true,
            quiet_until_ms,
            waits_for_room: false,
            why: None,
        };
        self.healing.bad.insert(target, bad);
    }

    const fn remedy(&self, next: Next) -> Option<Remedy> {
        match next {
            Next::Isolate => Some(Remedy::Isolate {
                lease_ms: self.setup.change.settings.isolation_ms,
            }),
            Next::Restart => Some(Remedy::Restart),
            Next::Replace => Some(Remedy::Replace),
            Next::Person => None,
        }
    }

    /// Does about bad nodes what may be done alone.
    pub(super) fn advance_healing(&mut self, commands: &mut Commands) {
        let now_ms = self.now_ms;
        while self.healing.spent.front().is_some_and(|&at| at + DAY_MS <= self.now_ms) {
            self.healing.spent.pop_front();
        }
        // What was named a day ago is no reason to touch anybody now; it is named again if it goes on.
        self.healing.bad.retain(|_, bad| now_ms < bad.named_ms + DAY_MS);
        let bad: Vec<TargetIndex> = self.healing.bad.keys().copied().collect();
        for target in bad {
            self.heal(target, commands);
        }
    }

    fn heal(&mut self, target: TargetIndex, commands: &mut Commands) {
        let state = self.targets[target.0 as usize];
        let Some(bad) = self.healing.bad.get(&target).filter(|bad| bad.wants) else {
            return;
        };
        if !state.on_new || state.in_flight.is_some() || self.healing.out.contains_key(&target) {
            return;
        }
        let mut next = bad.next;
        let remedy = loop {
            match self.remedy(next) {
                Some(_) if self.healing.numberless.contains(&target) => break None,
                Some(remedy) if self.healing.can(remedy) => break Some(remedy),
                Some(_) => next = after(next),
                None => break None,
            }
        };
        let (remedy, is_held) = self.within_rules(target, remedy);
        let why = match remedy {
            None if is_held => Some(Why::Rules),
            None => Some(Why::Helpless),
            Some(_) if !self.may(Act::Heal) => Some(Why::Level),
            Some(_) if self.healing.spent.len() >= self.setup.change.settings.budget.heals_per_day as usize => {
                Some(Why::Budget)
            }
            Some(_) => None,
        };
        let room = self.frontier.may_leave(target);
        let name = self.name(target).to_owned();
        let Some(bad) = self.healing.bad.get_mut(&target) else {
            return;
        };
        bad.next = next;
        if bad.why != why {
            bad.why = why;
            if let Some(why) = why {
                let text = self.why_not(target, why);
                return self.decide_text("heal.left", text, None);
            }
            return;
        }
        let (Some(remedy), None) = (remedy, why) else { return };
        if !room {
            if !std::mem::replace(&mut bad.waits_for_room, true) {
                let text = format!("{name} is not taken out of service yet: the caps let nobody else be out");
                self.decide_text("heal.waits", text, None);
            }
            return;
        }
        let then = if is_held { next } else { after(next) };
        (bad.wants, bad.waits_for_room, bad.next) = (false, false, then);
        if !is_held {
            // What rules hold is not to use up what there is for when they do not.
            self.healing.spent.push_back(self.now_ms);
        }
        let (code, text) = match remedy {
            Remedy::Isolate { lease_ms } => ("heal.isolate", format!("{name} gets no traffic for {}", span(lease_ms))),
            Remedy::Restart => ("heal.restart", format!("{name} is started anew")),
            Remedy::Replace | Remedy::Readmit => ("heal.replace", format!("another takes the place of {name}")),
        };
        self.moved_ms = self.now_ms;
        self.decide_text(code, text, None);
        self.order_heal(target, Cause::BadNode, remedy, commands);
    }

    /// To start a target anew disturbs its application as an attempt does: where the rules let nothing be started, it is kept out of
    /// traffic instead. Whether they hold it.
    fn within_rules(&self, target: TargetIndex, remedy: Option<Remedy>) -> (Option<Remedy>, bool) {
        let starts = matches!(remedy, Some(Remedy::Restart | Remedy::Replace));
        if !starts || !self.decides_by(8) || self.is_unruled() || self.would_admit(self.app_of(target)) {
            return (remedy, false);
        }
        let isolate = self.remedy(Next::Isolate);
        (isolate.filter(|&remedy| self.healing.can(remedy)), true)
    }

    /// The platform cannot do what was ordered: the next thing is tried.
    pub(super) fn try_next(&mut self, target: TargetIndex) {
        if let Some(bad) = self.healing.bad.get_mut(&target) {
            bad.wants = true;
        }
    }

    /// Nobody knows whether it was done.
    pub(super) fn could_not(&mut self, target: TargetIndex, remedy: Remedy) {
        if let Some(bad) = self.healing.bad.get_mut(&target) {
            bad.why = Some(Why::Failed(remedy));
        }
    }

    /// What the target shows before is of before something was done about it.
    pub(super) fn quiet_until(&mut self, target: TargetIndex, until_ms: u64) {
        if let Some(bad) = self.healing.bad.get_mut(&target) {
            bad.quiet_until_ms = until_ms;
        }
    }

    fn why_not(&self, target: TargetIndex, why: Why) -> String {
        let Some(bad) = self.healing.bad.get(&target) else {
            return String::new();
        };
        let would = match bad.next {
            Next::Isolate => format!("be isolated for {}", span(self.setup.change.settings.isolation_ms)),
            Next::Restart => "be started anew".to_owned(),
            Next::Replace | Next::Person => "be replaced".to_owned(),
        };
        let text = &bad.text;
        match why {
            Why::Level => format!(
                "{text}; at {} a person decides, at {} it would {would}",
                self.level(),
                Level::L4
            ),
            Why::Budget => format!(
                "{text}; it would {would}, and {} such things were done within a day, as many as may without a person",
                self.healing.spent.len()
            ),
            Why::Rules => {
                format!("{text}; it would {would}, and the rules let nothing of its application be started now")
            }
            Why::Failed(remedy) => format!("{text}; nobody knows whether this was done: {}", remedy.as_str()),
            Why::Helpless => format!("{text}; nothing that the platform can do has helped"),
        }
    }

    /// Bad nodes that people have to see to.
    pub(super) fn matters_of_nodes(&self, matters: &mut Vec<Matter>) {
        if self.ended().is_some() || self.course != Course::Forward {
            return;
        }
        for (&target, bad) in &self.healing.bad {
            let Some(why) = bad.why.filter(|_| self.targets[target.0 as usize].on_new) else {
                continue;
            };
            matters.push(Matter {
                detail: Some(self.name(target).to_owned()),
                one_of_many: true,
                otherwise:
                    "it stays in service: that stops nothing, but its class may be unable to show that it is safe"
                        .to_owned(),
                remedy: format!("see to {}, or take it out of service", self.name(target)),
                ..self.matter("node.bad", Severity::Warning, self.why_not(target, why))
            });
        }
    }
}

const fn after(next: Next) -> Next {
    match next {
        Next::Isolate => Next::Restart,
        Next::Restart => Next::Replace,
        Next::Replace | Next::Person => Next::Person,
    }
}
