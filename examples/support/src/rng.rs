//! SplitMix64 by Steele, Lea and Flood (OOPSLA 2014): a bijection of 64 bits, used here as a hash with a seed.

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// One well mixed word for `(seed, stream, index)`; equal arguments give equal words on every platform.
pub(crate) const fn word(seed: u64, stream: u64, index: u64) -> u64 {
    mix(mix(mix(seed.wrapping_add(GOLDEN)) ^ stream.wrapping_mul(GOLDEN)).wrapping_add(index.wrapping_mul(GOLDEN)))
}

const fn mix(mut z: u64) -> u64 {
    z = z.wrapping_add(GOLDEN);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::mix;

    #[test]
    fn the_first_words_of_the_reference_generator() {
        // The published generator with the state 1234567 gives these; `mix(state)` is one step of it.
        assert_eq!(mix(1_234_567), 6_457_827_717_110_365_317);
        assert_eq!(
            mix(1_234_567_u64.wrapping_add(super::GOLDEN)),
            3_203_168_211_198_807_973
        );
    }
}
