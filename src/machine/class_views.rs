//! The classes as pages show them.

use crate::ClassView;

use super::Machine;
use super::classes::Fresh;

impl Machine {
    pub(super) fn class_views(&self) -> Vec<ClassView> {
        let classes = (0u32..).zip(self.tables.classes.iter().zip(&self.classes));
        classes
            .map(|(at, (class, state))| {
                let safety = self.judge.safety(at);
                let through = class.next_stage(state.stage).is_none();
                ClassView {
                    name: class.name.clone(),
                    targets: u64::from(class.planned),
                    exposed: u64::from(state.exposed),
                    may_expose: class
                        .cumulative
                        .get(usize::from(state.stage))
                        .copied()
                        .map_or(0, u64::from),
                    state: match state.fresh {
                        _ if self.aside.has_class(at) => "set aside",
                        _ if through => "through",
                        _ if self.is_suspected(at) => "suspected",
                        Fresh::Waiting => "waiting",
                        Fresh::Warming(_) => "warming up",
                        Fresh::Counting(_) if safety.satisfied => "safe",
                        Fresh::Counting(_) => "gathering",
                    }
                    .to_owned(),
                    evidence: libm::exp(safety.ln_s.min(700.0)),
                    needed: libm::exp(safety.needed),
                    requests: safety.requests_seen,
                    borrowed: state.silent,
                }
            })
            .collect()
    }

    /// Real evidence against the release in this class alone keeps it from growing.
    pub(super) fn is_suspected(&self, class: u32) -> bool {
        self.judge.class_ln_e(class) >= libm::log(self.setup.change.settings.caution_e)
            && !self.is_stale(|judge| judge.class_settled_ln_e(class))
    }
}
