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
    let mut state = mix(seed);
    let mut words = id.as_bytes().chunks_exact(8);
    for word in &mut words {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(word);
        state = mix(state ^ u64::from_le_bytes(bytes));
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        let mut bytes = [0; 8];
        bytes[..rest.len()].copy_from_slice(rest);
        state = mix(state ^ u64::from_le_bytes(bytes));
    }
    mix(state ^ id.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::position;

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
