//! How each policy of others goes forward, and by whose judgement. docs/gauntlet.md says where each number is from.

use unattended_examples_support::peers::{Argo, Flagger, Kayenta, Opinion, Pair, Peer, Share, ZTest};

use crate::options::Policy;

/// An alarm wants so many bad events.
const ALARM_EVENTS: u64 = 10;
/// How long a fixed step is watched, in minutes: as long as ours rests at the least.
pub(crate) const FIXED_STEP_MIN: u32 = 13;
/// What they see: errors, slow requests, restarts.
pub(crate) const METRICS: usize = 3;

/// How a policy goes forward.
pub(crate) struct Course {
    /// Shares of the fleet, rising, the last of them all.
    pub(crate) steps: Vec<f64>,
    /// How long each step is watched once all of it is ready, in minutes.
    pub(crate) watch_min: u64,
    /// Minutes of a step before it is judged.
    pub(crate) delay_min: u64,
    /// Minutes from look to look; a look sees all of them.
    pub(crate) look_min: u64,
    /// Metrics that are judged, from the first.
    pub(crate) metrics: usize,
    /// Steps beyond this one are not judged.
    pub(crate) judged_steps: usize,
    /// Looks go on from step to step, from when the first is ready on.
    pub(crate) background: bool,
    /// Each step takes its share of every application and zone, and not any targets.
    pub(crate) stratified: bool,
    /// What is judged is compared with as many of the old version that are started anew together with it, and with nobody else.
    pub(crate) cohort: bool,
    /// What follows where a step does not get ready.
    pub(crate) unready_asks: bool,
    pub(crate) judge: Judge,
}

pub(crate) enum Judge {
    Argo(Argo),
    Flagger(Flagger),
    Kayenta(Kayenta),
    Z(ZTest),
    Alarm,
}

impl Course {
    pub(crate) fn of(policy: Policy, first_step: f64) -> Self {
        let even = |by: u32, to: u32| (1..=to / by).map(|n| f64::from(n * by) / 100.0).collect::<Vec<_>>();
        match policy {
            // Shares and analysis of the documents' example of a background analysis, begun with the first step.
            Policy::Argo => Self {
                steps: [even(20, 80), vec![1.0]].concat(),
                watch_min: 10,
                delay_min: 0,
                look_min: 5,
                metrics: 2,
                judged_steps: 4,
                unready_asks: true,
                background: true,
                stratified: false,
                cohort: false,
                judge: Judge::Argo(Argo::new(1.0)),
            },
            // The documents' sample: one minute, five percent, up to a half, ten failed checks.
            Policy::Flagger => Self {
                steps: [even(5, 50), vec![1.0]].concat(),
                watch_min: 1,
                delay_min: 0,
                look_min: 1,
                metrics: 2,
                judged_steps: 10,
                unready_asks: false,
                background: false,
                stratified: false,
                cohort: false,
                judge: Judge::Flagger(Flagger::new(1.0)),
            },
            // A canary stage of three hours beside a baseline of the same size, judged every half an hour from the beginning on; then
            // the rest, a third at a time.
            Policy::Kayenta => Self {
                steps: vec![0.05, 0.37, 0.69, 1.0],
                watch_min: 180,
                delay_min: 5,
                look_min: 1,
                metrics: METRICS,
                judged_steps: 1,
                unready_asks: true,
                background: false,
                stratified: true,
                cohort: true,
                judge: Judge::Kayenta(Kayenta::every(30)),
            },
            Policy::Zscore => Self {
                steps: vec![0.01, 0.05, 0.25, 0.5, 1.0],
                watch_min: 30,
                delay_min: 5,
                look_min: 1,
                metrics: METRICS,
                judged_steps: 5,
                unready_asks: false,
                background: false,
                stratified: true,
                cohort: false,
                judge: Judge::Z(ZTest::new(3.0)),
            },
            Policy::Fixed | Policy::Ours => Self {
                steps: linear(first_step),
                watch_min: FIXED_STEP_MIN as u64,
                delay_min: 0,
                look_min: 5,
                metrics: METRICS,
                judged_steps: usize::MAX,
                unready_asks: false,
                background: false,
                stratified: false,
                cohort: false,
                judge: Judge::Alarm,
            },
        }
    }
}

/// Equal steps of that share.
fn linear(by: f64) -> Vec<f64> {
    let mut steps = Vec::new();
    let mut upto = by;
    while upto < 1.0 - 1e-9 {
        steps.push(upto);
        upto += by;
    }
    steps.push(1.0);
    steps
}

impl Judge {
    /// A look: what to do, and whether the step may end with it.
    pub(crate) fn look(&mut self, seen: &[Pair], limits: &[f64]) -> (Opinion, bool) {
        let scaled = |limit: f64| -> Vec<Pair> {
            seen.iter()
                .zip(limits)
                .map(|(pair, own)| at_limit(*pair, own / limit))
                .collect()
        };
        match self {
            Self::Argo(argo) => {
                argo.limit = limits[0];
                (argo.observe(&scaled(limits[0])), true)
            }
            Self::Flagger(flagger) => {
                flagger.limit = limits[0];
                let before = flagger.failed_checks();
                let opinion = flagger.observe(&scaled(limits[0]));
                (opinion, flagger.failed_checks() == before)
            }
            Self::Kayenta(kayenta) => (kayenta.observe(seen), true),
            Self::Z(z) => (z.observe(seen), true),
            Self::Alarm => {
                // What sets the old version's alarm off as well is nobody's release, as whoever sees both knows.
                let above = |share: Share, limit: f64| share.rate().is_some_and(|rate| rate > limit);
                let fires = |(pair, limit): (&Pair, &f64)| {
                    pair.canary.bad >= ALARM_EVENTS && above(pair.canary, *limit) && !above(pair.control, *limit)
                };
                let fired = seen.iter().zip(limits).any(fires);
                (if fired { Opinion::Rollback } else { Opinion::Continue }, true)
            }
        }
    }

    pub(crate) fn step(&mut self) {
        match self {
            Self::Argo(judge) => judge.step(),
            Self::Flagger(judge) => judge.step(),
            Self::Kayenta(judge) => judge.step(),
            Self::Z(judge) => judge.step(),
            Self::Alarm => {}
        }
    }

    pub(crate) fn finish(&self) -> Opinion {
        match self {
            // A last score that is only marginal ends the stage as failed: Orca asks nobody.
            Self::Kayenta(kayenta) if kayenta.finish() == Opinion::Hold => Opinion::Rollback,
            Self::Kayenta(kayenta) => kayenta.finish(),
            Self::Argo(_) | Self::Flagger(_) | Self::Z(_) | Self::Alarm => Opinion::Promote,
        }
    }
}

/// The same rates for a judge that has one limit for all metrics: where the own limit is so many times the judge's, so many
/// times the requests.
fn at_limit(pair: Pair, times: f64) -> Pair {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a number of requests, rounded"
    )]
    let scale = |share: Share| Share {
        total: (share.total as f64 * times + 0.5) as u64,
        ..share
    };
    Pair {
        canary: scale(pair.canary),
        control: scale(pair.control),
    }
}
