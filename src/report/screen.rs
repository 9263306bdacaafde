//! The first screen: everything a person needs who was just woken up.

use maud::{Markup, html};

use super::PageOptions;
use super::format::{Clock, fraction, percent, real, thousands};
use super::words::{self, Tone};
use crate::Summary;

/// The page's title, which carries the state into tabs and notifications.
pub(super) fn title(summary: &Summary) -> String {
    let tone = Tone::of(summary);
    let lost = if summary.lost > 0 {
        format!(", {} lost", thousands(summary.lost))
    } else {
        String::new()
    };
    let word = if summary.ask.is_some() {
        "NEEDS YOU".to_owned()
    } else {
        words::state(summary)
    };
    format!(
        "{} {word}: {} ({} exposed{lost})",
        tone.sign(),
        words::name(&summary.change),
        percent(summary.exposure.exposed, summary.exposure.targets)
    )
}

pub(super) fn screen(summary: &Summary, options: &PageOptions, clock: &Clock) -> Markup {
    let tone = Tone::of(summary);
    let headline = words::headline(summary, clock, true);
    let question = headline.question.as_deref().unwrap_or_default();
    let length = [&headline.stands, question, &headline.act]
        .map(|part| part.chars().count())
        .iter()
        .sum::<usize>();
    let long = words::unabridged(summary);
    html! {
        header.top {
            p.kicker {
                span.pill { (icon(tone)) (words::state(summary)) }
                span.change title=(summary.change) { (words::name(&summary.change)) }
                span.versions { (words::name(&summary.from)) " \u{2192} " (words::name(&summary.to)) }
            }
            h1.long[length > 150] {
                span.stands { (headline.stands) ". " }
                @if let Some(question) = &headline.question { span.question { (question) " " } }
                span.act.must[headline.must_act] { (headline.act) }
            }
            @let beside = words::beside(summary, clock, true);
            @if !beside.is_empty() {
                ul.beside aria-label="Also asked" { @for question in &beside { li { "Also asked " (question) } } }
            }
        }
        div.screen {
            (exposed(summary))
            (alarms(summary))
            (why(summary, clock, !long.is_empty()))
            (next(summary, clock, options))
            (commands(tone, options))
        }
        @if !long.is_empty() {
            details.full #full {
                summary { "What was shortened above, in full" }
                dl {
                    @for (label, text) in long {
                        dt { (label) }
                        dd { (text) }
                    }
                }
            }
        }
    }
}

fn exposed(summary: &Summary) -> Markup {
    let exposure = &summary.exposure;
    let width = |part: u64| {
        let share = if exposure.targets == 0 {
            0.0
        } else {
            100.0 * real(part) / real(exposure.targets)
        };
        format!("width:{:.3}%", share.clamp(0.0, 100.0))
    };
    html! {
        section.exposed {
            h2 { "Exposed" span.wordy { " now" } }
            p.figure {
                b { (thousands(exposure.exposed)) }
                span { " of " (thousands(exposure.targets)) " targets" }
                b.share { (percent(exposure.exposed, exposure.targets)) }
            }
            div.bar aria-hidden="true" {
                i.some[exposure.exposed > 0] style=(width(exposure.exposed)) {}
                i.flying style=(width(exposure.in_flight)) {}
            }
            p.facts {
                @for fact in words::reach(summary) { span { (fact) } " " }
            }
        }
    }
}

fn alarms(summary: &Summary) -> Markup {
    html! {
        section.alarms aria-label="Numbers that should be 0" {
            @for (name, number, meaning) in words::alarms(summary) {
                div.alarm.raised[number > 0] title=(meaning) {
                    b {
                        @if number > 0 { (warning()) }
                        (thousands(number))
                    }
                    span { (name) }
                    small { (meaning) }
                }
            }
        }
    }
}

fn why(summary: &Summary, clock: &Clock, long: bool) -> Markup {
    let evidence = &summary.evidence;
    let share = 100.0 * evidence.value / evidence.needed;
    let share = if share.is_finite() {
        share.clamp(0.0, 100.0)
    } else if share > 0.0 {
        100.0
    } else {
        0.0
    };
    let reached = evidence.value >= evidence.needed;
    html! {
        section.why {
            h2 { "Why" }
            p.figure.reached[reached] {
                @if reached { (warning()) }
                b { (super::format::weight(evidence.value)) }
                span { " of " (super::format::weight(evidence.needed)) " needed: " (words::meaning(summary)) }
            }
            div.bar.limit aria-hidden="true" { i.some[share > 0.0] style=(format!("width:{share:.2}%")) {} }
            p.strongest {
                (words::sentence(words::strongest(summary)))
                @if let Some(scope) = &evidence.scope { " Mostly in " em { (words::name(scope)) } "." }
                @if long { " " a href="#full" { "In full" } }
            }
            @for aside in &summary.aside { p.strongest { (words::aside(aside, clock)) } }
            @if evidence.faults.is_empty() {
                p.none { "Errors by class of fault: no data." }
            } @else {
                table.faults {
                    thead { tr { th scope="col" { "errors" } th scope="col" { "new" } th scope="col" { "control" } } }
                    tbody {
                        @for fault in &evidence.faults {
                            @let [class, new, old] = words::fault(fault);
                            tr {
                                th scope="row" { (class) }
                                td title=(counts(fault.canary_bad, fault.canary_total)) { (new) }
                                td title=(counts(fault.control_bad, fault.control_total)) { (old) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The counts behind a rate.
fn counts(bad: u64, total: u64) -> String {
    format!("{} of {}", thousands(bad), thousands(total))
}

fn next(summary: &Summary, clock: &Clock, options: &PageOptions) -> Markup {
    let next = &summary.next;
    let (age, stale) = words::age(summary, clock, options.generated_unix_ms);
    html! {
        section.next {
            h2 { "Next" }
            dl.rows {
                dt.first { "next" } dd.what {
                    @if next.what.trim().is_empty() { "Nothing is planned." } @else { (words::sentence(&next.what)) }
                }
                @if let Some(at) = next.at_ms { dt { "when" } dd { (words::moment(summary, clock, at)) } }
                dt { "all done" } dd {
                    @match &options.outlook {
                        Some(seen) => (seen.eta_unix_ms.map_or_else(|| "no end is known".to_owned(), |at| clock.at_unix(at))),
                        None => (words::eta(summary, clock))
                    }
                }
                @if let Some(at) = options.deadline_unix_ms { dt { "deadline" } dd { (words::deadline(summary, clock, at)) } }
                dt { "held by" } dd {
                    @match &next.blocked_by { Some(by) => (words::name(by)), None => "nobody" }
                }
                dt { "budget" } dd { (fraction(next.budget_left)) " left for false stops" }
                dt { "data" } dd.stale[stale] { @if stale { (warning()) } (age) }
            }
        }
    }
}

fn commands(tone: Tone, options: &PageOptions) -> Markup {
    let freeze = (tone.is_live() && tone != Tone::Frozen).then_some(("freeze", options.freeze_command.trim()));
    let back = !matches!(tone, Tone::RolledBack | Tone::Retreating);
    let back = back.then_some(("roll back", options.rollback_command.trim()));
    let given: Vec<(&str, &str)> = [freeze, back]
        .into_iter()
        .flatten()
        .filter(|(_, line)| !line.is_empty())
        .collect();
    html! {
        @if !given.is_empty() { section.commands {
            h2 { @if tone.is_live() { "To stop it" } @else { "To undo it" } }
            @for (label, line) in &given {
                p { span { (label) } code { (line) } }
            }
        } }
    }
}

/// The sign beside the word of a state; a shape of its own for each, so that it reads without colour.
fn icon(tone: Tone) -> Markup {
    let path = match tone {
        Tone::Running => "M6 4l10 6-10 6z",
        Tone::Done => "M3.5 10.5l4.5 4.5 8.5-10",
        Tone::Indebted => "M2 10.5l4 4.5 7-10M17 9v6M14 12h6",
        Tone::Retreating | Tone::RolledBack => "M8 4L3.5 8.5 8 13M4 8.5h8a4 4 0 0 1 0 8H7",
        Tone::Frozen => "M7 4v12M13 4v12",
        Tone::Asking => "M10 3v9M10 15.6v1.4",
        Tone::Broken | Tone::Unfinished => "M10 2.5L18 17H2zM10 8v4M10 14.2v.8",
        Tone::Ended => "M5 5h10v10H5z",
    };
    html! {
        svg.icon viewBox="0 0 20 20" aria-hidden="true" { path d=(path) {} }
    }
}

/// The sign beside a number that should be another.
pub(super) fn warning() -> Markup {
    html! {
        svg.icon viewBox="0 0 20 20" aria-hidden="true" { path d="M10 2.5L18 17H2zM10 8v4M10 14.2v.8" {} }
        span.unseen { "Attention: " }
    }
}
