//! What rules are told of a change beside its name and how it stands: a rule that needs what nobody says can never tell.

use serde::{Deserialize, Serialize};
use unattended_defense as defense;
use unattended_defense::{ChangeKind, Direction, Protocol};

use crate::{Actor, ActorKind, Change};

/// Whether rules are told of it by decisions of this version.
pub(crate) const fn is_told(decisions: u16) -> bool {
    decisions >= 9
}

/// What a change says of itself, for rules alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Declared {
    pub(crate) kind: ChangeKind,
    pub(crate) artefact: Option<String>,
    /// Of the version before, and of the new one.
    pub(crate) protocols: Option<(Protocol, Protocol)>,
    pub(crate) made_unix_ms: Option<i64>,
    pub(crate) deadline_unix_ms: Option<i64>,
    pub(crate) emergency: bool,
}

impl Declared {
    /// As the journal keeps it.
    pub(crate) fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }

    pub(crate) fn read(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|error| format!("what the change says of itself for rules: {error}"))
    }

    /// The first that differs: its name, what this has, and what the other has.
    pub(crate) fn difference(&self, other: &Self) -> Option<(String, String, String)> {
        let (ours, theirs) = (serde_json::to_value(self).ok()?, serde_json::to_value(other).ok()?);
        let differs = |(name, ours): (&String, &serde_json::Value)| {
            let theirs = theirs.get(name)?;
            (ours != theirs).then(|| (name.clone(), ours.to_string(), theirs.to_string()))
        };
        ours.as_object()?.iter().find_map(differs)
    }
}

/// The kinds that rules know, by the last word of a kind in an author's words.
pub(crate) fn kind_of(words: &str) -> ChangeKind {
    match words.split_whitespace().next_back() {
        Some("config") => ChangeKind::Config,
        Some("data") => ChangeKind::Data,
        _ => ChangeKind::Binary,
    }
}

/// A change as rules see it. In a rollback the versions are the other way round: it leaves the new one.
pub(crate) fn as_rules_see(change: &Change, decisions: u16, direction: Direction) -> defense::Change {
    let seen = defense::Change::new(change.id.as_str()).direction(direction);
    if !is_told(decisions) {
        return seen;
    }
    let Declared {
        kind,
        artefact,
        protocols,
        made_unix_ms,
        deadline_unix_ms,
        emergency,
    } = (*change.declared).clone();
    let (from, to) = match direction {
        Direction::Forward => (&change.from, &change.to),
        Direction::Rollback => (&change.to, &change.from),
    };
    let mut seen = seen
        .kind(kind)
        .author(actor(&change.author))
        .versions(from.as_str(), to.as_str());
    // The artefact names the change, in its rollback too: people have approved that.
    seen.artefact = artefact;
    seen.protocol = protocols.map(|(before, after)| match direction {
        Direction::Forward => after,
        Direction::Rollback => before,
    });
    seen.made_ms = made_unix_ms;
    seen.deadline_ms = deadline_unix_ms;
    seen.emergency = emergency;
    seen
}

/// Who acts, whatever people have said: they speak to a program.
pub(crate) fn autopilot(decisions: u16) -> Option<defense::Actor> {
    is_told(decisions).then(|| defense::Actor::program("unattended", "autopilot"))
}

fn actor(actor: &Actor) -> defense::Actor {
    let (id, via) = (actor.id.as_str(), actor.via.as_str());
    match actor.kind {
        ActorKind::Person => defense::Actor::person(id, via),
        ActorKind::Program => defense::Actor::program(id, via),
    }
}
