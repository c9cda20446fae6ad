"""Conversations of people by name: messengers, forums, plays. Which of them is the assistant the user says.

Messages in order become conversations at the pauses between them. Without the name of the assistant nothing can be
learnt from them; as raw text, the messages are lines.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from tinylm.chat_format import Role
from tinylm.data.readers.forms import Reading
from tinylm.data.readers.lines import Place
from tinylm.data.readers.options import ReadOptions, same_name
from tinylm.data.readers.record_values import shown
from tinylm.data.readers.turns import AbsentError, Dialogue, Document, Part, PeopleError, Turn, known_role

PAUSE_SECONDS = 3600.0
"""A longer pause than this between two messages ends a conversation."""

_SHOWN_NAMES = 8
_NO_TIMES = "its messages have no times, so all of them are one conversation"
_MORE_PEOPLE = "several people talk with the assistant and are all read as the user; --user NAME takes one of them"
OTHERS = "messages by others than --assistant and --user"


class PersonMessage(NamedTuple):
    """A message in a log.

    Attributes:
        place: where it is.
        names: who wrote it: the name to show, then others that the file has for the same person.
        text: never empty.
        seconds: when, counted from any beginning; None where the log has no times.
    """

    place: Place
    names: tuple[str, ...]
    text: str
    seconds: float | None = None


def conversations_of_people(messages: Iterable[PersonMessage], reading: Reading, form: str) -> Iterator[Part]:
    """The conversations in a log, parted by pauses, or its documents where those are wanted.

    Args:
        messages: in order of time; held in memory one conversation at a time.
        reading: the file.
        form: how the log is called.
    """
    timed = read = False
    for group in _parted(messages):
        timed |= group[0].seconds is not None
        place = group[0].place
        if reading.documents:
            read = True
            yield Document(place, "\n".join(message.text for message in group), form)
            continue
        try:
            turns = [
                Turn(role, message.text, message.place)
                for message, role in zip(group, roles_of_people(place, [m.names for m in group], reading), strict=True)
                if role is not None
            ]
        except (PeopleError, AbsentError) as error:
            yield error
        else:
            read = True
            yield Dialogue(place, turns, form)
    if read and not timed:
        reading.summary.note(_NO_TIMES)


def roles_of_people(place: Place, names: Sequence[tuple[str, ...]], reading: Reading) -> list[Role | None]:
    """Who speaks as what, turn by turn; None for a turn that is left out, which is counted.

    Raises:
        PeopleError: the user has not said who is the assistant.
        AbsentError: that person does not speak here.
    """
    options, summary = reading.options, reading.summary
    firsts = [name for name, *_ in names]
    if options.assistant is None:
        raise PeopleError(place, firsts)
    if not any(is_assistant(all_of_one, options) for all_of_one in names):
        raise AbsentError(place, firsts, shown(options.assistant))
    roles = [_role(all_of_one, options) for all_of_one in names]
    if None in roles:
        summary.dropped[OTHERS] += roles.count(None)
    users = {name for name, role in zip(firsts, roles, strict=True) if role == "user"}
    if len(users) > 1:
        summary.note(_MORE_PEOPLE)
    return roles


def is_assistant(names: Iterable[str], options: ReadOptions) -> bool:
    """Whether somebody with these names is the one that the user named as the assistant."""
    return options.assistant is not None and any(same_name(name, options.assistant) for name in names)


def who_is_there(names: Counter[str]) -> str:
    """The names of people, the most talkative first."""
    listed = [shown(name) for name, _ in names.most_common(_SHOWN_NAMES)]
    more = len(names) - len(listed)
    return ", ".join(listed) + (f" and {more:,} more" if more else "")


def _role(names: tuple[str, ...], options: ReadOptions) -> Role | None:
    if is_assistant(names, options):
        return "assistant"
    if options.user is not None:
        return "user" if any(same_name(name, options.user) for name in names) else None
    role = known_role(names[0])
    return role if role == "system" else "user"


def _parted(messages: Iterable[PersonMessage]) -> Iterator[list[PersonMessage]]:
    group: list[PersonMessage] = []
    for message in messages:
        before = group[-1].seconds if group else None
        if before is not None and message.seconds is not None and message.seconds - before > PAUSE_SECONDS:
            yield group
            group = []
        group.append(message)
    if group:
        yield group
