"""Accuracy of a model on a suite: minimal pairs in BLiMP's manner, and multiple choice.

Each option is a raw text after `<bos>` and the item's context. The model's answer is the option whose tokens have the
highest log-likelihood in total, as in BLiMP and in the `acc` of lm-evaluation-harness; of multiple-choice items also
the one with the highest log-likelihood a byte (`acc_norm` there), as options may differ in length.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from tinylm.data.suites import SuiteItem
from tinylm.reply_ranking import hit
from tinylm.runtime.generation import keep_common_start
from tinylm.runtime.session import Decoder
from tinylm.tokenizer import Tokenizer


@dataclass(frozen=True)
class ScoredItem:
    """An item, and whether the model answers it right.

    Attributes:
        item: the item.
        right: 1 where the right option has the highest log-likelihood, 0 where it has not; with several highest ones
            the share of a random choice among them.
        right_by_byte: the same for the log-likelihood a byte.
    """

    item: SuiteItem
    right: float
    right_by_byte: float


@dataclass(frozen=True)
class SuiteScore:
    """Answers to items of a suite.

    Attributes:
        answers: to each item that fits the context.
    """

    answers: Sequence[ScoredItem]

    @property
    def accuracy(self) -> float:
        """Share of right answers."""
        return fmean(answer.right for answer in self.answers)

    @property
    def chance(self) -> float:
        """What a random choice would reach."""
        return fmean(1 / len(answer.item.options) for answer in self.answers)

    @property
    def standard_error(self) -> float:
        """Standard error of the accuracy, as of independent items; 0 for one item."""
        count, mean = len(self.answers), self.accuracy
        if count < 2:
            return 0.0
        return math.sqrt(math.fsum((answer.right - mean) ** 2 for answer in self.answers) / (count - 1) / count)

    @property
    def accuracy_by_byte(self) -> float | None:
        """Share of right answers by the log-likelihood a byte; None for whole sentences."""
        if not any(answer.item.context for answer in self.answers):
            return None
        return fmean(answer.right_by_byte for answer in self.answers)

    def by_phenomenon(self) -> dict[str, SuiteScore]:
        """The answers of each phenomenon, in the order of the suite."""
        groups: dict[str, list[ScoredItem]] = {}
        for answer in self.answers:
            groups.setdefault(answer.item.phenomenon, []).append(answer)
        return {name: SuiteScore(answers) for name, answers in groups.items()}

    def as_json(self) -> dict[str, Any]:
        """All figures as plain values, without any text of an item."""
        return {
            **self._figures(),
            "by_phenomenon": {name: score._figures() for name, score in self.by_phenomenon().items()},
        }

    def _figures(self) -> dict[str, Any]:
        return {
            "accuracy": self.accuracy,
            "standard_error": self.standard_error,
            "accuracy_by_byte": self.accuracy_by_byte,
            "chance": self.chance,
            "n": len(self.answers),
        }


def score_suite(
    decoder: Decoder,
    continuation_losses: Callable[[Sequence[Sequence[int]]], Sequence[float]],
    tokenizer: Tokenizer,
    items: Sequence[SuiteItem],
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> SuiteScore:
    """ScoredItem the items of a suite.

    Args:
        decoder: the model token by token; its sequence is overwritten.
        continuation_losses: summed negative log-likelihood, in nats, of each of several continuations of it.
        tokenizer: of the model.
        items: an item that does not fit the context is left out.
        progress: receives how many items are done, and how many there are.
    """
    answers: list[ScoredItem] = []
    for number, item in enumerate(items, 1):
        prompt = [tokenizer.bos_id, *tokenizer.encode(item.context)]
        texts = [f" {option}" if item.context else option for option in item.options]
        options = tokenizer.encode_batch(texts)
        if len(prompt) + max(map(len, options)) <= decoder.context_length:
            start = keep_common_start(decoder, prompt[:-1])
            decoder.append(prompt[start:])
            scores = [-loss for loss in continuation_losses(options)]
            by_byte = [score / len(text.encode()) for score, text in zip(scores, texts, strict=True)]
            answers.append(ScoredItem(item, hit(scores), hit(by_byte)))
        progress(number, len(items))
    return SuiteScore(answers)
