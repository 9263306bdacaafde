//! What is seen of a target: its processes by the kernel's word, all else by their own.
use std::sync::Arc;

use futures::future::{join, ready};
use unattended_upgrade::{
    ConfigSeen, Ingress, InstanceId, Moves, Observation, Pair, Phase, SelfCheck, SlotSeen, Version,
};

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
        let (before, state, serving) = {
            let inner = self.inner.lock().await;
            if inner.state.gone {
                return gone();
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
        // What has ended in the meantime is not shown, whatever it has said.
        for (slot, told) in before.iter().zip(&mut told) {
            if slot.live.as_ref().is_some_and(|(_, process)| process.has_ended()) {
                *told = None;
            }
        }
        self.compose(&before, &told, &state, serving)
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
            born_closed: live.is_some_and(|live| live.born_closed),
        }
    }

    fn compose(&self, before: &[Before; 2], told: &[Option<Told>; 2], state: &State, serving: usize) -> Observation {
        let able = self.template.program.able();
        let closed = state.way != Way::Open;
        let mut slots = [0, 1].map(|slot| seen(&before[slot], told[slot].as_ref()));
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
            Box::new(word.map_or(unknown, |word| word.config.clone()))
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
                    // Where one slot is empty there is no hand-over to tell of.
                    moves: if slots.iter().any(SlotSeen::is_empty) {
                        Moves::default()
                    } else {
                        moves(told)
                    },
                    slots,
                })
            }),
            config,
        }
    }
}

/// Both count; each connection counts once.
fn moves(told: &[Option<Told>; 2]) -> Moves {
    let mut all = Moves::default();
    for moves in told.iter().flatten().map(|told| told.moves) {
        all.moved = all.moved.saturating_add(moves.moved);
        all.declined = all.declined.saturating_add(moves.declined);
        all.cut = all.cut.saturating_add(moves.cut);
        all.lost = all.lost.saturating_add(moves.lost);
        all.bytes = all.bytes.saturating_add(moves.bytes);
        all.pauses.p50_us = all.pauses.p50_us.max(moves.pauses.p50_us);
        all.pauses.p99_us = all.pauses.p99_us.max(moves.pauses.p99_us);
        all.pauses.max_us = all.pauses.max_us.max(moves.pauses.max_us);
    }
    all
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
