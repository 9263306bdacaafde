use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{Notice, Pulse, Severity};

/// A question to a person. It is answered through the [`Handle`](crate::Handle).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Question {
    /// Its number among the questions of the change, from 1: an [answer](crate::Handle::answering) may name it.
    #[serde(default)]
    pub id: u64,
    /// What is asked.
    pub kind: QuestionKind,
    /// In one sentence.
    pub text: String,
    /// What happens without an answer.
    pub otherwise: String,
    /// When it was asked, on the clock of the run.
    pub asked_ms: u64,
    /// By when an answer is wanted, on the clock of the run.
    pub by_ms: u64,
}

/// The kinds of questions, each with the answer that carries the change on as the evidence suggests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum QuestionKind {
    /// The evidence is against the release: roll back?
    RollBack,
    /// The evidence is against the release in one class alone: take that back and go on with the rest? Whoever wants everything back says
    /// so ([`Handle::roll_back`](crate::Handle::roll_back)).
    SetClassAside,
    /// There is not enough evidence to go on: go on nevertheless?
    GoOnWithoutEvidence,
    /// A rule wants a person's word before a lane goes on.
    RuleWantsPerson,
    /// Nothing has moved for the whole patience: leave the rest as it is?
    Stalled,
    /// Rules hold the rollback: go back nevertheless?
    RollBackNow,
    /// More targets would be left behind than may be without a person's word: leave them?
    LeaveDebt,
    /// A program chose the change, and the level leaves that to people: begin?
    Begin,
    /// The level wants a person's word for each batch: open the next?
    NextBatch,
    /// The level wants a person's word, or deed, for each target: which? The answer is no yes: [`Handle::step`](crate::Handle::step)
    /// names a target.
    Steps,
    /// A check has blocked the change, and it may not go on by itself: go on once the check lets it?
    Blocked,
    /// A budget is spent: go on beyond it?
    BeyondBudget,
}

impl QuestionKind {
    /// The word used in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RollBack => "roll_back",
            Self::SetClassAside => "set_class_aside",
            Self::GoOnWithoutEvidence => "go_on_without_evidence",
            Self::RuleWantsPerson => "rule_wants_person",
            Self::Stalled => "stalled",
            Self::RollBackNow => "roll_back_now",
            Self::LeaveDebt => "leave_debt",
            Self::Begin => "begin",
            Self::NextBatch => "next_batch",
            Self::Steps => "steps",
            Self::Blocked => "blocked",
            Self::BeyondBudget => "beyond_budget",
        }
    }

    /// A bad version that stays where it is does harm; everything else only waits.
    pub(crate) const fn severity(self) -> Severity {
        if self.weight() > 1 {
            Severity::Critical
        } else {
            Severity::Warning
        }
    }

    /// In which order it comes: a version that is to be left goes before everything, and what concerns the change before what
    /// concerns some of its lanes.
    pub(crate) const fn weight(self) -> u8 {
        match self {
            Self::RollBack | Self::SetClassAside => 3,
            Self::RollBackNow => 2,
            Self::GoOnWithoutEvidence
            | Self::Stalled
            | Self::LeaveDebt
            | Self::Begin
            | Self::NextBatch
            | Self::Steps
            | Self::Blocked
            | Self::BeyondBudget => 1,
            Self::RuleWantsPerson => 0,
        }
    }

    /// The change has stopped, and it is asked what becomes of what runs the new version.
    pub(crate) const fn is_of_stop(self) -> bool {
        matches!(self, Self::RollBack | Self::SetClassAside)
    }

    /// A rule asks it, of those that the rule holds. Whoever lets the change go on does not answer it by that.
    pub(crate) const fn is_of_rules(self) -> bool {
        matches!(self, Self::RuleWantsPerson | Self::RollBackNow)
    }
}

/// Carries notices to people: a pager, a chat, a terminal.
#[async_trait]
pub trait Notifier: Send + Sync {
    /// Sends the notice on its way. It must not wait for an answer longer than it takes to send; a failure to send
    /// is the notifier's to retry, and what is still so is said again by and by ([`Telling`](crate::Telling)). Notices that come
    /// together are sent at once, each by a call of its own, and later ones after them. After as long as any call may take
    /// ([`call_ms`](unattended_upgrade::DriverConfig::call_ms)) the future is dropped; the run goes on meanwhile.
    async fn notify(&self, notice: &Notice);

    /// Sends a sign of life to an alarm outside, which goes off when the next does not come. Default: nobody watches. Never
    /// waits behind notices; the future is dropped as above, and when the next pulse is due.
    async fn pulse(&self, pulse: &Pulse) {
        let _ = pulse;
    }
}

#[async_trait]
impl<N: Notifier + ?Sized> Notifier for Arc<N> {
    async fn notify(&self, notice: &Notice) {
        (**self).notify(notice).await;
    }

    async fn pulse(&self, pulse: &Pulse) {
        (**self).pulse(pulse).await;
    }
}
