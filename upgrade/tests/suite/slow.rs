//! A platform at which orders wait in a queue: looks show what was before, long after an order was taken. Its adapter falls, and
//! what lies may be kept in memory alone.
use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures::executor::block_on;
use parking_lot::Mutex;
use unattended_upgrade::conformance::{Breach, Disturb, Subject, platform_holds, platform_suite};
use unattended_upgrade::*;

use crate::clock::Jumping;
use crate::disk::Process;
use crate::host::Host;

/// How long an order waits until it is begun, if none is before it.
const BEGIN_MS: u64 = 4_000;

/// How long it takes: nothing else is begun at the target meanwhile.
const TAKES_MS: u64 = 6_000;

#[derive(Clone, Debug)]
enum Deed {
    Replace(Version),
    Ingress(IngressOrder),
    Config(Version),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lie {
    None,
    /// No lie: two replacements by one version that wait together are one, and what it starts is new after both.
    Merges,
    QueueIsLost,
    FencesAreLost,
    KeysAreLost,
    ClosedWaysAreLost,
}

/// Takes orders at once, and has each carried out behind the one before it. What it has taken is never lost.
struct Queued {
    /// Carries out, whatever the key.
    inner: Host<Jumping>,
    /// Takes, and does nothing.
    desk: Host<Jumping>,
    /// By target, when each begins.
    queue: Mutex<BTreeMap<TargetId, Vec<(u64, Deed)>>>,
    lie: Lie,
}

impl Queued {
    fn new(lie: Lie) -> Self {
        let clock = Arc::new(Jumping::default());
        let host = || Host {
            clock: Arc::clone(&clock),
            disk: Arc::default(),
        };
        let (inner, desk) = (host(), host());
        for target in subject().targets {
            inner.add(&target, &"old".into());
            desk.add(&target, &"old".into());
        }
        Self {
            inner,
            desk,
            queue: Mutex::default(),
            lie,
        }
    }

    fn queue(&self, target: &TargetId, outcome: EffectOutcome, deed: Deed) -> EffectOutcome {
        if outcome == EffectOutcome::Applied {
            let mut queue = self.queue.lock();
            let queue = queue.entry(target.clone()).or_default();
            let now = self.inner.clock.now();
            let begins = queue.last().map_or(0, |(at, _)| at + TAKES_MS).max(now + BEGIN_MS);
            let waits = |version: &Version| {
                let mut waiting = queue.iter().filter(|(at, _)| *at > now);
                waiting.any(|(_, deed)| matches!(deed, Deed::Replace(other) if other == version))
            };
            match &deed {
                Deed::Replace(version) if self.lie == Lie::Merges && waits(version) => {}
                _ => queue.push((begins, deed)),
            }
        }
        outcome
    }

    /// What is due by now, in order. A way opens by itself at its time, whatever waits.
    fn carry_out(&self) {
        let now = self.inner.clock.now();
        let mut disk = self.inner.disk.lock();
        for (target, queue) in self.queue.lock().iter_mut() {
            for (at, deed) in queue.extract_if(.., |(at, _)| *at <= now) {
                disk.instances += 1;
                let instance = disk.instances;
                let Some(process) = disk.processes.get_mut(target) else {
                    continue;
                };
                match deed {
                    Deed::Replace(version) => {
                        (process.version, process.instance) = (version, instance);
                        process.ready_at = at + TAKES_MS;
                    }
                    Deed::Ingress(IngressOrder::Open) => process.closed_until = None,
                    Deed::Ingress(IngressOrder::Close { reopen_by_ms }) => process.closed_until = Some(reopen_by_ms),
                    Deed::Config(version) => process.config = version,
                }
            }
        }
    }
}

#[async_trait]
impl Disturb for Queued {
    async fn restart(&self, target: &TargetId) -> bool {
        self.carry_out();
        Host::restart(&self.inner, target)
    }

    async fn kill(&self, target: &TargetId) -> bool {
        self.desk.remove(target);
        self.inner.remove(target)
    }

    async fn reopen(&self) -> bool {
        self.carry_out();
        let forget = |host: &Host<Jumping>, what: fn(&mut Process)| {
            host.disk.lock().processes.values_mut().for_each(what);
        };
        match self.lie {
            Lie::None | Lie::Merges => {}
            Lie::QueueIsLost => self.queue.lock().clear(),
            Lie::FencesAreLost => forget(&self.desk, |process| process.fenced = Generation(0)),
            Lie::KeysAreLost => forget(&self.desk, |process| process.applied = None),
            Lie::ClosedWaysAreLost => forget(&self.inner, |process| process.closed_until = None),
        }
        true
    }
}

#[async_trait]
impl Platform for Queued {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn observe(&self, targets: &[TargetId]) -> Result<Vec<Observation>, PlatformError> {
        self.carry_out();
        self.inner.observe(targets).await
    }

    async fn replace(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        let outcome = self.desk.prefetch(target, version, key).await;
        self.queue(target, outcome, Deed::Replace(version.clone()))
    }

    async fn replace_in_place(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        self.replace(target, version, key).await
    }

    async fn prefetch(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        self.desk.prefetch(target, version, key).await
    }

    async fn ingress(&self, target: &TargetId, order: IngressOrder, key: &EffectKey) -> EffectOutcome {
        let outcome = self.desk.ingress(target, order, key).await;
        self.queue(target, outcome, Deed::Ingress(order))
    }

    async fn apply_config(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        let outcome = self.desk.apply_config(target, version, key).await;
        self.queue(target, outcome, Deed::Config(version.clone()))
    }

    async fn fence(&self, target: &TargetId, generation: Generation) -> EffectOutcome {
        self.desk.fence(target, generation).await
    }

    async fn watch(&self, cursor: u64) -> Result<News, PlatformError> {
        self.inner.watch(cursor).await
    }
}

fn subject() -> Subject {
    Subject::new(["a", "b", "c"].map(TargetId::from), "old".into(), "new".into())
}

fn tried(lie: Lie, seed: u64) -> Result<(), Breach> {
    let platform = Queued::new(lie);
    let clock = Arc::clone(&platform.inner.clock);
    let subject = subject().drawn(200, seed);
    let memory = block_on(platform_suite(&platform, clock.as_ref(), &subject, &platform))?;
    assert!(!memory.untried().join("\n").contains("Disturb::reopen"));
    block_on(platform_holds(&platform, clock.as_ref(), &subject, &memory))
}

#[test]
fn what_was_ordered_and_does_not_show_yet_is_waited_for() {
    for (lie, seed) in (0..4).flat_map(|seed| [(Lie::None, seed), (Lie::Merges, seed)]) {
        assert_eq!(tried(lie, seed), Ok(()), "seed {seed}, {lie:?}");
    }
}

#[test]
fn what_an_adapter_forgets_when_it_falls_is_found_out_by_name() {
    for (lie, rule) in [
        (Lie::QueueIsLost, "durable.order"),
        (Lie::FencesAreLost, "durable.fence"),
        (Lie::KeysAreLost, "durable.key"),
        (Lie::ClosedWaysAreLost, "in_place.opened"),
    ] {
        let found = tried(lie, 1).map_err(|breach| breach.rule);
        assert_eq!(found, Err(rule), "{lie:?}");
    }
}
