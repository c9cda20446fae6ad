"""Write the bundled world: documents for pre-training and conversations for fine-tuning."""

from __future__ import annotations

import json
from pathlib import Path

from tinylm.data.world.documents import training_documents
from tinylm.data.world.generator import training_conversations
from tinylm.files import user_errors, write_files

DOCUMENT_SEPARATOR = "<|endoftext|>"
DEFAULT_CONVERSATIONS = 24_000
DEFAULT_DOCUMENTS = 8_000


def write_world(
    folder: Path,
    conversations: int = DEFAULT_CONVERSATIONS,
    documents: int = DEFAULT_DOCUMENTS,
    seed: int = 0,
) -> None:
    """Write `world.txt` and `chats.jsonl`; neither appears before both are whole on the disk.

    Args:
        folder: made if it is not there. Files of these names in it are replaced.
        conversations: how many lines of `chats.jsonl`, each `{"messages": [...]}` with OpenAI messages.
        documents: how many texts in `world.txt`, separated by lines of `<|endoftext|>`.
        seed: equal seeds give equal files.

    Raises:
        WriteError: the folder or a file cannot be written.
    """
    with user_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    text = f"\n{DOCUMENT_SEPARATOR}\n".join(training_documents(documents, seed)) + "\n"
    chats = "".join(
        json.dumps({"messages": conversation}) + "\n" for conversation in training_conversations(conversations, seed)
    )
    write_files({folder / "world.txt": text, folder / "chats.jsonl": chats})
