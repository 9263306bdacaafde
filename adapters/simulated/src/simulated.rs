use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use unattended_upgrade::{Capabilities, Clock, TargetId, Version};

use crate::fleet::Fleet;
use crate::log::{Header, LogError, WorldLog};
use crate::population::{Fate, NEW, OLD, Population};
use crate::{Executor, ReleaseSpec, SimClock, SpecError, World, WorldError};

/// In what state a target is when the simulation begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(
    clippy::exhaustive_enums,
    reason = "inventories map every state of theirs onto one of these"
)]
pub enum InitialState {
    /// It serves.
    #[default]
    Healthy,
    /// The sidecar runs and passes its checks; its application crash-loops and does so for ever. It gets no traffic.
    AppUnready,
    /// The sidecar crashes at start, on any version.
    SidecarCrashing,
    /// Nothing runs and nothing ever will: the platform has no place for it.
    Pending,
}

/// One target of the inventory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "written literally by every inventory")]
pub struct SimTarget {
    /// Its unique name.
    pub id: String,
    /// Its application.
    pub app: String,
    /// Its labels, as (key, value). `zone` says which incidents hit it, `business` which daily wave it rides.
    pub labels: Vec<(String, String)>,
    /// How it is at the start.
    pub state: InitialState,
}

/// Everything a simulation depends on. The same configuration and the same calls give the same bytes.
#[derive(Clone, Debug)]
#[expect(
    clippy::exhaustive_structs,
    reason = "written literally, with `..SimConfig::default()`"
)]
pub struct SimConfig {
    /// How the world behaves.
    pub world: World,
    /// The fleet; at least one.
    pub targets: Vec<SimTarget>,
    /// The version all of it runs at the start.
    pub old: Version,
    /// The version that is rolled out.
    pub new: Version,
    /// What is wrong with it.
    pub release: ReleaseSpec,
    /// The seed of all chance.
    pub seed: u64,
    /// Unix time of virtual time 0, in milliseconds.
    pub start_wall_ms: i64,
    /// Where the effects on the world are kept, so that it survives a kill of the process; `None` keeps nothing. An existing
    /// file is continued.
    pub log: Option<PathBuf>,
    /// What goes into the log is kept back until [`Simulated::flush`] is called (or a megabyte is together), where it is handed to
    /// the operating system with each effect otherwise, before that is answered. For whoever flushes before anything else becomes
    /// durable, as before each append to a journal: what a kill takes then, nobody has written down elsewhere.
    pub log_in_groups: bool,
    /// Younger instances are reported as fresh; what the controller calls warm-up, in milliseconds.
    pub warm_up_ms: u64,
    /// Length of the intervals that are read, in milliseconds, above 0.
    pub interval_ms: u64,
    /// What the platform says it can do.
    pub capabilities: Capabilities,
    /// Rows of restarts are left out where nobody went down, as [`Row`](unattended_health::Row) allows: a quarter of all. Whoever reads
    /// rows otherwise than by a [`Judge`](unattended_health::Judge) needs them, to know of how many hosts those are that did.
    pub sparse: bool,
    /// Errors are counted at both ends of a call, and those of a call with the new version at one end count for it, whoever saw them.
    /// Without, each instance counts what it sees itself.
    pub both_ends: bool,
}

impl Default for SimConfig {
    /// The default world with a good release from `old` to `new`, and no targets yet.
    fn default() -> Self {
        Self {
            world: World::default(),
            targets: Vec::new(),
            old: Version::from("old"),
            new: Version::from("new"),
            release: ReleaseSpec::default(),
            seed: 1,
            start_wall_ms: 0,
            log: None,
            log_in_groups: false,
            warm_up_ms: 180_000,
            interval_ms: 60_000,
            capabilities: Capabilities::none()
                .with_fence()
                .with_ingress()
                .with_in_place()
                .with_prefetch()
                .with_watch(),
            sparse: false,
            both_ends: true,
        }
    }
}

/// Why there is no simulation.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SimError {
    /// The world is not possible.
    #[error(transparent)]
    World(#[from] WorldError),
    /// The release's filters match nothing.
    #[error(transparent)]
    Release(#[from] SpecError),
    /// No targets, or too many.
    #[error("the fleet has {targets} targets; give 1 to 4,000,000 whose names have 4 GB at most")]
    Size {
        /// How many there are.
        targets: usize,
    },
    /// A target without a name or application.
    #[error("target {row} of the fleet has no id or no app; give both")]
    Unnamed {
        /// Its position, from 0.
        row: usize,
    },
    /// Two targets of one name.
    #[error("the fleet has two targets `{id}`; give each its own id")]
    Duplicate {
        /// The name.
        id: String,
    },
    /// Old and new are one version.
    #[error("old and new are both `{version}`; give the release a version of its own")]
    OneVersion {
        /// The version.
        version: String,
    },
    /// Intervals of no length.
    #[error("interval_ms is 0; give the length of the intervals, as in 60000")]
    NoInterval,
    /// The world's log cannot be used.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// A target that is being born.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Newborn {
    /// Its name.
    pub target: TargetId,
    /// Its application.
    pub app: Arc<str>,
    /// Its labels, as (key, value).
    pub labels: Vec<(Arc<str>, Arc<str>)>,
    /// When, in virtual milliseconds.
    pub at_ms: u64,
}

/// What an honest look at the whole fleet says. Verified: the right version runs, is ready and passed its checks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Census {
    /// All targets.
    pub targets: u64,
    /// Verified on the new version.
    pub on_new_verified: u64,
    /// Verified on the old version.
    pub on_old_verified: u64,
    /// The others.
    pub on_neither: u64,
}

/// A fleet that lives on virtual time. See the [crate's page](crate).
///
/// Implements [`Platform`](unattended_upgrade::Platform) and [`MetricSource`](unattended_health::MetricSource). All methods take effect at the clock's
/// present time; what happens by itself happens when time passes it.
#[derive(Debug)]
pub struct Simulated {
    pub(crate) fleet: Mutex<Fleet>,
    pub(crate) capabilities: Capabilities,
    clock: SimClock,
}

impl Simulated {
    /// Builds the world, or continues the one whose log is found.
    ///
    /// A continued world stands at the time of its last logged effect; [`SimClock::advance_to`] moves it on.
    ///
    /// # Errors
    ///
    /// A configuration that is not possible, and a log that cannot be used; the message says which and how to mend it.
    pub fn new(config: SimConfig) -> Result<Arc<Self>, SimError> {
        config.world.check()?;
        if config.old == config.new {
            return Err(SimError::OneVersion {
                version: config.old.to_string(),
            });
        }
        if config.interval_ms == 0 {
            return Err(SimError::NoInterval);
        }
        let filters = config.release.filters().to_vec();
        let at_fault = |app: &str, labels: &[(String, String)]| {
            filters.iter().all(|(key, value)| {
                (key == "app" && value == app) || labels.iter().any(|(k, v)| k == key && v == value)
            })
        };
        let population = Population::new(&config.targets, &config.world, config.seed, at_fault)?;
        check_release(&config.release, &population)?;
        let header = config.log.as_ref().map(|_| Header::of(&config));
        let clock = SimClock::new(config.start_wall_ms);
        let capabilities = config.capabilities;
        let (path, at_once) = (config.log.clone(), !config.log_in_groups);
        let mut fleet = Fleet::new(config, population);
        if let (Some(path), Some(header)) = (path, header) {
            let (log, entries) = WorldLog::open(&path, &header, at_once)?;
            fleet.replay(&path, entries)?;
            fleet.log = Some(log);
            clock.advance_to(fleet.now);
        }
        Ok(Arc::new(Self {
            fleet: Mutex::new(fleet),
            capabilities,
            clock,
        }))
    }

    /// The world's time.
    pub fn clock(&self) -> SimClock {
        self.clock.clone()
    }

    /// Runs futures on the world's time.
    pub fn executor(self: &Arc<Self>) -> Executor {
        Executor::new(self.clock(), Arc::downgrade(self))
    }

    /// Says what a target runs that is born from now on; without it, the old version. The hook is called at the moment of birth, while the
    /// world is locked: it must not call back into it.
    pub fn on_birth(&self, version_for: Box<dyn Fn(&Newborn) -> Version + Send + Sync>) {
        self.fleet.lock().hook.set(version_for);
    }

    /// Hands the operating system whatever the log keeps back; see [`SimConfig::log_in_groups`].
    ///
    /// # Errors
    ///
    /// Why the log cannot be written. Nothing is done to this world any more then, since it would not survive a kill.
    pub fn flush(&self) -> Result<(), String> {
        self.fleet.lock().flush()
    }

    /// Looks at every target.
    pub fn census(&self) -> Census {
        let fleet = self.present();
        let mut census = Census::default();
        for slot in &fleet.population.slots {
            census.targets += 1;
            let verified = slot.fate == Fate::Up && fleet.now >= slot.ready_at;
            match slot.version {
                NEW if verified => census.on_new_verified += 1,
                OLD if verified => census.on_old_verified += 1,
                _ => census.on_neither += 1,
            }
        }
        census
    }

    /// A fingerprint of the state of every target at the present time, and of all news so far. What the controller only told for measuring (`follow`) is
    /// not in it. Two worlds of one configuration with one fingerprint go on alike.
    pub fn digest(&self) -> u64 {
        self.present().digest()
    }

    /// The fleet at the clock's present time.
    pub(crate) fn present(&self) -> parking_lot::MutexGuard<'_, Fleet> {
        let mut fleet = self.fleet.lock();
        fleet.settle(self.clock.now());
        fleet
    }

    /// Lets happen what happens by itself until `at_ms`.
    pub(crate) fn settle(&self, at_ms: u64) {
        self.fleet.lock().settle(at_ms);
    }
}

/// The filters must name what the fleet has, and match at least one target together.
fn check_release(release: &ReleaseSpec, population: &Population) -> Result<(), SimError> {
    let pairs = population
        .kinds
        .iter()
        .flat_map(|k| std::iter::once(("app", &*k.app)).chain(k.labels.iter().map(|(key, value)| (&**key, &**value))));
    release.check(pairs)?;
    if !population.kinds.iter().any(|k| k.at_fault) {
        return Err(SimError::Release(SpecError {
            text: release.to_string(),
            part: "no target matches all of its filters together".to_owned(),
            fix: "leave one out".to_owned(),
        }));
    }
    Ok(())
}
