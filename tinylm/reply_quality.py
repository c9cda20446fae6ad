"""How good a model's replies are: hits@1 of 10, repetition, and what is copied from the training data.

The replies are greedy, so that they do not depend on chance, and of at most `REPLY_TOKENS` tokens. In held-out
conversations, the true replies, cut to the same length, show what people do.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from tinylm.chat_format import (
    Conversation,
    Message,
    decode_turn,
    encode_conversation,
    encode_reply,
    encode_turn,
    find_turns,
)
from tinylm.copied_runs import CopiedRuns
from tinylm.evaluation import TokenSequences
from tinylm.repetition import repeated_share
from tinylm.reply_ranking import CANDIDATES, CHANCE, DEFAULT_REPLIES, Baselines, RankingTask, hit, make_tasks
from tinylm.runtime.generation import Generation, keep_common_start
from tinylm.runtime.sampling import SamplingOptions, TokenSampler
from tinylm.runtime.session import Decoder
from tinylm.tokenizer import Tokenizer

REPLY_TOKENS = 64
"""Most tokens of a reply that are ranked or generated; half of the context where that is less."""

_FEWEST = 10  # replies that are measured also when the time is over
_TEXTS_AT_ONCE = 256

Progress = Callable[[str, int, int], None]
"""Receives what is being measured, how much of it is done, and how much there is; 0 if that is not known."""


@dataclass(frozen=True)
class ReplyModel:
    """A model that replies.

    Attributes:
        decoder: the model token by token.
        continuation_losses: summed negative log-likelihood, in nats, of each of several continuations of the decoder's
            sequence.
        tokenizer: of the model.
    """

    decoder: Decoder
    continuation_losses: Callable[[Sequence[Sequence[int]]], Sequence[float]]
    tokenizer: Tokenizer


@dataclass(frozen=True)
class CopiedText:
    """The longest runs of words that replies share with the training data.

    Attributes:
        of_model: the longest in the model's replies.
        of_people: the longest in the true replies.
    """

    of_model: tuple[str, ...]
    of_people: tuple[str, ...]


@dataclass(frozen=True)
class ReplyQuality:
    """Quality of a model's replies in held-out conversations.

    Attributes:
        replies: number of replies that were generated.
        hits: `hit` of each reply that was ranked.
        baselines: hits@1 of 10 that rankings without a model reach, by name; empty where no reply was ranked.
        repetition: `repeated_share` of the model's replies; None where they are too short.
        repetition_of_people: the same of the true replies.
        copied: None where there was no training data to compare with.
    """

    replies: int
    hits: tuple[float, ...]
    baselines: Mapping[str, float]
    repetition: float | None
    repetition_of_people: float | None
    copied: CopiedText | None

    @property
    def hits_at_1(self) -> float | None:
        """Share of the replies that were found among ten; None where none was ranked."""
        return math.fsum(self.hits) / len(self.hits) if self.hits else None

    @property
    def standard_error(self) -> float | None:
        """Standard error of `hits_at_1`, as of independent replies; None where fewer than two were ranked."""
        count = len(self.hits)
        mean = self.hits_at_1
        if mean is None or count < 2:
            return None
        return math.sqrt(math.fsum((one - mean) ** 2 for one in self.hits) / (count - 1) / count)

    def as_json(self) -> dict[str, Any]:
        """The figures as plain values, without any text."""
        return {
            "replies": self.replies,
            "ranked": len(self.hits),
            "hits_at_1_of_10": self.hits_at_1,
            "hits_at_1_of_10_standard_error": self.standard_error,
            "hits_at_1_of_10_baseline": max(self.baselines.values(), default=None),
            "hits_at_1_of_10_baselines": dict(self.baselines),
            "repetition": self.repetition,
            "repetition_baseline": self.repetition_of_people,
            "longest_copied_run": None if self.copied is None else len(self.copied.of_model),
            "longest_copied_run_baseline": None if self.copied is None else len(self.copied.of_people),
        }


def conversations_of(sequences: TokenSequences, tokenizer: Tokenizer) -> list[Conversation]:
    """Decode the conversations among sequences of token ids; documents are left out."""
    conversations: list[Conversation] = []
    for start, end in sequences.spans():
        ids = sequences.ids[start:end]
        roles, starts = find_turns(tokenizer, ids)
        if starts[:1] == [0]:
            turns = zip(roles, starts, [*starts[1:], len(ids)], strict=True)
            conversations.append(
                [Message(role=role, content=decode_turn(tokenizer, role, ids[a:b].tolist())) for role, a, b in turns]
            )
    return conversations


def measure_replies(
    model: ReplyModel,
    conversations: Sequence[Conversation],
    *,
    limit: int | None = DEFAULT_REPLIES,
    training_texts: Iterable[str] | None = None,
    deadline: float = math.inf,
    fewest: int = _FEWEST,
    progress: Progress = lambda _name, _done, _all: None,
) -> ReplyQuality | None:
    """Measure the replies of a model in held-out conversations.

    Args:
        model: the model.
        conversations: the held-out conversations.
        limit: number of replies, chosen by a fixed seed; None: all.
        training_texts: what the model was trained on.
        deadline: when to stop, as of `time.monotonic`. From then on no reply is measured after the first `fewest`, and
            the training data is not compared if that is not done.
        fewest: number of replies that are measured also after the deadline.
        progress: receives how many replies are measured, and how many training texts are read.

    Returns:
        None if there is no reply to a message in the conversations.
    """
    tasks = make_tasks(conversations, limit)
    baselines = Baselines(conversations)
    hits: list[float] = []
    hits_of: dict[str, list[float]] = {"chance": []}
    generated: list[str] = []
    for task in tasks:
        if len(generated) >= fewest and time.monotonic() > deadline:
            break
        measured = _Replies(model, task)
        if len(task.candidates) == CANDIDATES:
            hits.append(hit(measured.scores()))
            hits_of["chance"].append(CHANCE)
            for name, scores in baselines.scores(task).items():
                hits_of.setdefault(name, []).append(hit(scores))
        generated.append(measured.generate())
        progress("replies", len(generated), len(tasks))
    if not generated:
        return None
    true = [_cut(model, task.true) for task in tasks[: len(generated)]]
    return ReplyQuality(
        replies=len(generated),
        hits=tuple(hits),
        baselines={name: math.fsum(values) / len(values) for name, values in hits_of.items() if values},
        repetition=repeated_share(generated),
        repetition_of_people=repeated_share(true),
        copied=None if training_texts is None else _compare(generated, true, training_texts, deadline, progress),
    )


class _Replies:
    """The candidates of a task under a model, and the model's own reply.

    Args:
        model: the model; its cache holds the conversation afterwards.
        task: the task.
    """

    def __init__(self, model: ReplyModel, task: RankingTask) -> None:
        self._model, self._task = model, task
        self._most = reply_tokens(model)
        self._prompt = fitting_prompt(model.tokenizer, task.context, model.decoder.context_length - self._most)

    def scores(self) -> list[float]:
        """Mean log-likelihood of each candidate's tokens, in nats."""
        decoder, tokenizer = self._model.decoder, self._model.tokenizer
        candidates = [encode_reply(tokenizer, text)[: self._most] for text in self._task.candidates]
        start = keep_common_start(decoder, self._prompt[:-1])
        decoder.append(self._prompt[start:])
        losses = self._model.continuation_losses(candidates)
        return [-loss / len(ids) for loss, ids in zip(losses, candidates, strict=True)]

    def generate(self) -> str:
        """The greedy reply."""
        greedy = SamplingOptions(temperature=0, max_new_tokens=self._most)
        sampler = TokenSampler.of(self._model.tokenizer, greedy)
        return "".join(Generation(self._model.decoder, self._model.tokenizer, self._prompt, sampler))


def reply_tokens(model: ReplyModel) -> int:
    """Most tokens of a reply that are ranked or generated."""
    return max(1, min(REPLY_TOKENS, model.decoder.context_length // 2))


def fitting_prompt(tokenizer: Tokenizer, conversation: Conversation, most: int) -> list[int]:
    """Encode a conversation up to the next reply, as much of it as fits.

    The system message and the last messages are kept, as in a chat; of a last message that is too long, its end.

    Args:
        tokenizer: encodes it.
        conversation: at least one message.
        most: tokens of the prompt, at least 3.
    """
    form = tokenizer.chat_format
    systems = 1 if conversation[0]["role"] == "system" else 0
    opening = encode_conversation(tokenizer, conversation[:systems])[: 1 + most // 2]
    turns = [
        encode_turn(tokenizer, message, follows_system=place < systems)
        for place, message in enumerate(conversation[systems:])
    ]
    room = most - len(opening) - len(form.assistant.before)
    kept: list[int] = []
    for turn in reversed(turns):
        if len(kept) + len(turn) > room:
            break
        kept = [*turn, *kept]
    if turns and not kept and room > 0:
        last, before = turns[-1], form.turn(conversation[-1]["role"]).before
        kept = [*before, *last[len(last) - room + len(before) :]][:room]
    return [*opening, *kept, *form.assistant.before]


def _cut(model: ReplyModel, text: str) -> str:
    """The part of a text that a generated reply could have."""
    return model.tokenizer.decode(model.tokenizer.encode(text)[: reply_tokens(model)])


def _compare(
    generated: Sequence[str], true: Sequence[str], training_texts: Iterable[str], deadline: float, progress: Progress
) -> CopiedText | None:
    """Find the longest runs in the training data; None if the time is over before its end."""
    runs = CopiedRuns([*generated, *true])
    read = 0
    texts = iter(training_texts)
    while some := list(islice(texts, _TEXTS_AT_ONCE)):
        if time.monotonic() > deadline:
            return None
        for text in some:
            runs.add(text)
        read += len(some)
        progress("training data", read, 0)
    longest = runs.longest()
    return CopiedText(
        of_model=max(longest[: len(generated)], key=len, default=()),
        of_people=max(longest[len(generated) :], key=len, default=()),
    )
