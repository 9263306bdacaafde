//! Which clients have failed in this interval already.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::FaultClass;

const SLOTS: usize = 4_096;
/// Slots looked at before a client is taken for a new one.
const REACH: usize = 16;

/// A set of (client, class) that forgets everything when an interval ends. Bounded: with more clients than it holds,
/// those it cannot remember count as new each time, since leaving out real failures would look like health.
#[derive(Debug)]
pub(super) struct Episodes {
    slots: Box<[AtomicU64]>,
}

/// The finalizer of SplitMix64.
const fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

impl Episodes {
    pub(super) fn new() -> Self {
        Self {
            slots: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Whether this is the client's first failure of the class in the interval. Client 0 is nobody known: always.
    pub(super) fn is_first(&self, class: FaultClass, client: u64) -> bool {
        if client == 0 {
            return true;
        }
        // Never 0, which marks an empty slot.
        let key = mix(client.wrapping_add((class.index() as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))) | 1;
        let start = usize::try_from(key >> 40).unwrap_or(0);
        for step in 0..REACH {
            let slot = &self.slots[(start + step) & (SLOTS - 1)];
            let mut held = slot.load(Relaxed);
            if held == 0 {
                match slot.compare_exchange(0, key, Relaxed, Relaxed) {
                    Ok(_) => return true,
                    Err(other) => held = other,
                }
            }
            if held == key {
                return false;
            }
        }
        true
    }

    /// A failure recorded at this very moment may be forgotten or kept: then one client counts once more, or once less,
    /// in the next interval.
    pub(super) fn forget(&self) {
        for slot in &self.slots {
            slot.store(0, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_new_once_per_class_and_interval_and_when_the_set_is_full() {
        let set = Episodes::new();
        assert!(set.is_first(FaultClass::Own, 7) && !set.is_first(FaultClass::Own, 7));
        assert!(set.is_first(FaultClass::Client, 7));
        assert!(set.is_first(FaultClass::Own, 0) && set.is_first(FaultClass::Own, 0));
        set.forget();
        assert!(set.is_first(FaultClass::Own, 7));
        let fresh = (1_000..2_000)
            .filter(|client| set.is_first(FaultClass::Own, *client))
            .count();
        assert_eq!(fresh, 1_000, "a quarter full: nobody is taken for another");
        let again = (1_000..2_000)
            .filter(|client| set.is_first(FaultClass::Own, *client))
            .count();
        assert_eq!(again, 0);
        let full = (10_000..110_000)
            .filter(|client| set.is_first(FaultClass::Own, *client))
            .count();
        assert_eq!(full, 100_000, "beyond its size everybody counts");
    }
}
