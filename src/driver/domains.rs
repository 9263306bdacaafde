//! Whether anybody is seen in each domain.

use std::pin::pin;
use std::sync::Arc;

use futures::future::{Either, join_all, select};
use futures::stream::{FuturesUnordered, StreamExt};
use unattended_upgrade::{Clock, Platform, TargetId};

use crate::RunError;
use crate::input::Input;
use crate::machine::Machine;

use super::Run;

/// A domain has so long to show one of a few, and no longer than a quarter of what a call may take: what has not answered by then is unseen.
const LOOK_MS: u64 = 5_000;
/// Of each domain so many are looked at first, as its every look costs a call each.
const FIRST: usize = 2;
/// And so many others where none of these is seen: two that hang are no region.
const OTHERS: usize = 8;

impl Run {
    /// Looks at a few targets of each domain, once an interval, at others each time. What is as ever is not written down.
    pub(super) async fn look_at_domains(&mut self, now_ms: u64) -> Result<(), RunError> {
        let pace = self.with(|machine| machine.setup().change.settings.interval_ms)?;
        if self.domains_seen_ms.is_some_and(|at| now_ms < at.saturating_add(pace)) {
            return Ok(());
        }
        self.domains_seen_ms = Some(now_ms);
        let look = self.domain_looks;
        self.domain_looks = look.wrapping_add(1);
        let samples = self.with(|machine| machine.domain_samples(look, FIRST + OTHERS))?;
        if samples.is_empty() {
            return Ok(());
        }
        let (platform, clock) = (Arc::clone(&self.world.platform), Arc::clone(&self.world.clock));
        let look_ms = LOOK_MS.min(self.call_ms / 4).max(1);
        let looks = samples
            .iter()
            .map(|some| is_seen(platform.as_ref(), clock.as_ref(), some, look_ms));
        // Each has an end of its own, so that one which hangs voids no other: this one is not reached.
        let Some(seen) = self
            .within_ms(look_ms.saturating_mul(4), Box::pin(join_all(looks)))
            .await?
        else {
            return Ok(());
        };
        let unseen: Vec<u16> = (0u16..).zip(seen).filter(|(_, seen)| !seen).map(|(at, _)| at).collect();
        if unseen.is_empty() && !self.with(|machine| machine.misses_domains())? {
            return Ok(());
        }
        let input = Input::Domains { unseen };
        self.input(&input)?;
        let Input::Domains { unseen } = &input else {
            return Ok(());
        };
        self.with(|machine: &mut Machine| machine.domains_seen(unseen))
    }
}

/// Whether one of these can be looked at: of the first few, or else of the others. Where nobody is left to look at, nothing is missed.
async fn is_seen(platform: &dyn Platform, clock: &dyn Clock, some: &[TargetId], look_ms: u64) -> bool {
    let (first, others) = some.split_at(FIRST.min(some.len()));
    some.is_empty()
        || any_is_seen(platform, clock, first, look_ms).await
        || any_is_seen(platform, clock, others, look_ms).await
}

/// All at once, so that none that hangs takes the time of another.
async fn any_is_seen(platform: &dyn Platform, clock: &dyn Clock, some: &[TargetId], look_ms: u64) -> bool {
    let until_ms = clock.now().saturating_add(look_ms);
    let looks = some.iter().map(|target| platform.observe(std::slice::from_ref(target)));
    let mut looks: FuturesUnordered<_> = looks.collect();
    let any = async {
        while let Some(seen) = looks.next().await {
            // An answer about nobody shows nobody.
            if seen.is_ok_and(|seen| !seen.is_empty()) {
                return true;
            }
        }
        false
    };
    match select(pin!(any), pin!(clock.sleep_until(until_ms))).await {
        Either::Left((seen, _)) => seen,
        Either::Right(_) => false,
    }
}
