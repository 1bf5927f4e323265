"""A token-classification checkpoint as a Thinc model: Docs in, logits per token out."""

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from spacy.tokens import Doc
from spacy.util import minibatch
from thinc.api import Model
from thinc.types import Floats2d, Ints1d

from . import checkpoint
from .batches import Batch, run_batch
from .errors import UserError
from .folders import replacing_folder
from .labels import OUTSIDE
from .memory import explaining_memory
from .pieces import NO_PIECE, encode, group_by_length, special_pieces
from .shim import CheckpointShim
from .stored import require_checksums

Rows = list[Floats2d]
Network = Model[list[Doc], Rows]

DOCS_AT_ONCE = 64
MOST_TOKENS = 50_000  # that rows are fitted to


def build_token_classifier(
    name: str,
    revision: str | None,
    head: Literal["extend", "fresh"],
    new_rows: Literal["mean", "random", "probe"],
    freeze: float | list[str],
    head_rate: float,
    window: int | None,
    overlap: int | None,
    max_batch_pieces: int,
    precision: Literal["auto", "float32", "bfloat16"],
    device: str,
    backend: Literal["torch", "onnxruntime"],
) -> Model[list[Doc], list[Floats2d]]:
    """`retainer.TokenClassifier.v1`: one row of logits per token.

    name, revision: a folder, or a hub id and the commit to take of it. Read by
        `initialize`, never when a saved pipeline is loaded.
    head: `extend` keeps the checkpoint's rows, `fresh` throws them away.
    new_rows: how rows of further tags start (see `checkpoint.extend_head`); `probe` is
        as `mean`, until the first update fits them to its corpus (see `probe`).
    freeze: what of the encoder is not trained (see `freezing`).
    head_rate: the learning rate of the head, over that of the encoder.
    window, overlap: in wordpieces, what is read at once and what neighbours share;
        null is all that the checkpoint can read, and an eighth of the window.
    max_batch_pieces: padded pieces that go through the encoder at once.
    precision: auto is bfloat16 where the hardware has it, else float32.
    device: auto (CUDA, else MPS, else CPU), or a torch device such as cuda:1.
    backend: onnxruntime reads model.onnx in the weights' place, which
        scripts/optimise.py makes, on the CPU and in that file's precision; it cannot be
        trained.

    The attrs are the component's way in: each takes the model first.
    """
    return Model(
        "token_classifier",
        forward,
        init=partial(init, name=name, revision=revision, head=head),
        shims=[
            CheckpointShim(
                device=device,
                precision=precision,
                freeze=freeze,
                head_rate=head_rate,
                backend=backend,
            )
        ],
        attrs={
            "window": window,
            "overlap": overlap,
            "max_batch_pieces": max_batch_pieces,
            "get_tags": get_tags,
            "extend_tags": partial(
                extend_tags, new_rows="random" if head == "fresh" else new_rows
            ),
            "fit_rows": fit_rows if new_rows == "probe" else None,
            "with_features": False,  # in training: features stand behind the logits
            "predict_features": predict_features,
            "plan_batch": plan_batch,
            "can_replay": True,  # texts beside those of the batch
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
    module, tokenizer = model.shims[0].load(name, revision)
    if head == "fresh":
        checkpoint.replace_head(module, checkpoint.tags_of(module.config))
    _put(model, module, tokenizer)


def load(model: Network, path: Path, *, has_checksums: bool = False) -> None:
    """Read the folder that `save` wrote.

    has_checksums: whether `save` wrote them, as it did not always.
    """
    if has_checksums:
        require_checksums(path)
    _put(model, *model.shims[0].load(str(path)))


def save(model: Network, path: Path) -> None:
    """Write the whole folder in the place of what is there, or leave that as it was."""
    shim = model.shims[0]
    with replacing_folder(path) as made:
        checkpoint.save_checkpoint(shim.module, shim.tokenizer, made)


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
        model.shims[0].forget_parameters()


def fit_rows(
    model: Network, docs: Sequence[Doc], gold: Sequence[Ints1d], n_old: int
) -> None:
    """Fit the head's rows behind the first n_old to gold tags (see `probe`).

    gold: (T,) ids per doc; tokens with ids under 0 are passed by.
    """
    step = max(1, math.ceil(sum(map(len, docs)) / MOST_TOKENS))
    docs, gold = docs[::step], gold[::step]
    shim = model.shims[0]
    head, budget = checkpoint.get_head(shim.module), model.attrs["max_batch_pieces"]
    features, targets = [], []
    memory = _explaining_memory(model, budget, is_train=False)
    with memory, checkpoint.without_head(shim.module):
        for group in minibatch(zip(docs, gold, strict=True), DOCS_AT_ONCE):
            batch = Batch.join(list(_encode(model, [doc for doc, _ in group])))
            ids = np.concatenate([doc_ids for _, doc_ids in group])
            read = run_batch(shim, batch, budget, is_train=False, remember=True)
            for tokens, vectors in read:
                labelled = ids[tokens] >= 0
                features.append(vectors[torch.from_numpy(labelled).to(shim.device)])
                targets.append(ids[tokens[labelled]])
    if not any(map(len, features)):
        return
    wanted = np.maximum(np.concatenate(targets) - n_old + 1, 0)
    checkpoint.put_rows(
        head, n_old, torch.cat(features), torch.from_numpy(wanted).to(shim.device)
    )


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


def _explaining_memory(
    model: Network, n_pieces: int, *, is_train: bool
) -> AbstractContextManager[None]:
    """n_pieces: of all docs that are given to the model."""
    budget, window = model.attrs["max_batch_pieces"], model.attrs["window"]
    if is_train and n_pieces > budget:
        return explaining_memory(
            f"to train on a text of {n_pieces:,} wordpieces",
            f"All of a text is held at once: cut it into several of up to {budget:,} "
            "wordpieces (max_batch_pieces).",
        )
    return explaining_memory(
        f"to read {min(n_pieces, budget):,} wordpieces at once",
        f"Set max_batch_pieces, now {budget:,}, to less than that, or lower "
        "training.batcher.size; if it is one text alone, lower the model's window, now "
        f"{window:,}.",
    )


def forward(
    model: Network, docs: list[Doc], is_train: bool
) -> tuple[Rows, Callable[[Rows], list]]:
    """Windows of all docs, longest first, within a budget; one row per token.

    A token without pieces gets -inf for every tag but O: alone it is no entity, though
    one may go on over it.
    """
    with_features = is_train and model.attrs["with_features"]
    return _forward(model, docs, is_train=is_train, with_features=with_features)


def predict_features(model: Network, docs: list[Doc]) -> Rows:
    """Logits and, behind them, features: (n_tokens, n_tags + D) per doc."""
    return _forward(model, docs, is_train=False, with_features=True)[0]


def _forward(
    model: Network, docs: list[Doc], *, is_train: bool, with_features: bool
) -> tuple[Rows, Callable[[Rows], list]]:
    if not docs:
        return [], lambda d_rows: []
    shim, tags = model.shims[0], get_tags(model)
    batch = Batch.join(list(_encode(model, docs)))
    how = {"is_train": is_train, "with_features": with_features}
    n_pieces = sum(map(len, batch.ids))
    with (
        _explaining_memory(model, n_pieces, is_train=is_train),
        shim.autocast() if is_train else nullcontext(),
    ):
        parts = list(run_batch(shim, batch, model.attrs["max_batch_pieces"], **how))
    width = parts[0][1].shape[1] if parts else len(tags)
    rows = np.full((len(batch.window), width), -np.inf, dtype=np.float32)
    rows[:, tags.index(OUTSIDE)] = 0.0
    for tokens, values in parts:
        rows[tokens] = values.detach().cpu().numpy()

    def backprop(d_rows: Rows) -> list:
        d_all = join_gradients(d_rows, len(rows))
        with _explaining_memory(model, n_pieces, is_train=True):
            d_parts = [torch.from_numpy(d_all[i]).to(shim.device) for i, _ in parts]
            torch.autograd.backward([values for _, values in parts], d_parts)
        return []

    return np.split(rows, batch.ends[:-1]), backprop


def join_gradients(d_rows: Rows, n_tokens: int) -> Floats2d:
    """Those of all docs, (n_tokens, D) float32."""
    if sum(map(len, d_rows)) != n_tokens:
        raise ValueError(
            f"One gradient row for each of {n_tokens} tokens was expected, but "
            f"{sum(map(len, d_rows))} came."
        )
    return np.concatenate(d_rows).astype(np.float32)
