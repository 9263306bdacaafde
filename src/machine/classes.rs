//! The graduation of classes: how much of each class may be exposed, by the evidence of that class.

use unattended_batching::TargetIndex;
use unattended_health::{Hold, HoldReason, Judge, LASTING_LEVEL, MetricSafety, Row, Safety, Verdict};

use crate::Settings;

use super::Machine;
use super::surroundings::Surroundings;
use super::tables::{Class, Tables};
use super::tide::{Past, REQUIRED, Tide};
use super::traffic::{Speed, Traffic};

/// The metrics of the judge, by number.
pub(crate) const ERRORS: u8 = 0;
pub(crate) const SELF_TEST: u8 = 3;

/// A class is looked at for silence only after so long: the forecast needs some traffic to stand on.
const FORECAST_AFTER_MS: u64 = 30 * 60_000;

/// Without a control, traffic that speaks against the release must do so again so long after the first time: incidents
/// that are none of its doing pass.
pub(super) const SUSPECT_MS: u64 = 2 * 3_600_000;

/// Where the evidence of the present stage stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fresh {
    /// Nobody of this stage has been upgraded yet.
    Waiting,
    /// The first has; it is warm at this time.
    Warming(u64),
    /// Evidence counts since this time.
    Counting(u64),
}

/// The state of one class.
#[derive(Clone, Debug)]
pub(crate) struct ClassState {
    /// The batch up to which the class may be exposed.
    pub(crate) stage: u16,
    pub(crate) fresh: Fresh,
    /// It has stood still for a soak below the share that needs one.
    pub(crate) soaked: bool,
    /// Living targets that are or may be on the new version.
    pub(crate) exposed: u32,
    /// Targets of opened slices that wait to be started.
    pub(crate) promised: u32,
    /// What ln S would be by now if the release were as good as the old version, by metric.
    pub(super) expected_ln_s: [f64; REQUIRED],
    /// How fast the last stage was found safe.
    pub(super) speed: Option<Speed>,
    /// Its control beside history, by metric.
    tides: [Tide; REQUIRED],
    /// It went on at least once without evidence from its own traffic.
    pub(crate) silent: bool,
    /// Some lane is or will be at work on this stage without waiting for anybody: as the scan under way finds it, and as
    /// the one before found it.
    pub(crate) busy: bool,
    pub(crate) was_busy: bool,
    /// A person said that this stage may be passed.
    pub(crate) granted: bool,
    /// Since when its traffic, which has no control, is suspected of speaking against the release.
    pub(super) suspected: Option<u64>,
    /// The only stage there is was found safe.
    judged: bool,
    /// When a shadow took it to have soaked, as it cannot know.
    pub(super) soak_assumed_ms: Option<u64>,
}

impl ClassState {
    pub(crate) fn new(class: &Class) -> Self {
        Self {
            stage: class.first_stage(),
            fresh: Fresh::Waiting,
            soaked: false,
            exposed: 0,
            promised: 0,
            expected_ln_s: [0.0; REQUIRED],
            speed: None,
            tides: Default::default(),
            silent: false,
            busy: true,
            was_busy: true,
            granted: false,
            suspected: None,
            judged: false,
            soak_assumed_ms: None,
        }
    }

    /// Nobody runs the new version any more: the next to come is the first again.
    pub(super) const fn waits_anew(&mut self) {
        self.fresh = Fresh::Waiting;
        self.granted = false;
        self.suspected = None;
    }

    /// A part of the fleet was left out of the plan, and what traffic showed is known no more.
    pub(super) fn begin_anew(&mut self, class: &Class, now_ms: u64) {
        self.expected_ln_s = [0.0; REQUIRED];
        self.tides = Default::default();
        self.suspected = None;
        if self.exposed == 0 {
            // Nobody is left who has shown anything: the next to come is the first again, and comes alone where the plan
            // had nobody else for its stage.
            let first = class.first_stage();
            let stage = if first <= self.stage { first } else { first - 1 };
            (self.stage, self.soaked, self.silent) = (stage, false, false);
            self.fresh = Fresh::Waiting;
        } else if let Fresh::Counting(_) = self.fresh {
            self.fresh = Fresh::Counting(now_ms);
        }
    }
}

/// Whether, and on what, a class may go on.
pub(super) enum Evidence {
    /// Its own traffic says so.
    Own,
    /// Its traffic never could; its instances' synthetic requests say so.
    SelfTests,
    /// A person said so.
    Person,
    /// Not yet.
    None,
}

/// What one of two e-values must reach where safety, their mean, needs so much and the other is idle: it costs ln 2.
pub(super) const fn wanted(needed: f64) -> f64 {
    needed + std::f64::consts::LN_2
}

/// When a class may be called silent at the earliest. Where less time is allowed than a forecast needs, all of it must have passed.
pub(super) fn silent_from_ms(settings: &Settings) -> u64 {
    FORECAST_AFTER_MS.min(settings.silent_after_ms)
}

/// ln S that a good release gains per request of an application with historic error rate `p0`: the drift of the
/// absolute part of the safety evidence, which alone can carry it.
pub(crate) fn gain_per_request(p0: f64, floor: f64) -> f64 {
    let theta = (2.0 * p0).max(floor).min(0.5);
    let q = p0.max(theta / 4.0);
    // Logarithms only feed a forecast shown to people and the choice of silent classes; the standard library's differ
    // between platforms in the last digit, libm's do not.
    let (bad, good) = (
        p0 * libm::log(q / theta),
        (1.0 - p0) * libm::log((1.0 - q) / (1.0 - theta)),
    );
    (bad + good).max(0.0)
}

/// What is made of the rows of an interval beside evidence.
pub(super) struct Expectations<'a> {
    pub(super) past: &'a Past,
    pub(super) gain: &'a [[f64; REQUIRED]],
    pub(super) tables: &'a Tables,
    pub(super) classes: &'a mut [ClassState],
    pub(super) surroundings: &'a mut Surroundings,
    pub(super) traffic: &'a mut Traffic,
}

impl Expectations<'_> {
    /// What the rows would add to the safety evidence of a good release, and how the control does beside its history. Rows of no stratum,
    /// which the judge refuses meanwhile, are passed over.
    pub(super) fn add(&mut self, rows: &[Row]) {
        let known = |row: &&Row| (row.stratum as usize) < self.gain.len();
        let settled = |row: &&Row| !row.fresh && usize::from(row.metric) < REQUIRED;
        for row in rows.iter().filter(settled).filter(known) {
            let (stratum, metric) = (row.stratum as usize, usize::from(row.metric));
            // History is of hosts that were as good as their peers.
            let usual = row.level < LASTING_LEVEL;
            let tide = self.past.tide(row.stratum, row.metric, row.control);
            #[expect(clippy::cast_precision_loss, reason = "a forecast")]
            let gain = row.canary.total as f64 * self.gain[stratum][metric];
            for &class in &self.tables.strata_classes[stratum] {
                let state = &mut self.classes[class as usize];
                if usual {
                    state.tides[metric].add(tide);
                }
                state.expected_ln_s[metric] += gain;
            }
            if row.metric == ERRORS {
                if usual {
                    self.surroundings.add(row.stratum, row.control);
                }
                self.traffic.add(row);
            }
        }
    }
}

impl Machine {
    /// A target of the class was upgraded.
    pub(super) fn class_refreshed(&mut self, class: u32) {
        let warm_at = self.now_ms + self.setup.change.settings.warm_up_ms;
        let state = &mut self.classes[class as usize];
        if state.fresh == Fresh::Waiting {
            state.fresh = Fresh::Warming(warm_at);
        }
    }

    /// Lets every class whose evidence suffices go on to its next stage.
    pub(super) fn advance_classes(&mut self) {
        let calm = self.is_calm();
        let mut stepped = false;
        if calm {
            self.watch_regions();
        }
        for at in 0..self.classes.len() {
            let class = u32::try_from(at).unwrap_or(u32::MAX);
            if self.aside.has_class(class) {
                continue;
            }
            self.count_evidence(class);
            if !calm {
                continue;
            }
            let Some(next) = self.tables.classes[at].next_stage(self.classes[at].stage) else {
                continue;
            };
            let evidence = self.evidence(class);
            if matches!(evidence, Evidence::None) || !self.rested(class, next) {
                continue;
            }
            if self.has_begun_to_interfere() {
                return;
            }
            self.explain_step(class, next, &evidence);
            let speed = self.speed(at);
            let state = &mut self.classes[at];
            state.speed = speed;
            state.soaked |= self.tables.classes[at].needs_soak(next, &self.setup.change.settings);
            state.silent |= matches!(evidence, Evidence::SelfTests);
            state.granted = false;
            state.suspected = None;
            state.stage = next;
            state.fresh = Fresh::Waiting;
            self.judge.restart_safety(class);
            stepped |= class == 0;
        }
        if stepped {
            self.judge.step_traffic();
        }
    }

    /// Nothing speaks against going on, or a person went on over what does. Lost telemetry nobody can overrule.
    pub(super) fn is_calm(&self) -> bool {
        if self.autonomy.is_blocked() || self.interferes() || self.is_unseen() {
            return false;
        }
        match self.judge.verdict() {
            Verdict::Continue | Verdict::Promote => true,
            Verdict::Rollback
            | Verdict::Hold(Hold {
                reason: HoldReason::Suspicion { .. },
                ..
            }) => self.evidence_is_overruled() || self.is_stale(|judge| judge.settled_ln_e()),
            // Evidence that is late is asked about class by class; the judge counts the time in which nobody was let start as well.
            Verdict::Hold(Hold {
                reason: HoldReason::Insufficient { .. },
                ..
            }) => self.decides_by(8),
            Verdict::Hold(_) | Verdict::Reject => false,
        }
    }

    /// Evidence keeps something from growing that waiting cannot change any more: it was fresh instances that showed it, there are none left,
    /// and what they are now says otherwise. A step shows whether the next ones do the same.
    pub(super) fn is_stale(&self, settled: impl Fn(&Judge) -> f64) -> bool {
        let caution = libm::log(self.setup.change.settings.caution_e);
        self.decides_by(4) && self.is_settled() && settled(&self.judge) < caution
    }

    /// Moves a class from waiting over warming to counting.
    fn count_evidence(&mut self, class: u32) {
        let now_ms = self.now_ms;
        let state = &mut self.classes[class as usize];
        let counts = match state.fresh {
            Fresh::Warming(at) => now_ms >= at,
            // Those who would enlarge it are all held: the stage is judged by the exposed there are, or the held would
            // hold everybody.
            Fresh::Waiting => !state.busy && state.exposed > 0,
            Fresh::Counting(_) => false,
        };
        if counts {
            state.fresh = Fresh::Counting(now_ms);
            state.expected_ln_s = [0.0; REQUIRED];
            state.tides = Default::default();
            if class == 0 {
                self.traffic = Traffic::default();
            }
            self.judge.restart_safety(class);
        }
    }

    pub(super) fn evidence(&self, class: u32) -> Evidence {
        let state = &self.classes[class as usize];
        let Fresh::Counting(since) = state.fresh else {
            return Evidence::None;
        };
        let safety = self.judge.safety(class);
        if self.class_is_overruled(class) {
            return Evidence::Person;
        }
        if self.is_suspected(class) {
            return Evidence::None;
        }
        if state.suspected.is_some_and(|at| self.now_ms - at < SUSPECT_MS) {
            return Evidence::None;
        }
        if safety.satisfied {
            return Evidence::Own;
        }
        if state.granted {
            return Evidence::Person;
        }
        let elapsed = self.seen_until_ms().saturating_sub(since);
        let self_tests = safety
            .per_metric
            .get(usize::from(SELF_TEST))
            .map_or(0.0, |metric| metric.ln_s);
        let silent = self.is_silent(class, elapsed, safety.needed) || self.is_drowned(class, elapsed, &safety);
        if silent && self_tests >= safety.needed && self.contradiction(class, &safety).is_none() {
            return Evidence::SelfTests;
        }
        Evidence::None
    }

    /// Whether the traffic of a class could not show safety within the time allowed, were the release good.
    fn is_silent(&self, class: u32, elapsed_ms: u64, needed: f64) -> bool {
        if elapsed_ms < silent_from_ms(&self.setup.change.settings) {
            return false;
        }
        let wanted = wanted(needed);
        #[expect(clippy::cast_precision_loss, reason = "a forecast")]
        let (elapsed, allowed) = (elapsed_ms as f64, self.setup.change.settings.silent_after_ms as f64);
        self.classes[class as usize].expected_ln_s[usize::from(ERRORS)] * allowed < wanted * elapsed
    }

    /// Whether something else than the release, which the control has too, keeps the class from showing itself safe by history, and
    /// comparing had all the time allowed and leans to safe: then its traffic cannot say more.
    fn is_drowned(&self, class: u32, elapsed_ms: u64, safety: &Safety) -> bool {
        let tides = &self.classes[class as usize].tides;
        let mut drowned = false;
        for (metric, tide) in safety.per_metric.iter().zip(tides) {
            if metric.ln_s >= safety.needed {
                continue;
            }
            if !tide.is_high() || metric.ln_relative <= 0.0 {
                return false;
            }
            drowned = true;
        }
        drowned && elapsed_ms >= self.setup.change.settings.silent_after_ms
    }

    /// The metric by which the class's own traffic says that the release is bad. Too little traffic to prove health may
    /// still be enough to disprove it: of a good release 1/S passes 1/α with probability α at most. Where the control exceeds its
    /// history as well, history says nothing of the release.
    pub(super) fn contradiction<'a>(&self, class: u32, safety: &'a Safety) -> Option<&'a str> {
        let limit = libm::log(self.setup.change.settings.alpha);
        let compared = is_compared(safety);
        let tides = &self.classes[class as usize].tides;
        let high = |at: usize| tides.get(at).is_some_and(|tide| tide.is_high());
        let against = |(at, metric): &(usize, &MetricSafety)| {
            (metric.required || !compared) && metric.ln_absolute <= limit && !high(*at)
        };
        let found = safety.per_metric.iter().enumerate().find(against);
        found.map(|(_, metric)| metric.name.as_str())
    }

    /// Whether the class has rested as long as it must before its stage `next`.
    fn rested(&self, class: u32, next: u16) -> bool {
        let settings = &self.setup.change.settings;
        let state = &self.classes[class as usize];
        let Fresh::Counting(since) = state.fresh else {
            return false;
        };
        let soak = !state.soaked && self.tables.classes[class as usize].needs_soak(next, settings);
        let rest = if soak { settings.soak_ms } else { settings.bake_ms };
        self.seen_until_ms().saturating_sub(since) >= rest
    }

    /// Whether the class lets a lane start a slice of `count` targets in `batch`.
    pub(super) fn class_admits(&self, class: u32, batch: u16, count: u32) -> bool {
        let state = &self.classes[class as usize];
        if batch <= state.stage || self.aside.has_class(class) {
            return true;
        }
        let taken = state.exposed + state.promised;
        // Others may be held: once everybody else of this stage has gone, nobody waits for them, but the class stays
        // inside what it may expose. Where nobody could go at all, the first who can goes, alone.
        let room = self.tables.classes[class as usize].cumulative[usize::from(state.stage)];
        !state.was_busy && (taken == 0 || taken + count <= room)
    }

    /// Whether so many targets of an open slice, which rules held, fit into what the class may expose. Where nobody shows it yet, they
    /// are the first, however many they are.
    pub(super) fn class_has_room(&self, class: u32, count: u32) -> bool {
        let (state, of) = (&self.classes[class as usize], &self.tables.classes[class as usize]);
        let taken = state.exposed + state.promised;
        let room = of.cumulative[usize::from(state.stage)];
        self.aside.has_class(class) || of.next_stage(state.stage).is_none() || taken == 0 || taken + count <= room
    }

    /// A lane opened a slice: its targets count against the classes' room before they start.
    pub(super) fn promise_slice(&mut self, lane: usize, slice: usize) {
        for at in 0..self.tables.slices[lane][slice].targets.len() {
            self.promise(self.tables.slices[lane][slice].targets[at]);
        }
    }

    /// A target may start when its turn comes.
    pub(super) fn promise(&mut self, target: TargetIndex) {
        // A lane that rules hold takes no room, whoever comes to wait in it meanwhile; it takes all that it needs when it goes on.
        let lane = self.lanes.get(self.app_of(target).0 as usize);
        if self.domains.is_away(target) || lane.is_some_and(|lane| lane.withheld) {
            return;
        }
        let state = &mut self.targets[target.0 as usize];
        if !state.may_be_promised() || std::mem::replace(&mut state.promised, true) {
            return;
        }
        for &class in &self.tables.strata_classes[state.stratum as usize] {
            self.classes[class as usize].promised += 1;
        }
    }

    /// A promised target was started, or never will be.
    pub(super) fn redeem(&mut self, target: TargetIndex) {
        let state = &mut self.targets[target.0 as usize];
        if std::mem::take(&mut state.promised) {
            for &class in &self.tables.strata_classes[state.stratum as usize] {
                self.classes[class as usize].promised -= 1;
            }
        }
    }

    /// Nothing of the fleet is left to grow into and no stage was ever passed: nobody has judged the release yet.
    pub(super) fn is_one_stage(&self) -> bool {
        let fleet = &self.tables.classes[0];
        self.classes[0].stage == fleet.first_stage() && fleet.next_stage(self.classes[0].stage).is_none()
    }

    /// Whether the change may call itself done. Every stage was passed on evidence; where there was only one, as in a
    /// fleet of a single target, its evidence is asked for here.
    pub(super) fn is_judged(&mut self) -> bool {
        if !self.is_one_stage() || self.classes[0].judged {
            return true;
        }
        if self.decides_by(7) && self.exposed == 0 {
            // Nobody runs the new version, and nobody is left to: there is nothing to judge.
            return true;
        }
        let evidence = self.evidence(0);
        if matches!(evidence, Evidence::None) {
            return false;
        }
        self.explain_step(0, self.classes[0].stage, &evidence);
        let state = &mut self.classes[0];
        state.silent |= matches!(evidence, Evidence::SelfTests);
        state.judged = true;
        true
    }

    /// What was reached once counts; it may be less by the time the class has rested.
    fn evidence_in_words(&self, safety: &Safety) -> String {
        let (now, needed) = (libm::exp(safety.ln_s).min(1e9), libm::exp(safety.needed));
        let requests = safety.requests_seen;
        if safety.ln_s < safety.needed && self.decides_by(8) {
            return format!(
                "safety evidence has reached the {needed:.0} needed, and is {now:.0} now, from {requests} requests"
            );
        }
        format!("safety evidence {now:.0} of {needed:.0} needed from {requests} requests")
    }

    fn explain_step(&mut self, class: u32, next: u16, evidence: &Evidence) {
        let name = &self.tables.classes[class as usize].name;
        let planned = self.tables.classes[class as usize].cumulative[usize::from(next)];
        let safety = self.judge.safety(class);
        let (code, because) = match evidence {
            Evidence::Own => ("class.safe", self.evidence_in_words(&safety)),
            Evidence::SelfTests => (
                "class.silent",
                format!(
                    "its {} requests could never show it; its self-tests did",
                    safety.requests_seen
                ),
            ),
            Evidence::Person => ("class.granted", "a person said so".to_owned()),
            Evidence::None => return,
        };
        let text = if next == self.classes[class as usize].stage {
            format!("class {name} is done with its {planned} targets: {because}")
        } else {
            format!("class {name} may grow to {planned} targets (batch {next}): {because}")
        };
        let otherwise =
            "less evidence of safety, or any real evidence against the release, would have kept its size".to_owned();
        self.decide_text(code, text, Some(otherwise));
    }
}

/// Whether anything of the class was compared with a control.
pub(super) fn is_compared(safety: &Safety) -> bool {
    safety.per_metric.iter().any(|metric| metric.ln_relative.abs() > 0.0)
}

impl Class {
    /// Whether stage `next` is the first beyond the share that needs a soak.
    pub(super) fn needs_soak(&self, next: u16, settings: &Settings) -> bool {
        let planned = u64::from(self.cumulative[usize::from(next)]);
        planned * 1_000_000 > u64::from(self.size) * u64::from(settings.soak_share_ppm)
    }
}
