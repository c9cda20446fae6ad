"""What a run was trained on: files with their hashes and counts, in the run folder and in a bundle's manifest."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from tinylm.errors import RunError
from tinylm.files import write_file
from tinylm.printable import json_text


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
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, StageProvenance])
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror})") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise RunError(f"{path}: cannot be read ({error})") from None
