"""What the curves of a run say, by rules; docs/train.md names them."""

from __future__ import annotations

from collections.abc import Sequence

from tinylm.run_folder import StageName
from tinylm.run_log import RunLog, StepLine

_LEARNT_BY_HEART = 0.01
_STILL_FALLING = 0.02
_FRESH_REPEATS = 4.0
_MANY_REPEATS = 16.0
_FEW_TOKENS = 100_000
_FEW_HELD_OUT_TOKENS = 1_000
_JUMP = 0.7


class Smoothing:
    """An exponential moving average that does not lean on its first value (Kingma and Ba 2015, section 3).

    Args:
        count: values that are expected; of few, it looks back over fewer.
    """

    def __init__(self, count: int) -> None:
        self._new = max(0.05, min(1.0, 8 / max(count, 1)))
        self._total = self._weight = 0.0

    def add(self, value: float) -> None:
        """Take in a value."""
        self._total += self._new * (value - self._total)
        self._weight += self._new * (1 - self._weight)

    @property
    def value(self) -> float:
        """The average; 0 of nothing."""
        return self._total / self._weight if self._weight else 0.0


def smoothed(values: Sequence[float]) -> list[float]:
    """The moving average after each value."""
    smoothing, result = Smoothing(len(values)), []
    for value in values:
        smoothing.add(value)
        result.append(smoothing.value)
    return result


def stage_advice(log: RunLog, stage: StageName, finished: bool, epochs: float, tokens: int, held_out: int) -> list[str]:
    """Sentences on one stage.

    Args:
        log: of that stage alone.
        stage: its name.
        finished: all its steps are done.
        epochs: how often each token of its data was seen.
        tokens: of its data; 0 where it is not known.
        held_out: tokens that validation counts; 0 where there are none.
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
            f"Training went wrong and went back to step {back[-1].step:,}, from where it went on at a lower learning "
            f"rate: lower {rate} from the start, or look at what the data holds."
        )
    elif jump is not None:
        sentences.append(
            f"The training loss jumped at step {jump:,}: the learning rate is too high for this model; lower {rate}, "
            "or look at what the data holds."
        )
    by_heart = best is not None and bits[-1] > best.bits_per_byte * (1 + _LEARNT_BY_HEART)
    if best is not None and by_heart:
        sentences.append(
            f"Validation was best at step {best.step:,} ({best.bits_per_byte:.4f} bits per byte) and rose to "
            f"{bits[-1]:.4f}, while training went on: the model learns its data by heart. What is exported is the best "
            f"checkpoint. More {data} help most; or fewer steps, model.dropout = 0.1, a smaller model."
        )
    elif finished and len(bits) >= 4:
        quarter = bits[-1 - max(1, len(bits) // 4)]
        if bits[-1] < quarter * (1 - _STILL_FALLING) and epochs <= _FRESH_REPEATS:
            sentences.append(
                f"Validation still fell in the last quarter (by {1 - bits[-1] / quarter:.1%}), and the data was seen "
                f"{epochs:.1f} times: more steps or minutes will make it better."
            )
    if epochs > _MANY_REPEATS and not by_heart:
        sentences.append(
            f"The data was seen {epochs:.0f} times: beyond {_MANY_REPEATS:.0f}, more {data} help more than more steps "
            "(Muennighoff et al. 2023, arXiv:2305.16264)."
        )
    if 0 < tokens < _FEW_TOKENS:
        sentences.append(f"{tokens:,} tokens are few to learn from: below {_FEW_TOKENS:,}, more {data} help most.")
    if not held_out and not bits:
        sentences.append("Nothing was held out, so nothing shows whether the model learns more than its data by heart.")
    elif 0 < held_out < _FEW_HELD_OUT_TOKENS:
        sentences.append(
            f"Validation looks at {held_out:,} tokens only: its figures are rough; raise data.validation_fraction, or "
            f"give more {data}."
        )
    return sentences


def _jump(steps: Sequence[StepLine]) -> int | None:
    """The step at which the smoothed loss first lay far above what had been reached."""
    lowest = float("inf")
    for line, value in zip(steps, smoothed([line.loss for line in steps]), strict=True):
        lowest = min(lowest, value)
        if value > lowest + _JUMP:
            return line.step
    return None
