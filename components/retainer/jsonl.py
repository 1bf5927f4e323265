"""Records of annotation tools, JSON with character spans, as their exports have them.

prodigy       {"text", "tokens", "spans": [{"start", "end", "label"}], "answer"}
doccano       {"text", "label": [[start, end, label]]}, or "entities" with offsets
label-studio  {"data": {"text"}, "annotations": [{"result": [{"value": {...}}]}]}, or
              its short form with lists of {"start", "end", "text", "labels"}

What `formats.py` wrote holds two lists of character spans more: `words` and `missing`.
"""

import json
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from .charspans import AnnotatedText, Quoted, resolve
from .errors import UserError
from .faults import FileLog
from .files import read_lines
from .formats import STYLES, CharSpan
from .schemes import PREFIXED

BLANKS = re.compile(r"[\s,]*")


class BrokenRecord(Exception):
    """What a record lacks."""


def read_records(path: Path, encoding: str, log: FileLog) -> Iterator[AnnotatedText]:
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
            made = AnnotatedText(text, [], log.path, line_i, words, missing)
            resolve(made, quoted, log)
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
        line_i += text.count("\n", counted, position)
        counted = position
        if text.startswith("]", position):
            break
        try:
            value, position = decoder.raw_decode(text, position)
        except (ValueError, RecursionError) as error:
            raise UserError(
                f"A list of JSON records was expected in '{path}', but the one that "
                f"begins at {path}:{line_i} is none: {error}. Export the file again."
            ) from error
        yield line_i, value
    if rest := text[position + 1 :].strip():
        raise UserError(
            f"Nothing was expected behind the list of JSON records that ends at "
            f"{path}:{line_i}, but {rest[:60]!r} follows. Put all records in one list, "
            "or each on a line of its own."
        )


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
    short = list(filter(_is_short, record.values()))
    if short:
        values = [{"value": value} for value in chain.from_iterable(short)]
        return "label-studio", text, words, missing, _values(values, log)
    if "spans" in record or {"tokens", "answer"} <= record.keys():
        if record.get("_is_binary"):  # nobody was asked about the rest of the text
            missing = [(0, len(text))]
        return "prodigy", text, words, missing, _prodigy(record, log)
    for key in ("label", "labels", "entities"):
        if isinstance(record.get(key), list):
            return "doccano", text, words, missing, list(map(_quoted, record[key]))
    log.skipped["texts without annotation"] += 1
    return "texts alone", text, words, missing, None


def _is_short(value: Any) -> bool:
    """Whether it is a list of spans in the short form of Label Studio."""
    items = value if isinstance(value, list) else []
    return any(isinstance(item, dict) and "labels" in item for item in items)


def _find_text(record: dict, extra: dict) -> str:
    """Under "text" as a rule; in the data of Label Studio else the longest."""
    candidates = [extra.get("text"), record.get("data")]
    texts = [value for value in candidates if isinstance(value, str)]
    if not texts and extra is not record:
        texts = [value for value in extra.values() if isinstance(value, str)]
        texts.sort(key=len, reverse=True)
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
    except (TypeError, ValueError, OverflowError) as error:
        raise BrokenRecord(f"'{key}' are no spans of the text ({error})") from error
    return spans


def _prodigy(record: dict, log: FileLog) -> list[Quoted] | None:
    answer = record.get("answer", "accept")
    if answer != "accept":
        log.skipped[f"texts answered '{str(answer)[:20]}'"] += 1
        return None
    spans = record.get("spans", [])
    if not isinstance(spans, list):
        raise BrokenRecord(f"a list was expected under 'spans', not {str(spans)[:60]}")
    return list(map(_quoted, spans))


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
        labels = value.get("labels") if isinstance(value, dict) else None
        if not isinstance(labels, list) or not labels:
            log.skipped["results that are no spans"] += 1
            continue
        quoted += [_quoted({**value, "label": label}) for label in labels]
    return quoted


def _quoted(item: Any) -> Quoted:
    """The values of a span: an object, or a list of start, end and label."""
    shown = str(item)[:60]
    if isinstance(item, list) and len(item) == 3:
        item = dict(zip(("start", "end", "label"), item, strict=True))
    if not isinstance(item, dict):
        raise BrokenRecord(f"[start, end, label] was expected, not {shown}")
    suffix = "_offset" if "start_offset" in item else ""
    names = f"start{suffix}", f"end{suffix}", "label"
    if lacking := [name for name in names if name not in item]:
        raise BrokenRecord(f"a span without {' and '.join(lacking)}: {shown}")
    start, end, label = (item[name] for name in names)
    is_number = [isinstance(v, int) and not isinstance(v, bool) for v in (start, end)]
    is_label = isinstance(label, str) and PREFIXED.fullmatch(f"B-{label.strip()}")
    if not all(is_number) or not is_label:
        raise BrokenRecord(f"two numbers and a label were expected: {shown}")
    quote = item["text"] if isinstance(item.get("text"), str) else None
    return start, end, _encodable(label.strip()), quote
