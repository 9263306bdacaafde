//! `kind: condition`: an expression over typed facts, checked when it is loaded.

#[cfg(feature = "cel")]
mod cel;
mod decode;
mod facts;
mod tree;
#[cfg(feature = "cel")]
mod typed;

use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) use facts::{Declared, Type, Types};

use super::{Answer, Ask, Kind, Rule};
use crate::finding::Code;
use crate::pack::{Misfit, Node};
use crate::verdict::Verdict;
use tree::{Condition, Truth};

/// The kind in the table of kinds.
pub(super) const KIND: Kind = Kind {
    name: "condition",
    speaks_in: None,
    decode,
};

/// If the condition holds the rule answers `then`; if it does not, the rule allows; if nobody can tell, `Unknown`.
#[derive(Debug)]
struct Conditional {
    condition: Condition,
    then: Verdict,
}

fn decode(parameters: &Node, types: &Types) -> Result<Arc<dyn Rule>, Vec<Misfit>> {
    let (condition, then) = decode::rule(parameters, types)?;
    Ok(Arc::new(Conditional { condition, then }))
}

impl Rule for Conditional {
    fn judge(&self, ask: &Ask<'_>) -> Vec<Answer> {
        let truth = self.condition.judge(ask);
        let (code, verdict) = match truth {
            Truth::False => return Vec::new(),
            Truth::True => (Code::ConditionMet, self.then),
            Truth::Unknown(reason) => (Code::ConditionUnknown, Verdict::Unknown(reason)),
        };
        vec![Answer {
            code,
            params: BTreeMap::from([("because".to_owned(), self.condition.explain(ask, truth))]),
            verdict,
            until: None,
            evidence: self.condition.evidence(ask),
        }]
    }

    fn label_keys(&self) -> Vec<&str> {
        self.condition.label_keys()
    }
}
