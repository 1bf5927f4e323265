"""A token-classification checkpoint as a Thinc model: Docs in, logits per token out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from spacy.tokens import Doc
from thinc.api import Model
from thinc.types import Floats2d, Ints1d

from . import checkpoint
from .errors import UserError
from .labels import OUTSIDE
from .pieces import NO_PIECE, Windows, encode, group_by_length, special_pieces
from .shim import CheckpointShim

Rows = list[Floats2d]
Network = Model[list[Doc], Rows]


def build_token_classifier(
    name: str,
    revision: str | None,
    head: Literal["extend", "fresh"],
    new_rows: Literal["mean", "random"],
    freeze: list[str],
    window: int | None,
    overlap: int | None,
    max_batch_pieces: int,
    precision: Literal["auto", "float32", "bfloat16"],
    device: str,
) -> Model[list[Doc], list[Floats2d]]:
    """`retainer.TokenClassifier.v1`: one row of logits per token.

    name, revision: a folder, or a hub id and the commit to take of it. Read by
        `initialize`, never when a saved pipeline is loaded.
    head: `extend` keeps the checkpoint's rows, `fresh` throws them away.
    new_rows: how rows of further tags start (see `checkpoint.extend_head`).
    freeze: modules of the encoder that are not trained, by exact name.
    window, overlap: in wordpieces, what is read at once and what neighbours share;
        null is all that the checkpoint can read, and an eighth of the window.
    max_batch_pieces: padded pieces that go through the encoder at once.
    precision: auto is bfloat16 where the hardware has it, else float32.
    device: auto (CUDA, else MPS, else CPU), or a torch device such as cuda:1.

    The attrs are the component's way in: each takes the model first.
    """
    return Model(
        "token_classifier",
        forward,
        init=partial(init, name=name, revision=revision, head=head),
        shims=[CheckpointShim(device=device, precision=precision, freeze=freeze)],
        attrs={
            "window": window,
            "overlap": overlap,
            "max_batch_pieces": max_batch_pieces,
            "get_tags": get_tags,
            "extend_tags": partial(
                extend_tags, new_rows="random" if head == "fresh" else new_rows
            ),
            "plan_batch": plan_batch,
            "save": save,
            "load": load,
        },
    )


def init(
    model: Network, X=None, Y=None, *, name: str, revision: str | None, head: str
) -> None:
    """Load the checkpoint, unless one is there already: a saved pipeline stays."""
    if model.shims[0].is_loaded:
        return
    module, tokenizer = checkpoint.load_checkpoint(name, revision)
    if head == "fresh":
        checkpoint.replace_head(module, checkpoint.tags_of(module.config))
    _put(model, module, tokenizer)


def load(model: Network, path: Path) -> None:
    """Read the folder that `save` wrote."""
    _put(model, *checkpoint.load_checkpoint(str(path)))


def save(model: Network, path: Path) -> None:
    shim = model.shims[0]
    checkpoint.save_checkpoint(shim.module, shim.tokenizer, path)


def _put(model: Network, module: Any, tokenizer: Any) -> None:
    longest = checkpoint.longest_window(module.config, tokenizer)
    window, overlap = model.attrs["window"], model.attrs["overlap"]
    window = longest if window is None else window
    overlap = window // 8 if overlap is None else overlap
    n_special = sum(map(len, special_pieces(tokenizer)))
    if not 0 <= 2 * overlap < window - n_special <= longest - n_special:
        raise UserError(
            f"A window of at most {longest} pieces, {n_special} of them special, and "
            "an overlap of less than half of the rest were expected, but they are "
            f"{window} and {overlap}. Change `window` and `overlap` of the model."
        )
    model.attrs["window"], model.attrs["overlap"] = window, overlap
    model.shims[0].put(module, tokenizer)


def get_tags(model: Network) -> list[str]:
    """The columns of the rows; none before a checkpoint is loaded."""
    shim = model.shims[0]
    return checkpoint.tags_of(shim.module.config) if shim.is_loaded else []


def extend_tags(model: Network, tags: Sequence[str], *, new_rows: str) -> None:
    """tags: those of the model in their order, then the new."""
    if len(tags) > len(get_tags(model)):
        checkpoint.extend_head(model.shims[0].module, tags, new_rows)
        model.shims[0].forget_optimizer()


def plan_batch(
    model: Network, docs: Sequence[Doc]
) -> tuple[list[Ints1d], list[np.ndarray]]:
    """How to train on a batch without holding all of it on the device at once.

    RETURNS: groups of docs by their place in the batch, each within max_batch_pieces
    where a doc by itself is; and per doc which tokens have pieces, (n_tokens,) bool.
    """
    windows = list(_encode(model, docs))
    n_pieces = np.array([sum(map(len, doc_windows.ids)) for doc_windows in windows])
    groups = group_by_length(n_pieces, model.attrs["max_batch_pieces"])
    return groups, [w.token_window != NO_PIECE for w in windows]


def _encode(model: Network, docs: Sequence[Doc]):
    return encode(
        model.shims[0].tokenizer,
        [[token.text for token in doc] for doc in docs],
        window=model.attrs["window"],
        overlap=model.attrs["overlap"],
    )


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


def forward(
    model: Network, docs: list[Doc], is_train: bool
) -> tuple[Rows, Callable[[Rows], list]]:
    """Windows of all docs, longest first, within a budget; one row per token.

    A token without pieces gets -inf for every tag but O: alone it is no entity, though
    one may go on over it.
    """
    if not docs:
        return [], lambda d_rows: []
    shim, tags = model.shims[0], get_tags(model)
    batch = Batch.join(list(_encode(model, docs)))
    lengths = np.array([len(ids) for ids in batch.ids])
    rows = np.full((len(batch.window), len(tags)), -np.inf, dtype=np.float32)
    rows[:, tags.index(OUTSIDE)] = 0.0
    parts = []
    shim.module.train(is_train)
    with torch.inference_mode(not is_train):
        for group in group_by_length(lengths, model.attrs["max_batch_pieces"]):
            tokens, logits = _run_group(shim, batch, group)
            rows[tokens] = logits.detach().cpu().numpy()
            parts.append((tokens, logits))

    def backprop(d_rows: Rows) -> list:
        if sum(map(len, d_rows)) != len(rows):
            raise ValueError(
                f"One gradient row for each of {len(rows)} tokens was expected, but "
                f"{sum(map(len, d_rows))} came."
            )
        d_all = np.concatenate(d_rows).astype(np.float32)
        torch.autograd.backward(
            [logits for _, logits in parts],
            [torch.from_numpy(d_all[tokens]).to(shim.device) for tokens, _ in parts],
        )
        return []

    return np.split(rows, batch.ends[:-1]), backprop


def _run_group(
    shim: CheckpointShim, batch: Batch, group: Ints1d
) -> tuple[Ints1d, torch.Tensor]:
    """The tokens that are read in a group of windows, and their logits in float32.

    RETURNS: (n,) places among all tokens of the batch, and (n, n_tags).
    """
    longest = max(len(batch.ids[i]) for i in group)
    padded = np.full((len(group), longest), shim.tokenizer.pad_token_id, dtype=np.int64)
    mask = np.zeros((len(group), longest), dtype=np.int64)
    for row, window_i in enumerate(group):
        ids = batch.ids[window_i]
        padded[row, : len(ids)] = ids
        mask[row, : len(ids)] = 1
    row_of_window = np.full(len(batch.ids) + 1, NO_PIECE)  # the last: of no window
    row_of_window[group] = np.arange(len(group))
    token_row = row_of_window[batch.window]
    tokens = np.flatnonzero(token_row != NO_PIECE)
    logits = shim.run(
        torch.from_numpy(padded).to(shim.device), torch.from_numpy(mask).to(shim.device)
    )
    picked = logits[
        torch.from_numpy(token_row[tokens]).to(shim.device),
        torch.from_numpy(batch.position[tokens]).to(shim.device),
    ]
    return tokens, picked.float()
