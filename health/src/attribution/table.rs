//! A table of codes, and which of several codes decides.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::tables;
use crate::FaultClass;

/// What a code says about the request that carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a code names a cause, a consequence, or nothing bad"
)]
pub enum Meaning {
    /// A cause, and whose fault it is.
    Fault(FaultClass),
    /// Something follows from another cause, as "retry limit exceeded" does. Alone it is unknown, hence own.
    Consequence,
    /// Worth noting and no error, as "served from cache" is.
    NotAnError,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) meaning: Meaning,
    /// How far from the caller the code arises: of several flags without an order, the deepest decides.
    pub(super) depth: u8,
}

/// What a request is counted as, and which code said so.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attributed {
    /// Whose fault; `None` when nothing went wrong.
    pub class: Option<FaultClass>,
    /// The code that decided; `None` when none was given.
    pub code: Option<String>,
    /// The table has the deciding code. If not, the class is [`FaultClass::Own`].
    pub known: bool,
}

impl Attributed {
    pub(super) const SERVED: Self = Self {
        class: None,
        code: None,
        known: true,
    };
}

/// Turns error codes into [fault classes](FaultClass).
///
/// - The *innermost* cause decides: of a chain the last code, of an unordered set of flags the one that arises farthest
///   from the caller, and of two equally deep ones the one that speaks more against the component.
/// - A code that the table does not have is the component's own fault, and as deep as can be: what nobody has classified
///   must not hide a regression.
/// - There are no weights here. A class that matters less is a metric with a smaller
///   [weight](crate::MetricSpec::weight); a weight that multiplies counts would make them fractional, and the tests that
///   count events invalid.
///
/// ```
/// use unattended_health::{Attribution, FaultClass, Meaning};
///
/// let table = Attribution::envoy().extend().code("TLS_CACHE", Meaning::Fault(FaultClass::Own), 3)?.build();
/// // Retries were used up because nobody could be reached.
/// assert_eq!(table.flags("UF,URX").class, Some(FaultClass::Infrastructure));
/// assert_eq!(table.flags("TLS_CACHE").class, Some(FaultClass::Own));
/// assert_eq!(table.flags("-").class, None);
/// // A code of a later version is unknown, and therefore own.
/// let unknown = table.flags("QX,UF");
/// assert_eq!((unknown.class, unknown.known), (Some(FaultClass::Own), false));
/// // No flag, and yet an error: the peer's answer, passed on.
/// assert_eq!(table.response("-", 503).class, Some(FaultClass::Business));
/// # Ok::<(), unattended_health::AttributionError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribution {
    codes: BTreeMap<Cow<'static, str>, Entry>,
}

impl Attribution {
    /// Envoy's response flags, short (`UF`) and long (`UpstreamConnectionFailure`), as access logs write them.
    #[must_use]
    pub fn envoy() -> Self {
        let both = tables::ENVOY
            .iter()
            .flat_map(|&(short, long, meaning, depth)| [(short, meaning, depth), (long, meaning, depth)]);
        Self::of(both)
    }

    /// MOSN's response flags by name, its transcoder's failure, and its codec exceptions as `codec:0`, `codec:2`,
    /// `codec:3`.
    ///
    /// By name and not by bit: the transcoder's failure and the downstream's termination share the bit 0x2000, so bits
    /// cannot tell an own fault from a client that went away.
    #[must_use]
    pub fn mosn() -> Self {
        Self::of(tables::MOSN.iter().copied())
    }

    /// Causes outside of proxies: `panic`, `assertion`, `deadlock`, `own_timeout`, `resource_exhausted`,
    /// `self_check`, `codec`, `connect`, `dns`, `tls`, `io`, `certificate`, `config`, `http_4xx`, `http_5xx`,
    /// `application_error`, `client_gone`, `rate_limited`.
    #[must_use]
    pub fn component() -> Self {
        Self::of(tables::COMPONENT.iter().copied())
    }

    fn of(entries: impl Iterator<Item = (&'static str, Meaning, u8)>) -> Self {
        let entry = |(code, meaning, depth)| (Cow::Borrowed(code), Entry { meaning, depth });
        Self {
            codes: entries.map(entry).collect(),
        }
    }

    /// An empty table to fill.
    #[must_use]
    pub const fn builder() -> AttributionBuilder {
        AttributionBuilder {
            table: Self { codes: BTreeMap::new() },
        }
    }

    /// This table, to be added to or changed.
    #[must_use]
    pub const fn extend(self) -> AttributionBuilder {
        AttributionBuilder { table: self }
    }

    /// What the table has for a code.
    #[must_use]
    pub fn meaning(&self, code: &str) -> Option<Meaning> {
        self.codes.get(code).map(|entry| entry.meaning)
    }

    /// All codes, sorted.
    pub fn codes(&self) -> impl Iterator<Item = (&str, Meaning)> {
        self.codes.iter().map(|(code, entry)| (&**code, entry.meaning))
    }

    /// Attributes an unordered set of flags as an access log has them: separated by commas, `-` or nothing for none.
    #[must_use]
    pub fn flags(&self, flags: &str) -> Attributed {
        let codes = flags
            .split(',')
            .map(str::trim)
            .filter(|code| !code.is_empty() && *code != "-");
        // Deepest first; of equals, what speaks most against the component, then by name, so that the order in which the
        // flags were written decides nothing.
        let deepest = codes.max_by_key(|code| match self.codes.get(*code) {
            None => (u8::MAX, u8::MAX, *code),
            Some(entry) => (entry.depth, suspicion(entry.meaning), *code),
        });
        deepest.map_or(Attributed::SERVED, |code| self.judged(code))
    }

    /// Attributes a response by its flags; one without flags and with a status of 400 or above was answered by the peer
    /// and passed on, which is the business's.
    #[must_use]
    pub fn response(&self, flags: &str, status: u16) -> Attributed {
        let by_flags = self.flags(flags);
        if by_flags.code.is_some() || status < 400 {
            return by_flags;
        }
        Attributed {
            class: Some(FaultClass::Business),
            code: Some(status.to_string()),
            known: true,
        }
    }

    /// Attributes a chain of causes, outermost first: the last one decides. Consequences at its end are skipped, since
    /// they are nobody's cause.
    #[must_use]
    pub fn innermost(&self, chain: &[&str]) -> Attributed {
        let cause = chain
            .iter()
            .rev()
            .find(|code| self.meaning(code) != Some(Meaning::Consequence));
        match cause.or_else(|| chain.last()) {
            None => Attributed::SERVED,
            Some(code) => self.judged(code),
        }
    }

    fn judged(&self, code: &str) -> Attributed {
        let (class, known) = match self.meaning(code) {
            Some(Meaning::Fault(class)) => (Some(class), true),
            Some(Meaning::NotAnError) => (None, true),
            Some(Meaning::Consequence) | None => (Some(FaultClass::Own), false),
        };
        Attributed {
            class,
            code: Some(code.to_owned()),
            known,
        }
    }
}

/// Higher speaks more against the component.
const fn suspicion(meaning: Meaning) -> u8 {
    match meaning {
        Meaning::Fault(FaultClass::Own) => 8,
        Meaning::Fault(FaultClass::Ambiguous) => 7,
        Meaning::Fault(FaultClass::Config) => 6,
        Meaning::Fault(FaultClass::Infrastructure) => 5,
        Meaning::Fault(FaultClass::Business) => 4,
        Meaning::Fault(FaultClass::Client) => 3,
        Meaning::Fault(FaultClass::Policy) => 2,
        Meaning::Consequence => 1,
        Meaning::NotAnError => 0,
    }
}

/// Builds an [`Attribution`].
#[derive(Clone, Debug)]
pub struct AttributionBuilder {
    table: Attribution,
}

impl AttributionBuilder {
    /// Adds a code, or changes what it means. `depth` is how far from the caller it arises, 0 to 9: the ready tables use
    /// 0 for consequences and notes, 1 for what the caller does, 2 for what the component decides itself, 3 for what
    /// happens on the way to the peer and at it.
    ///
    /// # Errors
    ///
    /// [`AttributionError`] when the code cannot stand in a list of flags, or the depth is above 9.
    pub fn code(mut self, code: impl Into<String>, meaning: Meaning, depth: u8) -> Result<Self, AttributionError> {
        let code = code.into();
        let writable = |c: char| c.is_ascii_graphic() && c != ',';
        if code.is_empty() || code == "-" || !code.chars().all(writable) {
            return Err(AttributionError::Code { code });
        }
        if depth > 9 {
            return Err(AttributionError::Depth { code, depth });
        }
        self.table.codes.insert(code.into(), Entry { meaning, depth });
        Ok(self)
    }

    /// The table.
    #[must_use]
    pub fn build(self) -> Attribution {
        self.table
    }
}

/// Why a code was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AttributionError {
    /// It could not be told from another in a list of flags.
    #[error("`{code}` cannot be a code: use printable ASCII without commas or spaces, and not `-` alone")]
    Code {
        /// The code.
        code: String,
    },
    /// Only ten depths exist.
    #[error("code `{code}`: depth {depth} is above 9; the ready tables use 0 to 3")]
    Depth {
        /// The code.
        code: String,
        /// The depth.
        depth: u8,
    },
}
