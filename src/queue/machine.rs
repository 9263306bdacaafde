//! The queue as a pure machine.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::order::Block;
use super::{Input, Limits, QUEUE_SCHEMA, QueueDecision, QueueError, QueueSummary, Shared, Standing, State, Ticket};
use crate::{Actor, CommandError, Level, Outcome, generation};

/// Changes in the queue at once, at the most: each is compared with each.
const MAX_CHANGES: usize = 256;
/// Names and decisions kept of the past.
const MAX_PAST: usize = 1_000;
const MAX_DECISIONS: usize = 400;
/// So often it is tried to put a change together before it is refused.
const MAX_TRIES: u32 = 6;
const MINUTE_MS: i64 = 60_000;

/// One change.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// It names all targets, and is shared with the copies that are played through.
    pub(super) ticket: Arc<Ticket>,
    pub(super) submitted_ms: i64,
    pub(super) state: State,
    /// Where it began: its number among all that did.
    pub(super) turn: Option<u64>,
    /// The generation above which its attempts began.
    generation: u64,
    pub(super) began_ms: i64,
    /// A person, or time, lets it go on.
    resumed: bool,
    /// At which level it acts at most, if it was said.
    demoted: Option<Demoted>,
    /// It was not put together in time, and has not begun.
    pub(super) late: Option<Late>,
    /// By number of the other.
    pub(super) shares: BTreeMap<u64, Shared>,
}

/// A change was not put together in time.
#[derive(Clone, Debug, Default)]
pub(super) struct Late {
    /// So often.
    tries: u32,
    pub(super) why: String,
    /// Until when it is not tried again.
    pub(super) until_ms: i64,
}

/// Somebody has taken rights from a change.
#[derive(Clone, Debug)]
pub(super) struct Demoted {
    pub(super) level: Level,
    pub(super) actor: Actor,
    pub(super) reason: String,
}

impl Entry {
    pub(super) fn is_emergency(&self) -> bool {
        self.ticket.emergency.is_some()
    }

    pub(super) const fn is_under_way(&self) -> bool {
        matches!(self.state, State::UnderWay { .. })
    }

    pub(super) const fn goes_back(&self) -> bool {
        matches!(self.state, State::UnderWay { back: true })
    }

    /// Whether it may be begun, as far as it goes itself.
    pub(super) fn wants(&self, now_ms: i64) -> bool {
        match &self.state {
            State::Waiting => true,
            State::UnderWay { .. } => false,
            State::Stopped { until_unix_ms, .. } => self.resumed || until_unix_ms.is_some_and(|until| now_ms >= until),
        }
    }
}

/// Which change may begin now; which waits, for whom, and until when.
#[derive(Clone, Debug)]
pub struct Queue {
    pub(super) limits: Limits,
    /// By number, in the order in which they came.
    pub(super) entries: BTreeMap<u64, Entry>,
    submitted: u64,
    begun: u64,
    /// The highest generation above which attempts of a change began.
    generation: u64,
    /// Names of those that have left.
    past: VecDeque<String>,
    decisions: VecDeque<QueueDecision>,
}

impl Queue {
    /// An empty queue.
    ///
    /// # Errors
    /// [`QueueError::Limits`] says which limit and what it may be.
    pub fn new(limits: Limits) -> Result<Self, QueueError> {
        limits.check()?;
        Ok(Self {
            limits,
            entries: BTreeMap::new(),
            submitted: 0,
            begun: 0,
            generation: 0,
            past: VecDeque::new(),
            decisions: VecDeque::new(),
        })
    }

    /// What it was made from, in words: a journal of another queue is refused.
    pub(super) fn identity(&self) -> String {
        format!("{:?}", self.limits)
    }

    pub(super) fn number(&self, change: &str) -> Option<u64> {
        let mut entries = self.entries.iter();
        entries
            .find(|(_, entry)| entry.ticket.change == change)
            .map(|(&number, _)| number)
    }

    pub(super) fn entry(&self, change: &str) -> Option<&Entry> {
        self.number(change).and_then(|number| self.entries.get(&number))
    }

    /// Takes an input at a time, in Unix milliseconds.
    ///
    /// # Errors
    /// Says why it is not taken; nothing has changed then.
    pub fn apply(&mut self, now_ms: i64, input: &Input) -> Result<(), QueueError> {
        if let Some(error) = self.refusal(input) {
            return Err(QueueError::Command(error));
        }
        self.apply_again(now_ms, input)
    }

    /// Why somebody may not say this: a change that waits for people goes on, or is given up, at a person's word.
    pub(super) fn refusal(&self, input: &Input) -> Option<CommandError> {
        let (actor, what) = match input {
            Input::Resume { actor, .. } => (actor, "to let a change go on that waits for people"),
            Input::Withdraw { actor, .. } => (actor, "to give up a change that waits for people"),
            _ => return None,
        };
        let state = &self.entry(input.change())?.state;
        let waits = matches!(
            state,
            State::Stopped {
                until_unix_ms: None,
                ..
            }
        );
        waits.then(|| actor.lacks(what)).flatten()
    }

    /// Takes an input that was taken before.
    pub(super) fn apply_again(&mut self, now_ms: i64, input: &Input) -> Result<(), QueueError> {
        if let Input::Submit(ticket) = input {
            return self.submit(now_ms, ticket);
        }
        let change = input.change();
        let number = self
            .number(change)
            .ok_or_else(|| QueueError::Unknown(change.to_owned()))?;
        let is_free = |(other, blocks): &(u64, Vec<Block>)| *other == number && blocks.is_empty();
        let may_begin = matches!(input, Input::Began { .. }) && self.blocks(now_ms).iter().any(is_free);
        let Some(entry) = self.entries.get_mut(&number) else {
            return Ok(());
        };
        let wrong = |is: &str, fix| {
            Err(QueueError::State {
                change: change.to_owned(),
                is: is.to_owned(),
                fix,
            })
        };
        let is_under_way = entry.is_under_way();
        let text = match input {
            Input::Submit(_) => return Ok(()),
            Input::Withdraw { .. } if is_under_way => {
                return wrong("is under way", "abort it, or roll it back, by its own handle");
            }
            Input::Prioritise { .. } if entry.state != State::Waiting => {
                return wrong("has begun", "priorities are for those that wait");
            }
            Input::Resume { .. } if !matches!(entry.state, State::Stopped { .. }) => {
                return wrong("has not stopped", "there is nothing to resume");
            }
            Input::Began { .. } if !may_begin => return wrong("may not begin", "wait for what it waits for"),
            Input::GoesBack { .. } | Input::Ended { .. } | Input::Failed { .. } if !is_under_way => {
                return wrong("is not under way", "begin it first");
            }
            Input::Demote { .. } if entry.turn.is_none() => {
                return wrong("has not begun", "it begins at the level with which it is opened");
            }
            Input::Late { .. } if is_under_way => {
                return wrong("is under way", "it has failed, or ended");
            }
            Input::Withdraw { actor, reason, .. } => {
                let what = if entry.state == State::Waiting {
                    "withdraws"
                } else {
                    "gives up"
                };
                let text = format!("{actor} {what} {change}: {reason}");
                self.leave(number);
                ("queue.withdrawn", text)
            }
            Input::Prioritise {
                priority,
                actor,
                reason,
                ..
            } => {
                let before = std::mem::replace(&mut Arc::make_mut(&mut entry.ticket).priority, *priority);
                let text = format!("{actor} gives {change} priority {priority}, and it had {before}: {reason}");
                ("queue.prioritised", text)
            }
            Input::Resume { actor, reason, .. } => {
                entry.resumed = true;
                ("queue.resumed", format!("{actor} lets {change} go on: {reason}"))
            }
            Input::Demote {
                level, actor, reason, ..
            } => {
                if entry.demoted.as_ref().is_none_or(|demoted| *level < demoted.level) {
                    let (level, actor, reason) = (*level, actor.clone(), reason.clone());
                    entry.demoted = Some(Demoted { level, actor, reason });
                }
                let text = format!("{actor} lets {change} act at {level} at most: {reason}");
                ("queue.demoted", text)
            }
            Input::Began { .. } => {
                let waited = (now_ms - entry.submitted_ms) / MINUTE_MS;
                let again = entry.turn.is_some();
                if !again {
                    self.begun += 1;
                    entry.turn = Some(self.begun);
                    self.generation = generation::of_turn(self.begun, now_ms, self.generation);
                    entry.generation = self.generation;
                    entry.began_ms = now_ms;
                }
                entry.state = State::UnderWay { back: false };
                entry.resumed = false;
                entry.late = None;
                let text = if again {
                    format!("{change} goes on")
                } else {
                    format!("{change} begins, {waited} min after it was submitted")
                };
                ("queue.began", text)
            }
            Input::GoesBack { .. } => {
                entry.state = State::UnderWay { back: true };
                ("queue.goes_back", format!("{change} is being taken back"))
            }
            Input::Late { why, .. } if entry.turn.is_none() && entry.tries() + 1 < MAX_TRIES => {
                let tries = entry.tries() + 1;
                let until_ms = now_ms.saturating_add_unsigned(self.limits.retry_ms);
                let why = why.clone();
                let text =
                    format!("{change} cannot begin yet, and is tried again ({tries} of {MAX_TRIES} tries): {why}");
                entry.late = Some(Late { tries, why, until_ms });
                ("queue.late", text)
            }
            Input::Refused { why, .. } | Input::Late { why, .. } => {
                let text = format!("{change} cannot begin: {why}");
                // One that is under way was refused by its own run, before that did anything.
                if entry.turn.is_some() && !is_under_way {
                    entry.stop(why.clone(), Some(now_ms.saturating_add_unsigned(self.limits.retry_ms)));
                } else {
                    self.leave(number);
                }
                ("queue.refused", text)
            }
            Input::Ended { outcome, .. } => {
                let text = format!("{change} has ended: {}", outcome.as_str());
                match outcome {
                    Outcome::Waiting | Outcome::Frozen => entry.stop(outcome.as_str().to_owned(), None),
                    _ => self.leave(number),
                }
                ("queue.ended", text)
            }
            Input::Failed { why, .. } => {
                entry.stop(why.clone(), Some(now_ms.saturating_add_unsigned(self.limits.retry_ms)));
                (
                    "queue.failed",
                    format!("the run of {change} has ended for a fault: {why}"),
                )
            }
        };
        self.decide(now_ms, text.0, text.1);
        Ok(())
    }

    /// Whether a change would be taken.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, ticket: &Ticket) -> Result<(), QueueError> {
        if self.number(&ticket.change).is_some() || self.past.contains(&ticket.change) {
            return Err(QueueError::Known(ticket.change.clone()));
        }
        if self.entries.len() >= MAX_CHANGES {
            return Err(QueueError::Full(MAX_CHANGES));
        }
        ticket.check(&self.limits)
    }

    fn submit(&mut self, now_ms: i64, ticket: &Ticket) -> Result<(), QueueError> {
        self.check(ticket)?;
        self.submitted += 1;
        let number = self.submitted;
        let mut shares = BTreeMap::new();
        for (&other, entry) in &mut self.entries {
            if let Some(shared) = ticket.shares(&entry.ticket) {
                entry.shares.insert(number, shared.clone());
                shares.insert(other, shared);
            }
        }
        self.entries.insert(
            number,
            Entry {
                ticket: Arc::new(ticket.clone()),
                submitted_ms: now_ms,
                state: State::Waiting,
                turn: None,
                generation: 0,
                began_ms: now_ms,
                resumed: false,
                demoted: None,
                late: None,
                shares,
            },
        );
        let burns = ticket
            .emergency
            .as_ref()
            .map_or_else(String::new, |emergency| format!(", as an emergency: {}", emergency.why));
        let text = format!(
            "{} submits {} over {} targets of {} applications{burns}",
            ticket.author,
            ticket.change,
            ticket.targets,
            ticket.applications.len()
        );
        self.decide(now_ms, "queue.submitted", text);
        Ok(())
    }

    fn leave(&mut self, number: u64) {
        let Some(entry) = self.entries.remove(&number) else {
            return;
        };
        for other in entry.shares.keys() {
            if let Some(other) = self.entries.get_mut(other) {
                other.shares.remove(&number);
            }
        }
        self.past.push_back(entry.ticket.change.clone());
        if self.past.len() > MAX_PAST {
            self.past.pop_front();
        }
    }

    pub(super) fn decide(&mut self, now_ms: i64, code: &str, text: String) {
        if self.decisions.len() >= MAX_DECISIONS {
            self.decisions.pop_front();
        }
        self.decisions.push_back(QueueDecision {
            at_unix_ms: now_ms,
            code: code.to_owned(),
            text,
        });
    }

    /// The changes that may begin now, or go on, in their order. Each takes its place as soon as it [has](Input::Began).
    pub fn may_begin(&self, now_ms: i64) -> Vec<&str> {
        let free = (self.blocks(now_ms).into_iter()).filter(|(_, blocks)| blocks.is_empty());
        free.map(|(number, _)| self.entries[&number].ticket.change.as_str())
            .collect()
    }

    /// The changes under way that are in the way of an emergency which has them ended: each with that emergency.
    pub fn to_end(&self, now_ms: i64) -> Vec<(&str, &Ticket)> {
        let mut found = Vec::new();
        for (number, blocks) in self.blocks(now_ms) {
            for block in blocks {
                if let Block::UnderWay(other) = block
                    && self.is_ended_for(number, other)
                {
                    let other = self.entries[&other].ticket.change.as_str();
                    found.push((other, self.entries[&number].ticket.as_ref()));
                }
            }
        }
        found
    }

    /// The changes under way, or that were when the journal broke off.
    pub fn under_way(&self) -> impl Iterator<Item = &Ticket> {
        let under_way = self.entries.values().filter(|entry| entry.is_under_way());
        under_way.map(|entry| entry.ticket.as_ref())
    }

    /// The changes that have begun and not left.
    pub(super) fn begun(&self) -> impl Iterator<Item = &Ticket> {
        let begun = self.entries.values().filter(|entry| entry.turn.is_some());
        begun.map(|entry| entry.ticket.as_ref())
    }

    /// What was said of a change's level.
    pub(super) fn demoted(&self, change: &str) -> Option<&Demoted> {
        self.entry(change).and_then(|entry| entry.demoted.as_ref())
    }

    /// The first generation of a change that has begun; 0 of others.
    pub(super) fn generation_of(&self, change: &str) -> u64 {
        self.entry(change).map_or(0, |entry| entry.generation)
    }

    /// The same of a change that goes by decisions of before 7, or begins next.
    pub(super) fn generation_by_turn(&self, change: &str) -> u64 {
        let turn = self.entry(change).and_then(|entry| entry.turn);
        generation::of_turn_alone(turn.unwrap_or(self.begun + 1))
    }

    /// Whether what was opened is what was submitted.
    pub(super) fn check_opened(&self, ticket: &Ticket, opened: &Ticket) -> Result<(), QueueError> {
        ticket.check_opened(opened, &self.limits)
    }

    /// Everything, at a moment.
    pub fn summary(&self, now_ms: i64) -> QueueSummary {
        let times = self.forecast(now_ms);
        let line = self.blocks(now_ms);
        let waiting: BTreeSet<u64> = line.iter().map(|(number, _)| *number).collect();
        let begun = self.entries.keys().filter(|number| !waiting.contains(number));
        let order: Vec<(u64, Vec<Block>)> = begun.map(|&number| (number, Vec::new())).chain(line).collect();
        let changes = order.into_iter().map(|(number, blocks)| {
            let entry = &self.entries[&number];
            let (begins, ends) = times.get(&number).copied().unwrap_or_default();
            Standing {
                change: entry.ticket.change.clone(),
                author: entry.ticket.author.to_string(),
                priority: entry.ticket.priority,
                emergency: entry.ticket.emergency.clone(),
                submitted_unix_ms: entry.submitted_ms,
                state: entry.state.clone(),
                waits: blocks.iter().map(|block| self.explain(number, block)).collect(),
                begins_unix_ms: begins,
                ends_unix_ms: ends,
            }
        });
        QueueSummary {
            schema: QUEUE_SCHEMA,
            at_unix_ms: now_ms,
            changes: changes.collect(),
            decisions: self.decisions.iter().cloned().collect(),
        }
    }

    /// Why one change does not begin now, and when it can; `None` where there is none of that name.
    pub fn standing(&self, change: &str, now_ms: i64) -> Option<Standing> {
        let all = self.summary(now_ms).changes;
        all.into_iter().find(|standing| standing.change == change)
    }
}

impl Entry {
    fn tries(&self) -> u32 {
        self.late.as_ref().map_or(0, |late| late.tries)
    }

    fn stop(&mut self, why: String, until_unix_ms: Option<i64>) {
        self.resumed = false;
        self.state = State::Stopped { why, until_unix_ms };
    }
}
