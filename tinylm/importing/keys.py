"""Values of a foreign configuration, checked; what does not fit is refused by the name of its key."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tinylm.errors import TinyLMError
from tinylm.printable import printable

_MOST_BYTES = 256 << 20
_SHOWN = 60


class ForeignKeys:
    """Values by key, from a file.

    Args:
        where: the file's name, for messages.
        values: of the file.
    """

    def __init__(self, where: str, values: Mapping[str, Any]) -> None:
        self.where, self._values = where, values

    def __contains__(self, key: str) -> bool:
        return self._values.get(key) is not None

    def get(self, key: str) -> Any:
        """The value; None where it is missing."""
        return self._values.get(key)

    def refuse(self, key: str, wanted: str) -> TinyLMError:
        """An error that names a key, its value and what can be imported."""
        value = printable(repr(self._values.get(key)))
        return TinyLMError(f"{self.where}: {key} is {value[:_SHOWN]}; {wanted}")

    def integer(self, key: str, low: int, high: int, default: int | None = None) -> int:
        """A whole number from `low` to `high`.

        Raises:
            TinyLMError: it is missing and has no default, or is another value.
        """
        value = self._values.get(key, default)
        value = default if value is None else value
        if value is None:
            raise TinyLMError(f"{self.where}: {key} is missing")
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self.refuse(key, f"it must be a whole number from {low:,} to {high:,}")
        return value

    def number(self, key: str, low: float, high: float, default: float | None = None) -> float:
        """A number from `low` to `high`; see `integer`."""
        value = self._values.get(key, default)
        value = default if value is None else value
        if value is None:
            raise TinyLMError(f"{self.where}: {key} is missing")
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise self.refuse(key, "it must be a number")
        if not low <= value <= high:
            raise self.refuse(key, f"it must be a number from {low:g} to {high:g}")
        return float(value)

    def only(self, key: str, *allowed: Any) -> None:
        """Check that a key is missing, null or has one of some values.

        Raises:
            TinyLMError: it has another.
        """
        value = self._values.get(key)
        if value is not None and not any(type(value) is type(one) and value == one for one in allowed):
            raise self.refuse(key, f"only {' or '.join(json.dumps(one) for one in allowed)} can be imported")

    def text(self, key: str) -> str | None:
        """A text; None where there is none."""
        value = self._values.get(key)
        return value if isinstance(value, str) else None

    def ids(self, key: str) -> list[int]:
        """A token id or a list of them; empty where there is none."""
        value = self._values.get(key)
        values = value if isinstance(value, list) else [value]
        return [id_ for id_ in values if isinstance(id_, int) and not isinstance(id_, bool)]

    def inner(self, key: str) -> ForeignKeys | None:
        """The values inside of a key; None where there are none.

        Raises:
            TinyLMError: it holds something else.
        """
        value = self._values.get(key)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self.refuse(key, "it must be an object")
        return ForeignKeys(f"{self.where}: {key}", value)


def read_json(path: Path, most_bytes: int = _MOST_BYTES) -> dict[str, Any]:
    """Read a file that holds a JSON object.

    Raises:
        TinyLMError: it cannot be read, is larger than `most_bytes`, or holds something else.
    """
    name = printable(path)
    try:
        size = path.stat().st_size
        if size > most_bytes:
            raise TinyLMError(f"{name}: has {size:,} bytes, more than {most_bytes:,}")
        values = json.loads(path.read_bytes())
    except OSError as error:
        raise TinyLMError(f"{name}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError):
        raise TinyLMError(f"{name}: not a JSON file") from None
    if not isinstance(values, dict):
        raise TinyLMError(f"{name}: not a JSON object")
    return values
