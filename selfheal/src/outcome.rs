//! How a call ended, and whether that speaks for or against the node.

use serde::{Deserialize, Serialize};

/// What one call says about the node it went to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(
    clippy::exhaustive_enums,
    reason = "the test is a Bernoulli test: there is no third outcome"
)]
pub enum Outcome {
    /// The node did what was asked.
    Success,
    /// The node did not: an error of its own, a refused connection, no answer in time.
    Failure,
}

/// How a call ended, as its caller saw it. [`charge`](Self::charge) says whose doing that was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Ending {
    /// An answer that the caller can use. An error that the client caused (a 404) is one.
    Answered,
    /// The node answered that it failed: a 5xx, gRPC `INTERNAL` or `UNAVAILABLE`.
    ServerError,
    /// No connection, or one that broke before the answer was whole.
    ConnectFailure,
    /// The caller's own time-out ran out while the node was at work. Charged: a node that hangs sends no error.
    TimedOut,
    /// The client went away. It says nothing about the node.
    ClientAbort,
    /// The caller itself gave up for a reason of its own: a hedge whose twin answered first, a shutdown.
    OwnCancel,
    /// A limiter or a full queue on this side refused the call; the node never saw it.
    LimiterRejected,
    /// A fault that was injected on purpose, on this side.
    InjectedFault,
    /// The deadline had passed before the node could have answered: it was spent upstream.
    DeadlineSpent,
}

impl Ending {
    /// Every ending, in the order of [`index`](Self::index).
    pub const ALL: [Self; 9] = [
        Self::Answered,
        Self::ServerError,
        Self::ConnectFailure,
        Self::TimedOut,
        Self::ClientAbort,
        Self::OwnCancel,
        Self::LimiterRejected,
        Self::InjectedFault,
        Self::DeadlineSpent,
    ];

    /// The attribution filter: what the ending says about the node, `None` if it was not the node's doing.
    #[must_use]
    pub const fn charge(self) -> Option<Outcome> {
        match self {
            Self::Answered => Some(Outcome::Success),
            Self::ServerError | Self::ConnectFailure | Self::TimedOut => Some(Outcome::Failure),
            Self::ClientAbort | Self::OwnCancel | Self::LimiterRejected | Self::InjectedFault | Self::DeadlineSpent => {
                None
            }
        }
    }

    /// Its place in [`ALL`](Self::ALL).
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

#[cfg(test)]
mod tests {
    use super::Ending;

    #[test]
    fn places_are_those_of_the_list() {
        for (place, ending) in Ending::ALL.into_iter().enumerate() {
            assert_eq!(ending.index(), place);
        }
    }
}
