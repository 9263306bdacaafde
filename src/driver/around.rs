//! What goes on around the change: the feed of other changes, and checks.

use std::sync::Arc;

use async_trait::async_trait;
use unattended_defense::{CheckedGuard, Request, Scope, Step, Timer};
use unattended_upgrade::Clock;

use crate::around::{Around, Heard, Seen};
use crate::input::Input;
use crate::{ChangeFeed, RunError};

use super::Run;

/// Whom to ask.
pub(crate) struct Outlook {
    pub(crate) feed: Option<(Arc<dyn ChangeFeed>, Arc<Heard>)>,
    pub(crate) checks: Option<CheckedGuard>,
}

/// What the feed said last.
#[derive(Default)]
pub(super) struct LastLook {
    at_ms: Option<u64>,
    around: Around,
}

struct ClockTimer<'c>(&'c dyn Clock);

#[async_trait]
impl Timer for ClockTimer<'_> {
    async fn sleep(&self, ms: u64) {
        self.0.sleep_until(self.0.now().saturating_add(ms)).await;
    }
}

impl Run {
    /// Asks the feed and the checks, once an interval. What is as before is not written down.
    pub(super) async fn look_around(&mut self, now_ms: u64) -> Result<(), RunError> {
        let outlook = Arc::clone(&self.world.outlook);
        if outlook.feed.is_none() && outlook.checks.is_none() {
            // A run before this one may have had eyes.
            if self.with(|machine| machine.believes_in_surroundings())? {
                self.seen_around(Seen::default())?;
            }
            return Ok(());
        }
        let pace = self.with(|machine| machine.setup().change.settings.interval_ms)?;
        if self.last_look.at_ms.is_some_and(|at| now_ms < at.saturating_add(pace)) {
            return Ok(());
        }
        self.last_look.at_ms = Some(now_ms);
        let wall_ms = self.with(|machine| machine.unix_ms(now_ms))?;
        if let Some((feed, heard)) = &outlook.feed {
            // Silence changes nothing by itself: how long it may last is a check's to say.
            if let Some(Ok(around)) = self.within(feed.around()).await? {
                heard.at(wall_ms);
                self.last_look.around = around;
            }
        }
        let mut findings = Vec::new();
        if let Some(checks) = &outlook.checks {
            let request = self.with(|machine| {
                let pairs = machine.label_values().into_iter();
                let scope = pairs.fold(Scope::new(), |scope, (key, value)| scope.label(key, value));
                Request::pre(machine.setup().change.id.as_str())
                    .step(Step::Batch)
                    .scope(scope)
            })?;
            let clock = Arc::clone(&self.world.clock);
            let timer = ClockTimer(clock.as_ref());
            // It has a deadline of its own, within which attempts go on.
            let decision = Box::pin(checks.decide(&request, wall_ms, &timer));
            let Some(decision) = self.within_ms(u64::MAX, decision).await? else {
                return Ok(());
            };
            findings = decision.findings;
            for finding in &mut findings {
                // It is of this moment, and would make each look another one.
                finding.input.clear();
            }
        }
        let seen = Seen {
            around: self.last_look.around.clone(),
            findings,
        };
        if self.with(|machine| machine.has_seen(&seen))? {
            return Ok(());
        }
        self.seen_around(seen)
    }

    fn seen_around(&mut self, seen: Seen) -> Result<(), RunError> {
        let text = serde_json::to_string(&seen).map_err(|error| RunError::Journal(error.to_string()))?;
        self.input(&Input::Around(text))?;
        self.with(|machine| machine.look_around(seen))
    }
}
