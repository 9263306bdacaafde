use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use unattended_batching::{AppIndex, Plan};

use super::{Limits, QueueError, Shared};
use crate::{Actor, ActorKind, Change};

/// Names shown of what two changes share.
const SHOWN: usize = 3;
/// The first batch of an emergency is at most this part of it.
const FIRST_PART: u64 = 10;

/// What the queue knows of a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Ticket {
    /// The change's name.
    pub change: String,
    /// Its [kind](Change::kind).
    pub kind: String,
    /// Who wants it.
    pub author: Actor,
    /// The applications that it touches.
    pub applications: BTreeSet<String>,
    /// How many targets.
    pub targets: u64,
    /// The larger, the earlier. Default 0.
    pub priority: i32,
    /// What makes it an emergency, if it is one.
    pub emergency: Option<Emergency>,
    /// The least time that its plan takes, in milliseconds, if nothing holds it.
    pub least_ms: u64,
    /// Targets of its first batch.
    pub first_batch: u64,
    /// It tries its own way back before it begins in earnest.
    pub rehearses: bool,
    /// The names of its targets as the first eight bytes of their SHA-256, ascending. Two that agree by chance cost a wait.
    names: Vec<u64>,
}

/// What burns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Emergency {
    /// What burns, in its author's words: an incident, an advisory.
    pub why: String,
    /// A forward change that is under way in its scope is ended where it stands, attempts under way first, unless it was stopped.
    /// Otherwise its end is waited for.
    pub ends_others: bool,
}

impl Emergency {
    /// An emergency that waits for whoever is under way.
    pub fn new(why: impl Into<String>) -> Self {
        Self {
            why: why.into(),
            ends_others: false,
        }
    }

    /// Ends forward changes that are under way in its scope.
    #[must_use]
    pub const fn ending_others(mut self) -> Self {
        self.ends_others = true;
        self
    }
}

impl Ticket {
    /// The ticket of a change, which is planned for it.
    ///
    /// # Errors
    /// [`QueueError::Plan`] where it cannot be planned.
    pub fn of(change: &Change) -> Result<Self, QueueError> {
        let fleet = &change.fleet;
        let plan = Plan::build(fleet, &change.policy, change.seed).map_err(|error| QueueError::Plan {
            change: change.id.clone(),
            error,
        })?;
        let settings = &change.settings;
        let rest = settings.warm_up_ms + settings.bake_ms;
        let batches = u64::from(plan.batch_count());
        let soak_ms = if batches > 1 { settings.soak_ms } else { 0 };
        let mut names: Vec<u64> = fleet.targets().map(|target| short_digest(fleet.id(target))).collect();
        names.sort_unstable();
        Ok(Self {
            change: change.id.clone(),
            kind: change.kind.clone(),
            author: change.author.clone(),
            applications: (0..fleet.app_count())
                .map(|app| fleet.app_name(AppIndex(app)).to_owned())
                .collect(),
            targets: fleet.len() as u64,
            priority: 0,
            emergency: None,
            // Stages that pass one after the other; a soak takes the place of the bake of its stage.
            least_ms: batches
                .saturating_mul(rest)
                .saturating_add(soak_ms.saturating_sub(settings.bake_ms)),
            first_batch: u64::from(plan.batch(0).size),
            rehearses: settings.rehearse_way_back,
            names,
        })
    }

    /// The larger, the earlier.
    #[must_use]
    pub const fn priority(mut self, priority: i32) -> Self {
        self.priority = priority;
        self
    }

    /// It mends something that burns.
    #[must_use]
    pub fn emergency(mut self, emergency: Emergency) -> Self {
        self.emergency = Some(emergency);
        self
    }

    /// What two changes share, if they are in conflict.
    pub(super) fn shares(&self, other: &Self) -> Option<Shared> {
        let mut applications = self.applications.intersection(&other.applications);
        let first: Vec<String> = applications.by_ref().take(SHOWN).cloned().collect();
        let more = applications.count();
        let (mut targets, mut a, mut b) = (0, self.names.as_slice(), other.names.as_slice());
        while let ([x, rest_a @ ..], [y, rest_b @ ..]) = (a, b) {
            targets += u64::from(x == y);
            if x <= y {
                a = rest_a;
            }
            if y <= x {
                b = rest_b;
            }
        }
        (!first.is_empty() || targets > 0).then(|| Shared {
            applications: (first.len() + more) as u64,
            first,
            targets,
        })
    }

    /// Whether the emergency is one that the lane is for.
    pub(super) fn check(&self, limits: &Limits) -> Result<(), QueueError> {
        let Some(emergency) = &self.emergency else {
            return Ok(());
        };
        let widest = limits.widest_emergency();
        let why = if emergency.why.trim().is_empty() {
            "it does not say what burns: name the incident".to_owned()
        } else if self.author.kind != ActorKind::Person {
            format!(
                "its author, {}, is a program: a person says that something burns",
                self.author
            )
        } else if self.targets > widest {
            format!(
                "it touches {} targets, and the lane is for {widest} at most: cut it down to where it burns, and submit the rest as \
                 an ordinary change of high priority",
                self.targets
            )
        } else if !self.rehearses {
            "it does not try its way back first: set `rehearse_way_back`".to_owned()
        } else if self.first_batch > self.targets.div_ceil(FIRST_PART) {
            format!(
                "its first batch has {} of {} targets, and may have a tenth: let its ramp begin smaller",
                self.first_batch, self.targets
            )
        } else {
            return Ok(());
        };
        let change = self.change.clone();
        Err(QueueError::Emergency { change, why })
    }

    /// Whether a change that was opened is the one that was submitted: births may have joined it, applications not.
    pub(super) fn check_opened(&self, opened: &Self, limits: &Limits) -> Result<(), QueueError> {
        let differs = |why: String| {
            Err(QueueError::Other {
                change: self.change.clone(),
                why,
            })
        };
        if opened.change != self.change {
            return differs(format!("it calls itself {}", opened.change));
        }
        if let Some(app) = opened.applications.difference(&self.applications).next() {
            return differs(format!("it touches {app}, which its ticket does not name"));
        }
        let again = Self {
            emergency: self.emergency.clone(),
            ..opened.clone()
        };
        again.check(limits)
    }
}

fn short_digest(name: &str) -> u64 {
    let digest: [u8; 32] = Sha256::digest(name.as_bytes()).into();
    let [a, b, c, d, e, f, g, h, ..] = digest;
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}
