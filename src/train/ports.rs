//! What the train needs of the world outside.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Artefact, BuildOrder, ChangeEnd, ChangeKey, ChangeOrder, Commit, LineId, ReleaseFacts};

/// A source has no answer now. It is asked again, and nothing is concluded from its silence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no answer: {0}")]
#[expect(clippy::exhaustive_structs, reason = "a reason is all there is")]
pub struct NoAnswer(pub String);

/// News of a source, and the place after them in the source's own counting.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "written literally by every adapter")]
pub struct News<T> {
    /// What there is, in any order. What was told before may come again.
    pub items: Vec<T>,
    /// Where to go on.
    pub cursor: u64,
}

/// What CI says of commits.
#[async_trait]
pub trait CiStatus: Send + Sync {
    /// Commits that were tried since `cursor`, each with whether it is good.
    async fn tried(&self, line: &LineId, cursor: u64) -> Result<News<(Commit, bool)>, NoAnswer>;

    /// The cause of a bad release is among these commits. May be told more than once.
    async fn suspects(&self, line: &LineId, version: &str, commits: &[String], why: &str) -> Result<(), NoAnswer>;
}

/// Where artefacts are built and kept.
#[async_trait]
pub trait Artefacts: Send + Sync {
    /// Has a release built, under a version that is above all before it on its lane. Ordered twice, it is built once; with
    /// another number of [`rebuilds`](BuildOrder::rebuilds) it is another order.
    async fn build(&self, order: &BuildOrder) -> Result<(), NoAnswer>;

    /// Artefacts that were built since `cursor`.
    async fn built(&self, line: &LineId, cursor: u64) -> Result<News<Artefact>, NoAnswer>;
}

/// An incident of production, and when it began or ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "written literally by every adapter")]
pub struct IncidentNews {
    /// The name of the incident.
    pub id: String,
    /// When, in Unix milliseconds.
    pub at_unix_ms: i64,
    /// Whether it began or ended then.
    pub open: bool,
}

/// The fleets, each changed by the autopilot.
#[async_trait]
pub trait Fleets: Send + Sync {
    /// Starts a change of the autopilot, or takes up the one that has this key already: it may have been ordered before a kill.
    async fn start(&self, order: &ChangeOrder) -> Result<(), NoAnswer>;

    /// Takes a change back, also one that runs no more because its controller died. Said twice, or of one that has ended, it
    /// does nothing more. Said of a key that was never started it binds that key: [`start`](Self::start) does nothing with it
    /// any more, however late it comes, and its [`end`](Self::end) is rolled back with nothing exposed.
    async fn take_back(&self, change: &ChangeKey, why: &str) -> Result<(), NoAnswer>;

    /// How a change ended; `None` while it runs, and of a key that nobody named yet.
    async fn end(&self, change: &ChangeKey) -> Result<Option<ChangeEnd>, NoAnswer>;

    /// What is seen of a release that soaks on the canary fleet; `None` where nothing new is.
    async fn facts(&self, line: &LineId, version: &str) -> Result<Option<ReleaseFacts>, NoAnswer>;

    /// Incidents of production since `cursor`.
    async fn incidents(&self, line: &LineId, cursor: u64) -> Result<News<IncidentNews>, NoAnswer>;
}

macro_rules! shared {
    ($($name:ident { $(fn $method:ident(&self $(, $arg:ident: $type:ty)*) -> $answer:ty;)* })*) => {$(
        #[async_trait]
        impl<T: $name + ?Sized> $name for Arc<T> {
            $(async fn $method(&self $(, $arg: $type)*) -> $answer {
                (**self).$method($($arg),*).await
            })*
        }
    )*};
}
shared! {
    CiStatus {
        fn tried(&self, line: &LineId, cursor: u64) -> Result<News<(Commit, bool)>, NoAnswer>;
        fn suspects(&self, line: &LineId, version: &str, commits: &[String], why: &str) -> Result<(), NoAnswer>;
    }
    Artefacts {
        fn build(&self, order: &BuildOrder) -> Result<(), NoAnswer>;
        fn built(&self, line: &LineId, cursor: u64) -> Result<News<Artefact>, NoAnswer>;
    }
    Fleets {
        fn start(&self, order: &ChangeOrder) -> Result<(), NoAnswer>;
        fn take_back(&self, change: &ChangeKey, why: &str) -> Result<(), NoAnswer>;
        fn end(&self, change: &ChangeKey) -> Result<Option<ChangeEnd>, NoAnswer>;
        fn facts(&self, line: &LineId, version: &str) -> Result<Option<ReleaseFacts>, NoAnswer>;
        fn incidents(&self, line: &LineId, cursor: u64) -> Result<News<IncidentNews>, NoAnswer>;
    }
}
