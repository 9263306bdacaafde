//! Floats in snapshots: as their bits, so that a restored judge continues to the same bytes in any format.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A float that serializes as the integer of its bits. Text formats may round floats, and have no infinities.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Exact(pub(crate) f64);

impl Serialize for Exact {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.to_bits().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Exact {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = f64::from_bits(u64::deserialize(deserializer)?);
        if value.is_nan() {
            return Err(serde::de::Error::custom("a number of the snapshot is NaN"));
        }
        Ok(Self(value))
    }
}
