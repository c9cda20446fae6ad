"""A conversation with a model: turns stay token ids, and a full context follows a policy."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Generator, Sequence
from itertools import chain
from typing import Literal, get_args

from tinylm.chat_format import Conversation, Message, encode_conversation, encode_prompt, encode_turn
from tinylm.errors import ConfigError, ContextFullError, TinyLMError
from tinylm.runtime.generation import Generation, Result, keep_common_start
from tinylm.runtime.sampling import SamplingOptions, TokenSampler
from tinylm.runtime.session import Decoder
from tinylm.tokenizer import Tokenizer

_ID = "i"

WhenFull = Literal["drop", "stop", "error"]
"""What happens to a message that leaves no room for a reply: the oldest whole exchanges are dropped from what the model
sees and the system message stays; or the message is not sent, and the reply's `finish_reason` is "context"; or the same
with a `ContextFullError`."""


class Chat:
    """A conversation: its turns stay token ids, and each reply prefills only what is new.

    Args:
        decoder: the model; others may use its cache between two replies.
        tokenizer: of that model.
        system: the system message, if any.
        options: how replies are sampled; random numbers go on from turn to turn.
        when_full: see `WhenFull`.

    Attributes:
        messages: the conversation so far, system message included, also what the model no longer sees.
        dropped_messages: how many of the oldest messages after the system message the model no longer sees.
        last_result: figures of the last reply.
        when_full: see `WhenFull`.

    Raises:
        ContextFullError: the system message takes more than half of the context.
    """

    def __init__(
        self,
        decoder: Decoder,
        tokenizer: Tokenizer,
        system: str | None,
        options: SamplingOptions,
        when_full: WhenFull = "drop",
    ) -> None:
        if when_full not in get_args(WhenFull):
            raise ConfigError(f"when-full must be one of {', '.join(get_args(WhenFull))}, not {when_full}")
        self._decoder, self._tokenizer = decoder, tokenizer
        self._sampler = TokenSampler.of(tokenizer, options)
        self.when_full = when_full
        self.messages: Conversation = []
        self.dropped_messages = 0
        self.last_result: Result | None = None
        # The ids of <bos> and the system message, and those of every message after it, packed: a chat may be long
        self._opening = self._encode_opening(system)
        self._turns: list[array[int]] = []
        if system:
            self.messages.append({"role": "system", "content": system})

    @property
    def options(self) -> SamplingOptions:
        """How replies are sampled; may be set between two of them."""
        return self._sampler.options

    @options.setter
    def options(self, options: SamplingOptions) -> None:
        self._sampler.options = options

    @property
    def system(self) -> str | None:
        """The system message, if any."""
        return self.messages[0]["content"] if self._first_turn else None

    @property
    def context_used(self) -> int:
        """Tokens of the context that the conversation takes."""
        return min(self._used(self.dropped_messages), self.context_length)

    @property
    def context_length(self) -> int:
        """Tokens that the model sees at once."""
        return self._decoder.context_length

    def set_system(self, system: str | None) -> None:
        """Replace the system message, or remove it. The conversation stays.

        Raises:
            ContextFullError: it takes more than half of the context, or the conversation no longer fits and nothing may
                be dropped; all is as before.
        """
        opening = self._encode_opening(system)
        self._check_fit(opening, self._turns)
        turns = self.messages[self._first_turn :]
        self._opening = opening
        self.messages = [{"role": "system", "content": system}, *turns] if system else turns
        self._see_as_much_as_fits()

    def clear(self) -> None:
        """Forget everything but the system message."""
        del self.messages[self._first_turn :]
        self._turns = []
        self.dropped_messages = 0
        self.last_result = None

    def restore(self, messages: Sequence[Message]) -> None:
        """Go on with an earlier conversation in place of this one.

        Args:
            messages: as in `messages`; if there is a system message, it is the first.

        Raises:
            ContextFullError: its system message takes more than half of the context, or it does not fit and nothing may
                be dropped; this conversation stays.
            TinyLMError: a system message is not the first; likewise.
        """
        has_system = bool(messages) and messages[0]["role"] == "system"
        turns = messages[1:] if has_system else messages
        if any(message["role"] == "system" for message in turns):
            raise TinyLMError("a system message must be the first of a conversation")
        opening = self._encode_opening(messages[0]["content"] if has_system else None)
        encoded = [self._encode(message) for message in turns]
        self._check_fit(opening, encoded)
        self._opening, self._turns = opening, encoded
        self.messages = [message.copy() for message in messages]
        self.last_result = None
        self._see_as_much_as_fits()

    def undo(self) -> str | None:
        """Take back the last message of the user's, with the reply to it.

        Returns:
            the message; None where there is none.
        """
        place = self._last_user_turn()
        if place is None:
            return None
        text = self.messages[self._first_turn + place]["content"]
        self._cut(place)
        self.last_result = None
        self._see_as_much_as_fits()
        return text

    def retry(self, should_stop: Callable[[], bool] = lambda: False) -> Generator[str, None, None]:
        """Reply anew to the user's last message; the earlier reply goes when the first piece is asked for.

        Raises:
            TinyLMError: there is no message of the user's.
        """
        if self._last_user_turn() is None:
            raise TinyLMError("there is no message to reply to yet")
        return self._stream(None, should_stop)

    def send(self, text: str, should_stop: Callable[[], bool] = lambda: False) -> Generator[str, None, None]:
        """Say something and get the reply as it is generated.

        Nothing happens before the first piece is asked for. A reply that is cancelled, by `should_stop` or by closing
        the iterator, stays in the conversation as far as it came.

        Raises:
            ContextFullError: the text alone does not fit, or there is no room for it and `when_full` is "error"; the
                conversation is as before.
            TinyLMError: the text is empty.
        """
        if not text.strip():
            raise TinyLMError("the message is empty")
        self._check_length(text, "message")
        message: Message = {"role": "user", "content": text}
        turn = self._encode(message)
        try:
            self._dropped_for(turn, len(self._turns))
        except _NoRoomLeftError as error:
            if self.when_full == "error":
                raise
            return self._refuse(error.prompt_tokens)
        return self._stream((message, turn), should_stop)

    def has_room_for(self, text: str) -> bool:
        """Whether a message would be sent: False where `when_full` has it refused, or it does not fit by itself."""
        try:
            self._check_length(text, "message")
            self._dropped_for(self._encode({"role": "user", "content": text}), len(self._turns))
        except ContextFullError:
            return False
        return True

    def prepare(self) -> None:
        """Prefill what the next message begins with, whatever it says: for the time while the user types.

        It makes the next first token come sooner, and changes nothing else.
        """
        prompt = [*self._prompt(self.dropped_messages, len(self._turns)), self._tokenizer.role_ids["user"]]
        if len(prompt) <= self.context_length:
            new = prompt[keep_common_start(self._decoder, prompt) :]
            if new:
                self._decoder.append(new)

    def _stream(
        self, new: tuple[Message, array[int]] | None, should_stop: Callable[[], bool]
    ) -> Generator[str, None, None]:
        """Reply to a new message and its ids, or anew to the user's last."""
        place = len(self._turns) if new else self._last_user_turn()
        assert place is not None
        message, turn = new or (self.messages[self._first_turn + place], self._turns[place])
        assistant = self._tokenizer.role_ids["assistant"]
        dropped = self._dropped_for(turn, place)
        prompt = [*self._prompt(dropped, place), *turn, assistant]
        generation = Generation(self._decoder, self._tokenizer, prompt, self._sampler, should_stop)
        self._cut(place)
        self.messages.append(message)
        self._turns.append(turn)
        self.dropped_messages = dropped
        try:
            yield from generation
        finally:
            result = generation.result
            self.last_result = result
            self.messages.append({"role": "assistant", "content": result.reply})
            self._turns.append(array(_ID, [assistant, *result.ids, self._tokenizer.eos_id]))

    def _prompt(self, dropped: int, place: int) -> list[int]:
        """The ids of the opening and of the turns from `dropped` up to `place`."""
        return [*self._opening, *chain.from_iterable(self._turns[dropped:place])]

    def _refuse(self, prompt_tokens: int) -> Generator[str, None, None]:
        """The reply to a message that is not sent: none."""
        self.last_result = Result(
            reply="",
            ids=[],
            prompt_tokens=prompt_tokens,
            reused_tokens=0,
            completion_tokens=0,
            finish_reason="context",
            time_to_first_token_s=0.0,
            decode_tokens_per_second=0.0,
        )
        yield from ()

    def _dropped_for(self, turn: Sequence[int], place: int) -> int:
        """How many of the oldest messages must go so that a turn after the first `place` ones, and a reply, fit.

        Raises:
            ContextFullError: the turn alone does not fit.
            _NoRoomLeftError: it does not fit beside the others, and none may go.
        """
        context = self._decoder.context_length
        wanted = len(turn) + 1
        if len(self._opening) + wanted >= context:
            raise ContextFullError(
                f"the message has {wanted:,} tokens, but the context of {context:,} has room for "
                f"{context - len(self._opening) - 1:,}: shorten it"
            )
        dropped = min(self.dropped_messages, place)
        used = self._used(dropped, place) + wanted
        if self.when_full != "drop":
            if used >= context:
                raise _NoRoomLeftError(used, context)
            return dropped
        reserve = min(self._sampler.options.max_new_tokens, context // 4)
        if used + reserve <= context:
            return dropped
        # Some more than must go: otherwise each turn from now on would drop some and prefill all the rest again
        room = context - context // 8 - reserve - wanted
        while dropped < place and self._used(dropped, place) > room:
            dropped = self._next_exchange(dropped, place)
        return dropped

    def _next_exchange(self, start: int, end: int) -> int:
        """Where the next whole exchange begins: a user's message goes with the reply to it."""
        user = self._tokenizer.role_ids["user"]
        return next((place for place in range(start + 1, end) if self._turns[place][0] == user), end)

    def _see_as_much_as_fits(self) -> None:
        """Choose anew which of the oldest messages the model does not see."""
        self.dropped_messages = 0
        while self.dropped_messages < len(self._turns) and self._used(self.dropped_messages) > self.context_length:
            self.dropped_messages = self._next_exchange(self.dropped_messages, len(self._turns))

    def _used(self, dropped: int, place: int | None = None) -> int:
        """Tokens of the opening and of the turns from `dropped` up to `place`."""
        return len(self._opening) + sum(map(len, self._turns[dropped:place]))

    def _last_user_turn(self) -> int | None:
        user = self._tokenizer.role_ids["user"]
        return next((place for place in reversed(range(len(self._turns))) if self._turns[place][0] == user), None)

    def _cut(self, place: int) -> None:
        """Keep only the first `place` turns."""
        del self._turns[place:]
        del self.messages[self._first_turn + place :]

    @property
    def _first_turn(self) -> int:
        """The index in `messages` of the first that is no system message."""
        return 1 if self.messages and self.messages[0]["role"] == "system" else 0

    def _encode(self, message: Message) -> array[int]:
        return array(_ID, encode_turn(self._tokenizer, message))

    def _encode_opening(self, system: str | None) -> list[int]:
        if not system:
            return encode_conversation(self._tokenizer, [])
        self._check_length(system, "system message")
        opening = encode_conversation(self._tokenizer, [{"role": "system", "content": system}])
        if len(opening) >= self.context_length // 2:
            raise ContextFullError(
                f"the system message has {len(opening):,} tokens: more than half of the context of "
                f"{self.context_length:,}; shorten it"
            )
        return opening

    def _check_fit(self, opening: Sequence[int], turns: Sequence[Sequence[int]]) -> None:
        used = len(opening) + sum(map(len, turns))
        if self.when_full != "drop" and used > self.context_length:
            raise ContextFullError(
                f"the conversation has {used:,} tokens, but the context holds {self.context_length:,}, and none of its "
                "turns may be dropped"
            )

    def _check_length(self, text: str, kind: str) -> None:
        """Refuse what cannot fit before it is tokenized, which takes long for megabytes."""
        least = self._tokenizer.least_tokens(text)
        if least >= self.context_length:
            raise ContextFullError(
                f"the {kind} has {least:,} tokens or more, but the context holds {self.context_length:,}: shorten it"
            )


class _NoRoomLeftError(ContextFullError):
    """There is room for the message in the context, but not beside the conversation."""

    def __init__(self, prompt_tokens: int, context_length: int) -> None:
        self.prompt_tokens = prompt_tokens
        super().__init__(
            f"the context is full: with this message the conversation has {prompt_tokens:,} tokens of "
            f"{context_length:,}; clear it, take a turn back, or let the oldest turns be dropped"
        )


def reply_to(decoder: Decoder, tokenizer: Tokenizer, conversation: Conversation, options: SamplingOptions) -> str:
    """The reply to a conversation that ends with a user's message.

    Raises:
        ContextFullError: the conversation does not fit.
    """
    prompt = encode_prompt(tokenizer, conversation)
    generation = Generation(decoder, tokenizer, prompt, TokenSampler.of(tokenizer, options))
    return "".join(generation)
