"""Files of Docs as CoNLL, and as the records of annotation tools."""

import json
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from pathlib import Path

from spacy.tokens import Doc

from .columns import DOCSTART
from .conll import format_sentence
from .faults import FileLog, check_strict
from .files import NO_TEXT, replacing
from .formats import CharSpan, to_record
from .labels import OUTSIDE, tags_from_spans
from .schemes import MISSING

BREAK = re.compile(r"[\t\n]")


def words_of(doc: Doc) -> list[CharSpan]:
    """The tokens of the file that the Doc was made of, or else its own, in characters.

    Its own are without those that are white space alone.
    """
    words = doc.user_data.get("words")
    if words is not None:
        return [(start, end) for start, end in words]
    return [(t.idx, t.idx + len(t)) for t in doc if not t.is_space]


def tags_of(doc: Doc, words: Sequence[CharSpan], log: FileLog) -> list[str]:
    """The BIO tag of each word; MISSING where a token of it has no annotation.

    An entity that covers a part of a word gets the whole of it.
    """
    starts, ends = [start for start, _ in words], [end for _, end in words]
    spans, previous_end = [], 0
    for ent in doc.ents:
        first = bisect_right(ends, ent.start_char)
        end = bisect_left(starts, ent.end_char)
        detail = f"{ent.label_} of {ent.text[:40]!r}"
        if first >= end:
            log.add_at("blank entity", _source(doc), detail)
            continue
        if end <= previous_end:
            log.add_at("two entities in one token", _source(doc), detail)
            continue
        if starts[first] < ent.start_char or ends[end - 1] > ent.end_char:
            log.add_at("annotation inside a token", _source(doc), detail)
        spans.append((max(first, previous_end), end, ent.label_))
        previous_end = end
    tags = tags_from_spans(len(words), spans, [])
    unknown = [t for t in doc if t.ent_iob == 0]
    for token in unknown:
        first = bisect_right(ends, token.idx)
        end = bisect_left(starts, token.idx + len(token))
        for word_i in range(first, end):
            tags[word_i] = MISSING if tags[word_i] == OUTSIDE else tags[word_i]
    return tags


def _source(doc: Doc) -> str:
    return str(doc.user_data.get("source", "a document of unknown source"))


def _one_line(cell: str, doc: Doc, log: FileLog) -> str:
    if not BREAK.search(cell) and not cell.startswith(DOCSTART):
        return cell
    log.add_at("unwritable text", _source(doc), repr(cell[:40]))
    cell = BREAK.sub(" ", cell)
    return f" {cell}" if cell.startswith(DOCSTART) else cell


def write_conll(
    docs: Iterable[Doc], path: Path, log: FileLog, *, strict: bool = False
) -> None:
    """Sentences of `TOKEN<TAB>TAG` lines in BIO, one for each Doc.

    log: is told what CoNLL cannot say. strict: if that is anything, write nothing.
    """
    with (
        replacing(path) as unfinished,
        unfinished.open("w", encoding="utf-8", newline="") as file,
    ):
        is_first = True
        for doc in docs:
            words = words_of(doc)
            if not words:
                log.add_at("text without a token", _source(doc), repr(doc.text[:40]))
                continue
            text = doc.text  # put together anew each time that it is asked for
            tokens = [_one_line(text[start:end], doc, log) for start, end in words]
            tags = [_one_line(tag, doc, log) for tag in tags_of(doc, words, log)]
            needs_mark = is_first and NO_TEXT.match(tokens[0].encode())
            file.write("\ufeff" if needs_mark else "")
            file.write(format_sentence(tokens, tags))
            is_first = False
        if strict:
            check_strict(log.faults)


def write_records(docs: Iterable[Doc], path: Path, style: str) -> None:
    """Records of `formats.py`: one a line, or a list of them in a .json file."""
    is_list = path.suffix.lower() == ".json"
    with (
        replacing(path) as unfinished,
        unfinished.open("w", encoding="utf-8", newline="") as file,
    ):
        file.write("[\n" if is_list else "")
        for doc_i, doc in enumerate(docs):
            file.write(",\n" if is_list and doc_i else "")
            file.write(json.dumps(to_record(doc, style), ensure_ascii=False))
            file.write("" if is_list else "\n")
        file.write("\n]\n" if is_list else "")
