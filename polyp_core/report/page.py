"""What a report is made of: a page that opens offline, sections, tables, figures, notes."""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from polyp_core.answers.style import POLICY
from polyp_core.report.charts import escape
from polyp_core.report.style import STYLE

NOTICE = "For research and teaching, not for diagnosis."
_SHA256 = re.compile("[0-9a-f]{64}")
_QUOTED = re.compile(r"(?<![^\s(])'([^']*)'(?![^\s.,;:)])")  # between blanks or stops
_HIDDEN = "(a name)"
CLIPPED = 160  # letters of a name; of a longer one start and end are shown


def write_page(
    title: str, made_at: datetime, lead: str, sections: Mapping[str, tuple[str, str]]
) -> str:
    """One self-contained page.

    Args:
        title: What it reports on; plain text.
        made_at: When.
        lead: HTML between the title and the table of contents.
        sections: For each id the title (plain text) and the HTML of its body.
    """
    contents = "".join(
        f'<li><a href="#{name}">{escape(heading)}</a></li>'
        for name, (heading, _) in sections.items()
    )
    body = "\n".join(
        f'<section id="{name}" aria-labelledby="{name}-title">'
        f'<h2 id="{name}-title">{number}. {escape(heading)}</h2>\n{content}</section>'
        for number, (name, (heading, content)) in enumerate(sections.items(), start=1)
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f"<header><span>{NOTICE}</span><time>{made_at:%Y-%m-%d %H:%M}</time></header>\n"
        f"<main>\n<h1>{escape(title)}</h1>\n{lead}\n"
        f'<nav aria-label="Contents"><ol>{contents}</ol></nav>\n{body}\n</main>\n</body>\n</html>\n'
    )


def write_paragraph(text: str) -> str:
    """Plain text as a paragraph; nothing for nothing."""
    return f"<p>{escape(text)}</p>\n" if text else ""


def write_note(text: str) -> str:
    """Plain text, smaller: how to read what stands above."""
    return f'<p class="note">{escape(text)}</p>\n' if text else ""


def write_missing(text: str) -> str:
    """What is not there, and how it would come; marked so that nobody takes it for a result."""
    return f'<p class="missing">{escape(text)}</p>\n'


def write_warning(text: str) -> str:
    """What makes a result less than it seems."""
    return f'<p class="warning">{escape(text)}</p>\n'


def write_list(items: Iterable[str]) -> str:
    """Plain texts as a list; nothing for none."""
    lines = "".join(f"<li>{escape(item)}</li>" for item in items)
    return f"<ul>{lines}</ul>\n" if lines else ""


def write_facts(rows: Iterable[tuple[str, str]]) -> str:
    """Terms and what is said of them, in plain text."""
    lines = ""
    for term, text in rows:
        said = f"<code>{text}</code>" if _SHA256.fullmatch(text) else escape(text)
        lines += f"<dt>{escape(term)}</dt><dd>{said}</dd>"
    return f"<dl>{lines}</dl>\n"


def write_table(
    heads: Sequence[str], rows: Iterable[Sequence[str]], *, caption: str = "", num_text: int = 1
) -> str:
    """A table of plain texts.

    Args:
        heads: Of the columns.
        rows: As many texts each.
        caption: What it is of.
        num_text: The first columns hold words and stand to the left, the others to the right.
    """

    def cell(tag: str, number: int, text: str) -> str:
        kind = "" if number < num_text else ' class="number"'
        scope = ' scope="col"' if tag == "th" else ""
        return f"<{tag}{scope}{kind}>{escape(text)}</{tag}>"

    said = f"<caption>{escape(caption)}</caption>" if caption else ""
    head = "".join(cell("th", number, text) for number, text in enumerate(heads))
    body = "".join(
        f"<tr>{''.join(cell('td', number, text) for number, text in enumerate(row))}</tr>\n"
        for row in rows
    )
    return f"<table>{said}<thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table>\n"


def write_figure(drawing: str, caption: str = "") -> str:
    """A drawing (HTML) above its caption (plain text)."""
    said = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return f"<figure>{drawing}{said}</figure>\n"


def write_row(figures: Iterable[str], kind: str = "charts") -> str:
    """Figures side by side; nothing for none."""
    together = "".join(figures)
    return f'<div class="{kind}">{together}</div>\n' if together else ""


def write_heading(text: str) -> str:
    """Of a part of a section."""
    return f"<h3>{escape(text)}</h3>\n"


def clip(text: str, most: int = CLIPPED) -> str:
    """Of a long text the start and the end, so that a page stays a page."""
    return text if len(text) <= most else f"{text[: most // 2]}…{text[1 - most // 2 :]}"


def hide_names(text: str, class_names: Sequence[str]) -> str:
    """A finding without what it quotes, which may be a patient's name; the classes stay.

    An example after a colon goes whole.

    A name may itself hold the marks of quotation. Where it is not sure which belong together, all
    goes from the first to the last.
    """
    if 2 * len(_QUOTED.findall(text)) == text.count("'"):
        text = _QUOTED.sub(lambda found: found[0] if found[1] in class_names else _HIDDEN, text)
    else:
        first, last = text.index("'"), text.rindex("'")
        text = f"{text[:first]}{_HIDDEN}{text[last + 1 :]}"
    before, example, _ = text.partition(f": {_HIDDEN}")
    return f"{before}." if example else text
