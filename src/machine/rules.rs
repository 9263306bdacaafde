//! What rules are asked about a lane.

use unattended_batching::AppIndex;
use unattended_defense::{Code, Counts, Decision, Direction, Guard, Need, Request, Scope, Verdict};

use crate::{Around, declared};

use super::tables::Tables;
use super::{Machine, Setup};

impl Machine {
    /// What these rules say of a lane now.
    pub(super) fn ask_rules(&self, guard: &Guard, app: AppIndex, direction: Direction, need: Need) -> Decision {
        self.ask_rules_of(guard, app, direction, need, 1)
    }

    /// The same of so many targets at once. How many of the change are on their way altogether is not said: the lanes that are asked about at
    /// one look would each be given the whole of what is left.
    pub(super) fn ask_rules_of(
        &self,
        guard: &Guard,
        app: AppIndex,
        direction: Direction,
        need: Need,
        batch: u32,
    ) -> Decision {
        let counts = Counts {
            batch: Some(u64::from(batch)),
            scope: Some(u64::from(self.setup.change.fleet.app_size(app))),
            in_flight: None,
        };
        let asked = Asked {
            direction,
            need,
            counts: if self.decides_by(7) { counts } else { Counts::default() },
            around: &self.around.around,
            unix_ms: self.unix_ms(self.now_ms),
        };
        self.with_checks(asked.of(&self.setup, &self.tables, guard, app), direction)
    }

    /// Whether the packs know no start within their horizon: a window that ends is no beginning where another holds it then, and so for ever.
    /// Of what checks hold, and of applications that are asked about by part, they do not say when they may start.
    pub(super) fn never_opens(&self, app: AppIndex, decision: &Decision) -> bool {
        if !self.decides_by(7) || decision.next_feasible.is_some() || !self.around.findings.is_empty() {
            return false;
        }
        // Beside what wants a person, or cannot tell, no start is known either, and that is no window's doing.
        let is_of_time = |verdict: Verdict| verdict.may_start() || matches!(verdict, Verdict::Hold { until: Some(_) });
        if !decision.findings.iter().all(|finding| is_of_time(finding.verdict)) {
            return false;
        }
        let asked = Asked {
            direction: Direction::Forward,
            need: self.wave(),
            counts: Counts::default(),
            around: &self.around.around,
            unix_ms: self.unix_ms(self.now_ms),
        };
        let whole = asked.as_whole(&self.setup, &self.tables, &self.setup.guard, app);
        !is_mixed(&whole, self.tables.app_parts[app.0 as usize].len()) && whole.next_feasible.is_none()
    }

    pub(super) fn scope_of(&self, app: AppIndex) -> Scope {
        scope_of(&self.setup, &self.tables, app)
    }
}

/// What is asked about every lane alike.
pub(crate) struct Asked<'a> {
    pub(crate) direction: Direction,
    pub(crate) need: Need,
    pub(crate) counts: Counts,
    pub(crate) around: &'a Around,
    pub(crate) unix_ms: i64,
}

impl Asked<'_> {
    /// What the rules say of an application. It is asked about as a whole; where change windows are open for a part of it only, of each
    /// part, since a whole that is neither in nor out is something that no rule can tell. The strictest answer holds: a lane moves as one.
    pub(crate) fn of(&self, setup: &Setup, tables: &Tables, guard: &Guard, app: AppIndex) -> Decision {
        let whole = self.as_whole(setup, tables, guard, app);
        let parts = &tables.app_parts[app.0 as usize];
        if !is_mixed(&whole, parts.len()) {
            return whole;
        }
        let fleet = &setup.change.fleet;
        let decided = parts.iter().map(|labels| {
            let scope = labels
                .iter()
                .fold(Scope::app(fleet.app_name(app)), |scope, &(key, value)| {
                    scope.label(fleet.keys()[key.0 as usize].as_str(), fleet.value_name(key, value))
                });
            guard.decide(&self.about(setup, scope), self.unix_ms)
        });
        let joined = decided.reduce(|all, part| all.join(part.findings, part.shadow));
        joined.unwrap_or(whole)
    }

    fn as_whole(&self, setup: &Setup, tables: &Tables, guard: &Guard, app: AppIndex) -> Decision {
        guard.decide(&self.about(setup, scope_of(setup, tables, app)), self.unix_ms)
    }

    fn about(&self, setup: &Setup, scope: Scope) -> Request {
        let decisions = setup.header.decisions;
        let mut request = Request::pre(declared::as_rules_see(&setup.change, decisions, self.direction))
            .scope(scope)
            .facts(self.around.facts.clone())
            .started(setup.header.began_unix_ms)
            .need(self.need)
            .counts(self.counts);
        request.actor = declared::autopilot(decisions);
        match &self.around.others {
            Some(others) => request.others(others),
            None => request,
        }
    }
}

/// Whether an application of so many parts has to be asked about by part.
fn is_mixed(whole: &Decision, parts: usize) -> bool {
    let mut findings = whole.findings.iter().chain(&whole.shadow);
    parts > 1 && findings.any(|finding| finding.code == Code::LabelMixed)
}

/// A lane as rules know it: its application, with every label that any of its targets has.
fn scope_of(setup: &Setup, tables: &Tables, app: AppIndex) -> Scope {
    let scope = Scope::app(setup.change.fleet.app_name(app));
    let labels = tables.app_labels[app.0 as usize].iter().cloned();
    labels.fold(scope, |scope, (key, value)| scope.label(key, value))
}
