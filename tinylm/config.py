"""Every hyperparameter, in one validated configuration that is written to each run as `config.toml`."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import unquote_to_bytes

import msgspec
from msgspec import Meta

from tinylm.config_messages import readable, unknown_key
from tinylm.errors import ConfigError
from tinylm.model_config import ModelConfig as ModelConfig
from tinylm.printable import printable

_FILE_URI = "file://"


class TokenizerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the SentencePiece BPE tokenizer is trained; its size is `model.vocab_size`."""

    split_digits: Annotated[bool, Meta(description="Each digit is a token of its own.")] = True
    max_sample_megabytes: Annotated[
        float,
        Meta(ge=0.01, le=1000, description="Text that the tokenizer is trained on, at most; spread over the data."),
    ] = 16.0


class TrainConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Budget, optimization and bookkeeping of both stages."""

    minutes: Annotated[
        float,
        Meta(
            ge=0,
            le=1_000_000,
            description="Wall clock of the whole command; used where no steps are given. 0: not set.",
        ),
    ] = 10.0
    steps: Annotated[int, Meta(ge=0, description="Optimizer steps of both stages together. 0: from minutes.")] = 0
    max_epochs: Annotated[
        float,
        Meta(
            ge=0,
            le=1_000_000,
            description="Passes over the data of a stage, at most, where minutes are the budget. 0: no limit.",
        ),
    ] = 0.0
    pretrain_share: Annotated[
        float, Meta(gt=0, lt=1, description="Part of the budget for pre-training where both stages run.")
    ] = 0.5
    batch_size: Annotated[
        int, Meta(ge=1, description="Rows of context_length tokens a pass, all processes together.")
    ] = 16
    accumulate: Annotated[int, Meta(ge=1, description="Passes whose gradients make one step.")] = 1
    optimizer: Annotated[
        Literal["muon", "adamw"],
        Meta(description="muon: Muon on the matrices of the blocks, AdamW on the rest."),
    ] = "muon"
    learning_rate: Annotated[float, Meta(gt=0, le=1000, description="Peak learning rate of pre-training.")] = 6e-3
    finetune_learning_rate: Annotated[float, Meta(gt=0, le=1000, description="Peak learning rate of fine-tuning.")] = (
        4e-3
    )
    lora_rank: Annotated[
        int,
        Meta(
            ge=0,
            le=4096,
            description="Train low-rank adapters of this rank on the matrices of the blocks, and nothing else there "
            "(LoRA). 0: train all weights.",
        ),
    ] = 0
    freeze_embeddings: Annotated[
        Literal["auto", "on", "off"],
        Meta(
            description="Leave token embedding and output layer as they are. auto: with lora_rank, where the "
            "vocabulary has nothing to learn."
        ),
    ] = "auto"
    gradient_checkpointing: Annotated[
        bool,
        Meta(description="Compute each block again in the backward pass: a third more work for much less memory."),
    ] = False
    warmup: Annotated[float, Meta(ge=0, le=1, description="Part of a stage's steps that warms up.")] = 0.05
    decay: Annotated[float, Meta(ge=0, le=1, description="Part of a stage's steps that decays, linearly to zero.")] = (
        0.5
    )
    weight_decay: Annotated[float, Meta(ge=0, le=1000, description="Decoupled weight decay of the matrices.")] = 0.05
    finetune_weight_decay: Annotated[
        float, Meta(ge=-1, le=1000, description="The same in fine-tuning. -1: as weight_decay.")
    ] = -1.0
    clip_norm: Annotated[
        float, Meta(ge=0, le=1_000_000, description="Largest norm of the gradient. 0: not clipped.")
    ] = 1.0
    validations: Annotated[int, Meta(ge=1, description="Validations in a stage, the last one at its end.")] = 8
    sample_prompts: Annotated[
        list[str],
        Meta(
            description="Prompts of the samples that are generated during training: user messages, or in pre-training "
            "beginnings of a text. Empty: built-in prompts."
        ),
    ] = []
    sample_tokens: Annotated[int, Meta(ge=0, le=1024, description="Length of such a sample. 0: no samples.")] = 32
    sharded: Annotated[
        bool,
        Meta(description="With torchrun: each process keeps a part of the weights (FSDP2), not all of them (DDP)."),
    ] = False
    keep_checkpoints: Annotated[
        int,
        Meta(ge=0, le=1000, description="Earlier checkpoints that are kept beside last and best, one a validation."),
    ] = 2
    max_rollbacks: Annotated[
        int,
        Meta(
            ge=0,
            description="How often a stage that diverges may go back to an earlier checkpoint, at half the rate.",
        ),
    ] = 3
    precision: Annotated[
        Literal["auto", "bf16", "fp32"], Meta(description="auto: bf16 where the processor computes in it.")
    ] = "auto"
    device: Annotated[str, Meta(description="auto, cpu, cuda or mps.")] = "auto"
    compile: Annotated[
        Literal["auto", "on", "off"],
        Meta(description="torch.compile. auto: for CUDA, with a C compiler and two minutes or more."),
    ] = "auto"
    threads: Annotated[int, Meta(ge=0, description="CPU threads. 0: the usable cores, at most OMP_NUM_THREADS.")] = 0
    device_tokens_per_second: Annotated[
        float,
        Meta(
            ge=0,
            le=1_000_000,
            description="Decode speed of the demo model where the model will run, as tinylm bench shows it there. 0: "
            "not known.",
        ),
    ] = 0.0
    seed: Annotated[int, Meta(ge=0, le=2**62, description="Of weights, shuffling and dropout.")] = 1

    def __post_init__(self) -> None:
        if self.warmup + self.decay > 1:
            raise ValueError(f"warmup + decay is {self.warmup + self.decay:g}, but a stage has only 1")
        if not self.steps and not self.minutes:
            raise ValueError("steps and minutes are both 0; set one of them")


class DataConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is trained on, and what is held out."""

    pretrain: Annotated[
        list[str],
        Meta(description="Raw text: files, folders, globs. PATH=WEIGHT is seen WEIGHT times as often."),
    ] = []
    finetune: Annotated[list[str], Meta(description="Conversations: files, folders, globs, likewise.")] = []
    assistant: Annotated[
        str, Meta(description="Whose messages are the assistant's in chats of people; empty where roles are marked.")
    ] = ""
    user: Annotated[
        str, Meta(description="Whose messages are the user's in chats of people; empty: everyone else's.")
    ] = ""
    documents: Annotated[
        str, Meta(description="What parts the documents of a text file: blank-lines, file or a line; empty: found out.")
    ] = ""
    replay: Annotated[
        float,
        Meta(ge=0, le=0.9, description="Part of fine-tuning's rows that is raw text, so that it is not forgotten."),
    ] = 0.0
    validation_fraction: Annotated[
        float, Meta(ge=0, le=0.5, description="Part of the documents and of the conversations held out.")
    ] = 0.02
    validation_tokens: Annotated[
        int, Meta(ge=256, description="Tokens that one validation during training looks at, at most.")
    ] = 16_384

    def __post_init__(self) -> None:
        if self.user and not self.assistant:
            raise ValueError("user names who talks with the assistant; set assistant too")


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole configuration of a run."""

    model: ModelConfig = ModelConfig()
    tokenizer: TokenizerConfig = TokenizerConfig()
    train: TrainConfig = TrainConfig()
    data: DataConfig = DataConfig()


StrPath = str | os.PathLike[str]
Values = Mapping[str, Mapping[str, Any]]


def load_config(
    source: StrPath | Values | Config | None = None,
    settings: Mapping[str, Any] | Iterable[str] = (),
    base: Values | None = None,
) -> Config:
    """Read a configuration: the defaults, then what `given_values` returns.

    Raises:
        ConfigError: the file cannot be read, a section or key is unknown, or a value is impossible.
    """
    return make_config(given_values(source, settings, base), source_name(source))


def given_values(
    source: StrPath | Values | Config | None = None,
    settings: Mapping[str, Any] | Iterable[str] = (),
    base: Values | None = None,
) -> dict[str, Any]:
    """Collect the values that are not left to the defaults: the base, then the source, then single settings.

    Args:
        source: a TOML file with any of the sections and keys, or the same as a mapping or a configuration. Relative
            data paths in a file are relative to the file's folder.
        settings: values by `section.key`; or strings `section.key=value`, where the value is TOML (`0.1`, `true`,
            `[1, 2]`) or else a string.
        base: values that take the place of the defaults.

    Raises:
        ConfigError: the file cannot be read, or a setting has no section and key.
    """
    if source is None:
        values: dict[str, Any] = {}
    elif isinstance(source, Config):
        values = config_values(source)
    elif isinstance(source, Mapping):
        values = {section: dict(table) if isinstance(table, Mapping) else table for section, table in source.items()}
    else:
        values = _read_file(source)
    for section, table in (base or {}).items():
        given = values.get(section, {})
        values[section] = {**table, **given} if isinstance(given, dict) else given
    for name, value in settings.items() if isinstance(settings, Mapping) else map(_parse_setting, settings):
        section, dot, key = name.strip().partition(".")
        if not dot or not key:
            raise _not_a_setting(name)
        table = values.setdefault(section, {})
        if not isinstance(table, dict):
            raise ConfigError(f"{section}: must be a section of the configuration, not a value")
        table[key] = value
    return values


def source_name(source: StrPath | Values | Config | None) -> str | None:
    """The file that a configuration is read from, for messages; None where it is no file."""
    return os.fspath(source) if isinstance(source, str | os.PathLike) else None


def make_config(values: Mapping[str, Any], source: str | None = None) -> Config:
    """Validate nested plain values as a configuration.

    Args:
        values: one mapping a section.
        source: the file that the values are from, for the message.

    Raises:
        ConfigError: names the section, the key and the way out.
    """
    prefix = f"{source}: " if source else ""
    problem = unknown_key(values, Config)
    if problem:
        raise ConfigError(prefix + problem)
    try:
        return msgspec.convert(values, Config)
    except msgspec.ValidationError as error:
        raise ConfigError(prefix + readable(str(error), Config)) from None


def config_values(config: Config) -> dict[str, dict[str, Any]]:
    """The configuration as nested plain values, every default filled in."""
    values: dict[str, dict[str, Any]] = msgspec.to_builtins(config)
    return values


def config_to_toml(config: Config) -> str:
    """The configuration as TOML, every default filled in and every key explained."""
    import tomlkit

    document = tomlkit.document()
    for section, values in config_values(config).items():
        table = tomlkit.table()
        section_type = type(getattr(config, section))
        for field in msgspec.inspect.type_info(section_type).fields:  # type: ignore[attr-defined]
            description = (getattr(field.type, "extra_json_schema", None) or {}).get("description")
            if description:
                table.add(tomlkit.comment(description))
            table.add(field.name, _as_toml(values[field.name]))
        document.add(section, table)
    return tomlkit.dumps(document)


def _as_toml(value: Any) -> Any:
    """The value; paths that are not UTF-8, which no TOML file can hold, become `file:` URIs."""
    if isinstance(value, list):
        return [_as_toml(item) for item in value]
    if isinstance(value, str) and printable(value) != value:
        return Path(value).absolute().as_uri()
    return value


def _from_uri(path: str) -> str:
    return os.fsdecode(unquote_to_bytes(path.removeprefix(_FILE_URI))) if path.startswith(_FILE_URI) else path


def _read_file(file: StrPath) -> dict[str, Any]:
    """The values of a TOML file, with absolute data paths."""
    try:
        values = tomllib.loads(Path(file).read_text("utf-8-sig"))  # some editors write a byte order mark
    except OSError as error:
        raise ConfigError(f"{os.fspath(file)}: cannot be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{os.fspath(file)}: not a TOML file: {error}") from None
    data = values.get("data")
    folder = Path(file).absolute().parent
    for key in ("pretrain", "finetune"):
        paths = data.get(key) if isinstance(data, dict) else None
        if isinstance(data, dict) and isinstance(paths, list):
            data[key] = [str(folder / _from_uri(path)) if isinstance(path, str) and path else path for path in paths]
    return values


def _parse_setting(setting: str) -> tuple[str, Any]:
    """The name and the value of `section.key=value`."""
    name, equals, text = setting.partition("=")
    if not equals or not name.partition(".")[2].strip():
        raise _not_a_setting(setting)
    text = text.strip()
    try:
        return name, tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return name, text


def _not_a_setting(setting: str) -> ConfigError:
    return ConfigError(f"--set {setting}: give section.key=value, as in --set model.d_model=256")
