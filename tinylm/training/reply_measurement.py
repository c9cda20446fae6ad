"""Measure the replies of a run when its training ends, for the log and the report."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from tinylm.evaluation import TokenSequences
from tinylm.reply_quality import ReplyModel, ReplyQuality, conversations_of, measure_replies
from tinylm.reply_ranking import CANDIDATES
from tinylm.run_folder import RunFolder, TrainState
from tinylm.run_log import RunLogWriter
from tinylm.training.checkpoint import load_run_model
from tinylm.training.torch_decoder import TorchDecoder

_SECONDS, _SHARE, _FEWEST_SECONDS = 10.0, 0.03, 1.0
_FEWEST_REPLIES = 10  # a figure of fewer, as of a large model, would say nothing


def measurement_seconds(budget: float) -> float:
    """Time for the measurement.

    Args:
        budget: seconds of the whole training; 0 where its budget is in steps.

    Returns:
        seconds; 0 where the budget is too small for any.
    """
    seconds = min(_SECONDS, _SHARE * budget) if budget else _SECONDS
    return seconds if seconds >= _FEWEST_SECONDS else 0.0


def log_reply_quality(
    run: RunFolder, state: TrainState, texts: Iterable[str], seconds: float, warn: Callable[[str], None]
) -> None:
    """Measure the best checkpoint, and add an event `measured` to the log. It cannot fail a training.

    Args:
        run: the finished run. Nothing is measured where it holds out few replies, or none.
        state: of its last checkpoint.
        texts: what it was trained on.
        seconds: when to stop.
        warn: receives the reason where it cannot be measured.
    """
    try:
        quality = _measure(run, texts, time.monotonic() + seconds) if seconds else None
        if quality is not None:
            RunLogWriter(run.metrics, warn).append_event(state.stage, state.step, "measured", **quality.as_json())
    except Exception as error:  # noqa: BLE001 - hours of training are worth more than a figure
        warn(f"the replies could not be measured ({' '.join(str(error).split()) or type(error).__name__})")


def _measure(run: RunFolder, texts: Iterable[str], deadline: float) -> ReplyQuality | None:
    if not run.held_out("finetune").is_file():
        return None
    model, tokenizer, _ = load_run_model(run)
    conversations = conversations_of(TokenSequences.load(run.held_out("finetune")), tokenizer)
    replies = {message["content"] for chat in conversations for message in chat if message["role"] == "assistant"}
    if len(replies) < CANDIDATES:
        return None
    decoder = TorchDecoder(model)
    replying = ReplyModel(decoder, decoder.continuation_losses, tokenizer)
    quality = measure_replies(replying, conversations, training_texts=texts, deadline=deadline, fewest=1)
    return quality if quality is not None and quality.replies >= _FEWEST_REPLIES else None
