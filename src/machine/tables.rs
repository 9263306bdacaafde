use std::collections::{BTreeMap, BTreeSet};

use unattended_batching::{AppIndex, Fleet, KeyIndex, Plan, StratumIndex, TargetIndex, ValueIndex};

use super::class_sets::ClassSets;

/// One lane's part of one batch; empty where all of it was left out.
#[derive(Clone, Debug)]
pub(crate) struct Slice {
    /// The batch.
    pub(crate) batch: u16,
    /// Targets of this lane in it.
    pub(crate) targets: Vec<TargetIndex>,
    /// The classes it enlarges, each with how many targets, ascending.
    pub(crate) classes: Vec<(u32, u32)>,
}

impl Slice {
    /// How many targets there are.
    pub(crate) fn size(&self) -> u32 {
        u32::try_from(self.targets.len()).unwrap_or(u32::MAX)
    }
}

/// One class: all targets with one value of a label. Class 0 is the whole fleet, so that there always is one.
#[derive(Clone, Debug)]
pub(crate) struct Class {
    /// `zone=zone-1`, or `fleet` for class 0.
    pub(crate) name: String,
    /// Targets in it by the plan.
    pub(crate) planned: u32,
    /// Targets in it by what is left of the plan.
    pub(crate) size: u32,
    /// Those of them up to and with each batch.
    pub(crate) cumulative: Vec<u32>,
}

impl Class {
    /// The first batch after `stage` that enlarges the class.
    pub(crate) fn next_stage(&self, stage: u16) -> Option<u16> {
        let now = self.cumulative[usize::from(stage)];
        let later = self
            .cumulative
            .iter()
            .skip(usize::from(stage) + 1)
            .position(|&planned| planned > now)?;
        u16::try_from(later).ok().map(|later| stage + 1 + later)
    }

    /// The first batch that has any of the class.
    pub(crate) fn first_stage(&self) -> u16 {
        let first = self.cumulative.iter().position(|&planned| planned > 0).unwrap_or(0);
        u16::try_from(first).unwrap_or(u16::MAX)
    }
}

/// What follows from the plan, and changes only where a part of the fleet is left out of it.
#[derive(Clone, Debug)]
pub(crate) struct Tables {
    /// By lane, its slices in order.
    pub(crate) slices: Vec<Vec<Slice>>,
    /// The classes.
    pub(crate) classes: Vec<Class>,
    /// By stratum, the classes it belongs to, ascending; always begins with 0.
    pub(crate) strata_classes: ClassSets,
    /// By stratum, its lane.
    pub(crate) strata_apps: Vec<u32>,
    /// The stratum of (lane, values of the spread keys), for those born later.
    strata_by_labels: BTreeMap<(u32, Vec<String>), u32>,
    /// By lane, every label that any of its targets has, ascending: what the guard is asked about.
    pub(crate) app_labels: Vec<Vec<(String, String)>>,
    /// By lane, the labels that some of its targets have together.
    pub(crate) app_parts: Vec<Vec<Part>>,
    /// The spread keys.
    spread: Vec<String>,
    /// Changes with the slices.
    pub(crate) revision: u32,
}

/// Labels of one target, by key.
type Part = Vec<(KeyIndex, ValueIndex)>;

/// A fleet of singletons begins with one of so many.
const FIRST_SHARE: usize = 1_000;

/// The name of the class that holds everybody.
const FLEET: &str = "fleet";

impl Tables {
    pub(crate) fn new(fleet: &Fleet, plan: &Plan) -> Self {
        let spread: Vec<String> = plan.spread_keys().map(ToOwned::to_owned).collect();
        let spread_keys: Vec<Option<KeyIndex>> = spread.iter().map(|key| fleet.key_index(key)).collect();
        let mut classes = vec![Class {
            name: FLEET.to_owned(),
            planned: 0,
            size: 0,
            cumulative: Vec::new(),
        }];
        let mut class_ids: BTreeMap<String, u32> = BTreeMap::new();
        let mut strata_classes = ClassSets::with_capacity(plan.strata().len());
        let mut strata_apps = Vec::with_capacity(plan.strata().len());
        let mut strata_by_labels = BTreeMap::new();
        for (at, stratum) in (0u32..).zip(plan.strata()) {
            let labels = plan.labels_of(StratumIndex(at));
            let mut members = vec![0u32];
            let mut values = Vec::with_capacity(spread.len());
            for ((key, index), value) in spread.iter().zip(&spread_keys).zip(labels) {
                let (Some(index), Some(value)) = (index, value) else {
                    values.push(String::new());
                    continue;
                };
                let text = fleet.value_name(*index, value);
                values.push(text.to_owned());
                let name = format!("{key}={text}");
                let next = u32::try_from(classes.len()).unwrap_or(u32::MAX);
                let id = *class_ids.entry(name.clone()).or_insert(next);
                if id == next {
                    classes.push(Class {
                        name,
                        planned: 0,
                        size: 0,
                        cumulative: Vec::new(),
                    });
                }
                members.push(id);
            }
            members.sort_unstable();
            strata_classes.push(members);
            strata_apps.push(stratum.app.0);
            strata_by_labels.insert((stratum.app.0, values), at);
        }

        let turns = singleton_turns(fleet, plan);
        let last = turns
            .values()
            .copied()
            .max()
            .unwrap_or(0)
            .max(plan.batch_count().saturating_sub(1));
        for class in &mut classes {
            class.cumulative = vec![0; usize::from(last) + 1];
        }
        let mut parts: Vec<BTreeMap<u16, Vec<TargetIndex>>> = vec![BTreeMap::new(); fleet.app_count() as usize];
        for planned in 0..plan.batch_count() {
            for &target in plan.targets(planned) {
                let app = fleet.app_of(target);
                let batch = turns.get(&app).copied().unwrap_or(planned);
                parts[app.0 as usize].entry(batch).or_default().push(target);
            }
        }
        let mut combined: Vec<BTreeSet<Part>> = vec![BTreeSet::new(); fleet.app_count() as usize];
        let keys: Vec<KeyIndex> = fleet.keys().iter().filter_map(|key| fleet.key_index(key)).collect();
        for target in fleet.targets() {
            let labels = keys.iter().filter_map(|&key| Some((key, fleet.label(target, key)?)));
            combined[fleet.app_of(target).0 as usize].insert(labels.collect());
        }
        let app_labels = combined
            .iter()
            .map(|parts| {
                let seen: BTreeSet<(KeyIndex, ValueIndex)> = parts.iter().flatten().copied().collect();
                let names = seen.into_iter().map(|(key, value)| {
                    (
                        fleet.keys()[key.0 as usize].clone(),
                        fleet.value_name(key, value).to_owned(),
                    )
                });
                names.collect()
            })
            .collect();
        let app_parts = combined.into_iter().map(|parts| parts.into_iter().collect()).collect();
        let slices = parts
            .into_iter()
            .map(|lane| {
                lane.into_iter()
                    .map(|(batch, targets)| Slice {
                        batch,
                        targets,
                        classes: Vec::new(),
                    })
                    .collect()
            })
            .collect();
        let mut tables = Self {
            slices,
            classes,
            strata_classes,
            strata_apps,
            strata_by_labels,
            app_labels,
            app_parts,
            spread,
            revision: 0,
        };
        tables.count(|target| plan.stratum_of(target).0);
        for class in &mut tables.classes {
            class.planned = class.size;
        }
        tables
    }

    /// Leaves strata out of what is still to be done: no slice has targets of them any more, and no class counts them.
    pub(crate) fn leave_out(&mut self, is_out: impl Fn(u32) -> bool, stratum_of: impl Fn(TargetIndex) -> u32) {
        for slice in self.slices.iter_mut().flatten() {
            slice.targets.retain(|&target| !is_out(stratum_of(target)));
        }
        self.revision += 1;
        self.count(stratum_of);
    }

    /// Counts the targets of the slices into their classes.
    fn count(&mut self, stratum_of: impl Fn(TargetIndex) -> u32) {
        for class in &mut self.classes {
            class.size = 0;
            class.cumulative.fill(0);
        }
        for slice in self.slices.iter_mut().flatten() {
            let mut of_slice: BTreeMap<u32, u32> = BTreeMap::new();
            for &target in &slice.targets {
                for &class in &self.strata_classes[stratum_of(target) as usize] {
                    *of_slice.entry(class).or_default() += 1;
                }
            }
            for (&class, &count) in &of_slice {
                let class = &mut self.classes[class as usize];
                class.size += count;
                class.cumulative[usize::from(slice.batch)] += count;
            }
            slice.classes = of_slice.into_iter().collect();
        }
        for class in &mut self.classes {
            let mut sum = 0;
            for planned in &mut class.cumulative {
                sum += *planned;
                *planned = sum;
            }
        }
    }

    /// The class of this name, if a spread key makes one.
    pub(crate) fn class_named(&self, name: &str) -> Option<u32> {
        let at = self.classes.iter().skip(1).position(|class| class.name == name)?;
        u32::try_from(at + 1).ok()
    }

    /// The stratum of a newborn, if its like was in the plan.
    pub(crate) fn stratum_of(&self, app: AppIndex, label: impl Fn(&str) -> Option<String>) -> Option<u32> {
        let values = self.spread.iter().map(|key| label(key).unwrap_or_default()).collect();
        self.strata_by_labels.get(&(app.0, values)).copied()
    }
}

/// When each application of one target has its turn. The plan puts them all into its last batch, which alone may empty
/// an application; where they are many they would make that one batch a leap, so here they follow one another in turns
/// that at most double what was there before.
fn singleton_turns(fleet: &Fleet, plan: &Plan) -> BTreeMap<AppIndex, u16> {
    let last = plan.batch_count().saturating_sub(1);
    let singletons: Vec<AppIndex> = plan
        .targets(last)
        .iter()
        .map(|&target| fleet.app_of(target))
        .filter(|&app| fleet.app_size(app) == 1)
        .collect();
    let others = fleet.len() - singletons.len();
    let mut turn = last;
    let mut room = others.max(fleet.len().div_ceil(FIRST_SHARE));
    let mut turns = BTreeMap::new();
    for (reached, app) in (others..).zip(singletons) {
        if room == 0 {
            turn = turn.saturating_add(1);
            room = reached.max(1);
        }
        turns.insert(app, turn);
        room -= 1;
    }
    turns
}
