//! Small numbers instead of names. An index belongs to the fleet, plan or frontier that gave it.

use serde::{Deserialize, Serialize};

macro_rules! index {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[expect(clippy::exhaustive_structs, reason = "an index is one number and stays one")]
        pub struct $name(pub u32);

        impl $name {
            /// The index as a position in a slice.
            #[must_use]
            pub const fn at(self) -> usize {
                self.0 as usize
            }
        }
    };
}

index!(
    /// A target's position in the fleet. Targets born later take the next numbers.
    TargetIndex
);
index!(
    /// An application's position in the fleet, in order of first sight.
    AppIndex
);
index!(
    /// A label key's position in [`Fleet::keys`](crate::Fleet::keys).
    KeyIndex
);
index!(
    /// A label value's position among the values of its key, in order of first sight.
    ValueIndex
);
index!(
    /// A stratum's position in [`Plan::strata`](crate::Plan::strata).
    StratumIndex
);

/// No value. Builders refuse to grow so far that a real index could equal it.
pub(crate) const NONE: u32 = u32::MAX;

/// A key that no target has.
pub(crate) const NO_KEY: KeyIndex = KeyIndex(NONE);

/// A length as an index. [`FleetBuilder`](crate::FleetBuilder) and `Frontier::join` keep every collection below `u32::MAX`.
pub(crate) fn narrow(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(NONE)
}
