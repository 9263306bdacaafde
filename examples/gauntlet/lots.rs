//! Numbers that depend on nothing but what they are drawn for.

/// A stream of random numbers (SplitMix64 by Steele, Lea and Flood, OOPSLA 2014).
#[derive(Clone, Debug)]
pub(crate) struct Lots(u64);

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

impl Lots {
    /// The stream that belongs to these keys.
    pub(crate) fn of(keys: &[u64]) -> Self {
        Self(
            keys.iter()
                .fold(STEP, |state, key| mix(state.wrapping_add(STEP) ^ mix(*key))),
        )
    }

    pub(crate) const fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mix(self.0)
    }

    /// In [0, 1).
    pub(crate) fn unit(&mut self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
        let bits = (self.bits() >> 11) as f64;
        bits / 9_007_199_254_740_992.0
    }

    /// Below `n`, which is above 0.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.bits() % n.max(1) as u64).unwrap_or(0)
    }
}

const fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The same number for the same text.
pub(crate) fn hash(text: &str) -> u64 {
    text.bytes()
        .fold(STEP, |h, byte| mix(h ^ u64::from(byte)).wrapping_add(STEP))
}
