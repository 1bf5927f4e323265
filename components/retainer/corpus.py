"""Sentences to Docs as a pipeline would make them; files of Docs, and their counts."""

import os
import zlib
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import spacy
from spacy.language import Language
from spacy.tokens import Doc, DocBin
from spacy.training.corpus import FILE_TYPE

from .conll import Sentence, find_files, read_conll
from .errors import UserError
from .labels import OPENING, spans_from_tags, split_tag
from .spacing import spaces_after

TOKENIZER = {"@tokenizers": "retainer.MultilingualTokenizer.v1"}


@dataclass
class FileCounts:
    """What one input file gave. n_cuts, n_repairs: see `doc_from_sentence`."""

    path: Path
    n_sentences: int = 0
    n_tokens: int = 0
    n_repairs: int = 0
    n_cuts: int = 0
    n_ents: Counter[str] = field(default_factory=Counter)

    def add(self, doc: Doc) -> None:
        self.n_sentences += 1
        self.n_tokens += len(doc)
        self.n_repairs += doc.user_data.get("n_repairs", 0)
        self.n_cuts += doc.user_data.get("n_cuts", 0)
        self.n_ents.update(ent.label_ for ent in doc.ents)


def doc_from_sentence(nlp: Language, sentence: Sentence) -> Doc:
    """The tokens are the pipeline's own, cut once more where an entity ends inside one.

    Every token outside the entities is O. `doc.user_data` gets
        source      "file:line" of the first token
        ent_lines   the line of each entity's first token
        n_cuts      entity boundaries that lay inside a token of the pipeline
        n_repairs   entities that began with an inside tag, or were white space alone
    """
    spaces = spaces_after(sentence.tokens)
    pairs = zip(sentence.tokens, spaces, strict=True)
    words = [token + " " * space for token, space in pairs]
    starts = [0]
    for word in words:
        starts.append(starts[-1] + len(word))
    text = "".join(words)
    ents, lines, n_repairs = [], [], 0
    for first, end, entity_type in spans_from_tags(sentence.tags):
        start_char, end_char = _trim(text, starts[first], starts[end])
        is_empty = start_char == end_char
        n_repairs += is_empty or _is_repair(sentence.tags[first])
        if not is_empty:
            ents.append((start_char, end_char, entity_type))
            lines.append(sentence.lines[first])
    bounds = [char_i for ent in ents for char_i in ent[:2]]
    doc, n_cuts = _cut_at(nlp.tokenizer(text), bounds)
    doc.set_ents([doc.char_span(*ent) for ent in ents], default="outside")
    source = f"{sentence.path}:{sentence.lines[0]}"
    doc.user_data |= {"source": source, "ent_lines": lines}
    doc.user_data |= {"n_cuts": n_cuts, "n_repairs": n_repairs}
    return doc


def _trim(text: str, start: int, end: int) -> tuple[int, int]:
    """The bounds without the white space inside them at either edge."""
    inside = text[start:end]
    start += len(inside) - len(inside.lstrip())
    return start, start + len(inside.strip())


def _is_repair(first_tag: str) -> bool:
    """Whether an entity starts with a tag that should have continued one.

    Example: "I-PER" -> True; "B-PER" -> False; "PER" -> False (it has no prefix)
    """
    prefix, entity_type = split_tag(first_tag)
    return first_tag != entity_type and prefix not in OPENING


def _cut_at(doc: Doc, bounds: Sequence[int]) -> tuple[Doc, int]:
    """Cut tokens at the bounds, in characters, that lie inside one, and count these.

    Example: "10kg", [2, 4] -> "10", "kg", 1
    """
    starts = [token.idx for token in doc]
    cuts: dict[int, list[int]] = {}
    for bound in sorted(set(bounds)):
        token_i = bisect_right(starts, bound) - 1
        if 0 < bound - starts[token_i] < len(doc[token_i]):
            cuts.setdefault(token_i, []).append(bound - starts[token_i])
    if not cuts:
        return doc, 0
    words: list[str] = []
    spaces: list[bool] = []
    for token in doc:
        edges = [0, *cuts.get(token.i, []), len(token)]
        pieces = [token.text[a:b] for a, b in pairwise(edges)]
        words.extend(pieces)
        spaces.extend([False] * (len(pieces) - 1) + [bool(token.whitespace_)])
    return Doc(doc.vocab, words=words, spaces=spaces), sum(map(len, cuts.values()))


def read_docs(path: Path, nlp: Language) -> Iterator[Doc]:
    """The Docs of a .spacy file as they are, or of a CoNLL file by the tokenizer."""
    if path.suffix != FILE_TYPE:
        for sentence in read_conll(path):
            yield doc_from_sentence(nlp, sentence)
        return
    for doc_i, doc in enumerate(read_bin(path).get_docs(nlp.vocab), start=1):
        doc.user_data.setdefault("source", f"{path}: document {doc_i}")
        yield doc


def read_bin(path: Path) -> DocBin:
    try:
        return DocBin().from_disk(path)
    except OSError as error:
        reason = error.strerror
    except (ValueError, KeyError, TypeError, zlib.error) as error:
        reason = f"it is no such file ({error})"
    raise UserError(
        f"Documents saved by spaCy were expected in '{path}', but it cannot be read: "
        f"{reason}. Make it with scripts/convert.py, or correct the path."
    )


def write_docs(docs: Iterable[Doc], path: Path) -> None:
    """Write a .spacy file: the whole of it or, when anything fails, nothing."""
    doc_bin = DocBin(docs=docs, store_user_data=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        doc_bin.to_disk(unfinished)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def convert(
    inputs: Sequence[Path],
    output: Path,
    lang: str,
    track: Callable[[Iterable[Doc]], Iterable[Doc]] = iter,
) -> list[FileCounts]:
    """Write the Docs of all the input files to one .spacy file, and count them.

    inputs: files and folders. A folder may hold the output, which is passed over.
    track: is given the Docs to iterate, and may show the progress.
    """
    if output.suffix != FILE_TYPE or output.is_dir():
        raise UserError(
            f"A {FILE_TYPE} file was expected as the output, behind all inputs, but "
            f"it is '{output}'. Name a {FILE_TYPE} file last."
        )
    if output.resolve() in [path.resolve() for path in inputs]:
        raise UserError(
            f"An output that is none of the inputs was expected, but '{output}' is "
            "given as both. Name another file for the output."
        )
    nlp = blank_pipeline(lang)
    files = [path for path in find_files(inputs) if path.resolve() != output.resolve()]
    counts = [FileCounts(path) for path in files]

    def read_all() -> Iterator[Doc]:
        for file in counts:
            for doc in read_docs(file.path, nlp):
                file.add(doc)
                yield doc

    write_docs(track(read_all()), output)
    return counts


def blank_pipeline(lang: str) -> Language:
    """A pipeline of nothing but the multilingual tokenizer, on a language's rules."""
    try:
        return spacy.blank(lang, config={"nlp": {"tokenizer": TOKENIZER}})
    except ImportError as error:
        raise UserError(
            f"A language code of spaCy, such as xx, en or th, was expected, but "
            f"'{lang}' is none that can be loaded here. Use xx for any language."
        ) from error
