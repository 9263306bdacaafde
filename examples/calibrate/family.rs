//! The worlds in which judges are compared.

/// A world: what traffic, errors and telemetry are like, for a healthy release and for a bad one.
#[derive(Clone, Debug)]
pub(crate) struct Family {
    pub(crate) name: &'static str,
    /// For people.
    pub(crate) about: &'static str,
    /// Share of the traffic on the new version, per stage, with the stage's length in intervals.
    pub(crate) stages: &'static [(usize, f64)],
    /// Requests of all zones together, per interval.
    pub(crate) requests: u64,
    pub(crate) zones: usize,
    /// Hosts of all zones together.
    pub(crate) hosts: usize,
    /// Share of bad requests, on average.
    pub(crate) base: f64,
    pub(crate) trend: Trend,
    pub(crate) incidents: Incidents,
    pub(crate) noise: Noise,
    /// Hosts that restart have errors for a while, in every run.
    pub(crate) transients: bool,
    /// The share grows in every interval between the stages' shares.
    pub(crate) ramp: bool,
    pub(crate) loss: Loss,
    /// Dispersion given to our judge; estimated where there is none.
    pub(crate) phi: Option<f64>,
    /// Rate ratio of the bad release.
    pub(crate) ratio: f64,
    /// The one zone in which it is bad.
    pub(crate) bad_zone: Option<usize>,
    /// First interval in which it is bad.
    pub(crate) onset: usize,
    /// α of our judge and level of the z-test.
    pub(crate) alpha: f64,
}

/// How the rate of bad requests moves, the same for both arms.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Trend {
    Flat,
    /// 1 + 0.8 sin(2πt/60).
    Wave,
    /// Falls from three times the mean to a third of it over the change.
    Falling,
}

/// Times in which everybody has more errors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Incidents {
    None,
    /// ×20 in t = 40..44.
    Fixed,
    /// Three a change, each ×5 to ×50 for 2 to 12 intervals, at random times.
    Random,
}

/// How bad requests come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Noise {
    /// One by one.
    Independent,
    /// In batches of this mean size, geometric, each on one host.
    Bursts(f64),
    /// From clients that fail again and again: sessions whose length and whose failures per interval have heavy tails, each
    /// on one host. Rows count a client once per interval.
    Clients,
    /// One by one, from hosts that differ, for good, by factors with a heavy tail.
    Hosts,
}

/// Which reports get lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    None,
    /// Every third interval or so part of the canary is silent; of a bad release, rather what fails.
    Canary,
    /// Both arms at a time, sometimes all of it.
    Both,
}

const STEPS: &[(usize, f64)] = &[(30, 0.01), (30, 0.05), (30, 0.20), (30, 0.50)];
const LARGER: &[(usize, f64)] = &[(30, 0.05), (30, 0.10), (30, 0.20), (30, 0.50)];
const RAMP: &[(usize, f64)] = &[
    (15, 0.005),
    (15, 0.01),
    (15, 0.02),
    (15, 0.04),
    (15, 0.08),
    (15, 0.15),
    (15, 0.3),
    (15, 0.5),
];
/// Intervals of ten seconds: ten minutes a stage.
const SHORT: &[(usize, f64)] = &[(60, 0.02), (60, 0.08), (60, 0.25), (60, 0.60)];

const PLAIN: Family = Family {
    name: "",
    about: "",
    stages: STEPS,
    requests: 50_000,
    zones: 1,
    hosts: 200,
    base: 1e-3,
    trend: Trend::Flat,
    incidents: Incidents::None,
    noise: Noise::Independent,
    transients: false,
    ramp: false,
    loss: Loss::None,
    phi: None,
    ratio: 2.0,
    bad_zone: None,
    onset: 0,
    alpha: 0.01,
};

/// Every family, in the order of the table.
pub(crate) const FAMILIES: &[Family] = &[
    Family {
        name: "v24",
        about: "daily wave, shared incident ×20, split 1→5→20→50 %; φ = 1 given, α = 1 %",
        trend: Trend::Wave,
        incidents: Incidents::Fixed,
        phi: Some(1.0),
        ..PLAIN
    },
    Family {
        name: "v24-5",
        about: "the same at α = 5 %",
        trend: Trend::Wave,
        incidents: Incidents::Fixed,
        phi: Some(1.0),
        alpha: 0.05,
        ..PLAIN
    },
    Family {
        name: "bursts-3",
        about: "the same wave and incident, errors in bursts of 3 on average; φ estimated",
        trend: Trend::Wave,
        incidents: Incidents::Fixed,
        noise: Noise::Bursts(3.0),
        ratio: 3.0,
        ..PLAIN
    },
    Family {
        name: "bursts-10",
        about: "likewise, bursts of 10",
        trend: Trend::Wave,
        incidents: Incidents::Fixed,
        noise: Noise::Bursts(10.0),
        ratio: 4.0,
        ..PLAIN
    },
    Family {
        name: "heavy-clients",
        about: "few clients fail again and again, on one host each; a client counts once per interval",
        stages: LARGER,
        noise: Noise::Clients,
        ratio: 3.0,
        ..PLAIN
    },
    Family {
        name: "heavy-hosts",
        about: "hosts differ for good, by factors with a heavy tail",
        stages: LARGER,
        noise: Noise::Hosts,
        ratio: 3.0,
        ..PLAIN
    },
    Family {
        name: "restarts",
        about: "errors ×2 to ×10 for 5 to 120 s after every restart, in every run",
        stages: SHORT,
        requests: 10_000,
        transients: true,
        ratio: 3.0,
        ..PLAIN
    },
    Family {
        name: "incidents",
        about: "three incidents that hit everybody, ×5 to ×50",
        incidents: Incidents::Random,
        ..PLAIN
    },
    Family {
        name: "ramp",
        about: "split grows in every interval from 0.5 to 50 %, while the rate falls to a ninth",
        stages: RAMP,
        trend: Trend::Falling,
        ramp: true,
        ratio: 3.0,
        ..PLAIN
    },
    Family {
        name: "loss-canary",
        about: "canary hosts go silent; of the bad release, rather those that fail",
        loss: Loss::Canary,
        ratio: 3.0,
        ..PLAIN
    },
    Family {
        name: "loss-both",
        about: "both arms go silent together, in part or all",
        loss: Loss::Both,
        ratio: 3.0,
        ..PLAIN
    },
    Family {
        name: "one-zone",
        about: "ratio 2 in one of five zones",
        zones: 5,
        bad_zone: Some(3),
        ..PLAIN
    },
    Family {
        name: "low-rate",
        about: "one bad request in 100,000; ratio 4",
        requests: 500_000,
        base: 1e-5,
        ratio: 4.0,
        ..PLAIN
    },
    Family {
        name: "late",
        about: "ratio 2 from the third stage on",
        trend: Trend::Wave,
        incidents: Incidents::Fixed,
        onset: 60,
        ..PLAIN
    },
];

impl Family {
    /// Intervals of a whole change.
    pub(crate) fn intervals(&self) -> usize {
        self.stages.iter().map(|stage| stage.0).sum()
    }

    /// Whether our judge is given hosts one by one; else sums, and some hosts of the control.
    pub(crate) fn per_host(&self) -> bool {
        self.transients || self.noise != Noise::Independent
    }

    /// The stage of an interval, and whether the interval is its first.
    pub(crate) fn stage(&self, t: usize) -> (usize, bool) {
        let mut since = 0;
        for (stage, (length, _)) in self.stages.iter().enumerate() {
            if t < since + length {
                return (stage, t == since);
            }
            since += length;
        }
        (self.stages.len() - 1, false)
    }

    /// Share of the traffic on the new version.
    pub(crate) fn share(&self, t: usize) -> f64 {
        let (stage, _) = self.stage(t);
        if !self.ramp {
            return self.stages[stage].1;
        }
        let (first, last) = (self.stages[0].1, self.stages[self.stages.len() - 1].1);
        first * (last / first).powf(fraction(t, self.intervals() - 1))
    }

    /// The rate of bad requests of everybody, without incidents.
    pub(crate) fn rate(&self, t: usize) -> f64 {
        self.base
            * match self.trend {
                Trend::Flat => 1.0,
                Trend::Wave => 1.0 + 0.8 * (fraction(t, 60) * core::f64::consts::TAU).sin(),
                Trend::Falling => 3.0 * 9_f64.powf(-fraction(t, self.intervals())),
            }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a change has few intervals")]
fn fraction(part: usize, of: usize) -> f64 {
    part as f64 / of as f64
}
