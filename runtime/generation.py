"""The generation loop, for chats, completions, evaluation and the server."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Literal

from tinylm.errors import ContextFullError
from tinylm.runtime.constraint import constraint_of
from tinylm.runtime.logprobs import LogprobRecorder, TokenLogprob, log_softmax
from tinylm.runtime.sampling import TokenSampler
from tinylm.runtime.session import PREFILL_CHUNK, Decoder
from tinylm.tokenizer import StreamDecoder, Tokenizer

FinishReason = Literal["stop", "length", "context", "cancelled"]


@dataclass(frozen=True)
class Result:
    """A finished reply or completion.

    Attributes:
        reply: its text.
        ids: its token ids, without `<eos>` and without a stop text and what follows it.
        prompt_tokens: tokens of the whole prompt, with reused ones.
        reused_tokens: tokens of the prompt that were in the cache already.
        completion_tokens: generated tokens, with `<eos>`.
        finish_reason: stop (the model generated `<eos>`, or a stop text), length (`max_new_tokens`), context (the
            context is full) or cancelled.
        time_to_first_token_s: seconds from the start to the first generated token.
        decode_tokens_per_second: speed after the first token; 0 where there is no second.
    """

    reply: str
    ids: list[int]
    prompt_tokens: int
    reused_tokens: int
    completion_tokens: int
    finish_reason: FinishReason
    time_to_first_token_s: float
    decode_tokens_per_second: float


class Generation:
    """Generate text: iterate once for the pieces, then read `result`.

    Args:
        decoder: the model. The common prefix of its cache and the prompt is not computed again.
        tokenizer: the model's tokenizer.
        prompt: token ids of the whole prompt.
        sampler: chooses the tokens.
        should_stop: called between two tokens and between two chunks of the prompt; True cancels.
        logprobs: records the log-probabilities of the tokens.

    Raises:
        ContextFullError: the prompt leaves no room for a single token.
        ConfigError: while iterating, the constraint of the reply cannot be enforced.
    """

    def __init__(
        self,
        decoder: Decoder,
        tokenizer: Tokenizer,
        prompt: Sequence[int],
        sampler: TokenSampler,
        should_stop: Callable[[], bool] = lambda: False,
        logprobs: LogprobRecorder | None = None,
    ) -> None:
        if len(prompt) >= decoder.context_length:
            raise ContextFullError(
                f"the prompt has {len(prompt):,} tokens, but the model's context holds {decoder.context_length:,} "
                "with the reply: shorten it"
            )
        self._decoder, self._tokenizer, self._sampler = decoder, tokenizer, sampler
        self._prompt, self._should_stop, self._logprobs = prompt, should_stop, logprobs
        self._scored = logprobs is not None and logprobs.with_prompt
        self._certain = 0
        self._result: Result | None = None
        self._ids: list[int] = []
        self._reason: FinishReason = "cancelled"
        self._first_token: float | None = None
        self._generated = 0

    @property
    def result(self) -> Result:
        """The finished reply, after the iteration has ended."""
        if self._result is None:
            raise RuntimeError("the generation has not finished: iterate over it first")
        return self._result

    @property
    def certain_logprobs(self) -> Sequence[TokenLogprob]:
        """Recorded tokens of the reply whose whole text was yielded, so that no stop text can remove them."""
        return self._logprobs.reply[: self._certain] if self._logprobs is not None else ()

    def __iter__(self) -> Iterator[str]:
        """Generate the reply in pieces of whole characters; joined they are `result.reply`."""
        with closing(self.steps()) as steps:
            for piece in steps:
                if piece:
                    yield piece

    def steps(self) -> Generator[str, None, None]:
        """Generate one step at a time, so that several generations can take turns.

        A step is a chunk of the prompt or a token of the reply. Its piece is empty where it adds no text yet.
        """
        stream = TextStream(self._tokenizer, self._sampler.options.stop, _reply_prefix(self._tokenizer, self._prompt))
        started = time.perf_counter()
        # At most all tokens but the last, which gives the logits
        reused = keep_common_start(self._decoder, () if self._scored else self._prompt[:-1])
        pieces: list[str] = []
        finished = False
        try:
            for token in self._tokens(reused):
                piece = "" if token is None else stream.feed(token)
                pieces.append(piece)
                if self._logprobs is not None and stream.complete:
                    self._certain = len(self._ids)
                yield piece
                if stream.stopped:
                    self._reason = "stop"
                    break
            rest = stream.finish()
            if rest:
                pieces.append(rest)
                yield rest
            finished = not stream.stopped
        finally:
            ended = time.perf_counter()
            decoding = ended - (self._first_token or ended)
            reply = "".join(pieces)
            ids = self._ids if finished else _ids_of_start(self._tokenizer, self._ids, stream.skipped + reply)
            self._certain = _common_length(ids, self._ids)
            self._result = Result(
                reply=reply,
                ids=ids,
                prompt_tokens=len(self._prompt),
                reused_tokens=reused,
                completion_tokens=self._generated,
                finish_reason=self._reason,
                time_to_first_token_s=(self._first_token or ended) - started,
                decode_tokens_per_second=(self._generated - 1) / decoding
                if self._generated > 1 and decoding > 0
                else 0.0,
            )

    def _tokens(self, reused: int) -> Iterator[int | None]:
        """Generate tokens to the end of the reply, and set `_reason`; yields None between chunks of the prompt."""
        decoder, sampler, ends = self._decoder, self._sampler, self._tokenizer.ends
        constraint = constraint_of(self._tokenizer, sampler.options)
        last = yield from self._prefill(reused)
        if last is None:
            return
        logits = decoder.append(last)
        while not self._should_stop():
            logprobs = None if self._logprobs is None else log_softmax(logits)
            if constraint is not None:
                constraint.restrict(logits)
            token = sampler.choose(logits, decoder.ids, self._ids)
            self._generated += 1
            if self._first_token is None:
                self._first_token = time.perf_counter()
            if token in ends:
                if self._logprobs is not None and logprobs is not None:
                    self._logprobs.add_end(token, logprobs)
                self._reason = "stop"
                return
            self._ids.append(token)
            if self._logprobs is not None and logprobs is not None:
                self._logprobs.add(token, logprobs)
            if constraint is not None:
                constraint.feed(token)
            yield token
            if self._generated == sampler.options.max_new_tokens:
                self._reason = "length"
                return
            if decoder.length == decoder.context_length:
                self._reason = "context"
                return
            logits = decoder.append([token])

    def _prefill(self, reused: int) -> Generator[None, None, Sequence[int] | None]:
        """Append the prompt to the sequence except for its last chunk.

        The chunks are single tokens where the prompt is scored, as a chunk gives the logits of its last token only.

        Returns:
            the last chunk; None where the generation was cancelled.
        """
        prompt, recorder = self._prompt, self._logprobs if self._scored else None
        size = PREFILL_CHUNK if recorder is None else 1
        chunks = range(reused, len(prompt), size)
        if recorder is not None:
            recorder.begin(prompt[0])
        for start in chunks[:-1]:
            logits = self._decoder.append(prompt[start : start + size])
            if recorder is not None:
                recorder.add_prompt(prompt[start + 1], logits)
            yield None
            if self._should_stop():
                return None
        return prompt[chunks[-1] :]


def keep_common_start(decoder: Decoder, ids: Sequence[int]) -> int:
    """Truncate the cache to the common prefix of its tokens and the given ones.

    Returns:
        the length of the prefix.
    """
    common = _common_length(decoder.ids, ids)
    decoder.truncate(common)
    return common


def _common_length(one: Sequence[int], other: Sequence[int]) -> int:
    """Length of the common prefix of two sequences."""
    common = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        common += 1
    return common


class TextStream:
    """Decode tokens to text as they are generated, up to the first stop text.

    Args:
        tokenizer: the tokenizer of the tokens.
        stop: texts that end the text and are not part of it. Text that may be the beginning of one is held back.
        prefix: text at the beginning that is not part of it.

    Attributes:
        skipped: the prefix, once it was found.
        stopped: whether a stop text was found.
    """

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str], prefix: str = "") -> None:
        self._decoder = StreamDecoder(tokenizer)
        self._stop = tuple(stop)
        self._prefix = prefix
        self._held = ""
        self.skipped = ""
        self.stopped = False

    def feed(self, token: int) -> str:
        """Take a token; return the text that is final now, in whole characters."""
        text = self._decoder.feed((token,))
        if text and self._prefix:
            self.skipped = self._prefix if text.startswith(self._prefix) else ""
            self._prefix, text = "", text.removeprefix(self._prefix)
        return self._until_stop(text) if self._stop else text

    def finish(self) -> str:
        """Return the text that was held back, at the end of the tokens."""
        if self.stopped:
            return ""
        text = self._until_stop(self._decoder.finish())
        return text if self.stopped else text + self._held

    @property
    def complete(self) -> bool:
        """Whether all text of the tokens so far was returned, and nothing is held back."""
        return not self._held and not self.stopped and not self._decoder.pending

    def _until_stop(self, text: str) -> str:
        text = self._held + text
        found = [place for place in (text.find(stop) for stop in self._stop) if place >= 0]
        if found:
            self.stopped = True
            return text[: min(found)]
        held = max((_common_end(text, stop) for stop in self._stop), default=0)
        self._held = text[len(text) - held :]
        return text[: len(text) - held]


def _common_end(text: str, stop: str) -> int:
    """Length of the longest end of `text` that is a proper beginning of `stop`."""
    return next((size for size in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:size])), 0)


def _reply_prefix(tokenizer: Tokenizer, prompt: Sequence[int]) -> str:
    """What a reply to a prompt begins with and is not part of its text; nothing where the prompt opens no reply."""
    turn = tokenizer.chat_format.assistant
    return turn.prefix if turn.prefix and list(prompt[-len(turn.before) :]) == turn.before else ""


def _ids_of_start(tokenizer: Tokenizer, ids: Sequence[int], text: str) -> list[int]:
    """Token ids of `text`, a prefix of the text of `ids`: those ids up to the last border, then newly encoded."""
    stream, length = StreamDecoder(tokenizer), 0
    for kept, id_ in enumerate(ids):
        piece = stream.feed((id_,))
        if length + len(piece) > len(text):
            return [*ids[:kept], *tokenizer.encode(text[length:])]
        length += len(piece)
    return list(ids)
