//! Order statistics and bounds.

/// The lower of the two values in the middle; reorders. `None` of nothing. The values are numbers.
pub(crate) fn lower_median(values: &mut [f32]) -> Option<f32> {
    let middle = values.len().checked_sub(1)? / 2;
    Some(*values.select_nth_unstable_by(middle, f32::total_cmp).1)
}

/// Lower end of Wilson's score interval (1927) for a rate of which `failures` of `calls` were seen, `z` standard errors
/// wide on each side.
pub(crate) fn wilson_lower(failures: f64, calls: f64, z: f64) -> f64 {
    if calls <= 0.0 {
        return 0.0;
    }
    let rate = failures / calls;
    let square = z * z / calls;
    let centre = rate + square / 2.0;
    let width = z * (rate * (1.0 - rate) / calls + square / (4.0 * calls)).max(0.0).sqrt();
    ((centre - width) / (1.0 + square)).max(0.0)
}

/// `SplitMix64` (Steele, Lea, Flood 2014): a number for each key, the same on every system.
pub(crate) const fn mix(seed: u64, key: u64) -> u64 {
    let mut z = seed
        .wrapping_add(key.wrapping_mul(0x9E37_79B9_7F4A_7C15))
        .wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::{lower_median, wilson_lower};

    #[test]
    fn medians_are_lower_ones() {
        assert_eq!(lower_median(&mut []), None);
        assert_eq!(lower_median(&mut [3.0, 1.0]), Some(1.0));
        assert_eq!(lower_median(&mut [5.0, 1.0, 3.0]), Some(3.0));
        assert_eq!(lower_median(&mut [4.0, 1.0, 3.0, 2.0]), Some(2.0));
    }

    #[test]
    fn wilson_agrees_with_published_values() {
        // Newcombe, Statistics in Medicine 17 (1998) 857, table I, method 3, 95 %.
        for (failures, calls, low) in [
            (81.0, 263.0, 0.2553),
            (15.0, 148.0, 0.0624),
            (0.0, 20.0, 0.0),
            (1.0, 29.0, 0.0061),
        ] {
            let found = wilson_lower(failures, calls, 1.959_964);
            assert!((found - low).abs() < 5e-5, "{failures} of {calls}: {found}, not {low}");
        }
    }
}
