"""Histograms and curves as inline SVG that takes its colours and its font from the page around it."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from curate.reporting.measures import Measure, Threshold

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = npt.NDArray[np.float64]

MOST_BINS = 44
SIZE = (3.7, 1.75)  # inches: about 355 by 168 pixels, so that its 8 points are the page's small print
FRAME = (0.095, 0.13, 0.86, 0.85)  # the axes' left, bottom, width and height, as fractions of the figure
# Placeholder colours: PAGE replaces each by one of the page's colours, which differ in light and dark mode.
INK, QUIET, LINE, KEPT, CUT, LIMIT = (f"#01020{n}" for n in range(6))
LABEL = 9  # points that a threshold's label takes
PAGE = {INK: "--ink", QUIET: "--quiet", LINE: "--line", KEPT: "--kept", CUT: "--cut", LIMIT: "--limit"}
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.size": 8,
    "text.color": QUIET,
    "axes.edgecolor": LINE,
    "axes.linewidth": 0.8,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.axisbelow": True,
}


@dataclass(frozen=True)
class KeepCurve:
    """The shares of rows (0 to 1) that pass at each of some thresholds, which are in rising order."""

    title: str
    unit: str  # the caption of the horizontal axis
    thresholds: Sequence[float]
    keep: Sequence[float]  # the share that is kept by all rules, the others unchanged
    alone: Sequence[float]  # the share that this rule alone would keep
    limits: Sequence[Threshold]
    whole: bool  # whether the threshold is a whole number


def histogram(measure: Measure) -> str:
    """The measure's histogram as an SVG element: dropped rows stacked on kept ones, a line for each threshold."""
    edges, log = bins(measure)
    kept, cut = (
        np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0] * weight
        for values, weight in zip((measure.kept, measure.cut), measure.weights, strict=True)
    )

    def draw(axes: Axes) -> None:
        axes.stairs(kept, edges, fill=True, color=KEPT)
        axes.stairs(kept + cut, edges, baseline=kept, fill=True, color=CUT)
        _scale(axes, edges, log, measure.whole)
        top = max(1.0, float((kept + cut).max())) * 1.16
        axes.set_ylim(0, top)
        _draw_limits(axes, measure.thresholds, edges, top, log)

    return _plot(f"Histogram: {measure.title}", draw)


def keep_curve(curve: KeepCurve) -> str:
    """An SVG element with two curves over the threshold: the share of rows kept, and the share that the rule passes."""
    at = np.array(curve.thresholds)
    log = bool(at[0] >= 1 and at[-1] / at[0] > 20)
    edges = at if len(at) > 1 else np.array([at[0] - 0.5, at[0] + 0.5])

    def draw(axes: Axes) -> None:
        axes.plot(at, curve.alone, color=QUIET, linewidth=1, dashes=(1, 1.5))
        axes.plot(at, curve.keep, color=KEPT, linewidth=1.6, marker="o", markersize=2.4)
        _scale(axes, edges, log, curve.whole)
        axes.set_ylim(0, 1.16)
        axes.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}" if share <= 1 else "")
        _draw_limits(axes, curve.limits, edges, 1.16, log)

    return _plot(f"Share kept by {curve.title}", draw)


def _plot(label: str, draw: Callable[[Axes], None]) -> str:
    """What `draw` draws on axes, as an SVG element for a page; `label` is its accessible name."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE | {"svg.hashsalt": label}):
        figure = Figure(figsize=SIZE)
        axes = figure.add_axes(FRAME)
        axes.grid(axis="y", color=LINE, linewidth=0.6)
        draw(axes)
        out = io.StringIO()
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    return _inline(out.getvalue(), label)


def bins(measure: Measure) -> tuple[Floats, bool]:
    """The edges of the histogram's bins (bins + 1), and whether they are even on a logarithmic scale.

    They reach from the 0.1 % to the 99.9 % quantile of the values (values outside count in the first or last bin), and
    on to every threshold that dropped rows or lies within a factor of 1.5 of that range.
    """
    values = np.concatenate([measure.kept, measure.cut])
    count = int(np.clip(2 * np.sqrt(len(values)), 8, MOST_BINS))
    low, high = (float(v) for v in np.quantile(values, (0.001, 0.999)))
    for limit in measure.thresholds:
        near = low / 1.5 <= limit.value <= high * 1.5
        if near or len(measure.cut):  # leave some room beyond the threshold, so that its line is seen
            room = 0.04 * (max(high, limit.value) - min(low, limit.value))
            low = limit.value - min(room, limit.value / 4) if limit.value <= low else low
            high = limit.value + room if limit.value >= high else high
    log = low >= (0 if measure.whole else 1) and high / max(low, 1) > 20
    if measure.whole and high - low < count:
        room = 2 if high - low < 2 else 0  # empty bins at both sides, or one value's bar would fill the plot
        return np.arange(max(np.floor(low) - room, 0) - 0.5, np.ceil(high) + room + 1.5), False
    if log:
        return np.unique(np.round(np.geomspace(max(low, 1), high + 1, count + 1), 3)), True
    if high <= low:
        return np.linspace(low - 0.5, high + 0.5, 4), False
    return np.linspace(low, high, count + 1), False


def _scale(axes: Axes, edges: Floats, log: bool, whole: bool) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

    if log:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(FixedLocator(_round_numbers(edges[0], edges[-1])))
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=whole, min_n_ticks=1))
    axes.set_xlim(edges[0], edges[-1])
    axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: compact(value)))
    axes.tick_params(length=0, pad=3)


def _round_numbers(low: float, high: float) -> list[float]:
    """1, 2 and 5 times the powers of ten from `low` to `high`; only the powers where that makes more than seven."""
    found = [m * 10.0**e for e in range(-1, 13) for m in (1, 2, 5) if low <= m * 10.0**e <= high]
    return found if len(found) <= 7 else [value for value in found if f"{value:e}".startswith("1")]


def _draw_limits(axes: Axes, limits: Sequence[Threshold], edges: Floats, top: float, log: bool) -> None:
    """Draw each threshold that lies on the axis as a line with its value."""
    place = np.log if log else np.asarray
    first, last = (float(place(edge)) for edge in (edges[0], edges[-1]))
    for number, limit in enumerate(limits):
        if not edges[0] <= limit.value <= edges[-1]:
            continue
        axes.axvline(limit.value, color=LIMIT, linewidth=1.2, dashes=(3, 2))
        right = (float(place(limit.value)) - first) / (last - first) > 0.6
        axes.annotate(
            f"{limit.side} {compact(limit.value)}",
            (limit.value, top),
            (-4 if right else 4, -1 - LABEL * number),
            textcoords="offset points",
            ha="right" if right else "left",
            va="top",
            color=LIMIT,
        )


def compact(value: float) -> str:
    """A number in few characters: `0.32`, `1,500`, `20k`, `3.5M`."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / min(size, size if letter != 'k' else 1e3):.3g}{letter}"
    return f"{value:,.0f}" if value == round(value) or abs(value) >= 100 else f"{value:.3g}"


def _inline(svg: str, label: str) -> str:
    """matplotlib's SVG file as an element of a page: without its own size, fonts, styles and unused ids."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(
        r"<svg[^>]*?viewBox=\"([^\"]+)\"[^>]*>",
        rf'<svg class="plot" role="img" viewBox="\1" aria-label="{label}">',
        svg,
        count=1,
    )
    svg = re.sub(
        r"font-family: [^;\"]+|font: ([\d.]+px)[^;\"]*",
        lambda f: f"font-size: {f[1]}" if f[1] else "font-family: inherit",
        svg,
    )
    used = set(re.findall(r"url\(#([^)]+)\)|xlink:href=\"#([^\"]+)\"", svg))
    names = {name for pair in used for name in pair if name}
    svg = re.sub(r" id=\"([^\"]+)\"", lambda f: f[0] if f[1] in names else "", svg)
    svg = svg.replace("xlink:href", "href")
    for sentinel, variable in PAGE.items():
        svg = svg.replace(sentinel, f"var({variable})")
    return re.sub(r"\n\s*", "\n", svg)
