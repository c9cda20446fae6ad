"""From what was timed to ratios, figures and a table."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from loops import METRICS, Metric
from shapes import Shape
from systems import OURS, PEER, System

if TYPE_CHECKING:
    from rich.table import Table


@dataclass
class Measurements:
    """Of one system, at one shape and number of threads.

    Attributes:
        once: what is measured once, by name.
        seconds: what is measured repeatedly, by the name of the metric.
    """

    once: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, list[float]] = field(default_factory=dict)

    def speeds(self, metric: Metric) -> tuple[float, float, float]:
        """Tokens a second: the median, and the quartiles about it."""
        low, middle, high = np.quantile(metric.tokens / np.array(self.seconds[metric.name]), (0.25, 0.5, 0.75))
        return float(middle), float(low), float(high)


Group = Mapping[str, Measurements]
"""What was measured at one shape and number of threads, by the key of the system."""


def suffix(threads: int) -> str:
    """What marks a number of threads in the name of a result; one is not marked."""
    return "" if threads == 1 else f"_{threads}t"


def ratios(name: str, threads: int, group: Group) -> dict[str, float]:
    """Speed of ours over llama.cpp's, with or without flash attention, whichever is faster.

    Args:
        name: of the shape.
        threads: of all systems.
        group: what was measured.
    """
    peers = [group[key] for key in PEER if key in group]
    if not peers:
        return {}
    return {
        f"{name}.{metric.name}{suffix(threads)}": group[OURS].speeds(metric)[0]
        / max(peer.speeds(metric)[0] for peer in peers)
        for metric in METRICS
    }


def figures(
    name: str, shape: Shape, threads: int, systems: Sequence[System], group: Group, bandwidth: float
) -> dict[str, float | list[float]]:
    """Everything else.

    Args:
        name: of the shape.
        shape: itself.
        threads: of all systems.
        systems: those that were measured.
        group: what was measured.
        bandwidth: of reading memory with so many threads, in bytes a second.

    Returns:
        for each system the median and quartiles of each speed, the share of the bandwidth that its decode takes for
        weights alone, and what was measured once.
    """
    values: dict[str, float | list[float]] = {}
    for system in systems:
        own, mark = f"{name}.{system.key}", suffix(threads)
        measured = group[system.key]
        for metric in METRICS:
            median, low, high = measured.speeds(metric)
            values[f"{own}.{metric.name}{mark}"] = median
            values[f"{own}.{metric.name}{mark}.quartiles"] = [low, high]
            if metric.name == "decode":
                elements = shape.llama_weights_per_token if "gguf" in system.needs else shape.weights_per_token
                weights = elements * system.weight_bytes
                values[f"{own}.weight_bytes_per_token"] = weights
                values[f"{own}.read_share{mark}"] = weights * median / bandwidth
        values.update({f"{own}.{key}{mark}": value for key, value in measured.once.items()})
    return values


def rounded(values: Mapping[str, float | list[float]]) -> dict[str, float | list[float]]:
    """Values with four significant digits."""

    def shorten(value: float) -> float:
        return float(f"{value:.4g}")

    return {
        name: [shorten(item) for item in value] if isinstance(value, list) else shorten(value)
        for name, value in values.items()
    }


def print_table(title: str, systems: Sequence[System], group: Group) -> None:
    """What was measured at one shape and number of threads, for people."""
    from rich.console import Console  # not at the top: the processes that are measured import this module too
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column("tokens/s, median (quartiles)", no_wrap=True)
    for heading in (*(metric.name for metric in METRICS), "load ms", "first token ms", "peak MB", "file MB"):
        table.add_column(heading, justify="right")
    for system in systems:
        measured = group[system.key]
        speeds = [measured.speeds(metric) for metric in METRICS]
        cells = [f"{median:,.0f} ({low:,.0f}-{high:,.0f})" for median, low, high in speeds]
        for key, factor in (("load_s", 1e3), ("time_to_first_token_s", 1e3), ("peak_rss_mb", 1), ("file_mb", 1)):
            cells.append(f"{measured.once[key] * factor:,.1f}" if key in measured.once else "")
        table.add_row(system.title, *cells)
    Console(width=None if sys.stdout.isatty() else 180).print(table)


def print_results(
    table: Table,
    ratios: Mapping[str, float | list[float]],
    figures: Mapping[str, float | list[float]],
    out: Path | None,
) -> None:
    """Print the table and, as the last line, one JSON object.

    Args:
        table: for people.
        ratios: of the JSON object.
        figures: of the JSON object.
        out: a file for the JSON object too.
    """
    from rich.console import Console  # not at the top, as in print_table

    Console(width=None if sys.stdout.isatty() else 120).print(table)
    result = json.dumps({"ratios": rounded(ratios), "figures": rounded(figures)})
    if out is not None:
        out.write_text(result + "\n", "utf-8")
    print(result)
