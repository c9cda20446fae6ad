"""Raw text as documents for pre-training. Nothing in it is structure but what parts the documents."""

from __future__ import annotations

from collections.abc import Iterator
from os import PathLike

from tinylm.data.lines import iter_lines

END_OF_TEXT = "<|endoftext|>"


def iter_raw_documents(path: str | PathLike[str]) -> Iterator[str]:
    """The documents of a raw text file, one by one.

    If any line is exactly `<|endoftext|>`, white space around it ignored, those lines and nothing else part
    documents; otherwise blank lines do; a file with neither is one document.

    Args:
        path: a UTF-8 text file. It is read twice, in flat memory but for the document at hand.

    Yields:
        The text of a document without outer white space. Empty documents are skipped.

    Raises:
        DataError: the file cannot be read as text.
    """
    separator = END_OF_TEXT if any(line.strip() == END_OF_TEXT for _, line in iter_lines(path)) else ""
    document: list[str] = []
    for _, line in iter_lines(path):
        if line.strip() != separator:
            document.append(line)
        elif document:
            yield from _stripped(document)
            document = []
    yield from _stripped(document)


def _stripped(lines: list[str]) -> Iterator[str]:
    text = "\n".join(lines).strip()
    if text:
        yield text
