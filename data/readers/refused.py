"""Text files whose text is in a markup of its own: they are refused, since the markup would be learnt too."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tinylm.data.readers.forms import TEXT_SUFFIXES, Reader, Reading
from tinylm.data.readers.lines import iter_pieces
from tinylm.data.readers.turns import Part
from tinylm.errors import DataError

NOTEBOOK = "is a Jupyter notebook; save its text as .txt (jupyter nbconvert --to markdown)"

_LOOKED_AT_CHARACTERS, _LOOKED_AT_LINES = 64_000, 400
_FLAGS = re.IGNORECASE | re.ASCII
_XML = "is XML; save its texts as .txt or .jsonl"
_BEGINNINGS = (
    (re.compile(r"\{\\rtf", _FLAGS), "is RTF; open it and save its text as .txt"),
    (re.compile(r"%!PS", _FLAGS), "is PostScript; save its text as .txt"),
    (re.compile(r"WEBVTT\b"), "holds subtitles (WebVTT); save what is said, without the times, as .txt"),
    (re.compile(r"\[Script Info\]", _FLAGS), "holds subtitles (ASS); save what is said, without the times, as .txt"),
    (re.compile(r"<!doctype html|<html\b", _FLAGS), "is HTML; open it in a browser and save its text as .txt"),
    (re.compile(r"<\?xml\b|<!doctype\b|<svg\b|<rss\b|<mediawiki\b", _FLAGS), _XML),
)
_SUBTITLE = re.compile(r"\s*(?:\d+\s*\n\s*)?\d{1,2}:\d{2}(?::\d{2})?[.,]\d{1,3}\s*-->\s*\d{1,2}:\d{2}|\{\d+\}\{\d+\}")
_NOTEBOOK = re.compile(r'\{.{0,200}?"(?:cells|nbformat)"\s*:', re.DOTALL)
_LEADING = re.compile(r"(?:\s|<!--.*?-->)*", re.DOTALL)
_OPENING = re.compile(r"<([a-z][\w.:-]*)(?:\s[^<>]*)?/?>", _FLAGS)
_CLOSING = re.compile(r"</([a-z][\w.:-]*)\s*>", _FLAGS)
_HTML_NAMES = frozenset(
    {"a", "b", "article", "blockquote", "body", "br", "button", "center", "div", "em", "font", "footer"}
    | {"h1", "h2", "h3", "h4", "head", "header", "hr", "html", "i", "img", "input", "li", "link", "main"}
    | {"meta", "nav", "ol", "p", "script", "section", "span", "strong", "style", "table", "tbody", "td"}
    | {"th", "thead", "title", "tr", "u", "ul"}
)
# Marks of turns and documents, which are no markup of a text
_OUR_NAMES = frozenset({"system", "user", "assistant", "bot", "bos", "eos", "s", "human", "sep", "unk", "pad"})


class RefusedText(Reader):
    """Text in a markup: HTML, XML, RTF, subtitles, notebooks."""

    suffixes = TEXT_SUFFIXES
    under_any_name = True

    def claims(self, reading: Reading) -> bool:
        """Never: the file is refused where it has one.

        Raises:
            DataError: it has; the message says what to do.
        """
        head = _head(reading)
        text = head[_LEADING.match(head).end() :]  # type: ignore[union-attr]
        for pattern, problem in _BEGINNINGS:
            if pattern.match(text):
                raise DataError(reading.path, None, problem)
        if _SUBTITLE.match(text):
            problem = "holds subtitles; save what is said, without numbers and times, as .txt"
            raise DataError(reading.path, None, problem)
        if _NOTEBOOK.match(text) and '"cell_type"' in text:
            raise DataError(reading.path, None, NOTEBOOK)
        # Markdown may hold tags, and other forms say what is wrong with them themselves
        other = reading.suffix == ".md" or (reading.suffix not in self.suffixes and reading.is_known)
        if not other and (found := _tags(text)) is not None:
            raise DataError(reading.path, None, found)
        return False

    def parts(self, reading: Reading) -> Iterator[Part]:  # noqa: ARG002 - no file gets so far
        """Nothing."""
        yield from ()


def _head(reading: Reading) -> str:
    held: list[str] = []
    size = 0
    for _, text, _, ends in iter_pieces(reading.path):
        held.append(text + "\n" if ends else text)
        size += len(text)
        if size >= _LOOKED_AT_CHARACTERS or len(held) >= _LOOKED_AT_LINES:
            break
    return "".join(held)[:_LOOKED_AT_CHARACTERS]


def _tags(text: str) -> str | None:
    """What to do about a text that is mostly HTML or XML without its first line."""
    if not text.startswith("<"):
        return None
    first = _OPENING.match(text)
    if first is None or first[1].lower() in _OUR_NAMES:
        return None
    opened = [name.lower() for name in _OPENING.findall(text)]
    closed = [name.lower() for name in _CLOSING.findall(text)]
    if first[1].lower() in _HTML_NAMES and sum(name in _HTML_NAMES for name in closed):
        return "is HTML; open it in a browser and save its text as .txt"
    # An element around all, and elements in it
    names = set(opened) - _OUR_NAMES
    if first[1].lower() in closed and len(closed) > 1 and len(names & set(closed)) > 1:
        return _XML
    return None
