"""From files in any form to conversations and documents, or one `DataError`.

readers/     from a file to documents and conversations
dataset/     from documents and conversations to batches of token ids
inspection/  inspection of data files before training
samples/     small example files of every form
world/       the bundled world: texts, conversations and a test
suites/      minimal pairs and multiple choice
"""

from tinylm.data.readers.front_door import iter_conversations, iter_documents, load_conversation_data
from tinylm.data.readers.read_summary import ReadSummary
from tinylm.errors import DataError

__all__ = ["DataError", "ReadSummary", "iter_conversations", "iter_documents", "load_conversation_data"]
