"""The device's side: onnxruntime alone, no torch.

Public names: `ChatModel`, `Chat`, `Generation`, `Result`, `SamplingOptions`.
"""

from tinylm.runtime.chat import Chat, WhenFull
from tinylm.runtime.chat_model import ChatModel
from tinylm.runtime.generation import FinishReason, Generation, Result
from tinylm.runtime.sampling import SamplingOptions

__all__ = ["Chat", "ChatModel", "FinishReason", "Generation", "Result", "SamplingOptions", "WhenFull"]
