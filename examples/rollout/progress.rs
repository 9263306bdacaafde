//! Live bars on a terminal, nothing elsewhere.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};
use unattended::Handle;
use unattended::upgrade::Clock;

/// How often the bar is brought up to date, in virtual time.
const STEP_MS: u64 = 5 * 60_000;

pub(crate) struct Progress {
    bar: Option<ProgressBar>,
}

impl Progress {
    pub(crate) fn new(targets: usize, wanted: bool) -> Self {
        let shown = wanted && std::io::stderr().is_terminal();
        let bar = shown.then(|| {
            let bar = ProgressBar::new(targets as u64);
            let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
            let template = if plain {
                "{wide_bar} {pos}/{len} {msg}"
            } else {
                "{wide_bar:.cyan/blue} {pos}/{len} {msg}"
            };
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            bar
        });
        Self { bar }
    }

    /// Keeps the bar up to date for as long as the run lasts.
    pub(crate) async fn watch<C: Clock>(&self, handle: &Handle, clock: &C) {
        let Some(bar) = &self.bar else {
            return std::future::pending().await;
        };
        loop {
            clock.sleep_until(clock.now() + STEP_MS).await;
            if let Some(progress) = handle.progress() {
                bar.set_length(progress.targets);
                bar.set_position(progress.exposed);
                bar.set_message(format!(
                    "{} · {} · batch {} · evidence {:.1} of 100",
                    hours(progress.now_ms),
                    progress.state,
                    progress.batch,
                    progress.evidence.min(9_999.0)
                ));
            }
        }
    }

    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn hours(ms: u64) -> String {
    format!("{}h{:02}", ms / 3_600_000, ms / 60_000 % 60)
}
