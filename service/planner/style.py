"""The planner pages' few rules of style, as text: nothing is fetched from anywhere else."""

from __future__ import annotations

BASE = """
:root { --ink: #1f2933; --soft: #52606d; --line: #dfe4ea; --back: #f5f6f8; --accent: #2563a8; }
body { background: var(--back); color: var(--ink); font: 14px/1.45 system-ui, "DejaVu Sans", sans-serif; margin: 0; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 1px; }
"""

PLANNER = (
    BASE
    + """
.nicegui-content { padding: 0; gap: 0; }
.bar { display: flex; align-items: baseline; gap: 16px; width: 100%; padding: 10px 20px; background: #fff;
  border-bottom: 1px solid var(--line); }
.bar h1 { font-size: 17px; font-weight: 650; line-height: 1.4; margin: 0; }
.bar .grow { flex: 1; color: var(--soft); font-size: 13px; }
.bar form { margin: 0; }
.plain { background: none; border: 0; padding: 0; color: var(--accent); cursor: pointer; font: inherit; }
.plain:hover { text-decoration: underline; }
.note { width: 100%; padding: 6px 20px; background: #fff7e6; border-bottom: 1px solid #f0dfb8; font-size: 13px; }
.columns { display: grid; grid-template-columns: minmax(0, 1.11fr) minmax(0, 1fr); gap: 14px; width: 100%;
  padding: 12px 20px; align-items: start; }
@media (max-width: 1000px) { .columns { grid-template-columns: minmax(0, 1fr); } }
.side { display: flex; flex-direction: column; gap: 10px; min-width: 0; }
.panel { display: block; width: 100%; background: #fff; border: 1px solid var(--line); border-radius: 6px; padding: 10px 14px; }
.panel-title { font-weight: 650; font-size: 15px; }
.caption { color: var(--soft); font-size: 12.5px; margin: 1px 0 6px; }
.act { font-size: 14px; font-weight: 600; }
.why { color: var(--soft); margin-top: 3px; font-size: 13px; }
.past { margin-bottom: 7px; }
.past .caption, .past .why { margin: 0; }
.flag { color: #9a5b00; margin-top: 3px; font-size: 13px; }
.series { box-shadow: none; width: 100%; }
.series .q-table__middle { max-height: calc(100vh - 236px); min-height: 300px; }
.series th { position: sticky; top: 0; z-index: 1; background: #fff; font-weight: 600; color: var(--soft);
  white-space: normal; vertical-align: bottom; line-height: 1.2; }
.series th, .series td { padding: 3px 5px !important; height: 27px; font-size: 13px; font-variant-numeric: tabular-nums; }
.series td:first-child, .series th:first-child { padding-left: 4px !important; }
.series thead tr, .series thead tr th { height: 38px !important; }
.series tbody tr { cursor: pointer; }
.series tr.chosen td { background: #e6eff9; }
.fields { display: grid; grid-template-columns: repeat(4, minmax(0, 1fr)); gap: 10px; align-items: start; }
.fields .wide { grid-column: span 2; }
.fields .q-btn { height: 40px; padding: 0 8px; white-space: nowrap; }
.message { margin-top: 6px; }
.message:empty { display: none; }
.message.wrong { color: #b42318; font-weight: 600; }
.message.right { color: #1e6b4a; font-weight: 600; }
"""
)

LOGIN = (
    BASE
    + """
main { max-width: 380px; margin: 14vh auto 0; background: #fff; border: 1px solid var(--line); border-radius: 6px;
  padding: 24px 28px; }
h1 { font-size: 18px; margin: 0 0 4px; }
p { color: var(--soft); margin: 0 0 16px; }
label { display: block; font-weight: 600; margin-bottom: 4px; }
input { box-sizing: border-box; width: 100%; padding: 8px 10px; font: inherit; border: 1px solid #b8c2cc; border-radius: 4px; }
button { margin-top: 14px; padding: 8px 18px; font: inherit; color: #fff; background: var(--accent); border: 0;
  border-radius: 4px; cursor: pointer; }
.wrong { color: #b42318; font-weight: 600; margin: 12px 0 0; }
"""
)
