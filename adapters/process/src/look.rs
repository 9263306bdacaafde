//! What is seen of a target: its processes by the kernel's word, all else by their own.
use std::sync::Arc;

use futures::future::{join, ready};
use unattended_upgrade::{
    Barrier, ConfigSeen, Ingress, InstanceId, Moves, Observation, Pair, Pauses, Phase, SelfCheck, SlotSeen, Version,
};

use crate::clock::now_ms;
use crate::keeper::{Inner, Keeper};
use crate::process::Process;
use crate::program::{Place, Told};
use crate::state::{Committed, State, Way};

/// What is known of a slot before its instance is asked.
struct Before {
    version: Option<Version>,
    /// Where its process stands if there is none.
    idle: Phase,
    live: Option<(Place, Arc<Process>)>,
    way: Option<Ingress>,
    born_closed: bool,
}

impl Keeper {
    /// Looks at the target now.
    pub(crate) async fn look(&self) -> Observation {
        self.look_closely().await.0
    }

    /// As [`look`](Self::look), and whether the instance that serves has spoken.
    async fn look_closely(&self) -> (Observation, bool) {
        let (before, state, serving) = {
            let inner = self.inner.lock().await;
            if inner.state.gone {
                return (gone(), false);
            }
            let committed = self.committed();
            let before = [0, 1].map(|slot| self.before(&inner, slot, committed));
            (before, inner.state.clone(), inner.state.serving(committed))
        };
        let program = &self.template.program;
        let ask = |slot: &Before| match slot.live.clone() {
            None => futures::future::Either::Left(ready(None)),
            Some((place, _)) => {
                let program = Arc::clone(program);
                futures::future::Either::Right(async move { program.ask(&place).await.ok() })
            }
        };
        let [a, b] = &before;
        let (told_a, told_b) = join(ask(a), ask(b)).await;
        let mut told = [told_a, told_b];
        self.remember(&before, &told).await;
        // What has ended in the meantime is not shown, whatever it has said.
        for (slot, told) in before.iter().zip(&mut told) {
            if slot.live.as_ref().is_some_and(|(_, process)| process.has_ended()) {
                *told = None;
            }
        }
        (self.compose(&before, &told, &state, serving), told[serving].is_some())
    }

    /// Looks whether the way is closed, and for so long that balancers have heard of it. They ask the instance, so it is its own
    /// word that they hear: of one that is silent nobody knows what it says.
    pub(crate) async fn barrier(&self) -> Barrier {
        let (seen, speaks) = self.look_closely().await;
        let mut inner = self.inner.lock().await;
        if seen.ingress != Ingress::Closed {
            // It has opened by itself.
            inner.closed_since_ms = None;
        } else if speaks || seen.instance.is_none() {
            inner.closed_since_ms.get_or_insert_with(now_ms);
        }
        let since = inner.closed_since_ms;
        drop(inner);
        let told = since.is_some_and(|since| now_ms().saturating_sub(since) >= self.template.balancers_ms);
        // Nobody counts the connections of every program.
        Barrier { told, quiet_ms: None }
    }

    /// The last word of an instance is what is left of its counts when it has ended.
    async fn remember(&self, before: &[Before; 2], told: &[Option<Told>; 2]) {
        let mut inner = self.inner.lock().await;
        for ((before, told), live) in before.iter().zip(told).zip(&mut inner.lives) {
            if let (Some((place, _)), Some(told), Some(live)) = (&before.live, told, live)
                && live.run.instance == place.instance.0
            {
                live.told = Some(told.clone());
            }
        }
    }

    fn before(&self, inner: &Inner, slot: usize, committed: Committed) -> Before {
        let seat = &inner.state.seats[slot];
        let live = inner.lives[slot].as_ref();
        let other = inner.lives[1 - slot].as_ref().map(|live| &live.run.version);
        // A process keeps its version, whatever is to run after it.
        let mut version = live
            .map(|live| live.run.version.clone())
            .or_else(|| seat.version.clone());
        if live.is_none() && version.as_ref() == other {
            version = None;
        }
        let waits = inner.wants_start(slot, committed) && version.is_some();
        let crashing = inner.exits(slot).in_a_row >= self.house.settings.crashing_after;
        Before {
            version,
            idle: match (waits, crashing) {
                (false, _) => Phase::Stopped,
                (true, false) => Phase::Starting,
                (true, true) => Phase::Crashing,
            },
            live: live.map(|live| (self.place(slot, &live.run), Arc::clone(&live.process))),
            way: live.and_then(|live| live.way),
            born_closed: live.is_some_and(|live| live.born_closed) && inner.state.way != Way::Open,
        }
    }

    fn compose(&self, before: &[Before; 2], told: &[Option<Told>; 2], state: &State, serving: usize) -> Observation {
        let able = self.template.program.able();
        let closed = state.way != Way::Open;
        let mut slots = [0, 1].map(|slot| seen(&before[slot], told[slot].as_ref()));
        for (slot, told) in slots.iter_mut().zip(told) {
            // One that was started anew is not ready before it works by what the one before worked by.
            let bare = told.as_ref().is_some_and(|told| told.config.acknowledged.is_none());
            slot.ready &= !(able.config && bare && state.config.good.is_some());
        }
        let of = |slot: usize| (&before[slot], told[slot].as_ref());
        let (place, word) = of(serving);
        let ingress = if able.ingress {
            // What is silent opens nothing.
            let silent = if closed { Ingress::Closed } else { Ingress::Unknown };
            match word {
                None => silent,
                Some(word) => match word.ingress {
                    Some(way) => way,
                    None if place.born_closed => Ingress::Unknown,
                    None => place.way.unwrap_or(Ingress::Unknown),
                },
            }
        } else {
            Ingress::Open
        };
        // Not ready for what was ordered: the way is to be closed, and it has not been yet.
        if place.born_closed && word.is_some_and(|word| word.ingress.is_none()) {
            (slots[serving].ready, slots[serving].self_check) = (false, SelfCheck::Unreported);
        }
        let serves = slots[serving].clone();
        let config = able.config.then(|| {
            let unknown = ConfigSeen {
                acknowledged: None,
                refused: None,
            };
            let mut config = word.map_or(unknown, |word| word.config.clone());
            // A refusal is of what was ordered last; what has been ordered since makes it the past.
            let wanted = state.config.wanted.as_ref();
            config.refused = config.refused.filter(|(version, _)| Some(version) == wanted);
            Box::new(config)
        });
        let running = serves.instance.is_some();
        Observation {
            phase: serves.phase,
            version: serves.version.clone(),
            instance: serves.instance,
            ready: serves.ready,
            self_check: serves.self_check,
            ingress,
            active: if running {
                word.and_then(|word| word.active)
            } else {
                Some(0)
            },
            pair: able.hand_over.then(|| {
                Box::new(Pair {
                    session: told.iter().flatten().any(|told| told.session),
                    // Where one slot is empty, or nothing was offered yet, there is no hand-over to tell of.
                    moves: if slots.iter().any(SlotSeen::is_empty) || !state.offered {
                        Moves::default()
                    } else {
                        told.iter().flatten().fold(state.kept, |all, told| add(all, told.moves))
                    },
                    slots,
                })
            }),
            config,
        }
    }
}

/// Adds up what processes have counted, each for its part, and takes the worse pauses.
pub(crate) fn add(one: Moves, other: Moves) -> Moves {
    Moves {
        moved: one.moved.saturating_add(other.moved),
        declined: one.declined.saturating_add(other.declined),
        cut: one.cut.saturating_add(other.cut),
        lost: one.lost.saturating_add(other.lost),
        bytes: one.bytes.saturating_add(other.bytes),
        pauses: Pauses {
            p50_us: one.pauses.p50_us.max(other.pauses.p50_us),
            p99_us: one.pauses.p99_us.max(other.pauses.p99_us),
            max_us: one.pauses.max_us.max(other.pauses.max_us),
        },
    }
}

fn seen(before: &Before, told: Option<&Told>) -> SlotSeen {
    let empty = SlotSeen {
        version: before.version.clone(),
        phase: if before.version.is_some() {
            before.idle
        } else {
            Phase::Stopped
        },
        ..SlotSeen::empty()
    };
    let Some((place, process)) = &before.live else {
        return empty;
    };
    if process.has_ended() {
        return empty;
    }
    let runs = SlotSeen {
        phase: Phase::Running,
        instance: Some(place.instance),
        ..empty
    };
    let Some(told) = told else { return runs };
    SlotSeen {
        ready: told.ready,
        self_check: told.self_check.clone(),
        listeners: told.listeners,
        accepting: told.accepting,
        accepted: told.accepted,
        connections: told.connections,
        committed: told.committed,
        retired: told.retired,
        ..runs
    }
}

/// A target that does not exist.
pub(crate) const fn gone() -> Observation {
    Observation {
        phase: Phase::Gone,
        version: None,
        instance: None::<InstanceId>,
        ready: false,
        self_check: SelfCheck::Unreported,
        ingress: Ingress::Unknown,
        active: None,
        pair: None,
        config: None,
    }
}
