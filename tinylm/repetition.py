"""How much of a text is repetition."""

from __future__ import annotations

from collections.abc import Iterable

from tinylm.words import words_of

NGRAM = 4
"""Words of an n-gram, as in Welleck et al. 2020."""


def repeated_share(texts: Iterable[str]) -> float | None:
    """Share of the n-grams of `NGRAM` words that occurred before in the same text.

    This is seq-rep-4 of Welleck et al. 2020 (arXiv:1908.04319, section 6.1): 1 - |distinct n-grams| / |n-grams|. There,
    all texts have the same length and the shares of the texts are averaged; here texts end by themselves, so that the
    n-grams of all texts are counted together and a long text counts more.

    Returns:
        from 0 to 1; None where no text has so many words.
    """
    total = repeated = 0
    for text in texts:
        words = words_of(text)
        ngrams = list(zip(*(words[start:] for start in range(NGRAM)), strict=False))
        total += len(ngrams)
        repeated += len(ngrams) - len(set(ngrams))
    return repeated / total if total else None
