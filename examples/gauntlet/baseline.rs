//! How the policies of others roll out: steps, a look a minute, a way back. docs/gauntlet.md says where each number is from.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use unattended::Ending;
use unattended::health::{Counts, Member, MetricSource, SourceError};
use unattended::upgrade::{AttemptId, Clock, EffectKey, FleetChange, Generation, Phase, Platform, TargetId, Version};
use unattended_examples_support::Failure;
use unattended_examples_support::peers::{Opinion, Pair, Share};
use unattended_simulated::Simulated;

use crate::course::{Course, METRICS};
use crate::fleet::{NEW, OLD};
use crate::ground::Ground;
use crate::lots::{Lots, hash};
use crate::options::Policy;
use crate::order::{Order, Stratum, Take};
use crate::ours::{ANSWER_MS, hours};
use crate::record::Recorder;
use crate::trial::{HORIZON_MS, LONGEST_MS, Trial};

const MINUTE_MS: u64 = 60_000;
/// An instance that does not get ready is started again after so long, as a start-up probe would.
const RESTART_MS: u64 = 5 * MINUTE_MS;
/// Where nobody of a step has become ready for so long and some are not, the step has failed: Kubernetes' default.
const PROGRESS_MS: u64 = 10 * MINUTE_MS;
/// Limits, as a multiple of the rate in the week before.
const MULTIPLE: f64 = 3.0;

/// One place of the fleet.
struct Pod {
    id: TargetId,
    stratum: u32,
    /// Where in the order its turn is.
    turn: u64,
    ordered: Option<Ordered>,
    /// It has been ordered to run the new version, whatever became of it; not so what is only compared with it.
    touched: bool,
    alive: bool,
}

/// An order to it, and what is known of it.
#[derive(Clone, Copy)]
struct Ordered {
    new: bool,
    generation: u64,
    at_ms: u64,
    ready: bool,
}

struct Rollout<'g> {
    ground: &'g Ground,
    simulated: Arc<Recorder>,
    pods: Vec<Pod>,
    by_name: HashMap<Arc<str>, usize>,
    strata: HashMap<(Arc<str>, Arc<str>), u32>,
    order: Order,
    /// Those of the old version are what the new one is compared with.
    control: bool,
    cursor: u64,
    living: u64,
    /// Those of them that the release has reached.
    touched: u64,
    /// Those with an order that is not fulfilled.
    open: Vec<usize>,
    /// When one became ready last.
    progress_ms: u64,
}

/// What a policy came to.
enum End {
    Done,
    Stopped {
        at_ms: u64,
        exposed: u64,
        by_person: bool,
        why: String,
    },
}

/// Those with an order that is not fulfilled.
#[derive(Clone, Copy, Debug, Default)]
struct Unready {
    /// On their way to the new version or back.
    touched: u64,
    /// All of them.
    all: u64,
}

/// Rolls it out.
pub(crate) fn run(policy: Policy, ground: &Ground, first_step: f64, record: Option<&Path>) -> Result<Trial, Failure> {
    let simulated = ground.simulated(MINUTE_MS, 3 * MINUTE_MS, false)?;
    let clock = simulated.clock();
    let course = Course::of(policy, first_step);
    let first = course.steps.first().copied().unwrap_or(1.0);
    let mut human_actions = 0;
    let recorder = ground.recorded(&simulated, policy.name(), record)?;
    let mut rollout = Rollout::new(ground, &course, Arc::clone(&recorder));
    let end = simulated
        .executor()
        .run(rollout.drive(course, policy, &mut human_actions))
        .map_err(Failure::internal)?
        .map_err(Failure::internal)?;
    recorder.ended(match &end {
        End::Done => Ending::Completed,
        End::Stopped { .. } => Ending::RolledBack,
    })?;
    let trial = match end {
        End::Done => Trial {
            why: "completed".to_owned(),
            ..Trial::default()
        },
        End::Stopped {
            at_ms,
            exposed,
            by_person,
            why,
        } => Trial {
            stopped: true,
            before_onset: simulated.first_harm_ms().is_none_or(|first| first > at_ms),
            exposed,
            by_person,
            why,
            ..Trial::default()
        },
    };
    Ok(Trial {
        family: ground.lot.family,
        release: ground.lot.release.to_string(),
        bad: ground.bad,
        detectable: ground.detectable,
        targets: ground.targets.len() as u64,
        first_step: targets_of(first, ground.targets.len() as u64),
        harm: simulated.harm_by(HORIZON_MS),
        hours: hours(clock.now()),
        human_actions,
        ..trial
    })
}

fn targets_of(share: f64, of: u64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a share of a number of targets"
    )]
    let count = (share * of as f64).ceil() as u64;
    count.min(of)
}

impl Unready {
    fn count(&mut self, touched: bool) {
        self.touched += u64::from(touched);
        self.all += 1;
    }
}

impl<'g> Rollout<'g> {
    fn new(ground: &'g Ground, course: &Course, simulated: Arc<Recorder>) -> Self {
        let mut rollout = Self {
            ground,
            simulated,
            pods: Vec::with_capacity(ground.targets.len()),
            by_name: HashMap::new(),
            strata: HashMap::new(),
            order: Order::default(),
            control: true,
            cursor: 0,
            living: 0,
            touched: 0,
            open: Vec::new(),
            progress_ms: 0,
        };
        for target in &ground.targets {
            let zone = target
                .labels
                .iter()
                .find(|(key, _)| key == "zone")
                .map_or("", |(_, value)| value);
            rollout.add(&target.id, &target.app, zone);
        }
        let mut turns: Vec<usize> = (0..rollout.pods.len()).collect();
        turns.sort_unstable_by_key(|at| rollout.pods[*at].turn);
        let turns = turns.into_iter().map(|at| (rollout.pods[at].stratum, at));
        rollout.order = Order::new(course.stratified, turns);
        rollout
    }

    fn add(&mut self, id: &str, app: &str, zone: &str) -> Member {
        let next = u32::try_from(self.strata.len()).unwrap_or(u32::MAX);
        let stratum = *self.strata.entry((app.into(), zone.into())).or_insert(next);
        self.by_name.insert(id.into(), self.pods.len());
        self.pods.push(Pod {
            id: id.into(),
            stratum,
            // Kubernetes and its like take any: an order that has to do with nothing.
            turn: Lots::of(&[self.ground.seed, hash(id)]).bits(),
            ordered: None,
            touched: false,
            alive: true,
        });
        self.living += 1;
        Member {
            target: id.to_owned(),
            stratum,
            control: self.control,
        }
    }

    /// All of them, and who is compared with the new version.
    async fn follow(&self, control: impl Fn(usize) -> bool) -> Result<(), SourceError> {
        let living = self.pods.iter().enumerate().filter(|(_, pod)| pod.alive);
        let members = living.map(|(at, pod)| Member {
            target: pod.id.to_string(),
            stratum: pod.stratum,
            control: control(at),
        });
        self.simulated.follow(&members.collect::<Vec<Member>>()).await
    }

    /// A step begins: so much of what lives runs the new version then.
    async fn step(&mut self, share: f64, cohort: bool) -> Result<(), SourceError> {
        let now_ms = self.simulated.clock().now();
        let mut strata: BTreeMap<u32, Stratum> = BTreeMap::new();
        for pod in self.pods.iter().filter(|pod| pod.alive) {
            let stratum = strata.entry(pod.stratum).or_default();
            stratum.living += 1;
            stratum.touched += u64::from(pod.touched);
            stratum.luck = Lots::of(&[self.ground.seed, u64::from(pod.stratum)]).bits();
        }
        let upto = targets_of(share, self.living);
        let pods = &self.pods;
        let Take { canary, baseline } = self.order.take(upto, &strata, cohort, |at| pods[at].alive);
        for at in canary {
            self.send(at, true, now_ms).await;
        }
        for at in &baseline {
            self.send(*at, false, now_ms).await;
        }
        if cohort {
            self.control = false;
            self.follow(|at| baseline.contains(&at)).await?;
        }
        self.progress_ms = now_ms;
        Ok(())
    }

    async fn drive(&mut self, mut course: Course, policy: Policy, human_actions: &mut u64) -> Result<End, SourceError> {
        let clock = self.simulated.clock();
        self.follow(|_| true).await?;
        let limits = self.limits().await?;
        let mut steps = course.steps.clone().into_iter().enumerate();
        let (mut step, mut window) = (0, vec![Pair::default(); METRICS]);
        let (mut ready_since, mut first_ready) = (None::<u64>, None::<u64>);
        let (mut minute, mut looks, mut may_step) = (0_u64, 0_u64, true);
        let mut more = true;
        loop {
            if more {
                let Some((number, share)) = steps.next() else { break };
                (step, more) = (number, false);
                self.step(share, course.cohort && number < course.judged_steps).await?;
                (ready_since, may_step) = (None, true);
                if !course.background {
                    looks = 0;
                    window.fill(Pair::default());
                }
                course.judge.step();
            }
            minute += 1;
            clock.sleep_until(minute * MINUTE_MS).await;
            self.news().await?;
            let seen = self.read(minute).await?;
            let unready = self.look_after(clock.now()).await;
            if unready.all == 0 {
                ready_since.get_or_insert_with(|| clock.now());
                first_ready.get_or_insert_with(|| clock.now());
            }
            // Why it stops, and whether that is for somebody else to decide.
            let mut decided: Option<(String, bool)> = None;
            if unready.touched > 0 && clock.now() >= self.progress_ms + PROGRESS_MS {
                let why = format!("{} targets do not get ready", unready.touched);
                decided = Some((why, course.unready_asks));
            }
            let minutes_since = |since: u64| (clock.now() - since) / MINUTE_MS;
            let in_step = ready_since.map(minutes_since);
            let judged = if course.background {
                first_ready.map(minutes_since)
            } else {
                in_step
            };
            if step < course.judged_steps && judged.is_some_and(|minutes| minutes > course.delay_min) {
                for (sum, pair) in window.iter_mut().zip(&seen) {
                    add(sum, *pair);
                }
                looks += 1;
                if looks.is_multiple_of(course.look_min) {
                    let (opinion, passed) = course.judge.look(&window[..course.metrics], &limits);
                    window.fill(Pair::default());
                    may_step = passed;
                    if opinion == Opinion::Rollback {
                        decided = Some(("its judge says so".to_owned(), false));
                    }
                }
            }
            let watch = if step < course.judged_steps {
                course.watch_min
            } else {
                0
            };
            if decided.is_none() && in_step.is_some_and(|minutes| minutes >= watch) && may_step {
                more = true;
                if step < course.judged_steps {
                    match course.judge.finish() {
                        Opinion::Hold => decided = Some(("its judge is undecided".to_owned(), true)),
                        Opinion::Rollback => decided = Some(("its judge says so".to_owned(), false)),
                        Opinion::Promote | Opinion::Continue => {}
                    }
                }
            }
            if let Some((why, asks)) = decided {
                let (at_ms, exposed) = (clock.now(), self.touched);
                if asks {
                    *human_actions += 1;
                    let until = clock.now() + ANSWER_MS;
                    while clock.now() < until {
                        minute += 1;
                        clock.sleep_until(minute * MINUTE_MS).await;
                        self.news().await?;
                        self.read(minute).await?;
                    }
                    if !self.ground.bad {
                        // It is let go on.
                        self.progress_ms = clock.now();
                        continue;
                    }
                }
                self.back(&mut minute).await?;
                return Ok(End::Stopped {
                    at_ms,
                    exposed,
                    by_person: asks,
                    why,
                });
            }
            if clock.now() > LONGEST_MS {
                let why = format!("{} has not ended in sixty days", policy.name());
                return Ok(End::Stopped {
                    at_ms: clock.now(),
                    exposed: self.touched,
                    by_person: true,
                    why,
                });
            }
        }
        Ok(End::Done)
    }

    /// The limits of each metric, from the week before.
    async fn limits(&self) -> Result<Vec<f64>, SourceError> {
        let mut sums = [Share::default(); METRICS];
        for row in self.simulated.history().await? {
            if let Some(sum) = sums.get_mut(usize::from(row.metric)) {
                sum.bad += row.counts.bad;
                sum.total += row.counts.total;
            }
        }
        Ok(sums
            .iter()
            .map(|sum| sum.rate().unwrap_or(0.0).max(1e-9) * MULTIPLE)
            .collect())
    }

    async fn send(&mut self, at: usize, new: bool, now_ms: u64) {
        let pod = &mut self.pods[at];
        if !pod.alive {
            return;
        }
        let generation = pod.ordered.map_or(1, |ordered| ordered.generation + 1);
        if new && !pod.touched {
            pod.touched = true;
            self.touched += 1;
        }
        if pod.ordered.is_none_or(|ordered| ordered.ready) {
            self.open.push(at);
        }
        pod.ordered = Some(Ordered {
            new,
            generation,
            at_ms: now_ms,
            ready: false,
        });
        let key = EffectKey {
            attempt: AttemptId(at as u64 + 1),
            generation: Generation(generation),
            step: 2,
            ordinal: 0,
        };
        let version = Version::from(if new { NEW } else { OLD });
        let (id, touched) = (pod.id.clone(), pod.touched);
        // What became of it is seen.
        let _ = if touched {
            self.simulated.replace_in_place(&id, &version, &key).await
        } else {
            // A start of the old version is no order of the release, and is not recorded as one.
            let world: &Simulated = &self.simulated;
            world.replace_in_place(&id, &version, &key).await
        };
    }

    /// Looks at those that are not ready yet, and orders anew what does not get ready. Answers how many are not.
    async fn look_after(&mut self, now_ms: u64) -> Unready {
        let waiting = |pod: &Pod| pod.alive && pod.ordered.is_some_and(|ordered| !ordered.ready);
        let pods = &self.pods;
        self.open.retain(|at| waiting(&pods[*at]));
        let mut unready = Unready::default();
        for at in self.open.clone() {
            let Some(ordered) = self.pods[at].ordered else { continue };
            let (id, touched) = (self.pods[at].id.clone(), self.pods[at].touched);
            let wanted = if ordered.new { NEW } else { OLD };
            let seen = self.simulated.observe(std::slice::from_ref(&id)).await;
            let Some(seen) = seen.ok().and_then(|mut seen| seen.pop()) else {
                unready.count(touched);
                // Who sees nothing does not count the time.
                self.progress_ms = now_ms;
                continue;
            };
            let runs = seen.version.as_ref().is_some_and(|version| version.as_str() == wanted);
            if runs && seen.ready && seen.phase == Phase::Running {
                if touched {
                    self.progress_ms = now_ms;
                }
                if let Some(ordered) = &mut self.pods[at].ordered {
                    ordered.ready = true;
                }
                continue;
            }
            unready.count(touched);
            if !runs || now_ms >= ordered.at_ms + RESTART_MS {
                self.send(at, ordered.new, now_ms).await;
            }
        }
        unready
    }

    /// Births and deaths. Whoever is born has its turn after all others.
    async fn news(&mut self) -> Result<(), SourceError> {
        let Ok(news) = self.simulated.watch(self.cursor).await else {
            return Ok(());
        };
        self.cursor = news.cursor;
        let mut members = Vec::new();
        for change in news.changes {
            match change {
                FleetChange::Joined {
                    target, app, labels, ..
                } => {
                    let zone = labels
                        .iter()
                        .find(|(key, _)| &**key == "zone")
                        .map_or("", |(_, value)| value);
                    let at = self.pods.len();
                    let member = self.add(target.as_str(), &app, zone);
                    self.order.push(member.stratum, at);
                    members.push(member);
                }
                FleetChange::Left { target } => {
                    if let Some(at) = self.by_name.remove(target.as_str()) {
                        self.pods[at].alive = false;
                        // Its place is taken by one on the old version, which has its own turn.
                        self.living -= 1;
                        self.touched -= u64::from(self.pods[at].touched);
                    }
                }
                _ => {}
            }
        }
        if !members.is_empty() {
            self.simulated.follow(&members).await?;
        }
        Ok(())
    }

    /// Sums over the fleet of the minute that has just ended.
    async fn read(&self, minute: u64) -> Result<Vec<Pair>, SourceError> {
        let interval = self.simulated.read(minute - 1, minute * MINUTE_MS).await?;
        let mut seen = vec![Pair::default(); METRICS];
        let cohort = if self.control { 0 } else { self.strata.len() };
        let mut parts = vec![Pair::default(); cohort * METRICS];
        let mut counted = [None; METRICS];
        for row in &interval.rows {
            let metric = usize::from(row.metric);
            let Some(sum) = seen.get_mut(metric) else { continue };
            let share = |counts: Counts| Share {
                bad: counts.bad,
                total: counts.total,
            };
            // Where a stratum has fresh instances and others, its rows show the control twice: the others come first.
            let first = counted[metric]
                .filter(|(stratum, _)| *stratum == row.stratum)
                .unwrap_or((row.stratum, row.fresh));
            counted[metric] = Some(first);
            let twice = first.1 != row.fresh;
            let control = if twice { Share::default() } else { share(row.control) };
            let canary = share(row.canary);
            let part = parts.get_mut(row.stratum as usize * METRICS + metric);
            add(part.unwrap_or(sum), Pair { canary, control });
        }
        if cohort > 0 {
            seen = with_equal_traffic(&parts);
        }
        Ok(seen)
    }

    /// Everything back to the old version.
    async fn back(&mut self, minute: &mut u64) -> Result<(), SourceError> {
        let clock = self.simulated.clock();
        let touched = |pod: &Pod| pod.alive && pod.touched;
        let all: Vec<usize> = (0..self.pods.len()).filter(|at| touched(&self.pods[*at])).collect();
        for at in all {
            self.send(at, false, clock.now()).await;
        }
        // Whoever cannot be brought back in an hour is left to people.
        for _ in 0..60 {
            *minute += 1;
            clock.sleep_until(*minute * MINUTE_MS).await;
            self.news().await?;
            self.read(*minute).await?;
            if self.look_after(clock.now()).await.touched == 0 {
                break;
            }
        }
        Ok(())
    }
}

/// Sums over strata, one metric beside the other, with as much traffic of each on both sides, as a balancer would give a canary and its
/// baseline: here each target has its own, and the two sides would weigh applications differently for as long as they last.
fn with_equal_traffic(parts: &[Pair]) -> Vec<Pair> {
    let of = |metric: usize| {
        let mut sum = Pair::default();
        let mut bad = 0.0;
        let both = |pair: &&Pair| pair.control.total > 0;
        for Pair { canary, control } in parts.iter().skip(metric).step_by(METRICS).filter(both) {
            sum.canary.bad += canary.bad;
            sum.canary.total += canary.total;
            #[expect(clippy::cast_precision_loss, reason = "counts of a minute")]
            let times = canary.total as f64 / control.total as f64;
            #[expect(clippy::cast_precision_loss, reason = "counts of a minute")]
            let weighed = control.bad as f64 * times;
            bad += weighed;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a sum of counts, rounded"
        )]
        let bad = (bad + 0.5) as u64;
        let total = sum.canary.total;
        sum.control = Share { bad, total };
        sum
    };
    (0..METRICS).map(of).collect()
}

fn add(sum: &mut Pair, more: Pair) {
    for (sum, more) in [(&mut sum.canary, more.canary), (&mut sum.control, more.control)] {
        sum.bad += more.bad;
        sum.total += more.total;
    }
}

#[cfg(test)]
#[path = "baseline_tests.rs"]
mod tests;
