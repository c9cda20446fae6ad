"""A small world for a tiny model to master: its chats, its texts, and the judge of what a model says about it.

Pip, a chat helper on a Raspberry Pi, talks about the house, the garden, the weather, the animals and a small rover,
and remembers what users tell. Every phrasing belongs to the training or to the test split by a hash of its words.
"""

from tinylm.data.world.documents import training_documents
from tinylm.data.world.generator import training_conversations
from tinylm.data.world.items import test_items
from tinylm.data.world.judge import WorldItem, WorldScore, baseline_accuracy, score_world
from tinylm.data.world.write import DEFAULT_CONVERSATIONS, DEFAULT_DOCUMENTS, write_world

__all__ = [
    "DEFAULT_CONVERSATIONS",
    "DEFAULT_DOCUMENTS",
    "WorldItem",
    "WorldScore",
    "baseline_accuracy",
    "score_world",
    "test_items",
    "training_conversations",
    "training_documents",
    "write_world",
]
