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
    /// `now` lies before 1970 or after the year 2199: nobody's clock says that.
    TimeOutOfRange,
}

impl UnknownReason {
    /// The stable code of the reason.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::MissingLabel => "label.missing",
            Self::MixedLabels => "label.mixed",
            Self::TimeOutOfRange => "time.range",
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
/// `Deny`, `NeedsPerson` and `AllowLimited` are part of the lattice so that an embedder's own answers can be
/// joined with the guard's; the rules of this version answer `Allow`, `Unknown` or `Hold`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "verdict", content = "of")]
#[expect(
    clippy::exhaustive_enums,
    reason = "whoever acts on a verdict must decide about every one of them"
)]
#[must_use = "a verdict nobody reads is a default pass"]
pub enum Verdict {
    /// Go.
    Allow,
    /// Go, with at most this many targets at a time. Zero means none.
    AllowLimited(u32),
    /// The engine cannot tell. Never a pass: ask a person, or supply what is missing.
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
            Self::Unknown(UnknownReason::MissingLabel) => &["verdict.unknown", "label.missing"],
            Self::Unknown(UnknownReason::MixedLabels) => &["verdict.unknown", "label.mixed"],
            Self::Unknown(UnknownReason::TimeOutOfRange) => &["verdict.unknown", "time.range"],
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
            Self::AllowLimited(limit) => format!("allowed for at most {limit} targets at a time"),
            Self::Unknown(reason) => format!(
                "cannot tell, so not allowed: {}",
                match reason {
                    UnknownReason::MissingLabel => "a rule in force selects on a label nobody supplied",
                    UnknownReason::MixedLabels => "the scope mixes label values that change windows treat differently",
                    UnknownReason::TimeOutOfRange => "the time asked about is out of range",
                }
            ),
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
