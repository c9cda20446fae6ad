"""Advice on a run, derived from its curves by rules, which docs/train.md lists."""

from __future__ import annotations

from collections.abc import Sequence

from tinylm.run_folder import StageName
from tinylm.run_log import RunLog, StepLine

_OVERFITS = 0.01
_STILL_FALLING = 0.02
_FRESH_REPEATS = 4.0
_MANY_REPEATS = 16.0
_FEW_TOKENS = 100_000
_FEW_HELD_OUT_TOKENS = 1_000
_JUMP = 0.7


class Smoothing:
    """An exponential moving average with bias correction (Kingma and Ba 2015, section 3).

    Args:
        count: expected number of values; the average of few values is over a shorter window.
    """

    def __init__(self, count: int) -> None:
        self._new = max(0.05, min(1.0, 8 / max(count, 1)))
        self._total = self._weight = 0.0

    def add(self, value: float) -> None:
        """Add a value."""
        self._total += self._new * (value - self._total)
        self._weight += self._new * (1 - self._weight)

    @property
    def value(self) -> float:
        """The average; 0 before the first value."""
        return self._total / self._weight if self._weight else 0.0


def smoothed(values: Sequence[float]) -> list[float]:
    """The moving average after each value."""
    smoothing, result = Smoothing(len(values)), []
    for value in values:
        smoothing.add(value)
        result.append(smoothing.value)
    return result


def stage_advice(log: RunLog, stage: StageName, finished: bool, epochs: float, tokens: int, held_out: int) -> list[str]:
    """Give advice on one stage, a sentence each.

    Args:
        log: the log of the stage.
        stage: name of the stage.
        finished: whether all its steps were taken.
        epochs: how often each token of its data was seen.
        tokens: number of tokens of its data; 0 if unknown.
        held_out: number of tokens that validation counts; 0 if there are none.
    """
    data = "text" if stage == "pretrain" else "conversations"
    bits = [line.bits_per_byte for line in log.validations]
    best = min(log.validations, key=lambda line: line.validation_loss, default=None)
    sentences: list[str] = []
    rate = "train.learning_rate" if stage == "pretrain" else "train.finetune_learning_rate"
    jump = _jump(log.steps)
    back = [event for event in log.events if event.event == "rolled_back"]
    if back:
        sentences.append(
            f"Training diverged and was rolled back to step {back[-1].step:,}, from where it continued at a lower "
            f"learning rate: lower {rate} from the start, or check the data for broken text."
        )
    elif jump is not None:
        sentences.append(
            f"The training loss jumped at step {jump:,}: the learning rate is too high for this model; lower {rate}, "
            "or check the data for broken text."
        )
    overfits = best is not None and bits[-1] > best.bits_per_byte * (1 + _OVERFITS)
    if best is not None and overfits:
        sentences.append(
            f"Validation was best at step {best.step:,} ({best.bits_per_byte:.4f} bits per byte) and rose to "
            f"{bits[-1]:.4f}, while training continued: the model overfits. Export takes the best "
            f"checkpoint. More {data} help most; or fewer steps, model.dropout = 0.1, a smaller model."
        )
    elif finished and len(bits) >= 4:
        quarter = bits[-1 - max(1, len(bits) // 4)]
        if bits[-1] < quarter * (1 - _STILL_FALLING) and epochs <= _FRESH_REPEATS:
            sentences.append(
                f"Validation still fell in the last quarter (by {1 - bits[-1] / quarter:.1%}), and the data was seen "
                f"{epochs:.1f} times: more steps or minutes will improve the model."
            )
    if epochs > _MANY_REPEATS and not overfits:
        sentences.append(
            f"The data was seen {epochs:.0f} times: beyond {_MANY_REPEATS:.0f}, more {data} help more than more steps "
            "(Muennighoff et al. 2023, arXiv:2305.16264)."
        )
    if 0 < tokens < _FEW_TOKENS:
        sentences.append(f"{tokens:,} tokens are little to train on: below {_FEW_TOKENS:,}, more {data} help most.")
    if not held_out and not bits:
        sentences.append("Nothing was held out, so overfitting cannot be seen.")
    elif 0 < held_out < _FEW_HELD_OUT_TOKENS:
        sentences.append(
            f"Validation counts only {held_out:,} tokens, so its figures are rough; raise data.validation_fraction, or "
            f"give more {data}."
        )
    return sentences


def _jump(steps: Sequence[StepLine]) -> int | None:
    """Find the first step at which the smoothed loss rose far above its lowest value so far."""
    lowest = float("inf")
    for line, value in zip(steps, smoothed([line.loss for line in steps]), strict=True):
        lowest = min(lowest, value)
        if value > lowest + _JUMP:
            return line.step
    return None
