//! The plan for programs.

use serde::Serialize;
use serde::ser::{SerializeSeq, Serializer};
use unattended::batching::{Control, Forecast, Plan, Policy, Proof, Uncovered};

use crate::{Failure, Planned};

/// The version of the shape of the JSON object.
const SCHEMA: u32 = 1;

#[derive(Serialize)]
struct Json<'p> {
    schema: u32,
    seed: u64,
    targets: usize,
    applications: u32,
    batches: Vec<Batch<'p>>,
    policy: &'p Policy,
    proof: Proved<'p>,
    forecast: Forecasted<'p>,
    wall_seconds: f64,
}

#[derive(Serialize)]
struct Batch<'p> {
    index: u16,
    size: u32,
    cumulative: u32,
    control: &'static str,
    #[serde(serialize_with = "ids")]
    targets: (&'p Planned, u16),
}

#[derive(Serialize)]
struct Proved<'p> {
    ok: bool,
    digest: String,
    checks: u64,
    #[serde(flatten)]
    counts: &'p Proof,
    uncovered: &'p [Uncovered],
}

/// Applications by name: nobody else knows their numbers.
#[derive(Serialize)]
struct Forecasted<'p> {
    #[serde(flatten)]
    forecast: &'p Forecast,
    applications: Vec<&'p str>,
}

/// One object and a line break. The time it took is asked for at the end.
pub(crate) fn line(planned: &Planned, seconds: impl Fn() -> f64) -> Result<String, Failure> {
    let Planned {
        fleet,
        policy,
        plan,
        proof,
        forecast,
        seed,
        ..
    } = planned;
    let batches = plan.batches().map(|batch| Batch {
        index: batch.index,
        size: batch.size,
        cumulative: batch.cumulative,
        control: control(plan, batch.index),
        targets: (planned, batch.index),
    });
    let apps = forecast.lanes.iter().map(|lane| fleet.app_name(lane.app));
    let json = Json {
        schema: SCHEMA,
        seed: *seed,
        targets: fleet.len(),
        applications: fleet.app_count(),
        batches: batches.collect(),
        policy,
        proof: Proved {
            ok: true,
            digest: plan.digest(),
            checks: proof.checks(),
            counts: proof,
            uncovered: plan.uncovered(),
        },
        forecast: Forecasted {
            forecast,
            applications: apps.collect(),
        },
        wall_seconds: seconds(),
    };
    let mut text = serde_json::to_string(&json).map_err(Failure::internal)?;
    text.push('\n');
    Ok(text)
}

/// With whom a batch can be compared, in a word.
pub(crate) fn control(plan: &Plan, batch: u16) -> &'static str {
    match plan.control_cohort(batch) {
        Control::Matched { .. } => "matched",
        Control::Partial { .. } => "partial",
        _ => "none",
    }
}

fn ids<S: Serializer>((planned, batch): &(&Planned, u16), serializer: S) -> Result<S::Ok, S::Error> {
    let targets = planned.plan.targets(*batch);
    let mut list = serializer.serialize_seq(Some(targets.len()))?;
    for &target in targets {
        list.serialize_element(planned.fleet.id(target))?;
    }
    list.end()
}
