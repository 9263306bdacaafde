//! The sizes a ramp allows, worked out without the ramp's own code.

use crate::amount::Amount;
use crate::ramp::Ramp;

/// Running sizes have this many units to a target.
const UNIT: u128 = 1_000_000_000_000;

/// The size of the first batch, before coverage.
pub(super) fn first(ramp: &Ramp, fleet: u32) -> u32 {
    match ramp {
        Ramp::Geometric(shape) => down(shape.first(), fleet),
        Ramp::Linear(shape) => down(shape.first(), fleet),
        Ramp::Steps(shape) => shape.as_slice().first().map_or(fleet, |&step| up(step, fleet)),
        Ramp::Evidence(shape) => shape.levels().first().map_or(fleet, |level| level.count()),
        // The ramp is defined by its search; to search again in the same way would prove nothing more.
        Ramp::CostOptimal(_) => searched(ramp, fleet, 1).first().copied().unwrap_or(fleet),
    }
    .min(fleet)
}

/// The most there may be after each batch, beginning with `begin`. After the end of the iterator, the whole fleet.
pub(super) fn allowed(ramp: &Ramp, fleet: u32, begin: u32) -> Box<dyn Iterator<Item = u32>> {
    let listed = |sizes: Vec<u32>| -> Box<dyn Iterator<Item = u32>> {
        let mut last = begin;
        let rises = sizes.into_iter().filter(move |&size| {
            let rises = size > last;
            last = last.max(size);
            rises
        });
        Box::new(std::iter::once(begin).chain(rises))
    };
    match ramp {
        Ramp::Geometric(shape) => Box::new(times(begin, shape.growth_ppm())),
        Ramp::Linear(shape) => {
            let step = up(shape.step(), fleet) as usize;
            Box::new((begin..=u32::MAX).step_by(step.max(1)))
        }
        Ramp::Steps(shape) => listed(shape.as_slice().iter().map(|&step| up(step, fleet)).collect()),
        Ramp::Evidence(shape) => {
            let levels: Vec<u32> = shape.levels().iter().map(|level| level.count()).collect();
            let top = levels.iter().copied().max().unwrap_or(0).max(begin);
            Box::new(listed(levels).chain(times(top, shape.growth_ppm()).skip(1)))
        }
        Ramp::CostOptimal(_) => Box::new(searched(ramp, fleet, begin).into_iter()),
    }
}

fn searched(ramp: &Ramp, fleet: u32, least: u32) -> Vec<u32> {
    ramp.sizes(fleet, least).unwrap_or_default()
}

/// Different values of `ceil(begin · growth^k)`, rounded up at every step.
fn times(begin: u32, growth_ppm: u64) -> impl Iterator<Item = u32> {
    let mut exact = u128::from(begin) * UNIT;
    let mut before = 0;
    std::iter::from_fn(move || {
        loop {
            let whole = u32::try_from(exact.div_ceil(UNIT)).unwrap_or(u32::MAX);
            if whole > before {
                before = whole;
                return Some(whole);
            }
            if whole == u32::MAX || exact == 0 || growth_ppm <= 1_000_000 {
                return None;
            }
            exact = exact.saturating_mul(u128::from(growth_ppm)).div_ceil(1_000_000);
        }
    })
}

/// An amount that is not exceeded, though one is always meant.
fn down(amount: Amount, fleet: u32) -> u32 {
    match amount {
        Amount::Count(count) => count.min(fleet),
        Amount::PartsPerMillion(ppm) => {
            let most = u64::from(fleet) * u64::from(ppm) / 1_000_000;
            u32::try_from(most).unwrap_or(fleet).clamp(fleet.min(1), fleet)
        }
    }
}

/// An amount rounded up, written as the whole less what is left out.
fn up(amount: Amount, fleet: u32) -> u32 {
    match amount {
        Amount::Count(count) => count.min(fleet),
        Amount::PartsPerMillion(ppm) => {
            let left_out = u64::from(fleet) * u64::from(1_000_000 - ppm.min(1_000_000)) / 1_000_000;
            fleet - u32::try_from(left_out).unwrap_or(0)
        }
    }
}
