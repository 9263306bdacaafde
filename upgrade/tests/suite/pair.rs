//! The second slot of a target of the small world, and its two agents.
use unattended_upgrade::*;

/// What one agent has come to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Agent {
    listeners: bool,
    accepting: bool,
    committed: bool,
    retired: bool,
}

/// The agent of the first slot, and what is in the second.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    first: Agent,
    second: Option<(Version, u64, Agent)>,
    session: bool,
    moved: bool,
}

impl Pair {
    pub(crate) const fn new() -> Self {
        Self {
            first: Agent {
                listeners: true,
                accepting: true,
                committed: false,
                retired: false,
            },
            second: None,
            session: false,
            moved: false,
        }
    }

    /// What the second slot has, if it is the one that serves.
    pub(crate) fn committed(&self) -> Option<(&Version, u64)> {
        let second = self.second.as_ref().filter(|(_, _, agent)| agent.committed);
        second.map(|(version, instance, _)| (version, *instance))
    }

    pub(crate) const fn is_single(&self) -> bool {
        self.second.is_none()
    }

    pub(crate) fn seen(&self, first: SlotSeen, is_bad: impl Fn(&Version) -> bool) -> unattended_upgrade::Pair {
        let agent = |slot: SlotSeen, agent: &Agent, connections| SlotSeen {
            listeners: agent.listeners,
            accepting: agent.accepting && slot.instance.is_some(),
            accepted: Some(if agent.accepting { 100 } else { 0 }),
            connections: Some(connections),
            committed: agent.committed,
            retired: agent.retired,
            ..slot
        };
        let second = self
            .second
            .as_ref()
            .map_or_else(SlotSeen::empty, |(version, instance, side)| {
                let bad = is_bad(version);
                let slot = SlotSeen {
                    version: Some(version.clone()),
                    phase: Phase::Running,
                    instance: Some(InstanceId(*instance)),
                    ready: !bad,
                    self_check: self_check(bad),
                    ..SlotSeen::empty()
                };
                agent(slot, side, if self.moved { 3 } else { 0 })
            });
        unattended_upgrade::Pair {
            slots: [agent(first, &self.first, if self.moved { 0 } else { 3 }), second],
            session: self.session,
            moves: Moves::default(),
        }
    }

    pub(crate) fn spawn(&mut self, running: &Version, version: &Version, instance: u64) {
        if running != version && self.second.is_none() {
            self.second = Some((version.clone(), instance, Agent::default()));
        }
    }

    /// The process of a slot exits and is started again.
    pub(crate) fn restart(&mut self, second: bool) {
        self.session = false;
        let new_serves = self.committed().is_some();
        let agent = match &mut self.second {
            Some((_, instance, agent)) if second => {
                *instance += 1_000;
                self.moved = false;
                agent
            }
            _ => &mut self.first,
        };
        let serves = second == new_serves;
        *agent = Agent {
            listeners: serves,
            accepting: serves,
            committed: second && new_serves,
            retired: !second && new_serves,
        };
        // The other one's lease ends: whoever has not left polls again.
        if second && !new_serves {
            self.first.accepting = true;
        }
    }

    /// Empties the slot of a version; gives what is in the first one now, if that is another.
    pub(crate) fn reset(&mut self, running: &Version, version: &Version) -> Option<(Version, u64)> {
        self.session = false;
        self.moved = false;
        if running != version {
            self.second.take_if(|(found, _, _)| found == version);
            return None;
        }
        let (version, instance, agent) = self.second.take().expect("the only slot is never emptied");
        self.first = Agent {
            committed: false,
            ..agent
        };
        Some((version, instance))
    }

    pub(crate) fn hand_over(&mut self, order: HandoverOrder, running: &Version, from: &Version, to: &Version) {
        let of_attempt = running == from && self.second.as_ref().is_some_and(|(version, ..)| version == to);
        let Some((_, _, new)) = self.second.as_mut().filter(|_| of_attempt) else {
            if order == HandoverOrder::Return {
                self.first.accepting = true;
            }
            return;
        };
        match order {
            HandoverOrder::Offer => {
                self.session = true;
                new.listeners = true;
            }
            HandoverOrder::Accept => new.accepting = self.session && new.listeners,
            HandoverOrder::Quiesce => self.first.accepting &= !new.accepting,
            HandoverOrder::Migrate => self.moved = self.session,
            HandoverOrder::Commit => {
                new.committed = true;
                new.accepting = true;
                new.listeners = true;
            }
            HandoverOrder::Retire => {
                self.first.retired = self.session && new.committed;
                self.first.accepting &= !self.first.retired;
            }
            HandoverOrder::Return => {
                self.first = Self::new().first;
                new.committed = false;
                new.accepting = false;
                self.moved = false;
            }
        }
    }
}

pub(crate) fn self_check(bad: bool) -> SelfCheck {
    if bad {
        SelfCheck::Failed {
            check: "listeners".into(),
        }
    } else {
        SelfCheck::Passed
    }
}
