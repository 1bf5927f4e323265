"""Records of annotation tools, JSON with character spans, as their exports have them.

prodigy       {"text", "tokens", "spans": [{"start", "end", "label"}], "answer"}
doccano       {"text", "label": [[start, end, label]]}, or "entities" with offsets
label-studio  {"data": {"text"}, "annotations": [{"result": [{"value": {...}}]}]}, or
              its short form with lists of {"start", "end", "text", "labels"}

What `formats.py` wrote holds two lists of character spans more: `words` and `missing`.
"""

import json
import re
from bisect import bisect, insort
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .errors import UserError
from .faults import FileLog
from .files import read_lines
from .formats import STYLES, CharSpan
from .labels import TypedSpan

BLANKS = re.compile(r"[\s,]*")
Quoted = tuple[int, int, str, str | None]  # and the text that it is said to cover


@dataclass
class Text:
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


class BrokenRecord(Exception):
    """What a record lacks."""


def read_records(path: Path, encoding: str, log: FileLog) -> Iterator[Text]:
    """The annotated texts of a JSON file: a record a line, or one list of them.

    Texts that were rejected or that nobody has annotated are passed over, and counted.
    """
    n_records = n_texts = 0
    styles: dict[str, None] = {}
    for line_i, value in _parse(path, encoding):
        n_records += 1
        try:
            style, text, words, missing, quoted = _read(value, log)
            styles[style] = None
            log.layout = f"JSON, {' and '.join(styles)}"
            if quoted is None:
                continue
            made = Text(text, [], log.path, line_i, words, missing)
            _resolve(made, quoted, log)
        except BrokenRecord as error:
            log.add("broken record", line_i, str(error))
            continue
        n_texts += 1
        yield made
    log.check_share(n_records, "records")
    if n_texts == 0:
        skipped = ", ".join(f"{n} {what}" for what, n in log.skipped.items() if n)
        raise UserError(
            f"Annotated texts of {', '.join(STYLES)} were expected in '{path}', but "
            f"there is none ({skipped or 'the file holds no record'}). Annotate some, "
            "or leave the file out."
        )


def _parse(path: Path, encoding: str) -> Iterator[tuple[int, Any]]:
    """Each value and its line; a BrokenRecord for a line that is no JSON."""
    lines, is_first = read_lines(path, encoding), True
    for line_i, line in enumerate(lines, start=1):
        if line.lstrip().startswith("[") and is_first:
            yield from _parse_list(
                "\n" * (line_i - 1) + "\n".join([line, *lines]), path
            )
        elif line.strip():
            is_first = False
            try:
                yield line_i, json.loads(line)
            except (ValueError, RecursionError) as error:
                yield line_i, BrokenRecord(f"no JSON ({error}): {line[:60]!r}")


def _parse_list(text: str, path: Path) -> Iterator[tuple[int, Any]]:
    decoder = json.JSONDecoder()
    position, line_i, counted = text.index("[") + 1, 1, 0
    while True:
        position = BLANKS.match(text, position).end()
        if text[position : position + 1] in ("]", ""):
            return
        line_i += text.count("\n", counted, position)
        counted = position
        try:
            value, position = decoder.raw_decode(text, position)
        except (ValueError, RecursionError) as error:
            raise UserError(
                f"A list of JSON records was expected in '{path}', but the one that "
                f"begins at {path}:{line_i} is none: {error}. Export the file again."
            ) from error
        yield line_i, value


def _read(
    record: Any, log: FileLog
) -> tuple[str, str, list[CharSpan] | None, list[CharSpan], list[Quoted] | None]:
    """RETURNS: style, text, words, missing, and spans; None for them to be skipped."""
    if isinstance(record, BrokenRecord):
        raise record
    if not isinstance(record, dict):
        raise BrokenRecord(f"an object was expected, not {str(record)[:60]!r}")
    extra = record.get("data") if isinstance(record.get("data"), dict) else record
    text = _find_text(record, extra)
    words = _char_spans(extra, "words", text)
    missing = _char_spans(extra, "missing", text) or []
    if extra is not record:
        return "label-studio", text, words, missing, _label_studio(record, log)
    short = [v for v in record.values() if _is_list_of(v, dict) and "labels" in v[0]]
    if short:
        values = [{"value": value} for value in short[0]]
        return "label-studio", text, words, missing, _values(values, log)
    if "spans" in record:
        return "prodigy", text, words, missing, _prodigy(record, log)
    for key in ("label", "labels", "entities"):
        if isinstance(record.get(key), list):
            quoted = [_doccano(item) for item in record[key]]
            return "doccano", text, words, missing, quoted
    log.skipped["texts without annotation"] += 1
    return "texts alone", text, words, missing, None


def _is_list_of(value: Any, kind: type) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], kind)


def _find_text(record: dict, extra: dict) -> str:
    """Under "text" as a rule; in the data of Label Studio, whatever text there is."""
    candidates = [extra.get("text"), record.get("data")]
    texts = [value for value in candidates if isinstance(value, str)]
    if not texts and extra is not record:
        texts = [value for value in extra.values() if isinstance(value, str)]
    if not texts:
        raise BrokenRecord(f"a text was expected under 'text' in {str(record)[:60]!r}")
    return _encodable(texts[0])


def _encodable(text: str) -> str:
    """JSON can spell half of a character, which no text may hold."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BrokenRecord(
            f"half a character at {error.start}: {text[:40]!r}"
        ) from None
    return text


def _char_spans(extra: dict, key: str, text: str) -> list[CharSpan] | None:
    if key not in extra:
        return None
    previous = 0
    try:
        spans = [(int(start), int(end)) for start, end in extra[key]]
        for start, end in spans:
            if not previous <= start < end <= len(text):
                raise ValueError(f"{start}, {end}")
            previous = end
    except (TypeError, ValueError) as error:
        raise BrokenRecord(f"'{key}' are no spans of the text ({error})") from error
    return spans


def _prodigy(record: dict, log: FileLog) -> list[Quoted] | None:
    answer = record.get("answer", "accept")
    if answer != "accept":
        log.skipped[f"texts answered '{str(answer)[:20]}'"] += 1
        return None
    spans = record["spans"]
    if not isinstance(spans, list):
        raise BrokenRecord(f"a list was expected under 'spans', not {str(spans)[:60]}")
    return [_quoted(s, "start", "end", "label") for s in spans]


def _doccano(item: Any) -> Quoted:
    if isinstance(item, dict):
        is_offset = "start_offset" in item
        names = ("start_offset", "end_offset") if is_offset else ("start", "end")
        return _quoted(item, *names, "label")
    if not isinstance(item, list) or len(item) != 3:
        raise BrokenRecord(f"[start, end, label] was expected, not {str(item)[:60]}")
    return _quoted(dict(enumerate(item)), 0, 1, 2)


def _label_studio(record: dict, log: FileLog) -> list[Quoted] | None:
    made = record.get("annotations") or record.get("completions") or []
    if not isinstance(made, list) or not all(isinstance(a, dict) for a in made):
        raise BrokenRecord("a list of objects was expected under 'annotations'")
    kept = [a for a in made if not a.get("was_cancelled")]
    if not kept:
        log.skipped["texts without annotation"] += 1
        return None
    log.skipped["further annotations of a text"] += len(kept) - 1
    return _values(kept[0].get("result") or [], log)


def _values(results: Any, log: FileLog) -> list[Quoted]:
    quoted = []
    for result in results if isinstance(results, list) else [results]:
        value = result.get("value") if isinstance(result, dict) else None
        if not isinstance(value, dict) or "labels" not in value:
            log.skipped["results that are no spans"] += 1
            continue
        labels = value["labels"] if isinstance(value["labels"], list) else []
        for label in labels:
            quoted.append(_quoted({**value, "label": label}, "start", "end", "label"))
    return quoted


def _quoted(span: Any, start: Any, end: Any, label: Any) -> Quoted:
    """The three values of a span, under these keys."""
    try:
        values = span[start], span[end], span[label]
    except (KeyError, TypeError, IndexError) as error:
        raise BrokenRecord(f"a span without {error}: {str(span)[:60]}") from error
    is_number = [isinstance(v, int) and not isinstance(v, bool) for v in values[:2]]
    if not all(is_number) or not isinstance(values[2], str) or not values[2].strip():
        raise BrokenRecord(f"two numbers and a label were expected: {str(span)[:60]}")
    quote = span.get("text")
    label = _encodable(values[2].strip())
    return (*values[:2], label, quote if isinstance(quote, str) else None)


def _resolve(made: Text, quoted: Sequence[Quoted], log: FileLog) -> None:
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
                made.missing.append((max(start, 0), min(end, len(made.text))))
                continue
            log.add("offsets in UTF-16", made.line, shown)
            start, end = moved
        if not 0 <= start <= end <= len(made.text):
            log.add("span outside the text", made.line, shown)
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
    made.spans = _longest(
        spans,
        lambda span: log.add("overlapping spans", made.line, ", ".join(map(str, span))),
    )
    made.missing = sorted(span for span in made.missing if span[0] < span[1])


def _longest(
    spans: Iterable[TypedSpan], report: Callable[[TypedSpan], None]
) -> list[TypedSpan]:
    """The spans in order without those that overlap a longer one, which are reported.

    Example: (0, 3, "LOC"), (2, 9, "ORG"), (9, 11, "PER") -> the last two
    """
    kept: list[TypedSpan] = []
    for span in sorted(spans, key=lambda span: (span[0] - span[1], span)):
        place = bisect(kept, span)
        if any(
            span[0] < other[1] and other[0] < span[1]
            for other in kept[max(place - 1, 0) : place + 1]
        ):
            report(span)
        else:
            insort(kept, span)
    return kept


def _is_quote(text: str, start: int, end: int, quote: str) -> bool:
    """Whether the span covers the quote, white space apart."""
    return 0 <= start <= end and "".join(text[start:end].split()) == "".join(
        quote.split()
    )


def _from_utf16(text: str, offset: int) -> int:
    """Example: "😀 Ann", 3 -> 2, as browsers count the smiley as two."""
    units = text.encode("utf-16-le", "surrogatepass")[: 2 * max(offset, 0)]
    return len(units.decode("utf-16-le", "ignore"))
