//! Who may be touched when.

mod bars;
mod fleet;
mod page;
mod rows;
mod sheet;

use std::collections::BTreeMap;

use serde::Serialize;
use unattended::defense::Guard;
use unattended_examples_support::{Exit, Failure, load};

use crate::options::Options;
use crate::{SCHEMA, print, stamp, strangers};
use fleet::{Fleet, apps};
use rows::{Picture, Range};

/// What is printed beside the page.
#[derive(Serialize)]
struct Json {
    schema: u32,
    from: String,
    until: String,
    applications: usize,
    /// Rows of the picture: applications that are closed at the same times for the same reasons share one.
    rows: usize,
    open_now: usize,
    never_open: usize,
    /// The share of all time of all applications that is open.
    open_share: f64,
    /// When half of the applications have been open, nine of ten, and all; null when not in this range.
    reached: BTreeMap<&'static str, Option<String>>,
    /// How many milliseconds suit every application at once.
    common_ms: i64,
    blocks_most: Vec<Most>,
    html: String,
}

#[derive(Serialize)]
struct Most {
    rule: String,
    owner: String,
    reason: String,
    applications: usize,
    /// Summed over its applications.
    closed_hours: i64,
}

pub(crate) fn draw(options: &Options, guard: &Guard, days: u16, at: i64) -> Result<Exit, Failure> {
    let zone = jiff::tz::TimeZoneDatabase::bundled().get(&options.zone).map_err(|_| {
        Failure::Input(format!(
            "--zone: there is no zone `{}`; use an IANA name such as Asia/Shanghai",
            options.zone
        ))
    })?;
    let range =
        Range::of(at, days, zone).ok_or_else(|| Failure::Input("--at: the range leaves the calendar".to_owned()))?;
    let inventory = load(&options.source()?).map_err(Failure::input)?;
    for note in &inventory.notes {
        eprintln!("{note}");
    }
    guard.check_keys(&inventory.keys).map_err(Failure::input)?;
    strangers::note(guard, &inventory);
    let apps = apps(&inventory);
    let group = group(options, &inventory.keys, &apps)?;
    let picture = Picture::of(guard, &apps, &range, group.as_deref());
    let fleet = Fleet::of(&picture, &range);
    let path = options
        .html
        .as_deref()
        .ok_or_else(|| Failure::Internal("no page was named".to_owned()))?;
    let page = page::page(guard, &apps, &picture, &fleet, &range, group.as_deref());
    std::fs::write(path, page)
        .map_err(|error| Failure::unwritten(format_args!("{}: the page", path.display()), &error))?;
    let json = Json {
        schema: SCHEMA,
        from: stamp(range.from),
        until: stamp(range.until),
        applications: apps.len(),
        rows: picture.rows.len(),
        open_now: fleet.open_now,
        never_open: fleet.never_open,
        open_share: fleet.open_share,
        reached: [("half", 0.5), ("nine_of_ten", 0.9), ("all", 1.0)]
            .map(|(name, share)| (name, fleet.reached(share).map(stamp)))
            .into(),
        common_ms: fleet.common.iter().map(|(from, until)| until - from).sum(),
        blocks_most: fleet
            .most
            .iter()
            .take(5)
            .map(|most| {
                let reason = &picture.reasons[most.reason];
                Most {
                    rule: reason.rule(),
                    owner: reason.owner.clone(),
                    reason: reason.text.clone(),
                    applications: most.apps,
                    closed_hours: most.closed_ms / 3_600_000,
                }
            })
            .collect(),
        html: path.display().to_string(),
    };
    let text = || {
        page::summary(&picture, &fleet, &range, &apps)
            + &format!("\n{} rows drawn in {}", picture.rows.len(), path.display())
    };
    print(options, text, &json)?;
    Ok(Exit::Completed)
}

/// A label makes groups if it has so many values.
const GROUPS: std::ops::RangeInclusive<usize> = 2..=60;

fn group(options: &Options, keys: &[String], apps: &[fleet::App]) -> Result<Option<String>, Failure> {
    if let Some(wanted) = &options.group {
        return if keys.contains(wanted) {
            Ok(Some(wanted.clone()))
        } else {
            Err(Failure::Input(format!(
                "--group: no target has the label `{wanted}`; there are: {}",
                keys.join(", ")
            )))
        };
    }
    let known = ["business", "namespace", "team", "tier", "region", "stack", "zone"];
    Ok(known
        .into_iter()
        .find(|key| {
            let values: std::collections::BTreeSet<_> = apps.iter().map(|app| app.value(key)).collect();
            keys.iter().any(|k| k == key) && GROUPS.contains(&values.len())
        })
        .map(str::to_owned))
}
