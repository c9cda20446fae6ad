"""Inference with onnxruntime, without torch.

Public names: `ChatModel`, `Chat`, `Generation`, `Result`, `SamplingOptions`.

Files:
    chat_model.py          the Python interface: a bundle, its chats and completions
    chat.py                a conversation, and what to do when its context is full
    generation.py          the generation loop
    sampling.py            choose the next token from its logits
    logprobs.py            log-probabilities of tokens
    private_copy.py        private copies of a bundle's graphs
    mapped_file.py         whether a mapped file was overwritten
    session.py             the onnxruntime session with its KV cache
    ort.py                 onnxruntime without telemetry
    constrained_choice.py  a reply that is one of given texts
    constraint.py          which of these constraints a reply has
    grammar.py             a reply that follows a JSON schema or a regular expression
    saved_chats.py         conversations on disk
    threads.py             the fastest number of threads, measured once
    benchmark.py           speed and memory of a bundle: `tinylm bench`
    checkup.py             the check of a machine and a bundle: `tinylm doctor`
    scoring.py             loss on text through the decode path
    verification.py        hashes, golden ids and golden continuation on this machine
    demo/                  the demo model, a bundle
    device/                facts about the machine
    page/                  the chat page
    server/                `tinylm serve`
    web/                   `tinylm export --web`
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tinylm.runtime.chat import Chat, WhenFull
    from tinylm.runtime.chat_model import ChatModel
    from tinylm.runtime.generation import FinishReason, Generation, Result
    from tinylm.runtime.sampling import SamplingOptions

__all__ = ["Chat", "ChatModel", "FinishReason", "Generation", "Result", "SamplingOptions", "WhenFull"]

_MODULES = {
    "Chat": "chat",
    "ChatModel": "chat_model",
    "FinishReason": "generation",
    "Generation": "generation",
    "Result": "generation",
    "SamplingOptions": "sampling",
    "WhenFull": "chat",
}


def __getattr__(name: str) -> Any:
    # Imported on demand: `tinylm doctor` must run where onnxruntime cannot be imported
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
