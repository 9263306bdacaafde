//! Checks: conditions that must ask the outside world, each with a time of its own, all within one deadline.

use std::any::Any;
use std::fmt::Debug;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use async_trait::async_trait;
use futures::future::{Either, select};
use futures::stream::{FuturesUnordered, StreamExt};
use futures::{FutureExt, pin_mut};
use thiserror::Error;

use crate::decision::Decision;
use crate::finding::Finding;
use crate::guard::Guard;
use crate::guard::rules::{Source, only_holds, said_by};
use crate::request::{Phase, Request};
use crate::rule::{Answer, Ask, Terms};
use crate::scope::Labels;
use crate::selector::Match;
use crate::verdict::{UnknownReason, Verdict};

/// What a check found out.
///
/// To pass, it must have seen something: how many answers, samples or targets it looked at is part of the result, and
/// nothing seen is `Unknown`, never a pass.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Outcome {
    seen: u64,
    against: Vec<Answer>,
}

impl Outcome {
    /// It looked at so many things, and nothing stands against going.
    pub const fn clear(seen: u64) -> Self {
        Self {
            seen,
            against: Vec::new(),
        }
    }

    /// It looked at so many things, and these stand against going.
    pub const fn against(seen: u64, against: Vec<Answer>) -> Self {
        Self { seen, against }
    }

    fn answers(self) -> Vec<Answer> {
        let mut answers = self.against;
        if self.seen == 0 {
            answers.push(Answer::unknown(UnknownReason::NoEvidence, "it looked at nothing"));
        }
        answers
    }
}

/// Why a check has no outcome.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CheckError {
    /// What it asks could not be asked: not there, refused, broken off.
    #[error("{0}")]
    Failed(String),
    /// It was answered, and does not know what the answer means.
    #[error("the answer is not understood: {0}")]
    NotUnderstood(String),
}

/// A condition that must ask somebody.
///
/// It holds nothing that must be given back: when its time is over, or the decision is clear without it, its future is
/// dropped where it stands. It is told the time and has no clock of its own; whatever it answers too late is not heard.
#[async_trait]
pub trait Check: Debug + Send + Sync {
    /// Asks.
    ///
    /// # Errors
    /// It could not find out. That is `Unknown`, never a pass.
    async fn judge(&self, ask: &Ask<'_>) -> Result<Outcome, CheckError>;
}

/// The caller's time, for time budgets.
#[async_trait]
pub trait Timer: Send + Sync {
    /// Ends when so many milliseconds have passed.
    async fn sleep(&self, ms: u64);
}

/// A check, the terms under which it is imposed, and its time.
#[derive(Debug, Clone)]
struct Budgeted {
    terms: Terms,
    budget_ms: u64,
    check: Arc<dyn Check>,
}

/// A guard that also asks checks. [`Guard::decide`] needs no executor; this does, and brings none.
///
/// ```
/// use async_trait::async_trait;
/// use unattended_defense::{Ask, Check, CheckError, Guard, Outcome, Request, Terms, Timer, Verdict, app};
///
/// #[derive(Debug)]
/// struct Capacity;
///
/// #[async_trait]
/// impl Check for Capacity {
///     async fn judge(&self, ask: &Ask<'_>) -> Result<Outcome, CheckError> {
///         let spare = ask.values("app").count() as u64; // ask whoever knows
///         Ok(Outcome::clear(spare))
///     }
/// }
/// # struct Never;
/// # #[async_trait]
/// # impl Timer for Never {
/// #     async fn sleep(&self, _: u64) { std::future::pending().await }
/// # }
/// # let timer = Never;
/// let terms = Terms::new("capacity", "1", "team-capacity", "a rollback must find room");
/// let guard = Guard::empty().with_checks(2_000).check(terms, 500, Capacity);
/// let request = Request::pre("mesh-1.9.2").scope(app("pay"));
/// let decision = futures::executor::block_on(guard.decide(&request, 1_795_176_000_000, &timer));
/// assert_eq!(decision.verdict, Verdict::Allow);
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct CheckedGuard {
    guard: Guard,
    deadline_ms: u64,
    checks: Vec<Budgeted>,
}

impl Guard {
    /// This guard, with checks to come, which all together have so many milliseconds.
    pub fn with_checks(self, deadline_ms: u64) -> CheckedGuard {
        CheckedGuard {
            guard: self,
            deadline_ms,
            checks: Vec::new(),
        }
    }
}

impl CheckedGuard {
    /// The same guard with one more check, which has so many milliseconds, and never more than all together have.
    pub fn check(mut self, terms: Terms, budget_ms: u64, check: impl Check + 'static) -> Self {
        self.checks.push(Budgeted {
            terms,
            budget_ms,
            check: Arc::new(check),
        });
        self
    }

    /// The rules alone.
    #[must_use]
    pub const fn guard(&self) -> &Guard {
        &self.guard
    }

    /// May this happen now? Asks the rules first, then all checks at once, and answers as soon as nothing stricter can be
    /// said or the deadline is over. A check that has not answered by then is `Unknown`, as is one that fails or panics.
    ///
    /// Dropping the future drops all checks. The digest is that of the question to the rules; findings of checks are the
    /// outside world's, so a record must keep them ([`Decision::join`] puts them back).
    pub async fn decide(&self, request: &Request, now_ms: i64, timer: &dyn Timer) -> Decision {
        let decision = self.guard.decide(request, now_ms);
        // After a step nothing is stricter than an endless hold.
        let top = match request.phase {
            Phase::Pre => Verdict::Deny,
            Phase::Post => Verdict::Hold { until: None },
        };
        if decision.verdict >= top {
            return decision;
        }
        let labels = Labels::with_facts(&request.scope, &request.facts);
        let mut asked: FuturesUnordered<_> = self
            .checks
            .iter()
            .map(|budgeted| (budgeted, budgeted.terms.selector.matches(&labels)))
            .filter(|(_, matched)| *matched != Match::No)
            .map(|(budgeted, matched)| {
                let ask = Ask {
                    request,
                    now_ms,
                    labels: &labels,
                    selector: &budgeted.terms.selector,
                };
                self.one(budgeted, matched, ask, timer)
            })
            .collect();
        let (mut counted, mut shadow) = (Vec::new(), Vec::new());
        while let Some((on_trial, findings)) = asked.next().await {
            if on_trial {
                shadow.extend(findings);
                continue;
            }
            let clear = findings.iter().any(|finding| finding.verdict >= top);
            counted.extend(findings);
            if clear {
                break;
            }
        }
        decision.join(counted, shadow)
    }

    /// What one check says in its time.
    async fn one(
        &self,
        budgeted: &Budgeted,
        matched: Match<'_>,
        ask: Ask<'_>,
        timer: &dyn Timer,
    ) -> (bool, Vec<Finding>) {
        let terms = &budgeted.terms;
        let time_ms = budgeted.budget_ms.min(self.deadline_ms);
        let judged = AssertUnwindSafe(async { budgeted.check.judge(&ask).await }).catch_unwind();
        let over = timer.sleep(time_ms);
        pin_mut!(judged, over);
        let answers = match select(judged, over).await {
            Either::Left((Ok(Ok(outcome)), _)) => outcome.answers(),
            Either::Left((Ok(Err(error)), _)) => vec![failed(&error)],
            Either::Left((Err(panic), _)) => vec![panicked(panic.as_ref())],
            Either::Right(_) => vec![Answer::unknown(
                UnknownReason::TimedOut,
                format!("{time_ms} ms are over"),
            )],
        };
        let source = Source {
            pack: "check",
            id: &terms.id,
            version: &terms.version,
            owner: &terms.owner,
            reason: &terms.reason,
            unknown: &terms.unknown,
            tier: self.guard.tier(),
        };
        let mut findings: Vec<Finding> = answers
            .into_iter()
            .map(|answer| source.finding(answer, matched, ask.labels))
            .collect();
        only_holds(ask.request.phase, &mut findings);
        (terms.shadow, findings)
    }
}

fn failed(error: &CheckError) -> Answer {
    let reason = match error {
        CheckError::Failed(_) => UnknownReason::Failed,
        CheckError::NotUnderstood(_) => UnknownReason::Unreadable,
    };
    Answer::unknown(reason, error.to_string())
}

fn panicked(panic: &(dyn Any + Send)) -> Answer {
    Answer::unknown(UnknownReason::Panicked, said_by(panic))
}
