"""A run as it is exported."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tinylm.config import StrPath
from tinylm.errors import ConfigError
from tinylm.run_folder import CheckpointName, RunFolder, TrainState
from tinylm.tokenizer import Tokenizer
from tinylm.training.checkpoint import load_run_model
from tinylm.training.model import LanguageModel, shorten_context

LEAST_CONTEXT = 16


@dataclass(frozen=True)
class ExportSource:
    """A run as it is exported.

    Attributes:
        run: the run.
        model: its model, with the context that is asked for.
        tokenizer: its tokenizer.
        state: the state of the checkpoint.
    """

    run: RunFolder
    model: LanguageModel
    tokenizer: Tokenizer
    state: TrainState


def load_source(run: StrPath, checkpoint: CheckpointName = "best", context_length: int = 0) -> ExportSource:
    """Load a run for its export.

    Args:
        run: the run folder: a path, or what `train` returned.
        checkpoint: `"best"` or `"last"`.
        context_length: tokens of context, at most the model's; 0: the model's.

    Raises:
        ConfigError: the model has no such context.
        RunError: the run is incomplete.
    """
    folder = RunFolder(Path(run))
    model, tokenizer, state = load_run_model(folder, checkpoint)
    if context_length:
        most = model.config.context_length
        if not LEAST_CONTEXT <= context_length <= most:
            raise ConfigError(f"--context-length {context_length}: this model takes {LEAST_CONTEXT} to {most:,}")
        shorten_context(model, context_length)
    return ExportSource(folder, model, tokenizer, state)
