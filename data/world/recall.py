"""Questions about facts that users told earlier, and which of them are in the test split."""

from __future__ import annotations

import random

from tinylm.data.world.phrasings import WorldSplit, dress, fraction, normal, surround
from tinylm.data.world.recall_kinds import KINDS, FactKind

HELD_OUT_QUESTIONS = 0.13
KIND_BY_NAME = {kind.name: kind for kind in KINDS}


def is_held_out_question(kind: str, value: str, question: str) -> bool:
    """Whether a question about a value ("" if it was never told) is in the test split."""
    return fraction(f"recall:{kind}:{value}:{normal(question)}") < HELD_OUT_QUESTIONS


def recall_question(rng: random.Random, kind: FactKind, value: str, split: WorldSplit, vocative: bool = True) -> str:
    """Draw a question about a fact; the combination of value and question is of the given split."""
    while True:
        _, text = surround(rng, kind.asks, vocative)
        if is_held_out_question(kind.name, value, text) == (split == "test"):
            return dress(rng, text)


def other_values(kind: FactKind, value: str) -> frozenset[str]:
    """The values, in lower case, that a right reply does not name, given the right value ("" for none)."""
    return frozenset(other.lower() for other in kind.values if other != value)
