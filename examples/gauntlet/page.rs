//! The comparison as a page that stands alone: for a browser, without scripts, with nothing to load.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::measures::{Part, Rate};
use crate::options::{Options, Policy};
use crate::output::{Standing, at_equal_exposure, measured, number, percent, releases};

const SHEET: &str = "
:root { color-scheme: light dark; --ink: #1c2330; --soft: #5b6577; --line: #d5dae3; --paper: #fff; --card: #f6f7fa;
  --good: #2f7d5b; --bad: #c2410c; --some: #d9a441; --bar: #1d3f99; --none: #eceff4; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ef; --soft: #9aa5b8; --line: #363e4c; --paper: #12161d;
  --card: #1a202a; --good: #63c198; --bad: #f0743d; --some: #d9a441; --bar: #8fb0ff; --none: #222935; } }
* { box-sizing: border-box }
body { margin: 0; font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper) }
main { max-width: 1160px; margin: 0 auto; padding: 24px 20px 60px }
h1 { font-size: 26px; margin: 0 0 4px } h2 { font-size: 18px; margin: 34px 0 6px }
p { margin: 4px 0 } .soft { color: var(--soft) } .good { color: var(--good) } .bad { color: var(--bad) }
.wide { overflow-x: auto; margin: 10px 0; border: 1px solid var(--line); border-radius: 8px }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th, td { padding: 6px 12px; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap }
tr:last-child td { border-bottom: 0 } th { font-weight: 600; color: var(--soft); vertical-align: bottom }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: var(--paper) }
th, .heat td:first-child { white-space: normal; overflow-wrap: break-word } th:first-child, td:first-child { min-width: 84px }
.heat th:first-child, .heat td:first-child { min-width: 130px } @media (max-width: 600px) { th, td { padding: 5px 7px } } td small { color: var(--soft); display: block; font-size: 12px }
tr.ours td { background: var(--card); font-weight: 600 }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; margin: 14px 0 }
.card { background: var(--card); border-radius: 8px; padding: 12px 14px } .card b { display: block; font-size: 22px }
.heat td.cell { text-align: center; min-width: 84px }
.heat td.full { background: color-mix(in srgb, var(--good) 22%, var(--paper)) }
.heat td.part { background: color-mix(in srgb, var(--some) 30%, var(--paper)) }
.heat td.nil { background: color-mix(in srgb, var(--bad) 26%, var(--paper)) }
svg { display: block; width: 100%; max-width: 600px; height: auto; font: 11px system-ui, sans-serif } svg text { fill: var(--soft) }
.dot { fill: var(--bar) } .dot.ours { fill: var(--good) } .grid { stroke: var(--line) } svg text.name { fill: var(--ink) }
figure { margin: 10px 0 } figcaption { color: var(--soft) }
";

/// The page.
pub(crate) fn page(options: &Options, scenario: &str, standings: &[Standing]) -> String {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:";
                title { "The gauntlet: " (releases(standings)) " releases" }
                link rel="icon" href="data:,";
                style { (PreEscaped(SHEET)) }
            }
            body {
                main {
                    h1 { "The gauntlet" }
                    p class="soft" {
                        (releases(standings)) " releases of the scenario “" (scenario) "”, each over " (options.synthetic)
                        " targets and applications, seed " (options.seed)
                        ". Every policy had the same releases, fleets, days and faults."
                    }
                    @for standing in standings.iter().filter(|standing| standing.policy == Policy::Ours) { (cards(standing)) }
                    h2 { "Who stops what" }
                    (table(standings))
                    p class="soft" {
                        "Requests harmed: those that go wrong because of the release in the 14 days from its beginning, whether counted or not. "
                        "What was not taken back goes on doing harm until then. "
                        "Before onset: stops when nothing had gone wrong yet because of the release."
                    }
                    @if let Some(hours) = at_equal_exposure(standings) {
                        p class="soft" {
                            "Equal steps as small as it takes to expose as few as ours would take " (number(Some(hours))) " hours."
                        }
                    }
                    @if standings.len() > 1 { (scatter(standings)) }
                    h2 { "By family" }
                    p class="soft" { "Of bad releases: how many of the detectable ones were stopped. Of good ones: how many were." }
                    (families(standings))
                }
            }
        }
    }
    .into_string()
}

fn cards(ours: &Standing) -> Markup {
    html! {
        div class="cards" {
            @for bar in &ours.bars {
                div class="card" {
                    (bar.name.replace('_', " "))
                    b class=(if bar.met { "good" } else if bar.missed { "bad" } else { "" }) { (measured(bar.unit, bar.value)) }
                    span class="soft" {
                        "bar " (measured(bar.unit, Some(bar.limit)))
                        @if bar.missed { ", missed" } @else if !bar.met { ", within chance" }
                    }
                }
            }
        }
    }
}

fn exact(rate: Rate) -> Markup {
    let [low, high] = rate.interval();
    html! { (percent(rate.value())) small { (percent(Some(low))) " to " (percent(Some(high))) } }
}

fn table(standings: &[Standing]) -> Markup {
    html! {
        div class="wide" {
            table {
                tr {
                    th { "policy" } th { "recall" } th { "by a person" } th { "before onset" } th { "precision" } th { "false stops" } th { "exposed at stop" }
                    th { "95th percentile" } th { "good: hours" } th { "good: no hands" } th { "good: with debt" } th { "actions of people" }
                    th { "wrong scope" } th { "requests harmed in 14 days" }
                }
                @for Standing { policy, measures: m, .. } in standings {
                    tr class=(if *policy == Policy::Ours { "ours" } else { "" }) {
                        td { (policy.name()) }
                        td { (exact(m.recall)) }
                        td { (m.by_person.count) small { "of " (m.by_person.of) } }
                        td { (m.before_onset) }
                        td { (exact(m.precision)) }
                        td { (exact(m.false_stops)) }
                        td { (percent(m.exposed_median_share)) small { (m.exposed_median.unwrap_or(0)) " targets" } }
                        td { (percent(m.exposed_p95_share)) }
                        td { (number(m.good_hours_median)) }
                        td { (exact(m.unattended)) }
                        td { (percent(m.with_debt.value())) }
                        td { (m.human_actions) }
                        td { @if m.wrong_scope.of > 0 { (exact(m.wrong_scope)) } @else { "none named" } }
                        td { (number(Some(m.harm))) small { "median " (number(m.harm_median)) } }
                    }
                }
            }
        }
    }
}

/// The plot's size: that of a phone, so that its texts can be read there.
const PLOT: (f64, f64) = (380.0, 260.0);

/// Where a name stands beside its point, in units of the plot.
struct Named<'s> {
    x: f64,
    y: f64,
    /// The left edge of the name, and its base line.
    text: (f64, f64),
    name: String,
    standing: &'s Standing,
}

/// How wide a name is about, and how high.
fn size_of(name: &str) -> (f64, f64) {
    (f64::from(u16::try_from(name.chars().count()).unwrap_or(0)) * 6.2, 12.0)
}

/// Names beside their points: within the plot, over no other name and no other point.
fn named(points: Vec<(f64, f64, &Standing)>) -> Vec<Named<'_>> {
    let dots: Vec<(f64, f64)> = points.iter().map(|(x, y, _)| (*x, *y)).collect();
    let mut all: Vec<Named<'_>> = Vec::new();
    for (x, y, standing) in points {
        let name = format!(
            "{} {}",
            standing.policy.name(),
            percent(standing.measures.recall.value())
        );
        let (wide, high) = size_of(&name);
        let left = if x + 9.0 + wide < PLOT.0 {
            x + 9.0
        } else {
            x - 9.0 - wide
        };
        let is_free = |base: f64| {
            let beside = |at: f64, width: f64| left < at + width && at < left + wide;
            let over_name =
                |other: &Named<'_>| beside(other.text.0, size_of(&other.name).0) && (base - other.text.1).abs() < high;
            let over_dot =
                |dot: &(f64, f64)| beside(dot.0 - 5.0, 10.0) && dot.1 > base - high - 3.0 && dot.1 < base + 6.0;
            base > high && base < PLOT.1 - 24.0 && !all.iter().any(over_name) && !dots.iter().any(over_dot)
        };
        // Beside the point, or else as near above or below as there is room.
        let steps = (0..20)
            .map(f64::from)
            .flat_map(|step| [y + 4.0 - 4.0 * step, y + 4.0 + 4.0 * step]);
        let base = steps.into_iter().find(|base| is_free(*base)).unwrap_or(y + 4.0);
        all.push(Named {
            x,
            y,
            text: (left, base),
            name,
            standing,
        });
    }
    all
}

/// Exposure at the stop against false stops; the better, the lower and the further to the left.
fn scatter(standings: &[Standing]) -> Markup {
    let ((width, height), left, bottom) = (PLOT, 40.0, 26.0);
    // From 0.01 % to 100 %, in decades.
    let across = |share: f64| left + (share.max(1e-4).log10() + 4.0) / 4.0 * (width - left - 22.0);
    let up = |rate: f64| 20.0 + (1.0 - rate) * (height - bottom - 40.0);
    let points = standings.iter().filter_map(|standing| {
        let measures = &standing.measures;
        Some((
            across(measures.exposed_median_share?),
            up(measures.false_stops.value()?),
            standing,
        ))
    });
    html! {
        figure {
            svg viewBox=(format!("0 0 {width} {height}")) role="img" aria-label="False stops against exposure at the stop" {
                @for (share, label) in [(1e-4, "0.01 %"), (1e-3, "0.1 %"), (1e-2, "1 %"), (1e-1, "10 %"), (1.0, "100 %")] {
                    line class="grid" x1=(across(share)) x2=(across(share)) y1=(up(1.0)) y2=(up(0.0)) {}
                    text x=(across(share)) y=(height - 6.0) text-anchor="middle" { (label) }
                }
                @for (rate, label) in [(0.0, "0 %"), (0.5, "50 %"), (1.0, "100 %")] {
                    line class="grid" x1=(across(1e-4)) x2=(across(1.0)) y1=(up(rate)) y2=(up(rate)) {}
                    text x=(left - 6.0) y=(up(rate) + 4.0) text-anchor="end" { (label) }
                }
                @for Named { x, y, text: (left, base), name, standing } in &named(points.collect()) {
                    circle class=(if standing.policy == Policy::Ours { "dot ours" } else { "dot" }) r="4.5" cx=(x) cy=(y) {}
                    text class="name" x=(left) y=(base) { (name) }
                }
            }
            figcaption {
                "False stops of good releases (up) against the share of the fleet exposed when a bad one stops (across, logarithmic); beside "
                "each name its recall."
            }
        }
    }
}

fn families(standings: &[Standing]) -> Markup {
    let mut names: Vec<(&String, &Part)> = standings
        .first()
        .map(|s| s.measures.by_family.iter().collect())
        .unwrap_or_default();
    names.sort_by_key(|(name, part)| (part.bad, *name));
    html! {
        div class="wide" {
            table class="heat" {
                tr {
                    th { "family" } th { "releases" } th { "detectable" }
                    @for standing in standings { th { (standing.policy.name()) } }
                }
                @for (name, part) in names {
                    tr {
                        td { (name) }
                        td { (part.releases) }
                        td { @if part.bad { (part.detectable) } @else { "good" } }
                        @for standing in standings {
                            @if let Some(part) = standing.measures.by_family.get(name) { (cell(part)) }
                        }
                    }
                }
            }
        }
    }
}

fn cell(part: &Part) -> Markup {
    let (right, of) = if part.bad {
        (part.caught, part.detectable)
    } else {
        (part.releases - part.stopped, part.releases)
    };
    let class = match right {
        _ if of == 0 => "cell",
        right if right == of => "cell full",
        0 => "cell nil",
        _ => "cell part",
    };
    html! {
        td class=(class) {
            @if part.bad { (part.caught) " of " (part.detectable) } @else { (part.stopped) " of " (part.releases) }
            @if part.bad && part.stopped > 0 { small { "at " (percent(part.exposed_median_share)) } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::standings;
    use crate::trial::Trial;

    #[test]
    fn names_in_the_plot_lie_within_it_and_beside_each_other() {
        // All stop at the same share, as far to the right as can be.
        let trial = |bad: bool| Trial {
            bad,
            detectable: bad,
            stopped: bad,
            exposed: 100,
            targets: 100,
            ..Trial::default()
        };
        let all = [Policy::Ours, Policy::Argo, Policy::Flagger, Policy::Kayenta];
        let standings = standings(&all.map(|policy| (policy, vec![trial(true), trial(false)])), &["one"]);
        let names = named(standings.iter().map(|standing| (358.0, 214.0, standing)).collect());
        for (at, one) in names.iter().enumerate() {
            let (wide, high) = size_of(&one.name);
            assert!(one.text.0 >= 0.0 && one.text.0 + wide <= PLOT.0, "{}", one.name);
            assert!(one.text.1 >= high && one.text.1 <= PLOT.1, "{}", one.name);
            for other in &names[at + 1..] {
                assert!((one.text.1 - other.text.1).abs() >= high, "{} {}", one.name, other.name);
            }
        }
    }
}
