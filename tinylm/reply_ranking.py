"""hits@1 of 10: how often the true reply to a conversation is found among ten.

This is "1 in 10 R@1" of Lowe et al. 2015 (arXiv:1506.08909), called hits@1 since Persona-Chat (Zhang et al. 2018,
arXiv:1801.07243). A reply's score under a model is the mean log-likelihood of its tokens after the conversation, its
`<eos>` included, as ParlAI ranks the candidates of generative models: a sum would prefer short replies.

The wrong replies come from other conversations of the same data, each as often as it occurs there, but equal replies
never compete. So a score that does not look at the conversation reaches the share of chance, and somewhat more where a
few replies are frequent.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

from tinylm.chat_format import Conversation
from tinylm.words import words_of

CANDIDATES = 10
CHANCE = 1 / CANDIDATES
DEFAULT_REPLIES = 200
"""Replies that are measured unless all are asked for."""

_DRAWS = 100


@dataclass(frozen=True)
class RankingTask:
    """A conversation, and replies of which one is its own.

    Attributes:
        context: the messages before the reply, at least one.
        candidates: `CANDIDATES` different replies of which the true one is the first; that one alone where other
            conversations have too few different ones.
    """

    context: Conversation
    candidates: tuple[str, ...]

    @property
    def true(self) -> str:
        """The true reply."""
        return self.candidates[0]


class _Reply(NamedTuple):
    """An assistant's message.

    Attributes:
        conversation, place: numbers of the conversation, and of the message in it.
        text: its text.
        key: equal for replies that differ in case and white space only; those never compete.
    """

    conversation: int
    place: int
    text: str
    key: str


def make_tasks(conversations: Sequence[Conversation], limit: int | None = None, seed: int = 0) -> list[RankingTask]:
    """Make a task of each reply to a message, in random order.

    Args:
        conversations: held-out conversations.
        limit: make only so many; None: all.
        seed: of the order and of the wrong replies. With the same conversations it gives the same tasks.
    """
    random = Random(seed)
    replies = [
        _Reply(number, place, message["content"], " ".join(message["content"].casefold().split()))
        for number, conversation in enumerate(conversations)
        for place, message in enumerate(conversation)
        if message["role"] == "assistant"
    ]
    chosen = [reply for reply in replies if reply.place]
    random.shuffle(chosen)
    enough = len({reply.key for reply in replies}) >= CANDIDATES
    return [
        RankingTask(
            conversations[true.conversation][: true.place],
            (true.text, *(_draw(true, replies, random) if enough else ())),
        )
        for true in chosen[:limit]
    ]


def hit(scores: Sequence[float]) -> float:
    """Whether the true reply, the first, has the highest score.

    Returns:
        1 or 0, or with several highest scores the true reply's share, 1 / their number: what a random choice among them
        would reach on average. A score that is not a number is the lowest.
    """
    numbers = [-math.inf if math.isnan(score) else score for score in scores]
    highest = max(numbers)
    return 1 / numbers.count(highest) if numbers[0] == highest else 0.0


class Baselines:
    """What rankings without a model reach. Each looks at words alone, and is made from the held-out replies.

    A candidate's own words are taken out of the counts that it is scored by, so that a true reply is not known less
    well than a wrong one.

    Args:
        conversations: as for `make_tasks`.
    """

    def __init__(self, conversations: Sequence[Conversation]) -> None:
        words = [
            words_of(message["content"])
            for conversation in conversations
            for message in conversation
            if message["role"] == "assistant"
        ]
        self._texts = Counter(map(tuple, words))
        self._words = Counter(word for reply in words for word in reply)
        self._total = self._words.total()
        self._replies = len(words)
        self._holding = Counter(word for reply in words for word in set(reply))

    def scores(self, task: RankingTask) -> Mapping[str, list[float]]:
        """Scores of the candidates by each baseline.

        Returns:
            by name: "unigram", the mean log-likelihood of a candidate's words by their frequency in other replies;
            "reply_frequency", how many other replies are equal to it; "word_overlap", the cosine of the words of
            candidate and conversation, weighted by TF-IDF (Lowe et al. 2015, section 4.1).
        """
        context = self._weighted([word for message in task.context for word in words_of(message["content"])])
        candidates = [words_of(candidate) for candidate in task.candidates]
        return {
            "unigram": [self._unigram(words) for words in candidates],
            "reply_frequency": [float(self._texts[tuple(words)]) for words in candidates],
            "word_overlap": [_cosine(context, self._weighted(words)) for words in candidates],
        }

    def _unigram(self, words: list[str]) -> float:
        own = Counter(words)
        total = self._total - len(words) + len(self._words) + 1  # with one more of each word, and an unknown one
        if not words:
            return -math.log(total)
        likelihoods = (count * math.log((self._words[word] - count + 1) / total) for word, count in own.items())
        return math.fsum(likelihoods) / len(words)

    def _weighted(self, words: list[str]) -> dict[str, float]:
        """TF-IDF of words."""
        return {
            word: count * math.log((self._replies + 1) / (self._holding[word] + 1))
            for word, count in Counter(words).items()
        }


def _draw(true: _Reply, replies: Sequence[_Reply], random: Random) -> list[str]:
    """Draw different replies of other conversations; none if there are too few."""
    found: dict[str, str] = {}

    def add(reply: _Reply) -> None:
        if len(found) < CANDIDATES - 1 and reply.conversation != true.conversation and reply.key != true.key:
            found.setdefault(reply.key, reply.text)

    for _ in range(_DRAWS):
        add(random.choice(replies))
    if len(found) < CANDIDATES - 1:  # most replies are the same few
        for reply in random.sample(replies, len(replies)):
            add(reply)
    return list(found.values()) if len(found) == CANDIDATES - 1 else []


def _cosine(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    lengths = math.sqrt(math.fsum(value * value for value in one.values()))
    lengths *= math.sqrt(math.fsum(value * value for value in other.values()))
    common = math.fsum(value * other[word] for word, value in one.items() if word in other)
    return common / lengths if lengths else 0.0
