//! One interval into the judge.

use std::borrow::Cow;

use crate::dispersion::together;
use crate::evidence::{GridVector, Relative, RowEvidence, compares, relative_safety, row_evidence, settled_evidence};
use crate::influence::HostKey;
use crate::judge::{Judge, index};
use crate::process::Process;
use crate::sums::{Key, Place};
use crate::{Arm, Counts, HostCounts, HostSample, Interval, LASTING_LEVEL, Look, OutOfReach, Row, RowError, validate};

/// Canary samples in the order of their rows: stratum, metric, freshness.
type Strongest<'a> = Vec<&'a HostSample>;

impl Judge {
    /// Learns from one interval.
    ///
    /// # Errors
    ///
    /// [`RowError`] when the interval was seen before, is late, or contains anything impossible; the judge is as it was.
    pub fn observe(&mut self, interval: &Interval) -> Result<Look, RowError> {
        self.observe_within_reach(interval, OutOfReach::default())
    }

    /// As [`observe`](Self::observe), where so many hosts are known to be out of reach: that they do not report is no loss of
    /// telemetry, and holds nothing. Of the others at least the share of [`JudgeConfig::min_coverage`](crate::JudgeConfig::min_coverage) must.
    ///
    /// # Errors
    ///
    /// As [`observe`](Self::observe).
    pub fn observe_within_reach(&mut self, interval: &Interval, out_of_reach: OutOfReach) -> Result<Look, RowError> {
        let rows = self.rows_of(interval)?;
        // Sums of floats follow the order of samples: it is theirs, not the sender's.
        let mut samples: Vec<&HostSample> = interval.samples.iter().collect();
        samples.sort_unstable_by_key(|one| (one.stratum, one.metric, one.fresh, one.arm));
        let (strongest, control): (Strongest<'_>, Vec<_>) =
            samples.into_iter().partition(|sample| sample.arm == Arm::Canary);

        if self.steps.0 == 0 && rows.iter().any(|row| self.begins(row)) {
            self.step_traffic();
        }
        self.guards.look(
            &rows,
            interval,
            &self.topology,
            &self.historic,
            &self.phi(Self::whole_dispersion_of),
        );
        self.learn(&rows, &strongest);
        let mut dirty = core::mem::take(&mut self.dirty);
        self.sum_up_nodes(|node| dirty[node]);
        dirty.fill(false);
        self.dirty = dirty;
        for scope in &mut self.scopes {
            scope.look(&self.config, self.rules.ln_safe);
        }
        self.ln_e = self.stop_statistic(&self.nodes);

        // What this interval says about dispersion tempers the next one: the factor of a row is fixed before the row.
        for sample in control {
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
        self.signatures.learn(&interval.signatures);
        self.coverage = Some((
            interval.canary_hosts.without(out_of_reach.canary),
            interval.control_hosts.without(out_of_reach.control),
        ));
        self.last = Some(interval.index);

        let crossed_now = self.stop.is_none() && self.ln_e >= self.rules.ln_needed;
        if crossed_now {
            self.stop = Some(self.stop_evidence());
        }
        if self.stop.is_none() {
            self.name_host(interval.index);
        }
        self.note_hold(interval.index);
        Ok(Look {
            index: interval.index,
            ln_e: self.ln_e,
            ln_needed: self.rules.ln_needed,
            stopped: self.stop.is_some(),
            crossed_now,
        })
    }

    /// Whether [`observe`](Self::observe) would learn from the interval: for whoever does something else with it first that could not
    /// be undone.
    ///
    /// # Errors
    ///
    /// The [`RowError`] that it would be refused with.
    pub fn check(&self, interval: &Interval) -> Result<(), RowError> {
        self.rows_of(interval).map(drop)
    }

    /// The rows of an interval that can be, in the order of [`validate::key`].
    fn rows_of<'i>(&self, interval: &'i Interval) -> Result<Cow<'i, [Row]>, RowError> {
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
        Ok(rows)
    }

    /// Whether a row starts the first restart when nobody called `step_traffic`: canary traffic does. A row that a
    /// source may leave out does not, or leaving it out would change something.
    fn begins(&self, row: &Row) -> bool {
        let may_be_missing = !self.config.metrics[usize::from(row.metric)].required && !has_events(row);
        row.canary.total > 0 && !may_be_missing
    }

    /// Dispersion of every metric, as this interval uses it.
    fn phi(&self, of: impl Fn(&Self, usize) -> f64) -> Vec<f64> {
        (0..self.config.metrics.len()).map(|metric| of(self, metric)).collect()
    }

    /// Applies valid rows in the order of [`validate::key`].
    fn learn(&mut self, rows: &[Row], strongest: &Strongest<'_>) {
        let metrics = self.config.metrics.len();
        if self.plain.is_empty() && !strongest.is_empty() {
            self.plain = vec![Process::UNTOUCHED; metrics * 2];
        }
        // Dividing once per metric and interval, in place of once per row.
        let inverse = |phi: Vec<f64>| -> Vec<f64> { phi.iter().map(|phi| 1.0 / phi).collect() };
        let by_level = inverse(self.phi(Self::level_dispersion_of));
        let whole_rows = inverse(self.phi(Self::whole_dispersion_of));
        for levels in rows.chunk_by(|a, b| (a.stratum, a.metric, a.fresh) == (b.stratum, b.metric, b.fresh)) {
            let row = &levels[0];
            if self.guards.excludes(row.stratum) {
                continue;
            }
            let Place { app, set } = self.sets.places[index(row.stratum)];
            let (set, metric) = (index(set), usize::from(row.metric));
            let key = Key {
                set,
                metric,
                fresh: row.fresh,
            };
            let whole = Whole::of(levels);
            let (slot, sum) = self.sums.at(key);
            sum.canary.add(whole.canary);
            if !row.fresh {
                sum.control.add(whole.control);
                let limit = self.limits[index(app) * metrics + metric];
                // A limit and the history that it is made of are of hosts that were as good as their peers.
                let usual = match levels {
                    [.., row] if row.level >= LASTING_LEVEL => {
                        Whole::of(&levels[..levels.partition_point(|row| row.level < LASTING_LEVEL)])
                    }
                    _ => whole,
                };
                let absolute = limit.evidence(usual.pessimistic());
                sum.absolute += absolute;
                match limit.historic() {
                    Some(rate) if usual.control.total > 0 => sum.tide.add(usual.control, rate),
                    _ => sum.alone += absolute,
                }
            }
            if !whole.has_events() {
                continue;
            }
            let spot = Spot {
                key,
                slot,
                app: index(app),
                temper: by_level[metric],
                whole_temper: whole_rows[metric],
            };
            let hosts = hosts_of(strongest, row);
            if !self.plain.is_empty() {
                self.add_plain(&whole, row, &spot, hosts);
            }
            let relative = match levels {
                [row] => self.compare(row, &spot, hosts),
                _ => {
                    for row in levels {
                        self.compare(row, &spot, hosts);
                    }
                    self.safety_of(levels)
                }
            };
            if !row.fresh {
                self.sums.splits(set, metric).add(whole.canary, whole.control);
                let historic = self.limits[index(app) * metrics + metric].historic().is_some();
                let compared = self.sums.compared(slot);
                compared.relative += relative.bad * spot.whole_temper;
                if historic {
                    compared.double += relative.double * spot.whole_temper;
                }
            }
        }
        self.distribute(&whole_rows);
    }

    /// Evidence of harm in one row, and what it says about safety were it alone.
    fn compare(&mut self, row: &Row, spot: &Spot, hosts: Option<&HostSample>) -> Relative {
        let optimistic = Counts::new(row.canary.bad, row.canary.total + row.missing);
        let pessimistic = Counts::new(row.canary.bad + row.missing, optimistic.total);
        let (mut evidence, relative) = match (compares(optimistic, row.control), row.fresh) {
            (false, true) => return Relative::default(),
            (false, false) => return relative_safety(pessimistic, row.control, self.rules.bad_ratio),
            (true, true) => (
                row_evidence(optimistic, row.control, self.config.fresh_ratio_limit),
                Relative::default(),
            ),
            (true, false) => {
                let (evidence, relative) = settled_evidence(optimistic, row.control, self.rules.bad_ratio);
                let relative = if row.missing == 0 {
                    relative
                } else {
                    relative_safety(pessimistic, row.control, self.rules.bad_ratio)
                };
                (evidence, relative)
            }
        };
        let RowEvidence { row: sums, event } = &mut evidence;
        for (ln, sum) in sums.iter_mut().zip(&mut self.sums.compared(spot.slot).evidence) {
            *ln *= spot.temper;
            *sum += *ln;
        }
        let node = 1 + self.topology.classes.len() + spot.app;
        let at = self.slot(node, spot.key.metric, spot.key.fresh);
        self.processes[at].add(sums, self.steps);
        self.dirty[node] = true;
        if let Some(sample) = hosts {
            self.add_hosts(row, spot, at, sample, &event.map(|ln| ln * spot.temper));
        }
        relative
    }

    /// What the rows of several levels say about safety: those that hosts climb together, each of the others by itself.
    fn safety_of(&self, levels: &[Row]) -> Relative {
        let mut sum = Relative::default();
        for peers in levels.chunk_by(|a, b| together(a.level, b.level)) {
            let peers = Whole::of(peers);
            let more = relative_safety(peers.pessimistic(), peers.control, self.rules.bad_ratio);
            sum.bad += more.bad;
            sum.double += more.double;
        }
        sum
    }

    /// Evidence as it would be were hosts not told apart, and whose it is.
    fn add_plain(&mut self, whole: &Whole, row: &Row, spot: &Spot, hosts: Option<&HostSample>) {
        let canary = Counts::new(whole.canary.bad, whole.canary.total.saturating_add(whole.missing));
        if !compares(canary, whole.control) {
            return;
        }
        let null_ratio = if row.fresh { self.config.fresh_ratio_limit } else { 1.0 };
        let evidence = row_evidence(canary, whole.control, null_ratio);
        let process = &mut self.plain[spot.key.metric * 2 + usize::from(row.fresh)];
        process.add(&evidence.row.map(|ln| ln * spot.whole_temper), self.steps);
        let event = evidence.event.map(|ln| ln * spot.whole_temper);
        for (key, events) in named(row.stratum, hosts.into_iter().flat_map(|sample| &sample.hosts)) {
            process.add_host(key, events, &event);
        }
    }

    /// Says whose the bad events of a row are, to the processes of its application, its classes and all strata.
    fn add_hosts(&mut self, row: &Row, spot: &Spot, own: usize, sample: &HostSample, event: &GridVector) {
        let at_level = sample.hosts.iter().filter(|host| host.level == row.level);
        for (key, events) in named(row.stratum, at_level) {
            self.processes[own].add_host(key, events, event);
            for scope in self.sets.scopes(spot.key.set) {
                let at = self.slot(index(*scope), spot.key.metric, spot.key.fresh);
                self.processes[at].add_host(key, events, event);
            }
        }
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
                safety.ln_historic += absolute;
                safety.ln_double += sum.alone * tempers[key.metric];
                safety.tide.merge(sum.tide, tempers[key.metric]);
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
                    let safety = &mut self.scopes[scope].safety[key.metric];
                    safety.ln_relative += sum.relative;
                    safety.ln_double += sum.double;
                }
            }
        }
        self.sums.clear();
    }
}

/// Where the evidence of some rows goes.
struct Spot {
    key: Key,
    slot: usize,
    app: usize,
    /// One over the dispersion of rows of one level.
    temper: f64,
    /// Of rows in which levels are added up.
    whole_temper: f64,
}

/// Rows of one stratum, metric and freshness together.
///
/// Evidence of safety needs those that hosts climb together: where the change makes every host worse, its hosts climb the levels
/// sooner, and within a level they look like the control.
#[derive(Clone, Copy, Default)]
struct Whole {
    canary: Counts,
    control: Counts,
    missing: u64,
}

impl Whole {
    fn of(levels: &[Row]) -> Self {
        let mut whole = Self::default();
        for row in levels {
            whole.canary.add(row.canary);
            whole.control.add(row.control);
            whole.missing = whole.missing.saturating_add(row.missing);
        }
        whole
    }

    /// The canary with what is missing counted as bad.
    const fn pessimistic(&self) -> Counts {
        Counts::new(
            self.canary.bad.saturating_add(self.missing),
            self.canary.total.saturating_add(self.missing),
        )
    }

    const fn has_events(&self) -> bool {
        self.canary.bad > 0 || self.control.bad > 0 || self.missing > 0
    }
}

/// Hosts with bad events, in the order of their numbers.
fn named<'a>(stratum: u32, hosts: impl Iterator<Item = &'a HostCounts>) -> Vec<(HostKey, u64)> {
    let mut named: Vec<(HostKey, u64)> = hosts
        .filter(|host| host.distinct > 0)
        .map(|host| {
            (
                HostKey {
                    stratum,
                    host: host.host,
                },
                host.distinct,
            )
        })
        .collect();
    named.sort_unstable_by_key(|(key, _)| *key);
    named
}

/// The canary's hosts of a row.
fn hosts_of<'a>(strongest: &Strongest<'a>, row: &Row) -> Option<&'a HostSample> {
    if strongest.is_empty() {
        return None;
    }
    let key = |sample: &&HostSample| (sample.stratum, sample.metric, sample.fresh);
    strongest
        .binary_search_by_key(&(row.stratum, row.metric, row.fresh), key)
        .ok()
        .map(|at| strongest[at])
}

const fn has_events(row: &Row) -> bool {
    row.canary.bad > 0 || row.control.bad > 0 || row.missing > 0
}
