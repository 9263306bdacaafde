//! The inputs of the autopilot as records of its stream in the journal. Each kind carries its format in its number:
//! a changed format takes a new kind.

use serde::{Deserialize, Serialize};
use unattended_health::{History, Interval};
use unattended_upgrade::{FleetChange, Group, Record, Stream};

use crate::handle::Order;
use crate::{Level, Outcome};

/// What a journal says of its change in its first record. A run that resumes must be about the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Header {
    pub(crate) change: String,
    pub(crate) author: String,
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) seed: u64,
    pub(crate) level: Level,
    pub(crate) mode: String,
    pub(crate) targets: u64,
    pub(crate) plan: String,
    pub(crate) rules: String,
    pub(crate) settings: String,
    pub(crate) began_ms: u64,
    pub(crate) began_unix_ms: i64,
}

impl Header {
    /// The first field, besides the times, in which this journal's change differs from the one at hand: its name, what
    /// the journal has, what the run wants.
    pub(crate) fn difference(&self, wanted: &Self) -> Option<(&'static str, String, String)> {
        let fields = [
            ("change", self.change.clone(), wanted.change.clone()),
            ("from", self.from.clone(), wanted.from.clone()),
            ("to", self.to.clone(), wanted.to.clone()),
            ("seed", self.seed.to_string(), wanted.seed.to_string()),
            ("level", self.level.to_string(), wanted.level.to_string()),
            ("mode", self.mode.clone(), wanted.mode.clone()),
            ("targets", self.targets.to_string(), wanted.targets.to_string()),
            ("plan", self.plan.clone(), wanted.plan.clone()),
            ("rules", self.rules.clone(), wanted.rules.clone()),
            ("settings", self.settings.clone(), wanted.settings.clone()),
            ("author", self.author.clone(), wanted.author.clone()),
        ];
        fields.into_iter().find(|(_, journal, run)| journal != run)
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
    /// What the world looked like when the change thought itself done: who does not run what it should, and why not.
    Seen(Vec<(String, String)>),
    /// Somebody said something.
    Order(Order),
    /// It is over.
    End(Outcome),
}

const BEGIN: u8 = 1;
const TICK: u8 = 2;
const INTERVAL: u8 = 3;
const NEWS: u8 = 4;
const ORDER: u8 = 5;
const END: u8 = 6;
const SEEN: u8 = 7;

impl Input {
    /// Adds the input to a group.
    pub(crate) fn push_to(&self, group: &mut Group) -> Result<(), postcard::Error> {
        match self {
            Self::Begin(header, history) => {
                group.push(Stream::AUTOPILOT, BEGIN, &postcard::to_stdvec(&(header, history))?);
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
            Self::Seen(wrong) => group.push(Stream::AUTOPILOT, SEEN, &postcard::to_stdvec(wrong)?),
            Self::Order(order) => group.push(Stream::AUTOPILOT, ORDER, &postcard::to_stdvec(order)?),
            Self::End(outcome) => group.push(Stream::AUTOPILOT, END, &postcard::to_stdvec(outcome)?),
        }
        Ok(())
    }

    /// Reads a record of the stream [`Stream::AUTOPILOT`] back.
    pub(crate) fn decode(record: &Record<'_>) -> Result<Self, String> {
        let damaged = |error: postcard::Error| format!("a record of kind {} of the autopilot: {error}", record.kind);
        Ok(match record.kind {
            BEGIN => {
                let (header, history) = postcard::from_bytes(record.bytes).map_err(damaged)?;
                Self::Begin(header, history)
            }
            TICK => {
                let bytes = record
                    .bytes
                    .try_into()
                    .map_err(|_| "a tick that is not 8 bytes long".to_owned())?;
                Self::Tick(u64::from_le_bytes(bytes))
            }
            INTERVAL => Self::Interval(Interval::decode(record.bytes).map_err(|error| error.to_string())?),
            NEWS => {
                let (changes, cursor) = postcard::from_bytes(record.bytes).map_err(damaged)?;
                Self::News { changes, cursor }
            }
            SEEN => Self::Seen(postcard::from_bytes(record.bytes).map_err(damaged)?),
            ORDER => Self::Order(postcard::from_bytes(record.bytes).map_err(damaged)?),
            END => Self::End(postcard::from_bytes(record.bytes).map_err(damaged)?),
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
            Self::Seen(wrong) => format!("{} targets do not run what they should", wrong.len()),
            Self::Order(order) => format!("{:?} by {}: {}", order.command, order.actor, order.reason),
            Self::End(outcome) => outcome.as_str().to_owned(),
        }
    }

    /// The name of the kind of an autopilot record, for dumps.
    pub(crate) const fn kind_name(kind: u8) -> &'static str {
        match kind {
            BEGIN => "begin",
            TICK => "tick",
            INTERVAL => "interval",
            NEWS => "news",
            ORDER => "order",
            SEEN => "seen",
            END => "end",
            _ => "unknown",
        }
    }
}
