"""A curve in one line of text, drawn with small bars."""

from __future__ import annotations

_BARS = "▁▂▃▄▅▆▇█"
_PLAIN_BARS = "_.-=+*%#"
_POINTS = 512


class Sparkline:
    """A value over progress, in bounded memory: the last value in each of 512 parts."""

    def __init__(self) -> None:
        self._values: dict[int, float] = {}

    def add(self, progress: float, value: float) -> None:
        """Add a value at a progress from 0 to 1."""
        self._values[min(int(progress * _POINTS), _POINTS - 1)] = value

    def cut(self, progress: float) -> None:
        """Remove the values after a progress."""
        self._values = {part: value for part, value in self._values.items() if part <= progress * _POINTS}

    def line(self, columns: int, plain: bool = False) -> str:
        """Draw the line; its columns match those of a progress bar of the same width.

        Args:
            columns: width of the whole progress.
            plain: use ASCII characters only.
        """
        if not self._values:
            return ""
        bars = _PLAIN_BARS if plain else _BARS
        sampled: dict[int, float] = {}
        for part, value in sorted(self._values.items()):
            sampled[part * columns // _POINTS] = value
        lowest, highest = min(sampled.values()), max(sampled.values())
        span = highest - lowest or 1.0
        line, bar = "", ""
        for column in range(max(sampled) + 1):
            if column in sampled:
                bar = bars[min(int((sampled[column] - lowest) / span * len(bars)), len(bars) - 1)]
            line += bar or " "
        return line
