"""Words, and repeated n-grams of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinylm.repetition import NGRAM, repeated_share
from tinylm.words import words_of


def test_words():
    assert words_of("Don't STOP, 3.5 snake_case -- it\u2019s 'quoted'!") == [
        "don't",
        "stop",
        "3",
        "5",
        "snake_case",
        "it's",
        "quoted",
    ]
    assert words_of("Gr\u00fc\u00dfe, \u00c9T\u00c9") == ["gr\u00fcsse", "\u00e9t\u00e9"]
    assert words_of("\u6211\u5f88\u597d OK\u4e86") == ["\u6211", "\u5f88", "\u597d", "ok", "\u4e86"]
    assert words_of(" \n... \U0001f44d") == []


def test_repetition_by_hand():
    # Of the n-grams abab, baba, abab, baba, abab three have occurred before
    assert repeated_share(["a b a b a b a b"]) == 3 / 5
    # A long text counts more, and n-grams of another text do not count as repeated
    assert repeated_share(["a b a b a b a b", "A b, a b."]) == 3 / 6
    assert repeated_share(["one two three four five six"]) == 0
    assert repeated_share(["one two three"]) is None
    assert repeated_share([]) is None


@given(words=st.lists(st.sampled_from("abc"), min_size=NGRAM, max_size=20))
def test_repetition_by_brute_force(words):
    places = range(len(words) - NGRAM + 1)
    seen = [words[place : place + NGRAM] for place in places]
    repeated = sum(seen[place] in seen[:place] for place in places)
    assert repeated_share([" ".join(words)]) == pytest.approx(repeated / len(places))
