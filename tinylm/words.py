"""Words of a text, for measures that must not depend on a model's vocabulary."""

from __future__ import annotations

import re

# Thai, Lao, kana and Chinese characters: writing without spaces, in which a character counts as a word
_SINGLE = "\u0e00-\u0eff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_SINGLE}]|[^\W{_SINGLE}]+(?:'[^\W{_SINGLE}]+)*")


def words_of(text: str) -> list[str]:
    """Words of a text in any case as lower case, without punctuation and white space.

    A word is a run of letters, digits and underscores, which may have apostrophes inside; in writing without spaces it
    is a character.
    """
    if text.isascii():
        return _WORD.findall(text.lower())
    # Word by word: casefold may turn a letter into several characters, of which one is no letter
    return list(map(str.casefold, _WORD.findall(text.replace("\u2019", "'"))))
