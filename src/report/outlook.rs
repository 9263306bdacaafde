//! When it will be through, and who is late.

use maud::{Markup, html};

use super::format::{Clock, count, duration, thousands, weight};
use crate::{LiveTraffic, Outlook};

/// What costs lanes most is listed up to here; the lanes below name theirs.
const BLOCKERS: usize = 12;

pub(super) fn outlook(outlook: &Outlook, clock: &Clock) -> Markup {
    let when = |at: Option<i64>| at.map_or_else(|| "no end is known".to_owned(), |at| clock.at_unix(at));
    html! {
        section #outlook {
            h2 { "When it is through" }
            p {
                @match (&outlook.waits_for, outlook.eta_unix_ms) {
                    (Some(question), _) if question.ends_with('?') => { "It waits for an answer: " (question) }
                    (Some(word), _) => { "It waits for " (word) "." }
                    (None, Some(eta)) => { "About " strong { (clock.at_unix(eta)) } ", at the traffic seen so far, if nothing fails." }
                    (None, None) => { strong { "No end is known" } " for some lanes." }
                }
                @if let Some(deadline) = outlook.deadline_unix_ms {
                    " The deadline is " (clock.at_unix(deadline)) ": "
                    @if outlook.late == 0 { "every lane keeps it." } @else { strong { (count(outlook.late, "lane misses it", "lanes miss it")) } "." }
                }
            }
            @if let Some(traffic) = &outlook.traffic { p { (shows(traffic)) } }
            @if let Some(most) = outlook.most_in_flight {
                p { "Up to " (count(most, "target is", "targets are")) " under way at once; attempts that succeed make it more, one that fails less." }
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

/// What the traffic of those exposed can show, in a sentence.
fn shows(traffic: &LiveTraffic) -> String {
    let found = match traffic.smallest_ratio {
        Some(ratio) => format!("find errors {ratio:.1} times as frequent within one bake"),
        None => "find no fault within one bake, not even a thousandfold".to_owned(),
    };
    format!(
        "At {:.1} requests a second each, of which {} in a million fail on the old version, those exposed {found}, and show that they are safe in {}.",
        traffic.requests_per_s,
        weight(traffic.error_rate * 1e6),
        duration(traffic.safe_after_ms),
    )
}

#[cfg(test)]
mod tests {
    use super::super::sample::sample;
    use super::super::{PageOptions, page};
    use crate::{LateBy, LateLane, LiveTraffic, Outlook, Pace};

    #[test]
    fn the_page_says_when_it_is_through_and_who_is_late() {
        let shown = |outlook: Outlook| page(&sample(), &PageOptions::new().outlook(Some(outlook)));
        let began = sample().began_unix_ms;
        let lane = LateLane {
            lane: "pay<script>".into(),
            eta_unix_ms: Some(began + 40 * 3_600_000),
            left: 1_234,
            blocked_by: "calendar/sale (a sale)".into(),
            owner: "pay-team".into(),
            costs_ms: Some(62 * 3_600_000),
        };
        let pace = |at_once: u32| Pace {
            at_once,
            steps: 8 / at_once,
            time_ms: 3_600_000 * u64::from(8 / at_once),
            exposed: f64::from(at_once) * 300.4,
        };
        let late = Outlook {
            at_unix_ms: began,
            deadline_unix_ms: Some(began + 24 * 3_600_000),
            eta_unix_ms: Some(began + 40 * 3_600_000),
            waits_for: None,
            late: 1,
            late_by: vec![LateBy {
                blocked_by: "calendar/sale (a sale)".into(),
                owner: "pay-team".into(),
                lanes: 1,
                targets: 1_234,
            }],
            late_lanes: vec![lane],
            most_in_flight: Some(1_250),
            traffic: Some(LiveTraffic {
                requests_per_s: 4.0,
                error_rate: 2e-4,
                smallest_ratio: Some(2.53),
                safe_after_ms: 20 * 60_000,
            }),
            paces: vec![pace(1), pace(2)],
        };
        let text = shown(late.clone());
        for wanted in [
            "1\u{a0}lane misses it",
            "pay&lt;script&gt;",
            "1,234",
            "calendar/sale (a sale)",
            "pay-team",
            "601",
            "find errors 2.5 times as frequent within one bake, and show that they are safe in 20\u{a0}min.",
            "Up to 1,250\u{a0}targets are under way at once",
        ] {
            assert!(text.contains(wanted), "{wanted}");
        }
        let in_time = Outlook {
            late: 0,
            late_by: Vec::new(),
            late_lanes: Vec::new(),
            ..late.clone()
        };
        assert!(shown(in_time).contains("every lane keeps it"));
        let thin = LiveTraffic {
            smallest_ratio: None,
            ..late.traffic.unwrap()
        };
        let thin = Outlook {
            traffic: Some(thin),
            ..late.clone()
        };
        assert!(shown(thin).contains("find no fault within one bake"));
        let asked = Outlook {
            waits_for: Some("begin?".into()),
            ..late
        };
        assert!(shown(asked).contains("It waits for an answer: begin?"));
        assert!(!page(&sample(), &PageOptions::new()).contains("id=\"outlook\""));
    }
}
