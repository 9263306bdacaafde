//! Names of the things that a hand-over is about.

use core::fmt;

/// One running copy of the program. A restart makes another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_structs, reason = "a name is a number")]
pub struct InstanceId(pub u128);

/// Rises with every attempt to change the target. Orders of a lower one than was seen are stale.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_structs, reason = "a count")]
pub struct Generation(pub u64);

/// One established connection, by a number that its first owner gave it. It keeps the number wherever it goes, so no two
/// processes of a target may give the same one: begin with something of the instance's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_structs, reason = "a name is a number")]
pub struct ConnectionId(pub u64);

/// Connections that are offered together and change owner at one instant. Unique per session and giver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_structs, reason = "a name is a number")]
pub struct BatchId(pub u64);

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{}", self.0)
    }
}
