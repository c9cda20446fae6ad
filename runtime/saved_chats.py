"""Chat sessions on disk: JSON Lines in OpenAI's form, a conversation a line, as `tinylm train --finetune` reads."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Literal

import msgspec

from tinylm.chat_format import Conversation, Message
from tinylm.errors import DataError, TinyLMError, WriteError
from tinylm.file_lock import LockedError, file_lock
from tinylm.files import check_writable, write_file
from tinylm.printable import printable

_WAIT_SECONDS = 60.0


class _SavedMessage(msgspec.Struct):
    role: Literal["system", "user", "assistant"]
    content: str


class _SavedConversation(msgspec.Struct):
    messages: list[_SavedMessage]


_DECODER = msgspec.json.Decoder(_SavedConversation)


class SavedChat:
    """One conversation in a file of several.

    The first `save` appends a line; later calls, and those after `load`, replace that line, even if it has moved.
    Programs that use the file at the same time wait for each other, so that no turn of either is lost.

    Args:
        path: the file, which need not exist. A new file is readable by its owner only.
        notify: called with a sentence where another program has to be waited for, or has changed the conversation.
    """

    def __init__(self, path: str | PathLike[str], notify: Callable[[str], None] = lambda _: None) -> None:
        self.path = Path(path)
        self._notify = notify
        self._line: bytes | None = None
        self._is_locked = False

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other programs from using the file, from before `load` until after `save`.

        Raises:
            TinyLMError: another program has used it for a minute, or the folder cannot be written.
        """
        if self._is_locked:
            yield
            return
        name = printable(self.path)
        file = self.path.resolve()
        with ExitStack() as stack:
            try:
                wait = partial(self._notify, f"waiting for another program that uses {name}")
                stack.enter_context(file_lock(file.with_name(f".{file.name}.lock"), _WAIT_SECONDS, wait))
            except LockedError:
                raise TinyLMError(f"{name}: another program uses it; try again, or give another file") from None
            except OSError as error:
                raise WriteError(f"{name}: cannot be written ({error.strerror or error})") from None
            self._is_locked = True
            stack.callback(setattr, self, "_is_locked", False)
            yield

    def check(self) -> None:
        """Check that the conversation can be saved.

        Raises:
            DataError: the file holds something else than conversations.
            WriteError: it cannot be written.
        """
        with self.locked():
            self._read_if_there()
            check_writable(self.path)

    def load(self, number: int | None = None) -> Conversation:
        """Read a conversation.

        Args:
            number: which of the file's conversations, counted from 1; None for the last.

        Raises:
            DataError: a line is not a conversation, or the number is too high; the message names the file and line.
        """
        lines = [line for line in self._read() if line.strip()]
        if not 1 <= (len(lines) if number is None else number) <= len(lines):
            raise DataError(self.path, None, f"holds {len(lines)} conversations" if lines else "holds no conversation")
        self._line = lines[(number or 0) - 1]
        return [{"role": message.role, "content": message.content} for message in _DECODER.decode(self._line).messages]

    def save(self, messages: Sequence[Message]) -> None:
        """Write the conversation as it is now, or remove it from the file where no message is left.

        Replies that were stopped before their first word are left out.

        Raises:
            DataError: the file holds something else than conversations; it is unchanged.
            TinyLMError: it cannot be written; it is unchanged.
        """
        spoken = [message for message in messages if message["content"]]
        line = None
        if any(message["role"] != "system" for message in spoken):
            line = json.dumps({"messages": spoken}, ensure_ascii=False).encode("utf-8", "replace")
        with self.locked():
            lines = self._read_if_there()
            if self._line is not None and self._line in lines:
                # The last of equal lines: an earlier equal line is another conversation
                place = len(lines) - 1 - lines[::-1].index(self._line)
                lines[place : place + 1] = [line] if line else []
            elif line:
                if self._line is not None:
                    self._notify(
                        f"another program has changed this conversation in {printable(self.path)}: "
                        "yours is saved as a line of its own"
                    )
                lines.append(line)
            write_file(self.path, b"".join(part + b"\n" for part in lines), private=True)
        self._line = line

    def _read_if_there(self) -> list[bytes]:
        return self._read() if self.path.exists() else []

    def _read(self) -> list[bytes]:
        """The file's lines; those that are not empty are conversations."""
        try:
            lines = self.path.read_bytes().removeprefix(b"\xef\xbb\xbf").splitlines()
        except FileNotFoundError:
            raise DataError(self.path, None, "no such file; check the path") from None
        except OSError as error:
            raise DataError(self.path, None, f"cannot be read ({error.strerror})") from None
        for number, line in enumerate(lines, start=1):
            try:
                if line.strip():
                    _DECODER.decode(line)
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                problem = f'not a conversation as {{"messages": […]}} ({error}); mend or remove that line'
                raise DataError(self.path, number, problem) from None
        return lines
