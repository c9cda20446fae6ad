"""Files of data for tests of the readers, and what is read of them."""

import json
from dataclasses import dataclass, field

from tinylm.data import DataError, ReadSummary, iter_conversations, iter_documents
from tinylm.data.readers.options import ReadOptions

ROLES = {"S": "system", "U": "user", "A": "assistant"}


def chat(*turns):
    """A conversation from turns such as "U:Hi"."""
    return [{"role": ROLES[turn[0]], "content": turn[2:]} for turn in turns]


def lines(*records):
    """JSON Lines."""
    return "".join(json.dumps(record) + "\n" for record in records)


@dataclass
class Read:
    """What was read of a file.

    Attributes:
        items: conversations or documents.
        said: what the user is told, without the file's name.
        error: why the file was refused, without its folder; empty where it was not.
    """

    items: list
    skipped: dict
    said: list = field(default_factory=list)
    error: str = ""


def read(path, text, documents=False, **options):
    """Write a file and read it as conversations, or as documents."""
    content = text if isinstance(text, str | bytes) else json.dumps(text)
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    summary, items, error = ReadSummary(path), [], ""
    try:
        items.extend((iter_documents if documents else iter_conversations)(path, summary, ReadOptions(**options)))
    except DataError as problem:
        error = str(problem).removeprefix(f"{path.parent}/")
    said = [sentence.removeprefix(f"{path}: ") for sentence in summary.sentences()]
    return Read(items, dict(summary.skipped), said, error)
