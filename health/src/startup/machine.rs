//! The checks as a state machine: it is told the time and what was found, and says what to run next.

use super::check::{self, Check, StartupError};
use super::report::MAX_DETAIL;
use super::{CheckOutcome, CheckResult, SelfCheckReport};

/// What a check found, with words for people.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "time-outs and skips are the machine's to say")]
pub enum CheckAnswer {
    /// What it should.
    Pass(String),
    /// Something else.
    Fail(String),
}

/// One try of one check.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attempt {
    /// Which check.
    pub id: String,
    /// From 1.
    pub number: u32,
    /// An answer at or after this moment is too late.
    pub deadline_ms: u64,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a driver must handle every step")]
pub enum Step {
    /// Run this attempt, and [answer](Startup::answer).
    Run(Attempt),
    /// Nothing, until an answer comes or this moment does; then ask again.
    Wait {
        /// When to ask again.
        until_ms: u64,
    },
    /// All checks have ended.
    Done,
}

/// Runs self-checks in their order, one at a time. A pure state machine without clock or I/O; times are milliseconds on
/// one monotonic clock of the caller's.
///
/// - A check whose predecessors did not all pass is skipped; the others run even after a required one has failed, so that
///   the report says everything at once.
/// - An attempt that fails or takes too long is followed by the next one, after the pause, until there are no more. The
///   last one decides between fail and time-out. An answer at or after the deadline is too late, whatever it says.
/// - [`report`](Self::report) may be served at any time: what has not ended is not in it, and it says that more will come.
/// - Everything ends within [`longest_ms`](Self::longest_ms), provided somebody asks.
///
/// ```
/// use unattended_health::{Check, CheckAnswer, Gate, GateVerdict, Startup, Step};
///
/// let checks = vec![
///     Check::new("config").required(),
///     Check::new("golden_request.http1").required().after("config").attempts(3, 100).limit_ms(500),
/// ];
/// let gate = Gate::new(["config", "golden_request.http1"]);
/// let mut startup = Startup::new("pod-7", "1.9.2", checks)?;
///
/// let Step::Run(config) = startup.poll(0) else { panic!() };
/// startup.answer(20, &config, CheckAnswer::Pass("41 routes".into()));
/// assert!(matches!(gate.evaluate(&startup.report()), GateVerdict::Pending { .. }));
///
/// let Step::Run(golden) = startup.poll(20) else { panic!() };
/// assert_eq!((golden.number, golden.deadline_ms), (1, 520));
/// // No answer comes.
/// assert_eq!(startup.poll(20), Step::Wait { until_ms: 520 });
/// assert_eq!(startup.poll(520), Step::Wait { until_ms: 620 });
/// let Step::Run(again) = startup.poll(620) else { panic!() };
/// startup.answer(630, &again, CheckAnswer::Pass("byte for byte".into()));
/// assert_eq!(startup.poll(630), Step::Done);
/// assert!(gate.evaluate(&startup.report()).passed());
/// # Ok::<(), unattended_health::StartupError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Startup {
    instance: String,
    version: String,
    checks: Vec<Check>,
    results: Vec<CheckResult>,
    /// Of the check at hand, which is the one after the last result.
    at_hand: Option<AtHand>,
    now_ms: u64,
}

#[derive(Clone, Debug)]
struct AtHand {
    began_ms: u64,
    /// The attempt that runs or, while pausing, that ran last.
    number: u32,
    phase: Phase,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Running { deadline_ms: u64 },
    Pausing { until_ms: u64 },
}

impl Startup {
    /// Nothing has run yet.
    ///
    /// # Errors
    ///
    /// [`StartupError`] when there are no checks or too many, two have one name, one comes after another that does not
    /// stand before it, or a number is out of range.
    pub fn new(
        instance: impl Into<String>,
        version: impl Into<String>,
        checks: Vec<Check>,
    ) -> Result<Self, StartupError> {
        check::validate(&checks)?;
        Ok(Self {
            instance: instance.into(),
            version: version.into(),
            checks,
            results: Vec::new(),
            at_hand: None,
            now_ms: 0,
        })
    }

    /// The longest that all checks can take together, in milliseconds: a controller that waits less gives up on instances
    /// that may still pass.
    #[must_use]
    pub fn longest_ms(&self) -> u64 {
        self.checks.iter().map(Check::longest_ms).sum()
    }

    /// What to do at `now_ms`. A clock that goes back is read as standing still.
    pub fn poll(&mut self, now_ms: u64) -> Step {
        self.now_ms = self.now_ms.max(now_ms);
        let now_ms = self.now_ms;
        loop {
            let Some(check) = self.checks.get(self.results.len()) else {
                return Step::Done;
            };
            let (number, began_ms) = match &self.at_hand {
                None => {
                    if let Some(detail) = self.hindrance(check) {
                        self.end(CheckOutcome::Skipped, detail);
                        continue;
                    }
                    (1, now_ms)
                }
                Some(AtHand {
                    phase: Phase::Running { deadline_ms },
                    ..
                }) => {
                    if now_ms < *deadline_ms {
                        return Step::Wait { until_ms: *deadline_ms };
                    }
                    let detail = format!("no answer within {} ms", check.limit_ms);
                    self.attempt_ended(CheckOutcome::Timeout, detail);
                    continue;
                }
                Some(AtHand {
                    phase: Phase::Pausing { until_ms },
                    ..
                }) if now_ms < *until_ms => {
                    return Step::Wait { until_ms: *until_ms };
                }
                Some(AtHand { number, began_ms, .. }) => (number + 1, *began_ms),
            };
            let deadline_ms = now_ms.saturating_add(check.limit_ms);
            let id = check.id.clone();
            self.at_hand = Some(AtHand {
                began_ms,
                number,
                phase: Phase::Running { deadline_ms },
            });
            return Step::Run(Attempt {
                id,
                number,
                deadline_ms,
            });
        }
    }

    /// What an attempt found, at `now_ms`. Whether it counted: an answer to an attempt that is over does not, and one that is
    /// too late is a time-out.
    pub fn answer(&mut self, now_ms: u64, attempt: &Attempt, answer: CheckAnswer) -> bool {
        self.now_ms = self.now_ms.max(now_ms);
        let Some(check) = self
            .checks
            .get(self.results.len())
            .filter(|check| check.id == attempt.id)
        else {
            return false;
        };
        let Some(AtHand {
            number,
            phase: Phase::Running { deadline_ms },
            ..
        }) = self.at_hand
        else {
            return false;
        };
        if number != attempt.number {
            return false;
        }
        if self.now_ms >= deadline_ms {
            let detail = format!("answered after {} ms", check.limit_ms);
            self.attempt_ended(CheckOutcome::Timeout, detail);
            return false;
        }
        match answer {
            CheckAnswer::Pass(detail) => self.end(CheckOutcome::Pass, detail),
            CheckAnswer::Fail(detail) => self.attempt_ended(CheckOutcome::Fail, detail),
        }
        true
    }

    /// The report so far.
    #[must_use]
    pub fn report(&self) -> SelfCheckReport {
        let mut report = SelfCheckReport::new(self.instance.clone(), self.version.clone(), self.results.clone());
        report.finished = self.results.len() == self.checks.len();
        report
    }

    /// Why a check is not run.
    fn hindrance(&self, check: &Check) -> Option<String> {
        let passed = |id: &str| {
            self.results
                .iter()
                .any(|one| one.id == id && one.outcome == CheckOutcome::Pass)
        };
        let missing = check.after.iter().find(|id| !passed(id))?;
        Some(format!("`{missing}` did not pass"))
    }

    /// An attempt ended without a pass: the next one, or the end.
    fn attempt_ended(&mut self, outcome: CheckOutcome, detail: String) {
        let check = &self.checks[self.results.len()];
        match &mut self.at_hand {
            Some(at_hand) if at_hand.number < check.attempts => {
                at_hand.phase = Phase::Pausing {
                    until_ms: self.now_ms.saturating_add(check.pause_ms),
                };
            }
            _ => self.end(outcome, detail),
        }
    }

    fn end(&mut self, outcome: CheckOutcome, detail: String) {
        let check = &self.checks[self.results.len()];
        let at_hand = self.at_hand.take();
        self.results.push(CheckResult {
            id: check.id.clone(),
            required: check.required,
            outcome,
            weight: check.weight,
            attempts: at_hand.as_ref().map_or(0, |at_hand| at_hand.number),
            took_ms: at_hand.map_or(0, |at_hand| self.now_ms - at_hand.began_ms),
            detail: detail.chars().take(MAX_DETAIL).collect(),
        });
    }
}
