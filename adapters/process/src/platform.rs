//! The fleet as a controller sees it, and as its owner opens, changes and closes it.
use std::collections::BTreeMap;
use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::{self, StreamExt as _};
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use unattended_upgrade::{
    Barrier, Capabilities, EffectKey, EffectOutcome, FleetChange, Generation, HandoverOrder, IngressOrder, InstanceId,
    News, Observation, Platform, PlatformError, Probe, TargetId, Version, WayBack,
};

use crate::births::Births;
use crate::house::House;
use crate::keeper::Keeper;
use crate::look::gone;
use crate::orders::no_target;
use crate::process::{SHELL, boot_id};
use crate::program::{Able, nobody};
use crate::state::{State, Unwritten, Way, directory_of};
use crate::template::find;
use crate::{OpenError, Settings, Target, TemplateError};

/// How often, and after which wait, a directory is tried that is held.
const HELD_TRIES: u32 = 20;
const HELD_WAIT: Duration = Duration::from_millis(25);

/// Targets that are asked at once.
const ASKED_AT_ONCE: usize = 64;

/// A [`Platform`] of local processes.
///
/// Opened within a tokio runtime, on which one task per target runs. Dropping it ends those tasks and no process; whoever
/// opens the directory next adopts what runs. See the crate's page.
#[derive(Debug)]
pub struct ProcessPlatform {
    house: Arc<House>,
    able: Able,
    keepers: Mutex<BTreeMap<TargetId, Arc<Keeper>>>,
    tasks: Mutex<Vec<(TargetId, JoinHandle<()>)>>,
    births: Arc<tokio::sync::Mutex<Births>>,
}

impl Drop for ProcessPlatform {
    fn drop(&mut self) {
        for (_, task) in self.tasks.get_mut() {
            task.abort();
        }
    }
}

impl ProcessPlatform {
    /// Opens a directory, adopts what runs of these targets, and starts what does not; a target that the directory does
    /// not know is born. With the default [`Settings`].
    ///
    /// # Errors
    /// See [`OpenError`]. Nothing has been started, stopped or changed then.
    pub async fn open(
        directory: impl AsRef<Path>,
        targets: impl IntoIterator<Item = Target>,
    ) -> Result<Self, OpenError> {
        Self::open_with(directory, targets, Settings::default()).await
    }

    /// As [`open`](Self::open), with these settings.
    ///
    /// # Errors
    /// As of [`open`](Self::open).
    pub async fn open_with(
        directory: impl AsRef<Path>,
        targets: impl IntoIterator<Item = Target>,
        settings: Settings,
    ) -> Result<Self, OpenError> {
        let root = std::path::absolute(directory.as_ref()).map_err(|error| OpenError::Directory {
            directory: directory.as_ref().to_owned(),
            error,
        })?;
        let targets: Vec<Target> = targets.into_iter().collect();
        let mut tries = 0;
        let (house, keepers, births) = loop {
            let (root, targets, settings) = (root.clone(), targets.clone(), settings.clone());
            // It reads, writes and waits for the disk on a thread of its own.
            let prepared = tokio::task::spawn_blocking(move || prepare(&root, &targets, settings)).await;
            let prepared = prepared.map_err(|error| OpenError::Directory {
                directory: directory.as_ref().to_owned(),
                error: std::io::Error::other(error),
            })?;
            match prepared {
                // What a killed adapter has just forked holds its lock until it stands at the gate.
                Err(OpenError::Held { .. }) if tries < HELD_TRIES => {
                    tries += 1;
                    tokio::time::sleep(HELD_WAIT).await;
                }
                prepared => break prepared?,
            }
        };
        let able = Able::common(keepers.iter().map(|keeper| keeper.template.able()));
        let platform = Self {
            house,
            able,
            keepers: Mutex::new(BTreeMap::new()),
            tasks: Mutex::new(Vec::new()),
            births: Arc::new(tokio::sync::Mutex::new(births)),
        };
        for keeper in keepers {
            platform.keep(keeper);
        }
        Ok(platform)
    }

    fn keep(&self, keeper: Keeper) {
        let keeper = Arc::new(keeper);
        self.keepers.lock().insert(keeper.id.clone(), Arc::clone(&keeper));
        let mut tasks = self.tasks.lock();
        tasks.retain(|(_, task)| !task.is_finished());
        tasks.push((keeper.id.clone(), tokio::spawn(keeper.run())));
    }

    fn keeper(&self, target: &TargetId) -> Option<Arc<Keeper>> {
        self.keepers.lock().get(target).cloned()
    }

    /// A target is born. It runs what was said of newborns within its scope ([`Platform::desired`]), or else its own
    /// version.
    ///
    /// # Errors
    /// As of [`open`](Self::open); also where its program cannot do what those of the other targets can.
    pub async fn join(&self, target: Target) -> Result<(), OpenError> {
        if self.keepers.lock().contains_key(&target.id) {
            return Err(OpenError::Twice { target: target.id });
        }
        let able = target.template.able();
        if !able.includes(self.able) {
            let fix = "give it a template like those of the others, or a platform of its own";
            let error = TemplateError::new("template", "it cannot do what the other targets can", fix);
            return Err(OpenError::Template {
                target: target.id,
                error,
            });
        }
        // One of this name may still be on its way out.
        let before = {
            let mut tasks = self.tasks.lock();
            let at = tasks.iter().position(|(id, _)| *id == target.id);
            at.map(|at| tasks.swap_remove(at).1)
        };
        if let Some(before) = before {
            let limit = Duration::from_millis(target.template.grace_ms + 5_000);
            let abort = before.abort_handle();
            if tokio::time::timeout(limit, before).await.is_err() {
                abort.abort();
            }
        }
        let births = self.births.lock().await;
        let target = Target {
            version: births.version_of(&target),
            ..target
        };
        let house = Arc::clone(&self.house);
        let made = tokio::task::spawn_blocking(move || {
            let checked = check(&house.root, std::slice::from_ref(&target))?;
            let mut keepers = make(&house, std::slice::from_ref(&target), checked)?;
            keepers.pop().ok_or(OpenError::Twice { target: target.id })
        });
        let keeper = made.await.map_err(|error| OpenError::Directory {
            directory: self.house.root.clone(),
            error: std::io::Error::other(error),
        })??;
        drop(births);
        self.keep(keeper);
        Ok(())
    }

    /// A target dies: its processes are ended, and it is [`Phase::Gone`](unattended_upgrade::Phase::Gone) from now on.
    /// Returns when that is durable; the processes end after that. `false` if there is no such target.
    ///
    /// # Errors
    /// It could not be written; nothing has happened.
    pub async fn leave(&self, target: &TargetId) -> Result<bool, OpenError> {
        let Some(keeper) = self.keeper(target) else {
            return Ok(false);
        };
        keeper
            .settle(|state| state.gone = true)
            .await
            .map_err(|error| OpenError::Directory {
                directory: keeper.directory.clone(),
                error,
            })?;
        self.house.tell(FleetChange::Left { target: target.clone() });
        self.keepers.lock().remove(target);
        Ok(true)
    }

    /// Ends every process, and starts none until the directory is opened again. Returns when all have ended, or after
    /// the longest grace and five seconds; `true` if none is left.
    ///
    /// # Errors
    /// Something could not be written: what runs there goes on.
    pub async fn halt(&self) -> Result<bool, OpenError> {
        let keepers: Vec<_> = self.keepers.lock().values().cloned().collect();
        let mut grace_ms = 0;
        for keeper in &keepers {
            keeper
                .settle(|state| state.halted = true)
                .await
                .map_err(|error| OpenError::Directory {
                    directory: keeper.directory.clone(),
                    error,
                })?;
            grace_ms = grace_ms.max(keeper.template.grace_ms);
        }
        let all_ended = async {
            for keeper in &keepers {
                let processes = keeper.inner.lock().await.processes();
                for process in processes {
                    process.ended().await;
                    // What it has left is taken away before it is said to have ended.
                    keeper.pass().await;
                }
            }
        };
        let limit = Duration::from_millis(grace_ms + 5_000);
        Ok(tokio::time::timeout(limit, all_ended).await.is_ok())
    }

    /// Lets go of the directory and of every process, which all go on. Returns when another adapter may open it, or after
    /// five seconds.
    pub async fn close(self) {
        let tasks = std::mem::take(&mut *self.tasks.lock());
        for (_, task) in tasks {
            task.abort();
            let _ = task.await;
        }
        self.keepers.lock().clear();
        // Orders under way, and threads that write, hold it for as long as they last.
        for _ in 0..500 {
            if Arc::strong_count(&self.house) == 1 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// An order for one target, carried out by a task of its own: it ends whether or not anybody waits.
    async fn order<F>(&self, target: &TargetId, order: impl FnOnce(Arc<Keeper>) -> F + Send) -> EffectOutcome
    where
        F: Future<Output = EffectOutcome> + Send + 'static,
    {
        let Some(keeper) = self.keeper(target) else {
            return no_target(target);
        };
        match tokio::spawn(order(keeper)).await {
            Ok(outcome) => outcome,
            Err(error) => EffectOutcome::Unknown {
                reason: error.to_string().into(),
            },
        }
    }

    /// Asks each target that is named, once, and many at a time.
    async fn ask_all<T, F>(
        &self,
        targets: &[TargetId],
        ask: impl Fn(Arc<Keeper>) -> F,
        nobody: T,
    ) -> Result<Vec<T>, PlatformError>
    where
        T: Clone + Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let mut asked: BTreeMap<TargetId, F> = BTreeMap::new();
        {
            let keepers = self.keepers.lock();
            for target in targets {
                if let Some(keeper) = keepers.get(target) {
                    asked.entry(target.clone()).or_insert_with(|| ask(Arc::clone(keeper)));
                }
            }
        }
        let asking = asked
            .into_iter()
            .map(|(target, asking)| async { (target, asking.await) });
        let all = stream::iter(asking)
            .buffer_unordered(ASKED_AT_ONCE)
            .collect::<BTreeMap<TargetId, T>>();
        let all = tokio::spawn(all)
            .await
            .map_err(|error| PlatformError::Unavailable(error.to_string()))?;
        let answers = targets.iter().map(|target| all.get(target).unwrap_or(&nobody).clone());
        Ok(answers.collect())
    }
}

type Prepared = (Arc<House>, Vec<Keeper>, Births);

/// Everything that may be wrong is found before anything happens.
fn prepare(root: &Path, targets: &[Target], settings: Settings) -> Result<Prepared, OpenError> {
    settings.validate()?;
    for (at, target) in targets.iter().enumerate() {
        if targets[..at].iter().any(|other| other.id == target.id) {
            return Err(OpenError::Twice {
                target: target.id.clone(),
            });
        }
    }
    // Texts and programs, before there is even a directory.
    for target in targets {
        let directory = directory_of(root, target.id.as_str());
        Keeper::check(target, directory, &target.version).map_err(|error| OpenError::Template {
            target: target.id.clone(),
            error,
        })?;
    }
    let house = Arc::new(House::open(root, settings)?);
    let checked = check(root, targets)?;
    let births = Births::load(root)?;
    let keepers = make(&house, targets, checked)?;
    Ok((house, keepers, births))
}

/// Reads what is known of each target, and tries what it needs.
fn check(root: &Path, targets: &[Target]) -> Result<Vec<Option<State>>, OpenError> {
    let mut states = Vec::with_capacity(targets.len());
    let mut taken: Vec<(SocketAddr, TargetId, String)> = Vec::new();
    let boot = boot_id().unwrap_or_default();
    for target in targets {
        let wrong = |error| OpenError::Template {
            target: target.id.clone(),
            error,
        };
        find("shell", SHELL).map_err(wrong)?;
        let directory = directory_of(root, target.id.as_str());
        let state = State::load(&directory)?;
        let known = state.as_ref().filter(|state| !state.gone);
        let version = known.and_then(|state| state.seats[state.serving(None)].version.clone());
        let version = version.unwrap_or_else(|| target.version.clone());
        let place = Keeper::check(target, directory, &version).map_err(wrong)?;
        let runs = known.is_some_and(|state| {
            let mut runs = state.seats.iter().filter_map(|seat| seat.run.as_ref());
            state.boot == boot && runs.any(|run| crate::process::start_time(run.pid) == Some(run.started))
        });
        for (field, address) in target.template.program.binds(&place).map_err(wrong)? {
            if let Some((_, other, of)) = taken.iter().find(|(other, ..)| *other == address) {
                let problem = format!("{address} is also `{of}` of target {other}");
                return Err(wrong(TemplateError::new(field, problem, "give each a port of its own")));
            }
            // What runs holds its own ports.
            if !runs && let Err(error) = TcpListener::bind(address) {
                let problem = format!("{address} cannot be bound: {error}");
                let fix = "end what holds it, or give another port";
                return Err(wrong(TemplateError::new(field, problem, fix)));
            }
            taken.push((address, target.id.clone(), field));
        }
        states.push(state);
    }
    Ok(states)
}

/// Takes the targets over; those that are not known are born.
fn make(house: &Arc<House>, targets: &[Target], states: Vec<Option<State>>) -> Result<Vec<Keeper>, OpenError> {
    let mut keepers = Vec::with_capacity(targets.len());
    for (target, state) in targets.iter().zip(states) {
        let directory = directory_of(&house.root, target.id.as_str());
        let unusable = |error: std::io::Error| OpenError::Directory {
            directory: directory.clone(),
            error,
        };
        std::fs::create_dir_all(&directory).map_err(unusable)?;
        let application = target.template.application.is_some();
        let new = || State::new(&house.boot, &target.version, application);
        let mut wanted = match &state {
            None => new(),
            // One of this name has lived before: what it had seen is not seen anew.
            Some(before) if before.gone => State {
                fence: before.fence,
                last: before.last,
                next_instance: before.next_instance,
                ..new()
            },
            Some(state) => state.clone(),
        };
        wanted.halted = false;
        if application && wanted.seats[2].version.is_none() {
            wanted.seats[2].version = Some(Version::from("application"));
        } else if !application {
            wanted.seats[2].version = None;
        }
        let keeper = Keeper::new(target, directory.clone(), Arc::clone(house), wanted.clone()).map_err(unusable)?;
        if wanted.boot != house.boot {
            wanted.boot.clone_from(&house.boot);
            // Its time was on the clock of another boot; it is not to stay closed for that.
            if wanted.way != Way::Open {
                wanted.way = Way::Closed { reopen_by_ms: 0 };
            }
        }
        if state.as_ref() != Some(&wanted) {
            wanted
                .store(&directory)
                .map_err(|(Unwritten::Not(error) | Unwritten::Unsure(error))| unusable(error))?;
        }
        let keeper = keeper.with(wanted.clone());
        if !house.news.lives(&target.id) {
            house.tell(FleetChange::Joined {
                target: target.id.clone(),
                app: Arc::clone(&keeper.app),
                labels: keeper.labels.clone(),
                version: wanted.seats[wanted.serving(None)]
                    .version
                    .clone()
                    .unwrap_or_else(|| target.version.clone()),
            });
        }
        keepers.push(keeper);
    }
    Ok(keepers)
}

#[async_trait]
impl Platform for ProcessPlatform {
    fn capabilities(&self) -> Capabilities {
        let Able {
            ingress,
            hand_over,
            config,
            probe,
            barrier,
        } = self.able;
        let mut able = Capabilities::none()
            .with_fence()
            .with_in_place()
            .with_watch()
            .with_desired();
        (able.ingress, able.barrier, able.config, able.probe) = (ingress, barrier, config, probe);
        (able.slots, able.hand_over, able.endpoint) = (hand_over, hand_over, hand_over);
        able
    }

    async fn observe(&self, targets: &[TargetId]) -> Result<Vec<Observation>, PlatformError> {
        self.ask_all(targets, |keeper| async move { keeper.look().await }, gone())
            .await
    }

    async fn replace(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        let (version, key) = (version.clone(), *key);
        self.order(
            target,
            |keeper| async move { keeper.replace(&version, &key, true).await },
        )
        .await
    }

    async fn replace_in_place(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        let (version, key) = (version.clone(), *key);
        self.order(
            target,
            |keeper| async move { keeper.replace(&version, &key, false).await },
        )
        .await
    }

    async fn fence(&self, target: &TargetId, generation: Generation) -> EffectOutcome {
        self.order(target, |keeper| async move { keeper.fence(generation).await })
            .await
    }

    async fn ingress(&self, target: &TargetId, order: IngressOrder, key: &EffectKey) -> EffectOutcome {
        if !self.able.ingress {
            return EffectOutcome::Unsupported;
        }
        let key = *key;
        self.order(target, |keeper| async move { keeper.ingress(order, &key).await })
            .await
    }

    async fn probe(&self, targets: &[TargetId]) -> Result<Vec<Probe>, PlatformError> {
        if !self.able.probe {
            return Err(PlatformError::Unsupported("probe"));
        }
        let ask = |keeper: Arc<Keeper>| async move { keeper.probe().await };
        self.ask_all(targets, ask, nobody()).await
    }

    async fn ingress_barrier(&self, targets: &[TargetId]) -> Result<Vec<Barrier>, PlatformError> {
        if !self.able.barrier {
            return Err(PlatformError::Unsupported("barrier"));
        }
        let ask = |keeper: Arc<Keeper>| async move { keeper.barrier().await };
        self.ask_all(targets, ask, Barrier::default()).await
    }

    async fn spawn(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        if !self.able.hand_over {
            return EffectOutcome::Unsupported;
        }
        let (version, key) = (version.clone(), *key);
        self.order(target, |keeper| async move { keeper.spawn(&version, &key).await })
            .await
    }

    async fn stop(&self, target: &TargetId, instance: InstanceId, key: &EffectKey) -> EffectOutcome {
        if !self.able.hand_over {
            return EffectOutcome::Unsupported;
        }
        let key = *key;
        self.order(target, |keeper| async move { keeper.stop(instance, &key).await })
            .await
    }

    async fn reset(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        if !self.able.hand_over {
            return EffectOutcome::Unsupported;
        }
        let (version, key) = (version.clone(), *key);
        self.order(target, |keeper| async move { keeper.reset(&version, &key).await })
            .await
    }

    async fn hand_over(
        &self,
        target: &TargetId,
        order: HandoverOrder,
        from: &Version,
        to: &Version,
        key: &EffectKey,
    ) -> EffectOutcome {
        if !self.able.hand_over {
            return EffectOutcome::Unsupported;
        }
        let (from, to, key) = (from.clone(), to.clone(), *key);
        self.order(target, |keeper| async move {
            keeper.hand_over(order, &from, &to, &key).await
        })
        .await
    }

    async fn control_endpoint(&self, target: &TargetId, version: &Version) -> Result<Arc<str>, PlatformError> {
        if !self.able.hand_over {
            return Err(PlatformError::Unsupported("endpoint"));
        }
        let endpoint = match self.keeper(target) {
            Some(keeper) => keeper.doorbell(version).await,
            None => None,
        };
        endpoint.ok_or_else(|| PlatformError::Unavailable(format!("no instance of {version} runs at {target}")))
    }

    async fn apply_config(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        if !self.able.config {
            return EffectOutcome::Unsupported;
        }
        let (version, key) = (version.clone(), *key);
        self.order(
            target,
            |keeper| async move { keeper.apply_config(&version, &key).await },
        )
        .await
    }

    async fn desired(&self, scope: &str, version: &Version, key: &EffectKey) -> EffectOutcome {
        let (births, house) = (Arc::clone(&self.births), Arc::clone(&self.house));
        let (scope, version, key) = (scope.to_owned(), version.clone(), *key);
        let said = tokio::task::spawn_blocking(move || births.blocking_lock().say(&house.root, &scope, &version, &key));
        said.await.unwrap_or_else(|error| EffectOutcome::Unknown {
            reason: error.to_string().into(),
        })
    }

    async fn watch(&self, cursor: u64) -> Result<News, PlatformError> {
        Ok(self.house.news.since(cursor))
    }

    /// Looks for every target whether the program of `from` is there and can be run. What `to` leaves behind is the programs' own
    /// matter.
    async fn way_back(&self, from: &Version, _: &Version) -> Result<WayBack, PlatformError> {
        let keepers: Vec<Arc<Keeper>> = self.keepers.lock().values().cloned().collect();
        let from = from.clone();
        let looked = tokio::task::spawn_blocking(move || {
            keepers.iter().find_map(|keeper| {
                let error = keeper.could_start(&from).err()?;
                Some(format!("{from} cannot be started at {}: {error}", keeper.id))
            })
        });
        match looked.await {
            Ok(None) => Ok(WayBack::Startable),
            Ok(Some(why)) => Ok(WayBack::Closed(why)),
            Err(error) => Err(PlatformError::Unavailable(error.to_string())),
        }
    }
}
