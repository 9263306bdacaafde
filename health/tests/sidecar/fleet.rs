//! A fleet that is as bad for a trend test as real ones are.

use unattended_health::{Arm, Resource, Trend, TrendConfig, TrendReading};

use crate::support::Random;

/// A fleet whose hosts differ in level, leak by themselves in one case of five, and read with heavy tails: a reading in
/// twenty is off by far more than the rest, noise lasts, and rubbish is collected in waves.
struct Fleet {
    hosts: Vec<(f64, f64, f64)>,
    random: Random,
}

impl Fleet {
    fn new(hosts: usize, seed: u64) -> Self {
        let mut random = Random(seed);
        let hosts = (0..hosts)
            .map(|_| {
                let level = 1e8 * (1.0 + 9.0 * random.unit());
                let own_leak = if random.unit() < 0.2 { 0.08 * random.unit() } else { 0.0 };
                (level, own_leak, 0.0)
            })
            .collect();
        Self { hosts, random }
    }

    fn read(&mut self, host: usize, hours: f64, leak: f64) -> f64 {
        let (level, own_leak, lasting) = &mut self.hosts[host];
        *lasting = 0.9 * *lasting + 0.004 * (self.random.unit() - 0.5);
        let spike = if self.random.unit() < 0.05 {
            self.random.unit().powi(-2).min(50.0) * 0.02
        } else {
            0.0
        };
        let wave = 0.03 * (hours * 7.0 + host as f64).fract();
        *level * (1.0 + (*own_leak + leak) * hours + *lasting + spike + wave)
    }
}

/// Evidence after each hour of a run, in ln; canary hosts are the first ones, which is as random as any choice.
pub(crate) fn run(seed: u64, canary: usize, all: usize, hours: u32, leak: f64) -> Vec<f64> {
    let mut fleet = Fleet::new(all, seed);
    let mut trend = Trend::new(Resource::Memory, TrendConfig::default()).unwrap();
    let mut evidence = Vec::new();
    for step in 0..hours * 30 {
        let at_ms = u64::from(step) * 120_000;
        for host in 0..all {
            let (arm, leak) = if host < canary {
                (Arm::Canary, leak)
            } else {
                (Arm::Control, 0.0)
            };
            let value = fleet.read(host, f64::from(step) / 30.0, leak);
            let host = u32::try_from(host).unwrap();
            // Two groups, of which each has both arms.
            let group = host % 2;
            trend
                .observe(TrendReading {
                    group,
                    arm,
                    host,
                    epoch: 1,
                    at_ms,
                    value,
                })
                .unwrap();
        }
        trend.look(at_ms);
        if step % 30 == 29 {
            evidence.push(trend.ln_e());
        }
    }
    assert!(evidence.is_sorted(), "evidence never falls");
    evidence
}
