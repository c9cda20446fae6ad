"""A run or a bundle, opened to be measured: a run with torch, a bundle with the runtime, without torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tinylm.config import StrPath
from tinylm.evaluation import Window
from tinylm.run_folder import RunFolder
from tinylm.runtime.session import Decoder
from tinylm.tokenizer import Tokenizer


@dataclass(frozen=True)
class MeasuredModel:
    """A run or a bundle, opened.

    Attributes:
        folder: of the run or bundle.
        losses: computes the summed negative log-likelihood, in nats, of windows.
        decoder: the model token by token.
        continuation_losses: see `ReplyModel`.
        tokenizer: of the model.
        is_chat: whether it was fine-tuned on conversations.
        held_out: a run's held-out data; None for a bundle.
    """

    folder: Path
    losses: Callable[[Sequence[Window]], float]
    decoder: Decoder
    continuation_losses: Callable[[Sequence[Sequence[int]]], Sequence[float]]
    tokenizer: Tokenizer
    is_chat: bool
    held_out: Path | None


def open_model(path: StrPath) -> MeasuredModel:
    """Open a run or a bundle to measure it.

    Raises:
        TinyLMError: it is neither, or broken.
    """
    folder = Path(path)
    return _open_run(folder) if is_run(folder) else _open_bundle(folder)


def is_run(folder: Path) -> bool:
    """Whether a folder is one of a run."""
    return RunFolder(folder).config.is_file()


def _open_run(folder: Path) -> MeasuredModel:
    from tinylm.training.checkpoint import load_run_model
    from tinylm.training.torch_decoder import TorchDecoder
    from tinylm.training.window_losses import model_losses

    run = RunFolder(folder)
    model, tokenizer, state = load_run_model(run)
    decoder = TorchDecoder(model)
    return MeasuredModel(
        folder=folder,
        losses=lambda windows: model_losses(model, windows),
        decoder=decoder,
        continuation_losses=decoder.continuation_losses,
        tokenizer=tokenizer,
        is_chat=state.stage == "finetune",
        held_out=run.held_out(state.stage),
    )


def _open_bundle(folder: Path) -> MeasuredModel:
    from tinylm.runtime.chat_model import ChatModel
    from tinylm.runtime.scoring import continuation_losses, decode_losses

    model = ChatModel(folder)
    return MeasuredModel(
        folder=folder,
        losses=lambda windows: decode_losses(model.session, windows),
        decoder=model.session,
        continuation_losses=partial(continuation_losses, model.session),
        tokenizer=model.tokenizer,
        is_chat=model.manifest.chat,
        held_out=None,
    )
