//! What the release really does, whether anybody counts it or not: the truth that judges are held against.

use crate::Simulated;
use crate::draw::{floor_to_u64, to_f64};
use crate::effects::diluted;
use crate::exposure::Episodes;
use crate::fleet::Fleet;
use crate::population::at;
use crate::weather::Weather;

/// Steps in which a full rollout is reckoned.
const STEPS: u32 = 24;
const DAY_S: f64 = 86_400.0;
const MINUTE_MS: u64 = 60_000;
const MINUTES_A_DAY: u64 = 1_440;

/// Bad events of one kind in a full rollout, in the mean and as they are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Shift {
    /// What those who suffer would have had without the release, in the time that it is at work.
    pub base: f64,
    /// What they have more with it.
    pub excess: f64,
}

/// What the release would do if it were rolled out to its end: adoption grows evenly from none to all within one day.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct FullRollout {
    /// When the first that runs it from the beginning does worse, in milliseconds; `None` where nobody ever does.
    pub onset_ms: Option<u64>,
    /// Episodes of own errors.
    pub errors: Shift,
    /// Episodes of slow requests.
    pub slow: Shift,
    /// Restarts that nobody asked for.
    pub restarts: Shift,
    /// Starts after which the instance did not get ready.
    pub starts: Shift,
}

/// The targets of one application, in requests per second.
#[derive(Clone, Copy, Default)]
struct Rates {
    at_fault: f64,
    all: f64,
    hosts_at_fault: u32,
}

impl Simulated {
    /// Own errors and slow requests that there were because of the release, in the mean, over the intervals that were read so
    /// far: also those that nobody counts.
    pub fn harm(&self) -> f64 {
        self.present().harm
    }

    /// What the release would do, were nobody to stop it.
    pub fn full_rollout(&self) -> FullRollout {
        self.present().full_rollout()
    }
}

impl Fleet {
    /// Requests that go wrong in the interval because of the release.
    pub(crate) fn harm_in(&self, weather: &Weather) -> f64 {
        let effects = &self.effects;
        let adoption = weather.adoption;
        let shared = diluted(effects.dependency, adoption);
        let mut harm = 0.0;
        for stratum in self.strata.list.iter().filter(|stratum| stratum.members.hosts > 0) {
            let at_fault = stratum.faulty.rate() + to_f64(self.fresh_at_fault(stratum)) * 1e-6;
            if at_fault <= 0.0 && shared <= 1.0 {
                continue;
            }
            let load = self.load(stratum.app, weather);
            let requests = load * weather.seconds;
            let calm = self.calm(stratum, weather);
            let own = effects.under(load);
            let between = diluted(effects.new_pairs, adoption) * diluted(effects.old_peers, 1.0 - adoption);
            let p = self.population.apps[at(stratum.app)].error_rate * calm.errors / shared;
            let more = |p: f64, factor: f64| (p * factor).min(1.0) - p.min(1.0);
            harm += requests * at_fault * more(p, own.errors * between * shared);
            harm += requests * (stratum.members.rate() - at_fault).max(0.0) * more(p, shared);
            harm += requests * at_fault * more(self.world.slow_share * calm.slow, own.slow);
        }
        harm
    }

    fn full_rollout(&self) -> FullRollout {
        let effects = &self.effects;
        let mut full = FullRollout::default();
        if !effects.any {
            return full;
        }
        let mut apps = vec![Rates::default(); self.population.apps.len()];
        for slot in &self.population.slots {
            let kind = self.population.kind_of(slot);
            let rates = &mut apps[at(kind.app_index)];
            rates.all += slot.rate();
            if kind.at_fault {
                rates.at_fault += slot.rate();
                rates.hosts_at_fault += 1;
            }
        }
        let episodes = Episodes::new(&self.world, to_f64(self.interval_ms) / 1_000.0);
        let at_the_end = sum(&apps, |rates| rates.at_fault) / sum(&apps, |rates| rates.all).max(1e-12);
        let hosts = f64::from(apps.iter().map(|rates| rates.hosts_at_fault).sum::<u32>());
        let active = self.active_share();
        for step in 0..STEPS {
            let done = (f64::from(step) + 0.5) / f64::from(STEPS);
            let seconds = DAY_S / f64::from(STEPS);
            let adoption = done * at_the_end;
            let shared = diluted(effects.dependency, adoption);
            let between = diluted(effects.new_pairs, adoption) * diluted(effects.old_peers, 1.0 - adoption);
            for (app, rates) in self.population.apps.iter().zip(&apps) {
                let p = app.error_rate;
                let [base, shaken, bad] =
                    [p, p * shared, p * effects.factors.errors * between * shared].map(|p| episodes.per_request(p));
                let at_fault = rates.at_fault * done * seconds * active;
                let rest = (rates.all - rates.at_fault * done) * seconds;
                full.errors.base += at_fault * base;
                full.errors.excess += at_fault * (bad - base);
                if shared > 1.0 {
                    full.errors.base += rest * base;
                    full.errors.excess += rest * (shaken - base);
                }
                let slow = self.world.slow_share;
                let [base, bad] = [slow, slow * effects.factors.slow].map(|p| episodes.per_request(p));
                full.slow.base += at_fault * base;
                full.slow.excess += at_fault * (bad - base);
            }
            full.restarts.base += hosts * done * self.world.restarts_per_target_day / f64::from(STEPS);
            if let Some(per_hour) = effects.leak_per_hour {
                // Who has run it for so long has been killed so often.
                full.restarts.excess += hosts / f64::from(STEPS) * libm::floor(done * 24.0 * per_hour / 0.5);
            }
        }
        full.starts.base = hosts * self.world.never_ready_share;
        if effects.crash || effects.unready {
            full.starts.excess = hosts - full.starts.base;
        }
        full.onset_ms = self.onset_ms(&apps);
        full
    }

    /// The share of the day's requests that come while the load is high enough for the fault.
    fn active_share(&self) -> f64 {
        if self.effects.from_load <= 0.0 {
            return 1.0;
        }
        let load = |minute: u64| self.load_at(0, to_f64(minute * MINUTE_MS));
        let day = (0..MINUTES_A_DAY).map(load);
        let active: f64 = day.filter(|load| *load >= self.effects.from_load).sum();
        active / to_f64(MINUTES_A_DAY)
    }

    fn onset_ms(&self, apps: &[Rates]) -> Option<u64> {
        let effects = &self.effects;
        let starts = (effects.crash || effects.unready).then_some(0);
        let killed = effects
            .leak_per_hour
            .map(|per_hour| floor_to_u64(0.5 / per_hour * 3_600_000.0));
        let requests = || {
            let (errors, slow) = (effects.factors.errors > 1.0, effects.factors.slow > 1.0);
            if !errors && !slow && !effects.spreads() {
                return None;
            }
            if effects.from_load <= 0.0 {
                return Some(effects.after_ms);
            }
            (0..MINUTES_A_DAY).map(|minute| minute * MINUTE_MS).find(|ms| {
                let mut loaded = (0_u32..).zip(apps).filter(|(_, rates)| rates.at_fault > 0.0);
                loaded.any(|(app, _)| self.load_at(app, to_f64(*ms)) >= effects.from_load)
            })
        };
        [starts, killed, requests()].into_iter().flatten().min()
    }
}

fn sum(apps: &[Rates], of: impl Fn(&Rates) -> f64) -> f64 {
    apps.iter().map(of).sum()
}
