//! A simulated execution as JSON lines, with the births and deaths that the inventory knows.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use serde::Serialize;
use unattended::batching::{Event, Frontier, Side, TargetIndex, TraceStep, position, verify_trace};
use unattended_examples_support::{Inventory, Target, count};

use crate::policy::{PolicyFile, unproved};
use crate::previous::Earlier;
use crate::{Failure, Planned, common, plan_of, print};

/// One attempt in so many fails.
const FAILS: u64 = 100;
/// Attempts before a target is left as debt.
const ATTEMPTS: u8 = 3;
/// How long to wait before asking again whether somebody may start, when nothing else will happen.
const PATIENCE_MS: u64 = 60_000;
/// How often; beyond, those who cannot start are left as debt.
const PATIENCE: u32 = 10_000;

/// One line. `t` is in seconds on the inventory's own clock.
#[derive(Serialize)]
struct Line<'l> {
    t: f64,
    event: &'static str,
    target: &'l str,
    app: &'l str,
    #[serde(skip_serializing_if = "Option::is_none")]
    batch: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'static str>,
}

/// What will happen. Ordered for equal times: who is done frees a slot before anybody else asks for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Done(u32),
    Dies(u32),
    Born(u32),
    Baked,
}

/// A target in the simulation: known by its position in the inventory and by the frontier's index.
struct Run<'i> {
    all: &'i [Target],
    /// The frontier's index of each target of the inventory that was ever alive here.
    index: BTreeMap<u32, TargetIndex>,
    /// The other way round.
    member: Vec<u32>,
    planned: Planned,
    live: Frontier,
    due: BinaryHeap<Reverse<(u64, Due)>>,
    steps: Vec<TraceStep>,
    attempts: Vec<u8>,
    flying: Vec<bool>,
    settled: Vec<bool>,
    open: u16,
    baking: bool,
    bake_ms: u64,
    /// When the simulation begins, on the inventory's clock.
    zero_ms: i64,
    /// The same moment on the change's own clock, in which pins are written.
    begin_ms: u64,
    out: Vec<u8>,
    tally: Tally,
}

#[derive(Default)]
struct Tally {
    started: usize,
    finished: usize,
    failed: usize,
    debt: usize,
    born: [usize; 2],
    died: usize,
}

/// Simulates the change on those who are alive at the beginning, and prints what happens.
pub(crate) fn run(
    inventory: &Inventory,
    file: &PolicyFile,
    earlier: Option<&Earlier>,
    seed: u64,
) -> Result<(), Failure> {
    let all = &inventory.targets;
    let times = || all.iter().flat_map(|target| [target.born_s, target.died_s]).flatten();
    // The clock of a table begins with it: at 0, or before if there is something before.
    let begins = |target: &&Target, zero: i64| {
        target.born_s.is_none_or(|born| born <= zero) && target.died_s.is_none_or(|died| died > zero)
    };
    let mut zero_s = times().min().unwrap_or(0).min(0);
    if !all.iter().any(|target| begins(&target, zero_s)) {
        zero_s = all.iter().filter_map(|target| target.born_s).min().unwrap_or(zero_s);
    }
    let alive = |target: &&Target| begins(target, zero_s);
    let fleet = common::fleet(all.iter().filter(alive)).map_err(|error| {
        Failure::Input(format!(
            "the inventory at second {zero_s}: {error}; fix: give targets that are alive then"
        ))
    })?;
    let planned = plan_of(fleet, file, earlier, seed)?;
    let last_s = times().max().unwrap_or(zero_s).max(zero_s);
    let span_ms = u64::try_from(last_s.saturating_sub(zero_s))
        .unwrap_or(0)
        .saturating_mul(1_000);
    // The change lasts as long as the births and deaths do, so that it meets them all.
    let stretched = span_ms / (u64::from(planned.plan.batch_count()) + 1);
    let usual = planned.conditions.bake_duration().p50_ms;
    let mut run = Run::new(all, planned, zero_s, stretched.max(usual));
    for (at, target) in (0_u32..).zip(all) {
        run.foresee(at, target, begins(&target, zero_s), zero_s);
    }
    run.go()?;
    run.end()
}

impl<'i> Run<'i> {
    fn new(all: &'i [Target], planned: Planned, zero_s: i64, bake_ms: u64) -> Self {
        let live = planned.plan.frontier();
        let begin_ms = planned.forecast.start_ms;
        Self {
            all,
            index: BTreeMap::new(),
            member: Vec::new(),
            live,
            planned,
            due: BinaryHeap::new(),
            steps: Vec::new(),
            attempts: Vec::new(),
            flying: Vec::new(),
            settled: Vec::new(),
            open: 0,
            baking: false,
            bake_ms,
            zero_ms: zero_s.saturating_mul(1_000),
            begin_ms,
            out: Vec::new(),
            tally: Tally::default(),
        }
    }

    fn foresee(&mut self, at: u32, target: &Target, alive: bool, zero_s: i64) {
        let begin_ms = self.begin_ms;
        let ms = |second: i64| {
            let after = u64::try_from(second.saturating_sub(zero_s)).unwrap_or(0);
            // What is further off than a million years comes then.
            after.saturating_mul(1_000).min(1 << 55).saturating_add(begin_ms)
        };
        if alive {
            self.enrol(at);
        } else if let Some(born) = target.born_s.filter(|&born| born > zero_s) {
            self.due.push(Reverse((ms(born), Due::Born(at))));
        } else {
            return;
        }
        if let Some(died) = target.died_s {
            // Nobody dies before being born, not even within one second.
            let at_least = target.born_s.map_or(0, |born| ms(born).saturating_add(1));
            self.due.push(Reverse((ms(died).max(at_least), Due::Dies(at))));
        }
    }

    fn enrol(&mut self, at: u32) {
        let index = TargetIndex(u32::try_from(self.member.len()).unwrap_or(u32::MAX));
        self.index.insert(at, index);
        self.member.push(at);
        self.attempts.push(0);
        self.flying.push(false);
        self.settled.push(false);
    }

    fn go(&mut self) -> Result<(), Failure> {
        let mut now = self.begin_ms;
        let mut waited = 0;
        loop {
            while let Some(&Reverse((at, due))) = self.due.peek()
                && at <= now
            {
                self.due.pop();
                self.happens(due, now)?;
            }
            for target in self.live.startable(now, usize::MAX) {
                self.start(target, now)?;
                waited = 0;
            }
            if self.live.in_flight() == 0 && !self.baking && self.open < self.last() && self.waiting() == 0 {
                self.baking = true;
                self.due.push(Reverse((now + self.bake_ms, Due::Baked)));
            }
            let next = self.due.peek().map(|&Reverse((at, _))| at);
            let stuck = self.live.in_flight() == 0 && !self.baking && self.waiting() > 0;
            now = match (stuck, next) {
                // A rate, a pin, a hold: time may help.
                (true, _) if waited < PATIENCE => {
                    waited += 1;
                    let later = now + PATIENCE_MS;
                    next.map_or(later, |next| next.min(later))
                }
                (true, _) => {
                    self.give_up(now)?;
                    waited = 0;
                    now
                }
                (false, Some(next)) => next,
                (false, None) => return Ok(()),
            };
        }
    }

    fn last(&self) -> u16 {
        self.planned.plan.batch_count() - 1
    }

    /// Targets that may start as soon as something lets them.
    fn waiting(&self) -> u64 {
        self.live.lanes().map(|lane| u64::from(lane.waiting_in_open)).sum()
    }

    fn happens(&mut self, due: Due, now: u64) -> Result<(), Failure> {
        match due {
            Due::Done(target) => self.done(TargetIndex(target), now),
            Due::Born(at) => self.born(at, now),
            Due::Dies(at) => self.dies(at, now),
            Due::Baked => {
                self.baking = false;
                self.open += 1;
                let lanes: Vec<_> = self
                    .live
                    .lanes()
                    .filter(|lane| lane.next_batch == Some(self.open))
                    .collect();
                for lane in lanes {
                    self.tell(Event::Promoted { app: lane.app, at: now });
                }
                Ok(())
            }
        }
    }

    fn start(&mut self, target: TargetIndex, now: u64) -> Result<(), Failure> {
        self.steps.push(TraceStep::Started { id: target, at: now });
        self.flying[target.at()] = true;
        self.tally.started += 1;
        self.line(now, "started", target, None)?;
        let attempt = self.attempts[target.at()];
        let upgrade = self.planned.forecast_upgrade();
        let draw = self.draw(target, attempt, 0) % (upgrade.1 - upgrade.0 + 1);
        self.due.push(Reverse((now + upgrade.0 + draw, Due::Done(target.0))));
        Ok(())
    }

    fn done(&mut self, target: TargetIndex, now: u64) -> Result<(), Failure> {
        if !self.flying[target.at()] {
            // It died meanwhile.
            return Ok(());
        }
        self.flying[target.at()] = false;
        let attempt = self.attempts[target.at()];
        self.attempts[target.at()] += 1;
        if self.draw(target, attempt, 1).is_multiple_of(FAILS) {
            let retry = attempt + 1 < ATTEMPTS;
            self.tally.failed += 1;
            self.tally.debt += usize::from(!retry);
            self.settled[target.at()] = !retry;
            self.tell(Event::Failed {
                id: target,
                at: now,
                retry,
            });
            return self.line(now, "failed", target, None);
        }
        self.tally.finished += 1;
        self.settled[target.at()] = true;
        self.tell(Event::Finished { id: target, at: now });
        self.line(now, "finished", target, None)
    }

    fn born(&mut self, at: u32, now: u64) -> Result<(), Failure> {
        let target = &self.all[at as usize];
        let labels: Vec<(&str, &str)> = target.labels.iter().map(|(key, value)| (&**key, &**value)).collect();
        let side = self.live.version_for(&target.id, &target.app, &labels);
        let index = self
            .live
            .join(&target.id, &target.app, &labels, side, now)
            .map_err(Failure::internal)?;
        self.steps.push(TraceStep::Joined {
            id: target.id.to_string(),
            app: target.app.to_string(),
            labels: labels
                .iter()
                .map(|&(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
            side,
            at: now,
        });
        self.enrol(at);
        // An application that the plan does not know has a lane that nobody has opened yet.
        if let Some(app) = self.live.app_of(index) {
            while self.live.lane(app).open_batch < self.open {
                self.tell(Event::Promoted { app, at: now });
            }
        }
        self.settled[index.at()] = side == Side::New;
        self.tally.born[usize::from(side == Side::New)] += 1;
        self.line(now, "born", index, Some(side))
    }

    fn dies(&mut self, at: u32, now: u64) -> Result<(), Failure> {
        let Some(&index) = self.index.get(&at) else {
            return Ok(());
        };
        self.flying[index.at()] = false;
        self.settled[index.at()] = true;
        self.tally.died += 1;
        self.tell(Event::Left { id: index });
        self.line(now, "died", index, None)
    }

    /// Those who wait and can never start are left behind, as a caller would leave them.
    fn give_up(&mut self, now: u64) -> Result<(), Failure> {
        let waits: Vec<bool> = self.live.lanes().map(|lane| lane.waiting_in_open > 0).collect();
        let stuck: Vec<TargetIndex> = (0..self.member.len())
            .map(|at| TargetIndex(u32::try_from(at).unwrap_or(u32::MAX)))
            .filter(|&target| {
                let lane = self.live.app_of(target).is_some_and(|app| waits[app.at()]);
                let open = self.batch_of(target).is_none_or(|batch| batch <= self.open);
                lane && open && !self.settled[target.at()]
            })
            .collect();
        for target in stuck {
            self.settled[target.at()] = true;
            self.tally.debt += 1;
            self.tell(Event::Failed {
                id: target,
                at: now,
                retry: false,
            });
            self.line(now, "given_up", target, None)?;
        }
        Ok(())
    }

    fn tell(&mut self, event: Event) {
        self.live.on(event);
        self.steps.push(TraceStep::Told(event));
    }

    /// The batch of a planned target; births are in none of the plan's.
    fn batch_of(&self, target: TargetIndex) -> Option<u16> {
        (target.at() < self.planned.plan.len()).then(|| self.planned.plan.batch_of(target))
    }

    fn draw(&self, target: TargetIndex, attempt: u8, kind: u64) -> u64 {
        let seed = self.planned.seed ^ (u64::from(attempt) << 8 | kind << 16 | 0xa5);
        position(seed, &self.all[self.member[target.at()] as usize].id) >> 8
    }

    fn line(&mut self, now: u64, event: &'static str, index: TargetIndex, side: Option<Side>) -> Result<(), Failure> {
        let target = &self.all[self.member[index.at()] as usize];
        let after = i64::try_from(now - self.begin_ms).unwrap_or(i64::MAX);
        let at = self.zero_ms.saturating_add(after);
        #[expect(clippy::cast_precision_loss, reason = "milliseconds below 2^53")]
        let line = Line {
            t: at as f64 / 1_000.0,
            event,
            target: &target.id,
            app: &target.app,
            batch: self.batch_of(index),
            version: side.map(|side| if side == Side::New { "new" } else { "old" }),
        };
        serde_json::to_writer(&mut self.out, &line).map_err(Failure::internal)?;
        self.out.push(b'\n');
        if self.out.len() > 1 << 16 {
            print(&std::mem::take(&mut self.out))?;
        }
        Ok(())
    }

    /// Checks the whole execution, by code that the frontier does not share, and says what happened.
    fn end(self) -> Result<(), Failure> {
        print(&self.out)?;
        let Planned {
            fleet, policy, plan, ..
        } = &self.planned;
        let proof = verify_trace(fleet, policy, plan, &self.steps).map_err(|found| unproved(&found))?;
        let Tally {
            started,
            finished,
            failed,
            debt,
            born,
            died,
        } = self.tally;
        eprintln!(
            "{} starts, {} finished, {} failed, {} left as debt, {} left waiting; {} born with the old version, {} with the new; {} died",
            count(started),
            count(finished),
            count(failed),
            count(debt),
            count(self.live.remaining() as usize),
            count(born[0]),
            count(born[1]),
            count(died)
        );
        eprintln!(
            "no cap was broken: {} comparisons by code that the frontier does not share; at most {} in flight at once",
            count(usize::try_from(proof.comparisons).unwrap_or(usize::MAX)),
            count(proof.most_in_flight as usize)
        );
        Ok(())
    }
}

impl Planned {
    /// The shortest and the longest upgrade of the simulation.
    fn forecast_upgrade(&self) -> (u64, u64) {
        let upgrade = self.conditions.upgrade_duration();
        (upgrade.p50_ms / 2, upgrade.p95_ms)
    }
}
