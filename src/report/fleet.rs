//! The fleet as a heat map: each value of each label, and how much of it is exposed.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::format::{count, percent, thousands};
use crate::{ClassView, Summary};

pub(super) fn fleet(summary: &Summary) -> Markup {
    let mut keys: BTreeMap<&str, Vec<(&str, &ClassView)>> = BTreeMap::new();
    for class in &summary.classes {
        // The whole fleet stands above.
        if let Some((key, value)) = class.name.split_once('=') {
            keys.entry(key).or_default().push((value, class));
        }
    }
    html! {
        @if !keys.is_empty() {
            section #fleet {
                h2 { "Fleet" }
                p.note { "Each value of each label: the fuller, the more of it is exposed. Open one for its evidence." }
                @for (key, classes) in &keys {
                    h3 { (key) }
                    div.heat {
                        @for (value, class) in classes { (tile(value, class)) }
                    }
                }
            }
        }
    }
}

fn tile(value: &str, class: &ClassView) -> Markup {
    let filled = class
        .exposed
        .saturating_mul(100)
        .checked_div(class.targets)
        .unwrap_or(0)
        .min(100);
    let suspected = class.state == "suspected";
    html! {
        details.tile.suspected[suspected] style=(format!("--full:{filled}%")) {
            summary {
                span.value { (value) }
                span.share { (percent(class.exposed, class.targets)) }
                span.state { (class.state) }
            }
            p {
                (thousands(class.exposed)) " of " (count(class.targets, "target", "targets")) ", may grow to " (thousands(class.may_expose))
                ". Safety evidence " (evidence(class.evidence)) " of " (evidence(class.needed)) " from " (count(class.requests, "request", "requests"))
                @if class.borrowed { "; it went on at least once without evidence of its own" }
                "."
            }
        }
    }
}

/// Evidence multiplies: beyond a million to one, digits say nothing more.
fn evidence(value: f64) -> String {
    if value >= 1e6 {
        ">1e6".to_owned()
    } else {
        format!("{value:.1}")
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::sample;
    use super::super::{PageOptions, page};

    #[test]
    fn the_fleet_is_a_map_of_its_classes() {
        let text = page(&sample(), &PageOptions::new());
        let map = text
            .split("id=\"fleet\"")
            .nth(1)
            .unwrap()
            .split("</section>")
            .next()
            .unwrap();
        for wanted in [
            "<h3>stack</h3>",
            "<h3>zone</h3>",
            "--full:50%",
            "--full:1%",
            "suspected",
            "12.3 of 20.0",
            "without evidence of its own",
        ] {
            assert!(map.contains(wanted), "{wanted}: {map}");
        }
        assert_eq!(
            map.matches("class=\"tile").count(),
            3,
            "the whole fleet is no value of a label"
        );
        let mut bare = sample();
        bare.classes.truncate(1);
        assert!(!page(&bare, &PageOptions::new()).contains("id=\"fleet\""));
    }
}
