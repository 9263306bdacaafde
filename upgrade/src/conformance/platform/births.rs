//! What newborns are told to run.
use super::trial::{PATIENT_TRIES, Trial};
use super::untried::Gap;
use crate::conformance::Breach;
use crate::{AttemptId, EffectKey, EffectOutcome, Generation, Phase, Version};

impl Trial<'_> {
    /// Two words on newborns, each obeyed by those that follow it and by nobody who lives; repeated and late ones change
    /// nothing.
    pub(super) async fn births(&mut self) -> Result<(), Breach> {
        let (first, second) = (self.subject.first.clone(), self.subject.second.clone());
        let key = |generation: u64, ordinal: u8| EffectKey {
            attempt: AttemptId(u64::from(ordinal)),
            generation: Generation(generation),
            step: 0,
            ordinal,
        };
        let base = self.subject.generation.0;
        let words = [
            (&second, key(base + 1, 1)),
            (&first, key(base + 1, 2)),
            (&second, key(base + 2, 1)),
        ];
        let mut given: Vec<(&Version, EffectKey)> = Vec::new();
        for (version, key) in words {
            match (self.word(version, &key).await?, self.able.desired) {
                (EffectOutcome::Applied | EffectOutcome::AlreadyApplied, true) => {}
                (EffectOutcome::Unsupported, false) => return Ok(()),
                (EffectOutcome::Unsupported, true) => {
                    let told = "a say in what newborns run is claimed and gave Unsupported";
                    return Err(Breach::new("capability.claimed", told));
                }
                (outcome, false) => {
                    let told = format!("what newborns run gave {outcome:?}");
                    return Err(Breach::new("capability.unclaimed", told));
                }
                (outcome, true) => {
                    let told = format!("what newborns run gave {outcome:?}");
                    return Err(Breach::new("desired.refused", told));
                }
            }
            let again = self.word(version, &key).await?;
            if again != EffectOutcome::AlreadyApplied {
                let told = format!("{key}, which had been applied to the scope, gave {again:?}");
                return Err(Breach::new("desired.twice", told));
            }
            for (version, late) in &given {
                let outcome = self.word(version, late).await?;
                let below = late.generation < key.generation;
                if outcome != EffectOutcome::Stale && (below || outcome != EffectOutcome::AlreadyApplied) {
                    let told = format!("{late} after {key} for a scope gave {outcome:?}");
                    return Err(Breach::new("desired.stale", told));
                }
            }
            self.nothing_happens("desired.touched", &self.alive()).await?;
            self.obeyed(version, "desired.obeyed").await?;
            given.push((version, key));
        }
        // A word on another scope, whether or not there is one of that name, is none on this one.
        let elsewhere = self.subject.nobody.to_string();
        let _ = self.platform.desired(&elsewhere, &first, &key(base + 2, 2)).await;
        self.obeyed(&second, "desired.wide").await?;
        self.word = given.pop().map(|(version, key)| (version.clone(), key));
        Ok(())
    }

    /// What newborns were to run long ago they still are to.
    pub(super) async fn word_is_known(&mut self) -> Result<(), Breach> {
        let Some((version, key)) = self.word.clone() else {
            return Ok(());
        };
        let outcome = self.word(&version, &key).await?;
        if outcome != EffectOutcome::AlreadyApplied {
            let told = format!("newborns were to run {version} by {key}, given long ago; now it gave {outcome:?}");
            return Err(Breach::new("desired.forgotten", told));
        }
        self.obeyed(&version, "desired.forgotten").await
    }

    async fn word(&self, version: &Version, key: &EffectKey) -> Result<EffectOutcome, Breach> {
        for _ in 0..PATIENT_TRIES {
            match self.platform.desired(&self.subject.scope, version, key).await {
                EffectOutcome::Unknown { .. } => self.pass(self.subject.poll_ms).await,
                EffectOutcome::Retry { after_ms } => self.pass(after_ms.max(1)).await,
                outcome => return Ok(outcome),
            }
        }
        Err(Breach::new("desired.refused", format!("{key} was never answered")))
    }

    async fn obeyed(&mut self, version: &Version, rule: &'static str) -> Result<(), Breach> {
        let Some(newborn) = self.disturb.bear(&self.subject.scope).await else {
            return Ok(());
        };
        self.has_tried(Gap::Births);
        let until = self.clock.now().saturating_add(self.subject.patience_ms);
        loop {
            let seen = self.look_at(std::slice::from_ref(&newborn)).await?.remove(0);
            match &seen.version {
                Some(found) if found == version => return self.told_of_birth(&newborn, version).await,
                Some(found) => {
                    let told = format!("{newborn} was born with {found}, and newborns were to run {version}");
                    return Err(Breach::new(rule, told));
                }
                None if seen.phase == Phase::Gone || self.clock.now() >= until => {
                    let told = format!("{newborn} was born and is {seen:?}");
                    return Err(Breach::new(rule, told));
                }
                None => self.pass(self.subject.poll_ms).await,
            }
        }
    }
}
