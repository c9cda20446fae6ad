r"""Labels at the beginning of lines, such as `User:` and `Assistant:`: which of them part turns, and which are text.

A reply may well have lines such as `Model: X200` or `System: Linux`. So of each role one label counts, that which takes
turns with the other role's; others count only where they do so too, as in a file that is put together from several. A
`System:` counts at the beginning of conversations.
"""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping

from tinylm.chat_format import Role
from tinylm.data.readers.chat_logs import PeopleSurvey
from tinylm.data.readers.markup import FLAGS, QUESTION_ROLES, Markup, normal_label
from tinylm.data.readers.options import ReadOptions
from tinylm.data.readers.turns import ROLES, roles_of_speakers

_PREFIX = "user|speaker|person|participant|agent|human|bot"
_PERSON = rf"(?P<prefix>{_PREFIX})(?:[ _-]?(?:\d{{1,6}}|[ab])|[ _-][a-z])|[12ab]"
_LABEL = re.compile(
    rf"\s*(?:\*\*|\[|#)?(?P<role>(?:{'|'.join(ROLES)})|q|question|answer|{_PERSON})(?:\*\*|\]|#)?[ \t]*:", FLAGS
)
# In capitals or two words, or else they are words of a text
_TOOL_LABELS = (
    r"(?P<other>(?-i:FUNCTION|TOOL|API|OBSERVATION)|(?:function|tool|api)[ _](?:response|call|result|output)s?)"
)
_NUMBERS = ("1", "2", "a", "b")
_TAKES_TURNS = 0.8
_RANK = {name: rank for rank, name in enumerate(ROLES)}


class LabelSurvey:
    """Takes in the lines of a text in order and finds its labels.

    Args:
        options: names of people, whose labels count where they are given.
    """

    def __init__(self, options: ReadOptions) -> None:
        self._people = PeopleSurvey() if options.assistant is not None else None
        self._options = options
        self._begun = False
        self._over = False
        self._first: re.Match[str] | None = None
        self._names: dict[str, None] = {}
        self._alike: dict[str, None] = {}
        self._turns = _TurnTaking()

    def add(self, number: int, line: str) -> None:
        """Take in the next line."""
        if self._people is not None:
            self._people.add(line)
        if self._over:
            return
        label = _LABEL.match(line)
        if label is None:
            blank = not line.strip()
            self._turns.add_text(blank)
            self._over = not self._begun and not blank and "<|endoftext|>" not in line
            return
        self._begun = True
        self._first = self._first or label
        name = normal_label(label["role"])
        self._names[name] = None
        numbered = label["prefix"] is not None or name in _NUMBERS
        if numbered and _prefix(label) == _prefix(self._first) and len(self._alike) <= 2:
            self._alike[name] = None
        if name in ROLES:
            self._turns.add_label(number, name)

    @property
    def is_over(self) -> bool:
        """Whether the rest of the text does not count any more."""
        return self._over and self._people is None

    def markup(self) -> Markup | None:
        """The labels that part the turns, where roles are certain."""
        if self._people is not None and (roles := self._people.roles(self._options)) is not None:
            return label_markup("a chat log", roles)
        if self._first is None:
            return None
        first = next(iter(self._names))
        if first in ("q", "question"):
            return label_markup("questions and answers", QUESTION_ROLES, each_question_anew=True)
        if first in ROLES:
            known = [name for name in self._names if name in ROLES]
            if len(known) < 2:
                return None
            return label_markup("labelled text", self._turns.roles(), self._turns.text_lines())
        speakers = roles_of_speakers(list(self._alike))
        return label_markup("labelled text", speakers) if speakers is not None and len(speakers) > 1 else None


class _TurnTaking:
    """How labels of roles follow each other."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._after_other: Counter[str] = Counter()
        self._before_other: Counter[str] = Counter()
        self._between_others: Counter[str] = Counter()
        self._previous = ""
        self._previous_was_turn = True
        self._gap = True
        self._opens_with_system: bool | None = None
        self._system_line, self._system_after_gap = 0, False  # of a `System:` that no user has followed yet
        self._inline_systems, self._loose_systems = array("L"), array("L")
        self._gaps_before_system = False

    def add_text(self, blank: bool) -> None:
        """Take in a line without a label."""
        if blank:
            self._close_system(leads=False)
        self._gap = blank

    def add_label(self, number: int, name: str) -> None:
        """Take in a line with one."""
        role = ROLES[name]
        self._close_system(leads=role == "user")
        if role != "system":
            self._count(name, role)
        elif self._opens_with_system is None:
            self._opens_with_system = True
        else:
            self._system_line, self._system_after_gap = number, self._gap
        self._opens_with_system = bool(self._opens_with_system)
        self._gap = False

    def _close_system(self, leads: bool) -> None:
        if self._system_line:
            if not self._system_after_gap:
                self._inline_systems.append(self._system_line)
            elif not leads:
                self._loose_systems.append(self._system_line)
            self._gaps_before_system |= self._system_after_gap
            self._system_line = 0

    def _count(self, name: str, role: Role) -> None:
        self._counts[name] += 1
        changes = not self._previous or ROLES[self._previous] != role
        if self._previous:
            self._before_other[self._previous] += changes
            self._between_others[self._previous] += changes and self._previous_was_turn
        self._after_other[name] += changes
        self._previous, self._previous_was_turn = name, changes

    def roles(self) -> dict[str, Role]:
        """The labels that count."""
        if self._previous:
            # After the last label there is nobody
            self._before_other[self._previous] += 1
            self._between_others[self._previous] += self._previous_was_turn
            self._previous = ""
        accepted: dict[str, Role] = {name: role for name, role in ROLES.items() if role == "system"}
        for role in ("user", "assistant"):
            names = [name for name in self._counts if ROLES[name] == role]
            if not names:
                continue
            chief = max(names, key=self._certainty)
            for name in names:
                if name == chief or self._between_others[name] >= _TAKES_TURNS * self._counts[name]:
                    accepted[name] = ROLES[name]
        return accepted

    def text_lines(self) -> frozenset[int]:
        """Lines whose `System:` is text."""
        self._close_system(leads=False)
        if not self._opens_with_system:
            return frozenset((*self._inline_systems, *self._loose_systems))
        # Where blank lines part the conversations, one that begins without is none
        return frozenset(self._inline_systems if self._gaps_before_system else ())

    def _certainty(self, name: str) -> tuple[int, int, int]:
        sides = self._after_other[name] + self._before_other[name]
        return self._between_others[name], sides, -_RANK[name]


def label_markup(
    name: str, roles: Mapping[str, Role | None], text_lines: Iterable[int] = (), *, each_question_anew: bool = False
) -> Markup:
    """Labels at the beginning of lines as a markup."""
    labels = "|".join(re.escape(label).replace(r"\ ", "[ _-]?") for label in sorted(roles, key=len, reverse=True))
    pattern = (
        r"^(?P<bos>\s*<\|endoftext\|>\s*)$|(?P<eos>[ \t]*<\|endoftext\|>[ \t]*$)"
        rf"|^\s*(?:\*\*|\[|#)?(?:(?P<role>{labels})|{_TOOL_LABELS})(?:\*\*|\]|#)?[ \t]*:(?:\*\*)?"
    )
    return Markup(
        name,
        re.compile(pattern, FLAGS),
        {normal_label(label): role for label, role in roles.items()},
        each_question_anew=each_question_anew,
        only_at_begin=True,
        text_lines=frozenset(text_lines),
    )


def _prefix(label: re.Match[str]) -> str:
    return (label["prefix"] or "").lower()
