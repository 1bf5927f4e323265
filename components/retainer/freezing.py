"""What of an encoder stays as it is."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from torch import nn

from .errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def freeze(module: "PreTrainedModel", what: float | Iterable[str]) -> None:
    """Keep parts of the encoder as they are.

    what: a share of its layers, 0 to 1, the lowest first, and with any of them the
        embeddings; or modules by exact name: `encoder.layer.1` is not
        `encoder.layer.10`.
    """
    encoder = module.base_model
    known = dict(encoder.named_modules())
    names = _lowest(encoder, what) if isinstance(what, (int, float)) else what
    for name in names:
        if not name or name not in known:
            there = [n for n in known if n and (n.count(".") < 1 or n[-1].isdigit())]
            raise UserError(
                f"A module of {type(encoder).__name__} was expected in `freeze`, but "
                f"'{name}' matches none. There are: {', '.join(there)}."
            )
        known[name].requires_grad_(False)


def _lowest(encoder: nn.Module, share: float) -> list[str]:
    """The names of the embeddings and of a share of the layers; of none for 0."""
    if not 0 <= share <= 1:
        raise UserError(
            "`freeze` was expected to be a share of the layers from 0 to 1, or a list "
            f"of modules, but it is {share}. Usual is 0.5."
        )
    n_layers = encoder.config.num_hidden_layers
    n_frozen = round(share * n_layers)
    if not n_frozen:
        return []
    stack = find_stack(encoder)
    if stack is None:
        raise UserError(
            f"Embeddings and {n_layers} layers were expected in "
            f"{type(encoder).__name__}, of which a share is to be frozen, but they "
            "cannot be told. Name the modules in `freeze`."
        )
    return ["embeddings", *(f"{stack}.{i}" for i in range(n_frozen))]


def find_stack(encoder: nn.Module) -> str | None:
    """The name of the list of layers; None unless `embeddings` stand before it."""
    n_layers = encoder.config.num_hidden_layers
    stacks = [
        name
        for name, child in encoder.named_modules()
        if isinstance(child, nn.ModuleList) and len(child) == n_layers
    ]
    return stacks[0] if stacks and hasattr(encoder, "embeddings") else None
