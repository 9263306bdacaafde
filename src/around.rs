use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use unattended_defense::{Ask, Check, CheckError, Facts, Finding, Other, Terms};

/// What goes on around a change that is not its own doing, as rules see it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::exhaustive_structs, reason = "written literally, with `..Around::default()`")]
pub struct Around {
    /// Changes that others have under way: deploys, flags, configuration. `None`: nobody knows, and rules about them cannot tell.
    pub others: Option<Vec<Other>>,
    /// What else is known: open incidents, numbers with the time at which they were seen, what was done lately.
    pub facts: Facts,
}

/// The feed has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the change feed has no answer: {0}")]
#[expect(clippy::exhaustive_structs, reason = "a reason is all there is")]
pub struct FeedError(pub String);

/// Tells of other teams' deploys, flags and incidents. It is asked once an [interval](crate::Settings::interval_ms), and what it
/// says is in the journal before a rule sees it.
///
/// A feed that is silent for five minutes holds what would go forward: what nobody knows of is not absent. What is rolled back
/// goes on.
#[async_trait]
pub trait ChangeFeed: Send + Sync {
    /// All that is so now. What is left out is over.
    async fn around(&self) -> Result<Around, FeedError>;
}

#[async_trait]
impl<F: ChangeFeed + ?Sized> ChangeFeed for Arc<F> {
    async fn around(&self) -> Result<Around, FeedError> {
        (**self).around().await
    }
}

/// What the machine is told of it, and what checks found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Seen {
    pub(crate) around: Around,
    pub(crate) findings: Vec<Finding>,
}

impl Seen {
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|error| format!("what went on around: {error}"))
    }
}

/// A feed may say nothing for so long.
const SILENT_MS: i64 = 5 * 60_000;

/// The check that a feed is heard.
#[derive(Debug, Default)]
pub(crate) struct Heard(AtomicI64);

impl Heard {
    pub(crate) fn at(&self, unix_ms: i64) {
        self.0.store(unix_ms, Ordering::Release);
    }

    pub(crate) fn terms() -> Terms {
        Terms::new(
            "change-feed",
            "1",
            "whoever runs the autopilot",
            "what others change is not known while their feed is silent",
        )
    }
}

/// Shared with whoever hears it.
#[derive(Clone, Debug, Default)]
pub(crate) struct HeardCheck(pub(crate) Arc<Heard>);

#[async_trait]
impl Check for HeardCheck {
    async fn judge(&self, ask: &Ask<'_>) -> Result<unattended_defense::Outcome, CheckError> {
        let silent_ms = ask.now_ms.saturating_sub(self.0.0.load(Ordering::Acquire));
        if silent_ms > SILENT_MS {
            return Err(CheckError::Failed(format!(
                "the change feed has said nothing for more than {} minutes",
                SILENT_MS / 60_000
            )));
        }
        Ok(unattended_defense::Outcome::clear(1))
    }
}
