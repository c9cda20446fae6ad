"""Curves as SVG, drawn by matplotlib; their colours are CSS variables of the page."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO

from tinylm.report.quiet_matplotlib import Figure, FigureCanvasSVG, FuncFormatter, MaxNLocator, matplotlib

# Placeholder colours, which are replaced by CSS variables, so that a chart follows the light or dark theme
_VARIABLES = {"#010101": "--text", "#020202": "--rule", "#030303": "--curve", "#040404": "--accent"}
_TEXT, _RULE, _CURVE, _ACCENT = _VARIABLES
_SIZE = (5.2, 2.7)  # inches of 72 units


@dataclass(frozen=True)
class Curve:
    """A line of a chart.

    Attributes:
        x, y: its points.
        name: in the legend; empty for none.
        style: main, faint (what a main one smooths) or marked (each point is one measurement).
    """

    x: Sequence[float]
    y: Sequence[float]
    name: str = ""
    style: str = "main"


def chart_svg(title: str, curves: Sequence[Curve], *, borders: Sequence[float] = (), wide_range: bool = False) -> str:
    """Draw a chart over the steps of a run.

    Args:
        title: the accessible name, for screen readers.
        curves: the curves; NaN leaves a gap.
        borders: steps at which a new stage begins.
        wide_range: the highest points of a faint curve may be cut off, so that the main one fills the height.

    Returns:
        an <svg> element without references to anything outside it.
    """
    with matplotlib.rc_context(
        {"svg.fonttype": "none", "svg.hashsalt": title, "font.size": 8.5, "path.simplify_threshold": 0.3}
    ):
        figure = Figure(_SIZE, layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.subplots()
        for curve in curves:
            marked = curve.style == "marked"
            axes.plot(
                curve.x,
                curve.y,
                color=_ACCENT if marked else _CURVE,
                alpha=0.3 if curve.style == "faint" else 1,
                linewidth=0.8 if curve.style == "faint" else 1.6,
                marker="o" if marked or len(curve.x) == 1 else None,
                markersize=3.5,
                label=curve.name or None,
            )
        for border in borders:
            axes.axvline(border, color=_TEXT, linewidth=0.8, linestyle=(0, (2, 3)))
        if wide_range:
            values = sorted(value for curve in curves for value in curve.y)
            if values and values[-1] > values[0]:
                low, high = values[0], values[int(0.99 * (len(values) - 1))]
                axes.set_ylim(low - 0.05 * (high - low or 1), high + 0.05 * (high - low or 1))
        axes.set_xlim(left=0)
        axes.set_xlabel("step", color=_TEXT)
        axes.tick_params(colors=_TEXT, length=0)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.5g}"))
        axes.grid(color=_RULE, linewidth=0.7)
        axes.spines[:].set_visible(False)
        axes.patch.set_alpha(0)
        figure.patch.set_alpha(0)
        if any(curve.name for curve in curves):
            axes.legend(frameon=False, labelcolor=_TEXT, loc="best")
        written = StringIO()
        figure.savefig(written, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return _for_page(written.getvalue(), title)


def _for_page(svg: str, title: str) -> str:
    """Reduce an SVG file to its element, with flexible width and the colours and fonts of the page."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>\s*", "", body, flags=re.DOTALL)
    for colour, variable in _VARIABLES.items():
        body = body.replace(colour, f"var({variable})")
    body = re.sub(r"font: ([\d.]+px)[^;\"]*", r"font-size: \1", body)
    # Ids are unique in a file, but not among several charts on one page
    prefix = re.sub(r"\W+", "-", title.lower())
    body = re.sub(r'\bid="', f'id="{prefix}-', body)
    body = re.sub(r'href="#', f'href="#{prefix}-', body)
    body = body.replace("url(#", f"url(#{prefix}-")
    width, height = (round(72 * inches, 1) for inches in _SIZE)
    opening = f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{title}"'
    return re.sub(r"<svg[^>]*?(?=>)", opening, body, count=1)
