use std::hash::{BuildHasherDefault, Hasher};

/// FNV-1a, 64 bits: the same on every run, so nothing a program does can depend on a seed it does not know.
/// Names of targets come from the platform, not from its clients; flooding is not a concern here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fnv(u64);

pub(crate) type Fixed = BuildHasherDefault<Fnv>;

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}
