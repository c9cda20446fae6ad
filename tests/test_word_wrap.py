"""Text that comes in pieces, wrapped."""

import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from tinylm.cli.terminal.word_wrap import WordWrap


def wrapped(text, width, indent=0, column=None, cuts=()):
    wrap = WordWrap(lambda: width, indent, indent if column is None else column)
    places = [0, *sorted(cuts), len(text)]
    pieces = [text[start:end] for start, end in pairwise(places)]
    return "".join([*map(wrap.feed, pieces), wrap.finish()])


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("one two three four", "one two \nthree \nfour"),
        ("one  two", "one  two"),
        ("a\n\nb", "a\n\nb"),
        ("abcdefghijklm no", "abcdefghi\njklm no"),
        ("a\tb", "a    b"),
        ("日本語を話します", "日本語を\n話します"),
        ("a\x1b[2Jb\x07\r\x9b", "a\ufffd[2Jb\ufffd\ufffd"),
        ("", ""),
    ],
)
def test_what_is_shown_on_ten_columns(text, shown):
    assert wrapped(text, 10) == shown


def test_further_lines_are_indented():
    assert wrapped("one two three", 14, indent=5) == "one two \n     three"


def test_a_word_is_held_back_until_its_end_is_known():
    wrap = WordWrap(lambda: 20)
    assert wrap.feed("Hel") == ""
    assert wrap.feed("lo wor") == "Hello "
    assert wrap.feed("ld\n") == "world\n"
    assert wrap.feed("日") == "日"
    assert wrap.feed("end") == ""
    assert wrap.finish() == "end"
    assert wrap.finish() == ""


texts = st.text(alphabet="ab \n日🌱é\t", max_size=60)


@given(text=texts, width=st.integers(14, 40), indent=st.sampled_from([0, 5]), data=st.data())
@settings(max_examples=300, deadline=None)
def test_no_line_is_too_long_and_nothing_but_white_space_changes(text, width, indent, data):
    cuts = data.draw(st.lists(st.integers(0, len(text)), max_size=6))
    shown = wrapped(text, width, indent, cuts=cuts)
    lines = (" " * indent + shown).split("\n")
    assert all(cell_len(line.rstrip()) < width for line in lines)
    assert all(line.startswith(" " * indent) for line in lines)
    assert re.sub(r"\s", "", shown) == re.sub(r"\s", "", text)
    # However it was cut into pieces
    assert re.sub(r"\s+", " ", shown).strip() == re.sub(r"\s+", " ", wrapped(text, width, indent)).strip()
