use std::sync::Arc;

use super::send::Order;
use super::{Attempt, Driver, DriverError, Dropped, Place, Stage};
use crate::machine::{Effect, Event, Machine, Which};
use crate::record::Told;
use crate::{
    Clock, EffectKey, EffectOutcome, Generation, Journal, Platform, Position, Receipt, Step, TargetId, Terminal,
    UpgradeRecord,
};

/// Targets that are looked at in one call.
const LOOK_CHUNK: usize = 4096;

/// What one turn brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Turn {
    /// Attempts that ended, in the order they began. Their records are durable.
    pub finished: Vec<Receipt>,
    /// When the next turn is due, on the driver's monotonic clock: now or earlier means at once, `None` that nothing
    /// is under way.
    pub next_due_ms: Option<u64>,
    /// Jobs that will never begin, since the turn before.
    pub dropped: Vec<Dropped>,
    /// A group was appended to the journal.
    pub appended: bool,
}

impl<P, J, C> Driver<P, J, C>
where
    P: Platform + ?Sized,
    J: Journal + ?Sized,
    C: Clock + ?Sized,
{
    /// Takes one turn: begins what there is room for, looks at what is due, appends all that follows from it as one
    /// group together with what was [`attach`](Self::attach)ed, and only then sends the effects.
    ///
    /// `may_act` is asked right before each effect (and before the fencing that precedes an attempt's first). Where it
    /// says no the effect is not sent, and it is asked again at a later look.
    ///
    /// A platform that cannot be observed decides nothing: everybody looks again later. After
    /// [`DriverError::Journal`] nothing was sent and the next turn appends the same records first.
    pub async fn turn(&mut self, may_act: &mut (dyn FnMut(&EffectKey) -> bool + Send)) -> Result<Turn, DriverError> {
        match self.stage {
            Stage::InTurn => return Err(DriverError::Interrupted),
            Stage::Replaying => return Err(DriverError::NotResumed),
            Stage::Fresh | Stage::Ready => self.stage = Stage::InTurn,
        }
        let turn = self.take_turn(may_act).await;
        self.stage = Stage::Ready;
        turn
    }

    async fn take_turn(&mut self, may_act: &mut (dyn FnMut(&EffectKey) -> bool + Send)) -> Result<Turn, DriverError> {
        let now = self.clock.now();
        self.drop_late(now);
        self.begin(now);
        self.look(now).await;
        let appended = !self.outbox.is_empty();
        if appended {
            self.append().await?;
        }
        let finished = std::mem::take(&mut self.receipts);
        self.send(may_act).await;
        let waiting = self.waiting.is_ready() && self.in_flight < self.config.max_in_flight;
        let next_look = self.looks.keys().next().copied();
        let next_late = self.waiting.next_late_ms();
        Ok(Turn {
            finished,
            appended,
            next_due_ms: if waiting {
                Some(now)
            } else {
                next_look.into_iter().chain(next_late).min()
            },
            dropped: std::mem::take(&mut self.dropped),
        })
    }

    /// Makes the outbox durable. Records that a failed append may have left in the journal are not written twice.
    async fn append(&mut self) -> Result<(), DriverError> {
        if self.in_doubt > 0 {
            // A journal must not have kept them, but a lost answer is no proof: its end tells.
            let found = self.journal.end().await?;
            let expected = self.appended_to.unwrap_or(found);
            if found == expected + Position::from(self.in_doubt) {
                self.outbox = self.outbox.from_record(self.in_doubt);
                self.appended_to = Some(found);
            } else if found != expected {
                return Err(DriverError::OtherWriter { expected, found });
            }
            self.in_doubt = 0;
        } else if self.appended_to.is_none() {
            self.appended_to = Some(self.journal.end().await?);
        }
        self.in_doubt = self.outbox.len();
        let found = self.journal.append(&self.outbox).await?;
        let expected = self.appended_to.unwrap_or(found);
        if found != expected {
            return Err(DriverError::OtherWriter { expected, found });
        }
        self.in_doubt = 0;
        self.appended_to = Some(found + Position::from(self.outbox.len()));
        self.outbox.clear();
        Ok(())
    }

    /// Begins queued jobs while there is room. Their first look is due at once.
    fn begin(&mut self, now: u64) {
        while self.in_flight < self.config.max_in_flight {
            let Some((id, job, group)) = self.waiting.pop() else {
                return;
            };
            let held = self.targets.entry(job.target.clone()).or_default();
            held.generation = Generation(held.generation.0 + 1);
            let generation = held.generation;
            let plan = self.plan(id, job.mode, job.from, job.to);
            let mut machine = Machine::new(plan, Arc::clone(&self.timing));
            let command = machine.begin(now);
            let slot = self.put(Attempt {
                id,
                generation,
                target: job.target,
                group,
                look_ms: None,
                barred_since: None,
                machine,
                started_ms: now,
                recoveries: 0,
                begun: false,
                turned_back: false,
                fenced: false,
                told: Told::Nothing,
                intended: None,
                ended: None,
            });
            self.obey(slot, command, now);
        }
    }

    /// Looks at everything that is due and lets the machines decide.
    async fn look(&mut self, now: u64) {
        let mut due: Vec<usize> = Vec::new();
        while let Some(entry) = self.looks.first_entry() {
            if *entry.key() > now {
                break;
            }
            let at = *entry.key();
            let mut slots = entry.remove();
            // A look that was brought forward leaves a void entry behind.
            slots.retain(|slot| {
                self.slots[*slot]
                    .as_mut()
                    .is_some_and(|attempt| attempt.look_ms.take_if(|look_ms| *look_ms == at).is_some())
            });
            due.append(&mut slots);
        }
        // In the order the attempts began, whatever brought them here.
        due.sort_unstable_by_key(|slot| self.slots[*slot].as_ref().map(|attempt| attempt.id));
        let mut names: Vec<TargetId> = Vec::with_capacity(due.len().min(LOOK_CHUNK));
        for chunk in due.chunks_mut(LOOK_CHUNK) {
            names.clear();
            let mut looking = 0;
            for at in 0..chunk.len() {
                let slot = chunk[at];
                let Some(attempt) = &mut self.slots[slot] else { continue };
                if let Some(terminal) = attempt.ended.take() {
                    self.finish(slot, *terminal, now);
                    continue;
                }
                names.push(attempt.target.clone());
                chunk[looking] = slot;
                looking += 1;
            }
            let chunk = &chunk[..looking];
            if chunk.is_empty() {
                continue;
            }
            let mut seen = self.platform.observe(&names).await;
            if let Ok(seen) = seen.as_mut().map(Vec::as_mut_slice)
                && seen.len() == chunk.len()
            {
                self.ask(chunk, &names, seen).await;
            }
            let seen_ms = self.clock.now();
            match seen {
                // Too few or too many cannot be told apart from the wrong ones.
                Ok(seen) if seen.len() == chunk.len() => {
                    for (&slot, seen) in chunk.iter().zip(&seen) {
                        self.feed(slot, Event::Observed { now_ms: seen_ms, seen }, seen_ms);
                    }
                }
                Ok(_) | Err(_) => {
                    for &slot in chunk {
                        self.look_at(slot, seen_ms.saturating_add(1), seen_ms);
                    }
                }
            }
        }
    }

    fn feed(&mut self, slot: usize, event: Event<'_>, now: u64) {
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
            };
            self.write_back(slot, now);
            self.write(&record);
        }
        self.orders.push(order);
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
        let Some(attempt) = self.slots[slot].take() else { return };
        self.free.push(slot);
        self.in_flight -= 1;
        if let Some(held) = self.targets.get_mut(&attempt.target) {
            held.place = Place::Idle;
        }
        self.waiting.ended(attempt.group);
        let tally = attempt.machine.tally();
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
            outage_ms: attempt.machine.outage_ms(now),
            drained: tally.drained,
            cut: tally.cut,
            moves: tally.moves,
            retries: tally.retries,
            recoveries: attempt.recoveries,
            was_healthy: attempt.machine.was_healthy(),
        };
        self.write(&UpgradeRecord::Finished {
            attempt: receipt.attempt,
            terminal: receipt.terminal.clone(),
            went_back: receipt.went_back.clone(),
            before: attempt.told,
            after_ms: receipt.finished_ms - receipt.started_ms,
            outage_ms: receipt.outage_ms,
            drained: receipt.drained,
            cut: receipt.cut,
            retries: receipt.retries,
            moves: receipt.moves,
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
        if let crate::machine::Command::Finish(terminal) = command {
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
