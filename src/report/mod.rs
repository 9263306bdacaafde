//! The report of a change: one self-contained page for a browser, and its first screen as plain text.
//!
//! Both are functions of a [`Summary`]: the same summary and options give the same bytes. The page loads nothing, and
//! escapes every name it shows. Its one script finds decisions; without it all are listed.

mod curves;
mod find;
mod fleet;
mod format;
#[cfg(test)]
mod halted;
mod holds;
mod lanes;
mod lists;
mod metro;
mod outlook;
mod plot;
#[cfg(test)]
mod sample;
mod screen;
mod style;
#[cfg(test)]
mod tests;
mod text;
mod train;
mod words;

pub use text::text;
pub use train::train_page;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::{Outlook, Summary};
use format::{Clock, duration};
use words::Tone;

/// What [`page`] shows that is not in the summary.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PageOptions {
    /// The IANA name of the zone in which the owner lives, shown beside UTC. A name nobody knows is said on the page.
    pub owner_zone: Option<String>,
    /// The command that freezes the change; empty where there is none.
    pub freeze_command: String,
    /// The command that rolls the change back; empty where there is none.
    pub rollback_command: String,
    /// When the page was made, in Unix milliseconds of the clock the change runs by: the age of the data is counted from
    /// it. `None` takes the summary's own moment.
    pub generated_unix_ms: Option<i64>,
    /// By when it was to be through, in Unix milliseconds; `None` leaves that out.
    pub deadline_unix_ms: Option<i64>,
    /// The e-value of safety that a class needs to go on, `1/beta`; 20 by default.
    pub safety_needed: f64,
    /// When it will be through, as the [handle](crate::Handle::outlook) said together with the summary; `None` leaves that out.
    pub outlook: Option<Outlook>,
}

impl Default for PageOptions {
    fn default() -> Self {
        Self {
            owner_zone: None,
            freeze_command: String::new(),
            rollback_command: String::new(),
            generated_unix_ms: None,
            deadline_unix_ms: None,
            safety_needed: 20.0,
            outlook: None,
        }
    }
}

impl PageOptions {
    /// No owner's zone, no commands, the summary's own moment.
    pub fn new() -> Self {
        Self::default()
    }

    /// Shows times in this IANA zone beside UTC.
    #[must_use]
    pub fn owner_zone(mut self, zone: impl Into<String>) -> Self {
        self.owner_zone = Some(zone.into());
        self
    }

    /// The command that freezes the change.
    #[must_use]
    pub fn freeze_command(mut self, command: impl Into<String>) -> Self {
        self.freeze_command = command.into();
        self
    }

    /// The command that rolls the change back.
    #[must_use]
    pub fn rollback_command(mut self, command: impl Into<String>) -> Self {
        self.rollback_command = command.into();
        self
    }

    /// When the page was made, in Unix milliseconds.
    #[must_use]
    pub const fn generated_unix_ms(mut self, at: i64) -> Self {
        self.generated_unix_ms = Some(at);
        self
    }

    /// By when it is to be through, in Unix milliseconds: the first screen says whether it was.
    #[must_use]
    pub const fn deadline_unix_ms(mut self, at: Option<i64>) -> Self {
        self.deadline_unix_ms = at;
        self
    }

    /// The e-value of safety that a class needs to go on, `1/beta`.
    #[must_use]
    pub const fn safety_needed(mut self, needed: f64) -> Self {
        self.safety_needed = needed;
        self
    }

    /// When it will be through.
    #[must_use]
    pub fn outlook(mut self, outlook: Option<Outlook>) -> Self {
        self.outlook = outlook;
        self
    }
}

/// The whole report as one HTML file in UTF-8, without anything to load.
///
/// The first screen answers, on a phone: what is the state, must I act, what is exposed, why, what comes next, with which
/// command do I stop it. The pictures and lists follow below.
pub fn page(summary: &Summary, options: &PageOptions) -> String {
    let clock = Clock::new(summary.began_unix_ms, summary.elapsed_ms, options.owner_zone.as_deref());
    let tone = Tone::of(summary);
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta http-equiv="Content-Security-Policy" content=(find::security_policy());
                title { (screen::title(summary)) }
                link rel="icon" href=(style::icon(tone));
                style { (PreEscaped(style::SHEET)) }
            }
            body class=(tone.class()) {
                main {
                    (screen::screen(summary, options, &clock))
                    @if let Some(seen) = &options.outlook { (outlook::outlook(seen, &clock)) }
                    (curves::exposure(summary, &clock))
                    (fleet::fleet(summary))
                    (lanes::lanes(summary, &clock))
                    (curves::evidence(summary, options, &clock))
                    (holds::holds(summary, &clock))
                    (lists::decisions(summary, &clock))
                    (lists::isolated(summary, &clock))
                    (lists::debts(summary, &clock))
                    (lists::receipt(summary))
                }
                (foot(summary, options, &clock))
                (find::script(&summary.decisions))
            }
        }
    }
    .into_string()
}

fn foot(summary: &Summary, options: &PageOptions, clock: &Clock) -> Markup {
    let made = options
        .generated_unix_ms
        .unwrap_or_else(|| clock.unix_ms(summary.elapsed_ms));
    html! {
        footer {
            p {
                (summary.change) " by " (summary.author) ", autonomy level " (summary.level) ", began "
                (clock.at(0)) ", looked at " (duration(summary.elapsed_ms)) " later. Page of " (clock.at_unix(made))
                ", shape " (summary.schema) "."
            }
            @if let Some(zone) = clock.unknown_zone() {
                p { strong { "The owner's zone \u{201c}" (zone) "\u{201d} is not known" } ", so all times are UTC only; use an IANA name such as Asia/Shanghai." }
            }
        }
    }
}
