"""What arms learn against what they keep, as a picture."""

import math
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from .cells import Cell, Cells, spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Annotation
    from matplotlib.transforms import Bbox

# Okabe and Ito's, for the colour-blind; markers tell arms apart without colour too.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
MARKERS = "osD^vPX*<>"
GREY = "#666666"
PANEL = (5.2, 4.2)  # inches
N_COLUMNS = 2
STYLE = {
    "font.size": 10,
    "text.parse_math": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
# Where a label may stand, in points from its point: the first place that is free.
DIRECTIONS = ((1, 0), (0.7, 0.8), (0.7, -0.8), (-1, 0), (-0.7, 0.8), (-0.7, -0.8))
PLACES = [(d * x, d * y) for d in (9, 16, 26, 38, 52, 70) for x, y in DIRECTIONS]


class Point(NamedTuple):
    """The mean of the seeds, and their standard deviation, as `errorbar` has them."""

    x: float
    y: float
    y_spread: float
    x_spread: float


def draw(cells: Cells, path: Path) -> None:
    """A PNG of one panel a task: right is more learnt, up is more kept."""
    import matplotlib

    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        n_columns = min(N_COLUMNS, len(cells))
        n_rows = math.ceil(len(cells) / n_columns)
        size = (PANEL[0] * n_columns, PANEL[1] * n_rows)
        figure = Figure(figsize=size, layout="constrained", dpi=150)
        canvas = FigureCanvasAgg(figure)
        panels = figure.subplots(n_rows, n_columns, squeeze=False).flat
        every = list(dict.fromkeys(arm for arms in cells.values() for arm in arms))
        for axes, (task, arms) in zip(panels, cells.items(), strict=False):
            _panel(axes, task, arms, every)
        for axes in list(panels)[len(cells) :]:
            axes.set_axis_off()
        canvas.draw()
        for axes, arms in zip(figure.axes, cells.values(), strict=False):
            _label(axes, arms)
        figure.savefig(path, format="png")


def _points(arms: dict[str, Cell]) -> dict[str, Point]:
    """Arms that learnt and kept anything that can be counted."""
    keys = ("new", "f1"), ("old", "mean_after")
    points = {
        arm: [(cell.mean(*key), spread(cell.each(*key)) or 0) for key in keys]
        for arm, cell in arms.items()
    }
    return {
        arm: Point(x, y, y_spread, x_spread)
        for arm, ((x, x_spread), (y, y_spread)) in points.items()
        if x is not None and y is not None
    }


def _panel(axes: "Axes", task: str, arms: dict[str, Cell], every: list[str]) -> None:
    for arm, point in _points(arms).items():
        arm_i = every.index(arm)
        axes.errorbar(
            *point,
            fmt=MARKERS[arm_i % len(MARKERS)],
            color=COLORS[arm_i % len(COLORS)],
            markersize=7,
            elinewidth=1,
            capsize=2.5,
        )
    before = next(iter(arms.values())).mean("old", "mean_before")
    if before is not None:
        axes.axhline(before, color=GREY, linestyle="--", linewidth=1)
        axes.annotate(
            f"teacher, before ({before:.1f})",
            (0, before),
            xycoords=axes.get_yaxis_transform(),
            xytext=(3, 3),
            textcoords="offset points",
            color=GREY,
            fontsize=9,
        )
    axes.margins(x=0.16, y=0.14)
    axes.set_title(task, loc="left", fontweight="bold")
    axes.set_xlabel("new F1")
    axes.set_ylabel("old F1 kept, mean over files")
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)


def _label(axes: "Axes", arms: dict[str, Cell]) -> None:
    """Names beside the points, where they hide neither each other nor a point."""
    renderer = axes.figure.canvas.get_renderer()
    points = _points(arms)
    taken = [text.get_window_extent(renderer) for text in axes.texts]
    taken += [box for point in points.values() for box in _boxes(axes, point)]
    for arm, point in points.items():
        text = axes.annotate(
            arm,
            (point.x, point.y),
            xytext=PLACES[0],
            textcoords="offset points",
            fontsize=9,
            in_layout=False,
            arrowprops={"arrowstyle": "-", "color": GREY, "linewidth": 0.6},
        )
        for x, y in PLACES:
            text.set_position((x, y))
            text.set_ha("left" if x > 0 else "right")
            text.set_va("center" if y == 0 else "bottom" if y > 0 else "top")
            box = _extent(text, renderer)
            is_inside = axes.bbox.x0 < box.x0 and box.x1 < axes.bbox.x1
            if is_inside and not box.count_overlaps(taken):
                break
        taken.append(box)


def _boxes(axes: "Axes", point: Point) -> list["Bbox"]:
    """The marker and the two error bars, in pixels."""
    from matplotlib.transforms import Bbox

    x, y, up, across = point
    corners = [(x - across, y), (x + across, y), (x, y - up), (x, y + up)]
    (left, row), (right, _), (column, low), (_, high) = axes.transData.transform(
        corners
    )
    return [
        Bbox.from_extents(column - 9, row - 9, column + 9, row + 9),
        Bbox.from_extents(left, row - 2, right, row + 2),
        Bbox.from_extents(column - 2, low, column + 2, high),
    ]


def _extent(text: "Annotation", renderer) -> "Bbox":
    """Of the words alone, without the line to the point."""
    from matplotlib.text import Text

    text.update_positions(renderer)
    return Text.get_window_extent(text, renderer)
