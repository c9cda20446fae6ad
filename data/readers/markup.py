"""The ways to mark in running text who speaks: our tags, the templates of well-known models, labels such as `User:`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

from tinylm.chat_format import Role
from tinylm.data.readers.lines import Place
from tinylm.data.readers.turns import ROLES, Turn, roles_of_speakers

# ASCII, or else the long s of Unicode would count as an s.
_FLAGS = re.IGNORECASE | re.ASCII
_PERSON = r"(?P<prefix>user|speaker|person|participant|agent|human|bot)?[ _-]?(?P<number>[12ab])"
_LABEL = re.compile(
    rf"\s*(?:\*\*|\[)?(?P<role>(?:{'|'.join(ROLES)})|q|question|answer|{_PERSON})(?:\*\*|\])?[ \t]*:", _FLAGS
)
_QUESTION_ROLES: dict[str, Role] = {"q": "user", "question": "user", "a": "assistant", "answer": "assistant"}


MarkKind = Literal["role", "bos", "eos", "end"]


class Mark(NamedTuple):
    """A mark in a line."""

    kind: MarkKind
    """`role` begins a turn, `bos` a conversation; `eos` ends a conversation, as a rule; `end` only sets text off."""
    role: Role | None
    start: int
    end: int


@dataclass(frozen=True)
class Markup:
    """One way to mark text.

    Attributes:
        name: as people call it.
        pattern: finds the marks of a line; the groups `role`, `bos`, `eos` and `end` tell what each is.
        roles: what the names in the group `role` stand for, in lower case.
        each_question_anew: every question is a conversation of its own.
        preamble_is_system: text before the first mark is an instruction to the model.
        has_comments: lines that begin with # are comments.
    """

    name: str
    pattern: re.Pattern[str]
    roles: dict[str, Role]
    each_question_anew: bool = False
    preamble_is_system: bool = False
    has_comments: bool = False

    def marks(self, line: str) -> list[Mark]:
        """The marks of a line, in order."""
        found: list[Mark] = []
        for match in self.pattern.finditer(line):
            name = match.lastgroup
            kind: MarkKind = "bos" if name == "bos" else "eos" if name == "eos" else "end"
            if name == "role":
                found.append(Mark("role", self.roles[_normal(match["role"])], *match.span()))
            else:
                found.append(Mark(kind, None, *match.span()))
        return found


def _markup(name: str, pattern: str, roles: dict[str, Role], **options: bool) -> Markup:
    return Markup(name, re.compile(pattern, _FLAGS), roles, **options)


_NAMES = "|".join(ROLES)
TAGS = _markup(
    "tagged text",
    r"(?P<bos><bos>)|(?P<eos><eos>)|<(?P<role>system|user|assistant|bot)>:?",
    ROLES,
    has_comments=True,
)
_TEMPLATES = (
    _markup(
        "ChatML", rf"(?P<bos><\|endoftext\|>)|(?P<end><\|im_end\|>)|<\|im_start\|>[ \t]*(?P<role>{_NAMES})\b", ROLES
    ),
    _markup(
        "Llama 3's template",
        r"(?P<bos><\|begin_of_text\|>)|(?P<end><\|eot_id\|>|<\|end_of_text\|>)"
        rf"|<\|start_header_id\|>[ \t]*(?P<role>{_NAMES})[ \t]*<\|end_header_id\|>",
        ROLES,
    ),
    _markup(
        "Gemma's template",
        rf"(?P<bos><bos>)|(?P<end><end_of_turn>|<eos>)|<start_of_turn>[ \t]*(?P<role>{_NAMES})\b",
        ROLES,
    ),
    _markup(
        "Zephyr's template",
        r"(?P<bos><\|endoftext\|>)|(?P<end><\|end\|>|</s>|<s>)|<\|(?P<role>system|user|assistant)\|>",
        ROLES,
    ),
    _markup(
        "Llama 2's template",
        r"(?P<bos><\|endoftext\|>)|(?P<end></?s>)|(?P<role>\[INST\][ \t]*<<SYS>>|<</SYS>>|\[INST\]|\[/INST\])",
        {"[inst]<<sys>>": "system", "<</sys>>": "user", "[inst]": "user", "[/inst]": "assistant"},
    ),
    _markup(
        "Baize's template",
        r"(?P<bos><\|endoftext\|>)|\[\|(?P<role>human|ai)\|\]",
        {"human": "user", "ai": "assistant"},
        preamble_is_system=True,
    ),
    _markup(
        "### headings",
        r"(?P<bos><\|endoftext\|>)|(?P<end></s>)"
        rf"|\#\#\#[ \t]*(?P<role>{_NAMES}|instruction|input|question|response|answer)[ \t]*:",
        {**ROLES, **_QUESTION_ROLES, "instruction": "user", "input": "user", "response": "assistant"},
        preamble_is_system=True,
    ),
)


def find_markup(lines: Sequence[str]) -> Markup | None:
    """The way in which the text that begins with these lines is marked, if it is.

    Args:
        lines: a text's first lines, or all of them.
    """
    for line in lines:
        for markup in (TAGS, *_TEMPLATES):
            if markup.has_comments and line.lstrip().startswith("#"):
                continue
            if any(mark.kind == "role" for mark in markup.marks(line)):
                return markup
    return _find_labels(lines)


def turns_of_text(place: Place, text: str) -> tuple[str, list[Turn]] | None:
    """The turns of one conversation in a text that marks who speaks.

    Returns:
        the name of the markup, and at least two turns; None where the text is not marked in a known way.
    """
    lines = text.split("\n")
    markup = find_markup(lines)
    if markup is None:
        return None
    turns: list[Turn] = []
    before = ""
    for line in lines:
        position = 0
        for mark in markup.marks(line):
            before, turns = _with_text(line[position : mark.start], before, turns)
            position = mark.end
            if mark.role is not None:
                turns.append(Turn(mark.role, "", place))
        before, turns = _with_text(line[position:] + "\n", before, turns)
    if before.strip():
        if not markup.preamble_is_system:
            return None
        turns.insert(0, Turn("system", before, place))
    return (markup.name, turns) if len(turns) > 1 else None


def _with_text(text: str, before: str, turns: list[Turn]) -> tuple[str, list[Turn]]:
    if not turns:
        return before + text, turns
    turns[-1] = turns[-1]._replace(text=turns[-1].text + text)
    return before, turns


def _find_labels(lines: Sequence[str]) -> Markup | None:
    """The labels at the beginning of lines, if they are such that roles are certain."""
    labels = list(_labels(lines))
    if not labels:
        return None
    names = list(dict.fromkeys(_normal(label["role"]) for label in labels))
    if names[0] in ("q", "question"):
        return _label_markup("questions and answers", {name: _QUESTION_ROLES[name] for name in _QUESTION_ROLES}, True)
    if names[0] in ROLES:
        known = [name for name in names if name in ROLES]
        return _label_markup("labelled text", {name: ROLES[name] for name in ROLES}) if len(known) > 1 else None
    prefix = labels[0]["prefix"]
    alike = [label["role"] for label in labels if label["number"] and _same(label["prefix"], prefix)]
    roles = roles_of_speakers([_normal(name) for name in alike])
    if roles is None or len(roles) < 2:
        return None
    return _label_markup("labelled text", roles)


def _labels(lines: Sequence[str]) -> Iterator[re.Match[str]]:
    """The labels of a text that begins with one."""
    begun = False
    for line in lines:
        label = _LABEL.match(line)
        if label is not None:
            begun = True
            yield label
        elif line.strip() and not begun:
            return


def _label_markup(name: str, roles: dict[str, Role], each_question_anew: bool = False) -> Markup:
    names = "|".join(re.escape(label).replace(r"\ ", "[ _-]?") for label in roles)
    pattern = rf"^(?P<bos>\s*<\|endoftext\|>\s*)$|^\s*(?:\*\*|\[)?(?P<role>{names})(?:\*\*|\])?[ \t]*:(?:\*\*)?"
    return _markup(name, pattern, roles, each_question_anew=each_question_anew)


@lru_cache(maxsize=1024)
def _normal(label: str) -> str:
    """A label in lower case, with one space before its number; marks in brackets without spaces."""
    label = re.sub(r"[\s_-]+", " ", label.strip().lower())
    return label.replace(" ", "") if label.startswith("[") else re.sub(r"(?<=[a-z]{2}) ?(?=[0-9ab]$)", " ", label)


def _same(one: str | None, other: str | None) -> bool:
    return (one or "").lower() == (other or "").lower()
