//! Deeds in an order that nobody thought of: drawn from a seed, with what each must come to.
use std::collections::BTreeMap;

use super::draw::Draw;
use super::looks::runs;
use super::trial::{Ask, Trial};
use crate::conformance::Breach;
use crate::{EffectKey, Generation, Ingress, IngressOrder, Observation, TargetId, Version};

/// What a target must come to.
#[derive(Clone, Debug)]
struct Wanted {
    version: Version,
    ingress: Ingress,
    config: Option<Version>,
}

/// What was ordered of a target since it was last at rest, and what that must come to.
///
/// Where orders take time, what a look shows may be as it was before them, or half-way.
#[derive(Debug)]
struct Course {
    wanted: Wanted,
    /// The versions of replacements, in order: each makes another instance than the one at rest.
    replaced: Vec<Version>,
    switched: bool,
    pushed: bool,
    /// What it must come to may have been shown on the way there, so only what is shown from this time on counts.
    shown_by_ms: u64,
}

impl Course {
    const fn at_rest(wanted: Wanted) -> Self {
        Self {
            wanted,
            replaced: Vec::new(),
            switched: false,
            pushed: false,
            shown_by_ms: 0,
        }
    }

    /// One more order, which shows by this time at the latest.
    fn ordered(&mut self, ask: &Ask, wants: Wanted, shows_by_ms: u64) {
        let (switched, pushed) = (self.switched, self.pushed);
        let told_apart = match ask {
            Ask::Replace(version) | Ask::InPlace(version) => {
                let again = self.replaced.contains(version);
                self.replaced.push(version.clone());
                !again
            }
            Ask::Ingress(_) => {
                self.switched = true;
                !switched
            }
            _ => {
                self.pushed = true;
                !pushed
            }
        };
        if !told_apart {
            self.shown_by_ms = shows_by_ms;
        }
        self.wanted = wants;
    }
}

/// Orders of one generation: their ordinals are numbers below 256.
const MOST_GIVEN: usize = 150;

/// What was given to a target since its fence was last raised.
type Given = Vec<(Ask, EffectKey)>;

impl Trial<'_> {
    /// So many deeds as [`Subject::deeds`](super::Subject::deeds) says, then a long look at what has become of them.
    pub(super) async fn soak(&mut self) -> Result<(), Breach> {
        let mut draw = Draw::new(self.subject.seed);
        let mut courses: BTreeMap<TargetId, Course> = BTreeMap::new();
        let mut given: BTreeMap<TargetId, Given> = BTreeMap::new();
        let targets = self.living();
        for target in &targets {
            if self.able.fence {
                let next = Generation(self.generations[target].0 + 1);
                self.fence_at(target, next).await?;
            }
            let seen = &self.rest[target];
            let wants = Wanted {
                version: seen.version.clone().unwrap_or_else(|| self.subject.first.clone()),
                ingress: seen.ingress,
                config: acknowledged(seen).cloned(),
            };
            courses.insert(target.clone(), Course::at_rest(wants));
        }
        for _ in 0..self.subject.deeds {
            let target = &targets[draw.below(targets.len())];
            let before = given.entry(target.clone()).or_default();
            let Some(course) = courses.get_mut(target) else {
                continue;
            };
            let what = if before.len() < MOST_GIVEN { draw.below(8) } else { 2 };
            let old = (!before.is_empty()).then(|| before[draw.below(before.len())].clone());
            match (what, old) {
                // A message that was late, or came again.
                (0 | 1, Some((ask, key))) => {
                    let is_last = before.last().is_some_and(|(_, last)| *last == key);
                    if is_last {
                        self.again(target, &ask, &key).await?;
                    } else {
                        self.late(target, &ask, &key, true).await?;
                    }
                }
                (2, _) if self.able.fence && before.len() > 2 => {
                    let below = self.generations[target];
                    let next = Generation(below.0 + 1 + draw.below(3) as u64);
                    self.fence_at(target, next).await?;
                    given.remove(target);
                    self.all_stale(target, below, "fence.stale").await?;
                }
                (3, _) => self.arrive(target, course).await?,
                (4, _) => self.pass(draw.below(20) as u64 * self.subject.poll_ms).await,
                (what, _) => {
                    let (ask, wants) = self.any_order(&mut draw, &course.wanted);
                    let key = self.key(target, 1 + u8::try_from(draw.below(20)).unwrap_or(0));
                    if what == 5 {
                        self.lose(target, &ask, &key).await;
                    }
                    self.moving.insert(target.clone());
                    self.order(target, &ask, &key).await?;
                    course.ordered(&ask, wants, self.shows_by_ms());
                    before.push((ask, key));
                }
            }
        }
        for (target, course) in &mut courses {
            if self.able.ingress && course.wanted.ingress != Ingress::Open {
                self.moving.insert(target.clone());
                let (ask, key) = (Ask::Ingress(IngressOrder::Open), self.key(target, 6));
                self.order(target, &ask, &key).await?;
                let wants = Wanted {
                    ingress: Ingress::Open,
                    ..course.wanted.clone()
                };
                course.ordered(&ask, wants, self.shows_by_ms());
            }
        }
        for (target, course) in &mut courses {
            self.arrive(target, course).await?;
        }
        self.vigil().await
    }

    fn any_order(&self, draw: &mut Draw, now: &Wanted) -> (Ask, Wanted) {
        let closed = self.able.ingress && now.ingress != Ingress::Open;
        let version = if draw.below(2) == 0 {
            &self.subject.first
        } else {
            &self.subject.second
        };
        let mut wants = now.clone();
        let ask = match draw.below(5) {
            0 | 1 if self.able.ingress => {
                let reopen_by_ms = self
                    .clock
                    .now()
                    .saturating_add(self.subject.patience_ms.saturating_mul(1_000));
                if closed {
                    wants.ingress = Ingress::Open;
                    Ask::Ingress(IngressOrder::Open)
                } else {
                    wants.ingress = Ingress::Closed;
                    Ask::Ingress(IngressOrder::Close { reopen_by_ms })
                }
            }
            2 if self.able.config => {
                let config = self.subject.configs[draw.below(2)].clone();
                wants.config = Some(config.clone());
                Ask::Config(config)
            }
            3 if self.able.in_place => {
                wants.version = version.clone();
                Ask::InPlace(version.clone())
            }
            // What is made anew may come with a way that is open, or as it was: nothing says which.
            _ if closed => {
                wants.ingress = Ingress::Open;
                Ask::Ingress(IngressOrder::Open)
            }
            _ => {
                wants.version = version.clone();
                Ask::Replace(version.clone())
            }
        };
        (ask, wants)
    }

    /// When all that was ordered up to now shows.
    fn shows_by_ms(&self) -> u64 {
        self.clock.now().saturating_add(self.subject.patience_ms)
    }

    /// Looks on until all that was ordered shows.
    async fn arrive(&mut self, target: &TargetId, course: &mut Course) -> Result<(), Breach> {
        let left_ms = course.shown_by_ms.saturating_sub(self.clock.now());
        if left_ms > 0 {
            self.nothing_for(left_ms, "order.other", target).await?;
        }
        let wants = course.wanted.clone();
        let before = self.rest[target].instance.filter(|_| !course.replaced.is_empty());
        self.until("order.not-done", target, |seen| {
            let anew = before.is_none() || seen.instance != before;
            let open = seen.ingress == wants.ingress;
            let config = wants.config.is_none() || acknowledged(seen) == wants.config.as_ref();
            anew && runs(seen, &wants.version) && open && config
        })
        .await?;
        *course = Course::at_rest(wants);
        Ok(())
    }

    /// As long as anything ordered may take nothing happens any more; then everything still is known.
    pub(super) async fn vigil(&mut self) -> Result<(), Breach> {
        let first = self.alive();
        self.nothing_for(self.subject.patience_ms, "key.late", &first).await?;
        for target in self.living() {
            if let Some((ask, key)) = self.last.get(&target).cloned() {
                let outcome = self.answer(&target, &ask, &key).await?;
                let fenced = key.generation < self.generations[&target];
                let right = if fenced {
                    outcome == crate::EffectOutcome::Stale
                } else {
                    outcome == crate::EffectOutcome::AlreadyApplied
                };
                if !right {
                    let told = format!("{ask:?} of {target} by {key}, applied long ago, gave {outcome:?}");
                    return Err(Breach::new("key.forgotten", told));
                }
            }
            if self.able.fence {
                let below = Generation(self.generations[&target].0.saturating_sub(1));
                self.all_stale(&target, below, "fence.forgets").await?;
            }
        }
        self.word_is_known().await?;
        self.nothing_happens("key.forgotten", &first).await
    }
}

fn acknowledged(seen: &Observation) -> Option<&Version> {
    seen.config.as_ref()?.acknowledged.as_ref()
}
