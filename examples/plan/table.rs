//! The plan for people.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use jiff::Timestamp;
use unattended::batching::{AppIndex, Blocked, Blocker, Event, Finish, KeyIndex, Noted, UncoveredReason, ValueIndex};
use unattended_examples_support::count;

use crate::json::control;
use crate::{Planned, scatter};

/// Columns of labels in the table.
const COLUMNS: usize = 12;
/// Late applications that are listed.
const LATE: usize = 10;

/// How many of each class are in each batch.
pub(crate) struct Classes {
    /// Key and value.
    pub(crate) columns: Vec<(String, String)>,
    /// By batch, then column.
    pub(crate) counts: Vec<Vec<u32>>,
    /// Classes that did not fit.
    pub(crate) left_out: usize,
}

impl Classes {
    /// Stack and zone come first, then what the plan spreads over.
    pub(crate) fn of(planned: &Planned) -> Self {
        let Planned { fleet, plan, .. } = planned;
        let mut keys: Vec<KeyIndex> = Vec::new();
        for name in ["stack", "zone"].into_iter().chain(plan.spread_keys()) {
            keys.extend(fleet.key_index(name).filter(|key| !keys.contains(key)));
        }
        let all: Vec<(KeyIndex, ValueIndex)> = keys
            .iter()
            .flat_map(|&key| (0..fleet.value_count(key)).map(move |value| (key, ValueIndex(value))))
            .collect();
        let shown = &all[..all.len().min(COLUMNS)];
        let at: BTreeMap<(KeyIndex, ValueIndex), usize> = shown.iter().copied().zip(0..).collect();
        let counts = plan.batches().map(|batch| {
            let mut counts = vec![0; shown.len()];
            for &target in plan.targets(batch.index) {
                for &key in &keys {
                    let cell = fleet.label(target, key).and_then(|value| at.get(&(key, value)));
                    if let Some(&cell) = cell {
                        counts[cell] += 1;
                    }
                }
            }
            counts
        });
        Self {
            counts: counts.collect(),
            left_out: all.len() - shown.len(),
            columns: shown
                .iter()
                .map(|&(key, value)| (fleet.keys()[key.at()].clone(), fleet.value_name(key, value).to_owned()))
                .collect(),
        }
    }
}

pub(crate) fn text(planned: &Planned, page: Option<&Path>) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write_all(&mut out, planned, page);
    out
}

fn write_all(out: &mut String, planned: &Planned, page: Option<&Path>) -> std::fmt::Result {
    let Planned {
        fleet,
        plan,
        proof,
        forecast,
        seed,
        ..
    } = planned;
    writeln!(
        out,
        "{} of {} in {}, seed {seed}\n",
        counted(fleet.len(), "target"),
        counted(fleet.app_count() as usize, "application"),
        several(usize::from(plan.batch_count()), "batch", "batches")
    )?;
    if let Some((gone, new)) = planned.changed {
        writeln!(
            out,
            "every target of the previous plan that is still there keeps its batch; {} gone, {} new\n",
            count(gone),
            count(new)
        )?;
    }
    let width = line_width();
    batches(out, planned, width)?;
    writeln!(
        out,
        "\nproof: ok, {} checks by code that the planner does not share",
        count(to_usize(proof.checks()))
    )?;
    for line in proved(planned) {
        writeln!(out, "{}", wrapped(&format!("  {line}"), width))?;
    }
    writeln!(out, "\nforecast, from {}", moment(forecast.start_ms))?;
    for line in expected(planned) {
        writeln!(out, "{}", wrapped(&format!("  {line}"), width))?;
    }
    writeln!(
        out,
        "\ntime against exposure to a fault that shows at {}",
        share(first_prevalence(planned))
    )?;
    out.push_str(&scatter::picture(&forecast.tradeoffs));
    if let Some(page) = page {
        writeln!(out, "\npage: {}", page.display())?;
    }
    Ok(())
}

/// Cells of some columns, filled up to their columns' widths and set apart by two blanks.
struct Columns {
    rows: Vec<Vec<String>>,
    width: usize,
}

impl Columns {
    fn of(rows: &[Vec<String>]) -> Self {
        let widths: Vec<usize> = (0..rows[0].len())
            .map(|at| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0))
            .collect();
        let fill = |row: &Vec<String>| {
            row.iter()
                .zip(&widths)
                .map(|(cell, &width)| format!("  {cell:>width$}"))
                .collect()
        };
        Self {
            rows: rows.iter().map(fill).collect(),
            width: widths.iter().map(|width| width + 2).sum(),
        }
    }

    /// How many columns from one on fit into some width.
    fn fitting(&self, from: usize, room: usize) -> usize {
        let mut used = 0;
        let fits = |cell: &&String| {
            used += cell.chars().count();
            used <= room
        };
        self.rows[0][from..].iter().take_while(fits).count()
    }
}

/// How wide the lines may be: as the terminal is, or as it says it is.
fn line_width() -> usize {
    let said = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let seen = || {
        console::Term::stdout()
            .size_checked()
            .map(|(_, columns)| usize::from(columns))
    };
    said.or_else(seen).unwrap_or(100).max(60)
}

/// A sentence on as many lines as it takes, the later ones indented further.
fn wrapped(line: &str, width: usize) -> String {
    let indent = line.chars().take_while(|&letter| letter == ' ').count();
    let mut text = " ".repeat(indent);
    let mut used = indent;
    for (at, word) in line.split_whitespace().enumerate() {
        let letters = word.chars().count();
        if at > 0 && used + 1 + letters > width {
            text.push('\n');
            text.push_str(&" ".repeat(indent + 4));
            used = indent + 4;
        } else if at > 0 {
            text.push(' ');
            used += 1;
        }
        text.push_str(word);
        used += letters;
    }
    text
}

fn batches(out: &mut String, planned: &Planned, width: usize) -> std::fmt::Result {
    let Planned {
        fleet, plan, forecast, ..
    } = planned;
    let classes = Classes::of(planned);
    let mut ahead = vec![["batch", "targets", "so far", "share"].map(str::to_owned).to_vec()];
    let mut behind = vec![["control", "judged after"].map(str::to_owned).to_vec()];
    let mut middle: Vec<Vec<String>> = vec![classes.columns.iter().map(|(_, value)| clip(value)).collect()];
    for (batch, counts) in plan.batches().zip(&classes.counts) {
        let so_far = f64::from(batch.cumulative) * 100.0 / f64::from(u32::try_from(fleet.len()).unwrap_or(u32::MAX));
        ahead.push(vec![
            batch.index.to_string(),
            count(batch.size as usize),
            count(batch.cumulative as usize),
            format!("{so_far:.2} %"),
        ]);
        middle.push(counts.iter().map(|&n| count(n as usize)).collect());
        let judged = forecast.batches[usize::from(batch.index)];
        behind.push(vec![
            control(plan, batch.index).to_owned(),
            judged.map_or_else(|| "never".to_owned(), |finish| after(finish.p50_ms - forecast.start_ms)),
        ]);
    }
    // As many classes as fit on the line; the others below, each line with its batch again.
    let (ahead, middle, behind) = (Columns::of(&ahead), Columns::of(&middle), Columns::of(&behind));
    let mut room = width.saturating_sub(ahead.width + behind.width);
    let mut from = 0;
    loop {
        let to = from + middle.fitting(from, room).max(usize::from(from > 0));
        let to = to.min(classes.columns.len());
        for (at, batch) in ahead.rows.iter().enumerate() {
            let mut line = if from == 0 { batch.join("") } else { batch[0].clone() };
            line.extend(middle.rows[at][from..to].iter().map(String::as_str));
            if from == 0 {
                line.push_str(&behind.rows[at].join(""));
            }
            writeln!(out, "{line}")?;
        }
        if to >= classes.columns.len() {
            break;
        }
        writeln!(out)?;
        (from, room) = (to, width.saturating_sub(ahead.rows[0][0].chars().count()));
    }
    if classes.left_out > 0 {
        writeln!(
            out,
            "  ({} not shown; --json has every target)",
            several(classes.left_out, "further class", "further classes")
        )?;
    }
    Ok(())
}

/// What the proof holds, in sentences.
pub(crate) fn proved(planned: &Planned) -> Vec<String> {
    let Planned { plan, .. } = planned;
    let summary = plan.summary();
    let covered = summary.classes as usize - plan.uncovered().len().min(summary.classes as usize);
    let mut lines = vec![
        "every target is in exactly one batch, and no batch is ahead of the ramp".to_owned(),
        "no batch takes more than half, rounded up, of an application".to_owned(),
        format!(
            "the first batch has {covered} of {}",
            several(summary.classes as usize, "class", "classes")
        ),
    ];
    lines.extend(plan.uncovered().iter().map(|gap| {
        let why = match gap.why {
            UncoveredReason::OnlySingletons => "only applications of one target have it",
            UncoveredReason::NoneReady => "no target that has it is ready",
            UncoveredReason::NoRoom => "its applications had no room left",
            _ => "it could not be taken",
        };
        format!("  not {}={}: {why}", gap.key, gap.value)
    }));
    lines.push(format!(
        "{} held back to the last batch for comparison; {} of one target wait for it",
        counted(summary.controls as usize, "target"),
        counted(summary.singletons as usize, "application")
    ));
    lines
}

/// What the forecast holds, in sentences.
pub(crate) fn expected(planned: &Planned) -> Vec<String> {
    let Planned { fleet, forecast, .. } = planned;
    let mut lines = standing_still(planned);
    lines.push(match forecast.finish {
        Some(Finish { p50_ms, p95_ms, .. }) => format!(
            "done after {}; in 95 of 100 cases after {}",
            after(p50_ms - forecast.start_ms),
            after(p95_ms - forecast.start_ms)
        ),
        None => "not every application is ever done".to_owned(),
    });
    for exposed in &forecast.exposure {
        lines.push(format!(
            "a fault that shows at {} of targets is expected to reach {}",
            share(exposed.prevalence),
            several_of(exposed.targets)
        ));
    }
    if let Some(deadline) = forecast.deadline_ms
        && forecast.late.is_empty()
    {
        lines.push(format!("every application is done by {}", moment(deadline)));
    }
    for late in forecast.late.iter().take(LATE) {
        lines.push(format!(
            "late: `{}`, in time in {:.0} of 100 cases: {}",
            fleet.app_name(late.app),
            late.in_time * 100.0,
            because(late.because)
        ));
    }
    if forecast.late.len() > LATE {
        lines.push(format!(
            "and {} more that are late; --json has all",
            count(forecast.late.len() - LATE)
        ));
    }
    lines
}

/// Applications that cannot move while their targets are as ill as the inventory says, whatever batch is open.
fn standing_still(planned: &Planned) -> Vec<String> {
    let Planned { fleet, plan, .. } = planned;
    if fleet.targets().all(|target| fleet.ready(target)) {
        return Vec::new();
    }
    let mut live = plan.frontier();
    let apps = || (0..fleet.app_count()).map(AppIndex);
    for app in apps() {
        while live.on(Event::Promoted { app, at: 0 }) == Noted::Applied {}
    }
    let still: Vec<String> = apps()
        .filter_map(|app| {
            let name = fleet.app_name(app);
            Some(match live.lane(app).blocked? {
                Blocked::UnhealthyConsumeAllowance { unhealthy, cap } => {
                    format!("`{name}`: {unhealthy} of its targets are ill, at most {cap} may be")
                }
                Blocked::UnhealthyConsumeLabel {
                    key,
                    value,
                    unhealthy,
                    cap,
                } => {
                    let class = format!("{}={}", fleet.keys()[key.at()], fleet.value_name(key, value));
                    format!("`{name}`: {unhealthy} targets of {class} are ill, at most {cap} may be")
                }
                Blocked::UnhealthyConsumeTotal { unhealthy, cap } => {
                    format!("`{name}`: {unhealthy} of the fleet are ill, at most {cap} may be")
                }
                _ => return None,
            })
        })
        .collect();
    let more = still.len().saturating_sub(LATE);
    let mut lines: Vec<String> = still
        .into_iter()
        .take(LATE)
        .map(|line| format!("stands still: {line}"))
        .collect();
    if more > 0 {
        lines.push(format!("and {} more that stand still", count(more)));
    }
    if !lines.is_empty() {
        lines.push(
            "  (until enough of them are well, or fix_in_flight_per_app lets fixes in; the times take them for well)"
                .to_owned(),
        );
    }
    lines
}

fn because(blocker: Blocker) -> String {
    match blocker {
        Blocker::NoWindow { needed_ms, longest_ms } => format!(
            "no window has room for it; an upgrade and its rollback need {}, the longest window is {}",
            after(needed_ms),
            after(longest_ms)
        ),
        Blocker::Windows { ms, gap } => format!(
            "closed windows hold it for {}, the longest from {} until {}",
            after(ms),
            moment(gap.from_ms),
            moment(gap.until_ms)
        ),
        Blocker::Pins { ms } => format!("pins hold it for {}", after(ms)),
        Blocker::Upgrades { ms, at_once } => {
            format!(
                "its upgrades take {}, at most {} at once",
                after(ms),
                count(at_once as usize)
            )
        }
        Blocker::Bakes { ms, batches } => {
            format!(
                "its {} bake for {}",
                several(batches as usize, "batch", "batches"),
                after(ms)
            )
        }
        Blocker::Others { ms: 0 } => "it waits for a batch that is never judged".to_owned(),
        Blocker::Others { ms } => format!("it waits {} for batches of others to be judged", after(ms)),
        _ => "something else".to_owned(),
    }
}

pub(crate) fn first_prevalence(planned: &Planned) -> f64 {
    planned
        .forecast
        .exposure
        .first()
        .map_or(0.005, |exposed| exposed.prevalence)
}

pub(crate) fn share(share: f64) -> String {
    format!("{} %", (share * 1e8).round() / 1e6)
}

/// A moment to the minute, in UTC.
pub(crate) fn moment(unix_ms: u64) -> String {
    i64::try_from(unix_ms)
        .ok()
        .and_then(|ms| Timestamp::from_millisecond(ms).ok())
        .map_or_else(
            || "the end of time".to_owned(),
            |at| at.strftime("%Y-%m-%d %H:%M UTC").to_string(),
        )
}

/// How long, in the two units that matter.
pub(crate) fn after(ms: u64) -> String {
    let seconds = ms / 1_000;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min {} s", seconds % 60),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{} d {hours} h", count(to_usize(days))),
    }
}

pub(crate) fn counted(number: usize, one: &str) -> String {
    several(number, one, &format!("{one}s"))
}

pub(crate) fn several(number: usize, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// An expected number of targets; about one and fewer is one.
fn several_of(targets: f64) -> String {
    let text = format!("{targets:.0}");
    counted(text.parse().unwrap_or(1).max(1), "target")
}

fn clip(text: &str) -> String {
    if text.chars().count() <= 12 {
        return text.to_owned();
    }
    text.chars().take(11).chain(['…']).collect()
}

fn to_usize(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
