//! Built-in rules: pure conditions with parameters from a pack.
//!
//! A rule is one file of this directory: a struct with its parameters, which derives `Deserialize`, implements
//! [`BuiltIn`] and [`Rule`], and has one line in [`KINDS`]. The decoder of packs reads `id`, `kind`, `select`, `owner`,
//! `reason` and `unknown` of every rule by itself; all other fields are the parameters of the kind. A field a kind
//! does not know, one it lacks, or one of another type becomes an error with its place and a remedy.

mod age;
pub(crate) mod answer;
mod approvals;
mod complete;
mod condition;
mod conflict;
mod imposed;
mod incidents;
mod limit;
mod person;
mod soak;
mod version;
mod versions;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::DeserializeOwned;

pub use answer::Answer;
use answer::Judged;
pub(crate) use condition::{Declared, Type, Types};
pub use imposed::{Becomes, Imposed, Terms};

use crate::finding::Code;
use crate::pack::{Misfit, Node};
use crate::request::{Phase, Request, Step};
use crate::scope::Labels;
use crate::selector::{Match, Selector};
use crate::verdict::Verdict;

/// Every kind of rule a pack may name, sorted by name.
pub(crate) const KINDS: &[Kind] = &[
    Kind::of::<age::Age>(),
    Kind::of::<approvals::Approvals>(),
    Kind::of::<complete::Complete>(),
    condition::KIND,
    Kind::of::<conflict::Conflict>(),
    Kind::of::<incidents::Incidents>(),
    Kind::of::<limit::Limit>(),
    Kind::of::<person::Person>(),
    Kind::of::<soak::Soak>(),
    Kind::of::<versions::Versions>(),
];

/// The word of the one kind whose parameters are a tree.
pub(crate) const CONDITION: &str = condition::KIND.name;

/// What a rule is asked.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Ask<'r> {
    /// The question.
    pub request: &'r Request,
    /// When it is asked, in unix milliseconds.
    pub now_ms: i64,
    /// Scope and facts together.
    pub(crate) labels: &'r Labels<'r>,
    /// What the rule selects.
    pub(crate) selector: &'r Selector,
}

impl<'r> Ask<'r> {
    /// The values of a label, of the scope or looked up; empty when nobody said.
    pub fn values(&self, key: &str) -> impl Iterator<Item = &'r str> {
        self.labels.of_key(key).iter().map(|(_, value)| *value)
    }

    /// Whether the rule selects a scope, or may.
    pub(crate) fn may_select(&self, labels: &Labels<'_>) -> bool {
        self.selector.matches(labels) != Match::No
    }
}

/// A pure condition: the same question, the same answer; no clock, no I/O, no state.
///
/// An embedder's own is imposed with [`Guard::with_rules`](crate::Guard::with_rules). A panic in it is
/// [`Unknown`](crate::Verdict::Unknown), never a pass.
pub trait Rule: Debug + Send + Sync {
    /// Every reason against going now; none, and it allows. What it cannot tell it answers as
    /// [`Answer::unknown`]; what that becomes, whoever imposes the rule says.
    fn judge(&self, ask: &Ask<'_>) -> Vec<Answer>;

    /// The label keys it reads, so that one nobody has is noticed.
    fn label_keys(&self) -> Vec<&str> {
        Vec::new()
    }
}

/// What a rule found, or that it cannot tell.
fn judged(judged: Judged) -> Vec<Answer> {
    judged.unwrap_or_else(|unknown| vec![unknown])
}

/// What happens when something is exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Over {
    /// It waits.
    #[default]
    Hold,
    /// A person decides.
    NeedsPerson,
    /// It does not happen.
    Deny,
}

impl Over {
    fn answer(self, code: Code, until: Option<i64>) -> Answer {
        match self {
            Self::Hold => Answer::hold(code, until),
            Self::NeedsPerson => Answer::needs_person(code),
            Self::Deny => Answer::deny(code),
        }
    }
}

/// A rule that packs can name, made from its fields there.
pub(crate) trait BuiltIn: Rule + DeserializeOwned + 'static {
    /// The word after `kind:`.
    const KIND: &'static str;

    /// What the types of the fields cannot say: ranges, and fields that exclude each other.
    ///
    /// # Errors
    /// The field that is wrong, why, and what to write instead.
    fn check(&self) -> Result<(), Wrong> {
        Ok(())
    }

    /// The only phase it ever speaks in, if there is one.
    const SPEAKS_IN: Option<Phase> = None;
}

/// A parameter that has the right type and a wrong value.
#[derive(Debug)]
pub(crate) struct Wrong {
    pub(crate) field: &'static str,
    pub(crate) what: String,
    pub(crate) fix: String,
}

/// One kind of rule: its word, and how it is made from the fields of a pack.
#[derive(Debug)]
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    /// The only phase it ever speaks in, if there is one.
    pub(crate) speaks_in: Option<Phase>,
    decode: Decode,
}

/// Makes a rule from a mapping of its parameters, given the facts that its pack declares.
type Decode = fn(&Node, &Types) -> Result<Arc<dyn Rule>, Vec<Misfit>>;

impl Kind {
    const fn of<R: BuiltIn>() -> Self {
        Self {
            name: R::KIND,
            speaks_in: R::SPEAKS_IN,
            decode: decode::<R>,
        }
    }

    /// The kind with this word.
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        KINDS.iter().find(|kind| kind.name == name)
    }

    /// Makes a rule from a mapping of its parameters, given the facts that its pack declares.
    pub(crate) fn decode(&self, parameters: &Node, types: &Types) -> Result<Arc<dyn Rule>, Vec<Misfit>> {
        (self.decode)(parameters, types)
    }
}

fn decode<R: BuiltIn>(parameters: &Node, _: &Types) -> Result<Arc<dyn Rule>, Vec<Misfit>> {
    let rule = R::deserialize(parameters).map_err(|misfit| vec![misfit])?;
    match rule.check() {
        Ok(()) => Ok(Arc::new(rule)),
        Err(wrong) => Err(vec![Misfit::new(
            parameters.place_of(wrong.field),
            wrong.what,
            wrong.fix,
        )]),
    }
}

/// What a rule's `Unknown` becomes, by the tier of what it was asked about.
#[derive(Debug, Clone)]
pub(crate) struct OnUnknown {
    /// For tiers not named below.
    pub(crate) otherwise: Verdict,
    pub(crate) by_tier: BTreeMap<String, Verdict>,
}

impl Default for OnUnknown {
    fn default() -> Self {
        Self {
            otherwise: Verdict::NeedsPerson,
            by_tier: BTreeMap::new(),
        }
    }
}

impl OnUnknown {
    /// The strictest over the tiers of a scope; a tier nobody named may be any.
    pub(crate) fn verdict<'t>(&self, tiers: impl Iterator<Item = &'t str>) -> Verdict {
        let known: Option<Verdict> = tiers
            .map(|tier| self.by_tier.get(tier).copied().unwrap_or(self.otherwise))
            .reduce(Verdict::join);
        known.unwrap_or_else(|| self.by_tier.values().copied().fold(self.otherwise, Verdict::join))
    }
}

/// A rule as its pack imposes it.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// The position of its pack in the guard.
    pub(crate) pack: usize,
    pub(crate) id: String,
    /// The scope of the pack and the selection of the rule, together.
    pub(crate) selector: Selector,
    pub(crate) owner: String,
    pub(crate) reason: String,
    pub(crate) unknown: OnUnknown,
    /// The phase it is asked in; absent: both.
    pub(crate) phase: Option<Phase>,
    /// The step it is asked about; absent: each.
    pub(crate) step: Option<Step>,
    /// It speaks, and does not count.
    pub(crate) shadow: bool,
    pub(crate) rule: Arc<dyn Rule>,
}
