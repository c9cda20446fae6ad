"""Values without a list: made-up names, towns, foods and the like, so many that no model can learn them by heart.

A word is put together from the syllables of one of several languages, or taken from words.txt. A value that the test
asks for is never made.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from tinylm.data.world.held_out import held_out_values
from tinylm.data.world.made_up_words import SOUNDS_OF_PETS, made_up_word
from tinylm.data.world.phrasings import upper_first, with_articles
from tinylm.data.world.values import COLOURS, FOODS, NAMES, TOWNS, VALUE_LISTS

LISTED_SHARE = 0.2
"""The share of values that come from the lists of values.py."""
_WORDS_FILE = Path(__file__).parent / "words.txt"
_NUMBERS_AS_WORDS = (
    "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen", "fourteen",
    "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
          "November", "December")  # fmt: skip
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_TRADES = ("driver", "teacher", "maker", "seller", "nurse", "painter", "cook", "guard", "farmer", "engineer", "trainer",
           "designer", "cleaner", "doctor", "tester", "builder", "writer", "singer", "hunter", "keeper", "inspector",
           "manager", "pilot", "clerk", "baker", "dealer", "expert", "assistant", "collector", "polisher",
           "smith")  # fmt: skip
_RANKS = ("head", "night", "junior", "senior", "chief", "part-time", "assistant", "deputy", "freelance", "trainee",
          "travelling", "retired")  # fmt: skip
_JOBS = ("baker", "plumber", "florist", "dentist", "carpenter", "waiter", "lawyer", "librarian", "mechanic", "tailor",
         "butcher", "barber", "surgeon", "postman", "electrician", "journalist", "photographer", "translator", "vet",
         "welder", "roofer", "accountant", "optician", "beekeeper", "blacksmith", "midwife", "bricklayer", "cashier",
         "secretary", "programmer", "architect", "firefighter", "detective", "geologist")  # fmt: skip
_DEEDS = ("bake {w} bread", "paint the {w}", "clean the {w}", "visit {n}", "call {n}", "write to {n}", "repair my {w}",
          "build a {w} for {n}", "learn the {w} dance", "go to the {w} market", "climb {t}", "plant {w} seeds",
          "watch the {w}", "sort my {w} cards", "swim in the {w}", "sell my {w}", "buy a {w}", "cook {w} soup",
          "help {n} with the {w}", "look for my {w}", "knit a {w}", "ride to {t}", "finish my {w}", "play {w} with {n}",
          "make a {w} out of {x}", "take the {w} to {n}", "wash the {w} and the {x}", "tidy up the {w} room", "{v}",
          "{v} with {n}", "{v} in {t}", "{v} the {w}")  # fmt: skip
_STYLES = ("fried", "baked", "cold", "hot", "grilled", "raw", "spicy", "sweet", "stuffed", "roasted", "green",
           "smoked", "fresh", "homemade", "crispy")  # fmt: skip
_DISHES = ("soup", "pie", "cake", "stew", "salad", "bread", "rolls", "pudding", "sandwich", "curry", "pancakes",
           "sauce", "dumplings", "ice cream", "jam", "noodles", "pizza", "tart", "juice", "cookies")  # fmt: skip
_TITLES = ("Mr", "Mrs", "Sir", "Lady", "Captain", "Little", "Miss", "Doctor", "Professor", "Princess", "King", "Queen",
           "Lord", "Count", "Big", "Old", "Baby", "Uncle", "General", "Saint")  # fmt: skip
_PARTICLES = ("van", "van der", "de", "de la", "von", "del", "da", "di", "ter", "bin", "el", "le", "dos", "ten")


@cache
def common_words() -> tuple[str, ...]:
    """The English words of words.txt."""
    lines = _WORDS_FILE.read_text("utf-8").splitlines()
    return tuple(word for line in lines if not line.startswith("#") for word in line.split())


def any_word(rng: random.Random) -> str:
    """A made-up word or, as often, an English one."""
    return made_up_word(rng) if rng.random() < 0.55 else rng.choice(common_words())


def _blend(rng: random.Random, listed: Sequence[str]) -> str:
    """The beginning of one listed word and the end of another, as in Marissa from Maria and Larissa."""
    first, second = rng.choice(listed), rng.choice(listed)
    vowels = [place for place, letter in enumerate(second) if letter in "aeiou"]
    return first[: rng.randint(2, max(2, len(first) - 1))] + second[rng.choice(vowels or [0]) :].lower()


def _first_name(rng: random.Random) -> str:
    draw = rng.random()
    if draw > 0.8:
        return _blend(rng, NAMES)
    if draw < 0.14:
        return upper_first(rng.choice(common_words()))
    if draw < 0.19:
        return rng.choice(NAMES)
    return upper_first(made_up_word(rng))


def _last_name(rng: random.Random) -> str:
    name = upper_first(made_up_word(rng))
    draw = rng.random()
    if draw < 0.18:
        return f"{rng.choice(_PARTICLES)} {name}"
    if draw < 0.28:
        return f"{rng.choice(('Mc', 'Mac', 'O' + chr(39), 'O' + chr(39), 'D' + chr(39), 'Fitz', 'Al-', 'Ben-'))}{name}"
    return name


def _person(rng: random.Random) -> str:
    first = _first_name(rng)
    draw = rng.random()
    if draw < 0.06:
        return f"{first} {_last_name(rng)}"
    if draw < 0.11:
        return f"{first} {_first_name(rng)}"
    if draw < 0.15:
        return f"{first}-{_first_name(rng)}"
    if draw < 0.17:
        return _last_name(rng)
    if draw < 0.19:  # as in Ng'ona or Ma'ruf
        return f"{upper_first(made_up_word(rng))}'{made_up_word(rng)}"
    if draw < 0.22:  # a short form, as in Jo or Ty
        return first[:2] if first[1:2] in "aeiouy" else first
    return first


def _pet(rng: random.Random) -> str:
    draw = rng.random()
    if draw < 0.35:
        name = made_up_word(rng, SOUNDS_OF_PETS if rng.random() < 0.6 else None)
    else:
        name = rng.choice(common_words())
        if draw < 0.55:  # as in Waffles, Smokey, Barksalot
            name = name.rstrip("e") + rng.choice(("s", "y", "ie", "kins", "ster", "alot", "o", "bean", "paws", "ball"))
    name = upper_first(name)
    draw = rng.random()
    if draw < 0.12:
        return f"{rng.choice(_TITLES)} {name}"
    if draw < 0.17:
        return f"{name} {upper_first(any_word(rng))}"
    if draw < 0.19:
        return f"{name} the {upper_first(any_word(rng))}"
    if draw < 0.21:
        return f"{name} {rng.choice(('II', 'III', 'Junior', 'von', 'McFluff'))} {upper_first(any_word(rng))}"
    return name


def _town(rng: random.Random) -> str:
    name = _blend(rng, TOWNS) if rng.random() < 0.2 else upper_first(made_up_word(rng))
    draw = rng.random()
    if draw < 0.13:
        before = ("New", "Port", "San", "North", "Saint", "Great", "El", "Upper", "Lake", "South", "East", "West",
                  "Los", "Santa", "Fort", "Mount", "Little", "Old", "Bad", "Ras", "La", "Le", "Cape")  # fmt: skip
        return f"{rng.choice(before)} {name}"
    if draw < 0.19:
        after = ("City", "Bay", "Falls", "Springs", "Beach", "Hill", "Harbour", "Creek", "Island", "Park", "Bridge")
        return f"{name} {rng.choice(after)}"
    if draw < 0.22:
        return f"{name}-{rng.choice(('on', 'am', 'sur', 'by', 'in', 'upon'))}-{upper_first(made_up_word(rng))}"
    if draw < 0.32:  # as in Foxbury
        ends = ("bury", "ford", "ville", "ton", "mouth", "field", "wood", "haven", "stead", "dale", "burg", "hausen")
        return upper_first(rng.choice(common_words())) + rng.choice(ends)
    if draw < 0.35:
        return f"{name} {upper_first(made_up_word(rng))}"
    return name


def _food(rng: random.Random) -> str:
    word, other, draw = any_word(rng), rng.choice((any_word(rng), rng.choice(FOODS))), rng.random()
    if draw < 0.48:
        return word
    if draw < 0.6:
        return f"{word} {other}"
    if draw < 0.72:
        return f"{word} {rng.choice(('and', 'with', 'in', 'on'))} {other}"
    if draw < 0.84:
        return f"{word} {rng.choice(_DISHES)}"
    if draw < 0.92:
        return f"{rng.choice(_STYLES)} {word}"
    dish = f"{rng.choice((rng.choice(_STYLES), word))} {rng.choice(_DISHES)}"
    return f"{dish} {rng.choice(('with', 'and'))} {rng.choice(('', '', rng.choice(_STYLES) + ' '))}{other}"


def _colour(rng: random.Random) -> str:
    draw = rng.random()
    if draw < 0.68:
        return any_word(rng)
    colour = rng.choice((any_word(rng), rng.choice(COLOURS)))
    if draw < 0.92:
        shade = rng.choice(("dark", "light", "pale", "bright", "deep", "neon", "soft", any_word(rng), any_word(rng)))
        return f"{shade} {colour}"
    if draw < 0.96:
        return f"{colour}-{rng.choice(('ish', 'grey', any_word(rng)))}"
    return f"{any_word(rng)} and {colour}"


def _doing(rng: random.Random) -> str:
    return any_word(rng).rstrip("e") + "ing"


def _hobby(rng: random.Random) -> str:
    word, draw = any_word(rng), rng.random()
    if draw < 0.36:
        return _doing(rng)
    if draw < 0.56:
        return word
    doing = rng.choice(("playing", "making", "collecting", "watching", "painting", "building", "racing", "throwing",
                        "carving", "folding", "restoring", "growing", "training", _doing(rng),
                        _doing(rng)))  # fmt: skip
    if draw < 0.7:
        return f"{doing} {word}"
    if draw < 0.78:
        return f"{doing} {rng.choice(('old', 'tiny', 'wooden', 'wild', 'paper', any_word(rng)))} {word}s"
    if draw < 0.9:
        return f"{word} {_doing(rng)}"
    where = rng.choice(("with {n}", "in the {w}", "in {t}", "for old {w}s", "under {w}", "on the {w}", "and {w} {d}"))
    return f"{doing} {_with_pieces(rng, where)}"


def _thing(rng: random.Random) -> str:
    word, draw = any_word(rng), rng.random()
    if draw < 0.66:
        return word
    if draw < 0.9:
        return f"{any_word(rng)} {word}"
    return f"{any_word(rng)} {any_word(rng)} {word}" if draw < 0.95 else f"{any_word(rng)}-{word}"


def _title(rng: random.Random) -> str:
    words = [any_word(rng) for _ in range(rng.choices((1, 2, 3), (45, 40, 15))[0])]
    text = " ".join(upper_first(word) for word in words)
    draw = rng.random()
    if draw < 0.2:
        return f"The {text}"
    if draw < 0.28:
        between = rng.choice(("of", "and", "of the", "in", "without", "against", "for", "from"))
        return f"{text} {between} {upper_first(any_word(rng))}"
    if draw < 0.31:
        return f"{text} {rng.randint(2, 99)}"
    return f"{upper_first(made_up_word(rng))}'s {text}" if draw < 0.34 else text


def _place(rng: random.Random) -> str:
    draw = rng.random()
    if draw < 0.06:
        return f"at {_person(rng)}'s house"
    if draw < 0.14:
        near = rng.choice(("between the", "in the middle of the", "on top of the", "at the back of the", "by the"))
        second = f" and the {_thing(rng)}" if near.startswith("between") else ""
        return f"{near} {_thing(rng)}{second}"
    before = rng.choice(("in the", "under the", "behind the", "on the", "next to the", "inside the", "near the", "in a",
                         "beside the", "above the", "below the"))  # fmt: skip
    thing = _thing(rng)
    if before == "in a":
        return with_articles(f"in a {thing}")
    return f"{before} {thing}{rng.choice((' box', ' drawer', ' room', ' shelf')) if draw > 0.92 else ''}"


def _number(rng: random.Random) -> str:
    draw = rng.random()
    if draw < 0.05:
        return rng.choice(_NUMBERS_AS_WORDS)
    if draw < 0.1:
        return f"{rng.choice(_TENS)}-{rng.choice(_NUMBERS_AS_WORDS[:8])}"
    return str(rng.randint(*rng.choice(((2, 12), (10, 99), (10, 99), (100, 999), (1000, 9999)))))


def _code(rng: random.Random) -> str:
    """A number with many digits or with letters, such as that of a phone or a seat."""
    draw = rng.random()
    letters = "".join(rng.choice("ABCDEFGHJKLMNPQRSTUVWXYZ") for _ in range(rng.randint(1, 3)))
    if draw < 0.6:
        return _number(rng)
    if draw < 0.7:
        return str(rng.randint(10000, 999999))
    if draw < 0.78:
        return f"{rng.randint(10, 9999)} {rng.randint(10, 9999)}"
    if draw < 0.84:
        return f"{rng.randint(100, 999)}-{rng.randint(100, 9999)}"
    return f"{letters}{rng.randint(2, 999)}" if draw < 0.92 else f"{rng.randint(2, 99)}{letters[0]}"


def _date(rng: random.Random) -> str:
    month, day = rng.choice(MONTHS), rng.randint(1, 28)
    ordinal = f"{day}{'th' if 10 < day < 20 else {1: 'st', 2: 'nd', 3: 'rd'}.get(day % 10, 'th')}"
    return rng.choice(
        (
            month,
            f"{month} {day}",
            f"{day} {month}",
            f"the {ordinal} of {month}",
            f"{month} {ordinal}",
            f"{rng.choice(_WEEKDAYS)} the {ordinal}",
        )
    )


def _time(rng: random.Random) -> str:
    """A time of day."""
    draw, hour, minute = rng.random(), rng.randint(1, 12), rng.randint(0, 59)
    half = rng.choice(("am", "pm"))
    if draw < 0.4:
        return f"{rng.randint(0, 23)}:{minute:02}"
    if draw < 0.8:
        return f"{hour}:{minute:02} {half}"
    if draw < 0.87:
        return f"{hour} {half}"
    if draw < 0.93:
        return f"{rng.choice(('half past', 'quarter past', 'quarter to'))} {rng.choice(_NUMBERS_AS_WORDS[:11])}"
    if draw < 0.97:
        past = rng.choice(("past", "to"))
        return f"{rng.choice((*_NUMBERS_AS_WORDS, 'twenty'))} {past} {rng.choice(_NUMBERS_AS_WORDS[:11])}"
    return rng.choice(("noon", "midnight", "lunch time", "sunrise", "sunset"))


def _job(rng: random.Random) -> str:
    draw = rng.random()
    if draw < 0.12:
        return rng.choice(_JOBS)
    if draw < 0.4:
        return f"{any_word(rng)} {rng.choice(_TRADES)}"
    if draw < 0.62:
        return any_word(rng).rstrip("e") + rng.choice(("er", "er", "ist", "or", "ian", "man"))
    if draw < 0.74:
        return f"{any_word(rng)} {any_word(rng).rstrip('e')}er"
    if draw < 0.88:
        return any_word(rng)
    return f"{rng.choice(_RANKS)} {rng.choice((any_word(rng) + ' ', ''))}{rng.choice((*_TRADES, *_JOBS))}"


def _deed(rng: random.Random) -> str:
    """What somebody means to do: "visit Mulo", "paint the amber"."""
    return _with_pieces(rng, rng.choice(_DEEDS))


def _language(rng: random.Random) -> str:
    name = upper_first(made_up_word(rng).rstrip("aeiou") + rng.choice(("ish", "ese", "ian", "i", "ic", "a", "an", "")))
    return f"{rng.choice(('Old', 'High', 'Low', 'Swiss', 'Northern'))} {name}" if rng.random() < 0.08 else name


def _pair(rng: random.Random) -> str:
    """Two names, at times three."""
    first, second = _first_name(rng), _first_name(rng)
    if rng.random() < 0.15:
        return f"{first}, {second} and {_first_name(rng)}"
    return f"{first} and {second}" if first != second else _pair(rng)


def _with_pieces(rng: random.Random, text: str) -> str:
    """The text with a word for {w} and {x}, a name for {n}, a town for {t}, "doing" for {d} and a verb for {v}."""
    makers: dict[str, Callable[[random.Random], str]] = {
        "w": any_word, "x": any_word, "n": _first_name, "t": _town, "d": _doing, "v": any_word,
    }  # fmt: skip
    filled = re.sub(r"\{(\w)\}", lambda match: makers[match[1]](rng), text)
    return re.sub(r"\ba (?=[aeio])", "an ", filled)


def _junk(rng: random.Random) -> str:
    """Keys pressed at random, or a word of no language."""
    if rng.random() < 0.5:
        return "".join(rng.choice("asdfghjklqwertyuiopzxcvbnm") for _ in range(rng.randint(2, 9)))
    return made_up_word(rng)


_MAKERS: dict[str, Callable[[random.Random], str]] = {
    "names": _person, "pets": _pet, "towns": _town, "foods": _food, "colours": _colour, "hobbies": _hobby,
    "things": _thing, "titles": _title, "places": _place, "numbers": _number,
    "dates": _date, "junk": _junk, "codes": _code, "times": _time, "jobs": _job, "deeds": _deed, "pairs": _pair,
    "languages": _language,
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
        words = value.lower().replace("-", " ").split()
        if held_out_values().isdisjoint((*words, *re.findall(r"\w+", value.lower()))):
            return value
