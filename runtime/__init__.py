"""The device's side: onnxruntime alone, no torch.

Public names: `ChatModel`, `Chat`, `Generation`, `Result`, `SamplingOptions`.
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
    # Imported when wanted: `tinylm doctor` must run where onnxruntime cannot be imported
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
