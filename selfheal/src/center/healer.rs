//! The platform's side of healing.

use std::sync::Arc;

use async_trait::async_trait;

use super::event::{HealAction, HealOrder, HealOutcome};
use super::ids::{NodeId, ZoneId};

/// What a platform can do about a bad node. Everything is optional: what is missing is
/// [`HealError::Unsupported`], and the center does without.
///
/// Each method must be idempotent by `order.id` within `order.term`, and refuse terms older than the newest it has seen:
/// an order may arrive twice or late.
#[async_trait]
pub trait Healer: Send + Sync {
    /// Takes a node out of discovery for `lease_ms`, after which it is back by itself.
    async fn isolate(&self, order: &HealOrder, node: NodeId, lease_ms: u64) -> Result<(), HealError> {
        let _ = (order, node, lease_ms);
        Err(HealError::Unsupported)
    }

    /// Puts a node back into discovery.
    async fn readmit(&self, order: &HealOrder, node: NodeId) -> Result<(), HealError> {
        let _ = (order, node);
        Err(HealError::Unsupported)
    }

    /// Starts a node anew where it is.
    async fn restart(&self, order: &HealOrder, node: NodeId) -> Result<(), HealError> {
        let _ = (order, node);
        Err(HealError::Unsupported)
    }

    /// Starts another in its place.
    async fn replace(&self, order: &HealOrder, node: NodeId) -> Result<(), HealError> {
        let _ = (order, node);
        Err(HealError::Unsupported)
    }

    /// Moves traffic and work out of a zone.
    async fn drain_zone(&self, order: &HealOrder, zone: ZoneId) -> Result<(), HealError> {
        let _ = (order, zone);
        Err(HealError::Unsupported)
    }
}

#[async_trait]
impl<H: Healer + ?Sized> Healer for Arc<H> {
    async fn isolate(&self, order: &HealOrder, node: NodeId, lease_ms: u64) -> Result<(), HealError> {
        (**self).isolate(order, node, lease_ms).await
    }

    async fn readmit(&self, order: &HealOrder, node: NodeId) -> Result<(), HealError> {
        (**self).readmit(order, node).await
    }

    async fn restart(&self, order: &HealOrder, node: NodeId) -> Result<(), HealError> {
        (**self).restart(order, node).await
    }

    async fn replace(&self, order: &HealOrder, node: NodeId) -> Result<(), HealError> {
        (**self).replace(order, node).await
    }

    async fn drain_zone(&self, order: &HealOrder, zone: ZoneId) -> Result<(), HealError> {
        (**self).drain_zone(order, zone).await
    }
}

/// Why an order was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HealError {
    /// This platform cannot.
    #[error("the platform cannot do this")]
    Unsupported,
    /// The order is of a center that is not in charge any more.
    #[error("the order is of a center whose term is over")]
    Fenced,
    /// It failed, or nobody knows.
    #[error("{0}")]
    Failed(String),
}

/// Carries out one order: the whole of the driver. Give the outcome back as [`Event::Healed`](super::Event::Healed).
pub async fn carry_out(healer: &dyn Healer, order: &HealOrder) -> HealOutcome {
    let done = match order.action {
        HealAction::Isolate { node, lease_ms } => healer.isolate(order, node, lease_ms).await,
        HealAction::Readmit { node } => healer.readmit(order, node).await,
        HealAction::Restart { node } => healer.restart(order, node).await,
        HealAction::Replace { node } => healer.replace(order, node).await,
        HealAction::DrainZone { zone } => healer.drain_zone(order, zone).await,
    };
    match done {
        Ok(()) => HealOutcome::Done,
        Err(HealError::Unsupported) => HealOutcome::Unsupported,
        Err(HealError::Fenced | HealError::Failed(_)) => HealOutcome::Failed,
    }
}
