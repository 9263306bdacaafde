//! Numbers as people read them.

use core::fmt;

/// An e-value given as its logarithm beside the logarithm of what is needed: above a million, and above what is needed,
/// its size tells nobody anything.
pub(crate) struct Capped(pub(crate) f64, pub(crate) f64);

impl fmt::Display for Capped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let million = 6.0 * core::f64::consts::LN_10;
        if self.0 > million && self.1 <= million {
            return f.write_str(">1e6");
        }
        E(self.0).fmt(f)
    }
}

/// An e-value given as its logarithm: plain up to 9,999, else two digits and a power of ten.
pub(crate) struct E(pub(crate) f64);

impl fmt::Display for E {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimal = self.0 / core::f64::consts::LN_10;
        if (-2.0..4.0).contains(&decimal) {
            return Short(libm::exp(self.0)).fmt(f);
        }
        let mut power = libm::floor(decimal);
        let mut digits = libm::round(libm::exp((decimal - power) * core::f64::consts::LN_10) * 10.0) / 10.0;
        if digits >= 10.0 {
            digits /= 10.0;
            power += 1.0;
        }
        write!(f, "{digits:.1}e{power:.0}")
    }
}

/// A number with about two digits that matter.
pub(crate) struct Short(pub(crate) f64);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = match self.0.abs() {
            size if size >= 9.95 || size == 0.0 => 0,
            size if size >= 0.995 => 1,
            size if size >= 0.0995 => 2,
            _ => 3,
        };
        let text = format!("{:.digits$}", self.0);
        f.write_str(text.strip_suffix(".0").unwrap_or(&text))
    }
}

/// A count with commas: 8,500.
pub(crate) struct Grouped(pub(crate) u64);

impl fmt::Display for Grouped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (i, digit) in digits.chars().enumerate() {
            if i > 0 && (digits.len() - i).is_multiple_of(3) {
                f.write_str(",")?;
            }
            write!(f, "{digit}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        let e = |value: f64| E(libm::log(value)).to_string();
        assert_eq!(e(100.0), "100");
        assert_eq!(e(21_000.0), "2.1e4");
        assert_eq!(e(99_999_999.0), "1.0e8");
        assert_eq!(e(1.0), "1");
        assert_eq!(e(1e-9), "1.0e-9");
        assert_eq!(E(5_000.0).to_string(), "3.0e2171");
        assert_eq!(Short(5.08).to_string(), "5.1");
        assert_eq!(Short(0.0312).to_string(), "0.031");
        assert_eq!(Grouped(0).to_string(), "0");
        assert_eq!(Grouped(141_500).to_string(), "141,500");
        assert_eq!(Grouped(1_234_567).to_string(), "1,234,567");
    }
}
