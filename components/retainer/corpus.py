"""Sentences and texts to Docs as a pipeline would make them; files of Docs, counted."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
import spacy
from spacy.attrs import IDX, IS_SPACE, LENGTH
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training.corpus import FILE_TYPE

from .charspans import AnnotatedText
from .conll import Sentence, find_words, read_conll
from .docbin import ent_places, read_bin
from .errors import UserError
from .faults import FileLog
from .files import (
    JSON_SUFFIXES,
    STDIN,
    data_suffix,
    is_dataset,
    looks_like_json,
)
from .formats import CharSpan
from .jsonl import read_records
from .labels import OUTSIDE, TypedSpan, spans_from_tags
from .layout import ReadOptions
from .schemes import MISSING
from .spacing import spaces_after

TOKENIZER = {"@tokenizers": "retainer.MultilingualTokenizer.v1"}


@dataclass
class FileCounts:
    """What one input file gave. places: where the first entity of each type is.

    n_cuts, n_missing: see `make_doc`.
    """

    path: Path
    log: FileLog
    n_sentences: int = 0
    n_tokens: int = 0
    n_missing: int = 0
    n_cuts: int = 0
    n_ents: Counter[str] = field(default_factory=Counter)
    places: dict[str, str] = field(default_factory=dict)

    def add(self, doc: Doc) -> None:
        self.n_sentences += 1
        self.n_tokens += len(doc)
        self.n_cuts += doc.user_data.get("n_cuts", 0)
        self.n_missing += doc.user_data.get("n_missing", 0)
        self.n_ents.update(labels := [ent.label_ for ent in doc.ents])
        if not self.places.keys() >= set(labels):
            places = zip(labels, ent_places(doc), strict=True)
            self.places = dict(reversed(list(places))) | self.places


def doc_from_sentence(
    nlp: Language, sentence: Sentence, log: FileLog | None = None
) -> Doc:
    """A Doc with the text that the tokens stand in, or else most likely stand in."""
    text, words = _spell(sentence)
    tags = [OUTSIDE if tag == MISSING else tag for tag in sentence.tags]
    ents, lines = [], []
    for first, end, label in spans_from_tags(tags):
        start_char, end_char = _trim(text, words[first][0], words[end - 1][1])
        if start_char < end_char:
            ents.append((start_char, end_char, label))
            lines.append(sentence.lines[first])
        elif log is not None:
            detail = f"{label} of {text[words[first][0] : words[end - 1][1]]!r}"
            log.add("blank entity", sentence.lines[first], detail)
    missing = [
        word for word, tag in zip(words, sentence.tags, strict=True) if tag == MISSING
    ]
    doc = make_doc(nlp, text, ents, words, missing)
    source = f"{sentence.path}:{sentence.lines[0]}"
    doc.user_data |= {"source": source, "ent_lines": lines}
    return doc


def _spell(sentence: Sentence) -> tuple[str, list[CharSpan]]:
    """The text, and where in it each token is."""
    if sentence.text is not None:
        bounds = find_words(sentence.text, sentence.tokens)
        if bounds is not None:
            return sentence.text, bounds
    tokens = sentence.tokens
    spaces = sentence.spaces or spaces_after(tokens)
    words, end, text = [], 0, []
    for token, has_space in zip(tokens, spaces, strict=True):
        words.append((end, end + len(token)))
        text.append(token)
        end += len(token)
        if has_space:
            text.append(" ")
            end += 1
    return "".join(text), words


def doc_from_text(nlp: Language, text: AnnotatedText, log: FileLog) -> Doc:
    """A Doc of an annotated text. An entity that ends inside a token cuts it there."""
    doc = make_doc(nlp, text.text, text.spans, text.words, text.missing)
    if text.words is None and doc.user_data.get("n_cuts"):
        whole = nlp.tokenizer(text.text)
        for start, end, label in text.spans:
            if whole.char_span(start, end) is None:
                word = whole.char_span(start, end, alignment_mode="expand")
                detail = f"{label} of {text.text[start:end][:40]!r} in {word.text!r}"
                log.add("span inside a word", text.line, detail)
    doc.user_data |= {"source": f"{text.path}:{text.line}"}
    doc.user_data |= {"ent_lines": [text.line] * len(text.spans)}
    return doc


def make_doc(
    nlp: Language,
    text: str,
    ents: Sequence[TypedSpan],
    words: Sequence[CharSpan] | None,
    missing: Sequence[CharSpan],
) -> Doc:
    """The tokens are the pipeline's own, cut once more where an entity ends inside one.

    ents, words, missing: in characters, no entity in missing text. Every token outside
    both is O. `doc.user_data` gets, where it is not nothing,
        n_cuts      entity boundaries that lay inside a token of the pipeline
        n_missing   tokens without annotation
        words       the tokens of the file, where they are not those that the
                    pipeline makes (but for its white space tokens)
    """
    bounds = [char_i for ent in ents for char_i in ent[:2]]
    bounds += [char_i for span in missing for char_i in span]
    doc, n_cuts = _cut_at(nlp.tokenizer(text), bounds)
    gaps = [doc.char_span(*span, alignment_mode="expand") for span in missing]
    doc.set_ents([doc.char_span(*ent) for ent in ents], missing=gaps, default="outside")
    n_missing = sum(map(len, gaps))
    for key, value in (("n_cuts", n_cuts), ("n_missing", n_missing)):
        if value:
            doc.user_data[key] = value
    if words is not None and (n_cuts or not _are_tokens(words, doc)):
        doc.user_data["words"] = [tuple(word) for word in words]
    return doc


def _are_tokens(words: Sequence[CharSpan], doc: Doc) -> bool:
    """Whether they are the tokens of the Doc, white space tokens apart."""
    # arrays, because a Doc makes an object of each token that is asked for
    columns = doc.to_array([IDX, LENGTH, IS_SPACE]).astype(np.int64)
    bounds = columns[columns[:, 2] == 0, :2]
    bounds[:, 1] += bounds[:, 0]
    return len(words) == len(bounds) and bool((bounds == np.asarray(words)).all())


def _trim(text: str, start: int, end: int) -> CharSpan:
    """The bounds without the white space inside them at either edge."""
    inside = text[start:end]
    start += len(inside) - len(inside.lstrip())
    return start, start + len(inside.strip())


def _cut_at(doc: Doc, bounds: Sequence[int]) -> tuple[Doc, int]:
    """Cut tokens at the bounds, in characters, that lie inside one, and count these.

    Example: "10kg", [2, 4] -> "10", "kg", 1
    """
    if not bounds:
        return doc, 0
    starts, lengths = doc.to_array([IDX, LENGTH]).T.tolist()
    cuts: dict[int, list[int]] = {}
    for bound in sorted(set(bounds)):
        token_i = bisect_right(starts, bound) - 1
        if 0 < bound - starts[token_i] < lengths[token_i]:
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


def read_docs(
    path: Path,
    nlp: Language,
    options: ReadOptions | None = None,
    log: FileLog | None = None,
) -> Iterator[Doc]:
    """The Docs of any file of data: as they are in a .spacy file, else newly made.

    log: is told how the file was read, and all that was wrong with it.
    """
    options, log = options or ReadOptions(), log or FileLog(str(path))
    suffix = data_suffix(path)
    if suffix == FILE_TYPE:
        log.layout = "DocBin"
        for doc_i, doc in enumerate(read_bin(path).get_docs(nlp.vocab), start=1):
            doc.user_data.setdefault("source", f"{path}: document {doc_i}")
            yield doc
    elif suffix in JSON_SUFFIXES or (path == STDIN and looks_like_json(path)):
        for text in read_records(path, options.encoding, log):
            yield doc_from_text(nlp, text, log)
    else:
        read = read_conll
        if suffix == ".parquet" or is_dataset(path):
            from .hub import read_dataset as read
        for sentence in read(path, options, log):
            yield doc_from_sentence(nlp, sentence, log)


def blank_pipeline(lang: str) -> Language:
    """A pipeline of nothing but the multilingual tokenizer, on a language's rules."""
    try:
        return spacy.blank(lang, config={"nlp": {"tokenizer": TOKENIZER}})
    except ImportError as error:
        raise UserError(
            f"A language code of spaCy, such as xx, en or th, was expected, but "
            f"'{lang}' is none that can be loaded here. Use xx for any language."
        ) from error
