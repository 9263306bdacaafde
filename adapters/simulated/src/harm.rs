//! What the release really does, whether anybody counts it or not: the truth that judges are held against.

use crate::Simulated;
use crate::draw::{floor_to_u64, to_f64};
use crate::effects::diluted;
use crate::exposure::Episodes;
use crate::fleet::Fleet;
use crate::population::{Fate, NEVER, NEW, NO_STRATUM, at};
use crate::strata::Stratum;
use crate::weather::Weather;

/// Steps in which a full rollout is reckoned.
const STEPS: u32 = 24;
const DAY_S: f64 = 86_400.0;
const MINUTE_MS: u64 = 60_000;
const MINUTES_A_DAY: u64 = 1_440;
/// Steps in which what is left is reckoned ahead: short enough for a fault that begins at some load of the day.
const AHEAD_MS: u64 = 10 * MINUTE_MS;

/// What the release has done so far.
#[derive(Debug, Default)]
pub(crate) struct Harm {
    /// Ends of intervals in which requests went wrong, and how many had until then, in the mean.
    until: Vec<(u64, f64)>,
    /// When an instance first did not come up, or was killed, for a fault of the release.
    first_down_ms: Option<u64>,
}

impl Harm {
    /// So many requests in the interval that ended there.
    pub(crate) fn add(&mut self, end_ms: u64, requests: f64) {
        if requests > 0.0 {
            self.until.push((end_ms, self.so_far() + requests));
        }
    }

    /// An instance that does not run, from then on.
    pub(crate) fn down(&mut self, at_ms: u64) {
        self.first_down_ms = Some(self.first_down_ms.map_or(at_ms, |first| first.min(at_ms)));
    }

    fn so_far(&self) -> f64 {
        self.until.last().map_or(0.0, |(_, sum)| *sum)
    }

    /// Over the intervals that had ended by then.
    fn by(&self, at_ms: u64) -> f64 {
        let ended = self.until.partition_point(|(end_ms, _)| *end_ms <= at_ms);
        ended.checked_sub(1).map_or(0.0, |last| self.until[last].1)
    }

    fn first_ms(&self) -> Option<u64> {
        let requests = self.until.first().map(|(end_ms, _)| *end_ms);
        [requests, self.first_down_ms].into_iter().flatten().min()
    }
}

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
        self.present().harm.so_far()
    }

    /// The same from the beginning until virtual `until_ms`. What lies ahead is reckoned from the present state: whoever runs the new version now
    /// goes on to do so and nobody else begins to, in the days, incidents and other teams' changes that are to come.
    ///
    /// This makes releases comparable that were rolled out, stopped, or left half-way at different times. Places keep their version also where
    /// their targets die; restarts and deaths do set back the age at which a fault begins.
    pub fn harm_by(&self, until_ms: u64) -> f64 {
        let fleet = self.present();
        fleet.harm.by(until_ms) + fleet.harm_ahead(until_ms)
    }

    /// When something first went wrong because of the release: requests (the end of the interval that was read), a start that did not succeed, or an
    /// instance that was killed. `None` where nothing has.
    pub fn first_harm_ms(&self) -> Option<u64> {
        self.present().harm.first_ms()
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
        let mut harm = 0.0;
        for stratum in self.strata.list.iter().filter(|stratum| stratum.members.hosts > 0) {
            let at_fault = stratum.faulty.rate() + to_f64(self.fresh_at_fault(stratum)) * 1e-6;
            if at_fault > 0.0 || effects.dependency > 1.0 {
                harm += self.wrong(stratum, weather, at_fault);
            }
        }
        harm
    }

    /// Requests of a stratum that go wrong because of the release, where so many per second reach instances at fault.
    fn wrong(&self, stratum: &Stratum, weather: &Weather, at_fault: f64) -> f64 {
        let effects = &self.effects;
        let adoption = weather.adoption;
        let load = self.load(stratum.app, weather);
        let requests = load * weather.seconds;
        let calm = self.of_others(stratum, weather);
        let own = effects.under(load);
        let shared = diluted(effects.dependency, adoption);
        let between = diluted(effects.new_pairs, adoption) * diluted(effects.old_peers, 1.0 - adoption);
        let p = self.population.apps[at(stratum.app)].error_rate * calm.errors;
        let more = |p: f64, factor: f64| (p * factor).min(1.0) - p.min(1.0);
        requests * at_fault * more(p, own.errors * between * shared)
            + requests * (stratum.members.rate() - at_fault).max(0.0) * more(p, shared)
            + requests * at_fault * more(self.world.slow_share * calm.slow, own.slow)
    }

    /// Requests that go wrong from now until then, if nobody does anything any more.
    fn harm_ahead(&self, until_ms: u64) -> f64 {
        if !self.effects.shows() || until_ms <= self.now {
            return 0.0;
        }
        // By stratum: from when on which rate is at fault, the earliest last.
        let mut onsets: Vec<Vec<(u64, f64)>> = vec![Vec::new(); self.strata.list.len()];
        for (number, slot) in (0..).zip(&self.population.slots) {
            let is_bad = slot.version == NEW && slot.fate == Fate::Up && self.population.kind_of(slot).at_fault;
            let opens_ms = if slot.open { slot.ready_at } else { slot.reopen_at };
            if is_bad && slot.stratum != NO_STRATUM && opens_ms != NEVER && !self.is_isolated(number) {
                let onset = slot.ready_at.saturating_add(self.effects.after_ms);
                onsets[at(slot.stratum)].push((onset.max(opens_ms), slot.rate()));
            }
        }
        for of_stratum in &mut onsets {
            of_stratum.sort_unstable_by_key(|(onset, _)| std::cmp::Reverse(*onset));
        }
        let all: f64 = self.strata.list.iter().map(|stratum| stratum.members.rate()).sum();
        // Who has started anew since is not old enough yet.
        let starts = self.world.restarts_per_target_day + self.world.deaths_per_target_day;
        let aged = libm::exp(-starts * to_f64(self.effects.after_ms) / 1_000.0 / DAY_S);
        let mut at_fault = vec![0.0; onsets.len()];
        let (mut harm, mut from_ms) = (0.0, self.now);
        while from_ms < until_ms {
            let end_ms = (from_ms + AHEAD_MS).min(until_ms);
            let middle_ms = from_ms + (end_ms - from_ms) / 2;
            for (rate, to_come) in at_fault.iter_mut().zip(&mut onsets) {
                while let Some((_, more)) = to_come.pop_if(|(onset, _)| *onset <= middle_ms) {
                    *rate += more * aged;
                }
            }
            let adoption = if self.effects.spreads() {
                at_fault.iter().sum::<f64>() / all.max(1e-12)
            } else {
                0.0
            };
            let mut weather = self.weather_between(0, from_ms, end_ms);
            weather.adoption = adoption;
            for (stratum, rate) in self.strata.list.iter().zip(&at_fault) {
                if *rate > 0.0 || adoption > 0.0 {
                    harm += self.wrong(stratum, &weather, *rate);
                }
            }
            from_ms = end_ms;
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
