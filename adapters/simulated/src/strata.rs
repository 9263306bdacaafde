//! Who is measured: per stratum the sums that rows are drawn from, kept up with every change so that a reading costs
//! strata and not targets.

use crate::population::{Arm, Kind, Slot, at, count};

/// Hosts and their requests per second; whole numbers, so that what is taken away leaves no trace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sum {
    pub(crate) hosts: u32,
    pub(crate) rate_micro: u64,
}

impl Sum {
    fn add(&mut self, rate_micro: u32) {
        self.hosts += 1;
        self.rate_micro += u64::from(rate_micro);
    }

    fn sub(&mut self, rate_micro: u32) {
        self.hosts = self.hosts.saturating_sub(1);
        self.rate_micro = self.rate_micro.saturating_sub(u64::from(rate_micro));
    }

    /// Requests per second.
    pub(crate) fn rate(self) -> f64 {
        crate::draw::to_f64(self.rate_micro) * 1e-6
    }
}

/// One stratum. Application and zone are those of its first member: a stratum's targets are alike in both.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stratum {
    pub(crate) used: bool,
    pub(crate) app: u32,
    pub(crate) zone: u32,
    pub(crate) domain: u32,
    /// All members, whatever they run.
    pub(crate) members: Sum,
    pub(crate) control: Sum,
    pub(crate) clean: Sum,
    pub(crate) faulty: Sum,
    /// Members on the new version before their warm-up.
    pub(crate) fresh: Vec<u32>,
    /// Places that are or were control members; a reader sorts and filters.
    pub(crate) controls: Vec<u32>,
}

impl Stratum {
    /// Members on the new version.
    pub(crate) fn new_hosts(&self) -> u64 {
        u64::from(self.clean.hosts) + u64::from(self.faulty.hosts) + self.fresh.len() as u64
    }

    fn has_canary(&self) -> bool {
        self.clean.hosts + self.faulty.hosts > 0 || !self.fresh.is_empty()
    }
}

/// An instance that went down unasked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crash {
    pub(crate) at_ms: u64,
    pub(crate) stratum: u32,
    pub(crate) canary: bool,
    pub(crate) fresh: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Strata {
    pub(crate) list: Vec<Stratum>,
    /// A bit for each stratum that has members on the new version: a reading passes over the others 64 at a time.
    active: Vec<u64>,
    /// Control members in all strata.
    pub(crate) control_hosts: u64,
    /// In order of time; old ones are thrown out.
    pub(crate) crashes: std::collections::VecDeque<Crash>,
}

impl Strata {
    /// The stratum, made if it is new.
    pub(crate) fn get_mut(&mut self, stratum: u32) -> &mut Stratum {
        if at(stratum) >= self.list.len() {
            self.list.resize_with(at(stratum) + 1, Stratum::default);
            self.active.resize(self.list.len().div_ceil(64), 0);
        }
        &mut self.list[at(stratum)]
    }

    /// The strata that have members on the new version, in rising order.
    pub(crate) fn active(&self) -> impl Iterator<Item = u32> {
        self.active.iter().enumerate().flat_map(|(i, bits)| {
            let mut left = *bits;
            std::iter::from_fn(move || {
                let bit = left.trailing_zeros();
                // Takes the lowest bit away; where none is left there is none to take.
                left &= left.wrapping_sub(1);
                (bit < 64).then(|| count(i * 64) + bit)
            })
        })
    }

    /// Takes a place out of the sums it is in.
    pub(crate) fn leave(&mut self, number: u32, slot: &mut Slot) {
        let arm = std::mem::replace(&mut slot.arm, Arm::Nowhere);
        if arm == Arm::Nowhere {
            return;
        }
        let stratum = &mut self.list[at(slot.stratum)];
        match arm {
            Arm::Nowhere => {}
            Arm::Control => {
                stratum.control.sub(slot.rate_micro);
                self.control_hosts = self.control_hosts.saturating_sub(1);
            }
            Arm::Clean => stratum.clean.sub(slot.rate_micro),
            Arm::Faulty => stratum.faulty.sub(slot.rate_micro),
            Arm::Fresh => {
                if let Some(i) = stratum.fresh.iter().position(|n| *n == number) {
                    stratum.fresh.swap_remove(i);
                }
            }
        }
        if arm != Arm::Control && !stratum.has_canary() {
            self.active[at(slot.stratum) / 64] &= !(1 << (slot.stratum % 64));
        }
    }

    /// Puts a place into the sums of `arm`.
    pub(crate) fn enter(&mut self, number: u32, slot: &mut Slot, arm: Arm) {
        slot.arm = arm;
        if arm == Arm::Nowhere {
            return;
        }
        let stratum = &mut self.list[at(slot.stratum)];
        if arm != Arm::Control {
            self.active[at(slot.stratum) / 64] |= 1 << (slot.stratum % 64);
        }
        match arm {
            Arm::Nowhere => {}
            Arm::Control => {
                stratum.control.add(slot.rate_micro);
                self.control_hosts += 1;
            }
            Arm::Clean => stratum.clean.add(slot.rate_micro),
            Arm::Faulty => stratum.faulty.add(slot.rate_micro),
            Arm::Fresh => stratum.fresh.push(number),
        }
    }

    /// Makes a place a member of a stratum; it must have left its sums.
    pub(crate) fn join(&mut self, number: u32, slot: &mut Slot, stratum: u32, control: bool, kind: &Kind) {
        self.part(slot);
        let group = self.get_mut(stratum);
        if !group.used {
            group.used = true;
            group.app = kind.app_index;
            group.zone = kind.zone;
            group.domain = kind.domain;
        }
        group.members.add(slot.rate_micro);
        if control {
            group.controls.push(number);
        }
        slot.stratum = stratum;
        slot.control = control;
    }

    /// Makes a place no member; it must have left its sums.
    pub(crate) fn part(&mut self, slot: &mut Slot) {
        if slot.stratum != crate::population::NO_STRATUM {
            self.list[at(slot.stratum)].members.sub(slot.rate_micro);
        }
        slot.stratum = crate::population::NO_STRATUM;
        slot.control = false;
    }
}
