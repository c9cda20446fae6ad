"""The device's side: onnxruntime alone, no torch.

Public names: `ChatModel`, `Chat`, `Generation`, `Result`, `SamplingOptions`.
"""

from tinylm.runtime.chat_model import Chat, ChatModel
from tinylm.runtime.generation import Generation, Result
from tinylm.runtime.sampling import SamplingOptions

__all__ = ["Chat", "ChatModel", "Generation", "Result", "SamplingOptions"]
