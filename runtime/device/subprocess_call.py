"""Run a function in a subprocess, whose memory, threads and crashes are not this process's."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from tinylm.errors import TinyLMError, rebuild_error

_INTERPRETER = re.compile(r"(python|pypy|graalpy)w?(\d[\d.]*)?t?([-_]\w+)?(\.exe)?", re.IGNORECASE)


class ChildError(TinyLMError):
    """The subprocess ended without a result."""


def python_can_start() -> bool:
    """Whether `sys.executable` is a Python interpreter, so that a subprocess of it does what `call` wants.

    In a frozen program (PyInstaller, cx_Freeze, Nuitka), or one that embeds Python, it is the program itself, which
    would start a second time.
    """
    frozen = getattr(sys, "frozen", False) or "__compiled__" in globals()
    return not frozen and _INTERPRETER.fullmatch(Path(sys.executable or "").name) is not None


def call(function: str, *arguments: Any, timeout: float | None = None) -> Any:
    """Call a function of TinyLM in a subprocess, or in this process where no Python interpreter can be started.

    Args:
        function: as module:name.
        arguments: JSON values.
        timeout: seconds after which the subprocess is killed.

    Returns:
        the function's result, converted to JSON and back.

    Raises:
        TinyLMError: what the function raised of this kind, or a `ChildError`.
    """
    if not python_can_start():
        return json.loads(json.dumps(resolve_name(function)(*arguments), default=_json_value))
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
            # On Windows a program without a console would otherwise open one
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
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
        raise rebuild_error(_error_class(outcome["error"]), outcome["arguments"], outcome["attributes"])
    return outcome["result"]


def _error_class(name: str) -> type[TinyLMError]:
    """The class of an error, given as module:name; the base class where it cannot be found."""
    try:
        kind = resolve_name(name)
    except (ImportError, AttributeError, ValueError):
        return TinyLMError
    return kind if isinstance(kind, type) and issubclass(kind, TinyLMError) else TinyLMError


def _json_value(value: object) -> Any:
    """JSON's form of a msgspec struct; of other values, their text."""
    if not hasattr(value, "__struct_fields__"):
        return str(value)
    import msgspec  # only here: the function may test whether it can be imported

    return msgspec.to_builtins(value)


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
        outcome = {"error": kind, "arguments": error.args, "attributes": vars(error)}
    print(json.dumps(outcome, default=_json_value))  # noqa: T201 - the parent process reads it


if __name__ == "__main__":
    _main()
