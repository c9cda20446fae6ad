"""The Python interface of a bundle: chats and completions."""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from tinylm.chat_format import encode_text_prompt
from tinylm.errors import BundleError, ContextFullError
from tinylm.manifest import SpecialTokens, read_manifest, verify_files_once
from tinylm.runtime.chat import Chat, WhenFull
from tinylm.runtime.demo import DEMO_BUNDLE as DEMO_BUNDLE
from tinylm.runtime.generation import Generation
from tinylm.runtime.sampling import SamplingOptions, TokenSampler
from tinylm.runtime.session import open_bundle
from tinylm.runtime.threads import best_threads
from tinylm.tokenizer import Tokenizer, load_tokenizer


class ChatModel:
    """A loaded bundle.

    Three lines to a streamed reply::

        chat = ChatModel("my-bundle").start_chat()
        for text in chat.send("Hello! Who are you?"):
            print(text, end="", flush=True)

    Args:
        bundle: the folder; None: the demo model in the box.
        threads: CPU threads; 0: the fastest number, see `tinylm.runtime.threads`.
        private: load a copy, as the bundle's files may be overwritten while the model is in use.

    Attributes:
        manifest: the bundle's manifest.
        tokenizer: the bundle's tokenizer.
        session: the loaded model.

    Raises:
        BundleError: the folder is not a complete bundle, or onnxruntime cannot load it.
    """

    def __init__(self, bundle: str | PathLike[str] | None = None, *, threads: int = 0, private: bool = False) -> None:
        folder = DEMO_BUNDLE if bundle is None else Path(bundle)
        self.manifest = read_manifest(folder)
        verify_files_once(folder, self.manifest)
        self.tokenizer = load_tokenizer(folder / self.manifest.tokenizer_file, self.manifest.chat_format)
        if special_tokens(self.tokenizer) != self.manifest.special_tokens:
            raise BundleError(f"{fspath(folder)}: its tokenizer and its manifest disagree; export the bundle again")
        self.session = open_bundle(folder, self.manifest, threads or best_threads(folder, self.manifest), private)

    def default_options(self, **changes: Any) -> SamplingOptions:
        """The bundle's default sampling options, with changes; a change to None is ignored."""
        defaults = self.manifest.sampling
        values: dict[str, Any] = {
            "temperature": defaults.temperature,
            "top_k": defaults.top_k,
            "top_p": defaults.top_p,
            "max_new_tokens": defaults.max_new_tokens,
        }
        values.update({name: value for name, value in changes.items() if value is not None})
        return SamplingOptions(**values)

    def start_chat(
        self, system: str | None = None, options: SamplingOptions | None = None, when_full: WhenFull = "drop"
    ) -> Chat:
        """Start a conversation.

        Conversations and completions on one model may take turns, but not run at the same time: they share its cache.

        Args:
            system: the system message, if any.
            options: how to sample replies; None: the bundle's defaults.
            when_full: what to do when the context is full; see `WhenFull`.

        Raises:
            ContextFullError: the system message takes more than half of the context.
        """
        return Chat(self.session, self.tokenizer, system, options or self.default_options(), when_full)

    def complete(
        self,
        prompt: str,
        options: SamplingOptions | None = None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> Generation:
        """Continue a raw text.

        Args:
            prompt: the text.
            options: how to sample; None: the bundle's defaults.
            should_stop: called between two tokens and between two chunks of the prompt; True cancels.

        Raises:
            ContextFullError: the prompt does not fit into the context.
        """
        least = self.tokenizer.least_tokens(prompt)
        if least >= self.session.context_length:
            raise ContextFullError(
                f"the prompt has {least:,} tokens or more, but the model's context holds "
                f"{self.session.context_length:,} with the reply: shorten it"
            )
        ids = encode_text_prompt(self.tokenizer, prompt)
        sampler = TokenSampler.of(self.tokenizer, options or self.default_options())
        return Generation(self.session, self.tokenizer, ids, sampler, should_stop)


def special_tokens(tokenizer: Tokenizer) -> SpecialTokens:
    """Ids of the control symbols, in the form of a manifest."""
    return SpecialTokens(bos=tokenizer.bos_id, eos=tokenizer.eos_id, **tokenizer.role_ids)
