"""Minimal pairs of simple English: sentences of which one has a mistake, and that differ in as little as possible.

The form is that of BLiMP (Warstadt et al. 2020, arXiv:1912.00582); the sentences are TinyLM's own, made of the
templates below in words that children know. The word that is right in one half of a phenomenon's pairs is wrong in the
other, so that a preference for one of them gains nothing; only negative polarity has no such other half.

`python -m tinylm.data.suites.simple_english` writes `simple-english.jsonl`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import product
from random import Random

from tinylm.data.suites.items import BUNDLED
from tinylm.files import write_file

PAIRS = 50
"""Pairs of each phenomenon."""

Pair = tuple[str, str]
"""A good sentence and a bad one."""
Group = Iterator[Pair]

_PEOPLE = {"boy": "boys", "girl": "girls", "child": "children", "woman": "women", "teacher": "teachers"}
_ANIMALS = {"cat": "cats", "dog": "dogs", "bird": "birds", "rabbit": "rabbits", "horse": "horses"}
_ANIMATE = {**_PEOPLE, **_ANIMALS, "robot": "robots"}
_THINGS = {
    "cup": "cups",
    "chair": "chairs",
    "lamp": "lamps",
    "book": "books",
    "key": "keys",
    "box": "boxes",
    "shoe": "shoes",
    "flower": "flowers",
    "ball": "balls",
}
_DOING = {"sleep": "sleeps", "play": "plays", "wait": "waits", "sing": "sings", "work": "works", "run": "runs"}
_PLACES = ("in the garden", "in the kitchen", "near the pond", "behind the house", "by the window", "in the shed")
_FEELING = ("hungry", "tired", "happy", "quiet", "old", "small")
_LOOKING = ("clean", "old", "new", "red", "heavy", "broken")
_NAMES = ("Anna", "Tom", "Pip", "Mia", "Ben")


def verb_agreement() -> tuple[Group, Group]:
    """The cat sleeps, the cats sleep."""
    frames = list(product(_ANIMATE.items(), _DOING.items(), _PLACES))
    return (
        ((f"The {one} {does} {place}.", f"The {one} {do} {place}.") for (one, _), (do, does), place in frames),
        ((f"The {many} {do} {place}.", f"The {many} {does} {place}.") for (_, many), (do, does), place in frames),
    )


def agreement_with_be() -> tuple[Group, Group]:
    """The cup is clean, the cups are clean; was and were."""
    frames = [
        (words, how, verbs)
        for nouns, adjectives in ((_ANIMATE, _FEELING), (_THINGS, _LOOKING))
        for words, how, verbs in product(nouns.items(), adjectives, (("is", "are"), ("was", "were")))
    ]
    return (
        ((f"The {one} {be} {how}.", f"The {one} {wrong} {how}.") for (one, _), how, (be, wrong) in frames),
        ((f"The {many} {be} {how}.", f"The {many} {wrong} {how}.") for (_, many), how, (wrong, be) in frames),
    )


def agreement_over_a_distance() -> tuple[Group, Group]:
    """The cup near the books is clean: another noun stands nearer to the verb."""
    nouns = list(_THINGS.items())
    frames = [
        (noun, other, where, how)
        for noun, other, where, how in product(nouns, nouns, ("near", "behind", "beside"), _LOOKING)
        if noun != other
    ]
    return (
        (
            (f"The {one} {where} the {others} is {how}.", f"The {one} {where} the {others} are {how}.")
            for (one, _), (_, others), where, how in frames
        ),
        (
            (f"The {many} {where} the {other} are {how}.", f"The {many} {where} the {other} is {how}.")
            for (_, many), (other, _), where, how in frames
        ),
    )


def determiner_and_noun() -> tuple[Group, Group]:
    """This cup, these cups; that cup, those cups."""
    frames = list(
        product(_THINGS.items(), _NAMES, ("found", "washed", "likes", "moved"), (("this", "these"), ("that", "those")))
    )
    return (
        (
            (f"{name} {verb} {one_of} {one}.", f"{name} {verb} {some} {one}.")
            for (one, _), name, verb, (one_of, some) in frames
        ),
        (
            (f"{name} {verb} {some} {many}.", f"{name} {verb} {one_of} {many}.")
            for (_, many), name, verb, (one_of, some) in frames
        ),
    )


def a_or_an() -> tuple[Group, Group]:
    """A dog, an apple."""
    frames = [f"{name} {verb}" for name, verb in product(_NAMES, ("saw", "has", "wants", "found", "drew"))]
    vowels = ("apple", "egg", "owl", "onion", "orange", "old lamp", "empty box", "open window", "ant", "island")
    others = ("dog", "cup", "key", "pear", "lemon", "new lamp", "full box", "broken window", "bee", "mountain")
    return (
        ((f"{frame} an {noun}.", f"{frame} a {noun}.") for frame, noun in product(frames, vowels)),
        ((f"{frame} a {noun}.", f"{frame} an {noun}.") for frame, noun in product(frames, others)),
    )


def reflexives() -> tuple[Group, Group, Group, Group]:
    """The boy washed himself, the girl washed herself, the girls washed themselves."""
    frames = list(product(("washed", "hurt", "dressed", "saw", "helped"), ("", " yesterday", " again", " at home")))
    male, female = ("boy", "man", "father", "uncle", "king"), ("girl", "woman", "mother", "aunt", "queen")
    several = ("boys", "girls", "men", "women", "children")

    def pairs(nouns: tuple[str, ...], good: str, bad: str) -> Group:
        for noun, (verb, when) in product(nouns, frames):
            yield f"The {noun} {verb} {good}{when}.", f"The {noun} {verb} {bad}{when}."

    return (
        pairs(male, "himself", "herself"),
        pairs(female, "herself", "himself"),
        pairs(several, "themselves", "himself"),
        pairs(male, "himself", "themselves"),
    )


def pronoun_case() -> tuple[Group, Group]:
    """She helped him, he helped her."""
    forms = (("I", "me"), ("he", "him"), ("she", "her"), ("we", "us"), ("they", "them"))
    objects = list(product(_NAMES, ("helped", "called", "saw", "met", "thanked"), ("in the garden", "at school")))
    subjects = list(
        product(
            ("Yesterday", "In the morning", "After lunch"),
            ("cleaned the kitchen", "fed the cat", "found the key", "went home"),
        )
    )
    return (
        (
            (f"{name} {verb} {whom} {place}.", f"{name} {verb} {who} {place}.")
            for (who, whom), (name, verb, place) in product(forms, objects)
        ),
        ((f"{when} {who} {what}.", f"{when} {whom} {what}.") for (who, whom), (when, what) in product(forms, subjects)),
    )


def irregular_verbs() -> tuple[Group, Group]:
    """Tom took the key, Tom has taken the key."""
    verbs = {
        ("took", "taken"): "the key",
        ("ate", "eaten"): "the apple",
        ("wrote", "written"): "a letter",
        ("saw", "seen"): "the horse",
        ("gave", "given"): "a present to the teacher",
        ("drew", "drawn"): "a house",
        ("broke", "broken"): "the cup",
        ("hid", "hidden"): "the ball",
        ("drank", "drunk"): "the milk",
        ("forgot", "forgotten"): "the name",
        ("threw", "thrown"): "the ball",
        ("wore", "worn"): "the red shoes",
        ("chose", "chosen"): "a book",
        ("sang", "sung"): "a song",
        ("began", "begun"): "the game",
    }
    subjects = (*_NAMES, "The boy", "The girl", "The teacher")
    frames = list(product(subjects, verbs.items()))
    return (
        ((f"{who} {past} {what}.", f"{who} {done} {what}.") for who, ((past, done), what) in frames),
        ((f"{who} has {done} {what}.", f"{who} has {past} {what}.") for who, ((past, done), what) in frames),
    )


def verb_after_auxiliary() -> tuple[Group, Group]:
    """Tom can open the door, Tom opens the door every day."""
    actions = (
        ("open", "opens", "the door"),
        ("clean", "cleans", "the kitchen"),
        ("carry", "carries", "the box"),
        ("like", "likes", "the music"),
        ("need", "needs", "the lamp"),
        ("feed", "feeds", "the birds"),
        ("read", "reads", "the letter"),
        ("move", "moves", "the chair"),
    )
    auxiliaries = ("can", "must", "will", "should", "does not", "did not", "could", "may")
    subjects = (*_NAMES, "The robot", "The woman")
    return (
        (
            (f"{who} {auxiliary} {do} {what}.", f"{who} {auxiliary} {does} {what}.")
            for who, auxiliary, (do, does, what) in product(subjects, auxiliaries, actions)
        ),
        (
            (f"{who} {does} {what} {often}.", f"{who} {do} {what} {often}.")
            for who, often, (do, does, what) in product(subjects, ("every day", "again", "on Mondays"), actions)
        ),
    )


def negative_polarity() -> tuple[Group, Group]:
    """Nobody has ever seen it; somebody has already seen it."""
    subjects = (
        ("Nobody", "Somebody"),
        ("No child", "One child"),
        ("No bird", "One bird"),
        ("None of the boys", "One of the boys"),
        ("None of the girls", "All of the girls"),
        ("Neither of them", "Both of them"),
    )
    seen = ("the pond", "the key", "the robot", "that door", "this place")
    did = (("saw", "anything"), ("bought", "any bread"), ("found", "any water"), ("said", "anything"))
    return (
        ((f"{no} ever saw {what}.", f"{some} ever saw {what}.") for (no, some), what in product(subjects, seen)),
        (
            (f"{no} {verb} {what} {where}.", f"{some} {verb} {what} {where}.")
            for (no, some), (verb, what), where in product(subjects, did, ("at all", "there"))
        ),
    )


def question_order() -> tuple[Group, Group]:
    """Where is the key? I know where the key is."""
    nouns = ("key", "lamp", "cat", "box", "ball", "teacher", "book", "robot", "dog")
    asked = (("where", ""), ("why", " here"), ("how old", ""), ("when", " in the garden"))
    knowing = ("I know", "Tom asked me", "Please tell me", "Nobody knows")
    return (
        (
            (f"{word.capitalize()} {be} the {noun}{rest}?", f"{word.capitalize()} the {noun} {be}{rest}?")
            for (word, rest), noun, be in product(asked, nouns, ("is", "was"))
        ),
        (
            (f"{known} {word} the {noun} {be}{rest}.", f"{known} {word} {be} the {noun}{rest}.")
            for known, (word, rest), noun, be in product(knowing, asked, nouns, ("is", "was"))
        ),
    )


def comparatives() -> tuple[Group, Group]:
    """Bigger than, as big as."""
    forms = (
        ("big", "bigger"),
        ("small", "smaller"),
        ("old", "older"),
        ("young", "younger"),
        ("strong", "stronger"),
        ("fast", "faster"),
        ("slow", "slower"),
        ("quiet", "quieter"),
    )
    nouns = list(_ANIMALS)
    frames = [(one, other, form) for one, other, form in product(nouns, nouns, forms) if one != other]
    return (
        (
            (f"The {one} is {more} than the {other}.", f"The {one} is {plain} than the {other}.")
            for one, other, (plain, more) in frames
        ),
        (
            (f"The {one} is as {plain} as the {other}.", f"The {one} is as {more} as the {other}.")
            for one, other, (plain, more) in frames
        ),
    )


def many_or_much() -> tuple[Group, Group]:
    """Many cups, much water; a few cups, a little water."""
    substances = ("water", "milk", "bread", "sand", "snow", "sugar", "rice", "time", "music")
    quantities = (
        ("many", "much", "There {are} not {} {noun} {place}."),
        ("few", "little", "Now there {are} too {} {noun} {place}."),
    )
    places = ("here", "in the kitchen", "at home", "in the house")

    def pairs(nouns: tuple[str, ...], verb: str, right: int) -> Group:
        for forms, noun, place in product(quantities, nouns, places):
            sentences = [forms[2].format(word, are=verb, noun=noun, place=place) for word in forms[:2]]
            yield sentences[right], sentences[1 - right]

    return pairs(tuple(_THINGS.values()), "are", 0), pairs(substances, "is", 1)


def tense_and_time() -> tuple[Group, Group]:
    """Yesterday she planted the seeds, tomorrow she will plant the seeds."""
    actions = (
        ("plant", "planted", "the seeds"),
        ("clean", "cleaned", "the window"),
        ("open", "opened", "the letter"),
        ("call", "called", "the doctor"),
        ("visit", "visited", "the town"),
        ("wash", "washed", "the dog"),
        ("paint", "painted", "the wall"),
    )
    subjects = ("the girl", "the boy", "my mother", "my uncle", "she", "he", "they", "we")
    times = (("Yesterday", "Tomorrow"), ("Last week", "Next week"), ("Last year", "Next year"))
    frames = list(product(times, subjects, actions))
    return (
        (
            (f"{past} {who} {did} {what}.", f"{future} {who} {did} {what}.")
            for (past, future), who, (_, did, what) in frames
        ),
        (
            (f"{future} {who} will {do} {what}.", f"{past} {who} will {do} {what}.")
            for (past, future), who, (do, _, what) in frames
        ),
    )


PHENOMENA: tuple[Callable[[], tuple[Group, ...]], ...] = (
    verb_agreement,
    agreement_with_be,
    agreement_over_a_distance,
    determiner_and_noun,
    a_or_an,
    reflexives,
    pronoun_case,
    irregular_verbs,
    verb_after_auxiliary,
    negative_polarity,
    question_order,
    comparatives,
    many_or_much,
    tense_and_time,
)
"""Functions that make all pairs of a phenomenon, in groups of which as many are taken each."""


def make_pairs() -> dict[str, list[Pair]]:
    """The pairs of each phenomenon, always the same."""
    made: dict[str, list[Pair]] = {}
    for phenomenon in PHENOMENA:
        groups = phenomenon()
        random = Random(phenomenon.__name__)
        counts = [PAIRS // len(groups) + (number < PAIRS % len(groups)) for number in range(len(groups))]
        made[phenomenon.__name__] = [
            pair for group, count in zip(groups, counts, strict=True) for pair in random.sample(list(group), count)
        ]
    return made


def as_json_lines() -> str:
    """The pairs as lines of JSON."""
    return "".join(
        json.dumps({"phenomenon": name, "sentence_good": good, "sentence_bad": bad}) + "\n"
        for name, pairs in make_pairs().items()
        for good, bad in pairs
    )


if __name__ == "__main__":
    write_file(BUNDLED["simple-english"], as_json_lines().encode())
