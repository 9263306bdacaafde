//! One upgrade of the whole fleet, and whoever is killed in it.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use rustix::time::{ClockId, clock_gettime};
use unattended::upgrade::TargetId;
use unattended::{MovesView, Outcome};
use unattended_examples_support::Failure;
use unattended_process::{Running, running};

use crate::client::{Draw, Shared, Tally, Window};
use crate::controller::{Told, answer_file};
use crate::options::{Release, Victim};
use crate::sidecars;
use crate::world::{World, version};

/// A round that takes longer has hung.
const LONGEST: Duration = Duration::from_secs(600);

/// Between two looks at the processes.
const LOOK: Duration = Duration::from_millis(5);

/// A moment is drawn within this time: of a target's upgrade, or of the controller's life.
const MOMENT_MS: u64 = 1_500;

/// What became of a round.
#[derive(Clone, Debug)]
pub(crate) struct Round {
    pub(crate) outcome: Outcome,
    pub(crate) explanation: String,
    pub(crate) moves: MovesView,
    pub(crate) cut: u64,
    pub(crate) kills: u64,
    pub(crate) application_restarts: u64,
}

/// Upgrades the fleet from the version of round `from` to that of `round`.
pub(crate) async fn play(world: &World, shared: &Shared, round: u32, from: u32) -> Result<Round, Failure> {
    let before = applications(world);
    let began_us = now_us();
    let mut draw = Draw::new(world.options.seed, 3 << 32 | u64::from(round));
    let victim = match world.options.kill {
        Some(Victim::Random) => match draw.below(3) {
            0 => Some(Victim::Old),
            1 => Some(Victim::New),
            _ => Some(Victim::Controller),
        },
        other => other,
    };
    let mut assassin = victim.map(|victim| Assassin::new(world, victim, draw));
    let mut deaths = Deaths::default();
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
        deaths.look(world, shared, round);
        if let Some(assassin) = assassin.as_mut() {
            match assassin.look(world, round) {
                Some(Deed::Controller) => {
                    controller.kill()?;
                    controller = Controller::start(world, round, from)?;
                }
                Some(Deed::Process(site, process)) => strike(shared, site, &process),
                None => {}
            }
        }
        tokio::time::sleep(LOOK).await;
    };
    if told.outcome.exit_code() != 0 {
        for decision in &told.decisions {
            eprintln!("round {round}, {decision}");
        }
    }
    moves(world, &shared.tally, began_us).await;
    let after = applications(world);
    Ok(Round {
        outcome: told.outcome,
        explanation: told.explanation,
        moves: told.moves,
        cut: told.cut,
        kills: assassin.map_or(0, |assassin| assassin.kills),
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
            let at = |us: u64| {
                let ago = now_us().saturating_sub(us);
                crate::now().checked_sub(Duration::from_micros(ago))
            };
            if let (Some(from), Some(until)) = (at(came.from_us), at(came.until_us)) {
                windows.push(Window { site, from, until });
            }
        }
    }
    tally.moved(&windows);
}

/// The clock that processes of this machine share, in microseconds since it started.
fn now_us() -> u64 {
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
#[derive(Default)]
struct Deaths {
    alive: BTreeMap<usize, u64>,
}

impl Deaths {
    fn look(&mut self, world: &World, shared: &Shared, round: u32) {
        if world.options.release != Release::DiesMidHandover {
            return;
        }
        let new = version(round);
        for site in 0..world.targets.len() {
            let runs = processes(world, site)
                .into_iter()
                .find(|process| process.version.as_str() == new);
            let before = match runs {
                Some(process) => self
                    .alive
                    .insert(site, process.instance.0)
                    .filter(|before| *before != process.instance.0),
                None => self.alive.remove(&site),
            };
            if before.is_some() {
                shared.tally.died(site);
            }
        }
    }
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

    fn kill(&mut self) -> Result<(), Failure> {
        self.0.kill().map_err(Failure::internal)?;
        self.0.wait().map(drop).map_err(Failure::internal)
    }
}

/// What is done now.
enum Deed {
    Controller,
    Process(usize, Running),
}

/// Kills somebody once a round, at a moment that is drawn.
struct Assassin {
    victim: Victim,
    site: usize,
    /// How long after the first sight of the new version at that target.
    after: Duration,
    seen: Option<Instant>,
    kills: u64,
}

impl Assassin {
    fn new(world: &World, victim: Victim, mut draw: Draw) -> Self {
        let site = usize::try_from(draw.below(world.targets.len() as u64)).unwrap_or(0);
        let after = Duration::from_millis(draw.below(MOMENT_MS));
        Self {
            victim,
            site,
            after,
            seen: None,
            kills: 0,
        }
    }

    fn look(&mut self, world: &World, round: u32) -> Option<Deed> {
        if self.kills > 0 {
            return None;
        }
        let (new, all) = (version(round), processes(world, self.site));
        let is_new = |process: &Running| process.version.as_str() == new;
        if self.seen.is_none() && all.iter().any(is_new) {
            self.seen = Some(crate::now());
        }
        if self.seen?.elapsed() < self.after {
            return None;
        }
        let deed = match self.victim {
            Victim::Controller => Deed::Controller,
            Victim::Old => Deed::Process(
                self.site,
                all.into_iter().find(|one| one.admin.is_some() && !is_new(one))?,
            ),
            Victim::New | Victim::Random => Deed::Process(self.site, all.into_iter().find(is_new)?),
        };
        self.kills += 1;
        Some(deed)
    }
}

/// Kills a process, and no other one that has got its number since.
fn strike(shared: &Shared, site: usize, process: &Running) {
    shared.tally.died(site);
    // One that has ended just now was not killed, and what its clients see is not forgiven for longer than a second.
    drop(process.signal(Signal::KILL));
}
