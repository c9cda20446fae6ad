"""What the user says about files that cannot be told from the files themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tinylm.errors import ConfigError

if TYPE_CHECKING:
    from tinylm.config import DataConfig

BLANK_LINES, WHOLE_FILE = "blank-lines", "file"


@dataclass(frozen=True)
class ReadOptions:
    """How to read files. The defaults leave everything to the files.

    Attributes:
        assistant: whose messages are the assistant's, in the logs of people. A name as the file has it, in any case.
        user: whose messages are the user's; None: everyone else's.
        documents: what parts the documents of a text file: `blank-lines`, `file` (nothing does) or a line. None: lines
            `<|endoftext|>`, else blank lines unless they part paragraphs of running prose.

    Raises:
        ConfigError: a value is empty, or a user is named without an assistant.
    """

    assistant: str | None = None
    user: str | None = None
    documents: str | None = None

    @classmethod
    def of(cls, config: DataConfig) -> ReadOptions:
        """The options that a configuration has; there, an empty text is one that was not given."""
        return cls(config.assistant or None, config.user or None, config.documents or None)

    def __post_init__(self) -> None:
        for option, value in (("assistant", self.assistant), ("user", self.user), ("documents", self.documents)):
            if value is not None and not value.strip():
                raise ConfigError(f"--{option} must not be empty")
        if self.user is not None and self.assistant is None:
            raise ConfigError("--user names who talks with the assistant: give --assistant NAME too")
        if self.user is not None and self.assistant is not None and same_name(self.user, self.assistant):
            raise ConfigError("--user and --assistant must name two people")

    @property
    def key(self) -> list[str | None]:
        """Plain values for the key of a cache: equal for options that read every file alike."""
        assistant, user = (name and name.strip().casefold() for name in (self.assistant, self.user))
        return [assistant, user, self.documents and self.documents.strip()]


def same_name(one: str, other: str) -> bool:
    """Whether two names are of one person: they may differ in case and outer white space."""
    return one.strip().casefold() == other.strip().casefold()
