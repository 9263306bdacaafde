use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

/// Read before each effect: may anything still be done?
///
/// It works with journal, metrics and rules down, so an implementation should be no more than a file, a flag or a key
/// that anybody on call can flip.
pub trait Permit: Send + Sync {
    /// `Ok(true)` permits the effect. `Ok(false)` and every error mean: no effect now.
    fn may_act(&self) -> Result<bool, PermitError>;
}

/// The permit cannot be read, which means stop.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the permit cannot be read: {0}")]
#[expect(clippy::exhaustive_structs, reason = "a reason is all there is")]
pub struct PermitError(pub String);

/// Everything is permitted; the freeze of the [`Handle`](crate::Handle) still works.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "it has no state")]
pub struct AlwaysPermit;

impl Permit for AlwaysPermit {
    fn may_act(&self) -> Result<bool, PermitError> {
        Ok(true)
    }
}

/// What people are told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Notice {
    /// A stable code, `area.what`.
    pub code: String,
    /// Notices of one matter share a key.
    pub dedup_key: String,
    /// The whole story, for somebody who just woke up.
    pub text: String,
    /// The question, where an answer is wanted.
    pub question: Option<Question>,
}

/// A question to a person. It is answered through the [`Handle`](crate::Handle).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Question {
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
    /// What it must not wait behind: a version that is to be left goes before everything.
    pub(crate) const fn weight(self) -> u8 {
        match self {
            Self::RollBack | Self::RollBackNow => 1,
            Self::GoOnWithoutEvidence
            | Self::RuleWantsPerson
            | Self::Stalled
            | Self::LeaveDebt
            | Self::Begin
            | Self::NextBatch
            | Self::Steps
            | Self::Blocked
            | Self::BeyondBudget => 0,
        }
    }
}

/// Carries notices to people: a pager, a chat, a terminal.
#[async_trait]
pub trait Notifier: Send + Sync {
    /// Sends the notice on its way. It must not wait for an answer longer than it takes to send; a failure to send
    /// is the notifier's to retry. Notices that come together are sent at once, each by a call of its own. After as long as
    /// any call may take ([`call_ms`](unattended_upgrade::DriverConfig::call_ms)) the future is dropped, and the run goes on.
    async fn notify(&self, notice: &Notice);
}

#[async_trait]
impl<N: Notifier + ?Sized> Notifier for Arc<N> {
    async fn notify(&self, notice: &Notice) {
        (**self).notify(notice).await;
    }
}
