//! What the tests share: a seeded generator and a small fleet.

use unattended_health::{
    Counts, Coverage, FaultClass, HoldReason, Interval, Judge, JudgeConfig, MetricSpec, Row, StratumInfo, Topology,
    Verdict,
};

/// SplitMix64 (Steele, Lea, Flood 2014).
pub(crate) struct SplitMix(pub(crate) u64);

impl SplitMix {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in [0, 1).
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Poisson, by inversion in pieces of mean 30 at most.
    pub(crate) fn poisson(&mut self, mut mean: f64) -> u64 {
        let mut sum = 0;
        while mean > 0.0 {
            let piece = mean.min(30.0);
            mean -= piece;
            let (mut left, mut mass) = (self.unit(), (-piece).exp());
            let mut k = 0;
            while left >= mass && k < 400 {
                left -= mass;
                k += 1;
                mass *= piece / k as f64;
            }
            sum += k;
        }
        sum
    }

    /// Poisson bad events of a total, never above it.
    pub(crate) fn counts(&mut self, total: u64, rate: f64) -> Counts {
        Counts::new(self.poisson(total as f64 * rate).min(total), total)
    }

    /// Geometric with this mean, at least 1.
    pub(crate) fn geometric(&mut self, mean: f64) -> u64 {
        1 + ((1.0 - self.unit()).ln() / (1.0 - 1.0 / mean).ln()) as u64
    }
}

/// Two zones and two stacks; four applications of one stratum per zone each; the applications alternate between stacks.
/// Classes: 0 and 1 the zones, 2 and 3 the stacks. Stratum = application · 2 + zone.
pub(crate) fn topology() -> Topology {
    let strata = (0..8)
        .map(|i| StratumInfo {
            app: i / 2,
            classes: vec![i % 2, 2 + (i / 2) % 2],
        })
        .collect();
    Topology {
        strata,
        classes: ["zone=zone-1", "zone=zone-2", "stack=HN", "stack=JV"]
            .map(str::to_owned)
            .to_vec(),
        apps: ["pay", "search", "cart", "mail"].map(str::to_owned).to_vec(),
    }
}

/// The standard metrics; counts in these tests are independent, so that dispersion starts at 1.
pub(crate) fn config() -> JudgeConfig {
    let mut config = JudgeConfig::standard();
    config.dispersion_default = 1.0;
    config
}

/// One metric alone, over one stratum.
pub(crate) fn single() -> Judge {
    let mut config = JudgeConfig::new(vec![MetricSpec::new("errors", FaultClass::Own, 1.0)]);
    config.dispersion_default = 1.0;
    config.fresh_share = 0.0;
    let topology = Topology {
        strata: vec![StratumInfo {
            app: 0,
            classes: vec![0],
        }],
        classes: vec!["all=all".to_owned()],
        apps: vec!["pay".to_owned()],
    };
    Judge::new(config, topology, &[]).unwrap()
}

pub(crate) fn row(stratum: u32, metric: u8, canary: Counts, control: Counts) -> Row {
    Row {
        stratum,
        metric,
        fresh: false,
        level: 0,
        canary,
        control,
        missing: 0,
    }
}

pub(crate) fn interval(index: u64, rows: Vec<Row>) -> Interval {
    let all = Coverage {
        reported: 100,
        expected: 100,
    };
    Interval {
        index,
        end_ms: index * 10_000,
        rows,
        canary_hosts: all,
        control_hosts: all,
        ..Interval::default()
    }
}

/// Why a verdict holds.
pub(crate) fn held(verdict: Verdict) -> Option<HoldReason> {
    match verdict {
        Verdict::Hold(hold) => Some(hold.reason),
        _ => None,
    }
}
