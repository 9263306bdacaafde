//! One interval into the judge.

use std::borrow::Cow;

use crate::evidence::{compares, row_evidence, settled_evidence};
use crate::judge::{Judge, index};
use crate::sums::{Key, Place};
use crate::{Arm, Interval, Look, Row, RowError, validate};

impl Judge {
    /// Learns from one interval.
    ///
    /// # Errors
    ///
    /// [`RowError`] when the interval was seen before, is late, or contains anything impossible; the judge is as it was.
    pub fn observe(&mut self, interval: &Interval) -> Result<Look, RowError> {
        let sorted = validate::interval(
            interval,
            self.last,
            self.topology.strata.len(),
            self.config.metrics.len(),
        )?;
        let mut rows = Cow::Borrowed(interval.rows.as_slice());
        if !sorted {
            rows.to_mut().sort_unstable_by_key(validate::key);
            validate::no_duplicates(&rows)?;
        }

        if self.steps.0 == 0 && rows.iter().any(|row| self.begins(row)) {
            self.step_traffic();
        }
        self.learn(&rows);
        let mut dirty = core::mem::take(&mut self.dirty);
        self.sum_up_nodes(|node| dirty[node]);
        dirty.fill(false);
        self.dirty = dirty;
        for scope in &mut self.scopes {
            scope.look(&self.config, self.rules.ln_safe);
        }
        self.ln_e = self.stop_statistic(&self.nodes);

        // What this interval says about dispersion tempers the next one: the factor of a row is fixed before the row.
        for sample in interval.samples.iter().filter(|sample| sample.arm == Arm::Control) {
            self.dispersions[usize::from(sample.metric)].learn(sample);
        }
        for total in &interval.totals {
            let position = self
                .totals
                .iter()
                .position(|known| known.class >= total.class)
                .unwrap_or(self.totals.len());
            match self.totals.get_mut(position) {
                Some(known) if known.class == total.class => {
                    known.canary.add(total.canary);
                    known.control.add(total.control);
                }
                _ => self.totals.insert(position, *total),
            }
        }
        self.coverage = Some((interval.canary_hosts, interval.control_hosts));
        self.last = Some(interval.index);

        let crossed_now = self.stop.is_none() && self.ln_e >= self.rules.ln_needed;
        if crossed_now {
            self.stop = Some(self.stop_evidence());
        }
        Ok(Look {
            index: interval.index,
            ln_e: self.ln_e,
            ln_needed: self.rules.ln_needed,
            stopped: self.stop.is_some(),
            crossed_now,
        })
    }

    /// Whether a row starts the first restart when nobody called `step_traffic`: canary traffic does. A row that a
    /// source may leave out does not, or leaving it out would change something.
    fn begins(&self, row: &Row) -> bool {
        let may_be_missing = !self.config.metrics[usize::from(row.metric)].required && !has_events(row);
        row.canary.total > 0 && !may_be_missing
    }

    /// Applies valid rows in the order of [`validate::key`].
    fn learn(&mut self, rows: &[Row]) {
        let metrics = self.config.metrics.len();
        // Dividing once per metric and interval, in place of once per row.
        let tempers: Vec<f64> = (0..metrics).map(|metric| 1.0 / self.dispersion_of(metric)).collect();
        for row in rows {
            let Place { app, set } = self.sets.places[index(row.stratum)];
            let (set, metric) = (index(set), usize::from(row.metric));
            let key = Key {
                set,
                metric,
                fresh: row.fresh,
            };
            let (slot, sum) = self.sums.at(key);
            sum.canary.add(row.canary);
            if !row.fresh {
                sum.control.add(row.control);
                sum.absolute += self.limits[index(app) * metrics + metric].evidence(row.canary);
            }
            if compares(row.canary, row.control) {
                self.compare(row, key, slot, index(app), tempers[metric]);
            }
        }
        self.distribute(&tempers);
    }

    /// Evidence of a row with events in it and exposure in both arms.
    fn compare(&mut self, row: &Row, key: Key, slot: usize, app: usize, temper: f64) {
        let (mut evidence, relative) = if row.fresh {
            (
                row_evidence(row.canary, row.control, self.config.fresh_ratio_limit),
                0.0,
            )
        } else {
            self.sums.splits(key.set, key.metric).add(row.canary, row.control);
            settled_evidence(row.canary, row.control, self.rules.bad_ratio)
        };
        let compared = self.sums.compared(slot);
        compared.relative += relative * temper;
        for (ln, sum) in evidence.iter_mut().zip(&mut compared.evidence) {
            *ln *= temper;
            *sum += *ln;
        }
        let node = 1 + self.topology.classes.len() + app;
        let at = self.slot(node, key.metric, key.fresh);
        self.processes[at].add(&evidence, self.steps);
        self.dirty[node] = true;
    }

    /// Adds the sums of the interval to all strata and to the classes.
    fn distribute(&mut self, tempers: &[f64]) {
        for (key, sum) in self.sums.each_touched() {
            let absolute = sum.absolute * tempers[key.metric];
            for scope in self.sets.scopes(key.set) {
                let scope = &mut self.scopes[index(*scope)];
                let tally = &mut scope.tallies[key.metric];
                if key.fresh {
                    tally.fresh.add(sum.canary);
                    continue;
                }
                tally.canary.add(sum.canary);
                tally.control.add(sum.control);
                let safety = &mut scope.safety[key.metric];
                safety.ln_absolute += absolute;
                safety.exposure = safety.exposure.saturating_add(sum.canary.total);
            }
        }
        for (key, sum) in self.sums.each_compared() {
            for scope in self.sets.scopes(key.set) {
                // Scope and node of all strata are 0, those of class c are c + 1.
                let scope = index(*scope);
                let at = self.slot(scope, key.metric, key.fresh);
                self.processes[at].add(&sum.evidence, self.steps);
                self.dirty[scope] = true;
                if !key.fresh {
                    self.scopes[scope].safety[key.metric].ln_relative += sum.relative;
                }
            }
        }
        self.sums.clear();
    }
}

const fn has_events(row: &Row) -> bool {
    row.canary.bad > 0 || row.control.bad > 0
}
