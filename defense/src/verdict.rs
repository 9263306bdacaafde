//! What a rule answers, and how answers combine.

use std::cmp::{Ordering, Reverse};

use serde::{Deserialize, Serialize};

/// Why a rule could not tell. The later reason is the stronger one when two join.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum UnknownReason {
    /// A rule in force now selects on a label that neither scope nor facts name.
    MissingLabel,
    /// The scope mixes label values that change windows treat differently: ask once for each value.
    MixedLabels,
    /// A rule needs a fact, a count or a field of the change that nobody supplied.
    MissingFact,
    /// A fact is older than a rule accepts.
    StaleFact,
    /// A fact was seen in the future: one of two clocks is wrong.
    FutureFact,
    /// A value is there and cannot be understood.
    Unreadable,
    /// Nothing was seen, and nothing seen is not "all well".
    NoEvidence,
    /// A check did not answer in time.
    TimedOut,
    /// A check reported an error.
    Failed,
    /// A rule or check panicked.
    Panicked,
    /// `now` lies before 1970 or after the year 2199: nobody's clock says that.
    TimeOutOfRange,
}

impl UnknownReason {
    /// All of them, the weakest first.
    pub const ALL: [Self; 11] = [
        Self::MissingLabel,
        Self::MixedLabels,
        Self::MissingFact,
        Self::StaleFact,
        Self::FutureFact,
        Self::Unreadable,
        Self::NoEvidence,
        Self::TimedOut,
        Self::Failed,
        Self::Panicked,
        Self::TimeOutOfRange,
    ];

    /// The stable code of the reason.
    #[must_use]
    pub const fn code(self) -> &'static str {
        self.codes()[1]
    }

    const fn codes(self) -> &'static [&'static str; 2] {
        match self {
            Self::MissingLabel => &["verdict.unknown", "label.missing"],
            Self::MixedLabels => &["verdict.unknown", "label.mixed"],
            Self::MissingFact => &["verdict.unknown", "fact.missing"],
            Self::StaleFact => &["verdict.unknown", "fact.stale"],
            Self::FutureFact => &["verdict.unknown", "fact.future"],
            Self::Unreadable => &["verdict.unknown", "fact.unreadable"],
            Self::NoEvidence => &["verdict.unknown", "fact.none"],
            Self::TimedOut => &["verdict.unknown", "check.timeout"],
            Self::Failed => &["verdict.unknown", "check.failed"],
            Self::Panicked => &["verdict.unknown", "check.panicked"],
            Self::TimeOutOfRange => &["verdict.unknown", "time.range"],
        }
    }

    const fn why(self) -> &'static str {
        match self {
            Self::MissingLabel => "a rule in force selects on a label nobody supplied",
            Self::MixedLabels => "the scope mixes label values that change windows treat differently",
            Self::MissingFact => "a rule needs something nobody supplied",
            Self::StaleFact => "a fact is older than a rule accepts",
            Self::FutureFact => "a fact was seen in the future",
            Self::Unreadable => "a value cannot be understood",
            Self::NoEvidence => "nothing was seen",
            Self::TimedOut => "a check did not answer in time",
            Self::Failed => "a check reported an error",
            Self::Panicked => "a rule or check panicked",
            Self::TimeOutOfRange => "the time asked about is out of range",
        }
    }
}

/// The answer of one rule, and of all rules together.
///
/// Verdicts form a lattice, here even a chain:
///
/// ```text
/// Deny > Hold(no known end) > Hold(later) > Hold(sooner) > NeedsPerson > Unknown(reason)
///      > AllowLimited(0) > AllowLimited(1) > ... > Allow
/// ```
///
/// [`join`](Self::join) is the larger of two. So the order of rules cannot matter, asking twice changes
/// nothing, and one more rule never makes a decision laxer. [`Ord`] is this order: `max` is `join`.
///
/// As JSON: `{"verdict": "hold", "until": 1795397400000}`, `{"verdict": "allow_limited", "limit": 3}`,
/// `{"verdict": "unknown", "unknown": "stale_fact"}`, and the word alone in the same place for the rest. Fields that do
/// not belong to the word are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Words", into = "Words")]
#[expect(
    clippy::exhaustive_enums,
    reason = "whoever acts on a verdict must decide about every one of them"
)]
#[must_use = "a verdict nobody reads is a default pass"]
pub enum Verdict {
    /// Go.
    Allow,
    /// Go, with at most this many targets now. Zero means none.
    AllowLimited(u32),
    /// The engine cannot tell. Never a pass: ask a person, or supply what is missing. A rule says what its own unknown
    /// becomes, so a decision is this only where no rule was asked.
    Unknown(UnknownReason),
    /// A person decides.
    NeedsPerson,
    /// Not now.
    Hold {
        /// When asking again makes sense, in unix milliseconds; `None` when the end is not known yet.
        until: Option<i64>,
    },
    /// Not at all.
    Deny,
}

impl Verdict {
    /// The least upper bound of two verdicts: the stricter one.
    pub fn join(self, other: Self) -> Self {
        self.max(other)
    }

    /// Whether anything may start: `Allow`, or `AllowLimited` above zero.
    #[must_use]
    pub const fn may_start(self) -> bool {
        matches!(self, Self::Allow | Self::AllowLimited(1..))
    }

    /// Stable codes of the verdict by itself. [`Decision::codes`](crate::Decision::codes) has those of its findings.
    #[must_use]
    pub const fn codes(self) -> &'static [&'static str] {
        match self {
            Self::Allow => &["verdict.allow"],
            Self::AllowLimited(_) => &["verdict.allow_limited"],
            Self::Unknown(reason) => reason.codes(),
            Self::NeedsPerson => &["verdict.needs_person"],
            Self::Hold { .. } => &["verdict.hold"],
            Self::Deny => &["verdict.deny"],
        }
    }

    /// One sentence about the verdict by itself. [`Decision::why`](crate::Decision::why) names rules, owners and ends.
    #[must_use]
    pub fn why(self) -> String {
        match self {
            Self::Allow => "allowed".to_owned(),
            Self::AllowLimited(limit) => format!("allowed for at most {limit} targets now"),
            Self::Unknown(reason) => format!("cannot tell, so not allowed: {}", reason.why()),
            Self::NeedsPerson => "a person must decide".to_owned(),
            Self::Hold { until: Some(until) } => {
                format!("held until {}", crate::time::render(until, "UTC"))
            }
            Self::Hold { until: None } => "held, end not known yet".to_owned(),
            Self::Deny => "denied".to_owned(),
        }
    }

    fn rank(self) -> u8 {
        match self {
            Self::Allow => 0,
            Self::AllowLimited(_) => 1,
            Self::Unknown(_) => 2,
            Self::NeedsPerson => 3,
            Self::Hold { .. } => 4,
            Self::Deny => 5,
        }
    }
}

impl Ord for Verdict {
    fn cmp(&self, other: &Self) -> Ordering {
        match (*self, *other) {
            (Self::AllowLimited(a), Self::AllowLimited(b)) => Reverse(a).cmp(&Reverse(b)),
            (Self::Unknown(a), Self::Unknown(b)) => a.cmp(&b),
            // An end nobody knows outlasts every known one.
            (Self::Hold { until: a }, Self::Hold { until: b }) => (a.is_none(), a).cmp(&(b.is_none(), b)),
            (a, b) => a.rank().cmp(&b.rank()),
        }
    }
}

impl PartialOrd for Verdict {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A verdict as files and records write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Words {
    pub(crate) verdict: Word,
    /// Of a hold: `null` when the end is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) until: Option<i64>,
    /// Of a limited permission.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) limit: Option<u32>,
    /// Of an unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) unknown: Option<UnknownReason>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Word {
    Allow,
    AllowLimited,
    Unknown,
    NeedsPerson,
    Hold,
    Deny,
}

impl Word {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::AllowLimited => "allow_limited",
            Self::Unknown => "unknown",
            Self::NeedsPerson => "needs_person",
            Self::Hold => "hold",
            Self::Deny => "deny",
        }
    }
}

impl From<Verdict> for Words {
    fn from(verdict: Verdict) -> Self {
        let plain = |verdict| Self {
            verdict,
            until: None,
            limit: None,
            unknown: None,
        };
        match verdict {
            Verdict::Allow => plain(Word::Allow),
            Verdict::AllowLimited(limit) => Self {
                limit: Some(limit),
                ..plain(Word::AllowLimited)
            },
            Verdict::Unknown(reason) => Self {
                unknown: Some(reason),
                ..plain(Word::Unknown)
            },
            Verdict::NeedsPerson => plain(Word::NeedsPerson),
            Verdict::Hold { until } => Self {
                until,
                ..plain(Word::Hold)
            },
            Verdict::Deny => plain(Word::Deny),
        }
    }
}

impl TryFrom<Words> for Verdict {
    type Error = &'static str;

    fn try_from(words: Words) -> Result<Self, Self::Error> {
        match (words.verdict, words.until, words.limit, words.unknown) {
            (Word::Allow, None, None, None) => Ok(Self::Allow),
            (Word::AllowLimited, None, Some(limit), None) => Ok(Self::AllowLimited(limit)),
            (Word::Unknown, None, None, Some(reason)) => Ok(Self::Unknown(reason)),
            (Word::NeedsPerson, None, None, None) => Ok(Self::NeedsPerson),
            (Word::Hold, until, None, None) => Ok(Self::Hold { until }),
            (Word::Deny, None, None, None) => Ok(Self::Deny),
            _ => Err(
                "the fields beside the verdict do not belong to it: `until` to hold, `limit` to allow_limited, \
                      `unknown` to unknown",
            ),
        }
    }
}
