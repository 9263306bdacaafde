//! Broken releases, from the same source as the good one.

use std::str::FromStr;

/// What this release does wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Faults {
    /// It exits at start.
    pub(crate) crash: bool,
    /// It fails its static self-check.
    pub(crate) self_check: bool,
    /// It never says that it is ready.
    pub(crate) unready: bool,
    /// Share of requests and of new connections that fail by themselves, in millionths.
    pub(crate) errors_ppm: u32,
    /// Its own latency as a multiple of the usual one, in thousandths.
    pub(crate) slow_permille: u32,
    /// It loses memory and descriptors with each request.
    pub(crate) leak: bool,
    /// It kills itself as soon as it has taken the first connections.
    pub(crate) dies_mid_handover: bool,
    /// It refuses every configuration that is pushed.
    pub(crate) config: bool,
}

/// One fault as it is written: `NAME` or `NAME=VALUE`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    Crash,
    SelfCheck,
    Unready,
    Errors(u32),
    Slow(u32),
    Leak,
    DiesMidHandover,
    Config,
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text
            .split_once('=')
            .map_or((text, None), |(name, value)| (name, Some(value)));
        let number = |low: f64, high: f64| -> Result<f64, String> {
            let value = value.ok_or_else(|| format!("`{name}` needs a value: {name}=NUMBER"))?;
            value
                .parse()
                .ok()
                .filter(|number| (low..=high).contains(number))
                .ok_or_else(|| format!("`{name}={value}`: the value is a number from {low} to {high}"))
        };
        let fault = match name {
            "crash" => Self::Crash,
            "self-check" => Self::SelfCheck,
            "unready" => Self::Unready,
            "errors" => return Ok(Self::Errors(whole(number(0.0, 1.0)? * 1e6))),
            "slow" => return Ok(Self::Slow(whole(number(1.0, 1_000.0)? * 1e3))),
            "leak" => Self::Leak,
            "dies-mid-handover" => Self::DiesMidHandover,
            "config" => Self::Config,
            _ => {
                return Err(format!(
                    "`{name}` is no fault; there are crash, self-check, unready, errors=SHARE, slow=TIMES, leak, dies-mid-handover, config"
                ));
            }
        };
        match value {
            None => Ok(fault),
            Some(_) => Err(format!("`{name}` takes no value")),
        }
    }
}

/// Of a number that was found to be between 0 and a million.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the range was checked when it was read"
)]
const fn whole(number: f64) -> u32 {
    number.round() as u32
}

impl FromIterator<Fault> for Faults {
    fn from_iter<I: IntoIterator<Item = Fault>>(faults: I) -> Self {
        let mut all = Self {
            slow_permille: 1_000,
            ..Self::default()
        };
        for fault in faults {
            match fault {
                Fault::Crash => all.crash = true,
                Fault::SelfCheck => all.self_check = true,
                Fault::Unready => all.unready = true,
                Fault::Errors(ppm) => all.errors_ppm = ppm,
                Fault::Slow(permille) => all.slow_permille = permille,
                Fault::Leak => all.leak = true,
                Fault::DiesMidHandover => all.dies_mid_handover = true,
                Fault::Config => all.config = true,
            }
        }
        all
    }
}

impl Faults {
    /// Whether the `count`-th draw fails: the same draws in each run of one instance, and no pattern that a client could meet.
    pub(crate) fn fails(&self, instance: u64, count: u64) -> bool {
        // SplitMix64 (Steele, Lea, Flood 2014).
        let mut mixed = instance
            .wrapping_mul(0xd1b5_4a32_d192_ed03)
            .wrapping_add(count.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        mixed % 1_000_000 < u64::from(self.errors_ppm)
    }
}

#[cfg(test)]
mod tests {
    use super::{Fault, Faults};

    #[test]
    fn faults_are_read_with_their_values() {
        assert_eq!("errors=0.05".parse(), Ok(Fault::Errors(50_000)));
        assert_eq!("slow=3".parse(), Ok(Fault::Slow(3_000)));
        assert_eq!("self-check".parse(), Ok(Fault::SelfCheck));
        for wrong in [
            "",
            "cras",
            "crash=1",
            "errors",
            "errors=2",
            "errors=NaN",
            "slow=0",
            "slow=x",
        ] {
            assert!(wrong.parse::<Fault>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_share_that_fails_is_the_share_that_was_asked_for() {
        let faults: Faults = [Fault::Errors(50_000)].into_iter().collect();
        let failed = (0..100_000).filter(|count| faults.fails(7, *count)).count();
        assert!((4_700..5_300).contains(&failed), "{failed} of 100,000");
        assert!((0..100_000).all(|count| !Faults::default().fails(7, count)));
    }
}
