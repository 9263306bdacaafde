//! When it will be through, and who is late.

use maud::{Markup, html};

use super::format::{Clock, count, duration, thousands};
use crate::Outlook;

/// What costs lanes most is listed up to here; the lanes below name theirs.
const BLOCKERS: usize = 12;

pub(super) fn outlook(outlook: &Outlook, clock: &Clock) -> Markup {
    let when = |at: Option<i64>| at.map_or_else(|| "no end is known".to_owned(), |at| clock.at_unix(at));
    html! {
        section #outlook {
            h2 { "When it is through" }
            p {
                @match (&outlook.waits_for, outlook.eta_unix_ms) {
                    (Some(question), _) => { "It waits for an answer: " (question) }
                    (None, Some(eta)) => { "About " strong { (clock.at_unix(eta)) } ", if nothing fails and evidence comes as fast as it may." }
                    (None, None) => { strong { "No end is known" } " for some lanes." }
                }
                @if let Some(deadline) = outlook.deadline_unix_ms {
                    " The deadline is " (clock.at_unix(deadline)) ": "
                    @if outlook.late == 0 { "every lane keeps it." } @else { strong { (count(outlook.late, "lane misses it", "lanes miss it")) } "." }
                }
            }
            @if !outlook.late_by.is_empty() {
                div.scroll {
                    table {
                        thead { tr {
                            th scope="col" { "what costs most" } th.number scope="col" { "lanes" } th.number scope="col" { "targets left" }
                            th scope="col" { "owner" }
                        } }
                        tbody {
                            @for by in outlook.late_by.iter().take(BLOCKERS) {
                                tr {
                                    td { (by.blocked_by) }
                                    td.number { (thousands(by.lanes)) }
                                    td.number { (thousands(by.targets)) }
                                    td { (by.owner) }
                                }
                            }
                        }
                    }
                }
                details {
                    summary { "The latest lanes" }
                    div.scroll {
                        table {
                            thead { tr {
                                th scope="col" { "lane" } th.number scope="col" { "left" } th scope="col" { "through" }
                                th scope="col" { "what costs it most" } th scope="col" { "for" } th scope="col" { "owner" }
                            } }
                            tbody {
                                @for lane in &outlook.late_lanes {
                                    tr {
                                        th scope="row" { (lane.lane) }
                                        td.number { (thousands(lane.left)) }
                                        td { (when(lane.eta_unix_ms)) }
                                        td { (lane.blocked_by) }
                                        td { (lane.costs_ms.map_or_else(|| "ever".to_owned(), duration)) }
                                        td { (lane.owner) }
                                    }
                                }
                            }
                        }
                    }
                }
            }
            @if outlook.paces.iter().any(|pace| pace.steps > 0) {
                div.scroll {
                    table {
                        caption { "What larger steps would bring, with every window open, and what an unknown fault would reach" }
                        thead { tr {
                            th scope="col" { "planned steps at once" } th.number scope="col" { "steps left" } th scope="col" { "time" }
                            th.number scope="col" { "targets reached" }
                        } }
                        tbody {
                            @for pace in &outlook.paces {
                                tr {
                                    th scope="row" { (pace.at_once) }
                                    td.number { (pace.steps) }
                                    td { (duration(pace.time_ms)) }
                                    td.number { (format!("{:.0}", pace.exposed)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}
