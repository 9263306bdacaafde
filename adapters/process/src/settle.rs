//! The task of one target: pass after pass, and between them what its instances have to be told.
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::{pending, select_all};
use unattended_upgrade::{FleetChange, Generation, Ingress, IngressOrder, Version};

use crate::clock::now_ms;
use crate::keeper::Keeper;
use crate::program::{Answer, Place, Told};
use crate::state::{APPLICATION, Way};

/// The first wait for something that is not settled yet; it doubles up to the longest.
const FIRST_WAIT_MS: u64 = 10;
const LONGEST_WAIT_MS: u64 = 160;

/// Something that an instance has to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Due {
    Fence(u64),
    Way(IngressOrder),
    Config(Version),
}

impl Keeper {
    /// Runs until the target is gone. Dropping it leaves every process as it is.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut wait_ms = FIRST_WAIT_MS;
        loop {
            let pass = self.pass().await;
            if pass.over {
                return;
            }
            let settled = self.tell_all().await;
            let look_ms = self.house.settings.look_ms;
            wait_ms = if settled {
                look_ms
            } else {
                (wait_ms * 2).min(LONGEST_WAIT_MS).min(look_ms)
            };
            let now = now_ms();
            let until_ms = (now + wait_ms).min(pass.due_ms).max(now + 1);
            let ended = pass.processes.iter().map(|process| process.ended().boxed());
            let ended: Vec<_> = ended.chain([pending().boxed()]).collect();
            let slept = tokio::time::sleep(Duration::from_millis(until_ms - now)).boxed();
            let woken = self.wake.notified().boxed();
            let (at, ..) = select_all([slept, woken, select_all(ended).map(drop).boxed()])
                .map(|(.., at, _)| (at, ()))
                .await;
            if at != 0 {
                wait_ms = FIRST_WAIT_MS;
            }
        }
    }

    /// Asks every instance, and tells it what it does not know yet. `true` if nothing is left to be told.
    async fn tell_all(&self) -> bool {
        let mut settled = true;
        for slot in 0..APPLICATION {
            let Some(place) = self.place_of(slot).await else {
                continue;
            };
            let told = self.template.program.ask(&place).await.ok();
            // While connections move, every count may be an instance's last word.
            settled &= told.as_ref().is_some_and(|told| told.is_verified() && !told.session);
            self.heard(slot, &place, told.clone()).await;
            let Some(told) = told else { continue };
            for due in self.due(slot, &place, &told).await {
                settled = false;
                self.tell(slot, &place, due).await;
            }
        }
        self.judge().await;
        settled
    }

    /// The place of what runs in a slot.
    pub(crate) async fn place_of(&self, slot: usize) -> Option<Place> {
        let inner = self.inner.lock().await;
        let live = inner.lives[slot].as_ref()?;
        Some(self.place(slot, &live.run))
    }

    /// Takes in what an instance says of itself.
    pub(crate) async fn heard(&self, slot: usize, place: &Place, told: Option<Told>) {
        let mut inner = self.inner.lock().await;
        let acknowledged = told.as_ref().and_then(|told| told.config.acknowledged.clone());
        let due = matches!(inner.state.way, Way::Closed { reopen_by_ms } if now_ms() >= reopen_by_ms);
        let is_open = inner.state.way == Way::Open;
        let Some(live) = inner.lives[slot]
            .as_mut()
            .filter(|live| live.run.instance == place.instance.0)
        else {
            return;
        };
        // It was opened again before this one had closed it.
        live.born_closed &= !is_open;
        let tells_way = told.as_ref().and_then(|told| told.ingress);
        if let Some(way) = tells_way {
            live.way = Some(way);
            live.born_closed &= way != Ingress::Closed;
        }
        live.was_verified |= told.as_ref().is_some_and(Told::is_verified);
        // Its time has come, and it is open: by itself, or since it began so and has become well.
        let well = tells_way.is_some() || told.as_ref().is_some_and(Told::is_verified);
        let reopened = due && well && live.way == Some(Ingress::Open);
        live.born_closed &= !reopened;
        live.told = told;
        let is_new = acknowledged.is_some()
            && acknowledged == inner.state.config.wanted
            && acknowledged != inner.state.config.good;
        if is_new || reopened {
            let mut state = inner.state.clone();
            if is_new {
                state.config.good = acknowledged;
            }
            if reopened {
                state.way = Way::Open;
            }
            // What cannot be written now is written after the next look.
            let _ = self.write(&mut inner, state).await;
        }
    }

    /// What an instance has to be told, by what it says of itself.
    async fn due(&self, slot: usize, place: &Place, told: &Told) -> Vec<Due> {
        let able = self.template.program.able();
        let inner = self.inner.lock().await;
        let mut due = Vec::new();
        let Some(live) = inner.lives[slot]
            .as_ref()
            .filter(|live| live.run.instance == place.instance.0)
        else {
            return due;
        };
        if able.hand_over && told.generation < inner.state.fence {
            due.push(Due::Fence(inner.state.fence));
        }
        if able.ingress {
            let shown = told.ingress.or(live.way);
            let keeps_time = told.ingress.is_some();
            match inner.state.way {
                Way::Open if shown != Some(Ingress::Open) => due.push(Due::Way(IngressOrder::Open)),
                Way::Open => {}
                Way::Closed { reopen_by_ms } => {
                    let close = IngressOrder::Close { reopen_by_ms };
                    let over = now_ms() >= reopen_by_ms;
                    let knows =
                        shown == Some(Ingress::Closed) && (!keeps_time || told.reopen_by_ms == Some(reopen_by_ms));
                    let open = shown == Some(Ingress::Open);
                    if !knows && (!over || keeps_time && !open) {
                        due.push(Due::Way(close));
                    } else if over && !keeps_time && !open && told.is_verified() {
                        // Its time has come and it is well; a sidecar sees to that itself.
                        due.push(Due::Way(IngressOrder::Open));
                    }
                }
            }
        }
        if able.config {
            let config = &inner.state.config;
            let has = told.config.acknowledged.as_ref();
            let wanted = config.wanted.as_ref().filter(|wanted| {
                let refused = told.config.refused.as_ref().map(|(version, _)| version);
                refused != Some(*wanted) && live.refused.as_ref() != Some(*wanted)
            });
            match (wanted, &config.good) {
                // One that was started anew first gets what the one before worked by.
                (_, Some(good)) if has.is_none() => due.push(Due::Config(good.clone())),
                (Some(wanted), _) if has != Some(wanted) => due.push(Due::Config(wanted.clone())),
                _ => {}
            }
        }
        due
    }

    /// Tells every instance of the way at once, so that whoever has ordered it need not wait for the next look. One that
    /// does not hear is told again by the task.
    pub(crate) async fn tell_way(&self, order: IngressOrder) {
        for slot in 0..APPLICATION {
            let Some(place) = self.place_of(slot).await else {
                continue;
            };
            let answer = self.template.program.ingress(&place, order).await;
            self.told(slot, &place, Due::Way(order), &answer).await;
        }
    }

    /// Tells an instance one thing, and takes in what it made of it.
    async fn tell(&self, slot: usize, place: &Place, due: Due) {
        let program = &self.template.program;
        // An order that is being given tells the way itself, and later than what was due before it.
        let _orders = if let Due::Way(order) = due {
            let Ok(orders) = self.orders.try_lock() else { return };
            let ordered = self.inner.lock().await.state.way;
            let holds = match order {
                IngressOrder::Open => !matches!(ordered, Way::Closed { reopen_by_ms } if now_ms() < reopen_by_ms),
                IngressOrder::Close { reopen_by_ms } => ordered == Way::Closed { reopen_by_ms },
            };
            if !holds {
                return;
            }
            Some(orders)
        } else {
            None
        };
        let answer = match &due {
            Due::Fence(generation) => program.fence(place, Generation(*generation)).await,
            Due::Way(order) => program.ingress(place, *order).await,
            Due::Config(version) => program.config(place, version).await,
        };
        self.told(slot, place, due, &answer).await;
    }

    /// Takes in what an instance made of what it was told.
    async fn told(&self, slot: usize, place: &Place, due: Due, answer: &Answer) {
        let mut inner = self.inner.lock().await;
        let way = inner.state.way;
        let Some(live) = inner.lives[slot]
            .as_mut()
            .filter(|live| live.run.instance == place.instance.0)
        else {
            return;
        };
        match due {
            Due::Fence(_) => {}
            Due::Way(order) if answer.is_done() => {
                let open = order == IngressOrder::Open;
                live.way = Some(if open { Ingress::Open } else { Ingress::Closed });
                live.born_closed = false;
                let was_closed = matches!(way, Way::Closed { reopen_by_ms } if now_ms() >= reopen_by_ms);
                if open && was_closed {
                    let mut state = inner.state.clone();
                    state.way = Way::Open;
                    // What cannot be written now is written when it is looked at next.
                    let _ = self.write(&mut inner, state).await;
                }
            }
            // It may have heard it or not.
            Due::Way(_) if matches!(answer, Answer::Unknown(_)) => live.way = None,
            Due::Way(_) => {}
            Due::Config(version) => {
                if matches!(answer, Answer::Failed(_)) {
                    live.refused = Some(version);
                }
            }
        }
    }

    /// Tells the news of a target that became ill or well by itself.
    async fn judge(&self) {
        let mut inner = self.inner.lock().await;
        let serving = inner.state.serving(self.committed());
        let Some(live) = &inner.lives[serving] else { return };
        let verified = live.told.as_ref().is_some_and(Told::is_verified);
        let fell_ill = live.was_verified && !live.is_ending();
        match (verified, inner.well) {
            (true, false) => {
                inner.well = true;
                let target = self.id.clone();
                self.house.tell(FleetChange::BecameHealthy { target });
            }
            (false, true) if fell_ill => self.told_ill(&mut inner),
            _ => {}
        }
    }
}
