"""Generate the training conversations."""

from __future__ import annotations

import random

from tinylm.chat_format import Conversation
from tinylm.data.world.intents import all_intents
from tinylm.data.world.recall import KIND_BY_NAME
from tinylm.data.world.recall_kinds import KINDS, FactKind
from tinylm.data.world.talk import Talk

MAX_EXCHANGES = 8
RECALL_CONVERSATIONS = 0.45
SYSTEM_CONVERSATIONS = 0.18


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
    """Append a number of exchanges about the world."""
    for _ in range(exchanges):
        talk.chat_once()


def tell_facts(talk: Talk) -> None:
    """Let the user tell one to four facts, sometimes with other exchanges between and a correction in the end."""
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
