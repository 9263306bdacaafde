//! Where a node stands: from the accusation to its return.

use super::bulletin::{Isolation, Scope, SubHealthy};
use super::edges::Calls;
use super::finding::Finding;
use super::ids::NodeId;
use super::mix;
use super::probe::Round;
use super::settings::CenterSettings;
use super::slots::Slots;
use super::weighing::WHOLE;

/// A node that was accused.
#[derive(Debug, Clone)]
pub(crate) struct Standing {
    /// The last accusation.
    pub(crate) finding: Finding,
    /// Calls of a probe that asks about it.
    pub(crate) calls: u32,
    /// How often it fell ill again after it had come back or while it did.
    pub(crate) relapses: u32,
    pub(crate) stage: Stage,
}

#[derive(Debug, Clone)]
pub(crate) enum Stage {
    /// Accused; probes are on their way.
    Verifying(Verifying),
    /// Sub-healthy.
    Weighed(Weighed),
    /// Out of use.
    Isolated(Isolated),
    /// On its way back.
    Returning(Returning),
    /// In use; its relapses are remembered until it has shown for long enough that it is well.
    Watched { since_ms: u64, good: f32 },
    /// Not asked about before then: probes saw it answer, could not be had, or no budget was left.
    Spared { until_ms: u64 },
}

#[derive(Debug, Clone)]
pub(crate) struct Verifying {
    pub(crate) round: Round,
    /// Which round it is, from 1.
    pub(crate) attempt: u32,
    /// Probes of earlier rounds that saw it fail, and that did not.
    pub(crate) ill: u32,
    pub(crate) well: u32,
    /// It was slow before it was accused of failing, and keeps the share that it has.
    pub(crate) eased: Option<Weighed>,
}

/// Slow, in use, and given fewer calls.
#[derive(Debug, Clone)]
pub(crate) struct Weighed {
    pub(crate) weight_permille: u16,
    /// Calls to it since it was last looked at.
    pub(crate) calls: Calls,
    /// It was well then.
    pub(crate) well: bool,
    pub(crate) mending: Mending,
}

#[derive(Debug, Clone)]
pub(crate) struct Isolated {
    pub(crate) scope: Scope,
    /// When probes ask whether it is well.
    pub(crate) until_ms: u64,
    /// How often they found it still ill.
    pub(crate) asked: u32,
    pub(crate) round: Option<Round>,
    pub(crate) mending: Mending,
}

/// What was asked of the platform about a node that stays ill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mending {
    /// Since when something is done about it.
    pub(crate) since_ms: u64,
    pub(crate) restarted: bool,
    pub(crate) replacing: Replacing,
}

impl Mending {
    pub(crate) const fn since(now_ms: u64) -> Self {
        Self {
            since_ms: now_ms,
            restarted: false,
            replacing: Replacing::No,
        }
    }
}

/// How far a replacement is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Replacing {
    No,
    Ordered(u64),
    Done,
    /// The platform cannot, or failed: a person has to.
    Impossible,
}

#[derive(Debug, Clone)]
pub(crate) struct Returning {
    pub(crate) scope: Scope,
    /// The place in [`STAGES`](super::slots::STAGES).
    pub(crate) step: usize,
    pub(crate) since_ms: u64,
    /// Calls to it since the stage began.
    pub(crate) calls: Calls,
    pub(crate) slots: Slots,
    pub(crate) round: Option<Round>,
}

impl Standing {
    /// What is to be published about it.
    pub(crate) const fn isolation(&self, node: NodeId) -> Option<Isolation> {
        match &self.stage {
            Stage::Isolated(isolated) => Some(Isolation {
                node,
                scope: isolated.scope,
                slots: None,
            }),
            Stage::Returning(returning) => Some(Isolation {
                node,
                scope: returning.scope,
                slots: Some(returning.slots),
            }),
            _ => None,
        }
    }

    /// Its share of calls as long as it is in use, in thousandths.
    pub(crate) const fn weight_permille(&self) -> u16 {
        match &self.stage {
            Stage::Verifying(Verifying {
                eased: Some(weighed), ..
            })
            | Stage::Weighed(weighed) => weighed.weight_permille,
            _ => WHOLE,
        }
    }

    /// What is to be published about it, if it is sub-healthy.
    pub(crate) fn sub_healthy(&self, node: NodeId) -> Option<SubHealthy> {
        let weight_permille = self.weight_permille();
        (weight_permille < WHOLE).then_some(SubHealthy { node, weight_permille })
    }

    /// What was asked of the platform about it.
    pub(crate) const fn mending_mut(&mut self) -> Option<&mut Mending> {
        match &mut self.stage {
            Stage::Weighed(weighed) => Some(&mut weighed.mending),
            Stage::Isolated(isolated) => Some(&mut isolated.mending),
            _ => None,
        }
    }

    /// Whether it is out of use, or on its way back.
    pub(crate) const fn out(&self) -> bool {
        matches!(self.stage, Stage::Isolated(_) | Stage::Returning(_))
    }

    /// How long an isolation lasts before probes ask: twice as long with every relapse and every time they found it still
    /// ill, and up to a quarter more, so that what fell ill together does not come back together.
    pub(crate) fn span_ms(&self, settings: &CenterSettings, node: NodeId, asked: u32) -> u64 {
        let doubled = self.relapses.saturating_add(asked).min(32);
        let span = settings
            .isolation_ms
            .saturating_mul(1 << doubled)
            .min(settings.isolation_max_ms);
        let draw = mix::word(settings.seed, u64::from(node.0), u64::from(doubled)) % 1_024;
        (span + span / 4 * draw / 1_024).min(settings.isolation_max_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::center::finding::{Basis, Cause};

    #[test]
    fn spans_double_with_jitter_up_to_the_longest() {
        let settings = CenterSettings::default();
        let node = NodeId(4);
        let standing = |relapses| Standing {
            finding: Finding {
                cause: Cause::Target { node, slow: false },
                evidence: Basis::default(),
            },
            calls: 3,
            relapses,
            stage: Stage::Spared { until_ms: 0 },
        };
        let mut before = 0;
        for relapses in 0..40 {
            let span = standing(relapses).span_ms(&settings, node, 0);
            let floor = (5_000_u64 << relapses.min(20)).min(300_000);
            assert!(
                (floor..=(floor + floor / 4).min(300_000)).contains(&span),
                "{relapses}: {span}"
            );
            assert!(span >= before, "never shorter");
            assert_eq!(
                span,
                standing(0).span_ms(&settings, node, relapses),
                "asking counts as a relapse does"
            );
            before = span;
        }
    }
}
