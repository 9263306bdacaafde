//! What happened: who was kept from whom and when, what was lost, what was said, and whether it was right.

use serde::Serialize;
use unattended::selfheal::{Cause, Notice};

use crate::proxy::Keeps;
use crate::scenes::{Broken, Effect, PERIOD_MS, PROXIES, SCENES, SERVERS, Scene, Timing, proxy_id, server_id, zone};

/// What was seen before a fault ended may still be acted upon so long after.
const GRACE_MS: u64 = 1_500;

/// Bad calls that are told apart before a verdict.
pub(crate) const COUNTED: usize = 64;

/// One proxy's view of one server in one period.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cell {
    pub(crate) total: u32,
    pub(crate) bad: u32,
    /// Kept from it by itself, by the center; told to keep away from its zone.
    pub(crate) by_itself: bool,
    pub(crate) by_center: bool,
    /// In use, with less than its share.
    pub(crate) less: bool,
    pub(crate) avoids: bool,
}

/// The matrix of one period.
pub(crate) type Frame = Vec<[Cell; SERVERS]>;

#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) timing: Timing,
    pub(crate) frames: Vec<Frame>,
    kept: [[bool; SERVERS]; PROXIES],
    eased: [[bool; SERVERS]; PROXIES],
    /// When a fault last stood between a proxy and a server.
    faulty_ms: [[Option<u64>; SERVERS]; PROXIES],
    scenes: [Tally; SCENES.len()],
    /// Isolations and weights before the first scene, all wrong.
    pub(crate) wrong_before: u64,
    pub(crate) wrong_weights_before: u64,
}

#[derive(Debug, Clone, Default)]
struct Tally {
    requests: u64,
    lost: u64,
    wrong: u64,
    wrong_weights: u64,
    /// When each proxy gave the server at fault less than its share, or nothing.
    eased_ms: [Option<u64>; PROXIES],
    /// When each proxy stopped using the server at fault.
    stopped_ms: [Option<u64>; PROXIES],
    /// When bad calls that met the fault ended, up to [`COUNTED`] of them.
    failures: Vec<u64>,
}

impl Log {
    pub(crate) fn new(timing: Timing) -> Self {
        Self {
            timing,
            frames: Vec::new(),
            kept: [[false; SERVERS]; PROXIES],
            eased: [[false; SERVERS]; PROXIES],
            faulty_ms: [[None; SERVERS]; PROXIES],
            scenes: std::array::from_fn(|_| Tally::default()),
            wrong_before: 0,
            wrong_weights_before: 0,
        }
    }

    fn frame(&mut self, now_ms: u64) -> &mut Frame {
        let period = usize::try_from(now_ms / PERIOD_MS).unwrap_or(usize::MAX);
        while self.frames.len() <= period {
            self.frames.push(vec![[Cell::default(); SERVERS]; PROXIES]);
        }
        &mut self.frames[period]
    }

    /// A request of a proxy has ended. `lost`: without an answer that its client could use.
    pub(crate) fn ended(&mut self, now_ms: u64, proxy: usize, server: usize, bad: bool, lost: bool) {
        let cell = &mut self.frame(now_ms)[proxy][server];
        cell.total += 1;
        cell.bad += u32::from(bad);
        let (broken, scene) = self.timing.at(now_ms);
        if let Some(scene) = scene {
            let tally = &mut self.scenes[scene];
            tally.requests += 1;
            tally.lost += u64::from(lost);
            if bad && broken.effect(proxy, server) != Effect::None && tally.failures.len() < COUNTED {
                tally.failures.push(now_ms);
            }
        }
    }

    /// Looks at what keeps a proxy from a server; often.
    pub(crate) fn look(&mut self, now_ms: u64, proxy: usize, server: usize, keeps: Keeps, avoids: bool) {
        let (broken, scene) = self.timing.at(now_ms);
        let faulty = broken.effect(proxy, server) != Effect::None;
        if faulty {
            self.faulty_ms[proxy][server] = Some(now_ms);
        }
        let cell = &mut self.frame(now_ms)[proxy][server];
        cell.by_itself |= keeps == Keeps::Itself;
        cell.by_center |= keeps == Keeps::Center;
        cell.less |= keeps == Keeps::Less;
        cell.avoids |= avoids;
        let (eased, kept) = (keeps != Keeps::Nobody, matches!(keeps, Keeps::Itself | Keeps::Center));
        let was_kept = std::mem::replace(&mut self.kept[proxy][server], kept);
        let was_eased = std::mem::replace(&mut self.eased[proxy][server], eased);
        let excused = self.faulty_ms[proxy][server].is_some_and(|at_ms| now_ms.saturating_sub(at_ms) <= GRACE_MS);
        let wrong = u64::from(kept && !was_kept && !excused);
        let wrong_weight = u64::from(keeps == Keeps::Less && !was_eased && !excused);
        match scene {
            Some(scene) => {
                let tally = &mut self.scenes[scene];
                tally.wrong += wrong;
                tally.wrong_weights += wrong_weight;
                if faulty && broken.server() == Some(server) {
                    if kept {
                        tally.stopped_ms[proxy].get_or_insert(now_ms);
                    }
                    if eased {
                        tally.eased_ms[proxy].get_or_insert(now_ms);
                    }
                }
            }
            None => {
                self.wrong_before += wrong;
                self.wrong_weights_before += wrong_weight;
            }
        }
    }

    pub(crate) fn results(&self, notices: &[(u64, Notice)]) -> Vec<Outcome> {
        SCENES
            .iter()
            .enumerate()
            .map(|(number, scene)| self.result(number, scene, notices))
            .collect()
    }

    fn result(&self, number: usize, scene: &Scene, notices: &[(u64, Notice)]) -> Outcome {
        let begin_ms = self.timing.begin_ms(number);
        let tally = &self.scenes[number];
        let during = |at_ms: u64| (begin_ms..begin_ms + self.timing.broken_ms + self.timing.after_ms).contains(&at_ms);
        let mut found_ms = None;
        let mut others = Vec::new();
        for (at_ms, notice) in notices.iter().filter(|(at_ms, _)| during(*at_ms)) {
            let Notice::Found(finding) = notice else {
                continue;
            };
            if right(scene.broken, &finding.cause) {
                found_ms = found_ms.or(Some(*at_ms));
            } else {
                others.push(finding.to_string());
            }
        }
        let since = |at_ms: u64| at_ms - begin_ms;
        // Median and last, once all proxies have done it.
        let all = |times: &[Option<u64>; PROXIES]| {
            let mut times: Vec<u64> = times.iter().flatten().copied().map(since).collect();
            times.sort_unstable();
            (scene.broken.server().is_some() && times.len() == PROXIES)
                .then(|| (times[PROXIES / 2], times[PROXIES - 1]))
        };
        let (eased, stopped) = (all(&tally.eased_ms), all(&tally.stopped_ms));
        let verdict = found_ms.unwrap_or(u64::MAX);
        Outcome {
            name: scene.name,
            what: scene.what,
            expected: scene.code,
            right: found_ms.is_some(),
            found_ms: found_ms.map(since),
            failures_to_verdict: tally.failures.iter().filter(|at_ms| **at_ms <= verdict).count(),
            eased_ms_median: eased.map(|(median, _)| median),
            eased_ms_worst: eased.map(|(_, worst)| worst),
            isolated_ms_median: stopped.map(|(median, _)| median),
            isolated_ms_worst: stopped.map(|(_, worst)| worst),
            requests: tally.requests,
            lost: tally.lost,
            wrong_isolations: tally.wrong,
            wrong_weights: tally.wrong_weights,
            others,
        }
    }
}

/// Whether a cause is what is broken.
fn right(broken: Broken, cause: &Cause) -> bool {
    match (broken, cause) {
        (Broken::Dead(server) | Broken::Half(server), Cause::Target { node, slow: false })
        | (Broken::Slow(server), Cause::Target { node, slow: true }) => *node == server_id(server),
        (Broken::Proxy(proxy), Cause::Reporter { node }) => *node == proxy_id(proxy),
        (Broken::Cut(a, b), Cause::Partition { from, to }) => (*from, *to) == (zone(a), zone(b)),
        _ => false,
    }
}

/// How one scene went. Times in milliseconds since the thing broke.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Outcome {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    /// What the center must find.
    pub(crate) expected: &'static str,
    /// Whether it did, and named the right one.
    pub(crate) right: bool,
    /// When.
    pub(crate) found_ms: Option<u64>,
    /// Bad calls by then, of all proxies together; 64 if more.
    pub(crate) failures_to_verdict: usize,
    /// When half of the proxies, and the last of them, gave the server at fault less than its share, or nothing.
    pub(crate) eased_ms_median: Option<u64>,
    pub(crate) eased_ms_worst: Option<u64>,
    /// When half of the proxies, and the last of them, had stopped using the server at fault.
    pub(crate) isolated_ms_median: Option<u64>,
    pub(crate) isolated_ms_worst: Option<u64>,
    /// Requests until the next scene.
    pub(crate) requests: u64,
    /// Of these, without a usable answer.
    pub(crate) lost: u64,
    /// Isolations that began though nothing stood between proxy and server.
    pub(crate) wrong_isolations: u64,
    /// The same of servers that got less than their share.
    pub(crate) wrong_weights: u64,
    /// What else the center found.
    pub(crate) others: Vec<String>,
}
