//! Replanning: what an earlier plan has said stays said.

use super::build::{Drawn, held_of};
use super::check::{Origin, check};
use super::{Plan, PlanError};
use crate::fleet::Fleet;
use crate::index::{AppIndex, narrow};
use crate::layout::Cohort;
use crate::names::Names;
use crate::policy::Policy;
use crate::ramp::MOST_BATCHES;
use crate::strata::Draw;

/// What an earlier plan said: which target is in which batch, and how many batches there are.
#[derive(Clone, Debug, Default)]
pub struct Previous {
    ids: Names,
    batch_of: Vec<u16>,
    last_batch: u16,
    frozen: u16,
}

/// An earlier plan that cannot have been one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PreviousError {
    /// One target in two batches, or twice in one.
    #[error("the previous plan has target `{id}` twice, in batch {first} and in batch {second}; a plan has it once")]
    Twice {
        /// The target.
        id: String,
        /// Where it stood first.
        first: u16,
        /// Where it stands again.
        second: u16,
    },
    /// More batches than a plan may have.
    #[error("the previous plan has a batch {batch}; there are at most {most}")]
    TooManyBatches {
        /// The batch.
        batch: u16,
        /// The greatest number there may be.
        most: u32,
    },
    /// More names than 32-bit offsets can address.
    #[error("the previous plan's ids pass 4 GiB or 4 billion")]
    TooLarge,
}

impl Previous {
    /// An earlier plan of a fleet.
    ///
    /// # Errors
    /// [`PreviousError`]; never for a plan and the fleet it was made of.
    pub fn of(plan: &Plan, fleet: &Fleet) -> Result<Self, PreviousError> {
        let batches = (0..plan.batch_count()).flat_map(|batch| plan.targets(batch).iter().map(move |&t| (batch, t)));
        Self::from_batches(batches.map(|(batch, target)| (batch, fleet.id(target))))
    }

    /// An earlier plan as it was written down: the batch and id of every target, in any order.
    ///
    /// # Errors
    /// [`PreviousError`].
    pub fn from_batches<'a>(targets: impl IntoIterator<Item = (u16, &'a str)>) -> Result<Self, PreviousError> {
        let mut previous = Self::default();
        for (batch, id) in targets {
            if u32::from(batch) >= MOST_BATCHES {
                let most = MOST_BATCHES;
                return Err(PreviousError::TooManyBatches { batch, most });
            }
            let (at, new) = previous.ids.insert(id).ok_or(PreviousError::TooLarge)?;
            if !new {
                return Err(PreviousError::Twice {
                    id: id.to_owned(),
                    first: previous.batch_of[at as usize],
                    second: batch,
                });
            }
            previous.batch_of.push(batch);
            previous.last_batch = previous.last_batch.max(batch);
        }
        Ok(previous)
    }

    /// The batches before this one are frozen (they have begun, say): nobody joins them.
    #[must_use]
    pub const fn frozen_before(mut self, batch: u16) -> Self {
        self.frozen = batch;
        self
    }

    /// The batch a target had.
    #[must_use]
    pub fn batch_of(&self, id: &str) -> Option<u16> {
        self.ids.get(id).map(|at| self.batch_of[at as usize])
    }

    /// The first batch that targets may join.
    #[must_use]
    pub fn first_open(&self) -> u16 {
        self.frozen.min(self.last_batch)
    }

    /// The last batch.
    #[must_use]
    pub const fn last_batch(&self) -> u16 {
        self.last_batch
    }

    /// Number of targets up to each batch.
    fn cumulative(&self) -> Vec<u64> {
        let mut sizes = vec![0_u64; usize::from(self.last_batch) + 1];
        for &batch in &self.batch_of {
            sizes[usize::from(batch)] += 1;
        }
        for at in 1..sizes.len() {
            sizes[at] += sizes[at - 1];
        }
        sizes
    }
}

impl Plan {
    /// Plans what has become of a fleet without taking anything back. Every target of the earlier plan that is still there keeps
    /// its batch, frozen or not. A target that came since joins its stratum: the batch of the first of its like after it in
    /// hash order, but no frozen one, and none in which its stratum would get a larger share than it had. A stratum nobody
    /// knew begins with one target and grows from there as the earlier plan did: the first such in the first open batch, and of many no more up to a
    /// batch than its share, so that a wave of new applications makes no batch larger than it was meant to be. What has gone
    /// leaves no hole that anybody would wait for. What [`build`](Self::build) refuses of a fleet is no error here: label keys, classes and pinned
    /// applications of which nobody is left, too many unhealthy, too little capacity. The frontier says who stands still. An earlier plan of nobody is no earlier plan: the fleet is planned anew.
    ///
    /// # Errors
    /// [`PlanError`], before anything is planned.
    pub fn repair(fleet: &Fleet, policy: &Policy, seed: u64, previous: &Previous) -> Result<Self, PlanError> {
        let was: Vec<Option<u16>> = fleet
            .targets()
            .map(|target| previous.batch_of(fleet.id(target)))
            .collect();
        if was.iter().all(Option::is_none) {
            return Self::build(fleet, policy, seed);
        }
        let keys = check(fleet, policy, Origin::Earlier)?;
        let draw = Draw::new(fleet, &keys.spread, seed);
        let last_batch = previous.last_batch;
        let open = previous.first_open();
        let shares = previous.cumulative();
        let mut batches = vec![0_u16; fleet.len()];
        let mut cohorts = Vec::new();
        let mut room = Room::new(fleet, &was, open);
        let kept: Vec<Option<u16>> = draw.seats.iter().map(|seat| was[seat.target.at()]).collect();
        let unknown = (0..narrow(draw.strata.len())).filter(|&stratum| {
            let new = |&seat: &u32| kept[seat as usize].is_none();
            fleet.app_size(draw.strata[stratum as usize].app) > 1 && draw.members_of(stratum).iter().all(new)
        });
        let unknown = unknown.count() as u64;
        let mut begun = 0;
        for stratum in 0..narrow(draw.strata.len()) {
            let members = draw.members_of(stratum);
            let app = draw.strata[stratum as usize].app;
            let known = members.iter().filter(|&&t| kept[t as usize].is_some()).count();
            let joined = members.len() - known;
            // How many of the stratum may be in each batch and those before.
            let allowed = if fleet.app_size(app) == 1 {
                vec![0; usize::from(last_batch) + 1]
            } else if known > 0 {
                shares_of_kept(members, &kept, usize::from(last_batch))
            } else {
                let hold = u64::from(held_of(policy, narrow(joined), fleet.app_size(app)));
                let begin = begin_of(begun, unknown, &shares, usize::from(open));
                begun += 1;
                shares_of_unknown(joined as u64 - hold, &shares, begin)
            };
            place(
                members,
                &kept,
                (open, last_batch),
                allowed,
                app,
                &mut room,
                &mut batches,
            );
            cohorts_of(&draw, stratum, &batches, &mut cohorts);
        }
        Ok(Self::assemble(
            fleet,
            policy,
            &keys,
            seed,
            Drawn {
                draw,
                batches,
                last_batch,
                cohorts,
                uncovered: Vec::new(),
                classes: 0,
                kept: was.iter().map(Option::is_some).collect(),
            },
        ))
    }
}

/// Joined targets that one batch may still take of each application: half of it, as long as it is not the last batch.
struct Room {
    half: Vec<u32>,
    /// Per application and batch from the first open one: targets taken.
    taken: std::collections::BTreeMap<(AppIndex, u16), u32>,
}

impl Room {
    fn new(fleet: &Fleet, kept: &[Option<u16>], open: u16) -> Self {
        let half = (0..fleet.app_count())
            .map(|app| fleet.app_size(AppIndex(app)).div_ceil(2))
            .collect();
        let mut taken = std::collections::BTreeMap::new();
        for (target, &batch) in fleet.targets().zip(kept) {
            if let Some(batch) = batch.filter(|&batch| batch >= open) {
                *taken.entry((fleet.app_of(target), batch)).or_default() += 1;
            }
        }
        Self { half, taken }
    }

    fn take(&mut self, app: AppIndex, batch: u16, whatever: bool) -> bool {
        let taken = self.taken.entry((app, batch)).or_default();
        let free = *taken < self.half[app.at()];
        *taken += u32::from(free || whatever);
        free || whatever
    }
}

/// `ceil(c_b · n / p)`: the share of the stratum that each batch and those before had, of as many as there are now.
fn shares_of_kept(members: &[u32], kept: &[Option<u16>], last: usize) -> Vec<u64> {
    let mut sizes = vec![0_u64; last + 1];
    for batch in members.iter().filter_map(|&t| kept[t as usize]) {
        sizes[usize::from(batch)] += 1;
    }
    let known: u64 = sizes.iter().sum();
    let mut sum = 0;
    for size in &mut sizes {
        sum += *size;
        *size = (sum * members.len() as u64).div_ceil(known);
    }
    sizes
}

/// The batch in which a stratum nobody knew begins, if it is the `number`-th of `all` such: up to each batch as many of them begin as the
/// batch and those before had of the earlier plan, but always one in the first open batch, and nobody as late as in the last.
fn begin_of(number: u64, all: u64, shares: &[u64], open: usize) -> usize {
    let last = shares.len() - 1;
    let due = |batch: usize| u128::from(shares[batch]) * u128::from(all) / u128::from(shares[last].max(1));
    (open..last)
        .find(|&batch| u128::from(number) < due(batch).max(u128::from(batch == open)))
        .unwrap_or_else(|| open.max(last.saturating_sub(1)))
}

/// One in the batch `begin`, then `floor(C_b · m / N)`, so that strata nobody knew together take no more than their share.
fn shares_of_unknown(joined: u64, shares: &[u64], begin: usize) -> Vec<u64> {
    let all = shares[shares.len() - 1].max(1);
    let share = |(at, &size): (usize, &u64)| {
        let due = (u128::from(size) * u128::from(joined) / u128::from(all))
            .try_into()
            .unwrap_or(joined);
        if at < begin {
            0
        } else if at == begin {
            joined.min(1)
        } else if at + 1 == shares.len() {
            u64::MAX
        } else {
            due.max(joined.min(1))
        }
    };
    shares.iter().enumerate().map(share).collect()
}

/// Gives every joined member of a stratum its batch; members, what they keep and their batches are by seat.
fn place(
    members: &[u32],
    kept: &[Option<u16>],
    (open, last): (u16, u16),
    allowed: Vec<u64>,
    app: AppIndex,
    room: &mut Room,
    batches: &mut [u16],
) {
    // The batch of the next kept member in hash order, seen from behind.
    let mut next = last;
    let mut wanted = vec![last; members.len()];
    let mut have = vec![0_u64; allowed.len()];
    for (at, &seat) in members.iter().enumerate().rev() {
        match kept[seat as usize] {
            Some(batch) => {
                next = batch;
                batches[seat as usize] = batch;
                have[usize::from(batch)] += 1;
            }
            None => wanted[at] = next.max(open),
        }
    }
    let known = have.iter().any(|&n| n > 0);
    for at in 1..have.len() {
        have[at] += have[at - 1];
    }
    for (at, &seat) in members.iter().enumerate() {
        if kept[seat as usize].is_some() {
            continue;
        }
        // In every batch from its own on there is one more.
        let mut batch = if known { wanted[at] } else { open };
        while batch < last {
            let full = (usize::from(batch)..usize::from(last)).rfind(|&b| have[b] >= allowed[b]);
            match full {
                Some(full) => batch = u16::try_from(full + 1).unwrap_or(last),
                None if room.take(app, batch, false) => break,
                None => batch += 1,
            }
        }
        if batch == last {
            room.take(app, last, true);
        }
        for count in &mut have[usize::from(batch)..] {
            *count += 1;
        }
        batches[seat as usize] = batch;
    }
}

/// A cohort ends with the last in hash order before anybody of a later batch: whoever is born between them stands before that one, and joins it.
fn cohorts_of(draw: &Draw, stratum: u32, batches: &[u16], cohorts: &mut Vec<Cohort>) {
    let members = draw.members_of(stratum);
    let mut sorted: Vec<u16> = members.iter().map(|&seat| batches[seat as usize]).collect();
    sorted.sort_unstable();
    let mut by_hash: Vec<(u64, u16)> = members
        .iter()
        .map(|&seat| (draw.hash(seat), batches[seat as usize]))
        .collect();
    by_hash.sort_unstable();
    // Up to each place in hash order: the latest batch that anybody has, which only rises.
    let mut ahead = by_hash.into_iter().scan(0, |latest, (hash, batch)| {
        *latest = batch.max(*latest);
        Some((hash, *latest))
    });
    let mut next = ahead.next();
    let mut below = 0;
    for (at, &batch) in sorted.iter().enumerate() {
        if sorted.get(at + 1) == Some(&batch) {
            continue;
        }
        while let Some((hash, latest)) = next
            && latest <= batch
        {
            below = hash.saturating_add(1);
            next = ahead.next();
        }
        cohorts.push(Cohort {
            below,
            stratum,
            cumulative: narrow(at + 1),
            batch,
        });
    }
}
