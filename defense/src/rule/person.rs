//! `kind: person`: somebody decides each time.

use serde::Deserialize;

use super::{Answer, Ask, BuiltIn, Rule};
use crate::finding::Code;

/// No change of the scope goes without a person. It has no parameters.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Person {}

impl BuiltIn for Person {
    const KIND: &'static str = "person";
}

impl Rule for Person {
    fn judge(&self, _: &Ask<'_>) -> Vec<Answer> {
        vec![Answer::needs_person(Code::RulePerson)]
    }
}
