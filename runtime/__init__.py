"""The device's side: onnxruntime alone, no torch.

Public names: `ChatModel`, `Chat`, `Generation`, `Result`, `SamplingOptions`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tinylm.runtime.chat_model import Chat, ChatModel
    from tinylm.runtime.generation import Generation, Result
    from tinylm.runtime.sampling import SamplingOptions

__all__ = ["Chat", "ChatModel", "Generation", "Result", "SamplingOptions"]

_MODULES = {
    "Chat": "chat_model",
    "ChatModel": "chat_model",
    "Generation": "generation",
    "Result": "generation",
    "SamplingOptions": "sampling",
}


def __getattr__(name: str) -> Any:
    # Imported when wanted: `tinylm doctor` must run where onnxruntime cannot be imported
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
