"""What a config works out from files: corpora, steps, learning rates, labels."""

import math
from collections.abc import Callable, Iterable
from pathlib import Path

import srsly
from spacy.training.corpus import FILE_TYPE, Corpus, walk_corpus
from thinc.api import constant, warmup_linear

from .docbin import read_bin
from .errors import UserError
from .labels import check_unique


def read_labels(path: Path | None) -> list[str] | None:
    """`retainer.Labels.v1`: the entity types that `spacy init labels` wrote.

    RETURNS: None without a path: the labels come from checkpoint and corpus.
    """
    if path is None:
        return None
    try:
        labels = srsly.read_json(path)
    except (OSError, ValueError) as error:
        raise UserError(
            f"A JSON list of entity types was expected in '{path}', but {error}. Write "
            "it with `spacy init labels`."
        ) from error
    if not isinstance(labels, list) or not all(isinstance(x, str) for x in labels):
        raise UserError(
            f"A JSON list of entity types was expected in '{path}', but it holds "
            f"{str(labels)[:80]}. Write it with `spacy init labels`."
        )
    check_unique(labels, str(path))
    return labels


def create_corpus(
    path: Path | None,
    gold_preproc: bool,
    max_length: int,
    limit: int,
    augmenter: Callable | None,
) -> Corpus:
    """`retainer.Corpus.v1`: as `spacy.Corpus.v1`, but what is missing is told at once.

    spaCy's looks for its files at the first evaluation, when training has begun.
    """
    _count_docs(path, "retainer.Corpus.v1")
    return Corpus(
        path,
        gold_preproc=gold_preproc,
        max_length=max_length,
        limit=limit,
        augmenter=augmenter,
    )


def count_epoch_steps(path: Path | None, batch_size: int, epochs: int) -> int:
    """`retainer.epoch_steps.v1`: the steps of some epochs, for `training.patience`, and
    for `training.eval_frequency`, of about one.

    One step short: spaCy counts steps from 0 and scores every step that the number
    divides, so that with the whole epoch the last one would go unscored.
    path: a .spacy file or a folder of them, as for `spacy.Corpus.v1`.
    """
    if epochs < 1:
        raise UserError(
            "`epochs` of 1 or more were expected in retainer.epoch_steps.v1, but it "
            f"is {epochs}. Correct the config."
        )
    n_steps = _steps_per_epoch(path, batch_size, "retainer.epoch_steps.v1")
    return max(1, epochs * n_steps - 1)


def configure_warmup_linear(
    path: Path | None,
    batch_size: int | str,
    max_epochs: int | str,
    initial_rate: float,
    warmup: float,
) -> Iterable[float]:
    """`retainer.warmup_linear.v1`: up from 0 to the initial rate, then down to 0.

    `nlp.create_optimizer`, which `nlp.resume_training` calls, leaves the variables of
    a config as they are, "${training.max_epochs}": with these the rate is constant.
    warmup: the share of all steps that go up, 0 to 1; one step at least.
    """
    if isinstance(batch_size, str) or isinstance(max_epochs, str):
        return constant(initial_rate)
    name = "retainer.warmup_linear.v1"
    if max_epochs < 1 or not 0 <= warmup <= 1:
        raise UserError(
            f"A `max_epochs` of 1 or more and a `warmup` from 0 to 1 were expected in "
            f"{name}, but they are {max_epochs} and {warmup}. Correct the config."
        )
    n_steps = max_epochs * _steps_per_epoch(path, batch_size, name)
    return warmup_linear(initial_rate, max(1, round(warmup * n_steps)), n_steps)


def _steps_per_epoch(path: Path | None, batch_size: int, name: str) -> int:
    if batch_size < 1:
        raise UserError(
            f"A `batch_size` of 1 or more was expected in {name}, but it is "
            f"{batch_size}. Correct the config."
        )
    return math.ceil(_count_docs(path, name) / batch_size)


def _count_docs(path: Path | None, name: str) -> int:
    is_found = path is not None and Path(path).exists()
    files = walk_corpus(path, FILE_TYPE) if is_found else []
    n_docs = sum(len(read_bin(file)) for file in files)
    if n_docs == 0:
        raise UserError(
            f"A {FILE_TYPE} file with documents, or a folder of them, was expected as "
            f"`path` of {name}, but it is '{path}'. As a rule it is `--paths.train` or "
            "`--paths.dev`."
        )
    return n_docs
