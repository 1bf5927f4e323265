"""Which sentences a task trains on and is scored on."""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from spacy.language import Language
from spacy.tokens import Doc

from ..corpus import blank_pipeline, read_docs
from ..docbin import write_docs
from ..errors import UserError
from ..files import find_files
from ..report import file_names
from .plan import Old, Task

T = TypeVar("T")
HELD_OUT = 10  # every tenth sentence, where a task has no dev files


@dataclass
class Corpora:
    """One task: sentences to learn from, to choose the best epoch by, to score."""

    train: list[Doc]
    dev: list[Doc]
    test: dict[str, list[Doc]]


@dataclass
class OldCorpora:
    """By file: what is scored, and what can be trained on."""

    scored: dict[str, list[Doc]]
    rest: dict[str, list[Doc]]


def inputs(data: Path, names: Iterable[str]) -> list[Path]:
    return find_files(data / name for name in names)


def read_task(name: str, task: Task, data: Path) -> Corpora:
    nlp = blank_pipeline("xx")
    train = _read(nlp, inputs(data, task.train), task.script)
    if task.dev is None:
        dev = train[HELD_OUT - 1 :: HELD_OUT]
        train = [doc for i, doc in enumerate(train, start=1) if i % HELD_OUT]
    else:
        dev = _read(nlp, inputs(data, task.dev), task.script)
    test = {
        key: sample(
            _read(nlp, inputs(data, files), task.test_scripts.get(key)),
            task.test_limit,
        )
        for key, files in task.test.items()
    }
    corpora = Corpora(sample(train, task.limit), sample(dev, task.dev_limit), test)
    parts = {"train": corpora.train, "dev": corpora.dev} | {
        f"test.{key}": docs for key, docs in test.items()
    }
    for part, docs in parts.items():
        if not docs:
            raise UserError(
                f"Sentences were expected in {part} of the task '{name}', but there is "
                "none left. Correct its files, or the script that they are to be of."
            )
    return corpora


def read_old(old: Old, data: Path) -> OldCorpora:
    nlp = blank_pipeline("xx")
    files = inputs(data, old.files)
    docs = {
        name: _read(nlp, [file], None)
        for name, file in zip(file_names(files), files, strict=True)
    }
    return OldCorpora(
        {name: some[: old.limit] for name, some in docs.items()},
        {name: some[old.limit :] for name, some in docs.items()},
    )


def write_train(task: Corpora, old: OldCorpora, joint: int, path: Path) -> None:
    """joint: so many sentences of each old file are added."""
    docs = list(task.train)
    for rest in old.rest.values() if joint else ():
        docs += rest[:joint]
    if joint and len(docs) == len(task.train):
        raise UserError(
            "Old files with sentences behind those that are scored were expected for "
            "`joint`, but there are none. Lower `old.limit`."
        )
    write_docs(docs, path)


def entity_types(docs: Iterable[Doc]) -> list[str]:
    return sorted({ent.label_ for doc in docs for ent in doc.ents})


def _read(nlp: Language, files: Iterable[Path], script: str | None) -> list[Doc]:
    docs = [doc for file in files for doc in read_docs(file, nlp)]
    if script is None:
        return docs
    return [doc for doc in docs if is_of(doc.text, script)]


def sample(items: Sequence[T], limit: int | None) -> list[T]:
    """As many, evenly from all. Example: [0, 1, 2, 3, 4, 5], 3 -> [0, 2, 4]"""
    if limit is None or limit >= len(items):
        return list(items)
    return [items[i * len(items) // limit] for i in range(limit)]


def is_of(text: str, script: str) -> bool:
    """Example: "Улица" is of "cyrillic", and neither of "latin" nor "not cyrillic"."""
    wanted = script.lower().removeprefix("not ")
    return (main_script(text) == wanted) == (wanted == script.lower())


def main_script(text: str) -> str | None:
    """The script of more than half of the letters, by their names in Unicode.

    Example: "Улица Abc" -> "cyrillic"
    """
    letters = Counter(
        unicodedata.name(char, "?").split()[0].lower()
        for char in text
        if char.isalpha()
    )
    if not letters:
        return None
    script, n = letters.most_common(1)[0]
    return script if 2 * n > letters.total() else None
