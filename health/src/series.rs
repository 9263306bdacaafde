//! Several logarithms or exponentials at once, for the rows with events: `libm` takes one by one, with branches.
//!
//! Nothing but additions, multiplications, divisions and shifts of bits in one order, so the result is the same on every
//! machine. Within four units in the last place of `libm` (tested).

use core::f64::consts::{LN_2, LOG2_E};

/// ln 2 in two parts: the first has 21 bits, so that its product with an exponent is exact.
const LN_2_HIGH: f64 = f64::from_bits(0x3fe6_2e42_fee0_0000);
const LN_2_LOW: f64 = 1.908_214_929_270_587_7e-10;
/// Bits of 2^52: a float in 2^52..2^53 has its integer value in its low bits.
const INTEGER: u64 = 0x4330_0000_0000_0000;
const MANTISSA: u64 = (1 << 52) - 1;
/// 1/√2 with a short mantissa: what is split into 2^k·m has m from there to √2.
const LEAST: u64 = 0x3fe6_a09e_0000_0000;
/// What is added to move [`LEAST`] to 1.
const SHIFT: u64 = 0x3ff0_0000_0000_0000 - LEAST;

/// ln(1 + x) of each x from 0 to 2^52.
pub(crate) fn ln_1p<const N: usize>(mut values: [f64; N]) -> [f64; N] {
    for value in &mut values {
        let x = *value;
        let one = 1.0 + x;
        // What the sum has rounded away.
        let lost = (x - (one - 1.0)) / one;
        let bits = one.to_bits().wrapping_add(SHIFT);
        let exponent = f64::from_bits(bits >> 52 | INTEGER) - (4_503_599_627_370_496.0 + 1_023.0);
        let f = f64::from_bits((bits & MANTISSA).wrapping_add(LEAST)) - 1.0;
        // ln((1 + s)/(1 − s)) = 2(s + s³/3 + s⁵/5 + …), |s| ≤ 0.1716; the first term left out is s²³/23.
        let s = f / (2.0 + f);
        let (z, w) = (s * s, (s * s) * (s * s));
        let even = 1.0 / 5.0 + w * (1.0 / 9.0 + w * (1.0 / 13.0 + w * (1.0 / 17.0 + w * (1.0 / 21.0))));
        let odd = 1.0 / 3.0 + w * (1.0 / 7.0 + w * (1.0 / 11.0 + w * (1.0 / 15.0 + w * (1.0 / 19.0))));
        let rest = z * odd + w * even;
        *value = (2.0 * s + (2.0 * s * rest + (exponent * LN_2_LOW + lost))) + exponent * LN_2_HIGH;
    }
    values
}

/// e^x of each x up to 700; what is below −700 is taken for −700.
pub(crate) fn exp<const N: usize>(mut values: [f64; N]) -> [f64; N] {
    /// 1.5·2^52: adding it rounds to an integer, which is then in the low bits.
    const ROUND: f64 = 6_755_399_441_055_744.0;
    for value in &mut values {
        let x = if *value > -700.0 { *value } else { -700.0 };
        let rounded = x * LOG2_E + ROUND;
        let k = rounded - ROUND;
        let r = (x - k * LN_2_HIGH) - k * LN_2_LOW;
        // Σ rⁿ/n!, |r| ≤ ½ ln 2; the first term left out is r¹⁴/14!.
        let q = r * r;
        let even = 1.0 / 2.0
            + q * (1.0 / 24.0
                + q * (1.0 / 720.0 + q * (1.0 / 40_320.0 + q * (1.0 / 3_628_800.0 + q * (1.0 / 479_001_600.0)))));
        let odd = 1.0 / 6.0
            + q * (1.0 / 120.0
                + q * (1.0 / 5_040.0 + q * (1.0 / 362_880.0 + q * (1.0 / 39_916_800.0 + q * (1.0 / 6_227_020_800.0)))));
        let sum = 1.0 + (r + q * (even + r * odd));
        *value = f64::from_bits(sum.to_bits().wrapping_add(rounded.to_bits() << 52));
    }
    values
}

const _: () = assert!(LN_2_HIGH < LN_2 && LN_2 - LN_2_HIGH < 2e-10);

#[cfg(test)]
mod tests {
    use super::*;

    fn close(ours: f64, theirs: f64) -> bool {
        (ours - theirs).abs() <= 4.0 * f64::EPSILON * theirs.abs()
    }

    #[test]
    fn as_libm() {
        let mut x = 1e-18;
        while x < 1e15 {
            let all: [f64; 6] = core::array::from_fn(|i| x * (1.0 + i as f64 / 7.0));
            for (x, ln) in all.iter().zip(ln_1p(all)) {
                assert!(close(ln, libm::log1p(*x)), "ln(1 + {x}) is not {ln}");
            }
            x *= 1.003;
        }
        assert!(ln_1p([0.0; 6]).iter().all(|ln| *ln == 0.0));
        let mut x = -699.0;
        while x < 690.0 {
            let all: [f64; 6] = core::array::from_fn(|i| x + i as f64);
            for (x, e) in all.iter().zip(exp(all)) {
                assert!(close(e, libm::exp(*x)), "e^{x} is not {e}");
            }
            x += 0.037;
        }
        assert!(exp([0.0; 6]).iter().all(|e| (e - 1.0).abs() == 0.0));
        let least = exp([f64::NEG_INFINITY, -1e300, -701.0, -700.0, -0.0, 1e-300]);
        assert!(least[..4].iter().all(|e| *e > 0.0 && *e < 1e-303), "{least:?}");
        assert!(least[4..].iter().all(|e| (e - 1.0).abs() == 0.0));
    }
}
