"""The report as one HTML page that asks nothing of any network."""

import unicodedata
from typing import Any

from markupsafe import Markup, escape
from spacy import displacy

from .inspection.entries import printable
from .inspection.page import render_page
from .inspection.tables import Section
from .labels import OUTSIDE
from .report_sections import sections, summary

LOST, WON, LIMIT = "#d55e00", "#009e73", "#444444"  # Okabe and Ito's, and a grey
TYPES = ("#a6cee3", "#fdbf6f", "#b2df8a", "#cab2d6", "#fb9a99", "#ffff99", "#dddddd")
WIDTH, NAMES, VALUES = 480, 120, 60  # of the chart, its names and its values: pixels
ROW = 24
LONGEST = 16  # characters of a name
BAR = '<rect x="{:.1f}" y="{}" width="{:.1f}" height="{}" fill="{}"/>'
LINE = (
    '<line x1="{:.1f}" x2="{:.1f}" y1="0" y2="{}" stroke="{}" stroke-dasharray="{}"/>'
)
LABEL = (
    '<text x="{:.1f}" y="{}" text-anchor="{}" stroke="#ffffff" stroke-width="3" '
    'paint-order="stroke">{}</text>'
)


def to_html(report: dict[str, Any]) -> str:
    by_file = report["forgetting"]["by_file"]
    lost = {name: row["lost"] for name, row in by_file.items()}
    lost = {name: value for name, value in lost.items() if value is not None}
    limit = (report.get("budget") or {}).get("max_forgetting")
    caption = "Points of F1 lost on old types by each file of the old domain"
    if limit is not None:
        caption += "; the dashed line is what may be lost"
    return render_page(
        "report.html",
        sections=[
            Section("summary", "Summary", "", [summary(report)]),
            *sections(report),
        ],
        plots={"forgetting": [(caption, draw_bars(lost, limit))]} if lost else {},
        examples=[describe_example(example, report) for example in report["examples"]],
    )


def draw_bars(values: dict[str, float], limit: float | None = None) -> Markup:
    """An <svg> of horizontal bars, to the left where a value is below 0.

    limit: where a dashed line is drawn, if it lies within the chart.
    """
    low, high = min(0, *values.values()), max(0, *values.values())
    if limit is not None and limit <= 2 * high:
        high = max(high, limit)
    scale = (WIDTH - NAMES - 2 * VALUES) / ((high - low) or 1)
    zero = NAMES + VALUES - low * scale
    height = ROW * len(values)
    start = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {} {}" {}>'
    font = Markup('font-family="system-ui, sans-serif" font-size="12"')
    rows = [(name, v, i * ROW) for i, (name, v) in enumerate(values.items())]
    bars = (_draw_bar(value, top, zero, scale) for _, value, top in rows)
    lines = (
        Markup(LINE).format(zero + at * scale, zero + at * scale, height, LIMIT, dashes)
        for at, dashes in ((0, "none"), (limit, "4 3"))
        if at is not None and at <= high
    )
    texts = (_write(name, v, top, zero + v * scale) for name, v, top in rows)
    svg = [Markup(start).format(WIDTH, height, font), *bars, *lines, *texts]
    return Markup("").join([*svg, Markup("</svg>")])


def _draw_bar(value: float, top: float, zero: float, scale: float) -> Markup:
    start, end = sorted((zero, zero + value * scale))
    color = LOST if value > 0 else WON
    return Markup(BAR).format(start, top + 4, end - start, ROW - 8, color)


def _write(name: str, value: float, top: float, end: float) -> Markup:
    """A row's name, and its value at the end of its bar."""
    short = name if len(name) <= LONGEST else "…" + name[1 - LONGEST :]
    shift, anchor = (5, "start") if value >= 0 else (-5, "end")
    named = Markup(LABEL).format(NAMES - 6, top + 16, "end", printable(short))
    return named + Markup(LABEL).format(end + shift, top + 16, anchor, f"{value:.2f}")


def describe_example(
    example: dict[str, Any], report: dict[str, Any]
) -> tuple[str, str, list[tuple[str, Markup]]]:
    """RETURNS: title, place, and by who says so the text with its entities."""
    lost, became = example["entity"], example["became"]
    text = printable(example["text"][lost["start"] : lost["end"]])
    outcome = {OUTSIDE: "nothing", lost["label"]: "other bounds"}.get(became, became)
    return (
        f"{example['file']}: {text} ({lost['label']}), now {outcome}",
        example["place"],
        [
            (name, render(example, name, report))
            for name in ("gold", "teacher", "student")
        ],
    )


def render(example: dict[str, Any], name: str, report: dict[str, Any]) -> Markup:
    """displaCy's rendering. It escapes texts, but not labels."""
    types = [*report["old_types"], *report["new_types"]]
    colors = {str(escape(t)): TYPES[i % len(TYPES)] for i, t in enumerate(types)}
    doc = {
        "text": printable(example["text"]),
        "ents": [{**ent, "label": str(escape(ent["label"]))} for ent in example[name]],
        "settings": {"direction": direction(example["text"])},
    }
    options = {"colors": colors}
    return Markup(
        displacy.render(doc, style="ent", manual=True, jupyter=False, options=options)
    )


def direction(text: str) -> str:
    """As its first letter is written, from the right (rtl) or from the left (ltr)."""
    kinds = (unicodedata.bidirectional(char) for char in text)
    first = next((kind for kind in kinds if kind in ("L", "R", "AL")), "L")
    return "ltr" if first == "L" else "rtl"
