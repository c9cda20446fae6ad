"""Logs of messengers and plays as text: lines of `Name: text`, with or without the time before them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from os import PathLike
from typing import NamedTuple

from tinylm.chat_format import Role
from tinylm.data.readers.forms import TEXT_SUFFIXES, Reader, Reading
from tinylm.data.readers.lines import Place, iter_heads, iter_lines
from tinylm.data.readers.options import ReadOptions, same_name
from tinylm.data.readers.people import PersonMessage, conversations_of_people
from tinylm.data.readers.times import Clock
from tinylm.data.readers.turns import Part, PeopleError

_FLAGS = re.IGNORECASE | re.DOTALL
_DAY = r"\d{1,4}[./-](?:\d{1,2}|[a-z]{3})[./-]\d{2,4}\.?"
_TIME = (
    r"\d{1,2}[:.]\d{2}(?:[:.]\d{2}(?:\.\d+)?)?(?:[ \u00a0\u202f]?[ap]\.?[ \u00a0\u202f]?m\b\.?)?"
    r"(?:Z|[+-]\d\d:?\d\d)?(?!\d)"
)
_STAMP = rf"(?:{_DAY}(?:,|T|[ ]?[a-z]{{2,5}}[ ])?[ \u00a0]?(?:{_TIME})?|{_TIME})"
_NAME = r"[^\s:<>\[\]][^:\n<>\[\]]{0,59}?"
_MARKS = r"[\u200e\u200f\u202a-\u202c\u2068\u2069]*"
# `[31.12.20, 23:59:01] Anna: Hi`, `12/31/20, 11:59 PM - Anna: Hi`, `[12:03] <anna> Hi`, `12:03<tab>Anna<tab>Hi`
_STAMPED = re.compile(
    rf"\s*{_MARKS}(?P<open>[\[(])?(?P<stamp>{_STAMP})[\])]?[ \t]*(?:[-\u2013][ \t]*)?(?P<rest>.*)", _FLAGS
)
_SPOKEN = re.compile(
    rf"{_MARKS}(?:<(?P<nick>[^<>:]{{1,40}})>[ \t]?|(?P<name>{_NAME}){_MARKS}(?::(?:[ \t]|$)|\t))(?P<text>.*)", _FLAGS
)
# The text is on the lines below: `[25-Nov-20 05:03 PM] anna#1234`, `Anna, [25.11.2020 17:03]`, `Anna — 25/11/20 17:03`
_HEADED = re.compile(
    rf"\[(?P<stamp>{_DAY}[ ,T]+{_TIME})\][ ]+(?P<name>{_NAME})(?:[ ]\(pinned\))?\s*"
    rf"|(?P<name2>{_NAME})(?:,[ ]\[|[ ]\u2014[ ])(?P<stamp2>{_DAY}[ ,T]+{_TIME})\]?:?\s*",
    _FLAGS,
)
_DAY_LINE = re.compile(rf"\W*{_DAY}\W*\w*\W*")
_HAS_DAY, _HAS_TIME = re.compile(_DAY, _FLAGS), re.compile(r"\d[:.]\d\d")
_UNDATED = re.compile(rf"\s*(?:<(?P<nick>[^<>:]{{1,40}})>\s|(?P<name>{_NAME})[ \t]*:\s)(?P<text>.*)", re.DOTALL)
_NO_TEXT = re.compile(
    r"<[^<>]{1,40}\b(?:omitted|weggelassen|ausgeschlossen|omis|omise|omitido|omitida|omesso|omessi|file)>"
    r"|<attached: [^<>]+>|(?:image|video|audio|sticker|document|GIF|Contact card) (?:omitted|weggelassen)"
    r"|(?:This message was deleted|You deleted this message|Diese Nachricht wurde gel\u00f6scht)\.?",
    _FLAGS,
)
# What Discord's exporter writes below a message
_EXTRAS = re.compile(r"^\{(?:Attachments|Embed|Stickers|Reactions)\}$", re.MULTILINE)
_LOOKED_AT_LINES = 2000
_MOST, _MOST_DATED = 0.8, 0.4
_SERVICE = "lines of a messenger itself, not of a person"
_MEDIA = "messages that are no text, such as pictures"
_AS_TEXT = "a chat log: names and times are taken off; --documents blank-lines reads the file letter for letter"


class DatedLogReader(Reader):
    """Logs of messengers whose messages have a time: WhatsApp, Signal, Discord, Telegram, IRC, LINE and the like."""

    suffixes = TEXT_SUFFIXES

    def claims(self, reading: Reading) -> bool:
        """Whether enough lines begin with a time and a name."""
        if reading.documents and reading.options.documents is not None:
            return False
        return _style_of(reading.path) is not None

    def parts(self, reading: Reading) -> Iterator[Part]:
        """The conversations between pauses."""
        style = _style_of(reading.path)
        assert style is not None
        if reading.documents:
            reading.summary.note(_AS_TEXT)
        yield from conversations_of_people(_messages(reading, style), reading, "a chat log")


class PeopleSurvey:
    """Finds in the lines of a text who speaks, where lines begin with a name and a colon."""

    def __init__(self) -> None:
        self.names: Counter[str] = Counter()
        self.lines = 0

    def add(self, line: str) -> None:
        """Take in the next line."""
        if not line.strip():
            return
        self.lines += 1
        match = _UNDATED.match(line)
        if match is not None and len(self.names) < 10_000:
            self.names[(match["nick"] or match["name"]).strip()] += 1

    @property
    def is_log(self) -> bool:
        """Whether most lines are of a few names that come again and again; in other text, what stands there differs."""
        spoken = sum(self.names.values())
        return self.lines > 1 and spoken >= _MOST * self.lines and 2 * len(self.names) <= max(4, spoken)

    def parted(self, line: str) -> tuple[str, str]:
        """The name that a line begins with, or none, and the rest."""
        match = _UNDATED.match(line)
        return ((match["nick"] or match["name"]).strip(), match["text"]) if match is not None else ("", line)

    def roles(self, options: ReadOptions) -> dict[str, Role | None] | None:
        """The roles of the names, where the assistant named by the user is one of them; None: to be left out."""
        if options.assistant is None or not any(same_name(name, options.assistant) for name in self.names):
            return None
        roles: dict[str, Role | None] = {}
        for name, count in self.names.items():
            if same_name(name, options.assistant):
                roles[name] = "assistant"
            elif options.user is not None and same_name(name, options.user):
                roles[name] = "user"
            elif count > 1 or len(self.names) == 2:
                roles[name] = "user" if options.user is None else None
        return roles


class UndatedLogReader(Reader):
    """Plays and logs without times, of which nobody was named as the assistant."""

    suffixes = TEXT_SUFFIXES

    def claims(self, reading: Reading) -> bool:
        """Whether most lines begin with one of a few names and a colon, where conversations are wanted."""
        return not reading.documents and self._survey(reading).is_log

    def parts(self, reading: Reading) -> Iterator[Part]:
        """Why it cannot be read."""
        yield PeopleError(Place(reading.path, 1), list(self._survey(reading).names.elements()))

    def _survey(self, reading: Reading) -> PeopleSurvey:
        survey = PeopleSurvey()
        for _, line in iter_heads(reading.path, _LOOKED_AT_LINES):
            survey.add(line)
        return survey


class _Head(NamedTuple):
    """The beginning of a message, or a line of the messenger itself, whose name is empty."""

    stamp: str
    name: str
    text: str


class _Style(NamedTuple):
    """How messages begin in a log.

    Attributes:
        headed: with a line of its own.
        dated: with a date, not with the time of day alone.
        clock: reads the times.
    """

    headed: bool
    dated: bool
    clock: Clock

    def head_of(self, line: str) -> _Head | None:
        """What begins with a line; None where a message goes on."""
        if self.headed:
            return _headed(line)
        head = _stamped(line)
        if head is None or (self.dated and _HAS_DAY.match(head.stamp) is None):
            return None
        return head


def _headed(line: str) -> _Head | None:
    match = _HEADED.fullmatch(line)
    if match is None:
        return None
    return _Head(match["stamp"] or match["stamp2"], (match["name"] or match["name2"]).strip(), "")


def _stamped(line: str) -> _Head | None:
    match = _STAMPED.match(line)
    if match is None:
        return None
    stamp, spoken = match["stamp"], _SPOKEN.match(match["rest"])
    if spoken is not None:
        return _Head(stamp, (spoken["nick"] or spoken["name"]).strip(), spoken["text"])
    # A number at the beginning of a line of text is no time
    sure = _HAS_TIME.search(stamp) is not None and (match["open"] or _HAS_DAY.match(stamp) is not None)
    return _Head(stamp, "", match["rest"]) if sure else None


def _style_of(path: str | PathLike[str]) -> _Style | None:
    """How the messages of a log begin; None where a file is no log."""
    lines, heads, headed = 0, list[_Head](), list[_Head]()
    for _, line in iter_heads(path, _LOOKED_AT_LINES):
        lines += bool(line.strip())
        if (head := _headed(line)) is not None:
            headed.append(head)
        if (head := _stamped(line)) is not None and head.name:
            heads.append(head)
    if lines < 2:
        return None
    is_headed = len(headed) > len(heads)
    found = headed if is_headed else heads
    names = {head.name for head in found}
    if len(found) < _MOST_DATED * lines * (0.5 if is_headed else 1) or 2 * len(names) > max(6, len(found)):
        return None
    dated = sum(_HAS_DAY.match(head.stamp) is not None for head in found)
    return _Style(is_headed, 2 * dated > len(found), Clock.for_stamps(head.stamp for head in found))


def _messages(reading: Reading, style: _Style) -> Iterator[PersonMessage]:
    summary = reading.summary
    place, name, seconds, texts = Place(reading.path, 1), "", None, list[str]()

    def close() -> Iterator[PersonMessage]:
        text = "\n".join(texts).strip()
        if style.headed:
            text = _EXTRAS.split(text)[0].strip()
        # What a messenger says in somebody's name begins with a mark of the direction of writing
        if not name or text.startswith("\u200e"):
            summary.dropped[_SERVICE] += bool(text)
        elif not text or _NO_TEXT.fullmatch(text):
            summary.dropped[_MEDIA] += 1
        else:
            yield PersonMessage(place, (name,), text, seconds)

    for number, line in iter_lines(reading.path):
        if not style.dated and _DAY_LINE.fullmatch(line):
            style.clock.begin_day(line)
            continue
        head = style.head_of(line)
        if head is None:
            texts.append(line)
            continue
        yield from close()
        place, name, texts = Place(reading.path, number), head.name, [head.text]
        seconds = style.clock.seconds(head.stamp)
    yield from close()
    # A count of nothing is no news
    summary.dropped += Counter()
