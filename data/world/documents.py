"""Generate short texts about the world for pre-training.

Many of them repeat a part of what they said before. From such text a model learns to copy, as the end cannot be
predicted without the beginning.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise

from tinylm.data.world.as_typed import neat
from tinylm.data.world.intents import Intent, all_intents, declarations, intents_by_family
from tinylm.data.world.open_values import new_value
from tinylm.data.world.phrasings import surround, upper_first, with_articles
from tinylm.data.world.talk import any_kind
from tinylm.data.world.told_facts import KIND_BY_NAME

SHORTEST_WORDS = 60
WANTED_WORDS = 130
LONGEST_WORDS = 200

_THINGS = (
    "cup", "book", "hat", "key", "spoon", "lamp", "ball", "scarf", "hammer", "bucket", "towel", "plate", "basket",
    "kite", "broom", "blanket", "coat", "letter", "bowl", "clock",
)  # fmt: skip
_PLACES = (
    "on the table", "on the shelf", "in the drawer", "under the bench", "by the door", "in the basket", "on the chair",
    "behind the sofa", "in the garden", "next to the stove", "on the roof", "in the garage", "beside the pond",
)  # fmt: skip
# What can be true of a person: a statement, a question about it, and the kind of its values.
_ABOUT_PEOPLE = (
    ("{n} likes {v}.", "What colour does {n} like?", "colours"),
    ("{n} lives in {v}.", "Where does {n} live?", "towns"),
    ("{n} loves to eat {v}.", "What does {n} love to eat?", "foods"),
    ("{n} is {v} years old.", "How old is {n}?", "numbers"),
    ("{n} has {v} plants.", "How many plants does {n} have?", "numbers"),
    ("{n} has a cat called {v}.", "What is the cat of {n} called?", "pets"),
    ("{n} has a dog called {v}.", "What is the dog of {n} called?", "pets"),
    ("The lucky number of {n} is {v}.", "What is the lucky number of {n}?", "numbers"),
)  # fmt: skip
_WEATHER = ("rain", "snow", "sun", "wind", "fog")
_WEATHER_OPENING = {
    "rain": "It rained all morning", "snow": "Snow fell on the garden", "sun": "The sun was shining",
    "wind": "The wind blew around the house", "fog": "There was fog in the garden",
}  # fmt: skip


def training_documents(count: int, seed: int = 0) -> list[str]:
    """Texts of 60 to 200 words about the world, the same for the same seed."""
    rng = random.Random(f"documents {seed}")
    return [_document(rng) for _ in range(count)]


def _document(rng: random.Random) -> str:
    """Texts of one kind or of several, until they are long enough together."""
    kind = _any_kind(rng)
    wanted = rng.randint(SHORTEST_WORDS, WANTED_WORDS)
    text = kind(rng)
    while len(text.split()) < wanted:
        if rng.random() < 0.4:
            kind = _any_kind(rng)
        longer = f"{text}\n\n{kind(rng)}"
        if len(longer.split()) <= LONGEST_WORDS:
            text = longer
    return with_articles(text)


def _values(rng: random.Random, values: str, count: int) -> list[str]:
    """Different values of a kind."""
    found: dict[str, None] = {}
    while len(found) < count:
        found[new_value(rng, values)] = None
    return list(found)


def _any_kind(rng: random.Random) -> Callable[[random.Random], str]:
    return rng.choices(tuple(_KINDS), tuple(_KINDS.values()))[0]


def _people(rng: random.Random) -> str:
    """Several people and one thing each, then questions about some of them."""
    statement, question, values = rng.choice(_ABOUT_PEOPLE)
    names = _values(rng, "names", rng.randint(2, 5))
    pairs = dict(zip(names, _values(rng, values, len(names)), strict=True))
    say: Callable[[str], str] = lambda name: statement.replace("{n}", name).replace("{v}", pairs[name])  # noqa: E731
    asked = rng.sample(names, rng.randint(1, len(names)))
    return " ".join([say(name) for name in names] + [f"{question.replace('{n}', name)} {say(name)}" for name in asked])


def _person(rng: random.Random) -> str:
    """One person and several things about that person, then questions."""
    name = new_value(rng, "names")
    facts = [
        (statement.replace("{n}", name).replace("{v}", new_value(rng, values)), question.replace("{n}", name))
        for statement, question, values in rng.sample(_ABOUT_PEOPLE, rng.randint(3, 5))
    ]
    asked = rng.sample(facts, rng.randint(2, len(facts)))
    return " ".join([f"This is {name}.", *(told for told, _ in facts), *(f"{ask} {told}" for told, ask in asked)])


def _visitor(rng: random.Random) -> str:
    """A visitor tells Pip something and asks for it later, in a story with spoken words."""
    kind = any_kind(rng)
    value = new_value(rng, kind.values)
    who = rng.choice(("the boy", "the girl", "the visitor", "the woman", "the man", "the child", "the neighbour"))
    told = neat(rng.choice(kind.tells)).replace("{v}", value)[:-1]
    thanks = upper_first(rng.choice(kind.acknowledgements).replace("{v}", value))
    direct = [core.text for core in kind.asks if core.form == "?"]
    question = neat(rng.choice(direct) + "?")
    reply = upper_first(rng.choice(kind.replies).replace("{v}", value))
    thanks, reply = _spoken(thanks), _spoken(reply)
    between = rng.choice(
        (
            "They talked about the garden for a while.",
            "Then it was quiet, and the kettle whistled.",
            f"{_fact(rng)}",
            "Miso purred and knocked a cup off the table.",
            f"{_fact(rng)} {_fact(rng)}",
        )
    )
    came = upper_first(who)
    return (
        f'{came} came to the shelf. "{told}," said {who}. "{thanks}" said Pip. {between} '
        f'"{question}" asked {who}. "{reply}" said Pip. {came} {rng.choice(("laughed", "smiled", "was happy"))}.'
    )


def _spoken(text: str) -> str:
    """A sentence before "said Pip": its full stop becomes a comma."""
    return text[:-1] + "," if text.endswith(".") else text


def _fact(rng: random.Random, topic: str | None = None) -> str:
    by_topic = declarations()
    return rng.choice(by_topic[topic or rng.choice(tuple(by_topic))])


def _facts(rng: random.Random) -> str:
    """Facts of one or two topics."""
    by_topic = declarations()
    topics = rng.sample(tuple(by_topic), rng.randint(1, 2))
    sentences = [sentence for topic in topics for sentence in by_topic[topic]]
    opening = rng.choice(
        ("Here is what everybody in the small house knows.", "Pip wrote a list of true things.", "Let us learn.", "")
    )
    return " ".join([opening, *rng.sample(sentences, min(len(sentences), rng.randint(5, 9)))]).strip()


def _intent(rng: random.Random) -> Intent:
    families = intents_by_family()
    topics = [family for family, intents in families.items() if intents[0].topic not in ("talk", "unknown")]
    return rng.choice(families[rng.choices(topics, [len(families[family]) ** 0.5 for family in topics])[0]])


def _question(rng: random.Random, intent: Intent) -> str:
    direct = [core for core in intent.cores if core.form == "?"]
    return neat(surround(rng, direct, vocative=False).split("?")[0] + "?")


def _questions(rng: random.Random) -> str:
    """Questions about the world and their answers."""
    mark, answer = rng.choice((("Question: ", "Answer: "), ("Q: ", "A: "), ("", "")))
    lines: list[str] = []
    for _ in range(rng.randint(3, 5)):
        intent = _intent(rng)
        reply = rng.choice(intent.replies).replace("{me}", "Pip")
        lines.append(f"{mark}{_question(rng, intent)}\n{answer}{reply}")
    return "\n".join(lines)


def _places(rng: random.Random) -> str:
    """People put things somewhere, and somebody looks for them."""
    count = rng.randint(2, 4)
    things, places = rng.sample(_THINGS, count), rng.sample(_PLACES, count)
    names = _values(rng, "names", count)
    told = [f"{n} put the {t} {p}." for n, t, p in zip(names, things, places, strict=True)]
    asked = rng.sample(range(count), rng.randint(1, count))
    lines = [
        rng.choice(
            (
                f"Where is the {things[i]}? The {things[i]} is {places[i]}.",
                f"Who put the {things[i]} {places[i]}? It was {names[i]}.",
                f"What did {names[i]} put {places[i]}? {names[i]} put the {things[i]} {places[i]}.",
            )
        )
        for i in asked
    ]
    return " ".join(told + lines)


def _shopping(rng: random.Random) -> str:
    """A list that is read once more, and questions about its order."""
    items = _values(rng, "foods", rng.randint(3, 5))
    name = new_value(rng, "names")
    listed = ", ".join(items[:-1]) + " and " + items[-1]
    questions = [
        f"What is first on the list? {upper_first(items[0])}.",
        f"What is last on the list? {upper_first(items[-1])}.",
        *(f"What comes after {first}? {upper_first(second)}." for first, second in pairwise(items)),
    ]
    return " ".join(
        [
            f"{name} made a list for the market: {listed}.",
            f'"Read it to me, please," said Grandma. {name} read: {listed}.',
            *rng.sample(questions, 2),
        ]
    )


def _password(rng: random.Random) -> str:
    """A word or a row of numbers that is given to one after the other."""
    word = rng.choice(
        (
            new_value(rng, "foods"),
            " ".join(_values(rng, "numbers", 3)),
            " ".join(_values(rng, "colours", 2)),
            new_value(rng, "pets"),
        )
    )
    first, second, third = _values(rng, "names", 3)
    return (
        f'The secret word of the workshop is "{word}". {first} tells {second}: the secret word is "{word}". '
        f'{second} tells {third}: the secret word is "{word}". {third} stands at the door. "What is the secret '
        f'word?" asks Uncle Otto. "{upper_first(word)}," says {third}, and the door opens.'
    )


def _diary(rng: random.Random) -> str:
    """A day at the house, with its weather."""
    name, other = _values(rng, "names", 2)
    weather = rng.choice(_WEATHER)
    food, colour = new_value(rng, "foods"), new_value(rng, "colours")
    wear = rng.choice(all_intents()[f"wear.{weather}"].replies)
    do = rng.choice(all_intents()[f"do.{weather}"].replies)
    parts = [
        f"{_WEATHER_OPENING[weather]} when {name} came to visit.",
        f'"{_spoken(wear)}" said Pip.',
        f'"What can we do?" asked {name}. "{_spoken(do)}" said Pip.',
        rng.choice(
            (
                f"{name} brought {food} for everybody. Grandma likes {food}, and Miso tried the {food} too.",
                f"{name} brought a box. The box was {colour}. In the {colour} box was a letter from {other}.",
                f"{other} came too. {name} and {other} drank tea with honey.",
            )
        ),
        _fact(rng, rng.choice(("garden", "kitchen", "animals", "workshop"))),
        rng.choice(
            (
                f'In the evening {name} went home. "Goodbye {name}!" said Pip.',
                f'"Good night, {name}!" said Pip in the evening. "Good night, Pip!" said {name}.',
                f"Then the moon came, and {name} was tired.",
            )
        ),
    ]
    return " ".join(parts)


def _rover_story(rng: random.Random) -> str:
    """The rover carries things from one to another and counts them."""
    giver, taker = _values(rng, "names", 2)
    count, thing = (
        new_value(rng, "numbers"),
        rng.choice(("tomatoes", "beans", "apples", "carrots", "letters", "flowers")),
    )
    problem, help_ = rng.choice(
        (
            ("a wheel got stuck", "somebody cleaned the wheels"),
            ("the light turned red, because the battery was empty", "the sun charged the battery"),
            ("the sensor felt a wall", "the rover turned around"),
            ("the cat sat down in front of it", "the cat got bored and left"),
        )
    )
    return (
        f"{giver} gave {count} {thing} to the rover. The rover drove slowly through the garden with {count} {thing}. "
        f"Then {problem}. Beep! After a while {help_}, and the rover drove on. At the kitchen door {taker} was "
        f'waiting. {taker} counted the {thing}. There were {count}. "Thank you for the {count} {thing}, {giver}!" '
        f"said {taker}."
    )


def _chain(rng: random.Random) -> str:
    """Small rows: numbers, days, opposites, sums."""
    families = rng.sample(("after", "before", "plus", "opposite", "day_next", "season_next"), 2)
    lines = [
        rng.choice(intent.replies)
        for family in families
        for intent in rng.sample(intents_by_family()[family], min(4, len(intents_by_family()[family])))
    ]
    return " ".join(lines)


def _names(rng: random.Random) -> str:
    """People who say their name and are greeted with it."""
    lines: list[str] = []
    for name in _values(rng, "names", rng.randint(2, 4)):
        told = neat(rng.choice(KIND_BY_NAME["name"].tells)).replace("{v}", name)[:-1]
        greeting = rng.choice(KIND_BY_NAME["name"].acknowledgements).replace("{v}", name)
        lines.append(rng.choice((f'"{told}." "{greeting}"', f'{name} said: "{told}." Pip said: "{greeting}"')))
    return " ".join(lines)


_KINDS: dict[Callable[[random.Random], str], int] = {
    _people: 16, _person: 12, _visitor: 18, _facts: 14, _questions: 12, _places: 8, _shopping: 5, _password: 4,
    _diary: 10, _rover_story: 5, _chain: 5, _names: 5,
}  # fmt: skip
