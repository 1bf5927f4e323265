"""A checkpoint's head on an encoder that other components share, as a Thinc model.

The encoder is that of a component `transformer` (spacy-transformers) before this one:
what it said of the docs is received from it, and gradients are given back to it.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from spacy.tokens import Doc
from thinc.api import Model, reduce_sum, torch2xp, xp2torch
from thinc.types import Floats2d, Ints1d, Ragged

from .checkpoint import replace_head, tags_of
from .errors import UserError
from .folders import replacing_folder
from .head import Head, HeadShim, load_head, save_head, take_head
from .labels import OUTSIDE
from .network import Network, Rows, extend_tags, get_tags, join_gradients
from .pieces import pick_first
from .stored import require_checksums

if TYPE_CHECKING:
    from spacy_transformers.data_classes import TransformerData

UNREAD = (
    "Docs that the shared transformer has read were expected, but it has not read this "
    "one: '{text}'. Put the component `transformer` before this one, do not disable "
    "it, and keep `doc._.trf_data` (no doc_cleaner) until the pipeline is scored."
)
UNHEARD = (
    "A component `transformer` (of spacy-transformers, named '{upstream}') was "
    "expected before this one in the pipeline, but there is none. Add it, or take "
    "retainer.TokenClassifier.v1."
)


def build_listener_tagger(
    name: str,
    revision: str | None,
    head: Literal["extend", "fresh"],
    new_rows: Literal["mean", "random"],
    head_rate: float,
    grad_factor: float,
    upstream: str,
) -> Model[list[Doc], list[Floats2d]]:
    """`retainer.ListenerTagger.v1`: one row of logits per token, on a shared encoder.

    name, revision: a folder, or a hub id and the commit to take of it, whose head is
        taken. The component `transformer` is to start from the same. Read by
        `initialize`, never when a saved pipeline is loaded.
    head: `extend` keeps the checkpoint's rows, `fresh` throws them away.
    new_rows: how rows of further tags start (see `checkpoint.extend_head`).
    head_rate: the learning rate of the head, over that of the encoder.
    grad_factor: of the gradients that go back to the encoder; with 0 it learns nothing
        of this component.
    upstream: the name of the shared component; "*" is any.

    The shared component encodes raw text, `retainer.TokenClassifier.v1` words: where
    words are cut from each other without a space, the pieces may differ, and so do the
    logits. They are the same where the pieces are. It reads the docs of a batch and
    nothing else, all at once: no texts can be replayed, and no rows be fitted before
    the encoder learns.
    """
    from spacy_transformers.layers import TransformerListener, trfs2arrays
    from spacy_transformers.pipeline_component import install_extensions

    install_extensions()  # `doc._.trf_data`, also where there is no `transformer`
    listener = TransformerListener(upstream)
    return Model(
        "listener_tagger",
        forward,
        init=partial(init, name=name, revision=revision, head=head),
        layers=[listener, trfs2arrays(reduce_sum(), grad_factor)],
        refs={"listener": listener},
        shims=[HeadShim(head_rate=head_rate)],
        attrs={
            "get_tags": get_tags,
            "extend_tags": partial(
                extend_tags, new_rows="random" if head == "fresh" else new_rows
            ),
            "fit_rows": None,
            "plan_batch": plan_batch,
            "can_replay": False,
            "save": save,
            "load": load,
        },
    )


def init(
    model: Network, X=None, Y=None, *, name: str, revision: str | None, head: str
) -> None:
    """Take the checkpoint's head, unless one is there: a saved pipeline stays."""
    listener = model.get_ref("listener")
    if not listener.has_dim("nO"):
        raise UserError(UNHEARD.format(upstream=listener.upstream_name))
    if model.shims[0].is_loaded:
        return
    taken = take_head(name, revision)
    if head == "fresh":
        replace_head(taken, tags_of(taken.config))
    _put(model, taken)


def load(model: Network, path: Path, *, has_checksums: bool = False) -> None:
    """Read the folder that `save` wrote. has_checksums: see `network.load`."""
    if has_checksums:
        require_checksums(path)
    _put(model, load_head(path))


def save(model: Network, path: Path) -> None:
    """Write the whole folder in the place of what is there, or leave that as it was."""
    with replacing_folder(path) as made:
        made.mkdir()
        save_head(model.shims[0].module, made)


def _put(model: Network, head: Head) -> None:
    listener, width = model.get_ref("listener"), head.classifier.in_features
    if listener.has_dim("nO") and listener.get_dim("nO") != width:
        raise UserError(
            f"A shared transformer of {width} values a piece, as the head was trained "
            f"on, was expected, but it gives {listener.get_dim('nO')}. Let both start "
            "from the same checkpoint: `name` of either model."
        )
    listener.set_dim("nO", width)
    model.shims[0].put(head)


def plan_batch(
    model: Network, docs: Sequence[Doc]
) -> tuple[list[Ints1d], list[np.ndarray]]:
    """All docs in one group, as the shared encoder has read them.

    RETURNS: the group, by places in the batch; and per doc which tokens have pieces,
    (n_tokens,) bool.
    """
    read, _ = _receive(model, docs, is_train=True)
    pairs = zip(docs, read, strict=True)
    groups = [np.arange(len(docs))] if docs else []
    return groups, [_have_pieces(doc, data) for doc, data in pairs]


def _receive(
    model: Network, docs: Sequence[Doc], *, is_train: bool
) -> tuple[list["TransformerData"], Callable]:
    """What the shared encoder said of each doc, and the way back to it."""
    from spacy_transformers.data_classes import TransformerData

    if not any(map(len, docs)):  # of which a transformer sends nothing
        return [TransformerData.empty() for _ in docs], lambda d_read: []
    if not is_train:
        for doc in docs:
            if len(doc) and doc._.trf_data is None:
                raise UserError(UNREAD.format(text=doc.text[:40]))
    return model.get_ref("listener")(docs, is_train)


def _have_pieces(doc: Doc, data: "TransformerData") -> np.ndarray:
    """A space may share the piece of the word behind it: it has none of its own."""
    is_word = np.array([not token.is_space for token in doc], dtype=bool)
    return is_word & (data.align.lengths > 0)


def _at_first_pieces(data: "TransformerData") -> "TransformerData":
    """Each token aligned to no piece but the one that it is read at."""
    if not len(data.wordpieces):  # an empty doc
        return data
    lengths, ends = data.align.lengths, np.array(data.wordpieces.lengths)
    width = data.wordpieces.input_ids.shape[1]
    firsts = pick_first(lengths, data.align.dataXd, width, ends)
    align = Ragged(firsts.astype("i"), (lengths > 0).astype("i"))
    return replace(data, align=align)


def forward(
    model: Network, docs: list[Doc], is_train: bool
) -> tuple[Rows, Callable[[Rows], list]]:
    """One row per token, of its first piece.

    A token without pieces gets -inf for every tag but O, as in `network.forward`.
    """
    shim, tags = model.shims[0], get_tags(model)
    read, give_back = _receive(model, docs, is_train=is_train)
    if not any(map(len, docs)):
        return [np.zeros((0, len(tags)), dtype=np.float32) for _ in docs], give_back
    pieces_to_tokens = model.layers[1]
    vectors, get_d_read = pieces_to_tokens(
        [_at_first_pieces(data) for data in read], is_train
    )
    X = xp2torch(model.ops.xp.concatenate([v for v in vectors if len(v)]))  # (T, D)
    X.requires_grad_(is_train)
    with torch.set_grad_enabled(is_train):
        Y = shim.module(X)
    rows = Y.detach().cpu().numpy().copy()
    pairs = zip(docs, read, strict=True)
    unseen = ~np.concatenate([_have_pieces(*pair) for pair in pairs])
    rows[unseen] = -np.inf
    rows[unseen, tags.index(OUTSIDE)] = 0.0
    ends = np.cumsum([len(doc) for doc in docs])[:-1]

    def backprop(d_rows: Rows) -> list:
        d_all = join_gradients(d_rows, len(rows))
        d_all[unseen] = 0.0
        Y.backward(torch.from_numpy(d_all).to(Y.device))
        d_vectors = model.ops.xp.split(torch2xp(X.grad), [int(end) for end in ends])
        return give_back(get_d_read(d_vectors))

    return np.split(rows, ends), backprop
