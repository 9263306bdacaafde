//! The autopilot as a pure machine: inputs in, commands out. The same inputs give the same machine, so a journal of
//! inputs is all that has to survive.

mod admission;
mod around;
mod aside;
mod autonomy;
mod batches;
mod blocked_back;
mod budget;
mod class_sets;
mod class_views;
mod classes;
mod commands;
mod compare;
mod cut;
mod debts;
mod differs;
mod domains;
mod ends;
mod gate;
pub(crate) mod happened;
mod heal;
mod held_back;
mod hold;
mod ill;
mod interference;
mod lanes;
mod late_evidence;
mod left_out;
mod metrics;
mod news;
mod orders;
mod outlook;
mod overruled;
mod pace;
mod questions;
mod reach;
mod receipts;
mod record;
mod rehearsal;
mod right;
pub(crate) mod rules;
mod seen;
mod shadow;
pub(crate) mod span;
mod start_failures;
mod steps;
mod stop;
mod surroundings;
pub(crate) mod tables;
mod taken_over;
mod target;
mod telling;
mod tide;
mod time;
mod tracks;
mod traffic;
mod view;
mod way_back;
mod what_if;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use unattended_batching::{AppIndex, Event, Frontier, Plan, TargetIndex};
use unattended_defense::Guard;
use unattended_health::{History, Judge, JudgeConfig, JudgeError, StratumInfo, Topology};

use crate::around::Seen;
use crate::input::{Decided, Header, Input};
use crate::level::Act;
use crate::notice::Desk;
use crate::{Change, Level, Outcome, RunError};

use self::autonomy::Autonomy;
use self::classes::ClassState;
pub(crate) use self::commands::{Check, Commands, Direction, Start};
pub(crate) use self::heal::{HealJob, Remedy, Sent};
pub(crate) use self::ill::Unnamed;
use self::lanes::Lane;
pub use self::metrics::metrics;
use self::record::Record;
use self::right::StoppedBy;
pub(crate) use self::shadow::Objection;
use self::tables::Tables;
use self::target::Target;

/// What a machine is made from; constant over the change.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) change: Change,
    pub(crate) plan: Plan,
    pub(crate) proof: unattended_batching::Proof,
    pub(crate) guard: Arc<Guard>,
    pub(crate) header: Header,
}

/// Ticks come at least once an interval; after a gap this long nobody was there to tick.
const AWAY_MS: u64 = 3_600_000;

/// What the change is doing as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Course {
    Forward,
    Back,
    Ended(Outcome),
}

/// The state. Its history is in [`Record`].
#[derive(Debug)]
pub(crate) struct Machine {
    setup: Setup,
    tables: Tables,
    frontier: Frontier,
    judge: Judge,
    lanes: Vec<Lane>,
    classes: Vec<ClassState>,
    targets: Vec<Target>,
    /// Those born during the change, by number from the end of the planned fleet.
    births: Vec<String>,
    births_by_name: BTreeMap<String, TargetIndex>,
    course: Course,
    /// Since when it is frozen.
    frozen: Option<u64>,
    /// Since when nothing more goes forward.
    paused: Option<u64>,
    /// The program that alone has frozen or paused it, and may lift that.
    halted_by: Option<String>,
    /// Who froze or paused it last, and who gave it up: people are told, and nothing follows from it.
    stopped_by: StoppedBy,
    /// Applications that somebody left out.
    skipped: BTreeSet<AppIndex>,
    /// Targets that somebody left out, by name.
    pinned: BTreeSet<String>,
    /// It is being aborted: it ends as soon as nothing is in flight.
    aborting: bool,
    /// From when on it waits for that.
    abort_heard_ms: Option<u64>,
    /// Ways back of the rehearsal in a row of which nothing was seen.
    unseen_ways_back: u8,
    autonomy: Autonomy,
    /// A person resumed over what had stopped the change.
    overruled: overruled::Overruled,
    /// A person said that the rollback need not wait for the rules.
    word_back: held_back::Word,
    /// Since when only caps keep targets on a version that is to be left, and how many.
    blocked_back: Option<(u64, usize)>,
    questions: questions::Questions,
    /// Somebody who may not take the change back by a word has asked for it, and why.
    asked_back: Option<String>,
    /// A person said to leave what is owed, and how many were then.
    debts_left: Option<usize>,
    now_ms: u64,
    /// Which date it was at a moment of the run.
    anchor: time::Anchor,
    cursor: u64,
    next_interval: u64,
    /// When one was read last, or could have been.
    read_ms: u64,
    alive: u64,
    exposed: u64,
    in_flight: u64,
    /// Targets that have been started, or were born on the new version; never falls.
    touched: u64,
    lost: u64,
    human_actions: u64,
    /// What people have been told, and must be told again.
    desk: Desk,
    /// The permit withholds effects, and why.
    withheld: Option<String>,
    /// Since when.
    withheld_ms: Option<u64>,
    /// What the run has ended for, as no word can bring it: a code and a text.
    waits_for: Option<(&'static str, String)>,
    /// Runs that took the change up after the first.
    runs: u32,
    differs: differs::Differs,
    /// What those who listen know of the judge.
    last_verdict: Option<happened::VerdictKind>,
    /// Something has happened that lanes must be looked at for.
    scan_due: bool,
    back_began: bool,
    /// Rollbacks that failed and are tried again; the frontier still counts them as in flight.
    again: Vec<TargetIndex>,
    /// What hands are said to have upgraded that was not offered then.
    done_by_hand: Vec<TargetIndex>,
    /// Rollbacks that wait for a window which forbids them; the frontier counts them as in flight too.
    parked: Vec<TargetIndex>,
    /// By stratum, what one request adds to ln S of a good release, by each metric that promotion needs.
    gain: Vec<[f64; tide::REQUIRED]>,
    exposed_at_stop: Option<u64>,
    stop_text: Option<String>,
    /// What kind of stop that is.
    stop_code: Option<&'static str>,
    /// The class that explained most when the stop was decided, and the statistic then.
    stop_scope: Option<String>,
    stop_ln_e: Option<f64>,
    start_failures: start_failures::StartFailures,
    debts: debts::Debts,
    /// Debts that are not excused by how the fleet was before.
    faulted: u64,
    record: Record,
    other_rules: Option<Box<what_if::OtherRules>>,
    /// How long this run waits for a person.
    person_patience_ms: u64,
    /// The moment from which the last finished lane bakes.
    done_since: Option<u64>,
    /// When the world is compared next, and since when the comparison fails.
    check_at: u64,
    wrong_since: Option<u64>,
    /// Those who were wrong at every comparison so far.
    always_wrong: BTreeSet<String>,
    /// Who could not be looked at the last time while others could, and since when.
    unseen: BTreeMap<String, u64>,
    /// When something moved last.
    moved_ms: u64,
    /// Since when what is seen, or is not, has let nothing grow.
    shut_since: Option<u64>,
    /// Whether rules deny the release to all that is left, and when that was looked at.
    denied: Option<(u64, bool)>,
    /// A person said to leave whoever had not been reached.
    rest_is_left: bool,
    sight: receipts::Sight,
    past: tide::Past,
    pace: pace::Pace,
    traffic: traffic::Traffic,
    surroundings: surroundings::Surroundings,
    domains: domains::Domains,
    rehearsal: rehearsal::Rehearsal,
    /// Why it cannot be taken back, if its author says so.
    one_way: Option<String>,
    knows_way_back: bool,
    aside: aside::Aside,
    healing: heal::Healing,
    cut: cut::Cut,
    taken_over: taken_over::TakenOver,
    interference: interference::Interference,
    around: Seen,
    /// By lane, how far it was.
    tracks: Vec<tracks::Track>,
}

impl Machine {
    pub(crate) fn new(setup: Setup, history: &[History]) -> Result<Self, JudgeError> {
        let fleet = Arc::clone(&setup.change.fleet);
        let tables = Tables::new(&fleet, &setup.plan);
        let settings = &setup.change.settings;
        let domains = domains::Domains::new(&fleet, &tables, &settings.domains);
        let mut config = JudgeConfig::new(metrics());
        config.alpha = settings.alpha;
        config.beta = settings.beta;
        config.delta = settings.delta;
        config.hold_at = settings.caution_e;
        if setup.header.decisions < 5 {
            config.min_silent_hosts = 1;
        }
        let topology = Topology {
            strata: tables
                .strata_apps
                .iter()
                .zip(tables.strata_classes.iter())
                .map(|(&app, classes)| StratumInfo {
                    app,
                    classes: classes.to_vec(),
                })
                .collect(),
            classes: tables.classes.iter().map(|class| class.name.clone()).collect(),
            apps: (0..fleet.app_count())
                .map(|app| fleet.app_name(AppIndex(app)).to_owned())
                .collect(),
        };
        let past = tide::Past::new(tables.strata_apps.len(), history);
        let gain = past.gains(&config);
        let judge = Judge::new(config, topology, history)?;
        let targets: Vec<Target> = fleet
            .targets()
            .map(|target| Target::new(setup.plan.stratum_of(target).0))
            .collect();
        let now_ms = setup.header.began_ms;
        let mut frontier = setup.plan.frontier();
        for (app, slices) in (0u32..).zip(&tables.slices) {
            if slices.first().is_some_and(|slice| slice.batch > 0) {
                // The frontier has batch 0 open for everybody; singletons wait for their turn there.
                frontier.on(Event::HeldUntil {
                    app: AppIndex(app),
                    until_ms: u64::MAX,
                });
            }
        }
        let mut record = Record::new(setup.plan.batch_count());
        if !setup.header.fenced {
            let text = format!(
                "the platform cannot fence: no second controller may run beside this one, and {} is the highest level",
                Level::UNGRANTED
            );
            record.decide(now_ms, "platform.unfenced", text, None);
        }
        let mut machine = Self {
            frontier,
            lanes: tables.slices.iter().map(|slices| Lane::new(slices)).collect(),
            classes: tables.classes.iter().map(ClassState::new).collect(),
            alive: targets.len() as u64,
            record,
            other_rules: None,
            person_patience_ms: setup.header.person_patience_ms,
            tables,
            judge,
            targets,
            births: Vec::new(),
            births_by_name: BTreeMap::new(),
            course: Course::Forward,
            frozen: None,
            paused: None,
            halted_by: None,
            stopped_by: StoppedBy::default(),
            skipped: BTreeSet::new(),
            pinned: BTreeSet::new(),
            aborting: false,
            abort_heard_ms: None,
            unseen_ways_back: 0,
            autonomy: Autonomy::new(
                setup.header.level,
                setup.header.grant_ends_ms(settings.budget.longest_ms),
                now_ms,
            ),
            overruled: overruled::Overruled::default(),
            word_back: held_back::Word::default(),
            blocked_back: None,
            parked: Vec::new(),
            questions: questions::Questions::default(),
            asked_back: None,
            debts_left: None,
            now_ms,
            anchor: time::Anchor {
                run_ms: now_ms,
                unix_ms: setup.header.began_unix_ms,
                ahead_ms: 0,
            },
            cursor: 0,
            next_interval: 0,
            read_ms: 0,
            exposed: 0,
            in_flight: 0,
            touched: 0,
            lost: 0,
            scan_due: true,
            back_began: false,
            again: Vec::new(),
            done_by_hand: Vec::new(),
            gain,
            human_actions: 0,
            desk: Desk::default(),
            withheld: None,
            withheld_ms: None,
            waits_for: None,
            runs: 0,
            differs: differs::Differs::default(),
            last_verdict: None,
            exposed_at_stop: None,
            stop_text: None,
            stop_code: None,
            stop_scope: None,
            stop_ln_e: None,
            start_failures: start_failures::StartFailures::default(),
            debts: debts::Debts::default(),
            faulted: 0,
            done_since: None,
            check_at: 0,
            wrong_since: None,
            always_wrong: BTreeSet::new(),
            unseen: BTreeMap::new(),
            moved_ms: now_ms,
            shut_since: None,
            denied: None,
            rest_is_left: false,
            sight: receipts::Sight::default(),
            domains,
            one_way: None,
            knows_way_back: false,
            rehearsal: if setup.change.settings.rehearse_way_back {
                rehearsal::Rehearsal::Wanted
            } else {
                rehearsal::Rehearsal::Over
            },
            surroundings: surroundings::Surroundings::new(setup.plan.strata().len(), history),
            pace: pace::Pace::default(),
            traffic: traffic::Traffic::default(),
            past,
            aside: aside::Aside::default(),
            healing: heal::Healing::default(),
            taken_over: taken_over::TakenOver::default(),
            cut: cut::Cut::default(),
            interference: interference::Interference::default(),
            around: Seen::default(),
            tracks: vec![tracks::Track::new(); setup.change.fleet.app_count() as usize],
            setup,
        };
        for lane in (0..machine.lanes.len())
            .filter(|&lane| machine.lanes[lane].opened > 0)
            .collect::<Vec<_>>()
        {
            machine.promise_slice(lane, 0);
        }
        Ok(machine)
    }

    /// The name of a target.
    pub(crate) fn name(&self, target: TargetIndex) -> &str {
        news::name_of(&self.setup.change.fleet, &self.births, target)
    }

    /// The number of a target.
    fn index(&self, name: &str) -> Option<TargetIndex> {
        // A name that left and came back means the one that lives. While the planned one lives, none is born of its name.
        let planned = self.setup.change.fleet.index_of(name);
        if planned.is_some_and(|planned| self.targets[planned.0 as usize].alive) {
            return planned;
        }
        self.births_by_name.get(name).copied().or(planned)
    }

    fn app_of(&self, target: TargetIndex) -> AppIndex {
        AppIndex(self.tables.strata_apps[self.targets[target.0 as usize].stratum as usize])
    }

    /// The latest time it knows of.
    pub(crate) const fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Where the last news ended.
    pub(crate) const fn cursor(&self) -> u64 {
        self.cursor
    }

    /// The number and the end of the next interval of metrics.
    pub(crate) const fn next_interval(&self) -> (u64, u64) {
        (
            self.next_interval,
            self.setup.header.began_ms + (self.next_interval + 1) * self.setup.change.settings.interval_ms,
        )
    }

    /// The targets that the machine believes to have an attempt under way, with its direction.
    pub(crate) fn under_way(&self) -> impl Iterator<Item = Start> {
        (0u32..).zip(&self.targets).filter_map(|(at, target)| {
            target.in_flight.map(|direction| Start {
                target: TargetIndex(at),
                direction,
            })
        })
    }

    /// How it ended, if it has.
    pub(crate) const fn ended(&self) -> Option<Outcome> {
        match self.course {
            Course::Ended(outcome) => Some(outcome),
            Course::Forward | Course::Back => None,
        }
    }

    /// The time is `now_ms`: decides everything that can be decided.
    pub(crate) fn tick(&mut self, now_ms: u64) -> Commands {
        let mut commands = self.decide(now_ms);
        self.tell_people(&mut commands);
        commands
    }

    fn decide(&mut self, now_ms: u64) -> Commands {
        // A controller that was away saw nothing move; that is no stall.
        if now_ms.saturating_sub(self.now_ms) > AWAY_MS {
            self.moved_ms = now_ms;
            self.shut_since = None;
        }
        self.comes_to(now_ms);
        let mut commands = Commands::default();
        if self.ended().is_none() {
            self.pass_levels();
            self.give_up_orders();
            self.pass_leases();
        }
        match self.course {
            Course::Ended(_) => return commands,
            _ if self.sight.silent_ms.is_some() && self.frozen.is_none() && !self.aborting => {
                if self.sight.asks_elsewhere() {
                    commands.check = Some(self.elsewhere());
                } else {
                    self.wait_for_sight(&mut commands);
                }
                return commands;
            }
            _ if self.aborting => {
                let since = *self.abort_heard_ms.get_or_insert(self.now_ms);
                // Attempts that may not act never end; the platform's own deadlines look after them then.
                let patience = self.setup.change.settings.attempt_estimate_ms.saturating_mul(3);
                let rests = self.let_all_in(&mut commands) && self.in_flight == 0;
                self.record.note_heals(&commands.heals);
                if rests || self.is_frozen_since_before(since) || self.now_ms >= since.saturating_add(patience) {
                    self.owe_those_under_way();
                    self.end(Outcome::Aborted, &mut commands);
                }
                return commands;
            }
            Course::Forward => {
                self.check_stop(&mut commands);
                if self.course == Course::Forward && self.frozen.is_none() {
                    self.advance_aside(&mut commands);
                    self.advance_cut(&mut commands);
                    if !self.stop_pending() {
                        self.advance_healing(&mut commands);
                    }
                }
                let goes_on =
                    self.course == Course::Forward && !self.is_halted() && !self.stop_pending() && !self.aside.waits();
                if goes_on && self.has_begun(&mut commands) && self.is_young(&mut commands) {
                    self.watch_checks(&mut commands);
                    self.advance_classes();
                    self.give_back_those_of_regions();
                    self.advance_lanes(&mut commands);
                    self.check_done(&mut commands);
                }
            }
            Course::Back => {}
        }
        if self.course == Course::Back && self.frozen.is_none() {
            self.advance_cut(&mut commands);
            self.advance_rollback(&mut commands);
        }
        if self.frozen.is_none() && self.ended().is_none() {
            self.take_steps(&mut commands);
        }
        self.check_stall(&mut commands);
        self.check_patience(&mut commands);
        self.sample();
        self.record.note_starts(&commands.starts);
        self.record.note_heals(&commands.heals);
        commands
    }

    /// Takes an input from a journal. What follows from it outside has followed already.
    pub(crate) fn take(&mut self, input: &Input) -> Result<(), RunError> {
        match input {
            Input::Begin(..) | Input::Made(_) => {}
            Input::Decided(then) => drop(self.decided_again(then)),
            Input::End(outcome) => self.ended_as(*outcome),
            Input::Tick(now_ms) => drop(self.tick(*now_ms)),
            Input::Interval(interval) => {
                self.interval(interval)
                    .map_err(|error| RunError::Journal(error.to_string()))?;
            }
            Input::News { changes, cursor } => drop(self.news(changes, *cursor)),
            Input::Order(order) => self.order(order),
            Input::Refused { order, why } => self.refused(order, why),
            Input::WayBack(known) => self.know_way_back(known),
            Input::Seen { wrong, unseen } => drop(self.seen(wrong, unseen)),
            Input::Permit(withheld) => self.permit(withheld.clone()),
            Input::Domains { unseen } => self.domains_seen(unseen),
            Input::Around(text) => self.look_around(Seen::read(text).map_err(RunError::Journal)?),
            // What was ordered follows from the inputs before.
            Input::Heal { .. } => {}
            Input::Healer { term } => self.heals_in(*term),
            Input::Named { stratum, host, target } => {
                let (stratum, host) = (*stratum, *host);
                self.named(Unnamed { stratum, host }, target.as_deref());
            }
            Input::Healed { id, outcome, at_ms } => self.healed(*id, *outcome, *at_ms),
            Input::Resumed {
                person_patience_ms,
                clock,
            } => {
                if let Some(anew) = clock {
                    self.clock_is_anew(*anew);
                }
                self.forget_healer();
                self.forget_taken_over();
                self.person_patience_ms = *person_patience_ms;
                self.desk.again();
                self.runs = self.runs.saturating_add(1);
                self.say_what_differs();
                self.reopen();
            }
        }
        Ok(())
    }

    fn decide_text(&mut self, code: &'static str, text: String, otherwise: Option<String>) {
        self.record.decide(self.now_ms, code, text, otherwise);
    }

    /// What was decided since the last call.
    pub(crate) fn take_decided(&mut self) -> Option<Decided> {
        let (fleet, births) = (&self.setup.change.fleet, &self.births);
        self.record
            .take_decided(self.now_ms, |target| news::name_of(fleet, births, target))
    }

    pub(crate) const fn setup(&self) -> &Setup {
        &self.setup
    }
}
