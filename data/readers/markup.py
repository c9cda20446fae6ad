"""The ways to mark in running text who speaks: tags, the templates of well-known models, labels such as `User:`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

from tinylm.chat_format import Role
from tinylm.data.readers.turns import ROLES

# ASCII, or else the long s of Unicode would count as an s.
FLAGS = re.IGNORECASE | re.ASCII
QUESTION_ROLES: dict[str, Role] = {"q": "user", "question": "user", "a": "assistant", "answer": "assistant"}

MarkKind = Literal["role", "other", "aside", "bos", "eos", "end"]


class Mark(NamedTuple):
    """A mark in a line."""

    kind: MarkKind
    """`role` begins a turn, `other` one of somebody else, such as a tool, `aside` one that is left out; `bos` begins a
    conversation; `eos` ends a conversation, as a rule; `end` only sets text off."""
    role: Role | None
    start: int
    end: int
    name: str = ""
    """Of somebody else, who that is."""


@dataclass(frozen=True)
class Markup:
    """One way to mark text.

    Attributes:
        name: as people call it.
        pattern: finds the marks of a line; the groups `role`, `other`, `bos`, `eos` and `end` tell what each is.
        roles: what the names in the group `role` stand for, in lower case; None for somebody whose turns are left out.
        each_question_anew: every question is a conversation of its own.
        preamble_is_system: text before the first mark is an instruction to the model.
        has_comments: lines that begin with # are comments.
        only_at_begin: marks stand at the beginning of lines alone.
        text_lines: numbers of lines whose mark is part of a text.
    """

    name: str
    pattern: re.Pattern[str]
    roles: Mapping[str, Role | None]
    each_question_anew: bool = False
    preamble_is_system: bool = False
    has_comments: bool = False
    only_at_begin: bool = False
    text_lines: frozenset[int] = frozenset()

    def marks(self, line: str, number: int = 0) -> list[Mark]:
        """The marks of a line, in order."""
        if number in self.text_lines:
            return []
        found: list[Mark] = []
        for match in self.pattern.finditer(line):
            name = match.lastgroup
            if name == "role":
                role = self.roles[normal_label(match["role"])]
                found.append(Mark("role" if role is not None else "aside", role, *match.span()))
            elif name == "other":
                found.append(Mark("other", None, *match.span(), match["other"]))
            else:
                kind: MarkKind = "bos" if name == "bos" else "eos" if name == "eos" else "end"
                found.append(Mark(kind, None, *match.span()))
        return found


def _markup(
    name: str,
    pattern: str,
    roles: Mapping[str, Role | None],
    *,
    preamble_is_system: bool = False,
    has_comments: bool = False,
) -> Markup:
    compiled = re.compile(pattern, FLAGS)
    return Markup(name, compiled, roles, preamble_is_system=preamble_is_system, has_comments=has_comments)


_NAMES = "|".join(ROLES)
# Where a template leaves room for any role, that of a tool is there too
_OTHER = r"(?P<other>[\w-]+)"
_TOOLS = r"(?P<other>tool[\w ]*|function[\w ]*|observation|ipython)"
TAGS = _markup(
    "tagged text",
    r"(?P<bos><bos>)|(?P<eos><eos>)|<(?P<role>system|user|assistant|bot)>:?",
    ROLES,
    has_comments=True,
)
_TEMPLATES = (
    _markup(
        "ChatML",
        rf"(?P<bos><\|endoftext\|>)|(?P<end><\|im_end\|>)|<\|im_start\|>[ \t]*(?:(?P<role>{_NAMES})\b|{_OTHER})",
        ROLES,
    ),
    _markup(
        "Llama 3's template",
        r"(?P<bos><\|begin_of_text\|>)|(?P<end><\|eot_id\|>|<\|eom_id\|>|<\|end_of_text\|>)"
        rf"|<\|start_header_id\|>[ \t]*(?:(?P<role>{_NAMES})|{_OTHER})[ \t]*<\|end_header_id\|>",
        ROLES,
    ),
    _markup(
        "Gemma's template",
        rf"(?P<bos><bos>)|(?P<end><end_of_turn>|<eos>)|<start_of_turn>[ \t]*(?:(?P<role>{_NAMES})\b|{_OTHER})",
        ROLES,
    ),
    _markup(
        "Zephyr's template",
        r"(?P<bos><\|endoftext\|>)|(?P<end><\|end\|>|</s>|<s>)"
        r"|<\|(?:(?P<role>system|user|assistant)|(?P<other>tool|function|observation))\|>",
        ROLES,
    ),
    _markup(
        "Llama 2's template",
        r"(?P<bos><\|endoftext\|>)|(?P<end></?s>)|(?P<role>\[INST\][ \t]*<<SYS>>|<</SYS>>|\[INST\]|\[/INST\])"
        r"|(?P<other>\[TOOL_CALLS\]|\[TOOL_RESULTS\])",
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
        rf"|\#\#\#[ \t]*(?:(?P<role>{_NAMES}|instruction|input|question|response|answer)|{_TOOLS})[ \t]*:",
        {**ROLES, **QUESTION_ROLES, "instruction": "user", "input": "user", "response": "assistant"},
        preamble_is_system=True,
    ),
)


def find_marks(lines: Sequence[str]) -> Markup | None:
    """The tags or the template with which the text that begins with these lines is marked, if it is.

    Args:
        lines: a text's first lines, or all of them.
    """
    for line in lines:
        # All of these marks have one of the two
        if "<" not in line and "[" not in line and "###" not in line:
            continue
        for markup in (TAGS, *_TEMPLATES):
            if markup.has_comments and line.lstrip().startswith("#"):
                continue
            if any(mark.kind == "role" for mark in markup.marks(line)):
                return markup
    return None


@lru_cache(maxsize=1024)
def normal_label(label: str) -> str:
    """A label in lower case, with one space before its number; marks in brackets without spaces."""
    label = re.sub(r"[\s_-]+", " ", label.strip().lower())
    if label.startswith("["):
        return label.replace(" ", "")
    return re.sub(r"(?<=[a-z]{2}) ?(?=(?:[0-9]+|[ab])$)", " ", label)
