//! Jobs that wait for their turn: first come first served, within the bounds of their groups.
use std::collections::{BTreeSet, HashMap, VecDeque};

use crate::hash::Fixed;
use crate::{AttemptId, GroupName, Job};

/// The number of a group, from 0 without holes. 0 has the jobs without a group.
pub(super) type GroupNumber = u32;

/// All that wait.
#[derive(Debug)]
pub(super) struct Waiting {
    groups: Vec<OneGroup>,
    numbers: HashMap<GroupName, GroupNumber, Fixed>,
    /// The first of each group that has room, by the order in which they were submitted.
    next: BTreeSet<(AttemptId, GroupNumber)>,
    /// Those that must begin by a time.
    by_time: BTreeSet<(u64, AttemptId, GroupNumber)>,
    len: usize,
    max_per_group: usize,
    paused: bool,
}

#[derive(Debug, Default)]
struct OneGroup {
    name: Option<GroupName>,
    /// Ascending.
    jobs: VecDeque<(AttemptId, Job)>,
    in_flight: usize,
    paused: bool,
    /// The entry of this group in `next`.
    listed: Option<AttemptId>,
}

impl Waiting {
    pub(super) fn new(max_per_group: usize) -> Self {
        Self {
            groups: vec![OneGroup::default()],
            numbers: HashMap::default(),
            next: BTreeSet::new(),
            by_time: BTreeSet::new(),
            len: 0,
            max_per_group,
            paused: false,
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) fn number_of(&mut self, group: Option<&GroupName>) -> GroupNumber {
        let Some(name) = group else { return 0 };
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let number = GroupNumber::try_from(self.groups.len()).unwrap_or(0);
        self.groups.push(OneGroup {
            name: Some(name.clone()),
            ..OneGroup::default()
        });
        self.numbers.insert(name.clone(), number);
        number
    }

    pub(super) fn name_of(&self, number: GroupNumber) -> Option<GroupName> {
        self.groups.get(usize::try_from(number).ok()?)?.name.clone()
    }

    pub(super) fn push(&mut self, id: AttemptId, job: Job) -> GroupNumber {
        let number = self.number_of(job.group.as_ref());
        if let Some(by_ms) = job.start_by_ms {
            self.by_time.insert((by_ms, id, number));
        }
        let jobs = &mut self.group(number).jobs;
        let place = jobs.partition_point(|(other, _)| *other < id);
        jobs.insert(place, (id, job));
        self.len += 1;
        self.list(number);
        number
    }

    /// The next that may begin; it counts as under way from here on.
    pub(super) fn pop(&mut self) -> Option<(AttemptId, Job, GroupNumber)> {
        if self.paused {
            return None;
        }
        let (_, number) = *self.next.first()?;
        let (id, job) = self.group(number).jobs.pop_front()?;
        self.forget(&job, id, number);
        self.began(number);
        Some((id, job, number))
    }

    /// Whether one may begin.
    pub(super) fn is_ready(&self) -> bool {
        !self.paused && !self.next.is_empty()
    }

    /// One more of this group is under way.
    pub(super) fn began(&mut self, number: GroupNumber) {
        self.group(number).in_flight += 1;
        self.list(number);
    }

    /// One of this group has ended.
    pub(super) fn ended(&mut self, number: GroupNumber) {
        let group = self.group(number);
        group.in_flight = group.in_flight.saturating_sub(1);
        self.list(number);
    }

    pub(super) fn take(&mut self, id: AttemptId, number: GroupNumber) -> Option<Job> {
        let group = self.group(number);
        let place = group.jobs.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        let (_, job) = group.jobs.remove(place)?;
        self.forget(&job, id, number);
        self.list(number);
        Some(job)
    }

    /// The next one whose time to begin is over.
    pub(super) fn take_late(&mut self, now: u64) -> Option<(AttemptId, Job)> {
        let (by_ms, id, number) = *self.by_time.first()?;
        if by_ms >= now {
            return None;
        }
        self.take(id, number).map(|job| (id, job))
    }

    /// When the next one is late.
    pub(super) fn next_late_ms(&self) -> Option<u64> {
        self.by_time.first().map(|(by_ms, ..)| by_ms.saturating_add(1))
    }

    pub(super) fn pause(&mut self, group: Option<&GroupName>, paused: bool) {
        if group.is_none() {
            self.paused = paused;
            return;
        }
        let number = self.number_of(group);
        self.group(number).paused = paused;
        self.list(number);
    }

    fn forget(&mut self, job: &Job, id: AttemptId, number: GroupNumber) {
        self.len -= 1;
        if let Some(by_ms) = job.start_by_ms {
            self.by_time.remove(&(by_ms, id, number));
        }
    }

    /// Brings `next` up to date for one group.
    fn list(&mut self, number: GroupNumber) {
        let most = if number == 0 { usize::MAX } else { self.max_per_group };
        let group = self.group(number);
        let room = group.in_flight < most && !group.paused;
        let first = group.jobs.front().map(|(id, _)| *id).filter(|_| room);
        let before = std::mem::replace(&mut group.listed, first);
        if before == first {
            return;
        }
        if let Some(id) = before {
            self.next.remove(&(id, number));
        }
        if let Some(id) = first {
            self.next.insert((id, number));
        }
    }

    fn group(&mut self, number: GroupNumber) -> &mut OneGroup {
        // Numbers come from `number_of` alone, and groups are never removed.
        &mut self.groups[usize::try_from(number).unwrap_or(0)]
    }
}
