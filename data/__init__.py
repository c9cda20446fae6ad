"""Data in: every on-disk form becomes conversations or documents, or one clear `DataError`."""

from tinylm.data.readers import iter_conversations, iter_documents, load_conversation_data
from tinylm.errors import DataError

__all__ = ["DataError", "iter_conversations", "iter_documents", "load_conversation_data"]
