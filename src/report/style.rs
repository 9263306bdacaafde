//! How the page looks, by day, by night, on a phone, on a desk and on paper.

use super::words::Tone;

/// The picture of the tab: a dot in the colour of the state, inline so that nothing is loaded.
pub(super) fn icon(tone: Tone) -> String {
    let colour = match tone.class() {
        "good" => "1a7a43",
        "warn" => "a65f00",
        "bad" => "b3211a",
        _ => "1d5c9e",
    };
    format!(
        "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E\
         %3Ccircle cx='8' cy='8' r='7' fill='%23{colour}'/%3E%3C/svg%3E"
    )
}

/// The style sheet. The phone comes first; wider screens rearrange it.
pub(super) const SHEET: &str = r#"
:root {
  color-scheme: light dark;
  --paper: #f8f7f4; --sheet: #ffffff; --ink: #17191c; --soft: #565b63; --line: #dcd8d0; --shade: #efece6;
  --calm: #1d5c9e; --good: #1a7a43; --warn: #8f5200; --bad: #b3211a; --on: #ffffff;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #0f1113; --sheet: #16191c; --ink: #edebe7; --soft: #a3a8b0; --line: #2c3137; --shade: #1d2125;
    --calm: #7fb4f2; --good: #6fd097; --warn: #f1b65c; --bad: #ff8f85; --on: #0f1113;
  }
}
body { --tone: var(--calm); }
body.good { --tone: var(--good); } body.warn { --tone: var(--warn); } body.bad { --tone: var(--bad); }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body {
  margin: 0; background: var(--paper); color: var(--ink); border-top: 4px solid var(--tone);
  font: 15px/1.4 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif;
  font-variant-numeric: tabular-nums; overflow-wrap: anywhere;
}
main, footer { max-width: 1168px; margin: 0 auto; padding: 0 16px; }
h1, h2, h3, p, dl, dd, ol, table { margin: 0; padding: 0; }
code { font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: .92em; }
a { color: inherit; text-underline-offset: 2px; }
:focus-visible { outline: 2px solid var(--tone); outline-offset: 2px; }
.icon { width: 1em; height: 1em; flex: none; fill: none; stroke: currentColor; stroke-width: 2.2; stroke-linecap: round;
  stroke-linejoin: round; vertical-align: -.12em; }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.none, .note, .more { color: var(--soft); }

.heat { display: grid; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); gap: 6px; }
.tile { border: 1px solid var(--line); border-radius: 4px; overflow: hidden;
  background: linear-gradient(to right, color-mix(in srgb, var(--calm) 28%, var(--sheet)) var(--full), var(--sheet) var(--full)); }
.tile.suspected { border-color: var(--bad);
  background: linear-gradient(to right, color-mix(in srgb, var(--bad) 28%, var(--sheet)) var(--full), var(--sheet) var(--full)); }
.tile > summary { display: grid; grid-template-columns: 1fr auto; gap: 0 8px; padding: 6px 8px; cursor: pointer; list-style: none; }
.tile .state { grid-column: 1 / -1; font-size: 12px; color: var(--soft); }
.tile p { padding: 0 8px 8px; font-size: 13px; background: var(--sheet); }
#fleet h3 { margin: 12px 0 4px; font-size: 13px; font-weight: 650; color: var(--soft); }

.top { padding: 10px 0 8px; }
.kicker { display: flex; flex-wrap: wrap; align-items: center; gap: 2px 10px; font-size: 13px; color: var(--soft); }
.pill { display: inline-flex; align-items: center; gap: 6px; padding: 2px 10px 2px 8px; border-radius: 4px;
  background: var(--tone); color: var(--on); font-weight: 650; }
.change { font-weight: 600; color: var(--ink); }
h1 { margin-top: 8px; font-size: 19px; line-height: 1.27; font-weight: 650; letter-spacing: -.008em; text-wrap: pretty; }
.act { font-weight: 450; }
h1.long { font-size: 16.5px; }
.question { font-weight: 450; }
.act.must { font-weight: 650; color: var(--tone); }
.beside { margin: 6px 0 0; padding: 0; list-style: none; font-size: 14px; line-height: 1.3; }
.beside li { margin-top: 2px; }

.screen { display: grid; gap: 0; }
.screen > section { border-top: 1px solid var(--line); padding: 7px 0 8px; min-width: 0; }
.screen h2 { font-size: 12px; line-height: 1.3; font-weight: 600; color: var(--soft); letter-spacing: .01em; }
.screen .exposed, .screen .why { position: relative; }
.exposed > h2, .why > h2 { position: absolute; top: 14px; left: 0; }
.exposed > .figure, .why > .figure { padding-left: 66px; }
.next > h2 { display: none; }
.wordy { display: none; }
.figure { display: flex; align-items: baseline; flex-wrap: wrap; gap: 0 6px; font-size: 14px; }
.figure b { font-size: 21px; line-height: 1.2; font-weight: 680; letter-spacing: -.01em; }
.figure .share { margin-left: auto; font-size: 18px; }
.exposed .figure { gap: 0 5px; font-size: 13px; }
.figure.reached b, .figure.reached .icon { color: var(--bad); }
.bar { position: relative; display: flex; height: 7px; margin: 3px 0 4px; background: var(--shade); border-radius: 2px;
  overflow: hidden; box-shadow: inset 0 0 0 1px var(--line); }
.bar .some { min-width: 3px; background: var(--calm); }
.bar .flying { background: repeating-linear-gradient(135deg, var(--calm) 0 2px, transparent 2px 4px); }
.bar.limit .some { background: var(--ink); }
.bar.limit { border-right: 3px solid var(--bad); }
.facts { font-size: 13px; color: var(--soft); display: flex; flex-wrap: wrap; gap: 0 12px; }
.screen > .alarms { display: grid; grid-template-columns: repeat(3, 1fr); gap: 8px; }
.alarm { display: flex; align-items: baseline; gap: 6px; color: var(--soft); font-size: 13px; min-width: 0; flex-wrap: wrap; }
.alarm b { font-size: 17px; line-height: 1.2; color: var(--ink); white-space: nowrap; }
.alarm small { display: none; }
.alarm.raised, .alarm.raised b { color: var(--bad); font-weight: 680; }
.alarm.raised b .icon { margin-right: 4px; }
.strongest { font-size: 14px; line-height: 1.33; text-wrap: pretty; }
.strongest em { font-style: normal; font-weight: 600; }
.faults { width: 100%; margin-top: 3px; border-collapse: collapse; font-size: 13px; line-height: 1.35; }
.faults th, .faults td { text-align: right; font-weight: 400; padding: 0; }
.faults th:first-child { text-align: left; }
.faults thead th { color: var(--soft); font-size: 12px; }
.what { font-size: 14px; line-height: 1.33; font-weight: 560; text-wrap: pretty; }
.rows { display: grid; grid-template-columns: 66px 1fr; font-size: 13px; line-height: 1.42; }
.rows dt { color: var(--soft); }
.stale .icon { margin-right: 4px; }
.stale { color: var(--bad); font-weight: 650; }
.commands p { display: grid; grid-template-columns: 66px 1fr; align-items: baseline; gap: 0; font-size: 13px; margin-top: 3px; }
.commands p.none { display: block; }
.commands span { color: var(--soft); }
.commands code { background: var(--shade); border: 1px solid var(--line); border-radius: 3px; padding: 2px 7px;
  user-select: all; -webkit-user-select: all; }

main > section, .full { border-top: 1px solid var(--line); margin-top: 26px; padding-top: 16px; }
main > section > h2 { font-size: 20px; line-height: 1.25; font-weight: 660; letter-spacing: -.01em; }
h3 { margin-top: 16px; font-size: 15px; font-weight: 620; }
.note, .none, .more { font-size: 14px; max-width: 84ch; margin-top: 3px; text-wrap: pretty; }
.gantt { margin-top: 5px; }
summary { cursor: pointer; }
details > summary { padding: 4px 0; }
.full { margin-top: 8px; padding-top: 6px; font-size: 14px; }
.full dt, .pairs dt { color: var(--soft); }
.full dd { margin-bottom: 6px; }
.pairs { display: grid; grid-template-columns: 1fr; font-size: 14px; margin-top: 10px; }
.pairs dd { margin-bottom: 7px; }
.scroll { overflow-x: auto; }
.scroll table { border-collapse: collapse; font-size: 14px; min-width: 620px; width: 100%; margin-top: 6px; overflow-wrap: normal; }
.scroll th, .scroll td { text-align: left; vertical-align: top; font-weight: 400; padding: 4px 16px 4px 0;
  border-bottom: 1px solid var(--line); }
.scroll thead th { color: var(--soft); font-size: 13px; }
.scroll .number { text-align: right; }
.scroll td { overflow-wrap: anywhere; min-width: 7ch; }
.scroll td.when { min-width: 17ch; }

.chart { display: block; width: 100%; height: auto; margin-top: 8px; font: 11.5px system-ui, sans-serif; }
.chart.wide { display: none; }
.chart text { fill: var(--soft); font-size: 12px; }
.chart text.local { fill: var(--soft); opacity: .8; }
.chart text.batch { fill: var(--ink); }
.chart .axis { stroke: var(--soft); fill: none; }
.chart .grid { stroke: var(--line); fill: none; }
.chart .hatch { stroke: var(--soft); stroke-width: 1; opacity: .33; }
.chart .batch.even { fill: var(--shade); } .chart .batch.odd { fill: none; }
.chart .start { stroke: var(--soft); stroke-width: 1; opacity: .5; fill: none; }
.chart .area { fill: var(--calm); opacity: .13; }
.chart .through { fill: var(--good); opacity: .3; }
.chart .curve { fill: none; stroke: var(--calm); stroke-width: 2.2; stroke-linejoin: round; }
.chart .flying { fill: none; stroke: var(--calm); stroke-width: 1.2; stroke-dasharray: 3 3; }
.chart .dot { fill: var(--calm); stroke: var(--paper); stroke-width: 2; }
.chart .bound { stroke-width: 2; fill: none; }
.chart .bound.stop { stroke: var(--bad); } .chart .bound.go { stroke: var(--good); stroke-dasharray: 8 4; }
.chart text.bound { fill: var(--ink); stroke: none; font-weight: 650; }
.chart .beyond { fill: none; } .chart .beyond.go { fill: var(--good); opacity: .09; }
.chart path.crossing { stroke: var(--bad); stroke-width: 1.6; stroke-dasharray: 2 3; fill: none; }
.chart text.crossing { fill: var(--bad); font-weight: 650; paint-order: stroke; stroke: var(--paper); stroke-width: 4px; }

.lane { display: grid; grid-template-columns: 1fr auto; gap: 0 10px; align-items: center; font-size: 13px; padding: 2px 0; }
.lane .name { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.lane .time { color: var(--soft); text-align: right; }
.lane .track { position: relative; grid-column: 1 / -1; grid-row: 2; height: 9px; background: var(--shade); border-radius: 2px; overflow: hidden; }
.hold { position: absolute; top: 0; bottom: 0; min-width: 2px; background: var(--calm); border-radius: 1px; }
.hold.open { background: repeating-linear-gradient(135deg, var(--warn) 0 4px, transparent 4px 6px); border: 1px solid var(--warn); border-right: 0; }
.track.way { height: 16px; } .track.way svg { display: block; width: 100%; height: 100%; fill: var(--calm); opacity: .55; }
.track.way .hold { top: auto; height: 3px; background: var(--warn); border-radius: 0; }
.track .now { position: absolute; top: 0; bottom: 0; border-left: 1px solid var(--ink); z-index: 1; }

[hidden] { display: none !important; }
#find { display: grid; grid-template-columns: auto 1fr; align-items: center; gap: 6px 10px; margin-top: 10px; font-size: 14px; }
#find label { color: var(--soft); }
#find input, #find select { font: inherit; font-size: 16px; min-width: 0; width: 100%; min-height: 42px; padding: 6px 10px; color: var(--ink);
  background: var(--sheet); border: 1px solid var(--soft); border-radius: 4px; }
#find select { grid-column: 2; }
#find output { grid-column: 2; color: var(--soft); min-height: 1.4em; }
ol.decisions { list-style: none; margin-top: 6px; }
ol.decisions > li { border-bottom: 1px solid var(--line); }
ol.decisions summary { display: grid; grid-template-columns: 1fr; padding: 5px 0; list-style-position: outside; font-size: 14px; }
ol.decisions time { color: var(--soft); font-size: 13px; }
ol.decisions details[open] summary { font-weight: 600; }
ol.decisions summary .said::after { content: " \25B8"; color: var(--soft); }
ol.decisions details[open] summary .said::after { content: " \25BE"; }
ol.decisions p { font-size: 14px; color: var(--soft); padding-bottom: 5px; max-width: 78ch; }
.earlier > summary { font-size: 14px; color: var(--soft); }
footer { margin-top: 30px; padding-top: 12px; padding-bottom: 40px; font-size: 13px; color: var(--soft); }
footer strong { color: var(--warn); }

@media (max-width: 719.9px) {
  .stack table, .stack tbody, .stack tr, .stack td { display: block; min-width: 0; }
  .stack thead { display: none; }
  .stack tr { border-bottom: 1px solid var(--line); padding: 6px 0; }
  .stack td, .scroll.stack td.when { display: grid; grid-template-columns: 66px 1fr; border: 0; padding: 0; min-width: 0; }
  .stack td::before { content: attr(data-label); color: var(--soft); }
}
@media (min-width: 720px) {
  main, footer { padding-left: 24px; padding-right: 24px; }
  .chart.wide { display: block; } .chart.narrow { display: none; }
  .lane { grid-template-columns: 220px 1fr 250px; }
  .lane .track { grid-column: 2; grid-row: 1; height: 12px; } .lane .track.way { height: 18px; }
  .lane .time { grid-column: 3; text-align: left; }
  .pairs { grid-template-columns: 230px 1fr; }
  #find { grid-template-columns: auto minmax(0, 30em) 14em 1fr; }
  #find input, #find select { font-size: 15px; min-height: 36px; }
  #find select, #find output { grid-column: auto; }
  ol.decisions summary { grid-template-columns: 300px 1fr; gap: 0 12px; }
  ol.decisions details > p { margin-left: 312px; }
}
@media (min-width: 900px) {
  .top { padding: 22px 0 18px; } .lane { grid-template-columns: 200px 1fr 300px; }
  .kicker { font-size: 15px; gap: 4px 14px; }
  h1 { margin-top: 14px; font-size: 28px; line-height: 1.22; max-width: 40em; letter-spacing: -.015em; }
  .screen { grid-template-columns: 1.05fr 1.15fr 1.05fr; grid-template-rows: auto auto 1fr; column-gap: 40px; }
  .screen > section { padding: 14px 0 16px; }
  .screen h2 { font-size: 14px; margin-bottom: 4px; }
  .exposed > h2, .why > h2 { position: static; } .exposed > .figure, .why > .figure { padding-left: 0; }
  .next > h2 { display: block; } .rows dt.first { display: none; } .rows .what { grid-column: 1 / -1; margin-bottom: 8px; } .wordy { display: inline; }
  .question, .act { display: block; } h1.long { font-size: 24px; }
  .exposed { grid-column: 1; grid-row: 1; } .screen > .alarms { grid-column: 1; grid-row: 2; }
  .why { grid-column: 2; grid-row: 1 / span 3; } .next { grid-column: 3; grid-row: 1 / span 2; }
  .commands { grid-column: 1 / -1; grid-row: 4; }
  .figure, .exposed .figure { font-size: 15px; } .figure b { font-size: 30px; } .figure .share { font-size: 21px; }
  .bar { height: 10px; margin: 8px 0; }
  .facts, .faults, .rows, .commands p { font-size: 14px; }
  .faults { margin-top: 10px; line-height: 1.6; } .rows { grid-template-columns: 76px 1fr; line-height: 1.6; }
  .what, .strongest { font-size: 15px; }
  .alarm { display: block; } .alarm b { display: block; font-size: 24px; } .alarm small { display: block; font-size: 12px; line-height: 1.3; }
  .commands { display: flex; flex-wrap: wrap; align-items: baseline; gap: 6px 28px; }
  .commands h2 { margin: 0; } .commands p { grid-template-columns: auto auto; gap: 10px; margin: 0; }
}
@media print {
  :root { --paper: #fff; --sheet: #fff; --ink: #000; --soft: #444; --line: #bbb; --shade: #eee;
    --calm: #14477c; --good: #0d5a2e; --warn: #6b3d00; --bad: #8f1510; --on: #fff; }
  body { font-size: 11pt; -webkit-print-color-adjust: exact; print-color-adjust: exact; }
  #find { display: none; }
  details::details-content { content-visibility: visible; block-size: auto; }
  .chart, .lane, li, tr { break-inside: avoid; } h2, h3 { break-after: avoid; }
}
"#;
