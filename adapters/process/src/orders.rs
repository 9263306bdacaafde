//! Effects at one target: checked by fence and key, durable with their key in one write, carried out by its task.
use unattended_upgrade::{EffectKey, EffectOutcome, Generation, HandoverOrder, IngressOrder, InstanceId, Version};

use crate::keeper::{Inner, Keeper, unborn};
use crate::program::Answer;
use crate::state::{APPLICATION, State, Unwritten, Way};

/// When a disk that was full is tried again.
const DISK_MS: u64 = 1_000;

/// How often, and how many times, it is looked whether another instance runs.
const ANOTHER_LOOK: std::time::Duration = std::time::Duration::from_millis(10);
const ANOTHER_LOOKS: u32 = 300;

/// Why an order is not carried out.
type Refusal = Result<(), String>;

impl Keeper {
    /// Refuses everything of lower generations from now on.
    pub(crate) async fn fence(&self, generation: Generation) -> EffectOutcome {
        // An order that is on its way to an agent has been answered, or given up, before this begins.
        let _orders = self.orders.lock().await;
        let outcome = {
            let mut inner = self.inner.lock().await;
            if inner.state.gone {
                return no_target(&self.id);
            }
            match generation.0.cmp(&inner.state.fence) {
                std::cmp::Ordering::Less => return EffectOutcome::Stale,
                std::cmp::Ordering::Equal => EffectOutcome::AlreadyApplied,
                std::cmp::Ordering::Greater => {
                    let mut state = inner.state.clone();
                    state.fence = generation.0;
                    match self.write(&mut inner, state).await {
                        Ok(()) => EffectOutcome::Applied,
                        Err(error) => return unwritten(&error),
                    }
                }
            }
        };
        self.wake.notify_one();
        self.recall(generation).await.unwrap_or(outcome)
    }

    /// Instances that may still read an order which was given up are told of the fence before that is said to stand.
    async fn recall(&self, generation: Generation) -> Option<EffectOutcome> {
        let sent = self.inner.lock().await.state.sent.clone();
        if sent.is_empty() {
            return None;
        }
        for slot in 0..APPLICATION {
            let Some(place) = self
                .place_of(slot)
                .await
                .filter(|place| sent.contains(&place.instance.0))
            else {
                continue;
            };
            let answer = self.template.program.fence(&place, generation).await;
            if !answer.is_done() {
                let instance = place.instance.0;
                let reason = format!("instance {instance} may still read an order of before: {answer:?}").into();
                return Some(EffectOutcome::Unknown { reason });
            }
        }
        // They are told, or have ended and read nothing any more.
        let mut inner = self.inner.lock().await;
        let state = State {
            sent: Vec::new(),
            ..inner.state.clone()
        };
        self.write(&mut inner, state).await.err().map(|error| unwritten(&error))
    }

    /// Checks and writes one order; what it changes is its own.
    async fn effect(
        &self,
        key: &EffectKey,
        change: impl FnOnce(&Self, &Inner, &mut State) -> Refusal + Send,
    ) -> EffectOutcome {
        let _orders = self.orders.lock().await;
        self.apply(key, change).await
    }

    /// As [`effect`](Self::effect), of an order that starts a version: that is rehearsed first, `beside` what serves or alone.
    async fn start_effect(
        &self,
        key: &EffectKey,
        version: &Version,
        beside: bool,
        change: impl FnOnce(&Self, &Inner, &mut State) -> Refusal + Send,
    ) -> EffectOutcome {
        let _orders = self.orders.lock().await;
        let serves = {
            let inner = self.inner.lock().await;
            if let Some(outcome) = self.known(&inner, key) {
                return outcome;
            }
            if let Err(error) = self.can_start(version) {
                let reason = error.to_string().into();
                return EffectOutcome::Failed { reason };
            }
            let serving = inner.state.serving(self.committed());
            let live = inner.lives[serving]
                .as_ref()
                .filter(|live| beside && live.run.version != *version);
            live.map(|live| self.place(serving, &live.run))
        };
        let place = self.place(0, &unborn(version));
        if let Err(words) = self.template.program.rehearse(&place, serves.as_ref()).await {
            return EffectOutcome::Failed { reason: words.into() };
        }
        self.apply(key, change).await
    }

    async fn apply(
        &self,
        key: &EffectKey,
        change: impl FnOnce(&Self, &Inner, &mut State) -> Refusal + Send,
    ) -> EffectOutcome {
        let mut inner = self.inner.lock().await;
        if let Some(outcome) = self.known(&inner, key) {
            return outcome;
        }
        let mut state = inner.state.clone();
        if let Err(words) = change(self, &inner, &mut state) {
            return EffectOutcome::Failed { reason: words.into() };
        }
        state.last = Some(*key);
        let written = self.write(&mut inner, state).await;
        inner.forget_exits();
        drop(inner);
        self.wake.notify_one();
        match written {
            Ok(()) => EffectOutcome::Applied,
            Err(error) => unwritten(&error),
        }
    }

    /// What fence and key say by themselves.
    fn known(&self, inner: &Inner, key: &EffectKey) -> Option<EffectOutcome> {
        if inner.state.gone {
            return Some(no_target(&self.id));
        }
        if key.generation.0 < inner.state.fence {
            return Some(EffectOutcome::Stale);
        }
        let last = inner.state.last.as_ref()?;
        if last == key {
            return Some(EffectOutcome::AlreadyApplied);
        }
        key.is_older_than(last).then_some(EffectOutcome::Stale)
    }

    pub(crate) async fn replace(&self, version: &Version, key: &EffectKey, application: bool) -> EffectOutcome {
        if self.template.program.overlaps().is_some() && !application {
            self.ask_again().await;
        }
        self.start_effect(key, version, false, |keeper, inner, state| {
            let committed = keeper.committed();
            let serving = state.serving(committed);
            if application {
                state.seats[APPLICATION].round += 1;
            }
            let overlaps = keeper.template.program.overlaps().is_some();
            let runs = inner.lives[serving].as_ref().is_some_and(|live| {
                !live.process.has_ended() && live.told.as_ref().is_some_and(crate::program::Told::is_verified)
            });
            let other = 1 - serving;
            if overlaps && !application && state.seats[other].yields {
                // Two already overlap, and the older one serves: what was to follow it is replaced itself.
                state.fill(serving, version);
            } else if overlaps && runs && !application {
                // One that is still on its way out of the other slot ends first.
                state.seats[serving].yields = true;
                state.fill(other, version);
                state.home = other;
            } else {
                state.empty(other);
                state.fill(serving, version);
                state.home = serving;
            }
            Ok(())
        })
        .await
    }

    /// One look that was not answered is no reason to replace alone what could be followed: it is asked once more.
    async fn ask_again(&self) {
        let serving = self.inner.lock().await.state.serving(self.committed());
        let Some(place) = self.place_of(serving).await else {
            return;
        };
        let silent = {
            let inner = self.inner.lock().await;
            inner.lives[serving].as_ref().is_some_and(|live| live.told.is_none())
        };
        if silent {
            let told = self.template.program.ask(&place).await.ok();
            self.heard(serving, &place, told).await;
        }
    }

    pub(crate) async fn ingress(&self, order: IngressOrder, key: &EffectKey) -> EffectOutcome {
        let _orders = self.orders.lock().await;
        let outcome = self
            .apply(key, |_, _, state| {
                state.way = match order {
                    IngressOrder::Open => Way::Open,
                    IngressOrder::Close { reopen_by_ms } => Way::Closed { reopen_by_ms },
                };
                Ok(())
            })
            .await;
        if outcome == EffectOutcome::Applied {
            // Whoever had heard of the order before hears of this one anew.
            self.inner.lock().await.closed_since_ms = None;
            self.tell_way(order).await;
        }
        outcome
    }

    pub(crate) async fn apply_config(&self, version: &Version, key: &EffectKey) -> EffectOutcome {
        self.effect(key, |keeper, inner, state| {
            if let Some(live) = inner.lives.iter().flatten().next() {
                keeper
                    .template
                    .program
                    .config_file(&keeper.place(0, &live.run), version)?;
            }
            state.config.wanted = Some(version.clone());
            Ok(())
        })
        .await
    }

    pub(crate) async fn spawn(&self, version: &Version, key: &EffectKey) -> EffectOutcome {
        self.start_effect(key, version, true, |_, inner, state| {
            if let Some(slot) = state.slot_of(version) {
                if inner.lives[slot].as_ref().is_none_or(|live| live.process.has_ended()) {
                    state.seats[slot].ended = None;
                }
                return Ok(());
            }
            let Some(free) = (0..2).find(|slot| state.seats[*slot].version.is_none()) else {
                return Err(format!("no slot is free for {version}: empty one first"));
            };
            if state.seats[1 - free].version.is_some() {
                state.home = 1 - free;
            }
            state.fill(free, version);
            Ok(())
        })
        .await
    }

    pub(crate) async fn stop(&self, instance: InstanceId, key: &EffectKey) -> EffectOutcome {
        self.effect(key, |_, inner, state| {
            for slot in 0..APPLICATION {
                let runs = inner.lives[slot]
                    .as_ref()
                    .is_some_and(|live| live.run.instance == instance.0);
                if runs {
                    state.seats[slot].ended = Some(instance.0);
                }
            }
            Ok(())
        })
        .await
    }

    pub(crate) async fn reset(&self, version: &Version, key: &EffectKey) -> EffectOutcome {
        self.effect(key, |_, _, state| {
            if let Some(slot) = state.slot_of(version) {
                state.empty(slot);
            }
            Ok(())
        })
        .await
    }

    /// Leads an order to an agent. The agents carry it out themselves and know each order when they hear it twice; so the key
    /// is written when they have it, and before that only that they may.
    pub(crate) async fn hand_over(
        &self,
        order: HandoverOrder,
        from: &Version,
        to: &Version,
        key: &EffectKey,
    ) -> EffectOutcome {
        let _orders = self.orders.lock().await;
        if order == HandoverOrder::Return
            && self.template.program.returning_ms().is_some()
            && let Some(outcome) = self.return_by_start(from, to, key).await
        {
            return outcome;
        }
        let (here, peer, sent_before) = {
            let mut inner = self.inner.lock().await;
            if let Some(outcome) = self.known(&inner, key) {
                return outcome;
            }
            let place = |version: &Version| {
                let slot = inner.lives[..APPLICATION].iter().position(|live| {
                    let live = live.as_ref().filter(|live| !live.process.has_ended());
                    live.is_some_and(|live| live.run.version == *version && !live.is_ending())
                })?;
                inner.lives[slot].as_ref().map(|live| self.place(slot, &live.run))
            };
            let (old, new) = (place(from), place(to));
            let (here, peer, named) = match order {
                HandoverOrder::Accept | HandoverOrder::Commit => (new, old, to),
                _ => (old, new, from),
            };
            // An offer is a call to the new one first, and needs both.
            let (here, peer) = match (here, peer) {
                (Some(here), peer) if peer.is_some() || order != HandoverOrder::Offer => (here, peer),
                (here, _) => {
                    let missing = if here.is_none() { named } else { to };
                    let slot = inner.state.slot_of(missing);
                    // What has just died and is started again can be asked in a moment.
                    if slot.is_some_and(|slot| inner.is_to_run(slot, self.committed())) {
                        return EffectOutcome::Retry { after_ms: 50 };
                    }
                    let reason = format!("no instance of {missing} runs at {}", self.id).into();
                    return EffectOutcome::Failed { reason };
                }
            };
            let mut state = inner.state.clone();
            let called = peer.iter().filter(|_| order == HandoverOrder::Offer);
            for place in called.chain([&here]) {
                if !state.sent.contains(&place.instance.0) {
                    state.sent.push(place.instance.0);
                }
            }
            let before = inner.state.sent.clone();
            if order == HandoverOrder::Offer {
                // Both count anew from here on.
                (state.kept, state.offered) = (unattended_upgrade::Moves::default(), true);
            }
            if let Err(error) = self.write(&mut inner, state).await {
                return unwritten(&error);
            }
            (here, peer, before)
        };
        let answer = self
            .template
            .program
            .hand_over(order, key.generation, &here, peer.as_ref())
            .await;
        let mut inner = self.inner.lock().await;
        let mut state = inner.state.clone();
        if !matches!(answer, Answer::Unknown(_)) {
            state.sent = sent_before;
        }
        if answer.is_done() {
            state.last = Some(*key);
        }
        let written = self.write(&mut inner, state).await;
        drop(inner);
        self.wake.notify_one();
        match (answer, written) {
            (_, Err(error)) => EffectOutcome::Unknown {
                reason: format!("the agent was told, and that cannot be written: {error:?}").into(),
            },
            // The key was not known here, so it is applied now, whatever an agent remembers.
            (Answer::Applied | Answer::AlreadyApplied, _) => EffectOutcome::Applied,
            (Answer::Stale, _) => EffectOutcome::Stale,
            (Answer::Retry { after_ms }, _) => EffectOutcome::Retry { after_ms },
            (Answer::Failed(words), _) => EffectOutcome::Failed { reason: words.into() },
            (Answer::Unknown(words), _) => EffectOutcome::Unknown { reason: words.into() },
            // Nobody listens yet, or any more.
            (Answer::NotAsked(_), _) => EffectOutcome::Retry { after_ms: 50 },
        }
    }

    /// The way back where the old instance has lost its listeners for good: another one of its version takes over, in its
    /// slot, from the new one if that lives. `None` if the old one still polls, or has not been let in yet itself.
    async fn return_by_start(&self, from: &Version, to: &Version, key: &EffectKey) -> Option<EffectOutcome> {
        let (slot, place) = {
            let inner = self.inner.lock().await;
            if let Some(outcome) = self.known(&inner, key) {
                return Some(outcome);
            }
            let slot = inner.state.slot_of(from)?;
            let live = inner.lives[slot].as_ref().filter(|live| !live.process.has_ended());
            (slot, live.map(|live| self.place(slot, &live.run)))
        };
        if let Some(place) = &place {
            let program = &self.template.program;
            let told = program.ask(place).await.ok();
            let polls = told.as_ref().is_some_and(|told| told.accepting);
            if polls || program.waits(place, told.as_ref()) {
                return None;
            }
        }
        {
            let mut inner = self.inner.lock().await;
            let mut state = inner.state.clone();
            let other = 1 - slot;
            // One that follows the new one already is not followed by another.
            if !state.seats[other].yields {
                state.seats[slot].round += 1;
                state.home = slot;
            }
            let lives = inner.lives[other]
                .as_ref()
                .is_some_and(|live| !live.process.has_ended());
            if lives {
                state.seats[other].yields = true;
            } else if state.seats[other].version.as_ref() == Some(to) {
                state.empty(other);
            }
            state.last = Some(*key);
            let written = self.write(&mut inner, state).await;
            inner.forget_exits();
            if let Err(error) = written {
                return Some(unwritten(&error));
            }
        }
        self.wake.notify_one();
        self.wait_for_another(slot, place.map(|place| place.instance)).await;
        Some(EffectOutcome::Applied)
    }

    /// Returns when another instance runs in a slot than before, or soon all the same: what is durable comes true anyway, and
    /// whoever looks in between sees a slot in which nothing runs.
    async fn wait_for_another(&self, slot: usize, before: Option<InstanceId>) {
        for _ in 0..ANOTHER_LOOKS {
            let place = self.place_of(slot).await;
            if place.is_some_and(|place| Some(place.instance) != before) {
                return;
            }
            tokio::time::sleep(ANOTHER_LOOK).await;
        }
    }

    /// Changes what is to be without a key: the adapter's owner speaks, not a controller.
    pub(crate) async fn settle(&self, change: impl FnOnce(&mut State) + Send) -> Result<(), std::io::Error> {
        let mut inner = self.inner.lock().await;
        let mut state = inner.state.clone();
        change(&mut state);
        let written = self.write(&mut inner, state).await;
        drop(inner);
        self.wake.notify_one();
        written.map_err(|(Unwritten::Not(error) | Unwritten::Unsure(error))| error)
    }
}

pub(crate) fn no_target(id: &unattended_upgrade::TargetId) -> EffectOutcome {
    EffectOutcome::Failed {
        reason: format!("there is no target {id}").into(),
    }
}

fn unwritten(error: &Unwritten) -> EffectOutcome {
    match error {
        // A full disk is for now.
        Unwritten::Not(_) => EffectOutcome::Retry { after_ms: DISK_MS },
        Unwritten::Unsure(error) => EffectOutcome::Unknown {
            reason: format!("it is written, and may not outlive a power cut: {error}").into(),
        },
    }
}
