"""Run folders and their checkpoints: safetensors weights beside JSON state, written whole or not at all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from tinylm.config import Config, ModelConfig, config_to_toml, load_config
from tinylm.errors import RunError
from tinylm.files import new_folder, recover_folder, user_errors, write_file
from tinylm.tokenizer import Tokenizer
from tinylm.training.distributed import Ranks, part_like, whole
from tinylm.training.model import LanguageModel
from tinylm.training.optimizer import Optimizer

STATE_SCHEMA_VERSION = 1
CheckpointName = Literal["best", "last"]
StageName = Literal["pretrain", "finetune"]

# Rows of these parameters belong to pieces of the vocabulary
_VOCABULARY_PARAMETERS = ("embedding.weight", "output.weight")


class TrainState(msgspec.Struct, kw_only=True):
    """Where a training run stands; with weights and optimizer, all that is needed to go on bit for bit.

    Batches and dropout are functions of the seed, the stage and the step, so they have no state of their own.
    """

    schema_version: int = STATE_SCHEMA_VERSION
    stage: StageName
    step: int
    plan: dict[StageName, int]
    best_loss: float | None = None
    best_bits_per_byte: float | None = None
    seconds: float = 0.0
    tokens: int = 0
    finished: bool = False
    model: ModelConfig = ModelConfig()
    smoothed_loss: float | None = None
    lowest_loss: float | None = None
    rollbacks: int = 0
    rolled_back_to: int | None = None
    rate_factor: float = 1.0


@dataclass(frozen=True)
class RunFolder:
    """A run's folder and the names of what lies in it."""

    path: Path

    @property
    def config(self) -> Path:
        """The configuration with every default filled in."""
        return self.path / "config.toml"

    @property
    def tokenizer(self) -> Path:
        """The SentencePiece model."""
        return self.path / "tokenizer.model"

    @property
    def metrics(self) -> Path:
        """One JSON object a line: steps, validations, samples and events."""
        return self.path / "metrics.jsonl"

    @property
    def report(self) -> Path:
        """Curves, samples and advice, for a browser."""
        return self.path / "report.html"

    @property
    def tensorboard(self) -> Path:
        """The folder of event files for TensorBoard, where they are wanted."""
        return self.path / "tensorboard"

    @property
    def provenance(self) -> Path:
        """What was trained on: files, their hashes and counts."""
        return self.path / "provenance.json"

    @property
    def checkpoints(self) -> Path:
        """Where the checkpoints are."""
        return self.path / "checkpoints"

    def checkpoint(self, name: CheckpointName) -> Path:
        """The folder of a checkpoint."""
        return self.checkpoints / name

    def held_out(self, stage: StageName) -> Path:
        """Held-out data of a stage, as token ids."""
        return self.path / "val" / f"{stage}.npz"

    def checkpoint_folder(self, name: CheckpointName) -> Path:
        """Where to load from: the wanted checkpoint, or the other one where that is missing or of an earlier stage.

        Raises:
            RunError: the run has no checkpoint, or its state is broken.
        """
        self.check()
        best, last = self.checkpoint("best"), self.checkpoint("last")
        if not best.is_dir() or not last.is_dir():
            return best if best.is_dir() else last
        # Stopped early in fine-tuning, the best checkpoint is still one that cannot chat
        return last if name == "last" or load_state(best).stage != load_state(last).stage else best

    def check(self) -> None:
        """Make sure that this is a run folder.

        Raises:
            RunError: it is not, or has no checkpoint yet.
        """
        if not self.path.is_dir():
            raise RunError(f"{self.path}: no such run folder; `tinylm train` makes one")
        for file in (self.config, self.tokenizer):
            if not file.is_file():
                raise RunError(f"{self.path}: not a run folder of `tinylm train` (no {file.name} in it)")
        recover_folder(self.checkpoint("last"))
        recover_folder(self.checkpoint("best"))
        if not self.checkpoint("last").is_dir() and not self.checkpoint("best").is_dir():
            raise RunError(f"{self.path}: this run was stopped before its first checkpoint; train again")

    def create(self, config: Config, tokenizer: Tokenizer) -> None:
        """Make the folder with its configuration and tokenizer.

        Raises:
            RunError: the folder exists and is not empty.
            TinyLMError: it cannot be written.
        """
        check_free(self.path)
        with user_errors(self.path):
            for folder in (self.checkpoints, self.path / "val"):
                folder.mkdir(parents=True, exist_ok=True)
        write_file(self.config, config_to_toml(config))
        write_file(self.tokenizer, tokenizer.serialized())

    def load_config(self) -> Config:
        """The run's configuration."""
        return load_config(self.config)

    def load_tokenizer(self) -> Tokenizer:
        """The run's tokenizer."""
        return Tokenizer.load(self.tokenizer)


def check_free(path: Path) -> None:
    """Make sure that a folder to be made is not there yet, or empty.

    Raises:
        RunError: something is there.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise RunError(f"{path}: exists already; give another --out, or go on with --resume {path}")


def save_checkpoint(
    folder: Path,
    model: LanguageModel,
    optimizer: Optimizer | None,
    state: TrainState,
    ranks: Ranks | None = None,
) -> None:
    """Write a checkpoint folder; an earlier one stays whole until the new one is.

    Args:
        folder: `checkpoints/last` or `checkpoints/best` of a run.
        model: its weights are saved in fp32.
        optimizer: None where training will not go on from here.
        state: where training stands.
        ranks: that train together, all of which call this; one of them writes.

    Raises:
        TinyLMError: the folder cannot be written.
    """
    weights = _weights(model)
    moments = None
    if optimizer is not None:
        moments = {name: tensor.detach().cpu().contiguous() for name, tensor in optimizer.state().items()}

    def write() -> None:
        with new_folder(folder) as temporary:
            (temporary / "model.safetensors").write_bytes(save_tensors(weights))
            if moments is not None:
                (temporary / "optimizer.safetensors").write_bytes(save_tensors(moments))
            (temporary / "state.json").write_bytes(msgspec.json.format(msgspec.json.encode(state)))

    (ranks or Ranks()).on_main(write)


def load_state(folder: Path) -> TrainState:
    """Read where training stood.

    Raises:
        RunError: the checkpoint is missing, broken or of another version.
    """
    recover_folder(folder)
    path = folder / "state.json"
    try:
        state = msgspec.json.decode(path.read_bytes(), type=TrainState)
    except FileNotFoundError:
        raise RunError(f"{folder}: no checkpoint here") from None
    except (OSError, UnicodeDecodeError, msgspec.MsgspecError) as error:
        raise RunError(f"{path}: cannot be read as a checkpoint's state ({error})") from None
    if state.schema_version != STATE_SCHEMA_VERSION:
        raise RunError(
            f"{path}: a checkpoint of version {state.schema_version}, this TinyLM knows {STATE_SCHEMA_VERSION}"
        )
    return state


def check_checkpoint(folder: Path) -> None:
    """Make sure that training can go on from a checkpoint.

    Raises:
        RunError: it is missing, broken or of another version.
    """
    state = load_state(folder)
    _read_tensors(folder / "model.safetensors")
    if state.step and not state.finished:
        _read_tensors(folder / "optimizer.safetensors")


def load_optimizer(folder: Path, optimizer: Optimizer, ranks: Ranks | None = None) -> None:
    """Take back the optimizer's state; of several processes, one reads it.

    Raises:
        RunError: it is missing, broken, or of another optimizer.
    """
    path = folder / "optimizer.safetensors"
    try:
        optimizer.load_state((ranks or Ranks()).from_main(lambda: _read_tensors(path)))
    except ValueError as error:
        raise RunError(f"{path}: {error}; was config.toml changed after the run began?") from None


def load_weights(
    folder: Path,
    model: LanguageModel,
    pieces: list[str],
    checkpoint_pieces: list[str],
    notify: Callable[[str], None] = lambda _: None,
) -> None:
    """Load a checkpoint's weights into a model whose vocabulary may differ.

    Rows of the vocabulary are matched by piece; pieces that the checkpoint does not know keep their fresh rows.

    Args:
        folder: the checkpoint.
        model: takes the weights.
        pieces: the model's vocabulary.
        checkpoint_pieces: the checkpoint's vocabulary.
        notify: told how many rows were matched and how many start fresh.

    Raises:
        RunError: the checkpoint is missing, broken, or of another shape than the model in more than its vocabulary.
    """
    tensors = _read_tensors(folder / "model.safetensors")
    parameters = dict(model.named_parameters())
    if pieces != checkpoint_pieces:
        known = {piece: row for row, piece in enumerate(checkpoint_pieces)}
        matched = [(row, known[piece]) for row, piece in enumerate(pieces) if piece in known]
        notify(
            f"the vocabulary differs from the checkpoint's ({len(pieces):,} and {len(checkpoint_pieces):,} pieces): "
            f"{len(matched):,} rows matched by piece, {len(pieces) - len(matched):,} start fresh"
        )
        to_rows, from_rows = (torch.tensor(rows) for rows in zip(*matched, strict=True))
        for name in _VOCABULARY_PARAMETERS:
            if name in tensors and name in parameters and tensors[name].shape[1:] == parameters[name].shape[1:]:
                merged = parameters[name].detach().cpu().clone()
                merged[to_rows] = tensors[name][from_rows]
                tensors[name] = merged
    _set_weights(folder, model, tensors)


def load_parameters(folder: Path, model: LanguageModel, ranks: Ranks | None = None) -> None:
    """Load a checkpoint of the model's own run into it; of several processes, one reads it.

    Raises:
        RunError: it is missing or broken.
    """
    _set_weights(folder, model, (ranks or Ranks()).from_main(lambda: _read_tensors(folder / "model.safetensors")))


def load_run_model(run: RunFolder, name: CheckpointName = "best") -> tuple[LanguageModel, Tokenizer, TrainState]:
    """A run's model, ready for evaluation, from its best or last checkpoint.

    Raises:
        RunError, TinyLMError: the folder is not a whole run.
    """
    run.check()
    folder = run.checkpoint_folder(name)
    state = load_state(folder)
    tokenizer = run.load_tokenizer()
    model = LanguageModel(state.model)
    if tokenizer.vocab_size != state.model.vocab_size:
        raise RunError(
            f"{run.path}: the tokenizer has {tokenizer.vocab_size:,} pieces, the checkpoint "
            f"{state.model.vocab_size:,}; tokenizer.model was exchanged"
        )
    pieces = tokenizer.pieces()
    load_weights(folder, model, pieces, pieces)
    return model.eval(), tokenizer, state


def _set_weights(folder: Path, model: LanguageModel, tensors: dict[str, Tensor]) -> None:
    parameters = dict(model.named_parameters())
    if set(tensors) != set(parameters):
        odd = sorted(set(tensors) ^ set(parameters))[0]
        raise RunError(f"{folder}: weights of another architecture (parameter {odd}); use the run's own [model]")
    for name, parameter in parameters.items():
        if tensors[name].shape != parameter.shape:
            raise RunError(
                f"{folder}: {name} is {list(tensors[name].shape)} there and {list(parameter.shape)} in [model]; "
                "use the shape of the checkpoint's run"
            )
        with torch.no_grad():
            parameter.copy_(part_like(tensors[name], parameter))


def _weights(model: LanguageModel) -> dict[str, Tensor]:
    # A tied output layer is the embedding and has no entry of its own
    return {name: whole(p.detach()).cpu().contiguous() for name, p in model.named_parameters()}


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        tensors: dict[str, Tensor] = load_tensors(path.read_bytes())
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror})") from None
    except (SafetensorError, ValueError) as error:
        raise RunError(f"{path}: not a whole safetensors file ({error})") from None
    return tensors
