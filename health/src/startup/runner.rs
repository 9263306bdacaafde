//! For programs that check themselves in one thread before they do anything else.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{Attempt, CheckAnswer, SelfCheckReport, Startup, Step};

impl Startup {
    /// Runs all checks in the calling thread. `clock` gives monotonic milliseconds, `wait` returns when the clock has
    /// reached a moment, `check` runs an attempt.
    ///
    /// A check that panics has failed. One that takes longer than its limit is a time-out as soon as it returns: nobody can
    /// stop it from outside, so give its I/O the attempt's deadline. `served` sees the report after each check, to publish
    /// it.
    ///
    /// ```
    /// use std::cell::Cell;
    /// use unattended_health::{Check, CheckAnswer, Startup};
    ///
    /// let now = Cell::new(0); // a program takes its monotonic clock, and sleeps
    /// let checks = vec![Check::new("config").required().attempts(3, 50), Check::new("memory").after("config")];
    /// let report = Startup::new("pod-7", "1.9.2", checks)?.run(
    ///     || now.get(),
    ///     |until_ms| now.set(until_ms),
    ///     |attempt| match (&*attempt.id, attempt.number) {
    ///         ("config", 1) => CheckAnswer::Fail("the control plane has no answer yet".into()),
    ///         ("config", _) => CheckAnswer::Pass("41 routes".into()),
    ///         _ => panic!("out of memory"),
    ///     },
    ///     |_| {},
    /// );
    /// let ended: Vec<_> = report.results.iter().map(|one| (one.outcome.as_str(), one.attempts)).collect();
    /// assert_eq!(ended, [("pass", 2), ("fail", 1)]);
    /// # Ok::<(), unattended_health::StartupError>(())
    /// ```
    pub fn run(
        mut self,
        mut clock: impl FnMut() -> u64,
        mut wait: impl FnMut(u64),
        mut check: impl FnMut(&Attempt) -> CheckAnswer,
        mut served: impl FnMut(&SelfCheckReport),
    ) -> SelfCheckReport {
        loop {
            match self.poll(clock()) {
                Step::Done => return self.report(),
                Step::Wait { until_ms } => wait(until_ms),
                Step::Run(attempt) => {
                    let found = catch_unwind(AssertUnwindSafe(|| check(&attempt)));
                    let answer = found.unwrap_or_else(|_| CheckAnswer::Fail("the check panicked".to_owned()));
                    self.answer(clock(), &attempt, answer);
                    served(&self.report());
                }
            }
        }
    }
}
