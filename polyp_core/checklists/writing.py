"""A filled sheet becomes Markdown, or a <section> of the report."""

import html
import re
from collections.abc import Sequence
from itertools import groupby

from polyp_core.checklists.items import Item, say_state
from polyp_core.runs import Run
from polyp_core.words import make_visible

_NOTE = (
    "The questions are in plain words of our own. The original items, with what each means in "
    "full, are in the publication; a journal may ask for its own form."
)
_PUBLICATIONS = {
    "claim": "Tejani et al., Radiology: Artificial Intelligence 6(4):e240300 (2024), "
    "doi 10.1148/ryai.240300",
    "tripod": "Collins et al., BMJ 385:e078378 (2024), doi 10.1136/bmj-2023-078378",
}
_TITLES = {"run": "From the run", "person": "Written by a person", "open": "Open",
           "not applicable": "Not applicable"}  # fmt: skip
_SPECIAL = re.compile(r"([\\`*_\[\]<>|~$&])")
_BEGIN = re.compile(
    r"^(\s*(?:\d+(?=[.)](?:\s|$)))?)([#+\-=.)])"
)  # what would begin a heading or a list
_STYLE = """
.checklist table {
  border-collapse: collapse; table-layout: fixed; width: 100%; font-size: 0.9em;
}
.checklist caption { text-align: left; padding: 0 0 2mm; }
.checklist thead { display: table-header-group; }
.checklist tr { break-inside: avoid; }
.checklist th, .checklist td {
  text-align: left; vertical-align: top; padding: 1.4mm 2mm; border-bottom: 1px solid #d9dce0;
  font-weight: 400; overflow-wrap: anywhere;
}
.checklist thead th, .checklist th[scope="rowgroup"] { font-weight: 600; }
.checklist th[scope="rowgroup"] { background: #f1f2f4; break-after: avoid; }
.checklist .number { width: 3.2em; white-space: nowrap; }
.checklist .item { width: 28%; }
.checklist .where { width: 8em; }
.checklist .known { color: #4d535a; }
.checklist p { margin: 0 0 1mm; }
.checklist .open .number { border-left: 3px solid #e69f00; }
.checklist .open .state { font-weight: 600; color: #7a5200; }
.checklist .state { color: #4d535a; font-size: 0.92em; }
"""


def write_markdown(items: Sequence[Item], title: str, run: Run) -> str:
    """A sheet as Markdown.

    Args:
        items: Of one sheet, in order.
        title: Of the sheet.
        run: Whose sheet it is.
    """
    name = run.read_notes()["title"].strip() or run.name
    lines = [
        f"# {title}: {_escape(name)}",
        f"{say_state(items)}.",
        f"{_NOTE} {_PUBLICATIONS[items[0].sheet]}.",
    ]
    for section, group in groupby(items, key=lambda item: item.section):
        lines.append(f"## {section}")
        for item in group:
            lines.append(f"**{item.number}. {item.question}**")
            where = f" (report: {item.reference})" if item.reference else ""
            if item.origin == "open":
                lines.append("**Open.**")
            if item.origin == "person":
                lines.append("\n".join(f"> {_escape(line)}  " for line in _split(item.answer)))
            if item.known:
                said = _TITLES[item.origin if item.origin == "not applicable" else "run"]
                lines.append(f"*{said}:* {_escape(item.known)}{where}")
    return "\n\n".join(lines) + "\n"


def write_html_part(items: Sequence[Item], title: str) -> str:
    """A sheet as a <section>; its style and its links need the page around it alone.

    Args:
        items: Of one sheet, in order.
        title: Of the sheet.
    """
    sheet = items[0].sheet
    rows = []
    for section, group in groupby(items, key=lambda item: item.section):
        rows.append(f'<tr><th colspan="4" scope="rowgroup">{_mark_up(section)}</th></tr>')
        rows += [_write_row(item) for item in group]
    return (
        f'<section class="checklist" id="checklist-{sheet}">\n<style>{_STYLE}</style>\n'
        f"<h3>{_mark_up(title)}</h3>\n<table>\n"
        f"<caption>{say_state(items)}. {_NOTE} {_PUBLICATIONS[sheet]}.</caption>\n"
        '<thead><tr><th scope="col" class="number">No.</th>'
        '<th scope="col" class="item">Question</th><th scope="col">Answer</th>'
        '<th scope="col" class="where">Report</th></tr></thead>\n<tbody>\n'
        + "\n".join(rows)
        + "\n</tbody>\n</table>\n</section>\n"
    )


def _write_row(item: Item) -> str:
    answer = []
    if item.origin in ("open", "not applicable"):
        answer.append(f'<p class="state">{_TITLES[item.origin]}</p>')
    if item.origin == "person":
        answer.append(f'<p class="state">{_TITLES["person"]}</p><p>{_mark_up(item.answer)}</p>')
    if item.known and item.origin in ("person", "open"):
        answer.append(f'<p class="known">{_TITLES["run"]}: {_mark_up(item.known)}</p>')
    elif item.known:
        answer.append(f"<p>{_mark_up(item.known)}</p>")
    where = f'<a href="#{item.reference}">{item.reference}</a>' if item.reference else ""
    kind = item.origin.replace(" ", "-")
    return (
        f'<tr class="{kind}"><td class="number">{item.number}</td>'
        f'<td class="item">{_mark_up(item.question)}</td><td>{"".join(answer)}</td>'
        f'<td class="where">{where}</td></tr>'
    )


def _split(text: str) -> list[str]:
    return [make_visible(line) for line in text.split("\n")]


def _mark_up(text: str) -> str:
    # A number stays on one line with its sign.
    return "<br>".join(html.escape(line).replace(" %", "&nbsp;%") for line in _split(text))


def _escape(text: str) -> str:
    """Markdown that shows a line literally."""
    return _BEGIN.sub(r"\1\\\2", _SPECIAL.sub(r"\\\1", make_visible(text)))
