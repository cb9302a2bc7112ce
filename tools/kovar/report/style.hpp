#pragma once

#include <string_view>

namespace kovar::tools {

/// The style sheet of the report: two sets of colours, one layout.
inline constexpr std::string_view kReportStyle = R"css(
:root { color-scheme: light dark;
  --page: #fbfaf8; --card: #ffffff; --ink: #1d2127; --soft: #667080; --rule: #e4e2dd; --track: #eeece7;
  --first: #c2571a; --second: #2f6fa8; --good: 34 128 84; --bad: 200 74 30; }
@media (prefers-color-scheme: dark) { :root {
  --page: #15171b; --card: #1d2026; --ink: #e8e6e1; --soft: #98a1af; --rule: #2e333c; --track: #262a32;
  --first: #f0965a; --second: #78b4e6; --good: 70 170 120; --bad: 235 110 60; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", "Noto Sans", "DejaVu Sans", sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 48px 24px 64px; }
h1 { font-size: 2rem; line-height: 1.2; margin: 0; letter-spacing: -0.02em; }
h2 { font-size: 1.05rem; margin: 0 0 12px; }
.subtitle, .note, .legend, figcaption { color: var(--soft); }
.subtitle { margin: 6px 0 28px; }
.note { font-size: 0.875rem; margin: 8px 0 0; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(160px, 1fr)); gap: 16px; margin: 0 0 16px; }
.card, section { background: var(--card); border: 1px solid var(--rule); border-radius: 10px; }
.card { margin: 0; padding: 14px 16px; }
.card dt { color: var(--soft); font-size: 0.8125rem; }
.card dd { margin: 0; font-size: 1.5rem; font-weight: 600; letter-spacing: -0.01em; font-variant-numeric: tabular-nums;
  white-space: nowrap; }
.card dd.detail { font-size: 0.8125rem; font-weight: 400; color: var(--soft); letter-spacing: 0; white-space: normal; }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 440px), 1fr)); gap: 16px; }
.columns > *, section { min-width: 0; }
section { padding: 20px; margin: 0 0 16px; overflow-x: auto; }
.columns > section { margin: 0; }
.columns { margin: 0 0 16px; }
.chart { display: block; width: 100%; height: auto; }
.chart .grid line { stroke: var(--rule); stroke-width: 1; }
.chart .ticks { fill: var(--soft); font-size: 12px; font-variant-numeric: tabular-nums; }
.chart .line { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
.chart .line.first { stroke: var(--first); } .chart .line.second { stroke: var(--second); }
.chart circle.first { fill: var(--first); } .chart circle.second { fill: var(--second); }
.chart .band { fill: var(--first); opacity: 0.2; }
.legend { font-size: 0.8125rem; margin: 8px 0 0; }
.key { display: inline-block; width: 14px; height: 3px; border-radius: 2px; margin: 0 6px 3px 0; vertical-align: middle; }
.key:not(:first-child) { margin-left: 14px; }
.key.first { background: var(--first); } .key.second { background: var(--second); }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 0.875rem; }
.rows { width: 100%; }
.rows td, .rows th { padding: 6px 8px; border-bottom: 1px solid var(--rule); text-align: left; vertical-align: baseline; }
.rows tr:last-child td, .rows tr:last-child th { border-bottom: 0; }
.rows th { font-weight: 400; color: var(--soft); }
.rows td.number { text-align: right; white-space: nowrap; }
.rows td.wide { overflow-wrap: anywhere; }
.bar { display: block; height: 6px; border-radius: 3px; background: var(--track); min-width: 80px; margin-top: 8px; }
.bar span { display: block; height: 100%; border-radius: 3px; background: var(--second); }
.matrix td, .matrix th { padding: 0 2px; width: 36px; height: 32px; min-width: 28px; text-align: center; }
.matrix td { border: 1px solid var(--rule); }
.matrix th { color: var(--soft); font-weight: 400; }
.matrix td.recall { border: 0; padding-left: 10px; color: var(--soft); white-space: nowrap; text-align: right; }
.matrix .right { background: rgb(var(--good) / var(--heat)); }
.matrix .wrong { background: rgb(var(--bad) / var(--heat)); }
.matrix .none { color: var(--soft); opacity: 0.5; }
.gallery { display: flex; flex-wrap: wrap; gap: 14px; margin: 0; padding: 0; }
figure { margin: 0; }
figcaption { font-size: 0.8125rem; line-height: 1.35; margin-top: 4px; }
figcaption b { color: var(--ink); font-weight: 600; }
.pixels { display: block; image-rendering: pixelated; border-radius: 4px; border: 1px solid var(--rule); }
.empty { display: block; border: 1px dashed var(--rule); border-radius: 4px; }
pre { margin: 0 0 14px; padding: 12px 14px; background: var(--track); border-radius: 6px; font-size: 0.875rem; line-height: 1.5;
  font-family: ui-monospace, "Cascadia Mono", "DejaVu Sans Mono", Menlo, monospace; white-space: pre-wrap;
  overflow-wrap: anywhere; }
footer { color: var(--soft); font-size: 0.8125rem; margin-top: 28px; }
@media (max-width: 560px) { main { padding: 28px 12px 40px; } section { padding: 14px; } .matrix { font-size: 0.75rem; } }
@media print { body { background: none; } section, .card { break-inside: avoid; } }
)css";

}  // namespace kovar::tools
