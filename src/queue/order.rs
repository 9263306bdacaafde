//! Who goes before whom, and what each waits for.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::{Queue, State, Wait};

/// Names shown of those that have the places.
const SHOWN: usize = 8;

/// What a change waits for, by numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Block {
    UnderWay(u64),
    Stopped(u64),
    Ahead(u64),
    /// Some of those that have the places.
    Places(Vec<u64>),
    Emergency(u64),
    /// Its own next try.
    Late,
}

impl Queue {
    /// Those that want to begin, in their order.
    pub(super) fn line(&self, now_ms: i64) -> Vec<u64> {
        let patience_ms = i64::try_from(self.limits.patience_ms).unwrap_or(i64::MAX);
        let mut line: Vec<(bool, bool, Reverse<i32>, u64)> = (self.entries.iter())
            .filter(|(_, entry)| entry.wants(now_ms))
            .map(|(&number, entry)| {
                let ordinary = entry.ticket.emergency.is_none();
                // Who has begun has its scope already: it goes on before anybody else begins.
                let patient = entry.turn.is_none() && now_ms.saturating_sub(entry.submitted_ms) < patience_ms;
                (ordinary, patient, Reverse(entry.ticket.priority), number)
            })
            .collect();
        line.sort_unstable();
        line.into_iter().map(|(.., number)| number).collect()
    }

    /// What everybody who wants to begin waits for; nothing, where it may begin now. In their order.
    pub(super) fn blocks(&self, now_ms: i64) -> Vec<(u64, Vec<Block>)> {
        let line = self.line(now_ms);
        let mut answers: Vec<(u64, Vec<Block>)> = Vec::with_capacity(line.len());
        let under_way = || self.entries.iter().filter(|(_, entry)| entry.is_under_way());
        let mut emergency = under_way()
            .find(|(_, entry)| entry.is_emergency())
            .map(|(&number, _)| number);
        let mut places: Vec<u64> = under_way()
            .filter(|(_, entry)| !entry.is_emergency())
            .map(|(&number, _)| number)
            .collect();
        let mut before: BTreeSet<u64> = BTreeSet::new();
        for number in line {
            let entry = &self.entries[&number];
            let mut blocks: Vec<Block> = (entry.shares.keys())
                .filter_map(|other| match &self.entries[other].state {
                    State::UnderWay { .. } => Some(Block::UnderWay(*other)),
                    State::Stopped { .. } => Some(Block::Stopped(*other)),
                    // Whoever has begun has the scope, and goes before all who have not.
                    State::Waiting => (entry.turn.is_none() && before.contains(other)).then_some(Block::Ahead(*other)),
                })
                .collect();
            if entry.late.as_ref().is_some_and(|late| now_ms < late.until_ms) {
                blocks.push(Block::Late);
            }
            // Who waits for somebody takes no place from those behind it.
            let takes_place = blocks.is_empty();
            if entry.is_emergency() {
                blocks.extend(emergency.map(Block::Emergency));
                if takes_place {
                    emergency = emergency.or(Some(number));
                }
            } else {
                if places.len() >= self.limits.most_at_once as usize {
                    blocks.push(Block::Places(places.iter().copied().take(SHOWN).collect()));
                }
                places.extend(takes_place.then_some(number));
            }
            before.insert(number);
            answers.push((number, blocks));
        }
        answers
    }

    /// A block in words for people.
    pub(super) fn explain(&self, number: u64, block: &Block) -> Wait {
        let entry = &self.entries[&number];
        let name = |other: &u64| self.entries[other].ticket.change.clone();
        let shared = |other: &u64| entry.shares[other].clone();
        match block {
            Block::UnderWay(other) => Wait::UnderWay {
                change: name(other),
                ends: self.is_ended_for(number, *other),
                shared: shared(other),
            },
            Block::Stopped(other) => Wait::Stopped {
                change: name(other),
                why: match &self.entries[other].state {
                    State::Stopped { why, .. } => why.clone(),
                    State::Waiting | State::UnderWay { .. } => String::new(),
                },
                shared: shared(other),
            },
            Block::Ahead(other) => Wait::Ahead {
                change: name(other),
                shared: shared(other),
            },
            Block::Places(others) => Wait::Places {
                most: self.limits.most_at_once,
                changes: others.iter().map(name).collect(),
            },
            Block::Emergency(other) => Wait::Emergency { change: name(other) },
            Block::Late => {
                let late = entry.late.clone().unwrap_or_default();
                Wait::Late {
                    why: late.why,
                    until_unix_ms: late.until_ms,
                }
            }
        }
    }

    /// Whether a change under way is ended for one that waits for it.
    pub(super) fn is_ended_for(&self, number: u64, other: u64) -> bool {
        let emergency = self.entries[&number].ticket.emergency.as_ref();
        let back = matches!(self.entries[&other].state, State::UnderWay { back: true });
        // Emergencies end by themselves: there would be no end of ending.
        emergency.is_some_and(|emergency| emergency.ends_others) && !back && !self.entries[&other].is_emergency()
    }
}
