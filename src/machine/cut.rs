//! A stop that rolls nothing back by itself: what runs the new version stays as it is, or gets no traffic for as long as a person is asked.

use std::collections::BTreeSet;

use unattended_batching::TargetIndex;

use crate::level::Act;
use crate::{Level, OnStop, Severity};

use super::heal::{Cause, Out, Remedy};
use super::{Commands, Course, Machine, Target};
use crate::notice::Matter;

/// Orders that are given at one tick, at the most: a bound on the work between two looks at the world.
const MOST_ORDERS: usize = 4_096;

/// The traffic of the new version is cut, or is let in again.
#[derive(Debug, Default)]
pub(super) struct Cut {
    /// Those that came to run the new version, the newest last; only where a stop may cut them off.
    arrivals: Vec<TargetIndex>,
    /// It has begun, and nobody has said to let them in again.
    is_on: bool,
    /// As it was when that was said last.
    said: Option<Said>,
}

/// Of those that run the new version: how many are out, how many are beyond the caps, and how many have no number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Said {
    out: usize,
    beyond: u64,
    unknown: u64,
}

impl Said {
    fn unknown_in_words(self) -> String {
        match self.unknown {
            0 => String::new(),
            unknown => format!(", and {unknown} as they have no number to be taken out by"),
        }
    }
}

impl Cut {
    /// Nobody is kept out any longer.
    pub(super) const fn end(&mut self) {
        self.is_on = false;
    }
}

impl Machine {
    /// It runs the new version from here on.
    pub(super) fn note_arrival(&mut self, target: TargetIndex) {
        if self.setup.change.settings.on_stop == OnStop::CutTraffic {
            self.cut.arrivals.push(target);
        }
    }

    /// What a stop does, for the question that follows from it: what is done, and what is done meanwhile.
    pub(super) fn stop_in_words(&self) -> (String, String) {
        let to = &self.setup.change.to;
        let keep = format!("nothing more is started; what runs {to} keeps it");
        match self.setup.change.settings.on_stop {
            OnStop::RollBack | OnStop::FreezeInPlace => ("It is left as it stands.".to_owned(), keep),
            OnStop::CutTraffic if !self.may_cut() => {
                let why = if self.is_healed() && self.healing.can(self.isolation()) {
                    format!(
                        "at {} that takes a person's word, which a grant of {} is",
                        self.level(),
                        Level::L4
                    )
                } else {
                    "the platform cannot isolate".to_owned()
                };
                (format!("No traffic is cut: {why}."), keep)
            }
            OnStop::CutTraffic => (
                format!("What runs {to} is taken out of traffic, newest first, as far as the caps let it."),
                format!("{keep}, out of traffic as long as this is asked"),
            ),
        }
    }

    const fn isolation(&self) -> Remedy {
        Remedy::Isolate {
            lease_ms: self.setup.change.settings.isolation_ms,
        }
    }

    fn may_cut(&self) -> bool {
        self.may(Act::Heal) && self.healing.can(self.isolation())
    }

    /// Takes out of traffic what the stop is about, keeps it out, and lets in again whom it is about no more.
    pub(super) fn advance_cut(&mut self, commands: &mut Commands) {
        let stopped = self.stop_pending() && self.setup.change.settings.on_stop == OnStop::CutTraffic;
        if !self.cut.is_on && !stopped {
            return;
        }
        let from = |target: &Target, _: &Out| !target.on_new && target.in_flight.is_none();
        match self.course {
            Course::Forward if stopped => {
                self.renew(commands);
                self.cut_more(commands);
            }
            Course::Forward => {
                // A person went on over it.
                self.cut.is_on = false;
                self.cut.said = None;
                let let_in = self.readmit_where(|_, out| out.cause == Cause::Cut, commands);
                self.moved_ms = self.now_ms;
                self.decide_text("cut.over", format!("{let_in} targets get traffic again"), None);
            }
            Course::Back => {
                self.renew(commands);
                self.readmit_where(from, commands);
            }
            Course::Ended(_) => {}
        }
    }

    /// Isolates again, before their lease ends, those that are to stay out.
    fn renew(&mut self, commands: &mut Commands) {
        let isolation = self.isolation();
        if !self.healing.can(isolation) {
            return;
        }
        let half_ms = self.setup.change.settings.isolation_ms / 2;
        let stays = |target: TargetIndex, out: &Out| {
            let ends = out
                .until_ms
                .is_some_and(|until| until <= self.now_ms.saturating_add(half_ms));
            ends && out.cause == Cause::Cut && !out.restarts && self.targets[target.0 as usize].on_new
        };
        let due: Vec<TargetIndex> = self
            .healing
            .out
            .iter()
            .filter(|(target, out)| stays(**target, out) && !self.healing.has_order(**target))
            .map(|(&target, _)| target)
            .take(MOST_ORDERS)
            .collect();
        for target in due {
            self.order_heal(target, Cause::Cut, isolation, commands);
        }
    }

    /// Cuts off the newest first, as many as the caps let be out.
    fn cut_more(&mut self, commands: &mut Commands) {
        if !self.may_cut() {
            return;
        }
        let isolation = self.isolation();
        let is_on = std::mem::replace(&mut self.cut.is_on, true);
        let mut given = 0;
        let (mut beyond, mut unknown) = (0, 0);
        let newest: Vec<TargetIndex> = self.cut.arrivals.iter().rev().copied().collect();
        let mut met = BTreeSet::new();
        for target in newest {
            let state = self.targets[target.0 as usize];
            if !state.alive || !state.on_new || !met.insert(target) {
                continue;
            }
            if let Some(out) = self.healing.out.get_mut(&target) {
                // Whoever is out as a bad node stays out with the rest.
                out.cause = Cause::Cut;
            } else if self.healing.numberless.contains(&target) {
                unknown += 1;
            } else if given < MOST_ORDERS && state.in_flight.is_none() && self.frontier.may_leave(target) {
                self.order_heal(target, Cause::Cut, isolation, commands);
                given += 1;
            } else {
                beyond += 1;
            }
        }
        let now = Said {
            out: self.healing.out.len(),
            beyond,
            unknown,
        };
        if self.cut.said == Some(now) && is_on {
            return;
        }
        self.cut.said = Some(now);
        let text = format!(
            "{} targets of {} get no traffic, the newest first; {beyond} keep serving it, as the caps let no more be out{}",
            now.out,
            self.setup.change.to,
            now.unknown_in_words()
        );
        let otherwise = "wider caps would have let more be cut off".to_owned();
        self.decide_text("cut.traffic", text, Some(otherwise));
    }

    /// The change is given up where it stands: whoever it keeps out is let in. Whether that is done.
    pub(super) fn let_all_in(&mut self, commands: &mut Commands) -> bool {
        if self.frozen.is_none() {
            self.readmit_where(|_, _| true, commands);
        }
        !self.healing.isolates()
    }

    /// Traffic that is cut is something people have to know.
    pub(super) fn matters_of_cut(&self, matters: &mut Vec<Matter>) {
        let Some(said) = self.cut.said.filter(|_| self.cut.is_on && self.ended().is_none()) else {
            return;
        };
        let (from, to) = (&self.setup.change.from, &self.setup.change.to);
        let text = format!(
            "{} targets that run {to} get no traffic, and {} that run it too keep serving, as the caps let no more be out{}",
            self.healing.out.len(),
            said.beyond,
            said.unknown_in_words()
        );
        matters.push(Matter {
            otherwise: "they stay out of traffic as long as somebody is asked, and are let in when the run ends"
                .to_owned(),
            remedy: format!(
                "say whether they go back to {from} (`Handle::approve`) or are let in as they are (`resume`)"
            ),
            ..self.matter("traffic.cut", Severity::Warning, text)
        });
    }
}
