//! What is read, not looked at: batches, decisions, debts, the receipt.

use maud::{Markup, html};

use super::find;
use super::format::{Clock, UNKNOWN, count, duration, percent, thousands};
use crate::{DecisionView, Summary};

/// How many of the last decisions are open to the eye.
const RECENT: usize = 12;

/// How many debts are listed; the others are counted.
const DEBTS: usize = 200;

/// The name of a batch: its index, as the decisions call it.
pub(super) fn ordinal(index: u16) -> String {
    index.to_string()
}

/// The plan and how far it is.
pub(super) fn batches(summary: &Summary, clock: &Clock) -> Markup {
    let time = |at: Option<u64>, none: &'static str| at.map_or_else(|| none.to_owned(), |at| clock.at(at));
    html! {
        @if !summary.batches.is_empty() {
            details {
                summary { (count(len(summary.batches.len()), "batch", "batches")) " planned" }
                div.scroll {
                    table {
                        thead { tr {
                            th scope="col" { "batch" } th.number scope="col" { "targets" } th.number scope="col" { "in all" }
                            th.number scope="col" { "share" } th scope="col" { "began" } th scope="col" { "last target done" }
                            th scope="col" { "control" }
                        } }
                        tbody {
                            @for batch in &summary.batches {
                                tr {
                                    th scope="row" { (ordinal(batch.index)) }
                                    td.number { (thousands(batch.size)) }
                                    td.number { (thousands(batch.cumulative)) }
                                    td.number { (percent(batch.cumulative, summary.exposure.targets)) }
                                    td { (time(batch.began_ms, "not yet")) }
                                    td { (time(batch.ended_ms, if batch.began_ms.is_some() { "under way" } else { "" })) }
                                    td { (batch.control) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A length as a count.
fn len(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

pub(super) fn decisions(summary: &Summary, clock: &Clock) -> Markup {
    let (earlier, recent) = summary
        .decisions
        .split_at(summary.decisions.len().saturating_sub(RECENT));
    html! {
        section #decisions {
            h2 { "Decisions" }
            @if summary.decisions.is_empty() {
                p.none { "Nothing has been decided yet." }
            } @else {
                p.note { "In order; open one for its code and for what would have changed it." }
                (find::field(&summary.decisions))
            }
            @if !earlier.is_empty() {
                details.earlier {
                    summary { (count(len(earlier.len()), "earlier decision", "earlier decisions")) }
                    ol.decisions { @for decision in earlier { (entry(decision, clock)) } }
                }
            }
            @if !recent.is_empty() {
                ol.decisions start=(earlier.len() + 1) { @for decision in recent { (entry(decision, clock)) } }
            }
        }
    }
}

fn entry(decision: &DecisionView, clock: &Clock) -> Markup {
    html! {
        li {
            details {
                summary {
                    time datetime=(clock.machine(decision.at_ms)) { (clock.at(decision.at_ms)) }
                    span.said {
                        (decision.text)
                        @if decision.count > 1 { " " b { "\u{d7}\u{a0}" (thousands(decision.count)) } }
                    }
                }
                p { code { (decision.code) } }
                p.otherwise {
                    @match &decision.otherwise {
                        Some(otherwise) => { "What would have changed it: " span { (otherwise) } },
                        None => "Nothing recorded would have changed it.",
                    }
                }
            }
        }
    }
}

/// Who gets no traffic now; nothing where everybody does.
pub(super) fn isolated(summary: &Summary, clock: &Clock) -> Markup {
    html! {
        @if !summary.isolated.is_empty() {
            section #isolated {
                h2 { "Out of traffic" }
                p.note { (count(len(summary.isolated.len()), "target", "targets")) " kept out, or started anew; each is back by itself when its lease ends." }
                div.scroll {
                    table {
                        thead { tr { th scope="col" { "target" } th scope="col" { "why" } th scope="col" { "until" } } }
                        tbody {
                            @for one in summary.isolated.iter().take(DEBTS) {
                                tr {
                                    th scope="row" { (one.target) }
                                    td { (one.why) }
                                    td { (one.until_ms.map_or_else(|| "its order is under way".to_owned(), |at| clock.at(at))) }
                                }
                            }
                        }
                    }
                }
                @if summary.isolated.len() > DEBTS {
                    p.more { "and " (thousands(len(summary.isolated.len() - DEBTS))) " more targets" }
                }
            }
        }
    }
}

pub(super) fn debts(summary: &Summary, clock: &Clock) -> Markup {
    let mut debts: Vec<_> = summary.debts.iter().collect();
    debts.sort_by(|a, b| (a.expires_unix_ms, &a.owner, &a.target).cmp(&(b.expires_unix_ms, &b.owner, &b.target)));
    html! {
        section #debts {
            h2 { "Debts" }
            @if debts.is_empty() {
                p.none { "No target was left behind." }
            } @else {
                p.note { (count(len(debts.len()), "target was", "targets were")) " left behind; the most urgent first." }
                div.scroll.stack {
                    table {
                        thead { tr {
                            th scope="col" { "look at it by" } th scope="col" { "target" } th scope="col" { "owner" }
                            th scope="col" { "why it was left" }
                        } }
                        tbody {
                            @for debt in debts.iter().take(DEBTS) {
                                tr {
                                    td.when data-label="by" { (clock.at_unix(debt.expires_unix_ms)) }
                                    td data-label="target" { code { (debt.target) } }
                                    td data-label="owner" { (debt.owner) }
                                    td data-label="why" { (debt.reason) }
                                }
                            }
                        }
                    }
                }
                @if debts.len() > DEBTS { p.more { "and " (thousands(len(debts.len() - DEBTS))) " more targets" } }
            }
        }
    }
}

/// Quantiles as `p50 4.2 s, p99 31 s`.
fn quantiles(values: &[(f64, u64)]) -> String {
    let parts: Vec<String> = values
        .iter()
        .filter(|(q, _)| q.is_finite())
        .map(|(q, ms)| {
            let name = if *q >= 1.0 {
                "longest".to_owned()
            } else {
                format!("p{}", (q * 1e4).round() / 100.0)
            };
            format!("{name}\u{a0}{}", duration(*ms))
        })
        .collect();
    if parts.is_empty() {
        UNKNOWN.to_owned()
    } else {
        parts.join(", ")
    }
}

pub(super) fn receipt(summary: &Summary) -> Markup {
    let receipt = &summary.receipt;
    let modes: Vec<String> = receipt
        .modes
        .iter()
        .map(|(mode, n)| format!("{}\u{a0}{mode}", thousands(*n)))
        .collect();
    html! {
        section #receipt {
            h2 { "Receipt" }
            dl.pairs {
                dt { "attempts" } dd {
                    (thousands(receipt.attempts)) ": " (thousands(receipt.done)) " done, "
                    (thousands(receipt.went_back)) " went back by themselves"
                }
                dt { "modes" } dd { @if modes.is_empty() { (UNKNOWN) } @else { (modes.join(", ")) } }
                dt { "an attempt took" } dd { (quantiles(&receipt.duration_ms)) }
                dt { "a target served nothing new for" } dd { (quantiles(&receipt.outage_ms)) }
                dt { "cut by a deadline" } dd { (count(receipt.cut, "connection or request", "connections or requests")) }
                @if receipt.moves.moved + receipt.moves.declined + receipt.moves.lost > 0 {
                    dt { "connections handed over" } dd {
                        (thousands(receipt.moves.moved)) " moved, " (thousands(receipt.moves.declined)) " asked to end, "
                        (thousands(receipt.moves.lost)) " lost with a process"
                    }
                    dt { "a connection stood still for at most" } dd { { (thousands(u64::from(receipt.moves.pause_max_us).div_ceil(1_000))) "\u{a0}ms" } }
                }
                dt { "brought back" } dd { (count(summary.rolled_back, "target", "targets")) }
                @if let Some(at_stop) = summary.exposed_at_stop {
                    dt { "touched when the stop was decided" } dd { (count(at_stop, "target", "targets")) }
                }
                dt { "people had to act" } dd { (count(summary.human_actions, "time", "times")) }
            }
        }
    }
}
