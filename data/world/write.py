"""The world as files: documents for pre-training and conversations for chat training."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from tinylm.data.world.documents import training_documents
from tinylm.data.world.generator import training_conversations

DOCUMENT_SEPARATOR = "<|endoftext|>"
DEFAULT_CONVERSATIONS = 24_000
DEFAULT_DOCUMENTS = 8_000


def write_world(
    folder: Path,
    conversations: int = DEFAULT_CONVERSATIONS,
    documents: int = DEFAULT_DOCUMENTS,
    seed: int = 0,
) -> None:
    """Write `world.txt` and `chats.jsonl`, each whole or not at all.

    Args:
        folder: where to; made if it is not there. Files of these names in it are replaced.
        conversations: how many lines of `chats.jsonl`, each `{"messages": [...]}` with OpenAI messages.
        documents: how many texts in `world.txt`, separated by lines of `<|endoftext|>`.
        seed: equal seeds give equal files.

    Raises:
        OSError: the folder cannot be written.
    """
    text = f"\n{DOCUMENT_SEPARATOR}\n".join(training_documents(documents, seed)) + "\n"
    chats = "".join(
        json.dumps({"messages": conversation}) + "\n" for conversation in training_conversations(conversations, seed)
    )
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".world-", dir=folder) as workplace:
        # Both are whole on the disk before either takes its name.
        for name, content in (("world.txt", text), ("chats.jsonl", chats)):
            with (Path(workplace) / name).open("w", encoding="utf-8", newline="\n") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        for name in ("world.txt", "chats.jsonl"):
            (Path(workplace) / name).replace(folder / name)
