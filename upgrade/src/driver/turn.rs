use std::sync::Arc;

use futures::future::BoxFuture;

use super::calls::{Answer, within};
use super::control::DECIDED_LONG_AGO;
use super::send::Order;
use super::{Attempt, Driver, DriverError, Dropped, EndIs, Place, Stage};
use crate::machine::{Command, Effect, Event, Machine, Which};
use crate::record::Told;
use crate::{
    EffectKey, EffectOutcome, Generation, Group, Journal, JournalError, Position, Reason, Receipt, Step, Terminal,
    UpgradeRecord,
};

/// What one turn brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Turn {
    /// Attempts that ended, in the order they began. Their records are durable.
    pub finished: Vec<Receipt>,
    /// When the next turn is due by time, on the driver's monotonic clock: now or earlier means at once. `None`: what is
    /// under way, if anything is ([`Driver::outstanding`]), waits for answers alone. [`Driver::attend`] waits for either.
    pub next_due_ms: Option<u64>,
    /// Jobs that will never begin, since the turn before.
    pub dropped: Vec<Dropped>,
    /// A group was appended to the journal.
    pub appended: bool,
    /// Calls at the platform that have not answered yet. Their answers are taken in later turns.
    pub unanswered: usize,
    /// Attempts at which the last look could not be had. They do nothing until one can, and after
    /// [`Timing::blind_ms`](crate::Timing::blind_ms) they end with [`Reason::Unobservable`](crate::Reason::Unobservable).
    pub blind: usize,
    /// Since when the first of them is blind, on the driver's monotonic clock.
    pub blind_since_ms: Option<u64>,
}

impl Driver {
    /// Takes one turn: begins what there is room for, looks at what is due, appends all that follows from it as one
    /// group together with what was [`attach`](Self::attach)ed, and only then sends the effects.
    ///
    /// `may_act` is asked right before each effect (and before the fencing that precedes an attempt's first). Where it
    /// says no the effect is not sent, and it is asked again at a later look.
    ///
    /// A platform that cannot be observed decides nothing: everybody looks again later, until patience is over. After
    /// [`DriverError::Journal`] nothing was sent and the next turn, which is due after
    /// [`DriverConfig::patience_ms`](crate::DriverConfig::patience_ms), appends the same records first; after
    /// [`JournalError::Silent`] nothing was sent and the next turn waits for the same append first.
    ///
    /// A call that does not answer holds up nobody else: the turn goes on without it after
    /// [`DriverConfig::patience_ms`](crate::DriverConfig::patience_ms), or as soon as another attempt is due. After
    /// [`DriverConfig::call_ms`](crate::DriverConfig::call_ms) its future is dropped; an effect is
    /// [`EffectOutcome::Unknown`] then, which the target's next look and the same key settle, and a look is had again.
    pub fn turn<'a>(
        &'a mut self,
        may_act: &'a mut (dyn FnMut(&EffectKey) -> bool + Send),
    ) -> BoxFuture<'a, Result<Turn, DriverError>> {
        // Boxed, as all of this crate's that is large: what is not is compiled with every program that awaits it.
        Box::pin(async move {
            match self.stage {
                Stage::InTurn => return Err(DriverError::Interrupted),
                Stage::Replaying => return Err(DriverError::NotResumed),
                Stage::Unreadable => return Err(DriverError::NotUnderstood),
                Stage::Fresh | Stage::Ready => self.stage = Stage::InTurn,
            }
            let turn = self.take_turn(may_act).await;
            self.stage = Stage::Ready;
            turn
        })
    }

    async fn take_turn(&mut self, may_act: &mut (dyn FnMut(&EffectKey) -> bool + Send)) -> Result<Turn, DriverError> {
        let mut appended = self.appending.is_some();
        if appended {
            self.append().await?;
        }
        let now = self.clock.now();
        self.drop_late(now);
        self.begin(now);
        self.look(now).await;
        if !self.outbox.is_empty() {
            appended = true;
            self.append().await?;
        }
        let finished = std::mem::take(&mut self.receipts);
        self.send(may_act).await;
        let dropped = std::mem::take(&mut self.dropped);
        Ok(Turn {
            finished,
            appended,
            next_due_ms: self.next_due_ms(),
            dropped,
            unanswered: self.unanswered(),
            blind: self.blind.len(),
            blind_since_ms: self.blind.first().map(|(since, _)| *since),
        })
    }

    /// Orders for which there is no room wait for an answer, which makes room; others are due, as those are with which a
    /// recovery begins.
    pub(super) fn next_due_ms(&self) -> Option<u64> {
        if self.append_again_ms.is_some() && self.has_to_append() {
            return self.append_again_ms;
        }
        if self.has_room() || self.has_answer() || self.has_order() || !self.dropped.is_empty() {
            return Some(self.clock.now());
        }
        let next_look = self.looks.keys().next().copied();
        let next_late = self.waiting.next_late_ms();
        [next_look, next_late].into_iter().flatten().min()
    }

    /// An append is under way, or there is something to append.
    fn has_to_append(&self) -> bool {
        self.appending.is_some() || !self.outbox.is_empty()
    }

    /// A job may begin now.
    fn has_room(&self) -> bool {
        self.waiting.is_ready() && self.in_flight < self.config.max_in_flight
    }

    /// Until when this turn may wait for answers: others have something to do then.
    pub(super) fn patient_until(&self) -> u64 {
        let now = self.clock.now();
        if self.has_room() {
            return now;
        }
        let next_look = self.looks.range(now + 1..).next().map(|(at, _)| *at);
        let most = now.saturating_add(self.config.patience_ms);
        next_look.map_or(most, |at| at.min(most))
    }

    /// Makes the outbox durable. Records that a failed append may have left in the journal are not written twice, and an
    /// append that has not answered is waited for anew, not made again. Where all of them are there, nothing is appended.
    async fn append(&mut self) -> Result<(), DriverError> {
        let appended = self.try_to_append().await;
        let again_ms = self.clock.now().saturating_add(self.config.patience_ms);
        self.append_again_ms = appended.is_err().then_some(again_ms);
        appended
    }

    async fn try_to_append(&mut self) -> Result<(), DriverError> {
        let clock = Arc::clone(&self.clock);
        let call_ms = self.config.call_ms;
        if self.appending.is_none() {
            if self.in_doubt > 0 || self.end_is != EndIs::Seen {
                self.find_end().await?;
            }
            if self.outbox.is_empty() {
                // All of it is there already: there is nothing that could be refused now.
                return Ok(());
            }
            let (journal, group) = (Arc::clone(&self.journal), std::mem::take(&mut self.outbox));
            let expected = self.appended_to;
            self.appending = Some(Answer::new(async move {
                let answer = journal.append_at(expected, &group).await;
                (group, answer)
            }));
        }
        let Some(appending) = &mut self.appending else {
            return Ok(());
        };
        let until_ms = clock.now().saturating_add(call_ms);
        let (mut group, answer) = within(clock.as_ref(), until_ms, appending)
            .await
            .ok_or(JournalError::Silent { call_ms })?;
        self.appending = None;
        match answer {
            Ok(found) => {
                let expected = self.appended_to;
                if found == expected {
                    self.appended_to = found + Position::from(group.len());
                    if self.outbox.is_empty() {
                        group.clear();
                        self.outbox = group;
                    }
                    return Ok(());
                }
                self.put_back(group);
                Err(DriverError::OtherWriter { expected, found })
            }
            Err(JournalError::NotAtEnd { expected, found }) => {
                // None of it is there, and it stays so: each further turn looks at the end first.
                self.put_back(group);
                (self.in_doubt, self.end_is) = (0, EndIs::Read);
                Err(DriverError::OtherWriter { expected, found })
            }
            Err(error) => {
                self.put_back(group);
                Err(error.into())
            }
        }
    }

    /// Whether the records of a group are in the journal is not known.
    fn put_back(&mut self, mut group: Group) {
        self.in_doubt = group.len();
        group.extend(&self.outbox);
        self.outbox = group;
    }

    /// A journal must not have kept what it failed to append, but a lost answer is no proof: its end tells, and what stands
    /// before it.
    async fn find_end(&mut self) -> Result<(), DriverError> {
        let journal = self.journal_reader();
        let found = journal.end().await?;
        let expected = self.appended_to;
        if found > 0 && self.end_is == EndIs::Unread {
            return Err(DriverError::NotReplayed { found });
        }
        if found != expected {
            let ours = self.in_doubt > 0 && found == expected + Position::from(self.in_doubt);
            if !ours
                || journal
                    .differs_at(expected, &self.outbox.up_to_record(self.in_doubt))
                    .await?
            {
                return Err(DriverError::OtherWriter { expected, found });
            }
            self.outbox = self.outbox.from_record(self.in_doubt);
        }
        (self.in_doubt, self.appended_to, self.end_is) = (0, found, EndIs::Seen);
        Ok(())
    }

    /// Begins queued jobs while there is room. Their first look is due at once.
    fn begin(&mut self, now: u64) {
        while self.in_flight < self.config.max_in_flight {
            let Some((id, job, group)) = self.waiting.pop() else {
                return;
            };
            let held = self.targets.entry(job.target.clone()).or_default();
            let first = self.config.first_generation;
            held.generation = Generation(held.generation.0.saturating_add(1).max(first));
            let generation = held.generation;
            let plan = self.plan(id, job.mode, job.from, job.to);
            let mut machine = Machine::new(plan, Arc::clone(&self.timing));
            let decided_ms = job.decided_ms.unwrap_or(now);
            let command = if self.is_too_late(decided_ms, now) {
                // Its place is for whoever comes behind it: of many that waited too long each would make the next one wait.
                let by = DECIDED_LONG_AGO.into();
                Command::Finish(Terminal::Rejected {
                    reason: Reason::Aborted { by },
                })
            } else {
                machine.begin(now)
            };
            let slot = self.put(Attempt {
                id,
                generation,
                target: job.target,
                group,
                look_ms: None,
                barred_since: None,
                blind: None,
                machine,
                started_ms: now,
                decided_ms,
                recoveries: 0,
                begun: false,
                turned_back: false,
                fenced: false,
                disturbs: false,
                hung: false,
                silent: false,
                told: Told::Nothing,
                intended: None,
                ended: None,
            });
            self.obey(slot, command, now);
        }
    }

    pub(super) fn feed(&mut self, slot: usize, event: Event<'_>, now: u64) {
        if let Some(attempt) = &mut self.slots[slot] {
            let command = attempt.machine.next(event);
            self.obey(slot, command, now);
        }
    }

    /// Writes the intent and queues the effect behind the append.
    pub(super) fn intend(&mut self, slot: usize, effect: Effect, place: (Step, u8), left_ms: u64, now: u64) {
        let (step, ordinal) = place;
        self.write_begin(slot);
        let Some(attempt) = &mut self.slots[slot] else { return };
        if matches!(effect, Effect::Close { .. }) {
            attempt.barred_since = None;
        }
        let plan = attempt.machine.plan();
        let version = match effect {
            Effect::Replace(Which::Old)
            | Effect::ReplaceInPlace(Which::Old)
            | Effect::Spawn(Which::Old)
            | Effect::Reset(Which::Old)
            | Effect::ApplyConfig(Which::Old) => plan.from.clone(),
            _ => plan.to.clone(),
        };
        let order = Order {
            slot,
            effect,
            target: attempt.target.clone(),
            from: plan.from.clone(),
            version,
            left_ms,
            apart: attempt.hung,
            fence_first: self.capabilities.fence && !attempt.fenced && effect != Effect::Fence,
            key: EffectKey {
                attempt: attempt.id,
                generation: attempt.generation,
                step: step.number(),
                ordinal,
            },
        };
        // A fencing is announced by the record that took the generation.
        if effect != Effect::Fence && attempt.intended.replace(place) != Some(place) {
            let record = UpgradeRecord::Intent {
                attempt: attempt.id,
                step,
                ordinal,
                before: std::mem::take(&mut attempt.told),
                after_ms: now.saturating_sub(attempt.started_ms),
                left_ms: Some(left_ms),
                so_far: Some(attempt.machine.so_far(now)),
            };
            self.write_back(slot, now);
            self.write(&record);
        }
        let orders = if order.apart {
            &mut self.orders_apart
        } else {
            &mut self.orders
        };
        orders.push_back(order);
    }

    /// The begin of an attempt, once.
    fn write_begin(&mut self, slot: usize) {
        let Some(attempt) = self.slots[slot].as_mut().filter(|attempt| !attempt.begun) else {
            return;
        };
        attempt.begun = true;
        let (from, to) = (attempt.machine.plan().from.clone(), attempt.machine.plan().to.clone());
        let mut record = UpgradeRecord::Begun {
            attempt: attempt.id,
            target: attempt.target.clone(),
            generation: attempt.generation,
            mode: attempt.machine.plan().mode,
            from: 0,
            to: 0,
            at_ms: attempt.started_ms,
            was_healthy: attempt.machine.was_healthy(),
            group: self.waiting.name_of(attempt.group),
        };
        let (from_number, to_number) = (self.number_of(&from), self.number_of(&to));
        if let UpgradeRecord::Begun { from, to, .. } = &mut record {
            (*from, *to) = (from_number, to_number);
        }
        self.write(&record);
    }

    /// The turning back of an attempt, once.
    fn write_back(&mut self, slot: usize, now: u64) {
        let Some(attempt) = self.slots[slot].as_mut().filter(|attempt| !attempt.turned_back) else {
            return;
        };
        if let Some(reason) = attempt.machine.went_back() {
            attempt.turned_back = true;
            let record = UpgradeRecord::Backward {
                attempt: attempt.id,
                reason: reason.clone(),
                after_ms: now.saturating_sub(attempt.started_ms),
            };
            self.write(&record);
        }
    }

    /// Writes the end and frees the slot.
    pub(super) fn finish(&mut self, slot: usize, terminal: Terminal, now: u64) {
        self.write_begin(slot);
        self.write_back(slot, now);
        self.see(slot);
        let Some(attempt) = self.slots[slot].take() else { return };
        self.free.push(slot);
        self.in_flight -= 1;
        if let Some(held) = self.targets.get_mut(&attempt.target) {
            held.place = Place::Idle;
        }
        self.waiting.ended(attempt.group);
        let counts = attempt.machine.so_far(now).counts;
        let plan = attempt.machine.plan();
        let receipt = Receipt {
            attempt: attempt.id,
            target: attempt.target.clone(),
            generation: attempt.generation,
            mode: plan.mode,
            from: plan.from.clone(),
            to: plan.to.clone(),
            terminal,
            went_back: attempt.machine.went_back().cloned(),
            started_ms: attempt.started_ms,
            finished_ms: now.max(attempt.started_ms),
            outage_ms: counts.outage_ms,
            drained: counts.drained,
            cut: counts.cut,
            moves: counts.moves,
            retries: counts.retries,
            recoveries: attempt.recoveries,
            was_healthy: attempt.machine.was_healthy(),
        };
        self.write(&UpgradeRecord::Finished {
            attempt: receipt.attempt,
            terminal: receipt.terminal.clone(),
            went_back: receipt.went_back.clone(),
            before: attempt.told,
            after_ms: receipt.finished_ms - receipt.started_ms,
            counts,
        });
        self.succeed(&receipt);
        self.receipts.push(receipt);
    }

    /// What became of an effect. It becomes durable with the attempt's next record.
    pub(super) fn settle(&mut self, slot: usize, outcome: Option<&EffectOutcome>, now: u64) {
        let Some(attempt) = &mut self.slots[slot] else { return };
        let command = match outcome {
            None => attempt.machine.next(Event::Withheld { now_ms: now }),
            Some(outcome) => {
                attempt.told = Told::from(outcome);
                attempt.machine.next(Event::Outcome { now_ms: now, outcome })
            }
        };
        if let Command::Finish(terminal) = command {
            // Its record is due in the next turn, which is due at once.
            attempt.ended = Some(Box::new(terminal));
            self.look_at(slot, now, now);
        } else {
            self.obey(slot, command, now);
        }
    }

    pub(super) fn mark_fenced(&mut self, slot: usize) {
        if let Some(attempt) = &mut self.slots[slot] {
            attempt.fenced = true;
        }
    }
}
