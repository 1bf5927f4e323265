"""The figures of an inspection as one HTML page that asks nothing of any network."""

import io
import re
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from .sections import sections
from .tables import show

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Figures = dict[str, Any]
COLORS = ("#0072b2", "#e69f00", "#009e73", "#999999")  # Okabe and Ito's, and a grey
MOST_BARS = 20
WIDTH = 4.6  # inches: legible on a phone
STYLE = {
    "svg.fonttype": "none",  # text stays text, in the fonts of the browser
    "svg.hashsalt": "retainer",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))


def to_html(figures: Figures, base: str | None) -> str:
    """base: the checkpoint that was asked, if any."""
    return render_page(
        "corpus.html",
        base=base,
        splits=figures["splits"],
        findings=figures["findings"],
        sections=sections(figures),
        plots=make_plots(figures),
    )


def render_page(template: str, **values: Any) -> str:
    """A page in the one style of all. values: for base.html, and what extends it.

    sections: of tables. plots: as `make_plots` returns them.
    """
    environment = Environment(
        loader=PackageLoader("retainer.inspection", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["show"] = show
    return environment.get_template(template).render(values)


def make_plots(figures: Figures) -> dict[str, list[tuple[str, Markup]]]:
    """By section: what each plot shows in words, and the plot as SVG."""
    plots: dict[str, list[tuple[str, Markup]]] = {}
    if figures["regime"] and figures["regime"]["types"]:
        caption = "Entities of the teacher's types in the texts that it read"
        drawn = _draw("regime", _regime_bars, figures["regime"]["types"])
        plots["regime"] = [(caption, drawn)]
    if figures["types"]:
        some = dict(list(figures["types"].items())[:MOST_BARS])
        caption = "Entities by type and split, on a logarithmic scale"
        plots["types"] = [(caption, _draw("types", _type_bars, some))]
    if figures["lengths"]["longest"]["length"]:
        caption = f"How many texts have how many {figures['lengths']['unit']}"
        drawn = _draw("lengths", _length_steps, figures["lengths"])
        plots["lengths"] = [(caption, drawn)]
    return plots


def _draw(name: str, plot, figures: Figures) -> Markup:
    """An <svg> element with ids that no other plot of the page has."""
    import matplotlib

    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        # The browser has fonts for what matplotlib's own cannot show.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure

        figure = Figure(figsize=(WIDTH, WIDTH), layout="constrained")
        FigureCanvasSVG(figure)
        height = plot(figure.subplots(), figures)
        figure.set_size_inches(WIDTH, height)
        target = io.StringIO()
        figure.savefig(target, format="svg", metadata=NO_METADATA)
    svg = target.getvalue()
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", svg)
    return Markup(svg[svg.index("<svg") :])


def _regime_bars(axes: "Axes", types: Figures) -> float:
    """RETURNS: the height of the plot in inches, as all these functions."""
    kinds = list(types)
    left = [0] * len(kinds)
    parts = (("annotated", "gold"), ("sure on O", "open"), ("other type", "other_type"))
    for (label, key), color in zip(parts, COLORS, strict=False):
        widths = [types[kind][key] for kind in kinds]
        axes.barh(kinds, widths, left=left, color=color, label=label)
        left = [a + b for a, b in zip(left, widths, strict=True)]
    axes.invert_yaxis()
    axes.set_xlabel("entities")
    _put_legend(axes, 3)
    return 1.3 + 0.35 * len(kinds)


def _type_bars(axes: "Axes", types: dict[str, dict[str, int]]) -> float:
    kinds, splits = list(types), list(next(iter(types.values())))
    thickness = 0.8 / len(splits)
    for split_i, (split, color) in enumerate(zip(splits, COLORS, strict=False)):
        places = [kind_i + split_i * thickness for kind_i in range(len(kinds))]
        widths = [types[kind][split] for kind in kinds]
        axes.barh(places, widths, thickness, color=color, label=split)
    middle = 0.4 - thickness / 2
    axes.set_yticks([i + middle for i in range(len(kinds))], kinds)
    axes.set_xscale("symlog", linthresh=1)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.set_xlim(left=0)
    axes.invert_yaxis()
    axes.set_xlabel("entities")
    _put_legend(axes, len(splits))
    return 1.3 + 0.12 * len(kinds) * (1 + len(splits))


def _length_steps(axes: "Axes", lengths: Figures) -> float:
    edges: Sequence[int] = lengths["edges"]
    for (split, row), color in zip(lengths["splits"].items(), COLORS, strict=False):
        total = sum(row["histogram"])
        shares = [100 * n / total for n in row["histogram"]]
        axes.stairs(shares, range(len(edges)), color=color, label=split, linewidth=2)
    ticks = range(0, len(edges), 2 * (1 + len(edges) // 20))
    axes.set_xticks(ticks, [str(edges[i]) for i in ticks])
    window = lengths["window"]
    if window is not None and window < edges[-1]:
        place = next(i for i, edge in enumerate(edges) if edge > window)
        low, high = edges[place - 1], edges[place]
        axes.axvline(place - 1 + (window - low) / (high - low), color="black", ls="--")
        axes.text(place - 1, 1.01, "window", transform=axes.get_xaxis_transform())
    axes.set_xlabel(lengths["unit"])
    axes.set_ylabel("% of texts")
    _put_legend(axes, 3)
    return 3.2


def _put_legend(axes: "Axes", n_columns: int) -> None:
    axes.figure.legend(
        loc="outside upper left", ncols=n_columns, frameon=False, fontsize=10
    )
