//! The looks: many targets in one call, and a target at which calls hang apart from the others.
use std::sync::Arc;
use std::task::Poll;

use super::asking::{Question, Sight, Word};
use super::calls::Answer;
use super::{Attempt, Driver};
use crate::machine::Event;
use crate::{AttemptId, Capabilities, Ingress, Step};

/// Targets that are looked at in one call.
const LOOK_CHUNK: usize = 4096;

/// Into so many parts a look is cut that could not be had.
const PARTS: usize = 16;

/// What is known of an attempt at which no look could be had.
#[derive(Clone, Copy, Debug)]
pub(super) struct Blind {
    since_ms: u64,
    /// When it was asked for last.
    asked_ms: u64,
    /// With how many it may share its next look, itself included.
    most: usize,
}

/// A look that is under way.
pub(super) struct Look {
    slots: Vec<usize>,
    asked_ms: u64,
}

/// Those who send traffic are asked whether they know.
const fn asks_consumers(able: &Capabilities, attempt: &Attempt) -> bool {
    able.barrier && matches!(attempt.machine.step(), Step::Closing | Step::Reclosing)
}

/// Its next look asks more than how it is.
fn asks(able: &Capabilities, attempt: &Attempt) -> bool {
    let asks_instance = || Word::of(&attempt.machine).is_some_and(|word| word.is_asked());
    asks_consumers(able, attempt) || able.probe && asks_instance()
}

impl Driver {
    /// Looks at everything that is due and lets the machines decide, in the order the attempts began. Waits for looks that
    /// were had the last time, but for no other.
    pub(super) async fn look(&mut self, now: u64) {
        let clock = Arc::clone(&self.clock);
        let until_ms = self.patient_until();
        let mut had = Vec::new();
        self.looks_open.new_turn();
        let due = self.take_due(now);
        // A platform that refuses at once leaves every place free, and is not to be asked the more for that.
        let mut refused = 0;
        for (slots, suspect) in self.looks_of(due, now) {
            let most = self.config.max_effects;
            if !self.looks_open.has_room(suspect, most) || (suspect && refused >= most) {
                for slot in slots {
                    self.look_at(slot, now.saturating_add(1), now);
                }
                continue;
            }
            let question = self.question(&slots);
            let look = Look { slots, asked_ms: now };
            let call = question.ask(Arc::clone(&self.platform), Arc::clone(&clock), self.config.call_ms);
            let mut answer = Answer::new(call);
            match futures::poll!(&mut answer) {
                Poll::Ready(sight) => {
                    refused += usize::from(suspect && sight.is_none());
                    had.push((look, sight));
                }
                Poll::Pending => self.looks_open.keep(look, answer, suspect),
            }
        }
        while let Some(answered) = self.looks_open.next(clock.as_ref(), until_ms).await {
            had.push(answered);
        }
        had.sort_by_key(|(look, _)| self.attempt_at(look.slots.first()));
        for (look, sight) in had {
            match sight {
                Some(sight) => self.take_sight(&look, sight),
                None => self.look_again(&look),
            }
        }
    }

    /// Slots whose next look is due, in the order the attempts began, whatever brought them here; at the end those at which
    /// looks could not be had, so that the one asked for longest ago comes first where there is not room for all.
    fn take_due(&mut self, now: u64) -> Vec<usize> {
        // Beside each what it is sorted by: looked up for every comparison, that was a fifth of what a driver did.
        let mut due: Vec<(Option<u64>, AttemptId, usize)> = Vec::new();
        while let Some(entry) = self.looks.first_entry() {
            if *entry.key() > now {
                break;
            }
            let (at, slots) = entry.remove_entry();
            due.reserve(slots.len());
            for slot in slots {
                // A look that was brought forward leaves a void entry behind.
                if let Some(attempt) = &mut self.slots[slot]
                    && attempt.look_ms.take_if(|look_ms| *look_ms == at).is_some()
                {
                    let asked_ms = attempt.blind.as_ref().map(|blind| blind.asked_ms);
                    due.push((asked_ms, attempt.id, slot));
                }
            }
        }
        // They came in long runs that are in order, which a stable sort only merges.
        due.sort();
        due.into_iter().map(|(.., slot)| slot).collect()
    }

    /// Who shares a call: everybody, but for those at which looks could not be had. What an outcome has ended is finished
    /// instead.
    fn looks_of(&mut self, due: Vec<usize>, now: u64) -> Vec<(Vec<usize>, bool)> {
        let mut looks: Vec<(Vec<usize>, bool)> = Vec::new();
        // By how many may share a call at most, the place of the call that has room.
        let mut open: std::collections::BTreeMap<usize, usize> = std::collections::BTreeMap::new();
        // The last answer of it: nearly everybody may share with as many as the one before.
        let mut last = None;
        for slot in due {
            let Some(attempt) = &mut self.slots[slot] else { continue };
            if let Some(terminal) = attempt.ended.take() {
                self.finish(slot, *terminal, now);
                continue;
            }
            let blind = attempt.blind.as_ref();
            let alone = attempt.silent && asks(&self.capabilities, attempt);
            let most = if alone {
                1
            } else {
                blind.map_or(LOOK_CHUNK, |blind| blind.most)
            };
            let suspect = alone || blind.is_some();
            let place = match last {
                Some((of, place)) if of == most => Some(place),
                _ => open.get(&most).copied(),
            };
            let place = place.filter(|place| looks[*place].0.len() < most).unwrap_or_else(|| {
                looks.push((Vec::new(), suspect));
                open.insert(most, looks.len() - 1);
                looks.len() - 1
            });
            last = Some((most, place));
            looks[place].0.push(slot);
        }
        looks
    }

    fn question(&self, slots: &[usize]) -> Question {
        let mut question = Question {
            names: Vec::with_capacity(slots.len()),
            closing: Vec::new(),
            believing: Vec::new(),
        };
        let able = &self.capabilities;
        for attempt in slots.iter().filter_map(|slot| self.slots[*slot].as_ref()) {
            let place = question.names.len();
            if asks_consumers(able, attempt) {
                question.closing.push(place);
            }
            if able.probe
                && let Some(word) = Word::of(&attempt.machine)
            {
                question.believing.push((place, word));
            }
            question.names.push(attempt.target.clone());
        }
        question
    }

    fn take_sight(&mut self, look: &Look, sight: Sight) {
        let Sight {
            mut seen,
            barriers,
            answered,
        } = sight;
        let (slots, asked_ms, now_ms) = (&look.slots, look.asked_ms, self.clock.now());
        for (at, barrier) in barriers {
            let Some(attempt) = &mut self.slots[slots[at]] else {
                continue;
            };
            if !barrier.told {
                attempt.barred_since = None;
            }
            // They knew at the answer, and it has been quiet until the question of a later look.
            let since = barrier
                .told
                .then(|| **attempt.barred_since.get_or_insert_with(|| Box::new(now_ms)));
            // A closing that has not reached everybody is not known to be closed.
            if !barrier.is_reached(since.map_or(0, |since| asked_ms.saturating_sub(since))) {
                seen[at].ingress = Ingress::Unknown;
            }
        }
        if let (&[slot], Some(answered)) = (&slots[..], answered)
            && let Some(attempt) = &mut self.slots[slot]
        {
            attempt.silent = !answered;
        }
        for (&slot, seen) in slots.iter().zip(&seen) {
            self.see(slot);
            let event = Event::Observed { asked_ms, now_ms, seen };
            self.feed(slot, event, now_ms);
        }
    }

    /// A look that could not be had decides nothing but that patience has an end. It is had again in parts, down to a target
    /// alone, whatever else is answered meanwhile: a target at which calls hang must not blind the others for long.
    fn look_again(&mut self, look: &Look) {
        let now = self.clock.now();
        let most = look.slots.len().div_ceil(PARTS);
        for &slot in &look.slots {
            if let Some(attempt) = &mut self.slots[slot] {
                let since_ms = attempt.blind.as_ref().map_or(look.asked_ms, |blind| blind.since_ms);
                attempt.blind = Some(Box::new(Blind {
                    since_ms,
                    asked_ms: look.asked_ms,
                    most,
                }));
                self.blind.insert((since_ms, slot));
                self.feed(slot, Event::Unseen { now_ms: now, since_ms }, now);
            }
        }
    }

    /// The attempt has been looked at.
    pub(super) fn see(&mut self, slot: usize) {
        if let Some(attempt) = &mut self.slots[slot]
            && let Some(blind) = attempt.blind.take()
        {
            self.blind.remove(&(blind.since_ms, slot));
        }
    }

    fn attempt_at(&self, slot: Option<&usize>) -> Option<AttemptId> {
        let attempt = self.slots.get(*slot?)?.as_ref()?;
        Some(attempt.id)
    }
}
