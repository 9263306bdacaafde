//! Why something was not done.

use thiserror::Error;

/// Why one process wants no session with another, or ends it. The one that served goes on serving.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The ranges of versions do not meet.
    #[error("no version of the wire is spoken by both")]
    NoCommonVersion,
    /// The process on the other side belongs to another user, or called without being expected.
    #[error("the other process is a stranger")]
    Stranger,
    /// The other belongs to an attempt that is over.
    #[error("the other process belongs to an attempt that is over")]
    Stale,
    /// A hand-over is under way already.
    #[error("a hand-over is under way already")]
    Busy,
    /// The process has called itself.
    #[error("a process cannot hand over to itself")]
    Itself,
    /// A listener was passed and not taken.
    #[error("a listener was passed and not claimed")]
    Unclaimed,
    /// What was claimed is not the queue that was passed.
    #[error("what was claimed is not the queue that was passed")]
    OtherQueue,
    /// What came was no frame, or came where it cannot come.
    #[error("what came is not what this protocol says")]
    Garbled,
    /// One of the two has waited for the other's word for too long.
    #[error("no word was heard in time")]
    Silent,
    /// One of the two exits.
    #[error("the process is about to exit")]
    Leaving,
    /// A message can be sent neither now nor later.
    #[error("the socket between the processes is broken")]
    Broken,
    /// A reason that this version does not know.
    #[error("a reason that this version does not know")]
    Other,
}

/// Why a connection stays where it is. It is asked to end there, and counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Error)]
#[non_exhaustive]
pub enum Decline {
    /// The other side cannot read what the codec writes.
    #[error("the other side has no codec for it")]
    NoCodec,
    /// Its keys live in a library that cannot give them away.
    #[error("TLS state cannot be exported; its ticket keys go along, so the client resumes in one round trip")]
    Tls,
    /// Its state does not fit one message.
    #[error("its state does not fit one message")]
    TooLarge,
    /// It came to no point at which it may be cut, as often as it was tried.
    #[error("it never came to rest")]
    Busy,
    /// The state could not be understood, or its digest is another.
    #[error("its state could not be understood")]
    BadState,
    /// The other side has no descriptors or memory left.
    #[error("the other side has no room for it")]
    NoRoom,
    /// It was about to end.
    #[error("it is about to end")]
    Closing,
    /// A reason that this version does not know.
    #[error("a reason that this version does not know")]
    Other,
}
