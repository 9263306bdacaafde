//! Barriers: what those who send traffic have heard of a closing.
use super::trial::{PATIENT_TRIES, Trial};
use crate::conformance::Breach;
use crate::{Barrier, PlatformError, TargetId};

impl Trial<'_> {
    /// The way to everybody is open, so nobody has been taken out.
    pub(super) async fn no_barrier_yet(&mut self) -> Result<(), Breach> {
        let targets: Vec<TargetId> = self.living();
        self.nobody_is_out(&targets).await
    }

    async fn nobody_is_out(&mut self, targets: &[TargetId]) -> Result<(), Breach> {
        if !self.able.barrier {
            return Ok(());
        }
        let barriers = self.barriers(targets).await?;
        match targets.iter().zip(barriers).find(|(_, barrier)| barrier.told) {
            Some((target, barrier)) => {
                let told = format!("the way to {target} is open, and its barrier is {barrier:?}");
                Err(Breach::new("barrier.early", told))
            }
            None => Ok(()),
        }
    }

    /// The way to this target is closed, and to the others it is open: the barrier comes, for this one alone, stays, and
    /// gets no quieter than time passes.
    pub(super) async fn barrier_comes(&mut self, target: &TargetId) -> Result<(), Breach> {
        if !self.able.barrier {
            return Ok(());
        }
        let others: Vec<TargetId> = self.living().into_iter().filter(|other| other != target).collect();
        let until = self.clock.now().saturating_add(self.subject.patience_ms);
        let mut before: Option<(Barrier, u64)> = None;
        let mut known_since = None;
        let mut reached = None;
        let mut turns = 0;
        loop {
            // First and last in turn, so that an answer is not the right one by its place.
            let mut asked = others.clone();
            turns += 1;
            let place = if turns % 2 == 0 { 0 } else { asked.len() };
            asked.insert(place, target.clone());
            let asked_at = self.clock.now();
            let mut barriers = self.barriers(&asked).await?;
            let barrier = barriers.remove(place);
            if let Some(place) = barriers.iter().position(|barrier| barrier.told) {
                let told = format!("{target} is closed and {} is said to be out", others[place]);
                return Err(Breach::new("barrier.early", told));
            }
            let now = self.clock.now();
            if let Some((before, before_at)) = before {
                if before.told && !barrier.told {
                    let told = format!("everybody had taken {target} out, and now it is {barrier:?}");
                    return Err(Breach::new("barrier.back", told));
                }
                if let (Some(quiet), Some(then)) = (barrier.quiet_ms, before.quiet_ms)
                    && quiet > then.saturating_add(now - before_at)
                {
                    let told = format!(
                        "{target} was quiet for {then} ms, {} ms ago, and is for {quiet}",
                        now - before_at
                    );
                    return Err(Breach::new("barrier.quiet", told));
                }
            }
            before = Some((barrier, asked_at));
            known_since = if barrier.told { known_since.or(Some(now)) } else { None };
            if barrier.is_reached(known_since.map_or(0, |since| now - since)) {
                let since = *reached.get_or_insert(now);
                if now - since >= self.subject.quiet_ms {
                    return Ok(());
                }
            } else if let Some(since) = reached {
                let told = format!("{target} was out at {since} and has had traffic since: {barrier:?}");
                return Err(Breach::new("ingress.leaks", told));
            } else if now >= until {
                let told = format!("the way to {target} is closed, and its barrier is still {barrier:?}");
                return Err(Breach::new("barrier.never", told));
            }
            self.pass(self.subject.poll_ms).await;
        }
    }

    async fn barriers(&self, targets: &[TargetId]) -> Result<Vec<Barrier>, Breach> {
        for _ in 0..PATIENT_TRIES {
            match self.platform.ingress_barrier(targets).await {
                Ok(answers) if answers.len() == targets.len() => return Ok(answers),
                Ok(answers) => {
                    let told = format!("{} barriers of {} targets", answers.len(), targets.len());
                    return Err(Breach::new("barrier.count", told));
                }
                Err(PlatformError::Unsupported(_)) => {
                    let told = "a barrier is claimed and gave Unsupported";
                    return Err(Breach::new("capability.claimed", told));
                }
                Err(_) => self.pass(self.subject.poll_ms).await,
            }
        }
        Err(Breach::new("barrier.never", "the barrier was never told"))
    }
}
