//! Somebody who heals in the simulated world, keeps every order, and cannot do what a test says.

use unattended::selfheal::{HealError, HealOrder, Healer, NodeId};

use super::*;

/// What the healer can do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Can {
    pub(crate) isolate: bool,
    pub(crate) readmit: bool,
    pub(crate) restart: bool,
    pub(crate) replace: bool,
}

impl Can {
    pub(crate) const ALL: Self = Self {
        isolate: true,
        readmit: true,
        restart: true,
        replace: true,
    };
    pub(crate) const NOTHING: Self = Self {
        isolate: false,
        readmit: false,
        restart: false,
        replace: false,
    };
}

/// One order that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Given {
    pub(crate) at_ms: u64,
    pub(crate) term: u64,
    pub(crate) id: u64,
    pub(crate) act: &'static str,
    pub(crate) target: String,
    pub(crate) done: Result<(), HealError>,
}

type Which = fn(&TargetId) -> bool;
type AfterEach = Box<dyn FnMut(&Given) + Send>;

pub(crate) struct Ward {
    sim: Arc<Simulated>,
    can: Can,
    unknown: Mutex<Option<Which>>,
    names: Mutex<BTreeMap<NodeId, String>>,
    given: Mutex<Vec<Given>>,
    after: Mutex<Option<AfterEach>>,
    hangs: Mutex<Vec<&'static str>>,
}

impl Ward {
    pub(crate) fn new(sim: Arc<Simulated>, can: Can) -> Arc<Self> {
        Arc::new(Self {
            sim,
            can,
            unknown: Mutex::new(None),
            names: Mutex::default(),
            given: Mutex::default(),
            after: Mutex::new(None),
            hangs: Mutex::default(),
        })
    }

    /// The number of a target, which is its place in the world.
    pub(crate) fn node(&self, target: &TargetId) -> Option<NodeId> {
        if self.unknown.lock().is_some_and(|unknown| unknown(target)) {
            return None;
        }
        let node = self.sim.node(target)?;
        self.names.lock().insert(node, target.to_string());
        Some(node)
    }

    /// These have no number.
    pub(crate) fn has_no_number_for(&self, unknown: Which) {
        *self.unknown.lock() = Some(unknown);
    }

    pub(crate) fn given(&self) -> Vec<Given> {
        self.given.lock().clone()
    }

    /// Calls `after` behind each order.
    pub(crate) fn after_each(&self, after: impl FnMut(&Given) + Send + 'static) {
        *self.after.lock() = Some(Box::new(after));
    }

    /// Orders of these kinds are never answered from now on.
    pub(crate) fn hangs_at(&self, acts: &[&'static str]) {
        *self.hangs.lock() = acts.to_vec();
    }

    async fn may_hang(&self, act: &str) {
        let hangs = self.hangs.lock().contains(&act);
        if hangs {
            std::future::pending::<()>().await;
        }
    }

    fn keep(
        &self,
        order: &HealOrder,
        node: NodeId,
        act: &'static str,
        done: Result<(), HealError>,
    ) -> Result<(), HealError> {
        let given = Given {
            at_ms: self.sim.clock().now(),
            term: order.term,
            id: order.id,
            act,
            target: self.names.lock().get(&node).cloned().unwrap_or_default(),
            done: done.clone(),
        };
        if let Some(after) = &mut *self.after.lock() {
            after(&given);
        }
        self.given.lock().push(given);
        done
    }
}

#[async_trait]
impl Healer for Ward {
    async fn isolate(&self, order: &HealOrder, node: NodeId, lease_ms: u64) -> Result<(), HealError> {
        self.may_hang("isolate").await;
        let done = match self.can.isolate {
            true => self.sim.isolate(order, node, lease_ms).await,
            false => Err(HealError::Unsupported),
        };
        self.keep(order, node, "isolate", done)
    }

    async fn readmit(&self, order: &HealOrder, node: NodeId) -> Result<(), HealError> {
        self.may_hang("readmit").await;
        let done = match self.can.readmit {
            true => self.sim.readmit(order, node).await,
            false => Err(HealError::Unsupported),
        };
        self.keep(order, node, "readmit", done)
    }

    async fn restart(&self, order: &HealOrder, node: NodeId) -> Result<(), HealError> {
        let done = match self.can.restart {
            true => self.sim.restart(order, node).await,
            false => Err(HealError::Unsupported),
        };
        self.keep(order, node, "restart", done)
    }

    async fn replace(&self, order: &HealOrder, node: NodeId) -> Result<(), HealError> {
        let done = match self.can.replace {
            true => Healer::replace(&*self.sim, order, node).await,
            false => Err(HealError::Unsupported),
        };
        self.keep(order, node, "replace", done)
    }
}
