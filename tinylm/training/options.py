"""The arguments of `train`, and the configuration that they ask for."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinylm.config import Config, StrPath, Values, config_values, given_values, make_config, source_name
from tinylm.errors import ConfigError, TinyLMError
from tinylm.installation import install_command

if TYPE_CHECKING:
    from tinylm.training.callbacks import TrainingCallback

_WITH_RESUME = {"resume", "tensorboard", "progress", "callbacks", "should_stop"}


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """The arguments of `train`; see there.

    Attributes:
        started: `time.monotonic()` at the call, from where `minutes` count.

    Raises:
        ConfigError: arguments contradict each other.
        TinyLMError: TensorBoard is not installed.
    """

    pretrain: StrPath | Sequence[StrPath] = ()
    finetune: StrPath | Sequence[StrPath] = ()
    out: StrPath | None = None
    config: StrPath | Values | Config | None = None
    settings: Mapping[str, Any] | Sequence[str] = field(default_factory=dict)
    steps: int | None = None
    minutes: float | None = None
    device_tokens_per_second: float | None = None
    init: StrPath | None = None
    new_tokenizer: bool = False
    assistant: str | None = None
    user: str | None = None
    documents: str | None = None
    resume: StrPath | None = None
    tensorboard: bool = False
    progress: bool = True
    callbacks: Sequence[TrainingCallback] = ()
    should_stop: Callable[[], bool] = lambda: False
    started: float = field(init=False, default_factory=time.monotonic)

    def __post_init__(self) -> None:
        if self.steps is not None and self.minutes is not None:
            raise ConfigError("--steps and --minutes are two ways to give the budget: use one of them")
        if self.steps is not None and self.steps < 1:
            raise ConfigError(f"--steps {self.steps}: give at least 1")
        if self.resume is not None and self._beside_resume():
            raise ConfigError(
                f"--resume continues a run exactly as it was begun: leave out {', '.join(self._beside_resume())}"
            )
        if self.new_tokenizer and self.init is None:
            raise ConfigError("--new-tokenizer goes with --init; without it the tokenizer is always new")
        if self.tensorboard and find_spec("tensorboard") is None:
            raise TinyLMError(
                f"`tinylm train --tensorboard` needs tensorboard: install it with {install_command('tensorboard')}"
            )

    def _beside_resume(self) -> list[str]:
        """The options that `--resume` excludes, as the command names them."""
        names = [each.name for each in fields(self) if each.init and each.name not in _WITH_RESUME]
        options = {"settings": "set"}
        return [f"--{options.get(name, name).replace('_', '-')}" for name in names if getattr(self, name)]


def requested_config(options: TrainingOptions) -> tuple[Config, set[str]]:
    """The configuration of a new run, and what of it was set by the user.

    Returns:
        the configuration, with absolute data paths; and the values that were set, as `section.key`.

    Raises:
        ConfigError: the file cannot be read, a section or key is unknown, a value is impossible, or there is no data.
        TinyLMError: the run to start from is incomplete.
    """
    given = given_values(options.config, options.settings, _base_values(options.init))
    values = config_values(make_config(given, source_name(options.config)))
    if options.steps is not None:
        values["train"]["steps"] = options.steps
    if options.minutes is not None:
        values["train"].update(minutes=options.minutes, steps=0)
    if options.device_tokens_per_second is not None:
        values["train"]["device_tokens_per_second"] = options.device_tokens_per_second
    for stage, paths in (("pretrain", options.pretrain), ("finetune", options.finetune)):
        values["data"][stage] = [_absolute(path, stage) for path in _listed(paths) or values["data"][stage]]
    for name, value in (("assistant", options.assistant), ("user", options.user), ("documents", options.documents)):
        if value is not None:
            values["data"][name] = value
    config = make_config(values)
    return config, {f"{section}.{key}" for section, table in given.items() for key in table}


def own_settings(options: TrainingOptions) -> set[str]:
    """The values that the user has set, as `section.key`, without those of the run to start from."""
    return {
        f"{section}.{key}" for section, table in given_values(options.config, options.settings).items() for key in table
    }


def require_data(config: Config) -> None:
    """Make sure that there is data for the stages.

    Raises:
        ConfigError: there is none.
    """
    if not config.data.pretrain and not config.data.finetune:
        raise ConfigError(
            "nothing to train on: give --pretrain TEXT and/or --finetune CHATS "
            "(`tinylm data world world/` writes a small world to try with)"
        )
    if config.data.replay and not config.data.pretrain:
        raise ConfigError("data.replay mixes raw text into fine-tuning: give --pretrain TEXT too")


def check_init(config: Config, init: StrPath | None) -> None:
    """Make sure that a new model is trained as a whole.

    Raises:
        ConfigError: parts of a model of random weights would be frozen.
    """
    for key, frozen in (
        ("lora_rank", config.train.lora_rank > 0),
        ("freeze_embeddings", config.train.freeze_embeddings == "on"),
    ):
        if frozen and init is None:
            raise ConfigError(f"train.{key} leaves weights as they are, which goes with --init RUN")


def _base_values(init: StrPath | None) -> dict[str, dict[str, Any]]:
    """The model's values of the run to start from, such that a shorter context leaves its positions as they are."""
    if init is None:
        return {}
    # Imported here, so that `tinylm train --help` stays light
    from tinylm.run_folder import RunFolder

    run = RunFolder(Path(init))
    run.check()
    model = config_values(run.load_config())["model"]
    if model["rope_scaling"] == "llama3":
        model["rope_original_context"] = model["rope_original_context"] or model["context_length"]
    return {"model": model}


def _listed(paths: StrPath | Iterable[StrPath]) -> list[StrPath]:
    return [paths] if isinstance(paths, str | os.PathLike) else list(paths)


def _absolute(path: StrPath, stage: str) -> str:
    if not os.fspath(path):
        raise ConfigError(f"--{stage}: the path is empty")
    return str(Path(path).absolute())
