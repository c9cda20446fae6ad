"""A conversation with a model, kept as token ids, and what to do when its context is full."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Generator, Sequence
from itertools import chain
from typing import Literal, get_args

from tinylm.chat_format import ChatFormat, Conversation, Message, Role, encode_conversation, encode_prompt, encode_turn
from tinylm.errors import ConfigError, ContextFullError, TinyLMError
from tinylm.runtime.generation import Generation, Result, keep_common_start
from tinylm.runtime.sampling import SamplingOptions, TokenSampler
from tinylm.runtime.session import Decoder
from tinylm.tokenizer import Tokenizer

_ID = "i"

WhenFull = Literal["drop", "stop", "error"]
"""What to do with a message that leaves no room for a reply.

drop: remove the oldest exchanges from the model's context, but not the system message.
stop: do not send the message; the result's `finish_reason` is "context".
error: do not send the message; raise `ContextFullError`.
"""


class Chat:
    """A conversation. Each reply prefills only the tokens that are not in the model's cache yet.

    Args:
        decoder: the model. Other conversations may use it between two replies.
        tokenizer: the model's tokenizer.
        system: the system message, if any.
        options: how to sample replies. The random number generator keeps its state from turn to turn.
        when_full: see `WhenFull`.

    Attributes:
        messages: all messages, with the system message and those that are no longer in the model's context.
        dropped_messages: number of the oldest messages after the system message that are no longer in the context.
        last_result: the result of the last reply; None before the first.
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
        # Token ids of <bos> and the system message, and of each message after it
        self._opening = self._encode_opening(system)
        self._turns: list[array[int]] = []
        if system:
            self.messages.append({"role": "system", "content": system})

    @property
    def options(self) -> SamplingOptions:
        """How replies are sampled; can be set between two replies."""
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
        """Tokens of the conversation that are in the model's context."""
        return min(self._used(self.dropped_messages), self.context_length)

    @property
    def context_length(self) -> int:
        """Number of tokens that the model's context holds."""
        return self._decoder.context_length

    def set_system(self, system: str | None) -> None:
        """Replace or remove (None) the system message; the other messages stay.

        Raises:
            ContextFullError: it takes more than half of the context, or the conversation no longer fits and `when_full`
                is not "drop"; nothing was changed.
        """
        opening = self._encode_opening(system)
        self._check_fit(opening, self._turns)
        turns = self.messages[self._first_turn :]
        self._opening = opening
        if turns and self._format.merges_system:
            self._turns[0] = self._encode(turns[0], bool(system))
        self.messages = [{"role": "system", "content": system}, *turns] if system else turns
        self._drop_what_does_not_fit()

    def clear(self) -> None:
        """Remove all messages but the system message."""
        del self.messages[self._first_turn :]
        self._turns = []
        self.dropped_messages = 0
        self.last_result = None

    def restore(self, messages: Sequence[Message]) -> None:
        """Replace this conversation by an earlier one.

        Args:
            messages: as in the attribute `messages`; only the first may be a system message.

        Raises:
            ContextFullError: its system message takes more than half of the context, or it does not fit and `when_full`
                is not "drop"; this conversation is unchanged.
            TinyLMError: a message after the first is a system message; this conversation is unchanged.
        """
        has_system = bool(messages) and messages[0]["role"] == "system"
        turns = messages[1:] if has_system else messages
        if any(message["role"] == "system" for message in turns):
            raise TinyLMError("a system message must be the first of a conversation")
        opening = self._encode_opening(messages[0]["content"] if has_system else None)
        encoded = [self._encode(message, has_system and place == 0) for place, message in enumerate(turns)]
        self._check_fit(opening, encoded)
        self._opening, self._turns = opening, encoded
        self.messages = [message.copy() for message in messages]
        self.last_result = None
        self._drop_what_does_not_fit()

    def undo(self) -> str | None:
        """Remove the user's last message and all messages after it.

        Returns:
            the message; None where there is none.
        """
        place = self._last_user_turn()
        if place is None:
            return None
        text = self.messages[self._first_turn + place]["content"]
        self._cut(place)
        self.last_result = None
        self._drop_what_does_not_fit()
        return text

    def retry(self, should_stop: Callable[[], bool] = lambda: False) -> Generator[str, None, None]:
        """Generate another reply to the user's last message. The first iteration removes the earlier reply.

        Args:
            should_stop: see `send`.

        Raises:
            TinyLMError: there is no message of the user's.
        """
        if self._last_user_turn() is None:
            raise TinyLMError("there is no message to reply to yet")
        return self._stream(None, should_stop)

    def send(self, text: str, should_stop: Callable[[], bool] = lambda: False) -> Generator[str, None, None]:
        """Send a message and generate the reply to it.

        The message is added at the first iteration. If `should_stop` or closing the iterator cancels the reply, the
        conversation keeps the part that was generated.

        Args:
            text: the message.
            should_stop: called between two tokens and between two chunks of the prompt; True cancels the reply.

        Returns:
            the reply in pieces of whole characters.

        Raises:
            ContextFullError: the message alone does not fit, or `when_full` is "error" and the context is full; the
                conversation is unchanged.
            TinyLMError: the message is empty.
        """
        if not text.strip():
            raise TinyLMError("the message is empty")
        self._check_length(text, "message")
        message: Message = {"role": "user", "content": text}
        turn = self._encode_next(message)
        try:
            self._dropped_for(turn, len(self._turns))
        except _NoRoomLeftError as error:
            if self.when_full == "error":
                raise
            return self._refuse(error.prompt_tokens)
        return self._stream((message, turn), should_stop)

    def has_room_for(self, text: str) -> bool:
        """Whether `send` would send this message: it fits, alone and beside those that `when_full` does not drop."""
        try:
            self._check_length(text, "message")
            self._dropped_for(self._encode_next({"role": "user", "content": text}), len(self._turns))
        except ContextFullError:
            return False
        return True

    def prepare(self) -> None:
        """Prefill the tokens before the next message's text, while the user types: the next reply begins sooner."""
        prompt = self._prompt(self.dropped_messages, len(self._turns))
        if not (self._merges_system and len(self._turns) == self.dropped_messages):
            prompt += self._format.user.before
        if len(prompt) <= self.context_length:
            new = prompt[keep_common_start(self._decoder, prompt) :]
            if new:
                self._decoder.append(new)

    def _stream(
        self, new: tuple[Message, array[int]] | None, should_stop: Callable[[], bool]
    ) -> Generator[str, None, None]:
        """Reply to a new message with its ids, or (None) again to the user's last message."""
        place = len(self._turns) if new else self._last_user_turn()
        assert place is not None
        message, turn = new or (self.messages[self._first_turn + place], self._turns[place])
        reply = self._format.assistant
        dropped = self._dropped_for(turn, place)
        prompt = [*self._prompt(dropped, place, turn), *reply.before]
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
            self._turns.append(array(_ID, [*reply.before, *result.ids, *reply.after]))

    def _prompt(self, dropped: int, place: int, turn: Sequence[int] = ()) -> list[int]:
        """Token ids of the opening, of the turns from `dropped` up to `place`, and of one more."""
        ids = [*chain.from_iterable(self._turns[dropped:place]), *turn]
        if dropped and self._merges_system:
            # The system message stands in the first turn that is left, as it stood in the first of all
            del ids[: len(self._format.user.before)]
        return [*self._opening, *ids]

    def _refuse(self, prompt_tokens: int) -> Generator[str, None, None]:
        """Record the result of a message that is not sent; generates nothing."""
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
        """How many of the oldest messages to drop so that a turn after the first `place` ones, and a reply, fit.

        Raises:
            ContextFullError: the turn alone does not fit.
            _NoRoomLeftError: it does not fit beside the others, and `when_full` is not "drop".
        """
        context = self._decoder.context_length
        opened = len(self._format.assistant.before)
        wanted = len(turn) + opened
        if len(self._opening) + wanted >= context:
            raise ContextFullError(
                f"the message has {wanted:,} tokens, but the context of {context:,} has room for "
                f"{context - len(self._opening) - opened:,}: shorten it"
            )
        dropped = min(self.dropped_messages, place)
        used = self._used(dropped, place) + wanted
        if self.when_full != "drop":
            if used >= context:
                raise _NoRoomLeftError(used, context)
            return dropped
        longest = self._sampler.options.max_new_tokens
        reserve = context // 4 if longest == -1 else min(longest, context // 4)
        if used + reserve <= context:
            return dropped
        # An eighth more than needed, or each further turn would drop some and prefill all the rest again
        return self._first_that_fits(dropped, place, context - context // 8 - reserve - wanted)

    def _next_exchange(self, start: int, end: int) -> int:
        """The turn after `start` that begins an exchange: the user's next message, or `end`."""
        return next((place for place in range(start + 1, end) if self._role(place) == "user"), end)

    def _first_that_fits(self, start: int, end: int, room: int) -> int:
        """The first exchange from `start` on whose turns up to `end`, with the opening, take at most `room` tokens."""
        used = self._used(start, end)
        while start < end and used > room:
            following = self._next_exchange(start, end)
            used -= sum(map(len, self._turns[start:following]))
            start = following
        return start

    def _drop_what_does_not_fit(self) -> None:
        """Set `dropped_messages` to the least number with which the conversation fits into the context."""
        self.dropped_messages = self._first_that_fits(0, len(self._turns), self.context_length)

    def _used(self, dropped: int, place: int | None = None) -> int:
        """Number of tokens of the opening and of the turns from `dropped` up to `place`."""
        return len(self._opening) + sum(map(len, self._turns[dropped:place]))

    def _last_user_turn(self) -> int | None:
        return next((place for place in reversed(range(len(self._turns))) if self._role(place) == "user"), None)

    def _role(self, place: int) -> Role:
        return self.messages[self._first_turn + place]["role"]

    def _cut(self, place: int) -> None:
        """Keep only the first `place` turns."""
        del self._turns[place:]
        del self.messages[self._first_turn + place :]

    @property
    def _format(self) -> ChatFormat:
        return self._tokenizer.chat_format

    @property
    def _merges_system(self) -> bool:
        """Whether the user's first turn goes on from the system message."""
        return self._format.merges_system and self.system is not None

    @property
    def _first_turn(self) -> int:
        """Index in `messages` of the first message that is not the system message."""
        return 1 if self.messages and self.messages[0]["role"] == "system" else 0

    def _encode(self, message: Message, follows_system: bool) -> array[int]:
        return array(_ID, encode_turn(self._tokenizer, message, follows_system=follows_system))

    def _encode_next(self, message: Message) -> array[int]:
        return self._encode(message, self.system is not None and not self._turns)

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
                f"the conversation has {used:,} tokens, but the context holds {self.context_length:,}, and with "
                f"when-full {self.when_full} no message is dropped"
            )

    def _check_length(self, text: str, kind: str) -> None:
        """Refuse a text that is too long for the context by its bytes: tokenizing megabytes takes long."""
        least = self._tokenizer.least_tokens(text)
        if least >= self.context_length:
            raise ContextFullError(
                f"the {kind} has {least:,} tokens or more, but the context holds {self.context_length:,}: shorten it"
            )


class _NoRoomLeftError(ContextFullError):
    """The message fits into the context, but not beside the conversation."""

    def __init__(self, prompt_tokens: int, context_length: int) -> None:
        self.prompt_tokens = prompt_tokens
        super().__init__(
            f"the context is full: with this message the conversation has {prompt_tokens:,} tokens of "
            f"{context_length:,}; clear it, undo a turn, or use when-full drop"
        )


def reply_to(decoder: Decoder, tokenizer: Tokenizer, conversation: Conversation, options: SamplingOptions) -> str:
    """Generate the whole reply to a conversation that ends with a message of the user's.

    Raises:
        ContextFullError: the conversation does not fit.
    """
    prompt = encode_prompt(tokenizer, conversation)
    return "".join(Generation(decoder, tokenizer, prompt, TokenSampler.of(tokenizer, options)))
