"""Texts without labels, of which the teacher's word is taught beside the corpus.

They stand for what the teacher knows and the corpus lacks: other domains, languages.
"""

import random
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from spacy.language import Language
from spacy.tokens import Doc

from .batching import batch_by_length, n_bytes
from .corpus import read_docs
from .errors import UserError
from .files import data_suffix, find_files
from .texts import RAW_SUFFIXES, TextFile

SEED = 0  # which texts are kept does not depend on the training's seed
LONGEST = 100  # tokens of a doc: longer texts are cut, so that none fills a batch
BATCH, POOL = 8, 16  # about what a step draws, and how many are sorted together
MOST_HELD_OUT = 1 / 3  # of few texts
MOST_CHARACTERS = 10_000  # that are tokenised at once; then a word may be cut, too


class Replay:
    """Docs to draw from, and others to measure by.

    ratio: tokens to be drawn for each token of the corpus. n_texts: how many are kept
    of all, a uniform sample. held_out: how many of them, at most a third, are to be
    measured by.
    """

    def __init__(
        self, path: Path, column: str, ratio: float, n_texts: int, held_out: int
    ):
        if not (ratio > 0 and n_texts > held_out >= 0):
            raise UserError(
                "Replay expects a ratio above 0 and n_texts above held_out, but has "
                f"ratio = {ratio}, n_texts = {n_texts} and held_out = {held_out}. "
                "Correct the config."
            )
        self.path, self.column = path, column
        self.ratio, self.n_texts, self.held_out = ratio, n_texts, held_out
        self.docs: list[Doc] = []
        self.held_out_docs: list[Doc] = []
        self._order: list[Doc] = []
        self._owed = 0.0

    def read(self, nlp: Language) -> None:
        """Make the docs with the pipeline's tokenizer."""
        sample = _sample(read_texts(self.path, self.column, nlp), self.n_texts)
        if not sample:
            raise UserError(
                f"Texts to replay were expected in '{self.path}', but there are none "
                "that are not blank. Give others, or set the path to null."
            )
        n_held_out = min(self.held_out, int(len(sample) * MOST_HELD_OUT))
        held_out, taught = sample[:n_held_out], sample[n_held_out:]
        self.held_out_docs = [doc for text in held_out for doc in _cut(nlp, text)]
        self.docs = [doc for text in taught for doc in _cut(nlp, text)]
        self._order, self._owed = [], 0.0

    def draw(self, n_tokens: int) -> list[Doc]:
        """Docs of about `ratio` tokens for each of n_tokens, over many calls exactly.

        Each doc is drawn once before any is drawn again, in an order of Python's
        `random`, which spaCy seeds; neighbours are of like length, which saves padding.
        """
        self._owed += self.ratio * n_tokens
        drawn = []
        while self._owed > 0:
            if not self._order:
                shuffled = random.sample(self.docs, len(self.docs))
                batches = batch_by_length(shuffled, BATCH, POOL, n_bytes)
                self._order = [doc for batch in batches for doc in batch]
            drawn.append(self._order.pop())
            self._owed -= max(len(drawn[-1]), 1)
        return drawn


def read_texts(path: Path, column: str, nlp: Language) -> Iterator[str]:
    """The texts of a file of any kind, or of a folder (see `configure_replay`)."""
    raw = []
    if path.is_dir():
        files = sorted(path.iterdir())
        raw = [file for file in files if data_suffix(file) in RAW_SUFFIXES]
    for file in raw or find_files([path]):
        if data_suffix(file) in RAW_SUFFIXES:
            yield from (text.text for text in TextFile(file, column))
        else:
            yield from (doc.text for doc in read_docs(file, nlp))


def _sample(texts: Iterator[str], n: int) -> list[str]:
    """n of the texts that are not blank, or all, shuffled; each as likely as another,
    in one pass and the memory of n (Vitter 1985, algorithm R)."""
    generator = random.Random(SEED)
    texts = (text for text in texts if text.strip())
    sample = list(islice(texts, n))
    for text_i, text in enumerate(texts, start=n):
        place = generator.randint(0, text_i)
        if place < n:
            sample[place] = text
    generator.shuffle(sample)
    return sample


def _cut(nlp: Language, text: str) -> Iterator[Doc]:
    for place in range(0, len(text), MOST_CHARACTERS):
        doc = nlp.make_doc(text[place : place + MOST_CHARACTERS])
        for start in range(0, len(doc), LONGEST):
            is_whole = len(doc) <= LONGEST
            yield doc if is_whole else doc[start : start + LONGEST].as_doc()


def configure_replay(
    path: Path | None, column: str, ratio: float, n_texts: int, held_out: int
) -> Replay | None:
    """`retainer.Replay.v1`

    path: a .txt, .jsonl, .csv, .tsv or .parquet file of texts, a .spacy or CoNLL file,
        or a folder, of which files of texts are read or, if it has none, annotated
        ones. Texts like those that the checkpoint is to go on reading well, in all
        its languages; labels are not looked at. null: no replay.
    column: the key or column with the text.
    ratio: tokens of replayed text for each token of the corpus.
    n_texts: how many texts are kept, a uniform sample of all.
    held_out: how many of these, but at most a third, are not taught: on them
        `ents_kept_f` is measured.
    """
    if path is None:
        return None
    return Replay(Path(path), column, ratio, n_texts, held_out)
