use std::hash::{BuildHasherDefault, Hasher};

/// Takes eight bytes at a time, as SplitMix64 scatters numbers: the same on every run, so nothing a program does can depend
/// on a seed it does not know. Names of targets come from the platform, not from its clients; flooding is not a concern here.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Words(u64);

pub(crate) type Fixed = BuildHasherDefault<Words>;

impl Words {
    const fn take(&mut self, word: u64) {
        let mut x = self.0 ^ word;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        // Not where it came from: words of zeros count too.
        self.0 = (x ^ (x >> 31)).wrapping_add(0x9e37_79b9_7f4a_7c15);
    }
}

impl Hasher for Words {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        let mut words = bytes.chunks_exact(8);
        for chunk in &mut words {
            let mut word = [0; 8];
            word.copy_from_slice(chunk);
            self.take(u64::from_le_bytes(word));
        }
        let rest = words.remainder();
        if !rest.is_empty() {
            let mut word = [0; 8];
            word[..rest.len()].copy_from_slice(rest);
            self.take(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, byte: u8) {
        self.take(u64::from(byte));
    }
}
