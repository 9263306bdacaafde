//! The change played through many times.

use super::conditions::LATEST_MS;
use super::front::{turns, whole_ms};
use super::normal::{LogNormal, uniform};
use super::walk::{Done, Work};
use super::{Blocker, Conditions, Finish, Interval, LaneForecast, Late, Spent};
use crate::fleet::Fleet;
use crate::index::{AppIndex, TargetIndex, narrow};
use crate::plan::Plan;
use crate::policy::Policy;

const NEVER: u64 = u64::MAX;
/// Steps of applications that all trials together may take.
const MOST_STEPS: usize = 8_000_000;

/// A batch of one application.
struct Step {
    app: u32,
    n: u32,
    /// End of the latest pin on one of its targets; 0 without.
    pinned_until: u64,
}

pub(super) struct Trials<'a> {
    conditions: &'a Conditions,
    policy: &'a Policy,
    upgrade: LogNormal,
    bake: LogNormal,
    seed: u64,
    fleet_cap: u32,
    caps: Vec<u32>,
    /// By batch.
    steps: Vec<Vec<Step>>,
    count: u32,
    /// When each trial ended, for each application.
    ends: Vec<Vec<u64>>,
    /// When each trial ended.
    whole: Vec<u64>,
    /// When each trial judged, for each batch.
    judged: Vec<Vec<u64>>,
    lanes: Vec<Lane>,
}

#[derive(Clone, Copy, Default)]
struct Lane {
    batches: u32,
    spent: Spent,
    gap: Option<Interval>,
    /// No window was left for it in some trial.
    shut: bool,
}

impl<'a> Trials<'a> {
    pub(super) fn run(fleet: &Fleet, policy: &'a Policy, plan: &Plan, conditions: &'a Conditions) -> Self {
        let apps = fleet.app_count() as usize;
        let steps = steps_of(fleet, policy, plan, conditions.start_ms);
        let all: usize = steps.iter().map(Vec::len).sum();
        let count = narrow((MOST_STEPS / all.max(1)).clamp(40, 400));
        let mut lanes = vec![Lane::default(); apps];
        for step in steps.iter().flatten() {
            lanes[step.app as usize].batches += 1;
        }
        let mut trials = Self {
            conditions,
            policy,
            upgrade: LogNormal::new(conditions.upgrade),
            bake: LogNormal::new(conditions.bake),
            seed: plan.seed(),
            fleet_cap: policy.total_in_flight.of(narrow(fleet.len())).max(1),
            caps: (0..fleet.app_count())
                .map(|app| plan.app_cap(AppIndex(app)).max(1))
                .collect(),
            judged: vec![Vec::new(); steps.len()],
            steps,
            count,
            ends: vec![Vec::new(); apps],
            whole: Vec::new(),
            lanes,
        };
        for trial in 0..count {
            trials.play(trial);
        }
        for ends in trials
            .ends
            .iter_mut()
            .chain(&mut trials.judged)
            .chain([&mut trials.whole])
        {
            ends.sort_unstable();
        }
        for lane in &mut trials.lanes {
            let spent = &mut lane.spent;
            for ms in [
                &mut spent.upgrades_ms,
                &mut spent.bakes_ms,
                &mut spent.windows_ms,
                &mut spent.pins_ms,
                &mut spent.others_ms,
            ] {
                *ms /= u64::from(count);
            }
        }
        trials
    }

    fn play(&mut self, trial: u32) {
        let mut free = vec![self.conditions.start_ms; self.caps.len()];
        let mut open = self.conditions.start_ms;
        let mut draw = 0_u64;
        for batch in 0..self.steps.len() {
            let mut next = || {
                draw += 1;
                uniform(self.seed, trial, draw)
            };
            let bake = whole_ms(self.bake.longest_of(1, next()));
            let all: u32 = self.steps[batch].iter().map(|step| step.n).sum();
            let shared = turns(all, self.fleet_cap, self.policy, self.upgrade.mean());
            let (mut judged, mut soonest) = (None, NEVER);
            for step in &self.steps[batch] {
                let app = step.app as usize;
                let lane = &mut self.lanes[app];
                let last = self.upgrade.longest_of(step.n.min(self.caps[app]), next());
                let ready = open.max(free[app]);
                if ready == NEVER {
                    free[app] = NEVER;
                    continue;
                }
                let from = ready.max(step.pinned_until);
                let own = turns(step.n, self.caps[app], self.policy, self.upgrade.mean());
                let work = |turns: u64| Work {
                    turns: turns - 1,
                    each_ms: whole_ms(self.upgrade.mean()),
                    last_ms: whole_ms(last),
                    room_ms: self.conditions.upgrade.p95_ms + self.conditions.rollback_ms,
                };
                let windows = self.conditions.windows.get(&AppIndex(step.app)).map(Vec::as_slice);
                let mut doing = work(own.max(shared));
                let mut done = doing.from(from, windows);
                if own < shared && done.is_none_or(|done: Done| done.began_ms > ready) {
                    // It comes after the others, and need not share the fleet's allowance with them.
                    doing = work(own);
                    done = doing.from(from, windows);
                }
                let Some(done) = done else {
                    lane.shut = true;
                    free[app] = NEVER;
                    continue;
                };
                let baked = done.ended_ms.saturating_add(bake);
                let spent = &mut lane.spent;
                spent.others_ms += ready - free[app];
                spent.pins_ms += from - ready;
                spent.upgrades_ms += doing.length_ms();
                spent.windows_ms += (done.ended_ms - from).saturating_sub(doing.length_ms());
                spent.bakes_ms += bake;
                let length = |gap: Interval| gap.until_ms - gap.from_ms;
                if done
                    .gap
                    .is_some_and(|gap| lane.gap.is_none_or(|longest| length(gap) > length(longest)))
                {
                    lane.gap = done.gap;
                }
                free[app] = baked;
                soonest = soonest.min(baked);
                // Held in this batch, or behind since it was held in an earlier one: nobody waits for it.
                if done.ended_ms - open <= doing.length_ms() {
                    judged = judged.max(Some(baked));
                }
            }
            self.judged[batch].push(judged.unwrap_or(soonest));
            // Where everybody in the batch is held, another lane's next slice takes its place.
            open = judged.unwrap_or(open);
        }
        self.whole.push(free.iter().copied().max().unwrap_or(open));
        for (ends, free) in self.ends.iter_mut().zip(free) {
            ends.push(free);
        }
    }

    pub(super) const fn count(&self) -> u32 {
        self.count
    }

    pub(super) fn finish(&self) -> Option<Finish> {
        finish_of(&self.whole)
    }

    pub(super) fn batches(&self) -> Vec<Option<Finish>> {
        self.judged.iter().map(|judged| finish_of(judged)).collect()
    }

    pub(super) fn lanes(&self) -> Vec<LaneForecast> {
        let lanes = self.lanes.iter().zip(&self.ends).zip(0..);
        lanes
            .map(|((lane, ends), app)| LaneForecast {
                app: AppIndex(app),
                batches: lane.batches,
                finish: finish_of(ends),
                spent: lane.spent,
            })
            .collect()
    }

    pub(super) fn late(&self, lanes: &[LaneForecast]) -> Vec<Late> {
        let deadline = self.conditions.deadline_ms.unwrap_or(NEVER - 1);
        let late = lanes
            .iter()
            .filter(|lane| lane.finish.is_none_or(|finish| finish.p95_ms > deadline));
        late.map(|lane| Late {
            app: lane.app,
            in_time: self.in_time(lane.app, deadline),
            because: self.because(lane),
        })
        .collect()
    }

    fn in_time(&self, app: AppIndex, deadline: u64) -> f64 {
        let ends = &self.ends[app.at()];
        f64::from(narrow(ends.partition_point(|&end| end <= deadline))) / f64::from(self.count)
    }

    fn because(&self, lane: &LaneForecast) -> Blocker {
        let more = &self.lanes[lane.app.at()];
        if more.shut {
            let start = self.conditions.start_ms;
            let windows = self.conditions.windows.get(&lane.app).into_iter().flatten();
            let lengths = windows.map(|window| window.until_ms.saturating_sub(window.from_ms.max(start)));
            return Blocker::NoWindow {
                needed_ms: self.conditions.upgrade.p95_ms + self.conditions.rollback_ms,
                longest_ms: lengths.max().unwrap_or(0),
            };
        }
        if lane.finish.is_none() {
            return Blocker::Others { ms: 0 };
        }
        let spent = lane.spent;
        let windows = more.gap.map(|gap| Blocker::Windows {
            ms: spent.windows_ms,
            gap,
        });
        let causes = [
            (
                spent.bakes_ms,
                Some(Blocker::Bakes {
                    ms: spent.bakes_ms,
                    batches: lane.batches,
                }),
            ),
            (spent.others_ms, Some(Blocker::Others { ms: spent.others_ms })),
            (
                spent.upgrades_ms,
                Some(Blocker::Upgrades {
                    ms: spent.upgrades_ms,
                    at_once: self.caps[lane.app.at()],
                }),
            ),
            (spent.pins_ms, Some(Blocker::Pins { ms: spent.pins_ms })),
            (spent.windows_ms, windows),
        ];
        let most = causes.into_iter().filter_map(|(ms, cause)| Some((ms, cause?)));
        most.max_by_key(|&(ms, _)| ms)
            .map_or(Blocker::Others { ms: 0 }, |(_, cause)| cause)
    }
}

/// Percentiles of sorted moments; `None` where they include one that never comes.
fn finish_of(sorted: &[u64]) -> Option<Finish> {
    let at = |percent: usize| {
        sorted
            .get((sorted.len() * percent).div_ceil(100).saturating_sub(1))
            .copied()
    };
    let (p50_ms, p95_ms) = (at(50)?, at(95)?);
    (p95_ms != NEVER).then_some(Finish { p50_ms, p95_ms })
}

fn steps_of(fleet: &Fleet, policy: &Policy, plan: &Plan, start_ms: u64) -> Vec<Vec<Step>> {
    let pinned = pinned_until(fleet, policy, start_ms);
    let mut counts = vec![(0_u32, 0_u64); fleet.app_count() as usize];
    let batches = 0..plan.batch_count();
    batches
        .map(|batch| {
            let mut touched = Vec::new();
            for &target in plan.targets(batch) {
                let app = fleet.app_of(target);
                let (n, until) = &mut counts[app.at()];
                if *n == 0 {
                    touched.push(app.0);
                }
                *n += 1;
                *until = (*until).max(pinned.get(target.at()).copied().unwrap_or(0));
            }
            touched.sort_unstable();
            let steps = touched.into_iter().map(|app| {
                let (n, pinned_until) = std::mem::take(&mut counts[app as usize]);
                Step { app, n, pinned_until }
            });
            steps.collect()
        })
        .collect()
}

/// For each target the end of its latest pin; nothing at all where nobody is pinned.
fn pinned_until(fleet: &Fleet, policy: &Policy, start_ms: u64) -> Vec<u64> {
    let mut until = Vec::new();
    for pin in policy.pins.iter().filter(|pin| pin.until_ms > start_ms) {
        let labels: Option<Vec<_>> = pin
            .scope
            .labels
            .iter()
            .map(|(key, value)| Some((fleet.key_index(key)?, value.as_str())))
            .collect();
        // A key nobody has pins nobody.
        let Some(labels) = labels else { continue };
        if until.is_empty() {
            until = vec![0; fleet.len()];
        }
        let in_app = |target: TargetIndex| {
            let app = pin.scope.app.as_deref();
            app.is_none_or(|app| fleet.app_name(fleet.app_of(target)) == app)
        };
        for target in fleet.targets().filter(|&target| in_app(target)) {
            let has = |&(key, wanted): &(_, &str)| {
                let value = fleet.label(target, key);
                value.is_some_and(|value| fleet.value_name(key, value) == wanted)
            };
            if labels.iter().all(has) {
                until[target.at()] = until[target.at()].max(pin.until_ms.min(LATEST_MS));
            }
        }
    }
    until
}
