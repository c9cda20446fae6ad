"""A bundle as a Python object: chats, completions and scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from tinylm.chat_format import Conversation, Message, encode_prompt, encode_turn
from tinylm.errors import BundleError, ContextFullError
from tinylm.manifest import TOKENIZER_FILE, SpecialTokens, read_manifest, verify_files_once
from tinylm.runtime.demo import DEMO_BUNDLE as DEMO_BUNDLE
from tinylm.runtime.generation import Generation, Result
from tinylm.runtime.sampling import Sampler, SamplingOptions
from tinylm.runtime.session import Decoder, open_bundle
from tinylm.runtime.threads import best_threads
from tinylm.tokenizer import Tokenizer


class ChatModel:
    """A loaded bundle.

    Three lines to a streamed reply::

        chat = ChatModel("my-bundle").start_chat()
        for text in chat.send("Hello! Who are you?"):
            print(text, end="", flush=True)

    Args:
        bundle: the folder; None for the demo model in the box.
        threads: CPU threads; 0 takes as many as are fastest, see `tinylm.runtime.threads`.

    Attributes:
        manifest: of the bundle.
        tokenizer: of the bundle.
        session: the loaded model.

    Raises:
        BundleError: the folder is no whole bundle, or onnxruntime refuses it.
    """

    def __init__(self, bundle: str | PathLike[str] | None = None, *, threads: int = 0) -> None:
        folder = DEMO_BUNDLE if bundle is None else Path(bundle)
        self.manifest = read_manifest(folder)
        verify_files_once(folder, self.manifest)
        self.tokenizer = Tokenizer.load(folder / TOKENIZER_FILE)
        if special_tokens(self.tokenizer) != self.manifest.special_tokens:
            raise BundleError(f"{fspath(folder)}: its tokenizer and its manifest disagree; export the bundle again")
        self.session = open_bundle(folder, self.manifest, threads or best_threads(folder, self.manifest))

    def default_options(self, **changes: Any) -> SamplingOptions:
        """The bundle's sampling defaults, with those changes that are not None."""
        defaults = self.manifest.sampling
        values: dict[str, Any] = {
            "temperature": defaults.temperature,
            "top_k": defaults.top_k,
            "top_p": defaults.top_p,
            "max_new_tokens": defaults.max_new_tokens,
        }
        values.update({name: value for name, value in changes.items() if value is not None})
        return SamplingOptions(**values)

    def start_chat(self, system: str | None = None, options: SamplingOptions | None = None) -> Chat:
        """A new conversation on this model.

        Conversations and completions on one model may take turns, but not run at the same time: they share its cache.
        """
        return Chat(self.session, self.tokenizer, system, options or self.default_options())

    def complete(
        self,
        prompt: str,
        options: SamplingOptions | None = None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> Generation:
        """Go on with a raw text.

        Raises:
            ContextFullError: the prompt does not fit.
        """
        ids = [self.tokenizer.bos_id, *self.tokenizer.encode(prompt)]
        sampler = Sampler(options or self.default_options(), self.tokenizer.never_sampled)
        return Generation(self.session, self.tokenizer, ids, sampler, should_stop)


class Chat:
    """A conversation: its turns stay token ids, and each reply prefills only what is new.

    A full context drops the oldest whole exchanges and keeps the system message; `dropped_messages` counts them.

    Args:
        decoder: the model; others may use its cache between two replies.
        tokenizer: of that model.
        system: the system message, if any.
        options: how replies are sampled; random numbers go on from turn to turn.

    Attributes:
        messages: the conversation so far, system message included, also what the model no longer sees.
        dropped_messages: how many of the oldest messages after the system message the model no longer sees.
        last_result: figures of the last reply.
    """

    def __init__(self, decoder: Decoder, tokenizer: Tokenizer, system: str | None, options: SamplingOptions) -> None:
        self._decoder, self._tokenizer = decoder, tokenizer
        self._sampler = Sampler(options, tokenizer.never_sampled)
        self.messages: Conversation = []
        self.dropped_messages = 0
        self.last_result: Result | None = None
        self._opening = [tokenizer.bos_id]
        # The ids of every message after the system message
        self._turns: list[list[int]] = []
        if system:
            message: Message = {"role": "system", "content": system}
            self.messages.append(message)
            self._opening += encode_turn(tokenizer, message)[0]
            if len(self._opening) >= decoder.context_length // 2:
                raise ContextFullError(
                    f"the system message has {len(self._opening):,} tokens: more than half of the context of "
                    f"{decoder.context_length:,}; shorten it"
                )

    @property
    def context_used(self) -> int:
        """Tokens of the context that the conversation takes."""
        used = len(self._opening) + sum(len(ids) for ids in self._turns[self.dropped_messages :])
        return min(used, self.context_length)

    @property
    def context_length(self) -> int:
        """Tokens that the model sees at once."""
        return self._decoder.context_length

    def clear(self) -> None:
        """Forget everything but the system message."""
        self.messages = [message for message in self.messages[:1] if message["role"] == "system"]
        self._turns = []
        self.dropped_messages = 0
        self.last_result = None

    def send(self, text: str, should_stop: Callable[[], bool] = lambda: False) -> Iterator[str]:
        """Say something and get the reply as it is generated.

        Nothing happens before the first piece is asked for. A reply that is cancelled, by `should_stop` or by closing
        the iterator, stays in the conversation as far as it came.

        Raises:
            ContextFullError: the text alone does not fit; the conversation is as before.
        """
        message: Message = {"role": "user", "content": text}
        turn = encode_turn(self._tokenizer, message)[0]
        self._make_room(len(turn) + 1)
        return self._stream(message, turn, should_stop)

    def _stream(self, message: Message, turn: list[int], should_stop: Callable[[], bool]) -> Iterator[str]:
        assistant = self._tokenizer.role_ids["assistant"]
        dropped = self._make_room(len(turn) + 1)
        history = [id_ for ids in self._turns[dropped:] for id_ in ids]
        prompt = [*self._opening, *history, *turn, assistant]
        generation = Generation(self._decoder, self._tokenizer, prompt, self._sampler, should_stop)
        self.messages.append(message)
        self._turns.append(turn)
        self.dropped_messages = dropped
        try:
            yield from generation
        finally:
            result = generation.result
            self.last_result = result
            self.messages.append({"role": "assistant", "content": result.reply})
            self._turns.append([assistant, *result.ids, self._tokenizer.eos_id])

    def _make_room(self, wanted: int) -> int:
        """How many of the oldest messages must go so that `wanted` tokens and a reply fit."""
        context = self._decoder.context_length
        reserve = min(self._sampler.options.max_new_tokens, context // 4)
        if len(self._opening) + wanted >= context:
            raise ContextFullError(
                f"the message has {wanted:,} tokens, but the context of {context:,} has room for "
                f"{context - len(self._opening) - 1:,}: shorten it"
            )
        dropped = self.dropped_messages
        while dropped < len(self._turns):
            used = len(self._opening) + sum(len(ids) for ids in self._turns[dropped:])
            if used + wanted + reserve <= context:
                break
            # Whole exchanges: a user's message goes with the reply to it
            dropped += 1
            while dropped < len(self._turns) and self._turns[dropped][0] != self._tokenizer.role_ids["user"]:
                dropped += 1
        return dropped


def reply_to(decoder: Decoder, tokenizer: Tokenizer, conversation: Conversation, options: SamplingOptions) -> str:
    """The reply to a conversation that ends with a user's message.

    Raises:
        ContextFullError: the conversation does not fit.
    """
    prompt = encode_prompt(tokenizer, conversation)
    generation = Generation(decoder, tokenizer, prompt, Sampler(options, tokenizer.never_sampled))
    return "".join(generation)


def special_tokens(tokenizer: Tokenizer) -> SpecialTokens:
    """The ids of a tokenizer's control symbols, as a manifest lists them."""
    return SpecialTokens(bos=tokenizer.bos_id, eos=tokenizer.eos_id, **tokenizer.role_ids)
