"""Judge replies to test items, and score a model on them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

from tinylm.chat_format import Conversation
from tinylm.data.world.generator import training_conversations
from tinylm.data.world.intents import Groups, all_intents
from tinylm.data.world.phrasings import normal

LONGEST_REPLY_WORDS = 40
CONSTANT_REPLIES = 300


def says(reply: str, required: Groups, forbidden: frozenset[str]) -> bool:
    """Whether a reply has a word or phrase of each required group and no forbidden word, in any case."""
    text = normal(reply)
    words = text.split()
    if not words or len(words) > LONGEST_REPLY_WORDS or not forbidden.isdisjoint(words):
        return False
    padded = f" {text} "
    return all(any(f" {normal(word)} " in padded for word in group) for group in required)


@dataclass(frozen=True)
class WorldItem:
    """One question of the test split.

    Attributes:
        conversation: the prompt; it ends with a user turn.
        kind: "fact" asks about the world, "recall" about something said earlier in the conversation.
        intent: the name of the intent, or of the kind of fact.
        expected: an example of a right reply.
        required: a right reply has a word or phrase of each group.
        forbidden: single lower-case words that a right reply does not have.
        distance: in a recall item, how many exchanges stand between the telling and the asking.
    """

    conversation: Conversation
    kind: Literal["fact", "recall"]
    intent: str
    expected: str
    required: Groups
    forbidden: frozenset[str]
    distance: int = 0

    def judge(self, reply: str) -> bool:
        """Whether this reply is right."""
        return says(reply, self.required, self.forbidden)


@dataclass(frozen=True)
class WorldScore:
    """The score of a model on test items.

    Attributes:
        accuracy: share of right replies.
        recall_accuracy: share of right replies to recall items; 0.0 without any.
        baseline_accuracy: share of items for which the best constant reply is right.
        n: number of items.
        failures: items with wrong replies, each with the reply.
    """

    accuracy: float
    recall_accuracy: float
    baseline_accuracy: float
    n: int
    failures: list[tuple[WorldItem, str]]


@cache
def constant_replies() -> tuple[str, ...]:
    """Candidates for the best constant reply: the most frequent replies of a sample, and one of each intent."""
    counts = Counter(
        message["content"]
        for conversation in training_conversations(2000, seed=1)
        for message in conversation
        if message["role"] == "assistant"
    )
    commonest = [reply for reply, _ in counts.most_common(CONSTANT_REPLIES)]
    fixed = [intent.replies[0] for intent in all_intents().values()]
    return tuple(dict.fromkeys([*commonest, *fixed]))


def baseline_accuracy(items: Sequence[WorldItem]) -> float:
    """Compute the accuracy of the best constant reply; 0.0 without items."""
    if not items:
        return 0.0
    return max(sum(item.judge(reply) for item in items) for reply in constant_replies()) / len(items)


def score_world(reply: Callable[[Conversation], str], items: Sequence[WorldItem]) -> WorldScore:
    """Score a model's replies.

    Args:
        reply: returns the assistant's reply to a conversation that ends with a user's turn.
        items: from `test_items`.
    """
    failures: list[tuple[WorldItem, str]] = []
    for item in items:
        said = reply(item.conversation)
        if not item.judge(said):
            failures.append((item, said))
    recalls = sum(item.kind == "recall" for item in items)
    lost_recalls = sum(item.kind == "recall" for item, _ in failures)
    return WorldScore(
        accuracy=1 - len(failures) / len(items) if items else 0.0,
        recall_accuracy=1 - lost_recalls / recalls if recalls else 0.0,
        baseline_accuracy=baseline_accuracy(items),
        n=len(items),
        failures=failures,
    )
