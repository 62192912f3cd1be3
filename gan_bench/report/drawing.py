"""What the figures share: colours, style, and how they become files.

Drawn with matplotlib's objects (no pyplot, so no global state), in the Okabe-Ito colours, which
stay apart for colour-blind readers and in grey. The same input gives the same bytes.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

RC: Any = {
    "svg.hashsalt": "gan_bench",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "path.simplify": True,
}


@dataclass(frozen=True)
class Theme:
    """The colours of a figure."""

    paper: str
    ink: str
    muted: str
    grid: str
    main: str
    second: str
    third: str


LIGHT = Theme("#ffffff", "#1a1a1a", "#737373", "#e3e3e3", "#0072B2", "#D55E00", "#009E73")
DARK = Theme("#1b1f24", "#e8e8e8", "#a0a0a0", "#363c44", "#56B4E9", "#E69F00", "#2CC295")


def render(figure: Figure, kind: str) -> bytes:
    """Return a figure as "svg" or "png" bytes, without dates or versions in them."""
    drawn = io.BytesIO()
    tall = figure.get_figheight()
    absent = {"svg": ("Date", "Creator"), "png": ("Software",)}[kind]
    with matplotlib.rc_context(RC):
        figure.savefig(
            drawn,
            format=kind,
            dpi=min(160.0, 30_000 / tall),  # a PNG's side stays below Agg's limit
            facecolor=figure.get_facecolor(),
            metadata=dict.fromkeys(absent),
        )
    figure.set_layout_engine("none")  # drawn once it keeps its layout, which takes half the time
    return drawn.getvalue()


CYCLE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#999999")
"""Okabe-Ito without black and the yellow that vanishes on white."""
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.4)), (0, (6, 2, 1, 2)))


def line_of(i: int) -> dict[str, Any]:
    """Return colour and dashes of the i-th line: no two of 28 are alike."""
    return {"color": CYCLE[i % len(CYCLE)], "linestyle": DASHES[i // len(CYCLE) % len(DASHES)]}


def style(figure: Figure, axes: Axes, theme: Theme) -> None:
    """Colour a figure's paper, spines and ticks."""
    figure.set_facecolor(theme.paper)
    axes.set_facecolor(theme.paper)
    for spine in axes.spines.values():
        spine.set_color(theme.muted)
    axes.tick_params(which="both", colors=theme.ink, color=theme.muted, labelsize=8)
    axes.xaxis.label.set_color(theme.ink)
    axes.yaxis.label.set_color(theme.ink)


def spans(values: Sequence[float], factor: float = 10) -> bool:
    """Whether positive values span more than a factor, so that a log scale shows them better."""
    low, high = min(values), max(values)
    return bool(low > 0 and high > factor * low)


def log_axis(axes: Axes, which: Literal["x", "y"], numticks: int | None = None) -> None:
    """Make an axis logarithmic, with plain ticks at 1, 2 and 5 times powers of ten."""
    axes.set(**{f"{which}scale": "log"})
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=numticks))
    axis.set_minor_formatter(NullFormatter())
    axis.set_major_formatter(FuncFormatter(tick))


def wrapped(name: str) -> str:
    """Break a long cell name at its slashes."""
    return name.replace("/", "/\n") if len(name) > 24 else name


def tick(value: float, position: int) -> str:
    """Write a tick without needless digits."""
    return f"{value:g}"
