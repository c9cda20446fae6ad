"""A function in a Python process of its own, so that its memory, its threads and its crashes are not ours."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pkgutil import resolve_name
from typing import Any

from tinylm import errors
from tinylm.errors import TinyLMError


class ChildError(TinyLMError):
    """The process ended without a result."""


def call(function: str, *arguments: Any, timeout: float | None = None) -> Any:
    """Call a function of TinyLM's in a new process.

    Args:
        function: as module:name.
        arguments: anything that JSON knows.
        timeout: seconds until it is ended.

    Returns:
        what the function returned, through JSON.

    Raises:
        TinyLMError: what the function raised of this kind, or a `ChildError`.
    """
    # -P: a file in the working folder must not stand in for a module of Python's
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
        kind = getattr(errors, outcome["kind"], TinyLMError)
        raise kind(outcome["error"])
    return outcome["result"]


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
        outcome = {"error": str(error), "kind": type(error).__name__}
    print(json.dumps(outcome))  # noqa: T201 - what the other process waits for


if __name__ == "__main__":
    _main()
