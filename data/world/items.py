"""Generate the test items: questions in phrasings that no training conversation has, and what a right reply says."""

from __future__ import annotations

import random
from collections.abc import Iterator

from tinylm.data.world.generator import MAX_EXCHANGES, chat, tell_facts
from tinylm.data.world.intents import Intent, all_intents, intents_by_family
from tinylm.data.world.judge import WorldItem
from tinylm.data.world.recall import KIND_BY_NAME, other_values
from tinylm.data.world.recall_kinds import KINDS
from tinylm.data.world.talk import Talk
from tinylm.data.world.values import ASSISTANTS

RECALL_ITEMS = 0.4
MAX_DISTANCE = 4


def test_items(count: int = 400, seed: int = 0) -> list[WorldItem]:  # noqa: PT028 (no test)
    """Generate questions of the test split: 60 % about the world and 40 % about facts that the user told.

    Families of intents and kinds of facts occur equally often. Equal seeds give equal items.
    """
    rng = random.Random(f"items {seed}")
    recalls = round(count * RECALL_ITEMS)
    # A family with cases counts twice, "why?" four times, as it stands for many questions
    families = [name for name, intents in intents_by_family().items() for _ in intents[:2]] + ["why"] * 4
    kinds = [kind.name for kind in KINDS] + ["persona"]
    facts = (_fact_item(rng, family) for family in _endless(rng, families))
    recall = (_recall_item(rng, kind) for kind in _endless(rng, kinds))
    items = [next(facts) for _ in range(count - recalls)] + [next(recall) for _ in range(recalls)]
    rng.shuffle(items)
    return items


def _endless(rng: random.Random, names: list[str]) -> Iterator[str]:
    while True:
        rng.shuffle(names)
        yield from names


def _fact_item(rng: random.Random, family: str) -> WorldItem:
    whys = [intent for intent in all_intents().values() if intent.parent]
    while True:
        intent = rng.choice(whys if family == "why" else intents_by_family()[family])
        talk = Talk(rng)
        if rng.random() < 0.12:
            name = KIND_BY_NAME["name"] if rng.random() < 0.5 else None
            talk.set_system(user=name, style=name is None)
        chat(talk, rng.choices((0, 1, 2, 3), (50, 25, 15, 10))[0])
        follow = bool(intent.follows) and rng.random() < 0.25
        if intent.parent:
            talk.ask_intent(all_intents()[intent.parent])
        elif follow:
            siblings = [other for other in intents_by_family()[family] if other != intent]
            talk.ask_intent(rng.choice(siblings))
        if intent.name not in talk.said and talk.ask_intent(intent, "test", follow):
            return _finish_fact(talk, intent)


def _finish_fact(talk: Talk, intent: Intent) -> WorldItem:
    required = tuple(tuple(word.replace("{me}", talk.me) for word in group) for group in intent.required) + _ending(
        talk
    )
    if any("{user}" in reply for reply in intent.replies) and "name" in talk.known:
        required += ((talk.known["name"],),)
    expected = talk.messages[-1]["content"]
    forbidden = frozenset(intent.forbidden)
    return WorldItem(talk.messages[:-1], "fact", intent.name, expected, required, forbidden)


def _ending(talk: Talk) -> tuple[tuple[str, ...], ...]:
    return ((talk.ending,),) if talk.ending else ()


def _recall_item(rng: random.Random, name: str) -> WorldItem:
    while True:
        talk = Talk(rng)
        if name == "persona":
            return _persona_item(talk)
        kind = KIND_BY_NAME[name]
        untold = rng.random() < 0.1
        if rng.random() < 0.15:
            talk.set_system(user=rng.choice(KINDS), style=rng.random() < 0.2)
        tell_facts(talk)
        chat(talk, rng.choices((0, 1, 2, 3), (40, 30, 20, 10))[0])
        # Exchanges between telling and asking
        distance = 0 if untold else len(talk.said) - 1 - talk.told_at.get(name, -99)
        if (name in talk.known) == untold or distance > MAX_DISTANCE or len(talk.said) >= MAX_EXCHANGES:
            continue
        talk.ask_fact(kind, "test")
        value = talk.known.get(name, "")
        required = ((value,),) if value else (("not",), (kind.key,))
        return WorldItem(
            talk.messages[:-1], "recall", name, talk.messages[-1]["content"], required + _ending(talk),
            other_values(kind, value), distance,
        )  # fmt: skip


def _persona_item(talk: Talk) -> WorldItem:
    talk.set_system(persona=True)
    chat(talk, talk.rng.choices((0, 1, 2), (60, 25, 15))[0])
    intent = all_intents()["pip_name"]
    while intent.name in talk.said or not talk.ask_intent(intent, "test"):
        talk = Talk(talk.rng)
        talk.set_system(persona=True)
    others = frozenset(name.lower() for name in (*ASSISTANTS, "Pip") if name != talk.me)
    distance = len(talk.said) - 1
    return WorldItem(
        talk.messages[:-1], "recall", "persona", talk.messages[-1]["content"], ((talk.me,),), others, distance
    )
