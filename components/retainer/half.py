"""A module's copy for use: its weights are in bfloat16, and are cast once, not each
time that they are used."""

from copy import deepcopy
from typing import TYPE_CHECKING

import torch
from torch import nn

from .checkpoint import find_head, get_head
from .freezing import find_stack

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class CastAfter(nn.Module):
    def __init__(self, inner: nn.Module):
        super().__init__()
        self.inner = inner

    def forward(self, *args, **kwargs) -> torch.Tensor:
        return self.inner(*args, **kwargs).bfloat16()


class CastBefore(nn.Module):
    def __init__(self, inner: nn.Module):
        super().__init__()
        self.inner = inner

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        return self.inner(X.float())


def copy_in_half(module: "PreTrainedModel") -> "PreTrainedModel | None":
    """Embeddings and head are the module's own, and stay as they are: of the first
    little is read, and logits are to be float32.

    RETURNS: None if the embeddings cannot be told.
    """
    if find_stack(module.base_model) is None:
        return None
    kept = [module.base_model.embeddings, get_head(module)]
    shared = {id(p) for part in kept for p in part.parameters()}
    memo = {id(part): part for part in kept} | {
        id(p): nn.Parameter(p.detach().bfloat16(), requires_grad=False)
        for p in module.parameters()
        if id(p) not in shared
    }
    copy = deepcopy(module, memo).eval()
    copy.base_model.embeddings = CastAfter(kept[0])
    parent, leaf = find_head(copy)
    setattr(parent, leaf, CastBefore(kept[1]))
    return copy


def state_of(module: "PreTrainedModel") -> list[int]:
    """Another after a weight was changed in place, but for `.data` and the optimizer's
    step, which torch does not count."""
    return [p._version for p in module.parameters()]
