"""Run a function in a new Python process, so that its memory, threads and crashes do not affect this one."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pkgutil import resolve_name
from typing import Any

from tinylm.errors import TinyLMError, rebuild_error


class ChildError(TinyLMError):
    """The process ended without a result."""


def call(function: str, *arguments: Any, timeout: float | None = None) -> Any:
    """Call a function in a new process.

    Args:
        function: `module:name`.
        arguments: values that JSON can represent.
        timeout: seconds after which the process is killed; None: never.

    Returns:
        the function's value, as JSON represents it.

    Raises:
        TinyLMError: the error of this kind that the function raised, with its class and attributes.
        ChildError: the process did not return a value.
    """
    # -P: without it a file in the working folder could replace a module of the standard library
    command = [sys.executable, "-P", "-m", __name__, function, json.dumps(arguments)]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ChildError(f"no result after {timeout:.0f} seconds") from None
    except OSError as error:
        raise ChildError(f"{sys.executable} does not start ({error.strerror})") from None
    try:
        outcome = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        lines = done.stderr.strip().splitlines()
        raise ChildError(_ending(done.returncode, lines[-1] if lines else "")) from None
    if "error" in outcome:
        raise rebuild_error(_error_class(outcome["kind"]), outcome["error"], outcome["attributes"])
    return outcome["result"]


def _error_class(name: str) -> type[TinyLMError]:
    """The class of an error, as module:name; the base class where it cannot be found."""
    try:
        kind = resolve_name(name)
    except (ImportError, AttributeError, ValueError):
        return TinyLMError
    return kind if isinstance(kind, type) and issubclass(kind, TinyLMError) else TinyLMError


def _ending(status: int, last_line: str) -> str:
    if status >= 0:
        return last_line or f"ended with status {status}"
    try:
        return f"crashed with {signal.Signals(-status).name}"
    except ValueError:
        return f"crashed with signal {-status}"


def _main() -> None:
    function, arguments = sys.argv[1:]
    outcome: dict[str, Any]
    try:
        outcome = {"result": resolve_name(function)(*json.loads(arguments))}
    except TinyLMError as error:
        kind = f"{type(error).__module__}:{type(error).__qualname__}"
        outcome = {"error": str(error), "kind": kind, "attributes": vars(error)}
    print(json.dumps(outcome, default=str))  # noqa: T201 - read by the parent process


if __name__ == "__main__":
    _main()
