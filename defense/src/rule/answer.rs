//! What a rule or check says.

use std::collections::BTreeMap;

use crate::finding::{Code, Evidence};
use crate::request::Known;
use crate::verdict::{UnknownReason, Verdict};

/// A fact may lie this far in the future before two clocks are said to disagree, in milliseconds.
const CLOCK_TOLERANCE_MS: i64 = 60_000;

/// One reason against going now.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Answer {
    pub(crate) code: Code,
    pub(crate) params: BTreeMap<String, String>,
    pub(crate) verdict: Verdict,
    /// The first start this rule alone would let pass, if it knows.
    pub(crate) until: Option<i64>,
    pub(crate) evidence: Vec<Evidence>,
}

impl Answer {
    fn new(code: Code, verdict: Verdict, until: Option<i64>) -> Self {
        Self {
            code,
            params: BTreeMap::new(),
            verdict,
            until,
            evidence: Vec::new(),
        }
    }

    /// Not at all.
    pub fn deny(code: Code) -> Self {
        Self::new(code, Verdict::Deny, None)
    }

    /// Not now; `until` is when asking again makes sense, in unix milliseconds, if that is known.
    pub fn hold(code: Code, until: Option<i64>) -> Self {
        let answer = Self::new(code, Verdict::Hold { until }, until);
        match until {
            Some(until) => answer.with("until_ms", until),
            None => answer,
        }
    }

    /// A person decides.
    pub fn needs_person(code: Code) -> Self {
        Self::new(code, Verdict::NeedsPerson, None)
    }

    /// At most `limit` targets; none is a hold without a known end.
    pub fn limit(code: Code, limit: u64) -> Self {
        match u32::try_from(limit) {
            Ok(0) => Self::hold(code, None),
            Ok(limit) => Self::new(code, Verdict::AllowLimited(limit), None),
            Err(_) => Self::new(code, Verdict::AllowLimited(u32::MAX), None),
        }
        .with("limit", limit)
    }

    /// It cannot tell, for want of `what`.
    pub fn unknown(reason: UnknownReason, what: impl Into<String>) -> Self {
        let code = match reason {
            UnknownReason::MissingLabel => Code::LabelMissing,
            UnknownReason::MixedLabels => Code::LabelMixed,
            UnknownReason::MissingFact => Code::FactMissing,
            UnknownReason::StaleFact => Code::FactStale,
            UnknownReason::FutureFact => Code::FactFuture,
            UnknownReason::Unreadable => Code::FactUnreadable,
            UnknownReason::NoEvidence => Code::FactNone,
            UnknownReason::TimedOut => Code::CheckTimeout,
            UnknownReason::Failed => Code::CheckFailed,
            UnknownReason::Panicked => Code::CheckPanicked,
            UnknownReason::TimeOutOfRange => Code::TimeRange,
        };
        let name = if code == Code::LabelMissing { "label" } else { "what" };
        Self::new(code, Verdict::Unknown(reason), None).with(name, what.into())
    }

    /// The same answer with a parameter of its code.
    pub fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.params.insert(name.to_owned(), value.to_string());
        self
    }

    /// The same answer with something it was based on.
    pub fn seen(mut self, fact: &str, at_ms: i64, seen: impl ToString) -> Self {
        self.evidence.push(Evidence {
            fact: fact.to_owned(),
            at_ms,
            seen: seen.to_string(),
        });
        self
    }
}

/// What a rule says: nothing, some reasons, or that it cannot tell.
pub(crate) type Judged = Result<Vec<Answer>, Answer>;

/// Whether an instant lies in the future, whatever two clocks may differ by.
pub(crate) fn is_future(at_ms: i64, now_ms: i64) -> bool {
    at_ms > now_ms.saturating_add(CLOCK_TOLERANCE_MS)
}

/// A fact that is there, neither too old nor from the future.
pub(crate) fn fresh<'k, T>(
    known: Option<&'k Known<T>>,
    name: &str,
    max_age_ms: u64,
    now_ms: i64,
) -> Result<&'k Known<T>, Answer> {
    let known = known.ok_or_else(|| Answer::unknown(UnknownReason::MissingFact, name))?;
    if is_future(known.at_ms, now_ms) {
        return Err(Answer::unknown(UnknownReason::FutureFact, name).with("seen_ms", known.at_ms));
    }
    if i128::from(now_ms) - i128::from(known.at_ms) > i128::from(max_age_ms) {
        return Err(Answer::unknown(UnknownReason::StaleFact, name)
            .with("seen_ms", known.at_ms)
            .with("max_age_s", max_age_ms / 1_000));
    }
    Ok(known)
}

/// A count or field that must be said.
pub(crate) fn said<T>(value: Option<T>, name: &str) -> Result<T, Answer> {
    value.ok_or_else(|| Answer::unknown(UnknownReason::MissingFact, name))
}
