//! What is done about single targets: out of discovery and back, started anew, replaced; with a fault at every boundary.

use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;
use unattended_selfheal::{HealError, HealOrder, Healer, NodeId};
use unattended_upgrade::{AttemptId, EffectKey, Generation, TargetId};

use crate::Simulated;
use crate::draw::{Draw, Purpose};
use crate::events::{Event, What};
use crate::fleet::{Fleet, Start};
use crate::log::{Entry, EntryKind};
use crate::platform::{Delivery, deliver};
use crate::population::at;

/// One thing that is done to one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heal {
    Isolate {
        lease_ms: u64,
    },
    Readmit,
    Restart,
    /// Another in its place.
    Renew,
}

/// Orders are older and newer by term, then by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct OrderId {
    term: u64,
    id: u64,
}

impl OrderId {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (term, id) = text.split_once('/')?;
        Some(Self {
            term: term.parse().ok()?,
            id: id.parse().ok()?,
        })
    }
}

impl fmt::Display for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.term, self.id)
    }
}

/// What was done to places, and which stand on bad machines.
#[derive(Debug, Default)]
pub(crate) struct Healing {
    /// The last order that had its effect on a place.
    last: BTreeMap<u32, OrderId>,
    /// Until when places are out of discovery.
    isolated: BTreeMap<u32, u64>,
    /// With the level that their counts are told apart by: of a machine's week before, so another machine has none.
    pub(crate) bad: BTreeMap<u32, u8>,
    /// Orders that are on their way still, by a number.
    late: BTreeMap<u32, (OrderId, Heal)>,
    lates: u32,
}

impl Healing {
    pub(crate) fn new(bad: BTreeMap<u32, u8>) -> Self {
        Self { bad, ..Self::default() }
    }

    /// The occupant of a place is no more.
    pub(crate) fn forget(&mut self, number: u32) {
        self.last.remove(&number);
        self.isolated.remove(&number);
        self.bad.remove(&number);
    }

    /// In a few words each, for fingerprints; nothing where nobody heals and nothing is bad.
    pub(crate) fn told(&self) -> impl Iterator<Item = String> {
        let last = self.last.iter().map(|told| format!("{told:?}"));
        let isolated = self.isolated.iter().map(|told| format!("{told:?}"));
        last.chain(isolated).chain(self.bad.keys().map(u32::to_string))
    }
}

/// A node is the place of a target: [`Simulated::node`] says which. An isolation takes it out of discovery, and its traffic away, until
/// the lease ends. Orders are refused that are older than the last that had its effect on the node, and one that had it does nothing
/// again. Deliveries are lost, not reported, doubled or late as those to the platform are; what is late comes after its failure was
/// told, where nothing newer has come before it. The way in and the version of a target are none of its matter.
#[async_trait]
impl Healer for Simulated {
    async fn isolate(&self, order: &HealOrder, node: NodeId, lease_ms: u64) -> Result<(), HealError> {
        self.heal(order, node, Heal::Isolate { lease_ms })
    }

    async fn readmit(&self, order: &HealOrder, node: NodeId) -> Result<(), HealError> {
        self.heal(order, node, Heal::Readmit)
    }

    async fn restart(&self, order: &HealOrder, node: NodeId) -> Result<(), HealError> {
        self.heal(order, node, Heal::Restart)
    }

    async fn replace(&self, order: &HealOrder, node: NodeId) -> Result<(), HealError> {
        self.heal(order, node, Heal::Renew)
    }
}

impl Simulated {
    /// The number by which a target is healed, and which its counts carry as their host. `None` where it does not live.
    pub fn node(&self, target: &TargetId) -> Option<NodeId> {
        self.present().population.find(target.as_str()).map(NodeId)
    }

    /// The targets that stand on a bad machine, by name.
    pub fn bad_nodes(&self) -> Vec<TargetId> {
        let fleet = self.present();
        let name = |number: &u32| TargetId::new(fleet.population.name(*number));
        fleet.healing.bad.keys().map(name).collect()
    }

    /// The targets that are out of discovery, by name.
    pub fn isolated(&self) -> Vec<TargetId> {
        let fleet = self.present();
        let out = fleet
            .healing
            .isolated
            .keys()
            .filter(|number| fleet.is_isolated(**number));
        out.map(|number| TargetId::new(fleet.population.name(*number)))
            .collect()
    }

    fn heal(&self, order: &HealOrder, node: NodeId, heal: Heal) -> Result<(), HealError> {
        let id = OrderId {
            term: order.term,
            id: order.id,
        };
        let mut fleet = self.present();
        let number = node.0;
        if at(number) >= fleet.population.slots.len() {
            return Err(HealError::Failed(format!("there is no {node}")));
        }
        let failed = |text: &str| Err(HealError::Failed(text.to_owned()));
        let domain = fleet.population.kind_of(fleet.slot(number)).domain;
        if fleet.cut_off() == Some(domain) {
            return failed("no answer (its domain is cut off)");
        }
        match fleet.healing.last.get(&number) {
            Some(last) if *last == id => return Ok(()),
            Some(last) if *last > id => return Err(HealError::Fenced),
            _ => {}
        }
        // No attempt has this key: it stands in for the draw of the fault.
        let key = EffectKey {
            attempt: AttemptId(id.id),
            generation: Generation(id.term),
            step: u8::MAX,
            ordinal: 0,
        };
        let delivery = deliver(&fleet, number, &key);
        match delivery {
            Delivery::Lost => return failed("no answer (the order was lost)"),
            Delivery::Late { after_ms } => {
                fleet.put_off(number, after_ms, id, heal);
                return failed("no answer (the order is late)");
            }
            Delivery::Good | Delivery::Unreported | Delivery::Twice => {}
        }
        let times = if delivery == Delivery::Twice { 2 } else { 1 };
        for _ in 0..times {
            fleet.heal(number, id, heal).map_err(HealError::Failed)?;
        }
        if delivery == Delivery::Unreported {
            return failed("no answer (the order was carried out)");
        }
        Ok(())
    }
}

impl Fleet {
    pub(crate) fn is_isolated(&self, number: u32) -> bool {
        self.healing
            .isolated
            .get(&number)
            .is_some_and(|&until| self.now < until)
    }

    fn put_off(&mut self, number: u32, after_ms: u64, order: OrderId, heal: Heal) {
        self.healing.lates += 1;
        let which = self.healing.lates;
        self.healing.late.insert(which, (order, heal));
        self.events.push(Event {
            at_ms: self.now + after_ms,
            what: What::LateOrder,
            slot: number,
            instance: which,
        });
    }

    pub(crate) fn late_order(&mut self, number: u32, which: u32) {
        if let Some((order, heal)) = self.healing.late.remove(&which) {
            // Whoever ordered it was told that it failed; nobody is told more.
            let _ = self.heal(number, order, heal);
        }
    }

    /// Does it, now, and durably, unless it or something newer was done: the log has it before the world.
    pub(crate) fn heal(&mut self, number: u32, order: OrderId, heal: Heal) -> Result<(), String> {
        if self.healing.last.get(&number).is_some_and(|last| *last >= order) {
            return Ok(());
        }
        let (effect, lease_ms) = match heal {
            Heal::Isolate { lease_ms } => (EntryKind::Isolate, Some(lease_ms)),
            Heal::Readmit => (EntryKind::Readmit, None),
            Heal::Restart => (EntryKind::Restart, None),
            Heal::Renew => (EntryKind::Renew, None),
        };
        self.write(&Entry {
            heal: Some(order.to_string()),
            lease_ms,
            ..Entry::new(self.now, self.population.name(number), effect)
        });
        if let Some(reason) = &self.log_failure {
            return Err(reason.clone());
        }
        self.healing.last.insert(number, order);
        let version = self.slot(number).version;
        match heal {
            Heal::Isolate { lease_ms } => {
                let at_ms = self.now.saturating_add(lease_ms);
                self.healing.isolated.insert(number, at_ms);
                self.events.push(Event {
                    at_ms,
                    what: What::LeaseEnds,
                    slot: number,
                    instance: 0,
                });
                self.place(number);
            }
            Heal::Readmit => {
                self.healing.isolated.remove(&number);
                self.place(number);
            }
            Heal::Restart => {
                let keys = [u64::from(number), u64::from(self.slot(number).instance)];
                let cured = Draw::new(self.seed, Purpose::BadNode, &keys).chance(self.world.bad_node_restart_cures);
                if cured {
                    self.healing.bad.remove(&number);
                }
                self.start_again(number, version);
            }
            Heal::Renew => {
                self.healing.bad.remove(&number);
                self.start(number, version, Start::Cold);
            }
        }
        Ok(())
    }
}
