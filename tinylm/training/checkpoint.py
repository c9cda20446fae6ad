"""Checkpoints: safetensors weights and optimizer state beside JSON state, written atomically."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from tinylm.errors import RunError
from tinylm.files import new_folder
from tinylm.run_folder import CheckpointName, RunFolder, TrainState, load_state
from tinylm.tokenizer import Tokenizer
from tinylm.training.distributed import Ranks, part_like, whole
from tinylm.training.hardware import limit_torch_threads
from tinylm.training.lora import merged
from tinylm.training.model import LanguageModel
from tinylm.training.optimizer import Optimizer

# Parameters with a row for each piece of the vocabulary
_VOCABULARY_PARAMETERS = ("embedding.weight", "output.weight")


def save_checkpoint(
    folder: Path,
    model: LanguageModel,
    optimizer: Optimizer | None,
    state: TrainState,
    ranks: Ranks | None = None,
) -> None:
    """Write a checkpoint folder; it replaces an earlier one only when it is complete.

    Args:
        folder: `checkpoints/last` or `checkpoints/best` of a run.
        model: its weights are saved in fp32.
        optimizer: its state is saved too; None where training will not continue from this checkpoint. Only then are
            adapters merged into the weights, as the sum does not tell what was added.
        state: the state of the training.
        ranks: the processes that train together; all call this, and the main one writes.

    Raises:
        TinyLMError: the folder cannot be written.
    """
    weights = _weights(model) if optimizer is not None else merged(_weights(model))
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


def check_checkpoint(folder: Path) -> None:
    """Make sure that training can continue from a checkpoint.

    Raises:
        RunError: the checkpoint is missing, broken or of another version.
    """
    state = load_state(folder)
    _read_tensors(folder / "model.safetensors")
    if state.step and not state.finished:
        _read_tensors(folder / "optimizer.safetensors")


def load_optimizer(folder: Path, optimizer: Optimizer, ranks: Ranks | None = None) -> None:
    """Load the optimizer's state; of several processes, the main one reads it.

    Raises:
        RunError: the state is missing, broken, or of another optimizer.
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
    """Load a checkpoint's weights, with its adapters merged, into a model whose vocabulary may differ.

    Rows of the vocabulary are matched by piece; pieces that are not in the checkpoint keep their initial rows.

    Args:
        folder: the checkpoint.
        model: receives the weights.
        pieces: the model's vocabulary.
        checkpoint_pieces: the checkpoint's vocabulary.
        notify: receives a line with the number of rows that were matched and that start fresh.

    Raises:
        RunError: the checkpoint is missing, broken, or of another shape than the model in more than its vocabulary.
    """
    tensors = merged(_read_tensors(folder / "model.safetensors"))
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
                rows = parameters[name].detach().cpu().clone()
                rows[to_rows] = tensors[name][from_rows]
                tensors[name] = rows
    _set_weights(folder, model, tensors)


def load_parameters(folder: Path, model: LanguageModel, ranks: Ranks | None = None) -> None:
    """Load a checkpoint of the model's own run, with adapters apart; of several processes, the main one reads it.

    Raises:
        RunError: the checkpoint is missing or broken.
    """
    _set_weights(folder, model, (ranks or Ranks()).from_main(lambda: _read_tensors(folder / "model.safetensors")))


def load_run_model(run: RunFolder, name: CheckpointName = "best") -> tuple[LanguageModel, Tokenizer, TrainState]:
    """Load the model of a run from its best or last checkpoint, for evaluation and export.

    From then on torch uses no more threads than `limit_torch_threads` allows.

    Returns:
        the model in evaluation mode, its tokenizer, and the state of the checkpoint.

    Raises:
        RunError, TinyLMError: the folder is not a complete run.
    """
    run.check()
    limit_torch_threads()
    folder = run.checkpoint_folder(name)
    state = load_state(folder)
    tokenizer = run.load_tokenizer()
    check_vocabulary(run, tokenizer, state)
    model = LanguageModel(state.model)
    pieces = tokenizer.pieces()
    load_weights(folder, model, pieces, pieces)
    return model.eval(), tokenizer, state


def check_vocabulary(run: RunFolder, tokenizer: Tokenizer, state: TrainState) -> None:
    """Make sure that a tokenizer is of the checkpoint's vocabulary.

    Raises:
        RunError: it is not.
    """
    if tokenizer.vocab_size != state.model.vocab_size:
        raise RunError(
            f"{run.path}: the tokenizer has {tokenizer.vocab_size:,} pieces, the checkpoint "
            f"{state.model.vocab_size:,}; {run.tokenizer.name} is not the run's own"
        )


def _set_weights(folder: Path, model: LanguageModel, tensors: dict[str, Tensor]) -> None:
    parameters = dict(model.named_parameters())
    if model.shift is not None:
        # A run of a version without a token shift: none of it is the same
        tensors.setdefault("shift.share", torch.zeros(model.config.d_model))
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
