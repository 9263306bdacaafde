//! What was seen, in words.

use unattended::{Ending, RecordedChange, ShadowReport, Topic};

/// Disagreements that are told one by one.
const SHOWN: usize = 20;

/// Who says the rest: the record may be of the autopilot, too.
pub(crate) const BESIDE: &str = "the autopilot beside it";

pub(crate) fn text(change: &RecordedChange, report: &ShadowReport) -> String {
    let mut lines = vec![
        format!(
            "{}: {} to {}, driven by {}",
            change.change, change.from, change.to, change.tool
        ),
        format!("{}: {}", change.tool, theirs(report)),
        format!("{BESIDE}: {}", ours(report)),
        format!(
            "{} of {} starts would have been started here as well at that moment",
            report.agreed, report.starts
        ),
        saved(report),
    ];
    if !report.disagreements.is_empty() {
        lines.push(String::new());
    }
    for found in report.disagreements.iter().take(SHOWN) {
        let span = if found.from_ms == found.until_ms {
            time(found.from_ms)
        } else {
            format!("{} to {}", time(found.from_ms), time(found.until_ms))
        };
        let starts = match found.starts {
            0 => String::new(),
            starts => format!(" ({starts} started)"),
        };
        lines.push(format!("{span}  {}{starts}: {}", topic(found.topic), found.why));
    }
    let more = report.disagreements.len().saturating_sub(SHOWN);
    if more > 0 {
        lines.push(format!("and {more} more; --json has all"));
    }
    lines.join("\n")
}

pub(crate) fn theirs(report: &ShadowReport) -> String {
    let end = match report.ended {
        Some(Ending::Completed) => format!("completed after {}", time(report.ended_ms)),
        Some(Ending::RolledBack) => format!("rolled back, ended after {}", time(report.ended_ms)),
        Some(Ending::Aborted) => format!("left where it stood after {}", time(report.ended_ms)),
        Some(Ending::Waiting) => format!("waits to be taken up since {}", time(report.ended_ms)),
        None => format!("the record breaks off after {}", time(report.ended_ms)),
    };
    let back = report.back.as_ref().map_or_else(String::new, |back| {
        format!(
            "; went back from {} on, with {} targets exposed",
            time(back.at_ms),
            back.exposed
        )
    });
    format!("{end}{back}; {} targets exposed at the most", report.most_exposed)
}

pub(crate) fn ours(report: &ShadowReport) -> String {
    match &report.stop {
        Some(stop) => format!(
            "would have stopped it after {}, with {} targets exposed ({}): {}",
            time(stop.at_ms),
            stop.exposed,
            stop.what,
            stop.why
        ),
        None if report.measured == 0 => {
            "nothing was measured: whether it would have stopped it cannot be told; record intervals of metrics"
                .to_owned()
        }
        None => "would not have stopped it".to_owned(),
    }
}

pub(crate) fn saved(report: &ShadowReport) -> String {
    let saved = &report.saved;
    match (&report.stop, report.ended) {
        (Some(_), _) => format!(
            "saved: {} targets less exposed, {:.1} target hours, stopped {:.1} h sooner",
            saved.exposed, saved.target_hours, saved.hours_to_stop
        ),
        (None, _) if report.measured == 0 => "saved: cannot be told, since nothing was measured".to_owned(),
        (None, Some(Ending::RolledBack)) => {
            "saved: nothing; what was taken back was not bad by the evidence".to_owned()
        }
        (None, _) => format!(
            "saved: {:.1} h of waiting for nothing, as far as the record tells",
            saved.hours_of_waiting
        ),
    }
}

pub(crate) const fn topic(topic: Topic) -> &'static str {
    match topic {
        Topic::Stopped => "after the stop",
        Topic::Rules => "against rules",
        Topic::Evidence => "beyond the evidence",
        Topic::Blocked => "over a check",
        Topic::Waits => "waits",
        Topic::Back => "goes back",
        _ => "otherwise",
    }
}

pub(crate) fn time(ms: u64) -> String {
    format!("{}h{:02}m", ms / 3_600_000, ms / 60_000 % 60)
}
