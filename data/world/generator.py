"""Generate the training conversations."""

from __future__ import annotations

import random
from collections.abc import Collection

from tinylm.chat_format import Conversation
from tinylm.data.world.intents import all_intents
from tinylm.data.world.talk import Talk, any_kind
from tinylm.data.world.told_facts import KIND_BY_NAME, FactKind, families

MAX_EXCHANGES = 8
RECALL_CONVERSATIONS = 0.52
SYSTEM_CONVERSATIONS = 0.13
NEVER_TOLD = 0.15
"""The share of exchanges in which the user asks for a fact that was never told."""


def training_conversations(count: int, seed: int = 0) -> list[Conversation]:
    """Generate whole conversations of the training split that end with the assistant. Equal seeds give equal ones."""
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
        tell_facts(talk)
        chat(talk, rng.choices((0, 1, 2, 3, 4), (40, 28, 16, 10, 6))[0])
        _ask_facts(talk)
    else:
        chat(talk, rng.choices((1, 2, 3, 4, 5, 6, 7), (22, 22, 20, 15, 10, 6, 5))[0])
    if rng.random() < 0.15:
        talk.part()
    last = 2 * MAX_EXCHANGES + (talk.messages[0]["role"] == "system")
    return talk.messages[:last]


def chat(talk: Talk, exchanges: int) -> None:
    """Append a number of exchanges about the world, and some questions for facts that were never told."""
    for _ in range(exchanges):
        if talk.rng.random() < NEVER_TOLD:
            talk.ask_fact(_untold(talk))
        else:
            talk.chat_once()


def tell_facts(talk: Talk) -> None:
    """Let the user tell one to four facts, sometimes with other exchanges between and a correction in the end."""
    rng = talk.rng
    least = 0 if talk.known else 1
    kinds = _some_kinds(talk, max(least, rng.choices((0, 1, 2, 3, 4), (8, 34, 30, 18, 10))[0]))
    while kinds:
        together = rng.choices((1, 2, 3), (64, 28, 8))[0]
        group, kinds = kinds[:together], kinds[together:]
        talk.tell(group)
        if rng.random() < 0.2:
            talk.chat_once()
    if rng.random() < 0.15:
        talk.correct(KIND_BY_NAME[rng.choice(list(talk.known))])


def _some_kinds(talk: Talk, count: int) -> list[FactKind]:
    """Kinds of facts that are not told yet; often one that differs from another only in whom it is about."""
    kinds: list[FactKind] = []
    while len(kinds) < count:
        near = kinds and talk.rng.random() < 0.4
        kind = talk.rng.choice(families()[kinds[-1].family]) if near else any_kind(talk.rng)
        if talk.rng.random() < 0.12:
            kind = KIND_BY_NAME["name"]
        if kind not in kinds and kind.name not in talk.known:
            kinds.append(kind)
        elif near:
            kinds.append(_untold(talk, kinds))
    return kinds


def _ask_facts(talk: Talk) -> None:
    rng = talk.rng
    asked = [KIND_BY_NAME[name] for name in talk.known]
    asked = rng.sample(asked, min(len(asked), rng.choices((1, 2, 3), (45, 37, 18))[0]))
    if rng.random() < 0.45:
        asked.insert(rng.randrange(len(asked) + 1), _untold(talk))
    for kind in asked:
        if len(talk.said) < MAX_EXCHANGES:
            talk.ask_fact(kind)


def _untold(talk: Talk, besides: Collection[FactKind] = ()) -> FactKind:
    """A kind of fact that was not told; half the time one like those that were, about another person or thing."""
    while True:
        told = [KIND_BY_NAME[name] for name in talk.known]
        near = told and talk.rng.random() < 0.5
        kind = talk.rng.choice(families()[talk.rng.choice(told).family]) if near else any_kind(talk.rng)
        if kind.name not in talk.known and kind not in besides:
            return kind
