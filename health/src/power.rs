//! How small a canary may be, and how long it must bake: what it takes to find a regression, and to show that there is none.
//!
//! A bad event falls on the canary with probability π(r) = ρ r/(1 − ρ + ρ r). When the ratio is r, each adds on average
//! K = KL(π(r) ‖ ρ) to the evidence, with standard deviation σ = √(π(1 − π))·ln(π(1 − ρ)/(ρ(1 − π))). Reaching L with a
//! given power takes D = ((zσ + √(z²σ² + 4KL))/(2K))² events, by the normal approximation of a random walk with drift.
//! For promotion the same holds between ρ and π(1 + δ).

use serde::{Deserialize, Serialize};

/// What is asked of a comparison: budgets, power, and how unruly the counts are.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "written literally, with `..Design::default()`")]
pub struct Design {
    /// Budget of false stops, as in [`JudgeConfig`](crate::JudgeConfig).
    pub alpha: f64,
    /// Budget of bad promotions.
    pub beta: f64,
    /// A ratio of 1 + δ counts as bad.
    pub delta: f64,
    /// Probability with which a regression is to be found, or a good release let go, above 0.5.
    pub power: f64,
    /// Share of the stop statistic that has to reach 1/α alone: weight of the metric times weight of the restart.
    pub weight: f64,
    /// φ of the counts, at least 1.
    pub dispersion: f64,
}

impl Default for Design {
    /// α = 0.01, β = 0.05, δ = 0.5, power 0.9, the whole weight, independent events.
    fn default() -> Self {
        Self {
            alpha: 0.01,
            beta: 0.05,
            delta: 0.5,
            power: 0.9,
            weight: 1.0,
            dispersion: 1.0,
        }
    }
}

/// What a comparison needs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Demand {
    /// K: evidence per bad event, in nats.
    pub information: f64,
    /// σ: its standard deviation.
    pub spread: f64,
    /// L: evidence needed, in nats.
    pub needed: f64,
    /// L/K: bad events of both arms needed on average.
    pub mean_events: f64,
    /// D: bad events of both arms needed with the wanted power.
    pub events: f64,
    /// N: requests of both arms that have so many bad events.
    pub requests: f64,
    /// Of these, on the canary.
    pub canary_requests: f64,
}

/// A fleet that a canary is to be cut from.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "written literally by planners")]
pub struct Traffic<'a> {
    /// Hosts in all, at least 2.
    pub hosts: u64,
    /// Requests per second and host.
    pub requests_per_s: f64,
    /// Rate of bad events of each metric that promotion requires, above 0 and below 1.
    pub base_rates: &'a [f64],
}

/// The smallest canary that can do what is asked.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Canary {
    /// Hosts on the new version.
    pub hosts: u64,
    /// Seconds until a regression of the wanted ratio is found with the wanted power, in the slowest metric.
    pub detection_s: f64,
    /// Seconds until a good release has shown its safety with the wanted power, in the slowest metric.
    pub promotion_s: f64,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PowerError {
    /// A number is out of range.
    #[error("{field} is {value}, it must be {range}")]
    Range {
        /// Which.
        field: &'static str,
        /// The value given.
        value: f64,
        /// The range allowed.
        range: &'static str,
    },
    /// No canary up to half of the hosts can do it in that time.
    #[error(
        "undetectable at this traffic in {within_s} s: half of the hosts find {}, and take {promotion_s:.0} s to show safety; allow more time, or a larger ratio",
        ratio(*.smallest_ratio)
    )]
    Undetectable {
        /// The time allowed, in seconds.
        within_s: f64,
        /// The smallest ratio that half of the hosts find in this time; `None` where it is above 1,000.
        smallest_ratio: Option<f64>,
        /// What half of the hosts take to show safety, in seconds.
        promotion_s: f64,
    },
}

/// What can be found, in words.
fn ratio(smallest: Option<f64>) -> String {
    smallest.map_or_else(
        || "no ratio up to 1000".to_owned(),
        |ratio| format!("a ratio of {ratio:.2}"),
    )
}

/// Mean and standard deviation of the evidence of one bad event.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Information {
    pub(crate) per_event: f64,
    pub(crate) spread: f64,
}

fn on_canary(share: f64, ratio: f64) -> f64 {
    share * ratio / (1.0 - share + share * ratio)
}

/// Of an event that falls on the canary with probability `truth`, for `truth` against `null`.
fn information(truth: f64, null: f64) -> Information {
    let (yes, no) = (libm::log(truth / null), libm::log((1.0 - truth) / (1.0 - null)));
    Information {
        per_event: truth * yes + (1.0 - truth) * no,
        spread: libm::sqrt(truth * (1.0 - truth)) * (yes - no).abs(),
    }
}

/// Of a good release, against "the ratio is at least `bad_ratio`".
pub(crate) fn promotion_information(share: f64, bad_ratio: f64) -> Information {
    information(share, on_canary(share, bad_ratio))
}

impl Design {
    /// What it takes to find a regression by the factor `ratio` where the old version has `base_rate` bad events per
    /// request and the canary gets the share `share` of all requests.
    ///
    /// # Errors
    ///
    /// [`PowerError::Range`] for numbers out of range.
    pub fn detection(&self, base_rate: f64, ratio: f64, share: f64) -> Result<Demand, PowerError> {
        self.check()?;
        check_point(base_rate, share)?;
        range("ratio", ratio, "above 1, at most 1e6", ratio > 1.0 && ratio <= 1e6)?;
        let information = information(on_canary(share, ratio), share);
        // The grid's nearest ratio has a sixth of the weight.
        let needed = -libm::log(self.alpha) - libm::log(self.weight) + libm::log(6.0);
        Ok(self.demand(information, needed, base_rate * (1.0 - share + share * ratio), share))
    }

    /// What it takes to show that a release which is as good as the old version is not worse by 1 + δ.
    ///
    /// # Errors
    ///
    /// [`PowerError::Range`] for numbers out of range.
    pub fn promotion(&self, base_rate: f64, share: f64) -> Result<Demand, PowerError> {
        self.check()?;
        check_point(base_rate, share)?;
        // The mean of two e-values, of which the other may be idle, costs ln 2.
        let needed = -libm::log(self.beta) + core::f64::consts::LN_2;
        let information = promotion_information(share, 1.0 + self.delta);
        Ok(self.demand(information, needed, base_rate, share))
    }

    /// The smallest ratio that is found with the wanted power from so many requests of both arms together; `None` where it
    /// is above 1,000.
    ///
    /// # Errors
    ///
    /// [`PowerError::Range`] for numbers out of range.
    pub fn smallest_ratio(&self, base_rate: f64, share: f64, requests: f64) -> Result<Option<f64>, PowerError> {
        range(
            "requests",
            requests,
            "above 0, finite",
            requests > 0.0 && requests.is_finite(),
        )?;
        let (mut missed, mut found) = (1.0 + 1e-9, 1_000.0);
        if self.detection(base_rate, found, share)?.requests > requests {
            return Ok(None);
        }
        for _ in 0..100 {
            let middle = f64::midpoint(missed, found);
            if self.detection(base_rate, middle, share)?.requests > requests {
                missed = middle;
            } else {
                found = middle;
            }
        }
        Ok(Some(found))
    }

    /// The smallest canary that within `within_s` seconds finds a regression by `ratio` in every metric, and that shows
    /// the safety of a good release in every metric.
    ///
    /// # Errors
    ///
    /// [`PowerError::Undetectable`] where half of the hosts are too few, [`PowerError::Range`] for numbers out of range.
    pub fn smallest_canary(&self, traffic: &Traffic<'_>, ratio: f64, within_s: f64) -> Result<Canary, PowerError> {
        let Traffic {
            hosts,
            requests_per_s,
            base_rates,
        } = *traffic;
        let all = crate::row::to_f64(hosts);
        range("hosts", all, "2 to 1e9", (2.0..=1e9).contains(&all))?;
        range(
            "requests_per_s",
            requests_per_s,
            "above 0, at most 1e9",
            requests_per_s > 0.0 && requests_per_s <= 1e9,
        )?;
        range(
            "within_s",
            within_s,
            "above 0, finite",
            within_s > 0.0 && within_s.is_finite(),
        )?;
        let count = crate::judge::count(base_rates.len());
        range("number of base rates", count, "at least 1", count >= 1.0)?;
        let per_s = requests_per_s * all;
        let canary = |hosts: u64| -> Result<Canary, PowerError> {
            let share = crate::row::to_f64(hosts) / all;
            let mut canary = Canary {
                hosts,
                detection_s: 0.0,
                promotion_s: 0.0,
            };
            for &rate in base_rates {
                canary.detection_s = canary
                    .detection_s
                    .max(self.detection(rate, ratio, share)?.requests / per_s);
                canary.promotion_s = canary.promotion_s.max(self.promotion(rate, share)?.requests / per_s);
            }
            Ok(canary)
        };
        let lasts = |canary: &Canary| canary.detection_s.max(canary.promotion_s);
        // Time falls with the size of the canary down to a single lowest point: find that, then the first that is quick enough
        // on the way down.
        let (mut low, mut high) = (1, hosts / 2);
        while low < high {
            let middle = low.midpoint(high);
            if lasts(&canary(middle)?) > lasts(&canary(middle + 1)?) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let best = canary(low)?;
        if lasts(&best) > within_s {
            let share = crate::row::to_f64(low) / all;
            let slowest = base_rates.iter().copied().fold(f64::INFINITY, f64::min);
            return Err(PowerError::Undetectable {
                within_s,
                smallest_ratio: self.smallest_ratio(slowest, share, per_s * within_s)?,
                promotion_s: best.promotion_s,
            });
        }
        let (mut slow, mut quick) = (0, low);
        while slow + 1 < quick {
            let middle = slow.midpoint(quick);
            if lasts(&canary(middle)?) > within_s {
                slow = middle;
            } else {
                quick = middle;
            }
        }
        canary(quick)
    }

    fn demand(&self, information: Information, needed: f64, rate: f64, share: f64) -> Demand {
        let Information { per_event, spread } = information;
        let (goal, noise) = (needed * self.dispersion, spread * libm::sqrt(self.dispersion));
        let z = normal_quantile(self.power);
        let root = (z * noise + libm::sqrt(z * z * noise * noise + 4.0 * per_event * goal)) / (2.0 * per_event);
        let events = root * root;
        Demand {
            information: per_event,
            spread,
            needed,
            mean_events: goal / per_event,
            events,
            requests: events / rate,
            canary_requests: share * events / rate,
        }
    }

    fn check(&self) -> Result<(), PowerError> {
        let open = |value: f64| value > 0.0 && value < 1.0;
        range("alpha", self.alpha, "above 0 and below 1", open(self.alpha))?;
        range("beta", self.beta, "above 0 and below 1", open(self.beta))?;
        range(
            "delta",
            self.delta,
            "above 0, at most 100",
            self.delta > 0.0 && self.delta <= 100.0,
        )?;
        range(
            "power",
            self.power,
            "0.5 to 0.999999",
            (0.5..=0.999_999).contains(&self.power),
        )?;
        range(
            "weight",
            self.weight,
            "above 0, at most 1",
            self.weight > 0.0 && self.weight <= 1.0,
        )?;
        range(
            "dispersion",
            self.dispersion,
            "1 to 50",
            (1.0..=50.0).contains(&self.dispersion),
        )
    }
}

fn check_point(base_rate: f64, share: f64) -> Result<(), PowerError> {
    range(
        "base rate",
        base_rate,
        "above 0 and below 1",
        base_rate > 0.0 && base_rate < 1.0,
    )?;
    range(
        "share of the canary",
        share,
        "above 0 and below 1",
        share > 0.0 && share < 1.0,
    )
}

fn range(field: &'static str, value: f64, range: &'static str, good: bool) -> Result<(), PowerError> {
    if good {
        Ok(())
    } else {
        Err(PowerError::Range { field, value, range })
    }
}

/// Baseline events in the canary's share that a small canary needs: L/(r ln r − r + 1), a rule of thumb for ρ → 0.
#[must_use]
pub fn baseline_events(needed: f64, ratio: f64) -> f64 {
    needed / (ratio * libm::log(ratio) - ratio + 1.0)
}

/// Φ⁻¹ by bisection of the complementary error function.
pub(crate) fn normal_quantile(probability: f64) -> f64 {
    let (mut low, mut high) = (-40.0_f64, 40.0_f64);
    for _ in 0..200 {
        let middle = f64::midpoint(low, high);
        if 0.5 * libm::erfc(-middle / core::f64::consts::SQRT_2) < probability {
            low = middle;
        } else {
            high = middle;
        }
    }
    f64::midpoint(low, high)
}
