//! The names of things, as numbers. What they are called stays with the caller.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $word:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        #[expect(clippy::exhaustive_structs, reason = "a number with a name")]
        pub struct $name(pub u32);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($word, " {}"), self.0)
            }
        }
    };
}

id!(
    /// A node of the fleet: whoever reports, is reported on, or both. The same number everywhere.
    NodeId,
    "node"
);
id!(
    /// What can be cut off or lose power as one: an availability zone, a rack.
    ZoneId,
    "zone"
);
id!(
    /// A machine. Reporters on one host share one voice.
    HostId,
    "host"
);
id!(
    /// Nodes that do the same work, so that one can stand in for another.
    ServiceId,
    "service"
);
id!(
    /// A method, route or tenant of requests.
    RouteId,
    "route"
);

impl RouteId {
    /// Requests that are not told apart.
    pub const ANY: Self = Self(0);
}
