//! What rules are asked about a lane.

use unattended_batching::AppIndex;
use unattended_defense::{Code, Decision, Direction, Guard, Need, Request, Scope};

use crate::Around;

use super::tables::Tables;
use super::{Machine, Setup};

impl Machine {
    /// What these rules say of a lane now.
    pub(super) fn ask_rules(&self, guard: &Guard, app: AppIndex, direction: Direction, need: Need) -> Decision {
        let asked = Asked {
            direction,
            need,
            around: &self.around.around,
            unix_ms: self.unix_ms(self.now_ms),
        };
        self.with_checks(asked.of(&self.setup, &self.tables, guard, app), direction)
    }

    pub(super) fn scope_of(&self, app: AppIndex) -> Scope {
        scope_of(&self.setup, &self.tables, app)
    }
}

/// What is asked about every lane alike.
pub(crate) struct Asked<'a> {
    pub(crate) direction: Direction,
    pub(crate) need: Need,
    pub(crate) around: &'a Around,
    pub(crate) unix_ms: i64,
}

impl Asked<'_> {
    /// What the rules say of an application. It is asked about as a whole; where change windows are open for a part of it only, of each
    /// part, since a whole that is neither in nor out is something that no rule can tell. The strictest answer holds: a lane moves as one.
    pub(crate) fn of(&self, setup: &Setup, tables: &Tables, guard: &Guard, app: AppIndex) -> Decision {
        let whole = guard.decide(&self.about(setup, scope_of(setup, tables, app)), self.unix_ms);
        let parts = &tables.app_parts[app.0 as usize];
        let mixed = |decision: &Decision| {
            let mut findings = decision.findings.iter().chain(&decision.shadow);
            findings.any(|finding| finding.code == Code::LabelMixed)
        };
        if parts.len() < 2 || !mixed(&whole) {
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

    fn about(&self, setup: &Setup, scope: Scope) -> Request {
        let request = Request::pre(setup.change.id.as_str())
            .scope(scope)
            .facts(self.around.facts.clone())
            .direction(self.direction)
            .started(setup.header.began_unix_ms)
            .need(self.need);
        match &self.around.others {
            Some(others) => request.others(others),
            None => request,
        }
    }
}

/// A lane as rules know it: its application, with every label that any of its targets has.
fn scope_of(setup: &Setup, tables: &Tables, app: AppIndex) -> Scope {
    let scope = Scope::app(setup.change.fleet.app_name(app));
    let labels = tables.app_labels[app.0 as usize].iter().cloned();
    labels.fold(scope, |scope, (key, value)| scope.label(key, value))
}
