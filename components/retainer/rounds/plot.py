"""F1 by type from round to round, as a picture."""

import warnings
from pathlib import Path

from ..ablation.plot import COLORS, GREY, MARKERS, STYLE
from .summary import Summary

SIZE = (6.4, 4.2)  # inches


def draw(summary: Summary, path: Path) -> None:
    """A PNG of one line a type, from the round that it is of; the base's are dashed."""
    import matplotlib

    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=SIZE, layout="constrained", dpi=150)
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        for type_i, (kind, row) in enumerate(summary["types"].items()):
            places = range(row["round"], row["round"] + len(row["f1"]))
            axes.plot(
                places,
                [float("nan") if f1 is None else f1 for f1 in row["f1"]],
                marker=MARKERS[type_i % len(MARKERS)],
                color=COLORS[type_i % len(COLORS)],
                linestyle="-" if row["round"] else "--",
                label=kind,
            )
        names = ["base", *("+ " + ", ".join(x["types"]) for x in summary["rounds"])]
        axes.set_xticks(range(len(names)), names)
        axes.set_ylabel("F1")
        axes.grid(color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
        figure.legend(loc="outside right upper", frameon=False, labelcolor=GREY)
        figure.savefig(path, format="png")
