"""What a round learns from: sentences of its own, annotated with its types alone."""

import random
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from spacy.tokens import Doc

from ..corpus import blank_pipeline, read_docs
from ..docbin import write_docs
from ..errors import UserError
from .course import Course, Round

SEED = 0  # which round gets a sentence does not depend on the training's seed


def read_files(files: Iterable[Path]) -> list[Doc]:
    nlp = blank_pipeline("xx")
    return [doc for file in files for doc in read_docs(file, nlp)]


def share(docs: Sequence[Doc], number: int, n_rounds: int) -> list[Doc]:
    """The sentences of a round, numbered from 1: no two rounds have one in common."""
    shuffled = random.Random(SEED).sample(docs, len(docs))
    return shuffled[number - 1 :: n_rounds]


def keep_types(doc: Doc, types: Collection[str]) -> Doc:
    """A copy in which entities of other types are O.

    What the annotation does not know, it does not know in the copy.
    """
    copy = doc.copy()
    is_kept = [ent.label_ in types for ent in doc.ents]
    others = [ent for ent, kept in zip(copy.ents, is_kept, strict=True) if not kept]
    kept = [ent for ent, kept in zip(copy.ents, is_kept, strict=True) if kept]
    copy.set_ents(kept, outside=others, default="unmodified")
    lines = copy.user_data.get("ent_lines", ())
    if len(lines) == len(is_kept):
        pairs = zip(lines, is_kept, strict=True)
        copy.user_data["ent_lines"] = [line for line, kept in pairs if kept]
    return copy


def write_corpora(course: Course, rounds: Iterable[Round]) -> None:
    """Of these rounds, the sentences to learn from and to choose the best epoch by."""
    train, dev = (read_files(course.files[part]) for part in ("train", "dev"))
    n_rounds = len(course.rounds) - 1
    for one in rounds:
        parts = {"train": share(train, one.number, n_rounds), "dev": dev}
        for part, docs in parts.items():
            docs = [keep_types(doc, one.types) for doc in docs]
            seen = {ent.label_ for doc in docs for ent in doc.ents}
            missing = [kind for kind in one.types if kind not in seen]
            if missing and part == "train":
                raise UserError(
                    f"Entities of {', '.join(one.types)} were expected in the "
                    f"{len(docs)} sentences of round {one.number}, but there is none "
                    f"of {', '.join(missing)}. Correct --round, or give more sentences."
                )
            write_docs(docs, course.corpus(one, part))
