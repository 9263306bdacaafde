//! The first screen for a terminal.

use super::format::{Clock, GLUE, fraction, percent, thousands};
use super::words::{self, Tone};
use crate::Summary;

/// Narrower than this nothing can be laid out.
const LEAST_WIDTH: usize = 32;

/// Lines longer than this are hard to read, however wide the terminal is.
const MOST_WIDTH: usize = 110;

/// The width of the column of labels.
const LABEL: usize = 13;

/// The first screen of the report as plain text: no colours, no control characters, whatever the names contain.
///
/// No line is wider than `width` columns (32 at least); a line is never wider than 110, where reading gets hard. Times
/// are in UTC.
pub fn text(summary: &Summary, width: usize) -> String {
    let width = width.clamp(LEAST_WIDTH, MOST_WIDTH);
    let clock = Clock::new(summary.began_unix_ms, summary.elapsed_ms, None);
    let tone = Tone::of(summary);
    let headline = words::headline(summary, &clock, false);
    let mut out = Lines {
        width,
        out: String::new(),
    };
    out.line(
        0,
        &format!(
            "[{}] {}  {}  {} -> {}  {}",
            tone.sign(),
            words::state(summary).to_uppercase(),
            summary.change,
            summary.from,
            summary.to,
            summary.level
        ),
    );
    out.rule();
    out.line(0, &format!("{}.", headline.stands));
    if let Some(question) = &headline.question {
        out.line(0, question);
    }
    out.line(
        0,
        &if headline.must_act {
            format!("! {}", headline.act)
        } else {
            headline.act
        },
    );
    for question in words::beside(summary, &clock, false) {
        out.line(2, &format!("also asked {question}"));
    }
    out.gap();

    let exposure = &summary.exposure;
    out.field(
        "exposed now",
        &format!(
            "{} of {} targets ({})",
            thousands(exposure.exposed),
            thousands(exposure.targets),
            percent(exposure.exposed, exposure.targets)
        ),
    );
    out.field("", &words::reach(summary).join("; "));
    let alarms: Vec<String> = words::alarms(summary)
        .into_iter()
        .map(|(name, n, _)| format!("{}{name}{GLUE}{}", if n > 0 { "!\u{a0}" } else { "" }, thousands(n)))
        .collect();
    out.field("should be 0", &alarms.join(", "));
    if !summary.isolated.is_empty() {
        let out_of = thousands(u64::try_from(summary.isolated.len()).unwrap_or(u64::MAX));
        out.field("no traffic", &format!("{out_of} targets, each until its lease ends"));
    }
    out.gap();

    out.field(
        "why",
        &format!("{}: {}", words::of_needed(summary), words::meaning(summary)),
    );
    out.field("", words::strongest(summary));
    if let Some(scope) = &summary.evidence.scope {
        out.field("", &format!("Mostly in {scope}."));
    }
    for aside in &summary.aside {
        out.field("", &words::aside(aside, &clock));
    }
    faults(summary, &mut out);
    out.gap();

    let next = &summary.next;
    out.field(
        "next",
        if next.what.trim().is_empty() {
            "Nothing is planned."
        } else {
            next.what.trim()
        },
    );
    if let Some(at) = next.at_ms {
        out.field("when", &words::moment(summary, &clock, at));
    }
    out.field("all done", &words::eta(summary, &clock));
    out.field("held by", next.blocked_by.as_deref().unwrap_or("nobody"));
    out.field(
        "budget",
        &format!("{} left for false stops", fraction(next.budget_left)),
    );
    let (age, stale) = words::age(summary, &clock, None);
    out.field("data", &format!("{}{age}", if stale { "! " } else { "" }));
    out.out
}

/// The split of errors, in columns.
fn faults(summary: &Summary, out: &mut Lines) {
    if summary.evidence.faults.is_empty() {
        return out.field("errors", "by class of fault: no data");
    }
    let head = ["errors", "new", "control"].map(str::to_owned);
    for row in std::iter::once(head).chain(summary.evidence.faults.iter().map(words::fault)) {
        let [class, new, old] = row.map(|cell| clean(&cell));
        let class: String = class.chars().take(LABEL + 3).collect();
        let row = format!("{class:<17}{new:>11}{old:>11}");
        if columns(&row) + LABEL <= out.width {
            out.field("", &row.replace(' ', "\u{a0}"));
        } else {
            out.field("", &format!("{class}: new {new}, control {old}"));
        }
    }
}

/// Text without anything a terminal would obey.
fn clean(text: &str) -> String {
    let hidden = |c: char| {
        c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars()
        .map(|c| match c {
            '\n' | '\t' | '\r' => ' ',
            c if hidden(c) => '\u{fffd}',
            c => c,
        })
        .collect()
}

/// The columns a character takes: two for East Asian scripts and pictures.
const fn columns_of(c: char) -> usize {
    match c {
        '\u{1100}'..='\u{115f}'
        | '\u{2e80}'..='\u{303e}'
        | '\u{3041}'..='\u{a4cf}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}'
        | '\u{ff00}'..='\u{ff60}'
        | '\u{ffe0}'..='\u{ffe6}'
        | '\u{1f300}'..='\u{1faff}'
        | '\u{20000}'..='\u{3fffd}' => 2,
        _ => 1,
    }
}

/// The columns a text takes.
fn columns(text: &str) -> usize {
    text.chars().map(columns_of).sum()
}

/// Lines of at most a width.
struct Lines {
    width: usize,
    out: String,
}

impl Lines {
    fn gap(&mut self) {
        self.out.push('\n');
    }

    fn rule(&mut self) {
        self.out.push_str(&"-".repeat(self.width));
        self.out.push('\n');
    }

    /// A paragraph after a label; an empty label continues the one above.
    fn field(&mut self, label: &str, text: &str) {
        self.out.push_str(&format!("{label:<LABEL$}"));
        self.wrap(LABEL, text);
    }

    /// A paragraph that starts at a column.
    fn line(&mut self, indent: usize, text: &str) {
        self.out.push_str(&" ".repeat(indent));
        self.wrap(indent, text);
    }

    /// Writes from column `indent` on, wrapping back to it. Words too long for a line are broken.
    fn wrap(&mut self, indent: usize, text: &str) {
        let room = self.width - indent;
        let mut used = 0;
        for word in clean(text).split(' ').filter(|word| !word.is_empty()) {
            let mut wide = columns(word);
            if used > 0 && used + 1 + wide > room {
                self.turn(indent);
                used = 0;
            } else if used > 0 {
                self.out.push(' ');
                used += 1;
            }
            for c in word.chars() {
                if wide > room && used + columns_of(c) > room {
                    self.turn(indent);
                    wide -= used.min(wide);
                    used = 0;
                }
                used += columns_of(c);
                self.out.push(if c == GLUE { ' ' } else { c });
            }
        }
        self.end();
    }

    fn turn(&mut self, indent: usize) {
        self.end();
        self.out.push_str(&" ".repeat(indent));
    }

    /// Ends a line without spaces at its end.
    fn end(&mut self) {
        let kept = self.out.trim_end_matches(' ').len();
        self.out.truncate(kept);
        self.out.push('\n');
    }
}
