"""The errors that a user can cause. Each message is one line: what is wrong, where, and the way out."""

from __future__ import annotations

from os import PathLike, fspath


def shown_path(path: str | PathLike[str]) -> str:
    """A path as text that can be printed: bytes of a name that are not UTF-8 become question marks."""
    return fspath(path).encode("utf-8", "replace").decode("utf-8")


class TinyLMError(Exception):
    """Base of every error that is not a bug in TinyLM; the command line shows its message without a traceback."""

    exit_code = 1


class ConfigError(TinyLMError):
    """A configuration value or option is unknown or impossible. The message names it."""

    exit_code = 2


class DataError(TinyLMError):
    """A data file cannot be read as what it should be.

    Attributes:
        path: the file.
        line: the line in it, counted from 1, or None where the whole file is meant.
    """

    def __init__(self, path: str | PathLike[str], line: int | None, problem: str) -> None:
        self.path = fspath(path)
        self.line = line
        where = shown_path(path) if line is None else f"{shown_path(path)}:{line}"
        super().__init__(f"{where}: {problem}")


class BundleError(TinyLMError):
    """A bundle is missing, incomplete, changed, or of a version that this TinyLM does not know."""


class RunError(TinyLMError):
    """A run folder or one of its checkpoints is missing, incomplete or unsuitable."""


class ContextFullError(TinyLMError):
    """The prompt does not fit into the model's context."""


class SilentError(TinyLMError):
    """An error that another process of the same training shows."""
