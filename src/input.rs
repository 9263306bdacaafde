//! The inputs of the autopilot as records of its stream in the journal. Each kind carries its format in its number:
//! a changed format takes a new kind.

use serde::{Deserialize, Serialize};
use unattended_batching::{Plan, Policy};
use unattended_health::{History, Interval};
use unattended_selfheal::HealOutcome;
use unattended_upgrade::{FleetChange, Group, Record, Stream};

use crate::blueprint::Blueprint;
use crate::declared::{self, Declared};
use crate::handle::Order;
use crate::machine::Remedy;
use crate::way_back::Known;
use crate::{DECISIONS, Level, Outcome, RunError, Settings};

/// What a journal says of its change in its first record. A run that resumes must be about the same, and gains no rights by it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Header {
    /// By which [`DECISIONS`](crate::DECISIONS) it goes. It stands before the rest in its record, and in those of before not at all.
    #[serde(skip)]
    pub(crate) decisions: u16,
    /// What the change says of itself for rules. It stands there as well, as JSON, and is nothing in records of before.
    #[serde(skip)]
    pub(crate) declared: Box<Declared>,
    pub(crate) change: String,
    pub(crate) author: String,
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) seed: u64,
    /// The level that it begins at, who answers for it, and until when.
    pub(crate) level: Level,
    pub(crate) granted_by: String,
    /// `None`: for as long as the change may act by itself.
    pub(crate) granted_until_unix_ms: Option<i64>,
    /// Two controllers can be kept apart.
    pub(crate) fenced: bool,
    pub(crate) mode: String,
    pub(crate) targets: u64,
    pub(crate) plan: String,
    pub(crate) rules: String,
    pub(crate) settings: String,
    /// How long this run waits for a person; later ones say their own.
    pub(crate) person_patience_ms: u64,
    pub(crate) began_ms: u64,
    pub(crate) began_unix_ms: i64,
}

impl Header {
    /// The plan in words: a change that is made again must have the same.
    pub(crate) fn plan_of(plan: &Plan, policy: &Policy) -> String {
        format!("{} of {policy:?}", plan.digest())
    }

    /// When the level that it begins at ends, on the run's clock.
    pub(crate) fn grant_ends_ms(&self, longest_ms: u64) -> u64 {
        let left = self.granted_until_unix_ms.map_or(longest_ms, |until| {
            u64::try_from(until.saturating_sub(self.began_unix_ms)).unwrap_or(0)
        });
        self.began_ms.saturating_add(left)
    }

    /// Refuses decisions that nobody here can make.
    pub(crate) const fn check_decisions(&self) -> Result<(), RunError> {
        if self.decisions > DECISIONS {
            return Err(RunError::LaterDecisions {
                journal: self.decisions,
            });
        }
        Ok(())
    }

    /// The first field, besides the times, in which this journal's change differs from the one at hand: its name, what
    /// the journal has, what the run wants. Its level and who grants it are none: the journal's hold, as those that are earned are of
    /// the moment at which they are asked for.
    pub(crate) fn difference(&self, wanted: &Self) -> Option<(String, String, String)> {
        let fields = [
            ("change", self.change.clone(), wanted.change.clone()),
            ("from", self.from.clone(), wanted.from.clone()),
            ("to", self.to.clone(), wanted.to.clone()),
            ("seed", self.seed.to_string(), wanted.seed.to_string()),
            ("fence", self.fenced.to_string(), wanted.fenced.to_string()),
            ("mode", self.mode.clone(), wanted.mode.clone()),
            ("targets", self.targets.to_string(), wanted.targets.to_string()),
            ("plan", self.plan.clone(), wanted.plan.clone()),
            ("rules", self.rules.clone(), wanted.rules.clone()),
            ("author", self.author.clone(), wanted.author.clone()),
        ];
        // A journal of before has nothing of it, and rules are told nothing.
        let declared = declared::is_told(self.decisions).then(|| self.declared.difference(&wanted.declared));
        let differs = fields.into_iter().find(|(_, journal, run)| journal != run);
        differs
            .map(|(name, journal, run)| (name.to_owned(), journal, run))
            .or_else(|| declared.flatten())
            .or_else(|| Settings::difference(&self.settings, &wanted.settings))
    }
}

/// One input.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Input {
    /// The change begins, with what the metric source knew of the time before.
    Begin(Header, Vec<History>),
    /// The time is so many milliseconds; decide what can be decided.
    Tick(u64),
    /// An interval of metrics.
    Interval(Interval),
    /// What happened to the fleet, and the cursor after it.
    News { changes: Vec<FleetChange>, cursor: u64 },
    /// What the world looked like when the change thought itself done: who does not run what it should, and why not; and who could not be
    /// looked at while others could.
    Seen {
        wrong: Vec<(String, String)>,
        unseen: Vec<String>,
    },
    /// Somebody said something.
    Order(Order),
    /// Somebody said something, and was told at once that it is refused, and why. It has no effect.
    Refused { order: Order, why: String },
    /// It is over.
    End(Outcome),
    /// What the change was made from; directly behind its beginning.
    Made(Blueprint),
    /// What was known of the way back when it began.
    WayBack(Known),
    /// What was decided since the last of these. It changes nothing, and tells whoever plays the journal again whether the same is.
    Decided(Decided),
    /// Another run takes the change up, and is so patient; where its clock is another than that of the run before, with the time from
    /// which it goes on.
    Resumed {
        person_patience_ms: u64,
        clock: Option<ClockAnew>,
    },
    /// The permit withholds effects, and why; `None`: no longer.
    Permit(Option<String>),
    /// The domains in which nobody was seen, of those there are; somebody was in the others.
    Domains { unseen: Vec<u16> },
    /// What goes on around the change: a [`Seen`](crate::around::Seen) as JSON, since rules have it in that form.
    Around(String),
    /// This run has somebody who heals, and gives orders in this term.
    Healer { term: u64 },
    /// A host that the judge has named is this target, or none that lives.
    Named {
        stratum: u32,
        host: u32,
        target: Option<String>,
    },
    /// What is about to be ordered. It changes nothing, since it follows from what was before, and is there for whoever reads.
    Heal {
        id: u64,
        term: u64,
        target: String,
        remedy: Remedy,
    },
    /// How an order ended, or that nobody knows; `None`: it was never sent, as its target has no number.
    Healed {
        id: u64,
        outcome: Option<HealOutcome>,
        at_ms: u64,
    },
}

/// From when a run goes on under a clock that is another than that of the run before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClockAnew {
    /// The time of the run, never before what its journal has seen.
    pub(crate) now_ms: u64,
    /// The date then.
    pub(crate) unix_ms: i64,
    /// And what the clock outside said: a later run under the same one goes on as this one did.
    pub(crate) clock_ms: u64,
}

/// What was decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Decided {
    /// SHA-256 over the digest before, the decisions, and the targets that were started.
    pub(crate) digest: [u8; 32],
    pub(crate) at_ms: u64,
    pub(crate) starts: u32,
    pub(crate) told: Vec<Told>,
}

/// One decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Told {
    pub(crate) at_ms: u64,
    pub(crate) code: String,
    pub(crate) text: String,
}

/// 1 was without grants, 8 without a version of decisions, 19 without what is declared.
const BEGIN: u8 = 25;
const BEGIN_UNDECLARED: u8 = 19;
const BEGIN_OF_FIRST: u8 = 8;
const TICK: u8 = 2;
const INTERVAL: u8 = 3;
const NEWS: u8 = 4;
/// 5 was without the question that it answers.
const ORDER: u8 = 20;
const ORDER_OF_FIRST: u8 = 5;
const END: u8 = 6;
const SEEN: u8 = 7;
const MADE: u8 = 9;
const DECIDED: u8 = 10;
const RESUMED: u8 = 11;
const PERMIT: u8 = 12;
const DOMAINS: u8 = 13;
const AROUND: u8 = 14;
const HEALER: u8 = 15;
const NAMED: u8 = 16;
const HEAL: u8 = 17;
const HEALED: u8 = 18;
const REFUSED: u8 = 21;
const WAY_BACK: u8 = 22;
/// A [`RESUMED`] under another clock.
const RESUMED_ANEW: u8 = 23;
/// A [`SEEN`] with those that could not be looked at.
const SEEN_IN_PART: u8 = 24;

impl Input {
    /// Adds the input to a group.
    pub(crate) fn push_to(&self, group: &mut Group) -> Result<(), postcard::Error> {
        match self {
            Self::Begin(header, history) => {
                let declared = header.declared.to_json().map_err(|_| postcard::Error::SerdeSerCustom)?;
                let bytes = postcard::to_stdvec(&(header.decisions, declared, header, history))?;
                group.push(Stream::AUTOPILOT, BEGIN, &bytes);
            }
            Self::Tick(now_ms) => group.push(Stream::AUTOPILOT, TICK, &now_ms.to_le_bytes()),
            Self::Interval(interval) => {
                let mut bytes = Vec::new();
                interval.encode(&mut bytes);
                group.push(Stream::AUTOPILOT, INTERVAL, &bytes);
            }
            Self::News { changes, cursor } => {
                group.push(Stream::AUTOPILOT, NEWS, &postcard::to_stdvec(&(changes, cursor))?);
            }
            Self::Seen { wrong, unseen } if unseen.is_empty() => {
                group.push(Stream::AUTOPILOT, SEEN, &postcard::to_stdvec(wrong)?);
            }
            Self::Seen { wrong, unseen } => {
                group.push(Stream::AUTOPILOT, SEEN_IN_PART, &postcard::to_stdvec(&(wrong, unseen))?);
            }
            Self::Order(order) => group.push(Stream::AUTOPILOT, ORDER, &postcard::to_stdvec(order)?),
            Self::Refused { order, why } => {
                group.push(Stream::AUTOPILOT, REFUSED, &postcard::to_stdvec(&(order, why))?);
            }
            Self::End(outcome) => group.push(Stream::AUTOPILOT, END, &postcard::to_stdvec(outcome)?),
            Self::Made(blueprint) => group.push(Stream::AUTOPILOT, MADE, &postcard::to_stdvec(blueprint)?),
            Self::WayBack(known) => group.push(Stream::AUTOPILOT, WAY_BACK, &postcard::to_stdvec(known)?),
            Self::Decided(decided) => group.push(Stream::AUTOPILOT, DECIDED, &postcard::to_stdvec(decided)?),
            Self::Permit(withheld) => group.push(Stream::AUTOPILOT, PERMIT, &postcard::to_stdvec(withheld)?),
            Self::Domains { unseen } => group.push(Stream::AUTOPILOT, DOMAINS, &postcard::to_stdvec(unseen)?),
            Self::Around(text) => group.push(Stream::AUTOPILOT, AROUND, text.as_bytes()),
            Self::Healer { term } => group.push(Stream::AUTOPILOT, HEALER, &term.to_le_bytes()),
            Self::Named { stratum, host, target } => {
                group.push(
                    Stream::AUTOPILOT,
                    NAMED,
                    &postcard::to_stdvec(&(stratum, host, target))?,
                );
            }
            Self::Heal {
                id,
                term,
                target,
                remedy,
            } => {
                group.push(
                    Stream::AUTOPILOT,
                    HEAL,
                    &postcard::to_stdvec(&(id, term, target, remedy))?,
                );
            }
            Self::Healed { id, outcome, at_ms } => {
                group.push(Stream::AUTOPILOT, HEALED, &postcard::to_stdvec(&(id, outcome, at_ms))?);
            }
            Self::Resumed {
                person_patience_ms,
                clock: None,
            } => group.push(Stream::AUTOPILOT, RESUMED, &person_patience_ms.to_le_bytes()),
            Self::Resumed {
                person_patience_ms,
                clock: Some(anew),
            } => {
                group.push(
                    Stream::AUTOPILOT,
                    RESUMED_ANEW,
                    &postcard::to_stdvec(&(person_patience_ms, anew))?,
                );
            }
        }
        Ok(())
    }

    /// Reads a record of the stream [`Stream::AUTOPILOT`] back.
    pub(crate) fn decode(record: &Record<'_>) -> Result<Self, String> {
        let damaged = |error: postcard::Error| format!("a record of kind {} of the autopilot: {error}", record.kind);
        Ok(match record.kind {
            BEGIN => {
                let (decisions, declared, header, history): (u16, String, Header, Vec<History>) =
                    postcard::from_bytes(record.bytes).map_err(damaged)?;
                let declared = Box::new(Declared::read(&declared)?);
                Self::Begin(
                    Header {
                        decisions,
                        declared,
                        ..header
                    },
                    history,
                )
            }
            BEGIN_UNDECLARED => {
                let (decisions, header, history) = postcard::from_bytes(record.bytes).map_err(damaged)?;
                Self::Begin(Header { decisions, ..header }, history)
            }
            BEGIN_OF_FIRST => {
                let (header, history) = postcard::from_bytes(record.bytes).map_err(damaged)?;
                Self::Begin(Header { decisions: 1, ..header }, history)
            }
            TICK => Self::Tick(milliseconds(record.bytes)?),
            INTERVAL => Self::Interval(Interval::decode(record.bytes).map_err(|error| error.to_string())?),
            NEWS => {
                let (changes, cursor) = postcard::from_bytes(record.bytes).map_err(damaged)?;
                Self::News { changes, cursor }
            }
            SEEN => Self::Seen {
                wrong: postcard::from_bytes(record.bytes).map_err(damaged)?,
                unseen: Vec::new(),
            },
            SEEN_IN_PART => {
                let (wrong, unseen) = postcard::from_bytes(record.bytes).map_err(damaged)?;
                Self::Seen { wrong, unseen }
            }
            ORDER => Self::Order(postcard::from_bytes(record.bytes).map_err(damaged)?),
            ORDER_OF_FIRST => {
                let (command, actor, reason) = postcard::from_bytes(record.bytes).map_err(damaged)?;
                Self::Order(Order {
                    command,
                    actor,
                    reason,
                    question: None,
                })
            }
            REFUSED => {
                let (order, why) = postcard::from_bytes(record.bytes).map_err(damaged)?;
                Self::Refused { order, why }
            }
            END => Self::End(postcard::from_bytes(record.bytes).map_err(damaged)?),
            MADE => Self::Made(postcard::from_bytes(record.bytes).map_err(damaged)?),
            WAY_BACK => Self::WayBack(postcard::from_bytes(record.bytes).map_err(damaged)?),
            DECIDED => Self::Decided(postcard::from_bytes(record.bytes).map_err(damaged)?),
            PERMIT => Self::Permit(postcard::from_bytes(record.bytes).map_err(damaged)?),
            DOMAINS => Self::Domains {
                unseen: postcard::from_bytes(record.bytes).map_err(damaged)?,
            },
            AROUND => Self::Around(String::from_utf8(record.bytes.to_vec()).map_err(|error| error.to_string())?),
            HEALER => Self::Healer {
                term: milliseconds(record.bytes)?,
            },
            NAMED => {
                let (stratum, host, target) = postcard::from_bytes(record.bytes).map_err(damaged)?;
                Self::Named { stratum, host, target }
            }
            HEAL => {
                let (id, term, target, remedy) = postcard::from_bytes(record.bytes).map_err(damaged)?;
                Self::Heal {
                    id,
                    term,
                    target,
                    remedy,
                }
            }
            HEALED => {
                let (id, outcome, at_ms) = postcard::from_bytes(record.bytes).map_err(damaged)?;
                Self::Healed { id, outcome, at_ms }
            }
            RESUMED => Self::Resumed {
                person_patience_ms: milliseconds(record.bytes)?,
                clock: None,
            },
            RESUMED_ANEW => {
                let (person_patience_ms, anew) = postcard::from_bytes(record.bytes).map_err(damaged)?;
                Self::Resumed {
                    person_patience_ms,
                    clock: Some(anew),
                }
            }
            kind => {
                return Err(format!(
                    "records of kind {kind} of the autopilot come from a later version of it"
                ));
            }
        })
    }

    /// The input in a few words, for dumps.
    pub(crate) fn in_short(&self) -> String {
        match self {
            Self::Begin(header, _) => format!(
                "{}: {} to {} over {} targets",
                header.change, header.from, header.to, header.targets
            ),
            Self::Tick(now_ms) => format!("at {now_ms} ms"),
            Self::Interval(interval) => format!("interval {} with {} rows", interval.index, interval.rows.len()),
            Self::News { changes, .. } => format!("{} changes of the fleet", changes.len()),
            Self::Seen { wrong, unseen } if unseen.is_empty() => {
                format!("{} targets do not run what they should", wrong.len())
            }
            Self::Seen { wrong, unseen } => format!(
                "{} targets do not run what they should, {} cannot be looked at",
                wrong.len(),
                unseen.len()
            ),
            Self::Order(order) => format!("{:?} by {}: {}", order.command, order.actor, order.reason),
            Self::Refused { order, why } => format!("{:?} by {}, refused: {why}", order.command, order.actor),
            Self::End(outcome) => outcome.as_str().to_owned(),
            Self::Made(blueprint) => format!("{} targets", blueprint.targets()),
            Self::WayBack(known) => match (&known.one_way, &known.platform) {
                (Some(why), _) => format!("no way back: {why}"),
                (None, Ok(answer)) => format!("the way back: {answer:?}").to_lowercase(),
                (None, Err(why)) => format!("the way back is not known: {why}"),
            },
            Self::Decided(decided) => match decided.told.first() {
                Some(first) => format!("{} decisions, the first {}", decided.told.len(), first.code),
                None => format!("{} starts", decided.starts),
            },
            Self::Resumed { clock: None, .. } => "another run".to_owned(),
            Self::Resumed { clock: Some(anew), .. } => {
                format!("another run under another clock, from {} ms on", anew.now_ms)
            }
            Self::Domains { unseen } => format!("{} domains show nobody", unseen.len()),
            Self::Around(text) => format!("{} bytes of what goes on around", text.len()),
            Self::Healer { term } => format!("somebody heals, in term {term}"),
            Self::Named { stratum, host, target } => format!(
                "host {host} of stratum {stratum} is {}",
                target.as_deref().unwrap_or("nobody")
            ),
            Self::Heal {
                id,
                term,
                target,
                remedy,
            } => format!("heal/{term}/{id}: {} {target}", remedy.as_str()),
            Self::Healed {
                id,
                outcome: Some(outcome),
                ..
            } => format!("order {id}: {outcome:?}").to_lowercase(),
            Self::Healed { id, outcome: None, .. } => format!("order {id}: not sent"),
            Self::Permit(None) => "effects are permitted again".to_owned(),
            Self::Permit(Some(why)) => format!("no effect is permitted: {why}"),
        }
    }

    /// The name of the kind of an autopilot record, for dumps.
    pub(crate) const fn kind_name(kind: u8) -> &'static str {
        match kind {
            BEGIN | BEGIN_OF_FIRST => "begin",
            TICK => "tick",
            INTERVAL => "interval",
            NEWS => "news",
            ORDER | ORDER_OF_FIRST => "order",
            REFUSED => "refused",
            SEEN | SEEN_IN_PART => "seen",
            END => "end",
            MADE => "made",
            WAY_BACK => "way_back",
            DECIDED => "decided",
            RESUMED | RESUMED_ANEW => "resumed",
            PERMIT => "permit",
            DOMAINS => "domains",
            AROUND => "around",
            HEALER => "healer",
            NAMED => "named",
            HEAL => "heal",
            HEALED => "healed",
            _ => "unknown",
        }
    }
}

fn milliseconds(bytes: &[u8]) -> Result<u64, String> {
    let bytes = bytes
        .try_into()
        .map_err(|_| format!("a time of {} bytes, and not 8", bytes.len()))?;
    Ok(u64::from_le_bytes(bytes))
}
