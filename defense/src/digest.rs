//! Content digests, every field framed by its length: a fast one for questions, a SHA-256 for what packs say.

use sha2::{Digest as _, Sha256};

/// Bytes as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        for nibble in [byte >> 4, byte & 15] {
            text.push(char::from(if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 }));
        }
    }
    text
}

/// The digest of what packs say, made once when they are loaded: nobody finds another pack with the same.
#[derive(Debug, Clone)]
pub(crate) struct Seal(Sha256);

impl Seal {
    /// Starts a digest of one kind of thing; `domain` keeps kinds apart.
    pub(crate) fn new(domain: &str) -> Self {
        Self(Sha256::new()).text(domain)
    }

    /// Adds one text, framed by its length.
    pub(crate) fn text(self, text: &str) -> Self {
        let framed = self.0.chain_update((text.len() as u64).to_le_bytes());
        Self(framed.chain_update(text.as_bytes()))
    }

    /// The digest as 64 lower-case hexadecimal digits.
    pub(crate) fn hex(self) -> String {
        hex(&self.0.finalize())
    }
}

const OFFSET_BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;

/// A running FNV-1a over 128 bits. Fields are framed, so `("ab", "c")` and `("a", "bc")` differ.
///
/// It tells two inputs apart that differ by accident. It is *not* cryptographic: who wants to forge one can.
#[derive(Debug, Clone)]
pub(crate) struct Digest(u128);

impl Digest {
    /// Starts a digest of one kind of thing; `domain` keeps kinds apart.
    pub(crate) fn new(domain: &str) -> Self {
        Self(OFFSET_BASIS).text(domain)
    }

    fn raw(mut self, bytes: &[u8]) -> Self {
        for byte in bytes {
            self.0 = (self.0 ^ u128::from(*byte)).wrapping_mul(PRIME);
        }
        self
    }

    /// Adds one text, framed by its length.
    pub(crate) fn text(self, text: &str) -> Self {
        self.raw(&(text.len() as u64).to_le_bytes()).raw(text.as_bytes())
    }

    /// Adds one number.
    pub(crate) fn number(self, number: i64) -> Self {
        self.raw(&number.to_le_bytes())
    }

    /// Adds one unsigned number.
    pub(crate) fn count(self, number: u64) -> Self {
        self.raw(&number.to_le_bytes())
    }

    /// Adds one byte.
    pub(crate) fn byte(self, byte: u8) -> Self {
        self.raw(&[byte])
    }

    /// The digest as 32 lower-case hexadecimal digits.
    pub(crate) fn hex(&self) -> String {
        hex(&self.0.to_be_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_bytes_hash_to_the_published_fnv1a_128_value() {
        // Reference values of the FNV draft for 128 bits: "" and "a".
        assert_eq!(Digest(OFFSET_BASIS).hex(), "6c62272e07bb014262b821756295c58d");
        assert_eq!(Digest(OFFSET_BASIS).raw(b"a").hex(), "d228cb696f1a8caf78912b704e4a8964");
    }

    #[test]
    fn fields_are_framed() {
        assert_ne!(
            Digest::new("d").text("ab").text("c").hex(),
            Digest::new("d").text("a").text("bc").hex()
        );
    }

    #[test]
    fn a_seal_is_sha_256_over_framed_texts() {
        // From Python's hashlib over the framed texts "pack/1" and "ab".
        let seal = Seal::new("pack/1").text("ab").hex();
        assert_eq!(seal, "be8d983c586fddf3e12ff45c7c2dc1be661222b08ca54c0f63e7595a68984527");
        assert_ne!(seal, Seal::new("pack/1").text("a").text("b").hex());
    }
}
