//! What the program says at the end.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Serialize;
use unattended::batching::Proof;
use unattended::report::{PageOptions, page, text};
use unattended::upgrade::{Clock, ModeChoice};
use unattended::{Handle, Outcome, Preview, Shows, Summary};
use unattended_redb::Redb;
use unattended_simulated::Census;

use crate::Failure;
use crate::fleet::START_WALL_MS;
use crate::options::Options;
use crate::places::{beside, unwritten};

/// The version of the shape of the JSON object.
const SCHEMA: u32 = 1;
/// Without a terminal, lines are as long as pages are wide.
const WIDTH: usize = 100;
/// How often the page is thought of, in virtual time.
const LOOK_MS: u64 = 60_000;

/// A run that has ended.
pub(crate) struct Ended<'o> {
    pub(crate) options: &'o Options,
    pub(crate) outcome: Outcome,
    pub(crate) summary: Summary,
    pub(crate) census: Census,
    pub(crate) proof: Proof,
    pub(crate) mode: ModeChoice,
    pub(crate) virtual_seconds: u64,
    pub(crate) wall_seconds: f64,
}

/// The last line of standard output with `--json`.
#[derive(Serialize)]
struct Json<'r> {
    schema: u32,
    change: &'r str,
    from: &'r str,
    to: &'r str,
    release: &'r str,
    seed: u64,
    level: String,
    mode: String,
    targets: u64,
    applications: u64,
    updated: u64,
    rolled_back: u64,
    failed: u64,
    human_actions: u64,
    outcome: Option<&'static str>,
    batches: usize,
    exposed_at_stop: Option<u64>,
    debts: &'r [unattended::Debt],
    aside: &'r [unattended::AsideView],
    explanation: &'r str,
    scope: Option<&'r str>,
    evidence: f64,
    evidence_needed: f64,
    borrowed: &'r [String],
    began: String,
    virtual_seconds: u64,
    late_seconds: Option<u64>,
    wall_seconds: f64,
    peak_rss_bytes: Option<u64>,
    proof: &'static str,
    proof_checks: u64,
}

/// Neither a page nor an output that cannot be written hides how the change ended: it is said, and the rest is printed.
pub(crate) fn print(result: &Ended<'_>) -> Result<(), Failure> {
    let Ended { options, summary, .. } = result;
    let path = report_path(options);
    let page_options = page_options().deadline_unix_ms(deadline_unix_ms(options));
    let path = path.filter(|path| match write_page(path, summary, &page_options) {
        Ok(()) => true,
        Err(failure) => {
            let _ = failure.told();
            false
        }
    });
    let mut out = std::io::stdout().lock();
    let written = if options.json {
        serde_json::to_string(&json(result))
            .map_err(Failure::internal)
            .map(|line| writeln!(out, "{line}"))?
    } else {
        let shown = path
            .as_ref()
            .map_or_else(String::new, |path| format!("report: {}\n", path.display()));
        let text = text(summary, width());
        let late = match late_seconds(result) {
            None => String::new(),
            Some(0) => ", within its deadline".to_owned(),
            Some(late) => format!(", {} past its deadline", hours(late)),
        };
        writeln!(
            out,
            "{text}\n\n{} {} virtual time{late} in {:.1} s; upgraded {}; proof: ok ({} checks)\n{shown}",
            result.outcome.as_str(),
            hours(result.virtual_seconds),
            result.wall_seconds,
            result.mode.mode,
            result.proof.checks(),
        )
    };
    Failure::of_stdout(written)
}

/// Whole or not at all: somebody may be looking.
fn write_page(path: &Path, summary: &Summary, options: &PageOptions) -> Result<(), Failure> {
    let text = page(summary, options);
    let written = match beside(path) {
        None => std::fs::write(path, text),
        Some((path, new)) => std::fs::write(&new, text)
            .and_then(|()| std::fs::rename(&new, path))
            // Half a page is of no use, and takes the room that may be what is missing.
            .inspect_err(|_| drop(std::fs::remove_file(&new))),
    };
    written.map_err(|error| unwritten(path, "the report (--report)", &error))
}

/// The page while the change runs, rewritten at most once a second of real time: virtual time runs much faster.
pub(crate) struct LivePage {
    path: Option<PathBuf>,
    deadline_unix_ms: Option<i64>,
}

impl LivePage {
    pub(crate) fn of(options: &Options) -> Self {
        Self {
            path: report_path(options),
            deadline_unix_ms: deadline_unix_ms(options),
        }
    }

    /// Writes as long as the run lasts.
    pub(crate) async fn write<C: Clock>(&self, handle: &Handle, clock: &C) {
        let Some(path) = &self.path else {
            return std::future::pending().await;
        };
        let mut written: Option<Instant> = None;
        loop {
            clock.sleep_until(clock.now() + LOOK_MS).await;
            if written.is_some_and(|at| at.elapsed() < Duration::from_secs(1)) {
                continue;
            }
            #[expect(clippy::disallowed_methods, reason = "whoever looks at the page lives in real time")]
            let now = Instant::now();
            written = Some(now);
            if let Some(summary) = handle.summary() {
                let outlook = handle.outlook(self.deadline_unix_ms);
                let options = page_options().deadline_unix_ms(self.deadline_unix_ms).outlook(outlook);
                // The last writing says whether it can be written; until then the page is a convenience.
                let _ = write_page(path, &summary, &options);
            }
        }
    }
}

fn deadline_unix_ms(options: &Options) -> Option<i64> {
    let allowed = options.deadline.and_then(|ms| i64::try_from(ms).ok());
    allowed.map(|ms| START_WALL_MS.saturating_add(ms))
}

/// By how much it has taken longer than it was to, if that is known.
fn late_seconds(result: &Ended<'_>) -> Option<u64> {
    let allowed = result.options.deadline?;
    Some(result.virtual_seconds.saturating_sub(allowed / 1_000))
}

/// Where the page goes, if anywhere.
pub(crate) fn report_path(options: &Options) -> Option<PathBuf> {
    let wanted = options.report.clone();
    wanted.or_else(|| (!options.json).then(|| "report.html".into()))
}

/// No commands for the page: by the time it is written the run has ended.
fn page_options() -> PageOptions {
    PageOptions::new().owner_zone("Asia/Shanghai")
}

fn json<'r>(result: &'r Ended<'_>) -> Json<'r> {
    let Ended {
        options,
        summary,
        census,
        proof,
        ..
    } = result;
    Json {
        schema: SCHEMA,
        change: &summary.change,
        from: &summary.from,
        to: &summary.to,
        release: &options.release,
        seed: options.seed,
        level: summary.level.to_string(),
        mode: result.mode.mode.to_string(),
        targets: census.targets,
        applications: summary.exposure.applications,
        updated: census.on_new_verified,
        rolled_back: summary.rolled_back,
        failed: census.on_neither,
        human_actions: summary.human_actions,
        outcome: Some(result.outcome.as_str()),
        batches: summary.batches.len(),
        exposed_at_stop: summary.exposed_at_stop,
        debts: &summary.debts,
        aside: &summary.aside,
        explanation: &summary.evidence.strongest,
        scope: summary.evidence.scope.as_deref(),
        evidence: summary.evidence.value,
        evidence_needed: summary.evidence.needed,
        borrowed: &summary.evidence.borrowed,
        began: began(),
        virtual_seconds: result.virtual_seconds,
        late_seconds: late_seconds(result),
        wall_seconds: result.wall_seconds,
        peak_rss_bytes: peak_rss_bytes(),
        proof: "ok",
        proof_checks: proof.checks(),
    }
}

/// The plan, its proof, and what the rules say at the start.
pub(crate) fn dry_run(options: &Options, seen: &Preview, shows: &[Shows]) -> Result<u8, Failure> {
    let mut out = std::io::stdout().lock();
    let written = if options.json {
        let line = serde_json::json!({
            "schema": SCHEMA,
            "dry_run": true,
            "seed": options.seed,
            "targets": seen.plan.targets,
            "applications": seen.plan.apps,
            "batches": seen.plan.batches.len(),
            "batch_sizes": seen.plan.batches.iter().map(|batch| batch.size).collect::<Vec<_>>(),
            "stages": seen.stages,
            "held_at_start": seen.held.iter().map(|(app, why)| serde_json::json!({"lane": app, "why": why})).collect::<Vec<_>>(),
            "shows": shows,
            "proof": "ok",
            "proof_checks": seen.proof.checks(),
            "outcome": null,
        });
        writeln!(out, "{line}")
    } else {
        let shown: String = seen
            .held
            .iter()
            .take(20)
            .map(|(app, why)| format!("{app}: {why}\n"))
            .collect();
        let found: String = shows.iter().map(words).collect();
        let stages = if seen.stages.len() == seen.plan.batches.len() {
            String::new()
        } else {
            let sizes: Vec<String> = seen.stages.iter().map(u32::to_string).collect();
            format!(
                "\na run goes on by evidence, in {} stages, and not by whole batches; together they have {} targets",
                sizes.len(),
                sizes.join(", ")
            )
        };
        writeln!(
            out,
            "{}{stages}\nwhat each batch can show at this traffic, nine times of ten:\n{found}proof: ok ({} checks)\n{} of {} lanes are held at the start\n{shown}nothing was touched",
            seen.plan,
            seen.proof.checks(),
            seen.held.len(),
            seen.plan.apps,
        )
    };
    Failure::of_stdout(written)?;
    Ok(0)
}

/// A batch that can show something, in a line.
fn words(shows: &Shows) -> String {
    let found = match shows.smallest_ratio {
        Some(ratio) => format!("errors ×{ratio:.2} within one bake"),
        None => "no errors within one bake, however many".to_owned(),
    };
    let minutes = shows.safe_after_ms.div_ceil(60_000);
    format!(
        "  batch {}, {} targets: {found}; safety after {minutes} min\n",
        shows.batch, shows.targets
    )
}

/// The journal as JSON lines.
pub(crate) fn dump(path: &Path) -> Result<u8, Failure> {
    if !path.exists() {
        return Err(Failure::Input(format!("{}: there is no such journal", path.display())));
    }
    let journal = Redb::open(path).map_err(|error| Failure::Input(format!("the journal: {error}")))?;
    let mut out = std::io::BufWriter::new(std::io::stdout());
    let (mut failed, mut lines) = (None, 0_u64);
    let read = futures::executor::block_on(unattended::dump(&journal, |line| {
        lines += 1;
        let written = serde_json::to_string(&line)
            .map_err(std::io::Error::from)
            .and_then(|line| writeln!(out, "{line}"));
        failed = failed.take().or_else(|| written.err());
    }));
    read.map_err(Failure::input)?;
    if lines == 0 {
        return Err(Failure::Input(format!(
            "{}: there is no change in it: give the journal of a run that has begun",
            path.display()
        )));
    }
    Failure::of_stdout(failed.map_or_else(|| out.flush(), Err))?;
    Ok(0)
}

fn width() -> usize {
    if !std::io::stdout().is_terminal() {
        return WIDTH;
    }
    usize::from(console::Term::stdout().size().1).clamp(40, 160)
}

fn hours(seconds: u64) -> String {
    format!("{}h{:02}m", seconds / 3_600, seconds / 60 % 60)
}

fn began() -> String {
    "2026-11-23T08:00:00Z".to_owned()
}

/// The most memory this process ever had, where the system tells.
fn peak_rss_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim()
        .strip_suffix("kB")?
        .trim()
        .parse::<u64>()
        .ok()
        .map(|kilobytes| kilobytes * 1_024)
}
