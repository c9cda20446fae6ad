"""Right or wrong: what a reply to a question of the test must and must not say, and the score of a model on many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

from tinylm.chat_format import Conversation
from tinylm.data.world.generator import training_conversations
from tinylm.data.world.intents import Groups, all_intents
from tinylm.data.world.phrasings import normal

CATEGORIES = ("itself", "talk", "known", "told_listed", "told_unseen", "not_known")
LONGEST_REPLY_WORDS = 40
CONSTANT_REPLIES = 300
_DECLINING = (
    "do not know that",
    "i do not know for",
    "that i do not know",
    "do not understand",
    "cannot do",
    "not told me",
)
"""What a reply says only where Pip knows no answer."""


@dataclass(frozen=True)
class WorldItem:
    """One conversation of the test.

    Attributes:
        category: one of `CATEGORIES`.
        name: of the block that it comes from.
        turns: what the user says, in turn; the reply to the last one is judged.
        required: a right reply has a word or phrase of each group.
        forbidden: words and phrases that a right reply does not have.
        system: the system message, or "".
    """

    category: str
    name: str
    turns: tuple[str, ...]
    required: Groups
    forbidden: tuple[str, ...] = ()
    system: str = ""

    def judge(self, reply: str) -> bool:
        """Whether this reply is right, whatever its capitals."""
        text = f" {normal(reply)} "
        if not 0 < len(text.split()) <= LONGEST_REPLY_WORDS:
            return False
        forbidden = self.forbidden if self.category == "not_known" else (*self.forbidden, *_DECLINING)
        if any(f" {normal(word)} " in text for word in forbidden):
            return False
        return all(any(f" {normal(word)} " in text for word in group) for group in self.required)


@dataclass(frozen=True)
class WorldScore:
    """The score of a model on test items.

    Attributes:
        accuracy: share of right replies.
        recall_accuracy: the same over the told facts, listed and unseen; 0.0 where there are none.
        by_category: the same for each category that has items.
        baseline_accuracy: share of items for which the best constant reply is right.
        n: number of items.
        failures: the conversations that went wrong, each with its item and ending with the reply.
    """

    accuracy: float
    recall_accuracy: float
    by_category: dict[str, float]
    baseline_accuracy: float
    n: int
    failures: list[tuple[WorldItem, Conversation]]


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


def play(reply: Callable[[Conversation], str], item: WorldItem) -> Conversation:
    """The conversation of an item, every turn answered by the model."""
    conversation: Conversation = [{"role": "system", "content": item.system}] if item.system else []
    for turn in item.turns:
        conversation.append({"role": "user", "content": turn})
        conversation.append({"role": "assistant", "content": reply(conversation)})
    return conversation


def score_world(
    reply: Callable[[Conversation], str], items: Sequence[WorldItem], played: Callable[[], None] = lambda: None
) -> WorldScore:
    """Score a model's replies.

    Args:
        reply: returns the assistant's reply to a conversation that ends with a user's turn.
        items: from `test_items`.
        played: called after each item.
    """
    right: Counter[str] = Counter()
    failures: list[tuple[WorldItem, Conversation]] = []
    for item in items:
        conversation = play(reply, item)
        if item.judge(conversation[-1]["content"]):
            right[item.category] += 1
        else:
            failures.append((item, conversation))
        played()
    counts = Counter(item.category for item in items)
    told = ("told_listed", "told_unseen")
    return WorldScore(
        accuracy=_share(right, counts, CATEGORIES),
        recall_accuracy=_share(right, counts, told),
        by_category={name: _share(right, counts, (name,)) for name in CATEGORIES if counts[name]},
        baseline_accuracy=baseline_accuracy(items),
        n=len(items),
        failures=failures,
    )


def _share(right: Counter[str], counts: Counter[str], categories: Sequence[str]) -> float:
    """The share of right replies over some categories; 0.0 where they have no items."""
    count = sum(counts[name] for name in categories)
    return sum(right[name] for name in categories) / count if count else 0.0
