"""What an error quotes may come from anybody's file; its text is safe to show all the same."""

import pytest

from polyp_core.errors import ImageError, PolypError


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Column 'größe' is at 84\u00a0% (n\u202f=\u202f3).\nTry again.", None),
        ("half a character: \ud800", "half a character: [U+D800]"),
        ("a terminal's \x1b[2J", "a terminal's [U+001B][2J"),
        ("turned \u202egnp.exe", "turned [U+202E]gnp.exe"),
        ("nothing \0, a tab\t", "nothing [U+0000], a tab[U+0009]"),
    ],
)
def test_marks_that_are_no_text_are_written_out(text, shown):
    assert str(ImageError(text)) == (text if shown is None else shown)
    str(ImageError(text)).encode()


def test_a_text_without_end_is_shortened_in_its_middle():
    text = str(PolypError("begins" + "x" * 300_000 + "ends"))
    assert len(text) < 4100
    assert text.startswith("begins")
    assert text.endswith("ends")
