"""The generation loop: one for chat, completion, evaluation and server."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from tinylm.errors import ContextFullError
from tinylm.runtime.sampling import Sampler
from tinylm.runtime.session import Decoder
from tinylm.tokenizer import StreamDecoder, Tokenizer

FinishReason = Literal["stop", "length", "context", "cancelled"]


@dataclass(frozen=True)
class Result:
    """A finished reply or completion.

    Attributes:
        reply: its text.
        ids: its token ids, without `<eos>`.
        prompt_tokens: tokens of the whole prompt, reused ones included.
        reused_tokens: tokens of the prompt that were in the cache already.
        completion_tokens: tokens generated, `<eos>` included.
        finish_reason: stop (the model ended), length (max_new_tokens), context (no room left) or cancelled.
        time_to_first_token_s: from the start to the first generated token, in seconds.
        decode_tokens_per_second: of the tokens after the first; 0 where there is none.
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
    """Text as it is generated: iterate over it once, then read `result`.

    Args:
        decoder: the model; what its cache and the prompt begin with in common is not computed again.
        tokenizer: of that model.
        prompt: the whole prompt's ids.
        sampler: chooses tokens.
        should_stop: asked between two tokens and between two chunks of the prompt; True cancels.

    Raises:
        ContextFullError: the prompt leaves no room for a single token.
    """

    def __init__(
        self,
        decoder: Decoder,
        tokenizer: Tokenizer,
        prompt: Sequence[int],
        sampler: Sampler,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> None:
        if len(prompt) >= decoder.context_length:
            raise ContextFullError(
                f"the prompt has {len(prompt):,} tokens, but the model's context holds {decoder.context_length:,} "
                "with the reply: shorten it"
            )
        self._decoder, self._tokenizer, self._sampler = decoder, tokenizer, sampler
        self._prompt, self._should_stop = prompt, should_stop
        self._result: Result | None = None

    @property
    def result(self) -> Result:
        """The finished reply; iterate to the end first."""
        if self._result is None:
            raise RuntimeError("the generation has not finished: iterate over it first")
        return self._result

    def __iter__(self) -> Iterator[str]:
        """Generate, in pieces of whole characters; joined they are `result.reply`."""
        decoder, tokenizer = self._decoder, self._tokenizer
        stream = StreamDecoder(tokenizer)
        started = time.perf_counter()
        first_token: float | None = None
        reused = self._keep_common_start()
        ids: list[int] = []
        pieces: list[str] = []
        generated = 0
        reason: FinishReason = "cancelled"
        try:
            logits = decoder.append(self._prompt[reused:], self._should_stop)
            while logits is not None and not self._should_stop():
                token = self._sampler.choose(logits)
                generated += 1
                if first_token is None:
                    first_token = time.perf_counter()
                if token == tokenizer.eos_id:
                    reason = "stop"
                    break
                ids.append(token)
                piece = stream.feed([token])
                pieces.append(piece)
                if piece:
                    yield piece
                if generated == self._sampler.options.max_new_tokens:
                    reason = "length"
                    break
                if decoder.length == decoder.context_length:
                    reason = "context"
                    break
                logits = decoder.append([token])
            rest = stream.finish()
            if rest:
                pieces.append(rest)
                yield rest
        finally:
            ended = time.perf_counter()
            decoding = ended - first_token if first_token is not None else 0.0
            self._result = Result(
                reply="".join(pieces),
                ids=ids,
                prompt_tokens=len(self._prompt),
                reused_tokens=reused,
                completion_tokens=generated,
                finish_reason=reason,
                time_to_first_token_s=(first_token or ended) - started,
                decode_tokens_per_second=(generated - 1) / decoding if generated > 1 and decoding > 0 else 0.0,
            )

    def _keep_common_start(self) -> int:
        """Cut the cache to what it and the prompt have in common, leaving at least one token to compute."""
        common = 0
        for cached, wanted in zip(self._decoder.ids, self._prompt[:-1], strict=False):
            if cached != wanted:
                break
            common += 1
        self._decoder.truncate(common)
        return common
