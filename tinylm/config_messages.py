"""One-line messages for mistakes in a configuration."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any, get_args

import msgspec


def unknown_key(values: Mapping[str, Any], config: type[msgspec.Struct]) -> str:
    """Name the first unknown section or key of nested values, with the nearest known one; empty where all are known.

    Args:
        values: one mapping a section.
        config: a struct whose fields are the sections, which are structs too.
    """
    sections = {field.name: field.type for field in msgspec.structs.fields(config)}
    for section, table in values.items():
        if section not in sections:
            return f"unknown section [{section}]{_did_you_mean(section, sections)}"
        if not isinstance(table, Mapping):
            return f"{section}: must be a section of the configuration, not a value"
        keys = [field.name for field in msgspec.structs.fields(sections[section])]
        for key in table:
            if key not in keys:
                return f"unknown key {section}.{key}{_did_you_mean(key, keys)}"
    return ""


def readable(message: str, config: type[msgspec.Struct]) -> str:
    """Put the key of msgspec's `… - at `$.model.d_model`` first, and add the choices where there are a few.

    Args:
        message: of a `msgspec.ValidationError`.
        config: the struct that the values were converted to.
    """
    match = re.fullmatch(r"(.*) - at `\$\.?(.*)`", message, re.DOTALL)
    if not match or not match[2]:
        return message
    return f"{match[2]}: {match[1][0].lower()}{match[1][1:]}{_choices(match[1], match[2], config)}"


def _did_you_mean(name: str, known: Iterable[str]) -> str:
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]}?" if close else f"; known are {', '.join(known)}"


def _choices(problem: str, where: str, config: type[msgspec.Struct]) -> str:
    if not problem.startswith("Invalid enum value"):
        return ""
    section, key = where.split(".")
    table = next(field.type for field in msgspec.structs.fields(config) if field.name == section)
    annotated = next(field.type for field in msgspec.structs.fields(table) if field.name == key)
    return f"; there is {', '.join(get_args(get_args(annotated)[0]))}"
