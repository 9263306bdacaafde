//! Error signatures: which are new with the change, which were there before.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::evidence::{compares, ln_mixture, row_evidence};
use crate::{Counts, SignatureCounts};

/// Most signatures that are followed; later ones are not.
const KEPT: usize = 256;

/// What is known of one signature.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// It was seen before the change.
    pub(crate) before: bool,
    pub(crate) canary: Counts,
    pub(crate) control: Counts,
}

/// Where a signature stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Origin {
    /// Nobody had it before the change, and the control does not have it: the first thing to look at.
    New,
    /// The control has it too, or it was there before, but the canary has more of it.
    Worse,
    /// It was there before the change or is on the control, and the canary has no more of it: whatever the change does, it
    /// is not this. Evidence compares with the control, so it needs no other treatment.
    PreExisting,
}

/// A signature with its counts since the change began.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Signature {
    /// What it is called.
    pub name: String,
    /// Where it stands.
    pub origin: Origin,
    /// On the new version.
    pub canary: Counts,
    /// In the control cohort.
    pub control: Counts,
    /// ln e-value that the canary has more of it.
    pub ln_e: f64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Signatures(pub(crate) BTreeMap<String, Seen>);

/// ln 10: from here on the canary has more of a signature than the control.
const LN_WORSE: f64 = core::f64::consts::LN_10;

impl Signatures {
    pub(crate) fn known_before<'a>(names: impl Iterator<Item = &'a String>) -> Self {
        let mut all = Self::default();
        for name in names {
            all.entry(name).before = true;
        }
        all
    }

    fn entry(&mut self, name: &str) -> &mut Seen {
        self.0.entry(name.to_owned()).or_default()
    }

    /// Adds the counts of an interval. Names beyond the 256th are left out, so that nobody's messages fill the memory.
    pub(crate) fn learn(&mut self, counts: &[SignatureCounts]) {
        for one in counts {
            if self.0.len() >= KEPT && !self.0.contains_key(&one.signature) {
                continue;
            }
            let seen = self.entry(&one.signature);
            seen.canary.add(one.canary);
            seen.control.add(one.control);
        }
    }

    /// Those the canary has, new ones first, then by evidence.
    pub(crate) fn report(&self) -> Vec<Signature> {
        let on_canary = self.0.iter().filter(|(_, seen)| seen.canary.bad > 0);
        let mut all: Vec<Signature> = on_canary
            .map(|(name, seen)| {
                let ln_e = if compares(seen.canary, seen.control) {
                    ln_mixture(&row_evidence(seen.canary, seen.control, 1.0).row)
                } else {
                    0.0
                };
                let origin = match seen.before || seen.control.bad > 0 {
                    false => Origin::New,
                    true if ln_e >= LN_WORSE => Origin::Worse,
                    true => Origin::PreExisting,
                };
                Signature {
                    name: name.clone(),
                    origin,
                    canary: seen.canary,
                    control: seen.control,
                    ln_e,
                }
            })
            .collect();
        all.sort_by(|a, b| (a.origin as u8).cmp(&(b.origin as u8)).then(b.ln_e.total_cmp(&a.ln_e)));
        all
    }
}
