"""Reads request bodies: what is understood, what is passed over, and what is refused by name.

A parameter that this server does not have is one of three kinds. It changes nothing (a label, or the value that is used
anyway): accepted. It would change how a reply is made, but not what was asked for (tools that the model may use, an
effort of reasoning): passed over, and named in a header of the response. Or the reply would not be what was asked for
without it (JSON of a schema, a call of a tool that must be made, an image): refused. A strict server refuses the second
kind too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, TypeVar

import msgspec
from msgspec import Struct, inspect

from tinylm.runtime.server.errors import ApiError, invalid

IGNORED_HEADER = "x-tinylm-ignored"
_MOST_NAMED = 20
_LONGEST_NAME = 100

R = TypeVar("R", bound=Struct)
Predicate = Callable[[Any], bool]


def anything(_: Any) -> bool:
    """Whether a value changes nothing: always."""
    return True


def one_of(*values: Any) -> Predicate:
    """Whether a value is one of those, where true is not 1 and false is not 0."""
    return lambda value: any(value == other and isinstance(value, bool) == isinstance(other, bool) for other in values)


@dataclass(frozen=True)
class Rules:
    """How the parameters of an API are treated that are not in its request's type.

    Attributes:
        harmless: parameters of which some values, for which the function is true, change nothing.
        refused: parameters whose other values cannot be passed over.
    """

    harmless: Mapping[str, Predicate]
    refused: frozenset[str]


@dataclass
class Ignored:
    """What of a request was passed over.

    Attributes:
        names: of parameters, as `tools` or `messages[].name`, each once.
    """

    names: list[str] = field(default_factory=list)

    def add(self, name: str) -> None:
        """Note a parameter."""
        if name not in self.names and len(self.names) < _MOST_NAMED:
            self.names.append(name)

    @property
    def headers(self) -> dict[str, str]:
        """The response header that names them."""
        if not self.names:
            return {}
        shown = ", ".join(shown_name(name) for name in self.names)
        return {IGNORED_HEADER: shown.encode("ascii", "backslashreplace").decode()}


def parse(body: bytes, kind: type[R], rules: Rules, strict: bool) -> tuple[R, Ignored]:
    """Read a request's body.

    Args:
        body: as it came.
        kind: type of the request.
        rules: for parameters that it does not have.
        strict: whether to refuse what could be passed over.

    Raises:
        ApiError: the body is no JSON object of this kind, or asks for what is not supported.
    """
    try:
        values = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise invalid(f"the body is not JSON ({error})", code="invalid_json") from None
    if not isinstance(values, dict):
        raise invalid("the body must be a JSON object", code="invalid_json")
    known = _names_of(kind)
    wanted, ignored = {}, Ignored()
    for name, value in values.items():
        if value is None:
            continue
        if name in known:
            wanted[name] = value
        elif name not in rules.harmless or not rules.harmless[name](value):
            if strict or name in rules.refused:
                raise unsupported(name, value=name in rules.harmless)
            ignored.add(name)
    cleaned = _Cleaner(strict, ignored).clean(wanted, _type_of(kind), "")
    try:
        return msgspec.convert(cleaned, kind), ignored
    except msgspec.ValidationError as error:
        raise _wrong(str(error)) from None


@cache
def _names_of(kind: type[Struct]) -> frozenset[str]:
    """The names of a type's fields. Kept, as msgspec evaluates all annotations to find them."""
    return frozenset(field.name for field in msgspec.structs.fields(kind))


@cache
def _type_of(kind: type[Struct]) -> inspect.Type:
    return inspect.type_info(kind)


class _Cleaner:
    """Brings a decoded body to the form of a type: without null, without what is not in the type, 16 for 16.0."""

    def __init__(self, strict: bool, ignored: Ignored) -> None:
        self._strict, self._ignored = strict, ignored

    def clean(self, value: Any, kind: inspect.Type, path: str) -> Any:
        """A value of a type, at a path in the body."""
        kinds = kind.types if isinstance(kind, inspect.UnionType) else (kind,)
        if isinstance(value, dict):
            for one in kinds:
                if isinstance(one, inspect.StructType):
                    return self._clean_struct(value, one, path)
        if isinstance(value, list):
            for one in kinds:
                if isinstance(one, inspect.ListType):
                    return [self.clean(item, one.item_type, f"{path}[]") for item in value]
        integral = any(isinstance(one, inspect.IntType) for one in kinds)
        if integral and not self._strict and isinstance(value, float) and value.is_integer():
            return int(value)
        return value

    def _clean_struct(self, value: dict[str, Any], kind: inspect.StructType, path: str) -> dict[str, Any]:
        fields = {field.encode_name: field.type for field in kind.fields}
        cleaned = {}
        for name, item in value.items():
            place = f"{path}.{name}" if path else name
            if item is None:
                continue  # null says nothing
            if name in fields:
                cleaned[name] = self.clean(item, fields[name], place)
            elif item == []:
                continue  # nor does an empty list, as `tool_calls` in what clients send back of a reply
            elif self._strict or name in _REFUSED_WITHIN:
                cleaned[name] = item  # its place is named when the type refuses it
            else:
                self._ignored.add(place)
        return cleaned


_REFUSED_WITHIN = frozenset({"tool_calls", "function_call", "images", "audio", "image_url", "input_audio", "file"})
"""Members of messages and their parts without which they would not say the same."""

_PATH = re.compile(r" - at `(?:key(?:s)? in )?\$\.?([^`]*)`")
_UNKNOWN = re.compile(r"Object contains unknown field `([^`]*)`")


def unsupported(name: str, value: bool = False) -> ApiError:
    """A parameter that is not supported, or a value of it."""
    what = "this value of it is not supported" if value else "not supported by this server"
    return invalid(f"{shown_name(name)}: {what}; leave it out", name[:_LONGEST_NAME], "unsupported_parameter")


def shown_name(name: str) -> str:
    """The name of a parameter as messages show it: on one line, and not too long."""
    return repr(name[:_LONGEST_NAME])[1:-1] or "the body"


def _wrong(problem: str) -> ApiError:
    """From msgspec's message to one that names the parameter."""
    place = _PATH.search(problem)
    param = place[1] if place else ""
    problem = _PATH.sub("", problem)
    unknown = _UNKNOWN.search(problem)
    if unknown:
        return unsupported(f"{param}.{unknown[1]}" if param else unknown[1])
    missing = re.search(r"missing required field `([^`]*)`", problem)
    if missing:
        param = f"{param}.{missing[1]}" if param else missing[1]
        return invalid(f"{param} is missing", param, "missing_required_parameter")
    return invalid(f"{shown_name(param)}: {problem[:1].lower()}{problem[1:]}", param or None)
