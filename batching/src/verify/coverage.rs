//! Whether the first batch shows what it should.

use std::collections::BTreeMap;

use super::Check;
use super::cells::Cells;
use crate::cover::UncoveredReason;
use crate::index::{AppIndex, KeyIndex, ValueIndex, narrow};
use crate::proof::Violation;

/// Targets of a class that the first batch lacks.
#[derive(Clone, Copy, Default)]
struct Lacking {
    having: u32,
    of_several: u32,
    ready: u32,
    available: u32,
}

impl Check<'_> {
    /// Every class of the cover keys is in the first batch, or cannot be, and the plan says why. Returns the number of classes that are.
    pub(super) fn coverage(&mut self, cells: &Cells<'_>, covers: &[KeyIndex]) -> u32 {
        let mut reported: BTreeMap<(String, String), UncoveredReason> = BTreeMap::new();
        for gap in self.plan.uncovered() {
            reported.insert((gap.key.clone(), gap.value.clone()), gap.why);
        }
        let mut covered = 0;
        let mut app_first = vec![0_u32; self.fleet.app_count() as usize];
        for &target in self.plan.targets(0) {
            app_first[self.fleet.app_of(target).at()] += 1;
        }
        for &key in covers {
            let mut seen = vec![false; self.fleet.value_count(key) as usize];
            let ready = self.plan.targets(0).iter().filter(|&&target| self.fleet.ready(target));
            for value in ready.filter_map(|&target| self.fleet.label(target, key)) {
                seen[value.at()] = true;
            }
            let shown = narrow(seen.iter().filter(|&&seen| seen).count());
            covered += shown;
            self.proof.classes_covered += shown;
            if !seen.contains(&false) {
                continue;
            }
            let lacking = self.lacking(cells, key, &seen, &app_first);
            for (value, lacking) in (0..).map(ValueIndex).zip(lacking) {
                if seen[value.at()] {
                    continue;
                }
                self.judge(key, value, lacking, &mut reported);
            }
        }
        for (key, value) in reported.into_keys() {
            self.found.push(Violation::CoverageReport { key, value });
        }
        covered
    }

    fn judge(
        &mut self,
        key: KeyIndex,
        value: ValueIndex,
        lacking: Lacking,
        reported: &mut BTreeMap<(String, String), UncoveredReason>,
    ) {
        let class = (
            self.fleet.keys()[key.at()].clone(),
            self.fleet.value_name(key, value).to_owned(),
        );
        let report = reported.remove(&class);
        if lacking.having == 0 && report.is_none() {
            return;
        }
        let truth = if lacking.of_several == 0 {
            UncoveredReason::OnlySingletons
        } else if lacking.ready == 0 {
            UncoveredReason::NoneReady
        } else {
            UncoveredReason::NoRoom
        };
        let (key, value) = class;
        if lacking.available > 0 {
            let available = lacking.available;
            self.found.push(Violation::Coverage { key, value, available });
        } else if report == Some(truth) {
            self.proof.classes_excused += 1;
        } else {
            self.found.push(Violation::CoverageReport { key, value });
        }
    }

    fn lacking(&self, cells: &Cells<'_>, key: KeyIndex, seen: &[bool], app_first: &[u32]) -> Vec<Lacking> {
        let mut lacking = vec![Lacking::default(); seen.len()];
        for target in self.fleet.targets() {
            let Some(value) = self.fleet.label(target, key).filter(|value| !seen[value.at()]) else {
                continue;
            };
            let app: AppIndex = self.fleet.app_of(target);
            let size = self.fleet.app_size(app);
            let several = size > 1;
            let ready = several && self.fleet.ready(target);
            let cell = &cells.cells[cells.of[target.at()] as usize];
            let room = app_first[app.at()] < size.div_ceil(2) && cell.first < cell.size - self.holdback(cell.size);
            let closed = self.new_class_of(target).is_some();
            let entry = &mut lacking[value.at()];
            entry.having += 1;
            entry.of_several += u32::from(several);
            entry.ready += u32::from(ready);
            entry.available += u32::from(ready && room && !closed);
        }
        lacking
    }
}
