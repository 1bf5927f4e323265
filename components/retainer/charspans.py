"""Spans of a text as annotation tools export them: which of them can be entities."""

from bisect import bisect, bisect_left, insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from .faults import FileLog
from .formats import CharSpan
from .labels import TypedSpan

Quoted = tuple[int, int, str, str | None]  # and the text that it is said to cover


@dataclass
class AnnotatedText:
    """spans: in characters, in order, none in another. line: in the file, from 1.

    words: the tokens that the text was made of, None if unknown. missing: what has no
    annotation.
    """

    text: str
    spans: list[TypedSpan]
    path: str
    line: int
    words: list[CharSpan] | None = None
    missing: list[CharSpan] = field(default_factory=list)


def resolve(made: AnnotatedText, quoted: Sequence[Quoted], log: FileLog) -> None:
    """Give the text those of its spans that can be entities; report the others."""
    spans = []
    for start, end, label, quote in quoted:
        shown = f"{start}, {end}, {label}"
        if quote is not None and not _is_quote(made.text, start, end, quote):
            moved = _from_utf16(made.text, start), _from_utf16(made.text, end)
            if not _is_quote(made.text, *moved, quote):
                log.add(
                    "span and its text differ", made.line, f"{shown}: {quote[:40]!r}"
                )
                made.missing.append((0, len(made.text)))  # it may be anywhere
                continue
            log.add("offsets in UTF-16", made.line, shown)
            start, end = moved
        if not 0 <= start <= end <= len(made.text):
            log.add("span outside the text", made.line, shown)
            made.missing.append((0, len(made.text)))
            continue
        inside = made.text[start:end]
        if not inside.strip():
            log.add("blank entity", made.line, shown)
            continue
        trimmed = start + len(inside) - len(inside.lstrip())
        trimmed = trimmed, trimmed + len(inside.strip())
        if trimmed != (start, end):
            log.add("span with blank edges", made.line, f"{shown}: {inside[:40]!r}")
        spans.append((*trimmed, label))
    made.spans, overlapping = _longest(spans)
    for span in overlapping:
        log.add("overlapping spans", made.line, ", ".join(map(str, span)))
        made.missing.append(span[:2])
    made.missing = _uncovered(made.missing, made.spans)


def _uncovered(
    missing: Iterable[CharSpan], spans: Sequence[TypedSpan]
) -> list[CharSpan]:
    """What of the missing text is in no span, in order, none in another.

    spans: as `_longest` gives them.
    Example: (0, 5), (3, 9) without (2, 4, "LOC") -> (0, 2), (4, 5), (5, 9)
    """
    starts, ends = [span[0] for span in spans], [span[1] for span in spans]
    pieces, seen_until = [], 0
    for start, end in sorted(missing):
        start, seen_until = max(start, seen_until), max(end, seen_until)
        for span_i in range(bisect(ends, start), bisect_left(starts, end)):
            pieces.append((start, starts[span_i]))
            start = ends[span_i]
        pieces.append((start, end))
    return [(start, end) for start, end in pieces if start < end]


def _longest(spans: Iterable[TypedSpan]) -> tuple[list[TypedSpan], list[TypedSpan]]:
    """The spans in order without those that overlap a longer one; these.

    Example: (0, 3, "LOC"), (2, 9, "ORG"), (9, 11, "PER") -> the last two, the first
    """
    kept: list[TypedSpan] = []
    dropped: list[TypedSpan] = []
    for span in sorted(spans, key=lambda span: (span[0] - span[1], span)):
        place = bisect(kept, span)
        is_free = all(
            span[1] <= other[0] or other[1] <= span[0]
            for other in kept[max(place - 1, 0) : place + 1]
        )
        insort(kept if is_free else dropped, span)
    return kept, dropped


def _is_quote(text: str, start: int, end: int, quote: str) -> bool:
    """Whether the span covers the quote, white space apart."""
    return 0 <= start <= end and "".join(text[start:end].split()) == "".join(
        quote.split()
    )


def _from_utf16(text: str, offset: int) -> int:
    """Example: "😀 Ann", 3 -> 2, as browsers count the smiley as two."""
    units = text.encode("utf-16-le", "surrogatepass")[: 2 * max(offset, 0)]
    return len(units.decode("utf-16-le", "ignore"))
