"""Values without a list: made-up names, towns, foods and the like, so many that no model can learn them by heart.

A word is put together from the syllables of one of several languages, or taken from words.txt. A value that the test
asks for is never made.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tinylm.data.world.held_out import held_out_values
from tinylm.data.world.phrasings import upper_first
from tinylm.data.world.values import COLOURS, FOODS, VALUE_LISTS

LISTED_SHARE = 0.2
"""The share of values that come from the lists of values.py."""
_WORDS_FILE = Path(__file__).parent / "words.txt"


class Sounds(NamedTuple):
    """The syllables of a language: how they begin, their vowels, how they close, and how a word may end."""

    onsets: tuple[str, ...]
    vowels: tuple[str, ...]
    codas: tuple[str, ...]
    endings: tuple[str, ...]


def _sounds(onsets: str, vowels: str, codas: str, endings: str) -> Sounds:
    parts = (tuple("" if part == "-" else part for part in text.split()) for text in (onsets, vowels, codas, endings))
    return Sounds(*parts)


SOUNDS_OF_LANGUAGES = (
    _sounds("b bl br c ch d f g gr h j k l m n p r s sh st t th tr w", "a e i o u ea oo ai", "- n r l s t ck ll m p",
            "y er le en ard ton wick ley son ie ow"),
    _sounds("b z k l m n p r s t v d zb br kr sl sv st vl zd cz w", "a e i o u y ie", "- - n k v r s sz cz m",
            "ek slav mir ka na ov ska ica iew ina usz wa a"),
    _sounds("k s t n h m y r w g z d b sh ch ts j ky", "a i u e o ai", "- - - n", "ko ki ro ta mi ka shi ya to ha"),
    _sounds("b d f g k l m n s t w y kw mb nd ng nk th z r j - -", "a e i o u", "- - - n m",
            "a e i o u we nde si kazi le ba"),
    _sounds("b br d f fr g h k kl l m n p r s sch st t tr w v", "a e i o u ei au ie", "- n r l s ch ng rg ld tz nn",
            "e en er heim bert hild mann ina gard dorf burg"),
    _sounds("b c d f g l m n p r s t v qu ch gi br", "a e i o u ia io ue", "- - n r l s",
            "o a ino ella etta ano ia is ez io"),
    _sounds("b d f h j k l m n r s sh t y z kh gh q - -", "a i u aa ee ou", "- - r l m n d f s",
            "id ah im een a i ir oud iya an ar"),
    _sounds("c g l m n r s t br d f ll mh sh", "a e i o u ae ao io ei", "- n r l d th s",
            "an wyn in ach och eth een agh ane yn"),
    _sounds("zh x q l m n w j h sh f d t g y ch", "a i u ang en ao ei iu ong in", "-", "ing an ao u ei ong i uan"),
    _sounds("k l m n p h w t v f - -", "a e i o u ai au", "-", "a o ani ilo oa ehu eka ui"),
    _sounds("dh bh k kh g j t d n p m r l v s sh pr y", "a i u aa e o", "- - n r l sh m",
            "a i esh an endra ika ita pur vati it"),
    _sounds("x c tl p ch t m n q z l hu y ts", "a e i o u ua", "- - l n c", "tl li co pec tla cali in atl oc a"),
)  # fmt: skip


@cache
def common_words() -> tuple[str, ...]:
    """The English words of words.txt."""
    lines = _WORDS_FILE.read_text("utf-8").splitlines()
    return tuple(word for line in lines if not line.startswith("#") for word in line.split())


def made_up_word(rng: random.Random) -> str:
    """A word of one to four syllables in lower case."""
    sounds = rng.choice(SOUNDS_OF_LANGUAGES)
    syllables = rng.choices((1, 2, 3), (45, 42, 13))[0]
    word = "".join(
        rng.choice(sounds.onsets) + rng.choice(sounds.vowels) + rng.choice(sounds.codas) for _ in range(syllables)
    )
    if rng.random() < 0.07:  # as in Wagga Wagga: a model that looks for what came last time loses its place in these
        syllable = rng.choice(sounds.onsets) + rng.choice(sounds.vowels) + rng.choice(sounds.codas)
        word += syllable * 2
    if rng.random() < 0.6:
        word += rng.choice(sounds.endings)
    return word if 3 <= len(word) <= 14 else made_up_word(rng)


def any_word(rng: random.Random) -> str:
    """A made-up word or, as often, an English one."""
    return made_up_word(rng) if rng.random() < 0.55 else rng.choice(common_words())


def _person(rng: random.Random) -> str:
    first = upper_first(made_up_word(rng) if rng.random() < 0.85 else rng.choice(common_words()))
    draw = rng.random()
    if draw < 0.04:
        return f"{first} {upper_first(made_up_word(rng))}"
    if draw < 0.07:
        return f"{first}-{upper_first(made_up_word(rng))}"
    return first


def _pet(rng: random.Random) -> str:
    name = upper_first(any_word(rng))
    return f"{rng.choice(('Mr', 'Mrs', 'Sir', 'Lady', 'Captain', 'Little'))} {name}" if rng.random() < 0.08 else name


def _town(rng: random.Random) -> str:
    name = upper_first(made_up_word(rng))
    before = rng.choice(("New", "Port", "San", "North", "Saint", "Great", "El", "Upper", "Lake"))
    return f"{before} {name}" if rng.random() < 0.12 else name


def _food(rng: random.Random) -> str:
    word, other, draw = any_word(rng), rng.choice((any_word(rng), rng.choice(FOODS))), rng.random()
    if draw < 0.7:
        return word
    return f"{word} {other}" if draw < 0.85 else f"{word} {rng.choice(('and', 'with'))} {other}"


def _colour(rng: random.Random) -> str:
    draw = rng.random()
    if draw < 0.75:
        return any_word(rng)
    shade = rng.choice(("dark", "light", "pale", "bright", any_word(rng)))
    return f"{shade} {rng.choice((any_word(rng), rng.choice(COLOURS)))}"


def _hobby(rng: random.Random) -> str:
    word, draw = any_word(rng), rng.random()
    if draw < 0.5:
        return f"{word.rstrip('e')}ing"
    if draw < 0.75:
        return word
    doing = rng.choice(("playing", "making", "collecting", "watching", "painting", any_word(rng).rstrip("e") + "ing"))
    return f"{doing} {word}"


def _thing(rng: random.Random) -> str:
    word, draw = any_word(rng), rng.random()
    return word if draw < 0.7 else f"{any_word(rng)} {word}"


def _title(rng: random.Random) -> str:
    words = [any_word(rng) for _ in range(rng.choices((1, 2, 3), (45, 40, 15))[0])]
    text = " ".join(upper_first(word) for word in words)
    return f"The {text}" if rng.random() < 0.2 else text


def _place(rng: random.Random) -> str:
    before = rng.choice(("in the", "under the", "behind the", "on the", "next to the", "inside the", "near the"))
    return f"{before} {_thing(rng)}"


def _number(rng: random.Random) -> str:
    return str(rng.randint(*rng.choice(((2, 12), (10, 99), (10, 99), (100, 999), (1000, 9999)))))


def _date(rng: random.Random) -> str:
    month = rng.choice(("January", "February", "March", "April", "May", "June", "July", "August", "September",
                        "October",
                        "November", "December"))  # fmt: skip
    return rng.choice((month, f"{month} {rng.randint(1, 28)}", f"{rng.randint(1, 28)} {month}"))


def _junk(rng: random.Random) -> str:
    """Keys pressed at random, or a word of no language."""
    if rng.random() < 0.5:
        return "".join(rng.choice("asdfghjklqwertyuiopzxcvbnm") for _ in range(rng.randint(2, 9)))
    return made_up_word(rng)


_MAKERS: dict[str, Callable[[random.Random], str]] = {
    "names": _person, "pets": _pet, "towns": _town, "foods": _food, "colours": _colour, "hobbies": _hobby,
    "things": _thing, "titles": _title, "places": _place, "numbers": _number,
    "dates": _date, "junk": _junk,
}  # fmt: skip
VALUE_KINDS = tuple(_MAKERS)
"""What `values:` of told_facts.txt may say."""


def new_value(rng: random.Random, kind: str) -> str:
    """A value of one of `VALUE_KINDS`, listed or made up, that the test does not ask for."""
    while True:
        if kind in VALUE_LISTS and rng.random() < LISTED_SHARE:
            value = rng.choice(VALUE_LISTS[kind])
        else:
            value = _MAKERS[kind](rng)
        if held_out_values().isdisjoint(value.lower().replace("-", " ").split()):
            return value
