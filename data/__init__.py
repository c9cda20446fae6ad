"""Data in: every on-disk form becomes conversations or documents, or one clear `DataError`."""

from tinylm.data.readers.front_door import iter_conversations, iter_documents, load_conversation_data
from tinylm.data.readers.read_summary import ReadSummary
from tinylm.errors import DataError

__all__ = ["DataError", "ReadSummary", "iter_conversations", "iter_documents", "load_conversation_data"]
