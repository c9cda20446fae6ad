"""Errors that a user can cause. Each message is one line: what is wrong, where, and what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike, fspath
from typing import Any


class TinyLMError(Exception):
    """Base of every error that is not a bug in TinyLM; the command line shows its message without a traceback."""

    exit_code = 1

    def __reduce__(self) -> tuple[Any, ...]:
        # The default calls the class with `args`, which the constructor of a subclass need not accept
        return rebuild_error, (type(self), self.args, vars(self))


def rebuild_error(kind: type[TinyLMError], arguments: Sequence[Any], attributes: Mapping[str, Any]) -> TinyLMError:
    """Create an error of any subclass from its parts, for pickle and for other processes.

    Args:
        kind: its class.
        arguments: its `args`.
        attributes: its instance attributes.
    """
    error = kind.__new__(kind, *arguments)
    vars(error).update(attributes)
    return error


class ConfigError(TinyLMError):
    """A configuration value or option is unknown or impossible. The message names it."""

    exit_code = 2


class DataError(TinyLMError):
    """A data file cannot be read as what it should be.

    Attributes:
        path: the file.
        line: the line in it, counted from 1, or None where the whole file is meant.
        problem: what is wrong with it.
    """

    def __init__(self, path: str | PathLike[str], line: int | None, problem: str) -> None:
        self.path = fspath(path)
        self.line = line
        self.problem = problem
        super().__init__(self.path, line, problem)

    def __str__(self) -> str:
        where = self.path if self.line is None else f"{self.path}:{self.line}"
        return f"{where}: {self.problem}"


class WriteError(TinyLMError):
    """A file or folder cannot be written: no permission, a full disk and the like."""


class BundleError(TinyLMError):
    """A bundle is missing, incomplete, changed, or of a version that this TinyLM does not know."""


class RunError(TinyLMError):
    """A run folder or one of its checkpoints is missing, incomplete or unsuitable."""


class ContextFullError(TinyLMError):
    """The prompt does not fit into the model's context."""


class SilentError(TinyLMError):
    """An error that another process of the same training shows."""
