"""Phrasings: what a user types, made from a core phrasing, and which of these texts are in the test split.

A core is written in lower case with alternatives, "[what|which] colour is the rover". Its form says what may be put
around it: "?" is a direct question, "~" the clause of an indirect one, "." a whole remark, ">" a follow-up.
"""

from __future__ import annotations

import random
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

WorldSplit = Literal["train", "test"]

HELD_OUT_TEXTS = 0.10
HELD_OUT_CORES = 0.15

_ALTERNATIVES = re.compile(r"\[([^\[\]]*)\]")
_NOT_WORD = re.compile(r"[^a-z0-9 ]+")
_PROPER = re.compile(
    r"\b(pip|miso|prickles|dot|otto|grandma|uncle otto|raspberry pi|monday|tuesday|wednesday|thursday|friday|saturday"
    r"|sunday|i)\b"
)
_CONTRACTIONS = {
    "what is": "what's",
    "where is": "where's",
    "who is": "who's",
    "that is": "that's",
    "it is": "it's",
    "i am": "i'm",
    "i would": "i'd",
    "do not": "don't",
    "cannot": "can't",
}
_CONTRACTION = re.compile(r"\b(" + "|".join(_CONTRACTIONS) + r")\b(?= (?!it\b)\w)")
_EXPANSIONS = {short: long for long, short in _CONTRACTIONS.items()}
_EXPANSION = re.compile(r"\b(" + "|".join(_EXPANSIONS) + r")\b")

_DIRECT_OPENERS = (
    "", "pip, ", "hey pip, ", "hi pip, ", "so ", "okay, ", "tell me, ", "please tell me, ", "hm, ", "by the way, ",
    "a question: ", "one more question: ", "now ", "pip, tell me, ",
)  # fmt: skip
_DIRECT_CLOSERS = ("?", ", pip?", ", please?", "? i want to know", "? i am curious")
_ASKING_OPENERS = (
    "can you tell me ", "could you tell me ", "do you know ", "pip, do you know ", "pip, can you tell me ",
    "hey pip, do you know ", "so do you know ", "can you please tell me ",
)  # fmt: skip
_TELLING_OPENERS = (
    "tell me ", "please tell me ", "i wonder ", "i want to know ", "i would like to know ", "pip, tell me ",
    "pip, please tell me ",
)  # fmt: skip
_ASKING_CLOSERS = ("?", ", please?", ", pip?")
_TELLING_CLOSERS = (".", ", please.", ", pip.")
_REMARK_OPENERS = ("", "", "pip, ", "hey pip, ", "oh, ")
_REMARK_CLOSERS = (".", ", pip.")
_FOLLOW_OPENERS = ("", "okay, ", "oh, ", "hm, ", "i see, ", "good, ", "ah, ", "thanks, ")
_FOLLOW_CLOSERS = ("?", ", pip?", ", please?")

_FRAMES: dict[str, tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]] = {
    "?": ((_DIRECT_OPENERS, _DIRECT_CLOSERS),),
    "~": ((_ASKING_OPENERS, _ASKING_CLOSERS), (_TELLING_OPENERS, _TELLING_CLOSERS)),
    ".": ((_REMARK_OPENERS, _REMARK_CLOSERS),),
    ">": ((_FOLLOW_OPENERS, _FOLLOW_CLOSERS),),
}


class Core(NamedTuple):
    """A core phrasing: its form ("?", "~", "." or ">") and its text.

    A core that is held out is in the test split with whatever is put around it.
    """

    form: str
    text: str
    held_out: bool = False


def expand(template: str) -> list[str]:
    """List the texts of a template with "[this|that]" alternatives."""
    found = _ALTERNATIVES.search(template)
    if found is None:
        return [" ".join(template.split())]
    before, after = template[: found.start()], template[found.end() :]
    return [text for choice in found[1].split("|") for text in expand(before + choice + after)]


@lru_cache(maxsize=4096)  # judging needs the same few words many times
def normal(text: str) -> str:
    """Reduce a text to its words: lower case, contractions written out, no punctuation, single spaces."""
    lowered = _EXPANSION.sub(lambda match: _EXPANSIONS[match[1]], text.lower())
    return " ".join(_NOT_WORD.sub(" ", lowered).split())


def fraction(key: str) -> float:
    """Map a key to a pseudo-random number in [0, 1) that is the same on every machine."""
    return zlib.crc32(key.encode()) / 2**32


def hold_out(cores: Iterable[Core]) -> tuple[Core, ...]:
    """Mark some cores of an intent as held out for the test split.

    A core is held out only if the cores in training have all of its words.
    """
    drawn = [(core, core.form != "." and fraction("core:" + normal(core.text)) < HELD_OUT_CORES) for core in cores]
    known = {word for core, candidate in drawn if not candidate for word in core.text.split()}
    return tuple(core._replace(held_out=candidate and known.issuperset(core.text.split())) for core, candidate in drawn)


def split_of(text: str) -> WorldSplit:
    """The split of a user's text, decided by its words."""
    return "test" if fraction("text:" + normal(text)) < HELD_OUT_TEXTS else "train"


def surroundings(form: str, vocative: bool = True) -> Iterator[tuple[str, str]]:
    """List every (opener, closer) that fits a form; without `vocative`, none that says "Pip"."""
    for openers, closers in _FRAMES[form]:
        for opener in openers:
            for closer in closers:
                # No sentence says "please", "Pip" or "know" twice
                doubled = any(word in opener and word in closer for word in ("pip", "please"))
                restless = "know" in opener and "know" in closer
                if not doubled and not restless and (vocative or "pip" not in opener + closer):
                    yield opener, closer


def _weighted(form: str, vocative: bool) -> list[tuple[str, str]]:
    pairs = list(surroundings(form, vocative))
    # Plain forms are the most frequent ones in real chats
    return [pair for pair in pairs for _ in range((3 if pair[0] == "" else 1) * (8 if len(pair[1]) == 1 else 1))]


_PAIRS: dict[tuple[str, bool], list[tuple[str, str]]] = {
    (form, vocative): _weighted(form, vocative) for form in _FRAMES for vocative in (True, False)
}


def neat(text: str) -> str:
    """Add capitals and a final mark to a lower-case text."""
    text = _PROPER.sub(lambda match: match[1].title(), text)
    text = re.sub(r"([?.!] )([a-z])", lambda match: match[1] + match[2].upper(), text)
    return text[0].upper() + text[1:] + ("" if text[-1] in "?.!" else ".")


def dress(rng: random.Random, text: str) -> str:
    """Vary a lower-case text as users type it: with or without capitals, contractions and the final mark."""
    if rng.random() < 0.4:
        text = _CONTRACTION.sub(lambda match: _CONTRACTIONS[match[1]], text)
    if rng.random() < 0.6:
        marked = text[-1] in "?.!"
        text = neat(text) if marked else neat(text)[:-1]
    if rng.random() < 0.25 and text[-1] in "?.!":
        text = text[:-1]
    return text


def surround(rng: random.Random, cores: Sequence[Core], vocative: bool = True) -> tuple[Core, str]:
    """Draw a core and put a text around it, in lower case and of either split."""
    core = rng.choice(cores)
    opener, closer = rng.choice(_PAIRS[core.form, vocative])
    return core, opener + core.text + closer


def phrase(rng: random.Random, cores: Sequence[Core], split: WorldSplit, vocative: bool = True) -> str | None:
    """Draw a user's text of a split from cores; None if 200 draws give none."""
    for _ in range(200):
        core, text = surround(rng, cores, vocative)
        if (core.held_out or split_of(text) == "test") == (split == "test"):
            return dress(rng, text)
    return None


def all_texts(cores: Iterable[Core], split: WorldSplit) -> Iterator[str]:
    """List every text, reduced to its words, that `phrase` can draw from cores in a split."""
    for core in cores:
        for opener, closer in surroundings(core.form):
            text = opener + core.text + closer
            if (core.held_out or split_of(text) == "test") == (split == "test"):
                yield normal(text)
