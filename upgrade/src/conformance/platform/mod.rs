//! The suite for platforms: `mod` has what it is given, `trial` how orders are given and looked after, the others the rules.
mod asking;
mod bad;
mod barrier;
mod births;
mod bounded;
mod config;
mod draw;
mod falls;
mod fencing;
mod history;
mod ingress;
mod looks;
mod orders;
mod slots;
mod soak;
mod together;
mod trial;
mod untried;
mod watching;

use async_trait::async_trait;
use futures::future::BoxFuture;

use super::Breach;
use crate::{Clock, Generation, InstanceId, Platform, TargetId, Version};
use bounded::Bounded;
pub use trial::Memory;
use trial::Trial;

/// What a suite may do as it likes with: a few targets of a fleet at rest.
///
/// At rest means that nobody else changes, restarts or kills them while the suite runs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Subject {
    /// Two or more targets, running [`first`](Self::first), ready, self-checked, and open where the platform controls
    /// ingress; their connections end within [`patience_ms`](Self::patience_ms) once no new ones come.
    pub targets: Vec<TargetId>,
    /// What they run.
    pub first: Version,
    /// A good version that they can run instead.
    pub second: Version,
    /// Two good configurations, for platforms that push any.
    pub configs: [Version; 2],
    /// A version that starts, stays up and never gets ready. None by default: then nothing bad is tried.
    pub bad_version: Option<Version>,
    /// A version that gets ready and fails a required self-check all the same. None by default.
    pub unfit_version: Option<Version>,
    /// A configuration that is taken and that instances refuse. None by default.
    pub bad_config: Option<Version>,
    /// A target that does not exist.
    pub nobody: TargetId,
    /// A scope in the platform's own notation, for platforms that can be told what newborns run. Default `conformance`.
    pub scope: String,
    /// A generation above all that the targets, and newborns of the scope, have had. Default 1. The suite takes some
    /// thousands of millions of generations: whoever drives these targets afterwards goes on above them.
    pub generation: Generation,
    /// The longest time that anything ordered may take until it shows, in milliseconds. Default ten minutes.
    pub patience_ms: u64,
    /// How long the suite looks on to see that nothing happens, in milliseconds. Default one minute.
    pub quiet_ms: u64,
    /// Time between looks, in milliseconds. Default one second.
    pub poll_ms: u64,
    /// How often each target is tried in turn. Default 2, so that what the first trial leaves behind is found; at least 1.
    pub rounds: u32,
    /// How many deeds are drawn after all that are planned. Default 120.
    pub deeds: u32,
    /// The seed from which they are drawn. Default 1.
    pub seed: u64,
}

impl Subject {
    /// These targets, with the defaults.
    pub fn new(targets: impl IntoIterator<Item = TargetId>, first: Version, second: Version) -> Self {
        Self {
            targets: targets.into_iter().collect(),
            first,
            second,
            configs: ["config-1", "config-2"].map(Version::from),
            bad_version: None,
            unfit_version: None,
            bad_config: None,
            nobody: TargetId::from("conformance/there-is-no-such-target"),
            generation: Generation(1),
            patience_ms: 600_000,
            quiet_ms: 60_000,
            poll_ms: 1_000,
            rounds: 2,
            deeds: 120,
            seed: 1,
            scope: "conformance".to_owned(),
        }
    }

    /// A version that nothing runs.
    fn nobody_version(&self) -> Version {
        Version::from(self.nobody.as_str())
    }

    /// Sets [`configs`](Self::configs).
    #[must_use]
    pub fn configs(mut self, configs: [Version; 2]) -> Self {
        self.configs = configs;
        self
    }

    /// Sets [`bad_version`](Self::bad_version).
    #[must_use]
    pub fn bad_version(mut self, version: Version) -> Self {
        self.bad_version = Some(version);
        self
    }

    /// Sets [`unfit_version`](Self::unfit_version).
    #[must_use]
    pub fn unfit_version(mut self, version: Version) -> Self {
        self.unfit_version = Some(version);
        self
    }

    /// Sets [`bad_config`](Self::bad_config).
    #[must_use]
    pub fn bad_config(mut self, config: Version) -> Self {
        self.bad_config = Some(config);
        self
    }

    /// Sets [`scope`](Self::scope).
    #[must_use]
    pub fn scope(mut self, scope: &str) -> Self {
        scope.clone_into(&mut self.scope);
        self
    }

    /// Sets [`rounds`](Self::rounds): one is enough where trials take real time.
    #[must_use]
    pub const fn rounds(mut self, rounds: u32) -> Self {
        self.rounds = rounds;
        self
    }

    /// Sets [`deeds`](Self::deeds) and [`seed`](Self::seed).
    #[must_use]
    pub const fn drawn(mut self, deeds: u32, seed: u64) -> Self {
        self.deeds = deeds;
        self.seed = seed;
        self
    }

    /// Sets [`generation`](Self::generation).
    #[must_use]
    pub const fn generation(mut self, generation: Generation) -> Self {
        self.generation = generation;
        self
    }

    /// Sets [`patience_ms`](Self::patience_ms), [`quiet_ms`](Self::quiet_ms) and [`poll_ms`](Self::poll_ms).
    #[must_use]
    pub const fn times(mut self, patience_ms: u64, quiet_ms: u64, poll_ms: u64) -> Self {
        self.patience_ms = patience_ms;
        self.quiet_ms = quiet_ms;
        self.poll_ms = poll_ms;
        self
    }
}

/// Things that happen to targets without an order. A platform's tests implement it to have its watch and its looks
/// tried in full; an answer of `false` or `None` means that it cannot be done here, and what needs it is left out.
#[async_trait]
pub trait Disturb: Send + Sync {
    /// Ends the instance, so that the platform's own means start another one. On return of `true` it has ended, and the
    /// platform's own records say so.
    async fn restart(&self, target: &TargetId) -> bool;

    /// Ends the target for good.
    async fn kill(&self, target: &TargetId) -> bool;

    /// Lets a target be born within a scope, and gives its name.
    async fn bear(&self, scope: &str) -> Option<TargetId> {
        let _ = scope;
        None
    }

    /// Whether a new client that takes the way of traffic ends up at this target, by whichever balancer may lead it there.
    async fn reaches(&self, target: &TargetId) -> Option<bool> {
        let _ = target;
        None
    }

    /// How many connections the tests' own clients hold open at this target and never end by themselves, of those that still
    /// work: each is asked something now, and answers.
    async fn held(&self, target: &TargetId) -> Option<u32> {
        let _ = target;
        None
    }

    /// Lets clients have so many connections or requests in service at this target that none ends before the next call; those
    /// of the call before end first. Gives how many are in service.
    async fn occupy(&self, target: &TargetId, so_many: u32) -> Option<u32> {
        let _ = (target, so_many);
        None
    }

    /// The application that runs beside the target's sidecar; once restarted it is another one.
    async fn application(&self, target: &TargetId) -> Option<InstanceId> {
        let _ = target;
        None
    }

    /// Ends the platform's adapter as a crash would, and starts it anew. On return of `true` the platform under trial answers
    /// again. News may begin anew.
    async fn reopen(&self) -> bool {
        false
    }
}

/// Nothing happens that was not ordered.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "it has no state")]
pub struct Undisturbed;

#[async_trait]
impl Disturb for Undisturbed {
    async fn restart(&self, _: &TargetId) -> bool {
        false
    }

    async fn kill(&self, _: &TargetId) -> bool {
        false
    }
}

/// Drives a platform through the contract of [`Platform`] and names the rule that it breaks, if it breaks one.
///
/// It replaces the targets' versions there and back, opens and closes their ways, hands them over, and uses every capability
/// that is claimed. It gives orders twice, at once, on the heels of one another, again after others, drops the answer half-way
/// and asks again, gives orders of generations that are over, draws [`Subject::deeds`] more from a seed, and looks on in
/// between and for long afterwards. Two things are asked of all looks together, whatever was ordered: that no look contradicts
/// itself or one before it (an instance keeps its version and never comes back; counts only grow), and that nothing changes
/// that was not ordered, at this target or at another one. Every target is tried in turn, [`Subject::rounds`] times. A target
/// that `disturb` kills is killed last.
///
/// What is not asked, since it was not given what it takes to ask, is listed by [`Memory::untried`].
///
/// Takes some dozen times [`Subject::quiet_ms`] and once [`Subject::patience_ms`] for each target. Gives what
/// [`platform_holds`] needs.
///
/// | rule | what it says |
/// | --- | --- |
/// | `call.unanswered` | every call is answered within [`Subject::patience_ms`] |
/// | `subject` | the targets are what [`Subject`] says |
/// | `observe.count`, `observe.order` | one observation for each target asked for, in that order, whoever else and how many are asked for |
/// | `observe.contradicts` | what one look says fits together: nothing is ready that does not run, nor serves that has left |
/// | `observe.version` | no version is shown that nobody ordered |
/// | `observe.invented` | a target that does not exist is [`Phase::Gone`](crate::Phase::Gone) |
/// | `observe.old-state` | an instance that was over is not shown again, nor anything from before what was told |
/// | `observe.unanswered` | looks are answered, at least now and then |
/// | `observe.restart`, `observe.gone` | what happens unasked shows, and the dead do not come back |
/// | `restart.forgets` | a restart leaves the way closed until its time, and the configuration as it was |
/// | `capability.constant`, `capability.claimed`, `capability.unclaimed` | capabilities do not change; what is claimed works, and what is not is `Unsupported` |
/// | `order.nobody` | an order for a target that does not exist, or not any more, is `Failed` |
/// | `order.refused`, `order.never` | an order that can be carried out is taken |
/// | `order.not-done` | what was taken is carried out, and shows |
/// | `order.swapped` | of two orders the later one holds |
/// | `order.other` | no other target changes |
/// | `order.undone` | what was refused, or put off, is not done |
/// | `replace.instance` | a replacement makes a new instance, and an instance keeps its version |
/// | `key.answer` | the last key that was applied is answered `AlreadyApplied`; an older one so or `Stale` |
/// | `key.overtaken` | a key that was not applied when a later one was, of whatever kind, is `Stale` |
/// | `key.at-once` | two deliveries at once are one order |
/// | `key.twice`, `key.late` | nothing is done again, at once or later, also not in the order's own time: one order makes one instance |
/// | `key.lost-answer` | nor where the first answer was never read |
/// | `key.confused` | a key with a higher ordinal is another order, also of the same step |
/// | `key.forgotten` | a key is known after a long time, and after a restart of the target |
/// | `fence.taken`, `fence.stale`, `fence.leaky` | a fence is taken; below it every kind of order is `Stale`, whatever its key, and nothing is done |
/// | `fence.back`, `fence.wide`, `fence.shut` | a lower fence does not lower it; it bars no other target, nor its own generation |
/// | `fence.undoes` | what was taken before it is carried out |
/// | `fence.forgets` | it outlives the orders after it, a long time, and a restart of the target |
/// | `prefetch.touched` | a prefetch stops and starts nothing |
/// | `ingress.closed`, `ingress.opened` | closing and opening show, and clients find it so |
/// | `ingress.drains`, `ingress.leaks` | behind a closed way connections get fewer until there are none, and none come anew |
/// | `ingress.hides` | what is in service behind a closed way is counted |
/// | `ingress.watchdog`, `ingress.early`, `ingress.deadline` | a closed way opens by itself at its time, not before, also after a fence and a replacement in place; a later closing moves the time |
/// | `ingress.watchdog` | one that comes after its time does not close for good; prefetches and configurations leave way and time alone |
/// | `ingress.unverified` | and opens onto an instance that is ready, and no other |
/// | `barrier.early`, `barrier.never`, `barrier.back` | the barrier is told behind a closed way, for this target alone, not before, and stays |
/// | `barrier.count`, `barrier.quiet` | one barrier for each target; it is quiet no longer than time has passed |
/// | `in_place.opened` | a replacement in place leaves a closed way closed |
/// | `application.restarted` | nor does it, a configuration or a hand-over restart the application |
/// | `config.acknowledged`, `config.disturbs`, `config.lost` | a pushed configuration is acknowledged, nothing restarts for it, and it outlives a replacement |
/// | `config.refused`, `config.bad`, `config.stuck` | a bad one is told as refused, the one before goes on, and a good one is taken after it |
/// | `bad.shown`, `bad.good`, `bad.stuck` | a bad version is shown, never as ready or passed, nor says so itself, and a good one takes its place |
/// | `unfit.shown`, `unfit.good` | a version that is ready and fails a self-check is shown as just that |
/// | `spawn.not-done`, `spawn.twice`, `spawn.disturbs`, `spawn.crowded` | a version starts in the free slot, once, and what serves is left alone; where no slot is free it is not taken |
/// | `stop.not-done`, `stop.wrong`, `stop.disturbs`, `stop.restarts` | the instance that is named is ended, and no other, nor one of another target; what is started in its slot after it stays passive |
/// | `reset.not-done`, `reset.disturbs`, `reset.filled` | a slot becomes empty and stays so, and the other one is left alone |
/// | `handover.not-done`, `handover.done`, `handover.nobody` | the agents do as told, and somebody accepts all the while |
/// | `handover.unguarded` | what comes before its time is not obeyed: nobody is quiet while the other one does not accept, nobody leaves before the commit |
/// | `handover.lease` | the old instance accepts again when the new one dies |
/// | `handover.disturbs`, `handover.named` | a return without a hand-over changes nothing, nor does an order for a version that nothing runs |
/// | `handover.lost`, `handover.uncounts` | no connection is lost or cut while both live; what was counted stays counted |
/// | `handover.vanished` | connections that were to move are somewhere, or it is said what became of them; those that clients hold work, but for as many as are said to have ended |
/// | `probe.count`, `probe.other`, `probe.unanswered` | one answer for each target, by the instance that a look shows, or that alone accepts after a quiesce, which says so too, if not at once |
/// | `probe.closed` | also while its way is closed |
/// | `probe.early` | and which says nothing good of itself before it is shown as running |
/// | `endpoint.shared`, `endpoint.unstable`, `endpoint.unanswered` | each slot in which something runs has an address of its own, the same each time |
/// | `endpoint.invented`, `endpoint.gone` | and no other has: neither what never ran nor what runs no more |
/// | `desired.refused`, `desired.twice`, `desired.stale` | what newborns run is taken, once, and not from an older word |
/// | `desired.touched`, `desired.obeyed` | nobody who lives is touched, and those who are born obey |
/// | `desired.wide`, `desired.forgotten` | and not the word on another scope, nor less after a long time |
/// | `watch.cursor`, `watch.forgets` | news from a cursor are what followed, the same each time, and come to an end |
/// | `durable.key`, `durable.fence`, `durable.order` | an adapter that falls while an order is under way knows of order and fence, and carries it out |
/// | `watch.lies`, `watch.lost` | they are true (who came, with which version, who left, and that those who are well again are so) and complete, also of whose instance ended |
pub fn platform_suite<'a>(
    platform: &'a dyn Platform,
    clock: &'a dyn Clock,
    subject: &'a Subject,
    disturb: &'a dyn Disturb,
) -> BoxFuture<'a, Result<Memory, Breach>> {
    // Boxed: it is large, and would be compiled anew for everybody who awaits it.
    Box::pin(async move {
        let platform = Bounded::new(platform, clock, subject.patience_ms);
        platform.judged(tried(&platform, clock, subject, disturb).await)
    })
}

async fn tried(
    platform: &Bounded<'_>,
    clock: &dyn Clock,
    subject: &Subject,
    disturb: &dyn Disturb,
) -> Result<Memory, Breach> {
    let mut trial = Trial::begin(platform, clock, subject, disturb).await?;
    trial.begin_watch().await?;
    trial.none_and_many().await?;
    for left in (0..subject.rounds.max(1)).rev() {
        trial.far = left == 0;
        for target in &subject.targets {
            trial.orders(target).await?;
            trial.ingress(target).await?;
            let application = trial.application(target).await;
            trial.in_place(target).await?;
            trial.config(target).await?;
            trial.slots(target).await?;
            trial.same_application(target, application).await?;
            trial.bad(target).await?;
            trial.probing().await?;
            trial.probed_while_starting(target).await?;
            trial.endpoints().await?;
            trial.fencing(target).await?;
        }
        trial.none_and_many().await?;
    }
    trial.adapter_falls().await?;
    trial.births().await?;
    trial.together().await?;
    trial.soak().await?;
    trial.orders_for_nobody().await?;
    trial.unclaimed().await?;
    trial.disturbed().await?;
    trial.orders_for_nobody().await?;
    trial.end_watch().await?;
    trial.memory().await
}

/// Checks that a platform remembers what [`platform_suite`] did, after its adapter (and whatever else may be) was
/// started anew: fences bar, and keys that were applied are not applied again.
///
/// | rule | what it says |
/// | --- | --- |
/// | `durable.fence` | a fence survives |
/// | `durable.key` | an applied key survives |
/// | `durable.word` | what newborns were to run is known |
/// | `durable.spawn`, `durable.commit` | what was started in a free slot runs there, and what has committed has |
/// | `durable.order` | what was ordered is so, or becomes so: an order that was under way is carried out, and a way that was closed opens at its time |
pub fn platform_holds<'a>(
    platform: &'a dyn Platform,
    clock: &'a dyn Clock,
    subject: &'a Subject,
    memory: &'a Memory,
) -> BoxFuture<'a, Result<(), Breach>> {
    Box::pin(async move {
        let platform = Bounded::new(platform, clock, subject.patience_ms);
        platform.judged(Trial::holds(&platform, clock, subject, memory).await)
    })
}
