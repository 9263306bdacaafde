//! The look that compares belief with the world. A call about thousands is void where one of them hangs: it is divided from look to look
//! until that one is alone, and the others are seen meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;

use futures::future::{Either, join_all, select};
use unattended_upgrade::{Clock, Observation, Platform, TargetId};

use crate::RunError;
use crate::input::Input;
use crate::machine::{Check, Commands};

use super::{Run, fault};

/// Targets looked at in one call.
const CHUNK: usize = 4_096;
/// Into so many parts a call is divided that could not be had.
const PARTS: usize = 16;
/// Calls at once.
const AT_ONCE: usize = 64;
/// Calls of one look about those that could not be seen at an earlier one. A platform that is down is asked no more often.
const MOST_APART: usize = 256;

/// What shows the same at one look after the other is looked at as rarely as this: each look says all of it in the journal.
const RARELY_MS: u64 = 10 * 60_000;
/// Of so few it may be said at every look.
const FEW: usize = 16;

/// Those that could not be seen at the looks so far.
#[derive(Debug, Default)]
pub(super) struct Looks {
    apart: BTreeMap<TargetId, Apart>,
    /// What the look before showed, who was wrong and who was not seen, and how long it was waited after it.
    last: (Vec<(String, String)>, Vec<String>),
    waits_ms: u64,
    /// How many looks there were.
    count: u64,
}

#[derive(Clone, Copy, Debug)]
struct Apart {
    /// With how many it may share its next call, itself included.
    most: usize,
    /// At which look it was asked about last.
    asked: u64,
}

/// A call: places in the list of targets.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Call {
    of: Vec<usize>,
    /// It is about some that could not be seen before.
    is_apart: bool,
}

impl Looks {
    /// The calls of the next look at these; those that are asked about no more are forgotten.
    fn calls(&mut self, targets: &[TargetId]) -> Vec<Call> {
        self.count += 1;
        let (mut calm, mut still) = (Vec::new(), BTreeMap::new());
        // By how many may share a call.
        let mut apart: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (at, target) in targets.iter().enumerate() {
            match self.apart.get(target) {
                None => calm.push(at),
                Some(known) => {
                    apart.entry(known.most).or_default().push(at);
                    still.insert(target.clone(), *known);
                }
            }
        }
        self.apart = still;
        let call = |of: &[usize], is_apart| Call {
            of: of.to_vec(),
            is_apart,
        };
        let parts = apart.iter().flat_map(|(most, all)| all.chunks((*most).max(1)));
        let mut parts: Vec<Call> = parts.map(|of| call(of, true)).collect();
        // In turn, so that nobody is starved by those before them.
        parts.sort_by_key(|part| {
            let asked = part.of.iter().map(|&at| self.apart.get(&targets[at]));
            asked.flatten().map(|known| known.asked).min()
        });
        parts.truncate(MOST_APART);
        calm.chunks(CHUNK).map(|of| call(of, false)).chain(parts).collect()
    }

    /// Takes which calls were answered.
    fn answered(&mut self, targets: &[TargetId], calls: &[(Call, bool)]) {
        for (call, was_had) in calls {
            let most = call.of.len().div_ceil(PARTS).max(1);
            for target in call.of.iter().map(|&at| &targets[at]) {
                if *was_had {
                    self.apart.remove(target);
                } else {
                    let asked = self.count;
                    self.apart.insert(target.clone(), Apart { most, asked });
                }
            }
        }
        let mut apart = calls.iter().filter(|(call, _)| call.is_apart).peekable();
        if apart.peek().is_some() && apart.all(|(_, was_had)| *was_had) {
            // The platform is back: those that have not had their turn need not be asked about one by one.
            for known in self.apart.values_mut() {
                known.most = known.most.saturating_mul(PARTS).min(CHUNK);
            }
        }
    }

    /// Whether each that could not be seen was asked about alone, or with so few that it is next: what is said of these is little, and is
    /// said again of those alone that stay so.
    fn is_divided(&self) -> bool {
        self.apart.values().all(|known| known.most == 1)
    }

    /// How long to wait after a look that showed this: twice as long as before where it is the same again.
    fn waits_ms(&mut self, wrong: &[(String, String)], unseen: &[String], pace_ms: u64) -> u64 {
        let few = wrong.len() + unseen.len() <= FEW;
        let again = !few && (self.last.0.as_slice(), self.last.1.as_slice()) == (wrong, unseen);
        self.waits_ms = match again {
            true => self.waits_ms.saturating_mul(2).min(RARELY_MS.max(pace_ms)),
            false => pace_ms,
        };
        self.last = (wrong.to_vec(), unseen.to_vec());
        self.waits_ms
    }

    fn unseen(&self) -> Vec<String> {
        self.apart.keys().map(ToString::to_string).collect()
    }
}

impl Run {
    /// Compares what the machine believes with what is.
    pub(super) async fn look(&mut self, check: &Check) -> Result<Commands, RunError> {
        if check.any {
            return self.look_at_any(&check.targets).await;
        }
        let began_ms = self.world.clock.now();
        if began_ms < self.look_again_ms {
            return Ok(Commands::default());
        }
        let calls = self.looks.calls(&check.targets);
        let (mut wrong, mut had) = (Vec::new(), Vec::new());
        for calls in calls.chunks(AT_ONCE) {
            let answers = self.observe(&check.targets, calls).await?;
            for (call, seen) in calls.iter().zip(answers) {
                let found = call.of.iter().zip(seen.iter().flatten()).filter_map(|(&at, seen)| {
                    fault(seen, &check.version).map(|why| (check.targets[at].to_string(), why))
                });
                wrong.extend(found);
                had.push((call.clone(), seen.is_some()));
            }
            if !self.shared.orders.lock().is_empty() {
                break;
            }
        }
        self.looks.answered(&check.targets, &had);
        if had.iter().any(|(_, was_had)| !was_had) {
            // Asked at each turn, what cannot be seen would hold up each for as long as a call may take.
            let pace = self.with(|machine| machine.setup().change.settings.interval_ms)?;
            self.look_again_ms = began_ms.saturating_add(pace);
        }
        if !self.shared.orders.lock().is_empty() || !self.looks.is_divided() {
            // It may be the end, and what was answered meanwhile is read before that: then it is compared again. Or it is not known yet at
            // whom it hangs.
            return Ok(Commands::default());
        }
        let any = had.iter().any(|(_, was_had)| *was_had);
        if !any && !self.sees_others(&check.targets).await? {
            // A platform that cannot be seen says nothing.
            return Ok(Commands::default());
        }
        let unseen = self.looks.unseen();
        // In one order, whichever call showed them.
        wrong.sort_unstable();
        if wrong.is_empty() && unseen.is_empty() {
            self.looks.last = Default::default();
        } else {
            let pace = self.with(|machine| machine.setup().change.settings.interval_ms)?;
            self.look_again_ms = began_ms.saturating_add(self.looks.waits_ms(&wrong, &unseen, pace));
        }
        self.seen(wrong, unseen)
    }

    fn seen(&mut self, wrong: Vec<(String, String)>, unseen: Vec<String>) -> Result<Commands, RunError> {
        let input = Input::Seen { wrong, unseen };
        self.input(&input)?;
        let Input::Seen { wrong, unseen } = &input else {
            return Ok(Commands::default());
        };
        self.with(|machine| machine.seen(wrong, unseen))
    }

    /// One that can be looked at is enough.
    async fn look_at_any(&mut self, targets: &[TargetId]) -> Result<Commands, RunError> {
        let platform = Arc::clone(&self.world.platform);
        for target in targets {
            // An answer about nobody shows nobody.
            let seen = self.within(platform.observe(std::slice::from_ref(target))).await?;
            if seen.is_some_and(|seen| seen.is_ok_and(|seen| !seen.is_empty())) {
                return self.seen(Vec::new(), Vec::new());
            }
        }
        Ok(Commands::default())
    }

    /// Nobody of these was seen: whether somebody else is, so that it is them and not the platform.
    async fn sees_others(&mut self, targets: &[TargetId]) -> Result<bool, RunError> {
        let these: BTreeSet<&TargetId> = targets.iter().collect();
        let mut others = self.with(|machine| machine.some_of_all())?;
        others.retain(|other| !these.contains(other));
        let calls = (0..others.len()).map(|at| Call {
            of: vec![at],
            is_apart: false,
        });
        let calls: Vec<Call> = calls.collect();
        let answers = self.observe(&others, &calls).await?;
        Ok(answers.iter().any(Option::is_some))
    }

    /// The answers to these calls, each by itself, so that one which hangs voids no other. An answer about others, or not about all, is none.
    async fn observe(
        &mut self,
        targets: &[TargetId],
        calls: &[Call],
    ) -> Result<Vec<Option<Vec<Observation>>>, RunError> {
        let (platform, clock) = (Arc::clone(&self.world.platform), Arc::clone(&self.world.clock));
        let until_ms = clock.now().saturating_add(self.call_ms);
        let (platform, clock) = (&platform, &clock);
        let looks = calls.iter().map(|call| async move {
            let about: Vec<TargetId> = call.of.iter().map(|&at| targets[at].clone()).collect();
            let look = pin!(platform.observe(&about));
            match select(look, pin!(clock.sleep_until(until_ms))).await {
                Either::Left((seen, _)) => seen.ok().filter(|seen| seen.len() == about.len()),
                Either::Right(_) => None,
            }
        });
        // Each has an end of its own: this one is not reached.
        let all = self.within_ms(self.call_ms.saturating_mul(2), Box::pin(join_all(looks)));
        Ok(all.await?.unwrap_or_else(|| vec![None; calls.len()]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets(count: usize) -> Vec<TargetId> {
        (0..count)
            .map(|at| TargetId::from(format!("t-{at:06}").as_str()))
            .collect()
    }

    /// One look, at which those hang: how many calls it took.
    fn look(looks: &mut Looks, targets: &[TargetId], hangs: impl Fn(usize) -> bool) -> usize {
        let calls = looks.calls(targets);
        let had: Vec<(Call, bool)> = (calls.into_iter())
            .map(|call| {
                let was_had = !call.of.iter().any(|&at| hangs(at));
                (call, was_had)
            })
            .collect();
        looks.answered(targets, &had);
        had.len()
    }

    #[test]
    fn one_that_hangs_is_alone_after_a_few_looks() {
        let (mut looks, all) = (Looks::default(), targets(10_000));
        for _ in 0..2 {
            look(&mut looks, &all, |at| at == 4_711);
            assert!(!looks.is_divided());
        }
        look(&mut looks, &all, |at| at == 4_711);
        assert_eq!((looks.is_divided(), looks.unseen().len()), (true, PARTS));
        // The few beside it are seen at the next, and it is not.
        for _ in 0..3 {
            look(&mut looks, &all, |at| at == 4_711);
            assert_eq!(
                (looks.is_divided(), looks.unseen()),
                (true, vec!["t-004711".to_owned()])
            );
        }
        look(&mut looks, &all, |_| false);
        assert_eq!(looks.unseen(), [""; 0]);
    }

    #[test]
    fn what_stays_the_same_of_many_is_looked_at_ever_more_rarely() {
        let mut looks = Looks::default();
        let names = |count: usize| (0..count).map(|at| at.to_string()).collect::<Vec<_>>();
        let minutes = |looks: &mut Looks, count| looks.waits_ms(&[], &names(count), 60_000) / 60_000;
        let waits: Vec<u64> = (0..6).map(|_| minutes(&mut looks, 100)).collect();
        assert_eq!(waits, [1, 2, 4, 8, 10, 10]);
        assert_eq!((minutes(&mut looks, 99), minutes(&mut looks, 99)), (1, 2));
        // Nobody waits so for a few.
        assert_eq!((minutes(&mut looks, 3), minutes(&mut looks, 3)), (1, 1));
    }

    #[test]
    fn a_platform_that_is_down_is_asked_little_and_seen_soon_when_it_is_back() {
        let (mut looks, all) = (Looks::default(), targets(20_000));
        for _ in 0..40 {
            assert!(look(&mut looks, &all, |_| true) <= MOST_APART);
        }
        let mut rounds = 0;
        while !looks.unseen().is_empty() {
            look(&mut looks, &all, |_| false);
            rounds += 1;
        }
        assert!(rounds < 10, "{rounds}");
    }

    #[test]
    fn some_that_hang_in_every_call_are_found_and_nobody_else_is_called_unseen() {
        let (mut looks, all) = (Looks::default(), targets(100_000));
        let hangs = |at: usize| at % 4_000 == 17;
        let mut rounds = 0;
        while rounds == 0 || !looks.is_divided() || looks.unseen().len() > 25 {
            assert!(look(&mut looks, &all, hangs) <= MOST_APART + 100_000 / CHUNK + 1);
            rounds += 1;
            assert!(rounds < 30);
        }
        assert_eq!(looks.unseen().len(), 25);
        // Who is asked about no more is forgotten.
        look(&mut looks, &all[..10], |_| false);
        assert_eq!(looks.unseen(), [""; 0]);
    }
}
