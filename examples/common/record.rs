//! Writes down what happens to a change, whoever drives it: the format that shadow mode reads.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use serde::Serialize;
use unattended::health::{History, Interval, Member, MetricSource, SourceError};
use unattended::upgrade::{
    Barrier, Capabilities, Clock, EffectKey, EffectOutcome, Generation, IngressOrder, News, Observation, Phase,
    Platform, PlatformError, Probe, SelfCheck, TargetId, Version, WayBack,
};
use unattended::{Ending, Event, RECORD_SCHEMA, RecordedChange, RecordedTarget};
use unattended_examples_support::Failure;
use unattended_simulated::{InitialState, SimTarget, Simulated};

/// The simulated world with somebody beside it who takes notes. Upgrades cold and warm.
pub(crate) struct Recorder {
    world: Arc<Simulated>,
    new: Version,
    notes: Option<Mutex<Notes>>,
}

struct Notes {
    path: PathBuf,
    out: BufWriter<File>,
    targets: BTreeMap<String, SimTarget>,
    begun: bool,
    /// What was ordered and is not fulfilled: the new version, or back.
    open: BTreeMap<String, bool>,
    next_interval: u64,
    failed: Option<std::io::Error>,
}

impl Deref for Recorder {
    type Target = Simulated;

    fn deref(&self) -> &Simulated {
        &self.world
    }
}

impl Recorder {
    /// Takes no notes.
    pub(crate) fn idle(world: Arc<Simulated>, new: Version) -> Self {
        Self {
            world,
            new,
            notes: None,
        }
    }

    /// Takes notes in a file of a change from its beginning.
    pub(crate) fn new(
        world: Arc<Simulated>,
        path: &Path,
        targets: &[SimTarget],
        change: &RecordedChange,
    ) -> Result<Self, Failure> {
        let file = File::create(path).map_err(|error| unwritten(path, &error))?;
        let mut notes = Notes {
            path: path.to_owned(),
            out: BufWriter::new(file),
            targets: targets
                .iter()
                .map(|target| (target.id.clone(), target.clone()))
                .collect(),
            begun: false,
            open: BTreeMap::new(),
            next_interval: 0,
            failed: None,
        };
        notes.head("change", change);
        Ok(Self {
            new: change.to.as_str().into(),
            world,
            notes: Some(Mutex::new(notes)),
        })
    }

    /// The change is over. Fails where the record could not be written: it breaks off, and the change is what it is.
    pub(crate) fn ended(&self, how: Ending) -> Result<(), Failure> {
        let Some(notes) = &self.notes else { return Ok(()) };
        let mut notes = notes.lock();
        let at_ms = self.world.clock().now();
        notes.event(&Event::Ended { at_ms, how });
        let failed = notes.failed.take().or_else(|| notes.out.flush().err());
        failed.map_or(Ok(()), |error| Err(unwritten(&notes.path, &error)))
    }

    fn ordered(&self, target: &TargetId, version: &Version) {
        let Some(notes) = &self.notes else { return };
        let new = *version == self.new;
        let mut notes = notes.lock();
        if notes.open.insert(target.to_string(), new) != Some(new) {
            notes.event(&Event::Ordered {
                at_ms: self.world.clock().now(),
                target: target.to_string(),
                new,
            });
        }
    }

    fn seen(&self, targets: &[TargetId], seen: &[Observation]) {
        let Some(notes) = &self.notes else { return };
        let mut notes = notes.lock();
        let at_ms = self.world.clock().now();
        for (target, seen) in targets.iter().zip(seen) {
            let Some(&new) = notes.open.get(target.as_str()) else {
                continue;
            };
            if (seen.version.as_ref() == Some(&self.new)) != new {
                continue;
            }
            let target = target.to_string();
            let event = match (seen.phase, &seen.self_check) {
                (Phase::Running, SelfCheck::Passed) if seen.ready => Event::Ready { at_ms, target, new },
                (Phase::Running, SelfCheck::Failed { check }) if new => Event::Failed {
                    at_ms,
                    target,
                    why: format!("self-check {check} failed"),
                },
                (Phase::Crashing, _) if new => Event::Failed {
                    at_ms,
                    target,
                    why: "it crashed".to_owned(),
                },
                _ => continue,
            };
            let (Event::Ready { target, .. } | Event::Failed { target, .. }) = &event else {
                continue;
            };
            notes.open.remove(target);
            notes.event(&event);
        }
    }
}

impl Notes {
    /// Keeps the first thing that goes wrong: it is said at the end. A record with a hole would be another story, so nothing follows.
    fn line(&mut self, line: &impl Serialize) {
        if self.failed.is_some() {
            return;
        }
        let written = serde_json::to_writer(&mut self.out, line)
            .map_err(std::io::Error::from)
            .and_then(|()| self.out.write_all(b"\n"));
        self.failed = written.err();
    }

    fn head(&mut self, kind: &'static str, what: &impl Serialize) {
        #[derive(Serialize)]
        struct Head<'w, W> {
            r#type: &'static str,
            #[serde(flatten)]
            what: &'w W,
        }
        self.line(&Head { r#type: kind, what });
    }

    fn event(&mut self, event: &Event) {
        self.line(event);
    }

    /// Those who are followed from the beginning, with the strata that they are counted in.
    fn fleet(&mut self, members: &[Member]) {
        if std::mem::replace(&mut self.begun, true) {
            return;
        }
        for member in members {
            let Some(target) = self.targets.remove(&member.target) else {
                continue;
            };
            let recorded = RecordedTarget {
                ready: target.state == InitialState::Healthy,
                id: target.id,
                app: target.app,
                labels: target.labels.into_iter().collect(),
                stratum: member.stratum,
            };
            self.head("target", &recorded);
        }
    }

    /// An interval, in its compact form.
    fn interval(&mut self, interval: &Interval) {
        if interval.index < self.next_interval {
            return;
        }
        self.next_interval = interval.index + 1;
        let mut bytes = Vec::new();
        interval.encode(&mut bytes);
        let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or('0');
        let packed: String = bytes
            .iter()
            .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
            .collect();
        self.line(&serde_json::json!({"type": "packed", "interval": packed}));
    }
}

fn unwritten(path: &Path, error: &std::io::Error) -> Failure {
    Failure::unwritten(format_args!("{}: the record (--record)", path.display()), error)
}

/// What a record says of its change.
pub(crate) fn recorded(
    [change, tool]: [&str; 2],
    [from, to]: [&str; 2],
    began_unix_ms: i64,
    seed: Option<u64>,
) -> RecordedChange {
    RecordedChange {
        schema: RECORD_SCHEMA,
        change: change.to_owned(),
        tool: tool.to_owned(),
        from: from.to_owned(),
        to: to.to_owned(),
        began_unix_ms,
        interval_ms: 60_000,
        seed,
    }
}

#[async_trait]
impl MetricSource for Recorder {
    async fn follow(&self, members: &[Member]) -> Result<(), SourceError> {
        self.world.follow(members).await?;
        if let Some(notes) = &self.notes {
            notes.lock().fleet(members);
        }
        Ok(())
    }

    async fn history(&self) -> Result<Vec<History>, SourceError> {
        let history = self.world.history().await?;
        if let Some(notes) = &self.notes {
            let mut notes = notes.lock();
            history.iter().for_each(|row| notes.head("history", row));
        }
        Ok(history)
    }

    async fn read(&self, index: u64, end_ms: u64) -> Result<Interval, SourceError> {
        let interval = self.world.read(index, end_ms).await?;
        if let Some(notes) = &self.notes {
            notes.lock().interval(&interval);
        }
        Ok(interval)
    }
}

#[async_trait]
impl Platform for Recorder {
    fn capabilities(&self) -> Capabilities {
        self.world.capabilities()
    }

    async fn observe(&self, targets: &[TargetId]) -> Result<Vec<Observation>, PlatformError> {
        let seen = self.world.observe(targets).await?;
        self.seen(targets, &seen);
        Ok(seen)
    }

    async fn replace(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        self.ordered(target, version);
        self.world.replace(target, version, key).await
    }

    async fn replace_in_place(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        self.ordered(target, version);
        self.world.replace_in_place(target, version, key).await
    }

    async fn fence(&self, target: &TargetId, generation: Generation) -> EffectOutcome {
        self.world.fence(target, generation).await
    }

    async fn prefetch(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        self.world.prefetch(target, version, key).await
    }

    async fn ingress(&self, target: &TargetId, order: IngressOrder, key: &EffectKey) -> EffectOutcome {
        self.world.ingress(target, order, key).await
    }

    async fn ingress_barrier(&self, targets: &[TargetId]) -> Result<Vec<Barrier>, PlatformError> {
        self.world.ingress_barrier(targets).await
    }

    async fn probe(&self, targets: &[TargetId]) -> Result<Vec<Probe>, PlatformError> {
        self.world.probe(targets).await
    }

    async fn desired(&self, scope: &str, version: &Version, key: &EffectKey) -> EffectOutcome {
        self.world.desired(scope, version, key).await
    }

    async fn way_back(&self, from: &Version, to: &Version) -> Result<WayBack, PlatformError> {
        self.world.way_back(from, to).await
    }

    async fn watch(&self, cursor: u64) -> Result<News, PlatformError> {
        self.world.watch(cursor).await
    }
}
