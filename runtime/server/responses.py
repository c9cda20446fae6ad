"""Response bodies of OpenAI's completions and chat completions, whole and streamed."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Protocol

from tinylm.runtime.generation import FinishReason, Result
from tinylm.runtime.logprobs import TokenLogprob
from tinylm.runtime.server.errors import ApiError
from tinylm.runtime.server.logprob_formats import chat_logprobs, completion_logprobs
from tinylm.runtime.server.models import ServedModel
from tinylm.runtime.server.replies import Job, Piece
from tinylm.runtime.server.sse import DONE, event

FINISH: dict[FinishReason, str] = {"stop": "stop", "length": "length", "context": "length", "cancelled": "length"}
"""Finish reasons in OpenAI's words; a reply that the time limit ends is as long as it may be, too."""


class Answer(Protocol):
    """How an API responds to one request.

    Attributes:
        media_type: of a streamed response.
    """

    media_type: str

    def whole(self, jobs: Sequence[Job]) -> dict[str, Any]:
        """The body of a response that is not streamed."""
        ...

    def begin(self) -> bytes:
        """What a stream begins with."""
        ...

    def pieces(self, pieces: Sequence[Piece]) -> bytes:
        """More text in a stream."""
        ...

    def end(self, jobs: Sequence[Job]) -> bytes:
        """The end of a stream whose replies are finished."""
        ...

    def failed(self, error: ApiError) -> bytes:
        """The end of a stream that failed."""
        ...


class OpenAIAnswer:
    """What chats and completions have in common.

    Args:
        model: that replies.
        id_prefix: of the response's id.
        include_usage: whether a stream ends with the numbers of tokens.
    """

    media_type = "text/event-stream; charset=utf-8"
    kind: str
    chunk_kind: str

    def __init__(self, model: ServedModel, id_prefix: str, include_usage: bool) -> None:
        self._tokenizer, self._include_usage = model.tokenizer, include_usage
        self._head = {"id": f"{id_prefix}-{uuid.uuid4().hex}", "created": int(time.time()), "model": model.name}

    def failed(self, error: ApiError) -> bytes:
        """See `Answer`."""
        return event(error.body) + DONE

    def _body(self, choices: Sequence[dict[str, Any]], usage: dict[str, Any]) -> dict[str, Any]:
        return {"object": self.kind, **self._head, "choices": choices, "usage": usage}

    def _event(self, *choices: dict[str, Any], **more: Any) -> bytes:
        return event({"object": self.chunk_kind, **self._head, "choices": choices, **more})

    def _end(self, usage: dict[str, Any]) -> bytes:
        return (self._event(usage=usage) if self._include_usage else b"") + DONE


class ChatAnswer(OpenAIAnswer):
    """A response to a chat request.

    Args:
        model: that replies.
        count: number of replies.
        include_usage: whether a stream ends with the numbers of tokens.
        with_logprobs: whether log-probabilities were asked for.
    """

    kind, chunk_kind = "chat.completion", "chat.completion.chunk"

    def __init__(self, model: ServedModel, count: int, include_usage: bool, with_logprobs: bool) -> None:
        super().__init__(model, "chatcmpl", include_usage)
        self._count, self._with_logprobs = count, with_logprobs

    def whole(self, jobs: Sequence[Job]) -> dict[str, Any]:
        """See `Answer`."""
        choices = []
        for index, job in enumerate(jobs):
            result = result_of(job)
            message = {"role": "assistant", "content": result.reply, "refusal": None}
            logprobs = self._logprobs(job.logprobs)
            finish = FINISH[result.finish_reason]
            choices.append({"index": index, "message": message, "logprobs": logprobs, "finish_reason": finish})
        return self._body(choices, usage_of(jobs, len(jobs)))

    def begin(self) -> bytes:
        """See `Answer`."""
        said = {"role": "assistant", "content": "", "refusal": None}
        return b"".join(self._event(self._choice(index, said)) for index in range(self._count))

    def pieces(self, pieces: Sequence[Piece]) -> bytes:
        """See `Answer`."""
        return b"".join(
            self._event(self._choice(piece.index, {"content": piece.text}, self._logprobs(piece.logprobs)))
            for piece in pieces
        )

    def end(self, jobs: Sequence[Job]) -> bytes:
        """See `Answer`."""
        ends = [
            self._event(self._choice(index, {}, finish=FINISH[result_of(job).finish_reason]))
            for index, job in enumerate(jobs)
        ]
        timing = timing_of(jobs[0]) if len(jobs) == 1 else {}
        return b"".join(ends) + self._end({**usage_of(jobs, len(jobs)), **timing})

    def _choice(
        self, index: int, delta: dict[str, Any], logprobs: dict[str, Any] | None = None, finish: str | None = None
    ) -> dict[str, Any]:
        return {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}

    def _logprobs(self, entries: Sequence[TokenLogprob]) -> dict[str, Any] | None:
        return {"content": chat_logprobs(self._tokenizer, entries), "refusal": None} if self._with_logprobs else None


@dataclass(frozen=True)
class CompletionForm:
    """What a completion request wants of its response.

    Attributes:
        echoes: the text of each prompt, which the choices begin with; empty texts where it is not wanted.
        added: for each prompt, how many tokens precede it that the request does not hold.
        n: choices for each prompt.
        best_of: replies for each prompt, of which the `n` likeliest are returned.
        alternatives: to list at each place with the log-probabilities; None lists none of both.
        include_usage: whether a stream ends with the numbers of tokens.
    """

    echoes: Sequence[str]
    added: Sequence[int]
    n: int = 1
    best_of: int = 1
    alternatives: int | None = None
    include_usage: bool = False


class CompletionAnswer(OpenAIAnswer):
    """A response to a completion request.

    Args:
        model: that replies.
        form: what was asked for.
        jobs: the replies, `best_of` for each prompt, in the order of the prompts.
    """

    kind = chunk_kind = "text_completion"

    def __init__(self, model: ServedModel, form: CompletionForm, jobs: Sequence[Job]) -> None:
        super().__init__(model, "cmpl", form.include_usage)
        self._form, self._jobs = form, jobs
        self._offsets: dict[int, int] = {}

    def whole(self, jobs: Sequence[Job]) -> dict[str, Any]:
        """See `Answer`."""
        form = self._form
        choices: list[dict[str, Any]] = []
        for number in range(len(form.echoes)):
            replies = jobs[number * form.best_of : (number + 1) * form.best_of]
            if form.best_of > form.n:
                replies = sorted(replies, key=mean_logprob, reverse=True)[: form.n]
            for job in replies:
                result = result_of(job)
                text = form.echoes[number] + result.reply
                logprobs = self._logprobs([*self._echoed(number, job), *job.logprobs, *_end(job)], 0)
                choices.append(self._choice(len(choices), text, logprobs, FINISH[result.finish_reason]))
        return self._body(choices, usage_of(jobs, form.best_of))

    def begin(self) -> bytes:
        """See `Answer`."""
        return b""

    def pieces(self, pieces: Sequence[Piece]) -> bytes:
        """See `Answer`."""
        return b"".join(self._piece(piece.index, piece.text, piece.logprobs) for piece in pieces)

    def end(self, jobs: Sequence[Job]) -> bytes:
        """See `Answer`."""
        events = []
        for index, job in enumerate(jobs):
            if index not in self._offsets and self._form.echoes[index // self._form.n]:
                events.append(self._piece(index, "", ()))  # nothing was generated: the prompt is still to come
            logprobs = self._logprobs(_end(job), self._offsets.get(index, 0)) if _end(job) else None
            events.append(self._event(self._choice(index, "", logprobs, FINISH[result_of(job).finish_reason])))
        return b"".join(events) + self._end(usage_of(jobs, self._form.best_of))

    def _piece(self, index: int, text: str, logprobs: Sequence[TokenLogprob]) -> bytes:
        number = index // self._form.n
        offset = self._offsets.get(index)
        if offset is None:
            text = self._form.echoes[number] + text
            logprobs = [*self._echoed(number, self._jobs[index]), *logprobs]
        self._offsets[index] = (offset or 0) + len(text)
        return self._event(self._choice(index, text, self._logprobs(logprobs, offset or 0), None))

    def _echoed(self, number: int, job: Job) -> Iterator[TokenLogprob]:
        """The tokens of the prompt, where it is scored."""
        entries = job.recorder.prompt if job.recorder is not None else []
        yield from entries[self._form.added[number] :]

    def _choice(self, index: int, text: str, logprobs: dict[str, Any] | None, finish: str | None) -> dict[str, Any]:
        return {"index": index, "text": text, "logprobs": logprobs, "finish_reason": finish}

    def _logprobs(self, entries: Sequence[TokenLogprob], offset: int) -> dict[str, Any] | None:
        alternatives = self._form.alternatives
        return None if alternatives is None else completion_logprobs(self._tokenizer, entries, offset, alternatives)


def _end(job: Job) -> list[TokenLogprob]:
    """The `<eos>` of a reply, if it has one: in completions it is among the tokens, of which clients drop the last."""
    ended = job.recorder.end if job.recorder is not None and not job.task.prompt_only else None
    return [] if ended is None else [ended]


def result_of(job: Job) -> Result:
    """The result of a job that has ended without an error."""
    if job.result is None:
        raise RuntimeError("the job has no result")
    return job.result


def timing_of(job: Job) -> dict[str, float]:
    """The time that a reply took, in seconds and tokens per second; waiting for its turn not counted."""
    result = result_of(job)
    return {
        "time_to_first_token_s": result.time_to_first_token_s,
        "decode_tokens_per_second": result.decode_tokens_per_second,
    }


def mean_logprob(job: Job) -> float:
    """How likely a reply is, by the mean log-probability of its tokens, the one that ends it included."""
    entries = [*job.logprobs, *_end(job)]
    return fmean([entry.logprob or 0.0 for entry in entries]) if entries else float("-inf")


def usage_of(jobs: Sequence[Job], per_prompt: int) -> dict[str, Any]:
    """Numbers of tokens as OpenAI counts them: each prompt once, all replies.

    Args:
        jobs: that have ended.
        per_prompt: how many of them have the same prompt, one after the other.
    """
    results = [result_of(job) for job in jobs]
    prompts = sum(result.prompt_tokens for result in results[::per_prompt])
    replies = sum(result.completion_tokens for result in results)
    return {
        "prompt_tokens": prompts,
        "completion_tokens": replies,
        "total_tokens": prompts + replies,
        "prompt_tokens_details": {"cached_tokens": sum(result.reused_tokens for result in results[::per_prompt])},
    }
