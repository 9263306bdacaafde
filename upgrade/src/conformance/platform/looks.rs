//! Looks, by all and by some, until something shows or to see that nothing does.
use std::collections::BTreeMap;

use super::draw::Draw;
use super::trial::{PATIENT_TRIES, Trial};
use crate::conformance::Breach;
use crate::{Ingress, Moves, Observation, Phase, SelfCheck, TargetId, Version};

/// Targets that are asked for in one call to see whether all are answered: more than a page of most control planes.
const MANY: usize = 3_000;

impl Trial<'_> {
    /// Looks at these, however often it takes to be answered.
    pub(super) async fn look_at(&mut self, targets: &[TargetId]) -> Result<Vec<Observation>, Breach> {
        let mut last = String::new();
        for _ in 0..PATIENT_TRIES {
            match self.platform.observe(targets).await {
                Ok(seen) if seen.len() == targets.len() => return Ok(seen),
                Ok(seen) => {
                    let told = format!("{} observations of {} targets", seen.len(), targets.len());
                    return Err(Breach::new("observe.count", told));
                }
                Err(error) => last = error.to_string(),
            }
            self.pass(self.subject.poll_ms).await;
        }
        Err(Breach::new("observe.unanswered", last))
    }

    /// Looks at everybody, in another order each time, with somebody who does not exist and somebody who is named twice.
    pub(super) async fn look(&mut self) -> Result<BTreeMap<TargetId, Observation>, Breach> {
        let mut asked = self.subject.targets.clone();
        let turn = usize::try_from(self.looks).unwrap_or(0);
        self.looks += 1;
        let by = turn % asked.len();
        asked.rotate_left(by);
        if turn % 3 == 1 {
            asked.reverse();
        }
        let stranger = turn % (asked.len() + 1);
        asked.insert(stranger, self.subject.nobody.clone());
        let twice = asked[(turn / 2) % asked.len()].clone();
        asked.push(twice);
        let seen = self.look_at(&asked).await?;
        let mut found: BTreeMap<TargetId, Observation> = BTreeMap::new();
        for (target, seen) in asked.iter().zip(seen) {
            if *target == self.subject.nobody {
                if seen.phase != Phase::Gone {
                    let told = format!("{target} does not exist and is shown as {seen:?}");
                    return Err(Breach::new("observe.invented", told));
                }
                continue;
            }
            if seen.phase == Phase::Gone && !self.dead.contains(target) {
                return Err(Breach::new("observe.order", format!("{target} is shown as gone")));
            }
            if seen.phase != Phase::Gone && self.buried.contains(target) {
                let told = format!("{target} had left for good, and is shown as {seen:?}");
                return Err(Breach::new("observe.gone", told));
            }
            if let Some(other) = found.insert(target.clone(), seen.clone())
                && alike(&other) != alike(&seen)
            {
                let told = format!("{target}, named twice, is shown as {other:?} and as {seen:?}");
                return Err(Breach::new("observe.order", told));
            }
        }
        for (target, seen) in &found {
            self.history.take(target, seen)?;
        }
        Ok(found)
    }

    /// Looks at one alone, which must not lie behind or before a look at all.
    pub(super) async fn look_alone(&mut self, target: &TargetId) -> Result<Observation, Breach> {
        let seen = self.look_at(std::slice::from_ref(target)).await?.remove(0);
        self.history.take(target, &seen)?;
        Ok(seen)
    }

    /// Nobody, and very many at once, are answered as well as a few.
    pub(super) async fn none_and_many(&mut self) -> Result<(), Breach> {
        self.look_at(&[]).await?;
        let nobody = &self.subject.nobody;
        let pool: Vec<&TargetId> = self.subject.targets.iter().chain([nobody]).collect();
        // In no order that a page could repeat.
        let mut draw = Draw::new(self.subject.seed);
        let asked: Vec<TargetId> = (0..MANY).map(|_| pool[draw.below(pool.len())].clone()).collect();
        let seen = self.look_at(&asked).await?;
        for (target, seen) in asked.iter().zip(&seen) {
            if target == nobody && seen.phase != Phase::Gone {
                let told = format!("among {MANY} {target}, which does not exist, is shown as {seen:?}");
                return Err(Breach::new("observe.invented", told));
            }
            if target != nobody {
                self.is_at_rest("observe.order", target, seen)?;
            }
        }
        Ok(())
    }

    pub(super) async fn pass(&self, ms: u64) {
        self.clock.sleep_until(self.clock.now().saturating_add(ms)).await;
    }

    pub(super) fn is_at_rest(&self, rule: &'static str, target: &TargetId, seen: &Observation) -> Result<(), Breach> {
        let before = &self.rest[target];
        let mut now = alike(seen);
        if seen.ingress == Ingress::Unknown {
            // It cannot tell just now, as after a start of its own: that is not something that happened.
            now.ingress = before.ingress;
        }
        if self.moving.contains(target) || alike(before) == now {
            return Ok(());
        }
        Err(Breach::new(rule, format!("{target} was {before:?} and is {seen:?}")))
    }

    /// Looks on for a while: nothing may change, at this target by `rule` and at no other one either.
    pub(super) async fn nothing_happens(&mut self, rule: &'static str, target: &TargetId) -> Result<(), Breach> {
        self.nothing_for(self.subject.quiet_ms, rule, target).await
    }

    /// As [`nothing_happens`](Self::nothing_happens), for so long.
    pub(super) async fn nothing_for(&mut self, ms: u64, rule: &'static str, target: &TargetId) -> Result<(), Breach> {
        let until = self.clock.now().saturating_add(ms);
        // Most of what happens happens soon.
        let mut step_ms = self.subject.poll_ms;
        loop {
            let seen = self.look().await?;
            for (name, seen) in &seen {
                self.is_at_rest(if name == target { rule } else { "order.other" }, name, seen)?;
            }
            let now = self.clock.now();
            if now >= until {
                return Ok(());
            }
            self.pass(step_ms.min(until - now)).await;
            step_ms = step_ms.saturating_mul(2).min((ms / 8).max(self.subject.poll_ms));
        }
    }

    /// Looks on until this target is as it should be, which becomes its new state of rest. No other one may change.
    pub(super) async fn until(
        &mut self,
        rule: &'static str,
        target: &TargetId,
        wanted: impl Fn(&Observation) -> bool + Send,
    ) -> Result<(), Breach> {
        let until = self.clock.now().saturating_add(self.subject.patience_ms);
        loop {
            let mut all = self.look().await?;
            for (name, seen) in all.iter().filter(|(name, _)| *name != target) {
                self.is_at_rest("order.other", name, seen)?;
            }
            let Some(mut seen) = all.remove(target) else {
                return Err(Breach::new("observe.count", format!("{target} is not shown")));
            };
            if self.looks.is_multiple_of(2) {
                seen = self.look_alone(target).await?;
            }
            if wanted(&seen) {
                self.moving.remove(target);
                self.rest.insert(target.clone(), seen);
                return Ok(());
            }
            if self.clock.now() >= until {
                let told = format!("{target} is still {seen:?} after {} ms", self.subject.patience_ms);
                return Err(Breach::new(rule, told));
            }
            self.pass(self.subject.poll_ms).await;
        }
    }
}

/// Runs this version, is ready and says so.
pub(super) fn runs(seen: &Observation, version: &Version) -> bool {
    seen.phase == Phase::Running
        && seen.version.as_ref() == Some(version)
        && seen.instance.is_some()
        && seen.ready
        && seen.self_check == SelfCheck::Passed
}

/// What does not change by itself: everything but the connections.
pub(super) fn alike(seen: &Observation) -> Observation {
    let mut alike = Observation {
        active: None,
        ..seen.clone()
    };
    if let Some(pair) = &mut alike.pair {
        pair.moves = Moves::default();
        for slot in &mut pair.slots {
            (slot.accepted, slot.connections) = (None, None);
        }
    }
    alike
}
