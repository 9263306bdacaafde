//! The quarter: ninety days of commits, a hotfix, a week of freeze, and a controller that is killed once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use futures::executor::block_on;
use futures::future::{Either, select};
use parking_lot::Mutex;
use unattended::defense::{Guard, Need, Scope};
use unattended::report;
use unattended::train::{
    Artefacts, ChangeEnd, CiStatus, Fleets, IncidentNews, Lane, Limits, LineConfig, LineId, Order, ReleaseView,
    Timetable, Train, TrainBudget, TrainConfig, TrainHandle, TrainParts, TrainRunError, TrainSummary, drive,
};
use unattended::upgrade::MemoryJournal;
use unattended::{Actor, Grant, Level, Notifier, Telling};
use unattended_examples_support::{Exit, Failure};

use crate::clock::{CALL_MS, POLL_MS, Passing, QuarterClock};
use crate::fleet::START_WALL_MS;
use crate::fleets::{Record, Sites};
use crate::lots::Lots;
use crate::options::Options;
use crate::person::Desk;
use crate::tree::{DAY_MS, HOUR_MS, Tree, name};
use crate::world::{Grounds, Truth};

pub(crate) const LINE: &str = "mesh";
/// Days after the last nightly in which what is on its way arrives.
const TAIL_DAYS: i64 = 4;
/// The level is granted for half a year.
const GRANT_DAYS: i64 = 182;
/// One soak, as the promise about lead time means it: a day, which holds one load peak.
pub(crate) const SOAK_HOURS: f64 = 24.0;

/// What became of the quarter.
pub(crate) struct Quarter {
    pub(crate) level: Level,
    pub(crate) cadence_hours: f64,
    pub(crate) seed: u64,
    pub(crate) summary: TrainSummary,
    pub(crate) truths: BTreeMap<String, Truth>,
    pub(crate) records: Vec<Record>,
    pub(crate) told: Vec<(i64, String, String)>,
    pub(crate) kills: u32,
}

/// Everything that happens while the train sleeps.
struct Stage {
    tree: Arc<Tree>,
    sites: Arc<Sites>,
    desk: Arc<Desk>,
    handle: Mutex<Option<TrainHandle>>,
    fire_ms: i64,
    kill_ms: i64,
    end_ms: i64,
    burnt: AtomicBool,
    fixed: AtomicBool,
    armed: AtomicBool,
    /// The commit that mends what burns, and whether it was ordered.
    hotfix: Mutex<Option<(u64, bool)>>,
    failure: Mutex<Option<Failure>>,
}

const INCIDENT: &str = "INC-1";

impl Passing for Stage {
    fn passed(&self, wall_ms: i64) {
        let lived = self.tree.passed(wall_ms).and_then(|()| self.sites.passed(wall_ms));
        let failed = lived.err().or_else(|| self.sites.failure());
        let handle = self.handle.lock().clone();
        if let Some(failure) = failed {
            *self.failure.lock() = Some(failure);
            handle.iter().for_each(TrainHandle::leave);
        }
        self.desk.passed(wall_ms, handle.as_ref());
        if wall_ms >= self.kill_ms && !self.armed.swap(true, Ordering::SeqCst) {
            self.sites.arm();
        }
        self.fire(wall_ms, handle.as_ref());
        if wall_ms >= self.end_ms {
            handle.iter().for_each(TrainHandle::leave);
        }
    }
}

impl Stage {
    /// Something burns in production one morning; an hour later there is a commit that mends it, and a program orders it.
    fn fire(&self, wall_ms: i64, handle: Option<&TrainHandle>) {
        if wall_ms >= self.fire_ms && !self.burnt.swap(true, Ordering::SeqCst) {
            self.sites.incident(IncidentNews {
                id: INCIDENT.to_owned(),
                at_unix_ms: self.fire_ms,
                open: true,
            });
            *self.hotfix.lock() = Some((self.tree.commit_hotfix(wall_ms + HOUR_MS), false));
        }
        let Some(handle) = handle else { return };
        let ordered = wall_ms >= self.fire_ms + 2 * HOUR_MS;
        let mut hotfix = self.hotfix.lock();
        let Some((mends, was_ordered)) = hotfix.as_mut() else {
            return;
        };
        if ordered && !std::mem::replace(was_ordered, true) {
            let commit = name(*mends);
            let desk = Actor::program("incident-desk", INCIDENT);
            let _ = handle.order(LINE, Order::Hotfix { commit }, desk, "production burns");
        }
        let mended = || {
            let summary = handle.summary();
            summary.and_then(|summary| {
                let releases = summary.lines.into_iter().flat_map(|line| line.releases);
                releases
                    .filter(|release| release.lane == Lane::Hotfix || release.head >= *mends)
                    .filter_map(|release| release.production_unix_ms)
                    .min()
            })
        };
        if self.burnt.load(Ordering::SeqCst)
            && !self.fixed.load(Ordering::SeqCst)
            && let Some(at_unix_ms) = mended()
        {
            self.fixed.store(true, Ordering::SeqCst);
            self.sites.incident(IncidentNews {
                id: INCIDENT.to_owned(),
                at_unix_ms,
                open: false,
            });
        }
    }
}

pub(crate) fn config(options: &Options) -> Result<TrainConfig, Failure> {
    let timetable = Timetable {
        cadence: options.cadence,
        // The day's last commits have been tried by then.
        nightly_at_min: 19 * 60,
        // At nightly cadence a release goes when yesterday's nightly has soaked.
        release_at_min: 12 * 60,
        ..Timetable::default()
    };
    let hour = 3_600_000;
    let limits = Limits {
        canary_ms: 22 * hour,
        soak_ms: 12 * hour,
        production_ms: 4 * 24 * hour,
        // No change of production begins that would run into the freeze.
        room: Need {
            batch_ms: 24 * hour,
            rollback_ms: 4 * hour,
        },
        ..Limits::default()
    };
    let pack = |name: &str, text: &str| Guard::from_yaml(name, text).map_err(Failure::internal);
    Ok(TrainConfig {
        owner: Actor::person("li", "release desk"),
        lines: vec![LineConfig {
            id: LineId::from(LINE),
            scope: Scope::new().label("fleet", "mesh"),
            timetable,
            limits,
            grant: Grant::new(
                options.level,
                Actor::person("li", "release desk"),
                START_WALL_MS + GRANT_DAYS * DAY_MS,
            )
            .map_err(Failure::internal)?,
            budget: TrainBudget::default(),
            version: "mesh-2.0.0".to_owned(),
            head: 0,
        }],
        calendar: pack("calendar.yaml", include_str!("calendar.yaml"))?,
        qualification: pack("qualification.yaml", include_str!("qualification.yaml"))?,
        telling: Telling::default(),
        began_unix_ms: START_WALL_MS,
    })
}

/// Plays it.
pub(crate) fn run(options: &Options) -> Result<Quarter, Failure> {
    let grounds = Arc::new(Grounds::new(options.seed)?);
    let tree = Arc::new(Tree::new(Arc::clone(&grounds), options.nights));
    let sites = Arc::new(Sites::new(grounds, Arc::clone(&tree), options.level));
    let desk = Arc::new(Desk::new(options.notices));
    let mut lots = Lots::of(&[options.seed, 14]);
    let mut day =
        |from: i64, days: usize| START_WALL_MS + (from + i64::try_from(lots.below(days)).unwrap_or(0)) * DAY_MS;
    let stage = Arc::new(Stage {
        tree: Arc::clone(&tree),
        sites: Arc::clone(&sites),
        desk: Arc::clone(&desk),
        handle: Mutex::new(None),
        // Not in the freeze, from day 30 to 37.
        fire_ms: day(42, 30) + 3 * HOUR_MS,
        kill_ms: day(2, (usize::try_from(options.nights).unwrap_or(0) / 6).max(1)),
        end_ms: START_WALL_MS + (i64::from(options.nights) + TAIL_DAYS) * DAY_MS,
        burnt: AtomicBool::new(false),
        fixed: AtomicBool::new(false),
        armed: AtomicBool::new(false),
        hotfix: Mutex::new(None),
        failure: Mutex::new(None),
    });
    let journal = Arc::new(MemoryJournal::new());
    let clock = Arc::new(QuarterClock::new(Arc::clone(&stage) as Arc<dyn Passing>));
    let mut kills = 0;
    loop {
        let train = Train::new(config(options)?).map_err(Failure::internal)?;
        let mut parts = TrainParts::new(
            Arc::clone(&journal),
            Arc::clone(&clock),
            Arc::clone(&tree) as Arc<dyn CiStatus>,
            Arc::clone(&tree) as Arc<dyn Artefacts>,
            Arc::clone(&sites) as Arc<dyn Fleets>,
            Arc::clone(&desk) as Arc<dyn Notifier>,
        );
        parts.poll_ms = POLL_MS;
        parts.call_ms = CALL_MS;
        if let Some(path) = options.html.clone() {
            parts.observer = Arc::new(move |summary| {
                // The last writing says whether the page can be written; until then it is a convenience.
                let _ = std::fs::write(&path, report::train_page(summary));
            });
        }
        let (handle, run) = drive(train, parts);
        *stage.handle.lock() = Some(handle.clone());
        let mut run = Box::pin(run);
        // A controller that waits for what never comes is the one that was killed: everything else here answers at once.
        let ended = block_on(async {
            let stalled = std::future::poll_fn(|_| Poll::Ready(()));
            match select(&mut run, Box::pin(stalled)).await {
                Either::Left((ended, _)) => Some(ended),
                Either::Right(_) => None,
            }
        });
        if let Some(failure) = stage.failure.lock().take() {
            return Err(failure);
        }
        let Some(ended) = ended else {
            drop(run);
            sites.kill();
            kills += 1;
            continue;
        };
        ended.map_err(|error: TrainRunError| Failure::internal(error))?;
        let summary = handle
            .summary()
            .ok_or_else(|| Failure::Internal("the train left no summary".to_owned()))?;
        if let Some(path) = &options.html {
            std::fs::write(path, report::train_page(&summary))
                .map_err(|error| Failure::unwritten(format_args!("{}: the page", path.display()), &error))?;
        }
        let versions = summary
            .lines
            .iter()
            .flat_map(|line| line.releases.iter().map(|release| release.version.clone()));
        let truths = versions
            .filter_map(|version| Some((version.clone(), tree.truth(&version)?)))
            .collect();
        #[expect(clippy::cast_precision_loss, reason = "hours of a month")]
        let cadence_hours = options.cadence.longest_ms() as f64 / HOUR_MS as f64;
        return Ok(Quarter {
            level: options.level,
            cadence_hours,
            seed: options.seed,
            summary,
            truths,
            records: sites.records(),
            told: desk.told.lock().clone(),
            kills,
        });
    }
}

impl Quarter {
    pub(crate) fn nightlies(&self) -> impl Iterator<Item = &ReleaseView> {
        let all = self.summary.lines.iter().flat_map(|line| line.releases.iter());
        all.filter(|release| release.lane == Lane::Nightly)
    }

    pub(crate) fn truth(&self, version: &str) -> (bool, bool) {
        self.truths
            .get(version)
            .map_or((false, false), |truth| (truth.bad, truth.detectable))
    }

    /// Bad nightlies that could be found and of which production saw anything, however little.
    pub(crate) fn bad_reached_production(&self) -> usize {
        self.nightlies()
            .filter(|release| self.truth(&release.version).1 && release.tried_production)
            .count()
    }

    /// Bad ones that nothing could find and that production saw.
    pub(crate) fn undetectable_reached_production(&self) -> usize {
        self.nightlies()
            .filter(|release| self.truth(&release.version) == (true, false) && release.tried_production)
            .count()
    }

    /// Changes that were started although one of the same release ran there, or had arrived. What had not arrived may be tried
    /// again.
    pub(crate) fn started_twice(&self) -> usize {
        let twice = self.records.iter().enumerate().filter(|(nth, record)| {
            let mut before = self.records[..*nth].iter();
            before.any(|other| {
                let same = (&other.version, other.site) == (&record.version, record.site);
                same && other.end.as_ref().is_none_or(ChangeEnd::arrived)
            })
        });
        twice.count()
    }

    /// What the quarter broke of what the train promises.
    pub(crate) fn broken(&self) -> Vec<String> {
        let mut broken = Vec::new();
        let reached = self.bad_reached_production();
        if reached > 0 {
            broken.push(format!(
                "{reached} bad nightlies that could be found reached production"
            ));
        }
        let hands = self.summary.measures.human_actions;
        if self.level >= Level::L5 && hands > 0 {
            broken.push(format!("{hands} human actions at level 5"));
        }
        let limit = self.cadence_hours + SOAK_HOURS;
        match self.summary.measures.lead_time_hours_median {
            Some(lead) if lead <= limit => {}
            Some(lead) => broken.push(format!("the median lead time is {lead:.1} h, above {limit:.0} h")),
            None => broken.push("no release reached production".to_owned()),
        }
        if self.started_twice() > 0 {
            broken.push(format!("{} changes were started twice", self.started_twice()));
        }
        broken
    }

    pub(crate) fn exit(&self) -> Exit {
        if self.summary.lines.iter().any(|line| line.stopped.is_some()) {
            Exit::NeedsPerson
        } else if self.broken().is_empty() {
            Exit::Completed
        } else {
            Exit::Stopped
        }
    }
}
