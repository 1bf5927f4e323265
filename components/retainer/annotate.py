"""A pipeline's entities, with confidences, in raw texts without end."""

import hashlib
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Any

from spacy.language import Language
from spacy.tokens import Doc

from .errors import UserError
from .formats import to_record
from .partfile import PartFile
from .texts import Text

# What is read, annotated and saved at once; the second bounds the memory.
MAX_TEXTS, MAX_CHARS = 512, 200_000
SPANS_KEY = "retainer_annotate"


@dataclass
class Totals:
    """What the output holds.

    n_blank: texts of white space alone. n_words: tokens of the pipeline. seconds: of
    all runs, without loading and skipping. digest: of all texts, with their meta.
    """

    n_texts: int = 0
    n_blank: int = 0
    n_words: int = 0
    seconds: float = 0.0
    n_ents: Counter[str] = field(default_factory=Counter)
    digest: str = ""

    def __post_init__(self) -> None:
        self.n_ents = Counter(self.n_ents)  # JSON makes it a dict

    def as_json(self) -> dict[str, Any]:
        """Of which nothing changes any more when Docs are added."""
        return vars(self) | {"n_ents": dict(self.n_ents)}

    def add(self, doc: Doc) -> None:
        self.n_texts += 1
        self.n_blank += not doc.text.strip()
        self.n_words += len(doc)
        self.n_ents.update(ent.label_ for ent in doc.ents)


def fingerprint(folder: Path) -> str:
    """Of all files of a pipeline, weights included: another training is seen."""
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            digest.update(f"{path.relative_to(folder)}\0".encode())
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "blake2b").digest())
    return digest.hexdigest()


def annotate(
    nlp: Language, texts: Iterable[Text], part: PartFile, style: str
) -> Iterator[Totals]:
    """Write a record for each text, in their order, from where the part ends.

    nlp: gets its confidences turned on, and its longest text without limit.
    YIELDS: what is done so far, after each chunk. Behind the last, it is finished.
    """
    # The limit is for parsers, whose memory is of the square of the length.
    nlp.max_length = sys.maxsize
    nlp.get_pipe("transformer_ner").spans_key = SPANS_KEY
    totals, rows = Totals(**part.state), iter(texts)
    digest = _pass_over(rows, totals, part)
    started = perf_counter()
    try:
        for chunk in split(rows):
            data = _annotate_chunk(nlp, chunk, style, totals)
            for text in chunk:
                digest.update(_key(text))
            totals.digest = digest.hexdigest()
            totals.seconds += perf_counter() - started
            started = perf_counter()
            part.append(data, totals.as_json())
            yield totals
    except UserError as error:
        if part.state:
            error.desc = f"{error.desc} {how_to_go_on(part)}"
        raise
    if not totals.n_texts:
        raise UserError(
            "At least one text was expected in the input, but it holds none. Name "
            "another file."
        )
    part.finish()


def _pass_over(rows: Iterator[Text], totals: Totals, part: PartFile) -> Any:
    """The texts that are done. RETURNS: their digest, to be gone on with."""
    digest = hashlib.blake2b()
    for text in islice(rows, totals.n_texts):
        digest.update(_key(text))
    if totals.n_texts and digest.hexdigest() != totals.digest:
        raise UserError(
            f"The first {totals.n_texts:,} texts were expected to be those that "
            f"'{part.path}' was made from, but they are others. Restore the input, or "
            "give --restart to begin again."
        )
    return digest


def how_to_go_on(part: PartFile) -> str:
    n_texts = part.state.get("n_texts", 0)
    return f"The same command goes on after the first {n_texts:,} texts."


def _key(text: Text) -> bytes:
    return json.dumps([text.text, text.meta]).encode()


def split(texts: Iterable[Text]) -> Iterator[list[Text]]:
    """Chunks that depend on nothing but the texts from their first on.

    So what is gone on with has the same batches, and the same last digits, as what
    was never interrupted.
    """
    chunk: list[Text] = []
    n_chars = 0
    for text in texts:
        chunk.append(text)
        n_chars += len(text.text)
        if len(chunk) == MAX_TEXTS or n_chars >= MAX_CHARS:
            yield chunk
            chunk, n_chars = [], 0
    if chunk:
        yield chunk


def _annotate_chunk(
    nlp: Language, chunk: list[Text], style: str, totals: Totals
) -> bytes:
    """Lines of JSON. What the texts add to the vocabulary is forgotten again."""
    lines = []
    with nlp.memory_zone():
        docs = nlp.pipe((text.text for text in chunk), batch_size=len(chunk))
        for doc, text in zip(docs, chunk, strict=True):
            totals.add(doc)
            record = to_record(doc, style, confidences(doc), text.meta)
            line = json.dumps(record, ensure_ascii=False) + "\n"
            # Half of a surrogate pair, in the meta, can only be written as \uXXXX.
            lines.append(line.encode("utf-8", "backslashreplace"))
    return b"".join(lines)


def confidences(doc: Doc) -> list[float | None]:
    """One for each of doc.ents, four digits; None if another component set it."""
    if SPANS_KEY not in doc.spans:
        return [None] * len(doc.ents)
    group = doc.spans[SPANS_KEY]
    scores = {
        (span.start, span.end, span.label): round(score, 4)
        for span, score in zip(group, group.attrs["scores"], strict=True)
    }
    return [scores.get((ent.start, ent.end, ent.label)) for ent in doc.ents]
