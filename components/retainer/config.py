"""What a config works out from files: the labels."""

from pathlib import Path

import srsly

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
    except ValueError as error:
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
