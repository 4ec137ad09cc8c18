"""How a report looks: dark on light, on the screen and on A4 with page numbers; nothing is fetched.

Fonts and colours are those of the one-page sheets in `answers.style`.
"""

STYLE = """
@page {
  size: A4 portrait; margin: 15mm 14mm 16mm;
  @bottom-right {
    content: "Page " counter(page) " of " counter(pages); font: 8.5pt system-ui, sans-serif;
    color: #5a6068;
  }
}
* { box-sizing: border-box; }
html { background: #e9eaec; color-scheme: light; }
body {
  margin: 24px auto; width: 210mm; max-width: 100%; padding: 13mm 14mm; background: #fff;
  color: #1b1d20; box-shadow: 0 1px 6px #0003; font: 10pt/1.45 system-ui, -apple-system,
  "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; overflow-wrap: anywhere;
}
p, h1, h2, h3, figure, dl, dd, ul { margin: 0; }
p, ul, dl { margin-top: 2mm; }
header {
  display: flex; justify-content: space-between; gap: 8mm; color: #5a6068; font-size: 8.5pt;
  border-bottom: 1px solid #c9cdd2; padding-bottom: 2mm;
}
h1 { font-size: 17pt; font-weight: 650; line-height: 1.25; margin-top: 5mm; }
h2 {
  font-size: 13.5pt; font-weight: 650; margin-top: 9mm; padding-top: 2mm;
  border-top: 1px solid #c9cdd2;
}
h3 { font-size: 10.5pt; font-weight: 650; margin-top: 5mm; }
a { color: #00588a; }
nav ol {
  columns: 3; column-gap: 8mm; margin: 4mm 0 0; padding: 3mm 4mm 3mm 9mm; background: #f3f4f6;
  font-size: 9pt;
}
.lead { font-size: 12pt; line-height: 1.4; margin-top: 3mm; }
.note { color: #4a5058; font-size: 9pt; }
.missing, .warning { padding: 2mm 3mm; border-left: 4px solid #8a9097; background: #f3f4f6; }
.warning { border-left-color: #E69F00; background: #fdf6e6; }
ul { padding-left: 5mm; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0.6mm 5mm; }
dt { color: #4a5058; max-width: 52mm; }
table { border-collapse: collapse; width: 100%; margin-top: 3mm; font-size: 8.7pt; }
caption { text-align: left; color: #4a5058; padding-bottom: 1mm; }
th { text-align: left; font-weight: 600; border-bottom: 1.5px solid #8a9097; }
th, td { padding: 0.8mm 1.5mm; vertical-align: top; }
td { border-bottom: 1px solid #e3e5e8; }
th { overflow-wrap: normal; }
td:first-child { overflow-wrap: normal; word-break: normal; }
table a { white-space: nowrap; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
th.number { white-space: normal; }
svg { display: block; width: 100%; height: auto; }
.charts { display: grid; grid-template-columns: 1fr 1fr; gap: 3mm 6mm; margin-top: 3mm; }
.charts.three { grid-template-columns: 1fr 1fr 1fr; gap: 3mm 4mm; }
.pictures { display: grid; grid-template-columns: repeat(6, 1fr); gap: 3mm; margin-top: 2mm; }
.pictures.wide { grid-template-columns: repeat(3, 1fr); }
.pictures.wide img { height: 27mm; }
.pictures.eight { grid-template-columns: repeat(8, 1fr); gap: 2mm; }
.pictures img { display: block; width: 100%; height: 24mm; object-fit: contain; }
.pictures.eight img { height: 20mm; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 1mm; }
figcaption { margin-top: 1mm; font-size: 8.5pt; color: #3d4248; }
.pictures figcaption { font-size: 7.5pt; line-height: 1.3; }
.ramp { max-width: 80mm; margin-top: 2mm; break-before: avoid; break-after: avoid; }
pre, code { font: 8.5pt/1.4 ui-monospace, "SF Mono", Consolas, "Liberation Mono", monospace; }
pre { white-space: pre-wrap; background: #f3f4f6; padding: 2.5mm 3mm; margin: 2mm 0 0; }
@media screen and (max-width: 640px) {
  body { padding: 5mm; }
  nav ol { columns: 1; }
  .charts, .charts.three { grid-template-columns: 1fr; }
  .pictures, .pictures.wide { grid-template-columns: repeat(2, 1fr); }
  th, td { padding: 0.8mm; overflow-wrap: break-word; }
  th { overflow-wrap: anywhere; }
  .number { white-space: normal; }
}
@media print {
  html { background: none; }
  body { margin: 0; width: auto; padding: 0; box-shadow: none; }
  h2, h3, h2 + p, h3 + p, caption { break-after: avoid; }
  tbody tr:first-child, tr:nth-last-child(2) { break-after: avoid; }
  #checklists { break-before: page; }
  figure, tr, dl, pre, h2 + p, h3 + p, .missing, .warning, nav { break-inside: avoid; }
  .charts, .pictures.eight { break-inside: avoid; }
  p, li { orphans: 3; widows: 3; }
  thead { display: table-header-group; }
}
"""
