"""The conversations: training ones, and the items of the test split."""

from __future__ import annotations

import random
from collections.abc import Iterator

from tinylm.chat_format import Conversation
from tinylm.data.world.intents import Intent, all_intents, intents_by_family
from tinylm.data.world.judge import WorldItem
from tinylm.data.world.recall import KIND_BY_NAME, KINDS, FactKind, other_values
from tinylm.data.world.talk import Talk
from tinylm.data.world.values import ASSISTANTS, COLOURS, FOODS, NAMES, PETS, TOWNS

MAX_EXCHANGES = 8
RECALL_CONVERSATIONS = 0.45
SYSTEM_CONVERSATIONS = 0.18
RECALL_ITEMS = 0.4
MAX_DISTANCE = 4


def training_conversations(count: int, seed: int = 0) -> list[Conversation]:
    """Whole conversations, ending with the assistant, from the training split; the same for the same seed."""
    rng = random.Random(f"conversations {seed}")
    return [_training_conversation(rng) for _ in range(count)]


def _training_conversation(rng: random.Random) -> Conversation:
    talk = Talk(rng)
    if rng.random() < SYSTEM_CONVERSATIONS:
        talk.random_system()
    if rng.random() < 0.25:
        talk.greet()
    name = all_intents()["pip_name"]
    if not talk.vocative and rng.random() < 0.75:
        talk.ask_intent(name)
    if talk.known or rng.random() < RECALL_CONVERSATIONS:
        _tell_facts(talk)
        _chat(talk, rng.choices((0, 1, 2, 3, 4), (40, 28, 16, 10, 6))[0])
        _ask_facts(talk)
    else:
        _chat(talk, rng.choices((1, 2, 3, 4, 5, 6, 7), (22, 22, 20, 15, 10, 6, 5))[0])
    if rng.random() < 0.15:
        talk.part()
    last = 2 * MAX_EXCHANGES + (talk.messages[0]["role"] == "system")
    return talk.messages[:last]


def _chat(talk: Talk, exchanges: int) -> None:
    for _ in range(exchanges):
        talk.chat_once()


def _tell_facts(talk: Talk) -> None:
    """One to four facts in any order, sometimes with a question about the world between, sometimes corrected."""
    rng = talk.rng
    kinds = [kind for kind in KINDS if kind.name not in talk.known]
    least = 0 if talk.known else 1
    kinds = rng.sample(kinds, max(least, rng.choices((0, 1, 2, 3, 4), (12, 30, 28, 18, 12))[0]))
    while kinds:
        group, kinds = (kinds[:2], kinds[2:]) if rng.random() < 0.25 else (kinds[:1], kinds[1:])
        talk.tell(group)
        if rng.random() < 0.2:
            talk.chat_once()
    if rng.random() < 0.12:
        talk.correct(KIND_BY_NAME[rng.choice(list(talk.known))])


def _ask_facts(talk: Talk) -> None:
    rng = talk.rng
    asked = [KIND_BY_NAME[name] for name in talk.known]
    asked = rng.sample(asked, min(len(asked), rng.choices((1, 2, 3), (50, 35, 15))[0]))
    if rng.random() < 0.15:
        asked.insert(rng.randrange(len(asked) + 1), _untold(talk))
    for kind in asked:
        if len(talk.said) < MAX_EXCHANGES:
            talk.ask_fact(kind)


def _untold(talk: Talk) -> FactKind:
    return talk.rng.choice([kind for kind in KINDS if kind.name not in talk.known])


def test_items(count: int = 400, seed: int = 0) -> list[WorldItem]:
    """Questions of the test split, about 60 % about the world and 40 % about facts that the user told.

    The families of intents and the kinds of facts come up equally often. The same for the same seed.
    """
    rng = random.Random(f"items {seed}")
    recalls = round(count * RECALL_ITEMS)
    # A family with slots counts double; "why?" stands for as many questions as a few families.
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
        _chat(talk, rng.choices((0, 1, 2, 3), (50, 25, 15, 10))[0])
        follow = bool(intent.follows) and rng.random() < 0.25
        if intent.parent:
            talk.ask_intent(all_intents()[intent.parent])
        elif follow:
            siblings = [other for other in intents_by_family()[family] if other != intent]
            talk.ask_intent(rng.choice(siblings))
        if intent.name not in talk.said and talk.ask_intent(intent, "test", follow):
            return _finish_fact(talk, intent)


def _finish_fact(talk: Talk, intent: Intent) -> WorldItem:
    required = tuple(
        tuple(word.replace("{me}", talk.me) for word in group) for group in intent.required
    ) + _ending(talk)
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
        _tell_facts(talk)
        _chat(talk, rng.choices((0, 1, 2, 3), (40, 30, 20, 10))[0])
        # Exchanges between: the last one before the question stands at distance 0.
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
    _chat(talk, talk.rng.choices((0, 1, 2), (60, 25, 15))[0])
    intent = all_intents()["pip_name"]
    while intent.name in talk.said or not talk.ask_intent(intent, "test"):
        talk = Talk(talk.rng)
        talk.set_system(persona=True)
    others = frozenset(name.lower() for name in (*ASSISTANTS, "Pip") if name != talk.me)
    distance = len(talk.said) - 1
    return WorldItem(
        talk.messages[:-1], "recall", "persona", talk.messages[-1]["content"], ((talk.me,),), others, distance
    )


def values_in_lower_case() -> frozenset[str]:
    """Every value that somebody can tell, for vocabulary counts that leave them out."""
    return frozenset(
        value.lower() for values in (NAMES, COLOURS, PETS, TOWNS, FOODS, ASSISTANTS) for value in values
    )
