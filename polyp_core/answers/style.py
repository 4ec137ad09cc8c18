"""How a sheet looks: dark on light, on the screen and on A4; nothing is fetched."""

# Nothing may be loaded or run, whatever a file's name holds; pictures and style are in the page.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"

STYLE = """
@page { size: A4 portrait; margin: 13mm 14mm; }
* { box-sizing: border-box; }
html { background: #e9eaec; color-scheme: light; }
body {
  margin: 24px auto; width: 210mm; max-width: 100%; min-height: 277mm; padding: 13mm 14mm;
  background: #fff; color: #1b1d20; box-shadow: 0 1px 6px #0003; display: flex;
  flex-direction: column; font: 10pt/1.42 system-ui, -apple-system, "Segoe UI", Roboto,
  "Helvetica Neue", Arial, sans-serif; overflow-wrap: anywhere;
}
p, h1, h2, figure, dl, dd { margin: 0; }
header {
  display: flex; justify-content: space-between; gap: 8mm; color: #5a6068; font-size: 8.5pt;
  border-bottom: 1px solid #c9cdd2; padding-bottom: 2mm;
}
h1 { font-size: 12pt; font-weight: 600; margin-top: 4mm; line-height: 1.3; }
h1.long { font-size: 9.5pt; }
.facts { color: #5a6068; font-size: 9pt; }
.answer { margin-top: 4mm; padding: 3mm 4mm; border: 1px solid #c9cdd2; border-left-width: 5px; }
.answer h2 { font-size: 17pt; font-weight: 650; line-height: 1.2; }
.answer p { margin-top: 1mm; }
.ends { display: flex; justify-content: space-between; gap: 8mm; margin-top: 4mm; font-size: 9pt; }
.ends span:last-child { text-align: right; }
svg { display: block; width: 100%; height: auto; }
.pictures { display: grid; grid-template-columns: 1fr 1fr; gap: 4mm 6mm; margin: 4mm 0; }
.pictures.tall { grid-template-columns: 1fr 1fr 1fr; }
.pictures.alone, .pictures.wide { grid-template-columns: 1fr; }
figure img { display: block; max-width: 100%; margin: 0 auto; }
figcaption { margin-top: 1.2mm; font-size: 8.5pt; color: #3d4248; text-align: center; }
.legend { align-self: center; font-size: 8.5pt; color: #3d4248; }
.legend p { margin-top: 1.5mm; }
.wide .legend, .tall .legend {
  grid-column: 1 / -1; display: grid; grid-template-columns: 60mm 1fr; gap: 6mm;
}
footer {
  margin-top: auto; padding-top: 2.5mm; border-top: 1px solid #c9cdd2; font-size: 8.5pt;
  color: #3d4248;
}
footer dl { display: grid; grid-template-columns: max-content 1fr; gap: 0.3mm 4mm; }
footer dt { color: #5a6068; }
code { font: 8.5pt ui-monospace, "SF Mono", Consolas, "Liberation Mono", monospace; }
.notice { margin-top: 2mm; font-weight: 600; color: #1b1d20; }
@media screen and (max-width: 640px) {
  body { padding: 5mm; }
  .pictures, .pictures.tall, .wide .legend, .tall .legend { grid-template-columns: 1fr; }
}
@media print {
  html { background: none; }
  body { margin: 0; width: auto; min-height: 269mm; padding: 0; box-shadow: none; }
  .answer, figure, footer { break-inside: avoid; }
}
"""
