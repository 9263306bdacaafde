//! Leases: who changes what, told to everybody before the first effect.
//!
//! A change takes a lease on each key of its scope, in the order of the keys, and acts when it has all. Whoever waits, waits
//! for a key beyond all it holds, so no ring of waiting can close. Before it acts it asks for all of them once more, since the
//! first may have ended while it waited for the last. A lease ends unless renewed, and has a fence: a number
//! that only grows. Whatever is acted upon refuses a smaller fence than the largest it has seen, so one who slept through
//! the end of its lease cannot act on.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::finding::Code;
use crate::rule::Answer;
use crate::scope::{APP, Labels, Scope};

/// The key that every scope has: what names no application may be any.
const ANY: &str = "";

/// One lease in force.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Lease {
    /// What is leased: an application, or the empty text for all of them.
    pub key: String,
    /// The change that has it.
    pub holder: String,
    /// The part of the key it is for.
    pub scope: Scope,
    /// Grows with each lease that is given out.
    pub fence: u64,
    /// When it ends unless renewed, in unix milliseconds; exclusive.
    pub until_ms: i64,
}

/// The answer to one who asks for a key.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "it is given or it is not")]
#[must_use]
pub enum Taken {
    /// It is theirs; with this fence.
    Given(u64),
    /// Somebody else has it.
    Held(Lease),
}

/// All leases of one place. It is plain data: keep it where writes are atomic (compare and swap), and nowhere twice.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Leases {
    last_fence: u64,
    /// By key, then by holder.
    leases: BTreeMap<String, BTreeMap<String, Lease>>,
}

impl Leases {
    /// No leases.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The keys of a scope, in the order in which they must be taken: first the one everybody shares, then its
    /// applications. Scopes that may share a target have a key in common.
    #[must_use]
    pub fn keys(scope: &Scope) -> Vec<String> {
        let apps: BTreeSet<&str> = scope.values(APP).filter(|app| !app.is_empty()).collect();
        std::iter::once(ANY).chain(apps).map(str::to_owned).collect()
    }

    /// Asks for one key, until an instant. Who has it already for the same scope gets it renewed, with the same fence; for
    /// another scope it is another lease with a later fence, in place of the one before.
    pub fn take(&mut self, key: &str, holder: &str, scope: &Scope, now_ms: i64, until_ms: i64) -> Taken {
        if let Some(other) = self.in_the_way(key, holder, scope, now_ms) {
            return Taken::Held(other.clone());
        }
        let at_key = self.leases.entry(key.to_owned()).or_default();
        at_key.retain(|_, lease| lease.until_ms > now_ms);
        if let Some(own) = at_key.get_mut(holder)
            && own.scope == *scope
        {
            own.until_ms = own.until_ms.max(until_ms);
            return Taken::Given(own.fence);
        }
        self.last_fence += 1;
        let fence = self.last_fence;
        let lease = Lease {
            key: key.to_owned(),
            holder: holder.to_owned(),
            scope: scope.clone(),
            fence,
            until_ms,
        };
        at_key.insert(holder.to_owned(), lease);
        Taken::Given(fence)
    }

    /// The lease of somebody else at a key that may share a target with a scope.
    fn in_the_way(&self, key: &str, holder: &str, scope: &Scope, now_ms: i64) -> Option<&Lease> {
        // At the key everybody shares, only those meet of whom one names no application.
        let names_none = |scope: &Scope| scope.values(APP).all(str::is_empty);
        self.leases.get(key)?.values().find(|lease| {
            lease.holder != holder
                && lease.until_ms > now_ms
                && Labels::of(scope).overlaps(&Labels::of(&lease.scope))
                && (key != ANY || names_none(scope) || names_none(&lease.scope))
        })
    }

    /// Asks for all keys of a scope in their order, as far as they are free. `Ok` has the largest of the fences: give it to
    /// whatever is acted upon. It is larger than that of anybody
    /// before who held what this scope overlaps. What was taken before somebody else's key was met stays taken until it ends
    /// or is released. Who has another scope loses it to the new one, and keeps it where the new one is not free; two who
    /// want each other's wait until one of their leases ends, so it is better to release first.
    ///
    /// # Errors
    /// Who holds the first key that is not free, as an answer for a decision.
    pub fn take_all(&mut self, holder: &str, scope: &Scope, now_ms: i64, until_ms: i64) -> Result<u64, Answer> {
        let refused = |key: &str, lease: &Lease| {
            Answer::hold(Code::ConflictLease, Some(lease.until_ms))
                .with("key", if key == ANY { "all applications" } else { key })
                .with("holder", &lease.holder)
                .with("fence", lease.fence)
        };
        let keys = Self::keys(scope);
        // Half of a new scope in place of half of an old one would be neither.
        let has_another = self
            .in_force(now_ms)
            .any(|lease| lease.holder == holder && lease.scope != *scope);
        if has_another
            && let Some((key, lease)) = keys
                .iter()
                .find_map(|key| Some((key, self.in_the_way(key, holder, scope, now_ms)?)))
        {
            return Err(refused(key, lease));
        }
        let mut largest = 0;
        for key in keys {
            match self.take(&key, holder, scope, now_ms, until_ms) {
                Taken::Given(fence) => largest = largest.max(fence),
                Taken::Held(lease) => return Err(refused(&key, &lease)),
            }
        }
        Ok(largest)
    }

    /// Whether a holder has all keys of a scope at an instant.
    #[must_use]
    pub fn holds(&self, holder: &str, scope: &Scope, now_ms: i64) -> bool {
        Self::keys(scope).iter().all(|key| {
            self.leases
                .get(key)
                .and_then(|at_key| at_key.get(holder))
                .is_some_and(|lease| lease.scope == *scope && lease.until_ms > now_ms)
        })
    }

    /// Gives back everything a holder has.
    pub fn release(&mut self, holder: &str) {
        self.leases.retain(|_, at_key| {
            at_key.remove(holder);
            !at_key.is_empty()
        });
    }

    /// The leases in force, by key and holder.
    pub fn in_force(&self, now_ms: i64) -> impl Iterator<Item = &Lease> {
        self.leases
            .values()
            .flat_map(BTreeMap::values)
            .filter(move |lease| lease.until_ms > now_ms)
    }
}

/// What is acted upon (a target, say), as far as fences go: it lets nobody act with a smaller one than it has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fence(u64);

impl Fence {
    /// Whether one with this fence may act; from then on nobody with a smaller one may.
    pub fn pass(&mut self, fence: u64) -> bool {
        if fence < self.0 {
            return false;
        }
        self.0 = fence;
        true
    }
}
