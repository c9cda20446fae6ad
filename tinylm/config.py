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
from tinylm.printable import printable

_FILE_URI = "file://"
_WIDTHS = (16, 16_384)  # the least and the greatest d_model
_LLAMA_ONLY = (
    "head_size",
    "rope_base",
    "rope_scaling",
    "rope_factor",
    "rope_low_freq_factor",
    "rope_high_freq_factor",
    "rope_original_context",
    "norm_epsilon",
    "qkv_bias",
    "qk_norm",
)


class ModelConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The shape of the decoder-only Transformer."""

    arch: Annotated[
        Literal["classic", "modern", "llama"],
        Meta(
            description="classic: sinusoidal positions, LayerNorm, GELU, biases. "
            "modern: RoPE, RMSNorm, QK-norm, squared ReLU, no biases. "
            "llama: RoPE, RMSNorm, SwiGLU, as Llama, Qwen2 and Qwen3; runs in llama.cpp and transformers too."
        ),
    ] = "classic"
    vocab_size: Annotated[
        int,
        Meta(ge=264, le=262_144, description="Tokens in the vocabulary; lowered where the data cannot fill it."),
    ] = 4096
    d_model: Annotated[int, Meta(ge=_WIDTHS[0], le=_WIDTHS[1], description="Width of the residual stream.")] = 256
    nhead: Annotated[int, Meta(ge=1, le=256, description="Attention heads.")] = 4
    num_kv_heads: Annotated[
        int,
        Meta(ge=0, le=256, description="Key/value heads (modern and llama); 0: as many as nhead."),
    ] = 0
    num_layers: Annotated[int, Meta(ge=1, le=256, description="Transformer blocks.")] = 6
    dim_feedforward: Annotated[int, Meta(ge=16, le=65_536, description="Width inside the feed-forward.")] = 1024
    dropout: Annotated[float, Meta(ge=0.0, lt=1.0, description="Dropout probability in training.")] = 0.0
    context_length: Annotated[int, Meta(ge=16, le=65_536, description="Tokens that the model sees at once.")] = 256
    tie_embeddings: Annotated[bool, Meta(description="Output layer and token embedding share one matrix.")] = True
    head_size: Annotated[
        int, Meta(ge=0, le=1024, description="Width of an attention head (llama only); 0: d_model / nhead.")
    ] = 0
    rope_base: Annotated[
        float, Meta(ge=1, le=1e9, description="Base of the rotary frequencies, theta (llama only).")
    ] = 10_000.0
    rope_scaling: Annotated[
        Literal["none", "linear", "llama3"],
        Meta(description="Lower rotary frequencies, for a longer context (llama only). llama3: as Llama 3.1 does."),
    ] = "none"
    rope_factor: Annotated[float, Meta(ge=1, le=1e6, description="By how much rope_scaling lowers them.")] = 1.0
    rope_low_freq_factor: Annotated[
        float, Meta(gt=0, le=1e6, description="llama3: turns in rope_original_context up to which all is lowered.")
    ] = 1.0
    rope_high_freq_factor: Annotated[
        float, Meta(gt=0, le=1e6, description="llama3: turns from which nothing is lowered.")
    ] = 4.0
    rope_original_context: Annotated[
        int, Meta(ge=0, le=2**30, description="llama3: context before it was made longer. 0: context_length.")
    ] = 0
    norm_epsilon: Annotated[
        float, Meta(gt=0, le=1, description="Added to the mean square by normalizations (llama only).")
    ] = 1e-5
    qkv_bias: Annotated[bool, Meta(description="Biases of queries, keys and values (llama only), as in Qwen2.")] = False
    qk_norm: Annotated[bool, Meta(description="RMSNorm of queries and keys (llama only), as in Qwen3.")] = False

    def __post_init__(self) -> None:
        self._check_llama_options()
        if not self.head_size and self.d_model % self.nhead:
            raise ValueError(
                f"d_model ({self.d_model}) must be divisible by nhead ({self.nhead}); "
                f"try {_possible_heads(self.d_model, self.nhead, self._head_unit)}"
            )
        if self.head_size % self._head_unit:
            raise ValueError(f"head_size ({self.head_size}) must be a multiple of {self._head_unit}")
        if self.head_dim % self._head_unit:
            raise ValueError(
                f"d_model / nhead is {self.head_dim}, but must be a multiple of {self._head_unit} for the attention "
                f"kernel; try d_model = {_nearest_width(self.d_model, self.nhead, self._head_unit)}"
            )
        if self.arch == "classic" and self.num_kv_heads not in (0, self.nhead):
            raise ValueError('num_kv_heads other than nhead needs arch = "modern" or "llama"')
        if self.nhead % self.kv_heads:
            fitting = [d for d in range(1, self.nhead + 1) if self.nhead % d == 0]
            raise ValueError(
                f"nhead ({self.nhead}) must be divisible by num_kv_heads ({self.num_kv_heads}); "
                f"try num_kv_heads = {min(fitting, key=lambda d: abs(d - self.num_kv_heads))}"
            )

    def _check_llama_options(self) -> None:
        if self.arch != "llama":
            defaults = {field.name: field.default for field in msgspec.structs.fields(self)}
            for key in _LLAMA_ONLY:
                if getattr(self, key) != defaults[key]:
                    raise ValueError(f'{key} needs arch = "llama", and arch is "{self.arch}"')
        if self.qkv_bias and self.qk_norm:
            raise ValueError("qkv_bias (Qwen2) and qk_norm (Qwen3) do not go together; set one of them")
        if self.rope_scaling == "none" and self.rope_factor != 1:
            raise ValueError('rope_factor needs rope_scaling = "linear" or "llama3"')
        if self.rope_high_freq_factor <= self.rope_low_freq_factor:
            raise ValueError("rope_high_freq_factor must be greater than rope_low_freq_factor")

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.head_size or self.d_model // self.nhead

    @property
    def _head_unit(self) -> int:
        # onnxruntime's attention wants whole vectors, and twice as wide ones where it also rotates them
        return 8 if self.arch == "classic" else 16

    @property
    def kv_heads(self) -> int:
        """Key/value heads, with the default filled in."""
        return self.num_kv_heads or self.nhead

    @property
    def feedforward_matrices(self) -> int:
        """Matrices of `d_model` x `dim_feedforward` in a block."""
        return 3 if self.arch == "llama" else 2

    @property
    def block_weights(self) -> int:
        """Number of weights of the matrices in all blocks."""
        attention = 2 * (self.nhead + self.kv_heads) * self.head_dim
        return self.num_layers * self.d_model * (attention + self.feedforward_matrices * self.dim_feedforward)


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


def _possible_heads(width: int, near: int, unit: int) -> str:
    heads = [d for d in range(1, min(width, 256) + 1) if width % (unit * d) == 0]
    if not heads:
        return f"d_model = {_nearest_width(width, near, unit)}"
    return f"nhead = {min(heads, key=lambda d: abs(d - near))}"


def _nearest_width(width: int, heads: int, unit: int) -> int:
    multiple = unit * heads
    least, most = -(-_WIDTHS[0] // multiple), _WIDTHS[1] // multiple
    return multiple * min(max(round(width / multiple), least), most)
