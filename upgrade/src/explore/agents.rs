//! The two agents of a hot upgrade as the search has them, for who writes agents: that theirs do nothing else.
use super::Rules;
use super::world::{Conn, Kind, Progress, World};
use crate::{Effect, EffectOutcome, HandoverOrder, Mode, Which};

/// Both agents, beside each other, with one established connection.
///
/// Orders come at any time, whether or not a controller would give them: what the agents must not do then, they refuse.
///
/// ```
/// use unattended_upgrade::Which;
/// use unattended_upgrade::explore::Agents;
///
/// let first = Agents::beside_each_other();
/// assert!(first.seen().old.accepting && !first.seen().new.listeners);
/// // Whatever is ordered first, the old one goes on accepting.
/// assert!(first.steps().iter().all(|next| next.seen().old.accepting));
/// assert!(first.dies(Which::Old).iter().all(|next| !next.seen().old.runs));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Agents(World);

/// What shows of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_structs, reason = "compared as a whole")]
pub struct AgentsSeen {
    /// The one that served first.
    pub old: AgentSeen,
    /// The one that was started beside it.
    pub new: AgentSeen,
    /// Where the connection is.
    pub connection: Owner,
}

/// What shows of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_structs, reason = "compared as a whole")]
pub struct AgentSeen {
    /// Its process has not died.
    pub runs: bool,
    /// It holds the listeners.
    pub listeners: bool,
    /// It polls them.
    pub accepting: bool,
    /// It has left for good.
    pub retired: bool,
}

/// Whose a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_enums, reason = "there is nowhere else")]
pub enum Owner {
    /// The old one's.
    Old,
    /// The new one's.
    New,
    /// Offered to the old one, and not yet adopted.
    OfferedToOld,
    /// Offered to the new one, and not yet adopted.
    OfferedToNew,
    /// It ended with its owner.
    Gone,
}

impl Agents {
    /// The old one serves; the new one runs beside it, and nothing was passed.
    pub fn beside_each_other() -> Self {
        let mut world = World::new(Mode::Hot, Kind::Healthy, true);
        world.act(Effect::Spawn(Which::New), &Rules::new(None));
        world.go_on(Progress::Start(Which::New));
        Self(world)
    }

    /// Where one step leads that is no death: an order that is obeyed, something that an agent does by itself, or the end of
    /// a session in which nobody died. The search itself does not try the last: to a controller it looks like a death of
    /// which it hears later.
    pub fn steps(&self) -> Vec<Self> {
        let rules = Rules::new(None);
        let mut all = Vec::new();
        for order in [
            HandoverOrder::Offer,
            HandoverOrder::Accept,
            HandoverOrder::Quiesce,
            HandoverOrder::Migrate,
            HandoverOrder::Commit,
            HandoverOrder::Retire,
            HandoverOrder::Return,
        ] {
            let mut to = self.clone();
            if to.0.hand_over(order, &rules) == EffectOutcome::Applied {
                all.push(to);
            }
        }
        for progress in self.0.progress(false, &rules) {
            if matches!(
                progress,
                Progress::Resume | Progress::TakeOver | Progress::Leave | Progress::Reunite | Progress::Move
            ) {
                let mut to = self.clone();
                to.0.go_on(progress);
                all.push(to);
            }
        }
        if self.0.session {
            let mut to = self.clone();
            to.0.session = false;
            all.push(to);
            for which in [Which::Old, Which::New] {
                let mut to = self.clone();
                to.0.miss(which);
                all.push(to);
            }
        }
        all.retain(|to| to != self);
        all
    }

    /// Where the death of one of them leads, once the other has noticed it. A connection that it had offered is the other's
    /// then, or ends if the other cannot take it, which the search leaves out.
    pub fn dies(&self, which: Which) -> Vec<Self> {
        let mut to = self.clone();
        to.0.crash(which, &Rules::new(None));
        let mut declined = to.clone();
        if matches!(self.0.conn, Conn::Offered(taker) if taker != which) {
            declined.0.conn = Conn::Ended;
        }
        if declined == to { vec![to] } else { vec![to, declined] }
    }

    /// What shows.
    pub fn seen(&self) -> AgentsSeen {
        let one = |which| {
            let slot = self.0.slot(which).copied().unwrap_or_default();
            AgentSeen {
                runs: self.0.runs(which),
                listeners: slot.listeners,
                accepting: slot.accepting,
                retired: slot.retired,
            }
        };
        AgentsSeen {
            old: one(Which::Old),
            new: one(Which::New),
            connection: match self.0.conn {
                Conn::At(Which::Old) => Owner::Old,
                Conn::At(Which::New) => Owner::New,
                Conn::Offered(Which::Old) => Owner::OfferedToOld,
                Conn::Offered(Which::New) => Owner::OfferedToNew,
                Conn::Ended | Conn::Lost => Owner::Gone,
            },
        }
    }
}
