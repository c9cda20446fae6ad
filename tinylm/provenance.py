"""What a run was trained on: files with their hashes and counts, in the run folder and in a bundle's manifest."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import msgspec

from tinylm.errors import RunError
from tinylm.files import write_file
from tinylm.printable import json_text

_Kind = TypeVar("_Kind")


class TrainingFile(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A file that a stage was trained on.

    Attributes:
        name: without its folder.
        bytes: its size.
        sha256: of its content.
        weight: how often its text is seen in an epoch.
    """

    name: str
    bytes: int
    sha256: str
    weight: float = 1.0


class StageProvenance(msgspec.Struct, frozen=True, kw_only=True):
    """What a stage was trained on.

    Attributes:
        files: in the order in which they were given.
        examples: documents or conversations that it was trained on.
        held_out: documents or conversations that were held out.
    """

    files: list[TrainingFile]
    examples: int
    held_out: int


class ImportedModel(msgspec.Struct, frozen=True, kw_only=True):
    """A pre-trained model that a run was imported from.

    Attributes:
        name: as its files give it.
        form: `Hugging Face` or `GGUF`.
        license: as its files name it; None where they do not.
        chat_format: family of its chat format.
        files: that its weights were read from.
    """

    name: str
    form: str
    license: str | None
    chat_format: str
    files: list[TrainingFile]


def write_imported(path: Path, model: ImportedModel) -> None:
    """Write a run's `imported.json`.

    Raises:
        TinyLMError: it cannot be written.
    """
    write_file(path, json_text(msgspec.to_builtins(model), indent=1))


def read_imported(path: Path) -> ImportedModel | None:
    """Read a run's `imported.json`; None for a run that does not go back to an imported model.

    Raises:
        RunError: it is broken.
    """
    return _read(path, ImportedModel) if path.is_file() else None


def write_provenance(path: Path, stages: Mapping[str, StageProvenance]) -> None:
    """Write a run's `provenance.json`.

    Raises:
        TinyLMError: it cannot be written.
    """
    write_file(path, json_text(msgspec.to_builtins(stages), indent=1))


def read_provenance(path: Path) -> dict[str, StageProvenance]:
    """Read a run's `provenance.json`: what each stage was trained on.

    Raises:
        RunError: it is missing or broken.
    """
    return _read(path, dict[str, StageProvenance])


def _read(path: Path, kind: type[_Kind]) -> _Kind:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror})") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise RunError(f"{path}: cannot be read ({error})") from None
