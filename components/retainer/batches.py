"""Windows of many docs through a module, and back to one row per token."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from thinc.types import Ints1d

from .pieces import NO_PIECE, Windows, group_by_length
from .shim import CheckpointShim

# Pieces of padding that cost a CPU about as much as running one more group does. On a
# GPU padding costs next to nothing.
MAX_PADDING = 128


@dataclass
class Batch:
    """The windows of many docs, and for every token of them where it is read.

    ids: the piece ids of each window. window, position: (n_tokens,), NO_PIECE where a
    token has none. ends: (n_docs,) where each doc's tokens end.
    """

    ids: list[Ints1d]
    window: Ints1d
    position: Ints1d
    ends: Ints1d

    @classmethod
    def join(cls, docs: Sequence[Windows]) -> "Batch":
        firsts = np.cumsum([0] + [len(doc.ids) for doc in docs])
        window = [
            np.where(doc.token_window == NO_PIECE, NO_PIECE, doc.token_window + first)
            for doc, first in zip(docs, firsts, strict=False)
        ]
        return cls(
            [ids for doc in docs for ids in doc.ids],
            np.concatenate(window),
            np.concatenate([doc.token_position for doc in docs]),
            np.cumsum([len(doc.token_window) for doc in docs]),
        )


def run_batch(
    shim: CheckpointShim,
    batch: Batch,
    max_batch_pieces: int,
    *,
    is_train: bool,
    with_features: bool = False,
    remember: bool = False,
) -> Iterator[tuple[Ints1d, torch.Tensor]]:
    """Windows go through the module longest first, so many padded pieces at once.

    remember: what a frozen lower part says of them, in training always.
    RETURNS: group by group, the tokens that are read in it, (n,) places among all of
    the batch, and their logits, (n, n_tags) in float32; features stand behind them.
    """
    shim.set_training(is_train)
    lengths = np.array([len(ids) for ids in batch.ids])
    padding = MAX_PADDING if shim.device.type == "cpu" else None
    how = {"with_features": with_features, "remember": remember or is_train}
    max_batch_pieces = 1 if shim.reads_singly else max_batch_pieces
    for group in group_by_length(lengths, max_batch_pieces, padding):
        with torch.inference_mode(not is_train):
            read = _run_group(shim, batch, group, **how)
        yield read


def _run_group(
    shim: CheckpointShim, batch: Batch, group: Ints1d, **how: bool
) -> tuple[Ints1d, torch.Tensor]:
    row_of_window = np.full(len(batch.ids) + 1, NO_PIECE)  # the last: of no window
    row_of_window[group] = np.arange(len(group))
    token_row = row_of_window[batch.window]
    tokens = np.flatnonzero(token_row != NO_PIECE)
    said = shim.run([batch.ids[i] for i in group], **how)
    places = (
        torch.from_numpy(token_row[tokens]).to(shim.device),
        torch.from_numpy(batch.position[tokens]).to(shim.device),
    )
    return tokens, torch.cat([values[places].float() for values in said], dim=1)
