"""From a core phrasing to what a user types.

A core is written in lower case with alternatives, "[what|which] colour is the rover". Its form says what may be put
around it: "?" is a direct question, "~" the clause of an indirect one, "." a whole remark, ">" a follow-up.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

_ALTERNATIVES = re.compile(r"\[([^\[\]]*)\]")
_ARTICLE = re.compile(r"\b(a) (?=([aeio]\w*))", re.IGNORECASE)
_NOT_WORD = re.compile(r"[^a-z0-9 ]+")
CONTRACTIONS = {
    "what is": "what's", "where is": "where's", "who is": "who's", "how is": "how's", "that is": "that's",
    "it is": "it's", "i am": "i'm", "i would": "i'd", "i have": "i've", "you are": "you're", "do not": "don't",
    "does not": "doesn't", "did not": "didn't", "is not": "isn't", "cannot": "can't", "i will": "i'll",
}  # fmt: skip
_EXPANSIONS = {short: long for long, short in CONTRACTIONS.items()}
_EXPANSION = re.compile(r"\b(" + "|".join(_EXPANSIONS) + r")\b")

_DIRECT_OPENERS = (
    "", "pip, ", "hey pip, ", "hi pip, ", "so ", "okay, ", "tell me, ", "please tell me, ", "hm, ", "by the way, ",
    "a question: ", "one more question: ", "now ", "pip, tell me, ", "and ", "um, ", "uh, ", "well, ", "hey, ",
    "hello, ",
    "sorry, ", "excuse me, ", "oh, ", "quick question: ", "i forgot, ", "just wondering, ", "say, ", "wait, ",
    "and now ",
    "hello! ", "hi! ", "hey! ", "hi there! ", "good morning! ", "please, ", "ok so ", "let me ask: ", "alright, ",
    "hello pip, ", "umm ", "listen, ", "next: ", "remind me, ",
)  # fmt: skip
_DIRECT_CLOSERS = (
    "?", ", pip?", ", please?", "? i want to know", "? i am curious", "? i forgot", " again?", ", by the way?",
    ", my friend?", ", do you know?", ", any idea?", "? tell me", "? thanks", ", then?",
)  # fmt: skip
_ASKING_OPENERS = (
    "can you tell me ", "could you tell me ", "do you know ", "pip, do you know ", "pip, can you tell me ",
    "hey pip, do you know ", "so do you know ", "can you please tell me ", "can you say ", "could you please tell me ",
    "would you tell me ", "any idea ", "do you remember ", "can you remind me ", "will you tell me ",
    "have you any idea ", "are you able to tell me ", "can you explain ",
)  # fmt: skip
_TELLING_OPENERS = (
    "tell me ", "please tell me ", "i wonder ", "i want to know ", "i would like to know ", "pip, tell me ",
    "pip, please tell me ", "remind me ", "i was wondering ", "i need to know ", "i forgot ", "i am curious ",
    "i have no idea ", "just tell me ", "i do not know ", "i would love to know ", "say ",
)  # fmt: skip
_ASKING_CLOSERS = ("?", ", please?", ", pip?", " again?")
_TELLING_CLOSERS = (".", ", please.", ", pip.", " again.")
_REMARK_OPENERS = ("", "", "pip, ", "hey pip, ", "oh, ", "um, ", "well, ", "okay, ", "hey, ", "ah, ", "so ")
_REMARK_CLOSERS = (".", ", pip.", "!", " :)")
_FOLLOW_OPENERS = ("", "okay, ", "oh, ", "hm, ", "i see, ", "good, ", "ah, ", "thanks, ", "um, ", "nice, ", "cool, ")
_FOLLOW_CLOSERS = ("?", ", pip?", ", please?")

_FRAMES: dict[str, tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]] = {
    "?": ((_DIRECT_OPENERS, _DIRECT_CLOSERS),),
    "~": ((_ASKING_OPENERS, _ASKING_CLOSERS), (_TELLING_OPENERS, _TELLING_CLOSERS)),
    ".": ((_REMARK_OPENERS, _REMARK_CLOSERS),),
    ">": ((_FOLLOW_OPENERS, _FOLLOW_CLOSERS),),
}


class Core(NamedTuple):
    """A core phrasing without its surroundings: its form ("?", "~", "." or ">") and its text."""

    form: str
    text: str


def upper_first(text: str) -> str:
    """The text with a capital first letter."""
    return text[:1].upper() + text[1:]


def with_articles(text: str) -> str:
    """The text with "an" for "a" before a vowel."""
    return _ARTICLE.sub(lambda match: match[1] + ("N " if match[1] == "A" and match[2].isupper() else "n "), text)


def expand(template: str) -> list[str]:
    """List the texts of a template with "[this|that]" alternatives."""
    found = _ALTERNATIVES.search(template)
    if found is None:
        return [" ".join(template.split()).replace(" ,", ",")]
    before, after = template[: found.start()], template[found.end() :]
    return [text for choice in found[1].split("|") for text in expand(before + choice + after)]


@lru_cache(maxsize=4096)  # judging needs the same few words many times
def normal(text: str) -> str:
    """Reduce a text to its words: lower case, contractions written out, no punctuation, single spaces."""
    lowered = _EXPANSION.sub(lambda match: _EXPANSIONS[match[1]], text.lower())
    return " ".join(_NOT_WORD.sub(" ", lowered).split())


def _surroundings(form: str, vocative: bool) -> list[tuple[str, str]]:
    """List every (opener, closer) that fits a form; without `vocative`, none that says "Pip"."""
    pairs: list[tuple[str, str]] = []
    for openers, closers in _FRAMES[form]:
        for opener in openers:
            for closer in closers:
                # No sentence says "please", "Pip" or "know" twice
                doubled = any(word in opener and word in closer for word in ("pip", "please", "know", "tell", "forgot"))
                if not doubled and (vocative or "pip" not in opener + closer):
                    # Plain forms are the most frequent ones in real chats
                    times = (12 if opener == "" else 1) * (20 if len(closer) == 1 else 1)
                    pairs.extend([(opener, closer)] * times)
    return pairs


_PAIRS = {(form, vocative): _surroundings(form, vocative) for form in _FRAMES for vocative in (True, False)}


def surround(rng: random.Random, cores: Sequence[Core], vocative: bool = True) -> str:
    """One of the cores with words around it, still in lower case."""
    core = rng.choice(cores)
    opener, closer = rng.choice(_PAIRS[core.form, vocative])
    return opener + core.text + closer
