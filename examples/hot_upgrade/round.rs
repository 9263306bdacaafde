//! One upgrade of the whole fleet, and whoever is killed or stopped in it.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustix::time::{ClockId, clock_gettime};
use unattended::upgrade::TargetId;
use unattended::{MovesView, Outcome};
use unattended_examples_support::Failure;
use unattended_process::{Running, running};

use crate::client::{Draw, Shared, Tally, Window};
use crate::controller::{Told, answer_file};
use crate::options::{Release, Victim, Way};
use crate::sidecars;
use crate::world::{World, version};

/// A round that takes longer has hung.
const LONGEST: Duration = Duration::from_secs(600);

/// Between two looks at the processes.
const LOOK: Duration = Duration::from_millis(5);

/// A moment is drawn within this time: of a target's upgrade, or of the controller's life.
const MOMENT_MS: u64 = 1_500;

/// Who is stopped goes on within this time, which is four leases: sooner than the others notice, or long after.
const STOPPED_MS: u64 = 3_000;

/// What a sidecar that kills itself says at last.
const LAST_WORDS: &str = "dies, as was asked for";

/// What became of a round.
#[derive(Clone, Debug)]
pub(crate) struct Round {
    pub(crate) outcome: Outcome,
    pub(crate) explanation: String,
    pub(crate) moves: MovesView,
    pub(crate) cut: u64,
    pub(crate) kills: u64,
    pub(crate) stops: u64,
    pub(crate) application_restarts: u64,
}

/// Upgrades the fleet from the version of round `from` to that of `round`.
pub(crate) async fn play(world: &World, shared: &Shared, round: u32, from: u32) -> Result<Round, Failure> {
    let before = applications(world);
    let began_us = now_us();
    let mut draw = Draw::new(world.options.seed, 3 << 32 | u64::from(round));
    let mut assassin = Assassin::new(world, &mut draw);
    let began = crate::now();
    let mut controller = Controller::start(world, round, from)?;
    let told = loop {
        if let Some(ended) = controller.ended()? {
            if !ended {
                return Err(Failure::Internal(format!(
                    "the controller of round {round} failed: see {}",
                    world.directory.join("controller.log").display()
                )));
            }
            let text = std::fs::read(answer_file(world, round)).map_err(Failure::internal)?;
            break serde_json::from_slice::<Told>(&text).map_err(Failure::internal)?;
        }
        if began.elapsed() > LONGEST {
            controller.kill()?;
            return Err(Failure::Internal(format!("round {round} has hung")));
        }
        if let Some(assassin) = assassin.as_mut() {
            match assassin.look(world, round) {
                Some(Deed::KillController) => {
                    controller.kill()?;
                    controller = Controller::start(world, round, from)?;
                }
                Some(Deed::KillProcess(process)) => {
                    shared.tally.dies(assassin.site, crate::now());
                    // One that has ended just now hears nothing, and was not killed: it is gone at the next look.
                    drop(process.signal(Signal::KILL));
                }
                Some(Deed::Buried) => shared.tally.died(assassin.site),
                Some(Deed::SignalController(signal)) => controller.signal(signal)?,
                // One that has ended just now hears nothing.
                Some(Deed::SignalProcess(process, signal)) => drop(process.signal(signal)),
                None => {}
            }
        }
        tokio::time::sleep(LOOK).await;
    };
    if let Some(assassin) = assassin.as_mut() {
        if let Some(process) = assassin.stopped() {
            drop(process.signal(Signal::CONT));
        }
        if assassin.kills + assassin.stops == 0 {
            eprintln!("round {round}: nobody was hit; it was over before the moment that was drawn");
        }
        while assassin.dying.is_some() {
            if assassin.buried(world).is_some() {
                shared.tally.died(assassin.site);
            }
            tokio::time::sleep(LOOK).await;
        }
    }
    if told.outcome.exit_code() != 0 {
        for decision in &told.decisions {
            eprintln!("round {round}, {decision}");
        }
    }
    deaths(world, &shared.tally, began_us / 1_000)?;
    moves(world, &shared.tally, began_us).await;
    let after = applications(world);
    Ok(Round {
        outcome: told.outcome,
        explanation: told.explanation,
        moves: told.moves,
        cut: told.cut,
        kills: assassin.as_ref().map_or(0, |assassin| assassin.kills),
        stops: assassin.as_ref().map_or(0, |assassin| assassin.stops),
        application_restarts: after
            .iter()
            .filter(|(site, instance)| before.get(site) != Some(instance))
            .count() as u64,
    })
}

fn processes(world: &World, site: usize) -> Vec<Running> {
    let target = TargetId::from(world.targets[site].id.as_str());
    // Between two writes of the adapter there is always a whole file; an error is one of the disk, and the round will tell.
    running(world.fleet_directory(), &target).unwrap_or_default()
}

/// How connections moved since then, by the word of the processes that have them now.
async fn moves(world: &World, tally: &Tally, since_us: u64) {
    let mut windows = Vec::new();
    for site in 0..world.targets.len() {
        for process in processes(world, site) {
            let came = sidecars::came(&process).await;
            let Some(came) = came.filter(|came| came.from_us >= since_us) else {
                continue;
            };
            tally.stood(&came.stood_us);
            if let (Some(from), Some(until)) = (instant(came.from_us), instant(came.until_us)) {
                windows.push(Window { site, from, until });
            }
        }
    }
    tally.moved(&windows);
}

/// The clock that processes of this machine share, in microseconds since it started.
pub(crate) fn now_us() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    seconds.saturating_mul(1_000_000) + u64::try_from(now.tv_nsec).unwrap_or_default() / 1_000
}

/// Which instance of each application runs.
fn applications(world: &World) -> BTreeMap<usize, u64> {
    let all = (0..world.targets.len()).flat_map(|site| {
        let application = processes(world, site)
            .into_iter()
            .find(|process| process.admin.is_none());
        application.map(|process| (site, process.instance.0))
    });
    all.collect()
}

/// Processes of a release that dies by itself: their connections are counted as those of killed ones. Only for such a
/// release: of all others a loss is a loss.
///
/// Each says so with its last breath, in its log. From outside the death of a process is seen late where the machine is busy,
/// when its connections have ended long ago, or never where it has lived for a moment only.
fn deaths(world: &World, tally: &Tally, since_ms: u64) -> Result<(), Failure> {
    if world.options.release != Release::DiesMidHandover {
        return Ok(());
    }
    for (site, place) in world.targets.iter().enumerate() {
        let directory = world.fleet_directory().join("t").join(&place.id);
        for log in ["a.log", "b.log"] {
            let text = match std::fs::read_to_string(directory.join(log)) {
                Ok(text) => text,
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(Failure::internal(error)),
            };
            let last = text.lines().filter(|line| line.ends_with(LAST_WORDS));
            let times = last.filter_map(|line| line.split(' ').next()?.parse::<u64>().ok());
            for at_ms in times.filter(|at_ms| *at_ms >= since_ms) {
                // Not later than this millisecond was over.
                let times = (instant(at_ms * 1_000), instant((at_ms + 1) * 1_000));
                if let (Some(from), Some(gone)) = times {
                    tally.has_died(site, from, gone);
                }
            }
        }
    }
    Ok(())
}

/// A time of the clock that processes share, which is over.
fn instant(us: u64) -> Option<Instant> {
    let ago = now_us().saturating_sub(us);
    crate::now().checked_sub(Duration::from_micros(ago))
}

struct Controller(Child);

impl Drop for Controller {
    fn drop(&mut self) {
        // It holds the fleet for as long as it lives. One that has ended hears nothing.
        drop(self.kill());
    }
}

impl Controller {
    fn start(world: &World, round: u32, from: u32) -> Result<Self, Failure> {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(world.directory.join("controller.log"))
            .map_err(Failure::internal)?;
        Command::new(world.program())
            .arg("controller")
            .arg(format!("--world={}", world.directory.join("world.json").display()))
            .arg(format!("--round={round}"))
            .arg(format!("--from={from}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map(Self)
            .map_err(Failure::internal)
    }

    /// `Some(whether it went well)` when it has ended.
    fn ended(&mut self) -> Result<Option<bool>, Failure> {
        let status = self.0.try_wait().map_err(Failure::internal)?;
        Ok(status.map(|status| status.success()))
    }

    fn signal(&self, signal: Signal) -> Result<(), Failure> {
        kill_process(Pid::from_child(&self.0), signal).map_err(Failure::internal)
    }

    fn kill(&mut self) -> Result<(), Failure> {
        self.0.kill().map_err(Failure::internal)?;
        self.0.wait().map(drop).map_err(Failure::internal)
    }
}

/// What is done now.
enum Deed {
    KillController,
    KillProcess(Running),
    /// Who was killed is gone.
    Buried,
    SignalController(Signal),
    SignalProcess(Running, Signal),
}

/// Kills or stops somebody once a round, at a moment that is drawn.
struct Assassin {
    victim: Victim,
    /// How long the victim stands still; `None`: it is killed.
    stop: Option<Duration>,
    site: usize,
    /// How long after the first sight of the new version at that target; of an old one that leaves before the new one comes,
    /// after the round's beginning.
    after: Duration,
    seen: Option<Instant>,
    /// Who stands still, the controller where no process is named, and since when.
    still: Option<(Option<Running>, Instant)>,
    /// Who was killed, and may not be gone yet.
    dying: Option<Running>,
    kills: u64,
    stops: u64,
}

impl Assassin {
    /// `None`: nobody has to fear anything.
    fn new(world: &World, draw: &mut Draw) -> Option<Self> {
        let (victim, stops) = match (world.options.kill, world.options.stop) {
            (Some(victim), _) => (victim, false),
            (None, Some(victim)) => (victim, true),
            (None, None) => return None,
        };
        let victim = match victim {
            Victim::Random => match draw.below(3) {
                0 => Victim::Old,
                1 => Victim::New,
                _ => Victim::Controller,
            },
            other => other,
        };
        let site = usize::try_from(draw.below(world.targets.len() as u64)).unwrap_or(0);
        let after = Duration::from_millis(draw.below(MOMENT_MS));
        let stop = stops.then(|| Duration::from_millis(1 + draw.below(STOPPED_MS)));
        Some(Self {
            victim,
            stop,
            site,
            after,
            seen: None,
            still: None,
            dying: None,
            kills: 0,
            stops: 0,
        })
    }

    fn look(&mut self, world: &World, round: u32) -> Option<Deed> {
        if let (Some(stop), Some((_, since))) = (self.stop, &self.still)
            && since.elapsed() >= stop
        {
            let (process, _) = self.still.take()?;
            return Some(match process {
                Some(process) => Deed::SignalProcess(process, Signal::CONT),
                None => Deed::SignalController(Signal::CONT),
            });
        }
        if self.kills + self.stops > 0 {
            return self.buried(world);
        }
        let new = version(round);
        let is_new = |process: &Running| process.version.as_str() == new;
        let leaves_first = self.victim == Victim::Old && world.options.mode != Way::Hot;
        if self.seen.is_none() && (leaves_first || processes(world, self.site).iter().any(is_new)) {
            self.seen = Some(crate::now());
        }
        if self.seen?.elapsed() < self.after {
            return None;
        }
        let process = match self.victim {
            Victim::Controller => None,
            Victim::Old => Some(self.find(world, |process| !is_new(process))?),
            Victim::New | Victim::Random => Some(self.find(world, is_new)?),
        };
        if self.stop.is_some() {
            self.stops += 1;
            self.still = Some((process.clone(), crate::now()));
            return Some(match process {
                Some(process) => Deed::SignalProcess(process, Signal::STOP),
                None => Deed::SignalController(Signal::STOP),
            });
        }
        self.kills += 1;
        self.dying.clone_from(&process);
        Some(process.map_or(Deed::KillController, Deed::KillProcess))
    }

    /// A sidecar of the target, or of the next one that has such a one.
    fn find(&mut self, world: &World, is: impl Fn(&Running) -> bool) -> Option<Running> {
        let sites = world.targets.len();
        for site in (0..sites).map(|step| (self.site + step) % sites) {
            let mut sidecars = processes(world, site).into_iter().filter(|one| one.admin.is_some());
            if let Some(process) = sidecars.find(&is) {
                self.site = site;
                return Some(process);
            }
        }
        None
    }

    fn buried(&mut self, world: &World) -> Option<Deed> {
        let site = self.site;
        let gone = |dying: &mut Running| !processes(world, site).iter().any(|one| one.instance == dying.instance);
        self.dying.take_if(gone).map(|_| Deed::Buried)
    }

    /// The process that stands still, which shall not any more.
    fn stopped(&mut self) -> Option<Running> {
        self.still.take()?.0
    }
}
