//! What the faults of a release do, as numbers.

use crate::draw::upper_tail;
use crate::weather::Factors;
use crate::{Fault, ReleaseSpec, World};

/// Everything that is wrong with the release, where its filters match.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effects {
    /// There is anything at all.
    pub(crate) any: bool,
    pub(crate) crash: bool,
    pub(crate) unready: bool,
    /// The old version crashes where the new one has run.
    pub(crate) one_way: bool,
    /// Part of the memory limit per hour.
    pub(crate) leak_per_hour: Option<f64>,
    /// On errors and slow requests.
    pub(crate) factors: Factors,
    /// These hold from this load on.
    pub(crate) from_load: f64,
    /// What requests, calls and counts suffer begins at this age of the instance.
    pub(crate) after_ms: u64,
    /// Share of the hosts at fault whose counts do not arrive.
    pub(crate) mute: f64,
    /// Factor on errors of calls from the old version.
    pub(crate) old_peers: f64,
    /// Factor on errors of calls between two instances at fault.
    pub(crate) new_pairs: f64,
    /// Factor on everybody's errors once all are at fault.
    pub(crate) dependency: f64,
}

impl Effects {
    pub(crate) fn new(release: &ReleaseSpec, world: &World) -> Self {
        let mut effects = Self {
            any: !release.faults().is_empty(),
            crash: false,
            unready: false,
            one_way: false,
            leak_per_hour: None,
            factors: Factors::NONE,
            from_load: 0.0,
            after_ms: 0,
            mute: 0.0,
            old_peers: 1.0,
            new_pairs: 1.0,
            dependency: 1.0,
        };
        for fault in release.faults() {
            match *fault {
                Fault::Crash => effects.crash = true,
                Fault::Unready => effects.unready = true,
                Fault::OneWay => effects.one_way = true,
                Fault::Leak { per_hour } => effects.leak_per_hour = Some(per_hour),
                Fault::Errors { factor } => effects.factors.errors = factor,
                Fault::Late { after_ms, factor } => (effects.after_ms, effects.factors.errors) = (after_ms, factor),
                Fault::Load { share, factor } => {
                    effects.factors.errors = factor;
                    effects.from_load = share * (1.0 + world.daily_amplitude);
                }
                Fault::Latency { factor } => {
                    let moved = slow_bound(world) - libm::log(factor) / world.latency_sigma;
                    effects.factors.slow = upper_tail(moved) / world.slow_share;
                }
                Fault::Mute { share } => effects.mute = share,
                Fault::OldPeers { factor } => effects.old_peers = factor,
                Fault::NewPairs { factor } => effects.new_pairs = factor,
                Fault::Dependency { factor } => effects.dependency = factor,
            }
        }
        effects
    }

    /// Instances at fault are counted otherwise than others, once they are old enough.
    pub(crate) fn shows(&self) -> bool {
        self.factors.errors > 1.0 || self.factors.slow > 1.0 || self.mute > 0.0 || self.spreads()
    }

    /// How bad it is depends on how many run it.
    pub(crate) fn spreads(&self) -> bool {
        self.old_peers > 1.0 || self.new_pairs > 1.0 || self.dependency > 1.0
    }

    /// What the release does to the requests of those at fault under this load, by itself.
    pub(crate) fn under(&self, load: f64) -> Factors {
        if load >= self.from_load {
            self.factors
        } else {
            Factors::NONE
        }
    }
}

/// A factor that only some of the calls suffer, over all of them.
pub(crate) fn diluted(factor: f64, share: f64) -> f64 {
    1.0 + (factor - 1.0) * share
}

/// Where the bound for slow requests lies, in standard deviations of log latency: where the tail holds the slow share.
fn slow_bound(world: &World) -> f64 {
    // Bisection, since the tail falls steadily.
    let (mut low, mut high) = (0.0_f64, 10.0_f64);
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if upper_tail(middle) > world.slow_share {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}
