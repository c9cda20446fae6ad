"""How people type: capitals or none, contractions, slips, abbreviations, smileys, a remark before the question.

Texts come in lower case. Fields such as `{v}` stand for values and are left as they are; `fill` puts the values in.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass

from tinylm.data.world.made_up_words import made_up_word
from tinylm.data.world.open_values import MONTHS, any_word
from tinylm.data.world.phrasings import CONTRACTIONS, upper_first, with_articles

_FIELD = re.compile(r"\{(\w+)\}")
_PROPER = re.compile(
    r"\b(pip|miso|prickles|dot|otto|grandma|uncle otto|raspberry pi|monday|tuesday|wednesday|thursday|friday|saturday"
    r"|sunday|i)\b"
)
_CONTRACTION = re.compile(r"\b(" + "|".join(CONTRACTIONS) + r")\b(?= (?!it\b)[\w{])")
_HAVE_IS_THE_VERB = re.compile(r"\b(?:do|did|will|would|can|must|should|may) i have\b"
                               r"|\bi have (?:an?|the|my|to|no|some|only|exactly|now)\b"
                               r"|\bi have (?:lunch|dinner|breakfast|tea|supper)\b|\bi have \{")  # fmt: skip
"""Where "i have" cannot be "i've"."""
_MONTH_ALONE = re.compile(rf"\bon (?=(?:{'|'.join(MONTHS)})\b(?! \d))", re.IGNORECASE)
_ABBREVIATIONS = {
    "you": "u", "are": "r", "your": "ur", "please": "pls", "thanks": "thx", "what": "wat", "favourite": "fav",
    "because": "cuz", "to": "2", "for": "4", "about": "abt", "tomorrow": "tmrw", "want to": "wanna",
    "going to": "gonna",
    "do not know": "dunno", "tell me": "tell me", "something": "smth", "people": "ppl", "okay": "ok", "with": "w",
    "thank you": "thank u", "why": "y", "see you": "cu", "good night": "gn", "goodbye": "bye", "and": "n",
    "have to": "gotta",
    "hello": "hiya", "by the way": "btw", "really": "rly", "today": "2day", "know": "kno",
}  # fmt: skip
_AMERICAN = {"favourite": "favorite", "colour": "color", "neighbour": "neighbor", "mum": "mom", "autumn": "fall"}
_SMILEYS = (":)", ":-)", ":D", ";)", ":(", "<3", "xD", "lol", "haha", "\U0001f600", "\U0001f642", "\U0001f44d",
            "\U0001f60a",
            "\U0001f602", "\U0001f914", "\U0001f389", "\u2764\ufe0f", "\U0001f64f", "\U0001f44b",
            "\U0001f622")  # fmt: skip
_REMARKS = (
    "i just got home", "it is a nice day", "my feet hurt", "i had a long day", "i am back", "sorry for the typos",
    "nice", "cool", "that is great", "you are funny", "thank you for that", "interesting", "i like that", "i see",
    "oh no",
    "i have been thinking", "i am new here", "this is fun", "let me think", "one more thing", "never mind that",
    "i bought {w} this morning", "i saw a {w} outside", "we had {w} for lunch", "my {w} is broken",
    "i watched {w} last night",
    "there is a {w} in my room", "i was reading about {w}", "the {w} looks good", "somebody gave me a {w}",
    "i dreamed of {w}",
    "it is late", "the kids are asleep", "i have a minute", "my coffee is cold", "i cannot find my {w}",
    "the bus was late",
    "it was a {w} morning", "i am waiting for {w}", "people say you are clever", "my mother says hello", "wow",
    "great answer",
    "i want to ask you something", "i have a question", "let us talk about something else", "forget the {w}",
)  # fmt: skip
_AFTER = ("i forgot", "i really need it", "it is important", "my friend wants to know", "i was thinking about it",
          "lol",
          "just checking", "asking for a friend", "thank you", "take your time", "be honest")  # fmt: skip


@dataclass(frozen=True)
class Typed:
    """A text as it was typed, with fields for the values, and how values look in it: "as it is", "lower" or "upper"."""

    text: str
    case: str

    def fill(self, value_of: Callable[[str], str]) -> str:
        """The text with the value of every field, by the field's name."""
        filled = _FIELD.sub(lambda match: self.spelled(value_of(match[1])), self.text)
        return with_articles(_MONTH_ALONE.sub(lambda match: "IN " if match[0].isupper() else "in ", filled))

    def spelled(self, value: str) -> str:
        """The value as this text spells it."""
        return value.lower() if self.case == "lower" else value.upper() if self.case == "upper" else value


def neat(text: str) -> str:
    """A lower-case text with capitals and a last mark, as in a book."""
    text = _PROPER.sub(lambda match: match[1].title(), text)
    text = re.sub(r"([?.!] )([a-z])", lambda match: match[1] + match[2].upper(), text)
    return text[0].upper() + text[1:] + ("" if text[-1] in "?.!" else ".")


def remark(rng: random.Random) -> str:
    """A sentence that asks for nothing."""
    return with_articles(rng.choice(_REMARKS).replace("{w}", any_word(rng)))


def _slip(rng: random.Random, word: str) -> str:
    """A word with a letter swapped, left out, doubled or mistaken."""
    place = rng.randrange(1, len(word) - 1)
    how = rng.random()
    if how < 0.35:
        return word[:place] + word[place + 1] + word[place] + word[place + 2 :]
    if how < 0.7:
        return word[:place] + word[place + 1 :]
    if how < 0.85:
        return word[:place] + word[place] + word[place:]
    return word[:place] + rng.choice("aeiorstn") + word[place + 1 :]


def _with_slips(rng: random.Random, text: str) -> str:
    words = text.split(" ")
    places = [place for place, word in enumerate(words) if len(word) > 3 and word.isalpha()]
    for place in rng.sample(places, min(len(places), rng.choices((1, 2), (75, 25))[0])):
        words[place] = _slip(rng, words[place])
    return " ".join(words)


def _replaced(rng: random.Random, text: str, table: dict[str, str], share: float) -> str:
    for long, short in table.items():
        if long in text and rng.random() < share:
            text = re.sub(rf"\b{long}\b", short, text)
    return text


def _around(rng: random.Random, text: str) -> str:
    """The text with a remark before or after it, at times."""
    draw = rng.random()
    if draw < 0.07:
        return f"{remark(rng)}{rng.choice(('. ', '. ', '! ', ', ', ' '))}{text}"
    if draw < 0.09 and text[-1] in "?.!":
        return f"{text} {rng.choice(_AFTER)}"
    if draw < 0.10:
        return f"{made_up_word(rng)}, {text}"
    return text


def typed(rng: random.Random, text: str, values: bool = False) -> Typed:
    """A lower-case text as somebody types it.

    Args:
        rng: where chance comes from.
        text: in lower case, neatly spelled.
        values: the text tells a value; nothing that could be taken for one is put around it.
    """
    if not values:
        text = _around(rng, text)
    if rng.random() < 0.3:
        text = _replaced(rng, text, _AMERICAN, 0.8)
    if rng.random() < 0.5:
        kept = _HAVE_IS_THE_VERB.search(text) is not None
        text = _CONTRACTION.sub(
            lambda match: match[1] if kept and match[1] == "i have" else CONTRACTIONS[match[1]], text
        )
        if rng.random() < 0.5:
            text = text.replace("'", "")
    elif rng.random() < 0.4:
        text = text.replace("'", "")
    if rng.random() < 0.1:
        text = _replaced(rng, text, _ABBREVIATIONS, 0.6)
    if rng.random() < 0.12:
        text = _with_slips(rng, text)
    case = "as it is"
    draw = rng.random()
    if draw < 0.5:
        marked = text[-1] in "?.!"
        text = neat(text) if marked else neat(text)[:-1]
    elif draw < 0.93:
        case = rng.choice(("lower", "lower", "as it is"))
    else:
        text, case = re.sub(r"(?<!\{)\b\w+\b(?!\})", lambda match: match[0].upper(), text), "upper"
    return Typed(_ended(rng, text), case)


def _ended(rng: random.Random, text: str) -> str:
    """The text with its last mark, without it or with more."""
    draw = rng.random()
    if draw < 0.4:
        text = text.rstrip("?.!") or text
    elif draw < 0.48:
        text += (
            rng.choice((text[-1], "!", text[-1] * 2, "..", "?!"))
            if text[-1] in "?.!"
            else rng.choice(("!!", "...", "!"))
        )
    if rng.random() < 0.06:
        text += " " + rng.choice(_SMILEYS)
    return upper_first(text) if text[:1].isupper() else text
