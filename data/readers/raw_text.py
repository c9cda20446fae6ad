"""Raw text as documents for pre-training. Nothing in it is structure but what parts the documents."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from os import PathLike

from tinylm.data.readers.lines import iter_lines

END_OF_TEXT = "<|endoftext|>"
# So many parts that holding one out is holding out little
LONGEST_DOCUMENT, PART = 16_000_000, 250_000


def iter_raw_documents(path: str | PathLike[str], note: Callable[[str], None] = lambda _: None) -> Iterator[str]:
    """The documents of a raw text file, one by one.

    If any line is exactly `<|endoftext|>`, white space around it ignored, those lines and nothing else part
    documents; otherwise blank lines do; a file with neither is one document. One that is too long to be held is handed
    out in parts that end with a line.

    Args:
        path: a UTF-8 text file. It is read twice, in flat memory but for the document at hand.
        note: told where a document comes in parts.

    Yields:
        The text of a document without outer white space. Empty documents are skipped.

    Raises:
        DataError: the file cannot be read as text.
    """
    separator = END_OF_TEXT if any(line.strip() == END_OF_TEXT for _, line in iter_lines(path)) else ""
    document: list[str] = []
    size, limit = 0, LONGEST_DOCUMENT
    for _, line in iter_lines(path):
        if line.strip() == separator:
            yield from _stripped(document)
            document, size, limit = [], 0, LONGEST_DOCUMENT
            continue
        document.append(line)
        size += len(line) + 1
        if size > limit:
            note(f"a document of more than {LONGEST_DOCUMENT:,} characters comes in parts of some {PART:,}")
            for part in _parts(document):
                yield from _stripped(part)
            document, size, limit = [], 0, PART
    yield from _stripped(document)


def _parts(lines: list[str]) -> Iterator[list[str]]:
    part: list[str] = []
    size = 0
    for line in lines:
        part.append(line)
        size += len(line) + 1
        if size > PART:
            yield part
            part, size = [], 0
    yield part


def _stripped(lines: list[str]) -> Iterator[str]:
    text = "\n".join(lines).strip()
    if text:
        yield text
