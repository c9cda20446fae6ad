"""Generate short texts about the world for pre-training.

Many of them repeat a part of what they said before. From such text a model learns to copy, as the end cannot be
predicted without the beginning.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise

from tinylm.data.world.intents import Intent, all_intents, declarations, intents_by_family, upper_first
from tinylm.data.world.phrasings import neat, split_of, surround
from tinylm.data.world.recall import KIND_BY_NAME, is_held_out_question
from tinylm.data.world.recall_kinds import KINDS
from tinylm.data.world.values import COLOURS, FOODS, NAMES, NUMBERS, PETS, TOWNS

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
# Facts about people: a statement, a question about it, and its possible values
_ABOUT_PEOPLE = (
    ("{n} likes {v}.", "What colour does {n} like?", COLOURS),
    ("{n} lives in {v}.", "Where does {n} live?", TOWNS),
    ("{n} loves to eat {v}.", "What does {n} love to eat?", FOODS),
    ("{n} is {v} years old.", "How old is {n}?", NUMBERS),
    ("{n} has {v} plants.", "How many plants does {n} have?", NUMBERS),
    ("{n} has a cat called {v}.", "What is the cat of {n} called?", PETS),
    ("{n} has a dog called {v}.", "What is the dog of {n} called?", PETS),
    ("The lucky number of {n} is {v}.", "What is the lucky number of {n}?", NUMBERS),
)  # fmt: skip
_WEATHER = ("rain", "snow", "sun", "wind", "fog")
_WEATHER_OPENING = {
    "rain": "It rained all morning", "snow": "Snow fell on the garden", "sun": "The sun was shining",
    "wind": "The wind blew around the house", "fog": "There was fog in the garden",
}  # fmt: skip


def training_documents(count: int, seed: int = 0) -> list[str]:
    """Generate texts of 60 to 200 words without questions of the test split. Equal seeds give equal texts."""
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
    return text


def _any_kind(rng: random.Random) -> Callable[[random.Random], str]:
    return rng.choices(tuple(_KINDS), tuple(_KINDS.values()))[0]


def _people(rng: random.Random) -> str:
    """Several people and one thing each, then questions about some of them."""
    statement, question, values = rng.choice(_ABOUT_PEOPLE)
    names = rng.sample(NAMES, rng.randint(2, 5))
    pairs = dict(zip(names, rng.sample(values, len(names)), strict=True))
    say: Callable[[str], str] = lambda name: statement.replace("{n}", name).replace("{v}", pairs[name])  # noqa: E731
    asked = rng.sample(names, rng.randint(1, len(names)))
    return " ".join([say(name) for name in names] + [f"{question.replace('{n}', name)} {say(name)}" for name in asked])


def _person(rng: random.Random) -> str:
    """One person and several things about that person, then questions."""
    name = rng.choice(NAMES)
    facts = [
        (statement.replace("{n}", name).replace("{v}", rng.choice(values)), question.replace("{n}", name))
        for statement, question, values in rng.sample(_ABOUT_PEOPLE, rng.randint(3, 5))
    ]
    asked = rng.sample(facts, rng.randint(2, len(facts)))
    return " ".join([f"This is {name}.", *(told for told, _ in facts), *(f"{ask} {told}" for told, ask in asked)])


def _visitor(rng: random.Random) -> str:
    """A visitor tells Pip something and asks for it later, in a story with spoken words."""
    kind = rng.choice(KINDS)
    value = rng.choice(kind.values)
    who = rng.choice(("the boy", "the girl", "the visitor", "the woman", "the man", "the child", "the neighbour"))
    told = neat(rng.choice(kind.tells).replace("{v}", value))[:-1]
    thanks = upper_first(rng.choice(kind.acknowledgements).replace("{v}", value))
    direct = [core.text for core in kind.asks if core.form == "?"]
    question = neat(rng.choice([text for text in direct if not is_held_out_question(kind.name, value, text)]) + "?")
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
    topics = [family for family, intents in families.items() if intents[0].topic != "talk"]
    return rng.choice(families[rng.choices(topics, [len(families[family]) ** 0.5 for family in topics])[0]])


def _question(rng: random.Random, intent: Intent) -> str:
    direct = [core for core in intent.cores if core.form == "?" and not core.held_out]
    while True:
        _, text = surround(rng, direct, vocative=False)
        question = text.split("?")[0] + "?"
        if split_of(question) == "train":
            return neat(question)


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
    names = rng.sample(NAMES, count)
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
    items = rng.sample(FOODS, rng.randint(3, 5))
    name = rng.choice(NAMES)
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
        (rng.choice(FOODS), " ".join(rng.sample(NUMBERS, 3)), " ".join(rng.sample(COLOURS, 2)), rng.choice(PETS))
    )
    first, second, third = rng.sample(NAMES, 3)
    return (
        f'The secret word of the workshop is "{word}". {first} tells {second}: the secret word is "{word}". '
        f'{second} tells {third}: the secret word is "{word}". {third} stands at the door. "What is the secret '
        f'word?" asks Uncle Otto. "{upper_first(word)}," says {third}, and the door opens.'
    )


def _diary(rng: random.Random) -> str:
    """A day at the house, with its weather."""
    name, other = rng.sample(NAMES, 2)
    weather = rng.choice(_WEATHER)
    food, colour = rng.choice(FOODS), rng.choice(COLOURS)
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
    giver, taker = rng.sample(NAMES, 2)
    count, thing = rng.choice(NUMBERS), rng.choice(("tomatoes", "beans", "apples", "carrots", "letters", "flowers"))
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
    for name in rng.sample(NAMES, rng.randint(2, 4)):
        told = neat(rng.choice(KIND_BY_NAME["name"].tells).replace("{v}", name))[:-1]
        greeting = rng.choice(KIND_BY_NAME["name"].acknowledgements).replace("{v}", name)
        lines.append(rng.choice((f'"{told}." "{greeting}"', f'{name} said: "{told}." Pip said: "{greeting}"')))
    return " ".join(lines)


_KINDS: dict[Callable[[random.Random], str], int] = {
    _people: 16, _person: 12, _visitor: 18, _facts: 14, _questions: 12, _places: 8, _shopping: 5, _password: 4,
    _diary: 10, _rover_story: 5, _chain: 5, _names: 5,
}  # fmt: skip
