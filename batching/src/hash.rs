//! The one order everything hangs on.

/// Golden-ratio increment of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014).
const INCREMENT: u64 = 0x9e37_79b9_7f4a_7c15;

/// The finaliser of SplitMix64: a bijection on 64 bits in which every input bit moves every output bit.
pub(crate) const fn mix(mut z: u64) -> u64 {
    z = z.wrapping_add(INCREMENT);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Where an id stands among its like under one seed: lower comes earlier.
///
/// The bytes of `id` are read as little-endian words of eight (the last padded with zeros) and folded through
/// the SplitMix64 finaliser, starting from the seed and ending with the length. The value depends on nothing else, so it is
/// the same on every machine and in every later version: cohorts are nested and survive scaling because of it.
///
/// ```
/// use unattended_batching::position;
/// assert_eq!(position(7, "pod-1"), position(7, "pod-1"));
/// assert_ne!(position(7, "pod-1"), position(8, "pod-1"));
/// assert_ne!(position(7, "pod-1"), position(7, "pod-1\0"));
/// ```
#[must_use]
pub fn position(seed: u64, id: &str) -> u64 {
    position_from(mix(seed), id.as_bytes())
}

/// As [`position`], from the finalised seed.
#[inline]
pub(crate) fn position_from(start: u64, bytes: &[u8]) -> u64 {
    let mut state = start;
    let mut words = bytes.chunks_exact(8);
    for word in &mut words {
        state = mix(state ^ short_word(word));
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        // The last eight bytes without those already read are the rest: one read instead of one for each byte.
        let word = match bytes.last_chunk::<8>() {
            Some(last) => u64::from_le_bytes(*last) >> (64 - 8 * rest.len()),
            None => short_word(rest),
        };
        state = mix(state ^ word);
    }
    mix(state ^ bytes.len() as u64)
}

/// At most eight bytes as a little-endian number.
#[inline]
fn short_word(bytes: &[u8]) -> u64 {
    if let Ok(eight) = bytes.try_into() {
        return u64::from_le_bytes(eight);
    }
    let len = bytes.len();
    match (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        (Some(&low), Some(&high)) => {
            u64::from(u32::from_le_bytes(low)) | u64::from(u32::from_le_bytes(high)) << (8 * (len - 4))
        }
        _ if len > 0 => {
            let byte = |at: usize| u64::from(bytes[at]) << (8 * at);
            byte(0) | byte(len / 2) | byte(len - 1)
        }
        _ => 0,
    }
}

/// The first and the last eight bytes of at most sixteen: with the length, the whole text.
#[inline]
pub(crate) fn ends_of(bytes: &[u8]) -> (u64, u64) {
    match (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        (Some(&low), Some(&high)) => (u64::from_le_bytes(low), u64::from_le_bytes(high)),
        _ => (short_word(bytes), 0),
    }
}

/// Folds a text into a fingerprint: quick, for look-ups in memory only; its values may change from version to version.
#[inline]
pub(crate) fn fingerprint(state: u64, text: &str) -> u64 {
    let bytes = text.as_bytes();
    let mut state = state ^ (bytes.len() as u64).wrapping_mul(INCREMENT);
    if bytes.len() > 16 {
        for pair in bytes[..bytes.len() - 1].chunks_exact(16) {
            state = fold(state ^ short_word(&pair[..8]), FOLD ^ short_word(&pair[8..]));
        }
    }
    // The last sixteen bytes, however far they overlap with those before.
    let tail = &bytes[bytes.len().saturating_sub(16)..];
    let (low, high) = ends_of(tail);
    fold(state ^ low, FOLD ^ high)
}

/// An odd constant with as many ones as zeros (the fraction of the golden ratio's cousin √2).
const FOLD: u64 = 0x6a09_e667_f3bc_c909;

/// Both halves of the product, so that every bit counts.
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    #[expect(clippy::cast_possible_truncation, reason = "the halves are wanted one by one")]
    let (low, high) = (product as u64, (product >> 64) as u64);
    low ^ high
}

#[cfg(test)]
mod tests {
    use super::{fingerprint, position};

    #[test]
    fn fingerprints_differ() {
        let mut seen = std::collections::BTreeSet::new();
        for n in 0..100_000_u32 {
            for text in [
                format!("a{n}"),
                format!("application-with-a-long-name-{n}-of-many"),
                format!("{n:016}"),
            ] {
                assert!(seen.insert(fingerprint(1, &text)), "{text}");
            }
        }
        assert!(seen.insert(fingerprint(2, "a1")) && seen.insert(fingerprint(1, "")));
    }

    /// Plans are kept across versions: these values must never change.
    #[test]
    fn positions_are_frozen() {
        let found = [
            position(0, ""),
            position(7, "pod-1"),
            position(7, "checkout-7d9f8b6c4-x2x9p"),
        ];
        assert_eq!(found, FROZEN);
    }

    const FROZEN: [u64; 3] = [
        12_035_550_249_420_947_055,
        14_145_526_257_104_382_033,
        1_592_002_971_439_732_538,
    ];

    #[test]
    fn neighbours_spread_evenly() {
        let mut tenths = [0_u32; 10];
        for n in 0..10_000 {
            let at = position(3, &format!("pod-{n}"));
            let tenth = usize::try_from((u128::from(at) * 10) >> 64).unwrap();
            tenths[tenth] += 1;
        }
        assert!(tenths.iter().all(|&n| (880..1_120).contains(&n)), "{tenths:?}");
    }
}
