"""Fewer wordpieces: those of the texts that are read, not of a hundred languages.

What is dropped is never what a known text is split into, so its pieces stay the same:
Unigram takes the best of all ways to split a word, WordPiece the longest piece at each
place, and both still find theirs. Other texts are split with the pieces that are left.
"""

import copy
import json
import re
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from thinc.types import Ints1d
from tokenizers import Tokenizer
from torch import nn

from .errors import UserError
from .pieces import encode, special_pieces

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

BYTE = re.compile(r"<0x[0-9A-F]{2}>")
SPACE = "▁"


def used_pieces(
    tokenizer: "PreTrainedTokenizerFast", docs: Sequence[Sequence[str]]
) -> set[int]:
    """The ids of all pieces that docs, of which the words are given, are split into."""
    used: set[int] = set()
    for windows in encode(tokenizer, docs, window=sys.maxsize, overlap=0):
        used.update(np.concatenate(windows.ids).tolist())
    return used


def kept_pieces(tokenizer: "PreTrainedTokenizerFast", used: Iterable[int]) -> Ints1d:
    """The ids of what stays, ascending: all pieces of one character, so that hardly
    any word is unknown; of Unigram the least likely one too, which says what an
    unknown character costs; and all up to the special ones, whose ids so stay.
    """
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    pieces = _pieces(state["model"])
    kept = {*used, *range(_n_fixed(tokenizer))}
    kept |= {token["id"] for token in state["added_tokens"]}
    prefix = state["model"].get("continuing_subword_prefix", SPACE)
    for piece, piece_i in pieces.items():
        if len(piece.removeprefix(prefix)) <= 1 or BYTE.fullmatch(piece):
            kept.add(piece_i)
    if state["model"]["type"] == "Unigram":
        scores = [score for _, score in state["model"]["vocab"]]
        kept.add(int(np.argmin(scores)))
    return np.array(sorted(kept))


def trim_tokenizer(
    tokenizer: "PreTrainedTokenizerFast", kept: Ints1d
) -> "PreTrainedTokenizerFast":
    """A tokenizer of these pieces alone; ids are their places among them."""
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    new_ids = {int(old): new for new, old in enumerate(kept)}
    model = state["model"]
    if model["type"] == "Unigram":
        model["vocab"] = [model["vocab"][i] for i in kept if i < len(model["vocab"])]
    else:
        vocab = {p: new_ids[i] for p, i in model["vocab"].items() if i in new_ids}
        model["vocab"] = vocab
    for token in state["added_tokens"]:
        token["id"] = new_ids[token["id"]]
    made = copy.deepcopy(tokenizer)
    made._tokenizer = Tokenizer.from_str(json.dumps(state))
    made.vocab_file = None  # a file of all pieces, which would be saved beside
    return made


def trim_embeddings(module: "PreTrainedModel", kept: Ints1d) -> None:
    """Leave no other rows in the table of pieces."""
    old = module.get_input_embeddings()
    rows = old.weight.detach()[torch.from_numpy(kept).to(old.weight.device)].clone()
    module.set_input_embeddings(
        nn.Embedding.from_pretrained(
            rows, freeze=not old.weight.requires_grad, padding_idx=old.padding_idx
        )
    )
    module.config.vocab_size = len(kept)


def _pieces(model: dict[str, Any]) -> dict[str, int]:
    if model["type"] == "Unigram":
        return {piece: i for i, (piece, _) in enumerate(model["vocab"])}
    if model["type"] == "WordPiece":
        return model["vocab"]
    raise UserError(
        "A tokenizer of the kind Unigram (XLM-R) or WordPiece (BERT) was expected, for "
        f"its pieces are to be fewer, but it is {model['type']}, whose pieces are made "
        "of one another. Leave out --trim."
    )


def _n_fixed(tokenizer: "PreTrainedTokenizerFast") -> int:
    """How many pieces there are up to the last that has a part to play."""
    names = "pad", "unk", "cls", "sep", "bos", "eos"
    ids = [getattr(tokenizer, f"{name}_token_id") for name in names]
    for special in special_pieces(tokenizer):
        ids += special
    return 1 + max(i for i in ids if i is not None)
