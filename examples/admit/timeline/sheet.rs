//! How the page looks, by day, by night, on a phone and on a desk.

/// The style sheet. The phone comes first. Groups that are not on the screen are not laid out.
pub(crate) const SHEET: &str = r#"
:root {
  color-scheme: light dark;
  --paper: #f8f7f4; --ink: #17191c; --soft: #565b63; --line: #dcd8d0; --open: #dcefe2; --all: #1a7a43;
  --protected: #b3432f; --change: #8d8a83; --freeze: #1d5c9e; --bad: #b3211a;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #0f1113; --ink: #edebe7; --soft: #a3a8b0; --line: #2c3137; --open: #16301f; --all: #6fd097;
    --protected: #d0664f; --change: #6b6f75; --freeze: #6aa3e8; --bad: #ff8f85;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body { margin: 0; background: var(--paper); color: var(--ink); overflow-wrap: anywhere; font-variant-numeric: tabular-nums;
  font: 14px/1.4 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
main, footer { max-width: 1500px; margin: 0 auto; padding: 0 14px; }
h1 { font-size: 21px; margin: 12px 0 0; letter-spacing: -.01em; } h2 { font-size: 16px; margin: 24px 0 4px; }
p, ul, ol, dl, dd { margin: 0; } ul, ol { padding-left: 18px; }
.sub, .hint, footer { color: var(--soft); }
footer { padding-top: 20px; padding-bottom: 20px; font-size: 13px; }
.facts { display: flex; flex-wrap: wrap; gap: 6px 26px; margin: 10px 0 6px; }
.facts dt { color: var(--soft); font-size: 12px; } .facts b { font-size: 17px; font-weight: 650; }
.facts .bad b { color: var(--bad); }
.most { margin: 4px 0; } .most li { margin: 3px 0; }
summary { cursor: pointer; } :focus-visible { outline: 2px solid var(--freeze); outline-offset: 1px; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 16px; margin: 6px 0 8px; font-size: 13px; align-items: center; }
.legend i { display: inline-block; width: 18px; height: 10px; margin-right: 5px; border: 1px solid var(--line); }
.o { background: var(--open); } i.p { background: var(--protected); } i.c { background: var(--change); } i.f { background: var(--freeze); }
.defs { position: absolute; width: 0; height: 0; }
.chart svg { shape-rendering: crispEdges; display: block; width: 100%; height: 14px; background: var(--open); }
path.p { fill: var(--protected); } path.c { fill: var(--change); } path.f { fill: var(--freeze); }
path.d0 { fill-opacity: .3; } path.d1 { fill-opacity: .5; } path.d2 { fill-opacity: .75; }
.day { fill: none; stroke: var(--ink); stroke-opacity: .22; stroke-width: 1px; vector-effect: non-scaling-stroke; pointer-events: none; }
path:hover { fill-opacity: .8; }
.row { padding: 3px 0; }
.row .label { min-width: 0; font-size: 13px; }
.row .label[open] { padding-bottom: 8px; } .label p, .label ul { font-size: 12px; margin-top: 3px; } .names { color: var(--soft); }
.label > summary { display: flex; gap: 6px; justify-content: space-between; list-style: none; }
.label > summary::-webkit-details-marker { display: none; }
.share { color: var(--soft); flex: none; }
.chart .fleet svg, .chart .head svg { background: none; border-bottom: 1px solid var(--soft); }
.chart .fleet svg { height: 54px; } .chart .head svg { height: 22px; }
.hit { fill: transparent; } .some { fill: var(--all); fill-opacity: .38; } .all { fill: var(--all); fill-opacity: .95; } .hit { fill-opacity: 0; }
g:hover > .hit { fill: var(--ink); fill-opacity: .08; }
.axis { position: sticky; top: 0; z-index: 1; background: var(--paper); border-bottom: 1px solid var(--line); }
.axis .label { color: var(--soft); display: flex; justify-content: space-between; }
.name { min-width: 0; overflow: hidden; text-overflow: ellipsis; }
.ticks { position: relative; height: 17px; font-size: 11px; color: var(--soft); overflow: hidden; }
.ticks span { position: absolute; white-space: nowrap; padding-left: 2px; border-left: 1px solid var(--line); }
.group { border-top: 1px solid var(--line); content-visibility: auto; contain-intrinsic-size: auto 400px; }
.group > summary { list-style: none; } .group > summary::-webkit-details-marker { display: none; }
.group > summary .label::before { content: "\25b8\00a0"; color: var(--soft); } .group[open] > summary .label::before { content: "\25be\00a0"; }
.more { content-visibility: auto; contain-intrinsic-size: auto 24px; } .more > summary { color: var(--soft); font-size: 13px; padding: 3px 0; }
.more li { margin: 2px 0; font-size: 12px; }
@media (max-width: 719px) { .ticks .odd { display: none; } .chart svg { height: 16px; } .axis .label { display: none; } }
@media (min-width: 720px) {
  .row { display: grid; grid-template-columns: minmax(200px, 24%) 1fr; gap: 0 12px; align-items: start; padding: 1px 0; }
  .row .label { font-size: 12.5px; line-height: 17px; }
  .label > summary { white-space: nowrap; overflow: hidden; } .chart svg { margin-top: 2px; }
  .fleet, .head { padding: 4px 0; }
}
"#;
