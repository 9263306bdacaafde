//! SHA-256 over framed fields: what packs say, and what was asked.

use sha2::{Digest as _, Sha256};

/// Bytes as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: [u8; 16] = *b"0123456789abcdef";
    let digits = bytes
        .iter()
        .flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]])
        .collect();
    // Digits are UTF-8.
    String::from_utf8(digits).unwrap_or_default()
}

/// A running digest. Nobody finds other fields with the same.
#[derive(Debug, Clone)]
pub(crate) struct Seal(Sha256);

impl Seal {
    /// Starts a digest of one kind of thing; `domain` keeps kinds apart.
    pub(crate) fn new(domain: &str) -> Self {
        Self(Sha256::new()).text(domain)
    }

    /// Adds one text, framed by its length.
    pub(crate) fn text(self, text: &str) -> Self {
        self.bytes(text.as_bytes())
    }

    /// Adds bytes, framed by their length.
    pub(crate) fn bytes(self, bytes: &[u8]) -> Self {
        let framed = self.0.chain_update((bytes.len() as u64).to_le_bytes());
        Self(framed.chain_update(bytes))
    }

    /// Adds one number.
    pub(crate) fn number(self, number: i64) -> Self {
        Self(self.0.chain_update(number.to_le_bytes()))
    }

    /// The digest as 64 lower-case hexadecimal digits.
    pub(crate) fn hex(self) -> String {
        hex(&self.0.finalize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_is_sha_256_over_framed_texts() {
        // From Python's hashlib over the framed texts "pack/1" and "ab".
        let seal = Seal::new("pack/1").text("ab").hex();
        assert_eq!(seal, "be8d983c586fddf3e12ff45c7c2dc1be661222b08ca54c0f63e7595a68984527");
        assert_ne!(seal, Seal::new("pack/1").text("a").text("b").hex());
    }
}
