"""The look of the report: plain CSS, light and dark, fit for paper and telephones; nothing is fetched."""

from __future__ import annotations

CSS = """
:root { color-scheme: light dark; --ink: #1f2430; --soft: #5b6472; --line: #e2e5ea; --page: #f6f7f9; --card:
#fff; --blue: #0072b2; --good: #00795a; --bad: #b04a00; --code: #f0f2f5; } @media (prefers-color-scheme: dark)
{ :root { --ink: #e6e8ec; --soft: #9aa3b2; --line: #30363f; --page: #14171c; --card: #1c2027; --blue: #62b7ee;
--good: #35c79a; --bad: #f2955c; --code: #262b33; } } * { box-sizing: border-box; } body { margin: 0;
background: var(--page); color: var(--ink); font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto,
"Helvetica Neue", Arial, sans-serif; } main { max-width: 1120px; margin: 0 auto; padding: 40px 20px 80px; } h1
{ font-size: 30px; line-height: 1.2; margin: 0 0 6px; letter-spacing: -.01em; } h2 { font-size: 20px; margin:
48px 0 12px; letter-spacing: -.005em; } h3 { font-size: 16px; margin: 0 0 2px; } p { margin: 0 0 12px;
max-width: 78ch; } a { color: var(--blue); } .soft { color: var(--soft); } .small { font-size: 14px; } .lead {
font-size: 18px; margin: 18px 0 22px; } .good { color: var(--good); } .bad { color: var(--bad); } .chips {
display: flex; flex-wrap: wrap; gap: 8px; margin: 12px 0 0; padding: 0; list-style: none; } .chips li {
border: 1px solid var(--line); background: var(--card); border-radius: 999px; padding: 2px 12px; font-size:
14px; } .tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(158px, 1fr)); gap: 12px;
margin: 0 0 16px; } .tile, .card { background: var(--card); border: 1px solid var(--line); border-radius:
12px; } .tile { padding: 14px 16px; margin: 0; } .tile dt { color: var(--soft); font-size: 13px; } .tile dd {
margin: 2px 0 0; font-size: 24px; font-weight: 650; line-height: 1.25; font-variant-numeric: tabular-nums; }
.tile dd + dd { font-size: 13px; font-weight: 400; color: var(--soft); } .card { padding: 18px 20px; margin: 0
0 16px; } figure { margin: 0 0 18px; padding: 14px; background: #fff; border: 1px solid var(--line);
border-radius: 12px; } figure img { display: block; width: 100%; height: auto; max-width: 880px; margin: 0
auto; } figure.wide img { max-width: none; } figcaption { color: #4b5563; font-size: 14px; margin: 10px 4px 0;
} figcaption a { color: #0072b2; } .scroll { overflow-x: auto; } table { border-collapse: collapse; width:
100%; font-size: 14.5px; } th, td { text-align: left; padding: 7px 12px 7px 0; border-bottom: 1px solid
var(--line); vertical-align: top; overflow-wrap: anywhere; } th { color: var(--soft); font-weight: 600;
white-space: nowrap; overflow-wrap: normal; } tbody tr:last-child td { border-bottom: 0; } .num { text-align:
right; font-variant-numeric: tabular-nums; white-space: nowrap; padding: 7px 12px; } .pair { display: grid;
grid-template-columns: 1fr 1fr; gap: 14px; margin-top: 12px; } .text { background: var(--code); border-radius:
8px; padding: 10px 12px; margin: 4px 0 0; font: 13.5px/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas,
monospace; white-space: pre-wrap; overflow-wrap: anywhere; max-height: 22em; overflow-y: auto; } .label {
color: var(--soft); font-size: 13px; font-weight: 600; display: flex; justify-content: space-between; gap:
8px; } .trained .text { box-shadow: inset 3px 0 0 var(--blue); } details { margin: 0 0 12px; } summary {
cursor: pointer; font-weight: 600; padding: 4px 0; } code { font: 13.5px/1.5 ui-monospace, SFMono-Regular,
Menlo, Consolas, monospace; background: var(--code); padding: 1px 5px; border-radius: 5px; overflow-wrap:
anywhere; } footer { margin-top: 56px; color: var(--soft); font-size: 13px; } @media (max-width: 720px) {
.pair { grid-template-columns: 1fr; } main { padding-top: 24px; } } @media print { body { background: #fff; }
.text { max-height: none; } figure, .card { break-inside: avoid; } }
"""
