"""The arguments of `export_bundle`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING

from tinylm.config import StrPath
from tinylm.errors import ConfigError

if TYPE_CHECKING:
    from tinylm.run_folder import CheckpointName


@dataclass(frozen=True)
class ExportOptions:
    """The arguments of `export_bundle`; see there.

    Raises:
        ConfigError: arguments contradict each other.
    """

    run: StrPath
    out: StrPath
    _: KW_ONLY
    quantize: bool = False
    bits: int = 8
    portable: bool = False
    genai: bool = False
    checkpoint: CheckpointName = "best"
    context_length: int = 0
    overwrite: bool = False
    limits: Mapping[str, float] | Sequence[str] = ()
    notify: Callable[[str], None] = lambda _: None
    progress: Callable[[int, int], None] = lambda _done, _all: None

    def __post_init__(self) -> None:
        if self.bits not in (8, 4):
            raise ConfigError(f"--bits {self.bits}: there is 8 and 4")
        if self.bits == 4 and not self.quantize:
            raise ConfigError("--bits 4 goes with --quantize")
        if self.bits == 4 and self.portable:
            raise ConfigError("--bits 4 needs onnxruntime's own operators: leave out --portable")
