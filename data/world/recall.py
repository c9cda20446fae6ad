"""The questions for facts that users told earlier, and which of them only the test split has."""

from __future__ import annotations

import random

from tinylm.data.world.phrasings import Split, dress, fraction, normal, surround
from tinylm.data.world.recall_kinds import KINDS, FactKind

HELD_OUT_QUESTIONS = 0.13
KIND_BY_NAME = {kind.name: kind for kind in KINDS}


def is_held_out_question(kind: str, value: str, question: str) -> bool:
    """Whether this question for this value ("" where it was never told) belongs to the test split."""
    return fraction(f"recall:{kind}:{value}:{normal(question)}") < HELD_OUT_QUESTIONS


def recall_question(rng: random.Random, kind: FactKind, value: str, split: Split, vocative: bool = True) -> str:
    """What a user asks for a fact, from the split of this combination of value and question."""
    while True:
        _, text = surround(rng, kind.asks, vocative)
        if is_held_out_question(kind.name, value, text) == (split == "test"):
            return dress(rng, text)


def other_values(kind: FactKind, value: str) -> frozenset[str]:
    """The values, in lower case, that a reply must not name when the right one is this ("" for none)."""
    return frozenset(other.lower() for other in kind.values if other != value)
