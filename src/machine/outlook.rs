//! When the change will be through, and who is late. It decides nothing.

use std::collections::BTreeMap;

use unattended_batching::{AppIndex, expected_exposure};
use unattended_defense::{Blocker, Guard, Need, NextFeasible, Scope};

use crate::{LateBy, LateLane, Outlook, Pace};

use super::classes::Fresh;
use super::tables::Slice;
use super::{Course, Machine};

/// Lanes that are named.
const SHOWN: usize = 100;
/// Of so many exposed, one shows the fault in a bake.
const PREVALENCE: f64 = 0.005;
/// Planned steps that are taken as one.
const PACES: [u16; 3] = [1, 2, 4];

/// Where the time of a lane goes.
struct Way {
    /// When it is through; `None`: never.
    ends_ms: Option<u64>,
    left: u64,
    /// What costs most.
    most: Cost,
}

struct Cost {
    /// `None`: there is no end to it.
    ms: Option<u64>,
    by: String,
    owner: String,
}

impl Machine {
    /// How it looks from here; `None` once it has ended, or goes back.
    pub(crate) fn outlook(&self, deadline_unix_ms: Option<i64>) -> Option<Outlook> {
        if self.course != Course::Forward {
            return None;
        }
        let ready = self.classes_ready();
        let deadline_ms = deadline_unix_ms.map(|at| self.run_ms(at));
        let is_late = |way: &Way| match (way.ends_ms, deadline_ms) {
            (None, _) => true,
            (Some(ends), Some(deadline)) => ends > deadline,
            (Some(_), None) => false,
        };
        let ways: Vec<(usize, Way)> = (0..self.lanes.len())
            .filter(|&lane| !self.lanes[lane].is_finished())
            .map(|lane| (lane, self.way(lane, &ready)))
            .collect();
        let eta_ms = ways
            .iter()
            .map(|(_, way)| way.ends_ms)
            .try_fold(self.now_ms, |latest, ends| Some(latest.max(ends?)));
        let asked = self.questions.first().filter(|_| self.waits_for_person());
        let waits_for = match self.halt() {
            Some(halt) => Some(halt.waits_for()),
            None => asked.map(|question| question.text.clone()),
        };
        let mut late: Vec<&(usize, Way)> = ways.iter().filter(|(_, way)| is_late(way)).collect();
        late.sort_by_key(|(lane, way)| (std::cmp::Reverse(way.ends_ms.unwrap_or(u64::MAX)), *lane));
        let fleet = &self.setup.change.fleet;
        let named = late.iter().take(SHOWN).map(|(lane, way)| LateLane {
            lane: fleet.app_name(app(*lane)).to_owned(),
            eta_unix_ms: way.ends_ms.map(|ends| self.unix_ms(ends)),
            left: way.left,
            blocked_by: way.most.by.clone(),
            owner: way.most.owner.clone(),
            costs_ms: way.most.ms,
        });
        Some(Outlook {
            at_unix_ms: self.unix_ms(self.now_ms),
            deadline_unix_ms,
            eta_unix_ms: eta_ms.filter(|_| waits_for.is_none()).map(|ends| self.unix_ms(ends)),
            waits_for,
            late: late.len() as u64,
            late_by: late_by(late.iter().map(|(_, way)| way)),
            late_lanes: named.collect(),
            most_in_flight: self.most_in_flight(),
            traffic: self.live_traffic(),
            paces: PACES.iter().map(|&at_once| self.pace(at_once)).collect(),
        })
    }

    /// By class and batch, when the class may have come to it at the earliest.
    fn classes_ready(&self) -> Vec<Vec<u64>> {
        let soak_ms = self.setup.change.settings.soak_ms;
        let ready = self
            .tables
            .classes
            .iter()
            .zip(&self.classes)
            .enumerate()
            .map(|(at, (class, state))| {
                let mut ready = vec![self.now_ms; class.cumulative.len()];
                let gone_ms = match state.fresh {
                    Fresh::Counting(since) => self.now_ms - since,
                    Fresh::Waiting | Fresh::Warming(_) => 0,
                };
                let (mut at_ms, mut stage, mut soaked, mut gone_ms) = (self.now_ms, state.stage, state.soaked, gone_ms);
                while let Some(next) = class.next_stage(stage) {
                    let soaks = !soaked && class.needs_soak(next, &self.setup.change.settings);
                    let step_ms = self.stage_ms(at, class.cumulative[usize::from(stage)]);
                    let rest_ms = if soaks { soak_ms.max(step_ms) } else { step_ms };
                    at_ms += rest_ms.saturating_sub(std::mem::take(&mut gone_ms));
                    soaked |= soaks;
                    // All batches from there on, until a later stage says otherwise.
                    ready[usize::from(stage) + 1..].fill(at_ms);
                    stage = next;
                }
                ready
            });
        ready.collect()
    }

    /// The way of one lane from here.
    fn way(&self, lane: usize, ready: &[Vec<u64>]) -> Way {
        let index = app(lane);
        let settings = &self.setup.change.settings;
        let state = &self.lanes[lane];
        let waiting = self.frontier.lane(index).waiting_in_open;
        let slices = self.tables.slices[lane].get(state.opened..).unwrap_or_default();
        let planned: u64 = slices.iter().map(|slice| u64::from(slice.size())).sum();
        let left = planned + u64::from(waiting);
        let never = |by: String, owner: String| Way {
            ends_ms: None,
            left,
            most: Cost { ms: None, by, owner },
        };
        if let Some(hold) = state.hold.as_ref().filter(|hold| hold.is_endless()) {
            let hold = hold.view();
            return never(format!("{} ({})", hold.by, hold.reason), hold.owner.clone());
        }
        let scope = self.scope_of(index);
        let own = "its own size".to_owned();
        let owner = self.setup.change.fleet.app_name(index);
        let mut costs = Costs::default();
        let mut at_ms = self.now_ms;
        let open = (waiting > 0).then_some((None, waiting));
        for (slice, size) in open
            .into_iter()
            .chain(slices.iter().map(|slice| (Some(slice), slice.size())))
            .filter(|(_, size)| *size > 0)
        {
            if let Some((from_ms, class)) = slice.and_then(|slice| latest_gate(slice, ready))
                && from_ms > at_ms
            {
                let class = &self.tables.classes[class as usize].name;
                costs.add(format!("evidence of safety of class {class}"), "", from_ms - at_ms);
                at_ms = from_ms;
            }
            let need = self.need(index, size);
            match self.window(&scope, at_ms, need) {
                Ok((from_ms, by, owner)) => {
                    costs.add(by, &owner, from_ms - at_ms);
                    at_ms = from_ms;
                }
                Err((by, owner)) => return never(by, owner),
            }
            let work_ms = need.batch_ms + settings.warm_up_ms + settings.bake_ms;
            costs.add(own.clone(), owner, work_ms);
            at_ms += work_ms;
        }
        Way {
            ends_ms: Some(at_ms),
            left,
            most: costs.most(own, owner),
        }
    }

    /// When the rules next leave room from a moment on, and who is in the way until then; or who always is.
    fn window(&self, scope: &Scope, at_ms: u64, need: Need) -> Result<(u64, String, String), (String, String)> {
        let guard: &Guard = &self.setup.guard;
        if guard.is_empty() {
            return Ok((at_ms, String::new(), String::new()));
        }
        let unix_ms = self.unix_ms(at_ms);
        let named = |blockers: &[Blocker]| {
            let worst = blockers.iter().max_by_key(|blocker| blocker.until.unwrap_or(i64::MAX));
            worst.map_or_else(
                || ("windows that never leave room".to_owned(), String::new()),
                |worst| {
                    let by = format!("{}/{} ({})", worst.pack, worst.id, worst.reason);
                    (by, worst.owner.clone())
                },
            )
        };
        // A batch too long for every window goes in pieces that fit.
        let found = match guard.next_feasible(scope, unix_ms, need) {
            NextFeasible::NeverWithin(..) => guard.next_feasible(scope, unix_ms, self.wave()),
            found @ NextFeasible::At(_) => found,
        };
        match found {
            NextFeasible::At(from) if from <= unix_ms => Ok((at_ms, String::new(), String::new())),
            NextFeasible::At(from) => {
                let (by, owner) = named(&guard.why_not_now(scope, unix_ms));
                Ok((self.run_ms(from).max(at_ms), by, owner))
            }
            NextFeasible::NeverWithin(_, blockers) => Err(named(&blockers)),
        }
    }

    /// What the rest takes and costs, with so many planned steps taken as one.
    fn pace(&self, at_once: u16) -> Pace {
        let class = &self.tables.classes[0];
        let state = &self.classes[0];
        let begun = class.cumulative[usize::from(state.stage)];
        let mut sizes = Vec::new();
        let mut stage = state.stage;
        while let Some(next) = class.next_stage(stage) {
            sizes.push(class.cumulative[usize::from(next)].saturating_sub(begun));
            stage = next;
        }
        let last = sizes.len().saturating_sub(1);
        let taken: Vec<u32> = (1..=sizes.len())
            .filter(|step| step % usize::from(at_once) == 0 || *step == last + 1)
            .filter_map(|step| sizes.get(step - 1).copied())
            .collect();
        let steps = u32::try_from(taken.len()).unwrap_or(u32::MAX);
        let soak_ms = if state.soaked {
            0
        } else {
            self.setup.change.settings.soak_ms
        };
        #[expect(clippy::cast_precision_loss, reason = "a number of targets")]
        let there = self.exposed as f64;
        Pace {
            at_once: u32::from(at_once),
            steps,
            time_ms: taken.iter().map(|size| self.stage_ms(0, begun + size)).sum::<u64>() + soak_ms,
            exposed: there + expected_exposure(&taken, PREVALENCE),
        }
    }
}

fn late_by<'w>(late: impl Iterator<Item = &'w Way>) -> Vec<LateBy> {
    let mut by: BTreeMap<&str, LateBy> = BTreeMap::new();
    for Way { left, most, .. } in late {
        let entry = by.entry(&most.by).or_insert_with(|| LateBy {
            blocked_by: most.by.clone(),
            owner: most.owner.clone(),
            lanes: 0,
            targets: 0,
        });
        entry.lanes += 1;
        entry.targets += left;
        if entry.owner != most.owner {
            entry.owner.clear();
        }
    }
    let mut by: Vec<LateBy> = by.into_values().collect();
    by.sort_by_key(|entry| std::cmp::Reverse(entry.targets));
    by
}

/// The last of a slice's classes that may take it, and when.
fn latest_gate(slice: &Slice, ready: &[Vec<u64>]) -> Option<(u64, u32)> {
    let gates = slice.classes.iter().filter_map(|&(class, _)| {
        let at_ms = ready.get(class as usize)?.get(usize::from(slice.batch))?;
        Some((*at_ms, class))
    });
    gates.max()
}

#[derive(Default)]
struct Costs(Vec<Cost>);

impl Costs {
    fn add(&mut self, by: String, owner: &str, ms: u64) {
        if ms == 0 {
            return;
        }
        match self.0.iter_mut().find(|cost| cost.by == by) {
            Some(cost) => cost.ms = cost.ms.map(|before| before + ms),
            None => self.0.push(Cost {
                ms: Some(ms),
                by,
                owner: owner.to_owned(),
            }),
        }
    }

    /// The largest; of a lane that has nothing left to do, itself.
    fn most(self, own: String, owner: &str) -> Cost {
        let most = self.0.into_iter().max_by_key(|cost| cost.ms);
        most.unwrap_or_else(|| Cost {
            ms: Some(0),
            by: own,
            owner: owner.to_owned(),
        })
    }
}

fn app(lane: usize) -> AppIndex {
    AppIndex(u32::try_from(lane).unwrap_or(u32::MAX))
}
