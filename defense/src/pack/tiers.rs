//! The tiers that packs speak of: one that is misspelt would quietly be another.

use std::collections::BTreeSet;

use super::error::PackError;
use super::fields::Reader;
use super::yaml::At;
use super::{Charter, TIER};
use crate::suggest::nearest;

/// A tier where a file names it.
#[derive(Debug)]
pub(super) struct TierUse {
    pub(super) tier: String,
    pub(super) file: String,
    pub(super) at: At,
    /// Whether the place says that there are applications of this tier, as a selection does; else it says what happens to them.
    pub(super) declares: bool,
}

impl Reader<'_> {
    /// The label of tiers.
    pub(super) fn tier_label(&self) -> &str {
        self.library
            .charter
            .as_ref()
            .map_or(TIER, |charter| charter.tier.as_str())
    }

    /// Notes a tier that the file names.
    pub(super) fn names_tier(&mut self, tier: &str, at: At, declares: bool) {
        self.library.tiers.push(TierUse {
            tier: tier.to_owned(),
            file: self.file.to_owned(),
            at,
            declares,
        });
    }
}

/// One fault for each use of a tier that does not exist.
///
/// A charter that lists the tiers has the last word: what `unknown:` names is one of them, else its applications would get
/// what `otherwise` says, which may be laxer. A selection may name another, which no application has yet, but not one that
/// looks like a slip of the pen: what it selects would never be found. Without such a list the tiers are those that packs
/// select, and nothing in `unknown:` may look like a slip for one of them.
pub(super) fn faults(uses: &[TierUse], charter: Option<&Charter>) -> Vec<PackError> {
    let listed = charter.filter(|charter| !charter.tiers.is_empty());
    let known: BTreeSet<&str> = match listed {
        Some(charter) => charter.tiers.iter().map(String::as_str).collect(),
        None => uses
            .iter()
            .filter(|used| used.declares)
            .map(|used| used.tier.as_str())
            .collect(),
    };
    let fault = |used: &TierUse| {
        let tier = used.tier.as_str();
        let near = nearest(tier, known.iter().copied().filter(|known| is_slip(tier, known)));
        let (what, fix) = match (listed, near) {
            (Some(charter), Some(near)) => (
                format!("{} knows no {} `{tier}`", charter.file, charter.tier),
                format!("did you mean `{near}`?"),
            ),
            (Some(charter), None) if !used.declares => (
                format!("{} knows no {} `{tier}`", charter.file, charter.tier),
                format!("use one of: {}", charter.tiers.join(", ")),
            ),
            (None, Some(near)) => (
                format!("no pack selects the tier `{tier}`"),
                format!("did you mean `{near}`? If there are both, list the tiers in a charter"),
            ),
            _ => return None,
        };
        Some(PackError {
            file: used.file.clone(),
            line: used.at.line,
            column: used.at.column,
            what,
            fix,
        })
    };
    uses.iter()
        .filter(|used| !known.contains(used.tier.as_str()))
        .filter_map(fault)
        .collect()
}

/// Whether one of two near words may be meant for the other: not where they are short, and not where digits alone tell
/// them apart, as in `tier-1` and `tier-2`.
fn is_slip(tier: &str, known: &str) -> bool {
    let letters = |word: &str| -> String { word.chars().filter(|c| !c.is_ascii_digit()).collect() };
    tier.chars().count() > 3 && letters(tier) != letters(known)
}
